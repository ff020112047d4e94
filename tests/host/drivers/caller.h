/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What caller.sys and the tests that use it agree on: its exports, the control codes of its device
 * \\.\Caller, and the log of what its routines saw.
 */
#pragma once

#include <ntifs.h>

#define CALLER_CODE(Function, Method) ((0x8000u << 16) | ((Function) << 2) | (Method))
enum {
    CALLER_PEND = CALLER_CODE(0x800, 0),        /* pends until it is cancelled or completed */
    CALLER_PEND_DIRECT = CALLER_CODE(0x801, 2), /* the same with its output locked */
    CALLER_COMPLETE = CALLER_CODE(0x802, 0),    /* completes all that pend */
    CALLER_WAIT = CALLER_CODE(0x803, 0), /* input: KPROCESSOR_MODE as ULONG; waits for ever */
    CALLER_ECHO = CALLER_CODE(0x804, 0), /* answers its input */
    CALLER_LOCK = CALLER_CODE(0x805, 0), /* input: address, bytes: locks them */
    CALLER_UNLOCK = CALLER_CODE(0x806, 0),
    CALLER_CALL = CALLER_CODE(0x807, 0), /* input: function and arguments; output: result */
};

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
