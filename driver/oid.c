/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * OID requests, all of them answered at once. What NDIS requires and an adapter of this kind has no
 * use for is accepted and does nothing.
 */
#include "tun.h"

static const ULONG MaxPacket = WINTUN_MAX_PACKET, MaxRing = WINTUN_RING_MAX_CAPACITY;
static const ULONG NoVendor = 0x00FFFFFF, Version = TUN_VERSION_MAJOR << 16 | TUN_VERSION_MINOR;
static const CHAR Description[] = "Wintun Tunnel";
static const NDIS_INTERRUPT_MODERATION_PARAMETERS Moderation = {
    .Header = {NDIS_OBJECT_TYPE_DEFAULT, NDIS_INTERRUPT_MODERATION_PARAMETERS_REVISION_1,
               sizeof(Moderation)},
    .InterruptModeration = NdisInterruptModerationNotSupported,
};

/* Queries whose answer is always the same. */
static const struct {
    NDIS_OID Oid;
    ULONG Bytes;
    const VOID *Answer;
} Constants[] = {
    {OID_GEN_MAXIMUM_TOTAL_SIZE, sizeof(MaxPacket), &MaxPacket},
    {OID_GEN_TRANSMIT_BLOCK_SIZE, sizeof(MaxPacket), &MaxPacket},
    {OID_GEN_RECEIVE_BLOCK_SIZE, sizeof(MaxPacket), &MaxPacket},
    {OID_GEN_TRANSMIT_BUFFER_SPACE, sizeof(MaxRing), &MaxRing},
    {OID_GEN_RECEIVE_BUFFER_SPACE, sizeof(MaxRing), &MaxRing},
    {OID_GEN_VENDOR_ID, sizeof(NoVendor), &NoVendor},
    {OID_GEN_VENDOR_DRIVER_VERSION, sizeof(Version), &Version},
    {OID_GEN_VENDOR_DESCRIPTION, sizeof(Description), Description},
    {OID_GEN_INTERRUPT_MODERATION, sizeof(Moderation), &Moderation},
    {OID_PNP_QUERY_POWER, 0, ""},
};

/* A counter is cut for who has room for 32 bits only, and is told of the rest. */
static NDIS_STATUS OidAnswer(NDIS_OID_REQUEST *Request, const VOID *Data, ULONG Bytes)
{
    const UINT Room = Request->DATA.QUERY_INFORMATION.InformationBufferLength;

    Request->DATA.QUERY_INFORMATION.BytesNeeded = Bytes;
    if (Bytes == sizeof(LONG64) && Room >= sizeof(ULONG) && Room < Bytes)
        Bytes = sizeof(ULONG);
    if (Room < Bytes)
        return NDIS_STATUS_BUFFER_TOO_SHORT;
    RtlCopyMemory(Request->DATA.QUERY_INFORMATION.InformationBuffer, Data, Bytes);
    Request->DATA.QUERY_INFORMATION.BytesWritten = Bytes;
    return NDIS_STATUS_SUCCESS;
}

/* Every packet counts as unicast, and as one thing: carried, an error (too long) or discarded. */
static NDIS_STATUS OidAnswerStatistics(NDIS_OID_REQUEST *Request, const LONG64 volatile *Of)
{
    NDIS_STATISTICS_INFO Info = {
        .Header = TUN_HEADER(DEFAULT, STATISTICS_INFO, 1),
        .SupportedStatistics = TUN_STATISTICS,
        .ifHCInOctets = ReadNoFence64(&Of[WintunToStackBytes]),
        .ifHCInUcastPkts = ReadNoFence64(&Of[WintunToStackPackets]),
        .ifHCOutOctets = ReadNoFence64(&Of[WintunToUserBytes]),
        .ifHCOutUcastPkts = ReadNoFence64(&Of[WintunToUserPackets]),
        .ifOutErrors = ReadNoFence64(&Of[WintunToUserTooLong]),
    };
    Info.ifHCInUcastOctets = Info.ifHCInOctets;
    Info.ifHCOutUcastOctets = Info.ifHCOutOctets;
    for (ULONG Counter = WintunToStackNotIp; Counter <= WintunToStackNoMemory; Counter++)
        Info.ifInDiscards += ReadNoFence64(&Of[Counter]);
    for (ULONG Counter = WintunToUserNoSession; Counter <= WintunToUserInaccessible; Counter++)
        Info.ifOutDiscards += Counter == WintunToUserTooLong ? 0 : ReadNoFence64(&Of[Counter]);
    return OidAnswer(Request, &Info, Info.Header.Size);
}

static NDIS_STATUS OidQuery(const TUN_ADAPTER *Adapter, NDIS_OID_REQUEST *Request)
{
    const NDIS_OID Oid = Request->DATA.QUERY_INFORMATION.Oid;
    const ULONG Counter = Oid == OID_GEN_XMIT_OK ? WintunToUserPackets : WintunToStackPackets;
    const LONG64 Packets = ReadNoFence64(&Adapter->Counters[Counter]);

    Request->DATA.QUERY_INFORMATION.BytesWritten = 0;
    for (ULONG Index = 0; Index < RTL_NUMBER_OF(Constants); Index++)
        if (Constants[Index].Oid == Oid)
            return OidAnswer(Request, Constants[Index].Answer, Constants[Index].Bytes);
    if (Oid == OID_GEN_XMIT_OK || Oid == OID_GEN_RCV_OK)
        return OidAnswer(Request, &Packets, sizeof(Packets));
    return Oid == OID_GEN_STATISTICS ? OidAnswerStatistics(Request, Adapter->Counters)
                                     : NDIS_STATUS_NOT_SUPPORTED;
}

/* Nothing that can be set changes anything here; before sleep, NDIS pauses the adapter itself. */
static NDIS_STATUS OidSet(NDIS_OID_REQUEST *Request)
{
    const NDIS_OID Oid = Request->DATA.SET_INFORMATION.Oid;
    const UINT Bytes = Request->DATA.SET_INFORMATION.InformationBufferLength;

    Request->DATA.SET_INFORMATION.BytesRead = 0;
    if (Oid == OID_GEN_INTERRUPT_MODERATION)
        return NDIS_STATUS_INVALID_DATA;
    if (Oid == OID_GEN_CURRENT_PACKET_FILTER || Oid == OID_GEN_CURRENT_LOOKAHEAD ||
        Oid == OID_PNP_SET_POWER) {
        Request->DATA.SET_INFORMATION.BytesNeeded = sizeof(ULONG);
        if (Bytes != sizeof(ULONG))
            return NDIS_STATUS_INVALID_LENGTH;
    } else if (Oid != OID_GEN_LINK_PARAMETERS) {
        return NDIS_STATUS_NOT_SUPPORTED;
    }
    Request->DATA.SET_INFORMATION.BytesRead = Bytes;
    return NDIS_STATUS_SUCCESS;
}

/* After surprise removal nothing is accepted (MiniportDevicePnPEventNotify). */
NDIS_STATUS OidRequest(NDIS_HANDLE Context, NDIS_OID_REQUEST *Request)
{
    const TUN_ADAPTER *Adapter = Context;

    if (ReadNoFence(&Adapter->IsRemoved))
        return NDIS_STATUS_NOT_ACCEPTED;
    if (Request->RequestType == NdisRequestSetInformation)
        return OidSet(Request);
    return Request->RequestType <= NdisRequestQueryStatistics ? OidQuery(Adapter, Request)
                                                              : NDIS_STATUS_INVALID_OID;
}
