/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Adapters, from their creation to their removal. Whatever creates or removes holds the lock of
 * LOCK_DEVICES, opening and listing take none and need no privilege. An adapter that could not be
 * made in full is removed before the function returns.
 */
#include "private.h"

#define DESCRIPTION_CHARACTERS (NAME_CHARACTERS + 8) /* with " Tunnel" */
#define OPTIONS_MAXIMUM        4096 /* no version of the structure will be larger: not a size */

static DWORD Invalid(LPCWSTR What)
{
    return Fail(ERROR_INVALID_PARAMETER, L"Checking what was asked for", What);
}

static DWORD NameCheck(LPCWSTR Name, LPCWSTR What, LPCWSTR Forbidden)
{
    if (!Name || !*Name)
        return Invalid(What);
    for (DWORD Index = 0; Name[Index]; Index++) {
        if (Index == NAME_CHARACTERS - 1)
            return Fail(ERROR_BUFFER_OVERFLOW, L"Checking what was asked for", What);
        for (LPCWSTR Character = Forbidden; *Character; Character++)
            if (*Character == Name[Index])
                return Invalid(What);
    }
    return ERROR_SUCCESS;
}

static DWORD AdapterNameCheck(LPCWSTR Name)
{
    return NameCheck(Name, L"Name", L"\\/:*?\"<>|");
}

/* ---- Opening ---- */

/* Of several of one name: whose creator lives, else a persistent one, else any. */
static DWORD AdapterRank(const DEVICE *Device)
{
    if (Device->IsCreatorAlive)
        return 3;
    return Device->IsPersistent ? 2 : 1;
}

/* A device that cannot be read stands in nobody's way, but when there is no other of the name it
 * may be the one. */
static DWORD AdapterFind(LPCWSTR Name, WCHAR *InstanceId)
{
    DWORD Best = 0, First = ERROR_SUCCESS;
    WCHAR *List;
    DEVICE Device;

    DWORD Error = DeviceList(&List);
    if (Error)
        return Error;
    for (LPCWSTR Id = List; *Id; Id += StringLength(Id) + 1) {
        Error = DeviceRead(Id, &Device);
        FailureFirst(&First, Error);
        if (!Error && Device.IsOurs && Device.IsPresent && StringEqual(Device.Name, Name) &&
            AdapterRank(&Device) > Best) {
            Best = AdapterRank(&Device);
            StringCopy(InstanceId, MAX_DEVICE_ID_LEN, Id);
        }
    }
    MemoryFree(List);
    Error = FailureDone(First);
    if (Best) {
        Warn(Error);
        return ERROR_SUCCESS;
    }
    return Error ? Error : Fail(ERROR_NOT_FOUND, L"Looking for the adapter", Name);
}

static DWORD AdapterOpen(LPCWSTR Name, WINTUN_ADAPTER_HANDLE *Result)
{
    DEVICE Device;

    DWORD Error = AdapterNameCheck(Name);
    if (!Error)
        Error = DeviceLoad();
    if (Error)
        return Error;
    WINTUN_ADAPTER_HANDLE Adapter = MemoryAllocate(sizeof(*Adapter));
    if (!Adapter)
        return FailMemory();
    Error = AdapterFind(Name, Adapter->InstanceId);
    if (!Error)
        Error = DeviceWaitReady(Adapter->InstanceId, DeadlineAfter(READY_TIMEOUT_MS),
                                &Adapter->Interface);
    if (!Error)
        Error = DeviceRead(Adapter->InstanceId, &Device);
    if (Error) {
        MemoryFree(Adapter);
        return Error;
    }
    Adapter->IsPersistent = Device.IsPersistent;
    *Result = Adapter;
    return ERROR_SUCCESS;
}

WINTUN_ADAPTER_HANDLE WINAPI WintunOpenAdapter(LPCWSTR Name)
{
    WINTUN_ADAPTER_HANDLE Adapter = NULL;

    Report(AdapterOpen(Name, &Adapter));
    return Adapter;
}

/* ---- Creating ---- */

static BOOL IsZero(const BYTE *Bytes, DWORD Count)
{
    for (DWORD Index = 0; Index < Count; Index++)
        if (Bytes[Index])
            return FALSE;
    return TRUE;
}

static DWORD AddressCheck(const WINTUN_ADDRESS *Address, DWORD Mtu)
{
    const BOOL IsIp4 = Address->Family == AF_INET;

    if (Address->Reserved || (!IsIp4 && Address->Family != AF_INET6))
        return Invalid(L"Addresses");
    if (Address->PrefixLength > (IsIp4 ? 32 : 128))
        return Invalid(L"PrefixLength");
    if (IsIp4 && !IsZero(Address->Address + 4, 12))
        return Invalid(L"Addresses");
    if (!IsIp4 && Mtu && Mtu < 1280)
        return Invalid(L"Mtu");
    return ERROR_SUCCESS;
}

static DWORD OptionsCheck(const WINTUN_ADAPTER_OPTIONS *Options)
{
    if (!Options || Options->Size < sizeof(*Options) || Options->Size > OPTIONS_MAXIMUM)
        return Invalid(L"Size");
    if (!IsZero((const BYTE *)(Options + 1), Options->Size - sizeof(*Options)) || Options->Reserved)
        return Invalid(L"a field that this version does not know");
    if (Options->Flags & ~(DWORD)(WINTUN_ADAPTER_PERSISTENT | WINTUN_ADAPTER_NO_DAD))
        return Invalid(L"Flags");
    if (Options->NetworkCategory > WINTUN_NETWORK_PRIVATE)
        return Invalid(L"NetworkCategory");
    if (Options->Mtu && (Options->Mtu < 576 || Options->Mtu > WINTUN_MAX_PACKET))
        return Invalid(L"Mtu");
    if (Options->Metric > 9999)
        return Invalid(L"Metric");
    if (Options->TimeoutMs > READY_MAXIMUM_MS)
        return Invalid(L"TimeoutMs");
    if (Options->AddressCount > 64 || (Options->AddressCount && !Options->Addresses))
        return Invalid(L"AddressCount");
    for (DWORD Index = 0; Index < Options->AddressCount; Index++) {
        const DWORD Error = AddressCheck(&Options->Addresses[Index], Options->Mtu);
        if (Error)
            return Error;
    }
    const DWORD Error = AdapterNameCheck(Options->Name);
    return Error ? Error : NameCheck(Options->TunnelType, L"TunnelType", L"");
}

/*
 * Generic rights mean something only once they are mapped. Windows does that when it puts a
 * descriptor on an object of its own; the page of SeAccessCheck, which the driver calls with this
 * one, does not say that it does. The mask follows the header in every kind of entry.
 */
static void AclMap(ACL *Acl)
{
    static const DWORD Generic[] = {GENERIC_READ, GENERIC_WRITE, GENERIC_EXECUTE, GENERIC_ALL};
    static const DWORD Specific[] = {FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_GENERIC_EXECUTE,
                                     FILE_ALL_ACCESS};
    ACE_HEADER *Entry = (ACE_HEADER *)(Acl + 1);

    for (DWORD Index = 0; Index < Acl->AceCount; Index++) {
        DWORD *Mask = (DWORD *)(Entry + 1);
        for (DWORD Right = 0; Right < 4; Right++)
            if (*Mask & Generic[Right])
                *Mask = (*Mask & ~Generic[Right]) | Specific[Right];
        Entry = (ACE_HEADER *)((BYTE *)Entry + Entry->AceSize);
    }
}

/* What the driver would not take it must not be given: it would fall back to the default. */
static DWORD SecurityMake(LPCWSTR Text, DEVICE_OPTIONS *Options)
{
    PSECURITY_DESCRIPTOR Security = NULL;
    BOOL IsPresent = FALSE, IsDefault;
    PACL Dacl = NULL;
    PSID Owner = NULL;

    if (!Text)
        return ERROR_SUCCESS;
    if (!System.ConvertStringSecurityDescriptorToSecurityDescriptorW(
            Text, SDDL_REVISION_1, &Security, &Options->SecurityBytes)) {
        const DWORD Error = GetLastError();
        return Fail(Error == ERROR_NOT_ENOUGH_MEMORY ? Error : ERROR_INVALID_SECURITY_DESCR,
                    L"Reading the security descriptor", Text);
    }
    Options->Security = Security;
    if (System.GetSecurityDescriptorOwner(Security, &Owner, &IsDefault) && Owner &&
        System.GetSecurityDescriptorDacl(Security, &IsPresent, &Dacl, &IsDefault) && IsPresent &&
        Dacl) {
        AclMap(Dacl);
        return ERROR_SUCCESS;
    }
    return Fail(ERROR_INVALID_SECURITY_DESCR, L"Looking for owner and DACL", Text);
}

static DWORD GuidRandom(GUID *Guid)
{
    const DWORD Error = RandomBytes(Guid, sizeof(*Guid));

    Guid->Data3 = (WORD)((Guid->Data3 & 0x0FFF) | 0x4000); /* version and variant of RFC 4122 */
    Guid->Data4[0] = (BYTE)((Guid->Data4[0] & 0x3F) | 0x80);
    return Error;
}

/* Removes what our creators that have gone have left of this name; refuses a second persistent one,
 * and does not let what cannot be read prevent anything else. */
static DWORD NameClear(const WINTUN_ADAPTER_OPTIONS *Options)
{
    WCHAR *List;
    DEVICE Device;

    DWORD Error = DeviceList(&List);
    if (Error)
        return Error;
    for (LPCWSTR Id = List; *Id && !Error; Id += StringLength(Id) + 1) {
        Error = DeviceRead(Id, &Device);
        if (Error && !(Options->Flags & WINTUN_ADAPTER_PERSISTENT)) {
            Warn(Error);
            Error = ERROR_SUCCESS;
            continue;
        }
        if (Error || !Device.IsOurs || !StringEqual(Device.Name, Options->Name))
            continue;
        if (DeviceIsStale(&Device)) {
            Inform(L"Removing what a program has left", Id);
            Warn(DeviceTakeAway(&Device));
        } else if (Device.IsPersistent && Options->Flags & WINTUN_ADAPTER_PERSISTENT) {
            Error = Fail(ERROR_ALREADY_EXISTS, L"Looking for a persistent adapter", Options->Name);
        }
    }
    MemoryFree(List);
    return Error;
}

/*
 * The GUID that was asked for, when the instance ID that it makes is free or can be freed. *Wish:
 * that GUID, or NULL.
 */
static DWORD GuidChoose(const GUID *Requested, GUID *Guid, const GUID **Wish)
{
    WCHAR InstanceId[MAX_DEVICE_ID_LEN] = BRAND_INSTANCES L"\\";
    DEVICE Device;

    *Wish = NULL;
    if (!Requested)
        return GuidRandom(Guid);
    GuidFormat(Requested, InstanceId + StringLength(InstanceId));
    const DWORD Error = DeviceRead(InstanceId, &Device);
    if (Error) { /* it is only a wish */
        Warn(Error);
        return GuidRandom(Guid);
    }
    if (DeviceIsStale(&Device)) {
        Inform(L"Removing what a program has left", InstanceId);
        const DWORD Removed = DeviceTakeAway(&Device);
        Warn(Removed);
        if (!Removed)
            Device.Instance = 0;
    }
    if (Device.Instance) {
        Inform(L"The GUID is taken, so Windows will choose another", InstanceId);
        return GuidRandom(Guid);
    }
    *Guid = *Requested;
    *Wish = Requested;
    return ERROR_SUCCESS;
}

/* A driver of version 0.14 has no device of its own and keeps to the default, which would go
 * unnoticed. Whether the descriptor admits this program is another matter. */
static DWORD SecurityExpect(const CONNECTION *Interface)
{
    HANDLE Device;

    const DWORD Error = AdapterOpenDevice(Interface, GENERIC_READ, &Device);
    if (!Error)
        CloseHandle(Device);
    if (Error == ERROR_FILE_NOT_FOUND || Error == ERROR_PATH_NOT_FOUND)
        return Fail(ERROR_NOT_SUPPORTED, L"Giving the driver that is running a security descriptor",
                    Interface->Id);
    return ERROR_SUCCESS;
}

/* With the lock: nobody else may look for a name, or for what to clean up, meanwhile. */
static DWORD AdapterMakeLocked(WINTUN_ADAPTER_HANDLE Adapter, const WINTUN_ADAPTER_OPTIONS *Options,
                               DEVICE_OPTIONS *Made, ULONGLONG *Deadline)
{
    const DWORD Timeout = Options->TimeoutMs ? Options->TimeoutMs : READY_TIMEOUT_MS;
    GUID Guid;

    DWORD Error = NameClear(Options);
    if (!Error)
        Error = DriverInstall();
    if (!Error)
        Error = GuidChoose(Options->RequestedGUID, &Guid, &Made->SuggestedGuid);
    if (Error)
        return Error;
    GuidFormat(&Guid, Made->Id);
    *Deadline = DeadlineAfter(Timeout);
    Error = DeviceCreate(Made, *Deadline, &Adapter->Device, Adapter->InstanceId);
    if (Error)
        return Error;
    Error = DeviceWaitReady(Adapter->InstanceId, *Deadline, &Adapter->Interface);
    if (Error)
        return Error;
    if (Options->RequestedGUID &&
        memcmp(Options->RequestedGUID, &Adapter->Interface.Guid, sizeof(GUID)) != 0)
        Inform(L"Windows has chosen another GUID", Adapter->Interface.Id);
    if (Made->Security)
        Error = SecurityExpect(&Adapter->Interface);
    return Error ? Error : ConnectionName(&Adapter->Interface, Options->Name);
}

/*
 * Without the lock: this may take long, and the device is nobody else's, since its creator lives.
 * Persistence comes last: until then a crash takes the device with it.
 */
static DWORD AdapterConfigure(WINTUN_ADAPTER_HANDLE Adapter, const WINTUN_ADAPTER_OPTIONS *Options,
                              ULONGLONG Deadline)
{
    DWORD Error = NetworkConfigure(&Adapter->Interface, Options, Deadline);

    if (!Error && Options->NetworkCategory)
        Error = NetworkCategorize(Adapter, Options->NetworkCategory);
    if (!Error && Adapter->IsPersistent)
        Error = DevicePersist(Adapter->Device, TRUE, Adapter->InstanceId);
    return Error;
}

/* The device goes in any case: who cannot have the lock removes it without. */
static DWORD AdapterRemoveOwn(WINTUN_ADAPTER_HANDLE Adapter)
{
    HANDLE Lock = NULL;

    Warn(LockTake(LOCK_DEVICES, &Lock));
    if (Adapter->IsPersistent)
        Warn(DevicePersist(Adapter->Device, FALSE, Adapter->InstanceId));
    const DWORD Error = DeviceRemove(Adapter->Device, Adapter->InstanceId);
    LockRelease(Lock);
    return Error;
}

/* All that needs a device; whatever is left of one after a failure goes. */
static DWORD AdapterBuild(WINTUN_ADAPTER_HANDLE Adapter, const WINTUN_ADAPTER_OPTIONS *Options,
                          DEVICE_OPTIONS *Made, BOOL IsPlain)
{
    ULONGLONG Deadline = 0;
    HANDLE Lock;

    DWORD Error = LockTake(LOCK_DEVICES, &Lock);
    if (Error)
        return Error;
    Error = AdapterMakeLocked(Adapter, Options, Made, &Deadline);
    if (Error && Adapter->Device) {
        FailureKeep(TRUE);
        Warn(DeviceRemove(Adapter->Device, Adapter->InstanceId));
        FailureKeep(FALSE);
    }
    LockRelease(Lock);
    if (!Error && !IsPlain) {
        Error = AdapterConfigure(Adapter, Options, Deadline);
        if (Error) {
            FailureKeep(TRUE);
            Warn(AdapterRemoveOwn(Adapter));
            FailureKeep(FALSE);
        }
    }
    if (!Error)
        Inform(L"Adapter created", Adapter->InstanceId);
    return Error;
}

static DWORD AdapterMake(WINTUN_ADAPTER_HANDLE Adapter, const WINTUN_ADAPTER_OPTIONS *Options,
                         BOOL IsPlain)
{
    WCHAR Description[DESCRIPTION_CHARACTERS];
    DEVICE_OPTIONS Made = {
        .Name = Options->Name, .Description = Description, .IsPersistent = Adapter->IsPersistent};

    StringCopy(Description, DESCRIPTION_CHARACTERS, Options->TunnelType);
    StringAppend(Description, DESCRIPTION_CHARACTERS, L" Tunnel");
    DWORD Error = DeviceLoad();
    if (!Error) /* for its removal, which must not fail for want of a library */
        Error = SystemNeed(Module_setupapi | Module_newdev);
    if (!Error && Adapter->IsPersistent && !System.SwDeviceSetLifetime)
        Error = Fail(ERROR_OLD_WIN_VERSION, L"Making a device persistent", Options->Name);
    if (!Error)
        Error = SecurityMake(Options->SecurityDescriptor, &Made);
    if (!Error)
        Error = AdapterBuild(Adapter, Options, &Made, IsPlain);
    if (Made.Security)
        LocalFree(Made.Security);
    return Error;
}

static DWORD AdapterCreate(const WINTUN_ADAPTER_OPTIONS *Options, BOOL IsPlain,
                           WINTUN_ADAPTER_HANDLE *Result)
{
    DWORD Error = OptionsCheck(Options);

    if (Error)
        return Error;
    WINTUN_ADAPTER_HANDLE Adapter = MemoryAllocate(sizeof(*Adapter));
    if (!Adapter)
        return FailMemory();
    Adapter->IsPersistent = (Options->Flags & WINTUN_ADAPTER_PERSISTENT) != 0;
    Error = AdapterMake(Adapter, Options, IsPlain);
    if (Error) {
        MemoryFree(Adapter);
        return Error;
    }
    *Result = Adapter;
    return ERROR_SUCCESS;
}

WINTUN_ADAPTER_HANDLE WINAPI WintunCreateAdapter(LPCWSTR Name, LPCWSTR TunnelType,
                                                 const GUID *RequestedGUID)
{
    const WINTUN_ADAPTER_OPTIONS Options = {.Size = sizeof(Options),
                                            .Name = Name,
                                            .TunnelType = TunnelType,
                                            .RequestedGUID = RequestedGUID};
    WINTUN_ADAPTER_HANDLE Adapter = NULL;

    Report(AdapterCreate(&Options, TRUE, &Adapter));
    return Adapter;
}

WINTUN_ADAPTER_HANDLE WINAPI WintunCreateAdapterEx(const WINTUN_ADAPTER_OPTIONS *Options)
{
    WINTUN_ADAPTER_HANDLE Adapter = NULL;

    Report(AdapterCreate(Options, FALSE, &Adapter));
    return Adapter;
}

/* ---- Closing and deleting ---- */

static DWORD AdapterRemoveOther(WINTUN_ADAPTER_HANDLE Adapter)
{
    HANDLE Lock;
    DEVICE Device;

    DWORD Error = LockTake(LOCK_DEVICES, &Lock);
    if (Error)
        return Error;
    Error = DeviceRead(Adapter->InstanceId, &Device);
    if (!Error && Device.IsOurs)
        Error = DeviceTakeAway(&Device);
    LockRelease(Lock);
    return Error;
}

void WINAPI WintunCloseAdapter(WINTUN_ADAPTER_HANDLE Adapter)
{
    if (!Adapter)
        return;
    if (Adapter->Device && Adapter->IsPersistent)
        System.SwDeviceClose(Adapter->Device);
    else if (Adapter->Device)
        Warn(AdapterRemoveOwn(Adapter));
    MemoryFree(Adapter);
}

BOOL WINAPI WintunDeleteAdapter(WINTUN_ADAPTER_HANDLE Adapter)
{
    if (!Adapter)
        return TRUE;
    const DWORD Error = Adapter->Device ? AdapterRemoveOwn(Adapter) : AdapterRemoveOther(Adapter);
    MemoryFree(Adapter);
    return Report(Error);
}

void WINAPI WintunGetAdapterLUID(WINTUN_ADAPTER_HANDLE Adapter, NET_LUID *Luid)
{
    *Luid = Adapter->Interface.Luid;
}

/* ---- Asking the driver ---- */

DWORD AdapterOpenDevice(const CONNECTION *Interface, DWORD Access, HANDLE *Device)
{
    WCHAR Path[64] = BRAND_DEVICE_PATH;

    StringAppend(Path, 64, Interface->Id);
    *Device = CreateFileW(Path, Access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                          NULL, OPEN_EXISTING, 0, NULL);
    return *Device == INVALID_HANDLE_VALUE ? GetLastError() : ERROR_SUCCESS;
}

/* Quiet: no Fail. */
static DWORD AdapterQuery(const CONNECTION *Interface, WINTUN_QUERY *Answer)
{
    HANDLE Device;
    DWORD Bytes = 0;

    *Answer = (WINTUN_QUERY){0};
    DWORD Error = AdapterOpenDevice(Interface, GENERIC_READ, &Device);
    if (Error)
        return Error;
    if (!DeviceIoControl(Device, WINTUN_IOCTL_QUERY, NULL, 0, Answer, sizeof(*Answer), &Bytes,
                         NULL))
        Error = GetLastError();
    else if (Bytes < FIELD_OFFSET(WINTUN_QUERY, Counters))
        Error = ERROR_INVALID_DATA;
    CloseHandle(Device);
    return Error;
}

static void StatisticsFill(WINTUN_STATISTICS *Statistics, const WINTUN_QUERY *Answer)
{
    const uint64_t *Counters = Answer->Counters;

    *Statistics = (WINTUN_STATISTICS){
        .Size = Statistics->Size,
        .DriverVersion = Answer->DriverVersion,
        .NdisVersion = Answer->NdisVersion,
        .SessionKind = Answer->SessionKind,
        .OwnerProcessId = (DWORD)Answer->OwnerProcess,
        .LinkUp = Answer->LinkUp,
        .Paused = Answer->State == WintunStatePaused,
        .Mtu = Answer->Mtu,
        .SentPackets = Counters[WintunToUserPackets],
        .SentBytes = Counters[WintunToUserBytes],
        .SentNoSession = Counters[WintunToUserNoSession],
        .SentPaused = Counters[WintunToUserPaused],
        .SentFull = Counters[WintunToUserFull],
        .SentCorrupt = Counters[WintunToUserCorrupt],
        .SentTooLong = Counters[WintunToUserTooLong],
        .SentInaccessible = Counters[WintunToUserInaccessible],
        .SentSignals = Counters[WintunToUserSignals],
        .ReceivedPackets = Counters[WintunToStackPackets],
        .ReceivedBytes = Counters[WintunToStackBytes],
        .ReceivedNotIp = Counters[WintunToStackNotIp],
        .ReceivedPaused = Counters[WintunToStackPaused],
        .ReceivedNoMemory = Counters[WintunToStackNoMemory],
        .ReceivedIndications = Counters[WintunToStackIndications],
        .ReceivedWakeups = Counters[WintunToStackWakeups],
    };
}

static DWORD AdapterStatistics(WINTUN_ADAPTER_HANDLE Adapter, WINTUN_STATISTICS *Statistics)
{
    WINTUN_QUERY Answer;
    WCHAR *Path;

    if (!Statistics || Statistics->Size < sizeof(*Statistics))
        return Invalid(L"Size");
    DWORD Error = AdapterQuery(&Adapter->Interface, &Answer);
    if (Error == ERROR_FILE_NOT_FOUND || Error == ERROR_PATH_NOT_FOUND) {
        Error = ERROR_FILE_NOT_FOUND;
        if (!DeviceInterfacePath(Adapter->InstanceId, &Path)) { /* a driver of version 0.14 */
            MemoryFree(Path);
            Error = ERROR_NOT_SUPPORTED;
        }
    } else if (Error == ERROR_HANDLE_EOF) { /* it has gone since it was opened */
        Error = ERROR_FILE_NOT_FOUND;
    }
    if (Error)
        return Fail(Error, L"Asking the driver", Adapter->InstanceId);
    StatisticsFill(Statistics, &Answer);
    return ERROR_SUCCESS;
}

BOOL WINAPI WintunGetStatistics(WINTUN_ADAPTER_HANDLE Adapter, WINTUN_STATISTICS *Statistics)
{
    return Report(AdapterStatistics(Adapter, Statistics));
}

/* 0: no adapter of ours, or none that this process may ask. */
static DWORD VersionFromAdapters(void)
{
    WCHAR *List;
    DEVICE Device;
    CONNECTION Interface;
    WINTUN_QUERY Answer;
    DWORD Version = 0;

    if (DeviceLoad() || DeviceList(&List))
        return 0;
    for (LPCWSTR Id = List; *Id && !Version; Id += StringLength(Id) + 1)
        if (!DeviceRead(Id, &Device) && Device.IsOurs && Device.IsPresent &&
            !DeviceReadInterface(Device.Instance, &Interface) && !AdapterQuery(&Interface, &Answer))
            Version = Answer.DriverVersion;
    MemoryFree(List);
    return Version;
}

DWORD WINAPI WintunGetRunningDriverVersion(void)
{
    DWORD Version = VersionFromAdapters();

    if (!Version && !Report(DriverLoadedVersion(&Version)))
        return 0;
    return Version;
}

/* ---- Listing ---- */

static DWORD InfoFlags(const DEVICE *Device)
{
    return (Device->IsPresent ? WINTUN_INFO_PRESENT : 0) |
           (Device->IsPersistent ? WINTUN_INFO_PERSISTENT : 0) |
           (DeviceIsStale(Device) ? WINTUN_INFO_STALE : 0);
}

static BOOL AdapterShow(const DEVICE *Device, WINTUN_ADAPTER_CALLBACK Callback, void *Context)
{
    WCHAR Alias[IF_MAX_STRING_SIZE + 1] = L"", Description[256], *Path;
    CONNECTION Interface;
    WINTUN_ADAPTER_INFO Info = {.Size = sizeof(Info),
                                .Flags = InfoFlags(Device),
                                .Name = Device->Name,
                                .Alias = Alias,
                                .Description = Description,
                                .InstanceId = Device->InstanceId,
                                .CreatorProcessId = Device->Creator.ProcessId,
                                .ProblemCode = Device->Problem};

    DeviceDescription(Device->Instance, Description, 256);
    if (Device->Problem)
        Info.ProblemStatus = DeviceProblemStatus(Device->Instance);
    if (Device->IsPresent && !Device->Problem && !DeviceInterfacePath(Device->InstanceId, &Path)) {
        MemoryFree(Path);
        if (!DeviceReadInterface(Device->Instance, &Interface)) {
            Info.Flags |= WINTUN_INFO_READY;
            Info.Guid = Interface.Guid;
            Info.Luid = Interface.Luid;
            if (System.ConvertInterfaceLuidToAlias(&Info.Luid, Alias,
                                                   sizeof(Alias) / sizeof(*Alias)))
                Alias[0] = 0;
        }
    }
    return Callback(&Info, Context);
}

static DWORD AdapterEnumerate(WINTUN_ADAPTER_CALLBACK Callback, void *Context)
{
    DWORD First = ERROR_SUCCESS;
    BOOL IsOver = FALSE;
    WCHAR *List;
    DEVICE Device;

    if (!Callback)
        return Invalid(L"Callback");
    DWORD Error = DeviceLoad();
    if (!Error)
        Error = SystemNeed(Module_iphlpapi);
    if (!Error)
        Error = DeviceList(&List);
    if (Error)
        return Error;
    for (LPCWSTR Id = List; *Id && !IsOver; Id += StringLength(Id) + 1) {
        Error = DeviceRead(Id, &Device);
        FailureFirst(&First, Error);
        if (!Error && Device.IsOurs)
            IsOver = !AdapterShow(&Device, Callback, Context);
    }
    MemoryFree(List);
    Error = FailureDone(First);
    if (!IsOver)
        return Error;
    Warn(Error);
    return ERROR_SUCCESS;
}

BOOL WINAPI WintunEnumAdapters(WINTUN_ADAPTER_CALLBACK Callback, void *Context)
{
    return Report(AdapterEnumerate(Callback, Context));
}

/* ---- Cleaning up ---- */

#define CLEAR_ALL 0x80000000UL /* beside flags of WintunRepair */

/* Nothing that a running process owns; a device that is disabled is not broken. */
static BOOL DeviceIsMeant(const DEVICE *Device, DWORD Flags)
{
    if (DeviceIsStale(Device))
        return (Flags & (CLEAR_ALL | WINTUN_REPAIR_DEVICES)) != 0;
    if (!Device->IsOurs || Device->IsCreatorAlive)
        return FALSE;
    if (Flags & WINTUN_REPAIR_BROKEN && Device->Problem && Device->Problem != CM_PROB_DISABLED)
        return TRUE;
    return (Flags & CLEAR_ALL) != 0;
}

static DWORD DevicesClear(DWORD Flags, DWORD *Removed)
{
    WCHAR *List;
    DEVICE Device;
    DWORD First = ERROR_SUCCESS;
    HANDLE Lock;

    DWORD Error = DeviceLoad();
    if (!Error)
        Error = LockTake(LOCK_DEVICES, &Lock);
    if (Error)
        return Error;
    Error = DeviceList(&List);
    if (Error) {
        LockRelease(Lock);
        return Error;
    }
    for (LPCWSTR Id = List; *Id; Id += StringLength(Id) + 1) {
        Error = DeviceRead(Id, &Device);
        if (!Error && DeviceIsMeant(&Device, Flags)) {
            Error = DeviceTakeAway(&Device);
            if (!Error)
                ++*Removed;
        }
        FailureFirst(&First, Error);
    }
    MemoryFree(List);
    LockRelease(Lock);
    return FailureDone(First);
}

BOOL WINAPI WintunDeleteDriver(void)
{
    DWORD Removed = 0;
    DWORD First = ERROR_SUCCESS;

    FailureFirst(&First, DevicesClear(CLEAR_ALL, &Removed));
    FailureFirst(&First, DriverRemove(FALSE, &Removed));
    return Report(FailureDone(First));
}

BOOL WINAPI WintunRepair(DWORD Flags, DWORD *Removed)
{
    DWORD Count = 0;
    DWORD First = ERROR_SUCCESS;

    if (Flags & ~(DWORD)(WINTUN_REPAIR_DEVICES | WINTUN_REPAIR_PACKAGES | WINTUN_REPAIR_BROKEN))
        return Report(Invalid(L"Flags"));
    if (Flags & (WINTUN_REPAIR_DEVICES | WINTUN_REPAIR_BROKEN))
        FailureFirst(&First, DevicesClear(Flags, &Count));
    if (Flags & WINTUN_REPAIR_PACKAGES)
        FailureFirst(&First, DriverRemove(TRUE, &Count));
    if (Removed)
        *Removed = Count;
    return Report(FailureDone(First));
}
