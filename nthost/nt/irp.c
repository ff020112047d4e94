/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * I/O request packets: made, sent, completed, cancelled, and the rules of all that. Beside each IRP
 * lies a note that drivers cannot reach, so that a broken rule is found without looking at memory
 * that may be gone. Must never hold its lock across a call into a driver.
 */
#include "nt/io.h"

#include <stdlib.h>
#include <string.h>

enum kind { KIND_DRIVER /* IoAllocateIrp */, KIND_THREADED /* IoBuild...Request */, KIND_HOST };

/* One call of a dispatch routine, until it has returned and its stack location is completed. */
struct frame {
    struct frame *next;
    int location;
    DEVICE_OBJECT *device;
    const void *routine;
    NTSTATUS status;
    bool has_returned, is_passed, is_marked;
};

struct note {
    struct note *next;
    IRP *irp;
    size_t bytes;
    enum kind kind;
    long pins;
    bool is_completed, is_freed;
    nth_irp_done *done;
    void *context;
    struct frame *frames;
};

enum { BUCKETS = 1024, TOMBSTONES = 512 };
static struct nth_mutex irp_lock = NTH_MUTEX_INIT; /* guards everything in notes and frames */
static struct note *buckets[BUCKETS];
static struct note *tombstones[TOMBSTONES]; /* notes of freed IRPs, to name a late use */
static unsigned tombstone_next;

static struct note **bucket(const IRP *irp)
{
    return &buckets[((uintptr_t)irp >> 4) * 2654435761u % BUCKETS];
}

/* irp_lock held. NULL: memory of the driver's own (IoInitializeIrp). */
static struct note *find(const IRP *irp)
{
    for (struct note *note = *bucket(irp); note; note = note->next) {
        if (note->irp == irp)
            return note;
    }
    return NULL;
}

static void unlink_note(struct note *note)
{
    struct note **link = bucket(note->irp);

    while (*link != note)
        link = &(*link)->next;
    *link = note->next;
}

/* Stops when irp is no longer the caller's. */
static void check_alive(const IRP *irp, const char *function)
{
    nth_lock(&irp_lock);
    const struct note *note = find(irp);
    const bool is_dead = note && (note->is_freed || note->is_completed);
    nth_unlock(&irp_lock);
    if (is_dead)
        nth_stop("irp-touched-after-completion", "%s: IRP %p is completed or freed", function,
                 (const void *)irp);
    if (irp->Type != IO_TYPE_IRP)
        nth_stop("irp-invalid", "%s: %p is no IRP", function, (const void *)irp);
}

/* ---- making and freeing ---- */

static void initialise(IRP *irp, USHORT bytes, CCHAR stack)
{
    memset(irp, 0, bytes);
    irp->Type = IO_TYPE_IRP;
    irp->Size = bytes;
    irp->StackCount = stack;
    irp->CurrentLocation = (CHAR)(stack + 1);
    irp->ThreadListEntry.Flink = irp->ThreadListEntry.Blink = &irp->ThreadListEntry;
    irp->Tail.Overlay.CurrentStackLocation = (IO_STACK_LOCATION *)(irp + 1) + stack;
}

static IRP *create(CCHAR stack, enum kind kind, nth_irp_done *done, void *context)
{
    const USHORT bytes = IoSizeOfIrp(stack);
    IRP *irp = nth_mm_alloc(bytes);
    struct note *note = calloc(1, sizeof(*note));

    if (!note)
        nth_fail("out of memory");
    initialise(irp, bytes, stack);
    *note = (struct note){
        .irp = irp, .bytes = bytes, .kind = kind, .pins = 1, .done = done, .context = context};
    nth_lock(&irp_lock);
    struct note *old = find(irp);
    if (old) { /* the memory was used before: its tombstone has nothing more to say */
        unlink_note(old);
        for (unsigned i = 0; i < TOMBSTONES; i++) {
            if (tombstones[i] == old)
                tombstones[i] = NULL;
        }
    }
    struct note **head = bucket(irp);
    note->next = *head;
    *head = note;
    nth_unlock(&irp_lock);
    free(old);
    return irp;
}

static void free_frames(struct frame *frame)
{
    while (frame) {
        struct frame *next = frame->next;
        free(frame);
        frame = next;
    }
}

/* Nobody holds the IRP any more: frames that have not returned lose sight of it, which they notice
 * by their note's absence. */
static void destroy(struct note *note)
{
    struct note *oldest;
    struct frame *done = NULL, **link = &note->frames;

    nth_lock(&irp_lock);
    note->is_freed = true;
    while (*link) { /* those still running free themselves */
        struct frame *frame = *link;
        *link = frame->next;
        if (frame->has_returned) {
            frame->next = done;
            done = frame;
        } else {
            frame->next = NULL;
        }
    }
    oldest = tombstones[tombstone_next % TOMBSTONES];
    tombstones[tombstone_next++ % TOMBSTONES] = note;
    if (oldest)
        unlink_note(oldest);
    nth_unlock(&irp_lock);
    free_frames(done);
    free(oldest);
    nth_mm_free(note->irp, note->bytes);
}

IRP *nth_irp_create(CCHAR stack, nth_irp_done *done, void *context)
{
    return create(stack, KIND_HOST, done, context);
}

void nth_irp_pin(IRP *irp)
{
    nth_lock(&irp_lock);
    find(irp)->pins++;
    nth_unlock(&irp_lock);
}

void nth_irp_unpin(IRP *irp)
{
    nth_lock(&irp_lock);
    struct note *note = find(irp);
    const bool is_last = --note->pins == 0;
    nth_unlock(&irp_lock);
    if (is_last)
        destroy(note);
}

IRP *nth_irp_create_threaded(CCHAR stack, nth_irp_done *done, void *context)
{
    IRP *irp = create(stack, KIND_THREADED, done, context);

    irp->Tail.Overlay.Thread = (PETHREAD)nth_ethread_current();
    return irp;
}

PIRP NTAPI IoAllocateIrp(CCHAR StackSize, BOOLEAN ChargeQuota)
{
    nth_irql_max(DISPATCH_LEVEL);
    if (StackSize < 1)
        nth_stop("irp-invalid", "IoAllocateIrp: a stack of %d locations", StackSize);
    if (nth_fault(NTH_FAULT_POOL, "IoAllocateIrp"))
        return NULL;
    IRP *irp = create(StackSize, KIND_DRIVER, NULL, NULL);
    nth_ledger_add("irp", irp, irp->Size, 0);
    return irp;
}
NTH_EXPORT(IoAllocateIrp, 2);

/* Stops unless irp was made by IoAllocateIrp (or by the driver itself) and no driver below has it.
 */
static struct note *check_own(IRP *irp, const char *function)
{
    bool is_used = false;

    check_alive(irp, function);
    nth_lock(&irp_lock);
    struct note *note = find(irp);
    for (struct frame *frame = note ? note->frames : NULL; frame; frame = frame->next)
        is_used |= !frame->is_passed;
    nth_unlock(&irp_lock);
    if (note && note->kind != KIND_DRIVER)
        nth_stop("irp-invalid", "%s: IRP %p belongs to the I/O manager", function, (void *)irp);
    if (is_used)
        nth_stop("irp-freed-in-use", "%s: a lower driver still has IRP %p", function, (void *)irp);
    return note;
}

VOID NTAPI IoFreeIrp(PIRP Irp)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct note *note = check_own(Irp, "IoFreeIrp");
    if (!note)
        nth_stop("irp-invalid", "IoFreeIrp: %p was not made by IoAllocateIrp", (void *)Irp);
    nth_ledger_remove("irp", Irp);
    nth_irp_unpin(Irp);
}
NTH_EXPORT(IoFreeIrp, 1);

VOID NTAPI IoInitializeIrp(PIRP Irp, USHORT PacketSize, CCHAR StackSize)
{
    nth_irql_max(DISPATCH_LEVEL);
    nth_lock(&irp_lock);
    const struct note *note = find(Irp);
    const bool is_allocated = note && !note->is_freed;
    nth_unlock(&irp_lock);
    if (is_allocated)
        nth_stop("irp-invalid",
                 "IoInitializeIrp: IRP %p was made by IoAllocateIrp (use IoReuseIrp)", (void *)Irp);
    if (StackSize < 1 || PacketSize < IoSizeOfIrp(StackSize))
        nth_stop("irp-invalid", "IoInitializeIrp: %u bytes cannot hold %d stack locations",
                 PacketSize, StackSize);
    initialise(Irp, PacketSize, StackSize);
}
NTH_EXPORT(IoInitializeIrp, 3);

VOID NTAPI IoReuseIrp(PIRP Irp, NTSTATUS Status)
{
    nth_irql_max(DISPATCH_LEVEL);
    check_own(Irp, "IoReuseIrp");
    initialise(Irp, Irp->Size, Irp->StackCount);
    Irp->IoStatus.Status = Status;
}
NTH_EXPORT(IoReuseIrp, 2);

/* ---- sending ---- */

static const char *routine_name(const void *routine)
{
    return nth_symbol_hook ? nth_symbol_hook((uintptr_t)routine) : "the dispatch routine";
}

/* IoMarkIrpPending: marked exactly when STATUS_PENDING was returned. Both are known. */
static void judge(const struct frame *frame)
{
    const bool is_pending = frame->status == STATUS_PENDING;

    if (is_pending && !frame->is_marked)
        nth_stop("irp-returned-pending-unmarked",
                 "%s returned STATUS_PENDING for an IRP it did not mark pending",
                 routine_name(frame->routine));
    if (!is_pending && frame->is_marked)
        nth_stop("irp-marked-but-not-pending", "%s marked an IRP pending and returned 0x%08x",
                 routine_name(frame->routine), (unsigned)frame->status);
}

static struct frame *frame_begin(IRP *irp, DEVICE_OBJECT *device, const void *routine)
{
    struct frame *frame = NULL;

    nth_lock(&irp_lock);
    struct note *note = find(irp);
    if (note) {
        frame = calloc(1, sizeof(*frame));
        if (!frame)
            nth_fail("out of memory");
        frame->location = (unsigned char)irp->CurrentLocation;
        frame->device = device;
        frame->routine = routine;
        frame->next = note->frames;
        note->frames = frame;
    }
    nth_unlock(&irp_lock);
    return frame;
}

/* The routine has returned; irp may be freed, and even be another one at the same address. */
static void frame_end(struct frame *frame, const IRP *irp, NTSTATUS status)
{
    if (!frame)
        return;
    nth_lock(&irp_lock);
    frame->status = status;
    frame->has_returned = true;
    const bool is_passed = frame->is_passed;
    if (is_passed) {
        struct note *note = find(irp);
        for (struct frame **link = note ? &note->frames : NULL; link && *link;
             link = &(*link)->next) {
            if (*link == frame) {
                *link = frame->next;
                break;
            }
        }
    }
    nth_unlock(&irp_lock);
    if (!is_passed && status != STATUS_PENDING)
        nth_stop("irp-not-completed", "%s returned 0x%08x and completed no IRP",
                 routine_name(frame->routine), (unsigned)status);
    if (is_passed) {
        judge(frame);
        free(frame);
    }
}

NTSTATUS FASTCALL IofCallDriver(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    struct nth_callout callout;

    nth_irql_max(DISPATCH_LEVEL);
    nth_device_body(DeviceObject); /* stops when it is none */
    check_alive(Irp, "IofCallDriver");
    if (Irp->CurrentLocation <= 1 || Irp->CurrentLocation > Irp->StackCount + 1)
        nth_stop("irp-stack-overflow",
                 "IofCallDriver: IRP %p has %d stack locations and no next one", (void *)Irp,
                 Irp->StackCount);
    Irp->CurrentLocation--;
    IO_STACK_LOCATION *location = --Irp->Tail.Overlay.CurrentStackLocation;
    location->DeviceObject = DeviceObject;
    if (location->MajorFunction > IRP_MJ_MAXIMUM_FUNCTION)
        nth_stop("irp-invalid", "IofCallDriver: major function 0x%x", location->MajorFunction);
    PDRIVER_DISPATCH dispatch = DeviceObject->DriverObject->MajorFunction[location->MajorFunction];
    struct nth_driver *driver = nth_device_body(DeviceObject)->driver;
    nth_driver_begin(&driver->calls);
    struct frame *frame = frame_begin(Irp, DeviceObject, (const void *)dispatch);
    nth_callout_begin(&callout, "dispatch routine", (const void *)dispatch);
    const NTSTATUS status = dispatch(DeviceObject, Irp);
    nth_callout_end(&callout);
    frame_end(frame, Irp, status);
    nth_driver_end(&driver->calls);
    return status;
}
NTH_EXPORT(IofCallDriver, 2);
NTH_EXPORT_AS(IoCallDriver, "IoCallDriver", IofCallDriver, 2);

NTSTATUS nth_irp_send(DEVICE_OBJECT *device, IRP *irp)
{
    return IofCallDriver(device, irp);
}

/* ---- completion ---- */

static void check_completion(IRP *irp)
{
    nth_lock(&irp_lock);
    const struct note *note = find(irp);
    const bool is_dead = note && (note->is_freed || note->is_completed);
    nth_unlock(&irp_lock);
    if (is_dead || irp->CurrentLocation > irp->StackCount + 1)
        nth_stop("irp-completed-twice", "IofCompleteRequest: IRP %p is completed already",
                 (void *)irp);
    if (irp->Type != IO_TYPE_IRP)
        nth_stop("irp-invalid", "IofCompleteRequest: %p is no IRP", (void *)irp);
    if (__atomic_load_n(&irp->CancelRoutine, __ATOMIC_SEQ_CST))
        nth_stop("irp-cancel-routine-set-at-completion",
                 "IofCompleteRequest: IRP %p still has its cancel routine", (void *)irp);
    if (irp->IoStatus.Status == STATUS_PENDING)
        nth_stop("irp-status-pending-completed",
                 "IofCompleteRequest: the status of IRP %p is STATUS_PENDING", (void *)irp);
}

/* The location is done with: calls that own it learn whether it was marked pending. */
static void pass(const IRP *irp, int location, bool is_marked)
{
    struct frame *judged = NULL;

    nth_lock(&irp_lock);
    struct note *note = find(irp);
    for (struct frame **link = note ? &note->frames : NULL; link && *link;) {
        struct frame *frame = *link;
        if (frame->location != location || frame->is_passed) {
            link = &frame->next;
            continue;
        }
        frame->is_passed = true;
        frame->is_marked = is_marked;
        if (frame->has_returned) {
            *link = frame->next;
            frame->next = judged;
            judged = frame;
        } else {
            link = &frame->next;
        }
    }
    nth_unlock(&irp_lock);
    for (const struct frame *frame = judged; frame; frame = frame->next)
        judge(frame);
    free_frames(judged);
}

static bool wants_routine(const IRP *irp, UCHAR control)
{
    const bool success = NT_SUCCESS(irp->IoStatus.Status);

    return (success && (control & SL_INVOKE_ON_SUCCESS)) ||
           (!success && (control & SL_INVOKE_ON_ERROR)) ||
           (__atomic_load_n(&irp->Cancel, __ATOMIC_SEQ_CST) && (control & SL_INVOKE_ON_CANCEL));
}

/* Completes the current location. False: a completion routine has taken the IRP back. */
static bool complete_location(IRP *irp)
{
    IO_STACK_LOCATION *location = irp->Tail.Overlay.CurrentStackLocation;
    const UCHAR control = location->Control;
    PIO_COMPLETION_ROUTINE routine = location->CompletionRoutine;
    void *const context = location->Context;
    struct nth_callout callout;

    irp->PendingReturned = (control & SL_PENDING_RETURNED) != 0;
    pass(irp, irp->CurrentLocation, irp->PendingReturned);
    location->CompletionRoutine = NULL;
    location->Context = NULL;
    location->Control = 0;
    irp->CurrentLocation++;
    irp->Tail.Overlay.CurrentStackLocation++;
    const bool is_top = irp->CurrentLocation == irp->StackCount + 1;
    if (!routine || !wants_routine(irp, control)) {
        if (irp->PendingReturned && !is_top)
            IoMarkIrpPending(irp);
        return true;
    }
    DEVICE_OBJECT *device = is_top ? NULL : irp->Tail.Overlay.CurrentStackLocation->DeviceObject;
    nth_callout_begin(&callout, "completion routine", (const void *)routine);
    const NTSTATUS status = routine(device, irp, context);
    nth_callout_end(&callout);
    return status != STATUS_MORE_PROCESSING_REQUIRED;
}

VOID FASTCALL IofCompleteRequest(PIRP Irp, CCHAR PriorityBoost)
{
    nth_irql_max(DISPATCH_LEVEL);
    check_completion(Irp);
    while (Irp->CurrentLocation <= Irp->StackCount) {
        if (!complete_location(Irp))
            return;
    }
    nth_lock(&irp_lock);
    struct note *note = find(Irp);
    const enum kind kind = note ? note->kind : KIND_DRIVER;
    if (note && kind != KIND_DRIVER)
        note->is_completed = true;
    nth_unlock(&irp_lock);
    if (kind == KIND_DRIVER)
        nth_stop("irp-not-reclaimed",
                 "IRP %p of a driver was completed and no completion routine took it back",
                 (void *)Irp);
    note->done(Irp, note->context);
}
NTH_EXPORT(IofCompleteRequest, 2);
NTH_EXPORT_AS(IoCompleteRequest, "IoCompleteRequest", IofCompleteRequest, 2);

/* ---- cancellation ---- */

static KSPIN_LOCK cancel_lock;

VOID NTAPI IoAcquireCancelSpinLock(PKIRQL Irql)
{
    nth_irql_max(DISPATCH_LEVEL);
    *Irql = KeAcquireSpinLockRaiseToDpc(&cancel_lock);
}
NTH_EXPORT(IoAcquireCancelSpinLock, 1);

VOID NTAPI IoReleaseCancelSpinLock(KIRQL Irql)
{
    KeReleaseSpinLock(&cancel_lock, Irql);
}
NTH_EXPORT(IoReleaseCancelSpinLock, 1);

BOOLEAN NTAPI IoCancelIrp(PIRP Irp)
{
    nth_irql_max(DISPATCH_LEVEL);
    nth_lock(&irp_lock);
    const struct note *note = find(Irp);
    const bool is_freed = note && note->is_freed;
    nth_unlock(&irp_lock);
    if (is_freed)
        nth_stop("irp-touched-after-completion", "IoCancelIrp: IRP %p is freed", (void *)Irp);
    const KIRQL irql = KeAcquireSpinLockRaiseToDpc(&cancel_lock);
    __atomic_store_n(&Irp->Cancel, TRUE, __ATOMIC_SEQ_CST);
    PDRIVER_CANCEL routine = IoSetCancelRoutine(Irp, NULL);
    if (!routine) {
        KeReleaseSpinLock(&cancel_lock, irql);
        return FALSE;
    }
    if (Irp->CurrentLocation > Irp->StackCount + 1)
        nth_stop("irp-invalid", "IoCancelIrp: IRP %p is completed and has a cancel routine",
                 (void *)Irp);
    Irp->CancelIrql = irql;
    nth_trace("call cancel routine %p", (const void *)routine);
    routine(Irp->Tail.Overlay.CurrentStackLocation->DeviceObject, Irp);
    if (nth_order_holds(&cancel_lock))
        nth_stop("irp-cancel-lock", "cancel routine %s did not release the cancel spin lock",
                 routine_name((const void *)routine));
    if (nth_irql() != irql)
        nth_stop("callout-irql", "cancel routine %s returned at IRQL %u, not %u",
                 routine_name((const void *)routine), nth_irql(), irql);
    return TRUE;
}
NTH_EXPORT(IoCancelIrp, 1);

/* ---- requests of the host that it waits for ---- */

struct synchronous {
    struct nth_thread *waiter;
    NTSTATUS status;
    ULONG_PTR information;
    bool is_done; /* guarded by irp_lock */
};

static void synchronous_done(IRP *irp, void *context)
{
    struct synchronous *request = context;

    request->status = irp->IoStatus.Status;
    request->information = irp->IoStatus.Information;
    nth_lock(&irp_lock);
    request->is_done = true;
    nth_unpark(request->waiter);
    nth_unlock(&irp_lock); /* request, on the waiter's stack, may be gone */
}

static void synchronous_wait(const struct synchronous *request, const IO_STACK_LOCATION *location)
{
    const uint64_t deadline = nth_clock_ns() + NTH_IO_PATIENCE_NS;
    int late = 0;

    nth_lock(&irp_lock);
    while (!request->is_done) {
        nth_unlock(&irp_lock);
        if (late != 0)
            nth_stop(
                "irp-not-completed", "major function 0x%x, minor 0x%x was not completed in %llu s",
                location->MajorFunction, location->MinorFunction, NTH_IO_PATIENCE_NS / 1000000000);
        late = nth_park(deadline);
        nth_lock(&irp_lock);
    }
    nth_unlock(&irp_lock);
}

NTSTATUS nth_irp_synchronous_mode(DEVICE_OBJECT *device, const IO_STACK_LOCATION *location,
                                  NTSTATUS initial, ULONG_PTR *information, KPROCESSOR_MODE mode)
{
    struct synchronous request = {.waiter = nth_self()};
    DEVICE_OBJECT *top = nth_device_top(device);
    IRP *irp = nth_irp_create(top->StackSize, synchronous_done, &request);

    *IoGetNextIrpStackLocation(irp) = *location;
    irp->IoStatus.Status = initial;
    irp->IoStatus.Information = information ? *information : 0;
    irp->Flags = IRP_SYNCHRONOUS_API;
    irp->RequestorMode = mode;
    irp->Tail.Overlay.Thread = (PETHREAD)nth_ethread_current();
    irp->Tail.Overlay.OriginalFileObject = location->FileObject;
    IofCallDriver(top, irp);
    synchronous_wait(&request, location);
    nth_irp_unpin(irp);
    if (information)
        *information = request.information;
    return request.status;
}

NTSTATUS nth_irp_synchronous(DEVICE_OBJECT *device, const IO_STACK_LOCATION *location,
                             NTSTATUS initial, ULONG_PTR *information)
{
    return nth_irp_synchronous_mode(device, location, initial, information, KernelMode);
}

/* ---- what an IRP tells about its caller ---- */

PEPROCESS NTAPI IoGetRequestorProcess(PIRP Irp)
{
    const struct nth_ethread *thread = (const struct nth_ethread *)Irp->Tail.Overlay.Thread;

    return thread ? (PEPROCESS)thread->process : NULL;
}
NTH_EXPORT(IoGetRequestorProcess, 1);

ULONG NTAPI IoGetRequestorProcessId(PIRP Irp)
{
    PEPROCESS process = IoGetRequestorProcess(Irp);

    return process ? HandleToULong(nth_process_id((struct nth_process *)process)) : 0;
}
NTH_EXPORT(IoGetRequestorProcessId, 1);

BOOLEAN NTAPI IoIs32bitProcess(PIRP Irp)
{
    PEPROCESS process = Irp ? IoGetRequestorProcess(Irp) : (PEPROCESS)nth_process_current();

    return process && nth_process_is_wow64((struct nth_process *)process);
}
NTH_EXPORT(IoIs32bitProcess, 1);

PEPROCESS NTAPI IoGetCurrentProcess(VOID)
{
    return (PEPROCESS)nth_process_current();
}
NTH_EXPORT(IoGetCurrentProcess, 0);
