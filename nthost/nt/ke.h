/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What ke.c, wait.c, timer.c, dpc.c, spin.c, pool.c and their neighbours share. Nothing outside
 * these files includes it.
 */
#pragma once

#include "nt/nt.h"
#include "nt/ps.h"

#include <stdatomic.h>

/* DISPATCHER_HEADER.Type */
enum {
    OBJECT_EVENT_NOTIFICATION = 0,
    OBJECT_EVENT_SYNCHRONIZATION = 1,
    OBJECT_MUTANT = 2,
    OBJECT_PROCESS = 3,
    OBJECT_SEMAPHORE = 5,
    OBJECT_THREAD = 6,
    OBJECT_GATE = 7,
    OBJECT_TIMER_NOTIFICATION = 8,
    OBJECT_TIMER_SYNCHRONIZATION = 9,
};

static inline void list_init(LIST_ENTRY *head)
{
    head->Flink = head->Blink = head;
}

static inline bool list_is_empty(const LIST_ENTRY *head)
{
    return head->Flink == head;
}

static inline void list_insert_tail(LIST_ENTRY *head, LIST_ENTRY *entry)
{
    entry->Flink = head;
    entry->Blink = head->Blink;
    head->Blink->Flink = entry;
    head->Blink = entry;
}

static inline void list_remove(LIST_ENTRY *entry)
{
    entry->Flink->Blink = entry->Blink;
    entry->Blink->Flink = entry->Flink;
}

/* Written under the dispatcher lock, read without it by KeReadState*. */
static inline void set_state(DISPATCHER_HEADER *header, LONG state)
{
    __atomic_store_n(&header->SignalState, state, __ATOMIC_RELEASE);
}

/* ---- wait.c: the dispatcher lock guards every DISPATCHER_HEADER, its waiters and the timers ----
 */
void nth_dispatcher_lock(void);
void nth_dispatcher_unlock(void);
/* With the lock: satisfies what waits its state allows now. */
void nth_dispatcher_signal(DISPATCHER_HEADER *header);
void nth_dispatcher_init_header(DISPATCHER_HEADER *header, UCHAR type, UCHAR size, LONG state);
/* Stops with "object-not-initialized" when it is none of these types. */
DISPATCHER_HEADER *nth_dispatcher_check(void *object, const char *what, unsigned type_mask);
/* KeWaitFor* as drivers call it. */
NTSTATUS nth_wait_as(unsigned count, void *const *objects, enum nth_wait_type type,
                     KPROCESSOR_MODE mode, bool alertable, const LARGE_INTEGER *timeout);
/* Nanoseconds of nth_clock_ns at which an NT timeout ends; NULL: UINT64_MAX. */
uint64_t nth_deadline_of(const LARGE_INTEGER *timeout);

/* ---- objects that must not be active when their memory goes: each looks at [base, base + bytes)
 * -- */
void nth_wait_check_freed(const void *base, size_t bytes);
void nth_timer_check_freed(const void *base, size_t bytes);
void nth_dpc_check_freed(const void *base, size_t bytes);
void nth_resource_check_freed(const void *base, size_t bytes);
void nth_lookaside_check_freed(const void *base, size_t bytes);
void nth_work_check_freed(const void *base, size_t bytes);

static inline bool is_within(const void *address, const void *base, size_t bytes)
{
    return (uintptr_t)address - (uintptr_t)base < bytes;
}

/* ---- dpc.c ---- */
/* KeInsertQueueDpc without its checks; host locks may be held. */
bool nth_dpc_insert(KDPC *dpc, void *argument1, void *argument2,
                    unsigned cpu); /* unless targeted */
bool nth_dpc_is_running(void);     /* the thread runs a DPC routine */
