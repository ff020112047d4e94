/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Spin locks: plain, in-stack queued, reader-writer, and the interlocked lists that use them. The
 * lock words are the driver's, with the values of NT where a driver initialises them itself: zero
 * is free. Order, recursion and IRQL are checked by core/order.c.
 */
#include "nt/ke.h"
#include "nt/more.h"

#define SHARED_MASK       0x3FFFFFFFU
#define EXCLUSIVE_WAITING 0x40000000U
#define EXCLUSIVE_HELD    0x80000000U

static const char plain[] = "spin lock", queued[] = "spin lock (queued)",
                  reader_writer[] = "spin lock (reader-writer)";

/* ---- plain ---- */

static bool try_word(ULONG_PTR *lock)
{
    return __atomic_load_n(lock, __ATOMIC_RELAXED) == 0 &&
           __atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE) == 0;
}

static void acquire_word(ULONG_PTR *lock, const char *kind)
{
    nth_order_acquire(lock, kind, false);
    while (!try_word(lock))
        nth_spin_wait(lock);
    nth_order_acquired(lock, kind, false);
}

static void release_word(ULONG_PTR *lock, const char *kind)
{
    nth_order_release(lock, kind, false);
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
    nth_spin_wake(lock);
}

/* Back to the IRQL of before a spin lock: the checks of KeLowerIrql in the lock's words. */
static void lower_from_lock(KIRQL irql)
{
    if (irql > DISPATCH_LEVEL)
        nth_stop("irql-direction", "a spin lock is released to IRQL %u", irql);
    if (irql < DISPATCH_LEVEL && nth_order_spinning())
        nth_stop("irql-lowered-with-lock", "released to IRQL %u with %u more spin locks held", irql,
                 nth_order_spinning());
    if (irql < DISPATCH_LEVEL && nth_dpc_is_running())
        nth_stop("irql-direction", "a spin lock is released to IRQL %u inside a DPC routine", irql);
    nth_irql_lower(irql);
}

VOID NTAPI KeInitializeSpinLock(PKSPIN_LOCK SpinLock)
{
    nth_order_forget(SpinLock, sizeof(*SpinLock));
    __atomic_store_n(SpinLock, 0, __ATOMIC_RELEASE);
}
NTH_EXPORT(KeInitializeSpinLock, 1);

KIRQL NTAPI KeAcquireSpinLockRaiseToDpc(PKSPIN_LOCK SpinLock)
{
    nth_irql_max(DISPATCH_LEVEL);
    const KIRQL before = nth_irql_raise(DISPATCH_LEVEL);
    acquire_word(SpinLock, plain);
    return before;
}
NTH_EXPORT(KeAcquireSpinLockRaiseToDpc, 1);
NTH_EXPORT_AS(KfAcquireSpinLock, "KfAcquireSpinLock", KeAcquireSpinLockRaiseToDpc, 1);

VOID NTAPI KeReleaseSpinLock(PKSPIN_LOCK SpinLock, KIRQL NewIrql)
{
    nth_irql_exactly(DISPATCH_LEVEL);
    release_word(SpinLock, plain);
    lower_from_lock(NewIrql);
}
NTH_EXPORT(KeReleaseSpinLock, 2);
NTH_EXPORT_AS(KfReleaseSpinLock, "KfReleaseSpinLock", KeReleaseSpinLock, 2);

VOID NTAPI KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock)
{
    nth_irql_min(DISPATCH_LEVEL);
    acquire_word(SpinLock, plain);
}
NTH_EXPORT(KeAcquireSpinLockAtDpcLevel, 1);
NTH_EXPORT_AS(KefAcquireSpinLockAtDpcLevel, "KefAcquireSpinLockAtDpcLevel",
              KeAcquireSpinLockAtDpcLevel, 1);

VOID NTAPI KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK SpinLock)
{
    nth_irql_min(DISPATCH_LEVEL);
    release_word(SpinLock, plain);
    nth_point();
}
NTH_EXPORT(KeReleaseSpinLockFromDpcLevel, 1);
NTH_EXPORT_AS(KefReleaseSpinLockFromDpcLevel, "KefReleaseSpinLockFromDpcLevel",
              KeReleaseSpinLockFromDpcLevel, 1);

BOOLEAN FASTCALL KeTryToAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock)
{
    nth_irql_min(DISPATCH_LEVEL);
    if (!try_word(SpinLock))
        return FALSE;
    nth_order_acquired(SpinLock, plain, false);
    return TRUE;
}
NTH_EXPORT(KeTryToAcquireSpinLockAtDpcLevel, 1);

BOOLEAN FASTCALL KeTestSpinLock(PKSPIN_LOCK SpinLock)
{
    nth_irql_min(DISPATCH_LEVEL);
    return __atomic_load_n(SpinLock, __ATOMIC_ACQUIRE) == 0;
}
NTH_EXPORT(KeTestSpinLock, 1);

/* A DPC routine is at DISPATCH_LEVEL unless it is a threaded one: the "ForDpc" pair works in both.
 */
KIRQL FASTCALL KeAcquireSpinLockForDpc(PKSPIN_LOCK SpinLock)
{
    return KeAcquireSpinLockRaiseToDpc(SpinLock);
}
NTH_EXPORT(KeAcquireSpinLockForDpc, 1);

VOID FASTCALL KeReleaseSpinLockForDpc(PKSPIN_LOCK SpinLock, KIRQL OldIrql)
{
    KeReleaseSpinLock(SpinLock, OldIrql);
}
NTH_EXPORT(KeReleaseSpinLockForDpc, 2);

/* ---- in-stack queued ---- */

VOID FASTCALL KeAcquireInStackQueuedSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock,
                                                       PKLOCK_QUEUE_HANDLE LockHandle)
{
    nth_irql_min(DISPATCH_LEVEL);
    acquire_word(SpinLock, queued);
    LockHandle->LockQueue.Next = NULL;
    LockHandle->LockQueue.Lock = SpinLock;
}
NTH_EXPORT(KeAcquireInStackQueuedSpinLockAtDpcLevel, 2);

VOID FASTCALL KeReleaseInStackQueuedSpinLockFromDpcLevel(PKLOCK_QUEUE_HANDLE LockHandle)
{
    nth_irql_min(DISPATCH_LEVEL);
    if (!LockHandle->LockQueue.Lock)
        nth_stop("lock-not-held", "the queue handle %p holds no lock", (void *)LockHandle);
    release_word((ULONG_PTR *)LockHandle->LockQueue.Lock, queued);
    LockHandle->LockQueue.Lock = NULL;
}
NTH_EXPORT(KeReleaseInStackQueuedSpinLockFromDpcLevel, 1);

VOID FASTCALL KeAcquireInStackQueuedSpinLock(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle)
{
    nth_irql_max(DISPATCH_LEVEL);
    const KIRQL before = nth_irql_raise(DISPATCH_LEVEL);
    KeAcquireInStackQueuedSpinLockAtDpcLevel(SpinLock, LockHandle);
    LockHandle->OldIrql = before;
}
NTH_EXPORT(KeAcquireInStackQueuedSpinLock, 2);
NTH_EXPORT_AS(KeAcquireInStackQueuedSpinLockForDpc, "KeAcquireInStackQueuedSpinLockForDpc",
              KeAcquireInStackQueuedSpinLock, 2);

VOID FASTCALL KeReleaseInStackQueuedSpinLock(PKLOCK_QUEUE_HANDLE LockHandle)
{
    const KIRQL before = LockHandle->OldIrql;

    nth_irql_exactly(DISPATCH_LEVEL);
    KeReleaseInStackQueuedSpinLockFromDpcLevel(LockHandle);
    lower_from_lock(before);
}
NTH_EXPORT(KeReleaseInStackQueuedSpinLock, 1);
NTH_EXPORT_AS(KeReleaseInStackQueuedSpinLockForDpc, "KeReleaseInStackQueuedSpinLockForDpc",
              KeReleaseInStackQueuedSpinLock, 1);

/* ---- reader-writer ----
 * A waiting writer holds off new readers, so a reader that comes again while a writer waits would
 * wait for itself: recursion is refused at once, whether or not a writer waits. */

static unsigned *rw_word(PEX_SPIN_LOCK lock)
{
    return (unsigned *)lock;
}

static bool try_shared(unsigned *word)
{
    unsigned value = __atomic_load_n(word, __ATOMIC_RELAXED);

    while (!(value & ~SHARED_MASK))
        if (__atomic_compare_exchange_n(word, &value, value + 1, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return true;
    return false;
}

static bool try_exclusive(unsigned *word)
{
    unsigned value = __atomic_load_n(word, __ATOMIC_RELAXED);

    for (;;) {
        const bool is_free = (value & ~EXCLUSIVE_WAITING) == 0;
        const unsigned wanted = is_free ? EXCLUSIVE_HELD : value | EXCLUSIVE_WAITING;
        if (value == wanted)
            return false;
        if (__atomic_compare_exchange_n(word, &value, wanted, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return is_free;
    }
}

static void acquire_shared(PEX_SPIN_LOCK lock)
{
    nth_order_acquire(lock, reader_writer, true);
    while (!try_shared(rw_word(lock)))
        nth_spin_wait(lock);
    nth_order_acquired(lock, reader_writer, true);
}

static void acquire_exclusive(PEX_SPIN_LOCK lock)
{
    nth_order_acquire(lock, reader_writer, false);
    while (!try_exclusive(rw_word(lock)))
        nth_spin_wait(lock);
    nth_order_acquired(lock, reader_writer, false);
}

static void release_rw(PEX_SPIN_LOCK lock, bool is_shared)
{
    nth_order_release(lock, reader_writer, is_shared);
    if (is_shared)
        __atomic_fetch_sub(rw_word(lock), 1, __ATOMIC_RELEASE);
    else
        __atomic_fetch_and(rw_word(lock), ~EXCLUSIVE_HELD, __ATOMIC_RELEASE);
    nth_spin_wake(lock);
}

KIRQL NTAPI ExAcquireSpinLockShared(PEX_SPIN_LOCK SpinLock)
{
    nth_irql_max(DISPATCH_LEVEL);
    const KIRQL before = nth_irql_raise(DISPATCH_LEVEL);
    acquire_shared(SpinLock);
    return before;
}
NTH_EXPORT(ExAcquireSpinLockShared, 1);

KIRQL NTAPI ExAcquireSpinLockExclusive(PEX_SPIN_LOCK SpinLock)
{
    nth_irql_max(DISPATCH_LEVEL);
    const KIRQL before = nth_irql_raise(DISPATCH_LEVEL);
    acquire_exclusive(SpinLock);
    return before;
}
NTH_EXPORT(ExAcquireSpinLockExclusive, 1);

VOID NTAPI ExAcquireSpinLockSharedAtDpcLevel(PEX_SPIN_LOCK SpinLock)
{
    nth_irql_min(DISPATCH_LEVEL);
    acquire_shared(SpinLock);
}
NTH_EXPORT(ExAcquireSpinLockSharedAtDpcLevel, 1);

VOID NTAPI ExAcquireSpinLockExclusiveAtDpcLevel(PEX_SPIN_LOCK SpinLock)
{
    nth_irql_min(DISPATCH_LEVEL);
    acquire_exclusive(SpinLock);
}
NTH_EXPORT(ExAcquireSpinLockExclusiveAtDpcLevel, 1);

VOID NTAPI ExReleaseSpinLockShared(PEX_SPIN_LOCK SpinLock, KIRQL OldIrql)
{
    nth_irql_exactly(DISPATCH_LEVEL);
    release_rw(SpinLock, true);
    lower_from_lock(OldIrql);
}
NTH_EXPORT(ExReleaseSpinLockShared, 2);

VOID NTAPI ExReleaseSpinLockExclusive(PEX_SPIN_LOCK SpinLock, KIRQL OldIrql)
{
    nth_irql_exactly(DISPATCH_LEVEL);
    release_rw(SpinLock, false);
    lower_from_lock(OldIrql);
}
NTH_EXPORT(ExReleaseSpinLockExclusive, 2);

VOID NTAPI ExReleaseSpinLockSharedFromDpcLevel(PEX_SPIN_LOCK SpinLock)
{
    nth_irql_min(DISPATCH_LEVEL);
    release_rw(SpinLock, true);
    nth_point();
}
NTH_EXPORT(ExReleaseSpinLockSharedFromDpcLevel, 1);

VOID NTAPI ExReleaseSpinLockExclusiveFromDpcLevel(PEX_SPIN_LOCK SpinLock)
{
    nth_irql_min(DISPATCH_LEVEL);
    release_rw(SpinLock, false);
    nth_point();
}
NTH_EXPORT(ExReleaseSpinLockExclusiveFromDpcLevel, 1);

/* Succeeds for the only reader when no other thread waits to write. */
LOGICAL NTAPI ExTryConvertSharedSpinLockExclusive(PEX_SPIN_LOCK SpinLock)
{
    unsigned one = 1;

    nth_irql_exactly(DISPATCH_LEVEL);
    if (!__atomic_compare_exchange_n(rw_word(SpinLock), &one, EXCLUSIVE_HELD, false,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return FALSE;
    nth_order_release(SpinLock, reader_writer, true);
    nth_order_acquired(SpinLock, reader_writer, false);
    return TRUE;
}
NTH_EXPORT(ExTryConvertSharedSpinLockExclusive, 1);

/* ---- interlocked lists ----
 * "Any level": the lock may only be used with these routines, which run with interrupts off; so the
 * word alone is taken, at whatever IRQL, and nothing can be called meanwhile. */

static void list_lock(PKSPIN_LOCK lock)
{
    while (!try_word(lock))
        nth_spin_wait(lock);
}

static void list_unlock(PKSPIN_LOCK lock)
{
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
    nth_spin_wake(lock);
}

#undef ExInterlockedInsertHeadList
#undef ExInterlockedInsertTailList
#undef ExInterlockedRemoveHeadList

PLIST_ENTRY FASTCALL ExInterlockedInsertHeadList(PLIST_ENTRY Head, PLIST_ENTRY Entry,
                                                 PKSPIN_LOCK Lock)
{
    list_lock(Lock);
    PLIST_ENTRY const first = Head->Flink;
    Entry->Flink = first;
    Entry->Blink = Head;
    first->Blink = Entry;
    Head->Flink = Entry;
    list_unlock(Lock);
    return first == Head ? NULL : first;
}
NTH_EXPORT(ExInterlockedInsertHeadList, 3);

PLIST_ENTRY FASTCALL ExInterlockedInsertTailList(PLIST_ENTRY Head, PLIST_ENTRY Entry,
                                                 PKSPIN_LOCK Lock)
{
    list_lock(Lock);
    PLIST_ENTRY const last = Head->Blink;
    list_insert_tail(Head, Entry);
    list_unlock(Lock);
    return last == Head ? NULL : last;
}
NTH_EXPORT(ExInterlockedInsertTailList, 3);

PLIST_ENTRY FASTCALL ExInterlockedRemoveHeadList(PLIST_ENTRY Head, PKSPIN_LOCK Lock)
{
    list_lock(Lock);
    PLIST_ENTRY const first = Head->Flink;
    if (first != Head)
        list_remove(first);
    list_unlock(Lock);
    return first == Head ? NULL : first;
}
NTH_EXPORT(ExInterlockedRemoveHeadList, 2);

NTH_EXPORT_AS(ExfInterlockedInsertHeadList, "ExfInterlockedInsertHeadList",
              ExInterlockedInsertHeadList, 3);
NTH_EXPORT_AS(ExfInterlockedInsertTailList, "ExfInterlockedInsertTailList",
              ExInterlockedInsertTailList, 3);
NTH_EXPORT_AS(ExfInterlockedRemoveHeadList, "ExfInterlockedRemoveHeadList",
              ExInterlockedRemoveHeadList, 2);

PSINGLE_LIST_ENTRY FASTCALL ExInterlockedPushEntryList(PSINGLE_LIST_ENTRY Head,
                                                       PSINGLE_LIST_ENTRY Entry, PKSPIN_LOCK Lock)
{
    list_lock(Lock);
    PSINGLE_LIST_ENTRY const first = Head->Next;
    Entry->Next = first;
    Head->Next = Entry;
    list_unlock(Lock);
    return first;
}
NTH_EXPORT(ExInterlockedPushEntryList, 3);

PSINGLE_LIST_ENTRY FASTCALL ExInterlockedPopEntryList(PSINGLE_LIST_ENTRY Head, PKSPIN_LOCK Lock)
{
    list_lock(Lock);
    PSINGLE_LIST_ENTRY const first = Head->Next;
    if (first)
        Head->Next = first->Next;
    list_unlock(Lock);
    return first;
}
NTH_EXPORT(ExInterlockedPopEntryList, 2);
