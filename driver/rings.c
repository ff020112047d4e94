/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * REGISTER_RINGS, at either device: how memory of a program becomes the rings of a session. The
 * only file that reads addresses and handles of a program; nothing in a request may be trusted.
 */
#include "tun.h"

/* The only place that touches addresses of a program. */
static DECLSPEC_NOINLINE BOOLEAN PagesLock(MDL *Mdl, KPROCESSOR_MODE Mode)
{
    __try {
        MmProbeAndLockPages(Mdl, Mode, IoWriteAccess);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return FALSE;
    }
    return TRUE;
}

/*
 * A program's ring: to us, or from us to the program. What was made of it stays in Ring for
 * SessionDestroy, also on failure. A cursor of ours that is beyond the ring is a direction that has
 * ended, which the worker tells; one of the program's is an error.
 */
static NTSTATUS RingMap(TUN_RING *Ring, const WINTUN_REGISTER_RING *Request, BOOLEAN IsToUs,
                        KPROCESSOR_MODE Mode)
{
    const ACCESS_MASK Access = EVENT_MODIFY_STATE | (IsToUs ? SYNCHRONIZE : 0);
    const ULONG Capacity = Request->RingSize - WINTUN_RING_OVERHEAD;
    const ULONG_PTR Address = (ULONG_PTR)Request->Ring;

    if (Capacity < WINTUN_RING_MIN_CAPACITY || Capacity > WINTUN_RING_MAX_CAPACITY ||
        Capacity & (Capacity - 1) || !Request->TailMoved || !Address || Address != Request->Ring ||
        Address % WINTUN_RING_ALIGNMENT || Address + Request->RingSize < Address)
        return STATUS_INVALID_PARAMETER;
    NTSTATUS Status =
        ObReferenceObjectByHandle((HANDLE)(ULONG_PTR)Request->TailMoved, Access, *ExEventObjectType,
                                  Mode, (PVOID *)&Ring->TailMoved, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    /* For the real address: an unaligned ring spans one page more than its size tells. */
    Ring->Mdl = IoAllocateMdl((PVOID)Address, Request->RingSize, FALSE, FALSE, NULL);
    if (!Ring->Mdl)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (!PagesLock(Ring->Mdl, Mode))
        return STATUS_INVALID_USER_BUFFER;
    UCHAR *Base = MmGetSystemAddressForMdlSafe(Ring->Mdl, Driver.MapPriority);
    if (!Base)
        return STATUS_INSUFFICIENT_RESOURCES;
    RingCreate(Ring, Base, Capacity);
    Ring->Cursor = ReadULongNoFence(IsToUs ? Ring->Head : Ring->Tail);
    Ring->HasEnded = IsToUs && Ring->Cursor >= Capacity;
    return Ring->HasEnded || (Ring->Cursor < Capacity && Ring->Cursor % WINTUN_RING_ALIGNMENT == 0)
               ? STATUS_SUCCESS
               : STATUS_INVALID_PARAMETER;
}

/*
 * Addresses and handles are those of the calling process, which cannot exit before this returns:
 * one of its threads is here. The short layout is for 32-bit programs alone. A request of another
 * length is one that says nothing, which is refused in its turn: existing clients see the statuses
 * in this order. The mutex is not held while pages are locked, for that may take as long as a
 * program likes (a page may be on a dead server); IsStarting keeps others off meanwhile, and those
 * who end sessions find none and pass.
 */
NTSTATUS RingsRegister(TUN_ADAPTER *Adapter, IRP *Irp)
{
    const IO_STACK_LOCATION *Stack = IoGetCurrentIrpStackLocation(Irp);
    const ULONG Bytes = Stack->Parameters.DeviceIoControl.InputBufferLength;
    const WINTUN_REGISTER_RINGS_32 *Short = Irp->AssociatedIrp.SystemBuffer;
    const KPROCESSOR_MODE Mode = Irp->RequestorMode;
    WINTUN_REGISTER_RINGS Request = {.ToUser = {0}};
    TUN_SESSION New = {.Owner = Stack->FileObject,
                       .Process = Mode == UserMode ? PsGetCurrentProcessId() : NULL};

    if (!New.Owner || (Mode == UserMode && IoGetRequestorProcess(Irp) != PsGetCurrentProcess()))
        return STATUS_INVALID_DEVICE_REQUEST;
    if (Bytes == sizeof(Request))
        RtlCopyMemory(&Request, Irp->AssociatedIrp.SystemBuffer, sizeof(Request));
    else if (Bytes == sizeof(*Short) && IoIs32bitProcess(Irp))
        Request = (WINTUN_REGISTER_RINGS){
            {Short->ToUser.RingSize, 0, Short->ToUser.Ring, Short->ToUser.TailMoved},
            {Short->ToStack.RingSize, 0, Short->ToStack.Ring, Short->ToStack.TailMoved}};
    DriverLock();
    NTSTATUS Status = SessionAdmitLocked(Adapter);
    Adapter->IsStarting |= NT_SUCCESS(Status);
    DriverUnlock();
    if (!NT_SUCCESS(Status))
        return Status;
    Status = RingMap(&New.ToUser, &Request.ToUser, FALSE, Mode);
    if (NT_SUCCESS(Status))
        Status = RingMap(&New.ToStack, &Request.ToStack, TRUE, Mode);
    DriverLock();
    Adapter->IsStarting = FALSE;
    if (NT_SUCCESS(Status))
        Status = SessionAdmitLocked(Adapter);
    if (NT_SUCCESS(Status))
        SessionBeginLocked(Adapter, &New);
    DriverUnlock();
    if (!NT_SUCCESS(Status))
        SessionDestroy(&New);
    return Status;
}
