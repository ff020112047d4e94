/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A program that uses wintun.dll as its header says, for tests/wine/cases/dll.sh. It tells on
 * standard output what a script can compare, and on standard error what the DLL logs.
 * Usage: dll check NAME GUID  does everything that needs no traffic; prints "ok" or what was wrong
 *        dll open NAME        opens an adapter of another process's; prints the error of each step
 *        dll serve NAME GUID  creates an adapter and answers pings; prints "ready", and its
 * counters when standard input ends GUID is that of the interface to wish for, "{...}".
 */
#include <winsock2.h> /* must be first */

#include <windows.h>

#include <objbase.h>
#include <stdio.h>
#include <string.h>

#include <wintun-loader.h>

#define CAPACITY     0x400000
#define BATCH        16
#define NAME_MAX     128
#define ICMP         1
#define ECHO_REQUEST 8

static GUID wanted_guid;
static WINTUN_API wintun;

static void CALLBACK log_line(WINTUN_LOGGER_LEVEL level, DWORD64 time, LPCWSTR message)
{
    fprintf(stderr, "wintun.dll: %d: %ls\n", level, message);
    fflush(stderr); /* msvcrt.dll keeps it otherwise when it goes to a file */
}

/* Prints the line that failed, with what the DLL says. */
static int fail(const char *what)
{
    WCHAR text[1024] = L"";
    const DWORD error = GetLastError();

    wintun.GetLastErrorText(text, 1024);
    printf("%s: error %lu: %ls\n", what, error, text);
    return 1;
}

/* ---- check ------------------------------------------------------------------------------------*/

struct found {
    const WCHAR *name;
    int count;
    DWORD flags;
    DWORD creator;
    GUID guid;
    NET_LUID luid;
};

static BOOL CALLBACK look(const WINTUN_ADAPTER_INFO *info, void *context)
{
    struct found *found = context;

    if (_wcsicmp(info->Name, found->name) != 0)
        return TRUE;
    found->count++;
    found->flags = info->Flags;
    found->creator = info->CreatorProcessId;
    found->guid = info->Guid;
    found->luid = info->Luid;
    return TRUE;
}

static int find(const WCHAR *name, struct found *found)
{
    *found = (struct found){.name = name};
    return wintun.EnumAdapters(look, found) ? 0 : fail("EnumAdapters");
}

/* WintunEnumAdapters, WintunGetAdapterLUID, the wish for a GUID */
static int check_listed(WINTUN_ADAPTER_HANDLE adapter, const WCHAR *name)
{
    struct found found;
    NET_LUID luid;

    wintun.GetAdapterLUID(adapter, &luid);
    if (find(name, &found) != 0)
        return 1;
    if (found.count != 1 || found.flags != (WINTUN_INFO_PRESENT | WINTUN_INFO_READY) ||
        found.creator != GetCurrentProcessId() || found.luid.Value != luid.Value)
        return fail("what EnumAdapters says of a living adapter");
    if (luid.Info.IfType != 53)
        return fail("the interface type");
    return memcmp(&found.guid, &wanted_guid, sizeof(GUID)) == 0 ? 0 : fail("the wish for a GUID");
}

/* WintunStartSession: one at a time; WintunGetStatistics sees it */
static int check_session(WINTUN_ADAPTER_HANDLE adapter)
{
    WINTUN_STATISTICS statistics = {.Size = sizeof(statistics)};
    WINTUN_SESSION_HANDLE session = wintun.StartSession(adapter, CAPACITY);
    DWORD size;

    if (session == NULL)
        return fail("StartSession");
    if (wintun.StartSession(adapter, CAPACITY) != NULL ||
        GetLastError() != ERROR_ALREADY_INITIALIZED)
        return fail("a second session");
    if (!wintun.GetStatistics(adapter, &statistics))
        return fail("GetStatistics");
    if (statistics.SessionKind != WINTUN_SESSION_RINGS || !statistics.LinkUp ||
        statistics.OwnerProcessId != GetCurrentProcessId())
        return fail("what GetStatistics says of a session");
    if (wintun.AllocateSendPacket(session, WINTUN_MAX_IP_PACKET_SIZE + 1) != NULL ||
        GetLastError() != ERROR_INVALID_PARAMETER)
        return fail("a packet that is too long");
    while (wintun.ReceivePacket(session, &size) != NULL)
        ;
    if (GetLastError() != ERROR_NO_MORE_ITEMS)
        return fail("an empty ring");
    wintun.EndSession(session);
    if (!wintun.GetStatistics(adapter, &statistics) ||
        statistics.SessionKind != WINTUN_SESSION_NONE)
        return fail("the end of the session");
    return 0;
}

static int check_errors(void)
{
    if (wintun.CreateAdapter(L"a:b", L"Check", NULL) != NULL ||
        GetLastError() != ERROR_INVALID_PARAMETER)
        return fail("a name that no adapter may have");
    if (wintun.OpenAdapter(L"nobody has this name") != NULL || GetLastError() != ERROR_NOT_FOUND)
        return fail("opening an adapter that does not exist");
    return 0;
}

static int check(const WCHAR *name)
{
    WINTUN_ADAPTER_HANDLE adapter = wintun.CreateAdapter(name, L"Check", &wanted_guid);
    struct found found;
    DWORD version;

    if (adapter == NULL)
        return fail("CreateAdapter");
    version = wintun.GetRunningDriverVersion();
    if (version == 0)
        return fail("GetRunningDriverVersion");
    if (check_listed(adapter, name) != 0 || check_session(adapter) != 0 || check_errors() != 0)
        return 1;
    wintun.CloseAdapter(adapter);
    if (find(name, &found) != 0)
        return 1;
    if (found.count != 0)
        return fail("an adapter that was closed");
    printf("ok, driver %lu.%lu\n", version >> 16, version & 0xFFFF);
    return 0;
}

/* ---- open -------------------------------------------------------------------------------------*/

static int open_other(const WCHAR *name)
{
    WINTUN_ADAPTER_HANDLE adapter = wintun.OpenAdapter(name);
    WINTUN_SESSION_HANDLE session;

    if (adapter == NULL) {
        printf("open %lu\n", GetLastError());
        return 0;
    }
    session = wintun.StartSession(adapter, CAPACITY);
    printf("open 0 session %lu\n", session != NULL ? 0 : GetLastError());
    if (session != NULL)
        wintun.EndSession(session);
    wintun.CloseAdapter(adapter);
    return 0;
}

/* ---- serve ------------------------------------------------------------------------------------*/

/* RFC 1071 */
static WORD checksum(const BYTE *data, DWORD size)
{
    DWORD sum = 0;

    for (DWORD i = 0; i < size; i++)
        sum += (i & 1) != 0 ? data[i] : (DWORD)data[i] << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xFFFF) + (sum >> 16);
    return (WORD)~sum;
}

/* Makes an IPv4 echo request (RFC 792) its answer. */
static BOOL answer(BYTE *packet, DWORD size)
{
    const DWORD header = (packet[0] & 15U) * 4;
    BYTE address[4];
    WORD sum;

    if (size < 28 || packet[0] >> 4 != 4 || packet[9] != ICMP || size < header + 8 ||
        packet[header] != ECHO_REQUEST)
        return FALSE;
    memcpy(address, packet + 12, 4);
    memcpy(packet + 12, packet + 16, 4);
    memcpy(packet + 16, address, 4);
    packet[header] = 0;
    memset(packet + header + 2, 0, 2);
    sum = checksum(packet + header, size - header);
    packet[header + 2] = (BYTE)(sum >> 8);
    packet[header + 3] = (BYTE)sum;
    return TRUE;
}

/* Receives what there is, and sends the answers, in batches. FALSE: the session is over. */
static BOOL serve_batch(WINTUN_SESSION_HANDLE session, DWORD *answered)
{
    WINTUN_PACKET in[BATCH], out[BATCH];
    const DWORD count = wintun.ReceivePackets(session, in, BATCH);
    DWORD wanted = 0, room;
    DWORD index[BATCH];

    if (count == 0)
        return GetLastError() == ERROR_NO_MORE_ITEMS;
    for (DWORD i = 0; i < count; i++) {
        if (!answer(in[i].Data, in[i].Size))
            continue;
        index[wanted] = i;
        out[wanted++].Size = in[i].Size;
    }
    room = wanted != 0 ? wintun.AllocateSendPackets(session, out, wanted) : 0;
    for (DWORD i = 0; i < room; i++)
        memcpy(out[i].Data, in[index[i]].Data, out[i].Size);
    wintun.SendPackets(session, out, room);
    wintun.ReleaseReceivePackets(session, in, count);
    *answered += room;
    return TRUE;
}

static DWORD WINAPI wait_for_end(void *event)
{
    while (getchar() != EOF)
        ;
    SetEvent(event);
    return 0;
}

static int serve_session(WINTUN_SESSION_HANDLE session, DWORD *answered)
{
    HANDLE events[2] = {CreateEventW(NULL, TRUE, FALSE, NULL), wintun.GetReadWaitEvent(session)};
    HANDLE thread = CreateThread(NULL, 0, wait_for_end, events[0], 0, NULL);

    CloseHandle(thread);
    do {
        if (!serve_batch(session, answered)) {
            printf("over\n");
            return 1;
        }
    } while (WaitForMultipleObjects(2, events, FALSE, INFINITE) != WAIT_OBJECT_0);
    return 0;
}

static int serve(const WCHAR *name)
{
    WINTUN_ADAPTER_HANDLE adapter = wintun.CreateAdapter(name, L"Serve", &wanted_guid);
    WINTUN_STATISTICS statistics = {.Size = sizeof(statistics)};
    WINTUN_SESSION_HANDLE session;
    DWORD answered = 0;
    int result;

    if (adapter == NULL)
        return fail("CreateAdapter");
    session = wintun.StartSession(adapter, CAPACITY);
    if (session == NULL)
        return fail("StartSession");
    printf("ready\n");
    fflush(stdout);
    result = serve_session(session, &answered);
    if (!wintun.GetStatistics(adapter, &statistics))
        return fail("GetStatistics");
    printf("answered %lu, driver %llu to us and %llu from us\n", answered, statistics.SentPackets,
           statistics.ReceivedPackets);
    wintun.EndSession(session);
    wintun.CloseAdapter(adapter);
    return result;
}

static BOOL parse_guid(const char *text)
{
    WCHAR wide[NAME_MAX];

    return MultiByteToWideChar(CP_ACP, 0, text, -1, wide, NAME_MAX) != 0 &&
           CLSIDFromString(wide, &wanted_guid) == S_OK;
}

int main(int argc, char **argv)
{
    WCHAR name[NAME_MAX];

    if (argc < 3 || argc > 4 || (argc == 4 && !parse_guid(argv[3])) ||
        MultiByteToWideChar(CP_ACP, 0, argv[2], -1, name, NAME_MAX) == 0) {
        fprintf(stderr, "usage: dll check|open|serve NAME [GUID]\n");
        return 2;
    }
    if (WintunLoad(NULL, &wintun) == NULL) {
        printf("wintun.dll: error %lu\n", GetLastError());
        return 1;
    }
    wintun.SetLogger(log_line);
    if (strcmp(argv[1], "open") == 0)
        return open_other(name);
    if (argc == 4 && strcmp(argv[1], "check") == 0)
        return check(name);
    if (argc == 4 && strcmp(argv[1], "serve") == 0)
        return serve(name);
    return 2;
}
