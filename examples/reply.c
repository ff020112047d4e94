/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A network of one program: whatever host the adapter's system pings, over IPv4 or IPv6, answers,
 * and so does UDP port 7 (echo) of it. Shows the life of a session: open, wait, receive, release,
 * allocate, send, close. Packets come from outside, so nothing in them is believed unchecked.
 */
#include "packets.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { ICMP = 1, UDP = 17, ICMP6 = 58, ECHO_PORT = 7, HEADER4 = 20, HEADER6 = 40, BODY = 8 };

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static uint32_t get16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static void swap(uint8_t *a, uint8_t *b, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        const uint8_t kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}

/* Turns an echo request into its reply. The checksum follows the change of the first word (RFC
 * 1624: HC' = ~(~HC + ~m + m')). */
static bool reply_icmp(uint8_t *icmp, uint8_t request, uint8_t reply)
{
    if (icmp[0] != request || icmp[1] != 0)
        return false;
    uint32_t sum =
        (~get16(icmp + 2) & 0xFFFF) + (~((uint32_t)request << 8) & 0xFFFF) + ((uint32_t)reply << 8);
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum = ~((sum & 0xFFFF) + (sum >> 16));
    icmp[0] = reply;
    icmp[2] = (uint8_t)(sum >> 8);
    icmp[3] = (uint8_t)sum;
    return true;
}

/* Swapped ports, like swapped addresses, leave a checksum as it was. A datagram from port 7 would
 * be another echo server's, and the two would never stop. */
static bool reply_udp(uint8_t *udp)
{
    if (get16(udp + 2) != ECHO_PORT || get16(udp) == ECHO_PORT)
        return false;
    swap(udp, udp + 2, 2);
    return true;
}

static bool reply4(uint8_t *packet, uint32_t bytes)
{
    if (bytes < HEADER4)
        return false;
    const uint32_t header = (packet[0] & 15U) * 4;
    const bool is_fragment = (get16(packet + 6) & 0x3FFF) != 0;
    if (header < HEADER4 || bytes < header + BODY || is_fragment || packet[16] >= 224)
        return false;
    swap(packet + 12, packet + 16, 4);
    if (packet[9] == ICMP)
        return reply_icmp(packet + header, 8, 0);
    return packet[9] == UDP && reply_udp(packet + header);
}

static bool reply6(uint8_t *packet, uint32_t bytes)
{
    if (bytes < HEADER6 + BODY || packet[24] == 0xFF)
        return false;
    swap(packet + 8, packet + 24, 16);
    if (packet[6] == ICMP6)
        return reply_icmp(packet + HEADER6, 128, 129);
    return packet[6] == UDP && reply_udp(packet + HEADER6);
}

/* Answers in a copy, since what was received is not ours to change. */
static void answer(struct packets *packets, const uint8_t *packet, uint32_t bytes)
{
    static uint8_t copy[65535];

    memcpy(copy, packet, bytes);
    const uint32_t version = bytes ? copy[0] >> 4 : 0;
    if (!(version == 4 ? reply4(copy, bytes) : version == 6 && reply6(copy, bytes)))
        return;
    uint8_t *reply = packets_allocate(packets, bytes);
    if (!reply)
        return; /* no room: the packet is lost, as in any network */
    memcpy(reply, copy, bytes);
    packets_send(packets, reply);
}

/* Answers everything that is there. */
static void drain(struct packets *packets)
{
    const uint8_t *packet;
    uint32_t bytes;

    while ((packet = packets_receive(packets, &bytes))) {
        answer(packets, packet, bytes);
        packets_release(packets, packet);
    }
    packets_flush(packets);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: reply ADAPTER [ring|file]\n");
        return 2;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    struct packets *packets = packets_open(argv[1], argc > 2 ? argv[2] : "ring");
    if (!packets) {
        fprintf(stderr, "reply: %s\n", packets_error());
        return 1;
    }
    int state = 0;
    while (!stop && state >= 0) {
        state = packets_wait(packets, 200);
        if (state == 0)
            drain(packets);
    }
    packets_close(packets);
    return stop ? 0 : 1;
}
