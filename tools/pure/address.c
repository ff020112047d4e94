/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Reads and writes addresses, GUIDs and numbers. What is not wholly one is refused: a typing error
 * must not become another address.
 */
#include "address.h"

enum { WORDS = 8 };

static bool DigitParse(wchar_t Character, unsigned Base, unsigned *Digit)
{
    if (Character >= '0' && Character <= '9')
        *Digit = (unsigned)(Character - '0');
    else if (Character >= 'a' && Character <= 'f')
        *Digit = (unsigned)(Character - 'a') + 10;
    else if (Character >= 'A' && Character <= 'F')
        *Digit = (unsigned)(Character - 'A') + 10;
    else
        return false;
    return *Digit < Base;
}

/* 1 to MaxDigits digits; the string moves on to what follows them. */
static bool DigitsParse(const wchar_t **Wide, unsigned Base, unsigned MaxDigits, uint64_t *Value)
{
    unsigned Count = 0, Digit;

    *Value = 0;
    while (Count < MaxDigits && DigitParse(**Wide, Base, &Digit)) {
        *Value = *Value * Base + Digit;
        (*Wide)++;
        Count++;
    }
    return Count > 0;
}

bool NumberParse(const wchar_t *Wide, uint64_t *Number)
{
    return DigitsParse(&Wide, 10, 18, Number) && !*Wide;
}

/* Four numbers. A zero in front is refused: elsewhere it means octal. */
static bool Ipv4Parse(const wchar_t **Wide, uint8_t *Bytes)
{
    for (unsigned Index = 0; Index < 4; Index++) {
        const wchar_t *Start = *Wide;
        uint64_t Value;
        if (!DigitsParse(Wide, 10, 3, &Value) || Value > 255)
            return false;
        if (*Start == '0' && *Wide - Start > 1)
            return false;
        Bytes[Index] = (uint8_t)Value;
        if (Index < 3 && *(*Wide)++ != '.')
            return false;
    }
    return true;
}

/* Whether an IPv4 address begins here, as at the end of ::ffff:10.0.0.1. */
static bool HasDotFirst(const wchar_t *Wide)
{
    unsigned Digit;

    while (DigitParse(*Wide, 10, &Digit))
        Wide++;
    return *Wide == '.';
}

/* Moves the words after "::" to the end; there are fewer than WORDS. */
static void WordsSpread(uint16_t *Words, unsigned Count, unsigned Gap)
{
    for (unsigned Index = 1; Index <= Count - Gap; Index++) {
        Words[WORDS - Index] = Words[Count - Index];
        Words[Count - Index] = 0;
    }
}

/* RFC 4291, section 2.2. */
static bool Ipv6Words(const wchar_t **Wide, uint16_t *Words, unsigned *Count, int *Gap)
{
    uint8_t Ipv4[4];
    uint64_t Value;

    if ((*Wide)[0] == ':' && (*Wide)[1] != ':')
        return false;
    while (*Count < WORDS) {
        if ((*Wide)[0] == ':' && (*Wide)[1] == ':') {
            if (*Gap >= 0)
                return false;
            *Gap = (int)*Count;
            *Wide += 2;
        } else if (*Count > 0 && *Gap != (int)*Count) {
            if (**Wide != ':')
                break;
            (*Wide)++;
            if (**Wide == ':' || !**Wide || **Wide == '/')
                return false;
        }
        if (!**Wide || **Wide == '/')
            break;
        if (HasDotFirst(*Wide)) {
            if (*Count > WORDS - 2 || !Ipv4Parse(Wide, Ipv4))
                return false;
            Words[(*Count)++] = (uint16_t)(Ipv4[0] << 8 | Ipv4[1]);
            Words[(*Count)++] = (uint16_t)(Ipv4[2] << 8 | Ipv4[3]);
            break;
        }
        if (!DigitsParse(Wide, 16, 4, &Value))
            return false;
        Words[(*Count)++] = (uint16_t)Value;
    }
    return true;
}

static bool Ipv6Parse(const wchar_t **Wide, uint8_t *Bytes)
{
    uint16_t Words[WORDS] = {0};
    unsigned Count = 0;
    int Gap = -1;

    if (!Ipv6Words(Wide, Words, &Count, &Gap))
        return false;
    if (Gap >= 0 ? Count >= WORDS : Count != WORDS)
        return false;
    if (Gap >= 0)
        WordsSpread(Words, Count, (unsigned)Gap);
    for (unsigned Index = 0; Index < WORDS; Index++) {
        Bytes[2 * Index] = (uint8_t)(Words[Index] >> 8);
        Bytes[2 * Index + 1] = (uint8_t)Words[Index];
    }
    return true;
}

bool AddressParse(const wchar_t *Wide, TOOL_ADDRESS *Address)
{
    uint64_t Prefix;

    *Address = (TOOL_ADDRESS){.IsIpv6 = !HasDotFirst(Wide)};
    Prefix = Address->IsIpv6 ? 128 : 32;
    const uint64_t Longest = Prefix;
    if (!(Address->IsIpv6 ? Ipv6Parse(&Wide, Address->Bytes) : Ipv4Parse(&Wide, Address->Bytes)))
        return false;
    if (*Wide == '/') {
        Wide++;
        if (!DigitsParse(&Wide, 10, 3, &Prefix) || Prefix > Longest)
            return false;
    }
    Address->PrefixLength = (uint8_t)Prefix;
    return !*Wide;
}

static unsigned ZeroRun(const uint16_t *Words, unsigned Start)
{
    unsigned Length = 0;

    while (Start + Length < WORDS && !Words[Start + Length])
        Length++;
    return Length;
}

static void Ipv6Print(TOOL_TEXT *Text, const uint8_t *Bytes)
{
    uint16_t Words[WORDS];
    unsigned Start = WORDS, Longest = 1; /* a single zero word is written */

    for (unsigned Index = 0; Index < WORDS; Index++)
        Words[Index] = (uint16_t)(Bytes[2 * Index] << 8 | Bytes[2 * Index + 1]);
    for (unsigned Index = 0; Index < WORDS; Index++) {
        if (ZeroRun(Words, Index) > Longest) {
            Longest = ZeroRun(Words, Index);
            Start = Index;
        }
    }
    for (unsigned Index = 0; Index < WORDS; Index++) {
        if (Index == Start) {
            TextPrint(Text, "::");
            Index += Longest - 1;
        } else {
            TextPrint(Text, Index && Index != Start + Longest ? ":%x" : "%x",
                      (unsigned)Words[Index]);
        }
    }
}

void AddressPrint(TOOL_TEXT *Text, bool IsIpv6, const uint8_t *Bytes)
{
    if (IsIpv6)
        Ipv6Print(Text, Bytes);
    else
        TextPrint(Text, "%u.%u.%u.%u", Bytes[0], Bytes[1], Bytes[2], Bytes[3]);
}

/* Exactly as many hexadecimal digits. */
static bool HexParse(const wchar_t **Wide, unsigned Digits, uint64_t *Value)
{
    const wchar_t *Start = *Wide;

    return DigitsParse(Wide, 16, Digits, Value) && *Wide - Start == (ptrdiff_t)Digits;
}

static bool HyphenParse(const wchar_t **Wide)
{
    const bool IsThere = **Wide == '-';

    *Wide += IsThere;
    return IsThere;
}

bool GuidParse(const wchar_t *Wide, TOOL_GUID *Guid)
{
    const bool HasBrace = *Wide == '{';
    uint64_t Parts[4], Byte;

    if (HasBrace)
        Wide++;
    if (!HexParse(&Wide, 8, &Parts[0]) || !HyphenParse(&Wide))
        return false;
    for (unsigned Index = 1; Index < 4; Index++) {
        if (!HexParse(&Wide, 4, &Parts[Index]) || !HyphenParse(&Wide))
            return false;
    }
    *Guid = (TOOL_GUID){(uint32_t)Parts[0],
                        (uint16_t)Parts[1],
                        (uint16_t)Parts[2],
                        {(uint8_t)(Parts[3] >> 8), (uint8_t)Parts[3]}};
    for (unsigned Index = 2; Index < 8; Index++) {
        if (!HexParse(&Wide, 2, &Byte))
            return false;
        Guid->Data4[Index] = (uint8_t)Byte;
    }
    return HasBrace ? Wide[0] == '}' && !Wide[1] : !*Wide;
}

void GuidPrint(TOOL_TEXT *Text, const TOOL_GUID *Guid)
{
    TextPrint(Text, "{%08lx-%04x-%04x-%02x%02x-", (unsigned long)Guid->Data1, Guid->Data2,
              Guid->Data3, Guid->Data4[0], Guid->Data4[1]);
    for (unsigned Index = 2; Index < 8; Index++)
        TextPrint(Text, "%02x", Guid->Data4[Index]);
    TextPrint(Text, "}");
}
