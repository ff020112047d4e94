/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Imports and calls what the drivers of other tests call by address only, or not at all. Each
 * export answers 0, or the line of what was not as the page of the function says.
 */
#include "testhost.h"

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__;                                                                       \
    } while (0)
#define SUBJECT(Name)                                                                              \
    TEST_EXPORT ULONG Name(VOID);                                                                  \
    ULONG Name(VOID)

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD Unload;
static DRIVER_ADD_DEVICE AddDevice;
static DRIVER_DISPATCH Create, Succeed, Pnp;

static PDEVICE_OBJECT Control, Lower, Physical;
static PEPROCESS Requestor, CurrentAtCreate;
static HANDLE RequestorId;
static WCHAR NameText[] = L"\\Device\\Calls", LinkText[] = L"\\DosDevices\\Calls";
static UNICODE_STRING Name = RTL_CONSTANT_STRING(NameText), Link = RTL_CONSTANT_STRING(LinkText);

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN,
                                     FALSE, &Control);

    Driver->DriverUnload = Unload;
    Driver->DriverExtension->AddDevice = AddDevice;
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_CLOSE] = Succeed;
    Driver->MajorFunction[IRP_MJ_PNP] = Pnp;
    if (NT_SUCCESS(Status))
        Status = IoCreateSymbolicLink(&Link, &Name);
    return Status;
}

static VOID NTAPI Unload(PDRIVER_OBJECT Driver)
{
    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Control);
}

static NTSTATUS NTAPI Succeed(PDEVICE_OBJECT Device, PIRP Irp)
{
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    Requestor = IoGetRequestorProcess(Irp);
    RequestorId = PsGetProcessId(Requestor);
    CurrentAtCreate = PsGetCurrentProcess();
    return Succeed(Device, Irp);
}

/* ---- a device of its own, for interfaces ---- */

static NTSTATUS NTAPI AddDevice(PDRIVER_OBJECT Driver, PDEVICE_OBJECT PhysicalDevice)
{
    PDEVICE_OBJECT Device;
    NTSTATUS Status = IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);

    if (!NT_SUCCESS(Status))
        return Status;
    Lower = IoAttachDeviceToDeviceStack(Device, PhysicalDevice);
    Physical = PhysicalDevice;
    Device->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI Pnp(PDEVICE_OBJECT Device, PIRP Irp)
{
    const BOOLEAN IsRemoved =
        IoGetCurrentIrpStackLocation(Irp)->MinorFunction == IRP_MN_REMOVE_DEVICE;

    if (IsRemoved)
        Irp->IoStatus.Status = STATUS_SUCCESS;
    IoSkipCurrentIrpStackLocation(Irp);
    const NTSTATUS Status = IoCallDriver(Lower, Irp);
    if (IsRemoved) {
        IoDetachDevice(Lower);
        IoDeleteDevice(Device);
    }
    return Status;
}

/* IoRegisterDeviceInterface: "the caller must free" the name; IoSetDeviceInterfaceState: disabling
 * what is not enabled is STATUS_OBJECT_NAME_NOT_FOUND. */
SUBJECT(InterfaceCalls)
{
    static const GUID Class = {0x6d1c3a52, 1, 2, {3, 4, 5, 6, 7, 8, 9, 10}};
    UNICODE_STRING Interface = {0};

    EXPECT(IoRegisterDeviceInterface(Physical, &Class, NULL, &Interface) == STATUS_SUCCESS);
    EXPECT(Interface.Length > 0 && Interface.Buffer[0] == '\\');
    EXPECT(IoSetDeviceInterfaceState(&Interface, TRUE) == STATUS_SUCCESS);
    EXPECT(IoSetDeviceInterfaceState(&Interface, FALSE) == STATUS_SUCCESS);
    EXPECT(IoSetDeviceInterfaceState(&Interface, FALSE) == STATUS_OBJECT_NAME_NOT_FOUND);
    RtlFreeUnicodeString(&Interface);
    return 0;
}

/* ---- requests ---- */

static IO_CSQ Csq;
static KSPIN_LOCK CsqLock;
static LIST_ENTRY Queue;
static PVOID Inserted;

static NTSTATUS NTAPI Insert(IO_CSQ *Of, IRP *Irp, PVOID Context)
{
    Inserted = Context;
    if (Context == &Queue) /* refused, as IO_CSQ_INSERT_IRP_EX may */
        return STATUS_DEVICE_BUSY;
    InsertTailList(&Queue, &Irp->Tail.Overlay.ListEntry);
    return STATUS_SUCCESS;
}

static VOID NTAPI Remove(IO_CSQ *Of, IRP *Irp)
{
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
}

static IRP *NTAPI Peek(IO_CSQ *Of, IRP *Irp, PVOID Context)
{
    const LIST_ENTRY *Next = Irp ? Irp->Tail.Overlay.ListEntry.Flink : Queue.Flink;

    return Next == &Queue ? NULL : CONTAINING_RECORD(Next, IRP, Tail.Overlay.ListEntry);
}

static VOID NTAPI Acquire(IO_CSQ *Of, KIRQL *Irql)
{
    KeAcquireSpinLock(&CsqLock, Irql);
}

static VOID NTAPI Release(IO_CSQ *Of, KIRQL Irql)
{
    KeReleaseSpinLock(&CsqLock, Irql);
}

static VOID NTAPI Canceled(IO_CSQ *Of, IRP *Irp) {}

static VOID CsqSetUp(VOID)
{
    KeInitializeSpinLock(&CsqLock);
    InitializeListHead(&Queue);
    IoCsqInitializeEx(&Csq, Insert, Remove, Peek, Acquire, Release, Canceled);
}

/* IoCsqInsertIrpEx answers what the driver's own routine answers, and hands it InsertContext;
 * IoCsqRemoveIrp answers the IRP of the context once, and NULL when it is not queued any more. */
SUBJECT(QueueCalls)
{
    IO_CSQ_IRP_CONTEXT Context;
    PIRP Irp = IoAllocateIrp(1, FALSE);

    EXPECT(Irp != NULL);
    CsqSetUp();
    EXPECT(IoCsqInsertIrpEx(&Csq, Irp, &Context, &Queue) == STATUS_DEVICE_BUSY);
    EXPECT(IoCsqInsertIrpEx(&Csq, Irp, &Context, &Context) == STATUS_SUCCESS);
    EXPECT(Inserted == &Context && !IsListEmpty(&Queue));
    EXPECT(IoCsqRemoveIrp(&Csq, &Context) == Irp && IsListEmpty(&Queue));
    EXPECT(IoCsqRemoveIrp(&Csq, &Context) == NULL);
    IoFreeIrp(Irp);
    return 0;
}

/* IoInitializeIrp: for memory of the driver's own, IoSizeOfIrp bytes, zeroed but for what it sets.
 */
SUBJECT(RequestCalls)
{
    const USHORT Bytes = IoSizeOfIrp(2);
    PIRP Irp = ExAllocatePool2(POOL_FLAG_NON_PAGED, Bytes, 'tseT');

    EXPECT(Irp != NULL);
    IoInitializeIrp(Irp, Bytes, 2);
    const BOOLEAN IsReady = Irp->Size == Bytes && Irp->StackCount == 2 && Irp->CurrentLocation == 3;
    ExFreePoolWithTag(Irp, 'tseT');
    EXPECT(IsReady);
    return 0;
}

/* After an open from another process: it was the requestor, in whose context Create ran. */
SUBJECT(RequestorCalls)
{
    PEPROCESS Process = NULL;
    KAPC_STATE State;

    EXPECT(Requestor != NULL && Requestor == CurrentAtCreate);
    EXPECT(Requestor != PsGetCurrentProcess());
    EXPECT(PsLookupProcessByProcessId(RequestorId, &Process) == STATUS_SUCCESS);
    EXPECT(Process == Requestor);
    KeStackAttachProcess(Process, &State);
    const BOOLEAN IsThere = PsGetCurrentProcess() == Process;
    KeUnstackDetachProcess(&State);
    ObDereferenceObject(Process);
    EXPECT(IsThere && PsGetCurrentProcess() != Process);
    EXPECT(PsLookupProcessByProcessId((HANDLE)(ULONG_PTR)3, &Process) == STATUS_INVALID_PARAMETER ||
           PsLookupProcessByProcessId((HANDLE)(ULONG_PTR)3, &Process) == STATUS_INVALID_CID);
    return 0;
}

/* ---- threads, handles ---- */

static HANDLE ThreadId;

static VOID NTAPI Thread(PVOID Context)
{
    ThreadId = PsGetCurrentThreadId();
    ZwYieldExecution(); /* STATUS_SUCCESS or STATUS_NO_YIELD_PERFORMED */
    PsTerminateSystemThread(STATUS_SUCCESS);
}

/* PsCreateSystemThread, ObReferenceObjectByHandle: a thread is waited for by reference; the handle
 * is closed with ZwClose or ObCloseHandle. */
SUBJECT(ThreadCalls)
{
    PVOID Object = NULL, Same = NULL;
    HANDLE Handle = NULL, Event = NULL;

    EXPECT(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Thread, NULL) ==
           STATUS_SUCCESS);
    EXPECT(ObReferenceObjectByHandle(Handle, THREAD_ALL_ACCESS, NULL, KernelMode, &Object, NULL) ==
           STATUS_SUCCESS);
    EXPECT(ObCloseHandle(Handle, KernelMode) == STATUS_SUCCESS);
    EXPECT(KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, NULL) == STATUS_SUCCESS);
    EXPECT(ThreadId == PsGetThreadId(Object) && ThreadId != PsGetCurrentThreadId());
    ObReferenceObject(Object);
    ObDereferenceObject(Object);
    ObDereferenceObject(Object);
    OBJECT_ATTRIBUTES Attributes;
    InitializeObjectAttributes(&Attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    EXPECT(ZwCreateEvent(&Event, EVENT_ALL_ACCESS, &Attributes, NotificationEvent, TRUE) ==
           STATUS_SUCCESS);
    EXPECT(ObReferenceObjectByHandle(Event, EVENT_MODIFY_STATE, *ExEventObjectType, KernelMode,
                                     &Same, NULL) == STATUS_SUCCESS);
    EXPECT(KeReadStateEvent(Same) != 0);
    ObDereferenceObject(Same);
    EXPECT(ZwClose(Event) == STATUS_SUCCESS);
    return 0;
}

static VOID NTAPI Notify(PEPROCESS Process, HANDLE Id, PPS_CREATE_NOTIFY_INFO Info) {}

/* PsSetCreateProcessNotifyRoutineEx: STATUS_ACCESS_DENIED for an image without
 * IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY, as this one is. */
SUBJECT(NotifyCalls)
{
    EXPECT(PsSetCreateProcessNotifyRoutineEx(Notify, FALSE) == STATUS_ACCESS_DENIED);
    return 0;
}

/* ---- system ---- */

static ULONG DpcProcessor;
static KEVENT DpcRan;

static VOID NTAPI Dpc(PKDPC Of, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    DpcProcessor = KeGetCurrentProcessorNumberEx(NULL);
    KeSetEvent(&DpcRan, IO_NO_INCREMENT, FALSE);
}

/* KeSetTargetProcessorDpc: the DPC runs on that processor; MmIsVerifierEnabled:
 * STATUS_NOT_SUPPORTED without Driver Verifier. */
SUBJECT(SystemCalls)
{
    static KDPC Targeted;
    ULONG Flags = ~0U, Returned = 0;
    struct {
        ULONG Length, Options;
    } Integrity = {sizeof(Integrity), 0};

    KeInitializeEvent(&DpcRan, NotificationEvent, FALSE);
    KeInitializeDpc(&Targeted, Dpc, NULL);
    KeSetTargetProcessorDpc(&Targeted, 1);
    KeInsertQueueDpc(&Targeted, NULL, NULL);
    KeWaitForSingleObject(&DpcRan, Executive, KernelMode, FALSE, NULL);
    EXPECT(DpcProcessor == 1);
    EXPECT(MmIsVerifierEnabled(&Flags) == STATUS_NOT_SUPPORTED && Flags == 0);
    EXPECT(ZwQuerySystemInformation(103, &Integrity, sizeof(Integrity), &Returned) ==
           STATUS_SUCCESS);
    EXPECT(Integrity.Options & 1); /* CODEINTEGRITY_OPTION_ENABLED */
    return 0;
}

/* ZwOpenKey, ZwQueryValueKey: STATUS_OBJECT_NAME_NOT_FOUND for a value that is not there. */
SUBJECT(RegistryCalls)
{
    static WCHAR PathText[] = L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\Calls";
    static WCHAR ValueText[] = L"Nothing";
    UNICODE_STRING Path = RTL_CONSTANT_STRING(PathText), Value = RTL_CONSTANT_STRING(ValueText);
    OBJECT_ATTRIBUTES Attributes;
    HANDLE Key = NULL;
    UCHAR Buffer[64];
    ULONG Needed = 0;

    InitializeObjectAttributes(&Attributes, &Path, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL,
                               NULL);
    EXPECT(ZwOpenKey(&Key, KEY_READ, &Attributes) == STATUS_SUCCESS);
    EXPECT(ZwQueryValueKey(Key, &Value, KeyValuePartialInformation, Buffer, sizeof(Buffer),
                           &Needed) == STATUS_OBJECT_NAME_NOT_FOUND);
    EXPECT(ZwClose(Key) == STATUS_SUCCESS);
    return 0;
}

/* SeAccessCheck: an absent list admits everyone, an empty one nobody; what was granted is said. */
SUBJECT(SecurityCalls)
{
    SECURITY_SUBJECT_CONTEXT Context;
    SECURITY_DESCRIPTOR Descriptor;
    ACL Empty;
    ACCESS_MASK Granted = 0;
    NTSTATUS Status = STATUS_UNSUCCESSFUL;

    EXPECT(RtlCreateSecurityDescriptor(&Descriptor, 1) == STATUS_SUCCESS);
    EXPECT(RtlSetDaclSecurityDescriptor(&Descriptor, TRUE, NULL, FALSE) == STATUS_SUCCESS);
    SeCaptureSubjectContext(&Context);
    const BOOLEAN IsOpen =
        SeAccessCheck(&Descriptor, &Context, FALSE, FILE_READ_DATA, 0, NULL,
                      IoGetFileObjectGenericMapping(), UserMode, &Granted, &Status);
    EXPECT(RtlCreateAcl(&Empty, sizeof(Empty), ACL_REVISION) == STATUS_SUCCESS);
    EXPECT(RtlSetDaclSecurityDescriptor(&Descriptor, TRUE, &Empty, FALSE) == STATUS_SUCCESS);
    const BOOLEAN IsClosed =
        !SeAccessCheck(&Descriptor, &Context, FALSE, FILE_WRITE_DATA, 0, NULL,
                       IoGetFileObjectGenericMapping(), UserMode, &Granted, &Status);
    SeReleaseSubjectContext(&Context);
    EXPECT(IsOpen && IsClosed && Status == STATUS_ACCESS_DENIED);
    return 0;
}

/* ---- what must not be done ---- */

SUBJECT(BugCheckCalls)
{
    KeBugCheck(0xE2); /* MANUALLY_INITIATED_CRASH */
}

/* IoCsqInsertIrp: "the driver must not use DriverContext[3]" of a queued IRP. */
SUBJECT(QueueContextChanged)
{
    static IO_CSQ Other; /* of no type that a queue has */
    PIRP Irp = IoAllocateIrp(1, FALSE);

    EXPECT(Irp != NULL);
    IoSetNextIrpStackLocation(Irp); /* ours, as if it had been sent here */
    CsqSetUp();
    EXPECT(IoCsqInsertIrpEx(&Csq, Irp, NULL, NULL) == STATUS_SUCCESS);
    Irp->Tail.Overlay.DriverContext[3] = &Other;
    IoCancelIrp(Irp);
    return 0;
}

static VOID NTAPI KeepsLock(PVOID Context)
{
    static FAST_MUTEX Mutex;

    ExInitializeFastMutex(&Mutex);
    ExAcquireFastMutex(&Mutex);
}

SUBJECT(ThreadKeepsLock)
{
    HANDLE Handle = NULL;
    PVOID Object = NULL;

    EXPECT(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, KeepsLock, NULL) ==
           STATUS_SUCCESS);
    EXPECT(ObReferenceObjectByHandle(Handle, THREAD_ALL_ACCESS, NULL, KernelMode, &Object, NULL) ==
           STATUS_SUCCESS);
    KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, NULL);
    return __LINE__;
}
