/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Between Wine's I/O manager and a driver: what a request lacks there is added before the driver
 * sees it.
 *
 * Wine 8 knows no name behind a device's, so "\\.\Wintun\{GUID}" would not open. The link that
 * NdisRegisterDeviceEx makes is therefore a directory here, with a link {GUID} for each adapter, to
 * a device of its own; an open of that is handed to the driver's device with the name. A create
 * request has no security context, and its status does not reach the program: what was refused
 * fails at its first request. IRP_MJ_CLEANUP, which Wine does not send, comes before each close.
 */
#include "wine.h"

#include <string.h>

enum { KIND_PASSAGE = 0x4E445061, DRIVERS = 8, TEXT = 160 };

/* The device behind "{GUID}", and who opened it. */
struct passage {
    struct passage *next;
    struct nth_adapter *adapter;
    DEVICE_OBJECT *device;
    LONG files;
    bool is_closed; /* its link is gone; the device goes with its last file */
    WCHAR link[TEXT], name[48];
};
struct passage_extension {
    ULONG kind;
    struct passage *passage;
};

struct open_file {
    struct open_file *next;
    FILE_OBJECT *file;
    DEVICE_OBJECT *device; /* referenced: it may be deleted before the file is closed */
    struct passage *passage;
};

struct taken_over {
    DRIVER_OBJECT *driver;
    PDRIVER_DISPATCH major[IRP_MJ_MAXIMUM_FUNCTION + 1]; /* the driver's own */
};

static struct nth_mutex lock = NTH_MUTEX_INIT;
static struct passage *passages; /* guarded by lock, as all that follows */
static struct open_file *open_files;
static struct taken_over drivers[DRIVERS];
static WCHAR directory[TEXT]; /* of the one named device that has a link; empty: none */

static NTSTATUS complete(IRP *irp, NTSTATUS status)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = 0;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static struct taken_over *taken_over_of(const DRIVER_OBJECT *driver)
{
    for (int i = 0; i < DRIVERS; i++)
        if (drivers[i].driver == driver)
            return &drivers[i];
    nth_fail("a request for driver %p, which is unknown", (const void *)driver);
}

/* ---- links ---- */

typedef NTSTATUS NTAPI link_function(PUNICODE_STRING link, PUNICODE_STRING target);
typedef NTSTATUS NTAPI unlink_function(PUNICODE_STRING link);

static bool is_adapter(const UNICODE_STRING *target)
{
    static const WCHAR start[] = L"\\Device\\NDMP";

    return target->Length >= sizeof(start) - sizeof(WCHAR) &&
           memcmp(target->Buffer, start, sizeof(start) - sizeof(WCHAR)) == 0;
}

NTSTATUS NTAPI IoCreateSymbolicLink(PUNICODE_STRING SymbolicLinkName, PUNICODE_STRING DeviceName)
{
    const size_t chars = SymbolicLinkName->Length / sizeof(WCHAR);

    if (is_adapter(DeviceName))
        return ((link_function *)wine_kernel("IoCreateSymbolicLink"))(SymbolicLinkName, DeviceName);
    if (chars + 48 > TEXT)
        return STATUS_INVALID_PARAMETER;
    wine_directory((const uint16_t *)SymbolicLinkName->Buffer, chars);
    nth_lock(&lock);
    memcpy(directory, SymbolicLinkName->Buffer, SymbolicLinkName->Length);
    directory[chars] = 0;
    nth_unlock(&lock);
    return STATUS_SUCCESS;
}

/* The directory stays, empty. */
NTSTATUS NTAPI IoDeleteSymbolicLink(PUNICODE_STRING SymbolicLinkName)
{
    const size_t chars = SymbolicLinkName->Length / sizeof(WCHAR);

    nth_lock(&lock);
    const bool is_ours = directory[0] && chars < TEXT && !directory[chars] &&
                         memcmp(directory, SymbolicLinkName->Buffer, SymbolicLinkName->Length) == 0;
    if (is_ours)
        directory[0] = 0;
    nth_unlock(&lock);
    if (is_ours)
        return STATUS_SUCCESS;
    return ((unlink_function *)wine_kernel("IoDeleteSymbolicLink"))(SymbolicLinkName);
}

typedef NTSTATUS NTAPI interface_function(DEVICE_OBJECT *pdo, const GUID *class,
                                          PUNICODE_STRING reference, PUNICODE_STRING link);
typedef NTSTATUS NTAPI property_function(DEVICE_OBJECT *pdo, int property, ULONG bytes, void *data,
                                         ULONG *needed);
enum { PHYSICAL_DEVICE_OBJECT_NAME = 11 }; /* DevicePropertyPhysicalDeviceObjectName */

NTSTATUS NTAPI IoRegisterDeviceInterface(PDEVICE_OBJECT PhysicalDeviceObject,
                                         const GUID *InterfaceClassGuid,
                                         PUNICODE_STRING ReferenceString,
                                         PUNICODE_STRING SymbolicLinkName)
{
    struct wine_device *d = wine_device_of(PhysicalDeviceObject);
    interface_function *make = (interface_function *)wine_kernel("IoRegisterDeviceInterface");
    const NTSTATUS status =
        make(PhysicalDeviceObject, InterfaceClassGuid, ReferenceString, SymbolicLinkName);

    if (NT_SUCCESS(status) && d && SymbolicLinkName->Length < sizeof(d->interface_link))
        memcpy(d->interface_link, SymbolicLinkName->Buffer,
               SymbolicLinkName->Length + sizeof(WCHAR));
    return status;
}

/* Wine looks for the key of an interface with a reference string under another name than its
 * SetupAPI has made it, and its object manager has no path for the link; so both are made here. */
NTSTATUS NTAPI IoSetDeviceInterfaceState(PUNICODE_STRING SymbolicLinkName, BOOLEAN Enable)
{
    const struct wine_device *d = wine_device_with(SymbolicLinkName);
    property_function *property = (property_function *)wine_kernel("IoGetDeviceProperty");
    WCHAR buffer[TEXT];
    UNICODE_STRING target;
    size_t chars = SymbolicLinkName->Length / sizeof(WCHAR);
    ULONG needed;

    if (!d)
        return STATUS_OBJECT_NAME_NOT_FOUND;
    wine_interface_mark((const uint16_t *)SymbolicLinkName->Buffer, Enable);
    if (!Enable)
        return ((unlink_function *)wine_kernel("IoDeleteSymbolicLink"))(SymbolicLinkName);
    while (chars > 1 && SymbolicLinkName->Buffer[chars - 1] != '\\')
        chars--;
    wine_directory((const uint16_t *)SymbolicLinkName->Buffer, chars - 1);
    NTSTATUS status =
        property(d->pdo, PHYSICAL_DEVICE_OBJECT_NAME, sizeof(buffer), buffer, &needed);
    if (!NT_SUCCESS(status))
        return status;
    RtlInitUnicodeString(&target, buffer);
    status = ((link_function *)wine_kernel("IoCreateSymbolicLink"))(SymbolicLinkName, &target);
    if (!NT_SUCCESS(status))
        wine_log("device interface: 0x%08x", (unsigned)status);
    return status;
}

/* ---- passages: "\\.\Wintun\{GUID}" ---- */

static struct passage *passage_of(const DEVICE_OBJECT *device)
{
    const struct passage_extension *e = device->DeviceExtension;

    return e && e->kind == KIND_PASSAGE ? e->passage : NULL;
}

static void passage_name(UNICODE_STRING *name, WCHAR *buffer, size_t chars)
{
    static LONG serial;
    char text[40] = "\\Device\\NdisFile00000000";
    LONG n = __atomic_add_fetch(&serial, 1, __ATOMIC_SEQ_CST);

    for (size_t i = strlen(text); n; n /= 10)
        text[--i] = (char)('0' + n % 10);
    wine_widen(name, buffer, chars, text);
}

static NTSTATUS passage_create(struct passage *p, DRIVER_OBJECT *driver)
{
    WCHAR buffer[48];
    UNICODE_STRING device, link;

    passage_name(&device, buffer, ARRAYSIZE(buffer));
    NTSTATUS status = IoCreateDevice(driver, sizeof(struct passage_extension), &device,
                                     FILE_DEVICE_NETWORK, 0, FALSE, &p->device);
    if (!NT_SUCCESS(status))
        return status;
    *(struct passage_extension *)p->device->DeviceExtension =
        (struct passage_extension){KIND_PASSAGE, p};
    p->device->Flags &= ~(ULONG)DO_DEVICE_INITIALIZING;
    RtlInitUnicodeString(&link, p->link);
    status = ((link_function *)wine_kernel("IoCreateSymbolicLink"))(&link, &device);
    if (!NT_SUCCESS(status))
        IoDeleteDevice(p->device);
    return status;
}

static void passage_open(struct nth_adapter *a)
{
    struct passage *p = ndis_alloc(sizeof(*p));
    UNICODE_STRING name;

    if (!p)
        nth_fail("no memory for a name");
    p->adapter = a;
    p->name[0] = '\\';
    wine_widen(&name, p->name + 1, ARRAYSIZE(p->name) - 1, ndis_instance_of(a->pdo));
    nth_lock(&lock);
    const bool has_device = directory[0] != 0;
    memcpy(p->link, directory, sizeof(directory));
    nth_unlock(&lock);
    for (size_t at = wcslen(p->link), i = 0; i <= wcslen(p->name); i++)
        p->link[at + i] = p->name[i];
    const NTSTATUS status =
        has_device ? passage_create(p, a->driver->driver) : STATUS_NO_SUCH_DEVICE;
    if (!NT_SUCCESS(status)) {
        wine_log("adapter %u has no name: 0x%08x", a->index, (unsigned)status);
        ndis_free(p);
        return;
    }
    nth_lock(&lock);
    p->next = passages;
    passages = p;
    nth_unlock(&lock);
}

/* With the lock: takes it out if nobody needs it any more. */
static bool passage_retire(struct passage *p)
{
    if (!p->is_closed || p->files)
        return false;
    struct passage **link = &passages;
    while (*link != p)
        link = &(*link)->next;
    *link = p->next;
    return true;
}

static void passage_destroy(struct passage *p)
{
    IoDeleteDevice(p->device);
    ndis_free(p);
}

static void passage_close(const struct nth_adapter *a)
{
    UNICODE_STRING link;

    nth_lock(&lock);
    struct passage *p = passages;
    while (p && (p->adapter != a || p->is_closed))
        p = p->next;
    if (p)
        p->is_closed = true;
    const bool is_free = p && passage_retire(p);
    nth_unlock(&lock);
    if (!p)
        return;
    RtlInitUnicodeString(&link, p->link);
    ((unlink_function *)wine_kernel("IoDeleteSymbolicLink"))(&link);
    if (is_free)
        passage_destroy(p);
}

/* The driver's named device, while there is one. */
static DEVICE_OBJECT *named_device(const DRIVER_OBJECT *driver)
{
    DEVICE_OBJECT *device = driver->DeviceObject;

    while (device) {
        const struct ndis_fdo *f = device->DeviceExtension;
        if (f && f->kind == NDIS_DEVICE_NAMED)
            break;
        device = device->NextDevice;
    }
    return device;
}

/* ---- files ---- */

static void file_add(FILE_OBJECT *file, DEVICE_OBJECT *device, struct passage *p)
{
    struct open_file *o = ndis_alloc(sizeof(*o));

    if (!o)
        nth_fail("no memory for a file");
    *o = (struct open_file){.file = file, .device = device, .passage = p};
    ObfReferenceObject(device);
    file->DeviceObject = device;
    RtlInitUnicodeString(&file->FileName, p->name);
    nth_lock(&lock);
    o->next = open_files;
    open_files = o;
    p->files++;
    nth_unlock(&lock);
}

static void file_remove(const FILE_OBJECT *file)
{
    nth_lock(&lock);
    struct open_file **link = &open_files, *o;
    while (*link && (*link)->file != file)
        link = &(*link)->next;
    o = *link;
    if (o) {
        *link = o->next;
        o->passage->files--;
    }
    const bool is_free = o && passage_retire(o->passage);
    nth_unlock(&lock);
    if (!o)
        return;
    ObfDereferenceObject(o->device);
    if (is_free)
        passage_destroy(o->passage);
    ndis_free(o);
}

/* What was asked for is not known here: all that the ways to use a file need. */
static NTSTATUS create(const struct taken_over *t, DEVICE_OBJECT *device, IRP *irp)
{
    IO_STACK_LOCATION *s = IoGetCurrentIrpStackLocation(irp);
    struct passage *p = passage_of(device);
    ACCESS_STATE state = {0};
    IO_SECURITY_CONTEXT context = {.AccessState = &state,
                                   .DesiredAccess = FILE_GENERIC_READ | FILE_GENERIC_WRITE};

    SeCaptureSubjectContext(&state.SubjectSecurityContext);
    s->Parameters.Create.SecurityContext = &context;
    if (p) {
        device = named_device(device->DriverObject);
        if (!device)
            return complete(irp, STATUS_NO_SUCH_DEVICE);
        file_add(s->FileObject, device, p);
        s->DeviceObject = device;
    }
    const NTSTATUS status = t->major[IRP_MJ_CREATE](device, irp);
    if (!NT_SUCCESS(status))
        wine_log("an open was refused: 0x%08x", (unsigned)status);
    return status;
}

static NTSTATUS NTAPI keep(DEVICE_OBJECT *device, IRP *irp, void *context)
{
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static void cleanup(DEVICE_OBJECT *device, FILE_OBJECT *file)
{
    IRP *irp = IoAllocateIrp(device->StackSize, FALSE);

    if (!irp)
        nth_fail("no memory for a cleanup");
    IO_STACK_LOCATION *s = IoGetNextIrpStackLocation(irp);
    s->MajorFunction = IRP_MJ_CLEANUP;
    s->FileObject = file;
    irp->Tail.Overlay.OriginalFileObject = file;
    irp->Tail.Overlay.Thread = (PETHREAD)KeGetCurrentThread();
    irp->RequestorMode = UserMode;
    IoSetCompletionRoutine(irp, keep, NULL, TRUE, TRUE, TRUE);
    if (IoCallDriver(device, irp) == STATUS_PENDING)
        nth_stop("not-provided", "a cleanup that is pended");
    IoFreeIrp(irp);
}

static NTSTATUS close(const struct taken_over *t, DEVICE_OBJECT *device, IRP *irp)
{
    FILE_OBJECT *file = IoGetCurrentIrpStackLocation(irp)->FileObject;

    cleanup(device, file);
    const NTSTATUS status = t->major[IRP_MJ_CLOSE](device, irp);
    file_remove(file);
    return status;
}

/* ---- plug and play ---- */

static NTSTATUS pnp(const struct taken_over *t, DEVICE_OBJECT *device, IRP *irp)
{
    const UCHAR minor = IoGetCurrentIrpStackLocation(irp)->MinorFunction;
    struct nth_adapter *a = ((struct ndis_fdo *)device->DeviceExtension)->adapter;

    if (minor == IRP_MN_SURPRISE_REMOVAL || minor == IRP_MN_REMOVE_DEVICE)
        passage_close(a);
    const NTSTATUS status = t->major[IRP_MJ_PNP](device, irp);
    if (minor == IRP_MN_START_DEVICE) {
        wine_log("adapter %u %s: start 0x%08x", a->index, ndis_instance_of(a->pdo),
                 (unsigned)status);
        if (NT_SUCCESS(status)) {
            wine_edge_open(a);
            passage_open(a);
        }
    }
    return status;
}

static NTSTATUS NTAPI dispatch(DEVICE_OBJECT *device, IRP *irp)
{
    const struct taken_over *t = taken_over_of(device->DriverObject);
    const UCHAR major = IoGetCurrentIrpStackLocation(irp)->MajorFunction;
    const struct ndis_fdo *f = device->DeviceExtension;

    if (irp->RequestorMode == UserMode && major != IRP_MJ_CLEANUP && major != IRP_MJ_CLOSE)
        wine_watch((uint32_t)(ULONG_PTR)PsGetCurrentProcessId(), wine_process_ended);
    if (major == IRP_MJ_CREATE)
        return create(t, device, irp);
    if (passage_of(device)) /* its open has failed */
        return complete(irp, STATUS_INVALID_DEVICE_REQUEST);
    if (major == IRP_MJ_CLOSE)
        return close(t, device, irp);
    if (major == IRP_MJ_PNP && f->kind == NDIS_DEVICE_ADAPTER)
        return pnp(t, device, irp);
    return t->major[major](device, irp);
}

/* The driver has put its own entries in place by now: DriverEntry is over. */
static void take_over(DRIVER_OBJECT *driver)
{
    if (driver->MajorFunction[IRP_MJ_CREATE] == dispatch)
        return;
    nth_lock(&lock);
    struct taken_over *t = NULL;
    for (int i = 0; i < DRIVERS && (!t || t->driver != driver); i++)
        if (drivers[i].driver == driver || (!t && !drivers[i].driver))
            t = &drivers[i];
    if (t) {
        t->driver = driver;
        memcpy(t->major, driver->MajorFunction, sizeof(t->major));
        for (int i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
            driver->MajorFunction[i] = dispatch;
    }
    nth_unlock(&lock);
    if (!t)
        nth_fail("more than %d drivers", DRIVERS);
}

NTSTATUS NTAPI wine_add_device(DRIVER_OBJECT *driver, DEVICE_OBJECT *pdo)
{
    if (!wine_device_add(pdo)) {
        wine_log("a device without keys was added");
        return STATUS_NO_SUCH_DEVICE;
    }
    take_over(driver);
    return ndis_add_device(driver, pdo);
}
