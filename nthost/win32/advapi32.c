/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * advapi32.dll: values of registry keys, security descriptors. Keys and descriptors are the
 * kernel's.
 */
#include "win32/private.h"

#include <stdlib.h>
#include <string.h>

/* ---- keys ---- */

uint32_t win32_key_open(const char *path, DWORD access, HKEY *result)
{
    WCHAR *wide = win32_wide(path);
    const USHORT bytes = (USHORT)(win32_length(wide) * sizeof(WCHAR));
    UNICODE_STRING name = {.Length = bytes, .MaximumLength = bytes, .Buffer = wide};
    OBJECT_ATTRIBUTES attributes;

    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE, NULL, NULL);
    const NTSTATUS status = ZwOpenKey(result, access, &attributes);
    free(wide);
    return win32_error_of(status);
}

static LSTATUS WINAPI RegCloseKey(HKEY key)
{
    return (LSTATUS)win32_error_of(nth_handle_close(win32_here()->nt, key));
}
WIN32_EXPORT("advapi32", RegCloseKey, 1, FAILS_NEVER, 0);

static UNICODE_STRING string_of(LPCWSTR text)
{
    const USHORT bytes = (USHORT)(text != NULL ? win32_length(text) * sizeof(WCHAR) : 0);

    return (UNICODE_STRING){
        .Length = bytes, .MaximumLength = bytes, .Buffer = (WCHAR *)(uintptr_t)text};
}

struct partial { /* KEY_VALUE_PARTIAL_INFORMATION */
    ULONG title, type, bytes;
    uint8_t data[];
};

/* The page: ERROR_MORE_DATA with the size when the buffer is too small, whose contents are
 * undefined then; ERROR_FILE_NOT_FOUND for a name that does not exist. */
static LSTATUS WINAPI RegQueryValueExW(HKEY key, LPCWSTR name, DWORD *reserved, DWORD *type,
                                       uint8_t *data, DWORD *bytes)
{
    UNICODE_STRING wide = string_of(name);
    ULONG needed = 0, room = 4096;

    if (reserved != NULL || (data != NULL && bytes == NULL))
        return ERROR_INVALID_PARAMETER;
    struct partial *value = win32_calloc(room);
    const NTSTATUS status =
        ZwQueryValueKey(key, &wide, KeyValuePartialInformation, value, room, &needed);
    LSTATUS result = (LSTATUS)win32_error_of(status);
    if (NT_SUCCESS(status)) {
        if (type != NULL)
            *type = value->type;
        if (data != NULL && *bytes >= value->bytes)
            memcpy(data, value->data, value->bytes);
        else if (data != NULL)
            result = ERROR_MORE_DATA;
        if (bytes != NULL)
            *bytes = value->bytes;
    }
    free(value);
    return result;
}
WIN32_EXPORT("advapi32", RegQueryValueExW, 6, FAILS_CODE, ERROR_FILE_NOT_FOUND);

static LSTATUS WINAPI RegSetValueExW(HKEY key, LPCWSTR name, DWORD reserved, DWORD type,
                                     const uint8_t *data, DWORD bytes)
{
    const UNICODE_STRING wide = string_of(name);

    if (reserved != 0)
        return ERROR_INVALID_PARAMETER;
    return (LSTATUS)win32_error_of(nth_key_set(key, &wide, type, data, bytes));
}
WIN32_EXPORT("advapi32", RegSetValueExW, 6, FAILS_CODE, ERROR_ACCESS_DENIED);

/* ---- SIDs and descriptors ---- */

enum { WinWorldSid = 1, WinLocalSystemSid = 22, WinBuiltinAdministratorsSid = 26 };

static BOOL WINAPI CreateWellKnownSid(DWORD type, const void *domain, void *sid, DWORD *bytes)
{
    static const uint8_t administrators[] = {1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0};
    static const uint8_t system[] = {1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0};
    const void *from = type == WinBuiltinAdministratorsSid ? (const void *)administrators : system;
    const DWORD size =
        type == WinBuiltinAdministratorsSid ? sizeof(administrators) : sizeof(system);

    if (domain != NULL || (type != WinBuiltinAdministratorsSid && type != WinLocalSystemSid))
        nth_stop("not-provided", "CreateWellKnownSid of type %u", type);
    if (sid == NULL || *bytes < size) {
        *bytes = size;
        return win32_fail(ERROR_INSUFFICIENT_BUFFER);
    }
    memcpy(sid, from, size);
    *bytes = size;
    return TRUE;
}
WIN32_EXPORT("advapi32", CreateWellKnownSid, 4, FAILS_ZERO, ERROR_NOT_ENOUGH_MEMORY);

static BOOL WINAPI ConvertStringSecurityDescriptorToSecurityDescriptorW(LPCWSTR text,
                                                                        DWORD revision,
                                                                        void **result, ULONG *bytes)
{
    void *descriptor = NULL;
    size_t size = 0;

    *result = NULL;
    if (text == NULL || revision != 1)
        return win32_fail(ERROR_INVALID_PARAMETER);
    char *narrow = win32_utf8(text);
    const int error = nth_sddl_parse(narrow, &descriptor, &size);
    free(narrow);
    if (error != 0)
        return win32_fail(ERROR_INVALID_PARAMETER);
    win32_hold(WIN32_LOCAL, descriptor, size);
    *result = descriptor;
    if (bytes != NULL)
        *bytes = (ULONG)size;
    return TRUE;
}
WIN32_EXPORT("advapi32", ConvertStringSecurityDescriptorToSecurityDescriptorW, 4, FAILS_ZERO,
             ERROR_NOT_ENOUGH_MEMORY);

/* Self-relative descriptors only, as the function above makes them: [MS-DTYP] 2.4.6. */
struct descriptor {
    UCHAR revision, reserved;
    USHORT control;
    ULONG owner, group, sacl, dacl;
};

enum { DACL_PRESENT = 4, DACL_DEFAULTED = 8, OWNER_DEFAULTED = 1 };

static DWORD WINAPI GetSecurityDescriptorLength(const struct descriptor *descriptor)
{
    DWORD end = sizeof(*descriptor);
    const uint8_t *base = (const uint8_t *)descriptor;
    const ULONG sids[] = {descriptor->owner, descriptor->group};
    const ULONG acls[] = {descriptor->sacl, descriptor->dacl};

    for (int i = 0; i < 2; i++) {
        if (sids[i] != 0 && sids[i] + 8 + 4u * base[sids[i] + 1] > end)
            end = sids[i] + 8 + 4u * base[sids[i] + 1];
        USHORT size;
        memcpy(&size, base + acls[i] + 2, sizeof(size));
        if (acls[i] != 0 && acls[i] + size > end)
            end = acls[i] + size;
    }
    return end;
}
WIN32_EXPORT("advapi32", GetSecurityDescriptorLength, 1, FAILS_NEVER, 0);

static BOOL WINAPI GetSecurityDescriptorOwner(const struct descriptor *descriptor, void **owner,
                                              BOOL *is_default)
{
    *owner = descriptor->owner != 0 ? (uint8_t *)(uintptr_t)descriptor + descriptor->owner : NULL;
    *is_default = (descriptor->control & OWNER_DEFAULTED) != 0;
    return TRUE;
}
WIN32_EXPORT("advapi32", GetSecurityDescriptorOwner, 3, FAILS_ZERO, ERROR_INVALID_SECURITY_DESCR);

static BOOL WINAPI GetSecurityDescriptorDacl(const struct descriptor *descriptor, BOOL *is_present,
                                             void **dacl, BOOL *is_default)
{
    *is_present = (descriptor->control & DACL_PRESENT) != 0;
    *dacl = descriptor->dacl != 0 ? (uint8_t *)(uintptr_t)descriptor + descriptor->dacl : NULL;
    *is_default = (descriptor->control & DACL_DEFAULTED) != 0;
    return TRUE;
}
WIN32_EXPORT("advapi32", GetSecurityDescriptorDacl, 4, FAILS_ZERO, ERROR_INVALID_SECURITY_DESCR);
