/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The scheduler of NTH_SERIAL: one baton, handed on where a thread parks, ends, leaves, or where
 * the seed says so. The same seed gives the same schedule as long as no thread comes from outside.
 * The clock is virtual: it creeps at every kernel call, so that bounded spins end, and jumps to the
 * next deadline when nobody can run. With a thread outside (it may bring work) it follows real time
 * instead, and nothing is called a deadlock.
 */
#include "core/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CREEP_NS = 50,
    MEAN_TURN = 8,        /* kernel calls a thread gets before another may run, with a seed */
    LONGEST_TURN = 20000, /* without one: who only polls must let others make it true */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct nth_thread *threads, *running;
/* Written by who has the baton; a thread that ends outside takes itself out, with the lock alone.
 */
static struct nth_thread *_Atomic last_ran;
static unsigned outside, spinning;
static uint64_t random_state, turns, idle_since_ns, idle_clock;
static bool is_seeded, is_stopping;
static int turn_left;
static _Atomic uint64_t clock_ns, next_deadline = NTH_NEVER;
static pthread_t keeper;
static bool has_keeper;
static pthread_cond_t keeper_wakes;

void (*nth_switch_hook)(void *nt_object);

/* splitmix64 */
static uint64_t random_next(void)
{
    uint64_t z = random_state += 0x9E3779B97F4A7C15U;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
    z = (z ^ z >> 27) * 0x94D049BB133111EBU;
    return z ^ z >> 31;
}

uint64_t nth_serial_clock(void)
{
    return atomic_load_explicit(&clock_ns, memory_order_relaxed);
}

static void set_clock(uint64_t ns)
{
    atomic_store_explicit(&clock_ns, ns, memory_order_relaxed);
}

/* ---- under the lock ---- */

static void make_ready(struct nth_thread *thread)
{
    thread->state = THREAD_READY;
    thread->deadline = NTH_NEVER;
    thread->turn = ++turns;
}

static void find_next_deadline(void)
{
    uint64_t next = NTH_NEVER;

    for (const struct nth_thread *t = threads; t; t = t->next)
        if (t->deadline < next)
            next = t->deadline;
    atomic_store_explicit(&next_deadline, next, memory_order_relaxed);
}

static void wake_expired(void)
{
    for (struct nth_thread *t = threads; t; t = t->next)
        if (t->state == THREAD_PARKED && t->deadline <= nth_serial_clock()) {
            t->has_timed_out = true;
            make_ready(t);
        }
    find_next_deadline();
}

static bool can_run(const struct nth_thread *thread)
{
    return thread->state == THREAD_READY && nth_cpu_for(thread, thread->cpu) >= 0;
}

static struct nth_thread *pick_ready(void)
{
    struct nth_thread *best = NULL;
    unsigned count = 0;

    for (struct nth_thread *t = threads; t; t = t->next) {
        if (!can_run(t))
            continue;
        count++;
        if (is_seeded ? random_next() % count == 0 : !best || t->turn < best->turn)
            best = t;
    }
    return best;
}

static struct nth_thread *pick_settling(void)
{
    for (struct nth_thread *t = threads; t; t = t->next)
        if (t->state == THREAD_SETTLING && nth_cpu_for(t, t->cpu) >= 0)
            return t;
    return NULL;
}

static _Noreturn void deadlock(void)
{
    char text[2048];
    size_t used = 0;

    text[0] = '\0';
    for (const struct nth_thread *t = threads; t && used < sizeof(text) - 1; t = t->next) {
        if (t->is_service && !t->waits_in) /* idle, and not inside a driver's routine */
            continue;
        const char *const where =
            t->waits_at && nth_symbol_hook ? nth_symbol_hook(t->waits_at) : "";
        used += (size_t)snprintf(text + used, sizeof(text) - used,
                                 "\n  %s (%u) at IRQL %u %s%s%s %s", t->name, t->id, t->irql,
                                 t->state == THREAD_SPINNING ? "spins"
                                 : t->state == THREAD_READY  ? "has no processor"
                                                             : "waits",
                                 t->waits_in ? " in " : "", t->waits_in ? t->waits_in : "", where);
    }
    pthread_mutex_unlock(&lock);
    nth_stop("deadlock", "no thread can run:%s", text);
}

/* Moves the clock when nobody can run. True when that may have made somebody ready. */
static bool pass_time(void)
{
    const uint64_t next = atomic_load_explicit(&next_deadline, memory_order_relaxed);

    if (next == NTH_NEVER)
        return false;
    if (outside) {
        const uint64_t now = idle_clock + (nth_monotonic_ns() - idle_since_ns);
        if (now > nth_serial_clock())
            set_clock(now);
        if (now < next)
            return false;
    } else if (next > nth_serial_clock()) {
        set_clock(next);
    }
    wake_expired();
    return true;
}

static bool has_work_left(void)
{
    for (const struct nth_thread *t = threads; t; t = t->next)
        if (!t->is_service && t->state != THREAD_OUTSIDE)
            return true;
    return false;
}

/* Gives the baton to somebody, or to nobody; then whoever makes a thread ready calls again. */
static void dispatch(void)
{
    struct nth_thread *next;

    __atomic_store_n(&running, NULL, __ATOMIC_RELAXED);
    for (;;) {
        next = pick_ready();
        if (!next)
            next = pick_settling();
        if (next)
            break;
        if (idle_since_ns == 0) {
            idle_since_ns = nth_monotonic_ns();
            idle_clock = nth_serial_clock();
        }
        if (pass_time())
            continue;
        if (!outside && !is_stopping && has_work_left())
            deadlock();
        if (has_keeper)
            pthread_cond_signal(&keeper_wakes);
        return;
    }
    idle_since_ns = 0;
    const unsigned first = is_seeded ? (unsigned)random_next() % nth_cpu_count() : next->cpu;
    next->cpu = (unsigned)nth_cpu_for(next, first);
    next->state = THREAD_RUNNING;
    __atomic_store_n(&running, next, __ATOMIC_RELAXED); /* nth_serial_is_running looks without it */
    turn_left = is_seeded ? (int)(random_next() % (2 * MEAN_TURN)) : LONGEST_TURN;
    atomic_store(&next->go, 1);
    if (next != nth_thread_self)
        nth_futex_wake(&next->go, 1);
}

/* ---- giving the baton away and getting it ---- */

/* Enters with the lock, leaves without it and with the baton. */
static void wait_turn(struct nth_thread *self)
{
    pthread_mutex_unlock(&lock);
    while (atomic_load(&self->go) == 0)
        nth_futex_wait(&self->go, 0, NTH_NEVER);
    atomic_store(&self->go, 0);
    if (last_ran != self) {
        last_ran = self;
        if (nth_switch_hook)
            nth_switch_hook(self->nt);
        if (nth_level_hook)
            nth_level_hook(self->irql >= DISPATCH_LEVEL);
    }
}

static void give_way(struct nth_thread *self)
{
    dispatch();
    wait_turn(self);
}

static void link_thread(struct nth_thread *thread)
{
    struct nth_thread **end = &threads;

    while (*end)
        end = &(*end)->next;
    thread->next = NULL;
    *end = thread;
}

static void unlink_thread(struct nth_thread *thread)
{
    struct nth_thread **at = &threads;

    while (*at && *at != thread)
        at = &(*at)->next;
    if (*at)
        *at = thread->next;
    struct nth_thread *gone = thread;
    atomic_compare_exchange_strong(&last_ran, &gone, NULL);
}

void nth_serial_add(struct nth_thread *thread)
{
    pthread_mutex_lock(&lock);
    link_thread(thread);
    make_ready(thread);
    if (!running)
        dispatch();
    pthread_mutex_unlock(&lock);
}

void nth_serial_start(struct nth_thread *thread)
{
    pthread_mutex_lock(&lock);
    wait_turn(thread);
}

void nth_serial_end(struct nth_thread *thread)
{
    pthread_mutex_lock(&lock);
    unlink_thread(thread);
    dispatch();
    pthread_mutex_unlock(&lock);
}

/* Waits in real time for deadlines while the machine idles with threads outside. */
static void *keep_time(void *unused)
{
    pthread_mutex_lock(&lock);
    while (!is_stopping) {
        const uint64_t next = atomic_load_explicit(&next_deadline, memory_order_relaxed);
        if (running || next == NTH_NEVER || idle_since_ns == 0) {
            pthread_cond_wait(&keeper_wakes, &lock);
            continue;
        }
        const uint64_t until = idle_since_ns + (next > idle_clock ? next - idle_clock : 0);
        const struct timespec t = {.tv_sec = (time_t)(until / 1000000000U),
                                   .tv_nsec = (long)(until % 1000000000U)};
        if (nth_monotonic_ns() < until)
            pthread_cond_timedwait(&keeper_wakes, &lock, &t);
        else
            dispatch();
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void keeper_start(void)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&keeper_wakes, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&keeper, NULL, keep_time, NULL) != 0)
        nth_fail("no thread for the clock");
    has_keeper = true;
}

void nth_serial_leave(struct nth_thread *thread)
{
    pthread_mutex_lock(&lock);
    if (!has_keeper)
        keeper_start();
    thread->state = THREAD_OUTSIDE;
    outside++;
    dispatch();
    pthread_mutex_unlock(&lock);
}

void nth_serial_enter(struct nth_thread *thread)
{
    pthread_mutex_lock(&lock);
    bool is_known = false;
    for (const struct nth_thread *t = threads; t; t = t->next)
        is_known = is_known || t == thread;
    if (is_known)
        outside--;
    else
        link_thread(thread);
    make_ready(thread);
    if (!running)
        dispatch();
    wait_turn(thread);
}

void nth_serial_forget(struct nth_thread *thread)
{
    pthread_mutex_lock(&lock);
    outside--;
    unlink_thread(thread);
    if (!running)
        dispatch();
    pthread_mutex_unlock(&lock);
}

/* ---- verbs ---- */

int nth_serial_park(struct nth_thread *self, uint64_t deadline)
{
    pthread_mutex_lock(&lock);
    if (atomic_exchange(&self->token, 0) == 1) {
        pthread_mutex_unlock(&lock);
        return 0;
    }
    self->waits_in = nth_call_name();
    self->waits_at = nth_call_site();
    self->has_timed_out = false;
    self->state = THREAD_PARKED;
    self->deadline = deadline;
    if (deadline < atomic_load_explicit(&next_deadline, memory_order_relaxed))
        atomic_store_explicit(&next_deadline, deadline, memory_order_relaxed);
    if (deadline <= nth_serial_clock())
        wake_expired();
    give_way(self);
    return atomic_exchange(&self->token, 0) == 1 || !self->has_timed_out ? 0 : -ETIMEDOUT;
}

void nth_serial_unpark(struct nth_thread *thread)
{
    pthread_mutex_lock(&lock);
    atomic_store(&thread->token, 1);
    if (thread->state == THREAD_PARKED) {
        make_ready(thread);
        find_next_deadline();
        if (!running)
            dispatch();
    }
    pthread_mutex_unlock(&lock);
}

void nth_serial_yield(struct nth_thread *self)
{
    pthread_mutex_lock(&lock);
    make_ready(self);
    give_way(self);
}

void nth_serial_point(struct nth_thread *self)
{
    const uint64_t now = nth_serial_clock() + CREEP_NS;

    set_clock(now);
    if (now >= atomic_load_explicit(&next_deadline, memory_order_relaxed)) {
        pthread_mutex_lock(&lock);
        wake_expired();
        pthread_mutex_unlock(&lock);
    }
    if (--turn_left >= 0)
        return;
    nth_serial_yield(self);
}

void nth_serial_settle(struct nth_thread *self)
{
    pthread_mutex_lock(&lock);
    self->state = THREAD_SETTLING;
    give_way(self);
}

void nth_serial_spin_wait(struct nth_thread *self, const void *key)
{
    pthread_mutex_lock(&lock);
    self->waits_in = nth_call_name();
    self->waits_at = nth_call_site();
    self->spin_key = key;
    self->state = THREAD_SPINNING;
    spinning++;
    give_way(self);
}

void nth_serial_spin_wake(const void *key)
{
    pthread_mutex_lock(&lock);
    for (struct nth_thread *t = threads; t && spinning; t = t->next)
        if (t->state == THREAD_SPINNING && t->spin_key == key) {
            spinning--;
            make_ready(t);
        }
    if (!running)
        dispatch();
    pthread_mutex_unlock(&lock);
}

/* Deadline by deadline, so that what each wakes runs at its own time. */
void nth_serial_advance(struct nth_thread *self, uint64_t ns)
{
    const uint64_t target = nth_serial_clock() + ns;

    for (;;) {
        pthread_mutex_lock(&lock);
        const uint64_t next = atomic_load_explicit(&next_deadline, memory_order_relaxed);
        const bool is_last = next > target;
        if (nth_serial_clock() < (is_last ? target : next))
            set_clock(is_last ? target : next);
        wake_expired();
        self->state = THREAD_SETTLING;
        give_way(self);
        if (is_last)
            return;
    }
}

bool nth_serial_hold_running(pthread_t *thread, unsigned *id, uint64_t *progress)
{
    pthread_mutex_lock(&lock);
    if (!running) {
        pthread_mutex_unlock(&lock);
        return false;
    }
    *thread = running->pthread;
    *id = running->id;
    *progress = nth_serial_clock() + turns; /* each kernel call and each turn moves one of them */
    return true;
}

void nth_serial_let_go(void)
{
    pthread_mutex_unlock(&lock);
}

/* Of the calling thread: true stays true until it gives the baton away itself. */
bool nth_serial_is_running(const struct nth_thread *thread)
{
    return __atomic_load_n(&running, __ATOMIC_RELAXED) == thread;
}

void nth_serial_boot(uint32_t seed)
{
    is_seeded = seed != 0;
    random_state = seed;
    is_stopping = has_keeper = false;
    threads = running = NULL;
    last_ran = NULL;
    outside = spinning = 0;
    idle_since_ns = 0;
    atomic_store(&next_deadline, NTH_NEVER);
    set_clock(0);
    nth_preempt_boot();
}

void nth_serial_shutdown(void)
{
    nth_preempt_shutdown();
    pthread_mutex_lock(&lock);
    is_stopping = true;
    if (has_keeper)
        pthread_cond_signal(&keeper_wakes);
    pthread_mutex_unlock(&lock);
    if (has_keeper)
        pthread_join(keeper, NULL);
}
