/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What the WDK's headers have, the drivers written as others write them use, and sdk/ leaves out
 * because nothing else here needs it. Only facts from Microsoft's documentation.
 */
#pragma once

#include <ndis.h>

#define OID_802_3_MULTICAST_LIST   0x01010103
#define NDIS_STATUS_MULTICAST_FULL ((NDIS_STATUS)0xC0010009)
#define NDIS_STATUS_SEND_ABORTED   ((NDIS_STATUS)0xC023000C)
#define STATUS_DEVICE_REMOVED      ((NTSTATUS)0xC00002B6)
#define IF_TYPE_ETHERNET_CSMACD    6

#define NDIS_STATISTICS_FLAGS_VALID_DIRECTED_FRAMES_RCV  1
#define NDIS_STATISTICS_FLAGS_VALID_DIRECTED_FRAMES_XMIT 0x40
#define NDIS_STATISTICS_FLAGS_VALID_BYTES_RCV            8
#define NDIS_STATISTICS_FLAGS_VALID_BYTES_XMIT           0x200
#define NDIS_STATISTICS_FLAGS_VALID_RCV_DISCARDS         0x10
#define NDIS_STATISTICS_FLAGS_VALID_XMIT_DISCARDS        0x8000
#define NDIS_PACKET_TYPE_MULTICAST                       2
#define NDIS_SIZEOF_INTERRUPT_MODERATION_PARAMETERS_REVISION_1                                     \
    RTL_SIZEOF_THROUGH_FIELD(NDIS_INTERRUPT_MODERATION_PARAMETERS, InterruptModeration)

#define NdisMoveMemory(Destination, Source, Length) RtlCopyMemory(Destination, Source, Length)
#define NdisZeroMemory(Destination, Length)         RtlZeroMemory(Destination, Length)
#define NDIS_STRING_CONST(Literal)                  RTL_CONSTANT_STRING(L##Literal)
#define NDIS_TEST_SEND_AT_DISPATCH_LEVEL(Flags)     (((Flags) & NDIS_SEND_FLAGS_DISPATCH_LEVEL) != 0)
#define NDIS_TEST_RECEIVE_CANNOT_PEND(Flags)        (((Flags) & NDIS_RECEIVE_FLAGS_RESOURCES) != 0)

#define InterlockedIncrement64(Addend) InterlockedAdd64(Addend, 1)

FORCEINLINE VOID RtlInitEmptyUnicodeString(PUNICODE_STRING String, PWCHAR Buffer, USHORT Bytes)
{
    String->Length = 0;
    String->MaximumLength = Bytes;
    String->Buffer = Buffer;
}
