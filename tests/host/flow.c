/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Packets through a miniport: send, complete, indicate, return, and what happens to them when it
 * pauses (ndis/flow.c). The rules are those of NdisMSendNetBufferListsComplete,
 * NdisMIndicateReceiveNetBufferLists, MiniportPause and "Dispatch IRQL Tracking".
 */
#include "puppet.h"

static const uint8_t ping[28] = {0x45, 0, 0, 28};

static struct nth_chain *chain_of(struct nth_mem *mem, unsigned lists)
{
    struct nth_chain *chain = nth_chain_create(mem);

    for (unsigned i = 0; i < lists; i++) {
        nth_chain_list(chain, NULL);
        nth_chain_packet(chain, ping, sizeof(ping), NULL);
    }
    return chain;
}

/* ---- send ---- */

/* A chain comes back complete, unchanged, in one call. */
TEST(send_completed_at_once_comes_back)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    struct nth_chain *chain = chain_of(mem, 3);
    nth_chain_send(chain, 0);
    CHECK_EQ(nth_chain_completed(chain), 3);
    CHECK_STATUS(nth_chain_status(chain, 2), NDIS_STATUS_SUCCESS);
    CHECK(!nth_chain_altered(chain));
    CHECK_EQ(S.SentLists, 3);
    CHECK_EQ(S.SendIrql, PASSIVE_LEVEL);
    nth_chain_destroy(chain);
    nth_mem_close(mem);
    unplug(&p);
}

/* NDIS_SEND_FLAGS_DISPATCH_LEVEL: "specifies that the current IRQL is DISPATCH_LEVEL". */
TEST(send_at_dispatch_is_told)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    struct nth_chain *chain = chain_of(mem, 1);
    const KIRQL old = KeRaiseIrqlToDpcLevel();
    nth_chain_send(chain, 0);
    KeLowerIrql(old);
    CHECK_EQ(S.SendIrql, DISPATCH_LEVEL);
    CHECK_EQ(S.LastSendFlags, NDIS_SEND_FLAGS_DISPATCH_LEVEL);
    nth_chain_destroy(chain);
    nth_mem_close(mem);
    unplug(&p);
}

/* "The driver can split up a list or concatenate lists; complete in any order". */
TEST(send_completed_later_in_parts)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    struct nth_chain *chain = chain_of(mem, 3);
    S.Send = PUPPET_PEND;
    nth_chain_send(chain, 0);
    CHECK_EQ(nth_chain_completed(chain), 0);
    NET_BUFFER_LIST *first = S.Held, *second = first->Next, *third = second->Next;
    second->Next = NULL;
    third->Next = first;
    first->Next = NULL;
    CALL(NdisMSendNetBufferListsComplete, P(S.Adapter), P(third), 0);
    CHECK_EQ(nth_chain_completed(chain), 2);
    CALL(NdisMSendNetBufferListsComplete, P(S.Adapter), P(second), 0);
    CHECK_EQ(nth_chain_completed(chain), 3);
    nth_chain_destroy(chain);
    nth_mem_close(mem);
    S.Send = PUPPET_GOOD;
    unplug(&p);
}

/* nthost.h: while the adapter is not running NDIS completes the chain, NDIS_STATUS_PAUSED. */
TEST(send_while_paused_is_completed_by_ndis)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    struct nth_chain *chain = chain_of(mem, 2);
    nth_pause(p.adapter);
    nth_chain_send(chain, 0);
    CHECK_EQ(S.Sends, 0);
    CHECK_STATUS(nth_chain_status(chain, 1), NDIS_STATUS_PAUSED);
    nth_chain_destroy(chain);
    nth_mem_close(mem);
    unplug(&p);
}

/* MiniportPause: a send that reaches a paused miniport "must be rejected immediately". */
TEST(send_racing_with_pause_is_rejected_by_the_miniport)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    struct nth_chain *chain = chain_of(mem, 1);
    nth_pause(p.adapter);
    S.Send = PUPPET_FAIL;
    nth_send_unchecked(p.adapter, nth_chain_nbl(chain, 0), 0);
    CHECK_EQ(S.Sends, 1);
    CHECK_STATUS(nth_chain_status(chain, 0), NDIS_STATUS_PAUSED);
    nth_chain_destroy(chain);
    nth_mem_close(mem);
    unplug(&p);
}

TEST(send_held_while_paused_is_caught)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    struct nth_chain *chain = chain_of(mem, 1);
    nth_pause(p.adapter);
    S.Send = PUPPET_PEND;
    nth_expect_stop("send-held-while-paused");
    nth_send_unchecked(p.adapter, nth_chain_nbl(chain, 0), 0);
    CHECK(!"not caught");
}

static void send_badly(enum puppet_mode mode, NDIS_STATUS odd, const char *rule)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    struct nth_chain *chain = chain_of(mem, 1);

    S.Send = mode;
    S.Odd = odd;
    nth_expect_stop(rule);
    nth_chain_send(chain, 0);
    CHECK(!"not caught");
}

TEST(complete_twice_is_caught)
{
    send_badly(PUPPET_TWICE, 0, "nbl-completed-twice");
}

/* The status is one of the page's errors, or success; never a success-severity code. */
TEST(complete_with_pending_is_caught)
{
    send_badly(PUPPET_STATUS, NDIS_STATUS_PENDING, "nbl-status-invalid");
}

TEST(complete_with_indication_status_is_caught)
{
    send_badly(PUPPET_STATUS, NDIS_STATUS_MEDIA_CONNECT, "nbl-status-invalid");
}

/* "Must not modify the list of NET_BUFFER structures". */
TEST(complete_with_changed_buffers_is_caught)
{
    send_badly(PUPPET_MODIFY, 0, "nbl-chain-modified");
}

TEST(complete_with_a_lock_held_is_caught)
{
    send_badly(PUPPET_LOCKED, 0, "indicate-with-lock-held");
}

TEST(complete_lying_about_the_level_is_caught)
{
    send_badly(PUPPET_LIE, 0, "flags-dispatch-level-lie");
}

TEST(send_handler_returning_at_dispatch_is_caught)
{
    send_badly(PUPPET_IRQL, 0, "callout-irql");
}

/* A handler returns with the spin locks it was called with (bug check 0xC4). */
TEST(send_handler_keeping_a_lock_is_caught)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    struct nth_chain *chain = chain_of(mem, 1);
    S.Send = PUPPET_KEEP;
    KeRaiseIrqlToDpcLevel();
    nth_expect_stop("callout-lock");
    nth_chain_send(chain, 0);
    CHECK(!"not caught");
}

/* A list that was never sent. */
TEST(complete_own_list_is_caught)
{
    boot();
    struct puppet p = plug();
    NDIS_HANDLE pool = make_pool(S.Adapter);
    struct packet packet = make_packet(pool, 4, 40);
    (void)p;
    nth_expect_stop("nbl-not-owned");
    CALL(NdisMSendNetBufferListsComplete, P(S.Adapter), P(packet.list), 0);
    CHECK(!"not caught");
}

/* "Complete all outstanding send requests" before the pause is complete. */
TEST(pause_with_a_send_held_is_caught)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    S.Send = PUPPET_PEND;
    nth_chain_send(chain_of(mem, 1), 0);
    nth_expect_stop("pause-with-outstanding");
    nth_pause(p.adapter);
    CHECK(!"not caught");
}

static void pauser(void *adapter)
{
    nth_pause(adapter);
}

/* The same through NdisMPauseComplete. */
TEST(pause_complete_with_a_send_held_is_caught)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    S.Send = PUPPET_PEND;
    S.Pause = PUPPET_PEND;
    nth_chain_send(chain_of(mem, 1), 0);
    nth_spawn("pauser", pauser, p.adapter);
    nth_settle();
    nth_expect_stop("pause-with-outstanding");
    CALL(NdisMPauseComplete, P(S.Adapter));
    CHECK(!"not caught");
}

/* A pending pause ends when the held send was completed. */
TEST(pause_waits_for_a_held_send)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    struct nth_chain *chain = chain_of(mem, 1);
    S.Send = PUPPET_PEND;
    S.Pause = PUPPET_PEND;
    nth_chain_send(chain, 0);
    struct nth_thread *thread = nth_spawn("pauser", pauser, p.adapter);
    nth_settle();
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_PAUSING);
    CALL(NdisMSendNetBufferListsComplete, P(S.Adapter), P(S.Held), 0);
    CALL(NdisMPauseComplete, P(S.Adapter));
    nth_join(thread);
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_PAUSED);
    nth_chain_destroy(chain);
    nth_mem_close(mem);
    S.Pause = PUPPET_GOOD;
    unplug(&p);
}

/* Sends come to the miniport only while it runs, and none is the miniport's when it is paused; one
 * that was taken by force must be given back at once and not later. */
TEST(complete_after_pause_is_caught)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    struct nth_chain *chain = chain_of(mem, 1);
    S.Send = PUPPET_PEND;
    nth_chain_send(chain, 0);
    NET_BUFFER_LIST *held = S.Held;
    CALL(NdisMSendNetBufferListsComplete, P(S.Adapter), P(held), 0);
    nth_pause(p.adapter);
    nth_expect_stop("nbl-completed-twice");
    CALL(NdisMSendNetBufferListsComplete, P(S.Adapter), P(held), 0);
    CHECK(!"not caught");
}

/* MiniportDevicePnPEventNotify: after a surprise removal "it should immediately complete such
 * requests with a status value of NDIS_STATUS_NOT_ACCEPTED", which nobody may use before. */
TEST(complete_not_accepted_before_removal_is_caught)
{
    send_badly(PUPPET_STATUS, NDIS_STATUS_NOT_ACCEPTED, "nbl-status-invalid");
}

/* MiniportCancelSend is told the identifier. */
TEST(cancel_reaches_the_miniport)
{
    boot();
    struct puppet p = plug();
    nth_cancel_sends(p.adapter, &p);
    CHECK_EQ(S.CancelSends, 1);
    CHECK(S.LastCancelId == &p);
    unplug(&p);
}

/* ---- many threads ---- */

enum { ROUNDS = 200 };

static void sender(void *context)
{
    struct nth_mem *mem = context;

    for (int i = 0; i < ROUNDS; i++) {
        struct nth_chain *chain = chain_of(mem, 3);
        nth_chain_send(chain, 0);
        CHECK_EQ(nth_chain_completed(chain), 3);
        nth_chain_destroy(chain);
    }
}

static void race(struct nth_config config, int rounds)
{
    boot_with(config);
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    struct nth_thread *threads[3];

    for (int i = 0; i < 3; i++)
        threads[i] = nth_spawn("sender", sender, mem);
    for (int i = 0; i < rounds; i++) {
        nth_pause(p.adapter);
        nth_restart(p.adapter);
    }
    for (int i = 0; i < 3; i++)
        nth_join(threads[i]);
    nth_mem_close(mem);
    unplug(&p);
}

/* Sends race with pause and restart; every list comes back. */
TEST(senders_race_with_pause)
{
    race((struct nth_config){.mode = NTH_PARALLEL}, 50);
}

TEST(senders_race_with_pause_relaxed)
{
    race((struct nth_config){.mode = NTH_PARALLEL, .relaxed_memory = true}, 500);
}

/* The same under schedules that change at every kernel call. */
#define SEEDED(seed_)                                                                              \
    TEST(senders_race_with_pause_seed_##seed_)                                                     \
    {                                                                                              \
        race((struct nth_config){.mode = NTH_SERIAL, .seed = seed_}, 20);                          \
    }
SEEDED(1)
SEEDED(2)
SEEDED(3)
SEEDED(77)

struct flood {
    NDIS_HANDLE pool;
    LONG stop;
};

static void indicator(void *context)
{
    struct flood *flood = context;

    while (!__atomic_load_n(&flood->stop, __ATOMIC_SEQ_CST)) {
        struct packet a = make_packet(flood->pool, 4, 60);
        indicate(a.list, 1, 0);
        free_packet(&a);
    }
}

/* Surprise removal takes the binding away; what it sent before has come back. */
TEST(surprise_removal_detaches_the_binding)
{
    boot_with((struct nth_config){.mode = NTH_PARALLEL});
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    struct nth_chain *chains[100];
    for (int i = 0; i < 100; i++)
        chains[i] = chain_of(mem, 2);
    S.Send = PUPPET_GOOD;
    for (int i = 0; i < 50; i++)
        nth_chain_send(chains[i], 0);
    nth_surprise_remove(p.device);
    CHECK_EQ(S.Halts, 1);
    CHECK(nth_mem_is_detached(mem));
    for (int i = 0; i < 50; i++)
        CHECK_EQ(nth_chain_completed(chains[i]), 2);
}

/* Receives while the flow stops and starts: the driver here indicates only while it may, so the
 * pauser is the one who waits. */
TEST(indications_race_with_queries)
{
    struct flood flood = {0};
    ULONG value;

    boot_with((struct nth_config){.mode = NTH_PARALLEL});
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    flood.pool = make_pool(S.Adapter);
    struct nth_thread *thread = nth_spawn("indicator", indicator, &flood);
    nth_mem_wait(mem, 20, UINT64_MAX);
    for (int i = 0; i < 200; i++)
        CHECK_STATUS(nth_query(p.adapter, OID_GEN_MAXIMUM_TOTAL_SIZE, &value, 4, NULL), 0);
    __atomic_store_n(&flood.stop, 1, __ATOMIC_SEQ_CST);
    nth_join(thread);
    CHECK(nth_mem_count(mem) >= 20);
    CALL(NdisFreeNetBufferListPool, P(flood.pool));
    nth_mem_close(mem);
    unplug(&p);
}

/* ---- whose doing it is ---- */

static void allocate_much(void *context)
{
    void *memory = ExAllocatePool2(POOL_FLAG_NON_PAGED, 32, 0x74736554);

    CHECK(memory); /* a fault on demand is for drivers */
    CHECK(!nth_call_name());
    *(void **)context = memory;
}

/* nthost.h: "the n-th fallible kernel call made by a driver": what a receiver does in the driver's
 * call is the host's doing, and is not counted as the driver's memory. */
TEST(receiver_in_the_drivers_call_is_the_host)
{
    void *memory = NULL;

    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    nth_mem_on_receive(mem, allocate_much, &memory);
    NDIS_HANDLE pool = make_pool(S.Adapter);
    struct packet a = make_packet(pool, 4, 60);
    nth_fault_arm(~0U, 1);
    indicate(a.list, 1, 0);
    CHECK(!nth_fault_fired());
    nth_fault_arm(0, 0);
    CHECK(memory);
    ExFreePool(memory);
    free_packet(&a);
    CALL(NdisFreeNetBufferListPool, P(pool));
    nth_mem_close(mem);
    unplug(&p);
}
