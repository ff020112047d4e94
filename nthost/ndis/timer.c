/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Work that NDIS runs later for a driver: timer objects and work items; and what it says about
 * processors. Must never run a routine of a driver that has freed the object.
 */
#include "ndis/private.h"

#include <string.h>

/* ---- timers ---- */

struct timer {
    struct ndis_object object;
    KTIMER timer;
    KDPC dpc;
    PNDIS_TIMER_FUNCTION function;
    void *context, *set_context;
    bool is_periodic;
    LONG running; /* atomic */
};

static void NTAPI timer_dpc(KDPC *dpc, void *context, void *argument1, void *argument2)
{
    struct timer *t = context;

    __atomic_add_fetch(&t->running, 1, __ATOMIC_SEQ_CST);
    const struct ndis_callout call = ndis_callout("NetTimerCallback");
    t->function(NULL, t->set_context, NULL, NULL);
    ndis_callout_end(&call);
    __atomic_sub_fetch(&t->running, 1, __ATOMIC_SEQ_CST);
}

NDIS_STATUS NTAPI NdisAllocateTimerObject(NDIS_HANDLE NdisHandle,
                                          PNDIS_TIMER_CHARACTERISTICS TimerCharacteristics,
                                          PNDIS_HANDLE TimerObject)
{
    nth_irql_max(DISPATCH_LEVEL);
    static const USHORT sizes[] = {NDIS_SIZEOF_TIMER_CHARACTERISTICS_REVISION_1};
    const NDIS_TIMER_CHARACTERISTICS *c = TimerCharacteristics;

    *TimerObject = NULL;
    if (!ndis_header_is(&c->Header, NDIS_OBJECT_TYPE_TIMER_CHARACTERISTICS, 1, sizes) ||
        !c->TimerFunction)
        return NDIS_STATUS_BAD_CHARACTERISTICS;
    struct timer *t =
        nth_fault(NTH_FAULT_NDIS, "NdisAllocateTimerObject") ? NULL : ndis_alloc(sizeof(*t));
    if (!t)
        return NDIS_STATUS_RESOURCES;
    t->function = c->TimerFunction;
    t->context = c->FunctionContext;
    KeInitializeTimer(&t->timer);
    KeInitializeDpc(&t->dpc, timer_dpc, t);
    ndis_object_add(&t->object, NDIS_KIND_TIMER, NdisHandle, "NdisAllocateTimerObject");
    *TimerObject = t;
    return NDIS_STATUS_SUCCESS;
}
NTH_EXPORT(NdisAllocateTimerObject, 3);

BOOLEAN NTAPI NdisSetTimerObject(NDIS_HANDLE TimerObject, LARGE_INTEGER DueTime,
                                 LONG MillisecondsPeriod, PVOID FunctionContext)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct timer *t = ndis_object_check(TimerObject, NDIS_KIND_TIMER);

    if (MillisecondsPeriod < 0)
        nth_stop("timer-period", "the period of %d ms is negative", MillisecondsPeriod);
    t->set_context = FunctionContext ? FunctionContext : t->context;
    t->is_periodic = MillisecondsPeriod != 0;
    return KeSetTimerEx(&t->timer, DueTime, MillisecondsPeriod, &t->dpc);
}
NTH_EXPORT(NdisSetTimerObject, 4);

/* A periodic timer is cancelled at PASSIVE_LEVEL and does not run when this returns. A one-shot
 * timer may still be running. */
BOOLEAN NTAPI NdisCancelTimerObject(NDIS_HANDLE TimerObject)
{
    struct timer *t = ndis_object_check(TimerObject, NDIS_KIND_TIMER);

    if (t->is_periodic)
        nth_irql_exactly(PASSIVE_LEVEL);
    else
        nth_irql_max(DISPATCH_LEVEL);
    const BOOLEAN was_set = KeCancelTimer(&t->timer);
    if (t->is_periodic)
        KeFlushQueuedDpcs();
    return was_set;
}
NTH_EXPORT(NdisCancelTimerObject, 1);

VOID NTAPI NdisFreeTimerObject(NDIS_HANDLE TimerObject)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct timer *t = ndis_object_check(TimerObject, NDIS_KIND_TIMER);

    if (KeCancelTimer(&t->timer) || KeRemoveQueueDpc(&t->dpc))
        nth_stop("timer-freed-active", "the timer is set");
    if (__atomic_load_n(&t->running, __ATOMIC_SEQ_CST))
        nth_stop("timer-freed-active", "NetTimerCallback is running");
    ndis_object_remove(&t->object);
    ndis_free(t);
}
NTH_EXPORT(NdisFreeTimerObject, 1);

/* ---- work items ---- */

struct work {
    struct ndis_object object;
    NDIS_IO_WORKITEM_ROUTINE routine;
    void *context;
    LONG queued;       /* atomic: from the queueing until the routine begins */
    struct work *next; /* queue, guarded by work_lock */
};

static struct nth_mutex work_lock = NTH_MUTEX_INIT;
static struct work *work_head, *work_tail; /* guarded by work_lock */
static unsigned workers, idle_workers;     /* guarded by work_lock */
static bool is_stopping;                   /* guarded by work_lock */
static KSEMAPHORE work_ready;
static struct ndis_count live_workers;

static struct work *take_work(void)
{
    nth_lock(&work_lock);
    struct work *w = work_head;
    if (w) {
        work_head = w->next;
        if (!work_head)
            work_tail = NULL;
    }
    nth_unlock(&work_lock);
    return w;
}

/* The routine may free its item: nothing of it is touched once it was called. */
static void run_work(struct work *w)
{
    const NDIS_IO_WORKITEM_ROUTINE routine = w->routine;
    void *context = w->context;

    __atomic_store_n(&w->queued, 0, __ATOMIC_SEQ_CST);
    const struct ndis_callout call = ndis_callout("the work item's routine");
    routine(context, w);
    ndis_callout_end(&call);
}

static void worker(void *unused)
{
    for (;;) {
        nth_lock(&work_lock);
        idle_workers++;
        nth_unlock(&work_lock);
        KeWaitForSingleObject(&work_ready, Executive, KernelMode, FALSE, NULL);
        nth_lock(&work_lock);
        idle_workers--;
        const bool stop = is_stopping;
        nth_unlock(&work_lock);
        struct work *w = take_work();
        if (w)
            run_work(w);
        else if (stop)
            break;
    }
    ndis_count_sub(&live_workers, 1);
}

/* One more worker whenever all are busy, so that a routine may wait for another one. */
static void add_worker_if_needed(void)
{
    nth_lock(&work_lock);
    unsigned pending = 0;
    for (const struct work *w = work_head; w; w = w->next)
        pending++;
    const bool needed = pending > idle_workers && workers < 64;
    if (needed)
        workers++;
    nth_unlock(&work_lock);
    if (!needed)
        return;
    ndis_count_add(&live_workers, 1);
    nth_thread_detach(nth_thread_create("ndis worker", worker, NULL, NULL));
}

static void work_boot(const struct nth_config *config)
{
    KeInitializeSemaphore(&work_ready, 0, MAXLONG);
    ndis_count_init(&live_workers);
    work_head = work_tail = NULL;
    workers = idle_workers = 0;
    is_stopping = false;
}

static void work_shutdown(void)
{
    nth_lock(&work_lock);
    is_stopping = true;
    const unsigned count = workers;
    nth_unlock(&work_lock);
    if (count)
        KeReleaseSemaphore(&work_ready, IO_NO_INCREMENT, (LONG)count, FALSE);
    ndis_count_wait(&live_workers);
}
NTH_SUBSYSTEM(ndis_work, 41, work_boot, work_shutdown);

NDIS_HANDLE NTAPI NdisAllocateIoWorkItem(NDIS_HANDLE NdisObjectHandle)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct work *w =
        nth_fault(NTH_FAULT_NDIS, "NdisAllocateIoWorkItem") ? NULL : ndis_alloc(sizeof(*w));

    if (w)
        ndis_object_add(&w->object, NDIS_KIND_WORK, NdisObjectHandle, "NdisAllocateIoWorkItem");
    return w;
}
NTH_EXPORT(NdisAllocateIoWorkItem, 1);

VOID NTAPI NdisFreeIoWorkItem(NDIS_HANDLE NdisIoWorkItemHandle)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct work *w = ndis_object_check(NdisIoWorkItemHandle, NDIS_KIND_WORK);

    if (__atomic_load_n(&w->queued, __ATOMIC_SEQ_CST))
        nth_stop("work-item-queued", "the work item is queued and is freed");
    ndis_object_remove(&w->object);
    ndis_free(w);
}
NTH_EXPORT(NdisFreeIoWorkItem, 1);

VOID NTAPI NdisQueueIoWorkItem(NDIS_HANDLE NdisIoWorkItemHandle, NDIS_IO_WORKITEM_ROUTINE Routine,
                               PVOID WorkItemContext)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct work *w = ndis_object_check(NdisIoWorkItemHandle, NDIS_KIND_WORK);

    if (__atomic_exchange_n(&w->queued, 1, __ATOMIC_SEQ_CST))
        nth_stop("work-item-queued", "the work item is queued twice");
    w->routine = Routine;
    w->context = WorkItemContext;
    w->next = NULL;
    nth_lock(&work_lock);
    if (work_tail)
        work_tail->next = w;
    else
        work_head = w;
    work_tail = w;
    nth_unlock(&work_lock);
    add_worker_if_needed();
    KeReleaseSemaphore(&work_ready, IO_NO_INCREMENT, 1, FALSE);
}
NTH_EXPORT(NdisQueueIoWorkItem, 3);

/* ---- processors ---- */

/* All processors of the machine, one group, RSS on each of them. */
NDIS_STATUS NTAPI NdisGetRssProcessorInformation(NDIS_HANDLE NdisHandle,
                                                 PNDIS_RSS_PROCESSOR_INFO RssProcessorInfo,
                                                 PSIZE_T Size)
{
    nth_irql_max(DISPATCH_LEVEL);
    const struct nth_adapter *a = ndis_adapter(NdisHandle);
    const bool is_old = a->driver->version < NDIS_RUNTIME_VERSION_630;
    const ULONG head = is_old ? 32 : 40; /* NDIS_SIZEOF_RSS_PROCESSOR_INFO_REVISION_1 and _2 */
    const ULONG count = nth_cpu_count();
    const SIZE_T needed = head + count * sizeof(NDIS_RSS_PROCESSOR);
    const SIZE_T given = *Size;
    NDIS_RSS_PROCESSOR_INFO *info = RssProcessorInfo;

    *Size = needed;
    if (given < needed || !info)
        return NDIS_STATUS_BUFFER_TOO_SHORT;
    memset(info, 0, needed);
    info->Header.Type = NDIS_OBJECT_TYPE_RSS_PROCESSOR_INFO;
    info->Header.Revision =
        is_old ? NDIS_RSS_PROCESSOR_INFO_REVISION_1 : NDIS_RSS_PROCESSOR_INFO_REVISION_2;
    info->Header.Size = is_old ? NDIS_SIZEOF_RSS_PROCESSOR_INFO_REVISION_1
                               : NDIS_SIZEOF_RSS_PROCESSOR_INFO_REVISION_2;
    info->MaxNumRssProcessors = count;
    info->RssProcessorArrayOffset = head;
    info->RssProcessorCount = count;
    info->RssProcessorEntrySize = sizeof(NDIS_RSS_PROCESSOR);
    if (!is_old) {
        info->RssMaxProcessor.Number = (UCHAR)(count - 1);
        info->RssProfile = NdisRssProfileClosest;
    }
    NDIS_RSS_PROCESSOR *p = (NDIS_RSS_PROCESSOR *)((UCHAR *)info + head);
    for (ULONG i = 0; i < count; i++) {
        p[i].ProcNum.Number = (UCHAR)i;
        p[i].PreferenceIndex = (USHORT)i;
    }
    return NDIS_STATUS_SUCCESS;
}
NTH_EXPORT(NdisGetRssProcessorInformation, 3);
