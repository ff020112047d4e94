/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Existing clients send REGISTER_RINGS to the adapter's own device, which is NDIS's. There is no
 * documented way to receive it there, so four entries of the driver object are taken over before
 * DriverEntry returns. This is the only file that knows: it serves that one code, the cleanup and
 * close of the file that used it, and query-remove; everything else goes to NDIS untouched. It
 * looks device objects up in the driver's own table and never at what NDIS keeps in them.
 */
#include "tun.h"

static PDRIVER_DISPATCH
    NdisDispatch[IRP_MJ_MAXIMUM_FUNCTION + 1]; /* constant after CompatInstall */

/* The adapter whose device this is, or NULL: not initialised yet, or halted. */
static TUN_ADAPTER *CompatFindLocked(const DEVICE_OBJECT *Device)
{
    TUN_ADAPTER *Adapter = Driver.Adapters;

    while (Adapter && Adapter->Device != Device)
        Adapter = Adapter->Next;
    return Adapter;
}

/* NDIS lets anybody open the device, so access is checked here. */
static NTSTATUS CompatRegister(const DEVICE_OBJECT *Device, IRP *Irp)
{
    SECURITY_SUBJECT_CONTEXT Subject;

    DriverLock();
    TUN_ADAPTER *Adapter = CompatFindLocked(Device);
    if (Adapter)
        InterlockedIncrement(&Adapter->References);
    DriverUnlock();

    SeCaptureSubjectContext(&Subject);
    NTSTATUS Status =
        DeviceCheckAccess(Adapter, &Subject, FILE_READ_DATA | FILE_WRITE_DATA, Irp->RequestorMode);
    SeReleaseSubjectContext(&Subject);
    if (NT_SUCCESS(Status))
        Status = Adapter ? RingsRegister(Adapter, Irp) : NDIS_STATUS_ADAPTER_NOT_READY;
    if (Adapter)
        AdapterDereference(Adapter);
    return Status;
}

static VOID CompatLeave(const DEVICE_OBJECT *Device, const FILE_OBJECT *File, BOOLEAN IsClose)
{
    DriverLock();
    TUN_ADAPTER *Adapter = CompatFindLocked(Device);
    if (Adapter && File) /* a file session has no owner either */
        SessionLeaveLocked(Adapter, File, 0);
    if (Adapter && IsClose && Adapter->CompatFile == File) {
        Adapter->CompatFile = NULL;
        KeSetEvent(&Adapter->CompatClosed, EVENT_INCREMENT, FALSE);
    }
    DriverUnlock();
}

/*
 * A handle to NDIS's device vetoes the removal. Its session ends, the client sees that and closes;
 * it is given two seconds, and then NDIS decides. Nobody's handle is closed for them. When the
 * removal is called off sessions are admitted again.
 */
static VOID CompatRemove(const DEVICE_OBJECT *Device, BOOLEAN IsQuery)
{
    LARGE_INTEGER Timeout = {.QuadPart = -2 * 10000000LL};
    BOOLEAN IsOpen = FALSE;

    DriverLock();
    TUN_ADAPTER *Adapter = CompatFindLocked(Device);
    if (Adapter) {
        Adapter->IsRemoving = IsQuery;
        if (IsQuery && Adapter->Session.Owner && !DeviceOwns(Adapter->Session.Owner)) {
            Adapter->CompatFile = Adapter->Session.Owner;
            KeClearEvent(&Adapter->CompatClosed);
            SessionEndLocked(Adapter);
        }
        IsOpen = IsQuery && Adapter->CompatFile;
        if (IsOpen)
            InterlockedIncrement(&Adapter->References);
    }
    DriverUnlock();
    if (!IsOpen)
        return;
    KeWaitForSingleObject(&Adapter->CompatClosed, Executive, KernelMode, FALSE, &Timeout);
    AdapterDereference(Adapter);
}

static NTSTATUS NTAPI CompatDispatch(DEVICE_OBJECT *Device, IRP *Irp)
{
    const IO_STACK_LOCATION *Stack = IoGetCurrentIrpStackLocation(Irp);
    const UCHAR Major = Stack->MajorFunction;

    if (DeviceOwns(Stack->FileObject))
        return NdisDispatch[Major](Device, Irp);
    if (Major == IRP_MJ_DEVICE_CONTROL) {
        if (Stack->Parameters.DeviceIoControl.IoControlCode == WINTUN_IOCTL_REGISTER_RINGS)
            return DeviceComplete(Irp, CompatRegister(Device, Irp), 0);
    } else if (Major == IRP_MJ_CLEANUP || Major == IRP_MJ_CLOSE) {
        CompatLeave(Device, Stack->FileObject, Major == IRP_MJ_CLOSE);
    } else if (Stack->MinorFunction == IRP_MN_QUERY_REMOVE_DEVICE ||
               Stack->MinorFunction == IRP_MN_CANCEL_REMOVE_DEVICE) {
        CompatRemove(Device, Stack->MinorFunction == IRP_MN_QUERY_REMOVE_DEVICE);
    }
    return NdisDispatch[Major](Device, Irp);
}

VOID CompatInstall(DRIVER_OBJECT *DriverObject)
{
    static const UCHAR Majors[] = {IRP_MJ_DEVICE_CONTROL, IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_PNP};

    for (ULONG Index = 0; Index < RTL_NUMBER_OF(Majors); Index++) {
        NdisDispatch[Majors[Index]] = DriverObject->MajorFunction[Majors[Index]];
        DriverObject->MajorFunction[Majors[Index]] = CompatDispatch;
    }
}
