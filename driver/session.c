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
    KeInitializeSpinLock(&Ring->Lock);
    InitializeListHead(&Ring->Open);
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

/*
 * Makes a session of a request, in the order in which existing clients see the statuses. The short
 * layout is for 32-bit programs alone.
 */
static NTSTATUS SessionMap(TUN_SESSION *Session, IRP *Irp)
{
    const IO_STACK_LOCATION *Stack = IoGetCurrentIrpStackLocation(Irp);
    const ULONG Bytes = Stack->Parameters.DeviceIoControl.InputBufferLength;
    const WINTUN_REGISTER_RINGS_32 *Short = Irp->AssociatedIrp.SystemBuffer;
    WINTUN_REGISTER_RINGS Request;

    if (Bytes == sizeof(Request))
        RtlCopyMemory(&Request, Irp->AssociatedIrp.SystemBuffer, sizeof(Request));
    else if (Bytes == sizeof(*Short) && IoIs32bitProcess(Irp))
        Request = (WINTUN_REGISTER_RINGS){
            .ToUser = {Short->ToUser.RingSize, 0, Short->ToUser.Ring, Short->ToUser.TailMoved},
            .ToStack = {Short->ToStack.RingSize, 0, Short->ToStack.Ring, Short->ToStack.TailMoved},
        };
    else
        return STATUS_INVALID_PARAMETER;
    NTSTATUS Status = RingMap(&Session->ToUser, &Request.ToUser, offsetof(WINTUN_RING, Tail),
                              EVENT_MODIFY_STATE, Irp->RequestorMode);
    if (NT_SUCCESS(Status) && Session->ToUser.HasEnded)
        Status = STATUS_INVALID_PARAMETER;
    if (NT_SUCCESS(Status))
        Status = RingMap(&Session->ToStack, &Request.ToStack, offsetof(WINTUN_RING, Head),
                         SYNCHRONIZE | EVENT_MODIFY_STATE, Irp->RequestorMode);
    if (NT_SUCCESS(Status))
        RingRelease(&Session->ToStack);
    return Status;
}

/*
 * Begins the session that was made, or destroys it: of rings when it has an owner, else of files.
 * The gate opens last. The worker is made once for all sessions, because ending one must not wait
 * for it.
 */
NTSTATUS SessionBeginLocked(TUN_ADAPTER *Adapter, HANDLE Process, FILE_OBJECT *Owner)
{
    TUN_SESSION *Session = &Adapter->Session;
    OBJECT_ATTRIBUTES Attributes;
    NTSTATUS Status = STATUS_SUCCESS;

    InitializeObjectAttributes(&Attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    if (Adapter->IsRemoving || Adapter->IsRemoved)
        Status = NDIS_STATUS_ADAPTER_NOT_READY;
    else if (!Adapter->Worker &&
             !NT_SUCCESS(PsCreateSystemThread(&Adapter->Worker, THREAD_ALL_ACCESS, &Attributes,
                                              NULL, NULL, ReceiveWorker, Adapter)))
        Status = STATUS_UNSUCCESSFUL;
    if (!NT_SUCCESS(Status)) {
        SessionDestroy(Session);
        return Status;
    }
    Session->Kind = Owner ? WintunSessionRings : WintunSessionFile;
    Session->Owner = Owner;
    Session->Process = Process;
    Adapter->SessionId += 2;
    KeClearEvent(&Adapter->LinkSettled);
    WriteRelease(&Adapter->LinkWanted, TRUE);
    ReadsAllow(Adapter, Owner ? 0 : Adapter->SessionId);
    KeMemoryBarrier();
    ExReInitializeRundownProtectionCacheAware(Adapter->RingGate);
    KeSetEvent(&Adapter->Kick, EVENT_INCREMENT, FALSE);
    return STATUS_SUCCESS;
}

/*
 * REGISTER_RINGS, in the context of the process whose addresses it has. The mutex is not held while
 * pages are locked, for that may take as long as a program likes (a page may be on a dead server);
 * IsStarting keeps others off meanwhile, and those who end sessions find none and pass. The process
 * cannot exit before this returns: one of its threads is here. At the end without the mutex: the
 * caller's session has its link when this returns, and the worker is in NDIS for it.
 */
NTSTATUS SessionRegister(TUN_ADAPTER *Adapter, IRP *Irp)
{
    const HANDLE Process = Irp->RequestorMode == UserMode ? PsGetCurrentProcessId() : NULL;
    FILE_OBJECT *Owner = IoGetCurrentIrpStackLocation(Irp)->FileObject;
    NTSTATUS Status = STATUS_SUCCESS;

    if (!Owner || (Process && IoGetRequestorProcess(Irp) != PsGetCurrentProcess()))
        return STATUS_INVALID_DEVICE_REQUEST;
    DriverLock();
    if (Adapter->IsRemoving || Adapter->IsRemoved)
        Status = NDIS_STATUS_ADAPTER_NOT_READY;
    else if (Adapter->IsStarting || Adapter->Session.Kind)
        Status = STATUS_ALREADY_INITIALIZED;
    else
        Adapter->IsStarting = TRUE;
    DriverUnlock();
    if (!NT_SUCCESS(Status))
        return Status;

    Status = SessionMap(&Adapter->Session, Irp);
    DriverLock();
    Adapter->IsStarting = FALSE;
    if (NT_SUCCESS(Status))
        Status = SessionBeginLocked(Adapter, Process, Owner);
    else
        SessionDestroy(&Adapter->Session);
    DriverUnlock();
    if (NT_SUCCESS(Status))
        KeWaitForSingleObject(&Adapter->LinkSettled, Executive, KernelMode, FALSE, NULL);
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
VOID SessionEndLocked(TUN_ADAPTER *Adapter)
{
    TUN_SESSION *Session = &Adapter->Session;

    if (!Session->Kind)
        return;
    ExWaitForRundownProtectionReleaseCacheAware(Adapter->RingGate);
    ReadsAllow(Adapter, 0);
    if (Session->Owner) {
        WriteULongRelease(Session->ToStack.Head, WINTUN_RING_ENDED);
        WriteULongRelease(Session->ToUser.Tail, WINTUN_RING_ENDED);
        KeSetEvent(Session->ToUser.TailMoved, EVENT_INCREMENT, FALSE);
    }
    SessionDestroy(Session);
    WriteRelease(&Adapter->LinkWanted, FALSE);
    KeSetEvent(&Adapter->LinkSettled, EVENT_INCREMENT, FALSE); /* its beginner waits for nothing */
    KeSetEvent(&Adapter->Kick, EVENT_INCREMENT, FALSE);
}

/*
 * A file goes: at its cleanup, when no handle to it is left in any process, and once more at its
 * close, because a registration on another thread may have been under way at the cleanup; at the
 * close it is over.
 */
VOID SessionLeaveLocked(TUN_ADAPTER *Adapter, const FILE_OBJECT *File, LONG Member)
{
    TUN_SESSION *Session = &Adapter->Session;
    const BOOLEAN IsMember = Session->Kind == WintunSessionFile && Adapter->SessionId == Member;

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
