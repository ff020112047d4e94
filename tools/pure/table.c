/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Layout of tables. Widths are counted in code points: a terminal that shows some of them wider
 * moves what follows, and nothing else.
 */
#include "table.h"

enum { GAP = 2, MAX_COLUMNS = 16 };

bool TableAddRow(TOOL_TABLE *Table)
{
    if (Table->Rows == Table->MaxRows)
        return false;
    for (unsigned Column = 0; Column < Table->Columns; Column++)
        Table->Cells[Table->Rows * Table->Columns + Column][0] = 0;
    Table->Rows++;
    return true;
}

void TableCell(TOOL_TABLE *Table, unsigned Column, const char *Format, ...)
{
    TOOL_TEXT Text;
    va_list Arguments;

    TextInit(&Text, Table->Cells[(Table->Rows - 1) * Table->Columns + Column], TABLE_CELL);
    va_start(Arguments, Format);
    TextPrintList(&Text, Format, Arguments);
    va_end(Arguments);
}

/* Where each column begins. */
static void TableMeasure(const TOOL_TABLE *Table, unsigned *Starts)
{
    unsigned Start = 0;

    for (unsigned Column = 0; Column < Table->Columns; Column++) {
        unsigned Widest = Table->Headings ? TextWidth(Table->Headings[Column]) : 0;
        for (unsigned Row = 0; Row < Table->Rows; Row++) {
            const unsigned Width = TextWidth(Table->Cells[Row * Table->Columns + Column]);
            Widest = Width > Widest ? Width : Widest;
        }
        Starts[Column] = Start;
        Start += Widest + GAP;
    }
    Starts[Table->Columns] = Start;
}

/* The last column is not filled up, so that no line ends with spaces. */
static void TableWriteCell(const TOOL_TABLE *Table, TOOL_TEXT *Out, const unsigned *Starts,
                           unsigned Column, const char *Cell)
{
    const unsigned Width = TextWidth(Cell);

    if (!Width)
        return;
    TextPad(Out,
            Table->RightAligned >> Column & 1 ? Starts[Column + 1] - GAP - Width : Starts[Column]);
    TextPrint(Out, "%s", Cell);
}

void TableWrite(const TOOL_TABLE *Table, TOOL_TEXT *Out)
{
    unsigned Starts[MAX_COLUMNS + 1];

    TableMeasure(Table, Starts);
    if (Table->Headings) {
        for (unsigned Column = 0; Column < Table->Columns; Column++)
            TableWriteCell(Table, Out, Starts, Column, Table->Headings[Column]);
        TextPrint(Out, "\n");
    }
    for (unsigned Row = 0; Row < Table->Rows; Row++) {
        for (unsigned Column = 0; Column < Table->Columns; Column++)
            TableWriteCell(Table, Out, Starts, Column, Table->Cells[Row * Table->Columns + Column]);
        TextPrint(Out, "\n");
    }
}
