/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Requests that a driver has the I/O manager build and end: buffers, IO_STATUS_BLOCK and event are
 * taken care of at completion, and the driver never frees the IRP.
 */
#include "nt/io.h"

#include <string.h>

static void threaded_done(IRP *irp, void *context)
{
    const bool answers = !NT_ERROR(irp->IoStatus.Status) || irp->PendingReturned;
    void *const system =
        irp->Flags & IRP_DEALLOCATE_BUFFER ? irp->AssociatedIrp.SystemBuffer : NULL;

    if (system && (irp->Flags & IRP_INPUT_OPERATION) && !NT_ERROR(irp->IoStatus.Status))
        memcpy(irp->UserBuffer, system, irp->IoStatus.Information);
    if (system)
        nth_mm_free(system, (size_t)(uintptr_t)context);
    while (irp->MdlAddress) {
        MDL *mdl = irp->MdlAddress;
        irp->MdlAddress = mdl->Next;
        MmUnlockPages(mdl);
        IoFreeMdl(mdl);
    }
    if (answers && irp->UserIosb)
        *irp->UserIosb = irp->IoStatus;
    if (answers && irp->UserEvent)
        KeSetEvent(irp->UserEvent, 0, FALSE);
    nth_irp_unpin(irp);
}

/* A system buffer of size bytes with in copied to it. */
static void *buffered(IRP *irp, const void *in, ULONG in_bytes, ULONG size)
{
    void *system = size != 0 ? nth_mm_alloc(size) : NULL;

    if (in_bytes != 0)
        memcpy(system, in, in_bytes);
    irp->AssociatedIrp.SystemBuffer = system;
    irp->Flags |= IRP_BUFFERED_IO | (system ? IRP_DEALLOCATE_BUFFER : 0);
    return system;
}

static bool direct(IRP *irp, void *buffer, ULONG bytes, bool write)
{
    if (bytes == 0)
        return true;
    irp->MdlAddress = nth_mdl_create(buffer, bytes);
    if (NT_SUCCESS(nth_mdl_lock(irp->MdlAddress, KernelMode, write)))
        return true;
    IoFreeMdl(irp->MdlAddress);
    irp->MdlAddress = NULL;
    return false;
}

PIRP NTAPI IoBuildDeviceIoControlRequest(ULONG IoControlCode, PDEVICE_OBJECT DeviceObject,
                                         PVOID InputBuffer, ULONG InputBufferLength,
                                         PVOID OutputBuffer, ULONG OutputBufferLength,
                                         BOOLEAN InternalDeviceIoControl, PKEVENT Event,
                                         PIO_STATUS_BLOCK IoStatusBlock)
{
    const ULONG method = METHOD_FROM_CTL_CODE(IoControlCode);
    const ULONG size = method != METHOD_BUFFERED                ? InputBufferLength
                       : InputBufferLength > OutputBufferLength ? InputBufferLength
                                                                : OutputBufferLength;

    nth_irql_exactly(PASSIVE_LEVEL);
    if (nth_fault(NTH_FAULT_POOL, "IoBuildDeviceIoControlRequest"))
        return NULL;
    IRP *irp =
        nth_irp_create_threaded(DeviceObject->StackSize, threaded_done, (void *)(uintptr_t)size);
    IO_STACK_LOCATION *location = IoGetNextIrpStackLocation(irp);
    location->MajorFunction =
        InternalDeviceIoControl ? IRP_MJ_INTERNAL_DEVICE_CONTROL : IRP_MJ_DEVICE_CONTROL;
    location->Parameters.DeviceIoControl.IoControlCode = IoControlCode;
    location->Parameters.DeviceIoControl.InputBufferLength = InputBufferLength;
    location->Parameters.DeviceIoControl.OutputBufferLength = OutputBufferLength;
    irp->UserIosb = IoStatusBlock;
    irp->UserEvent = Event;
    irp->UserBuffer = OutputBuffer;
    if (method == METHOD_NEITHER) {
        location->Parameters.DeviceIoControl.Type3InputBuffer = InputBuffer;
        return irp;
    }
    buffered(irp, InputBuffer, InputBufferLength, size);
    if (method == METHOD_BUFFERED) {
        irp->Flags |= OutputBufferLength ? IRP_INPUT_OPERATION : 0;
    } else if (!direct(irp, OutputBuffer, OutputBufferLength, method == METHOD_OUT_DIRECT)) {
        if (size)
            nth_mm_free(irp->AssociatedIrp.SystemBuffer, size);
        nth_irp_unpin(irp);
        return NULL;
    }
    return irp;
}
NTH_EXPORT(IoBuildDeviceIoControlRequest, 9);

/* Read and write requests, with the buffer as the device wants it. */
static NTSTATUS use_buffer(IRP *irp, const DEVICE_OBJECT *device, bool is_read, void *buffer,
                           ULONG length)
{
    irp->UserBuffer = buffer;
    if (length == 0)
        return STATUS_SUCCESS;
    if (device->Flags & DO_BUFFERED_IO) {
        buffered(irp, buffer, is_read ? 0 : length, length);
        irp->Flags |= is_read ? IRP_INPUT_OPERATION : 0;
    } else if (device->Flags & DO_DIRECT_IO) {
        return direct(irp, buffer, length, is_read) ? STATUS_SUCCESS : STATUS_ACCESS_VIOLATION;
    }
    return STATUS_SUCCESS;
}

static PIRP NTAPI build_synchronous(ULONG MajorFunction, PDEVICE_OBJECT DeviceObject, PVOID Buffer,
                                    ULONG Length, PLARGE_INTEGER StartingOffset, PKEVENT Event,
                                    PIO_STATUS_BLOCK IoStatusBlock)
{
    const bool is_read = MajorFunction == IRP_MJ_READ, is_write = MajorFunction == IRP_MJ_WRITE;

    nth_irql_exactly(PASSIVE_LEVEL);
    if (!is_read && !is_write && MajorFunction != IRP_MJ_FLUSH_BUFFERS &&
        MajorFunction != IRP_MJ_SHUTDOWN && MajorFunction != IRP_MJ_PNP)
        nth_stop("bad-parameter", "IoBuildSynchronousFsdRequest with major function 0x%x",
                 MajorFunction);
    if (nth_fault(NTH_FAULT_POOL, "IoBuildSynchronousFsdRequest"))
        return NULL;
    IRP *irp =
        nth_irp_create_threaded(DeviceObject->StackSize, threaded_done, (void *)(uintptr_t)Length);
    IO_STACK_LOCATION *location = IoGetNextIrpStackLocation(irp);
    location->MajorFunction = (UCHAR)MajorFunction;
    irp->UserIosb = IoStatusBlock;
    irp->UserEvent = Event;
    if (!is_read && !is_write)
        return irp;
    location->Parameters.Read.Length = Length;
    if (StartingOffset)
        location->Parameters.Read.ByteOffset = *StartingOffset;
    if (NT_SUCCESS(use_buffer(irp, DeviceObject, is_read, Buffer, Length)))
        return irp;
    nth_irp_unpin(irp);
    return NULL;
}
NTH_EXPORT_AS(IoBuildSynchronousFsdRequest, "IoBuildSynchronousFsdRequest", build_synchronous, 7);
