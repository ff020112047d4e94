/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * wintun bench: packets per second through a temporary adapter. To Windows, the driver's counter
 * says what arrived: packets that it took from the ring and handed to TCP/IP, which drops them, as
 * their destination is nobody's. From Windows, what this program received is counted: UDP datagrams
 * of a socket, so Windows' own sending is part of the measure.
 */
#include "tool.h"

#include "pure/packet.h"

enum {
    RING = WINTUN_MAX_RING_CAPACITY / 4,
    BATCH = 64,
    DATAGRAM_OVERHEAD = 28,
    DISCARD_PORT = 9,
    SENDER_MS = 10000
};

typedef struct {
    WINTUN_ADAPTER_HANDLE Adapter;
    WINTUN_SESSION_HANDLE Session;
    DWORD Size; /* of a packet */
    uint64_t Microseconds;
} BENCH;

typedef struct {
    const char *Direction, *Calls;
    uint64_t Packets, Lost, Microseconds;
} MEASURE;

/* ---- to Windows ---- */

/* 198.51.100.1 of RFC 5737 is nobody's. */
static const uint8_t NobodysAddress[4] = {198, 51, 100, 1};
static uint8_t Packet[WINTUN_MAX_IP_PACKET_SIZE];

/* One packet, or as many of a batch as there is room for; false: there is no room now. */
static bool GiveOne(BENCH *Bench)
{
    BYTE *Room = Wintun.AllocateSendPacket(Bench->Session, Bench->Size);

    if (!Room)
        return false;
    memcpy(Room, Packet, Bench->Size);
    Wintun.SendPacket(Bench->Session, Room);
    return true;
}

static bool GiveBatch(BENCH *Bench)
{
    WINTUN_PACKET Packets[BATCH];

    for (unsigned Index = 0; Index < BATCH; Index++)
        Packets[Index] = (WINTUN_PACKET){.Size = Bench->Size};
    const DWORD Count = Wintun.AllocateSendPackets(Bench->Session, Packets, BATCH);
    for (DWORD Index = 0; Index < Count; Index++)
        memcpy(Packets[Index].Data, Packet, Bench->Size);
    Wintun.SendPackets(Bench->Session, Packets, Count);
    return Count != 0;
}

static bool ReceivedRead(BENCH *Bench, uint64_t *Packets)
{
    WINTUN_STATISTICS Statistics = {.Size = sizeof(Statistics)};

    if (!Wintun.GetStatistics(Bench->Adapter, &Statistics))
        return false;
    *Packets = Statistics.ReceivedPackets;
    return true;
}

static bool MeasureGiving(BENCH *Bench, bool IsBatch, MEASURE *Measure)
{
    uint64_t Before, After;

    if (!ReceivedRead(Bench, &Before))
        return false;
    const uint64_t Start = TimeMicroseconds();
    while (TimeMicroseconds() - Start < Bench->Microseconds && !StopWait(0)) {
        /* The clock is looked at only now and then: looking takes as long as a packet does. */
        for (unsigned Turn = 0; Turn < (IsBatch ? 4 : 4 * BATCH); Turn++) {
            if (!(IsBatch ? GiveBatch(Bench) : GiveOne(Bench))) {
                SwitchToThread();
                break;
            }
        }
    }
    Measure->Microseconds = TimeMicroseconds() - Start;
    if (!ReceivedRead(Bench, &After))
        return false;
    Measure->Packets = After - Before;
    return true;
}

/* ---- from Windows ---- */

/* ws2_32.dll is loaded for this alone. */
typedef struct {
    HMODULE Library;
    int(WINAPI *Startup)(WORD, LPWSADATA);
    SOCKET(WINAPI *Socket)(int, int, int);
    int(WINAPI *SendTo)(SOCKET, const char *, int, int, const struct sockaddr *, int);
    int(WINAPI *Close)(SOCKET);
    int(WINAPI *Cleanup)(void);
    SOCKET Handle;
    DWORD Size;
    volatile LONG IsOver;
    volatile LONG64 Sent;
} SENDER;

static SENDER Sender;

static bool SenderFind(const char *Name, void *Function)
{
    const FARPROC Found = GetProcAddress(Sender.Library, Name);

    memcpy(Function, &Found, sizeof(Found));
    return Found != NULL;
}

static bool SenderOpen(DWORD Size)
{
    static WSADATA Data;

    if (!Sender.Library) {
        Sender.Library = LoadLibraryExW(L"ws2_32.dll", NULL, LOAD_LIBRARY_SEARCH_SYSTEM32);
        if (!Sender.Library || !SenderFind("WSAStartup", &Sender.Startup) ||
            !SenderFind("socket", &Sender.Socket) || !SenderFind("sendto", &Sender.SendTo) ||
            !SenderFind("closesocket", &Sender.Close) ||
            !SenderFind("WSACleanup", &Sender.Cleanup) || Sender.Startup(MAKEWORD(2, 2), &Data))
            return false;
    }
    Sender.Size = Size - DATAGRAM_OVERHEAD;
    Sender.IsOver = 0;
    Sender.Sent = 0;
    Sender.Handle = Sender.Socket(AF_INET, SOCK_DGRAM, 0);
    return Sender.Handle != INVALID_SOCKET;
}

static DWORD WINAPI SenderRun(void *Context)
{
    struct sockaddr_in Peer = {.sin_family = AF_INET,
                               .sin_port = (u_short)(DISCARD_PORT << 8)}; /* in network order */

    memcpy(&Peer.sin_addr, PeerAddress, sizeof(PeerAddress));
    while (!Sender.IsOver) {
        if (Sender.SendTo(Sender.Handle, (const char *)Packet, (int)Sender.Size, 0,
                          (const struct sockaddr *)&Peer, sizeof(Peer)) == (int)Sender.Size)
            Sender.Sent++;
    }
    return 0;
}

/* Takes what is there; returns how many packets, 0: none now. */
static DWORD TakeOne(BENCH *Bench)
{
    DWORD Size;
    BYTE *Taken = Wintun.ReceivePacket(Bench->Session, &Size);

    if (Taken)
        Wintun.ReleaseReceivePacket(Bench->Session, Taken);
    return Taken != NULL;
}

static DWORD TakeBatch(BENCH *Bench)
{
    WINTUN_PACKET Packets[BATCH];
    const DWORD Count = Wintun.ReceivePackets(Bench->Session, Packets, BATCH);

    Wintun.ReleaseReceivePackets(Bench->Session, Packets, Count);
    return Count;
}

static void TakeUntil(BENCH *Bench, bool IsBatch, uint64_t *Packets)
{
    HANDLE Event = Wintun.GetReadWaitEvent(Bench->Session);
    const uint64_t Start = TimeMicroseconds();

    while (TimeMicroseconds() - Start < Bench->Microseconds && !StopWait(0)) {
        const DWORD Count = IsBatch ? TakeBatch(Bench) : TakeOne(Bench);
        *Packets += Count;
        if (!Count)
            WaitForSingleObject(Event, 10);
    }
}

/* What came before does not count. */
static void TakeRest(BENCH *Bench)
{
    const uint64_t End = TimeMicroseconds() + 1000000;

    while (TakeBatch(Bench) && TimeMicroseconds() < End)
        ;
}

static bool MeasureTaking(BENCH *Bench, bool IsBatch, MEASURE *Measure)
{
    TakeRest(Bench);
    if (!SenderOpen(Bench->Size))
        return false;
    HANDLE Thread = CreateThread(NULL, 0, SenderRun, NULL, 0, NULL);
    const uint64_t Start = TimeMicroseconds();
    if (Thread)
        TakeUntil(Bench, IsBatch, &Measure->Packets);
    Measure->Microseconds = TimeMicroseconds() - Start;
    Sender.IsOver = 1;
    Sender.Close(Sender.Handle); /* a sendto that waits for something ends by it */
    if (!Thread)
        return false;
    const bool HasEnded = WaitForSingleObject(Thread, SENDER_MS) == WAIT_OBJECT_0;
    CloseHandle(Thread);
    if ((uint64_t)Sender.Sent > Measure->Packets)
        Measure->Lost = (uint64_t)Sender.Sent - Measure->Packets;
    return HasEnded;
}

/* ---- results ---- */

static const char *const Headings[] = {"DIRECTION", "CALLS",  "BYTES",
                                       "PACKETS/S", "MBIT/S", "LOST"};
enum { COLUMNS = 6, MEASURES = 4 };

static uint64_t Rate(uint64_t Amount, const MEASURE *Measure)
{
    return Measure->Microseconds ? Amount * 1000000 / Measure->Microseconds : 0;
}

static void MeasureAdd(TOOL_TABLE *Table, const MEASURE *Measure, DWORD Size)
{
    char Text[32];
    TOOL_TEXT Decimal;

    TableAddRow(Table);
    TableCell(Table, 0, "%s", Measure->Direction);
    TableCell(Table, 1, "%s", Measure->Calls);
    TableCell(Table, 2, "%lu", Size);
    TableCell(Table, 3, "%llu", Rate(Measure->Packets, Measure));
    TextInit(&Decimal, Text, sizeof(Text));
    TextDecimal(&Decimal, Rate(Measure->Packets * Size, Measure) * 8 / 100000, 1);
    TableCell(Table, 4, "%s", Text);
    TableCell(Table, 5, "%llu", Measure->Lost);
}

static void MeasuresWriteJson(const MEASURE *Measures, DWORD Size)
{
    TOOL_JSON Json = {.Out = &ToolOut};

    JsonBegin(&Json, NULL, '{');
    JsonBegin(&Json, "measures", '[');
    for (unsigned Index = 0; Index < MEASURES; Index++) {
        JsonBegin(&Json, NULL, '{');
        JsonText(&Json, "direction", Measures[Index].Direction);
        JsonText(&Json, "calls", Measures[Index].Calls);
        JsonNumber(&Json, "size", Size);
        JsonNumber(&Json, "packets", Measures[Index].Packets);
        JsonNumber(&Json, "lost", Measures[Index].Lost);
        JsonNumber(&Json, "microseconds", Measures[Index].Microseconds);
        JsonEnd(&Json, '}');
    }
    JsonEnd(&Json, ']');
    JsonEnd(&Json, '}');
}

static void MeasuresWrite(const MEASURE *Measures, DWORD Size)
{
    static TOOL_CELL Cells[MEASURES * COLUMNS];
    TOOL_TABLE Table = {.Headings = Headings,
                        .Columns = COLUMNS,
                        .RightAligned = 0x3C,
                        .Cells = Cells,
                        .MaxRows = MEASURES};

    for (unsigned Index = 0; Index < MEASURES; Index++)
        MeasureAdd(&Table, &Measures[Index], Size);
    TableWrite(&Table, &ToolOut);
}

static int BenchRun(BENCH *Bench, const TOOL_OPTIONS *Options)
{
    MEASURE Measures[MEASURES] = {{.Direction = "to Windows", .Calls = "single"},
                                  {.Direction = "to Windows", .Calls = "batch"},
                                  {.Direction = "from Windows", .Calls = "single"},
                                  {.Direction = "from Windows", .Calls = "batch"}};

    PacketMakeEcho(Packet, Bench->Size, PeerAddress, NobodysAddress, 1);
    for (unsigned Index = 0; Index < MEASURES; Index++) {
        const bool IsBatch = Index % 2 != 0;
        if (!(Index < 2 ? MeasureGiving(Bench, IsBatch, &Measures[Index])
                        : MeasureTaking(Bench, IsBatch, &Measures[Index])))
            return FailWindows(GetLastError(), "cannot measure %s", Measures[Index].Direction);
        if (StopWait(0))
            return Fail("ended by Ctrl-C; nothing is measured");
    }
    if (!Measures[2].Packets && !Measures[3].Packets)
        TextPrint(&ToolErr, "wintun: not one datagram that was sent came through the adapter\n");
    if (Options->Json)
        MeasuresWriteJson(Measures, Bench->Size);
    else
        MeasuresWrite(Measures, Bench->Size);
    return ToolDone;
}

int RunBench(const TOOL_OPTIONS *Options)
{
    BENCH Bench = {.Size = Options->Size ? (DWORD)Options->Size : 1400,
                   .Microseconds = (Options->Seconds ? Options->Seconds : 3) * 1000000};
    const wchar_t *Name = L"Wintun bench";
    int Result = ToolFailed;

    if (!LIBRARY_HAS(CreateAdapterEx) || !LIBRARY_HAS(GetStatistics) ||
        !LIBRARY_HAS(ReceivePackets) || !LIBRARY_HAS(ReleaseReceivePackets) ||
        !LIBRARY_HAS(AllocateSendPackets) || !LIBRARY_HAS(SendPackets))
        return ToolFailed;
    Bench.Adapter = AdapterCreateTemporary(Name);
    if (!Bench.Adapter)
        return ToolFailed;
    Bench.Session = SessionOpen(Bench.Adapter, Name, RING);
    if (Bench.Session) {
        Result = BenchRun(&Bench, Options);
        Wintun.EndSession(Bench.Session);
    }
    Wintun.CloseAdapter(Bench.Adapter);
    return Result;
}
