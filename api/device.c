/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Software devices: making one, waiting for it, looking at it, removing it. Must never touch a
 * device that does not carry our mark. Every wait has a deadline, and listens to a notification as
 * well as looking again every so often, because either alone has been seen to miss something.
 */
#include "private.h"

#define SETTLE_MS                                                                                  \
    1000 /* for a problem to last before it is believed; PnP may be about to solve it */

/* cfgmgr32.h of the SDK has CM_PROB_...; devpkey.h and ndisguid.h have these. */
static const DEVPROPKEY KeyDescription = {
    {0xa45c254e, 0xdf1c, 0x4efd, {0x80, 0x20, 0x67, 0xd1, 0x46, 0xa8, 0x50, 0xe0}}, 2};
static const DEVPROPKEY KeyClass = {
    {0xa45c254e, 0xdf1c, 0x4efd, {0x80, 0x20, 0x67, 0xd1, 0x46, 0xa8, 0x50, 0xe0}}, 10};
static const DEVPROPKEY KeyFriendlyName = {
    {0xa45c254e, 0xdf1c, 0x4efd, {0x80, 0x20, 0x67, 0xd1, 0x46, 0xa8, 0x50, 0xe0}}, 14};
static const DEVPROPKEY KeyProblemStatus = {
    {0x4340a6c5, 0x93fa, 0x4706, {0x97, 0x2c, 0x7b, 0x64, 0x80, 0x08, 0xa5, 0xa7}}, 12};
static const DEVPROPKEY KeyName = {WINTUN_PROPERTY_FMTID, PROPERTY_NAME};
static const DEVPROPKEY KeyCreator = {WINTUN_PROPERTY_FMTID, PROPERTY_CREATOR};
static const DEVPROPKEY KeyPersistent = {WINTUN_PROPERTY_FMTID, PROPERTY_PERSISTENT};
static const DEVPROPKEY KeySecurity = {WINTUN_PROPERTY_FMTID, WINTUN_PROPERTY_SECURITY};
static const GUID ClassNet = {
    0x4d36e972, 0xe325, 0x11ce, {0xbf, 0xc1, 0x08, 0x00, 0x2b, 0xe1, 0x03, 0x18}};
static const GUID InterfaceNet = {
    0xcac88484, 0x7515, 0x4c03, {0x82, 0xe6, 0x71, 0xa8, 0x7a, 0xba, 0xc3, 0x61}};

DWORD DeviceLoad(void)
{
    return SystemNeed(Module_cfgmgr32 | Module_advapi32 | Module_ntdll);
}

static DWORD CmError(CONFIGRET Result)
{
    return System.CM_MapCrToWin32Err(Result, ERROR_DEVICE_ENUMERATION_ERROR);
}

/* ---- Waiting ---- */

ULONGLONG DeadlineAfter(DWORD Milliseconds)
{
    return GetTickCount64() + Milliseconds;
}

void PollWait(HANDLE Event, DWORD Milliseconds)
{
    if (WaitForSingleObject(Event, Milliseconds) == WAIT_FAILED)
        Sleep(Milliseconds); /* or the loop around would spin */
}

typedef struct WATCH {
    HANDLE Event;
    ULONGLONG Deadline;
    HCMNOTIFICATION Registrations[2];
} WATCH;

static DWORD CALLBACK WatchNotified(HCMNOTIFICATION Notification, PVOID Context,
                                    CM_NOTIFY_ACTION Action, PCM_NOTIFY_EVENT_DATA Data,
                                    DWORD Bytes)
{
    SetEvent(Context); /* whatever it was: who waits looks for himself */
    return ERROR_SUCCESS;
}

/* Without a registration the wait is a little longer, and that is all. */
static DWORD WatchCreate(WATCH *Watch, LPCWSTR InstanceId, ULONGLONG Deadline)
{
    CM_NOTIFY_FILTER Filter = {.cbSize = sizeof(Filter),
                               .FilterType = CM_NOTIFY_FILTER_TYPE_DEVICEINTERFACE};

    *Watch = (WATCH){.Deadline = Deadline};
    Watch->Event = CreateEventW(NULL, FALSE, FALSE, NULL);
    if (!Watch->Event)
        return Fail(GetLastError(), L"Creating an event", NULL);
    Filter.u.DeviceInterface.ClassGuid = InterfaceNet;
    if (System.CM_Register_Notification(&Filter, Watch->Event, WatchNotified,
                                        &Watch->Registrations[0]) != CR_SUCCESS)
        Watch->Registrations[0] = NULL;
    Filter.FilterType = CM_NOTIFY_FILTER_TYPE_DEVICEINSTANCE;
    if (!StringCopy(Filter.u.DeviceInstance.InstanceId, MAX_DEVICE_ID_LEN, InstanceId) ||
        System.CM_Register_Notification(&Filter, Watch->Event, WatchNotified,
                                        &Watch->Registrations[1]) != CR_SUCCESS)
        Watch->Registrations[1] = NULL;
    return ERROR_SUCCESS;
}

/* After CM_Unregister_Notification no callback runs any more (its page), so the event may go. */
static void WatchDestroy(WATCH *Watch)
{
    for (DWORD Index = 0; Index < 2; Index++)
        if (Watch->Registrations[Index])
            System.CM_Unregister_Notification(Watch->Registrations[Index]);
    CloseHandle(Watch->Event);
}

/* FALSE: the time is up. */
static BOOL WatchWait(const WATCH *Watch)
{
    const ULONGLONG Now = GetTickCount64();

    if (Now >= Watch->Deadline)
        return FALSE;
    const ULONGLONG Left = Watch->Deadline - Now;
    PollWait(Watch->Event, Left < POLL_MS ? (DWORD)Left : POLL_MS);
    return TRUE;
}

/* ---- Looking at devices ---- */

/* One of another type, or too long for us, is none: CR_NO_SUCH_VALUE. */
static CONFIGRET PropertyRead(DEVINST Instance, const DEVPROPKEY *Key, DEVPROPTYPE Wanted, void *To,
                              DWORD *Bytes)
{
    DEVPROPTYPE Type = DEVPROP_TYPE_EMPTY;

    const CONFIGRET Result = System.CM_Get_DevNode_PropertyW(Instance, Key, &Type, To, Bytes, 0);
    if (Result == CR_BUFFER_SMALL || (Result == CR_SUCCESS && Type != Wanted))
        return CR_NO_SUCH_VALUE;
    return Result;
}

static CONFIGRET PropertyReadString(DEVINST Instance, const DEVPROPKEY *Key, WCHAR *To,
                                    DWORD Characters)
{
    DWORD Bytes = Characters * sizeof(WCHAR);

    CONFIGRET Result = PropertyRead(Instance, Key, DEVPROP_TYPE_STRING, To, &Bytes);
    if (Result == CR_SUCCESS && (Bytes < sizeof(WCHAR) || To[Bytes / sizeof(WCHAR) - 1]))
        Result = CR_NO_SUCH_VALUE; /* not terminated */
    if (Result != CR_SUCCESS)
        To[0] = 0;
    return Result;
}

void DeviceDescription(DEVINST Instance, WCHAR *To, DWORD Characters)
{
    PropertyReadString(Instance, &KeyFriendlyName, To, Characters);
}

LONG DeviceProblemStatus(DEVINST Instance)
{
    LONG Status = 0;
    DWORD Bytes = sizeof(Status);

    if (PropertyRead(Instance, &KeyProblemStatus, DEVPROP_TYPE_NTSTATUS, &Status, &Bytes) !=
        CR_SUCCESS)
        return 0;
    return Status;
}

/* Not by its exit code: a program may well end with 259, which is that of one that runs
 * (nf-processthreadsapi-getexitcodeprocess). An ended process is found as long as somebody has a
 * handle to it. */
static BOOL CreatorIsAlive(const CREATOR *Creator)
{
    FILETIME Created, Exited, Kernel, User;

    HANDLE Process =
        OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION | SYNCHRONIZE, FALSE, Creator->ProcessId);
    if (!Process)
        return GetLastError() != ERROR_INVALID_PARAMETER; /* that there is none; else: in doubt */
    const BOOL IsDead = WaitForSingleObject(Process, 0) == WAIT_OBJECT_0 ||
                        (GetProcessTimes(Process, &Created, &Exited, &Kernel, &User) &&
                         (Created.dwLowDateTime != Creator->CreationTime.dwLowDateTime ||
                          Created.dwHighDateTime != Creator->CreationTime.dwHighDateTime));
    CloseHandle(Process);
    return !IsDead;
}

static DWORD CreatorThis(CREATOR *Creator)
{
    FILETIME Exited, Kernel, User;

    Creator->ProcessId = GetCurrentProcessId();
    if (GetProcessTimes(GetCurrentProcess(), &Creator->CreationTime, &Exited, &Kernel, &User))
        return ERROR_SUCCESS;
    return Fail(GetLastError(), L"Reading the times of this process", NULL);
}

/* It is there, or it is not, or nobody can tell: then nothing may be done to the device. */
static BOOL PropertyIsClear(CONFIGRET Result)
{
    return Result == CR_SUCCESS || Result == CR_NO_SUCH_VALUE || Result == CR_NO_SUCH_DEVINST;
}

static CONFIGRET DeviceReadMark(DEVICE *Device)
{
    DEVPROP_BOOLEAN Persistent = DEVPROP_FALSE;
    DWORD Bytes = sizeof(Persistent);

    CONFIGRET Result =
        PropertyReadString(Device->Instance, &KeyName, Device->Name, NAME_CHARACTERS);
    Device->IsOurs = Result == CR_SUCCESS;
    if (!Device->IsOurs)
        return PropertyIsClear(Result) ? CR_SUCCESS : Result;
    Result =
        PropertyRead(Device->Instance, &KeyPersistent, DEVPROP_TYPE_BOOLEAN, &Persistent, &Bytes);
    Device->IsPersistent = Result == CR_SUCCESS && Persistent != DEVPROP_FALSE;
    if (!PropertyIsClear(Result))
        return Result;
    Bytes = sizeof(Device->Creator);
    Result =
        PropertyRead(Device->Instance, &KeyCreator, DEVPROP_TYPE_BINARY, &Device->Creator, &Bytes);
    if (Result == CR_SUCCESS && Bytes == sizeof(Device->Creator)) {
        Device->IsCreatorAlive = CreatorIsAlive(&Device->Creator);
    } else {
        Device->Creator.ProcessId = 0;
        Device->IsCreatorAlive = TRUE;
    }
    return PropertyIsClear(Result) ? CR_SUCCESS : Result;
}

/* CR_SUCCESS, CR_NO_SUCH_DEVINST, or a failure. */
static CONFIGRET DeviceLocate(LPCWSTR InstanceId, BOOL IsPresent, DEVINST *Instance)
{
    return System.CM_Locate_DevNodeW(Instance, (DEVINSTID_W)(ULONG_PTR)InstanceId,
                                     IsPresent ? CM_LOCATE_DEVNODE_NORMAL
                                               : CM_LOCATE_DEVNODE_PHANTOM);
}

/* A device that does not exist at all is read as one that is not ours. */
DWORD DeviceRead(LPCWSTR InstanceId, DEVICE *Device)
{
    ULONG Status = 0;

    *Device = (DEVICE){0};
    if (!StringCopy(Device->InstanceId, MAX_DEVICE_ID_LEN, InstanceId))
        return Fail(ERROR_BUFFER_OVERFLOW, L"Reading an instance ID", InstanceId);
    CONFIGRET Result = DeviceLocate(InstanceId, TRUE, &Device->Instance);
    Device->IsPresent = Result == CR_SUCCESS;
    if (Result == CR_NO_SUCH_DEVINST)
        Result = DeviceLocate(InstanceId, FALSE, &Device->Instance);
    if (Result == CR_NO_SUCH_DEVINST) {
        Device->Instance = 0;
        return ERROR_SUCCESS;
    }
    if (Result != CR_SUCCESS)
        return Fail(CmError(Result), L"Looking for a device", InstanceId);
    if (Device->IsPresent)
        Result = System.CM_Get_DevNode_Status(&Status, &Device->Problem, Device->Instance, 0);
    if (Result == CR_NO_SUCH_DEVINST)
        Device->IsPresent = FALSE; /* has gone since */
    else if (Result != CR_SUCCESS) /* alive or not, nobody knows: not for a clean-up to decide */
        return Fail(CmError(Result), L"Reading the status of a device", InstanceId);
    if (!(Status & DN_HAS_PROBLEM))
        Device->Problem = 0;
    Result = DeviceReadMark(Device);
    if (Result == CR_SUCCESS)
        return ERROR_SUCCESS;
    return Fail(CmError(Result), L"Reading whose device it is", InstanceId);
}

/*
 * Left by a process that has gone, or by a reboot. A device that the user has disabled, or that has
 * another problem, is none as long as its creator lives.
 */
BOOL DeviceIsStale(const DEVICE *Device)
{
    return Device->IsOurs &&
           (!Device->IsPresent || (!Device->IsCreatorAlive && !Device->IsPersistent));
}

/* No device yet, or none any more; the page does not say with which. */
static BOOL ListIsEmpty(CONFIGRET Result)
{
    return Result == CR_NO_SUCH_VALUE || Result == CR_NO_SUCH_REGISTRY_KEY ||
           Result == CR_INVALID_DATA;
}

/* One attempt; CR_BUFFER_SMALL when the list has grown between the two calls. */
static CONFIGRET DeviceListOnce(WCHAR **List)
{
    ULONG Characters = 0;

    CONFIGRET Result = System.CM_Get_Device_ID_List_SizeW(&Characters, BRAND_INSTANCES,
                                                          CM_GETIDLIST_FILTER_ENUMERATOR);
    if (ListIsEmpty(Result))
        Characters = 0;
    else if (Result != CR_SUCCESS)
        return Result;
    *List = MemoryAllocate((Characters + 2) * sizeof(WCHAR));
    if (!*List)
        return CR_OUT_OF_MEMORY;
    if (Characters <= 1)
        return CR_SUCCESS;
    Result = System.CM_Get_Device_ID_ListW(BRAND_INSTANCES, *List, Characters,
                                           CM_GETIDLIST_FILTER_ENUMERATOR);
    if (ListIsEmpty(Result)) { /* the last one has gone since */
        **List = 0;
        return CR_SUCCESS;
    }
    if (Result != CR_SUCCESS) {
        MemoryFree(*List);
        *List = NULL;
    }
    return Result;
}

DWORD DeviceList(WCHAR **List)
{
    CONFIGRET Result = CR_BUFFER_SMALL;

    *List = NULL;
    for (DWORD Attempt = 0; Attempt < 16 && Result == CR_BUFFER_SMALL; Attempt++)
        Result = DeviceListOnce(List);
    if (Result == CR_SUCCESS)
        return ERROR_SUCCESS;
    return Fail(CmError(Result), L"Listing devices", BRAND_INSTANCES);
}

/* ---- Its interface ---- */

DWORD DeviceInterfacePath(LPCWSTR InstanceId, WCHAR **Path)
{
    const DEVINSTID_W Id = (DEVINSTID_W)(ULONG_PTR)InstanceId;
    GUID Class = InterfaceNet;

    *Path = NULL;
    for (DWORD Attempt = 0; Attempt < 16; Attempt++) {
        ULONG Characters = 0;
        if (System.CM_Get_Device_Interface_List_SizeW(
                &Characters, &Class, Id, CM_GET_DEVICE_INTERFACE_LIST_PRESENT) != CR_SUCCESS ||
            Characters <= 1)
            return ERROR_NOT_FOUND;
        *Path = MemoryAllocate((Characters + 1) * sizeof(WCHAR));
        if (!*Path)
            return ERROR_NOT_ENOUGH_MEMORY;
        const CONFIGRET Result = System.CM_Get_Device_Interface_ListW(
            &Class, Id, *Path, Characters, CM_GET_DEVICE_INTERFACE_LIST_PRESENT);
        if (Result == CR_SUCCESS && **Path)
            return ERROR_SUCCESS;
        MemoryFree(*Path);
        *Path = NULL;
        if (Result != CR_BUFFER_SMALL)
            break;
    }
    return ERROR_NOT_FOUND;
}

static BOOL ValueRead(HKEY Key, LPCWSTR Name, DWORD Wanted, void *To, DWORD Bytes)
{
    DWORD Type = REG_NONE, Read = Bytes;

    return System.RegQueryValueExW(Key, Name, NULL, &Type, To, &Read) == ERROR_SUCCESS &&
           Type == Wanted && (Wanted == REG_SZ || Read == Bytes);
}

DWORD DeviceReadInterface(DEVINST Instance, CONNECTION *Interface)
{
    DWORD Index = 0, Type = 0;
    HKEY Key;

    *Interface = (CONNECTION){0};
    if (System.CM_Open_DevNode_Key(Instance, KEY_QUERY_VALUE, 0, RegDisposition_OpenExisting, &Key,
                                   CM_REGISTRY_SOFTWARE) != CR_SUCCESS)
        return ERROR_FILE_NOT_FOUND;
    /* one character less than there is room for: a string in the registry may lack its NUL */
    const BOOL IsThere =
        ValueRead(Key, L"NetCfgInstanceId", REG_SZ, Interface->Id,
                  (GUID_CHARACTERS - 1) * sizeof(WCHAR)) ||
        ValueRead(Key, L"NetCfgInstanceId", REG_SZ, Interface->Id, GUID_CHARACTERS * sizeof(WCHAR));
    Interface->Id[GUID_CHARACTERS - 1] = 0;
    const BOOL IsComplete = IsThere && GuidParse(Interface->Id, &Interface->Guid) &&
                            ValueRead(Key, L"NetLuidIndex", REG_DWORD, &Index, sizeof(Index)) &&
                            ValueRead(Key, L"*IfType", REG_DWORD, &Type, sizeof(Type));
    System.RegCloseKey(Key);
    if (!IsComplete)
        return ERROR_FILE_NOT_FOUND;
    Interface->Luid.Info.NetLuidIndex = Index;
    Interface->Luid.Info.IfType = Type;
    return ERROR_SUCCESS;
}

/* ---- Waiting for a device ---- */

/* Problems that Windows is about to solve (cm-prob-... pages); any other needs somebody's help. */
static BOOL ProblemPasses(ULONG Problem)
{
    return !Problem || Problem == CM_PROB_NOT_CONFIGURED || Problem == CM_PROB_REINSTALL ||
           Problem == CM_PROB_NEED_CLASS_CONFIG || Problem == CM_PROB_WAITING_ON_DEPENDENCY;
}

static DWORD FailStart(LPCWSTR InstanceId)
{
    static const WCHAR Step[] = L"Waiting for the device and its interface";
    DEVICE Device;
    DWORD Error = DeviceRead(InstanceId, &Device);

    if (Error)
        return Error;
    if (!Device.Instance || !Device.IsPresent)
        return Fail(ERROR_TIMEOUT, L"Waiting for the device to appear", InstanceId);
    if (!Device.Problem)
        return Fail(ERROR_TIMEOUT, Step, InstanceId);
    const LONG Status = DeviceProblemStatus(Device.Instance);
    if (ProblemPasses(Device.Problem))
        return FailProblem(ERROR_TIMEOUT, Step, InstanceId, Device.Problem, Status);
    Error = Status < 0 ? System.RtlNtStatusToDosError(Status) : ERROR_MR_MID_NOT_FOUND;
    if (Error == ERROR_MR_MID_NOT_FOUND || !Error) /* no code of its own */
        Error = ERROR_DEVICE_NOT_AVAILABLE;
    return FailProblem(Error, Step, InstanceId, Device.Problem, Status);
}

/* One look: whether the device is ready; *Problem is one that will not pass, else 0. */
static BOOL DeviceIsReady(LPCWSTR InstanceId, CONNECTION *Interface, ULONG *Problem)
{
    ULONG Status = 0, Code = 0;
    WCHAR *Path;
    DEVINST Instance;

    *Problem = 0;
    if (DeviceLocate(InstanceId, TRUE, &Instance) != CR_SUCCESS)
        return FALSE;
    if (System.CM_Get_DevNode_Status(&Status, &Code, Instance, 0) == CR_SUCCESS &&
        Status & DN_HAS_PROBLEM) {
        if (!ProblemPasses(Code))
            *Problem = Code;
        return FALSE;
    }
    if (DeviceInterfacePath(InstanceId, &Path))
        return FALSE;
    MemoryFree(Path);
    return !DeviceReadInterface(Instance, Interface);
}

DWORD DeviceWaitReady(LPCWSTR InstanceId, ULONGLONG Deadline, CONNECTION *Interface)
{
    ULONGLONG Believed = 0; /* when to believe the problem */
    ULONG Problem;
    WATCH Watch;

    if (DeviceIsReady(InstanceId, Interface, &Problem))
        return ERROR_SUCCESS;
    DWORD Error = WatchCreate(&Watch, InstanceId, Deadline);
    if (Error)
        return Error;
    for (;;) {
        if (DeviceIsReady(InstanceId, Interface, &Problem))
            break;
        if (!Problem)
            Believed = 0;
        else if (!Believed)
            Believed = DeadlineAfter(SETTLE_MS);
        if ((Believed && GetTickCount64() >= Believed) || !WatchWait(&Watch)) {
            Error = FailStart(InstanceId);
            break;
        }
    }
    WatchDestroy(&Watch);
    return Error;
}

static DWORD DeviceWaitGone(LPCWSTR InstanceId, DWORD TimeoutMs)
{
    DEVINST Instance;
    WATCH Watch;

    if (DeviceLocate(InstanceId, TRUE, &Instance) == CR_NO_SUCH_DEVINST)
        return ERROR_SUCCESS;
    DWORD Error = WatchCreate(&Watch, InstanceId, DeadlineAfter(TimeoutMs));
    if (Error)
        return Error;
    while (DeviceLocate(InstanceId, TRUE, &Instance) != CR_NO_SUCH_DEVINST) {
        if (WatchWait(&Watch))
            continue;
        Error = Fail(ERROR_TIMEOUT, L"Waiting for the device to go", InstanceId);
        break;
    }
    WatchDestroy(&Watch);
    return Error;
}

/* ---- Making a device ---- */

typedef struct CREATION {
    HANDLE Event;
    HRESULT Result;
    WCHAR InstanceId[MAX_DEVICE_ID_LEN];
} CREATION;

/* nc-swdevice-sw_device_create_callback; may run before SwDeviceCreate returns. */
static VOID WINAPI Created(HSWDEVICE Device, HRESULT Result, PVOID Context, PCWSTR InstanceId)
{
    CREATION *Creation = Context;

    Creation->Result = Result;
    if (SUCCEEDED(Result) &&
        (!InstanceId || !StringCopy(Creation->InstanceId, MAX_DEVICE_ID_LEN, InstanceId)))
        Creation->Result = E_UNEXPECTED;
    SetEvent(Creation->Event);
}

/* Waits for the callback. Whatever it finds, the caller closes Device before Creation goes: after
 * SwDeviceClose the callback is not called any more (nf-swdevice-swdeviceclose). */
static DWORD CreationWait(const CREATION *Creation, LPCWSTR Id, ULONGLONG Deadline)
{
    const ULONGLONG Now = GetTickCount64();

    switch (WaitForSingleObject(Creation->Event, Now < Deadline ? (DWORD)(Deadline - Now) : 0)) {
    case WAIT_OBJECT_0:
        if (SUCCEEDED(Creation->Result))
            return ERROR_SUCCESS;
        return Fail(ErrorFromResult(Creation->Result), L"Enumerating the device", Id);
    case WAIT_TIMEOUT:
        return Fail(ERROR_TIMEOUT, L"Waiting for the device to be enumerated", Id);
    default:
        return Fail(GetLastError(), L"Waiting for the device to be enumerated", Id);
    }
}

static DEVPROPERTY Property(const DEVPROPKEY *Key, DEVPROPTYPE Type, const void *Value, DWORD Bytes)
{
    return (DEVPROPERTY){.CompKey = {.Key = *Key, .Store = DEVPROP_STORE_SYSTEM},
                         .Type = Type,
                         .BufferSize = Bytes,
                         .Buffer = (PVOID)(ULONG_PTR)Value};
}

static DEVPROPERTY PropertyString(const DEVPROPKEY *Key, LPCWSTR Value)
{
    return Property(Key, DEVPROP_TYPE_STRING, Value, (StringLength(Value) + 1) * sizeof(WCHAR));
}

/* Early after the start of Windows its services are not there yet; the wait is worth while. */
static BOOL ServiceIsMissing(DWORD Error)
{
    return Error == RPC_S_SERVER_UNAVAILABLE || Error == RPC_S_UNKNOWN_IF ||
           Error == EPT_S_NOT_REGISTERED || Error == ERROR_SERVICE_NOT_ACTIVE;
}

/* Makes the device and waits for the callback. *Device is NULL on failure. */
static DWORD DeviceMakeOnce(const SW_DEVICE_CREATE_INFO *Info, const DEVPROPERTY *Properties,
                            ULONG Count, ULONGLONG Deadline, HSWDEVICE *Device, WCHAR *InstanceId)
{
    CREATION Creation = {.Result = E_UNEXPECTED};
    DWORD Error;

    *Device = NULL;
    Creation.Event = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (!Creation.Event)
        return Fail(GetLastError(), L"Creating an event", NULL);
    const HRESULT Result = System.SwDeviceCreate(BRAND_ENUMERATOR, L"HTREE\\ROOT\\0", Info, Count,
                                                 Properties, Created, &Creation, Device);
    if (FAILED(Result)) {
        *Device = NULL;
        Error = Fail(ErrorFromResult(Result), L"Creating the device", Info->pszInstanceId);
    } else {
        Error = CreationWait(&Creation, Info->pszInstanceId, Deadline);
    }
    if (!Error) {
        StringCopy(InstanceId, MAX_DEVICE_ID_LEN, Creation.InstanceId);
    } else if (*Device) {
        System.SwDeviceClose(*Device);
        *Device = NULL;
    }
    CloseHandle(Creation.Event);
    return Error;
}

/*
 * The device, or one of the same instance ID without a driver. Our mark is among the properties
 * that are set before anybody hears of the device, so it is on whatever a crash leaves. *Device is
 * NULL on failure, and nothing but a remembered device is left.
 */
static DWORD DeviceMake(const DEVICE_OPTIONS *Options, BOOL HasDriver, ULONGLONG Deadline,
                        HSWDEVICE *Device, WCHAR *InstanceId)
{
    static const DEVPROP_BOOLEAN True = DEVPROP_TRUE;
    CREATOR Creator;
    DEVPROPERTY Properties[7];
    ULONG Count = 0;
    /* A required driver needs hardware IDs (ns-swdevicedef-sw_device_create_info). */
    const SW_DEVICE_CREATE_INFO Info = {
        .cbSize = sizeof(Info),
        .pszInstanceId = Options->Id,
        .pszzHardwareIds = HasDriver ? BRAND_HARDWARE_ID L"\0" : NULL,
        .CapabilityFlags = SWDeviceCapabilitiesSilentInstall |
                           (HasDriver ? SWDeviceCapabilitiesDriverRequired : 0),
        .pszDeviceDescription = Options->Description};

    *Device = NULL;
    DWORD Error = CreatorThis(&Creator);
    if (Error)
        return Error;
    Properties[Count++] = PropertyString(&KeyName, Options->Name);
    Properties[Count++] = PropertyString(&KeyFriendlyName, Options->Description);
    Properties[Count++] = PropertyString(&KeyDescription, Options->Description);
    Properties[Count++] = Property(&KeyCreator, DEVPROP_TYPE_BINARY, &Creator, sizeof(Creator));
    if (!HasDriver)
        Properties[Count++] = Property(&KeyClass, DEVPROP_TYPE_GUID, &ClassNet, sizeof(ClassNet));
    if (HasDriver && Options->IsPersistent)
        Properties[Count++] = Property(&KeyPersistent, DEVPROP_TYPE_BOOLEAN, &True, sizeof(True));
    if (HasDriver && Options->Security)
        Properties[Count++] = Property(&KeySecurity, DEVPROP_TYPE_SECURITY_DESCRIPTOR,
                                       Options->Security, Options->SecurityBytes);
    for (;;) {
        Error = DeviceMakeOnce(&Info, Properties, Count, Deadline, Device, InstanceId);
        if (!ServiceIsMissing(Error) || GetTickCount64() >= Deadline)
            return Error;
        Sleep(POLL_MS);
    }
}

/*
 * The wish for an interface GUID. Not documented: a device inherits the driver key that an earlier
 * one of its instance ID has left, and the network's set-up takes the GUID that it finds there.
 * When this fails Windows chooses.
 */
static DWORD DeviceSuggest(const DEVICE_OPTIONS *Options, ULONGLONG Deadline)
{
    WCHAR InstanceId[MAX_DEVICE_ID_LEN];
    DEVINST Instance;
    HSWDEVICE Device;
    HKEY Key;

    DWORD Error = DeviceMake(Options, FALSE, Deadline, &Device, InstanceId);
    if (Error)
        return Error;
    CONFIGRET Result = DeviceLocate(InstanceId, TRUE, &Instance);
    if (Result == CR_SUCCESS)
        Result = System.CM_Open_DevNode_Key(Instance, KEY_SET_VALUE, 0, RegDisposition_OpenAlways,
                                            &Key, CM_REGISTRY_SOFTWARE);
    if (Result == CR_SUCCESS) {
        Error = (DWORD)System.RegSetValueExW(Key, L"SuggestedInstanceId", 0, REG_BINARY,
                                             (const BYTE *)Options->SuggestedGuid, sizeof(GUID));
        System.RegCloseKey(Key);
    } else {
        Error = CmError(Result);
    }
    if (Error)
        Fail(Error, L"Suggesting an interface GUID", InstanceId);
    System.SwDeviceClose(Device); /* the next creation waits for its removal by itself */
    return Error;
}

/* ---- Removing a device ---- */

static DWORD DeviceUninstallOnce(LPCWSTR InstanceId)
{
    SP_DEVINFO_DATA Data = {.cbSize = sizeof(Data)};
    BOOL NeedsRestart = FALSE;
    DEVINST Instance;

    if (DeviceLocate(InstanceId, FALSE, &Instance) == CR_NO_SUCH_DEVINST)
        return ERROR_SUCCESS;
    DWORD Error = SystemNeed(Module_setupapi | Module_newdev);
    if (Error)
        return Error;
    HDEVINFO Set = System.SetupDiCreateDeviceInfoList(NULL, NULL);
    if (Set == INVALID_HANDLE_VALUE)
        return Fail(GetLastError(), L"Making a device list", NULL);
    if (!System.SetupDiOpenDeviceInfoW(Set, InstanceId, NULL, 0, &Data) ||
        !System.DiUninstallDevice(NULL, Set, &Data, 0, &NeedsRestart))
        Error = GetLastError();
    System.SetupDiDestroyDeviceInfoList(Set);
    if (Error && DeviceLocate(InstanceId, FALSE, &Instance) != CR_NO_SUCH_DEVINST)
        return Fail(Error, L"Removing the device", InstanceId);
    if (NeedsRestart)
        Inform(L"Windows wants a restart to finish removing a device", InstanceId);
    return ERROR_SUCCESS;
}

/* Removes what Windows remembers of a device. One that is gone already is success, and one that
 * does not go gets another chance: nobody else will come for it soon. */
static DWORD DeviceUninstall(LPCWSTR InstanceId)
{
    DWORD Error = DeviceUninstallOnce(InstanceId);

    for (DWORD Again = 0; Again < 2 && Error && Error != ERROR_ACCESS_DENIED; Again++) {
        Sleep(POLL_MS);
        Error = DeviceUninstallOnce(InstanceId);
    }
    return Error;
}

DWORD DevicePersist(HSWDEVICE Device, BOOL IsPersistent, LPCWSTR InstanceId)
{
    if (!System.SwDeviceSetLifetime)
        return Fail(ERROR_OLD_WIN_VERSION, L"Making a device persistent", InstanceId);
    const HRESULT Result = System.SwDeviceSetLifetime(
        Device, IsPersistent ? SWDeviceLifetimeParentPresent : SWDeviceLifetimeHandle);
    if (SUCCEEDED(Result))
        return ERROR_SUCCESS;
    return Fail(ErrorFromResult(Result), L"Setting the lifetime of a device", InstanceId);
}

/*
 * SwDeviceClose returns before the device has gone (its page), and what is removed before that may
 * come back, so the order is: close, wait, remove what is remembered. Removed it is also when it
 * did not go in time: then by force, as an administrator would from the device manager.
 */
DWORD DeviceRemove(HSWDEVICE Device, LPCWSTR InstanceId)
{
    if (Device)
        System.SwDeviceClose(Device);
    const DWORD Waited = Device ? DeviceWaitGone(InstanceId, REMOVE_TIMEOUT_MS) : ERROR_SUCCESS;
    if (Waited)
        Warn(Waited);
    const DWORD Removed = DeviceUninstall(InstanceId);
    if (Removed)
        return Removed;
    return DeviceWaitGone(InstanceId, FORCED_TIMEOUT_MS);
}

DWORD DeviceTakeAway(const DEVICE *Device)
{
    WCHAR Description[256], InstanceId[MAX_DEVICE_ID_LEN];
    HSWDEVICE Handle = NULL;

    if (!Device->IsOurs)
        return Fail(ERROR_INVALID_PARAMETER, L"Removing a device of somebody else's",
                    Device->InstanceId);
    /* A persistent one has to be made mortal first (nf-swdevice-swdevicesetlifetime), which takes a
     * handle; its creator may still have the only one. */
    if (Device->IsPresent && Device->IsPersistent && System.SwDeviceSetLifetime) {
        DeviceDescription(Device->Instance, Description, 256);
        DEVICE_OPTIONS Options = {
            .Name = Device->Name, .Description = Description, .IsPersistent = TRUE};
        StringCopy(Options.Id, MAX_DEVICE_ID_LEN,
                   Device->InstanceId + sizeof(BRAND_INSTANCES) / sizeof(WCHAR));
        DWORD Error =
            DeviceMake(&Options, TRUE, DeadlineAfter(READY_TIMEOUT_MS), &Handle, InstanceId);
        if (!Error)
            Error = DevicePersist(Handle, FALSE, InstanceId);
        Warn(Error);
    }
    return DeviceRemove(Handle, Device->InstanceId);
}

DWORD DeviceCreate(const DEVICE_OPTIONS *Options, ULONGLONG Deadline, HSWDEVICE *Device,
                   WCHAR *InstanceId)
{
    WCHAR Expected[MAX_DEVICE_ID_LEN];
    DEVICE Left;

    if (Options->SuggestedGuid) { /* a wish: it may take no more than a third of the time */
        const ULONGLONG Now = GetTickCount64();
        Warn(DeviceSuggest(Options, Now < Deadline ? Now + (Deadline - Now) / 3 : Deadline));
    }
    const DWORD Error = DeviceMake(Options, TRUE, Deadline, Device, InstanceId);
    if (!Error)
        return ERROR_SUCCESS;
    /* What Windows may remember of it, or of the one without a driver; DeviceRemove says why it has
     * to have gone before. */
    FailureKeep(TRUE);
    if (StringCopy(Expected, MAX_DEVICE_ID_LEN, BRAND_INSTANCES L"\\") &&
        StringAppend(Expected, MAX_DEVICE_ID_LEN, Options->Id)) {
        Warn(DeviceWaitGone(Expected, REMOVE_TIMEOUT_MS));
        if (!DeviceRead(Expected, &Left) && Left.IsOurs)
            Warn(DeviceRemove(NULL, Expected));
    }
    FailureKeep(FALSE);
    return Error;
}
