/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.sys about file sessions: whose they are, how long they last, several readers
 * and writers at once, completion ports, pause and removal (design 2.1, 2.5, 3.3).
 */
#include "scenario.h"

#include <stdatomic.h>

enum { ROOM = 0x20000, READS = 8 };

static client_handle open_file(struct scene *scene, struct client *client)
{
    return port_open_overlapped(&scene->port, client, VIA_WINTUN);
}

/* A bundle of one packet in fresh memory of the program. */
static uint8_t *bundle_of(struct client *client, const void *packet, uint32_t bytes,
                          uint32_t *total)
{
    uint8_t *bundle = program_alloc(client, ROOM);

    memcpy(bundle, &bytes, 4);
    memcpy(bundle + 16, packet, bytes);
    *total = 16 + ((bytes + 15) & ~15U);
    return bundle;
}

static client_status write_one(struct client *client, client_handle file, uint32_t bytes)
{
    uint32_t total;
    uint8_t *bundle = bundle_of(client, packet_of(bytes, 4, bytes), bytes, &total);
    const client_status status = client_write(client, file, bundle, total, NULL);

    client_free(client, bundle, ROOM);
    return status;
}

/* ---- whose session ---- */

TEST(files_of_one_process_share_a_session_until_the_last_is_closed)
{
    /* design 2.1: a file session belongs to all data files of that process; "blocking programs open
     * twice"; ended by cleanup of the last file object that owns it */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    const client_handle a = open_file(&scene, scene.admin), b = open_file(&scene, scene.admin);
    const client_handle idle = open_file(&scene, scene.admin);
    CHECK_STATUS(write_one(scene.admin, a, 60), STATUS_SUCCESS);
    CHECK(port_is_up(&scene.port));
    const WINTUN_QUERY query = port_query(&scene.port);
    CHECK_EQ(query.SessionKind, WintunSessionFile);
    CHECK_EQ(query.OwnerProcess, client_process_id(scene.admin));
    CHECK_STATUS(write_one(scene.admin, b, 61), STATUS_SUCCESS);
    CHECK_STATUS(client_close(scene.admin, a), STATUS_SUCCESS);
    nth_settle();
    CHECK(port_is_up(&scene.port));
    CHECK_EQ(port_query(&scene.port).SessionKind, WintunSessionFile);
    CHECK_STATUS(write_one(scene.admin, b, 62), STATUS_SUCCESS);
    CHECK_STATUS(client_close(scene.admin, b), STATUS_SUCCESS);
    port_await_link(&scene.port, false); /* though one file is open: it never took part */
    CHECK_STATUS(write_one(scene.admin, idle, 63), STATUS_SUCCESS);
    CHECK_EQ(nth_mem_count(scene.port.mem), 4);
    CHECK_EQ(nth_mem_statuses(scene.port.mem, NDIS_STATUS_LINK_STATE), 3);
    scene_end(&scene);
}

TEST(file_of_another_process_is_refused_while_there_is_a_session)
{
    /* design 2.1: anyone else gets STATUS_ALREADY_INITIALIZED */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    struct client *other = program(CLIENT_SYSTEM);
    const client_handle a = open_file(&scene, scene.admin), b = open_file(&scene, other);
    uint8_t *room = program_alloc(other, ROOM);
    CHECK_STATUS(write_one(scene.admin, a, 60), STATUS_SUCCESS);
    CHECK_STATUS(write_one(other, b, 60), STATUS_ALREADY_INITIALIZED);
    CHECK_STATUS(client_read(other, b, room, ROOM, NULL), STATUS_ALREADY_INITIALIZED);
    WINTUN_QUERY query;
    CHECK_STATUS(query_file(other, b, &query), STATUS_SUCCESS); /* which starts no session */
    CHECK_STATUS(client_close(scene.admin, a), STATUS_SUCCESS);
    CHECK_STATUS(write_one(other, b, 60), STATUS_SUCCESS);
    CHECK_EQ(nth_mem_count(scene.port.mem), 2);
    client_destroy(other);
    scene_end(&scene);
}

TEST(duplicate_used_by_another_process_is_refused)
{
    /* design 2.1: the session is the process's, not the handle's */
    struct scene scene;
    client_handle copy;

    scene_begin(&scene, SERIAL(1));
    struct client *other = program(CLIENT_ADMIN);
    const client_handle a = open_file(&scene, scene.admin), b = open_file(&scene, scene.admin);
    CHECK_STATUS(client_duplicate(scene.admin, b, other, &copy), STATUS_SUCCESS);
    CHECK_STATUS(write_one(scene.admin, a, 60), STATUS_SUCCESS);
    CHECK_STATUS(write_one(other, copy, 60), STATUS_ALREADY_INITIALIZED);
    client_destroy(other);
    CHECK(port_is_up(&scene.port));
    scene_end(&scene);
}

TEST(file_session_ends_with_its_process_though_a_duplicate_lives)
{
    /* lessons 6, 19.11: exit of the process that began it */
    struct scene scene;
    client_handle copy;

    scene_begin(&scene, SERIAL(1));
    struct client *dying = program(CLIENT_ADMIN);
    const client_handle a = open_file(&scene, dying);
    CHECK_STATUS(client_duplicate(dying, a, scene.admin, &copy), STATUS_SUCCESS);
    CHECK_STATUS(write_one(dying, a, 60), STATUS_SUCCESS);
    client_destroy(dying);
    port_await_link(&scene.port, false);
    CHECK_STATUS(write_one(scene.admin, copy, 61), STATUS_SUCCESS);
    CHECK_EQ(port_query(&scene.port).OwnerProcess, client_process_id(scene.admin));
    scene_end(&scene);
}

TEST(rings_and_files_exclude_each_other)
{
    /* design 2.5: one kind of session at a time */
    struct scene scene;
    struct ring_session *rings;

    scene_begin(&scene, SERIAL(1));
    client_handle file = open_file(&scene, scene.admin);
    for (int route = 0; route < 2; route++) {
        scene_rings(&scene, (enum route)route, NULL);
        CHECK_STATUS(write_one(scene.admin, file, 60), STATUS_ALREADY_INITIALIZED);
        CHECK(!NT_SUCCESS(write_one(scene.admin, scene.file, 60)));
        scene_end_rings(&scene);
        CHECK_STATUS(write_one(scene.admin, file, 60), STATUS_SUCCESS);
        CHECK_STATUS(ring_open(scene.admin, file, NULL, &rings), STATUS_ALREADY_INITIALIZED);
        const client_handle other = port_open(&scene.port, scene.admin, (enum route)route);
        CHECK_STATUS(ring_open(scene.admin, other, NULL, &rings), STATUS_ALREADY_INITIALIZED);
        client_close(scene.admin, other);
        client_close(scene.admin, file);
        file = open_file(&scene, scene.admin);
    }
    scene_end(&scene);
}

struct late {
    struct scene scene;
    client_handle file;
    struct client_io *io;
    uint8_t *room;
    client_status status;
};

static void read_late(void *context)
{
    struct late *late = context;

    late->status = client_read_start(late->scene.admin, late->file, late->room, ROOM, late->io);
}

static void close_early(void *context)
{
    struct late *late = context;

    CHECK_STATUS(client_close(late->scene.admin, late->file), STATUS_SUCCESS);
}

static void read_and_close_seeded(uint32_t seed)
{
    struct late late = {.status = 0};
    struct crew crew = {.count = 0};

    scene_begin(&late.scene, SERIAL(seed));
    late.file = open_file(&late.scene, late.scene.admin);
    late.io = program_alloc(late.scene.admin, sizeof(*late.io));
    late.room = program_alloc(late.scene.admin, ROOM);
    crew_start(&crew, "reader", read_late, &late);
    crew_start(&crew, "closer", close_early, &late);
    crew_join(&crew);
    nth_settle();
    if (late.status == STATUS_PENDING)
        CHECK_STATUS((client_status)(uint32_t)late.io->status, STATUS_CANCELLED);
    else
        CHECK(late.status == STATUS_FILE_FORCED_CLOSED || late.status == STATUS_INVALID_HANDLE);
    CHECK(!port_is_up(&late.scene.port));
    scene_end(&late.scene);
}

TEST(read_that_comes_after_the_cleanup_of_its_file_begins_nothing)
{
    /* IRP_MJ_CLEANUP: a read that was under way on another thread would hold the file, and the
     * session with it, for ever: its close waits for the read */
    scenario_seeds(1, scenario_number("SCHEDULE_SEEDS", 60), read_and_close_seeded);
}

/* ---- completion ports ---- */

TEST(reads_complete_through_a_completion_port)
{
    /* design 2.5: usable with I/O completion ports */
    struct scene scene;
    client_handle port;
    struct client_io *done;
    uint64_t key;

    scene_begin(&scene, SERIAL(1));
    const client_handle file = open_file(&scene, scene.admin);
    struct client_io *io = program_alloc(scene.admin, READS * sizeof(*io));
    uint8_t *room = program_alloc(scene.admin, READS * ROOM);
    CHECK_STATUS(client_port(scene.admin, &port), STATUS_SUCCESS);
    CHECK_STATUS(client_port_bind(scene.admin, port, file, 77), STATUS_SUCCESS);
    for (int i = 0; i < READS; i++)
        CHECK_STATUS(client_read_start(scene.admin, file, room + i * ROOM, ROOM, &io[i]),
                     STATUS_PENDING);
    for (uint32_t i = 0; i < READS / 2; i++) {
        CHECK_STATUS(port_send(&scene.port, packet_of(40 + i, 4, i), 40 + i, NULL), 0);
        CHECK_STATUS(client_port_remove(scene.admin, port, SECOND, &key, &done), STATUS_SUCCESS);
        CHECK_EQ(key, 77);
        CHECK(done == &io[i]);
        CHECK_EQ(done->transferred, i ? 64 : 64);
    }
    CHECK_STATUS(client_cancel(scene.admin, file, NULL), STATUS_SUCCESS);
    for (int i = READS / 2; i < READS; i++) {
        CHECK_STATUS(client_port_remove(scene.admin, port, SECOND, &key, &done), STATUS_SUCCESS);
        CHECK_STATUS((client_status)(uint32_t)done->status, STATUS_CANCELLED);
    }
    scene_end(&scene);
}

/* ---- several at once ---- */

struct reader {
    struct scene *scene;
    client_handle file;
    uint8_t *room;
    atomic_uint *seen; /* one count per packet number */
    unsigned total;
};

static void read_until_end(void *context)
{
    struct reader *r = context;

    for (;;) {
        uint32_t got = 0;
        const client_status status = client_read(r->scene->admin, r->file, r->room, ROOM, &got);
        if (status == STATUS_CANCELLED || status == STATUS_FILE_FORCED_CLOSED)
            return;
        CHECK_STATUS(status, STATUS_SUCCESS);
        for (uint32_t at = 0; at < got;) {
            uint32_t bytes, number;
            memcpy(&bytes, r->room + at, 4);
            memcpy(&number, r->room + at + 16 + 24, 4);
            CHECK(number < r->total && bytes == 60 + number % 700);
            atomic_fetch_add(&r->seen[number], 1);
            at += 16 + ((bytes + 15) & ~15U);
        }
    }
}

static void send_numbers(void *context)
{
    struct reader *r = context;

    for (uint32_t i = 0; i < r->total; i++) {
        uint8_t packet[800];
        nth_ip_make(packet, 60 + i % 700, 4, i);
        memcpy(packet + 24, &i, 4);
        if (port_send(&r->scene->port, packet, 60 + i % 700, NULL) != NDIS_STATUS_SUCCESS)
            i--, nth_settle(); /* full: the readers catch up */
    }
}

static void several_readers(const struct nth_config *config, unsigned total)
{
    enum { READERS = 4 };
    struct scene scene;
    struct crew readers = {.count = 0}, sender = {.count = 0};
    struct reader all[READERS];
    static atomic_uint seen[20000];

    scene_begin(&scene, config);
    CHECK(total <= 20000);
    for (int i = 0; i < READERS; i++) {
        all[i] = (struct reader){&scene, open_file(&scene, scene.admin),
                                 program_alloc(scene.admin, ROOM), seen, total};
        CHECK_STATUS(write_one(scene.admin, all[i].file, 60), STATUS_SUCCESS); /* joins */
        crew_start(&readers, "reader", read_until_end, &all[i]);
    }
    crew_start(&sender, "sender", send_numbers, &all[0]);
    crew_join(&sender);
    for (unsigned i = 0; i < total; i++)
        for (int wait = 0; atomic_load(&seen[i]) == 0 && wait < 5000; wait++) {
            LARGE_INTEGER time = {.QuadPart = -10000};
            KeDelayExecutionThread(KernelMode, FALSE, &time);
        }
    for (int i = 0; i < READERS; i++)
        CHECK_STATUS(client_close(scene.admin, all[i].file), STATUS_SUCCESS);
    crew_join(&readers);
    for (unsigned i = 0; i < total; i++)
        CHECK_EQ(seen[i], 1);
    scene_end(&scene);
}

TEST(packets_reach_exactly_one_of_several_readers)
{
    /* issue: several readers; abi.md 1.4: reads from all handles form one queue */
    several_readers(PARALLEL, 10000);
}

TEST(packets_reach_exactly_one_of_several_readers_by_seed)
{
    /* as above */
    several_readers(SERIAL(11), 1000);
}

TEST(reads_beyond_what_a_sender_serves_are_the_workers)
{
    /* device.c: a sender in the pump serves a bounded number of reads, and nobody else may come:
     * one call of the stack brings packets for more */
    enum { MANY = 14, BYTES = 60000 };
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    const client_handle file = open_file(&scene, scene.admin);
    struct client_io *io = program_alloc(scene.admin, MANY * sizeof(*io));
    uint8_t *room = program_alloc(scene.admin, MANY * ROOM);
    for (int i = 0; i < MANY; i++)
        CHECK_STATUS(
            client_read_start(scene.admin, file, room + i * ROOM, WINTUN_BUNDLE_MIN_READ, &io[i]),
            STATUS_PENDING);
    struct nth_chain *chain = nth_chain_create(scene.port.mem);
    for (uint32_t i = 0; i < MANY; i++)
        nth_chain_packet(chain, packet_of(BYTES, 4, i), BYTES, NULL);
    nth_chain_send(chain, 0);
    CHECK(nth_chain_wait(chain, SECOND));
    nth_settle();
    for (uint32_t i = 0; i < MANY; i++) {
        CHECK_STATUS((client_status)(uint32_t)io[i].status, STATUS_SUCCESS);
        CHECK_MEM(room + i * ROOM + 16, packet_of(BYTES, 4, i), BYTES);
    }
    nth_chain_destroy(chain);
    scene_end(&scene);
}

struct writer {
    struct scene *scene;
    uint8_t *bundle;
    uint32_t bytes;
    client_handle file;
};

static void write_many(void *context)
{
    struct writer *w = context;

    for (int i = 0; i < 300; i++)
        CHECK_STATUS(client_write(w->scene->admin, w->file, w->bundle, w->bytes, NULL), 0);
}

TEST(writers_at_once_deliver_all)
{
    /* design 3.3: a write is indicated in the caller's thread; 4.3: receive buffers are shared */
    struct scene scene;
    struct crew crew = {.count = 0};
    struct writer all[4];

    scene_begin(&scene, PARALLEL);
    for (int i = 0; i < 4; i++) {
        all[i] = (struct writer){.scene = &scene, .file = open_file(&scene, scene.admin)};
        all[i].bundle = bundle_of(scene.admin, packet_of(1000, 4, 1), 1000, &all[i].bytes);
        memcpy(all[i].bundle + all[i].bytes, all[i].bundle, all[i].bytes);
        all[i].bytes *= 2;
        crew_start(&crew, "writer", write_many, &all[i]);
    }
    crew_join(&crew);
    CHECK_EQ(nth_mem_wait(scene.port.mem, 2400, 10 * SECOND), 2400);
    CHECK_EQ(port_counter(&scene.port, WintunToStackPackets), 2400);
    scene_end(&scene);
}

struct flipper {
    uint8_t *bundle;
    atomic_bool is_over;
};

static void flip(void *context)
{
    struct flipper *f = context;

    for (uint32_t i = 0; !atomic_load(&f->is_over); i++)
        *(volatile uint32_t *)(f->bundle + i % 4 * 32) = i % 3 ? 16 : 0xFFFFFFFF - i % 7;
}

TEST(bundle_rewritten_while_it_is_written_harms_only_the_program)
{
    /* lessons 19.2: sizes are read once and the copy checked (double fetch) */
    struct scene scene;
    struct crew crew = {.count = 0};
    struct flipper flipper = {.is_over = false};

    scene_begin(&scene, PARALLEL);
    const client_handle file = open_file(&scene, scene.admin);
    flipper.bundle = program_alloc(scene.admin, ROOM);
    crew_start(&crew, "flipper", flip, &flipper);
    for (int i = 0; i < 3000; i++) {
        const client_status status = client_write(scene.admin, file, flipper.bundle, 128, NULL);
        CHECK(status == STATUS_SUCCESS || status == STATUS_INVALID_PARAMETER);
    }
    atomic_store(&flipper.is_over, true);
    crew_join(&crew);
    scene_end(&scene);
}

static void flip_version(void *context)
{
    struct flipper *f = context;

    for (uint32_t i = 0; !atomic_load(&f->is_over); i++)
        *(volatile uint8_t *)(f->bundle + 16) = i % 2 ? 0x45 : 0x60;
}

TEST(version_rewritten_while_a_packet_is_copied_is_that_of_the_copy)
{
    /* lessons 1 HEAD: "version nibble is read twice"; the machine compares marks with the data
     * (rule nbl-marks). Large, so that there is time while it is copied */
    struct scene scene;
    struct crew crew = {.count = 0};
    struct flipper flipper = {.is_over = false};
    enum { BYTES = 60000, COUNT = 2000 };

    scene_begin(&scene, PARALLEL);
    const client_handle file = open_file(&scene, scene.admin);
    uint32_t total;
    flipper.bundle = bundle_of(scene.admin, packet_of(BYTES, 4, 1), BYTES, &total);
    crew_start(&crew, "flipper", flip_version, &flipper);
    for (int i = 0; i < COUNT; i++) {
        CHECK_STATUS(client_write(scene.admin, file, flipper.bundle, total, NULL), STATUS_SUCCESS);
        nth_mem_clear(scene.port.mem);
    }
    atomic_store(&flipper.is_over, true);
    crew_join(&crew);
    CHECK_EQ(port_counter(&scene.port, WintunToStackPackets), COUNT);
    scene_end(&scene);
}

/* ---- pause, power, removal ---- */

TEST(write_while_paused_is_accepted_and_discarded)
{
    /* lessons da3caad: "accept and discard"; abi.md 4.3 Pause: discarded and counted */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    const client_handle file = open_file(&scene, scene.admin);
    CHECK_STATUS(nth_pause(scene.port.adapter), NDIS_STATUS_SUCCESS);
    CHECK_STATUS(write_one(scene.admin, file, 60), STATUS_SUCCESS);
    CHECK_EQ(nth_mem_count(scene.port.mem), 0);
    CHECK_EQ(port_counter(&scene.port, WintunToStackPaused), 1);
    CHECK_EQ(port_query(&scene.port).State, WintunStatePaused);
    CHECK_STATUS(nth_restart(scene.port.adapter), NDIS_STATUS_SUCCESS);
    CHECK_STATUS(write_one(scene.admin, file, 60), STATUS_SUCCESS);
    CHECK_EQ(nth_mem_count(scene.port.mem), 1);
    scene_end(&scene);
}

TEST(read_stays_pending_across_pause_and_sleep)
{
    /* lessons 19.11: sessions survive pause; abi.md 1.6 and 4.3 */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    const client_handle file = open_file(&scene, scene.admin);
    struct client_io *io = program_alloc(scene.admin, sizeof(*io));
    uint8_t *room = program_alloc(scene.admin, ROOM);
    CHECK_STATUS(client_read_start(scene.admin, file, room, ROOM, io), STATUS_PENDING);
    CHECK_STATUS(nth_pause(scene.port.adapter), NDIS_STATUS_SUCCESS);
    CHECK_STATUS(nth_restart(scene.port.adapter), NDIS_STATUS_SUCCESS);
    CHECK_STATUS(nth_sleep(), STATUS_SUCCESS);
    CHECK_STATUS(nth_wake(), STATUS_SUCCESS);
    CHECK_EQ(io->status, STATUS_PENDING);
    CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL), NDIS_STATUS_SUCCESS);
    nth_settle();
    CHECK_STATUS((client_status)(uint32_t)io->status, STATUS_SUCCESS);
    scene_end(&scene);
}

TEST(file_session_goes_on_between_query_and_cancel_remove)
{
    /* design 2.5: query-remove refuses sessions that would begin; one of files, whose handles veto
     * nothing, ends when the adapter goes and not before */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    struct client *other = program(CLIENT_ADMIN);
    const client_handle file = open_file(&scene, scene.admin), second = open_file(&scene, other);
    CHECK_STATUS(write_one(scene.admin, file, 60), STATUS_SUCCESS);
    CHECK_STATUS(nth_query_remove(scene.port.device), STATUS_SUCCESS);
    CHECK_STATUS(write_one(scene.admin, file, 61), STATUS_SUCCESS);
    CHECK_STATUS(client_close(scene.admin, file), STATUS_SUCCESS);
    CHECK_STATUS(write_one(other, second, 62), NDIS_STATUS_ADAPTER_NOT_READY);
    CHECK_STATUS(nth_cancel_remove(scene.port.device), STATUS_SUCCESS);
    CHECK_STATUS(write_one(other, second, 63), STATUS_SUCCESS);
    CHECK_EQ(nth_mem_count(scene.port.mem), 3);
    client_destroy(other);
    scene_end(&scene);
}

static void pending_read_at_removal(bool is_surprise)
{
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    const client_handle file = open_file(&scene, scene.admin);
    struct client_io *io = program_alloc(scene.admin, 4 * sizeof(*io));
    uint8_t *room = program_alloc(scene.admin, 4 * ROOM);
    for (int i = 0; i < 4; i++)
        CHECK_STATUS(client_read_start(scene.admin, file, room + i * ROOM, ROOM, &io[i]),
                     STATUS_PENDING);
    if (is_surprise)
        nth_surprise_remove(scene.port.device);
    else
        CHECK_STATUS(nth_unplug(scene.port.device), STATUS_SUCCESS);
    nth_settle();
    for (int i = 0; i < 4; i++)
        CHECK_STATUS((client_status)(uint32_t)io[i].status, STATUS_FILE_FORCED_CLOSED);
    CHECK_STATUS(client_read(scene.admin, file, room, ROOM, NULL), STATUS_FILE_FORCED_CLOSED);
    CHECK_STATUS(write_one(scene.admin, file, 60), STATUS_FILE_FORCED_CLOSED);
    port_forget(&scene.port);
    CHECK_STATUS(client_close(scene.admin, file), STATUS_SUCCESS);
    scene_end(&scene);
}

TEST(reads_end_as_forced_closed_at_removal)
{
    /* lessons 7004db4: finish all I/O at once; abi.md 1.4: STATUS_FILE_FORCED_CLOSED, which clients
     * take for the end (ERROR_HANDLE_EOF) */
    pending_read_at_removal(false);
}

TEST(reads_end_as_forced_closed_at_surprise_removal)
{
    /* as above */
    pending_read_at_removal(true);
}
