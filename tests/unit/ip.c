/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Checksums and packets of nthost/edge/ip.c against vectors that others computed, and against a
 * checksum that is written down here once more in the slowest way. No machine is booted.
 */
#include "edge/ip.h"
#include "check.h"

#include <stdlib.h>

/* RFC 1071, section 1: one's complement sum of 16-bit words, one at a time, with end-around carry.
 */
static uint16_t plain_checksum(uint16_t sum, const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        const uint32_t wide = (uint32_t)sum + (i % 2 ? p[i] : (uint32_t)p[i] << 8);
        sum = (uint16_t)(wide > 0xFFFF ? wide - 0xFFFF : wide);
    }
    return sum;
}

/* Sum of the transport part with its pseudo-header (RFC 9293 3.1, RFC 8200 8.1); 0xFFFF holds. */
static uint16_t transport_sum(const uint8_t *packet, size_t bytes)
{
    const bool four = packet[0] >> 4 == 4;
    const size_t header = four ? 20 : 40;
    const uint8_t protocol = packet[four ? 9 : 6];
    const uint32_t length = (uint32_t)(bytes - header);
    const uint8_t rest[] = {(uint8_t)(length >> 24),
                            (uint8_t)(length >> 16),
                            (uint8_t)(length >> 8),
                            (uint8_t)length,
                            0,
                            protocol};
    uint16_t sum = 0;

    if (protocol != NTH_IP_ICMP)
        sum = plain_checksum(plain_checksum(0, packet + (four ? 12 : 8), four ? 8 : 32), rest, 6);
    return plain_checksum(sum, packet + header, bytes - header);
}

static struct nth_ip_flow flow_of(int version)
{
    struct nth_ip_flow flow;

    CHECK_EQ(version == 4 ? nth_ip_flow(&flow, "192.0.2.1", 4660, "198.51.100.7", 80)
                          : nth_ip_flow(&flow, "2001:db8::1", 4660, "2001:db8:ffff::7", 80),
             0);
    return flow;
}

TEST(sum_of_rfc_1071_example_is_its_sum)
{
    /* RFC 1071, section 3: "Sum1 ... ddf2 ... carry", Internet checksum is its complement */
    static const uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

    CHECK_EQ(nth_ip_sum(0, example, sizeof(example)), 0x2ddf0);
    CHECK_EQ(nth_ip_fold(nth_ip_sum(0, example, sizeof(example))), (uint16_t)~0xddf2);
}

TEST(sum_is_independent_of_grouping_and_of_carries)
{
    /* RFC 1071, section 2: commutative and associative; odd bytes are padded with zero */
    uint8_t data[64];
    uint32_t random = 1;

    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof(data); i++)
            data[i] = round % 4 ? (uint8_t)((random = random * 1664525 + 1013904223) >> 24) : 0xFF;
        for (size_t bytes = 0; bytes <= sizeof(data); bytes += bytes < 9 ? 1 : 11) {
            const uint16_t whole = nth_ip_fold(nth_ip_sum(0, data, bytes));
            CHECK_EQ(whole, (uint16_t)~plain_checksum(0, data, bytes));
            for (size_t cut = 0; cut <= bytes; cut += 2)
                CHECK_EQ(nth_ip_fold(nth_ip_sum(nth_ip_sum(0, data, cut), data + cut, bytes - cut)),
                         whole);
        }
    }
    CHECK_EQ(nth_ip_fold(UINT64_C(0xFFFFFFFFFFFF)), 0);
}

TEST(header_of_known_packet_has_its_known_checksum)
{
    /* The header that everyone computes by hand, from RFC 791's format: 4500 0073 0000 4000 4011
     * xxxx c0a8 0001 c0a8 00c7 has checksum b861 */
    struct nth_ip_flow flow;
    uint8_t packet[200] = {0};

    CHECK_EQ(nth_ip_flow(&flow, "192.168.0.1", 1, "192.168.0.199", 2), 0);
    CHECK_EQ(nth_ip_udp(packet, sizeof(packet), &flow, packet + 100, 0x73 - 28), 0x73);
    static const uint8_t known[] = {0x45, 0,    0,    0x73, 0, 0, 0x40, 0,    0x40, 0x11,
                                    0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0,    0xc7};
    CHECK_MEM(packet, known, sizeof(known));
}

TEST(built_packets_sum_up_to_nothing)
{
    /* RFC 1071: the sum over data with its checksum is all ones (minus zero) */
    static uint8_t packet[NTH_IP_MAX], payload[NTH_IP_MAX];
    static const size_t sizes[] = {0, 1, 2, 3, 8, 9, 1371, 1372, 1452, 40000, 65400};
    const struct nth_ip_tcp tcp = {0x89ABCDEF, 0x01234567, NTH_TCP_ACK | NTH_TCP_PSH, 0xFFFF};
    const struct nth_ip_echo echo = {.sequence = 0xBEEF};
    struct nth_ip_view view;

    for (size_t i = 0; i < sizeof(payload); i++)
        payload[i] = (uint8_t)(i * 167 >> 3);
    for (int version = 4; version <= 6; version += 2)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
            for (int kind = 0; kind < 3; kind++) {
                const struct nth_ip_flow flow = flow_of(version);
                const size_t room = sizeof(packet);
                const size_t bytes =
                    kind == 0   ? nth_ip_udp(packet, room, &flow, payload, sizes[i])
                    : kind == 1 ? nth_ip_tcp(packet, room, &flow, &tcp, payload, sizes[i])
                                : nth_ip_echo(packet, room, &flow, &echo, payload, sizes[i]);
                CHECK(bytes > sizes[i]);
                CHECK_EQ(transport_sum(packet, bytes), 0xFFFF);
                if (version == 4)
                    CHECK_EQ(plain_checksum(0, packet, 20), 0xFFFF);
                const char *wrong = nth_ip_verify(packet, bytes, &view);
                CHECK_STR(wrong ? wrong : "nothing", "nothing");
                CHECK_EQ(view.payload_bytes, sizes[i]);
                CHECK_MEM(view.payload, payload, sizes[i]);
            }
}

TEST(packet_that_does_not_fit_is_not_made)
{
    /* ip.h: "0 when it does not fit room or NTH_IP_MAX"; nothing is written behind the room */
    static uint8_t payload[NTH_IP_MAX];
    const struct nth_ip_flow four = flow_of(4), six = flow_of(6);
    uint8_t *packet = malloc(NTH_IP_MAX);

    CHECK_EQ(nth_ip_udp(packet, NTH_IP_MAX, &four, payload, NTH_IP_MAX - 28), NTH_IP_MAX);
    CHECK_EQ(nth_ip_udp(packet, NTH_IP_MAX, &four, payload, NTH_IP_MAX - 27), 0);
    CHECK_EQ(nth_ip_udp(packet, NTH_IP_MAX, &six, payload, NTH_IP_MAX - 48), NTH_IP_MAX);
    CHECK_EQ(nth_ip_udp(packet, NTH_IP_MAX, &six, payload, NTH_IP_MAX - 47), 0);
    for (size_t room = 0; room < 48; room++) {
        uint8_t *tight = malloc(room ? room : 1);
        CHECK_EQ(nth_ip_udp(tight, room, &four, payload, 20), room < 48 ? 0 : 48);
        free(tight);
    }
    free(packet);
}

TEST(udp_checksum_of_zero_is_sent_as_ones)
{
    /* RFC 768: "If the computed checksum is zero, it is transmitted as all ones" */
    const struct nth_ip_flow flow = flow_of(4);
    uint8_t packet[64], payload[2] = {0, 0};

    CHECK_EQ(nth_ip_udp(packet, sizeof(packet), &flow, payload, 2), 30);
    payload[0] = packet[26]; /* with this payload the sum comes to all ones by itself */
    payload[1] = packet[27];
    CHECK_EQ(nth_ip_udp(packet, sizeof(packet), &flow, payload, 2), 30);
    CHECK_EQ(packet[26] << 8 | packet[27], 0xFFFF);
    CHECK(nth_ip_verify(packet, 30, NULL) == NULL);
}

TEST(any_altered_bit_is_found)
{
    /* RFC 1071: a checksum finds every error of a single bit */
    const struct nth_ip_tcp tcp = {1, 2, NTH_TCP_ACK, 3};
    static const uint8_t payload[] = "altered";
    uint8_t packet[128];

    for (int version = 4; version <= 6; version += 2) {
        const struct nth_ip_flow flow = flow_of(version);
        const size_t bytes =
            nth_ip_tcp(packet, sizeof(packet), &flow, &tcp, payload, sizeof(payload));
        const size_t checked = version == 4 ? 0 : 8; /* IPv6 has no sum over its first bytes */
        for (size_t bit = checked * 8; bit < bytes * 8; bit++) {
            packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
            CHECK(nth_ip_verify(packet, bytes, NULL) != NULL);
            packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        CHECK(nth_ip_verify(packet, bytes, NULL) == NULL);
    }
}

TEST(no_bytes_whatever_are_read_beyond)
{
    /* ip.h: "never trusts a length in a packet"; the sanitised build watches the exact buffer */
    uint32_t random = 7;

    for (int round = 0; round < 30000; round++) {
        random = random * 1664525 + 1013904223;
        const size_t bytes = random >> 25;
        uint8_t *packet = malloc(bytes ? bytes : 1);
        struct nth_ip_view view;
        for (size_t i = 0; i < bytes; i++)
            packet[i] = (uint8_t)((random = random * 1664525 + 1013904223) >> 24);
        if (bytes)
            packet[0] = round % 2 ? 0x45 : 0x60;
        if (bytes > 6 && round % 4 < 2) { /* its length is right, so that more is looked at */
            packet[round % 2 ? 2 : 4] = 0;
            packet[round % 2 ? 3 : 5] = (uint8_t)(round % 2 ? bytes : bytes - 40);
            packet[6] = (uint8_t[]){0, 43, 44, 60, 58, 17, 6, 0}[random >> 29];
        }
        if (nth_ip_verify(packet, bytes, &view) == NULL)
            CHECK(view.payload >= packet && view.payload + view.payload_bytes == packet + bytes);
        free(packet);
    }
}
