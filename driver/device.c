/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The control device: who may open an adapter, and what can be done with the file. It exists while
 * there is an adapter. A file left open behind that keeps the image loaded and the adapter's shell,
 * and nothing else; a new device takes the name meanwhile, because deleting a device with open
 * files takes its name away at once (IoDeleteDevice makes it temporary) and its memory when they
 * close.
 */
#include "tun.h"

#define TUN_FILE_CAPACITY 0x100000U /* of the ring behind ReadFile */
#define TUN_CLOSED        (-1)      /* TUN_FILE.Joined: has had its cleanup */
#define TUN_PUMP_TURNS    8U        /* of a sender in the pump, before the worker goes on */

typedef struct TUN_FILE {
    TUN_ADAPTER *Adapter; /* referenced */
    LONG Joined;          /* Id of the file session it is or was part of; Driver.Mutex */
} TUN_FILE;

static const UCHAR Marker;       /* its address in FsContext2 says: one of our files */
static NDIS_HANDLE DeviceHandle; /* guarded by Driver.Mutex */

/*
 * O:SYD:P(A;;FA;;;SY)(A;;FA;;;BA)S:(ML;;NWNRNX;;;HI): the system and elevated administrators, in
 * self-relative form: a header with the offsets of owner, group, SACL and DACL; a SACL of one
 * label, S-1-16-12288; a DACL of two entries, S-1-5-18 and S-1-5-32-544; the owner, S-1-5-18.
 */
static const ULONG DefaultSecurity[] = {
    0x90140001, 100,        0,          20,         48,         0x001C0002, 1,
    0x00140011, 7,          0x00000101, 0x10000000, 0x3000,     0x00340002, 2,
    0x00140000, 0x1F01FF,   0x00000101, 0x05000000, 18,         0x00180000, 0x1F01FF,
    0x00000201, 0x05000000, 32,         544,        0x00000101, 0x05000000, 18,
};

NTSTATUS DeviceComplete(IRP *Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, NT_SUCCESS(Status) ? IO_NETWORK_INCREMENT : IO_NO_INCREMENT);
    return Status;
}

BOOLEAN DeviceOwns(const FILE_OBJECT *File)
{
    return File && File->FsContext2 == &Marker;
}

/* No adapter: the default descriptor decides. */
NTSTATUS DeviceCheckAccess(const TUN_ADAPTER *Adapter, SECURITY_SUBJECT_CONTEXT *Subject,
                           ACCESS_MASK Desired, KPROCESSOR_MODE Mode)
{
    PSECURITY_DESCRIPTOR Security =
        Adapter && Adapter->Security ? Adapter->Security : (PVOID)DefaultSecurity;
    ACCESS_MASK Granted;
    NTSTATUS Status = STATUS_ACCESS_DENIED;

    SeAccessCheck(Security, Subject, FALSE, Desired, 0, NULL, IoGetFileObjectGenericMapping(), Mode,
                  &Granted, &Status);
    return Status;
}

/* ---- Pending reads: a cancel-safe queue, of files of the session ---- */

static VOID NTAPI ReadsInsert(IO_CSQ *Csq, IRP *Irp)
{
    InsertTailList(&CONTAINING_RECORD(Csq, TUN_ADAPTER, Csq)->Reads, &Irp->Tail.Overlay.ListEntry);
}

static VOID NTAPI ReadsRemove(IO_CSQ *Csq, IRP *Irp)
{
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
}

/* The next read of a file, or of any when File is NULL. */
static IRP *NTAPI ReadsPeek(IO_CSQ *Csq, IRP *Irp, PVOID File)
{
    LIST_ENTRY *Reads = &CONTAINING_RECORD(Csq, TUN_ADAPTER, Csq)->Reads;

    for (LIST_ENTRY *Entry = Irp ? Irp->Tail.Overlay.ListEntry.Flink : Reads->Flink; Entry != Reads;
         Entry = Entry->Flink) {
        Irp = CONTAINING_RECORD(Entry, IRP, Tail.Overlay.ListEntry);
        if (!File || File == IoGetCurrentIrpStackLocation(Irp)->FileObject)
            return Irp;
    }
    return NULL;
}

static VOID NTAPI ReadsLock(IO_CSQ *Csq, KIRQL *Irql)
{
    KeAcquireSpinLock(&CONTAINING_RECORD(Csq, TUN_ADAPTER, Csq)->ReadLock, Irql);
}

static VOID NTAPI ReadsUnlock(IO_CSQ *Csq, KIRQL Irql)
{
    KeReleaseSpinLock(&CONTAINING_RECORD(Csq, TUN_ADAPTER, Csq)->ReadLock, Irql);
}

static VOID NTAPI ReadsCanceled(IO_CSQ *Csq, IRP *Irp)
{
    DeviceComplete(Irp, STATUS_CANCELLED, 0);
}

/* Those of a file, or all when File is NULL; DriverUnlock completes them. What is not in the queue
 * any more cannot be cancelled, and has all of DriverContext (IoCsqRemoveNextIrp) for its driver.
 */
VOID ReadsEndLocked(TUN_ADAPTER *Adapter, PVOID File, NTSTATUS Status)
{
    for (IRP *Irp = IoCsqRemoveNextIrp(&Adapter->Csq, File); Irp;
         Irp = IoCsqRemoveNextIrp(&Adapter->Csq, File)) {
        Irp->IoStatus.Status = Status;
        Irp->Tail.Overlay.DriverContext[0] = Driver.Ended;
        Driver.Ended = Irp;
    }
}

/* ---- Bundles ---- */

/* As many whole packets as fit; the caller has seen that there is one, and any one fits. */
static ULONG BundleFill(TUN_RING *Ring, UCHAR *Bundle, ULONG Room)
{
    const ULONG Header = sizeof(WINTUN_BUNDLE_RECORD);
    const UCHAR *Packet;
    ULONG Size, Used = 0;

    while (RingPeek(Ring, &Packet, &Size) && RecordBytes(Header, Size) <= Room - Used) {
        UCHAR *Record = Bundle + Used;
        Used += RecordBytes(Header, Size);
        RtlZeroMemory(Record, Header);
        RtlZeroMemory(Bundle + Used - Header, Header); /* the padding is less than this */
        *(ULONG *)Record = Size;
        RtlCopyMemory(Record + Header, Packet, Size);
        RingPass(Ring, Size);
    }
    RingRelease(Ring);
    return Used;
}

/* Completes one read, if there are one and a packet. */
static BOOLEAN ReadsServe(TUN_ADAPTER *Adapter)
{
    IRP *Irp = NULL;
    ULONG Size, Used = 0;
    const UCHAR *Packet;

    if (!ExAcquireRundownProtectionCacheAware(Adapter->RingGate))
        return FALSE;
    if (Adapter->Session.Memory && RingPeek(&Adapter->Session.Read, &Packet, &Size))
        Irp = IoCsqRemoveNextIrp(&Adapter->Csq, NULL);
    if (Irp)
        Used = BundleFill(&Adapter->Session.Read,
                          MmGetSystemAddressForMdlSafe(Irp->MdlAddress, Driver.MapPriority),
                          IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length);
    ExReleaseRundownProtectionCacheAware(Adapter->RingGate);
    if (!Irp)
        return FALSE;
    Count(Adapter, WintunToUserSignals, 1);
    DeviceComplete(Irp, STATUS_SUCCESS, Used);
    return TRUE;
}

/*
 * Brings packets and reads together, after either has come. One caller at a time is inside, without
 * a lock and at DISPATCH_LEVEL, where it cannot be suspended; one who finds it busy leaves a mark,
 * and the one inside looks again. Each read served and each look again is a turn. When the turns
 * are used up the worker goes on, so that nobody serves the others for ever, nor looks for them.
 */
VOID ReadsPump(TUN_ADAPTER *Adapter)
{
    const KIRQL Irql = KeRaiseIrqlToDpcLevel();
    ULONG Turns = TUN_PUMP_TURNS;
    LONG Seen = InterlockedIncrement(&Adapter->Pump);

    if (Seen == 1) {
        while (Turns && (ReadsServe(Adapter) ||
                         InterlockedCompareExchange(&Adapter->Pump, 0, Seen) != Seen)) {
            Turns--;
            Seen = ReadAcquire(&Adapter->Pump);
        }
        if (!Turns) {
            InterlockedExchange(&Adapter->Pump, 0);
            KeSetEvent(&Adapter->Kick, EVENT_INCREMENT, FALSE);
        }
    }
    KeLowerIrql(Irql);
}

/* ---- Requests ---- */

static NTSTATUS FileOpen(IRP *Irp, IO_STACK_LOCATION *Stack)
{
    const IO_SECURITY_CONTEXT *Security = Stack->Parameters.Create.SecurityContext;
    const KPROCESSOR_MODE Mode =
        Stack->Flags & SL_FORCE_ACCESS_CHECK ? UserMode : Irp->RequestorMode;
    /* The handle gets what the device's descriptor gives: who asks for whatever there is needs all.
     */
    const ACCESS_MASK Desired =
        Security->DesiredAccess & MAXIMUM_ALLOWED ? FILE_ALL_ACCESS : Security->DesiredAccess;
    NTSTATUS Status = STATUS_OBJECT_NAME_NOT_FOUND;

    if (Stack->FileObject->RelatedFileObject)
        return STATUS_OBJECT_NAME_INVALID;
    DriverLock();
    TUN_ADAPTER *Adapter = Driver.Adapters;
    while (Adapter && !RtlEqualUnicodeString(&Stack->FileObject->FileName, &Adapter->Name, TRUE))
        Adapter = Adapter->Next;
    if (Adapter)
        Status = DeviceCheckAccess(Adapter, &Security->AccessState->SubjectSecurityContext, Desired,
                                   Mode);
    if (NT_SUCCESS(Status) && (Adapter->IsRemoving || Adapter->IsRemoved))
        Status = STATUS_DELETE_PENDING;
    TUN_FILE *File = NT_SUCCESS(Status) ? PoolAlloc(sizeof(*File)) : NULL;
    if (File) {
        InterlockedIncrement(&Adapter->References);
        File->Adapter = Adapter;
        Stack->FileObject->FsContext = File;
        Stack->FileObject->FsContext2 = (PVOID)&Marker;
    }
    DriverUnlock();
    return NT_SUCCESS(Status) && !File ? STATUS_INSUFFICIENT_RESOURCES : Status;
}

/* Makes the file one of its process's session, which begins with the first read or write. */
static NTSTATUS FileJoinLocked(TUN_FILE *File, KPROCESSOR_MODE Mode)
{
    TUN_ADAPTER *Adapter = File->Adapter;
    const HANDLE Process = Mode == UserMode ? PsGetCurrentProcessId() : NULL;
    NTSTATUS Status = SessionAdmitLocked(Adapter);

    if (File->Joined == TUN_CLOSED)
        return STATUS_FILE_FORCED_CLOSED;
    if (NT_SUCCESS(Status)) {
        TUN_SESSION New = {.Process = Process,
                           .Memory = PoolAlloc(TUN_FILE_CAPACITY + WINTUN_RING_OVERHEAD)};
        if (!New.Memory)
            return STATUS_INSUFFICIENT_RESOURCES;
        RingCreate(&New.ToUser, New.Memory, TUN_FILE_CAPACITY);
        RingCreate(&New.Read, New.Memory, TUN_FILE_CAPACITY);
        SessionBeginLocked(Adapter, &New);
    } else if (!Adapter->Session.Memory || Adapter->Session.Process != Process) {
        return Status;
    }
    if (File->Joined != Adapter->SessionId) {
        File->Joined = Adapter->SessionId;
        Adapter->Session.Files++;
    }
    return STATUS_SUCCESS;
}

/* Pends, always. The mutex keeps the session, and the file from being closed, until the read is in
 * the queue; when it is let go the read may be completed already and the adapter gone. */
static NTSTATUS FileRead(TUN_FILE *File, IRP *Irp, ULONG Bytes)
{
    TUN_ADAPTER *Adapter = File->Adapter;

    if (Bytes < WINTUN_BUNDLE_MIN_READ)
        return STATUS_INVALID_PARAMETER;
    if (!MmGetSystemAddressForMdlSafe(Irp->MdlAddress, Driver.MapPriority))
        return STATUS_INSUFFICIENT_RESOURCES;
    DriverLock();
    NTSTATUS Status = FileJoinLocked(File, Irp->RequestorMode);
    if (NT_SUCCESS(Status)) {
        Status = STATUS_PENDING;
        IoCsqInsertIrp(&Adapter->Csq, Irp, NULL); /* marks it as pending */
        ReadsPump(Adapter);
    }
    DriverUnlock();
    return Status;
}

/* The framing, which is that of a ring but for its unit, is checked before anything is delivered; a
 * paused adapter discards, it does not fail. */
static NTSTATUS FileWrite(TUN_FILE *File, IRP *Irp, ULONG Bytes, ULONG_PTR *Written)
{
    TUN_RING Bundle = {
        .Tail = &Bytes, .Capacity = 2 * WINTUN_BUNDLE_MAX_WRITE, .Unit = WINTUN_BUNDLE_ALIGNMENT};
    const UCHAR *Packet;
    ULONG Size;

    if (Bytes > WINTUN_BUNDLE_MAX_WRITE)
        return STATUS_INVALID_PARAMETER;
    if (Bytes)
        Bundle.Data = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, Driver.MapPriority);
    if (Bytes && !Bundle.Data)
        return STATUS_INSUFFICIENT_RESOURCES;
    while (Bundle.Data && RingPeek(&Bundle, &Packet, &Size)) {
        const uint32_t *Reserved = ((const WINTUN_BUNDLE_RECORD *)Packet - 1)->Reserved;
        Bundle.HasEnded = Reserved[0] || Reserved[1] || Reserved[2];
        RingPass(&Bundle, Size);
    }
    if (Bundle.HasEnded)
        return STATUS_INVALID_PARAMETER;
    Bundle.Cursor = 0;
    DriverLock();
    NTSTATUS Status = FileJoinLocked(File, Irp->RequestorMode);
    DriverUnlock();
    while (NT_SUCCESS(Status) && ReceiveBatch(File->Adapter, &Bundle, NULL))
        continue;
    *Written = NT_SUCCESS(Status) ? Bytes : 0;
    return Status;
}

static NTSTATUS FileQuery(TUN_ADAPTER *Adapter, IRP *Irp, ULONG Bytes, ULONG_PTR *Written)
{
    WINTUN_QUERY Answer = {
        .Size = sizeof(Answer),
        .Version = 1,
        .DriverVersion = TUN_VERSION_MAJOR << 16 | TUN_VERSION_MINOR,
        .NdisVersion = Driver.NdisVersion,
        .State = (ULONG)ReadNoFence(&Adapter->State),
        .Mtu = WINTUN_MAX_PACKET,
    };

    if (Bytes < FIELD_OFFSET(WINTUN_QUERY, DriverVersion))
        return STATUS_BUFFER_TOO_SMALL;
    DriverLock();
    Answer.SessionKind = (ULONG)Adapter->SessionKind;
    Answer.OwnerProcess = (ULONG_PTR)Adapter->Session.Process;
    Answer.LinkUp = Answer.QueueCount = Answer.SessionKind != WintunSessionNone;
    DriverUnlock();
    for (ULONG Counter = 0; Counter < WintunCounterCount; Counter++)
        Answer.Counters[Counter] = (ULONG64)ReadNoFence64(&Adapter->Counters[Counter]);
    *Written = Bytes < sizeof(Answer) ? Bytes : sizeof(Answer);
    RtlCopyMemory(Irp->AssociatedIrp.SystemBuffer, &Answer, *Written);
    return STATUS_SUCCESS;
}

/* Cleanup, and once more close, because a request on another thread may have been under way at the
 * cleanup; at the close it is over. */
static NTSTATUS FileLeave(TUN_FILE *File, FILE_OBJECT *FileObject, BOOLEAN IsClose)
{
    DriverLock();
    ReadsEndLocked(File->Adapter, FileObject, STATUS_CANCELLED);
    SessionLeaveLocked(File->Adapter, FileObject, File->Joined);
    File->Joined = TUN_CLOSED;
    DriverUnlock();
    if (IsClose) {
        AdapterDereference(File->Adapter);
        PoolFree(File);
    }
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI DeviceDispatch(DEVICE_OBJECT *Device, IRP *Irp)
{
    IO_STACK_LOCATION *Stack = IoGetCurrentIrpStackLocation(Irp);
    TUN_FILE *File = DeviceOwns(Stack->FileObject) ? Stack->FileObject->FsContext : NULL;
    const UCHAR Major = Stack->MajorFunction;
    const ULONG Code = Stack->Parameters.DeviceIoControl.IoControlCode; /* if it is one */
    ULONG_PTR Information = 0;
    NTSTATUS Status = STATUS_INVALID_DEVICE_REQUEST;

    /* A request that a driver has made may be without a file, or come from a completion routine at
     * DISPATCH_LEVEL, where nobody can wait for the mutex. */
    if (KeGetCurrentIrql() == DISPATCH_LEVEL || (Major != IRP_MJ_CREATE && !File))
        Status = STATUS_INVALID_DEVICE_REQUEST;
    else if (Major == IRP_MJ_CREATE)
        Status = FileOpen(Irp, Stack);
    else if (Major == IRP_MJ_CLEANUP || Major == IRP_MJ_CLOSE)
        Status = FileLeave(File, Stack->FileObject, Major == IRP_MJ_CLOSE);
    else if (ReadAcquire(&File->Adapter->IsRemoved))
        Status = STATUS_FILE_FORCED_CLOSED;
    else if (Major == IRP_MJ_READ)
        Status = FileRead(File, Irp, Stack->Parameters.Read.Length);
    else if (Major == IRP_MJ_WRITE)
        Status = FileWrite(File, Irp, Stack->Parameters.Write.Length, &Information);
    else if (Code == WINTUN_IOCTL_REGISTER_RINGS)
        Status = RingsRegister(File->Adapter, Irp);
    else if (Code == WINTUN_IOCTL_QUERY)
        Status = FileQuery(File->Adapter, Irp, Stack->Parameters.DeviceIoControl.OutputBufferLength,
                           &Information);
    return Status == STATUS_PENDING ? Status : DeviceComplete(Irp, Status, Information);
}

static NTSTATUS DeviceCreateLocked(VOID)
{
    static PDRIVER_DISPATCH Majors[IRP_MJ_MAXIMUM_FUNCTION + 1] = {
        [IRP_MJ_CREATE] = DeviceDispatch, [IRP_MJ_CLEANUP] = DeviceDispatch,
        [IRP_MJ_CLOSE] = DeviceDispatch,  [IRP_MJ_READ] = DeviceDispatch,
        [IRP_MJ_WRITE] = DeviceDispatch,  [IRP_MJ_DEVICE_CONTROL] = DeviceDispatch,
    };
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"" WINTUN_DEVICE_NAME);
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"" WINTUN_LINK_NAME);
    /* Everybody whom an adapter may admit; FileOpen asks the adapter. */
    UNICODE_STRING Security =
        RTL_CONSTANT_STRING(L"D:P(A;;GA;;;SY)(A;;GRGWGX;;;BA)(A;;GRGWGX;;;WD)(A;;GRGWGX;;;RC)");
    NDIS_DEVICE_OBJECT_ATTRIBUTES Attributes = {
        .Header = TUN_HEADER(DEVICE_OBJECT_ATTRIBUTES, DEVICE_OBJECT_ATTRIBUTES, 1),
        .DeviceName = &Name,
        .SymbolicName = &Link,
        .MajorFunctions = Majors,
        .DefaultSDDLString = &Security,
    };
    DEVICE_OBJECT *Device;

    NTSTATUS Status = NdisRegisterDeviceEx(Driver.Handle, &Attributes, &Device, &DeviceHandle);
    if (NT_SUCCESS(Status))
        Device->Flags |= DO_DIRECT_IO; /* before any open gets past the mutex */
    else
        DeviceHandle = NULL;
    return Status;
}

/* Who may use the adapter, if an administrator has said so and leaves no doubt; NULL: the default.
 */
static SECURITY_DESCRIPTOR *SecurityRead(DEVICE_OBJECT *Pdo)
{
    static const DEVPROPKEY Key = {WINTUN_PROPERTY_FMTID, WINTUN_PROPERTY_SECURITY};
    ULONG Bytes = 0;
    DEVPROPTYPE Type;

    if (IoGetDevicePropertyData(Pdo, &Key, 0, 0, 0, NULL, &Bytes, &Type) != STATUS_BUFFER_TOO_SMALL)
        return NULL;
    SECURITY_DESCRIPTOR *Security = PoolAlloc(Bytes);
    if (Security &&
        NT_SUCCESS(IoGetDevicePropertyData(Pdo, &Key, 0, 0, Bytes, Security, &Bytes, &Type)) &&
        Type == DEVPROP_TYPE_SECURITY_DESCRIPTOR &&
        RtlValidRelativeSecurityDescriptor(Security, Bytes,
                                           OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION))
        return Security;
    PoolFree(Security);
    return NULL;
}

/* Shows the adapter to programs, by the name in its driver key; the first makes the device. */
NTSTATUS DeviceAdd(TUN_ADAPTER *Adapter)
{
    NDIS_CONFIGURATION_OBJECT Object = {
        .Header = TUN_HEADER(CONFIGURATION_OBJECT, CONFIGURATION_OBJECT, 1),
        .NdisHandle = Adapter->Handle};
    UNICODE_STRING Keyword = RTL_CONSTANT_STRING(L"NetCfgInstanceId");
    NDIS_CONFIGURATION_PARAMETER *Value;
    NDIS_HANDLE Configuration;
    DEVICE_OBJECT *Pdo, *Next;

    KeInitializeSpinLock(&Adapter->ReadLock);
    InitializeListHead(&Adapter->Reads);
    IoCsqInitialize(&Adapter->Csq, ReadsInsert, ReadsRemove, ReadsPeek, ReadsLock, ReadsUnlock,
                    ReadsCanceled);
    NdisMGetDeviceProperty(Adapter->Handle, &Pdo, &Adapter->Device, &Next, NULL, NULL);
    Adapter->Security = SecurityRead(Pdo);
    NDIS_STATUS Status = NdisOpenConfigurationEx(&Object, &Configuration);
    if (Status != NDIS_STATUS_SUCCESS)
        return Status;
    NdisReadConfiguration(&Status, &Value, Configuration, &Keyword, NdisParameterString);
    Adapter->NameBuffer[0] = L'\\';
    Adapter->Name = (UNICODE_STRING){2, sizeof(Adapter->NameBuffer), Adapter->NameBuffer};
    if (Status == NDIS_STATUS_SUCCESS)
        Status = RtlAppendUnicodeStringToString(&Adapter->Name, &Value->ParameterData.StringData);
    NdisCloseConfiguration(Configuration);
    DriverLock();
    if (Status == NDIS_STATUS_SUCCESS && !DeviceHandle)
        Status = DeviceCreateLocked();
    if (Status == NDIS_STATUS_SUCCESS) {
        Adapter->Next = Driver.Adapters;
        Driver.Adapters = Adapter;
    }
    DriverUnlock();
    return Status;
}

/* Of an adapter that was added, or was not. The last takes the device with it: a device object of
 * the driver's would prevent its unload. */
VOID DeviceRemoveLocked(TUN_ADAPTER *Adapter)
{
    TUN_ADAPTER **Link = &Driver.Adapters;

    while (*Link && *Link != Adapter)
        Link = &(*Link)->Next;
    if (!*Link)
        return;
    *Link = Adapter->Next;
    if (Driver.Adapters)
        return;
    NdisDeregisterDeviceEx(DeviceHandle);
    DeviceHandle = NULL;
}
