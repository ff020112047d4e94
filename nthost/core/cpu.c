/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Virtual processors. A thread below DISPATCH_LEVEL is on none in particular; raising to
 * DISPATCH_LEVEL takes one, lowering runs that processor's DPCs and gives it back. A processor that
 * is asked to run DPCs by somebody else has a service thread that takes it for them. Direction
 * rules of IRQL changes are not known here.
 */
#include "core/thread.h"

#include <limits.h>
#include <stdio.h>

enum { MAX_CPUS = 64, SPINS = 200 };

struct cpu {
    _Atomic(struct nth_thread *) owner; /* the thread at DISPATCH_LEVEL or above on it */
    _Atomic bool has_dpcs;
    _Atomic(struct nth_thread *) service;
    unsigned index;
} __attribute__((aligned(64)));

static struct cpu cpus[MAX_CPUS];
static unsigned cpu_count = 4;
static _Atomic unsigned freed, sleepers; /* parallel: threads that found no free processor */
static struct nth_mutex service_lock = NTH_MUTEX_INIT;
static _Atomic bool is_stopping;

void (*nth_dpc_hook)(unsigned cpu);
void (*nth_level_hook)(bool is_raised);

unsigned nth_cpu_count(void)
{
    return cpu_count;
}

unsigned nth_cpu_current(void)
{
    return nth_thread_self ? nth_thread_self->cpu : 0;
}

KIRQL nth_irql(void)
{
    return nth_thread_self ? nth_thread_self->irql : PASSIVE_LEVEL;
}

static bool is_allowed(const struct nth_thread *thread, unsigned cpu)
{
    return thread->affinity >> cpu & 1;
}

/* ---- taking and giving back ---- */

static bool try_take(struct nth_thread *self, unsigned cpu)
{
    struct nth_thread *nobody = NULL;

    if (!is_allowed(self, cpu) || !atomic_compare_exchange_strong(&cpus[cpu].owner, &nobody, self))
        return false;
    self->cpu = cpu;
    return true;
}

static bool try_take_any(struct nth_thread *self)
{
    for (unsigned i = 0; i < cpu_count; i++)
        if (try_take(self, (self->cpu + i) % cpu_count))
            return true;
    return false;
}

static void take_slowly(struct nth_thread *self)
{
    for (int i = 0; i < SPINS; i++) {
        if (try_take_any(self))
            return;
        __builtin_ia32_pause();
    }
    /* Pairs with give: it frees first and looks for sleepers then, both sequentially consistent. */
    atomic_fetch_add(&sleepers, 1);
    for (;;) {
        const unsigned seen = atomic_load(&freed);
        if (try_take_any(self))
            break;
        nth_futex_wait(&freed, seen, NTH_NEVER);
    }
    atomic_fetch_sub(&sleepers, 1);
}

static void take(struct nth_thread *self)
{
    if (try_take(self, self->cpu))
        return;
    if (!is_serial()) {
        take_slowly(self);
        return;
    }
    while (!try_take_any(self))
        nth_serial_yield(self); /* the scheduler runs us only where a processor is free */
}

static void give(struct nth_thread *self)
{
    atomic_store(&cpus[self->cpu].owner, NULL);
    if (atomic_load(&sleepers)) {
        atomic_fetch_add(&freed, 1);
        nth_futex_wake(&freed, INT_MAX);
    }
}

int nth_cpu_for(const struct nth_thread *thread, unsigned first)
{
    if (thread->irql >= DISPATCH_LEVEL)
        return (int)thread->cpu;
    for (unsigned i = 0; i < cpu_count; i++) {
        const unsigned cpu = (first + i) % cpu_count;
        if (is_allowed(thread, cpu) && !atomic_load(&cpus[cpu].owner))
            return (int)cpu;
    }
    return -1;
}

/* ---- IRQL ---- */

static void tell_level(bool is_raised)
{
    if (nth_level_hook && is_serial())
        nth_level_hook(is_raised);
}

static void drain(struct nth_thread *self)
{
    struct cpu *const cpu = &cpus[self->cpu];

    if (self->is_draining)
        return;
    self->is_draining = true;
    self->irql = DISPATCH_LEVEL;
    while (atomic_exchange(&cpu->has_dpcs, false))
        nth_dpc_hook(cpu->index);
    self->is_draining = false;
}

KIRQL nth_irql_raise(KIRQL irql)
{
    struct nth_thread *const self = nth_thread_self;

    if (!self)
        nth_fail("IRQL raised outside the machine");
    const KIRQL before = self->irql;
    if (irql >= DISPATCH_LEVEL && before < DISPATCH_LEVEL) {
        take(self);
        tell_level(true);
    }
    self->irql = irql;
    return before;
}

void nth_irql_lower(KIRQL irql)
{
    struct nth_thread *const self = nth_thread_self;

    if (!self)
        nth_fail("IRQL lowered outside the machine");
    if (self->irql >= DISPATCH_LEVEL && irql < DISPATCH_LEVEL) {
        if (atomic_load_explicit(&cpus[self->cpu].has_dpcs, memory_order_acquire))
            drain(self);
        self->irql = irql;
        tell_level(false);
        give(self);
        nth_point();
        return;
    }
    self->irql = irql;
}

/* ---- affinity ---- */

uint64_t nth_cpu_affinity(uint64_t mask)
{
    struct nth_thread *const self = nth_thread_self;
    const uint64_t before = self->affinity;

    self->affinity = mask;
    if (self->irql < DISPATCH_LEVEL && !is_allowed(self, self->cpu)) {
        self->cpu = (unsigned)__builtin_ctzll(mask);
        if (is_serial())
            nth_serial_yield(self); /* comes back on a processor that is free */
    }
    return before;
}

void nth_cpu_pin(int cpu)
{
    if (cpu >= (int)cpu_count)
        nth_fail("nth_cpu_pin(%d): there are %u processors", cpu, cpu_count);
    nth_cpu_affinity(cpu < 0 ? UINT64_MAX : 1ULL << cpu);
}

/* The processor that the thread owns stays taken; the caller puts the index back before lowering.
 */
unsigned nth_cpu_pretend(unsigned cpu)
{
    const unsigned before = nth_thread_self->cpu;

    nth_thread_self->cpu = cpu;
    return before;
}

/* ---- DPC delivery ---- */

static void serve(void *context)
{
    struct cpu *const cpu = context;

    nth_cpu_pin((int)cpu->index);
    while (!atomic_load(&is_stopping)) {
        if (atomic_load(&cpu->has_dpcs)) {
            nth_irql_raise(DISPATCH_LEVEL);
            nth_irql_lower(PASSIVE_LEVEL); /* drains */
        } else {
            nth_park(NTH_NEVER);
        }
    }
}

static struct nth_thread *service_of(struct cpu *cpu)
{
    struct nth_thread *service = atomic_load(&cpu->service);

    if (service)
        return service;
    nth_lock(&service_lock);
    service = atomic_load(&cpu->service);
    if (!service) {
        char name[16];
        snprintf(name, sizeof(name), "dpc %u", cpu->index);
        service = nth_service_create(name, serve, cpu);
        atomic_store(&cpu->service, service);
    }
    nth_unlock(&service_lock);
    return service;
}

/* The queue is filled before this; has_dpcs is set before anybody looks at it, so whoever takes the
 * processor next, its owner on the way down or its service thread, finds the work. */
void nth_cpu_request_dpc(unsigned index)
{
    struct nth_thread *const self = nth_thread_self;
    struct cpu *const cpu = &cpus[index];

    atomic_store(&cpu->has_dpcs, true);
    if (self && self->cpu == index && self->irql >= DISPATCH_LEVEL)
        return;
    if (self && self->cpu == index && !nth_locks_held && try_take(self, index)) {
        const KIRQL before = self->irql;
        self->irql = DISPATCH_LEVEL;
        tell_level(true);
        nth_irql_lower(before);
        return;
    }
    nth_unpark(service_of(cpu));
}

/* ---- birth and end ---- */

static void cpus_boot(const struct nth_config *config)
{
    cpu_count = config->processors ? config->processors : 4;
    if (cpu_count > MAX_CPUS)
        nth_fail("%u processors; at most %d", cpu_count, MAX_CPUS);
    for (unsigned i = 0; i < MAX_CPUS; i++)
        cpus[i] = (struct cpu){.index = i};
    atomic_store(&is_stopping, false);
    nth_threads_boot(config);
}

static void cpus_shutdown(void)
{
    atomic_store(&is_stopping, true);
    for (unsigned i = 0; i < cpu_count; i++) {
        struct nth_thread *service = atomic_exchange(&cpus[i].service, NULL);
        if (!service)
            continue;
        nth_unpark(service);
        nth_join(service);
    }
    nth_threads_shutdown();
}

/* Before all others of core: they may ask who runs. */
NTH_SUBSYSTEM(cpus, 5, cpus_boot, cpus_shutdown);
