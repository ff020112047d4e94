/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * System services that a driver may call on handles of its own: events, waits, files, processes,
 * questions about the system. A call through Zw has previous mode KernelMode for its duration, so
 * the I/O manager trusts its addresses and handles.
 */
#include "nt/ps.h"

#include <stdlib.h>
#include <string.h>

static bool is_kernel_handle(HANDLE handle)
{
    return (LONG_PTR)handle < -2;
}

static struct nth_process *table_of(HANDLE handle)
{
    return is_kernel_handle(handle) ? NULL : nth_process_current();
}

static NTSTATUS insert(void *body, ACCESS_MASK access, const OBJECT_ATTRIBUTES *attributes,
                       HANDLE *handle)
{
    const bool is_kernel = attributes != NULL && (attributes->Attributes & OBJ_KERNEL_HANDLE) != 0;

    return nth_handle_insert(is_kernel ? NULL : nth_process_current(), body, access, handle);
}

/* ---- events ---- */

struct event {
    KEVENT event;
    UNICODE_STRING name; /* Buffer NULL: none */
};

static void event_destroy(void *body)
{
    struct event *event = body;

    if (event->name.Buffer == NULL)
        return;
    nth_name_remove(&event->name);
    free(event->name.Buffer);
}

void *nth_event_create(EVENT_TYPE type, bool signalled)
{
    struct event *event = nth_object_create(NTH_OB_EVENT, sizeof(*event), event_destroy);

    KeInitializeEvent(&event->event, type, signalled);
    return event;
}

/* Gives the event its name; STATUS_OBJECT_NAME_COLLISION when it is taken. */
static NTSTATUS name_event(struct event *event, const UNICODE_STRING *name)
{
    WCHAR *buffer = malloc(name->Length);

    if (buffer == NULL)
        nth_fail("out of memory");
    memcpy(buffer, name->Buffer, name->Length);
    const NTSTATUS status = nth_name_insert(name, event);
    if (!NT_SUCCESS(status)) {
        free(buffer);
        return status;
    }
    event->name =
        (UNICODE_STRING){.Length = name->Length, .MaximumLength = name->Length, .Buffer = buffer};
    return STATUS_SUCCESS;
}

static bool has_name(const OBJECT_ATTRIBUTES *attributes)
{
    return attributes != NULL && attributes->ObjectName != NULL &&
           attributes->ObjectName->Length != 0;
}

static void refuse_directory(const OBJECT_ATTRIBUTES *attributes)
{
    if (attributes != NULL && attributes->RootDirectory != NULL)
        nth_stop("not-provided", "%s with a root directory", nth_call_name());
}

NTSTATUS NTAPI ZwCreateEvent(PHANDLE EventHandle, ACCESS_MASK DesiredAccess,
                             POBJECT_ATTRIBUTES ObjectAttributes, EVENT_TYPE EventType,
                             BOOLEAN InitialState)
{
    NTSTATUS status = STATUS_SUCCESS;
    void *existing = NULL;

    nth_irql_max(PASSIVE_LEVEL);
    if (EventType != NotificationEvent && EventType != SynchronizationEvent)
        return STATUS_INVALID_PARAMETER;
    refuse_directory(ObjectAttributes);
    if (nth_fault(NTH_FAULT_OBJECT, "ZwCreateEvent"))
        return STATUS_INSUFFICIENT_RESOURCES;
    void *event = nth_event_create(EventType, InitialState != FALSE);
    if (has_name(ObjectAttributes))
        status = name_event(event, ObjectAttributes->ObjectName);
    if (status == STATUS_OBJECT_NAME_COLLISION &&
        (ObjectAttributes->Attributes & OBJ_OPENIF) != 0 &&
        NT_SUCCESS(nth_name_find(ObjectAttributes->ObjectName, NTH_OB_EVENT, &existing))) {
        nth_object_release(event);
        event = existing;
        status = STATUS_OBJECT_NAME_EXISTS;
    }
    if (NT_SUCCESS(status)) {
        const NTSTATUS inserted = insert(event, DesiredAccess, ObjectAttributes, EventHandle);
        status = NT_SUCCESS(inserted) ? status : inserted;
    }
    nth_object_release(event);
    return status;
}
NTH_EXPORT(ZwCreateEvent, 5);

static NTSTATUS NTAPI open_event(PHANDLE handle, ACCESS_MASK access, POBJECT_ATTRIBUTES attributes)
{
    void *event = NULL;

    nth_irql_max(PASSIVE_LEVEL);
    refuse_directory(attributes);
    if (!has_name(attributes))
        return STATUS_OBJECT_NAME_INVALID;
    if (nth_fault(NTH_FAULT_OBJECT, "ZwOpenEvent"))
        return STATUS_INSUFFICIENT_RESOURCES;
    NTSTATUS status = nth_name_find(attributes->ObjectName, NTH_OB_EVENT, &event);
    if (!NT_SUCCESS(status))
        return status;
    status = insert(event, access, attributes, handle);
    nth_object_release(event);
    return status;
}
NTH_EXPORT_AS(ZwOpenEvent, "ZwOpenEvent", open_event, 3);

static NTSTATUS change_event(HANDLE handle, PLONG before, LONG NTAPI (*change)(PRKEVENT event))
{
    void *event = NULL;

    nth_irql_max(PASSIVE_LEVEL);
    const NTSTATUS status = nth_handle_lookup(table_of(handle), handle, 0, NTH_OB_EVENT, &event);
    if (!NT_SUCCESS(status))
        return status;
    const LONG state = change(event);
    if (before != NULL)
        *before = state;
    nth_object_release(event);
    return STATUS_SUCCESS;
}

static LONG NTAPI set(PRKEVENT event)
{
    return KeSetEvent(event, 0, FALSE);
}

static NTSTATUS NTAPI set_event(HANDLE handle, PLONG before)
{
    return change_event(handle, before, set);
}
NTH_EXPORT_AS(ZwSetEvent, "ZwSetEvent", set_event, 2);

static NTSTATUS NTAPI reset_event(HANDLE handle, PLONG before)
{
    return change_event(handle, before, KeResetEvent);
}
NTH_EXPORT_AS(ZwResetEvent, "ZwResetEvent", reset_event, 2);

static NTSTATUS NTAPI clear_event(HANDLE handle)
{
    return change_event(handle, NULL, KeResetEvent);
}
NTH_EXPORT_AS(ZwClearEvent, "ZwClearEvent", clear_event, 1);

/* The event stays while the handle is open: the caller owns no reference. NULL on failure. */
static PKEVENT make_named_event(PUNICODE_STRING name, PHANDLE handle, EVENT_TYPE type)
{
    OBJECT_ATTRIBUTES attributes;
    void *event = NULL;

    InitializeObjectAttributes(&attributes, name, OBJ_OPENIF | OBJ_KERNEL_HANDLE, NULL, NULL);
    if (!NT_SUCCESS(ZwCreateEvent(handle, EVENT_ALL_ACCESS, &attributes, type, TRUE)))
        return NULL;
    if (!NT_SUCCESS(nth_handle_lookup(NULL, *handle, 0, NTH_OB_EVENT, &event)))
        return NULL;
    nth_object_release(event);
    return event;
}

static PKEVENT NTAPI create_notification_event(PUNICODE_STRING name, PHANDLE handle)
{
    return make_named_event(name, handle, NotificationEvent);
}
NTH_EXPORT_AS(IoCreateNotificationEvent, "IoCreateNotificationEvent", create_notification_event, 2);

static PKEVENT NTAPI create_synchronization_event(PUNICODE_STRING name, PHANDLE handle)
{
    return make_named_event(name, handle, SynchronizationEvent);
}
NTH_EXPORT_AS(IoCreateSynchronizationEvent, "IoCreateSynchronizationEvent",
              create_synchronization_event, 2);

NTSTATUS NTAPI ZwWaitForSingleObject(HANDLE Handle, BOOLEAN Alertable, PLARGE_INTEGER Timeout)
{
    void *body = NULL;

    nth_irql_max(PASSIVE_LEVEL);
    NTSTATUS status = nth_handle_lookup(table_of(Handle), Handle, 0, -1, &body);
    if (!NT_SUCCESS(status))
        return status;
    void *object = nth_object_waitable(body);
    status = object == NULL
                 ? STATUS_OBJECT_TYPE_MISMATCH
                 : KeWaitForSingleObject(object, UserRequest, KernelMode, Alertable, Timeout);
    nth_object_release(body);
    return status;
}
NTH_EXPORT(ZwWaitForSingleObject, 3);

/* ---- files ---- */

/* The I/O manager inserts into the current process; a kernel handle is made of that one. */
static NTSTATUS to_kernel_handle(HANDLE *handle)
{
    const HANDLE original = *handle;

    if (is_kernel_handle(original))
        return STATUS_SUCCESS;
    const NTSTATUS status = nth_handle_duplicate(nth_process_current(), original, NULL, handle);
    nth_handle_close(nth_process_current(), original);
    return status;
}

static NTSTATUS NTAPI create_file(PHANDLE handle, ACCESS_MASK access, POBJECT_ATTRIBUTES attributes,
                                  IO_STATUS_BLOCK *iosb, PLARGE_INTEGER allocation,
                                  ULONG file_attributes, ULONG share, ULONG disposition,
                                  ULONG options, PVOID ea, ULONG ea_bytes)
{
    nth_irql_max(PASSIVE_LEVEL);
    if (attributes == NULL || attributes->ObjectName == NULL)
        return STATUS_INVALID_PARAMETER;
    refuse_directory(attributes);
    if (ea != NULL || ea_bytes != 0)
        nth_stop("not-provided", "ZwCreateFile with extended attributes");
    if (nth_fault(NTH_FAULT_OBJECT, "ZwCreateFile"))
        return STATUS_INSUFFICIENT_RESOURCES;
    const KPROCESSOR_MODE mode = nth_set_previous_mode(KernelMode);
    NTSTATUS status = nth_io_create(attributes->ObjectName, access, share, options,
                                    attributes->Attributes & OBJ_FORCE_ACCESS_CHECK, handle);
    nth_set_previous_mode(mode);
    if (NT_SUCCESS(status) && (attributes->Attributes & OBJ_KERNEL_HANDLE) != 0)
        status = to_kernel_handle(handle);
    *iosb =
        (IO_STATUS_BLOCK){.Status = status, .Information = NT_SUCCESS(status) ? FILE_OPENED : 0};
    return status;
}
NTH_EXPORT_AS(ZwCreateFile, "ZwCreateFile", create_file, 11);

NTSTATUS NTAPI ZwOpenFile(PHANDLE handle, ACCESS_MASK access, POBJECT_ATTRIBUTES attributes,
                          IO_STATUS_BLOCK *iosb, ULONG share, ULONG options);
NTSTATUS NTAPI ZwOpenFile(PHANDLE handle, ACCESS_MASK access, POBJECT_ATTRIBUTES attributes,
                          IO_STATUS_BLOCK *iosb, ULONG share, ULONG options)
{
    return create_file(handle, access, attributes, iosb, NULL, 0, share, FILE_OPEN, options, NULL,
                       0);
}
NTH_EXPORT(ZwOpenFile, 6);

static void refuse_apc(const void *apc)
{
    if (apc != NULL)
        nth_stop("not-provided", "%s with an APC routine", nth_call_name());
}

static NTSTATUS NTAPI read_file(HANDLE file, HANDLE event, PVOID apc, PVOID apc_context,
                                IO_STATUS_BLOCK *iosb, PVOID buffer, ULONG length,
                                PLARGE_INTEGER offset, PULONG key)
{
    nth_irql_max(PASSIVE_LEVEL);
    refuse_apc(apc);
    const KPROCESSOR_MODE mode = nth_set_previous_mode(KernelMode);
    const NTSTATUS status = nth_io_read(file, event, apc_context, iosb, buffer, length);
    nth_set_previous_mode(mode);
    return status;
}
NTH_EXPORT_AS(ZwReadFile, "ZwReadFile", read_file, 9);

static NTSTATUS NTAPI write_file(HANDLE file, HANDLE event, PVOID apc, PVOID apc_context,
                                 IO_STATUS_BLOCK *iosb, PVOID buffer, ULONG length,
                                 PLARGE_INTEGER offset, PULONG key)
{
    nth_irql_max(PASSIVE_LEVEL);
    refuse_apc(apc);
    const KPROCESSOR_MODE mode = nth_set_previous_mode(KernelMode);
    const NTSTATUS status = nth_io_write(file, event, apc_context, iosb, buffer, length);
    nth_set_previous_mode(mode);
    return status;
}
NTH_EXPORT_AS(ZwWriteFile, "ZwWriteFile", write_file, 9);

static NTSTATUS NTAPI device_io_control(HANDLE file, HANDLE event, PVOID apc, PVOID apc_context,
                                        IO_STATUS_BLOCK *iosb, ULONG code, PVOID in,
                                        ULONG in_length, PVOID out, ULONG out_length)
{
    nth_irql_max(PASSIVE_LEVEL);
    refuse_apc(apc);
    const KPROCESSOR_MODE mode = nth_set_previous_mode(KernelMode);
    const NTSTATUS status =
        nth_io_control(file, event, apc_context, iosb, code, in, in_length, out, out_length);
    nth_set_previous_mode(mode);
    return status;
}
NTH_EXPORT_AS(ZwDeviceIoControlFile, "ZwDeviceIoControlFile", device_io_control, 10);

/* ---- processes ---- */

static NTSTATUS NTAPI open_process(PHANDLE handle, ACCESS_MASK access,
                                   POBJECT_ATTRIBUTES attributes, PCLIENT_ID id)
{
    nth_irql_max(PASSIVE_LEVEL);
    if (id == NULL || id->UniqueThread != NULL || has_name(attributes))
        nth_stop("not-provided", "ZwOpenProcess by thread or by name");
    if (nth_fault(NTH_FAULT_OBJECT, "ZwOpenProcess"))
        return STATUS_INSUFFICIENT_RESOURCES;
    struct nth_process *process = nth_process_find(id->UniqueProcess);
    if (process == NULL)
        return STATUS_INVALID_CID;
    const NTSTATUS status = insert(process, access, attributes, handle);
    nth_object_release(process);
    return status;
}
NTH_EXPORT_AS(ZwOpenProcess, "ZwOpenProcess", open_process, 4);

/* ---- the system ---- */

static NTSTATUS answer(const void *data, ULONG bytes, void *buffer, ULONG length, ULONG *needed)
{
    if (needed != NULL)
        *needed = bytes;
    if (length != bytes)
        return STATUS_INFO_LENGTH_MISMATCH;
    memcpy(buffer, data, bytes);
    return STATUS_SUCCESS;
}

/* The classes that winternl.h's NtQuerySystemInformation page describes as filled in; what it calls
 * reserved is zero. Any other class does not exist. */
NTSTATUS NTAPI ZwQuerySystemInformation(ULONG SystemInformationClass, PVOID SystemInformation,
                                        ULONG SystemInformationLength, PULONG ReturnLength)
{
    enum { BASIC = 0, CODE_INTEGRITY = 103 };
    struct {
        UCHAR reserved1[24];
        PVOID reserved2[4];
        CCHAR processors;
    } basic = {.processors = (CCHAR)nth_cpu_count()};
    struct {
        ULONG length, options;
    } integrity = {.length = sizeof(integrity), .options = 1}; /* enabled */

    nth_irql_max(PASSIVE_LEVEL);
    switch (SystemInformationClass) {
    case BASIC:
        return answer(&basic, sizeof(basic), SystemInformation, SystemInformationLength,
                      ReturnLength);
    case CODE_INTEGRITY:
        return answer(&integrity, sizeof(integrity), SystemInformation, SystemInformationLength,
                      ReturnLength);
    default:
        return STATUS_INVALID_INFO_CLASS;
    }
}
NTH_EXPORT(ZwQuerySystemInformation, 4);
