/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Load and unload, and what is chosen once for the system the driver finds itself on. Everything
 * that can fail fails the load and is undone; later code never asks for a version again.
 */
#include "tun.h"

#define NDIS_NEWEST 0x60059U /* 6.89 */

TUN_DRIVER Driver;

PVOID PoolAlloc(SIZE_T Bytes)
{
    if (Driver.AllocatePool2)
        return Driver.AllocatePool2(POOL_FLAG_NON_PAGED, Bytes, TUN_TAG);
    PVOID Memory = ExAllocatePoolWithTag(Driver.PoolType, Bytes, TUN_TAG);
    if (Memory)
        RtlZeroMemory(Memory, Bytes);
    return Memory;
}

VOID PoolFree(PVOID Memory)
{
    if (Memory)
        ExFreePoolWithTag(Memory, TUN_TAG);
}

/* A mutex, because some holders wait for a gate; it also keeps its holder from being suspended. */
VOID DriverLock(VOID)
{
    KeWaitForSingleObject(&Driver.Mutex, Executive, KernelMode, FALSE, NULL);
}

/* Completing a read may run anybody's code, who may come back for the next one: without the mutex,
 * when whoever held it has brought all else to its end. */
VOID DriverUnlock(VOID)
{
    IRP *Irp = Driver.Ended;

    Driver.Ended = NULL;
    KeReleaseMutex(&Driver.Mutex, FALSE);
    for (IRP *Next; Irp; Irp = Next) {
        Next = Irp->Tail.Overlay.DriverContext[0];
        DeviceComplete(Irp, Irp->IoStatus.Status, 0);
    }
}

/* No adapter is left, so the process callback finds nothing; after its removal it does not run. */
static VOID NTAPI DriverUnload(DRIVER_OBJECT *DriverObject)
{
    PsSetCreateProcessNotifyRoutine(SessionProcessNotify, TRUE);
    NdisMDeregisterMiniportDriver(Driver.Handle);
}

/* No list and no request is ever kept, and there is no hardware. */
static VOID NTAPI CancelNothing(NDIS_HANDLE Context, PVOID Id) {}

static VOID NTAPI ShutdownNothing(NDIS_HANDLE Context, NDIS_SHUTDOWN_ACTION Action) {}

DRIVER_INITIALIZE DriverEntry;
NTSTATUS DriverEntry(DRIVER_OBJECT *DriverObject, UNICODE_STRING *RegistryPath)
{
    UNICODE_STRING AllocatePool2 = RTL_CONSTANT_STRING(L"ExAllocatePool2");
    /* Versions first, so that a refusal has nothing to undo. Revisions follow from the version. */
    Driver.NdisVersion = NdisGetVersion() < NDIS_NEWEST ? NdisGetVersion() : NDIS_NEWEST;
    if (Driver.NdisVersion < NDIS_RUNTIME_VERSION_620)
        return NDIS_STATUS_UNSUPPORTED_REVISION;
    NDIS_MINIPORT_DRIVER_CHARACTERISTICS Miniport = {
        .Header = TUN_HEADER_SINCE(680, MINIPORT_DRIVER_CHARACTERISTICS,
                                   MINIPORT_DRIVER_CHARACTERISTICS, 2, 3),
        .MajorNdisVersion = (UCHAR)(Driver.NdisVersion >> 16),
        .MinorNdisVersion = (UCHAR)Driver.NdisVersion,
        .MajorDriverVersion = TUN_VERSION_MAJOR,
        .MinorDriverVersion = TUN_VERSION_MINOR,
        .Flags = NDIS_WDM_DRIVER,
        .InitializeHandlerEx = AdapterInitialize,
        .HaltHandlerEx = AdapterHalt,
        .UnloadHandler = DriverUnload,
        .PauseHandler = AdapterPause,
        .RestartHandler = AdapterRestart,
        .OidRequestHandler = OidRequest,
        .SendNetBufferListsHandler = SendNetBufferLists,
        .ReturnNetBufferListsHandler = ReceiveReturn,
        .CancelSendHandler = CancelNothing,
        .DevicePnPEventNotifyHandler = AdapterPnpEvent,
        .ShutdownHandlerEx = ShutdownNothing,
        .CancelOidRequestHandler = CancelNothing,
    };

    /* NDIS 6.30 came with Windows 8, and with it memory that cannot be executed. */
    const BOOLEAN HasNoExecute = Driver.NdisVersion >= NDIS_RUNTIME_VERSION_630;
    Driver.PoolType = HasNoExecute ? NonPagedPoolNx : NonPagedPool;
    Driver.MapPriority = NormalPagePriority | (HasNoExecute ? MdlMappingNoExecute : 0);
    *(PVOID *)&Driver.AllocatePool2 = MmGetSystemRoutineAddress(&AllocatePool2);
    KeInitializeMutex(&Driver.Mutex, 0);

    NTSTATUS Status = PsSetCreateProcessNotifyRoutine(SessionProcessNotify, FALSE);
    if (!NT_SUCCESS(Status))
        return Status;
    Status =
        NdisMRegisterMiniportDriver(DriverObject, RegistryPath, NULL, &Miniport, &Driver.Handle);
    if (NT_SUCCESS(Status))
        CompatInstall(DriverObject);
    else
        PsSetCreateProcessNotifyRoutine(SessionProcessNotify, TRUE);
    return Status;
}
