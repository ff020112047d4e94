/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The smallest useful NDIS 6 miniport, for tests of the edges: a network in which every address
 * answers. Each packet it is given comes back with its addresses exchanged, echo requests as
 * replies. OID 0xFFFA0001 (ULONG) makes it indicate its link as up or down, and changes nothing
 * else.
 */
#include <ndis.h>

enum { TAG = 0x7272694D, MTU = 65535, OID_MIRROR_LINK = (int)0xFFFA0001 };

typedef struct MIRROR {
    NDIS_HANDLE Handle, Lists;
    LONG volatile Outstanding; /* lists in the stack, plus one while running */
    LONG volatile IsRunning;
    KEVENT Idle;
    NDIS_STATISTICS_INFO Statistics;
} MIRROR;

static NDIS_HANDLE Registration;

static MINIPORT_INITIALIZE MirrorInitialize;
static MINIPORT_HALT MirrorHalt;
static MINIPORT_UNLOAD MirrorUnload;
static MINIPORT_PAUSE MirrorPause;
static MINIPORT_RESTART MirrorRestart;
static MINIPORT_OID_REQUEST MirrorOid;
static MINIPORT_SEND_NET_BUFFER_LISTS MirrorSend;
static MINIPORT_RETURN_NET_BUFFER_LISTS MirrorReturn;
static MINIPORT_CANCEL_SEND MirrorCancelSend;
static MINIPORT_DEVICE_PNP_EVENT_NOTIFY MirrorPnpEvent;
static MINIPORT_SHUTDOWN MirrorShutdown;
static MINIPORT_CANCEL_OID_REQUEST MirrorCancelOid;
DRIVER_INITIALIZE DriverEntry;

static VOID Swap(UCHAR *A, UCHAR *B, ULONG Bytes)
{
    for (ULONG i = 0; i < Bytes; i++) {
        UCHAR Kept = A[i];
        A[i] = B[i];
        B[i] = Kept;
    }
}

/* RFC 1624, for a change of the first byte of an ICMP message. */
static VOID Reply(UCHAR *Icmp, UCHAR From, UCHAR To)
{
    if (Icmp[0] != From)
        return;
    ULONG Sum = (ULONG)(~(Icmp[2] << 8 | Icmp[3]) & 0xFFFF) + (~((ULONG)From << 8) & 0xFFFF) +
                ((ULONG)To << 8);
    Sum = (Sum & 0xFFFF) + (Sum >> 16);
    Sum = ~((Sum & 0xFFFF) + (Sum >> 16));
    Icmp[0] = To;
    Icmp[2] = (UCHAR)(Sum >> 8);
    Icmp[3] = (UCHAR)Sum;
}

static VOID Turn(UCHAR *Packet, ULONG Bytes)
{
    if (Packet[0] == 0x45 && Bytes >= 28) {
        Swap(Packet + 12, Packet + 16, 4);
        if (Packet[9] == 1)
            Reply(Packet + 20, 8, 0);
    } else if (Packet[0] >> 4 == 6 && Bytes >= 48) {
        Swap(Packet + 8, Packet + 24, 16);
        if (Packet[6] == 58)
            Reply(Packet + 40, 128, 129);
    }
}

static VOID FreeList(NET_BUFFER_LIST *List)
{
    MDL *Mdl = NET_BUFFER_FIRST_MDL(NET_BUFFER_LIST_FIRST_NB(List));
    PVOID Data = MmGetMdlVirtualAddress(Mdl);

    NdisFreeNetBufferList(List);
    IoFreeMdl(Mdl);
    ExFreePoolWithTag(Data, TAG);
}

/* A list with a copy of the packet; NULL when there is no memory or no packet. */
static NET_BUFFER_LIST *Copy(MIRROR *Mirror, NET_BUFFER *Buffer)
{
    ULONG Bytes = NET_BUFFER_DATA_LENGTH(Buffer);
    UCHAR *Data = Bytes ? ExAllocatePoolWithTag(NonPagedPool, Bytes, TAG) : NULL;
    MDL *Mdl = Data ? IoAllocateMdl(Data, Bytes, FALSE, FALSE, NULL) : NULL;
    NET_BUFFER_LIST *List = NULL;

    if (Mdl) {
        UCHAR *From = NdisGetDataBuffer(Buffer, Bytes, Data, 1, 0);
        if (From && From != Data)
            RtlCopyMemory(Data, From, Bytes);
        MmBuildMdlForNonPagedPool(Mdl);
        Turn(Data, Bytes);
        List = NdisAllocateNetBufferAndNetBufferList(Mirror->Lists, 0, 0, Mdl, 0, Bytes);
    }
    if (List) {
        List->SourceHandle = Mirror->Handle;
        NET_BUFFER_LIST_INFO(List, NetBufferListFrameType) =
            (PVOID)(ULONG_PTR)(Data[0] >> 4 == 6 ? 0xDD86 : 0x0008);
        return List;
    }
    if (Mdl)
        IoFreeMdl(Mdl);
    if (Data)
        ExFreePoolWithTag(Data, TAG);
    return NULL;
}

static VOID Release(MIRROR *Mirror, LONG Count)
{
    if (InterlockedAdd(&Mirror->Outstanding, -Count) == 0)
        KeSetEvent(&Mirror->Idle, IO_NO_INCREMENT, FALSE);
}

static VOID MirrorBack(MIRROR *Mirror, NET_BUFFER *Buffer, ULONG SendFlags)
{
    ULONG Flags =
        SendFlags & NDIS_SEND_FLAGS_DISPATCH_LEVEL ? NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL : 0;
    NET_BUFFER_LIST *List = Copy(Mirror, Buffer);

    Mirror->Statistics.ifHCOutUcastPkts++; /* good enough for one sender */
    Mirror->Statistics.ifHCOutOctets += NET_BUFFER_DATA_LENGTH(Buffer);
    if (!List)
        return;
    Mirror->Statistics.ifHCInUcastPkts++;
    Mirror->Statistics.ifHCInOctets += NET_BUFFER_DATA_LENGTH(Buffer);
    InterlockedIncrement(&Mirror->Outstanding);
    NdisMIndicateReceiveNetBufferLists(Mirror->Handle, List, NDIS_DEFAULT_PORT_NUMBER, 1, Flags);
}

static VOID NTAPI MirrorSend(NDIS_HANDLE Context, PNET_BUFFER_LIST Lists, NDIS_PORT_NUMBER Port,
                             ULONG Flags)
{
    MIRROR *Mirror = Context;

    InterlockedIncrement(&Mirror->Outstanding);
    BOOLEAN IsRunning = Mirror->IsRunning != 0;
    for (NET_BUFFER_LIST *List = Lists; List; List = NET_BUFFER_LIST_NEXT_NBL(List)) {
        for (NET_BUFFER *Buffer = NET_BUFFER_LIST_FIRST_NB(List); IsRunning && Buffer;
             Buffer = NET_BUFFER_NEXT_NB(Buffer))
            MirrorBack(Mirror, Buffer, Flags);
        NET_BUFFER_LIST_STATUS(List) = IsRunning ? NDIS_STATUS_SUCCESS : NDIS_STATUS_PAUSED;
    }
    NdisMSendNetBufferListsComplete(
        Mirror->Handle, Lists,
        Flags & NDIS_SEND_FLAGS_DISPATCH_LEVEL ? NDIS_SEND_COMPLETE_FLAGS_DISPATCH_LEVEL : 0);
    Release(Mirror, 1);
}

static VOID NTAPI MirrorReturn(NDIS_HANDLE Context, PNET_BUFFER_LIST Lists, ULONG Flags)
{
    MIRROR *Mirror = Context;
    LONG Count = 0;

    for (NET_BUFFER_LIST *Next; Lists; Lists = Next, Count++) {
        Next = NET_BUFFER_LIST_NEXT_NBL(Lists);
        FreeList(Lists);
    }
    Release(Mirror, Count);
}

static NDIS_STATUS NTAPI MirrorPause(NDIS_HANDLE Context,
                                     PNDIS_MINIPORT_PAUSE_PARAMETERS Parameters)
{
    MIRROR *Mirror = Context;

    Mirror->IsRunning = FALSE;
    Release(Mirror, 1);
    KeWaitForSingleObject(&Mirror->Idle, Executive, KernelMode, FALSE, NULL);
    return NDIS_STATUS_SUCCESS;
}

static NDIS_STATUS NTAPI MirrorRestart(NDIS_HANDLE Context,
                                       PNDIS_MINIPORT_RESTART_PARAMETERS Parameters)
{
    MIRROR *Mirror = Context;

    KeClearEvent(&Mirror->Idle);
    InterlockedIncrement(&Mirror->Outstanding);
    Mirror->IsRunning = TRUE;
    return NDIS_STATUS_SUCCESS;
}

static VOID IndicateLink(MIRROR *Mirror, BOOLEAN IsUp)
{
    NDIS_LINK_STATE Link = {
        .Header = {.Type = NDIS_OBJECT_TYPE_DEFAULT,
                   .Revision = NDIS_LINK_STATE_REVISION_1,
                   .Size = NDIS_SIZEOF_LINK_STATE_REVISION_1},
        .MediaConnectState = IsUp ? MediaConnectStateConnected : MediaConnectStateDisconnected,
        .MediaDuplexState = MediaDuplexStateFull,
        .XmitLinkSpeed = 1000000000,
        .RcvLinkSpeed = 1000000000,
    };
    NDIS_STATUS_INDICATION Indication = {
        .Header = {.Type = NDIS_OBJECT_TYPE_STATUS_INDICATION,
                   .Revision = NDIS_STATUS_INDICATION_REVISION_1,
                   .Size = NDIS_SIZEOF_STATUS_INDICATION_REVISION_1},
        .SourceHandle = Mirror->Handle,
        .StatusCode = NDIS_STATUS_LINK_STATE,
        .StatusBuffer = &Link,
        .StatusBufferSize = sizeof(Link),
    };

    NdisMIndicateStatusEx(Mirror->Handle, &Indication);
}

static NDIS_STATUS NTAPI MirrorOid(NDIS_HANDLE Context, PNDIS_OID_REQUEST Request)
{
    MIRROR *Mirror = Context;
    NDIS_OID Oid = Request->DATA.QUERY_INFORMATION.Oid;

    if (Request->RequestType == NdisRequestSetInformation && Oid == (NDIS_OID)OID_MIRROR_LINK) {
        IndicateLink(Mirror, *(ULONG *)Request->DATA.SET_INFORMATION.InformationBuffer != 0);
        Request->DATA.SET_INFORMATION.BytesRead = sizeof(ULONG);
        return NDIS_STATUS_SUCCESS;
    }
    if (Request->RequestType == NdisRequestSetInformation && Oid == OID_GEN_CURRENT_PACKET_FILTER) {
        Request->DATA.SET_INFORMATION.BytesRead = sizeof(ULONG);
        return NDIS_STATUS_SUCCESS;
    }
    if (Request->RequestType == NdisRequestSetInformation || Oid != OID_GEN_STATISTICS)
        return NDIS_STATUS_NOT_SUPPORTED;
    if (Request->DATA.QUERY_INFORMATION.InformationBufferLength < sizeof(Mirror->Statistics)) {
        Request->DATA.QUERY_INFORMATION.BytesNeeded = sizeof(Mirror->Statistics);
        return NDIS_STATUS_BUFFER_TOO_SHORT;
    }
    RtlCopyMemory(Request->DATA.QUERY_INFORMATION.InformationBuffer, &Mirror->Statistics,
                  sizeof(Mirror->Statistics));
    Request->DATA.QUERY_INFORMATION.BytesWritten = sizeof(Mirror->Statistics);
    return NDIS_STATUS_SUCCESS;
}

static NDIS_STATUS SetAttributes(MIRROR *Mirror)
{
    static NDIS_OID Oids[] = {OID_GEN_STATISTICS, OID_GEN_CURRENT_PACKET_FILTER};
    NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES Register = {
        .Header = {.Type = NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES,
                   .Revision = NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1,
                   .Size = NDIS_SIZEOF_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1},
        .MiniportAdapterContext = Mirror,
        .AttributeFlags =
            NDIS_MINIPORT_ATTRIBUTES_NDIS_WDM | NDIS_MINIPORT_ATTRIBUTES_SURPRISE_REMOVE_OK,
        .InterfaceType = NdisInterfaceInternal,
    };
    NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES General = {
        .Header = {.Type = NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES,
                   .Revision = NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2,
                   .Size = NDIS_SIZEOF_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2},
        .MediaType = NdisMediumIP,
        .PhysicalMediumType = NdisPhysicalMediumUnspecified,
        .MtuSize = MTU,
        .MaxXmitLinkSpeed = 1000000000,
        .XmitLinkSpeed = 1000000000,
        .MaxRcvLinkSpeed = 1000000000,
        .RcvLinkSpeed = 1000000000,
        .MediaConnectState = MediaConnectStateConnected,
        .MediaDuplexState = MediaDuplexStateFull,
        .LookaheadSize = MTU,
        .MacOptions = NDIS_MAC_OPTION_TRANSFERS_NOT_PEND | NDIS_MAC_OPTION_COPY_LOOKAHEAD_DATA |
                      NDIS_MAC_OPTION_NO_LOOPBACK,
        .SupportedPacketFilters = NDIS_PACKET_TYPE_DIRECTED | NDIS_PACKET_TYPE_ALL_MULTICAST |
                                  NDIS_PACKET_TYPE_BROADCAST | NDIS_PACKET_TYPE_PROMISCUOUS,
        .AccessType = NET_IF_ACCESS_BROADCAST,
        .DirectionType = NET_IF_DIRECTION_SENDRECEIVE,
        .ConnectionType = NET_IF_CONNECTION_DEDICATED,
        .IfType = IF_TYPE_PROP_VIRTUAL,
        .SupportedOidList = Oids,
        .SupportedOidListLength = sizeof(Oids),
    };
    NDIS_STATUS Status =
        NdisMSetMiniportAttributes(Mirror->Handle, (NDIS_MINIPORT_ADAPTER_ATTRIBUTES *)&Register);

    return Status != NDIS_STATUS_SUCCESS
               ? Status
               : NdisMSetMiniportAttributes(Mirror->Handle,
                                            (NDIS_MINIPORT_ADAPTER_ATTRIBUTES *)&General);
}

static VOID Destroy(MIRROR *Mirror)
{
    if (Mirror && Mirror->Lists)
        NdisFreeNetBufferListPool(Mirror->Lists);
    if (Mirror)
        ExFreePoolWithTag(Mirror, TAG);
}

static NDIS_STATUS NTAPI MirrorInitialize(NDIS_HANDLE Handle, NDIS_HANDLE DriverContext,
                                          PNDIS_MINIPORT_INIT_PARAMETERS Parameters)
{
    MIRROR *Mirror = ExAllocatePoolWithTag(NonPagedPool, sizeof(*Mirror), TAG);
    NET_BUFFER_LIST_POOL_PARAMETERS Pool = {
        .Header = {.Type = NDIS_OBJECT_TYPE_DEFAULT,
                   .Revision = NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1,
                   .Size = NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1},
        .fAllocateNetBuffer = TRUE,
        .PoolTag = TAG,
    };

    if (!Mirror)
        return NDIS_STATUS_RESOURCES;
    RtlZeroMemory(Mirror, sizeof(*Mirror));
    Mirror->Handle = Handle;
    Mirror->Statistics.Header.Type = NDIS_OBJECT_TYPE_DEFAULT;
    Mirror->Statistics.Header.Revision = NDIS_STATISTICS_INFO_REVISION_1;
    Mirror->Statistics.Header.Size = NDIS_SIZEOF_STATISTICS_INFO_REVISION_1;
    KeInitializeEvent(&Mirror->Idle, NotificationEvent, FALSE);
    Mirror->Lists = NdisAllocateNetBufferListPool(Handle, &Pool);
    NDIS_STATUS Status = Mirror->Lists ? SetAttributes(Mirror) : NDIS_STATUS_RESOURCES;
    if (Status != NDIS_STATUS_SUCCESS)
        Destroy(Mirror);
    return Status;
}

static VOID NTAPI MirrorHalt(NDIS_HANDLE Context, NDIS_HALT_ACTION Action)
{
    Destroy(Context);
}

static VOID NTAPI MirrorCancelSend(NDIS_HANDLE Context, PVOID CancelId) {}

static VOID NTAPI MirrorPnpEvent(NDIS_HANDLE Context, PNET_DEVICE_PNP_EVENT Event) {}

static VOID NTAPI MirrorShutdown(NDIS_HANDLE Context, NDIS_SHUTDOWN_ACTION Action) {}

static VOID NTAPI MirrorCancelOid(NDIS_HANDLE Context, PVOID RequestId) {}

static VOID NTAPI MirrorUnload(PDRIVER_OBJECT Driver)
{
    NdisMDeregisterMiniportDriver(Registration);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NDIS_MINIPORT_DRIVER_CHARACTERISTICS Characteristics = {
        .Header = {.Type = NDIS_OBJECT_TYPE_MINIPORT_DRIVER_CHARACTERISTICS,
                   .Revision = NDIS_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2,
                   .Size = NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2},
        .MajorNdisVersion = 6,
        .MinorNdisVersion = 20,
        .MajorDriverVersion = 1,
        .InitializeHandlerEx = MirrorInitialize,
        .HaltHandlerEx = MirrorHalt,
        .UnloadHandler = MirrorUnload,
        .PauseHandler = MirrorPause,
        .RestartHandler = MirrorRestart,
        .OidRequestHandler = MirrorOid,
        .SendNetBufferListsHandler = MirrorSend,
        .ReturnNetBufferListsHandler = MirrorReturn,
        .CancelSendHandler = MirrorCancelSend,
        .DevicePnPEventNotifyHandler = MirrorPnpEvent,
        .ShutdownHandlerEx = MirrorShutdown,
        .CancelOidRequestHandler = MirrorCancelOid,
    };

    return NdisMRegisterMiniportDriver(Driver, RegistryPath, NULL, &Characteristics, &Registration);
}
