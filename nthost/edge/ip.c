/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Builds and verifies IP packets; see ip.h. Checksums are written down twice on purpose, once by
 * the builders and once by the verifier, over one summing function that RFC 1071's example tests.
 */
#include "edge/ip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

enum { HEADER4 = 20, HEADER6 = 40, UDP_HEADER = 8, TCP_HEADER = 20, ICMP_HEADER = 8, TTL = 64 };
enum { ECHO4_REPLY = 0, ECHO4 = 8, ECHO6 = 128, ECHO6_REPLY = 129 };
enum { NEXT_HOP_BY_HOP = 0, NEXT_ROUTING = 43, NEXT_FRAGMENT = 44, NEXT_DESTINATION = 60 };

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value);
}

uint64_t nth_ip_sum(uint64_t sum, const void *data, size_t bytes)
{
    const uint8_t *p = data;

    for (; bytes >= 2; p += 2, bytes -= 2)
        sum += get16(p);
    return bytes ? sum + ((uint32_t)*p << 8) : sum;
}

uint16_t nth_ip_fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16);
    return (uint16_t)~sum;
}

static size_t header_bytes(int version)
{
    return version == 4 ? HEADER4 : HEADER6;
}

static size_t address_bytes(int version)
{
    return version == 4 ? 4 : 16;
}

static uint64_t pseudo_sum(const struct nth_ip_flow *flow, uint8_t protocol, size_t body_bytes)
{
    uint64_t sum = nth_ip_sum(0, flow->source, address_bytes(flow->version));

    sum = nth_ip_sum(sum, flow->target, address_bytes(flow->version));
    return sum + protocol + (body_bytes >> 16) + (body_bytes & 0xFFFF);
}

int nth_ip_flow(struct nth_ip_flow *flow, const char *source, uint16_t source_port,
                const char *target, uint16_t target_port)
{
    *flow = (struct nth_ip_flow){.source_port = source_port, .target_port = target_port};
    flow->version = strchr(source, ':') ? 6 : 4;
    const int family = flow->version == 4 ? AF_INET : AF_INET6;
    return inet_pton(family, source, flow->source) == 1 &&
                   inet_pton(family, target, flow->target) == 1
               ? 0
               : -EINVAL;
}

void nth_ip_flow_reverse(struct nth_ip_flow *flow)
{
    const struct nth_ip_flow old = *flow;

    memcpy(flow->source, old.target, sizeof(old.target));
    memcpy(flow->target, old.source, sizeof(old.source));
    flow->source_port = old.target_port;
    flow->target_port = old.source_port;
}

static void put_header4(uint8_t *packet, const struct nth_ip_flow *flow, uint8_t protocol,
                        size_t bytes)
{
    memset(packet, 0, HEADER4);
    packet[0] = 0x45;
    put16(packet + 2, (uint32_t)bytes);
    put16(packet + 6, 0x4000); /* don't fragment */
    packet[8] = TTL;
    packet[9] = protocol;
    memcpy(packet + 12, flow->source, 4);
    memcpy(packet + 16, flow->target, 4);
    put16(packet + 10, nth_ip_fold(nth_ip_sum(0, packet, HEADER4)));
}

static void put_header6(uint8_t *packet, const struct nth_ip_flow *flow, uint8_t protocol,
                        size_t bytes)
{
    memset(packet, 0, 8);
    packet[0] = 0x60;
    put16(packet + 4, (uint32_t)(bytes - HEADER6));
    packet[6] = protocol;
    packet[7] = TTL;
    memcpy(packet + 8, flow->source, 16);
    memcpy(packet + 24, flow->target, 16);
}

/* Writes the IP header and the payload around a transport header of body_header bytes, which the
 * caller fills in afterwards. Answers the packet's size, 0 when it does not fit. */
static size_t put_frame(uint8_t *packet, size_t room, const struct nth_ip_flow *flow,
                        uint8_t protocol, size_t body_header)
{
    const size_t bytes = header_bytes(flow->version) + body_header;

    if (bytes > room || bytes > NTH_IP_MAX)
        return 0;
    (flow->version == 4 ? put_header4 : put_header6)(packet, flow, protocol, bytes);
    return bytes;
}

size_t nth_ip_udp(uint8_t *packet, size_t room, const struct nth_ip_flow *flow, const void *payload,
                  size_t bytes)
{
    const size_t total = put_frame(packet, room, flow, NTH_IP_UDP, UDP_HEADER + bytes);
    uint8_t *udp = packet + header_bytes(flow->version);

    if (!total)
        return 0;
    put16(udp, flow->source_port);
    put16(udp + 2, flow->target_port);
    put16(udp + 4, (uint32_t)(UDP_HEADER + bytes));
    put16(udp + 6, 0);
    memmove(udp + UDP_HEADER, payload, bytes);
    const uint64_t sum = pseudo_sum(flow, NTH_IP_UDP, UDP_HEADER + bytes);
    const uint16_t checksum = nth_ip_fold(nth_ip_sum(sum, udp, UDP_HEADER + bytes));
    put16(udp + 6, checksum ? checksum : 0xFFFF); /* RFC 768: zero means none */
    return total;
}

size_t nth_ip_tcp(uint8_t *packet, size_t room, const struct nth_ip_flow *flow,
                  const struct nth_ip_tcp *tcp, const void *payload, size_t bytes)
{
    const size_t total = put_frame(packet, room, flow, NTH_IP_TCP, TCP_HEADER + bytes);
    uint8_t *header = packet + header_bytes(flow->version);

    if (!total)
        return 0;
    memset(header, 0, TCP_HEADER);
    put16(header, flow->source_port);
    put16(header + 2, flow->target_port);
    put32(header + 4, tcp->sequence);
    put32(header + 8, tcp->acknowledgement);
    header[12] = TCP_HEADER / 4 << 4;
    header[13] = tcp->flags;
    put16(header + 14, tcp->window);
    memmove(header + TCP_HEADER, payload, bytes);
    const uint64_t sum = pseudo_sum(flow, NTH_IP_TCP, TCP_HEADER + bytes);
    put16(header + 16, nth_ip_fold(nth_ip_sum(sum, header, TCP_HEADER + bytes)));
    return total;
}

size_t nth_ip_echo(uint8_t *packet, size_t room, const struct nth_ip_flow *flow,
                   const struct nth_ip_echo *echo, const void *payload, size_t bytes)
{
    const bool is4 = flow->version == 4;
    const size_t total =
        put_frame(packet, room, flow, is4 ? NTH_IP_ICMP : NTH_IP_ICMP6, ICMP_HEADER + bytes);
    uint8_t *icmp = packet + header_bytes(flow->version);

    if (!total)
        return 0;
    memset(icmp, 0, ICMP_HEADER);
    icmp[0] = is4 ? (echo->is_reply ? ECHO4_REPLY : ECHO4) : (echo->is_reply ? ECHO6_REPLY : ECHO6);
    put16(icmp + 4, flow->source_port);
    put16(icmp + 6, echo->sequence);
    memmove(icmp + ICMP_HEADER, payload, bytes);
    const uint64_t sum = is4 ? 0 : pseudo_sum(flow, NTH_IP_ICMP6, ICMP_HEADER + bytes);
    put16(icmp + 2, nth_ip_fold(nth_ip_sum(sum, icmp, ICMP_HEADER + bytes)));
    return total;
}

void nth_ip_make(uint8_t *packet, size_t bytes, int version, uint32_t seed)
{
    const size_t header = header_bytes(version);
    struct nth_ip_flow flow;
    uint32_t state = seed * 2654435761u + 1;

    nth_ip_flow(&flow, version == 4 ? "10.7.0.1" : "fd07::1", (uint16_t)seed,
                version == 4 ? "10.7.0.2" : "fd07::2", (uint16_t)(seed >> 16));
    for (size_t i = 0; i < bytes; i++) {
        state =
            state * 1664525u + 1013904223u; /* Numerical Recipes' generator: any noise will do */
        packet[i] = (uint8_t)(state >> 24);
    }
    if (bytes >= header + UDP_HEADER)
        nth_ip_udp(packet, bytes, &flow, packet + header + UDP_HEADER, bytes - header - UDP_HEADER);
    else if (bytes >= header)
        put_frame(packet, bytes, &flow, NTH_IP_EXPERIMENT, bytes - header);
    else if (bytes)
        packet[0] = (uint8_t)(version << 4 | (packet[0] & 15));
}

/* ---- verification ---- */

static const char *open_header4(const uint8_t *packet, size_t bytes, struct nth_ip_view *view)
{
    if (bytes < HEADER4)
        return "shorter than an IPv4 header";
    const size_t header = (size_t)(packet[0] & 15) * 4;
    if (header < HEADER4 || header > bytes)
        return "IPv4 header length";
    view->bytes = get16(packet + 2);
    if (view->bytes != bytes)
        return "IPv4 total length";
    if (nth_ip_fold(nth_ip_sum(0, packet, header)) != 0)
        return "IPv4 header checksum";
    view->protocol = packet[9];
    view->is_fragment = (get16(packet + 6) & 0x3FFF) != 0; /* more fragments, or an offset */
    memcpy(view->flow.source, packet + 12, 4);
    memcpy(view->flow.target, packet + 16, 4);
    view->body = packet + header;
    return NULL;
}

static const char *skip_extensions(const uint8_t *end, struct nth_ip_view *view)
{
    while (view->protocol == NEXT_HOP_BY_HOP || view->protocol == NEXT_ROUTING ||
           view->protocol == NEXT_DESTINATION || view->protocol == NEXT_FRAGMENT) {
        if (end - view->body < 8)
            return "IPv6 extension header";
        const bool fragment = view->protocol == NEXT_FRAGMENT;
        const ptrdiff_t length = fragment ? 8 : 8 + view->body[1] * 8;
        if (fragment && (get16(view->body + 2) & 0xFFF9) != 0)
            view->is_fragment = true;
        if (length > end - view->body)
            return "IPv6 extension header";
        view->protocol = view->body[0];
        view->body += length;
        if (view->is_fragment)
            break;
    }
    return NULL;
}

static const char *open_header6(const uint8_t *packet, size_t bytes, struct nth_ip_view *view)
{
    if (bytes < HEADER6)
        return "shorter than an IPv6 header";
    view->bytes = HEADER6 + (size_t)get16(packet + 4);
    if (view->bytes != bytes)
        return "IPv6 payload length";
    view->protocol = packet[6];
    memcpy(view->flow.source, packet + 8, 16);
    memcpy(view->flow.target, packet + 24, 16);
    view->body = packet + HEADER6;
    return skip_extensions(packet + bytes, view);
}

static bool sum_holds(const struct nth_ip_view *view, size_t bytes, bool pseudo)
{
    const uint64_t sum = pseudo ? pseudo_sum(&view->flow, view->protocol, bytes) : 0;

    return nth_ip_fold(nth_ip_sum(sum, view->body, bytes)) == 0;
}

static const char *open_udp(struct nth_ip_view *view, size_t bytes)
{
    if (bytes < UDP_HEADER || get16(view->body + 4) != bytes)
        return "UDP length";
    const bool has_sum = get16(view->body + 6) != 0;
    if (!has_sum && view->flow.version == 6)
        return "UDP over IPv6 without a checksum";
    if (has_sum && !sum_holds(view, bytes, true))
        return "UDP checksum";
    view->flow.source_port = get16(view->body);
    view->flow.target_port = get16(view->body + 2);
    view->payload = view->body + UDP_HEADER;
    return NULL;
}

static const char *open_tcp(struct nth_ip_view *view, size_t bytes)
{
    const uint8_t *tcp = view->body;
    const size_t header = bytes < TCP_HEADER ? 0 : (size_t)(tcp[12] >> 4) * 4;

    if (header < TCP_HEADER || header > bytes)
        return "TCP header length";
    if (!sum_holds(view, bytes, true))
        return "TCP checksum";
    view->flow.source_port = get16(tcp);
    view->flow.target_port = get16(tcp + 2);
    view->tcp = (struct nth_ip_tcp){get32(tcp + 4), get32(tcp + 8), tcp[13], get16(tcp + 14)};
    view->payload = tcp + header;
    return NULL;
}

static const char *open_icmp(struct nth_ip_view *view, size_t bytes)
{
    if (bytes < ICMP_HEADER)
        return "ICMP length";
    if (!sum_holds(view, bytes, view->protocol == NTH_IP_ICMP6))
        return "ICMP checksum";
    view->icmp_type = view->body[0];
    view->icmp_code = view->body[1];
    view->flow.source_port = get16(view->body + 4);
    view->icmp_sequence = get16(view->body + 6);
    view->payload = view->body + ICMP_HEADER;
    return NULL;
}

static const char *open_body(struct nth_ip_view *view, size_t bytes)
{
    switch (view->protocol) {
    case NTH_IP_UDP:
        return open_udp(view, bytes);
    case NTH_IP_TCP:
        return open_tcp(view, bytes);
    case NTH_IP_ICMP:
    case NTH_IP_ICMP6:
        return open_icmp(view, bytes);
    default:
        view->payload = view->body;
        return NULL;
    }
}

const char *nth_ip_verify(const uint8_t *packet, size_t bytes, struct nth_ip_view *view)
{
    struct nth_ip_view own = {0};
    struct nth_ip_view *v = view ? view : &own;

    *v = (struct nth_ip_view){.flow.version = bytes ? packet[0] >> 4 : 0};
    if (v->flow.version != 4 && v->flow.version != 6)
        return "neither IPv4 nor IPv6";
    const char *wrong =
        v->flow.version == 4 ? open_header4(packet, bytes, v) : open_header6(packet, bytes, v);
    if (wrong)
        return wrong;
    const size_t body_bytes = (size_t)(packet + bytes - v->body);
    v->payload = v->body;
    wrong = v->is_fragment ? NULL : open_body(v, body_bytes);
    v->payload_bytes = (size_t)(packet + bytes - v->payload);
    return wrong;
}
