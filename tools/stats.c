/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * wintun stats: what goes through adapters, per second. On a console each look replaces the one
 * before; in a file or pipe they follow each other. Adapters may come and go meanwhile.
 */
#include "tool.h"

static const char *const AllHeadings[] = {"NAME", "LINK",   "FROM/s", "Mbit/s",
                                          "TO/s", "Mbit/s", "LOST/s", "USED BY"};
static const char *const OneHeadings[] = {"COUNTER", "TOTAL", "PER SECOND"};
enum { ALL_COLUMNS = 8, ONE_COLUMNS = 3 };

/* One look at all adapters, or at one. */
typedef struct {
    TOOL_ADAPTER *Adapters;
    unsigned Count;
    uint64_t Time; /* microseconds */
} LOOK;

/* The statistics of the same adapter at the look before; NULL: there are none. */
static const WINTUN_STATISTICS *LookFind(const LOOK *Look, const TOOL_ADAPTER *Adapter)
{
    for (unsigned Index = 0; Index < Look->Count; Index++) {
        const TOOL_ADAPTER *Other = &Look->Adapters[Index];
        if (Other->HasStatistics && Other->Info.Luid.Value == Adapter->Info.Luid.Value)
            return &Other->Statistics;
    }
    return NULL;
}

/* A counter that is less than it was belongs to an adapter that was started anew. */
static uint64_t PerSecond(uint64_t Before, uint64_t Now, uint64_t Microseconds)
{
    const uint64_t Change = Now >= Before ? Now - Before : Now;

    return Microseconds ? Change * 1000000 / Microseconds : 0;
}

/* Bytes per second as Mbit/s with two decimals. */
static void CellMegabits(TOOL_TABLE *Table, unsigned Column, uint64_t BytesPerSecond)
{
    char Buffer[32];
    TOOL_TEXT Text;

    TextInit(&Text, Buffer, sizeof(Buffer));
    TextDecimal(&Text, BytesPerSecond * 8 / 10000, 2);
    TableCell(Table, Column, "%s", Buffer);
}

static void AllAdd(TOOL_TABLE *Table, const TOOL_ADAPTER *Adapter, const LOOK *Before,
                   uint64_t Elapsed)
{
    const WINTUN_STATISTICS *Now = &Adapter->Statistics;
    const WINTUN_STATISTICS *Old = LookFind(Before, Adapter);
    char Buffer[TABLE_CELL];
    TOOL_TEXT Text;

    TableAddRow(Table);
    TableCell(Table, 0, "%ls", Adapter->Name);
    if (!Adapter->HasStatistics) {
        TableCell(Table, 1, "%s", Adapter->StatisticsError == ERROR_ACCESS_DENIED ? "?" : "-");
        return;
    }
    TableCell(Table, 1, "%s", Now->LinkUp ? "up" : "down");
    if (Now->OwnerProcessId) {
        TextInit(&Text, Buffer, sizeof(Buffer));
        ProcessPrint(&Text, Now->OwnerProcessId);
        TableCell(Table, 7, "%s", Buffer);
    }
    if (!Old)
        return;
    TableCell(Table, 2, "%llu", PerSecond(Old->SentPackets, Now->SentPackets, Elapsed));
    CellMegabits(Table, 3, PerSecond(Old->SentBytes, Now->SentBytes, Elapsed));
    TableCell(Table, 4, "%llu", PerSecond(Old->ReceivedPackets, Now->ReceivedPackets, Elapsed));
    CellMegabits(Table, 5, PerSecond(Old->ReceivedBytes, Now->ReceivedBytes, Elapsed));
    TableCell(Table, 6, "%llu", PerSecond(StatisticsLost(Old), StatisticsLost(Now), Elapsed));
}

static void OneAdd(TOOL_TABLE *Table, const TOOL_ADAPTER *Adapter, const LOOK *Before,
                   uint64_t Elapsed)
{
    const WINTUN_STATISTICS *Old = LookFind(Before, Adapter);

    for (unsigned Index = 0; Index < COUNTERS; Index++) {
        const DWORD64 Total = CounterValue(&Adapter->Statistics, Index);
        TableAddRow(Table);
        TableCell(Table, 0, "%s", Counters[Index].Text);
        TableCell(Table, 1, "%llu", Total);
        if (Old)
            TableCell(Table, 2, "%llu", PerSecond(CounterValue(Old, Index), Total, Elapsed));
    }
}

/* Returns the lines written; 0: there is no memory for them. */
static unsigned LookWrite(const LOOK *Now, const LOOK *Before, bool IsOne)
{
    TOOL_TABLE Table = {.Headings = IsOne ? OneHeadings : AllHeadings,
                        .Columns = IsOne ? ONE_COLUMNS : ALL_COLUMNS,
                        .RightAligned = IsOne ? 0x6 : 0x7C,
                        .MaxRows = IsOne ? COUNTERS : Now->Count};
    const uint64_t Elapsed = Now->Time - Before->Time;

    Table.Cells = MemoryAllocate((Table.MaxRows + 1) * Table.Columns * sizeof(TOOL_CELL));
    if (!Table.Cells) {
        FailMemory();
        return 0;
    }
    if (IsOne) {
        OneAdd(&Table, &Now->Adapters[0], Before, Elapsed);
    } else {
        for (unsigned Index = 0; Index < Now->Count; Index++)
            AllAdd(&Table, &Now->Adapters[Index], Before, Elapsed);
    }
    OutputClip(true);
    TableWrite(&Table, &ToolOut);
    OutputClip(false);
    MemoryFree(Table.Cells);
    return Table.Rows + 1;
}

/* One line: the time, and each adapter with its totals; rates are for the reader to work out. */
static void LookWriteJson(const LOOK *Now)
{
    TOOL_JSON Json = {.Out = &ToolOut};

    JsonBegin(&Json, NULL, '{');
    JsonNumber(&Json, "microseconds", Now->Time);
    JsonBegin(&Json, "adapters", '[');
    for (unsigned Index = 0; Index < Now->Count; Index++)
        AdapterWriteJson(&Json, NULL, &Now->Adapters[Index]);
    JsonEnd(&Json, ']');
    JsonEnd(&Json, '}');
}

static bool LookRead(const TOOL_OPTIONS *Options, LOOK *Look)
{
    Look->Adapters = NULL;
    if (!AdaptersRead(Options->Name, &Look->Adapters, &Look->Count))
        return false;
    Look->Time = TimeMicroseconds();
    if (!Options->Name || Look->Adapters[0].HasStatistics)
        return true;
    FailWindows(Look->Adapters[0].StatisticsError, "the adapter \"%ls\" does not tell its counters",
                Options->Name);
    MemoryFree(Look->Adapters);
    Look->Adapters = NULL;
    return false;
}

static bool LookShow(const TOOL_OPTIONS *Options, const LOOK *Now, const LOOK *Before,
                     unsigned *Lines)
{
    if (Options->Json) {
        LookWriteJson(Now);
        return true;
    }
    if (OutputIsConsole())
        OutputRewind(*Lines);
    *Lines = LookWrite(Now, Before, Options->Name != NULL);
    return *Lines > 0;
}

int RunStats(const TOOL_OPTIONS *Options)
{
    const DWORD IntervalMs = (Options->Interval ? (DWORD)Options->Interval : 1) * 1000;
    LOOK Before = {0}, Now;
    uint64_t Shown = 0;
    unsigned Lines = 0;

    if (!LIBRARY_HAS(GetStatistics))
        return ToolFailed;
    bool IsGoing = LookRead(Options, &Before);
    if (IsGoing && Options->Json) { /* text has rates, and so begins with the second look */
        LookWriteJson(&Before);
        Shown = 1;
    }
    while (IsGoing && (!Options->Count || Shown < Options->Count)) {
        if (!OutputFlush() || StopWait(IntervalMs))
            break;
        IsGoing = LookRead(Options, &Now);
        if (!IsGoing)
            break;
        IsGoing = LookShow(Options, &Now, &Before, &Lines);
        MemoryFree(Before.Adapters);
        Before = Now;
        Shown++;
    }
    MemoryFree(Before.Adapters);
    return IsGoing ? ToolDone : ToolFailed;
}
