/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Programs that are processes of their own exchange packets with the stack through wintun.sys, over
 * rings and over bundles, by the few calls of examples/packets.h (children/echo.c).
 */
#include "scenario.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PACKETS = 300 };

struct echo {
    struct port port;
    struct client *client;
    int pid, input; /* closing input lets the program end */
};

static void begin(struct echo *e, const char *transport)
{
    char count[16], adapter[64];
    int ends[2];
    char *argv[] = {(char *)(uintptr_t)"echo", adapter, (char *)(uintptr_t)transport, count, NULL};

    scenario_boot(PARALLEL);
    port_plug(&e->port);
    snprintf(count, sizeof(count), "%u", PACKETS);
    snprintf(adapter, sizeof(adapter), "%s", nth_device_net_cfg_id(e->port.device));
    CHECK(pipe(ends) == 0 && dup2(ends[0], STDIN_FILENO) >= 0);
    close(ends[0]);
    e->input = ends[1];
    CHECK_EQ(fcntl(e->input, F_SETFD, FD_CLOEXEC), 0);
    e->client = client_spawn(&(struct client_config){.name = "echo", .token = CLIENT_ADMIN},
                             "out/children/echo", argv, &e->pid);
    CHECK(e->client != NULL);
    port_await_link(&e->port, true);
}

static void finish(struct echo *e)
{
    close(e->input);
    const int status = client_child_wait(e->client);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
    client_destroy(e->client);
    port_await_link(&e->port, false);
    port_unplug(&e->port);
    scenario_shutdown();
}

/* Sizes from the smallest packet to the largest. */
static size_t size_of(unsigned number)
{
    return number % 7 == 0 ? 65535 - number : 40 + (size_t)number * 37 % 1400;
}

static void exchange(const char *transport)
{
    struct echo e;

    begin(&e, transport);
    for (unsigned i = 0; i < PACKETS; i++) {
        const size_t bytes = size_of(i);
        const uint8_t *packet = packet_of(bytes, i % 2 != 0 ? 6 : 4, i);
        CHECK_EQ(port_send(&e.port, packet, bytes, NULL), NDIS_STATUS_SUCCESS);
        if (i % 16 == 15) /* never more under way than a ring holds */
            CHECK(nth_mem_wait(e.port.mem, i - 8, 30 * SECOND) >= i - 8);
    }
    for (unsigned i = 0; i < PACKETS; i++)
        port_expect(&e.port, i, packet_of(size_of(i), i % 2 != 0 ? 6 : 4, i), size_of(i));
    finish(&e);
}

TEST(packets_cross_rings_both_ways_in_order)
{
    /* spec 2.4 and 2.6: what is allocated first is sent first, however it is filled. */
    exchange("ring");
}

TEST(packets_cross_bundles_both_ways_in_order)
{
    /* design 3.3. */
    exchange("file");
}

static void kill_in_traffic(const char *transport)
{
    struct echo e;

    begin(&e, transport);
    for (unsigned i = 0; i < 40; i++) {
        const uint8_t *packet = packet_of(1400, 4, i);
        port_send(&e.port, packet, 1400, NULL);
        if (i == 20)
            CHECK_EQ(kill(e.pid, SIGKILL), 0);
    }
    CHECK(WIFSIGNALED(client_child_wait(e.client)));
    client_destroy(e.client);
    port_await_link(&e.port, false);
    port_unplug(&e.port);
    scenario_shutdown();
}

TEST(packets_program_killed_in_traffic_leaves_the_adapter_idle)
{
    /* spec 2.7: exit of the registering process ends the session; nothing is left locked. */
    kill_in_traffic("ring");
}

TEST(packets_program_killed_with_reads_pending_leaves_the_adapter_idle)
{
    /* design 2.1: cleanup of the last file object ends a file session. */
    kill_in_traffic("file");
}
