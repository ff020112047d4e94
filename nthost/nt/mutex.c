/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Fast mutexes, guarded mutexes and push locks: locks that block and know no recursion. A fast
 * mutex is the driver's counter and event, as the headers initialise them; a push lock is one word,
 * with its waiters queued here.
 */
#include "nt/ke.h"
#include "nt/more.h"

#include <string.h>

static const char fast[] = "fast mutex", push[] = "push lock";

/* ---- fast mutex: Count is 1 when free; each who wants it takes one off ---- */

static void acquire_fast(PFAST_MUTEX mutex)
{
    void *object = &mutex->Event;

    nth_order_acquire(mutex, fast, false);
    if (__atomic_sub_fetch(&mutex->Count, 1, __ATOMIC_ACQ_REL) != 0) {
        __atomic_fetch_add(&mutex->Contention, 1, __ATOMIC_RELAXED);
        nth_wait_as(1, &object, NTH_WAIT_ANY, KernelMode, false, NULL);
    }
    mutex->Owner = nth_ethread_current();
    nth_order_acquired(mutex, fast, false);
}

static bool try_fast(PFAST_MUTEX mutex)
{
    LONG one = 1;

    if (!__atomic_compare_exchange_n(&mutex->Count, &one, 0, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED))
        return false;
    mutex->Owner = nth_ethread_current();
    nth_order_acquired(mutex, fast, false);
    return true;
}

static void release_fast(PFAST_MUTEX mutex)
{
    nth_order_release(mutex, fast, false);
    mutex->Owner = NULL;
    if (__atomic_add_fetch(&mutex->Count, 1, __ATOMIC_ACQ_REL) <= 0)
        KeSetEvent(&mutex->Event, 0, FALSE);
}

VOID FASTCALL ExAcquireFastMutex(PFAST_MUTEX FastMutex)
{
    nth_irql_max(APC_LEVEL);
    const KIRQL before = nth_irql_raise(APC_LEVEL);
    acquire_fast(FastMutex);
    FastMutex->OldIrql = before;
}
NTH_EXPORT(ExAcquireFastMutex, 1);

BOOLEAN FASTCALL ExTryToAcquireFastMutex(PFAST_MUTEX FastMutex)
{
    nth_irql_max(APC_LEVEL);
    const KIRQL before = nth_irql_raise(APC_LEVEL);
    const bool is_mine = try_fast(FastMutex);
    if (is_mine)
        FastMutex->OldIrql = before;
    else
        nth_irql_lower(before);
    return is_mine;
}
NTH_EXPORT(ExTryToAcquireFastMutex, 1);

VOID FASTCALL ExReleaseFastMutex(PFAST_MUTEX FastMutex)
{
    const KIRQL before = (KIRQL)FastMutex->OldIrql;

    nth_irql_exactly(APC_LEVEL);
    release_fast(FastMutex);
    nth_irql_lower(before);
    nth_point();
}
NTH_EXPORT(ExReleaseFastMutex, 1);

/* The unsafe forms leave it to the caller to hold off APCs. */
static void check_apcs_held_off(const char *name)
{
    const struct nth_ethread *const thread = nth_ethread_current();

    nth_irql_max(APC_LEVEL);
    if (nth_call_name() && nth_irql() < APC_LEVEL && thread->apc_disable == 0)
        nth_stop("irql-too-low", "%s at PASSIVE_LEVEL outside of a critical region", name);
}

VOID FASTCALL ExAcquireFastMutexUnsafe(PFAST_MUTEX FastMutex)
{
    check_apcs_held_off("ExAcquireFastMutexUnsafe");
    acquire_fast(FastMutex);
}
NTH_EXPORT(ExAcquireFastMutexUnsafe, 1);

VOID FASTCALL ExReleaseFastMutexUnsafe(PFAST_MUTEX FastMutex)
{
    check_apcs_held_off("ExReleaseFastMutexUnsafe");
    release_fast(FastMutex);
    nth_point();
}
NTH_EXPORT(ExReleaseFastMutexUnsafe, 1);

/* ---- guarded mutex: the same, inside a guarded region instead of at APC_LEVEL ---- */

VOID NTAPI KeInitializeGuardedMutex(PKGUARDED_MUTEX Mutex)
{
    nth_irql_max(APC_LEVEL);
    ExInitializeFastMutex(Mutex);
}
NTH_EXPORT(KeInitializeGuardedMutex, 1);

VOID NTAPI KeAcquireGuardedMutex(PKGUARDED_MUTEX Mutex)
{
    KeEnterGuardedRegion();
    acquire_fast(Mutex);
}
NTH_EXPORT(KeAcquireGuardedMutex, 1);

BOOLEAN NTAPI KeTryToAcquireGuardedMutex(PKGUARDED_MUTEX Mutex)
{
    KeEnterGuardedRegion();
    if (try_fast(Mutex))
        return TRUE;
    KeLeaveGuardedRegion();
    return FALSE;
}
NTH_EXPORT(KeTryToAcquireGuardedMutex, 1);

VOID NTAPI KeReleaseGuardedMutex(PKGUARDED_MUTEX Mutex)
{
    nth_irql_max(APC_LEVEL);
    release_fast(Mutex);
    KeLeaveGuardedRegion();
    nth_point();
}
NTH_EXPORT(KeReleaseGuardedMutex, 1);

/* ---- push lock: bit 0 exclusive, the number of readers above bit 4 ---- */

#define PUSH_EXCLUSIVE ((ULONG_PTR)1)
#define PUSH_READER    ((ULONG_PTR)16)

struct push_waiter {
    struct push_waiter *next;
    PEX_PUSH_LOCK lock;
    bool is_exclusive;
    KEVENT granted;
};

/* Guards the words as well as the queue of all waiters, oldest first. */
static struct nth_mutex push_mutex = NTH_MUTEX_INIT;
static struct push_waiter *push_waiters;

static bool push_is_free(const EX_PUSH_LOCK *lock, bool is_exclusive)
{
    return *lock == 0 || (!is_exclusive && !(*lock & PUSH_EXCLUSIVE));
}

static bool push_has_waiter(const EX_PUSH_LOCK *lock)
{
    for (const struct push_waiter *w = push_waiters; w; w = w->next)
        if (w->lock == lock)
            return true;
    return false;
}

static void push_take(PEX_PUSH_LOCK lock, bool is_exclusive)
{
    *lock += is_exclusive ? PUSH_EXCLUSIVE : PUSH_READER;
}

static void push_grant(PEX_PUSH_LOCK lock)
{
    for (struct push_waiter **at = &push_waiters; *at;) {
        struct push_waiter *const w = *at;
        if (w->lock != lock) {
            at = &w->next;
            continue;
        }
        if (!push_is_free(lock, w->is_exclusive))
            return;
        *at = w->next;
        push_take(lock, w->is_exclusive);
        KeSetEvent(&w->granted, 0, FALSE); /* its thread comes back through the mutex */
    }
}

static void push_wait(PEX_PUSH_LOCK lock, bool is_exclusive)
{
    struct push_waiter w = {.lock = lock, .is_exclusive = is_exclusive};
    struct push_waiter **end = &push_waiters;
    void *object = &w.granted;

    nth_dispatcher_init_header(&w.granted.Header, OBJECT_EVENT_SYNCHRONIZATION, 6, 0);
    while (*end)
        end = &(*end)->next;
    *end = &w;
    nth_unlock(&push_mutex);
    nth_wait_as(1, &object, NTH_WAIT_ANY, KernelMode, false, NULL);
    nth_lock(&push_mutex);
}

static void push_acquire(PEX_PUSH_LOCK lock, bool is_exclusive, const char *name)
{
    check_apcs_held_off(name);
    nth_order_acquire(lock, push, !is_exclusive);
    nth_lock(&push_mutex);
    if (push_is_free(lock, is_exclusive) && !push_has_waiter(lock))
        push_take(lock, is_exclusive);
    else
        push_wait(lock, is_exclusive);
    nth_unlock(&push_mutex);
    nth_order_acquired(lock, push, !is_exclusive);
}

static void push_release(PEX_PUSH_LOCK lock, bool is_exclusive, const char *name)
{
    check_apcs_held_off(name);
    nth_order_release(lock, push, !is_exclusive);
    nth_lock(&push_mutex);
    *lock -= is_exclusive ? PUSH_EXCLUSIVE : PUSH_READER;
    push_grant(lock);
    nth_unlock(&push_mutex);
    nth_point();
}

VOID NTAPI ExInitializePushLock(PEX_PUSH_LOCK PushLock)
{
    nth_order_forget(PushLock, sizeof(*PushLock));
    *PushLock = 0;
}
NTH_EXPORT(ExInitializePushLock, 1);

static void check_push_flags(ULONG flags)
{
    if (flags & ~3U) /* EX_DEFAULT_PUSH_LOCK_FLAGS and the two documented bits */
        nth_stop("not-provided", "push lock flags 0x%X", flags);
}

VOID NTAPI ExAcquirePushLockExclusiveEx(PEX_PUSH_LOCK PushLock, ULONG Flags)
{
    check_push_flags(Flags);
    push_acquire(PushLock, true, "ExAcquirePushLockExclusive");
}
NTH_EXPORT(ExAcquirePushLockExclusiveEx, 2);

VOID NTAPI ExAcquirePushLockSharedEx(PEX_PUSH_LOCK PushLock, ULONG Flags)
{
    check_push_flags(Flags);
    push_acquire(PushLock, false, "ExAcquirePushLockShared");
}
NTH_EXPORT(ExAcquirePushLockSharedEx, 2);

VOID NTAPI ExReleasePushLockExclusiveEx(PEX_PUSH_LOCK PushLock, ULONG Flags)
{
    check_push_flags(Flags);
    push_release(PushLock, true, "ExReleasePushLockExclusive");
}
NTH_EXPORT(ExReleasePushLockExclusiveEx, 2);

VOID NTAPI ExReleasePushLockSharedEx(PEX_PUSH_LOCK PushLock, ULONG Flags)
{
    check_push_flags(Flags);
    push_release(PushLock, false, "ExReleasePushLockShared");
}
NTH_EXPORT(ExReleasePushLockSharedEx, 2);
