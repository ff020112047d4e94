/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The handles behind the kernel's events, and waits for them. See kernel.c for who owns which.
 */
#include "double.h"

#include <windows.h>

#include <winternl.h>

NTSTATUS NTAPI NtSetEvent(HANDLE event, LONG *before);
NTSTATUS NTAPI NtResetEvent(HANDLE event, LONG *before);
NTSTATUS NTAPI NtQueryEvent(HANDLE event, int what, void *data, ULONG bytes, ULONG *returned);
NTSTATUS NTAPI NtWaitForMultipleObjects(ULONG count, const HANDLE *handles, BOOLEAN any,
                                        BOOLEAN is_alertable, const LARGE_INTEGER *timeout);

static CRITICAL_SECTION lock = {NULL, -1, 0, NULL, NULL, 0};

void wine_events_lock(void)
{
    EnterCriticalSection(&lock);
}

void wine_events_unlock(void)
{
    LeaveCriticalSection(&lock);
}

void *wine_event_create(bool is_notification, bool is_set)
{
    const HANDLE event = CreateEventW(NULL, is_notification, is_set, NULL);

    if (!event) {
        wine_log("stop: no handle for an event");
        wine_end();
    }
    return event;
}

void wine_event_close(void *event)
{
    CloseHandle(event);
}

bool wine_event_set(void *event)
{
    LONG before = 0;

    NtSetEvent(event, &before);
    return before != 0;
}

bool wine_event_reset(void *event)
{
    LONG before = 0;

    NtResetEvent(event, &before);
    return before != 0;
}

bool wine_event_state(void *event)
{
    struct {
        int type;
        LONG state;
    } answer = {0, 0};

    NtQueryEvent(event, 0 /* EventBasicInformation */, &answer, sizeof(answer), NULL);
    return answer.state != 0;
}

uint32_t wine_wait(unsigned count, void **handles, bool all, const int64_t *timeout)
{
    return (uint32_t)NtWaitForMultipleObjects(count, handles, !all, FALSE,
                                              (const LARGE_INTEGER *)timeout);
}
