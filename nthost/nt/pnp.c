/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The PnP manager and a root bus: devnodes with a physical device object each, and the requests of
 * their life in the order the documentation gives. Speaks IRPs to the top of the stack and knows
 * nothing of NDIS.
 */
#include "nt/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASS_KEY                                                                                  \
    "\\Registry\\Machine\\System\\CurrentControlSet\\Control\\Class\\{4d36e972-e325-11ce-bfc1-"    \
    "08002be10318}"
#define FILE_DEVICE_CONTROLLER 0x00000004

static struct nth_device *devices; /* guarded by nth_io_lock */
static struct nth_driver *root_bus;

/* ---- the root bus: last in every stack ---- */

static void fill_capabilities(DEVICE_CAPABILITIES *capabilities)
{
    capabilities->SurpriseRemovalOK = 1;
    capabilities->RawDeviceOK = 0;
    capabilities->UniqueID = 1;
    capabilities->Address = capabilities->UINumber = 0xFFFFFFFF; /* none */
    for (unsigned i = 0; i < PowerSystemMaximum; i++)
        capabilities->DeviceState[i] = i == PowerSystemWorking ? PowerDeviceD0 : PowerDeviceD3;
}

static NTSTATUS NTAPI bus_pnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    const IO_STACK_LOCATION *location = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS status = Irp->IoStatus.Status; /* what the bus does not handle it leaves as it is */

    (void)DeviceObject;
    switch (location->MinorFunction) {
    case IRP_MN_QUERY_CAPABILITIES:
        fill_capabilities(location->Parameters.DeviceCapabilities.Capabilities);
        status = STATUS_SUCCESS;
        break;
    case IRP_MN_START_DEVICE:
    case IRP_MN_QUERY_REMOVE_DEVICE:
    case IRP_MN_CANCEL_REMOVE_DEVICE:
    case IRP_MN_REMOVE_DEVICE:
    case IRP_MN_SURPRISE_REMOVAL:
    case IRP_MN_QUERY_STOP_DEVICE:
    case IRP_MN_CANCEL_STOP_DEVICE:
    case IRP_MN_STOP_DEVICE:
    case IRP_MN_QUERY_PNP_DEVICE_STATE:
        status = STATUS_SUCCESS;
        break;
    default:
        break;
    }
    Irp->IoStatus.Status = status;
    IofCompleteRequest(Irp, IO_NO_INCREMENT);
    return status;
}

static NTSTATUS NTAPI bus_system_control(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    const NTSTATUS status = Irp->IoStatus.Status;

    (void)DeviceObject;
    IofCompleteRequest(Irp, IO_NO_INCREMENT);
    return status;
}

static void pnp_boot(const struct nth_config *config)
{
    (void)config;
    root_bus = nth_driver_built_in("PnpManager");
    root_bus->object->MajorFunction[IRP_MJ_PNP] = bus_pnp;
    root_bus->object->MajorFunction[IRP_MJ_POWER] = nth_bus_power;
    root_bus->object->MajorFunction[IRP_MJ_SYSTEM_CONTROL] = bus_system_control;
}
NTH_SUBSYSTEM(pnp, 31, pnp_boot, NULL);

/* ---- requests ---- */

static NTSTATUS send(struct nth_device *device, UCHAR minor, ULONG_PTR *information)
{
    const IO_STACK_LOCATION location = {.MajorFunction = IRP_MJ_PNP, .MinorFunction = minor};

    nth_trace("pnp: minor function 0x%x to %s", minor, device->instance_id);
    return nth_irp_synchronous(device->pdo, &location, STATUS_NOT_SUPPORTED, information);
}

static void query_capabilities(struct nth_device *device)
{
    DEVICE_CAPABILITIES capabilities = {.Size = sizeof(capabilities), .Version = 1};
    IO_STACK_LOCATION location = {.MajorFunction = IRP_MJ_PNP,
                                  .MinorFunction = IRP_MN_QUERY_CAPABILITIES};

    capabilities.Address = capabilities.UINumber = 0xFFFFFFFF;
    location.Parameters.DeviceCapabilities.Capabilities = &capabilities;
    nth_irp_synchronous(device->pdo, &location, STATUS_NOT_SUPPORTED, NULL);
}

static void query_children(struct nth_device *device)
{
    IO_STACK_LOCATION location = {.MajorFunction = IRP_MJ_PNP,
                                  .MinorFunction = IRP_MN_QUERY_DEVICE_RELATIONS};
    ULONG_PTR relations = 0;

    location.Parameters.QueryDeviceRelations.Type = BusRelations;
    const NTSTATUS status =
        nth_irp_synchronous(device->pdo, &location, STATUS_NOT_SUPPORTED, &relations);
    if (!NT_SUCCESS(status) || relations == 0)
        return;
    if (((DEVICE_RELATIONS *)relations)->Count != 0)
        nth_stop("not-provided", "%s reports children", device->instance_id);
    ExFreePoolWithTag((void *)relations, 0); /* the PnP manager frees the list */
}

/* ---- birth ---- */

static char *text(const char *format, unsigned number)
{
    char *result;

    if (asprintf(&result, format, number) < 0)
        nth_fail("out of memory");
    return result;
}

static char *copy(const char *string)
{
    char *result = strdup(string);

    if (!result)
        nth_fail("out of memory");
    return result;
}

/* The smallest number that no devnode has. nth_io_lock held. */
static unsigned free_index(void)
{
    unsigned index = 0;

    for (struct nth_device *device = devices; device;) {
        if (device->index == index) {
            index++;
            device = devices;
        } else {
            device = device->next;
        }
    }
    return index;
}

static struct nth_device *node_create(struct nth_driver *driver,
                                      const struct nth_device_config *config)
{
    struct nth_device *device = calloc(1, sizeof(*device));

    if (!device)
        nth_fail("out of memory");
    nth_lock(&nth_io_lock);
    device->driver = driver;
    device->index = free_index();
    device->next = devices;
    devices = device;
    nth_unlock(&nth_io_lock);
    device->instance_id =
        config->instance_id ? copy(config->instance_id) : text("ROOT\\NET\\%04u", device->index);
    device->net_cfg_id = config->net_cfg_id
                             ? copy(config->net_cfg_id)
                             : text("{6E74686F-7374-4000-8000-%012X}", device->index + 1);
    device->key = text(CLASS_KEY "\\%04u", device->index);
    return device;
}

static void node_destroy(struct nth_device *device)
{
    nth_lock(&nth_io_lock);
    struct nth_device **link = &devices;
    while (*link != device)
        link = &(*link)->next;
    *link = device->next;
    nth_unlock(&nth_io_lock);
    nth_interfaces_free(device);
    nth_properties_free(device);
    if (device->pdo) {
        nth_lock(&nth_io_lock);
        ((struct device *)device->pdo)->node = NULL;
        nth_unlock(&nth_io_lock);
        IoDeleteDevice(device->pdo);
    }
    nth_registry_delete(device->key);
    free(device->instance_id);
    free(device->net_cfg_id);
    free(device->key);
    free(device);
}

static void set_text(const char *key, const char *name, const char *value)
{
    UNICODE_STRING wide = nth_unicode(value);

    nth_registry_set(key, name, REG_SZ, wide.Buffer, wide.MaximumLength);
    free(wide.Buffer);
}

static void set_number(const char *key, const char *name, ULONG value)
{
    nth_registry_set(key, name, REG_DWORD, &value, sizeof(value));
}

/* The software key, as the network class installer and the INF leave it. */
static void fill_key(struct nth_device *device, const struct nth_device_config *config)
{
    const char *error = NULL;

    set_text(device->key, "NetCfgInstanceId", device->net_cfg_id);
    set_number(device->key, "NetLuidIndex",
               config->net_luid_index ? config->net_luid_index : device->index + 1);
    set_text(device->key, "DeviceInstanceID", device->instance_id);
    set_number(device->key, "*IfType", 53);
    set_number(device->key, "*MediaType", 19);
    set_number(device->key, "*PhysicalMediaType", 0);
    set_text(device->key, "DriverDesc", device->driver->service);
    set_text(device->key, "ComponentId", device->driver->service);
    if (config->inf && nth_inf_apply(config->inf, device->key, &error) != 0)
        nth_fail("cannot use %s: %s", config->inf, error);
    for (const char *const *entry = config->keys; entry && *entry; entry++)
        nth_registry_text(device->key, *entry);
}

static void create_pdo(struct nth_device *device)
{
    const NTSTATUS status = IoCreateDevice(root_bus->object, 0, NULL, FILE_DEVICE_CONTROLLER,
                                           FILE_AUTOGENERATED_DEVICE_NAME, FALSE, &device->pdo);

    if (!NT_SUCCESS(status))
        nth_fail("no physical device object: 0x%08x", (unsigned)status);
    device->pdo->Flags |= DO_BUS_ENUMERATED_DEVICE;
    device->pdo->Flags &= ~DO_DEVICE_INITIALIZING;
    nth_lock(&nth_io_lock);
    ((struct device *)device->pdo)->node = device;
    nth_unlock(&nth_io_lock);
}

/* "Controlling Device Access (WDM)": a descriptor in the registry is applied to every object of the
 * stack, after AddDevice. */
static void apply_security(struct nth_device *device, const struct nth_device_config *config)
{
    static const DEVPROPKEY key = {
        {0xa45c254e, 0xdf1c, 0x4efd, {0x80, 0x20, 0x67, 0xd1, 0x46, 0xa8, 0x50, 0xe0}}, 25};

    if (!config->security)
        return;
    nth_property_set(device, &key, DEVPROP_TYPE_SECURITY_DESCRIPTOR, config->security,
                     (ULONG)config->security_size);
    for (DEVICE_OBJECT *object = device->pdo; object; object = object->AttachedDevice)
        nth_device_set_security(object, config->security, config->security_size);
}

static NTSTATUS add_device(struct nth_device *device, struct nth_driver *driver)
{
    PDRIVER_ADD_DEVICE routine = driver->extension.AddDevice;
    struct nth_callout callout;

    if (!routine)
        return STATUS_INVALID_DEVICE_REQUEST; /* no PnP driver */
    nth_callout_begin(&callout, "AddDevice", (const void *)routine);
    const NTSTATUS status = routine(driver->object, device->pdo);
    nth_callout_end(&callout);
    return status;
}

static void set_state(struct nth_device *device, enum nth_node_state state)
{
    nth_lock(&nth_io_lock);
    device->state = state;
    nth_unlock(&nth_io_lock);
}

/* "Adding a PnP Device to a Running System", from AddDevice on. */
static NTSTATUS start(struct nth_device *device)
{
    ULONG_PTR information = 0;

    query_capabilities(device);
    send(device, IRP_MN_QUERY_RESOURCE_REQUIREMENTS, &information);
    information = 0;
    send(device, IRP_MN_FILTER_RESOURCE_REQUIREMENTS, &information);
    const NTSTATUS status = send(device, IRP_MN_START_DEVICE, NULL);
    if (!NT_SUCCESS(status))
        return status;
    set_state(device, NODE_STARTED);
    query_capabilities(device);
    information = 0;
    send(device, IRP_MN_QUERY_PNP_DEVICE_STATE, &information);
    query_children(device);
    return status;
}

static void remove_stack(struct nth_device *device)
{
    set_state(device, NODE_GONE);
    const NTSTATUS status = send(device, IRP_MN_REMOVE_DEVICE, NULL);
    if (!NT_SUCCESS(status))
        nth_stop("pnp-remove-failed", "IRP_MN_REMOVE_DEVICE ended with 0x%08x", (unsigned)status);
    if (device->pdo->AttachedDevice)
        nth_stop("pnp-remove-failed",
                 "a device object is still attached after IRP_MN_REMOVE_DEVICE");
    node_destroy(device);
}

NTSTATUS nth_plug(struct nth_driver *driver, const struct nth_device_config *config,
                  struct nth_device **result)
{
    static const struct nth_device_config none;
    const struct nth_device_config *use = config ? config : &none;

    *result = NULL;
    struct nth_device *device = node_create(driver, use);
    fill_key(device, use);
    create_pdo(device);
    for (size_t i = 0; i < use->property_count; i++) {
        const struct nth_device_property *p = &use->properties[i];
        nth_property_set(device, &p->key, p->type, p->data, p->bytes);
    }
    NTSTATUS status = add_device(device, driver);
    if (!NT_SUCCESS(status)) {
        if (device->pdo->AttachedDevice)
            nth_stop("pnp-remove-failed", "AddDevice failed and left its device object attached");
        node_destroy(device);
        return status;
    }
    apply_security(device, use);
    status = start(device);
    if (!NT_SUCCESS(status)) { /* "Understanding When Remove IRPs Are Issued", note 8 */
        remove_stack(device);
        return status;
    }
    *result = device;
    return STATUS_SUCCESS;
}

/* ---- removal ---- */

#ifndef STATUS_PLUGPLAY_QUERY_VETOED
#define STATUS_PLUGPLAY_QUERY_VETOED ((NTSTATUS)0x80000028)
#endif

NTSTATUS nth_cancel_remove(struct nth_device *device)
{
    return send(device, IRP_MN_CANCEL_REMOVE_DEVICE, NULL);
}

/* Drivers first, then the open handles, which drivers may have closed meanwhile. */
NTSTATUS nth_query_remove(struct nth_device *device)
{
    NTSTATUS status = send(device, IRP_MN_QUERY_REMOVE_DEVICE, NULL);

    if (NT_SUCCESS(status) && nth_device_open_files(device->pdo) > 0)
        status = STATUS_PLUGPLAY_QUERY_VETOED;
    if (status != STATUS_SUCCESS)
        nth_cancel_remove(device);
    return status;
}

void nth_remove(struct nth_device *device)
{
    remove_stack(device);
}

NTSTATUS nth_unplug(struct nth_device *device)
{
    const NTSTATUS status = nth_query_remove(device);

    if (status == STATUS_SUCCESS)
        remove_stack(device);
    return status;
}

bool nth_pnp_is_removable(struct nth_device *device)
{
    if (!device || device->state != NODE_SURPRISED || nth_device_open_files_locked(device->pdo) > 0)
        return false;
    device->state = NODE_GONE; /* claimed */
    return true;
}

static void remove_later(void *context)
{
    remove_stack(context);
}

void nth_pnp_remove_later(struct nth_device *device)
{
    nth_io_thread("pnp remove", remove_later, device);
}

void nth_surprise_remove(struct nth_device *device)
{
    const NTSTATUS status = send(device, IRP_MN_SURPRISE_REMOVAL, NULL);

    if (!NT_SUCCESS(status))
        nth_stop("pnp-remove-failed", "IRP_MN_SURPRISE_REMOVAL ended with 0x%08x",
                 (unsigned)status);
    nth_lock(&nth_io_lock);
    device->state = NODE_SURPRISED;
    const bool is_free = nth_pnp_is_removable(device);
    nth_unlock(&nth_io_lock);
    if (is_free)
        remove_stack(device);
}

void nth_pnp_unplug_all(void)
{
    for (;;) {
        nth_lock(&nth_io_lock);
        struct nth_device *device = devices;
        while (device && device->state != NODE_STARTED)
            device = device->next;
        nth_unlock(&nth_io_lock);
        if (!device)
            return;
        if (nth_unplug(device) != STATUS_SUCCESS)
            nth_surprise_remove(device);
    }
}

/* ---- identity ---- */

struct nth_device *nth_device_first(void)
{
    return devices;
}

struct nth_device *nth_device_of(DEVICE_OBJECT *object)
{
    struct device *device = nth_device_body(object);

    nth_lock(&nth_io_lock);
    struct nth_device *node = device->node;
    nth_unlock(&nth_io_lock);
    return node;
}

const char *nth_device_key(struct nth_device *device)
{
    return device->key;
}

unsigned nth_device_index(struct nth_device *device)
{
    return device->index;
}

const char *nth_device_net_cfg_id(struct nth_device *device)
{
    return device->net_cfg_id;
}

/* ---- sleep ---- */

/* Sends to every started device in turn; stops at the first that fails. */
static NTSTATUS power_all(UCHAR minor, SYSTEM_POWER_STATE state)
{
    IO_STACK_LOCATION location = {.MajorFunction = IRP_MJ_POWER, .MinorFunction = minor};
    NTSTATUS status = STATUS_SUCCESS;

    location.Parameters.Power.Type = SystemPowerState;
    location.Parameters.Power.State.SystemState = state;
    nth_lock(&nth_io_lock);
    struct nth_device *device = devices;
    nth_unlock(&nth_io_lock);
    for (; device && NT_SUCCESS(status); device = device->next) {
        if (device->state == NODE_STARTED)
            status = nth_irp_synchronous(device->pdo, &location, STATUS_NOT_SUPPORTED, NULL);
    }
    return status;
}

NTSTATUS nth_sleep(void)
{
    const NTSTATUS status = power_all(IRP_MN_QUERY_POWER, PowerSystemSleeping3);

    if (!NT_SUCCESS(
            status)) { /* the power manager takes the question back with the working state */
        power_all(IRP_MN_SET_POWER, PowerSystemWorking);
        return status;
    }
    return power_all(IRP_MN_SET_POWER, PowerSystemSleeping3);
}

NTSTATUS nth_wake(void)
{
    return power_all(IRP_MN_SET_POWER, PowerSystemWorking);
}
