/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Blocks of a pcapng file (draft-ietf-opsawg-pcapng), little-endian, with one interface whose link
 * type is LINKTYPE_RAW: packets begin with their IP header.
 */
#pragma once

#include "text.h"

/* What each call needs at most, beside the packet or the strings. */
enum { PCAPNG_OVERHEAD = 160 };

/* Section header and interface description. Returns the bytes written. */
size_t PcapngStart(uint8_t *Buffer, const char *Application, const char *Interface);

/* A packet. Ticks: 100 ns since 1970-01-01 UTC. IsOutbound: Windows sent it. */
size_t PcapngPacket(uint8_t *Buffer, uint64_t Ticks, bool IsOutbound, const uint8_t *Packet,
                    uint32_t Size);

/* At the end: packets that were seen, and packets that Windows sent but nobody read in time. */
size_t PcapngCounts(uint8_t *Buffer, uint64_t Ticks, uint64_t Seen, uint64_t Dropped);
