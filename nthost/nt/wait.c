/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Dispatcher objects and waits: events, semaphores, mutexes, threads and processes, timers' signal
 * state. One host mutex stands for NT's dispatcher lock. A signal is handed over under it: whoever
 * is to get a synchronisation event is chosen when it is set, not when it wakes. Nothing here calls
 * a driver.
 */
#include "nt/ke.h"
#include "nt/more.h"

#include <errno.h>
#include <string.h>

struct waiter;

struct wait_block {
    LIST_ENTRY link; /* in its object's WaitListHead; first member */
    struct waiter *waiter;
    DISPATCHER_HEADER *object;
};

/* Lives on the waiting thread's stack. Guarded by the dispatcher lock until it is done. */
struct waiter {
    struct wait_block *blocks;
    unsigned count;
    enum nth_wait_type type;
    struct nth_thread *thread;
    struct nth_ethread *ethread;
    bool is_abortable; /* ended by the death of its thread */
    bool is_done;
    NTSTATUS status;
    struct waiter *next, **at; /* all that wait now */
};

static struct nth_mutex dispatcher = NTH_MUTEX_INIT;
static struct waiter *waiters;
/* KeSetEvent and its like with Wait TRUE: the next call must wait, and puts this IRQL back. */
static __thread bool must_wait;
static __thread KIRQL irql_before_set;

void nth_dispatcher_lock(void)
{
    nth_lock(&dispatcher);
}

void nth_dispatcher_unlock(void)
{
    nth_unlock(&dispatcher);
}

/* ---- headers ---- */

void nth_dispatcher_init_header(DISPATCHER_HEADER *header, UCHAR type, UCHAR size, LONG state)
{
    header->Lock = 0;
    header->Type = type;
    header->Size = size;
    set_state(header, state);
    list_init(&header->WaitListHead);
}

void nth_dispatcher_init(void *object, enum nth_object_type type)
{
    nth_dispatcher_init_header(object, type == NTH_OB_PROCESS ? OBJECT_PROCESS : OBJECT_THREAD,
                               sizeof(DISPATCHER_HEADER) / sizeof(LONG), 0);
}

DISPATCHER_HEADER *nth_dispatcher_check(void *object, const char *what, unsigned type_mask)
{
    DISPATCHER_HEADER *const header = object;

    if (!header || header->Type > OBJECT_TIMER_SYNCHRONIZATION ||
        !(type_mask >> header->Type & 1) || header->Size == 0)
        nth_stop("object-not-initialized", "%p is no initialised %s", object, what);
    return header;
}

static void check_not_between(void)
{
    if (must_wait)
        nth_stop("wait-not-next", "the call before had Wait TRUE, so a KeWait routine must follow");
}

/* ---- satisfying waits, under the lock ---- */

static bool is_signaled(const DISPATCHER_HEADER *header, const struct nth_ethread *ethread)
{
    if (header->SignalState > 0)
        return true;
    return header->Type == OBJECT_MUTANT &&
           ((const KMUTANT *)header)->OwnerThread == (struct _KTHREAD *)ethread;
}

/* The side effects of a satisfied wait. True when the mutex had been abandoned. */
static bool consume(DISPATCHER_HEADER *header, struct nth_ethread *ethread)
{
    KMUTANT *const mutant = (KMUTANT *)header;

    switch (header->Type) {
    case OBJECT_EVENT_SYNCHRONIZATION:
    case OBJECT_TIMER_SYNCHRONIZATION:
        set_state(header, 0);
        return false;
    case OBJECT_SEMAPHORE:
        set_state(header, header->SignalState - 1);
        return false;
    case OBJECT_MUTANT:
        break;
    default:
        return false;
    }
    set_state(header, header->SignalState - 1);
    if (header->SignalState != 0)
        return false;
    mutant->OwnerThread = (struct _KTHREAD *)ethread;
    ethread->apc_disable += mutant->ApcDisable;
    const bool was_abandoned = mutant->Abandoned;
    mutant->Abandoned = 0;
    return was_abandoned;
}

/* The answer when the wait is satisfied now, -1 when not. */
static NTSTATUS try_satisfy(struct waiter *w)
{
    bool was_abandoned = false;

    if (w->type == NTH_WAIT_ANY) {
        for (unsigned i = 0; i < w->count; i++)
            if (is_signaled(w->blocks[i].object, w->ethread)) {
                was_abandoned = consume(w->blocks[i].object, w->ethread);
                return (NTSTATUS)((was_abandoned ? STATUS_ABANDONED_WAIT_0 : STATUS_WAIT_0) + i);
            }
        return -1;
    }
    for (unsigned i = 0; i < w->count; i++)
        if (!is_signaled(w->blocks[i].object, w->ethread))
            return -1;
    for (unsigned i = 0; i < w->count; i++)
        was_abandoned |= consume(w->blocks[i].object, w->ethread);
    return was_abandoned ? STATUS_ABANDONED_WAIT_0 : STATUS_SUCCESS;
}

static void finish(struct waiter *w, NTSTATUS status)
{
    for (unsigned i = 0; i < w->count; i++)
        list_remove(&w->blocks[i].link);
    *w->at = w->next;
    if (w->next)
        w->next->at = w->at;
    w->status = status;
    w->is_done = true;
}

void nth_dispatcher_signal(DISPATCHER_HEADER *header)
{
    LIST_ENTRY *entry = header->WaitListHead.Flink;

    while (entry != &header->WaitListHead) {
        struct waiter *const w = ((struct wait_block *)entry)->waiter;
        entry = entry->Flink;
        if (!is_signaled(header, w->ethread))
            return;
        const NTSTATUS status = try_satisfy(w);
        if (status == -1)
            continue;
        /* finish unlinks every block of w, maybe several of this object: start over. */
        finish(w, status);
        nth_unpark(w->thread); /* it takes the lock before it goes on, so it still exists */
        entry = header->WaitListHead.Flink;
    }
}

/* ---- the wait ---- */

uint64_t nth_deadline_of(const LARGE_INTEGER *timeout)
{
    if (!timeout)
        return UINT64_MAX;
    const uint64_t now = nth_clock_ns();
    if (timeout->QuadPart > 0) {
        const uint64_t due = (uint64_t)timeout->QuadPart, time = nth_system_time();
        if (due <= time)
            return now;
        return due - time > INT64_MAX / 100 ? INT64_MAX : now + (due - time) * 100;
    }
    const uint64_t relative = 0 - (uint64_t)timeout->QuadPart;
    return relative > (INT64_MAX - now) / 100 ? INT64_MAX : now + relative * 100;
}

static void enqueue(struct waiter *w)
{
    for (unsigned i = 0; i < w->count; i++)
        list_insert_tail(&w->blocks[i].object->WaitListHead, &w->blocks[i].link);
    w->next = waiters;
    w->at = &waiters;
    if (waiters)
        waiters->at = &w->next;
    waiters = w;
}

/* Enters and leaves with the lock. */
static NTSTATUS sleep_until(struct waiter *w, uint64_t deadline)
{
    enqueue(w);
    while (!w->is_done) {
        nth_unlock(&dispatcher);
        const int result = nth_park(deadline);
        nth_lock(&dispatcher);
        if (!w->is_done && result == -ETIMEDOUT)
            finish(w, STATUS_TIMEOUT);
    }
    return w->status;
}

static void check_wait_irql(const LARGE_INTEGER *timeout)
{
    const KIRQL irql = must_wait ? irql_before_set : nth_irql();

    if (!nth_call_name())
        return;
    if (irql > DISPATCH_LEVEL)
        nth_stop("irql-too-high", "%s at IRQL %u; at most %u", nth_call_name(), irql,
                 DISPATCH_LEVEL);
    if (irql == DISPATCH_LEVEL && !(timeout && timeout->QuadPart == 0))
        nth_stop("wait-at-dispatch", "%s at DISPATCH_LEVEL with a timeout other than zero",
                 nth_call_name());
}

static void end_set_and_wait(void)
{
    if (!must_wait)
        return;
    must_wait = false;
    nth_irql_lower(irql_before_set);
}

static void fill_blocks(struct waiter *w, void *const *objects)
{
    for (unsigned i = 0; i < w->count; i++) {
        w->blocks[i] = (struct wait_block){
            .waiter = w, .object = nth_dispatcher_check(objects[i], "dispatcher object", ~0U)};
        if (w->type == NTH_WAIT_ALL)
            for (unsigned j = 0; j < i; j++)
                if (objects[j] == objects[i])
                    nth_stop("wait-object-twice", "a wait for all names %p twice", objects[i]);
    }
}

/* "A mutex can be recursively acquired only MINLONG times." Under the lock. */
static bool is_mutant_at_limit(const struct waiter *w)
{
    for (unsigned i = 0; i < w->count; i++) {
        const KMUTANT *const m = (const KMUTANT *)w->blocks[i].object;
        if (m->Header.Type == OBJECT_MUTANT && m->OwnerThread == (struct _KTHREAD *)w->ethread &&
            m->Header.SignalState == INT32_MIN)
            return true;
    }
    return false;
}

static NTSTATUS wait_with(struct waiter *w, void *const *objects, const LARGE_INTEGER *timeout)
{
    struct wait_block blocks[MAXIMUM_WAIT_OBJECTS];

    w->blocks = blocks;
    fill_blocks(w, objects);
    const uint64_t deadline = nth_deadline_of(timeout);
    nth_lock(&dispatcher);
    NTSTATUS status = is_mutant_at_limit(w) ? STATUS_MUTANT_LIMIT_EXCEEDED : try_satisfy(w);
    if (status == -1 && w->is_abortable && atomic_load(&w->ethread->is_terminating))
        status = STATUS_THREAD_IS_TERMINATING;
    else if (status == -1 && timeout && timeout->QuadPart == 0)
        status = STATUS_TIMEOUT;
    else if (status == -1)
        status = sleep_until(w, deadline);
    nth_unlock(&dispatcher);
    w->blocks = NULL; /* they end with this function, and w is in no list any more */
    return status;
}

/* Mutexes of drivers take part in the lock order, which hold off APCs; those of programs are theirs
 * to misuse. An ordinary event does not belong to anybody. */
static void tell_order(unsigned count, void *const *objects, enum nth_wait_type type,
                       NTSTATUS status, bool before)
{
    for (unsigned i = 0; i < count; i++) {
        if (((const DISPATCHER_HEADER *)objects[i])->Type != OBJECT_MUTANT ||
            ((const KMUTANT *)objects[i])->ApcDisable == 0)
            continue;
        const unsigned index = (unsigned)status & 0x3F;
        const bool is_mine = status >= 0 && status < STATUS_ABANDONED_WAIT_0 + 64 &&
                             (type == NTH_WAIT_ALL || index == i);
        if (before)
            nth_order_acquire(objects[i], "mutex", false);
        else if (is_mine)
            nth_order_acquired(objects[i], "mutex", false);
    }
}

/* "Waits and APCs": thread termination ends a UserMode wait and an alertable one, unless kernel
 * APCs are disabled. */
static bool is_abortable(const struct nth_ethread *ethread, KPROCESSOR_MODE mode, bool alertable)
{
    return (mode == UserMode || alertable) && (ethread->is_system || ethread->apc_disable == 0);
}

NTSTATUS nth_wait_as(unsigned count, void *const *objects, enum nth_wait_type type,
                     KPROCESSOR_MODE mode, bool alertable, const LARGE_INTEGER *timeout)
{
    struct nth_ethread *const self = nth_ethread_current();
    struct waiter w = {.count = count,
                       .type = type,
                       .thread = nth_self(),
                       .ethread = self,
                       .is_abortable = is_abortable(self, mode, alertable)};

    if (count == 0 || count > MAXIMUM_WAIT_OBJECTS)
        nth_stop("bugcheck", "MAXIMUM_WAIT_OBJECTS_EXCEEDED (0xC): a wait for %u objects", count);
    check_wait_irql(timeout);
    if (must_wait)
        end_set_and_wait();
    const bool is_try = timeout && timeout->QuadPart == 0;
    for (unsigned i = 0; i < count; i++)
        nth_dispatcher_check(objects[i], "dispatcher object", ~0U);
    if (!is_try)
        tell_order(count, objects, type, 0, true);
    const NTSTATUS status = wait_with(&w, objects, timeout);
    if (status == STATUS_MUTANT_LIMIT_EXCEEDED)
        nth_raise(status, 0, NULL);
    if (status != STATUS_TIMEOUT && status != STATUS_THREAD_IS_TERMINATING &&
        status != STATUS_USER_APC)
        tell_order(count, objects, type, status, false);
    if (is_try)
        nth_point();
    return status;
}

NTSTATUS nth_wait(unsigned count, void *const *objects, enum nth_wait_type type, bool alertable,
                  const LARGE_INTEGER *timeout)
{
    return nth_wait_as(count, objects, type, UserMode, alertable, timeout);
}

/* ps.c, once is_terminating is set: ends the wait that the thread sits in, if its kind can be. */
void nth_wait_abort(void *ethread)
{
    nth_lock(&dispatcher);
    for (struct waiter *w = waiters; w; w = w->next)
        if (w->ethread == ethread && w->is_abortable) {
            struct nth_thread *const thread = w->thread;
            finish(w, STATUS_THREAD_IS_TERMINATING);
            nth_unpark(thread);
            break;
        }
    nth_unlock(&dispatcher);
}

void nth_signal_object(void *object)
{
    DISPATCHER_HEADER *const header = object;

    nth_lock(&dispatcher);
    if (!header->WaitListHead.Flink)
        list_init(&header->WaitListHead);
    set_state(header, 1);
    nth_dispatcher_signal(header);
    nth_unlock(&dispatcher);
}

void nth_wait_check_freed(const void *base, size_t bytes)
{
    const void *object = NULL;
    const char *name = NULL;

    nth_lock(&dispatcher);
    for (const struct waiter *w = waiters; w && !object; w = w->next)
        for (unsigned i = 0; i < w->count; i++)
            if (is_within(w->blocks[i].object, base, bytes)) {
                object = w->blocks[i].object;
                name = nth_thread_name(w->thread);
            }
    nth_unlock(&dispatcher);
    if (object)
        nth_stop("active-object-freed", "thread %s waits for %p, whose memory is given up", name,
                 object);
}

/* ---- setting objects ---- */

#define EVENTS (1U << OBJECT_EVENT_NOTIFICATION | 1U << OBJECT_EVENT_SYNCHRONIZATION)

/* IRQL and sequence rules of the routines with a Wait parameter, before and after their work. */
static void begin_set(BOOLEAN wait)
{
    check_not_between();
    nth_irql_max(wait ? APC_LEVEL : DISPATCH_LEVEL);
}

static void end_set(BOOLEAN wait)
{
    if (wait) {
        irql_before_set = nth_irql_raise(DISPATCH_LEVEL);
        must_wait = true;
    } else {
        nth_point();
    }
}

VOID NTAPI KeInitializeEvent(PRKEVENT Event, EVENT_TYPE Type, BOOLEAN State)
{
    if (Type != NotificationEvent && Type != SynchronizationEvent)
        nth_stop("bad-parameter", "KeInitializeEvent of type %d", Type);
    nth_wait_check_freed(Event, sizeof(*Event));
    /* The headers initialise a fast mutex in line, and this is all that is seen of it: whatever
     * lock was known at its address is another one now. */
    const char *const mutex = (const char *)Event - offsetof(FAST_MUTEX, Event);
    if (!nth_order_holds(mutex))
        nth_order_forget(mutex, 1);
    nth_dispatcher_init_header(&Event->Header,
                               Type == NotificationEvent ? OBJECT_EVENT_NOTIFICATION
                                                         : OBJECT_EVENT_SYNCHRONIZATION,
                               sizeof(*Event) / sizeof(LONG), State != FALSE);
}
NTH_EXPORT(KeInitializeEvent, 3);

LONG NTAPI KeSetEvent(PRKEVENT Event, KPRIORITY Increment, BOOLEAN Wait)
{
    begin_set(Wait);
    DISPATCHER_HEADER *const header = nth_dispatcher_check(Event, "event", EVENTS);
    nth_lock(&dispatcher);
    const LONG before = header->SignalState;
    set_state(header, 1);
    if (!before)
        nth_dispatcher_signal(header);
    nth_unlock(&dispatcher);
    end_set(Wait);
    return before;
}
NTH_EXPORT(KeSetEvent, 3);

LONG NTAPI KePulseEvent(PRKEVENT Event, KPRIORITY Increment, BOOLEAN Wait)
{
    begin_set(Wait);
    DISPATCHER_HEADER *const header = nth_dispatcher_check(Event, "event", EVENTS);
    nth_lock(&dispatcher);
    const LONG before = header->SignalState;
    set_state(header, 1);
    nth_dispatcher_signal(header);
    set_state(header, 0);
    nth_unlock(&dispatcher);
    end_set(Wait);
    return before;
}
NTH_EXPORT(KePulseEvent, 3);

LONG NTAPI KeResetEvent(PRKEVENT Event)
{
    check_not_between();
    nth_irql_max(DISPATCH_LEVEL);
    DISPATCHER_HEADER *const header = nth_dispatcher_check(Event, "event", EVENTS);
    nth_lock(&dispatcher);
    const LONG before = header->SignalState;
    set_state(header, 0);
    nth_unlock(&dispatcher);
    return before;
}
NTH_EXPORT(KeResetEvent, 1);

VOID NTAPI KeClearEvent(PRKEVENT Event)
{
    KeResetEvent(Event);
}
NTH_EXPORT(KeClearEvent, 1);

static LONG read_state(DISPATCHER_HEADER *header)
{
    return __atomic_load_n(&header->SignalState, __ATOMIC_ACQUIRE);
}

LONG NTAPI KeReadStateEvent(PRKEVENT Event)
{
    nth_irql_max(DISPATCH_LEVEL);
    return read_state(nth_dispatcher_check(Event, "event", EVENTS));
}
NTH_EXPORT(KeReadStateEvent, 1);

VOID NTAPI KeInitializeSemaphore(PRKSEMAPHORE Semaphore, LONG Count, LONG Limit)
{
    nth_irql_max(PASSIVE_LEVEL);
    if (Limit <= 0 || Count < 0 || Count > Limit)
        nth_stop("bad-parameter", "KeInitializeSemaphore with count %d and limit %d", Count, Limit);
    nth_wait_check_freed(Semaphore, sizeof(*Semaphore));
    nth_dispatcher_init_header(&Semaphore->Header, OBJECT_SEMAPHORE,
                               sizeof(*Semaphore) / sizeof(LONG), Count);
    Semaphore->Limit = Limit;
}
NTH_EXPORT(KeInitializeSemaphore, 3);

LONG NTAPI KeReleaseSemaphore(PRKSEMAPHORE Semaphore, KPRIORITY Increment, LONG Adjustment,
                              BOOLEAN Wait)
{
    begin_set(Wait);
    DISPATCHER_HEADER *const header =
        nth_dispatcher_check(Semaphore, "semaphore", 1U << OBJECT_SEMAPHORE);
    nth_lock(&dispatcher);
    const LONG before = header->SignalState;
    const bool is_over = Adjustment <= 0 || Adjustment > Semaphore->Limit - before;
    if (!is_over) {
        set_state(header, before + Adjustment);
        nth_dispatcher_signal(header);
    }
    nth_unlock(&dispatcher);
    if (is_over)
        nth_raise(STATUS_SEMAPHORE_LIMIT_EXCEEDED, 0, NULL);
    end_set(Wait);
    return before;
}
NTH_EXPORT(KeReleaseSemaphore, 4);

LONG NTAPI KeReadStateSemaphore(PRKSEMAPHORE Semaphore)
{
    return read_state(nth_dispatcher_check(Semaphore, "semaphore", 1U << OBJECT_SEMAPHORE));
}
NTH_EXPORT(KeReadStateSemaphore, 1);

VOID NTAPI KeInitializeMutex(PRKMUTEX Mutex, ULONG Level)
{
    nth_wait_check_freed(Mutex, sizeof(*Mutex));
    nth_order_forget(Mutex, sizeof(*Mutex));
    memset(Mutex, 0, sizeof(*Mutex));
    nth_dispatcher_init_header(&Mutex->Header, OBJECT_MUTANT, sizeof(*Mutex) / sizeof(LONG), 1);
    Mutex->ApcDisable = 1;
}
NTH_EXPORT(KeInitializeMutex, 2);

LONG NTAPI KeReadStateMutex(PRKMUTEX Mutex)
{
    nth_irql_max(DISPATCH_LEVEL);
    return read_state(nth_dispatcher_check(Mutex, "mutex", 1U << OBJECT_MUTANT));
}
NTH_EXPORT(KeReadStateMutex, 1);

LONG NTAPI KeReleaseMutex(PRKMUTEX Mutex, BOOLEAN Wait)
{
    struct nth_ethread *const self = nth_ethread_current();

    begin_set(Wait);
    DISPATCHER_HEADER *const header = nth_dispatcher_check(Mutex, "mutex", 1U << OBJECT_MUTANT);
    nth_lock(&dispatcher);
    const LONG before = header->SignalState;
    const bool is_owner = Mutex->OwnerThread == (struct _KTHREAD *)self;
    const bool was_abandoned = Mutex->Abandoned;
    if (is_owner)
        set_state(header, before + 1);
    if (is_owner && before == 0) {
        Mutex->OwnerThread = NULL;
        self->apc_disable -= Mutex->ApcDisable;
        nth_dispatcher_signal(header);
    }
    nth_unlock(&dispatcher);
    if (!is_owner)
        nth_raise(was_abandoned ? STATUS_ABANDONED : STATUS_MUTANT_NOT_OWNED, 0, NULL);
    nth_order_release(Mutex, "mutex", false);
    end_set(Wait);
    return before;
}
NTH_EXPORT(KeReleaseMutex, 2);

/* ---- waiting ---- */

static NTSTATUS as_driver_sees(NTSTATUS status)
{
    return status == STATUS_THREAD_IS_TERMINATING ? STATUS_USER_APC : status;
}

NTSTATUS NTAPI KeWaitForSingleObject(PVOID Object, KWAIT_REASON WaitReason,
                                     KPROCESSOR_MODE WaitMode, BOOLEAN Alertable,
                                     PLARGE_INTEGER Timeout)
{
    return as_driver_sees(nth_wait_as(1, &Object, NTH_WAIT_ANY, WaitMode, Alertable, Timeout));
}
NTH_EXPORT(KeWaitForSingleObject, 5);

NTSTATUS NTAPI KeWaitForMultipleObjects(ULONG Count, PVOID Object[], WAIT_TYPE WaitType,
                                        KWAIT_REASON WaitReason, KPROCESSOR_MODE WaitMode,
                                        BOOLEAN Alertable, PLARGE_INTEGER Timeout,
                                        PKWAIT_BLOCK WaitBlockArray)
{
    if (Count > (WaitBlockArray ? MAXIMUM_WAIT_OBJECTS : THREAD_WAIT_OBJECTS))
        nth_stop("bugcheck",
                 "MAXIMUM_WAIT_OBJECTS_EXCEEDED (0xC): a wait for %u objects, %s wait blocks",
                 Count, WaitBlockArray ? "with" : "without");
    return as_driver_sees(nth_wait_as(Count, Object,
                                      WaitType == WaitAll ? NTH_WAIT_ALL : NTH_WAIT_ANY, WaitMode,
                                      Alertable, Timeout));
}
NTH_EXPORT(KeWaitForMultipleObjects, 8);

/* A wait for nothing: only its deadline or the death of the thread ends it. */
NTSTATUS NTAPI KeDelayExecutionThread(KPROCESSOR_MODE WaitMode, BOOLEAN Alertable,
                                      PLARGE_INTEGER Interval)
{
    struct waiter w = {.thread = nth_self(), .ethread = nth_ethread_current()};
    NTSTATUS status = STATUS_SUCCESS;

    check_not_between();
    nth_irql_max(APC_LEVEL);
    if (Interval->QuadPart == 0) {
        nth_yield();
        return STATUS_SUCCESS;
    }
    w.is_abortable = is_abortable(w.ethread, WaitMode, Alertable);
    const uint64_t deadline = nth_deadline_of(Interval);
    nth_lock(&dispatcher);
    if (w.is_abortable && atomic_load(&w.ethread->is_terminating))
        status = STATUS_USER_APC;
    else if (sleep_until(&w, deadline) != STATUS_TIMEOUT)
        status = STATUS_USER_APC;
    nth_unlock(&dispatcher);
    return status;
}
NTH_EXPORT(KeDelayExecutionThread, 3);

/* ---- the end of a thread ---- */

void nth_thread_rundown(void *ethread)
{
    const char *kind = NULL;
    const void *const lock = nth_order_held_at(0, &kind);

    if (lock)
        nth_stop("lock-held-on-return", "thread %s ends and holds %s %p",
                 nth_thread_name(nth_self()), kind, lock);
    check_not_between();
}
