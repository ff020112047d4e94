/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Sessions: how a program's rings become the driver's, and how every session ends. Five events end
 * one: cleanup of its last file, exit of its process, query-remove, surprise removal and halt. All
 * of them come here, at PASSIVE_LEVEL, and none may wait for a packet, a program or a thread.
 */
#include "tun.h"

/* The only place that touches addresses of a program. */
static DECLSPEC_NOINLINE NTSTATUS PagesLock(_Inout_ MDL *Mdl, KPROCESSOR_MODE Mode)
{
    __try {
        MmProbeAndLockPages(Mdl, Mode, IoWriteAccess);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return STATUS_INVALID_USER_BUFFER;
    }
    return STATUS_SUCCESS;
}

static VOID RingCreate(_Out_ TUN_RING *Ring, _In_ UCHAR *Base, ULONG Capacity)
{
    Ring->Head = (ULONG volatile *)(Base + offsetof(WINTUN_RING, Head));
    Ring->Tail = (ULONG volatile *)(Base + offsetof(WINTUN_RING, Tail));
    Ring->Alertable = (LONG volatile *)(Base + offsetof(WINTUN_RING, Alertable));
    Ring->Data = Base + sizeof(WINTUN_RING);
    Ring->Capacity = Capacity;
    KeInitializeSpinLock(&Ring->Lock);
    InitializeListHead(&Ring->Open);
}

/* Makes a program's ring the driver's: what was made stays in Ring for RingDestroy, also on
 * failure. */
static NTSTATUS RingMap(_Inout_ TUN_RING *Ring, _In_ const WINTUN_REGISTER_RING *Request,
                        ACCESS_MASK EventAccess, KPROCESSOR_MODE Mode)
{
    ULONG Capacity = Request->RingSize - WINTUN_RING_OVERHEAD;
    ULONG_PTR Address = (ULONG_PTR)Request->Ring;
    if (Capacity < WINTUN_RING_MIN_CAPACITY || Capacity > WINTUN_RING_MAX_CAPACITY ||
        Capacity & (Capacity - 1) || !Request->TailMoved || !Address || Address != Request->Ring ||
        Address % WINTUN_RING_ALIGNMENT || Address + Request->RingSize < Address)
        return STATUS_INVALID_PARAMETER;

    PVOID Event;
    NTSTATUS Status = ObReferenceObjectByHandle((HANDLE)(ULONG_PTR)Request->TailMoved, EventAccess,
                                                *ExEventObjectType, Mode, &Event, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    Ring->TailMoved = Event;

    /* Made for the real address: an unaligned ring spans one page more than its size tells. */
    MDL *Mdl = IoAllocateMdl((PVOID)Address, Request->RingSize, FALSE, FALSE, NULL);
    if (!Mdl)
        return STATUS_INSUFFICIENT_RESOURCES;
    Status = PagesLock(Mdl, Mode);
    if (!NT_SUCCESS(Status)) {
        IoFreeMdl(Mdl);
        return Status;
    }
    Ring->Mdl = Mdl;
    UCHAR *Base = MmGetSystemAddressForMdlSafe(Mdl, Driver.MapPriority);
    if (!Base)
        return STATUS_INSUFFICIENT_RESOURCES;
    RingCreate(Ring, Base, Capacity);
    return STATUS_SUCCESS;
}

static VOID RingDestroy(_Inout_ TUN_RING *Ring)
{
    if (Ring->Mdl) {
        MmUnlockPages(Ring->Mdl); /* takes the system mapping with it */
        IoFreeMdl(Ring->Mdl);
    } else {
        PoolFree((PVOID)(ULONG_PTR)Ring->Head);
    }
    if (Ring->TailMoved)
        ObDereferenceObject(Ring->TailMoved);
}

static VOID SessionDestroy(_In_opt_ TUN_SESSION *Session)
{
    if (!Session)
        return;
    RingDestroy(&Session->ToUser);
    RingDestroy(&Session->ToStack);
    PoolFree(Session);
}

/* The worker outlives sessions: ending one must not wait for it. Its handle is the kernel's. */
static NTSTATUS WorkerStart(_Inout_ TUN_ADAPTER *Adapter)
{
    OBJECT_ATTRIBUTES Attributes;
    InitializeObjectAttributes(&Attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    if (!Adapter->Worker &&
        !NT_SUCCESS(PsCreateSystemThread(&Adapter->Worker, THREAD_ALL_ACCESS, &Attributes, NULL,
                                         NULL, ReceiveWorker, Adapter))) {
        Adapter->Worker = NULL;
        return STATUS_UNSUCCESSFUL;
    }
    return STATUS_SUCCESS;
}

/*
 * Begins a finished session, or destroys it when that is impossible or Status is a failure already.
 * Only then does anything reach it: the gate opens last.
 */
static NTSTATUS SessionBeginLocked(_Inout_ TUN_ADAPTER *Adapter, _In_opt_ TUN_SESSION *Session,
                                   NTSTATUS Status)
{
    if (NT_SUCCESS(Status) && (Adapter->IsRemoving || Adapter->IsRemoved))
        Status = NDIS_STATUS_ADAPTER_NOT_READY;
    if (NT_SUCCESS(Status))
        Status = WorkerStart(Adapter);
    if (NT_SUCCESS(Status))
        Status = PoolFill(&Adapter->Pool);
    if (!NT_SUCCESS(Status)) {
        WriteRelease(&Adapter->Pool.IsWanted, FALSE);
        PoolTrim(&Adapter->Pool);
        SessionDestroy(Session);
        return Status;
    }
    Session->Id = Adapter->SessionCount += 2;
    Adapter->Session = Session;
    ReadsAllow(Adapter, Session->Kind == WintunSessionFile ? Session->Id : 0);
    KeMemoryBarrier();
    ExReInitializeRundownProtectionCacheAware(Adapter->RingGate);
    KeClearEvent(&Adapter->LinkSettled);
    WriteRelease(&Adapter->LinkWanted, TRUE);
    KeSetEvent(&Adapter->Kick, EVENT_INCREMENT, FALSE);
    return STATUS_SUCCESS;
}

/*
 * The caller has returned from starting a session, so its link is up: what it sends next is not
 * refused for want of one. Not under the mutex, because the worker is inside NDIS meanwhile.
 */
static VOID SessionAwaitLink(_In_ TUN_ADAPTER *Adapter)
{
    KeWaitForSingleObject(&Adapter->LinkSettled, Executive, KernelMode, FALSE, NULL);
}

static NTSTATUS RequestRead(_In_ IRP *Irp, _Out_ WINTUN_REGISTER_RINGS *Request)
{
    const ULONG Bytes =
        IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceIoControl.InputBufferLength;
    const WINTUN_REGISTER_RINGS_32 *Short = Irp->AssociatedIrp.SystemBuffer;

    if (Bytes == sizeof(*Request)) {
        RtlCopyMemory(Request, Irp->AssociatedIrp.SystemBuffer, sizeof(*Request));
        return STATUS_SUCCESS;
    }
    if (Bytes != sizeof(*Short) || !IoIs32bitProcess(Irp))
        return STATUS_INVALID_PARAMETER;
    *Request = (WINTUN_REGISTER_RINGS){
        .ToUser = {Short->ToUser.RingSize, 0, Short->ToUser.Ring, Short->ToUser.TailMoved},
        .ToStack = {Short->ToStack.RingSize, 0, Short->ToStack.Ring, Short->ToStack.TailMoved},
    };
    return STATUS_SUCCESS;
}

static NTSTATUS RingsMap(_Inout_ TUN_SESSION *Session, _In_ IRP *Irp)
{
    WINTUN_REGISTER_RINGS Request;
    NTSTATUS Status = RequestRead(Irp, &Request);

    if (NT_SUCCESS(Status))
        Status = RingMap(&Session->ToUser, &Request.ToUser, EVENT_MODIFY_STATE, Irp->RequestorMode);
    if (!NT_SUCCESS(Status))
        return Status;
    Session->ToUser.Cursor = ReadULongNoFence(Session->ToUser.Tail);
    if (Session->ToUser.Cursor >= Session->ToUser.Capacity ||
        Session->ToUser.Cursor % WINTUN_RING_ALIGNMENT)
        return STATUS_INVALID_PARAMETER;

    Status = RingMap(&Session->ToStack, &Request.ToStack, SYNCHRONIZE | EVENT_MODIFY_STATE,
                     Irp->RequestorMode);
    if (!NT_SUCCESS(Status))
        return Status;
    Session->ToStack.Cursor = ReadULongNoFence(Session->ToStack.Head);
    Session->ToStack.HasEnded = Session->ToStack.Cursor >= Session->ToStack.Capacity;
    if (Session->ToStack.HasEnded)
        RingEnd(Session->ToStack.Head);
    else if (Session->ToStack.Cursor % WINTUN_RING_ALIGNMENT)
        return STATUS_INVALID_PARAMETER;
    return STATUS_SUCCESS;
}

/*
 * REGISTER_RINGS, in the context of the process whose addresses it has. The mutex is not held while
 * pages are locked, for that may take as long as a program likes (a page may be on a dead server);
 * IsStarting keeps others off meanwhile, and those who end sessions find none and pass. The process
 * cannot exit before this returns: one of its threads is here.
 */
_Use_decl_annotations_ NTSTATUS SessionRegister(TUN_ADAPTER *Adapter, IRP *Irp, BOOLEAN IsCompat)
{
    FILE_OBJECT *File = IoGetCurrentIrpStackLocation(Irp)->FileObject;
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
    Status = Session ? RingsMap(Session, Irp) : STATUS_INSUFFICIENT_RESOURCES;
    if (NT_SUCCESS(Status)) {
        Session->Kind = WintunSessionRings;
        Session->Process = Irp->RequestorMode == UserMode ? PsGetCurrentProcessId() : NULL;
        Session->Owner = File;
        Session->IsCompat = IsCompat;
    }

    DriverLock();
    Adapter->IsStarting = FALSE;
    Status = SessionBeginLocked(Adapter, Session, Status);
    if (NT_SUCCESS(Status) && IsCompat) {
        Adapter->CompatFile = File;
        KeClearEvent(&Adapter->CompatClosed);
    }
    DriverUnlock();
    if (NT_SUCCESS(Status))
        SessionAwaitLink(Adapter);
    return Status;
}

static NTSTATUS SessionBeginFileLocked(_Inout_ TUN_ADAPTER *Adapter, HANDLE Process)
{
    TUN_SESSION *Session = PoolAlloc(sizeof(*Session));
    UCHAR *Memory = PoolAlloc(TUN_FILE_CAPACITY + WINTUN_RING_OVERHEAD);

    if (!Session || !Memory) {
        PoolFree(Session);
        PoolFree(Memory);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    Session->Kind = WintunSessionFile;
    Session->Process = Process;
    RingCreate(&Session->ToUser, Memory, TUN_FILE_CAPACITY);
    RingCreate(&Session->Reads, Memory, TUN_FILE_CAPACITY);
    return SessionBeginLocked(Adapter, Session, STATUS_SUCCESS);
}

/* Makes a file one of its process's session, which begins with the first. Member says of which. */
_Use_decl_annotations_ NTSTATUS SessionJoin(TUN_ADAPTER *Adapter, LONG volatile *Member,
                                            KPROCESSOR_MODE Mode)
{
    HANDLE Process = Mode == UserMode ? PsGetCurrentProcessId() : NULL;
    NTSTATUS Status = STATUS_SUCCESS;
    LONG Current = ReadNoFence(&Adapter->ReadSession);

    if (Current && ReadNoFence(Member) == Current)
        return STATUS_SUCCESS;
    DriverLock();
    if (*Member == TUN_MEMBER_CLOSED)
        Status = STATUS_FILE_FORCED_CLOSED;
    else if (Adapter->IsStarting)
        Status = STATUS_ALREADY_INITIALIZED;
    else if (!Adapter->Session)
        Status = SessionBeginFileLocked(Adapter, Process);
    TUN_SESSION *Session = Adapter->Session;
    if (NT_SUCCESS(Status) && *Member != Session->Id) {
        if (Session->Kind == WintunSessionFile && Session->Process == Process) {
            WriteNoFence(Member, Session->Id);
            Session->Files++;
        } else {
            Status = STATUS_ALREADY_INITIALIZED;
        }
    }
    DriverUnlock();
    if (NT_SUCCESS(Status))
        SessionAwaitLink(Adapter);
    return Status;
}

/*
 * Ends the session, if there is one. Exactly once: the mutex admits one caller, who takes it out.
 * After the wait nobody holds a pointer to it. Senders, the worker and readers have it only inside
 * the gate, which takes nobody any more; others only under the mutex, which is held here; the
 * client event that the worker may be waiting for has a reference of its own. The wait is short:
 * the gate is held at DISPATCH_LEVEL, for one bounded copy. So the program's pages are unlocked
 * when this returns, which bug check 0x76 demands of the process-exit callback. What is left
 * (pending reads, buffers, the link) needs no address of the program; the worker does it, outside
 * of every lock.
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
        RingEnd(Session->ToStack.Head);
        RingEnd(Session->ToUser.Tail);
        KeSetEvent(Session->ToUser.TailMoved, EVENT_INCREMENT, FALSE);
    }
    SessionDestroy(Session);
    WriteRelease(&Adapter->Pool.IsWanted, FALSE);
    WriteRelease(&Adapter->LinkWanted, FALSE);
    KeSetEvent(&Adapter->Kick, EVENT_INCREMENT, FALSE);
}

/*
 * A file goes: at its cleanup, when no handle to it is left in any process, and once more at its
 * close, because a registration on another thread may have been under way at the cleanup; it is
 * over at the close.
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
    UNREFERENCED_PARAMETER(ParentId);
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
