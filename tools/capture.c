/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * wintun capture: a session of its own, whose packets go to a pcapng file, or a line each to
 * standard output. A file that exists is not written over unasked, and one that was begun is ended
 * properly however the capture ends.
 */
#include "tool.h"

#include "pure/packet.h"
#include "pure/pcapng.h"

enum { RING = 0x800000, BATCH = 64, FILE_BUFFER = 0x40000, IDLE_MS = 500 };

typedef struct {
    const TOOL_OPTIONS *Options;
    WINTUN_ADAPTER_HANDLE Adapter;
    WINTUN_SESSION_HANDLE Session;
    HANDLE File;     /* NULL: lines */
    uint8_t *Buffer; /* what is to be written to it */
    size_t Filled;
    uint64_t Seen; /* packets */
    uint64_t Deadline;
    DWORD64 LostBefore;
    bool HasFailed;
} CAPTURE;

/* ---- the file ---- */

static void FileFlush(CAPTURE *Capture)
{
    DWORD Written;

    if (Capture->File && Capture->Filled && !Capture->HasFailed &&
        !(WriteFile(Capture->File, Capture->Buffer, (DWORD)Capture->Filled, &Written, NULL) &&
          Written == Capture->Filled)) {
        Capture->HasFailed = true;
        FailWindows(GetLastError(), "cannot write to %ls", Capture->Options->File);
    }
    Capture->Filled = 0;
}

/* Room for a block with a packet of Size bytes. */
static uint8_t *FileRoom(CAPTURE *Capture, uint32_t Size)
{
    if (Capture->Filled + PCAPNG_OVERHEAD + Size > FILE_BUFFER)
        FileFlush(Capture);
    return Capture->Buffer + Capture->Filled;
}

static bool FileOpen(CAPTURE *Capture)
{
    const TOOL_OPTIONS *Options = Capture->Options;

    if (!Options->File)
        return true;
    Capture->Buffer = MemoryAllocate(FILE_BUFFER);
    if (!Capture->Buffer)
        return FailMemory() == ToolDone;
    if (WideIs(Options->File, "-")) {
        Capture->File = GetStdHandle(STD_OUTPUT_HANDLE);
        return true;
    }
    Capture->File =
        CreateFileW(Options->File, GENERIC_WRITE, FILE_SHARE_READ, NULL,
                    Options->Overwrite ? CREATE_ALWAYS : CREATE_NEW, FILE_ATTRIBUTE_NORMAL, NULL);
    if (Capture->File != INVALID_HANDLE_VALUE)
        return true;
    Capture->File = NULL;
    if (GetLastError() == ERROR_FILE_EXISTS)
        Fail("%ls exists; --overwrite replaces it", Options->File);
    else
        FailWindows(GetLastError(), "cannot create %ls", Options->File);
    return false;
}

static void FileBegin(CAPTURE *Capture)
{
    char Name[TABLE_CELL];
    TOOL_TEXT Text;

    if (!Capture->File)
        return;
    TextInit(&Text, Name, sizeof(Name));
    TextPrint(&Text, "%ls", Capture->Options->Name);
    Capture->Filled = PcapngStart(Capture->Buffer, "wintun " TUN_VERSION_TEXT, Name);
}

/* ---- packets ---- */

static void LineWrite(const CAPTURE *Capture, uint64_t Ticks, bool IsOutbound,
                      const uint8_t *Packet, uint32_t Size)
{
    char Buffer[256];
    TOOL_TEXT Text;

    TextInit(&Text, Buffer, sizeof(Buffer));
    PacketPrint(&Text, Packet, Size);
    if (Capture->Options->Json) {
        TOOL_JSON Json = {.Out = &ToolOut};
        JsonBegin(&Json, NULL, '{');
        JsonNumber(&Json, "ticks", Ticks);
        JsonText(&Json, "direction", IsOutbound ? "out" : "in");
        JsonNumber(&Json, "size", Size);
        JsonText(&Json, "packet", Buffer);
        JsonEnd(&Json, '}');
        return;
    }
    TextClock(&ToolOut, Ticks);
    TextPrint(&ToolOut, " %s %s\n", IsOutbound ? "out" : "in ", Buffer);
}

static void PacketWrite(CAPTURE *Capture, bool IsOutbound, const uint8_t *Packet, uint32_t Size)
{
    const uint64_t Ticks = TimeTicks();

    Capture->Seen++;
    if (Capture->File)
        Capture->Filled += PcapngPacket(FileRoom(Capture, Size), Ticks, IsOutbound, Packet, Size);
    else
        LineWrite(Capture, Ticks, IsOutbound, Packet, Size);
}

static bool IsComplete(const CAPTURE *Capture)
{
    return Capture->HasFailed ||
           (Capture->Options->Count && Capture->Seen >= Capture->Options->Count);
}

/* Answers in a copy, since only what is an answer takes room in the ring. */
static void PacketAnswer(CAPTURE *Capture, const uint8_t *Packet, uint32_t Size)
{
    static uint8_t Copy[WINTUN_MAX_IP_PACKET_SIZE];

    memcpy(Copy, Packet, Size);
    if (!PacketAnswerEcho(Copy, Size))
        return;
    BYTE *Answer = Wintun.AllocateSendPacket(Capture->Session, Size);
    if (!Answer)
        return; /* no room: the answer is lost, as in any network */
    memcpy(Answer, Copy, Size);
    Wintun.SendPacket(Capture->Session, Answer);
    PacketWrite(Capture, false, Copy, Size);
}

/* Takes what is there; false when the session is over. */
static bool PacketsTake(CAPTURE *Capture)
{
    const BYTE *Packet;
    DWORD Size;

    while (!IsComplete(Capture) && !StopWait(0)) {
        Packet = Wintun.ReceivePacket(Capture->Session, &Size);
        if (!Packet)
            return GetLastError() == ERROR_NO_MORE_ITEMS;
        PacketWrite(Capture, true, Packet, Size);
        if (Capture->Options->Answer && !IsComplete(Capture))
            PacketAnswer(Capture, Packet, Size);
        Wintun.ReleaseReceivePacket(Capture->Session, Packet);
    }
    return true;
}

/* Until Ctrl-C, a limit of the command line, or the end of the session: that is a failure. */
static int CaptureRun(CAPTURE *Capture)
{
    const HANDLE Events[] = {StopEvent, Wintun.GetReadWaitEvent(Capture->Session)};
    const uint64_t End = TimeMicroseconds() + Capture->Options->Seconds * 1000000;

    while (!StopWait(0) && !IsComplete(Capture)) {
        const uint64_t Now = TimeMicroseconds();
        const uint64_t LeftMs = End > Now ? (End - Now) / 1000 : 0;
        if (Capture->Options->Seconds && !LeftMs)
            break;
        if (!PacketsTake(Capture))
            return FailWintun(GetLastError(), "the session with \"%ls\" is over",
                              Capture->Options->Name);
        FileFlush(Capture);
        if (!OutputFlush())
            return ToolFailed;
        if (!IsComplete(Capture))
            WaitForMultipleObjects(2, Events, FALSE,
                                   Capture->Options->Seconds && LeftMs < IDLE_MS ? (DWORD)LeftMs
                                                                                 : IDLE_MS);
    }
    return Capture->HasFailed ? ToolFailed : ToolDone;
}

/* ---- beginning and end ---- */

/* Packets that Windows sent and that did not fit into the ring. */
static DWORD64 LostRead(const CAPTURE *Capture)
{
    WINTUN_STATISTICS Statistics = {.Size = sizeof(Statistics)};

    return Wintun.GetStatistics && Wintun.GetStatistics(Capture->Adapter, &Statistics)
               ? Statistics.SentFull
               : 0;
}

static void CaptureFinish(CAPTURE *Capture)
{
    const DWORD64 Lost = LostRead(Capture) - Capture->LostBefore;
    uint8_t *Room = Capture->File ? FileRoom(Capture, 0) : NULL;

    if (Room)
        Capture->Filled += PcapngCounts(Room, TimeTicks(), Capture->Seen + Lost, Lost);
    FileFlush(Capture);
    TextPrint(&ToolErr, "wintun: %llu packets captured, %llu lost for being too slow\n",
              (unsigned long long)Capture->Seen, Lost);
}

static bool CaptureOpen(CAPTURE *Capture)
{
    const TOOL_OPTIONS *Options = Capture->Options;

    if (Options->Create && !LIBRARY_HAS(CreateAdapterEx))
        return false;
    Capture->Adapter =
        Options->Create ? AdapterCreateTemporary(Options->Name) : AdapterOpen(Options->Name);
    if (!Capture->Adapter)
        return false;
    Capture->LostBefore = LostRead(Capture);
    Capture->Session = SessionOpen(Capture->Adapter, Options->Name, RING);
    if (!Capture->Session || !FileOpen(Capture))
        return false;
    FileBegin(Capture);
    TextPrint(&ToolErr,
              "wintun: this program has the session of \"%ls\" now: what Windows sends is captured "
              "and goes nowhere else\n",
              Options->Name);
    return OutputFlush();
}

static void CaptureClose(CAPTURE *Capture)
{
    if (Capture->File && !WideIs(Capture->Options->File, "-"))
        CloseHandle(Capture->File);
    if (Capture->Session)
        Wintun.EndSession(Capture->Session);
    if (Capture->Adapter)
        Wintun.CloseAdapter(Capture->Adapter);
    MemoryFree(Capture->Buffer);
}

int RunCapture(const TOOL_OPTIONS *Options)
{
    CAPTURE Capture = {.Options = Options};
    const bool IsToOutput = Options->File && WideIs(Options->File, "-");
    int Result = ToolFailed;

    if (Options->File && Options->Json)
        return FailUsage("--json is for a capture without FILE");
    if (IsToOutput && OutputIsConsole())
        return FailUsage("a capture file is not written to a console; name a file, or a pipe");
    if (CaptureOpen(&Capture)) {
        Result = CaptureRun(&Capture);
        CaptureFinish(&Capture);
        if (Capture.HasFailed)
            Result = ToolFailed;
    }
    CaptureClose(&Capture);
    return Result;
}
