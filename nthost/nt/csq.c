/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Cancel-safe IRP queues ("Cancel-Safe IRP Queues"): the queue and its lock are the driver's, the
 * decision who gets an IRP that is cancelled and removed at once is made here, by who takes the
 * cancel routine out.
 */
#include "nt/io.h"

static IO_CSQ_IRP_CONTEXT *context_of(const IRP *irp)
{
    IO_CSQ_IRP_CONTEXT *context = irp->Tail.Overlay.DriverContext[3];

    return context && context->Type == IO_TYPE_CSQ_IRP_CONTEXT ? context : NULL;
}

static IO_CSQ *csq_of(const IRP *irp)
{
    IO_CSQ_IRP_CONTEXT *context = context_of(irp);
    IO_CSQ *csq = context ? context->Csq : irp->Tail.Overlay.DriverContext[3];

    if (!csq || (csq->Type != IO_TYPE_CSQ && csq->Type != IO_TYPE_CSQ_EX))
        nth_stop("csq-context", "DriverContext[3] of IRP %p was changed while it was queued",
                 (const void *)irp);
    return csq;
}

static void forget(IRP *irp)
{
    IO_CSQ_IRP_CONTEXT *context = context_of(irp);

    if (context)
        context->Irp = NULL;
    irp->Tail.Overlay.DriverContext[3] = NULL;
}

/* Called by IoCancelIrp with the cancel spin lock, which the queue does not need. */
static VOID NTAPI cancelled(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    IO_CSQ *csq = csq_of(Irp);
    KIRQL irql;

    (void)DeviceObject;
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    csq->CsqAcquireLock(csq, &irql);
    csq->CsqRemoveIrp(csq, Irp);
    forget(Irp);
    csq->CsqReleaseLock(csq, irql);
    csq->CsqCompleteCanceledIrp(csq, Irp);
}

static NTSTATUS initialise(IO_CSQ *csq, ULONG type, PIO_CSQ_INSERT_IRP insert,
                           PIO_CSQ_REMOVE_IRP remove, PIO_CSQ_PEEK_NEXT_IRP peek)
{
    *csq = (IO_CSQ){
        .Type = type, .CsqInsertIrp = insert, .CsqRemoveIrp = remove, .CsqPeekNextIrp = peek};
    return STATUS_SUCCESS;
}

NTSTATUS NTAPI IoCsqInitialize(PIO_CSQ Csq, PIO_CSQ_INSERT_IRP InsertIrp,
                               PIO_CSQ_REMOVE_IRP RemoveIrp, PIO_CSQ_PEEK_NEXT_IRP PeekNextIrp,
                               PIO_CSQ_ACQUIRE_LOCK AcquireLock, PIO_CSQ_RELEASE_LOCK ReleaseLock,
                               PIO_CSQ_COMPLETE_CANCELED_IRP CompleteCanceledIrp)
{
    initialise(Csq, IO_TYPE_CSQ, InsertIrp, RemoveIrp, PeekNextIrp);
    Csq->CsqAcquireLock = AcquireLock;
    Csq->CsqReleaseLock = ReleaseLock;
    Csq->CsqCompleteCanceledIrp = CompleteCanceledIrp;
    return STATUS_SUCCESS;
}
NTH_EXPORT(IoCsqInitialize, 7);

NTSTATUS NTAPI IoCsqInitializeEx(PIO_CSQ Csq, PIO_CSQ_INSERT_IRP_EX InsertIrp,
                                 PIO_CSQ_REMOVE_IRP RemoveIrp, PIO_CSQ_PEEK_NEXT_IRP PeekNextIrp,
                                 PIO_CSQ_ACQUIRE_LOCK AcquireLock, PIO_CSQ_RELEASE_LOCK ReleaseLock,
                                 PIO_CSQ_COMPLETE_CANCELED_IRP CompleteCanceledIrp)
{
    initialise(Csq, IO_TYPE_CSQ_EX, (PIO_CSQ_INSERT_IRP)(void *)InsertIrp, RemoveIrp, PeekNextIrp);
    Csq->CsqAcquireLock = AcquireLock;
    Csq->CsqReleaseLock = ReleaseLock;
    Csq->CsqCompleteCanceledIrp = CompleteCanceledIrp;
    return STATUS_SUCCESS;
}
NTH_EXPORT(IoCsqInitializeEx, 7);

/* An IRP cancelled before it got its cancel routine leaves the queue again. Queue locked. */
static bool was_cancelled(IO_CSQ *csq, IRP *irp)
{
    IoSetCancelRoutine(irp, cancelled);
    if (!__atomic_load_n(&irp->Cancel, __ATOMIC_SEQ_CST) || !IoSetCancelRoutine(irp, NULL))
        return false;
    csq->CsqRemoveIrp(csq, irp);
    forget(irp);
    return true;
}

NTSTATUS NTAPI IoCsqInsertIrpEx(PIO_CSQ Csq, PIRP Irp, PIO_CSQ_IRP_CONTEXT Context,
                                PVOID InsertContext)
{
    NTSTATUS status = STATUS_SUCCESS;
    KIRQL irql;

    nth_irql_max(DISPATCH_LEVEL);
    Irp->Tail.Overlay.DriverContext[3] = Context ? (void *)Context : (void *)Csq;
    if (Context)
        *Context = (IO_CSQ_IRP_CONTEXT){.Type = IO_TYPE_CSQ_IRP_CONTEXT, .Irp = Irp, .Csq = Csq};
    Csq->CsqAcquireLock(Csq, &irql);
    if (Csq->Type == IO_TYPE_CSQ_EX)
        status = ((PIO_CSQ_INSERT_IRP_EX)(void *)Csq->CsqInsertIrp)(Csq, Irp, InsertContext);
    else
        Csq->CsqInsertIrp(Csq, Irp);
    if (!NT_SUCCESS(status)) {
        forget(Irp);
        Csq->CsqReleaseLock(Csq, irql);
        return status;
    }
    IoMarkIrpPending(Irp); /* nobody can have removed it yet: the queue is locked */
    const bool is_cancelled = was_cancelled(Csq, Irp);
    Csq->CsqReleaseLock(Csq, irql);
    if (is_cancelled)
        Csq->CsqCompleteCanceledIrp(Csq, Irp);
    return status;
}
NTH_EXPORT(IoCsqInsertIrpEx, 4);

VOID NTAPI IoCsqInsertIrp(PIO_CSQ Csq, PIRP Irp, PIO_CSQ_IRP_CONTEXT Context)
{
    IoCsqInsertIrpEx(Csq, Irp, Context, NULL);
}
NTH_EXPORT(IoCsqInsertIrp, 3);

PIRP NTAPI IoCsqRemoveIrp(PIO_CSQ Csq, PIO_CSQ_IRP_CONTEXT Context)
{
    KIRQL irql;

    nth_irql_max(DISPATCH_LEVEL);
    Csq->CsqAcquireLock(Csq, &irql);
    IRP *irp = Context->Irp;
    if (irp && !IoSetCancelRoutine(irp, NULL))
        irp = NULL; /* IoCancelIrp has it */
    if (irp) {
        Csq->CsqRemoveIrp(Csq, irp);
        forget(irp);
    }
    Csq->CsqReleaseLock(Csq, irql);
    return irp;
}
NTH_EXPORT(IoCsqRemoveIrp, 2);

PIRP NTAPI IoCsqRemoveNextIrp(PIO_CSQ Csq, PVOID PeekContext)
{
    KIRQL irql;

    nth_irql_max(DISPATCH_LEVEL);
    Csq->CsqAcquireLock(Csq, &irql);
    IRP *irp = Csq->CsqPeekNextIrp(Csq, NULL, PeekContext);
    while (irp && !IoSetCancelRoutine(irp, NULL)) /* IoCancelIrp has it: the next one */
        irp = Csq->CsqPeekNextIrp(Csq, irp, PeekContext);
    if (irp) {
        Csq->CsqRemoveIrp(Csq, irp);
        forget(irp);
    }
    Csq->CsqReleaseLock(Csq, irql);
    return irp;
}
NTH_EXPORT(IoCsqRemoveNextIrp, 2);
