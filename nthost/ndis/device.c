/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Requests to the driver's device objects, and the devices a driver makes with
 * NdisRegisterDeviceEx. The dispatch table of such a device lies in the device object's own
 * extension and so lives as long as a file is open, deregistered or not: cleanup and close still
 * reach the driver.
 */
#include "ndis/private.h"

#include <string.h>

struct named_device {
    struct ndis_fdo head; /* kind NDIS_DEVICE_NAMED */
    DEVICE_OBJECT *device;
    void *handle; /* struct device_handle while registered */
    PDRIVER_DISPATCH major[IRP_MJ_MAXIMUM_FUNCTION + 1];
    void *reserved; /* the driver's extension, freed at deregistration */
};

/* The handle dies at deregistration, the device object later. */
struct device_handle {
    struct ndis_object object;
    struct ndis_driver *driver;
    DEVICE_OBJECT *device;
    UNICODE_STRING link;
};

/* ---- dispatch ---- */

static NTSTATUS complete(IRP *irp, NTSTATUS status)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = 0;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static NTSTATUS to_lower(const struct nth_adapter *a, IRP *irp)
{
    IoSkipCurrentIrpStackLocation(irp);
    return IoCallDriver(a->lower, irp);
}

/* NDIS lets everybody open the adapter's device and knows no control code but its own. */
static NTSTATUS adapter_request(struct nth_adapter *a, IRP *irp)
{
    switch (IoGetCurrentIrpStackLocation(irp)->MajorFunction) {
    case IRP_MJ_PNP:
        return ndis_pnp(a, irp);
    case IRP_MJ_POWER:
        return ndis_power(a, irp);
    case IRP_MJ_SYSTEM_CONTROL:
        return to_lower(a, irp);
    case IRP_MJ_CREATE:
        return complete(irp, __atomic_load_n(&a->was_surprised, __ATOMIC_SEQ_CST)
                                 ? STATUS_DEVICE_NOT_READY
                                 : STATUS_SUCCESS);
    case IRP_MJ_CLEANUP:
    case IRP_MJ_CLOSE:
        return complete(irp, STATUS_SUCCESS);
    default:
        return complete(irp, STATUS_INVALID_DEVICE_REQUEST);
    }
}

static NTSTATUS named_request(struct named_device *n, DEVICE_OBJECT *device, IRP *irp)
{
    const UCHAR major = IoGetCurrentIrpStackLocation(irp)->MajorFunction;
    PDRIVER_DISPATCH handler = n->major[major];

    if (handler)
        return handler(device, irp);
    return complete(irp, STATUS_INVALID_DEVICE_REQUEST);
}

NTSTATUS NTAPI ndis_dispatch(DEVICE_OBJECT *device, IRP *irp)
{
    struct ndis_fdo *f = device->DeviceExtension;

    if (f && f->kind == NDIS_DEVICE_ADAPTER)
        return adapter_request(f->adapter, irp);
    if (f && f->kind == NDIS_DEVICE_NAMED)
        return named_request((struct named_device *)f, device, irp);
    nth_stop("ndis-handle", "a request for device %p, which is not of NDIS", (void *)device);
}

/* ---- NdisRegisterDeviceEx ---- */

/* Nobody can open the device before its descriptor is set: it is still initialising. */
static NTSTATUS create_device(struct device_handle *h, const NDIS_DEVICE_OBJECT_ATTRIBUTES *d)
{
    NTSTATUS status =
        IoCreateDevice(h->driver->driver, sizeof(struct named_device), d->DeviceName,
                       FILE_DEVICE_NETWORK, FILE_DEVICE_SECURE_OPEN, FALSE, &h->device);

    if (NT_SUCCESS(status))
        memset(h->device->DeviceExtension, 0, sizeof(struct named_device));
    else
        h->device = NULL;
    if (NT_SUCCESS(status) && d->DefaultSDDLString)
        status = ndis_set_security(h->device, d->DefaultSDDLString);
    return status;
}

static NTSTATUS fill_device(struct device_handle *h, const NDIS_DEVICE_OBJECT_ATTRIBUTES *d)
{
    struct named_device *n = h->device->DeviceExtension;

    n->head.kind = NDIS_DEVICE_NAMED;
    n->device = h->device;
    n->handle = h;
    memcpy(n->major, d->MajorFunctions, sizeof(n->major));
    n->major[IRP_MJ_PNP] = n->major[IRP_MJ_POWER] = NULL; /* "must not supply" */
    if (d->ExtensionSize) {
        n->reserved = ndis_alloc(d->ExtensionSize);
        if (!n->reserved)
            return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (!d->SymbolicName || !d->SymbolicName->Length)
        return STATUS_SUCCESS;
    h->link.Buffer = ndis_alloc(d->SymbolicName->Length);
    if (!h->link.Buffer)
        return STATUS_INSUFFICIENT_RESOURCES;
    h->link.Length = h->link.MaximumLength = d->SymbolicName->Length;
    memcpy(h->link.Buffer, d->SymbolicName->Buffer, d->SymbolicName->Length);
    const NTSTATUS status = IoCreateSymbolicLink(&h->link, d->DeviceName);
    if (!NT_SUCCESS(status))
        h->link.Length = 0;
    return status;
}

static void destroy(struct device_handle *h)
{
    if (h->link.Length)
        IoDeleteSymbolicLink(&h->link);
    ndis_free(h->link.Buffer);
    if (h->device) {
        struct named_device *n = h->device->DeviceExtension;
        void *reserved = n->reserved;
        n->reserved = NULL;
        n->handle = NULL;
        ndis_free(reserved);
        IoDeleteDevice(h->device);
    }
    ndis_free(h);
}

static struct ndis_driver *driver_behind(NDIS_HANDLE handle)
{
    const struct ndis_object *object = handle;

    if (object && object->kind == NDIS_KIND_ADAPTER)
        return ((struct nth_adapter *)handle)->driver;
    return ndis_object_check(handle, NDIS_KIND_DRIVER);
}

NDIS_STATUS NTAPI NdisRegisterDeviceEx(NDIS_HANDLE NdisHandle,
                                       PNDIS_DEVICE_OBJECT_ATTRIBUTES DeviceObjectAttributes,
                                       PDEVICE_OBJECT *DeviceObject, PNDIS_HANDLE NdisDeviceHandle)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    static const USHORT sizes[] = {NDIS_SIZEOF_DEVICE_OBJECT_ATTRIBUTES_REVISION_1};
    const NDIS_DEVICE_OBJECT_ATTRIBUTES *d = DeviceObjectAttributes;

    *DeviceObject = NULL;
    if (!ndis_header_is(&d->Header, NDIS_OBJECT_TYPE_DEVICE_OBJECT_ATTRIBUTES, 1, sizes))
        return NDIS_STATUS_BAD_VERSION;
    if (!d->DeviceName || !d->MajorFunctions)
        return NDIS_STATUS_INVALID_PARAMETER;
    if (nth_fault(NTH_FAULT_REGISTER, "NdisRegisterDeviceEx"))
        return NDIS_STATUS_RESOURCES;
    struct device_handle *h = ndis_alloc(sizeof(*h));
    if (!h)
        return NDIS_STATUS_RESOURCES;
    h->driver = driver_behind(NdisHandle);
    NTSTATUS status = create_device(h, d);
    if (NT_SUCCESS(status))
        status = fill_device(h, d);
    if (!NT_SUCCESS(status)) {
        destroy(h);
        return (NDIS_STATUS)status;
    }
    ndis_object_add(&h->object, NDIS_KIND_DEVICE, h->driver, "NdisRegisterDeviceEx");
    h->device->Flags &= ~(ULONG)DO_DEVICE_INITIALIZING;
    *DeviceObject = h->device;
    *NdisDeviceHandle = h;
    return NDIS_STATUS_SUCCESS;
}
NTH_EXPORT(NdisRegisterDeviceEx, 4);

/* The link goes at once, the name and the object when the last file closes (IoDeleteDevice). */
VOID NTAPI NdisDeregisterDeviceEx(NDIS_HANDLE NdisDeviceHandle)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    struct device_handle *h = ndis_object_check(NdisDeviceHandle, NDIS_KIND_DEVICE);

    ndis_object_remove(&h->object);
    destroy(h);
}
NTH_EXPORT(NdisDeregisterDeviceEx, 1);

PVOID NTAPI NdisGetDeviceReservedExtension(PDEVICE_OBJECT DeviceObject)
{
    const struct ndis_fdo *f = DeviceObject->DeviceExtension;

    if (!f || f->kind != NDIS_DEVICE_NAMED)
        return NULL;
    return ((const struct named_device *)f)->reserved;
}
NTH_EXPORT(NdisGetDeviceReservedExtension, 1);
