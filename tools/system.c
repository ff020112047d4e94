/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What a C runtime would give: memory, output, time, Ctrl-C, processes. Output is UTF-16 on a
 * console and UTF-8 in files and pipes, whatever code page is set.
 */
#include "tool.h"

enum { OUTPUT_BYTES = 2048 };

typedef struct {
    TOOL_TEXT *Text;
    HANDLE Handle;
    bool IsConsole, HasFailed;
    char Buffer[OUTPUT_BYTES];
} OUTPUT;

TOOL_TEXT ToolOut, ToolErr;
HANDLE StopEvent;
static OUTPUT Out, Err;

/* Calls of these are made by the compiler; Microsoft's takes them for its own unless told. */
#if defined(_MSC_VER) && !defined(__clang__)
#pragma function(memcpy, memset, memcmp)
#endif

void *memcpy(void *Target, const void *Source, size_t Size)
{
    for (size_t Index = 0; Index < Size; Index++)
        ((char *)Target)[Index] = ((const char *)Source)[Index];
    return Target;
}

void *memmove(void *Target, const void *Source, size_t Size)
{
    if ((uintptr_t)Target <= (uintptr_t)Source)
        return memcpy(Target, Source, Size);
    while (Size--)
        ((char *)Target)[Size] = ((const char *)Source)[Size];
    return Target;
}

void *memset(void *Target, int Value, size_t Size)
{
    for (size_t Index = 0; Index < Size; Index++)
        ((char *)Target)[Index] = (char)Value;
    return Target;
}

int memcmp(const void *One, const void *Other, size_t Size)
{
    for (size_t Index = 0; Index < Size; Index++) {
        const int Difference =
            ((const unsigned char *)One)[Index] - ((const unsigned char *)Other)[Index];
        if (Difference)
            return Difference;
    }
    return 0;
}

/* ---- output ---- */

/* Half a KiB at a time, since a line is longer than the stack of an unknown thread should bear. */
static bool ConsoleWrite(HANDLE Console, const char *Utf8, DWORD Bytes)
{
    wchar_t Wide[512];
    DWORD Piece, Written;

    for (; Bytes; Utf8 += Piece, Bytes -= Piece) {
        Piece = Bytes < 512 ? Bytes : 512;
        while (Piece > 1 && Piece < Bytes && (Utf8[Piece] & 0xC0) == 0x80)
            Piece--; /* not within a code point */
        const int Characters = MultiByteToWideChar(CP_UTF8, 0, Utf8, (int)Piece, Wide, 512);
        if (!WriteConsoleW(Console, Wide, (DWORD)Characters, &Written, NULL))
            return false;
    }
    return true;
}

static bool HandleWrite(HANDLE Handle, bool IsConsole, const char *Utf8, DWORD Bytes)
{
    DWORD Written;

    if (IsConsole)
        return ConsoleWrite(Handle, Utf8, Bytes);
    return WriteFile(Handle, Utf8, Bytes, &Written, NULL) && Written == Bytes;
}

static void OutputWrite(OUTPUT *Output)
{
    const DWORD Bytes = (DWORD)Output->Text->Length;

    Output->Text->Length = 0;
    if (Bytes && !Output->HasFailed)
        Output->HasFailed = !HandleWrite(Output->Handle, Output->IsConsole, Output->Buffer, Bytes);
}

void OutputWriteError(const char *Utf8, DWORD Bytes)
{
    HandleWrite(Err.Handle, Err.IsConsole, Utf8, Bytes);
}

static void OutputTextFlush(TOOL_TEXT *Text)
{
    OutputWrite(Text->Context);
}

static void OutputInit(OUTPUT *Output, TOOL_TEXT *Text, DWORD Which)
{
    DWORD Mode;

    TextInit(Text, Output->Buffer, sizeof(Output->Buffer));
    Text->Flush = OutputTextFlush;
    Text->Context = Output;
    Output->Text = Text;
    Output->Handle = GetStdHandle(Which);
    Output->IsConsole = GetConsoleMode(Output->Handle, &Mode);
}

void OutputOpen(void)
{
    OutputInit(&Out, &ToolOut, STD_OUTPUT_HANDLE);
    OutputInit(&Err, &ToolErr, STD_ERROR_HANDLE);
}

bool OutputFlush(void)
{
    OutputWrite(&Out);
    OutputWrite(&Err);
    return !Out.HasFailed;
}

bool OutputIsConsole(void)
{
    return Out.IsConsole;
}

void OutputClip(bool IsClipped)
{
    CONSOLE_SCREEN_BUFFER_INFO Screen;

    ToolOut.MaxColumn = 0;
    if (IsClipped && GetConsoleScreenBufferInfo(Out.Handle, &Screen) && Screen.dwSize.X > 1)
        ToolOut.MaxColumn = (unsigned)Screen.dwSize.X - 1;
}

void OutputRewind(unsigned Lines)
{
    CONSOLE_SCREEN_BUFFER_INFO Screen;
    DWORD Written;

    OutputFlush();
    if (!Lines || !GetConsoleScreenBufferInfo(Out.Handle, &Screen))
        return;
    const SHORT Up =
        (SHORT)(Lines < (unsigned)Screen.dwCursorPosition.Y ? Lines
                                                            : (unsigned)Screen.dwCursorPosition.Y);
    const COORD Start = {0, (SHORT)(Screen.dwCursorPosition.Y - Up)};
    FillConsoleOutputCharacterW(Out.Handle, L' ', (DWORD)Up * (DWORD)Screen.dwSize.X, Start,
                                &Written);
    SetConsoleCursorPosition(Out.Handle, Start);
}

/* ---- memory ---- */

void *MemoryAllocate(size_t Size)
{
    return HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, Size);
}

void *MemoryGrow(void *Memory, size_t Size)
{
    return Memory ? HeapReAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, Memory, Size)
                  : MemoryAllocate(Size);
}

void MemoryFree(void *Memory)
{
    if (Memory)
        HeapFree(GetProcessHeap(), 0, Memory);
}

/* ---- Ctrl-C ---- */

/*
 * Runs on a thread that Windows makes. When a console is closed the process ends as soon as this
 * returns ("HandlerRoutine callback function", Console documentation), so it waits until the main
 * thread has removed what it made and ended the process; Windows does not wait longer than 5 s.
 */
static BOOL WINAPI StopHandler(DWORD Event)
{
    SetEvent(StopEvent);
    if (Event != CTRL_C_EVENT && Event != CTRL_BREAK_EVENT)
        Sleep(INFINITE);
    return TRUE;
}

bool StopOpen(void)
{
    StopEvent = CreateEventW(NULL, TRUE, FALSE, NULL);
    return StopEvent && SetConsoleCtrlHandler(StopHandler, TRUE);
}

bool StopWait(DWORD Milliseconds)
{
    return WaitForSingleObject(StopEvent, Milliseconds) == WAIT_OBJECT_0;
}

/* ---- time and processes ---- */

uint64_t TimeMicroseconds(void)
{
    static LARGE_INTEGER Frequency;
    LARGE_INTEGER Now;

    if (!Frequency.QuadPart)
        QueryPerformanceFrequency(&Frequency);
    QueryPerformanceCounter(&Now);
    const uint64_t PerSecond = (uint64_t)Frequency.QuadPart, Count = (uint64_t)Now.QuadPart;
    return Count / PerSecond * 1000000 + Count % PerSecond * 1000000 / PerSecond;
}

/* GetSystemTimePreciseAsFileTime is there from Windows 8 on. */
uint64_t TimeTicks(void)
{
    static VOID(WINAPI * Precise)(LPFILETIME);
    static bool IsKnown;
    const uint64_t UnixEpoch = 116444736000000000;
    FILETIME Time;

    if (!IsKnown) {
        const FARPROC Found =
            GetProcAddress(GetModuleHandleW(L"kernel32.dll"), "GetSystemTimePreciseAsFileTime");
        memcpy(&Precise, &Found, sizeof(Precise));
        IsKnown = true;
    }
    if (Precise)
        Precise(&Time);
    else
        GetSystemTimeAsFileTime(&Time);
    return ((uint64_t)Time.dwHighDateTime << 32 | Time.dwLowDateTime) - UnixEpoch;
}

bool ProcessName(DWORD ProcessId, wchar_t *Name)
{
    HANDLE Process = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, ProcessId);
    static wchar_t Path[32768]; /* the longest path; one thread asks */
    DWORD Length = sizeof(Path) / sizeof(Path[0]), Start, Index;

    if (!Process)
        return false;
    const BOOL IsKnown = QueryFullProcessImageNameW(Process, 0, Path, &Length);
    CloseHandle(Process);
    if (!IsKnown)
        return false;
    for (Start = Length; Start > 0 && Path[Start - 1] != '\\'; Start--)
        ;
    for (Index = 0; Index + 1 < PROCESS_NAME && Path[Start + Index]; Index++)
        Name[Index] = Path[Start + Index];
    Name[Index] = 0;
    return true;
}

bool ProcessIsRunning(DWORD ProcessId)
{
    HANDLE Process = OpenProcess(SYNCHRONIZE, FALSE, ProcessId);

    if (!Process)
        return GetLastError() == ERROR_ACCESS_DENIED; /* it is there, but another user's */
    const bool IsRunning = WaitForSingleObject(Process, 0) == WAIT_TIMEOUT;
    CloseHandle(Process);
    return IsRunning;
}
