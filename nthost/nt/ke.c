/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * IRQL, critical regions, processors, time and the calling thread, as drivers see them; the IRQL
 * checks that every kernel function begins with. Decides no scheduling (core/) and keeps no thread
 * state of its own (nt/ps.c).
 */
#include "nt/ke.h"
#include "nt/more.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    APIC_IPI_LEVEL = 14, /* IPI_LEVEL of amd64 */
    HIGHEST_LEVEL = 15,
    TICK_100NS = 156250,
    TICKS_PER_SECOND_QPC = 10000000,
    LOWEST_PRIORITY = 1,
    HIGHEST_PRIORITY = 31,
    DEFAULT_PRIORITY = 8,
};

/* 2026-01-01 00:00 UTC in 100 ns since 1601: NTH_SERIAL always boots then. */
#define SERIAL_BOOT_TIME 134116992000000000ULL
#define UNIX_EPOCH       116444736000000000ULL

static uint64_t boot_time;
/* The machine has been up for a while, so that "time since boot" is never taken for zero. */
static const uint64_t up_before_boot = 60ULL * TICKS_PER_SECOND_QPC;

/* ---- rules of IRQL ---- */

void nth_irql_max(KIRQL max)
{
    const KIRQL irql = nth_irql();

    if (irql > max && nth_call_name())
        nth_stop("irql-too-high", "%s at IRQL %u; at most %u", nth_call_name(), irql, max);
}

void nth_irql_min(KIRQL min)
{
    const KIRQL irql = nth_irql();

    if (irql < min && nth_call_name())
        nth_stop("irql-too-low", "%s at IRQL %u; at least %u", nth_call_name(), irql, min);
}

void nth_irql_exactly(KIRQL irql)
{
    nth_irql_max(irql);
    nth_irql_min(irql);
}

/* ---- IRQL ---- */

KIRQL NTAPI KeGetCurrentIrql(VOID)
{
    return nth_irql();
}
NTH_EXPORT(KeGetCurrentIrql, 0);

KIRQL FASTCALL KfRaiseIrql(KIRQL NewIrql)
{
    if (NewIrql < nth_irql() || NewIrql > HIGHEST_LEVEL)
        nth_stop("irql-direction", "KeRaiseIrql from %u to %u", nth_irql(), NewIrql);
    return nth_irql_raise(NewIrql);
}
NTH_EXPORT(KfRaiseIrql, 1);

KIRQL NTAPI KeRaiseIrqlToDpcLevel(VOID)
{
    nth_irql_max(DISPATCH_LEVEL);
    return nth_irql_raise(DISPATCH_LEVEL);
}
NTH_EXPORT(KeRaiseIrqlToDpcLevel, 0);

VOID NTAPI KeLowerIrql(KIRQL NewIrql)
{
    if (NewIrql > nth_irql())
        nth_stop("irql-direction", "KeLowerIrql from %u to %u", nth_irql(), NewIrql);
    if (NewIrql < DISPATCH_LEVEL && nth_dpc_is_running())
        nth_stop("irql-direction", "KeLowerIrql to %u inside a DPC routine", NewIrql);
    if (NewIrql < DISPATCH_LEVEL && nth_order_spinning())
        nth_stop("irql-lowered-with-lock", "KeLowerIrql to %u with %u spin locks held", NewIrql,
                 nth_order_spinning());
    nth_irql_lower(NewIrql);
}
NTH_EXPORT(KeLowerIrql, 1);
NTH_EXPORT_AS(KfLowerIrql, "KfLowerIrql", KeLowerIrql, 1);

/* ---- memory that is given up ---- */

void nth_active_check(const void *base, size_t bytes)
{
    nth_order_forget(base, bytes);
    nth_timer_check_freed(base, bytes);
    nth_dpc_check_freed(base, bytes);
    nth_resource_check_freed(base, bytes);
    nth_lookaside_check_freed(base, bytes);
    nth_work_check_freed(base, bytes);
    nth_wait_check_freed(base, bytes);
}

/* ---- the calling thread ---- */

PKTHREAD NTAPI KeGetCurrentThread(VOID)
{
    return (PKTHREAD)nth_ethread_current();
}
NTH_EXPORT(KeGetCurrentThread, 0);

VOID NTAPI KeEnterCriticalRegion(VOID)
{
    nth_irql_max(APC_LEVEL);
    nth_ethread_current()->apc_disable++;
}
NTH_EXPORT(KeEnterCriticalRegion, 0);

VOID NTAPI KeLeaveCriticalRegion(VOID)
{
    struct nth_ethread *const self = nth_ethread_current();

    nth_irql_max(APC_LEVEL);
    if (self->apc_disable <= (self->is_system ? 1 : 0))
        nth_stop("critical-region", "KeLeaveCriticalRegion outside of one");
    self->apc_disable--;
}
NTH_EXPORT(KeLeaveCriticalRegion, 0);

/* A guarded region also holds off special kernel APCs, of which there are none here. */
NTH_EXPORT_AS(KeEnterGuardedRegion, "KeEnterGuardedRegion", KeEnterCriticalRegion, 0);
NTH_EXPORT_AS(KeLeaveGuardedRegion, "KeLeaveGuardedRegion", KeLeaveCriticalRegion, 0);
VOID NTAPI KeEnterGuardedRegion(VOID)
{
    KeEnterCriticalRegion();
}
VOID NTAPI KeLeaveGuardedRegion(VOID)
{
    KeLeaveCriticalRegion();
}

BOOLEAN NTAPI KeAreApcsDisabled(VOID)
{
    nth_irql_max(DISPATCH_LEVEL);
    return nth_ethread_current()->apc_disable > 0;
}
NTH_EXPORT(KeAreApcsDisabled, 0);

BOOLEAN NTAPI KeAreAllApcsDisabled(VOID)
{
    nth_irql_max(DISPATCH_LEVEL);
    return nth_irql() >= APC_LEVEL;
}
NTH_EXPORT(KeAreAllApcsDisabled, 0);

KPRIORITY NTAPI KeQueryPriorityThread(PKTHREAD Thread)
{
    const struct nth_ethread *const thread = (const struct nth_ethread *)Thread;

    nth_irql_exactly(PASSIVE_LEVEL);
    return thread->priority ? thread->priority : DEFAULT_PRIORITY;
}
NTH_EXPORT(KeQueryPriorityThread, 1);

/* The number is kept and answered; schedules come from the seed or from Linux. */
KPRIORITY NTAPI KeSetPriorityThread(PKTHREAD Thread, KPRIORITY Priority)
{
    struct nth_ethread *const thread = (struct nth_ethread *)Thread;

    nth_irql_exactly(PASSIVE_LEVEL);
    if (Priority < LOWEST_PRIORITY || Priority > HIGHEST_PRIORITY)
        nth_stop("bad-parameter", "KeSetPriorityThread to %d", Priority);
    const KPRIORITY before = thread->priority ? thread->priority : DEFAULT_PRIORITY;
    thread->priority = Priority;
    return before;
}
NTH_EXPORT(KeSetPriorityThread, 2);

/* ---- another process's address space ---- */

VOID NTAPI KeStackAttachProcess(PRKPROCESS Process, PRKAPC_STATE ApcState)
{
    nth_irql_max(APC_LEVEL);
    if (nth_dpc_is_running())
        nth_stop("irql-too-high", "KeStackAttachProcess inside a DPC routine");
    memset(ApcState, 0, sizeof(*ApcState));
    ApcState->Process = (void *)nth_process_attach((struct nth_process *)Process);
}
NTH_EXPORT(KeStackAttachProcess, 2);

VOID NTAPI KeUnstackDetachProcess(PRKAPC_STATE ApcState)
{
    nth_irql_max(APC_LEVEL);
    nth_process_attach((struct nth_process *)ApcState->Process);
}
NTH_EXPORT(KeUnstackDetachProcess, 1);

/* ---- processors ---- */

static KAFFINITY all_processors(void)
{
    return nth_cpu_count() == 64 ? ~0ULL : (1ULL << nth_cpu_count()) - 1;
}

ULONG NTAPI KeGetCurrentProcessorNumberEx(PPROCESSOR_NUMBER ProcNumber)
{
    const unsigned cpu = nth_cpu_current();

    if (ProcNumber)
        *ProcNumber = (PROCESSOR_NUMBER){.Number = (UCHAR)cpu};
    return cpu;
}
NTH_EXPORT(KeGetCurrentProcessorNumberEx, 1);

ULONG NTAPI KeGetCurrentProcessorNumber(VOID)
{
    return nth_cpu_current();
}
NTH_EXPORT(KeGetCurrentProcessorNumber, 0);

NTSTATUS NTAPI KeGetProcessorNumberFromIndex(ULONG ProcIndex, PPROCESSOR_NUMBER ProcNumber)
{
    if (ProcIndex >= nth_cpu_count())
        return STATUS_INVALID_PARAMETER;
    *ProcNumber = (PROCESSOR_NUMBER){.Number = (UCHAR)ProcIndex};
    return STATUS_SUCCESS;
}
NTH_EXPORT(KeGetProcessorNumberFromIndex, 2);

ULONG NTAPI KeGetProcessorIndexFromNumber(PPROCESSOR_NUMBER ProcNumber)
{
    const bool is_valid =
        ProcNumber->Group == 0 && ProcNumber->Number < nth_cpu_count() && ProcNumber->Reserved == 0;

    return is_valid ? ProcNumber->Number : ~0U; /* INVALID_PROCESSOR_INDEX */
}
NTH_EXPORT(KeGetProcessorIndexFromNumber, 1);

ULONG NTAPI KeQueryActiveProcessorCount(PKAFFINITY ActiveProcessors)
{
    if (ActiveProcessors)
        *ActiveProcessors = all_processors();
    return nth_cpu_count();
}
NTH_EXPORT(KeQueryActiveProcessorCount, 1);

KAFFINITY NTAPI KeQueryActiveProcessors(VOID)
{
    return all_processors();
}
NTH_EXPORT(KeQueryActiveProcessors, 0);

ULONG NTAPI KeQueryActiveProcessorCountEx(USHORT GroupNumber)
{
    return GroupNumber == 0 || GroupNumber == ALL_PROCESSOR_GROUPS ? nth_cpu_count() : 0;
}
NTH_EXPORT(KeQueryActiveProcessorCountEx, 1);
NTH_EXPORT_AS(KeQueryMaximumProcessorCountEx, "KeQueryMaximumProcessorCountEx",
              KeQueryActiveProcessorCountEx, 1);

ULONG NTAPI KeQueryMaximumProcessorCountEx(USHORT GroupNumber)
{
    return KeQueryActiveProcessorCountEx(GroupNumber);
}

ULONG NTAPI KeQueryMaximumProcessorCount(VOID)
{
    return nth_cpu_count();
}
NTH_EXPORT(KeQueryMaximumProcessorCount, 0);

USHORT NTAPI KeQueryActiveGroupCount(VOID)
{
    return 1;
}
NTH_EXPORT(KeQueryActiveGroupCount, 0);
NTH_EXPORT_AS(KeQueryMaximumGroupCount, "KeQueryMaximumGroupCount", KeQueryActiveGroupCount, 0);

KAFFINITY NTAPI KeQueryGroupAffinity(USHORT GroupNumber)
{
    return GroupNumber == 0 ? all_processors() : 0;
}
NTH_EXPORT(KeQueryGroupAffinity, 1);

/* ---- affinity ----
 * A thread's affinity before the first of these calls was "assigned in user mode": answered as
 * zero, which the revert takes to mean any processor. A thread keeps one such mask in core. */

VOID NTAPI KeSetSystemGroupAffinityThread(PGROUP_AFFINITY Affinity,
                                          PGROUP_AFFINITY PreviousAffinity)
{
    GROUP_AFFINITY before = {0};

    nth_irql_max(DISPATCH_LEVEL);
    const KAFFINITY wanted = Affinity->Mask & all_processors();
    if (Affinity->Group == 0 && wanted) {
        const uint64_t mask = nth_cpu_affinity(wanted);
        before.Mask = mask == UINT64_MAX ? 0 : mask;
    }
    if (PreviousAffinity)
        *PreviousAffinity = before;
}
NTH_EXPORT(KeSetSystemGroupAffinityThread, 2);

VOID NTAPI KeRevertToUserGroupAffinityThread(PGROUP_AFFINITY PreviousAffinity)
{
    nth_irql_max(DISPATCH_LEVEL);
    const KAFFINITY mask = PreviousAffinity->Mask & all_processors();
    if (PreviousAffinity->Group == 0)
        nth_cpu_affinity(mask ? mask : UINT64_MAX);
}
NTH_EXPORT(KeRevertToUserGroupAffinityThread, 1);

KAFFINITY NTAPI KeSetSystemAffinityThreadEx(KAFFINITY Affinity)
{
    GROUP_AFFINITY wanted = {.Mask = Affinity}, before;

    KeSetSystemGroupAffinityThread(&wanted, &before);
    return before.Mask;
}
NTH_EXPORT(KeSetSystemAffinityThreadEx, 1);

VOID NTAPI KeRevertToUserAffinityThreadEx(KAFFINITY Affinity)
{
    GROUP_AFFINITY before = {.Mask = Affinity};

    KeRevertToUserGroupAffinityThread(&before);
}
NTH_EXPORT(KeRevertToUserAffinityThreadEx, 1);

/* ---- every processor ---- */

static struct nth_mutex ipi_lock = NTH_MUTEX_INIT;

/* One after the other, each time "on" that processor at IPI_LEVEL. In NTH_SERIAL nobody else runs
 * meanwhile, as no thread is preempted that has a host lock; in NTH_PARALLEL other threads go on,
 * which docs/fidelity.md says. */
ULONG_PTR NTAPI KeIpiGenericCall(PKIPI_BROADCAST_WORKER BroadcastFunction, ULONG_PTR Context)
{
    if (nth_irql() >= APIC_IPI_LEVEL)
        nth_stop("irql-too-high", "KeIpiGenericCall at IRQL %u", nth_irql());
    const KIRQL before = nth_irql_raise(APIC_IPI_LEVEL);
    const unsigned home = nth_cpu_current();
    ULONG_PTR result = 0;
    nth_lock(&ipi_lock);
    for (unsigned cpu = 0; cpu < nth_cpu_count(); cpu++) {
        nth_cpu_pretend(cpu);
        const ULONG_PTR value = BroadcastFunction(Context);
        if (cpu == home)
            result = value;
    }
    nth_cpu_pretend(home);
    nth_unlock(&ipi_lock);
    nth_irql_lower(before);
    return result;
}
NTH_EXPORT(KeIpiGenericCall, 2);

struct change_callback {
    PPROCESSOR_CALLBACK_FUNCTION function;
    void *context;
};

static void notify_change(const struct change_callback *callback, unsigned cpu,
                          KE_PROCESSOR_CHANGE_NOTIFY_STATE state, NTSTATUS *status)
{
    KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change = {
        .State = state, .NtNumber = cpu, .ProcNumber = {.Number = (UCHAR)cpu}};
    struct nth_callout callout;

    nth_callout_begin(&callout, "processor change callback", (void *)callback->function);
    callback->function(callback->context, &change, status);
    nth_callout_end(&callout);
}

/* Processors never come or go here, so only those that exist are told of. */
PVOID NTAPI KeRegisterProcessorChangeCallback(PPROCESSOR_CALLBACK_FUNCTION CallbackFunction,
                                              PVOID CallbackContext, ULONG Flags)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    if (nth_fault(NTH_FAULT_REGISTER, "KeRegisterProcessorChangeCallback"))
        return NULL;
    struct change_callback *const callback = malloc(sizeof(*callback));
    if (!callback)
        nth_fail("no memory for a processor change callback");
    *callback = (struct change_callback){.function = CallbackFunction, .context = CallbackContext};
    nth_ledger_add("processor-callback", callback, sizeof(*callback), (uintptr_t)CallbackFunction);
    if (!(Flags & KE_PROCESSOR_CHANGE_ADD_EXISTING))
        return callback;
    NTSTATUS status = STATUS_SUCCESS;
    unsigned told = 0;
    for (; told < nth_cpu_count() && NT_SUCCESS(status); told++)
        notify_change(callback, told, KeProcessorAddStartNotify, &status);
    const bool has_failed = !NT_SUCCESS(status);
    for (unsigned cpu = 0; has_failed && cpu + 1 < told; cpu++)
        notify_change(callback, cpu, KeProcessorAddFailureNotify, &status);
    return callback;
}
NTH_EXPORT(KeRegisterProcessorChangeCallback, 3);

VOID NTAPI KeDeregisterProcessorChangeCallback(PVOID CallbackHandle)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    nth_ledger_remove("processor-callback", CallbackHandle);
    free(CallbackHandle);
}
NTH_EXPORT(KeDeregisterProcessorChangeCallback, 1);

/* ---- time ---- */

uint64_t nth_system_time(void)
{
    return boot_time + nth_clock_ns() / 100;
}

uint64_t nth_interrupt_time(void)
{
    return up_before_boot + nth_clock_ns() / 100;
}

LARGE_INTEGER NTAPI KeQueryPerformanceCounter(PLARGE_INTEGER PerformanceFrequency)
{
    if (PerformanceFrequency)
        PerformanceFrequency->QuadPart = TICKS_PER_SECOND_QPC;
    return (LARGE_INTEGER){.QuadPart = (LONGLONG)nth_interrupt_time()};
}
NTH_EXPORT(KeQueryPerformanceCounter, 1);

/* The coarse forms move once a clock tick, the precise ones always. */
ULONGLONG NTAPI KeQueryInterruptTime(VOID)
{
    const uint64_t now = nth_interrupt_time();

    return now - now % TICK_100NS;
}
NTH_EXPORT(KeQueryInterruptTime, 0);

ULONGLONG NTAPI KeQueryInterruptTimePrecise(PULONG64 QpcTimeStamp)
{
    const uint64_t now = nth_interrupt_time();

    *QpcTimeStamp = now;
    return now;
}
NTH_EXPORT(KeQueryInterruptTimePrecise, 1);

/* The machine never hibernates, so there is no bias. */
ULONGLONG NTAPI KeQueryUnbiasedInterruptTime(VOID)
{
    return nth_interrupt_time();
}
NTH_EXPORT(KeQueryUnbiasedInterruptTime, 0);

VOID NTAPI KeQuerySystemTimePrecise(PLARGE_INTEGER CurrentTime)
{
    CurrentTime->QuadPart = (LONGLONG)nth_system_time();
}
NTH_EXPORT(KeQuerySystemTimePrecise, 1);

ULONG NTAPI KeQueryTimeIncrement(VOID)
{
    return TICK_100NS;
}
NTH_EXPORT(KeQueryTimeIncrement, 0);

VOID NTAPI KeStallExecutionProcessor(ULONG MicroSeconds)
{
    const uint64_t until = nth_clock_ns() + MicroSeconds * 1000ULL;

    while (nth_clock_ns() < until)
        nth_point();
}
NTH_EXPORT(KeStallExecutionProcessor, 1);

/* No page documents it; it lets another ready thread run, as SwitchToThread does. */
NTSTATUS NTAPI ZwYieldExecution(VOID)
{
    nth_irql_max(APC_LEVEL);
    nth_yield();
    return STATUS_SUCCESS;
}
NTH_EXPORT(ZwYieldExecution, 0);
NTH_EXPORT_AS(NtYieldExecution, "NtYieldExecution", ZwYieldExecution, 0);

/* ---- birth ---- */

/* For code that reads gs:[0x188] by itself. */
static void *current_thread(void)
{
    return nth_ethread_current();
}

static void ke_boot(const struct nth_config *config)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    boot_time = config->mode == NTH_SERIAL
                    ? SERIAL_BOOT_TIME
                    : UNIX_EPOCH + (uint64_t)t.tv_sec * 10000000U + (uint64_t)t.tv_nsec / 100;
    nth_system_time_hook = nth_system_time;
    nth_current_thread_hook = current_thread;
}

NTH_SUBSYSTEM(ke, 30, ke_boot, NULL);
