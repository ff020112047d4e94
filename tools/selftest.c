/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * wintun selftest: does everything once, on an adapter of its own, and tells step by step what
 * holds on this machine. A step that cannot tell (a firewall may drop pings) says so and is not
 * counted as passed. Whatever fails, what was made is removed.
 */
#include "tool.h"

#include "pure/packet.h"

#include <ipexport.h>

enum {
    RING = 0x20000,
    PING_BYTES = 84,
    PING_COUNT = 3,
    PING_TRIES = 8,
    PING_MS = 500,
    SLACK_MS = 3000
};

typedef enum { Passed, Failed, Skipped } RESULT;

typedef struct {
    const TOOL_OPTIONS *Options;
    TOOL_JSON Json;
    unsigned Results[3];
    wchar_t Name[64];
    WINTUN_ADAPTER_HANDLE Adapter;
    WINTUN_SESSION_HANDLE Session;
    uint64_t Taken, Given; /* packets received and sent by this program */
    bool HasPinged;        /* a ping and its answer went through Windows' TCP/IP */
} SELFTEST;

/* ---- steps and their results ---- */

/* Detail: a reason, or NULL. */
static bool Report(SELFTEST *Test, const char *Name, RESULT Result, const char *Detail)
{
    static const char *const Words[] = {"ok", "FAILED", "skipped"};
    static const char *const Keys[] = {"passed", "failed", "skipped"};

    Test->Results[Result]++;
    if (Test->Options->Json) {
        JsonBegin(&Test->Json, NULL, '{');
        JsonText(&Test->Json, "step", Name);
        JsonText(&Test->Json, "result", Keys[Result]);
        JsonText(&Test->Json, "detail", Detail);
        JsonEnd(&Test->Json, '}');
        return Result == Passed;
    }
    TextPrint(&ToolOut, "%s", Words[Result]);
    TextPad(&ToolOut, 9);
    TextPrint(&ToolOut, "%s%s%s\n", Name, Detail ? ": " : "", Detail ? Detail : "");
    OutputFlush();
    return Result == Passed;
}

static bool ReportIf(SELFTEST *Test, const char *Name, bool HasPassed, const char *Detail)
{
    return Report(Test, Name, HasPassed ? Passed : Failed, HasPassed ? NULL : Detail);
}

/* The DLL's last error as the reason. */
static bool ReportWintun(SELFTEST *Test, const char *Name, bool HasPassed)
{
    const DWORD Code = GetLastError();
    static wchar_t Reason[512];
    char Detail[800];
    TOOL_TEXT Text;

    if (HasPassed)
        return Report(Test, Name, Passed, NULL);
    TextInit(&Text, Detail, sizeof(Detail));
    if (Wintun.GetLastErrorText(Reason, sizeof(Reason) / sizeof(Reason[0])) > 1)
        TextPrint(&Text, "%ls ", Reason);
    TextPrint(&Text, "(error %lu)", Code);
    return Report(Test, Name, Failed, Detail);
}

/* ---- packets ---- */

static bool Give(SELFTEST *Test, const uint8_t *Packet, DWORD Size)
{
    BYTE *Room = Wintun.AllocateSendPacket(Test->Session, Size);

    if (!Room)
        return false;
    memcpy(Room, Packet, Size);
    Wintun.SendPacket(Test->Session, Room);
    Test->Given++;
    return true;
}

/* Copies the next packet to Buffer; 0: none came within the time. */
static DWORD Take(SELFTEST *Test, uint8_t *Buffer, DWORD TimeoutMs)
{
    HANDLE Event = Wintun.GetReadWaitEvent(Test->Session);
    DWORD Size;
    BYTE *Packet = Wintun.ReceivePacket(Test->Session, &Size);

    if (!Packet && GetLastError() == ERROR_NO_MORE_ITEMS && TimeoutMs) {
        WaitForSingleObject(Event, TimeoutMs);
        Packet = Wintun.ReceivePacket(Test->Session, &Size);
    } else if (!Packet) {
        Sleep(TimeoutMs); /* the session is over: whoever waits gives up at the usual time */
    }
    if (!Packet)
        return 0;
    memcpy(Buffer, Packet, Size);
    Wintun.ReleaseReceivePacket(Test->Session, Packet);
    Test->Taken++;
    return Size;
}

static uint8_t Buffer[WINTUN_MAX_IP_PACKET_SIZE];

/* Whether Windows answers this ping in time. */
static bool PingIsAnswered(SELFTEST *Test, uint16_t Sequence)
{
    const uint64_t End = TimeMicroseconds() + PING_MS * 1000;
    uint8_t Ping[PING_BYTES];
    bool IsAnswered = false;

    PacketMakeEcho(Ping, sizeof(Ping), PeerAddress, OwnAddress, Sequence);
    if (!Give(Test, Ping, sizeof(Ping)))
        return false;
    while (!IsAnswered && TimeMicroseconds() < End) {
        const DWORD Size = Take(Test, Buffer, 50);
        IsAnswered = Size && PacketIsEchoReply(Buffer, Size, PeerAddress, OwnAddress, Sequence);
    }
    return IsAnswered;
}

/* Pings Windows' own address from the peer's, which is this program. The first may be lost: Windows
 * uses an address only some time after the link has come up. */
static void StepPingWindows(SELFTEST *Test)
{
    const char *Name = "Windows answers pings from the peer";
    unsigned Answers = 0;

    for (unsigned Try = 1; Try <= PING_TRIES && Answers < PING_COUNT; Try++)
        Answers += PingIsAnswered(Test, (uint16_t)Try);
    Test->HasPinged |= Answers == PING_COUNT;
    if (Answers == PING_COUNT)
        Report(Test, Name, Passed, NULL);
    else
        Report(Test, Name, Skipped,
               "no answer; Windows' firewall drops pings unless it is told not to");
}

/* IcmpSendEcho waits, so it has a thread of its own, while the main thread is the network. */
typedef struct {
    HMODULE Library;
    HANDLE(WINAPI *Create)(void);
    BOOL(WINAPI *Close)(HANDLE);
    DWORD(WINAPI *Send)(HANDLE, IPAddr, LPVOID, WORD, PIP_OPTION_INFORMATION, LPVOID, DWORD, DWORD);
    bool IsAnswered;
} PINGER;

/* Fills a variable with the address of a function, which has the size of any pointer. */
static bool FunctionFind(HMODULE Library, const char *Name, void *Function)
{
    const FARPROC Found = Library ? GetProcAddress(Library, Name) : NULL;

    memcpy(Function, &Found, sizeof(Found));
    return Found != NULL;
}

/* nf-icmpapi-icmpsendecho: the answer's buffer has room for the structure, the data and 8 bytes. */
static DWORD WINAPI PingerRun(void *Context)
{
    PINGER *Pinger = Context;
    char Data[32] = "Wintun", Answer[sizeof(ICMP_ECHO_REPLY) + sizeof(Data) + 8];
    ICMP_ECHO_REPLY Reply;
    IPAddr Target;
    HANDLE Icmp = Pinger->Create();

    if (Icmp == INVALID_HANDLE_VALUE)
        return 0;
    memcpy(&Target, PeerAddress, sizeof(Target));
    for (unsigned Try = 0; Try < PING_TRIES && !Pinger->IsAnswered; Try++) {
        if (Try)
            Sleep(100); /* without a route yet, the function returns at once */
        if (Pinger->Send(Icmp, Target, Data, sizeof(Data), NULL, Answer, sizeof(Answer), PING_MS)) {
            memcpy(&Reply, Answer, sizeof(Reply));
            Pinger->IsAnswered = Reply.Status == IP_SUCCESS && Reply.Address == Target;
        }
    }
    Pinger->Close(Icmp);
    return 0;
}

static bool PingerLoad(PINGER *Pinger)
{
    Pinger->Library = LoadLibraryExW(L"iphlpapi.dll", NULL, LOAD_LIBRARY_SEARCH_SYSTEM32);
    return FunctionFind(Pinger->Library, "IcmpCreateFile", &Pinger->Create) &&
           FunctionFind(Pinger->Library, "IcmpCloseHandle", &Pinger->Close) &&
           FunctionFind(Pinger->Library, "IcmpSendEcho", &Pinger->Send);
}

/* Windows pings the peer, and this program answers as the peer. */
static void StepWindowsPings(SELFTEST *Test)
{
    const char *Name = "Windows' own ping is answered by the peer";
    static PINGER Pinger; /* outlives this function if its thread does */
    bool HasSeen = false;
    HANDLE Thread = PingerLoad(&Pinger) ? CreateThread(NULL, 0, PingerRun, &Pinger, 0, NULL) : NULL;

    if (!Thread) {
        Report(Test, Name, Skipped, "IcmpSendEcho is not to be had");
        return;
    }
    const uint64_t End = TimeMicroseconds() + (PING_TRIES * (PING_MS + 100) + SLACK_MS) * 1000;
    while (WaitForSingleObject(Thread, 0) == WAIT_TIMEOUT && TimeMicroseconds() < End) {
        const DWORD Size = Take(Test, Buffer, 50);
        if (Size && PacketAnswerEcho(Buffer, Size)) {
            HasSeen = true;
            Give(Test, Buffer, Size);
        }
    }
    const bool HasEnded = WaitForSingleObject(Thread, 0) == WAIT_OBJECT_0;
    CloseHandle(Thread);
    Test->HasPinged |= HasEnded && Pinger.IsAnswered;
    if (HasEnded && Pinger.IsAnswered && HasSeen)
        Report(Test, Name, Passed, NULL);
    else if (HasSeen)
        Report(Test, Name, Failed, "the ping came through the adapter, but Windows got no answer");
    else
        Report(Test, Name, Skipped, "Windows did not send it through the adapter");
}

/* ---- the other steps ---- */

static bool StatisticsGet(SELFTEST *Test, WINTUN_STATISTICS *Statistics)
{
    *Statistics = (WINTUN_STATISTICS){.Size = sizeof(*Statistics)};
    return Wintun.GetStatistics(Test->Adapter, Statistics);
}

static void StepEnumerate(SELFTEST *Test)
{
    TOOL_ADAPTER *Adapters = NULL;
    NET_LUID Luid = {0};
    unsigned Count = 0;

    const bool IsFound = AdaptersRead(Test->Name, &Adapters, &Count);
    Wintun.GetAdapterLUID(Test->Adapter, &Luid);
    ReportIf(Test, "the adapter is listed as ready, with its LUID",
             IsFound && Count == 1 && (Adapters[0].Info.Flags & WINTUN_INFO_READY) &&
                 Adapters[0].Info.Luid.Value == Luid.Value,
             "it is not");
    MemoryFree(Adapters);
}

static void StepSecondSession(SELFTEST *Test)
{
    WINTUN_SESSION_HANDLE Second = Wintun.StartSession(Test->Adapter, RING);
    const DWORD Code = GetLastError();

    if (Second)
        Wintun.EndSession(Second);
    ReportIf(Test, "a second session is refused", !Second && Code == ERROR_ALREADY_INITIALIZED,
             "it is not, or for another reason");
}

/* Waits until the link is as wanted: Windows tells of it a little later. */
static void StepLink(SELFTEST *Test, const char *Name, bool IsUp)
{
    WINTUN_STATISTICS Statistics;
    bool IsRight = false;

    for (unsigned Try = 0; Try < 40 && !IsRight; Try++) {
        IsRight = StatisticsGet(Test, &Statistics) && (Statistics.LinkUp != 0) == IsUp;
        if (!IsRight)
            Sleep(50);
    }
    ReportIf(Test, Name, IsRight, "it is not");
}

static void StepNotIp(SELFTEST *Test)
{
    static const uint8_t NotIp[64] = {0xF0};
    WINTUN_STATISTICS Before, After;
    bool IsCounted = false;

    const bool IsKnown = StatisticsGet(Test, &Before);
    const bool IsGiven = Give(Test, NotIp, sizeof(NotIp));
    Test->Given -= IsGiven;
    for (unsigned Try = 0; Try < 40 && IsKnown && IsGiven && !IsCounted; Try++) {
        IsCounted = StatisticsGet(Test, &After) && After.ReceivedNotIp == Before.ReceivedNotIp + 1;
        if (!IsCounted)
            Sleep(50);
    }
    ReportIf(Test, "what is not IP is skipped and counted", IsCounted, "it was not counted");
}

/* Packets keep coming while this looks, so it looks until the numbers agree. */
static void StepCounters(SELFTEST *Test)
{
    WINTUN_STATISTICS Statistics;
    bool IsRight = false;

    for (unsigned Try = 0; Try < 40 && !IsRight; Try++) {
        while (Take(Test, Buffer, 0))
            ;
        IsRight = StatisticsGet(Test, &Statistics) && Statistics.SentPackets == Test->Taken &&
                  Statistics.ReceivedPackets == Test->Given;
        if (!IsRight)
            Sleep(50);
    }
    ReportIf(Test, "the driver's counters account for every packet", IsRight, "they do not");
}

static void StepSession(SELFTEST *Test)
{
    Test->Session = Wintun.StartSession(Test->Adapter, RING);
    if (!ReportWintun(Test, "start a session", Test->Session != NULL))
        return;
    StepLink(Test, "the link is up", true);
    StepSecondSession(Test);
    StepPingWindows(Test);
    StepWindowsPings(Test);
    ReportIf(Test, "packets go through Windows' TCP/IP and back", Test->HasPinged,
             "not one ping was answered");
    StepNotIp(Test);
    StepCounters(Test);
    Wintun.EndSession(Test->Session);
    StepLink(Test, "the link is down after the session", false);
}

static void StepRemove(SELFTEST *Test)
{
    TOOL_ADAPTER *Adapters = NULL;
    unsigned Count = 0;
    bool IsGone = true;

    if (!ReportWintun(Test, "remove the adapter", Wintun.DeleteAdapter(Test->Adapter) != FALSE))
        return;
    const bool IsRead = AdaptersRead(NULL, &Adapters, &Count);
    for (unsigned Index = 0; Index < Count; Index++)
        IsGone &=
            CompareStringOrdinal(Adapters[Index].Name, -1, Test->Name, -1, TRUE) != CSTR_EQUAL;
    ReportIf(Test, "nothing is left of it", IsRead && IsGone, "it is still listed");
    MemoryFree(Adapters);
}

static void Steps(SELFTEST *Test)
{
    Test->Adapter = NULL;
    WINTUN_ADDRESS Address = {.Family = AF_INET, .PrefixLength = 30};
    const WINTUN_ADAPTER_OPTIONS Wanted = {.Size = sizeof(Wanted),
                                           .Flags = WINTUN_ADAPTER_NO_DAD,
                                           .Name = Test->Name,
                                           .TunnelType = L"Wintun selftest",
                                           .Addresses = &Address,
                                           .AddressCount = 1};
    memcpy(Address.Address, OwnAddress, sizeof(OwnAddress));
    Test->Adapter = Wintun.CreateAdapterEx(&Wanted);
    if (!ReportWintun(Test, "create an adapter with an address", Test->Adapter != NULL))
        return;
    ReportWintun(Test, "the running driver tells its version",
                 Wintun.GetRunningDriverVersion() != 0);
    StepEnumerate(Test);
    StepSession(Test);
    StepRemove(Test);
}

int RunSelftest(const TOOL_OPTIONS *Options)
{
    static SELFTEST Test;
    char Name[48];
    TOOL_TEXT Text;

    if (!LIBRARY_HAS(CreateAdapterEx) || !LIBRARY_HAS(DeleteAdapter) ||
        !LIBRARY_HAS(EnumAdapters) || !LIBRARY_HAS(GetStatistics) || !LIBRARY_HAS(GetLastErrorText))
        return ToolFailed;
    Test.Options = Options;
    Test.Json.Out = &ToolOut;
    TextInit(&Text, Name, sizeof(Name));
    TextPrint(&Text, "Wintun selftest %lu", GetCurrentProcessId());
    for (unsigned Index = 0; Name[Index]; Index++)
        Test.Name[Index] = (wchar_t)Name[Index];
    if (Options->Json) {
        JsonBegin(&Test.Json, NULL, '{');
        JsonBegin(&Test.Json, "steps", '[');
    }
    Steps(&Test);
    if (Options->Json) {
        JsonEnd(&Test.Json, ']');
        JsonNumber(&Test.Json, "passed", Test.Results[Passed]);
        JsonNumber(&Test.Json, "failed", Test.Results[Failed]);
        JsonNumber(&Test.Json, "skipped", Test.Results[Skipped]);
        JsonEnd(&Test.Json, '}');
    } else {
        TextPrint(&ToolOut, "%u passed, %u failed, %u skipped\n", Test.Results[Passed],
                  Test.Results[Failed], Test.Results[Skipped]);
    }
    return Test.Results[Failed] ? ToolFailed : ToolDone;
}
