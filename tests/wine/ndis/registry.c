/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The registry and the object directory, as nthost/ndis asks for them: ASCII paths and names,
 * values as they are stored.
 */
#include "double.h"

#include <windows.h>

#include <winternl.h>

#include <string.h>

#define MACHINE "\\Registry\\Machine\\"
enum { PATH_CHARS = 512, STATUS_NOT_FOUND = (int)0xC0000034, STATUS_TOO_SMALL = (int)0xC0000023 };

static bool widen(WCHAR *to, size_t room, const char *from)
{
    return MultiByteToWideChar(CP_ACP, 0, from, -1, to, (int)room) > 0;
}

static HKEY open_key(const char *path, bool write)
{
    WCHAR wide[PATH_CHARS];
    const size_t prefix = sizeof(MACHINE) - 1;
    HKEY key = NULL;

    if (_strnicmp(path, MACHINE, prefix) != 0 || !widen(wide, PATH_CHARS, path + prefix))
        return NULL;
    if (write)
        RegCreateKeyExW(HKEY_LOCAL_MACHINE, wide, 0, NULL, 0, KEY_READ | KEY_WRITE, NULL, &key,
                        NULL);
    else
        RegOpenKeyExW(HKEY_LOCAL_MACHINE, wide, 0, KEY_READ, &key);
    return key;
}

uint32_t wine_key_get(const char *path, const char *name, uint32_t *type, void *data,
                      uint32_t *bytes)
{
    const HKEY key = open_key(path, false);
    WCHAR wide[PATH_CHARS];
    DWORD kind = 0, size = *bytes;
    LSTATUS result = ERROR_FILE_NOT_FOUND;

    if (key && widen(wide, PATH_CHARS, name))
        result = RegQueryValueExW(key, *wide ? wide : NULL, NULL, &kind, data, &size);
    if (key)
        RegCloseKey(key);
    *type = kind;
    *bytes = size;
    if (result == ERROR_MORE_DATA || (result == ERROR_SUCCESS && !data && size))
        return (uint32_t)STATUS_TOO_SMALL;
    return result == ERROR_SUCCESS ? 0 : (uint32_t)STATUS_NOT_FOUND;
}

uint32_t wine_key_set(const char *path, const char *name, uint32_t type, const void *data,
                      uint32_t bytes)
{
    const HKEY key = open_key(path, true);
    WCHAR wide[PATH_CHARS];
    LSTATUS result = ERROR_FILE_NOT_FOUND;

    if (key && widen(wide, PATH_CHARS, name))
        result = RegSetValueExW(key, wide, 0, type, data, bytes);
    if (key)
        RegCloseKey(key);
    return result == ERROR_SUCCESS ? 0 : (uint32_t)STATUS_NOT_FOUND;
}

void wine_key_write_text(const char *path, const char *name, const char *text)
{
    WCHAR wide[PATH_CHARS];

    if (widen(wide, PATH_CHARS, text))
        wine_key_set(path, name, REG_SZ, wide, (uint32_t)((wcslen(wide) + 1) * sizeof(WCHAR)));
}

void wine_key_write_number(const char *path, const char *name, uint32_t value)
{
    wine_key_set(path, name, REG_DWORD, &value, sizeof(value));
}

bool wine_key_read_text(const char *path, const char *name, char *text, size_t room)
{
    WCHAR wide[PATH_CHARS] = {0};
    uint32_t type, bytes = sizeof(wide) - sizeof(WCHAR);

    return wine_key_get(path, name, &type, wide, &bytes) == 0 && type == REG_SZ &&
           WideCharToMultiByte(CP_ACP, 0, wide, -1, text, (int)room, NULL, NULL) > 0;
}

uint32_t wine_key_read_number(const char *path, const char *name, uint32_t otherwise)
{
    uint32_t type, value, bytes = sizeof(value);

    return wine_key_get(path, name, &type, &value, &bytes) == 0 && type == REG_DWORD ? value
                                                                                     : otherwise;
}

NTSTATUS NTAPI NtQueryKey(HANDLE key, int what, void *data, ULONG bytes, ULONG *returned);

uint32_t wine_key_path(void *key, char *path, size_t room)
{
    struct {
        ULONG bytes;
        WCHAR name[PATH_CHARS];
    } answer;
    ULONG returned;
    const NTSTATUS status =
        NtQueryKey(key, 3 /* KeyNameInformation */, &answer, sizeof(answer), &returned);
    int chars = 0;

    if (status >= 0)
        chars = WideCharToMultiByte(CP_ACP, 0, answer.name, (int)(answer.bytes / sizeof(WCHAR)),
                                    path, (int)room - 1, NULL, NULL);
    path[chars] = 0;
    CloseHandle(key);
    return (uint32_t)status;
}

/* ...\Control\DeviceClasses\{class}\##?#ROOT#NET#0000#{class}\#{reference}, as Wine has it. */
static bool interface_path(const WCHAR *link, WCHAR *path, size_t room)
{
    static const WCHAR start[] = L"System\\CurrentControlSet\\Control\\DeviceClasses\\";
    const size_t chars = wcslen(link);
    const WCHAR *reference = wcsrchr(link, L'\\');

    if (chars < 48 || !reference || reference - link < 42 || chars + 128 > room)
        return false;
    wcscpy(path, start);
    wcsncat(path, reference - 38, 38);
    wcscat(path, L"\\##?#");
    wcsncat(path, link + 4, (size_t)(reference - link) - 4);
    wcscat(path, L"\\#");
    wcscat(path, reference + 1);
    return true;
}

/* Nothing when a removed device's keys are gone already. */
void wine_interface_mark(const uint16_t *link, bool is_on)
{
    WCHAR path[PATH_CHARS];
    const DWORD value = is_on;
    HKEY key, control;

    if (!interface_path((const WCHAR *)link, path, PATH_CHARS) ||
        RegOpenKeyExW(HKEY_LOCAL_MACHINE, path, 0, KEY_ALL_ACCESS, &key) != ERROR_SUCCESS)
        return;
    if (RegCreateKeyExW(key, L"Control", 0, NULL, REG_OPTION_VOLATILE, KEY_ALL_ACCESS, NULL,
                        &control, NULL) == ERROR_SUCCESS) {
        RegSetValueExW(control, L"Linked", 0, REG_DWORD, (const BYTE *)&value, sizeof(value));
        RegCloseKey(control);
    }
    RegCloseKey(key);
}

NTSTATUS NTAPI NtCreateDirectoryObject(HANDLE *directory, ACCESS_MASK access,
                                       OBJECT_ATTRIBUTES *attributes);

/* The handle stays open on purpose: it keeps the directory. */
void wine_directory(const uint16_t *path, size_t chars)
{
    UNICODE_STRING name = {(USHORT)(chars * sizeof(WCHAR)), (USHORT)(chars * sizeof(WCHAR)),
                           (WCHAR *)(ULONG_PTR)path};
    OBJECT_ATTRIBUTES attributes;
    HANDLE directory;

    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_OPENIF, NULL, NULL);
    const NTSTATUS status = NtCreateDirectoryObject(&directory, 0xF000F, &attributes);
    if (status < 0)
        wine_log("no object directory: 0x%08lx", status);
}
