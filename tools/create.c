/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * wintun create and wintun delete. A value that is wrong is found before anything is created.
 */
#include "tool.h"

#include "pure/address.h"

static bool AddressesParse(const TOOL_OPTIONS *Options, WINTUN_ADDRESS *Addresses)
{
    TOOL_ADDRESS Parsed;

    for (unsigned Index = 0; Index < Options->AddressCount; Index++) {
        if (!AddressParse(Options->Addresses[Index], &Parsed)) {
            FailUsage("--address %ls: an address such as 10.1.2.3/24 or fd00::1/64 is expected",
                      Options->Addresses[Index]);
            return false;
        }
        if (Parsed.IsIpv6 && Options->Mtu && Options->Mtu < 1280) {
            FailUsage("--mtu %llu: IPv6 needs 1280 at least",
                      (unsigned long long)Options->Mtu); /* RFC 8200, section 5 */
            return false;
        }
        Addresses[Index] = (WINTUN_ADDRESS){.Family = Parsed.IsIpv6 ? AF_INET6 : AF_INET,
                                            .PrefixLength = Parsed.PrefixLength};
        memcpy(Addresses[Index].Address, Parsed.Bytes, sizeof(Parsed.Bytes));
    }
    return true;
}

static bool CategoryParse(const wchar_t *Wide, DWORD *Category)
{
    *Category = WINTUN_NETWORK_DEFAULT;
    if (!Wide)
        return true;
    if (WideIs(Wide, "public"))
        *Category = WINTUN_NETWORK_PUBLIC;
    else if (WideIs(Wide, "private"))
        *Category = WINTUN_NETWORK_PRIVATE;
    else
        FailUsage("--category %ls: public or private is expected", Wide);
    return *Category != WINTUN_NETWORK_DEFAULT;
}

/* Everything of WINTUN_ADAPTER_OPTIONS; Guid and Addresses are where it points to. */
static bool WantedParse(const TOOL_OPTIONS *Options, WINTUN_ADAPTER_OPTIONS *Wanted, GUID *Guid,
                        WINTUN_ADDRESS *Addresses)
{
    TOOL_GUID Parsed;

    *Wanted = (WINTUN_ADAPTER_OPTIONS){
        .Size = sizeof(*Wanted),
        .Flags = (Options->Persistent ? WINTUN_ADAPTER_PERSISTENT : 0) |
                 (Options->NoDad ? WINTUN_ADAPTER_NO_DAD : 0),
        .Name = Options->Name,
        .TunnelType = Options->Type ? Options->Type : L"Wintun",
        .RequestedGUID = Options->Guid ? Guid : NULL,
        .SecurityDescriptor = Options->Sddl,
        .Addresses = Options->AddressCount ? Addresses : NULL,
        .AddressCount = (DWORD)Options->AddressCount,
        .Mtu = (DWORD)Options->Mtu,
        .Metric = (DWORD)Options->Metric,
    };
    if (Options->Guid && !GuidParse(Options->Guid, &Parsed)) {
        FailUsage("--guid %ls: a GUID such as {6906e155-afd4-44a9-8d84-2a4a9b955724} is expected",
                  Options->Guid);
        return false;
    }
    if (Options->Guid)
        memcpy(Guid, &Parsed, sizeof(*Guid));
    return CategoryParse(Options->Category, &Wanted->NetworkCategory) &&
           AddressesParse(Options, Addresses);
}

static void CreatedWrite(const TOOL_OPTIONS *Options)
{
    TOOL_JSON Json = {.Out = &ToolOut};
    TOOL_ADAPTER *Adapters = NULL;
    unsigned Count;

    if (!Options->Json) {
        TextPrint(&ToolOut, "The adapter \"%ls\" is ready%s.\n", Options->Name,
                  Options->Persistent ? " and stays"
                  : Options->Seconds  ? ""
                                      : "; Ctrl-C removes it");
    } else if (AdaptersRead(Options->Name, &Adapters, &Count)) {
        AdapterWriteJson(&Json, NULL, &Adapters[0]);
        MemoryFree(Adapters);
    }
    OutputFlush();
}

int RunCreate(const TOOL_OPTIONS *Options)
{
    static WINTUN_ADDRESS Addresses[MAX_ADDRESSES];
    WINTUN_ADAPTER_OPTIONS Wanted;
    GUID Guid;

    if (Options->Persistent && Options->Seconds)
        return FailUsage("--persistent and --seconds exclude each other");
    if (!WantedParse(Options, &Wanted, &Guid, Addresses))
        return ToolUsage;
    if (!LIBRARY_HAS(CreateAdapterEx))
        return ToolFailed;
    WINTUN_ADAPTER_HANDLE Adapter = Wintun.CreateAdapterEx(&Wanted);
    if (!Adapter)
        return FailWintun(GetLastError(), "cannot create the adapter \"%ls\"", Options->Name);
    CreatedWrite(Options);
    if (!Options->Persistent)
        StopWait(Options->Seconds ? (DWORD)Options->Seconds * 1000 : INFINITE);
    Wintun.CloseAdapter(Adapter);
    return ToolDone;
}

/* ---- delete ---- */

/* The running program that has the session, or has created the adapter and would lose it; 0: none
 * has. */
static DWORD DeleteFindUser(const TOOL_ADAPTER *Adapter)
{
    const DWORD Owner = Adapter->HasStatistics ? Adapter->Statistics.OwnerProcessId : 0;
    const DWORD Ignored = WINTUN_INFO_PERSISTENT | WINTUN_INFO_STALE;
    const DWORD Creator = Adapter->Info.Flags & Ignored ? 0 : Adapter->Info.CreatorProcessId;

    if (Owner && ProcessIsRunning(Owner))
        return Owner;
    return Creator && ProcessIsRunning(Creator) ? Creator : 0;
}

int RunDelete(const TOOL_OPTIONS *Options)
{
    TOOL_JSON Json = {.Out = &ToolOut};
    TOOL_ADAPTER *Adapters = NULL;
    unsigned Count;

    if (!LIBRARY_HAS(DeleteAdapter) || !AdaptersRead(Options->Name, &Adapters, &Count))
        return ToolFailed;
    const DWORD User = Options->Force ? 0 : DeleteFindUser(&Adapters[0]);
    MemoryFree(Adapters);
    if (User)
        return FailUsed(Options->Name, User, "end it first, or add --force");
    WINTUN_ADAPTER_HANDLE Adapter = AdapterOpen(Options->Name);
    if (!Adapter)
        return ToolFailed;
    if (!Wintun.DeleteAdapter(Adapter))
        return FailWintun(GetLastError(), "cannot remove the adapter \"%ls\"", Options->Name);
    if (Options->Json) {
        JsonBegin(&Json, NULL, '{');
        JsonWide(&Json, "deleted", Options->Name);
        JsonEnd(&Json, '}');
    } else {
        TextPrint(&ToolOut, "The adapter \"%ls\" is removed.\n", Options->Name);
    }
    return ToolDone;
}
