/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Calls the Ke, Ex and Rtl functions as a driver does and looks at what they answer. Each export
 * runs one subject and answers 0, or the line of the first expectation that failed.
 * tests/host/kernel.c calls them; no rule is broken here.
 */
#include <ntifs.h>

#define TEST_EXPORT __declspec(dllexport)
#define EXPECT(Condition)                                                                          \
    do {                                                                                           \
        if (!(Condition))                                                                          \
            return __LINE__;                                                                       \
    } while (0)
#define TAG 0x73655474 /* "tTes" */

DRIVER_INITIALIZE DriverEntry;
TEST_EXPORT ULONG IrqlTest(VOID);
TEST_EXPORT ULONG EventTest(VOID);
TEST_EXPORT ULONG SemaphoreTest(VOID);
TEST_EXPORT ULONG MutexTest(VOID);
TEST_EXPORT ULONG WaitManyTest(VOID);
TEST_EXPORT ULONG SpinTest(VOID);
TEST_EXPORT ULONG ReaderWriterTest(VOID);
TEST_EXPORT ULONG RundownTest(VOID);
TEST_EXPORT ULONG ResourceTest(VOID);
TEST_EXPORT ULONG FastMutexTest(VOID);
TEST_EXPORT ULONG PoolTest(VOID);
TEST_EXPORT ULONG LookasideTest(VOID);
TEST_EXPORT ULONG ListTest(VOID);
TEST_EXPORT ULONG DpcTest(VOID);
TEST_EXPORT ULONG TimerTest(VOID);
TEST_EXPORT ULONG ProcessorTest(VOID);
TEST_EXPORT ULONG TimeTest(VOID);
TEST_EXPORT ULONG StringTest(VOID);
TEST_EXPORT ULONG GuidTest(VOID);
TEST_EXPORT ULONG BitTest(VOID);
TEST_EXPORT ULONG AddressTest(VOID);
TEST_EXPORT ULONG VersionTest(ULONG Major, ULONG Minor, ULONG Build);
TEST_EXPORT ULONG FormatTest(VOID);
TEST_EXPORT ULONG TraceTest(VOID);
TEST_EXPORT ULONG WorkTest(VOID);
TEST_EXPORT ULONG FailingTest(ULONG Call);
TEST_EXPORT ULONG StateTest(VOID);
TEST_EXPORT ULONG ImportanceTest(VOID);
TEST_EXPORT ULONG SpinForOther(volatile LONG *Flag);

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    return STATUS_SUCCESS;
}

static LARGE_INTEGER Relative(LONGLONG Milliseconds)
{
    LARGE_INTEGER Time;

    Time.QuadPart = -Milliseconds * 10000;
    return Time;
}

static NTSTATUS TryWait(PVOID Object)
{
    LARGE_INTEGER Zero;

    Zero.QuadPart = 0;
    return KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, &Zero);
}

static NTSTATUS Wait(PVOID Object)
{
    return KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, NULL);
}

/* KeRaiseIrql, KeLowerIrql */
ULONG IrqlTest(VOID)
{
    KIRQL Old, Older;

    EXPECT(KeGetCurrentIrql() == PASSIVE_LEVEL);
    KeRaiseIrql(APC_LEVEL, &Old);
    EXPECT(Old == PASSIVE_LEVEL && KeGetCurrentIrql() == APC_LEVEL);
    Older = KeRaiseIrqlToDpcLevel();
    EXPECT(Older == APC_LEVEL && KeGetCurrentIrql() == DISPATCH_LEVEL);
    KeLowerIrql(APC_LEVEL);
    EXPECT(KeGetCurrentIrql() == APC_LEVEL);
    KeLowerIrql(Old);
    EXPECT(KeGetCurrentIrql() == PASSIVE_LEVEL);
    EXPECT(!KeAreApcsDisabled());
    KeEnterCriticalRegion();
    EXPECT(KeAreApcsDisabled() && !KeAreAllApcsDisabled());
    KeLeaveCriticalRegion();
    EXPECT(!KeAreApcsDisabled());
    return 0;
}

/* KeInitializeEvent, KeSetEvent, KeResetEvent, KeClearEvent, KeWaitForSingleObject */
ULONG EventTest(VOID)
{
    KEVENT Event;
    LARGE_INTEGER Due = Relative(5);
    ULONGLONG Before;

    KeInitializeEvent(&Event, NotificationEvent, TRUE);
    EXPECT(KeReadStateEvent(&Event));
    EXPECT(TryWait(&Event) == STATUS_SUCCESS && TryWait(&Event) == STATUS_SUCCESS);
    EXPECT(KeResetEvent(&Event) != 0 && KeResetEvent(&Event) == 0);
    EXPECT(TryWait(&Event) == STATUS_TIMEOUT);
    EXPECT(KeSetEvent(&Event, IO_NO_INCREMENT, FALSE) == 0);
    EXPECT(KeSetEvent(&Event, IO_NO_INCREMENT, FALSE) != 0);
    KeClearEvent(&Event);
    EXPECT(!KeReadStateEvent(&Event));

    KeInitializeEvent(&Event, SynchronizationEvent, FALSE);
    KeSetEvent(&Event, IO_NO_INCREMENT, FALSE);
    EXPECT(Wait(&Event) == STATUS_SUCCESS); /* resets it */
    EXPECT(TryWait(&Event) == STATUS_TIMEOUT);

    Before = KeQueryUnbiasedInterruptTime();
    EXPECT(KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, &Due) == STATUS_TIMEOUT);
    EXPECT(KeQueryUnbiasedInterruptTime() - Before >= 50000);
    KeQuerySystemTimePrecise(&Due);
    Due.QuadPart += 20000;
    EXPECT(KeWaitForSingleObject(&Event, Executive, UserMode, TRUE, &Due) == STATUS_TIMEOUT);
    KeQuerySystemTimePrecise(&Due);
    Due.QuadPart -= 20000; /* in the past */
    EXPECT(KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, &Due) == STATUS_TIMEOUT);

    /* "If Wait = TRUE, the routine returns without lowering the IRQL"; the wait restores it. */
    KeSetEvent(&Event, IO_NO_INCREMENT, TRUE);
    EXPECT(Wait(&Event) == STATUS_SUCCESS && KeGetCurrentIrql() == PASSIVE_LEVEL);
    Due = Relative(1);
    EXPECT(KeDelayExecutionThread(KernelMode, FALSE, &Due) == STATUS_SUCCESS);
    return 0;
}

static NTSTATUS ReleaseOver(PRKSEMAPHORE Semaphore)
{
    __try {
        KeReleaseSemaphore(Semaphore, IO_NO_INCREMENT, 1, FALSE);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    return STATUS_SUCCESS;
}

/* KeInitializeSemaphore, KeReleaseSemaphore */
ULONG SemaphoreTest(VOID)
{
    KSEMAPHORE Semaphore;

    KeInitializeSemaphore(&Semaphore, 1, 2);
    EXPECT(Wait(&Semaphore) == STATUS_SUCCESS && TryWait(&Semaphore) == STATUS_TIMEOUT);
    EXPECT(KeReleaseSemaphore(&Semaphore, IO_NO_INCREMENT, 2, FALSE) == 0);
    EXPECT(KeReadStateSemaphore(&Semaphore) == 2);
    EXPECT(ReleaseOver(&Semaphore) == STATUS_SEMAPHORE_LIMIT_EXCEEDED);
    EXPECT(KeReadStateSemaphore(&Semaphore) == 2);
    return 0;
}

static NTSTATUS ReleaseFree(PRKMUTEX Mutex)
{
    __try {
        KeReleaseMutex(Mutex, FALSE);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    return STATUS_SUCCESS;
}

/* KeInitializeMutex, KeReleaseMutex; an owner may take it again, and has APCs disabled meanwhile.
 */
ULONG MutexTest(VOID)
{
    KMUTEX Mutex;

    KeInitializeMutex(&Mutex, 0);
    EXPECT(Wait(&Mutex) == STATUS_SUCCESS && KeAreApcsDisabled());
    EXPECT(Wait(&Mutex) == STATUS_SUCCESS);
    KeReleaseMutex(&Mutex, FALSE);
    EXPECT(KeAreApcsDisabled());
    EXPECT(KeReleaseMutex(&Mutex, FALSE) == 0);
    EXPECT(!KeAreApcsDisabled());
    EXPECT(ReleaseFree(&Mutex) == STATUS_MUTANT_NOT_OWNED);
    return 0;
}

/* KeWaitForMultipleObjects */
ULONG WaitManyTest(VOID)
{
    KEVENT One, Two, Three, Four;
    PVOID Objects[4] = {&One, &Two, &Three, &Four};
    KWAIT_BLOCK Blocks[4];
    LARGE_INTEGER Zero;

    Zero.QuadPart = 0;
    KeInitializeEvent(&One, SynchronizationEvent, FALSE);
    KeInitializeEvent(&Two, SynchronizationEvent, TRUE);
    KeInitializeEvent(&Three, SynchronizationEvent, FALSE);
    KeInitializeEvent(&Four, NotificationEvent, TRUE);
    EXPECT(KeWaitForMultipleObjects(3, Objects, WaitAny, Executive, KernelMode, FALSE, NULL,
                                    NULL) == STATUS_WAIT_0 + 1);
    EXPECT(KeWaitForMultipleObjects(3, Objects, WaitAny, Executive, KernelMode, FALSE, &Zero,
                                    NULL) == STATUS_TIMEOUT);
    KeSetEvent(&One, IO_NO_INCREMENT, FALSE);
    KeSetEvent(&Two, IO_NO_INCREMENT, FALSE);
    EXPECT(KeWaitForMultipleObjects(4, Objects, WaitAll, Executive, KernelMode, FALSE, &Zero,
                                    Blocks) == STATUS_TIMEOUT);
    EXPECT(KeReadStateEvent(&One) && KeReadStateEvent(&Two)); /* nothing was taken */
    KeSetEvent(&Three, IO_NO_INCREMENT, FALSE);
    EXPECT(KeWaitForMultipleObjects(4, Objects, WaitAll, Executive, KernelMode, FALSE, NULL,
                                    Blocks) == STATUS_SUCCESS);
    EXPECT(!KeReadStateEvent(&One) && !KeReadStateEvent(&Three) && KeReadStateEvent(&Four));
    return 0;
}

/* KeAcquireSpinLock, KeTryToAcquireSpinLockAtDpcLevel, KeAcquireInStackQueuedSpinLock */
ULONG SpinTest(VOID)
{
    KSPIN_LOCK Lock, Other;
    KLOCK_QUEUE_HANDLE Handle, Inner;
    KIRQL Irql;

    KeInitializeSpinLock(&Lock);
    KeInitializeSpinLock(&Other);
    KeAcquireSpinLock(&Lock, &Irql);
    EXPECT(Irql == PASSIVE_LEVEL && KeGetCurrentIrql() == DISPATCH_LEVEL);
    EXPECT(!KeTryToAcquireSpinLockAtDpcLevel(&Lock));
    KeReleaseSpinLock(&Lock, Irql);
    EXPECT(KeGetCurrentIrql() == PASSIVE_LEVEL);
    Irql = KeRaiseIrqlToDpcLevel();
    KeAcquireSpinLockAtDpcLevel(&Lock);
    KeReleaseSpinLockFromDpcLevel(&Lock);
    EXPECT(KeTryToAcquireSpinLockAtDpcLevel(&Lock));
    KeReleaseSpinLockFromDpcLevel(&Lock);
    KeAcquireInStackQueuedSpinLockAtDpcLevel(&Other, &Inner);
    KeReleaseInStackQueuedSpinLockFromDpcLevel(&Inner);
    KeLowerIrql(Irql);
    KeAcquireInStackQueuedSpinLock(&Other, &Handle);
    EXPECT(KeGetCurrentIrql() == DISPATCH_LEVEL);
    KeReleaseInStackQueuedSpinLock(&Handle);
    EXPECT(KeGetCurrentIrql() == PASSIVE_LEVEL);
    return 0;
}

/* ExAcquireSpinLockShared, ExAcquireSpinLockExclusive and the forms for DISPATCH_LEVEL */
ULONG ReaderWriterTest(VOID)
{
    static EX_SPIN_LOCK Lock;
    KIRQL Irql = ExAcquireSpinLockShared(&Lock);

    EXPECT(Irql == PASSIVE_LEVEL && KeGetCurrentIrql() == DISPATCH_LEVEL && Lock != 0);
    ExReleaseSpinLockShared(&Lock, Irql);
    EXPECT(KeGetCurrentIrql() == PASSIVE_LEVEL && Lock == 0);
    Irql = ExAcquireSpinLockExclusive(&Lock);
    ExReleaseSpinLockExclusiveFromDpcLevel(&Lock);
    ExAcquireSpinLockSharedAtDpcLevel(&Lock);
    ExReleaseSpinLockSharedFromDpcLevel(&Lock);
    ExAcquireSpinLockExclusiveAtDpcLevel(&Lock);
    ExReleaseSpinLockExclusive(&Lock, Irql);
    EXPECT(KeGetCurrentIrql() == PASSIVE_LEVEL && Lock == 0);
    return 0;
}

/* "Run-Down Protection"; the pages document DISPATCH_LEVEL for acquire and release. */
ULONG RundownTest(VOID)
{
    EX_RUNDOWN_REF Reference;
    PEX_RUNDOWN_REF_CACHE_AWARE Aware;
    KIRQL Irql;

    ExInitializeRundownProtection(&Reference);
    Irql = KeRaiseIrqlToDpcLevel();
    EXPECT(ExAcquireRundownProtection(&Reference));
    EXPECT(ExAcquireRundownProtectionEx(&Reference, 3));
    ExReleaseRundownProtectionEx(&Reference, 2);
    ExReleaseRundownProtectionEx(&Reference, 2);
    KeLowerIrql(Irql);
    ExWaitForRundownProtectionRelease(&Reference);
    EXPECT(!ExAcquireRundownProtection(&Reference));
    ExWaitForRundownProtectionRelease(&Reference); /* "no effect but not an error" */
    ExRundownCompleted(&Reference);
    EXPECT(!ExAcquireRundownProtection(&Reference));
    ExReInitializeRundownProtection(&Reference);
    EXPECT(ExAcquireRundownProtection(&Reference));
    ExReleaseRundownProtection(&Reference);

    Aware = ExAllocateCacheAwareRundownProtection(NonPagedPoolNx, TAG);
    EXPECT(Aware);
    Irql = KeRaiseIrqlToDpcLevel();
    EXPECT(ExAcquireRundownProtectionCacheAware(Aware));
    EXPECT(ExAcquireRundownProtectionCacheAwareEx(Aware, 5));
    ExReleaseRundownProtectionCacheAwareEx(Aware, 5);
    ExReleaseRundownProtectionCacheAware(Aware);
    KeLowerIrql(Irql);
    ExWaitForRundownProtectionReleaseCacheAware(Aware);
    EXPECT(!ExAcquireRundownProtectionCacheAware(Aware));
    ExRundownCompletedCacheAware(Aware);
    ExReInitializeRundownProtectionCacheAware(Aware);
    EXPECT(ExAcquireRundownProtectionCacheAware(Aware));
    ExReleaseRundownProtectionCacheAware(Aware);
    ExFreeCacheAwareRundownProtection(Aware);
    return 0;
}

/* ExAcquireResourceExclusiveLite and family */
ULONG ResourceTest(VOID)
{
    ERESOURCE Resource;

    EXPECT(ExInitializeResourceLite(&Resource) == STATUS_SUCCESS);
    KeEnterCriticalRegion();
    EXPECT(ExAcquireResourceExclusiveLite(&Resource, TRUE));
    EXPECT(ExIsResourceAcquiredExclusiveLite(&Resource));
    EXPECT(ExAcquireResourceExclusiveLite(&Resource, FALSE)); /* again, by its owner */
    EXPECT(ExAcquireResourceSharedLite(&Resource, FALSE));
    ExReleaseResourceLite(&Resource);
    ExReleaseResourceLite(&Resource);
    ExReleaseResourceLite(&Resource);
    EXPECT(!ExIsResourceAcquiredExclusiveLite(&Resource));
    EXPECT(ExAcquireResourceSharedLite(&Resource, TRUE));
    EXPECT(ExAcquireSharedStarveExclusive(&Resource, TRUE));
    EXPECT(ExIsResourceAcquiredSharedLite(&Resource) == 2);
    EXPECT(!ExAcquireResourceExclusiveLite(&Resource, FALSE));
    ExReleaseResourceLite(&Resource);
    ExReleaseResourceLite(&Resource);
    KeLeaveCriticalRegion();
    EXPECT(ExDeleteResourceLite(&Resource) == STATUS_SUCCESS);
    return 0;
}

/* ExAcquireFastMutex, ExTryToAcquireFastMutex; push locks */
ULONG FastMutexTest(VOID)
{
    FAST_MUTEX Mutex;
    EX_PUSH_LOCK Push;

    ExInitializeFastMutex(&Mutex);
    ExAcquireFastMutex(&Mutex);
    EXPECT(KeGetCurrentIrql() == APC_LEVEL);
    ExReleaseFastMutex(&Mutex);
    EXPECT(KeGetCurrentIrql() == PASSIVE_LEVEL);
    EXPECT(ExTryToAcquireFastMutex(&Mutex) && KeGetCurrentIrql() == APC_LEVEL);
    ExReleaseFastMutex(&Mutex);
    ExInitializePushLock(&Push);
    KeEnterCriticalRegion();
    ExAcquirePushLockShared(&Push);
    ExReleasePushLockShared(&Push);
    ExAcquirePushLockExclusive(&Push);
    ExReleasePushLockExclusive(&Push);
    KeLeaveCriticalRegion();
    EXPECT(Push == 0);
    return 0;
}

static BOOLEAN IsZero(const UCHAR *Memory, SIZE_T Size)
{
    for (SIZE_T i = 0; i < Size; i++)
        if (Memory[i])
            return FALSE;
    return TRUE;
}

static NTSTATUS AllocateRaising(VOID)
{
    __try {
        ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_RAISE_ON_FAILURE, 16, 0);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    return STATUS_SUCCESS;
}

/* ExAllocatePoolWithTag, ExAllocatePool2, ExAllocatePool3, POOL_FLAGS */
ULONG PoolTest(VOID)
{
    static const SIZE_T Sizes[] = {1, 15, 16, 17, 4095, 4096, 4097, 100000};

    for (ULONG i = 0; i < ARRAYSIZE(Sizes); i++) {
        PUCHAR Old = ExAllocatePoolWithTag(NonPagedPoolNx, Sizes[i], TAG);
        PUCHAR New = ExAllocatePool2(POOL_FLAG_NON_PAGED, Sizes[i], TAG);
        ULONG_PTR Alignment = Sizes[i] >= PAGE_SIZE ? PAGE_SIZE : 16;

        EXPECT(Old && New && IsZero(New, Sizes[i]));
        EXPECT((ULONG_PTR)Old % Alignment == 0 && (ULONG_PTR)New % Alignment == 0);
        Old[0] = Old[Sizes[i] - 1] = 1;
        New[0] = New[Sizes[i] - 1] = 1;
        ExFreePoolWithTag(Old, TAG);
        ExFreePool(New);
    }
    EXPECT(!ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, 0));                     /* no tag */
    EXPECT(!ExAllocatePool2(0, 16, TAG));                                     /* no kind */
    EXPECT(!ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_PAGED, 16, TAG)); /* two kinds */
    EXPECT(!ExAllocatePool2(POOL_FLAG_NON_PAGED | 0x80000000, 16, TAG)); /* unknown, required */
    EXPECT(AllocateRaising() == STATUS_INSUFFICIENT_RESOURCES);

    PVOID Optional = ExAllocatePool2(POOL_FLAG_NON_PAGED | 0x8000000000000000ULL, 16, TAG);
    EXPECT(Optional);
    ExFreePoolWithTag(Optional, 0);
    PVOID Third = ExAllocatePool3(POOL_FLAG_PAGED | POOL_FLAG_CACHE_ALIGNED, 64, TAG, NULL, 0);
    EXPECT(Third && (ULONG_PTR)Third % 64 == 0);
    ExFreePool(Third);
    return 0;
}

static ULONG Allocated, Freed;

static PVOID NTAPI AllocateEntry(POOL_TYPE Type, SIZE_T Size, ULONG Tag, PLOOKASIDE_LIST_EX List)
{
    Allocated++;
    return ExAllocatePoolWithTag(Type, Size, Tag);
}

static VOID NTAPI FreeEntry(PVOID Buffer, PLOOKASIDE_LIST_EX List)
{
    Freed++;
    ExFreePool(Buffer);
}

/* By the inline forms of the headers, or by what newer headers import. */
static ULONG ListExTest(PVOID(NTAPI *Allocate)(PLOOKASIDE_LIST_EX),
                        VOID(NTAPI *Free)(PLOOKASIDE_LIST_EX, PVOID))
{
    static LOOKASIDE_LIST_EX Ex;

    Allocated = Freed = 0;
    EXPECT(ExInitializeLookasideListEx(&Ex, AllocateEntry, FreeEntry, NonPagedPoolNx, 3, 64, TAG,
                                       0) == STATUS_INVALID_PARAMETER_5);
    EXPECT(ExInitializeLookasideListEx(&Ex, AllocateEntry, FreeEntry, NonPagedPoolNx, 0, 64, TAG,
                                       0) == STATUS_SUCCESS);
    PVOID Entry = Allocate(&Ex);
    EXPECT(Entry && Allocated == 1);
    Free(&Ex, Entry);
    if (Ex.L.Depth) { /* "inserts the entries into the lookaside list" up to a limit of the system
                       */
        EXPECT(Freed == 0 && ExQueryDepthSList(&Ex.L.ListHead) == 1);
        EXPECT(Allocate(&Ex) == Entry && Allocated == 1);
        Free(&Ex, Entry);
    }
    ExFlushLookasideListEx(&Ex);
    EXPECT(Freed == 1 && ExQueryDepthSList(&Ex.L.ListHead) == 0);
    ExDeleteLookasideListEx(&Ex);
    return 0;
}

static PVOID NTAPI AllocateInline(PLOOKASIDE_LIST_EX List)
{
    return ExAllocateFromLookasideListEx(List);
}

static VOID NTAPI FreeInline(PLOOKASIDE_LIST_EX List, PVOID Entry)
{
    ExFreeToLookasideListEx(List, Entry);
}

/* ExInitializeLookasideListEx, ExFlushLookasideListEx, ExInitializeNPagedLookasideList;
 * ExAllocateFromLookasideListEx: "changed from inline to exported" */
ULONG LookasideTest(VOID)
{
    static NPAGED_LOOKASIDE_LIST NPaged;
    UNICODE_STRING AllocateName = RTL_CONSTANT_STRING(L"ExAllocateFromLookasideListEx");
    UNICODE_STRING FreeName = RTL_CONSTANT_STRING(L"ExFreeToLookasideListEx");
    PVOID(NTAPI * Allocate)(PLOOKASIDE_LIST_EX);
    VOID(NTAPI * Free)(PLOOKASIDE_LIST_EX, PVOID);

    ExInitializeNPagedLookasideList(&NPaged, NULL, NULL, 0, 48, TAG, 0);
    PVOID Entry = ExAllocateFromNPagedLookasideList(&NPaged);
    EXPECT(Entry);
    ExFreeToNPagedLookasideList(&NPaged, Entry);
    ExDeleteNPagedLookasideList(&NPaged);

    *(PVOID *)&Allocate = MmGetSystemRoutineAddress(&AllocateName);
    *(PVOID *)&Free = MmGetSystemRoutineAddress(&FreeName);
    EXPECT(Allocate && Free);
    const ULONG Line = ListExTest(AllocateInline, FreeInline);
    return Line ? Line : ListExTest(Allocate, Free);
}

/* ExInterlockedInsertTailList and family, ExpInterlockedPushEntrySList */
ULONG ListTest(VOID)
{
    LIST_ENTRY Head = {&Head, &Head}, A, B, C;
    static SLIST_HEADER Sequenced;
    static SLIST_ENTRY One, Two;
    KSPIN_LOCK Lock = 0;

    EXPECT(!ExInterlockedInsertTailList(&Head, &B, &Lock));
    EXPECT(ExInterlockedInsertTailList(&Head, &C, &Lock) == &B);
    EXPECT(ExInterlockedInsertHeadList(&Head, &A, &Lock) == &B);
    EXPECT(ExInterlockedRemoveHeadList(&Head, &Lock) == &A);
    EXPECT(ExInterlockedRemoveHeadList(&Head, &Lock) == &B);
    EXPECT(ExInterlockedRemoveHeadList(&Head, &Lock) == &C);
    EXPECT(!ExInterlockedRemoveHeadList(&Head, &Lock));

    Sequenced.Alignment = Sequenced.Region = 0;
    EXPECT(!ExpInterlockedPushEntrySList(&Sequenced, &One));
    EXPECT(ExpInterlockedPushEntrySList(&Sequenced, &Two) == &One);
    EXPECT(ExQueryDepthSList(&Sequenced) == 2);
    EXPECT(ExpInterlockedPopEntrySList(&Sequenced) == &Two);
    EXPECT(ExpInterlockedPopEntrySList(&Sequenced) == &One);
    EXPECT(!ExpInterlockedPopEntrySList(&Sequenced) && ExQueryDepthSList(&Sequenced) == 0);
    return 0;
}

struct DpcSeen {
    ULONG Count, Processor;
    KIRQL Irql;
    PVOID Argument1, Argument2;
};

static VOID NTAPI SeeDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    struct DpcSeen *Seen = Context;

    Seen->Count++;
    Seen->Processor = KeGetCurrentProcessorNumberEx(NULL);
    Seen->Irql = KeGetCurrentIrql();
    Seen->Argument1 = Argument1;
    Seen->Argument2 = Argument2;
}

/* KeInsertQueueDpc, KeRemoveQueueDpc, KeSetTargetProcessorDpcEx, KeFlushQueuedDpcs */
ULONG DpcTest(VOID)
{
    struct DpcSeen Seen = {0};
    PROCESSOR_NUMBER Processor = {0};
    KDPC Dpc;
    KIRQL Irql;

    KeInitializeDpc(&Dpc, SeeDpc, &Seen);
    Irql = KeRaiseIrqlToDpcLevel();
    EXPECT(KeInsertQueueDpc(&Dpc, (PVOID)1, (PVOID)2));
    EXPECT(!KeInsertQueueDpc(&Dpc, (PVOID)3, (PVOID)4)); /* queued already */
    EXPECT(Seen.Count == 0);
    KeLowerIrql(Irql); /* runs it here */
    EXPECT(Seen.Count == 1 && Seen.Irql == DISPATCH_LEVEL);
    EXPECT(Seen.Argument1 == (PVOID)1 && Seen.Argument2 == (PVOID)2);

    Irql = KeRaiseIrqlToDpcLevel();
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    EXPECT(KeRemoveQueueDpc(&Dpc) && !KeRemoveQueueDpc(&Dpc));
    KeLowerIrql(Irql);
    EXPECT(Seen.Count == 1);

    for (ULONG i = 0; i < KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS); i++) {
        EXPECT(KeGetProcessorNumberFromIndex(i, &Processor) == STATUS_SUCCESS);
        EXPECT(KeSetTargetProcessorDpcEx(&Dpc, &Processor) == STATUS_SUCCESS);
        KeSetImportanceDpc(&Dpc, HighImportance);
        EXPECT(KeInsertQueueDpc(&Dpc, NULL, NULL));
        KeFlushQueuedDpcs();
        EXPECT(Seen.Count == 2 + i && Seen.Processor == i);
    }
    Processor.Number = 63;
    EXPECT(KeSetTargetProcessorDpcEx(&Dpc, &Processor) == STATUS_INVALID_PARAMETER);
    KDPC_WATCHDOG_INFORMATION Watchdog;
    Irql = KeRaiseIrqlToDpcLevel();
    EXPECT(KeQueryDpcWatchdogInformation(&Watchdog) == STATUS_SUCCESS);
    KeLowerIrql(Irql);
    return 0;
}

/* KeSetTimer, KeSetTimerEx, KeSetCoalescableTimer, KeCancelTimer */
ULONG TimerTest(VOID)
{
    struct DpcSeen Seen = {0};
    KTIMER Timer;
    KDPC Dpc;
    LARGE_INTEGER Delay;

    KeInitializeDpc(&Dpc, SeeDpc, &Seen);
    KeInitializeTimer(&Timer);
    EXPECT(!KeSetTimer(&Timer, Relative(5), &Dpc));
    EXPECT(!KeReadStateTimer(&Timer) && TryWait(&Timer) == STATUS_TIMEOUT);
    EXPECT(Wait(&Timer) == STATUS_SUCCESS && KeReadStateTimer(&Timer));
    KeFlushQueuedDpcs();
    EXPECT(Seen.Count == 1 && !KeCancelTimer(&Timer));

    EXPECT(!KeSetTimer(&Timer, Relative(1000000), &Dpc));
    EXPECT(KeSetTimer(&Timer, Relative(2000000), &Dpc)); /* was set */
    EXPECT(KeCancelTimer(&Timer) && !KeCancelTimer(&Timer));
    EXPECT(!KeReadStateTimer(&Timer));

    KeInitializeTimerEx(&Timer, SynchronizationTimer);
    EXPECT(!KeSetTimerEx(&Timer, Relative(2), 3, &Dpc));
    for (int i = 0; i < 3; i++)
        EXPECT(Wait(&Timer) == STATUS_SUCCESS); /* each expiry satisfies one wait */
    EXPECT(KeCancelTimer(&Timer));
    KeFlushQueuedDpcs();
    EXPECT(Seen.Count >= 2); /* a DPC that is still queued is not queued again */
    EXPECT(!KeSetCoalescableTimer(&Timer, Relative(1), 0, 100, NULL));
    EXPECT(Wait(&Timer) == STATUS_SUCCESS);
    Delay = Relative(20);
    KeDelayExecutionThread(KernelMode, FALSE, &Delay);
    EXPECT(TryWait(&Timer) == STATUS_TIMEOUT); /* one-shot */
    return 0;
}

static ULONG_PTR NTAPI CountProcessor(ULONG_PTR Context)
{
    InterlockedIncrement((LONG *)Context);
    return KeGetCurrentProcessorNumberEx(NULL) + 100;
}

static VOID NTAPI ProcessorChanged(PVOID Context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change,
                                   PNTSTATUS Status)
{
    ULONG *Counts = Context;

    Counts[Change->State]++;
    if (Change->NtNumber == 2 && Counts[3])
        *Status = STATUS_INSUFFICIENT_RESOURCES;
}

/* KeIpiGenericCall, KeSetSystemGroupAffinityThread, KeRegisterProcessorChangeCallback */
ULONG ProcessorTest(VOID)
{
    const ULONG Count = KeQueryActiveProcessorCountEx(0);
    PROCESSOR_NUMBER Number;
    GROUP_AFFINITY Affinity = {0}, Before = {0};
    ULONG Counts[4] = {0};
    LONG Ran = 0;
    PVOID Handle;

    EXPECT(Count && Count == KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS));
    EXPECT(KeQueryActiveProcessorCountEx(1) == 0);
    EXPECT(KeGetProcessorNumberFromIndex(Count, &Number) == STATUS_INVALID_PARAMETER);
    for (ULONG i = 0; i < Count; i++) {
        Affinity.Mask = 1ULL << i;
        KeSetSystemGroupAffinityThread(&Affinity, i ? NULL : &Before);
        EXPECT(KeGetCurrentProcessorNumberEx(&Number) == i && Number.Number == i);
        EXPECT(KeIpiGenericCall(CountProcessor, (ULONG_PTR)&Ran) == 100 + i);
        EXPECT((ULONG)Ran == (i + 1) * Count);
    }
    EXPECT(Before.Mask == 0 && Before.Group == 0); /* it was the thread's own */
    KeRevertToUserGroupAffinityThread(&Before);

    Handle = KeRegisterProcessorChangeCallback(ProcessorChanged, Counts, 0);
    EXPECT(Handle && Counts[0] == 0);
    KeDeregisterProcessorChangeCallback(Handle);
    Handle = KeRegisterProcessorChangeCallback(ProcessorChanged, Counts,
                                               KE_PROCESSOR_CHANGE_ADD_EXISTING);
    EXPECT(Handle && Counts[KeProcessorAddStartNotify] == Count);
    KeDeregisterProcessorChangeCallback(Handle);
    Counts[0] = 0;
    Counts[3] = 1; /* fail at the third: the two before are told so */
    Handle = KeRegisterProcessorChangeCallback(ProcessorChanged, Counts,
                                               KE_PROCESSOR_CHANGE_ADD_EXISTING);
    EXPECT(Handle && Counts[KeProcessorAddStartNotify] == 3);
    EXPECT(Counts[KeProcessorAddFailureNotify] == 2);
    KeDeregisterProcessorChangeCallback(Handle);
    return 0;
}

/* KeQueryPerformanceCounter and the clocks */
ULONG TimeTest(VOID)
{
    LARGE_INTEGER Frequency, First = KeQueryPerformanceCounter(&Frequency), Second, Delay;
    ULONG64 Stamp;
    ULONGLONG Precise;

    EXPECT(Frequency.QuadPart == 10000000);
    Delay = Relative(3);
    KeDelayExecutionThread(KernelMode, FALSE, &Delay);
    Second = KeQueryPerformanceCounter(NULL);
    EXPECT(Second.QuadPart - First.QuadPart >= 30000);
    Precise = KeQueryInterruptTimePrecise(&Stamp);
    EXPECT(Precise >= KeQueryTimeIncrement() && Stamp != 0);
    EXPECT(KeQueryInterruptTime() % KeQueryTimeIncrement() == 0);
    EXPECT(KeQueryInterruptTime() + KeQueryTimeIncrement() > Precise);
    EXPECT(KeQueryUnbiasedInterruptTime() >= Precise);
    KeQuerySystemTimePrecise(&First);
    EXPECT(First.QuadPart > 130000000000000000LL); /* after 2012 */
    EXPECT(KeSetPriorityThread(KeGetCurrentThread(), 16) >= 1);
    EXPECT(KeSetPriorityThread(KeGetCurrentThread(), 8) == 16);
    return 0;
}

/* RtlInitUnicodeString and family */
ULONG StringTest(VOID)
{
    WCHAR Room[8];
    char Narrow[4];
    UNICODE_STRING Text, Upper, Buffer = {0, sizeof(Room), Room};
    ANSI_STRING Ansi;

    RtlInitUnicodeString(&Text, NULL);
    EXPECT(Text.Length == 0 && Text.MaximumLength == 0 && !Text.Buffer);
    RtlInitUnicodeString(&Text, L"abc");
    EXPECT(Text.Length == 6 && Text.MaximumLength == 8);
    RtlInitUnicodeString(&Upper, L"ABC");
    EXPECT(!RtlEqualUnicodeString(&Text, &Upper, FALSE));
    EXPECT(RtlEqualUnicodeString(&Text, &Upper, TRUE));
    EXPECT(RtlCompareUnicodeString(&Text, &Upper, FALSE) > 0);
    RtlCopyUnicodeString(&Buffer, &Text);
    EXPECT(RtlAppendUnicodeStringToString(&Buffer, &Upper) == STATUS_SUCCESS);
    EXPECT(Buffer.Length == 12 && Room[5] == 'C' && Room[6] == 0);
    EXPECT(RtlAppendUnicodeStringToString(&Buffer, &Upper) == STATUS_BUFFER_TOO_SMALL);
    EXPECT(Buffer.Length == 12);
    EXPECT(RtlAppendUnicodeToString(&Buffer, L"de") == STATUS_SUCCESS && Buffer.Length == 16);
    EXPECT(RtlAppendUnicodeToString(&Buffer, L"f") == STATUS_BUFFER_TOO_SMALL);

    EXPECT(RtlUnicodeStringToAnsiString(&Ansi, &Text, TRUE) == STATUS_SUCCESS);
    EXPECT(Ansi.Length == 3 && Ansi.Buffer[0] == 'a' && Ansi.Buffer[3] == 0);
    RtlFreeAnsiString(&Ansi);
    Ansi.Buffer = Narrow;
    Ansi.MaximumLength = 3;
    EXPECT(RtlUnicodeStringToAnsiString(&Ansi, &Text, FALSE) == STATUS_BUFFER_OVERFLOW);
    Ansi.MaximumLength = 4;
    EXPECT(RtlUnicodeStringToAnsiString(&Ansi, &Text, FALSE) == STATUS_SUCCESS);
    return 0;
}

/* RtlStringFromGUID, RtlGUIDFromString */
ULONG GuidTest(VOID)
{
    static const GUID Guid = {0x01234567, 0x89ab, 0xcdef, {1, 2, 3, 4, 5, 6, 7, 0xfe}};
    UNICODE_STRING Text, Expected;
    GUID Back;

    EXPECT(RtlStringFromGUID(&Guid, &Text) == STATUS_SUCCESS);
    RtlInitUnicodeString(&Expected, L"{01234567-89ab-cdef-0102-0304050607fe}");
    EXPECT(RtlEqualUnicodeString(&Text, &Expected, TRUE));
    EXPECT(RtlGUIDFromString(&Text, &Back) == STATUS_SUCCESS);
    EXPECT(RtlCompareMemory(&Guid, &Back, sizeof(Guid)) == sizeof(Guid));
    RtlFreeUnicodeString(&Text);
    RtlInitUnicodeString(&Text, L"{01234567-89ab-cdef-0102-0304050607fg}");
    EXPECT(RtlGUIDFromString(&Text, &Back) == STATUS_INVALID_PARAMETER);
    Expected.Length -= 2;
    EXPECT(RtlGUIDFromString(&Expected, &Back) == STATUS_INVALID_PARAMETER);
    return 0;
}

/* RtlFindLeastSignificantBit, RtlNumberOfSetBitsUlongPtr, RtlCompareMemory, RtlRandomEx */
ULONG BitTest(VOID)
{
    ULONG Seed = 1, First, Second;

    EXPECT(RtlFindLeastSignificantBit(0) == -1);
    EXPECT(RtlFindLeastSignificantBit(0x8000000000000000ULL) == 63);
    EXPECT(RtlFindLeastSignificantBit(12) == 2);
    EXPECT(RtlNumberOfSetBitsUlongPtr(0xF0F0) == 8);
    EXPECT(RtlCompareMemory("abcd", "abxd", 4) == 2);
    First = RtlRandomEx(&Seed);
    Second = RtlRandomEx(&Seed);
    EXPECT(First != Second && First < MAXLONG && Second < MAXLONG);
    EXPECT(RtlGetEnabledExtendedFeatures(3) == 3);
    return 0;
}

static BOOLEAN Same(const char *Left, const char *Right)
{
    while (*Left && *Left == *Right) {
        Left++;
        Right++;
    }
    return *Left == *Right;
}

/* RtlIpv4AddressToStringA, RtlIpv6AddressToStringExA */
ULONG AddressTest(VOID)
{
    static const UCHAR V4[4] = {192, 0, 2, 1};
    static const UCHAR V6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    char Text[64];
    ULONG Length = 22;

    EXPECT(RtlIpv4AddressToStringA((const struct in_addr *)V4, Text) == Text + 9);
    EXPECT(Same(Text, "192.0.2.1"));
    EXPECT(RtlIpv4AddressToStringExA((const struct in_addr *)V4, 0x3500, Text, &Length) ==
           STATUS_SUCCESS);
    EXPECT(Same(Text, "192.0.2.1:53") && Length == 13);
    Length = 12;
    EXPECT(RtlIpv4AddressToStringExA((const struct in_addr *)V4, 0x3500, Text, &Length) ==
           STATUS_INVALID_PARAMETER);
    EXPECT(Length == 13);
    RtlIpv6AddressToStringA((const struct in6_addr *)V6, Text);
    EXPECT(Same(Text, "2001:db8::1"));
    Length = sizeof(Text);
    EXPECT(RtlIpv6AddressToStringExA((const struct in6_addr *)V6, 7, 0x5000, Text, &Length) ==
           STATUS_SUCCESS);
    EXPECT(Same(Text, "[2001:db8::1%7]:80"));
    return 0;
}

/* RtlGetVersion, RtlVerifyVersionInfo, VerSetConditionMask */
ULONG VersionTest(ULONG Major, ULONG Minor, ULONG Build)
{
    RTL_OSVERSIONINFOW Version = {.dwOSVersionInfoSize = sizeof(Version)};
    RTL_OSVERSIONINFOEXW Wanted = {
        .dwOSVersionInfoSize = sizeof(Wanted), .dwMajorVersion = Major, .dwMinorVersion = Minor};
    ULONGLONG Mask =
        VerSetConditionMask(VerSetConditionMask(0, VER_MAJORVERSION, VER_GREATER_EQUAL),
                            VER_MINORVERSION, VER_GREATER_EQUAL);
    const ULONG Types = VER_MAJORVERSION | VER_MINORVERSION;

    EXPECT(RtlGetVersion(&Version) == STATUS_SUCCESS);
    EXPECT(Version.dwMajorVersion == Major && Version.dwMinorVersion == Minor);
    EXPECT(Version.dwBuildNumber == Build && Version.dwPlatformId == 2);
    EXPECT(RtlVerifyVersionInfo(&Wanted, Types, Mask) == STATUS_SUCCESS);
    Wanted.dwMinorVersion++;
    EXPECT(RtlVerifyVersionInfo(&Wanted, Types, Mask) == STATUS_REVISION_MISMATCH);
    Wanted.dwMajorVersion--; /* a higher major number outweighs the minor */
    EXPECT(RtlVerifyVersionInfo(&Wanted, Types, Mask) == STATUS_SUCCESS);
    EXPECT(RtlVerifyVersionInfo(&Wanted, Types, 0) == STATUS_INVALID_PARAMETER);
    EXPECT(RtlVerifyVersionInfo(&Wanted, 0, Mask) == STATUS_INVALID_PARAMETER);
    return 0;
}

static int Format(char *Buffer, SIZE_T Count, const char *Text, ...)
{
    NT_VA_LIST Arguments;
    int Result;

    __builtin_va_start(Arguments, Text);
    Result = _vsnprintf(Buffer, Count, Text, Arguments);
    __builtin_va_end(Arguments);
    return Result;
}

static int FormatWide(WCHAR *Buffer, SIZE_T Count, const WCHAR *Text, ...)
{
    NT_VA_LIST Arguments;
    int Result;

    __builtin_va_start(Arguments, Text);
    Result = _vsnwprintf(Buffer, Count, Text, Arguments);
    __builtin_va_end(Arguments);
    return Result;
}

/* "Format specification syntax: printf and wprintf functions", "_vsnprintf" */
ULONG FormatTest(VOID)
{
    char Text[64];
    WCHAR Wide[64];
    UNICODE_STRING Counted = RTL_CONSTANT_STRING(L"counted");
    ANSI_STRING Ansi = RTL_CONSTANT_STRING("ansi");

    EXPECT(Format(Text, 64, "%d %5d|%-5d|%05d %+d", -1, 42, 42, 42, 42) == 24);
    EXPECT(Same(Text, "-1    42|42   |00042 +42"));
    EXPECT(Format(Text, 64, "%I64d %lld %I64x", -5LL, 1LL << 40, 0xABCDEF0123ULL) > 0);
    EXPECT(Same(Text, "-5 1099511627776 abcdef0123"));
    EXPECT(Format(Text, 64, "%ld %lu %hx %#x %#o %X", -1L, 0xFFFFFFFFUL, 0x12345, 255, 8, 0xbeef) >
           0);
    EXPECT(Same(Text, "-1 4294967295 2345 0xff 010 BEEF"));
    EXPECT(Format(Text, 64, "%p", (PVOID)0x1234ABCD) == 16 && Same(Text, "000000001234ABCD"));
    EXPECT(Format(Text, 64, "%s|%.2s|%5s|%-5s|", "abc", "abc", "ab", "ab") > 0);
    EXPECT(Same(Text, "abc|ab|   ab|ab   |"));
    EXPECT(Format(Text, 64, "%ws %S %wZ %Z %ls %hs", L"a", L"b", &Counted, &Ansi, L"c", "d") > 0);
    EXPECT(Same(Text, "a b counted ansi c d"));
    EXPECT(Format(Text, 64, "%c%C%% %*d %.*d", 'x', L'y', 4, 7, 3, 7) > 0);
    EXPECT(Same(Text, "xy%    7 007"));
    EXPECT(Format(Text, 4, "abcd") == 4);   /* fits, without a terminator */
    EXPECT(Format(Text, 4, "abcde") == -1); /* does not */
    EXPECT(Format(Text, 64, "%s", (char *)NULL) == 6 && Same(Text, "(null)"));
    EXPECT(FormatWide(Wide, 64, L"%s %S %hs %wZ %d", L"w", "n", "h", &Counted, 9) == 15);
    EXPECT(Wide[0] == 'w' && Wide[2] == 'n' && Wide[4] == 'h' && Wide[6] == 'c' && Wide[14] == '9');
    return 0;
}

/* EtwRegister, EtwWrite, DbgPrint */
ULONG TraceTest(VOID)
{
    static const GUID Provider = {1, 2, 3, {4}};
    EVENT_DESCRIPTOR Event = {.Id = 7};
    EVENT_DATA_DESCRIPTOR Data = {.Size = 4};
    REGHANDLE Handle = 0;

    EXPECT(EtwRegister(&Provider, NULL, NULL, &Handle) == STATUS_SUCCESS && Handle);
    EXPECT(EtwWrite(Handle, &Event, NULL, 1, &Data) == STATUS_SUCCESS);
    EXPECT(EtwUnregister(Handle) == STATUS_SUCCESS);
    EXPECT(EtwUnregister(Handle) == STATUS_INVALID_HANDLE);
    EXPECT(DbgPrint("%s %d\n", "hello", 5) == STATUS_SUCCESS);
    EXPECT(DbgPrintEx(77, 0, "%wZ\n", (PUNICODE_STRING)NULL) == STATUS_SUCCESS);
    return 0;
}

struct Work {
    WORK_QUEUE_ITEM Item;
    KEVENT Done;
    KIRQL Irql;
};

static VOID NTAPI DoWork(PVOID Context)
{
    struct Work *Work = Context;

    Work->Irql = KeGetCurrentIrql();
    KeSetEvent(&Work->Done, IO_NO_INCREMENT, FALSE);
}

/* ExQueueWorkItem: at PASSIVE_LEVEL in a system thread */
ULONG WorkTest(VOID)
{
    struct Work Work = {.Irql = DISPATCH_LEVEL};
    KIRQL Irql;

    KeInitializeEvent(&Work.Done, SynchronizationEvent, FALSE);
    for (int i = 0; i < 3; i++) {
        ExInitializeWorkItem(&Work.Item, DoWork, &Work);
        Irql = KeRaiseIrqlToDpcLevel();
        ExQueueWorkItem(&Work.Item, DelayedWorkQueue);
        KeLowerIrql(Irql);
        EXPECT(Wait(&Work.Done) == STATUS_SUCCESS && Work.Irql == PASSIVE_LEVEL);
    }
    return 0;
}

static NTSTATUS AllocateOrRaise(BOOLEAN Old)
{
    PVOID Memory = NULL;

    __try {
        Memory = Old ? ExAllocatePoolWithTag((POOL_TYPE)(NonPagedPoolNx | 16), 16, TAG)
                     : ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_RAISE_ON_FAILURE, 16, TAG);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    ExFreePool(Memory);
    return STATUS_SUCCESS;
}

/* Each call that may fail, made to fail by the test: it says so as its page does, and leaves
 * nothing behind. */
ULONG FailingTest(ULONG Call)
{
    static const GUID Guid = {1, 0, 0, {0}};
    UNICODE_STRING Wide = RTL_CONSTANT_STRING(L"abc"), Text = {0};
    ANSI_STRING Ansi = {0};
    REGHANDLE Handle = 1;
    ULONG64 State[64];

    switch (Call) {
    case 0:
        EXPECT(!ExAllocatePoolWithTag(NonPagedPoolNx, 16, TAG));
        break;
    case 1:
        EXPECT(!ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, TAG));
        break;
    case 2:
        EXPECT(!ExAllocatePool3(POOL_FLAG_NON_PAGED, 16, TAG, NULL, 0));
        break;
    case 3:
        EXPECT(AllocateOrRaise(FALSE) == STATUS_INSUFFICIENT_RESOURCES);
        break;
    case 4: /* POOL_RAISE_IF_ALLOCATION_FAILURE */
        EXPECT(AllocateOrRaise(TRUE) == STATUS_INSUFFICIENT_RESOURCES);
        break;
    case 5:
        EXPECT(!ExAllocateCacheAwareRundownProtection(NonPagedPoolNx, TAG));
        break;
    case 6:
        EXPECT(RtlStringFromGUID(&Guid, &Text) == STATUS_NO_MEMORY && !Text.Buffer);
        break;
    case 7:
        EXPECT(RtlUnicodeStringToAnsiString(&Ansi, &Wide, TRUE) == STATUS_NO_MEMORY);
        EXPECT(!Ansi.Buffer);
        break;
    case 8:
        EXPECT(!KeRegisterProcessorChangeCallback(ProcessorChanged, NULL, 0));
        break;
    case 9:
        EXPECT(EtwRegister(&Guid, NULL, NULL, &Handle) == STATUS_NO_MEMORY && Handle == 0);
        break;
    case 10:
        EXPECT(KeSaveExtendedProcessorState(7, (PXSTATE_SAVE)State) ==
               STATUS_INSUFFICIENT_RESOURCES);
        break;
    default:
        return MAXULONG;
    }
    return 0;
}

/* KeSaveExtendedProcessorState, KeRestoreExtendedProcessorState */
ULONG StateTest(VOID)
{
    ULONG64 State[64];
    KIRQL Irql = KeRaiseIrqlToDpcLevel();

    EXPECT(KeSaveExtendedProcessorState(RtlGetEnabledExtendedFeatures(MAXULONGLONG),
                                        (PXSTATE_SAVE)State) == STATUS_SUCCESS);
    KeRestoreExtendedProcessorState((PXSTATE_SAVE)State);
    KeLowerIrql(Irql);
    return 0;
}

static ULONG Order[4], OrderCount;

static VOID NTAPI NoteOrder(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    Order[OrderCount++ % 4] = (ULONG)(ULONG_PTR)Context;
}

/* "Organization of DPC Queues": high importance goes to the beginning, others to the end. */
ULONG ImportanceTest(VOID)
{
    KDPC First, Second, High;
    KIRQL Irql;

    OrderCount = 0;
    KeInitializeDpc(&First, NoteOrder, (PVOID)1);
    KeInitializeDpc(&Second, NoteOrder, (PVOID)2);
    KeInitializeDpc(&High, NoteOrder, (PVOID)3);
    KeSetImportanceDpc(&High, HighImportance);
    Irql = KeRaiseIrqlToDpcLevel();
    KeInsertQueueDpc(&First, NULL, NULL);
    KeInsertQueueDpc(&Second, NULL, NULL);
    KeInsertQueueDpc(&High, NULL, NULL);
    KeLowerIrql(Irql);
    KeFlushQueuedDpcs();
    EXPECT(OrderCount == 3 && Order[0] == 3 && Order[1] == 1 && Order[2] == 2);
    return 0;
}

/* A lock of the driver's own making: no kernel call until another thread has set the flag. */
ULONG SpinForOther(volatile LONG *Flag)
{
    while (!*Flag)
        YieldProcessor();
    return 0;
}
