/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What the files of the driver share: its objects, the verbs that alone touch shared indices, and
 * the rules of locking. Nothing here may depend on who uses a session: rings, files or the kernel.
 *
 * Locks. A lock may be taken while holding those to the right of "after"; nothing else.
 *   Driver.Mutex         mutex, PASSIVE    adapter list, control device, who has which session
 *   TUN_ADAPTER.RingGate rundown, DISPATCH Session and its rings; after: Driver.Mutex (to close it)
 *   TUN_ADAPTER.FlowGate rundown, DISPATCH what NDIS waits for when it pauses the adapter
 *   TUN_RING.Lock        spin, DISPATCH    Cursor and Open of a ring to the user; after: RingGate
 *   TUN_ADAPTER.ReadLock spin, DISPATCH    pending reads; after: Driver.Mutex, RingGate
 *   TUN_POOL.Lock        spin, DISPATCH    free receive buffers; after: Driver.Mutex, both gates
 *
 * The gates are held at DISPATCH_LEVEL only: a thread of a program that were suspended inside one
 * would make pause or the end of a session wait for user mode. The ring gate is open while there is
 * a session and is never held across a call into NDIS or the completion of an IRP. The flow gate is
 * open while NDIS lets the adapter run; each list that the stack holds has a reference to it.
 */
#pragma once

#include <ndis.h>
#include <wintun-abi.h>

#define TUN_TAG           0x6E757477U /* "wtun" in memory */
#define TUN_TURN_BYTES    0x40000U    /* most that is copied while a gate is held */
#define TUN_BATCH         64U         /* most packets in one receive indication */
#define TUN_PUMP_TURNS    4U        /* most reads that a sender completes before the worker does */
#define TUN_STATISTICS    0x3F87FFU /* NDIS_STATISTICS_FLAGS_VALID_: all that count something */
#define TUN_MEMBER_CLOSED 2         /* a file after cleanup, for which a session's Id may stand */
#define TUN_FILE_CAPACITY 0x100000U /* of the ring behind ReadFile */

/* A room in a ring that a sender is copying to: lives on its stack, in the order of the rooms. */
typedef struct TUN_ROOM {
    LIST_ENTRY Entry;
    ULONG Start;
} TUN_ROOM;

/*
 * The driver's view of a ring. Head, Tail, Alertable and Data of a registered ring are shared with
 * a program that may write anything there at any time; all else is the driver's own.
 */
typedef struct TUN_RING {
    ULONG volatile *Head, *Tail;
    LONG volatile *Alertable;
    UCHAR *Data;       /* NULL: never made */
    ULONG Capacity;    /* power of two; constant */
    ULONG Cursor;      /* producer: next Tail, guarded by Lock; consumer: next Head, its own */
    KSPIN_LOCK Lock;   /* producer only */
    LIST_ENTRY Open;   /* producer only: rooms being filled, oldest first; guarded by Lock */
    BOOLEAN HasEnded;  /* consumer only: the program broke it */
    MDL *Mdl;          /* the program's pages, locked; NULL for a ring of the driver's own */
    KEVENT *TailMoved; /* referenced; NULL for a ring of the driver's own */
} TUN_RING;

typedef struct TUN_SESSION {
    LONG Id;            /* never 0, of this session alone */
    ULONG Kind;         /* WintunSessionRings or WintunSessionFile */
    HANDLE Process;     /* id of the one that began it; NULL: the kernel */
    FILE_OBJECT *Owner; /* rings: whose cleanup ends it; not referenced */
    BOOLEAN IsCompat;   /* Owner is a file of NDIS's own device */
    LONG Files;         /* file session: files that joined and are not cleaned up; Driver.Mutex */
    TUN_RING ToUser, ToStack;
    TUN_RING Reads; /* file session: the readers' view of ToUser, instead of ToStack */
} TUN_SESSION;

/* Receive buffers, made with a session and freed after it; those in the stack come back later. */
typedef struct TUN_BUFFER TUN_BUFFER;
typedef struct TUN_POOL {
    KSPIN_LOCK Lock;
    TUN_BUFFER *Free[2];         /* by class: small, large; all three guarded by Lock */
    ULONG FreeCount[2], Made[2]; /* Made: wherever they are */
    LONG volatile IsWanted;      /* a session uses them; set TRUE under Lock */
    NDIS_HANDLE Lists;           /* NDIS pool of lists without data; constant */
} TUN_POOL;

/* A miniport instance. After halt it is the shell that open files refer to, with both gates shut.
 */
typedef struct TUN_ADAPTER {
    LIST_ENTRY Entry;         /* Driver.Mutex */
    LONG volatile References; /* the miniport's, and one per open file */
    NDIS_HANDLE Handle;       /* valid until halt; used under the flow gate or by Worker */
    DEVICE_OBJECT *Device;    /* NDIS's; only compared */
    UNICODE_STRING Name;      /* "{NetCfgInstanceId}"; constant */
    WCHAR NameBuffer[40];
    SECURITY_DESCRIPTOR *Security; /* self-relative; constant. NULL: the driver's default */
    PEX_RUNDOWN_REF_CACHE_AWARE RingGate, FlowGate;
    TUN_SESSION *Session;       /* written under Driver.Mutex while RingGate is shut */
    LONG SessionCount;          /* odd, so that no Id is 0; Driver.Mutex */
    BOOLEAN IsStarting;         /* somebody is making a session; Driver.Mutex */
    BOOLEAN IsRemoving;         /* query-remove was seen; Driver.Mutex */
    BOOLEAN volatile IsRemoved; /* surprise removal or halt; set under Driver.Mutex */
    BOOLEAN volatile IsPaused;  /* told to those who query; the flow gate decides */
    FILE_OBJECT *CompatFile;    /* registered on NDIS's device, not closed; Driver.Mutex */
    KEVENT CompatClosed;
    HANDLE Worker;      /* thread; made by the first session, joined by halt */
    KEVENT Kick;        /* private: the worker has something to do */
    KEVENT LinkSettled; /* the worker has said what LinkWanted was */
    LONG volatile LinkWanted, IsStopping;
    LONG LinkIs; /* as last indicated; the worker's own */
    TUN_POOL Pool;
    IO_CSQ Csq; /* pending reads */
    KSPIN_LOCK ReadLock;
    LIST_ENTRY Reads;          /* ReadLock */
    LONG volatile ReadSession; /* whose files may queue reads; 0: none; ReadLock */
    LONG volatile Pump;        /* calls of ReadsPump that the one inside has not seen */
    LONG64 volatile Counters[WintunCounterCount];
} TUN_ADAPTER;

typedef struct TUN_DRIVER {
    NDIS_HANDLE Handle;
    ULONG NdisVersion; /* negotiated; constant */
    ULONG MapPriority; /* for system mappings, non-executable where that exists */
    POOL_TYPE PoolType;
    PVOID(NTAPI *AllocatePool2)(POOL_FLAGS, SIZE_T, ULONG); /* NULL before Windows 10 2004 */
    KMUTEX Mutex;
    LIST_ENTRY Adapters;
} TUN_DRIVER;
extern TUN_DRIVER Driver;

/* ---- The four verbs of a ring: nothing else touches its indices ---- */

typedef enum TUN_RESULT { RingDone, RingEmpty, RingFull, RingCorrupt } TUN_RESULT;

FORCEINLINE ULONG RingRecordBytes(ULONG PacketBytes)
{
    return (WINTUN_RING_RECORD + PacketBytes + WINTUN_RING_ALIGNMENT - 1) &
           ~(WINTUN_RING_ALIGNMENT - 1);
}

/*
 * Producer: takes room for Bytes. Head is read under the lock that orders the rooms: read before
 * it, another sender's room would not be subtracted and unread records would be overwritten. The
 * acquire pairs with the release by which the consumer says that it is done with the bytes before
 * Head.
 */
_IRQL_requires_(DISPATCH_LEVEL) FORCEINLINE TUN_RESULT
    RingReserve(_Inout_ TUN_RING *Ring, ULONG Bytes, _Out_ TUN_ROOM *Room)
{
    TUN_RESULT Result = RingFull;

    KeAcquireSpinLockAtDpcLevel(&Ring->Lock);
    ULONG Head = ReadULongAcquire(Ring->Head);
    if (Head >= Ring->Capacity || Head % WINTUN_RING_ALIGNMENT) {
        Result = RingCorrupt;
    } else if (Bytes <= ((Head - Ring->Cursor - WINTUN_RING_ALIGNMENT) & (Ring->Capacity - 1))) {
        Room->Start = Ring->Cursor;
        Ring->Cursor = (Ring->Cursor + Bytes) & (Ring->Capacity - 1);
        InsertTailList(&Ring->Open, &Room->Entry);
        Result = RingDone;
    }
    KeReleaseSpinLockFromDpcLevel(&Ring->Lock);
    return Result;
}

/*
 * Producer: the room is filled. Tail may only pass what is filled, so the oldest room publishes for
 * all filled ones behind it, up to the next open room; a younger one leaves that to it. Nobody
 * waits. TRUE when Tail moved. The release makes the packets visible before Tail.
 */
_IRQL_requires_(DISPATCH_LEVEL) FORCEINLINE BOOLEAN
    RingCommit(_Inout_ TUN_RING *Ring, _Inout_ TUN_ROOM *Room)
{
    KeAcquireSpinLockAtDpcLevel(&Ring->Lock);
    BOOLEAN IsOldest = Ring->Open.Flink == &Room->Entry;
    RemoveEntryList(&Room->Entry);
    if (IsOldest)
        WriteULongRelease(Ring->Tail,
                          IsListEmpty(&Ring->Open)
                              ? Ring->Cursor
                              : CONTAINING_RECORD(Ring->Open.Flink, TUN_ROOM, Entry)->Start);
    KeReleaseSpinLockFromDpcLevel(&Ring->Lock);
    return IsOldest;
}

/*
 * Consumer: the record at the cursor, which stays there. Tail and Size are read once each and
 * checked as read; the packet itself may still change. The acquire pairs with the producer's
 * release.
 */
FORCEINLINE TUN_RESULT RingPeek(_In_ const TUN_RING *Ring, _Outptr_ const UCHAR **Packet,
                                _Out_ ULONG *Size)
{
    ULONG Tail = ReadULongAcquire(Ring->Tail);
    ULONG Used = (Tail - Ring->Cursor) & (Ring->Capacity - 1);

    if (Ring->HasEnded || Tail == Ring->Cursor)
        return RingEmpty;
    if (Tail >= Ring->Capacity || Used < WINTUN_RING_RECORD)
        return RingCorrupt;
    *Size = ReadULongNoFence((ULONG volatile *)(Ring->Data + Ring->Cursor));
    *Packet = Ring->Data + Ring->Cursor + WINTUN_RING_RECORD;
    return *Size > WINTUN_MAX_PACKET || RingRecordBytes(*Size) > Used ? RingCorrupt : RingDone;
}

/* Consumer: steps over the record that was peeked; RingRelease gives back all that was stepped
 * over. */
FORCEINLINE VOID RingStep(_Inout_ TUN_RING *Ring, ULONG Size)
{
    Ring->Cursor = (Ring->Cursor + RingRecordBytes(Size)) & (Ring->Capacity - 1);
}

FORCEINLINE VOID RingRelease(_Inout_ TUN_RING *Ring)
{
    WriteULongRelease(Ring->Head, Ring->Cursor);
}

/* Either side, about its own index: nothing more will come. */
FORCEINLINE VOID RingEnd(_Out_ ULONG volatile *Index)
{
    WriteULongRelease(Index, WINTUN_RING_ENDED);
}

/* The session, or NULL when there is none; it and its rings stay until GateLeave. */
_IRQL_raises_(DISPATCH_LEVEL) FORCEINLINE TUN_SESSION *GateEnter(_In_ TUN_ADAPTER *Adapter,
                                                                 _Out_ _IRQL_saves_ KIRQL *Irql)
{
    *Irql = KeRaiseIrqlToDpcLevel();
    if (ExAcquireRundownProtectionCacheAware(Adapter->RingGate))
        return Adapter->Session;
    KeLowerIrql(*Irql);
    return NULL;
}

FORCEINLINE VOID GateLeave(_In_ TUN_ADAPTER *Adapter, _IRQL_restores_ KIRQL Irql)
{
    ExReleaseRundownProtectionCacheAware(Adapter->RingGate);
    KeLowerIrql(Irql);
}

FORCEINLINE ULONG Least(ULONG One, ULONG Other)
{
    return One < Other ? One : Other;
}

FORCEINLINE VOID Count(_Inout_ TUN_ADAPTER *Adapter, ULONG Counter, ULONG64 Amount)
{
    InterlockedAdd64(&Adapter->Counters[Counter], (LONG64)Amount);
}

/* main.c */
PVOID PoolAlloc(SIZE_T Bytes); /* zeroed, nonpaged; NULL when there is none */
VOID PoolFree(_In_opt_ PVOID Memory);
VOID DriverLock(VOID);
VOID DriverUnlock(VOID);

/* adapter.c */
MINIPORT_INITIALIZE AdapterInitialize;
MINIPORT_HALT AdapterHalt;
MINIPORT_PAUSE AdapterPause;
MINIPORT_RESTART AdapterRestart;
MINIPORT_DEVICE_PNP_EVENT_NOTIFY AdapterPnpEvent;
VOID AdapterDereference(_In_ TUN_ADAPTER *Adapter);
VOID AdapterIndicateLink(_Inout_ TUN_ADAPTER *Adapter);

/* oid.c */
extern const NDIS_OID OidList[];
extern const ULONG OidListBytes;
MINIPORT_OID_REQUEST OidRequest;
MINIPORT_DIRECT_OID_REQUEST OidDirect;

/* session.c */
NTSTATUS SessionRegister(_In_ TUN_ADAPTER *Adapter, _In_ IRP *Irp, BOOLEAN IsCompat);
NTSTATUS SessionJoin(_In_ TUN_ADAPTER *Adapter, _Inout_ LONG volatile *Member,
                     KPROCESSOR_MODE Mode);
VOID SessionLeaveLocked(_In_ TUN_ADAPTER *Adapter, _In_ const FILE_OBJECT *File, LONG Member);
VOID SessionEndLocked(_In_ TUN_ADAPTER *Adapter);
CREATE_PROCESS_NOTIFY_ROUTINE SessionProcessNotify;

/* send.c */
MINIPORT_SEND_NET_BUFFER_LISTS SendNetBufferLists;

/* receive.c */
KSTART_ROUTINE ReceiveWorker;
MINIPORT_RETURN_NET_BUFFER_LISTS ReceiveReturn;
VOID ReceiveBundle(_In_ TUN_ADAPTER *Adapter, _In_reads_bytes_(Bytes) const UCHAR *Bundle,
                   ULONG Bytes);
NTSTATUS PoolFill(_Inout_ TUN_POOL *Pool);
VOID PoolTrim(_Inout_ TUN_POOL *Pool);

/* device.c */
NTSTATUS DeviceAdd(_In_ TUN_ADAPTER *Adapter);
VOID DeviceRemoveLocked(_In_ TUN_ADAPTER *Adapter);
BOOLEAN DeviceOwns(_In_opt_ const FILE_OBJECT *File);
NTSTATUS DeviceCheckAccess(_In_opt_ const TUN_ADAPTER *Adapter,
                           _In_ SECURITY_SUBJECT_CONTEXT *Subject, ACCESS_MASK Desired,
                           KPROCESSOR_MODE Mode);
NTSTATUS DeviceComplete(_In_ IRP *Irp, NTSTATUS Status, ULONG_PTR Information);
VOID ReadsCreate(_Inout_ TUN_ADAPTER *Adapter);
VOID ReadsPump(_In_ TUN_ADAPTER *Adapter, ULONG Turns);
VOID ReadsAllow(_Inout_ TUN_ADAPTER *Adapter, LONG SessionId);
VOID ReadsFlush(_In_ TUN_ADAPTER *Adapter);
ULONG BundleRecord(_In_reads_bytes_(Left) const UCHAR *Bundle, ULONG Left, _Out_ ULONG *Size);

/* compat.c */
VOID CompatInstall(_In_ DRIVER_OBJECT *DriverObject);
