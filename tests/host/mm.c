/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * User memory, probing, and memory descriptor lists as the Mm pages describe them, and each of
 * their rules broken.
 */
#include "gadget.h"

#include <sys/mman.h>

#define AV ((ULONG)STATUS_ACCESS_VIOLATION)

static struct nth_process *process;

static uint8_t *user_pages(size_t pages)
{
    boot();
    process = process_new();
    uint8_t *memory = nth_user_alloc(process, pages * 4096);
    CHECK(memory != NULL);
    CHECK_EQ((uintptr_t)memory & 0xFFFF, 0); /* VirtualAlloc: 64 KiB granularity */
    CHECK(nth_process_enter(process));
    return memory;
}

static void finish(void)
{
    nth_process_leave();
    nth_process_kill(process);
    nth_object_release(process);
    nth_shutdown();
}

static ULONG lock_user(const void *address, size_t bytes, LOCK_OPERATION operation)
{
    CHECK(act(ACT_MDL, (uintptr_t)address, bytes, 0) != 0);
    return (ULONG)act(ACT_LOCK, UserMode, operation, 0);
}

/* ---- user memory ---- */

/* Memory is zeroed, belongs to one process, and is at another address than any system memory. */
TEST(user_memory_is_owned_and_zero)
{
    uint8_t *memory = user_pages(2);

    CHECK(nth_user_owner((uintptr_t)memory) == process);
    CHECK(nth_user_owner((uintptr_t)&memory) == NULL);
    CHECK((uintptr_t)memory < nth_user_limit());
    CHECK_EQ(memory[8191], 0);
    memory[0] = 1;
    nth_user_free(process, memory, 8192);
    memory = nth_user_alloc(process, 4096);
    CHECK_EQ(memory[0], 0);
    finish();
}

/* A fault in driver code at a user address reaches its handler ("Handling Exceptions"). */
TEST(user_fault_reaches_handler)
{
    uint8_t *memory = user_pages(2);

    memory[4095] = 7;
    CHECK_EQ(act(ACT_PEEK, (uintptr_t)memory + 4095, 0, 0), 7);
    CHECK_EQ(act(ACT_PEEK, (uintptr_t)memory + 3 * 4096, 0, 0), AV);
    CHECK_EQ(act(ACT_PEEK, 0, 0, 0), AV);
    nth_user_protect(process, memory, 4096, PROT_READ);
    CHECK_EQ(act(ACT_PEEK, (uintptr_t)memory + 4095, 0, 0), 7);
    CHECK_EQ(act(ACT_POKE, (uintptr_t)memory, 1, 0), AV);
    nth_user_free(process, memory, 4096);
    CHECK_EQ(act(ACT_PEEK, (uintptr_t)memory, 0, 0), AV);
    finish();
}

/* The same without a handler is bug check 0x1E / 0x7E. */
TEST(rule_user_fault_unhandled)
{
    uint8_t *memory = user_pages(1);

    nth_expect_stop("unhandled-exception");
    act(ACT_PEEK_BARE, (uintptr_t)memory + 8192, 0, 0);
}

/* "Errors in Referencing User-Space Addresses": an address means something in its process only. */
TEST(rule_user_memory_of_another_process)
{
    uint8_t *memory = user_pages(1);

    CHECK_EQ(act(ACT_PEEK, (uintptr_t)memory, 0, 0), 0);
    nth_process_leave();
    memory[0] = 1; /* the host itself may look anywhere */
    struct nth_process *other = process_new();
    CHECK(nth_process_enter(other));
    nth_expect_stop("user-memory-context");
    act(ACT_PEEK, (uintptr_t)memory, 0, 0);
}

/* ProbeForRead: range and alignment only; nothing for length 0. */
TEST(probe_for_read_checks_range_and_alignment)
{
    uint8_t *memory = user_pages(1);
    const uintptr_t limit = nth_user_limit();

    CHECK_EQ(act(ACT_PROBE_READ, (uintptr_t)memory, 4096, 1), 0);
    CHECK_EQ(act(ACT_PROBE_READ, (uintptr_t)memory + 65536, 4096, 1), 0); /* not touched */
    CHECK_EQ(act(ACT_PROBE_READ, (uintptr_t)memory + 1, 4, 4), (ULONG)STATUS_DATATYPE_MISALIGNMENT);
    CHECK_EQ(act(ACT_PROBE_READ, limit - 4, 8, 1), AV);
    CHECK_EQ(act(ACT_PROBE_READ, limit, 1, 1), AV);
    CHECK_EQ(act(ACT_PROBE_READ, ~(uintptr_t)0, 1, 1), AV);
    CHECK_EQ(act(ACT_PROBE_READ, 16, ~(uintptr_t)0, 1), AV);
    CHECK_EQ(act(ACT_PROBE_READ, limit + 1, 0, 4), 0);
    finish();
}

/* ProbeForWrite: also "accesses each page in the supplied buffer". */
TEST(probe_for_write_checks_every_page)
{
    uint8_t *memory = user_pages(3);

    CHECK_EQ(act(ACT_PROBE_WRITE, (uintptr_t)memory, 3 * 4096, 1), 0);
    nth_user_protect(process, memory + 4096, 4096, PROT_READ);
    CHECK_EQ(act(ACT_PROBE_WRITE, (uintptr_t)memory, 4096, 1), 0);
    CHECK_EQ(act(ACT_PROBE_WRITE, (uintptr_t)memory, 3 * 4096, 1), AV);
    CHECK_EQ(act(ACT_PROBE_WRITE, nth_user_limit() - 1, 2, 1), AV);
    finish();
}

/* ---- locking and mapping ---- */

/* MmGetSystemAddressForMdlSafe: the pages at another address, with their byte offset. */
TEST(locked_pages_are_mapped_elsewhere)
{
    uint8_t *memory = user_pages(3);

    CHECK_EQ(lock_user(memory + 100, 8000, IoWriteAccess), 0);
    CHECK(S.Mdl->MdlFlags & MDL_PAGES_LOCKED);
    CHECK(S.Mdl->Process == (void *)process);
    uint8_t *view = (uint8_t *)act(ACT_MAP, 0, 0, 0);
    CHECK(view != memory + 100 && (uintptr_t)view >= nth_user_limit());
    CHECK_EQ((uintptr_t)view & 4095, 100);
    CHECK_EQ(act(ACT_MAP, 0, 0, 0), (uintptr_t)view); /* the existing mapping */
    memory[100] = 1;
    memory[8099] = 2;
    CHECK_EQ(view[0], 1);
    CHECK_EQ(view[7999], 2);
    view[1] = 3;
    CHECK_EQ(memory[101], 3);
    act(ACT_UNLOCK, 0, 0, 0);
    CHECK_EQ(S.Mdl->MdlFlags & (MDL_PAGES_LOCKED | MDL_MAPPED_TO_SYSTEM_VA), 0);
    act(ACT_FREE_MDL, 0, 0, 0);
    finish();
}

/* MmUnlockPages "releases this mapping before it unlocks the pages". */
TEST(rule_view_used_after_unlock)
{
    uint8_t *memory = user_pages(1);

    lock_user(memory, 10, IoWriteAccess);
    const uint64_t view = act(ACT_MAP, 0, 0, 0);
    act(ACT_UNLOCK, 0, 0, 0);
    nth_expect_stop("page-fault");
    act(ACT_POKE, view, 1, 0);
}

/* LOCK_OPERATION: with IoReadAccess "the driver can examine the contents of the buffer but cannot
 * change the contents". */
TEST(rule_read_lock_is_not_written)
{
    uint8_t *memory = user_pages(1);

    lock_user(memory, 10, IoReadAccess);
    const uint64_t view = act(ACT_MAP, 0, 0, 0);
    CHECK_EQ(act(ACT_PEEK, view, 0, 0), 0);
    nth_expect_stop("page-fault");
    act(ACT_POKE, view, 1, 0);
}

/* MmProbeAndLockPages raises for what the process may not touch, and the MDL stays unlocked. */
TEST(lock_of_inaccessible_memory_raises)
{
    uint8_t *memory = user_pages(3);
    struct nth_process *other = process_new();
    uint8_t *foreign = nth_user_alloc(other, 4096);

    nth_user_protect(process, memory + 4096, 4096, PROT_READ);
    const struct {
        uintptr_t address;
        size_t bytes;
        LOCK_OPERATION operation;
    } bad[] = {
        {(uintptr_t)memory, 3 * 4096, IoWriteAccess},    /* a read-only page */
        {(uintptr_t)memory, 4 * 4096, IoReadAccess},     /* runs out of the allocation */
        {(uintptr_t)memory + 0x100000, 1, IoReadAccess}, /* nothing there */
        {0, 16, IoReadAccess},
        {nth_user_limit() - 1, 2, IoReadAccess},     /* into system space */
        {nth_user_limit() + 4096, 16, IoReadAccess}, /* system space from UserMode */
        {~(uintptr_t)0 - 7, 16, IoReadAccess},       /* wraps */
        {(uintptr_t)foreign, 16, IoReadAccess},      /* another process */
    };
    for (unsigned i = 0; i < ARRAYSIZE(bad); i++) {
        CHECK_EQ(lock_user((void *)bad[i].address, bad[i].bytes, bad[i].operation), AV);
        CHECK_EQ(S.Mdl->MdlFlags & MDL_PAGES_LOCKED, 0);
        act(ACT_FREE_MDL, 0, 0, 0);
    }
    CHECK_EQ(lock_user(memory, 3 * 4096, IoReadAccess), 0);
    act(ACT_UNLOCK, 0, 0, 0);
    act(ACT_FREE_MDL, 0, 0, 0);
    nth_process_leave();
    nth_process_kill(other);
    nth_object_release(other);
    CHECK(nth_process_enter(process));
    finish();
}

/* "The virtual address might be unmapped, reused ... the physical pages are guaranteed to be
 * locked". */
TEST(locked_page_outlives_its_address)
{
    uint8_t *memory = user_pages(1);

    memory[0] = 42;
    lock_user(memory, 4096, IoWriteAccess);
    uint8_t *view = (uint8_t *)act(ACT_MAP, 0, 0, 0);
    nth_user_free(process, memory, 4096);
    CHECK_EQ(view[0], 42);
    for (unsigned i = 0; i < 100; i++)
        CHECK(nth_user_alloc(process, 4096) != memory);
    view[0] = 43;
    CHECK_EQ(view[0], 43);
    act(ACT_UNLOCK, 0, 0, 0);
    act(ACT_FREE_MDL, 0, 0, 0);
    finish();
}

/* "If two or more MDLs describe the same physical page, the page can be locked multiple times". */
TEST(page_locked_twice_needs_two_unlocks)
{
    uint8_t *memory = user_pages(1);

    memory[0] = 1;
    lock_user(memory, 100, IoWriteAccess);
    MDL *first = S.Mdl;
    lock_user(memory + 50, 100, IoWriteAccess);
    uint8_t *view = (uint8_t *)act(ACT_MAP, 0, 0, 0);
    MDL *second = S.Mdl;
    S.Mdl = first;
    act(ACT_UNLOCK, 0, 0, 0);
    act(ACT_FREE_MDL, 0, 0, 0);
    nth_user_free(process, memory, 4096);
    view[0] = 5;
    CHECK_EQ(view[0], 5);
    S.Mdl = second;
    act(ACT_UNLOCK, 0, 0, 0);
    act(ACT_FREE_MDL, 0, 0, 0);
    finish();
}

/* MmBuildMdlForNonPagedPool: mapped already; MmGetSystemAddressForMdlSafe answers the buffer. */
TEST(nonpaged_mdl_is_its_own_mapping)
{
    boot();
    const uint64_t pool = act(ACT_POOL, 100, 0, 0);
    act(ACT_MDL, pool, 100, 0);
    act(ACT_NONPAGED, 0, 0, 0);
    CHECK_EQ(act(ACT_MAP, 0, 0, 0), pool);
    CHECK_EQ(S.Mdl->MdlFlags, MDL_SOURCE_IS_NONPAGED_POOL);
    act(ACT_SECOND, pool + 10, 50, 0);
    act(ACT_PARTIAL, pool + 10, 50, 0);
    CHECK_EQ(act(ACT_MAP_SECOND, 0, 0, 0), pool + 10);
    act(ACT_FREE_SECOND, 0, 0, 0);
    act(ACT_FREE_MDL, 0, 0, 0);
    act(ACT_FREE_POOL, 0, 0, 0);
    nth_shutdown();
}

/* IoBuildPartialMdl: shares the source's mapping, or gets its own that IoFreeMdl releases. */
TEST(partial_mdl_shares_or_owns_its_mapping)
{
    uint8_t *memory = user_pages(3);

    lock_user(memory, 3 * 4096, IoWriteAccess);
    act(ACT_SECOND, (uintptr_t)memory + 5000, 4096, 0);
    act(ACT_PARTIAL, (uintptr_t)memory + 5000, 4096, 0);
    uint8_t *own = (uint8_t *)act(ACT_MAP_SECOND, 0, 0, 0);
    memory[5000] = 9;
    CHECK_EQ(own[0], 9);
    CHECK(S.Second->MdlFlags & MDL_PARTIAL_HAS_BEEN_MAPPED);
    act(ACT_REUSE_SECOND, 0, 0, 0);
    uint8_t *whole = (uint8_t *)act(ACT_MAP, 0, 0, 0);
    act(ACT_PARTIAL, (uintptr_t)memory + 5000, 0, 0); /* length 0: the rest */
    CHECK_EQ(S.Second->ByteCount, 3 * 4096 - 5000);
    CHECK_EQ(act(ACT_MAP_SECOND, 0, 0, 0), (uintptr_t)whole + 5000);
    CHECK_EQ(S.Second->MdlFlags & MDL_PARTIAL_HAS_BEEN_MAPPED, 0);
    act(ACT_FREE_SECOND, 0, 0, 0);
    act(ACT_UNLOCK, 0, 0, 0);
    act(ACT_FREE_MDL, 0, 0, 0);
    finish();
}

/* MmAllocatePagesForMdlEx: zeroed pages without an address, freed with MmFreePagesFromMdl. */
TEST(allocated_pages_are_zero_and_mappable)
{
    boot();
    CHECK(act(ACT_PAGES, 10000, 0, 0) != 0);
    CHECK_EQ(S.Mdl->ByteCount, 12288);
    uint8_t *view = (uint8_t *)act(ACT_MAP, 0, 0, 0);
    CHECK_EQ(view[12287], 0);
    view[12287] = 1;
    act(ACT_UNMAP, (uintptr_t)view, 0, 0);
    act(ACT_FREE_PAGES, 0, 0, 0);
    nth_shutdown();
}

/* Relaxed memory: the same behaviour, through one permanent mapping. */
TEST(relaxed_memory_maps_by_arithmetic)
{
    nth_boot(&(struct nth_config){.mode = NTH_SERIAL, .relaxed_memory = true});
    CHECK_STATUS(nth_driver_load(gadget_path(), "gadget", &gadget), STATUS_SUCCESS);
    process = process_new();
    uint8_t *memory = nth_user_alloc(process, 8192);
    CHECK(nth_process_enter(process));
    lock_user(memory + 1, 5000, IoWriteAccess);
    uint8_t *view = (uint8_t *)act(ACT_MAP, 0, 0, 0);
    CHECK((uintptr_t)view >= nth_user_limit());
    view[0] = 8;
    CHECK_EQ(memory[1], 8);
    act(ACT_UNLOCK, 0, 0, 0);
    act(ACT_FREE_MDL, 0, 0, 0);
    finish();
}

/* Failing allocations, locks and mappings: NULL, an exception, NULL. */
TEST(memory_calls_fail_on_demand)
{
    uint8_t *memory = user_pages(1);

    nth_fault_arm(1 << NTH_FAULT_MDL, 1);
    CHECK_EQ(act(ACT_MDL, (uintptr_t)memory, 10, 0), 0);
    act(ACT_MDL, (uintptr_t)memory, 10, 0);
    nth_fault_arm(1 << NTH_FAULT_LOCK, 1);
    CHECK_EQ(act(ACT_LOCK, UserMode, IoReadAccess, 0), (ULONG)STATUS_WORKING_SET_QUOTA);
    CHECK_EQ(act(ACT_LOCK, UserMode, IoReadAccess, 0), 0);
    nth_fault_arm(1 << NTH_FAULT_MAP, 1);
    CHECK_EQ(act(ACT_MAP, 0, 0, 0), 0);
    CHECK(act(ACT_MAP, 0, 0, 0) != 0);
    act(ACT_UNLOCK, 0, 0, 0);
    act(ACT_FREE_MDL, 0, 0, 0);
    finish();
}

static void routine_at(uint32_t version, bool has_pool2)
{
    nth_boot(&(struct nth_config){.mode = NTH_SERIAL, .ndis_version = version});
    CHECK_STATUS(nth_driver_load(gadget_path(), "gadget", &gadget), STATUS_SUCCESS);
    CHECK_EQ(act(ACT_ROUTINE, (uintptr_t)u"ExAllocatePool2", 0, 0) != 0, has_pool2);
    CHECK(act(ACT_ROUTINE, (uintptr_t)u"ExAllocatePoolWithTag", 0, 0) != 0);
    CHECK(act(ACT_ROUTINE, (uintptr_t)u"NoSuchRoutine", 0, 0) == 0);
    nth_shutdown();
}

/* ExAllocatePool2: "available starting with Windows 10, version 2004", which is NDIS 6.84. */
TEST(routine_address_of_windows_11_has_pool2)
{
    routine_at(0x60059, true);
}

TEST(routine_address_of_windows_7_lacks_pool2)
{
    routine_at(0x60014, false);
}

/* ---- rules ---- */

/* Bug check 0x76 PROCESS_HAS_LOCKED_PAGES */
TEST(rule_process_ends_with_locked_pages)
{
    uint8_t *memory = user_pages(1);

    lock_user(memory, 10, IoReadAccess);
    nth_expect_stop("process-has-locked-pages");
    finish();
}

/* IoFreeMdl: "the driver must unlock the pages before it frees the MDL". */
TEST(rule_mdl_freed_locked)
{
    uint8_t *memory = user_pages(1);

    lock_user(memory, 10, IoReadAccess);
    nth_expect_stop("mdl-freed-locked");
    act(ACT_FREE_MDL, 0, 0, 0);
}

TEST(rule_mdl_unlocked_twice)
{
    uint8_t *memory = user_pages(1);

    lock_user(memory, 10, IoReadAccess);
    act(ACT_UNLOCK, 0, 0, 0);
    nth_expect_stop("mdl-unlock-twice");
    act(ACT_UNLOCK, 0, 0, 0);
}

/* MmProbeAndLockPages: "a second call ... to lock the same MDL is not allowed". */
TEST(rule_mdl_locked_twice)
{
    uint8_t *memory = user_pages(1);

    lock_user(memory, 10, IoReadAccess);
    nth_expect_stop("mdl-lock-twice");
    act(ACT_LOCK, UserMode, IoReadAccess, 0);
}

/* MmMapLockedPagesSpecifyCache: "must not try to create more than one system-address-space
 * mapping". */
TEST(rule_mdl_mapped_twice)
{
    uint8_t *memory = user_pages(1);

    lock_user(memory, 10, IoReadAccess);
    act(ACT_MAP, 0, 0, 0);
    nth_expect_stop("mdl-mapped-twice");
    act(ACT_MAP_AGAIN, 0, 0, 0);
}

TEST(rule_mdl_mapped_unlocked)
{
    uint8_t *memory = user_pages(1);

    act(ACT_MDL, (uintptr_t)memory, 10, 0);
    nth_expect_stop("mdl-not-locked");
    act(ACT_MAP, 0, 0, 0);
}

TEST(rule_mdl_unmapped_elsewhere)
{
    uint8_t *memory = user_pages(1);

    lock_user(memory, 10, IoReadAccess);
    const uint64_t view = act(ACT_MAP, 0, 0, 0);
    nth_expect_stop("mdl-not-mapped");
    act(ACT_UNMAP, view + 1, 0, 0);
}

/* MmFreePagesFromMdl of pages that are still mapped. */
TEST(rule_pages_freed_mapped)
{
    boot();
    act(ACT_PAGES, 4096, 0, 0);
    act(ACT_MAP, 0, 0, 0);
    nth_expect_stop("mdl-mapping-leak");
    act(ACT_FREE_PAGES, 0, 0, 0);
}

/* MmPrepareMdlForReuse must be called before a mapped partial MDL is reused. */
TEST(rule_partial_reused_mapped)
{
    uint8_t *memory = user_pages(1);

    lock_user(memory, 100, IoReadAccess);
    act(ACT_SECOND, (uintptr_t)memory, 100, 0);
    act(ACT_PARTIAL, (uintptr_t)memory, 50, 0);
    act(ACT_MAP_SECOND, 0, 0, 0);
    nth_expect_stop("mdl-mapping-leak");
    act(ACT_PARTIAL, (uintptr_t)memory, 60, 0);
}

TEST(rule_partial_beyond_source)
{
    uint8_t *memory = user_pages(2);

    lock_user(memory, 100, IoReadAccess);
    act(ACT_SECOND, (uintptr_t)memory, 8192, 0);
    nth_expect_stop("mdl-partial-range");
    act(ACT_PARTIAL, (uintptr_t)memory + 50, 51, 0);
}

/* Bug check 0x40 TARGET_MDL_TOO_SMALL */
TEST(rule_partial_too_small)
{
    uint8_t *memory = user_pages(3);

    lock_user(memory, 3 * 4096, IoReadAccess);
    act(ACT_SECOND, (uintptr_t)memory, 100, 0);
    nth_expect_stop("mdl-too-small");
    act(ACT_PARTIAL, (uintptr_t)memory, 3 * 4096, 0);
}

TEST(rule_nonpaged_mdl_of_user_memory)
{
    uint8_t *memory = user_pages(1);

    act(ACT_MDL, (uintptr_t)memory, 100, 0);
    nth_expect_stop("mdl-not-nonpaged");
    act(ACT_NONPAGED, 0, 0, 0);
}

/* An MDL that is left at unload. */
TEST(rule_mdl_leaked)
{
    boot();
    act(ACT_MDL, 0x10000, 100, 0);
    nth_expect_stop("leak");
    nth_driver_unload(gadget);
}
