/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The driver store, and what the device manager does on top of it. Packages are taken in whole and
 * unverified: signatures are nothing that Wine could judge.
 */
#include "double.h"

#include <stdio.h>
#include <wchar.h>

#define INF_FOLDER    L"C:\\windows\\inf"
#define PACKAGES_MAX  1000
#define REMOVE_MS     10000
#define POLL_MS       20
#define NET_KEY       L"System\\CurrentControlSet\\Control\\Network\\" GUID_TEXT_NET
#define SUOI_FORCE    0x1 /* SUOI_FORCEDELETE */
#define OEM_NAME_FORM L"oem%u.inf"

static BOOL copy_files(const WCHAR *from, const WCHAR *to)
{
    WCHAR source[PATH_CHARACTERS];
    WCHAR target[PATH_CHARACTERS];
    WIN32_FIND_DATAW file;
    HANDLE search;
    BOOL copied = TRUE;

    _snwprintf(source, PATH_CHARACTERS, L"%ls\\*", from);
    search = FindFirstFileW(source, &file);
    if (search == INVALID_HANDLE_VALUE)
        return FALSE;
    do {
        if ((file.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0)
            continue;
        _snwprintf(source, PATH_CHARACTERS, L"%ls\\%ls", from, file.cFileName);
        _snwprintf(target, PATH_CHARACTERS, L"%ls\\%ls", to, file.cFileName);
        copied = CopyFileW(source, target, TRUE);
    } while (copied && FindNextFileW(search, &file));
    FindClose(search);
    return copied;
}

static void delete_folder(const WCHAR *folder)
{
    WCHAR path[PATH_CHARACTERS];
    WIN32_FIND_DATAW file;
    HANDLE search;

    _snwprintf(path, PATH_CHARACTERS, L"%ls\\*", folder);
    search = FindFirstFileW(path, &file);
    if (search != INVALID_HANDLE_VALUE) {
        do {
            _snwprintf(path, PATH_CHARACTERS, L"%ls\\%ls", folder, file.cFileName);
            DeleteFileW(path);
        } while (FindNextFileW(search, &file));
        FindClose(search);
    }
    RemoveDirectoryW(folder);
}

/* A new folder of the store; its name is what the INF is called from now on. */
static BOOL create_folder(WCHAR *name, WCHAR *folder)
{
    CreateDirectoryW(L"C:\\windows\\system32\\DriverStore", NULL);
    CreateDirectoryW(REPOSITORY, NULL);
    for (unsigned number = 0; number < PACKAGES_MAX; number++) {
        _snwprintf(name, MAX_PATH, OEM_NAME_FORM, number);
        _snwprintf(folder, PATH_CHARACTERS, REPOSITORY L"\\%ls", name);
        if (CreateDirectoryW(folder, NULL))
            return TRUE;
        if (GetLastError() != ERROR_ALREADY_EXISTS)
            return FALSE;
    }
    return FALSE;
}

/* nf-setupapi-setupcopyoeminfw: the package is the folder that the INF is in */
BOOL WINAPI store_copy_inf(PCWSTR source, PCWSTR location, DWORD media, DWORD style, PWSTR target,
                           DWORD characters, DWORD *needed, WCHAR **component)
{
    WCHAR from[PATH_CHARACTERS];
    WCHAR folder[PATH_CHARACTERS];
    WCHAR path[PATH_CHARACTERS];
    WCHAR name[MAX_PATH];
    WCHAR *last;
    DWORD error;

    wcsncpy(from, source, PATH_CHARACTERS - 1);
    from[PATH_CHARACTERS - 1] = 0;
    last = wcsrchr(from, '\\');
    if (last == NULL || GetFileAttributesW(source) == INVALID_FILE_ATTRIBUTES) {
        SetLastError(ERROR_FILE_NOT_FOUND);
        return FALSE;
    }
    *last = 0;
    if (!create_folder(name, folder))
        return FALSE;
    _snwprintf(path, PATH_CHARACTERS, INF_FOLDER L"\\%ls", name);
    if (!copy_files(from, folder) || !CopyFileW(source, path, FALSE)) {
        error = GetLastError();
        delete_folder(folder);
        SetLastError(error);
        return FALSE;
    }
    if (needed != NULL)
        *needed = (DWORD)wcslen(path) + 1;
    if (target == NULL)
        return TRUE;
    if (characters <= wcslen(path)) {
        SetLastError(ERROR_INSUFFICIENT_BUFFER);
        return FALSE;
    }
    wcscpy(target, path);
    if (component != NULL)
        *component = wcsrchr(target, '\\') + 1;
    return TRUE;
}

/* Does a device that Windows remembers have its driver from this INF? */
static BOOL in_use(const WCHAR *inf)
{
    WCHAR name[ID_CHARACTERS];
    WCHAR value[MAX_PATH];
    HKEY class;
    BOOL used = FALSE;

    if (RegOpenKeyExW(HKEY_LOCAL_MACHINE,
                      L"System\\CurrentControlSet\\Control\\Class\\" GUID_TEXT_NET, 0, KEY_READ,
                      &class) != 0)
        return FALSE;
    for (DWORD i = 0; !used; i++) {
        DWORD length = ID_CHARACTERS;
        DWORD size = sizeof(value);

        if (RegEnumKeyExW(class, i, name, &length, NULL, NULL, NULL, NULL) != 0)
            break;
        used = RegGetValueW(class, name, L"InfPath", RRF_RT_REG_SZ, NULL, value, &size) == 0 &&
               _wcsicmp(value, inf) == 0;
    }
    RegCloseKey(class);
    return used;
}

/* nf-setupapi-setupuninstalloeminfw: by force also when a device uses it */
BOOL WINAPI store_uninstall_inf(PCWSTR inf, DWORD flags, void *reserved)
{
    WCHAR path[PATH_CHARACTERS];

    if ((flags & SUOI_FORCE) == 0 && in_use(inf)) {
        SetLastError(ERROR_INF_IN_USE_BY_DEVICES);
        return FALSE;
    }
    _snwprintf(path, PATH_CHARACTERS, INF_FOLDER L"\\%ls", inf);
    if (!DeleteFileW(path))
        return FALSE;
    _snwprintf(path, PATH_CHARACTERS, REPOSITORY L"\\%ls", inf);
    delete_folder(path);
    return TRUE;
}

/* Is it a package of the store, and not just a file in the INF folder, where Wine looks? */
static BOOL in_store(const WCHAR *inf_path)
{
    WCHAR folder[PATH_CHARACTERS];
    const WCHAR *name = wcsrchr(inf_path, '\\');

    _snwprintf(folder, PATH_CHARACTERS, REPOSITORY L"\\%ls", name != NULL ? name + 1 : inf_path);
    return GetFileAttributesW(folder) != INVALID_FILE_ATTRIBUTES;
}

/* nf-setupapi-setupdienumdriverinfow; Wine's leaves out version and date. */
BOOL WINAPI store_enum_driver(HDEVINFO set, SP_DEVINFO_DATA *device, DWORD type, DWORD index,
                              SP_DRVINFO_DATA_W *driver)
{
    union {
        SP_DRVINFO_DETAIL_DATA_W data;
        BYTE room[sizeof(SP_DRVINFO_DETAIL_DATA_W) + PATH_CHARACTERS * sizeof(WCHAR)];
    } detail = {.data = {.cbSize = sizeof(SP_DRVINFO_DETAIL_DATA_W)}};

    for (DWORD i = 0; SetupDiEnumDriverInfoW(set, device, type, i, driver); i++) {
        if (!SetupDiGetDriverInfoDetailW(set, device, driver, &detail.data, sizeof(detail), NULL) ||
            !in_store(detail.data.InfFileName) || index-- != 0)
            continue;
        return machine_read_version(detail.data.InfFileName, &driver->DriverDate,
                                    &driver->DriverVersion);
    }
    return FALSE;
}

/* Whoever keeps the device lets it go, or we do. */
static void unplug(const WCHAR *id)
{
    WCHAR name[PATH_CHARACTERS];
    ULONGLONG start = GetTickCount64();
    DWORD keeper = machine_get_state(id, STATE_KEEPER);
    HANDLE close = NULL;

    machine_set_state(id, STATE_PERSISTENT, 0);
    if (keeper != 0) {
        _snwprintf(name, PATH_CHARACTERS, EVENT_CLOSE, keeper);
        close = OpenEventW(EVENT_MODIFY_STATE, FALSE, name);
    }
    if (close == NULL) {
        machine_remove_device(id);
        return;
    }
    SetEvent(close);
    CloseHandle(close);
    while (machine_is_present(id) && GetTickCount64() - start < REMOVE_MS)
        Sleep(POLL_MS);
}

static void forget_interface(HKEY driver)
{
    WCHAR guid[GUID_CHARACTERS];
    HKEY networks;

    if (machine_get_string(driver, L"NetCfgInstanceId", guid, GUID_CHARACTERS) != 0 ||
        RegOpenKeyExW(HKEY_LOCAL_MACHINE, NET_KEY, 0, KEY_ALL_ACCESS, &networks) != 0)
        return;
    RegDeleteTreeW(networks, guid);
    RegCloseKey(networks);
}

/* nf-newdev-diuninstalldevice: the device goes, and what is remembered of it */
BOOL WINAPI store_uninstall_device(HWND window, HDEVINFO set, SP_DEVINFO_DATA *device, DWORD flags,
                                   BOOL *reboot)
{
    WCHAR id[ID_CHARACTERS];
    HKEY key;
    HKEY node;

    if (reboot != NULL)
        *reboot = FALSE;
    if (!SetupDiGetDeviceInstanceIdW(set, device, id, ID_CHARACTERS, NULL))
        return FALSE;
    if (machine_is_present(id))
        unplug(id);
    if (machine_open_driver_key(id, FALSE, &key) == 0) {
        forget_interface(key);
        RegDeleteTreeW(key, NULL);
        RegDeleteKeyW(key, L"");
        RegCloseKey(key);
    }
    if (machine_open_node(id, FALSE, &node) == 0) {
        RegDeleteTreeW(node, NULL);
        RegDeleteKeyW(node, L"");
        RegCloseKey(node);
    }
    return TRUE;
}
