/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What wintun.exe writes: text, JSON and tables of tools/pure. No machine is booted.
 */
#include "../../tools/pure/json.h"
#include "../../tools/pure/table.h"

#include "check.h"

#include <stdlib.h>

static char Buffer[4096];
static TOOL_TEXT Text;

static TOOL_TEXT *Fresh(void)
{
    TextInit(&Text, Buffer, sizeof(Buffer));
    return &Text;
}

/* The conversions that text.h promises, and their extremes. */
TEST(text_every_conversion_is_printed)
{
    TextPrint(Fresh(), "%s|%ls|%u|%lu|%llu|%d|%ld|%x|%08lx|%llx|%c|%%|%04u", "a", L"b", 1U,
              4294967295UL, 18446744073709551615ULL, -2147483647 - 1, -1L, 0xABU, 0xCDEFUL,
              0x35000000000000ULL, 'z', 7U);
    CHECK_STR(Buffer, "a|b|1|4294967295|18446744073709551615|-2147483648|-1|ab|0000cdef|"
                      "35000000000000|z|%|0007");
}

/* RFC 3629: UTF-16 becomes UTF-8 of 1 to 4 bytes; half a pair is not a code point. */
TEST(text_utf16_becomes_utf8)
{
    const wchar_t Wide[] = {'a', 0xFC, 0x4E2D, 0xD83D, 0xDE00, 0xD83D, 'b', 0xDE00, 0};

    TextPrint(Fresh(), "%ls", Wide);
    CHECK_STR(Buffer, "a\xC3\xBC\xE4\xB8\xAD\xF0\x9F\x98\x80\xEF\xBF\xBD"
                      "b\xEF\xBF\xBD");
}

/* A name must not be able to move the cursor or ring the bell. */
TEST(text_control_characters_of_names_are_replaced)
{
    TextPrint(Fresh(), "%ls", L"a\x1b[2J\n\x7f\x9b");
    CHECK_STR(Buffer, "a\xEF\xBF\xBD[2J\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

/* A buffer that is too small at every size: nothing past it, no piece of a code point. */
TEST(text_full_buffer_keeps_whole_code_points)
{
    static const char All[] = "a\xC3\xBC\xE4\xB8\xAD\xF0\x9F\x98\x80z";

    for (size_t capacity = 8; capacity < sizeof(All) + 2; capacity++) {
        char *small = malloc(capacity); /* the address checks see one byte too many */
        TextInit(&Text, small, capacity);
        TextPrint(&Text, "%s", All);
        CHECK(strncmp(All, small, Text.Length) == 0);
        CHECK(strlen(small) == Text.Length && ((unsigned char)All[Text.Length] & 0xC0) != 0x80);
        CHECK(Text.IsFull == (capacity < sizeof(All)));
        TextPrint(&Text, "more");
        CHECK(!Text.IsFull || strlen(small) == Text.Length);
        free(small);
    }
}

static char Flushed[256];

static void Collect(TOOL_TEXT *text)
{
    CHECK(((unsigned char)text->Buffer[0] & 0xC0) != 0x80);
    strcat(Flushed, text->Buffer);
    text->Length = 0;
    text->Buffer[0] = 0;
}

/* What is written to a console goes there in whole code points. */
TEST(text_flush_loses_nothing)
{
    char small[8];

    TextInit(&Text, small, sizeof(small));
    Text.Flush = Collect;
    TextPrint(&Text, "%ls and %s", L"\x4e2d\x4e2d\x4e2d\xfc", "a long text");
    Collect(&Text);
    CHECK_STR(Flushed, "\xE4\xB8\xAD\xE4\xB8\xAD\xE4\xB8\xAD\xC3\xBC and a long text");
}

TEST(text_decimals_and_clock)
{
    TextDecimal(Fresh(), 1234, 2);
    TextPrint(&Text, " ");
    TextDecimal(&Text, 5, 3);
    TextPrint(&Text, " ");
    TextClock(&Text, 86399999999U * 10 + 9);
    TextPrint(&Text, " ");
    TextClock(&Text, 86400000001U * 10);
    CHECK_STR(Buffer, "12.34 0.005 23:59:59.999999 00:00:00.000001");
}

/* A line of a console stays one line, and the next begins anew. */
TEST(text_past_the_last_column_is_left_out)
{
    Fresh()->MaxColumn = 4;
    TextPrint(&Text, "ab%ls and\n", L"\xfc\x4e2d\x4e2d");
    TextPad(&Text, 9);
    TextPrint(&Text, "\nabcd\nabcde\n");
    CHECK_STR(Buffer, "ab\xC3\xBC\xE4\xB8\xAD\n    \nabcd\nabcd\n");
}

TEST(text_padding_counts_code_points)
{
    TextPrint(Fresh(), "x\n%ls", L"\xfc\xfc");
    TextPad(&Text, 4);
    TextPrint(&Text, "|");
    TextPad(&Text, 2); /* is past that */
    TextPrint(&Text, "|");
    CHECK_STR(Buffer, "x\n\xC3\xBC\xC3\xBC  | |");
}

/* ---- JSON ---- */

/* RFC 8259, section 7: quotation mark, reverse solidus and control characters are escaped. */
TEST(json_strings_are_escaped)
{
    TOOL_JSON json = {.Out = Fresh()};

    JsonBegin(&json, NULL, '{');
    JsonWide(&json, "wide", L"\"\\\n\x7f\xfc\xd800");
    JsonText(&json, "text", "\"\\\t\xC3\xBC");
    JsonEnd(&json, '}');
    CHECK_STR(Buffer, "{\"wide\": \"\\\"\\\\\\u000a\\u007f\xC3\xBC\xEF\xBF\xBD\", "
                      "\"text\": \"\\\"\\\\\\u0009\xC3\xBC\"}\n");
}

TEST(json_nesting_has_commas_where_they_belong)
{
    TOOL_JSON json = {.Out = Fresh()};

    for (int round = 0; round < 2; round++) {
        JsonBegin(&json, NULL, '{');
        JsonBegin(&json, "list", '[');
        JsonNumber(&json, NULL, 18446744073709551615ULL);
        for (unsigned item = 0; item < 2; item++) {
            JsonBegin(&json, NULL, '{');
            JsonNumber(&json, "item", item);
            JsonEnd(&json, '}');
        }
        JsonBool(&json, NULL, true);
        JsonEnd(&json, ']');
        JsonNull(&json, "none");
        JsonText(&json, "null", NULL);
        JsonPrint(&json, "print", "%u\"", 5U);
        JsonEnd(&json, '}');
    }
    CHECK_STR(Buffer, "{\"list\": [18446744073709551615, {\"item\": 0}, {\"item\": 1}, true], "
                      "\"none\": null, \"null\": null, "
                      "\"print\": \"5\\\"\"}\n"
                      "{\"list\": [18446744073709551615, {\"item\": 0}, {\"item\": 1}, true], "
                      "\"none\": null, \"null\": null, "
                      "\"print\": \"5\\\"\"}\n");
}

/* ---- tables ---- */

TEST(table_columns_are_as_wide_as_their_widest_cell)
{
    static const char *const headings[] = {"NAME", "N", "LAST"};
    static TOOL_CELL cells[6];
    TOOL_TABLE table = {
        .Headings = headings, .Columns = 3, .RightAligned = 2, .Cells = cells, .MaxRows = 2};

    CHECK(TableAddRow(&table));
    TableCell(&table, 0, "%ls", L"\xfc\xfc\xfc\xfc\xfc\xfc");
    TableCell(&table, 1, "%u", 5U);
    TableCell(&table, 2, "end");
    CHECK(TableAddRow(&table));
    TableCell(&table, 1, "%u", 12345U);
    CHECK(!TableAddRow(&table));
    TableWrite(&table, Fresh());
    CHECK_STR(Buffer, "NAME        N  LAST\n"
                      "\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC      5  end\n"
                      "        12345\n");
}

/* A name of 127 characters of 3 bytes each is the longest there is. */
TEST(table_cell_has_room_for_the_longest_name)
{
    static TOOL_CELL cells[1];
    wchar_t name[128];
    TOOL_TABLE table = {.Columns = 1, .Cells = cells, .MaxRows = 1};

    for (int i = 0; i < 127; i++)
        name[i] = 0x4E2D;
    name[127] = 0;
    CHECK(TableAddRow(&table));
    TableCell(&table, 0, "%ls", name);
    CHECK_EQ(TextWidth(cells[0]), 127);
}
