/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * wintun list and wintun show.
 */
#include "tool.h"

#include "pure/address.h"

static const char *const Headings[] = {"NAME",    "ALIAS", "STATE", "LINK",
                                       "SESSION", "OWNER", "DRIVER"};
enum {
    ColumnName,
    ColumnAlias,
    ColumnState,
    ColumnLink,
    ColumnSession,
    ColumnOwner,
    ColumnDriver,
    COLUMNS
};

static void ListAdd(TOOL_TABLE *Table, const TOOL_ADAPTER *Adapter)
{
    const WINTUN_STATISTICS *Statistics = &Adapter->Statistics;
    const bool IsUnknown = Adapter->StatisticsError == ERROR_ACCESS_DENIED;
    char Buffer[TABLE_CELL];
    TOOL_TEXT Text;

    TableAddRow(Table);
    TableCell(Table, ColumnName, "%ls", Adapter->Name);
    TableCell(Table, ColumnAlias, "%ls", *Adapter->Alias ? Adapter->Alias : L"-");
    TextInit(&Text, Buffer, sizeof(Buffer));
    AdapterPrintState(&Text, Adapter);
    TableCell(Table, ColumnState, "%s", Buffer);
    for (unsigned Column = ColumnLink; Column < COLUMNS; Column++)
        TableCell(Table, Column, IsUnknown ? "?" : "-");
    if (!Adapter->HasStatistics)
        return;
    TableCell(Table, ColumnLink, Statistics->LinkUp ? "up" : "down");
    TableCell(Table, ColumnSession, "%s", SessionKindName(Statistics->SessionKind));
    if (Statistics->OwnerProcessId) {
        TextInit(&Text, Buffer, sizeof(Buffer));
        ProcessPrint(&Text, Statistics->OwnerProcessId);
        TableCell(Table, ColumnOwner, "%s", Buffer);
    }
    TableCell(Table, ColumnDriver, "%lu.%lu", Statistics->DriverVersion >> 16,
              Statistics->DriverVersion & 0xFFFF);
}

static int ListWrite(const TOOL_ADAPTER *Adapters, unsigned Count)
{
    TOOL_TABLE Table = {.Headings = Headings, .Columns = COLUMNS, .MaxRows = Count};

    if (!Count) {
        TextPrint(&ToolOut, "There are no adapters.\n");
        return ToolDone;
    }
    Table.Cells = MemoryAllocate(Count * COLUMNS * sizeof(TOOL_CELL));
    if (!Table.Cells)
        return FailMemory();
    for (unsigned Index = 0; Index < Count; Index++)
        ListAdd(&Table, &Adapters[Index]);
    TableWrite(&Table, &ToolOut);
    MemoryFree(Table.Cells);
    return ToolDone;
}

static int ListWriteJson(const TOOL_ADAPTER *Adapters, unsigned Count)
{
    TOOL_JSON Json = {.Out = &ToolOut};

    JsonBegin(&Json, NULL, '{');
    JsonBegin(&Json, "adapters", '[');
    for (unsigned Index = 0; Index < Count; Index++)
        AdapterWriteJson(&Json, NULL, &Adapters[Index]);
    JsonEnd(&Json, ']');
    JsonEnd(&Json, '}');
    return ToolDone;
}

int RunList(const TOOL_OPTIONS *Options)
{
    TOOL_ADAPTER *Adapters = NULL;
    unsigned Count;

    if (!AdaptersRead(NULL, &Adapters, &Count))
        return ToolFailed;
    const int Result = Options->Json ? ListWriteJson(Adapters, Count) : ListWrite(Adapters, Count);
    MemoryFree(Adapters);
    return Result;
}

/* ---- show ---- */

enum { VALUE_COLUMN = 26 };

/* "name:" and spaces; the value follows. */
static TOOL_TEXT *ShowName(const char *Name)
{
    TextPrint(&ToolOut, "%s:", Name);
    TextPad(&ToolOut, VALUE_COLUMN);
    return &ToolOut;
}

static void ShowInterface(const WINTUN_ADAPTER_INFO *Info)
{
    TOOL_GUID Guid;

    if (!(Info->Flags & WINTUN_INFO_READY))
        return;
    memcpy(&Guid, &Info->Guid, sizeof(Guid));
    GuidPrint(ShowName("interface GUID"), &Guid);
    TextPrint(&ToolOut, "\n");
    TextPrint(ShowName("LUID"), "0x%016llx\n", Info->Luid.Value);
}

static void ShowStatistics(const TOOL_ADAPTER *Adapter)
{
    const WINTUN_STATISTICS *Statistics = &Adapter->Statistics;

    TextPrint(ShowName("driver"), "%lu.%lu, NDIS %lu.%lu\n", Statistics->DriverVersion >> 16,
              Statistics->DriverVersion & 0xFFFF, Statistics->NdisVersion >> 16,
              Statistics->NdisVersion & 0xFFFF);
    TextPrint(ShowName("link"), "%s%s\n", Statistics->LinkUp ? "up" : "down",
              Statistics->Paused ? ", paused" : "");
    TextPrint(ShowName("session"), "%s\n", SessionKindName(Statistics->SessionKind));
    if (Statistics->OwnerProcessId) {
        ProcessPrint(ShowName("used by process"), Statistics->OwnerProcessId);
        TextPrint(&ToolOut, "\n");
    }
    TextPrint(ShowName("MTU of the driver"), "%lu\n", Statistics->Mtu);
    for (unsigned Index = 0; Index < COUNTERS; Index++)
        TextPrint(ShowName(Counters[Index].Text), "%llu\n", CounterValue(Statistics, Index));
}

static void ShowWrite(const TOOL_ADAPTER *Adapter)
{
    const WINTUN_ADAPTER_INFO *Info = &Adapter->Info;

    TextPrint(ShowName("name"), "%ls\n", Adapter->Name);
    TextPrint(ShowName("alias"), "%ls\n", *Adapter->Alias ? Adapter->Alias : L"-");
    TextPrint(ShowName("description"), "%ls\n", Adapter->Description);
    TextPrint(ShowName("device"), "%ls\n", Adapter->InstanceId);
    AdapterPrintState(ShowName("state"), Adapter);
    TextPrint(&ToolOut, "%s\n", Info->Flags & WINTUN_INFO_PERSISTENT ? ", persistent" : "");
    if (Info->ProblemStatus)
        TextPrint(ShowName("problem status"), "0x%08lx\n", (unsigned long)Info->ProblemStatus);
    if (Info->CreatorProcessId) {
        ProcessPrint(ShowName("created by process"), Info->CreatorProcessId);
        TextPrint(&ToolOut, "\n");
    }
    ShowInterface(Info);
    if (Adapter->HasStatistics)
        ShowStatistics(Adapter);
    else if (Adapter->StatisticsError == ERROR_ACCESS_DENIED)
        TextPrint(ShowName("driver"), "? (this user may not read from this adapter)\n");
    else if (Adapter->StatisticsError != ERROR_NOT_READY)
        TextPrint(ShowName("driver"), "? (error %lu)\n", Adapter->StatisticsError);
}

int RunShow(const TOOL_OPTIONS *Options)
{
    TOOL_JSON Json = {.Out = &ToolOut};
    TOOL_ADAPTER *Adapters = NULL;
    unsigned Count;

    if (!AdaptersRead(Options->Name, &Adapters, &Count))
        return ToolFailed;
    for (unsigned Index = 0; Index < Count; Index++) {
        if (Options->Json)
            AdapterWriteJson(&Json, NULL, &Adapters[Index]);
        else
            ShowWrite(&Adapters[Index]);
    }
    MemoryFree(Adapters);
    return ToolDone;
}
