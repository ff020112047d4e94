/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.sys to several senders at once, at any IRQL and on any processor, while the
 * program reads, does nothing, or writes nonsense into the shared words (design 2.3, lessons 2).
 */
#include "scenario.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { SENDERS = 4, PACKETS = 1500, CAPACITY = 0x20000 };
static const struct ring_config small = {CAPACITY, CAPACITY};

struct sender {
    struct port *port;
    unsigned number;
    int cpu;
    bool is_raised;
    atomic_uint *done;
    unsigned accepted;
};

/* Identification field and first payload bytes say who sent it and as which. */
static void stamp(uint8_t *packet, unsigned sender, uint32_t index)
{
    memcpy(packet + 20, &sender, 4);
    memcpy(packet + 24, &index, 4);
}

static size_t size_of(unsigned sender, uint32_t index)
{
    return 28 + (sender * 7919 + index * 104729) % 1400;
}

static void send_all(void *context)
{
    struct sender *s = context;
    uint8_t packet[2048];
    KIRQL irql = PASSIVE_LEVEL;

    nth_cpu_pin(s->cpu);
    for (uint32_t i = 0; i < PACKETS; i++) {
        const size_t bytes = size_of(s->number, i);
        nth_ip_make(packet, bytes, 4, i);
        stamp(packet, s->number, i);
        struct nth_chain *chain = nth_chain_create(s->port->mem);
        nth_chain_packet(chain, packet, bytes, NULL);
        if (s->is_raised)
            irql = KfRaiseIrql(DISPATCH_LEVEL);
        nth_chain_send(chain, 0);
        if (s->is_raised)
            KeLowerIrql(irql);
        CHECK(nth_chain_wait(chain, 30 * SECOND));
        CHECK(!nth_chain_altered(chain));
        if (nth_chain_status(chain, 0) == NDIS_STATUS_SUCCESS)
            s->accepted++;
        else
            CHECK_STATUS(nth_chain_status(chain, 0), NDIS_STATUS_BUFFER_OVERFLOW);
        nth_chain_destroy(chain);
    }
    atomic_fetch_add(s->done, 1);
}

/* Takes everything out and checks that each sender's packets are whole and in order. */
static unsigned read_all(struct ring_session *rings, atomic_uint *done, unsigned senders)
{
    uint32_t next[CREW] = {0};
    unsigned taken = 0;
    uint8_t expected[2048];

    for (;;) {
        const bool is_over = atomic_load(done) == senders;
        const uint8_t *packet;
        uint32_t bytes, index;
        unsigned sender;
        const enum ring_state state = ring_receive(rings, &packet, &bytes);
        CHECK(state == RING_READY || state == RING_EMPTY);
        if (state == RING_EMPTY) {
            if (is_over)
                return taken;
            ring_wait(rings, MSEC);
            continue;
        }
        memcpy(&sender, packet + 20, 4);
        memcpy(&index, packet + 24, 4);
        CHECK(sender < senders && index >= next[sender]);
        next[sender] = index + 1;
        CHECK_EQ(bytes, size_of(sender, index));
        nth_ip_make(expected, bytes, 4, index);
        stamp(expected, sender, index);
        CHECK_MEM(packet, expected, bytes);
        ring_release(rings, packet);
        taken++;
    }
}

static void many_senders(const struct nth_config *config, bool is_one_cpu, unsigned senders)
{
    struct scene scene;
    struct crew crew = {.count = 0};
    struct sender all[CREW];
    atomic_uint done = 0;
    unsigned accepted = 0;

    scene_begin(&scene, config);
    scene_rings(&scene, VIA_NDIS, &small);
    for (unsigned i = 0; i < senders; i++) {
        all[i] = (struct sender){.port = &scene.port,
                                 .number = i,
                                 .cpu = is_one_cpu ? 0 : -1,
                                 .is_raised = i % 2 != 0,
                                 .done = &done};
        crew_start(&crew, "sender", send_all, &all[i]);
    }
    const unsigned taken = read_all(scene.rings, &done, senders);
    crew_join(&crew);
    for (unsigned i = 0; i < senders; i++)
        accepted += all[i].accepted;
    CHECK_EQ(taken, accepted);
    CHECK_EQ(port_counter(&scene.port, WintunToUserPackets), accepted);
    CHECK_EQ(port_counter(&scene.port, WintunToUserFull), senders * PACKETS - accepted);
    scene_end(&scene);
}

TEST(senders_in_parallel_lose_nothing_that_was_accepted)
{
    /* abi.md 2.6: space reserved under a lock, copied outside, published in reservation order;
     * lessons 19.4: Head sampled and Tail reserved in one critical section */
    many_senders(PARALLEL, false, SENDERS);
}

TEST(senders_in_order_of_a_seed_lose_nothing_that_was_accepted)
{
    /* as above, preempted at every kernel call */
    many_senders(SERIAL(5), false, 3);
}

TEST(senders_at_both_levels_on_one_processor_do_not_wait_for_each_other)
{
    /* design 2.3: raised to DISPATCH_LEVEL inside the gate, so a PASSIVE_LEVEL sender is never
     * preempted with a reservation open by a DISPATCH_LEVEL one on its processor; "nobody waits for
     * anybody" */
    many_senders(SERIAL(6), true, 4);
}

/* ---- a program that writes nonsense while packets go ---- */

struct vandal {
    struct ring_session *rings;
    atomic_uint *done;
    unsigned senders;
};

static void spoil_head(void *context)
{
    struct vandal *v = context;
    static const uint32_t words[] = {0,         4, 2, CAPACITY - 4, CAPACITY, WINTUN_RING_ENDED,
                                     0x80000000};
    unsigned turn = 1;

    while (atomic_load(v->done) != v->senders) {
        turn = turn * 1103515245 + 12345;
        to_user(v->rings)->Head = words[(turn >> 16) % 7];
        to_user(v->rings)->Tail = turn;
        to_user(v->rings)->Alertable = (int32_t)turn;
        nth_settle();
    }
}

static void send_any(void *context)
{
    struct sender *s = context;

    for (uint32_t i = 0; i < 400; i++) {
        const size_t bytes = (i * 7919) % 60000;
        const NDIS_STATUS status = port_send(s->port, packet_of(bytes, 4, i), bytes, NULL);
        CHECK(status == NDIS_STATUS_SUCCESS || status == NDIS_STATUS_BUFFER_OVERFLOW ||
              status == NDIS_STATUS_ADAPTER_NOT_READY);
    }
    atomic_fetch_add(s->done, 1);
}

static void with_vandal(const struct nth_config *config)
{
    struct scene scene;
    struct crew crew = {.count = 0};
    struct sender all[SENDERS];
    atomic_uint done = 0;

    scene_begin(&scene, config);
    scene_rings(&scene, VIA_NDIS, &small);
    struct vandal vandal = {scene.rings, &done, SENDERS};
    crew_start(&crew, "vandal", spoil_head, &vandal);
    for (unsigned i = 0; i < SENDERS; i++) {
        all[i] = (struct sender){.port = &scene.port, .number = i, .done = &done};
        crew_start(&crew, "sender", send_any, &all[i]);
    }
    crew_join(&crew);
    CHECK_STATUS(client_close(scene.admin, scene.file), STATUS_SUCCESS);
    CHECK_EQ(to_user(scene.rings)->Tail, WINTUN_RING_ENDED);
    ring_close(scene.rings);
    scene.rings = NULL;
    scene_rings(&scene, VIA_NDIS, &small); /* the next session is sound */
    CHECK_STATUS(port_send(&scene.port, packet_of(99, 4, 1), 99, NULL), NDIS_STATUS_SUCCESS);
    rings_expect(scene.rings, packet_of(99, 4, 1), 99);
    scene_end(&scene);
}

TEST(hostile_words_while_sending_in_parallel_harm_only_the_program)
{
    /* lessons 19.2: each shared field is read once and the copy validated */
    with_vandal(PARALLEL);
}

TEST(hostile_words_while_sending_by_seed_harm_only_the_program)
{
    /* as above */
    with_vandal(SERIAL(7));
}

/* ---- the stack sends again from within ---- */

struct echo {
    struct port *port;
    unsigned left;
};

static void send_from_receive(void *context)
{
    struct echo *e = context;

    if (e->left == 0)
        return;
    e->left--;
    struct nth_chain *chain = nth_chain_create(e->port->mem);
    nth_chain_packet(chain, packet_of(64, 4, e->left), 64, NULL);
    nth_chain_send(chain, 0); /* in the receive call, at the miniport's IRQL */
    CHECK_EQ(nth_chain_completed(chain), 1);
    CHECK_STATUS(nth_chain_status(chain, 0), NDIS_STATUS_SUCCESS);
    nth_chain_destroy(chain);
}

TEST(send_from_within_a_receive_indication_succeeds)
{
    /* lessons 7: "packets are indicated while the transition lock is held shared; the stack may
     * answer inline through the send handler": no lock and no gate may be in its way */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    struct echo echo = {&scene.port, 10};
    nth_mem_on_receive(scene.port.mem, send_from_receive, &echo);
    for (uint32_t i = 0; i < 10; i++) {
        rings_put(scene.rings, packet_of(80, 4, i), 80);
        CHECK(nth_mem_wait(scene.port.mem, i + 1, SECOND) > i);
        nth_settle();
    }
    for (uint32_t i = 10; i-- > 0;)
        rings_expect(scene.rings, packet_of(64, 4, i), 64);
    scene_end(&scene);
}
