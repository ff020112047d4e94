/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Threads, schedules, processors and the clock: what core.h and nthost.h promise of them.
 */
#include "check.h"
#include "nt/nt.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void boot(enum nth_mode mode, uint32_t seed, unsigned processors)
{
    const struct nth_config config = {.mode = mode, .seed = seed, .processors = processors};

    nth_boot(&config);
}

/* ---- schedules ---- */

enum { STEPS = 40, RUNNERS = 4 };

static char order[STEPS * RUNNERS + 1];
static unsigned steps;

static void run_steps(void *name)
{
    for (int i = 0; i < STEPS; i++) {
        order[steps++] = *(const char *)name;
        nth_point();
    }
}

static void run_schedule(uint32_t seed, char *result)
{
    struct nth_thread *threads[RUNNERS];

    steps = 0;
    boot(NTH_SERIAL, seed, 0);
    for (int i = 0; i < RUNNERS; i++)
        threads[i] = nth_spawn("runner", run_steps, (void *)&"ABCD"[i]);
    for (int i = 0; i < RUNNERS; i++)
        nth_join(threads[i]);
    nth_shutdown();
    CHECK_EQ(steps, STEPS * RUNNERS);
    memcpy(result, order, sizeof(order));
}

/* nthost.h: a failing seed replays: the same seed gives the same schedule. */
TEST(schedule_same_seed_is_the_same)
{
    char first[sizeof(order)], second[sizeof(order)];

    for (uint32_t seed = 1; seed < 20; seed++) {
        run_schedule(seed, first);
        run_schedule(seed, second);
        CHECK_STR(first, second);
    }
}

/* Different seeds explore different schedules. */
TEST(schedule_other_seed_is_another)
{
    char first[sizeof(order)], second[sizeof(order)];
    int different = 0;

    for (uint32_t seed = 1; seed < 10; seed++) {
        run_schedule(seed, first);
        run_schedule(seed + 100, second);
        different += strcmp(first, second) != 0;
    }
    CHECK_EQ(different, 9);
}

/* nthost.h, seed 0: always the same thread until it blocks. */
TEST(schedule_without_seed_runs_until_blocked)
{
    char result[sizeof(order)];

    run_schedule(0, result);
    for (int i = 0; i < STEPS * RUNNERS; i++)
        CHECK_EQ(result[i], "ABCD"[i / STEPS]);
}

/* ---- park and unpark ---- */

static struct nth_thread *parked;
static _Atomic int woken;

static void park_three_times(void *unused)
{
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(nth_park(UINT64_MAX), 0);
        woken++;
    }
}

static void one_token_is_kept(enum nth_mode mode)
{
    boot(mode, 0, 0);
    nth_unpark(nth_self());
    nth_unpark(nth_self());
    CHECK_EQ(nth_park(nth_clock_ns() + 1000000), 0);
    CHECK_EQ(nth_park(nth_clock_ns() + 1000000), -ETIMEDOUT);
    parked = nth_spawn("parker", park_three_times, NULL);
    while (woken < 3) {
        const int before = woken;
        nth_unpark(parked);
        while (woken == before)
            nth_yield();
    }
    nth_join(parked);
    nth_shutdown();
}

/* core.h: an unpark before the park is kept, and only one. */
TEST(park_keeps_one_token_serial)
{
    one_token_is_kept(NTH_SERIAL);
}
TEST(park_keeps_one_token_parallel)
{
    one_token_is_kept(NTH_PARALLEL);
}

static void leave_by_exit(void *unused)
{
    woken = 1;
    nth_thread_exit();
}

/* core.h: nth_thread_exit ends the calling thread; nth_join waits for it. */
TEST(thread_exit_ends_the_thread)
{
    boot(NTH_SERIAL, 3, 0);
    nth_join(nth_spawn("leaver", leave_by_exit, NULL));
    CHECK_EQ(woken, 1);
    nth_shutdown();
}

static void do_nothing(void *unused) {}

/* core.h: every thread is joined or detached exactly once; many come and go. */
TEST(thread_many_come_and_go)
{
    for (int mode = 0; mode < 2; mode++) {
        boot(mode ? NTH_PARALLEL : NTH_SERIAL, 7, 0);
        for (int i = 0; i < 200; i++) {
            nth_thread_detach(nth_spawn("detached", do_nothing, NULL));
            nth_join(nth_spawn("joined", do_nothing, NULL));
        }
        nth_settle();
        nth_shutdown();
    }
}

/* ---- the clock ---- */

/* nthost.h: when every thread is blocked and one waits with a deadline, the clock moves there. */
TEST(clock_jumps_to_the_next_deadline)
{
    LARGE_INTEGER day = {.QuadPart = -24LL * 3600 * 10000000};
    const time_t real = time(NULL);

    boot(NTH_SERIAL, 0, 0);
    const uint64_t before = nth_clock_ns();
    CHECK_STATUS(KeDelayExecutionThread(KernelMode, FALSE, &day), STATUS_SUCCESS);
    CHECK(nth_clock_ns() - before >= 24ULL * 3600 * 1000000000);
    CHECK(time(NULL) - real < 10);
    nth_shutdown();
}

static void sleep_and_note(void *slot)
{
    LARGE_INTEGER time = {.QuadPart = -(LONGLONG)(*(uint64_t *)slot / 100)};

    KeDelayExecutionThread(KernelMode, FALSE, &time);
    *(uint64_t *)slot = nth_clock_ns();
}

/* nthost.h: nth_clock_advance moves the simulated clock; what is due on the way happens on time. */
TEST(clock_advance_passes_each_deadline)
{
    uint64_t slots[3] = {3000000, 1000000, 2000000};
    struct nth_thread *threads[3];

    boot(NTH_SERIAL, 0, 0);
    for (int i = 0; i < 3; i++)
        threads[i] = nth_spawn("sleeper", sleep_and_note, &slots[i]);
    nth_settle();
    const uint64_t start = nth_clock_ns();
    nth_clock_advance(2500000);
    CHECK(nth_clock_ns() >= start + 2500000 && nth_clock_ns() < start + 2600000);
    CHECK(slots[1] >= 1000000 && slots[1] < 1100000);
    CHECK(slots[2] >= 2000000 && slots[2] < 2100000);
    CHECK_EQ(slots[0], 3000000); /* still asleep */
    for (int i = 0; i < 3; i++)
        nth_join(threads[i]);
    nth_shutdown();
}

/* ---- in and out ---- */

static KEVENT event;

static void *visit(void *unused)
{
    usleep(20000);
    nth_enter("visitor");
    KeSetEvent(&event, 0, FALSE);
    nth_leave();
    return NULL;
}

static void outside_brings_work(enum nth_mode mode)
{
    pthread_t thread;

    boot(mode, 0, 0);
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    struct nth_thread *inside = nth_spawn("waiter", do_nothing, NULL);
    nth_join(inside);
    pthread_create(&thread, NULL, visit, NULL);
    nth_leave(); /* a thread outside: the machine idles, that is no deadlock */
    nth_enter("main");
    LARGE_INTEGER second = {.QuadPart = -10000000};
    while (!KeReadStateEvent(&event)) {
        nth_leave();
        usleep(1000);
        nth_enter("main");
    }
    CHECK_STATUS(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &second), 0);
    pthread_join(thread, NULL);
    nth_shutdown();
}

/* nthost.h: a host thread joins and leaves the machine. */
TEST(visitor_brings_work_serial)
{
    outside_brings_work(NTH_SERIAL);
}
TEST(visitor_brings_work_parallel)
{
    outside_brings_work(NTH_PARALLEL);
}

static void *stay_outside(void *release)
{
    nth_enter("outsider");
    nth_leave();
    while (!*(_Atomic int *)release)
        usleep(1000);
    return NULL;
}

/* With a thread outside, which may bring work, timeouts last as long as they say. */
TEST(visitor_outside_makes_time_real)
{
    _Atomic int release = 0;
    struct timespec a, b;
    pthread_t thread;
    LARGE_INTEGER time = {.QuadPart = -500000}; /* 50 ms */

    boot(NTH_SERIAL, 0, 0);
    pthread_create(&thread, NULL, stay_outside, &release);
    nth_leave();
    usleep(20000); /* it has been in and out */
    nth_enter("main");
    clock_gettime(CLOCK_MONOTONIC, &a);
    KeDelayExecutionThread(KernelMode, FALSE, &time);
    clock_gettime(CLOCK_MONOTONIC, &b);
    CHECK((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 >= 45);
    release = 1;
    pthread_join(thread, NULL);
    nth_shutdown();
}

/* ---- processors ---- */

static _Atomic int at_dispatch, most_at_dispatch;

static void stay_at_dispatch(void *unused)
{
    for (int i = 0; i < 200; i++) {
        const KIRQL irql = nth_irql_raise(DISPATCH_LEVEL);
        const unsigned cpu = nth_cpu_current();
        const int now = ++at_dispatch;
        if (now > most_at_dispatch)
            most_at_dispatch = now;
        for (int j = 0; j < 3; j++)
            nth_point();
        CHECK_EQ(nth_cpu_current(), cpu); /* KeGetCurrentProcessorNumberEx is stable there */
        at_dispatch--;
        nth_irql_lower(irql);
    }
}

static void only_so_many_at_dispatch(enum nth_mode mode, uint32_t seed)
{
    struct nth_thread *threads[6];

    boot(mode, seed, 3);
    for (int i = 0; i < 6; i++)
        threads[i] = nth_spawn("raiser", stay_at_dispatch, NULL);
    for (int i = 0; i < 6; i++)
        nth_join(threads[i]);
    CHECK(most_at_dispatch <= 3);
    nth_shutdown();
}

/* A processor runs one thread at DISPATCH_LEVEL: "Managing Hardware Priorities". */
TEST(processors_limit_threads_at_dispatch_seeded)
{
    only_so_many_at_dispatch(NTH_SERIAL, 11);
    CHECK(most_at_dispatch > 1);
}
TEST(processors_limit_threads_at_dispatch_parallel)
{
    only_so_many_at_dispatch(NTH_PARALLEL, 0);
}

static _Atomic int progress;

static void count_passive(void *unused)
{
    nth_cpu_pin(0);
    for (int i = 0; i < 1000; i++) {
        progress++;
        nth_point();
    }
}

/* A thread below DISPATCH_LEVEL does not run on a processor that is at DISPATCH_LEVEL, but may have
 * been preempted anywhere before. */
TEST(processors_dispatch_holds_off_passive_on_the_same)
{
    bool was_preempted = false;

    for (uint32_t seed = 1; seed <= 20; seed++) {
        progress = 0;
        boot(NTH_SERIAL, seed, 2);
        struct nth_thread *passive = nth_spawn("passive", count_passive, NULL);
        while (progress == 0)
            nth_yield();
        nth_cpu_pin(0);
        nth_irql_raise(DISPATCH_LEVEL);
        const int before = progress;
        was_preempted = was_preempted || (before > 0 && before < 1000);
        for (int i = 0; i < 500; i++)
            nth_point();
        CHECK_EQ(progress, before);
        nth_irql_lower(PASSIVE_LEVEL);
        nth_join(passive);
        CHECK_EQ(progress, 1000);
        nth_shutdown();
    }
    CHECK(was_preempted);
}

static VOID NTAPI note_dpc(PKDPC dpc, PVOID context, PVOID argument1, PVOID argument2)
{
    *(unsigned *)context = nth_cpu_current() + 1;
}

/* KeInsertQueueDpc: a DPC for another processor waits until that one is below DISPATCH_LEVEL. */
TEST(processors_dpc_waits_for_its_processor)
{
    unsigned ran_on = 0;
    PROCESSOR_NUMBER zero = {0};
    KDPC dpc;

    boot(NTH_SERIAL, 5, 2);
    KeInitializeDpc(&dpc, note_dpc, &ran_on);
    KeSetTargetProcessorDpcEx(&dpc, &zero);
    nth_cpu_pin(0);
    nth_irql_raise(DISPATCH_LEVEL);
    KeInsertQueueDpc(&dpc, NULL, NULL);
    for (int i = 0; i < 200; i++)
        nth_point();
    CHECK_EQ(ran_on, 0);
    nth_irql_lower(PASSIVE_LEVEL);
    CHECK_EQ(ran_on, 1);
    nth_shutdown();
}

/* ---- deadlock ---- */

static void wait_for_event(void *which)
{
    KeWaitForSingleObject(which, Executive, KernelMode, FALSE, NULL);
}

/* rules.def: every thread waits and nothing can wake one. */
TEST(deadlock_of_two_threads_stops)
{
    KEVENT other;

    boot(NTH_SERIAL, 0, 0);
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    KeInitializeEvent(&other, NotificationEvent, FALSE);
    nth_expect_stop("deadlock");
    nth_spawn("one", wait_for_event, &event);
    wait_for_event(&other);
}

static KSPIN_LOCK lock;

static void hold_and_wait_for_ever(void *unused)
{
    KeAcquireSpinLockRaiseToDpc(&lock);
    for (;;)
        nth_park(UINT64_MAX);
}

/* A spin lock whose holder never comes back. */
TEST(deadlock_on_spin_lock_stops)
{
    boot(NTH_SERIAL, 0, 0);
    KeInitializeSpinLock(&lock);
    nth_expect_stop("deadlock");
    nth_spawn("holder", hold_and_wait_for_ever, NULL);
    nth_settle();
    KeAcquireSpinLockRaiseToDpc(&lock);
}

static void stay_away(void *unused)
{
    nth_irql_raise(DISPATCH_LEVEL);
    for (;;)
        nth_park(UINT64_MAX);
}

/* All processors are taken by threads that wait at DISPATCH_LEVEL: nobody else ever runs. */
TEST(deadlock_of_processors_stops)
{
    boot(NTH_SERIAL, 0, 1);
    nth_expect_stop("deadlock");
    nth_spawn("hog", stay_away, NULL);
    nth_yield();
    nth_yield();
}

/* ---- speed: printed, and held to limits ten times as wide ---- */

static double seconds_of(void (*body)(void), unsigned count)
{
    struct timespec a, b;

    clock_gettime(CLOCK_MONOTONIC, &a);
    for (unsigned i = 0; i < count; i++)
        body();
    clock_gettime(CLOCK_MONOTONIC, &b);
    return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / count;
}

static void raise_and_lower(void)
{
    nth_irql_raise(DISPATCH_LEVEL);
    nth_irql_lower(PASSIVE_LEVEL);
}

static void lock_and_unlock(void)
{
    KeReleaseSpinLock(&lock, KeAcquireSpinLockRaiseToDpc(&lock));
}

static void set_and_clear(void)
{
    KeSetEvent(&event, 0, FALSE);
    KeClearEvent(&event);
}

TEST(speed_of_uncontended_calls)
{
    const struct nth_config config = {.mode = NTH_PARALLEL, .relaxed_memory = true};

    nth_boot(&config);
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    KeInitializeSpinLock(&lock);
    const double irql = seconds_of(raise_and_lower, 1000000);
    const double spin = seconds_of(lock_and_unlock, 1000000);
    const double set = seconds_of(set_and_clear, 1000000);
    printf("raise and lower %.0f ns, spin lock %.0f ns, set and clear event %.0f ns\n", irql, spin,
           set);
#if !defined(NTH_ASAN) && !defined(NTH_TSAN)
    CHECK(irql < 200 && spin < 500 && set < 1000);
#endif
    nth_shutdown();
}
