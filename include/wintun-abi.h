/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What wintun.sys and a program that talks to it without wintun.dll must agree on: control codes,
 * shared rings, bundles of packets for ReadFile and WriteFile, the answer to a query, and limits.
 * Little-endian, the same for 32- and 64-bit programs unless a type says otherwise. Must never need
 * a header of Windows; nothing that is here may change, only be added to. A structure's size, which
 * any compiler checks by the type that follows it, is the sum of its fields: there is no padding,
 * so every offset is that of the text.
 *
 * Rings are named by destination: ToUser carries what Windows sends, ToStack what it receives.
 */
#pragma once

#include <stdint.h>

/* Adapter "{NetCfgInstanceId}" is opened as WINTUN_WIN32_PATH "{...}". Names are case-insensitive.
 */
#define WINTUN_DEVICE_NAME "\\Device\\Wintun"
#define WINTUN_LINK_NAME   "\\DosDevices\\Wintun"
#define WINTUN_WIN32_PATH  "\\\\.\\Wintun\\"

/*
 * Who may open an adapter: device property {WINTUN_PROPERTY_FMTID, 2} of type security descriptor
 * (self-relative), given when the device is created. Absent or invalid: SYSTEM and elevated
 * administrators.
 */
#define WINTUN_PROPERTY_FMTID                                                                      \
    {0x6906e155, 0xafd4, 0x44a9, {0x8d, 0x84, 0x2a, 0x4a, 0x9b, 0x95, 0x57, 0x24}}
#define WINTUN_PROPERTY_SECURITY 2

/* Control codes; all buffered. REGISTER_RINGS asks for read and write access, QUERY for read. */
#define WINTUN_IOCTL_REGISTER_RINGS 0xCA6CE5C0U
#define WINTUN_IOCTL_QUERY          0xCA6C6604U

#define WINTUN_MAX_PACKET 0xFFFFU

/*
 * A version 1 ring: this header, then the data area: capacity bytes and a trailing area into which
 * a record that begins near the end continues, so that every record is contiguous. The ring must be
 * 4-byte aligned and stay mapped writable while it is being registered; afterwards the driver has
 * the pages. Head and Tail are offsets into the data area, multiples of WINTUN_RING_ALIGNMENT and
 * below the capacity; WINTUN_RING_ENDED in the driver's word says that this direction has ended.
 */
typedef struct WINTUN_RING {
    uint32_t Head;     /* consumer: first unread record */
    uint32_t Tail;     /* producer: first free byte */
    int32_t Alertable; /* consumer: non-zero while it is about to sleep or asleep */
} WINTUN_RING;
typedef char WINTUN_RING_IS_12[sizeof(WINTUN_RING) == 12 ? 1 : -1];

#define WINTUN_RING_ENDED        0xFFFFFFFFU
#define WINTUN_RING_ALIGNMENT    4U       /* of records, and of what is kept free in a full ring */
#define WINTUN_RING_RECORD       4U       /* bytes before the packet: its size, uint32_t */
#define WINTUN_RING_TRAILING     0x10000U /* largest record less WINTUN_RING_ALIGNMENT */
#define WINTUN_RING_MIN_CAPACITY 0x20000U /* capacities are powers of two, both bounds included */
#define WINTUN_RING_MAX_CAPACITY 0x4000000U
#define WINTUN_RING_OVERHEAD     ((uint32_t)sizeof(WINTUN_RING) + WINTUN_RING_TRAILING)

/* Input of REGISTER_RINGS from a 64-bit program. Sizes are capacity + WINTUN_RING_OVERHEAD. */
typedef struct WINTUN_REGISTER_RING {
    uint32_t RingSize, Padding; /* padding is ignored */
    uint64_t Ring;              /* address */
    uint64_t TailMoved;         /* event: ToUser is set by the driver, ToStack by the program */
} WINTUN_REGISTER_RING;
typedef struct WINTUN_REGISTER_RINGS {
    WINTUN_REGISTER_RING ToUser, ToStack;
} WINTUN_REGISTER_RINGS;
typedef char WINTUN_REGISTER_RINGS_IS_48[sizeof(WINTUN_REGISTER_RINGS) == 48 ? 1 : -1];

/* The same from a 32-bit program. */
typedef struct WINTUN_REGISTER_RING_32 {
    uint32_t RingSize, Ring, TailMoved;
} WINTUN_REGISTER_RING_32;
typedef struct WINTUN_REGISTER_RINGS_32 {
    WINTUN_REGISTER_RING_32 ToUser, ToStack;
} WINTUN_REGISTER_RINGS_32;
typedef char WINTUN_REGISTER_RINGS_32_IS_24[sizeof(WINTUN_REGISTER_RINGS_32) == 24 ? 1 : -1];

/*
 * What precedes each packet in a bundle: zero bytes after the packet fill the record to a multiple
 * of WINTUN_BUNDLE_ALIGNMENT, the last record too. Records are back to back and fill the buffer.
 */
typedef struct WINTUN_BUNDLE_RECORD {
    uint32_t Size;        /* of the packet */
    uint32_t Reserved[3]; /* zero */
} WINTUN_BUNDLE_RECORD;
typedef char WINTUN_BUNDLE_RECORD_IS_16[sizeof(WINTUN_BUNDLE_RECORD) == 16 ? 1 : -1];

#define WINTUN_BUNDLE_ALIGNMENT 16U
#define WINTUN_BUNDLE_MIN_READ  0x10010U   /* buffer that holds any packet; smaller is refused */
#define WINTUN_BUNDLE_MAX_WRITE 0x1000000U /* a longer write is refused */

/* WINTUN_QUERY.State and .SessionKind */
enum { WintunStatePaused, WintunStateRunning, WintunStateRemoved };
enum { WintunSessionNone, WintunSessionRings, WintunSessionFile };

/* WINTUN_QUERY.Counters. A packet is counted once: as carried, or by the reason of its loss. */
enum {
    WintunToUserPackets,
    WintunToUserBytes,
    WintunToUserNoSession,    /* dropped: nobody to take it */
    WintunToUserPaused,       /* dropped: adapter paused or removed */
    WintunToUserFull,         /* dropped: no room in the ring */
    WintunToUserCorrupt,      /* dropped: the program's Head is invalid */
    WintunToUserTooLong,      /* dropped: more than WINTUN_MAX_PACKET bytes */
    WintunToUserInaccessible, /* dropped: its memory could not be mapped */
    WintunToUserSignals,      /* events set, reads completed */
    WintunToStackPackets,
    WintunToStackBytes,
    WintunToStackNotIp,    /* dropped: neither IPv4 nor IPv6 */
    WintunToStackPaused,   /* dropped: adapter paused */
    WintunToStackNoMemory, /* dropped: no buffer to copy it to */
    WintunToStackIndications,
    WintunToStackWakeups, /* times the driver slept and was woken */
    WintunCounterCount
};

/*
 * Answer to QUERY: as much of it as the output buffer holds, at least the first two fields. Size is
 * that of the whole answer in the driver's version.
 */
typedef struct WINTUN_QUERY {
    uint32_t Size;
    uint32_t Version;       /* 1 */
    uint32_t DriverVersion; /* major << 16 | minor */
    uint32_t NdisVersion;   /* in use: major << 16 | minor */
    uint32_t State;
    uint32_t SessionKind;
    uint64_t OwnerProcess; /* process that began the session; 0: none, or the kernel */
    uint32_t Mtu;
    uint32_t LinkUp;
    uint32_t QueueCount;
    uint32_t Offloads; /* in force */
    uint64_t Counters[24];
} WINTUN_QUERY;
typedef char WINTUN_QUERY_IS_240[sizeof(WINTUN_QUERY) == 240 ? 1 : -1];
