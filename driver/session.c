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

_Use_decl_annotations_ VOID RingCreate(TUN_RING *Ring, UCHAR *Base, ULONG Capacity)
{
    Ring->Head = (ULONG volatile *)(Base + offsetof(WINTUN_RING, Head));
    Ring->Tail = (ULONG volatile *)(Base + offsetof(WINTUN_RING, Tail));
    Ring->Alertable = (LONG volatile *)(Base + offsetof(WINTUN_RING, Alertable));
    Ring->Data = Base + sizeof(WINTUN_RING);
    Ring->Capacity = Capacity;
    KeInitializeSpinLock(&Ring->Lock);
    InitializeListHead(&Ring->Open);
}

/* A program's ring: what was made of it stays in Ring for RingDestroy, also on failure. */
static NTSTATUS RingMap(TUN_RING *Ring, const WINTUN_REGISTER_RING *Request,
                        ACCESS_MASK EventAccess, KPROCESSOR_MODE Mode)
{
    const ULONG Capacity = Request->RingSize - WINTUN_RING_OVERHEAD;
    const ULONG_PTR Address = (ULONG_PTR)Request->Ring;
    PVOID Event;

    if (Capacity < WINTUN_RING_MIN_CAPACITY || Capacity > WINTUN_RING_MAX_CAPACITY ||
        Capacity & (Capacity - 1) || !Request->TailMoved || !Address || Address != Request->Ring ||
        Address % WINTUN_RING_ALIGNMENT || Address + Request->RingSize < Address)
        return STATUS_INVALID_PARAMETER;
    NTSTATUS Status = ObReferenceObjectByHandle((HANDLE)(ULONG_PTR)Request->TailMoved, EventAccess,
                                                *ExEventObjectType, Mode, &Event, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    Ring->TailMoved = Event;
    /* For the real address: an unaligned ring spans one page more than its size tells. */
    MDL *Mdl = IoAllocateMdl((PVOID)Address, Request->RingSize, FALSE, FALSE, NULL);
    if (!Mdl)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (!PagesLock(Mdl, Mode)) {
        IoFreeMdl(Mdl);
        return STATUS_INVALID_USER_BUFFER;
    }
    Ring->Mdl = Mdl;
    UCHAR *Base = MmGetSystemAddressForMdlSafe(Mdl, Driver.MapPriority);
    if (!Base)
        return STATUS_INSUFFICIENT_RESOURCES;
    RingCreate(Ring, Base, Capacity);
    return STATUS_SUCCESS;
}

static VOID RingDestroy(TUN_RING *Ring)
{
    if (Ring->Mdl) {
        MmUnlockPages(Ring->Mdl); /* takes the system mapping with it */
        IoFreeMdl(Ring->Mdl);
    }
    if (Ring->TailMoved)
        ObDereferenceObject(Ring->TailMoved);
}

static VOID SessionDestroy(TUN_SESSION *Session)
{
    if (!Session)
        return;
    RingDestroy(&Session->ToUser);
    RingDestroy(&Session->ToStack);
    PoolFree(Session);
}

/* The request in the layout of a 64-bit program; the short one is for 32-bit programs alone. */
static NTSTATUS RequestRead(const IRP *Irp, WINTUN_REGISTER_RINGS *Request)
{
    const ULONG Bytes =
        IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceIoControl.InputBufferLength;
    const WINTUN_REGISTER_RINGS_32 *Short = Irp->AssociatedIrp.SystemBuffer;

    if (Bytes == sizeof(*Request)) {
        RtlCopyMemory(Request, Irp->AssociatedIrp.SystemBuffer, sizeof(*Request));
        return STATUS_SUCCESS;
    }
    if (Bytes != sizeof(*Short) || !IoIs32bitProcess((IRP *)Irp))
        return STATUS_INVALID_PARAMETER;
    *Request = (WINTUN_REGISTER_RINGS){
        .ToUser = {Short->ToUser.RingSize, 0, Short->ToUser.Ring, Short->ToUser.TailMoved},
        .ToStack = {Short->ToStack.RingSize, 0, Short->ToStack.Ring, Short->ToStack.TailMoved},
    };
    return STATUS_SUCCESS;
}

/* In the order in which existing clients see the statuses. */
static NTSTATUS SessionMap(TUN_SESSION *Session, const IRP *Irp)
{
    TUN_RING *ToUser = &Session->ToUser, *ToStack = &Session->ToStack;
    WINTUN_REGISTER_RINGS Request;

    NTSTATUS Status = RequestRead(Irp, &Request);
    if (NT_SUCCESS(Status))
        Status = RingMap(ToUser, &Request.ToUser, EVENT_MODIFY_STATE, Irp->RequestorMode);
    if (!NT_SUCCESS(Status))
        return Status;
    ToUser->Cursor = ReadULongNoFence(ToUser->Tail);
    if (ToUser->Cursor >= ToUser->Capacity || ToUser->Cursor % WINTUN_RING_ALIGNMENT)
        return STATUS_INVALID_PARAMETER;

    Status =
        RingMap(ToStack, &Request.ToStack, SYNCHRONIZE | EVENT_MODIFY_STATE, Irp->RequestorMode);
    if (!NT_SUCCESS(Status))
        return Status;
    ToStack->Cursor = ReadULongNoFence(ToStack->Head);
    ToStack->HasEnded = ToStack->Cursor >= ToStack->Capacity;
    RingRelease(ToStack);
    return !ToStack->HasEnded && ToStack->Cursor % WINTUN_RING_ALIGNMENT ? STATUS_INVALID_PARAMETER
                                                                         : STATUS_SUCCESS;
}

/*
 * Begins a session that is complete; the gate opens last. The worker is made once for all sessions,
 * because ending one must not wait for it.
 */
_Use_decl_annotations_ NTSTATUS SessionBeginLocked(TUN_ADAPTER *Adapter, TUN_SESSION *Session)
{
    OBJECT_ATTRIBUTES Attributes;

    if (Adapter->IsRemoving || Adapter->IsRemoved)
        return NDIS_STATUS_ADAPTER_NOT_READY;
    InitializeObjectAttributes(&Attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    if (!Adapter->Worker &&
        !NT_SUCCESS(PsCreateSystemThread(&Adapter->Worker, THREAD_ALL_ACCESS, &Attributes, NULL,
                                         NULL, ReceiveWorker, Adapter))) {
        Adapter->Worker = NULL;
        return STATUS_UNSUCCESSFUL;
    }
    Adapter->SessionId += 2;
    Session->Id = Adapter->SessionId;
    Adapter->Session = Session;
    if (Session->IsCompat) {
        Adapter->CompatFile = Session->Owner;
        KeClearEvent(&Adapter->CompatClosed);
    }
    KeClearEvent(&Adapter->LinkSettled);
    WriteRelease(&Adapter->LinkWanted, TRUE);
    ReadsAllow(Adapter, Session->Kind == WintunSessionFile ? Session->Id : 0);
    KeMemoryBarrier();
    ExReInitializeRundownProtectionCacheAware(Adapter->RingGate);
    KeSetEvent(&Adapter->Kick, EVENT_INCREMENT, FALSE);
    return STATUS_SUCCESS;
}

/* The caller's session has its link when it returns. Without the mutex: the worker is in NDIS. */
_Use_decl_annotations_ VOID SessionAwaitLink(TUN_ADAPTER *Adapter)
{
    KeWaitForSingleObject(&Adapter->LinkSettled, Executive, KernelMode, FALSE, NULL);
}

/*
 * REGISTER_RINGS, in the context of the process whose addresses it has. The mutex is not held while
 * pages are locked, for that may take as long as a program likes (a page may be on a dead server);
 * IsStarting keeps others off meanwhile, and those who end sessions find none and pass. The process
 * cannot exit before this returns: one of its threads is here.
 */
_Use_decl_annotations_ NTSTATUS SessionRegister(TUN_ADAPTER *Adapter, IRP *Irp, BOOLEAN IsCompat)
{
    NTSTATUS Status = STATUS_SUCCESS;

    if (Irp->RequestorMode == UserMode && IoGetRequestorProcess(Irp) != PsGetCurrentProcess())
        return STATUS_INVALID_DEVICE_REQUEST;
    DriverLock();
    if (Adapter->IsRemoving || Adapter->IsRemoved)
        Status = NDIS_STATUS_ADAPTER_NOT_READY;
    else if (Adapter->IsStarting || Adapter->Session)
        Status = STATUS_ALREADY_INITIALIZED;
    else
        Adapter->IsStarting = TRUE;
    DriverUnlock();
    if (!NT_SUCCESS(Status))
        return Status;

    TUN_SESSION *Session = PoolAlloc(sizeof(*Session));
    Status = Session ? SessionMap(Session, Irp) : STATUS_INSUFFICIENT_RESOURCES;
    DriverLock();
    Adapter->IsStarting = FALSE;
    if (NT_SUCCESS(Status)) {
        Session->Kind = WintunSessionRings;
        Session->Process = Irp->RequestorMode == UserMode ? PsGetCurrentProcessId() : NULL;
        Session->Owner = IoGetCurrentIrpStackLocation(Irp)->FileObject;
        Session->IsCompat = IsCompat;
        Status = SessionBeginLocked(Adapter, Session);
    }
    DriverUnlock();
    if (NT_SUCCESS(Status))
        SessionAwaitLink(Adapter);
    else
        SessionDestroy(Session);
    return Status;
}

/*
 * Ends the session, if there is one. Exactly once: the mutex admits one caller, who takes it out.
 * After the wait nobody holds a pointer to it: senders, readers and the worker have it only inside
 * the gate, which lets nobody in any more, and others only under the mutex; to the event that the
 * worker may be waiting for it has a reference. The wait is short: the gate is held at
 * DISPATCH_LEVEL for one bounded copy. So the program's pages are unlocked when this returns, which
 * bug check 0x76 demands of the process-exit callback. What is left, reads and buffers and the
 * link, needs nothing of the program; the worker sees to it, outside every lock.
 */
_Use_decl_annotations_ VOID SessionEndLocked(TUN_ADAPTER *Adapter)
{
    TUN_SESSION *Session = Adapter->Session;

    if (!Session)
        return;
    ExWaitForRundownProtectionReleaseCacheAware(Adapter->RingGate);
    Adapter->Session = NULL;
    ReadsAllow(Adapter, 0);
    if (Session->Kind == WintunSessionRings) {
        WriteULongRelease(Session->ToStack.Head, WINTUN_RING_ENDED);
        WriteULongRelease(Session->ToUser.Tail, WINTUN_RING_ENDED);
        KeSetEvent(Session->ToUser.TailMoved, EVENT_INCREMENT, FALSE);
    }
    SessionDestroy(Session);
    WriteRelease(&Adapter->LinkWanted, FALSE);
    KeSetEvent(&Adapter->Kick, EVENT_INCREMENT, FALSE);
}

/*
 * A file goes: at its cleanup, when no handle to it is left in any process, and once more at its
 * close, because a registration on another thread may have been under way at the cleanup; at the
 * close it is over.
 */
_Use_decl_annotations_ VOID SessionLeaveLocked(TUN_ADAPTER *Adapter, const FILE_OBJECT *File,
                                               LONG Member)
{
    TUN_SESSION *Session = Adapter->Session;

    if (Session && (Session->Owner == File || (Session->Id == Member && --Session->Files == 0)))
        SessionEndLocked(Adapter);
}

/* The process that began a session exits, though duplicates of its handles may live on elsewhere.
 */
_Use_decl_annotations_ VOID SessionProcessNotify(HANDLE ParentId, HANDLE ProcessId, BOOLEAN Create)
{
    if (Create)
        return;
    DriverLock();
    for (LIST_ENTRY *Entry = Driver.Adapters.Flink; Entry != &Driver.Adapters;
         Entry = Entry->Flink) {
        TUN_ADAPTER *Adapter = CONTAINING_RECORD(Entry, TUN_ADAPTER, Entry);
        if (Adapter->Session && Adapter->Session->Process == ProcessId)
            SessionEndLocked(Adapter);
    }
    DriverUnlock();
}
