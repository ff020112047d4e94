/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What WintunCreateAdapterEx sets beyond the device: addresses, MTU and metric of the interface,
 * and the category of its network. Never writes to the registry of TCP/IP.
 */
#include "private.h"

#include <netlistmgr.h>

#define GRACE_MS 2000 /* for a version of IP that nobody needs, and that may not be there */

static const CLSID ClassNetworks = {
    0xdcb00c01, 0x570f, 0x4a9b, {0x8d, 0x69, 0x19, 0x9f, 0xdb, 0xa5, 0x72, 0x3b}};
static const IID InterfaceNetworks = {
    0xdcb00000, 0x570f, 0x4a9b, {0x8d, 0x69, 0x19, 0x9f, 0xdb, 0xa5, 0x72, 0x3b}};

/* ---- Addresses, MTU, metric ---- */

static void WINAPI InterfaceChanged(PVOID Context, PMIB_IPINTERFACE_ROW Row,
                                    MIB_NOTIFICATION_TYPE Type)
{
    SetEvent(Context);
}

static DWORD RowGet(const CONNECTION *Interface, ADDRESS_FAMILY Family, MIB_IPINTERFACE_ROW *Row)
{
    System.InitializeIpInterfaceEntry(Row);
    Row->Family = Family;
    Row->InterfaceLuid = Interface->Luid;
    return System.GetIpInterfaceEntry(Row);
}

/*
 * TCP/IP attaches to an interface some time after it has come up; until then there is no row.
 * ERROR_TIMEOUT when there is none by the deadline. Quiet: no Fail.
 */
static DWORD RowWait(const CONNECTION *Interface, ADDRESS_FAMILY Family, ULONGLONG Deadline,
                     MIB_IPINTERFACE_ROW *Row)
{
    HANDLE Notification = NULL;

    DWORD Error = RowGet(Interface, Family, Row);
    if (Error != ERROR_NOT_FOUND && Error != ERROR_FILE_NOT_FOUND)
        return Error;
    HANDLE Event = CreateEventW(NULL, FALSE, FALSE, NULL);
    if (!Event)
        return GetLastError();
    /* Without it the wait is a little longer, and that is all. */
    if (System.NotifyIpInterfaceChange(Family, InterfaceChanged, Event, FALSE, &Notification))
        Notification = NULL;
    for (;;) {
        Error = RowGet(Interface, Family, Row);
        if (Error != ERROR_NOT_FOUND && Error != ERROR_FILE_NOT_FOUND)
            break;
        if (GetTickCount64() >= Deadline) {
            Error = ERROR_TIMEOUT;
            break;
        }
        PollWait(Event, POLL_MS);
    }
    if (Notification)
        System.CancelMibChangeNotify2(Notification); /* waits: its page warns of the deadlock */
    CloseHandle(Event);
    return Error;
}

/* Until when to wait for what need not come. */
static ULONGLONG Grace(ULONGLONG Deadline)
{
    const ULONGLONG Soon = DeadlineAfter(GRACE_MS);

    return Soon < Deadline ? Soon : Deadline;
}

static BOOL FamilyIsNeeded(const WINTUN_ADAPTER_OPTIONS *Options, ADDRESS_FAMILY Family)
{
    for (DWORD Index = 0; Index < Options->AddressCount; Index++)
        if (Options->Addresses[Index].Family == Family)
            return TRUE;
    return FALSE;
}

static DWORD AddressAdd(const CONNECTION *Interface, const WINTUN_ADDRESS *Address, BOOL NoDad)
{
    MIB_UNICASTIPADDRESS_ROW Row;

    System.InitializeUnicastIpAddressEntry(&Row);
    Row.InterfaceLuid = Interface->Luid;
    Row.OnLinkPrefixLength = Address->PrefixLength;
    Row.Address.si_family = Address->Family;
    if (Address->Family == AF_INET)
        memcpy(&Row.Address.Ipv4.sin_addr, Address->Address, 4);
    else
        memcpy(&Row.Address.Ipv6.sin6_addr, Address->Address, 16);
    if (NoDad)
        Row.DadState = IpDadStatePreferred; /* not looked at before Windows 10 (its page) */
    DWORD Error = System.CreateUnicastIpAddressEntry(&Row);
    if (Error == ERROR_OBJECT_ALREADY_EXISTS) /* somebody has given it to the GUID for good */
        Error = System.SetUnicastIpAddressEntry(&Row);
    return !Error ? ERROR_SUCCESS : Fail(Error, L"Adding an address", Interface->Id);
}

/* nf-netioapi-setipinterfaceentry: the row as it was read, SitePrefixLength zero for IPv4. */
static DWORD FamilySet(const CONNECTION *Interface, const WINTUN_ADAPTER_OPTIONS *Options,
                       MIB_IPINTERFACE_ROW *Row)
{
    BOOL IsChanged = FALSE;

    if (Row->Family == AF_INET)
        Row->SitePrefixLength = 0;
    if (Options->Mtu && (Row->Family == AF_INET || Options->Mtu >= 1280)) {
        Row->NlMtu = Options->Mtu;
        IsChanged = TRUE;
    }
    if (Options->Metric) {
        Row->UseAutomaticMetric = FALSE;
        Row->Metric = Options->Metric;
        IsChanged = TRUE;
    }
    if (Options->Flags & WINTUN_ADAPTER_NO_DAD) {
        Row->DadTransmits = 0;
        IsChanged = TRUE;
    }
    const DWORD Error = IsChanged ? System.SetIpInterfaceEntry(Row) : ERROR_SUCCESS;
    return Error ? Fail(Error, L"Setting MTU or metric", Interface->Id) : ERROR_SUCCESS;
}

/* *IsThere: this version of IP is; when not, that is the failure. */
static DWORD FamilyConfigure(const CONNECTION *Interface, const WINTUN_ADAPTER_OPTIONS *Options,
                             ADDRESS_FAMILY Family, ULONGLONG Deadline, BOOL *IsThere)
{
    MIB_IPINTERFACE_ROW Row;

    DWORD Error = RowWait(Interface, Family, Deadline, &Row);
    *IsThere = !Error;
    if (Error)
        return Fail(Error, Family == AF_INET ? L"Waiting for IPv4" : L"Waiting for IPv6",
                    Interface->Id);
    Error = FamilySet(Interface, Options, &Row);
    for (DWORD Index = 0; Index < Options->AddressCount && !Error; Index++)
        if (Options->Addresses[Index].Family == Family)
            Error = AddressAdd(Interface, &Options->Addresses[Index],
                               (Options->Flags & WINTUN_ADAPTER_NO_DAD) != 0);
    return Error;
}

/*
 * A version of IP that has an address to take must come. Without addresses one of the two must:
 * that IPv4 is late is no sign that it will not come, while IPv6 may well be turned off.
 */
DWORD NetworkConfigure(const CONNECTION *Interface, const WINTUN_ADAPTER_OPTIONS *Options,
                       ULONGLONG Deadline)
{
    const BOOL Needs4 = FamilyIsNeeded(Options, AF_INET),
               Needs6 = FamilyIsNeeded(Options, AF_INET6);
    BOOL Has4, Has6;

    DWORD Error = SystemNeed(Module_iphlpapi);
    if (Error)
        return Error;
    Error = FamilyConfigure(Interface, Options, AF_INET,
                            Needs6 && !Needs4 ? Grace(Deadline) : Deadline, &Has4);
    if (Error && (Has4 || Needs4))
        return Error;
    Warn(Error);
    Error = FamilyConfigure(Interface, Options, AF_INET6,
                            Needs6 || !Has4 ? Deadline : Grace(Deadline), &Has6);
    if (Error && (Has6 || Needs6 || !Has4))
        return Error;
    Warn(Error);
    return ERROR_SUCCESS;
}

/* ---- COM on a thread of our own ---- */

COM_JOB *ComCreate(COM_WORK *Work)
{
    COM_JOB *Job = MemoryAllocate(sizeof(*Job));

    if (Job) {
        Job->References = 1;
        Job->Work = Work;
    }
    return Job;
}

void ComRelease(COM_JOB *Job)
{
    if (InterlockedDecrement(&Job->References) == 0)
        MemoryFree(Job);
}

BOOL ComProxy(IUnknown *Object)
{
    return SUCCEEDED(System.CoSetProxyBlanket(Object, RPC_C_AUTHN_DEFAULT, RPC_C_AUTHZ_DEFAULT,
                                              NULL, RPC_C_AUTHN_LEVEL_CALL,
                                              RPC_C_IMP_LEVEL_IMPERSONATE, NULL, EOAC_NONE));
}

/* Leaves with the reference to the module that it holds, so that unloading cannot overtake it. */
static DWORD WINAPI ComThread(LPVOID Context)
{
    COM_JOB *Job = Context;
    HMODULE Held = Job->Module;

    const HRESULT Result = System.CoInitializeEx(NULL, COINIT_MULTITHREADED);
    if (SUCCEEDED(Result)) {
        Job->Result = Job->Work(Job);
        System.CoUninitialize();
    } else {
        Job->Result = ErrorFromResult(Result);
    }
    ComRelease(Job);
    FreeLibraryAndExitThread(Held, 0);
    return 0;
}

DWORD ComRun(COM_JOB *Job, DWORD TimeoutMs)
{
    if (!GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, (LPCWSTR)(ULONG_PTR)ComThread,
                            &Job->Module))
        return GetLastError();
    InterlockedIncrement(&Job->References);
    HANDLE Thread = CreateThread(NULL, 0, ComThread, Job, 0, NULL);
    if (!Thread) {
        const DWORD Error = GetLastError();
        FreeLibrary(Job->Module);
        ComRelease(Job);
        return Error;
    }
    const DWORD Waited = WaitForSingleObject(Thread, TimeoutMs);
    const DWORD Error = Waited == WAIT_FAILED ? GetLastError() : ERROR_TIMEOUT;
    CloseHandle(Thread);
    return Waited == WAIT_OBJECT_0 ? Job->Result : Error;
}

/* ---- The category of the network ---- */

/* S_FALSE: it is not the adapter's. */
static HRESULT ConnectionCategorize(INetworkConnection *Connection, const COM_JOB *Job)
{
    INetwork *Network = NULL;
    GUID Adapter;

    /* One that has just gone cannot say whose it was; ours is looked for again. */
    if (FAILED(INetworkConnection_GetAdapterId(Connection, &Adapter)) ||
        memcmp(&Adapter, &Job->Guid, sizeof(Adapter)) != 0)
        return S_FALSE;
    HRESULT Result = INetworkConnection_GetNetwork(Connection, &Network);
    if (FAILED(Result))
        return Result;
    Result = INetwork_SetCategory(Network, Job->Category == WINTUN_NETWORK_PRIVATE
                                               ? NLM_NETWORK_CATEGORY_PRIVATE
                                               : NLM_NETWORK_CATEGORY_PUBLIC);
    INetwork_Release(Network);
    return SUCCEEDED(Result) ? S_OK : Result;
}

/* S_FALSE: Windows has not recognised a network on the adapter yet. */
static HRESULT NetworksCategorize(INetworkListManager *Manager, const COM_JOB *Job)
{
    IEnumNetworkConnections *Connections = NULL;
    INetworkConnection *Connection;
    ULONG Fetched;

    HRESULT Result = INetworkListManager_GetNetworkConnections(Manager, &Connections);
    if (FAILED(Result))
        return Result;
    Result = S_FALSE;
    while (Result == S_FALSE &&
           IEnumNetworkConnections_Next(Connections, 1, &Connection, &Fetched) == S_OK) {
        Result = ConnectionCategorize(Connection, Job);
        INetworkConnection_Release(Connection);
    }
    IEnumNetworkConnections_Release(Connections);
    return Result;
}

static DWORD CategoryWork(COM_JOB *Job)
{
    INetworkListManager *Manager = NULL;

    HRESULT Result = System.CoCreateInstance(&ClassNetworks, NULL, CLSCTX_ALL, &InterfaceNetworks,
                                             (void **)&Manager);
    if (Result == REGDB_E_CLASSNOTREG || Result == E_NOINTERFACE)
        return ERROR_NOT_SUPPORTED; /* no network list on this Windows */
    if (FAILED(Result))
        return ErrorFromResult(Result); /* such as a service that is not ready */
    for (;;) {
        Result = NetworksCategorize(Manager, Job);
        if (Result != S_FALSE || GetTickCount64() >= Job->Deadline)
            break;
        Sleep(POLL_MS);
    }
    INetworkListManager_Release(Manager);
    if (Result == S_FALSE)
        return ERROR_TIMEOUT;
    return FAILED(Result) ? ErrorFromResult(Result) : ERROR_SUCCESS;
}

/* A network is there only while the link is up, that is while there is a session: ours, for now. */
DWORD NetworkCategorize(WINTUN_ADAPTER_HANDLE Adapter, DWORD Category)
{
    WINTUN_SESSION_HANDLE Session;

    DWORD Error = SystemNeed(Module_ole32);
    if (!Error)
        Error = SessionStart(Adapter, WINTUN_MIN_RING_CAPACITY, &Session);
    if (Error)
        return Error;
    COM_JOB *Job = ComCreate(CategoryWork);
    if (Job) {
        Job->Guid = Adapter->Interface.Guid;
        Job->Category = Category;
        Job->Deadline = DeadlineAfter(NETWORK_TIMEOUT_MS);
        Error =
            ComRun(Job, NETWORK_TIMEOUT_MS + COM_TIMEOUT_MS); /* more: only if a service hangs */
        ComRelease(Job);
    } else {
        Error = ERROR_NOT_ENOUGH_MEMORY;
    }
    WintunEndSession(Session);
    return Error ? Fail(Error, L"Setting the category of the network", Adapter->Interface.Id)
                 : ERROR_SUCCESS;
}
