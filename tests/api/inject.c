/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.dll: any call of Windows may fail, once. Each scenario is told once plain, and
 * once for each call that can fail, in a process that has done nothing before. A failure has the
 * error of its cause and one line in the log, leaves nothing behind, and does not spoil the next
 * attempt (issue: "every imported function's failure is injected once").
 */
#include "api.h"

#include <stdlib.h>

enum { CAPACITY = 0x20000 };

/* ---- scenarios: an error, 0 when all went well ---- */

/* Run by a thread of the process. */
typedef DWORD scenario(struct api *api);

struct run {
    struct api *api;
    scenario *scenario;
    DWORD error;
};

static void run_scenario(void *context)
{
    struct run *run = context;

    win32_set_last_error(SUCCESS);
    run->error = run->scenario(run->api);
}

/* What a function that answers NULL or FALSE has set, which must not be success. */
static DWORD failed(void)
{
    const DWORD error = win32_last_error();

    CHECK(error != SUCCESS);
    return error;
}

static DWORD create(struct api *api)
{
    WINTUN_ADAPTER_HANDLE adapter = api->f.CreateAdapter(L"Demo", L"Example", NULL);

    if (adapter == NULL)
        return failed();
    api->f.CloseAdapter(adapter);
    return SUCCESS;
}

static DWORD create_with(struct api *api, DWORD flags, DWORD category, const GUID *guid)
{
    static const WINTUN_ADDRESS addresses[] = {
        {.Family = 2, .PrefixLength = 24, .Address = {10, 7, 0, 1}},
        {.Family = 23, .PrefixLength = 64, .Address = {0xfd, 0, [15] = 1}},
    };
    const WINTUN_ADAPTER_OPTIONS options = {.Size = sizeof(options),
                                            .Flags = flags | WINTUN_ADAPTER_NO_DAD,
                                            .Name = L"Demo",
                                            .TunnelType = L"Example",
                                            .RequestedGUID = guid,
                                            .SecurityDescriptor =
                                                L"O:BAD:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GRGW;;;IU)",
                                            .Addresses = addresses,
                                            .AddressCount = 2,
                                            .Mtu = 1420,
                                            .Metric = 5,
                                            .NetworkCategory = category};
    WINTUN_ADAPTER_HANDLE adapter = api->f.CreateAdapterEx(&options);

    if (adapter == NULL)
        return failed();
    return api->f.DeleteAdapter(adapter) ? SUCCESS : failed();
}

static DWORD create_with_everything(struct api *api)
{
    static const GUID guid = {0xdeadbabe, 0xcafe, 0xbeef, {1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd}};

    return create_with(api, 0, WINTUN_NETWORK_PRIVATE, &guid);
}

static DWORD create_persistent(struct api *api)
{
    return create_with(api, WINTUN_ADAPTER_PERSISTENT, WINTUN_NETWORK_DEFAULT, NULL);
}

static DWORD open_and_start(struct api *api)
{
    WINTUN_ADAPTER_HANDLE adapter = api->f.OpenAdapter(L"Other");
    DWORD error = SUCCESS;

    if (adapter == NULL)
        return failed();
    WINTUN_SESSION_HANDLE session = api->f.StartSession(adapter, CAPACITY);
    if (session == NULL)
        error = failed();
    else
        api->f.EndSession(session);
    api->f.CloseAdapter(adapter);
    return error;
}

static BOOL CALLBACK count_adapter(const WINTUN_ADAPTER_INFO *info, void *context)
{
    (void)info;
    ++*(unsigned *)context;
    return TRUE;
}

static DWORD ask(struct api *api)
{
    WINTUN_STATISTICS statistics = {.Size = sizeof(statistics)};
    unsigned count = 0;
    DWORD error = SUCCESS;

    if (!api->f.EnumAdapters(count_adapter, &count))
        return failed();
    if (api->f.GetRunningDriverVersion() == 0)
        return failed();
    WINTUN_ADAPTER_HANDLE adapter = api->f.OpenAdapter(L"Other");
    if (adapter == NULL)
        return failed();
    if (!api->f.GetStatistics(adapter, &statistics))
        error = failed();
    api->f.CloseAdapter(adapter);
    return error;
}

static DWORD repair(struct api *api)
{
    DWORD removed = 0;

    return api->f.Repair(WINTUN_REPAIR_DEVICES | WINTUN_REPAIR_PACKAGES, &removed) ? SUCCESS
                                                                                   : failed();
}

static DWORD delete_driver(struct api *api)
{
    return api->f.DeleteDriver() ? SUCCESS : failed();
}

/* ---- the right error ---- */

/* What the DLL makes of the failure of a function that has no Win32 error of its own. */
static DWORD error_of(const char *function, DWORD error)
{
    static const struct {
        const char *function;
        DWORD error;
    } others[] = {
        {"HeapAlloc", NOT_ENOUGH_MEMORY},
        {"BCryptGenRandom", 6}, /* STATUS_INVALID_HANDLE, as an error */
        {"SetEvent", TIMEOUT},  /* in a callback: who waits is not woken */
    };

    for (size_t i = 0; i < ARRAYSIZE(others); i++)
        if (strcmp(function, others[i].function) == 0)
            return others[i].error;
    if (strncmp(function, "CM_", 3) == 0) /* CM_MapCrToWin32Err of what was injected */
        return error == 2 ? NOT_ENOUGH_MEMORY : error == 0x0D ? NOT_FOUND : FILE_NOT_FOUND;
    return error;
}

static void check_error(const struct run *run, const char *fired, DWORD injected, unsigned n)
{
    if (run->error == error_of(fired, injected))
        return;
    check_fail(__FILE__, __LINE__, "call %u, %s, fails with %u, and the DLL says %u: %s", n, fired,
               injected, run->error, log_last(WINTUN_LOG_ERR));
}

/* ---- the harness ---- */

enum { OLD_WIN_VERSION = 1150 };

static void run_in(struct api *api, scenario *scenario, struct run *run)
{
    *run = (struct run){.api = api, .scenario = scenario};
    CHECK(win32_run(api->process, run_scenario, run));
    win32_settle();
}

static void expect_same(struct api *api, const struct win32_ledger *usual, unsigned nodes,
                        const char *fired, unsigned n)
{
    const char *left = win32_ledger_differs(api->process, usual);

    if (left != NULL)
        check_fail(__FILE__, __LINE__, "after call %u, %s, has failed: %s", n, fired, left);
    if (win32_node_count("SWD\\Wintun", false) != nodes)
        check_fail(__FILE__, __LINE__, "after call %u, %s, has failed a device is left", n, fired);
}

/* What the process of a scenario holds that has run once, and how many devices there are then. */
static void usual_ledger(scenario *scenario, struct win32_ledger *usual, unsigned *nodes)
{
    struct run run;
    struct api api;

    api_begin_cold(&api, CLIENT_ADMIN);
    run_in(&api, scenario, &run);
    if (run.error != SUCCESS)
        check_fail(__FILE__, __LINE__, "without a failure: error %u, %s", run.error,
                   log_last(WINTUN_LOG_ERR));
    win32_ledger_take(api.process, usual);
    *nodes = win32_node_count("SWD\\Wintun", false);
    api_kill(&api);
}

/* Call n fails; then all goes well. False: there was no call n. */
static bool fail_once(scenario *scenario, unsigned n, const struct win32_ledger *usual,
                      unsigned nodes)
{
    struct run run;
    struct api api;

    api_begin_cold(&api, CLIENT_ADMIN);
    win32_fault_arm(NULL, n, 0);
    run_in(&api, scenario, &run);
    const char *fired = win32_fault_fired();
    const DWORD injected = win32_fault_error();
    win32_fault_arm(NULL, 0, 0);
    if (run.error == OLD_WIN_VERSION && fired != NULL && strcmp(fired, "GetProcAddress") == 0) {
        api_kill(&api); /* an optional function: that it is missing is believed for good */
        return true;
    }
    if (fired != NULL && run.error != SUCCESS) {
        check_error(&run, fired, injected, n);
        CHECK_EQ(log_count(WINTUN_LOG_ERR), 1);
    }
    if (run.error == SUCCESS)
        CHECK_EQ(log_count(WINTUN_LOG_ERR), 0);
    run_in(&api, scenario, &run);
    if (run.error != SUCCESS)
        check_fail(__FILE__, __LINE__, "after call %u, %s, has failed once: error %u, %s", n, fired,
                   run.error, log_last(WINTUN_LOG_ERR));
    expect_same(&api, usual, nodes, fired, n);
    api_kill(&api);
    return fired != NULL;
}

static unsigned fail_each(scenario *scenario)
{
    struct win32_ledger usual;
    unsigned nodes = 0, n = 1;

    usual_ledger(scenario, &usual, &nodes);
    while (fail_once(scenario, n, &usual, nodes))
        n++;
    return n - 1;
}

TEST(creation_survives_each_failure)
{
    api_boot(SERIAL(1));
    CHECK(fail_each(create) > 50);
    nth_shutdown();
}

TEST(creation_with_everything_survives_each_failure)
{
    api_boot(SERIAL(1));
    CHECK(fail_each(create_with_everything) > 100);
    nth_shutdown();
}

TEST(persistent_creation_survives_each_failure)
{
    api_boot(SERIAL(1));
    CHECK(fail_each(create_persistent) > 100);
    nth_shutdown();
}

TEST(creation_without_the_undocumented_function_survives_each_failure)
{
    /* design 4: the documented way to name a connection, INetConnection::Rename */
    api_boot(SERIAL(1));
    win32_without("nci", NULL);
    CHECK(fail_each(create) > 60);
    nth_shutdown();
}

/* With an adapter of another process's. */
static void fail_each_beside(scenario *scenario, unsigned least)
{
    struct api other;

    api_boot(SERIAL(1));
    api_begin(&other, CLIENT_ADMIN);
    WINTUN_ADAPTER_HANDLE adapter = api_create(&other, L"Other");
    CHECK(fail_each(scenario) >= least);
    DO(&other, other.f.CloseAdapter(adapter));
    api_end(&other);
    nth_shutdown();
}

TEST(session_survives_each_failure)
{
    fail_each_beside(open_and_start, 20);
}

TEST(questions_survive_each_failure)
{
    fail_each_beside(ask, 20);
}

TEST(repair_survives_each_failure)
{
    fail_each_beside(repair, 20);
}

TEST(deletion_of_the_driver_survives_each_failure)
{
    api_boot(SERIAL(1));
    CHECK(fail_each(delete_driver) >= 15);
    nth_shutdown();
}
