/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * User processes as programs see them: threads inside the host, Linux children behind a socket, and
 * the user end of version 1 rings (the test plays the driver's end).
 */
#include "caller.h"

#include "client/ring.h"

#include <wintun-abi.h>

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void boot_parallel(void)
{
    boot_with(&(struct nth_config){.mode = NTH_PARALLEL}, "gnu-O2");
}

static struct client *spawn(const char *program_name, const char *argument, int *pid)
{
    char path[128];
    char *argv[] = {path, (char *)(uintptr_t)argument, NULL};

    snprintf(path, sizeof(path), "out/children/%s", program_name);
    struct client *client = client_spawn(
        &(struct client_config){.name = program_name, .token = CLIENT_ADMIN}, path, argv, pid);
    CHECK(client != NULL);
    return client;
}

static void run_child(const char *program_name, const char *argument)
{
    int pid = 0;
    struct client *client = spawn(program_name, argument, &pid);
    const int status = client_child_wait(client);

    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
    client_destroy(client);
}

/* ---- in the host ---- */

TEST(io_synchronous_and_asynchronous_answer_alike)
{
    /* DeviceIoControl with and without FILE_FLAG_OVERLAPPED. */
    uint32_t transferred = 0;
    boot();
    struct client *client = program(CLIENT_USER);
    const client_handle plain = open_caller(client, 0);
    const client_handle overlapped = open_caller(client, CLIENT_OVERLAPPED);
    uint64_t *memory = client_alloc(client, 4096);
    struct client_io *io = (struct client_io *)(memory + 64);
    memory[0] = 5;
    CHECK_STATUS(client_control(client, plain, CODE_ECHO, memory, 8, memory + 8, 8, &transferred),
                 STATUS_SUCCESS);
    CHECK_EQ(memory[8], 5);
    CHECK_EQ(transferred, 8);
    memory[0] = 6;
    CHECK_STATUS(
        client_control(client, overlapped, CODE_ECHO, memory, 8, memory + 8, 8, &transferred),
        STATUS_SUCCESS);
    CHECK_EQ(memory[8], 6);
    memory[0] = 7;
    CHECK_STATUS(client_event(client, true, false, &io->event), STATUS_SUCCESS);
    CHECK_STATUS(client_control_start(client, overlapped, CODE_ECHO, memory, 8, memory + 8, 8, io),
                 STATUS_SUCCESS);
    CHECK_STATUS(client_wait(client, &io->event, 1, 0, NULL), STATUS_SUCCESS);
    CHECK_EQ(io->transferred, 8);
    CHECK_EQ(memory[8], 7);
    client_destroy(client);
    unload();
}

TEST(io_with_addresses_of_nobody_is_an_access_violation)
{
    /* "Failure to Validate Object Handles", "Buffered I/O": the I/O manager probes user buffers. */
    static char host_memory[64];
    boot();
    struct client *client = program(CLIENT_USER), *other = program(CLIENT_USER);
    const client_handle file = open_caller(client, 0);
    char *mine = client_alloc(client, 4096), *theirs = client_alloc(other, 4096);
    CHECK_STATUS(client_control(client, file, CODE_ECHO, host_memory, 8, mine, 8, NULL),
                 STATUS_ACCESS_VIOLATION);
    CHECK_STATUS(client_control(client, file, CODE_ECHO, theirs, 8, mine, 8, NULL),
                 STATUS_ACCESS_VIOLATION);
    CHECK_STATUS(client_control(client, file, CODE_ECHO, mine + 4092, 8, mine, 8, NULL),
                 STATUS_ACCESS_VIOLATION);
    CHECK_STATUS(client_control_start(client, file, CODE_ECHO, mine, 8, mine, 8,
                                      (struct client_io *)(void *)host_memory),
                 STATUS_ACCESS_VIOLATION);
    CHECK_STATUS(client_control(client, file, CODE_ECHO, mine, 8, mine, 8, NULL), STATUS_SUCCESS);
    client_destroy(other);
    client_destroy(client);
    unload();
}

TEST(cancel_ends_the_one_request_or_all)
{
    /* CancelIoEx: one request by its OVERLAPPED, or all of the file. */
    boot();
    struct client *client = program(CLIENT_USER);
    const client_handle file = open_caller(client, CLIENT_OVERLAPPED);
    struct client_io *io = client_alloc(client, 4096);
    for (unsigned i = 0; i < 3; i++)
        CHECK_STATUS(client_control_start(client, file, CODE_PEND, NULL, 0, NULL, 0, &io[i]),
                     STATUS_PENDING);
    CHECK_STATUS(client_cancel(client, file, &io[1]), STATUS_SUCCESS);
    CHECK_STATUS(io[0].status, STATUS_PENDING);
    CHECK_STATUS(io[1].status, STATUS_CANCELLED);
    CHECK_STATUS(client_cancel(client, file, NULL), STATUS_SUCCESS);
    CHECK_STATUS(io[0].status, STATUS_CANCELLED);
    CHECK_STATUS(io[2].status, STATUS_CANCELLED);
    CHECK_STATUS(client_cancel(client, file, NULL), STATUS_NOT_FOUND);
    client_destroy(client);
    unload();
}

TEST(wait_answers_the_lowest_signalled_handle)
{
    /* WaitForMultipleObjects: the smallest index of all signalled objects. */
    client_handle events[3];
    unsigned index = 9;
    boot();
    struct client *client = program(CLIENT_USER);
    for (unsigned i = 0; i < 3; i++)
        client_event(client, false, i != 0, &events[i]);
    CHECK_STATUS(client_wait(client, events, 3, UINT64_MAX, &index), STATUS_SUCCESS);
    CHECK_EQ(index, 1);
    CHECK_STATUS(client_wait(client, events, 3, UINT64_MAX, &index), STATUS_SUCCESS);
    CHECK_EQ(index, 2);
    CHECK_STATUS(client_wait(client, events, 3, 1000, &index), STATUS_TIMEOUT);
    events[1] = 0x4444;
    CHECK_STATUS(client_wait(client, events, 3, 0, &index), STATUS_INVALID_HANDLE);
    CHECK_STATUS(client_wait(client, events, 0, 0, &index), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(client_wait(client, events, 65, 0, &index), STATUS_INVALID_PARAMETER);
    client_destroy(client);
    unload();
}

TEST(path_that_is_no_text_is_refused)
{
    /* A path is UTF-8 and at most 32,767 characters. */
    static char longer[40000];
    client_handle handle = 0;
    boot();
    struct client *client = program(CLIENT_USER);
    memset(longer, 'a', sizeof(longer) - 1);
    CHECK(NT_ERROR(client_open(client, "\\\\.\\\xC3", CLIENT_READ, &handle)));
    CHECK(NT_ERROR(client_open(client, "\\\\.\\\xF5\x80\x80\x80", CLIENT_READ, &handle)));
    CHECK(NT_ERROR(client_open(client, "\\\\.\\\xC0\x80", CLIENT_READ, &handle)));
    CHECK(NT_ERROR(client_open(client, longer, CLIENT_READ, &handle)));
    CHECK(NT_ERROR(client_open(client, "", CLIENT_READ, &handle)));
    CHECK_STATUS(client_open(client, "\\\\?\\CALLER", CLIENT_READ, &handle), STATUS_SUCCESS);
    client_destroy(client);
    unload();
}

TEST(wow64_memory_lies_below_four_gigabytes)
{
    /* A 32-bit process has 32-bit addresses. */
    boot();
    struct client *client = client_create(
        &(struct client_config){.name = "wow64", .token = CLIENT_USER, .wow64 = true});
    char *memory = client_alloc(client, 0x10000);
    CHECK(memory != NULL && P(memory + 0x10000) < 0x100000000u);
    client_destroy(client);
    unload();
}

/* ---- Linux children ---- */

TEST(child_every_call_works)
{
    boot_parallel();
    run_child("child", "basic");
    unload();
}

TEST(child_works_in_the_serial_machine_too)
{
    boot();
    run_child("child", "basic");
    unload();
}

TEST(child_threads_come_and_go)
{
    /* One connection per thread; more threads in all than connections at once. */
    boot_parallel();
    run_child("child", "threads");
    unload();
}

TEST(child_thread_that_ends_has_its_requests_cancelled)
{
    /* "Canceling IRPs": when a thread terminates, its pending IRPs are cancelled. */
    boot_parallel();
    run_child("child", "thread_exit");
    unload();
}

TEST(child_killed_with_requests_under_way_leaves_nothing)
{
    /* Process death at any moment: requests, locked buffers, waits, files. */
    int out[2], pid = 0;
    char byte = 0;
    boot_parallel();
    CHECK(pipe(out) == 0 && dup2(out[1], STDOUT_FILENO) >= 0);
    close(out[1]);
    struct client *client = spawn("child", "victim", &pid);
    nth_leave();
    CHECK_EQ(read(out[0], &byte, 1), 1);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    nth_enter(NULL);
    const int status = client_child_wait(client);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    client_destroy(client);
    CHECK(log_find(CALLER_CANCELLED, 1) != NULL);
    CHECK(log_find(CALLER_CLEANUP, 0) != NULL);
    CHECK(log_find(CALLER_CLOSE, 0) != NULL);
    unload();
}

TEST(child_killed_at_random_moments_leaves_nothing)
{
    /* The same wherever the signal meets the child: starting, connecting, calling. */
    boot_parallel();
    for (unsigned i = 0; i < 30; i++) {
        int pid = 0;
        struct client *client = spawn("child", i % 2 != 0 ? "threads" : "basic", &pid);
        nth_leave();
        usleep(i * 300);
        kill(pid, SIGKILL);
        nth_enter(NULL);
        client_child_wait(client);
        client_destroy(client);
    }
    unload();
}

TEST(child_that_cannot_start_is_an_exit_status)
{
    int pid = 0;
    boot_parallel();
    struct client *client = spawn("no-such-program", NULL, &pid);
    const int status = client_child_wait(client);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 127);
    client_destroy(client);
    unload();
}

TEST(child_destroyed_while_it_runs_is_killed)
{
    int pid = 0, out[2];
    char byte = 0;
    boot_parallel();
    CHECK(pipe(out) == 0 && dup2(out[1], STDOUT_FILENO) >= 0);
    struct client *client = spawn("child", "victim", &pid);
    nth_leave();
    CHECK_EQ(read(out[0], &byte, 1), 1);
    nth_enter(NULL);
    client_destroy(client);
    CHECK_EQ(kill(pid, 0), -1);
    CHECK_EQ(errno, ESRCH);
    unload();
}

TEST(child_malformed_messages_are_refused)
{
    /* Hostile input is normal input: the host answers and goes on. */
    char seed[16];
    boot_parallel();
    for (unsigned i = 1; i <= 4; i++) {
        snprintf(seed, sizeof(seed), "%u", i);
        run_child("hostile", seed);
    }
    run_child("child", "basic");
    unload();
}

/* ---- rings: the test is the driver ---- */

enum { CAPACITY = WINTUN_RING_MIN_CAPACITY };

struct rings {
    struct client *client;
    client_handle file;
    struct ring_session *session;
    WINTUN_RING *user, *stack;
};

static struct rings rings_begin(void)
{
    struct rings r = {.client = NULL};

    boot();
    r.client = program(CLIENT_ADMIN);
    r.file = open_caller(r.client, 0);
    CHECK_STATUS(ring_open(r.client, r.file,
                           &(struct ring_config){.to_user_capacity = CAPACITY,
                                                 .to_stack_capacity = CAPACITY},
                           &r.session),
                 STATUS_SUCCESS);
    r.user = ring_to_user(r.session);
    r.stack = ring_to_stack(r.session);
    return r;
}

static void rings_end(struct rings *r)
{
    client_close(r->client, r->file);
    ring_close(r->session);
    client_destroy(r->client);
    unload();
}

static uint8_t *data_of(WINTUN_RING *ring)
{
    return (uint8_t *)(ring + 1);
}

static uint32_t record(uint32_t size)
{
    return (4 + size + 3) & ~3u;
}

/* The driver's producer: one packet of size bytes, each of value. */
static void produce(WINTUN_RING *ring, uint32_t size, uint8_t value)
{
    uint8_t *at = data_of(ring) + ring->Tail;

    memcpy(at, &size, 4);
    memset(at + 4, value, size);
    ring->Tail = (ring->Tail + record(size)) & (CAPACITY - 1);
}

TEST(ring_packets_arrive_whole_at_every_wrap_offset)
{
    /* wintun-abi.h: a record that begins near the end continues into the trailing area. */
    struct rings r = rings_begin();
    const uint8_t *packet = NULL;
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        const uint32_t size = (i * 7919) % 65536;
        produce(r.user, size, (uint8_t)i);
        CHECK_EQ(ring_receive(r.session, &packet, &bytes), RING_READY);
        CHECK_EQ(bytes, size);
        for (uint32_t j = 0; j < size; j += 997)
            CHECK_EQ(packet[j], (uint8_t)i);
        ring_release(r.session, packet);
        CHECK_EQ(r.user->Head, r.user->Tail);
        CHECK_EQ(ring_receive(r.session, &packet, &bytes), RING_EMPTY);
    }
    rings_end(&r);
}

TEST(ring_head_moves_over_the_released_prefix_only)
{
    /* wintun-abi.h, Head: first unread record; the driver overwrites what is before it. */
    struct rings r = rings_begin();
    const uint8_t *packet[4];
    uint32_t bytes = 0;
    for (unsigned i = 0; i < 4; i++)
        produce(r.user, 100, (uint8_t)i);
    for (unsigned i = 0; i < 4; i++)
        CHECK_EQ(ring_receive(r.session, &packet[i], &bytes), RING_READY);
    CHECK_EQ(r.user->Head, 0);
    ring_release(r.session, packet[2]);
    ring_release(r.session, packet[1]);
    CHECK_EQ(r.user->Head, 0);
    ring_release(r.session, packet[0]);
    CHECK_EQ(r.user->Head, 3 * record(100));
    ring_release(r.session, packet[3]);
    CHECK_EQ(r.user->Head, 4 * record(100));
    rings_end(&r);
}

TEST(ring_tail_moves_over_the_sent_prefix_only)
{
    /* wintun-abi.h, Tail: the driver reads what is before it. */
    struct rings r = rings_begin();
    uint8_t *packet[3];
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(ring_allocate(r.session, 60, &packet[i]), RING_READY);
    ring_send(r.session, packet[1]);
    CHECK_EQ(r.stack->Tail, 0);
    ring_send(r.session, packet[0]);
    CHECK_EQ(r.stack->Tail, 2 * record(60));
    CHECK_EQ(*(uint32_t *)data_of(r.stack), 60);
    ring_send(r.session, packet[2]);
    CHECK_EQ(r.stack->Tail, 3 * record(60));
    rings_end(&r);
}

TEST(ring_full_keeps_four_bytes_free)
{
    /* Free for a producer: (Head - Tail - 4) & (capacity - 1). */
    struct rings r = rings_begin();
    uint8_t *packet = NULL;
    uint32_t used = 0;
    while (ring_allocate(r.session, 1020, &packet) == RING_READY) {
        ring_send(r.session, packet);
        used += 1024;
    }
    CHECK_EQ(used, CAPACITY - 1024);
    CHECK_EQ(ring_allocate(r.session, 1016, &packet),
             RING_READY); /* 1020 bytes: just what is left */
    ring_send(r.session, packet);
    CHECK_EQ(r.stack->Tail, CAPACITY - 4);
    CHECK_EQ(ring_allocate(r.session, 0, &packet), RING_EMPTY);
    r.stack->Head = 4;
    CHECK_EQ(ring_allocate(r.session, 0, &packet), RING_READY);
    CHECK_EQ(ring_allocate(r.session, 0x10000, &packet), RING_EMPTY); /* longer than any packet */
    rings_end(&r);
}

TEST(ring_event_is_set_only_for_a_sleeping_driver)
{
    /* ToStack: the event is set when Alertable is, after a full fence. */
    struct rings r = rings_begin();
    const client_handle event = ring_to_stack_event(r.session);
    uint8_t *packet = NULL;
    ring_allocate(r.session, 20, &packet);
    ring_send(r.session, packet);
    CHECK_STATUS(client_wait(r.client, &event, 1, 0, NULL), STATUS_TIMEOUT);
    r.stack->Alertable = 1;
    ring_allocate(r.session, 20, &packet);
    ring_send(r.session, packet);
    CHECK_STATUS(client_wait(r.client, &event, 1, 0, NULL), STATUS_SUCCESS);
    rings_end(&r);
}

static void produce_later(void *context)
{
    struct rings *r = context;

    nth_settle(); /* the receiver waits now */
    CHECK_EQ(r->user->Alertable, 1);
    produce(r->user, 30, 9);
    client_event_set(r->client, ring_to_user_event(r->session));
}

TEST(ring_wait_ends_with_a_packet_or_its_time)
{
    /* ToUser: the driver sets the event after every change of Tail. */
    struct rings r = rings_begin();
    const uint8_t *packet = NULL;
    uint32_t bytes = 0;
    CHECK_EQ(ring_wait(r.session, 0), RING_EMPTY);
    CHECK_EQ(ring_wait(r.session, 1000000), RING_EMPTY);
    CHECK_EQ(r.user->Alertable, 0);
    struct nth_thread *driver = nth_spawn("driver", produce_later, &r);
    CHECK_EQ(ring_wait(r.session, UINT64_MAX), RING_READY);
    CHECK_EQ(ring_receive(r.session, &packet, &bytes), RING_READY);
    CHECK_EQ(bytes, 30);
    nth_join(driver);
    rings_end(&r);
}

TEST(ring_end_markers_end_the_session)
{
    /* Any Head or Tail at or above the capacity is the end of the session. */
    struct rings r = rings_begin();
    const uint8_t *packet = NULL;
    uint8_t *room = NULL;
    uint32_t bytes = 0;
    r.stack->Head = WINTUN_RING_ENDED;
    CHECK_EQ(ring_allocate(r.session, 10, &room), RING_ENDED);
    r.user->Tail = WINTUN_RING_ENDED;
    CHECK_EQ(ring_receive(r.session, &packet, &bytes), RING_ENDED);
    CHECK_EQ(ring_wait(r.session, UINT64_MAX), RING_ENDED);
    r.user->Tail = CAPACITY;
    CHECK_EQ(ring_receive(r.session, &packet, &bytes), RING_ENDED);
    rings_end(&r);
}

TEST(ring_impossible_records_are_corrupt)
{
    /* A size above 0xFFFF, or a record longer than what is there, cannot be a packet. */
    struct rings r = rings_begin();
    const uint8_t *packet = NULL;
    uint32_t bytes = 0;
    const uint32_t sizes[] = {0x10000, 0x80000004u, 0xFFFFFFFFu, 200};
    for (unsigned i = 0; i < ARRAYSIZE(sizes); i++) {
        memcpy(data_of(r.user), &sizes[i], 4);
        r.user->Tail = 104;
        CHECK_EQ(ring_receive(r.session, &packet, &bytes), RING_CORRUPT);
    }
    r.user->Tail = 6;
    CHECK_EQ(ring_receive(r.session, &packet, &bytes), RING_CORRUPT);
    r.stack->Head = 2;
    CHECK_EQ(ring_allocate(r.session, 10, &(uint8_t *){NULL}), RING_CORRUPT);
    rings_end(&r);
}

TEST(ring_second_ring_follows_the_first_unaligned)
{
    /* Programs put the second ring directly after the first: aligned to 4 only. */
    struct rings r = rings_begin();
    CHECK_EQ((char *)r.stack - (char *)r.user, CAPACITY + WINTUN_RING_OVERHEAD);
    CHECK_EQ(P(r.stack) % 4, 0);
    CHECK(P(r.stack) % 4096 != 0);
    rings_end(&r);
}
