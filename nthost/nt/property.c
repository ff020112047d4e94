/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Device properties of the unified model: a list of values per devnode.
 */
#include "nt/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct property {
    struct property *next;
    DEVPROPKEY key;
    LCID lcid;
    DEVPROPTYPE type;
    ULONG bytes;
    uint8_t data[];
};

/* nth_io_lock held. */
static struct property **find(struct nth_device *device, const DEVPROPKEY *key, LCID lcid)
{
    struct property **link = &device->properties;

    while (*link && (memcmp(&(*link)->key, key, sizeof(*key)) != 0 || (*link)->lcid != lcid))
        link = &(*link)->next;
    return link;
}

static void set(struct nth_device *device, const DEVPROPKEY *key, LCID lcid, DEVPROPTYPE type,
                const void *data, ULONG bytes)
{
    struct property *fresh = data ? calloc(1, sizeof(*fresh) + bytes) : NULL;

    if (data && !fresh)
        nth_fail("out of memory");
    nth_lock(&nth_io_lock);
    struct property **link = find(device, key, lcid), *old = *link;
    if (old)
        *link = old->next;
    if (fresh) {
        *fresh = (struct property){
            .next = device->properties, .key = *key, .lcid = lcid, .type = type, .bytes = bytes};
        memcpy(fresh->data, data, bytes);
        device->properties = fresh;
    }
    nth_unlock(&nth_io_lock);
    free(old);
}

void nth_property_set(struct nth_device *device, const DEVPROPKEY *key, DEVPROPTYPE type,
                      const void *data, ULONG bytes)
{
    set(device, key, 0, type, data, bytes);
}

void nth_properties_free(struct nth_device *device)
{
    while (device->properties) {
        struct property *property = device->properties;
        device->properties = property->next;
        free(property);
    }
}

NTSTATUS NTAPI IoGetDevicePropertyData(PDEVICE_OBJECT Pdo, const DEVPROPKEY *PropertyKey, LCID Lcid,
                                       ULONG Flags, ULONG Size, PVOID Data, PULONG RequiredSize,
                                       PDEVPROPTYPE Type)
{
    NTSTATUS status = STATUS_OBJECT_NAME_NOT_FOUND;

    nth_irql_max(APC_LEVEL);
    struct nth_device *device = nth_device_of(Pdo);
    if (!device || device->pdo != Pdo || Flags != 0)
        return STATUS_INVALID_PARAMETER;
    nth_lock(&nth_io_lock);
    const struct property *property = *find(device, PropertyKey, Lcid);
    if (property) {
        *RequiredSize = property->bytes;
        *Type = property->type;
        status = property->bytes <= Size ? STATUS_SUCCESS : STATUS_BUFFER_TOO_SMALL;
        if (NT_SUCCESS(status))
            memcpy(Data, property->data, property->bytes);
    }
    nth_unlock(&nth_io_lock);
    return status;
}
NTH_EXPORT(IoGetDevicePropertyData, 8);

NTSTATUS NTAPI IoSetDevicePropertyData(PDEVICE_OBJECT Pdo, const DEVPROPKEY *PropertyKey, LCID Lcid,
                                       ULONG Flags, DEVPROPTYPE Type, ULONG Size, PVOID Data)
{
    nth_irql_max(APC_LEVEL);
    struct nth_device *device = nth_device_of(Pdo);
    if (!device || device->pdo != Pdo || (Flags & ~PLUGPLAY_PROPERTY_PERSISTENT))
        return STATUS_INVALID_PARAMETER;
    if (Data && nth_fault(NTH_FAULT_OBJECT, "IoSetDevicePropertyData"))
        return STATUS_INSUFFICIENT_RESOURCES;
    set(device, PropertyKey, Lcid, Type, Data, Size);
    return STATUS_SUCCESS;
}
NTH_EXPORT(IoSetDevicePropertyData, 7);

void nth_device_set_property(struct nth_device *device, const DEVPROPKEY *key, DEVPROPTYPE type,
                             const void *data, ULONG bytes)
{
    set(device, key, 0, type, data, bytes);
}

/* ---- what Windows knows about a device from its installation ---- */

enum { /* DEVICE_REGISTRY_PROPERTY */
       DESCRIPTION = 0,
       HARDWARE_ID = 1,
       CLASS_NAME = 5,
       CLASS_GUID = 6,
       DRIVER_KEY_NAME = 7,
       PDO_NAME = 11,
       ENUMERATOR = 15,
       LAST_KNOWN = 22
};

static NTSTATUS from_key(struct nth_device *device, const char *name, WCHAR *value, ULONG *bytes)
{
    ULONG type;

    return nth_registry_get(nth_device_key(device), name, &type, value, bytes);
}

static NTSTATUS from_text(const char *text, WCHAR *value, ULONG *bytes)
{
    UNICODE_STRING wide = nth_unicode(text);

    *bytes = wide.MaximumLength;
    memcpy(value, wide.Buffer, wide.MaximumLength);
    free(wide.Buffer);
    return STATUS_SUCCESS;
}

/* value has room for 1024 characters. A device of no bus and no location lacks the other ones. */
static NTSTATUS installed_property(struct nth_device *device, ULONG property, WCHAR *value,
                                   ULONG *bytes)
{
    const UNICODE_STRING *name = &((struct device *)device->pdo)->name;
    char enumerator[64];
    NTSTATUS status;

    switch (property) {
    case DESCRIPTION:
        return from_key(device, "DriverDesc", value, bytes);
    case HARDWARE_ID: /* REG_MULTI_SZ */
        status = from_key(device, "ComponentId", value, bytes);
        if (NT_SUCCESS(status))
            value[*bytes / 2] = 0;
        *bytes += sizeof(WCHAR);
        return status;
    case CLASS_NAME:
        return from_text("Net", value, bytes);
    case CLASS_GUID:
        return from_text("{4d36e972-e325-11ce-bfc1-08002be10318}", value, bytes);
    case DRIVER_KEY_NAME:
        return from_text(strstr(device->key, "{4d36e972"), value, bytes);
    case PDO_NAME:
        memcpy(value, name->Buffer, name->Length);
        value[name->Length / 2] = 0;
        *bytes = name->Length + sizeof(WCHAR);
        return STATUS_SUCCESS;
    case ENUMERATOR:
        snprintf(enumerator, sizeof(enumerator), "%.*s", (int)strcspn(device->instance_id, "\\"),
                 device->instance_id);
        return from_text(enumerator, value, bytes);
    default:
        return STATUS_OBJECT_NAME_NOT_FOUND;
    }
}

static NTSTATUS NTAPI get_device_property(PDEVICE_OBJECT DeviceObject, ULONG DeviceProperty,
                                          ULONG BufferLength, PVOID PropertyBuffer,
                                          PULONG ResultLength)
{
    WCHAR value[1024];
    ULONG bytes = sizeof(value) - sizeof(WCHAR);

    nth_irql_exactly(PASSIVE_LEVEL);
    struct nth_device *device = nth_device_of(DeviceObject);
    if (!device || device->pdo != DeviceObject)
        return STATUS_INVALID_DEVICE_REQUEST;
    if (DeviceProperty > LAST_KNOWN)
        return STATUS_INVALID_PARAMETER_2;
    const NTSTATUS status = installed_property(device, DeviceProperty, value, &bytes);
    if (!NT_SUCCESS(status))
        return status;
    *ResultLength = bytes;
    if (bytes > BufferLength)
        return STATUS_BUFFER_TOO_SMALL;
    memcpy(PropertyBuffer, value, bytes);
    return STATUS_SUCCESS;
}
NTH_EXPORT_AS(IoGetDeviceProperty, "IoGetDeviceProperty", get_device_property, 5);

static NTSTATUS NTAPI open_device_key(PDEVICE_OBJECT DeviceObject, ULONG DevInstKeyType,
                                      ACCESS_MASK DesiredAccess, PHANDLE DevInstRegKey)
{
    const ULONG driver_key = 2; /* PLUGPLAY_REGKEY_DRIVER */
    OBJECT_ATTRIBUTES attributes;

    nth_irql_exactly(PASSIVE_LEVEL);
    struct nth_device *device = nth_device_of(DeviceObject);
    if (!device || device->pdo != DeviceObject)
        return STATUS_INVALID_DEVICE_REQUEST;
    if (DevInstKeyType != driver_key)
        nth_stop("not-provided", "IoOpenDeviceRegistryKey with key type 0x%x", DevInstKeyType);
    if (nth_fault(NTH_FAULT_OBJECT, "IoOpenDeviceRegistryKey"))
        return STATUS_INSUFFICIENT_RESOURCES;
    UNICODE_STRING name = nth_unicode(device->key);
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL,
                               NULL);
    const NTSTATUS status = ZwOpenKey(DevInstRegKey, DesiredAccess, &attributes);
    free(name.Buffer);
    return status;
}
NTH_EXPORT_AS(IoOpenDeviceRegistryKey, "IoOpenDeviceRegistryKey", open_device_key, 4);
