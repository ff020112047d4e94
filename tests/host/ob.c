/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Objects, handles and names, called from a driver (drivers/caller.c) as far as drivers may call
 * them.
 */
#include "caller.h"

/* An event of a program, as its handle and its object. */
static struct client *owner;
static struct nth_process *process_of(struct client *client)
{
    return nth_process_find((HANDLE)(uintptr_t)client_process_id(client));
}

static client_handle event_of(struct client *client)
{
    client_handle event = 0;

    CHECK_STATUS(client_event(client, false, false, &event), STATUS_SUCCESS);
    return event;
}

static void *exported_type(const char *name)
{
    void **variable = nth_export_find(name);

    CHECK(variable != NULL);
    return *variable;
}

/* ObReferenceObjectByHandle from the driver, in the context of the program. */
static NTSTATUS reference(client_handle handle, ACCESS_MASK access, const char *type,
                          KPROCESSOR_MODE mode, void **object)
{
    struct nth_process *process = process_of(owner);

    CHECK(nth_process_enter(process));
    const NTSTATUS status =
        (NTSTATUS)CALL("ObReferenceObjectByHandle", handle, access,
                       P(type != NULL ? exported_type(type) : NULL), (uint64_t)mode, P(object), 0);
    nth_process_leave();
    nth_object_release(process);
    return status;
}

static void start(void)
{
    boot();
    owner = program(CLIENT_ADMIN);
}

static void finish(void)
{
    client_destroy(owner);
    unload();
}

TEST(reference_event_handle_with_access_answers_the_event)
{
    /* ObReferenceObjectByHandle: a PKEVENT for *ExEventObjectType; ObDereferenceObject gives the
     * reference back. */
    void *object = NULL;
    start();
    const client_handle event = event_of(owner);
    CHECK_STATUS(reference(event, EVENT_MODIFY_STATE, "ExEventObjectType", UserMode, &object),
                 STATUS_SUCCESS);
    CALL("KeSetEvent", P(object), 0, 0);
    CHECK_STATUS(client_wait(owner, &event, 1, 0, NULL), STATUS_SUCCESS);
    CALL("ObfDereferenceObject", P(object));
    finish();
}

TEST(reference_outlives_the_handle)
{
    /* ObReferenceObjectByHandle: "prevents the object from being deleted while the pointer is being
     * referenced". */
    void *object = NULL;
    start();
    const client_handle event = event_of(owner);
    CHECK_STATUS(reference(event, 0, NULL, UserMode, &object), STATUS_SUCCESS);
    CHECK_STATUS(client_close(owner, event), STATUS_SUCCESS);
    CHECK_EQ(nth_object_references(object), 1);
    CALL("KeSetEvent", P(object), 0, 0);
    CALL("ObfDereferenceObject", P(object));
    finish();
}

TEST(reference_closed_or_invented_handle_is_invalid)
{
    /* ObReferenceObjectByHandle: STATUS_INVALID_HANDLE. */
    static const uint64_t wrong[] = {0, 1, 3, 0x10000, 0xFFFFFFFC, 0x7FFFFFFFFFFFFFFC};
    void *object = &object;
    start();
    const client_handle event = event_of(owner);
    CHECK_STATUS(client_close(owner, event), STATUS_SUCCESS);
    CHECK_STATUS(reference(event, 0, NULL, UserMode, &object), STATUS_INVALID_HANDLE);
    CHECK_EQ(P(object), 0);
    for (unsigned i = 0; i < ARRAYSIZE(wrong); i++)
        CHECK_STATUS(reference(wrong[i], 0, NULL, UserMode, &object), STATUS_INVALID_HANDLE);
    finish();
}

TEST(reference_wrong_type_is_a_mismatch)
{
    /* ObReferenceObjectByHandle: STATUS_OBJECT_TYPE_MISMATCH. */
    void *object = NULL;
    start();
    const client_handle event = event_of(owner), file = open_caller(owner, 0);
    CHECK_STATUS(reference(event, 0, "IoFileObjectType", UserMode, &object),
                 STATUS_OBJECT_TYPE_MISMATCH);
    CHECK_STATUS(reference(file, 0, "ExEventObjectType", UserMode, &object),
                 STATUS_OBJECT_TYPE_MISMATCH);
    CHECK_STATUS(reference((client_handle)-1, 0, "PsThreadType", UserMode, &object),
                 STATUS_OBJECT_TYPE_MISMATCH);
    finish();
}

TEST(reference_more_access_than_granted_is_denied)
{
    /* ObReferenceObjectByHandle: in UserMode "the requested access is compared to the granted
     * access for the object". */
    HANDLE handle = NULL;
    void *object = NULL;
    start();
    struct nth_process *process = process_of(owner);
    void *event = nth_event_create(SynchronizationEvent, false);
    CHECK_STATUS(nth_handle_insert(process, event, SYNCHRONIZE, &handle), STATUS_SUCCESS);
    nth_object_release(event);
    nth_object_release(process);
    CHECK_STATUS(reference(P(handle), EVENT_MODIFY_STATE, NULL, UserMode, &object),
                 STATUS_ACCESS_DENIED);
    CHECK_STATUS(reference(P(handle), SYNCHRONIZE, NULL, UserMode, &object), STATUS_SUCCESS);
    CALL("ObfDereferenceObject", P(object));
    finish();
}

TEST(reference_handle_of_another_process_is_invalid)
{
    /* "Object Handles": a handle is valid in the process it was opened for. */
    void *object = NULL;
    start();
    struct client *other = program(CLIENT_USER);
    client_handle theirs = 0;
    for (int i = 0; i < 10; i++)
        theirs = event_of(other);
    CHECK_STATUS(reference(theirs, 0, NULL, UserMode, &object), STATUS_INVALID_HANDLE);
    client_destroy(other);
    finish();
}

TEST(reference_kernel_handle_from_user_mode_is_invalid)
{
    /* "Object Handles": a kernel handle (OBJ_KERNEL_HANDLE) can only be accessed from kernel mode.
     */
    OBJECT_ATTRIBUTES attributes;
    HANDLE handle = NULL;
    void *object = NULL;
    start();
    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    CHECK_STATUS(CALL("ZwCreateEvent", P(&handle), EVENT_ALL_ACCESS, P(&attributes),
                      SynchronizationEvent, 0),
                 STATUS_SUCCESS);
    CHECK((intptr_t)handle < 0);
    CHECK_STATUS(reference(P(handle), 0, NULL, UserMode, &object), STATUS_INVALID_HANDLE);
    CHECK_STATUS(client_close(owner, P(handle)), STATUS_INVALID_HANDLE);
    CHECK_STATUS(CALL("ObCloseHandle", P(handle), UserMode), STATUS_INVALID_HANDLE);
    CHECK_STATUS(reference(P(handle), 0, "ExEventObjectType", KernelMode, &object), STATUS_SUCCESS);
    CALL("ObfDereferenceObject", P(object));
    CHECK_STATUS(CALL("ZwClose", P(handle)), STATUS_SUCCESS);
    CHECK_STATUS(CALL("ZwClose", P(handle)), STATUS_INVALID_HANDLE);
    finish();
}

TEST(reference_user_handle_with_kernel_mode_stops)
{
    /* ObReferenceObjectByHandle: KernelMode with a handle from user address space is bug check
     * 0xC4, subcode 0xF6, under Driver Verifier. */
    void *object = NULL;
    start();
    const client_handle event = event_of(owner);
    nth_expect_stop("user-handle-as-kernel");
    reference(event, 0, NULL, KernelMode, &object);
}

TEST(reference_at_dispatch_level_stops)
{
    /* ObReferenceObjectByHandle: IRQL PASSIVE_LEVEL. */
    void *object = NULL;
    start();
    nth_expect_stop("irql-too-high");
    CALL_RAISED("ObReferenceObjectByHandle", 4, 0, 0, UserMode, P(&object), 0);
}

TEST(dereference_twice_stops)
{
    /* Bug check 0x18 REFERENCE_BY_POINTER. The program's handle still holds a reference. */
    void *object = NULL;
    start();
    CHECK_STATUS(reference(event_of(owner), 0, NULL, UserMode, &object), STATUS_SUCCESS);
    CALL("ObfDereferenceObject", P(object));
    nth_expect_stop("object-dereferenced-twice");
    CALL("ObfDereferenceObject", P(object));
}

TEST(dereference_deleted_object_stops)
{
    /* Bug check 0x18 REFERENCE_BY_POINTER. */
    void *object = NULL;
    start();
    const client_handle event = event_of(owner);
    CHECK_STATUS(reference(event, 0, NULL, UserMode, &object), STATUS_SUCCESS);
    client_close(owner, event);
    CALL("ObfDereferenceObject", P(object));
    nth_expect_stop("object-dereferenced-twice");
    CALL("ObfReferenceObject", P(object));
}

TEST(unload_with_a_reference_stops)
{
    /* ObReferenceObjectByHandle: the caller must decrement the reference count. */
    void *object = NULL;
    start();
    CHECK_STATUS(reference(event_of(owner), 0, NULL, UserMode, &object), STATUS_SUCCESS);
    client_destroy(owner);
    nth_expect_stop("leak");
    nth_driver_unload(caller);
}

TEST(unload_with_an_open_kernel_handle_stops)
{
    /* ObCloseHandle: "A driver must close every handle that it opens". */
    OBJECT_ATTRIBUTES attributes;
    HANDLE handle = NULL;
    boot();
    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    CALL("ZwCreateEvent", P(&handle), EVENT_ALL_ACCESS, P(&attributes), NotificationEvent, 0);
    nth_expect_stop("leak");
    nth_driver_unload(caller);
}

TEST(dereference_last_file_reference_at_dispatch_level_closes_later)
{
    /* ObDereferenceObject: IRQL <= DISPATCH_LEVEL, while IRP_MJ_CLOSE is sent at PASSIVE_LEVEL
     * ("IRP_MJ_CLOSE"). */
    void *object = NULL;
    start();
    const client_handle file = open_caller(owner, 0);
    CHECK_STATUS(reference(file, 0, "IoFileObjectType", UserMode, &object), STATUS_SUCCESS);
    CHECK_STATUS(client_close(owner, file), STATUS_SUCCESS);
    CHECK(log_find(CALLER_CLEANUP, 0) != NULL);
    CHECK(log_find(CALLER_CLOSE, 0) == NULL);
    CALL_RAISED("ObfDereferenceObject", P(object));
    nth_settle();
    const struct caller_entry *close = log_find(CALLER_CLOSE, 0);
    CHECK(close != NULL);
    CHECK_EQ(close->Irql, PASSIVE_LEVEL);
    finish();
}

TEST(dereference_defer_delete_does_not_delete_at_once)
{
    /* ObDereferenceObjectDeferDelete: the deletion is passed to a worker thread. */
    void *object = NULL;
    start();
    const client_handle file = open_caller(owner, 0);
    CHECK_STATUS(reference(file, 0, "IoFileObjectType", UserMode, &object), STATUS_SUCCESS);
    client_close(owner, file);
    CALL("ObDereferenceObjectDeferDelete", P(object));
    nth_settle();
    CHECK(log_find(CALLER_CLOSE, 0) != NULL);
    finish();
}

TEST(duplicate_keeps_the_file_open)
{
    /* IRP_MJ_CLEANUP: sent when the last handle to the file object is closed, wherever it is. */
    client_handle copy = 0;
    start();
    struct client *other = program(CLIENT_USER);
    const client_handle file = open_caller(owner, 0);
    CHECK_STATUS(client_duplicate(owner, file, other, &copy), STATUS_SUCCESS);
    CHECK_STATUS(client_close(owner, file), STATUS_SUCCESS);
    CHECK(log_find(CALLER_CLEANUP, 0) == NULL);
    CHECK_STATUS(client_close(other, copy), STATUS_SUCCESS);
    const struct caller_entry *cleanup = log_find(CALLER_CLEANUP, 0);
    CHECK(cleanup != NULL);
    CHECK_EQ(cleanup->CurrentProcess, client_process_id(other));
    CHECK(log_find(CALLER_CLOSE, 0) != NULL);
    client_destroy(other);
    finish();
}

TEST(reference_by_pointer_checks_the_type_in_user_mode)
{
    /* ObReferenceObjectByPointer: type validation "if the call is being performed in user mode". */
    void *object = NULL;
    start();
    CHECK_STATUS(reference(event_of(owner), 0, NULL, UserMode, &object), STATUS_SUCCESS);
    CHECK_STATUS(CALL("ObReferenceObjectByPointer", P(object), 0,
                      P(exported_type("IoFileObjectType")), UserMode),
                 STATUS_OBJECT_TYPE_MISMATCH);
    CHECK_STATUS(CALL("ObReferenceObjectByPointer", P(object), 0, 0, KernelMode), STATUS_SUCCESS);
    CALL("ObfDereferenceObject", P(object));
    CALL("ObfDereferenceObject", P(object));
    finish();
}

TEST(open_by_pointer_answers_a_kernel_handle)
{
    /* ObOpenObjectByPointer: OBJ_KERNEL_HANDLE; unknown flags are STATUS_INVALID_PARAMETER, another
     * type STATUS_OBJECT_TYPE_MISMATCH. */
    HANDLE handle = NULL;
    void *object = NULL;
    start();
    CHECK_STATUS(reference(event_of(owner), 0, NULL, UserMode, &object), STATUS_SUCCESS);
    CHECK_STATUS(
        CALL("ObOpenObjectByPointer", P(object), 0x40000000, 0, 0, 0, KernelMode, P(&handle)),
        STATUS_INVALID_PARAMETER);
    CHECK_STATUS(CALL("ObOpenObjectByPointer", P(object), OBJ_KERNEL_HANDLE, 0, 0,
                      P(exported_type("IoFileObjectType")), KernelMode, P(&handle)),
                 STATUS_OBJECT_TYPE_MISMATCH);
    CHECK_STATUS(CALL("ObOpenObjectByPointer", P(object), OBJ_KERNEL_HANDLE, 0, EVENT_ALL_ACCESS,
                      P(exported_type("ExEventObjectType")), KernelMode, P(&handle)),
                 STATUS_SUCCESS);
    CHECK((intptr_t)handle < 0);
    CHECK_STATUS(CALL("ZwClose", P(handle)), STATUS_SUCCESS);
    CALL("ObfDereferenceObject", P(object));
    finish();
}

/* ---- names ---- */

static UNICODE_STRING name(WCHAR *text)
{
    size_t n = 0;

    while (text[n] != 0)
        n++;
    return (UNICODE_STRING){
        .Length = (USHORT)(n * 2), .MaximumLength = (USHORT)(n * 2), .Buffer = text};
}

static NTSTATUS find(WCHAR *text, UNICODE_STRING *rest)
{
    UNICODE_STRING path = name(text);
    DEVICE_OBJECT *device = NULL;
    const NTSTATUS status = nth_name_find_device(&path, &device, rest);

    if (NT_SUCCESS(status))
        nth_object_release(device);
    return status;
}

TEST(name_every_spelling_of_the_dos_directory_finds_the_link)
{
    /* "Introduction to MS-DOS Device Names": \DosDevices, \??, and Win32's \\.\ name one directory;
     * names are compared without case. */
    static WCHAR *const spellings[] = {L"\\Device\\Caller",   L"\\DosDevices\\Caller",
                                       L"\\??\\Caller",       L"\\\\.\\caller",
                                       L"\\GLOBAL??\\CALLER", L"\\DosDevices\\Global\\Caller"};
    UNICODE_STRING rest;
    boot();
    for (unsigned i = 0; i < ARRAYSIZE(spellings); i++) {
        CHECK_STATUS(find(spellings[i], &rest), STATUS_SUCCESS);
        CHECK_EQ(rest.Length, 0);
    }
    unload();
}

TEST(name_what_follows_the_device_is_left_to_it)
{
    /* "Controlling Device Namespace Access": the rest of the path is the driver's namespace. */
    UNICODE_STRING rest;
    WCHAR text[] = L"\\??\\Caller\\{ab}\\x";
    boot();
    CHECK_STATUS(find(text, &rest), STATUS_SUCCESS);
    CHECK_EQ(rest.Length, 7 * 2);
    CHECK_MEM(rest.Buffer, L"\\{ab}\\x", 7 * 2);
    CHECK_STATUS(find(L"\\??\\CallerX", &rest), STATUS_OBJECT_NAME_NOT_FOUND);
    unload();
}

TEST(name_unknown_last_part_and_unknown_directory_differ)
{
    /* ZwCreateFile: STATUS_OBJECT_NAME_NOT_FOUND and STATUS_OBJECT_PATH_NOT_FOUND. */
    UNICODE_STRING rest;
    boot();
    CHECK_STATUS(find(L"\\??\\Nothing", &rest), STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_STATUS(find(L"\\??\\Nothing\\x", &rest), STATUS_OBJECT_PATH_NOT_FOUND);
    CHECK_STATUS(find(L"Caller", &rest), STATUS_OBJECT_PATH_SYNTAX_BAD);
    unload();
}

TEST(name_taken_is_a_collision)
{
    /* IoCreateSymbolicLink, IoCreateDevice: STATUS_OBJECT_NAME_COLLISION. */
    UNICODE_STRING link = name(L"\\??\\caller"), target = name(L"\\Device\\Caller");
    boot();
    CHECK_STATUS(nth_link_insert(&link, &target), STATUS_OBJECT_NAME_COLLISION);
    unload();
}

TEST(name_links_that_go_in_circles_are_refused)
{
    /* A path must not be followed for ever. */
    UNICODE_STRING a = name(L"\\??\\A"), b = name(L"\\??\\B"), rest;
    boot();
    CHECK_STATUS(nth_link_insert(&a, &b), STATUS_SUCCESS);
    CHECK_STATUS(nth_link_insert(&b, &a), STATUS_SUCCESS);
    CHECK(!NT_SUCCESS(find(L"\\??\\A", &rest)));
    CHECK_STATUS(nth_name_remove(&a), STATUS_SUCCESS);
    CHECK_STATUS(nth_name_remove(&b), STATUS_SUCCESS);
    CHECK_STATUS(nth_name_remove(&b), STATUS_OBJECT_NAME_NOT_FOUND);
    unload();
}

TEST(handles_thousands_stay_apart)
{
    /* A handle keeps naming its object however many others come and go. */
    enum { COUNT = 3000 };
    static client_handle handles[COUNT];
    boot();
    owner = program(CLIENT_USER);
    for (unsigned i = 0; i < COUNT; i++)
        handles[i] = event_of(owner);
    for (unsigned i = 0; i < COUNT; i += 2)
        CHECK_STATUS(client_close(owner, handles[i]), STATUS_SUCCESS);
    CHECK_STATUS(client_event_set(owner, handles[1]), STATUS_SUCCESS);
    for (unsigned i = 1; i < COUNT; i += 2)
        CHECK_STATUS(client_wait(owner, &handles[i], 1, 0, NULL), i == 1 ? 0 : STATUS_TIMEOUT);
    finish();
}

static void reference_and_close(void)
{
    void *object = NULL;
    owner = program(CLIENT_ADMIN);
    const client_handle event = event_of(owner), file = open_caller(owner, 0);
    CHECK_STATUS(reference(event, EVENT_MODIFY_STATE, "ExEventObjectType", UserMode, &object),
                 STATUS_SUCCESS);
    CALL("KeSetEvent", P(object), 0, 0);
    CHECK_STATUS(client_wait(owner, &event, 1, 0, NULL), STATUS_SUCCESS);
    CALL("ObfDereferenceObject", P(object));
    CHECK_STATUS(reference(file, 0, "IoFileObjectType", UserMode, &object), STATUS_SUCCESS);
    client_destroy(owner);
    CALL_RAISED("ObfDereferenceObject", P(object));
    nth_settle();
}

TEST(reference_works_from_a_driver_of_every_build)
{
    /* Calls cross from code of either Windows ABI flavour, optimised or not. */
    in_every_build(reference_and_close);
}

/* ---- access, asked by a driver ---- */

static bool may_write(enum client_token token, void *descriptor)
{
    SECURITY_SUBJECT_CONTEXT context;
    ACCESS_MASK granted = 0;
    NTSTATUS status = STATUS_SUCCESS;
    struct client *client = program(token);
    struct nth_process *process = process_of(client);

    CHECK(nth_process_enter(process));
    CALL("SeCaptureSubjectContext", P(&context));
    const bool allowed =
        (uint8_t)CALL("SeAccessCheck", P(descriptor), P(&context), 0, FILE_WRITE_DATA, 0, 0,
                      P(IoGetFileObjectGenericMapping()), UserMode, P(&granted), P(&status)) != 0;
    CALL("SeReleaseSubjectContext", P(&context));
    nth_process_leave();
    CHECK_STATUS(status, allowed ? STATUS_SUCCESS : STATUS_ACCESS_DENIED);
    nth_object_release(process);
    client_destroy(client);
    return allowed;
}

static void *adapter_descriptor(void)
{
    void *descriptor = NULL;
    size_t bytes = 0;

    CHECK_EQ(
        nth_sddl_parse("O:SYD:P(A;;FA;;;SY)(A;;FA;;;BA)S:(ML;;NWNRNX;;;HI)", &descriptor, &bytes),
        0);
    return descriptor;
}

static void check_every_token(void)
{
    void *descriptor = adapter_descriptor();

    CHECK(may_write(CLIENT_SYSTEM, descriptor));
    CHECK(may_write(CLIENT_ADMIN, descriptor));
    CHECK(!may_write(CLIENT_ADMIN_FILTERED, descriptor));
    CHECK(!may_write(CLIENT_USER, descriptor));
    free(descriptor);
}

TEST(access_check_from_a_driver_of_every_build_tells_the_tokens_apart)
{
    /* SeAccessCheck with the context of the requesting thread (SeCaptureSubjectContext). */
    in_every_build(check_every_token);
}

TEST(unload_with_a_captured_subject_context_stops)
{
    /* SeCaptureSubjectContext: release it "as soon as possible by calling SeReleaseSubjectContext".
     */
    static SECURITY_SUBJECT_CONTEXT context;
    boot();
    CALL("SeCaptureSubjectContext", P(&context));
    nth_expect_stop("leak");
    nth_driver_unload(caller);
}

TEST(subject_context_released_twice_stops)
{
    /* SeReleaseSubjectContext: matches one SeCaptureSubjectContext. */
    static SECURITY_SUBJECT_CONTEXT context;
    boot();
    CALL("SeCaptureSubjectContext", P(&context));
    CALL("SeReleaseSubjectContext", P(&context));
    nth_expect_stop("double-free");
    CALL("SeReleaseSubjectContext", P(&context));
}

TEST(handle_into_a_dead_process_is_refused)
{
    /* A process that has ended takes no handles. */
    client_handle copy = 0;
    start();
    struct client *other = program(CLIENT_USER);
    const client_handle event = event_of(owner);
    client_kill(other);
    CHECK_STATUS(client_duplicate(owner, event, other, &copy), STATUS_PROCESS_IS_TERMINATING);
    CHECK_STATUS(client_close(owner, event), STATUS_SUCCESS);
    client_destroy(other);
    finish();
}
