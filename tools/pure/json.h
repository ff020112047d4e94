/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Writes JSON (RFC 8259) on one line. Keys are literals of ours; values are escaped, and are valid
 * UTF-8 whatever Windows had in them.
 */
#pragma once

#include "text.h"

typedef struct {
    TOOL_TEXT *Out;
    unsigned Depth;
    uint32_t HasItem; /* bit n: something is written at depth n, so that a comma comes next */
} TOOL_JSON;

/* Key: of the value in an object; NULL in an array and at the top. */
void JsonBegin(TOOL_JSON *Json, const char *Key, char Bracket);     /* '{' or '[' */
void JsonEnd(TOOL_JSON *Json, char Bracket);                        /* '}' or ']' */
void JsonText(TOOL_JSON *Json, const char *Key, const char *Value); /* NULL: null */
void JsonWide(TOOL_JSON *Json, const char *Key, const wchar_t *Value);
void JsonNumber(TOOL_JSON *Json, const char *Key, uint64_t Value);
void JsonBool(TOOL_JSON *Json, const char *Key, bool Value);
void JsonNull(TOOL_JSON *Json, const char *Key);
/* A string, formatted as by TextPrint. */
void JsonPrint(TOOL_JSON *Json, const char *Key, const char *Format, ...) TOOL_FORMAT(3, 4);
