/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The hooks of nthost/core as far as nthost/ndis needs them. A user-mode thread has no IRQL, so it
 * is a number here: what is wrong about it is found as in nthost, but nothing is held off by it.
 */
#include "nt/nt.h"

#include <string.h>

struct nth_config nth_config = {.mode = NTH_PARALLEL, .relaxed_memory = true};
const char *(*nth_symbol_hook)(uintptr_t address);

/* ---- short exclusion ---- */

void nth_lock(struct nth_mutex *mutex)
{
    while (__atomic_exchange_n(&mutex->is_taken, 1, __ATOMIC_ACQUIRE))
        wine_yield();
}

void nth_unlock(struct nth_mutex *mutex)
{
    __atomic_store_n(&mutex->is_taken, 0, __ATOMIC_RELEASE);
}

void nth_point(void) {} /* there is no scheduler of ours */

/* ---- processors and IRQL ---- */

static uint64_t processors; /* bit: taken by a thread at DISPATCH_LEVEL; atomic */

static void take_processor(struct wine_thread *t)
{
    for (;;) {
        uint64_t taken = __atomic_load_n(&processors, __ATOMIC_RELAXED);
        const unsigned cpu = ~taken ? (unsigned)__builtin_ctzll(~taken) : 0;
        if (~taken && __atomic_compare_exchange_n(&processors, &taken, taken | 1ULL << cpu, false,
                                                  __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            t->cpu = cpu;
            return;
        }
        wine_yield();
    }
}

KIRQL nth_irql(void)
{
    return wine_thread()->irql;
}

KIRQL nth_irql_raise(KIRQL irql)
{
    struct wine_thread *t = wine_thread();
    const KIRQL before = t->irql;

    if (before < DISPATCH_LEVEL && irql >= DISPATCH_LEVEL)
        take_processor(t);
    t->irql = irql;
    return before;
}

void nth_irql_lower(KIRQL irql)
{
    struct wine_thread *t = wine_thread();

    if (t->irql >= DISPATCH_LEVEL && irql < DISPATCH_LEVEL)
        __atomic_fetch_and(&processors, ~(1ULL << t->cpu), __ATOMIC_RELEASE);
    t->irql = irql;
}

unsigned nth_cpu_current(void)
{
    return wine_thread()->cpu;
}

unsigned nth_cpu_count(void)
{
    return 64;
}

void nth_irql_max(KIRQL max)
{
    if (nth_irql() > max)
        nth_stop("irql-too-high", "at IRQL %u, at most %u", nth_irql(), max);
}

void nth_irql_exactly(KIRQL irql)
{
    if (nth_irql() != irql)
        nth_stop(nth_irql() > irql ? "irql-too-high" : "irql-too-low", "at IRQL %u, not %u",
                 nth_irql(), irql);
}

void nth_irql_min(KIRQL min)
{
    if (nth_irql() < min)
        nth_stop("irql-too-low", "at IRQL %u, at least %u", nth_irql(), min);
}

KIRQL NTAPI KeGetCurrentIrql(VOID)
{
    return nth_irql();
}
NTH_EXPORT(KeGetCurrentIrql, 0);

KIRQL FASTCALL KfRaiseIrql(KIRQL NewIrql)
{
    if (NewIrql < nth_irql())
        nth_stop("irql-direction", "raised from IRQL %u to %u", nth_irql(), NewIrql);
    return nth_irql_raise(NewIrql);
}
NTH_EXPORT(KfRaiseIrql, 1);

KIRQL NTAPI KeRaiseIrqlToDpcLevel(VOID)
{
    return KfRaiseIrql(DISPATCH_LEVEL);
}
NTH_EXPORT(KeRaiseIrqlToDpcLevel, 0);

VOID NTAPI KeLowerIrql(KIRQL NewIrql)
{
    if (NewIrql > nth_irql())
        nth_stop("irql-direction", "lowered from IRQL %u to %u", nth_irql(), NewIrql);
    if (NewIrql < DISPATCH_LEVEL && nth_order_spinning())
        nth_stop("irql-lowered-with-lock", "%u spin locks are held", nth_order_spinning());
    nth_irql_lower(NewIrql);
}
NTH_EXPORT(KeLowerIrql, 1);

/* ---- spin locks that the thread holds ---- */

void nth_order_acquired(const void *lock, const char *kind, bool shared)
{
    struct wine_thread *t = wine_thread();

    if (strncmp(kind, "spin", 4) != 0)
        return;
    if (t->held_count == ARRAYSIZE(t->held))
        nth_fail("more than %u spin locks are held", t->held_count);
    t->held[t->held_count++] = lock;
}

void nth_order_release(const void *lock, const char *kind, bool shared)
{
    struct wine_thread *t = wine_thread();
    unsigned i = t->held_count;

    if (strncmp(kind, "spin", 4) != 0)
        return;
    while (i && t->held[i - 1] != lock)
        i--;
    if (!i)
        nth_stop("lock-not-held", "the spin lock at %p", lock);
    for (t->held_count--; i <= t->held_count; i++)
        t->held[i - 1] = t->held[i];
}

bool nth_order_holds(const void *lock)
{
    const struct wine_thread *t = wine_thread();

    for (unsigned i = 0; i < t->held_count; i++)
        if (t->held[i] == lock)
            return true;
    return false;
}

unsigned nth_order_spinning(void)
{
    return wine_thread()->held_count;
}

/* ---- stops and events ---- */

void nth_stop(const char *rule, const char *format, ...)
{
    va_list arguments;

    wine_log("stop: rule %s", rule);
    va_start(arguments, format);
    wine_log_list("stop: ", format, arguments);
    va_end(arguments);
    wine_end();
}

void nth_fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    wine_log_list("stop: the double failed: ", format, arguments);
    va_end(arguments);
    wine_end();
}

void nth_trace(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    wine_log_list("", format, arguments);
    va_end(arguments);
}

/* ---- threads ---- */

struct start {
    void (*run)(void *);
    void *context;
};

static VOID NTAPI run_thread(PVOID context)
{
    const struct start start = *(struct start *)context;

    ExFreePool(context);
    start.run(start.context);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

/* The handle; whoever joins waits for it and closes it, and else nobody does. */
struct nth_thread *nth_thread_create(const char *name, void (*run)(void *), void *context,
                                     void *nt_object)
{
    struct start *start = ExAllocatePoolWithTag(NonPagedPool, sizeof(*start), 'trts');
    HANDLE thread;

    if (!start)
        nth_fail("no memory for a thread");
    *start = (struct start){run, context};
    if (!NT_SUCCESS(
            PsCreateSystemThread(&thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, run_thread, start)))
        nth_fail("no thread for %s", name);
    return (struct nth_thread *)thread;
}
