/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * I/O work items: run once per queueing on a system thread at PASSIVE_LEVEL. While one is queued or
 * runs, its device object is referenced and its driver's image stays.
 */
#include "nt/io.h"

#include <stdlib.h>

typedef VOID NTAPI routine_ex(PVOID IoObject, PVOID Context, PIO_WORKITEM IoWorkItem);

struct _IO_WORKITEM {
    struct _IO_WORKITEM *next; /* guarded by work_lock */
    DEVICE_OBJECT *device;
    const void *routine;
    void *context;
    bool is_ex, is_queued; /* guarded by work_lock */
};

enum { WORKERS = 2 };
static struct nth_mutex work_lock = NTH_MUTEX_INIT;
static struct _IO_WORKITEM *first, **last = &first; /* guarded by work_lock */
static struct nth_thread *workers[WORKERS];         /* guarded by work_lock */
static unsigned worker_count;
static struct nth_thread *sleeping[WORKERS]; /* guarded by work_lock */
static bool is_stopping;                     /* guarded by work_lock */

PIO_WORKITEM NTAPI IoAllocateWorkItem(PDEVICE_OBJECT DeviceObject)
{
    nth_irql_max(DISPATCH_LEVEL);
    nth_device_body(DeviceObject);
    if (nth_fault(NTH_FAULT_POOL, "IoAllocateWorkItem"))
        return NULL;
    struct _IO_WORKITEM *item = nth_mm_alloc(sizeof(*item));
    item->device = DeviceObject;
    nth_ledger_add("work item", item, sizeof(*item), 0);
    return item;
}
NTH_EXPORT(IoAllocateWorkItem, 1);

VOID NTAPI IoFreeWorkItem(PIO_WORKITEM IoWorkItem)
{
    nth_irql_max(DISPATCH_LEVEL);
    nth_ledger_remove("work item", IoWorkItem);
    nth_lock(&work_lock);
    const bool is_queued = IoWorkItem->is_queued;
    nth_unlock(&work_lock);
    if (is_queued)
        nth_stop("workitem", "IoFreeWorkItem: %p is still queued", (void *)IoWorkItem);
    nth_mm_free(IoWorkItem, sizeof(*IoWorkItem));
}
NTH_EXPORT(IoFreeWorkItem, 1);

static void run(struct _IO_WORKITEM *item, DEVICE_OBJECT *device, const void *routine,
                void *context, bool is_ex)
{
    struct nth_driver *driver = nth_device_body(device)->driver;
    struct nth_callout callout;

    nth_callout_begin(&callout, "work item", routine);
    if (is_ex)
        ((routine_ex *)routine)(device, context, item);
    else
        ((PIO_WORKITEM_ROUTINE)routine)(device, context);
    nth_callout_end(&callout);
    nth_object_release(device);
    nth_driver_end(&driver->busy);
}

static void worker(void *number)
{
    const uintptr_t me = (uintptr_t)number;

    for (;;) {
        nth_lock(&work_lock);
        struct _IO_WORKITEM *item = first;
        if (!item && is_stopping) {
            nth_unlock(&work_lock);
            return;
        }
        if (!item) {
            sleeping[me] = nth_self();
            nth_unlock(&work_lock);
            nth_park(UINT64_MAX);
            nth_lock(&work_lock);
            sleeping[me] = NULL;
            nth_unlock(&work_lock);
            continue;
        }
        first = item->next; /* the item itself may be freed by its own routine */
        if (!first)
            last = &first;
        item->is_queued = false;
        DEVICE_OBJECT *device = item->device;
        const void *routine = item->routine;
        void *context = item->context;
        const bool is_ex = item->is_ex;
        nth_unlock(&work_lock);
        run(item, device, routine, context, is_ex);
    }
}

/* work_lock held. */
static void wake_one(void)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        if (!sleeping[i])
            continue;
        nth_unpark(sleeping[i]);
        sleeping[i] = NULL;
        return;
    }
}

static void queue(struct _IO_WORKITEM *item, const void *routine, bool is_ex, void *context)
{
    nth_object_reference(item->device);
    nth_driver_begin(&nth_device_body(item->device)->driver->busy);
    nth_lock(&work_lock);
    const bool was_queued = item->is_queued;
    if (!was_queued) {
        item->routine = routine;
        item->context = context;
        item->is_ex = is_ex;
        item->is_queued = true;
        item->next = NULL;
        *last = item;
        last = &item->next;
        wake_one();
    }
    nth_unlock(&work_lock);
    if (was_queued)
        nth_stop("workitem", "IoQueueWorkItem: %p is queued already", (void *)item);
}

static void check_type(WORK_QUEUE_TYPE type)
{
    if (type != DelayedWorkQueue && type != CriticalWorkQueue)
        nth_stop("workitem", "IoQueueWorkItem: queue type %d", (int)type);
}

VOID NTAPI IoQueueWorkItem(PIO_WORKITEM IoWorkItem, PIO_WORKITEM_ROUTINE WorkerRoutine,
                           WORK_QUEUE_TYPE QueueType, PVOID Context)
{
    nth_irql_max(DISPATCH_LEVEL);
    check_type(QueueType);
    queue(IoWorkItem, (const void *)WorkerRoutine, false, Context);
}
NTH_EXPORT(IoQueueWorkItem, 4);

static VOID NTAPI queue_ex(PIO_WORKITEM IoWorkItem, routine_ex *WorkerRoutine,
                           WORK_QUEUE_TYPE QueueType, PVOID Context)
{
    nth_irql_max(DISPATCH_LEVEL);
    check_type(QueueType);
    queue(IoWorkItem, (const void *)WorkerRoutine, true, Context);
}
NTH_EXPORT_AS(IoQueueWorkItemEx, "IoQueueWorkItemEx", queue_ex, 4);

static void work_boot(const struct nth_config *config)
{
    (void)config;
    is_stopping = false;
    for (uintptr_t i = 0; i < WORKERS; i++)
        workers[i] = nth_thread_create("io worker", worker, (void *)i, NULL);
    worker_count = WORKERS;
}

static void work_shutdown(void)
{
    nth_lock(&work_lock);
    is_stopping = true;
    for (unsigned i = 0; i < WORKERS; i++)
        wake_one();
    nth_unlock(&work_lock);
    for (unsigned i = 0; i < worker_count; i++)
        nth_join(workers[i]);
}
NTH_SUBSYSTEM(workitem, 32, work_boot, work_shutdown);
