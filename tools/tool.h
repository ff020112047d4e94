/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What the commands of wintun.exe share: output, errors, wintun.dll, Ctrl-C, and adapters with what
 * is known of them. The program has no C runtime and imports from kernel32.dll only.
 */
#pragma once

#include <wintun-loader.h>

#include "pure/json.h"
#include "pure/options.h"
#include "pure/table.h"

/* Exit codes, which docs/tools.md promises. */
enum { ToolDone = 0, ToolFailed = 1, ToolUsage = 2 };

/* ---- system.c: what a C runtime and a console would give ---- */

extern TOOL_TEXT ToolOut, ToolErr; /* standard output and standard error, as UTF-8 */

void OutputOpen(void);
/* Writes out what is buffered. False once anything could not be written: somebody closed it. */
bool OutputFlush(void);
bool OutputIsConsole(void);
/* Writes to standard error at once, on any thread. */
void OutputWriteError(const char *Utf8, DWORD Bytes);
/* On a console, leaves out what does not fit into a line, so that each line is one. */
void OutputClip(bool IsClipped);
/* Back over so many lines, which are cleared, so that they are written again. */
void OutputRewind(unsigned Lines);

void *MemoryAllocate(size_t Size); /* zeroed; NULL when there is none */
void *MemoryGrow(void *Memory, size_t Size);
void MemoryFree(void *Memory);

/* Set for good by Ctrl-C, Ctrl-Break and by closing the console. */
extern HANDLE StopEvent;
bool StopOpen(void);
/* Waits for Ctrl-C; false when the time has passed instead. */
bool StopWait(DWORD Milliseconds);

uint64_t TimeMicroseconds(void); /* since some moment */
uint64_t TimeTicks(void);        /* 100 ns since 1970-01-01 UTC, as fine as Windows tells */

/* "wireguard.exe"; false when the process is gone or may not be asked. */
enum { PROCESS_NAME = 260 };
bool ProcessName(DWORD ProcessId, wchar_t *Name);
bool ProcessIsRunning(DWORD ProcessId);

/* ---- library.c: wintun.dll and what went wrong ---- */

extern WINTUN_API Wintun;

/* Loads wintun.dll from the program's own folder; says so when that fails. */
bool LibraryLoad(const TOOL_OPTIONS *Options);
HMODULE LibraryModule(void);
/* False, with a message, when the DLL that was found is too old to have a function. */
bool LibraryHas(bool IsThere, const char *Name);
#define LIBRARY_HAS(Function) LibraryHas(Wintun.Function != NULL, "Wintun" #Function)

/*
 * Each prints one line, "wintun: " and the message, to standard error, and with --json an object
 * with the key "error" to standard output; and returns ToolFailed. Code is the last error, of
 * Windows or of the DLL's last call, whose own text follows the message, and then a remedy.
 */
void FailSetJson(bool IsJson);
int Fail(const char *Format, ...) TOOL_FORMAT(1, 2);
int FailWindows(DWORD Code, const char *Format, ...) TOOL_FORMAT(2, 3);
int FailWintun(DWORD Code, const char *Format, ...) TOOL_FORMAT(2, 3);
int FailMemory(void);
/* The command line was understood, but a value in it is not valid: returns ToolUsage. */
int FailUsage(const char *Format, ...) TOOL_FORMAT(1, 2);

/* ---- adapters.c ---- */

typedef struct {
    WINTUN_ADAPTER_INFO Info; /* its strings are those below */
    wchar_t Name[128], Alias[260], Description[260], InstanceId[201];
    bool HasStatistics;
    DWORD StatisticsError; /* why there are none */
    WINTUN_STATISTICS Statistics;
} TOOL_ADAPTER;

/* All adapters, or the one of that name; free with MemoryFree. False: the reason was printed. */
bool AdaptersRead(const wchar_t *Name, TOOL_ADAPTER **Adapters, unsigned *Count);

/* "ready", "stale", "problem 10 (it could not start)". */
void AdapterPrintState(TOOL_TEXT *Text, const TOOL_ADAPTER *Adapter);
const char *SessionKindName(DWORD Kind);
const char *ProblemName(DWORD ProblemCode);
/* "1234 wireguard.exe". */
void ProcessPrint(TOOL_TEXT *Text, DWORD ProcessId);
/* An object with processId and process, or null. */
void ProcessWriteJson(TOOL_JSON *Json, const char *Key, DWORD ProcessId);
/* Everything about an adapter, as one object. */
void AdapterWriteJson(TOOL_JSON *Json, const char *Key, const TOOL_ADAPTER *Adapter);

/* Counters by name, in one order for tables and JSON. */
typedef struct {
    const char *Key, *Text;
    size_t Field; /* offset of a DWORD64 in WINTUN_STATISTICS */
} TOOL_COUNTER;
enum { COUNTERS = 16 };
extern const TOOL_COUNTER Counters[COUNTERS];
DWORD64 CounterValue(const WINTUN_STATISTICS *Statistics, unsigned Counter);
/* Packets that were lost in either direction, for whatever reason. */
DWORD64 StatisticsLost(const WINTUN_STATISTICS *Statistics);

/* Says which process uses an adapter (0: it is not known) and what to do; returns ToolFailed. */
int FailUsed(const wchar_t *Name, DWORD ProcessId, const char *Remedy);
/* Opens an adapter by name, and prints what is wrong; NULL then. */
WINTUN_ADAPTER_HANDLE AdapterOpen(const wchar_t *Name);
/* Starts a session; who has it is told when somebody else does. */
WINTUN_SESSION_HANDLE SessionOpen(WINTUN_ADAPTER_HANDLE Adapter, const wchar_t *Name,
                                  DWORD Capacity);

/* A temporary adapter with addresses for tests: 198.18.53.1/30, from the range that RFC 2544 keeps
 * for benchmarks; the peer that this program plays is 198.18.53.2. */
extern const uint8_t OwnAddress[4], PeerAddress[4];
WINTUN_ADAPTER_HANDLE AdapterCreateTemporary(const wchar_t *Name);

/* ---- one function a command; returns the exit code ---- */

int RunList(const TOOL_OPTIONS *Options);
int RunShow(const TOOL_OPTIONS *Options);
int RunCreate(const TOOL_OPTIONS *Options);
int RunDelete(const TOOL_OPTIONS *Options);
int RunStats(const TOOL_OPTIONS *Options);
int RunCapture(const TOOL_OPTIONS *Options);
int RunRepair(const TOOL_OPTIONS *Options);
int RunVersion(const TOOL_OPTIONS *Options);
int RunSelftest(const TOOL_OPTIONS *Options);
int RunBench(const TOOL_OPTIONS *Options);
