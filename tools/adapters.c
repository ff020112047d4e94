/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Adapters: what the DLL and the driver tell of them, in words and in JSON. Asking starts no
 * session and needs no right; what a user may not see is left out and the reason said.
 */
#include "tool.h"

#include "pure/address.h"

const uint8_t OwnAddress[4] = {198, 18, 53, 1}, PeerAddress[4] = {198, 18, 53, 2};

const TOOL_COUNTER Counters[COUNTERS] = {
    {"sentPackets", "packets from Windows", offsetof(WINTUN_STATISTICS, SentPackets)},
    {"sentBytes", "bytes from Windows", offsetof(WINTUN_STATISTICS, SentBytes)},
    {"sentNoSession", "  lost: no session", offsetof(WINTUN_STATISTICS, SentNoSession)},
    {"sentPaused", "  lost: adapter paused", offsetof(WINTUN_STATISTICS, SentPaused)},
    {"sentFull", "  lost: program too slow", offsetof(WINTUN_STATISTICS, SentFull)},
    {"sentCorrupt", "  lost: ring corrupt", offsetof(WINTUN_STATISTICS, SentCorrupt)},
    {"sentTooLong", "  lost: too long", offsetof(WINTUN_STATISTICS, SentTooLong)},
    {"sentInaccessible", "  lost: not accessible", offsetof(WINTUN_STATISTICS, SentInaccessible)},
    {"sentSignals", "  times program woken", offsetof(WINTUN_STATISTICS, SentSignals)},
    {"receivedPackets", "packets to Windows", offsetof(WINTUN_STATISTICS, ReceivedPackets)},
    {"receivedBytes", "bytes to Windows", offsetof(WINTUN_STATISTICS, ReceivedBytes)},
    {"receivedNotIp", "  lost: not IP", offsetof(WINTUN_STATISTICS, ReceivedNotIp)},
    {"receivedPaused", "  lost: adapter paused", offsetof(WINTUN_STATISTICS, ReceivedPaused)},
    {"receivedNoMemory", "  lost: no memory", offsetof(WINTUN_STATISTICS, ReceivedNoMemory)},
    {"receivedIndications", "  times handed over",
     offsetof(WINTUN_STATISTICS, ReceivedIndications)},
    {"receivedWakeups", "  times driver woken", offsetof(WINTUN_STATISTICS, ReceivedWakeups)},
};

DWORD64 CounterValue(const WINTUN_STATISTICS *Statistics, unsigned Counter)
{
    return *(const DWORD64 *)((const char *)Statistics + Counters[Counter].Field);
}

DWORD64 StatisticsLost(const WINTUN_STATISTICS *Statistics)
{
    return Statistics->SentNoSession + Statistics->SentPaused + Statistics->SentFull +
           Statistics->SentCorrupt + Statistics->SentTooLong + Statistics->SentInaccessible +
           Statistics->ReceivedNotIp + Statistics->ReceivedPaused + Statistics->ReceivedNoMemory;
}

/* ---- reading ---- */

typedef struct {
    const wchar_t *Name; /* NULL: all */
    TOOL_ADAPTER *Adapters;
    unsigned Count;
    bool HasNoMemory;
} ENUMERATION;

static void WideCopy(wchar_t *Target, size_t Capacity, const wchar_t *Source)
{
    size_t Index = 0;

    for (; Source && Source[Index] && Index + 1 < Capacity; Index++)
        Target[Index] = Source[Index];
    Target[Index] = 0;
}

/* As Windows compares names: without regard to case, and to no language. */
static bool NameIs(const wchar_t *One, const wchar_t *Other)
{
    return CompareStringOrdinal(One, -1, Other, -1, TRUE) == CSTR_EQUAL;
}

#define COPY(Adapter, Field)                                                                       \
    WideCopy((Adapter)->Field, sizeof((Adapter)->Field) / sizeof((Adapter)->Field[0]), Info->Field)

static BOOL CALLBACK EnumerationAdd(const WINTUN_ADAPTER_INFO *Info, void *Context)
{
    ENUMERATION *Found = Context;

    if (Found->Name && !NameIs(Found->Name, Info->Name))
        return TRUE;
    TOOL_ADAPTER *Grown = MemoryGrow(Found->Adapters, (Found->Count + 1) * sizeof(*Grown));
    Found->HasNoMemory = !Grown;
    if (!Grown)
        return FALSE;
    Found->Adapters = Grown;
    TOOL_ADAPTER *Adapter = &Grown[Found->Count++];
    *Adapter = (TOOL_ADAPTER){.Info = *Info};
    COPY(Adapter, Name);
    COPY(Adapter, Alias);
    COPY(Adapter, Description);
    COPY(Adapter, InstanceId);
    return TRUE;
}

/* Only of what is ready: opening waits for an interface that is still to come. */
static void StatisticsRead(TOOL_ADAPTER *Adapter)
{
    Adapter->StatisticsError = ERROR_NOT_READY;
    if (!(Adapter->Info.Flags & WINTUN_INFO_READY) || !Wintun.GetStatistics)
        return;
    WINTUN_ADAPTER_HANDLE Handle = Wintun.OpenAdapter(Adapter->Name);
    Adapter->Statistics.Size = sizeof(Adapter->Statistics);
    Adapter->HasStatistics = Handle && Wintun.GetStatistics(Handle, &Adapter->Statistics);
    Adapter->StatisticsError = Adapter->HasStatistics ? 0 : GetLastError();
    if (Handle)
        Wintun.CloseAdapter(Handle);
}

bool AdaptersRead(const wchar_t *Name, TOOL_ADAPTER **Adapters, unsigned *Count)
{
    ENUMERATION Found = {.Name = Name};

    if (!LIBRARY_HAS(EnumAdapters))
        return false;
    const BOOL IsComplete = Wintun.EnumAdapters(EnumerationAdd, &Found);
    if (!IsComplete)
        FailWintun(GetLastError(), "cannot list the adapters");
    else if (Found.HasNoMemory)
        FailMemory();
    else if (Name && !Found.Count)
        FailWindows(ERROR_NOT_FOUND, "there is no adapter \"%ls\"", Name);
    if (!IsComplete || Found.HasNoMemory || (Name && !Found.Count)) {
        MemoryFree(Found.Adapters);
        return false;
    }
    for (unsigned Index = 0; Index < Found.Count; Index++) {
        TOOL_ADAPTER *Adapter = &Found.Adapters[Index];
        Adapter->Info.Name = Adapter->Name;
        Adapter->Info.Alias = Adapter->Alias;
        Adapter->Info.Description = Adapter->Description;
        Adapter->Info.InstanceId = Adapter->InstanceId;
        StatisticsRead(Adapter);
    }
    *Adapters = Found.Adapters;
    *Count = Found.Count;
    return true;
}

/* ---- words ---- */

/* Those that a network adapter of software can have, from "Device Manager error messages" of the
 * driver documentation. */
static const struct {
    DWORD Code;
    const char *Name;
} Problems[] = {
    {1, "not configured"},
    {3, "out of memory"},
    {10, "it could not start"},
    {14, "Windows has to be restarted"},
    {18, "the driver has to be installed again"},
    {19, "its registry entry is damaged"},
    {21, "it is being removed"},
    {22, "disabled"},
    {24, "the device is not there"},
    {28, "no driver is installed"},
    {31, "the driver could not be added"},
    {32, "the driver's service is disabled"},
    {37, "the driver failed as it was loaded"},
    {38, "an earlier copy of the driver is still loaded"},
    {39, "the driver could not be loaded"},
    {40, "the driver's service entry is damaged"},
    {43, "it reported a failure"},
    {45, "not connected"},
    {47, "being removed"},
    {48, "Windows blocks this driver"},
    {52, "the driver's signature is not accepted"},
    {54, "it is being reset"},
    {56, "waiting for its class to configure it"},
};

const char *ProblemName(DWORD ProblemCode)
{
    for (size_t Index = 0; Index < sizeof(Problems) / sizeof(Problems[0]); Index++) {
        if (Problems[Index].Code == ProblemCode)
            return Problems[Index].Name;
    }
    return "see Device Manager error messages";
}

static const char *StateName(const TOOL_ADAPTER *Adapter)
{
    const DWORD Flags = Adapter->Info.Flags;

    if (Flags & WINTUN_INFO_STALE)
        return "stale";
    if (!(Flags & WINTUN_INFO_PRESENT))
        return "absent";
    if (Adapter->Info.ProblemCode)
        return "problem";
    return Flags & WINTUN_INFO_READY ? "ready" : "starting";
}

void AdapterPrintState(TOOL_TEXT *Text, const TOOL_ADAPTER *Adapter)
{
    const DWORD Problem = Adapter->Info.ProblemCode;

    TextPrint(Text, "%s", StateName(Adapter));
    if (Problem && (Adapter->Info.Flags & WINTUN_INFO_PRESENT))
        TextPrint(Text, "%s %lu (%s)", Adapter->Info.Flags & WINTUN_INFO_STALE ? ", problem" : "",
                  Problem, ProblemName(Problem));
}

const char *SessionKindName(DWORD Kind)
{
    static const char *const Names[] = {"none", "rings", "file"};

    return Kind < 3 ? Names[Kind] : "unknown";
}

void ProcessPrint(TOOL_TEXT *Text, DWORD ProcessId)
{
    wchar_t Name[PROCESS_NAME];

    TextPrint(Text, "%lu", ProcessId);
    if (ProcessName(ProcessId, Name))
        TextPrint(Text, " %ls", Name);
}

void ProcessWriteJson(TOOL_JSON *Json, const char *Key, DWORD ProcessId)
{
    wchar_t Name[PROCESS_NAME];

    if (!ProcessId) {
        JsonNull(Json, Key);
        return;
    }
    JsonBegin(Json, Key, '{');
    JsonNumber(Json, "processId", ProcessId);
    JsonWide(Json, "process", ProcessName(ProcessId, Name) ? Name : NULL);
    JsonEnd(Json, '}');
}

/* What the driver tells: null for each when it does not. */
static void StatisticsWriteJson(TOOL_JSON *Json, const TOOL_ADAPTER *Adapter)
{
    const WINTUN_STATISTICS *Statistics = &Adapter->Statistics;

    JsonBegin(Json, "driver", '{');
    JsonPrint(Json, "version", "%lu.%lu", Statistics->DriverVersion >> 16,
              Statistics->DriverVersion & 0xFFFF);
    JsonPrint(Json, "ndisVersion", "%lu.%lu", Statistics->NdisVersion >> 16,
              Statistics->NdisVersion & 0xFFFF);
    JsonEnd(Json, '}');
    JsonText(Json, "link", Statistics->LinkUp ? "up" : "down");
    JsonBool(Json, "paused", Statistics->Paused != 0);
    JsonText(Json, "session", SessionKindName(Statistics->SessionKind));
    ProcessWriteJson(Json, "owner", Statistics->OwnerProcessId);
    JsonNumber(Json, "mtu", Statistics->Mtu);
    JsonBegin(Json, "counters", '{');
    for (unsigned Index = 0; Index < COUNTERS; Index++)
        JsonNumber(Json, Counters[Index].Key, CounterValue(Statistics, Index));
    JsonEnd(Json, '}');
}

static void NoStatisticsWriteJson(TOOL_JSON *Json)
{
    static const char *const Keys[] = {"driver", "link", "paused",  "session",
                                       "owner",  "mtu",  "counters"};

    for (size_t Index = 0; Index < sizeof(Keys) / sizeof(Keys[0]); Index++)
        JsonNull(Json, Keys[Index]);
}

void AdapterWriteJson(TOOL_JSON *Json, const char *Key, const TOOL_ADAPTER *Adapter)
{
    const WINTUN_ADAPTER_INFO *Info = &Adapter->Info;
    const bool IsReady = (Info->Flags & WINTUN_INFO_READY) != 0;
    char Guid[64];
    TOOL_TEXT Text;
    TOOL_GUID Parts;

    memcpy(&Parts, &Info->Guid, sizeof(Parts));
    TextInit(&Text, Guid, sizeof(Guid));
    GuidPrint(&Text, &Parts);
    JsonBegin(Json, Key, '{');
    JsonWide(Json, "name", Info->Name);
    JsonWide(Json, "alias", *Info->Alias ? Info->Alias : NULL);
    JsonWide(Json, "description", Info->Description);
    JsonWide(Json, "instanceId", Info->InstanceId);
    JsonText(Json, "guid", IsReady ? Guid : NULL);
    if (IsReady)
        JsonPrint(Json, "luid", "0x%016llx", Info->Luid.Value);
    else
        JsonNull(Json, "luid");
    JsonText(Json, "state", StateName(Adapter));
    JsonBool(Json, "persistent", (Info->Flags & WINTUN_INFO_PERSISTENT) != 0);
    JsonNumber(Json, "problemCode", Info->ProblemCode);
    JsonPrint(Json, "problemStatus", "0x%08lx", (unsigned long)Info->ProblemStatus);
    ProcessWriteJson(Json, "creator", Info->CreatorProcessId);
    if (Adapter->HasStatistics)
        StatisticsWriteJson(Json, Adapter);
    else
        NoStatisticsWriteJson(Json);
    JsonNumber(Json, "statisticsError", Adapter->StatisticsError);
    JsonEnd(Json, '}');
}

/* ---- using ---- */

WINTUN_ADAPTER_HANDLE AdapterOpen(const wchar_t *Name)
{
    WINTUN_ADAPTER_HANDLE Adapter = Wintun.OpenAdapter(Name);

    if (!Adapter)
        FailWintun(GetLastError(), "cannot open the adapter \"%ls\"", Name);
    return Adapter;
}

int FailUsed(const wchar_t *Name, DWORD ProcessId, const char *Remedy)
{
    wchar_t Process[PROCESS_NAME];

    if (!ProcessId)
        return Fail("adapter \"%ls\" is used by another program; %s", Name, Remedy);
    if (!ProcessName(ProcessId, Process))
        return Fail("adapter \"%ls\" is used by process %lu; %s", Name, ProcessId, Remedy);
    return Fail("adapter \"%ls\" is used by process %lu (%ls); %s", Name, ProcessId, Process,
                Remedy);
}

WINTUN_SESSION_HANDLE SessionOpen(WINTUN_ADAPTER_HANDLE Adapter, const wchar_t *Name,
                                  DWORD Capacity)
{
    WINTUN_SESSION_HANDLE Session = Wintun.StartSession(Adapter, Capacity);
    WINTUN_STATISTICS Statistics = {.Size = sizeof(Statistics)};

    if (Session)
        return Session;
    const DWORD Code = GetLastError();
    if (Code != ERROR_ALREADY_INITIALIZED) {
        FailWintun(Code, "cannot start a session with the adapter \"%ls\"", Name);
        return NULL;
    }
    const bool IsKnown = Wintun.GetStatistics && Wintun.GetStatistics(Adapter, &Statistics);
    FailUsed(Name, IsKnown ? Statistics.OwnerProcessId : 0, "end its session first");
    return NULL;
}

WINTUN_ADAPTER_HANDLE AdapterCreateTemporary(const wchar_t *Name)
{
    WINTUN_ADDRESS Address = {.Family = AF_INET, .PrefixLength = 30};
    const WINTUN_ADAPTER_OPTIONS Wanted = {.Size = sizeof(Wanted),
                                           .Flags = WINTUN_ADAPTER_NO_DAD,
                                           .Name = Name,
                                           .TunnelType = L"Wintun",
                                           .Addresses = &Address,
                                           .AddressCount = 1};

    memcpy(Address.Address, OwnAddress, sizeof(OwnAddress));
    WINTUN_ADAPTER_HANDLE Adapter = Wintun.CreateAdapterEx(&Wanted);
    if (!Adapter)
        FailWintun(GetLastError(), "cannot create the adapter \"%ls\"", Name);
    return Adapter;
}
