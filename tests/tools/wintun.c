/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A wintun.dll that only plays one, so that every answer wintun.exe can get is got without a
 * driver. Adapters and sessions live in the process; a "Windows" behind them answers pings.
 * Settings are environment variables:
 *
 *   FAKE_ADAPTERS=1           four adapters exist: Office (used by this process), a stale one with
 *                             a difficult name, Broken (problem 10), Secret (may not be read)
 *   FAKE_FREE=1               but nobody uses or has created Office
 *   FAKE_FAIL=Function=code   that function fails so
 *   FAKE_PACKETS=n            Windows has sent n packets when a session starts
 *   FAKE_DELAY=n              which takes n milliseconds
 *   FAKE_END=1                and then the adapter is gone
 *   FAKE_SENT=path            packets that Windows is given, each after its size in 4 bytes
 *   FAKE_LOG=path             calls that change something, one line each
 *   FAKE_DEAF=1               Windows answers no pings
 */
#define WINTUN_PROTOTYPES
#include <wintun.h>

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ADAPTERS = 8, MAX_QUEUE = 1024 };

struct WINTUN_SESSION {
    struct WINTUN_ADAPTER *Adapter;
    HANDLE Event;
    BYTE *Queue[MAX_QUEUE];
    DWORD Sizes[MAX_QUEUE], Head, Tail;
    bool HasEnded;
};

struct WINTUN_ADAPTER {
    bool IsThere;
    unsigned Opened; /* handles that did not create it */
    wchar_t Name[128];
    WINTUN_ADAPTER_INFO Info;
    WINTUN_STATISTICS Statistics;
    struct WINTUN_SESSION *Session;
};

static struct WINTUN_ADAPTER Adapters[MAX_ADAPTERS];
static bool IsReady;
static wchar_t ErrorText[256];
static WINTUN_LOGGER_CALLBACK Logger;

static void Log(const char *Format, ...)
{
    const char *Path = getenv("FAKE_LOG");
    FILE *File = Path ? fopen(Path, "a") : NULL;
    va_list Arguments;

    if (!File)
        return;
    va_start(Arguments, Format);
    vfprintf(File, Format, Arguments);
    va_end(Arguments);
    fclose(File);
}

static bool Fail(DWORD Code, const wchar_t *Text)
{
    wcscpy(ErrorText, Text);
    if (Logger)
        Logger(WINTUN_LOG_ERR, 0, Text);
    SetLastError(Code);
    return false;
}

/* Whether FAKE_FAIL names this function. */
static bool IsToFail(const char *Function)
{
    const char *Wanted = getenv("FAKE_FAIL");
    const size_t Length = strlen(Function);

    if (!Wanted || strncmp(Wanted, Function, Length) != 0 || Wanted[Length] != '=')
        return false;
    Fail(strtoul(Wanted + Length + 1, NULL, 0), L"starting device \"X\": it was told to fail");
    return true;
}

static struct WINTUN_ADAPTER *Add(const wchar_t *Name, const wchar_t *Alias, DWORD Flags)
{
    for (int Index = 0; Index < MAX_ADAPTERS; Index++) {
        struct WINTUN_ADAPTER *Adapter = &Adapters[Index];
        if (Adapter->IsThere)
            continue;
        *Adapter = (struct WINTUN_ADAPTER){.IsThere = true};
        wcsncpy(Adapter->Name, Name, 127);
        Adapter->Info = (WINTUN_ADAPTER_INFO){
            .Size = sizeof(Adapter->Info),
            .Flags = Flags,
            .Name = Adapter->Name,
            .Alias = Alias,
            .Description = L"Wintun Tunnel",
            .InstanceId = L"SWD\\Wintun\\{6906E155-AFD4-44A9-8D84-2A4A9B955724}",
            .Guid = {0x6906e155, 0xafd4, 0x44a9, {0x8d, 0x84, 0x2a, 0x4a, 0x9b, 0x95, 0x57, 0x24}},
            .Luid = {.Value = 0x0035000000000000ULL + Index}};
        Adapter->Statistics = (WINTUN_STATISTICS){.Size = sizeof(Adapter->Statistics),
                                                  .DriverVersion = 1 << 16,
                                                  .NdisVersion = 6 << 16 | 85,
                                                  .Mtu = 65535};
        return Adapter;
    }
    return NULL;
}

static void Prepare(void)
{
    struct WINTUN_ADAPTER *Adapter;

    if (IsReady)
        return;
    IsReady = true;
    if (!getenv("FAKE_ADAPTERS"))
        return;
    Adapter = Add(L"Office", L"Office", WINTUN_INFO_PRESENT | WINTUN_INFO_READY);
    if (!getenv("FAKE_FREE")) {
        Adapter->Info.CreatorProcessId = GetCurrentProcessId();
        Adapter->Statistics.SessionKind = WINTUN_SESSION_RINGS;
        Adapter->Statistics.OwnerProcessId = GetCurrentProcessId();
        Adapter->Statistics.LinkUp = 1;
    }
    Adapter->Statistics.SentPackets = 18446744073709551615ULL;
    Adapter = Add(L"\"B\x00fc"
                  L"ro\"\\\x4e2d\xd83d\xde00\xd800",
                  L"", WINTUN_INFO_STALE);
    Adapter = Add(L"Broken", L"", WINTUN_INFO_PRESENT | WINTUN_INFO_PERSISTENT);
    Adapter->Info.ProblemCode = 10;
    Adapter->Info.ProblemStatus = (LONG)0xC000009A;
    Add(L"Secret", L"Secret 1", WINTUN_INFO_PRESENT | WINTUN_INFO_READY);
}

static struct WINTUN_ADAPTER *Find(const wchar_t *Name)
{
    Prepare();
    for (int Index = 0; Index < MAX_ADAPTERS; Index++) {
        if (Adapters[Index].IsThere && _wcsicmp(Adapters[Index].Name, Name) == 0)
            return &Adapters[Index];
    }
    return NULL;
}

/* ---- adapters ---- */

WINTUN_ADAPTER_HANDLE WINAPI WintunCreateAdapterEx(const WINTUN_ADAPTER_OPTIONS *Options)
{
    Log("create \"%ls\" type \"%ls\" flags %lu guid %s mtu %lu metric %lu category %lu sddl %ls\n",
        Options->Name, Options->TunnelType, Options->Flags, Options->RequestedGUID ? "yes" : "no",
        Options->Mtu, Options->Metric, Options->NetworkCategory,
        Options->SecurityDescriptor ? Options->SecurityDescriptor : L"-");
    for (DWORD Index = 0; Index < Options->AddressCount; Index++) {
        const WINTUN_ADDRESS *Address = &Options->Addresses[Index];
        Log("address family %u prefix %u bytes", Address->Family, Address->PrefixLength);
        for (int Byte = 0; Byte < 16; Byte++)
            Log(" %02x", Address->Address[Byte]);
        Log("\n");
    }
    if (IsToFail("WintunCreateAdapterEx"))
        return NULL;
    Prepare();
    struct WINTUN_ADAPTER *Adapter =
        Add(Options->Name, Options->Name, WINTUN_INFO_PRESENT | WINTUN_INFO_READY);
    if (Options->Flags & WINTUN_ADAPTER_PERSISTENT)
        Adapter->Info.Flags |= WINTUN_INFO_PERSISTENT;
    Adapter->Info.CreatorProcessId = GetCurrentProcessId();
    return Adapter;
}

WINTUN_ADAPTER_HANDLE WINAPI WintunCreateAdapter(LPCWSTR Name, LPCWSTR TunnelType, const GUID *Guid)
{
    const WINTUN_ADAPTER_OPTIONS Options = {
        .Size = sizeof(Options), .Name = Name, .TunnelType = TunnelType, .RequestedGUID = Guid};

    return WintunCreateAdapterEx(&Options);
}

WINTUN_ADAPTER_HANDLE WINAPI WintunOpenAdapter(LPCWSTR Name)
{
    struct WINTUN_ADAPTER *Adapter = Find(Name);

    if (IsToFail("WintunOpenAdapter"))
        return NULL;
    if (!Adapter)
        Fail(ERROR_NOT_FOUND, L"opening adapter: there is none of that name");
    else
        Adapter->Opened++;
    return Adapter;
}

void WINAPI WintunCloseAdapter(WINTUN_ADAPTER_HANDLE Adapter)
{
    if (Adapter->Opened)
        Adapter->Opened--;
    else
        Log("close \"%ls\"\n", Adapter->Name);
}

BOOL WINAPI WintunDeleteAdapter(WINTUN_ADAPTER_HANDLE Adapter)
{
    if (IsToFail("WintunDeleteAdapter"))
        return FALSE;
    Log("delete \"%ls\"\n", Adapter->Name);
    Adapter->IsThere = false;
    return TRUE;
}

BOOL WINAPI WintunDeleteDriver(void)
{
    return FALSE;
}

void WINAPI WintunGetAdapterLUID(WINTUN_ADAPTER_HANDLE Adapter, NET_LUID *Luid)
{
    *Luid = Adapter->Info.Luid;
}

DWORD WINAPI WintunGetRunningDriverVersion(void)
{
    return IsToFail("WintunGetRunningDriverVersion") ? 0 : 1 << 16 | 2;
}

BOOL WINAPI WintunEnumAdapters(WINTUN_ADAPTER_CALLBACK Callback, void *Context)
{
    Prepare();
    if (IsToFail("WintunEnumAdapters"))
        return FALSE;
    for (int Index = 0; Index < MAX_ADAPTERS; Index++) {
        if (Adapters[Index].IsThere && !Callback(&Adapters[Index].Info, Context))
            break;
    }
    return TRUE;
}

BOOL WINAPI WintunGetStatistics(WINTUN_ADAPTER_HANDLE Adapter, WINTUN_STATISTICS *Statistics)
{
    if (IsToFail("WintunGetStatistics"))
        return FALSE;
    if (Statistics->Size != sizeof(*Statistics))
        return Fail(ERROR_INVALID_PARAMETER, L"size");
    if (wcscmp(Adapter->Name, L"Secret") == 0)
        return Fail(ERROR_ACCESS_DENIED, L"reading counters of \"Secret\": access is denied");
    *Statistics = Adapter->Statistics;
    Adapter->Statistics.ReceivedBytes += 1000000; /* each look sees something */
    return TRUE;
}

BOOL WINAPI WintunRepair(DWORD Flags, DWORD *Removed)
{
    Log("repair %lu\n", Flags);
    *Removed = Flags & WINTUN_REPAIR_DEVICES ? 2 : 0;
    return !IsToFail("WintunRepair");
}

DWORD WINAPI WintunGetLastErrorText(LPWSTR Buffer, DWORD Characters)
{
    const DWORD Needed = (DWORD)wcslen(ErrorText) + 1;

    if (Characters) {
        wcsncpy(Buffer, ErrorText, Characters);
        Buffer[Characters - 1] = 0;
    }
    return Needed;
}

void WINAPI WintunSetLogger(WINTUN_LOGGER_CALLBACK NewLogger)
{
    Logger = NewLogger;
}

/* ---- the Windows behind an adapter ---- */

static void Push(WINTUN_SESSION_HANDLE Session, const BYTE *Packet, DWORD Size)
{
    if (Session->Tail - Session->Head == MAX_QUEUE)
        return;
    BYTE *Copy = malloc(Size ? Size : 1);
    memcpy(Copy, Packet, Size);
    Session->Queue[Session->Tail % MAX_QUEUE] = Copy;
    Session->Sizes[Session->Tail++ % MAX_QUEUE] = Size;
    SetEvent(Session->Event);
}

static WORD Sum(const BYTE *Bytes, DWORD Size)
{
    DWORD Total = 0;

    for (DWORD Index = 0; Index < Size; Index++)
        Total += Index % 2 ? Bytes[Index] : (DWORD)Bytes[Index] << 8;
    while (Total >> 16)
        Total = (Total & 0xFFFF) + (Total >> 16);
    return (WORD)~Total;
}

static void Keep(const BYTE *Packet, DWORD Size)
{
    const char *Path = getenv("FAKE_SENT");
    FILE *File = Path ? fopen(Path, "ab") : NULL;

    if (!File)
        return;
    fwrite(&Size, sizeof(Size), 1, File);
    fwrite(Packet, 1, Size, File);
    fclose(File);
}

/* Answers pings to its address, which is that of the temporary adapters of wintun.exe. */
static void Windows(WINTUN_SESSION_HANDLE Session, const BYTE *Packet, DWORD Size)
{
    BYTE Answer[65535];

    if (Size < 28 || Packet[0] != 0x45 || Packet[9] != 1 || Packet[20] != 8 || getenv("FAKE_DEAF"))
        return;
    if (memcmp(Packet + 16, "\xC6\x12\x35\x01", 4) != 0)
        return; /* somebody else's */
    if (Sum(Packet, 20) || Sum(Packet + 20, Size - 20))
        return; /* a checksum is wrong */
    memcpy(Answer, Packet, Size);
    memcpy(Answer + 12, Packet + 16, 4);
    memcpy(Answer + 16, Packet + 12, 4);
    Answer[20] = 0;
    Answer[22] = Answer[23] = 0;
    const WORD Checksum = Sum(Answer + 20, Size - 20);
    Answer[22] = Checksum >> 8;
    Answer[23] = (BYTE)Checksum;
    Push(Session, Answer, Size);
}

/* Packet n of those that Windows has sent: a ping, a datagram of an odd size, IPv6. */
static void PushNumber(WINTUN_SESSION_HANDLE Session, unsigned Number)
{
    BYTE Packet[1400] = {0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 8};
    const DWORD Size = 64 + Number % 1000;

    Packet[2] = (BYTE)(Size >> 8);
    Packet[3] = (BYTE)Size;
    Packet[25] = (BYTE)Number;
    if (Number % 3 == 1) {
        Packet[9] = 17;
        Packet[20] = 0x12;
        Packet[23] = 53;
    } else if (Number % 3 == 2) {
        memset(Packet, 0, 40);
        Packet[0] = 0x60;
        Packet[4] = (BYTE)((Size - 40) >> 8);
        Packet[5] = (BYTE)(Size - 40);
        Packet[6] = 58;
        Packet[8] = Packet[24] = 0xFD;
        Packet[39] = 2;
        Packet[40] = 128;
    }
    Push(Session, Packet, Size);
}

/* ---- sessions ---- */

WINTUN_SESSION_HANDLE WINAPI WintunStartSession(WINTUN_ADAPTER_HANDLE Adapter, DWORD Capacity)
{
    const char *Packets = getenv("FAKE_PACKETS");

    if (IsToFail("WintunStartSession"))
        return NULL;
    if (Adapter->Statistics.SessionKind) {
        Fail(ERROR_ALREADY_INITIALIZED, L"starting a session: somebody else has one");
        return NULL;
    }
    Log("start \"%ls\" %lu\n", Adapter->Name, Capacity);
    WINTUN_SESSION_HANDLE Session = calloc(1, sizeof(*Session));
    Session->Adapter = Adapter;
    Session->Event = CreateEventW(NULL, FALSE, FALSE, NULL);
    Session->HasEnded = getenv("FAKE_END") != NULL;
    Adapter->Session = Session;
    Adapter->Statistics.SessionKind = WINTUN_SESSION_RINGS;
    Adapter->Statistics.OwnerProcessId = GetCurrentProcessId();
    Adapter->Statistics.LinkUp = 1;
    if (getenv("FAKE_DELAY"))
        Sleep(strtoul(getenv("FAKE_DELAY"), NULL, 0));
    for (int Number = 0; Packets && Number < atoi(Packets); Number++)
        PushNumber(Session, (unsigned)Number);
    return Session;
}

void WINAPI WintunEndSession(WINTUN_SESSION_HANDLE Session)
{
    Log("end \"%ls\"\n", Session->Adapter->Name);
    Session->Adapter->Statistics.SessionKind = WINTUN_SESSION_NONE;
    Session->Adapter->Statistics.OwnerProcessId = 0;
    Session->Adapter->Statistics.LinkUp = 0;
    CloseHandle(Session->Event);
    free(Session);
}

HANDLE WINAPI WintunGetReadWaitEvent(WINTUN_SESSION_HANDLE Session)
{
    return Session->Event;
}

BYTE *WINAPI WintunReceivePacket(WINTUN_SESSION_HANDLE Session, DWORD *PacketSize)
{
    if (Session->Head == Session->Tail) {
        Fail(Session->HasEnded ? ERROR_HANDLE_EOF : ERROR_NO_MORE_ITEMS, L"the adapter is gone");
        return NULL;
    }
    *PacketSize = Session->Sizes[Session->Head % MAX_QUEUE];
    Session->Adapter->Statistics.SentPackets++;
    Session->Adapter->Statistics.SentBytes += *PacketSize;
    return Session->Queue[Session->Head++ % MAX_QUEUE];
}

void WINAPI WintunReleaseReceivePacket(WINTUN_SESSION_HANDLE Session, const BYTE *Packet)
{
    (void)Session;
    free((void *)Packet);
}

/* The size stands before the packet, as in a ring. */
BYTE *WINAPI WintunAllocateSendPacket(WINTUN_SESSION_HANDLE Session, DWORD PacketSize)
{
    DWORD *Room = malloc(sizeof(DWORD) + PacketSize);

    (void)Session;
    *Room = PacketSize;
    return (BYTE *)(Room + 1);
}

void WINAPI WintunSendPacket(WINTUN_SESSION_HANDLE Session, const BYTE *Packet)
{
    DWORD *Room = (DWORD *)Packet - 1;
    WINTUN_STATISTICS *Statistics = &Session->Adapter->Statistics;

    if (*Room && (Packet[0] >> 4 == 4 || Packet[0] >> 4 == 6)) {
        Statistics->ReceivedPackets++;
        Statistics->ReceivedBytes += *Room;
        Keep(Packet, *Room);
        Windows(Session, Packet, *Room);
    } else {
        Statistics->ReceivedNotIp++;
    }
    free(Room);
}

DWORD WINAPI WintunReceivePackets(WINTUN_SESSION_HANDLE Session, WINTUN_PACKET *Packets,
                                  DWORD Count)
{
    DWORD Taken = 0;

    while (Taken < Count &&
           (Packets[Taken].Data = WintunReceivePacket(Session, &Packets[Taken].Size)))
        Taken++;
    return Taken;
}

void WINAPI WintunReleaseReceivePackets(WINTUN_SESSION_HANDLE Session, const WINTUN_PACKET *Packets,
                                        DWORD Count)
{
    while (Count--)
        WintunReleaseReceivePacket(Session, Packets[Count].Data);
}

DWORD WINAPI WintunAllocateSendPackets(WINTUN_SESSION_HANDLE Session, WINTUN_PACKET *Packets,
                                       DWORD Count)
{
    for (DWORD Index = 0; Index < Count; Index++)
        Packets[Index].Data = WintunAllocateSendPacket(Session, Packets[Index].Size);
    return Count;
}

void WINAPI WintunSendPackets(WINTUN_SESSION_HANDLE Session, const WINTUN_PACKET *Packets,
                              DWORD Count)
{
    for (DWORD Index = 0; Index < Count; Index++)
        WintunSendPacket(Session, Packets[Index].Data);
}

HANDLE WINAPI WintunGetSendSpaceEvent(WINTUN_SESSION_HANDLE Session)
{
    (void)Session;
    SetLastError(ERROR_NOT_SUPPORTED);
    return NULL;
}
