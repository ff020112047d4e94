/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * OID requests: all of them answered at once, from one table. What an adapter of this kind has no
 * use for is accepted where NDIS needs it to be, and does nothing.
 */
#include "tun.h"

const NDIS_OID OidList[] = {
    OID_GEN_MAXIMUM_TOTAL_SIZE,
    OID_GEN_CURRENT_LOOKAHEAD,
    OID_GEN_TRANSMIT_BUFFER_SPACE,
    OID_GEN_RECEIVE_BUFFER_SPACE,
    OID_GEN_TRANSMIT_BLOCK_SIZE,
    OID_GEN_RECEIVE_BLOCK_SIZE,
    OID_GEN_VENDOR_DESCRIPTION,
    OID_GEN_VENDOR_ID,
    OID_GEN_VENDOR_DRIVER_VERSION,
    OID_GEN_XMIT_OK,
    OID_GEN_RCV_OK,
    OID_GEN_CURRENT_PACKET_FILTER,
    OID_GEN_STATISTICS,
    OID_GEN_INTERRUPT_MODERATION,
    OID_GEN_LINK_PARAMETERS,
    OID_PNP_SET_POWER,
    OID_PNP_QUERY_POWER,
};
const ULONG OidListBytes = sizeof(OidList);

static const struct {
    NDIS_OID Oid;
    ULONG Value;
} Constants[] = {
    {OID_GEN_MAXIMUM_TOTAL_SIZE, WINTUN_MAX_PACKET},
    {OID_GEN_TRANSMIT_BUFFER_SPACE, WINTUN_RING_MAX_CAPACITY},
    {OID_GEN_RECEIVE_BUFFER_SPACE, WINTUN_RING_MAX_CAPACITY},
    {OID_GEN_TRANSMIT_BLOCK_SIZE, WINTUN_MAX_PACKET},
    {OID_GEN_RECEIVE_BLOCK_SIZE, WINTUN_MAX_PACKET},
    {OID_GEN_VENDOR_ID, 0x00FFFFFF}, /* none assigned */
    {OID_GEN_VENDOR_DRIVER_VERSION, TUN_VERSION_MAJOR << 16 | TUN_VERSION_MINOR},
};

static NDIS_STATUS OidAnswer(_Inout_ NDIS_OID_REQUEST *Request,
                             _In_reads_bytes_(Bytes) const VOID *Data, ULONG Bytes)
{
    Request->DATA.QUERY_INFORMATION.BytesNeeded = Bytes;
    if (Request->DATA.QUERY_INFORMATION.InformationBufferLength < Bytes)
        return NDIS_STATUS_BUFFER_TOO_SHORT;
    RtlCopyMemory(Request->DATA.QUERY_INFORMATION.InformationBuffer, Data, Bytes);
    Request->DATA.QUERY_INFORMATION.BytesWritten = Bytes;
    return NDIS_STATUS_SUCCESS;
}

/* A 64-bit counter; who has only room for 32 bits gets those, and is told of the rest. */
static NDIS_STATUS OidAnswerCounter(_Inout_ NDIS_OID_REQUEST *Request, ULONG64 Value)
{
    const ULONG Room = Request->DATA.QUERY_INFORMATION.InformationBufferLength;
    NDIS_STATUS Status =
        OidAnswer(Request, &Value,
                  Room >= sizeof(ULONG) && Room < sizeof(Value) ? sizeof(ULONG) : sizeof(Value));

    Request->DATA.QUERY_INFORMATION.BytesNeeded = sizeof(Value);
    return Status;
}

/* Every packet counts as unicast, and as one thing: carried, an error (too long) or discarded. */
static NDIS_STATUS OidAnswerStatistics(_In_ const TUN_ADAPTER *Adapter,
                                       _Inout_ NDIS_OID_REQUEST *Request)
{
    ULONG64 Of[WintunCounterCount];
    for (ULONG Counter = 0; Counter < WintunCounterCount; Counter++)
        Of[Counter] = (ULONG64)ReadNoFence64(&Adapter->Counters[Counter]);

    const NDIS_STATISTICS_INFO Info = {
        .Header = {.Type = NDIS_OBJECT_TYPE_DEFAULT,
                   .Revision = NDIS_STATISTICS_INFO_REVISION_1,
                   .Size = NDIS_SIZEOF_STATISTICS_INFO_REVISION_1},
        .SupportedStatistics = TUN_STATISTICS,
        .ifInDiscards =
            Of[WintunToStackNotIp] + Of[WintunToStackPaused] + Of[WintunToStackNoMemory],
        .ifHCInOctets = Of[WintunToStackBytes],
        .ifHCInUcastPkts = Of[WintunToStackPackets],
        .ifHCInUcastOctets = Of[WintunToStackBytes],
        .ifHCOutOctets = Of[WintunToUserBytes],
        .ifHCOutUcastPkts = Of[WintunToUserPackets],
        .ifHCOutUcastOctets = Of[WintunToUserBytes],
        .ifOutErrors = Of[WintunToUserTooLong],
        .ifOutDiscards = Of[WintunToUserNoSession] + Of[WintunToUserPaused] + Of[WintunToUserFull] +
                         Of[WintunToUserCorrupt] + Of[WintunToUserInaccessible],
    };
    return OidAnswer(Request, &Info, NDIS_SIZEOF_STATISTICS_INFO_REVISION_1);
}

static NDIS_STATUS OidQuery(_In_ const TUN_ADAPTER *Adapter, _Inout_ NDIS_OID_REQUEST *Request)
{
    static const NDIS_INTERRUPT_MODERATION_PARAMETERS Moderation = {
        .Header = {.Type = NDIS_OBJECT_TYPE_DEFAULT,
                   .Revision = NDIS_INTERRUPT_MODERATION_PARAMETERS_REVISION_1,
                   .Size = sizeof(NDIS_INTERRUPT_MODERATION_PARAMETERS)},
        .InterruptModeration = NdisInterruptModerationNotSupported,
    };
    static const CHAR Description[] = "Wintun Tunnel";
    const NDIS_OID Oid = Request->DATA.QUERY_INFORMATION.Oid;

    Request->DATA.QUERY_INFORMATION.BytesWritten = 0;
    switch (Oid) {
    case OID_GEN_VENDOR_DESCRIPTION:
        return OidAnswer(Request, Description, sizeof(Description));
    case OID_GEN_XMIT_OK:
        return OidAnswerCounter(Request,
                                (ULONG64)ReadNoFence64(&Adapter->Counters[WintunToUserPackets]));
    case OID_GEN_RCV_OK:
        return OidAnswerCounter(Request,
                                (ULONG64)ReadNoFence64(&Adapter->Counters[WintunToStackPackets]));
    case OID_GEN_STATISTICS:
        return OidAnswerStatistics(Adapter, Request);
    case OID_GEN_INTERRUPT_MODERATION:
        return OidAnswer(Request, &Moderation,
                         sizeof(NDIS_INTERRUPT_MODERATION_PARAMETERS));
    case OID_PNP_QUERY_POWER:
        return NDIS_STATUS_SUCCESS;
    }
    for (ULONG Index = 0; Index < RTL_NUMBER_OF(Constants); Index++)
        if (Constants[Index].Oid == Oid)
            return OidAnswer(Request, &Constants[Index].Value, sizeof(ULONG));
    return NDIS_STATUS_NOT_SUPPORTED;
}

/* NDIS wants these to succeed; none of them changes anything here (NDIS itself pauses before
 * sleep). */
static NDIS_STATUS OidSet(_Inout_ NDIS_OID_REQUEST *Request)
{
    const ULONG Bytes = Request->DATA.SET_INFORMATION.InformationBufferLength;

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

_Use_decl_annotations_ NDIS_STATUS OidRequest(NDIS_HANDLE Context, NDIS_OID_REQUEST *Request)
{
    const TUN_ADAPTER *Adapter = Context;

    if (Adapter->IsRemoved)
        return NDIS_STATUS_NOT_ACCEPTED;
    switch (Request->RequestType) {
    case NdisRequestQueryInformation:
    case NdisRequestQueryStatistics:
        return OidQuery(Adapter, Request);
    case NdisRequestSetInformation:
        return OidSet(Request);
    default:
        return NDIS_STATUS_INVALID_OID;
    }
}

/* The direct and the synchronous path: nothing is offered there. */
_Use_decl_annotations_ NDIS_STATUS OidDirect(NDIS_HANDLE Context, NDIS_OID_REQUEST *Request)
{
    UNREFERENCED_PARAMETER(Context);
    switch (Request->RequestType) {
    case NdisRequestQueryInformation:
    case NdisRequestQueryStatistics:
    case NdisRequestSetInformation:
        return NDIS_STATUS_NOT_SUPPORTED;
    default:
        return NDIS_STATUS_INVALID_OID;
    }
}
