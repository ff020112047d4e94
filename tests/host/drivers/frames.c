/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * An Ethernet adapter as many people write them: what Windows sends is read from a control device
 * frame by frame, what is written there is received. Written against Microsoft's documentation
 * alone, with NDIS's own locks, timers and work items wherever it has some, so that a host has to
 * run more than one habit of writing drivers. It keeps every rule; it must never be made to know
 * that it is tested.
 */
#include "others.h"

#define FRAMES_TAG         'marF'
#define FRAMES_HEADER      14
#define FRAMES_MTU         1500
#define FRAMES_MAX         (FRAMES_HEADER + FRAMES_MTU)
#define FRAMES_QUEUE_LIMIT 256
#define FRAMES_MULTICASTS  32
#define FRAMES_SPEED       1000000000ULL

typedef enum _FRAMES_STATE { FramesPaused, FramesRunning, FramesPausing } FRAMES_STATE;

typedef struct _FRAMES_FRAME {
    LIST_ENTRY Link;
    ULONG Length;
    UCHAR Data[FRAMES_MAX];
} FRAMES_FRAME, *PFRAMES_FRAME;

typedef struct _FRAMES_ADAPTER {
    LIST_ENTRY Link; /* GlobalLock */
    LONG RefCount;   /* the miniport, and every open file */
    NDIS_HANDLE MiniportHandle, NblPool, DeviceHandle;
    PDEVICE_OBJECT DeviceObject;

    PNDIS_RW_LOCK_EX StateLock; /* State */
    FRAMES_STATE State;
    LONG Outstanding; /* frames that NDIS has, and one while running */

    NDIS_SPIN_LOCK FrameLock; /* Frames; taken before ReadLock */
    LIST_ENTRY Frames;
    ULONG FrameCount;
    NPAGED_LOOKASIDE_LIST FrameMemory;

    IO_CSQ ReadCsq;
    KSPIN_LOCK ReadLock; /* Reads, IsGone */
    LIST_ENTRY Reads;
    BOOLEAN IsGone;

    NDIS_HANDLE OidTimer, OidWork, AgeTimer;
    PNDIS_OID_REQUEST PendingOid; /* NDIS sends one at a time */
    LONG Age;

    UCHAR PermanentAddress[6], CurrentAddress[6];
    UCHAR Multicast[FRAMES_MULTICASTS][6];
    ULONG MulticastBytes, PacketFilter, Lookahead;
    LONG64 FramesOut, BytesOut, DropsOut, FramesIn, BytesIn, DropsIn;
    WCHAR NameBuffer[64], LinkBuffer[64];
} FRAMES_ADAPTER, *PFRAMES_ADAPTER;

static NDIS_HANDLE DriverHandle;
static NDIS_SPIN_LOCK GlobalLock;
static LIST_ENTRY Adapters; /* GlobalLock */

static NDIS_OID SupportedOids[] = {
    OID_GEN_SUPPORTED_LIST,

    OID_GEN_TRANSMIT_BUFFER_SPACE,
    OID_GEN_RECEIVE_BUFFER_SPACE,
    OID_GEN_TRANSMIT_BLOCK_SIZE,
    OID_GEN_RECEIVE_BLOCK_SIZE,
    OID_GEN_VENDOR_ID,
    OID_GEN_VENDOR_DESCRIPTION,
    OID_GEN_VENDOR_DRIVER_VERSION,
    OID_GEN_CURRENT_PACKET_FILTER,
    OID_GEN_CURRENT_LOOKAHEAD,
    OID_GEN_MAXIMUM_TOTAL_SIZE,
    OID_GEN_STATISTICS,
    OID_GEN_INTERRUPT_MODERATION,
    OID_GEN_LINK_PARAMETERS,
    OID_802_3_PERMANENT_ADDRESS,
    OID_802_3_CURRENT_ADDRESS,
    OID_802_3_MULTICAST_LIST,
    OID_802_3_MAXIMUM_LIST_SIZE,
};

DRIVER_INITIALIZE DriverEntry;
static MINIPORT_INITIALIZE FramesInitialize;
static MINIPORT_HALT FramesHalt;
static MINIPORT_UNLOAD FramesUnload;
static MINIPORT_PAUSE FramesPause;
static MINIPORT_RESTART FramesRestart;
static MINIPORT_OID_REQUEST FramesOid;
static MINIPORT_SEND_NET_BUFFER_LISTS FramesSend;
static MINIPORT_RETURN_NET_BUFFER_LISTS FramesReturn;
static MINIPORT_CANCEL_SEND FramesCancelSend;
static MINIPORT_DEVICE_PNP_EVENT_NOTIFY FramesPnpEvent;
static MINIPORT_SHUTDOWN FramesShutdown;
static MINIPORT_CANCEL_OID_REQUEST FramesCancelOid;

/* ---- adapters ---- */

static VOID FramesDereference(PFRAMES_ADAPTER Adapter)
{
    if (NdisInterlockedDecrement(&Adapter->RefCount) != 0)
        return;
    if (Adapter->StateLock)
        NdisFreeRWLock(Adapter->StateLock);
    NdisFreeSpinLock(&Adapter->FrameLock);
    NdisFreeMemory(Adapter, 0, 0);
}

/* A referenced adapter, or NULL when the device's is gone. */
static PFRAMES_ADAPTER FramesFind(PDEVICE_OBJECT DeviceObject)
{
    PFRAMES_ADAPTER Found = NULL;

    NdisAcquireSpinLock(&GlobalLock);
    for (PLIST_ENTRY Entry = Adapters.Flink; Entry != &Adapters; Entry = Entry->Flink) {
        PFRAMES_ADAPTER Adapter = CONTAINING_RECORD(Entry, FRAMES_ADAPTER, Link);
        if (Adapter->DeviceObject == DeviceObject) {
            NdisInterlockedIncrement(&Adapter->RefCount);
            Found = Adapter;
            break;
        }
    }
    NdisReleaseSpinLock(&GlobalLock);
    return Found;
}

/* One more user of the running adapter; FALSE when it does not run. */
static BOOLEAN FramesAcquire(PFRAMES_ADAPTER Adapter)
{
    LOCK_STATE_EX LockState;

    NdisAcquireRWLockRead(Adapter->StateLock, &LockState, 0);
    BOOLEAN IsRunning = Adapter->State == FramesRunning;
    if (IsRunning)
        NdisInterlockedIncrement(&Adapter->Outstanding);
    NdisReleaseRWLock(Adapter->StateLock, &LockState);
    return IsRunning;
}

/* Whoever is the last one after a pause has begun completes it. */
static VOID FramesRelease(PFRAMES_ADAPTER Adapter)
{
    LOCK_STATE_EX LockState;

    if (NdisInterlockedDecrement(&Adapter->Outstanding) != 0)
        return;
    NdisAcquireRWLockWrite(Adapter->StateLock, &LockState, 0);
    Adapter->State = FramesPaused;
    NdisReleaseRWLock(Adapter->StateLock, &LockState);
    NdisMPauseComplete(Adapter->MiniportHandle);
}

/* ---- reads: a cancel-safe queue ---- */

static NTSTATUS NTAPI CsqInsert(PIO_CSQ Csq, PIRP Irp, PVOID InsertContext)
{
    PFRAMES_ADAPTER Adapter = CONTAINING_RECORD(Csq, FRAMES_ADAPTER, ReadCsq);

    if (Adapter->IsGone)
        return STATUS_DEVICE_REMOVED;
    InsertTailList(&Adapter->Reads, &Irp->Tail.Overlay.ListEntry);
    return STATUS_SUCCESS;
}

static VOID NTAPI CsqRemove(PIO_CSQ Csq, PIRP Irp)
{
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
}

/* PeekContext: NULL for any, or the file object whose reads are wanted. */
static PIRP NTAPI CsqPeek(PIO_CSQ Csq, PIRP Irp, PVOID PeekContext)
{
    PFRAMES_ADAPTER Adapter = CONTAINING_RECORD(Csq, FRAMES_ADAPTER, ReadCsq);
    PLIST_ENTRY Entry = Irp ? Irp->Tail.Overlay.ListEntry.Flink : Adapter->Reads.Flink;

    for (; Entry != &Adapter->Reads; Entry = Entry->Flink) {
        PIRP Next = CONTAINING_RECORD(Entry, IRP, Tail.Overlay.ListEntry);
        if (!PeekContext || IoGetCurrentIrpStackLocation(Next)->FileObject == PeekContext)
            return Next;
    }
    return NULL;
}

static VOID NTAPI CsqLock(PIO_CSQ Csq, PKIRQL Irql)
{
    KeAcquireSpinLock(&CONTAINING_RECORD(Csq, FRAMES_ADAPTER, ReadCsq)->ReadLock, Irql);
}

static VOID NTAPI CsqUnlock(PIO_CSQ Csq, KIRQL Irql)
{
    KeReleaseSpinLock(&CONTAINING_RECORD(Csq, FRAMES_ADAPTER, ReadCsq)->ReadLock, Irql);
}

static NTSTATUS FramesComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, Status == STATUS_SUCCESS ? IO_NETWORK_INCREMENT : IO_NO_INCREMENT);
    return Status;
}

static VOID NTAPI CsqCanceled(PIO_CSQ Csq, PIRP Irp)
{
    FramesComplete(Irp, STATUS_CANCELLED, 0);
}

static VOID FramesFlushReads(PFRAMES_ADAPTER Adapter, PFILE_OBJECT FileObject, NTSTATUS Status)
{
    for (PIRP Irp; (Irp = IoCsqRemoveNextIrp(&Adapter->ReadCsq, FileObject)) != NULL;)
        FramesComplete(Irp, Status, 0);
}

/* A frame and a read leave their queues together, so none waits for the other. */
static VOID FramesServeReads(PFRAMES_ADAPTER Adapter)
{
    for (;;) {
        PFRAMES_FRAME Frame = NULL;
        PIRP Irp = NULL;

        NdisAcquireSpinLock(&Adapter->FrameLock);
        if (!IsListEmpty(&Adapter->Frames))
            Irp = IoCsqRemoveNextIrp(&Adapter->ReadCsq, NULL);
        if (Irp) {
            Frame = CONTAINING_RECORD(RemoveHeadList(&Adapter->Frames), FRAMES_FRAME, Link);
            Adapter->FrameCount--;
        }
        NdisReleaseSpinLock(&Adapter->FrameLock);
        if (!Irp)
            return;
        PVOID Buffer = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority);
        ULONG Length = Frame->Length;
        if (Buffer)
            NdisMoveMemory(Buffer, Frame->Data, Length);
        ExFreeToNPagedLookasideList(&Adapter->FrameMemory, Frame);
        FramesComplete(Irp, Buffer ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES,
                       Buffer ? Length : 0);
    }
}

/* ---- sending ---- */

static VOID FramesDropQueue(PFRAMES_ADAPTER Adapter)
{
    PLIST_ENTRY Entry;

    while ((Entry = NdisInterlockedRemoveHeadList(&Adapter->Frames, &Adapter->FrameLock)) != NULL)
        ExFreeToNPagedLookasideList(&Adapter->FrameMemory,
                                    CONTAINING_RECORD(Entry, FRAMES_FRAME, Link));
    Adapter->FrameCount = 0;
}

static NDIS_STATUS FramesQueueBuffer(PFRAMES_ADAPTER Adapter, PNET_BUFFER NetBuffer)
{
    ULONG Length = NET_BUFFER_DATA_LENGTH(NetBuffer);

    if (Length < FRAMES_HEADER || Length > FRAMES_MAX)
        return NDIS_STATUS_INVALID_LENGTH;
    PFRAMES_FRAME Frame = ExAllocateFromNPagedLookasideList(&Adapter->FrameMemory);
    if (!Frame)
        return NDIS_STATUS_RESOURCES;
    PVOID Data = NdisGetDataBuffer(NetBuffer, Length, Frame->Data, 1, 0);
    if (Data && Data != Frame->Data)
        NdisMoveMemory(Frame->Data, Data, Length);
    Frame->Length = Length;
    NdisAcquireSpinLock(&Adapter->FrameLock);
    BOOLEAN IsQueued = Data && Adapter->FrameCount < FRAMES_QUEUE_LIMIT;
    if (IsQueued) {
        InsertTailList(&Adapter->Frames, &Frame->Link);
        Adapter->FrameCount++;
    }
    NdisReleaseSpinLock(&Adapter->FrameLock);
    if (!IsQueued) {
        ExFreeToNPagedLookasideList(&Adapter->FrameMemory, Frame);
        InterlockedIncrement64(&Adapter->DropsOut);
        return NDIS_STATUS_RESOURCES;
    }
    InterlockedIncrement64(&Adapter->FramesOut);
    InterlockedAdd64(&Adapter->BytesOut, Length);
    return NDIS_STATUS_SUCCESS;
}

static VOID NTAPI FramesSend(NDIS_HANDLE MiniportAdapterContext, PNET_BUFFER_LIST NetBufferLists,
                             NDIS_PORT_NUMBER PortNumber, ULONG SendFlags)
{
    PFRAMES_ADAPTER Adapter = MiniportAdapterContext;
    BOOLEAN IsRunning = FramesAcquire(Adapter);

    for (PNET_BUFFER_LIST List = NetBufferLists; List; List = NET_BUFFER_LIST_NEXT_NBL(List)) {
        NET_BUFFER_LIST_STATUS(List) = IsRunning ? NDIS_STATUS_SUCCESS : NDIS_STATUS_PAUSED;
        for (PNET_BUFFER Buffer = NET_BUFFER_LIST_FIRST_NB(List); IsRunning && Buffer;
             Buffer = NET_BUFFER_NEXT_NB(Buffer)) {
            NDIS_STATUS Status = FramesQueueBuffer(Adapter, Buffer);
            if (Status != NDIS_STATUS_SUCCESS)
                NET_BUFFER_LIST_STATUS(List) = Status;
        }
    }
    NdisMSendNetBufferListsComplete(
        Adapter->MiniportHandle, NetBufferLists,
        NDIS_TEST_SEND_AT_DISPATCH_LEVEL(SendFlags) ? NDIS_SEND_COMPLETE_FLAGS_DISPATCH_LEVEL : 0);
    if (IsRunning) {
        FramesServeReads(Adapter);
        FramesRelease(Adapter);
    }
}

static VOID NTAPI FramesCancelSend(NDIS_HANDLE MiniportAdapterContext, PVOID CancelId) {}

/* ---- receiving ---- */

static VOID FramesFreeList(PNET_BUFFER_LIST List)
{
    PMDL Mdl = NET_BUFFER_FIRST_MDL(NET_BUFFER_LIST_FIRST_NB(List));
    PVOID Data = MmGetMdlVirtualAddress(Mdl);

    NdisFreeNetBufferList(List);
    NdisFreeMdl(Mdl);
    NdisFreeMemory(Data, 0, 0);
}

static PNET_BUFFER_LIST FramesMakeList(PFRAMES_ADAPTER Adapter, const VOID *Frame, ULONG Length)
{
    PNET_BUFFER_LIST List = NULL;
    PMDL Mdl = NULL;
    PVOID Data = NdisAllocateMemoryWithTagPriority(Adapter->MiniportHandle, Length, FRAMES_TAG,
                                                   NormalPoolPriority);

    if (Data) {
        NdisMoveMemory(Data, Frame, Length);
        Mdl = NdisAllocateMdl(Adapter->MiniportHandle, Data, Length);
    }
    if (Mdl)
        List = NdisAllocateNetBufferAndNetBufferList(Adapter->NblPool, 0, 0, Mdl, 0, Length);
    if (!List) {
        if (Mdl)
            NdisFreeMdl(Mdl);
        if (Data)
            NdisFreeMemory(Data, 0, 0);
        return NULL;
    }
    List->SourceHandle = Adapter->MiniportHandle;
    return List;
}

static VOID NTAPI FramesReturn(NDIS_HANDLE MiniportAdapterContext, PNET_BUFFER_LIST NetBufferLists,
                               ULONG ReturnFlags)
{
    PFRAMES_ADAPTER Adapter = MiniportAdapterContext;

    while (NetBufferLists) {
        PNET_BUFFER_LIST Next = NET_BUFFER_LIST_NEXT_NBL(NetBufferLists);
        FramesFreeList(NetBufferLists);
        FramesRelease(Adapter);
        NetBufferLists = Next;
    }
}

/* Every eighth frame is lent for the call only. */
static VOID FramesIndicate(PFRAMES_ADAPTER Adapter, PNET_BUFFER_LIST List, ULONG Length)
{
    ULONG Flags = 0;

    if (InterlockedIncrement64(&Adapter->FramesIn) % 8 == 0)
        Flags = NDIS_RECEIVE_FLAGS_RESOURCES;
    InterlockedAdd64(&Adapter->BytesIn, Length);
    NdisMIndicateReceiveNetBufferLists(Adapter->MiniportHandle, List, NDIS_DEFAULT_PORT_NUMBER, 1,
                                       Flags);
    if (NDIS_TEST_RECEIVE_CANNOT_PEND(Flags))
        FramesReturn(Adapter, List, 0);
}

/* ---- the control device ---- */

static NTSTATUS NTAPI FramesCreateFile(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PFRAMES_ADAPTER Adapter = FramesFind(DeviceObject);

    if (!Adapter)
        return FramesComplete(Irp, STATUS_NO_SUCH_DEVICE, 0);
    IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext = Adapter;
    return FramesComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI FramesCleanupFile(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PFILE_OBJECT FileObject = IoGetCurrentIrpStackLocation(Irp)->FileObject;

    FramesFlushReads(FileObject->FsContext, FileObject, STATUS_CANCELLED);
    return FramesComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI FramesCloseFile(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    FramesDereference(IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext);
    return FramesComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI FramesRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    PFRAMES_ADAPTER Adapter = Stack->FileObject->FsContext;

    if (Stack->Parameters.Read.Length < FRAMES_MAX)
        return FramesComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    NTSTATUS Status = IoCsqInsertIrpEx(&Adapter->ReadCsq, Irp, NULL, NULL);
    if (!NT_SUCCESS(Status))
        return FramesComplete(Irp, Status, 0);
    if (FramesAcquire(Adapter)) {
        FramesServeReads(Adapter);
        FramesRelease(Adapter);
    }
    return STATUS_PENDING;
}

static NTSTATUS NTAPI FramesWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    PFRAMES_ADAPTER Adapter = Stack->FileObject->FsContext;
    ULONG Length = Stack->Parameters.Write.Length;
    KIRQL Irql;

    if (Length < FRAMES_HEADER || Length > FRAMES_MAX)
        return FramesComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    PVOID Frame = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority);
    if (!Frame)
        return FramesComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    if (!FramesAcquire(Adapter)) {
        InterlockedIncrement64(&Adapter->DropsIn);
        CsqLock(&Adapter->ReadCsq, &Irql);
        BOOLEAN IsGone = Adapter->IsGone;
        CsqUnlock(&Adapter->ReadCsq, Irql);
        return FramesComplete(Irp, IsGone ? STATUS_DEVICE_REMOVED : STATUS_DEVICE_NOT_READY, 0);
    }
    PNET_BUFFER_LIST List = FramesMakeList(Adapter, Frame, Length);
    if (List) {
        NdisInterlockedIncrement(&Adapter->Outstanding); /* goes with the list */
        FramesIndicate(Adapter, List, Length);
    }
    FramesRelease(Adapter); /* not before the call has returned */
    return FramesComplete(Irp, List ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES,
                          List ? Length : 0);
}

static NDIS_STATUS FramesRegisterDevice(PFRAMES_ADAPTER Adapter, PUNICODE_STRING InstanceId)
{
    PDRIVER_DISPATCH Dispatch[IRP_MJ_MAXIMUM_FUNCTION + 1];
    NDIS_DEVICE_OBJECT_ATTRIBUTES Attributes;
    UNICODE_STRING Name, Link;
    static const UNICODE_STRING Sddl = RTL_CONSTANT_STRING(L"D:P(A;;GA;;;SY)(A;;GA;;;BA)");

    RtlInitEmptyUnicodeString(&Name, Adapter->NameBuffer, sizeof(Adapter->NameBuffer));
    RtlInitEmptyUnicodeString(&Link, Adapter->LinkBuffer, sizeof(Adapter->LinkBuffer));
    if (!NT_SUCCESS(RtlAppendUnicodeToString(&Name, L"\\Device\\Frames")) ||
        !NT_SUCCESS(RtlAppendUnicodeStringToString(&Name, InstanceId)) ||
        !NT_SUCCESS(RtlAppendUnicodeToString(&Link, L"\\DosDevices\\Frames")) ||
        !NT_SUCCESS(RtlAppendUnicodeStringToString(&Link, InstanceId)))
        return NDIS_STATUS_INVALID_LENGTH;
    NdisZeroMemory(Dispatch, sizeof(Dispatch));
    Dispatch[IRP_MJ_CREATE] = FramesCreateFile;
    Dispatch[IRP_MJ_CLEANUP] = FramesCleanupFile;
    Dispatch[IRP_MJ_CLOSE] = FramesCloseFile;
    Dispatch[IRP_MJ_READ] = FramesRead;
    Dispatch[IRP_MJ_WRITE] = FramesWrite;
    NdisZeroMemory(&Attributes, sizeof(Attributes));
    Attributes.Header.Type = NDIS_OBJECT_TYPE_DEVICE_OBJECT_ATTRIBUTES;
    Attributes.Header.Revision = NDIS_DEVICE_OBJECT_ATTRIBUTES_REVISION_1;
    Attributes.Header.Size = NDIS_SIZEOF_DEVICE_OBJECT_ATTRIBUTES_REVISION_1;
    Attributes.DeviceName = &Name;
    Attributes.SymbolicName = &Link;
    Attributes.MajorFunctions = Dispatch;
    Attributes.DefaultSDDLString = &Sddl;
    NDIS_STATUS Status = NdisRegisterDeviceEx(DriverHandle, &Attributes, &Adapter->DeviceObject,
                                              &Adapter->DeviceHandle);
    if (Status == NDIS_STATUS_SUCCESS)
        Adapter->DeviceObject->Flags |= DO_DIRECT_IO;
    return Status;
}

/* ---- OIDs: some at once, some by a work item, some by a timer ---- */

static VOID FramesCompleteOid(PFRAMES_ADAPTER Adapter, NDIS_STATUS Status)
{
    PNDIS_OID_REQUEST Request = InterlockedExchangePointer((PVOID *)&Adapter->PendingOid, NULL);

    if (Request)
        NdisMOidRequestComplete(Adapter->MiniportHandle, Request, Status);
}

static VOID NTAPI FramesOidWork(PVOID WorkItemContext, NDIS_HANDLE NdisIoWorkItemHandle)
{
    FramesCompleteOid(WorkItemContext, NDIS_STATUS_SUCCESS);
}

static VOID NTAPI FramesOidTimer(PVOID SystemSpecific1, PVOID FunctionContext,
                                 PVOID SystemSpecific2, PVOID SystemSpecific3)
{
    FramesCompleteOid(FunctionContext, NDIS_STATUS_SUCCESS);
}

static VOID NTAPI FramesAgeTimer(PVOID SystemSpecific1, PVOID FunctionContext,
                                 PVOID SystemSpecific2, PVOID SystemSpecific3)
{
    NdisInterlockedIncrement(&((PFRAMES_ADAPTER)FunctionContext)->Age);
}

static NDIS_STATUS FramesSetOid(PFRAMES_ADAPTER Adapter, PNDIS_OID_REQUEST Request)
{
    ULONG Length = Request->DATA.SET_INFORMATION.InformationBufferLength;
    PVOID Buffer = Request->DATA.SET_INFORMATION.InformationBuffer;
    LARGE_INTEGER DueTime;

    switch (Request->DATA.SET_INFORMATION.Oid) {
    case OID_GEN_CURRENT_PACKET_FILTER:
    case OID_GEN_CURRENT_LOOKAHEAD:
        if (Length < sizeof(ULONG)) {
            Request->DATA.SET_INFORMATION.BytesNeeded = sizeof(ULONG);
            return NDIS_STATUS_INVALID_LENGTH;
        }
        Request->DATA.SET_INFORMATION.BytesRead = sizeof(ULONG);
        if (Request->DATA.SET_INFORMATION.Oid == OID_GEN_CURRENT_LOOKAHEAD) {
            Adapter->Lookahead = *(PULONG)Buffer;
            return NDIS_STATUS_SUCCESS;
        }
        Adapter->PacketFilter = *(PULONG)Buffer;
        Adapter->PendingOid = Request;
        NdisQueueIoWorkItem(Adapter->OidWork, FramesOidWork, Adapter);
        return NDIS_STATUS_PENDING;
    case OID_802_3_MULTICAST_LIST:
        Request->DATA.SET_INFORMATION.BytesNeeded = sizeof(Adapter->Multicast);
        if (Length % 6)
            return NDIS_STATUS_INVALID_LENGTH;
        if (Length > sizeof(Adapter->Multicast))
            return NDIS_STATUS_MULTICAST_FULL;
        NdisMoveMemory(Adapter->Multicast, Buffer, Length);
        Adapter->MulticastBytes = Length;
        Request->DATA.SET_INFORMATION.BytesRead = Length;
        Adapter->PendingOid = Request;
        DueTime.QuadPart = -10000; /* one millisecond from now */
        NdisSetTimerObject(Adapter->OidTimer, DueTime, 0, NULL);
        return NDIS_STATUS_PENDING;
    case OID_GEN_INTERRUPT_MODERATION:
        return NDIS_STATUS_INVALID_DATA;
    default:
        return NDIS_STATUS_NOT_SUPPORTED;
    }
}

static VOID FramesStatistics(PFRAMES_ADAPTER Adapter, PNDIS_STATISTICS_INFO Info)
{
    NdisZeroMemory(Info, sizeof(*Info));
    Info->Header.Type = NDIS_OBJECT_TYPE_DEFAULT;
    Info->Header.Revision = NDIS_STATISTICS_INFO_REVISION_1;
    Info->Header.Size = NDIS_SIZEOF_STATISTICS_INFO_REVISION_1;
    Info->SupportedStatistics =
        NDIS_STATISTICS_FLAGS_VALID_DIRECTED_FRAMES_RCV |
        NDIS_STATISTICS_FLAGS_VALID_DIRECTED_FRAMES_XMIT | NDIS_STATISTICS_FLAGS_VALID_BYTES_RCV |
        NDIS_STATISTICS_FLAGS_VALID_BYTES_XMIT | NDIS_STATISTICS_FLAGS_VALID_RCV_DISCARDS |
        NDIS_STATISTICS_FLAGS_VALID_XMIT_DISCARDS;
    Info->ifHCInUcastPkts = (ULONG64)Adapter->FramesIn;
    Info->ifHCInOctets = (ULONG64)Adapter->BytesIn;
    Info->ifInDiscards = (ULONG64)Adapter->DropsIn;
    Info->ifHCOutUcastPkts = (ULONG64)Adapter->FramesOut;
    Info->ifHCOutOctets = (ULONG64)Adapter->BytesOut;
    Info->ifOutDiscards = (ULONG64)Adapter->DropsOut;
}

static NDIS_STATUS FramesQueryOid(PFRAMES_ADAPTER Adapter, PNDIS_OID_REQUEST Request)
{
    static const char Vendor[] = "Frames";
    NDIS_INTERRUPT_MODERATION_PARAMETERS Moderation;
    NDIS_STATISTICS_INFO Statistics;
    const VOID *Answer;
    ULONG Number = 0, Length = sizeof(Number);

    Answer = &Number;
    switch (Request->DATA.QUERY_INFORMATION.Oid) {
    case OID_GEN_SUPPORTED_LIST:
        Answer = SupportedOids;
        Length = sizeof(SupportedOids);
        break;
    case OID_GEN_TRANSMIT_BUFFER_SPACE:
    case OID_GEN_RECEIVE_BUFFER_SPACE:
        Number = FRAMES_MAX * FRAMES_QUEUE_LIMIT;
        break;
    case OID_GEN_TRANSMIT_BLOCK_SIZE:
    case OID_GEN_RECEIVE_BLOCK_SIZE:
    case OID_GEN_MAXIMUM_TOTAL_SIZE:
        Number = FRAMES_MAX;
        break;
    case OID_GEN_VENDOR_ID:
        Number = 0x00FFFFFF;
        break;
    case OID_GEN_VENDOR_DESCRIPTION:
        Answer = Vendor;
        Length = sizeof(Vendor);
        break;
    case OID_GEN_VENDOR_DRIVER_VERSION:
        Number = 0x00010000;
        break;
    case OID_GEN_CURRENT_PACKET_FILTER:
        Number = Adapter->PacketFilter;
        break;
    case OID_GEN_CURRENT_LOOKAHEAD:
        Number = Adapter->Lookahead;
        break;
    case OID_GEN_STATISTICS:
        FramesStatistics(Adapter, &Statistics);
        Answer = &Statistics;
        Length = NDIS_SIZEOF_STATISTICS_INFO_REVISION_1;
        break;
    case OID_GEN_INTERRUPT_MODERATION:
        NdisZeroMemory(&Moderation, sizeof(Moderation));
        Moderation.Header.Type = NDIS_OBJECT_TYPE_DEFAULT;
        Moderation.Header.Revision = NDIS_INTERRUPT_MODERATION_PARAMETERS_REVISION_1;
        Moderation.Header.Size = NDIS_SIZEOF_INTERRUPT_MODERATION_PARAMETERS_REVISION_1;
        Moderation.InterruptModeration = NdisInterruptModerationNotSupported;
        Answer = &Moderation;
        Length = NDIS_SIZEOF_INTERRUPT_MODERATION_PARAMETERS_REVISION_1;
        break;
    case OID_802_3_PERMANENT_ADDRESS:
        Answer = Adapter->PermanentAddress;
        Length = 6;
        break;
    case OID_802_3_CURRENT_ADDRESS:
        Answer = Adapter->CurrentAddress;
        Length = 6;
        break;
    case OID_802_3_MULTICAST_LIST:
        Answer = Adapter->Multicast;
        Length = Adapter->MulticastBytes;
        break;
    case OID_802_3_MAXIMUM_LIST_SIZE:
        Number = FRAMES_MULTICASTS;
        break;
    default:
        return NDIS_STATUS_NOT_SUPPORTED;
    }
    if (Request->DATA.QUERY_INFORMATION.InformationBufferLength < Length) {
        Request->DATA.QUERY_INFORMATION.BytesNeeded = Length;
        Request->DATA.QUERY_INFORMATION.BytesWritten = 0;
        return NDIS_STATUS_BUFFER_TOO_SHORT;
    }
    NdisMoveMemory(Request->DATA.QUERY_INFORMATION.InformationBuffer, Answer, Length);
    Request->DATA.QUERY_INFORMATION.BytesWritten = Length;
    return NDIS_STATUS_SUCCESS;
}

static NDIS_STATUS NTAPI FramesOid(NDIS_HANDLE MiniportAdapterContext, PNDIS_OID_REQUEST OidRequest)
{
    switch (OidRequest->RequestType) {
    case NdisRequestSetInformation:
        return FramesSetOid(MiniportAdapterContext, OidRequest);
    case NdisRequestQueryInformation:
    case NdisRequestQueryStatistics:
        return FramesQueryOid(MiniportAdapterContext, OidRequest);
    default:
        return NDIS_STATUS_NOT_SUPPORTED;
    }
}

static VOID NTAPI FramesCancelOid(NDIS_HANDLE MiniportAdapterContext, PVOID RequestId)
{
    PFRAMES_ADAPTER Adapter = MiniportAdapterContext;
    PNDIS_OID_REQUEST Request = Adapter->PendingOid;

    if (Request && Request->RequestId == RequestId && NdisCancelTimerObject(Adapter->OidTimer))
        FramesCompleteOid(Adapter, NDIS_STATUS_REQUEST_ABORTED);
}

/* ---- birth, pause, and end ---- */

static VOID FramesReadConfiguration(PFRAMES_ADAPTER Adapter, NDIS_HANDLE Configuration)
{
    NDIS_STATUS Status;
    PVOID Address;
    UINT Length;

    NdisMoveMemory(Adapter->CurrentAddress, Adapter->PermanentAddress, 6);
    NdisReadNetworkAddress(&Status, &Address, &Length, Configuration);
    if (Status == NDIS_STATUS_SUCCESS && Length == 6 && !(*(PUCHAR)Address & 1))
        NdisMoveMemory(Adapter->CurrentAddress, Address, 6);
}

static NDIS_STATUS FramesConfigure(PFRAMES_ADAPTER Adapter)
{
    NDIS_STRING Keyword = NDIS_STRING_CONST("NetCfgInstanceId");
    PNDIS_CONFIGURATION_PARAMETER Parameter;
    NDIS_CONFIGURATION_OBJECT Object;
    NDIS_HANDLE Configuration;

    NdisZeroMemory(&Object, sizeof(Object));
    Object.Header.Type = NDIS_OBJECT_TYPE_CONFIGURATION_OBJECT;
    Object.Header.Revision = NDIS_CONFIGURATION_OBJECT_REVISION_1;
    Object.Header.Size = sizeof(Object);
    Object.NdisHandle = Adapter->MiniportHandle;
    NDIS_STATUS Status = NdisOpenConfigurationEx(&Object, &Configuration);
    if (Status != NDIS_STATUS_SUCCESS)
        return Status;
    FramesReadConfiguration(Adapter, Configuration);
    NdisReadConfiguration(&Status, &Parameter, Configuration, &Keyword, NdisParameterString);
    if (Status == NDIS_STATUS_SUCCESS)
        Status = FramesRegisterDevice(Adapter, &Parameter->ParameterData.StringData);
    NdisCloseConfiguration(Configuration);
    return Status;
}

static NDIS_STATUS FramesSetAttributes(PFRAMES_ADAPTER Adapter)
{
    NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES Registration;
    NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES General;

    NdisZeroMemory(&Registration, sizeof(Registration));
    Registration.Header.Type = NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES;
    Registration.Header.Revision = NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1;
    Registration.Header.Size = NDIS_SIZEOF_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1;
    Registration.MiniportAdapterContext = Adapter;
    Registration.AttributeFlags =
        NDIS_MINIPORT_ATTRIBUTES_SURPRISE_REMOVE_OK | NDIS_MINIPORT_ATTRIBUTES_NDIS_WDM;
    Registration.InterfaceType = NdisInterfaceInternal;
    NDIS_STATUS Status = NdisMSetMiniportAttributes(
        Adapter->MiniportHandle, (PNDIS_MINIPORT_ADAPTER_ATTRIBUTES)&Registration);
    if (Status != NDIS_STATUS_SUCCESS)
        return Status;
    NdisZeroMemory(&General, sizeof(General));
    General.Header.Type = NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES;
    General.Header.Revision = NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2;
    General.Header.Size = NDIS_SIZEOF_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2;
    General.MediaType = NdisMedium802_3;
    General.PhysicalMediumType = NdisPhysicalMediumUnspecified;
    General.MtuSize = FRAMES_MTU;
    General.MaxXmitLinkSpeed = General.XmitLinkSpeed = FRAMES_SPEED;
    General.MaxRcvLinkSpeed = General.RcvLinkSpeed = FRAMES_SPEED;
    General.MediaConnectState = MediaConnectStateConnected;
    General.MediaDuplexState = MediaDuplexStateFull;
    General.LookaheadSize = FRAMES_MTU;
    General.MacOptions = NDIS_MAC_OPTION_COPY_LOOKAHEAD_DATA | NDIS_MAC_OPTION_NO_LOOPBACK |
                         NDIS_MAC_OPTION_TRANSFERS_NOT_PEND;
    General.SupportedPacketFilters = NDIS_PACKET_TYPE_DIRECTED | NDIS_PACKET_TYPE_MULTICAST |
                                     NDIS_PACKET_TYPE_ALL_MULTICAST | NDIS_PACKET_TYPE_BROADCAST |
                                     NDIS_PACKET_TYPE_PROMISCUOUS;
    General.MaxMulticastListSize = FRAMES_MULTICASTS;
    General.MacAddressLength = 6;
    NdisMoveMemory(General.PermanentMacAddress, Adapter->PermanentAddress, 6);
    NdisMoveMemory(General.CurrentMacAddress, Adapter->CurrentAddress, 6);
    General.AccessType = NET_IF_ACCESS_BROADCAST;
    General.DirectionType = NET_IF_DIRECTION_SENDRECEIVE;
    General.ConnectionType = NET_IF_CONNECTION_DEDICATED;
    General.IfType = IF_TYPE_ETHERNET_CSMACD;
    General.IfConnectorPresent = FALSE;
    General.SupportedOidList = SupportedOids;
    General.SupportedOidListLength = sizeof(SupportedOids);
    return NdisMSetMiniportAttributes(Adapter->MiniportHandle,
                                      (PNDIS_MINIPORT_ADAPTER_ATTRIBUTES)&General);
}

static NDIS_STATUS FramesMakeTimer(PFRAMES_ADAPTER Adapter, PNDIS_TIMER_FUNCTION Function,
                                   PNDIS_HANDLE Timer)
{
    NDIS_TIMER_CHARACTERISTICS Characteristics;

    NdisZeroMemory(&Characteristics, sizeof(Characteristics));
    Characteristics.Header.Type = NDIS_OBJECT_TYPE_TIMER_CHARACTERISTICS;
    Characteristics.Header.Revision = NDIS_TIMER_CHARACTERISTICS_REVISION_1;
    Characteristics.Header.Size = NDIS_SIZEOF_TIMER_CHARACTERISTICS_REVISION_1;
    Characteristics.AllocationTag = FRAMES_TAG;
    Characteristics.TimerFunction = Function;
    Characteristics.FunctionContext = Adapter;
    return NdisAllocateTimerObject(Adapter->MiniportHandle, &Characteristics, Timer);
}

static NDIS_STATUS FramesAllocate(PFRAMES_ADAPTER Adapter)
{
    NET_BUFFER_LIST_POOL_PARAMETERS Pool;

    NdisZeroMemory(&Pool, sizeof(Pool));
    Pool.Header.Type = NDIS_OBJECT_TYPE_DEFAULT;
    Pool.Header.Revision = NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1;
    Pool.Header.Size = NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1;
    Pool.ProtocolId = NDIS_PROTOCOL_ID_DEFAULT;
    Pool.fAllocateNetBuffer = TRUE;
    Pool.PoolTag = FRAMES_TAG;
    Adapter->NblPool = NdisAllocateNetBufferListPool(Adapter->MiniportHandle, &Pool);
    Adapter->StateLock = NdisAllocateRWLock(DriverHandle); /* files ask after the end */
    Adapter->OidWork = NdisAllocateIoWorkItem(Adapter->MiniportHandle);
    if (!Adapter->NblPool || !Adapter->StateLock || !Adapter->OidWork)
        return NDIS_STATUS_RESOURCES;
    NDIS_STATUS Status = FramesMakeTimer(Adapter, FramesOidTimer, &Adapter->OidTimer);
    if (Status == NDIS_STATUS_SUCCESS)
        Status = FramesMakeTimer(Adapter, FramesAgeTimer, &Adapter->AgeTimer);
    return Status;
}

/* Whatever initialisation has got so far. Files may stay open: they see an adapter that is gone. */
static VOID FramesTearDown(PFRAMES_ADAPTER Adapter)
{
    KIRQL Irql;

    CsqLock(&Adapter->ReadCsq, &Irql);
    Adapter->IsGone = TRUE;
    CsqUnlock(&Adapter->ReadCsq, Irql);
    FramesFlushReads(Adapter, NULL, STATUS_DEVICE_REMOVED);
    FramesDropQueue(Adapter);
    ExDeleteNPagedLookasideList(&Adapter->FrameMemory);
    if (Adapter->AgeTimer) {
        NdisCancelTimerObject(Adapter->AgeTimer);
        KeFlushQueuedDpcs(); /* it may be running */
        NdisFreeTimerObject(Adapter->AgeTimer);
    }
    if (Adapter->OidTimer)
        NdisFreeTimerObject(Adapter->OidTimer);
    if (Adapter->OidWork)
        NdisFreeIoWorkItem(Adapter->OidWork);
    if (Adapter->NblPool)
        NdisFreeNetBufferListPool(Adapter->NblPool);
    FramesDereference(Adapter);
}

static PFRAMES_ADAPTER FramesAllocateAdapter(NDIS_HANDLE MiniportHandle, NET_LUID Luid)
{
    PFRAMES_ADAPTER Adapter = NULL;

    if (NdisAllocateMemoryWithTag((PVOID *)&Adapter, sizeof(*Adapter), FRAMES_TAG) !=
        NDIS_STATUS_SUCCESS)
        return NULL;
    NdisZeroMemory(Adapter, sizeof(*Adapter));
    Adapter->RefCount = 1;
    Adapter->MiniportHandle = MiniportHandle;
    Adapter->Lookahead = FRAMES_MTU;
    Adapter->PermanentAddress[0] = 0x02; /* locally administered */
    Adapter->PermanentAddress[1] = 0x46;
    Adapter->PermanentAddress[2] = 0x52;
    Adapter->PermanentAddress[4] = (UCHAR)(Luid.Info.NetLuidIndex >> 8);
    Adapter->PermanentAddress[5] = (UCHAR)Luid.Info.NetLuidIndex;
    NdisAllocateSpinLock(&Adapter->FrameLock);
    KeInitializeSpinLock(&Adapter->ReadLock);
    InitializeListHead(&Adapter->Frames);
    InitializeListHead(&Adapter->Reads);
    ExInitializeNPagedLookasideList(&Adapter->FrameMemory, NULL, NULL, 0, sizeof(FRAMES_FRAME),
                                    FRAMES_TAG, 0);
    IoCsqInitializeEx(&Adapter->ReadCsq, CsqInsert, CsqRemove, CsqPeek, CsqLock, CsqUnlock,
                      CsqCanceled);
    return Adapter;
}

static NDIS_STATUS NTAPI FramesInitialize(NDIS_HANDLE NdisMiniportHandle,
                                          NDIS_HANDLE MiniportDriverContext,
                                          PNDIS_MINIPORT_INIT_PARAMETERS Parameters)
{
    PFRAMES_ADAPTER Adapter = FramesAllocateAdapter(NdisMiniportHandle, Parameters->NetLuid);
    LARGE_INTEGER DueTime;

    if (!Adapter)
        return NDIS_STATUS_RESOURCES;
    NDIS_STATUS Status = FramesAllocate(Adapter);
    if (Status == NDIS_STATUS_SUCCESS)
        Status = FramesConfigure(Adapter);
    if (Status == NDIS_STATUS_SUCCESS)
        Status = FramesSetAttributes(Adapter);
    if (Status != NDIS_STATUS_SUCCESS) {
        if (Adapter->DeviceHandle)
            NdisDeregisterDeviceEx(Adapter->DeviceHandle);
        FramesTearDown(Adapter);
        return Status;
    }
    DueTime.QuadPart = -100 * 10000LL;
    NdisSetTimerObject(Adapter->AgeTimer, DueTime, 100, Adapter);
    NdisAcquireSpinLock(&GlobalLock);
    InsertTailList(&Adapters, &Adapter->Link);
    NdisReleaseSpinLock(&GlobalLock);
    return NDIS_STATUS_SUCCESS;
}

static VOID NTAPI FramesHalt(NDIS_HANDLE MiniportAdapterContext, NDIS_HALT_ACTION HaltAction)
{
    PFRAMES_ADAPTER Adapter = MiniportAdapterContext;

    NdisAcquireSpinLock(&GlobalLock);
    RemoveEntryList(&Adapter->Link);
    NdisReleaseSpinLock(&GlobalLock);
    NdisDeregisterDeviceEx(Adapter->DeviceHandle);
    FramesTearDown(Adapter);
}

static NDIS_STATUS NTAPI FramesPause(NDIS_HANDLE MiniportAdapterContext,
                                     PNDIS_MINIPORT_PAUSE_PARAMETERS PauseParameters)
{
    PFRAMES_ADAPTER Adapter = MiniportAdapterContext;
    LOCK_STATE_EX LockState;

    NdisAcquireRWLockWrite(Adapter->StateLock, &LockState, 0);
    Adapter->State = FramesPausing;
    BOOLEAN IsLast = NdisInterlockedDecrement(&Adapter->Outstanding) == 0;
    if (IsLast)
        Adapter->State = FramesPaused;
    NdisReleaseRWLock(Adapter->StateLock, &LockState);
    return IsLast ? NDIS_STATUS_SUCCESS : NDIS_STATUS_PENDING;
}

static NDIS_STATUS NTAPI FramesRestart(NDIS_HANDLE MiniportAdapterContext,
                                       PNDIS_MINIPORT_RESTART_PARAMETERS RestartParameters)
{
    PFRAMES_ADAPTER Adapter = MiniportAdapterContext;
    LOCK_STATE_EX LockState;

    NdisAcquireRWLockWrite(Adapter->StateLock, &LockState, 0);
    NdisInterlockedIncrement(&Adapter->Outstanding);
    Adapter->State = FramesRunning;
    NdisReleaseRWLock(Adapter->StateLock, &LockState);
    FramesServeReads(Adapter);
    return NDIS_STATUS_SUCCESS;
}

static VOID NTAPI FramesPnpEvent(NDIS_HANDLE MiniportAdapterContext,
                                 PNET_DEVICE_PNP_EVENT NetDevicePnPEvent)
{
    PFRAMES_ADAPTER Adapter = MiniportAdapterContext;
    KIRQL Irql;

    if (NetDevicePnPEvent->DevicePnPEvent != NdisDevicePnPEventSurpriseRemoved)
        return;
    CsqLock(&Adapter->ReadCsq, &Irql);
    Adapter->IsGone = TRUE;
    CsqUnlock(&Adapter->ReadCsq, Irql);
    FramesFlushReads(Adapter, NULL, STATUS_DEVICE_REMOVED);
}

static VOID NTAPI FramesShutdown(NDIS_HANDLE MiniportAdapterContext,
                                 NDIS_SHUTDOWN_ACTION ShutdownAction)
{
}

static VOID NTAPI FramesUnload(PDRIVER_OBJECT DriverObject)
{
    NdisMDeregisterMiniportDriver(DriverHandle);
    NdisFreeSpinLock(&GlobalLock);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NDIS_MINIPORT_DRIVER_CHARACTERISTICS Characteristics;

    NdisAllocateSpinLock(&GlobalLock);
    InitializeListHead(&Adapters);
    NdisZeroMemory(&Characteristics, sizeof(Characteristics));
    Characteristics.Header.Type = NDIS_OBJECT_TYPE_MINIPORT_DRIVER_CHARACTERISTICS;
    Characteristics.Header.Revision = NDIS_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2;
    Characteristics.Header.Size = NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2;
    Characteristics.MajorNdisVersion = 6;
    Characteristics.MinorNdisVersion = 30;
    Characteristics.MajorDriverVersion = 1;
    Characteristics.InitializeHandlerEx = FramesInitialize;
    Characteristics.HaltHandlerEx = FramesHalt;
    Characteristics.UnloadHandler = FramesUnload;
    Characteristics.PauseHandler = FramesPause;
    Characteristics.RestartHandler = FramesRestart;
    Characteristics.OidRequestHandler = FramesOid;
    Characteristics.SendNetBufferListsHandler = FramesSend;
    Characteristics.ReturnNetBufferListsHandler = FramesReturn;
    Characteristics.CancelSendHandler = FramesCancelSend;
    Characteristics.DevicePnPEventNotifyHandler = FramesPnpEvent;
    Characteristics.ShutdownHandlerEx = FramesShutdown;
    Characteristics.CancelOidRequestHandler = FramesCancelOid;
    NDIS_STATUS Status = NdisMRegisterMiniportDriver(DriverObject, RegistryPath, NULL,
                                                     &Characteristics, &DriverHandle);
    if (Status != NDIS_STATUS_SUCCESS)
        NdisFreeSpinLock(&GlobalLock);
    return Status;
}
