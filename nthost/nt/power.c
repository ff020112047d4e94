/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Power requests that drivers make and pass on, and the bus driver's answer to them. Since Windows
 * Vista the power manager serialises nothing for drivers (PoStartNextPowerIrp, PoCallDriver).
 */
#include "nt/io.h"

#include <stdlib.h>

typedef VOID NTAPI power_complete(PDEVICE_OBJECT DeviceObject, UCHAR MinorFunction,
                                  POWER_STATE PowerState, PVOID Context, PIO_STATUS_BLOCK IoStatus);

NTSTATUS NTAPI nth_bus_power(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    const UCHAR minor = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    NTSTATUS status = Irp->IoStatus.Status;

    (void)DeviceObject;
    if (minor == IRP_MN_SET_POWER || minor == IRP_MN_QUERY_POWER)
        status = STATUS_SUCCESS;
    Irp->IoStatus.Status = status;
    IofCompleteRequest(Irp, IO_NO_INCREMENT);
    return status;
}

struct request {
    DEVICE_OBJECT *device;
    UCHAR minor;
    POWER_STATE state;
    power_complete *complete;
    void *context;
};

static void power_done(IRP *irp, void *context)
{
    struct request *request = context;
    struct nth_callout callout;
    IO_STATUS_BLOCK status = irp->IoStatus;

    if (request->complete) {
        nth_callout_begin(&callout, "PowerCompletion routine", (const void *)request->complete);
        request->complete(request->device, request->minor, request->state, request->context,
                          &status);
        nth_callout_end(&callout);
    }
    free(request);
    nth_irp_unpin(irp);
}

/* PoRequestPowerIrp: to the top of the stack; STATUS_PENDING says that it was sent. */
static NTSTATUS NTAPI request_power(PDEVICE_OBJECT DeviceObject, UCHAR MinorFunction,
                                    POWER_STATE PowerState, power_complete *CompletionFunction,
                                    PVOID Context, PIRP *Irp)
{
    nth_irql_max(DISPATCH_LEVEL);
    if (MinorFunction != IRP_MN_SET_POWER && MinorFunction != IRP_MN_QUERY_POWER)
        nth_stop("not-provided", "PoRequestPowerIrp with minor function 0x%x", MinorFunction);
    if (nth_fault(NTH_FAULT_POOL, "PoRequestPowerIrp"))
        return STATUS_INSUFFICIENT_RESOURCES;
    struct request *request = malloc(sizeof(*request));
    if (!request)
        nth_fail("out of memory");
    *request =
        (struct request){DeviceObject, MinorFunction, PowerState, CompletionFunction, Context};
    DEVICE_OBJECT *top = nth_device_top(DeviceObject);
    IRP *irp = nth_irp_create(top->StackSize, power_done, request);
    IO_STACK_LOCATION *location = IoGetNextIrpStackLocation(irp);
    location->MajorFunction = IRP_MJ_POWER;
    location->MinorFunction = MinorFunction;
    location->Parameters.Power.Type = DevicePowerState;
    location->Parameters.Power.State = PowerState;
    irp->IoStatus.Status = STATUS_NOT_SUPPORTED;
    if (Irp)
        *Irp = irp;
    nth_irp_send(top, irp);
    return STATUS_PENDING;
}
NTH_EXPORT_AS(PoRequestPowerIrp, "PoRequestPowerIrp", request_power, 6);

static VOID NTAPI start_next_power_irp(PIRP Irp)
{
    nth_irql_max(DISPATCH_LEVEL);
    (void)Irp; /* needed before Windows Vista only */
}
NTH_EXPORT_AS(PoStartNextPowerIrp, "PoStartNextPowerIrp", start_next_power_irp, 1);

static NTSTATUS NTAPI call_driver(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    nth_irql_max(DISPATCH_LEVEL);
    return IofCallDriver(DeviceObject, Irp);
}
NTH_EXPORT_AS(PoCallDriver, "PoCallDriver", call_driver, 2);

/* DEVOBJ_EXTENSION.PowerFlags holds the states; a device begins in D0 of the working system. */
static POWER_STATE NTAPI set_power_state(PDEVICE_OBJECT DeviceObject, POWER_STATE_TYPE Type,
                                         POWER_STATE State)
{
    struct device *device = nth_device_body(DeviceObject);
    const unsigned shift = Type == SystemPowerState ? 0 : 4;
    const ULONG value =
        Type == SystemPowerState ? (ULONG)State.SystemState : (ULONG)State.DeviceState;
    POWER_STATE old;

    nth_irql_max(DISPATCH_LEVEL);
    nth_lock(&nth_io_lock);
    const uint64_t flags = device->extension[2];
    device->extension[2] = (flags & ~(15ull << shift)) | (uint64_t)(value & 15) << shift;
    nth_unlock(&nth_io_lock);
    old.SystemState = (SYSTEM_POWER_STATE)(flags >> shift & 15);
    if (old.SystemState == PowerSystemUnspecified)
        old.SystemState = (SYSTEM_POWER_STATE)1; /* PowerSystemWorking, PowerDeviceD0 */
    return old;
}
NTH_EXPORT_AS(PoSetPowerState, "PoSetPowerState", set_power_state, 3);
