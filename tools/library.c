/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * wintun.dll, and messages about what went wrong: what was to be done, why it could not be, in the
 * words of the DLL or of Windows, and what can be done about it.
 */
#include "tool.h"

#include <setupapi.h> /* its error codes */

#ifndef ERROR_DRIVER_STORE_ADD_FAILED /* in newer headers */
#define ERROR_DRIVER_STORE_ADD_FAILED (APPLICATION_ERROR_MASK | ERROR_SEVERITY_ERROR | 0x247)
#endif

enum { MESSAGE = 1024, REASON = 1100 };

WINTUN_API Wintun;
static HMODULE Module;
static bool IsJson;

/* ---- messages ---- */

static const struct {
    DWORD Code;
    const char *Remedy;
} Remedies[] = {
    {ERROR_ACCESS_DENIED, "run it elevated, in a terminal opened with \"Run as administrator\""},
    {ERROR_NOT_FOUND, "\"wintun list\" shows which adapters there are"},
    {ERROR_MOD_NOT_FOUND, "wintun.dll has to be in the folder of wintun.exe"},
    {ERROR_BAD_EXE_FORMAT, "wintun.dll and wintun.exe have to be of the same architecture"},
    {ERROR_ALREADY_EXISTS, "choose another name, or remove that adapter with \"wintun delete\""},
    {ERROR_TIMEOUT, "another program may be creating adapters; try again"},
    {ERROR_NO_CATALOG_FOR_OEM_INF,
     "this driver is not signed; install a signed release, or sign it for test mode"},
    {ERROR_DRIVER_STORE_ADD_FAILED,
     "Windows does not trust who signed this driver; see %SystemRoot%\\inf\\setupapi.dev.log"},
    {ERROR_DEVICE_IN_USE, "end the programs that use an adapter first; see \"wintun list\""},
    {ERROR_OLD_WIN_VERSION, "leave out --persistent, which needs Windows 8.1"},
};

static const char *RemedyFind(DWORD Code)
{
    for (size_t Index = 0; Index < sizeof(Remedies) / sizeof(Remedies[0]); Index++) {
        if (Remedies[Index].Code == Code)
            return Remedies[Index].Remedy;
    }
    return NULL;
}

static void FailWrite(const char *Message, DWORD Code, const wchar_t *Reason, const char *Remedy)
{
    TextPrint(&ToolErr, "wintun: %s", Message);
    if (Reason && *Reason)
        TextPrint(&ToolErr, ": %ls", Reason);
    else if (Code)
        TextPrint(&ToolErr, ": error %lu", Code);
    TextPrint(&ToolErr, "\n");
    if (Remedy)
        TextPrint(&ToolErr, "wintun: %s\n", Remedy);
    if (!IsJson)
        return;
    TOOL_JSON Json = {.Out = &ToolOut};
    JsonBegin(&Json, NULL, '{');
    JsonBegin(&Json, "error", '{');
    JsonText(&Json, "message", Message);
    JsonNumber(&Json, "code", Code);
    JsonWide(&Json, "reason", Reason);
    JsonText(&Json, "remedy", Remedy);
    JsonEnd(&Json, '}');
    JsonEnd(&Json, '}');
}

void FailSetJson(bool Value)
{
    IsJson = Value;
}

/* The text of Windows for an error, without the end of its line; "" when it has none. */
static void ReasonOfWindows(DWORD Code, wchar_t *Reason)
{
    DWORD Length = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL,
                                  Code, 0, Reason, REASON, NULL);

    while (Length && (Reason[Length - 1] <= ' ' || Reason[Length - 1] == '.'))
        Length--;
    Reason[Length] = 0;
}

#define FAIL_FORMAT(Message, Format)                                                               \
    do {                                                                                           \
        TOOL_TEXT Text;                                                                            \
        va_list Arguments;                                                                         \
        TextInit(&Text, Message, sizeof(Message));                                                 \
        va_start(Arguments, Format);                                                               \
        TextPrintList(&Text, Format, Arguments);                                                   \
        va_end(Arguments);                                                                         \
    } while (0)

int Fail(const char *Format, ...)
{
    char Message[MESSAGE];

    FAIL_FORMAT(Message, Format);
    FailWrite(Message, 0, NULL, NULL);
    return ToolFailed;
}

int FailUsage(const char *Format, ...)
{
    char Message[MESSAGE];

    FAIL_FORMAT(Message, Format);
    FailWrite(Message, 0, NULL, NULL);
    return ToolUsage;
}

int FailWindows(DWORD Code, const char *Format, ...)
{
    static wchar_t Reason[REASON];
    char Message[MESSAGE];

    ReasonOfWindows(Code, Reason);
    FAIL_FORMAT(Message, Format);
    FailWrite(Message, Code, Reason, RemedyFind(Code));
    return ToolFailed;
}

int FailWintun(DWORD Code, const char *Format, ...)
{
    static wchar_t Reason[REASON];
    char Message[MESSAGE];

    if (!Wintun.GetLastErrorText || Wintun.GetLastErrorText(Reason, REASON) <= 1)
        ReasonOfWindows(Code, Reason);
    FAIL_FORMAT(Message, Format);
    FailWrite(Message, Code, Reason, RemedyFind(Code));
    return ToolFailed;
}

int FailMemory(void)
{
    return Fail("there is no memory");
}

/* ---- the DLL ---- */

static const char *const LevelNames[] = {"info", "warning", "error"};

/* Called on any thread, also while another prints: each line is written at once. */
static void CALLBACK LibraryLog(WINTUN_LOGGER_LEVEL Level, DWORD64 Timestamp, LPCWSTR Message)
{
    const char *Name = LevelNames[(unsigned)Level < 3 ? (unsigned)Level : WINTUN_LOG_ERR];
    char Line[3200];
    TOOL_TEXT Text;

    TextInit(&Text, Line, sizeof(Line));
    TextPrint(&Text, "wintun.dll: %s: %ls\n", Name, Message);
    OutputWriteError(Line, (DWORD)Text.Length);
}

bool LibraryLoad(const TOOL_OPTIONS *Options)
{
    Module = WintunLoad(NULL, &Wintun);
    if (!Module) {
        FailWindows(GetLastError(), "cannot load wintun.dll");
        return false;
    }
    if (Options->Verbose)
        Wintun.SetLogger(LibraryLog);
    return true;
}

HMODULE LibraryModule(void)
{
    return Module;
}

bool LibraryHas(bool IsThere, const char *Name)
{
    if (!IsThere)
        Fail("this wintun.dll is too old: it has no function %s", Name);
    return IsThere;
}
