/* SPDX-License-Identifier: MIT OR 0BSD */
/* Copyright (C) 2026 Wintun authors */
/*
 * Loads wintun.dll and finds all its functions in one call, for programs that do not link with an
 * import library. Needs wintun.h and nothing else; the same licences apply.
 *
 *     WINTUN_API Wintun;
 *     HMODULE Module = WintunLoad(NULL, &Wintun);
 *     if (!Module)
 *         return GetLastError();
 *     Adapter = Wintun.CreateAdapter(L"Office", L"Example", NULL);
 *
 * Give Module to FreeLibrary when no adapter and no session is left.
 */
#ifndef WINTUN_LOADER_H
#define WINTUN_LOADER_H

#include "wintun.h"

/* LoadLibraryExW: the program's own folder, and System32; declared here for old headers. */
#define WINTUN_LOADER_SEARCH (0x200 | 0x800)

typedef struct WINTUN_API {
    /* those of version 0.14: never NULL */
    WINTUN_CREATE_ADAPTER_FUNC *CreateAdapter;
    WINTUN_OPEN_ADAPTER_FUNC *OpenAdapter;
    WINTUN_CLOSE_ADAPTER_FUNC *CloseAdapter;
    WINTUN_DELETE_DRIVER_FUNC *DeleteDriver;
    WINTUN_GET_ADAPTER_LUID_FUNC *GetAdapterLUID;
    WINTUN_GET_RUNNING_DRIVER_VERSION_FUNC *GetRunningDriverVersion;
    WINTUN_SET_LOGGER_FUNC *SetLogger;
    WINTUN_START_SESSION_FUNC *StartSession;
    WINTUN_END_SESSION_FUNC *EndSession;
    WINTUN_GET_READ_WAIT_EVENT_FUNC *GetReadWaitEvent;
    WINTUN_RECEIVE_PACKET_FUNC *ReceivePacket;
    WINTUN_RELEASE_RECEIVE_PACKET_FUNC *ReleaseReceivePacket;
    WINTUN_ALLOCATE_SEND_PACKET_FUNC *AllocateSendPacket;
    WINTUN_SEND_PACKET_FUNC *SendPacket;
    /* additions: NULL when the DLL has not got them */
    WINTUN_CREATE_ADAPTER_EX_FUNC *CreateAdapterEx;
    WINTUN_DELETE_ADAPTER_FUNC *DeleteAdapter;
    WINTUN_ENUM_ADAPTERS_FUNC *EnumAdapters;
    WINTUN_GET_STATISTICS_FUNC *GetStatistics;
    WINTUN_GET_LAST_ERROR_TEXT_FUNC *GetLastErrorText;
    WINTUN_REPAIR_FUNC *Repair;
    WINTUN_RECEIVE_PACKETS_FUNC *ReceivePackets;
    WINTUN_RELEASE_RECEIVE_PACKETS_FUNC *ReleaseReceivePackets;
    WINTUN_ALLOCATE_SEND_PACKETS_FUNC *AllocateSendPackets;
    WINTUN_SEND_PACKETS_FUNC *SendPackets;
    WINTUN_GET_SEND_SPACE_EVENT_FUNC *GetSendSpaceEvent;
} WINTUN_API;

/*
 * Path: NULL for wintun.dll in the program's own folder or in System32, or the full path of another
 * copy. NULL with the last error when it cannot be loaded, or ERROR_PROC_NOT_FOUND when it lacks a
 * function of version 0.14; *Api is all NULL then.
 */
#if defined(__GNUC__)
__attribute__((unused)) /* not every file that includes this needs it */
#endif
static __inline HMODULE
WintunLoad(LPCWSTR Path, WINTUN_API *Api)
{
    static const char *const Names[] = {
        "WintunCreateAdapter",       "WintunOpenAdapter",
        "WintunCloseAdapter",        "WintunDeleteDriver",
        "WintunGetAdapterLUID",      "WintunGetRunningDriverVersion",
        "WintunSetLogger",           "WintunStartSession",
        "WintunEndSession",          "WintunGetReadWaitEvent",
        "WintunReceivePacket",       "WintunReleaseReceivePacket",
        "WintunAllocateSendPacket",  "WintunSendPacket",
        "WintunCreateAdapterEx",     "WintunDeleteAdapter",
        "WintunEnumAdapters",        "WintunGetStatistics",
        "WintunGetLastErrorText",    "WintunRepair",
        "WintunReceivePackets",      "WintunReleaseReceivePackets",
        "WintunAllocateSendPackets", "WintunSendPackets",
        "WintunGetSendSpaceEvent"};
    /* All pointers to functions have the same form on Windows; a union says so to the compiler. */
    union {
        WINTUN_API Api;
        FARPROC Functions[sizeof(Names) / sizeof(Names[0])];
    } Found;
    const int Count = (int)(sizeof(Names) / sizeof(Names[0]));
    const int Required = 14;
    HMODULE Module;
    int Index;

    for (Index = 0; Index < Count; Index++)
        Found.Functions[Index] = NULL;
    *Api = Found.Api;
    Module = LoadLibraryExW(Path ? Path : L"wintun.dll", NULL, WINTUN_LOADER_SEARCH);
    if (!Module)
        return NULL;
    for (Index = 0; Index < Count; Index++) {
        Found.Functions[Index] = GetProcAddress(Module, Names[Index]);
        if (!Found.Functions[Index] && Index < Required) {
            FreeLibrary(Module);
            SetLastError(ERROR_PROC_NOT_FOUND);
            return NULL;
        }
    }
    *Api = Found.Api;
    return Module;
}

#endif
