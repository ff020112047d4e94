/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What NDIS wraps of the kernel: spin locks, read/write locks, events, interlocked operations,
 * memory and time. Each function is its kernel counterpart with the documented difference.
 */
#include "ndis/private.h"

#include <string.h>

/* ---- spin locks ---- */

VOID NTAPI NdisAllocateSpinLock(PNDIS_SPIN_LOCK SpinLock)
{
    KeInitializeSpinLock(&SpinLock->SpinLock);
}
NTH_EXPORT(NdisAllocateSpinLock, 1);

VOID NTAPI NdisFreeSpinLock(PNDIS_SPIN_LOCK SpinLock)
{
    if (nth_order_holds(&SpinLock->SpinLock))
        nth_stop("lock-freed-held", "the spin lock at %p is held", (void *)SpinLock);
    nth_order_forget(&SpinLock->SpinLock, sizeof(SpinLock->SpinLock));
    memset(SpinLock, 0, sizeof(*SpinLock));
}
NTH_EXPORT(NdisFreeSpinLock, 1);

/* The old IRQL is written once the lock is held: until then another owner's is there. */
VOID NTAPI NdisAcquireSpinLock(PNDIS_SPIN_LOCK SpinLock)
{
    nth_irql_max(DISPATCH_LEVEL);
    const KIRQL old = KeAcquireSpinLockRaiseToDpc(&SpinLock->SpinLock);

    SpinLock->OldIrql = old;
}
NTH_EXPORT(NdisAcquireSpinLock, 1);

VOID NTAPI NdisReleaseSpinLock(PNDIS_SPIN_LOCK SpinLock)
{
    nth_irql_exactly(DISPATCH_LEVEL);
    KeReleaseSpinLock(&SpinLock->SpinLock, SpinLock->OldIrql);
}
NTH_EXPORT(NdisReleaseSpinLock, 1);

VOID NTAPI NdisDprAcquireSpinLock(PNDIS_SPIN_LOCK SpinLock)
{
    nth_irql_exactly(DISPATCH_LEVEL);
    KeAcquireSpinLockAtDpcLevel(&SpinLock->SpinLock);
    SpinLock->OldIrql = DISPATCH_LEVEL;
}
NTH_EXPORT(NdisDprAcquireSpinLock, 1);

VOID NTAPI NdisDprReleaseSpinLock(PNDIS_SPIN_LOCK SpinLock)
{
    nth_irql_exactly(DISPATCH_LEVEL);
    KeReleaseSpinLockFromDpcLevel(&SpinLock->SpinLock);
}
NTH_EXPORT(NdisDprReleaseSpinLock, 1);

/* ---- interlocked ---- */

LONG NTAPI NdisInterlockedIncrement(PLONG Addend)
{
    return __atomic_add_fetch(Addend, 1, __ATOMIC_SEQ_CST);
}
NTH_EXPORT(NdisInterlockedIncrement, 1);

LONG NTAPI NdisInterlockedDecrement(PLONG Addend)
{
    return __atomic_sub_fetch(Addend, 1, __ATOMIC_SEQ_CST);
}
NTH_EXPORT(NdisInterlockedDecrement, 1);

PLIST_ENTRY NTAPI NdisInterlockedInsertTailList(PLIST_ENTRY ListHead, PLIST_ENTRY ListEntry,
                                                PNDIS_SPIN_LOCK SpinLock)
{
    return ExInterlockedInsertTailList(ListHead, ListEntry, &SpinLock->SpinLock);
}
NTH_EXPORT(NdisInterlockedInsertTailList, 3);

PLIST_ENTRY NTAPI NdisInterlockedRemoveHeadList(PLIST_ENTRY ListHead, PNDIS_SPIN_LOCK SpinLock)
{
    return ExInterlockedRemoveHeadList(ListHead, &SpinLock->SpinLock);
}
NTH_EXPORT(NdisInterlockedRemoveHeadList, 2);

/* ---- read/write locks ---- */

enum { HELD_READ = 1, HELD_WRITE = 2, HOLDERS = 64 };

/* Recursion is counted per processor, which at DISPATCH_LEVEL is per thread. */
struct _NDIS_RW_LOCK_EX {
    struct ndis_object object;
    EX_SPIN_LOCK lock;
    struct nth_mutex guard; /* guards holders */
    struct {
        unsigned read, write;
    } holders[HOLDERS]; /* by processor */
};

PNDIS_RW_LOCK_EX NTAPI NdisAllocateRWLock(NDIS_HANDLE NdisHandle)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct _NDIS_RW_LOCK_EX *lock =
        nth_fault(NTH_FAULT_NDIS, "NdisAllocateRWLock") ? NULL : ndis_alloc(sizeof(*lock));

    if (!lock)
        return NULL;
    lock->guard = (struct nth_mutex)NTH_MUTEX_INIT;
    ndis_object_add(&lock->object, NDIS_KIND_RWLOCK, NdisHandle, "NdisAllocateRWLock");
    return lock;
}
NTH_EXPORT(NdisAllocateRWLock, 1);

VOID NTAPI NdisFreeRWLock(PNDIS_RW_LOCK_EX Lock)
{
    nth_irql_max(DISPATCH_LEVEL);
    ndis_object_check(Lock, NDIS_KIND_RWLOCK);
    for (unsigned i = 0; i < HOLDERS; i++)
        if (Lock->holders[i].read || Lock->holders[i].write)
            nth_stop("lock-freed-held", "processor %u holds the lock", i);
    nth_order_forget(&Lock->lock, sizeof(Lock->lock));
    ndis_object_remove(&Lock->object);
    ndis_free(Lock);
}
NTH_EXPORT(NdisFreeRWLock, 1);

/* True when this processor has the lock already and it may be taken again. "Does not support
 * promotion from read to write". */
static bool take_again(struct _NDIS_RW_LOCK_EX *lock, unsigned cpu, bool write)
{
    nth_lock(&lock->guard);
    const bool has_read = lock->holders[cpu].read, has_write = lock->holders[cpu].write;
    if (write && has_write)
        lock->holders[cpu].write++;
    else if (!write && (has_read || has_write))
        lock->holders[cpu].read++;
    nth_unlock(&lock->guard);
    if (write && has_read && !has_write)
        nth_stop("rwlock-promotion", "write access while the processor has read access");
    return has_write || (has_read && !write);
}

static void rw_acquire(struct _NDIS_RW_LOCK_EX *lock, LOCK_STATE_EX *state, UCHAR flags, bool write)
{
    nth_irql_max(DISPATCH_LEVEL);
    ndis_object_check(lock, NDIS_KIND_RWLOCK);
    ndis_check_level(flags & NDIS_RWL_AT_DISPATCH_LEVEL);
    const KIRQL old = KeGetCurrentIrql();
    if (old < DISPATCH_LEVEL)
        KeRaiseIrqlToDpcLevel();
    const unsigned cpu = nth_cpu_current() % HOLDERS;
    if (!take_again(lock, cpu, write)) {
        if (write)
            ExAcquireSpinLockExclusiveAtDpcLevel(&lock->lock);
        else
            ExAcquireSpinLockSharedAtDpcLevel(&lock->lock);
        nth_lock(&lock->guard);
        if (write)
            lock->holders[cpu].write++;
        else
            lock->holders[cpu].read++;
        nth_unlock(&lock->guard);
    }
    state->OldIrql = old;
    state->LockState = write ? HELD_WRITE : HELD_READ;
    state->Flags = flags;
}

VOID NTAPI NdisAcquireRWLockRead(PNDIS_RW_LOCK_EX Lock, PLOCK_STATE_EX LockState, UCHAR Flags)
{
    rw_acquire(Lock, LockState, Flags, false);
}
NTH_EXPORT(NdisAcquireRWLockRead, 3);

VOID NTAPI NdisAcquireRWLockWrite(PNDIS_RW_LOCK_EX Lock, PLOCK_STATE_EX LockState, UCHAR Flags)
{
    rw_acquire(Lock, LockState, Flags, true);
}
NTH_EXPORT(NdisAcquireRWLockWrite, 3);

VOID NTAPI NdisReleaseRWLock(PNDIS_RW_LOCK_EX Lock, PLOCK_STATE_EX LockState)
{
    nth_irql_exactly(DISPATCH_LEVEL);
    ndis_object_check(Lock, NDIS_KIND_RWLOCK);
    const unsigned cpu = nth_cpu_current() % HOLDERS;
    const bool write = LockState->LockState == HELD_WRITE;

    nth_lock(&Lock->guard);
    unsigned *count = write ? &Lock->holders[cpu].write : &Lock->holders[cpu].read;
    const bool is_held = *count != 0;
    if (is_held)
        (*count)--;
    const bool is_last = !Lock->holders[cpu].write && !Lock->holders[cpu].read;
    nth_unlock(&Lock->guard);
    if (!is_held || (LockState->LockState != HELD_READ && !write))
        nth_stop("lock-not-held", "this processor does not have the lock for %s",
                 write ? "writing" : "reading");
    if (is_last && write)
        ExReleaseSpinLockExclusiveFromDpcLevel(&Lock->lock);
    else if (is_last)
        ExReleaseSpinLockSharedFromDpcLevel(&Lock->lock);
    LockState->LockState = 0;
    if (LockState->OldIrql < DISPATCH_LEVEL)
        KeLowerIrql(LockState->OldIrql);
}
NTH_EXPORT(NdisReleaseRWLock, 2);

/* ---- events and time ---- */

VOID NTAPI NdisInitializeEvent(PNDIS_EVENT Event)
{
    KeInitializeEvent(&Event->Event, NotificationEvent, FALSE);
}
NTH_EXPORT(NdisInitializeEvent, 1);

VOID NTAPI NdisSetEvent(PNDIS_EVENT Event)
{
    nth_irql_max(DISPATCH_LEVEL);
    KeSetEvent(&Event->Event, IO_NO_INCREMENT, FALSE);
}
NTH_EXPORT(NdisSetEvent, 1);

VOID NTAPI NdisResetEvent(PNDIS_EVENT Event)
{
    nth_irql_max(DISPATCH_LEVEL);
    KeClearEvent(&Event->Event);
}
NTH_EXPORT(NdisResetEvent, 1);

BOOLEAN NTAPI NdisWaitEvent(PNDIS_EVENT Event, UINT MsToWait)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    LARGE_INTEGER timeout = {.QuadPart = -(LONGLONG)MsToWait * 10000};

    return KeWaitForSingleObject(&Event->Event, Executive, KernelMode, FALSE,
                                 MsToWait ? &timeout : NULL) == STATUS_SUCCESS;
}
NTH_EXPORT(NdisWaitEvent, 2);

VOID NTAPI NdisMSleep(ULONG MicrosecondsToSleep)
{
    nth_irql_max(APC_LEVEL);
    LARGE_INTEGER interval = {.QuadPart = -(LONGLONG)MicrosecondsToSleep * 10};

    KeDelayExecutionThread(KernelMode, FALSE, &interval);
}
NTH_EXPORT(NdisMSleep, 1);

/* Milliseconds since the system booted. */
VOID NTAPI NdisGetSystemUpTimeEx(PLARGE_INTEGER SystemUpTime)
{
    SystemUpTime->QuadPart = (LONGLONG)(KeQueryInterruptTime() / 10000);
}
NTH_EXPORT(NdisGetSystemUpTimeEx, 1);

/* ---- memory ---- */

PVOID NTAPI NdisAllocateMemoryWithTagPriority(NDIS_HANDLE NdisHandle, UINT Length, ULONG Tag,
                                              EX_POOL_PRIORITY Priority)
{
    nth_irql_max(DISPATCH_LEVEL);
    return ExAllocatePoolWithTag(NonPagedPool, Length, Tag);
}
NTH_EXPORT(NdisAllocateMemoryWithTagPriority, 4);

VOID NTAPI NdisFreeMemoryWithTagPriority(NDIS_HANDLE NdisHandle, PVOID VirtualAddress, ULONG Tag)
{
    nth_irql_max(DISPATCH_LEVEL);
    ExFreePoolWithTag(VirtualAddress, Tag);
}
NTH_EXPORT(NdisFreeMemoryWithTagPriority, 3);

NDIS_STATUS NTAPI NdisAllocateMemoryWithTag(PVOID *VirtualAddress, UINT Length, ULONG Tag)
{
    nth_irql_max(DISPATCH_LEVEL);
    *VirtualAddress = ExAllocatePoolWithTag(NonPagedPool, Length, Tag);
    return *VirtualAddress ? NDIS_STATUS_SUCCESS : NDIS_STATUS_FAILURE;
}
NTH_EXPORT(NdisAllocateMemoryWithTag, 3);

/* Length must be what was allocated; it is not looked at because the pool knows. The two flags
 * belong to kinds of memory that no function here hands out. */
VOID NTAPI NdisFreeMemory(PVOID VirtualAddress, UINT Length, UINT MemoryFlags)
{
    nth_irql_max(DISPATCH_LEVEL);
    if (MemoryFlags)
        nth_stop("not-provided", "NdisFreeMemory: MemoryFlags 0x%x", MemoryFlags);
    ExFreePool(VirtualAddress);
}
NTH_EXPORT(NdisFreeMemory, 3);

ULONG NTAPI NdisGetSharedDataAlignment(void)
{
    nth_irql_max(DISPATCH_LEVEL);
    return 64; /* the cache line of x64 */
}
NTH_EXPORT(NdisGetSharedDataAlignment, 0);

/* ---- shared memory ---- */

struct shared_memory {
    struct ndis_object object;
    void *memory;
};

/* One contiguous block of nonpaged pool; its "physical" address is its address. NDIS here has no
 * DMA adapter that would have to be registered first. */
NDIS_STATUS NTAPI NdisAllocateSharedMemory(NDIS_HANDLE NdisHandle,
                                           PNDIS_SHARED_MEMORY_PARAMETERS SharedMemoryParameters,
                                           PNDIS_HANDLE AllocationHandle)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    static const USHORT sizes[] = {NDIS_SIZEOF_SHARED_MEMORY_PARAMETERS_REVISION_1,
                                   NDIS_SIZEOF_SHARED_MEMORY_PARAMETERS_REVISION_2};
    NDIS_SHARED_MEMORY_PARAMETERS *p = SharedMemoryParameters;

    *AllocationHandle = NULL;
    if (!ndis_header_is(&p->Header, NDIS_OBJECT_TYPE_DEFAULT, 2, sizes) || !p->Length)
        return NDIS_STATUS_INVALID_PARAMETER;
    if (p->SGListBuffer &&
        p->SGListBufferLength < sizeof(SCATTER_GATHER_LIST) + sizeof(SCATTER_GATHER_ELEMENT))
        return NDIS_STATUS_INVALID_PARAMETER;
    if (nth_fault(NTH_FAULT_NDIS, "NdisAllocateSharedMemory"))
        return NDIS_STATUS_RESOURCES;
    struct shared_memory *s = ndis_alloc(sizeof(*s));
    if (s)
        s->memory = ndis_alloc(p->Length);
    if (!s || !s->memory) {
        ndis_free(s);
        return NDIS_STATUS_RESOURCES;
    }
    ndis_object_add(&s->object, NDIS_KIND_SHARED, NdisHandle, "NdisAllocateSharedMemory");
    p->VirtualAddress = s->memory;
    p->SharedMemoryHandle = s;
    if (p->SGListBuffer) {
        p->SGListBuffer->NumberOfElements = 1;
        p->SGListBuffer->Elements[0].Address.QuadPart = (LONGLONG)(uintptr_t)s->memory;
        p->SGListBuffer->Elements[0].Length = p->Length;
    }
    *AllocationHandle = s;
    return NDIS_STATUS_SUCCESS;
}
NTH_EXPORT(NdisAllocateSharedMemory, 3);

VOID NTAPI NdisFreeSharedMemory(NDIS_HANDLE NdisHandle, NDIS_HANDLE AllocationHandle)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    struct shared_memory *s = ndis_object_check(AllocationHandle, NDIS_KIND_SHARED);

    ndis_object_remove(&s->object);
    ndis_free(s->memory);
    ndis_free(s);
}
NTH_EXPORT(NdisFreeSharedMemory, 2);
