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
