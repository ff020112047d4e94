/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The PnP manager's part in a software device, under Wine: a process for each device that the
 * cfgmgr32.dll double creates. It enumerates the device, installs its driver from the driver store
 * as the network class installer would, lets Wine start it, and removes it when the handle is
 * closed or its creator dies, which is why this is not done in the creator. The device stays when
 * it was made persistent. Nothing here knows Wintun: what it installs is in the INF.
 * Usage: swdevice CREATOR-PROCESS-ID DEVICE-INSTANCE-ID
 */
#include "machine.h"

#include <newdev.h>
#include <objbase.h>
#include <stdio.h>
#include <wchar.h>

#define DEVICE_MUTEX_MS 20000 /* for a previous removal to end */
#define START_MS        5000  /* for a driver to enable its interface, once it was started */
#define POLL_MS         20
#define LUID_INDEX_BASE 0x8000
#define LUID_INDEX_END  0x9000

/* nf-cfgmgr32-cm_get_devnode_status: the problem codes that Windows reports in these cases */
#define PROBLEM_START   CM_PROB_FAILED_START
#define PROBLEM_INSTALL CM_PROB_FAILED_INSTALL

static const GUID class_net = {
    0x4d36e972, 0xe325, 0x11ce, {0xbf, 0xc1, 0x08, 0x00, 0x2b, 0xe1, 0x03, 0x18}};
static const GUID interface_net = {
    0xcac88484, 0x7515, 0x4c03, {0x82, 0xe6, 0x71, 0xa8, 0x7a, 0xba, 0xc3, 0x61}};

/* ---- The network class installer --------------------------------------------------------------*/

/* Is the value of another device's driver key this one? */
static BOOL taken(const WCHAR *value, const void *data, DWORD size)
{
    HKEY key = machine_find_driver_key(value, data, size);

    if (key != NULL)
        RegCloseKey(key);
    return key != NULL;
}

/* The GUID that the device's creator has wished for, if nobody has it, or else a new one. */
static void choose_guid(HKEY key, WCHAR *text)
{
    GUID guid;
    DWORD size = sizeof(guid);
    DWORD bytes = GUID_CHARACTERS * sizeof(*text);

    if (RegGetValueW(key, NULL, L"SuggestedInstanceId", RRF_RT_REG_BINARY, NULL, &guid, &size) ==
            0 &&
        size == sizeof(guid)) {
        machine_format_guid(&guid, text);
        if (!taken(L"NetCfgInstanceId", text, bytes))
            return;
    }
    CoCreateGuid(&guid);
    machine_format_guid(&guid, text);
}

static DWORD choose_luid_index(void)
{
    DWORD index = LUID_INDEX_BASE;

    while (index < LUID_INDEX_END && taken(L"NetLuidIndex", &index, sizeof(index)))
        index++;
    return index;
}

/* The connection of the interface, with the first name "Ethernet n" that is free. */
static void name_connection(const WCHAR *guid, const WCHAR *id)
{
    WCHAR path[PATH_CHARACTERS];
    WCHAR name[PATH_CHARACTERS];
    HKEY key;

    _snwprintf(path, PATH_CHARACTERS,
               L"System\\CurrentControlSet\\Control\\Network\\" GUID_TEXT_NET L"\\%ls\\Connection",
               guid);
    if (RegCreateKeyExW(HKEY_LOCAL_MACHINE, path, 0, NULL, 0, KEY_ALL_ACCESS, NULL, &key, NULL) !=
        0)
        return;
    if (machine_get_string(key, L"Name", name, PATH_CHARACTERS) != 0) {
        _snwprintf(name, PATH_CHARACTERS, L"Ethernet %ls", guid);
        machine_set_string(key, L"Name", name);
    }
    machine_set_string(key, L"PnPInstanceID", id);
    RegCloseKey(key);
}

/* Identity of the interface: once for each driver key. */
static DWORD identify_interface(HKEY key, const WCHAR *id)
{
    WCHAR guid[GUID_CHARACTERS];
    DWORD index;
    DWORD size = sizeof(index);
    DWORD error = 0;

    if (machine_get_string(key, L"NetCfgInstanceId", guid, GUID_CHARACTERS) != 0) {
        choose_guid(key, guid);
        error = machine_set_string(key, L"NetCfgInstanceId", guid);
    }
    if (error == 0 &&
        RegGetValueW(key, NULL, L"NetLuidIndex", RRF_RT_REG_DWORD, NULL, &index, &size) != 0) {
        index = choose_luid_index();
        error =
            RegSetValueExW(key, L"NetLuidIndex", 0, REG_DWORD, (const BYTE *)&index, sizeof(index));
    }
    name_connection(guid, id);
    return error;
}

/* The lines of the install section that only this class has become values of the driver's key. */
static void apply_directives(HKEY key, HINF inf, const WCHAR *section)
{
    static const WCHAR *const names[] = {L"Characteristics", L"*IfType", L"*MediaType",
                                         L"*PhysicalMediaType"};
    INFCONTEXT line;

    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
        INT number;
        DWORD value;

        if (!SetupFindFirstLineW(inf, section, names[i], &line) ||
            !SetupGetIntField(&line, 1, &number))
            continue;
        value = (DWORD)number;
        RegSetValueExW(key, names[i], 0, REG_DWORD, (const BYTE *)&value, sizeof(value));
    }
}

static DWORD install_class(HDEVINFO set, SP_DEVINFO_DATA *device, const WCHAR *id,
                           const WCHAR *inf_path)
{
    SP_DRVINFO_DATA_W driver = {.cbSize = sizeof(driver)};
    union {
        SP_DRVINFO_DETAIL_DATA_W data;
        BYTE room[sizeof(SP_DRVINFO_DETAIL_DATA_W) + PATH_CHARACTERS * sizeof(WCHAR)];
    } detail = {.data = {.cbSize = sizeof(SP_DRVINFO_DETAIL_DATA_W)}};
    HKEY key;
    HINF inf;
    DWORD error;

    if (!SetupDiGetSelectedDriverW(set, device, &driver) ||
        !SetupDiGetDriverInfoDetailW(set, device, &driver, &detail.data, sizeof(detail), NULL))
        return GetLastError();
    error = machine_open_driver_key(id, TRUE, &key);
    if (error != 0)
        return error;
    error = identify_interface(key, id);
    machine_set_string(key, L"ComponentId", detail.data.HardwareID);
    machine_set_string(key, L"MatchingDeviceId", detail.data.HardwareID);
    machine_set_string(key, L"DriverDesc", detail.data.DrvDescription);
    inf = SetupOpenInfFileW(inf_path, NULL, INF_STYLE_WIN4, NULL);
    if (inf != INVALID_HANDLE_VALUE) {
        apply_directives(key, inf, detail.data.SectionName);
        SetupCloseInfFile(inf);
    }
    RegCloseKey(key);
    return error;
}

/* ---- The driver store -------------------------------------------------------------------------*/

/* Makes the drivers of one INF the ones there are to choose. Wine does not take a list back. */
static BOOL build_list(HDEVINFO set, SP_DEVINFO_DATA *device, const WCHAR *inf_path)
{
    SP_DEVINSTALL_PARAMS_W parameters = {.cbSize = sizeof(parameters)};
    SP_DRVINFO_DATA_W driver = {.cbSize = sizeof(driver)};

    if (!SetupDiGetDeviceInstallParamsW(set, device, &parameters))
        return FALSE;
    parameters.Flags |= DI_ENUMSINGLEINF;
    wcsncpy(parameters.DriverPath, inf_path, MAX_PATH - 1);
    return SetupDiSetDeviceInstallParamsW(set, device, &parameters) &&
           SetupDiBuildDriverInfoList(set, device, SPDIT_COMPATDRIVER) &&
           SetupDiEnumDriverInfoW(set, device, SPDIT_COMPATDRIVER, 0, &driver);
}

/* Has the INF a driver for the device? */
static BOOL offers_driver(const WCHAR *root, const WCHAR *inf_path)
{
    SP_DEVINFO_DATA device = {.cbSize = sizeof(device)};
    HDEVINFO set = SetupDiCreateDeviceInfoList(NULL, NULL);
    BOOL offers =
        SetupDiOpenDeviceInfoW(set, root, NULL, 0, &device) && build_list(set, &device, inf_path);

    SetupDiDestroyDeviceInfoList(set);
    return offers;
}

/* The INF in one folder of the store. */
static BOOL find_inf(const WCHAR *folder, WCHAR *inf_path)
{
    WCHAR pattern[PATH_CHARACTERS];
    WIN32_FIND_DATAW file;
    HANDLE search;

    _snwprintf(pattern, PATH_CHARACTERS, REPOSITORY L"\\%ls\\*.inf", folder);
    search = FindFirstFileW(pattern, &file);
    if (search == INVALID_HANDLE_VALUE)
        return FALSE;
    FindClose(search);
    _snwprintf(inf_path, PATH_CHARACTERS, REPOSITORY L"\\%ls\\%ls", folder, file.cFileName);
    return TRUE;
}

/* The newest package with a driver for a device that has these hardware ids. */
static BOOL find_driver(const WCHAR *root, WCHAR *best_path)
{
    WCHAR path[PATH_CHARACTERS];
    FILETIME date, best_date = {0};
    DWORDLONG number, best_number = 0;
    WIN32_FIND_DATAW folder;
    HANDLE search = FindFirstFileW(REPOSITORY L"\\*", &folder);

    best_path[0] = 0;
    if (search == INVALID_HANDLE_VALUE)
        return FALSE;
    do {
        LONG order;

        if (folder.cFileName[0] == '.' || !find_inf(folder.cFileName, path) ||
            !machine_read_version(path, &date, &number))
            continue;
        order = CompareFileTime(&date, &best_date);
        if (order < 0 || (order == 0 && number <= best_number) || !offers_driver(root, path))
            continue;
        best_date = date;
        best_number = number;
        wcscpy(best_path, path);
    } while (FindNextFileW(search, &folder));
    FindClose(search);
    return best_path[0] != 0;
}

/* ---- The device -------------------------------------------------------------------------------*/

/* Copies what the creator has given the device, so that its driver sees it. */
static DWORD copy_node(const WCHAR *id, const WCHAR *root)
{
    HKEY from;
    HKEY to;
    HKEY properties;
    HKEY copied;
    WCHAR driver[PATH_CHARACTERS];
    DWORD error = machine_open_node(id, FALSE, &from);

    if (error != 0)
        return error;
    error = machine_open_node(root, FALSE, &to);
    if (error == 0 && machine_get_string(from, L"Driver", driver, PATH_CHARACTERS) == 0)
        error = machine_set_string(to, L"Driver", driver);
    if (error == 0 && RegOpenKeyExW(from, L"Properties", 0, KEY_READ, &properties) == 0) {
        error = RegCreateKeyExW(to, L"Properties", 0, NULL, 0, KEY_ALL_ACCESS, NULL, &copied, NULL);
        if (error == 0) {
            error = RegCopyTreeW(properties, NULL, copied);
            RegCloseKey(copied);
        }
        RegCloseKey(properties);
    }
    RegCloseKey(to);
    RegCloseKey(from);
    return error;
}

/* Installs the driver that was found; Wine starts it as the last step. */
static DWORD install_driver(HDEVINFO set, SP_DEVINFO_DATA *device, const WCHAR *id,
                            const WCHAR *root, const WCHAR *inf_path)
{
    /* what UpdateDriverForPlugAndPlayDevices does, but for this device only */
    static const DI_FUNCTION steps[] = {DIF_ALLOW_INSTALL, DIF_INSTALLDEVICEFILES,
                                        DIF_REGISTER_COINSTALLERS, DIF_INSTALLINTERFACES,
                                        DIF_INSTALLDEVICE};
    DWORD error;

    if (!SetupDiCallClassInstaller(DIF_SELECTBESTCOMPATDRV, set, device))
        return GetLastError();
    error = install_class(set, device, id, inf_path);
    if (error == 0)
        error = copy_node(id, root);
    for (unsigned i = 0; i < sizeof(steps) / sizeof(*steps) && error == 0; i++) {
        if (!SetupDiCallClassInstaller(steps[i], set, device) &&
            GetLastError() != ERROR_DI_DO_DEFAULT)
            error = GetLastError();
    }
    return error;
}

static BOOL has_interface(const WCHAR *id)
{
    return machine_list_interfaces(&interface_net, id, TRUE, NULL, 0) > 1;
}

static void wait_for_interface(const WCHAR *id)
{
    ULONGLONG start = GetTickCount64();

    while (!has_interface(id) && GetTickCount64() - start < START_MS)
        Sleep(POLL_MS);
}

/* What Windows notes with a device when its driver is installed. */
static void note_driver(const WCHAR *id, const WCHAR *root)
{
    static const WCHAR *const names[] = {L"Class", L"ClassGUID", L"Mfg", L"Service"};
    WCHAR value[PATH_CHARACTERS];
    HKEY from;
    HKEY to;

    if (machine_open_node(root, FALSE, &from) != 0)
        return;
    if (machine_open_node(id, FALSE, &to) == 0) {
        for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
            if (machine_get_string(from, names[i], value, PATH_CHARACTERS) == 0)
                machine_set_string(to, names[i], value);
        RegCloseKey(to);
    }
    RegCloseKey(from);
}

/* Makes the ROOT node and installs its driver. Returns the problem that the device has then. */
static DWORD start_device(HDEVINFO set, const WCHAR *id, const WCHAR *root, const WCHAR *ids,
                          DWORD size)
{
    SP_DEVINFO_DATA device = {.cbSize = sizeof(device)};
    WCHAR inf_path[PATH_CHARACTERS];

    if (!SetupDiCreateDeviceInfoW(set, root, &class_net, NULL, NULL, 0, &device) ||
        !SetupDiSetDeviceRegistryPropertyW(set, &device, SPDRP_HARDWAREID, (const BYTE *)ids,
                                           size) ||
        !SetupDiCallClassInstaller(DIF_REGISTERDEVICE, set, &device))
        return PROBLEM_INSTALL;
    if (!find_driver(root, inf_path) || !build_list(set, &device, inf_path) ||
        install_driver(set, &device, id, root, inf_path) != 0)
        return PROBLEM_INSTALL;
    note_driver(id, root);
    wait_for_interface(id);
    return has_interface(id) ? 0 : PROBLEM_START;
}

/* A device without hardware ids needs no driver, and gets none. */
static void settle_device(HDEVINFO set, const WCHAR *id, const WCHAR *root)
{
    WCHAR ids[PATH_CHARACTERS];
    DWORD size = sizeof(ids);
    DWORD problem = 0;
    HKEY node;
    HKEY exists;

    if (machine_open_node(root, FALSE, &exists) == 0) {
        RegCloseKey(exists); /* it is persistent, and has been started */
    } else if (machine_open_node(id, FALSE, &node) == 0) {
        if (RegGetValueW(node, NULL, L"HardwareID", RRF_RT_REG_MULTI_SZ, NULL, ids, &size) != 0 ||
            ids[0] == 0)
            problem = PROBLEM_INSTALL;
        RegCloseKey(node);
        if (problem == 0)
            problem = start_device(set, id, root, ids, size);
    }
    machine_set_state(id, STATE_PROBLEM, problem);
    machine_set_state(id, STATE_SETTLED, 1);
}

static void keep_device(const WCHAR *id, HANDLE creator, HANDLE enumerated, HANDLE closed)
{
    HANDLE ends[2] = {closed, creator};
    HDEVINFO set = SetupDiCreateDeviceInfoList(NULL, NULL);
    WCHAR root[ID_CHARACTERS];

    machine_root_id(id, root);
    machine_set_state(id, STATE_KEEPER, GetCurrentProcessId());
    machine_set_state(id, STATE_PRESENT, 1);
    SetEvent(enumerated);
    settle_device(set, id, root);
    WaitForMultipleObjects(2, ends, FALSE, INFINITE);
    machine_set_state(id, STATE_KEEPER, 0);
    if (machine_get_state(id, STATE_PERSISTENT) == 0)
        machine_remove_device(id);
    SetupDiDestroyDeviceInfoList(set);
}

static HANDLE open_event(const WCHAR *format)
{
    WCHAR name[PATH_CHARACTERS];

    _snwprintf(name, PATH_CHARACTERS, format, GetCurrentProcessId());
    return OpenEventW(SYNCHRONIZE | EVENT_MODIFY_STATE, FALSE, name);
}

/* Only one has the device: nf-swdevice-swdeviceclose, a creation waits for the removal before. */
static HANDLE take_device(const WCHAR *id)
{
    WCHAR name[PATH_CHARACTERS];
    HANDLE mutex;
    DWORD result;

    _snwprintf(name, PATH_CHARACTERS, MUTEX_DEVICE, id);
    for (WCHAR *at = name + wcslen(L"Global\\"); *at != 0; at++)
        if (*at == '\\')
            *at = '_';
    mutex = CreateMutexW(NULL, FALSE, name);
    if (mutex == NULL)
        return NULL;
    result = WaitForSingleObject(mutex, DEVICE_MUTEX_MS);
    if (result != WAIT_OBJECT_0 && result != WAIT_ABANDONED) {
        CloseHandle(mutex);
        return NULL;
    }
    return mutex;
}

int main(void)
{
    HANDLE enumerated = open_event(EVENT_ENUMERATED);
    HANDLE closed = open_event(EVENT_CLOSE);
    HANDLE creator;
    HANDLE mutex;
    DWORD creator_id;
    WCHAR id[ID_CHARACTERS];

    if (swscanf(GetCommandLineW(), L"%*ls %lu %199l[^\n]", &creator_id, id) != 2 ||
        enumerated == NULL || closed == NULL)
        return ERROR_INVALID_PARAMETER;
    creator = OpenProcess(SYNCHRONIZE, FALSE, creator_id);
    if (creator == NULL)
        return ERROR_INVALID_PARAMETER;
    mutex = take_device(id);
    if (mutex == NULL)
        return ERROR_TIMEOUT;
    keep_device(id, creator, enumerated, closed);
    ReleaseMutex(mutex);
    return 0;
}
