/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Rundown protection, plain and cache-aware. A reference word counts in steps of two; bit 0 says
 * that it is run down, and then the rest is the waiter's block, or nothing once all are back. Bound
 * to nobody's thread: acquire and release may happen on different threads and processors.
 */
#include "nt/ke.h"

#include <string.h>

#define RUN_DOWN ((ULONG_PTR)1)
#define ONE      ((ULONG_PTR)2)

enum { MAGIC_CACHE_AWARE = 0x77725243, LINE = 64 };

struct rundown_wait {
    _Atomic int64_t left;
    KEVENT all_back;
} __attribute__((aligned(16)));

/* ---- one word ---- */

static bool word_acquire(ULONG_PTR *word, ULONG count)
{
    ULONG_PTR value = __atomic_load_n(word, __ATOMIC_RELAXED);

    while (!(value & RUN_DOWN))
        if (__atomic_compare_exchange_n(word, &value, value + count * ONE, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return true;
    return false;
}

static void block_release(struct rundown_wait *block, ULONG count)
{
    if (!block)
        nth_stop("rundown-not-held", "run-down protection is released after the run down ended");
    const int64_t before = atomic_fetch_sub(&block->left, count);
    if (before == (int64_t)count)
        KeSetEvent(&block->all_back, 0, FALSE); /* the waiter takes the dispatcher lock to leave */
}

/* is_shared: one of several words, each of which may run below zero. */
static void word_release(ULONG_PTR *word, ULONG count, bool is_shared)
{
    /* acquire: the waiter's block is there before the word that points to it */
    ULONG_PTR value = __atomic_load_n(word, __ATOMIC_ACQUIRE);

    do {
        if (value & RUN_DOWN) {
            block_release((struct rundown_wait *)(value & ~RUN_DOWN), count);
            return;
        }
        if (!is_shared && value < count * ONE)
            nth_stop("rundown-not-held", "%u references to %p are released, %llu are held", count,
                     (void *)word, (unsigned long long)(value / ONE));
    } while (!__atomic_compare_exchange_n(word, &value, value - count * ONE, false,
                                          __ATOMIC_RELEASE, __ATOMIC_ACQUIRE));
}

static void wait_begin(struct rundown_wait *block)
{
    atomic_store(&block->left, 0);
    nth_dispatcher_init_header(&block->all_back.Header, OBJECT_EVENT_NOTIFICATION, 6, 0);
}

/* held: what was counted in the words when they were closed. Returns once all of it is back. */
static void wait_end(struct rundown_wait *block, int64_t held)
{
    if (held < 0)
        nth_stop("rundown-not-held", "%lld references more were released than acquired",
                 (long long)-held);
    if (atomic_fetch_add(&block->left, held) + held == 0)
        return;
    void *object = &block->all_back;
    nth_wait_as(1, &object, NTH_WAIT_ANY, KernelMode, false, NULL);
}

static void check_is_run_down(ULONG_PTR value, const void *reference)
{
    if (!(value & RUN_DOWN))
        nth_stop("rundown-state", "%p has not been run down", reference);
}

/* ---- plain ---- */

VOID FASTCALL ExInitializeRundownProtection(PEX_RUNDOWN_REF RunRef)
{
    nth_irql_max(APC_LEVEL);
    __atomic_store_n(&RunRef->Count, 0, __ATOMIC_RELEASE);
}
NTH_EXPORT(ExInitializeRundownProtection, 1);

VOID FASTCALL ExReInitializeRundownProtection(PEX_RUNDOWN_REF RunRef)
{
    nth_irql_max(APC_LEVEL);
    check_is_run_down(__atomic_load_n(&RunRef->Count, __ATOMIC_ACQUIRE), RunRef);
    __atomic_store_n(&RunRef->Count, 0, __ATOMIC_RELEASE);
}
NTH_EXPORT(ExReInitializeRundownProtection, 1);

BOOLEAN FASTCALL ExAcquireRundownProtectionEx(PEX_RUNDOWN_REF RunRef, ULONG Count)
{
    nth_irql_max(DISPATCH_LEVEL);
    return word_acquire(&RunRef->Count, Count);
}
NTH_EXPORT(ExAcquireRundownProtectionEx, 2);

BOOLEAN FASTCALL ExAcquireRundownProtection(PEX_RUNDOWN_REF RunRef)
{
    return ExAcquireRundownProtectionEx(RunRef, 1);
}
NTH_EXPORT(ExAcquireRundownProtection, 1);

VOID FASTCALL ExReleaseRundownProtectionEx(PEX_RUNDOWN_REF RunRef, ULONG Count)
{
    nth_irql_max(DISPATCH_LEVEL);
    word_release(&RunRef->Count, Count, false);
    nth_point();
}
NTH_EXPORT(ExReleaseRundownProtectionEx, 2);

VOID FASTCALL ExReleaseRundownProtection(PEX_RUNDOWN_REF RunRef)
{
    ExReleaseRundownProtectionEx(RunRef, 1);
}
NTH_EXPORT(ExReleaseRundownProtection, 1);

VOID FASTCALL ExWaitForRundownProtectionRelease(PEX_RUNDOWN_REF RunRef)
{
    struct rundown_wait block;
    ULONG_PTR value = __atomic_load_n(&RunRef->Count, __ATOMIC_ACQUIRE);

    nth_irql_max(APC_LEVEL);
    wait_begin(&block);
    do {
        if (value & RUN_DOWN)
            return; /* "already run down: no effect, no error" */
    } while (!__atomic_compare_exchange_n(&RunRef->Count, &value, (ULONG_PTR)&block | RUN_DOWN,
                                          false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    wait_end(&block, (int64_t)(value / ONE));
    __atomic_store_n(&RunRef->Count, RUN_DOWN, __ATOMIC_RELEASE);
}
NTH_EXPORT(ExWaitForRundownProtectionRelease, 1);

VOID FASTCALL ExRundownCompleted(PEX_RUNDOWN_REF RunRef)
{
    nth_irql_max(APC_LEVEL);
    check_is_run_down(__atomic_load_n(&RunRef->Count, __ATOMIC_ACQUIRE), RunRef);
    __atomic_store_n(&RunRef->Count, RUN_DOWN, __ATOMIC_RELEASE);
}
NTH_EXPORT(ExRundownCompleted, 1);

/* ---- cache-aware: a word for each processor ---- */

struct line {
    ULONG_PTR count;
} __attribute__((aligned(LINE)));

struct _EX_RUNDOWN_REF_CACHE_AWARE {
    ULONG magic, lines;
    BOOLEAN is_allocated;
    char room[]; /* lines, aligned at run time: the caller's memory need not be */
};

static struct line *lines_of(PEX_RUNDOWN_REF_CACHE_AWARE reference)
{
    if (reference->magic != MAGIC_CACHE_AWARE)
        nth_stop("object-not-initialized", "%p is no cache-aware run-down reference",
                 (void *)reference);
    return (struct line *)(((uintptr_t)reference->room + LINE - 1) & ~(uintptr_t)(LINE - 1));
}

static ULONG_PTR *own_word(PEX_RUNDOWN_REF_CACHE_AWARE reference)
{
    return &lines_of(reference)[nth_cpu_current() % reference->lines].count;
}

static void reset(PEX_RUNDOWN_REF_CACHE_AWARE reference)
{
    struct line *const lines = lines_of(reference);

    for (ULONG i = 0; i < reference->lines; i++)
        __atomic_store_n(&lines[i].count, 0, __ATOMIC_RELEASE);
}

SIZE_T NTAPI ExSizeOfRundownProtectionCacheAware(VOID)
{
    nth_irql_max(APC_LEVEL);
    return sizeof(struct _EX_RUNDOWN_REF_CACHE_AWARE) + LINE +
           nth_cpu_count() * sizeof(struct line);
}
NTH_EXPORT(ExSizeOfRundownProtectionCacheAware, 0);

VOID NTAPI ExInitializeRundownProtectionCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware,
                                                   SIZE_T RunRefSize)
{
    nth_irql_max(APC_LEVEL);
    if (RunRefSize < ExSizeOfRundownProtectionCacheAware())
        nth_stop("bad-parameter", "ExInitializeRundownProtectionCacheAware with %llu bytes",
                 (unsigned long long)RunRefSize);
    RunRefCacheAware->magic = MAGIC_CACHE_AWARE;
    RunRefCacheAware->lines = nth_cpu_count();
    RunRefCacheAware->is_allocated = FALSE;
    reset(RunRefCacheAware);
}
NTH_EXPORT(ExInitializeRundownProtectionCacheAware, 2);

PEX_RUNDOWN_REF_CACHE_AWARE NTAPI ExAllocateCacheAwareRundownProtection(POOL_TYPE PoolType,
                                                                        ULONG PoolTag)
{
    nth_irql_max(APC_LEVEL);
    const SIZE_T bytes = ExSizeOfRundownProtectionCacheAware();
    PEX_RUNDOWN_REF_CACHE_AWARE reference = ExAllocatePoolWithTag(PoolType, bytes, PoolTag);
    if (!reference)
        return NULL;
    ExInitializeRundownProtectionCacheAware(reference, bytes);
    reference->is_allocated = TRUE;
    return reference;
}
NTH_EXPORT(ExAllocateCacheAwareRundownProtection, 2);

VOID NTAPI ExFreeCacheAwareRundownProtection(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
    nth_irql_max(APC_LEVEL);
    lines_of(RunRefCacheAware);
    if (!RunRefCacheAware->is_allocated)
        nth_stop("double-free", "%p was not made by ExAllocateCacheAwareRundownProtection",
                 (void *)RunRefCacheAware);
    RunRefCacheAware->magic = 0;
    ExFreePool(RunRefCacheAware);
}
NTH_EXPORT(ExFreeCacheAwareRundownProtection, 1);

VOID FASTCALL
ExReInitializeRundownProtectionCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
    nth_irql_max(APC_LEVEL);
    check_is_run_down(__atomic_load_n(&lines_of(RunRefCacheAware)->count, __ATOMIC_ACQUIRE),
                      RunRefCacheAware);
    reset(RunRefCacheAware);
}
NTH_EXPORT(ExReInitializeRundownProtectionCacheAware, 1);

BOOLEAN FASTCALL
ExAcquireRundownProtectionCacheAwareEx(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware, ULONG Count)
{
    nth_irql_max(DISPATCH_LEVEL);
    return word_acquire(own_word(RunRefCacheAware), Count);
}
NTH_EXPORT(ExAcquireRundownProtectionCacheAwareEx, 2);

BOOLEAN FASTCALL ExAcquireRundownProtectionCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
    return ExAcquireRundownProtectionCacheAwareEx(RunRefCacheAware, 1);
}
NTH_EXPORT(ExAcquireRundownProtectionCacheAware, 1);

VOID FASTCALL ExReleaseRundownProtectionCacheAwareEx(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware,
                                                     ULONG Count)
{
    nth_irql_max(DISPATCH_LEVEL);
    word_release(own_word(RunRefCacheAware), Count, true);
    nth_point();
}
NTH_EXPORT(ExReleaseRundownProtectionCacheAwareEx, 2);

VOID FASTCALL ExReleaseRundownProtectionCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
    ExReleaseRundownProtectionCacheAwareEx(RunRefCacheAware, 1);
}
NTH_EXPORT(ExReleaseRundownProtectionCacheAware, 1);

/* Closes word by word. What a closed word's references release meanwhile is subtracted in the
 * block, which therefore is at or below zero until the sum is added: nobody signals early. */
VOID FASTCALL
ExWaitForRundownProtectionReleaseCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
    struct line *const lines = lines_of(RunRefCacheAware);
    struct rundown_wait block;
    int64_t held = 0;

    nth_irql_max(APC_LEVEL);
    wait_begin(&block);
    if (__atomic_load_n(&lines->count, __ATOMIC_ACQUIRE) & RUN_DOWN)
        return;
    for (ULONG i = 0; i < RunRefCacheAware->lines; i++)
        held += (int64_t)__atomic_exchange_n(&lines[i].count, (ULONG_PTR)&block | RUN_DOWN,
                                             __ATOMIC_ACQ_REL) /
                (int64_t)ONE;
    wait_end(&block, held);
    for (ULONG i = 0; i < RunRefCacheAware->lines; i++)
        __atomic_store_n(&lines[i].count, RUN_DOWN, __ATOMIC_RELEASE);
}
NTH_EXPORT(ExWaitForRundownProtectionReleaseCacheAware, 1);

VOID FASTCALL ExRundownCompletedCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
    struct line *const lines = lines_of(RunRefCacheAware);

    nth_irql_max(APC_LEVEL);
    check_is_run_down(__atomic_load_n(&lines->count, __ATOMIC_ACQUIRE), RunRefCacheAware);
    for (ULONG i = 0; i < RunRefCacheAware->lines; i++)
        __atomic_store_n(&lines[i].count, RUN_DOWN, __ATOMIC_RELEASE);
}
NTH_EXPORT(ExRundownCompletedCacheAware, 1);
