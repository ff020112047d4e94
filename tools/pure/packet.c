/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * IPv4, IPv6 and ICMP, as far as a tool needs them.
 */
#include "packet.h"

#include "address.h"

#include <string.h>

enum {
    HEADER4 = 20,
    HEADER6 = 40,
    ICMP_HEADER = 8,
    ICMP = 1,
    TCP = 6,
    UDP = 17,
    ICMP6 = 58,
    ECHO_REQUEST = 8,
    ECHO_REPLY = 0,
    ECHO6_REQUEST = 128,
    ECHO6_REPLY = 129,
    IDENTIFIER = 0x5754
};

/* Where the transport header is, and what it is. */
typedef struct {
    bool IsIpv6;
    const uint8_t *Source, *Destination;
    unsigned Protocol;
    uint32_t Offset;
    bool IsFragment; /* not the first: there is no transport header */
} HEADER;

static uint32_t Get16(const uint8_t *Bytes)
{
    return (uint32_t)Bytes[0] << 8 | Bytes[1];
}

static void Put16(uint8_t *Bytes, uint32_t Value)
{
    Bytes[0] = (uint8_t)(Value >> 8);
    Bytes[1] = (uint8_t)Value;
}

uint16_t PacketChecksum(const uint8_t *Bytes, size_t Size)
{
    uint32_t Sum = 0;

    for (size_t Index = 0; Index + 1 < Size; Index += 2)
        Sum += Get16(Bytes + Index);
    if (Size % 2)
        Sum += (uint32_t)Bytes[Size - 1] << 8;
    Sum = (Sum & 0xFFFF) + (Sum >> 16);
    return (uint16_t)~((Sum & 0xFFFF) + (Sum >> 16));
}

static bool HeaderRead(const uint8_t *Packet, uint32_t Size, HEADER *Header)
{
    const unsigned Version = Size ? Packet[0] >> 4 : 0;

    if (Version == 4 && Size >= HEADER4) {
        *Header = (HEADER){false,     Packet + 12,           Packet + 16,
                           Packet[9], (Packet[0] & 15U) * 4, (Get16(Packet + 6) & 0x1FFF) != 0};
        return Header->Offset >= HEADER4 && Header->Offset <= Size;
    }
    if (Version == 6 && Size >= HEADER6) {
        *Header = (HEADER){true, Packet + 8, Packet + 24, Packet[6], HEADER6, false};
        return true;
    }
    return false;
}

void PacketMakeEcho(uint8_t *Packet, uint32_t Size, const uint8_t *Source,
                    const uint8_t *Destination, uint16_t Sequence)
{
    uint8_t *Icmp = Packet + HEADER4;

    memset(Packet, 0, PACKET_ECHO_OVERHEAD);
    Packet[0] = 0x45;
    Put16(Packet + 2, Size);
    Put16(Packet + 4, Sequence);
    Packet[8] = 64; /* hops */
    Packet[9] = ICMP;
    memcpy(Packet + 12, Source, 4);
    memcpy(Packet + 16, Destination, 4);
    Put16(Packet + 10, PacketChecksum(Packet, HEADER4));
    Icmp[0] = ECHO_REQUEST;
    Put16(Icmp + 4, IDENTIFIER);
    Put16(Icmp + 6, Sequence);
    for (uint32_t Index = PACKET_ECHO_OVERHEAD; Index < Size; Index++)
        Packet[Index] = (uint8_t)(Index + Sequence);
    Put16(Icmp + 2, PacketChecksum(Icmp, Size - HEADER4));
}

bool PacketIsEchoReply(const uint8_t *Packet, uint32_t Size, const uint8_t *Source,
                       const uint8_t *Destination, uint16_t Sequence)
{
    HEADER Header;

    if (!HeaderRead(Packet, Size, &Header) || Header.IsIpv6 || Header.Protocol != ICMP ||
        Header.IsFragment || Size < Header.Offset + ICMP_HEADER)
        return false;
    const uint8_t *Icmp = Packet + Header.Offset;
    if (memcmp(Header.Source, Destination, 4) != 0 || memcmp(Header.Destination, Source, 4) != 0 ||
        Icmp[0] != ECHO_REPLY || Get16(Icmp + 4) != IDENTIFIER || Get16(Icmp + 6) != Sequence ||
        PacketChecksum(Icmp, Size - Header.Offset) != 0)
        return false;
    for (uint32_t Index = PACKET_ECHO_OVERHEAD; Index < Size; Index++) {
        if (Packet[Index] != (uint8_t)(Index + Sequence))
            return false;
    }
    return true;
}

static void Swap(uint8_t *One, uint8_t *Other, unsigned Size)
{
    for (unsigned Index = 0; Index < Size; Index++) {
        const uint8_t Kept = One[Index];
        One[Index] = Other[Index];
        Other[Index] = Kept;
    }
}

/* The checksum follows the change of the type (RFC 1624, equation 3); swapped addresses leave it as
 * it was. */
bool PacketAnswerEcho(uint8_t *Packet, uint32_t Size)
{
    HEADER Header;

    if (!HeaderRead(Packet, Size, &Header) || Size < Header.Offset + ICMP_HEADER)
        return false;
    const bool HasMore = !Header.IsIpv6 && (Get16(Packet + 6) & 0x2000) != 0;
    const bool IsMulticast = Header.IsIpv6 ? Packet[24] == 0xFF : Packet[16] >= 224;
    const uint8_t Request = Header.IsIpv6 ? ECHO6_REQUEST : ECHO_REQUEST;
    const uint8_t Reply = Header.IsIpv6 ? ECHO6_REPLY : ECHO_REPLY;
    uint8_t *Icmp = Packet + Header.Offset;
    if (Header.Protocol != (Header.IsIpv6 ? ICMP6 : ICMP) || Header.IsFragment || HasMore ||
        IsMulticast || Icmp[0] != Request || Icmp[1] != 0)
        return false;
    uint32_t Sum =
        (~Get16(Icmp + 2) & 0xFFFF) + (~((uint32_t)Request << 8) & 0xFFFF) + ((uint32_t)Reply << 8);
    Sum = (Sum & 0xFFFF) + (Sum >> 16);
    Put16(Icmp + 2, ~((Sum & 0xFFFF) + (Sum >> 16)) & 0xFFFF);
    Icmp[0] = Reply;
    Swap(Packet + (Header.IsIpv6 ? 8 : 12), Packet + (Header.IsIpv6 ? 24 : 16),
         Header.IsIpv6 ? 16 : 4);
    return true;
}

static const char *ProtocolName(const HEADER *Header)
{
    switch (Header->Protocol) {
    case ICMP:
        return "ICMP";
    case ICMP6:
        return "ICMPv6";
    case TCP:
        return "TCP";
    case UDP:
        return "UDP";
    default:
        return NULL;
    }
}

static const char *EchoName(const HEADER *Header, const uint8_t *Icmp)
{
    if (Icmp[0] == (Header->IsIpv6 ? ECHO6_REQUEST : ECHO_REQUEST))
        return " echo request";
    return Icmp[0] == (Header->IsIpv6 ? ECHO6_REPLY : ECHO_REPLY) ? " echo reply" : "";
}

void PacketPrint(TOOL_TEXT *Text, const uint8_t *Packet, uint32_t Size)
{
    HEADER Header;

    if (!HeaderRead(Packet, Size, &Header)) {
        TextPrint(Text, "not IP, %lu bytes", (unsigned long)Size);
        return;
    }
    const uint8_t *Transport = Packet + Header.Offset;
    const bool HasPorts = (Header.Protocol == TCP || Header.Protocol == UDP) &&
                          !Header.IsFragment && Size >= Header.Offset + 4;
    AddressPrint(Text, Header.IsIpv6, Header.Source);
    if (HasPorts)
        TextPrint(Text, " port %u", (unsigned)Get16(Transport));
    TextPrint(Text, " > ");
    AddressPrint(Text, Header.IsIpv6, Header.Destination);
    if (HasPorts)
        TextPrint(Text, " port %u", (unsigned)Get16(Transport + 2));
    if (ProtocolName(&Header))
        TextPrint(Text, " %s", ProtocolName(&Header));
    else
        TextPrint(Text, " protocol %u", Header.Protocol);
    if ((Header.Protocol == ICMP || Header.Protocol == ICMP6) && !Header.IsFragment &&
        Size > Header.Offset)
        TextPrint(Text, "%s", EchoName(&Header, Transport));
    if (Header.IsFragment)
        TextPrint(Text, " fragment");
    TextPrint(Text, ", %lu bytes", (unsigned long)Size);
}
