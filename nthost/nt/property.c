/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Device properties of the unified model: a list of values per devnode.
 */
#include "nt/io.h"

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
