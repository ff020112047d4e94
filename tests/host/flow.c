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

/* ---- receive ---- */

/* Lists are the receiver's until it returns them, the miniport's again afterwards. */
TEST(indicate_is_received_and_returned)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    NDIS_HANDLE pool = make_pool(S.Adapter);
    struct packet a = make_packet(pool, 4, 60), b = make_packet(pool, 4, 61);
    a.list->Next = b.list;
    indicate(a.list, 2, NDIS_RECEIVE_FLAGS_SINGLE_ETHER_TYPE);
    CHECK_EQ(nth_mem_count(mem), 2);
    CHECK_EQ(nth_mem_packet(mem, 1)->bytes, 61);
    CHECK_EQ(nth_mem_packet(mem, 0)->frame_type, 0x0800);
    CHECK_EQ(S.ReturnedLists, 2);
    CHECK_EQ(S.LastReturnFlags, 0);
    free_packet(&a);
    free_packet(&b);
    CALL(NdisFreeNetBufferListPool, P(pool));
    nth_mem_close(mem);
    unplug(&p);
}

/* "NDIS returns the lists upon return from NdisMIndicateReceiveNetBufferLists, and does not call
 * MiniportReturnNetBufferLists". */
TEST(indicate_with_resources_comes_back_with_the_call)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    NDIS_HANDLE pool = make_pool(S.Adapter);
    struct packet a = make_packet(pool, 6, 60);
    nth_mem_hold(mem, true);
    indicate(a.list, 1, NDIS_RECEIVE_FLAGS_RESOURCES);
    CHECK_EQ(nth_mem_count(mem), 1);
    CHECK_EQ(S.Returns, 0);
    free_packet(&a);
    CALL(NdisFreeNetBufferListPool, P(pool));
    nth_mem_close(mem);
    unplug(&p);
}

/* With nobody bound NDIS returns the lists itself. */
TEST(indicate_to_nobody_is_returned)
{
    boot();
    struct puppet p = plug();
    NDIS_HANDLE pool = make_pool(S.Adapter);
    struct packet a = make_packet(pool, 4, 60);
    S.RunAtDispatch = 1;
    indicate(a.list, 1, NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL);
    S.RunAtDispatch = 0;
    CHECK_EQ(S.ReturnedLists, 1);
    CHECK_EQ(S.LastReturnFlags, NDIS_RETURN_FLAGS_DISPATCH_LEVEL);
    free_packet(&a);
    CALL(NdisFreeNetBufferListPool, P(pool));
    unplug(&p);
}

/* MiniportPause: "waits for NDIS to return the ownership of all lists"; a receiver that keeps them
 * keeps the pause waiting. */
TEST(pause_waits_for_a_receiver)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    NDIS_HANDLE pool = make_pool(S.Adapter);
    struct packet a = make_packet(pool, 4, 60);
    nth_mem_hold(mem, true);
    indicate(a.list, 1, 0);
    S.Pause = PUPPET_PEND;
    struct nth_thread *thread = nth_spawn("pauser", pauser, p.adapter);
    nth_settle();
    CHECK_EQ(S.ReturnedLists, 0);
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_PAUSING);
    nth_mem_return_all(mem);
    CHECK_EQ(S.ReturnedLists, 1);
    CALL(NdisMPauseComplete, P(S.Adapter));
    nth_join(thread);
    S.Pause = PUPPET_GOOD;
    free_packet(&a);
    CALL(NdisFreeNetBufferListPool, P(pool));
    nth_mem_close(mem);
    unplug(&p);
}

TEST(pause_with_a_list_indicated_is_caught)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    struct packet a = make_packet(make_pool(S.Adapter), 4, 60);
    nth_mem_hold(mem, true);
    indicate(a.list, 1, 0);
    nth_expect_stop("pause-with-outstanding");
    nth_pause(p.adapter);
    CHECK(!"not caught");
}

/* ---- rules of an indication ---- */

static struct packet ready(unsigned version)
{
    boot();
    const struct puppet p = plug();

    nth_mem_attach(p.adapter);
    return make_packet(make_pool(S.Adapter), version, 60);
}

TEST(indicate_while_paused_is_caught)
{
    boot();
    struct puppet p = plug();
    struct packet a = make_packet(make_pool(S.Adapter), 4, 60);
    nth_pause(p.adapter);
    nth_expect_stop("indicate-while-paused");
    indicate(a.list, 1, 0);
    CHECK(!"not caught");
}

TEST(indicate_wrong_count_is_caught)
{
    struct packet a = ready(4);
    nth_expect_stop("nbl-count");
    indicate(a.list, 2, 0);
    CHECK(!"not caught");
}

/* "Must set the SourceHandle member to the same value as MiniportAdapterHandle". */
TEST(indicate_wrong_source_is_caught)
{
    struct packet a = ready(4);
    a.list->SourceHandle = NULL;
    nth_expect_stop("nbl-source-handle");
    indicate(a.list, 1, 0);
    CHECK(!"not caught");
}

TEST(indicate_at_passive_with_dispatch_flag_is_caught)
{
    struct packet a = ready(4);
    nth_expect_stop("flags-dispatch-level-lie");
    indicate(a.list, 1, NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL);
    CHECK(!"not caught");
}

TEST(indicate_with_a_lock_held_is_caught)
{
    struct packet a = ready(4);
    S.HoldLock = 1;
    nth_expect_stop("indicate-with-lock-held");
    indicate(a.list, 1, 0);
    CHECK(!"not caught");
}

TEST(indicate_unknown_flag_is_caught)
{
    struct packet a = ready(4);
    nth_expect_stop("flags-invalid");
    indicate(a.list, 1, 0x40000000);
    CHECK(!"not caught");
}

TEST(indicate_unallocated_port_is_caught)
{
    struct packet a = ready(4);
    nth_expect_stop("port-invalid");
    CALL(NdisMIndicateReceiveNetBufferLists, P(S.Adapter), P(a.list), 1, 1, 0);
    CHECK(!"not caught");
}

/* "All of the structures have the same EtherType". */
TEST(indicate_mixed_types_with_single_flag_is_caught)
{
    struct packet a = ready(4), b = make_packet(make_pool(S.Adapter), 6, 60);
    a.list->Next = b.list;
    nth_expect_stop("flags-single-ether-type");
    indicate(a.list, 2, NDIS_RECEIVE_FLAGS_SINGLE_ETHER_TYPE);
    CHECK(!"not caught");
}

/* Mixed versions without the flag are allowed. */
TEST(indicate_mixed_types_without_the_flag_is_received)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    NDIS_HANDLE pool = make_pool(S.Adapter);
    struct packet a = make_packet(pool, 4, 60), b = make_packet(pool, 6, 60);
    a.list->Next = b.list;
    indicate(a.list, 2, 0);
    CHECK_EQ(nth_mem_count(mem), 2);
    free_packet(&a);
    free_packet(&b);
    CALL(NdisFreeNetBufferListPool, P(pool));
    nth_mem_close(mem);
    unplug(&p);
}

TEST(indicate_wrong_frame_type_is_caught)
{
    struct packet a = ready(4);
    NET_BUFFER_LIST_INFO(a.list, NetBufferListFrameType) = PTR(0xDD86);
    nth_expect_stop("nbl-marks");
    indicate(a.list, 1, 0);
    CHECK(!"not caught");
}

TEST(indicate_wrong_ip_flag_is_caught)
{
    struct packet a = ready(4);
    NdisSetNblFlag(a.list, NDIS_NBL_FLAGS_IS_IPV6);
    nth_expect_stop("nbl-marks");
    indicate(a.list, 1, 0);
    CHECK(!"not caught");
}

TEST(indicate_more_data_than_the_mdls_is_caught)
{
    struct packet a = ready(4);
    a.list->FirstNetBuffer->DataLength++;
    nth_expect_stop("nbl-data");
    indicate(a.list, 1, 0);
    CHECK(!"not caught");
}

/* A list that receivers have cannot be indicated or freed. */
TEST(indicate_twice_is_caught)
{
    boot();
    struct puppet p = plug();
    struct packet a = make_packet(make_pool(S.Adapter), 4, 60);
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    nth_mem_hold(mem, true);
    indicate(a.list, 1, 0);
    nth_expect_stop("nbl-not-owned");
    indicate(a.list, 1, 0);
    CHECK(!"not caught");
}

TEST(free_while_indicated_is_caught)
{
    boot();
    struct puppet p = plug();
    struct packet a = make_packet(make_pool(S.Adapter), 4, 60);
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    nth_mem_hold(mem, true);
    indicate(a.list, 1, 0);
    nth_expect_stop("nbl-not-owned");
    CALL(NdisFreeNetBufferList, P(a.list));
    CHECK(!"not caught");
}

/* "Must be allocated from an NDIS buffer pool". */
TEST(indicate_list_of_no_pool_is_caught)
{
    static struct {
        UCHAR before[256];
        NET_BUFFER_LIST list;
        UCHAR after[64];
    } fake;

    boot();
    plug();
    nth_expect_stop("nbl-foreign");
    indicate(&fake.list, 1, 0);
    CHECK(!"not caught");
}

/* A return of what was not indicated is the receiver's fault and is named so. */
TEST(return_of_what_was_not_indicated_is_caught)
{
    struct packet a = ready(4);
    nth_expect_stop("nbl-returned-not-indicated");
    nth_return(S.Adapter, a.list, 0);
    CHECK(!"not caught");
}

/* ---- status indications ---- */

static NDIS_LINK_STATE link_state;

static NDIS_STATUS_INDICATION link_indication(NDIS_MEDIA_CONNECT_STATE state)
{
    link_state = (NDIS_LINK_STATE){
        .Header = {NDIS_OBJECT_TYPE_DEFAULT, 1, NDIS_SIZEOF_LINK_STATE_REVISION_1},
        .MediaConnectState = state,
        .MediaDuplexState = MediaDuplexStateFull,
        .XmitLinkSpeed = 5,
    };
    return (NDIS_STATUS_INDICATION){
        .Header = {NDIS_OBJECT_TYPE_STATUS_INDICATION, 1, NDIS_SIZEOF_STATUS_INDICATION_REVISION_1},
        .SourceHandle = S.Adapter,
        .StatusCode = NDIS_STATUS_LINK_STATE,
        .StatusBuffer = &link_state,
        .StatusBufferSize = sizeof(link_state),
    };
}

/* "NDIS calls each bound protocol driver's ProtocolStatusEx function." */
TEST(status_link_state_reaches_the_bindings)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    CHECK_EQ(nth_link_state(p.adapter)->MediaConnectState, MediaConnectStateConnected);
    NDIS_STATUS_INDICATION s = link_indication(MediaConnectStateDisconnected);
    CALL(NdisMIndicateStatusEx, P(S.Adapter), P(&s));
    CHECK_EQ(nth_link_state(p.adapter)->MediaConnectState, MediaConnectStateDisconnected);
    CHECK_EQ(nth_mem_statuses(mem, NDIS_STATUS_LINK_STATE), 1);
    ULONG connect = 9;
    CHECK_STATUS(nth_query(p.adapter, OID_GEN_MEDIA_CONNECT_STATUS, &connect, 4, NULL), 0);
    CHECK_EQ(connect, 1); /* NdisMediaStateDisconnected */
    nth_mem_close(mem);
    unplug(&p);
}

TEST(status_wrong_header_is_caught)
{
    boot();
    plug();
    NDIS_STATUS_INDICATION s = link_indication(MediaConnectStateConnected);
    s.Header.Size--;
    nth_expect_stop("status-invalid");
    CALL(NdisMIndicateStatusEx, P(S.Adapter), P(&s));
    CHECK(!"not caught");
}

TEST(status_short_link_state_is_caught)
{
    boot();
    plug();
    NDIS_STATUS_INDICATION s = link_indication(MediaConnectStateConnected);
    s.StatusBufferSize--;
    nth_expect_stop("status-invalid");
    CALL(NdisMIndicateStatusEx, P(S.Adapter), P(&s));
    CHECK(!"not caught");
}

TEST(status_wrong_source_is_caught)
{
    boot();
    plug();
    NDIS_STATUS_INDICATION s = link_indication(MediaConnectStateConnected);
    s.SourceHandle = NULL;
    nth_expect_stop("status-invalid");
    CALL(NdisMIndicateStatusEx, P(S.Adapter), P(&s));
    CHECK(!"not caught");
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
