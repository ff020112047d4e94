/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A miniport instance: what NDIS is told about it, and its states. Pause and halt wait for what
 * NDIS and the stack do, never for a program.
 *
 * Nonpaged memory: an idle adapter has this structure (1.5 KiB), its two gates (a cache line per
 * processor each) and an empty pool of lists, below 16 KiB with 64 processors. A session adds 512
 * buffers of 2 KiB and 16 of 64 KiB with their descriptors, 2.1 MiB, the lists NDIS makes for them,
 * a thread's stack and, for files, a ring of 1.1 MiB; all but the thread goes when it ends.
 */
#include "tun.h"

#define TUN_LINK_SPEED 100000000000ULL /* bit/s */
#define TUN_NEGOTIATED                                                                             \
    (NDIS_LINK_STATE_XMIT_LINK_SPEED_AUTO_NEGOTIATED |                                             \
     NDIS_LINK_STATE_RCV_LINK_SPEED_AUTO_NEGOTIATED | NDIS_LINK_STATE_DUPLEX_AUTO_NEGOTIATED |     \
     NDIS_LINK_STATE_PAUSE_FUNCTIONS_AUTO_NEGOTIATED)

static const NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES General = {
    .Header = {.Type = NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES,
               .Revision = NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2,
               .Size = NDIS_SIZEOF_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2},
    .MediaType = NdisMediumIP,
    .PhysicalMediumType = NdisPhysicalMediumUnspecified,
    .MtuSize = WINTUN_MAX_PACKET,
    .MaxXmitLinkSpeed = TUN_LINK_SPEED,
    .XmitLinkSpeed = TUN_LINK_SPEED,
    .MaxRcvLinkSpeed = TUN_LINK_SPEED,
    .RcvLinkSpeed = TUN_LINK_SPEED,
    .MediaConnectState = MediaConnectStateDisconnected,
    .MediaDuplexState = MediaDuplexStateFull,
    .LookaheadSize = WINTUN_MAX_PACKET,
    .MacOptions = NDIS_MAC_OPTION_COPY_LOOKAHEAD_DATA | NDIS_MAC_OPTION_TRANSFERS_NOT_PEND |
                  NDIS_MAC_OPTION_NO_LOOPBACK,
    .SupportedPacketFilters = NDIS_PACKET_TYPE_DIRECTED | NDIS_PACKET_TYPE_ALL_MULTICAST |
                              NDIS_PACKET_TYPE_BROADCAST | NDIS_PACKET_TYPE_ALL_LOCAL |
                              NDIS_PACKET_TYPE_ALL_FUNCTIONAL,
    .AccessType = NET_IF_ACCESS_BROADCAST,
    .DirectionType = NET_IF_DIRECTION_SENDRECEIVE,
    .ConnectionType = NET_IF_CONNECTION_DEDICATED,
    .IfType = IF_TYPE_PROP_VIRTUAL,
    .IfConnectorPresent = FALSE,
    .SupportedStatistics = TUN_STATISTICS,
    .SupportedPauseFunctions = NdisPauseFunctionsUnsupported,
    .SupportedOidList = (NDIS_OID *)OidList,
    .AutoNegotiationFlags = TUN_NEGOTIATED,
};

static NDIS_STATUS AdapterReadName(_Inout_ TUN_ADAPTER *Adapter)
{
    NDIS_CONFIGURATION_OBJECT Object = {
        .Header = {.Type = NDIS_OBJECT_TYPE_CONFIGURATION_OBJECT,
                   .Revision = NDIS_CONFIGURATION_OBJECT_REVISION_1,
                   .Size = NDIS_SIZEOF_CONFIGURATION_OBJECT_REVISION_1},
        .NdisHandle = Adapter->Handle};
    NDIS_STRING Keyword = RTL_CONSTANT_STRING(L"NetCfgInstanceId");
    NDIS_CONFIGURATION_PARAMETER *Value;
    NDIS_HANDLE Configuration;

    NDIS_STATUS Status = NdisOpenConfigurationEx(&Object, &Configuration);
    if (Status != NDIS_STATUS_SUCCESS)
        return Status;
    NdisReadConfiguration(&Status, &Value, Configuration, &Keyword, NdisParameterString);
    if (Status == NDIS_STATUS_SUCCESS) {
        Adapter->Name.Buffer = Adapter->NameBuffer;
        Adapter->Name.MaximumLength = sizeof(Adapter->NameBuffer);
        RtlCopyUnicodeString(&Adapter->Name, &Value->ParameterData.StringData);
    }
    NdisCloseConfiguration(Configuration);
    return Status;
}

/* Who may use the adapter, if an administrator has said so in a way that leaves no doubt. */
static VOID AdapterReadSecurity(_Inout_ TUN_ADAPTER *Adapter, _In_ DEVICE_OBJECT *Pdo)
{
    static const DEVPROPKEY Key = {WINTUN_PROPERTY_FMTID, WINTUN_PROPERTY_SECURITY};
    ULONG Bytes = 0;
    DEVPROPTYPE Type;

    if (IoGetDevicePropertyData(Pdo, &Key, 0, 0, 0, NULL, &Bytes, &Type) != STATUS_BUFFER_TOO_SMALL)
        return;
    SECURITY_DESCRIPTOR *Security = PoolAlloc(Bytes);
    if (Security &&
        NT_SUCCESS(IoGetDevicePropertyData(Pdo, &Key, 0, 0, Bytes, Security, &Bytes, &Type)) &&
        Type == DEVPROP_TYPE_SECURITY_DESCRIPTOR &&
        RtlValidRelativeSecurityDescriptor(Security, Bytes,
                                           OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION))
        Adapter->Security = Security;
    else
        PoolFree(Security);
}

/* The shell goes with its last reference: the miniport's own, or that of a file left open. */
_Use_decl_annotations_ VOID AdapterDereference(TUN_ADAPTER *Adapter)
{
    if (InterlockedDecrement(&Adapter->References))
        return;
    if (Adapter->RingGate)
        ExFreeCacheAwareRundownProtection(Adapter->RingGate);
    if (Adapter->FlowGate)
        ExFreeCacheAwareRundownProtection(Adapter->FlowGate);
    PoolFree(Adapter->Security);
    PoolFree(Adapter);
}

/* Everything but the shell; nothing of the adapter is in NDIS or the stack any more. */
static VOID AdapterDestroy(_In_ TUN_ADAPTER *Adapter)
{
    PoolTrim(&Adapter->Pool);
    if (Adapter->Pool.Lists)
        NdisFreeNetBufferListPool(Adapter->Pool.Lists);
    AdapterDereference(Adapter);
}

static TUN_ADAPTER *AdapterCreate(NDIS_HANDLE Handle)
{
    NET_BUFFER_LIST_POOL_PARAMETERS Lists = {
        .Header = {.Type = NDIS_OBJECT_TYPE_DEFAULT,
                   .Revision = NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1,
                   .Size = NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1},
        .fAllocateNetBuffer = TRUE,
        .PoolTag = TUN_TAG};
    DEVICE_OBJECT *Pdo, *Next;
    TUN_ADAPTER *Adapter = PoolAlloc(sizeof(*Adapter));

    if (!Adapter)
        return NULL;
    Adapter->References = 1;
    Adapter->Handle = Handle;
    Adapter->SessionCount = 1;
    Adapter->IsPaused = TRUE;
    KeInitializeEvent(&Adapter->CompatClosed, NotificationEvent, TRUE);
    KeInitializeEvent(&Adapter->Kick, SynchronizationEvent, FALSE);
    KeInitializeEvent(&Adapter->LinkSettled, NotificationEvent, FALSE);
    KeInitializeSpinLock(&Adapter->Pool.Lock);
    ReadsCreate(Adapter);
    Adapter->RingGate = ExAllocateCacheAwareRundownProtection(Driver.PoolType, TUN_TAG);
    Adapter->FlowGate = ExAllocateCacheAwareRundownProtection(Driver.PoolType, TUN_TAG);
    Adapter->Pool.Lists = NdisAllocateNetBufferListPool(Handle, &Lists);
    if (!Adapter->RingGate || !Adapter->FlowGate || !Adapter->Pool.Lists) {
        AdapterDestroy(Adapter);
        return NULL;
    }
    /* Shut: there is no session yet, and NDIS begins with a paused adapter. */
    ExWaitForRundownProtectionReleaseCacheAware(Adapter->RingGate);
    ExWaitForRundownProtectionReleaseCacheAware(Adapter->FlowGate);
    NdisMGetDeviceProperty(Handle, &Pdo, &Adapter->Device, &Next, NULL, NULL);
    AdapterReadSecurity(Adapter, Pdo);
    return Adapter;
}

static NDIS_STATUS AdapterSetAttributes(_In_ TUN_ADAPTER *Adapter)
{
    const BOOLEAN Is630 = Driver.NdisVersion >= NDIS_RUNTIME_VERSION_630;
    NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES Registration = {
        .Header = {.Type = NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES,
                   .Revision = Is630 ? NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_2
                                     : NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1,
                   .Size = Is630 ? NDIS_SIZEOF_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_2
                                 : NDIS_SIZEOF_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1},
        .MiniportAdapterContext = Adapter,
        .AttributeFlags = NDIS_MINIPORT_ATTRIBUTES_NO_HALT_ON_SUSPEND |
                          NDIS_MINIPORT_ATTRIBUTES_SURPRISE_REMOVE_OK,
        .InterfaceType = NdisInterfaceInternal,
    };
    NDIS_PM_CAPABILITIES Power = {
        .Header = {.Type = NDIS_OBJECT_TYPE_DEFAULT,
                   .Revision =
                       Is630 ? NDIS_PM_CAPABILITIES_REVISION_2 : NDIS_PM_CAPABILITIES_REVISION_1,
                   .Size = Is630 ? NDIS_SIZEOF_NDIS_PM_CAPABILITIES_REVISION_2
                                 : NDIS_SIZEOF_NDIS_PM_CAPABILITIES_REVISION_1},
    };
    NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES Attributes = General;
    Attributes.SupportedOidListLength = OidListBytes;
    Attributes.PowerManagementCapabilitiesEx = &Power;

    NDIS_STATUS Status = NdisMSetMiniportAttributes(
        Adapter->Handle, (NDIS_MINIPORT_ADAPTER_ATTRIBUTES *)&Registration);
    if (Status != NDIS_STATUS_SUCCESS)
        return Status;
    return NdisMSetMiniportAttributes(Adapter->Handle,
                                      (NDIS_MINIPORT_ADAPTER_ATTRIBUTES *)&Attributes);
}

_Use_decl_annotations_ NDIS_STATUS AdapterInitialize(NDIS_HANDLE Handle, NDIS_HANDLE DriverContext,
                                                     NDIS_MINIPORT_INIT_PARAMETERS *Parameters)
{
    UNREFERENCED_PARAMETER(DriverContext);
    UNREFERENCED_PARAMETER(Parameters);
    TUN_ADAPTER *Adapter = AdapterCreate(Handle);
    if (!Adapter)
        return NDIS_STATUS_RESOURCES;
    NDIS_STATUS Status = AdapterReadName(Adapter);
    if (Status == NDIS_STATUS_SUCCESS)
        Status = AdapterSetAttributes(Adapter);
    if (Status == NDIS_STATUS_SUCCESS)
        Status = DeviceAdd(Adapter); /* last: from here on programs find it */
    if (Status != NDIS_STATUS_SUCCESS)
        AdapterDestroy(Adapter);
    return Status;
}

/* Waits for lists that the stack has, and for nobody else: sessions do not notice. */
_Use_decl_annotations_ NDIS_STATUS AdapterPause(NDIS_HANDLE Context,
                                                NDIS_MINIPORT_PAUSE_PARAMETERS *Parameters)
{
    TUN_ADAPTER *Adapter = Context;

    UNREFERENCED_PARAMETER(Parameters);
    Adapter->IsPaused = TRUE;
    ExWaitForRundownProtectionReleaseCacheAware(Adapter->FlowGate);
    return NDIS_STATUS_SUCCESS;
}

_Use_decl_annotations_ NDIS_STATUS AdapterRestart(NDIS_HANDLE Context,
                                                  NDIS_MINIPORT_RESTART_PARAMETERS *Parameters)
{
    TUN_ADAPTER *Adapter = Context;

    UNREFERENCED_PARAMETER(Parameters);
    ExReInitializeRundownProtectionCacheAware(Adapter->FlowGate);
    Adapter->IsPaused = FALSE;
    return NDIS_STATUS_SUCCESS;
}

_Use_decl_annotations_ VOID AdapterPnpEvent(NDIS_HANDLE Context, NET_DEVICE_PNP_EVENT *Event)
{
    TUN_ADAPTER *Adapter = Context;

    if (Event->DevicePnPEvent != NdisDevicePnPEventSurpriseRemoved)
        return;
    DriverLock();
    Adapter->IsRemoved = TRUE;
    SessionEndLocked(Adapter);
    DriverUnlock();
}

/*
 * By now the adapter is paused, so neither a send nor a list is under way and both keep out; the
 * list of adapters no longer has it, so no session can begin and no exiting process finds it; the
 * worker is joined. Whoever still has a file open has the shell, whose gates are shut for good.
 */
_Use_decl_annotations_ VOID AdapterHalt(NDIS_HANDLE Context, NDIS_HALT_ACTION HaltAction)
{
    TUN_ADAPTER *Adapter = Context;

    UNREFERENCED_PARAMETER(HaltAction);
    DriverLock();
    Adapter->IsRemoved = TRUE;
    SessionEndLocked(Adapter);
    DeviceRemoveLocked(Adapter);
    DriverUnlock();
    if (Adapter->Worker) {
        WriteRelease(&Adapter->IsStopping, TRUE);
        KeSetEvent(&Adapter->Kick, EVENT_INCREMENT, FALSE);
        ZwWaitForSingleObject(Adapter->Worker, FALSE, NULL);
        ZwClose(Adapter->Worker);
    }
    ReadsFlush(Adapter);
    AdapterDestroy(Adapter);
}

/* By the worker alone, so that what NDIS hears last is what is. Never while initialising or
 * halting. */
_Use_decl_annotations_ VOID AdapterIndicateLink(TUN_ADAPTER *Adapter)
{
    const LONG IsUp = ReadAcquire(&Adapter->LinkWanted);
    NDIS_LINK_STATE Link = {
        .Header = {.Type = NDIS_OBJECT_TYPE_DEFAULT,
                   .Revision = NDIS_LINK_STATE_REVISION_1,
                   .Size = NDIS_SIZEOF_LINK_STATE_REVISION_1},
        .MediaConnectState = IsUp ? MediaConnectStateConnected : MediaConnectStateDisconnected,
        .MediaDuplexState = MediaDuplexStateFull,
        .XmitLinkSpeed = TUN_LINK_SPEED,
        .RcvLinkSpeed = TUN_LINK_SPEED,
        .PauseFunctions = NdisPauseFunctionsUnsupported,
        .AutoNegotiationFlags = TUN_NEGOTIATED,
    };
    NDIS_STATUS_INDICATION Indication = {
        .Header = {.Type = NDIS_OBJECT_TYPE_STATUS_INDICATION,
                   .Revision = NDIS_STATUS_INDICATION_REVISION_1,
                   .Size = NDIS_SIZEOF_STATUS_INDICATION_REVISION_1},
        .SourceHandle = Adapter->Handle,
        .StatusCode = NDIS_STATUS_LINK_STATE,
        .StatusBuffer = &Link,
        .StatusBufferSize = sizeof(Link),
    };

    if (IsUp != Adapter->LinkIs)
        NdisMIndicateStatusEx(Adapter->Handle, &Indication);
    Adapter->LinkIs = IsUp;
    KeSetEvent(&Adapter->LinkSettled, EVENT_INCREMENT, FALSE);
}
