/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Several threads on every kind of lock, wait, queue and run-down reference: exclusion holds,
 * nobody is forgotten. On one thread at a time under many seeds, and freely (where the thread
 * sanitiser watches).
 */
#include "check.h"
#include "nt/nt.h"

#include <stdlib.h>

enum { THREADS = 6, ROUNDS_SERIAL = 150, ROUNDS_PARALLEL = 2000, SEEDS = 12 };

static int rounds;
static long guarded;                 /* by the lock under test */
static _Atomic int inside, run_down; /* see the run-down tests */

static void run_threads(void (*body)(void *))
{
    struct nth_thread *threads[THREADS];

    guarded = inside = run_down = 0;
    for (long i = 0; i < THREADS; i++)
        threads[i] = nth_spawn("contender", body, (void *)i);
    for (int i = 0; i < THREADS; i++)
        nth_join(threads[i]);
}

/* prepare makes the object, body contends for it, finish looks at the result. */
static void contend(void (*prepare)(void), void (*body)(void *), void (*finish)(void))
{
    for (uint32_t seed = 0; seed <= SEEDS; seed++) {
        const bool is_serial = seed < SEEDS;
        const struct nth_config config = {.mode = is_serial ? NTH_SERIAL : NTH_PARALLEL,
                                          .seed = seed};
        rounds = is_serial ? ROUNDS_SERIAL : ROUNDS_PARALLEL;
        nth_boot(&config);
        prepare();
        run_threads(body);
        finish();
        nth_shutdown();
    }
}

static void write_guarded(void)
{
    const long before = guarded;

    nth_point();
    guarded = before + 1;
}

static void read_guarded(void)
{
    const long before = guarded;

    nth_point();
    CHECK_EQ(guarded, before);
}

static void all_wrote(void)
{
    CHECK_EQ(guarded, (long)THREADS * rounds);
}

static void nothing(void) {}

/* ---- KeAcquireSpinLock ---- */

static KSPIN_LOCK spin;

static void spin_prepare(void)
{
    KeInitializeSpinLock(&spin);
}

static void spin_body(void *unused)
{
    for (int i = 0; i < rounds; i++) {
        const KIRQL irql = KeAcquireSpinLockRaiseToDpc(&spin);
        write_guarded();
        KeReleaseSpinLock(&spin, irql);
    }
}

TEST(spin_lock_excludes)
{
    contend(spin_prepare, spin_body, all_wrote);
}

static void queued_body(void *unused)
{
    KLOCK_QUEUE_HANDLE handle;

    for (int i = 0; i < rounds; i++) {
        KeAcquireInStackQueuedSpinLock(&spin, &handle);
        write_guarded();
        KeReleaseInStackQueuedSpinLock(&handle);
    }
}

TEST(queued_spin_lock_excludes)
{
    contend(spin_prepare, queued_body, all_wrote);
}

/* ---- ExAcquireSpinLockShared, ExAcquireSpinLockExclusive ---- */

static EX_SPIN_LOCK shared;

static void shared_prepare(void)
{
    shared = 0;
}

static void shared_body(void *unused)
{
    for (int i = 0; i < rounds; i++) {
        KIRQL irql = ExAcquireSpinLockShared(&shared);
        read_guarded();
        ExReleaseSpinLockShared(&shared, irql);
        irql = ExAcquireSpinLockExclusive(&shared);
        write_guarded();
        ExReleaseSpinLockExclusive(&shared, irql);
    }
}

TEST(reader_writer_spin_lock_excludes)
{
    contend(shared_prepare, shared_body, all_wrote);
    CHECK_EQ(shared, 0);
}

/* ---- KeInitializeMutex ---- */

static KMUTEX mutex;

static void mutex_prepare(void)
{
    KeInitializeMutex(&mutex, 0);
}

static void mutex_body(void *unused)
{
    for (int i = 0; i < rounds; i++) {
        KeWaitForSingleObject(&mutex, Executive, KernelMode, FALSE, NULL);
        write_guarded();
        KeReleaseMutex(&mutex, FALSE);
    }
}

TEST(mutex_excludes)
{
    contend(mutex_prepare, mutex_body, all_wrote);
}

/* ---- ExAcquireFastMutex ---- */

static FAST_MUTEX fast;

static void fast_prepare(void)
{
    ExInitializeFastMutex(&fast);
}

static void fast_body(void *unused)
{
    for (int i = 0; i < rounds; i++) {
        ExAcquireFastMutex(&fast);
        write_guarded();
        ExReleaseFastMutex(&fast);
    }
}

TEST(fast_mutex_excludes)
{
    contend(fast_prepare, fast_body, all_wrote);
}

/* ---- ExAcquireResourceExclusiveLite and the three ways to share ---- */

static ERESOURCE resource;

static void resource_prepare(void)
{
    ExInitializeResourceLite(&resource);
}

static void resource_body(void *unused)
{
    for (int i = 0; i < rounds; i++) {
        KeEnterCriticalRegion();
        if (i % 2)
            ExAcquireResourceSharedLite(&resource, TRUE);
        else
            ExAcquireSharedStarveExclusive(&resource, TRUE);
        read_guarded();
        ExReleaseResourceLite(&resource);
        ExAcquireResourceExclusiveLite(&resource, TRUE);
        write_guarded();
        ExReleaseResourceLite(&resource);
        KeLeaveCriticalRegion();
    }
}

static void resource_finish(void)
{
    all_wrote();
    ExDeleteResourceLite(&resource);
}

TEST(resource_excludes)
{
    contend(resource_prepare, resource_body, resource_finish);
}

/* ---- ExAcquirePushLockShared, ExAcquirePushLockExclusive ---- */

static EX_PUSH_LOCK push;

static void push_prepare(void)
{
    ExInitializePushLock(&push);
}

static void push_body(void *unused)
{
    for (int i = 0; i < rounds; i++) {
        KeEnterCriticalRegion();
        ExAcquirePushLockShared(&push);
        read_guarded();
        ExReleasePushLockShared(&push);
        ExAcquirePushLockExclusive(&push);
        write_guarded();
        ExReleasePushLockExclusive(&push);
        KeLeaveCriticalRegion();
    }
}

TEST(push_lock_excludes)
{
    contend(push_prepare, push_body, all_wrote);
}

/* ---- KeReleaseSemaphore ---- */

static KSEMAPHORE semaphore;

static void semaphore_prepare(void)
{
    KeInitializeSemaphore(&semaphore, 2, 2);
}

static void semaphore_body(void *unused)
{
    for (int i = 0; i < rounds; i++) {
        KeWaitForSingleObject(&semaphore, Executive, KernelMode, FALSE, NULL);
        CHECK(++inside <= 2);
        nth_point();
        inside--;
        KeReleaseSemaphore(&semaphore, 0, 1, FALSE);
    }
}

TEST(semaphore_admits_its_count)
{
    contend(semaphore_prepare, semaphore_body, nothing);
}

/* ---- "Run-Down Protection": while it is down nobody is inside ---- */

static EX_RUNDOWN_REF reference;
static PEX_RUNDOWN_REF_CACHE_AWARE aware;

static void rundown_prepare(void)
{
    ExInitializeRundownProtection(&reference);
}

static void run_inside(void)
{
    inside++;
    CHECK(!run_down);
    nth_point();
    inside--;
}

static void see_run_down(void)
{
    run_down = 1;
    CHECK_EQ(inside, 0);
    nth_point();
    run_down = 0;
}

static void rundown_body(void *index)
{
    for (int i = 0; i < rounds; i++) {
        if (index && ExAcquireRundownProtection(&reference)) {
            run_inside();
            ExReleaseRundownProtection(&reference);
        } else if (!index && i % 16 == 0) {
            ExWaitForRundownProtectionRelease(&reference);
            see_run_down();
            ExReInitializeRundownProtection(&reference);
        }
        nth_yield();
    }
}

TEST(rundown_waits_for_everybody)
{
    contend(rundown_prepare, rundown_body, nothing);
}

static void aware_prepare(void)
{
    aware = ExAllocateCacheAwareRundownProtection(NonPagedPoolNx, 1);
    CHECK(aware);
}

/* Released on another processor than it was acquired on. */
static void aware_body(void *index)
{
    for (int i = 0; i < rounds; i++) {
        if (index && ExAcquireRundownProtectionCacheAware(aware)) {
            inside++;
            CHECK(!run_down);
            nth_cpu_pin((int)((i + (long)index) % nth_cpu_count()));
            inside--;
            ExReleaseRundownProtectionCacheAware(aware);
            nth_cpu_pin(-1);
        } else if (!index && i % 16 == 0) {
            ExWaitForRundownProtectionReleaseCacheAware(aware);
            see_run_down();
            ExReInitializeRundownProtectionCacheAware(aware);
        }
        nth_yield();
    }
}

static void aware_finish(void)
{
    ExFreeCacheAwareRundownProtection(aware);
}

TEST(rundown_cache_aware_waits_for_everybody)
{
    contend(aware_prepare, aware_body, aware_finish);
}

/* ---- KeSetEvent on a synchronisation event: each set satisfies one wait ---- */

static KEVENT turns[2], all_done;

static void event_prepare(void)
{
    KeInitializeEvent(&turns[0], SynchronizationEvent, FALSE);
    KeInitializeEvent(&turns[1], SynchronizationEvent, FALSE);
    KeInitializeEvent(&all_done, NotificationEvent, FALSE);
}

static void event_body(void *index)
{
    void *objects[2] = {&turns[0], &all_done};

    if (!index) {
        for (int i = 0; i < rounds; i++) {
            KeSetEvent(&turns[0], 0, FALSE);
            KeWaitForSingleObject(&turns[1], Executive, KernelMode, FALSE, NULL);
        }
        KeSetEvent(&all_done, 0, FALSE);
        return;
    }
    while (KeWaitForMultipleObjects(2, objects, WaitAny, Executive, KernelMode, FALSE, NULL,
                                    NULL) == STATUS_WAIT_0) {
        write_guarded();
        KeSetEvent(&turns[1], 0, FALSE);
    }
}

static void event_finish(void)
{
    CHECK_EQ(guarded, rounds);
}

TEST(event_set_satisfies_one_wait)
{
    contend(event_prepare, event_body, event_finish);
}

/* ---- timers and DPCs from all sides ---- */

static KDPC dpcs[THREADS];
static KTIMER timers[THREADS];
static _Atomic long ran;

static VOID NTAPI count_run(PKDPC dpc, PVOID context, PVOID argument1, PVOID argument2)
{
    CHECK_EQ(KeGetCurrentIrql(), DISPATCH_LEVEL);
    ran++;
}

static void dpc_prepare(void)
{
    ran = 0;
    for (int i = 0; i < THREADS; i++) {
        KeInitializeDpc(&dpcs[i], count_run, NULL);
        KeSetTargetProcessorDpc(&dpcs[i], (CCHAR)(i % (int)nth_cpu_count()));
        KeInitializeTimer(&timers[i]);
    }
}

/* KeFlushQueuedDpcs: after it, what was queued before has run; so the DPCs may go away. */
static void dpc_body(void *index)
{
    const long me = (long)index;

    for (int i = 0; i < rounds / 4; i++) {
        const LARGE_INTEGER due = {.QuadPart = -(i % 5) * 1000};
        KeInsertQueueDpc(&dpcs[(me + i) % THREADS], NULL, NULL);
        KeSetTimer(&timers[me], due, &dpcs[me]);
        if (i % 3 == 0)
            KeCancelTimer(&timers[me]);
        if (i % 7 == 0)
            KeRemoveQueueDpc(&dpcs[me]);
        if (i % 16 == 0)
            KeFlushQueuedDpcs();
    }
    KeCancelTimer(&timers[me]);
}

static void dpc_finish(void)
{
    KeFlushQueuedDpcs();
    CHECK(ran > 0);
    nth_active_check(dpcs, sizeof(dpcs));
    nth_active_check(timers, sizeof(timers));
}

TEST(dpcs_and_timers_from_all_sides)
{
    contend(dpc_prepare, dpc_body, dpc_finish);
}

/* ---- pool from all sides ---- */

static void pool_body(void *index)
{
    for (int i = 0; i < rounds / 4; i++) {
        char *blocks[8];
        for (int j = 0; j < 8; j++) {
            blocks[j] = ExAllocatePool2(POOL_FLAG_NON_PAGED, (SIZE_T)(1 + 97 * j + i % 50), 1);
            CHECK(blocks[j] && blocks[j][0] == 0);
            blocks[j][0] = (char)j;
        }
        for (int j = 0; j < 8; j++)
            ExFreePool(blocks[j]);
    }
}

TEST(pool_from_all_sides)
{
    contend(nothing, pool_body, nothing);
}

/* ---- who waits behind whom ---- */

static _Atomic int writer_done, reader_done;

static void write_resource(void *unused)
{
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&resource, TRUE);
    writer_done++;
    CHECK_EQ(reader_done, 0);
    ExReleaseResourceLite(&resource);
    KeLeaveCriticalRegion();
}

static void read_resource(void *unused)
{
    KeEnterCriticalRegion();
    CHECK(!ExAcquireResourceSharedLite(&resource, FALSE)); /* a writer waits */
    CHECK(ExAcquireSharedStarveExclusive(&resource, FALSE));
    ExReleaseResourceLite(&resource);
    ExAcquireResourceSharedLite(&resource, TRUE);
    CHECK_EQ(writer_done, 1);
    reader_done++;
    ExReleaseResourceLite(&resource);
    KeLeaveCriticalRegion();
}

/* ExAcquireResourceSharedLite: the caller waits when there is an exclusive waiter, unless it has
 * the resource already; ExAcquireSharedStarveExclusive does not. */
TEST(resource_reader_waits_behind_writer)
{
    const struct nth_config config = {.mode = NTH_SERIAL};

    nth_boot(&config);
    ExInitializeResourceLite(&resource);
    KeEnterCriticalRegion();
    ExAcquireResourceSharedLite(&resource, TRUE);
    struct nth_thread *writer = nth_spawn("writer", write_resource, NULL);
    nth_settle();
    struct nth_thread *reader = nth_spawn("reader", read_resource, NULL);
    nth_settle();
    CHECK(writer_done == 0 && reader_done == 0);
    CHECK(ExAcquireResourceSharedLite(&resource, FALSE)); /* its own, again */
    ExReleaseResourceLite(&resource);
    ExReleaseResourceLite(&resource);
    KeLeaveCriticalRegion();
    nth_join(writer);
    nth_join(reader);
    CHECK_EQ(reader_done, 1);
    ExDeleteResourceLite(&resource);
    nth_shutdown();
}

static void wait_all_of_both(void *objects)
{
    KeWaitForMultipleObjects(2, objects, WaitAll, Executive, KernelMode, FALSE, NULL, NULL);
    writer_done++;
}

/* KeWaitForMultipleObjects, WaitAll: nothing is taken until everything can be. */
TEST(wait_for_all_takes_nothing_early)
{
    const struct nth_config config = {.mode = NTH_SERIAL};
    void *objects[2] = {&turns[0], &turns[1]};

    nth_boot(&config);
    event_prepare();
    struct nth_thread *waiter = nth_spawn("waiter", wait_all_of_both, objects);
    nth_settle();
    KeSetEvent(&turns[0], 0, FALSE);
    nth_settle();
    CHECK(KeReadStateEvent(&turns[0]) && writer_done == 0);
    CHECK_EQ(KeWaitForSingleObject(&turns[0], Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    KeSetEvent(&turns[1], 0, FALSE);
    nth_settle();
    CHECK_EQ(writer_done, 0);
    KeSetEvent(&turns[0], 0, FALSE);
    nth_join(waiter);
    CHECK(!KeReadStateEvent(&turns[0]) && !KeReadStateEvent(&turns[1]));
    nth_shutdown();
}

static void wait_in_order(void *index)
{
    KeWaitForSingleObject(&turns[0], Executive, KernelMode, FALSE, NULL);
    guarded = guarded * 10 + (long)index;
}

/* KeSetEvent: a synchronisation event satisfies one wait; a notification event all of them. */
TEST(event_kinds_satisfy_one_or_all)
{
    const struct nth_config config = {.mode = NTH_SERIAL};
    struct nth_thread *threads[3];

    nth_boot(&config);
    event_prepare();
    for (long i = 0; i < 3; i++)
        threads[i] = nth_spawn("waiter", wait_in_order, (void *)(i + 1));
    nth_settle();
    KeSetEvent(&turns[0], 0, FALSE);
    nth_settle();
    CHECK_EQ(guarded, 1);
    KeSetEvent(&turns[0], 0, FALSE);
    KeSetEvent(&turns[0], 0, FALSE);
    nth_settle();
    CHECK_EQ(guarded, 123);
    for (int i = 0; i < 3; i++)
        nth_join(threads[i]);
    guarded = 0;
    KeInitializeEvent(&turns[0], NotificationEvent, FALSE);
    for (long i = 0; i < 3; i++)
        threads[i] = nth_spawn("waiter", wait_in_order, (void *)(i + 1));
    nth_settle();
    KeSetEvent(&turns[0], 0, FALSE);
    for (int i = 0; i < 3; i++)
        nth_join(threads[i]);
    CHECK_EQ(guarded, 123);
    nth_shutdown();
}
