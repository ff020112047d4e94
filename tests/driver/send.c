/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.sys: what becomes of packets that Windows sends, one list or chain at a time.
 * Statuses are those of abi.md 2.6 as design 2.3 changes them: a packet that does not fit is lost
 * alone, and data that cannot be accessed is dropped, not zero-filled.
 */
#include "scenario.h"

#include <stdlib.h>

enum { SMALL = 0x20000 };
static const struct ring_config small = {SMALL, SMALL};

static NET_BUFFER *first_buffer(struct nth_chain *chain, unsigned list)
{
    return NET_BUFFER_LIST_FIRST_NB(nth_chain_nbl(chain, list));
}

/* ---- every size, every cut ---- */

TEST(packet_of_every_size_arrives)
{
    /* abi.md 2.4: records of 0 to 0xFFFF bytes, always contiguous, wrapping into the trailing area
     */
    struct scene scene;

    scene_begin(&scene, &(const struct nth_config){.mode = NTH_SERIAL, .relaxed_memory = true});
    scene_rings(&scene, VIA_NDIS, &small);
    uint8_t *packet = malloc(WINTUN_MAX_PACKET);
    nth_ip_make(packet, WINTUN_MAX_PACKET, 4, 7);
    for (uint32_t bytes = 0; bytes <= WINTUN_MAX_PACKET; bytes++) {
        CHECK_STATUS(port_send(&scene.port, packet, bytes, NULL), NDIS_STATUS_SUCCESS);
        rings_expect(scene.rings, packet, bytes);
        if (bytes % 64 == 0)
            packet[bytes]++;
    }
    rings_expect_empty(scene.rings);
    CHECK_EQ(port_counter(&scene.port, WintunToUserPackets), 65536);
    CHECK_EQ(port_counter(&scene.port, WintunToUserBytes), 65535ULL * 65536 / 2);
    free(packet);
    scene_end(&scene);
}

TEST(packet_cut_at_every_place_arrives_whole)
{
    /* NET_BUFFER_DATA: DataOffset, CurrentMdl and any number of MDLs; MmGetMdlByteCount of each */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(0));
    for (size_t bytes = 20; bytes <= 44; bytes += 12) {
        for (size_t a = 0; a <= bytes; a++) {
            for (size_t b = 0; a + b <= bytes; b += 1 + b / 4) {
                const size_t cuts[] = {a, b};
                const struct nth_shape shape = {
                    .offset = (a + b) % 5, .tail = b % 3, .cuts = cuts, .cut_count = 2};
                const uint8_t *packet = packet_of(bytes, 4, (uint32_t)(a * 64 + b));
                CHECK_STATUS(port_send(&scene.port, packet, bytes, &shape), NDIS_STATUS_SUCCESS);
                rings_expect(scene.rings, packet, bytes);
            }
        }
    }
    scene_end(&scene);
}

TEST(packet_of_one_byte_mdls_arrives_whole)
{
    /* NET_BUFFER_DATA as above: as many MDLs as bytes */
    struct scene scene;
    size_t cuts[200];

    scene_begin_rings(&scene, SERIAL(0));
    for (unsigned i = 0; i < 200; i++)
        cuts[i] = 1;
    const uint8_t *packet = packet_of(190, 6, 3);
    CHECK_STATUS(port_send(&scene.port, packet, 190,
                           &(struct nth_shape){.offset = 7, .cuts = cuts, .cut_count = 197}),
                 NDIS_STATUS_SUCCESS);
    rings_expect(scene.rings, packet, 190);
    scene_end(&scene);
}

TEST(packet_of_random_shape_arrives_whole)
{
    /* NET_BUFFER_DATA as above, larger packets, offsets beyond the first MDL */
    struct scene scene;
    unsigned seed = scenario_number("NTH_SEED", 3);

    srand(seed);
    scene_begin_rings(&scene, SERIAL(0));
    for (int round = 0; round < 400; round++) {
        size_t cuts[12];
        const size_t bytes = (size_t)rand() % 9000 + 20;
        for (int i = 0; i < 12; i++)
            cuts[i] = (size_t)rand() % 1500;
        const uint8_t *packet = packet_of(bytes, 4, (uint32_t)round);
        CHECK_STATUS(port_send(&scene.port, packet, bytes,
                               &(struct nth_shape){.offset = (size_t)rand() % 3000,
                                                   .tail = (size_t)rand() % 50,
                                                   .cuts = cuts,
                                                   .cut_count = (unsigned)rand() % 13}),
                     NDIS_STATUS_SUCCESS);
        rings_expect(scene.rings, packet, bytes);
    }
    scene_end(&scene);
}

TEST(record_at_every_offset_before_the_end_is_contiguous)
{
    /* abi.md 2.4: "one that starts near the end simply continues into the trailing area"; the next
     * offset is (offset + R) & (cap - 1) */
    struct scene scene;
    static const uint32_t sizes[] = {0, 1, 20, 1500, 9000, WINTUN_MAX_PACKET};

    scene_begin(&scene, SERIAL(0));
    for (uint32_t back = 4; back <= 0x10010; back += back < 64 ? 4 : back / 2 & ~3U) {
        for (unsigned i = 0; i < 6; i++) {
            scene_rings(&scene, VIA_NDIS, &small);
            for (uint32_t left = SMALL - back; left;) { /* walk to the place */
                const uint32_t step = left > 0x8000 ? 0x8000 : left;
                CHECK_STATUS(port_send(&scene.port, packet_of(step - 4, 4, 1), step - 4, NULL),
                             NDIS_STATUS_SUCCESS);
                rings_expect(scene.rings, packet_of(step - 4, 4, 1), step - 4);
                left -= step;
            }
            CHECK_EQ(to_user(scene.rings)->Tail, SMALL - back);
            const uint8_t *packet = packet_of(sizes[i], 4, back);
            CHECK_STATUS(port_send(&scene.port, packet, sizes[i], NULL), NDIS_STATUS_SUCCESS);
            CHECK_EQ(to_user(scene.rings)->Tail,
                     (SMALL - back + ((sizes[i] + 7) & ~3U)) & (SMALL - 1));
            rings_expect(scene.rings, packet, sizes[i]);
            scene_end_rings(&scene);
        }
    }
    scene_end(&scene);
}

/* ---- statuses ---- */

TEST(send_without_session_is_media_disconnected)
{
    /* abi.md 2.6: no session, NDIS_STATUS_MEDIA_DISCONNECTED, out-discards; lessons bce44d3 */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL),
                 NDIS_STATUS_MEDIA_DISCONNECTED);
    CHECK_EQ(port_counter(&scene.port, WintunToUserNoSession), 1);
    scene_rings(&scene, VIA_NDIS, NULL);
    CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL), NDIS_STATUS_SUCCESS);
    scene_end_rings(&scene);
    CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL),
                 NDIS_STATUS_MEDIA_DISCONNECTED);
    CHECK_EQ(port_counter(&scene.port, WintunToUserNoSession), 2);
    CHECK_EQ(port_counter(&scene.port, WintunToUserPackets), 1);
    scene_end(&scene);
}

TEST(send_with_open_file_but_no_session_is_media_disconnected)
{
    /* design 2.1: opening a file creates no session */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    for (int route = 0; route < 2; route++) {
        const client_handle file = port_open(&scene.port, scene.admin, (enum route)route);
        CHECK(!port_is_up(&scene.port));
        CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL),
                     NDIS_STATUS_MEDIA_DISCONNECTED);
        client_close(scene.admin, file);
    }
    scene_end(&scene);
}

TEST(send_raced_with_pause_is_paused)
{
    /* abi.md 2.6: paused, NDIS_STATUS_PAUSED; MiniportPause: reject all send requests immediately
     */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    CHECK_STATUS(nth_pause(scene.port.adapter), NDIS_STATUS_SUCCESS);
    struct nth_chain *chain = nth_chain_create(scene.port.mem);
    for (int i = 0; i < 5; i++) {
        nth_chain_list(chain, NULL);
        nth_chain_packet(chain, packet_of(80, 4, 1), 80, NULL);
    }
    nth_send_unchecked(scene.port.adapter, nth_chain_nbl(chain, 0), 0);
    CHECK(nth_chain_wait(chain, SECOND));
    for (unsigned i = 0; i < 5; i++)
        CHECK_STATUS(nth_chain_status(chain, i), NDIS_STATUS_PAUSED);
    nth_chain_destroy(chain);
    CHECK_EQ(port_counter(&scene.port, WintunToUserPaused), 5); /* lessons 96553f4 */
    rings_expect_empty(scene.rings);
    nth_restart(scene.port.adapter);
    CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL), NDIS_STATUS_SUCCESS);
    scene_end(&scene);
}

static void hostile_head(uint32_t head)
{
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    scene_rings(&scene, VIA_NDIS, &small);
    CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL), NDIS_STATUS_SUCCESS);
    to_user(scene.rings)->Head = head;
    CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL),
                 NDIS_STATUS_ADAPTER_NOT_READY);
    CHECK_EQ(to_user(scene.rings)->Tail, 64); /* nothing was written */
    CHECK_EQ(port_counter(&scene.port, WintunToUserCorrupt), 1);
    to_user(scene.rings)->Head = 64; /* the program's own fault, which it may mend */
    CHECK_STATUS(port_send(&scene.port, packet_of(61, 4, 1), 61, NULL), NDIS_STATUS_SUCCESS);
    scene_end(&scene);
}

TEST(send_with_head_beyond_capacity_is_adapter_not_ready)
{
    /* abi.md 2.6: client's Head >= cap */
    hostile_head(SMALL);
}

TEST(send_with_head_of_end_marker_is_adapter_not_ready)
{
    /* abi.md 2.6: client's Head >= cap */
    hostile_head(WINTUN_RING_ENDED);
}

TEST(send_with_misaligned_head_is_adapter_not_ready)
{
    /* abi.md 2.4: offsets are multiples of 4; lessons "misaligned Head/Tail accepted" */
    hostile_head(66);
}

TEST(send_into_full_ring_is_buffer_overflow)
{
    /* abi.md 2.6: does not fit, NDIS_STATUS_BUFFER_OVERFLOW; "Free" keeps 4 bytes */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    scene_rings(&scene, VIA_NDIS, &small);
    CHECK_STATUS(port_send(&scene.port, packet_of(0xFFFC, 4, 1), 0xFFFC, NULL), 0);
    CHECK_EQ(to_user(scene.rings)->Tail, 0x10000);
    /* free: cap - 0x10000 - 4 = 0xFFFC, so a record of 0x10000 is 4 too long */
    CHECK_STATUS(port_send(&scene.port, packet_of(0xFFFC, 4, 2), 0xFFFC, NULL),
                 NDIS_STATUS_BUFFER_OVERFLOW);
    CHECK_STATUS(port_send(&scene.port, packet_of(0xFFF8, 4, 3), 0xFFF8, NULL),
                 NDIS_STATUS_SUCCESS);
    CHECK_EQ(to_user(scene.rings)->Tail, SMALL - 4);
    CHECK_STATUS(port_send(&scene.port, "", 0, NULL), NDIS_STATUS_BUFFER_OVERFLOW);
    CHECK_EQ(port_counter(&scene.port, WintunToUserFull), 2);
    rings_expect(scene.rings, packet_of(0xFFFC, 4, 1), 0xFFFC);
    CHECK_STATUS(port_send(&scene.port, packet_of(0xFFFC, 4, 4), 0xFFFC, NULL), 0);
    rings_expect(scene.rings, packet_of(0xFFF8, 4, 3), 0xFFF8);
    rings_expect(scene.rings, packet_of(0xFFFC, 4, 4), 0xFFFC);
    scene_end(&scene);
}

TEST(packet_too_long_is_invalid_length_and_the_rest_goes)
{
    /* abi.md 2.6: one packet > 0xFFFF, that list INVALID_LENGTH, out-errors +1, the rest is sent */
    struct scene scene;
    uint8_t *packet = calloc(1, 0x11000);

    scene_begin_rings(&scene, SERIAL(1));
    struct nth_chain *chain = nth_chain_create(scene.port.mem);
    for (size_t i = 0; i < 3; i++) {
        nth_chain_list(chain, NULL);
        nth_chain_packet(chain, packet, i == 1 ? 0x10000 : 0xFFFF, NULL);
    }
    nth_chain_send(chain, 0);
    CHECK(nth_chain_wait(chain, SECOND));
    CHECK_STATUS(nth_chain_status(chain, 0), NDIS_STATUS_SUCCESS);
    CHECK_STATUS(nth_chain_status(chain, 1), NDIS_STATUS_INVALID_LENGTH);
    CHECK_STATUS(nth_chain_status(chain, 2), NDIS_STATUS_SUCCESS);
    CHECK(!nth_chain_altered(chain));
    nth_chain_destroy(chain);
    rings_expect(scene.rings, packet, 0xFFFF);
    rings_expect(scene.rings, packet, 0xFFFF);
    rings_expect_empty(scene.rings);
    CHECK_EQ(port_counter(&scene.port, WintunToUserTooLong), 1);
    free(packet);
    scene_end(&scene);
}

TEST(packet_whose_memory_cannot_be_mapped_is_dropped_alone)
{
    /* design 2.3 replaces abi.md 2.6: dropped, not zero-filled; status FAILURE, out-discards +1.
     * A shorter MDL chain than DataLength says stands for memory that is not there. */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    struct nth_chain *chain = nth_chain_create(scene.port.mem);
    for (uint32_t i = 0; i < 3; i++) {
        nth_chain_list(chain, NULL);
        nth_chain_packet(chain, packet_of(500, 4, i), 500, &(struct nth_shape){.tail = 12});
    }
    MDL *mdl = NET_BUFFER_FIRST_MDL(first_buffer(chain, 1));
    void *const mapped = mdl->MappedSystemVa;
    const CSHORT flags = mdl->MdlFlags;
    mdl->MdlFlags &= ~(MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL);
    mdl->MdlFlags |= MDL_PAGES_LOCKED;
    nth_fault_arm(1u << NTH_FAULT_MAP, 1);
    nth_chain_send(chain, 0);
    CHECK(nth_chain_wait(chain, SECOND));
    CHECK(nth_fault_fired());
    nth_fault_arm(0, 0);
    mdl->MdlFlags = flags;
    mdl->MappedSystemVa = mapped;
    CHECK_STATUS(nth_chain_status(chain, 0), NDIS_STATUS_SUCCESS);
    CHECK_STATUS(nth_chain_status(chain, 1), NDIS_STATUS_FAILURE);
    CHECK_STATUS(nth_chain_status(chain, 2), NDIS_STATUS_SUCCESS);
    nth_chain_destroy(chain);
    rings_expect(scene.rings, packet_of(500, 4, 0), 500);
    rings_expect(scene.rings, packet_of(500, 4, 2), 500);
    rings_expect_empty(scene.rings);
    CHECK_EQ(port_counter(&scene.port, WintunToUserInaccessible), 1);
    scene_end(&scene);
}

/* ---- chains ---- */

TEST(chain_of_many_lists_and_buffers_keeps_order_and_links)
{
    /* lessons 19.14: complete chains as received, do not touch their links; order of submission */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    struct nth_chain *chain = nth_chain_create(scene.port.mem);
    uint32_t made = 0;
    for (int list = 0; list < 60; list++) {
        nth_chain_list(chain, NULL);
        for (int buffer = 0; buffer < 1 + list % 7; buffer++, made++)
            nth_chain_packet(chain, packet_of(40 + made % 300, 4 + made % 2 * 2, made),
                             40 + made % 300, NULL);
    }
    nth_chain_send(chain, 0);
    CHECK(nth_chain_wait(chain, SECOND));
    CHECK(!nth_chain_altered(chain));
    for (unsigned i = 0; i < 60; i++) {
        CHECK_STATUS(nth_chain_status(chain, i), NDIS_STATUS_SUCCESS);
        CHECK(NET_BUFFER_LIST_NEXT_NBL(nth_chain_nbl(chain, i)) ==
              (i < 59 ? nth_chain_nbl(chain, i + 1) : NULL));
    }
    for (uint32_t i = 0; i < made; i++)
        rings_expect(scene.rings, packet_of(40 + i % 300, 4 + i % 2 * 2, i), 40 + i % 300);
    rings_expect_empty(scene.rings);
    nth_chain_destroy(chain);
    scene_end(&scene);
}

TEST(chain_larger_than_the_ring_loses_only_what_does_not_fit)
{
    /* design 2.3: "a packet that does not fit is dropped alone and counted; the rest of the chain
     * goes. A list that lost any packet is not completed as success" */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    scene_rings(&scene, VIA_NDIS, &small);
    struct nth_chain *chain = nth_chain_create(scene.port.mem);
    for (uint32_t i = 0; i < 200; i++) { /* 1004 bytes each: 130 fit in 0x1FFFC */
        nth_chain_list(chain, NULL);
        nth_chain_packet(chain, packet_of(1000, 4, i), 1000, NULL);
    }
    nth_chain_list(chain, NULL);
    nth_chain_packet(chain, packet_of(28, 4, 1), 28, NULL); /* and this one after all */
    nth_chain_send(chain, 0);
    CHECK(nth_chain_wait(chain, SECOND));
    const unsigned fit = (SMALL - 4) / 1004;
    for (unsigned i = 0; i < 200; i++)
        CHECK_STATUS(nth_chain_status(chain, i),
                     i < fit ? NDIS_STATUS_SUCCESS : NDIS_STATUS_BUFFER_OVERFLOW);
    CHECK_STATUS(nth_chain_status(chain, 200), NDIS_STATUS_SUCCESS);
    CHECK_EQ(port_counter(&scene.port, WintunToUserFull), 200 - fit);
    for (unsigned i = 0; i < fit; i++)
        rings_expect(scene.rings, packet_of(1000, 4, i), 1000);
    rings_expect(scene.rings, packet_of(28, 4, 1), 28);
    rings_expect_empty(scene.rings);
    nth_chain_destroy(chain);
    scene_end(&scene);
}

TEST(list_that_lost_one_of_its_packets_is_not_success)
{
    /* design 2.3 as above; the list's first reason is its status */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    scene_rings(&scene, VIA_NDIS, &small);
    struct nth_chain *chain = nth_chain_create(scene.port.mem);
    nth_chain_packet(chain, packet_of(0xC000, 4, 1), 0xC000, NULL);
    nth_chain_packet(chain, packet_of(0xFFFF, 4, 2), 0xFFFF, NULL);
    nth_chain_packet(chain, packet_of(0x8000, 4, 3), 0x8000, NULL); /* fits no more */
    nth_chain_packet(chain, packet_of(100, 4, 4), 100, NULL);
    nth_chain_send(chain, 0);
    CHECK(nth_chain_wait(chain, SECOND));
    CHECK_STATUS(nth_chain_status(chain, 0), NDIS_STATUS_BUFFER_OVERFLOW);
    nth_chain_destroy(chain);
    rings_expect(scene.rings, packet_of(0xC000, 4, 1), 0xC000);
    rings_expect(scene.rings, packet_of(0xFFFF, 4, 2), 0xFFFF);
    rings_expect(scene.rings, packet_of(100, 4, 4), 100);
    CHECK_EQ(port_counter(&scene.port, WintunToUserFull), 1);
    CHECK_EQ(port_counter(&scene.port, WintunToUserPackets), 3);
    scene_end(&scene);
}

TEST(chain_of_more_than_one_turn_arrives_whole)
{
    /* design 2.3: at most 256 KiB a turn, which nobody notices */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    scene_rings(&scene, VIA_NDIS, NULL);
    struct nth_chain *chain = nth_chain_create(scene.port.mem);
    for (uint32_t i = 0; i < 1000; i++)
        nth_chain_packet(chain, packet_of(1400, 4, i), 1400, NULL);
    nth_chain_send(chain, 0);
    CHECK(nth_chain_wait(chain, SECOND));
    CHECK_STATUS(nth_chain_status(chain, 0), NDIS_STATUS_SUCCESS);
    nth_chain_destroy(chain);
    for (uint32_t i = 0; i < 1000; i++)
        rings_expect(scene.rings, packet_of(1400, 4, i), 1400);
    scene_end(&scene);
}

TEST(cancelled_sends_complete_as_they_would_anyway)
{
    /* MiniportCancelSend: nothing is ever held that could be cancelled (abi.md 4.3: a no-op) */
    struct scene scene;
    static char id;

    scene_begin_rings(&scene, SERIAL(1));
    struct nth_chain *chain = nth_chain_create(scene.port.mem);
    nth_chain_list(chain, &id);
    nth_chain_packet(chain, packet_of(50, 4, 1), 50, NULL);
    nth_chain_send(chain, 0);
    nth_cancel_sends(scene.port.adapter, &id);
    CHECK(nth_chain_wait(chain, SECOND));
    CHECK_STATUS(nth_chain_status(chain, 0), NDIS_STATUS_SUCCESS);
    nth_chain_destroy(chain);
    scene_end(&scene);
}

/* ---- the event ---- */

TEST(event_is_set_after_each_publication_whatever_alertable_says)
{
    /* abi.md 2.5 [COMPAT], lessons 19.5 and 19.6 */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    for (int alertable = -1; alertable <= 1; alertable++) {
        to_user(scene.rings)->Alertable = alertable;
        for (int i = 0; i < 3; i++) {
            CHECK(!event_is_set(scene.admin, ring_to_user_event(scene.rings)));
            CHECK_STATUS(port_send(&scene.port, packet_of(50, 4, 1), 50, NULL), 0);
            CHECK(event_is_set(scene.admin, ring_to_user_event(scene.rings)));
            CHECK_EQ(to_user(scene.rings)->Alertable, alertable);
        }
    }
    scene_end(&scene);
}

TEST(event_is_not_set_when_nothing_was_published)
{
    /* lessons ecf7026: notify only on a real move */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    const volatile WINTUN_RING *ring = to_user(scene.rings);
    to_user(scene.rings)->Head = ring->Tail + 4; /* no room for 60 bytes? there is: full but 4 */
    to_user(scene.rings)->Head = WINTUN_RING_ENDED;
    CHECK_STATUS(port_send(&scene.port, packet_of(50, 4, 1), 50, NULL),
                 NDIS_STATUS_ADAPTER_NOT_READY);
    CHECK(!event_is_set(scene.admin, ring_to_user_event(scene.rings)));
    to_user(scene.rings)->Head = 0;
    scene_end(&scene);
}
