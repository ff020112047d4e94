/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Software devices: the SwDevice functions. They write down what the caller wants the device to be
 * and start swdevice.exe, which makes it so and outlives us.
 */
#include "machine.h"
#include "swdevice.h"

#include <stdio.h>
#include <wchar.h>

#define KEEPER L"C:\\windows\\system32\\swdevice.exe"

static const DEVPROPKEY property_class_guid = {
    {0xa45c254e, 0xdf1c, 0x4efd, {0x80, 0x20, 0x67, 0xd1, 0x46, 0xa8, 0x50, 0xe0}}, 10};
static const DEVPROPKEY property_friendly_name = {
    {0xa45c254e, 0xdf1c, 0x4efd, {0x80, 0x20, 0x67, 0xd1, 0x46, 0xa8, 0x50, 0xe0}}, 14};

struct software_device {
    WCHAR id[ID_CHARACTERS];
    HANDLE keeper;     /* the process of swdevice.exe */
    HANDLE enumerated; /* set by it */
    HANDLE close;      /* set by us */
    HANDLE thread;     /* that calls back */
    DWORD thread_id;
    SW_DEVICE_CREATE_CALLBACK callback;
    void *context;
    volatile LONG self_closed; /* by the callback: the thread then frees the device */
};

/* ---- What the caller wants the device to be ---------------------------------------------------*/

static DWORD multi_length(PCWSTR list)
{
    DWORD length = 0;

    if (list == NULL)
        return 1;
    while (list[length] != 0)
        length += (DWORD)wcslen(list + length) + 1;
    return length + 1;
}

static BOOL is_key(const DEVPROPKEY *a, const DEVPROPKEY *b)
{
    return a->pid == b->pid && memcmp(&a->fmtid, &b->fmtid, sizeof(a->fmtid)) == 0;
}

/* Where Wine's SetupDiGetDeviceProperty looks for it. */
static DWORD write_property(HKEY node, const DEVPROPERTY *property)
{
    WCHAR path[PATH_CHARACTERS] = L"Properties\\";
    WCHAR text[GUID_CHARACTERS];
    const DEVPROPKEY *key = &property->CompKey.Key;
    HKEY value;
    DWORD error;

    if (is_key(key, &property_class_guid)) {
        machine_format_guid(property->Buffer, text);
        machine_set_string(node, L"ClassGUID", text);
        machine_set_string(node, L"Class", L"Net");
    } else if (is_key(key, &property_friendly_name)) {
        machine_set_string(node, L"FriendlyName", property->Buffer);
    }
    machine_format_guid(&key->fmtid, text);
    _snwprintf(path, PATH_CHARACTERS, L"Properties\\%ls\\%04lX", text, key->pid);
    if (property->Type == DEVPROP_TYPE_EMPTY) {
        error = RegDeleteTreeW(node, path);
        return error == ERROR_FILE_NOT_FOUND ? 0 : error;
    }
    error = RegCreateKeyExW(node, path, 0, NULL, 0, KEY_ALL_ACCESS, NULL, &value, NULL);
    if (error != 0)
        return error;
    error = RegSetValueExW(value, NULL, 0, 0xFFFF0000 | property->Type, property->Buffer,
                           property->BufferSize);
    RegCloseKey(value);
    return error;
}

static DWORD write_node(const WCHAR *id, const SW_DEVICE_CREATE_INFO *info, ULONG count,
                        const DEVPROPERTY *properties)
{
    static const WCHAR none[2] = L"";
    PCWSTR ids = info->pszzHardwareIds != NULL ? info->pszzHardwareIds : none;
    DWORD flags = 0;
    WCHAR class[GUID_CHARACTERS];
    HKEY node;
    DWORD error = machine_open_node(id, TRUE, &node);

    if (error != 0)
        return error;
    /* its class is that of its driver; Wine does not find a device that has none */
    if (machine_get_string(node, L"ClassGUID", class, GUID_CHARACTERS) != 0)
        machine_set_string(node, L"ClassGUID", L"{00000000-0000-0000-0000-000000000000}");
    error = RegSetValueExW(node, L"HardwareID", 0, REG_MULTI_SZ, (const BYTE *)ids,
                           multi_length(ids) * sizeof(*ids));
    if (error == 0)
        error =
            RegSetValueExW(node, L"ConfigFlags", 0, REG_DWORD, (const BYTE *)&flags, sizeof(flags));
    if (error == 0 && info->pszDeviceDescription != NULL)
        error = machine_set_string(node, L"DeviceDesc", info->pszDeviceDescription);
    for (ULONG i = 0; i < count && error == 0; i++)
        error = write_property(node, &properties[i]);
    RegCloseKey(node);
    return error;
}

/* ---- The process that keeps it ----------------------------------------------------------------*/

static HANDLE create_event(const WCHAR *format, DWORD process_id)
{
    WCHAR name[PATH_CHARACTERS];

    _snwprintf(name, PATH_CHARACTERS, format, process_id);
    return CreateEventW(NULL, TRUE, FALSE, name);
}

/* The events carry its process id, so it runs only once they exist. It inherits nothing. */
static DWORD start_keeper(struct software_device *device)
{
    STARTUPINFOW startup = {.cb = sizeof(startup)};
    PROCESS_INFORMATION process;
    WCHAR command[PATH_CHARACTERS];
    DWORD error = 0;

    _snwprintf(command, PATH_CHARACTERS, KEEPER L" %lu %ls", GetCurrentProcessId(), device->id);
    if (!CreateProcessW(KEEPER, command, NULL, NULL, FALSE, CREATE_SUSPENDED | DETACHED_PROCESS,
                        NULL, L"C:\\", &startup, &process))
        return GetLastError();
    device->keeper = process.hProcess;
    device->enumerated = create_event(EVENT_ENUMERATED, process.dwProcessId);
    device->close = create_event(EVENT_CLOSE, process.dwProcessId);
    if (device->enumerated == NULL || device->close == NULL) {
        error = GetLastError();
        TerminateProcess(process.hProcess, error);
    }
    ResumeThread(process.hThread);
    CloseHandle(process.hThread);
    return error;
}

static void free_device(struct software_device *device)
{
    HANDLE handles[4] = {device->keeper, device->enumerated, device->close, device->thread};

    for (unsigned i = 0; i < sizeof(handles) / sizeof(*handles); i++)
        if (handles[i] != NULL)
            CloseHandle(handles[i]);
    HeapFree(GetProcessHeap(), 0, device);
}

/* nc-swdevice-sw_device_create_callback: after the device was enumerated; not once it was closed */
static DWORD WINAPI call_back(void *parameter)
{
    struct software_device *device = parameter;
    HANDLE handles[3] = {device->close, device->enumerated, device->keeper};
    DWORD which = WaitForMultipleObjects(3, handles, FALSE, INFINITE);
    DWORD code = ERROR_TIMEOUT;

    if (which == WAIT_OBJECT_0 + 1) {
        device->callback((HSWDEVICE)device, S_OK, device->context, device->id);
    } else if (which == WAIT_OBJECT_0 + 2) {
        GetExitCodeProcess(device->keeper, &code);
        device->callback((HSWDEVICE)device, HRESULT_FROM_WIN32(code), device->context, NULL);
    }
    if (device->self_closed)
        free_device(device);
    return 0;
}

/* ---- The functions ----------------------------------------------------------------------------*/

HRESULT WINAPI SwDeviceCreate(PCWSTR enumerator, PCWSTR parent, const SW_DEVICE_CREATE_INFO *info,
                              ULONG count, const DEVPROPERTY *properties,
                              SW_DEVICE_CREATE_CALLBACK callback, void *context, HSWDEVICE *result)
{
    struct software_device *device;
    DWORD error;

    if (enumerator == NULL || parent == NULL || info == NULL || info->cbSize != sizeof(*info) ||
        info->pszInstanceId == NULL || callback == NULL || result == NULL)
        return E_INVALIDARG;
    device = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof(*device));
    if (device == NULL)
        return E_OUTOFMEMORY;
    _snwprintf(device->id, ID_CHARACTERS - 1, L"SWD\\%ls\\%ls", enumerator, info->pszInstanceId);
    device->callback = callback;
    device->context = context;
    error = write_node(device->id, info, count, properties);
    if (error == 0)
        error = start_keeper(device);
    if (error != 0) {
        free_device(device);
        return HRESULT_FROM_WIN32(error);
    }
    *result = (HSWDEVICE)device;
    device->thread = CreateThread(NULL, 0, call_back, device, CREATE_SUSPENDED, &device->thread_id);
    if (device->thread == NULL) {
        error = GetLastError();
        SetEvent(device->close);
        free_device(device);
        return HRESULT_FROM_WIN32(error);
    }
    ResumeThread(device->thread);
    return S_OK;
}

/*
 * nf-swdevice-swdeviceclose: no callback after it, it may be called by the callback, and it does
 * not wait for the device to be gone.
 */
void WINAPI SwDeviceClose(HSWDEVICE handle)
{
    struct software_device *device = (struct software_device *)handle;

    SetEvent(device->close);
    if (GetCurrentThreadId() == device->thread_id) {
        device->self_closed = 1;
        return;
    }
    WaitForSingleObject(device->thread, INFINITE);
    free_device(device);
}

/* nf-swdevice-swdevicesetlifetime */
HRESULT WINAPI SwDeviceSetLifetime(HSWDEVICE handle, SW_DEVICE_LIFETIME lifetime)
{
    struct software_device *device = (struct software_device *)handle;

    if (lifetime != SWDeviceLifetimeHandle && lifetime != SWDeviceLifetimeParentPresent)
        return E_INVALIDARG;
    return HRESULT_FROM_WIN32(
        machine_set_state(device->id, STATE_PERSISTENT, lifetime == SWDeviceLifetimeParentPresent));
}
