/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Malformed everything: programs that write random words into their rings, register random
 * structures, write random bundles and send random control codes, from several threads, while
 * traffic runs. Nothing of it may harm more than the program itself: the machine watches every
 * rule, and a program that behaves is served afterwards (lessons 19.2, 19.8; design 6 "memory
 * safety"). Environment: HOSTILE_ROUNDS scales the number of attempts; NTH_SEED replays.
 */
#include "scenario.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { SMALL = 0x20000, ROOM = 0x40000 };
static const struct ring_config small = {SMALL, SMALL};
static struct scene scene;
static atomic_uint running;

static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15U;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
    z = (z ^ z >> 27) * 0x94D049BB133111EBU;
    return z ^ z >> 31;
}

static unsigned rounds(unsigned usual)
{
    return usual * scenario_number("HOSTILE_ROUNDS", 1);
}

/* Numbers near those that mean something. */
static uint32_t odd_number(uint64_t *state)
{
    static const uint32_t base[] = {0,
                                    4,
                                    16,
                                    20,
                                    40,
                                    0xFFFF,
                                    0x10000,
                                    0x10004,
                                    SMALL,
                                    SMALL / 2,
                                    SMALL + WINTUN_RING_OVERHEAD,
                                    0x4000000,
                                    0x401000C,
                                    0x7FFFFFFF,
                                    0x80000000,
                                    0xFFFFFFFF};
    const uint64_t r = next(state);

    return r % 4 == 0 ? (uint32_t)next(state)
                      : base[r / 4 % 16] + (uint32_t)(r / 64 % 9) - (r / 1024 % 2 ? 4 : 0);
}

/* ---- what runs meanwhile ---- */

static void stack_sends(void *context)
{
    for (uint32_t i = 0; atomic_load(&running); i++) {
        const size_t bytes = (i * 977) % 5000;
        port_send(&scene.port, packet_of(bytes, 4, i), bytes, NULL);
        nth_settle();
    }
}

/* A behaving program gets service once the other has gone. */
static void expect_service(void)
{
    client_destroy(scene.admin);
    scene.admin = program(CLIENT_ADMIN);
    port_await_link(&scene.port, false);
    nth_mem_clear(scene.port.mem);
    scene_rings(&scene, VIA_NDIS, NULL);
    CHECK_STATUS(port_send(&scene.port, packet_of(77, 4, 1), 77, NULL), NDIS_STATUS_SUCCESS);
    rings_expect(scene.rings, packet_of(77, 4, 1), 77);
    rings_put(scene.rings, packet_of(78, 6, 1), 78);
    port_expect(&scene.port, 0, packet_of(78, 6, 1), 78);
}

static void with_traffic(const struct nth_config *config, void (*attack)(uint64_t *state))
{
    struct crew crew = {.count = 0};
    uint64_t state = scenario_number("NTH_SEED", 1) + config->seed;

    scene_begin(&scene, config);
    atomic_store(&running, 1);
    crew_start(&crew, "stack", stack_sends, NULL);
    attack(&state);
    atomic_store(&running, 0);
    crew_join(&crew);
    scene.rings = NULL;
    expect_service();
    scene_end(&scene);
}

/* ---- ring words ---- */

static void spoil_words(uint64_t *state)
{
    for (unsigned round = 0; round < rounds(12); round++) {
        scene_rings(&scene, (enum route)(round % 2), &small);
        uint32_t *const rings[] = {ring_to_user(scene.rings), ring_to_stack(scene.rings)};
        for (unsigned i = 0; i < 150; i++) {
            const uint64_t r = next(state);
            uint32_t *const ring = rings[r % 2];
            if (r / 2 % 4 == 0) /* a header word */
                ring[r / 8 % 3] = odd_number(state);
            else if (r / 2 % 4 == 1) /* somewhere in the data: a size, perhaps */
                ring[3 + r / 8 % (SMALL / 4)] = odd_number(state);
            else if (r / 2 % 4 == 2) { /* a plausible record at Head, and Tail behind it */
                const uint32_t at = (uint32_t)(r / 8 % (SMALL / 4)) * 4;
                rings[1][3 + at / 4] = odd_number(state);
                rings[1][4 + at / 4] = r & 1 ? 0x45 : 0x60;
                rings[1][1] = (at + odd_number(state)) & (SMALL - 1);
            } else {
                client_event_set(scene.admin, ring_to_stack_event(scene.rings));
            }
            if (i % 8 == 0)
                nth_settle();
        }
        CHECK_STATUS(client_close(scene.admin, scene.file), STATUS_SUCCESS);
        CHECK_EQ(rings[0][1], WINTUN_RING_ENDED);
        CHECK_EQ(rings[1][0], WINTUN_RING_ENDED);
        ring_close(scene.rings);
    }
}

TEST(random_ring_words_harm_only_the_program)
{
    /* lessons 19.2: read each shared field once; validate the copy */
    with_traffic(SERIAL(21), spoil_words);
}

TEST(random_ring_words_in_parallel_harm_only_the_program)
{
    /* as above */
    with_traffic(PARALLEL, spoil_words);
}

/* ---- registration structures ---- */

static void spoil_registrations(uint64_t *state)
{
    uint8_t *memory = program_alloc(scene.admin, 2 * ROOM);
    uint64_t *request = program_alloc(scene.admin, 256);
    const client_handle events[] = {program_event(scene.admin), program_event(scene.admin)};
    client_handle file = port_open(&scene.port, scene.admin, VIA_NDIS);
    unsigned accepted = 0;

    for (unsigned i = 0; i < rounds(3000); i++) {
        const uint32_t size = SMALL + WINTUN_RING_OVERHEAD;
        request[0] = request[3] = size;
        for (int h = 0; h < 2; h++) {
            request[3 * h + 1] = (uintptr_t)memory + (size_t)h * ROOM;
            request[3 * h + 2] = events[h];
            memset(memory + (size_t)h * ROOM, 0, 12);
        }
        for (uint64_t left = next(state) % 3; left; left--) {
            uint64_t *field = &request[next(state) % 6];
            *field = next(state) % 2 ? *field + odd_number(state) : next(state);
        }
        if (next(state) % 4 == 0)
            *(uint32_t *)(memory + next(state) % 3 * 4) = odd_number(state);
        const uint32_t bytes = next(state) % 5 ? 48 : odd_number(state) % 200;
        const client_status status = client_control(scene.admin, file, WINTUN_IOCTL_REGISTER_RINGS,
                                                    request, bytes, NULL, 0, NULL);
        if (status != STATUS_SUCCESS) {
            CHECK(!NT_SUCCESS(status));
            continue;
        }
        accepted++;
        CHECK_STATUS(client_close(scene.admin, file), STATUS_SUCCESS);
        file = port_open(&scene.port, scene.admin, (enum route)(i % 2));
    }
    CHECK(accepted > 0);
}

TEST(random_registrations_are_refused_or_harmless)
{
    /* abi.md 2.9; a success-severity status other than success is never given (lessons 19.15) */
    with_traffic(SERIAL(22), spoil_registrations);
}

TEST(random_registrations_in_parallel_are_refused_or_harmless)
{
    /* as above */
    with_traffic(PARALLEL, spoil_registrations);
}

/* ---- bundles ---- */

static void spoil_bundles(uint64_t *state)
{
    const client_handle file = port_open_overlapped(&scene.port, scene.admin, VIA_WINTUN);
    uint8_t *bundle = program_alloc(scene.admin, ROOM);
    unsigned accepted = 0;

    for (unsigned i = 0; i < rounds(3000); i++) {
        uint32_t at = 0;
        for (uint64_t records = next(state) % 6; records; records--) {
            const uint32_t size =
                next(state) % 3 ? (uint32_t)(next(state) % 2000) : odd_number(state);
            memset(bundle + at, 0, 16);
            memcpy(bundle + at, &size, 4);
            bundle[at + 16] = next(state) % 4 ? 0x45 : 0x60;
            if (next(state) % 8 == 0)
                bundle[at + 4 + next(state) % 12] = 1;
            at += 16 + ((size + 15) & ~15U) % 0x8000;
        }
        if (next(state) % 4 == 0)
            at += odd_number(state) % 64;
        const client_status status =
            client_write(scene.admin, file, bundle, at % (ROOM - 64), NULL);
        CHECK(status == STATUS_SUCCESS || status == STATUS_INVALID_PARAMETER);
        accepted += status == STATUS_SUCCESS;
        if (i % 64 == 0)
            nth_mem_clear(scene.port.mem);
    }
    CHECK(accepted > 100);
}

TEST(random_bundles_are_refused_or_delivered)
{
    /* design 3.3: all or nothing in its framing */
    with_traffic(SERIAL(23), spoil_bundles);
}

TEST(random_bundles_in_parallel_are_refused_or_delivered)
{
    /* as above */
    with_traffic(PARALLEL, spoil_bundles);
}

/* ---- control codes ---- */

static void spoil_controls(uint64_t *state)
{
    client_handle handles[2];
    uint8_t *in = program_alloc(scene.admin, 4096), *out = program_alloc(scene.admin, 4096);

    for (int i = 0; i < 2; i++)
        handles[i] = port_open(&scene.port, scene.admin, (enum route)i);
    for (unsigned i = 0; i < rounds(4000); i++) {
        static const uint32_t codes[] = {WINTUN_IOCTL_REGISTER_RINGS, WINTUN_IOCTL_QUERY,
                                         0xCA6CE5C7, 0xCA6CE600};
        const uint64_t r = next(state);
        const uint32_t code = r % 4 ? codes[r / 4 % 4] ^ (r / 16 % 4 ? 0 : 1U << r / 64 % 32)
                                    : (uint32_t)next(state) & ~3U;
        for (int j = 0; j < 64; j++)
            in[j] = (uint8_t)next(state);
        uint8_t *where = r / 4096 % 8 ? out : r / 32768 % 2 ? NULL : (uint8_t *)0x10000;
        uint32_t got = 0;
        const client_status status =
            client_control(scene.admin, handles[r / 2048 % 2], code, in, odd_number(state) % 4096,
                           where, odd_number(state) % 4096, &got);
        CHECK(got <= 4096);
        CHECK(status != STATUS_PENDING);
    }
}

TEST(random_control_codes_are_refused_or_answered)
{
    /* design 2.5; abi.md 2.1: other codes go to NDIS */
    with_traffic(SERIAL(24), spoil_controls);
}

/* ---- all at once ---- */

static void attack_words(void *context)
{
    uint64_t state = (uintptr_t)context;

    while (atomic_load(&running)) {
        uint32_t *const ring =
            next(&state) % 2 ? ring_to_user(scene.rings) : ring_to_stack(scene.rings);
        __atomic_store_n(&ring[next(&state) % 3], odd_number(&state), __ATOMIC_RELAXED);
        __atomic_store_n(&ring[3 + next(&state) % 64], odd_number(&state), __ATOMIC_RELAXED);
        client_event_set(scene.admin, ring_to_stack_event(scene.rings));
    }
}

static void attack_device(void *context)
{
    uint64_t state = (uintptr_t)context;
    struct client *other = program(CLIENT_ADMIN);
    uint8_t *memory = program_alloc(other, ROOM);

    while (atomic_load(&running)) {
        client_handle file;
        if (port_open_status(&scene.port, other, (enum route)(next(&state) % 2),
                             CLIENT_READ | CLIENT_WRITE, &file) != STATUS_SUCCESS)
            continue;
        client_write(other, file, memory, (uint32_t)next(&state) % 100, NULL);
        client_control(other, file, WINTUN_IOCTL_REGISTER_RINGS, memory, 48, NULL, 0, NULL);
        client_control(other, file, WINTUN_IOCTL_QUERY, NULL, 0, memory, 240, NULL);
        client_close(other, file);
    }
    client_destroy(other);
}

static void all_at_once(uint64_t *state)
{
    struct crew crew = {.count = 0};

    scene_rings(&scene, VIA_NDIS, &small);
    for (uintptr_t i = 1; i < 4; i++)
        crew_start(&crew, "words", attack_words, (void *)i);
    for (uintptr_t i = 1; i < 4; i++)
        crew_start(&crew, "device", attack_device, (void *)(i * 77));
    for (unsigned i = 0; i < 20; i++) {
        LARGE_INTEGER time = {.QuadPart = -50 * 10000};
        KeDelayExecutionThread(KernelMode, FALSE, &time);
        if (i % 4 == 1)
            CHECK_STATUS(nth_pause(scene.port.adapter), NDIS_STATUS_SUCCESS);
        if (i % 4 == 3)
            CHECK_STATUS(nth_restart(scene.port.adapter), NDIS_STATUS_SUCCESS);
    }
    atomic_store(&running, 0);
    crew_join(&crew);
}

TEST(everything_hostile_at_once_harms_only_the_program)
{
    /* issue: malformed everything */
    with_traffic(PARALLEL, all_at_once);
}
