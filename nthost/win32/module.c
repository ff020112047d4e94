/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Modules of a process: DLL files that it loads, each mapped for it alone, and system DLLs, which
 * are the functions of this folder. "DllMain entry point" has the order of its calls; a process
 * that is ended gets none.
 */
#include "win32/private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef BOOL NTAPI dll_main(HMODULE module, DWORD reason, void *reserved);

enum { PROCESS_DETACH = 0, PROCESS_ATTACH = 1 };

/* Under the loader lock, of which the process has one: DllMain runs in one thread at a time. */
static bool call_main(struct win32_module *module, DWORD reason)
{
    dll_main *entry = module->image != NULL ? (dll_main *)nth_image_entry(module->image) : NULL;
    void *lock = module->process->loader_lock;

    if (entry == NULL)
        return true;
    nth_wait(1, &lock, NTH_WAIT_ANY, false, NULL);
    win32_survive();
    const bool is_welcome = entry(nth_image_base(module->image), reason, NULL);
    nth_mutant_release(lock);
    return is_welcome;
}

/* A DLL file is loaded and unloaded by the test, while no other thread of the process begins or
 * ends. */
void win32_modules_notify(struct win32_process *process, DWORD reason)
{
    enum { MAX_FILES = 8 };
    struct win32_module *files[MAX_FILES];
    unsigned count = 0;

    nth_lock(&process->lock);
    for (struct win32_module *m = process->modules; m != NULL && count < MAX_FILES; m = m->next)
        if (m->is_attached)
            files[count++] = m;
    nth_unlock(&process->lock);
    for (unsigned i = 0; i < count; i++)
        call_main(files[i], reason);
}

static void link_module(struct win32_module *module)
{
    nth_lock(&module->process->lock);
    module->next = module->process->modules;
    module->process->modules = module;
    nth_unlock(&module->process->lock);
}

static void unlink_module(struct win32_module *module)
{
    nth_lock(&module->process->lock);
    struct win32_module **link = &module->process->modules;
    while (*link != module)
        link = &(*link)->next;
    *link = module->next;
    nth_unlock(&module->process->lock);
}

static void module_free(struct win32_module *module)
{
    if (module->image != NULL)
        nth_image_unload(module->image);
    free(module);
}

void win32_modules_free(struct win32_process *process)
{
    struct win32_module *next;

    for (struct win32_module *module = process->modules; module != NULL; module = next) {
        next = module->next;
        module_free(module);
    }
    process->modules = NULL;
}

struct win32_module *win32_module_of(HMODULE handle)
{
    struct win32_process *process = win32_here();

    nth_lock(&process->lock);
    struct win32_module *module = process->modules;
    while (module != NULL &&
           handle != (module->image != NULL ? nth_image_base(module->image) : (void *)module))
        module = module->next;
    nth_unlock(&process->lock);
    return module;
}

void win32_module_count(struct win32_module *module, int change)
{
    nth_lock(&module->process->lock);
    module->references = (unsigned)((int)module->references + change);
    nth_unlock(&module->process->lock);
}

/* ---- for tests ---- */

static void attach(void *context)
{
    struct win32_module *module = context;

    module->is_attached = call_main(module, PROCESS_ATTACH);
}

static void detach(void *context)
{
    struct win32_module *module = context;

    module->is_attached = false;
    call_main(module, PROCESS_DETACH);
}

struct win32_module *win32_load(struct win32_process *process, const char *path, const char **error)
{
    struct win32_module *module = win32_calloc(sizeof(*module));

    module->process = process;
    module->references = 1;
    if (nth_image_load_user(path, &module->image, error) != 0) {
        free(module);
        return NULL;
    }
    link_module(module);
    const bool is_alive = win32_run(process, attach, module);
    if (is_alive && module->is_attached)
        return module;
    *error = is_alive ? "DllMain answered FALSE" : "the process has ended";
    unlink_module(module);
    module_free(module);
    return NULL;
}

void win32_unload(struct win32_module *module)
{
    win32_run(module->process, detach, module);
    unlink_module(module);
    module_free(module);
}

void *win32_symbol(struct win32_module *module, const char *name)
{
    return nth_image_export(module->image, name);
}

/* ---- for modules ---- */

enum { LOAD_LIBRARY_SEARCH_SYSTEM32 = 0x800 };

/* Only system DLLs are loaded by modules here. Each load of one is a reference. */
static HMODULE WINAPI LoadLibraryExW(LPCWSTR name, HANDLE file, DWORD flags)
{
    if (name == NULL || file != NULL || flags != LOAD_LIBRARY_SEARCH_SYSTEM32)
        return (HMODULE)(ULONG_PTR)win32_fail(ERROR_INVALID_PARAMETER);
    char *narrow = win32_utf8(name);
    const bool exists = win32_has_module(narrow) && !win32_is_missing(narrow, NULL);
    struct win32_module *module = exists ? win32_calloc(sizeof(*module)) : NULL;
    if (module != NULL) {
        module->process = win32_here();
        snprintf(module->system, sizeof(module->system), "%s", narrow);
        link_module(module);
    }
    free(narrow);
    if (!exists)
        win32_fail(ERROR_MOD_NOT_FOUND);
    return module;
}
WIN32_EXPORT("kernel32", LoadLibraryExW, 3, FAILS_ZERO, ERROR_MOD_NOT_FOUND);

static void *WINAPI GetProcAddress(HMODULE handle, const char *name)
{
    struct win32_module *module = win32_module_of(handle);

    if (module == NULL) {
        win32_fail(ERROR_MOD_NOT_FOUND);
        return NULL;
    }
    struct win32_entry *entry = module->image == NULL && !win32_is_missing(module->system, name)
                                    ? win32_find(module->system, name)
                                    : NULL;
    void *address = module->image != NULL ? nth_image_export(module->image, name)
                    : entry != NULL       ? nth_user_thunk(&entry->export)
                                          : NULL;
    if (address == NULL)
        win32_fail(ERROR_PROC_NOT_FOUND);
    return address;
}
WIN32_EXPORT("kernel32", GetProcAddress, 2, FAILS_ZERO, ERROR_PROC_NOT_FOUND);

static BOOL WINAPI FreeLibrary(HMODULE handle)
{
    struct win32_module *module = win32_module_of(handle);

    if (module == NULL)
        return win32_fail(ERROR_MOD_NOT_FOUND);
    if (module->image == NULL) {
        unlink_module(module);
        module_free(module);
    } else if (module->references > 1) {
        win32_module_count(module, -1);
    } else {
        nth_stop("not-provided", "FreeLibrary of a module by itself");
    }
    return TRUE;
}
WIN32_EXPORT("kernel32", FreeLibrary, 1, FAILS_NEVER, 0);

enum { FROM_ADDRESS = 4, UNCHANGED_REFCOUNT = 2, PIN = 1 };

static BOOL WINAPI GetModuleHandleExW(DWORD flags, LPCWSTR name, HMODULE *result)
{
    struct nth_image *image = nth_image_at((uintptr_t)name);

    *result = NULL;
    if (!(flags & FROM_ADDRESS) || (flags & PIN))
        return win32_fail(ERROR_INVALID_PARAMETER);
    struct win32_module *module = image != NULL ? win32_module_of(nth_image_base(image)) : NULL;
    if (module == NULL)
        return win32_fail(ERROR_MOD_NOT_FOUND);
    if (!(flags & UNCHANGED_REFCOUNT))
        win32_module_count(module, 1);
    *result = nth_image_base(image);
    return TRUE;
}
WIN32_EXPORT("kernel32", GetModuleHandleExW, 3, FAILS_ZERO, ERROR_MOD_NOT_FOUND);

/* ---- resources: "PE Format", the .rsrc section; a table of three levels ---- */

struct resource_entry {
    uint32_t id, offset;
};
struct resource_data {
    uint32_t rva, bytes, code_page, reserved;
};

enum { IS_NAME = 0x80000000, IS_TABLE = 0x80000000, TABLE_HEADER = 16 };

struct resources {
    const uint8_t *base;
    size_t bytes;
};

static bool is_name(const struct resources *r, uint32_t offset, LPCWSTR name)
{
    uint16_t length;

    if (offset + 2 > r->bytes)
        return false;
    memcpy(&length, r->base + offset, sizeof(length));
    if (offset + 2 + length * 2u > r->bytes || win32_length(name) != length)
        return false;
    WCHAR text[256];
    if (length >= ARRAYSIZE(text))
        return false;
    memcpy(text, r->base + offset + 2, length * sizeof(WCHAR));
    text[length] = 0;
    return win32_compare(text, name) == 0;
}

/* The entry of the table at offset that has this name or number; name NULL: the first. */
static uint32_t find_entry(const struct resources *r, uint32_t offset, LPCWSTR name)
{
    uint16_t counts[2];

    if (offset + TABLE_HEADER > r->bytes)
        return 0;
    memcpy(counts, r->base + offset + 12, sizeof(counts));
    for (unsigned i = 0; i < (unsigned)counts[0] + counts[1]; i++) {
        struct resource_entry entry;
        const size_t at = offset + TABLE_HEADER + i * sizeof(entry);
        if (at + sizeof(entry) > r->bytes)
            return 0;
        memcpy(&entry, r->base + at, sizeof(entry));
        const bool is_number = (ULONG_PTR)name < 0x10000;
        if (name == NULL || (is_number && entry.id == (ULONG_PTR)name) ||
            (!is_number && (entry.id & IS_NAME) && is_name(r, entry.id & ~IS_NAME, name)))
            return entry.offset;
    }
    return 0;
}

static HRSRC WINAPI FindResourceW(HMODULE handle, LPCWSTR name, LPCWSTR type)
{
    const struct win32_module *module = win32_module_of(handle);
    struct resources r = {0};

    if (module != NULL && module->image != NULL)
        r.base = nth_image_resources(module->image, &r.bytes);
    if (r.base == NULL)
        return (HRSRC)(ULONG_PTR)win32_fail(ERROR_RESOURCE_DATA_NOT_FOUND);
    const uint32_t of_type = find_entry(&r, 0, type);
    if (!(of_type & IS_TABLE))
        return (HRSRC)(ULONG_PTR)win32_fail(ERROR_RESOURCE_TYPE_NOT_FOUND);
    const uint32_t of_name = find_entry(&r, of_type & ~IS_TABLE, name);
    const uint32_t data = of_name & IS_TABLE ? find_entry(&r, of_name & ~IS_TABLE, NULL) : 0;
    if (data == 0 || (data & IS_TABLE) || data + sizeof(struct resource_data) > r.bytes)
        return (HRSRC)(ULONG_PTR)win32_fail(ERROR_RESOURCE_NAME_NOT_FOUND);
    return (HRSRC)(r.base + data);
}
WIN32_EXPORT("kernel32", FindResourceW, 3, FAILS_ZERO, ERROR_RESOURCE_NAME_NOT_FOUND);

static HGLOBAL WINAPI LoadResource(HMODULE handle, HRSRC resource)
{
    const struct win32_module *module = win32_module_of(handle);
    struct resource_data data;

    memcpy(&data, resource, sizeof(data));
    if (module == NULL || data.rva > nth_image_size(module->image) ||
        data.bytes > nth_image_size(module->image) - data.rva)
        return (HGLOBAL)(ULONG_PTR)win32_fail(ERROR_RESOURCE_DATA_NOT_FOUND);
    return (uint8_t *)nth_image_base(module->image) + data.rva;
}
WIN32_EXPORT("kernel32", LoadResource, 2, FAILS_ZERO, ERROR_RESOURCE_DATA_NOT_FOUND);

static void *WINAPI LockResource(HGLOBAL loaded)
{
    return loaded;
}
WIN32_EXPORT("kernel32", LockResource, 1, FAILS_ZERO, ERROR_RESOURCE_DATA_NOT_FOUND);

static DWORD WINAPI SizeofResource(HMODULE handle, HRSRC resource)
{
    struct resource_data data;

    (void)handle;
    memcpy(&data, resource, sizeof(data));
    return data.bytes;
}
WIN32_EXPORT("kernel32", SizeofResource, 2, FAILS_ZERO, ERROR_RESOURCE_DATA_NOT_FOUND);
