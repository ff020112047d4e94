/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Remove locks ("Using Remove Locks"): a count that removal waits for. Every acquisition is
 * remembered with its tag, as Driver Verifier does, so that a release without one is found.
 */
#include "nt/io.h"

#include <stdlib.h>

struct held {
    struct held *next;
    const IO_REMOVE_LOCK *lock;
    const void *tag;
};

static struct nth_mutex held_lock = NTH_MUTEX_INIT;
static struct held *all_held; /* guarded by held_lock */

static void remember(const IO_REMOVE_LOCK *lock, const void *tag)
{
    struct held *held = malloc(sizeof(*held));

    if (!held)
        nth_fail("out of memory");
    *held = (struct held){.lock = lock, .tag = tag};
    nth_lock(&held_lock);
    held->next = all_held;
    all_held = held;
    nth_unlock(&held_lock);
}

static void forget(const IO_REMOVE_LOCK *lock, const void *tag)
{
    nth_lock(&held_lock);
    struct held **link = &all_held;
    while (*link && ((*link)->lock != lock || (*link)->tag != tag))
        link = &(*link)->next;
    struct held *found = *link;
    if (found)
        *link = found->next;
    nth_unlock(&held_lock);
    if (!found)
        nth_stop("remove-lock", "remove lock %p is not held with tag %p", (const void *)lock, tag);
    free(found);
}

/* A debug build of the driver has a larger structure; the common part comes first. */
static void check(const IO_REMOVE_LOCK *lock, ULONG size)
{
    if (size < sizeof(IO_REMOVE_LOCK) || lock->Common.IoCount < 0)
        nth_stop("remove-lock", "%p is no remove lock", (const void *)lock);
}

VOID NTAPI IoInitializeRemoveLockEx(PIO_REMOVE_LOCK Lock, ULONG Tag, ULONG MaxLockedMinutes,
                                    ULONG HighWatermark, ULONG RemlockSize)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    if (RemlockSize < sizeof(IO_REMOVE_LOCK))
        nth_stop("remove-lock", "IoInitializeRemoveLock: a structure of %u bytes", RemlockSize);
    Lock->Common.Removed = FALSE;
    Lock->Common.IoCount = 1;
    KeInitializeEvent(&Lock->Common.RemoveEvent, SynchronizationEvent, FALSE);
}
NTH_EXPORT(IoInitializeRemoveLockEx, 5);

static void drop(IO_REMOVE_LOCK *lock)
{
    if (__atomic_sub_fetch(&lock->Common.IoCount, 1, __ATOMIC_SEQ_CST) == 0)
        KeSetEvent(&lock->Common.RemoveEvent, 0, FALSE);
}

NTSTATUS NTAPI IoAcquireRemoveLockEx(PIO_REMOVE_LOCK Lock, PVOID Tag, PCSTR File, ULONG Line,
                                     ULONG RemlockSize)
{
    nth_irql_max(DISPATCH_LEVEL);
    check(Lock, RemlockSize);
    __atomic_add_fetch(&Lock->Common.IoCount, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&Lock->Common.Removed, __ATOMIC_SEQ_CST)) {
        drop(Lock);
        return STATUS_DELETE_PENDING;
    }
    remember(Lock, Tag);
    return STATUS_SUCCESS;
}
NTH_EXPORT(IoAcquireRemoveLockEx, 5);

VOID NTAPI IoReleaseRemoveLockEx(PIO_REMOVE_LOCK Lock, PVOID Tag, ULONG RemlockSize)
{
    nth_irql_max(DISPATCH_LEVEL);
    check(Lock, RemlockSize);
    forget(Lock, Tag);
    drop(Lock);
}
NTH_EXPORT(IoReleaseRemoveLockEx, 3);

VOID NTAPI IoReleaseRemoveLockAndWaitEx(PIO_REMOVE_LOCK Lock, PVOID Tag, ULONG RemlockSize)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    check(Lock, RemlockSize);
    if (__atomic_exchange_n(&Lock->Common.Removed, TRUE, __ATOMIC_SEQ_CST))
        nth_stop("remove-lock", "IoReleaseRemoveLockAndWait: %p is removed already", (void *)Lock);
    forget(Lock, Tag);
    drop(Lock);
    if (__atomic_sub_fetch(&Lock->Common.IoCount, 1, __ATOMIC_SEQ_CST) > 0)
        KeWaitForSingleObject(&Lock->Common.RemoveEvent, Executive, KernelMode, FALSE, NULL);
}
NTH_EXPORT(IoReleaseRemoveLockAndWaitEx, 3);
