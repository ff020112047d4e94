/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Timers, in order of their due time under the dispatcher lock; one service thread waits for the
 * first. Expiry signals the timer and queues its DPC under that lock, so after KeCancelTimer no DPC
 * of the timer can still be on its way to a queue.
 */
#include "nt/ke.h"

#include <string.h>

enum { NS_PER_MS = 1000000 };

#define TIMERS (1U << OBJECT_TIMER_NOTIFICATION | 1U << OBJECT_TIMER_SYNCHRONIZATION)

static LIST_ENTRY timers = {&timers, &timers};
static struct nth_thread *service;
static _Atomic bool is_stopping;
static _Atomic unsigned active;

/* ---- under the dispatcher lock; DueTime holds nanoseconds of nth_clock_ns ---- */

static bool is_set(const KTIMER *timer)
{
    return timer->Header.Reserved1;
}

static void insert(PKTIMER timer, uint64_t due)
{
    LIST_ENTRY *before = timers.Blink;

    timer->DueTime.QuadPart = due;
    while (before != &timers &&
           CONTAINING_RECORD(before, KTIMER, TimerListEntry)->DueTime.QuadPart > due)
        before = before->Blink;
    list_insert_tail(before->Flink, &timer->TimerListEntry);
    timer->Header.Reserved1 = 1;
    atomic_fetch_add(&active, 1);
}

static bool take_out(PKTIMER timer)
{
    if (!is_set(timer))
        return false;
    list_remove(&timer->TimerListEntry);
    timer->Header.Reserved1 = 0;
    atomic_fetch_sub(&active, 1);
    return true;
}

static void expire(PKTIMER timer, uint64_t now)
{
    const uint64_t time = nth_system_time();
    PKDPC const dpc = timer->Dpc;
    const unsigned cpu = timer->Processor;

    if (timer->Period) {
        const uint64_t period = (uint64_t)timer->Period * NS_PER_MS;
        uint64_t due = timer->DueTime.QuadPart + period;
        if (due <= now) /* late by more than a period: what was missed is not made up for */
            due = now + period - (now - timer->DueTime.QuadPart) % period;
        insert(timer, due);
    }
    set_state(&timer->Header, 1);
    nth_dispatcher_signal(&timer->Header);
    if (dpc)
        nth_dpc_insert(dpc, (void *)(uintptr_t)(ULONG)time, (void *)(uintptr_t)(time >> 32), cpu);
}

static void serve(void *unused)
{
    nth_dispatcher_lock();
    while (!atomic_load(&is_stopping)) {
        const uint64_t now = nth_clock_ns();
        PKTIMER const first =
            list_is_empty(&timers) ? NULL : CONTAINING_RECORD(timers.Flink, KTIMER, TimerListEntry);
        if (first && first->DueTime.QuadPart <= now) {
            take_out(first);
            expire(first, now);
            continue;
        }
        const uint64_t deadline = first ? first->DueTime.QuadPart : UINT64_MAX;
        nth_dispatcher_unlock();
        nth_park(deadline);
        nth_dispatcher_lock();
    }
    nth_dispatcher_unlock();
}

void nth_timer_check_freed(const void *base, size_t bytes)
{
    const void *found = NULL;

    if (!atomic_load(&active))
        return;
    nth_dispatcher_lock();
    for (const LIST_ENTRY *e = timers.Flink; e != &timers; e = e->Flink) {
        const KTIMER *const timer = CONTAINING_RECORD(e, KTIMER, TimerListEntry);
        if (is_within(timer, base, bytes) || (timer->Dpc && is_within(timer->Dpc, base, bytes)))
            found = timer;
    }
    nth_dispatcher_unlock();
    if (found)
        nth_stop("active-object-freed",
                 "timer %p is set while its memory, or that of its DPC, is given up", found);
}

/* ---- what drivers call ---- */

VOID NTAPI KeInitializeTimerEx(PKTIMER Timer, TIMER_TYPE Type)
{
    nth_irql_max(DISPATCH_LEVEL);
    if (Type != NotificationTimer && Type != SynchronizationTimer)
        nth_stop("bad-parameter", "KeInitializeTimerEx of type %d", Type);
    nth_timer_check_freed(Timer, sizeof(*Timer));
    nth_wait_check_freed(Timer, sizeof(*Timer));
    memset(Timer, 0, sizeof(*Timer));
    nth_dispatcher_init_header(&Timer->Header,
                               Type == NotificationTimer ? OBJECT_TIMER_NOTIFICATION
                                                         : OBJECT_TIMER_SYNCHRONIZATION,
                               sizeof(*Timer) / sizeof(LONG), 0);
}
NTH_EXPORT(KeInitializeTimerEx, 2);

VOID NTAPI KeInitializeTimer(PKTIMER Timer)
{
    KeInitializeTimerEx(Timer, NotificationTimer);
}
NTH_EXPORT(KeInitializeTimer, 1);

static bool set(PKTIMER timer, LARGE_INTEGER due_time, ULONG period, PKDPC dpc)
{
    nth_irql_max(DISPATCH_LEVEL);
    nth_dispatcher_check(timer, "timer", TIMERS);
    const uint64_t due = nth_deadline_of(&due_time);
    nth_dispatcher_lock();
    const bool was_set = take_out(timer);
    set_state(&timer->Header, 0);
    timer->Dpc = dpc;
    timer->Period = period;
    timer->Processor = (USHORT)nth_cpu_current();
    const uint64_t now = nth_clock_ns();
    bool is_first = false;
    if (due <= now) {
        timer->DueTime.QuadPart = due;
        expire(timer, now);
        is_first = period != 0;
    } else {
        insert(timer, due);
        is_first = timers.Flink == &timer->TimerListEntry;
    }
    if (is_first)
        nth_unpark(service);
    nth_dispatcher_unlock();
    nth_point();
    return was_set;
}

BOOLEAN NTAPI KeSetTimerEx(PKTIMER Timer, LARGE_INTEGER DueTime, LONG Period, PKDPC Dpc)
{
    if (Period < 0)
        nth_stop("bad-parameter", "KeSetTimerEx with period %d", Period);
    return set(Timer, DueTime, (ULONG)Period, Dpc);
}
NTH_EXPORT(KeSetTimerEx, 4);

BOOLEAN NTAPI KeSetTimer(PKTIMER Timer, LARGE_INTEGER DueTime, PKDPC Dpc)
{
    return set(Timer, DueTime, 0, Dpc);
}
NTH_EXPORT(KeSetTimer, 3);

/* The tolerance allows a later expiry; this host has no need of it. */
BOOLEAN NTAPI KeSetCoalescableTimer(PKTIMER Timer, LARGE_INTEGER DueTime, ULONG Period,
                                    ULONG TolerableDelay, PKDPC Dpc)
{
    return set(Timer, DueTime, Period, Dpc);
}
NTH_EXPORT(KeSetCoalescableTimer, 5);

BOOLEAN NTAPI KeCancelTimer(PKTIMER Timer)
{
    nth_irql_max(DISPATCH_LEVEL);
    nth_dispatcher_check(Timer, "timer", TIMERS);
    nth_dispatcher_lock();
    const bool was_set = take_out(Timer);
    nth_dispatcher_unlock();
    return was_set;
}
NTH_EXPORT(KeCancelTimer, 1);

BOOLEAN NTAPI KeReadStateTimer(PKTIMER Timer)
{
    nth_irql_max(DISPATCH_LEVEL);
    nth_dispatcher_check(Timer, "timer", TIMERS);
    return __atomic_load_n(&Timer->Header.SignalState, __ATOMIC_ACQUIRE) != 0;
}
NTH_EXPORT(KeReadStateTimer, 1);

static void timer_boot(const struct nth_config *config)
{
    list_init(&timers);
    atomic_store(&is_stopping, false);
    service = nth_service_create("timers", serve, NULL);
}

static void timer_shutdown(void)
{
    atomic_store(&is_stopping, true);
    nth_unpark(service);
    nth_join(service);
}

NTH_SUBSYSTEM(timer, 31, timer_boot, timer_shutdown);
