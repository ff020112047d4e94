/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * How adapters go and come back: removal, surprise, power, reset, devices added (ndis/state.c,
 * pnp.c).
 */
#include "puppet.h"

/* ---- halt, removal, events ---- */

/* Orderly removal: pause, then halt with NdisHaltDeviceDisabled ("Halting a Miniport Adapter"). */
TEST(remove_pauses_and_halts)
{
    boot();
    struct puppet p = plug();
    unplug(&p);
    CHECK_EQ(S.Pauses, 1);
    CHECK_EQ(S.Halts, 1);
    CHECK_EQ(S.LastHaltAction, NdisHaltDeviceDisabled);
    CHECK_EQ(S.LastPauseReason, NDIS_PAUSE_MINIPORT_DEVICE_REMOVE);
}

/* "Processing the Surprise Removal of a NIC (Windows 7 and later)": event, pause, halt, all within
 * IRP_MN_SURPRISE_REMOVAL. */
TEST(surprise_removal_notifies_pauses_halts)
{
    boot();
    struct puppet p = plug();
    nth_surprise_remove(p.device);
    CHECK_EQ(S.LastEvent, NdisDevicePnPEventSurpriseRemoved);
    CHECK_EQ(S.Pauses, 1);
    CHECK_EQ(S.Halts, 1);
    CHECK_EQ(S.LastHaltAction, NdisHaltDeviceSurpriseRemoved);
    CHECK_STATUS(nth_driver_unload(p.driver), STATUS_SUCCESS);
    nth_shutdown();
}

/* A device may be queried and reprieved; the miniport keeps running. */
TEST(query_remove_cancelled_keeps_it_running)
{
    boot();
    struct puppet p = plug();
    CHECK_STATUS(nth_query_remove(p.device), STATUS_SUCCESS);
    CHECK_EQ(S.LastEvent, NdisDevicePnPEventQueryRemoved);
    CHECK_STATUS(nth_cancel_remove(p.device), STATUS_SUCCESS);
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_RUNNING);
    CHECK_EQ(S.Halts, 0);
    unplug(&p);
}

/* "MiniportHaltEx must free any resources that the driver allocated": a pool made with the
 * adapter's handle is left. */
TEST(halt_with_a_pool_left_is_caught)
{
    boot();
    struct puppet p = plug();
    CHECK(make_pool(S.Adapter));
    nth_expect_stop("leak");
    nth_unplug(p.device);
    CHECK(!"not caught");
}

/* "Must not call NdisMIndicateStatusEx after it returns from MiniportHaltEx". */
TEST(status_after_halt_is_caught)
{
    NDIS_STATUS_INDICATION s = {
        .Header = {NDIS_OBJECT_TYPE_STATUS_INDICATION, 1, NDIS_SIZEOF_STATUS_INDICATION_REVISION_1},
        .StatusCode = NDIS_STATUS_MEDIA_SPECIFIC_INDICATION};

    boot();
    struct puppet p = plug();
    CHECK_STATUS(nth_unplug(p.device), STATUS_SUCCESS);
    s.SourceHandle = S.Adapter;
    nth_expect_stop("status-after-halt");
    CALL(NdisMIndicateStatusEx, P(S.Adapter), P(&s));
    CHECK(!"not caught");
}

/* "This function puts the miniport into the Halted state, where no other callback can occur", and
 * its handle means nothing any more. */
TEST(handle_after_halt_is_caught)
{
    boot();
    struct puppet p = plug();
    CHECK_STATUS(nth_unplug(p.device), STATUS_SUCCESS);
    nth_expect_stop("call-after-halt");
    CALL(NdisMSendNetBufferListsComplete, P(S.Adapter), 0, 0);
    CHECK(!"not caught");
}

/* Several adapters of one driver have separate states. */
TEST(two_adapters_are_paused_apart)
{
    struct nth_device *second;

    boot();
    struct puppet p = plug();
    CHECK_STATUS(nth_plug(p.driver, NULL, &second), STATUS_SUCCESS);
    struct nth_adapter *other = nth_adapter_of(second);
    CHECK(other != p.adapter);
    CHECK(nth_adapter_luid(other).Value != nth_adapter_luid(p.adapter).Value);
    nth_pause(p.adapter);
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_PAUSED);
    CHECK_EQ(nth_adapter_state(other), NTH_RUNNING);
    CHECK_STATUS(nth_unplug(second), STATUS_SUCCESS);
    unplug(&p);
    CHECK_EQ(S.Halts, 2);
}

/* MiniportShutdownEx is called, and nothing else is. */
TEST(shutdown_calls_the_handler)
{
    boot();
    struct puppet p = plug();
    nth_shutdown_handler(p.adapter);
    CHECK_EQ(S.Shutdowns, 1);
    CHECK_EQ(S.Halts, 0);
}

/* MiniportResetEx: AddressingReset TRUE makes NDIS "call MiniportOidRequest to restore". */
TEST(reset_restores_the_filter)
{
    const ULONG filter = NDIS_PACKET_TYPE_DIRECTED;

    boot();
    S.HasReset = 1;
    struct puppet p = plug();
    CHECK_STATUS(nth_set(p.adapter, OID_GEN_CURRENT_PACKET_FILTER, &filter, 4), 0);
    const ULONG before = S.Oids;
    CHECK_STATUS(nth_reset(p.adapter), NDIS_STATUS_SUCCESS);
    CHECK_EQ(S.Resets, 1);
    CHECK_EQ(S.Oids, before + 1);
    CHECK_EQ(S.LastOid, OID_GEN_CURRENT_PACKET_FILTER);
    unplug(&p);
}

/* NO_HALT_ON_SUSPEND: "NDIS should not call MiniportHaltEx before the system transitions to a
 * low-power state"; it pauses and sends OID_PNP_SET_POWER. */
TEST(sleep_pauses_and_sets_power)
{
    boot();
    struct puppet p = plug();
    CHECK_STATUS(nth_sleep(), STATUS_SUCCESS);
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_PAUSED);
    CHECK_EQ(S.LastPauseReason, NDIS_PAUSE_LOW_POWER);
    CHECK_EQ(S.SetPower, NdisDeviceStateD3);
    CHECK_STATUS(nth_wake(), STATUS_SUCCESS);
    CHECK_EQ(S.SetPower, NdisDeviceStateD0);
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_RUNNING);
    CHECK_EQ(S.Halts, 0);
    unplug(&p);
}

/* Without the flag the adapter is halted and initialised again. */
TEST(sleep_without_the_flag_halts)
{
    boot();
    S.AttributeFlags = 0;
    struct puppet p = plug();
    CHECK_STATUS(nth_sleep(), STATUS_SUCCESS);
    CHECK_EQ(S.Halts, 1);
    CHECK_EQ(S.LastHaltAction, NdisHaltDevicePoweredDown);
    CHECK_STATUS(nth_wake(), STATUS_SUCCESS);
    CHECK_EQ(S.Inits, 2);
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_RUNNING);
    unplug(&p);
}

/* "MiniportSetOptions": NDIS_MINIPORT_PNP_CHARACTERISTICS adds handlers; the context that
 * MiniportAddDevice sets comes to MiniportInitializeEx and to MiniportRemoveDevice. */
TEST(add_device_context_is_handed_on)
{
    boot();
    S.HasPnp = 1;
    struct puppet p = plug();
    CHECK_EQ(S.AddDevices, 1);
    CHECK(S.AddDeviceContext == &S.AddDevices);
    unplug(&p);
    CHECK_EQ(S.RemoveDevices, 1);
}

/* MiniportAddDevice failing fails AddDevice. */
TEST(add_device_failing_fails_the_device)
{
    struct nth_driver *driver;
    struct nth_device *device;

    boot();
    S.HasPnp = 1;
    S.AddDeviceStatus = NDIS_STATUS_RESOURCES;
    CHECK_STATUS(load(&driver), STATUS_SUCCESS);
    CHECK_STATUS(nth_plug(driver, NULL, &device), STATUS_INSUFFICIENT_RESOURCES);
    CHECK_EQ(S.Inits, 0);
    CHECK_STATUS(nth_driver_unload(driver), STATUS_SUCCESS);
    nth_shutdown();
}

/* NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_2: "added for NDIS 6.30"; a driver of 6.20
 * cannot use it: NDIS_STATUS_BAD_VERSION. */
TEST(attributes_newer_than_the_driver_are_refused)
{
    struct nth_driver *driver;
    struct nth_device *device;

    boot();
    S.Version = NDIS_RUNTIME_VERSION_620;
    S.RegistrationRevision = 2;
    CHECK_STATUS(load(&driver), STATUS_SUCCESS);
    CHECK(!NT_SUCCESS(nth_plug(driver, NULL, &device)));
    CHECK_STATUS(S.AttributeStatus, NDIS_STATUS_BAD_VERSION);
    CHECK_STATUS(nth_driver_unload(driver), STATUS_SUCCESS);
    S.Version = NDIS_RUNTIME_VERSION_630;
    struct puppet p = plug();
    CHECK_STATUS(S.AttributeStatus, NDIS_STATUS_SUCCESS);
    unplug(&p);
}

/* "Processing the Surprise Removal of a NIC (Windows Vista)", in force on Windows 7: the event
 * comes at once, pause and halt with IRP_MN_REMOVE_DEVICE. */
TEST(surprise_removal_before_windows_8_halts_at_removal)
{
    boot_with((struct nth_config){.mode = NTH_SERIAL, .ndis_version = NDIS_RUNTIME_VERSION_620});
    S.Version = NDIS_RUNTIME_VERSION_620;
    struct puppet p = plug();
    nth_surprise_remove(p.device);
    nth_settle();
    CHECK_EQ(S.LastEvent, NdisDevicePnPEventSurpriseRemoved);
    CHECK_EQ(S.Halts, 1);
    CHECK_EQ(S.LastHaltAction, NdisHaltDeviceSurpriseRemoved);
    CHECK_STATUS(nth_driver_unload(p.driver), STATUS_SUCCESS);
    nth_shutdown();
}

/* MiniportInitializeEx may answer NDIS_STATUS_NOT_ACCEPTED, which is of success severity; the
 * device does not start. */
TEST(initialize_not_accepted_fails_the_device)
{
    struct nth_driver *driver;
    struct nth_device *device;

    boot();
    S.InitStatus = NDIS_STATUS_NOT_ACCEPTED;
    CHECK_STATUS(load(&driver), STATUS_SUCCESS);
    CHECK(!NT_SUCCESS(nth_plug(driver, NULL, &device)));
    CHECK_EQ(S.Halts, 0);
    CHECK_STATUS(nth_driver_unload(driver), STATUS_SUCCESS);
    nth_shutdown();
}

/* A reset may be pended; it does not change the state, and a pause may come meanwhile. */
static void resetter(void *adapter)
{
    CHECK_STATUS(nth_reset(adapter), NDIS_STATUS_SUCCESS);
}

TEST(reset_overlaps_with_a_pause)
{
    boot();
    S.HasReset = 1;
    struct puppet p = plug();
    S.Reset = PUPPET_PEND;
    struct nth_thread *thread = nth_spawn("resetter", resetter, p.adapter);
    nth_settle();
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_RUNNING);
    CHECK_STATUS(nth_pause(p.adapter), NDIS_STATUS_SUCCESS);
    CALL(NdisMResetComplete, P(S.Adapter), NDIS_STATUS_SUCCESS, FALSE);
    nth_join(thread);
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_PAUSED);
    unplug(&p);
}

TEST(reset_complete_without_reset_is_caught)
{
    boot();
    plug();
    nth_expect_stop("complete-without-request");
    CALL(NdisMResetComplete, P(S.Adapter), NDIS_STATUS_SUCCESS, FALSE);
    CHECK(!"not caught");
}
