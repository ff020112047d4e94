/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What a miniport indicates: receives with every flag, their return, status (ndis/flow.c). The
 * rules are those of NdisMIndicateReceiveNetBufferLists, MiniportPause and NdisMIndicateStatusEx.
 */
#include "puppet.h"

static void pauser(void *adapter)
{
    nth_pause(adapter);
}

/* ---- receive ---- */

/* Lists are the receiver's until it returns them, the miniport's again afterwards. */
TEST(indicate_is_received_and_returned)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    NDIS_HANDLE pool = make_pool(S.Adapter);
    struct packet a = make_packet(pool, 4, 60), b = make_packet(pool, 4, 61);
    a.list->Next = b.list;
    indicate(a.list, 2, NDIS_RECEIVE_FLAGS_SINGLE_ETHER_TYPE);
    CHECK_EQ(nth_mem_count(mem), 2);
    CHECK_EQ(nth_mem_packet(mem, 1)->bytes, 61);
    CHECK_EQ(nth_mem_packet(mem, 0)->frame_type, 0x0800);
    CHECK_EQ(S.ReturnedLists, 2);
    CHECK_EQ(S.LastReturnFlags, 0);
    free_packet(&a);
    free_packet(&b);
    CALL(NdisFreeNetBufferListPool, P(pool));
    nth_mem_close(mem);
    unplug(&p);
}

/* "NDIS returns the lists upon return from NdisMIndicateReceiveNetBufferLists, and does not call
 * MiniportReturnNetBufferLists". */
TEST(indicate_with_resources_comes_back_with_the_call)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    NDIS_HANDLE pool = make_pool(S.Adapter);
    struct packet a = make_packet(pool, 6, 60);
    nth_mem_hold(mem, true);
    indicate(a.list, 1, NDIS_RECEIVE_FLAGS_RESOURCES);
    CHECK_EQ(nth_mem_count(mem), 1);
    CHECK_EQ(S.Returns, 0);
    free_packet(&a);
    CALL(NdisFreeNetBufferListPool, P(pool));
    nth_mem_close(mem);
    unplug(&p);
}

/* With nobody bound NDIS returns the lists itself. */
TEST(indicate_to_nobody_is_returned)
{
    boot();
    struct puppet p = plug();
    NDIS_HANDLE pool = make_pool(S.Adapter);
    struct packet a = make_packet(pool, 4, 60);
    S.RunAtDispatch = 1;
    indicate(a.list, 1, NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL);
    S.RunAtDispatch = 0;
    CHECK_EQ(S.ReturnedLists, 1);
    CHECK_EQ(S.LastReturnFlags, NDIS_RETURN_FLAGS_DISPATCH_LEVEL);
    free_packet(&a);
    CALL(NdisFreeNetBufferListPool, P(pool));
    unplug(&p);
}

/* MiniportPause: "waits for NDIS to return the ownership of all lists"; a receiver that keeps them
 * keeps the pause waiting. */
TEST(pause_waits_for_a_receiver)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    NDIS_HANDLE pool = make_pool(S.Adapter);
    struct packet a = make_packet(pool, 4, 60);
    nth_mem_hold(mem, true);
    indicate(a.list, 1, 0);
    S.Pause = PUPPET_PEND;
    struct nth_thread *thread = nth_spawn("pauser", pauser, p.adapter);
    nth_settle();
    CHECK_EQ(S.ReturnedLists, 0);
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_PAUSING);
    nth_mem_return_all(mem);
    CHECK_EQ(S.ReturnedLists, 1);
    CALL(NdisMPauseComplete, P(S.Adapter));
    nth_join(thread);
    S.Pause = PUPPET_GOOD;
    free_packet(&a);
    CALL(NdisFreeNetBufferListPool, P(pool));
    nth_mem_close(mem);
    unplug(&p);
}

TEST(pause_with_a_list_indicated_is_caught)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    struct packet a = make_packet(make_pool(S.Adapter), 4, 60);
    nth_mem_hold(mem, true);
    indicate(a.list, 1, 0);
    nth_expect_stop("pause-with-outstanding");
    nth_pause(p.adapter);
    CHECK(!"not caught");
}

/* ---- rules of an indication ---- */

static struct packet ready(unsigned version)
{
    boot();
    const struct puppet p = plug();

    nth_mem_attach(p.adapter);
    return make_packet(make_pool(S.Adapter), version, 60);
}

TEST(indicate_while_paused_is_caught)
{
    boot();
    struct puppet p = plug();
    struct packet a = make_packet(make_pool(S.Adapter), 4, 60);
    nth_pause(p.adapter);
    nth_expect_stop("indicate-while-paused");
    indicate(a.list, 1, 0);
    CHECK(!"not caught");
}

TEST(indicate_wrong_count_is_caught)
{
    struct packet a = ready(4);
    nth_expect_stop("nbl-count");
    indicate(a.list, 2, 0);
    CHECK(!"not caught");
}

/* "Must set the SourceHandle member to the same value as MiniportAdapterHandle". */
TEST(indicate_wrong_source_is_caught)
{
    struct packet a = ready(4);
    a.list->SourceHandle = NULL;
    nth_expect_stop("nbl-source-handle");
    indicate(a.list, 1, 0);
    CHECK(!"not caught");
}

TEST(indicate_at_passive_with_dispatch_flag_is_caught)
{
    struct packet a = ready(4);
    nth_expect_stop("flags-dispatch-level-lie");
    indicate(a.list, 1, NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL);
    CHECK(!"not caught");
}

TEST(indicate_with_a_lock_held_is_caught)
{
    struct packet a = ready(4);
    S.HoldLock = 1;
    nth_expect_stop("indicate-with-lock-held");
    indicate(a.list, 1, 0);
    CHECK(!"not caught");
}

TEST(indicate_unknown_flag_is_caught)
{
    struct packet a = ready(4);
    nth_expect_stop("flags-invalid");
    indicate(a.list, 1, 0x40000000);
    CHECK(!"not caught");
}

TEST(indicate_unallocated_port_is_caught)
{
    struct packet a = ready(4);
    nth_expect_stop("port-invalid");
    CALL(NdisMIndicateReceiveNetBufferLists, P(S.Adapter), P(a.list), 1, 1, 0);
    CHECK(!"not caught");
}

/* "All of the structures have the same EtherType". */
TEST(indicate_mixed_types_with_single_flag_is_caught)
{
    struct packet a = ready(4), b = make_packet(make_pool(S.Adapter), 6, 60);
    a.list->Next = b.list;
    nth_expect_stop("flags-single-ether-type");
    indicate(a.list, 2, NDIS_RECEIVE_FLAGS_SINGLE_ETHER_TYPE);
    CHECK(!"not caught");
}

/* Mixed versions without the flag are allowed. */
TEST(indicate_mixed_types_without_the_flag_is_received)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    NDIS_HANDLE pool = make_pool(S.Adapter);
    struct packet a = make_packet(pool, 4, 60), b = make_packet(pool, 6, 60);
    a.list->Next = b.list;
    indicate(a.list, 2, 0);
    CHECK_EQ(nth_mem_count(mem), 2);
    free_packet(&a);
    free_packet(&b);
    CALL(NdisFreeNetBufferListPool, P(pool));
    nth_mem_close(mem);
    unplug(&p);
}

TEST(indicate_wrong_frame_type_is_caught)
{
    struct packet a = ready(4);
    NET_BUFFER_LIST_INFO(a.list, NetBufferListFrameType) = PTR(0xDD86);
    nth_expect_stop("nbl-marks");
    indicate(a.list, 1, 0);
    CHECK(!"not caught");
}

TEST(indicate_wrong_ip_flag_is_caught)
{
    struct packet a = ready(4);
    NdisSetNblFlag(a.list, NDIS_NBL_FLAGS_IS_IPV6);
    nth_expect_stop("nbl-marks");
    indicate(a.list, 1, 0);
    CHECK(!"not caught");
}

TEST(indicate_more_data_than_the_mdls_is_caught)
{
    struct packet a = ready(4);
    a.list->FirstNetBuffer->DataLength++;
    nth_expect_stop("nbl-data");
    indicate(a.list, 1, 0);
    CHECK(!"not caught");
}

/* A list that receivers have cannot be indicated or freed. */
TEST(indicate_twice_is_caught)
{
    boot();
    struct puppet p = plug();
    struct packet a = make_packet(make_pool(S.Adapter), 4, 60);
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    nth_mem_hold(mem, true);
    indicate(a.list, 1, 0);
    nth_expect_stop("nbl-not-owned");
    indicate(a.list, 1, 0);
    CHECK(!"not caught");
}

TEST(free_while_indicated_is_caught)
{
    boot();
    struct puppet p = plug();
    struct packet a = make_packet(make_pool(S.Adapter), 4, 60);
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    nth_mem_hold(mem, true);
    indicate(a.list, 1, 0);
    nth_expect_stop("nbl-not-owned");
    CALL(NdisFreeNetBufferList, P(a.list));
    CHECK(!"not caught");
}

/* "Must be allocated from an NDIS buffer pool". */
TEST(indicate_list_of_no_pool_is_caught)
{
    static struct {
        UCHAR before[256];
        NET_BUFFER_LIST list;
        UCHAR after[64];
    } fake;

    boot();
    plug();
    nth_expect_stop("nbl-foreign");
    indicate(&fake.list, 1, 0);
    CHECK(!"not caught");
}

/* A return of what was not indicated is the receiver's fault and is named so. */
TEST(return_of_what_was_not_indicated_is_caught)
{
    struct packet a = ready(4);
    nth_expect_stop("nbl-returned-not-indicated");
    nth_return(S.Adapter, a.list, 0);
    CHECK(!"not caught");
}

/* ---- status indications ---- */

static NDIS_LINK_STATE link_state;

static NDIS_STATUS_INDICATION link_indication(NDIS_MEDIA_CONNECT_STATE state)
{
    link_state = (NDIS_LINK_STATE){
        .Header = {NDIS_OBJECT_TYPE_DEFAULT, 1, NDIS_SIZEOF_LINK_STATE_REVISION_1},
        .MediaConnectState = state,
        .MediaDuplexState = MediaDuplexStateFull,
        .XmitLinkSpeed = 5,
    };
    return (NDIS_STATUS_INDICATION){
        .Header = {NDIS_OBJECT_TYPE_STATUS_INDICATION, 1, NDIS_SIZEOF_STATUS_INDICATION_REVISION_1},
        .SourceHandle = S.Adapter,
        .StatusCode = NDIS_STATUS_LINK_STATE,
        .StatusBuffer = &link_state,
        .StatusBufferSize = sizeof(link_state),
    };
}

/* "NDIS calls each bound protocol driver's ProtocolStatusEx function." */
TEST(status_link_state_reaches_the_bindings)
{
    boot();
    struct puppet p = plug();
    struct nth_mem *mem = nth_mem_attach(p.adapter);
    CHECK_EQ(nth_link_state(p.adapter)->MediaConnectState, MediaConnectStateConnected);
    NDIS_STATUS_INDICATION s = link_indication(MediaConnectStateDisconnected);
    CALL(NdisMIndicateStatusEx, P(S.Adapter), P(&s));
    CHECK_EQ(nth_link_state(p.adapter)->MediaConnectState, MediaConnectStateDisconnected);
    CHECK_EQ(nth_mem_statuses(mem, NDIS_STATUS_LINK_STATE), 1);
    ULONG connect = 9;
    CHECK_STATUS(nth_query(p.adapter, OID_GEN_MEDIA_CONNECT_STATUS, &connect, 4, NULL), 0);
    CHECK_EQ(connect, 1); /* NdisMediaStateDisconnected */
    nth_mem_close(mem);
    unplug(&p);
}

TEST(status_wrong_header_is_caught)
{
    boot();
    plug();
    NDIS_STATUS_INDICATION s = link_indication(MediaConnectStateConnected);
    s.Header.Size--;
    nth_expect_stop("status-invalid");
    CALL(NdisMIndicateStatusEx, P(S.Adapter), P(&s));
    CHECK(!"not caught");
}

TEST(status_short_link_state_is_caught)
{
    boot();
    plug();
    NDIS_STATUS_INDICATION s = link_indication(MediaConnectStateConnected);
    s.StatusBufferSize--;
    nth_expect_stop("status-invalid");
    CALL(NdisMIndicateStatusEx, P(S.Adapter), P(&s));
    CHECK(!"not caught");
}

TEST(status_wrong_source_is_caught)
{
    boot();
    plug();
    NDIS_STATUS_INDICATION s = link_indication(MediaConnectStateConnected);
    s.SourceHandle = NULL;
    nth_expect_stop("status-invalid");
    CALL(NdisMIndicateStatusEx, P(S.Adapter), P(&s));
    CHECK(!"not caught");
}
