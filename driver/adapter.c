/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A miniport instance: what NDIS is told about it, and its states. Pause and halt wait for what
 * NDIS and the stack do, never for a program.
 *
 * Nonpaged memory: an idle adapter has its structure (1 KiB, with room for a session), two gates
 * (a cache line per processor each), a thread and an empty pool of lists, below 16 KiB with 64
 * processors. A session of rings has two MDLs, one of files a ring of 1.1 MiB; receive buffers are
 * made as packets come, of either size at most 2 MiB, and 320 KiB for each processor that has a
 * batch under way; they go with the session.
 */
#include "tun.h"

static const NDIS_OID Oids[] = {
    OID_GEN_XMIT_OK,     OID_GEN_CURRENT_LOOKAHEAD,   OID_GEN_TRANSMIT_BUFFER_SPACE,
    OID_GEN_RCV_OK,      OID_GEN_MAXIMUM_TOTAL_SIZE,  OID_GEN_RECEIVE_BUFFER_SPACE,
    OID_GEN_VENDOR_ID,   OID_GEN_VENDOR_DESCRIPTION,  OID_GEN_VENDOR_DRIVER_VERSION,
    OID_GEN_STATISTICS,  OID_GEN_TRANSMIT_BLOCK_SIZE, OID_GEN_CURRENT_PACKET_FILTER,
    OID_PNP_SET_POWER,   OID_GEN_RECEIVE_BLOCK_SIZE,  OID_GEN_INTERRUPT_MODERATION,
    OID_PNP_QUERY_POWER, OID_GEN_LINK_PARAMETERS,
};

/* The shell goes with its last reference: the miniport's own, or that of a file left open. */
VOID AdapterDereference(TUN_ADAPTER *Adapter)
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

/*
 * Everything but the shell, of an adapter of which NDIS and the stack have nothing any more: it was
 * never started, or is paused, and the shut flow gate keeps sends and lists out. Once it is off the
 * list no session can begin and no exiting process finds it. Once the worker is joined nothing is
 * left that uses the handle. Files left open have the shell, whose gates are shut for good.
 */
VOID AdapterHalt(NDIS_HANDLE Context, NDIS_HALT_ACTION HaltAction)
{
    TUN_ADAPTER *Adapter = Context;

    DriverLock();
    SessionEndLocked(Adapter);
    WriteRelease(&Adapter->IsRemoved, TRUE);
    DeviceRemoveLocked(Adapter);
    DriverUnlock();
    if (Adapter->Worker) {
        KeSetEvent(&Adapter->Kick, EVENT_INCREMENT, FALSE);
        ZwWaitForSingleObject(Adapter->Worker, FALSE, NULL);
        ZwClose(Adapter->Worker);
    }
    if (Adapter->Lists)
        NdisFreeNetBufferListPool(Adapter->Lists);
    ExDeleteLookasideListEx(&Adapter->Buffers[FALSE]);
    ExDeleteLookasideListEx(&Adapter->Buffers[TRUE]);
    AdapterDereference(Adapter);
}

/* What is not said is zero: an internal interface, for both directions, without pause frames. */
static NDIS_STATUS AdapterSetAttributes(TUN_ADAPTER *Adapter)
{
    NDIS_PM_CAPABILITIES Power = {
        .Header = TUN_HEADER_SINCE(630, DEFAULT, NDIS_PM_CAPABILITIES, 1, 2),
    };
    NDIS_MINIPORT_ADAPTER_ATTRIBUTES Registration = {
        .RegistrationAttributes = {
            .Header = TUN_HEADER_SINCE(630, MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES,
                                       MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES, 1, 2),
            .MiniportAdapterContext = Adapter,
            .AttributeFlags = NDIS_MINIPORT_ATTRIBUTES_NO_HALT_ON_SUSPEND |
                              NDIS_MINIPORT_ATTRIBUTES_SURPRISE_REMOVE_OK,
        }};
    NDIS_MINIPORT_ADAPTER_ATTRIBUTES General = {
        .GeneralAttributes = {
            .Header = TUN_HEADER(MINIPORT_ADAPTER_GENERAL_ATTRIBUTES,
                                 MINIPORT_ADAPTER_GENERAL_ATTRIBUTES, 2),
            .MediaType = NdisMediumIP,
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
            .ConnectionType = NET_IF_CONNECTION_DEDICATED,
            .IfType = IF_TYPE_PROP_VIRTUAL,
            .SupportedStatistics = TUN_STATISTICS,
            .SupportedOidList = (NDIS_OID *)Oids,
            .SupportedOidListLength = sizeof(Oids),
            .AutoNegotiationFlags = TUN_NEGOTIATED,
            .PowerManagementCapabilitiesEx = &Power,
        }};

    const NDIS_STATUS Status = NdisMSetMiniportAttributes(Adapter->Handle, &Registration);
    return Status ? Status : NdisMSetMiniportAttributes(Adapter->Handle, &General);
}

/*
 * Both gates begin shut: there is no session yet, and NDIS begins with a paused adapter. Programs
 * find the adapter when everything else has been done.
 */
NDIS_STATUS AdapterInitialize(NDIS_HANDLE Handle, NDIS_HANDLE DriverContext,
                              NDIS_MINIPORT_INIT_PARAMETERS *Parameters)
{
    NET_BUFFER_LIST_POOL_PARAMETERS Lists = {
        .Header = TUN_HEADER(DEFAULT, NET_BUFFER_LIST_POOL_PARAMETERS, 1),
        .fAllocateNetBuffer = TRUE,
        .PoolTag = TUN_TAG,
    };
    TUN_ADAPTER *Adapter = PoolAlloc(sizeof(*Adapter));
    NDIS_STATUS Status = NDIS_STATUS_RESOURCES;

    if (!Adapter)
        return Status;
    Adapter->References = 1;
    Adapter->Handle = Handle;
    KeInitializeEvent(&Adapter->CompatClosed, NotificationEvent, FALSE);
    KeInitializeEvent(&Adapter->Kick, SynchronizationEvent, FALSE);
    ExInitializeLookasideListEx(&Adapter->Buffers[FALSE], NULL, NULL, Driver.PoolType, 0, TUN_SMALL,
                                TUN_TAG, 0);
    ExInitializeLookasideListEx(&Adapter->Buffers[TRUE], NULL, NULL, Driver.PoolType, 0,
                                WINTUN_MAX_PACKET, TUN_TAG, 0);
    Adapter->RingGate = ExAllocateCacheAwareRundownProtection(Driver.PoolType, TUN_TAG);
    Adapter->FlowGate = ExAllocateCacheAwareRundownProtection(Driver.PoolType, TUN_TAG);
    Adapter->Lists = NdisAllocateNetBufferListPool(Handle, &Lists);
    if (Adapter->RingGate && Adapter->FlowGate && Adapter->Lists) {
        ExWaitForRundownProtectionReleaseCacheAware(Adapter->RingGate);
        ExWaitForRundownProtectionReleaseCacheAware(Adapter->FlowGate);
        Status = AdapterSetAttributes(Adapter);
    }
    if (Status == NDIS_STATUS_SUCCESS)
        Status = PsCreateSystemThread(&Adapter->Worker, THREAD_ALL_ACCESS, NULL, NULL, NULL,
                                      ReceiveWorker, Adapter);
    if (Status == NDIS_STATUS_SUCCESS)
        Status = DeviceAdd(Adapter);
    if (Status != NDIS_STATUS_SUCCESS)
        AdapterHalt(Adapter, NdisHaltDeviceInitializationFailed);
    return Status;
}

/* Waits for lists that the stack has, and for nobody else: sessions do not notice. */
NDIS_STATUS AdapterPause(NDIS_HANDLE Context, NDIS_MINIPORT_PAUSE_PARAMETERS *Parameters)
{
    TUN_ADAPTER *Adapter = Context;

    ExWaitForRundownProtectionReleaseCacheAware(Adapter->FlowGate);
    WriteNoFence(&Adapter->State, WintunStatePaused);
    return NDIS_STATUS_SUCCESS;
}

NDIS_STATUS AdapterRestart(NDIS_HANDLE Context, NDIS_MINIPORT_RESTART_PARAMETERS *Parameters)
{
    TUN_ADAPTER *Adapter = Context;

    ExReInitializeRundownProtectionCacheAware(Adapter->FlowGate);
    WriteNoFence(&Adapter->State, WintunStateRunning);
    return NDIS_STATUS_SUCCESS;
}

VOID AdapterPnpEvent(NDIS_HANDLE Context, NET_DEVICE_PNP_EVENT *Event)
{
    TUN_ADAPTER *Adapter = Context;

    if (Event->DevicePnPEvent != NdisDevicePnPEventSurpriseRemoved)
        return;
    DriverLock();
    SessionEndLocked(Adapter);
    WriteRelease(&Adapter->IsRemoved, TRUE);
    DriverUnlock();
}
