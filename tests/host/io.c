/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Requests, file objects, device objects and drivers: what the documentation of IRPs promises, and
 * that each rule of theirs is enforced.
 */
#include "gadget.h"

#define ECHO       CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define ECHO_WRITE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_BUFFERED, FILE_WRITE_ACCESS)
#define DIRECT_IN  CTL_CODE(FILE_DEVICE_UNKNOWN, 0x802, METHOD_IN_DIRECT, FILE_ANY_ACCESS)
#define DIRECT_OUT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x803, METHOD_OUT_DIRECT, FILE_ANY_ACCESS)
#define NEITHER    CTL_CODE(FILE_DEVICE_UNKNOWN, 0x804, METHOD_NEITHER, FILE_ANY_ACCESS)
#define SYNC       FILE_SYNCHRONOUS_IO_NONALERT

/* A process with a page of its own: IOSB at 0, data from 64 on. */
struct user {
    struct nth_process *process;
    HANDLE file;
    IO_STATUS_BLOCK *iosb;
    uint8_t *data;
};

static struct user user_new(ULONG options)
{
    struct user user = {.process = process_new()};
    uint8_t *page = nth_user_alloc(user.process, 3 * 4096);

    CHECK(page != NULL);
    user.iosb = (IO_STATUS_BLOCK *)page;
    user.data = page + 64;
    CHECK(nth_process_enter(user.process));
    user.iosb->Status = 0x1111;
    user.file = open_gadget(options);
    return user;
}

static void user_end(struct user *user)
{
    nth_process_leave();
    nth_process_kill(user->process);
    nth_object_release(user->process);
}

static NTSTATUS control(struct user *user, ULONG code, ULONG in, ULONG out)
{
    return nth_io_control(user->file, NULL, NULL, user->iosb, code, user->data, in, user->data,
                          out);
}

/* ---- opening and closing ---- */

/* IRP_MJ_CREATE, IRP_MJ_CLEANUP ("in the context of the process that closed the file object
 * handle") and IRP_MJ_CLOSE ("always be sent at PASSIVE_LEVEL"), in this order. */
TEST(handle_close_sends_cleanup_then_close)
{
    boot();
    struct user user = user_new(SYNC);
    const HANDLE id = nth_process_id(user.process);

    CHECK_EQ(S.Major[IRP_MJ_CREATE], 1);
    CHECK_EQ(S.CreateProcess, id);
    CHECK_EQ(S.CreateMode, UserMode);
    CHECK_EQ(S.CreateOptions, FILE_OPEN << 24 | SYNC);
    CHECK_EQ(S.DesiredAccess, FILE_GENERIC_READ | FILE_GENERIC_WRITE);
    CHECK_EQ(S.FileNameLength, 0);
    CHECK_STATUS(nth_handle_close(user.process, user.file), STATUS_SUCCESS);
    CHECK_EQ(S.Sequences, 3);
    CHECK_EQ(S.Sequence[1], IRP_MJ_CLEANUP);
    CHECK_EQ(S.Sequence[2], IRP_MJ_CLOSE);
    CHECK_EQ(S.CleanupProcess, id);
    CHECK_EQ(S.CloseIrql, PASSIVE_LEVEL);
    CHECK_EQ(S.FsContext, 0x1234);
    user_end(&user);
    nth_shutdown();
}

/* "Controlling Device Namespace Access": what follows the device's name is the file name. */
TEST(open_below_device_passes_file_name)
{
    HANDLE handle;

    boot();
    CHECK_STATUS(open_path("\\Device\\Gadget\\{a}\\b", FILE_READ_DATA, 0, &handle), STATUS_SUCCESS);
    CHECK_EQ(S.FileNameLength, 12);
    CHECK_MEM(S.FileName, u"\\{a}\\b", 12);
    CHECK_EQ(S.CreateMode, KernelMode);
    nth_handle_close(nth_process_current(), handle);
    nth_shutdown();
}

/* ZwCreateFile, RootDirectory: the driver sees the related file object and the relative name. */
TEST(open_relative_shows_related_file)
{
    WCHAR buffer[8];
    UNICODE_STRING name;
    HANDLE root, handle;

    boot();
    CHECK_STATUS(open_path("\\Device\\Gadget", FILE_READ_DATA, 0, &root), STATUS_SUCCESS);
    wide(&name, buffer, "x");
    CHECK_STATUS(nth_io_create_relative(root, &name, FILE_READ_DATA, 0, 0, &handle),
                 STATUS_SUCCESS);
    CHECK_EQ(S.HasRelated, 1);
    CHECK_EQ(S.FileNameLength, 2);
    nth_handle_close(nth_process_current(), handle);
    nth_handle_close(nth_process_current(), root);
    nth_shutdown();
}

/* IRP_MJ_CREATE that fails: no handle, and neither IRP_MJ_CLEANUP nor IRP_MJ_CLOSE. */
TEST(open_failed_by_driver_is_not_closed)
{
    HANDLE handle;

    boot();
    S.Status = STATUS_SHARING_VIOLATION;
    CHECK_STATUS(open_path("\\Device\\Gadget", FILE_READ_DATA, 0, &handle),
                 STATUS_SHARING_VIOLATION);
    CHECK_EQ(S.Sequences, 1);
    S.Status = STATUS_SUCCESS;
    nth_shutdown();
}

/* IoCreateDevice, Exclusive: one handle at a time. DO_DEVICE_INITIALIZING: no opens. */
TEST(open_exclusive_device_twice_is_denied)
{
    HANDLE first, second;

    boot_only();
    S.Exclusive = 1;
    CHECK_STATUS(nth_driver_load(gadget_path(), "gadget", &gadget), STATUS_SUCCESS);
    CHECK_STATUS(open_path("\\Device\\Gadget", FILE_READ_DATA, 0, &first), STATUS_SUCCESS);
    CHECK_STATUS(open_path("\\Device\\Gadget", FILE_READ_DATA, 0, &second), STATUS_ACCESS_DENIED);
    nth_handle_close(nth_process_current(), first);
    S.Device->Flags |= DO_DEVICE_INITIALIZING;
    CHECK_STATUS(open_path("\\Device\\Gadget", FILE_READ_DATA, 0, &second), STATUS_NO_SUCH_DEVICE);
    nth_shutdown();
}

static NTSTATUS open_as(enum nth_token token, const char *path)
{
    struct nth_process *process = nth_process_create("other", token, false);
    HANDLE handle;

    CHECK(nth_process_enter(process));
    const NTSTATUS status = open_path(path, GENERIC_READ | GENERIC_WRITE, 0, &handle);
    nth_process_leave();
    nth_process_kill(process);
    nth_object_release(process);
    return status;
}

/* "Controlling Device Namespace Access": the device's descriptor guards the device, and its
 * namespace only with FILE_DEVICE_SECURE_OPEN. */
TEST(open_is_checked_against_device_descriptor)
{
    void *descriptor;
    size_t bytes;

    boot();
    CHECK_STATUS(open_as(NTH_TOKEN_USER, "\\??\\Gadget"),
                 STATUS_SUCCESS); /* the default admits everyone */
    CHECK_EQ(nth_sddl_parse("D:P(A;;GA;;;SY)(A;;GA;;;BA)", &descriptor, &bytes), 0);
    nth_device_set_security(S.Device, descriptor, bytes);
    free(descriptor);
    CHECK_STATUS(open_as(NTH_TOKEN_USER, "\\??\\Gadget"), STATUS_ACCESS_DENIED);
    CHECK_STATUS(open_as(NTH_TOKEN_ADMIN, "\\??\\Gadget"), STATUS_SUCCESS);
    CHECK_STATUS(open_as(NTH_TOKEN_USER, "\\??\\Gadget\\name"), STATUS_SUCCESS);
    S.Device->Characteristics |= FILE_DEVICE_SECURE_OPEN;
    CHECK_STATUS(open_as(NTH_TOKEN_USER, "\\??\\Gadget\\name"), STATUS_ACCESS_DENIED);
    nth_shutdown();
}

/* ---- control requests ---- */

/* "Buffer Descriptions for I/O Control Codes": one system buffer for both directions. */
TEST(control_buffered_copies_in_and_out)
{
    boot();
    S.Mode[IRP_MJ_DEVICE_CONTROL] = GADGET_ECHO;
    S.Information = 4;
    struct user user = user_new(SYNC);
    memcpy(user.data, "abcdefgh", 8);
    CHECK_STATUS(control(&user, ECHO, 8, 8), STATUS_SUCCESS);
    CHECK_MEM(S.Input, "abcdefgh", 8);
    CHECK_EQ(user.iosb->Status, STATUS_SUCCESS);
    CHECK_EQ(user.iosb->Information, 4);
    CHECK(S.SystemBuffer != NULL && S.SystemBuffer != user.data);
    CHECK_EQ(S.RequestProcess, nth_process_id(user.process));
    user_end(&user);
    nth_shutdown();
}

/* Same page: a warning status copies the output, an error status does not. */
TEST(control_buffered_warning_copies_error_does_not)
{
    boot();
    S.Mode[IRP_MJ_DEVICE_CONTROL] = GADGET_FILL;
    S.Information = 4;
    S.Status = STATUS_SUCCESS;
    struct user user = user_new(SYNC);
    S.Status = STATUS_BUFFER_OVERFLOW;
    CHECK_STATUS(control(&user, ECHO, 0, 8), STATUS_BUFFER_OVERFLOW);
    CHECK_MEM(user.data, "\x5A\x5A\x5A\x5A", 5);
    memset(user.data, 0, 8);
    S.Status = STATUS_INVALID_PARAMETER;
    user.iosb->Status = 0x1111;
    CHECK_STATUS(control(&user, ECHO, 0, 8), STATUS_INVALID_PARAMETER);
    CHECK_EQ(user.data[0], 0);
    CHECK_EQ(user.iosb->Status, 0x1111); /* failed at once: the status is the answer */
    S.Status = STATUS_SUCCESS;
    user_end(&user);
    nth_shutdown();
}

/* "Defining I/O Control Codes", RequiredAccess: the handle must have been granted it. */
TEST(control_needs_access_of_its_code)
{
    boot();
    struct user user = user_new(SYNC);
    HANDLE reader;

    CHECK_STATUS(open_path("\\??\\Gadget", FILE_READ_DATA | SYNCHRONIZE, SYNC, &reader),
                 STATUS_SUCCESS);
    CHECK_STATUS(control(&user, ECHO_WRITE, 0, 0), STATUS_SUCCESS);
    CHECK_STATUS(nth_io_control(reader, NULL, NULL, user.iosb, ECHO_WRITE, NULL, 0, NULL, 0),
                 STATUS_ACCESS_DENIED);
    CHECK_EQ(S.Major[IRP_MJ_DEVICE_CONTROL], 1);
    CHECK_STATUS(nth_io_write(reader, NULL, NULL, user.iosb, user.data, 1), STATUS_ACCESS_DENIED);
    user_end(&user);
    nth_shutdown();
}

/* METHOD_OUT_DIRECT: an MDL whose system address is another one than the user's; METHOD_NEITHER:
 * the addresses as they are. */
TEST(control_direct_and_neither_buffers)
{
    boot();
    S.Mode[IRP_MJ_DEVICE_CONTROL] = GADGET_FILL;
    S.Information = 8;
    struct user user = user_new(SYNC);
    CHECK_STATUS(control(&user, DIRECT_OUT, 0, 8), STATUS_SUCCESS);
    CHECK(S.MdlAddress != NULL);
    CHECK_EQ(user.data[7], 0x5A);
    S.Information = 0;
    CHECK_STATUS(control(&user, NEITHER, 8, 8), STATUS_SUCCESS);
    CHECK_EQ(S.UserBuffer, user.data);
    CHECK(S.SystemBuffer == NULL);
    user_end(&user);
    nth_shutdown();
}

/* A bad address is refused by the I/O manager for every method but METHOD_NEITHER. */
TEST(control_bad_addresses_are_refused)
{
    boot();
    struct user user = user_new(SYNC);
    void *const kernel = (void *)(nth_user_limit() + 4096);
    void *const nowhere = (void *)(uintptr_t)0x5000;

    CHECK_STATUS(nth_io_control(user.file, NULL, NULL, user.iosb, ECHO, nowhere, 4, NULL, 0),
                 STATUS_ACCESS_VIOLATION);
    CHECK_STATUS(nth_io_control(user.file, NULL, NULL, user.iosb, ECHO, NULL, 0, kernel, 4),
                 STATUS_ACCESS_VIOLATION);
    CHECK_STATUS(nth_io_control(user.file, NULL, NULL, user.iosb, DIRECT_IN, NULL, 0, nowhere, 4),
                 STATUS_ACCESS_VIOLATION);
    CHECK_STATUS(nth_io_control(user.file, NULL, NULL, user.iosb, DIRECT_OUT, NULL, 0, kernel, 4),
                 STATUS_ACCESS_VIOLATION);
    CHECK_STATUS(nth_io_control(user.file, NULL, NULL, nowhere, ECHO, NULL, 0, NULL, 0),
                 STATUS_ACCESS_VIOLATION);
    CHECK_EQ(S.Major[IRP_MJ_DEVICE_CONTROL], 0);
    CHECK_STATUS(nth_io_control(user.file, NULL, NULL, user.iosb, NEITHER, nowhere, 4, kernel, 4),
                 STATUS_SUCCESS);
    user_end(&user);
    nth_shutdown();
}

/* METHOD_IN_DIRECT probes for read: a read-only page will do; METHOD_OUT_DIRECT needs write access.
 */
TEST(control_direct_write_access_is_probed)
{
    boot();
    struct user user = user_new(SYNC);
    uint8_t *page = nth_user_alloc(user.process, 4096);

    nth_user_protect(user.process, page, 4096, 1 /* PROT_READ */);
    CHECK_STATUS(nth_io_control(user.file, NULL, NULL, user.iosb, DIRECT_IN, NULL, 0, page, 16),
                 STATUS_SUCCESS);
    CHECK_STATUS(nth_io_control(user.file, NULL, NULL, user.iosb, DIRECT_OUT, NULL, 0, page, 16),
                 STATUS_ACCESS_VIOLATION);
    user_end(&user);
    nth_shutdown();
}

/* ---- read and write ---- */

/* DO_BUFFERED_IO, DO_DIRECT_IO ("Methods for Accessing Data Buffers"); a read of no bytes has no
 * buffer. */
static void read_with(ULONG flags)
{
    boot_only();
    S.DeviceFlags = flags;
    CHECK_STATUS(nth_driver_load(gadget_path(), "gadget", &gadget), STATUS_SUCCESS);
    S.Mode[IRP_MJ_READ] = GADGET_FILL;
    S.Information = 5000;
    struct user user = user_new(SYNC);
    CHECK_STATUS(nth_io_read(user.file, NULL, NULL, user.iosb, user.data, 6000), STATUS_SUCCESS);
    CHECK_EQ(user.iosb->Information, 5000);
    CHECK_EQ(user.data[4999], 0x5A);
    CHECK_EQ(user.data[5000], 0);
    CHECK_EQ(S.SystemBuffer != NULL, (flags & DO_BUFFERED_IO) != 0);
    CHECK_EQ(S.MdlAddress != NULL, (flags & DO_DIRECT_IO) != 0);
    S.Information = 0;
    CHECK_STATUS(nth_io_read(user.file, NULL, NULL, user.iosb, user.data, 0), STATUS_SUCCESS);
    CHECK(S.SystemBuffer == NULL && S.MdlAddress == NULL);
    user_end(&user);
    nth_shutdown();
}

TEST(read_buffered_returns_data)
{
    read_with(DO_BUFFERED_IO);
}

TEST(read_direct_returns_data)
{
    read_with(DO_DIRECT_IO);
}

TEST(read_neither_returns_data)
{
    read_with(0);
}

/* NtReadFile on an asynchronous file: STATUS_PENDING, and event and IOSB at completion. */
TEST(read_asynchronous_completes_later)
{
    HANDLE event;

    boot_only();
    S.DeviceFlags = DO_BUFFERED_IO;
    CHECK_STATUS(nth_driver_load(gadget_path(), "gadget", &gadget), STATUS_SUCCESS);
    S.Mode[IRP_MJ_READ] = GADGET_QUEUE;
    struct user user = user_new(0);
    KEVENT *object = nth_object_create(NTH_OB_EVENT, sizeof(KEVENT), NULL);
    KeInitializeEvent(object, NotificationEvent, TRUE);
    CHECK_STATUS(nth_handle_insert(user.process, object, EVENT_ALL_ACCESS, &event), STATUS_SUCCESS);
    CHECK_STATUS(nth_io_read(user.file, event, NULL, user.iosb, user.data, 16), STATUS_PENDING);
    CHECK_EQ(KeReadStateEvent(object), 0); /* reset by the request */
    CHECK_EQ(user.iosb->Status, 0x1111);
    S.Information = 3;
    CHECK_EQ(act(ACT_COMPLETE_NEXT, 0, 0, 0), 1);
    CHECK_EQ(user.iosb->Status, STATUS_SUCCESS);
    CHECK_EQ(user.iosb->Information, 3);
    CHECK(KeReadStateEvent(object) != 0);
    S.Information = 0;
    nth_object_release(object);
    user_end(&user);
    nth_shutdown();
}

/* IoMarkIrpPending: an IRP marked and completed before its dispatch routine returns still pends. */
TEST(read_completed_while_pending_pends)
{
    boot();
    S.Mode[IRP_MJ_READ] = GADGET_PEND_COMPLETED;
    struct user user = user_new(0);
    CHECK_STATUS(nth_io_read(user.file, NULL, NULL, user.iosb, user.data, 16), STATUS_PENDING);
    CHECK_EQ(user.iosb->Status, STATUS_SUCCESS);
    HANDLE synchronous = open_gadget(SYNC);
    CHECK_STATUS(nth_io_read(synchronous, NULL, NULL, user.iosb, user.data, 16), STATUS_SUCCESS);
    user_end(&user);
    nth_shutdown();
}

/* I/O completion ports: key, context and status of what completed, in order. */
TEST(port_tells_completions_in_order)
{
    HANDLE port;
    ULONG_PTR key;
    void *context;
    IO_STATUS_BLOCK status;
    const LARGE_INTEGER now = {.QuadPart = 0};

    boot();
    S.Mode[IRP_MJ_READ] = GADGET_QUEUE;
    struct user user = user_new(0);
    CHECK_STATUS(nth_io_port_create(&port), STATUS_SUCCESS);
    CHECK_STATUS(nth_io_port_bind(port, user.file, 77), STATUS_SUCCESS);
    CHECK_STATUS(nth_io_port_bind(port, user.file, 78), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(nth_io_read(user.file, NULL, (void *)1, user.iosb, user.data, 16), STATUS_PENDING);
    CHECK_STATUS(nth_io_read(user.file, NULL, (void *)2, user.iosb + 1, user.data, 16),
                 STATUS_PENDING);
    CHECK_STATUS(nth_io_port_remove(port, &key, &context, &status, &now), STATUS_TIMEOUT);
    act(ACT_COMPLETE_NEXT, 0, 0, 0);
    CHECK_STATUS(nth_io_cancel(user.file, user.iosb + 1), STATUS_SUCCESS);
    CHECK_STATUS(nth_io_port_remove(port, &key, &context, &status, &now), STATUS_SUCCESS);
    CHECK_EQ(key, 77);
    CHECK_EQ(context, 1);
    CHECK_STATUS(status.Status, STATUS_SUCCESS);
    CHECK_STATUS(nth_io_port_remove(port, &key, &context, &status, &now), STATUS_SUCCESS);
    CHECK_EQ(context, 2);
    CHECK_STATUS(status.Status, STATUS_CANCELLED);
    user_end(&user);
    nth_shutdown();
}

/* A buffer or IO_STATUS_BLOCK that is gone at completion hurts nobody but the requester. */
TEST(read_into_freed_memory_fails_alone)
{
    boot_only();
    S.DeviceFlags = DO_BUFFERED_IO;
    CHECK_STATUS(nth_driver_load(gadget_path(), "gadget", &gadget), STATUS_SUCCESS);
    S.Mode[IRP_MJ_READ] = GADGET_QUEUE;
    struct user user = user_new(0);
    uint8_t *page = nth_user_alloc(user.process, 4096);
    S.Information = 16;
    CHECK_STATUS(nth_io_read(user.file, NULL, NULL, user.iosb, page, 16), STATUS_PENDING);
    CHECK_STATUS(nth_io_read(user.file, NULL, NULL, (IO_STATUS_BLOCK *)page, user.data, 16),
                 STATUS_PENDING);
    nth_user_free(user.process, page, 4096);
    act(ACT_COMPLETE_NEXT, 0, 0, 0);
    CHECK_STATUS(user.iosb->Status, STATUS_ACCESS_VIOLATION);
    act(ACT_COMPLETE_NEXT, 0, 0, 0);
    user_end(&user);
    nth_shutdown();
}

/* DO_DIRECT_IO: the pages of a pending read stay, even when the user frees their address. */
TEST(read_direct_keeps_pages_until_completion)
{
    boot_only();
    S.DeviceFlags = DO_DIRECT_IO;
    CHECK_STATUS(nth_driver_load(gadget_path(), "gadget", &gadget), STATUS_SUCCESS);
    S.Mode[IRP_MJ_READ] = GADGET_QUEUE;
    struct user user = user_new(0);
    uint8_t *page = nth_user_alloc(user.process, 4096);
    CHECK_STATUS(nth_io_read(user.file, NULL, NULL, user.iosb, page, 4096), STATUS_PENDING);
    const MDL *mdl = S.MdlAddress;
    nth_user_free(user.process, page, 4096);
    CHECK(mdl->MdlFlags & MDL_PAGES_LOCKED);
    act(ACT_COMPLETE_NEXT, 0, 0, 0);
    CHECK_STATUS(user.iosb->Status, STATUS_SUCCESS);
    user_end(&user);
    nth_shutdown();
}

/* ---- cancellation and death ---- */

/* CancelIoEx: the requests of the file, or the one with this OVERLAPPED; STATUS_NOT_FOUND for none.
 */
TEST(cancel_completes_as_cancelled)
{
    boot();
    S.Mode[IRP_MJ_READ] = GADGET_QUEUE;
    struct user user = user_new(0);
    CHECK_STATUS(nth_io_cancel(user.file, NULL), STATUS_NOT_FOUND);
    CHECK_STATUS(nth_io_read(user.file, NULL, NULL, user.iosb, user.data, 16), STATUS_PENDING);
    CHECK_STATUS(nth_io_read(user.file, NULL, NULL, user.iosb + 1, user.data, 16), STATUS_PENDING);
    CHECK_STATUS(nth_io_cancel(user.file, user.iosb), STATUS_SUCCESS);
    CHECK_STATUS(user.iosb[0].Status, STATUS_CANCELLED);
    CHECK_STATUS(nth_io_cancel(user.file, NULL), STATUS_SUCCESS);
    CHECK_STATUS(user.iosb[1].Status, STATUS_CANCELLED);
    CHECK_STATUS(nth_io_cancel(user.file, NULL), STATUS_NOT_FOUND);
    user_end(&user);
    nth_shutdown();
}

/* IRP_MJ_CLEANUP: the driver cancels what the file has pending; IRP_MJ_CLOSE only after it. */
TEST(close_with_pending_read_cancels_it)
{
    boot();
    S.Mode[IRP_MJ_READ] = GADGET_QUEUE;
    struct user user = user_new(0);
    CHECK_STATUS(nth_io_read(user.file, NULL, NULL, user.iosb, user.data, 16), STATUS_PENDING);
    CHECK_STATUS(nth_handle_close(user.process, user.file), STATUS_SUCCESS);
    CHECK_STATUS(user.iosb->Status, STATUS_CANCELLED);
    nth_settle();
    CHECK_EQ(S.Sequence[S.Sequences - 1], IRP_MJ_CLOSE);
    user_end(&user);
    nth_shutdown();
}

static void asynchronous_read(void *context)
{
    struct user *user = context;

    CHECK(nth_process_enter(user->process));
    CHECK_STATUS(nth_io_read(user->file, NULL, NULL, user->iosb, user->data, 16), STATUS_PENDING);
    nth_process_leave();
}

/* IRP_MJ_CLOSE: "All outstanding I/O requests have been completed or canceled"; it does not wait
 * for the dispatch routine that began one of them. */
TEST(close_does_not_wait_for_the_routine_whose_request_is_complete)
{
    boot();
    S.Mode[IRP_MJ_READ] = GADGET_LINGER;
    struct user user = user_new(0);
    struct nth_thread *thread = nth_spawn("reader", asynchronous_read, &user);
    while (((volatile IO_STATUS_BLOCK *)user.iosb)->Status == 0x1111)
        nth_point();
    CHECK_STATUS(nth_handle_close(user.process, user.file), STATUS_SUCCESS);
    nth_join(thread);
    CHECK_EQ(S.Lingered, 1);
    user_end(&user);
    nth_shutdown();
}

static struct user *blocked_user;
static NTSTATUS blocked_status;

static void blocked_read(void *context)
{
    struct user *user = context;

    CHECK(nth_process_enter(user->process));
    blocked_status = nth_io_read(user->file, NULL, NULL, user->iosb, user->data, 16);
    nth_process_leave();
}

/* Process death: a thread in a synchronous read has its IRP cancelled, then handles are cleaned up
 * in the context of the process, and the driver sees both. */
TEST(kill_ends_blocked_read_then_cleans_up)
{
    boot();
    S.Mode[IRP_MJ_READ] = GADGET_QUEUE;
    struct user user = user_new(SYNC);
    const HANDLE id = nth_process_id(user.process);
    blocked_user = &user;
    nth_process_leave();
    struct nth_thread *thread = nth_spawn("reader", blocked_read, &user);
    nth_settle();
    CHECK_EQ(S.Major[IRP_MJ_READ], 1);
    nth_process_kill(user.process);
    nth_join(thread);
    CHECK_STATUS(blocked_status, STATUS_CANCELLED);
    CHECK_EQ(S.CleanupProcess, id);
    CHECK_EQ(S.Major[IRP_MJ_CLOSE], 1);
    nth_object_release(user.process);
    nth_shutdown();
}

/* Thread exit waits for its IRPs: one that nobody ever completes is found out. */
TEST(kill_with_read_never_completed_stops)
{
    boot();
    S.Mode[IRP_MJ_READ] = GADGET_HOLD;
    struct user user = user_new(0);
    CHECK_STATUS(nth_io_read(user.file, NULL, NULL, user.iosb, user.data, 16), STATUS_PENDING);
    nth_expect_stop("irp-not-completed");
    user_end(&user);
}

/* CancelIoEx with more requests than any table holds: each is cancelled once. */
TEST(cancel_of_many_requests_ends)
{
    boot();
    S.Mode[IRP_MJ_READ] = GADGET_QUEUE;
    struct user user = user_new(0);
    for (unsigned i = 0; i < 200; i++)
        CHECK_STATUS(nth_io_read(user.file, NULL, NULL, user.iosb, user.data, 16), STATUS_PENDING);
    S.Mode[IRP_MJ_READ] = GADGET_HOLD;
    CHECK_STATUS(nth_io_read(user.file, NULL, NULL, user.iosb + 1, user.data, 16), STATUS_PENDING);
    CHECK_STATUS(nth_io_cancel(user.file, NULL), STATUS_SUCCESS);
    CHECK_EQ(act(ACT_COMPLETE_NEXT, 0, 0, 0), 0);
    CHECK_STATUS(user.iosb[1].Status, 0); /* nobody could cancel this one */
    S.Status = STATUS_CANCELLED;
    act(ACT_COMPLETE_HELD, 0, 0, 0);
    CHECK_STATUS(user.iosb[1].Status, STATUS_CANCELLED);
    S.Status = STATUS_SUCCESS;
    user_end(&user);
    nth_shutdown();
}

/* A duplicated handle keeps the file open; cleanup comes with the last one, wherever that is. */
TEST(duplicate_handle_cleans_up_with_the_last)
{
    HANDLE copy;

    boot();
    struct user user = user_new(0);
    struct nth_process *other = process_new();
    const HANDLE id = nth_process_id(other);
    CHECK_STATUS(nth_handle_duplicate(user.process, user.file, other, &copy), STATUS_SUCCESS);
    CHECK_STATUS(nth_handle_close(user.process, user.file), STATUS_SUCCESS);
    CHECK_EQ(S.Major[IRP_MJ_CLEANUP], 0);
    nth_process_leave();
    nth_process_kill(other);
    CHECK_EQ(S.Major[IRP_MJ_CLEANUP], 1);
    CHECK_EQ(S.CleanupProcess, id);
    CHECK(nth_process_enter(user.process));
    nth_object_release(other);
    user_end(&user);
    nth_shutdown();
}

/* IoIs32bitProcess */
TEST(wow64_requests_are_known)
{
    boot();
    struct user user = {.process = nth_process_create("wow", NTH_TOKEN_ADMIN, true)};
    uint8_t *page = nth_user_alloc(user.process, 4096);
    CHECK((uintptr_t)page < 1ull << 32);
    user.iosb = (IO_STATUS_BLOCK *)page;
    user.data = page + 64;
    CHECK(nth_process_enter(user.process));
    user.file = open_gadget(SYNC);
    CHECK_STATUS(control(&user, ECHO, 0, 0), STATUS_SUCCESS);
    CHECK_EQ(S.Is32bit, 1);
    user_end(&user);
    nth_shutdown();
}

/* ---- stacks and requests of drivers ---- */

/* IoAttachDeviceToDeviceStack: requests reach the upper device first; PendingReturned is passed up.
 */
TEST(filter_sees_requests_and_completions)
{
    boot();
    CHECK_STATUS(act(ACT_ATTACH, 0, 0, 0), STATUS_SUCCESS);
    CHECK_EQ(S.Filter->StackSize, 2);
    S.FilterMode = 1;
    S.Mode[IRP_MJ_READ] = GADGET_QUEUE;
    struct user user = user_new(0);
    CHECK_EQ(S.Completions, 1);
    CHECK_STATUS(nth_io_read(user.file, NULL, NULL, user.iosb, user.data, 16), STATUS_PENDING);
    act(ACT_COMPLETE_NEXT, 0, 0, 0);
    CHECK_EQ(S.Completions, 2);
    CHECK_EQ(S.PendingReturned, 1);
    S.FilterMode = 2; /* without a completion routine the mark goes up by itself */
    CHECK_STATUS(nth_io_read(user.file, NULL, NULL, user.iosb, user.data, 16), STATUS_PENDING);
    act(ACT_COMPLETE_NEXT, 0, 0, 0);
    S.FilterMode = 0;
    CHECK_STATUS(nth_io_read(user.file, NULL, NULL, user.iosb, user.data, 16), STATUS_PENDING);
    act(ACT_COMPLETE_NEXT, 0, 0, 0);
    user_end(&user);
    act(ACT_DETACH, 0, 0, 0);
    nth_shutdown();
}

/* IoGetDeviceObjectPointer: a reference to a file, whose handle is closed (cleaned up) already. */
TEST(device_pointer_is_a_file_reference)
{
    boot();
    CHECK_STATUS(act(ACT_OPEN, 0, 0, 0), STATUS_SUCCESS);
    CHECK_EQ(S.Major[IRP_MJ_CLEANUP], 1);
    CHECK_EQ(S.Major[IRP_MJ_CLOSE], 0);
    act(ACT_CLOSE, 0, 0, 0);
    nth_settle();
    CHECK_EQ(S.Major[IRP_MJ_CLOSE], 1);
    nth_shutdown();
}

/* IoBuildDeviceIoControlRequest: buffers as the code says, IOSB and event at the end. */
TEST(driver_control_request_is_answered)
{
    boot();
    S.Mode[IRP_MJ_DEVICE_CONTROL] = GADGET_ECHO;
    S.Information = 4;
    CHECK_STATUS(act(ACT_CONTROL, ECHO, 8, 16), STATUS_SUCCESS);
    CHECK_EQ(S.InputLength, 8);
    CHECK_EQ(S.OutputLength, 16);
    CHECK_EQ(S.IosbInformation, 4);
    S.Mode[IRP_MJ_DEVICE_CONTROL] = GADGET_PEND_COMPLETED;
    CHECK_STATUS(act(ACT_CONTROL, DIRECT_OUT, 0, 16), STATUS_SUCCESS);
    S.Information = 0;
    nth_shutdown();
}

/* IoBuildSynchronousFsdRequest: a read of a buffered device ends in the driver's own buffer. */
TEST(driver_synchronous_read_is_answered)
{
    IO_STATUS_BLOCK iosb = {.Status = 0x7777};
    uint8_t data[16] = "";
    KEVENT event;

    boot_only();
    S.DeviceFlags = DO_BUFFERED_IO;
    CHECK_STATUS(nth_driver_load(gadget_path(), "gadget", &gadget), STATUS_SUCCESS);
    S.Mode[IRP_MJ_READ] = GADGET_FILL;
    S.Information = 10;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    const ULONG_PTR build[8] = {IRP_MJ_READ, (ULONG_PTR)S.Device, (ULONG_PTR)data, 16,
                                0,           (ULONG_PTR)&event,   (ULONG_PTR)&iosb};
    const ULONG_PTR irp = invoke("IoBuildSynchronousFsdRequest", build);
    const ULONG_PTR call[8] = {(ULONG_PTR)S.Device, irp};
    CHECK_STATUS(invoke("IofCallDriver", call), STATUS_SUCCESS);
    CHECK_EQ(iosb.Information, 10);
    CHECK_EQ(data[9], 0x5A);
    CHECK_EQ(data[10], 0);
    CHECK(KeReadStateEvent(&event) != 0);
    nth_shutdown();
}

/* IoAllocateIrp: the driver's completion routine takes the IRP back. */
TEST(driver_irp_is_reclaimed_by_its_owner)
{
    boot();
    CHECK_STATUS(act(ACT_OWN_IRP, 0, 0, 0), STATUS_SUCCESS);
    CHECK_EQ(S.Completions, 1);
    nth_shutdown();
}

/* IoQueueWorkItem: at PASSIVE_LEVEL on a system thread; the routine may free the item. */
TEST(work_item_runs_once)
{
    boot();
    CHECK_EQ(act(ACT_WORK, 0, 0, 0), 0);
    nth_settle();
    CHECK_EQ(S.Works, 1);
    nth_shutdown();
}

/* IoAcquireRemoveLock: STATUS_DELETE_PENDING once IoReleaseRemoveLockAndWait was called. */
TEST(remove_lock_refuses_after_removal)
{
    boot();
    CHECK_STATUS(act(ACT_REMLOCK, 0, 0, 0), STATUS_DELETE_PENDING);
    nth_shutdown();
}

/* ---- drivers ---- */

/* A DriverEntry that fails is undone; the same driver loads afterwards. */
TEST(driver_entry_failure_unloads)
{
    boot_only();
    S.EntryStatus = STATUS_DEVICE_CONFIGURATION_ERROR;
    CHECK_STATUS(nth_driver_load(gadget_path(), "gadget", &gadget),
                 STATUS_DEVICE_CONFIGURATION_ERROR);
    S.EntryStatus = STATUS_SUCCESS;
    CHECK_STATUS(nth_driver_load(gadget_path(), "gadget", &gadget), STATUS_SUCCESS);
    CHECK_STATUS(nth_driver_unload(gadget), STATUS_SUCCESS);
    CHECK_STATUS(nth_driver_load(gadget_path(), "gadget", &gadget), STATUS_SUCCESS);
    nth_shutdown();
    CHECK_EQ(S.Unloads, 2);
}

/* IoDeleteDevice: "delete pending" until the references are released; unload waits for the same. */
TEST(unload_waits_for_open_file)
{
    HANDLE handle, other;

    boot();
    CHECK_STATUS(open_path("\\Device\\Gadget", FILE_READ_DATA, 0, &handle), STATUS_SUCCESS);
    CHECK_STATUS(nth_driver_unload(gadget), STATUS_PENDING);
    CHECK_EQ(S.Unloads, 0);
    CHECK_STATUS(open_path("\\Device\\Gadget", FILE_READ_DATA, 0, &other), STATUS_NO_SUCH_DEVICE);
    nth_handle_close(nth_process_current(), handle);
    nth_settle();
    CHECK_EQ(S.Unloads, 1);
    nth_shutdown();
}

/* IoDeleteDevice with an open file: the name is free at once, the file still works. */
TEST(delete_device_with_open_file_frees_name)
{
    HANDLE old, fresh;

    boot();
    CHECK_STATUS(open_path("\\Device\\Gadget", FILE_READ_DATA, 0, &old), STATUS_SUCCESS);
    act(ACT_DELETE_DEVICE, 0, 0, 0);
    CHECK_STATUS(open_path("\\Device\\Gadget", FILE_READ_DATA, 0, &fresh),
                 STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_STATUS(act(ACT_CREATE_DEVICE, 0, 0, 0), STATUS_SUCCESS);
    CHECK_STATUS(open_path("\\Device\\Gadget", FILE_READ_DATA, 0, &fresh), STATUS_SUCCESS);
    nth_handle_close(nth_process_current(), old);
    CHECK_EQ(S.Major[IRP_MJ_CLOSE], 1);
    nth_handle_close(nth_process_current(), fresh);
    nth_shutdown();
}

/* What a driver does not handle ends as STATUS_INVALID_DEVICE_REQUEST. */
TEST(unhandled_request_is_invalid)
{
    boot();
    S.DriverObject->MajorFunction[IRP_MJ_WRITE] = S.DriverObject->MajorFunction[IRP_MJ_SHUTDOWN];
    struct user user = user_new(SYNC);
    CHECK_STATUS(nth_io_write(user.file, NULL, NULL, user.iosb, user.data, 1),
                 STATUS_INVALID_DEVICE_REQUEST);
    user_end(&user);
    nth_shutdown();
}

/* Every allocation that fails while a driver starts is survived, and nothing is left behind. */
TEST(driver_load_survives_each_failure)
{
    unsigned n = 1;

    boot_only();
    for (;; n++) {
        nth_fault_arm(~0u, n);
        const NTSTATUS status = nth_driver_load(gadget_path(), "gadget", &gadget);
        const bool fired = nth_fault_fired();
        nth_fault_arm(~0u, 0);
        if (!fired)
            break;
        CHECK_STATUS(status, STATUS_INSUFFICIENT_RESOURCES);
    }
    CHECK(n == 3); /* the device and its link */
    nth_shutdown();
}
