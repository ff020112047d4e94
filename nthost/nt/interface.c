/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Device interfaces: registered once, enabled while the device works, opened through a symbolic
 * link to the physical device object; what follows the link's name reaches the driver as the file
 * name.
 */
#include "nt/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct interface {
    struct interface *next;
    char *link; /* \??\ROOT#NET#0000#{class} */
    char *name; /* link, or link\reference */
    bool is_enabled;
};

static char *guid_text(const GUID *guid)
{
    char *text;

    if (asprintf(&text, "{%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x}", guid->Data1,
                 guid->Data2, guid->Data3, guid->Data4[0], guid->Data4[1], guid->Data4[2],
                 guid->Data4[3], guid->Data4[4], guid->Data4[5], guid->Data4[6],
                 guid->Data4[7]) < 0)
        nth_fail("out of memory");
    return text;
}

static char *narrow(const UNICODE_STRING *text)
{
    const unsigned length = text ? text->Length / sizeof(WCHAR) : 0;
    char *result = malloc(length + 1);

    if (!result)
        nth_fail("out of memory");
    for (unsigned i = 0; i < length; i++)
        result[i] = (char)text->Buffer[i];
    result[length] = 0;
    return result;
}

static char *link_name(const struct nth_device *device, const GUID *class)
{
    char *guid = guid_text(class), *link;

    if (asprintf(&link, "\\??\\%s#%s", device->instance_id, guid) < 0)
        nth_fail("out of memory");
    for (char *c = link + 4; *c; c++)
        *c = *c == '\\' ? '#' : *c;
    free(guid);
    return link;
}

/* The buffer is pool: RtlFreeUnicodeString gives it back. */
static NTSTATUS answer_name(const char *name, UNICODE_STRING *result)
{
    UNICODE_STRING wide = nth_unicode(name);
    WCHAR *buffer = ExAllocatePoolWithTag(PagedPool, wide.MaximumLength,
                                          0x72745352); /* RtlFreeUnicodeString frees it */

    if (buffer) {
        memcpy(buffer, wide.Buffer, wide.MaximumLength);
        *result = (UNICODE_STRING){
            .Length = wide.Length, .MaximumLength = wide.MaximumLength, .Buffer = buffer};
    }
    free(wide.Buffer);
    return buffer ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}

/* True: it was registered before. */
static bool node_register(struct nth_device *device, char *link, char *name)
{
    nth_lock(&nth_io_lock);
    struct interface *known = device->interfaces;
    while (known && strcmp(known->name, name) != 0)
        known = known->next;
    struct interface *fresh = known ? NULL : calloc(1, sizeof(*fresh));
    if (fresh) {
        *fresh = (struct interface){
            .next = device->interfaces, .link = strdup(link), .name = strdup(name)};
        device->interfaces = fresh;
    }
    nth_unlock(&nth_io_lock);
    return known != NULL;
}

NTSTATUS NTAPI IoRegisterDeviceInterface(PDEVICE_OBJECT PhysicalDeviceObject,
                                         const GUID *InterfaceClassGuid,
                                         PUNICODE_STRING ReferenceString,
                                         PUNICODE_STRING SymbolicLinkName)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    struct nth_device *device = nth_device_of(PhysicalDeviceObject);
    if (!device || device->pdo != PhysicalDeviceObject)
        return STATUS_INVALID_DEVICE_REQUEST;
    if (nth_fault(NTH_FAULT_OBJECT, "IoRegisterDeviceInterface"))
        return STATUS_INSUFFICIENT_RESOURCES;
    char *reference = narrow(ReferenceString), *link = link_name(device, InterfaceClassGuid), *name;
    if (strpbrk(reference, "\\/")) { /* the characters a reference string may not have */
        free(reference);
        free(link);
        return STATUS_INVALID_DEVICE_REQUEST;
    }
    if (asprintf(&name, "%s%s%s", link, *reference ? "\\" : "", reference) < 0)
        nth_fail("out of memory");
    NTSTATUS status = answer_name(name, SymbolicLinkName);
    if (NT_SUCCESS(status) && node_register(device, link, name))
        status = STATUS_OBJECT_NAME_EXISTS;
    free(reference);
    free(link);
    free(name);
    return status;
}
NTH_EXPORT(IoRegisterDeviceInterface, 4);

/* Interfaces of one class share a link, which is there while one of them is enabled. nth_io_lock
 * held. */
static bool shares_link(const struct nth_device *device, const struct interface *interface)
{
    for (const struct interface *other = device->interfaces; other; other = other->next) {
        if (other != interface && other->is_enabled && strcmp(other->link, interface->link) == 0)
            return true;
    }
    return false;
}

static NTSTATUS set_link(struct nth_device *device, const char *link, bool enable)
{
    UNICODE_STRING name = nth_unicode(link);

    const NTSTATUS status = enable ? nth_link_insert(&name, &((struct device *)device->pdo)->name)
                                   : nth_name_remove(&name);
    free(name.Buffer);
    return status;
}

static struct interface *find(const char *name, struct nth_device **device)
{
    for (struct nth_device *node = nth_device_first(); node; node = node->next) {
        for (struct interface *interface = node->interfaces; interface;
             interface = interface->next) {
            if (strcasecmp(interface->name, name) == 0) {
                *device = node;
                return interface;
            }
        }
    }
    return NULL;
}

NTSTATUS NTAPI IoSetDeviceInterfaceState(PUNICODE_STRING SymbolicLinkName, BOOLEAN Enable)
{
    struct nth_device *device = NULL;

    nth_irql_exactly(PASSIVE_LEVEL);
    if (Enable && nth_fault(NTH_FAULT_OBJECT, "IoSetDeviceInterfaceState"))
        return STATUS_INSUFFICIENT_RESOURCES;
    char *name = narrow(SymbolicLinkName);
    nth_lock(&nth_io_lock);
    struct interface *interface = find(name, &device);
    const bool was_enabled = interface && interface->is_enabled;
    const bool is_shared = interface && shares_link(device, interface);
    if (interface)
        interface->is_enabled = Enable != FALSE;
    nth_unlock(&nth_io_lock);
    free(name);
    if (!interface || (!Enable && !was_enabled))
        return STATUS_OBJECT_NAME_NOT_FOUND;
    if (Enable && was_enabled)
        return STATUS_OBJECT_NAME_EXISTS;
    return is_shared ? STATUS_SUCCESS : set_link(device, interface->link, Enable);
}
NTH_EXPORT(IoSetDeviceInterfaceState, 2);

void nth_interfaces_free(struct nth_device *device)
{
    struct interface *interface;

    while ((interface = device->interfaces) != NULL) {
        device->interfaces = interface->next;
        if (interface->is_enabled && !shares_link(device, interface))
            set_link(device, interface->link, false);
        free(interface->link);
        free(interface->name);
        free(interface);
    }
}

const char *nth_device_interface(struct nth_device *device)
{
    static const char net[] = "{cac88484-7515-4c03-82e6-71a87abac361}";
    const char *found = NULL;

    nth_lock(&nth_io_lock);
    for (const struct interface *interface = device->interfaces; interface && !found;
         interface = interface->next) {
        if (interface->is_enabled && strstr(interface->link, net))
            found = interface->name;
    }
    if (found) /* \??\ in the kernel is \\?\ in Win32 */
        snprintf(device->interface_path, sizeof(device->interface_path), "\\\\?\\%s", found + 4);
    nth_unlock(&nth_io_lock);
    return found ? device->interface_path : NULL;
}
