/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A miniport that does what TestScript says; see puppet.h. Also the proof that every function of
 * ndis.def binds and can be called from code of each compiler.
 */
#include "puppet.h"

__declspec(dllimport) extern struct puppet_script TestScript;
#define S TestScript

DRIVER_INITIALIZE DriverEntry;

static KSPIN_LOCK Lock;
static ULONG AdapterContext[16];

static ULONG64 NTAPI Call(PVOID Function, const ULONG64 *A)
{
    ULONG64(NTAPI * F)
    (ULONG64, ULONG64, ULONG64, ULONG64, ULONG64, ULONG64) =
        (ULONG64(NTAPI *)(ULONG64, ULONG64, ULONG64, ULONG64, ULONG64, ULONG64))Function;
    KIRQL Old = PASSIVE_LEVEL;
    const ULONG Raise = S.RunAtDispatch, Hold = S.HoldLock;

    if (Hold)
        KeAcquireSpinLock(&Lock, &Old);
    else if (Raise)
        KeRaiseIrql(DISPATCH_LEVEL, &Old);
    const ULONG64 Result = F(A[0], A[1], A[2], A[3], A[4], A[5]);
    if (Hold)
        KeReleaseSpinLock(&Lock, Old);
    else if (Raise)
        KeLowerIrql(Old);
    return Result;
}

#define I(Name) {#Name, (PVOID)Name}
static struct puppet_import Imports[] = {
    I(NdisAcquireRWLockRead),
    I(NdisAcquireRWLockWrite),
    I(NdisAcquireSpinLock),
    I(NdisAdvanceNetBufferDataStart),
    I(NdisAllocateCloneOidRequest),
    I(NdisAllocateIoWorkItem),
    I(NdisAllocateMdl),
    I(NdisAllocateMemoryWithTag),
    I(NdisAllocateMemoryWithTagPriority),
    I(NdisAllocateNetBuffer),
    I(NdisAllocateNetBufferAndNetBufferList),
    I(NdisAllocateNetBufferList),
    I(NdisAllocateNetBufferListContext),
    I(NdisAllocateNetBufferListPool),
    I(NdisAllocateNetBufferMdlAndData),
    I(NdisAllocateNetBufferPool),
    I(NdisAllocateRWLock),
    I(NdisAllocateSharedMemory),
    I(NdisAllocateSpinLock),
    I(NdisAllocateTimerObject),
    I(NdisCancelSendNetBufferLists),
    I(NdisCancelTimerObject),
    I(NdisCloseConfiguration),
    I(NdisCopyFromNetBufferToNetBuffer),
    I(NdisDeregisterDeviceEx),
    I(NdisDprAcquireSpinLock),
    I(NdisDprReleaseSpinLock),
    I(NdisFreeCloneOidRequest),
    I(NdisFreeIoWorkItem),
    I(NdisFreeMdl),
    I(NdisFreeMemory),
    I(NdisFreeMemoryWithTagPriority),
    I(NdisFreeNetBuffer),
    I(NdisFreeNetBufferList),
    I(NdisFreeNetBufferListContext),
    I(NdisFreeNetBufferListPool),
    I(NdisFreeNetBufferPool),
    I(NdisFreeRWLock),
    I(NdisFreeSharedMemory),
    I(NdisFreeSpinLock),
    I(NdisFreeTimerObject),
    I(NdisGetDataBuffer),
    I(NdisGetDeviceReservedExtension),
    I(NdisGetRssProcessorInformation),
    I(NdisGetSharedDataAlignment),
    I(NdisGetSystemUpTimeEx),
    I(NdisGetVersion),
    I(NdisInitializeEvent),
    I(NdisInterlockedDecrement),
    I(NdisInterlockedIncrement),
    I(NdisInterlockedInsertTailList),
    I(NdisInterlockedRemoveHeadList),
    I(NdisMDeregisterMiniportDriver),
    I(NdisMDirectOidRequestComplete),
    I(NdisMGetDeviceProperty),
    I(NdisMIndicateReceiveNetBufferLists),
    I(NdisMIndicateStatusEx),
    I(NdisMNetPnPEvent),
    I(NdisMOidRequestComplete),
    I(NdisMPauseComplete),
    I(NdisMQueryAdapterResources),
    I(NdisMRegisterMiniportDriver),
    I(NdisMResetComplete),
    I(NdisMRestartComplete),
    I(NdisMSendNetBufferListsComplete),
    I(NdisMSetMiniportAttributes),
    I(NdisMSleep),
    I(NdisOpenConfiguration),
    I(NdisOpenConfigurationEx),
    I(NdisQueueIoWorkItem),
    I(NdisReadConfiguration),
    I(NdisReadNetworkAddress),
    I(NdisRegisterDeviceEx),
    I(NdisReleaseRWLock),
    I(NdisReleaseSpinLock),
    I(NdisResetEvent),
    I(NdisRetreatNetBufferDataStart),
    I(NdisSetEvent),
    I(NdisSetOptionalHandlers),
    I(NdisSetTimerObject),
    I(NdisWaitEvent),
    I(NdisWdfGetAdapterContextFromAdapterHandle),
    I(NdisWriteConfiguration),
    I(NdisWriteErrorLogEntry),
};

/* ---- handlers ---- */

static NDIS_STATUS SetRegistration(NDIS_HANDLE Adapter, PVOID Context)
{
    NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES R = {
        .Header = {NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES,
                   S.RegistrationRevision
                       ? (UCHAR)S.RegistrationRevision
                       : NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1,
                   NDIS_SIZEOF_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1},
        .MiniportAdapterContext = Context,
        .AttributeFlags = S.AttributeFlags,
        .InterfaceType = NdisInterfaceInternal,
    };
    return NdisMSetMiniportAttributes(Adapter, (NDIS_MINIPORT_ADAPTER_ATTRIBUTES *)&R);
}

static NDIS_OID Oids[] = {OID_GEN_CURRENT_LOOKAHEAD, OID_GEN_CURRENT_PACKET_FILTER,
                          OID_GEN_MAXIMUM_TOTAL_SIZE};

static NDIS_STATUS SetGeneral(NDIS_HANDLE Adapter)
{
    NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES G = {
        .Header = {NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES,
                   NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2,
                   NDIS_SIZEOF_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2},
        .MediaType = (NDIS_MEDIUM)S.MediaType,
        .MtuSize = 1500,
        .LookaheadSize = 1500,
        .MaxXmitLinkSpeed = 1000000000,
        .XmitLinkSpeed = 1000000000,
        .MaxRcvLinkSpeed = 1000000000,
        .RcvLinkSpeed = 1000000000,
        .MediaConnectState = MediaConnectStateConnected,
        .MediaDuplexState = MediaDuplexStateFull,
        .MacOptions = NDIS_MAC_OPTION_NO_LOOPBACK,
        .SupportedPacketFilters = NDIS_PACKET_TYPE_DIRECTED | NDIS_PACKET_TYPE_BROADCAST,
        .AccessType = NET_IF_ACCESS_BROADCAST,
        .DirectionType = NET_IF_DIRECTION_SENDRECEIVE,
        .ConnectionType = NET_IF_CONNECTION_DEDICATED,
        .IfType = 53,
        .SupportedOidList = Oids,
        .SupportedOidListLength = sizeof(Oids),
    };
    return NdisMSetMiniportAttributes(Adapter, (NDIS_MINIPORT_ADAPTER_ATTRIBUTES *)&G);
}

static NDIS_STATUS NTAPI Initialize(NDIS_HANDLE Adapter, NDIS_HANDLE DriverContext,
                                    PNDIS_MINIPORT_INIT_PARAMETERS Parameters)
{
    PVOID Context = &AdapterContext[S.Inits % 16];
    NDIS_STATUS Status = NDIS_STATUS_SUCCESS;

    S.Inits++;
    S.LastAdapter = S.Adapter;
    S.Adapter = Adapter;
    S.Luid = Parameters->NetLuid;
    S.AddDeviceContext = Parameters->MiniportAddDeviceContext;
    if (DriverContext != &S)
        return NDIS_STATUS_INVALID_PARAMETER;
    S.Context = Context;
    if (S.GeneralFirst)
        Status = SetGeneral(Adapter);
    if (Status == NDIS_STATUS_SUCCESS && !S.SkipRegistration)
        Status = SetRegistration(Adapter, Context);
    if (Status == NDIS_STATUS_SUCCESS && !S.SkipGeneral)
        Status = SetGeneral(Adapter);
    S.AttributeStatus = Status;
    if (S.Init == PUPPET_IRQL)
        KeRaiseIrqlToDpcLevel();
    return S.InitStatus ? S.InitStatus : Status;
}

static VOID NTAPI Halt(NDIS_HANDLE Context, NDIS_HALT_ACTION Action)
{
    S.Halts++;
    S.LastHaltAction = Action;
}

static NDIS_STATUS NTAPI Pause(NDIS_HANDLE Context, PNDIS_MINIPORT_PAUSE_PARAMETERS Parameters)
{
    S.Pauses++;
    S.LastPauseReason = Parameters->PauseReason;
    S.PauseIrql = KeGetCurrentIrql();
    switch (S.Pause) {
    case PUPPET_PEND:
        return NDIS_STATUS_PENDING;
    case PUPPET_FAIL:
        return NDIS_STATUS_RESOURCES;
    case PUPPET_TWICE:
        NdisMPauseComplete(S.Adapter);
        return NDIS_STATUS_SUCCESS;
    default:
        return NDIS_STATUS_SUCCESS;
    }
}

static NDIS_STATUS NTAPI Restart(NDIS_HANDLE Context, PNDIS_MINIPORT_RESTART_PARAMETERS Parameters)
{
    S.Restarts++;
    switch (S.Restart) {
    case PUPPET_PEND:
        return NDIS_STATUS_PENDING;
    case PUPPET_FAIL:
        return NDIS_STATUS_RESOURCES;
    case PUPPET_STATUS:
        return S.Odd;
    case PUPPET_TWICE:
        NdisMRestartComplete(S.Adapter, NDIS_STATUS_SUCCESS);
        return NDIS_STATUS_SUCCESS;
    default:
        return NDIS_STATUS_SUCCESS;
    }
}

static VOID CompleteLocked(NET_BUFFER_LIST *Lists)
{
    KIRQL Old;

    KeAcquireSpinLock(&Lock, &Old);
    NdisMSendNetBufferListsComplete(S.Adapter, Lists, 0);
    KeReleaseSpinLock(&Lock, Old);
}

static VOID NTAPI Send(NDIS_HANDLE Context, PNET_BUFFER_LIST Lists, NDIS_PORT_NUMBER Port,
                       ULONG Flags)
{
    ULONG CompleteFlags =
        Flags & NDIS_SEND_FLAGS_DISPATCH_LEVEL ? NDIS_SEND_COMPLETE_FLAGS_DISPATCH_LEVEL : 0;

    S.Sends++;
    S.LastSendFlags = Flags;
    S.SendIrql = KeGetCurrentIrql();
    for (NET_BUFFER_LIST *L = Lists; L; L = L->Next) {
        S.SentLists++;
        L->Status = S.Send == PUPPET_STATUS ? S.Odd
                    : S.Send == PUPPET_FAIL ? NDIS_STATUS_PAUSED
                                            : NDIS_STATUS_SUCCESS;
    }
    switch (S.Send) {
    case PUPPET_PEND:
        S.Held = Lists;
        return;
    case PUPPET_LOCKED:
        CompleteLocked(Lists);
        return;
    case PUPPET_MODIFY:
        Lists->FirstNetBuffer->DataLength--;
        break;
    case PUPPET_LIE:
        CompleteFlags |= NDIS_SEND_COMPLETE_FLAGS_DISPATCH_LEVEL;
        break;
    default:
        break;
    }
    NdisMSendNetBufferListsComplete(S.Adapter, Lists, CompleteFlags);
    if (S.Send == PUPPET_TWICE)
        NdisMSendNetBufferListsComplete(S.Adapter, Lists, CompleteFlags);
    if (S.Send == PUPPET_IRQL)
        KeRaiseIrqlToDpcLevel();
    if (S.Send == PUPPET_KEEP)
        KeAcquireSpinLockAtDpcLevel(&Lock);
}

static VOID NTAPI Return(NDIS_HANDLE Context, PNET_BUFFER_LIST Lists, ULONG Flags)
{
    S.Returns++;
    S.LastReturnFlags = Flags;
    while (Lists) {
        NET_BUFFER_LIST *Next = Lists->Next;
        S.ReturnedLists++;
        Lists->Next = S.Returned;
        S.Returned = Lists;
        Lists = Next;
    }
}

static VOID NTAPI CancelSend(NDIS_HANDLE Context, PVOID Id)
{
    S.CancelSends++;
    S.LastCancelId = Id;
}

static VOID NTAPI Event(NDIS_HANDLE Context, PNET_DEVICE_PNP_EVENT Notification)
{
    S.Events++;
    S.LastEvent = Notification->DevicePnPEvent;
}

static VOID NTAPI Shutdown(NDIS_HANDLE Context, NDIS_SHUTDOWN_ACTION Action)
{
    S.Shutdowns++;
}

static NDIS_STATUS Query(NDIS_OID_REQUEST *R)
{
    if (R->DATA.Oid != OID_GEN_MAXIMUM_TOTAL_SIZE)
        return NDIS_STATUS_NOT_SUPPORTED;
    R->DATA.QUERY_INFORMATION.BytesNeeded = sizeof(ULONG);
    if (R->DATA.QUERY_INFORMATION.InformationBufferLength < sizeof(ULONG))
        return NDIS_STATUS_BUFFER_TOO_SHORT;
    *(ULONG *)R->DATA.QUERY_INFORMATION.InformationBuffer = 1514;
    R->DATA.QUERY_INFORMATION.BytesWritten = sizeof(ULONG);
    return NDIS_STATUS_SUCCESS;
}

static NDIS_STATUS Set(NDIS_OID_REQUEST *R)
{
    R->DATA.SET_INFORMATION.BytesRead = R->DATA.SET_INFORMATION.InformationBufferLength;
    if (R->DATA.Oid == OID_PNP_SET_POWER)
        S.SetPower = *(ULONG *)R->DATA.SET_INFORMATION.InformationBuffer;
    return NDIS_STATUS_SUCCESS;
}

static NDIS_STATUS AnyOid(NDIS_OID_REQUEST *R)
{
    S.LastOid = R->DATA.Oid;
    switch (S.Oid) {
    case PUPPET_PEND:
        S.HeldOid = R;
        return NDIS_STATUS_PENDING;
    case PUPPET_STATUS:
        return S.Odd;
    case PUPPET_OVERRUN:
        R->DATA.QUERY_INFORMATION.BytesWritten =
            R->DATA.QUERY_INFORMATION.InformationBufferLength + 1;
        return NDIS_STATUS_SUCCESS;
    case PUPPET_MODIFY:
        R->DATA.Oid++;
        return NDIS_STATUS_NOT_SUPPORTED;
    case PUPPET_TWICE:
        NdisMOidRequestComplete(S.Adapter, R, NDIS_STATUS_SUCCESS);
        return NDIS_STATUS_SUCCESS;
    default:
        return R->RequestType == NdisRequestSetInformation ? Set(R) : Query(R);
    }
}

static NDIS_STATUS NTAPI OidRequest(NDIS_HANDLE Context, PNDIS_OID_REQUEST R)
{
    S.Oids++;
    return AnyOid(R);
}

static NDIS_STATUS NTAPI DirectOid(NDIS_HANDLE Context, PNDIS_OID_REQUEST R)
{
    S.DirectOids++;
    return AnyOid(R);
}

static NDIS_STATUS NTAPI SynchronousOid(NDIS_HANDLE Context, PNDIS_OID_REQUEST R)
{
    S.SynchronousOids++;
    return AnyOid(R);
}

static VOID NTAPI CancelOid(NDIS_HANDLE Context, PVOID Id)
{
    S.CancelOids++;
    S.LastCancelId = Id;
}

static BOOLEAN NTAPI CheckForHang(NDIS_HANDLE Context)
{
    return FALSE;
}

static NDIS_STATUS NTAPI Reset(NDIS_HANDLE Context, PBOOLEAN AddressingReset)
{
    S.Resets++;
    *AddressingReset = TRUE;
    return S.Reset == PUPPET_PEND ? NDIS_STATUS_PENDING : NDIS_STATUS_SUCCESS;
}

static NDIS_STATUS NTAPI AddDevice(NDIS_HANDLE Adapter, NDIS_HANDLE DriverContext)
{
    NDIS_MINIPORT_ADD_DEVICE_REGISTRATION_ATTRIBUTES A = {
        .Header = {NDIS_OBJECT_TYPE_MINIPORT_ADD_DEVICE_REGISTRATION_ATTRIBUTES,
                   NDIS_MINIPORT_ADD_DEVICE_REGISTRATION_ATTRIBUTES_REVISION_1,
                   NDIS_SIZEOF_MINIPORT_ADD_DEVICE_REGISTRATION_ATTRIBUTES_REVISION_1},
        .MiniportAddDeviceContext = &S.AddDevices,
    };

    S.AddDevices++;
    if (S.AddDeviceStatus)
        return S.AddDeviceStatus;
    return NdisMSetMiniportAttributes(Adapter, (NDIS_MINIPORT_ADAPTER_ATTRIBUTES *)&A);
}

static VOID NTAPI RemoveDevice(NDIS_HANDLE Context)
{
    if (Context == &S.AddDevices)
        S.RemoveDevices++;
}

static NDIS_STATUS NTAPI PnpIrp(NDIS_HANDLE Context, PIRP Irp)
{
    return NDIS_STATUS_SUCCESS;
}

static NDIS_STATUS NTAPI SetOptions(NDIS_HANDLE Driver, NDIS_HANDLE Context)
{
    NDIS_MINIPORT_PNP_CHARACTERISTICS C = {
        .Header = {NDIS_OBJECT_TYPE_MINIPORT_PNP_CHARACTERISTICS,
                   NDIS_MINIPORT_PNP_CHARACTERISTICS_REVISION_1,
                   NDIS_SIZEOF_MINIPORT_PNP_CHARACTERISTICS_REVISION_1},
        .MiniportAddDeviceHandler = AddDevice,
        .MiniportRemoveDeviceHandler = RemoveDevice,
        .MiniportFilterResourceRequirementsHandler = PnpIrp,
        .MiniportStartDeviceHandler = PnpIrp,
    };

    S.Options++;
    if (S.HasPnp && NdisSetOptionalHandlers(Driver, &C.Header) != NDIS_STATUS_SUCCESS)
        return NDIS_STATUS_FAILURE;
    return S.OptionsStatus;
}

/* ---- for the test to hand to NDIS ---- */

static NTSTATUS NTAPI Dispatch(PDEVICE_OBJECT Device, PIRP Irp)
{
    const UCHAR Major = IoGetCurrentIrpStackLocation(Irp)->MajorFunction;
    const NTSTATUS Status = Major == IRP_MJ_DEVICE_CONTROL ? S.DispatchStatus : STATUS_SUCCESS;

    S.Major[Major]++;
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static PDRIVER_DISPATCH NdisControl;

static NTSTATUS NTAPI HookedControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    if (IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceIoControl.IoControlCode != 0xCA6CE5C0)
        return NdisControl(Device, Irp);
    S.Controls++;
    Irp->IoStatus.Status = STATUS_ALREADY_INITIALIZED;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_ALREADY_INITIALIZED;
}

static VOID NTAPI TimerFunction(PVOID Specific1, PVOID Context, PVOID Specific2, PVOID Specific3)
{
    S.Timers++;
    S.TimerContext = Context;
}

static VOID NTAPI WorkFunction(PVOID Context, NDIS_HANDLE Item)
{
    S.WorkContext = Context;
    if (S.FreeWork)
        NdisFreeIoWorkItem(S.FreeWork);
    InterlockedIncrement((LONG *)&S.Works);
}

/* ---- load and unload ---- */

static VOID NTAPI Unload(PDRIVER_OBJECT DriverObject)
{
    S.Unloads++;
    if (!S.SkipDeregister)
        NdisMDeregisterMiniportDriver(S.Driver);
}

static ULONG RightRevision(ULONG Version)
{
    return Version >= NDIS_RUNTIME_VERSION_680 ? 3 : 2;
}

static VOID LeaveOut(NDIS_MINIPORT_DRIVER_CHARACTERISTICS *C, ULONG Missing)
{
    PVOID *const Handlers[] = {
        (PVOID *)&C->InitializeHandlerEx,
        (PVOID *)&C->HaltHandlerEx,
        (PVOID *)&C->UnloadHandler,
        (PVOID *)&C->PauseHandler,
        (PVOID *)&C->RestartHandler,
        (PVOID *)&C->OidRequestHandler,
        (PVOID *)&C->SendNetBufferListsHandler,
        (PVOID *)&C->ReturnNetBufferListsHandler,
        (PVOID *)&C->CancelSendHandler,
        (PVOID *)&C->DevicePnPEventNotifyHandler,
        (PVOID *)&C->ShutdownHandlerEx,
        (PVOID *)&C->CancelOidRequestHandler,
        (PVOID *)&C->CancelDirectOidRequestHandler,
    };

    if (Missing)
        *Handlers[Missing - 1] = NULL;
}

static NDIS_STATUS Register(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    static const USHORT Sizes[] = {NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_1,
                                   NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2,
                                   NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_3};
    const ULONG Version = S.Version ? S.Version : 0x60059;
    const ULONG Revision = S.Revision ? S.Revision : RightRevision(Version);
    NDIS_MINIPORT_DRIVER_CHARACTERISTICS C = {
        .Header = {S.Type ? (UCHAR)S.Type : NDIS_OBJECT_TYPE_MINIPORT_DRIVER_CHARACTERISTICS,
                   (UCHAR)Revision, S.Size ? (USHORT)S.Size : Sizes[Revision - 1]},
        .MajorNdisVersion = (UCHAR)(Version >> 16),
        .MinorNdisVersion = (UCHAR)Version,
        .Flags = S.DriverFlags,
        .InitializeHandlerEx = Initialize,
        .HaltHandlerEx = Halt,
        .UnloadHandler = Unload,
        .PauseHandler = Pause,
        .RestartHandler = Restart,
        .OidRequestHandler = OidRequest,
        .SendNetBufferListsHandler = Send,
        .ReturnNetBufferListsHandler = Return,
        .CancelSendHandler = CancelSend,
        .DevicePnPEventNotifyHandler = Event,
        .ShutdownHandlerEx = Shutdown,
        .CancelOidRequestHandler = CancelOid,
    };

    if (S.HasReset)
        C.ResetHandlerEx = Reset;
    if (S.HasCheckForHang)
        C.CheckForHangHandlerEx = CheckForHang;
    if (S.HasDirect) {
        C.DirectOidRequestHandler = DirectOid;
        C.CancelDirectOidRequestHandler = CancelOid;
    }
    if (S.HasSynchronous)
        C.SynchronousOidRequestHandler = SynchronousOid;
    if (S.HasOptions || S.HasPnp)
        C.SetOptionsHandler = SetOptions;
    LeaveOut(&C, S.Missing);
    return NdisMRegisterMiniportDriver(DriverObject, RegistryPath, &S, &C, &S.Driver);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    KeInitializeSpinLock(&Lock);
    S.DriverObject = DriverObject;
    S.Imports = Imports;
    S.ImportCount = ARRAYSIZE(Imports);
    S.Call = Call;
    S.Dispatch = Dispatch;
    S.Timer = TimerFunction;
    S.Work = WorkFunction;
    S.RegisterStatus = Register(DriverObject, RegistryPath);
    if (S.RegisterStatus == NDIS_STATUS_SUCCESS && S.EntryFails) {
        NdisMDeregisterMiniportDriver(S.Driver);
        return STATUS_UNSUCCESSFUL;
    }
    if (S.RegisterStatus == NDIS_STATUS_SUCCESS && S.HookControl) {
        NdisControl = DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL];
        DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = HookedControl;
    }
    return S.RegisterStatus;
}
