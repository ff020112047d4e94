/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The executive's worker threads, and the extended processor state a thread may save. A work item
 * belongs to the driver again when its routine is called.
 */
#include "nt/ke.h"
#include "nt/more.h"

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORKERS = 32 };

/* ---- work items ---- */

static struct nth_mutex work_lock = NTH_MUTEX_INIT;
static LIST_ENTRY work = {&work, &work};
static struct nth_thread *workers[MAX_WORKERS], *idle[MAX_WORKERS];
static unsigned worker_count, idle_count;
static bool is_stopping;

static void run_item(PWORK_QUEUE_ITEM item)
{
    PWORKER_THREAD_ROUTINE const routine = item->WorkerRoutine;
    void *const parameter = item->Parameter;
    struct nth_callout callout;

    nth_callout_begin(&callout, "work item", (const void *)routine);
    routine(parameter);
    nth_callout_end(&callout);
}

static void serve(void *unused)
{
    nth_lock(&work_lock);
    while (!is_stopping) {
        if (list_is_empty(&work)) {
            idle[idle_count++] = nth_self();
            nth_unlock(&work_lock);
            nth_park(UINT64_MAX);
            nth_lock(&work_lock);
            for (unsigned i = 0; i < idle_count; i++) /* a stale token woke it: still listed */
                if (idle[i] == nth_self())
                    idle[i--] = idle[--idle_count];
            continue;
        }
        PWORK_QUEUE_ITEM const item = CONTAINING_RECORD(work.Flink, WORK_QUEUE_ITEM, List);
        list_remove(&item->List);
        item->List.Flink = NULL;
        nth_unlock(&work_lock);
        run_item(item);
        nth_lock(&work_lock);
    }
    nth_unlock(&work_lock);
}

VOID NTAPI ExQueueWorkItem(PWORK_QUEUE_ITEM WorkItem, WORK_QUEUE_TYPE QueueType)
{
    nth_irql_max(DISPATCH_LEVEL);
    nth_lock(&work_lock);
    const bool is_queued = WorkItem->List.Flink != NULL;
    if (!is_queued) {
        list_insert_tail(&work, &WorkItem->List);
        if (idle_count)
            nth_unpark(idle[--idle_count]);
        else if (worker_count < MAX_WORKERS)
            workers[worker_count++] = nth_service_create("worker", serve, NULL);
    }
    nth_unlock(&work_lock);
    if (is_queued)
        nth_stop("bugcheck", "WORKER_INVALID (0xE4): work item %p is queued or not initialised",
                 (void *)WorkItem);
    nth_point();
}
NTH_EXPORT(ExQueueWorkItem, 2);

void nth_work_check_freed(const void *base, size_t bytes)
{
    const void *found = NULL;

    nth_lock(&work_lock);
    for (const LIST_ENTRY *e = work.Flink; e != &work; e = e->Flink)
        if (is_within(e, base, bytes))
            found = e;
    nth_unlock(&work_lock);
    if (found)
        nth_stop("active-object-freed", "work item %p is queued while its memory is given up",
                 found);
}

static void work_boot(const struct nth_config *config)
{
    list_init(&work);
    worker_count = idle_count = 0;
    is_stopping = false;
}

static void work_shutdown(void)
{
    nth_lock(&work_lock);
    is_stopping = true;
    for (unsigned i = 0; i < idle_count; i++)
        nth_unpark(idle[i]);
    nth_unlock(&work_lock);
    for (unsigned i = 0; i < worker_count; i++)
        nth_join(workers[i]);
}

NTH_SUBSYSTEM(work, 32, work_boot, work_shutdown);

/* ---- extended processor state ----
 * What the driver's structure holds here: the saved area and who saved it. x87 and SSE are a
 * thread's own on Linux and need no saving; the components above them are restored. */

struct saved_state {
    void *area;
    void *thread;
    ULONG64 mask;
};

static ULONG64 restorable(ULONG64 mask)
{
    return RtlGetEnabledExtendedFeatures(mask) & ~3ULL;
}

NTSTATUS NTAPI KeSaveExtendedProcessorState(ULONG64 Mask, PXSTATE_SAVE XStateSave)
{
    struct saved_state *const state = (struct saved_state *)XStateSave;
    unsigned a, bytes = 0, c, d;

    nth_irql_max(DISPATCH_LEVEL);
    if (nth_fault(NTH_FAULT_POOL, "KeSaveExtendedProcessorState"))
        return STATUS_INSUFFICIENT_RESOURCES;
    __cpuid_count(0xD, 0, a, bytes, c, d);
    void *area = NULL;
    if (posix_memalign(&area, 64, bytes < 1024 ? 1024 : bytes) != 0)
        nth_fail("no memory for extended processor state");
    memset(area, 0, bytes < 1024 ? 1024 : bytes);
    *state = (struct saved_state){
        .area = area, .thread = nth_ethread_current(), .mask = restorable(Mask)};
    if (state->mask)
        __asm__ volatile("xsave64 (%0)"
                         :
                         : "r"(area), "a"((unsigned)state->mask), "d"((unsigned)(state->mask >> 32))
                         : "memory");
    nth_ledger_add("extended state", state, bytes, 0);
    return STATUS_SUCCESS;
}
NTH_EXPORT(KeSaveExtendedProcessorState, 2);

VOID NTAPI KeRestoreExtendedProcessorState(PXSTATE_SAVE XStateSave)
{
    struct saved_state *const state = (struct saved_state *)XStateSave;

    nth_irql_max(DISPATCH_LEVEL);
    nth_ledger_remove("extended state", state);
    if (state->thread != nth_ethread_current())
        nth_stop("bad-parameter", "extended processor state of another thread is restored");
    if (state->mask)
        __asm__ volatile("xrstor64 (%0)"
                         :
                         : "r"(state->area), "a"((unsigned)state->mask),
                           "d"((unsigned)(state->mask >> 32))
                         : "memory");
    free(state->area);
    *state = (struct saved_state){0};
}
NTH_EXPORT(KeRestoreExtendedProcessorState, 1);
