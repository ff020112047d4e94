/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * cfgmgr32.dll: device nodes as programs see them. Software devices are in swdevice.c,
 * notifications in notify.c.
 */
#include "win32/machine.h"

#include <stdlib.h>
#include <string.h>

enum { /* cfgmgr32.h, the pages of the functions */
       CR_SUCCESS = 0,
       CR_OUT_OF_MEMORY = 2,
       CR_INVALID_POINTER = 3,
       CR_INVALID_FLAG = 4,
       CR_INVALID_DEVNODE = 5,
       CR_NO_SUCH_DEVNODE = 0x0D,
       CR_FAILURE = 0x13,
       CR_BUFFER_SMALL = 0x1A,
       CR_INVALID_DEVICE_ID = 0x1E,
       CR_NO_SUCH_VALUE = 0x25,
       CR_NO_SUCH_REGISTRY_KEY = 0x2E,
       CR_ACCESS_DENIED = 0x33,
};

enum { ROOT_INSTANCE = 1 };

/* ---- finding ---- */

static bool is_root(LPCWSTR id)
{
    return id == NULL || id[0] == 0 || win32_compare(id, L"HTREE\\ROOT\\0") == 0;
}

/* An instance ID has an enumerator, a device and an instance. */
static bool is_id(LPCWSTR id)
{
    unsigned separators = 0;

    for (size_t i = 0; id[i] != 0; i++)
        separators += id[i] == '\\';
    return separators == 2 && win32_length(id) < ID_CHARACTERS;
}

static CONFIGRET WINAPI CM_Locate_DevNodeW(DWORD *result, LPCWSTR id, ULONG flags)
{
    enum { NORMAL = 0, PHANTOM = 1 };

    if (result == NULL)
        return CR_INVALID_POINTER;
    *result = 0;
    if (flags != NORMAL && flags != PHANTOM)
        nth_stop("not-provided", "CM_Locate_DevNodeW with flags 0x%x", flags);
    if (is_root(id)) {
        *result = ROOT_INSTANCE;
        return CR_SUCCESS;
    }
    if (!is_id(id))
        return CR_INVALID_DEVICE_ID;
    nth_lock(&machine_lock);
    const struct node *node = node_find(id);
    if (node != NULL && (node->is_present || flags == PHANTOM))
        *result = node->instance;
    nth_unlock(&machine_lock);
    return *result != 0 ? CR_SUCCESS : CR_NO_SUCH_DEVNODE;
}
WIN32_EXPORT("cfgmgr32", CM_Locate_DevNodeW, 3, FAILS_CODE, CR_OUT_OF_MEMORY);

/* ---- status ---- */

enum { DN_DRIVER_LOADED = 2, DN_STARTED = 8, DN_HAS_PROBLEM = 0x400 };

static CONFIGRET WINAPI CM_Get_DevNode_Status(ULONG *status, ULONG *problem, DWORD instance,
                                              ULONG flags)
{
    CONFIGRET result = CR_NO_SUCH_DEVNODE;

    if (status == NULL || problem == NULL || flags != 0)
        return CR_INVALID_POINTER;
    nth_lock(&machine_lock);
    const struct node *node = node_of(instance);
    if (node != NULL && node->is_present) {
        *problem = node->problem;
        *status = node->problem != 0     ? DN_HAS_PROBLEM
                  : node->device != NULL ? DN_DRIVER_LOADED | DN_STARTED
                                         : 0;
        result = CR_SUCCESS;
    }
    nth_unlock(&machine_lock);
    return result;
}
WIN32_EXPORT("cfgmgr32", CM_Get_DevNode_Status, 4, FAILS_CODE, CR_OUT_OF_MEMORY);

/* ---- properties ---- */

/* What Windows keeps by itself of a present device: DEVPKEY_Device_ProblemStatus. locked */
static bool own_property(struct node *node, const DEVPROPKEY *key, DEVPROPTYPE *type,
                         const void **data, uint32_t *bytes)
{
    static const DEVPROPKEY problem_status = {
        {0x4340a6c5, 0x93fa, 0x4706, {0x97, 0x2c, 0x7b, 0x64, 0x80, 0x08, 0xa5, 0xa7}}, 12};
    enum { TYPE_NTSTATUS = 0x18 };

    if (memcmp(key, &problem_status, sizeof(*key)) != 0)
        return false;
    *type = TYPE_NTSTATUS;
    *data = &node->problem_status;
    *bytes = sizeof(node->problem_status);
    return node->is_present && node->problem != 0;
}

static CONFIGRET WINAPI CM_Get_DevNode_PropertyW(DWORD instance, const DEVPROPKEY *key,
                                                 DEVPROPTYPE *type, void *buffer, ULONG *bytes,
                                                 ULONG flags)
{
    CONFIGRET result = CR_NO_SUCH_VALUE;
    const void *data = NULL;
    uint32_t size = 0;

    if (key == NULL || type == NULL || bytes == NULL || (buffer == NULL && *bytes != 0))
        return CR_INVALID_POINTER;
    if (flags != 0)
        return CR_INVALID_FLAG;
    nth_lock(&machine_lock);
    struct node *node = node_of(instance);
    if (node == NULL) {
        result = CR_NO_SUCH_DEVNODE;
    } else if (own_property(node, key, type, &data, &size) ||
               node_property(node, key, type, &data, &size)) {
        result = size <= *bytes ? CR_SUCCESS : CR_BUFFER_SMALL;
        if (result == CR_SUCCESS && size != 0)
            memcpy(buffer, data, size);
        *bytes = size;
    }
    nth_unlock(&machine_lock);
    return result;
}
WIN32_EXPORT("cfgmgr32", CM_Get_DevNode_PropertyW, 6, FAILS_CODE, CR_OUT_OF_MEMORY);

/* ---- lists of strings ---- */

struct list {
    WCHAR *text; /* NULL: only counted */
    ULONG room, used;
    bool is_small;
};

static void list_add(struct list *list, LPCWSTR text)
{
    const ULONG characters = (ULONG)win32_length(text) + 1;

    if (list->text != NULL && list->used + characters + 1 > list->room)
        list->is_small = true;
    else if (list->text != NULL)
        memcpy(list->text + list->used, text, characters * sizeof(WCHAR));
    list->used += characters;
}

static CONFIGRET list_end(struct list *list)
{
    if (list->text != NULL && list->room > 0 && !list->is_small)
        list->text[list->used] = 0;
    list->used++;
    return list->is_small ? CR_BUFFER_SMALL : CR_SUCCESS;
}

enum { FILTER_ENUMERATOR = 1 };

/* The filter is an enumerator, here with a device: "SWD\Name". locked */
static bool is_listed(const struct node *node, LPCWSTR filter)
{
    const size_t length = win32_length(filter);
    WCHAR start[ID_CHARACTERS];

    if (win32_length(node->id) <= length || node->id[length] != '\\')
        return false;
    memcpy(start, node->id, length * sizeof(WCHAR));
    start[length] = 0;
    return win32_compare(start, filter) == 0;
}

static CONFIGRET list_ids(LPCWSTR filter, struct list *list, ULONG flags)
{
    unsigned count = 0;

    if (filter == NULL || flags != FILTER_ENUMERATOR)
        nth_stop("not-provided", "CM_Get_Device_ID_List with flags 0x%x", flags);
    nth_lock(&machine_lock);
    for (struct node *node = node_next(NULL); node != NULL; node = node_next(node))
        if (is_listed(node, filter)) {
            list_add(list, node->id);
            count++;
        }
    nth_unlock(&machine_lock);
    return count != 0 ? list_end(list) : CR_NO_SUCH_VALUE;
}

static CONFIGRET WINAPI CM_Get_Device_ID_List_SizeW(ULONG *characters, LPCWSTR filter, ULONG flags)
{
    struct list list = {0};
    const CONFIGRET result = list_ids(filter, &list, flags);

    *characters = result == CR_SUCCESS ? list.used : 0;
    return result;
}
WIN32_EXPORT("cfgmgr32", CM_Get_Device_ID_List_SizeW, 3, FAILS_CODE, CR_OUT_OF_MEMORY);

static CONFIGRET WINAPI CM_Get_Device_ID_ListW(LPCWSTR filter, LPWSTR buffer, ULONG characters,
                                               ULONG flags)
{
    struct list list = {.text = buffer, .room = characters};

    return buffer == NULL ? CR_INVALID_POINTER : list_ids(filter, &list, flags);
}
WIN32_EXPORT("cfgmgr32", CM_Get_Device_ID_ListW, 4, FAILS_CODE, CR_OUT_OF_MEMORY);

/* ---- interfaces ---- */

static const GUID interface_net = {
    0xcac88484, 0x7515, 0x4c03, {0x82, 0xe6, 0x71, 0xa8, 0x7a, 0xba, 0xc3, 0x61}};

/* Path of the node's enabled interface as NDIS has registered it; free() it. NULL: none. */
static WCHAR *interface_of(LPCWSTR id)
{
    nth_lock(&machine_lock);
    const struct node *node = node_find(id);
    struct nth_device *device = node != NULL && node->has_interface ? node->device : NULL;
    const char *path = device != NULL ? nth_device_interface(device) : NULL;
    WCHAR *wide = path != NULL ? win32_wide(path) : NULL;
    nth_unlock(&machine_lock);
    return wide;
}

static CONFIGRET list_interfaces(const GUID *class, LPCWSTR id, struct list *list, ULONG flags)
{
    if (id == NULL || flags != 0 || memcmp(class, &interface_net, sizeof(*class)) != 0)
        nth_stop("not-provided",
                 "CM_Get_Device_Interface_List of another class, or of all devices");
    WCHAR *path = interface_of(id);
    if (path != NULL)
        list_add(list, path);
    free(path);
    return list_end(list);
}

static CONFIGRET WINAPI CM_Get_Device_Interface_List_SizeW(ULONG *characters, const GUID *class,
                                                           LPCWSTR id, ULONG flags)
{
    struct list list = {0};
    const CONFIGRET result = list_interfaces(class, id, &list, flags);

    *characters = list.used;
    return result;
}
WIN32_EXPORT("cfgmgr32", CM_Get_Device_Interface_List_SizeW, 4, FAILS_CODE, CR_OUT_OF_MEMORY);

static CONFIGRET WINAPI CM_Get_Device_Interface_ListW(const GUID *class, LPCWSTR id, LPWSTR buffer,
                                                      ULONG characters, ULONG flags)
{
    struct list list = {.text = buffer, .room = characters};

    return buffer == NULL ? CR_INVALID_POINTER : list_interfaces(class, id, &list, flags);
}
WIN32_EXPORT("cfgmgr32", CM_Get_Device_Interface_ListW, 5, FAILS_CODE, CR_OUT_OF_MEMORY);

/* ---- the driver key ---- */

static CONFIGRET WINAPI CM_Open_DevNode_Key(DWORD instance, DWORD access, ULONG profile,
                                            DWORD disposition, HKEY *result, ULONG flags)
{
    enum { OPEN_ALWAYS = 0, OPEN_EXISTING = 1, SOFTWARE = 1, KEY_QUERY = 1 };
    char key[128] = "";

    if (profile != 0 || flags != SOFTWARE || disposition > OPEN_EXISTING)
        nth_stop("not-provided", "CM_Open_DevNode_Key with flags 0x%x", flags);
    *result = NULL;
    if (access != KEY_QUERY && nth_process_token(win32_here()->nt) > NTH_TOKEN_ADMIN)
        return CR_ACCESS_DENIED;
    nth_lock(&machine_lock);
    struct node *node = node_of(instance);
    const char *path = node != NULL ? node_key(node, disposition == OPEN_ALWAYS) : NULL;
    if (path != NULL)
        memcpy(key, path, strlen(path) + 1);
    nth_unlock(&machine_lock);
    if (node == NULL)
        return CR_NO_SUCH_DEVNODE;
    if (path == NULL)
        return CR_NO_SUCH_REGISTRY_KEY;
    return win32_key_open(key, access, result) == ERROR_SUCCESS ? CR_SUCCESS : CR_FAILURE;
}
WIN32_EXPORT("cfgmgr32", CM_Open_DevNode_Key, 6, FAILS_CODE, CR_NO_SUCH_REGISTRY_KEY);

/* ---- errors ---- */

/* The page has no table; these are those of which the names speak, others get the default. */
static DWORD WINAPI CM_MapCrToWin32Err(CONFIGRET result, DWORD otherwise)
{
    static const struct {
        CONFIGRET from;
        DWORD to;
    } map[] = {
        {CR_SUCCESS, ERROR_SUCCESS},
        {CR_OUT_OF_MEMORY, ERROR_NOT_ENOUGH_MEMORY},
        {CR_INVALID_POINTER, ERROR_INVALID_USER_BUFFER},
        {CR_NO_SUCH_DEVNODE, ERROR_NOT_FOUND},
        {CR_BUFFER_SMALL, ERROR_INSUFFICIENT_BUFFER},
        {CR_NO_SUCH_REGISTRY_KEY, ERROR_FILE_NOT_FOUND},
        {CR_NO_SUCH_VALUE, ERROR_NOT_FOUND},
        {CR_ACCESS_DENIED, ERROR_ACCESS_DENIED},
    };

    for (size_t i = 0; i < ARRAYSIZE(map); i++)
        if (map[i].from == result)
            return map[i].to;
    return otherwise;
}
WIN32_EXPORT("cfgmgr32", CM_MapCrToWin32Err, 2, FAILS_NEVER, 0);
