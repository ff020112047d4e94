/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * File objects: opened by path with the access checks of the I/O manager, cleaned up with their
 * last handle in the context of the process that closed it, closed with their last reference. Must
 * never send IRP_MJ_CLOSE above PASSIVE_LEVEL, nor for a file whose open failed.
 */
#include "nt/io.h"

#include <stdlib.h>
#include <string.h>

struct file {
    FILE_OBJECT object;
    bool is_open; /* IRP_MJ_CREATE succeeded: close it */
};

static GENERIC_MAPPING file_mapping = {FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_GENERIC_EXECUTE,
                                       FILE_ALL_ACCESS};

PGENERIC_MAPPING NTAPI IoGetFileObjectGenericMapping(VOID)
{
    return &file_mapping;
}
NTH_EXPORT(IoGetFileObjectGenericMapping, 0);

PDEVICE_OBJECT NTAPI IoGetRelatedDeviceObject(PFILE_OBJECT FileObject);
PDEVICE_OBJECT NTAPI IoGetRelatedDeviceObject(PFILE_OBJECT FileObject)
{
    nth_irql_max(DISPATCH_LEVEL);
    return nth_device_top(FileObject->DeviceObject);
}
NTH_EXPORT(IoGetRelatedDeviceObject, 1);

/* ---- the end of a file ---- */

static void send_end(FILE_OBJECT *object, UCHAR major)
{
    const IO_STACK_LOCATION location = {.MajorFunction = major, .FileObject = object};

    nth_irp_synchronous(object->DeviceObject, &location, STATUS_SUCCESS, NULL);
}

/* The last reference is gone: no handle and no IRP names the file. PASSIVE_LEVEL (nt/ob.c). */
static void file_destroy(void *body)
{
    struct file *file = body;
    FILE_OBJECT *object = &file->object;
    DEVICE_OBJECT *device = object->DeviceObject;

    if (file->is_open)
        send_end(object, IRP_MJ_CLOSE);
    nth_port_unbind(object);
    if (object->RelatedFileObject)
        nth_object_release(object->RelatedFileObject);
    if (object->FileName.Buffer)
        nth_mm_free(object->FileName.Buffer, object->FileName.MaximumLength);
    if (device)
        nth_device_close(device);
}

void nth_io_file_cleanup(FILE_OBJECT *file)
{
    if (!((struct file *)file)->is_open || (file->Flags & FO_CLEANUP_COMPLETE))
        return;
    send_end(file, IRP_MJ_CLEANUP);
    file->Flags |= FO_CLEANUP_COMPLETE;
}

static void last_handle(void *body, struct nth_process *process)
{
    (void)process;
    nth_io_file_cleanup(body);
}

/* ---- access ---- */

static PSECURITY_DESCRIPTOR default_security(void)
{
    /* "Controlling Device Access (WDM)": full access for administrators, read, write and execute
     * for everyone else. */
    static void *descriptor;
    size_t bytes;

    if (!descriptor &&
        nth_sddl_parse("D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GRGWGX;;;WD)", &descriptor, &bytes) != 0)
        nth_fail("cannot parse the default descriptor of devices");
    return descriptor;
}

/* "Controlling Device Namespace Access": names below the device are the driver's own to check,
 * unless FILE_DEVICE_SECURE_OPEN is set at the top of the stack. */
static NTSTATUS check_access(DEVICE_OBJECT *device, bool has_name, ACCESS_STATE *state, bool forced)
{
    ACCESS_MASK granted = 0;
    NTSTATUS status = STATUS_SUCCESS;
    const bool secure = (device->Characteristics | nth_device_top(device)->Characteristics) &
                        FILE_DEVICE_SECURE_OPEN;

    RtlMapGenericMask(&state->RemainingDesiredAccess, &file_mapping);
    if ((nth_previous_mode() == KernelMode && !forced) || (has_name && !secure)) {
        granted = state->RemainingDesiredAccess & ~(ACCESS_MASK)MAXIMUM_ALLOWED;
        if (state->RemainingDesiredAccess & MAXIMUM_ALLOWED)
            granted |= FILE_ALL_ACCESS;
    } else {
        PSECURITY_DESCRIPTOR security =
            device->SecurityDescriptor ? device->SecurityDescriptor : default_security();
        SeLockSubjectContext(&state->SubjectSecurityContext);
        if (!SeAccessCheck(security, &state->SubjectSecurityContext, TRUE,
                           state->RemainingDesiredAccess, 0, NULL, &file_mapping, UserMode,
                           &granted, &status))
            status = NT_SUCCESS(status) ? STATUS_ACCESS_DENIED : status;
        else
            status = STATUS_SUCCESS;
        SeUnlockSubjectContext(&state->SubjectSecurityContext);
    }
    if (NT_SUCCESS(status)) {
        state->PreviouslyGrantedAccess = granted;
        state->RemainingDesiredAccess &= ~(granted | MAXIMUM_ALLOWED);
    }
    return status;
}

/* ---- opening ---- */

struct open {
    DEVICE_OBJECT *device; /* referenced */
    FILE_OBJECT *related;  /* of a relative open, referenced */
    UNICODE_STRING name;   /* below the device */
    ACCESS_MASK access;
    ULONG share, options, disposition;
    bool is_forced;
};

static struct file *file_create(const struct open *open)
{
    struct file *file = nth_object_create(NTH_OB_FILE, sizeof(*file), file_destroy);
    FILE_OBJECT *object = &file->object;

    object->Type = IO_TYPE_FILE;
    object->Size = sizeof(FILE_OBJECT);
    object->Flags = open->options & (FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT)
                        ? FO_SYNCHRONOUS_IO
                        : 0;
    object->Flags |= open->options & FILE_SYNCHRONOUS_IO_ALERT ? FO_ALERTABLE_IO : 0;
    KeInitializeEvent(&object->Lock, SynchronizationEvent, FALSE);
    KeInitializeEvent(&object->Event, NotificationEvent, FALSE);
    object->IrpList.Flink = object->IrpList.Blink = &object->IrpList;
    if (open->name.Length != 0) {
        const USHORT bytes = open->name.Length + sizeof(WCHAR);
        object->FileName.Buffer = nth_mm_alloc(bytes);
        object->FileName.Length = open->name.Length;
        object->FileName.MaximumLength = bytes;
        memcpy(object->FileName.Buffer, open->name.Buffer, open->name.Length);
    }
    if (open->related)
        object->RelatedFileObject = nth_object_reference(open->related);
    return file;
}

static NTSTATUS send_create(const struct open *open, struct file *file, ACCESS_STATE *state)
{
    /* "the access rights that are requested", MAXIMUM_ALLOWED among them, not what was granted */
    IO_SECURITY_CONTEXT security = {.AccessState = state,
                                    .DesiredAccess = state->OriginalDesiredAccess,
                                    .FullCreateOptions = open->options};
    IO_STACK_LOCATION location = {.MajorFunction = IRP_MJ_CREATE, .FileObject = &file->object};
    ULONG_PTR information = 0;

    RtlMapGenericMask(&security.DesiredAccess, &file_mapping);
    location.Flags = open->is_forced ? SL_FORCE_ACCESS_CHECK : 0;
    location.Parameters.Create.SecurityContext = &security;
    location.Parameters.Create.Options = open->disposition << 24 | (open->options & 0xFFFFFF);
    location.Parameters.Create.FileAttributes = 0;
    location.Parameters.Create.ShareAccess = (USHORT)open->share;
    return nth_irp_synchronous_mode(open->device, &location, STATUS_SUCCESS, &information,
                                    nth_previous_mode());
}

static NTSTATUS run_open(const struct open *open, struct file **result, ACCESS_MASK *granted)
{
    ACCESS_STATE state = {.OriginalDesiredAccess = open->access,
                          .RemainingDesiredAccess = open->access};
    const bool has_name = open->name.Length != 0 || open->related;

    SeCaptureSubjectContext(&state.SubjectSecurityContext);
    NTSTATUS status = check_access(open->device, has_name, &state, open->is_forced);
    if (NT_SUCCESS(status))
        status = nth_device_open(open->device);
    if (NT_SUCCESS(status)) {
        struct file *file = file_create(open);
        file->object.DeviceObject =
            open->device; /* the count of nth_device_open is the file's now */
        status = send_create(open, file, &state);
        file->object.FinalStatus = status;
        if (NT_SUCCESS(status)) {
            file->is_open = true;
            file->object.Flags |= FO_FILE_OPEN;
            *granted = state.PreviouslyGrantedAccess;
            *result = file;
        } else {
            nth_object_release(file);
        }
    }
    SeReleaseSubjectContext(&state.SubjectSecurityContext);
    return status;
}

static NTSTATUS open_handle(const struct open *open, HANDLE *handle)
{
    const ULONG synchronous = FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT;
    struct file *file = NULL;
    ACCESS_MASK granted = 0;

    /* ZwCreateFile: synchronous I/O needs SYNCHRONIZE, and one kind of it at most. */
    if ((open->options & synchronous) == synchronous)
        return STATUS_INVALID_PARAMETER;
    if ((open->options & synchronous) &&
        !(open->access & (SYNCHRONIZE | GENERIC_READ | GENERIC_WRITE | GENERIC_ALL)))
        return STATUS_INVALID_PARAMETER;
    NTSTATUS status = run_open(open, &file, &granted);
    if (!NT_SUCCESS(status))
        return status;
    status = nth_handle_insert(nth_process_current(), file, granted, handle);
    if (NT_SUCCESS(status))
        file->object.Flags |= FO_HANDLE_CREATED;
    else
        nth_io_file_cleanup(&file->object);
    nth_object_release(file);
    return status;
}

NTSTATUS nth_io_create(const UNICODE_STRING *path, ACCESS_MASK access, ULONG share, ULONG options,
                       bool is_forced, HANDLE *handle)
{
    struct open open = {.access = access,
                        .share = share,
                        .options = options,
                        .disposition = FILE_OPEN,
                        .is_forced = is_forced};

    nth_irql_exactly(PASSIVE_LEVEL);
    NTSTATUS status = nth_name_find_device(path, &open.device, &open.name);
    if (!NT_SUCCESS(status))
        return status;
    status = open_handle(&open, handle);
    nth_object_release(open.device);
    return status;
}

NTSTATUS nth_io_create_relative(HANDLE root, const UNICODE_STRING *name, ACCESS_MASK access,
                                ULONG share, ULONG options, HANDLE *handle)
{
    struct open open = {.name = *name,
                        .access = access,
                        .share = share,
                        .options = options,
                        .disposition = FILE_OPEN};
    void *related;

    nth_irql_exactly(PASSIVE_LEVEL);
    NTSTATUS status = nth_handle_lookup(nth_process_current(), root, 0, NTH_OB_FILE, &related);
    if (!NT_SUCCESS(status))
        return status;
    open.related = related;
    open.device = open.related->DeviceObject;
    status = open_handle(&open, handle);
    nth_object_release(related);
    return status;
}

/* The handle that the I/O manager opened and closed at once leaves IRP_MJ_CLEANUP behind. */
NTSTATUS NTAPI IoGetDeviceObjectPointer(PUNICODE_STRING ObjectName, ACCESS_MASK DesiredAccess,
                                        PFILE_OBJECT *FileObject, PDEVICE_OBJECT *DeviceObject)
{
    struct open open = {
        .access = DesiredAccess, .options = FILE_NON_DIRECTORY_FILE, .disposition = FILE_OPEN};
    struct file *file = NULL;
    ACCESS_MASK granted;

    nth_irql_exactly(PASSIVE_LEVEL);
    if (nth_fault(NTH_FAULT_OBJECT, "IoGetDeviceObjectPointer"))
        return STATUS_INSUFFICIENT_RESOURCES;
    NTSTATUS status = nth_name_find_device(ObjectName, &open.device, &open.name);
    if (!NT_SUCCESS(status))
        return status;
    const KPROCESSOR_MODE mode = nth_set_previous_mode(KernelMode);
    status = run_open(&open, &file, &granted);
    if (NT_SUCCESS(status)) {
        nth_io_file_cleanup(&file->object);
        *FileObject = nth_object_lend(file);
        *DeviceObject = nth_device_top(open.device);
        nth_object_release(file);
    }
    nth_set_previous_mode(mode);
    nth_object_release(open.device);
    return status;
}
NTH_EXPORT(IoGetDeviceObjectPointer, 4);

static void file_boot(const struct nth_config *config)
{
    (void)config;
    nth_object_on_last_handle(NTH_OB_FILE, last_handle);
    default_security(); /* made once, before threads can meet there */
}
NTH_SUBSYSTEM(file, 30, file_boot, NULL);
