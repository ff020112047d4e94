/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A driver that does what TestScript says; see gadget.h.
 */
#include "gadget.h"

__declspec(dllimport) extern struct gadget_script TestScript;
#define S TestScript

DRIVER_INITIALIZE DriverEntry;

static UNICODE_STRING DeviceName = RTL_CONSTANT_STRING(L"\\Device\\Gadget");
static UNICODE_STRING LinkName = RTL_CONSTANT_STRING(L"\\DosDevices\\Gadget");
static KSPIN_LOCK Lock, QueueLock;
static LIST_ENTRY Queue;
static IO_CSQ Csq;
static IO_REMOVE_LOCK RemoveLock;
static PDEVICE_OBJECT Lower, FilterLower;
static KEVENT WorkGate;

/* ---- the cancel-safe queue ---- */

static VOID NTAPI CsqInsert(PIO_CSQ C, PIRP Irp)
{
    Irp->Tail.Overlay.ListEntry.Flink = &Queue;
    Irp->Tail.Overlay.ListEntry.Blink = Queue.Blink;
    Queue.Blink->Flink = &Irp->Tail.Overlay.ListEntry;
    Queue.Blink = &Irp->Tail.Overlay.ListEntry;
}

static VOID NTAPI CsqRemove(PIO_CSQ C, PIRP Irp)
{
    Irp->Tail.Overlay.ListEntry.Blink->Flink = Irp->Tail.Overlay.ListEntry.Flink;
    Irp->Tail.Overlay.ListEntry.Flink->Blink = Irp->Tail.Overlay.ListEntry.Blink;
}

static PIRP NTAPI CsqPeek(PIO_CSQ C, PIRP Irp, PVOID Context)
{
    PLIST_ENTRY Entry = Irp ? Irp->Tail.Overlay.ListEntry.Flink : Queue.Flink;

    for (; Entry != &Queue; Entry = Entry->Flink) {
        PIRP Next = CONTAINING_RECORD(Entry, IRP, Tail.Overlay.ListEntry);
        if (!Context || IoGetCurrentIrpStackLocation(Next)->FileObject == Context)
            return Next;
    }
    return NULL;
}

static VOID NTAPI CsqAcquire(PIO_CSQ C, PKIRQL Irql)
{
    KeAcquireSpinLock(&QueueLock, Irql);
}

static VOID NTAPI CsqRelease(PIO_CSQ C, KIRQL Irql)
{
    KeReleaseSpinLock(&QueueLock, Irql);
}

static NTSTATUS Complete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static VOID NTAPI CsqCancelled(PIO_CSQ C, PIRP Irp)
{
    Complete(Irp, STATUS_CANCELLED, 0);
}

static VOID NTAPI CancelKeepsLock(PDEVICE_OBJECT Device, PIRP Irp) {}

/* ---- dispatch ---- */

static VOID Note(PIRP Irp, PIO_STACK_LOCATION Location)
{
    InterlockedIncrement((LONG volatile *)&S.Major[Location->MajorFunction]);
    if (S.Sequences < ARRAYSIZE(S.Sequence) - 16) /* room for as many threads at once */
        S.Sequence[S.Sequences++] = Location->MajorFunction;
    S.SystemBuffer = Irp->AssociatedIrp.SystemBuffer;
    S.MdlAddress = Irp->MdlAddress;
    S.UserBuffer = Irp->UserBuffer;
    S.RequestProcess = (HANDLE)(ULONG_PTR)IoGetRequestorProcessId(Irp);
    S.Is32bit = IoIs32bitProcess(Irp);
    if (Location->MajorFunction == IRP_MJ_CLEANUP)
        S.CleanupProcess = PsGetCurrentProcessId();
    if (Location->MajorFunction == IRP_MJ_CLOSE) {
        S.CloseProcess = PsGetCurrentProcessId();
        S.CloseIrql = KeGetCurrentIrql();
        S.FsContext = Location->FileObject->FsContext;
    }
    if (Location->MajorFunction != IRP_MJ_CREATE)
        return;
    S.CreateProcess = PsGetCurrentProcessId();
    S.CreateMode = Irp->RequestorMode;
    S.DesiredAccess = Location->Parameters.Create.SecurityContext->DesiredAccess;
    S.CreateOptions = Location->Parameters.Create.Options;
    S.CreateFlags = Location->Flags;
    S.HasRelated = Location->FileObject->RelatedFileObject != NULL;
    S.FileNameLength = Location->FileObject->FileName.Length;
    for (ULONG i = 0; i < S.FileNameLength / 2 && i < ARRAYSIZE(S.FileName) - 1; i++)
        S.FileName[i] = Location->FileObject->FileName.Buffer[i];
    Location->FileObject->FsContext = (PVOID)(ULONG_PTR)0x1234;
}

static PUCHAR BufferOf(PIRP Irp)
{
    if (Irp->MdlAddress)
        return MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority);
    return Irp->AssociatedIrp.SystemBuffer ? Irp->AssociatedIrp.SystemBuffer : Irp->UserBuffer;
}

static NTSTATUS Legal(PDEVICE_OBJECT Device, PIRP Irp, PIO_STACK_LOCATION Location, ULONG Mode)
{
    LARGE_INTEGER Millisecond = {.QuadPart = -10000};
    PUCHAR Buffer;

    switch (Mode) {
    case GADGET_ECHO:
        for (ULONG i = 0;
             i < sizeof(S.Input) && i < Location->Parameters.DeviceIoControl.InputBufferLength; i++)
            S.Input[i] = ((PUCHAR)Irp->AssociatedIrp.SystemBuffer)[i];
        S.InputLength = Location->Parameters.DeviceIoControl.InputBufferLength;
        S.OutputLength = Location->Parameters.DeviceIoControl.OutputBufferLength;
        return Complete(Irp, S.Status, S.Information);
    case GADGET_FILL:
        Buffer = BufferOf(Irp);
        for (ULONG i = 0; i < S.Information; i++)
            Buffer[i] = 0x5A;
        return Complete(Irp, S.Status, S.Information);
    case GADGET_QUEUE:
        IoCsqInsertIrp(&Csq, Irp, NULL);
        return STATUS_PENDING;
    case GADGET_HOLD:
        IoMarkIrpPending(Irp);
        S.Held = Irp;
        return STATUS_PENDING;
    case GADGET_LINGER:
        IoMarkIrpPending(Irp);
        Complete(Irp, S.Status, S.Information);
        for (ULONG i = 0; i < 1000 && !((volatile ULONG *)S.Major)[IRP_MJ_CLOSE]; i++)
            KeDelayExecutionThread(KernelMode, FALSE, &Millisecond);
        S.Lingered = S.Major[IRP_MJ_CLOSE];
        return STATUS_PENDING;
    case GADGET_PEND_COMPLETED:
        IoMarkIrpPending(Irp);
        Complete(Irp, S.Status, S.Information);
        return STATUS_PENDING;
    default:
        return Complete(Irp, S.Status, S.Information);
    }
}

static NTSTATUS Illegal(PDEVICE_OBJECT Device, PIRP Irp, ULONG Mode)
{
    KIRQL Irql;
    UCHAR Sum = 0;

    switch (Mode) {
    case GADGET_PEND_UNMARKED:
        Complete(Irp, STATUS_SUCCESS, 0);
        return STATUS_PENDING;
    case GADGET_MARK_NOT_PENDING:
        IoMarkIrpPending(Irp);
        return Complete(Irp, STATUS_SUCCESS, 0);
    case GADGET_TWICE:
        Complete(Irp, STATUS_SUCCESS, 0);
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return STATUS_SUCCESS;
    case GADGET_STATUS_PENDING:
        return Complete(Irp, STATUS_PENDING, 0);
    case GADGET_CANCEL_SET:
        IoSetCancelRoutine(Irp, CancelKeepsLock);
        return Complete(Irp, STATUS_SUCCESS, 0);
    case GADGET_LOSE:
        return STATUS_SUCCESS;
    case GADGET_TOUCH_AFTER:
        Complete(Irp, STATUS_SUCCESS, 0);
        *(volatile CHAR *)&Irp->StackCount = 1;
        return STATUS_SUCCESS;
    case GADGET_LEAVE_LOCK:
        KeAcquireSpinLock(&Lock, &Irql);
        return Complete(Irp, STATUS_SUCCESS, 0);
    case GADGET_LEAVE_IRQL:
        KeRaiseIrql(APC_LEVEL, &Irql);
        return Complete(Irp, STATUS_SUCCESS, 0);
    case GADGET_CANCEL_KEEPS_LOCK:
        IoMarkIrpPending(Irp);
        IoSetCancelRoutine(Irp, CancelKeepsLock);
        return STATUS_PENDING;
    case GADGET_FORWARD_TOO_FAR:
        return IoCallDriver(Device, Irp);
    case GADGET_READ_USER:
        for (ULONG i = 0; i < S.Information; i++)
            Sum += ((volatile UCHAR *)Irp->UserBuffer)[i];
        return Complete(Irp, STATUS_SUCCESS, Sum & 0);
    default:
        return Complete(Irp, STATUS_NOT_IMPLEMENTED, 0);
    }
}

static NTSTATUS NTAPI FilterDone(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    S.Completions++;
    S.PendingReturned = Irp->PendingReturned;
    if (Irp->PendingReturned)
        IoMarkIrpPending(Irp);
    return STATUS_SUCCESS;
}

static NTSTATUS FilterDispatch(PIRP Irp)
{
    if (S.FilterMode == 0) {
        IoSkipCurrentIrpStackLocation(Irp);
        return IoCallDriver(FilterLower, Irp);
    }
    IoCopyCurrentIrpStackLocationToNext(Irp);
    if (S.FilterMode == 1)
        IoSetCompletionRoutine(Irp, FilterDone, NULL, TRUE, TRUE, TRUE);
    return IoCallDriver(FilterLower, Irp);
}

static NTSTATUS NTAPI Dispatch(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Location = IoGetCurrentIrpStackLocation(Irp);
    const ULONG Mode = S.Mode[Location->MajorFunction];

    if (Device == S.Filter)
        return FilterDispatch(Irp);
    Note(Irp, Location);
    if (Location->MajorFunction == IRP_MJ_CLEANUP) {
        PIRP Pending;
        while ((Pending = IoCsqRemoveNextIrp(&Csq, Location->FileObject)) != NULL)
            Complete(Pending, STATUS_CANCELLED, 0);
    }
    return Mode <= GADGET_PEND_COMPLETED ? Legal(Device, Irp, Location, Mode)
                                         : Illegal(Device, Irp, Mode);
}

/* ---- plug and play ---- */

static NTSTATUS NTAPI Pnp(PDEVICE_OBJECT Device, PIRP Irp)
{
    const UCHAR Minor = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    NTSTATUS Status;

    if (S.PnpCount < ARRAYSIZE(S.Pnp))
        S.Pnp[S.PnpCount++] = Minor;
    if (Minor == IRP_MN_START_DEVICE && !NT_SUCCESS(S.StartStatus))
        return Complete(Irp, S.StartStatus, 0);
    if (Minor == IRP_MN_QUERY_REMOVE_DEVICE && !NT_SUCCESS(S.QueryStatus))
        return Complete(Irp, S.QueryStatus, 0);
    if (Minor == IRP_MN_START_DEVICE || Minor == IRP_MN_QUERY_REMOVE_DEVICE ||
        Minor == IRP_MN_SURPRISE_REMOVAL || Minor == IRP_MN_CANCEL_REMOVE_DEVICE ||
        Minor == IRP_MN_REMOVE_DEVICE)
        Irp->IoStatus.Status = STATUS_SUCCESS;
    IoSkipCurrentIrpStackLocation(Irp);
    Status = IoCallDriver(Lower, Irp);
    if (Minor == IRP_MN_REMOVE_DEVICE && !S.KeepAttached) {
        IoDetachDevice(Lower);
        IoDeleteDevice(Device);
        S.Fdo = NULL;
    }
    return Status;
}

static NTSTATUS NTAPI Power(PDEVICE_OBJECT Device, PIRP Irp)
{
    if (S.Sequences < ARRAYSIZE(S.Sequence))
        S.Sequence[S.Sequences++] = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    if (!NT_SUCCESS(S.PowerStatus) &&
        IoGetCurrentIrpStackLocation(Irp)->MinorFunction == IRP_MN_QUERY_POWER)
        return Complete(Irp, S.PowerStatus, 0);
    Irp->IoStatus.Status = STATUS_SUCCESS;
    IoSkipCurrentIrpStackLocation(Irp);
    return PoCallDriver(Lower, Irp);
}

static NTSTATUS NTAPI AddDevice(PDRIVER_OBJECT Driver, PDEVICE_OBJECT PhysicalDevice)
{
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    S.Adds++;
    if (!NT_SUCCESS(S.AddStatus))
        return S.AddStatus;
    Status =
        IoCreateDevice(Driver, 16, NULL, FILE_DEVICE_UNKNOWN, S.Characteristics, FALSE, &Device);
    if (!NT_SUCCESS(Status))
        return Status;
    Lower = IoAttachDeviceToDeviceStack(Device, PhysicalDevice);
    if (!Lower) {
        IoDeleteDevice(Device);
        return STATUS_NO_SUCH_DEVICE;
    }
    S.Pdo = PhysicalDevice;
    S.Fdo = Device;
    Device->Flags |= S.DeviceFlags;
    Device->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}

/* ---- acts: memory ---- */

static NTSTATUS LockMdl(ULONG_PTR Mode, ULONG_PTR Operation)
{
    __try {
        MmProbeAndLockPages(S.Mdl, (KPROCESSOR_MODE)Mode, (LOCK_OPERATION)Operation);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    return STATUS_SUCCESS;
}

static __attribute__((noinline)) ULONG_PTR Peek(ULONG_PTR Address)
{
    __try {
        return *(volatile UCHAR *)Address;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return (ULONG)GetExceptionCode();
    }
}

static __attribute__((noinline)) ULONG_PTR Poke(ULONG_PTR Address, UCHAR Value)
{
    __try {
        *(volatile UCHAR *)Address = Value;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return (ULONG)GetExceptionCode();
    }
    return 0;
}

static NTSTATUS Probe(ULONG_PTR Address, ULONG_PTR Length, ULONG_PTR Alignment, BOOLEAN Write)
{
    __try {
        if (Write)
            ProbeForWrite((PVOID)Address, Length, (ULONG)Alignment);
        else
            ProbeForRead((PVOID)Address, Length, (ULONG)Alignment);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    return STATUS_SUCCESS;
}

static ULONG_PTR Memory(ULONG What, ULONG_PTR A, ULONG_PTR B, ULONG_PTR C)
{
    const PHYSICAL_ADDRESS Low = {.QuadPart = 0}, High = {.QuadPart = -1};
    UNICODE_STRING Name;

    switch (What) {
    case ACT_MDL:
        S.Mdl = IoAllocateMdl((PVOID)A, (ULONG)B, FALSE, FALSE, NULL);
        return (ULONG_PTR)S.Mdl;
    case ACT_SECOND:
        S.Second = IoAllocateMdl((PVOID)A, (ULONG)B, FALSE, FALSE, NULL);
        return (ULONG_PTR)S.Second;
    case ACT_LOCK:
        return (ULONG)LockMdl(A, B);
    case ACT_MAP:
        return (ULONG_PTR)(S.View = MmGetSystemAddressForMdlSafe(S.Mdl, NormalPagePriority));
    case ACT_MAP_AGAIN:
        return (ULONG_PTR)MmMapLockedPagesSpecifyCache(S.Mdl, KernelMode, MmCached, NULL, FALSE,
                                                       NormalPagePriority);
    case ACT_MAP_SECOND:
        return (ULONG_PTR)MmGetSystemAddressForMdlSafe(S.Second, NormalPagePriority);
    case ACT_UNMAP:
        MmUnmapLockedPages((PVOID)A, S.Mdl);
        return 0;
    case ACT_UNLOCK:
        MmUnlockPages(S.Mdl);
        return 0;
    case ACT_FREE_MDL:
        IoFreeMdl(S.Mdl);
        return 0;
    case ACT_NONPAGED:
        MmBuildMdlForNonPagedPool(S.Mdl);
        return 0;
    case ACT_PARTIAL:
        IoBuildPartialMdl(S.Mdl, S.Second, (PVOID)A, (ULONG)B);
        return 0;
    case ACT_REUSE_SECOND:
        MmPrepareMdlForReuse(S.Second);
        return 0;
    case ACT_FREE_SECOND:
        IoFreeMdl(S.Second);
        return 0;
    case ACT_PAGES:
        S.Mdl = MmAllocatePagesForMdlEx(Low, High, Low, A, MmCached, 0);
        return (ULONG_PTR)S.Mdl;
    case ACT_FREE_PAGES:
        MmFreePagesFromMdl(S.Mdl);
        ExFreePoolWithTag(S.Mdl, 0);
        return 0;
    case ACT_POOL:
        return (ULONG_PTR)(S.Pool = ExAllocatePoolWithTag(NonPagedPool, A, 'tgdG'));
    case ACT_FREE_POOL:
        ExFreePoolWithTag(S.Pool, 'tgdG');
        return 0;
    case ACT_PEEK:
        return Peek(A);
    case ACT_POKE:
        return Poke(A, (UCHAR)B);
    case ACT_PEEK_BARE:
        return *(volatile UCHAR *)A;
    case ACT_POKE_BARE:
        *(volatile UCHAR *)A = (UCHAR)B;
        return 0;
    case ACT_PROBE_READ:
        return (ULONG)Probe(A, B, C, FALSE);
    case ACT_PROBE_WRITE:
        return (ULONG)Probe(A, B, C, TRUE);
    default:
        RtlInitUnicodeString(&Name, (PCWSTR)A);
        return (ULONG_PTR)MmGetSystemRoutineAddress(&Name);
    }
}

/* ---- acts: requests of the driver's own ---- */

static NTSTATUS NTAPI Reclaim(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    S.Completions++;
    S.IosbStatus = Irp->IoStatus.Status;
    S.IosbInformation = Irp->IoStatus.Information;
    IoFreeIrp(Irp);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static ULONG_PTR OwnIrp(ULONG What)
{
    static UCHAR Data[64];
    PIRP Irp = IoAllocateIrp(S.Device->StackSize, FALSE);
    PIO_STACK_LOCATION Next;
    NTSTATUS Status;

    if (!Irp)
        return (ULONG)STATUS_INSUFFICIENT_RESOURCES;
    Next = IoGetNextIrpStackLocation(Irp);
    Next->MajorFunction = IRP_MJ_READ;
    Next->Parameters.Read.Length = sizeof(Data);
    Irp->AssociatedIrp.SystemBuffer = Data;
    if (What == ACT_OWN_IRP)
        IoSetCompletionRoutine(Irp, Reclaim, NULL, TRUE, TRUE, TRUE);
    Status = IoCallDriver(S.Device, Irp);
    if (What == ACT_OWN_IRP_FREED)
        IoFreeIrp(Irp);
    return (ULONG)Status;
}

static ULONG_PTR Control(ULONG Code, ULONG In, ULONG Out)
{
    static UCHAR Buffer[256];
    IO_STATUS_BLOCK Iosb = {.Status = 0x7777, .Information = 0};
    KEVENT Event;
    PIRP Irp;
    NTSTATUS Status;

    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    for (ULONG i = 0; i < In; i++)
        Buffer[i] = (UCHAR)(i + 1);
    Irp = IoBuildDeviceIoControlRequest(Code, S.Device, Buffer, In, Buffer, Out, FALSE, &Event,
                                        &Iosb);
    if (!Irp)
        return (ULONG)STATUS_INSUFFICIENT_RESOURCES;
    Status = IoCallDriver(S.Device, Irp);
    if (Status == STATUS_PENDING) {
        KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL);
        Status = Iosb.Status;
    }
    S.IosbStatus = Iosb.Status;
    S.IosbInformation = Iosb.Information;
    return (ULONG)Status;
}

static VOID NTAPI Work(PDEVICE_OBJECT Device, PVOID Context)
{
    if (S.WorkAtDelay)
        KeWaitForSingleObject(&WorkGate, Executive, KernelMode, FALSE, NULL);
    S.Works++;
    if (Context)
        IoFreeWorkItem((PIO_WORKITEM)Context);
}

static ULONG_PTR Works(ULONG What)
{
    PIO_WORKITEM Item = IoAllocateWorkItem(S.Device);
    KIRQL Irql;

    if (!Item)
        return (ULONG)STATUS_INSUFFICIENT_RESOURCES;
    KeRaiseIrql(DISPATCH_LEVEL, &Irql);
    IoQueueWorkItem(Item, Work, DelayedWorkQueue, Item);
    if (What == ACT_WORK_TWICE)
        IoQueueWorkItem(Item, Work, DelayedWorkQueue, Item);
    if (What == ACT_WORK_FREE_QUEUED)
        IoFreeWorkItem(Item);
    KeLowerIrql(Irql);
    return 0;
}

static ULONG_PTR RemoveLocks(ULONG What)
{
    IoInitializeRemoveLock(&RemoveLock, 'tgdG', 0, 0);
    if (!NT_SUCCESS(IoAcquireRemoveLock(&RemoveLock, &Lock)) ||
        !NT_SUCCESS(IoAcquireRemoveLock(&RemoveLock, &Queue)))
        return (ULONG)STATUS_UNSUCCESSFUL;
    IoReleaseRemoveLock(&RemoveLock, What == ACT_REMLOCK ? (PVOID)&Queue : (PVOID)&Csq);
    IoReleaseRemoveLockAndWait(&RemoveLock, &Lock);
    return (ULONG)IoAcquireRemoveLock(&RemoveLock, &Lock);
}

static VOID NTAPI PowerDone(PDEVICE_OBJECT Device, UCHAR Minor, POWER_STATE State, PVOID Context,
                            PIO_STATUS_BLOCK Iosb)
{
    S.PowerDone++;
    S.IosbStatus = Iosb->Status;
}

static NTSTATUS CreateDevice(VOID)
{
    NTSTATUS Status = IoCreateDevice(S.DriverObject, 64, &DeviceName, FILE_DEVICE_UNKNOWN,
                                     S.Characteristics, (BOOLEAN)S.Exclusive, &S.Device);

    if (!NT_SUCCESS(Status))
        return Status;
    S.Device->Flags |= S.DeviceFlags;
    S.Device->Flags &= ~DO_DEVICE_INITIALIZING;
    Status = IoCreateSymbolicLink(&LinkName, &DeviceName);
    if (!NT_SUCCESS(Status)) {
        IoDeleteDevice(S.Device);
        S.Device = NULL;
    }
    return Status;
}

static VOID DeleteDevice(VOID)
{
    if (!S.Device)
        return;
    IoDeleteSymbolicLink(&LinkName);
    IoDeleteDevice(S.Device);
    S.Device = NULL;
}

static NTSTATUS Attach(VOID)
{
    NTSTATUS Status =
        IoCreateDevice(S.DriverObject, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &S.Filter);

    if (!NT_SUCCESS(Status))
        return Status;
    FilterLower = IoAttachDeviceToDeviceStack(S.Filter, S.Device);
    if (!FilterLower) {
        IoDeleteDevice(S.Filter);
        S.Filter = NULL;
        return STATUS_NO_SUCH_DEVICE;
    }
    S.Filter->Flags |= FilterLower->Flags & (DO_BUFFERED_IO | DO_DIRECT_IO);
    S.Filter->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}

static VOID Detach(VOID)
{
    if (!S.Filter)
        return;
    IoDetachDevice(FilterLower);
    IoDeleteDevice(S.Filter);
    S.Filter = NULL;
}

static const DEVPROPKEY Key = {{0x6E74686F, 1, 2, {3}}, 7};

static ULONG_PTR Property(ULONG What, ULONG_PTR Data, ULONG_PTR Size)
{
    DEVPROPTYPE Type;
    ULONG Required = 0;
    NTSTATUS Status;

    if (What == ACT_SET_PROPERTY)
        return (ULONG)IoSetDevicePropertyData(S.Pdo, &Key, 0, 0, DEVPROP_TYPE_BINARY, (ULONG)Size,
                                              (PVOID)Data);
    Status = IoGetDevicePropertyData(S.Pdo, &Key, 0, 0, (ULONG)Size, (PVOID)Data, &Required, &Type);
    S.IosbInformation = Required;
    return (ULONG)Status;
}

static ULONG_PTR Objects(ULONG What, ULONG_PTR A, ULONG_PTR B)
{
    PDEVICE_OBJECT Device, Once;
    PIRP Irp;

    switch (What) {
    case ACT_COMPLETE_NEXT:
        Irp = IoCsqRemoveNextIrp(&Csq, NULL);
        if (!Irp)
            return 0;
        Complete(Irp, S.Status, S.Information);
        return 1;
    case ACT_COMPLETE_HELD:
        Complete(S.Held, S.Status, S.Information);
        return 0;
    case ACT_CREATE_DEVICE:
        return (ULONG)CreateDevice();
    case ACT_DELETE_DEVICE:
        DeleteDevice();
        return 0;
    case ACT_DELETE_TWICE:
        Once = S.Device;
        IoDeleteDevice(Once);
        IoDeleteDevice(Once);
        return 0;
    case ACT_ATTACH:
        return (ULONG)Attach();
    case ACT_DETACH:
        Detach();
        return 0;
    case ACT_OPEN:
        return (ULONG)IoGetDeviceObjectPointer(&DeviceName, FILE_READ_DATA, &S.File, &Device);
    default:
        ObDereferenceObject(S.File);
        return 0;
    }
}

typedef ULONG_PTR NTAPI ANY_ROUTINE(ULONG_PTR A, ULONG_PTR B, ULONG_PTR C, ULONG_PTR D, ULONG_PTR E,
                                    ULONG_PTR F, ULONG_PTR G, ULONG_PTR H);

static ULONG_PTR Invoke(ULONG_PTR Function, const ULONG_PTR *A)
{
    return ((ANY_ROUTINE *)Function)(A[0], A[1], A[2], A[3], A[4], A[5], A[6], A[7]);
}

static ULONG_PTR NTAPI Act(ULONG What, ULONG_PTR A, ULONG_PTR B, ULONG_PTR C)
{
    const POWER_STATE D3 = {.DeviceState = PowerDeviceD3};
    UNICODE_STRING Other = RTL_CONSTANT_STRING(L"\\DosDevices\\GadgetLeft");

    if (What <= ACT_ROUTINE)
        return Memory(What, A, B, C);
    if (What <= ACT_CLOSE)
        return Objects(What, A, B);
    switch (What) {
    case ACT_CONTROL:
        return Control((ULONG)A, (ULONG)B, (ULONG)C);
    case ACT_WORK:
    case ACT_WORK_TWICE:
    case ACT_WORK_FREE_QUEUED:
        return Works(What);
    case ACT_REMLOCK:
    case ACT_REMLOCK_WRONG:
        return RemoveLocks(What);
    case ACT_POWER:
        return (ULONG)PoRequestPowerIrp(S.Pdo, IRP_MN_SET_POWER, D3, PowerDone, NULL, NULL);
    case ACT_GET_PROPERTY:
    case ACT_SET_PROPERTY:
        return Property(What, A, B);
    case ACT_INVOKE:
        return Invoke(A, (const ULONG_PTR *)B);
    case ACT_SYSTEM_LINK:
        return (ULONG)IoCreateSymbolicLink(&Other, &DeviceName);
    default:
        return OwnIrp(What);
    }
}

/* ---- driver ---- */

static VOID NTAPI Unload(PDRIVER_OBJECT Driver)
{
    S.Unloads++;
    Detach();
    if (!S.LeakDevice)
        DeleteDevice();
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    Queue.Flink = Queue.Blink = &Queue;
    KeInitializeSpinLock(&Lock);
    KeInitializeSpinLock(&QueueLock);
    KeInitializeEvent(&WorkGate, NotificationEvent, FALSE);
    IoCsqInitialize(&Csq, CsqInsert, CsqRemove, CsqPeek, CsqAcquire, CsqRelease, CsqCancelled);
    S.Act = Act;
    S.DriverObject = Driver;
    for (ULONG i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++) {
        if (i != IRP_MJ_SHUTDOWN)
            Driver->MajorFunction[i] = Dispatch;
    }
    Driver->MajorFunction[IRP_MJ_PNP] = Pnp;
    Driver->MajorFunction[IRP_MJ_POWER] = Power;
    Driver->DriverExtension->AddDevice = AddDevice;
    if (!S.NoUnload)
        Driver->DriverUnload = Unload;
    if (!NT_SUCCESS(S.EntryStatus))
        return S.EntryStatus;
    return S.NoDevice ? STATUS_SUCCESS : CreateDevice();
}
