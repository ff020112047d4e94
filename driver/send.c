/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Host stack to user: copies what Windows sends into the ring to the user and gives the chain back
 * at once, in the units it came in. Must never keep a list, wait, or touch the links of a chain.
 */
#include "tun.h"

/* What NDIS is told about a list that lost a packet, by the counter of the loss. */
static const NDIS_STATUS LossStatus[] = {
    [WintunToUserNoSession] = NDIS_STATUS_MEDIA_DISCONNECTED,
    [WintunToUserPaused] = NDIS_STATUS_PAUSED,
    [WintunToUserFull] = NDIS_STATUS_BUFFER_OVERFLOW,
    [WintunToUserCorrupt] = NDIS_STATUS_ADAPTER_NOT_READY,
    [WintunToUserTooLong] = NDIS_STATUS_INVALID_LENGTH,
    [WintunToUserInaccessible] = NDIS_STATUS_FAILURE,
};

/* The driver's field of a NET_BUFFER, its own until the chain goes back: a packet to be carried. */
typedef struct TUN_PACKET {
    struct TUN_PACKET *Next;
    NET_BUFFER *Nb;
    NET_BUFFER_LIST *Nbl;
    ULONG Bytes; /* of its record */
} TUN_PACKET;
C_ASSERT(sizeof(TUN_PACKET) <= RTL_FIELD_SIZE(NET_BUFFER, MiniportReserved));

/* What is left of a chain on its way. */
typedef struct TUN_CHAIN {
    TUN_ADAPTER *Adapter;
    TUN_PACKET *First;
    ULONG Budget; /* bytes to try for in the next turn */
} TUN_CHAIN;

/* One cause, one counter; a list keeps the reason of the first packet it lost. */
static VOID PacketLose(TUN_ADAPTER *Adapter, NET_BUFFER_LIST *Nbl, ULONG Reason)
{
    Count(Adapter, Reason, 1);
    if (NET_BUFFER_LIST_STATUS(Nbl) == NDIS_STATUS_SUCCESS)
        NET_BUFFER_LIST_STATUS(Nbl) = LossStatus[Reason];
}

static VOID ChainLose(TUN_CHAIN *Chain, const TUN_PACKET *End, ULONG Reason)
{
    for (; Chain->First != End; Chain->First = Chain->First->Next)
        PacketLose(Chain->Adapter, Chain->First->Nbl, Reason);
}

/*
 * Copies a packet, or only sees whether it can be copied (To is NULL). Not with NdisGetDataBuffer,
 * which may fail when room is taken already, and room cannot be given back: others may have taken
 * more behind it, and a version 1 ring has no record that means nothing. A system mapping once made
 * stays, so the copy of what was seen here cannot fail.
 */
static BOOLEAN PacketCopy(const NET_BUFFER *Nb, UCHAR *To)
{
    ULONG Offset = NET_BUFFER_CURRENT_MDL_OFFSET(Nb), Left = NET_BUFFER_DATA_LENGTH(Nb), Part;

    for (MDL *Mdl = NET_BUFFER_CURRENT_MDL(Nb); Left; Mdl = Mdl->Next, Left -= Part, Offset = 0) {
        const UCHAR *From = Mdl ? MmGetSystemAddressForMdlSafe(Mdl, Driver.MapPriority) : NULL;
        if (!From)
            return FALSE;
        Part = MmGetMdlByteCount(Mdl) - Offset;
        Part = Part < Left ? Part : Left;
        if (To) {
            RtlCopyMemory(To, From + Offset, Part);
            To += Part;
        }
    }
    return TRUE;
}

/* Why a packet cannot be carried, or 0. */
static ULONG PacketRefusal(const NET_BUFFER *Nb)
{
    if (NET_BUFFER_DATA_LENGTH(Nb) > WINTUN_MAX_PACKET)
        return WintunToUserTooLong;
    return PacketCopy(Nb, NULL) ? 0 : WintunToUserInaccessible;
}

/* Measures the lists, once, and chains what is to be carried. Refusal: nothing is, for that reason.
 */
static VOID ChainMake(TUN_CHAIN *Chain, NET_BUFFER_LIST *Nbl, NDIS_STATUS Status, ULONG Refusal)
{
    TUN_PACKET **Last = &Chain->First;

    for (; Nbl; Nbl = NET_BUFFER_LIST_NEXT_NBL(Nbl)) {
        NET_BUFFER_LIST_STATUS(Nbl) = Status;
        for (NET_BUFFER *Nb = NET_BUFFER_LIST_FIRST_NB(Nbl); Nb; Nb = NET_BUFFER_NEXT_NB(Nb)) {
            const ULONG Reason = Refusal ? Refusal : PacketRefusal(Nb);
            if (Reason) {
                PacketLose(Chain->Adapter, Nbl, Reason);
            } else {
                *Last = (TUN_PACKET *)NET_BUFFER_MINIPORT_RESERVED(Nb);
                **Last = (TUN_PACKET){NULL, Nb, Nbl, RingRecordBytes(NET_BUFFER_DATA_LENGTH(Nb))};
                Last = &(*Last)->Next;
            }
        }
    }
}

/* Fills the room with the packets up to End. */
static VOID ChainCopy(TUN_CHAIN *Chain, const TUN_PACKET *End, TUN_RING *Ring, TUN_ROOM *Room)
{
    ULONG Offset = Room->Start, Packets = 0, Bytes = 0;

    for (; Chain->First != End; Chain->First = Chain->First->Next, Packets++) {
        const ULONG Size = NET_BUFFER_DATA_LENGTH(Chain->First->Nb);
        WriteULongNoFence((ULONG volatile *)(Ring->Data + Offset), Size);
        PacketCopy(Chain->First->Nb, Ring->Data + Offset + WINTUN_RING_RECORD);
        Offset = (Offset + Chain->First->Bytes) & (Ring->Capacity - 1);
        Bytes += Size;
    }
    Count(Chain->Adapter, WintunToUserPackets, Packets);
    Count(Chain->Adapter, WintunToUserBytes, Bytes);
    if (RingCommit(Ring, Room) && Ring->TailMoved) {
        KeSetEvent(Ring->TailMoved, EVENT_INCREMENT, FALSE);
        Count(Chain->Adapter, WintunToUserSignals, 1);
    }
}

/*
 * Carries the next packets: as many as the budget allows, and at least one. When they do not fit,
 * half as many are tried, so that in the end only what does not fit alone is dropped.
 */
static VOID ChainTurn(TUN_CHAIN *Chain, TUN_RING *Ring)
{
    const TUN_PACKET *End = Chain->First;
    ULONG Bytes = 0;
    TUN_ROOM Room;

    do {
        Bytes += End->Bytes;
        End = End->Next;
    } while (End && Bytes + End->Bytes <= Chain->Budget);
    const TUN_RESULT Result = RingReserve(Ring, Bytes, &Room);
    if (Result == RingDone)
        ChainCopy(Chain, End, Ring, &Room);
    else if (Result == RingFull && Chain->First->Next != End)
        Chain->Budget = Bytes / 2;
    else
        ChainLose(Chain, End, Result == RingFull ? WintunToUserFull : WintunToUserCorrupt);
}

/*
 * MiniportSendNetBufferLists. The reference comes first and state after it. NDIS waits for it when
 * it pauses the adapter (MiniportPause); after surprise removal nothing is accepted any more
 * (MiniportDevicePnPEventNotify). At DISPATCH_LEVEL throughout: see tun.h. The ring gate is held
 * for one turn at a time.
 */
VOID SendNetBufferLists(NDIS_HANDLE Context, NET_BUFFER_LIST *First, NDIS_PORT_NUMBER Port,
                        ULONG SendFlags)
{
    TUN_ADAPTER *Adapter = Context;
    TUN_CHAIN Chain = {.Adapter = Adapter, .Budget = TUN_TURN_BYTES};
    const KIRQL Irql = KeRaiseIrqlToDpcLevel();
    const BOOLEAN IsFlowing = ExAcquireRundownProtectionCacheAware(Adapter->FlowGate);
    const BOOLEAN IsRemoved = ReadNoFence(&Adapter->IsRemoved) != FALSE;
    ULONG Refusal = IsFlowing && !IsRemoved ? 0 : WintunToUserPaused;

    if (!Refusal && !ReadNoFence(&Adapter->LinkWanted))
        Refusal = WintunToUserNoSession;
    ChainMake(&Chain, First, IsRemoved ? NDIS_STATUS_NOT_ACCEPTED : NDIS_STATUS_SUCCESS, Refusal);
    while (Chain.First) {
        TUN_SESSION *Session = GateEnter(Adapter);
        if (Session) {
            ChainTurn(&Chain, &Session->ToUser);
            GateLeave(Adapter);
        } else {
            ChainLose(&Chain, NULL, WintunToUserNoSession);
        }
    }
    if (!Refusal && ReadNoFence(&Adapter->ReadSession))
        ReadsPump(Adapter);
    NdisMSendNetBufferListsComplete(Adapter->Handle, First,
                                    NDIS_SEND_COMPLETE_FLAGS_DISPATCH_LEVEL);
    if (IsFlowing)
        ExReleaseRundownProtectionCacheAware(Adapter->FlowGate);
    KeLowerIrql(Irql);
}
