/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Pages of a program that a driver locks. Wine's kernel is another process, so to share them the
 * program's whole allocation is replaced by a view of a section, at the same address and with the
 * same contents, and the section is mapped here too. The program is inside a control request
 * meanwhile; nothing else of it may touch the memory in that moment.
 */
#include "double.h"

#include <windows.h>

#include <winternl.h>

enum { VIEW_SHARE = 1 };

NTSTATUS NTAPI NtCreateSection(HANDLE *section, ACCESS_MASK access, OBJECT_ATTRIBUTES *attributes,
                               LARGE_INTEGER *bytes, ULONG protection, ULONG kind, HANDLE file);
NTSTATUS NTAPI NtMapViewOfSection(HANDLE section, HANDLE process, void **base, ULONG_PTR zero_bits,
                                  SIZE_T commit, LARGE_INTEGER *offset, SIZE_T *bytes,
                                  ULONG inherit, ULONG type, ULONG protection);
NTSTATUS NTAPI NtUnmapViewOfSection(HANDLE process, void *base);

struct region {
    struct region *next;
    DWORD process;
    char *base, *view; /* there, here */
    SIZE_T bytes;
    HANDLE section;
    unsigned locks;
    bool is_dead; /* the process has ended */
};

static struct region *regions; /* guarded by lock */
static CRITICAL_SECTION lock = {NULL, -1, 0, NULL, NULL, 0};

/* The allocation around address: all of it must be committed, private, writable memory. */
static bool measure(HANDLE process, char *address, char **base, SIZE_T *bytes)
{
    MEMORY_BASIC_INFORMATION m;

    if (!VirtualQueryEx(process, address, &m, sizeof(m)))
        return false;
    *base = m.AllocationBase;
    *bytes = 0;
    while (VirtualQueryEx(process, *base + *bytes, &m, sizeof(m)) && m.AllocationBase == *base) {
        if (m.State != MEM_COMMIT || m.Type != MEM_PRIVATE || m.Protect != PAGE_READWRITE)
            return false;
        *bytes += m.RegionSize;
    }
    return *bytes != 0;
}

static bool make_section(struct region *r)
{
    LARGE_INTEGER size = {.QuadPart = (LONGLONG)r->bytes};
    void *view = NULL;
    SIZE_T bytes = 0;

    if (NtCreateSection(&r->section, SECTION_ALL_ACCESS, NULL, &size, PAGE_READWRITE, SEC_COMMIT,
                        NULL) < 0)
        return false;
    if (NtMapViewOfSection(r->section, GetCurrentProcess(), &view, 0, 0, NULL, &bytes, VIEW_SHARE,
                           0, PAGE_READWRITE) < 0) {
        CloseHandle(r->section);
        return false;
    }
    r->view = view;
    return true;
}

static void drop_section(const struct region *r)
{
    NtUnmapViewOfSection(GetCurrentProcess(), r->view);
    CloseHandle(r->section);
}

/* From here to the end the program has no memory there: it must not fail half way. */
static bool exchange(HANDLE process, const struct region *r)
{
    void *at = r->base;
    SIZE_T bytes = 0, copied = 0;

    if (!ReadProcessMemory(process, r->base, r->view, r->bytes, &copied) || copied != r->bytes ||
        !VirtualFreeEx(process, r->base, 0, MEM_RELEASE))
        return false;
    const NTSTATUS status = NtMapViewOfSection(r->section, process, &at, 0, 0, NULL, &bytes,
                                               VIEW_SHARE, 0, PAGE_READWRITE);
    if (status >= 0)
        return true;
    wine_log("stop: process %lu lost its memory at %p: 0x%08lx", r->process, (void *)r->base,
             status);
    wine_end();
}

static struct region *adopt_region(DWORD id, char *address, SIZE_T wanted)
{
    const HANDLE process = OpenProcess(PROCESS_ALL_ACCESS, FALSE, id);
    struct region *r = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof(*r));
    bool is_done = false;

    if (process && r && measure(process, address, &r->base, &r->bytes) &&
        (SIZE_T)(address - r->base) + wanted <= r->bytes && make_section(r)) {
        r->process = id;
        is_done = exchange(process, r);
        if (!is_done)
            drop_section(r);
    }
    if (process)
        CloseHandle(process);
    if (is_done) {
        r->next = regions;
        regions = r;
        wine_log("process %lu: %p, %llu bytes are shared", id, (void *)r->base,
                 (unsigned long long)r->bytes);
        return r;
    }
    wine_log("process %lu: %p, %llu bytes cannot be locked", id, (void *)address,
             (unsigned long long)wanted);
    if (r)
        HeapFree(GetProcessHeap(), 0, r);
    return NULL;
}

void *wine_adopt(uint32_t process, void *address, size_t bytes)
{
    char *at = address;
    struct region *r;
    void *here = NULL;

    EnterCriticalSection(&lock);
    for (r = regions; r; r = r->next)
        if (r->process == process && !r->is_dead && at >= r->base && at < r->base + r->bytes)
            break;
    if (!r)
        r = adopt_region(process, at, bytes);
    if (r && (SIZE_T)(at - r->base) + bytes <= r->bytes) {
        r->locks++;
        here = r->view + (at - r->base);
    }
    LeaveCriticalSection(&lock);
    return here;
}

/* With the lock: frees what nobody holds and nobody has any more. */
static void sweep(void)
{
    for (struct region **link = &regions; *link;) {
        struct region *r = *link;
        if (!r->is_dead || r->locks) {
            link = &r->next;
            continue;
        }
        *link = r->next;
        drop_section(r);
        HeapFree(GetProcessHeap(), 0, r);
    }
}

void wine_release(const void *address)
{
    const char *at = address;

    EnterCriticalSection(&lock);
    for (struct region *r = regions; r; r = r->next)
        if (r->locks && at >= r->view && at < r->view + r->bytes) {
            r->locks--;
            break;
        }
    sweep();
    LeaveCriticalSection(&lock);
}

void wine_forget(uint32_t process)
{
    EnterCriticalSection(&lock);
    for (struct region *r = regions; r; r = r->next)
        r->is_dead |= r->process == process;
    sweep();
    LeaveCriticalSection(&lock);
}
