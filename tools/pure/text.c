/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * UTF-8 text and its small printf. Must never write past a buffer, and never a piece of a code
 * point: what reads the output would refuse all of it.
 */
#include "text.h"

_Static_assert(sizeof(wchar_t) == 2, "UTF-16");

#define REPLACEMENT 0xFFFDU

void TextInit(TOOL_TEXT *Text, char *Buffer, size_t Capacity)
{
    *Text = (TOOL_TEXT){.Buffer = Buffer, .Capacity = Capacity};
    Buffer[0] = 0;
}

/* Bytes of the code point that begins with Byte. */
static size_t SequenceLength(unsigned char Byte)
{
    return Byte < 0xC0 ? 1 : Byte < 0xE0 ? 2 : Byte < 0xF0 ? 3 : 4;
}

static void TextByte(TOOL_TEXT *Text, char Byte)
{
    const bool IsFirst = ((unsigned char)Byte & 0xC0) != 0x80;

    if (IsFirst)
        Text->IsClipping = Text->MaxColumn && Text->Column >= Text->MaxColumn && Byte != '\n';
    if (Text->IsClipping)
        return;
    if (IsFirst && Text->Length + SequenceLength((unsigned char)Byte) >= Text->Capacity) {
        if (Text->Flush)
            Text->Flush(Text);
        else
            Text->IsFull = true;
    }
    if (Text->IsFull || Text->Length + 1 >= Text->Capacity)
        return;
    Text->Buffer[Text->Length++] = Byte;
    Text->Buffer[Text->Length] = 0;
    Text->Column = Byte == '\n' ? 0 : Text->Column + IsFirst;
}

void TextCodePoint(TOOL_TEXT *Text, uint32_t CodePoint)
{
    if (CodePoint > 0x10FFFF || (CodePoint >= 0xD800 && CodePoint <= 0xDFFF))
        CodePoint = REPLACEMENT;
    if (CodePoint < 0x80) {
        TextByte(Text, (char)CodePoint);
    } else if (CodePoint < 0x800) {
        TextByte(Text, (char)(0xC0 | CodePoint >> 6));
        TextByte(Text, (char)(0x80 | (CodePoint & 0x3F)));
    } else if (CodePoint < 0x10000) {
        TextByte(Text, (char)(0xE0 | CodePoint >> 12));
        TextByte(Text, (char)(0x80 | (CodePoint >> 6 & 0x3F)));
        TextByte(Text, (char)(0x80 | (CodePoint & 0x3F)));
    } else {
        TextByte(Text, (char)(0xF0 | CodePoint >> 18));
        TextByte(Text, (char)(0x80 | (CodePoint >> 12 & 0x3F)));
        TextByte(Text, (char)(0x80 | (CodePoint >> 6 & 0x3F)));
        TextByte(Text, (char)(0x80 | (CodePoint & 0x3F)));
    }
}

uint32_t WideNext(const wchar_t **Wide)
{
    const uint32_t First = (uint16_t)*(*Wide)++;
    const uint32_t Second = (uint16_t)**Wide;

    if (First < 0xD800 || First > 0xDFFF)
        return First;
    if (First > 0xDBFF || Second < 0xDC00 || Second > 0xDFFF)
        return REPLACEMENT;
    (*Wide)++;
    return 0x10000 + ((First - 0xD800) << 10) + (Second - 0xDC00);
}

static void TextUnsigned(TOOL_TEXT *Text, uint64_t Value, unsigned Base, unsigned Digits)
{
    char Reversed[24];
    unsigned Count = 0;

    do {
        Reversed[Count++] = "0123456789abcdef"[Value % Base];
        Value /= Base;
    } while (Value);
    for (unsigned Zeros = Count; Zeros < Digits; Zeros++)
        TextByte(Text, '0');
    while (Count)
        TextByte(Text, Reversed[--Count]);
}

static void TextSigned(TOOL_TEXT *Text, int64_t Value)
{
    if (Value < 0)
        TextByte(Text, '-');
    TextUnsigned(Text, Value < 0 ? 0 - (uint64_t)Value : (uint64_t)Value, 10, 0);
}

static void TextString(TOOL_TEXT *Text, const char *String)
{
    while (*String)
        TextByte(Text, *String++);
}

/* Control characters are shown as replaced: names must not be able to command a terminal. */
static void TextWide(TOOL_TEXT *Text, const wchar_t *Wide)
{
    while (*Wide) {
        const uint32_t CodePoint = WideNext(&Wide);
        const bool IsControl = CodePoint < 0x20 || (CodePoint >= 0x7F && CodePoint < 0xA0);
        TextCodePoint(Text, IsControl ? REPLACEMENT : CodePoint);
    }
}

/* What follows a per cent sign. */
typedef struct {
    unsigned Digits, Longs;
    char Kind;
} TOOL_CONVERSION;

static const char *ConversionRead(const char *Format, TOOL_CONVERSION *Conversion)
{
    *Conversion = (TOOL_CONVERSION){0};
    while (*Format >= '0' && *Format <= '9')
        Conversion->Digits = Conversion->Digits * 10 + (unsigned)(*Format++ - '0');
    while (*Format == 'l') {
        Conversion->Longs++;
        Format++;
    }
    Conversion->Kind = *Format;
    return *Format ? Format + 1 : Format;
}

void TextPrintList(TOOL_TEXT *Text, const char *Format, va_list Arguments)
{
    TOOL_CONVERSION Next;

    while (*Format) {
        if (*Format != '%') {
            TextByte(Text, *Format++);
            continue;
        }
        Format = ConversionRead(Format + 1, &Next);
        switch (Next.Kind) {
        case 's':
            if (Next.Longs)
                TextWide(Text, va_arg(Arguments, const wchar_t *));
            else
                TextString(Text, va_arg(Arguments, const char *));
            break;
        case 'c':
            TextCodePoint(Text, (uint32_t)va_arg(Arguments, int));
            break;
        case 'd':
            TextSigned(Text, Next.Longs ? va_arg(Arguments, long) : va_arg(Arguments, int));
            break;
        case 'u':
        case 'x':
            TextUnsigned(Text,
                         Next.Longs > 1 ? va_arg(Arguments, unsigned long long)
                         : Next.Longs   ? va_arg(Arguments, unsigned long)
                                        : va_arg(Arguments, unsigned),
                         Next.Kind == 'x' ? 16 : 10, Next.Digits);
            break;
        default:
            TextByte(Text, '%');
        }
    }
}

void TextPrint(TOOL_TEXT *Text, const char *Format, ...)
{
    va_list Arguments;

    va_start(Arguments, Format);
    TextPrintList(Text, Format, Arguments);
    va_end(Arguments);
}

void TextDecimal(TOOL_TEXT *Text, uint64_t Value, unsigned Decimals)
{
    uint64_t Unit = 1;

    for (unsigned Index = 0; Index < Decimals; Index++)
        Unit *= 10;
    TextUnsigned(Text, Value / Unit, 10, 0);
    TextByte(Text, '.');
    TextUnsigned(Text, Value % Unit, 10, Decimals);
}

void TextClock(TOOL_TEXT *Text, uint64_t Ticks)
{
    const uint64_t Microseconds = Ticks / 10 % 86400000000U;
    const unsigned Seconds = (unsigned)(Microseconds / 1000000);

    TextPrint(Text, "%02u:%02u:%02u.%06u", Seconds / 3600, Seconds / 60 % 60, Seconds % 60,
              (unsigned)(Microseconds % 1000000));
}

void TextPad(TOOL_TEXT *Text, unsigned Column)
{
    const unsigned Start = Text->Column;

    while (Text->Column < Column && !Text->IsFull && !Text->IsClipping)
        TextByte(Text, ' ');
    if (Text->Column == Start && Start)
        TextByte(Text, ' ');
}

unsigned TextWidth(const char *String)
{
    unsigned Width = 0;

    for (; *String; String++)
        Width += ((unsigned char)*String & 0xC0) != 0x80;
    return Width;
}

static uint32_t Lower(uint32_t Character)
{
    return Character >= 'A' && Character <= 'Z' ? Character + 'a' - 'A' : Character;
}

bool WideIs(const wchar_t *Wide, const char *Ascii)
{
    while (*Wide && Lower((uint16_t)*Wide) == Lower((unsigned char)*Ascii)) {
        Wide++;
        Ascii++;
    }
    return !*Wide && !*Ascii;
}
