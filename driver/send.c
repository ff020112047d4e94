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

/* A place in a chain; Nb is NULL at the end. */
typedef struct TUN_PLACE {
    NET_BUFFER_LIST *Nbl;
    NET_BUFFER *Nb;
} TUN_PLACE;

/* A chain on its way. What becomes of it is counted here, and in the adapter when it is given back.
 */
typedef struct TUN_CHAIN {
    TUN_PLACE At;
    ULONG Budget; /* bytes to try for in the next turn */
    ULONG64 Tally[WintunToUserSignals + 1];
} TUN_CHAIN;

static TUN_PLACE PlaceOf(NET_BUFFER_LIST *Nbl, NET_BUFFER *Nb)
{
    while (!Nb && NET_BUFFER_LIST_NEXT_NBL(Nbl)) {
        Nbl = NET_BUFFER_LIST_NEXT_NBL(Nbl);
        Nb = NET_BUFFER_LIST_FIRST_NB(Nbl);
    }
    return (TUN_PLACE){Nbl, Nb};
}

static TUN_PLACE PlaceNext(TUN_PLACE At)
{
    return PlaceOf(At.Nbl, NET_BUFFER_NEXT_NB(At.Nb));
}

/* Bytes of the packet's record, 0 once it is lost. The field is ours until the chain goes back. */
static ULONG_PTR *PlaceRecord(TUN_PLACE At)
{
    return (ULONG_PTR *)&NET_BUFFER_MINIPORT_RESERVED(At.Nb)[0];
}

/* One cause, one counter; a list keeps the reason of the first packet it lost. */
static VOID ChainLose(TUN_CHAIN *Chain, TUN_PLACE At, ULONG Reason)
{
    *PlaceRecord(At) = 0;
    Chain->Tally[Reason]++;
    if (NET_BUFFER_LIST_STATUS(At.Nbl) == NDIS_STATUS_SUCCESS)
        NET_BUFFER_LIST_STATUS(At.Nbl) = LossStatus[Reason];
}

static VOID ChainLoseUpTo(TUN_CHAIN *Chain, const NET_BUFFER *End, ULONG Reason)
{
    for (; Chain->At.Nb != End; Chain->At = PlaceNext(Chain->At))
        if (*PlaceRecord(Chain->At))
            ChainLose(Chain, Chain->At, Reason);
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

/* Measures the chain, once: from here on PlaceRecord tells what is to be carried. */
static VOID ChainMeasure(TUN_CHAIN *Chain, ULONG Refusal)
{
    for (TUN_PLACE At = Chain->At; At.Nb; At = PlaceNext(At)) {
        if (Refusal)
            ChainLose(Chain, At, Refusal);
        else if (NET_BUFFER_DATA_LENGTH(At.Nb) > WINTUN_MAX_PACKET)
            ChainLose(Chain, At, WintunToUserTooLong);
        else if (!PacketCopy(At.Nb, NULL))
            ChainLose(Chain, At, WintunToUserInaccessible);
        else
            *PlaceRecord(At) = RingRecordBytes(NET_BUFFER_DATA_LENGTH(At.Nb));
    }
}

/* Fills the room with the packets up to End. */
static VOID ChainCopy(TUN_CHAIN *Chain, const NET_BUFFER *End, const TUN_RING *Ring, ULONG Offset)
{
    for (; Chain->At.Nb != End; Chain->At = PlaceNext(Chain->At)) {
        if (!*PlaceRecord(Chain->At))
            continue;
        const ULONG Bytes = NET_BUFFER_DATA_LENGTH(Chain->At.Nb);
        WriteULongNoFence((ULONG volatile *)(Ring->Data + Offset), Bytes);
        PacketCopy(Chain->At.Nb, Ring->Data + Offset + WINTUN_RING_RECORD);
        Offset = (Offset + RingRecordBytes(Bytes)) & (Ring->Capacity - 1);
        Chain->Tally[WintunToUserPackets]++;
        Chain->Tally[WintunToUserBytes] += Bytes;
    }
}

/*
 * Carries the next packets: as many as the budget allows, and at least one. When they do not fit,
 * half as many are tried, so that in the end only what does not fit alone is dropped.
 */
static VOID ChainTurn(TUN_CHAIN *Chain, TUN_RING *Ring)
{
    TUN_PLACE End = Chain->At;
    TUN_ROOM Room;
    ULONG Bytes = 0, Packets = 0;

    for (; End.Nb && (!Packets || Bytes + *PlaceRecord(End) <= Chain->Budget);
         End = PlaceNext(End)) {
        Bytes += (ULONG)*PlaceRecord(End);
        Packets += *PlaceRecord(End) != 0;
    }
    const TUN_RESULT Result = Packets ? RingReserve(Ring, Bytes, &Room) : RingEmpty;
    if (Result == RingFull && Packets > 1) {
        Chain->Budget = Bytes / 2;
    } else if (Result != RingDone) { /* RingEmpty: all were lost before, nothing is left to lose */
        ChainLoseUpTo(Chain, End.Nb, Result == RingFull ? WintunToUserFull : WintunToUserCorrupt);
    } else {
        ChainCopy(Chain, End.Nb, Ring, Room.Start);
        if (RingCommit(Ring, &Room) && Ring->TailMoved) {
            KeSetEvent(Ring->TailMoved, EVENT_INCREMENT, FALSE);
            Chain->Tally[WintunToUserSignals]++;
        }
    }
}

/* All of the chain, with the ring gate for one turn at a time. */
static VOID ChainCarry(TUN_CHAIN *Chain, TUN_ADAPTER *Adapter)
{
    KIRQL Irql;

    for (TUN_SESSION *Session; Chain->At.Nb; GateLeave(Adapter, Irql)) {
        Session = GateEnter(Adapter, &Irql);
        if (!Session) {
            ChainLoseUpTo(Chain, NULL, WintunToUserNoSession);
            return;
        }
        ChainTurn(Chain, &Session->ToUser);
    }
    if (ReadNoFence(&Adapter->ReadSession))
        ReadsPump(Adapter, TUN_PUMP_TURNS);
}

/*
 * MiniportSendNetBufferLists. The reference comes first and state after it. NDIS waits for it when
 * it pauses the adapter (MiniportPause); after surprise removal nothing is accepted any more
 * (MiniportDevicePnPEventNotify). At DISPATCH_LEVEL throughout: see tun.h.
 */
_Use_decl_annotations_ VOID SendNetBufferLists(NDIS_HANDLE Context, NET_BUFFER_LIST *First,
                                               NDIS_PORT_NUMBER Port, ULONG SendFlags)
{
    TUN_ADAPTER *Adapter = Context;
    TUN_CHAIN Chain = {.At = PlaceOf(First, NET_BUFFER_LIST_FIRST_NB(First)),
                       .Budget = TUN_TURN_BYTES};
    const KIRQL Irql = KeRaiseIrqlToDpcLevel();
    const BOOLEAN IsFlowing = ExAcquireRundownProtectionCacheAware(Adapter->FlowGate);
    const BOOLEAN IsRemoved = ReadNoFence(&Adapter->IsRemoved) != FALSE;

    ULONG Refusal = IsFlowing && !IsRemoved ? 0 : WintunToUserPaused;
    if (!Refusal && !ReadNoFence(&Adapter->LinkWanted))
        Refusal = WintunToUserNoSession;

    for (NET_BUFFER_LIST *Nbl = First; Nbl; Nbl = NET_BUFFER_LIST_NEXT_NBL(Nbl))
        NET_BUFFER_LIST_STATUS(Nbl) = IsRemoved ? NDIS_STATUS_NOT_ACCEPTED : NDIS_STATUS_SUCCESS;
    ChainMeasure(&Chain, Refusal);
    if (!Refusal)
        ChainCarry(&Chain, Adapter);
    for (ULONG Counter = 0; Counter < RTL_NUMBER_OF(Chain.Tally); Counter++)
        Count(Adapter, Counter, Chain.Tally[Counter]);
    NdisMSendNetBufferListsComplete(Adapter->Handle, First,
                                    NDIS_SEND_COMPLETE_FLAGS_DISPATCH_LEVEL);
    if (IsFlowing)
        ExReleaseRundownProtectionCacheAware(Adapter->FlowGate);
    KeLowerIrql(Irql);
}
