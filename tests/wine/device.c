/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Adds and removes root-enumerated network devices with the documented functions of SetupAPI, as
 * an installer would, for tests that run without wintun.dll.
 * Usage: device add INF NAME [DESCRIPTOR] | device remove NAME | device path NAME
 * NAME is the instance, and the NetCfgInstanceId is written before the driver starts, so that a
 * test knows it: "{GUID}". DESCRIPTOR is SDDL for who may open the adapter. path prints the device
 * interface.
 */
#include <windows.h>

#include <setupapi.h>

#include <initguid.h>

#include <devguid.h>
#include <devpropdef.h>
#include <newdev.h>
#include <sddl.h>
#include <stdio.h>
#include <wintun-abi.h>

DEFINE_GUID(INTERFACE_NET, 0xcac88484, 0x7515, 0x4c03, 0x82, 0xe6, 0x71, 0xa8, 0x7a, 0xba, 0xc3,
            0x61);
static const DEVPROPKEY SECURITY = {WINTUN_PROPERTY_FMTID, WINTUN_PROPERTY_SECURITY};

/* From its page; mingw-w64 10 does not declare it. */
WINSETUPAPI BOOL WINAPI SetupDiSetDevicePropertyW(HDEVINFO set, PSP_DEVINFO_DATA device,
                                                  const DEVPROPKEY *key, DEVPROPTYPE type,
                                                  const BYTE *data, DWORD bytes, DWORD flags);

static int failed(const char *what)
{
    fprintf(stderr, "device: %s: error %lu\n", what, GetLastError());
    return 1;
}

static void instance_id(WCHAR id[200], const WCHAR *name)
{
    _snwprintf(id, 200, L"ROOT\\WINTUN\\%ls", name);
}

static int set_security(HDEVINFO set, SP_DEVINFO_DATA *device, const WCHAR *text)
{
    PSECURITY_DESCRIPTOR descriptor;
    ULONG bytes;

    if (!ConvertStringSecurityDescriptorToSecurityDescriptorW(text, SDDL_REVISION_1, &descriptor,
                                                              &bytes))
        return failed("descriptor");
    const BOOL done = SetupDiSetDevicePropertyW(
        set, device, &SECURITY, DEVPROP_TYPE_SECURITY_DESCRIPTOR, descriptor, bytes, 0);
    LocalFree(descriptor);
    return done ? 0 : failed("SetupDiSetDeviceProperty");
}

static int prepare(HDEVINFO set, SP_DEVINFO_DATA *device, const WCHAR *name, const WCHAR *security)
{
    static const WCHAR hardware[] = L"Wintun\0";
    HKEY key;

    if (!SetupDiSetDeviceRegistryPropertyW(set, device, SPDRP_HARDWAREID, (const BYTE *)hardware,
                                           sizeof(hardware)) ||
        !SetupDiCallClassInstaller(DIF_REGISTERDEVICE, set, device))
        return failed("registering the device");
    key = SetupDiCreateDevRegKeyW(set, device, DICS_FLAG_GLOBAL, 0, DIREG_DRV, NULL, NULL);
    if (key == INVALID_HANDLE_VALUE)
        return failed("its driver key");
    RegSetValueExW(key, L"NetCfgInstanceId", 0, REG_SZ, (const BYTE *)name,
                   (DWORD)((wcslen(name) + 1) * sizeof(WCHAR)));
    RegCloseKey(key);
    return security ? set_security(set, device, security) : 0;
}

static int add(const WCHAR *inf, const WCHAR *name, const WCHAR *security)
{
    const HDEVINFO set = SetupDiCreateDeviceInfoList(&GUID_DEVCLASS_NET, NULL);
    SP_DEVINFO_DATA device = {.cbSize = sizeof(device)};
    WCHAR id[200], full[MAX_PATH];
    BOOL reboot;

    instance_id(id, name);
    GetFullPathNameW(inf, MAX_PATH, full, NULL);
    if (!SetupDiCreateDeviceInfoW(set, id, &GUID_DEVCLASS_NET, L"Wintun", NULL, 0, &device))
        return failed("SetupDiCreateDeviceInfo");
    const int result = prepare(set, &device, name, security);
    if (result)
        return result;
    if (!UpdateDriverForPlugAndPlayDevicesW(NULL, L"Wintun", full, 0, &reboot))
        return failed("UpdateDriverForPlugAndPlayDevices");
    SetupDiDestroyDeviceInfoList(set);
    return 0;
}

static int remove_device(const WCHAR *name)
{
    const HDEVINFO set = SetupDiCreateDeviceInfoList(&GUID_DEVCLASS_NET, NULL);
    SP_DEVINFO_DATA device = {.cbSize = sizeof(device)};
    WCHAR id[200];

    instance_id(id, name);
    if (!SetupDiOpenDeviceInfoW(set, id, NULL, 0, &device)) {
        fprintf(stderr, "device: %ls: ", id);
        return failed("SetupDiOpenDeviceInfo");
    }
    if (!SetupDiCallClassInstaller(DIF_REMOVE, set, &device))
        return failed("DIF_REMOVE");
    SetupDiDestroyDeviceInfoList(set);
    return 0;
}

/* The reference string is the NetCfgInstanceId. */
static int path(const WCHAR *name)
{
    const HDEVINFO set =
        SetupDiGetClassDevsW(&INTERFACE_NET, NULL, NULL, DIGCF_PRESENT | DIGCF_DEVICEINTERFACE);
    SP_DEVICE_INTERFACE_DATA i = {.cbSize = sizeof(i)};
    union {
        SP_DEVICE_INTERFACE_DETAIL_DATA_W data;
        char room[1024];
    } detail;

    for (DWORD n = 0; SetupDiEnumDeviceInterfaces(set, NULL, &INTERFACE_NET, n, &i); n++) {
        detail.data.cbSize = sizeof(detail.data);
        if (!(i.Flags & SPINT_ACTIVE) ||
            !SetupDiGetDeviceInterfaceDetailW(set, &i, &detail.data, sizeof(detail), NULL, NULL))
            continue;
        const WCHAR *reference = wcsrchr(detail.data.DevicePath, L'\\');
        if (!reference || _wcsicmp(reference + 1, name) != 0)
            continue;
        printf("%ls\n", detail.data.DevicePath);
        SetupDiDestroyDeviceInfoList(set);
        return 0;
    }
    SetupDiDestroyDeviceInfoList(set);
    fprintf(stderr, "device: no interface\n");
    return 1;
}

int main(int argc, char **argv)
{
    int count;
    WCHAR **const arguments = CommandLineToArgvW(GetCommandLineW(), &count);

    if (count >= 4 && wcscmp(arguments[1], L"add") == 0)
        return add(arguments[2], arguments[3], count > 4 ? arguments[4] : NULL);
    if (count == 3 && wcscmp(arguments[1], L"remove") == 0)
        return remove_device(arguments[2]);
    if (count == 3 && wcscmp(arguments[1], L"path") == 0)
        return path(arguments[2]);
    fprintf(stderr, "usage: device add INF NAME [SDDL] | remove NAME | path NAME\n");
    return 2;
}
