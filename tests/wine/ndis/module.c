/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The module itself: its start, what it keeps for each thread, and the import slots of a driver,
 * which it points to its own functions where Wine 8 has none or a wrong one. The driver's image on
 * disk stays as it was built.
 */
#include "double.h"

#include <windows.h>

#include <rpc.h>
#include <string.h>

static DWORD slot = TLS_OUT_OF_INDEXES;

struct wine_thread *wine_thread(void)
{
    struct wine_thread *t = TlsGetValue(slot);

    if (!t) {
        t = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof(*t));
        if (!t) {
            wine_log("stop: no memory for a thread");
            wine_end();
        }
        TlsSetValue(slot, t);
    }
    return t;
}

void wine_yield(void)
{
    if (!SwitchToThread())
        YieldProcessor();
}

void wine_raise(uint32_t status)
{
    RaiseException(status, 0, 0, NULL);
    wine_log("stop: exception 0x%08x was not handled", status);
    wine_end();
}

void wine_guid(char text[39])
{
    UUID id;
    RPC_CSTR string;

    UuidCreate(&id);
    if (UuidToStringA(&id, &string) != RPC_S_OK) {
        wine_log("stop: no memory for a GUID");
        wine_end();
    }
    text[0] = '{';
    for (int i = 0; i < 36; i++) {
        const char c = (char)string[i];
        text[i + 1] = c >= 'a' && c <= 'f' ? (char)(c - 0x20) : c;
    }
    text[37] = '}';
    text[38] = 0;
    RpcStringFreeA(&string);
}

void *wine_kernel(const char *name)
{
    return (void *)GetProcAddress(GetModuleHandleW(L"ntoskrnl.exe"), name);
}

/* ---- the driver's imports ---- */

void *nth_export_find(const char *name); /* kernel.c; declared here because its header is sdk's */

static bool bind_slot(const char *module, const char *name, IMAGE_THUNK_DATA *slot_at)
{
    void *function = nth_export_find(name);
    DWORD before;

    if (!function)
        return GetProcAddress(GetModuleHandleA(module), name) != NULL;
    if (!VirtualProtect(slot_at, sizeof(*slot_at), PAGE_READWRITE, &before))
        return false;
    slot_at->u1.Function = (ULONG_PTR)function;
    return VirtualProtect(slot_at, sizeof(*slot_at), before, &before) != 0;
}

static bool bind_module(char *base, const IMAGE_IMPORT_DESCRIPTOR *module)
{
    const IMAGE_THUNK_DATA *name = (const void *)(base + module->OriginalFirstThunk);
    IMAGE_THUNK_DATA *slot_at = (void *)(base + module->FirstThunk);
    bool is_complete = true;

    for (; name->u1.AddressOfData; name++, slot_at++) {
        const char *text = IMAGE_SNAP_BY_ORDINAL(name->u1.Ordinal)
                               ? "(a number)"
                               : ((IMAGE_IMPORT_BY_NAME *)(base + name->u1.AddressOfData))->Name;
        if (bind_slot(base + module->Name, text, slot_at))
            continue;
        wine_log("stop: %s is neither Wine's nor the double's", text);
        is_complete = false;
    }
    return is_complete;
}

bool wine_bind(const void *address)
{
    PVOID base = NULL;
    bool is_complete = true;

    RtlPcToFileHeader((PVOID)(ULONG_PTR)address, &base);
    if (!base)
        return false;
    const IMAGE_NT_HEADERS *headers = (void *)((char *)base + ((IMAGE_DOS_HEADER *)base)->e_lfanew);
    const IMAGE_DATA_DIRECTORY *imports =
        &headers->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT];
    for (const IMAGE_IMPORT_DESCRIPTOR *m = (void *)((char *)base + imports->VirtualAddress);
         m->Name; m++)
        if (_stricmp((char *)base + m->Name, "ndis.sys") != 0)
            is_complete &= bind_module(base, m);
    return is_complete;
}

/* ---- start ---- */

void wine_boot(void); /* kernel.c */
BOOL WINAPI DllMain(HINSTANCE module, DWORD reason, void *reserved);

/* Wine may also start this file as the driver of the service "NDIS": then the second argument is a
 * registry path, and there is nothing to do but to succeed (STATUS_SUCCESS is 0). */
BOOL WINAPI DllMain(HINSTANCE module, DWORD reason, void *reserved)
{
    if (reason > DLL_THREAD_DETACH)
        return 0;
    if (reason == DLL_PROCESS_ATTACH) {
        HMODULE pinned; /* threads of ours may wait for programs to end when the last driver goes */
        GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                           (const WCHAR *)(ULONG_PTR)module, &pinned);
        slot = TlsAlloc();
        wine_boot();
    } else if (reason == DLL_THREAD_DETACH && slot != TLS_OUT_OF_INDEXES) {
        HeapFree(GetProcessHeap(), 0, TlsGetValue(slot));
    }
    return TRUE;
}
