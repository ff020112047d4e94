/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What Windows calls a connection. There are two ways to rename one: a function of the network's
 * class installer, which is quick and not documented, when this Windows has it; else
 * INetConnection::Rename. Names that differ in case only are the same to Windows.
 */
#include "private.h"

#include <netcon.h>

#define SUFFIX_LAST 1000 /* "Name 1" to "Name 1000" */

/* netcon.h declares these without their values */
static const CLSID ClassConnections = {
    0xba126ad1, 0x2166, 0x11d1, {0xb1, 0xd0, 0x00, 0x80, 0x5f, 0xc1, 0x27, 0x0e}};
static const IID InterfaceConnections = {
    0xc08956a2, 0x1cd3, 0x11d1, {0xb1, 0xc5, 0x00, 0x80, 0x5f, 0xc1, 0x27, 0x0e}};

/* ---- The documented way, on a thread of its own ---- */

static BOOL ConnectionIs(INetConnection *Connection, const GUID *Guid)
{
    NETCON_PROPERTIES *Properties = NULL;

    if (FAILED(INetConnection_GetProperties(Connection, &Properties)) || !Properties)
        return FALSE;
    const BOOL IsIt = memcmp(&Properties->guidId, Guid, sizeof(*Guid)) == 0;
    System.CoTaskMemFree(Properties->pszwName);
    System.CoTaskMemFree(Properties->pszwDeviceName);
    System.CoTaskMemFree(Properties);
    return IsIt;
}

static HRESULT ConnectionRename(INetConnectionManager *Manager, const COM_JOB *Job)
{
    IEnumNetConnection *Connections = NULL;
    INetConnection *Connection;
    ULONG Fetched;

    HRESULT Result = INetConnectionManager_EnumConnections(Manager, NCME_DEFAULT, &Connections);
    if (FAILED(Result))
        return Result;
    ComProxy((IUnknown *)Connections);
    Result = HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    while (Result == HRESULT_FROM_WIN32(ERROR_NOT_FOUND) &&
           IEnumNetConnection_Next(Connections, 1, &Connection, &Fetched) == S_OK) {
        ComProxy((IUnknown *)Connection);
        if (ConnectionIs(Connection, &Job->Guid))
            Result = INetConnection_Rename(Connection, Job->Name);
        INetConnection_Release(Connection);
    }
    IEnumNetConnection_Release(Connections);
    return Result;
}

static DWORD RenameWork(COM_JOB *Job)
{
    INetConnectionManager *Manager = NULL;

    HRESULT Result = System.CoCreateInstance(&ClassConnections, NULL,
                                             CLSCTX_LOCAL_SERVER | CLSCTX_NO_CODE_DOWNLOAD,
                                             &InterfaceConnections, (void **)&Manager);
    if (SUCCEEDED(Result)) {
        ComProxy((IUnknown *)Manager);
        Result = ConnectionRename(Manager, Job);
        INetConnectionManager_Release(Manager);
    }
    return SUCCEEDED(Result) ? ERROR_SUCCESS : ErrorFromResult(Result);
}

static DWORD RenameByService(const GUID *Guid, LPCWSTR Name)
{
    DWORD Error = SystemNeed(Module_ole32);
    if (Error)
        return Error;
    COM_JOB *Job = ComCreate(RenameWork);
    if (!Job)
        return ERROR_NOT_ENOUGH_MEMORY;
    Job->Guid = *Guid;
    if (StringCopy(Job->Name, sizeof(Job->Name) / sizeof(*Job->Name), Name))
        Error = ComRun(Job, COM_TIMEOUT_MS);
    else
        Error = ERROR_BUFFER_OVERFLOW;
    ComRelease(Job);
    return Error;
}

/* ERROR_DUP_NAME: another connection has the name. Quiet: no Fail. */
static DWORD Rename(const GUID *Guid, LPCWSTR Name)
{
    DWORD Error = SystemNeed(Module_nci);

    if (Error)
        return Error;
    Error = System.NciSetConnectionName ? System.NciSetConnectionName(Guid, Name)
                                        : ERROR_PROC_NOT_FOUND;
    if (Error && Error != ERROR_DUP_NAME)
        Error = RenameByService(Guid, Name);
    return Error == ERROR_ALREADY_EXISTS || Error == ERROR_FILE_EXISTS ? ERROR_DUP_NAME : Error;
}

/* The first of "Name 1" and so on that is free. */
static DWORD RenameWithSuffix(const GUID *Guid, LPCWSTR Name)
{
    WCHAR Numbered[NAME_CHARACTERS + 8];
    DWORD Error = ERROR_DUP_NAME;

    for (DWORD Suffix = 1; Suffix <= SUFFIX_LAST && Error == ERROR_DUP_NAME; Suffix++) {
        StringCopy(Numbered, NAME_CHARACTERS + 8, Name);
        StringAppend(Numbered, NAME_CHARACTERS + 8, L" ");
        StringNumber(Numbered + StringLength(Numbered), Suffix, 10, 1);
        Error = Rename(Guid, Numbered);
        if (!Error)
            Inform(L"Connection renamed", Numbered);
    }
    return Error;
}

/* ---- Who has the name ---- */

/* An adapter of ours that no running process owns: it may be renamed for a new one. */
static BOOL HolderIsIdle(const GUID *Guid)
{
    CONNECTION Interface;
    BOOL IsIdle = FALSE;
    DEVICE Device;
    WCHAR *List;

    if (DeviceList(&List))
        return FALSE;
    for (LPCWSTR Id = List; *Id && !IsIdle; Id += StringLength(Id) + 1)
        IsIdle = !DeviceRead(Id, &Device) && Device.IsOurs && !Device.IsCreatorAlive &&
                 !DeviceReadInterface(Device.Instance, &Interface) &&
                 memcmp(&Interface.Guid, Guid, sizeof(*Guid)) == 0;
    MemoryFree(List);
    return IsIdle;
}

/* Renames who has the name, if that is allowed. FALSE: the name is still taken. */
static BOOL HolderMoves(LPCWSTR Name)
{
    NET_LUID Luid;
    GUID Guid;

    if (SystemNeed(Module_iphlpapi) || System.ConvertInterfaceAliasToLuid(Name, &Luid) ||
        System.ConvertInterfaceLuidToGuid(&Luid, &Guid) || !HolderIsIdle(&Guid))
        return FALSE;
    return !RenameWithSuffix(&Guid, Name);
}

/* ERROR_DUP_NAME is the only failure; without a way to rename the connection stays as it is. */
DWORD ConnectionName(const CONNECTION *Interface, LPCWSTR Name)
{
    DWORD Error = Rename(&Interface->Guid, Name);

    if (Error == ERROR_DUP_NAME && HolderMoves(Name))
        Error = Rename(&Interface->Guid, Name);
    if (Error == ERROR_DUP_NAME)
        Error = RenameWithSuffix(&Interface->Guid, Name);
    if (!Error)
        return ERROR_SUCCESS;
    Fail(Error, L"Naming the connection", Name);
    if (Error == ERROR_DUP_NAME)
        return Error;
    Warn(Error);
    return ERROR_SUCCESS;
}
