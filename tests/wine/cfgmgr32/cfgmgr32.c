/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The configuration manager's questions about devices. Device instances are numbers of this process
 * only, and never reused. Software devices are answered for from what swdevice.exe has noted.
 */
#define CMAPI /* we are who exports them */

#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

#define DEVICES_MAX 4096

/* devpkey.h of the Windows SDK; the pages are devpkey-device-... */
static const DEVPROPKEY property_problem_code = {
    {0x4340a6c5, 0x93fa, 0x4706, {0x97, 0x2c, 0x7b, 0x64, 0x80, 0x08, 0xa5, 0xa7}}, 3};
static const DEVPROPKEY property_problem_status = {
    {0x4340a6c5, 0x93fa, 0x4706, {0x97, 0x2c, 0x7b, 0x64, 0x80, 0x08, 0xa5, 0xa7}}, 12};
static const DEVPROPKEY property_instance_id = {
    {0x78c34fc8, 0x104a, 0x4aca, {0x9e, 0xa4, 0x52, 0x4d, 0x52, 0x99, 0x6e, 0x57}}, 256};

/* mingw-w64's cfgmgr32.h lacks these */
DWORD WINAPI CM_MapCrToWin32Err(CONFIGRET result, DWORD fallback);
CONFIGRET WINAPI CM_Register_Notification(PCM_NOTIFY_FILTER filter, PVOID context,
                                          PCM_NOTIFY_CALLBACK callback, PHCMNOTIFICATION result);
CONFIGRET WINAPI CM_Unregister_Notification(HCMNOTIFICATION handle);

static SRWLOCK devices_lock = SRWLOCK_INIT;
static WCHAR *devices[DEVICES_MAX]; /* ids, by device instance - 1 */
static DWORD device_count;

/* The number of a device, a new one if it has none; 0 when there are no more. */
static DEVINST number_of(const WCHAR *id)
{
    DEVINST number = 0;

    AcquireSRWLockExclusive(&devices_lock);
    for (DWORD i = 0; i < device_count && number == 0; i++)
        if (_wcsicmp(devices[i], id) == 0)
            number = i + 1;
    if (number == 0 && device_count < DEVICES_MAX) {
        devices[device_count] = _wcsdup(id);
        number = devices[device_count] != NULL ? ++device_count : 0;
    }
    ReleaseSRWLockExclusive(&devices_lock);
    return number;
}

static const WCHAR *id_of(DEVINST number)
{
    const WCHAR *id = NULL;

    AcquireSRWLockShared(&devices_lock);
    if (number != 0 && number <= device_count)
        id = devices[number - 1];
    ReleaseSRWLockShared(&devices_lock);
    return id;
}

static BOOL exists(const WCHAR *id)
{
    HKEY node;

    if (machine_open_node(id, FALSE, &node) != 0)
        return FALSE;
    RegCloseKey(node);
    return TRUE;
}

/* nf-cfgmgr32-cm_locate_devnodew: a device that is not present only with the phantom flag */
CONFIGRET WINAPI CM_Locate_DevNodeW(PDEVINST number, DEVINSTID_W id, ULONG flags)
{
    if (number == NULL)
        return CR_INVALID_POINTER;
    if ((flags & ~CM_LOCATE_DEVNODE_BITS) != 0)
        return CR_INVALID_FLAG;
    if (id == NULL || id[0] == 0)
        id = (DEVINSTID_W)L"HTREE\\ROOT\\0";
    else if (!exists(id) || ((flags & CM_LOCATE_DEVNODE_PHANTOM) == 0 && !machine_is_present(id)))
        return CR_NO_SUCH_DEVNODE;
    *number = number_of(id);
    return *number != 0 ? CR_SUCCESS : CR_OUT_OF_MEMORY;
}

CONFIGRET WINAPI CM_Get_Device_IDW(DEVINST number, PWSTR buffer, ULONG characters, ULONG flags)
{
    const WCHAR *id = id_of(number);

    if (id == NULL)
        return CR_INVALID_DEVNODE;
    if (wcslen(id) >= characters)
        return CR_BUFFER_SMALL;
    wcscpy(buffer, id);
    return CR_SUCCESS;
}

/* nf-cfgmgr32-cm_get_devnode_status */
CONFIGRET WINAPI CM_Get_DevNode_Status(PULONG status, PULONG problem, DEVINST number, ULONG flags)
{
    const WCHAR *id = id_of(number);

    if (status == NULL || problem == NULL)
        return CR_INVALID_POINTER;
    if (id == NULL)
        return CR_INVALID_DEVNODE;
    if (!machine_is_present(id))
        return CR_NO_SUCH_DEVNODE;
    *problem = machine_get_state(id, STATE_PROBLEM);
    *status = 0;
    if (*problem != 0)
        *status = DN_HAS_PROBLEM;
    else if (machine_get_state(id, STATE_SETTLED) != 0)
        *status = DN_DRIVER_LOADED | DN_STARTED;
    return CR_SUCCESS;
}

/* ---- Properties -------------------------------------------------------------------------------*/

static BOOL is_key(const DEVPROPKEY *a, const DEVPROPKEY *b)
{
    return a->pid == b->pid && memcmp(&a->fmtid, &b->fmtid, sizeof(a->fmtid)) == 0;
}

static CONFIGRET give(DEVPROPTYPE kind, const void *data, ULONG bytes, DEVPROPTYPE *type,
                      PBYTE buffer, PULONG size)
{
    ULONG room = *size;

    *type = kind;
    *size = bytes;
    if (buffer == NULL || room < bytes)
        return CR_BUFFER_SMALL;
    memcpy(buffer, data, bytes);
    return CR_SUCCESS;
}

/* One that was stored with the device, by its creator or by Wine. */
static CONFIGRET stored_property(const WCHAR *id, const DEVPROPKEY *key, DEVPROPTYPE *type,
                                 PBYTE buffer, PULONG size)
{
    WCHAR path[PATH_CHARACTERS];
    WCHAR guid[GUID_CHARACTERS];
    HKEY node;
    HKEY value;
    DWORD kind;
    DWORD error;

    if (machine_open_node(id, FALSE, &node) != 0)
        return CR_NO_SUCH_DEVNODE;
    machine_format_guid(&key->fmtid, guid);
    _snwprintf(path, PATH_CHARACTERS, L"Properties\\%ls\\%04lX", guid, key->pid);
    error = RegOpenKeyExW(node, path, 0, KEY_READ, &value);
    RegCloseKey(node);
    if (error != 0)
        return CR_NO_SUCH_VALUE;
    error = RegQueryValueExW(value, NULL, NULL, &kind, buffer, size);
    RegCloseKey(value);
    *type = kind & 0xFFFF;
    if (error == ERROR_MORE_DATA || (error == 0 && buffer == NULL))
        return CR_BUFFER_SMALL;
    return error == 0 ? CR_SUCCESS : CR_NO_SUCH_VALUE;
}

/* nf-cfgmgr32-cm_get_devnode_propertyw */
CONFIGRET WINAPI CM_Get_DevNode_PropertyW(DEVINST number, const DEVPROPKEY *key, DEVPROPTYPE *type,
                                          PBYTE buffer, PULONG size, ULONG flags)
{
    const WCHAR *id = id_of(number);
    DWORD problem;
    LONG status;

    if (key == NULL || type == NULL || size == NULL || (buffer == NULL && *size != 0))
        return CR_INVALID_POINTER;
    if (id == NULL)
        return CR_INVALID_DEVNODE;
    if (flags != 0)
        return CR_INVALID_FLAG;
    if (is_key(key, &property_instance_id))
        return give(DEVPROP_TYPE_STRING, id, (ULONG)((wcslen(id) + 1) * sizeof(*id)), type, buffer,
                    size);
    problem = machine_get_state(id, STATE_PROBLEM);
    if (is_key(key, &property_problem_code) && machine_is_present(id))
        return give(DEVPROP_TYPE_UINT32, &problem, sizeof(problem), type, buffer, size);
    if (is_key(key, &property_problem_status) && machine_is_present(id)) {
        status = problem != 0 ? (LONG)0xC0000001 /* STATUS_UNSUCCESSFUL */ : 0;
        return give(DEVPROP_TYPE_NTSTATUS, &status, sizeof(status), type, buffer, size);
    }
    return stored_property(id, key, type, buffer, size);
}

/* nf-cfgmgr32-cm_open_devnode_key */
CONFIGRET WINAPI CM_Open_DevNode_Key(DEVINST number, REGSAM access, ULONG profile,
                                     REGDISPOSITION disposition, PHKEY key, ULONG flags)
{
    const WCHAR *id = id_of(number);
    BOOL create = disposition == RegDisposition_OpenAlways;
    HKEY node;
    DWORD error;

    if (key == NULL)
        return CR_INVALID_POINTER;
    if (id == NULL)
        return CR_INVALID_DEVNODE;
    if (flags == CM_REGISTRY_SOFTWARE) {
        error = machine_open_driver_key(id, create, key);
    } else if (flags == CM_REGISTRY_HARDWARE) {
        if (machine_open_node(id, FALSE, &node) != 0)
            return CR_NO_SUCH_DEVNODE;
        error = create ? RegCreateKeyExW(node, L"Device Parameters", 0, NULL, 0, access, NULL, key,
                                         NULL)
                       : RegOpenKeyExW(node, L"Device Parameters", 0, access, key);
        RegCloseKey(node);
    } else {
        return CR_INVALID_FLAG;
    }
    return error == 0 ? CR_SUCCESS : CR_NO_SUCH_REGISTRY_KEY;
}

/* ---- Lists ------------------------------------------------------------------------------------*/

struct id_list {
    WCHAR *text; /* NULL: only counted */
    ULONG characters;
    ULONG used;
    BOOL present;
    const WCHAR *class; /* NULL: any */
};

static void add_id(struct id_list *list, const WCHAR *id)
{
    WCHAR class[GUID_CHARACTERS];
    ULONG length = (ULONG)wcslen(id) + 1;
    HKEY node;
    BOOL wanted;

    if (list->present && !machine_is_present(id))
        return;
    if (list->class != NULL) {
        if (machine_open_node(id, FALSE, &node) != 0)
            return;
        wanted = machine_get_string(node, L"ClassGUID", class, GUID_CHARACTERS) == 0 &&
                 _wcsicmp(class, list->class) == 0;
        RegCloseKey(node);
        if (!wanted)
            return;
    }
    if (list->text != NULL && list->used + length < list->characters)
        memcpy(list->text + list->used, id, length * sizeof(*id));
    list->used += length;
}

/* All devices at so many levels below a path: 2 below an enumerator, 1 below a device id. */
static void add_below(struct id_list *list, const WCHAR *path, int levels)
{
    WCHAR name[ID_CHARACTERS];
    WCHAR below[PATH_CHARACTERS];
    HKEY key;

    if (levels == 0) {
        add_id(list, path);
        return;
    }
    if (machine_open_node(path, FALSE, &key) != 0)
        return;
    for (DWORD i = 0;; i++) {
        DWORD length = ID_CHARACTERS;

        if (RegEnumKeyExW(key, i, name, &length, NULL, NULL, NULL, NULL) != 0)
            break;
        _snwprintf(below, PATH_CHARACTERS, path[0] != 0 ? L"%ls\\%ls" : L"%ls%ls", path, name);
        add_below(list, below, levels - 1);
    }
    RegCloseKey(key);
}

static CONFIGRET list_ids(PCWSTR filter, ULONG flags, struct id_list *list)
{
    int levels = 3;

    list->present = (flags & CM_GETIDLIST_FILTER_PRESENT) != 0;
    if ((flags & CM_GETIDLIST_FILTER_CLASS) != 0)
        list->class = filter;
    else if ((flags & CM_GETIDLIST_FILTER_ENUMERATOR) != 0)
        levels = wcschr(filter, '\\') != NULL ? 1 : 2;
    else if ((flags & ~CM_GETIDLIST_FILTER_PRESENT) != 0)
        return CR_INVALID_FLAG;
    add_below(list, levels != 3 ? filter : L"", levels);
    if (list->text != NULL) {
        if (list->used >= list->characters)
            return CR_BUFFER_SMALL;
        list->text[list->used] = 0;
    }
    list->used++;
    return CR_SUCCESS;
}

/* nf-cfgmgr32-cm_get_device_id_list_sizew */
CONFIGRET WINAPI CM_Get_Device_ID_List_SizeW(PULONG characters, PCWSTR filter, ULONG flags)
{
    struct id_list list = {0};
    CONFIGRET result;

    if (characters == NULL)
        return CR_INVALID_POINTER;
    result = list_ids(filter, flags, &list);
    *characters = list.used;
    return result;
}

/* nf-cfgmgr32-cm_get_device_id_listw */
CONFIGRET WINAPI CM_Get_Device_ID_ListW(PCWSTR filter, PWCHAR buffer, ULONG characters, ULONG flags)
{
    struct id_list list = {.text = buffer, .characters = characters};

    if (buffer == NULL || characters == 0)
        return CR_INVALID_POINTER;
    return list_ids(filter, flags, &list);
}

/* nf-cfgmgr32-cm_get_device_interface_list_sizew */
CONFIGRET WINAPI CM_Get_Device_Interface_List_SizeW(PULONG characters, LPGUID class, DEVINSTID_W id,
                                                    ULONG flags)
{
    if (characters == NULL || class == NULL)
        return CR_INVALID_POINTER;
    *characters = machine_list_interfaces(
        class, id, (flags & CM_GET_DEVICE_INTERFACE_LIST_ALL_DEVICES) == 0, NULL, 0);
    return CR_SUCCESS;
}

/* nf-cfgmgr32-cm_get_device_interface_listw */
CONFIGRET WINAPI CM_Get_Device_Interface_ListW(LPGUID class, DEVINSTID_W id, PWCHAR buffer,
                                               ULONG characters, ULONG flags)
{
    if (class == NULL || buffer == NULL || characters == 0)
        return CR_INVALID_POINTER;
    return machine_list_interfaces(class, id,
                                   (flags & CM_GET_DEVICE_INTERFACE_LIST_ALL_DEVICES) == 0, buffer,
                                   characters) > characters
               ? CR_BUFFER_SMALL
               : CR_SUCCESS;
}

/* nf-cfgmgr32-cm_mapcrtowin32err: the page names no pairs; these are what the codes' names say */
DWORD WINAPI CM_MapCrToWin32Err(CONFIGRET result, DWORD fallback)
{
    switch (result) {
    case CR_SUCCESS:
        return ERROR_SUCCESS;
    case CR_OUT_OF_MEMORY:
        return ERROR_NOT_ENOUGH_MEMORY;
    case CR_INVALID_POINTER:
        return ERROR_INVALID_USER_BUFFER;
    case CR_INVALID_FLAG:
        return ERROR_INVALID_FLAGS;
    case CR_INVALID_DEVNODE:
    case CR_NO_SUCH_DEVNODE:
        return ERROR_NO_SUCH_DEVINST;
    case CR_BUFFER_SMALL:
        return ERROR_INSUFFICIENT_BUFFER;
    case CR_NO_SUCH_VALUE:
        return ERROR_NOT_FOUND;
    case CR_NO_SUCH_REGISTRY_KEY:
        return ERROR_FILE_NOT_FOUND;
    default:
        return fallback;
    }
}

/* ---- Notifications ----------------------------------------------------------------------------*/

#define NOTIFY_MS         50
#define NOTIFY_CHARACTERS 8192

struct notification {
    CM_NOTIFY_FILTER filter;
    PCM_NOTIFY_CALLBACK callback;
    void *context;
    HANDLE stop;
    HANDLE thread;
    WCHAR before[NOTIFY_CHARACTERS];
    WCHAR now[NOTIFY_CHARACTERS];
};

/* What the client hears of: the interfaces of a class, or the present devices of one id. */
static void take_picture(const struct notification *notification, WCHAR *picture)
{
    const WCHAR *id = notification->filter.u.DeviceInstance.InstanceId;

    memset(picture, 0, NOTIFY_CHARACTERS * sizeof(*picture));
    if (notification->filter.FilterType == CM_NOTIFY_FILTER_TYPE_DEVICEINTERFACE)
        machine_list_interfaces(&notification->filter.u.DeviceInterface.ClassGuid, NULL, TRUE,
                                picture, NOTIFY_CHARACTERS);
    else if (machine_is_present(id))
        wcscpy(picture, id);
}

static BOOL has(const WCHAR *picture, const WCHAR *name)
{
    for (; *picture != 0; picture += wcslen(picture) + 1)
        if (_wcsicmp(picture, name) == 0)
            return TRUE;
    return FALSE;
}

static void tell(struct notification *notification, CM_NOTIFY_ACTION action, const WCHAR *name)
{
    union {
        CM_NOTIFY_EVENT_DATA data;
        BYTE room[sizeof(CM_NOTIFY_EVENT_DATA) + PATH_CHARACTERS * sizeof(WCHAR)];
    } event = {.data = {.FilterType = notification->filter.FilterType}};
    BOOL of_class = notification->filter.FilterType == CM_NOTIFY_FILTER_TYPE_DEVICEINTERFACE;
    WCHAR *text = of_class ? event.data.u.DeviceInterface.SymbolicLink
                           : event.data.u.DeviceInstance.InstanceId;

    if (of_class)
        event.data.u.DeviceInterface.ClassGuid = notification->filter.u.DeviceInterface.ClassGuid;
    wcsncpy(text, name, PATH_CHARACTERS - 1);
    notification->callback((HCMNOTIFICATION)notification, notification->context, action,
                           &event.data,
                           (DWORD)((BYTE *)(text + wcslen(text) + 1) - (BYTE *)&event));
}

/* Names of one picture that are not in the other. */
static void tell_new(struct notification *notification, CM_NOTIFY_ACTION action,
                     const WCHAR *picture, const WCHAR *other)
{
    for (; *picture != 0; picture += wcslen(picture) + 1)
        if (!has(other, picture))
            tell(notification, action, picture);
}

static DWORD WINAPI watch(void *parameter)
{
    static const CM_NOTIFY_ACTION came[] = {
        [CM_NOTIFY_FILTER_TYPE_DEVICEINTERFACE] = CM_NOTIFY_ACTION_DEVICEINTERFACEARRIVAL,
        [CM_NOTIFY_FILTER_TYPE_DEVICEINSTANCE] = CM_NOTIFY_ACTION_DEVICEINSTANCESTARTED};
    static const CM_NOTIFY_ACTION gone[] = {
        [CM_NOTIFY_FILTER_TYPE_DEVICEINTERFACE] = CM_NOTIFY_ACTION_DEVICEINTERFACEREMOVAL,
        [CM_NOTIFY_FILTER_TYPE_DEVICEINSTANCE] = CM_NOTIFY_ACTION_DEVICEINSTANCEREMOVED};
    struct notification *notification = parameter;
    CM_NOTIFY_FILTER_TYPE type = notification->filter.FilterType;

    while (WaitForSingleObject(notification->stop, NOTIFY_MS) == WAIT_TIMEOUT) {
        take_picture(notification, notification->now);
        tell_new(notification, came[type], notification->now, notification->before);
        tell_new(notification, gone[type], notification->before, notification->now);
        memcpy(notification->before, notification->now, sizeof(notification->before));
    }
    return 0;
}

/* nf-cfgmgr32-cm_register_notification; of handles of devices nothing is told */
CONFIGRET WINAPI CM_Register_Notification(PCM_NOTIFY_FILTER filter, PVOID context,
                                          PCM_NOTIFY_CALLBACK callback, PHCMNOTIFICATION result)
{
    struct notification *notification;

    if (filter == NULL || callback == NULL || result == NULL)
        return CR_INVALID_POINTER;
    if (filter->cbSize != sizeof(*filter) || filter->Flags != 0 ||
        filter->FilterType == CM_NOTIFY_FILTER_TYPE_DEVICEHANDLE ||
        filter->FilterType >= CM_NOTIFY_FILTER_TYPE_MAX)
        return CR_INVALID_DATA;
    notification = calloc(1, sizeof(*notification));
    if (notification == NULL)
        return CR_OUT_OF_MEMORY;
    notification->filter = *filter;
    notification->context = context;
    notification->callback = callback;
    take_picture(notification, notification->before); /* what comes from now on is told */
    notification->stop = CreateEventW(NULL, TRUE, FALSE, NULL);
    notification->thread =
        notification->stop != NULL ? CreateThread(NULL, 0, watch, notification, 0, NULL) : NULL;
    if (notification->thread == NULL) {
        if (notification->stop != NULL)
            CloseHandle(notification->stop);
        free(notification);
        return CR_OUT_OF_MEMORY;
    }
    *result = (HCMNOTIFICATION)notification;
    return CR_SUCCESS;
}

/* nf-cfgmgr32-cm_unregister_notification: waits for callbacks, so it must not be called by one */
CONFIGRET WINAPI CM_Unregister_Notification(HCMNOTIFICATION handle)
{
    struct notification *notification = (struct notification *)handle;

    if (notification == NULL)
        return CR_INVALID_DATA;
    SetEvent(notification->stop);
    WaitForSingleObject(notification->thread, INFINITE);
    CloseHandle(notification->thread);
    CloseHandle(notification->stop);
    free(notification);
    return CR_SUCCESS;
}
