/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The JSON writer. Must never let a value end its string, and never need a document in memory.
 */
#include "json.h"

static bool JsonEscape(TOOL_TEXT *Out, uint32_t Character)
{
    if (Character == '"' || Character == '\\')
        TextPrint(Out, "\\%c", (int)Character);
    else if (Character < 0x20 || Character == 0x7F)
        TextPrint(Out, "\\u%04x", (unsigned)Character);
    else
        return false;
    return true;
}

/* What comes before a value. */
static void JsonKey(TOOL_JSON *Json, const char *Key)
{
    if (Json->HasItem >> Json->Depth & 1)
        TextPrint(Json->Out, ", ");
    Json->HasItem |= 1U << Json->Depth;
    if (Key)
        TextPrint(Json->Out, "\"%s\": ", Key);
}

void JsonBegin(TOOL_JSON *Json, const char *Key, char Bracket)
{
    JsonKey(Json, Key);
    TextPrint(Json->Out, "%c", Bracket);
    Json->Depth++;
    Json->HasItem &= ~(1U << Json->Depth);
}

void JsonEnd(TOOL_JSON *Json, char Bracket)
{
    Json->Depth--;
    TextPrint(Json->Out, "%c", Bracket);
    if (!Json->Depth) {
        Json->HasItem = 0;
        TextPrint(Json->Out, "\n");
    }
}

void JsonText(TOOL_JSON *Json, const char *Key, const char *Value)
{
    JsonKey(Json, Key);
    if (!Value) {
        TextPrint(Json->Out, "null");
        return;
    }
    TextPrint(Json->Out, "\"");
    for (; *Value; Value++) {
        if (!JsonEscape(Json->Out, (unsigned char)*Value))
            TextPrint(Json->Out, "%s", (const char[]){*Value, 0}); /* also of a longer sequence */
    }
    TextPrint(Json->Out, "\"");
}

void JsonWide(TOOL_JSON *Json, const char *Key, const wchar_t *Value)
{
    JsonKey(Json, Key);
    if (!Value) {
        TextPrint(Json->Out, "null");
        return;
    }
    TextPrint(Json->Out, "\"");
    while (*Value) {
        const uint32_t CodePoint = WideNext(&Value);
        if (!JsonEscape(Json->Out, CodePoint))
            TextCodePoint(Json->Out, CodePoint);
    }
    TextPrint(Json->Out, "\"");
}

void JsonNumber(TOOL_JSON *Json, const char *Key, uint64_t Value)
{
    JsonKey(Json, Key);
    TextPrint(Json->Out, "%llu", (unsigned long long)Value);
}

void JsonBool(TOOL_JSON *Json, const char *Key, bool Value)
{
    JsonKey(Json, Key);
    TextPrint(Json->Out, "%s", Value ? "true" : "false");
}

void JsonNull(TOOL_JSON *Json, const char *Key)
{
    JsonText(Json, Key, NULL);
}

void JsonPrint(TOOL_JSON *Json, const char *Key, const char *Format, ...)
{
    char Buffer[512];
    TOOL_TEXT Text;
    va_list Arguments;

    TextInit(&Text, Buffer, sizeof(Buffer));
    va_start(Arguments, Format);
    TextPrintList(&Text, Format, Arguments);
    va_end(Arguments);
    JsonText(Json, Key, Buffer);
}
