/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The races that matter, one thread at a time in an order that a seed decides at every kernel call:
 * the end of a session, by whatever cause, against sends, receives, reads, cancellation, pause and
 * power. The machine watches every rule meanwhile; a failing seed replays with NTH_SEED.
 * Environment: SCHEDULE_SEEDS, number of seeds a test (default 60), STRESS_SECONDS.
 */
#include "scenario.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { ROOM = 0x20000, READS = 4 };

/* One machine's worth of actors; set up before they start. */
static struct scene scene;
static client_handle files[2];
static uint8_t *room;
static struct client_io *io;
static atomic_bool is_over;

static unsigned seeds(void)
{
    return scenario_number("SCHEDULE_SEEDS", 60);
}

/* ---- actors ---- */

static void stack_sends(void *context)
{
    for (uint32_t i = 0; i < 12 && !nth_mem_is_detached(scene.port.mem); i++) {
        const size_t bytes = 20 + (i * 977) % 3000;
        const NDIS_STATUS status = port_send(&scene.port, packet_of(bytes, 4, i), bytes, NULL);
        CHECK(status == NDIS_STATUS_SUCCESS || status == NDIS_STATUS_MEDIA_DISCONNECTED ||
              status == NDIS_STATUS_PAUSED || status == NDIS_STATUS_NOT_ACCEPTED);
    }
}

/* The program's packets, as long as its ring is alive. */
static void program_puts(void *context)
{
    for (uint32_t i = 0; i < 12; i++) {
        uint8_t *packet;
        if (ring_allocate(scene.rings, 100, &packet) != RING_READY)
            return;
        memcpy(packet, packet_of(100, 4 + i % 2 * 2, i), 100);
        ring_send(scene.rings, packet);
    }
}

static void program_takes(void *context)
{
    const uint8_t *packet;
    uint32_t bytes;

    for (;;) {
        switch (ring_receive(scene.rings, &packet, &bytes)) {
        case RING_READY:
            CHECK(bytes >= 20 && bytes < 3020);
            ring_release(scene.rings, packet);
            break;
        case RING_EMPTY:
            if (atomic_load(&is_over))
                return;
            ring_wait(scene.rings, 100 * MSEC);
            break;
        default:
            CHECK_EQ(to_user(scene.rings)->Tail, WINTUN_RING_ENDED);
            return;
        }
    }
}

static void program_reads(void *context)
{
    const client_handle file = files[0];

    for (int i = 0; i < 3; i++) {
        const client_status status = client_read(scene.admin, file, room, ROOM, NULL);
        if (!NT_SUCCESS(status))
            return;
    }
}

static void program_starts_reads(void *context)
{
    for (int i = 0; i < READS; i++)
        client_read_start(scene.admin, files[1], room + (size_t)(i + 2) * ROOM, ROOM, &io[i]);
}

static void program_cancels(void *context)
{
    for (int i = 0; i < READS; i++)
        client_cancel(scene.admin, files[1], i % 2 ? &io[i] : NULL);
}

static void program_writes(void *context)
{
    for (int i = 0; i < 6; i++) {
        const client_status status = client_write(scene.admin, files[0], room + ROOM, 80, NULL);
        if (!NT_SUCCESS(status))
            return;
    }
}

static void program_closes(void *context)
{
    client_close(scene.admin, scene.rings ? scene.file : files[0]);
    if (!scene.rings)
        client_close(scene.admin, files[1]);
}

static void program_dies(void *context)
{
    client_kill(scene.admin);
}

static void ndis_pauses(void *context)
{
    for (int i = 0; i < 3; i++) {
        nth_pause(scene.port.adapter);
        nth_restart(scene.port.adapter);
    }
}

static void system_sleeps(void *context)
{
    for (int i = 0; i < 2; i++) {
        nth_sleep();
        nth_wake();
    }
}

static void stack_asks(void *context)
{
    uint64_t value;
    ULONG written;

    for (int i = 0; i < 8 && !nth_mem_is_detached(scene.port.mem); i++)
        nth_query(scene.port.adapter, OID_GEN_XMIT_OK, &value, 8, &written);
}

static void device_vanishes(void *context)
{
    nth_surprise_remove(scene.port.device);
}

static void device_is_removed(void *context)
{
    const NTSTATUS status = nth_unplug(scene.port.device);

    if (status != STATUS_SUCCESS)
        nth_surprise_remove(scene.port.device);
}

static void other_registers(void *context)
{
    struct client *other = program(CLIENT_SYSTEM);
    struct ring_session *rings;
    client_handle file;

    for (int i = 0; i < 4; i++) {
        if (port_open_status(&scene.port, other, (enum route)(i % 2), CLIENT_READ | CLIENT_WRITE,
                             &file) != STATUS_SUCCESS)
            continue;
        const client_status status =
            ring_open(other, file, &(struct ring_config){0x20000, 0x20000}, &rings);
        CHECK(status == STATUS_SUCCESS || status == STATUS_ALREADY_INITIALIZED ||
              status == NDIS_STATUS_ADAPTER_NOT_READY || status == STATUS_FILE_FORCED_CLOSED);
        client_close(other, file);
        if (status == STATUS_SUCCESS) {
            rings_expect_ended(other, rings);
            ring_close(rings);
        }
    }
    client_destroy(other);
}

/* ---- plays ---- */

typedef void actor(void *context);
enum { RINGS_NDIS, RINGS_WINTUN, FILES };

static void begin(uint32_t seed, int kind)
{
    scene_begin(&scene, SERIAL(seed));
    atomic_store(&is_over, false);
    if (kind != FILES) {
        scene_rings(&scene, kind == RINGS_NDIS ? VIA_NDIS : VIA_WINTUN, NULL);
        return;
    }
    for (int i = 0; i < 2; i++)
        files[i] = port_open_overlapped(&scene.port, scene.admin, VIA_WINTUN);
    room = program_alloc(scene.admin, (READS + 2) * ROOM);
    io = program_alloc(scene.admin, READS * sizeof(*io));
    *(uint32_t *)(room + ROOM) = 60;
    memcpy(room + ROOM + 16, packet_of(60, 4, 1), 60);
}

static void play(uint32_t seed, int kind, actor *const *cast, unsigned count)
{
    struct crew crew = {.count = 0};
    bool is_gone = false;

    begin(seed, kind);
    nth_mem_hold(scene.port.mem, seed % 2); /* half of the time lists stay outstanding */
    for (unsigned i = 0; i < count; i++) {
        is_gone |= cast[i] == device_vanishes || cast[i] == device_is_removed;
        crew_start(&crew, "actor", cast[i], NULL);
    }
    for (int i = 0; i < 40; i++) {
        LARGE_INTEGER time = {.QuadPart = -100 * 10000};
        KeDelayExecutionThread(KernelMode, FALSE, &time);
        if (!is_gone)
            nth_mem_return_all(scene.port.mem); /* so that a pause gets on */
    }
    atomic_store(&is_over, true);
    client_kill(scene.admin); /* ends whatever still reads */
    crew_join(&crew);
    client_destroy(scene.admin);
    scene.rings = NULL;
    nth_settle();
    if (is_gone)
        port_forget(&scene.port);
    else
        port_unplug(&scene.port);
    scenario_shutdown();
}

#define PLAY(name, kind, ...)                                                                      \
    static void name##_seeded(uint32_t seed)                                                       \
    {                                                                                              \
        static actor *const cast[] = {__VA_ARGS__};                                                \
        play(seed, kind, cast, sizeof(cast) / sizeof(*cast));                                      \
    }                                                                                              \
    TEST(name)                                                                                     \
    {                                                                                              \
        /* lessons 19.9, 19.10, 19.12, 19.17: flag and grace period before draining; waits for     \
         * nobody's program; design 2.2: the two gates */                                          \
        scenario_seeds(1, seeds(), name##_seeded);                                                 \
    }

static void wake_seeded(uint32_t seed)
{
    begin(seed, RINGS_NDIS);
    srand(seed);
    for (uint32_t i = 0; i < 150; i++) {
        /* the driver spins for some 100 us of this machine's time before it goes to sleep */
        LARGE_INTEGER time = {.QuadPart = -1 - rand() % 1500};
        KeDelayExecutionThread(KernelMode, FALSE, &time);
        const uint64_t before = nth_clock_ns();
        rings_put(scene.rings, packet_of(60, 4, i), 60);
        CHECK_EQ(nth_mem_wait(scene.port.mem, i + 1, SECOND), i + 1);
        CHECK(nth_clock_ns() - before < 5 * MSEC);
    }
    scene_end(&scene);
}

TEST(wake_up_of_a_client_with_a_fence_is_never_lost)
{
    /* lessons 19.3, c072f4f: full fence on both sides; here each packet comes while the driver goes
     * to sleep after the one before, and must not wait for the re-check that old clients need */
    scenario_seeds(1, seeds(), wake_seeded);
}

/* A program that is killed owns the memory of its rings: then nobody looks there. */
PLAY(close_while_sending_and_receiving, RINGS_NDIS, stack_sends, stack_sends, program_puts,
     program_takes, program_closes)
PLAY(close_while_pausing, RINGS_WINTUN, stack_sends, program_puts, ndis_pauses, program_closes)
PLAY(exit_while_sending_and_pausing, RINGS_NDIS, stack_sends, stack_sends, ndis_pauses,
     program_dies)
PLAY(exit_while_others_register, RINGS_WINTUN, stack_sends, program_dies, other_registers,
     other_registers)
PLAY(close_while_others_register, RINGS_NDIS, stack_sends, program_puts, program_closes,
     other_registers, other_registers)
PLAY(sleep_while_sending_and_closing, RINGS_NDIS, stack_sends, system_sleeps, program_puts,
     program_closes)
PLAY(surprise_removal_while_sending_and_receiving, RINGS_WINTUN, stack_sends, stack_asks,
     program_puts, program_takes, device_vanishes)
PLAY(surprise_removal_while_the_process_exits, RINGS_WINTUN, stack_sends, program_dies,
     device_vanishes)
PLAY(removal_while_the_process_exits, RINGS_NDIS, stack_sends, program_dies, device_is_removed)
PLAY(removal_while_closing, RINGS_NDIS, stack_sends, program_puts, program_closes,
     device_is_removed)
PLAY(removal_while_others_register, RINGS_WINTUN, stack_sends, other_registers, device_is_removed)
PLAY(files_close_while_reading_writing_and_sending, FILES, stack_sends, program_reads,
     program_writes, program_starts_reads, program_closes)
PLAY(files_exit_while_reading_writing_and_sending, FILES, stack_sends, program_reads,
     program_writes, program_starts_reads, program_dies)
PLAY(files_cancel_while_sending, FILES, stack_sends, stack_sends, program_starts_reads,
     program_cancels, program_reads)
PLAY(files_pause_while_reading_and_writing, FILES, stack_sends, program_reads, program_writes,
     ndis_pauses, program_closes)
PLAY(files_surprise_removal_while_reading_and_writing, FILES, stack_sends, program_reads,
     program_writes, program_starts_reads, device_vanishes)
PLAY(files_removal_while_reading_and_writing, FILES, stack_sends, program_reads, program_writes,
     program_starts_reads, program_cancels, device_is_removed)
PLAY(files_against_rings, FILES, stack_sends, program_reads, program_writes, other_registers,
     program_closes)

static void read_and_go_seeded(uint32_t seed)
{
    static actor *const cast[] = {program_starts_reads, program_closes, device_vanishes};

    play(seed, FILES, cast, 3);
}

TEST(files_close_and_vanish_while_reads_start)
{
    /* IRP_MJ_CLOSE: comes when all requests "have been completed", not when the routines that began
     * them have returned; lessons 19.10: whoever uses the adapter has a reference to it */
    scenario_seeds(1, 4 * seeds(), read_and_go_seeded);
}
