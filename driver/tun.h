/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What the files of the driver share: its objects, the verbs that alone touch shared indices, and
 * the rules of locking. Nothing here may depend on who uses a session: rings, files or the kernel.
 *
 * Locks. A lock may be taken while holding those named after "after"; nothing else.
 *   Driver.Mutex           mutex, PASSIVE    adapters, control device, who has which session, link
 *   TUN_ADAPTER.RingGate   rundown, DISPATCH Session and its rings; after: Driver.Mutex, FlowGate
 *   TUN_ADAPTER.FlowGate   rundown, DISPATCH what NDIS waits for when it pauses the adapter
 *   TUN_RING.Lock          spin, DISPATCH    Cursor and Open of a ring to the user; after: RingGate
 *   TUN_ADAPTER.ReadLock   spin, DISPATCH    pending reads; after: Driver.Mutex, RingGate
 *
 * The gates are held at DISPATCH_LEVEL only: a thread of a program that were suspended inside one
 * would make pause, or the end of a session, wait for user mode. The ring gate is open while there
 * is a session and is never held across an indication or the completion of an IRP, where anybody's
 * code may run. The flow gate is open while NDIS lets the adapter run; each list that the stack
 * holds has a reference to it.
 */
#pragma once

#include <ndis.h>
#include <wintun-abi.h>

#define TUN_TAG        0x6E757477U     /* "wtun" in memory */
#define TUN_SMALL      2000U           /* bytes of a small receive buffer; large: any packet */
#define TUN_TURN_BYTES 0x40000U        /* most that is copied between ring and stack at a time */
#define TUN_STATISTICS 0x3F87FFU       /* NDIS_STATISTICS_FLAGS_VALID_: all that count something */
#define TUN_LINK_SPEED 100000000000ULL /* bit/s */
#define TUN_NEGOTIATED 0xF             /* NDIS_LINK_STATE_..._AUTO_NEGOTIATED: all four */

/* The header of a structure in one revision, which is a number that NDIS also calls by name, and in
 * one of two: New since a version of NDIS. */
#define TUN_HEADER(Type, Name, Number)                                                             \
    {NDIS_OBJECT_TYPE_##Type, Number, NDIS_SIZEOF_##Name##_REVISION_##Number}
#define TUN_HEADER_SINCE(Version, Type, Name, Old, New)                                            \
    {NDIS_OBJECT_TYPE_##Type, Driver.NdisVersion < NDIS_RUNTIME_VERSION_##Version ? Old : New,     \
     Driver.NdisVersion < NDIS_RUNTIME_VERSION_##Version ? NDIS_SIZEOF_##Name##_REVISION_##Old     \
                                                         : NDIS_SIZEOF_##Name##_REVISION_##New}

/* The driver's field of a NET_BUFFER, its own until the chain goes back: a packet to be carried. */
typedef struct TUN_PACKET {
    struct TUN_PACKET *Next;
    NET_BUFFER_LIST *Nbl;
    ULONG Bytes; /* of its record */
} TUN_PACKET;

/* Room in a ring that a sender is filling: lives on its stack. */
typedef struct TUN_ROOM {
    LIST_ENTRY Entry;
    ULONG Start;
} TUN_ROOM;

/*
 * The driver's view of a ring, or of a written bundle. What Head, Tail, Alertable and Data point at
 * is shared with a program that may write anything there at any time; all else is the driver's own.
 */
typedef struct TUN_RING {
    ULONG volatile *Head, *Tail;
    LONG volatile *Alertable;
    UCHAR *Data;
    ULONG Capacity;    /* power of two; constant */
    ULONG Unit;        /* what records are aligned to, and begin with before the packet; constant */
    ULONG Cursor;      /* producer: next Tail, guarded by Lock; consumer: next Head */
    KSPIN_LOCK Lock;   /* producer only */
    LIST_ENTRY Open;   /* producer only: rooms being filled, oldest first; Lock */
    BOOLEAN HasEnded;  /* consumer only: the program broke it */
    MDL *Mdl;          /* the program's pages, locked; NULL: memory of the driver's own */
    KEVENT *TailMoved; /* referenced; NULL: none */
} TUN_RING;

/* An adapter's session. All zero while there is none. */
typedef struct TUN_SESSION {
    LONG Files;                     /* file: those that joined and live; Driver.Mutex */
    HANDLE Process;                 /* id of the one that began it; NULL: the kernel */
    FILE_OBJECT *Owner;             /* rings: whose cleanup ends it; not referenced */
    UCHAR *Memory;                  /* file: the ring */
    TUN_RING ToUser, ToStack, Read; /* Read, of a file session: the readers' view of ToUser */
} TUN_SESSION;

/* A miniport instance. After halt it is the shell that open files refer to, with both gates shut.
 */
typedef struct TUN_ADAPTER {
    struct TUN_ADAPTER *Next; /* Driver.Mutex */
    LONG volatile References; /* the miniport's, and one per open file */
    NDIS_HANDLE Handle;       /* valid until halt; used under the flow gate or Driver.Mutex */
    NDIS_HANDLE Lists;        /* NDIS pool of lists without data; constant */
    DEVICE_OBJECT *Device;    /* NDIS's; only compared */
    UNICODE_STRING Name;      /* "\\{NetCfgInstanceId}"; constant */
    WCHAR NameBuffer[40];
    SECURITY_DESCRIPTOR *Security; /* self-relative; constant; NULL: the default */
    PEX_RUNDOWN_REF_CACHE_AWARE RingGate, FlowGate;
    LONG volatile State;       /* WintunState..., as NDIS has it; a hint */
    LONG volatile SessionKind; /* WintunSession...; Driver.Mutex; without it only a hint */
    LONG SessionId;            /* of the newest session; Driver.Mutex */
    BOOLEAN IsStarting;        /* a registration is under way; Driver.Mutex */
    BOOLEAN IsRemoving;        /* query-remove was seen; Driver.Mutex */
    LONG volatile IsRemoved;   /* atomic */
    FILE_OBJECT *CompatFile;   /* NDIS's device waits for its close; Driver.Mutex */
    KEVENT CompatClosed;       /* CompatFile is closed */
    KEVENT Kick;               /* the worker has something to do; private to the driver */
    HANDLE Worker;             /* thread; joined by halt */
    KSPIN_LOCK ReadLock;
    LOOKASIDE_LIST_EX Buffers[2]; /* receive buffers, small and large */
    LONG volatile BufferBytes;    /* of receive buffers in use; atomic */
    IO_CSQ Csq;                   /* pending reads, all of files of the session */
    LONG volatile Pump;           /* calls of ReadsPump that the one inside has not seen */
    LIST_ENTRY Reads;             /* ReadLock; put in under Driver.Mutex */
    LONG64 volatile Counters[WintunCounterCount]; /* atomic */
    TUN_SESSION Session; /* written under Driver.Mutex while RingGate is shut */
} TUN_ADAPTER;

typedef struct TUN_DRIVER {
    NDIS_HANDLE Handle;
    ULONG NdisVersion; /* negotiated; constant, as all that follows but the list */
    ULONG MapPriority; /* of system mappings; non-executable where that exists */
    POOL_TYPE PoolType;
    PVOID(NTAPI *AllocatePool2)(POOL_FLAGS, SIZE_T, ULONG); /* NULL before Windows 10 2004 */
    KMUTEX Mutex;
    TUN_ADAPTER *Adapters; /* Mutex */
    IRP *Ended;            /* reads that were ended under Mutex; DriverUnlock completes them */
} TUN_DRIVER;
extern TUN_DRIVER Driver;

/* ---- The verbs of a ring: nothing else touches its indices, but to end it ---- */

/* Of a packet of Bytes, with what is before it and the padding behind it. */
FORCEINLINE ULONG RecordBytes(ULONG Unit, ULONG Bytes)
{
    return (Unit + Bytes + Unit - 1) & ~(Unit - 1);
}

/*
 * Producer, at DISPATCH_LEVEL: takes room for as many packets of the chain as fit, for one turn.
 * Answers the first that has none; Loss, should it be First, says why. Head is read under the lock
 * that orders the rooms: read before it, another sender's room would not be subtracted and unread
 * records would be overwritten. The acquire pairs with the release by which the consumer gives up
 * the bytes before Head.
 */
FORCEINLINE TUN_PACKET *RingReserve(_Inout_ TUN_RING *Ring, _In_ TUN_PACKET *First,
                                    _Out_ TUN_ROOM *Room, _Out_ ULONG *Loss)
{
    TUN_PACKET *End = First;
    ULONG Taken = 0;

    KeAcquireSpinLockAtDpcLevel(&Ring->Lock);
    const ULONG Head = ReadULongAcquire(Ring->Head);
    const BOOLEAN IsCorrupt = Head >= Ring->Capacity || Head % Ring->Unit;
    const ULONG Free = IsCorrupt ? 0 : (Head - Ring->Cursor - Ring->Unit) & (Ring->Capacity - 1);
    *Loss = IsCorrupt ? WintunToUserCorrupt : WintunToUserFull;
    for (; End && Taken < TUN_TURN_BYTES && End->Bytes <= Free - Taken; End = End->Next)
        Taken += End->Bytes;
    if (End != First) {
        Room->Start = Ring->Cursor;
        Ring->Cursor = (Ring->Cursor + Taken) & (Ring->Capacity - 1);
        InsertTailList(&Ring->Open, &Room->Entry);
    }
    KeReleaseSpinLockFromDpcLevel(&Ring->Lock);
    return End;
}

/*
 * Producer, at DISPATCH_LEVEL: the room is filled. Tail may only pass what is filled, so the oldest
 * room publishes for all filled ones behind it, up to the next open one; a younger room leaves that
 * to it. Nobody waits. TRUE when Tail moved. The release makes the packets visible before Tail.
 */
FORCEINLINE BOOLEAN RingCommit(_Inout_ TUN_RING *Ring, _Inout_ TUN_ROOM *Room)
{
    KeAcquireSpinLockAtDpcLevel(&Ring->Lock);
    const BOOLEAN IsOldest = Ring->Open.Flink == &Room->Entry;
    RemoveEntryList(&Room->Entry);
    const TUN_ROOM *Next = CONTAINING_RECORD(Ring->Open.Flink, TUN_ROOM, Entry);
    if (IsOldest)
        WriteULongRelease(Ring->Tail, IsListEmpty(&Ring->Open) ? Ring->Cursor : Next->Start);
    KeReleaseSpinLockFromDpcLevel(&Ring->Lock);
    return IsOldest;
}

/*
 * Consumer: the record at the cursor. FALSE when there is none, also because the ring is corrupt
 * and has ended. Tail and Size are read once each and checked as read; the packet itself may still
 * change. The acquire pairs with the producer's release of Tail.
 */
FORCEINLINE BOOLEAN RingPeek(_Inout_ TUN_RING *Ring, _Outptr_ const UCHAR **Packet,
                             _Out_ ULONG *Bytes)
{
    const ULONG Tail = ReadULongAcquire(Ring->Tail);
    const ULONG Used = (Tail - Ring->Cursor) & (Ring->Capacity - 1);
    if (Ring->HasEnded || Tail == Ring->Cursor)
        return FALSE;
    Ring->HasEnded = Tail >= Ring->Capacity || Used < Ring->Unit;
    if (Ring->HasEnded)
        return FALSE;
    *Bytes = ReadULongNoFence((ULONG volatile *)(Ring->Data + Ring->Cursor));
    *Packet = Ring->Data + Ring->Cursor + Ring->Unit;
    Ring->HasEnded = *Bytes > WINTUN_MAX_PACKET || RecordBytes(Ring->Unit, *Bytes) > Used;
    return !Ring->HasEnded;
}

/* Consumer: passes the record that was peeked; RingRelease gives up all that was passed. */
FORCEINLINE VOID RingPass(_Inout_ TUN_RING *Ring, ULONG Bytes)
{
    Ring->Cursor = (Ring->Cursor + RecordBytes(Ring->Unit, Bytes)) & (Ring->Capacity - 1);
}

FORCEINLINE VOID RingRelease(_Inout_ TUN_RING *Ring)
{
    WriteULongRelease(Ring->Head, Ring->HasEnded ? WINTUN_RING_ENDED : Ring->Cursor);
}

FORCEINLINE VOID Count(_Inout_ TUN_ADAPTER *Adapter, ULONG Counter, ULONG64 Amount)
{
    InterlockedAdd64(&Adapter->Counters[Counter], (LONG64)Amount);
}

/* main.c */
VOID DriverLock(VOID);
VOID DriverUnlock(VOID);
PVOID PoolAlloc(SIZE_T Bytes); /* zeroed, nonpaged; NULL when there is none */
VOID PoolFree(_In_opt_ PVOID Memory);

/* adapter.c */
MINIPORT_INITIALIZE AdapterInitialize;
MINIPORT_HALT AdapterHalt;
MINIPORT_PAUSE AdapterPause;
MINIPORT_RESTART AdapterRestart;
MINIPORT_DEVICE_PNP_EVENT_NOTIFY AdapterPnpEvent;
VOID AdapterDereference(_In_ TUN_ADAPTER *Adapter);

/* oid.c */
MINIPORT_OID_REQUEST OidRequest;

/* session.c */
VOID RingCreate(_Inout_ TUN_RING *Ring, _In_ UCHAR *Base, ULONG Capacity);
NTSTATUS SessionAdmitLocked(_In_ const TUN_ADAPTER *Adapter);
VOID SessionBeginLocked(_Inout_ TUN_ADAPTER *Adapter, _In_ const TUN_SESSION *New);
VOID SessionDestroy(_Inout_ TUN_SESSION *Session);
VOID SessionEndLocked(_In_ TUN_ADAPTER *Adapter);
VOID SessionLeaveLocked(_In_ TUN_ADAPTER *Adapter, _In_ const FILE_OBJECT *File, LONG Joined);
CREATE_PROCESS_NOTIFY_ROUTINE SessionProcessNotify;

/* send.c */
MINIPORT_SEND_NET_BUFFER_LISTS SendNetBufferLists;

/* receive.c */
KSTART_ROUTINE ReceiveWorker;
MINIPORT_RETURN_NET_BUFFER_LISTS ReceiveReturn;
ULONG ReceiveBatch(_In_ TUN_ADAPTER *Adapter, _Inout_opt_ TUN_RING *Bundle,
                   _Inout_opt_ PVOID *Moved);
VOID ReceiveTrim(_Inout_ TUN_ADAPTER *Adapter);

/* device.c */
NTSTATUS DeviceAdd(_Inout_ TUN_ADAPTER *Adapter);
VOID DeviceRemoveLocked(_In_ TUN_ADAPTER *Adapter);
BOOLEAN DeviceOwns(_In_opt_ const FILE_OBJECT *File);
NTSTATUS DeviceCheckAccess(_In_opt_ const TUN_ADAPTER *Adapter, SECURITY_SUBJECT_CONTEXT *Subject,
                           ACCESS_MASK Desired, KPROCESSOR_MODE Mode);
NTSTATUS DeviceComplete(_In_ IRP *Irp, NTSTATUS Status, ULONG_PTR Information);
VOID ReadsPump(_In_ TUN_ADAPTER *Adapter);
VOID ReadsEndLocked(_In_ TUN_ADAPTER *Adapter, _In_opt_ PVOID File, NTSTATUS Status);

/* rings.c */
NTSTATUS RingsRegister(_In_ TUN_ADAPTER *Adapter, _In_ IRP *Irp);

/* compat.c */
VOID CompatInstall(_Inout_ DRIVER_OBJECT *DriverObject);
