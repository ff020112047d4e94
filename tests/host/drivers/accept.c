/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A control device that takes every request and does nothing with it: whoever registers rings here
 * has them to itself, so that a test can be the driver's end. Must never touch what it is given.
 */
#include <ntifs.h>

DRIVER_INITIALIZE DriverEntry;
static DRIVER_DISPATCH AcceptRequest;
static DRIVER_UNLOAD AcceptUnload;

static NTSTATUS NTAPI AcceptRequest(DEVICE_OBJECT *Device, IRP *Irp)
{
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

static VOID NTAPI AcceptUnload(DRIVER_OBJECT *Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\DosDevices\\Accept");

    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS NTAPI DriverEntry(DRIVER_OBJECT *Driver, UNICODE_STRING *RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Accept");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\DosDevices\\Accept");
    DEVICE_OBJECT *Device;
    NTSTATUS Status = IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);

    if (!NT_SUCCESS(Status))
        return Status;
    Status = IoCreateSymbolicLink(&Link, &Name);
    if (!NT_SUCCESS(Status)) {
        IoDeleteDevice(Device);
        return Status;
    }
    Driver->MajorFunction[IRP_MJ_CREATE] = AcceptRequest;
    Driver->MajorFunction[IRP_MJ_CLEANUP] = AcceptRequest;
    Driver->MajorFunction[IRP_MJ_CLOSE] = AcceptRequest;
    Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = AcceptRequest;
    Driver->DriverUnload = AcceptUnload;
    Device->Flags &= ~(ULONG)DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}
