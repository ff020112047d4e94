/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A driver without an opinion: calls what the test tells it to, from driver code and in whatever
 * context it is asked, and writes down what its routines see. Breaks rules only on request.
 */
#include "caller.h"

#include "testhost.h"

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD Unload;
static DRIVER_DISPATCH Create, Cleanup, Close, Control;
static DRIVER_CANCEL Cancel;

TEST_EXPORT ULONG64 Call(PVOID Function, const ULONG64 *A);
TEST_EXPORT VOID Notify(HANDLE ParentId, HANDLE ProcessId, BOOLEAN IsCreate);
TEST_EXPORT VOID NotifyEx(PEPROCESS Process, HANDLE ProcessId, PPS_CREATE_NOTIFY_INFO Info);
TEST_EXPORT VOID NotifyRemovesItself(HANDLE ParentId, HANDLE ProcessId, BOOLEAN IsCreate);
TEST_EXPORT VOID ThreadReturns(PVOID Event);
TEST_EXPORT VOID ThreadTerminates(PVOID Event);
TEST_EXPORT ULONG LogCount(VOID);
TEST_EXPORT const struct caller_entry *LogAt(ULONG Index);
TEST_EXPORT ULONG64 CallRaised(PVOID Function, const ULONG64 *A);
TEST_EXPORT VOID UnlockAtExit(ULONG IsWanted);
TEST_EXPORT ULONG64 ThreadStatus(VOID);

static KSPIN_LOCK Lock;
static LIST_ENTRY Pending;                     /* Lock */
static struct caller_entry Log[CALLER_LOGGED]; /* Lock */
static ULONG Logged;                           /* Lock */
static KEVENT Never;
static MDL *Locked;
static ULONG IsUnlockedAtExit;
static WCHAR NameText[] = L"\\Device\\Caller", LinkText[] = L"\\DosDevices\\Caller";
static UNICODE_STRING Name = RTL_CONSTANT_STRING(NameText), Link = RTL_CONSTANT_STRING(LinkText);

static VOID Write(ULONG What, ULONG64 Id)
{
    KIRQL Irql = KeGetCurrentIrql(), Old;
    struct caller_entry Entry = {0};

    Entry.What = What;
    Entry.Irql = Irql;
    Entry.Id = Id;
    Entry.CurrentId = (ULONG_PTR)PsGetCurrentProcessId();
    Entry.CurrentProcess = (ULONG_PTR)PsGetProcessId(PsGetCurrentProcess());
    Entry.ThreadProcess = (ULONG_PTR)PsGetProcessId(PsGetThreadProcess(PsGetCurrentThread()));
    KeAcquireSpinLock(&Lock, &Old);
    if (Logged < CALLER_LOGGED)
        Log[Logged++] = Entry;
    KeReleaseSpinLock(&Lock, Old);
}

ULONG LogCount(VOID)
{
    return Logged;
}

const struct caller_entry *LogAt(ULONG Index)
{
    return &Log[Index];
}

ULONG64 Call(PVOID Function, const ULONG64 *A)
{
    ULONG64(NTAPI * F)
    (ULONG64, ULONG64, ULONG64, ULONG64, ULONG64, ULONG64, ULONG64, ULONG64, ULONG64, ULONG64,
     ULONG64) = (ULONG64(NTAPI *)(ULONG64, ULONG64, ULONG64, ULONG64, ULONG64, ULONG64, ULONG64,
                                  ULONG64, ULONG64, ULONG64, ULONG64))Function;
    const ULONG64 Result = F(A[0], A[1], A[2], A[3], A[4], A[5], A[6], A[7], A[8], A[9], A[10]);

    return Result;
}

ULONG64 CallRaised(PVOID Function, const ULONG64 *A)
{
    KIRQL Old;

    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    const ULONG64 Result = Call(Function, A);
    KeLowerIrql(Old);
    return Result;
}

/* ---- routines that others call ---- */

static VOID UnlockPages(VOID)
{
    if (Locked == NULL)
        return;
    MmUnlockPages(Locked);
    IoFreeMdl(Locked);
    Locked = NULL;
}

VOID UnlockAtExit(ULONG IsWanted)
{
    IsUnlockedAtExit = IsWanted;
}

VOID Notify(HANDLE ParentId, HANDLE ProcessId, BOOLEAN IsCreate)
{
    Write(IsCreate ? CALLER_CREATED : CALLER_EXITED, (ULONG_PTR)ProcessId);
    if (!IsCreate && IsUnlockedAtExit)
        UnlockPages();
}

VOID NotifyEx(PEPROCESS Process, HANDLE ProcessId, PPS_CREATE_NOTIFY_INFO Info)
{
    Write(Info != NULL ? CALLER_CREATED : CALLER_EXITED, (ULONG_PTR)PsGetProcessId(Process));
    if (Info != NULL && IsUnlockedAtExit)
        Info->CreationStatus = STATUS_ACCESS_DENIED;
}

VOID NotifyRemovesItself(HANDLE ParentId, HANDLE ProcessId, BOOLEAN IsCreate)
{
    PsSetCreateProcessNotifyRoutine((PCREATE_PROCESS_NOTIFY_ROUTINE)NotifyRemovesItself, TRUE);
}

static NTSTATUS Terminated;

ULONG64 ThreadStatus(VOID)
{
    return (ULONG)Terminated;
}

VOID ThreadReturns(PVOID Event)
{
    Terminated = STATUS_SUCCESS;
    KeWaitForSingleObject(Event, Executive, KernelMode, FALSE, NULL);
}

VOID ThreadTerminates(PVOID Event)
{
    KeWaitForSingleObject(Event, Executive, KernelMode, FALSE, NULL);
    PsTerminateSystemThread(STATUS_CANCELLED);
    Terminated = STATUS_UNSUCCESSFUL; /* never reached */
}

/* ---- the device ---- */

static NTSTATUS Finish(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static VOID NTAPI Cancel(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL Old;

    IoReleaseCancelSpinLock(Irp->CancelIrql);
    KeAcquireSpinLock(&Lock, &Old);
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&Lock, Old);
    Write(CALLER_CANCELLED, IoGetRequestorProcessId(Irp));
    Finish(Irp, STATUS_CANCELLED, 0);
}

/* Whoever clears the cancel routine owns the IRP: "Using a Driver-Supplied Spin Lock". */
static NTSTATUS Pend(PIRP Irp)
{
    KIRQL Old;

    KeAcquireSpinLock(&Lock, &Old);
    IoSetCancelRoutine(Irp, Cancel);
    if (Irp->Cancel && IoSetCancelRoutine(Irp, NULL) != NULL) {
        KeReleaseSpinLock(&Lock, Old);
        return Finish(Irp, STATUS_CANCELLED, 0);
    }
    IoMarkIrpPending(Irp);
    InsertTailList(&Pending, &Irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&Lock, Old);
    return STATUS_PENDING;
}

static ULONG CompleteAll(VOID)
{
    ULONG Count = 0;
    KIRQL Old;

    KeAcquireSpinLock(&Lock, &Old);
    for (LIST_ENTRY *Entry = Pending.Flink; Entry != &Pending;) {
        PIRP Irp = CONTAINING_RECORD(Entry, IRP, Tail.Overlay.ListEntry);
        if (IoSetCancelRoutine(Irp, NULL) == NULL) {
            Entry = Entry->Flink; /* its cancel routine is waiting for the lock */
            continue;
        }
        RemoveEntryList(Entry);
        KeReleaseSpinLock(&Lock, Old);
        Finish(Irp, STATUS_SUCCESS, 0);
        Count++;
        KeAcquireSpinLock(&Lock, &Old);
        Entry = Pending.Flink;
    }
    KeReleaseSpinLock(&Lock, Old);
    return Count;
}

static NTSTATUS LockPages(const ULONG64 *Range)
{
    MDL *Mdl = IoAllocateMdl((PVOID)(ULONG_PTR)Range[0], (ULONG)Range[1], FALSE, FALSE, NULL);

    if (Mdl == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmProbeAndLockPages(Mdl, UserMode, IoWriteAccess); /* the test gives good addresses */
    Locked = Mdl;
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI Control(PDEVICE_OBJECT Device, PIRP Irp)
{
    const IO_STACK_LOCATION *Stack = IoGetCurrentIrpStackLocation(Irp);
    ULONG64 *Buffer = Irp->AssociatedIrp.SystemBuffer;
    const ULONG In = Stack->Parameters.DeviceIoControl.InputBufferLength;
    const ULONG Out = Stack->Parameters.DeviceIoControl.OutputBufferLength;

    switch ((int)Stack->Parameters.DeviceIoControl.IoControlCode) {
    case CODE_PEND:
    case CODE_PEND_DIRECT:
        return Pend(Irp);
    case CODE_COMPLETE:
        CompleteAll();
        return Finish(Irp, STATUS_SUCCESS, 0);
    case CODE_WAIT:
        return Finish(Irp,
                      KeWaitForSingleObject(&Never, Executive,
                                            (KPROCESSOR_MODE) * (ULONG *)(PVOID)Buffer, FALSE,
                                            NULL),
                      0);
    case CODE_RINGS: /* the test itself plays the driver's part */
        return Finish(Irp, In == 48 ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER, 0);
    case CODE_ECHO:
        return Finish(Irp, STATUS_SUCCESS, In < Out ? In : Out);
    case CODE_LOCK:
        return Finish(Irp, LockPages(Buffer), 0);
    case CODE_UNLOCK:
        UnlockPages();
        return Finish(Irp, STATUS_SUCCESS, 0);
    case CODE_CALL:
        if (In != (1 + CALLER_ARGUMENTS) * sizeof(ULONG64) || Out < sizeof(ULONG64))
            return Finish(Irp, STATUS_INVALID_PARAMETER, 0);
        Buffer[0] = Call((PVOID)(ULONG_PTR)Buffer[0], Buffer + 1);
        return Finish(Irp, STATUS_SUCCESS, sizeof(ULONG64));
    default:
        return Finish(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
}

static NTSTATUS NTAPI Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    return Finish(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    Write(CALLER_CLEANUP, (ULONG_PTR)PsGetCurrentProcessId());
    return Finish(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI Close(PDEVICE_OBJECT Device, PIRP Irp)
{
    Write(CALLER_CLOSE, (ULONG_PTR)PsGetCurrentProcessId());
    return Finish(Irp, STATUS_SUCCESS, 0);
}

static VOID NTAPI Unload(PDRIVER_OBJECT Driver)
{
    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PDEVICE_OBJECT Device = NULL;

    KeInitializeSpinLock(&Lock);
    KeInitializeEvent(&Never, NotificationEvent, FALSE);
    InitializeListHead(&Pending);
    Driver->DriverUnload = Unload;
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    Driver->MajorFunction[IRP_MJ_CLOSE] = Close;
    Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Control;
    const NTSTATUS Status =
        IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    return NT_SUCCESS(Status) ? IoCreateSymbolicLink(&Link, &Name) : Status;
}
