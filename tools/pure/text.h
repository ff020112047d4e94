/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * UTF-8 text that is put together piece by piece: in memory, or on its way to a file or console.
 * Nothing in this folder may call Windows, so that all of it is tested on Linux too; strings of
 * Windows are UTF-16, which is what wchar_t is wherever this compiles.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define TOOL_FORMAT(Format, First) __attribute__((format(printf, Format, First)))
#else
#define TOOL_FORMAT(Format, First)
#endif

typedef struct TOOL_TEXT TOOL_TEXT;
struct TOOL_TEXT {
    char *Buffer;    /* NUL-terminated after every call */
    size_t Capacity; /* with the NUL, at least 8 */
    size_t Length;
    unsigned MaxColumn; /* what would stand there or behind is left out; 0: nothing is */
    bool IsClipping;
    unsigned Column;                /* code points since the last line began */
    void (*Flush)(TOOL_TEXT *Text); /* writes Buffer out and sets Length to 0; NULL: memory only */
    void *Context;                  /* of Flush */
    bool IsFull;                    /* memory only: something did not fit and was left out */
};

/* A text in a buffer of the caller's. */
void TextInit(TOOL_TEXT *Text, char *Buffer, size_t Capacity);

/*
 * Appends. Knows %s (UTF-8), %ls (UTF-16), %u %lu %llu %d %ld %x %lx %llx %c %%, and zeros in front
 * as in %08x. What does not fit is left out, never a part of a code point.
 */
void TextPrint(TOOL_TEXT *Text, const char *Format, ...) TOOL_FORMAT(2, 3);
void TextPrintList(TOOL_TEXT *Text, const char *Format, va_list Arguments) TOOL_FORMAT(2, 0);

/* Value divided by 10 to the power of Decimals, which is 1 to 6: 1234 and 2 are "12.34". */
void TextDecimal(TOOL_TEXT *Text, uint64_t Value, unsigned Decimals);

/* Time of day (UTC) of 100 ns since some midnight: "17:05:32.528669". */
void TextClock(TOOL_TEXT *Text, uint64_t Ticks);

/* One code point; one that does not exist, such as half a surrogate pair, becomes U+FFFD. */
void TextCodePoint(TOOL_TEXT *Text, uint32_t CodePoint);

/* The next code point of a UTF-16 string, which moves on. */
uint32_t WideNext(const wchar_t **Wide);

/* Spaces up to Column, and at least one unless the line has just begun. */
void TextPad(TOOL_TEXT *Text, unsigned Column);

/* Code points of a UTF-8 string. */
unsigned TextWidth(const char *String);

/* Equality without regard to the case of ASCII letters. */
bool WideIs(const wchar_t *Wide, const char *Ascii);
