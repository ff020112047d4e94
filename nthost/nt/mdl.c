/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Memory descriptor lists: their flags, the pages they lock and the views they have, as the pages
 * of the Mm and Io functions describe them ("Using MDLs"). Must never trust an MDL's flags alone:
 * what is allocated, locked and mapped is in the ledger as well.
 */
#include "nt/mm.h"

#include <string.h>

/* An MDL's Size has 16 bits; larger buffers have it wrapped, as in NT, so nothing relies on it. */
static size_t span(const MDL *mdl)
{
    return ADDRESS_AND_SIZE_TO_SPAN_PAGES((char *)mdl->StartVa + mdl->ByteOffset, mdl->ByteCount);
}

static uintptr_t start(const MDL *mdl)
{
    return (uintptr_t)mdl->StartVa + mdl->ByteOffset;
}

static void kernel_pfns(MDL *mdl)
{
    PFN_NUMBER *pfns = MmGetMdlPfnArray(mdl);

    for (size_t i = 0; i < span(mdl); i++)
        pfns[i] = MM_KERNEL_PFN | ((uintptr_t)mdl->StartVa / MM_PAGE + i);
}

static size_t mdl_bytes(const void *address, size_t length)
{
    return sizeof(MDL) + sizeof(PFN_NUMBER) * ADDRESS_AND_SIZE_TO_SPAN_PAGES(address, length);
}

SIZE_T NTAPI MmSizeOfMdl(PVOID Base, SIZE_T Length)
{
    return mdl_bytes(Base, Length);
}
NTH_EXPORT(MmSizeOfMdl, 2);

/* ---- allocation ---- */

/* The bytes precede the MDL in the allocation: exact memory is found again by its size. */
MDL *nth_mdl_create(void *address, ULONG length)
{
    const size_t bytes = mdl_bytes(address, length);
    uint64_t *room = nth_mm_alloc(bytes + 16);
    MDL *mdl = (MDL *)(room + 2);

    room[0] = bytes + 16;
    mdl->Size = (CSHORT)bytes;
    mdl->StartVa = PAGE_ALIGN(address);
    mdl->ByteOffset = BYTE_OFFSET(address);
    mdl->ByteCount = length;
    nth_ledger_add("mdl", mdl, bytes, 0);
    return mdl;
}

PMDL NTAPI IoAllocateMdl(PVOID VirtualAddress, ULONG Length, BOOLEAN SecondaryBuffer,
                         BOOLEAN ChargeQuota, PIRP Irp)
{
    nth_irql_max(DISPATCH_LEVEL);
    if (Length > 0xFFFFFFFFu - MM_PAGE) /* 4 GiB - PAGE_SIZE is the most since Windows 7 */
        return NULL;
    if (SecondaryBuffer && !Irp)
        nth_stop("mdl-secondary", "IoAllocateMdl: a secondary buffer without an IRP");
    if (nth_fault(NTH_FAULT_MDL, "IoAllocateMdl"))
        return NULL;
    MDL *mdl = nth_mdl_create(VirtualAddress, Length);
    if (!Irp)
        return mdl;
    PMDL *link = &Irp->MdlAddress;
    while (SecondaryBuffer && *link)
        link = &(*link)->Next;
    *link = mdl;
    return mdl;
}
NTH_EXPORT(IoAllocateMdl, 5);

static void unmap(MDL *mdl)
{
    const PFN_NUMBER first = MmGetMdlPfnArray(mdl)[0];

    nth_ledger_remove("mdl mapping", mdl);
    if (!(first & MM_KERNEL_PFN))
        nth_mm_unmap((char *)mdl->MappedSystemVa - mdl->ByteOffset, span(mdl));
    mdl->MappedSystemVa = NULL;
    mdl->MdlFlags &= ~(MDL_MAPPED_TO_SYSTEM_VA | MDL_PARTIAL_HAS_BEEN_MAPPED);
}

VOID NTAPI IoFreeMdl(PMDL Mdl)
{
    nth_irql_max(DISPATCH_LEVEL);
    nth_ledger_remove("mdl", Mdl); /* first: an MDL freed twice is no memory any more */
    if (nth_ledger_has("mdl lock", Mdl))
        nth_stop("mdl-freed-locked", "IoFreeMdl: the pages of %p are still locked", (void *)Mdl);
    if (nth_ledger_has("mdl mapping", Mdl)) {
        if (!(Mdl->MdlFlags & MDL_PARTIAL))
            nth_stop("mdl-mapping-leak", "IoFreeMdl: %p is still mapped", (void *)Mdl);
        unmap(Mdl); /* IoFreeMdl: a partial MDL's mapping is released */
    }
    uint64_t *room = (uint64_t *)Mdl - 2;
    nth_mm_free(room, room[0]);
}
NTH_EXPORT(IoFreeMdl, 1);

/* ---- building ---- */

VOID NTAPI MmBuildMdlForNonPagedPool(PMDL MemoryDescriptorList)
{
    MDL *mdl = MemoryDescriptorList;

    nth_irql_max(DISPATCH_LEVEL);
    if (mdl->MdlFlags & (MDL_PAGES_LOCKED | MDL_MAPPED_TO_SYSTEM_VA | MDL_PARTIAL_HAS_BEEN_MAPPED))
        nth_stop("mdl-lock-twice", "MmBuildMdlForNonPagedPool: MDL flags are already 0x%x",
                 (unsigned)(USHORT)mdl->MdlFlags);
    if (start(mdl) < nth_user_limit())
        nth_stop("mdl-not-nonpaged", "MmBuildMdlForNonPagedPool: %p is no nonpaged system memory",
                 (void *)start(mdl));
    kernel_pfns(mdl);
    mdl->Process = NULL;
    mdl->MappedSystemVa = (void *)start(mdl);
    mdl->MdlFlags |= MDL_SOURCE_IS_NONPAGED_POOL;
}
NTH_EXPORT(MmBuildMdlForNonPagedPool, 1);

static void partial_check(const MDL *source, const MDL *target, uintptr_t address, size_t length)
{
    if (!(source->MdlFlags & (MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL | MDL_PARTIAL)))
        nth_stop("mdl-not-locked", "IoBuildPartialMdl: the source's pages are not locked");
    if (address < start(source) || address > start(source) + source->ByteCount ||
        length > start(source) + source->ByteCount - address)
        nth_stop("mdl-partial-range", "IoBuildPartialMdl: the part is not within the source");
    if (length / MM_PAGE < 8000 &&
        mdl_bytes((void *)address, length) > (size_t)(USHORT)target->Size)
        nth_stop("mdl-too-small", "IoBuildPartialMdl: the target has no room for %zu bytes",
                 length);
    if (target->MdlFlags & (MDL_PARTIAL_HAS_BEEN_MAPPED | MDL_PAGES_LOCKED))
        nth_stop("mdl-mapping-leak",
                 "IoBuildPartialMdl: the target is in use (MmPrepareMdlForReuse)");
}

VOID NTAPI IoBuildPartialMdl(PMDL SourceMdl, PMDL TargetMdl, PVOID VirtualAddress, ULONG Length)
{
    const MDL *source = SourceMdl;
    MDL *target = TargetMdl;
    const uintptr_t address = (uintptr_t)VirtualAddress;
    const CSHORT shared = MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL;

    nth_irql_max(DISPATCH_LEVEL);
    if (Length == 0 && address - start(source) <= source->ByteCount)
        Length = (ULONG)(start(source) + source->ByteCount - address); /* the rest of the source */
    partial_check(source, target, address, Length);
    target->Process = source->Process;
    target->StartVa = PAGE_ALIGN(VirtualAddress);
    target->ByteOffset = BYTE_OFFSET(VirtualAddress);
    target->ByteCount = Length;
    target->MappedSystemVa = NULL;
    target->MdlFlags = (CSHORT)(MDL_PARTIAL | (target->MdlFlags & MDL_ALLOCATED_FIXED_SIZE) |
                                (source->MdlFlags & (shared | MDL_WRITE_OPERATION)));
    if (source->MdlFlags & shared)
        target->MappedSystemVa = (char *)source->MappedSystemVa + (address - start(source));
    memcpy(MmGetMdlPfnArray(target),
           MmGetMdlPfnArray(source) +
               ((uintptr_t)target->StartVa - (uintptr_t)source->StartVa) / MM_PAGE,
           span(target) * sizeof(PFN_NUMBER));
}
NTH_EXPORT(IoBuildPartialMdl, 4);

/* ---- locking ---- */

static _Noreturn void raise_access(uintptr_t address, bool write)
{
    const ULONG_PTR information[2] = {write, address};

    nth_raise(STATUS_ACCESS_VIOLATION, 2, information);
}

static void lock_check(const MDL *mdl)
{
    if (mdl->MdlFlags & (MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL | MDL_PARTIAL))
        nth_stop("mdl-lock-twice", "MmProbeAndLockPages: MDL flags are already 0x%x",
                 (unsigned)(USHORT)mdl->MdlFlags);
    if (mdl->ByteCount == 0)
        nth_stop("mdl-empty", "MmProbeAndLockPages: an MDL of no bytes");
    nth_irql_max(start(mdl) < nth_user_limit() ? APC_LEVEL : DISPATCH_LEVEL);
}

/* The status, for callers inside the host; *fault is what could not be touched. */
static NTSTATUS lock(MDL *mdl, KPROCESSOR_MODE mode, bool write, uintptr_t *fault)
{
    const uintptr_t first = start(mdl), end = first + mdl->ByteCount;
    NTSTATUS status = STATUS_SUCCESS;

    *fault = first;
    if (end < first || (mode != KernelMode && end > nth_user_limit()) ||
        (first < nth_user_limit() && end > nth_user_limit()))
        return STATUS_ACCESS_VIOLATION;
    if (first >= nth_user_limit()) {
        kernel_pfns(mdl);
        mdl->Process = NULL;
    } else {
        status = nth_mm_lock(first, mdl->ByteCount, write, MmGetMdlPfnArray(mdl), fault);
        mdl->Process = (struct _EPROCESS *)nth_process_current();
    }
    if (NT_SUCCESS(status)) {
        mdl->MdlFlags |= MDL_PAGES_LOCKED | (write ? MDL_WRITE_OPERATION : 0);
        nth_ledger_add("mdl lock", mdl, 0, 0);
    }
    return status;
}

VOID NTAPI MmProbeAndLockPages(PMDL MemoryDescriptorList, KPROCESSOR_MODE AccessMode,
                               LOCK_OPERATION Operation)
{
    const bool write = Operation != IoReadAccess;
    uintptr_t fault;

    lock_check(MemoryDescriptorList);
    if (nth_fault(NTH_FAULT_LOCK, "MmProbeAndLockPages"))
        nth_raise(STATUS_WORKING_SET_QUOTA, 0, NULL);
    if (!NT_SUCCESS(lock(MemoryDescriptorList, AccessMode, write, &fault)))
        raise_access(fault, write);
}
NTH_EXPORT(MmProbeAndLockPages, 3);

NTSTATUS nth_mdl_lock(MDL *mdl, KPROCESSOR_MODE mode, bool write)
{
    uintptr_t fault;

    return lock(mdl, mode, write, &fault);
}

static void unlock_check(MDL *mdl)
{
    if (mdl->MdlFlags & (MDL_SOURCE_IS_NONPAGED_POOL | MDL_PARTIAL))
        nth_stop("mdl-not-locked", "MmUnlockPages: this MDL was not locked by MmProbeAndLockPages");
    if (!(mdl->MdlFlags & MDL_PAGES_LOCKED) || !nth_ledger_has("mdl lock", mdl))
        nth_stop("mdl-unlock-twice", "MmUnlockPages: the pages of %p are not locked", (void *)mdl);
}

VOID NTAPI MmUnlockPages(PMDL MemoryDescriptorList)
{
    MDL *mdl = MemoryDescriptorList;

    nth_irql_max(DISPATCH_LEVEL);
    unlock_check(mdl);
    if (mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA)
        unmap(mdl);
    nth_ledger_remove("mdl lock", mdl);
    mdl->MdlFlags &= ~(MDL_PAGES_LOCKED | MDL_WRITE_OPERATION);
    nth_mm_unlock(MmGetMdlPfnArray(mdl), span(mdl));
}
NTH_EXPORT(MmUnlockPages, 1);

/* ---- mapping ---- */

static void map_check(const MDL *mdl, KPROCESSOR_MODE mode, MEMORY_CACHING_TYPE cache)
{
    nth_irql_max(mode == KernelMode ? DISPATCH_LEVEL : APC_LEVEL);
    if (mode != KernelMode)
        nth_stop("not-provided", "MmMapLockedPagesSpecifyCache with AccessMode UserMode");
    if (cache != MmCached && cache != MmNonCached && cache != MmWriteCombined)
        nth_stop("not-provided", "MmMapLockedPagesSpecifyCache with CacheType %d", (int)cache);
    if (mdl->MdlFlags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL))
        nth_stop("mdl-mapped-twice", "MmMapLockedPagesSpecifyCache: %p is mapped already",
                 (const void *)mdl);
    if (!(mdl->MdlFlags & (MDL_PAGES_LOCKED | MDL_PARTIAL)))
        nth_stop("mdl-not-locked", "MmMapLockedPagesSpecifyCache: the pages of %p are not locked",
                 (const void *)mdl);
}

PVOID NTAPI MmMapLockedPagesSpecifyCache(PMDL MemoryDescriptorList, KPROCESSOR_MODE AccessMode,
                                         MEMORY_CACHING_TYPE CacheType, PVOID RequestedAddress,
                                         ULONG BugCheckOnFailure, ULONG Priority)
{
    MDL *mdl = MemoryDescriptorList;
    PFN_NUMBER *pfns = MmGetMdlPfnArray(mdl);
    char *view = NULL;

    map_check(mdl, AccessMode, CacheType);
    if (!nth_fault(NTH_FAULT_MAP, "MmMapLockedPagesSpecifyCache")) {
        /* A page that was locked for IoReadAccess alone may be looked at, not changed. */
        const bool writable =
            (mdl->MdlFlags & MDL_WRITE_OPERATION) && !(Priority & MdlMappingNoWrite);
        view = pfns[0] & MM_KERNEL_PFN ? mdl->StartVa : nth_mm_map(pfns, span(mdl), writable);
    }
    if (!view && BugCheckOnFailure)
        nth_stop("bugcheck", "MmMapLockedPagesSpecifyCache failed, and BugCheckOnFailure is TRUE");
    if (!view)
        return NULL;
    nth_ledger_add("mdl mapping", mdl, mdl->ByteCount, 0);
    mdl->MappedSystemVa = view + mdl->ByteOffset;
    mdl->MdlFlags |= MDL_MAPPED_TO_SYSTEM_VA;
    if (mdl->MdlFlags & MDL_PARTIAL)
        mdl->MdlFlags |= MDL_PARTIAL_HAS_BEEN_MAPPED;
    return mdl->MappedSystemVa;
}
NTH_EXPORT(MmMapLockedPagesSpecifyCache, 6);

VOID NTAPI MmUnmapLockedPages(PVOID BaseAddress, PMDL MemoryDescriptorList)
{
    MDL *mdl = MemoryDescriptorList;

    nth_irql_max(DISPATCH_LEVEL);
    if (!(mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) || !nth_ledger_has("mdl mapping", mdl))
        nth_stop("mdl-not-mapped", "MmUnmapLockedPages: %p has no mapping of its own", (void *)mdl);
    if (BaseAddress != mdl->MappedSystemVa)
        nth_stop("mdl-not-mapped", "MmUnmapLockedPages: %p is not where the MDL is mapped",
                 BaseAddress);
    unmap(mdl);
}
NTH_EXPORT(MmUnmapLockedPages, 2);

/* ---- pages without an address ---- */

static bool pages_arguments(SIZE_T bytes, MEMORY_CACHING_TYPE cache, ULONG flags)
{
    const ULONG known = MM_DONT_ZERO_ALLOCATION | MM_ALLOCATE_FROM_LOCAL_NODE_ONLY |
                        MM_ALLOCATE_FULLY_REQUIRED | MM_ALLOCATE_NO_WAIT |
                        MM_ALLOCATE_PREFER_CONTIGUOUS;

    if (flags & ~known)
        nth_stop("not-provided", "MmAllocatePagesForMdlEx with flags 0x%x", flags);
    if (cache != MmCached && cache != MmNonCached && cache != MmWriteCombined)
        nth_stop("not-provided", "MmAllocatePagesForMdlEx with CacheType %d", (int)cache);
    return bytes != 0 && bytes <= 0xFFFFFFFFu - MM_PAGE;
}

PMDL NTAPI MmAllocatePagesForMdlEx(PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress,
                                   PHYSICAL_ADDRESS SkipBytes, SIZE_T TotalBytes,
                                   MEMORY_CACHING_TYPE CacheType, ULONG Flags)
{
    const size_t count = (TotalBytes + MM_PAGE - 1) / MM_PAGE;
    const size_t bytes = sizeof(MDL) + count * sizeof(PFN_NUMBER);

    nth_irql_max(DISPATCH_LEVEL);
    if (!pages_arguments(TotalBytes, CacheType, Flags) ||
        nth_fault(NTH_FAULT_MDL, "MmAllocatePagesForMdlEx"))
        return NULL;
    /* From pool: the caller gives it back with ExFreePool. */
    MDL *mdl = ExAllocatePoolWithTag(NonPagedPool, bytes, 0x6C646D4D);
    if (!mdl)
        return NULL;
    memset(mdl, 0, bytes);
    mdl->Size = (CSHORT)bytes;
    mdl->ByteCount = (ULONG)(count * MM_PAGE);
    if (!nth_mm_pages(MmGetMdlPfnArray(mdl), count)) {
        ExFreePoolWithTag(mdl, 0x6C646D4D);
        return NULL;
    }
    mdl->MdlFlags = MDL_PAGES_LOCKED | MDL_WRITE_OPERATION;
    nth_ledger_add("mdl pages", mdl, count * MM_PAGE, 0);
    return mdl;
}
NTH_EXPORT(MmAllocatePagesForMdlEx, 6);

VOID NTAPI MmFreePagesFromMdl(PMDL MemoryDescriptorList)
{
    MDL *mdl = MemoryDescriptorList;

    nth_irql_max(DISPATCH_LEVEL);
    nth_ledger_remove("mdl pages", mdl);
    if (mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA)
        nth_stop("mdl-mapping-leak", "MmFreePagesFromMdl: %p is still mapped", (void *)mdl);
    nth_mm_unlock(MmGetMdlPfnArray(mdl), span(mdl));
    mdl->MdlFlags = 0;
    mdl->ByteCount = 0;
}
NTH_EXPORT(MmFreePagesFromMdl, 1);
