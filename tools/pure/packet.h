/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The few packets that wintun.exe makes and understands. Packets come from anywhere: every function
 * checks the size it is given, and believes no length in the packet.
 */
#pragma once

#include "text.h"

enum { PACKET_ECHO_OVERHEAD = 28 }; /* IPv4 and ICMP headers */

/* One's complement sum of RFC 1071, folded and inverted. */
uint16_t PacketChecksum(const uint8_t *Bytes, size_t Size);

/* An ICMP echo request of Size bytes in all, at least PACKET_ECHO_OVERHEAD. */
void PacketMakeEcho(uint8_t *Packet, uint32_t Size, const uint8_t *Source,
                    const uint8_t *Destination, uint16_t Sequence);

/* Whether Packet is the answer, byte for byte, to what PacketMakeEcho makes of the same. */
bool PacketIsEchoReply(const uint8_t *Packet, uint32_t Size, const uint8_t *Source,
                       const uint8_t *Destination, uint16_t Sequence);

/* Turns an echo request (IPv4 or IPv6) into its answer; false: it is none, and is unchanged. */
bool PacketAnswerEcho(uint8_t *Packet, uint32_t Size);

/* "10.0.0.1 > 10.0.0.2 ICMP echo request, 84 bytes". */
void PacketPrint(TOOL_TEXT *Text, const uint8_t *Packet, uint32_t Size);
