/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Packets and capture files of wintun.exe. The file is read back by tests/tools/run with a reader
 * of its own; here is what that cannot see. No machine is booted.
 */
#include "../../tools/pure/packet.h"
#include "../../tools/pure/pcapng.h"

#include "check.h"
#include "edge/ip.h"

#include <stdlib.h>

static const uint8_t Own[4] = {198, 18, 53, 1}, Peer[4] = {198, 18, 53, 2};

/* What wintun.exe makes is a ping for the host's own parser of packets, at every size. */
TEST(echo_is_valid_ip_at_every_size)
{
    struct nth_ip_view view;

    for (uint32_t size = PACKET_ECHO_OVERHEAD; size < 3000; size++) {
        uint8_t *packet = malloc(size);
        PacketMakeEcho(packet, size, Peer, Own, (uint16_t)size);
        const char *wrong = nth_ip_verify(packet, size, &view);
        if (wrong)
            check_fail(__FILE__, __LINE__, "%u bytes: %s", size, wrong);
        free(packet);
    }
}

/* RFC 792: addresses and type change, nothing else; and the answer is known for one. */
TEST(echo_answer_is_recognised_and_nothing_else_is)
{
    uint8_t packet[84], other[84];

    PacketMakeEcho(packet, sizeof(packet), Peer, Own, 7);
    CHECK(!PacketIsEchoReply(packet, sizeof(packet), Peer, Own, 7));
    CHECK(PacketAnswerEcho(packet, sizeof(packet)));
    CHECK(PacketIsEchoReply(packet, sizeof(packet), Peer, Own, 7));
    CHECK(!PacketIsEchoReply(packet, sizeof(packet), Peer, Own, 8));
    CHECK(!PacketIsEchoReply(packet, sizeof(packet), Own, Peer, 7));
    CHECK_EQ(PacketChecksum(packet + 20, sizeof(packet) - 20), 0);
    for (uint32_t at = 20; at < sizeof(packet); at++) { /* any byte of ICMP */
        memcpy(other, packet, sizeof(packet));
        other[at] ^= 1;
        CHECK(!PacketIsEchoReply(other, sizeof(other), Peer, Own, 7));
    }
    CHECK(!PacketAnswerEcho(packet, sizeof(packet)));
}

/* RFC 4443: an echo request of IPv6; its checksum covers the addresses, whose exchange it bears. */
TEST(echo6_is_answered)
{
    uint8_t packet[48] = {
        0x60, 0,        0,           0,        0,          8,           58,         64,
        0xFD, [23] = 1, [24] = 0xFD, [39] = 2, [40] = 128, [42] = 0x12, [43] = 0x34};

    CHECK(PacketAnswerEcho(packet, sizeof(packet)));
    CHECK_EQ(packet[40], 129);
    CHECK(packet[23] == 2 && packet[39] == 1);
    CHECK_EQ(packet[42] << 8 | packet[43],
             0x1134); /* one less in the word with the type's 0x0100 */
}

/* No answer to what could make a storm, or is only a part. */
TEST(echo_to_many_or_in_fragments_is_not_answered)
{
    uint8_t packet[84];

    PacketMakeEcho(packet, sizeof(packet), Peer, (const uint8_t[4]){224, 0, 0, 1}, 1);
    CHECK(!PacketAnswerEcho(packet, sizeof(packet)));
    PacketMakeEcho(packet, sizeof(packet), Peer, Own, 1);
    packet[6] = 0x20; /* more fragments */
    CHECK(!PacketAnswerEcho(packet, sizeof(packet)));
    packet[6] = 0;
    packet[7] = 5; /* not the first */
    CHECK(!PacketAnswerEcho(packet, sizeof(packet)));
}

/* Whatever comes from Windows, cut anywhere: nothing outside it is read (address checks look). */
TEST(packets_of_any_size_and_content_are_looked_at_safely)
{
    char buffer[256];
    TOOL_TEXT text;

    srand(2);
    for (int round = 0; round < 50000; round++) {
        const uint32_t size = (uint32_t)rand() % 64;
        uint8_t *packet = malloc(size ? size : 1);
        for (uint32_t i = 0; i < size; i++)
            packet[i] = (uint8_t)rand();
        if (size && rand() % 4)
            packet[0] = (uint8_t)(rand() % 2 ? 0x40 | (rand() & 15) : 0x60);
        if (size > 9 && rand() % 2)
            packet[9] = packet[6] = (uint8_t[]){1, 6, 17, 58}[rand() % 4];
        TextInit(&text, buffer, sizeof(buffer));
        PacketPrint(&text, packet, size);
        PacketIsEchoReply(packet, size, Own, Peer, 1);
        PacketAnswerEcho(packet, size);
        free(packet);
    }
}

TEST(packets_are_described)
{
    char buffer[256];
    TOOL_TEXT text;
    uint8_t packet[84];

    PacketMakeEcho(packet, sizeof(packet), Peer, Own, 1);
    TextInit(&text, buffer, sizeof(buffer));
    PacketPrint(&text, packet, sizeof(packet));
    CHECK_STR(buffer, "198.18.53.2 > 198.18.53.1 ICMP echo request, 84 bytes");
    packet[9] = 17;
    TextInit(&text, buffer, sizeof(buffer));
    PacketPrint(&text, packet, sizeof(packet));
    CHECK(strstr(buffer, "198.18.53.2 port 2048 > 198.18.53.1 port "));
    packet[9] = 47;
    TextInit(&text, buffer, sizeof(buffer));
    PacketPrint(&text, packet, sizeof(packet));
    CHECK_STR(buffer, "198.18.53.2 > 198.18.53.1 protocol 47, 84 bytes");
    TextInit(&text, buffer, sizeof(buffer));
    PacketPrint(&text, packet, 0);
    CHECK_STR(buffer, "not IP, 0 bytes");
}

/* ---- pcapng ---- */

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

/* draft-ietf-opsawg-pcapng, section 3.1: lengths at both ends agree and are multiples of 4; and a
 * block is not longer than pcapng.h says, whatever the packet's size. */
TEST(pcapng_blocks_of_any_packet_are_framed)
{
    static uint8_t packet[65535], buffer[65535 + PCAPNG_OVERHEAD];

    for (uint32_t size = 0; size <= sizeof(packet); size += size < 100 ? 1 : 997) {
        const size_t length = PcapngPacket(buffer, 0x0123456789ABCDEFULL, true, packet, size);
        CHECK(length % 4 == 0 && length <= size + PCAPNG_OVERHEAD);
        CHECK_EQ(get32(buffer + 4), length);
        CHECK_EQ(get32(buffer + length - 4), length);
        CHECK_EQ(get32(buffer + 12), 0x01234567);
        CHECK_EQ(get32(buffer + 16), 0x89ABCDEF);
        CHECK_EQ(get32(buffer + 20), size);
    }
    CHECK(PcapngCounts(buffer, 1, 2, 3) <= PCAPNG_OVERHEAD);
    CHECK(PcapngStart(buffer, "", "") <= PCAPNG_OVERHEAD);
}
