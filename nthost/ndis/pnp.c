/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * NDIS as the function driver of network devices: AddDevice, the plug and play and power requests,
 * and the adapter each device stands for. Order of removal as in "Processing the Surprise Removal
 * of a NIC". Adapters that are gone stay in memory until the machine stops, so that a driver which
 * uses a dead handle is told so.
 */
#include "ndis/private.h"

#include <string.h>

static struct nth_mutex adapters_lock = NTH_MUTEX_INIT;
static struct nth_adapter *adapters[4096]; /* guarded by adapters_lock */
static unsigned adapter_count;

static const GUID interface_net = {
    0xcac88484, 0x7515, 0x4c03, {0x82, 0xe6, 0x71, 0xa8, 0x7a, 0xba, 0xc3, 0x61}};

/* ---- identity ---- */

static void widen(UNICODE_STRING *to, WCHAR *buffer, size_t chars, const char *from)
{
    size_t n = 0;

    for (; from[n] && n + 1 < chars; n++)
        buffer[n] = (UCHAR)from[n];
    buffer[n] = 0;
    to->Buffer = buffer;
    to->Length = (USHORT)(n * sizeof(WCHAR));
    to->MaximumLength = (USHORT)((n + 1) * sizeof(WCHAR));
}

static ULONG key_number(struct nth_adapter *a, const char *name, ULONG otherwise)
{
    const char *key = ndis_key_of(a->pdo);
    ULONG type = 0, value = 0, bytes = sizeof(value);

    if (!key || !NT_SUCCESS(ndis_key_get(key, name, &type, &value, &bytes)) || type != REG_DWORD)
        return otherwise;
    return value;
}

NET_LUID nth_adapter_luid(struct nth_adapter *a)
{
    NET_LUID luid = {.Value = 0};

    luid.Info.NetLuidIndex = key_number(a, "NetLuidIndex", a->index + 1) & 0xFFFFFF;
    luid.Info.IfType = a->has_general ? a->general.IfType : key_number(a, "*IfType", 53);
    return luid;
}

static struct nth_adapter *adapter_create(struct ndis_driver *driver, DEVICE_OBJECT *pdo)
{
    struct nth_adapter *a = ndis_alloc(sizeof(*a));

    if (!a)
        return NULL;
    a->driver = driver;
    a->pdo = pdo;
    a->lock = (struct nth_mutex)NTH_MUTEX_INIT;
    ndis_gate_init(&a->gate);
    ndis_gate_init(&a->oid_gate);
    KeInitializeEvent(&a->flow.done, NotificationEvent, FALSE);
    KeInitializeEvent(&a->reset.done, NotificationEvent, FALSE);
    ndis_count_init(&a->direct);
    ndis_count_init(&a->sending);
    ndis_count_init(&a->sent);
    ndis_count_init(&a->indicating);
    ndis_count_init(&a->indicated);
    InitializeListHead(&a->oid_calls);
    nth_lock(&adapters_lock);
    a->index = adapter_count;
    if (adapter_count < ARRAYSIZE(adapters))
        adapters[adapter_count++] = a;
    else
        a->index = ~0U;
    nth_unlock(&adapters_lock);
    if (a->index == ~0U)
        nth_fail("more than %zu adapters in one machine", ARRAYSIZE(adapters));
    ndis_object_add(&a->object, NDIS_KIND_ADAPTER, NULL, "AddDevice");
    return a;
}

struct nth_adapter *nth_adapter_of(struct nth_device *device)
{
    struct nth_adapter *found = NULL;

    nth_lock(&adapters_lock);
    for (unsigned i = 0; i < adapter_count && !found; i++)
        if (!adapters[i]->is_gone && ndis_is_device(adapters[i]->pdo, device))
            found = adapters[i];
    nth_unlock(&adapters_lock);
    return found;
}

static void ndis_shutdown(void)
{
    for (unsigned i = 0; i < adapter_count; i++) {
        struct nth_adapter *a = adapters[i];
        for (struct ndis_binding *b = a->retired, *next; b; b = next) {
            next = b->next_retired;
            ndis_free(b);
        }
        ndis_object_remove(&a->object);
        ndis_free(a->oids);
        ndis_free(a);
    }
    adapter_count = 0;
}
NTH_SUBSYSTEM(ndis, 40, NULL, ndis_shutdown);

/* ---- devices ---- */

/* \Device\NDMPn, n counted from 1 as long as the machine lives. */
static void device_name(const struct nth_adapter *a, UNICODE_STRING *name, WCHAR *buffer,
                        size_t chars)
{
    char text[32] = "\\Device\\NDMP", digits[8];
    size_t n = strlen(text), count = 0;

    for (unsigned value = a->index + 1; value; value /= 10)
        digits[count++] = (char)('0' + value % 10);
    while (count)
        text[n++] = digits[--count];
    text[n] = 0;
    widen(name, buffer, chars, text);
}

static void set_links(struct nth_adapter *a, bool make)
{
    const char *instance = ndis_instance_of(a->pdo);
    WCHAR name[64], link[96];
    UNICODE_STRING n, l;
    char text[96];

    if (!instance)
        return;
    ndis_join(text, sizeof(text), "\\DosDevices\\", instance);
    widen(&l, link, ARRAYSIZE(link), text);
    if (!make) {
        IoDeleteSymbolicLink(&l);
        return;
    }
    device_name(a, &n, name, ARRAYSIZE(name));
    IoCreateSymbolicLink(&l, &n);
}

static NTSTATUS create_device(struct nth_adapter *a)
{
    WCHAR buffer[64];
    UNICODE_STRING name;

    device_name(a, &name, buffer, ARRAYSIZE(buffer));
    NTSTATUS status =
        IoCreateDevice(a->driver->driver, sizeof(struct ndis_fdo), &name,
                       FILE_DEVICE_PHYSICAL_NETCARD, FILE_DEVICE_SECURE_OPEN, FALSE, &a->fdo);
    if (!NT_SUCCESS(status))
        return status;
    *(struct ndis_fdo *)a->fdo->DeviceExtension = (struct ndis_fdo){NDIS_DEVICE_ADAPTER, a};
    a->fdo->Flags |= DO_DIRECT_IO;
    a->lower = IoAttachDeviceToDeviceStack(a->fdo, a->pdo);
    if (!a->lower) {
        IoDeleteDevice(a->fdo);
        a->fdo = NULL;
        return STATUS_NO_SUCH_DEVICE;
    }
    a->fdo->Flags &= ~(ULONG)DO_DEVICE_INITIALIZING;
    set_links(a, true);
    return STATUS_SUCCESS;
}

static void delete_device(struct nth_adapter *a)
{
    set_links(a, false);
    if (a->lower)
        IoDetachDevice(a->lower);
    if (a->fdo)
        IoDeleteDevice(a->fdo);
    a->lower = NULL;
    nth_lock(&adapters_lock);
    a->is_gone = true;
    nth_unlock(&adapters_lock);
    __atomic_sub_fetch(&a->driver->adapters, 1, __ATOMIC_SEQ_CST);
}

static NDIS_STATUS call_add_device(struct nth_adapter *a)
{
    if (!a->driver->has_pnp || !a->driver->pnp.MiniportAddDeviceHandler)
        return NDIS_STATUS_SUCCESS;
    const struct ndis_callout call = ndis_callout("MiniportAddDevice");
    const NDIS_STATUS status = a->driver->pnp.MiniportAddDeviceHandler(a, a->driver->context);
    ndis_callout_end(&call);
    return status;
}

NTSTATUS NTAPI ndis_add_device(DRIVER_OBJECT *object, DEVICE_OBJECT *pdo)
{
    struct ndis_driver *driver = ndis_driver_of(object);
    struct nth_adapter *a = driver ? adapter_create(driver, pdo) : NULL;

    if (!a)
        return driver ? STATUS_INSUFFICIENT_RESOURCES : STATUS_NO_SUCH_DEVICE;
    __atomic_add_fetch(&driver->adapters, 1, __ATOMIC_SEQ_CST);
    NTSTATUS status = create_device(a);
    if (NT_SUCCESS(status))
        status = call_add_device(a);
    if (!NT_SUCCESS(status))
        delete_device(a);
    return status;
}

static void set_interface(struct nth_adapter *a, bool on)
{
    const char *instance = ndis_instance_of(a->pdo);
    WCHAR buffer[64];
    UNICODE_STRING reference;

    if (!on) {
        if (a->has_interface)
            IoSetDeviceInterfaceState(&a->interface_link, FALSE);
        return;
    }
    if (!a->has_interface && instance) {
        widen(&reference, buffer, ARRAYSIZE(buffer), instance);
        a->has_interface = NT_SUCCESS(
            IoRegisterDeviceInterface(a->pdo, &interface_net, &reference, &a->interface_link));
    }
    if (a->has_interface)
        IoSetDeviceInterfaceState(&a->interface_link, TRUE);
}

static void drop_interface(struct nth_adapter *a)
{
    set_interface(a, false);
    if (a->has_interface)
        RtlFreeUnicodeString(&a->interface_link);
    a->has_interface = false;
}

/* ---- requests ---- */

static NTSTATUS pass_down(struct nth_adapter *a, IRP *irp)
{
    IoSkipCurrentIrpStackLocation(irp);
    return IoCallDriver(a->lower, irp);
}

static NTSTATUS NTAPI wake_waiter(DEVICE_OBJECT *device, IRP *irp, void *context)
{
    KeSetEvent(context, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS pass_down_and_wait(struct nth_adapter *a, IRP *irp)
{
    KEVENT done;

    KeInitializeEvent(&done, NotificationEvent, FALSE);
    IoCopyCurrentIrpStackLocationToNext(irp);
    IoSetCompletionRoutine(irp, wake_waiter, &done, TRUE, TRUE, TRUE);
    if (IoCallDriver(a->lower, irp) == STATUS_PENDING)
        KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, NULL);
    return irp->IoStatus.Status;
}

static NTSTATUS complete(IRP *irp, NTSTATUS status)
{
    irp->IoStatus.Status = status;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static NTSTATUS start(struct nth_adapter *a, IRP *irp)
{
    NTSTATUS status = pass_down_and_wait(a, irp);

    if (NT_SUCCESS(status)) {
        ndis_gate_enter(&a->gate);
        status = ndis_initialize(a);
        if (NT_SUCCESS(status)) {
            set_interface(a, true);
            ndis_restart(a);
        }
        ndis_gate_leave(&a->gate);
    }
    return complete(irp, status);
}

static bool halts_at_surprise(void)
{
    return ndis_system_version() >= NDIS_RUNTIME_VERSION_630;
}

/* Windows 8 and later pause and halt here; Windows 7 at IRP_MN_REMOVE_DEVICE. */
static NTSTATUS surprise_removal(struct nth_adapter *a, IRP *irp)
{
    ndis_gate_enter(&a->gate);
    __atomic_store_n(&a->was_surprised, true, __ATOMIC_SEQ_CST);
    ndis_notify(a, NdisDevicePnPEventSurpriseRemoved, NULL, 0);
    set_interface(a, false);
    if (halts_at_surprise())
        ndis_halt(a, NdisHaltDeviceSurpriseRemoved);
    ndis_gate_leave(&a->gate);
    irp->IoStatus.Status = STATUS_SUCCESS;
    return pass_down(a, irp);
}

static void call_remove_device(struct nth_adapter *a)
{
    if (!a->driver->has_pnp || !a->driver->pnp.MiniportRemoveDeviceHandler)
        return;
    const struct ndis_callout call = ndis_callout("MiniportRemoveDevice");
    a->driver->pnp.MiniportRemoveDeviceHandler(a->add_device_context);
    ndis_callout_end(&call);
}

static NTSTATUS remove_device(struct nth_adapter *a, IRP *irp)
{
    ndis_gate_enter(&a->gate);
    ndis_halt(a, a->was_surprised ? NdisHaltDeviceSurpriseRemoved : NdisHaltDeviceDisabled);
    drop_interface(a);
    call_remove_device(a);
    ndis_gate_leave(&a->gate);
    irp->IoStatus.Status = STATUS_SUCCESS;
    const NTSTATUS status = pass_down(a, irp);
    delete_device(a);
    return status;
}

NTSTATUS ndis_pnp(struct nth_adapter *a, IRP *irp)
{
    switch (IoGetCurrentIrpStackLocation(irp)->MinorFunction) {
    case IRP_MN_START_DEVICE:
        return start(a, irp);
    case IRP_MN_QUERY_REMOVE_DEVICE:
        ndis_notify(a, NdisDevicePnPEventQueryRemoved, NULL, 0);
        irp->IoStatus.Status = STATUS_SUCCESS;
        return pass_down(a, irp);
    case IRP_MN_CANCEL_REMOVE_DEVICE:
        irp->IoStatus.Status = STATUS_SUCCESS;
        return pass_down(a, irp);
    case IRP_MN_SURPRISE_REMOVAL:
        return surprise_removal(a, irp);
    case IRP_MN_REMOVE_DEVICE:
        return remove_device(a, irp);
    default:
        return pass_down(a, irp);
    }
}

/* ---- power ---- */

static void set_power_oid(struct nth_adapter *a, NDIS_DEVICE_POWER_STATE state)
{
    nth_set(a, OID_PNP_SET_POWER, &state, sizeof(state));
}

static bool has_flag(const struct nth_adapter *a, ULONG flag)
{
    return (a->registration.AttributeFlags & flag) != 0;
}

/* NO_PAUSE_ON_SUSPEND spares the pause, NO_HALT_ON_SUSPEND turns the halt into OID_PNP_SET_POWER
 * (NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES). */
static void power_down(struct nth_adapter *a)
{
    if (!ndis_is_up(a) || a->is_low_power)
        return;
    a->is_low_power = true;
    if (!has_flag(a, NDIS_MINIPORT_ATTRIBUTES_NO_HALT_ON_SUSPEND)) {
        ndis_halt(a, NdisHaltDevicePoweredDown);
        return;
    }
    if (!has_flag(a, NDIS_MINIPORT_ATTRIBUTES_NO_PAUSE_ON_SUSPEND))
        ndis_pause(a, NDIS_PAUSE_LOW_POWER);
    set_power_oid(a, NdisDeviceStateD3);
}

static NTSTATUS power_up(struct nth_adapter *a)
{
    NTSTATUS status = STATUS_SUCCESS;

    if (!a->is_low_power)
        return STATUS_SUCCESS;
    a->is_low_power = false;
    if (ndis_is_up(a))
        set_power_oid(a, NdisDeviceStateD0);
    else
        status = ndis_initialize(a);
    if (NT_SUCCESS(status))
        ndis_restart(a);
    return status;
}

NTSTATUS ndis_power(struct nth_adapter *a, IRP *irp)
{
    const IO_STACK_LOCATION *s = IoGetCurrentIrpStackLocation(irp);

    if (s->MinorFunction != IRP_MN_SET_POWER)
        return pass_down(a, irp);
    const bool is_system = s->Parameters.Power.Type == SystemPowerState;
    const bool is_up = is_system ? s->Parameters.Power.State.SystemState == PowerSystemWorking
                                 : s->Parameters.Power.State.DeviceState == PowerDeviceD0;
    ndis_gate_enter(&a->gate);
    if (!is_up)
        power_down(a);
    ndis_gate_leave(&a->gate);
    NTSTATUS status = is_up ? pass_down_and_wait(a, irp) : STATUS_SUCCESS;
    if (!is_up) {
        irp->IoStatus.Status = STATUS_SUCCESS;
        return pass_down(a, irp);
    }
    ndis_gate_enter(&a->gate);
    if (NT_SUCCESS(status))
        power_up(a);
    ndis_gate_leave(&a->gate);
    return complete(irp, status);
}

/* ---- what drivers ask ---- */

VOID NTAPI NdisMGetDeviceProperty(NDIS_HANDLE MiniportAdapterHandle,
                                  PDEVICE_OBJECT *PhysicalDeviceObject,
                                  PDEVICE_OBJECT *FunctionalDeviceObject,
                                  PDEVICE_OBJECT *NextDeviceObject,
                                  PCM_RESOURCE_LIST *AllocatedResources,
                                  PCM_RESOURCE_LIST *AllocatedResourcesTranslated)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    const struct nth_adapter *a = ndis_object_check(MiniportAdapterHandle, NDIS_KIND_ADAPTER);

    if (PhysicalDeviceObject)
        *PhysicalDeviceObject = a->pdo;
    if (FunctionalDeviceObject)
        *FunctionalDeviceObject = a->fdo;
    if (NextDeviceObject)
        *NextDeviceObject = a->lower;
    if (AllocatedResources)
        *AllocatedResources = NULL; /* a virtual device has none */
    if (AllocatedResourcesTranslated)
        *AllocatedResourcesTranslated = NULL;
}
NTH_EXPORT(NdisMGetDeviceProperty, 6);

/* No page: assumed to answer the context of the registration attributes, NULL before they are set.
 */
NDIS_HANDLE NTAPI NdisWdfGetAdapterContextFromAdapterHandle(NDIS_HANDLE NdisAdapterHandle)
{
    const struct nth_adapter *a = ndis_object_check(NdisAdapterHandle, NDIS_KIND_ADAPTER);

    return a->context;
}
NTH_EXPORT(NdisWdfGetAdapterContextFromAdapterHandle, 1);

/* A virtual device has no resources: a partial list of none. */
VOID NTAPI NdisMQueryAdapterResources(PNDIS_STATUS Status, NDIS_HANDLE WrapperConfigurationContext,
                                      PNDIS_RESOURCE_LIST ResourceList, PUINT BufferSize)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    const UINT needed = offsetof(NDIS_RESOURCE_LIST, PartialDescriptors);
    const UINT given = *BufferSize;

    *BufferSize = needed;
    *Status = given < needed ? NDIS_STATUS_RESOURCES : NDIS_STATUS_SUCCESS;
    if (given >= needed)
        memset(ResourceList, 0, needed);
}
NTH_EXPORT(NdisMQueryAdapterResources, 4);
