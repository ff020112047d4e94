/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The program's log, and what went wrong. A failure is put into words where it is found, with Fail,
 * and waits with its thread until someone decides what it is: an error of the exported function
 * (Report) or something that the function can do without (Warn). So each failure makes one line.
 * Must never change the last error but in Report.
 */
#include "private.h"

typedef struct LINE {
    DWORD Length;
    WCHAR Text[LINE_CHARACTERS];
} LINE;

typedef struct NOTE {
    DWORD Error; /* that Line is about; 0: none */
    LINE Line;
} NOTE;

typedef struct THREAD {
    NOTE Notes[2]; /* the second is used while the first is kept */
    DWORD Keepers; /* who have called FailureKeep and not yet ended it */
    LINE Reported;
} THREAD;

static DWORD Slot = TLS_OUT_OF_INDEXES;
static PVOID volatile Logger; /* atomic */

BOOL LogAttach(void)
{
    Slot = TlsAlloc();
    return Slot != TLS_OUT_OF_INDEXES;
}

void LogDetach(void)
{
    TlsFree(Slot);
}

/* NULL when there is no memory: then texts say less. */
static THREAD *ThreadGet(BOOL MayCreate)
{
    const DWORD Before = GetLastError(); /* TlsGetValue clears it */
    THREAD *Thread = TlsGetValue(Slot);

    if (!Thread && MayCreate) {
        Thread = MemoryAllocate(sizeof(*Thread));
        if (Thread && !TlsSetValue(Slot, Thread)) {
            MemoryFree(Thread);
            Thread = NULL;
        }
    }
    SetLastError(Before);
    return Thread;
}

void ThreadDetach(void)
{
    MemoryFree(ThreadGet(FALSE));
    TlsSetValue(Slot, NULL);
}

/* ---- Lines ---- */

static void LineAdd(LINE *Line, LPCWSTR Text)
{
    while (*Text && Line->Length < LINE_CHARACTERS - 1)
        Line->Text[Line->Length++] = *Text++;
    if (*Text)
        Line->Text[LINE_CHARACTERS - 2] = L'\x2026'; /* an ellipsis: there was more */
    Line->Text[Line->Length] = 0;
}

static void LineAddNumber(LINE *Line, DWORD64 Value, DWORD Base, DWORD Digits)
{
    WCHAR Text[24];

    StringNumber(Text, Value, Base, Digits);
    LineAdd(Line, Text);
}

/* What Windows says to an error; nothing when it has no words for it. */
static void LineAddMessage(LINE *Line, DWORD Error)
{
    WCHAR Text[512];
    /* Codes of the setup functions are known to FormatMessage as HRESULTs (HRESULT_FROM_SETUPAPI).
     */
    const DWORD Known = (Error & 0xFFFF0000) == 0xE0000000 ? 0x800F0000 | (Error & 0xFFFF) : Error;
    DWORD Length = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS |
                                      FORMAT_MESSAGE_MAX_WIDTH_MASK,
                                  NULL, Known, 0, Text, sizeof(Text) / sizeof(*Text), NULL);

    while (Length && (Text[Length - 1] == L' ' || Text[Length - 1] == L'\n'))
        Text[--Length] = 0;
    if (Length) {
        LineAdd(Line, Text);
        LineAdd(Line, L" (");
    }
    LineAdd(Line, L"Code 0x");
    LineAddNumber(Line, Error, 16, 8);
    if (Length)
        LineAdd(Line, L")");
}

static void Log(WINTUN_LOGGER_LEVEL Level, LPCWSTR Text)
{
    const DWORD Before = GetLastError();
    WINTUN_LOGGER_CALLBACK Callback =
        (WINTUN_LOGGER_CALLBACK)InterlockedCompareExchangePointer(&Logger, NULL, NULL);
    FILETIME Now;

    if (!Callback)
        return;
    GetSystemTimeAsFileTime(&Now);
    Callback(Level, (DWORD64)Now.dwHighDateTime << 32 | Now.dwLowDateTime, Text);
    SetLastError(Before);
}

/* ---- Failures ---- */

/* The line so far, for more; NULL without memory. */
static LINE *Note(DWORD Error, LPCWSTR Step, LPCWSTR Object)
{
    const DWORD Before = GetLastError();
    THREAD *Thread = ThreadGet(TRUE);
    LINE *Line = NULL;

    if (Thread) {
        Thread->Notes[Thread->Keepers != 0].Error = Error;
        Line = &Thread->Notes[Thread->Keepers != 0].Line;
        Line->Length = 0;
        LineAdd(Line, Step);
        LineAdd(Line, L": ");
        if (Object) {
            LineAdd(Line, Object);
            LineAdd(Line, L": ");
        }
        LineAddMessage(Line, Error);
    }
    SetLastError(Before);
    return Line;
}

DWORD Fail(DWORD Error, LPCWSTR Step, LPCWSTR Object)
{
    if (!Error) /* a function that fails without saying why must not look like success */
        Error = ERROR_GEN_FAILURE;
    Note(Error, Step, Object);
    return Error;
}

DWORD FailProblem(DWORD Error, LPCWSTR Step, LPCWSTR InstanceId, ULONG Problem, LONG Status)
{
    LINE *Line = Note(Error, Step, InstanceId);

    if (Line && Problem) {
        LineAdd(Line, L"; problem code ");
        LineAddNumber(Line, Problem, 10, 1);
        LineAdd(Line, L", status 0x");
        LineAddNumber(Line, (DWORD)Status, 16, 8);
    }
    return Error;
}

/* The text of a failure; Spare is used when its thread has none. */
static LINE *Noted(DWORD Error, LINE *Spare)
{
    THREAD *Thread = ThreadGet(FALSE);
    NOTE *Latest = Thread ? &Thread->Notes[Thread->Keepers != 0] : NULL;

    if (Latest && Latest->Error == Error) {
        Latest->Error = 0;
        return &Latest->Line;
    }
    Spare->Length = 0;
    LineAddMessage(Spare, Error);
    return Spare;
}

BOOL Report(DWORD Error)
{
    LINE Spare;

    if (!Error)
        return TRUE;
    const LINE *Line = Noted(Error, &Spare);
    THREAD *Thread = ThreadGet(TRUE);
    if (Thread)
        Thread->Reported = *Line;
    Log(WINTUN_LOG_ERR, Line->Text);
    SetLastError(Error);
    return FALSE;
}

void Warn(DWORD Error)
{
    LINE Spare;

    if (Error)
        Log(WINTUN_LOG_WARN, Noted(Error, &Spare)->Text);
}

void Inform(LPCWSTR What, LPCWSTR Object)
{
    LINE Line;

    Line.Length = 0;
    LineAdd(&Line, What);
    if (Object) {
        LineAdd(&Line, L": ");
        LineAdd(&Line, Object);
    }
    Log(WINTUN_LOG_INFO, Line.Text);
}

void FailureKeep(BOOL IsKept)
{
    THREAD *Thread = ThreadGet(FALSE);

    if (Thread && IsKept)
        Thread->Keepers++;
    else if (Thread && Thread->Keepers) /* 0: there was no memory for the thread's text then */
        Thread->Keepers--;
}

void FailureFirst(DWORD *First, DWORD Error)
{
    if (*First) {
        Warn(Error);
    } else if (Error) {
        *First = Error;
        FailureKeep(TRUE);
    }
}

DWORD FailureDone(DWORD First)
{
    if (First)
        FailureKeep(FALSE);
    return First;
}

DWORD ErrorFromResult(HRESULT Result)
{
    if (HRESULT_FACILITY(Result) == FACILITY_WIN32)
        return HRESULT_CODE(Result);
    if (HRESULT_FACILITY(Result) == FACILITY_SETUPAPI)
        return 0xE0000000 | HRESULT_CODE(Result);
    return (DWORD)Result;
}

/* ---- Exports ---- */

void WINAPI WintunSetLogger(WINTUN_LOGGER_CALLBACK NewLogger)
{
    InterlockedExchangePointer(&Logger, (PVOID)NewLogger);
}

DWORD WINAPI WintunGetLastErrorText(LPWSTR Buffer, DWORD Characters)
{
    const THREAD *Thread = ThreadGet(FALSE);
    const DWORD Length = Thread ? Thread->Reported.Length : 0;

    if (Characters) {
        const DWORD Copied = Length < Characters ? Length : Characters - 1;
        if (Thread)
            memcpy(Buffer, Thread->Reported.Text, Copied * sizeof(WCHAR));
        Buffer[Copied] = 0;
    }
    return Length + 1;
}
