/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * User to host stack: copies packets out of the ring to the stack, or out of a bundle that was
 * written, and indicates them. Memory that a program can write must never be shown to the stack,
 * and room in a ring must never wait for the stack.
 */
#include "tun.h"

#define TUN_SPINS 256U /* looks before the worker sleeps, some 20 us */

/* A packet on its way through the stack. The MDL begins at the packet: nothing is before it. */
struct TUN_BUFFER {
    TUN_BUFFER *Next;      /* ours; NDIS may change the links of its lists */
    MDL *Mdl;              /* ours; a filter may have put another in front of it */
    NET_BUFFER_LIST *List; /* while in a batch */
    ULONG Size, Class;
    DECLSPEC_ALIGN(16) UCHAR Data[];
};

/* Low: from here on the stack is lent lists only for the time of the indication. */
static const struct {
    ULONG Bytes, Count, Low;
} Classes[] = {{2032 - sizeof(TUN_BUFFER), 512, TUN_BATCH}, {0x10000, 16, 4}};

/* ---- Buffers ---- */

static VOID BufferDestroy(_In_opt_ TUN_BUFFER *Buffer)
{
    if (Buffer && Buffer->Mdl)
        IoFreeMdl(Buffer->Mdl);
    PoolFree(Buffer);
}

static TUN_BUFFER *BufferCreate(ULONG Class)
{
    TUN_BUFFER *Buffer = PoolAlloc(sizeof(*Buffer) + Classes[Class].Bytes);

    if (Buffer)
        Buffer->Mdl = IoAllocateMdl(Buffer->Data, Classes[Class].Bytes, FALSE, FALSE, NULL);
    if (!Buffer || !Buffer->Mdl) {
        BufferDestroy(Buffer);
        return NULL;
    }
    MmBuildMdlForNonPagedPool(Buffer->Mdl);
    Buffer->Class = Class;
    return Buffer;
}

/*
 * Takes buffers back; those that no session wants any more are freed. One that the stack still had
 * when its session ended comes here later, so the stack holds up neither a session's end nor the
 * next session, whose buffers it then is.
 */
static VOID PoolPut(_Inout_ TUN_POOL *Pool, _In_opt_ TUN_BUFFER *Chain)
{
    KIRQL Irql;
    TUN_BUFFER *Next, *Unwanted = NULL;

    KeAcquireSpinLock(&Pool->Lock, &Irql);
    const BOOLEAN IsWanted = ReadNoFence(&Pool->IsWanted) != FALSE;
    for (; Chain; Chain = Next) {
        Next = Chain->Next;
        TUN_BUFFER **Head = IsWanted ? &Pool->Free[Chain->Class] : &Unwanted;
        if (IsWanted)
            Pool->FreeCount[Chain->Class]++;
        else
            Pool->Made[Chain->Class]--;
        Chain->Next = *Head;
        *Head = Chain;
    }
    KeReleaseSpinLock(&Pool->Lock, Irql);
    for (; Unwanted; Unwanted = Next) {
        Next = Unwanted->Next;
        BufferDestroy(Unwanted);
    }
}

static TUN_BUFFER *PoolTake(_Inout_ TUN_POOL *Pool, ULONG Bytes, _Inout_ BOOLEAN *IsLow)
{
    const ULONG Class = Bytes > Classes[0].Bytes;

    KeAcquireSpinLockAtDpcLevel(&Pool->Lock);
    TUN_BUFFER *Buffer = Pool->Free[Class];
    if (Buffer) {
        Pool->Free[Class] = Buffer->Next;
        *IsLow |= --Pool->FreeCount[Class] < Classes[Class].Low;
    }
    KeReleaseSpinLockFromDpcLevel(&Pool->Lock);
    return Buffer;
}

/* Made is raised here alone, under Driver.Mutex, and falls only while no session wants buffers. */
_Use_decl_annotations_ NTSTATUS PoolFill(TUN_POOL *Pool)
{
    KIRQL Irql;

    KeAcquireSpinLock(&Pool->Lock, &Irql);
    WriteNoFence(&Pool->IsWanted, TRUE);
    KeReleaseSpinLock(&Pool->Lock, Irql);
    for (ULONG Class = 0; Class < RTL_NUMBER_OF(Classes); Class++) {
        while (Pool->Made[Class] < Classes[Class].Count) {
            TUN_BUFFER *Buffer = BufferCreate(Class);
            if (!Buffer)
                return STATUS_INSUFFICIENT_RESOURCES;
            Pool->Made[Class]++;
            PoolPut(Pool, Buffer);
        }
    }
    return STATUS_SUCCESS;
}

_Use_decl_annotations_ VOID PoolTrim(TUN_POOL *Pool)
{
    KIRQL Irql;

    for (ULONG Class = 0; Class < RTL_NUMBER_OF(Classes); Class++) {
        TUN_BUFFER *Chain = NULL;
        KeAcquireSpinLock(&Pool->Lock, &Irql);
        if (!ReadNoFence(&Pool->IsWanted)) {
            Chain = Pool->Free[Class];
            Pool->Free[Class] = NULL;
            Pool->FreeCount[Class] = 0;
        }
        KeReleaseSpinLock(&Pool->Lock, Irql);
        PoolPut(Pool, Chain);
    }
}

/* ---- Batches: what is copied at once and then indicated at once ---- */

typedef struct TUN_BATCH_STATE {
    TUN_ADAPTER *Adapter;
    TUN_BUFFER *First, **Last;
    ULONG Seen, Bytes;
    ULONG Paused, NoMemory;
    BOOLEAN IsFlowing; /* has the references of TUN_BATCH lists and of the indication call */
    BOOLEAN IsLow;
    KIRQL Irql;
} TUN_BATCH_STATE;

static VOID BatchBegin(_Out_ TUN_BATCH_STATE *Batch, _In_ TUN_ADAPTER *Adapter)
{
    *Batch = (TUN_BATCH_STATE){.Adapter = Adapter, .Irql = KeRaiseIrqlToDpcLevel()};
    Batch->Last = &Batch->First;
    Batch->IsFlowing = ExAcquireRundownProtectionCacheAwareEx(Adapter->FlowGate, TUN_BATCH + 1);
}

static BOOLEAN BatchIsFull(_In_ const TUN_BATCH_STATE *Batch)
{
    return Batch->Seen == TUN_BATCH || Batch->Bytes >= TUN_TURN_BYTES;
}

/* FALSE: not taken, no buffer is free before this batch has been indicated. */
static BOOLEAN BatchAdd(_Inout_ TUN_BATCH_STATE *Batch, _In_reads_bytes_(Bytes) const UCHAR *Packet,
                        ULONG Bytes)
{
    TUN_BUFFER *Buffer =
        Batch->IsFlowing ? PoolTake(&Batch->Adapter->Pool, Bytes, &Batch->IsLow) : NULL;

    if (Buffer) {
        RtlCopyMemory(Buffer->Data, Packet, Bytes);
        Buffer->Size = Bytes;
        Buffer->Next = NULL;
        *Batch->Last = Buffer;
        Batch->Last = &Buffer->Next;
    } else if (!Batch->IsFlowing) {
        Batch->Paused++;
    } else if (Batch->First) {
        Batch->IsLow = TRUE;
        return FALSE;
    } else {
        Batch->NoMemory++;
    }
    Batch->Seen++;
    Batch->Bytes += Bytes;
    return TRUE;
}

/*
 * A list for a copied packet. Its version is read from the copy, which nobody else can change.
 * NULL, counted: it is no IP packet, or there is no memory.
 */
static NET_BUFFER_LIST *ListCreate(_In_ TUN_ADAPTER *Adapter, _Inout_ TUN_BUFFER *Buffer)
{
    const BOOLEAN IsIpv4 = Buffer->Size >= 20 && Buffer->Data[0] >> 4 == 4;
    const BOOLEAN IsIpv6 = Buffer->Size >= 40 && Buffer->Data[0] >> 4 == 6;

    if (!IsIpv4 && !IsIpv6) {
        Count(Adapter, WintunToStackNotIp, 1);
        return NULL;
    }
    Buffer->Mdl->Next = NULL;
    NET_BUFFER_LIST *List = NdisAllocateNetBufferAndNetBufferList(Adapter->Pool.Lists, 0, 0,
                                                                  Buffer->Mdl, 0, Buffer->Size);
    if (!List) {
        Count(Adapter, WintunToStackNoMemory, 1);
        return NULL;
    }
    NET_BUFFER_LIST_NEXT_NBL(List) = NULL;
    NET_BUFFER_LIST_STATUS(List) = NDIS_STATUS_SUCCESS;
    NET_BUFFER_LIST_MINIPORT_RESERVED(List)[0] = Buffer;
    List->SourceHandle = Adapter->Handle;
    NET_BUFFER_LIST_INFO(List, NetBufferListFrameType) =
        (PVOID)(ULONG_PTR)(IsIpv4 ? 0x0008 : 0xDD86);
    NdisSetNblFlag(List, IsIpv4 ? NDIS_NBL_FLAGS_IS_IPV4 : NDIS_NBL_FLAGS_IS_IPV6);
    return List;
}

/*
 * Indicates the batch, and gives back what was not indicated. A list that the stack keeps takes its
 * reference to the flow gate with it. With the resources flag all lists are ours again when the
 * call returns; they are then found through Buffer->Next, since NDIS may have changed their own
 * links.
 */
static VOID BatchEnd(_Inout_ TUN_BATCH_STATE *Batch)
{
    TUN_ADAPTER *Adapter = Batch->Adapter;
    TUN_BUFFER *Next, *Lent = NULL, *Spare = NULL;
    NET_BUFFER_LIST *First = NULL, **Last = &First;
    ULONG Lists = 0, Bytes = 0, Ipv4 = 0;

    for (TUN_BUFFER *Buffer = Batch->First; Buffer; Buffer = Next) {
        Next = Buffer->Next;
        Buffer->List = ListCreate(Adapter, Buffer);
        TUN_BUFFER **Chain = Buffer->List ? &Lent : &Spare;
        Buffer->Next = *Chain;
        *Chain = Buffer;
        if (!Buffer->List)
            continue;
        *Last = Buffer->List;
        Last = &NET_BUFFER_LIST_NEXT_NBL(Buffer->List);
        Ipv4 += NdisTestNblFlag(Buffer->List, NDIS_NBL_FLAGS_IS_IPV4);
        Bytes += Buffer->Size;
        Lists++;
    }
    if (Spare)
        PoolPut(&Adapter->Pool, Spare);
    if (Batch->Paused)
        Count(Adapter, WintunToStackPaused, Batch->Paused);
    if (Batch->NoMemory)
        Count(Adapter, WintunToStackNoMemory, Batch->NoMemory);
    ULONG Kept = 0;
    if (Lists) {
        ULONG Flags = NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL;
        if (Ipv4 == 0 || Ipv4 == Lists)
            Flags |= NDIS_RECEIVE_FLAGS_SINGLE_ETHER_TYPE;
        if (Batch->IsLow)
            Flags |= NDIS_RECEIVE_FLAGS_RESOURCES;
        else
            Kept = Lists;
        Count(Adapter, WintunToStackPackets, Lists);
        Count(Adapter, WintunToStackBytes, Bytes);
        Count(Adapter, WintunToStackIndications, 1);
        NdisMIndicateReceiveNetBufferLists(Adapter->Handle, First, NDIS_DEFAULT_PORT_NUMBER, Lists,
                                           Flags);
        if (Batch->IsLow) {
            for (TUN_BUFFER *Buffer = Lent; Buffer; Buffer = Buffer->Next)
                NdisFreeNetBufferList(Buffer->List);
            PoolPut(&Adapter->Pool, Lent);
        }
    }
    if (Batch->IsFlowing)
        ExReleaseRundownProtectionCacheAwareEx(Adapter->FlowGate, TUN_BATCH + 1 - Kept);
    KeLowerIrql(Batch->Irql);
}

/*
 * MiniportReturnNetBufferLists. Releasing the flow gate is the very last access: pause may return,
 * and halt free the adapter's handles, before this function has.
 */
_Use_decl_annotations_ VOID ReceiveReturn(NDIS_HANDLE Context, NET_BUFFER_LIST *Lists,
                                          ULONG ReturnFlags)
{
    TUN_ADAPTER *Adapter = Context;
    TUN_BUFFER *Chain = NULL;
    ULONG Returned = 0;

    UNREFERENCED_PARAMETER(ReturnFlags);
    while (Lists) {
        NET_BUFFER_LIST *List = Lists;
        TUN_BUFFER *Buffer = NET_BUFFER_LIST_MINIPORT_RESERVED(List)[0];
        Lists = NET_BUFFER_LIST_NEXT_NBL(List);
        NdisFreeNetBufferList(List);
        Buffer->Next = Chain;
        Chain = Buffer;
        Returned++;
    }
    PoolPut(&Adapter->Pool, Chain);
    ExReleaseRundownProtectionCacheAwareEx(Adapter->FlowGate, Returned);
}

/* ---- Where packets come from ---- */

/* A framed bundle. Its program may change it meanwhile, so each record is checked again as it is
 * used. */
_Use_decl_annotations_ VOID ReceiveBundle(TUN_ADAPTER *Adapter, const UCHAR *Bundle, ULONG Bytes)
{
    TUN_BATCH_STATE Batch;
    ULONG Size, Record = 1;

    while (Bytes && Record) {
        for (BatchBegin(&Batch, Adapter); !BatchIsFull(&Batch); Bundle += Record, Bytes -= Record) {
            Record = BundleRecord(Bundle, Bytes, &Size);
            if (!Record || !BatchAdd(&Batch, Bundle + sizeof(WINTUN_BUNDLE_RECORD), Size))
                break;
        }
        BatchEnd(&Batch);
    }
}

/* One batch from the ring; TRUE when there was anything in it. */
static BOOLEAN RingDrain(_In_ TUN_ADAPTER *Adapter)
{
    TUN_BATCH_STATE Batch;
    KIRQL Irql;

    BatchBegin(&Batch, Adapter);
    TUN_SESSION *Session = GateEnter(Adapter, &Irql);
    if (Session && Session->Kind == WintunSessionRings) {
        TUN_RING *Ring = &Session->ToStack;
        TUN_RESULT Result = RingEmpty;
        const UCHAR *Packet;
        ULONG Size;
        while (!BatchIsFull(&Batch)) {
            Result = RingPeek(Ring, &Packet, &Size);
            if (Result != RingDone || !BatchAdd(&Batch, Packet, Size))
                break;
            RingStep(Ring, Size);
        }
        if (Result == RingCorrupt) {
            Ring->HasEnded = TRUE;
            RingEnd(Ring->Head);
        } else if (Batch.Seen) {
            RingRelease(Ring);
        }
    }
    if (Session)
        GateLeave(Adapter, Irql);
    BatchEnd(&Batch);
    return Batch.Seen != 0;
}

/*
 * Tells the client whether the worker is about to sleep. TRUE when there is something to do
 * instead. The fence pairs with that of a client between its store of Tail and its load of
 * Alertable. *Moved: the client's event, referenced, because the session may end while it is waited
 * for.
 */
static BOOLEAN RingWatch(_In_ TUN_ADAPTER *Adapter, BOOLEAN IsAlertable, _Out_ KEVENT **Moved)
{
    BOOLEAN HasMore = FALSE;
    const UCHAR *Packet;
    ULONG Size;
    KIRQL Irql;

    *Moved = NULL;
    TUN_SESSION *Session = GateEnter(Adapter, &Irql);
    if (!Session)
        return FALSE;
    TUN_RING *Ring = &Session->ToStack;
    if (Session->Kind == WintunSessionRings && !Ring->HasEnded) {
        WriteNoFence(Ring->Alertable, IsAlertable);
        KeMemoryBarrier();
        HasMore = RingPeek(Ring, &Packet, &Size) != RingEmpty;
        if (IsAlertable && !HasMore) {
            ObReferenceObject(Ring->TailMoved);
            *Moved = Ring->TailMoved;
        }
    }
    GateLeave(Adapter, Irql);
    return HasMore;
}

/*
 * Sleeps until there is something to do. Clients of old lack their half of the fence, so the first
 * sleep after work ends by itself, once: what such a client left behind is found then.
 * The client's event is cleared here, for it may not clear itself; whatever made it set is seen by
 * the drain that follows. FALSE: the time passed, the next sleep need not end by itself.
 */
static BOOLEAN WorkerSleep(_In_ TUN_ADAPTER *Adapter, BOOLEAN IsBounded)
{
    LARGE_INTEGER Timeout = {.QuadPart = -10 * 10000LL};
    PVOID Objects[2] = {&Adapter->Kick};
    NTSTATUS Status = STATUS_SUCCESS;
    KEVENT *Moved, *None;

    if (!RingWatch(Adapter, TRUE, &Moved)) {
        Objects[1] = Moved;
        Status = KeWaitForMultipleObjects(Moved ? 2 : 1, Objects, WaitAny, Executive, KernelMode,
                                          FALSE, Moved && IsBounded ? &Timeout : NULL, NULL);
    }
    RingWatch(Adapter, FALSE, &None);
    if (Status == STATUS_WAIT_1) {
        KeClearEvent(Moved);
        Count(Adapter, WintunToStackWakeups, 1);
    }
    if (Moved)
        ObDereferenceObject(Moved);
    return Status != STATUS_TIMEOUT;
}

/*
 * The adapter's thread: drains the ring, and does what an ended session left to do. It looks at the
 * session only inside the gate, so it needs no session to live, and halt can join it at any time:
 * it waits for nothing but its own event and one that halt has made irrelevant.
 */
_Use_decl_annotations_ VOID ReceiveWorker(PVOID Context)
{
    TUN_ADAPTER *Adapter = Context;
    BOOLEAN IsBounded = TRUE;

    while (!ReadAcquire(&Adapter->IsStopping)) {
        AdapterIndicateLink(Adapter);
        ReadsPump(Adapter, MAXULONG);
        ReadsFlush(Adapter);
        PoolTrim(&Adapter->Pool);
        for (ULONG Spins = 0; Spins < TUN_SPINS; Spins++) {
            if (RingDrain(Adapter)) {
                Spins = 0;
                IsBounded = TRUE;
            } else {
                YieldProcessor();
            }
        }
        IsBounded = WorkerSleep(Adapter, IsBounded);
    }
    KeSetEvent(&Adapter->LinkSettled, EVENT_INCREMENT, FALSE);
}
