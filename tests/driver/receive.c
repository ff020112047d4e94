/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.sys: what becomes of packets that a program puts into its ring to the stack
 * (abi.md 2.6 consumer, design 2.4): sizes, batches, marks, waking, and whose memory the stack
 * sees.
 */
#include "scenario.h"

#include <stdlib.h>

enum { SMALL = 0x20000 };
static const struct ring_config small = {SMALL, SMALL};

/* ---- sizes and places ---- */

TEST(packet_of_every_size_is_indicated_or_skipped)
{
    /* abi.md 2.6: IPv4 from 20 bytes, IPv6 from 40, up to 0xFFFF; else skipped and counted */
    struct scene scene;
    unsigned indicated = 0;

    scene_begin(&scene, &(const struct nth_config){.mode = NTH_SERIAL, .relaxed_memory = true});
    scene_rings(&scene, VIA_NDIS, &small);
    uint8_t *packet = malloc(WINTUN_MAX_PACKET);
    for (uint32_t i = 0; i < WINTUN_MAX_PACKET; i++)
        packet[i] = (uint8_t)(i * 31 >> 3);
    for (uint32_t bytes = 0; bytes <= WINTUN_MAX_PACKET; bytes++) {
        const int version = bytes % 2 ? 4 : 6;
        packet[0] = (uint8_t)(version << 4 | 5);
        rings_put(scene.rings, packet, bytes);
        if (bytes >= (version == 4 ? 20 : 40)) {
            port_expect(&scene.port, indicated, packet, bytes);
            CHECK_EQ(nth_mem_packet(scene.port.mem, indicated)->frame_type,
                     version == 4 ? 0x0800 : 0x86DD);
            if (++indicated == 64) {
                nth_mem_clear(scene.port.mem);
                indicated = 0;
            }
        }
        if (bytes % 16 == 0)
            nth_settle();
    }
    free(packet);
    CHECK_EQ(port_counter(&scene.port, WintunToStackPackets), 65536 - 10 - 20);
    CHECK_EQ(port_counter(&scene.port, WintunToStackNotIp), 10 + 20);
    scene_end(&scene);
}

TEST(record_at_every_offset_before_the_end_is_read_whole)
{
    /* abi.md 2.4: a record that starts near the end continues into the trailing area */
    struct scene scene;
    static const uint32_t sizes[] = {20, 21, 1500, 9000, WINTUN_MAX_PACKET};
    static const uint8_t nothing[0x1000]; /* version 0 */
    unsigned seen = 0;

    scene_begin(&scene, SERIAL(0));
    for (uint32_t back = 4; back <= 0x10010; back += back < 64 ? 4 : back / 2 & ~3U) {
        for (unsigned i = 0; i < 5; i++) {
            scene_rings(&scene, VIA_NDIS, &small);
            for (uint32_t left = SMALL - back; left;) {
                const uint32_t step = left > 0x8000 ? 0x8000 : left;
                rings_put(scene.rings, "", 0);
                for (uint32_t at = 4; at < step; at += 0x1000) {
                    const uint32_t bytes = step - at < 0x1000 ? step - at : 0x1000;
                    rings_put(scene.rings, nothing, bytes - 4); /* skipped */
                }
                nth_settle();
                left -= step;
            }
            const uint8_t *packet = packet_of(sizes[i], 4, back);
            rings_put(scene.rings, packet, sizes[i]);
            port_expect(&scene.port, seen++, packet, sizes[i]);
            scene_end_rings(&scene);
        }
    }
    scene_end(&scene);
}

TEST(packet_is_indicated_with_the_marks_ndis_wants)
{
    /* abi.md 4.3: port 0, frame type, one list with one buffer each; the machine checks
     * SourceHandle, NDIS_NBL_FLAGS and counts (rules nbl-source-handle, nbl-marks, nbl-count) */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    for (uint32_t i = 0; i < 8; i++) {
        const int version = i < 4 ? 4 : 6;
        rings_put(scene.rings, packet_of(100 + i, version, i), 100 + i);
        port_expect(&scene.port, i, packet_of(100 + i, version, i), 100 + i);
        const struct nth_packet *got = nth_mem_packet(scene.port.mem, i);
        CHECK_EQ(got->frame_type, version == 4 ? 0x0800 : 0x86DD);
        CHECK_EQ(got->flags,
                 NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL | NDIS_RECEIVE_FLAGS_SINGLE_ETHER_TYPE);
    }
    scene_end(&scene);
}

/* ---- batches ---- */

/* Puts count packets in the ring before the driver may look, then wakes it once. */
static void put_unseen(struct scene *scene, unsigned count, size_t bytes, bool is_mixed)
{
    uint8_t *rooms[400];

    CHECK(count <= 400);
    for (unsigned i = 0; i < count; i++) {
        CHECK_EQ(ring_allocate(scene->rings, (uint32_t)bytes, &rooms[i]), RING_READY);
        memcpy(rooms[i], packet_of(bytes, is_mixed && i % 2 ? 6 : 4, i), bytes);
    }
    for (unsigned i = count; i-- > 0;) /* Tail moves once, over all */
        ring_send(scene->rings, rooms[i]);
}

TEST(burst_is_indicated_in_batches_of_64)
{
    /* design 2.4: "drain in batches (up to 64 packets or 256 KiB)" */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(0));
    put_unseen(&scene, 200, 100, false);
    CHECK_EQ(nth_mem_wait(scene.port.mem, 200, SECOND), 200);
    for (unsigned i = 0; i < 200; i++) {
        CHECK_EQ(nth_mem_packet(scene.port.mem, i)->indication, i / 64);
        CHECK_MEM(nth_mem_packet(scene.port.mem, i)->data, packet_of(100, 4, i), 100);
    }
    CHECK_EQ(nth_mem_indications(scene.port.mem), 4);
    nth_settle();
    CHECK_EQ(to_stack(scene.rings)->Head, to_stack(scene.rings)->Tail);
    CHECK_EQ(port_counter(&scene.port, WintunToStackIndications), 4);
    scene_end(&scene);
}

TEST(burst_of_large_packets_is_indicated_in_batches_of_256_kib)
{
    /* design 2.4 as above; of the buffers that hold them, so batches may be smaller, never larger
     */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(0));
    put_unseen(&scene, 40, 0xC000, false);
    CHECK_EQ(nth_mem_wait(scene.port.mem, 40, SECOND), 40);
    unsigned in_batch = 0;
    for (unsigned i = 0; i < 40; i++) {
        const struct nth_packet *got = nth_mem_packet(scene.port.mem, i);
        in_batch = i && got->indication == nth_mem_packet(scene.port.mem, i - 1)->indication
                       ? in_batch + 1
                       : 1;
        CHECK(in_batch <= 6); /* the sixth passes 256 KiB */
        CHECK_MEM(got->data, packet_of(0xC000, 4, i), 0xC000);
    }
    scene_end(&scene);
}

TEST(burst_of_packets_just_too_large_for_small_buffers_needs_few_large_ones)
{
    /* threat-model.md "receive buffers are bounded": a batch is measured by its buffers, so that a
     * program cannot make the driver have 4 MiB of them for each processor at once */
    struct scene scene;
    enum { COUNT = 64, BYTES = 2001, BATCH = 0x50000 };

    scene_begin_rings(&scene, SERIAL(0));
    rings_put(scene.rings, packet_of(99, 4, 1), 99);
    port_expect(&scene.port, 0, packet_of(99, 4, 1), 99);
    nth_settle();
    const size_t before = nth_pool_bytes();
    put_unseen(&scene, COUNT, BYTES, false);
    CHECK_EQ(nth_mem_wait(scene.port.mem, 1 + COUNT, SECOND), 1 + COUNT);
    nth_settle();
    for (unsigned i = 0; i < COUNT; i++) {
        const struct nth_packet *got = nth_mem_packet(scene.port.mem, 1 + i);
        CHECK_MEM(got->data, packet_of(BYTES, 4, i), BYTES);
        CHECK_EQ(got->flags & NDIS_RECEIVE_FLAGS_RESOURCES, 0);
    }
    CHECK(nth_pool_bytes() - before <= BATCH + BATCH / 8); /* and their MDLs */
    scene_end(&scene);
}

TEST(burst_of_mixed_versions_goes_in_one_call_without_the_single_flag)
{
    /* design 2.4: "mixed versions in one call, the single-EtherType flag only when true" */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(0));
    put_unseen(&scene, 10, 100, true);
    CHECK_EQ(nth_mem_wait(scene.port.mem, 10, SECOND), 10);
    CHECK_EQ(nth_mem_indications(scene.port.mem), 1);
    for (unsigned i = 0; i < 10; i++) {
        CHECK_EQ(nth_mem_packet(scene.port.mem, i)->flags, NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL);
        CHECK_EQ(nth_mem_packet(scene.port.mem, i)->frame_type, i % 2 ? 0x86DD : 0x0800);
    }
    scene_end(&scene);
}

TEST(bad_content_between_good_packets_is_skipped_and_counted)
{
    /* lessons 19.8: bad content: skip and count; abi.md 2.6 [COMPAT: skip] */
    struct scene scene;
    static const struct {
        uint8_t first;
        uint32_t bytes;
    } bad[] = {{0x45, 0},  {0x45, 1},  {0x45, 19},   {0x60, 39}, {0x60, 20},
               {0x00, 60}, {0x50, 60}, {0xF0, 1500}, {0x54, 100}};

    scene_begin_rings(&scene, SERIAL(0));
    for (unsigned i = 0; i < 9; i++) {
        uint8_t packet[1500] = {bad[i].first};
        rings_put(scene.rings, packet, bad[i].bytes);
        rings_put(scene.rings, packet_of(70, 4, i), 70);
    }
    for (unsigned i = 0; i < 9; i++)
        port_expect(&scene.port, i, packet_of(70, 4, i), 70);
    nth_settle();
    CHECK_EQ(nth_mem_count(scene.port.mem), 9);
    CHECK_EQ(port_counter(&scene.port, WintunToStackNotIp), 9);
    CHECK_EQ(to_stack(scene.rings)->Head, to_stack(scene.rings)->Tail);
    scene_end(&scene);
}

/* ---- corruption ---- */

static uint32_t *word_at(struct ring_session *rings, uint32_t offset)
{
    return (uint32_t *)((uint8_t *)ring_to_stack(rings) + sizeof(WINTUN_RING) + offset);
}

/* One good packet, then what is said; the direction ends, and only it. */
static void corrupt(uint32_t size, uint32_t tail)
{
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    scene_rings(&scene, VIA_NDIS, &small);
    *word_at(scene.rings, 0) = 60;
    memcpy(word_at(scene.rings, 4), packet_of(60, 4, 1), 60);
    *word_at(scene.rings, 64) = size;
    __atomic_store_n((uint32_t *)&to_stack(scene.rings)->Tail, tail, __ATOMIC_SEQ_CST);
    client_event_set(scene.admin, ring_to_stack_event(scene.rings));
    nth_settle();
    CHECK_EQ(to_stack(scene.rings)->Head, WINTUN_RING_ENDED);
    CHECK(port_is_up(&scene.port)); /* abi.md 2.7: link stays Connected */
    CHECK_STATUS(port_send(&scene.port, packet_of(61, 4, 1), 61, NULL), NDIS_STATUS_SUCCESS);
    rings_expect(scene.rings, packet_of(61, 4, 1), 61);
    /* mending it is of no use: only a new registration restores it */
    to_stack(scene.rings)->Head = 0;
    to_stack(scene.rings)->Tail = 64;
    client_event_set(scene.admin, ring_to_stack_event(scene.rings));
    nth_settle();
    CHECK_EQ(nth_mem_count(scene.port.mem), tail < SMALL && tail >= 64 ? 1 : 0);
    CHECK(to_user(scene.rings)->Tail < SMALL);
    scene_end_rings(&scene);
    scene_rings(&scene, VIA_NDIS, &small);
    nth_mem_clear(scene.port.mem);
    rings_put(scene.rings, packet_of(60, 4, 1), 60);
    port_expect(&scene.port, 0, packet_of(60, 4, 1), 60);
    scene_end(&scene);
}

TEST(tail_beyond_capacity_ends_the_direction)
{
    /* abi.md 2.6: Tail < cap */
    corrupt(60, SMALL);
}

TEST(tail_of_all_ones_ends_the_direction)
{
    /* abi.md 2.6: Tail < cap */
    corrupt(60, WINTUN_RING_ENDED);
}

TEST(used_below_a_record_ends_the_direction)
{
    /* abi.md 2.6: Used >= 4 */
    corrupt(60, 66);
}

TEST(size_above_maximum_ends_the_direction)
{
    /* abi.md 2.6: Size <= 0xFFFF */
    corrupt(0x10000, SMALL - 4);
}

TEST(size_of_all_ones_ends_the_direction)
{
    /* abi.md 2.6: Size <= 0xFFFF; the record length must not wrap */
    corrupt(UINT32_MAX - 2, SMALL - 4);
}

TEST(record_beyond_tail_ends_the_direction)
{
    /* abi.md 2.6: R <= Used */
    corrupt(61, 128);
}

/* ---- memory ---- */

static void scribble(void *context)
{
    struct ring_session *rings = context;

    memset(word_at(rings, 0), 0xEE, 4096);
}

TEST(packet_rewritten_after_head_moved_is_unchanged_in_the_stack)
{
    /* design 2.4: "memory the client can still write is never shown to the stack" */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    nth_mem_hold(scene.port.mem, true);
    nth_mem_on_receive(scene.port.mem, scribble, scene.rings);
    rings_put(scene.rings, packet_of(1000, 4, 1), 1000);
    CHECK_EQ(nth_mem_wait(scene.port.mem, 1, SECOND), 1);
    nth_settle();
    CHECK_EQ(to_stack(scene.rings)->Head, 1004); /* though the stack still has it: design 2.4 */
    const NET_BUFFER_LIST *list = nth_mem_packet(scene.port.mem, 0)->list;
    CHECK(list);
    NET_BUFFER *buffer = NET_BUFFER_LIST_FIRST_NB(list);
    MDL *mdl = NET_BUFFER_CURRENT_MDL(buffer);
    CHECK_MEM(MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority), packet_of(1000, 4, 1), 1000);
    scene_end(&scene);
}

TEST(packet_begins_its_mdl_and_has_no_room_before_it)
{
    /* lessons 19.7 and 1269f86: one MDL per packet that starts exactly at the packet, offset 0;
     * bytes before the offset would be headroom that upper layers write to */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    nth_mem_hold(scene.port.mem, true);
    for (uint32_t i = 0; i < 4; i++)
        rings_put(scene.rings, packet_of(40 + i * 9000, 4, i), 40 + i * 9000);
    CHECK_EQ(nth_mem_wait(scene.port.mem, 4, SECOND), 4);
    for (unsigned i = 0; i < 4; i++) {
        const struct nth_packet *got = nth_mem_packet(scene.port.mem, i);
        NET_BUFFER *buffer = NET_BUFFER_LIST_FIRST_NB(got->list);
        CHECK_EQ(got->mdls, 1);
        CHECK_EQ(NET_BUFFER_DATA_OFFSET(buffer), 0);
        CHECK_EQ(NET_BUFFER_CURRENT_MDL_OFFSET(buffer), 0);
        CHECK(NET_BUFFER_CURRENT_MDL(buffer) == NET_BUFFER_FIRST_MDL(buffer));
        CHECK(!NET_BUFFER_NEXT_NB(buffer));
        CHECK_EQ(MmGetMdlByteCount(NET_BUFFER_FIRST_MDL(buffer)), got->bytes); /* nor behind it */
        uint8_t *data =
            MmGetSystemAddressForMdlSafe(NET_BUFFER_FIRST_MDL(buffer), NormalPagePriority);
        memset(data, 0x11, got->bytes); /* upper layers do write: it must be writable */
    }
    nth_mem_return_all(scene.port.mem);
    scene_end(&scene);
}

/* ---- a stack that keeps what it gets ---- */

TEST(receiver_that_never_returns_does_not_stop_the_ring)
{
    /* design 2.4: "ring space never waits for the stack"; below a low-water mark lists are
     * indicated with the resources flag */
    struct scene scene;
    unsigned lent = 0;
    enum { COUNT = 3000 };

    scene_begin(&scene, SERIAL(0));
    scene_rings(&scene, VIA_NDIS, &small);
    nth_mem_hold(scene.port.mem, true);
    for (uint32_t i = 0; i < COUNT; i++) {
        rings_put(scene.rings, packet_of(200 + i % 8 * 400, 4, i), 200 + i % 8 * 400);
        if (i % 16 == 15)
            nth_settle();
    }
    CHECK_EQ(nth_mem_wait(scene.port.mem, COUNT, 10 * SECOND), COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        const struct nth_packet *got = nth_mem_packet(scene.port.mem, i);
        CHECK_EQ(got->bytes, 200 + i % 8 * 400);
        CHECK_MEM(got->data, packet_of(got->bytes, 4, i), got->bytes);
        CHECK_EQ(!got->list, (got->flags & NDIS_RECEIVE_FLAGS_RESOURCES) != 0);
        lent += !got->list;
    }
    CHECK(lent > COUNT / 2);
    nth_mem_return_all(scene.port.mem);
    rings_put(scene.rings, packet_of(99, 4, 1), 99); /* and lists are given again */
    port_expect(&scene.port, COUNT, packet_of(99, 4, 1), 99);
    CHECK(nth_mem_packet(scene.port.mem, COUNT)->list);
    scene_end(&scene);
}

TEST(lists_returned_in_any_order_are_taken_back)
{
    /* NdisReturnNetBufferLists: in any order and any grouping; lessons 14e5532: own link field */
    struct scene scene;
    unsigned order[100];

    scene_begin_rings(&scene, SERIAL(1));
    nth_mem_hold(scene.port.mem, true);
    for (int round = 0; round < 5; round++) {
        put_unseen(&scene, 100, 300, true);
        CHECK_EQ(nth_mem_wait(scene.port.mem, 100, SECOND), 100);
        srand((unsigned)round + 1);
        for (unsigned i = 0; i < 100; i++)
            order[i] = i;
        for (unsigned i = 99; i > 0; i--) {
            const unsigned j = (unsigned)rand() % (i + 1), t = order[i];
            order[i] = order[j];
            order[j] = t;
        }
        for (unsigned i = 0; i < 100; i++)
            CHECK(nth_mem_return(scene.port.mem, order[i]));
        nth_mem_clear(scene.port.mem);
    }
    scene_end(&scene);
}

TEST(list_returned_with_a_filters_mdl_in_front_is_taken_back)
{
    /* lessons b2374da: "a filter may put other MDLs in the chain, so the first MDL is not always
     * ours"; what is not freed, or freed in its place, is a leak or a stop */
    struct scene scene;
    static uint8_t header[14];

    scene_begin_rings(&scene, SERIAL(1));
    scene_hold(&scene, 1, 900);
    NET_BUFFER *buffer = NET_BUFFER_LIST_FIRST_NB(nth_mem_packet(scene.port.mem, 0)->list);
    MDL *front = IoAllocateMdl(header, sizeof(header), FALSE, FALSE, NULL);
    front->Next = NET_BUFFER_FIRST_MDL(buffer);
    NET_BUFFER_FIRST_MDL(buffer) = NET_BUFFER_CURRENT_MDL(buffer) = front;
    CHECK(nth_mem_return(scene.port.mem, 0));
    nth_settle();
    IoFreeMdl(front);
    scene_end(&scene);
}

TEST(buffers_are_kept_by_their_size)
{
    /* adapter.c: of either size as many as were needed at once: a small one must not serve a large
     * packet, nor a large one be kept for small ones */
    struct scene scene;
    size_t bytes = 0;

    scene_begin_rings(
        &scene, &(const struct nth_config){.mode = NTH_SERIAL, .seed = 1, .relaxed_memory = true});
    for (int i = 0; i < 8; i++) {
        nth_mem_clear(scene.port.mem);
        scene_hold(&scene, 20, i % 2 ? 9000 : 900);
        nth_mem_return_all(scene.port.mem);
        nth_settle();
        expect_no_growth(i, &bytes);
    }
    scene_end(&scene);
}

/* ---- lists outstanding at the end ---- */

/* What the stack holds is still what was sent. */
static void expect_intact(const struct scene *scene, uint32_t count, uint32_t bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        NET_BUFFER *buffer = NET_BUFFER_LIST_FIRST_NB(nth_mem_packet(scene->port.mem, i)->list);
        CHECK_MEM(MmGetSystemAddressForMdlSafe(NET_BUFFER_FIRST_MDL(buffer), NormalPagePriority),
                  packet_of(bytes, 4, i), bytes);
    }
}

TEST(lists_outstanding_when_the_session_ends_stay_valid)
{
    /* lessons 19.1: memory given to NDIS outlives the session; 19.10: nobody waits for the stack */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    scene_hold(&scene, 20, 900);
    scene_end_rings(&scene);
    port_await_link(&scene.port, false);
    expect_intact(&scene, 20, 900);
    scene_rings(&scene, VIA_WINTUN, NULL); /* the next session begins meanwhile */
    rings_put(scene.rings, packet_of(901, 4, 1), 901);
    port_expect(&scene.port, 20, packet_of(901, 4, 1), 901);
    nth_mem_return_all(scene.port.mem);
    scene_end(&scene);
}

static void leave_no_memory(const struct nth_config *config)
{
    struct scene scene;

    scene_begin_rings(&scene, config);
    scene_hold(&scene, 20, 900);
    nth_mem_return_all(scene.port.mem);
    scene_end_rings(&scene);
    nth_settle();
    const size_t idle = nth_pool_bytes();
    scene_rings(&scene, VIA_NDIS, NULL);
    nth_mem_clear(scene.port.mem);
    scene_hold(&scene, 20, 9000);
    scene_end_rings(&scene);
    nth_settle();
    CHECK(nth_pool_bytes() > idle);
    nth_mem_return_all(scene.port.mem);
    nth_settle();
    CHECK_EQ(nth_pool_bytes(), idle); /* nor did the first session leave any */
    scene_end(&scene);
}

TEST(lists_returned_before_or_after_the_session_leave_no_memory)
{
    /* design 2.4: buffers are made with the session and bounded; who returns one later finds none
     */
    leave_no_memory(SERIAL(1));
}

TEST(buffers_kept_for_the_next_packet_go_with_the_session)
{
    /* as above, with lookaside lists that keep entries, as those of Windows do */
    leave_no_memory(
        &(const struct nth_config){.mode = NTH_SERIAL, .seed = 1, .relaxed_memory = true});
}

TEST(lists_outstanding_when_the_process_exits_stay_valid)
{
    /* lessons 6: "process cannot finish exiting": the wait must not depend on who holds packets */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    scene_hold(&scene, 20, 900);
    client_kill(scene.admin);
    port_await_link(&scene.port, false);
    expect_intact(&scene, 20, 900);
    nth_mem_return_all(scene.port.mem);
    scene.rings = NULL; /* gone with its process */
    scene_end(&scene);
}
