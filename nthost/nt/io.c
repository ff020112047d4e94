/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Read, write and control requests of processes: buffers as the device and the control code want
 * them, waiting, cancellation, and what completion tells the requester (IO_STATUS_BLOCK, event,
 * completion port). Completion runs on any thread at IRQL <= DISPATCH_LEVEL; it must never touch
 * the requester's memory but through nt/mm.c, nor the IRP after it is given back.
 */
#include "nt/io.h"

#include <stdlib.h>
#include <string.h>

struct request {
    struct request *next, **at; /* in all; guarded by io_lock */
    int references;             /* guarded by io_lock: the issuer, the IRP in flight, cancellers */
    unsigned round;             /* guarded by io_lock: of the last cancellation that met it */
    IRP *irp;                   /* guarded by io_lock: NULL once completed */
    FILE_OBJECT *file;          /* referenced */
    struct nth_process *process;
    struct nth_ethread *thread;
    KPROCESSOR_MODE mode;
    IO_STATUS_BLOCK *iosb; /* the requester's */
    KEVENT *event;         /* referenced; NULL: the file's own */
    void *apc_context;
    void *system; /* buffer of the I/O manager; NULL: none */
    ULONG system_bytes;
    void *out; /* where system goes at completion; NULL: nowhere */
    ULONG out_bytes;
    bool is_synchronous, is_locked; /* the file is; its lock is held */
    KEVENT done;
    struct nth_thread *waiter; /* parked until is_done; guarded by io_lock */
    bool is_done;              /* guarded by io_lock */
    NTSTATUS status;           /* valid when done */
};

static struct nth_mutex io_lock = NTH_MUTEX_INIT;
static struct request *all, **all_end = &all; /* guarded by io_lock */

/* Completion inside a driver's call must not send IRP_MJ_CLOSE: raised, the reaper does it. */
static void let_go(void *object)
{
    const bool inside = nth_call_name() != NULL && nth_irql() < DISPATCH_LEVEL;
    const KIRQL irql = inside ? nth_irql_raise(DISPATCH_LEVEL) : 0;

    if (object)
        nth_object_release(object);
    if (inside)
        nth_irql_lower(irql);
}

static void request_release(struct request *request)
{
    nth_lock(&io_lock);
    const bool is_last = --request->references == 0;
    nth_unlock(&io_lock);
    if (!is_last)
        return;
    let_go(request->event);
    let_go(request->file);
    let_go(request->thread);
    free(request);
}

/* ---- a synchronous file admits one request at a time ---- */

static NTSTATUS file_lock(FILE_OBJECT *file)
{
    void *lock = &file->Lock;

    __sync_fetch_and_add(&file->Waiters, 1);
    while (__sync_lock_test_and_set(&file->Busy, 1) != 0) {
        const NTSTATUS status = nth_wait(1, &lock, NTH_WAIT_ANY, false, NULL);
        if (status != STATUS_WAIT_0) {
            __sync_fetch_and_sub(&file->Waiters, 1);
            return status;
        }
    }
    __sync_fetch_and_sub(&file->Waiters, 1);
    return STATUS_SUCCESS;
}

static void file_unlock(FILE_OBJECT *file)
{
    __sync_lock_release(&file->Busy);
    KeSetEvent(&file->Lock, 0, FALSE);
}

/* ---- completion ---- */

static void free_mdls(IRP *irp)
{
    while (irp->MdlAddress) {
        MDL *mdl = irp->MdlAddress;
        irp->MdlAddress = mdl->Next;
        if (mdl->MdlFlags & MDL_PAGES_LOCKED)
            MmUnlockPages(mdl);
        IoFreeMdl(mdl);
    }
}

/* IO_STATUS_BLOCK: the status is what a user polls, so it is written last. */
static void write_iosb(struct request *request, NTSTATUS status, ULONG_PTR information)
{
    const uint64_t value = (ULONG)status;

    if (!request->iosb)
        return;
    nth_mm_write_mode(request->mode, request->process, &request->iosb->Information, &information,
                      sizeof(information));
    nth_mm_write_mode(request->mode, request->process, request->iosb, &value, sizeof(value));
}

static NTSTATUS copy_out(struct request *request, const IRP *irp)
{
    const ULONG_PTR information = irp->IoStatus.Information;

    if (!request->out || NT_ERROR(irp->IoStatus.Status) || information == 0)
        return irp->IoStatus.Status;
    if (information > request->out_bytes)
        nth_stop("irp-information", "IRP %p reports %llu bytes for a buffer of %u",
                 (const void *)irp, (unsigned long long)information, request->out_bytes);
    if (!NT_SUCCESS(nth_mm_write_mode(request->mode, request->process, request->out,
                                      request->system, information)))
        return STATUS_ACCESS_VIOLATION;
    return irp->IoStatus.Status;
}

/* A request that failed before it was ever pending answers by its status alone. */
static void deliver(struct request *request, NTSTATUS status, ULONG_PTR information,
                    bool was_pending)
{
    struct _IO_COMPLETION_CONTEXT *port = request->file->CompletionContext;

    request->status = status;
    if (NT_ERROR(status) && !(was_pending && !request->is_synchronous))
        return;
    write_iosb(request, status, information);
    KeSetEvent(request->event ? request->event : &request->file->Event, 0, FALSE);
    if (port && request->apc_context)
        nth_port_post(port->Port, (ULONG_PTR)port->Key, request->apc_context, status, information);
}

static void request_done(IRP *irp, void *context)
{
    struct request *request = context;
    const NTSTATUS status = copy_out(request, irp);
    const ULONG_PTR information = irp->IoStatus.Information;
    const bool was_pending = irp->PendingReturned;

    if (request->system)
        nth_mm_free(request->system, request->system_bytes);
    free_mdls(irp);
    nth_lock(&io_lock);
    request->irp = NULL;
    *request->at = request->next;
    if (request->next)
        request->next->at = request->at;
    else
        all_end = request->at;
    nth_unlock(&io_lock);
    nth_irp_unpin(irp);
    deliver(request, status, information, was_pending);
    if (!request->is_synchronous) {
        /* IRP_MJ_CLOSE: comes when all requests "have been completed", though the driver's routine
         * that began this one may still run. */
        let_go(request->file);
        request->file = NULL;
    }
    KeSetEvent(&request->done, 0, FALSE);
    nth_lock(&io_lock);
    request->is_done = true;
    if (request->waiter)
        nth_unpark(request->waiter);
    nth_unlock(&io_lock);
    request_release(request);
}

/* ---- cancellation ---- */

static bool request_cancel(struct request *request)
{
    nth_lock(&io_lock);
    IRP *irp = request->irp;
    if (irp)
        nth_irp_pin(irp);
    nth_unlock(&io_lock);
    if (!irp)
        return false;
    IoCancelIrp(irp);
    nth_irp_unpin(irp);
    return true;
}

/* Waits whatever happens; the request was cancelled, or cannot be. */
static void request_wait_for_good(struct request *request)
{
    const uint64_t deadline = nth_clock_ns() + NTH_IO_PATIENCE_NS;
    int late = 0;

    nth_lock(&io_lock);
    request->waiter = nth_self();
    while (!request->is_done) {
        nth_unlock(&io_lock);
        if (late != 0)
            nth_stop("irp-not-completed", "a cancelled request was not completed in %llu s",
                     NTH_IO_PATIENCE_NS / 1000000000);
        late = nth_park(deadline);
        nth_lock(&io_lock);
    }
    request->waiter = NULL;
    nth_unlock(&io_lock);
}

static void request_wait(struct request *request)
{
    void *done = &request->done;

    if (nth_wait(1, &done, NTH_WAIT_ANY, false, NULL) == STATUS_WAIT_0)
        return;
    request_cancel(request); /* the process ends */
    request_wait_for_good(request);
}

/* The oldest request that matches and was not found in this round, referenced. */
static struct request *find(const struct nth_process *process, const FILE_OBJECT *file,
                            const void *thread, const IO_STATUS_BLOCK *iosb, unsigned round)
{
    nth_lock(&io_lock);
    struct request *request = all;
    for (; request; request = request->next) {
        if ((!process || request->process == process) && (!file || request->file == file) &&
            (!thread || request->thread == thread) && (!iosb || request->iosb == iosb) &&
            request->round != round)
            break;
    }
    if (request) {
        request->references++;
        request->round = round;
    }
    nth_unlock(&io_lock);
    return request;
}

/* Each round of cancellation looks at every request once. */
static unsigned next_round(void)
{
    static _Atomic unsigned rounds;

    return ++rounds;
}

static struct nth_process *handle_owner(HANDLE handle)
{
    return (LONG_PTR)handle < 0 && nth_previous_mode() == KernelMode ? NULL : nth_process_current();
}

/* NtCancelIoFileEx: marks; whoever has the request completes it when it can. */
NTSTATUS nth_io_cancel(HANDLE handle, IO_STATUS_BLOCK *iosb)
{
    const unsigned round = next_round();
    struct request *request;
    void *file;

    NTSTATUS status = nth_handle_lookup(handle_owner(handle), handle, 0, NTH_OB_FILE, &file);
    if (!NT_SUCCESS(status))
        return status;
    status = STATUS_NOT_FOUND;
    while ((request = find(nth_process_current(), file, NULL, iosb, round)) != NULL) {
        if (request_cancel(request))
            status = STATUS_SUCCESS;
        request_release(request);
    }
    nth_object_release(file);
    return status;
}

void nth_io_thread_exit(void *nt_thread)
{
    const unsigned round = next_round();
    struct request *request;

    while ((request = find(NULL, NULL, nt_thread, NULL, round)) != NULL) {
        request_cancel(request);
        request_release(request);
    }
    while ((request = find(NULL, NULL, nt_thread, NULL, next_round())) != NULL) {
        request_cancel(request); /* one that became cancellable after the first look */
        request_wait_for_good(request);
        request_release(request);
    }
}

/* ---- building ---- */

struct arguments {
    HANDLE file, event;
    void *apc_context;
    IO_STATUS_BLOCK *iosb;
    ACCESS_MASK access;
};

/* A user buffer must be user memory that can be touched, when the request is made already. */
static bool probe(const struct request *request, const void *buffer, ULONG bytes, bool write)
{
    if (request->mode == KernelMode && (uintptr_t)buffer >= nth_user_limit())
        return true;
    return nth_mm_probe(request->process, (uintptr_t)buffer, bytes, write);
}

static NTSTATUS request_open(const struct arguments *arguments, struct request *request)
{
    void *body;

    NTSTATUS status = nth_handle_lookup(handle_owner(arguments->file), arguments->file,
                                        arguments->access, NTH_OB_FILE, &body);
    if (!NT_SUCCESS(status))
        return status;
    request->file = body;
    if (!arguments->event)
        return STATUS_SUCCESS;
    status = nth_handle_lookup(handle_owner(arguments->event), arguments->event, EVENT_MODIFY_STATE,
                               NTH_OB_EVENT, &body);
    if (NT_SUCCESS(status))
        request->event = body;
    return status;
}

/* Everything before buffers. On failure nothing is left. */
static NTSTATUS request_create(const struct arguments *arguments, struct request **result)
{
    struct request *request = calloc(1, sizeof(*request));

    if (!request)
        nth_fail("out of memory");
    *request = (struct request){.references = 1,
                                .process = nth_process_current(),
                                .mode = nth_previous_mode(),
                                .iosb = arguments->iosb,
                                .apc_context = arguments->apc_context};
    NTSTATUS status = request_open(arguments, request);
    if (NT_SUCCESS(status) && request->iosb &&
        !probe(request, request->iosb, sizeof(*request->iosb), true))
        status = STATUS_ACCESS_VIOLATION;
    if (!NT_SUCCESS(status)) {
        if (request->event)
            nth_object_release(request->event);
        if (request->file)
            nth_object_release(request->file);
        free(request);
        return status;
    }
    request->thread = nth_object_reference(nth_ethread_current());
    request->is_synchronous = (request->file->Flags & FO_SYNCHRONOUS_IO) != 0;
    KeInitializeEvent(&request->done, NotificationEvent, FALSE);
    DEVICE_OBJECT *top = nth_device_top(request->file->DeviceObject);
    IRP *irp = nth_irp_create(top->StackSize, request_done, request);
    irp->RequestorMode = request->mode;
    irp->UserIosb = request->iosb;
    irp->UserEvent = request->event;
    irp->Overlay.AsynchronousParameters.UserApcContext = request->apc_context;
    irp->Tail.Overlay.Thread = (PETHREAD)request->thread;
    irp->Tail.Overlay.OriginalFileObject = request->file;
    irp->Flags = request->is_synchronous ? IRP_SYNCHRONOUS_API : 0;
    IoGetNextIrpStackLocation(irp)->FileObject = request->file;
    request->irp = irp;
    *result = request;
    return STATUS_SUCCESS;
}

/* Gives up a request that was never sent. */
static NTSTATUS request_abandon(struct request *request, NTSTATUS status)
{
    if (request->system)
        nth_mm_free(request->system, request->system_bytes);
    free_mdls(request->irp);
    nth_irp_unpin(request->irp);
    request->irp = NULL;
    request_release(request);
    return status;
}

/* The system buffer of buffered I/O. What input does not fill is no zero, as in NT. */
static NTSTATUS use_system_buffer(struct request *request, const void *in, ULONG in_bytes,
                                  ULONG size)
{
    if (size == 0)
        return STATUS_SUCCESS;
    request->system = nth_mm_alloc(size);
    request->system_bytes = size;
    request->irp->AssociatedIrp.SystemBuffer = request->system;
    request->irp->Flags |= IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER;
    memset((char *)request->system + in_bytes, 0xCC, size - in_bytes);
    return nth_mm_read_mode(request->mode, request->process, request->system, in, in_bytes);
}

static void use_output(struct request *request, void *out, ULONG bytes)
{
    request->irp->UserBuffer = out;
    if (bytes == 0)
        return;
    request->irp->Flags |= IRP_INPUT_OPERATION;
    request->out = out;
    request->out_bytes = bytes;
}

static NTSTATUS use_mdl(struct request *request, void *buffer, ULONG bytes, bool write)
{
    if (bytes == 0)
        return STATUS_SUCCESS;
    request->irp->MdlAddress = nth_mdl_create(buffer, bytes);
    return nth_mdl_lock(request->irp->MdlAddress, request->mode, write);
}

/* ---- sending ---- */

/* Sends a complete request and answers for it. Consumes the issuer's reference. */
static NTSTATUS request_send(struct request *request)
{
    FILE_OBJECT *file = request->file;
    DEVICE_OBJECT *top = nth_device_top(file->DeviceObject);
    IRP *irp = request->irp;

    if (top->DriverObject->FastIoDispatch)
        nth_stop("not-provided", "fast I/O, which the driver has set up");
    if (request->is_synchronous) {
        const NTSTATUS status = file_lock(file);
        if (!NT_SUCCESS(status))
            return request_abandon(request, status);
    }
    KeResetEvent(request->event ? request->event : &file->Event);
    nth_lock(&io_lock);
    request->references++; /* the IRP's */
    request->at = all_end;
    *all_end = request;
    all_end = &request->next;
    nth_unlock(&io_lock);
    NTSTATUS status = nth_irp_send(top, irp);
    if (request->is_synchronous) {
        if (status == STATUS_PENDING) {
            request_wait(request);
            status = request->status;
            if (NT_ERROR(status)) /* what a waiting caller gets besides the answer */
                write_iosb(request, status, 0);
        }
        file_unlock(file);
    }
    request_release(request);
    return status;
}

static NTSTATUS transfer(const struct arguments *arguments, UCHAR major, void *buffer, ULONG length)
{
    const bool is_read = major == IRP_MJ_READ;
    struct request *request;

    NTSTATUS status = request_create(arguments, &request);
    if (!NT_SUCCESS(status))
        return status;
    IRP *irp = request->irp;
    IO_STACK_LOCATION *location = IoGetNextIrpStackLocation(irp);
    const ULONG flags = nth_device_top(request->file->DeviceObject)->Flags;
    location->MajorFunction = major;
    location->Parameters.Read.Length = length;
    location->Parameters.Read.ByteOffset = request->file->CurrentByteOffset;
    irp->Flags |= is_read ? IRP_READ_OPERATION : IRP_WRITE_OPERATION;
    if (!probe(request, buffer, length, is_read))
        return request_abandon(request, STATUS_ACCESS_VIOLATION);
    if (flags & DO_BUFFERED_IO) {
        status = use_system_buffer(request, buffer, is_read ? 0 : length, length);
        if (is_read)
            use_output(request, buffer, length);
    } else if (flags & DO_DIRECT_IO) {
        status = use_mdl(request, buffer, length, is_read);
    } else {
        irp->UserBuffer = buffer;
    }
    return NT_SUCCESS(status) ? request_send(request) : request_abandon(request, status);
}

NTSTATUS nth_io_read(HANDLE file, HANDLE event, void *apc_context, IO_STATUS_BLOCK *iosb,
                     void *buffer, ULONG length)
{
    const struct arguments arguments = {file, event, apc_context, iosb, FILE_READ_DATA};

    return transfer(&arguments, IRP_MJ_READ, buffer, length);
}

/* NtWriteFile wants FILE_WRITE_DATA or FILE_APPEND_DATA. */
NTSTATUS nth_io_write(HANDLE file, HANDLE event, void *apc_context, IO_STATUS_BLOCK *iosb,
                      void *buffer, ULONG length)
{
    struct arguments arguments = {file, event, apc_context, iosb, FILE_WRITE_DATA};
    void *body;

    NTSTATUS status =
        nth_handle_lookup(handle_owner(file), file, FILE_WRITE_DATA, NTH_OB_FILE, &body);
    if (NT_SUCCESS(status))
        nth_object_release(body);
    else if (status == STATUS_ACCESS_DENIED)
        arguments.access = FILE_APPEND_DATA;
    return transfer(&arguments, IRP_MJ_WRITE, buffer, length);
}

static NTSTATUS control_buffers(struct request *request, ULONG code, void *in, ULONG in_length,
                                void *out, ULONG out_length)
{
    IO_STACK_LOCATION *location = IoGetNextIrpStackLocation(request->irp);
    const ULONG method = METHOD_FROM_CTL_CODE(code);

    if (method == METHOD_NEITHER) { /* nobody has looked at these: the driver must */
        location->Parameters.DeviceIoControl.Type3InputBuffer = in;
        request->irp->UserBuffer = out;
        return STATUS_SUCCESS;
    }
    if (!probe(request, in, in_length, false))
        return STATUS_ACCESS_VIOLATION;
    if (method == METHOD_BUFFERED) {
        if (!probe(request, out, out_length, true))
            return STATUS_ACCESS_VIOLATION;
        const NTSTATUS status = use_system_buffer(request, in, in_length,
                                                  in_length > out_length ? in_length : out_length);
        use_output(request, out, out_length);
        return status;
    }
    const NTSTATUS status = use_system_buffer(request, in, in_length, in_length);
    return NT_SUCCESS(status) ? use_mdl(request, out, out_length, method == METHOD_OUT_DIRECT)
                              : status;
}

NTSTATUS nth_io_control(HANDLE file, HANDLE event, void *apc_context, IO_STATUS_BLOCK *iosb,
                        ULONG code, void *in, ULONG in_length, void *out, ULONG out_length)
{
    /* "Defining I/O Control Codes": RequiredAccess is FILE_READ_DATA and FILE_WRITE_DATA, bit for
     * bit. */
    const struct arguments arguments = {file, event, apc_context, iosb,
                                        code >> 14 & (FILE_READ_DATA | FILE_WRITE_DATA)};
    struct request *request;

    NTSTATUS status = request_create(&arguments, &request);
    if (!NT_SUCCESS(status))
        return status;
    IO_STACK_LOCATION *location = IoGetNextIrpStackLocation(request->irp);
    location->MajorFunction = IRP_MJ_DEVICE_CONTROL;
    location->Parameters.DeviceIoControl.IoControlCode = code;
    location->Parameters.DeviceIoControl.InputBufferLength = in_length;
    location->Parameters.DeviceIoControl.OutputBufferLength = out_length;
    status = control_buffers(request, code, in, in_length, out, out_length);
    return NT_SUCCESS(status) ? request_send(request) : request_abandon(request, status);
}
