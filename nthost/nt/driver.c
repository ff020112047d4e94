/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Drivers: loading, DriverEntry, and the unload that waits until no device of the driver is open,
 * attached or attached to. An image is unmapped only when none of its code can run any more, and by
 * a thread that has none of it on its stack.
 */
#include "nt/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORKERS = 1024 };
static struct nth_driver *drivers;              /* guarded by nth_io_lock */
static struct nth_thread *workers[MAX_WORKERS]; /* guarded by nth_io_lock; joined at shutdown */
static unsigned worker_count;                   /* guarded by nth_io_lock */

struct nth_driver *nth_driver_of(const DRIVER_OBJECT *object)
{
    nth_lock(&nth_io_lock);
    struct nth_driver *driver = drivers;
    while (driver && driver->object != object)
        driver = driver->next;
    nth_unlock(&nth_io_lock);
    if (!driver)
        nth_stop("irp-invalid", "%p is no driver object", (const void *)object);
    return driver;
}

/* What a driver does not handle. As every dispatch routine, it completes the IRP. */
NTSTATUS NTAPI nth_invalid_device_request(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    Irp->IoStatus.Status = STATUS_INVALID_DEVICE_REQUEST;
    Irp->IoStatus.Information = 0;
    IofCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_INVALID_DEVICE_REQUEST;
}

/* ---- making and unmaking ---- */

static char *text(const char *format, const char *name)
{
    char *result;

    if (asprintf(&result, format, name) < 0)
        nth_fail("out of memory");
    return result;
}

static struct nth_driver *driver_create(const char *service)
{
    struct nth_driver *driver = calloc(1, sizeof(*driver));

    if (!driver)
        nth_fail("out of memory");
    DRIVER_OBJECT *object = nth_object_create(NTH_OB_DRIVER, sizeof(DRIVER_OBJECT), NULL);
    driver->object = object;
    driver->service = text("%s", service);
    driver->registry_path =
        text("\\Registry\\Machine\\System\\CurrentControlSet\\Services\\%s", service);
    driver->extension.DriverObject = object;
    driver->extension.ServiceKeyName = nth_unicode(service);
    object->Type = IO_TYPE_DRIVER;
    object->Size = sizeof(DRIVER_OBJECT);
    object->DriverExtension = &driver->extension;
    char *name = text("\\Driver\\%s", service);
    object->DriverName = nth_unicode(name);
    free(name);
    static UNICODE_STRING hardware;
    if (!hardware.Buffer)
        hardware = nth_unicode("\\REGISTRY\\MACHINE\\HARDWARE\\DESCRIPTION\\SYSTEM");
    object->HardwareDatabase = &hardware;
    for (unsigned i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
        object->MajorFunction[i] = nth_invalid_device_request;
    return driver;
}

/* Accepts what driver_create and driver_load left half made. The driver is in no list any more. */
static void driver_destroy(struct nth_driver *driver)
{
    if (driver->image)
        nth_image_unload(driver->image);
    free(driver->extension.ServiceKeyName.Buffer);
    free(driver->object->DriverName.Buffer);
    nth_object_release(driver->object);
    free(driver->service);
    free(driver->registry_path);
    free(driver);
}

static void driver_link(struct nth_driver *driver)
{
    nth_lock(&nth_io_lock);
    driver->next = drivers;
    drivers = driver;
    nth_unlock(&nth_io_lock);
}

static void driver_unlink(struct nth_driver *driver)
{
    nth_lock(&nth_io_lock);
    struct nth_driver **link = &drivers;
    while (*link != driver)
        link = &(*link)->next;
    *link = driver->next;
    nth_unlock(&nth_io_lock);
}

struct nth_driver *nth_driver_built_in(const char *name)
{
    struct nth_driver *driver = driver_create(name);

    driver->is_built_in = true;
    driver_link(driver);
    return driver;
}

/* Threads that wait for a count; guarded by nth_io_lock. A count is looked at again by its waiter
 * alone, so whoever ends a use never touches the driver after its decrement. */
struct idle_waiter {
    struct idle_waiter *next;
    struct nth_thread *thread;
};
static struct idle_waiter *idle_waiters;
static _Atomic unsigned idle_waiting;

void nth_driver_begin(_Atomic unsigned *count)
{
    ++*count;
}

void nth_driver_end(_Atomic unsigned *count)
{
    if (--*count != 0 || idle_waiting == 0)
        return;
    nth_lock(&nth_io_lock);
    for (struct idle_waiter *waiter = idle_waiters; waiter; waiter = waiter->next)
        nth_unpark(waiter->thread);
    nth_unlock(&nth_io_lock);
}

static void wait_until_idle(_Atomic unsigned *count)
{
    struct idle_waiter waiter = {.thread = nth_self()}, **link;

    nth_lock(&nth_io_lock);
    waiter.next = idle_waiters;
    idle_waiters = &waiter;
    idle_waiting++;
    nth_unlock(&nth_io_lock);
    while (*count != 0)
        nth_park(UINT64_MAX);
    nth_lock(&nth_io_lock);
    for (link = &idle_waiters; *link != &waiter; link = &(*link)->next)
        continue;
    *link = waiter.next;
    idle_waiting--;
    nth_unlock(&nth_io_lock);
}

/* Nothing of the driver's may be left; then the image goes. */
static void driver_finish(struct nth_driver *driver)
{
    const uintptr_t base = (uintptr_t)nth_image_base(driver->image);
    const size_t size = nth_image_size(driver->image);

    wait_until_idle(&driver->busy);
    wait_until_idle(&driver->calls);
    nth_ps_check_unload(base, size, driver->service);
    nth_ledger_check(base, size, driver->service);
    nth_active_check((const void *)base, size); /* timers, DPCs and locks in its data */
    nth_name_remove(&driver->object->DriverName);
    driver_unlink(driver);
    nth_trace("driver %s is unloaded", driver->service);
    driver_destroy(driver);
}

/* ---- loading ---- */

static void service_key(const struct nth_driver *driver, const char *path)
{
    const ULONG type = 1 /* kernel driver */, start = 3 /* on demand */, error_control = 1;
    char *image = text("\\??\\%s", path);
    UNICODE_STRING wide = nth_unicode(image);

    nth_registry_set(driver->registry_path, "Type", REG_DWORD, &type, sizeof(type));
    nth_registry_set(driver->registry_path, "Start", REG_DWORD, &start, sizeof(start));
    nth_registry_set(driver->registry_path, "ErrorControl", REG_DWORD, &error_control,
                     sizeof(error_control));
    nth_registry_set(driver->registry_path, "ImagePath", REG_EXPAND_SZ, wide.Buffer,
                     wide.MaximumLength);
    free(wide.Buffer);
    free(image);
}

static NTSTATUS call_entry(struct nth_driver *driver)
{
    /* The path is the driver's for this call only: in exact memory a kept pointer is found out. */
    const size_t length = strlen(driver->registry_path);
    UNICODE_STRING *path = nth_mm_alloc(sizeof(*path));
    WCHAR *buffer = nth_mm_alloc((length + 1) * sizeof(WCHAR));
    struct nth_callout callout;

    for (size_t i = 0; i < length; i++)
        buffer[i] = (unsigned char)driver->registry_path[i];
    *path = (UNICODE_STRING){.Length = (USHORT)(length * 2),
                             .MaximumLength = (USHORT)(length * 2 + 2),
                             .Buffer = buffer};
    PDRIVER_INITIALIZE entry = (PDRIVER_INITIALIZE)nth_image_entry(driver->image);
    driver->object->DriverInit = entry;
    nth_callout_begin(&callout, "DriverEntry", (const void *)entry);
    const NTSTATUS status = entry(driver->object, path);
    nth_callout_end(&callout);
    nth_mm_free(buffer, (length + 1) * sizeof(WCHAR));
    nth_mm_free(path, sizeof(*path));
    return status;
}

NTSTATUS nth_driver_load(const char *path, const char *service, struct nth_driver **result)
{
    const char *error = NULL;
    struct nth_driver *driver = driver_create(service);

    *result = NULL;
    NTSTATUS status = nth_name_insert(&driver->object->DriverName, driver->object);
    if (!NT_SUCCESS(status)) {
        driver_destroy(driver);
        return status;
    }
    if (nth_image_load(path, &driver->image, &error) != 0)
        nth_fail("cannot load %s: %s", path, error ? error : "unknown reason");
    driver->object->DriverStart = nth_image_base(driver->image);
    driver->object->DriverSize = (ULONG)nth_image_size(driver->image);
    driver_link(driver);
    service_key(driver, path);
    status = call_entry(driver);
    if (!NT_SUCCESS(status)) {
        driver_finish(driver);
        return status;
    }
    /* The I/O manager makes devices of DriverEntry ready ("Initializing a Device Object"). */
    nth_lock(&nth_io_lock);
    for (DEVICE_OBJECT *device = driver->object->DeviceObject; device; device = device->NextDevice)
        device->Flags &= ~DO_DEVICE_INITIALIZING;
    nth_unlock(&nth_io_lock);
    *result = driver;
    return status;
}

/* ---- unloading ---- */

/* nth_io_lock held. */
static bool is_in_use(const struct nth_driver *driver)
{
    for (DEVICE_OBJECT *device = driver->object->DeviceObject; device;
         device = device->NextDevice) {
        if (device->ReferenceCount > 0 || device->AttachedDevice ||
            ((struct device *)device)->lower)
            return true;
    }
    return false;
}

/* Claims the one call of DriverUnload. */
static bool claim_unload(struct nth_driver *driver)
{
    nth_lock(&nth_io_lock);
    const bool is_mine = driver->is_unloading && !driver->is_unload_called && !is_in_use(driver);
    if (is_mine)
        driver->is_unload_called = true;
    nth_unlock(&nth_io_lock);
    return is_mine;
}

static void run_unload(void *context)
{
    struct nth_driver *driver = context;
    struct nth_callout callout;
    PDRIVER_UNLOAD unload = driver->object->DriverUnload;

    wait_until_idle(&driver->calls); /* the one that deleted the last device may still run */
    nth_callout_begin(&callout, "DriverUnload", (const void *)unload);
    unload(driver->object);
    nth_callout_end(&callout);
    driver_finish(driver);
}

void nth_io_thread(const char *name, void (*run)(void *), void *context)
{
    struct nth_thread *thread = nth_thread_create(name, run, context, NULL);

    nth_lock(&nth_io_lock);
    const unsigned i = worker_count++;
    if (i < MAX_WORKERS)
        workers[i] = thread;
    nth_unlock(&nth_io_lock);
    if (i >= MAX_WORKERS)
        nth_fail("more than %d deferred removals and unloads", MAX_WORKERS);
}

void nth_driver_reconsider(struct nth_driver *driver)
{
    if (claim_unload(driver))
        nth_io_thread("driver unload", run_unload, driver);
}

NTSTATUS nth_driver_unload(struct nth_driver *driver)
{
    if (!driver->object->DriverUnload)
        return STATUS_INVALID_DEVICE_REQUEST; /* such a driver stays for good */
    nth_lock(&nth_io_lock);
    driver->is_unloading = true;
    nth_unlock(&nth_io_lock);
    if (!claim_unload(driver))
        return STATUS_PENDING;
    run_unload(driver);
    return STATUS_SUCCESS;
}

/* ---- shutdown: before ndis/ goes, so that miniports are halted by a living library ---- */

/* A worker may start another one: its place comes later. */
static void join_workers(void)
{
    for (unsigned i = 0;; i++) {
        nth_lock(&nth_io_lock);
        struct nth_thread *thread = i < worker_count ? workers[i] : NULL;
        nth_unlock(&nth_io_lock);
        if (!thread)
            break;
        nth_join(thread);
    }
    worker_count = 0;
}

static struct nth_driver *next_to_unload(void)
{
    nth_lock(&nth_io_lock);
    struct nth_driver *driver = drivers;
    while (driver && (driver->is_built_in || driver->is_unloading || !driver->object->DriverUnload))
        driver = driver->next;
    nth_unlock(&nth_io_lock);
    return driver;
}

static void shutdown(void)
{
    struct nth_driver *driver;

    nth_pnp_unplug_all();
    join_workers();
    while ((driver = next_to_unload()) != NULL)
        nth_driver_unload(driver);
    join_workers();
    nth_lock(&nth_io_lock);
    for (driver = drivers; driver && !driver->is_unloading; driver = driver->next)
        continue;
    nth_unlock(&nth_io_lock);
    if (driver)
        nth_stop("leak", "driver %s cannot be unloaded: a device of its is open or attached",
                 driver->service);
}
NTH_SUBSYSTEM(drivers, 45, NULL, shutdown);
