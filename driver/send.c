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

/* A chain being carried: where it is, what becomes of it; counted once, when it is given back. */
typedef struct TUN_CHAIN {
    NET_BUFFER_LIST *Nbl;
    NET_BUFFER *Nb; /* NULL: at the end */
    ULONG Budget;   /* bytes to try for in the next turn */
    ULONG64 Tally[WintunToUserSignals + 1];
} TUN_CHAIN;

/* Bytes of a packet's record, 0 once it is lost. The field is ours until the chain is given back.
 */
static ULONG_PTR *PacketRecord(_In_ NET_BUFFER *Nb)
{
    return (ULONG_PTR *)&NET_BUFFER_MINIPORT_RESERVED(Nb)[0];
}

static VOID ChainSeek(_Inout_ TUN_CHAIN *Chain, _In_ NET_BUFFER_LIST *Nbl, _In_opt_ NET_BUFFER *Nb)
{
    while (!Nb && NET_BUFFER_LIST_NEXT_NBL(Nbl)) {
        Nbl = NET_BUFFER_LIST_NEXT_NBL(Nbl);
        Nb = NET_BUFFER_LIST_FIRST_NB(Nbl);
    }
    Chain->Nbl = Nbl;
    Chain->Nb = Nb;
}

static VOID ChainNext(_Inout_ TUN_CHAIN *Chain)
{
    ChainSeek(Chain, Chain->Nbl, NET_BUFFER_NEXT_NB(Chain->Nb));
}

/* One cause, one counter; a list keeps the first reason it lost a packet for. */
static VOID ChainLose(_Inout_ TUN_CHAIN *Chain, ULONG Reason)
{
    *PacketRecord(Chain->Nb) = 0;
    Chain->Tally[Reason]++;
    if (NET_BUFFER_LIST_STATUS(Chain->Nbl) == NDIS_STATUS_SUCCESS)
        NET_BUFFER_LIST_STATUS(Chain->Nbl) = LossStatus[Reason];
}

/*
 * Copies a packet, or only looks whether it can be copied (To is NULL). Not with NdisGetDataBuffer,
 * which may fail when the room is taken already, and a room cannot be given back: other senders
 * have rooms behind it, and a version 1 ring has no record that means nothing. A system mapping
 * that was made once stays, so the copy of what was looked at cannot fail.
 */
static BOOLEAN PacketCopy(_In_ const NET_BUFFER *Nb,
                          _Out_writes_bytes_opt_(NET_BUFFER_DATA_LENGTH(Nb)) UCHAR *To)
{
    ULONG Offset = NET_BUFFER_CURRENT_MDL_OFFSET(Nb);
    ULONG Left = NET_BUFFER_DATA_LENGTH(Nb);

    for (MDL *Mdl = NET_BUFFER_CURRENT_MDL(Nb); Left; Mdl = Mdl->Next, Offset = 0) {
        const UCHAR *From = Mdl ? MmGetSystemAddressForMdlSafe(Mdl, Driver.MapPriority) : NULL;
        if (!From)
            return FALSE;
        ULONG Part = Least(Left, MmGetMdlByteCount(Mdl) - Offset);
        if (To) {
            RtlCopyMemory(To, From + Offset, Part);
            To += Part;
        }
        Left -= Part;
    }
    return TRUE;
}

/* Measures the chain once; from here on its lengths come from PacketRecord. */
static VOID ChainMeasure(_Inout_ TUN_CHAIN *Chain, _In_ NET_BUFFER_LIST *First)
{
    for (NET_BUFFER_LIST *Nbl = First; Nbl; Nbl = NET_BUFFER_LIST_NEXT_NBL(Nbl))
        NET_BUFFER_LIST_STATUS(Nbl) = NDIS_STATUS_SUCCESS;
    for (ChainSeek(Chain, First, NET_BUFFER_LIST_FIRST_NB(First)); Chain->Nb; ChainNext(Chain)) {
        *PacketRecord(Chain->Nb) = RingRecordBytes(NET_BUFFER_DATA_LENGTH(Chain->Nb));
        if (NET_BUFFER_DATA_LENGTH(Chain->Nb) > WINTUN_MAX_PACKET)
            ChainLose(Chain, WintunToUserTooLong);
        else if (!PacketCopy(Chain->Nb, NULL))
            ChainLose(Chain, WintunToUserInaccessible);
    }
}

/* Fills the room with the packets from Chain up to End. */
static VOID ChainCopy(_Inout_ TUN_CHAIN *Chain, _In_opt_ const NET_BUFFER *End,
                      _In_ const TUN_RING *Ring, ULONG Offset)
{
    for (; Chain->Nb != End; ChainNext(Chain)) {
        const ULONG Record = (ULONG)*PacketRecord(Chain->Nb);
        if (!Record)
            continue;
        const ULONG Bytes = NET_BUFFER_DATA_LENGTH(Chain->Nb);
        WriteULongNoFence((ULONG volatile *)(Ring->Data + Offset), Bytes);
        PacketCopy(Chain->Nb, Ring->Data + Offset + WINTUN_RING_RECORD);
        Offset = (Offset + Record) & (Ring->Capacity - 1);
        Chain->Tally[WintunToUserPackets]++;
        Chain->Tally[WintunToUserBytes] += Bytes;
    }
}

/*
 * Carries the next packets, as many as the budget allows and at least one. When they do not fit,
 * half as many are tried, so that in the end only a packet that does not fit alone is dropped.
 */
static VOID ChainTurn(_Inout_ TUN_CHAIN *Chain, _In_ TUN_RING *Ring)
{
    TUN_ROOM Room;
    ULONG Bytes = 0, Packets = 0;
    TUN_CHAIN End = {.Nb = NULL};

    for (ChainSeek(&End, Chain->Nbl, Chain->Nb); End.Nb; ChainNext(&End)) {
        if (Packets && Bytes + *PacketRecord(End.Nb) > Chain->Budget)
            break;
        Bytes += (ULONG)*PacketRecord(End.Nb);
        Packets += *PacketRecord(End.Nb) != 0;
    }
    TUN_RESULT Result = RingReserve(Ring, Bytes, &Room);
    if (Result == RingDone) {
        ChainCopy(Chain, End.Nb, Ring, Room.Start);
        if (RingCommit(Ring, &Room) && Ring->TailMoved) {
            KeSetEvent(Ring->TailMoved, EVENT_INCREMENT, FALSE);
            Chain->Tally[WintunToUserSignals]++;
        }
    } else if (Result == RingFull && Packets > 1) {
        Chain->Budget = Bytes / 2;
    } else {
        for (; Chain->Nb != End.Nb; ChainNext(Chain))
            if (*PacketRecord(Chain->Nb))
                ChainLose(Chain, Result == RingFull ? WintunToUserFull : WintunToUserCorrupt);
    }
}

/* All of the chain: no lock is held, and the ring gate for one turn at a time. */
static VOID ChainCarry(_In_ TUN_ADAPTER *Adapter, _Inout_ TUN_CHAIN *Chain,
                       _In_ NET_BUFFER_LIST *First)
{
    KIRQL Irql;

    for (ChainSeek(Chain, First, NET_BUFFER_LIST_FIRST_NB(First)); Chain->Nb;) {
        TUN_SESSION *Session = GateEnter(Adapter, &Irql);
        if (!Session)
            break;
        ChainTurn(Chain, &Session->ToUser);
        GateLeave(Adapter, Irql);
    }
    for (; Chain->Nb; ChainNext(Chain))
        if (*PacketRecord(Chain->Nb))
            ChainLose(Chain, WintunToUserNoSession);
}

/* TRUE when the chain may not be carried now: everything in it is refused, with Status. */
static VOID ChainRefuse(_Inout_ TUN_CHAIN *Chain, _In_ NET_BUFFER_LIST *First, NDIS_STATUS Status)
{
    for (ChainSeek(Chain, First, NET_BUFFER_LIST_FIRST_NB(First)); Chain->Nb; ChainNext(Chain))
        Chain->Tally[WintunToUserPaused]++;
    for (; First; First = NET_BUFFER_LIST_NEXT_NBL(First))
        NET_BUFFER_LIST_STATUS(First) = Status;
}

/*
 * MiniportSendNetBufferLists. The reference comes first and state after it; when NDIS pauses the
 * adapter it waits for the reference, and after surprise removal nothing is accepted
 * (MiniportPause, MiniportDevicePnPEventNotify). At DISPATCH_LEVEL throughout, so that no thread
 * can be suspended while it has the reference.
 */
_Use_decl_annotations_ VOID SendNetBufferLists(NDIS_HANDLE Context, NET_BUFFER_LIST *First,
                                               NDIS_PORT_NUMBER Port, ULONG SendFlags)
{
    TUN_ADAPTER *Adapter = Context;
    TUN_CHAIN Chain = {.Budget = TUN_TURN_BYTES};

    UNREFERENCED_PARAMETER(Port);
    UNREFERENCED_PARAMETER(SendFlags);
    KIRQL Irql = KeRaiseIrqlToDpcLevel();
    BOOLEAN IsFlowing = ExAcquireRundownProtectionCacheAware(Adapter->FlowGate);
    if (Adapter->IsRemoved) {
        ChainRefuse(&Chain, First, NDIS_STATUS_NOT_ACCEPTED);
    } else if (!IsFlowing) {
        ChainRefuse(&Chain, First, NDIS_STATUS_PAUSED);
    } else {
        ChainMeasure(&Chain, First);
        ChainCarry(Adapter, &Chain, First);
        if (ReadNoFence(&Adapter->ReadSession))
            ReadsPump(Adapter, TUN_PUMP_TURNS);
    }
    for (ULONG Counter = 0; Counter < RTL_NUMBER_OF(Chain.Tally); Counter++)
        if (Chain.Tally[Counter])
            Count(Adapter, Counter, Chain.Tally[Counter]);
    NdisMSendNetBufferListsComplete(Adapter->Handle, First,
                                    NDIS_SEND_COMPLETE_FLAGS_DISPATCH_LEVEL);
    if (IsFlowing)
        ExReleaseRundownProtectionCacheAware(Adapter->FlowGate);
    KeLowerIrql(Irql);
}
