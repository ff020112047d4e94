/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Processes, threads, notification and death, seen by a driver (drivers/caller.c).
 */
#include "caller.h"

#include "nt/ps.h"

static struct nth_process *process_of(struct client *client)
{
    return nth_process_find((HANDLE)(uintptr_t)client_process_id(client));
}

static NTSTATUS set_notify(const char *what, bool remove)
{
    return (NTSTATUS)CALL("PsSetCreateProcessNotifyRoutine", P(routine(what)), remove);
}

/* ---- who is current ---- */

TEST(current_process_of_a_request_is_the_requestor)
{
    /* PsGetCurrentProcessId, IoGetCurrentProcess: highest-level drivers are called in the context
     * of the thread that requested the operation. */
    boot();
    struct client *client = program(CLIENT_USER);
    const client_handle file = open_caller(client, 0);
    client_close(client, file);
    CHECK_EQ(log_find(CALLER_CLEANUP, 0)->CurrentId, client_process_id(client));
    CHECK_EQ(log_find(CALLER_CLEANUP, 0)->CurrentProcess, client_process_id(client));
    CHECK_EQ(CALL("PsGetCurrentProcessId", 0), 4); /* the test itself is the system process */
    client_destroy(client);
    unload();
}

TEST(attached_thread_sees_the_process_but_belongs_to_its_own)
{
    /* KeStackAttachProcess attaches the thread to the target's address space; PsGetCurrentProcessId
     * identifies the process of the current thread. */
    KAPC_STATE state;
    boot();
    struct client *client = program(CLIENT_USER);
    struct nth_process *process = process_of(client);
    CALL("KeStackAttachProcess", P(process), P(&state));
    CHECK_EQ(CALL("PsGetCurrentProcess", 0), P(process));
    CHECK_EQ(CALL("IoGetCurrentProcess", 0), P(process));
    CHECK_EQ(CALL("PsGetCurrentProcessId", 0), 4);
    CALL("KeUnstackDetachProcess", P(&state));
    CHECK_EQ(CALL("PsGetCurrentProcess", 0), P(nth_process_system()));
    nth_object_release(process);
    client_destroy(client);
    unload();
}

TEST(previous_mode_is_user_in_a_request_and_kernel_in_a_system_thread)
{
    /* ExGetPreviousMode: system threads and calls by Zw routines have KernelMode. */
    boot();
    struct client *client = program(CLIENT_USER);
    struct nth_process *process = process_of(client);
    CHECK_EQ(nth_previous_mode(), KernelMode);
    CHECK(nth_process_enter(process));
    CHECK_EQ(nth_previous_mode(), UserMode);
    nth_process_leave();
    CHECK_EQ(nth_previous_mode(), KernelMode);
    nth_object_release(process);
    client_destroy(client);
    unload();
}

TEST(lookup_answers_a_referenced_process_or_invalid_cid)
{
    /* PsLookupProcessByProcessId: STATUS_INVALID_CID; the driver must dereference. */
    void *process = NULL;
    boot();
    struct client *client = program(CLIENT_USER);
    const uint32_t id = client_process_id(client);
    CHECK_STATUS(CALL("PsLookupProcessByProcessId", id, P(&process)), STATUS_SUCCESS);
    CHECK_EQ(CALL("PsGetProcessId", P(process)), id);
    CHECK_STATUS(CALL("PsLookupProcessByProcessId", id + 4000, P(&process)), STATUS_INVALID_CID);
    CALL("ObfDereferenceObject", P(process));
    client_destroy(client);
    CHECK_STATUS(CALL("PsLookupProcessByProcessId", id, P(&process)), STATUS_INVALID_CID);
    unload();
}

TEST(lookup_without_dereference_is_a_leak)
{
    /* PsLookupProcessByProcessId: "the driver must call ObDereferenceObject". */
    void *process = NULL;
    boot();
    CALL("PsLookupProcessByProcessId", 4, P(&process));
    nth_expect_stop("leak");
    nth_driver_unload(caller);
}

/* ---- system threads ---- */

static void *start_thread(const char *what, KEVENT *event, HANDLE *handle)
{
    void *thread = NULL;

    KeInitializeEvent(event, NotificationEvent, FALSE);
    CHECK_STATUS(CALL("PsCreateSystemThread", P(handle), THREAD_ALL_ACCESS, 0, 0, 0,
                      P(routine(what)), P(event)),
                 STATUS_SUCCESS);
    CHECK_STATUS(CALL("ObReferenceObjectByHandle", P(*handle), THREAD_ALL_ACCESS, 0, KernelMode,
                      P(&thread), 0),
                 STATUS_SUCCESS);
    return thread;
}

static NTSTATUS wait_thread(void *thread, int64_t timeout)
{
    LARGE_INTEGER time = {.QuadPart = timeout};

    return (NTSTATUS)CALL("KeWaitForSingleObject", P(thread), Executive, KernelMode, 0, P(&time));
}

TEST(system_thread_handle_is_a_kernel_handle_and_signals_at_its_end)
{
    /* PsCreateSystemThread: "the handle will be a kernel handle"; a thread object is signalled when
     * its thread ends. */
    KEVENT event;
    HANDLE handle = NULL;
    boot();
    void *thread = start_thread("ThreadReturns", &event, &handle);
    CHECK((intptr_t)handle < 0);
    CHECK_STATUS(wait_thread(thread, 0), STATUS_TIMEOUT);
    CHECK_EQ(CALL("PsGetThreadProcess", P(thread)), P(nth_process_system()));
    KeSetEvent(&event, 0, FALSE);
    CHECK_STATUS(wait_thread(thread, -100000000), STATUS_SUCCESS);
    CALL("ObfDereferenceObject", P(thread));
    CALL("ZwClose", P(handle));
    unload();
}

TEST(system_thread_may_terminate_itself)
{
    /* PsTerminateSystemThread does not return. */
    KEVENT event;
    HANDLE handle = NULL;
    boot();
    void *thread = start_thread("ThreadTerminates", &event, &handle);
    KeSetEvent(&event, 0, FALSE);
    CHECK_STATUS(wait_thread(thread, -100000000), STATUS_SUCCESS);
    CHECK_EQ((uint32_t)((ULONG64(NTAPI *)(void))routine("ThreadStatus"))(), STATUS_SUCCESS);
    CHECK_STATUS(CALL("PsGetThreadExitStatus", P(thread)), STATUS_CANCELLED);
    CALL("ObfDereferenceObject", P(thread));
    CALL("ZwClose", P(handle));
    unload();
}

TEST(system_thread_closed_handle_does_not_end_it)
{
    /* PsCreateSystemThread: such a thread runs until it terminates itself. */
    KEVENT event;
    HANDLE handle = NULL;
    boot();
    void *thread = start_thread("ThreadReturns", &event, &handle);
    CHECK_STATUS(CALL("ZwClose", P(handle)), STATUS_SUCCESS);
    CHECK_STATUS(wait_thread(thread, 0), STATUS_TIMEOUT);
    KeSetEvent(&event, 0, FALSE);
    CHECK_STATUS(wait_thread(thread, -100000000), STATUS_SUCCESS);
    CALL("ObfDereferenceObject", P(thread));
    unload();
}

TEST(system_thread_runs_in_a_critical_region)
{
    /* PsCreateSystemThread: "runs at PASSIVE_LEVEL inside a critical region". */
    KEVENT event;
    HANDLE handle = NULL;
    boot();
    struct nth_ethread *thread = start_thread("ThreadReturns", &event, &handle);
    CHECK_EQ(thread->apc_disable, 1);
    KeSetEvent(&event, 0, FALSE);
    CHECK_STATUS(wait_thread(thread, -100000000), STATUS_SUCCESS);
    CALL("ObfDereferenceObject", P(thread));
    CALL("ZwClose", P(handle));
    unload();
}

TEST(terminate_on_a_thread_that_is_no_system_thread_is_refused)
{
    /* PsTerminateSystemThread: returns an error "if the thread is not a system thread". */
    boot();
    CHECK(!NT_SUCCESS((NTSTATUS)CALL("PsTerminateSystemThread", 0)));
    unload();
}

TEST(system_thread_with_invalid_attributes_is_refused)
{
    /* PsCreateSystemThread: OBJ_PERMANENT, OBJ_EXCLUSIVE and OBJ_OPENIF are not valid. */
    OBJECT_ATTRIBUTES attributes;
    HANDLE handle = NULL;
    boot();
    InitializeObjectAttributes(&attributes, NULL, OBJ_PERMANENT, NULL, NULL);
    CHECK_STATUS(CALL("PsCreateSystemThread", P(&handle), 0, P(&attributes), 0, 0,
                      P(routine("ThreadReturns")), 0),
                 STATUS_INVALID_PARAMETER);
    unload();
}

TEST(system_thread_failure_on_demand_leaves_nothing)
{
    /* PsCreateSystemThread returns STATUS_SUCCESS only if the thread was created. */
    HANDLE handle = NULL;
    boot();
    nth_fault_arm(1u << NTH_FAULT_THREAD, 1);
    CHECK_STATUS(
        CALL("PsCreateSystemThread", P(&handle), 0, 0, 0, 0, P(routine("ThreadReturns")), 0),
        STATUS_INSUFFICIENT_RESOURCES);
    CHECK(nth_fault_fired());
    CHECK_EQ(P(handle), 0);
    unload();
}

TEST(unload_with_a_running_system_thread_stops)
{
    /* PsTerminateSystemThread: "A driver that creates its own threads must ensure that each such
     * thread terminates." */
    KEVENT event;
    HANDLE handle = NULL;
    boot();
    void *thread = start_thread("ThreadReturns", &event, &handle);
    CALL("ObfDereferenceObject", P(thread));
    CALL("ZwClose", P(handle));
    nth_expect_stop("thread-leak");
    nth_driver_unload(caller);
}

/* ---- notification ---- */

TEST(notify_sees_creation_and_exit_in_the_documented_contexts)
{
    /* PCREATE_PROCESS_NOTIFY_ROUTINE: PASSIVE_LEVEL; at creation in the thread that created the
     * process, at exit in the last thread of the process. */
    boot();
    CHECK_STATUS(set_notify("Notify", false), STATUS_SUCCESS);
    struct client *client = program(CLIENT_USER);
    const uint32_t id = client_process_id(client);
    client_destroy(client);
    const struct caller_entry *created = log_find(CALLER_CREATED, 0);
    const struct caller_entry *exited = log_find(CALLER_EXITED, 0);
    CHECK(created != NULL && exited != NULL);
    CHECK_EQ(created->Id, id);
    CHECK_EQ(created->CurrentId, 4);
    CHECK_EQ(created->Irql, PASSIVE_LEVEL);
    CHECK_EQ(exited->Id, id);
    CHECK_EQ(exited->CurrentId, id);
    CHECK_EQ(exited->CurrentProcess, id);
    CHECK_EQ(exited->ThreadProcess, id);
    CHECK_EQ(exited->Irql, PASSIVE_LEVEL);
    CHECK_STATUS(set_notify("Notify", true), STATUS_SUCCESS);
    unload();
}

TEST(notify_at_exit_precedes_the_close_of_handles)
{
    /* NT ends a process in this order: threads, callbacks, handles, address space. */
    boot();
    CHECK_STATUS(set_notify("Notify", false), STATUS_SUCCESS);
    struct client *client = program(CLIENT_USER);
    open_caller(client, 0);
    client_kill(client);
    CHECK_EQ(log_at(0)->What, CALLER_CREATED);
    CHECK_EQ(log_at(1)->What, CALLER_EXITED);
    CHECK_EQ(log_at(2)->What, CALLER_CLEANUP);
    CHECK_EQ(log_at(2)->CurrentProcess, client_process_id(client));
    CHECK_EQ(log_at(3)->What, CALLER_CLOSE);
    client_destroy(client);
    CHECK_STATUS(set_notify("Notify", true), STATUS_SUCCESS);
    unload();
}

TEST(notify_registered_twice_is_invalid)
{
    /* PsSetCreateProcessNotifyRoutine: STATUS_INVALID_PARAMETER, "already been registered". */
    boot();
    CHECK_STATUS(set_notify("Notify", false), STATUS_SUCCESS);
    CHECK_STATUS(set_notify("Notify", false), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(set_notify("Notify", true), STATUS_SUCCESS);
    CHECK(!NT_SUCCESS(set_notify("Notify", true)));
    unload();
}

TEST(notify_sixty_fifth_registration_is_invalid)
{
    /* PsSetCreateProcessNotifyRoutine: "the system can register up to 64". */
    static char routines[65];
    boot();
    for (unsigned i = 0; i < 64; i++)
        CHECK_STATUS(CALL("PsSetCreateProcessNotifyRoutine", P(&routines[i]), 0), STATUS_SUCCESS);
    CHECK_STATUS(CALL("PsSetCreateProcessNotifyRoutine", P(&routines[64]), 0),
                 STATUS_INVALID_PARAMETER);
    for (unsigned i = 0; i < 64; i++)
        CHECK_STATUS(CALL("PsSetCreateProcessNotifyRoutine", P(&routines[i]), 1), STATUS_SUCCESS);
    unload();
}

TEST(notify_failure_on_demand_is_the_documented_status)
{
    /* PsSetCreateProcessNotifyRoutine: STATUS_INVALID_PARAMETER, "reached its limit". */
    boot();
    nth_fault_arm(1u << NTH_FAULT_REGISTER, 1);
    CHECK_STATUS(set_notify("Notify", false), STATUS_INVALID_PARAMETER);
    CHECK(nth_fault_fired());
    unload();
}

TEST(notify_removed_is_not_called_again)
{
    /* PsSetCreateProcessNotifyRoutine, Remove. */
    boot();
    CHECK_STATUS(set_notify("Notify", false), STATUS_SUCCESS);
    CHECK_STATUS(set_notify("Notify", true), STATUS_SUCCESS);
    client_destroy(program(CLIENT_USER));
    CHECK_EQ(log_count(), 0);
    unload();
}

static KEVENT in_callback, leave_callback;

static VOID NTAPI slow_notify(HANDLE parent, HANDLE process, BOOLEAN is_create)
{
    KeSetEvent(&in_callback, 0, FALSE);
    KeWaitForSingleObject(&leave_callback, Executive, KernelMode, FALSE, NULL);
}

static void create_and_destroy(void *context)
{
    *(struct client **)context = program(CLIENT_USER);
}

static void remove_slow(void *context)
{
    CHECK_STATUS(PsSetCreateProcessNotifyRoutine(slow_notify, TRUE), STATUS_SUCCESS);
    *(bool *)context = true;
}

TEST(notify_removal_waits_for_a_running_callback)
{
    /* A driver may unload after removal, so none of its callbacks may still run. */
    struct client *client = NULL;
    bool is_removed = false;
    boot();
    KeInitializeEvent(&in_callback, SynchronizationEvent, FALSE);
    KeInitializeEvent(&leave_callback, NotificationEvent, FALSE);
    CHECK_STATUS(PsSetCreateProcessNotifyRoutine(slow_notify, FALSE), STATUS_SUCCESS);
    struct nth_thread *creator = nth_spawn("creator", create_and_destroy, &client);
    KeWaitForSingleObject(&in_callback, Executive, KernelMode, FALSE, NULL);
    struct nth_thread *remover = nth_spawn("remover", remove_slow, &is_removed);
    nth_settle();
    CHECK(!is_removed);
    KeSetEvent(&leave_callback, 0, FALSE);
    nth_join(remover);
    CHECK(is_removed);
    nth_join(creator);
    client_destroy(client);
    unload();
}

TEST(notify_removing_from_within_stops)
{
    /* PsSetCreateProcessNotifyRoutine: "A driver must not make this call from its implementation of
     * the callback". */
    boot();
    CHECK_STATUS(set_notify("NotifyRemovesItself", false), STATUS_SUCCESS);
    nth_expect_stop("deadlock");
    program(CLIENT_USER);
}

TEST(notify_left_at_unload_stops)
{
    /* PsSetCreateProcessNotifyRoutine: "must remove any callbacks before it unloads". */
    boot();
    CHECK_STATUS(set_notify("Notify", false), STATUS_SUCCESS);
    nth_expect_stop("notify-routine-leak");
    nth_driver_unload(caller);
}

TEST(notify_ex_from_an_image_without_force_integrity_is_denied)
{
    /* PsSetCreateProcessNotifyRoutineEx: STATUS_ACCESS_DENIED without
     * IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY. */
    boot();
    CHECK_STATUS(CALL("PsSetCreateProcessNotifyRoutineEx", P(routine("NotifyEx")), 0),
                 STATUS_ACCESS_DENIED);
    unload();
}

static VOID NTAPI forbid(PEPROCESS process, HANDLE id, PPS_CREATE_NOTIFY_INFO info)
{
    if (info != NULL)
        info->CreationStatus = STATUS_ACCESS_DENIED;
}

TEST(notify_ex_may_forbid_the_creation)
{
    /* PS_CREATE_NOTIFY_INFO, CreationStatus: an error prevents the creation of the process. */
    boot();
    CHECK_STATUS(PsSetCreateProcessNotifyRoutineEx(forbid, FALSE), STATUS_SUCCESS);
    CHECK(client_create(&(struct client_config){.name = "x", .token = CLIENT_USER}) == NULL);
    CHECK_STATUS(PsSetCreateProcessNotifyRoutineEx(forbid, TRUE), STATUS_SUCCESS);
    unload();
}

/* ---- death ---- */

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

static void live_and_die(void)
{
    KEVENT event;
    HANDLE handle = NULL;
    CHECK_STATUS(set_notify("Notify", false), STATUS_SUCCESS);
    void *thread = start_thread("ThreadTerminates", &event, &handle);
    struct client *client = program(CLIENT_USER);
    const client_handle file = open_caller(client, CLIENT_OVERLAPPED);
    struct client_io *io = client_alloc(client, 4096);
    CHECK_STATUS(client_control_start(client, file, CODE_PEND, NULL, 0, NULL, 0, io),
                 STATUS_PENDING);
    client_destroy(client);
    CHECK(log_find(CALLER_CANCELLED, 0) != NULL);
    CHECK(log_find(CALLER_EXITED, 0) != NULL);
    KeSetEvent(&event, 0, FALSE);
    CHECK_STATUS(wait_thread(thread, -100000000), STATUS_SUCCESS);
    CALL("ObfDereferenceObject", P(thread));
    CALL("ZwClose", P(handle));
    CHECK_STATUS(set_notify("Notify", true), STATUS_SUCCESS);
}

TEST(threads_and_callbacks_work_in_a_driver_of_every_build)
{
    /* Calls cross from code of either Windows ABI flavour, optimised or not. */
    in_every_build(live_and_die);
}
