/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Addresses, GUIDs and numbers as people write them.
 */
#pragma once

#include "text.h"

typedef struct {
    bool IsIpv6;
    uint8_t PrefixLength;
    uint8_t Bytes[16]; /* as in a packet; of IPv4 the first 4 */
} TOOL_ADDRESS;

/* "10.1.2.3/24", "fd00::1/64"; without a prefix length it is 32 or 128. False: not an address. */
bool AddressParse(const wchar_t *Wide, TOOL_ADDRESS *Address);
/* RFC 5952: the longest run of zero words is left out, letters are small. */
void AddressPrint(TOOL_TEXT *Text, bool IsIpv6, const uint8_t *Bytes);

/* As GUID of Windows has it: a 32-bit word, two 16-bit words, 8 bytes. */
typedef struct {
    uint32_t Data1;
    uint16_t Data2, Data3;
    uint8_t Data4[8];
} TOOL_GUID;

/* "{6906E155-AFD4-44A9-8D84-2A4A9B955724}", with braces or without. */
bool GuidParse(const wchar_t *Wide, TOOL_GUID *Guid);
void GuidPrint(TOOL_TEXT *Text, const TOOL_GUID *Guid);

/* Decimal digits, all of the string. */
bool NumberParse(const wchar_t *Wide, uint64_t *Number);
