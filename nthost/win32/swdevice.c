/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * cfgmgr32.dll: software devices (swdevice.h). A handle is one of the process, so the death of the
 * process closes it; the device then goes as when it is closed, unless its lifetime is its
 * parent's.
 */
#include "win32/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define E_INVALIDARG   ((HRESULT)0x80070057)
#define E_ACCESSDENIED ((HRESULT)0x80070005)

struct create_info { /* SW_DEVICE_CREATE_INFO */
    ULONG size;
    LPCWSTR instance_id, hardware_ids, compatible_ids;
    const GUID *container;
    ULONG capabilities;
    LPCWSTR description, location;
    const void *security;
};
_Static_assert(sizeof(struct create_info) == 72, "ns-swdevicedef-sw_device_create_info");

struct device_property { /* DEVPROPERTY */
    DEVPROPKEY key;
    uint32_t store;
    LPCWSTR locale;
    DEVPROPTYPE type;
    ULONG bytes;
    void *data;
};
_Static_assert(sizeof(struct device_property) == 48, "DEVPROPERTY");

typedef void NTAPI create_callback(HANDLE device, HRESULT result, void *context, LPCWSTR id);

enum { CAPABILITY_DRIVER_REQUIRED = 8, KNOWN_CAPABILITIES = 0xf };
enum { LIFETIME_HANDLE, LIFETIME_PARENT };

/* What a handle stands for. The PnP thread has a reference while something is posted for it. */
struct software {
    struct nth_user_object object;
    struct win32_process *process;
    HANDLE handle;
    WCHAR id[ID_CHARACTERS];
    WCHAR description[256], hardware_id[64];
    struct nth_device_property *properties; /* with their data, one allocation each */
    size_t count;
    create_callback *callback;
    void *context;
    HRESULT result;
    bool is_closed, is_called, is_calling; /* machine_lock */
    KEVENT returned;                       /* no callback is under way */
};

static void software_destroy(void *body)
{
    struct software *software = body;

    for (size_t i = 0; i < software->count; i++)
        free((void *)(uintptr_t)software->properties[i].data);
    free(software->properties);
}

/* ---- the callback ---- */

static _Thread_local struct software *calling;

static void call(void *context)
{
    struct software *software = context;

    nth_lock(&machine_lock);
    const bool is_wanted = !software->is_closed;
    software->is_calling = is_wanted;
    if (is_wanted)
        KeResetEvent(&software->returned);
    nth_unlock(&machine_lock);
    if (!is_wanted)
        return;
    calling = software;
    software->callback(software->handle, software->result, software->context,
                       software->result >= 0 ? software->id : NULL);
}

static void call_back(struct win32_process *process, void *context)
{
    struct software *software = context;

    win32_run(process, call, software);
    calling = NULL;
    nth_lock(&machine_lock);
    software->is_calling = false;
    software->is_called = true;
    nth_unlock(&machine_lock);
    KeSetEvent(&software->returned, 0, FALSE);
    nth_object_release(software);
}

static void post_callback(struct software *software, HRESULT result)
{
    nth_lock(&machine_lock);
    const bool is_wanted = !software->is_closed;
    software->result = result;
    nth_unlock(&machine_lock);
    if (!is_wanted || win32_process_is_dead(software->process))
        return;
    nth_object_reference(software);
    win32_pool(software->process, "software device", call_back, software);
}

/* ---- creation, on the PnP thread ---- */

static void fill(struct node *node, struct software *software)
{
    memcpy(node->hardware_id, software->hardware_id, sizeof(node->hardware_id));
    memcpy(node->description, software->description, sizeof(node->description));
    for (size_t i = 0; i < software->count; i++) {
        const struct nth_device_property *p = &software->properties[i];
        node_set_property(node, &p->key, p->type, p->data, p->bytes);
    }
}

static void create(void *context)
{
    struct software *software = context;

    nth_lock(&machine_lock);
    struct node *node = node_find(software->id);
    if (!software->is_closed && node == NULL)
        node = node_make(software->id);
    const bool is_wanted = !software->is_closed && node->owner == NULL;
    const bool was_present = is_wanted && node->is_present;
    if (is_wanted) {
        node->owner = software;
        fill(node, software);
    }
    const bool is_closed = software->is_closed;
    nth_unlock(&machine_lock);
    if (is_wanted && !was_present)
        pnp_enumerate(node);
    if (!is_closed)
        post_callback(software, is_wanted ? 0 : win32_hresult(ERROR_ALREADY_EXISTS));
    if (is_wanted && !was_present)
        pnp_start_later(node);
    nth_object_release(software);
}

static void refuse(void *context)
{
    struct software *software = context;

    post_callback(software, win32_knobs_now.callback_result);
    nth_object_release(software);
}

/* ---- removal ---- */

static void remove_closed(void *context)
{
    struct software *software = context;

    nth_lock(&machine_lock);
    struct node *node = node_find(software->id);
    const bool is_owner = node != NULL && node->owner == software;
    if (is_owner)
        node->owner = NULL;
    const bool is_going = is_owner && !node->is_persistent && node->is_present;
    nth_unlock(&machine_lock);
    if (is_going)
        pnp_pull(node, true);
    nth_object_release(software);
}

/* The last handle has gone: SwDeviceClose, or the death of the process. */
static void closed(void *body)
{
    struct software *software = body;

    nth_lock(&machine_lock);
    software->is_closed = true;
    nth_unlock(&machine_lock);
    nth_object_reference(software);
    pnp_post(remove_closed, software, win32_knobs_now.removal_ms * 1000000ull);
}

/* ---- functions ---- */

static HRESULT check(LPCWSTR enumerator, LPCWSTR parent, const struct create_info *info,
                     const void *callback)
{
    static const WCHAR root[] = L"HTREE\\ROOT\\0";
    const enum nth_token token = nth_process_token(win32_here()->nt);

    if (enumerator == NULL || parent == NULL || info == NULL || callback == NULL ||
        info->size != sizeof(*info) || info->instance_id == NULL)
        return E_INVALIDARG;
    if (win32_compare(parent, root) != 0)
        nth_stop("not-provided", "SwDeviceCreate with a parent that is not the root");
    if (info->capabilities & ~(ULONG)KNOWN_CAPABILITIES)
        return E_INVALIDARG;
    if ((info->capabilities & CAPABILITY_DRIVER_REQUIRED) &&
        (info->hardware_ids == NULL || info->hardware_ids[0] == 0) &&
        (info->compatible_ids == NULL || info->compatible_ids[0] == 0))
        return E_INVALIDARG;
    if (token != NTH_TOKEN_SYSTEM && token != NTH_TOKEN_ADMIN)
        return E_ACCESSDENIED;
    return win32_knobs_now.service;
}

static bool copy_text(WCHAR *to, size_t characters, LPCWSTR from)
{
    if (from == NULL)
        return true;
    if (win32_length(from) >= characters)
        return false;
    memcpy(to, from, (win32_length(from) + 1) * sizeof(WCHAR));
    return true;
}

/* "SWD\<enumerator>\<instance>". */
static bool make_id(struct software *software, LPCWSTR enumerator, LPCWSTR instance)
{
    static const WCHAR swd[] = L"SWD\\";
    const size_t first = win32_length(enumerator), second = win32_length(instance);

    if (4 + first + 1 + second >= ID_CHARACTERS)
        return false;
    memcpy(software->id, swd, sizeof(swd));
    memcpy(software->id + 4, enumerator, first * sizeof(WCHAR));
    software->id[4 + first] = '\\';
    memcpy(software->id + 5 + first, instance, second * sizeof(WCHAR));
    return true;
}

static void copy_properties(struct software *software, const struct device_property *properties,
                            ULONG count)
{
    software->properties = win32_calloc(count * sizeof(*software->properties));
    software->count = count;
    for (ULONG i = 0; i < count; i++) {
        void *data = win32_calloc(properties[i].bytes);
        memcpy(data, properties[i].data, properties[i].bytes);
        software->properties[i] = (struct nth_device_property){
            properties[i].key, properties[i].type, data, properties[i].bytes};
    }
}

/* "Only one handle can be open for a device" (SwDeviceSetLifetime); which error says so is assumed.
 */
static bool is_open(LPCWSTR id)
{
    nth_lock(&machine_lock);
    struct node *node = node_find(id);
    const bool has_owner = node != NULL && node->owner != NULL && !node->owner->is_closed;
    nth_unlock(&machine_lock);
    return has_owner;
}

static HRESULT WINAPI SwDeviceCreate(LPCWSTR enumerator, LPCWSTR parent,
                                     const struct create_info *info, ULONG count,
                                     const struct device_property *properties,
                                     create_callback *callback, void *context, HANDLE *result)
{
    const HRESULT refused = check(enumerator, parent, info, (const void *)callback);

    if (refused != 0)
        return refused;
    struct software *software = nth_object_create(NTH_OB_USER, sizeof(*software), software_destroy);
    software->object.closed = closed;
    software->process = win32_here();
    software->callback = callback;
    software->context = context;
    KeInitializeEvent(&software->returned, NotificationEvent, TRUE);
    copy_properties(software, properties, count);
    HRESULT status = E_INVALIDARG;
    if (make_id(software, enumerator, info->instance_id) &&
        copy_text(software->hardware_id, 64, info->hardware_ids) &&
        copy_text(software->description, 256, info->description))
        status = is_open(software->id) ? win32_hresult(ERROR_ALREADY_EXISTS) : 0;
    if (status == 0)
        status = NT_SUCCESS(nth_handle_insert(software->process->nt, software, STANDARD_RIGHTS_ALL,
                                              &software->handle))
                     ? 0
                     : win32_hresult(ERROR_NOT_ENOUGH_MEMORY);
    if (status == 0) {
        *result = software->handle;
        nth_object_reference(software);
        if (win32_knobs_now.callback_result != 0)
            pnp_post(refuse, software, 0);
        else if (win32_knobs_now.no_callback)
            nth_object_release(software);
        else
            pnp_post(create, software, 0);
    }
    nth_object_release(software);
    return status;
}
WIN32_EXPORT("cfgmgr32", SwDeviceCreate, 8, FAILS_HRESULT, ERROR_NOT_ENOUGH_MEMORY);

/* Referenced; NULL: no such handle. */
static struct software *software_of(HANDLE handle)
{
    void *body = NULL;

    if (!NT_SUCCESS(nth_handle_lookup(win32_here()->nt, handle, 0, NTH_OB_USER, &body)))
        return NULL;
    if (((struct nth_user_object *)body)->closed == closed)
        return body;
    nth_object_release(body);
    return NULL;
}

/* After it no callback is under way, except the one that it is called from. */
static void WINAPI SwDeviceClose(HANDLE handle)
{
    struct software *software = software_of(handle);

    if (software == NULL)
        nth_stop("double-free", "SwDeviceClose of %p, which is no software device", handle);
    nth_handle_close(win32_here()->nt, handle);
    void *object = &software->returned;
    if (calling != software)
        nth_wait(1, &object, NTH_WAIT_ANY, false, NULL);
    nth_object_release(software);
    win32_survive();
}
WIN32_EXPORT("cfgmgr32", SwDeviceClose, 1, FAILS_NEVER, 0);

static HRESULT WINAPI SwDeviceSetLifetime(HANDLE handle, DWORD lifetime)
{
    struct software *software = software_of(handle);
    HRESULT result = E_INVALIDARG;

    if (software == NULL)
        return result;
    nth_lock(&machine_lock);
    struct node *node = node_find(software->id);
    if (node != NULL && node->owner == software && lifetime <= LIFETIME_PARENT) {
        node->is_persistent = lifetime == LIFETIME_PARENT;
        result = 0;
    }
    nth_unlock(&machine_lock);
    nth_object_release(software);
    return result;
}
WIN32_EXPORT("cfgmgr32", SwDeviceSetLifetime, 2, FAILS_HRESULT, ERROR_NOT_ENOUGH_MEMORY);
