/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Death of a process at each stage of what its threads do, seen by a driver (drivers/caller.c).
 */
#include "caller.h"

static NTSTATUS set_notify(const char *what, bool remove)
{
    return (NTSTATUS)CALL("PsSetCreateProcessNotifyRoutine", P(routine(what)), remove);
}

TEST(death_cancels_pending_requests_before_the_callbacks)
{
    /* "Handling IRP_MJ_CLEANUP", "Canceling IRPs": a thread that ends has its requests cancelled;
     * the process's callbacks come after its threads. */
    boot();
    CHECK_STATUS(set_notify("Notify", false), STATUS_SUCCESS);
    struct client *client = program(CLIENT_USER);
    const client_handle file = open_caller(client, CLIENT_OVERLAPPED);
    struct client_io *io = client_alloc(client, 4096);
    for (unsigned i = 0; i < 3; i++)
        CHECK_STATUS(client_control_start(client, file, CODE_PEND, NULL, 0, NULL, 0, &io[i]),
                     STATUS_PENDING);
    client_kill(client);
    for (unsigned i = 1; i <= 3; i++) {
        CHECK_EQ(log_at(i)->What, CALLER_CANCELLED);
        CHECK_EQ(log_at(i)->CurrentProcess, client_process_id(client));
    }
    CHECK_EQ(log_at(4)->What, CALLER_EXITED);
    CHECK_EQ(log_at(5)->What, CALLER_CLEANUP);
    client_destroy(client);
    CHECK_STATUS(set_notify("Notify", true), STATUS_SUCCESS);
    unload();
}

struct blocked {
    struct client *client;
    client_handle file;
    uint32_t code;
    client_status status;
    bool is_done;
};

static void run_blocked(void *context)
{
    struct blocked *blocked = context;
    ULONG *mode = client_alloc(blocked->client, sizeof(*mode));

    *mode = UserMode;
    blocked->status = client_control(blocked->client, blocked->file, blocked->code, mode,
                                     sizeof(*mode), NULL, 0, NULL);
    blocked->is_done = true;
}

TEST(death_ends_a_thread_that_waits_in_a_synchronous_request)
{
    /* The same; the thread's own call ends, and only then the process. */
    boot();
    struct client *client = program(CLIENT_USER);
    struct blocked blocked = {.client = client, .file = open_caller(client, 0), .code = CODE_PEND};
    struct nth_thread *thread = nth_spawn("user", run_blocked, &blocked);
    nth_settle();
    CHECK(!blocked.is_done);
    client_kill(client);
    nth_join(thread);
    CHECK(blocked.is_done);
    CHECK(NT_ERROR(blocked.status));
    CHECK_EQ(log_at(0)->What, CALLER_CANCELLED);
    client_destroy(client);
    unload();
}

TEST(death_ends_a_user_mode_wait_in_a_driver)
{
    /* KeWaitForSingleObject, WaitMode UserMode: the wait ends when the thread is terminated. */
    boot();
    struct client *client = program(CLIENT_USER);
    struct blocked blocked = {.client = client, .file = open_caller(client, 0), .code = CODE_WAIT};
    struct nth_thread *thread = nth_spawn("user", run_blocked, &blocked);
    nth_settle();
    CHECK(!blocked.is_done);
    client_kill(client);
    nth_join(thread);
    CHECK(blocked.is_done);
    client_destroy(client);
    unload();
}

static void run_wait(void *context)
{
    struct blocked *blocked = context;

    blocked->status = client_wait(blocked->client, &blocked->file, 1, UINT64_MAX, NULL);
    blocked->is_done = true;
}

TEST(death_ends_a_thread_that_waits_for_an_event)
{
    /* The same for a wait that a program itself makes. */
    boot();
    struct client *client = program(CLIENT_USER);
    struct blocked blocked = {.client = client};
    CHECK_STATUS(client_event(client, false, false, &blocked.file), STATUS_SUCCESS);
    struct nth_thread *thread = nth_spawn("user", run_wait, &blocked);
    nth_settle();
    client_kill(client);
    nth_join(thread);
    CHECK(NT_ERROR(blocked.status));
    client_destroy(client);
    unload();
}

TEST(death_with_pages_locked_by_the_driver_stops)
{
    /* Bug check 0x76 PROCESS_HAS_LOCKED_PAGES. */
    boot();
    struct client *client = program(CLIENT_USER);
    uint64_t *range = client_alloc(client, 8192);
    range[0] = P(range);
    range[1] = 8192;
    CHECK_STATUS(
        client_control(client, open_caller(client, 0), CODE_LOCK, range, 16, NULL, 0, NULL),
        STATUS_SUCCESS);
    nth_expect_stop("process-has-locked-pages");
    client_kill(client);
}

TEST(death_with_pages_unlocked_in_the_callback_is_orderly)
{
    /* PCREATE_PROCESS_NOTIFY_ROUTINE: called when "the process address space is about to be
     * deleted". */
    boot();
    CHECK_STATUS(set_notify("Notify", false), STATUS_SUCCESS);
    ((VOID(NTAPI *)(ULONG))routine("UnlockAtExit"))(TRUE);
    struct client *client = program(CLIENT_USER);
    uint64_t *range = client_alloc(client, 8192);
    range[0] = P(range);
    range[1] = 8192;
    CHECK_STATUS(
        client_control(client, open_caller(client, 0), CODE_LOCK, range, 16, NULL, 0, NULL),
        STATUS_SUCCESS);
    client_destroy(client);
    CHECK_STATUS(set_notify("Notify", true), STATUS_SUCCESS);
    unload();
}

TEST(death_with_a_locked_direct_request_unlocks_by_cancelling)
{
    /* "Using Direct I/O": the I/O manager unlocks when the request completes. */
    boot();
    struct client *client = program(CLIENT_USER);
    const client_handle file = open_caller(client, CLIENT_OVERLAPPED);
    char *memory = client_alloc(client, 3 * 4096);
    CHECK_STATUS(client_control_start(client, file, CODE_PEND_DIRECT, NULL, 0, memory + 4096, 8192,
                                      (struct client_io *)memory),
                 STATUS_PENDING);
    client_destroy(client);
    CHECK(log_find(CALLER_CANCELLED, 0) != NULL);
    unload();
}

TEST(death_leaves_a_duplicated_handle_and_its_file_alone)
{
    /* IRP_MJ_CLEANUP: not before the last handle, which lives in another process. */
    client_handle copy = 0;
    boot();
    struct client *client = program(CLIENT_ADMIN), *other = program(CLIENT_ADMIN);
    CHECK_STATUS(client_duplicate(client, open_caller(client, 0), other, &copy), STATUS_SUCCESS);
    client_kill(client);
    CHECK(log_find(CALLER_CLEANUP, 0) == NULL);
    uint64_t *buffer = client_alloc(other, 4096);
    uint32_t transferred = 0;
    buffer[0] = 77;
    CHECK_STATUS(client_control(other, copy, CODE_ECHO, buffer, 8, buffer + 8, 8, &transferred),
                 STATUS_SUCCESS);
    CHECK_EQ(transferred, 8);
    CHECK_EQ(buffer[8], 77);
    client_destroy(client);
    client_destroy(other);
    CHECK(log_find(CALLER_CLEANUP, 0) != NULL);
    unload();
}

TEST(death_signals_the_process_object)
{
    /* A process object is set to the signalled state when the process terminates. */
    void *process = NULL;
    LARGE_INTEGER now = {.QuadPart = 0};
    boot();
    struct client *client = program(CLIENT_USER);
    CALL("PsLookupProcessByProcessId", client_process_id(client), P(&process));
    CHECK_STATUS(CALL("KeWaitForSingleObject", P(process), 0, 0, 0, P(&now)), STATUS_TIMEOUT);
    client_kill(client);
    CHECK_STATUS(CALL("KeWaitForSingleObject", P(process), 0, 0, 0, P(&now)), STATUS_SUCCESS);
    CALL("ObfDereferenceObject", P(process));
    client_destroy(client);
    unload();
}

TEST(dead_process_refuses_every_call)
{
    /* Nothing runs in a process that has ended. */
    client_handle handle = 0;
    boot();
    struct client *client = program(CLIENT_USER);
    client_kill(client);
    client_kill(client);
    CHECK_STATUS(client_event(client, false, false, &handle), STATUS_PROCESS_IS_TERMINATING);
    CHECK_STATUS(client_open(client, "\\\\.\\Caller", CLIENT_READ, &handle),
                 STATUS_PROCESS_IS_TERMINATING);
    CHECK(client_alloc(client, 4096) == NULL);
    client_destroy(client);
    unload();
}

struct hammer {
    struct client *client;
    client_handle file;
};

static void run_hammer(void *context)
{
    struct hammer *hammer = context;
    uint64_t *buffer = client_alloc(hammer->client, 4096);
    client_status status = 0;

    while (buffer != NULL && status != STATUS_PROCESS_IS_TERMINATING && !NT_ERROR(status))
        status =
            client_control(hammer->client, hammer->file, CODE_ECHO, buffer, 8, buffer, 8, NULL);
}

static void die_under_load(enum nth_mode mode, uint32_t seed)
{
    struct nth_thread *threads[3];

    boot_with(&(struct nth_config){.mode = mode, .seed = seed}, "gnu-O2");
    struct client *client = program(CLIENT_USER);
    struct hammer hammer = {.client = client, .file = open_caller(client, 0)};
    for (unsigned i = 0; i < ARRAYSIZE(threads); i++)
        threads[i] = nth_spawn("hammer", run_hammer, &hammer);
    for (unsigned i = 0; i < 20 * (seed + 1); i++)
        nth_yield();
    client_kill(client);
    for (unsigned i = 0; i < ARRAYSIZE(threads); i++)
        nth_join(threads[i]);
    client_destroy(client);
    unload();
}

TEST(death_under_load_in_serial_schedules)
{
    /* Death at any moment: the calls end, the driver unloads with nothing left. */
    for (uint32_t seed = 1; seed <= 8; seed++)
        die_under_load(NTH_SERIAL, seed);
}

TEST(death_under_load_in_parallel)
{
    /* The same with real threads. */
    for (uint32_t seed = 1; seed <= 8; seed++)
        die_under_load(NTH_PARALLEL, seed);
}
