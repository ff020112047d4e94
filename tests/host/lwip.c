/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The lwIP edge (edge/lwip.c): conversations really cross the driver, whatever else lwIP could
 * reach inside the process. The driver is mirror.sys, a network in which every address answers.
 */
#include "check.h"
#include "edge/edge.h"

#define MIRROR "out/drivers/gnu-O2/mirror.sys"

enum { OID_MIRROR_LINK = (int)0xFFFA0001 };

static const char *const addresses_a[] = {"10.9.0.1/24", "fd09::1/64", NULL};
static const char *const addresses_b[] = {"10.9.0.2/24", "fd09::2/64", NULL};

static struct nth_driver *driver;
static struct nth_device *devices[2];
static struct nth_lwip *edges[2];

static void begin(void)
{
    const char *const *const addresses[] = {addresses_a, addresses_b};
    char error[NTH_EDGE_ERROR] = "";

    nth_boot(&(struct nth_config){.mode = NTH_PARALLEL});
    CHECK_STATUS(nth_driver_load(MIRROR, "mirror", &driver), STATUS_SUCCESS);
    for (int i = 0; i < 2; i++) {
        const struct nth_edge_config config = {.addresses = addresses[i], .mtu = 1400};
        CHECK_STATUS(nth_plug(driver, NULL, &devices[i]), STATUS_SUCCESS);
        CHECK_EQ(nth_lwip_open(nth_adapter_of(devices[i]), &config, &edges[i], error), 0);
    }
}

static void end(void)
{
    for (int i = 0; i < 2; i++)
        nth_lwip_close(edges[i]);
    nth_shutdown();
}

static struct nth_edge_counters counters(int edge)
{
    struct nth_edge_counters c;

    nth_lwip_counters(edges[edge], &c);
    return c;
}

static struct nth_ping ping(const char *target, unsigned count, size_t bytes)
{
    struct nth_ping result;

    nth_leave();
    const int failed = nth_lwip_ping(edges[0], target, count, bytes, &result);
    nth_enter("test");
    CHECK_EQ(failed, 0);
    return result;
}

TEST(ping_crosses_the_driver)
{
    /* OID_GEN_STATISTICS of the driver against the edge's own counters */
    NDIS_STATISTICS_INFO s = {0};
    ULONG written;

    begin();
    CHECK_EQ(ping("10.9.0.77", 20, 56).received, 20);
    CHECK_EQ(ping("fd09::77", 20, 1000).received, 20);
    CHECK_STATUS(nth_query(nth_adapter_of(devices[0]), OID_GEN_STATISTICS, &s, sizeof(s), &written),
                 NDIS_STATUS_SUCCESS);
    const struct nth_edge_counters c = counters(0);
    CHECK(c.sent_packets >= 40);
    CHECK_EQ(c.sent_packets, s.ifHCOutUcastPkts);
    CHECK_EQ(c.sent_bytes, s.ifHCOutOctets);
    CHECK_EQ(c.received_packets + c.refused_packets, s.ifHCInUcastPkts);
    end();
}

TEST(address_of_another_interface_is_reached_through_the_driver)
{
    /* lwIP's ip4_input and ip4_route look at every interface: unbound, this ping would never leave
     */
    begin();
    const uint64_t before = counters(0).sent_packets;
    CHECK_EQ(ping("10.9.0.2", 3, 56).received, 3);
    CHECK_EQ(counters(0).sent_packets, before + 3);
    end();
}

TEST(ping_without_an_answer_is_counted_as_lost)
{
    /* a paused adapter refuses what it is given (NDIS_STATUS_PAUSED) */
    begin();
    CHECK_STATUS(nth_pause(nth_adapter_of(devices[0])), NDIS_STATUS_SUCCESS);
    const struct nth_ping lost = ping("10.9.0.77", 1, 56);
    CHECK_EQ(lost.sent, 1);
    CHECK_EQ(lost.received, 0);
    CHECK(counters(0).failed_packets >= 1);
    CHECK_STATUS(nth_restart(nth_adapter_of(devices[0])), NDIS_STATUS_SUCCESS);
    CHECK_EQ(ping("10.9.0.77", 1, 56).received, 1);
    end();
}

TEST(link_down_stops_the_interface)
{
    /* "NDIS_STATUS_LINK_STATE" */
    ULONG up = 0;

    begin();
    CHECK_STATUS(nth_set(nth_adapter_of(devices[0]), OID_MIRROR_LINK, &up, sizeof(up)),
                 NDIS_STATUS_SUCCESS);
    CHECK_EQ(ping("10.9.0.77", 1, 56).received, 0);
    up = 1;
    CHECK_STATUS(nth_set(nth_adapter_of(devices[0]), OID_MIRROR_LINK, &up, sizeof(up)),
                 NDIS_STATUS_SUCCESS);
    CHECK_EQ(ping("10.9.0.77", 1, 56).received, 1);
    end();
}

TEST(adapter_that_goes_detaches_the_edge)
{
    /* "ProtocolUnbindAdapterEx" */
    begin();
    nth_surprise_remove(devices[0]);
    struct nth_ping lost;
    nth_leave();
    CHECK_EQ(nth_lwip_ping(edges[0], "10.9.0.77", 1, 56, &lost), 0);
    nth_enter("test");
    CHECK_EQ(lost.received, 0);
    end();
}

TEST(bad_address_is_refused_in_words)
{
    static const char *const bad[] = {"10.9.0.300/24", NULL};
    const struct nth_edge_config config = {.addresses = bad, .mtu = 1400};
    char error[NTH_EDGE_ERROR] = "";
    struct nth_lwip *edge;

    begin();
    CHECK(nth_lwip_open(nth_adapter_of(devices[0]), &config, &edge, error) < 0);
    CHECK(strstr(error, "10.9.0.300"));
    end();
}
