/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What caller.sys and the tests that use it agree on: its exports, the control codes of its device
 * \\.\Caller, and the log of what its routines saw.
 */
#pragma once

#include "caller_codes.h"

#include <ntifs.h>

enum { CALLER_ARGUMENTS = 12, CALLER_LOGGED = 64 };

enum caller_event { CALLER_CREATED, CALLER_EXITED, CALLER_CLEANUP, CALLER_CLOSE, CALLER_CANCELLED };

/* One line of the log: what happened, and who was current. */
struct caller_entry {
    ULONG What;
    ULONG Irql;
    ULONG64 Id;             /* process the event is about */
    ULONG64 CurrentId;      /* PsGetCurrentProcessId */
    ULONG64 CurrentProcess; /* PsGetCurrentProcess: process ID of that object */
    ULONG64 ThreadProcess;  /* PsGetThreadProcess(PsGetCurrentThread()): likewise */
};
