/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Whole lives of adapters, sessions and programs at random, several at once and with real
 * concurrency, for a few seconds: plug, register, carry, pause, kill, remove, and again. What must
 * hold at the end is what the machine checks all along, and that nothing is left.
 * Environment: STRESS_SECONDS (default 3), NTH_SEED.
 */
#include "scenario.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { PORTS = 3, ROOM = 0x20000 };

struct life {
    struct port port;
    uint64_t random;
    unsigned number, lives;
    atomic_bool is_over;
};

static uint64_t deadline;

static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15U;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
    z = (z ^ z >> 27) * 0x94D049BB133111EBU;
    return z ^ z >> 31;
}

static void doze(uint64_t *state, unsigned most_us)
{
    LARGE_INTEGER time = {.QuadPart = -(LONGLONG)(next(state) % most_us) * 10 - 1};

    KeDelayExecutionThread(KernelMode, FALSE, &time);
}

/* ---- what goes on while an adapter lives ---- */

static void stack_sends(void *context)
{
    struct life *life = context;

    for (uint32_t i = 0; !atomic_load(&life->is_over); i++) {
        const size_t bytes = (i * 977) % 4000;
        const NDIS_STATUS status = port_send(&life->port, packet_of(bytes, 4, i), bytes, NULL);
        CHECK(status == NDIS_STATUS_SUCCESS || status == NDIS_STATUS_MEDIA_DISCONNECTED ||
              status == NDIS_STATUS_PAUSED || status == NDIS_STATUS_NOT_ACCEPTED ||
              status == NDIS_STATUS_BUFFER_OVERFLOW);
    }
}

static void ndis_pauses(void *context)
{
    struct life *life = context;
    uint64_t state = life->number + 1000;

    while (!atomic_load(&life->is_over)) {
        nth_pause(life->port.adapter);
        doze(&state, 500);
        nth_restart(life->port.adapter);
        doze(&state, 2000);
    }
}

static void use_rings(struct client *client, client_handle file, uint64_t *state)
{
    static const struct ring_config small = {ROOM, ROOM};
    struct ring_session *rings;
    const uint8_t *got;
    uint8_t *room;
    uint32_t bytes;

    if (ring_open(client, file, &small, &rings) != STATUS_SUCCESS)
        return;
    for (unsigned i = (unsigned)(next(state) % 300); i; i--) {
        const size_t size = 20 + next(state) % 3000;
        if (ring_allocate(rings, (uint32_t)size, &room) == RING_READY) {
            memcpy(room, packet_of(size, 4, i), size);
            ring_send(rings, room);
        }
        while (ring_receive(rings, &got, &bytes) == RING_READY)
            ring_release(rings, got);
    }
    client_close(client, file); /* the rings' memory goes with the program */
}

static void use_file(struct client *client, client_handle file, uint64_t *state)
{
    uint8_t *room = program_alloc(client, 3 * ROOM);
    struct client_io *io = (struct client_io *)(room + 2 * ROOM);

    memcpy(room + 16, packet_of(100, 4, 1), 100);
    *(uint32_t *)room = 100;
    for (unsigned i = (unsigned)(next(state) % 100); i; i--) {
        client_write(client, file, room, 128, NULL);
        if (i % 8 == 0 && client_read_start(client, file, room + ROOM, ROOM, &io[i % 16]) >= 0 &&
            next(state) % 2)
            client_cancel(client, file, NULL);
    }
}

static void programs_come_and_go(void *context)
{
    struct life *life = context;
    uint64_t state = life->number + 2000 + life->lives;

    while (!atomic_load(&life->is_over)) {
        struct client *client = program(CLIENT_ADMIN);
        client_handle file;
        const enum route route = (enum route)(next(&state) % 2);
        if (port_open_status(&life->port, client, route,
                             CLIENT_READ | CLIENT_WRITE | CLIENT_OVERLAPPED,
                             &file) == STATUS_SUCCESS) {
            if (route == VIA_WINTUN && next(&state) % 2)
                use_file(client, file, &state);
            else
                use_rings(client, file, &state);
        }
        client_destroy(client); /* killed with whatever it still has */
    }
}

/* ---- a life ---- */

static void live(struct life *life)
{
    struct crew crew = {.count = 0};
    char id[40], instance[32];

    snprintf(id, sizeof(id), "{6E74686F-7374-4000-9000-%012X}", life->number);
    snprintf(instance, sizeof(instance), "ROOT\\NET\\1%03u", life->number);
    atomic_store(&life->is_over, false);
    CHECK_STATUS(port_try(&life->port,
                          &(struct nth_device_config){.net_cfg_id = id, .instance_id = instance}),
                 STATUS_SUCCESS);
    crew_start(&crew, "stack", stack_sends, life);
    crew_start(&crew, "stack", stack_sends, life);
    if (next(&life->random) % 2)
        crew_start(&crew, "pause", ndis_pauses, life);
    crew_start(&crew, "program", programs_come_and_go, life);
    crew_start(&crew, "program", programs_come_and_go, life);
    doze(&life->random, 100000);
    nth_mem_return_all(life->port.mem);
    const bool is_surprise = next(&life->random) % 2 != 0;
    if (is_surprise || nth_unplug(life->port.device) != STATUS_SUCCESS)
        nth_surprise_remove(life->port.device);
    atomic_store(&life->is_over, true);
    crew_join(&crew);
    port_forget(&life->port);
    life->lives++;
}

static void live_on(void *context)
{
    struct life *life = context;

    while (nth_clock_ns() < deadline)
        live(life);
}

TEST(lives_of_adapters_sessions_and_programs_at_random)
{
    /* lessons 19.17: "test with surprise-remove loops, process kill, and two adapters registered";
     * issue: random life cycles */
    static struct life lives[PORTS];
    struct crew crew = {.count = 0};
    unsigned total = 0;

    scenario_boot(PARALLEL);
    deadline = nth_clock_ns() + scenario_number("STRESS_SECONDS", 3) * SECOND;
    for (unsigned i = 0; i < PORTS; i++) {
        lives[i].number = i + 1;
        lives[i].random = scenario_number("NTH_SEED", 1) * 100 + i;
        crew_start(&crew, "life", live_on, &lives[i]);
    }
    crew_join(&crew);
    for (unsigned i = 0; i < PORTS; i++)
        total += lives[i].lives;
    CHECK(total > PORTS);
    printf("     %u lives\n", total);
    scenario_shutdown();
}
