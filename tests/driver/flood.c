/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A program that feeds its ring without end, from before its registration has returned: nobody may
 * have to wait until it stops.
 */
#include "scenario.h"

#include <stdatomic.h>

enum { RECORD = 64, PACKET = RECORD - WINTUN_RING_RECORD, BURST = 64 * RECORD, PATIENCE = 300000 };

static struct scene scene;
static _Atomic(volatile uint32_t *) ring; /* Head and Tail of the ring that is flooded */
static atomic_bool has_registered, is_over;

static void registers(void *context)
{
    struct client *other = program(CLIENT_SYSTEM);
    const client_handle file = port_open(&scene.port, other, VIA_WINTUN);
    const uint32_t size = WINTUN_RING_MIN_CAPACITY + WINTUN_RING_OVERHEAD;
    uint8_t *memory = program_alloc(other, 2 * (size_t)size);
    WINTUN_REGISTER_RINGS *request = program_alloc(other, sizeof(*request));

    *request = (WINTUN_REGISTER_RINGS){
        .ToUser = {size, 0, (uintptr_t)memory, program_event(other)},
        .ToStack = {size, 0, (uintptr_t)(memory + size), program_event(other)}};
    for (uint32_t at = 0; at < WINTUN_RING_MIN_CAPACITY; at += RECORD) {
        uint8_t *record = memory + size + sizeof(WINTUN_RING) + at;
        *(uint32_t *)record = PACKET;
        memcpy(record + WINTUN_RING_RECORD, packet_of(PACKET, 4, 1), PACKET);
    }
    atomic_store(&ring, (volatile uint32_t *)(memory + size));
    CHECK_STATUS(client_control(other, file, WINTUN_IOCTL_REGISTER_RINGS, request, sizeof(*request),
                                NULL, 0, NULL),
                 STATUS_SUCCESS);
    atomic_store(&has_registered, true);
    while (!atomic_load(&is_over))
        nth_point();
    client_destroy(other);
}

static void floods(void *context)
{
    volatile uint32_t *words;

    while ((words = atomic_load(&ring)) == NULL)
        nth_point();
    for (int i = 0; i < PATIENCE && !atomic_load(&has_registered); i++) {
        words[1] = (words[0] + BURST) % WINTUN_RING_MIN_CAPACITY; /* Tail: always more to come */
        nth_point();
    }
    const bool has_ended = atomic_load(&has_registered);
    atomic_store(&is_over, true);
    CHECK(has_ended);
}

static void flood_seeded(uint32_t seed)
{
    struct crew crew = {.count = 0};

    atomic_store(&ring, NULL);
    atomic_store(&has_registered, false);
    atomic_store(&is_over, false);
    scene_begin(&scene, SERIAL(seed));
    crew_start(&crew, "registers", registers, NULL);
    crew_start(&crew, "floods", floods, NULL);
    crew_join(&crew);
    scene_end(&scene);
}

TEST(registration_returns_though_its_ring_is_flooded)
{
    /* design 2.2: nobody waits for a user; the thread that registers waits for the link only */
    scenario_seeds(1, scenario_number("SCHEDULE_SEEDS", 20), flood_seeded);
}
