/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * OID requests: the queue of one, the direct and the synchronous path; what NDIS answers by itself
 * from the attributes ("Mandatory OIDs for miniport drivers"); and what a driver may do to a
 * request while it has it.
 */
#include "ndis/private.h"

#include <string.h>

/* ---- a request in a driver's hands ---- */

static bool is_query(const NDIS_OID_REQUEST *r)
{
    return r->RequestType == NdisRequestQueryInformation ||
           r->RequestType == NdisRequestQueryStatistics;
}

static void contract(const NDIS_OID_REQUEST *r, const char *what, ULONG value, ULONG limit)
{
    nth_stop("oid-contract", "OID 0x%08x: %s (%u, %u)", r->DATA.Oid, what, value, limit);
}

/* The driver fills the three counts and, for a query, the buffer; all else is the caller's. */
static void check_unchanged(const NDIS_OID_REQUEST *r, const NDIS_OID_REQUEST *before)
{
    if (r->DATA.Oid != before->DATA.Oid || r->RequestType != before->RequestType ||
        r->RequestId != before->RequestId || r->RequestHandle != before->RequestHandle ||
        r->DATA.QUERY_INFORMATION.InformationBuffer !=
            before->DATA.QUERY_INFORMATION.InformationBuffer ||
        r->DATA.QUERY_INFORMATION.InformationBufferLength !=
            before->DATA.QUERY_INFORMATION.InformationBufferLength)
        contract(r, "the driver changed the request itself", r->DATA.Oid, before->DATA.Oid);
    if (r->RequestType == NdisRequestMethod &&
        (r->DATA.METHOD_INFORMATION.OutputBufferLength !=
             before->DATA.METHOD_INFORMATION.OutputBufferLength ||
         r->DATA.METHOD_INFORMATION.MethodId != before->DATA.METHOD_INFORMATION.MethodId))
        contract(r, "the driver changed the method request", 0, 0);
}

static void check_counts(const NDIS_OID_REQUEST *r, NDIS_STATUS status)
{
    const bool ok = status == NDIS_STATUS_SUCCESS;

    if (r->RequestType == NdisRequestMethod) {
        const struct _METHOD *m = &r->DATA.METHOD_INFORMATION;
        if (ok && m->BytesWritten > m->OutputBufferLength)
            contract(r, "BytesWritten exceeds the buffer", m->BytesWritten, m->OutputBufferLength);
        if (ok && m->BytesRead > m->InputBufferLength)
            contract(r, "BytesRead exceeds the buffer", m->BytesRead, m->InputBufferLength);
        return;
    }
    const struct _QUERY *q = &r->DATA.QUERY_INFORMATION; /* SET has the same layout */
    if (ok && q->BytesWritten > q->InformationBufferLength)
        contract(r,
                 is_query(r) ? "BytesWritten exceeds the buffer" : "BytesRead exceeds the buffer",
                 q->BytesWritten, q->InformationBufferLength);
    if (status == NDIS_STATUS_BUFFER_TOO_SHORT && q->BytesNeeded <= q->InformationBufferLength)
        contract(r, "too short, but BytesNeeded is not more than the buffer", q->BytesNeeded,
                 q->InformationBufferLength);
}

static void check_status(const NDIS_OID_REQUEST *r, NDIS_STATUS status)
{
    if (status == NDIS_STATUS_PENDING)
        contract(r, "completed with NDIS_STATUS_PENDING", 0, 0);
    if (status != NDIS_STATUS_SUCCESS && status != NDIS_STATUS_NOT_ACCEPTED &&
        (ULONG)status >> 30 != 3)
        contract(r, "completed with what is neither success nor an error", (ULONG)status, 0);
}

static NDIS_STATUS finish(const struct ndis_oid_call *call, NDIS_STATUS status)
{
    check_unchanged(call->request, &call->before);
    check_status(call->request, status);
    check_counts(call->request, status);
    nth_trace("ndis: OID 0x%08x ends with 0x%08x", call->request->DATA.Oid, (unsigned)status);
    return status;
}

static void call_begin(struct nth_adapter *a, struct ndis_oid_call *call, NDIS_OID_REQUEST *request,
                       bool is_direct)
{
    memset(call, 0, sizeof(*call));
    call->request = request;
    call->before = *request;
    call->is_direct = is_direct;
    KeInitializeEvent(&call->done, NotificationEvent, FALSE);
    nth_lock(&a->lock);
    InsertTailList(&a->oid_calls, &call->link);
    nth_unlock(&a->lock);
}

/* The driver is done with the request when it is off the list: it may not complete it again. */
static NDIS_STATUS call_end(struct nth_adapter *a, struct ndis_oid_call *call, NDIS_STATUS status)
{
    const NDIS_OID oid = call->before.DATA.Oid;

    if (status == NDIS_STATUS_PENDING) {
        if (nth_irql() == DISPATCH_LEVEL)
            nth_stop("not-provided", "a direct OID request pended at DISPATCH_LEVEL");
        KeWaitForSingleObject(&call->done, Executive, KernelMode, FALSE, NULL);
        status = call->status;
    } else if (call->is_complete) {
        nth_stop("oid-contract", "OID 0x%08x was completed and 0x%08x returned", oid,
                 (unsigned)status);
    }
    nth_lock(&a->lock);
    RemoveEntryList(&call->link);
    nth_unlock(&a->lock);
    return finish(call, status);
}

static void complete(NDIS_HANDLE handle, NDIS_OID_REQUEST *request, NDIS_STATUS status, bool direct)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct nth_adapter *a = ndis_adapter(handle);
    struct ndis_oid_call *found = NULL;

    nth_lock(&a->lock);
    for (LIST_ENTRY *e = a->oid_calls.Flink; e != &a->oid_calls && !found; e = e->Flink) {
        struct ndis_oid_call *c = CONTAINING_RECORD(e, struct ndis_oid_call, link);
        if (c->request == request && c->is_direct == direct && !c->is_complete)
            found = c;
    }
    if (found) {
        found->is_complete = true;
        found->status = status;
    }
    nth_unlock(&a->lock);
    if (!found)
        nth_stop("oid-contract", "request %p is not pending", (void *)request);
    check_status(request, status);
    KeSetEvent(&found->done, IO_NO_INCREMENT, FALSE);
}

VOID NTAPI NdisMOidRequestComplete(NDIS_HANDLE MiniportAdapterHandle, PNDIS_OID_REQUEST OidRequest,
                                   NDIS_STATUS Status)
{
    complete(MiniportAdapterHandle, OidRequest, Status, false);
}
NTH_EXPORT(NdisMOidRequestComplete, 3);

VOID NTAPI NdisMDirectOidRequestComplete(NDIS_HANDLE MiniportAdapterHandle,
                                         PNDIS_OID_REQUEST OidRequest, NDIS_STATUS Status)
{
    complete(MiniportAdapterHandle, OidRequest, Status, true);
}
NTH_EXPORT(NdisMDirectOidRequestComplete, 3);

/* To the miniport; the caller holds the OID gate, so there is one at a time. */
NDIS_STATUS ndis_oid_call(struct nth_adapter *a, NDIS_OID_REQUEST *request)
{
    struct ndis_oid_call call;

    call_begin(a, &call, request, false);
    const struct ndis_callout callout = ndis_callout("MiniportOidRequest");
    const NDIS_STATUS status = a->driver->handlers.OidRequestHandler(a->context, request);
    ndis_callout_end(&callout);
    return call_end(a, &call, status);
}

/* ---- what NDIS answers ---- */

static NDIS_STATUS answer(NDIS_OID_REQUEST *r, const void *data, ULONG bytes)
{
    struct _QUERY *q = &r->DATA.QUERY_INFORMATION;

    q->BytesWritten = 0;
    q->BytesNeeded = bytes;
    if (q->InformationBufferLength < bytes)
        return NDIS_STATUS_BUFFER_TOO_SHORT;
    memcpy(q->InformationBuffer, data, bytes);
    q->BytesWritten = bytes;
    return NDIS_STATUS_SUCCESS;
}

static NDIS_STATUS answer_number(NDIS_OID_REQUEST *r, ULONG value)
{
    return answer(r, &value, sizeof(value));
}

static NDIS_STATUS answer_link(struct nth_adapter *a, NDIS_OID_REQUEST *r)
{
    nth_lock(&a->lock);
    const NDIS_LINK_STATE link = a->link;
    nth_unlock(&a->lock);
    switch (r->DATA.Oid) {
    case OID_GEN_LINK_SPEED:
        return answer_number(r, (ULONG)(link.XmitLinkSpeed / 100));
    case OID_GEN_MEDIA_CONNECT_STATUS: /* NdisMediaStateConnected is 0 */
        return answer_number(r, link.MediaConnectState == MediaConnectStateDisconnected);
    case OID_GEN_MEDIA_CONNECT_STATUS_EX:
        return answer_number(r, (ULONG)link.MediaConnectState);
    case OID_GEN_MEDIA_DUPLEX_STATE:
        return answer_number(r, (ULONG)link.MediaDuplexState);
    default:
        return answer(r, &link, NDIS_SIZEOF_LINK_STATE_REVISION_1);
    }
}

/* NDIS_STATUS_PENDING: not NDIS's, ask the miniport. */
static NDIS_STATUS query_here(struct nth_adapter *a, NDIS_OID_REQUEST *r)
{
    const NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES *g = &a->general;

    switch (r->DATA.Oid) {
    case OID_GEN_SUPPORTED_LIST:
        return answer(r, a->oids, a->oid_count * (ULONG)sizeof(NDIS_OID));
    case OID_GEN_MEDIA_SUPPORTED:
    case OID_GEN_MEDIA_IN_USE:
        return answer_number(r, (ULONG)g->MediaType);
    case OID_GEN_PHYSICAL_MEDIUM:
        return answer_number(r, (ULONG)g->PhysicalMediumType);
    case OID_GEN_MAXIMUM_LOOKAHEAD:
        return answer_number(r, g->LookaheadSize);
    case OID_GEN_CURRENT_LOOKAHEAD:
        return answer_number(r, a->lookahead);
    case OID_GEN_CURRENT_PACKET_FILTER:
        return answer_number(r, a->packet_filter);
    case OID_GEN_MAXIMUM_FRAME_SIZE:
        return answer_number(r, a->mtu);
    case OID_GEN_MAC_OPTIONS:
        return answer_number(r, g->MacOptions);
    case OID_GEN_DRIVER_VERSION:
        return answer_number(r, (a->driver->version >> 16) << 8 | (a->driver->version & 0xFF));
    case OID_GEN_LINK_SPEED:
    case OID_GEN_LINK_STATE:
    case OID_GEN_MEDIA_CONNECT_STATUS:
    case OID_GEN_MEDIA_CONNECT_STATUS_EX:
    case OID_GEN_MEDIA_DUPLEX_STATE:
        return answer_link(a, r);
    case OID_TCP_OFFLOAD_CURRENT_CONFIG:
        if (!a->has_offload)
            return NDIS_STATUS_NOT_SUPPORTED;
        return answer(r, &a->offload_default, a->offload_default.Header.Size);
    case OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES:
        if (!a->has_offload)
            return NDIS_STATUS_NOT_SUPPORTED;
        return answer(r, &a->offload_hardware, a->offload_hardware.Header.Size);
    case OID_802_3_PERMANENT_ADDRESS:
        return answer(r, g->PermanentMacAddress, g->MacAddressLength);
    case OID_802_3_CURRENT_ADDRESS:
        return answer(r, g->CurrentMacAddress, g->MacAddressLength);
    case OID_802_3_MAXIMUM_LIST_SIZE:
        return answer_number(r, g->MaxMulticastListSize);
    default:
        return NDIS_STATUS_PENDING;
    }
}

/* "NDIS handles unsuccessful set requests": what cannot be right does not reach the miniport. */
static NDIS_STATUS set_here(struct nth_adapter *a, NDIS_OID_REQUEST *r)
{
    struct _SET *s = &r->DATA.SET_INFORMATION;
    ULONG value = 0;

    if (r->DATA.Oid != OID_GEN_CURRENT_LOOKAHEAD && r->DATA.Oid != OID_GEN_CURRENT_PACKET_FILTER)
        return NDIS_STATUS_PENDING;
    s->BytesRead = 0;
    s->BytesNeeded = sizeof(value);
    if (s->InformationBufferLength < sizeof(value))
        return NDIS_STATUS_INVALID_LENGTH;
    memcpy(&value, s->InformationBuffer, sizeof(value));
    if (r->DATA.Oid == OID_GEN_CURRENT_LOOKAHEAD && value > a->general.LookaheadSize)
        return NDIS_STATUS_INVALID_DATA;
    if (r->DATA.Oid == OID_GEN_CURRENT_PACKET_FILTER && value & ~a->general.SupportedPacketFilters)
        return NDIS_STATUS_NOT_SUPPORTED;
    s->BytesNeeded = 0;
    return NDIS_STATUS_PENDING;
}

static void remember_set(struct nth_adapter *a, const NDIS_OID_REQUEST *r)
{
    const struct _SET *s = &r->DATA.SET_INFORMATION;

    if (r->DATA.Oid == OID_GEN_CURRENT_LOOKAHEAD)
        memcpy(&a->lookahead, s->InformationBuffer, sizeof(a->lookahead));
    if (r->DATA.Oid == OID_GEN_CURRENT_PACKET_FILTER)
        memcpy(&a->packet_filter, s->InformationBuffer, sizeof(a->packet_filter));
}

/* ---- for the host ---- */

static bool takes_oids(const struct nth_adapter *a)
{
    return ndis_is_up(a) && !a->was_shut_down;
}

static void prepare(NDIS_OID_REQUEST *r)
{
    if (r->Header.Type)
        return;
    r->Header.Type = NDIS_OBJECT_TYPE_OID_REQUEST;
    r->Header.Revision = NDIS_OID_REQUEST_REVISION_1;
    r->Header.Size = NDIS_SIZEOF_OID_REQUEST_REVISION_1;
}

NDIS_STATUS nth_oid(struct nth_adapter *a, NDIS_OID_REQUEST *request)
{
    NDIS_STATUS status = NDIS_STATUS_PENDING;

    prepare(request);
    ndis_gate_enter(&a->oid_gate);
    if (!takes_oids(a))
        status = NDIS_STATUS_NOT_ACCEPTED;
    else if (is_query(request))
        status = query_here(a, request);
    else if (request->RequestType == NdisRequestSetInformation)
        status = set_here(a, request);
    if (status == NDIS_STATUS_PENDING) {
        status = ndis_oid_call(a, request);
        if (status == NDIS_STATUS_SUCCESS && request->RequestType == NdisRequestSetInformation)
            remember_set(a, request);
    }
    ndis_gate_leave(&a->oid_gate);
    return status;
}

static NDIS_STATUS call_direct(struct nth_adapter *a, NDIS_OID_REQUEST *request)
{
    struct ndis_oid_call call;

    if (!a->driver->handlers.DirectOidRequestHandler)
        return NDIS_STATUS_NOT_SUPPORTED;
    call_begin(a, &call, request, true);
    const struct ndis_callout callout = ndis_callout("MiniportDirectOidRequest");
    const NDIS_STATUS status = a->driver->handlers.DirectOidRequestHandler(a->context, request);
    ndis_callout_end(&callout);
    return call_end(a, &call, status);
}

NDIS_STATUS nth_oid_direct(struct nth_adapter *a, NDIS_OID_REQUEST *request)
{
    prepare(request);
    if (!ndis_direct_begin(a))
        return NDIS_STATUS_NOT_ACCEPTED;
    const NDIS_STATUS status = call_direct(a, request);
    ndis_direct_end(a);
    return status;
}

static NDIS_STATUS call_synchronous(struct nth_adapter *a, NDIS_OID_REQUEST *request)
{
    const NDIS_OID_REQUEST before = *request;

    if (!a->driver->handlers.SynchronousOidRequestHandler)
        return NDIS_STATUS_NOT_SUPPORTED;
    const struct ndis_callout callout = ndis_callout("MiniportSynchronousOidRequest");
    const NDIS_STATUS status =
        a->driver->handlers.SynchronousOidRequestHandler(a->context, request);
    ndis_callout_end(&callout);
    check_unchanged(request, &before);
    check_status(request, status);
    check_counts(request, status);
    return status;
}

NDIS_STATUS nth_oid_synchronous(struct nth_adapter *a, NDIS_OID_REQUEST *request)
{
    prepare(request);
    if (!ndis_direct_begin(a))
        return NDIS_STATUS_NOT_ACCEPTED;
    const NDIS_STATUS status = call_synchronous(a, request);
    ndis_direct_end(a);
    return status;
}

void nth_cancel_oid(struct nth_adapter *a, void *request_id)
{
    if (!ndis_direct_begin(a))
        return;
    const struct ndis_callout call = ndis_callout("MiniportCancelOidRequest");
    a->driver->handlers.CancelOidRequestHandler(a->context, request_id);
    ndis_callout_end(&call);
    ndis_direct_end(a);
}

NDIS_STATUS nth_query(struct nth_adapter *a, NDIS_OID oid, void *buffer, ULONG size, ULONG *written)
{
    NDIS_OID_REQUEST r = {.RequestType = NdisRequestQueryInformation};

    r.DATA.QUERY_INFORMATION.Oid = oid;
    r.DATA.QUERY_INFORMATION.InformationBuffer = buffer;
    r.DATA.QUERY_INFORMATION.InformationBufferLength = size;
    const NDIS_STATUS status = nth_oid(a, &r);
    if (written)
        *written = status == NDIS_STATUS_SUCCESS ? r.DATA.QUERY_INFORMATION.BytesWritten
                                                 : r.DATA.QUERY_INFORMATION.BytesNeeded;
    return status;
}

NDIS_STATUS nth_set(struct nth_adapter *a, NDIS_OID oid, const void *buffer, ULONG size)
{
    NDIS_OID_REQUEST r = {.RequestType = NdisRequestSetInformation};

    r.DATA.SET_INFORMATION.Oid = oid;
    r.DATA.SET_INFORMATION.InformationBuffer = (void *)buffer;
    r.DATA.SET_INFORMATION.InformationBufferLength = size;
    return nth_oid(a, &r);
}

/* ---- cloned requests: for drivers that pass requests on ---- */

NDIS_STATUS NTAPI NdisAllocateCloneOidRequest(NDIS_HANDLE SourceHandle,
                                              PNDIS_OID_REQUEST OidRequest, UINT PoolTag,
                                              PNDIS_OID_REQUEST *ClonedOidRequest)
{
    nth_irql_max(DISPATCH_LEVEL);
    NDIS_OID_REQUEST *clone = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*clone), PoolTag);

    *ClonedOidRequest = clone;
    if (!clone)
        return NDIS_STATUS_RESOURCES;
    memcpy(clone, OidRequest,
           OidRequest->Header.Size < sizeof(*clone) ? OidRequest->Header.Size : sizeof(*clone));
    memset(clone->NdisReserved, 0, sizeof(clone->NdisReserved));
    memset(clone->MiniportReserved, 0, sizeof(clone->MiniportReserved));
    memset(clone->SourceReserved, 0, sizeof(clone->SourceReserved));
    return NDIS_STATUS_SUCCESS;
}
NTH_EXPORT(NdisAllocateCloneOidRequest, 4);

VOID NTAPI NdisFreeCloneOidRequest(NDIS_HANDLE SourceHandle, PNDIS_OID_REQUEST Request)
{
    nth_irql_max(DISPATCH_LEVEL);
    ExFreePool(Request);
}
NTH_EXPORT(NdisFreeCloneOidRequest, 2);
