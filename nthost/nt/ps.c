/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Processes and threads: birth, who the caller is, notification, and death in NT's order. A user
 * thread is the part of a host thread's calls that were made for one process; it outlives each
 * call, because requests belong to it. Never runs a driver's routine with its lock held.
 */
#include "nt/ps.h"

#include <stdlib.h>
#include <string.h>

struct notify {
    void *routine; /* NULL: free */
    bool is_ex;
    bool is_removed; /* no new calls; the slot is free once busy is 0 */
    unsigned busy;
    struct nth_thread *remover;
};

static struct nth_mutex ps_lock = NTH_MUTEX_INIT;
static struct nth_process *processes;            /* ps_lock */
static struct nth_process *system_process;       /* constant after boot */
static struct notify notifies[NTH_NOTIFY_LIMIT]; /* ps_lock */
static ULONG_PTR last_id = 4;                    /* ps_lock; processes and threads share it */
static _Atomic uint64_t last_owner;
static pthread_key_t thread_key; /* the lazily made object of a host thread */
static _Thread_local uint64_t owner_id;
static _Thread_local unsigned in_notify;
static PEPROCESS initial_system_process;
NTH_EXPORT_AS(PsInitialSystemProcess, "PsInitialSystemProcess", &initial_system_process, NTH_DATA);

static HANDLE new_id(void)
{
    nth_lock(&ps_lock);
    last_id += 4;
    const ULONG_PTR id = last_id;
    nth_unlock(&ps_lock);
    return (HANDLE)id;
}

/* ---- threads ---- */

static void ethread_destroy(void *body)
{
    struct nth_ethread *ethread = body;

    nth_object_release(ethread->process);
}

/* Not yet in any list. The caller has the one reference. */
static struct nth_ethread *ethread_create(struct nth_process *process)
{
    struct nth_ethread *ethread =
        nth_object_create(NTH_OB_THREAD, sizeof(*ethread), ethread_destroy);

    nth_dispatcher_init(ethread, NTH_OB_THREAD);
    ethread->process = nth_object_reference(process);
    ethread->id = new_id();
    ethread->previous_mode = KernelMode;
    ethread->exit_status = STATUS_PENDING;
    ethread->irps.Flink = ethread->irps.Blink = &ethread->irps;
    return ethread;
}

/* False when the process is dying: its killer may have counted the threads already. */
static bool link_thread(struct nth_ethread *ethread)
{
    nth_lock(&ps_lock);
    const bool is_dying = ethread->process->is_dying;
    if (!is_dying) {
        ethread->next = ethread->process->threads;
        ethread->process->threads = ethread;
    }
    nth_unlock(&ps_lock);
    return !is_dying;
}

/* ps_lock held. */
static void unlink_thread(struct nth_ethread *ethread)
{
    for (struct nth_ethread **link = &ethread->process->threads; *link; link = &(*link)->next) {
        if (*link == ethread) {
            *link = ethread->next;
            return;
        }
    }
}

/* End of a host thread that had no object but the one made for it on first use. Nobody can run as
 * it any more, since it was reached only through that host thread. */
static void host_thread_gone(void *object)
{
    struct nth_ethread *ethread = object;

    nth_lock(&ps_lock);
    ethread->thread = NULL;
    nth_unlock(&ps_lock);
    nth_object_release(ethread);
}

static void run_as(struct nth_ethread *ethread)
{
    nth_thread_set_nt(nth_self(), ethread);
    if (nth_switch_hook != NULL)
        nth_switch_hook(ethread);
}

struct nth_ethread *nth_ethread_current(void)
{
    struct nth_thread *self = nth_self();

    if (self == NULL)
        return NULL;
    struct nth_ethread *ethread = nth_thread_nt(self);
    if (ethread == NULL && system_process != NULL) {
        ethread = ethread_create(system_process);
        ethread->thread = self;
        pthread_setspecific(thread_key, ethread);
        nth_thread_set_nt(self, ethread);
    }
    return ethread;
}

KPROCESSOR_MODE nth_previous_mode(void)
{
    const struct nth_ethread *ethread = nth_ethread_current();

    return ethread != NULL ? ethread->previous_mode : KernelMode;
}

KPROCESSOR_MODE nth_set_previous_mode(KPROCESSOR_MODE mode)
{
    struct nth_ethread *ethread = nth_ethread_current();
    const KPROCESSOR_MODE before = ethread->previous_mode;

    ethread->previous_mode = mode;
    return before;
}

bool nth_thread_terminating(void)
{
    const struct nth_ethread *ethread = nth_ethread_current();

    return ethread != NULL && ethread->is_terminating;
}

/* ---- who is current ---- */

struct nth_process *nth_process_system(void)
{
    return system_process;
}

struct nth_process *nth_process_current(void)
{
    const struct nth_ethread *ethread = nth_ethread_current();

    if (ethread == NULL)
        return system_process;
    return ethread->attached != NULL ? ethread->attached : ethread->process;
}

struct nth_process *nth_process_attach(struct nth_process *process)
{
    struct nth_ethread *ethread = nth_ethread_current();
    struct nth_process *before = ethread->attached;

    ethread->attached = process;
    if (nth_switch_hook != NULL)
        nth_switch_hook(ethread);
    return before;
}

enum nth_token nth_process_token(const struct nth_process *process)
{
    return process->token_kind;
}

bool nth_process_is_wow64(const struct nth_process *process)
{
    return process->is_wow64;
}

HANDLE nth_process_id(const struct nth_process *process)
{
    return process->id;
}

const char *nth_process_name(const struct nth_process *process)
{
    return process->name;
}

bool nth_process_is_dead(struct nth_process *process)
{
    nth_lock(&ps_lock);
    const bool is_dead = process->is_dead;
    nth_unlock(&ps_lock);
    return is_dead;
}

/* ---- notification ---- */

static void call_notify(const struct notify *notify, struct nth_process *process,
                        PS_CREATE_NOTIFY_INFO *info)
{
    struct nth_callout callout;

    nth_callout_begin(&callout, "process notify routine", notify->routine);
    if (notify->is_ex) {
        PCREATE_PROCESS_NOTIFY_ROUTINE_EX routine = notify->routine;
        routine((PEPROCESS)process, process->id, info);
    } else {
        PCREATE_PROCESS_NOTIFY_ROUTINE routine = notify->routine;
        routine(process->parent, process->id, info != NULL);
    }
    nth_callout_end(&callout);
}

/* PCREATE_PROCESS_NOTIFY_ROUTINE: at PASSIVE_LEVEL inside a critical region, in the context of the
 * creating thread or of the last thread of the process. info: NULL for an exit. */
static void notify_all(struct nth_process *process, PS_CREATE_NOTIFY_INFO *info)
{
    struct nth_ethread *ethread = nth_ethread_current();

    ethread->apc_disable++;
    in_notify++;
    for (unsigned i = 0; i < NTH_NOTIFY_LIMIT; i++) {
        nth_lock(&ps_lock);
        struct notify *notify = &notifies[i];
        const struct notify copy = *notify;
        const bool is_called = copy.routine != NULL && !copy.is_removed;
        notify->busy += is_called;
        nth_unlock(&ps_lock);
        if (!is_called)
            continue;
        call_notify(&copy, process, info);
        nth_lock(&ps_lock);
        if (--notify->busy == 0 && notify->remover != NULL)
            nth_unpark(notify->remover);
        nth_unlock(&ps_lock);
    }
    in_notify--;
    ethread->apc_disable--;
}

/* ps_lock held. */
static struct notify *find_notify(const void *routine)
{
    for (unsigned i = 0; i < NTH_NOTIFY_LIMIT; i++)
        if (notifies[i].routine == routine && !(routine != NULL && notifies[i].is_removed))
            return &notifies[i];
    return NULL;
}

static NTSTATUS add_notify(void *routine, bool is_ex)
{
    NTSTATUS status = STATUS_INVALID_PARAMETER;

    if (nth_fault(NTH_FAULT_REGISTER, "PsSetCreateProcessNotifyRoutine"))
        return STATUS_INVALID_PARAMETER; /* what the page has for "limit reached" */
    nth_lock(&ps_lock);
    struct notify *slot = find_notify(NULL);
    if (slot != NULL && find_notify(routine) == NULL) {
        *slot = (struct notify){.routine = routine, .is_ex = is_ex};
        status = STATUS_SUCCESS;
    }
    nth_unlock(&ps_lock);
    return status;
}

/* When this returns no call of the routine is running and none will begin: busy counts them, and
 * is_removed was set under the lock that raises it. */
static NTSTATUS remove_notify(void *routine)
{
    if (in_notify != 0)
        nth_stop("deadlock", "a process notify routine is removed from within one");
    nth_lock(&ps_lock);
    struct notify *notify = find_notify(routine);
    if (notify == NULL) {
        nth_unlock(&ps_lock);
        return STATUS_PROCEDURE_NOT_FOUND;
    }
    notify->is_removed = true;
    notify->remover = nth_self();
    while (notify->busy != 0) {
        nth_unlock(&ps_lock);
        nth_park(UINT64_MAX);
        nth_lock(&ps_lock);
    }
    *notify = (struct notify){0};
    nth_unlock(&ps_lock);
    return STATUS_SUCCESS;
}

NTSTATUS NTAPI PsSetCreateProcessNotifyRoutine(PCREATE_PROCESS_NOTIFY_ROUTINE NotifyRoutine,
                                               BOOLEAN Remove)
{
    nth_irql_max(PASSIVE_LEVEL);
    return Remove ? remove_notify((void *)NotifyRoutine) : add_notify((void *)NotifyRoutine, false);
}
NTH_EXPORT(PsSetCreateProcessNotifyRoutine, 2);

/* IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY of the image that has the routine. */
static bool is_integrity_checked(const void *routine)
{
    const struct nth_image *image = nth_image_at((uintptr_t)routine);
    enum { LFANEW = 0x3c, DLL_CHARACTERISTICS = 24 + 70, FORCE_INTEGRITY = 0x80 };

    if (image == NULL)
        return true; /* a routine of the host */
    const char *base = nth_image_base(image);
    const ULONG header = *(const ULONG *)(base + LFANEW);
    return (*(const USHORT *)(base + header + DLL_CHARACTERISTICS) & FORCE_INTEGRITY) != 0;
}

NTSTATUS NTAPI PsSetCreateProcessNotifyRoutineEx(PCREATE_PROCESS_NOTIFY_ROUTINE_EX NotifyRoutine,
                                                 BOOLEAN Remove)
{
    nth_irql_max(PASSIVE_LEVEL);
    if (Remove)
        return remove_notify((void *)NotifyRoutine);
    if (!is_integrity_checked((void *)NotifyRoutine))
        return STATUS_ACCESS_DENIED;
    return add_notify((void *)NotifyRoutine, true);
}
NTH_EXPORT(PsSetCreateProcessNotifyRoutineEx, 2);

/* ---- processes ---- */

static void process_destroy(void *body)
{
    struct nth_process *process = body;

    nth_lock(&ps_lock);
    for (struct nth_process **link = &processes; *link != NULL; link = &(*link)->next) {
        if (*link == process) {
            *link = process->next;
            break;
        }
    }
    nth_unlock(&ps_lock);
    if (process->token != NULL)
        nth_object_release(process->token);
}

static struct nth_process *process_make(const char *name, enum nth_token token, bool wow64)
{
    struct nth_process *process =
        nth_object_create(NTH_OB_PROCESS, sizeof(*process), process_destroy);

    nth_dispatcher_init(process, NTH_OB_PROCESS);
    strncpy(process->name, name, sizeof(process->name) - 1);
    process->token_kind = token;
    process->token = nth_token_create(token);
    process->is_wow64 = wow64;
    process->handles = nth_handle_table_create(process);
    return process;
}

static void process_link(struct nth_process *process)
{
    nth_lock(&ps_lock);
    process->next = processes;
    processes = process;
    nth_unlock(&ps_lock);
}

struct nth_process *nth_process_create(const char *name, enum nth_token token, bool wow64)
{
    struct nth_ethread *creator = nth_ethread_current();
    struct nth_process *process = process_make(name, token, wow64);

    process->id = new_id();
    process->parent = creator->process->id;
    nth_mm_process_create(process, wow64);
    nth_object_reference(process); /* being alive; given back by nth_process_kill */
    process_link(process);
    nth_trace("process %u \"%s\" is created", HandleToULong(process->id), name);
    PS_CREATE_NOTIFY_INFO info = {
        .Size = sizeof(info),
        .ParentProcessId = process->parent,
        .CreatingThreadId = {.UniqueProcess = creator->process->id, .UniqueThread = creator->id},
        .CreationStatus = STATUS_SUCCESS,
    };
    notify_all(process, &info);
    if (NT_SUCCESS(info.CreationStatus))
        return process;
    nth_process_kill(process);
    nth_object_release(process);
    return NULL;
}

/* The host thread's user thread of the process, made on its first call. ps_lock held. */
static struct nth_ethread *find_user_thread(struct nth_process *process)
{
    for (struct nth_ethread *ethread = process->threads; ethread != NULL; ethread = ethread->next)
        if (!ethread->is_system && ethread->owner == owner_id)
            return ethread;
    return NULL;
}

static struct nth_ethread *user_thread(struct nth_process *process)
{
    if (owner_id == 0)
        owner_id = atomic_fetch_add(&last_owner, 1) + 1;
    nth_lock(&ps_lock);
    struct nth_ethread *ethread = find_user_thread(process);
    nth_unlock(&ps_lock);
    if (ethread == NULL) {
        ethread = ethread_create(process);
        ethread->owner = owner_id;
        if (!link_thread(ethread)) {
            nth_object_release(ethread);
            return NULL;
        }
    }
    return ethread;
}

bool nth_process_enter(struct nth_process *process)
{
    struct nth_ethread *outer = nth_ethread_current();
    struct nth_ethread *ethread = user_thread(process);

    if (ethread == NULL)
        return false;
    if (ethread == outer) {
        ethread->depth++;
        return true;
    }
    nth_lock(&ps_lock);
    const bool is_dying = process->is_dying;
    if (!is_dying)
        ethread->thread = nth_self();
    nth_unlock(&ps_lock);
    if (is_dying)
        return false;
    ethread->outer = outer;
    ethread->depth = 1;
    ethread->previous_mode = UserMode;
    run_as(ethread);
    return true;
}

/* Ends what the thread still has, as it itself would. It runs as the calling host thread meanwhile,
 * so that requests are cancelled in its context. */
static void thread_rundown(struct nth_ethread *ethread)
{
    struct nth_ethread *self = nth_ethread_current();

    if (self != ethread)
        run_as(ethread);
    const KPROCESSOR_MODE mode = nth_set_previous_mode(KernelMode);
    nth_io_thread_exit(ethread);
    nth_set_previous_mode(mode);
    nth_mutant_thread_exit(ethread);
    if (self != ethread)
        run_as(self);
    ethread->exit_status = STATUS_THREAD_IS_TERMINATING;
    nth_signal_object(ethread);
}

/* No thread of the process runs as it after this: its host thread has left, and the killer may go
 * on when it was the last one. */
static void thread_leaves(struct nth_ethread *ethread, bool for_good)
{
    struct nth_process *process = ethread->process;

    nth_lock(&ps_lock);
    ethread->thread = NULL;
    if (for_good)
        unlink_thread(ethread);
    if (process->killer != NULL)
        nth_unpark(process->killer);
    nth_unlock(&ps_lock);
    if (for_good)
        nth_object_release(ethread);
}

void nth_process_leave(void)
{
    struct nth_ethread *ethread = nth_ethread_current();

    if (ethread->depth == 0)
        nth_fail("nth_process_leave: thread %s is in no process", nth_thread_name(nth_self()));
    if (--ethread->depth > 0)
        return;
    const bool is_dying = ethread->process->is_dying;
    if (is_dying)
        thread_rundown(ethread);
    run_as(ethread->outer);
    thread_leaves(ethread, is_dying);
}

void nth_process_thread_exit(struct nth_process *process)
{
    struct nth_ethread *ethread = NULL;

    if (owner_id == 0)
        return;
    nth_lock(&ps_lock);
    ethread = process->is_dying ? NULL : find_user_thread(process);
    if (ethread != NULL)
        ethread->thread = nth_self();
    nth_unlock(&ps_lock);
    if (ethread == NULL)
        return;
    thread_rundown(ethread);
    thread_leaves(ethread, true);
}

/* ---- death ---- */

/* Ends the waits of the threads that are in a call. */
static void terminate_threads(struct nth_process *process)
{
    nth_lock(&ps_lock);
    for (struct nth_ethread *ethread = process->threads; ethread; ethread = ethread->next) {
        if (ethread->is_system)
            continue;
        ethread->is_terminating = true;
        nth_wait_abort(ethread);
    }
    nth_unlock(&ps_lock);
}

/* Takes a thread that no host thread runs as; NULL when there is none. */
static struct nth_ethread *take_idle(struct nth_process *process, bool *is_empty)
{
    struct nth_ethread *ethread = NULL;

    nth_lock(&ps_lock);
    *is_empty = process->threads == NULL;
    for (ethread = process->threads; ethread != NULL; ethread = ethread->next)
        if (ethread->thread == NULL)
            break;
    if (ethread != NULL)
        unlink_thread(ethread);
    nth_unlock(&ps_lock);
    return ethread;
}

/* Threads outside of any call end at once; the others end their calls first. */
static void end_threads(struct nth_process *process)
{
    bool is_empty = false;

    nth_lock(&ps_lock);
    process->killer = nth_self();
    nth_unlock(&ps_lock);
    for (;;) {
        struct nth_ethread *ethread = take_idle(process, &is_empty);
        if (ethread != NULL) {
            thread_rundown(ethread);
            nth_object_release(ethread);
        } else if (is_empty) {
            break;
        } else {
            nth_park(UINT64_MAX);
        }
    }
    nth_lock(&ps_lock);
    process->killer = NULL;
    nth_unlock(&ps_lock);
}

/* What the last thread of a process does: exit callbacks, handles, then the address space. */
static void last_thread(struct nth_process *process)
{
    struct nth_ethread *self = nth_ethread_current();
    struct nth_ethread *last = ethread_create(process);

    last->thread = nth_self();
    last->is_terminating = true;
    run_as(last);
    notify_all(process, NULL);
    nth_handle_table_close(process);
    nth_io_thread_exit(last);
    run_as(self);
    nth_mm_process_delete(process);
    last->thread = NULL;
    nth_signal_object(last);
    nth_object_release(last);
}

void nth_process_kill(struct nth_process *process)
{
    void *object = process;

    if (process == system_process || nth_ethread_current()->process == process)
        nth_fail("nth_process_kill: not from inside process %s", process->name);
    nth_lock(&ps_lock);
    const bool was_dying = process->is_dying;
    process->is_dying = true;
    nth_unlock(&ps_lock);
    if (was_dying) {
        nth_wait(1, &object, NTH_WAIT_ALL, false, NULL);
        return;
    }
    nth_trace("process %u \"%s\" ends", HandleToULong(process->id), process->name);
    terminate_threads(process);
    end_threads(process);
    last_thread(process);
    nth_lock(&ps_lock);
    process->is_dead = true;
    nth_unlock(&ps_lock);
    nth_signal_object(process);
    nth_object_release(process);
}

/* ---- system threads ---- */

static void system_thread_end(struct nth_ethread *ethread, NTSTATUS status)
{
    if (ethread->attached != NULL)
        nth_stop("bugcheck", "INVALID_PROCESS_ATTACH_ATTEMPT: a system thread ends attached");
    nth_thread_rundown(ethread);
    nth_io_thread_exit(ethread);
    ethread->exit_status = status;
    nth_lock(&ps_lock);
    unlink_thread(ethread);
    ethread->thread = NULL;
    if (ethread->process->killer != NULL)
        nth_unpark(ethread->process->killer);
    nth_unlock(&ps_lock);
    nth_signal_object(ethread);
    nth_thread_set_nt(nth_self(), NULL);
    nth_object_release(ethread);
}

static void run_system_thread(void *context)
{
    struct nth_ethread *ethread = context;

    nth_lock(&ps_lock);
    ethread->thread = nth_self();
    nth_unlock(&ps_lock);
    nth_trace("system thread %p begins", (void *)(uintptr_t)ethread->start);
    ethread->start(ethread->context);
    system_thread_end(ethread, STATUS_SUCCESS);
}

static NTSTATUS find_thread_process(HANDLE handle, struct nth_process **process)
{
    enum { PROCESS_CREATE_THREAD = 2 };
    void *body = NULL;

    if (handle == NULL) {
        *process = nth_object_reference(system_process);
        return STATUS_SUCCESS;
    }
    const bool is_kernel = (LONG_PTR)handle < -2;
    const NTSTATUS status = nth_handle_lookup(is_kernel ? NULL : nth_process_current(), handle,
                                              PROCESS_CREATE_THREAD, NTH_OB_PROCESS, &body);
    *process = body;
    return status;
}

NTSTATUS NTAPI PsCreateSystemThread(PHANDLE ThreadHandle, ULONG DesiredAccess,
                                    POBJECT_ATTRIBUTES ObjectAttributes, HANDLE ProcessHandle,
                                    PCLIENT_ID ClientId, PKSTART_ROUTINE StartRoutine,
                                    PVOID StartContext)
{
    const ULONG refused = OBJ_PERMANENT | OBJ_EXCLUSIVE | OBJ_OPENIF;
    struct nth_process *process = NULL;

    nth_irql_max(PASSIVE_LEVEL);
    if (ObjectAttributes != NULL && (ObjectAttributes->Attributes & refused) != 0)
        return STATUS_INVALID_PARAMETER;
    if (nth_fault(NTH_FAULT_THREAD, "PsCreateSystemThread"))
        return STATUS_INSUFFICIENT_RESOURCES;
    NTSTATUS status = find_thread_process(ProcessHandle, &process);
    if (!NT_SUCCESS(status))
        return status;
    struct nth_ethread *ethread = ethread_create(process);
    nth_object_release(process);
    ethread->is_system = true;
    ethread->start = StartRoutine;
    ethread->context = StartContext;
    ethread->apc_disable = 1; /* runs inside a critical region */
    ethread->created_by = nth_call_site();
    ethread->thread = nth_self(); /* somebody, so that no killer takes it for idle */
    if (!link_thread(ethread)) {
        nth_object_release(ethread);
        return STATUS_PROCESS_IS_TERMINATING;
    }
    /* The page: a kernel handle since Windows Vista, whatever the attributes say. */
    status = nth_handle_insert(NULL, ethread, DesiredAccess | SYNCHRONIZE, ThreadHandle);
    if (!NT_SUCCESS(status)) {
        thread_leaves(ethread, true);
        return status;
    }
    if (ClientId != NULL)
        *ClientId = (CLIENT_ID){.UniqueProcess = process->id, .UniqueThread = ethread->id};
    nth_object_reference(ethread); /* while we hand it over */
    nth_thread_detach(nth_thread_create("system thread", run_system_thread, ethread, ethread));
    nth_object_release(ethread);
    return STATUS_SUCCESS;
}
NTH_EXPORT(PsCreateSystemThread, 7);

NTSTATUS NTAPI PsTerminateSystemThread(NTSTATUS ExitStatus)
{
    nth_irql_max(PASSIVE_LEVEL);
    struct nth_ethread *ethread = nth_ethread_current();
    if (!ethread->is_system)
        return STATUS_INVALID_PARAMETER;
    system_thread_end(ethread, ExitStatus);
    nth_thread_exit();
}
NTH_EXPORT(PsTerminateSystemThread, 1);

void nth_ps_check_unload(uintptr_t base, size_t size, const char *driver)
{
    for (unsigned i = 0; i < NTH_NOTIFY_LIMIT; i++) {
        nth_lock(&ps_lock);
        const uintptr_t routine = (uintptr_t)notifies[i].routine;
        nth_unlock(&ps_lock);
        if (routine - base < size)
            nth_stop("notify-routine-leak", "%s is unloaded, its process notify routine %s stays",
                     driver, nth_symbol_hook != NULL ? nth_symbol_hook(routine + 1) : "");
    }
    uintptr_t start = 0;
    nth_lock(&ps_lock);
    for (struct nth_process *process = processes; process != NULL; process = process->next)
        for (struct nth_ethread *t = process->threads; t != NULL; t = t->next)
            if (t->is_system && (uintptr_t)t->start - base < size)
                start = (uintptr_t)t->start;
    nth_unlock(&ps_lock);
    if (start != 0)
        nth_stop("thread-leak", "%s is unloaded, its system thread %s still runs", driver,
                 nth_symbol_hook != NULL ? nth_symbol_hook(start + 1) : "");
}

/* ---- questions of drivers ---- */

PETHREAD NTAPI PsGetCurrentThread(VOID)
{
    return (PETHREAD)nth_ethread_current();
}
NTH_EXPORT(PsGetCurrentThread, 0);

HANDLE NTAPI PsGetCurrentThreadId(VOID)
{
    return nth_ethread_current()->id;
}
NTH_EXPORT(PsGetCurrentThreadId, 0);

/* The process the thread belongs to, attached elsewhere or not. */
HANDLE NTAPI PsGetCurrentProcessId(VOID)
{
    return nth_ethread_current()->process->id;
}
NTH_EXPORT(PsGetCurrentProcessId, 0);

PEPROCESS NTAPI PsGetCurrentProcess(VOID)
{
    return (PEPROCESS)nth_process_current();
}
NTH_EXPORT(PsGetCurrentProcess, 0);

HANDLE NTAPI PsGetProcessId(PEPROCESS Process)
{
    return ((struct nth_process *)Process)->id;
}
NTH_EXPORT(PsGetProcessId, 1);

HANDLE NTAPI PsGetThreadId(PETHREAD Thread)
{
    return ((struct nth_ethread *)Thread)->id;
}
NTH_EXPORT(PsGetThreadId, 1);

PEPROCESS NTAPI PsGetThreadProcess(PETHREAD Thread)
{
    return (PEPROCESS)((struct nth_ethread *)Thread)->process;
}
NTH_EXPORT(PsGetThreadProcess, 1);
NTH_EXPORT_AS(IoThreadToProcess, "IoThreadToProcess", PsGetThreadProcess, 1);

static HANDLE NTAPI thread_process_id(PETHREAD thread)
{
    return ((struct nth_ethread *)thread)->process->id;
}
NTH_EXPORT_AS(PsGetThreadProcessId, "PsGetThreadProcessId", thread_process_id, 1);

static BOOLEAN NTAPI is_system_thread(PETHREAD thread)
{
    return ((struct nth_ethread *)thread)->is_system;
}
NTH_EXPORT_AS(PsIsSystemThread, "PsIsSystemThread", is_system_thread, 1);

static BOOLEAN NTAPI is_thread_terminating(PETHREAD thread)
{
    return ((struct nth_ethread *)thread)->is_terminating;
}
NTH_EXPORT_AS(PsIsThreadTerminating, "PsIsThreadTerminating", is_thread_terminating, 1);

static NTSTATUS NTAPI thread_exit_status(PETHREAD thread)
{
    return ((struct nth_ethread *)thread)->exit_status;
}
NTH_EXPORT_AS(PsGetThreadExitStatus, "PsGetThreadExitStatus", thread_exit_status, 1);

static NTSTATUS NTAPI process_exit_status(PEPROCESS process)
{
    return nth_process_is_dead((struct nth_process *)process) ? STATUS_SUCCESS : STATUS_PENDING;
}
NTH_EXPORT_AS(PsGetProcessExitStatus, "PsGetProcessExitStatus", process_exit_status, 1);

/* Not NULL for a 32-bit process; what it points at is nobody's business. */
static PVOID NTAPI process_wow64(PEPROCESS process)
{
    return ((struct nth_process *)process)->is_wow64 ? process : NULL;
}
NTH_EXPORT_AS(PsGetProcessWow64Process, "PsGetProcessWow64Process", process_wow64, 1);

static PVOID NTAPI current_process_wow64(VOID)
{
    return process_wow64(PsGetCurrentProcess());
}
NTH_EXPORT_AS(PsGetCurrentProcessWow64Process, "PsGetCurrentProcessWow64Process",
              current_process_wow64, 0);

struct nth_process *nth_process_find(HANDLE id)
{
    struct nth_process *found = NULL;

    nth_lock(&ps_lock);
    for (struct nth_process *process = processes; process != NULL; process = process->next)
        if (process->id == id && nth_object_try_reference(process))
            found = process;
    nth_unlock(&ps_lock);
    return found;
}

NTSTATUS NTAPI PsLookupProcessByProcessId(HANDLE ProcessId, PEPROCESS *Process)
{
    nth_irql_max(APC_LEVEL);
    struct nth_process *found = nth_process_find(ProcessId);
    if (found == NULL)
        return STATUS_INVALID_CID;
    *Process = (PEPROCESS)nth_object_lend(found);
    nth_object_release(found);
    return STATUS_SUCCESS;
}
NTH_EXPORT(PsLookupProcessByProcessId, 2);

static NTSTATUS NTAPI lookup_thread(HANDLE id, PETHREAD *result)
{
    struct nth_ethread *found = NULL;

    nth_irql_max(APC_LEVEL);
    nth_lock(&ps_lock);
    for (struct nth_process *process = processes; process != NULL; process = process->next)
        for (struct nth_ethread *t = process->threads; t != NULL; t = t->next)
            if (t->id == id && nth_object_try_reference(t))
                found = t;
    nth_unlock(&ps_lock);
    if (found == NULL)
        return STATUS_INVALID_CID;
    *result = (PETHREAD)nth_object_lend(found);
    nth_object_release(found);
    return STATUS_SUCCESS;
}
NTH_EXPORT_AS(PsLookupThreadByThreadId, "PsLookupThreadByThreadId", lookup_thread, 2);

/* ---- boot ---- */

static void ps_boot(const struct nth_config *config)
{
    pthread_key_create(&thread_key, host_thread_gone);
    system_process = process_make("System", NTH_TOKEN_SYSTEM, false);
    system_process->id = (HANDLE)4;
    process_link(system_process);
    initial_system_process = (PEPROCESS)system_process;
}

static void ps_shutdown(void) {}
NTH_SUBSYSTEM(ps, 30, ps_boot, ps_shutdown);
