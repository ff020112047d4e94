/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Lookaside lists and sequenced lists. A lookaside list here has depth zero: every entry comes from
 * its allocate routine and goes back to its free routine at once, also in the inline forms of the
 * headers, so that each entry is an allocation of its own to the pool's checks. Only in relaxed
 * memory, where the pool checks little, a list of the newer kind keeps entries.
 */
#include "nt/ke.h"
#include "nt/more.h"

#include <stdlib.h>
#include <string.h>

enum { POOL_QUOTA_FAILS = 8, POOL_RAISES = 16, POOL_PAGED = 1, LOCKS = 16, RELAXED_DEPTH = 256 };

/* ---- sequenced lists: depth and sequence in the low word, the first entry above four bits ---- */

static struct nth_mutex locks[LOCKS] = {[0 ... LOCKS - 1] = NTH_MUTEX_INIT};

static struct nth_mutex *lock_of(const void *header)
{
    return &locks[(uintptr_t)header >> 4 & (LOCKS - 1)];
}

static PSLIST_ENTRY first_entry(const SLIST_HEADER *header)
{
    return (PSLIST_ENTRY)(uintptr_t)(header->Region & ~15ULL);
}

static void set_first(PSLIST_HEADER header, PSLIST_ENTRY entry, int depth_change)
{
    const USHORT depth = (USHORT)((header->Alignment & 0xFFFF) + (unsigned)depth_change);
    const ULONGLONG sequence = (header->Alignment >> 16) + 1;

    header->Alignment = sequence << 16 | depth;
    header->Region = (ULONGLONG)(uintptr_t)entry | (header->Region & 15);
}

PSLIST_ENTRY NTAPI ExpInterlockedPopEntrySList(PSLIST_HEADER ListHead)
{
    struct nth_mutex *const lock = lock_of(ListHead);

    nth_lock(lock);
    PSLIST_ENTRY const entry = first_entry(ListHead);
    if (entry)
        set_first(ListHead, entry->Next, -1);
    nth_unlock(lock);
    return entry;
}
NTH_EXPORT(ExpInterlockedPopEntrySList, 1);
NTH_EXPORT_AS(InterlockedPopEntrySList, "InterlockedPopEntrySList", ExpInterlockedPopEntrySList, 1);

PSLIST_ENTRY NTAPI ExpInterlockedPushEntrySList(PSLIST_HEADER ListHead, PSLIST_ENTRY ListEntry)
{
    struct nth_mutex *const lock = lock_of(ListHead);

    if ((uintptr_t)ListHead & 15 || (uintptr_t)ListEntry & 15)
        nth_stop("bad-parameter", "a sequenced list or its entry is not aligned to 16 bytes");
    nth_lock(lock);
    PSLIST_ENTRY const before = first_entry(ListHead);
    ListEntry->Next = before;
    set_first(ListHead, ListEntry, 1);
    nth_unlock(lock);
    return before;
}
NTH_EXPORT(ExpInterlockedPushEntrySList, 2);
NTH_EXPORT_AS(InterlockedPushEntrySList, "InterlockedPushEntrySList", ExpInterlockedPushEntrySList,
              2);

PSLIST_ENTRY NTAPI ExpInterlockedFlushSList(PSLIST_HEADER ListHead)
{
    struct nth_mutex *const lock = lock_of(ListHead);

    nth_lock(lock);
    PSLIST_ENTRY const entry = first_entry(ListHead);
    set_first(ListHead, NULL, -(int)(ListHead->Alignment & 0xFFFF));
    nth_unlock(lock);
    return entry;
}
NTH_EXPORT(ExpInterlockedFlushSList, 1);

USHORT NTAPI ExQueryDepthSList(PSLIST_HEADER ListHead)
{
    nth_irql_max(DISPATCH_LEVEL);
    return (USHORT)__atomic_load_n(&ListHead->Alignment, __ATOMIC_ACQUIRE);
}
NTH_EXPORT(ExQueryDepthSList, 1);

VOID NTAPI InitializeSListHead(PSLIST_HEADER ListHead)
{
    memset(ListHead, 0, sizeof(*ListHead));
}
NTH_EXPORT(InitializeSListHead, 1);

/* ---- the lists that exist ---- */

struct known {
    struct known *next;
    const void *list;
    size_t bytes;
};

static struct nth_mutex known_lock = NTH_MUTEX_INIT;
static struct known *known;

static void learn(const void *list, size_t bytes)
{
    struct known *const entry = malloc(sizeof(*entry));

    if (!entry)
        nth_fail("no memory for a lookaside list");
    nth_lookaside_check_freed(list, bytes);
    *entry = (struct known){.list = list, .bytes = bytes};
    nth_lock(&known_lock);
    entry->next = known;
    __atomic_store_n(&known, entry, __ATOMIC_RELEASE);
    nth_unlock(&known_lock);
    nth_ledger_add("lookaside list", list, 0, 0);
}

static void unlearn(const void *list)
{
    nth_ledger_remove("lookaside list", list);
    nth_lock(&known_lock);
    struct known **at = &known;
    while (*at && (*at)->list != list)
        at = &(*at)->next;
    struct known *const entry = *at;
    if (entry)
        __atomic_store_n(at, entry->next, __ATOMIC_RELEASE);
    nth_unlock(&known_lock);
    free(entry);
}

void nth_lookaside_check_freed(const void *base, size_t bytes)
{
    const void *found = NULL;

    if (!__atomic_load_n(&known, __ATOMIC_ACQUIRE))
        return;
    nth_lock(&known_lock);
    for (const struct known *k = known; k; k = k->next)
        if (is_within(k->list, base, bytes))
            found = k->list;
    nth_unlock(&known_lock);
    if (found)
        nth_stop("active-object-freed",
                 "lookaside list %p has not been deleted and its memory is given up", found);
}

/* ---- what drivers call ---- */

/* The inline forms call through these pointers, so they must be what an import would be. */
static void *default_routine(const char *name, void *raw)
{
    void *const thunk = nth_export_find(name);

    return thunk ? thunk : raw;
}

static void init_paged_or_not(PNPAGED_LOOKASIDE_LIST list, void *allocate, void *release,
                              ULONG type, SIZE_T size, ULONG tag)
{
    learn(list, sizeof(*list));
    memset(list, 0, sizeof(*list));
    list->L.Type = (POOL_TYPE)type;
    list->L.Size = (ULONG)size;
    list->L.Tag = tag;
    list->L.Allocate =
        (PALLOCATE_FUNCTION)(allocate ? allocate
                                      : default_routine("ExAllocatePoolWithTag",
                                                        (void *)ExAllocatePoolWithTag));
    list->L.Free =
        (PFREE_FUNCTION)(release ? release : default_routine("ExFreePool", (void *)ExFreePool));
}

static ULONG with_flags(ULONG type, ULONG flags)
{
    return type | (flags & POOL_RAISES);
}

VOID NTAPI ExInitializeNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside,
                                           PALLOCATE_FUNCTION Allocate, PFREE_FUNCTION Free,
                                           ULONG Flags, SIZE_T Size, ULONG Tag, USHORT Depth)
{
    nth_irql_max(DISPATCH_LEVEL);
    init_paged_or_not(Lookaside, (void *)Allocate, (void *)Free, with_flags(NonPagedPool, Flags),
                      Size, Tag);
}
NTH_EXPORT(ExInitializeNPagedLookasideList, 7);

/* The paged form has the same fields. */
VOID NTAPI ExInitializePagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside,
                                          PALLOCATE_FUNCTION Allocate, PFREE_FUNCTION Free,
                                          ULONG Flags, SIZE_T Size, ULONG Tag, USHORT Depth)
{
    nth_irql_max(APC_LEVEL);
    init_paged_or_not(Lookaside, (void *)Allocate, (void *)Free, with_flags(PagedPool, Flags), Size,
                      Tag);
}
NTH_EXPORT(ExInitializePagedLookasideList, 7);

static void *call_allocate(PALLOCATE_FUNCTION_EX routine, POOL_TYPE type, ULONG size, ULONG tag,
                           void *list)
{
    struct nth_callout callout;

    nth_callout_begin(&callout, "lookaside allocate routine", (const void *)routine);
    void *const entry = routine(type, size, tag, list);
    nth_callout_end(&callout);
    return entry;
}

static void call_free(PFREE_FUNCTION_EX routine, void *entry, void *list)
{
    struct nth_callout callout;

    nth_callout_begin(&callout, "lookaside free routine", (const void *)routine);
    routine(entry, list);
    nth_callout_end(&callout);
}

PVOID NTAPI ExAllocateFromNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside)
{
    nth_irql_max(DISPATCH_LEVEL);
    __atomic_fetch_add(&Lookaside->L.TotalAllocates, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&Lookaside->L.AllocateMisses, 1, __ATOMIC_RELAXED);
    return call_allocate(Lookaside->L.AllocateEx, Lookaside->L.Type, Lookaside->L.Size,
                         Lookaside->L.Tag, Lookaside);
}
NTH_EXPORT(ExAllocateFromNPagedLookasideList, 1);
NTH_EXPORT_AS(ExAllocateFromPagedLookasideList, "ExAllocateFromPagedLookasideList",
              ExAllocateFromNPagedLookasideList, 1);

VOID NTAPI ExFreeToNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside, PVOID Entry)
{
    nth_irql_max(DISPATCH_LEVEL);
    __atomic_fetch_add(&Lookaside->L.TotalFrees, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&Lookaside->L.FreeMisses, 1, __ATOMIC_RELAXED);
    call_free(Lookaside->L.FreeEx, Entry, Lookaside);
}
NTH_EXPORT(ExFreeToNPagedLookasideList, 2);
NTH_EXPORT_AS(ExFreeToPagedLookasideList, "ExFreeToPagedLookasideList", ExFreeToNPagedLookasideList,
              2);

VOID NTAPI ExDeleteNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside)
{
    nth_irql_max(DISPATCH_LEVEL);
    unlearn(Lookaside);
}
NTH_EXPORT(ExDeleteNPagedLookasideList, 1);
NTH_EXPORT_AS(ExDeletePagedLookasideList, "ExDeletePagedLookasideList", ExDeleteNPagedLookasideList,
              1);

NTSTATUS NTAPI ExInitializeLookasideListEx(PLOOKASIDE_LIST_EX Lookaside,
                                           PALLOCATE_FUNCTION_EX Allocate, PFREE_FUNCTION_EX Free,
                                           POOL_TYPE PoolType, ULONG Flags, SIZE_T Size, ULONG Tag,
                                           USHORT Depth)
{
    const ULONG all =
        EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL | EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE;

    nth_irql_max(DISPATCH_LEVEL);
    if (Depth != 0)
        nth_stop("bad-parameter", "ExInitializeLookasideListEx with depth %u", Depth);
    if (Flags & ~all || Flags == all)
        return STATUS_INVALID_PARAMETER_5;
    learn(Lookaside, sizeof(*Lookaside));
    memset(Lookaside, 0, sizeof(*Lookaside));
    ULONG type = PoolType;
    if (Flags & EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL)
        type |= POOL_RAISES;
    if (Flags & EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE)
        type |= POOL_QUOTA_FAILS;
    Lookaside->L.Type = (POOL_TYPE)type;
    Lookaside->L.Size = (ULONG)Size;
    Lookaside->L.Tag = Tag;
    Lookaside->L.Depth = nth_config.relaxed_memory ? RELAXED_DEPTH : 0;
    Lookaside->L.AllocateEx =
        Allocate ? Allocate
                 : (PALLOCATE_FUNCTION_EX)default_routine("ExAllocatePoolWithTag",
                                                          (void *)ExAllocatePoolWithTag);
    Lookaside->L.FreeEx =
        Free ? Free : (PFREE_FUNCTION_EX)default_routine("ExFreePool", (void *)ExFreePool);
    return STATUS_SUCCESS;
}
NTH_EXPORT(ExInitializeLookasideListEx, 8);

/* "Starting in Windows 11, version 22H2, this function changed from inline to exported": the same
 * as the inline forms, for drivers whose headers are that new. */
static PVOID NTAPI allocate_from_list(PLOOKASIDE_LIST_EX Lookaside)
{
    nth_irql_max(Lookaside->L.Type & POOL_PAGED ? APC_LEVEL : DISPATCH_LEVEL);
    PVOID const kept = ExpInterlockedPopEntrySList(&Lookaside->L.ListHead);
    return kept ? kept
                : call_allocate(Lookaside->L.AllocateEx, Lookaside->L.Type, Lookaside->L.Size,
                                Lookaside->L.Tag, Lookaside);
}
NTH_EXPORT_AS(ExAllocateFromLookasideListEx, "ExAllocateFromLookasideListEx", allocate_from_list,
              1);

static VOID NTAPI free_to_list(PLOOKASIDE_LIST_EX Lookaside, PVOID Entry)
{
    nth_irql_max(Lookaside->L.Type & POOL_PAGED ? APC_LEVEL : DISPATCH_LEVEL);
    if (ExQueryDepthSList(&Lookaside->L.ListHead) < Lookaside->L.Depth)
        ExpInterlockedPushEntrySList(&Lookaside->L.ListHead, Entry);
    else
        call_free(Lookaside->L.FreeEx, Entry, Lookaside);
}
NTH_EXPORT_AS(ExFreeToLookasideListEx, "ExFreeToLookasideListEx", free_to_list, 2);

VOID NTAPI ExFlushLookasideListEx(PLOOKASIDE_LIST_EX Lookaside)
{
    nth_irql_max(Lookaside->L.Type & POOL_PAGED ? APC_LEVEL : DISPATCH_LEVEL);
    for (PSLIST_ENTRY e = ExpInterlockedFlushSList(&Lookaside->L.ListHead), next; e; e = next) {
        next = e->Next;
        call_free(Lookaside->L.FreeEx, e, Lookaside);
    }
}
NTH_EXPORT(ExFlushLookasideListEx, 1);

VOID NTAPI ExDeleteLookasideListEx(PLOOKASIDE_LIST_EX Lookaside)
{
    ExFlushLookasideListEx(Lookaside);
    unlearn(Lookaside);
}
NTH_EXPORT(ExDeleteLookasideListEx, 1);
