/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Comes before every file of the driver when a sabotaged wintun.sys is built (clang's -include):
 * the driver's own sources, unchanged, with three of its calls into NDIS going through sabotage.c.
 * What results is a driver binary that lies, for the demo to find out; nthost and the demo know
 * nothing.
 */
#pragma once

#include <ndis.h>

enum {
    SABOTAGE_corrupt,  /* a bit of some received packets is inverted: TCP repairs it */
    SABOTAGE_exchange, /* two words of some received packets change places: no checksum sees it */
    SABOTAGE_drop,     /* some received packets vanish on the way to the stack: TCP repairs it */
    SABOTAGE_lose,     /* some sent packets are said to be sent and never reach the driver's code */
    SABOTAGE_bypass /* sent packets jump to the other adapter; client and rings are not crossed */
};

NTSTATUS NTAPI SabotageRegister(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath,
                                NDIS_HANDLE Context,
                                PNDIS_MINIPORT_DRIVER_CHARACTERISTICS Characteristics,
                                PNDIS_HANDLE Handle);
NDIS_STATUS NTAPI SabotageAttributes(NDIS_HANDLE Handle,
                                     PNDIS_MINIPORT_ADAPTER_ATTRIBUTES Attributes);
VOID NTAPI SabotageIndicate(NDIS_HANDLE Handle, PNET_BUFFER_LIST Lists, NDIS_PORT_NUMBER Port,
                            ULONG Count, ULONG Flags);

#ifndef SABOTAGE
#define NdisMRegisterMiniportDriver        SabotageRegister
#define NdisMSetMiniportAttributes         SabotageAttributes
#define NdisMIndicateReceiveNetBufferLists SabotageIndicate
#endif
