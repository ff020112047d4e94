/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Network namespaces with a TUN interface in them. Linux only: knows no machine and no NDIS, so
 * that a process which is neither can use it.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

enum { NTH_EDGE_ERROR = 256 }; /* room for the message of an open that failed */

struct nth_edge_config {
    const char *name;             /* of the interface, at most 15 characters */
    const char *const *addresses; /* NULL-terminated: "10.7.0.1/24", "fd07::1/64" */
    const char *const *routes;    /* NULL, or NULL-terminated prefixes that lead to the interface */
    uint32_t mtu;                 /* 0: what the miniport says */
    const char *tun_node;         /* NULL: /dev/net/tun */
};

struct nth_netns {
    int net;  /* descriptor of the network namespace */
    int user; /* of the user namespace that gave the right to make it; -1 as root */
};
/* Makes a network namespace with a TUN interface in it, from a helper process. *tun is its
 * descriptor, non-blocking. mtu must be set in config. */
int nth_netns_create(const struct nth_edge_config *config, struct nth_netns *netns, int *tun,
                     char error[NTH_EDGE_ERROR]);
void nth_netns_close(struct nth_netns *netns);
pid_t nth_netns_exec(const struct nth_netns *netns, char *const argv[], const int stdio[3]);
