/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Registration, attributes and the state machine of adapters (ndis/miniport.c, state.c, pnp.c).
 */
#include "puppet.h"

/* ---- registration: NdisMRegisterMiniportDriver, NDIS_MINIPORT_DRIVER_CHARACTERISTICS ---- */

/* Every compiler and level of optimisation makes a driver that loads, runs and unloads. */
TEST(register_every_variant_runs_and_unloads)
{
    static const char *const variants[] = {"gnu-O0", "gnu-O2", "msvc-O0", "msvc-O2"};

    boot();
    for (int i = 0; i < 4; i++) {
        puppet_variant = variants[i];
        struct puppet p = plug();
        CHECK_EQ(nth_adapter_state(p.adapter), NTH_RUNNING);
        CHECK_STATUS(nth_unplug(p.device), STATUS_SUCCESS);
        CHECK_STATUS(nth_driver_unload(p.driver), STATUS_SUCCESS);
    }
    CHECK_EQ(S.Unloads, 4);
    CHECK_EQ(S.Halts, 4);
    nth_shutdown();
}

static NDIS_STATUS try_register(void)
{
    struct nth_driver *driver;
    const NTSTATUS status = load(&driver);

    CHECK_STATUS(status, S.RegisterStatus);
    if (NT_SUCCESS(status))
        CHECK_STATUS(nth_driver_unload(driver), STATUS_SUCCESS);
    return S.RegisterStatus;
}

/* NDIS_STATUS_BAD_VERSION: the version is invalid, or newer than the system's (Overview of NDIS
 * versions: a driver asks for at most what NdisGetVersion answers). */
TEST(register_version_unknown_or_newer_is_refused)
{
    boot_with((struct nth_config){.mode = NTH_SERIAL, .ndis_version = NDIS_RUNTIME_VERSION_650});
    S.Version = NDIS_RUNTIME_VERSION_650;
    struct nth_driver *driver;
    CHECK_STATUS(load(&driver), STATUS_SUCCESS);
    CHECK_EQ(CALL(NdisGetVersion), NDIS_RUNTIME_VERSION_650);
    CHECK_STATUS(nth_driver_unload(driver), STATUS_SUCCESS);
    S.Version = NDIS_RUNTIME_VERSION_620;
    CHECK_STATUS(try_register(), NDIS_STATUS_SUCCESS);
    S.Version = NDIS_RUNTIME_VERSION_651;
    CHECK_STATUS(try_register(), NDIS_STATUS_BAD_VERSION);
    S.Version = 0x60021; /* 6.33 does not exist */
    CHECK_STATUS(try_register(), NDIS_STATUS_BAD_VERSION);
    S.Version = 0x70000;
    CHECK_STATUS(try_register(), NDIS_STATUS_BAD_VERSION);
}

/* "NDIS_STATUS_BAD_CHARACTERISTICS: CharacteristicsLength is incorrect for the version". */
TEST(register_header_wrong_is_refused)
{
    boot();
    S.Size = NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_3 - 1;
    CHECK_STATUS(try_register(), NDIS_STATUS_BAD_CHARACTERISTICS);
    S.Size = 0;
    S.Type = NDIS_OBJECT_TYPE_DEFAULT;
    CHECK_STATUS(try_register(), NDIS_STATUS_BAD_CHARACTERISTICS);
    S.Type = 0;
    S.Version = NDIS_RUNTIME_VERSION_670;
    S.Revision = 3; /* "added for NDIS 6.80" */
    CHECK_STATUS(try_register(), NDIS_STATUS_BAD_CHARACTERISTICS);
    S.Revision = 2;
    CHECK_STATUS(try_register(), NDIS_STATUS_SUCCESS);
}

/* "Required." for each of the twelve. */
TEST(register_required_handler_missing_is_refused)
{
    boot();
    for (S.Missing = 1; S.Missing <= 12; S.Missing++)
        CHECK_STATUS(try_register(), NDIS_STATUS_BAD_CHARACTERISTICS);
    S.Missing = 0;
    CHECK_STATUS(try_register(), NDIS_STATUS_SUCCESS);
}

/* "If one is provided, then both must be provided"; ResetHandlerEx is "required if you provide
 * CheckForHangHandlerEx". */
TEST(register_handler_pairs_incomplete_are_refused)
{
    boot();
    S.HasDirect = 1;
    S.Missing = 13; /* CancelDirectOidRequestHandler */
    CHECK_STATUS(try_register(), NDIS_STATUS_BAD_CHARACTERISTICS);
    S.HasDirect = S.Missing = 0;
    S.HasCheckForHang = 1;
    CHECK_STATUS(try_register(), NDIS_STATUS_BAD_CHARACTERISTICS);
    S.HasReset = 1;
    CHECK_STATUS(try_register(), NDIS_STATUS_SUCCESS);
}

/* "NDIS calls MiniportSetOptions within the context of NdisMRegisterMiniportDriver". */
TEST(register_options_failing_fail_the_registration)
{
    boot();
    S.HasOptions = 1;
    CHECK_STATUS(try_register(), NDIS_STATUS_SUCCESS);
    CHECK_EQ(S.Options, 1);
    S.OptionsStatus = NDIS_STATUS_RESOURCES;
    CHECK_STATUS(try_register(), NDIS_STATUS_RESOURCES);
}

/* "If an error occurs in DriverEntry after registration, call NdisMDeregisterMiniportDriver". */
TEST(register_undone_in_driver_entry_leaves_nothing)
{
    struct nth_driver *driver;

    boot();
    S.EntryFails = 1;
    CHECK_STATUS(load(&driver), STATUS_UNSUCCESSFUL);
    nth_shutdown();
}

/* "Must call NdisMDeregisterMiniportDriver from its MiniportDriverUnload function". */
TEST(register_unload_without_deregistration_is_caught)
{
    struct nth_driver *driver;

    boot();
    S.SkipDeregister = 1;
    CHECK_STATUS(load(&driver), STATUS_SUCCESS);
    nth_expect_stop("deregister-missing");
    nth_driver_unload(driver);
    CHECK(!"not caught");
}

/* Failures on demand: a registration that fails for want of memory is undone by its caller. */
TEST(register_allocation_failures_are_survived)
{
    struct nth_driver *driver;

    boot();
    for (unsigned n = 1;; n++) {
        nth_fault_arm(~0U, n);
        const NTSTATUS status = load(&driver);
        const bool fired = nth_fault_fired();
        nth_fault_arm(0, 0);
        if (NT_SUCCESS(status))
            CHECK_STATUS(nth_driver_unload(driver), STATUS_SUCCESS);
        if (!fired)
            break;
        CHECK_STATUS(status, NDIS_STATUS_RESOURCES);
    }
    nth_shutdown();
}

/* ---- initialise: MiniportInitializeEx, NdisMSetMiniportAttributes ---- */

/* "After MiniportInitializeEx returns successfully, the adapter is in the Paused state"; restart
 * makes it run. The handle carries the context from then on. */
TEST(initialize_pauses_then_restarts)
{
    boot();
    struct puppet p = plug();
    CHECK_EQ(S.Inits, 1);
    CHECK_EQ(S.Restarts, 1);
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_RUNNING);
    CHECK_EQ(nth_adapter_mtu(p.adapter), 1500);
    CHECK_EQ(CALL(NdisWdfGetAdapterContextFromAdapterHandle, P(S.Adapter)), P(S.Context));
    CHECK_EQ(S.Luid.Info.IfType, 53);
    unplug(&p);
}

/* "If MiniportInitializeEx failed, the adapter returns to the Halted state": no halt handler, and
 * the device does not start. */
TEST(initialize_failure_halts_without_the_handler)
{
    struct nth_driver *driver;
    struct nth_device *device;

    boot();
    CHECK_STATUS(load(&driver), STATUS_SUCCESS);
    S.InitStatus = NDIS_STATUS_RESOURCES;
    CHECK_STATUS(nth_plug(driver, NULL, &device), STATUS_INSUFFICIENT_RESOURCES);
    CHECK(!device);
    CHECK_EQ(S.Halts, 0);
    CHECK_STATUS(nth_driver_unload(driver), STATUS_SUCCESS);
    nth_shutdown();
}

static void plug_expecting(const char *rule)
{
    nth_expect_stop(rule);
    plug();
    CHECK(!"not caught");
}

/* "The driver must set the GeneralAttributes if it returns NDIS_STATUS_SUCCESS". */
TEST(initialize_without_general_attributes_is_caught)
{
    boot();
    S.SkipGeneral = 1;
    plug_expecting("attributes-missing");
}

/* "A miniport driver must provide registration attributes". */
TEST(initialize_without_any_attributes_is_caught)
{
    boot();
    S.SkipGeneral = S.SkipRegistration = 1;
    plug_expecting("attributes-missing");
}

/* "Must set the general attributes after they set the registration attributes". */
TEST(initialize_general_attributes_first_is_caught)
{
    boot();
    S.GeneralFirst = 1;
    plug_expecting("attributes-order");
}

/* MiniportInitializeEx has no pending answer. */
TEST(initialize_pending_is_caught)
{
    boot();
    S.InitStatus = NDIS_STATUS_PENDING;
    plug_expecting("initialize-status");
}

/* A handler returns at the IRQL it was called at (bug check 0xC8). */
TEST(initialize_returning_at_dispatch_is_caught)
{
    boot();
    S.Init = PUPPET_IRQL;
    plug_expecting("callout-irql");
}

/* "From its MiniportInitializeEx function". */
TEST(attributes_set_later_are_caught)
{
    NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES r = {
        .Header = {NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES, 1,
                   NDIS_SIZEOF_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1}};

    boot();
    plug();
    nth_expect_stop("attributes-context");
    CALL(NdisMSetMiniportAttributes, P(S.Adapter), P(&r));
    CHECK(!"not caught");
}

/* NdisMSetMiniportAttributes: IRQL PASSIVE_LEVEL. */
TEST(attributes_at_dispatch_are_caught)
{
    boot();
    plug();
    S.RunAtDispatch = 1;
    nth_expect_stop("irql-too-high");
    CALL(NdisMSetMiniportAttributes, P(S.Adapter), 0);
    CHECK(!"not caught");
}

/* ---- pause and restart: MiniportPause, NdisMPauseComplete, MiniportRestart ---- */

TEST(pause_and_restart_change_the_state)
{
    boot();
    struct puppet p = plug();
    CHECK_STATUS(nth_pause(p.adapter), NDIS_STATUS_SUCCESS);
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_PAUSED);
    CHECK_EQ(S.PauseIrql, PASSIVE_LEVEL);
    CHECK_STATUS(nth_restart(p.adapter), NDIS_STATUS_SUCCESS);
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_RUNNING);
    CHECK_EQ(S.Pauses, 1);
    CHECK_EQ(S.Restarts, 2);
    unplug(&p);
}

static void pause_thread(void *adapter)
{
    CHECK_STATUS(nth_pause(adapter), NDIS_STATUS_SUCCESS);
}

static void restart_thread(void *adapter)
{
    CHECK_STATUS(nth_restart(adapter), NDIS_STATUS_SUCCESS);
}

/* "If the driver returns NDIS_STATUS_PENDING, the adapter can remain in the Pausing state; the
 * pause is complete after the driver calls NdisMPauseComplete", which may be at DISPATCH_LEVEL. */
TEST(pause_pended_is_complete_after_the_call)
{
    boot();
    struct puppet p = plug();
    S.Pause = PUPPET_PEND;
    struct nth_thread *thread = nth_spawn("pauser", pause_thread, p.adapter);
    nth_settle();
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_PAUSING);
    S.RunAtDispatch = 1;
    CALL(NdisMPauseComplete, P(S.Adapter));
    S.RunAtDispatch = 0;
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_PAUSED);
    nth_join(thread);
    S.Pause = PUPPET_GOOD;
    unplug(&p);
}

/* The same with NdisMRestartComplete; until then the adapter is Restarting. */
TEST(restart_pended_is_complete_after_the_call)
{
    boot();
    struct puppet p = plug();
    nth_pause(p.adapter);
    S.Restart = PUPPET_PEND;
    struct nth_thread *thread = nth_spawn("restarter", restart_thread, p.adapter);
    nth_settle();
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_RESTARTING);
    CALL(NdisMRestartComplete, P(S.Adapter), NDIS_STATUS_SUCCESS);
    nth_join(thread);
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_RUNNING);
    unplug(&p);
}

/* "If MiniportRestart fails, the adapter remains in the Paused state". */
TEST(restart_failing_leaves_it_paused)
{
    boot();
    struct puppet p = plug();
    nth_pause(p.adapter);
    S.Restart = PUPPET_FAIL;
    CHECK_STATUS(nth_restart(p.adapter), NDIS_STATUS_RESOURCES);
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_PAUSED);
    S.Restart = PUPPET_GOOD;
    CHECK_STATUS(nth_restart(p.adapter), NDIS_STATUS_SUCCESS);
    unplug(&p);
}

/* "Miniport drivers cannot fail a pause request". */
TEST(pause_failing_is_caught)
{
    boot();
    struct puppet p = plug();
    S.Pause = PUPPET_FAIL;
    nth_expect_stop("pause-failed");
    nth_pause(p.adapter);
    CHECK(!"not caught");
}

/* NDIS_STATUS_SUCCESS or NdisMPauseComplete, not both. */
TEST(pause_completed_both_ways_is_caught)
{
    boot();
    struct puppet p = plug();
    S.Pause = PUPPET_TWICE;
    nth_expect_stop("completed-twice");
    nth_pause(p.adapter);
    CHECK(!"not caught");
}

TEST(restart_completed_both_ways_is_caught)
{
    boot();
    S.Restart = PUPPET_TWICE;
    plug_expecting("completed-twice");
}

/* "Must call NdisMPauseComplete if the driver returned NDIS_STATUS_PENDING": else there is none. */
TEST(pause_complete_without_pause_is_caught)
{
    boot();
    plug();
    nth_expect_stop("complete-without-request");
    CALL(NdisMPauseComplete, P(S.Adapter));
    CHECK(!"not caught");
}

TEST(restart_complete_without_restart_is_caught)
{
    boot();
    plug();
    nth_expect_stop("complete-without-request");
    CALL(NdisMRestartComplete, P(S.Adapter), 0);
    CHECK(!"not caught");
}

/* MiniportRestart answers success, pending or a failure; NdisMRestartComplete no pending. */
TEST(restart_answering_a_success_code_is_caught)
{
    boot();
    S.Restart = PUPPET_STATUS;
    S.Odd = NDIS_STATUS_MEDIA_CONNECT;
    plug_expecting("restart-status");
}

TEST(restart_completed_with_pending_is_caught)
{
    boot();
    struct puppet p = plug();
    nth_pause(p.adapter);
    S.Restart = PUPPET_PEND;
    nth_spawn("restarter", restart_thread, p.adapter);
    nth_settle();
    nth_expect_stop("complete-status");
    CALL(NdisMRestartComplete, P(S.Adapter), NDIS_STATUS_PENDING);
    CHECK(!"not caught");
}

/* NdisMDeregisterMiniportDriver belongs into MiniportDriverUnload, when no adapter is left. */
TEST(deregister_with_an_adapter_is_caught)
{
    boot();
    plug();
    nth_expect_stop("deregister-with-adapters");
    CALL(NdisMDeregisterMiniportDriver, P(S.Driver));
    CHECK(!"not caught");
}

/* "Miniport drivers call NdisSetOptionalHandlers in the context of the MiniportSetOptions
 * function". */
TEST(optional_handlers_set_later_are_caught)
{
    NDIS_MINIPORT_PNP_CHARACTERISTICS c = {
        .Header = {NDIS_OBJECT_TYPE_MINIPORT_PNP_CHARACTERISTICS, 1,
                   NDIS_SIZEOF_MINIPORT_PNP_CHARACTERISTICS_REVISION_1}};

    boot();
    plug();
    nth_expect_stop("optional-handlers-context");
    CALL(NdisSetOptionalHandlers, P(S.Driver), P(&c));
    CHECK(!"not caught");
}
