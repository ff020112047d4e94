/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * OID requests (ndis/oid.c): who answers which, one at a time, and what a driver may not do to a
 * request. Pages: MiniportOidRequest, NdisMOidRequestComplete, NDIS_OID_REQUEST, "Mandatory OIDs
 * for miniport drivers".
 */
#include "puppet.h"

static NDIS_OID_REQUEST query_of(NDIS_OID oid, void *buffer, ULONG bytes)
{
    NDIS_OID_REQUEST r = {.RequestType = NdisRequestQueryInformation};

    r.DATA.QUERY_INFORMATION.Oid = oid;
    r.DATA.QUERY_INFORMATION.InformationBuffer = buffer;
    r.DATA.QUERY_INFORMATION.InformationBufferLength = bytes;
    return r;
}

/* "NDIS handles the query and does not send it to the miniport driver". */
TEST(query_of_attributes_is_answered_by_ndis)
{
    static const struct {
        NDIS_OID oid;
        ULONG value;
    } known[] = {
        {OID_GEN_MEDIA_SUPPORTED, NdisMediumIP}, {OID_GEN_MEDIA_IN_USE, NdisMediumIP},
        {OID_GEN_MAXIMUM_LOOKAHEAD, 1500},       {OID_GEN_CURRENT_LOOKAHEAD, 1500},
        {OID_GEN_MAXIMUM_FRAME_SIZE, 1500},      {OID_GEN_MAC_OPTIONS, NDIS_MAC_OPTION_NO_LOOPBACK},
        {OID_GEN_LINK_SPEED, 10000000}, /* in units of 100 bit/s */
        {OID_GEN_MEDIA_CONNECT_STATUS, 0},       {OID_GEN_CURRENT_PACKET_FILTER, 0},
    };

    boot();
    struct puppet p = plug();
    for (size_t i = 0; i < ARRAYSIZE(known); i++) {
        ULONG value = 0xFFFFFFFF, written = 0;
        CHECK_STATUS(nth_query(p.adapter, known[i].oid, &value, 4, &written), NDIS_STATUS_SUCCESS);
        CHECK_EQ(value, known[i].value);
        CHECK_EQ(written, 4);
    }
    CHECK_EQ(S.Oids, 0);
    unplug(&p);
}

/* A buffer too small: NDIS_STATUS_BUFFER_TOO_SHORT and what is needed. */
TEST(query_too_short_tells_what_is_needed)
{
    ULONG value, needed = 0;

    boot();
    struct puppet p = plug();
    CHECK_STATUS(nth_query(p.adapter, OID_GEN_MEDIA_IN_USE, &value, 3, &needed),
                 NDIS_STATUS_BUFFER_TOO_SHORT);
    CHECK_EQ(needed, 4);
    CHECK_STATUS(nth_query(p.adapter, OID_GEN_MAXIMUM_TOTAL_SIZE, &value, 0, &needed),
                 NDIS_STATUS_BUFFER_TOO_SHORT);
    CHECK_EQ(needed, 4);
    CHECK_EQ(S.Oids, 1);
    unplug(&p);
}

/* "There is no other way to get this information": the miniport is asked. */
TEST(query_of_the_miniport_reaches_it)
{
    ULONG value = 0;

    boot();
    struct puppet p = plug();
    CHECK_STATUS(nth_query(p.adapter, OID_GEN_MAXIMUM_TOTAL_SIZE, &value, 4, NULL), 0);
    CHECK_EQ(value, 1514);
    CHECK_STATUS(nth_query(p.adapter, OID_GEN_STATISTICS, &value, 4, NULL),
                 NDIS_STATUS_NOT_SUPPORTED);
    unplug(&p);
}

/* "Handles unsuccessful set requests; sends valid set requests to the miniport". */
TEST(set_invalid_lookahead_or_filter_stays_in_ndis)
{
    ULONG value = 1501;

    boot();
    struct puppet p = plug();
    CHECK_STATUS(nth_set(p.adapter, OID_GEN_CURRENT_LOOKAHEAD, &value, 4),
                 NDIS_STATUS_INVALID_DATA);
    CHECK_STATUS(nth_set(p.adapter, OID_GEN_CURRENT_LOOKAHEAD, &value, 2),
                 NDIS_STATUS_INVALID_LENGTH);
    value = NDIS_PACKET_TYPE_PROMISCUOUS;
    CHECK_STATUS(nth_set(p.adapter, OID_GEN_CURRENT_PACKET_FILTER, &value, 4),
                 NDIS_STATUS_NOT_SUPPORTED);
    CHECK_EQ(S.Oids, 0);
    value = 256;
    CHECK_STATUS(nth_set(p.adapter, OID_GEN_CURRENT_LOOKAHEAD, &value, 4), NDIS_STATUS_SUCCESS);
    CHECK_EQ(S.Oids, 1);
    value = 0;
    CHECK_STATUS(nth_query(p.adapter, OID_GEN_CURRENT_LOOKAHEAD, &value, 4, NULL), 0);
    CHECK_EQ(value, 256);
    unplug(&p);
}

struct asked {
    struct nth_adapter *adapter;
    NDIS_STATUS status;
    bool is_direct;
};

static void ask(void *context)
{
    struct asked *a = context;
    ULONG value = 0;
    NDIS_OID_REQUEST r = query_of(OID_GEN_MAXIMUM_TOTAL_SIZE, &value, 4);

    a->status = a->is_direct ? nth_oid_direct(a->adapter, &r) : nth_oid(a->adapter, &r);
}

/* "Miniport Adapter OID Request Serialization": the next request waits for the pended one. */
TEST(requests_are_given_one_at_a_time)
{
    boot();
    struct puppet p = plug();
    struct asked first = {.adapter = p.adapter}, second = first;
    S.Oid = PUPPET_PEND;
    struct nth_thread *one = nth_spawn("first", ask, &first);
    nth_settle();
    struct nth_thread *two = nth_spawn("second", ask, &second);
    nth_settle();
    CHECK_EQ(S.Oids, 1);
    S.Oid = PUPPET_GOOD;
    CALL(NdisMOidRequestComplete, P(S.Adapter), P(S.HeldOid), NDIS_STATUS_REQUEST_ABORTED);
    nth_join(one);
    nth_join(two);
    CHECK_STATUS(first.status, NDIS_STATUS_REQUEST_ABORTED);
    CHECK_STATUS(second.status, NDIS_STATUS_SUCCESS);
    CHECK_EQ(S.Oids, 2);
    unplug(&p);
}

/* "Direct OID requests are not serialized with others". */
TEST(direct_requests_are_not_serialized)
{
    boot();
    S.HasDirect = 1;
    struct puppet p = plug();
    struct asked queued = {.adapter = p.adapter}, direct = {p.adapter, 0, true};
    S.Oid = PUPPET_PEND;
    struct nth_thread *one = nth_spawn("queued", ask, &queued);
    nth_settle();
    NDIS_OID_REQUEST *held = S.HeldOid;
    struct nth_thread *two = nth_spawn("direct", ask, &direct);
    nth_settle();
    CHECK_EQ(S.Oids, 1);
    CHECK_EQ(S.DirectOids, 1);
    CALL(NdisMDirectOidRequestComplete, P(S.Adapter), P(S.HeldOid), NDIS_STATUS_NOT_SUPPORTED);
    CALL(NdisMOidRequestComplete, P(S.Adapter), P(held), NDIS_STATUS_NOT_SUPPORTED);
    nth_join(one);
    nth_join(two);
    S.Oid = PUPPET_GOOD;
    unplug(&p);
}

/* Drivers without the handlers do not get such requests. */
TEST(direct_and_synchronous_without_handlers_are_not_supported)
{
    ULONG value;

    boot();
    struct puppet p = plug();
    NDIS_OID_REQUEST r = query_of(OID_GEN_MAXIMUM_TOTAL_SIZE, &value, 4);
    CHECK_STATUS(nth_oid_direct(p.adapter, &r), NDIS_STATUS_NOT_SUPPORTED);
    CHECK_STATUS(nth_oid_synchronous(p.adapter, &r), NDIS_STATUS_NOT_SUPPORTED);
    unplug(&p);
}

TEST(synchronous_request_at_dispatch_is_answered)
{
    ULONG value = 0;

    boot();
    S.HasSynchronous = 1;
    struct puppet p = plug();
    NDIS_OID_REQUEST r = query_of(OID_GEN_MAXIMUM_TOTAL_SIZE, &value, 4);
    const KIRQL old = KeRaiseIrqlToDpcLevel();
    CHECK_STATUS(nth_oid_synchronous(p.adapter, &r), NDIS_STATUS_SUCCESS);
    KeLowerIrql(old);
    CHECK_EQ(value, 1514);
    CHECK_EQ(S.SynchronousOids, 1);
    unplug(&p);
}

/* "A driver must handle OID requests in the Running, Restarting, Paused and Pausing states". */
TEST(request_while_paused_reaches_the_miniport)
{
    ULONG value = 0;

    boot();
    struct puppet p = plug();
    nth_pause(p.adapter);
    CHECK_STATUS(nth_query(p.adapter, OID_GEN_MAXIMUM_TOTAL_SIZE, &value, 4, NULL), 0);
    CHECK_EQ(value, 1514);
    nth_restart(p.adapter);
    unplug(&p);
}

/* "NDIS does not call MiniportHaltEx if there are outstanding OID requests". */
static void remover(void *context)
{
    struct puppet *p = context;

    CHECK_STATUS(nth_unplug(p->device), STATUS_SUCCESS);
}

TEST(halt_waits_for_a_pending_request)
{
    boot();
    struct puppet p = plug();
    struct asked asked = {.adapter = p.adapter};
    S.Oid = PUPPET_PEND;
    struct nth_thread *one = nth_spawn("asker", ask, &asked);
    nth_settle();
    struct nth_thread *two = nth_spawn("remover", remover, &p);
    nth_settle();
    CHECK_EQ(S.Pauses, 1);
    CHECK_EQ(S.Halts, 0);
    CALL(NdisMOidRequestComplete, P(S.Adapter), P(S.HeldOid), NDIS_STATUS_NOT_ACCEPTED);
    nth_join(one);
    nth_join(two);
    CHECK_EQ(S.Halts, 1);
    CHECK_STATUS(nth_driver_unload(p.driver), STATUS_SUCCESS);
    nth_shutdown();
}

TEST(cancel_reaches_the_handler)
{
    boot();
    struct puppet p = plug();
    nth_cancel_oid(p.adapter, &p);
    CHECK_EQ(S.CancelOids, 1);
    CHECK(S.LastCancelId == &p);
    unplug(&p);
}

/* ---- contracts ---- */

static void ask_badly(enum puppet_mode mode, NDIS_STATUS odd)
{
    ULONG value = 0;

    boot();
    struct puppet p = plug();
    S.Oid = mode;
    S.Odd = odd;
    nth_expect_stop("oid-contract");
    nth_query(p.adapter, OID_GEN_MAXIMUM_TOTAL_SIZE, &value, 4, NULL);
    CHECK(!"not caught");
}

TEST(request_written_beyond_the_buffer_is_caught)
{
    ask_badly(PUPPET_OVERRUN, 0);
}

TEST(request_changed_is_caught)
{
    ask_badly(PUPPET_MODIFY, 0);
}

TEST(request_completed_and_answered_is_caught)
{
    ask_badly(PUPPET_TWICE, 0);
}

TEST(request_answered_with_an_information_status_is_caught)
{
    ask_badly(PUPPET_STATUS, NDIS_STATUS_MEDIA_CONNECT);
}

/* BytesNeeded must exceed the buffer when it is too short. */
TEST(request_too_short_without_needed_is_caught)
{
    ask_badly(PUPPET_STATUS, NDIS_STATUS_BUFFER_TOO_SHORT);
}

TEST(complete_of_no_request_is_caught)
{
    NDIS_OID_REQUEST r = {0};

    boot();
    plug();
    nth_expect_stop("oid-contract");
    CALL(NdisMOidRequestComplete, P(S.Adapter), P(&r), 0);
    CHECK(!"not caught");
}

/* "Any driver-determined NDIS_STATUS_XXX except NDIS_STATUS_PENDING". */
TEST(complete_with_pending_is_caught)
{
    boot();
    struct puppet p = plug();
    struct asked asked = {.adapter = p.adapter};
    S.Oid = PUPPET_PEND;
    nth_spawn("asker", ask, &asked);
    nth_settle();
    nth_expect_stop("oid-contract");
    CALL(NdisMOidRequestComplete, P(S.Adapter), P(S.HeldOid), NDIS_STATUS_PENDING);
    CHECK(!"not caught");
}

/* NdisAllocateCloneOidRequest "copies all the information". */
TEST(clone_has_the_same_request)
{
    ULONG value;
    NDIS_OID_REQUEST r = query_of(OID_GEN_STATISTICS, &value, 4), *clone = NULL;

    boot();
    struct puppet p = plug();
    r.Header.Size = NDIS_SIZEOF_OID_REQUEST_REVISION_1;
    CHECK_STATUS(
        STATUS_OF(CALL(NdisAllocateCloneOidRequest, P(S.Adapter), P(&r), 0x74736554, P(&clone))),
        NDIS_STATUS_SUCCESS);
    CHECK_EQ(clone->DATA.Oid, OID_GEN_STATISTICS);
    CHECK(clone->DATA.QUERY_INFORMATION.InformationBuffer == &value);
    CALL(NdisFreeCloneOidRequest, P(S.Adapter), P(clone));
    unplug(&p);
}

/* ---- NdisMNetPnPEvent ---- */

/* "The NDIS driver must not call NdisMNetPnPEvent until it has completed the OID request". */
TEST(net_event_while_a_request_is_pending_is_caught)
{
    NET_PNP_EVENT_NOTIFICATION n = {
        .Header = {NDIS_OBJECT_TYPE_DEFAULT, 1, NDIS_SIZEOF_NET_PNP_EVENT_NOTIFICATION_REVISION_1},
        .NetPnPEvent.NetEvent = NetEventPortActivation};

    boot();
    struct puppet p = plug();
    struct asked asked = {.adapter = p.adapter};
    S.Oid = PUPPET_PEND;
    nth_spawn("asker", ask, &asked);
    nth_settle();
    nth_expect_stop("net-pnp-event-in-request");
    CALL(NdisMNetPnPEvent, P(S.Adapter), P(&n));
    CHECK(!"not caught");
}

/* "Any miniport driver can generate NetEventPortActivation; only intermediate drivers can make
 * other event notifications". */
TEST(net_event_of_another_kind_is_caught)
{
    NET_PNP_EVENT_NOTIFICATION n = {
        .Header = {NDIS_OBJECT_TYPE_DEFAULT, 1, NDIS_SIZEOF_NET_PNP_EVENT_NOTIFICATION_REVISION_1},
        .NetPnPEvent.NetEvent = NetEventSetPower};

    boot();
    plug();
    nth_expect_stop("net-pnp-event-code");
    CALL(NdisMNetPnPEvent, P(S.Adapter), P(&n));
    CHECK(!"not caught");
}

/* "NDIS_STATUS_INVALID_PORT": there is no port but the default one. */
TEST(net_event_for_an_unknown_port_is_refused)
{
    NET_PNP_EVENT_NOTIFICATION n = {
        .Header = {NDIS_OBJECT_TYPE_DEFAULT, 1, NDIS_SIZEOF_NET_PNP_EVENT_NOTIFICATION_REVISION_1},
        .NetPnPEvent.NetEvent = NetEventPortActivation};

    boot();
    struct puppet p = plug();
    CHECK_STATUS(STATUS_OF(CALL(NdisMNetPnPEvent, P(S.Adapter), P(&n))), NDIS_STATUS_INVALID_PORT);
    n.Header.Size = 4;
    CHECK_STATUS(STATUS_OF(CALL(NdisMNetPnPEvent, P(S.Adapter), P(&n))),
                 NDIS_STATUS_INVALID_PARAMETER);
    unplug(&p);
}
