/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Lookaside lists of the newer kind, which Wine 8 lacks, over its pool and its sequenced lists, by
 * the pages of their functions. The limit that the system would move with the demand stays here.
 */
#include "wine.h"

#include <string.h>

enum { DEPTH = 256 };

static PVOID NTAPI allocate(POOL_TYPE Type, SIZE_T Size, ULONG Tag, PLOOKASIDE_LIST_EX List)
{
    return ExAllocatePoolWithTag(Type, Size, Tag);
}

static VOID NTAPI release(PVOID Buffer, PLOOKASIDE_LIST_EX List)
{
    ExFreePoolWithTag(Buffer, List->L.Tag);
}

NTSTATUS NTAPI ExInitializeLookasideListEx(PLOOKASIDE_LIST_EX Lookaside,
                                           PALLOCATE_FUNCTION_EX Allocate, PFREE_FUNCTION_EX Free,
                                           POOL_TYPE PoolType, ULONG Flags, SIZE_T Size, ULONG Tag,
                                           USHORT Depth)
{
    nth_irql_max(DISPATCH_LEVEL);
    if (Flags)
        nth_stop("not-provided", "ExInitializeLookasideListEx with flags 0x%x", (unsigned)Flags);
    memset(Lookaside, 0, sizeof(*Lookaside));
    Lookaside->L.Depth = DEPTH;
    Lookaside->L.Type = PoolType;
    Lookaside->L.Size = (ULONG)Size;
    Lookaside->L.Tag = Tag;
    Lookaside->L.AllocateEx = Allocate ? Allocate : allocate;
    Lookaside->L.FreeEx = Free ? Free : release;
    return STATUS_SUCCESS;
}
NTH_EXPORT(ExInitializeLookasideListEx, 8);

VOID NTAPI ExFlushLookasideListEx(PLOOKASIDE_LIST_EX Lookaside)
{
    nth_irql_max(DISPATCH_LEVEL);
    for (PSLIST_ENTRY entry = ExpInterlockedPopEntrySList(&Lookaside->L.ListHead); entry;
         entry = ExpInterlockedPopEntrySList(&Lookaside->L.ListHead))
        Lookaside->L.FreeEx(entry, Lookaside);
}
NTH_EXPORT(ExFlushLookasideListEx, 1);

VOID NTAPI ExDeleteLookasideListEx(PLOOKASIDE_LIST_EX Lookaside)
{
    ExFlushLookasideListEx(Lookaside);
}
NTH_EXPORT(ExDeleteLookasideListEx, 1);
