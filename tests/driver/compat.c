/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.sys about NDIS's own device, where existing clients register rings: what is
 * taken, what goes to NDIS untouched, removal with such clients, and clients in the kernel
 * (design 2.5, abi.md 2.1 and 6; lessons 5 and 18).
 */
#include "scenario.h"

/* ---- what is not ours ---- */

TEST(other_codes_on_the_ndis_device_reach_ndis)
{
    /* abi.md 2.1: "all other control codes on this device must keep going to NDIS untouched". What
     * NDIS says of each is the same as without the hook: with no driver code in between */
    struct scene scene;
    static const uint32_t codes[] = {0, WINTUN_IOCTL_QUERY, WINTUN_IOCTL_REGISTER_RINGS + 4,
                                     0xCA6CE5C7, 0x80000000};

    scene_begin(&scene, SERIAL(1));
    const client_handle file = port_open(&scene.port, scene.admin, VIA_NDIS);
    void *room = program_alloc(scene.admin, 4096);
    for (unsigned i = 0; i < 5; i++) {
        const client_status status =
            client_control(scene.admin, file, codes[i], room, 48, room, 4096, NULL);
        CHECK(!NT_SUCCESS(status));
    }
    /* IOCTL_NDIS_QUERY_GLOBAL_STATS is NDIS's own */
    uint32_t *oid = program_alloc(scene.admin, 8), *answer = program_alloc(scene.admin, 8);
    *oid = OID_GEN_MAXIMUM_TOTAL_SIZE;
    const client_status status =
        client_control(scene.admin, file, 0x00170002, oid, 4, answer, 4, NULL);
    CHECK(status != STATUS_SUCCESS || *answer == 65535);
    CHECK(!port_is_up(&scene.port));
    scene_end(&scene);
}

TEST(control_device_is_not_taken_for_an_adapter_by_the_hooks)
{
    /* design 2.5: "looks the device object up in the driver's own table (the hooks also see the
     * control device)"; lessons nt:4309390: a context looked up by an assumption */
    struct scene scene;
    struct port second;

    scene_begin(&scene, SERIAL(1));
    port_plug(&second);
    scene_rings(&scene, VIA_WINTUN, NULL);
    const client_handle other = port_open(&second, scene.admin, VIA_NDIS);
    CHECK_STATUS(client_close(scene.admin, other), STATUS_SUCCESS); /* not the owner's */
    CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL), NDIS_STATUS_SUCCESS);
    const client_handle idle = port_open(&scene.port, scene.admin, VIA_NDIS);
    CHECK_STATUS(client_close(scene.admin, idle), STATUS_SUCCESS);
    CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL), NDIS_STATUS_SUCCESS);
    port_unplug(&second);
    CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL), NDIS_STATUS_SUCCESS);
    scene_end(&scene);
}

TEST(register_completes_at_once_on_an_overlapped_handle)
{
    /* abi.md 2.2 [COMPAT]: OpenVPN issues it on an overlapped handle with a NULL OVERLAPPED */
    struct scene scene;
    const uint32_t size = WINTUN_RING_MIN_CAPACITY + WINTUN_RING_OVERHEAD;

    scene_begin(&scene, SERIAL(1));
    for (int route = 0; route < 2; route++) {
        const client_handle file =
            port_open_overlapped(&scene.port, scene.admin, (enum route)route);
        uint8_t *memory = program_alloc(scene.admin, 2 * (size_t)size);
        WINTUN_REGISTER_RINGS *request = program_alloc(scene.admin, sizeof(*request));
        struct client_io *io = program_alloc(scene.admin, sizeof(*io));
        *request = (WINTUN_REGISTER_RINGS){
            .ToUser = {size, 0, (uintptr_t)memory, program_event(scene.admin)},
            .ToStack = {size, 0, (uintptr_t)memory + size, program_event(scene.admin)},
        };
        CHECK_STATUS(client_control_start(scene.admin, file, WINTUN_IOCTL_REGISTER_RINGS, request,
                                          sizeof(*request), NULL, 0, io),
                     STATUS_SUCCESS); /* not STATUS_PENDING */
        CHECK_EQ(io->transferred, 0);
        CHECK_STATUS(client_close(scene.admin, file), STATUS_SUCCESS);
    }
    scene_end(&scene);
}

TEST(register_on_an_adapter_that_failed_to_start_reaches_nothing)
{
    /* lessons 1d96af3: every hook must accept "no context yet"; abi.md 2.9 row 2 */
    struct port port;

    scenario_boot(SERIAL(1));
    nth_fault_arm(1u << NTH_FAULT_NDIS | 1u << NTH_FAULT_POOL, 1);
    CHECK(!NT_SUCCESS(port_try(&port, NULL)));
    CHECK(nth_fault_fired());
    nth_fault_arm(0, 0);
    port_plug(&port);
    port_unplug(&port);
    scenario_shutdown();
}

/* ---- query-remove ---- */

TEST(query_remove_leaves_sessions_of_the_control_device_alone)
{
    /* design 2.5: compat ends its own session there; files of the control device are ended by halt
     */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    scene_rings(&scene, VIA_WINTUN, NULL);
    CHECK_STATUS(nth_query_remove(scene.port.device), STATUS_SUCCESS);
    CHECK_STATUS(nth_cancel_remove(scene.port.device), STATUS_SUCCESS);
    CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL), NDIS_STATUS_SUCCESS);
    rings_expect(scene.rings, packet_of(60, 4, 1), 60);
    scene_end(&scene);
}

TEST(query_remove_is_quick_when_nobody_registered_there)
{
    /* lessons a332f54: "caller always waits 200 ms": wait only for a client that has to close */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    for (int i = 0; i < 3; i++) {
        const uint64_t before = nth_clock_ns();
        if (i == 1) { /* one that was there and went */
            scene_rings(&scene, VIA_NDIS, NULL);
            scene_end_rings(&scene);
        }
        CHECK_STATUS(nth_query_remove(scene.port.device), STATUS_SUCCESS);
        CHECK_STATUS(nth_cancel_remove(scene.port.device), STATUS_SUCCESS);
        CHECK(nth_clock_ns() - before < 100 * MSEC);
    }
    scene_end(&scene);
}

TEST(opens_are_refused_between_query_and_cancel_remove)
{
    /* lessons nt (HEAD): refuse creates with a removal status; "opens are admitted only once set-up
     * is complete" (design 2.5) */
    struct scene scene;
    client_handle file;

    scene_begin(&scene, SERIAL(1));
    CHECK_STATUS(nth_query_remove(scene.port.device), STATUS_SUCCESS);
    CHECK_STATUS(port_open_status(&scene.port, scene.admin, VIA_WINTUN, CLIENT_READ, &file),
                 STATUS_DELETE_PENDING);
    CHECK_STATUS(nth_cancel_remove(scene.port.device), STATUS_SUCCESS);
    CHECK_STATUS(port_open_status(&scene.port, scene.admin, VIA_WINTUN, CLIENT_READ, &file),
                 STATUS_SUCCESS);
    scene_end(&scene);
}

TEST(query_remove_ends_the_session_also_of_a_service_that_registered)
{
    /* abi.md 6.1 and 2.7: the file object is what owns; its last handle is in the user's process */
    struct scene scene;
    client_handle copy;

    scene_begin(&scene, SERIAL(1));
    struct client *service = program(CLIENT_SYSTEM);
    const client_handle file = port_open(&scene.port, scene.admin, VIA_NDIS);
    CHECK_STATUS(client_duplicate(scene.admin, file, service, &copy), STATUS_SUCCESS);
    struct ring_session *rings;
    CHECK_STATUS(ring_open(service, copy, NULL, &rings), STATUS_SUCCESS);
    CHECK_STATUS(client_close(service, copy), STATUS_SUCCESS);
    CHECK(!NT_SUCCESS(nth_unplug(scene.port.device)));
    CHECK_EQ(to_user(rings)->Tail, WINTUN_RING_ENDED);
    CHECK_EQ(to_stack(rings)->Head, WINTUN_RING_ENDED);
    CHECK(event_is_set(service, ring_to_user_event(rings)));
    CHECK_STATUS(client_close(scene.admin, file), STATUS_SUCCESS);
    ring_close(rings);
    client_destroy(service);
    scene_end(&scene);
}

/* ---- clients in the kernel ---- */

struct kernel_client {
    FILE_OBJECT *file;
    DEVICE_OBJECT *device;
    HANDLE handle[2];
    KEVENT *event[2];
    uint8_t *memory;
    uint32_t size;
};

static NTSTATUS kernel_control(struct kernel_client *k, const WINTUN_REGISTER_RINGS *request,
                               KPROCESSOR_MODE mode)
{
    WINTUN_REGISTER_RINGS copy = *request;
    IO_STATUS_BLOCK status = {.Status = STATUS_PENDING};
    KEVENT done;

    KeInitializeEvent(&done, NotificationEvent, FALSE);
    IRP *irp = IoBuildDeviceIoControlRequest(WINTUN_IOCTL_REGISTER_RINGS, k->device, &copy,
                                             sizeof(copy), NULL, 0, FALSE, &done, &status);
    CHECK(irp);
    irp->RequestorMode = mode;
    IoGetNextIrpStackLocation(irp)->FileObject = k->file;
    NTSTATUS result = IoCallDriver(k->device, irp);
    if (result == STATUS_PENDING)
        KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, NULL);
    return result == STATUS_PENDING ? status.Status : result;
}

static void kernel_open(struct kernel_client *k, const char *path)
{
    WCHAR buffer[160] = L"\\DosDevices\\";
    UNICODE_STRING name = {.Buffer = buffer};
    size_t length = 12;

    for (const char *c = path + 4; *c; c++)
        buffer[length++] = (WCHAR)*c;
    name.Length = name.MaximumLength = (USHORT)(2 * length);
    CHECK_STATUS(IoGetDeviceObjectPointer(&name, FILE_ALL_ACCESS, &k->file, &k->device),
                 STATUS_SUCCESS);
    k->size = WINTUN_RING_MIN_CAPACITY + WINTUN_RING_OVERHEAD;
    k->memory = ExAllocatePoolWithTag(NonPagedPool, 2 * (SIZE_T)k->size, 0x74736574);
    memset(k->memory, 0, 2 * (SIZE_T)k->size);
    OBJECT_ATTRIBUTES attributes;
    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(ZwCreateEvent(&k->handle[i], EVENT_ALL_ACCESS, &attributes,
                                   SynchronizationEvent, FALSE),
                     STATUS_SUCCESS);
        CHECK_STATUS(ObReferenceObjectByHandle(k->handle[i], EVENT_ALL_ACCESS, NULL, KernelMode,
                                               (void **)&k->event[i], NULL),
                     STATUS_SUCCESS);
    }
}

static void kernel_close(struct kernel_client *k)
{
    for (int i = 0; i < 2; i++) {
        ObDereferenceObject(k->event[i]);
        ZwClose(k->handle[i]);
    }
    ExFreePoolWithTag(k->memory, 0x74736574);
}

static void kernel_client_registers(enum route route)
{
    struct scene scene;
    struct kernel_client k;

    scene_begin(&scene, SERIAL(1));
    kernel_open(&k, route == VIA_NDIS ? scene.port.ndis : scene.port.file);
    const WINTUN_REGISTER_RINGS request = {
        .ToUser = {k.size, 0, (uintptr_t)k.memory, (uintptr_t)k.handle[0]},
        .ToStack = {k.size, 0, (uintptr_t)k.memory + k.size, (uintptr_t)k.handle[1]},
    };
    CHECK_STATUS(kernel_control(&k, &request, KernelMode), STATUS_SUCCESS);
    CHECK_STATUS(kernel_control(&k, &request, KernelMode), STATUS_ALREADY_INITIALIZED);
    CHECK_EQ(port_query(&scene.port).OwnerProcess, 0);
    CHECK_STATUS(port_send(&scene.port, packet_of(77, 4, 1), 77, NULL), NDIS_STATUS_SUCCESS);
    CHECK_EQ(KeReadStateEvent(k.event[0]), 1);
    CHECK_MEM(k.memory + 16, packet_of(77, 4, 1), 77);
    uint8_t *record = k.memory + k.size + 12;
    *(uint32_t *)record = 66;
    memcpy(record + 4, packet_of(66, 6, 2), 66);
    __atomic_store_n((uint32_t *)(k.memory + k.size + 4), 72, __ATOMIC_SEQ_CST);
    KeSetEvent(k.event[1], 0, FALSE);
    port_expect(&scene.port, 0, packet_of(66, 6, 2), 66);
    client_destroy(scene.admin); /* whose exit is of no concern */
    scene.admin = program(CLIENT_ADMIN);
    CHECK_STATUS(port_send(&scene.port, packet_of(77, 4, 1), 77, NULL), NDIS_STATUS_SUCCESS);
    KeClearEvent(k.event[0]);
    ObDereferenceObject(k.file); /* its only reference: cleanup came when the handle closed */
    nth_settle();
    CHECK_EQ(((WINTUN_RING *)k.memory)->Tail, WINTUN_RING_ENDED);
    CHECK_EQ(((WINTUN_RING *)(k.memory + k.size))->Head, WINTUN_RING_ENDED);
    CHECK_EQ(KeReadStateEvent(k.event[0]), 1);
    kernel_close(&k);
    scene_end(&scene);
}

TEST(kernel_client_registers_at_the_ndis_device)
{
    /* design 2.5: kernel-mode callers are clients too: requestor mode decides how memory and
     * handles are probed; such sessions have no owner process. abi.md 2.9 HEAD; lessons c7b20de.
     * With IoGetDeviceObjectPointer the handle is closed (cleanup) before the client begins, so the
     * session ends with the last reference, at IRP_MJ_CLOSE */
    kernel_client_registers(VIA_NDIS);
}

TEST(kernel_client_registers_at_the_control_device)
{
    /* as above */
    kernel_client_registers(VIA_WINTUN);
}

TEST(request_of_a_program_that_comes_in_another_process_is_refused)
{
    /* design 2.5: "accepts the code only in the requesting process's own context": addresses would
     * be another's, and the session would not end with the process that they belong to */
    struct scene scene;
    struct kernel_client k;
    PEPROCESS process;
    KAPC_STATE state;

    scene_begin(&scene, SERIAL(1));
    uint8_t *memory = program_alloc(scene.admin, 2 * (WINTUN_RING_MIN_CAPACITY + 0x20000));
    CHECK_STATUS(
        PsLookupProcessByProcessId((HANDLE)(uintptr_t)client_process_id(scene.admin), &process),
        STATUS_SUCCESS);
    for (enum route route = VIA_WINTUN; route <= VIA_NDIS; route++) {
        kernel_open(&k, route == VIA_NDIS ? scene.port.ndis : scene.port.file);
        const WINTUN_REGISTER_RINGS request = {
            .ToUser = {k.size, 0, (uintptr_t)memory, program_event(scene.admin)},
            .ToStack = {k.size, 0, (uintptr_t)memory + k.size, program_event(scene.admin)},
        };
        KeStackAttachProcess((PRKPROCESS)process, &state);
        const NTSTATUS status = kernel_control(&k, &request, UserMode);
        KeUnstackDetachProcess(&state);
        CHECK_STATUS(status, STATUS_INVALID_DEVICE_REQUEST);
        CHECK(!port_is_up(&scene.port));
        ObDereferenceObject(k.file);
        kernel_close(&k);
    }
    ObDereferenceObject(process);
    scene_end(&scene);
}

/* What IoBuildDeviceIoControlRequest makes, whose location has no file unless its caller sets one.
 */
static NTSTATUS control_without_file(struct kernel_client *k, ULONG code, void *in, ULONG bytes)
{
    static uint8_t out[256];
    IO_STATUS_BLOCK status;
    KEVENT done;

    KeInitializeEvent(&done, NotificationEvent, FALSE);
    IRP *irp = IoBuildDeviceIoControlRequest(code, k->device, in, bytes, out, sizeof(out), FALSE,
                                             &done, &status);
    CHECK(irp);
    return IoCallDriver(k->device, irp);
}

TEST(kernel_request_without_a_file_is_refused)
{
    /* nf-wdm-iobuilddeviceiocontrolrequest promises no FileObject; a session without one could
     * never be ended (design 2.1) */
    struct scene scene;
    struct kernel_client k;

    scene_begin(&scene, SERIAL(1));
    for (enum route route = VIA_WINTUN; route <= VIA_NDIS; route++) {
        kernel_open(&k, route == VIA_NDIS ? scene.port.ndis : scene.port.file);
        WINTUN_REGISTER_RINGS request = {
            .ToUser = {k.size, 0, (uintptr_t)k.memory, (uintptr_t)k.handle[0]},
            .ToStack = {k.size, 0, (uintptr_t)k.memory + k.size, (uintptr_t)k.handle[1]},
        };
        static const ULONG codes[] = {WINTUN_IOCTL_REGISTER_RINGS, WINTUN_IOCTL_QUERY, 0};
        for (int i = 0; i < 3; i++)
            CHECK(!NT_SUCCESS(control_without_file(&k, codes[i], &request, sizeof(request))));
        ObDereferenceObject(k.file);
        kernel_close(&k);
        CHECK(!port_is_up(&scene.port));
    }
    scene_end(&scene);
}

enum { READ_ROOM = 0x20000 };

/* sdk/ has what the driver uses; this is the host's own. */
DEVICE_OBJECT *NTAPI IoGetRelatedDeviceObject(FILE_OBJECT *file);

/* A driver that reads again as soon as a read is complete, and remembers what it was told then. */
struct kernel_reader {
    DEVICE_OBJECT *device;
    FILE_OBJECT *file;
    HANDLE handle;
    uint8_t *buffer;
    unsigned done, again;
    NTSTATUS status[8], answer[8]; /* of reads that completed; of those sent from completion */
};

static NTSTATUS NTAPI kernel_read_done(DEVICE_OBJECT *device, IRP *irp, void *context);

static NTSTATUS kernel_read(struct kernel_reader *reader)
{
    IRP *irp = IoAllocateIrp(reader->device->StackSize, FALSE);
    IO_STACK_LOCATION *stack = IoGetNextIrpStackLocation(irp);

    irp->MdlAddress = IoAllocateMdl(reader->buffer, READ_ROOM, FALSE, FALSE, NULL);
    MmBuildMdlForNonPagedPool(irp->MdlAddress);
    stack->MajorFunction = IRP_MJ_READ;
    stack->FileObject = reader->file;
    stack->Parameters.Read.Length = READ_ROOM;
    IoSetCompletionRoutine(irp, kernel_read_done, reader, TRUE, TRUE, TRUE);
    return IoCallDriver(reader->device, irp);
}

static NTSTATUS NTAPI kernel_read_done(DEVICE_OBJECT *device, IRP *irp, void *context)
{
    struct kernel_reader *reader = context;

    reader->status[reader->done++] = irp->IoStatus.Status;
    IoFreeMdl(irp->MdlAddress);
    IoFreeIrp(irp);
    if (reader->done < 4)
        reader->answer[reader->again++] = kernel_read(reader);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static void reader_open(struct kernel_reader *reader, const struct port *port)
{
    CHECK_STATUS(port_open_as_driver(port, FILE_READ_DATA, 0, &reader->handle), STATUS_SUCCESS);
    CHECK_STATUS(ObReferenceObjectByHandle(reader->handle, FILE_READ_DATA, NULL, KernelMode,
                                           (void **)&reader->file, NULL),
                 STATUS_SUCCESS);
    reader->device = IoGetRelatedDeviceObject(reader->file);
    reader->buffer = ExAllocatePoolWithTag(NonPagedPool, READ_ROOM, 0x74736574);
}

static void reader_close(struct kernel_reader *reader)
{
    ObDereferenceObject(reader->file);
    CHECK_STATUS(ZwClose(reader->handle), STATUS_SUCCESS);
    ExFreePoolWithTag(reader->buffer, 0x74736574);
}

TEST(kernel_client_may_read_again_when_a_read_is_ended)
{
    /* nc-wdm-io_completion_routine: it may send the next request. Ending a session completes its
     * reads when the end is complete, so that what comes back then finds the adapter gone, and
     * begins no session that nobody would end */
    struct scene scene;
    struct kernel_reader reader = {.buffer = NULL};

    scene_begin(&scene, SERIAL(1));
    reader_open(&reader, &scene.port);
    CHECK_STATUS(kernel_read(&reader), STATUS_PENDING);
    CHECK(port_is_up(&scene.port));
    nth_surprise_remove(scene.port.device);
    nth_settle();
    port_forget(&scene.port);
    CHECK_EQ(reader.done, 4);
    for (unsigned i = 0; i < reader.done; i++)
        CHECK_STATUS(reader.status[i], STATUS_FILE_FORCED_CLOSED);
    for (unsigned i = 0; i < reader.again; i++)
        CHECK_STATUS(reader.answer[i], STATUS_FILE_FORCED_CLOSED);
    reader_close(&reader);
    client_destroy(scene.admin);
    scenario_shutdown();
}

TEST(kernel_request_at_raised_irql_is_refused)
{
    /* "Dispatch Routines and IRQLs": reads come at PASSIVE_LEVEL. A read that has its packets is
     * completed at DISPATCH_LEVEL, and a client that sends the next one from there is told so */
    struct scene scene;
    struct kernel_reader reader = {.buffer = NULL};

    scene_begin(&scene, SERIAL(1));
    reader_open(&reader, &scene.port);
    CHECK_STATUS(kernel_read(&reader), STATUS_PENDING);
    CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL), NDIS_STATUS_SUCCESS);
    CHECK_EQ(reader.done, 4);
    CHECK_STATUS(reader.status[0], STATUS_SUCCESS);
    for (unsigned i = 0; i < reader.again; i++)
        CHECK_STATUS(reader.answer[i], STATUS_INVALID_DEVICE_REQUEST);
    CHECK_STATUS(kernel_read(&reader), STATUS_PENDING); /* from here it may */
    CHECK_STATUS(port_send(&scene.port, packet_of(61, 4, 1), 61, NULL), NDIS_STATUS_SUCCESS);
    CHECK_EQ(reader.done, 5);
    CHECK_STATUS(reader.status[4], STATUS_SUCCESS);
    reader_close(&reader);
    scene_end(&scene);
}

TEST(kernel_read_with_a_file_of_another_device_is_refused)
{
    /* what another driver has in FsContext is none of ours (lessons nt:d7eb123: verify what is one
     * of yours before using its context) */
    struct scene scene;
    struct kernel_client k;
    struct kernel_reader reader = {.done = 4};

    scene_begin(&scene, SERIAL(1));
    reader_open(&reader, &scene.port);
    kernel_open(&k, scene.port.ndis);
    FILE_OBJECT *const file = reader.file;
    void *const context = k.file->FsContext;
    k.file->FsContext = file->FsContext;
    reader.file = k.file;
    CHECK_STATUS(kernel_read(&reader), STATUS_INVALID_DEVICE_REQUEST);
    CHECK(!port_is_up(&scene.port));
    k.file->FsContext = context;
    reader.file = file;
    ObDereferenceObject(k.file);
    kernel_close(&k);
    reader_close(&reader);
    scene_end(&scene);
}

static NTSTATUS NTAPI keep_done(DEVICE_OBJECT *device, IRP *irp, void *context)
{
    return STATUS_MORE_PROCESSING_REQUIRED;
}

TEST(kernel_cleanup_without_a_file_is_nobodys)
{
    /* IRP_MJ_CLEANUP at NDIS's device that names no file is not that of a session without one:
     * a file session has no owner (design 2.1) */
    struct scene scene;
    struct kernel_client k;
    struct kernel_reader reader = {.done = 4};

    scene_begin(&scene, SERIAL(1));
    reader_open(&reader, &scene.port);
    CHECK_STATUS(kernel_read(&reader), STATUS_PENDING);
    kernel_open(&k, scene.port.ndis);
    IRP *irp = IoAllocateIrp(k.device->StackSize, FALSE);
    IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_CLEANUP;
    IoSetCompletionRoutine(irp, keep_done, NULL, TRUE, TRUE, TRUE);
    IoCallDriver(k.device, irp);
    IoFreeIrp(irp);
    CHECK(port_is_up(&scene.port));
    CHECK_EQ(reader.done, 4);
    ObDereferenceObject(k.file);
    kernel_close(&k);
    reader_close(&reader);
    scene_end(&scene);
}
