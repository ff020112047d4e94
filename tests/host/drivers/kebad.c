/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Breaks the rules of the Ke and Ex functions, one in each export; tests/host/kernel_rules.c
 * announces which. Nothing here is an example of anything.
 */
#include <ntifs.h>

#define TEST_EXPORT __declspec(dllexport)
#define TAG         0x73655474 /* "tTes" */
#define BREAKS(Name)                                                                               \
    TEST_EXPORT VOID Name(VOID);                                                                   \
    VOID Name(VOID)

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    return STATUS_SUCCESS;
}

static KSPIN_LOCK LockA, LockB;
static EX_SPIN_LOCK Shared;
static KEVENT Event;

static PVOID Pool(SIZE_T Size)
{
    return ExAllocatePool2(POOL_FLAG_NON_PAGED, Size, TAG);
}

static LARGE_INTEGER Hour(VOID)
{
    LARGE_INTEGER Time;

    Time.QuadPart = -3600LL * 10000000;
    return Time;
}

static VOID NTAPI Nothing(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2) {}

/* ---- IRQL ---- */

BREAKS(PassiveFunctionAtDispatch)
{
    KSEMAPHORE Semaphore;

    KeRaiseIrqlToDpcLevel();
    KeInitializeSemaphore(&Semaphore, 0, 1);
}

BREAKS(PagedPoolAtDispatch)
{
    KeRaiseIrqlToDpcLevel();
    ExAllocatePool2(POOL_FLAG_PAGED, 16, TAG);
}

BREAKS(PagedPoolFreedAtDispatch)
{
    PVOID Memory = ExAllocatePool2(POOL_FLAG_PAGED, 16, TAG);

    KeRaiseIrqlToDpcLevel();
    ExFreePool(Memory);
}

BREAKS(DispatchFunctionAtPassive)
{
    KeAcquireSpinLockAtDpcLevel(&LockA);
}

BREAKS(RaiseToLower)
{
    KIRQL Irql;

    KeRaiseIrqlToDpcLevel();
    KeRaiseIrql(PASSIVE_LEVEL, &Irql);
}

BREAKS(LowerToHigher)
{
    KeLowerIrql(DISPATCH_LEVEL);
}

BREAKS(LowerWithLock)
{
    KIRQL Irql;

    KeAcquireSpinLock(&LockA, &Irql);
    KeLowerIrql(Irql);
}

BREAKS(ReleaseOuterFirstToPassive)
{
    KIRQL Irql, Inner;

    KeAcquireSpinLock(&LockA, &Irql);
    KeAcquireSpinLock(&LockB, &Inner);
    KeReleaseSpinLock(&LockA, Irql);
}

BREAKS(UnicodePrintAtDispatch)
{
    KeRaiseIrqlToDpcLevel();
    DbgPrint("%ws\n", L"text");
}

static VOID NTAPI LoweringDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    KeLowerIrql(PASSIVE_LEVEL);
}

BREAKS(LowerInDpc)
{
    KDPC Dpc;

    KeInitializeDpc(&Dpc, LoweringDpc, NULL);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeFlushQueuedDpcs();
}

static VOID NTAPI LockingDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    KeAcquireSpinLockAtDpcLevel(&LockA);
}

BREAKS(DpcReturnsWithLock)
{
    KDPC Dpc;

    KeInitializeDpc(&Dpc, LockingDpc, NULL);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeFlushQueuedDpcs();
}

/* ---- waits ---- */

BREAKS(WaitAtDispatch)
{
    KeInitializeEvent(&Event, NotificationEvent, TRUE);
    KeRaiseIrqlToDpcLevel();
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL);
}

BREAKS(WaitWithSpinLock)
{
    LARGE_INTEGER Due = Hour();
    KIRQL Irql;

    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    KeAcquireSpinLock(&LockA, &Irql);
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, &Due);
}

BREAKS(DelayAtDispatch)
{
    LARGE_INTEGER Due = Hour();

    KeRaiseIrqlToDpcLevel();
    KeDelayExecutionThread(KernelMode, FALSE, &Due);
}

BREAKS(SetAndNotWait)
{
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    KeSetEvent(&Event, IO_NO_INCREMENT, TRUE);
    KeResetEvent(&Event);
}

BREAKS(WaitForAllOfTheSame)
{
    PVOID Objects[2] = {&Event, &Event};

    KeInitializeEvent(&Event, NotificationEvent, TRUE);
    KeWaitForMultipleObjects(2, Objects, WaitAll, Executive, KernelMode, FALSE, NULL, NULL);
}

BREAKS(WaitForTooMany)
{
    PVOID Objects[4] = {&Event, &Event, &Event, &Event};

    KeInitializeEvent(&Event, NotificationEvent, TRUE);
    KeWaitForMultipleObjects(4, Objects, WaitAny, Executive, KernelMode, FALSE, NULL, NULL);
}

BREAKS(SetUninitializedEvent)
{
    static KEVENT Zeroed;

    KeSetEvent(&Zeroed, IO_NO_INCREMENT, FALSE);
}

BREAKS(SetSemaphoreAsEvent)
{
    KSEMAPHORE Semaphore;

    KeInitializeSemaphore(&Semaphore, 0, 1);
    KeSetEvent((PRKEVENT)&Semaphore, IO_NO_INCREMENT, FALSE);
}

BREAKS(SemaphoreOverItsLimit)
{
    KSEMAPHORE Semaphore;

    KeInitializeSemaphore(&Semaphore, 2, 1);
}

BREAKS(WaitForEver)
{
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL);
}

/* ---- locks ---- */

BREAKS(SpinLockTwice)
{
    KIRQL Irql;

    KeAcquireSpinLock(&LockA, &Irql);
    KeAcquireSpinLock(&LockA, &Irql);
}

BREAKS(SharedSpinLockTwice)
{
    ExAcquireSpinLockShared(&Shared);
    ExAcquireSpinLockShared(&Shared);
}

BREAKS(LockOrder)
{
    KIRQL Irql;

    KeAcquireSpinLock(&LockA, &Irql);
    KeAcquireSpinLockAtDpcLevel(&LockB);
    KeReleaseSpinLockFromDpcLevel(&LockB);
    KeReleaseSpinLock(&LockA, Irql);
    KeAcquireSpinLock(&LockB, &Irql);
    KeAcquireSpinLockAtDpcLevel(&LockA);
}

BREAKS(ReleaseFreeLock)
{
    KIRQL Irql = KeRaiseIrqlToDpcLevel();

    KeReleaseSpinLock(&LockA, Irql);
}

BREAKS(ReleaseSharedAsExclusive)
{
    KIRQL Irql = ExAcquireSpinLockShared(&Shared);

    ExReleaseSpinLockExclusive(&Shared, Irql);
}

BREAKS(LockAtTwoIrqls)
{
    KIRQL Irql;

    KeAcquireSpinLock(&LockA, &Irql);
    KeReleaseSpinLock(&LockA, Irql);
    KeRaiseIrql(HIGH_LEVEL, &Irql);
    KeAcquireSpinLockAtDpcLevel(&LockA);
}

BREAKS(PlainAndQueued)
{
    KLOCK_QUEUE_HANDLE Handle;
    KIRQL Irql;

    KeAcquireSpinLock(&LockA, &Irql);
    KeReleaseSpinLock(&LockA, Irql);
    KeAcquireInStackQueuedSpinLock(&LockA, &Handle);
}

BREAKS(ReleaseQueuedTwice)
{
    KLOCK_QUEUE_HANDLE Handle;

    KeAcquireInStackQueuedSpinLock(&LockA, &Handle);
    KeReleaseInStackQueuedSpinLockFromDpcLevel(&Handle);
    KeReleaseInStackQueuedSpinLock(&Handle);
}

BREAKS(FastMutexTwice)
{
    FAST_MUTEX Mutex;

    ExInitializeFastMutex(&Mutex);
    ExAcquireFastMutex(&Mutex);
    ExAcquireFastMutex(&Mutex);
}

BREAKS(ResourceWithoutRegion)
{
    static ERESOURCE Resource;

    ExInitializeResourceLite(&Resource);
    ExAcquireResourceSharedLite(&Resource, TRUE);
}

BREAKS(SharedResourceWantedExclusively)
{
    static ERESOURCE Resource;

    ExInitializeResourceLite(&Resource);
    KeEnterCriticalRegion();
    ExAcquireResourceSharedLite(&Resource, TRUE);
    ExAcquireResourceExclusiveLite(&Resource, TRUE);
}

BREAKS(ReleaseFreeResource)
{
    static ERESOURCE Resource;

    ExInitializeResourceLite(&Resource);
    ExReleaseResourceLite(&Resource);
}

BREAKS(UninitializedResource)
{
    static ERESOURCE Resource;

    KeEnterCriticalRegion();
    ExAcquireResourceSharedLite(&Resource, TRUE);
}

BREAKS(DeleteHeldResource)
{
    static ERESOURCE Resource;

    ExInitializeResourceLite(&Resource);
    KeEnterCriticalRegion();
    ExAcquireResourceSharedLite(&Resource, TRUE);
    ExDeleteResourceLite(&Resource);
}

BREAKS(PushLockWithoutRegion)
{
    static EX_PUSH_LOCK Lock;

    ExAcquirePushLockShared(&Lock);
}

BREAKS(LeaveRegionNotEntered)
{
    KeLeaveCriticalRegion();
}

/* ---- run-down protection ---- */

BREAKS(RundownReleasedTwice)
{
    EX_RUNDOWN_REF Reference;

    ExInitializeRundownProtection(&Reference);
    ExAcquireRundownProtection(&Reference);
    ExReleaseRundownProtection(&Reference);
    ExReleaseRundownProtection(&Reference);
}

BREAKS(RundownReleasedAfterItsEnd)
{
    EX_RUNDOWN_REF Reference;

    ExInitializeRundownProtection(&Reference);
    ExWaitForRundownProtectionRelease(&Reference);
    ExReleaseRundownProtection(&Reference);
}

BREAKS(CacheAwareReleasedTwice)
{
    PEX_RUNDOWN_REF_CACHE_AWARE Reference =
        ExAllocateCacheAwareRundownProtection(NonPagedPoolNx, TAG);

    ExReleaseRundownProtectionCacheAware(Reference);
    ExWaitForRundownProtectionReleaseCacheAware(Reference);
}

BREAKS(RundownReinitializedWhileUp)
{
    EX_RUNDOWN_REF Reference;

    ExInitializeRundownProtection(&Reference);
    ExReInitializeRundownProtection(&Reference);
}

BREAKS(RundownCompletedWhileUp)
{
    EX_RUNDOWN_REF Reference;

    ExInitializeRundownProtection(&Reference);
    ExRundownCompleted(&Reference);
}

/* ---- pool ---- */

BREAKS(PoolOfNothing)
{
    Pool(0);
}

BREAKS(PoolWithoutTag)
{
    ExAllocatePoolWithTag(NonPagedPoolNx, 16, 0);
}

BREAKS(PoolFreedWithOtherTag)
{
    ExFreePoolWithTag(Pool(16), TAG + 1);
}

BREAKS(PoolFreedTwice)
{
    PVOID Memory = Pool(16);

    ExFreePool(Memory);
    ExFreePool(Memory);
}

BREAKS(PoolFreedInside)
{
    ExFreePool((PUCHAR)Pool(64) + 16);
}

BREAKS(PoolWrittenBefore)
{
    volatile UCHAR *Memory = Pool(16);

    Memory[-1] = 1;
    ExFreePool((PVOID)Memory);
}

BREAKS(PoolWrittenIntoSlack)
{
    volatile UCHAR *Memory = Pool(13);

    Memory[13] = 1;
    ExFreePool((PVOID)Memory);
}

BREAKS(PoolWrittenPastTheEnd)
{
    volatile UCHAR *Memory = Pool(32);

    Memory[32] = 1;
}

BREAKS(PoolReadAfterFree)
{
    volatile UCHAR *Memory = Pool(32);

    ExFreePool((PVOID)Memory);
    (void)Memory[3];
}

BREAKS(PagedPoolTouchedAtDispatch)
{
    volatile UCHAR *Memory = ExAllocatePool2(POOL_FLAG_PAGED, 32, TAG);
    KIRQL Irql = KeRaiseIrqlToDpcLevel();

    KeLowerIrql(Irql);
    Memory[0] = 1; /* allowed here */
    KeRaiseIrqlToDpcLevel();
    Memory[0] = 2;
}

BREAKS(PoolWithTimer)
{
    PKTIMER Timer = Pool(sizeof(*Timer));

    KeInitializeTimer(Timer);
    KeSetTimer(Timer, Hour(), NULL);
    ExFreePool(Timer);
}

BREAKS(PoolWithDpcOfTimer)
{
    static KTIMER Timer;
    PKDPC Dpc = Pool(sizeof(*Dpc));

    KeInitializeTimer(&Timer);
    KeInitializeDpc(Dpc, Nothing, NULL);
    KeSetTimer(&Timer, Hour(), Dpc);
    ExFreePool(Dpc);
}

BREAKS(PoolWithQueuedDpc)
{
    PKDPC Dpc = Pool(sizeof(*Dpc));

    KeInitializeDpc(Dpc, Nothing, NULL);
    KeRaiseIrqlToDpcLevel();
    KeInsertQueueDpc(Dpc, NULL, NULL);
    ExFreePool(Dpc);
}

BREAKS(PoolWithHeldLock)
{
    PKSPIN_LOCK Lock = Pool(sizeof(*Lock));
    KIRQL Irql;

    KeInitializeSpinLock(Lock);
    KeAcquireSpinLock(Lock, &Irql);
    ExFreePool(Lock);
}

BREAKS(PoolWithResource)
{
    PERESOURCE Resource = Pool(sizeof(*Resource));

    ExInitializeResourceLite(Resource);
    ExFreePool(Resource);
}

BREAKS(PoolWithLookaside)
{
    PNPAGED_LOOKASIDE_LIST List = Pool(sizeof(*List));

    ExInitializeNPagedLookasideList(List, NULL, NULL, 0, 32, TAG, 0);
    ExFreePool(List);
}

BREAKS(TimerInitializedWhileSet)
{
    static KTIMER Timer;

    KeInitializeTimer(&Timer);
    KeSetTimer(&Timer, Hour(), NULL);
    KeInitializeTimer(&Timer);
}

BREAKS(PoolLeak)
{
    Pool(16);
}

BREAKS(LookasideLeak)
{
    static NPAGED_LOOKASIDE_LIST List;

    ExInitializeNPagedLookasideList(&List, NULL, NULL, 0, 32, TAG, 0);
}

/* ---- others ---- */

BREAKS(WorkItemQueuedTwice)
{
    static WORK_QUEUE_ITEM Item;

    ExInitializeWorkItem(&Item, NULL, NULL);
    Item.List.Flink = &Item.List;
    ExQueueWorkItem(&Item, DelayedWorkQueue);
}

BREAKS(FloatFormatted)
{
    DbgPrint("%f\n", 0LL);
}

BREAKS(FailedAssertion)
{
    RtlAssert("1 == 2", __FILE__, __LINE__, NULL);
}

BREAKS(PriorityOutOfRange)
{
    KeSetPriorityThread(KeGetCurrentThread(), 32);
}
