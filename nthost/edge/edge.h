/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Real TCP/IP for an adapter: the Linux stack through a TUN interface in a network namespace of its
 * own (tap.c, netns.c), or lwIP in this process (lwip.c) where there is no TUN. Edges know NDIS's
 * side of an adapter and nothing of what lies behind the driver.
 *
 * Threading: called by threads of the machine at PASSIVE_LEVEL. What may block in Linux says so; a
 * caller that wants the machine to go on meanwhile leaves it first.
 */
#pragma once

#include "edge/netns.h"
#include "nthost.h"

/* Packets that crossed the edge, counted here and not by the driver. */
struct nth_edge_counters {
    uint64_t sent_packets, sent_bytes; /* handed to the miniport */
    uint64_t failed_packets;           /* of these: completed with another status than success */
    uint64_t received_packets, received_bytes; /* taken by the TCP/IP stack */
    uint64_t refused_packets; /* indicated, but the TCP/IP stack would not take them */
};

/* ---- Linux (tap.c) ---- */

struct nth_tap;

/* Makes the namespace and the interface and attaches them to the adapter. Nothing of it has a name
 * in the file system: the end of this process, however it comes, is the end of both. 0, or -errno
 * with a message in error. */
int nth_tap_open(struct nth_adapter *adapter, const struct nth_edge_config *config,
                 struct nth_tap **result, char error[NTH_EDGE_ERROR]);
void nth_tap_close(struct nth_tap *tap);
void nth_tap_counters(struct nth_tap *tap, struct nth_edge_counters *counters);
/* Starts a program (looked up in PATH) in the interface's namespace, as its root there. It is
 * killed when this process ends. stdio: three descriptors. The caller reaps it. pid, or -errno. */
pid_t nth_tap_exec(struct nth_tap *tap, char *const argv[], const int stdio[3]);
/* Whether a TUN interface can be made here; the reason why not in error. */
bool nth_tap_available(const char *tun_node, char error[NTH_EDGE_ERROR]);

/* ---- lwIP (lwip.c) ---- */

struct nth_lwip;

/* One lwIP serves all adapters of the process; every conversation below is bound to its adapter's
 * interface, because lwIP would deliver between two of its own interfaces without using them. */
int nth_lwip_open(struct nth_adapter *adapter, const struct nth_edge_config *config,
                  struct nth_lwip **result, char error[NTH_EDGE_ERROR]);
void nth_lwip_close(struct nth_lwip *lwip);
void nth_lwip_counters(struct nth_lwip *lwip, struct nth_edge_counters *counters);

struct nth_ping {
    unsigned sent, received;
    uint64_t min_ns, sum_ns, max_ns;
};
/* count echo requests with `bytes` of payload to target (IPv4 or IPv6), each waited for up to one
 * second and compared byte for byte; the next follows at once. Blocks. 0 or -errno. */
int nth_lwip_ping(struct nth_lwip *lwip, const char *target, unsigned count, size_t bytes,
                  struct nth_ping *result);

struct nth_transfer {
    uint64_t bytes; /* that arrived and were as they were sent */
    uint64_t ns;
    bool is_identical; /* all arrived, each byte compared */
};
/* One TCP connection from one adapter to an address of another; `bytes` of a seeded pattern go over
 * it and are compared where they arrive. Blocks. 0 or -errno. */
int nth_lwip_transfer(struct nth_lwip *from, struct nth_lwip *to, const char *target,
                      uint64_t bytes, struct nth_transfer *result);

/* ---- what tap.c and lwip.c share (pool.c) ---- */

/* Lists for the way to the driver, made once and used again. owner: context of the binding that
 * sends them. */
struct nth_edge_pool;
struct nth_edge_slot {
    NET_BUFFER_LIST *list;
    uint8_t *data; /* room bytes, contiguous */
    struct nth_edge_slot *next;
    void *owner;
};
struct nth_edge_pool *nth_edge_pool_create(unsigned slots, size_t room, void *owner);
/* Waits until every slot is back. */
void nth_edge_pool_destroy(struct nth_edge_pool *pool);
struct nth_edge_slot *nth_edge_slot_get(struct nth_edge_pool *pool);  /* NULL: all are out */
struct nth_edge_slot *nth_edge_slot_wait(struct nth_edge_pool *pool); /* parks until one is back */
void nth_edge_slot_put(struct nth_edge_pool *pool,
                       struct nth_edge_slot *slot); /* unused after all */
/* Makes the slot's list carry bytes from offset on. */
void nth_edge_slot_fill(struct nth_edge_slot *slot, size_t offset, size_t bytes);
/* The body of send_complete: puts every slot back; answers how many lists failed. */
unsigned nth_edge_pool_complete(struct nth_edge_pool *pool, NET_BUFFER_LIST *lists);
