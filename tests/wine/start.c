/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/* Where the Windows programs of this folder begin: msvcrt.dll as it is, without mingw-w64's start.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv);
int __cdecl __getmainargs(int *argc, char ***argv, char ***environment, int wildcards, int *start);
void start(void);
void __main(void);

/* What compilers for mingw-w64 call first in main; there are no constructors. */
void __main(void) {}

int __ms_vsnprintf(char *text, size_t room, const char *format, va_list arguments);

/* What mingw-w64's header makes of vsnprintf; msvcrt's own leaves a full buffer unterminated. */
int __ms_vsnprintf(char *text, size_t room, const char *format, va_list arguments)
{
    const int used = _vsnprintf(text, room, format, arguments);

    if (room)
        text[room - 1] = 0;
    return used;
}

void start(void)
{
    char **argv, **environment;
    int argc, mode = 0;

    __getmainargs(&argc, &argv, &environment, 0, &mode);
    exit(main(argc, argv));
}
