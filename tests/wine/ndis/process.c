/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The programs that use a driver: when they end, what their handles are, what their tokens may.
 */
#include "double.h"

#include <windows.h>

#include <string.h>

struct watch {
    struct watch *next;
    DWORD process;
    HANDLE handle; /* keeps the identifier from being used again */
    void (*ended)(uint32_t process);
};

static struct watch *watches; /* guarded by lock */
static CRITICAL_SECTION lock = {NULL, -1, 0, NULL, NULL, 0};

static DWORD WINAPI wait_for_end(void *context)
{
    struct watch *w = context;

    WaitForSingleObject(w->handle, INFINITE);
    w->ended(w->process);
    EnterCriticalSection(&lock);
    struct watch **link = &watches;
    while (*link != w)
        link = &(*link)->next;
    *link = w->next;
    LeaveCriticalSection(&lock);
    CloseHandle(w->handle);
    HeapFree(GetProcessHeap(), 0, w);
    return 0;
}

/* One that has ended already is not waited for: the close of its files ends what it began. */
static void add_watch(DWORD process, void (*ended)(uint32_t process))
{
    struct watch *w = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof(*w));
    HANDLE thread = NULL;

    if (w) {
        w->process = process;
        w->ended = ended;
        w->handle = OpenProcess(SYNCHRONIZE, FALSE, process);
        w->next = watches;
        if (w->handle)
            thread = CreateThread(NULL, 0, wait_for_end, w, 0, NULL);
    }
    if (thread) {
        watches = w; /* the thread needs the lock before it looks */
        CloseHandle(thread);
        return;
    }
    wine_log("process %lu cannot be waited for: error %lu", process, GetLastError());
    if (w && w->handle)
        CloseHandle(w->handle);
    if (w)
        HeapFree(GetProcessHeap(), 0, w);
}

void wine_watch(uint32_t process, void (*ended)(uint32_t process))
{
    if (process == GetCurrentProcessId())
        return;
    EnterCriticalSection(&lock);
    struct watch *w = watches;
    while (w && w->process != process)
        w = w->next;
    if (!w)
        add_watch(process, ended);
    LeaveCriticalSection(&lock);
}

LONG NTAPI NtQueryEvent(HANDLE event, int what, void *data, ULONG bytes, ULONG *returned);

void *wine_duplicate_event(uint32_t process, void *handle, uint32_t access, bool *is_event)
{
    const HANDLE owner = OpenProcess(PROCESS_DUP_HANDLE, FALSE, process);
    HANDLE copy = NULL, query = NULL;
    LONG answer[2];

    *is_event = false;
    if (owner &&
        DuplicateHandle(owner, handle, GetCurrentProcess(), &query, EVENT_ALL_ACCESS, FALSE, 0)) {
        *is_event = NtQueryEvent(query, 0, answer, sizeof(answer), NULL) >= 0;
        CloseHandle(query);
    } else {
        *is_event = true; /* if it is there at all, the access decides */
    }
    if (owner && !DuplicateHandle(owner, handle, GetCurrentProcess(), &copy, access, FALSE, 0))
        copy = NULL;
    if (owner)
        CloseHandle(owner);
    return copy;
}

bool wine_access_check(uint32_t process, const void *descriptor, uint32_t desired,
                       const void *mapping, uint32_t *granted)
{
    const HANDLE owner = OpenProcess(PROCESS_QUERY_INFORMATION, FALSE, process);
    HANDLE primary = NULL, token = NULL;
    GENERIC_MAPPING map;
    PRIVILEGE_SET privileges;
    DWORD bytes = sizeof(privileges), access = 0;
    BOOL may = FALSE;

    memcpy(&map, mapping, sizeof(map));
    MapGenericMask((DWORD *)&desired, &map);
    if (owner && OpenProcessToken(owner, TOKEN_QUERY | TOKEN_DUPLICATE, &primary) &&
        DuplicateToken(primary, SecurityImpersonation, &token) &&
        !AccessCheck((PSECURITY_DESCRIPTOR)(ULONG_PTR)descriptor, token, desired, &map, &privileges,
                     &bytes, &access, &may)) {
        wine_log("access check of process %lu failed with %lu", process, GetLastError());
        may = FALSE;
    }
    if (token)
        CloseHandle(token);
    if (primary)
        CloseHandle(primary);
    if (owner)
        CloseHandle(owner);
    *granted = access;
    return may != FALSE;
}
