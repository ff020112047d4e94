/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * In place of nthost/nt/ke.h, for nthost/nt/spin.c and nthost/nt/rundown.c: their waits are the
 * double's own.
 */
#pragma once

#include "nt/nt.h"

enum { OBJECT_EVENT_NOTIFICATION = NotificationEvent, NTH_WAIT_ANY = WaitAny };

static inline bool nth_dpc_is_running(void)
{
    return false;
}

static inline void nth_dispatcher_init_header(DISPATCHER_HEADER *header, int type, int words,
                                              LONG state)
{
    KeInitializeEvent((KEVENT *)header, (EVENT_TYPE)type, (BOOLEAN)state);
}

static inline NTSTATUS nth_wait_as(ULONG count, void **objects, int kind, KPROCESSOR_MODE mode,
                                   bool is_alertable, LARGE_INTEGER *timeout)
{
    return KeWaitForMultipleObjects(count, objects, (WAIT_TYPE)kind, Executive, mode, is_alertable,
                                    timeout, NULL);
}

static inline void list_insert_tail(LIST_ENTRY *head, LIST_ENTRY *entry)
{
    InsertTailList(head, entry);
}

static inline void list_remove(LIST_ENTRY *entry)
{
    RemoveEntryList(entry);
}
