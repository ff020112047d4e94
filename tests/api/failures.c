/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.dll: what users most often report about the creation of adapters, one test
 * each. A creation that fails has the one error that says why, one line in the log with step,
 * device and problem code, and leaves nothing half made (wintun.h; abi.md 3.6 to 3.10; lessons 11
 * to 14).
 */
#include "api.h"

#include <stdlib.h>

enum { DUP_NAME = 52, DEVICE_NOT_AVAILABLE = 4319, SERVER_UNAVAILABLE = 1722 };

static void knobs(struct win32_knobs knobs)
{
    win32_knobs_set(&knobs);
}

static void begin(struct api *api)
{
    api_boot(SERIAL(1));
    api_begin(api, CLIENT_ADMIN);
}

static void end(struct api *api)
{
    knobs((struct win32_knobs){0});
    api_end(api);
    api_shutdown();
}

/* Creation fails so, and the line has all of these words; then, with nothing in the way, it
 * succeeds. */
static void expect_failure(struct api *api, DWORD error, const char *const *words)
{
    log_clear();
    CHECK(IN(api, api->f.CreateAdapter(L"Demo", L"Example", NULL)) == NULL);
    if (api->error != error)
        check_fail(__FILE__, __LINE__, "error %u instead of %u: %s", api->error, error,
                   log_last(WINTUN_LOG_ERR));
    CHECK_EQ(log_count(WINTUN_LOG_ERR), 1);
    for (; words != NULL && *words != NULL; words++)
        if (strstr(log_last(WINTUN_LOG_ERR), *words) == NULL)
            check_fail(__FILE__, __LINE__, "no \"%s\" in: %s", *words, log_last(WINTUN_LOG_ERR));
    win32_settle();
    CHECK_EQ(win32_node_count("SWD\\Wintun", false), 0);
    CHECK(!win32_connection_exists("Demo"));
    api_check(api);
    knobs((struct win32_knobs){0});
    WINTUN_ADAPTER_HANDLE adapter = api_create(api, L"Demo");
    DO(api, api->f.CloseAdapter(adapter));
}

/* ---- what earlier programs have left ---- */

static const GUID mark = {
    0x6906e155, 0xafd4, 0x44a9, {0x8d, 0x84, 0x2a, 0x4a, 0x9b, 0x95, 0x57, 0x24}};

/* A device of the name Demo whose creator, a process that is not there, has had this library. */
static void leave(const char *instance_id, bool is_present)
{
    static const uint32_t creator[3] = {999999, 1, 1};
    const struct nth_device_property properties[] = {
        {{mark, 3}, 0x12 /* DEVPROP_TYPE_STRING */, L"Demo", 10},
        {{mark, 4}, 0x1003 /* DEVPROP_TYPE_BINARY */, creator, sizeof(creator)},
    };

    win32_node_leave(instance_id, is_present, properties, ARRAYSIZE(properties));
}

TEST(stale_devices_are_in_nobodys_way)
{
    /* lessons 11: removed if they carry the mark, and only then (go:7305b4c) */
    struct api api;

    begin(&api);
    leave("SWD\\Wintun\\{00000000-0000-0000-0000-000000000001}", false);
    leave("SWD\\Wintun\\{00000000-0000-0000-0000-000000000002}", true);
    win32_node_leave("SWD\\Wintun\\{00000000-0000-0000-0000-000000000003}", false, NULL, 0);
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    CHECK(win32_connection_exists("Demo"));
    CHECK(IN(&api, api.f.Repair(WINTUN_REPAIR_DEVICES, NULL)));
    CHECK_EQ(win32_node_count("SWD\\Wintun", false), 2);
    DO(&api, api.f.CloseAdapter(adapter));
    CHECK_EQ(win32_node_count("SWD\\Wintun", false), 1); /* somebody else's */
    api_end(&api);
    nth_shutdown();
}

TEST(stale_device_of_the_same_guid_is_replaced)
{
    static const GUID guid = {1, 0, 0, {0}};
    struct api api;

    begin(&api);
    leave("SWD\\Wintun\\{00000001-0000-0000-0000-000000000000}", false);
    WINTUN_ADAPTER_HANDLE adapter = IN(&api, api.f.CreateAdapter(L"Demo", L"Example", &guid));
    CHECK(adapter != NULL);
    DO(&api, api.f.CloseAdapter(adapter));
    end(&api);
}

/* ---- GUIDs ---- */

static BOOL CALLBACK keep_guid(const WINTUN_ADAPTER_INFO *info, void *context)
{
    *(GUID *)context = info->Guid;
    return TRUE;
}

TEST(guid_is_a_wish)
{
    /* lessons 11: residue in the network's set-up; creation succeeds all the same */
    static const GUID wish = {0xdeadbabe, 0xcafe, 0xbeef, {1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd}};
    struct api api;

    begin(&api);
    for (int i = 0; i < 2; i++) {
        GUID guid = {0};
        knobs((struct win32_knobs){.ignores_suggested_guid = i == 1});
        WINTUN_ADAPTER_HANDLE adapter = IN(&api, api.f.CreateAdapter(L"Demo", L"Example", &wish));
        CHECK(adapter != NULL);
        CHECK(IN(&api, api.f.EnumAdapters(keep_guid, &guid)));
        CHECK_EQ(memcmp(&guid, &wish, sizeof(guid)) == 0, i == 0);
        if (i == 0) { /* and while it is taken the next one gets another */
            WINTUN_ADAPTER_HANDLE second =
                IN(&api, api.f.CreateAdapter(L"Second", L"Example", &wish));
            CHECK(second != NULL);
            DO(&api, api.f.CloseAdapter(second));
        }
        DO(&api, api.f.CloseAdapter(adapter));
    }
    end(&api);
}

/* ---- names ---- */

TEST(name_of_another_connection_is_left_to_it)
{
    /* wintun.h, WintunCreateAdapter: "Name 1", and it is found by Name all the same */
    struct api api;

    begin(&api);
    win32_connection_add("DEMO");
    win32_connection_add("Demo 1");
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    CHECK(win32_connection_exists("Demo 2"));
    WINTUN_ADAPTER_HANDLE opened = IN(&api, api.f.OpenAdapter(L"Demo"));
    CHECK(opened != NULL);
    DO(&api, api.f.CloseAdapter(opened));
    DO(&api, api.f.CloseAdapter(adapter));
    end(&api);
}

TEST(name_without_an_end_is_refused)
{
    /* lessons 12: a bounded loop; ERROR_DUP_NAME */
    struct api api;
    char name[16] = "Demo";

    begin(&api);
    for (int i = 0; i <= 1000; i++) {
        if (i > 0)
            snprintf(name, sizeof(name), "Demo %d", i);
        win32_connection_add(name);
    }
    CHECK(IN(&api, api.f.CreateAdapter(L"Demo", L"Example", NULL)) == NULL);
    CHECK_EQ(api.error, DUP_NAME);
    CHECK_EQ(log_count(WINTUN_LOG_ERR), 1);
    api_check(&api);
    end(&api);
}

TEST(name_stays_as_windows_chose_it_when_nothing_can_rename)
{
    /* wintun.h: a warning, no failure */
    struct api api;

    begin(&api);
    win32_without("ole32", NULL);
    knobs((struct win32_knobs){.names_are_fixed = true});
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    CHECK(!win32_connection_exists("Demo"));
    CHECK(log_count(WINTUN_LOG_WARN) >= 1);
    DO(&api, api.f.CloseAdapter(adapter));
    end(&api);
}

/* ---- services ---- */

TEST(services_that_are_not_ready_are_named)
{
    /* lessons 11: RPC endpoints appear minutes after boot */
    static const char *const words[] = {"Creating the device", NULL};
    struct api api;

    begin(&api);
    knobs((struct win32_knobs){.service = (int32_t)(0x80070000 | SERVER_UNAVAILABLE)});
    expect_failure(&api, SERVER_UNAVAILABLE, words);
    end(&api);
}

static void become_ready(void *context)
{
    LARGE_INTEGER time = {.QuadPart = -3 * 10000000ll};

    (void)context;
    KeDelayExecutionThread(KernelMode, FALSE, &time);
    knobs((struct win32_knobs){0});
}

TEST(services_that_become_ready_are_waited_for)
{
    struct api api;

    begin(&api);
    knobs((struct win32_knobs){.service = (int32_t)(0x80070000 | SERVER_UNAVAILABLE)});
    struct nth_thread *thread = nth_spawn("services", become_ready, NULL);
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    nth_join(thread);
    DO(&api, api.f.CloseAdapter(adapter));
    end(&api);
}

static BOOL CALLBACK count_shown(const WINTUN_ADAPTER_INFO *info, void *context)
{
    (void)info;
    ++*(unsigned *)context;
    return TRUE;
}

TEST(device_that_cannot_be_read_is_in_nobodys_way)
{
    /* wintun.h: WintunOpenAdapter, WintunEnumAdapters; lessons 11, go:2e98846: no result is never
     * without an error */
    static const LPCWSTR names[] = {L"One", L"Two"};
    enum { CR_FAILURE = 0x13 };
    WINTUN_ADAPTER_HANDLE adapters[2];
    struct api api;

    begin(&api);
    for (int i = 0; i < 2; i++)
        adapters[i] = api_create(&api, names[i]);
    log_clear();
    for (unsigned bad = 1; bad <= 2; bad++) { /* which of the two it is */
        unsigned found = 0, shown = 0;
        for (int i = 0; i < 2; i++) {
            win32_fault_arm("CM_Get_DevNode_Status", bad, CR_FAILURE);
            WINTUN_ADAPTER_HANDLE opened = IN(&api, api.f.OpenAdapter(names[i]));
            found += opened != NULL;
            CHECK(opened != NULL || (api.error != SUCCESS && api.error != NOT_FOUND));
            DO(&api, api.f.CloseAdapter(opened));
        }
        CHECK_EQ(found, 1);
        win32_fault_arm("CM_Get_DevNode_Status", bad, CR_FAILURE);
        CHECK(!IN(&api, api.f.EnumAdapters(count_shown, &shown)));
        CHECK_EQ(shown, 1);
        CHECK_EQ(log_count(WINTUN_LOG_ERR), 2 * bad);
        win32_fault_arm("CM_Get_DevNode_Status", bad, CR_FAILURE);
        DO(&api, api.f.CloseAdapter(api_create(&api, L"Three")));
    }
    win32_fault_arm(NULL, 0, 0);
    for (int i = 0; i < 2; i++)
        DO(&api, api.f.CloseAdapter(adapters[i]));
    end(&api);
}

TEST(last_device_may_go_while_devices_are_listed)
{
    /* nf-cfgmgr32-cm_get_device_id_listw; wintun.h, WintunEnumAdapters: all were shown */
    enum { CR_NO_SUCH_VALUE = 0x25 };
    unsigned shown = 0;
    struct api api;

    begin(&api);
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    win32_fault_arm("CM_Get_Device_ID_ListW", 1, CR_NO_SUCH_VALUE);
    CHECK(IN(&api, api.f.EnumAdapters(count_shown, &shown)));
    CHECK_EQ(shown, 0);
    CHECK(win32_fault_fired() != NULL);
    DO(&api, api.f.CloseAdapter(adapter));
    end(&api);
}

/* ---- driver packages ---- */

/* The INF of this tree, of another version, with more at its end. */
static void store_with(const char *version, const char *more)
{
    static char text[16384], changed[16384];
    FILE *file = fopen("out/amd64/wintun.inf", "r");

    CHECK(file != NULL);
    text[fread(text, 1, sizeof(text) - 1, file)] = 0;
    fclose(file);
    char *line = strstr(text, "DriverVer"), *rest = line != NULL ? strchr(line, '\n') : NULL;
    CHECK(rest != NULL);
    snprintf(changed, sizeof(changed), "%.*sDriverVer = %s%s%s", (int)(line - text), text, version,
             rest, more);
    win32_package_add(changed);
}

static void store(const char *version)
{
    store_with(version, "");
}

TEST(older_package_is_followed_by_ours)
{
    /* abi.md 3.10: strictly newer is added */
    struct api api;

    begin(&api);
    store("01/02/2020,0.0.0.1");
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    CHECK_EQ(win32_package_count(), 2);
    DWORD removed = 0;
    CHECK(IN(&api, api.f.Repair(WINTUN_REPAIR_PACKAGES, &removed)));
    CHECK_EQ(removed, 1); /* the old one; ours is in use */
    CHECK_EQ(win32_package_count(), 1);
    DO(&api, api.f.CloseAdapter(adapter));
    CHECK(IN(&api, api.f.DeleteDriver()));
    CHECK_EQ(win32_package_count(), 0);
    end(&api);
}

TEST(newer_package_is_never_replaced)
{
    /* abi.md 3.10, checklist 12 */
    struct api api;

    begin(&api);
    store("12/31/2098,9.9.9.9");
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    CHECK_EQ(win32_package_count(), 1);
    CHECK(!IN(&api, api.f.DeleteDriver()));
    CHECK_EQ(win32_package_count(), 1); /* in use */
    DO(&api, api.f.CloseAdapter(adapter));
    end(&api);
}

TEST(newer_package_that_no_user_may_select_is_found)
{
    /* nf-setupapi-setupdibuilddriverinfolist: the list for a PnP device has such packages only
     * with DI_FLAGSEX_ALLOWEXCLUDEDDRVS */
    struct api api;

    begin(&api);
    store_with("12/31/2098,9.9.9.9", "\n[ControlFlags]\nExcludeFromSelect = *\n");
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    CHECK_EQ(win32_package_count(), 1);
    DO(&api, api.f.CloseAdapter(adapter));
    CHECK(IN(&api, api.f.DeleteDriver()));
    CHECK_EQ(win32_package_count(), 0);
    end(&api);
}

TEST(refused_package_is_told_as_windows_says)
{
    /* wintun.h: not signed, or not by one whom this Windows trusts */
    static const uint32_t codes[] = {0xE000022F, 0xE0000242, 0xE0000247, 0x800B0109};
    static const char *const words[] = {"driver package", NULL};
    struct api api;

    begin(&api);
    for (size_t i = 0; i < ARRAYSIZE(codes); i++) {
        knobs((struct win32_knobs){.signature = codes[i]});
        expect_failure(&api, codes[i], words);
        CHECK(IN(&api, api.f.DeleteDriver()));
    }
    end(&api);
}

/* ---- devices that do not come up ---- */

TEST(problem_of_the_device_is_told)
{
    /* lessons 11, e51b496: the status's own error if it has one, else ERROR_DEVICE_NOT_AVAILABLE;
     * the text has both numbers */
    static const struct {
        uint32_t problem;
        int32_t status;
        DWORD error;
        const char *words[4];
    } cases[] = {
        {10, (int32_t)0xC0000001, 31, {"10", "C0000001", "SWD\\Wintun\\{", NULL}},
        {39, (int32_t)0xC000026C, 2005, {"39", "C000026C", NULL}},
        {52, (int32_t)0xC0000428, 577, {"52", "C0000428", NULL}},
        {28, (int32_t)0xC0000490, DEVICE_NOT_AVAILABLE, {"28", "C0000490", NULL}},
        {31, 0, DEVICE_NOT_AVAILABLE, {"31", NULL}},
    };
    struct api api;

    begin(&api);
    for (size_t i = 0; i < ARRAYSIZE(cases); i++) {
        knobs((struct win32_knobs){.problem = cases[i].problem, .problem_status = cases[i].status});
        const uint64_t before = nth_clock_ns();
        expect_failure(&api, cases[i].error, cases[i].words);
        CHECK(nth_clock_ns() - before < 10 * SECOND); /* early, not at the deadline */
    }
    end(&api);
}

TEST(callback_that_never_comes_is_a_timeout)
{
    struct api api;

    begin(&api);
    knobs((struct win32_knobs){.no_callback = true});
    const uint64_t before = nth_clock_ns();
    expect_failure(&api, TIMEOUT, NULL);
    CHECK(nth_clock_ns() - before < 40 * SECOND);
    end(&api);
}

TEST(callback_with_a_failure_is_told)
{
    struct api api;

    begin(&api);
    knobs((struct win32_knobs){.callback_result = (int32_t)0x80070005});
    expect_failure(&api, ACCESS_DENIED, NULL);
    knobs((struct win32_knobs){.callback_result = (int32_t)0x8007001F});
    expect_failure(&api, 31, NULL);
    end(&api);
}

TEST(interface_that_is_late_is_waited_for)
{
    /* abi.md 3.6: up to 15 s; by notification and by looking */
    struct api api;

    begin(&api);
    for (int i = 0; i < 2; i++) {
        knobs((struct win32_knobs){.interface_ms = 10000, .no_notifications = i == 1});
        WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
        DO(&api, api.f.CloseAdapter(adapter));
    }
    end(&api);
}

TEST(interface_that_never_comes_is_a_timeout)
{
    static const char *const words[] = {"SWD\\Wintun\\{", NULL};
    struct api api;

    begin(&api);
    knobs((struct win32_knobs){.interface_ms = WIN32_NEVER});
    const uint64_t before = nth_clock_ns();
    expect_failure(&api, TIMEOUT, words);
    const uint64_t took = nth_clock_ns() - before;
    CHECK(took >= 15 * SECOND && took < 20 * SECOND);
    end(&api);
}

TEST(removal_that_is_late_is_waited_for)
{
    /* wintun.h, WintunCloseAdapter: gone before the function returns */
    struct api api;

    begin(&api);
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    for (int i = 0; i < 2; i++) {
        knobs((struct win32_knobs){.removal_ms = 5000, .no_notifications = i == 1});
        DO(&api, api.f.CloseAdapter(adapter));
        CHECK_EQ(win32_node_count("SWD\\Wintun", false), 0);
        adapter = api_create(&api, L"Demo");
    }
    knobs((struct win32_knobs){0});
    DO(&api, api.f.CloseAdapter(adapter));
    end(&api);
}

TEST(disabled_adapter_is_not_stale)
{
    /* abi.md 3.9 [DEFECT]: CM_PROB_DISABLED, while its creator lives */
    struct api api, other;
    DWORD removed = 9;

    begin(&api);
    api_begin(&other, CLIENT_ADMIN);
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    win32_node_stop(api_instance(&api, 0), 22);
    CHECK(IN(&other, other.f.Repair(WINTUN_REPAIR_DEVICES, &removed)));
    CHECK_EQ(removed, 0);
    CHECK_EQ(win32_node_count("SWD\\Wintun", true), 1);
    CHECK(IN(&other, other.f.OpenAdapter(L"Demo")) == NULL);
    CHECK_EQ(other.error, DEVICE_NOT_AVAILABLE);
    api_end(&other);
    DO(&api, api.f.CloseAdapter(adapter));
    end(&api);
}

/* ---- the lock ---- */

static void hold_lock(void *context)
{
    struct api *api = context;
    const WINTUN_ADAPTER_OPTIONS options = {
        .Size = sizeof(options), .Name = L"Slow", .TunnelType = L"Example", .TimeoutMs = 120000};

    CHECK(api->f.CreateAdapterEx(&options) == NULL);
}

static void hold_lock_main(void *context)
{
    struct api *api = context;

    win32_run(api->process, hold_lock, api);
}

TEST(lock_that_another_process_has_is_waited_for_a_minute)
{
    /* lessons 14: a limit and an error */
    struct api api, other;

    begin(&api);
    api_begin(&other, CLIENT_ADMIN);
    knobs((struct win32_knobs){.no_callback = true});
    struct nth_thread *thread = nth_spawn("holder", hold_lock_main, &other);
    nth_settle();
    log_clear();
    const uint64_t before = nth_clock_ns();
    CHECK(IN(&api, api.f.CreateAdapter(L"Demo", L"Example", NULL)) == NULL);
    CHECK_EQ(api.error, TIMEOUT);
    const uint64_t took = nth_clock_ns() - before;
    CHECK(took >= 60 * SECOND && took < 62 * SECOND);
    CHECK_EQ(log_count(WINTUN_LOG_ERR), 1);
    /* its holder is ended: the lock is abandoned, which is as good as free */
    win32_process_kill(other.process);
    nth_join(thread);
    win32_thread_end(other.thread);
    win32_process_destroy(other.process);
    knobs((struct win32_knobs){0});
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    DO(&api, api.f.CloseAdapter(adapter));
    end(&api);
}

static void create_demo(void *context)
{
    struct api *api = context;
    WINTUN_ADAPTER_HANDLE adapter = api->f.CreateAdapter(L"Demo", L"Example", NULL);

    if (adapter == NULL)
        check_fail(__FILE__, __LINE__, "no adapter: %s", log_last(WINTUN_LOG_ERR));
    api->f.CloseAdapter(adapter);
}

static void create_demo_main(void *context)
{
    struct api *api = context;

    CHECK(win32_run(api->process, create_demo, api));
}

TEST(lock_of_a_process_that_ends_goes_to_who_waits)
{
    /* lessons 14, go:f3dba4c: abandoned = acquired */
    struct api api, other;
    LARGE_INTEGER time = {.QuadPart = -5 * 10000000ll};

    begin(&api);
    api_begin(&other, CLIENT_ADMIN);
    knobs((struct win32_knobs){.no_callback = true});
    struct nth_thread *holder = nth_spawn("holder", hold_lock_main, &other);
    nth_settle();
    struct nth_thread *waiter = nth_spawn("waiter", create_demo_main, &api);
    KeDelayExecutionThread(KernelMode, FALSE, &time);
    knobs((struct win32_knobs){0});
    win32_process_kill(other.process);
    nth_join(holder);
    nth_join(waiter);
    win32_thread_end(other.thread);
    win32_process_destroy(other.process);
    end(&api);
}

TEST(program_that_is_not_elevated_is_refused)
{
    static const enum client_token tokens[] = {CLIENT_USER, CLIENT_ADMIN_FILTERED};

    api_boot(SERIAL(1));
    for (size_t i = 0; i < ARRAYSIZE(tokens); i++) {
        struct api api;
        api_begin_cold(&api, tokens[i]);
        CHECK(IN(&api, api.f.CreateAdapter(L"Demo", L"Example", NULL)) == NULL);
        CHECK_EQ(api.error, ACCESS_DENIED);
        CHECK(!IN(&api, api.f.DeleteDriver()));
        CHECK_EQ(api.error, ACCESS_DENIED);
        CHECK(!IN(&api, api.f.Repair(WINTUN_REPAIR_DEVICES, NULL)));
        CHECK_EQ(api.error, ACCESS_DENIED);
        api_end(&api);
    }
    api_shutdown();
}

TEST(owner_and_label_that_may_not_be_given_mean_not_elevated)
{
    /* nf-wdm-seassignsecurity: STATUS_INVALID_OWNER, STATUS_PRIVILEGE_NOT_HELD; wintun.h: who is
     * not elevated gets ERROR_ACCESS_DENIED */
    static const DWORD errors[] = {1307, 1314};

    api_boot(SERIAL(1));
    for (size_t i = 0; i < ARRAYSIZE(errors); i++) {
        struct api api;
        api_begin_cold(&api, CLIENT_ADMIN);
        win32_fault_arm("CreatePrivateNamespaceW", 1, errors[i]);
        CHECK(IN(&api, api.f.CreateAdapter(L"Demo", L"Example", NULL)) == NULL);
        CHECK(win32_fault_fired() != NULL);
        CHECK_EQ(api.error, ACCESS_DENIED);
        api_end(&api);
    }
    api_shutdown();
}

/* ---- TCP/IP ---- */

static const WINTUN_ADDRESS address = {.Family = 2, .PrefixLength = 24, .Address = {10, 7, 0, 1}};
static const WINTUN_ADAPTER_OPTIONS with_address = {.Size = sizeof(with_address),
                                                    .Name = L"Demo",
                                                    .TunnelType = L"Example",
                                                    .Addresses = &address,
                                                    .AddressCount = 1};

TEST(ip_that_is_late_is_waited_for)
{
    /* lessons 17, ww:6e486473: configuration waits until TCP/IP has attached */
    struct api api;

    begin(&api);
    for (int i = 0; i < 2; i++) {
        knobs((struct win32_knobs){.rows_ms = 8000, .no_notifications = i == 1});
        WINTUN_ADAPTER_HANDLE adapter = IN(&api, api.f.CreateAdapterEx(&with_address));
        CHECK(adapter != NULL);
        CHECK_EQ(win32_address_count(api_luid(&api, adapter)), 1);
        DO(&api, api.f.CloseAdapter(adapter));
    }
    end(&api);
}

TEST(ip_is_waited_for_without_an_address_as_well)
{
    /* wintun.h, WintunCreateAdapterEx: IPv4 is bound, and all that was asked for is set */
    static const WINTUN_ADAPTER_OPTIONS options = {.Size = sizeof(options),
                                                   .Name = L"Demo",
                                                   .TunnelType = L"Example",
                                                   .Mtu = 1420,
                                                   .Metric = 5};
    uint32_t mtu, metric, dad;
    struct api api;

    begin(&api);
    knobs((struct win32_knobs){.rows_ms = 8000});
    WINTUN_ADAPTER_HANDLE adapter = IN(&api, api.f.CreateAdapterEx(&options));
    CHECK(adapter != NULL);
    CHECK(win32_ip_row(api_luid(&api, adapter), false, &mtu, &metric, &dad));
    CHECK_EQ(mtu, 1420);
    CHECK_EQ(metric, 5);
    CHECK_EQ(log_count(WINTUN_LOG_WARN), 0);
    DO(&api, api.f.CloseAdapter(adapter));
    knobs((struct win32_knobs){.rows_ms = WIN32_NEVER});
    CHECK(IN(&api, api.f.CreateAdapterEx(&options)) == NULL);
    CHECK_EQ(api.error, TIMEOUT);
    CHECK_EQ(log_count(WINTUN_LOG_ERR), 1);
    end(&api);
}

static void wait_for_ip(void *context)
{
    struct api *api = context;

    CHECK(api->f.CreateAdapterEx(&with_address) == NULL);
}

static void wait_for_ip_main(void *context)
{
    struct api *api = context;

    win32_run(api->process, wait_for_ip, api);
}

TEST(waiting_for_ip_holds_up_nobody)
{
    /* lessons 14: what may take long is done without the lock between processes */
    struct api api, other;

    begin(&api);
    api_begin(&other, CLIENT_ADMIN);
    knobs((struct win32_knobs){.rows_ms = WIN32_NEVER});
    struct nth_thread *thread = nth_spawn("waiter", wait_for_ip_main, &other);
    nth_clock_advance(5 * SECOND);
    nth_settle();
    const uint64_t before = nth_clock_ns();
    CHECK(win32_connection_exists("Demo"));
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Quick");
    CHECK(nth_clock_ns() - before < 5 * SECOND);
    CHECK(win32_connection_exists("Demo")); /* the other one still waits */
    nth_join(thread);
    CHECK(!win32_connection_exists("Demo"));
    DO(&api, api.f.CloseAdapter(adapter));
    api_end(&other);
    end(&api);
}

TEST(ip_that_never_comes_is_a_timeout)
{
    struct api api;

    begin(&api);
    knobs((struct win32_knobs){.rows_ms = WIN32_NEVER});
    CHECK(IN(&api, api.f.CreateAdapterEx(&with_address)) == NULL);
    CHECK_EQ(api.error, TIMEOUT);
    CHECK_EQ(log_count(WINTUN_LOG_ERR), 1);
    api_check(&api);
    CHECK_EQ(win32_node_count("SWD\\Wintun", false), 0);
    end(&api);
}

/* ---- the category of the network ---- */

TEST(network_list_that_is_absent_is_told_from_one_that_is_not_ready)
{
    /* nf-combaseapi-cocreateinstance: REGDB_E_CLASSNOTREG; wintun.h, WintunCreateAdapterEx:
     * ERROR_NOT_SUPPORTED is for a Windows that cannot set the category */
    static const struct {
        DWORD injected, error;
    } cases[] = {{0x80040154, NOT_SUPPORTED}, {SERVER_UNAVAILABLE, SERVER_UNAVAILABLE}};
    static const WINTUN_ADAPTER_OPTIONS options = {.Size = sizeof(options),
                                                   .Name = L"Demo",
                                                   .TunnelType = L"Example",
                                                   .NetworkCategory = WINTUN_NETWORK_PRIVATE};
    struct api api;

    begin(&api);
    for (size_t i = 0; i < ARRAYSIZE(cases); i++) {
        win32_fault_arm("CoCreateInstance", 1, cases[i].injected);
        CHECK(IN(&api, api.f.CreateAdapterEx(&options)) == NULL);
        CHECK_EQ(api.error, cases[i].error);
        CHECK_EQ(win32_node_count("SWD\\Wintun", false), 0);
    }
    end(&api);
}

TEST(connection_that_has_just_gone_does_not_end_the_search_for_ours)
{
    /* wintun.h, WINTUN_ADAPTER_OPTIONS.NetworkCategory */
    static const WINTUN_ADAPTER_OPTIONS options = {.Size = sizeof(options),
                                                   .Name = L"Demo",
                                                   .TunnelType = L"Example",
                                                   .NetworkCategory = WINTUN_NETWORK_PRIVATE};
    struct api api;

    begin(&api);
    win32_fault_arm("GetAdapterId", 1, 0);
    WINTUN_ADAPTER_HANDLE adapter = IN(&api, api.f.CreateAdapterEx(&options));
    CHECK(win32_fault_fired() != NULL);
    CHECK(adapter != NULL);
    CHECK_EQ(win32_network_category(api_instance(&api, 0)), 1);
    DO(&api, api.f.CloseAdapter(adapter));
    end(&api);
}

TEST(missing_function_of_windows_is_named)
{
    /* wintun.h: ERROR_PROC_NOT_FOUND, ERROR_MOD_NOT_FOUND */
    static const struct {
        const char *module, *function;
        DWORD error;
    } cases[] = {{"cfgmgr32", "SwDeviceCreate", 127}, {"setupapi", NULL, 126}};

    api_boot(SERIAL(1));
    for (size_t i = 0; i < ARRAYSIZE(cases); i++) {
        struct api api;
        api_begin_cold(&api, CLIENT_ADMIN);
        win32_without(cases[i].module, cases[i].function);
        CHECK(IN(&api, api.f.CreateAdapter(L"Demo", L"Example", NULL)) == NULL);
        CHECK_EQ(api.error, cases[i].error);
        if (strstr(log_last(WINTUN_LOG_ERR), cases[i].module) == NULL)
            check_fail(__FILE__, __LINE__, "no %s in: %s", cases[i].module,
                       log_last(WINTUN_LOG_ERR));
        win32_without(NULL, NULL);
        api_end(&api);
    }
    api_shutdown();
}
