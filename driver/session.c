/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Sessions: how every one begins and ends. Five events end one: cleanup of its last file, exit of
 * its process, query-remove, surprise removal and halt. All of them come here, at PASSIVE_LEVEL,
 * and none may wait for a packet, a program or a thread.
 */
#include "tun.h"

VOID RingCreate(TUN_RING *Ring, UCHAR *Base, ULONG Capacity)
{
    Ring->Head = (ULONG volatile *)(Base + offsetof(WINTUN_RING, Head));
    Ring->Tail = (ULONG volatile *)(Base + offsetof(WINTUN_RING, Tail));
    Ring->Alertable = (LONG volatile *)(Base + offsetof(WINTUN_RING, Alertable));
    Ring->Data = Base + sizeof(WINTUN_RING);
    Ring->Capacity = Capacity;
    Ring->Unit = WINTUN_RING_ALIGNMENT;
}

static VOID RingDestroy(TUN_RING *Ring)
{
    if (Ring->Mdl && Ring->Mdl->MdlFlags & MDL_PAGES_LOCKED)
        MmUnlockPages(Ring->Mdl); /* takes the system mapping with it */
    if (Ring->Mdl)
        IoFreeMdl(Ring->Mdl);
    if (Ring->TailMoved)
        ObDereferenceObject(Ring->TailMoved);
}

VOID SessionDestroy(TUN_SESSION *Session)
{
    RingDestroy(&Session->ToUser);
    RingDestroy(&Session->ToStack);
    PoolFree(Session->Memory);
    RtlZeroMemory(Session, sizeof(*Session));
}

/*
 * By who begins or ends a session, under the mutex, so that what NDIS hears last is what is. At
 * DISPATCH_LEVEL, where protocols and filters expect it (ProtocolStatusEx, FilterStatus) and cannot
 * wait: nobody is held up but for what they have to do.
 */
static VOID LinkIndicateLocked(const TUN_ADAPTER *Adapter, NDIS_MEDIA_CONNECT_STATE State)
{
    NDIS_LINK_STATE Link = {
        .Header = TUN_HEADER(DEFAULT, LINK_STATE, 1),
        .MediaConnectState = State,
        .MediaDuplexState = MediaDuplexStateFull,
        .XmitLinkSpeed = TUN_LINK_SPEED,
        .RcvLinkSpeed = TUN_LINK_SPEED,
        .AutoNegotiationFlags = TUN_NEGOTIATED,
    };
    NDIS_STATUS_INDICATION Indication = {
        .Header = TUN_HEADER(STATUS_INDICATION, STATUS_INDICATION, 1),
        .SourceHandle = Adapter->Handle,
        .StatusCode = NDIS_STATUS_LINK_STATE,
        .StatusBuffer = &Link,
        .StatusBufferSize = sizeof(Link),
    };

    const KIRQL Irql = KeRaiseIrqlToDpcLevel();
    NdisMIndicateStatusEx(Adapter->Handle, &Indication);
    KeLowerIrql(Irql);
}

/* There is at most one session, and none begins while the adapter goes. */
NTSTATUS SessionAdmitLocked(const TUN_ADAPTER *Adapter)
{
    if (Adapter->IsRemoving || Adapter->IsRemoved)
        return NDIS_STATUS_ADAPTER_NOT_READY;
    return Adapter->IsStarting || Adapter->SessionKind ? STATUS_ALREADY_INITIALIZED
                                                       : STATUS_SUCCESS;
}

/* Begins a session that was admitted: of rings when it has an owner, else of files. The gate is
 * open before the link is up, so that nothing that is sent then is lost. */
VOID SessionBeginLocked(TUN_ADAPTER *Adapter, const TUN_SESSION *New)
{
    Adapter->Session = *New;
    KeInitializeSpinLock(&Adapter->Session.ToUser.Lock);
    InitializeListHead(&Adapter->Session.ToUser.Open);
    Adapter->SessionId++;
    InterlockedExchange(&Adapter->SessionKind, New->Owner ? WintunSessionRings : WintunSessionFile);
    ExReInitializeRundownProtectionCacheAware(Adapter->RingGate);
    LinkIndicateLocked(Adapter, MediaConnectStateConnected);
    KeSetEvent(&Adapter->Kick, EVENT_INCREMENT, FALSE);
}

/*
 * Ends the session, if there is one. Exactly once: the mutex admits one caller, who takes it out.
 * After the wait nobody holds a pointer to it: senders and the worker have it only inside the gate,
 * which lets nobody in any more, and others only under the mutex; to the event that the worker may
 * be waiting for it has a reference. The wait is short: the gate is held at DISPATCH_LEVEL for one
 * bounded copy. So the program's pages are unlocked when this returns, which bug check 0x76 demands
 * of the process-exit callback. What is left, reads and buffers and the link, needs nothing of the
 * program.
 */
VOID SessionEndLocked(TUN_ADAPTER *Adapter)
{
    TUN_SESSION *Session = &Adapter->Session;

    if (!InterlockedExchange(&Adapter->SessionKind, WintunSessionNone))
        return;
    ExWaitForRundownProtectionReleaseCacheAware(Adapter->RingGate);
    if (Session->Owner) {
        WriteULongRelease(Session->ToStack.Head, WINTUN_RING_ENDED);
        WriteULongRelease(Session->ToUser.Tail, WINTUN_RING_ENDED);
        KeSetEvent(Session->ToUser.TailMoved, EVENT_INCREMENT, FALSE);
    }
    SessionDestroy(Session);
    ReadsEndLocked(Adapter, NULL, STATUS_FILE_FORCED_CLOSED);
    ReceiveTrim(Adapter);
    KeSetEvent(&Adapter->Kick, EVENT_INCREMENT, FALSE);
    LinkIndicateLocked(Adapter, MediaConnectStateDisconnected);
}

/*
 * A file goes: at its cleanup, when no handle to it is left in any process, and once more at its
 * close, because a registration on another thread may have been under way at the cleanup; at the
 * close it is over.
 */
VOID SessionLeaveLocked(TUN_ADAPTER *Adapter, const FILE_OBJECT *File, LONG Joined)
{
    if (Adapter->Session.Owner == File ||
        (Adapter->Session.Memory && Adapter->SessionId == Joined && --Adapter->Session.Files == 0))
        SessionEndLocked(Adapter);
}

/* The process that began a session exits, though duplicates of its handles may live on elsewhere.
 */
VOID SessionProcessNotify(HANDLE ParentId, HANDLE ProcessId, BOOLEAN Create)
{
    if (Create)
        return;
    DriverLock();
    for (TUN_ADAPTER *Adapter = Driver.Adapters; Adapter; Adapter = Adapter->Next)
        if (Adapter->Session.Process == ProcessId)
            SessionEndLocked(Adapter);
    DriverUnlock();
}
