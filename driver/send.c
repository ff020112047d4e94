/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Host stack to user: copies what Windows sends into the ring to the user and gives the chain back
 * at once, in the units it came in. Must never keep a list, wait, or touch the links of a chain.
 */
#include "tun.h"

/* What NDIS is told about a list that lost a packet, in the order of the counters of losses. */
static const NDIS_STATUS LossStatus[] = {
    NDIS_STATUS_MEDIA_DISCONNECTED, NDIS_STATUS_PAUSED,         NDIS_STATUS_BUFFER_OVERFLOW,
    NDIS_STATUS_ADAPTER_NOT_READY,  NDIS_STATUS_INVALID_LENGTH, NDIS_STATUS_FAILURE};

C_ASSERT(RTL_NUMBER_OF(LossStatus) == WintunToUserInaccessible - WintunToUserNoSession + 1);
C_ASSERT(sizeof(TUN_PACKET) <= RTL_FIELD_SIZE(NET_BUFFER, MiniportReserved));

/* One cause, one counter; a list keeps the reason of the first packet it lost. */
static VOID PacketLose(TUN_ADAPTER *Adapter, NET_BUFFER_LIST *Nbl, ULONG Loss)
{
    Count(Adapter, Loss, 1);
    if (NET_BUFFER_LIST_STATUS(Nbl) == NDIS_STATUS_SUCCESS)
        NET_BUFFER_LIST_STATUS(Nbl) = LossStatus[Loss - WintunToUserNoSession];
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

/* Measures the lists, once, and chains what is to be carried: nothing, when Refusal says why. */
static TUN_PACKET *ChainMake(TUN_ADAPTER *Adapter, NET_BUFFER_LIST *Nbl, NDIS_STATUS Status,
                             ULONG Refusal)
{
    TUN_PACKET *First = NULL, **Last = &First;

    for (; Nbl; Nbl = NET_BUFFER_LIST_NEXT_NBL(Nbl)) {
        NET_BUFFER_LIST_STATUS(Nbl) = Status;
        for (NET_BUFFER *Nb = NET_BUFFER_LIST_FIRST_NB(Nbl); Nb; Nb = NET_BUFFER_NEXT_NB(Nb)) {
            ULONG Loss = Refusal;
            if (!Loss && NET_BUFFER_DATA_LENGTH(Nb) > WINTUN_MAX_PACKET)
                Loss = WintunToUserTooLong;
            else if (!Loss && !PacketCopy(Nb, NULL))
                Loss = WintunToUserInaccessible;
            if (Loss) {
                PacketLose(Adapter, Nbl, Loss);
                continue;
            }
            *Last = (TUN_PACKET *)NET_BUFFER_MINIPORT_RESERVED(Nb);
            **Last = (TUN_PACKET){NULL, Nbl,
                                  RecordBytes(WINTUN_RING_ALIGNMENT, NET_BUFFER_DATA_LENGTH(Nb))};
            Last = &(*Last)->Next;
        }
    }
    return First;
}

/* Carries the next packets, or loses one that has no room: also for want of a session. Answers what
 * is left. */
static TUN_PACKET *ChainTurn(TUN_ADAPTER *Adapter, TUN_RING *Ring, TUN_PACKET *Packet)
{
    TUN_ROOM Room;
    ULONG Loss = WintunToUserNoSession, Packets = 0, Bytes = 0;
    TUN_PACKET *End = Ring ? RingReserve(Ring, Packet, &Room, &Loss) : Packet;

    if (End == Packet) {
        PacketLose(Adapter, Packet->Nbl, Loss);
        return Packet->Next;
    }
    for (ULONG Offset = Room.Start; Packet != End; Packet = Packet->Next, Packets++) {
        const NET_BUFFER *Nb = CONTAINING_RECORD(Packet, NET_BUFFER, MiniportReserved);
        WriteULongNoFence((ULONG volatile *)(Ring->Data + Offset), NET_BUFFER_DATA_LENGTH(Nb));
        PacketCopy(Nb, Ring->Data + Offset + Ring->Unit);
        Offset = (Offset + Packet->Bytes) & (Ring->Capacity - 1);
        Bytes += NET_BUFFER_DATA_LENGTH(Nb);
    }
    Count(Adapter, WintunToUserPackets, Packets);
    Count(Adapter, WintunToUserBytes, Bytes);
    if (RingCommit(Ring, &Room) && Ring->TailMoved) {
        KeSetEvent(Ring->TailMoved, EVENT_INCREMENT, FALSE);
        Count(Adapter, WintunToUserSignals, 1);
    }
    return End;
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
    const KIRQL Irql = KeRaiseIrqlToDpcLevel();
    const BOOLEAN IsFlowing = ExAcquireRundownProtectionCacheAware(Adapter->FlowGate);
    const BOOLEAN IsRemoved = ReadNoFence(&Adapter->IsRemoved) != FALSE;
    TUN_PACKET *Packet =
        ChainMake(Adapter, First, IsRemoved ? NDIS_STATUS_NOT_ACCEPTED : NDIS_STATUS_SUCCESS,
                  IsFlowing && !IsRemoved ? 0 : WintunToUserPaused);

    while (Packet) {
        const BOOLEAN HasSession = ExAcquireRundownProtectionCacheAware(Adapter->RingGate);
        Packet = ChainTurn(Adapter, HasSession ? &Adapter->Session.ToUser : NULL, Packet);
        if (HasSession)
            ExReleaseRundownProtectionCacheAware(Adapter->RingGate);
    }
    if (IsFlowing && ReadNoFence(&Adapter->SessionKind) == WintunSessionFile)
        ReadsPump(Adapter);
    NdisMSendNetBufferListsComplete(Adapter->Handle, First,
                                    NDIS_SEND_COMPLETE_FLAGS_DISPATCH_LEVEL);
    if (IsFlowing)
        ExReleaseRundownProtectionCacheAware(Adapter->FlowGate);
    KeLowerIrql(Irql);
}
