/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The double's log, C:\ndis.log: a line for each event, written through at once, since the process
 * may be ended at any moment. A line that begins with "stop" is a broken rule.
 */
#include "double.h"

#include <windows.h>

/* ucrtbase's printf, which knows %zu; msvcrt's does not. */
int __cdecl __stdio_common_vsprintf(unsigned __int64 options, char *buffer, size_t room,
                                    const char *format, void *locale, va_list arguments);

enum { TERMINATED = 2 /* _CRT_INTERNAL_PRINTF_STANDARD_SNPRINTF_BEHAVIOR */, LINE = 1024 };

static size_t add(char *line, size_t used, const char *format, va_list arguments)
{
    const int n =
        __stdio_common_vsprintf(TERMINATED, line + used, LINE - used, format, NULL, arguments);

    return n < 0 ? used : used + ((size_t)n < LINE - used ? (size_t)n : LINE - used - 1);
}

static size_t begin(char *line, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    const size_t used = add(line, 0, format, arguments);
    va_end(arguments);
    return used;
}

void wine_log_list(const char *prefix, const char *format, __builtin_va_list arguments)
{
    char line[LINE];
    DWORD written;

    size_t used = begin(line, "%s", prefix);
    used = add(line, used, format, arguments);
    line[used++] = '\n'; /* in place of the terminator */
    const HANDLE file =
        CreateFileW(L"C:\\ndis.log", FILE_APPEND_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                    OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return;
    WriteFile(file, line, (DWORD)used, &written, NULL);
    CloseHandle(file);
}

void wine_log(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    wine_log_list("", format, arguments);
    va_end(arguments);
}

void wine_end(void)
{
    TerminateProcess(GetCurrentProcess(), 70);
    for (;;)
        Sleep(INFINITE);
}
