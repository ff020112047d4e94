/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * User to host stack: copies packets out of the ring to the stack, or out of a bundle that was
 * written, and indicates them. Memory that a program can write must never be shown to the stack,
 * and room in a ring must never wait for the stack.
 */
#include "tun.h"

#define TUN_SPINS 256U /* looks before the worker sleeps: some 20 us */

/* A packet on its way through the stack. The MDL begins at the packet: nothing is before it. */
typedef struct TUN_BUFFER {
    LIST_ENTRY Entry; /* while free */
    ULONG Size, Class;
    MDL *Mdl; /* ours; a filter may have put another in front of it */
    DECLSPEC_ALIGN(16) UCHAR Data[];
} TUN_BUFFER;

/* Low: with no more than that left, the stack is lent lists only for the time of the indication. */
static const struct {
    ULONG Bytes;
    LONG Most, Low;
} Classes[] = {{2032 - sizeof(TUN_BUFFER), 1024, TUN_BATCH}, {0x10000, 64, 8}};

/* Packets that are copied at once, and then indicated at once. */
typedef struct TUN_COPIES {
    TUN_ADAPTER *Adapter;
    TUN_BUFFER *Buffers[TUN_BATCH];
    ULONG Taken, Seen, Bytes;
    BOOLEAN IsFlowing, IsLow; /* flowing: has references for TUN_BATCH lists and for the call */
    KIRQL Irql;
} TUN_COPIES;

/* ---- Buffers ---- */

static TUN_BUFFER *BufferCreate(ULONG Class)
{
    const ULONG Bytes = Classes[Class].Bytes;
    TUN_BUFFER *Buffer = PoolAlloc(sizeof(*Buffer) + Bytes);
    MDL *Mdl = Buffer ? IoAllocateMdl(Buffer->Data, Bytes, FALSE, FALSE, NULL) : NULL;

    if (!Mdl) {
        PoolFree(Buffer);
        return NULL;
    }
    MmBuildMdlForNonPagedPool(Mdl);
    Buffer->Mdl = Mdl;
    Buffer->Class = Class;
    return Buffer;
}

static VOID BufferDestroy(TUN_BUFFER *Buffer)
{
    IoFreeMdl(Buffer->Mdl);
    PoolFree(Buffer);
}

/* Under the flow gate, so that halt, which follows pause, finds every buffer given back. */
static TUN_BUFFER *BufferTake(TUN_ADAPTER *Adapter, ULONG Bytes, BOOLEAN *IsLow)
{
    const ULONG Class = Bytes > Classes[0].Bytes;
    TUN_CLASS *From = &Adapter->Classes[Class];
    const LONG InUse = InterlockedIncrement(&From->InUse);
    TUN_BUFFER *Buffer = NULL;

    if (InUse <= Classes[Class].Most) {
        LIST_ENTRY *Entry = ExInterlockedRemoveHeadList(&From->Free, &From->Lock);
        Buffer = Entry ? CONTAINING_RECORD(Entry, TUN_BUFFER, Entry) : BufferCreate(Class);
    }
    if (!Buffer)
        InterlockedDecrement(&From->InUse);
    *IsLow |= !Buffer || InUse > Classes[Class].Most - Classes[Class].Low;
    return Buffer;
}

/* The stack may have had it longer than its session lived: then nobody waits for it here. */
static VOID BufferPut(TUN_ADAPTER *Adapter, TUN_BUFFER *Buffer)
{
    TUN_CLASS *To = &Adapter->Classes[Buffer->Class];

    InterlockedDecrement(&To->InUse);
    if (ReadNoFence(&Adapter->LinkWanted))
        ExInterlockedInsertHeadList(&To->Free, &Buffer->Entry, &To->Lock);
    else
        BufferDestroy(Buffer);
}

/* Frees what no session needs. */
VOID ReceiveTrim(TUN_ADAPTER *Adapter)
{
    for (ULONG Class = 0; Class < RTL_NUMBER_OF(Classes);) {
        TUN_CLASS *From = &Adapter->Classes[Class];
        LIST_ENTRY *Entry = ExInterlockedRemoveHeadList(&From->Free, &From->Lock);
        if (Entry)
            BufferDestroy(CONTAINING_RECORD(Entry, TUN_BUFFER, Entry));
        else
            Class++;
    }
}

/* ---- Batches ---- */

static VOID BatchBegin(TUN_COPIES *Batch, TUN_ADAPTER *Adapter)
{
    Batch->Adapter = Adapter;
    Batch->Taken = Batch->Seen = Batch->Bytes = 0;
    Batch->IsLow = FALSE;
    Batch->Irql = KeRaiseIrqlToDpcLevel();
    Batch->IsFlowing = ExAcquireRundownProtectionCacheAwareEx(Adapter->FlowGate, TUN_BATCH + 1);
}

/* FALSE: not taken, this batch must go first; it is full, or has the last free buffers. */
static BOOLEAN BatchAdd(TUN_COPIES *Batch, const UCHAR *Packet, ULONG Bytes)
{
    if (Batch->Seen == TUN_BATCH || Batch->Bytes >= TUN_TURN_BYTES)
        return FALSE;
    TUN_BUFFER *Buffer = Batch->IsFlowing ? BufferTake(Batch->Adapter, Bytes, &Batch->IsLow) : NULL;
    if (Buffer) {
        RtlCopyMemory(Buffer->Data, Packet, Bytes);
        Buffer->Size = Bytes;
        Batch->Buffers[Batch->Taken++] = Buffer;
    } else if (Batch->Taken) {
        return FALSE;
    } else {
        Count(Batch->Adapter, Batch->IsFlowing ? WintunToStackNoMemory : WintunToStackPaused, 1);
    }
    Batch->Seen++;
    Batch->Bytes += Bytes;
    return TRUE;
}

/*
 * Makes a list for a copied packet, its version read from the copy, which nobody else can change.
 * NULL, and counted, when it is no IP packet or there is no memory.
 */
static NET_BUFFER_LIST *BufferEnlist(TUN_ADAPTER *Adapter, TUN_BUFFER *Buffer)
{
    const BOOLEAN IsIpv4 = Buffer->Size >= 20 && Buffer->Data[0] >> 4 == 4;
    const BOOLEAN IsIp = IsIpv4 || (Buffer->Size >= 40 && Buffer->Data[0] >> 4 == 6);
    NET_BUFFER_LIST *Nbl = NULL;

    Buffer->Mdl->Next = NULL;
    if (IsIp)
        Nbl = NdisAllocateNetBufferAndNetBufferList(Adapter->Lists, 0, 0, Buffer->Mdl, 0,
                                                    Buffer->Size);
    if (!Nbl) {
        Count(Adapter, IsIp ? WintunToStackNoMemory : WintunToStackNotIp, 1);
        BufferPut(Adapter, Buffer);
        return NULL;
    }
    NET_BUFFER_LIST_STATUS(Nbl) = NDIS_STATUS_SUCCESS;
    NET_BUFFER_LIST_MINIPORT_RESERVED(Nbl)[0] = Buffer;
    NET_BUFFER_LIST_INFO(Nbl, NetBufferListFrameType) =
        (PVOID)(ULONG_PTR)(IsIpv4 ? 0x0008 : 0xDD86);
    NdisSetNblFlag(Nbl, IsIpv4 ? NDIS_NBL_FLAGS_IS_IPV4 : NDIS_NBL_FLAGS_IS_IPV6);
    Nbl->SourceHandle = Adapter->Handle;
    return Nbl;
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
 * Indicates the batch and gives back the rest. A list that the stack keeps also keeps one of the
 * references to the flow gate. With the resources flag all are ours again when the call returns, in
 * the chain that they were in (ProtocolReceiveNetBufferLists: "must restore the original linked
 * list").
 */
static VOID BatchEnd(TUN_COPIES *Batch)
{
    TUN_ADAPTER *Adapter = Batch->Adapter;
    NET_BUFFER_LIST *First = NULL, **Last = &First;
    ULONG Lists = 0, Bytes = 0, Ipv4 = 0;
    ULONG Flags =
        NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL | (Batch->IsLow ? NDIS_RECEIVE_FLAGS_RESOURCES : 0);

    for (ULONG Index = 0; Index < Batch->Taken; Index++) {
        *Last = BufferEnlist(Adapter, Batch->Buffers[Index]);
        if (!*Last)
            continue;
        Last = &NET_BUFFER_LIST_NEXT_NBL(*Last);
        Lists++;
        Bytes += Batch->Buffers[Index]->Size;
        Ipv4 += Batch->Buffers[Index]->Data[0] >> 4 == 4;
    }
    if (Lists) {
        Count(Adapter, WintunToStackPackets, Lists);
        Count(Adapter, WintunToStackBytes, Bytes);
        Count(Adapter, WintunToStackIndications, 1);
        Flags |= Ipv4 == 0 || Ipv4 == Lists ? NDIS_RECEIVE_FLAGS_SINGLE_ETHER_TYPE : 0;
        NdisMIndicateReceiveNetBufferLists(Adapter->Handle, First, 0, Lists, Flags);
        if (Batch->IsLow)
            ReceiveReturn(Adapter, First, 0);
    }
    if (Batch->IsFlowing)
        ExReleaseRundownProtectionCacheAwareEx(Adapter->FlowGate, TUN_BATCH + 1 - Lists);
    KeLowerIrql(Batch->Irql);
}

/* ---- Where packets come from ---- */

/* A framed bundle. Its program may change it meanwhile, so each record is checked again when used.
 */
VOID ReceiveBundle(TUN_ADAPTER *Adapter, const UCHAR *Bundle, ULONG Left)
{
    TUN_COPIES Batch;

    for (ULONG Bytes, Record = 1; Record; BatchEnd(&Batch)) {
        BatchBegin(&Batch, Adapter);
        Record = BundleRecord(Bundle, Left, &Bytes);
        while (Record && BatchAdd(&Batch, Bundle + sizeof(WINTUN_BUNDLE_RECORD), Bytes)) {
            Bundle += Record;
            Left -= Record;
            Record = BundleRecord(Bundle, Left, &Bytes);
        }
    }
}

/*
 * One batch from the ring; TRUE when there was anything in it. With Moved, for a worker about to
 * sleep: tells the client so first. The fence pairs with the one of a client between its store of
 * Tail and its load of Alertable: should there be something after all, it is found here. Only then
 * the client is told otherwise, so that one without a fence cannot hide a packet from the look
 * after the bounded sleep. Moved is the client's event, referenced since the session may end
 * meanwhile, or NULL.
 */
static BOOLEAN RingDrain(TUN_ADAPTER *Adapter, KEVENT **Moved)
{
    TUN_COPIES Batch;
    const UCHAR *Packet;
    ULONG Bytes;

    BatchBegin(&Batch, Adapter);
    TUN_SESSION *Session = GateEnter(Adapter);
    if (Session && Session->Kind == WintunSessionRings && !Session->ToStack.HasEnded) {
        TUN_RING *Ring = &Session->ToStack;
        if (Moved) {
            Ring->IsArmed = TRUE;
            WriteNoFence(Ring->Alertable, TRUE);
            KeMemoryBarrier();
            *Moved = Ring->TailMoved;
            ObReferenceObject(*Moved);
        }
        TUN_RESULT Result = RingPeek(Ring, &Packet, &Bytes);
        if (Ring->IsArmed && Result != RingEmpty) {
            Ring->IsArmed = FALSE;
            WriteNoFence(Ring->Alertable, FALSE);
        }
        while (Result == RingDone && BatchAdd(&Batch, Packet, Bytes)) {
            RingPass(Ring, Bytes);
            Result = RingPeek(Ring, &Packet, &Bytes);
        }
        Ring->HasEnded = Result == RingCorrupt;
        if (Batch.Seen || Ring->HasEnded)
            RingRelease(Ring);
    }
    if (Session)
        GateLeave(Adapter);
    BatchEnd(&Batch);
    return Batch.Seen != 0;
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
    KEVENT *Moved = NULL;
    NTSTATUS Status = STATUS_SUCCESS;

    if (!RingDrain(Adapter, &Moved)) {
        Objects[1] = Moved;
        Status = KeWaitForMultipleObjects(Moved ? 2 : 1, Objects, WaitAny, Executive, KernelMode,
                                          FALSE, Moved && IsBounded ? &Timeout : NULL, NULL);
    }
    if (Moved) {
        KeClearEvent(Moved);
        ObDereferenceObject(Moved);
    }
    Count(Adapter, WintunToStackWakeups, Status == STATUS_WAIT_1);
    return Status != STATUS_TIMEOUT;
}

/*
 * The adapter's thread: drains the ring, and does what the end of a session leaves to do. It has
 * the session only inside the gate and waits only with its own event at hand, so neither a
 * session's end nor halt has to do more than to set that. However busy a program keeps the ring, a
 * session that waits for its link comes first.
 */
VOID ReceiveWorker(PVOID Context)
{
    TUN_ADAPTER *Adapter = Context;

    for (BOOLEAN IsBounded = TRUE;; IsBounded = WorkerSleep(Adapter, IsBounded)) {
        const BOOLEAN IsLast = ReadAcquire(&Adapter->IsRemoved) != FALSE;
        AdapterIndicateLink(Adapter);
        ReadsPump(Adapter);
        ReadsCancel(Adapter, Adapter, STATUS_FILE_FORCED_CLOSED);
        if (!ReadNoFence(&Adapter->LinkWanted))
            ReceiveTrim(Adapter);
        if (IsLast)
            return;
        for (ULONG Spins = 0; Spins < TUN_SPINS && KeReadStateEvent(&Adapter->LinkSettled);
             Spins++) {
            if (RingDrain(Adapter, NULL)) {
                Spins = 0;
                IsBounded = TRUE;
            }
            YieldProcessor();
        }
    }
}
