/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Locks, events, timers, work items, memory and processors of NDIS (ndis/sync.c, timer.c). Pages:
 * those of the functions named.
 */
#include "puppet.h"

/* ---- spin locks ---- */

/* "NdisAcquireSpinLock raises the IRQL to DISPATCH_LEVEL and stores the old IRQL in the lock". */
TEST(spin_lock_raises_and_restores)
{
    NDIS_SPIN_LOCK lock;

    boot();
    struct puppet p = plug();
    CALL(NdisAllocateSpinLock, P(&lock));
    CALL(NdisAcquireSpinLock, P(&lock));
    CHECK_EQ(KeGetCurrentIrql(), DISPATCH_LEVEL);
    CALL(NdisReleaseSpinLock, P(&lock));
    CHECK_EQ(KeGetCurrentIrql(), PASSIVE_LEVEL);
    const KIRQL old = KeRaiseIrqlToDpcLevel();
    CALL(NdisDprAcquireSpinLock, P(&lock));
    CALL(NdisDprReleaseSpinLock, P(&lock));
    KeLowerIrql(old);
    CALL(NdisFreeSpinLock, P(&lock));
    unplug(&p);
}

/* NdisDprAcquireSpinLock: "at IRQL = DISPATCH_LEVEL". */
TEST(spin_lock_dpr_at_passive_is_caught)
{
    static NDIS_SPIN_LOCK lock;

    boot();
    plug();
    CALL(NdisAllocateSpinLock, P(&lock));
    nth_expect_stop("irql-too-low");
    CALL(NdisDprAcquireSpinLock, P(&lock));
    CHECK(!"not caught");
}

TEST(spin_lock_freed_while_held_is_caught)
{
    static NDIS_SPIN_LOCK lock;

    boot();
    plug();
    CALL(NdisAllocateSpinLock, P(&lock));
    CALL(NdisAcquireSpinLock, P(&lock));
    nth_expect_stop("lock-freed-held");
    CALL(NdisFreeSpinLock, P(&lock));
    CHECK(!"not caught");
}

/* NdisInterlockedXxx: the list operations under a spin lock, the counters without. */
TEST(interlocked_operations_work)
{
    NDIS_SPIN_LOCK lock;
    LIST_ENTRY head, one, two;
    LONG number = 5;

    boot();
    struct puppet p = plug();
    CALL(NdisAllocateSpinLock, P(&lock));
    InitializeListHead(&head);
    CHECK(!CALL(NdisInterlockedRemoveHeadList, P(&head), P(&lock)));
    CALL(NdisInterlockedInsertTailList, P(&head), P(&one), P(&lock));
    CALL(NdisInterlockedInsertTailList, P(&head), P(&two), P(&lock));
    CHECK(PTR(CALL(NdisInterlockedRemoveHeadList, P(&head), P(&lock))) == &one);
    CHECK(PTR(CALL(NdisInterlockedRemoveHeadList, P(&head), P(&lock))) == &two);
    CHECK_EQ((LONG)CALL(NdisInterlockedIncrement, P(&number)), 6);
    CHECK_EQ((LONG)CALL(NdisInterlockedDecrement, P(&number)), 5);
    CALL(NdisFreeSpinLock, P(&lock));
    unplug(&p);
}

/* ---- read/write locks ---- */

static NDIS_RW_LOCK_EX *rw_lock(void)
{
    NDIS_RW_LOCK_EX *lock = PTR(CALL(NdisAllocateRWLock, P(S.Adapter)));

    CHECK(lock);
    return lock;
}

/* "A read lock can be acquired recursively on the same processor; there must be a corresponding
 * call to NdisReleaseRWLock", which restores the IRQL. */
TEST(rw_lock_reads_and_writes_are_recursive)
{
    LOCK_STATE_EX a, b;

    boot();
    struct puppet p = plug();
    NDIS_RW_LOCK_EX *lock = rw_lock();
    for (int write = 0; write < 2; write++) {
        for (int i = 0; i < 2; i++) {
            if (write)
                CALL(NdisAcquireRWLockWrite, P(lock), P(i ? &b : &a),
                     i ? NDIS_RWL_AT_DISPATCH_LEVEL : 0);
            else
                CALL(NdisAcquireRWLockRead, P(lock), P(i ? &b : &a),
                     i ? NDIS_RWL_AT_DISPATCH_LEVEL : 0);
            CHECK_EQ(KeGetCurrentIrql(), DISPATCH_LEVEL);
        }
        CALL(NdisReleaseRWLock, P(lock), P(&b));
        CHECK_EQ(KeGetCurrentIrql(), DISPATCH_LEVEL);
        CALL(NdisReleaseRWLock, P(lock), P(&a));
        CHECK_EQ(KeGetCurrentIrql(), PASSIVE_LEVEL);
    }
    CALL(NdisFreeRWLock, P(lock));
    unplug(&p);
}

/* "Does not support promotion from read to write". */
TEST(rw_lock_promotion_is_caught)
{
    static LOCK_STATE_EX a, b;

    boot();
    plug();
    NDIS_RW_LOCK_EX *lock = rw_lock();
    CALL(NdisAcquireRWLockRead, P(lock), P(&a), 0);
    nth_expect_stop("rwlock-promotion");
    CALL(NdisAcquireRWLockWrite, P(lock), P(&b), NDIS_RWL_AT_DISPATCH_LEVEL);
    CHECK(!"not caught");
}

/* "A driver must obtain a read/write lock before the driver can call NdisReleaseRWLock". */
TEST(rw_lock_release_without_acquire_is_caught)
{
    static LOCK_STATE_EX a;

    boot();
    plug();
    NDIS_RW_LOCK_EX *lock = rw_lock();
    S.RunAtDispatch = 1;
    nth_expect_stop("lock-not-held");
    CALL(NdisReleaseRWLock, P(lock), P(&a));
    CHECK(!"not caught");
}

TEST(rw_lock_flag_at_passive_is_caught)
{
    static LOCK_STATE_EX a;

    boot();
    plug();
    NDIS_RW_LOCK_EX *lock = rw_lock();
    nth_expect_stop("flags-dispatch-level-lie");
    CALL(NdisAcquireRWLockRead, P(lock), P(&a), NDIS_RWL_AT_DISPATCH_LEVEL);
    CHECK(!"not caught");
}

static struct {
    NDIS_RW_LOCK_EX *lock;
    LONG readers, writers;
} shared;

static void reader(void *unused)
{
    for (int i = 0; i < 300; i++) {
        LOCK_STATE_EX state;
        CALL(NdisAcquireRWLockRead, P(shared.lock), P(&state), 0);
        __atomic_add_fetch(&shared.readers, 1, __ATOMIC_SEQ_CST);
        CHECK_EQ(__atomic_load_n(&shared.writers, __ATOMIC_SEQ_CST), 0);
        __atomic_sub_fetch(&shared.readers, 1, __ATOMIC_SEQ_CST);
        CALL(NdisReleaseRWLock, P(shared.lock), P(&state));
    }
}

static void writer(void *unused)
{
    for (int i = 0; i < 300; i++) {
        LOCK_STATE_EX state;
        CALL(NdisAcquireRWLockWrite, P(shared.lock), P(&state), 0);
        CHECK_EQ(__atomic_add_fetch(&shared.writers, 1, __ATOMIC_SEQ_CST), 1);
        CHECK_EQ(__atomic_load_n(&shared.readers, __ATOMIC_SEQ_CST), 0);
        __atomic_sub_fetch(&shared.writers, 1, __ATOMIC_SEQ_CST);
        CALL(NdisReleaseRWLock, P(shared.lock), P(&state));
    }
}

/* "When one thread has write access, all read and write accesses by others must wait". */
TEST(rw_lock_excludes_writers)
{
    boot_with((struct nth_config){.mode = NTH_PARALLEL});
    struct puppet p = plug();
    shared.lock = rw_lock();
    struct nth_thread *threads[4];
    for (int i = 0; i < 4; i++)
        threads[i] = nth_spawn("rw", i < 3 ? reader : writer, NULL);
    for (int i = 0; i < 4; i++)
        nth_join(threads[i]);
    CALL(NdisFreeRWLock, P(shared.lock));
    unplug(&p);
}

/* ---- events and time ---- */

/* NdisWaitEvent: TRUE when signalled; a notification event stays so; otherwise the time-out ends
 * it. */
TEST(event_wait_ends_by_signal_or_time)
{
    NDIS_EVENT event;

    boot();
    struct puppet p = plug();
    CALL(NdisInitializeEvent, P(&event));
    const uint64_t before = nth_clock_ns();
    CHECK_EQ((UCHAR)CALL(NdisWaitEvent, P(&event), 20), FALSE);
    CHECK(nth_clock_ns() - before >= 20000000);
    CALL(NdisSetEvent, P(&event));
    CHECK_EQ((UCHAR)CALL(NdisWaitEvent, P(&event), 0), TRUE);
    CHECK_EQ((UCHAR)CALL(NdisWaitEvent, P(&event), 1), TRUE);
    CALL(NdisResetEvent, P(&event));
    CHECK_EQ((UCHAR)CALL(NdisWaitEvent, P(&event), 1), FALSE);
    unplug(&p);
}

TEST(event_wait_at_dispatch_is_caught)
{
    static NDIS_EVENT event;

    boot();
    plug();
    CALL(NdisInitializeEvent, P(&event));
    S.RunAtDispatch = 1;
    nth_expect_stop("irql-too-high");
    CALL(NdisWaitEvent, P(&event), 1);
    CHECK(!"not caught");
}

/* NdisMSleep takes microseconds; NdisGetSystemUpTimeEx answers milliseconds. */
TEST(sleep_moves_the_up_time)
{
    LARGE_INTEGER before, after;

    boot();
    struct puppet p = plug();
    CALL(NdisGetSystemUpTimeEx, P(&before));
    CALL(NdisMSleep, 250000);
    CALL(NdisGetSystemUpTimeEx, P(&after));
    CHECK(after.QuadPart - before.QuadPart >= 250 && after.QuadPart - before.QuadPart < 1000);
    unplug(&p);
}

/* ---- timers ---- */

static NDIS_HANDLE timer_of(void *context)
{
    NDIS_TIMER_CHARACTERISTICS c = {
        .Header = {NDIS_OBJECT_TYPE_TIMER_CHARACTERISTICS, NDIS_TIMER_CHARACTERISTICS_REVISION_1,
                   NDIS_SIZEOF_TIMER_CHARACTERISTICS_REVISION_1},
        .TimerFunction = S.Timer,
        .FunctionContext = context,
    };
    NDIS_HANDLE timer = NULL;

    CHECK_STATUS(STATUS_OF(CALL(NdisAllocateTimerObject, P(S.Adapter), P(&c), P(&timer))), 0);
    return timer;
}

enum { MILLISECOND = 10000 };

/* Runs once when due; "if FunctionContext is NULL, NDIS uses the default value". */
TEST(timer_runs_once_with_its_context)
{
    int mark, other;

    boot();
    struct puppet p = plug();
    NDIS_HANDLE timer = timer_of(&mark);
    CHECK_EQ((UCHAR)CALL(NdisSetTimerObject, P(timer), (ULONG64)(-5LL * MILLISECOND), 0, 0), FALSE);
    CHECK_EQ((UCHAR)CALL(NdisSetTimerObject, P(timer), (ULONG64)(-5LL * MILLISECOND), 0, 0), TRUE);
    CALL(NdisMSleep, 20000);
    CHECK_EQ(S.Timers, 1);
    CHECK(S.TimerContext == &mark);
    CALL(NdisSetTimerObject, P(timer), (ULONG64)(-1LL * MILLISECOND), 0, P(&other));
    CALL(NdisMSleep, 20000);
    CHECK_EQ(S.Timers, 2);
    CHECK(S.TimerContext == &other);
    CHECK_EQ((UCHAR)CALL(NdisCancelTimerObject, P(timer)), FALSE);
    CALL(NdisFreeTimerObject, P(timer));
    unplug(&p);
}

/* Periodic until it is cancelled, and not afterwards. */
TEST(timer_periodic_runs_until_cancelled)
{
    boot();
    struct puppet p = plug();
    NDIS_HANDLE timer = timer_of(NULL);
    CALL(NdisSetTimerObject, P(timer), (ULONG64)(-5LL * MILLISECOND), 10, 0);
    CALL(NdisMSleep, 38000);
    CHECK_EQ(S.Timers, 4);
    CHECK_EQ((UCHAR)CALL(NdisCancelTimerObject, P(timer)), TRUE);
    CALL(NdisMSleep, 50000);
    CHECK_EQ(S.Timers, 4);
    CALL(NdisFreeTimerObject, P(timer));
    unplug(&p);
}

/* "If the caller is canceling a periodic timer, it must be running at IRQL = PASSIVE_LEVEL". */
TEST(timer_periodic_cancelled_at_dispatch_is_caught)
{
    boot();
    plug();
    NDIS_HANDLE timer = timer_of(NULL);
    CALL(NdisSetTimerObject, P(timer), (ULONG64)(-5LL * MILLISECOND), 10, 0);
    S.RunAtDispatch = 1;
    nth_expect_stop("irql-too-high");
    CALL(NdisCancelTimerObject, P(timer));
    CHECK(!"not caught");
}

TEST(timer_freed_while_set_is_caught)
{
    boot();
    plug();
    NDIS_HANDLE timer = timer_of(NULL);
    CALL(NdisSetTimerObject, P(timer), (ULONG64)(-5LL * MILLISECOND), 0, 0);
    nth_expect_stop("timer-freed-active");
    CALL(NdisFreeTimerObject, P(timer));
    CHECK(!"not caught");
}

/* "The value of this parameter must be less than or equal to MAXLONG". */
TEST(timer_negative_period_is_caught)
{
    boot();
    plug();
    NDIS_HANDLE timer = timer_of(NULL);
    nth_expect_stop("timer-period");
    CALL(NdisSetTimerObject, P(timer), (ULONG64)(-5LL * MILLISECOND), (uint32_t)-1, 0);
    CHECK(!"not caught");
}

/* "NDIS_STATUS_BAD_CHARACTERISTICS: the information in the structure is invalid". */
TEST(timer_wrong_characteristics_are_refused)
{
    NDIS_TIMER_CHARACTERISTICS c = {.Header = {NDIS_OBJECT_TYPE_TIMER_CHARACTERISTICS, 1, 8}};
    NDIS_HANDLE timer = PTR(1);

    boot();
    struct puppet p = plug();
    CHECK_STATUS(STATUS_OF(CALL(NdisAllocateTimerObject, P(S.Adapter), P(&c), P(&timer))),
                 NDIS_STATUS_BAD_CHARACTERISTICS);
    CHECK(!timer);
    unplug(&p);
}

/* ---- work items ---- */

/* "The routine runs in a system thread context at IRQL = PASSIVE_LEVEL" and "can call
 * NdisFreeIoWorkItem". */
TEST(work_item_runs_and_may_free_itself)
{
    int mark;

    boot();
    struct puppet p = plug();
    NDIS_HANDLE item = PTR(CALL(NdisAllocateIoWorkItem, P(S.Adapter)));
    S.RunAtDispatch = 1;
    CALL(NdisQueueIoWorkItem, P(item), P(S.Work), P(&mark));
    S.RunAtDispatch = 0;
    nth_settle();
    CHECK_EQ(S.Works, 1);
    CHECK(S.WorkContext == &mark);
    S.FreeWork = item;
    CALL(NdisQueueIoWorkItem, P(item), P(S.Work), 0);
    nth_settle();
    CHECK_EQ(S.Works, 2);
    unplug(&p);
}

TEST(work_item_queued_twice_is_caught)
{
    boot();
    plug();
    NDIS_HANDLE item = PTR(CALL(NdisAllocateIoWorkItem, P(S.Adapter)));
    const KIRQL old = KeRaiseIrqlToDpcLevel(); /* nobody else runs */
    CALL(NdisQueueIoWorkItem, P(item), P(S.Work), 0);
    nth_expect_stop("work-item-queued");
    CALL(NdisQueueIoWorkItem, P(item), P(S.Work), 0);
    KeLowerIrql(old);
    CHECK(!"not caught");
}

TEST(work_item_left_at_halt_is_caught)
{
    boot();
    struct puppet p = plug();
    CHECK(CALL(NdisAllocateIoWorkItem, P(S.Adapter)));
    nth_expect_stop("leak");
    nth_unplug(p.device);
    CHECK(!"not caught");
}

/* ---- memory and processors ---- */

TEST(memory_is_given_and_taken)
{
    void *memory = NULL;

    boot();
    struct puppet p = plug();
    CHECK_STATUS(STATUS_OF(CALL(NdisAllocateMemoryWithTag, P(&memory), 100, 0x74736554)), 0);
    memset(memory, 1, 100);
    CALL(NdisFreeMemory, P(memory), 100, 0);
    memory = PTR(
        CALL(NdisAllocateMemoryWithTagPriority, P(S.Adapter), 200, 0x74736554, NormalPoolPriority));
    memset(memory, 1, 200);
    CALL(NdisFreeMemoryWithTagPriority, P(S.Adapter), P(memory), 0x74736554);
    nth_fault_arm(1U << NTH_FAULT_POOL, 1);
    CHECK_STATUS(STATUS_OF(CALL(NdisAllocateMemoryWithTag, P(&memory), 100, 0x74736554)),
                 NDIS_STATUS_FAILURE);
    CHECK(!memory);
    nth_fault_arm(0, 0);
    CHECK_EQ(CALL(NdisGetSharedDataAlignment) % 16, 0);
    unplug(&p);
}

/* "Size contains the required size of the buffer if the buffer was too short". */
TEST(rss_processors_are_those_of_the_machine)
{
    DECLSPEC_ALIGN(8) UCHAR buffer[512];
    NDIS_RSS_PROCESSOR_INFO *info = (void *)buffer;
    SIZE_T bytes = 8;

    boot_with((struct nth_config){.mode = NTH_SERIAL, .processors = 3});
    struct puppet p = plug();
    CHECK_STATUS(STATUS_OF(CALL(NdisGetRssProcessorInformation, P(S.Adapter), P(info), P(&bytes))),
                 NDIS_STATUS_BUFFER_TOO_SHORT);
    CHECK(bytes <= sizeof(buffer));
    CHECK_STATUS(STATUS_OF(CALL(NdisGetRssProcessorInformation, P(S.Adapter), P(info), P(&bytes))),
                 NDIS_STATUS_SUCCESS);
    CHECK_EQ(info->RssProcessorCount, 3);
    const NDIS_RSS_PROCESSOR *entry =
        (void *)(buffer + info->RssProcessorArrayOffset + 2 * info->RssProcessorEntrySize);
    CHECK_EQ(entry->ProcNum.Number, 2);
    unplug(&p);
}
