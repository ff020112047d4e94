/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Builds and verifies IPv4, IPv6, TCP, UDP and ICMP packets, checksums included. Pure functions
 * over byte arrays: knows no machine, no adapter and no socket, and never trusts a length in a
 * packet.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NTH_IP_ICMP = 1,
    NTH_IP_TCP = 6,
    NTH_IP_UDP = 17,
    NTH_IP_ICMP6 = 58,
    NTH_IP_EXPERIMENT = 253, /* RFC 3692: what nth_ip_make carries when no UDP header fits */
    NTH_IP_MAX = 65535       /* the largest packet made here, IPv6 included */
};

/* Who talks to whom. Ports in host byte order; for an echo source_port is the identifier. */
struct nth_ip_flow {
    int version;                    /* 4 or 6 */
    uint8_t source[16], target[16]; /* IPv4 uses the first four bytes */
    uint16_t source_port, target_port;
};

enum { NTH_TCP_FIN = 1, NTH_TCP_SYN = 2, NTH_TCP_RST = 4, NTH_TCP_PSH = 8, NTH_TCP_ACK = 16 };
struct nth_ip_tcp {
    uint32_t sequence, acknowledgement;
    uint8_t flags; /* NTH_TCP_* */
    uint16_t window;
};

/* Addresses in text form, both of one family. 0, or -EINVAL. */
int nth_ip_flow(struct nth_ip_flow *flow, const char *source, uint16_t source_port,
                const char *target, uint16_t target_port);
void nth_ip_flow_reverse(struct nth_ip_flow *flow);

/* Each writes one whole packet and answers its size; 0 when it does not fit room or NTH_IP_MAX. */
size_t nth_ip_udp(uint8_t *packet, size_t room, const struct nth_ip_flow *flow, const void *payload,
                  size_t bytes);
size_t nth_ip_tcp(uint8_t *packet, size_t room, const struct nth_ip_flow *flow,
                  const struct nth_ip_tcp *tcp, const void *payload, size_t bytes);
struct nth_ip_echo {
    bool is_reply;
    uint16_t sequence; /* the identifier is the flow's source port */
};
size_t nth_ip_echo(uint8_t *packet, size_t room, const struct nth_ip_flow *flow,
                   const struct nth_ip_echo *echo, const void *payload, size_t bytes);

/* A packet of exactly `bytes` with contents that follow from seed: UDP when its header fits, else a
 * bare IP header with protocol 253, else (below the IP header) just the version nibble and noise,
 * which no receiver may take for IP. bytes 0 writes nothing. */
void nth_ip_make(uint8_t *packet, size_t bytes, int version, uint32_t seed);

/* What nth_ip_verify found. Pointers lie in the packet. */
struct nth_ip_view {
    struct nth_ip_flow flow;
    uint8_t protocol;       /* after IPv6 extension headers */
    bool is_fragment;       /* then nothing beyond the IP header was looked at */
    size_t bytes;           /* of the packet, by its own header */
    const uint8_t *body;    /* transport header */
    const uint8_t *payload; /* after the transport header; protocol unknown: the body */
    size_t payload_bytes;
    struct nth_ip_tcp tcp;
    uint8_t icmp_type, icmp_code;
    uint16_t icmp_sequence;
};

/* NULL when every length and checksum holds, else what does not, in words. view may be NULL. Bytes
 * after the packet's own length are an error: a layer-3 device carries none. */
const char *nth_ip_verify(const uint8_t *packet, size_t bytes, struct nth_ip_view *view);

/* RFC 1071 sum over bytes, to be continued from sum; nth_ip_fold makes the checksum of it. */
uint64_t nth_ip_sum(uint64_t sum, const void *data, size_t bytes);
uint16_t nth_ip_fold(uint64_t sum); /* in host order: store it big-endian */
