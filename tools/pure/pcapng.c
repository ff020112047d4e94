/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Writes pcapng. Block and option codes are those of draft-ietf-opsawg-pcapng, sections 4.1 to 4.6.
 */
#include "pcapng.h"

#include <string.h>

enum {
    BLOCK_SECTION = 0x0A0D0D0A,
    BLOCK_INTERFACE = 1,
    BLOCK_STATISTICS = 5,
    BLOCK_PACKET = 6,
    LINKTYPE_RAW = 101,
    OPTION_END = 0,
    OPTION_APPLICATION = 4, /* shb_userappl */
    OPTION_NAME = 2,        /* if_name */
    OPTION_RESOLUTION = 9,  /* if_tsresol */
    OPTION_FLAGS = 2,       /* epb_flags: bits 0 and 1 are the direction */
    OPTION_RECEIVED = 4,    /* isb_ifrecv */
    OPTION_DROPPED = 5,     /* isb_ifdrop */
    INBOUND = 1,
    OUTBOUND = 2,
    TICK_RESOLUTION = 7 /* 10^-7 s */
};

typedef struct {
    uint8_t *Start, *Next;
} BLOCK;

static void Put16(BLOCK *Block, uint32_t Value)
{
    *Block->Next++ = (uint8_t)Value;
    *Block->Next++ = (uint8_t)(Value >> 8);
}

static void Put32(BLOCK *Block, uint32_t Value)
{
    Put16(Block, Value & 0xFFFF);
    Put16(Block, Value >> 16);
}

static void PutBytes(BLOCK *Block, const void *Bytes, size_t Size)
{
    if (Size)
        memcpy(Block->Next, Bytes, Size);
    Block->Next += Size;
    while ((Block->Next - Block->Start) % 4)
        *Block->Next++ = 0;
}

static void PutOption(BLOCK *Block, uint32_t Code, const void *Bytes, size_t Size)
{
    Put16(Block, Code);
    Put16(Block, (uint32_t)Size);
    PutBytes(Block, Bytes, Size);
}

/* A time, or with IsHighFirst false a counter: the two are written differently. */
static void Put64(BLOCK *Block, uint64_t Value, bool IsHighFirst)
{
    Put32(Block, (uint32_t)(IsHighFirst ? Value >> 32 : Value));
    Put32(Block, (uint32_t)(IsHighFirst ? Value : Value >> 32));
}

static BLOCK BlockBegin(uint8_t *Buffer, uint32_t Type)
{
    BLOCK Block = {Buffer, Buffer};

    Put32(&Block, Type);
    Put32(&Block, 0); /* its length, by BlockEnd */
    return Block;
}

static size_t BlockEnd(BLOCK *Block)
{
    const uint32_t Length = (uint32_t)(Block->Next - Block->Start) + 4;
    BLOCK Head = {Block->Start, Block->Start + 4};

    Put32(Block, Length);
    Put32(&Head, Length);
    return Length;
}

static size_t StringSize(const char *String)
{
    size_t Size = 0;

    while (String[Size])
        Size++;
    return Size;
}

size_t PcapngStart(uint8_t *Buffer, const char *Application, const char *Interface)
{
    BLOCK Block = BlockBegin(Buffer, BLOCK_SECTION);

    Put32(&Block, 0x1A2B3C4D); /* byte order */
    Put16(&Block, 1);          /* version 1.0 */
    Put16(&Block, 0);
    Put64(&Block, UINT64_MAX, false); /* length of the section: not known */
    PutOption(&Block, OPTION_APPLICATION, Application, StringSize(Application));
    PutOption(&Block, OPTION_END, NULL, 0);
    const size_t Size = BlockEnd(&Block);

    Block = BlockBegin(Buffer + Size, BLOCK_INTERFACE);
    Put16(&Block, LINKTYPE_RAW);
    Put16(&Block, 0);
    Put32(&Block, 0); /* packets are never cut */
    PutOption(&Block, OPTION_NAME, Interface, StringSize(Interface));
    PutOption(&Block, OPTION_RESOLUTION, &(const uint8_t){TICK_RESOLUTION}, 1);
    PutOption(&Block, OPTION_END, NULL, 0);
    return Size + BlockEnd(&Block);
}

size_t PcapngPacket(uint8_t *Buffer, uint64_t Ticks, bool IsOutbound, const uint8_t *Packet,
                    uint32_t Size)
{
    BLOCK Block = BlockBegin(Buffer, BLOCK_PACKET);

    Put32(&Block, 0); /* the interface */
    Put64(&Block, Ticks, true);
    Put32(&Block, Size);
    Put32(&Block, Size);
    PutBytes(&Block, Packet, Size);
    PutOption(&Block, OPTION_FLAGS, &(const uint8_t[4]){IsOutbound ? OUTBOUND : INBOUND}, 4);
    PutOption(&Block, OPTION_END, NULL, 0);
    return BlockEnd(&Block);
}

size_t PcapngCounts(uint8_t *Buffer, uint64_t Ticks, uint64_t Seen, uint64_t Dropped)
{
    BLOCK Block = BlockBegin(Buffer, BLOCK_STATISTICS);

    Put32(&Block, 0);
    Put64(&Block, Ticks, true);
    Put16(&Block, OPTION_RECEIVED);
    Put16(&Block, 8);
    Put64(&Block, Seen, false);
    Put16(&Block, OPTION_DROPPED);
    Put16(&Block, 8);
    Put64(&Block, Dropped, false);
    PutOption(&Block, OPTION_END, NULL, 0);
    return BlockEnd(&Block);
}
