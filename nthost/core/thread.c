/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Threads of the machine: birth, end, joining the machine from Linux and leaving it, parking. Which
 * thread runs is decided in serial.c, or by Linux in NTH_PARALLEL. Nothing here knows an NT object.
 */
#include "core/thread.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { STACK_BYTES = 1024 * 1024 };

__thread struct nth_thread *nth_thread_self;
__thread unsigned nth_locks_held;

/* A thread that Linux made keeps its structure here while it is outside the machine. */
static __thread struct nth_thread *visitor;
static pthread_key_t visitor_key;
static pthread_once_t visitor_once = PTHREAD_ONCE_INIT;
static _Atomic unsigned last_id;
static uint64_t boot_ns;

/* Signal stack and GS base of a new thread; the PE layer has it. */
void nth_pe_thread_init(void) __attribute__((weak));
void nth_pe_thread_changed(void) __attribute__((weak));

/* ---- Linux underneath ---- */

uint64_t nth_monotonic_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

int nth_futex_wait(_Atomic unsigned *word, unsigned value, uint64_t deadline)
{
    const struct timespec until = {.tv_sec = (time_t)(deadline / 1000000000U),
                                   .tv_nsec = (long)(deadline % 1000000000U)};
    const long result =
        syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value,
                deadline == NTH_NEVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
    return result < 0 && errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

void nth_futex_wake(_Atomic unsigned *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

void nth_lock(struct nth_mutex *mutex)
{
    pthread_mutex_lock(&mutex->m);
    nth_locks_held++;
}

void nth_unlock(struct nth_mutex *mutex)
{
    nth_locks_held--;
    pthread_mutex_unlock(&mutex->m);
}

uint64_t nth_clock_ns(void)
{
    return is_serial() ? nth_serial_clock() : nth_monotonic_ns() - boot_ns;
}

void nth_clock_advance(uint64_t ns)
{
    if (is_serial()) {
        nth_serial_advance(nth_thread_self, ns);
        return;
    }
    const struct timespec t = {.tv_sec = (time_t)(ns / 1000000000U),
                               .tv_nsec = (long)(ns % 1000000000U)};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

/* ---- who is who ---- */

struct nth_thread *nth_self(void)
{
    return nth_thread_self;
}

const char *nth_thread_name(const struct nth_thread *thread)
{
    return thread ? thread->name : "outside";
}

unsigned nth_thread_id(const struct nth_thread *thread)
{
    return thread ? thread->id : 0;
}

void *nth_thread_nt(struct nth_thread *thread)
{
    return thread ? thread->nt : NULL;
}

void nth_thread_set_nt(struct nth_thread *thread, void *object)
{
    thread->nt = object;
    if (thread == nth_thread_self && nth_pe_thread_changed)
        nth_pe_thread_changed();
}

/* ---- birth and end ---- */

static struct nth_thread *thread_new(const char *name)
{
    struct nth_thread *thread = calloc(1, sizeof(*thread));

    if (!thread)
        nth_fail("no memory for a thread");
    snprintf(thread->name, sizeof(thread->name), "%s", name ? name : "thread");
    thread->id = atomic_fetch_add(&last_id, 1) + 1;
    thread->cpu = (thread->id - 1) % nth_cpu_count();
    thread->affinity = UINT64_MAX;
    thread->deadline = NTH_NEVER;
    return thread;
}

static void thread_finish(struct nth_thread *thread)
{
    if (thread->irql != PASSIVE_LEVEL)
        nth_stop("callout-irql", "thread %s ends at IRQL %u", thread->name, thread->irql);
    const int before = atomic_exchange(&thread->life, THREAD_ENDED);
    struct nth_thread *joiner = atomic_load(&thread->joiner);
    if (joiner)
        nth_unpark(joiner); /* it still joins our pthread, so it outlives this call */
    if (is_serial())
        nth_serial_end(thread);
    nth_thread_self = NULL;
    if (before == THREAD_DETACHED) {
        pthread_detach(pthread_self());
        free(thread);
    }
}

static void *thread_main(void *argument)
{
    struct nth_thread *const thread = argument;

    nth_thread_self = thread;
    if (nth_pe_thread_init)
        nth_pe_thread_init();
    if (is_serial())
        nth_serial_start(thread);
    if (_setjmp(thread->end) == 0)
        thread->run(thread->context);
    thread_finish(thread);
    return NULL;
}

static struct nth_thread *thread_launch(const char *name, void (*run)(void *), void *context,
                                        void *nt_object, bool is_service)
{
    struct nth_thread *thread = thread_new(name);
    pthread_attr_t attributes;

    thread->run = run;
    thread->context = context;
    thread->nt = nt_object;
    thread->is_made = true;
    thread->is_service = is_service;
    if (is_serial())
        nth_serial_add(thread);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    const int error = pthread_create(&thread->pthread, &attributes, thread_main, thread);
    pthread_attr_destroy(&attributes);
    if (error)
        nth_fail("pthread_create for %s: %s", name, strerror(error));
    return thread;
}

struct nth_thread *nth_thread_create(const char *name, void (*run)(void *), void *context,
                                     void *nt_object)
{
    return thread_launch(name, run, context, nt_object, false);
}

struct nth_thread *nth_service_create(const char *name, void (*run)(void *), void *context)
{
    return thread_launch(name, run, context, NULL, true);
}

struct nth_thread *nth_spawn(const char *name, void (*run)(void *context), void *context)
{
    return nth_thread_create(name, run, context, NULL);
}

/* The structure is freed by whoever comes second, the end of the thread or its detaching. */
void nth_thread_detach(struct nth_thread *thread)
{
    if (atomic_exchange(&thread->life, THREAD_DETACHED) != THREAD_ENDED)
        return;
    pthread_join(thread->pthread, NULL);
    free(thread);
}

void nth_join(struct nth_thread *thread)
{
    atomic_store(&thread->joiner, nth_thread_self);
    while (atomic_load(&thread->life) != THREAD_ENDED)
        nth_park(NTH_NEVER);
    pthread_join(thread->pthread, NULL);
    free(thread);
}

/* A jump and not pthread_exit: that one would unwind through frames of a driver. */
void nth_thread_exit(void)
{
    struct nth_thread *const self = nth_thread_self;

    if (!self || !self->is_made)
        nth_fail("nth_thread_exit on a thread that the machine did not make");
    _longjmp(self->end, 1);
}

/* ---- in and out ---- */

static void visitor_gone(void *argument)
{
    struct nth_thread *thread = argument;

    if (nth_thread_self == thread) {
        if (is_serial())
            nth_serial_end(thread);
        nth_thread_self = NULL;
    } else if (is_serial()) {
        nth_serial_forget(thread);
    }
    free(thread);
}

static void visitor_key_make(void)
{
    pthread_key_create(&visitor_key, visitor_gone);
}

void nth_enter(const char *name)
{
    if (nth_thread_self)
        nth_fail("nth_enter(%s): thread %s is inside already", name, nth_thread_self->name);
    struct nth_thread *thread = visitor;
    if (!thread) {
        thread = visitor = thread_new(name);
        thread->pthread = pthread_self();
        thread->state = THREAD_OUTSIDE;
        pthread_once(&visitor_once, visitor_key_make);
        pthread_setspecific(visitor_key, thread);
        nth_thread_self = thread;
        if (nth_pe_thread_init)
            nth_pe_thread_init();
    }
    nth_thread_self = thread;
    if (is_serial())
        nth_serial_enter(thread);
}

void nth_leave(void)
{
    struct nth_thread *const self = nth_thread_self;

    if (!self || self->irql != PASSIVE_LEVEL || nth_locks_held)
        nth_fail("nth_leave: outside already, at raised IRQL or with a host lock");
    visitor = self;
    nth_thread_self = NULL;
    if (is_serial())
        nth_serial_leave(self);
}

/* ---- parking ---- */

/* token is an unsigned futex word underneath; -1 is "parked". */
static int park_parallel(struct nth_thread *self, uint64_t deadline)
{
    _Atomic unsigned *const word = (_Atomic unsigned *)&self->token;

    if (atomic_fetch_sub(&self->token, 1) == 1)
        return 0;
    const uint64_t until =
        deadline == NTH_NEVER || deadline > INT64_MAX ? NTH_NEVER : deadline + boot_ns;
    for (;;) {
        const int result = nth_futex_wait(word, UINT_MAX, until);
        int one = 1;
        if (atomic_compare_exchange_strong(&self->token, &one, 0))
            return 0;
        if (result == -ETIMEDOUT)
            return atomic_exchange(&self->token, 0) == 1 ? 0 : -ETIMEDOUT;
    }
}

int nth_park(uint64_t deadline_ns)
{
    struct nth_thread *const self = nth_thread_self;

    if (!self || nth_locks_held)
        nth_fail("nth_park outside the machine or with a host lock");
    return is_serial() ? nth_serial_park(self, deadline_ns) : park_parallel(self, deadline_ns);
}

void nth_unpark(struct nth_thread *thread)
{
    if (is_serial())
        nth_serial_unpark(thread);
    else if (atomic_exchange(&thread->token, 1) == -1)
        nth_futex_wake((_Atomic unsigned *)&thread->token, 1);
}

void nth_point(void)
{
    if (is_serial() && nth_thread_self && !nth_locks_held)
        nth_serial_point(nth_thread_self);
}

void nth_yield(void)
{
    if (!is_serial())
        sched_yield();
    else if (nth_thread_self && !nth_locks_held)
        nth_serial_yield(nth_thread_self);
}

void nth_settle(void)
{
    if (is_serial())
        nth_serial_settle(nth_thread_self);
}

void nth_spin_wait(const void *key)
{
    if (is_serial()) {
        nth_serial_spin_wait(nth_thread_self, key);
        return;
    }
    for (int i = 0; i < 32; i++)
        __builtin_ia32_pause();
    sched_yield(); /* whoever we wait for may have no Linux processor */
}

void nth_spin_wake(const void *key)
{
    if (is_serial())
        nth_serial_spin_wake(key);
}

/* ---- birth and end of the machine ---- */

void nth_threads_boot(const struct nth_config *config)
{
    boot_ns = nth_monotonic_ns();
    atomic_store(&last_id, 0);
    if (config->mode == NTH_SERIAL)
        nth_serial_boot(config->seed);
    if (!nth_thread_self)
        nth_enter("main");
}

void nth_threads_shutdown(void)
{
    struct nth_thread *const self = nth_thread_self;

    if (is_serial())
        nth_serial_shutdown();
    nth_thread_self = NULL;
    if (visitor == self)
        visitor = NULL;
    pthread_setspecific(visitor_key, NULL);
    free(self);
}
