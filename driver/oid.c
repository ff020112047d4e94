/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * OID requests, all of them answered at once. What NDIS requires and an adapter of this kind has no
 * use for is accepted and does nothing.
 */
#include "tun.h"

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
    static const CHAR Description[] = "Wintun Tunnel";
    static const NDIS_INTERRUPT_MODERATION_PARAMETERS Moderation = {
        .Header = {NDIS_OBJECT_TYPE_DEFAULT, NDIS_INTERRUPT_MODERATION_PARAMETERS_REVISION_1,
                   sizeof(Moderation)},
        .InterruptModeration = NdisInterruptModerationNotSupported,
    };
    LONG64 Number = WINTUN_MAX_PACKET; /* little-endian, so that its first bytes are a ULONG */
    ULONG Bytes = sizeof(ULONG);

    Request->DATA.QUERY_INFORMATION.BytesWritten = 0;
    switch (Request->DATA.QUERY_INFORMATION.Oid) {
    case OID_GEN_MAXIMUM_TOTAL_SIZE:
    case OID_GEN_TRANSMIT_BLOCK_SIZE:
    case OID_GEN_RECEIVE_BLOCK_SIZE:
        break;
    case OID_GEN_TRANSMIT_BUFFER_SPACE:
    case OID_GEN_RECEIVE_BUFFER_SPACE:
        Number = WINTUN_RING_MAX_CAPACITY;
        break;
    case OID_GEN_VENDOR_ID:
        Number = 0x00FFFFFF; /* none assigned */
        break;
    case OID_GEN_VENDOR_DRIVER_VERSION:
        Number = TUN_VERSION_MAJOR << 16 | TUN_VERSION_MINOR;
        break;
    case OID_GEN_XMIT_OK:
        Number = ReadNoFence64(&Adapter->Counters[WintunToUserPackets]);
        Bytes = sizeof(Number);
        break;
    case OID_GEN_RCV_OK:
        Number = ReadNoFence64(&Adapter->Counters[WintunToStackPackets]);
        Bytes = sizeof(Number);
        break;
    case OID_GEN_VENDOR_DESCRIPTION:
        return OidAnswer(Request, Description, sizeof(Description));
    case OID_GEN_STATISTICS:
        return OidAnswerStatistics(Request, Adapter->Counters);
    case OID_GEN_INTERRUPT_MODERATION:
        return OidAnswer(Request, &Moderation, sizeof(Moderation));
    case OID_PNP_QUERY_POWER:
        return NDIS_STATUS_SUCCESS;
    default:
        return NDIS_STATUS_NOT_SUPPORTED;
    }
    return OidAnswer(Request, &Number, Bytes);
}

/* Nothing that can be set changes anything here; before sleep, NDIS pauses the adapter itself. */
static NDIS_STATUS OidSet(NDIS_OID_REQUEST *Request)
{
    const UINT Bytes = Request->DATA.SET_INFORMATION.InformationBufferLength;

    Request->DATA.SET_INFORMATION.BytesRead = 0;
    switch (Request->DATA.SET_INFORMATION.Oid) {
    case OID_GEN_CURRENT_PACKET_FILTER:
    case OID_GEN_CURRENT_LOOKAHEAD:
    case OID_PNP_SET_POWER:
        Request->DATA.SET_INFORMATION.BytesNeeded = sizeof(ULONG);
        if (Bytes != sizeof(ULONG))
            return NDIS_STATUS_INVALID_LENGTH;
        break;
    case OID_GEN_LINK_PARAMETERS:
        break;
    case OID_GEN_INTERRUPT_MODERATION:
        return NDIS_STATUS_INVALID_DATA;
    default:
        return NDIS_STATUS_NOT_SUPPORTED;
    }
    Request->DATA.SET_INFORMATION.BytesRead = Bytes;
    return NDIS_STATUS_SUCCESS;
}

/* The direct and the synchronous path: nothing is offered there. */
NDIS_STATUS OidDirect(NDIS_HANDLE Context, NDIS_OID_REQUEST *Request)
{
    const NDIS_REQUEST_TYPE Type = Request->RequestType;

    return Type <= NdisRequestQueryStatistics ? NDIS_STATUS_NOT_SUPPORTED : NDIS_STATUS_INVALID_OID;
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
