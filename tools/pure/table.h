/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Tables for people: columns as wide as their widest cell, two spaces between them.
 */
#pragma once

#include "text.h"

enum { TABLE_CELL = 400 }; /* bytes: the longest name of an adapter, in UTF-8, with room to spare */

typedef char TOOL_CELL[TABLE_CELL];

typedef struct {
    const char *const *Headings; /* Columns of them; NULL: none */
    unsigned Columns;            /* at most 16 */
    uint32_t RightAligned;       /* bit n: column n, which has numbers */
    TOOL_CELL *Cells;            /* row by row, memory of the caller's */
    unsigned Rows, MaxRows;
} TOOL_TABLE;

/* Formats a cell of the last row, and adds a row; false when there is no room for one. */
bool TableAddRow(TOOL_TABLE *Table);
void TableCell(TOOL_TABLE *Table, unsigned Column, const char *Format, ...) TOOL_FORMAT(3, 4);

void TableWrite(const TOOL_TABLE *Table, TOOL_TEXT *Out);
