/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * User to host stack: copies packets out of the ring to the stack, or out of a bundle that was
 * written, and indicates them. Memory that a program can write must never be shown to the stack,
 * and room in a ring must never wait for the stack.
 */
#include "tun.h"

#define TUN_SPINS       256U      /* looks before the worker sleeps: some 20 us */
#define TUN_BATCH_LISTS 64U       /* most packets in one indication */
#define TUN_KEPT        0x200000L /* bytes of buffers that the stack may keep */

/* Packets that are copied at once, and then indicated at once. */
typedef struct TUN_BATCH {
    TUN_ADAPTER *Adapter;
    NET_BUFFER_LIST *First, **Last;
    ULONG Packets, Bytes, Lists, Ipv4;
    BOOLEAN IsFlowing; /* has references to the flow gate for all lists and for the call */
} TUN_BATCH;

/* ---- Batches ---- */

/* What the lookaside list of a packet's size gives. */
static LONG BufferBytes(ULONG Bytes)
{
    return Bytes > TUN_SMALL ? WINTUN_MAX_PACKET : TUN_SMALL;
}

/* Frees what no session needs. */
VOID ReceiveTrim(TUN_ADAPTER *Adapter)
{
    ExFlushLookasideListEx(&Adapter->Buffers[FALSE]);
    ExFlushLookasideListEx(&Adapter->Buffers[TRUE]);
}

/* The copy of a packet of Bytes. The stack may have had it longer than its session lived. As both
 * here and at a session's end there is a full fence in between (InterlockedAdd,
 * InterlockedExchange), it is found by one of them. */
static VOID BufferFree(TUN_ADAPTER *Adapter, PVOID Copy, MDL *Mdl, ULONG Bytes)
{
    if (Mdl)
        IoFreeMdl(Mdl);
    ExFreeToLookasideListEx(&Adapter->Buffers[Bytes > TUN_SMALL], Copy);
    InterlockedAdd(&Adapter->BufferBytes, -BufferBytes(Bytes));
    if (!ReadNoFence(&Adapter->SessionKind))
        ReceiveTrim(Adapter);
}

/*
 * Copies a packet and makes a list for it, its version read from the copy, which nobody else can
 * change. The MDL has the packet and nothing else. Under the flow gate, so that halt, which follows
 * pause, finds every buffer given back. Answers the counter of the packet's loss, or zero.
 */
static ULONG BatchAdd(TUN_BATCH *Batch, const UCHAR *Packet, ULONG Bytes)
{
    TUN_ADAPTER *Adapter = Batch->Adapter;
    NET_BUFFER_LIST *Nbl = NULL;
    MDL *Mdl = NULL;

    if (!Batch->IsFlowing)
        return WintunToStackPaused;
    UCHAR *Copy = ExAllocateFromLookasideListEx(&Adapter->Buffers[Bytes > TUN_SMALL]);
    if (!Copy)
        return WintunToStackNoMemory;
    InterlockedAdd(&Adapter->BufferBytes, BufferBytes(Bytes));
    RtlCopyMemory(Copy, Packet, Bytes);
    const BOOLEAN IsIpv4 = Bytes >= 20 && Copy[0] >> 4 == 4;
    const BOOLEAN IsIp = IsIpv4 || (Bytes >= 40 && Copy[0] >> 4 == 6);
    if (IsIp)
        Mdl = IoAllocateMdl(Copy, Bytes, FALSE, FALSE, NULL);
    if (Mdl) {
        MmBuildMdlForNonPagedPool(Mdl);
        Nbl = NdisAllocateNetBufferAndNetBufferList(Adapter->Lists, 0, 0, Mdl, 0, Bytes);
    }
    if (!Nbl) {
        BufferFree(Adapter, Copy, Mdl, Bytes);
        return IsIp ? WintunToStackNoMemory : WintunToStackNotIp;
    }
    NET_BUFFER_LIST_STATUS(Nbl) = NDIS_STATUS_SUCCESS;
    NET_BUFFER_LIST_MINIPORT_RESERVED(Nbl)[0] = Mdl; /* a filter may put another in front of it */
    NET_BUFFER_LIST_MINIPORT_RESERVED(Nbl)[1] = (PVOID)(ULONG_PTR)Bytes;
    NET_BUFFER_LIST_INFO(Nbl, NetBufferListFrameType) =
        (PVOID)(ULONG_PTR)(IsIpv4 ? 0x0008 : 0xDD86);
    NdisSetNblFlag(Nbl, IsIpv4 ? NDIS_NBL_FLAGS_IS_IPV4 : NDIS_NBL_FLAGS_IS_IPV6);
    Nbl->SourceHandle = Adapter->Handle;
    *Batch->Last = Nbl;
    Batch->Last = &NET_BUFFER_LIST_NEXT_NBL(Nbl);
    Batch->Lists++;
    Batch->Ipv4 += IsIpv4;
    Batch->Bytes += Bytes;
    return 0;
}

/* Copies records until there are no more or the batch is full: of packets, or of buffers, lest few
 * bytes take many large ones. */
static VOID BatchFill(TUN_BATCH *Batch, TUN_RING *Ring)
{
    const UCHAR *Packet;
    ULONG Bytes;

    for (LONG Taken = 0; Batch->Packets < TUN_BATCH_LISTS && Taken < (LONG)TUN_TURN_BYTES &&
                         RingPeek(Ring, &Packet, &Bytes);
         Taken += BufferBytes(Bytes), Batch->Packets++) {
        const ULONG Loss = BatchAdd(Batch, Packet, Bytes);
        if (Loss)
            Count(Batch->Adapter, Loss, 1);
        RingPass(Ring, Bytes);
    }
}

/*
 * MiniportReturnNetBufferLists. Releasing the flow gate is the very last access: pause may return,
 * and halt free what is here, before this function has.
 */
VOID ReceiveReturn(NDIS_HANDLE Context, NET_BUFFER_LIST *Nbl, ULONG ReturnFlags)
{
    TUN_ADAPTER *Adapter = Context;
    ULONG Returned = 0;

    for (NET_BUFFER_LIST *Next; Nbl; Nbl = Next, Returned++) {
        MDL *Mdl = NET_BUFFER_LIST_MINIPORT_RESERVED(Nbl)[0];
        const ULONG Bytes = (ULONG)(ULONG_PTR)NET_BUFFER_LIST_MINIPORT_RESERVED(Nbl)[1];
        Next = NET_BUFFER_LIST_NEXT_NBL(Nbl);
        NdisFreeNetBufferList(Nbl);
        BufferFree(Adapter, MmGetMdlVirtualAddress(Mdl), Mdl, Bytes);
    }
    ExReleaseRundownProtectionCacheAwareEx(Adapter->FlowGate, Returned);
}

/*
 * Indicates the batch. A list that the stack keeps also keeps one of the references to the flow
 * gate. When it has kept enough, lists are lent: with the resources flag all are ours again when
 * the call returns, in the chain that they were in (ProtocolReceiveNetBufferLists: "must restore
 * the original linked list").
 */
static VOID BatchIndicate(const TUN_BATCH *Batch)
{
    TUN_ADAPTER *Adapter = Batch->Adapter;
    const BOOLEAN IsLent = ReadNoFence(&Adapter->BufferBytes) > TUN_KEPT;
    ULONG Flags = NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL | (IsLent ? NDIS_RECEIVE_FLAGS_RESOURCES : 0);

    if (Batch->Ipv4 == 0 || Batch->Ipv4 == Batch->Lists)
        Flags |= NDIS_RECEIVE_FLAGS_SINGLE_ETHER_TYPE;
    Count(Adapter, WintunToStackPackets, Batch->Lists);
    Count(Adapter, WintunToStackBytes, Batch->Bytes);
    Count(Adapter, WintunToStackIndications, 1);
    NdisMIndicateReceiveNetBufferLists(Adapter->Handle, Batch->First, 0, Batch->Lists, Flags);
    if (IsLent)
        ReceiveReturn(Adapter, Batch->First, 0);
}

/*
 * One batch of a bundle that was written, or without one of the session's ring, if it has one;
 * answers how many packets there were. A program may change its bundle meanwhile: what is malformed
 * then, and what follows it, is lost. With Moved, for a worker about to sleep: tells the client so
 * first. The fence pairs with the one of a client between its store of Tail and its load of
 * Alertable: should there be something after all, it is found here. Only then the client is told
 * otherwise, so that one without a fence cannot hide a packet from the look after the bounded
 * sleep. Moved becomes the client's event, referenced since the session may end meanwhile; it stays
 * as it is without one.
 */
ULONG ReceiveBatch(TUN_ADAPTER *Adapter, TUN_RING *Bundle, PVOID *Moved)
{
    const KIRQL Irql = KeRaiseIrqlToDpcLevel();
    TUN_RING *Ring = &Adapter->Session.ToStack;
    TUN_BATCH Batch = {.Adapter = Adapter, .Last = &Batch.First};

    Batch.IsFlowing =
        ExAcquireRundownProtectionCacheAwareEx(Adapter->FlowGate, TUN_BATCH_LISTS + 1);
    if (Bundle) {
        BatchFill(&Batch, Bundle);
    } else if (ExAcquireRundownProtectionCacheAware(Adapter->RingGate)) {
        if (Moved && Adapter->Session.Owner) {
            WriteNoFence(Ring->Alertable, TRUE);
            KeMemoryBarrier();
            ObReferenceObject(Ring->TailMoved);
            *Moved = Ring->TailMoved;
        }
        if (Adapter->Session.Owner)
            BatchFill(&Batch, Ring);
        if (Batch.Packets)
            WriteNoFence(Ring->Alertable, FALSE);
        if (Batch.Packets || Ring->HasEnded)
            RingRelease(Ring);
        ExReleaseRundownProtectionCacheAware(Adapter->RingGate);
    }
    if (Batch.Lists)
        BatchIndicate(&Batch);
    if (Batch.IsFlowing)
        ExReleaseRundownProtectionCacheAwareEx(Adapter->FlowGate,
                                               TUN_BATCH_LISTS + 1 - Batch.Lists);
    KeLowerIrql(Irql);
    return Batch.Packets;
}

/*
 * The adapter's thread: drains the ring to the stack, or the one behind reads. It has the session
 * only inside the gate and waits only with its own event at hand, so neither a session's end nor
 * halt has to do more than to set that. Clients of old lack their half of the fence, so the first
 * sleep after work ends by itself: what such a client left behind is found then. The client's event
 * is cleared here, for it may not clear itself; the drain that follows sees what it was set for.
 */
VOID ReceiveWorker(PVOID Context)
{
    TUN_ADAPTER *Adapter = Context;
    LARGE_INTEGER Timeout = {.QuadPart = -10 * 10000LL};
    NTSTATUS Status = STATUS_SUCCESS; /* of the last sleep; since then, of none */

    while (!ReadAcquire(&Adapter->IsRemoved)) {
        PVOID Objects[] = {&Adapter->Kick, NULL};
        ReadsPump(Adapter);
        for (ULONG Spins = 0; Spins < TUN_SPINS; Spins++) {
            if (ReceiveBatch(Adapter, NULL, NULL)) {
                Spins = 0;
                Status = STATUS_SUCCESS;
            }
            YieldProcessor();
        }
        Status = ReceiveBatch(Adapter, NULL, &Objects[1])
                     ? STATUS_SUCCESS
                     : KeWaitForMultipleObjects(
                           Objects[1] ? 2 : 1, Objects, WaitAny, Executive, KernelMode, FALSE,
                           Objects[1] && Status != STATUS_TIMEOUT ? &Timeout : NULL, NULL);
        if (Objects[1]) {
            KeClearEvent(Objects[1]);
            ObDereferenceObject(Objects[1]);
        }
        Count(Adapter, WintunToStackWakeups, Status == STATUS_WAIT_1);
    }
}
