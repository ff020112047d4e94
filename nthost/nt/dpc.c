/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Deferred procedure calls: a queue for each processor, run by core/cpu.c at DISPATCH_LEVEL on it.
 * A KDPC belongs to the driver again the moment its routine is called, so nothing of it is touched
 * after that.
 */
#include "nt/ke.h"
#include "nt/more.h"

#include <string.h>

enum {
    MAX_CPUS = 64,
    TYPE_DPC = 0x13,
    TYPE_THREADED_DPC = 0x18,
    TARGETED = 0x800, /* KDPC.Number: with the processor in the low bits; less: not targeted */
};

struct queue {
    struct nth_mutex lock;
    /* changed under the lock; whether first is NULL may be looked at without it */
    SINGLE_LIST_ENTRY *first, **last;
} __attribute__((aligned(64)));

/* What is copied out of a KDPC before its routine runs. */
struct call {
    PKDPC dpc;
    PKDEFERRED_ROUTINE routine;
    void *context, *argument1, *argument2;
};

static struct queue queues[MAX_CPUS];
static __thread bool is_running;

bool nth_dpc_is_running(void)
{
    return is_running;
}

static void check_initialized(const KDPC *dpc)
{
    if (dpc->Type != TYPE_DPC && dpc->Type != TYPE_THREADED_DPC)
        nth_stop("object-not-initialized", "%p is no initialised DPC", (const void *)dpc);
}

/* ---- queues ---- */

static void link_to(SINGLE_LIST_ENTRY **link, SINGLE_LIST_ENTRY *entry)
{
    __atomic_store_n(link, entry, __ATOMIC_RELAXED);
}

static void enqueue(struct queue *queue, PKDPC dpc)
{
    SINGLE_LIST_ENTRY *const entry = &dpc->DpcListEntry;

    if (dpc->Importance == HighImportance) {
        entry->Next = queue->first;
        link_to(&queue->first, entry);
        if (queue->last == &queue->first)
            queue->last = &entry->Next;
    } else {
        entry->Next = NULL;
        link_to(queue->last, entry);
        queue->last = &entry->Next;
    }
}

static bool dequeue(struct queue *queue, PKDPC dpc)
{
    for (SINGLE_LIST_ENTRY **at = &queue->first; *at; at = &(*at)->Next) {
        if (*at != &dpc->DpcListEntry)
            continue;
        link_to(at, dpc->DpcListEntry.Next);
        if (queue->last == &dpc->DpcListEntry.Next)
            queue->last = at;
        return true;
    }
    return false;
}

bool nth_dpc_insert(KDPC *dpc, void *argument1, void *argument2, unsigned cpu)
{
    if (dpc->Number >= TARGETED)
        cpu = dpc->Number - TARGETED;
    struct queue *const queue = &queues[cpu % nth_cpu_count()];
    nth_lock(&queue->lock);
    void *nowhere = NULL;
    /* DpcData is the queue that holds it: who sets it owns the insertion. */
    const bool is_mine = __atomic_compare_exchange_n(&dpc->DpcData, &nowhere, queue, false,
                                                     __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    if (is_mine) {
        dpc->SystemArgument1 = argument1;
        dpc->SystemArgument2 = argument2;
        enqueue(queue, dpc);
    }
    nth_unlock(&queue->lock);
    if (is_mine)
        nth_cpu_request_dpc((unsigned)(queue - queues));
    return is_mine;
}

static bool pop(struct queue *queue, struct call *call)
{
    nth_lock(&queue->lock);
    SINGLE_LIST_ENTRY *const entry = queue->first;
    if (entry) {
        PKDPC const dpc = CONTAINING_RECORD(entry, KDPC, DpcListEntry);
        dequeue(queue, dpc);
        *call = (struct call){.dpc = dpc,
                              .routine = dpc->DeferredRoutine,
                              .context = dpc->DeferredContext,
                              .argument1 = dpc->SystemArgument1,
                              .argument2 = dpc->SystemArgument2};
        __atomic_store_n(&dpc->DpcData, NULL, __ATOMIC_RELEASE);
    }
    nth_unlock(&queue->lock);
    return entry != NULL;
}

/* core/cpu.c, on that processor at DISPATCH_LEVEL. */
static void run_dpcs(unsigned cpu)
{
    struct nth_callout callout;
    struct call call;

    while (pop(&queues[cpu], &call)) {
        is_running = true;
        nth_callout_begin(&callout, "DPC routine", (const void *)call.routine);
        call.routine(call.dpc, call.context, call.argument1, call.argument2);
        nth_callout_end(&callout);
        is_running = false;
    }
}

void nth_dpc_check_freed(const void *base, size_t bytes)
{
    const void *found = NULL;

    for (unsigned cpu = 0; cpu < nth_cpu_count(); cpu++) {
        if (!__atomic_load_n(&queues[cpu].first, __ATOMIC_RELAXED))
            continue;
        nth_lock(&queues[cpu].lock);
        for (const SINGLE_LIST_ENTRY *e = queues[cpu].first; e; e = e->Next)
            if (is_within(e, base, bytes))
                found = CONTAINING_RECORD(e, KDPC, DpcListEntry);
        nth_unlock(&queues[cpu].lock);
    }
    if (found)
        nth_stop("active-object-freed", "DPC %p is queued while its memory is given up", found);
}

/* ---- what drivers call ---- */

static void init_dpc(PKDPC dpc, UCHAR type, PKDEFERRED_ROUTINE routine, void *context)
{
    nth_dpc_check_freed(dpc, sizeof(*dpc));
    memset(dpc, 0, sizeof(*dpc));
    dpc->Type = type;
    dpc->Importance = MediumImportance;
    dpc->DeferredRoutine = routine;
    dpc->DeferredContext = context;
}

VOID NTAPI KeInitializeDpc(PKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine, PVOID DeferredContext)
{
    init_dpc(Dpc, TYPE_DPC, DeferredRoutine, DeferredContext);
}
NTH_EXPORT(KeInitializeDpc, 3);

/* Runs as an ordinary DPC, as on a system where threaded DPCs are disabled. */
VOID NTAPI KeInitializeThreadedDpc(PKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine,
                                   PVOID DeferredContext)
{
    init_dpc(Dpc, TYPE_THREADED_DPC, DeferredRoutine, DeferredContext);
}
NTH_EXPORT(KeInitializeThreadedDpc, 3);

BOOLEAN NTAPI KeInsertQueueDpc(PKDPC Dpc, PVOID SystemArgument1, PVOID SystemArgument2)
{
    check_initialized(Dpc);
    return nth_dpc_insert(Dpc, SystemArgument1, SystemArgument2, nth_cpu_current());
}
NTH_EXPORT(KeInsertQueueDpc, 3);

BOOLEAN NTAPI KeRemoveQueueDpc(PKDPC Dpc)
{
    check_initialized(Dpc);
    struct queue *const queue = __atomic_load_n(&Dpc->DpcData, __ATOMIC_ACQUIRE);
    if (!queue)
        return FALSE;
    nth_lock(&queue->lock);
    const bool was_queued = Dpc->DpcData == queue && dequeue(queue, Dpc);
    if (was_queued)
        __atomic_store_n(&Dpc->DpcData, NULL, __ATOMIC_RELEASE);
    nth_unlock(&queue->lock);
    return was_queued;
}
NTH_EXPORT(KeRemoveQueueDpc, 1);

VOID NTAPI KeSetImportanceDpc(PKDPC Dpc, KDPC_IMPORTANCE Importance)
{
    check_initialized(Dpc);
    Dpc->Importance = (UCHAR)Importance;
}
NTH_EXPORT(KeSetImportanceDpc, 2);

static void set_target(PKDPC dpc, unsigned cpu)
{
    check_initialized(dpc);
    dpc->Number = (USHORT)(TARGETED + cpu);
}

VOID NTAPI KeSetTargetProcessorDpc(PKDPC Dpc, CCHAR Number)
{
    if (Number < 0 || (unsigned)Number >= nth_cpu_count())
        nth_stop("bad-parameter", "KeSetTargetProcessorDpc to processor %d of %u", Number,
                 nth_cpu_count());
    set_target(Dpc, (unsigned)Number);
}
NTH_EXPORT(KeSetTargetProcessorDpc, 2);

NTSTATUS NTAPI KeSetTargetProcessorDpcEx(PKDPC Dpc, PPROCESSOR_NUMBER ProcNumber)
{
    if (ProcNumber->Group || ProcNumber->Reserved || ProcNumber->Number >= nth_cpu_count())
        return STATUS_INVALID_PARAMETER;
    set_target(Dpc, ProcNumber->Number);
    return STATUS_SUCCESS;
}
NTH_EXPORT(KeSetTargetProcessorDpcEx, 2);

/* A thread below DISPATCH_LEVEL that has been on a processor has seen its queue empty: so it visits
 * each of them. */
VOID NTAPI KeFlushQueuedDpcs(VOID)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    const uint64_t before = nth_cpu_affinity(UINT64_MAX);
    for (unsigned cpu = 0; cpu < nth_cpu_count(); cpu++) {
        nth_cpu_pin((int)cpu);
        nth_irql_raise(DISPATCH_LEVEL);
        nth_irql_lower(PASSIVE_LEVEL);
    }
    nth_cpu_affinity(before);
}
NTH_EXPORT(KeFlushQueuedDpcs, 0);

/* No limit is in force: "a value of zero" says so. */
NTSTATUS NTAPI KeQueryDpcWatchdogInformation(PKDPC_WATCHDOG_INFORMATION WatchdogInformation)
{
    nth_irql_min(DISPATCH_LEVEL);
    memset(WatchdogInformation, 0, sizeof(*WatchdogInformation));
    return STATUS_SUCCESS;
}
NTH_EXPORT(KeQueryDpcWatchdogInformation, 1);

ULONG NTAPI KeIsExecutingDpc(VOID)
{
    nth_irql_min(DISPATCH_LEVEL);
    return is_running;
}
NTH_EXPORT(KeIsExecutingDpc, 0);

/* Another DPC waits on this processor. */
LOGICAL NTAPI KeShouldYieldProcessor(VOID)
{
    nth_irql_min(DISPATCH_LEVEL);
    return __atomic_load_n(&queues[nth_cpu_current()].first, __ATOMIC_RELAXED) != NULL;
}
NTH_EXPORT(KeShouldYieldProcessor, 0);

static void dpc_boot(const struct nth_config *config)
{
    for (unsigned i = 0; i < MAX_CPUS; i++) {
        queues[i] = (struct queue){.lock = NTH_MUTEX_INIT};
        queues[i].last = &queues[i].first;
    }
    nth_dpc_hook = run_dpcs;
}

NTH_SUBSYSTEM(dpc, 30, dpc_boot, NULL);
