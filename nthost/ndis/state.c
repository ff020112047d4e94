/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The states of an adapter, as "Miniport Adapter States and Operations" has them: initialise,
 * pause, restart, halt, reset, shut down, and what must be true when each is over. Every change is
 * made with the adapter's gate held, so there is one at a time.
 */
#include "ndis/private.h"

#include <string.h>

const char *ndis_state_name(enum nth_adapter_state state)
{
    static const char *const names[] = {"halted",     "initializing", "paused",
                                        "restarting", "running",      "pausing"};

    return names[state];
}

void ndis_set_state(struct nth_adapter *adapter, enum nth_adapter_state state)
{
    nth_trace("ndis: adapter %u is %s", adapter->index, ndis_state_name(state));
    __atomic_store_n(&adapter->state, state, __ATOMIC_SEQ_CST);
}

struct nth_adapter *ndis_adapter(NDIS_HANDLE handle)
{
    struct nth_adapter *adapter = ndis_object_check(handle, NDIS_KIND_ADAPTER);

    if (ndis_state(adapter) == NTH_HALTED)
        nth_stop("call-after-halt", "the adapter is halted");
    return adapter;
}

/* ---- operations a driver may pend ---- */

static void slot_begin(struct nth_adapter *a, struct ndis_slot *slot, enum ndis_operation operation)
{
    nth_lock(&a->lock);
    const bool is_busy = slot->operation != NDIS_OP_NONE;
    slot->operation = operation;
    slot->is_complete = false;
    slot->status = NDIS_STATUS_PENDING;
    nth_unlock(&a->lock);
    if (is_busy)
        nth_fail("two operations of one kind on an adapter");
    KeClearEvent(&slot->done);
}

/* The handler has returned status; answers the final status, after the driver has completed. */
static NDIS_STATUS slot_end(struct nth_adapter *a, struct ndis_slot *slot, NDIS_STATUS status,
                            const char *handler)
{
    nth_lock(&a->lock);
    const bool was_complete = slot->is_complete;
    nth_unlock(&a->lock);
    if (status != NDIS_STATUS_PENDING && was_complete)
        nth_stop("completed-twice", "%s completed asynchronously and returned 0x%08x", handler,
                 (unsigned)status);
    if (status == NDIS_STATUS_PENDING) {
        KeWaitForSingleObject(&slot->done, Executive, KernelMode, FALSE, NULL);
        status = slot->status;
    }
    nth_lock(&a->lock);
    slot->operation = NDIS_OP_NONE;
    nth_unlock(&a->lock);
    return status;
}

/* Called by the driver: NdisMPauseComplete and its kin. */
static void slot_complete(struct nth_adapter *a, struct ndis_slot *slot,
                          enum ndis_operation operation, NDIS_STATUS status, const char *what)
{
    nth_lock(&a->lock);
    const bool is_wrong = slot->operation != operation || slot->is_complete;
    slot->is_complete = true;
    slot->status = status;
    nth_unlock(&a->lock);
    if (is_wrong)
        nth_stop("complete-without-request", "%s: none is pending, the adapter is %s", what,
                 ndis_state_name(ndis_state(a)));
    if (status == NDIS_STATUS_PENDING)
        nth_stop("complete-status", "%s with NDIS_STATUS_PENDING", what);
    KeSetEvent(&slot->done, IO_NO_INCREMENT, FALSE);
}

/* ---- initialise ---- */

static void check_initialized(struct nth_adapter *a)
{
    if (!a->has_registration || !a->has_general)
        nth_stop("attributes-missing",
                 "MiniportInitializeEx succeeded without the %s attributes; called by %s",
                 a->has_registration ? "general" : "registration",
                 nth_symbol_hook
                     ? nth_symbol_hook((uintptr_t)a->driver->handlers.InitializeHandlerEx)
                     : "?");
}

static void forget_attributes(struct nth_adapter *a)
{
    a->has_registration = a->has_general = a->has_offload = a->has_hardware_assist = false;
    ndis_free(a->oids);
    a->oids = NULL;
    a->oid_count = 0;
    memset(&a->general, 0, sizeof(a->general));
    memset(&a->registration, 0, sizeof(a->registration));
    memset(&a->offload_default, 0, sizeof(a->offload_default));
    memset(&a->offload_hardware, 0, sizeof(a->offload_hardware));
    a->packet_filter = 0;
}

static NDIS_STATUS call_initialize(struct nth_adapter *a)
{
    NDIS_MINIPORT_INIT_PARAMETERS parameters = {
        .Header = {NDIS_OBJECT_TYPE_MINIPORT_INIT_PARAMETERS,
                   NDIS_MINIPORT_INIT_PARAMETERS_REVISION_1,
                   NDIS_SIZEOF_MINIPORT_INIT_PARAMETER_REVISION_1},
        .MiniportAddDeviceContext = a->add_device_context,
        .IfIndex = a->index + 1,
        .NetLuid = nth_adapter_luid(a),
    };
    const struct ndis_callout call = ndis_callout("MiniportInitializeEx");
    const NDIS_STATUS status =
        a->driver->handlers.InitializeHandlerEx(a, a->driver->context, &parameters);

    ndis_callout_end(&call);
    return status;
}

NTSTATUS ndis_initialize(struct nth_adapter *a)
{
    ndis_set_state(a, NTH_INITIALIZING);
    const NDIS_STATUS status = call_initialize(a);
    if (status == NDIS_STATUS_SUCCESS) {
        check_initialized(a);
        __atomic_store_n(&a->is_initialized, 1, __ATOMIC_SEQ_CST);
        ndis_set_state(a, NTH_PAUSED);
        return STATUS_SUCCESS;
    }
    nth_trace("ndis: MiniportInitializeEx failed with 0x%08x", (unsigned)status);
    const bool is_refused = status == NDIS_STATUS_NOT_ACCEPTED; /* of success severity */
    if (!is_refused && !(status & 0x80000000))
        nth_stop("initialize-status", "MiniportInitializeEx returned 0x%08x", (unsigned)status);
    ndis_object_sweep(a, "MiniportInitializeEx failed");
    forget_attributes(a);
    ndis_set_state(a, NTH_HALTED);
    return is_refused ? STATUS_UNSUCCESSFUL : (NTSTATUS)status;
}

/* ---- pause ---- */

/* "Waits for all calls to NdisMIndicateReceiveNetBufferLists to return, waits for NDIS to return
 * the ownership of all lists, completes all outstanding send requests" (MiniportPause). Lists of a
 * send call that is still running may have come after the driver looked: they are judged when it
 * ends. */
static void check_paused(struct nth_adapter *a)
{
    const LONG indicated = ndis_count_get(&a->indicated);
    const LONG indicating = ndis_count_get(&a->indicating);
    const LONG sent = ndis_count_get(&a->sent);

    if (indicated || indicating)
        nth_stop("pause-with-outstanding",
                 "pause is complete with %d received lists not returned and %d indications running",
                 indicated, indicating);
    if (sent && !ndis_count_get(&a->sending))
        nth_stop("pause-with-outstanding", "pause is complete with %d sends not completed", sent);
}

static NDIS_STATUS call_pause(struct nth_adapter *a, ULONG reason)
{
    NDIS_MINIPORT_PAUSE_PARAMETERS parameters = {
        .Header = {NDIS_OBJECT_TYPE_DEFAULT, NDIS_MINIPORT_PAUSE_PARAMETERS_REVISION_1,
                   NDIS_SIZEOF_MINIPORT_PAUSE_PARAMETERS_REVISION_1},
        .PauseReason = reason,
    };
    const struct ndis_callout call = ndis_callout("MiniportPause");
    const NDIS_STATUS status = a->driver->handlers.PauseHandler(a->context, &parameters);

    ndis_callout_end(&call);
    return status;
}

NDIS_STATUS ndis_pause(struct nth_adapter *a, ULONG reason)
{
    if (ndis_state(a) != NTH_RUNNING)
        return ndis_state(a) == NTH_PAUSED ? NDIS_STATUS_SUCCESS : NDIS_STATUS_FAILURE;
    ndis_set_state(a, NTH_PAUSING);
    ndis_binding_pause_all(a);
    slot_begin(a, &a->flow, NDIS_OP_PAUSE);
    NDIS_STATUS status = call_pause(a, reason);
    if (status == NDIS_STATUS_SUCCESS && !a->flow.is_complete)
        check_paused(a);
    status = slot_end(a, &a->flow, status, "MiniportPause");
    if (status != NDIS_STATUS_SUCCESS)
        nth_stop("pause-failed", "MiniportPause answered 0x%08x, a pause cannot fail",
                 (unsigned)status);
    ndis_set_state(a, NTH_PAUSED);
    return status;
}

VOID NTAPI NdisMPauseComplete(NDIS_HANDLE MiniportAdapterHandle)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct nth_adapter *a = ndis_adapter(MiniportAdapterHandle);

    if (a->flow.operation == NDIS_OP_PAUSE && !a->flow.is_complete) {
        check_paused(a);
        ndis_set_state(a, NTH_PAUSED);
    }
    slot_complete(a, &a->flow, NDIS_OP_PAUSE, NDIS_STATUS_SUCCESS, "NdisMPauseComplete");
}
NTH_EXPORT(NdisMPauseComplete, 1);

/* ---- restart ---- */

static NDIS_RESTART_ATTRIBUTES *restart_attributes(struct nth_adapter *a)
{
    const NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES *g = &a->general;
    NDIS_RESTART_ATTRIBUTES *r = ndis_alloc(offsetof(NDIS_RESTART_ATTRIBUTES, Data) +
                                            sizeof(NDIS_RESTART_GENERAL_ATTRIBUTES) + 16);

    if (!r)
        return NULL;
    r->Oid = OID_GEN_MINIPORT_RESTART_ATTRIBUTES;
    r->DataLength = NDIS_SIZEOF_RESTART_GENERAL_ATTRIBUTES_REVISION_1;
    NDIS_RESTART_GENERAL_ATTRIBUTES *general = (void *)r->Data;
    *general = (NDIS_RESTART_GENERAL_ATTRIBUTES){
        .Header = {NDIS_OBJECT_TYPE_RESTART_GENERAL_ATTRIBUTES,
                   NDIS_RESTART_GENERAL_ATTRIBUTES_REVISION_1,
                   NDIS_SIZEOF_RESTART_GENERAL_ATTRIBUTES_REVISION_1},
        .MtuSize = g->MtuSize,
        .MaxXmitLinkSpeed = g->MaxXmitLinkSpeed,
        .MaxRcvLinkSpeed = g->MaxRcvLinkSpeed,
        .LookaheadSize = g->LookaheadSize,
        .MacOptions = g->MacOptions,
        .SupportedPacketFilters = g->SupportedPacketFilters,
        .MaxMulticastListSize = g->MaxMulticastListSize,
        .AccessType = g->AccessType,
        .ConnectionType = g->ConnectionType,
        .SupportedStatistics = g->SupportedStatistics,
        .DataBackFillSize = g->DataBackFillSize,
        .ContextBackFillSize = g->ContextBackFillSize,
        .SupportedOidList = a->oids,
        .SupportedOidListLength = a->oid_count * sizeof(NDIS_OID),
    };
    return r;
}

/* "After propagating the restart attributes NDIS frees the memory": what the driver added too. */
static void free_restart_attributes(struct nth_adapter *a, NDIS_RESTART_ATTRIBUTES *list,
                                    NDIS_STATUS status)
{
    while (list) {
        NDIS_RESTART_ATTRIBUTES *next = list->Next;
        if (status == NDIS_STATUS_SUCCESS && list->Oid == OID_GEN_MINIPORT_RESTART_ATTRIBUTES &&
            list->DataLength >= NDIS_SIZEOF_RESTART_GENERAL_ATTRIBUTES_REVISION_1) {
            const NDIS_RESTART_GENERAL_ATTRIBUTES *general = (const void *)list->Data;
            a->mtu = general->MtuSize;
            a->lookahead = general->LookaheadSize;
        }
        ExFreePool(list);
        list = next;
    }
}

static NDIS_STATUS call_restart(struct nth_adapter *a)
{
    NDIS_MINIPORT_RESTART_PARAMETERS parameters = {
        .Header = {NDIS_OBJECT_TYPE_DEFAULT, NDIS_MINIPORT_RESTART_PARAMETERS_REVISION_1,
                   NDIS_SIZEOF_MINIPORT_RESTART_PARAMETERS_REVISION_1},
        .RestartAttributes = restart_attributes(a),
    };

    slot_begin(a, &a->flow, NDIS_OP_RESTART);
    const struct ndis_callout call = ndis_callout("MiniportRestart");
    NDIS_STATUS status = a->driver->handlers.RestartHandler(a->context, &parameters);
    ndis_callout_end(&call);
    status = slot_end(a, &a->flow, status, "MiniportRestart");
    free_restart_attributes(a, parameters.RestartAttributes, status);
    return status;
}

NDIS_STATUS ndis_restart(struct nth_adapter *a)
{
    if (ndis_state(a) != NTH_PAUSED)
        return ndis_state(a) == NTH_RUNNING ? NDIS_STATUS_SUCCESS : NDIS_STATUS_FAILURE;
    ndis_set_state(a, NTH_RESTARTING);
    const NDIS_STATUS status = call_restart(a);
    if (status == NDIS_STATUS_SUCCESS) {
        ndis_set_state(a, NTH_RUNNING);
        return status;
    }
    if (!(status & 0x80000000))
        nth_stop("restart-status", "MiniportRestart answered 0x%08x", (unsigned)status);
    ndis_set_state(a, NTH_PAUSED);
    if (ndis_count_get(&a->indicated) || ndis_count_get(&a->indicating))
        nth_stop("pause-with-outstanding", "MiniportRestart failed and left receives running");
    return status;
}

VOID NTAPI NdisMRestartComplete(NDIS_HANDLE MiniportAdapterHandle, NDIS_STATUS Status)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct nth_adapter *a = ndis_adapter(MiniportAdapterHandle);

    slot_complete(a, &a->flow, NDIS_OP_RESTART, Status, "NdisMRestartComplete");
}
NTH_EXPORT(NdisMRestartComplete, 2);

/* ---- reset ---- */

NDIS_STATUS nth_reset(struct nth_adapter *a)
{
    BOOLEAN addressing = FALSE;

    if (!a->driver->handlers.ResetHandlerEx)
        return NDIS_STATUS_NOT_SUPPORTED;
    slot_begin(a, &a->reset, NDIS_OP_RESET);
    a->reset_addressing = FALSE;
    const struct ndis_callout call = ndis_callout("MiniportResetEx");
    NDIS_STATUS status = a->driver->handlers.ResetHandlerEx(a->context, &addressing);
    ndis_callout_end(&call);
    const bool pended = status == NDIS_STATUS_PENDING;
    status = slot_end(a, &a->reset, status, "MiniportResetEx");
    if (pended)
        addressing = a->reset_addressing;
    if (status == NDIS_STATUS_SUCCESS && addressing && a->packet_filter)
        nth_set(a, OID_GEN_CURRENT_PACKET_FILTER, &a->packet_filter, sizeof(a->packet_filter));
    return status;
}

VOID NTAPI NdisMResetComplete(NDIS_HANDLE MiniportAdapterHandle, NDIS_STATUS Status,
                              BOOLEAN AddressingReset)
{
    nth_irql_max(DISPATCH_LEVEL);
    ndis_check_no_lock();
    struct nth_adapter *a = ndis_adapter(MiniportAdapterHandle);

    a->reset_addressing = AddressingReset;
    slot_complete(a, &a->reset, NDIS_OP_RESET, Status, "NdisMResetComplete");
}
NTH_EXPORT(NdisMResetComplete, 3);

/* ---- halt, events, shutdown ---- */

static void call_halt(struct nth_adapter *a, NDIS_HALT_ACTION action)
{
    const struct ndis_callout call = ndis_callout("MiniportHaltEx");

    a->driver->handlers.HaltHandlerEx(a->context, action);
    ndis_callout_end(&call);
}

/* "NDIS does not call MiniportHaltEx if there are outstanding OID requests or send requests"
 * (Halting a Miniport Adapter): both are waited for. A request in flight holds the gate. */
void ndis_halt(struct nth_adapter *a, NDIS_HALT_ACTION action)
{
    if (!ndis_is_up(a))
        return;
    ndis_binding_detach_all(a, false);
    ndis_pause(a, NDIS_PAUSE_MINIPORT_DEVICE_REMOVE);
    ndis_count_wait(&a->sending);
    ndis_count_wait(&a->sent);
    ndis_gate_enter(&a->oid_gate);
    ndis_binding_detach_all(a, true);
    __atomic_store_n(&a->is_initialized, 0, __ATOMIC_SEQ_CST);
    ndis_count_wait(&a->direct);
    call_halt(a, action);
    ndis_set_state(a, NTH_HALTED);
    ndis_gate_leave(&a->oid_gate);
    ndis_object_sweep(a, "MiniportHaltEx returned");
    forget_attributes(a);
    a->context = NULL;
}

/* Counted first, looked at after: a halt that began in between waits. */
bool ndis_direct_begin(struct nth_adapter *a)
{
    ndis_count_add(&a->direct, 1);
    const bool may_call = ndis_is_up(a) && !a->was_shut_down;
    if (!may_call)
        ndis_count_sub(&a->direct, 1);
    return may_call;
}

void ndis_direct_end(struct nth_adapter *a)
{
    ndis_count_sub(&a->direct, 1);
}

void ndis_notify(struct nth_adapter *a, NDIS_DEVICE_PNP_EVENT event, void *data, ULONG size)
{
    NET_DEVICE_PNP_EVENT notification = {
        .Header = {NDIS_OBJECT_TYPE_DEFAULT, NET_DEVICE_PNP_EVENT_REVISION_1,
                   NDIS_SIZEOF_NET_DEVICE_PNP_EVENT_REVISION_1},
        .DevicePnPEvent = event,
        .InformationBuffer = data,
        .InformationBufferLength = size,
    };

    if (!ndis_is_up(a))
        return;
    nth_trace("ndis: adapter %u gets device event %d", a->index, event);
    const struct ndis_callout call = ndis_callout("MiniportDevicePnPEventNotify");
    a->driver->handlers.DevicePnPEventNotifyHandler(a->context, &notification);
    ndis_callout_end(&call);
}

void nth_shutdown_handler(struct nth_adapter *a)
{
    if (!ndis_is_up(a))
        return;
    a->was_shut_down = true;
    const struct ndis_callout call = ndis_callout("MiniportShutdownEx");
    a->driver->handlers.ShutdownHandlerEx(a->context, NdisShutdownPowerOff);
    ndis_callout_end(&call);
}

/* ---- for the host ---- */

NDIS_STATUS nth_pause(struct nth_adapter *a)
{
    ndis_gate_enter(&a->gate);
    const NDIS_STATUS status = ndis_pause(a, NDIS_PAUSE_BIND_PROTOCOL);
    ndis_gate_leave(&a->gate);
    return status;
}

NDIS_STATUS nth_restart(struct nth_adapter *a)
{
    ndis_gate_enter(&a->gate);
    const NDIS_STATUS status = ndis_restart(a);
    ndis_gate_leave(&a->gate);
    return status;
}

enum nth_adapter_state nth_adapter_state(struct nth_adapter *a)
{
    return ndis_state(a);
}

const NDIS_LINK_STATE *nth_link_state(struct nth_adapter *a)
{
    return &a->link;
}

uint32_t nth_adapter_mtu(struct nth_adapter *a)
{
    return a->mtu;
}
