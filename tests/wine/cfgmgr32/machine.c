/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Reads and writes what is kept of devices; see machine.h. Keys and values are those of Windows
 * where a program could look at them: Enum, Control\Class, Control\DeviceClasses.
 */
#include "machine.h"

#include <stdio.h>
#include <wchar.h>

#define ENUM_KEY      L"System\\CurrentControlSet\\Enum\\"
#define CLASS_KEY     L"System\\CurrentControlSet\\Control\\Class\\"
#define STATE_KEY     L"Wine double"
#define DRIVER_LIMIT  10000
#define ID_PREFIX_SWD L"SWD\\"

void machine_format_guid(const GUID *guid, WCHAR *text)
{
    _snwprintf(text, GUID_CHARACTERS, L"{%08lX-%04X-%04X-%02X%02X-%02X%02X%02X%02X%02X%02X}",
               guid->Data1, guid->Data2, guid->Data3, guid->Data4[0], guid->Data4[1],
               guid->Data4[2], guid->Data4[3], guid->Data4[4], guid->Data4[5], guid->Data4[6],
               guid->Data4[7]);
}

DWORD machine_get_string(HKEY key, const WCHAR *name, WCHAR *text, DWORD characters)
{
    DWORD size = characters * sizeof(*text);

    return RegGetValueW(key, NULL, name, RRF_RT_REG_SZ, NULL, text, &size);
}

DWORD machine_set_string(HKEY key, const WCHAR *name, const WCHAR *text)
{
    return RegSetValueExW(key, name, 0, REG_SZ, (const BYTE *)text,
                          (DWORD)((wcslen(text) + 1) * sizeof(*text)));
}

DWORD machine_open_node(const WCHAR *id, BOOL create, HKEY *node)
{
    WCHAR path[PATH_CHARACTERS];

    _snwprintf(path, PATH_CHARACTERS, ENUM_KEY L"%ls", id);
    if (!create)
        return RegOpenKeyExW(HKEY_LOCAL_MACHINE, path, 0, KEY_ALL_ACCESS, node);
    return RegCreateKeyExW(HKEY_LOCAL_MACHINE, path, 0, NULL, 0, KEY_ALL_ACCESS, NULL, node, NULL);
}

void machine_root_id(const WCHAR *id, WCHAR *root)
{
    if (_wcsnicmp(id, ID_PREFIX_SWD, 4) == 0)
        _snwprintf(root, ID_CHARACTERS, L"ROOT\\%ls", id + 4);
    else
        wcsncpy(root, id, ID_CHARACTERS);
    root[ID_CHARACTERS - 1] = 0;
}

DWORD machine_get_state(const WCHAR *id, const WCHAR *name)
{
    HKEY node;
    DWORD value = 0;
    DWORD size = sizeof(value);

    if (machine_open_node(id, FALSE, &node) != 0)
        return 0;
    if (RegGetValueW(node, STATE_KEY, name, RRF_RT_REG_DWORD, NULL, &value, &size) != 0)
        value = 0;
    RegCloseKey(node);
    return value;
}

DWORD machine_set_state(const WCHAR *id, const WCHAR *name, DWORD value)
{
    HKEY node;
    HKEY state;
    DWORD error = machine_open_node(id, TRUE, &node);

    if (error != 0)
        return error;
    error = RegCreateKeyExW(node, STATE_KEY, 0, NULL, REG_OPTION_VOLATILE, KEY_ALL_ACCESS, NULL,
                            &state, NULL);
    RegCloseKey(node);
    if (error != 0)
        return error;
    error = RegSetValueExW(state, name, 0, REG_DWORD, (const BYTE *)&value, sizeof(value));
    RegCloseKey(state);
    return error;
}

void machine_clear_state(const WCHAR *id)
{
    HKEY node;

    if (machine_open_node(id, FALSE, &node) != 0)
        return;
    RegDeleteTreeW(node, STATE_KEY);
    RegCloseKey(node);
}

/* The first number of the class that is free becomes the device's. */
static DWORD create_driver_key(HKEY node, HKEY *key)
{
    WCHAR name[PATH_CHARACTERS];
    WCHAR path[PATH_CHARACTERS];

    for (unsigned number = 0; number < DRIVER_LIMIT; number++) {
        DWORD disposition;
        DWORD error;

        _snwprintf(name, PATH_CHARACTERS, GUID_TEXT_NET L"\\%04u", number);
        _snwprintf(path, PATH_CHARACTERS, CLASS_KEY L"%ls", name);
        error = RegCreateKeyExW(HKEY_LOCAL_MACHINE, path, 0, NULL, 0, KEY_ALL_ACCESS, NULL, key,
                                &disposition);
        if (error != 0)
            return error;
        if (disposition == REG_CREATED_NEW_KEY)
            return machine_set_string(node, L"Driver", name);
        RegCloseKey(*key);
    }
    return ERROR_NO_MORE_ITEMS;
}

DWORD machine_open_driver_key(const WCHAR *id, BOOL create, HKEY *key)
{
    WCHAR name[PATH_CHARACTERS];
    WCHAR path[PATH_CHARACTERS];
    HKEY node;
    DWORD error = machine_open_node(id, FALSE, &node);

    if (error != 0)
        return error;
    error = machine_get_string(node, L"Driver", name, PATH_CHARACTERS);
    if (error == 0) {
        _snwprintf(path, PATH_CHARACTERS, CLASS_KEY L"%ls", name);
        error = RegOpenKeyExW(HKEY_LOCAL_MACHINE, path, 0, KEY_ALL_ACCESS, key);
    }
    if (error != 0 && create)
        error = create_driver_key(node, key);
    RegCloseKey(node);
    return error;
}

/* The path of one interface, if it is of the device and active as asked for; else 0 characters. */
static ULONG interface_path(HDEVINFO set, SP_DEVICE_INTERFACE_DATA *entry, const WCHAR *id,
                            BOOL active, WCHAR *path)
{
    union {
        SP_DEVICE_INTERFACE_DETAIL_DATA_W data;
        BYTE room[sizeof(SP_DEVICE_INTERFACE_DETAIL_DATA_W) + PATH_CHARACTERS * sizeof(WCHAR)];
    } detail = {.data = {.cbSize = sizeof(SP_DEVICE_INTERFACE_DETAIL_DATA_W)}};
    SP_DEVINFO_DATA device = {.cbSize = sizeof(device)};
    WCHAR owner[ID_CHARACTERS];
    WCHAR root[ID_CHARACTERS];

    if (active && (entry->Flags & SPINT_ACTIVE) == 0)
        return 0;
    if (!SetupDiGetDeviceInterfaceDetailW(set, entry, &detail.data, sizeof(detail), NULL,
                                          &device) ||
        !SetupDiGetDeviceInstanceIdW(set, &device, owner, ID_CHARACTERS, NULL))
        return 0;
    if (id != NULL) {
        machine_root_id(id, root);
        if (_wcsicmp(owner, root) != 0)
            return 0;
    }
    wcsncpy(path, detail.data.DevicePath, PATH_CHARACTERS);
    path[PATH_CHARACTERS - 1] = 0;
    return (ULONG)wcslen(path) + 1;
}

ULONG machine_list_interfaces(const GUID *class, const WCHAR *id, BOOL active, WCHAR *list,
                              ULONG characters)
{
    HDEVINFO set = SetupDiGetClassDevsW(class, NULL, NULL, DIGCF_DEVICEINTERFACE);
    SP_DEVICE_INTERFACE_DATA entry = {.cbSize = sizeof(entry)};
    WCHAR path[PATH_CHARACTERS];
    ULONG used = 0;

    if (set != INVALID_HANDLE_VALUE) {
        for (DWORD i = 0; SetupDiEnumDeviceInterfaces(set, NULL, class, i, &entry); i++) {
            ULONG length = interface_path(set, &entry, id, active, path);

            if (length != 0 && list != NULL && used + length < characters)
                memcpy(list + used, path, length * sizeof(*path));
            used += length;
        }
        SetupDiDestroyDeviceInfoList(set);
    }
    if (list != NULL && used < characters)
        list[used] = 0;
    return used + 1;
}

/* A device that is not a software device is present when it is there at all. */
BOOL machine_is_present(const WCHAR *id)
{
    HKEY node;

    if (_wcsnicmp(id, ID_PREFIX_SWD, 4) == 0)
        return machine_get_state(id, STATE_PRESENT) != 0;
    if (machine_open_node(id, FALSE, &node) != 0)
        return FALSE;
    RegCloseKey(node);
    return TRUE;
}

/*
 * The driver's key is the SWD node's, which stays: the ROOT node must not take it along. Wine sends
 * the driver a surprise removal when the ROOT node has gone.
 */
void machine_remove_device(const WCHAR *id)
{
    SP_DEVINFO_DATA device = {.cbSize = sizeof(device)};
    HDEVINFO set = SetupDiCreateDeviceInfoList(NULL, NULL);
    WCHAR root[ID_CHARACTERS];
    HKEY node;

    machine_root_id(id, root);
    if (machine_open_node(root, FALSE, &node) == 0) {
        RegDeleteValueW(node, L"Driver");
        RegCloseKey(node);
        if (SetupDiOpenDeviceInfoW(set, root, NULL, 0, &device))
            SetupDiCallClassInstaller(DIF_REMOVE, set, &device);
    }
    SetupDiDestroyDeviceInfoList(set);
    machine_clear_state(id);
}

HKEY machine_find_driver_key(const WCHAR *value, const void *data, DWORD size)
{
    WCHAR name[ID_CHARACTERS];
    BYTE found[PATH_CHARACTERS];
    HKEY class;
    HKEY key = NULL;

    if (RegOpenKeyExW(HKEY_LOCAL_MACHINE, CLASS_KEY GUID_TEXT_NET, 0, KEY_READ, &class) != 0)
        return NULL;
    for (DWORD i = 0; key == NULL; i++) {
        DWORD length = ID_CHARACTERS;
        DWORD found_size = sizeof(found);

        if (RegEnumKeyExW(class, i, name, &length, NULL, NULL, NULL, NULL) != 0)
            break;
        if (RegGetValueW(class, name, value, RRF_RT_ANY, NULL, found, &found_size) == 0 &&
            found_size == size && memcmp(found, data, size) == 0 &&
            RegOpenKeyExW(class, name, 0, KEY_ALL_ACCESS, &key) != 0)
            key = NULL;
    }
    RegCloseKey(class);
    return key;
}

BOOL machine_read_version(const WCHAR *inf_path, FILETIME *date, DWORDLONG *number)
{
    HINF inf = SetupOpenInfFileW(inf_path, NULL, INF_STYLE_WIN4, NULL);
    WCHAR text[PATH_CHARACTERS];
    unsigned month = 0, day = 0, year = 0, parts[4] = {0};
    SYSTEMTIME time = {0};
    INFCONTEXT line;
    BOOL found;

    if (inf == INVALID_HANDLE_VALUE)
        return FALSE;
    found = SetupFindFirstLineW(inf, L"Version", L"DriverVer", &line) &&
            SetupGetStringFieldW(&line, 1, text, PATH_CHARACTERS, NULL) &&
            swscanf(text, L"%u/%u/%u", &month, &day, &year) == 3 &&
            SetupGetStringFieldW(&line, 2, text, PATH_CHARACTERS, NULL) &&
            swscanf(text, L"%u.%u.%u.%u", &parts[0], &parts[1], &parts[2], &parts[3]) >= 1;
    SetupCloseInfFile(inf);
    if (!found)
        return FALSE;
    time.wYear = (WORD)year;
    time.wMonth = (WORD)month;
    time.wDay = (WORD)day;
    *number = (DWORDLONG)parts[0] << 48 | (DWORDLONG)parts[1] << 32 | (DWORDLONG)parts[2] << 16 |
              parts[3];
    return SystemTimeToFileTime(&time, date);
}
