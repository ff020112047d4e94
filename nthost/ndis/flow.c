/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Packets on their way: send, send complete, indicate, return; bindings; status indications. Every
 * list has one owner at any time and every hand-over is checked. Must never touch a list after it
 * was handed over.
 */
#include "ndis/private.h"

#include <string.h>

/* ---- bindings ---- */

void nth_bind(struct nth_adapter *a, const struct nth_binding *binding)
{
    struct ndis_binding *b = ndis_alloc(sizeof(*b));
    int slot = 0;

    if (!b)
        nth_fail("no memory for a binding");
    b->calls = *binding;
    ndis_count_init(&b->uses);
    ndis_count_init(&b->sends);
    nth_lock(&a->lock);
    while (slot < NDIS_MAX_BINDINGS && a->bindings[slot])
        slot++;
    if (slot < NDIS_MAX_BINDINGS)
        a->bindings[slot] = b;
    nth_unlock(&a->lock);
    if (slot == NDIS_MAX_BINDINGS)
        nth_fail("more than %d bindings", NDIS_MAX_BINDINGS);
}

/* The binding whose context is `context`, or the first; counted as in use. */
static struct ndis_binding *binding_get(struct nth_adapter *a, const void *context)
{
    struct ndis_binding *found = NULL;

    nth_lock(&a->lock);
    for (int i = 0; i < NDIS_MAX_BINDINGS; i++) {
        struct ndis_binding *b = a->bindings[i];
        if (!b)
            continue;
        if (!found || b->calls.context == context)
            found = b;
        if (b->calls.context == context)
            break;
    }
    if (found)
        ndis_count_add(&found->uses, 1);
    nth_unlock(&a->lock);
    return found;
}

static void binding_put(struct ndis_binding *b)
{
    ndis_count_sub(&b->uses, 1);
}

/* Takes it out, so that nobody finds it, and waits for who did: then it is the caller's alone. Its
 * memory goes with the adapter, because the last user may still be on its way out of the count. */
static void binding_retire(struct nth_adapter *a, struct ndis_binding *b)
{
    nth_lock(&a->lock);
    for (int i = 0; i < NDIS_MAX_BINDINGS; i++)
        if (a->bindings[i] == b)
            a->bindings[i] = NULL;
    b->next_retired = a->retired;
    a->retired = b;
    nth_unlock(&a->lock);
    ndis_count_wait(&b->uses);
}

/* The binding that context had, for who is still on its way here when the adapter goes. */
static struct ndis_binding *binding_retired(struct nth_adapter *a, const void *context)
{
    nth_lock(&a->lock);
    struct ndis_binding *b = a->retired;
    while (b && b->calls.context != context)
        b = b->next_retired;
    nth_unlock(&a->lock);
    return b;
}

void nth_unbind(struct nth_adapter *a, void *context)
{
    struct ndis_binding *b = binding_get(a, context);

    if (!b)
        return;
    binding_put(b);
    if (b->calls.context != context || __atomic_load_n(&b->is_detaching, __ATOMIC_ACQUIRE))
        return;
    ndis_count_wait(&b->sends);
    binding_retire(a, b);
}

/* A protocol is paused before the miniport is: it gives back what it holds. */
void ndis_binding_pause_all(struct nth_adapter *a)
{
    for (int i = 0; i < NDIS_MAX_BINDINGS; i++) {
        struct ndis_binding *b = a->bindings[i];
        if (b && b->calls.pause)
            b->calls.pause(b->calls.context);
    }
}

/* The adapter goes. First call: bindings return what they hold; sends of theirs may still complete
 * until the miniport is paused. Last call: forget them. */
void ndis_binding_detach_all(struct nth_adapter *a, bool last)
{
    for (int i = 0; i < NDIS_MAX_BINDINGS; i++) {
        struct ndis_binding *b = a->bindings[i];
        if (!b)
            continue;
        if (!last) {
            __atomic_store_n(&b->is_detaching, true, __ATOMIC_RELEASE);
            if (!b->calls.pause && b->calls.detach)
                b->calls.detach(b->calls.context);
            continue;
        }
        binding_retire(a, b);
        if (b->calls.pause && b->calls.detach)
            b->calls.detach(b->calls.context);
    }
}

/* ---- send ---- */

/* NDIS completes it itself: nothing of it has reached the miniport. */
static void refuse(struct ndis_binding *b, NET_BUFFER_LIST *lists, NDIS_STATUS status, ULONG flags)
{
    for (NET_BUFFER_LIST *l = lists; l; l = l->Next)
        l->Status = status;
    b->calls.send_complete(
        b->calls.context, lists,
        flags & NDIS_SEND_FLAGS_DISPATCH_LEVEL ? NDIS_SEND_COMPLETE_FLAGS_DISPATCH_LEVEL : 0);
}

static void hand_to_miniport(struct nth_adapter *a, struct ndis_binding *b, NET_BUFFER_LIST *lists)
{
    LONG count = 0;

    for (NET_BUFFER_LIST *l = lists; l; l = l->Next, count++) {
        struct ndis_nbl *n = ndis_nbl(l);
        const char *fault = ndis_nbl_fault(l);
        if (fault)
            nth_fail("nth_send: list %d has %s", count, fault);
        ndis_nbl_move(n, NDIS_NBL_OWNED, NDIS_NBL_SENT, "nbl-not-owned", "nth_send");
        n->adapter = a;
        n->binding = b;
        n->shape = ndis_nbl_shape(l);
    }
    ndis_count_add(&b->sends, count);
    ndis_count_add(&a->sent, count);
}

static void send_lists(struct nth_adapter *a, NET_BUFFER_LIST *lists, ULONG flags, bool unchecked)
{
    struct ndis_binding *b = binding_get(a, lists->SourceHandle);

    if (!b && (b = binding_retired(a, lists->SourceHandle)) != NULL) {
        refuse(b, lists, NDIS_STATUS_PAUSED, flags); /* the sender has not heard of it yet */
        return;
    }
    if (!b)
        nth_fail("nth_send: nothing is bound");
    if ((flags & NDIS_SEND_FLAGS_DISPATCH_LEVEL) && nth_irql() != DISPATCH_LEVEL)
        nth_fail("nth_send: DISPATCH_LEVEL flag at IRQL %u", nth_irql());
    ndis_count_add(&a->sending, 1);
    const enum nth_adapter_state state = ndis_state(a);
    const bool may_send =
        state == NTH_RUNNING || (unchecked && state != NTH_HALTED && state != NTH_INITIALIZING);
    if (may_send) {
        hand_to_miniport(a, b, lists);
        const struct ndis_callout call = ndis_callout("MiniportSendNetBufferLists");
        a->driver->handlers.SendNetBufferListsHandler(a->context, lists, 0, flags);
        ndis_callout_end(&call);
    } else {
        refuse(b, lists, NDIS_STATUS_PAUSED, flags);
    }
    /* "Must reject all send requests immediately" once it is paused (MiniportPause) */
    const bool is_paused = ndis_state(a) == NTH_PAUSED;
    if (is_paused && ndis_count_get(&a->sending) == 1 && ndis_count_get(&a->sent))
        nth_stop("send-held-while-paused", "%d lists are not completed", ndis_count_get(&a->sent));
    ndis_count_sub(&a->sending, 1);
    binding_put(b);
}

void nth_send(struct nth_adapter *a, NET_BUFFER_LIST *lists, ULONG flags)
{
    send_lists(a, lists, flags, false);
}

void nth_send_unchecked(struct nth_adapter *a, NET_BUFFER_LIST *lists, ULONG flags)
{
    send_lists(a, lists, flags, true);
}

void nth_cancel_sends(struct nth_adapter *a, void *cancel_id)
{
    if (!ndis_direct_begin(a))
        return;
    const struct ndis_callout call = ndis_callout("MiniportCancelSend");
    a->driver->handlers.CancelSendHandler(a->context, cancel_id);
    ndis_callout_end(&call);
    ndis_direct_end(a);
}

/* Statuses that NdisMSendNetBufferListsComplete lists are all errors but success; others of error
 * and warning severity (NDIS_STATUS_BUFFER_OVERFLOW) are seen in the field and let pass. After a
 * surprise removal NDIS_STATUS_NOT_ACCEPTED, which is of success severity, is what
 * MiniportDevicePnPEventNotify asks for. */
static void check_completed(struct nth_adapter *a, NET_BUFFER_LIST *list)
{
    struct ndis_nbl *n = ndis_nbl(list);
    const ULONG severity = (ULONG)list->Status >> 30;

    ndis_nbl_move(n, NDIS_NBL_SENT, NDIS_NBL_OWNED,
                  n->adapter == a ? "nbl-completed-twice" : "nbl-not-owned",
                  "NdisMSendNetBufferListsComplete");
    if (n->adapter != a)
        nth_stop("nbl-not-owned", "list %p was sent to another adapter", (void *)list);
    const bool is_gone = list->Status == NDIS_STATUS_NOT_ACCEPTED &&
                         __atomic_load_n(&a->was_surprised, __ATOMIC_SEQ_CST);
    if (list->Status != NDIS_STATUS_SUCCESS && severity < 2 && !is_gone)
        nth_stop("nbl-status-invalid", "list %p is completed with 0x%08x", (void *)list,
                 (unsigned)list->Status);
    if (ndis_nbl_shape(list) != n->shape)
        nth_stop("nbl-chain-modified", "the buffers of list %p are not those that were sent",
                 (void *)list);
}

/* One run of lists of one binding; `next` of the last is cut by the caller. */
static void give_back(struct nth_adapter *a, struct ndis_binding *b, NET_BUFFER_LIST *lists,
                      LONG count, ULONG flags)
{
    ndis_count_add(&b->uses, 1);
    ndis_count_sub(&a->sent, count);
    const void *host = nth_host_begin();
    b->calls.send_complete(b->calls.context, lists, flags);
    nth_host_end(host);
    ndis_count_sub(&b->sends, count);
    binding_put(b);
}

VOID NTAPI NdisMSendNetBufferListsComplete(NDIS_HANDLE MiniportAdapterHandle,
                                           PNET_BUFFER_LIST NetBufferList, ULONG SendCompleteFlags)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct nth_adapter *a = ndis_adapter(MiniportAdapterHandle);
    NET_BUFFER_LIST *lists = NetBufferList;

    ndis_check_level(SendCompleteFlags & NDIS_SEND_COMPLETE_FLAGS_DISPATCH_LEVEL);
    ndis_check_no_lock();
    for (NET_BUFFER_LIST *l = lists; l; l = l->Next)
        check_completed(a, l);
    while (lists) {
        struct ndis_binding *b = ndis_nbl(lists)->binding;
        NET_BUFFER_LIST *last = lists;
        LONG count = 1;
        for (; last->Next && ndis_nbl(last->Next)->binding == b; count++)
            last = last->Next;
        NET_BUFFER_LIST *rest = last->Next;
        last->Next = NULL;
        give_back(a, b, lists, count, SendCompleteFlags);
        lists = rest;
    }
}
NTH_EXPORT(NdisMSendNetBufferListsComplete, 3);

/* A protocol's function. Miniports may call it only with a binding of their own protocol half. */
VOID NTAPI NdisCancelSendNetBufferLists(NDIS_HANDLE NdisBindingHandle, PVOID CancelId)
{
    nth_stop("not-provided", "NdisCancelSendNetBufferLists: no driver here has a binding");
}
NTH_EXPORT(NdisCancelSendNetBufferLists, 2);

/* ---- receive ---- */

static const ULONG receive_flags =
    NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL | NDIS_RECEIVE_FLAGS_RESOURCES |
    NDIS_RECEIVE_FLAGS_SINGLE_ETHER_TYPE | NDIS_RECEIVE_FLAGS_SINGLE_VLAN |
    NDIS_RECEIVE_FLAGS_PERFECT_FILTERED | NDIS_RECEIVE_FLAGS_SINGLE_QUEUE |
    NDIS_RECEIVE_FLAGS_SHARED_MEMORY_INFO_VALID | NDIS_RECEIVE_FLAGS_MORE_NBLS;

/* EtherType in host order, from the data itself; 0: the medium has none or it cannot be read. */
static ULONG ether_type(const struct nth_adapter *a, NET_BUFFER_LIST *list)
{
    NET_BUFFER *nb = list->FirstNetBuffer;
    const bool is_ip = a->general.MediaType == NdisMediumIP;
    const ULONG bytes = is_ip ? 1 : 14;
    UCHAR header[16];

    if ((!is_ip && a->general.MediaType != NdisMedium802_3) || nb->DataLength < bytes)
        return 0;
    if (!ndis_nb_peek(nb, header, bytes))
        return 0;
    if (!is_ip)
        return (ULONG)header[12] << 8 | header[13];
    return header[0] >> 4 == 4 ? 0x0800 : header[0] >> 4 == 6 ? 0x86DD : 0;
}

static ULONG frame_type(const NET_BUFFER_LIST *list)
{
    const ULONG raw = (USHORT)(ULONG_PTR)list->NetBufferListInfo[NetBufferListFrameType];

    return (raw & 0xFF) << 8 | raw >> 8;
}

/* The flag promises one EtherType; where the medium shows it the promise is compared with the data,
 * and the frame type the driver wrote with both. */
static void check_single_type(const struct nth_adapter *a, NET_BUFFER_LIST *lists)
{
    const ULONG first = ether_type(a, lists), written = frame_type(lists);

    for (NET_BUFFER_LIST *l = lists; l; l = l->Next)
        if (ether_type(a, l) != first || frame_type(l) != written)
            nth_stop("flags-single-ether-type", "lists of EtherType 0x%04x and 0x%04x together",
                     first ? first : written, first ? ether_type(a, l) : frame_type(l));
}

static void check_marks(const struct nth_adapter *a, NET_BUFFER_LIST *list)
{
    const ULONG real = ether_type(a, list), written = frame_type(list);
    const bool says_4 = list->NblFlags & NDIS_NBL_FLAGS_IS_IPV4;
    const bool says_6 = list->NblFlags & NDIS_NBL_FLAGS_IS_IPV6;

    if (real && written && real != written)
        nth_stop("nbl-marks", "NetBufferListFrameType says 0x%04x, the data 0x%04x", written, real);
    if (real && ((says_4 && real != 0x0800) || (says_6 && real != 0x86DD) || (says_4 && says_6)))
        nth_stop("nbl-marks", "NblFlags 0x%x on EtherType 0x%04x", list->NblFlags, real);
}

static void check_list(const struct nth_adapter *a, NET_BUFFER_LIST *list)
{
    const struct ndis_nbl *n = ndis_nbl(list);
    const LONG state = __atomic_load_n(&n->state, __ATOMIC_SEQ_CST);

    if (state != NDIS_NBL_OWNED)
        nth_stop("nbl-not-owned", "list %p is indicated and is not the miniport's",
                 (const void *)list);
    if (list->SourceHandle != a)
        nth_stop("nbl-source-handle", "SourceHandle is %p, not the adapter's handle",
                 list->SourceHandle);
    const char *fault = ndis_nbl_fault(list);
    if (fault)
        nth_stop("nbl-data", "list %p has %s", (const void *)list, fault);
    check_marks(a, list);
}

static void check_indication(struct nth_adapter *a, NET_BUFFER_LIST *lists, NDIS_PORT_NUMBER port,
                             ULONG count, ULONG flags)
{
    const enum nth_adapter_state state = ndis_state(a);
    ULONG seen = 0;

    ndis_check_level(flags & NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL);
    ndis_check_no_lock();
    if (state != NTH_RUNNING && state != NTH_RESTARTING && state != NTH_PAUSING)
        nth_stop("indicate-while-paused", "the adapter is %s", ndis_state_name(state));
    if (port)
        nth_stop("port-invalid", "port %u was not allocated", port);
    if (flags & ~receive_flags)
        nth_stop("flags-invalid", "ReceiveFlags 0x%x", flags);
    for (NET_BUFFER_LIST *l = lists; l; l = l->Next, seen++)
        check_list(a, l);
    if (!seen || seen != count)
        nth_stop("nbl-count", "%u lists are indicated as %u", seen, count);
    if (flags & NDIS_RECEIVE_FLAGS_SINGLE_ETHER_TYPE)
        check_single_type(a, lists);
}

static void move_all(struct nth_adapter *a, NET_BUFFER_LIST *lists, enum ndis_nbl_state from,
                     enum ndis_nbl_state to)
{
    for (NET_BUFFER_LIST *l = lists; l; l = l->Next) {
        struct ndis_nbl *n = ndis_nbl(l);
        ndis_nbl_move(n, from, to, "nbl-not-owned", "NdisMIndicateReceiveNetBufferLists");
        n->adapter = a;
    }
}

/* With nobody bound NDIS itself is the receiver: it looks at nothing and gives all back. */
static void deliver(struct nth_adapter *a, NET_BUFFER_LIST *lists, ULONG count, ULONG flags)
{
    struct ndis_binding *b = binding_get(a, NULL);

    if (b && !__atomic_load_n(&b->is_detaching, __ATOMIC_ACQUIRE))
        b->calls.receive(b->calls.context, lists, count, flags);
    else if (!(flags & NDIS_RECEIVE_FLAGS_RESOURCES))
        nth_return(a, lists,
                   flags & NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL ? NDIS_RETURN_FLAGS_DISPATCH_LEVEL
                                                             : 0);
    if (b)
        binding_put(b);
}

VOID NTAPI NdisMIndicateReceiveNetBufferLists(NDIS_HANDLE MiniportAdapterHandle,
                                              PNET_BUFFER_LIST NetBufferLists,
                                              NDIS_PORT_NUMBER PortNumber,
                                              ULONG NumberOfNetBufferLists, ULONG ReceiveFlags)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct nth_adapter *a = ndis_adapter(MiniportAdapterHandle);
    const bool is_lent = ReceiveFlags & NDIS_RECEIVE_FLAGS_RESOURCES;

    check_indication(a, NetBufferLists, PortNumber, NumberOfNetBufferLists, ReceiveFlags);
    ndis_count_add(&a->indicating, 1);
    move_all(a, NetBufferLists, NDIS_NBL_OWNED, is_lent ? NDIS_NBL_LENT : NDIS_NBL_INDICATED);
    if (!is_lent)
        ndis_count_add(&a->indicated, (LONG)NumberOfNetBufferLists);
    const struct ndis_callout call = ndis_callout("the receivers");
    const void *host = nth_host_begin();
    deliver(a, NetBufferLists, NumberOfNetBufferLists, ReceiveFlags);
    nth_host_end(host);
    ndis_callout_end(&call);
    if (is_lent)
        move_all(a, NetBufferLists, NDIS_NBL_LENT, NDIS_NBL_OWNED);
    ndis_count_sub(&a->indicating, 1);
}
NTH_EXPORT(NdisMIndicateReceiveNetBufferLists, 5);

void nth_return(struct nth_adapter *a, NET_BUFFER_LIST *lists, ULONG flags)
{
    LONG count = 0;

    if ((flags & NDIS_RETURN_FLAGS_DISPATCH_LEVEL) && nth_irql() != DISPATCH_LEVEL)
        nth_fail("nth_return: DISPATCH_LEVEL flag at IRQL %u", nth_irql());
    for (NET_BUFFER_LIST *l = lists; l; l = l->Next, count++) {
        struct ndis_nbl *n = ndis_nbl(l);
        ndis_nbl_move(n, NDIS_NBL_INDICATED, NDIS_NBL_OWNED, "nbl-returned-not-indicated",
                      "nth_return");
        if (n->adapter != a)
            nth_fail("nth_return: list %p belongs to another adapter", (void *)l);
    }
    ndis_count_sub(&a->indicated, count);
    const struct ndis_callout call = ndis_callout("MiniportReturnNetBufferLists");
    a->driver->handlers.ReturnNetBufferListsHandler(a->context, lists, flags);
    ndis_callout_end(&call);
}

/* ---- status ---- */

static void check_link_state(const NDIS_STATUS_INDICATION *s)
{
    static const USHORT sizes[] = {NDIS_SIZEOF_LINK_STATE_REVISION_1};
    const NDIS_LINK_STATE *link = s->StatusBuffer;

    if (!link || s->StatusBufferSize < NDIS_SIZEOF_LINK_STATE_REVISION_1 ||
        !ndis_header_is(&link->Header, NDIS_OBJECT_TYPE_DEFAULT, 1, sizes))
        nth_stop("status-invalid", "NDIS_STATUS_LINK_STATE with a buffer of %u bytes",
                 s->StatusBufferSize);
    if (link->MediaConnectState > MediaConnectStateDisconnected ||
        link->MediaDuplexState > MediaDuplexStateFull)
        nth_stop("status-invalid", "link state %d, duplex %d", link->MediaConnectState,
                 link->MediaDuplexState);
}

static void check_status(struct nth_adapter *a, const NDIS_STATUS_INDICATION *s)
{
    static const USHORT sizes[] = {NDIS_SIZEOF_STATUS_INDICATION_REVISION_1};

    if (!ndis_header_is(&s->Header, NDIS_OBJECT_TYPE_STATUS_INDICATION, 1, sizes))
        nth_stop("status-invalid", "header type 0x%02x revision %u size %u", s->Header.Type,
                 s->Header.Revision, s->Header.Size);
    if (s->SourceHandle != a)
        nth_stop("status-invalid", "SourceHandle is %p, not the adapter's handle", s->SourceHandle);
    if (!a->has_registration)
        nth_stop("status-invalid", "indicated before the registration attributes were set");
    if (s->StatusBufferSize && !s->StatusBuffer)
        nth_stop("status-invalid", "%u bytes at NULL", s->StatusBufferSize);
    if (s->StatusCode == NDIS_STATUS_LINK_STATE)
        check_link_state(s);
}

void ndis_status_to_bindings(struct nth_adapter *a, const NDIS_STATUS_INDICATION *status)
{
    struct ndis_binding *all[NDIS_MAX_BINDINGS];
    int count = 0;

    nth_lock(&a->lock);
    for (int i = 0; i < NDIS_MAX_BINDINGS; i++) {
        if (!a->bindings[i])
            continue;
        all[count++] = a->bindings[i];
        ndis_count_add(&a->bindings[i]->uses, 1);
    }
    nth_unlock(&a->lock);
    for (int i = 0; i < count; i++) {
        if (all[i]->calls.status && !__atomic_load_n(&all[i]->is_detaching, __ATOMIC_ACQUIRE))
            all[i]->calls.status(all[i]->calls.context, status);
        binding_put(all[i]);
    }
}

VOID NTAPI NdisMIndicateStatusEx(NDIS_HANDLE MiniportAdapterHandle,
                                 PNDIS_STATUS_INDICATION StatusIndication)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct nth_adapter *a = ndis_object_check(MiniportAdapterHandle, NDIS_KIND_ADAPTER);
    const NDIS_STATUS_INDICATION *s = StatusIndication;

    if (ndis_state(a) == NTH_HALTED)
        nth_stop("status-after-halt", "status 0x%08x from a halted adapter",
                 (unsigned)s->StatusCode);
    ndis_check_no_lock();
    check_status(a, s);
    if (s->StatusCode == NDIS_STATUS_LINK_STATE) {
        nth_lock(&a->lock);
        memcpy(&a->link, s->StatusBuffer, NDIS_SIZEOF_LINK_STATE_REVISION_1);
        nth_unlock(&a->lock);
    }
    nth_trace("ndis: adapter %u indicates status 0x%08x", a->index, (unsigned)s->StatusCode);
    const struct ndis_callout call = ndis_callout("the receivers of a status");
    const void *host = nth_host_begin();
    ndis_status_to_bindings(a, s);
    nth_host_end(host);
    ndis_callout_end(&call);
}
NTH_EXPORT(NdisMIndicateStatusEx, 2);

/* ---- network PnP events ---- */

/* A miniport may only activate and deactivate ports, and only the default one exists here. "Must
 * not be called from MiniportOidRequest, nor while a request is pending". */
NDIS_STATUS NTAPI NdisMNetPnPEvent(NDIS_HANDLE MiniportAdapterHandle,
                                   PNET_PNP_EVENT_NOTIFICATION NetPnPEventNotification)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    static const USHORT sizes[] = {NDIS_SIZEOF_NET_PNP_EVENT_NOTIFICATION_REVISION_1,
                                   NDIS_SIZEOF_NET_PNP_EVENT_NOTIFICATION_REVISION_2};
    struct nth_adapter *a = ndis_adapter(MiniportAdapterHandle);
    const NET_PNP_EVENT_NOTIFICATION *n = NetPnPEventNotification;

    nth_lock(&a->lock);
    const bool has_request = !IsListEmpty(&a->oid_calls);
    nth_unlock(&a->lock);
    if (has_request)
        nth_stop("net-pnp-event-in-request", "an OID request is in progress");
    if (!ndis_header_is(&n->Header, NDIS_OBJECT_TYPE_DEFAULT, 2, sizes))
        return NDIS_STATUS_INVALID_PARAMETER;
    if (n->NetPnPEvent.NetEvent != NetEventPortActivation &&
        n->NetPnPEvent.NetEvent != NetEventPortDeactivation)
        nth_stop("net-pnp-event-code", "event %d is not a miniport's", n->NetPnPEvent.NetEvent);
    if (!(a->registration.AttributeFlags & NDIS_MINIPORT_ATTRIBUTES_CONTROLS_DEFAULT_PORT))
        return NDIS_STATUS_INVALID_PORT;
    nth_stop("not-provided", "NdisMNetPnPEvent: control of the default port");
}
NTH_EXPORT(NdisMNetPnPEvent, 2);
