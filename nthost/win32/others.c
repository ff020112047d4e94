/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Of ntdll.dll, bcrypt.dll and version.dll the few functions that are needed.
 */
#include "pe/private.h"
#include "win32/private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- ntdll.dll ---- */

static ULONG WINAPI RtlNtStatusToDosError(NTSTATUS status)
{
    return win32_error_of(status);
}
WIN32_EXPORT("ntdll", RtlNtStatusToDosError, 1, FAILS_NEVER, 0);

/* ---- bcrypt.dll ---- */

static NTSTATUS WINAPI BCryptGenRandom(HANDLE algorithm, uint8_t *buffer, ULONG bytes, ULONG flags)
{
    enum { USE_SYSTEM_PREFERRED_RNG = 2 };

    if (algorithm != NULL || flags != USE_SYSTEM_PREFERRED_RNG || buffer == NULL)
        return STATUS_INVALID_PARAMETER;
    for (ULONG done = 0; done < bytes;) {
        const ssize_t n = getrandom(buffer + done, bytes - done, 0);
        if (n > 0)
            done += (ULONG)n;
    }
    return STATUS_SUCCESS;
}
WIN32_EXPORT("bcrypt", BCryptGenRandom, 4, FAILS_CODE, (uint32_t)STATUS_INVALID_HANDLE);

/* ---- version.dll: the version resource of a driver image that is loaded ---- */

static struct nth_image *image_of(LPCWSTR path)
{
    struct nth_image *found = NULL;
    char *narrow = win32_utf8(path);
    const char *name = strrchr(narrow, '\\');

    for (unsigned i = 0; i < NTH_IMAGES && name != NULL; i++)
        if (atomic_load(&nth_images[i].live) && !nth_images[i].is_user &&
            strcmp(nth_images[i].name, name + 1) == 0)
            found = &nth_images[i];
    free(narrow);
    return found;
}

/* VS_VERSIONINFO: found by its key, which is text of 16 bits. */
static const uint8_t *version_of(LPCWSTR path, DWORD *bytes)
{
    static const WCHAR key[] = L"VS_VERSION_INFO";
    const struct nth_image *image = image_of(path);
    size_t size = 0;
    const uint8_t *resources = image != NULL ? nth_image_resources(image, &size) : NULL;

    for (size_t i = 6; resources != NULL && i + sizeof(key) <= size; i += 2)
        if (memcmp(resources + i, key, sizeof(key)) == 0) {
            const uint8_t *info = resources + i - 6;
            USHORT length;
            memcpy(&length, info, sizeof(length));
            if (length > size - (i - 6))
                return NULL;
            *bytes = length;
            return info;
        }
    return NULL;
}

static DWORD WINAPI GetFileVersionInfoSizeW(LPCWSTR path, DWORD *handle)
{
    DWORD bytes = 0;

    if (handle != NULL)
        *handle = 0;
    if (image_of(path) == NULL)
        return (DWORD)win32_fail(ERROR_FILE_NOT_FOUND);
    if (version_of(path, &bytes) == NULL)
        return (DWORD)win32_fail(ERROR_RESOURCE_TYPE_NOT_FOUND);
    return bytes;
}
WIN32_EXPORT("version", GetFileVersionInfoSizeW, 2, FAILS_ZERO, ERROR_RESOURCE_TYPE_NOT_FOUND);

static BOOL WINAPI GetFileVersionInfoW(LPCWSTR path, DWORD handle, DWORD room, void *data)
{
    DWORD bytes = 0;
    const uint8_t *info = version_of(path, &bytes);

    (void)handle;
    if (info == NULL)
        return win32_fail(ERROR_RESOURCE_TYPE_NOT_FOUND);
    memcpy(data, info, bytes < room ? bytes : room);
    return TRUE;
}
WIN32_EXPORT("version", GetFileVersionInfoW, 4, FAILS_ZERO, ERROR_RESOURCE_TYPE_NOT_FOUND);

/* Only the root block, VS_FIXEDFILEINFO: behind the key, aligned to 32 bits. */
static BOOL WINAPI VerQueryValueW(const void *block, LPCWSTR name, void **value, UINT *bytes)
{
    enum { FIXED_AT = 40, FIXED_BYTES = 52 };
    USHORT length, value_length;

    memcpy(&length, block, sizeof(length));
    memcpy(&value_length, (const uint8_t *)block + 2, sizeof(value_length));
    if (win32_compare(name, L"\\") != 0)
        nth_stop("not-provided", "VerQueryValueW of another block than the root");
    if (value_length != FIXED_BYTES || length < FIXED_AT + FIXED_BYTES)
        return FALSE;
    *value = (uint8_t *)(uintptr_t)block + FIXED_AT;
    *bytes = FIXED_BYTES;
    return TRUE;
}
WIN32_EXPORT("version", VerQueryValueW, 4, FAILS_ZERO, ERROR_RESOURCE_TYPE_NOT_FOUND);
