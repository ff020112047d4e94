/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * How wintun.dll gets what the double provides, without a byte of its file being changed: when it
 * is loaded, the slots of those of its imports that the double exports as well are pointed here.
 * One of them is GetProcAddress, by which it finds the rest. Also the private namespaces, which it
 * uses before it loads any other library.
 */
#include "double.h"

#include <stdio.h>
#include <wchar.h>
#include <winternl.h>

#define CLIENT L"wintun.dll"

#ifndef STATUS_ALREADY_INITIALIZED
#define STATUS_ALREADY_INITIALIZED ((NTSTATUS)0xC0000510)
#endif

NTSTATUS NTAPI RtlGetLastNtStatus(void); /* winternl.h has it not */

HMODULE double_module;

/* ldrdllnotification */
struct loaded {
    ULONG flags;
    const UNICODE_STRING *full_name;
    const UNICODE_STRING *base_name;
    BYTE *base;
    ULONG size;
};

typedef void(CALLBACK *loaded_fn)(ULONG reason, const struct loaded *data, void *context);
typedef NTSTATUS(NTAPI *register_fn)(ULONG flags, loaded_fn called, void *context, void **cookie);

FARPROC WINAPI hook_get_proc(HMODULE module, LPCSTR name)
{
    FARPROC own = HIWORD((ULONG_PTR)name) != 0 ? GetProcAddress(double_module, name) : NULL;

    return own != NULL ? own : GetProcAddress(module, name);
}

/* nci.dll does not exist under Wine. */
HMODULE WINAPI hook_load_library(LPCWSTR name, HANDLE file, DWORD flags)
{
    if (_wcsicmp(name, L"nci.dll") == 0)
        return double_module;
    return LoadLibraryExW(name, file, flags);
}

static void point_here(ULONG_PTR *slot, const char *name)
{
    FARPROC own = GetProcAddress(double_module, name);
    DWORD protection;

    if (own == NULL || !VirtualProtect(slot, sizeof(*slot), PAGE_READWRITE, &protection))
        return;
    *slot = (ULONG_PTR)own;
    VirtualProtect(slot, sizeof(*slot), protection, &protection);
}

static void patch_imports(BYTE *base)
{
    const IMAGE_DOS_HEADER *dos = (const IMAGE_DOS_HEADER *)base;
    const IMAGE_NT_HEADERS *headers = (const IMAGE_NT_HEADERS *)(base + dos->e_lfanew);
    const IMAGE_DATA_DIRECTORY *directory =
        &headers->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT];
    const IMAGE_IMPORT_DESCRIPTOR *library =
        (const IMAGE_IMPORT_DESCRIPTOR *)(base + directory->VirtualAddress);

    if (directory->Size == 0)
        return;
    for (; library->Name != 0; library++) {
        const IMAGE_THUNK_DATA *name =
            (const IMAGE_THUNK_DATA *)(base + library->OriginalFirstThunk);
        IMAGE_THUNK_DATA *slot = (IMAGE_THUNK_DATA *)(base + library->FirstThunk);

        for (; name->u1.AddressOfData != 0; name++, slot++)
            if (!IMAGE_SNAP_BY_ORDINAL(name->u1.Ordinal))
                point_here(&slot->u1.Function,
                           ((const IMAGE_IMPORT_BY_NAME *)(base + name->u1.AddressOfData))->Name);
    }
}

/* Called after the imports were bound, before DllMain. */
static void CALLBACK module_loaded(ULONG reason, const struct loaded *data, void *context)
{
    if (reason == 1 /* LDR_DLL_NOTIFICATION_REASON_LOADED */ &&
        _wcsicmp(data->base_name->Buffer, CLIENT) == 0)
        patch_imports(data->base);
}

/* ---- Private namespaces: one event says that a namespace exists -------------------------------*/

static void global_name(const WCHAR *name, WCHAR *text)
{
    _snwprintf(text, PATH_CHARACTERS, L"Global\\Namespace-%ls", name);
    text[PATH_CHARACTERS - 1] = 0;
    for (WCHAR *at = text + wcslen(L"Global\\"); *at != 0; at++)
        if (*at == '\\')
            *at = '_';
}

/* A boundary keeps out those who lack its SIDs: not under Wine, which has one user. */
HANDLE WINAPI kernel_create_boundary(LPCWSTR name, ULONG flags)
{
    return HeapAlloc(GetProcessHeap(), 0, 1);
}

BOOL WINAPI kernel_add_sid(HANDLE *boundary, PSID sid)
{
    if (*boundary != NULL && IsValidSid(sid))
        return TRUE;
    SetLastError(ERROR_INVALID_PARAMETER);
    return FALSE;
}

void WINAPI kernel_delete_boundary(HANDLE boundary)
{
    HeapFree(GetProcessHeap(), 0, boundary);
}

HANDLE WINAPI kernel_create_namespace(SECURITY_ATTRIBUTES *attributes, void *boundary,
                                      LPCWSTR prefix)
{
    WCHAR name[PATH_CHARACTERS];
    HANDLE event;

    global_name(prefix, name);
    event = CreateEventW(attributes, TRUE, FALSE, name);
    if (event != NULL && GetLastError() == ERROR_ALREADY_EXISTS) {
        CloseHandle(event);
        SetLastError(ERROR_ALREADY_EXISTS);
        return NULL;
    }
    return event;
}

HANDLE WINAPI kernel_open_namespace(void *boundary, LPCWSTR prefix)
{
    WCHAR name[PATH_CHARACTERS];
    HANDLE event;

    global_name(prefix, name);
    event = OpenEventW(SYNCHRONIZE, FALSE, name);
    if (event == NULL && GetLastError() == ERROR_FILE_NOT_FOUND)
        SetLastError(ERROR_PATH_NOT_FOUND);
    return event;
}

BOOLEAN WINAPI kernel_close_namespace(HANDLE namespace, ULONG flags)
{
    return (BOOLEAN)CloseHandle(namespace);
}

/* Without a namespace of that name a mutex in it cannot be made. */
HANDLE WINAPI kernel_create_mutex(SECURITY_ATTRIBUTES *attributes, BOOL owned, LPCWSTR name)
{
    WCHAR text[PATH_CHARACTERS];

    if (name == NULL || wcschr(name, '\\') == NULL || _wcsnicmp(name, L"Global\\", 7) == 0 ||
        _wcsnicmp(name, L"Local\\", 6) == 0)
        return CreateMutexW(attributes, owned, name);
    global_name(name, text);
    return CreateMutexW(attributes, owned, text);
}

/* ---- Statuses ---------------------------------------------------------------------------------*/

/* 1247 on Windows (learn.microsoft.com, System Error Codes), "no such message" under Wine. */
BOOL WINAPI kernel_control(HANDLE device, DWORD code, void *input, DWORD input_size, void *output,
                           DWORD output_size, DWORD *returned, OVERLAPPED *overlapped)
{
    BOOL done =
        DeviceIoControl(device, code, input, input_size, output, output_size, returned, overlapped);

    if (!done && RtlGetLastNtStatus() == STATUS_ALREADY_INITIALIZED)
        SetLastError(ERROR_ALREADY_INITIALIZED);
    return done;
}

BOOL WINAPI DllMain(HINSTANCE module, DWORD reason, void *reserved)
{
    if (reason == DLL_PROCESS_ATTACH) {
        register_fn notify = (register_fn)(void *)GetProcAddress(GetModuleHandleW(L"ntdll.dll"),
                                                                 "LdrRegisterDllNotification");
        void *cookie;

        double_module = module;
        DisableThreadLibraryCalls(module);
        if (notify == NULL || notify(0, module_loaded, NULL, &cookie) != 0)
            return FALSE;
    }
    return TRUE;
}
