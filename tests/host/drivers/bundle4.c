/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A TUN adapter of another make: packets are read and written in bundles with 4-byte records, what
 * Windows sends is kept in its own lists until somebody reads it, and what is written is lent to
 * the stack, one MDL for the whole bundle. Written against Microsoft's documentation alone, so that
 * a host has to run more than one habit of writing drivers. It keeps every rule; it must never be
 * made to know that it is tested.
 */
#include "others.h"

#define BUNDLE_TAG        '4dnB'
#define BUNDLE_RECORD_MAX 0xF000
#define BUNDLE_PACKET_MAX (BUNDLE_RECORD_MAX - 4)
#define BUNDLE_MAX        (256 * BUNDLE_RECORD_MAX)
#define BUNDLE_LISTS_MAX  1000
#define BUNDLE_SPEED      1000000000ULL

#define RECORD_BYTES(Size) ((4 + (Size) + 3) & ~3UL)
/* The next buffer of a kept list that nobody has read. */
#define NEXT_BUFFER(List) (*(PNET_BUFFER *)&NET_BUFFER_LIST_MINIPORT_RESERVED(List)[0])

typedef struct _BUNDLE_DEVICE BUNDLE_DEVICE, *PBUNDLE_DEVICE;

/* Of one adapter, but for the device that outlives it while a file is open. */
typedef struct _BUNDLE_ADAPTER {
    NDIS_HANDLE MiniportHandle, NblPool, DeviceHandle;
    PBUNDLE_DEVICE Device;
    KEVENT Idle; /* Users is zero */
    LONG Users;  /* calls that are inside, and one while running */
} BUNDLE_ADAPTER, *PBUNDLE_ADAPTER;

struct _BUNDLE_DEVICE {
    LIST_ENTRY Link; /* DevicesLock */
    LONG RefCount;
    PDEVICE_OBJECT DeviceObject;
    IO_CSQ Csq;
    KSPIN_LOCK Lock; /* all that follows */
    LIST_ENTRY Reads;
    PBUNDLE_ADAPTER Adapter; /* NULL: gone */
    BOOLEAN IsRunning;
    PNET_BUFFER_LIST First, Last; /* sent, not read */
    ULONG Lists;
    WCHAR NameBuffer[64], LinkBuffer[64];
};

static NDIS_HANDLE DriverHandle;
static KSPIN_LOCK DevicesLock;
static LIST_ENTRY Devices;
static NDIS_OID SupportedOids[] = {OID_GEN_CURRENT_PACKET_FILTER, OID_GEN_CURRENT_LOOKAHEAD,
                                   OID_GEN_VENDOR_ID};

DRIVER_INITIALIZE DriverEntry;
static MINIPORT_INITIALIZE BundleInitialize;
static MINIPORT_HALT BundleHalt;
static MINIPORT_UNLOAD BundleUnload;
static MINIPORT_PAUSE BundlePause;
static MINIPORT_RESTART BundleRestart;
static MINIPORT_OID_REQUEST BundleOid;
static MINIPORT_SEND_NET_BUFFER_LISTS BundleSend;
static MINIPORT_RETURN_NET_BUFFER_LISTS BundleReturn;
static MINIPORT_CANCEL_SEND BundleCancelSend;
static MINIPORT_DEVICE_PNP_EVENT_NOTIFY BundlePnpEvent;
static MINIPORT_SHUTDOWN BundleShutdown;
static MINIPORT_CANCEL_OID_REQUEST BundleCancelOid;

/* ---- lifetime ---- */

static VOID DeviceDereference(PBUNDLE_DEVICE Device)
{
    if (InterlockedDecrement(&Device->RefCount) == 0)
        ExFreePoolWithTag(Device, BUNDLE_TAG);
}

static PBUNDLE_DEVICE DeviceFind(PDEVICE_OBJECT DeviceObject)
{
    PBUNDLE_DEVICE Found = NULL;
    KIRQL Irql;

    KeAcquireSpinLock(&DevicesLock, &Irql);
    for (PLIST_ENTRY Entry = Devices.Flink; Entry != &Devices && !Found; Entry = Entry->Flink)
        if (CONTAINING_RECORD(Entry, BUNDLE_DEVICE, Link)->DeviceObject == DeviceObject)
            Found = CONTAINING_RECORD(Entry, BUNDLE_DEVICE, Link);
    if (Found)
        InterlockedIncrement(&Found->RefCount);
    KeReleaseSpinLock(&DevicesLock, Irql);
    return Found;
}

/* The adapter, which stays until AdapterLeave; NULL when it does not run. */
static PBUNDLE_ADAPTER AdapterEnter(PBUNDLE_DEVICE Device)
{
    PBUNDLE_ADAPTER Adapter = NULL;
    KIRQL Irql;

    KeAcquireSpinLock(&Device->Lock, &Irql);
    if (Device->IsRunning) {
        Adapter = Device->Adapter;
        InterlockedIncrement(&Adapter->Users);
    }
    KeReleaseSpinLock(&Device->Lock, Irql);
    return Adapter;
}

static BOOLEAN IsGone(PBUNDLE_DEVICE Device)
{
    KIRQL Irql;

    KeAcquireSpinLock(&Device->Lock, &Irql);
    BOOLEAN Result = Device->Adapter == NULL;
    KeReleaseSpinLock(&Device->Lock, Irql);
    return Result;
}

static VOID AdapterLeave(PBUNDLE_ADAPTER Adapter)
{
    if (InterlockedDecrement(&Adapter->Users) == 0)
        KeSetEvent(&Adapter->Idle, IO_NO_INCREMENT, FALSE);
}

static NTSTATUS Complete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, NT_SUCCESS(Status) ? IO_NETWORK_INCREMENT : IO_NO_INCREMENT);
    return Status;
}

/* ---- reads ---- */

static NTSTATUS NTAPI CsqInsert(PIO_CSQ Csq, PIRP Irp, PVOID InsertContext)
{
    PBUNDLE_DEVICE Device = CONTAINING_RECORD(Csq, BUNDLE_DEVICE, Csq);

    if (!Device->Adapter)
        return STATUS_FILE_FORCED_CLOSED;
    InsertTailList(&Device->Reads, &Irp->Tail.Overlay.ListEntry);
    return STATUS_SUCCESS;
}

static VOID NTAPI CsqRemove(PIO_CSQ Csq, PIRP Irp)
{
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
}

static PIRP NTAPI CsqPeek(PIO_CSQ Csq, PIRP Irp, PVOID PeekContext)
{
    PBUNDLE_DEVICE Device = CONTAINING_RECORD(Csq, BUNDLE_DEVICE, Csq);
    PLIST_ENTRY Entry = Irp ? Irp->Tail.Overlay.ListEntry.Flink : Device->Reads.Flink;

    for (; Entry != &Device->Reads; Entry = Entry->Flink) {
        PIRP Next = CONTAINING_RECORD(Entry, IRP, Tail.Overlay.ListEntry);
        if (!PeekContext || IoGetCurrentIrpStackLocation(Next)->FileObject == PeekContext)
            return Next;
    }
    return NULL;
}

static VOID NTAPI CsqLock(PIO_CSQ Csq, PKIRQL Irql)
{
    KeAcquireSpinLock(&CONTAINING_RECORD(Csq, BUNDLE_DEVICE, Csq)->Lock, Irql);
}

static VOID NTAPI CsqUnlock(PIO_CSQ Csq, KIRQL Irql)
{
    KeReleaseSpinLock(&CONTAINING_RECORD(Csq, BUNDLE_DEVICE, Csq)->Lock, Irql);
}

static VOID NTAPI CsqCanceled(PIO_CSQ Csq, PIRP Irp)
{
    Complete(Irp, STATUS_CANCELLED, 0);
}

static VOID FlushReads(PBUNDLE_DEVICE Device, PFILE_OBJECT FileObject, NTSTATUS Status)
{
    for (PIRP Irp; (Irp = IoCsqRemoveNextIrp(&Device->Csq, FileObject)) != NULL;)
        Complete(Irp, Status, 0);
}

/* Appends one packet to a bundle; answers its record's length, 0 when it does not fit. */
static ULONG CopyPacket(PUCHAR To, ULONG Room, PNET_BUFFER Buffer)
{
    ULONG Length = NET_BUFFER_DATA_LENGTH(Buffer);

    if (RECORD_BYTES(Length) > Room)
        return 0;
    *(PULONG)To = Length;
    PVOID Data = NdisGetDataBuffer(Buffer, Length, To + 4, 1, 0);
    if (Data && Data != To + 4)
        RtlCopyMemory(To + 4, Data, Length);
    return RECORD_BYTES(Length);
}

/* Fills a bundle from the kept lists; those that are read to the end go to Done. Lock held. */
static ULONG FillBundle(PBUNDLE_DEVICE Device, PUCHAR To, ULONG Room, PNET_BUFFER_LIST *Done)
{
    ULONG Used = 0;

    while (Device->First) {
        PNET_BUFFER_LIST List = Device->First;
        while (NEXT_BUFFER(List)) {
            ULONG Record = CopyPacket(To + Used, Room - Used, NEXT_BUFFER(List));
            if (!Record)
                return Used;
            Used += Record;
            NEXT_BUFFER(List) = NET_BUFFER_NEXT_NB(NEXT_BUFFER(List));
        }
        Device->First = NET_BUFFER_LIST_NEXT_NBL(List);
        Device->Lists--;
        NET_BUFFER_LIST_STATUS(List) = NDIS_STATUS_SUCCESS;
        NET_BUFFER_LIST_NEXT_NBL(List) = *Done;
        *Done = List;
    }
    return Used;
}

/* Lists and reads meet here. The caller is inside the adapter. */
static VOID ServeReads(PBUNDLE_DEVICE Device, PBUNDLE_ADAPTER Adapter)
{
    for (ULONG Used = 1; Used;) {
        PNET_BUFFER_LIST Done = NULL;
        KIRQL Irql;

        PIRP Irp = IoCsqRemoveNextIrp(&Device->Csq, NULL);
        if (!Irp)
            return;
        PUCHAR To = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority);
        if (!To) {
            Complete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
            continue;
        }
        KeAcquireSpinLock(&Device->Lock, &Irql);
        Used = FillBundle(Device, To, IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length,
                          &Done);
        KeReleaseSpinLock(&Device->Lock, Irql);
        if (Used) {
            Complete(Irp, STATUS_SUCCESS, Used);
        } else {
            /* Nothing to read after all: back it goes, and who sent meanwhile has found no read. */
            NTSTATUS Status = IoCsqInsertIrpEx(&Device->Csq, Irp, NULL, NULL);
            if (!NT_SUCCESS(Status))
                Complete(Irp, Status, 0);
            KeAcquireSpinLock(&Device->Lock, &Irql);
            Used = Device->First != NULL;
            KeReleaseSpinLock(&Device->Lock, Irql);
        }
        if (Done)
            NdisMSendNetBufferListsComplete(Adapter->MiniportHandle, Done, 0);
    }
}

/* ---- sending ---- */

static BOOLEAN IsTooLong(PNET_BUFFER_LIST List)
{
    for (PNET_BUFFER Buffer = NET_BUFFER_LIST_FIRST_NB(List); Buffer;
         Buffer = NET_BUFFER_NEXT_NB(Buffer))
        if (NET_BUFFER_DATA_LENGTH(Buffer) > BUNDLE_PACKET_MAX)
            return TRUE;
    return FALSE;
}

static VOID Append(PBUNDLE_DEVICE Device, PNET_BUFFER_LIST List)
{
    NET_BUFFER_LIST_NEXT_NBL(List) = NULL;
    NEXT_BUFFER(List) = NET_BUFFER_LIST_FIRST_NB(List);
    if (Device->First)
        NET_BUFFER_LIST_NEXT_NBL(Device->Last) = List;
    else
        Device->First = List;
    Device->Last = List;
    Device->Lists++;
}

static VOID Refuse(PNET_BUFFER_LIST List, NDIS_STATUS Status, PNET_BUFFER_LIST *Refused)
{
    NET_BUFFER_LIST_STATUS(List) = Status;
    NET_BUFFER_LIST_NEXT_NBL(List) = *Refused;
    *Refused = List;
}

static VOID NTAPI BundleSend(NDIS_HANDLE MiniportAdapterContext, PNET_BUFFER_LIST NetBufferLists,
                             NDIS_PORT_NUMBER PortNumber, ULONG SendFlags)
{
    PBUNDLE_ADAPTER Adapter = MiniportAdapterContext;
    PBUNDLE_DEVICE Device = Adapter->Device;
    PNET_BUFFER_LIST Refused = NULL;
    BOOLEAN IsInside = AdapterEnter(Device) != NULL;
    KIRQL Irql;

    KeAcquireSpinLock(&Device->Lock, &Irql);
    while (NetBufferLists) {
        PNET_BUFFER_LIST List = NetBufferLists;
        NetBufferLists = NET_BUFFER_LIST_NEXT_NBL(List);
        if (!Device->IsRunning) {
            Refuse(List, NDIS_STATUS_PAUSED, &Refused);
            continue;
        }
        if (IsTooLong(List)) {
            Refuse(List, NDIS_STATUS_INVALID_LENGTH, &Refused);
            continue;
        }
        Append(Device, List);
        if (Device->Lists > BUNDLE_LISTS_MAX) { /* the oldest makes room */
            PNET_BUFFER_LIST Oldest = Device->First;
            Device->First = NET_BUFFER_LIST_NEXT_NBL(Oldest);
            Device->Lists--;
            Refuse(Oldest, NDIS_STATUS_SEND_ABORTED, &Refused);
        }
    }
    KeReleaseSpinLock(&Device->Lock, Irql);
    if (Refused)
        NdisMSendNetBufferListsComplete(Adapter->MiniportHandle, Refused,
                                        NDIS_TEST_SEND_AT_DISPATCH_LEVEL(SendFlags)
                                            ? NDIS_SEND_COMPLETE_FLAGS_DISPATCH_LEVEL
                                            : 0);
    if (IsInside) {
        ServeReads(Device, Adapter);
        AdapterLeave(Adapter);
    }
}

static VOID NTAPI BundleCancelSend(NDIS_HANDLE MiniportAdapterContext, PVOID CancelId)
{
    PBUNDLE_ADAPTER Adapter = MiniportAdapterContext;
    PBUNDLE_DEVICE Device = Adapter->Device;
    PNET_BUFFER_LIST Refused = NULL, Lists;
    KIRQL Irql;

    KeAcquireSpinLock(&Device->Lock, &Irql);
    Lists = Device->First;
    Device->First = NULL;
    Device->Lists = 0;
    while (Lists) {
        PNET_BUFFER_LIST List = Lists;
        PNET_BUFFER Unread = NEXT_BUFFER(List);
        Lists = NET_BUFFER_LIST_NEXT_NBL(List);
        if (NET_BUFFER_LIST_INFO(List, NetBufferListCancelId) == CancelId) {
            Refuse(List, NDIS_STATUS_SEND_ABORTED, &Refused);
        } else {
            Append(Device, List);
            NEXT_BUFFER(List) = Unread;
        }
    }
    KeReleaseSpinLock(&Device->Lock, Irql);
    if (Refused)
        NdisMSendNetBufferListsComplete(Adapter->MiniportHandle, Refused, 0);
}

/* ---- receiving ---- */

static VOID NTAPI BundleReturn(NDIS_HANDLE MiniportAdapterContext, PNET_BUFFER_LIST NetBufferLists,
                               ULONG ReturnFlags)
{
    while (NetBufferLists) {
        PNET_BUFFER_LIST Next = NET_BUFFER_LIST_NEXT_NBL(NetBufferLists);
        NdisFreeNetBufferList(NetBufferLists);
        NetBufferLists = Next;
    }
}

/* 4, 6, or 0 for what is no packet. */
static ULONG IpVersion(const UCHAR *Packet, ULONG Length)
{
    if (Length >= 20 && Packet[0] >> 4 == 4)
        return 4;
    return Length >= 40 && Packet[0] >> 4 == 6 ? 6 : 0;
}

typedef struct _BUNDLE_CHAIN {
    PNET_BUFFER_LIST First, *Next;
    ULONG Count;
} BUNDLE_CHAIN;

/* All lists of a bundle share its MDL and differ in offset and length. */
static NTSTATUS ParseBundle(PBUNDLE_ADAPTER Adapter, PMDL Mdl, PUCHAR Bundle, ULONG Length,
                            BUNDLE_CHAIN Chains[2])
{
    for (ULONG Offset = 0; Offset < Length;) {
        ULONG Size = Length - Offset < 4 ? MAXULONG : *(PULONG)(Bundle + Offset);
        if (Size > BUNDLE_PACKET_MAX || RECORD_BYTES(Size) > Length - Offset)
            return STATUS_INVALID_USER_BUFFER;
        ULONG Version = IpVersion(Bundle + Offset + 4, Size);
        if (!Version)
            return STATUS_INVALID_USER_BUFFER;
        PNET_BUFFER_LIST List =
            NdisAllocateNetBufferAndNetBufferList(Adapter->NblPool, 0, 0, Mdl, Offset + 4, Size);
        if (!List)
            return STATUS_INSUFFICIENT_RESOURCES;
        BUNDLE_CHAIN *Chain = &Chains[Version == 6];
        List->SourceHandle = Adapter->MiniportHandle;
        NET_BUFFER_LIST_INFO(List, NetBufferListFrameType) =
            (PVOID)(ULONG_PTR)(Version == 4 ? 0x0008 : 0xDD86); /* network byte order */
        *Chain->Next = List;
        Chain->Next = &NET_BUFFER_LIST_NEXT_NBL(List);
        Chain->Count++;
        Offset += RECORD_BYTES(Size);
    }
    return STATUS_SUCCESS;
}

static NTSTATUS ReceiveBundle(PBUNDLE_ADAPTER Adapter, PUCHAR Bundle, ULONG Length)
{
    BUNDLE_CHAIN Chains[2] = {{NULL, &Chains[0].First, 0}, {NULL, &Chains[1].First, 0}};
    PMDL Mdl = IoAllocateMdl(Bundle, Length, FALSE, FALSE, NULL);

    if (!Mdl)
        return STATUS_INSUFFICIENT_RESOURCES;
    MmBuildMdlForNonPagedPool(Mdl);
    NTSTATUS Status = ParseBundle(Adapter, Mdl, Bundle, Length, Chains);
    for (int i = 0; i < 2; i++) {
        if (NT_SUCCESS(Status) && Chains[i].First)
            NdisMIndicateReceiveNetBufferLists(
                Adapter->MiniportHandle, Chains[i].First, NDIS_DEFAULT_PORT_NUMBER, Chains[i].Count,
                NDIS_RECEIVE_FLAGS_RESOURCES | NDIS_RECEIVE_FLAGS_SINGLE_ETHER_TYPE);
        BundleReturn(Adapter, Chains[i].First, 0);
    }
    IoFreeMdl(Mdl);
    return Status;
}

/* ---- the control device ---- */

static NTSTATUS NTAPI BundleCreateFile(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PBUNDLE_DEVICE Device = DeviceFind(DeviceObject);

    IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext = Device;
    return Complete(Irp, Device ? STATUS_SUCCESS : STATUS_NO_SUCH_DEVICE, 0);
}

static NTSTATUS NTAPI BundleCleanupFile(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PFILE_OBJECT FileObject = IoGetCurrentIrpStackLocation(Irp)->FileObject;

    FlushReads(FileObject->FsContext, FileObject, STATUS_CANCELLED);
    return Complete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI BundleCloseFile(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    DeviceDereference(IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext);
    return Complete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI BundleRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    PBUNDLE_DEVICE Device = Stack->FileObject->FsContext;
    ULONG Length = Stack->Parameters.Read.Length;

    if (Length < BUNDLE_RECORD_MAX || Length > BUNDLE_MAX)
        return Complete(Irp, STATUS_INVALID_USER_BUFFER, 0);
    NTSTATUS Status = IoCsqInsertIrpEx(&Device->Csq, Irp, NULL, NULL);
    if (!NT_SUCCESS(Status))
        return Complete(Irp, Status, 0);
    PBUNDLE_ADAPTER Adapter = AdapterEnter(Device);
    if (Adapter) {
        ServeReads(Device, Adapter);
        AdapterLeave(Adapter);
    }
    return STATUS_PENDING;
}

static NTSTATUS NTAPI BundleWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    PBUNDLE_DEVICE Device = Stack->FileObject->FsContext;
    ULONG Length = Stack->Parameters.Write.Length;

    if (Length < 4 || Length > BUNDLE_MAX)
        return Complete(Irp, STATUS_INVALID_USER_BUFFER, 0);
    PUCHAR From = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority);
    PUCHAR Copy = From ? ExAllocatePoolWithTag(NonPagedPool, Length, BUNDLE_TAG) : NULL;
    if (!Copy)
        return Complete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    RtlCopyMemory(Copy, From, Length);
    NTSTATUS Status = STATUS_SUCCESS; /* dropped in silence while paused */
    PBUNDLE_ADAPTER Adapter = AdapterEnter(Device);
    if (Adapter) {
        Status = ReceiveBundle(Adapter, Copy, Length);
        AdapterLeave(Adapter);
    } else if (IsGone(Device)) {
        Status = STATUS_FILE_FORCED_CLOSED;
    }
    ExFreePoolWithTag(Copy, BUNDLE_TAG);
    return Complete(Irp, Status, NT_SUCCESS(Status) ? Length : 0);
}

static NDIS_STATUS RegisterDevice(PBUNDLE_ADAPTER Adapter, PUNICODE_STRING InstanceId)
{
    PBUNDLE_DEVICE Device = Adapter->Device;
    PDRIVER_DISPATCH Dispatch[IRP_MJ_MAXIMUM_FUNCTION + 1] = {0};
    NDIS_DEVICE_OBJECT_ATTRIBUTES Attributes = {0};
    UNICODE_STRING Name, Link;
    KIRQL Irql;

    RtlInitEmptyUnicodeString(&Name, Device->NameBuffer, sizeof(Device->NameBuffer));
    RtlInitEmptyUnicodeString(&Link, Device->LinkBuffer, sizeof(Device->LinkBuffer));
    if (!NT_SUCCESS(RtlAppendUnicodeToString(&Name, L"\\Device\\Bundle4")) ||
        !NT_SUCCESS(RtlAppendUnicodeStringToString(&Name, InstanceId)) ||
        !NT_SUCCESS(RtlAppendUnicodeToString(&Link, L"\\DosDevices\\Bundle4")) ||
        !NT_SUCCESS(RtlAppendUnicodeStringToString(&Link, InstanceId)))
        return NDIS_STATUS_INVALID_LENGTH;
    Dispatch[IRP_MJ_CREATE] = BundleCreateFile;
    Dispatch[IRP_MJ_CLEANUP] = BundleCleanupFile;
    Dispatch[IRP_MJ_CLOSE] = BundleCloseFile;
    Dispatch[IRP_MJ_READ] = BundleRead;
    Dispatch[IRP_MJ_WRITE] = BundleWrite;
    Attributes.Header.Type = NDIS_OBJECT_TYPE_DEVICE_OBJECT_ATTRIBUTES;
    Attributes.Header.Revision = NDIS_DEVICE_OBJECT_ATTRIBUTES_REVISION_1;
    Attributes.Header.Size = NDIS_SIZEOF_DEVICE_OBJECT_ATTRIBUTES_REVISION_1;
    Attributes.DeviceName = &Name;
    Attributes.SymbolicName = &Link;
    Attributes.MajorFunctions = Dispatch;
    NDIS_STATUS Status = NdisRegisterDeviceEx(Adapter->MiniportHandle, &Attributes,
                                              &Device->DeviceObject, &Adapter->DeviceHandle);
    if (Status != NDIS_STATUS_SUCCESS)
        return Status;
    Device->DeviceObject->Flags |= DO_DIRECT_IO;
    KeAcquireSpinLock(&DevicesLock, &Irql);
    InsertTailList(&Devices, &Device->Link);
    KeReleaseSpinLock(&DevicesLock, Irql);
    return NDIS_STATUS_SUCCESS;
}

/* ---- the miniport ---- */

static NDIS_STATUS Configure(PBUNDLE_ADAPTER Adapter)
{
    NDIS_STRING Keyword = NDIS_STRING_CONST("NetCfgInstanceId");
    NDIS_CONFIGURATION_OBJECT Object = {0};
    PNDIS_CONFIGURATION_PARAMETER Parameter;
    NDIS_HANDLE Configuration;

    Object.Header.Type = NDIS_OBJECT_TYPE_CONFIGURATION_OBJECT;
    Object.Header.Revision = NDIS_CONFIGURATION_OBJECT_REVISION_1;
    Object.Header.Size = sizeof(Object);
    Object.NdisHandle = Adapter->MiniportHandle;
    NDIS_STATUS Status = NdisOpenConfigurationEx(&Object, &Configuration);
    if (Status != NDIS_STATUS_SUCCESS)
        return Status;
    NdisReadConfiguration(&Status, &Parameter, Configuration, &Keyword, NdisParameterString);
    if (Status == NDIS_STATUS_SUCCESS)
        Status = RegisterDevice(Adapter, &Parameter->ParameterData.StringData);
    NdisCloseConfiguration(Configuration);
    return Status;
}

static NDIS_STATUS SetAttributes(PBUNDLE_ADAPTER Adapter)
{
    NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES Registration = {0};
    NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES General = {0};

    Registration.Header.Type = NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES;
    Registration.Header.Revision = NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1;
    Registration.Header.Size = NDIS_SIZEOF_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1;
    Registration.MiniportAdapterContext = Adapter;
    Registration.AttributeFlags =
        NDIS_MINIPORT_ATTRIBUTES_NO_HALT_ON_SUSPEND | NDIS_MINIPORT_ATTRIBUTES_SURPRISE_REMOVE_OK;
    Registration.InterfaceType = NdisInterfaceInternal;
    General.Header.Type = NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES;
    General.Header.Revision = NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2;
    General.Header.Size = NDIS_SIZEOF_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2;
    General.MediaType = NdisMediumIP;
    General.PhysicalMediumType = NdisPhysicalMediumUnspecified;
    General.MtuSize = BUNDLE_PACKET_MAX;
    General.LookaheadSize = BUNDLE_PACKET_MAX;
    General.MaxXmitLinkSpeed = General.XmitLinkSpeed = BUNDLE_SPEED;
    General.MaxRcvLinkSpeed = General.RcvLinkSpeed = BUNDLE_SPEED;
    General.MediaConnectState = MediaConnectStateConnected;
    General.MediaDuplexState = MediaDuplexStateFull;
    General.MacOptions = NDIS_MAC_OPTION_NO_LOOPBACK;
    General.SupportedPacketFilters = NDIS_PACKET_TYPE_DIRECTED | NDIS_PACKET_TYPE_BROADCAST;
    General.AccessType = NET_IF_ACCESS_BROADCAST;
    General.DirectionType = NET_IF_DIRECTION_SENDRECEIVE;
    General.ConnectionType = NET_IF_CONNECTION_DEDICATED;
    General.IfType = IF_TYPE_PROP_VIRTUAL;
    General.SupportedOidList = SupportedOids;
    General.SupportedOidListLength = sizeof(SupportedOids);
    NDIS_STATUS Status = NdisMSetMiniportAttributes(
        Adapter->MiniportHandle, (PNDIS_MINIPORT_ADAPTER_ATTRIBUTES)&Registration);
    if (Status == NDIS_STATUS_SUCCESS)
        Status = NdisMSetMiniportAttributes(Adapter->MiniportHandle,
                                            (PNDIS_MINIPORT_ADAPTER_ATTRIBUTES)&General);
    return Status;
}

static PBUNDLE_DEVICE MakeDevice(PBUNDLE_ADAPTER Adapter)
{
    PBUNDLE_DEVICE Device = ExAllocatePoolWithTag(NonPagedPool, sizeof(*Device), BUNDLE_TAG);

    if (!Device)
        return NULL;
    RtlZeroMemory(Device, sizeof(*Device));
    Device->RefCount = 1;
    Device->Adapter = Adapter;
    KeInitializeSpinLock(&Device->Lock);
    InitializeListHead(&Device->Link);
    InitializeListHead(&Device->Reads);
    IoCsqInitializeEx(&Device->Csq, CsqInsert, CsqRemove, CsqPeek, CsqLock, CsqUnlock, CsqCanceled);
    return Device;
}

static VOID Destroy(PBUNDLE_ADAPTER Adapter)
{
    PBUNDLE_DEVICE Device = Adapter->Device;
    KIRQL Irql;

    if (Device) {
        KeAcquireSpinLock(&DevicesLock, &Irql);
        RemoveEntryList(&Device->Link);
        InitializeListHead(&Device->Link);
        KeReleaseSpinLock(&DevicesLock, Irql);
        KeAcquireSpinLock(&Device->Lock, &Irql);
        Device->Adapter = NULL;
        KeReleaseSpinLock(&Device->Lock, Irql);
        FlushReads(Device, NULL, STATUS_FILE_FORCED_CLOSED);
        if (Adapter->DeviceHandle)
            NdisDeregisterDeviceEx(Adapter->DeviceHandle);
        DeviceDereference(Device);
    }
    if (Adapter->NblPool)
        NdisFreeNetBufferListPool(Adapter->NblPool);
    ExFreePoolWithTag(Adapter, BUNDLE_TAG);
}

static NDIS_STATUS NTAPI BundleInitialize(NDIS_HANDLE NdisMiniportHandle,
                                          NDIS_HANDLE MiniportDriverContext,
                                          PNDIS_MINIPORT_INIT_PARAMETERS Parameters)
{
    PBUNDLE_ADAPTER Adapter = ExAllocatePoolWithTag(NonPagedPool, sizeof(*Adapter), BUNDLE_TAG);
    NET_BUFFER_LIST_POOL_PARAMETERS Pool = {0};

    if (!Adapter)
        return NDIS_STATUS_RESOURCES;
    RtlZeroMemory(Adapter, sizeof(*Adapter));
    Adapter->MiniportHandle = NdisMiniportHandle;
    KeInitializeEvent(&Adapter->Idle, NotificationEvent, TRUE);
    Pool.Header.Type = NDIS_OBJECT_TYPE_DEFAULT;
    Pool.Header.Revision = NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1;
    Pool.Header.Size = NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1;
    Pool.fAllocateNetBuffer = TRUE;
    Pool.PoolTag = BUNDLE_TAG;
    Adapter->NblPool = NdisAllocateNetBufferListPool(NdisMiniportHandle, &Pool);
    Adapter->Device = MakeDevice(Adapter);
    NDIS_STATUS Status =
        Adapter->NblPool && Adapter->Device ? SetAttributes(Adapter) : NDIS_STATUS_RESOURCES;
    if (Status == NDIS_STATUS_SUCCESS)
        Status = Configure(Adapter);
    if (Status != NDIS_STATUS_SUCCESS)
        Destroy(Adapter);
    return Status;
}

static VOID NTAPI BundleHalt(NDIS_HANDLE MiniportAdapterContext, NDIS_HALT_ACTION HaltAction)
{
    Destroy(MiniportAdapterContext);
}

/* Nothing is lent to the stack beyond a call, so pausing never pends. */
static NDIS_STATUS NTAPI BundlePause(NDIS_HANDLE MiniportAdapterContext,
                                     PNDIS_MINIPORT_PAUSE_PARAMETERS PauseParameters)
{
    PBUNDLE_ADAPTER Adapter = MiniportAdapterContext;
    PBUNDLE_DEVICE Device = Adapter->Device;
    KIRQL Irql;

    KeAcquireSpinLock(&Device->Lock, &Irql);
    Device->IsRunning = FALSE;
    PNET_BUFFER_LIST Kept = Device->First;
    Device->First = NULL;
    Device->Lists = 0;
    KeReleaseSpinLock(&Device->Lock, Irql);
    for (PNET_BUFFER_LIST List = Kept; List; List = NET_BUFFER_LIST_NEXT_NBL(List))
        NET_BUFFER_LIST_STATUS(List) = NDIS_STATUS_PAUSED;
    if (Kept)
        NdisMSendNetBufferListsComplete(Adapter->MiniportHandle, Kept, 0);
    AdapterLeave(Adapter);
    KeWaitForSingleObject(&Adapter->Idle, Executive, KernelMode, FALSE, NULL);
    return NDIS_STATUS_SUCCESS;
}

static NDIS_STATUS NTAPI BundleRestart(NDIS_HANDLE MiniportAdapterContext,
                                       PNDIS_MINIPORT_RESTART_PARAMETERS RestartParameters)
{
    PBUNDLE_ADAPTER Adapter = MiniportAdapterContext;
    KIRQL Irql;

    KeClearEvent(&Adapter->Idle);
    InterlockedIncrement(&Adapter->Users);
    KeAcquireSpinLock(&Adapter->Device->Lock, &Irql);
    Adapter->Device->IsRunning = TRUE;
    KeReleaseSpinLock(&Adapter->Device->Lock, Irql);
    return NDIS_STATUS_SUCCESS;
}

static NDIS_STATUS NTAPI BundleOid(NDIS_HANDLE MiniportAdapterContext, PNDIS_OID_REQUEST OidRequest)
{
    if (OidRequest->RequestType == NdisRequestSetInformation &&
        (OidRequest->DATA.SET_INFORMATION.Oid == OID_GEN_CURRENT_PACKET_FILTER ||
         OidRequest->DATA.SET_INFORMATION.Oid == OID_GEN_CURRENT_LOOKAHEAD)) {
        if (OidRequest->DATA.SET_INFORMATION.InformationBufferLength < sizeof(ULONG)) {
            OidRequest->DATA.SET_INFORMATION.BytesNeeded = sizeof(ULONG);
            return NDIS_STATUS_INVALID_LENGTH;
        }
        OidRequest->DATA.SET_INFORMATION.BytesRead = sizeof(ULONG);
        return NDIS_STATUS_SUCCESS;
    }
    return NDIS_STATUS_NOT_SUPPORTED;
}

static VOID NTAPI BundleCancelOid(NDIS_HANDLE MiniportAdapterContext, PVOID RequestId) {}

static VOID NTAPI BundlePnpEvent(NDIS_HANDLE MiniportAdapterContext,
                                 PNET_DEVICE_PNP_EVENT NetDevicePnPEvent)
{
    PBUNDLE_ADAPTER Adapter = MiniportAdapterContext;

    if (NetDevicePnPEvent->DevicePnPEvent == NdisDevicePnPEventSurpriseRemoved)
        FlushReads(Adapter->Device, NULL, STATUS_FILE_FORCED_CLOSED);
}

static VOID NTAPI BundleShutdown(NDIS_HANDLE MiniportAdapterContext,
                                 NDIS_SHUTDOWN_ACTION ShutdownAction)
{
}

static VOID NTAPI BundleUnload(PDRIVER_OBJECT DriverObject)
{
    NdisMDeregisterMiniportDriver(DriverHandle);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NDIS_MINIPORT_DRIVER_CHARACTERISTICS Characteristics = {0};

    KeInitializeSpinLock(&DevicesLock);
    InitializeListHead(&Devices);
    Characteristics.Header.Type = NDIS_OBJECT_TYPE_MINIPORT_DRIVER_CHARACTERISTICS;
    Characteristics.Header.Revision = NDIS_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2;
    Characteristics.Header.Size = NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2;
    Characteristics.MajorNdisVersion = 6;
    Characteristics.MinorNdisVersion = 20;
    Characteristics.MajorDriverVersion = 0;
    Characteristics.MinorDriverVersion = 4;
    Characteristics.InitializeHandlerEx = BundleInitialize;
    Characteristics.HaltHandlerEx = BundleHalt;
    Characteristics.UnloadHandler = BundleUnload;
    Characteristics.PauseHandler = BundlePause;
    Characteristics.RestartHandler = BundleRestart;
    Characteristics.OidRequestHandler = BundleOid;
    Characteristics.SendNetBufferListsHandler = BundleSend;
    Characteristics.ReturnNetBufferListsHandler = BundleReturn;
    Characteristics.CancelSendHandler = BundleCancelSend;
    Characteristics.DevicePnPEventNotifyHandler = BundlePnpEvent;
    Characteristics.ShutdownHandlerEx = BundleShutdown;
    Characteristics.CancelOidRequestHandler = BundleCancelOid;
    return NdisMRegisterMiniportDriver(DriverObject, RegistryPath, NULL, &Characteristics,
                                       &DriverHandle);
}
