/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Physical pages as mm.c, mdl.c and the I/O files share them. A page frame number names a page of a
 * memfd (user memory, MmAllocatePagesForMdlEx) or, with MM_KERNEL_PFN, a page of ordinary host
 * memory, which cannot be mapped twice. Nothing outside nt/ includes this.
 */
#pragma once

#include "nt/nt.h"

#define MM_PAGE       4096u
#define MM_KERNEL_PFN (1ull << 40)

/* Checks that [address, address + bytes) of the current process may be read or written and adds a
 * lock to each page, whose numbers go to pfns. STATUS_ACCESS_VIOLATION with *fault set otherwise.
 */
NTSTATUS nth_mm_lock(uintptr_t address, size_t bytes, bool write, PFN_NUMBER *pfns,
                     uintptr_t *fault);
void nth_mm_unlock(const PFN_NUMBER *pfns, size_t count);

/* A view of pages for the system; NULL when the host has none left. Gone after nth_mm_unmap: exact
 * memory leaves an inaccessible hole behind for a while. */
void *nth_mm_map(const PFN_NUMBER *pfns, size_t count, bool writable);
void nth_mm_unmap(void *view, size_t count);

/* Pages of the system's own (locked once), zeroed. False when there are none. */
bool nth_mm_pages(PFN_NUMBER *pfns, size_t count);

/* Copies between host memory and the memory of a process, in whatever context the caller runs;
 * checks what the process itself may do there. STATUS_ACCESS_VIOLATION otherwise, nothing copied.
 */
NTSTATUS nth_mm_read(struct nth_process *process, void *to, uintptr_t from, size_t bytes);
NTSTATUS nth_mm_write(struct nth_process *process, uintptr_t to, const void *from, size_t bytes);
/* For a request of either mode: plain copies for KernelMode. */
NTSTATUS nth_mm_read_mode(KPROCESSOR_MODE mode, struct nth_process *process, void *to,
                          const void *from, size_t bytes);
NTSTATUS nth_mm_write_mode(KPROCESSOR_MODE mode, struct nth_process *process, void *to,
                           const void *from, size_t bytes);
/* In user space and accessible (bytes 0: always). */
bool nth_mm_probe(struct nth_process *process, uintptr_t address, size_t bytes, bool write);

/* Small objects of the kernel that drivers hold pointers to. Exact memory: each ends at a guard
 * page and stays inaccessible for a while after nth_mm_free. Zeroed, 16-byte aligned. */
void *nth_mm_alloc(size_t bytes);
void nth_mm_free(void *object, size_t bytes);

/* MmProbeAndLockPages for the I/O manager: answers instead of raising (nt/mdl.c). */
MDL *nth_mdl_create(void *address, ULONG length); /* IoFreeMdl ends it */
NTSTATUS nth_mdl_lock(MDL *mdl, KPROCESSOR_MODE mode, bool write);
