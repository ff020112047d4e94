/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * User to host stack: copies packets out of the ring to the stack, or out of a bundle that was
 * written, and indicates them. Memory that a program can write must never be shown to the stack,
 * and room in a ring must never wait for the stack.
 */
#include "tun.h"

#define TUN_SPINS       256U  /* looks before the worker sleeps: some 20 us */
#define TUN_BATCH_LISTS 64U   /* most packets in one indication */
#define TUN_SMALL       2000U /* bytes that a small buffer holds; a large one holds any packet */
#define TUN_KEPT        0x200000L /* bytes of buffers that the stack may keep */

/* A packet on its way through the stack. The MDL begins at the packet: nothing is before it. */
typedef struct TUN_BUFFER {
    LIST_ENTRY Entry; /* while free */
    MDL *Mdl;         /* ours; a filter may have put another in front of it */
    ULONG Room;       /* bytes of Data */
    DECLSPEC_ALIGN(16) UCHAR Data[];
} TUN_BUFFER;

/* Packets that are copied at once, and then indicated at once. */
typedef struct TUN_BATCH {
    TUN_ADAPTER *Adapter;
    NET_BUFFER_LIST *First, **Last;
    ULONG Packets, Bytes, Lists, Ipv4;
    BOOLEAN IsFlowing; /* has references to the flow gate for all lists and for the call */
    KIRQL Irql;
} TUN_BATCH;

/* ---- Buffers: made when first needed, reused, bounded; freed without a session ---- */

static VOID BufferDestroy(TUN_BUFFER *Buffer)
{
    if (Buffer && Buffer->Mdl)
        IoFreeMdl(Buffer->Mdl);
    PoolFree(Buffer);
}

static TUN_BUFFER *BufferCreate(ULONG Room)
{
    TUN_BUFFER *Buffer = PoolAlloc(sizeof(*Buffer) + Room);

    if (Buffer)
        Buffer->Mdl = IoAllocateMdl(Buffer->Data, Room, FALSE, FALSE, NULL);
    if (!Buffer || !Buffer->Mdl) {
        BufferDestroy(Buffer);
        return NULL;
    }
    MmBuildMdlForNonPagedPool(Buffer->Mdl);
    Buffer->Room = Room;
    return Buffer;
}

static TUN_BUFFER *BufferPop(TUN_ADAPTER *Adapter, BOOLEAN IsLarge)
{
    LIST_ENTRY *Entry =
        ExInterlockedRemoveHeadList(&Adapter->Buffers[IsLarge], &Adapter->BufferLock);

    return Entry ? CONTAINING_RECORD(Entry, TUN_BUFFER, Entry) : NULL;
}

/* Frees what no session needs. */
VOID ReceiveTrim(TUN_ADAPTER *Adapter)
{
    for (TUN_BUFFER *Buffer = BufferPop(Adapter, FALSE); Buffer; Buffer = BufferPop(Adapter, FALSE))
        BufferDestroy(Buffer);
    for (TUN_BUFFER *Buffer = BufferPop(Adapter, TRUE); Buffer; Buffer = BufferPop(Adapter, TRUE))
        BufferDestroy(Buffer);
}

/* The stack may have had it longer than its session lived. As both here and at a session's end
 * there is a full fence in between (InterlockedAdd, InterlockedExchange), it is found by one of
 * them. */
static VOID BufferPut(TUN_ADAPTER *Adapter, TUN_BUFFER *Buffer)
{
    const LONG Room = (LONG)Buffer->Room;

    ExInterlockedInsertHeadList(&Adapter->Buffers[Buffer->Room > TUN_SMALL], &Buffer->Entry,
                                &Adapter->BufferLock);
    InterlockedAdd(&Adapter->BufferBytes, -Room);
    if (!ReadNoFence(&Adapter->SessionKind))
        ReceiveTrim(Adapter);
}

/* Under the flow gate, so that halt, which follows pause, finds every buffer given back. */
static TUN_BUFFER *BufferTake(TUN_ADAPTER *Adapter, ULONG Bytes)
{
    const BOOLEAN IsLarge = Bytes > TUN_SMALL;
    TUN_BUFFER *Buffer = BufferPop(Adapter, IsLarge);

    if (!Buffer)
        Buffer = BufferCreate(IsLarge ? WINTUN_MAX_PACKET : TUN_SMALL);
    if (Buffer)
        InterlockedAdd(&Adapter->BufferBytes, (LONG)Buffer->Room);
    return Buffer;
}

/* ---- Batches ---- */

static VOID BatchBegin(TUN_BATCH *Batch, TUN_ADAPTER *Adapter)
{
    *Batch = (TUN_BATCH){.Adapter = Adapter, .Last = &Batch->First};
    Batch->Irql = KeRaiseIrqlToDpcLevel();
    Batch->IsFlowing =
        ExAcquireRundownProtectionCacheAwareEx(Adapter->FlowGate, TUN_BATCH_LISTS + 1);
}

/*
 * Makes a list for a copied packet, its version read from the copy, which nobody else can change.
 * Counted and given back when it is no IP packet or there is no memory.
 */
static VOID BatchEnlist(TUN_BATCH *Batch, TUN_BUFFER *Buffer, ULONG Bytes)
{
    const BOOLEAN IsIpv4 = Bytes >= 20 && Buffer->Data[0] >> 4 == 4;
    const BOOLEAN IsIp = IsIpv4 || (Bytes >= 40 && Buffer->Data[0] >> 4 == 6);
    NET_BUFFER_LIST *Nbl = NULL;

    Buffer->Mdl->Next = NULL;
    if (IsIp)
        Nbl = NdisAllocateNetBufferAndNetBufferList(Batch->Adapter->Lists, 0, 0, Buffer->Mdl, 0,
                                                    Bytes);
    if (!Nbl) {
        Count(Batch->Adapter, IsIp ? WintunToStackNoMemory : WintunToStackNotIp, 1);
        BufferPut(Batch->Adapter, Buffer);
        return;
    }
    NET_BUFFER_LIST_STATUS(Nbl) = NDIS_STATUS_SUCCESS;
    NET_BUFFER_LIST_MINIPORT_RESERVED(Nbl)[0] = Buffer;
    NET_BUFFER_LIST_INFO(Nbl, NetBufferListFrameType) =
        (PVOID)(ULONG_PTR)(IsIpv4 ? 0x0008 : 0xDD86);
    NdisSetNblFlag(Nbl, IsIpv4 ? NDIS_NBL_FLAGS_IS_IPV4 : NDIS_NBL_FLAGS_IS_IPV6);
    Nbl->SourceHandle = Batch->Adapter->Handle;
    *Batch->Last = Nbl;
    Batch->Last = &NET_BUFFER_LIST_NEXT_NBL(Nbl);
    Batch->Lists++;
    Batch->Ipv4 += IsIpv4;
    Batch->Bytes += Bytes;
}

/* Copies records until there are no more or the batch is full: of packets, or of buffers, lest few
 * bytes take many large ones. */
static VOID BatchFill(TUN_BATCH *Batch, TUN_RING *Ring)
{
    const UCHAR *Packet;
    ULONG Bytes;

    for (ULONG Room = 0; Batch->Packets < TUN_BATCH_LISTS && Room < TUN_TURN_BYTES &&
                         RingPeek(Ring, &Packet, &Bytes);
         Room += Bytes > TUN_SMALL ? WINTUN_MAX_PACKET : TUN_SMALL, Batch->Packets++) {
        TUN_BUFFER *Buffer = Batch->IsFlowing ? BufferTake(Batch->Adapter, Bytes) : NULL;
        if (Buffer) {
            RtlCopyMemory(Buffer->Data, Packet, Bytes);
            BatchEnlist(Batch, Buffer, Bytes);
        } else {
            Count(Batch->Adapter, Batch->IsFlowing ? WintunToStackNoMemory : WintunToStackPaused,
                  1);
        }
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
        TUN_BUFFER *Buffer = NET_BUFFER_LIST_MINIPORT_RESERVED(Nbl)[0];
        Next = NET_BUFFER_LIST_NEXT_NBL(Nbl);
        NdisFreeNetBufferList(Nbl);
        BufferPut(Adapter, Buffer);
    }
    ExReleaseRundownProtectionCacheAwareEx(Adapter->FlowGate, Returned);
}

/*
 * Indicates the batch. A list that the stack keeps also keeps one of the references to the flow
 * gate. When it has kept enough, lists are lent: with the resources flag all are ours again when
 * the call returns, in the chain that they were in (ProtocolReceiveNetBufferLists: "must restore
 * the original linked list").
 */
static VOID BatchEnd(TUN_BATCH *Batch)
{
    TUN_ADAPTER *Adapter = Batch->Adapter;
    const BOOLEAN IsLent = ReadNoFence(&Adapter->BufferBytes) > TUN_KEPT;
    ULONG Flags = NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL | (IsLent ? NDIS_RECEIVE_FLAGS_RESOURCES : 0);

    if (Batch->Ipv4 == 0 || Batch->Ipv4 == Batch->Lists)
        Flags |= NDIS_RECEIVE_FLAGS_SINGLE_ETHER_TYPE;
    if (Batch->Lists) {
        Count(Adapter, WintunToStackPackets, Batch->Lists);
        Count(Adapter, WintunToStackBytes, Batch->Bytes);
        Count(Adapter, WintunToStackIndications, 1);
        NdisMIndicateReceiveNetBufferLists(Adapter->Handle, Batch->First, 0, Batch->Lists, Flags);
        if (IsLent)
            ReceiveReturn(Adapter, Batch->First, 0);
    }
    if (Batch->IsFlowing)
        ExReleaseRundownProtectionCacheAwareEx(Adapter->FlowGate,
                                               TUN_BATCH_LISTS + 1 - Batch->Lists);
    KeLowerIrql(Batch->Irql);
}

/* ---- Where packets come from ---- */

/* A bundle that was written. Its program may change it meanwhile: what is malformed then, and what
 * follows it, is lost. */
VOID ReceiveBundle(TUN_ADAPTER *Adapter, TUN_RING *Bundle)
{
    TUN_BATCH Batch;

    do {
        BatchBegin(&Batch, Adapter);
        BatchFill(&Batch, Bundle);
        BatchEnd(&Batch);
    } while (Batch.Packets);
}

/*
 * One batch from the ring; TRUE when there was anything in it. With Moved, for a worker about to
 * sleep: tells the client so first. The fence pairs with the one of a client between its store of
 * Tail and its load of Alertable: should there be something after all, it is found here. Only then
 * the client is told otherwise, so that one without a fence cannot hide a packet from the look
 * after the bounded sleep. Moved is the client's event, referenced since the session may end
 * meanwhile; it stays as it is when there is none.
 */
static BOOLEAN RingDrain(TUN_ADAPTER *Adapter, PVOID *Moved)
{
    TUN_BATCH Batch;

    BatchBegin(&Batch, Adapter);
    TUN_SESSION *Session = GateEnter(Adapter);
    if (Session && Session->Owner) {
        TUN_RING *Ring = &Session->ToStack;
        if (Moved) {
            WriteNoFence(Ring->Alertable, TRUE);
            KeMemoryBarrier();
            ObReferenceObject(Ring->TailMoved);
            *Moved = Ring->TailMoved;
        }
        BatchFill(&Batch, Ring);
        if (Batch.Packets)
            WriteNoFence(Ring->Alertable, FALSE);
        if (Batch.Packets || Ring->HasEnded)
            RingRelease(Ring);
    }
    if (Session)
        GateLeave(Adapter);
    BatchEnd(&Batch);
    return Batch.Packets != 0;
}

/*
 * Sleeps until there is something to do. Clients of old lack their half of the fence, so the first
 * sleep after work ends by itself: what such a client left behind is found then. FALSE: it has
 * ended so, and the next need not. The client's event is cleared here, for it may not clear itself;
 * the drain that follows sees what it was set for.
 */
static BOOLEAN WorkerSleep(TUN_ADAPTER *Adapter, BOOLEAN IsBounded)
{
    LARGE_INTEGER Timeout = {.QuadPart = -10 * 10000LL};
    PVOID Objects[] = {&Adapter->Kick, NULL};
    NTSTATUS Status = STATUS_SUCCESS;

    if (!RingDrain(Adapter, &Objects[1]))
        Status =
            KeWaitForMultipleObjects(Objects[1] ? 2 : 1, Objects, WaitAny, Executive, KernelMode,
                                     FALSE, Objects[1] && IsBounded ? &Timeout : NULL, NULL);
    if (Objects[1]) {
        KeClearEvent(Objects[1]);
        ObDereferenceObject(Objects[1]);
    }
    Count(Adapter, WintunToStackWakeups, Status == STATUS_WAIT_1);
    return Status != STATUS_TIMEOUT;
}

/*
 * The adapter's thread: drains the ring to the stack, or the one behind reads. It has the session
 * only inside the gate and waits only with its own event at hand, so neither a session's end nor
 * halt has to do more than to set that.
 */
VOID ReceiveWorker(PVOID Context)
{
    TUN_ADAPTER *Adapter = Context;

    for (BOOLEAN IsBounded = TRUE; !ReadAcquire(&Adapter->IsRemoved);
         IsBounded = WorkerSleep(Adapter, IsBounded)) {
        ReadsPump(Adapter);
        for (ULONG Spins = 0; Spins < TUN_SPINS; Spins++) {
            if (RingDrain(Adapter, NULL)) {
                Spins = 0;
                IsBounded = TRUE;
            }
            YieldProcessor();
        }
    }
}
