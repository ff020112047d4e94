/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.dll and wintun.sys together: what is left when a process ends, wherever it is,
 * and that the next one is not bothered by it (wintun.h; abi.md 2.7, 3.9; lessons
 * 14, 19.12, 19.13).
 */
#include "api.h"

enum { CAPACITY = 0x20000 };

/* What the dead have left: nothing that is present, nothing that Repair does not remove. */
static void expect_cleaned(struct api *api)
{
    DWORD removed = 0;

    win32_settle();
    CHECK_EQ(win32_node_count("SWD\\Wintun", true), 0);
    const unsigned left = win32_node_count("SWD\\Wintun", false);
    CHECK(IN(api, api->f.Repair(WINTUN_REPAIR_DEVICES, &removed)));
    CHECK_EQ(removed, left);
    CHECK_EQ(win32_node_count("SWD\\Wintun", false), 0);
}

TEST(adapter_and_session_go_with_their_process)
{
    struct api api, next;
    struct port port;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    api_begin(&next, CLIENT_ADMIN);
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    CHECK(IN(&api, api.f.StartSession(adapter, CAPACITY)) != NULL);
    api_port(&port, api_instance(&next, 0));
    port_await_link(&port, true);
    api_kill(&api);
    port_await_link(&port, false);
    win32_settle();
    CHECK(nth_mem_is_detached(port.mem));
    api_port_close(&port);
    adapter = api_create(&next, L"Demo");
    CHECK(win32_connection_exists("Demo"));
    DO(&next, next.f.CloseAdapter(adapter));
    expect_cleaned(&next);
    api_end(&next);
    api_shutdown();
}

TEST(session_goes_though_its_handles_were_duplicated)
{
    /* abi.md 2.7: exit of the process that registered, even if duplicates survive */
    struct api api, other;
    struct port port;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    api_begin(&other, CLIENT_ADMIN);
    WINTUN_ADAPTER_HANDLE made = api_create(&other, L"Demo");
    WINTUN_ADAPTER_HANDLE opened = IN(&api, api.f.OpenAdapter(L"Demo"));
    CHECK(opened != NULL);
    CHECK(IN(&api, api.f.StartSession(opened, CAPACITY)) != NULL);
    api_port(&port, api_instance(&other, 0));
    port_await_link(&port, true);
    for (client_handle handle = 4; handle < 2000; handle += 4) {
        client_handle copy;
        client_duplicate(win32_process_client(api.process), handle,
                         win32_process_client(other.process), &copy);
    }
    api_kill(&api);
    port_await_link(&port, false);
    WINTUN_SESSION_HANDLE session = IN(&other, other.f.StartSession(made, CAPACITY));
    CHECK(session != NULL);
    api_port_close(&port);
    api_kill(&other); /* with the duplicates */
    api_begin(&api, CLIENT_ADMIN);
    expect_cleaned(&api);
    api_end(&api);
    api_shutdown();
}

TEST(two_adapters_go_with_their_process)
{
    /* abi.md 2.8: all adapters of the process, not at most one */
    struct api api, next;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    api_begin(&next, CLIENT_ADMIN);
    WINTUN_ADAPTER_HANDLE one = api_create(&api, L"One"), two = api_create(&api, L"Two");
    CHECK(IN(&api, api.f.StartSession(one, CAPACITY)) != NULL);
    CHECK(IN(&api, api.f.StartSession(two, CAPACITY)) != NULL);
    CHECK_EQ(win32_node_count("SWD\\Wintun", true), 2);
    api_kill(&api);
    expect_cleaned(&next);
    api_end(&next);
    api_shutdown();
}

TEST(opener_that_ends_takes_nothing_with_it)
{
    struct api creator, opener;

    api_boot(SERIAL(1));
    api_begin(&creator, CLIENT_ADMIN);
    api_begin(&opener, CLIENT_ADMIN);
    WINTUN_ADAPTER_HANDLE made = api_create(&creator, L"Demo");
    WINTUN_ADAPTER_HANDLE opened = IN(&opener, opener.f.OpenAdapter(L"Demo"));
    CHECK(IN(&opener, opener.f.StartSession(opened, CAPACITY)) != NULL);
    api_kill(&opener);
    win32_settle();
    CHECK_EQ(win32_node_count("SWD\\Wintun", true), 1);
    WINTUN_SESSION_HANDLE session = IN(&creator, creator.f.StartSession(made, CAPACITY));
    CHECK(session != NULL);
    DO(&creator, creator.f.EndSession(session));
    DO(&creator, creator.f.CloseAdapter(made));
    api_end(&creator);
    api_shutdown();
}

TEST(persistent_adapter_outlives_its_process)
{
    /* wintun.h, WINTUN_ADAPTER_PERSISTENT */
    const WINTUN_ADAPTER_OPTIONS options = {.Size = sizeof(options),
                                            .Flags = WINTUN_ADAPTER_PERSISTENT,
                                            .Name = L"Demo",
                                            .TunnelType = L"Example"};
    struct api api, next;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    api_begin(&next, CLIENT_ADMIN);
    CHECK(IN(&api, api.f.CreateAdapterEx(&options)) != NULL);
    api_kill(&api);
    win32_settle();
    CHECK_EQ(win32_node_count("SWD\\Wintun", true), 1);
    DWORD removed = 9;
    CHECK(IN(&next, next.f.Repair(WINTUN_REPAIR_DEVICES, &removed)));
    CHECK_EQ(removed, 0);
    CHECK(IN(&next, next.f.CreateAdapterEx(&options)) == NULL);
    CHECK_EQ(next.error, ALREADY_EXISTS);
    WINTUN_ADAPTER_HANDLE adapter = IN(&next, next.f.OpenAdapter(L"Demo"));
    CHECK(adapter != NULL);
    CHECK(IN(&next, next.f.DeleteAdapter(adapter)));
    CHECK_EQ(win32_node_count("SWD\\Wintun", false), 0);
    api_end(&next);
    api_shutdown();
}

TEST(persistent_adapter_that_cannot_start_can_be_removed)
{
    /* wintun.h, WINTUN_REPAIR_BROKEN: it cannot be opened, so nothing else can; one that is
     * disabled, or whose creator lives, stays */
    const WINTUN_ADAPTER_OPTIONS options = {.Size = sizeof(options),
                                            .Flags = WINTUN_ADAPTER_PERSISTENT,
                                            .Name = L"Demo",
                                            .TunnelType = L"Example"};
    enum { DISABLED = 22, FAILED_START = 10 };
    struct api api, next;
    DWORD removed = 9;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    api_begin(&next, CLIENT_ADMIN);
    CHECK(IN(&api, api.f.CreateAdapterEx(&options)) != NULL);
    const char *id = api_instance(&api, 0);
    win32_node_stop(id, FAILED_START);
    CHECK(IN(&next, next.f.Repair(WINTUN_REPAIR_BROKEN, &removed)));
    CHECK_EQ(removed, 0);
    api_kill(&api);
    win32_settle();
    CHECK(IN(&next, next.f.OpenAdapter(L"Demo")) == NULL);
    CHECK(IN(&next, next.f.Repair(WINTUN_REPAIR_DEVICES | WINTUN_REPAIR_PACKAGES, &removed)));
    CHECK_EQ(removed, 0);
    win32_node_stop(id, DISABLED);
    CHECK(IN(&next, next.f.Repair(WINTUN_REPAIR_BROKEN, &removed)));
    CHECK_EQ(removed, 0);
    CHECK_EQ(win32_node_count("SWD\\Wintun", true), 1);
    win32_node_stop(id, FAILED_START);
    CHECK(IN(&next, next.f.Repair(WINTUN_REPAIR_BROKEN, &removed)));
    CHECK_EQ(removed, 1);
    CHECK_EQ(win32_node_count("SWD\\Wintun", false), 0);
    api_end(&next);
    api_shutdown();
}

TEST(creator_that_has_ended_is_dead_though_its_process_object_is_held)
{
    /* "Terminating a Process": the object stays until its last handle is closed; it is signalled.
     * wintun.h, WintunDeleteDriver: removes adapters that no running process owns */
    const WINTUN_ADAPTER_OPTIONS options = {.Size = sizeof(options),
                                            .Flags = WINTUN_ADAPTER_PERSISTENT,
                                            .Name = L"Demo",
                                            .TunnelType = L"Example"};
    struct api api, next;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    api_begin(&next, CLIENT_ADMIN);
    CHECK(IN(&api, api.f.CreateAdapterEx(&options)) != NULL);
    CHECK(!IN(&next, next.f.DeleteDriver())); /* the creator runs */
    CHECK_EQ(win32_node_count("SWD\\Wintun", true), 1);
    win32_process_kill(api.process);
    CHECK(IN(&next, next.f.DeleteDriver()));
    CHECK_EQ(win32_node_count("SWD\\Wintun", false), 0);
    win32_thread_end(api.thread);
    win32_process_destroy(api.process);
    api_end(&next);
    api_shutdown();
}

/* ---- killed at any step ---- */

static void create_and_close(void *context)
{
    struct api *api = context;
    WINTUN_ADAPTER_HANDLE adapter = api->f.CreateAdapter(L"Demo", L"Example", NULL);

    if (adapter != NULL)
        api->f.CloseAdapter(adapter);
}

/* True: the process came through before its n-th call. */
static bool killed_at(unsigned n)
{
    struct api api;

    api_begin_cold(&api, CLIENT_ADMIN);
    win32_thread_end(api.thread);
    win32_kill_at(api.process, n);
    win32_run(api.process, create_and_close, &api);
    const unsigned left = win32_kill_at(api.process, 0);
    win32_process_destroy(api.process);
    return left > 0;
}

TEST(creator_is_killed_at_any_step)
{
    /* lessons 14, go:f3dba4c: the lock is not lost; nothing present stays, and what is remembered
     * goes with the next one's clean-up */
    struct api next;
    unsigned n = 1;

    api_boot(SERIAL(1));
    api_begin(&next, CLIENT_ADMIN);
    for (; !killed_at(n); n++) {
        win32_settle();
        CHECK_EQ(win32_node_count("SWD\\Wintun", true), 0);
        WINTUN_ADAPTER_HANDLE adapter = api_create(&next, L"Demo");
        CHECK(win32_connection_exists("Demo"));
        DO(&next, next.f.CloseAdapter(adapter));
        expect_cleaned(&next);
        api_check(&next);
        CHECK(n < 2000);
    }
    CHECK(n > 60);
    api_end(&next);
    nth_shutdown(); /* files of the package may be left in Windows' folder for them */
}
