/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Sessions: how a program's rings become the driver's, and how every session ends. Five events end
 * one: cleanup of its last file, exit of its process, query-remove, surprise removal and halt. All
 * of them come here, at PASSIVE_LEVEL, and none may wait for a packet, a program or a thread.
 */
#include "tun.h"

/* The only place that touches addresses of a program. */
static DECLSPEC_NOINLINE BOOLEAN PagesLock(MDL *Mdl, KPROCESSOR_MODE Mode)
{
    __try {
        MmProbeAndLockPages(Mdl, Mode, IoWriteAccess);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return FALSE;
    }
    return TRUE;
}

VOID RingCreate(TUN_RING *Ring, UCHAR *Base, ULONG Capacity)
{
    Ring->Head = (ULONG volatile *)(Base + offsetof(WINTUN_RING, Head));
    Ring->Tail = (ULONG volatile *)(Base + offsetof(WINTUN_RING, Tail));
    Ring->Alertable = (LONG volatile *)(Base + offsetof(WINTUN_RING, Alertable));
    Ring->Data = Base + sizeof(WINTUN_RING);
    Ring->Capacity = Capacity;
    Ring->Unit = WINTUN_RING_ALIGNMENT;
}

/*
 * A program's ring, whose word at CursorAt is where we begin. What was made of it stays in Ring for
 * SessionDestroy, also on failure.
 */
static NTSTATUS RingMap(TUN_RING *Ring, const WINTUN_REGISTER_RING *Request, ULONG CursorAt,
                        ACCESS_MASK EventAccess, KPROCESSOR_MODE Mode)
{
    const ULONG Capacity = Request->RingSize - WINTUN_RING_OVERHEAD;
    const ULONG_PTR Address = (ULONG_PTR)Request->Ring;

    if (Capacity < WINTUN_RING_MIN_CAPACITY || Capacity > WINTUN_RING_MAX_CAPACITY ||
        Capacity & (Capacity - 1) || !Request->TailMoved || !Address || Address != Request->Ring ||
        Address % WINTUN_RING_ALIGNMENT || Address + Request->RingSize < Address)
        return STATUS_INVALID_PARAMETER;
    NTSTATUS Status =
        ObReferenceObjectByHandle((HANDLE)(ULONG_PTR)Request->TailMoved, EventAccess,
                                  *ExEventObjectType, Mode, (PVOID *)&Ring->TailMoved, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    /* For the real address: an unaligned ring spans one page more than its size tells. */
    Ring->Mdl = IoAllocateMdl((PVOID)Address, Request->RingSize, FALSE, FALSE, NULL);
    if (!Ring->Mdl)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (!PagesLock(Ring->Mdl, Mode))
        return STATUS_INVALID_USER_BUFFER;
    UCHAR *Base = MmGetSystemAddressForMdlSafe(Ring->Mdl, Driver.MapPriority);
    if (!Base)
        return STATUS_INSUFFICIENT_RESOURCES;
    RingCreate(Ring, Base, Capacity);
    Ring->Cursor = ReadULongNoFence((ULONG volatile *)(Base + CursorAt));
    Ring->HasEnded = Ring->Cursor >= Capacity;
    return Ring->HasEnded || Ring->Cursor % WINTUN_RING_ALIGNMENT == 0 ? STATUS_SUCCESS
                                                                       : STATUS_INVALID_PARAMETER;
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

static VOID SessionDestroy(TUN_SESSION *Session)
{
    RingDestroy(&Session->ToUser);
    RingDestroy(&Session->ToStack);
    PoolFree(Session->Memory);
    RtlZeroMemory(Session, sizeof(*Session));
}

/* Both rings, in the order in which existing clients see the statuses. */
static NTSTATUS SessionMap(TUN_SESSION *Session, const WINTUN_REGISTER_RINGS *Request,
                           KPROCESSOR_MODE Mode)
{
    NTSTATUS Status = RingMap(&Session->ToUser, &Request->ToUser, offsetof(WINTUN_RING, Tail),
                              EVENT_MODIFY_STATE, Mode);
    if (NT_SUCCESS(Status) && Session->ToUser.HasEnded)
        Status = STATUS_INVALID_PARAMETER;
    if (NT_SUCCESS(Status))
        Status = RingMap(&Session->ToStack, &Request->ToStack, offsetof(WINTUN_RING, Head),
                         SYNCHRONIZE | EVENT_MODIFY_STATE, Mode);
    if (NT_SUCCESS(Status))
        RingRelease(&Session->ToStack);
    return Status;
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
static NTSTATUS SessionAdmitLocked(const TUN_ADAPTER *Adapter)
{
    if (Adapter->IsRemoving || Adapter->IsRemoved)
        return NDIS_STATUS_ADAPTER_NOT_READY;
    return Adapter->IsStarting || Adapter->SessionKind ? STATUS_ALREADY_INITIALIZED
                                                       : STATUS_SUCCESS;
}

/*
 * Begins the session that was made, or destroys it: of rings when it has an owner, else of files.
 * The worker is made once for all sessions, because ending one must not wait for it. The gate is
 * open before the link is up, so that nothing that is sent then is lost.
 */
NTSTATUS SessionBeginLocked(TUN_ADAPTER *Adapter, TUN_SESSION *New)
{
    OBJECT_ATTRIBUTES Attributes;
    NTSTATUS Status = SessionAdmitLocked(Adapter);

    InitializeObjectAttributes(&Attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    if (NT_SUCCESS(Status) && !Adapter->Worker &&
        !NT_SUCCESS(PsCreateSystemThread(&Adapter->Worker, THREAD_ALL_ACCESS, &Attributes, NULL,
                                         NULL, ReceiveWorker, Adapter)))
        Status = STATUS_UNSUCCESSFUL;
    if (!NT_SUCCESS(Status)) {
        SessionDestroy(New);
        return Status;
    }
    Adapter->Session = *New;
    KeInitializeSpinLock(&Adapter->Session.ToUser.Lock);
    InitializeListHead(&Adapter->Session.ToUser.Open);
    Adapter->SessionId++;
    InterlockedExchange(&Adapter->SessionKind, New->Owner ? WintunSessionRings : WintunSessionFile);
    ExReInitializeRundownProtectionCacheAware(Adapter->RingGate);
    LinkIndicateLocked(Adapter, MediaConnectStateConnected);
    KeSetEvent(&Adapter->Kick, EVENT_INCREMENT, FALSE);
    return STATUS_SUCCESS;
}

/*
 * REGISTER_RINGS, in the context of the process whose addresses it has. The mutex is not held while
 * pages are locked, for that may take as long as a program likes (a page may be on a dead server);
 * IsStarting keeps others off meanwhile, and those who end sessions find none and pass. The process
 * cannot exit before this returns: one of its threads is here.
 */
NTSTATUS SessionRegister(TUN_ADAPTER *Adapter, FILE_OBJECT *Owner, KPROCESSOR_MODE Mode,
                         const WINTUN_REGISTER_RINGS *Request)
{
    TUN_SESSION New = {.Owner = Owner};

    if (Mode == UserMode)
        New.Process = PsGetCurrentProcessId();
    DriverLock();
    NTSTATUS Status = SessionAdmitLocked(Adapter);
    Adapter->IsStarting |= NT_SUCCESS(Status);
    DriverUnlock();
    if (!NT_SUCCESS(Status))
        return Status;
    Status = SessionMap(&New, Request, Mode);
    DriverLock();
    Adapter->IsStarting = FALSE;
    if (NT_SUCCESS(Status))
        Status = SessionBeginLocked(Adapter, &New);
    else
        SessionDestroy(&New);
    DriverUnlock();
    return Status;
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
    TUN_SESSION *Session = &Adapter->Session;
    const BOOLEAN IsMember = Session->Memory && Adapter->SessionId == Joined;

    if (Session->Owner == File || (IsMember && --Session->Files == 0))
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
