/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * From a command line to arguments. The rules are those of the page "Parsing C command-line
 * arguments" of Microsoft's C++ documentation, which every shell and program quotes for.
 */
#include "options.h"

static bool IsBlank(wchar_t Character)
{
    return Character == ' ' || Character == '\t';
}

/* The program's name: quotes are taken away, and backslashes mean nothing. */
static const wchar_t *SplitProgram(const wchar_t *Line, wchar_t **Storage)
{
    bool IsQuoted = false;

    for (; *Line && (IsQuoted || !IsBlank(*Line)); Line++) {
        if (*Line == '"')
            IsQuoted = !IsQuoted;
        else
            *(*Storage)++ = *Line;
    }
    *(*Storage)++ = 0;
    return Line;
}

/* Backslashes: before a quote each pair is one, and one left over makes the quote a character. */
static const wchar_t *SplitBackslashes(const wchar_t *Line, wchar_t **Storage)
{
    unsigned Count = 0;

    while (Line[Count] == '\\')
        Count++;
    const bool IsBeforeQuote = Line[Count] == '"';
    for (unsigned Index = 0; Index < (IsBeforeQuote ? Count / 2 : Count); Index++)
        *(*Storage)++ = '\\';
    Line += Count;
    if (IsBeforeQuote && Count % 2)
        *(*Storage)++ = *Line++;
    return Line;
}

static const wchar_t *SplitArgument(const wchar_t *Line, wchar_t **Storage)
{
    bool IsQuoted = false;

    while (*Line && (IsQuoted || !IsBlank(*Line))) {
        if (*Line == '\\') {
            Line = SplitBackslashes(Line, Storage);
        } else if (*Line == '"') {
            if (IsQuoted && Line[1] == '"')
                *(*Storage)++ = *Line++; /* two within quotes are one */
            else
                IsQuoted = !IsQuoted;
            Line++;
        } else {
            *(*Storage)++ = *Line++;
        }
    }
    *(*Storage)++ = 0;
    return Line;
}

int ArgumentsSplit(const wchar_t *Line, wchar_t *Storage, const wchar_t **Arguments, int MaxCount)
{
    int Count = 0;

    Arguments[Count++] = Storage;
    Line = SplitProgram(Line, &Storage);
    for (;;) {
        while (IsBlank(*Line))
            Line++;
        if (!*Line)
            return Count;
        if (Count == MaxCount)
            return MaxCount + 1;
        Arguments[Count++] = Storage;
        Line = SplitArgument(Line, &Storage);
    }
}
