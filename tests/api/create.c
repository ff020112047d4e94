/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.dll: adapters come, are found, and go (wintun.h; abi.md 3.6 to 3.9).
 */
#include "api.h"

static void expect_quiet(void)
{
    if (log_count(WINTUN_LOG_ERR) + log_count(WINTUN_LOG_WARN) > 0)
        check_fail(__FILE__, __LINE__, "logged: %s %s", log_last(WINTUN_LOG_ERR),
                   log_last(WINTUN_LOG_WARN));
}

TEST(adapter_is_created_and_removed)
{
    struct api api;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    CHECK_EQ(api_luid(&api, adapter).Info.IfType, 53);
    CHECK_EQ(win32_node_count("SWD\\Wintun", true), 1);
    CHECK(win32_connection_exists("demo"));
    DO(&api, api.f.CloseAdapter(adapter));
    CHECK_EQ(win32_node_count("SWD\\Wintun", false), 0);
    CHECK(!win32_connection_exists("demo"));
    expect_quiet();
    api_end(&api);
    api_shutdown();
}

TEST(second_creation_finds_the_driver_installed)
{
    /* abi.md 3.10: an equal package is kept */
    struct api api;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    for (int i = 0; i < 3; i++) {
        WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
        DO(&api, api.f.CloseAdapter(adapter));
        CHECK_EQ(win32_package_count(), 1);
        api_check(&api);
    }
    expect_quiet();
    api_end(&api);
    api_shutdown();
}

TEST(service_creates_as_well)
{
    struct api api;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_SYSTEM);
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    DO(&api, api.f.CloseAdapter(adapter));
    expect_quiet();
    api_end(&api);
    api_shutdown();
}

/* ---- opening ---- */

TEST(adapter_is_opened_by_name)
{
    /* wintun.h: case does not matter; the handle keeps nothing alive, the caller needs no right */
    struct api api, user;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    api_begin_cold(&user, CLIENT_USER);
    WINTUN_ADAPTER_HANDLE one = api_create(&api, L"One"), two = api_create(&api, L"Two");
    WINTUN_ADAPTER_HANDLE opened = IN(&user, user.f.OpenAdapter(L"tWO"));
    CHECK(opened != NULL);
    CHECK_EQ(api_luid(&user, opened).Value, api_luid(&api, two).Value);
    CHECK(api_luid(&api, one).Value != api_luid(&api, two).Value);
    DO(&api, api.f.CloseAdapter(two));
    CHECK(IN(&user, user.f.OpenAdapter(L"Two")) == NULL);
    CHECK_EQ(user.error, NOT_FOUND);
    DO(&user, user.f.CloseAdapter(opened));
    DO(&api, api.f.CloseAdapter(one));
    api_end(&user);
    api_end(&api);
    api_shutdown();
}

/* ---- listing ---- */

struct listed {
    unsigned count;
    DWORD flags;
    DWORD creator;
    NET_LUID luid;
    char name[64], alias[64], description[64];
};

static void narrow(char *to, LPCWSTR from)
{
    size_t i = 0;

    for (; from[i] != 0 && i < 63; i++)
        to[i] = (char)from[i];
    to[i] = 0;
}

static BOOL CALLBACK list(const WINTUN_ADAPTER_INFO *info, void *context)
{
    struct listed *listed = context;

    CHECK_EQ(info->Size, sizeof(*info));
    listed->count++;
    listed->flags = info->Flags;
    listed->creator = info->CreatorProcessId;
    listed->luid = info->Luid;
    narrow(listed->name, info->Name);
    narrow(listed->alias, info->Alias);
    narrow(listed->description, info->Description);
    return listed->count < 2;
}

TEST(adapters_are_listed)
{
    struct api api, user;
    struct listed listed = {0};

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    api_begin_cold(&user, CLIENT_USER);
    CHECK(IN(&user, user.f.EnumAdapters(list, &listed)));
    CHECK_EQ(listed.count, 0);
    WINTUN_ADAPTER_HANDLE adapters[3] = {api_create(&api, L"One")};
    CHECK(IN(&user, user.f.EnumAdapters(list, &listed)));
    CHECK_EQ(listed.count, 1);
    CHECK_EQ(listed.flags, WINTUN_INFO_PRESENT | WINTUN_INFO_READY);
    CHECK_EQ(listed.creator, win32_process_id(api.process));
    CHECK_EQ(listed.luid.Value, api_luid(&api, adapters[0]).Value);
    CHECK_STR(listed.name, "One");
    CHECK_STR(listed.alias, "One");
    CHECK_STR(listed.description, "Example Tunnel");
    adapters[1] = api_create(&api, L"Two");
    adapters[2] = api_create(&api, L"Three");
    listed.count = 0;
    CHECK(IN(&user, user.f.EnumAdapters(list, &listed)));
    CHECK_EQ(listed.count, 2); /* the callback has ended it */
    for (int i = 0; i < 3; i++)
        DO(&api, api.f.CloseAdapter(adapters[i]));
    api_end(&user);
    api_end(&api);
    api_shutdown();
}

/* ---- options ---- */

TEST(options_are_set)
{
    /* wintun.h, WINTUN_ADAPTER_OPTIONS: all there when the function returns */
    static const WINTUN_ADDRESS addresses[] = {
        {.Family = 2, .PrefixLength = 24, .Address = {10, 7, 0, 1}},
        {.Family = 2, .PrefixLength = 32, .Address = {10, 8, 0, 1}},
        {.Family = 23, .PrefixLength = 64, .Address = {0xfd, 0, [15] = 1}},
    };
    const WINTUN_ADAPTER_OPTIONS options = {.Size = sizeof(options),
                                            .Flags = WINTUN_ADAPTER_NO_DAD,
                                            .Name = L"Demo",
                                            .TunnelType = L"Example",
                                            .Addresses = addresses,
                                            .AddressCount = 3,
                                            .Mtu = 1420,
                                            .Metric = 7,
                                            .NetworkCategory = WINTUN_NETWORK_PRIVATE};
    uint32_t mtu, metric, dad;
    struct api api;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    WINTUN_ADAPTER_HANDLE adapter = IN(&api, api.f.CreateAdapterEx(&options));
    CHECK(adapter != NULL);
    for (int i = 0; i < 2; i++) {
        CHECK(win32_ip_row(api_luid(&api, adapter), i == 1, &mtu, &metric, &dad));
        CHECK_EQ(mtu, 1420);
        CHECK_EQ(metric, 7);
        CHECK_EQ(dad, 0);
    }
    CHECK_EQ(win32_address_count(api_luid(&api, adapter)), 3);
    CHECK_EQ(win32_network_category(api_instance(&api, 0)), 1);
    expect_quiet();
    DO(&api, api.f.CloseAdapter(adapter));
    api_end(&api);
    api_shutdown();
}

TEST(address_that_is_there_already_gets_the_prefix)
{
    /* nf-netioapi-createunicastipaddressentry: a duplicate is refused, and a prefix changed with
     * SetUnicastIpAddressEntry. Here the list itself has the address twice. */
    static const WINTUN_ADDRESS addresses[] = {
        {.Family = 2, .PrefixLength = 24, .Address = {10, 7, 0, 1}},
        {.Family = 2, .PrefixLength = 32, .Address = {10, 7, 0, 1}},
    };
    const WINTUN_ADAPTER_OPTIONS options = {.Size = sizeof(options),
                                            .Name = L"Demo",
                                            .TunnelType = L"Example",
                                            .Addresses = addresses,
                                            .AddressCount = 2};
    struct api api;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    WINTUN_ADAPTER_HANDLE adapter = IN(&api, api.f.CreateAdapterEx(&options));
    CHECK(adapter != NULL);
    CHECK_EQ(win32_address_count(api_luid(&api, adapter)), 1);
    CHECK_EQ(win32_address_prefix(api_luid(&api, adapter), addresses[0].Address), 32);
    DO(&api, api.f.CloseAdapter(adapter));
    api_end(&api);
    api_shutdown();
}

TEST(options_that_are_not_given_change_nothing)
{
    const WINTUN_ADAPTER_OPTIONS options = {
        .Size = sizeof(options), .Name = L"Demo", .TunnelType = L"Example"};
    uint32_t mtu, metric, dad;
    struct api api;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    WINTUN_ADAPTER_HANDLE adapter = IN(&api, api.f.CreateAdapterEx(&options));
    CHECK(adapter != NULL);
    CHECK(win32_ip_row(api_luid(&api, adapter), false, &mtu, &metric, &dad));
    CHECK_EQ(mtu, 65535);
    CHECK_EQ(metric, 0); /* automatic */
    CHECK_EQ(dad, 3);
    CHECK_EQ(win32_address_count(api_luid(&api, adapter)), 0);
    CHECK_EQ(win32_network_category(api_instance(&api, 0)), -1);
    DO(&api, api.f.CloseAdapter(adapter));
    api_end(&api);
    api_shutdown();
}

/* ---- persistent adapters ---- */

TEST(persistent_adapter_stays_until_it_is_deleted)
{
    const WINTUN_ADAPTER_OPTIONS options = {.Size = sizeof(options),
                                            .Flags = WINTUN_ADAPTER_PERSISTENT,
                                            .Name = L"Demo",
                                            .TunnelType = L"Example"};
    struct listed listed = {0};
    struct api api;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    WINTUN_ADAPTER_HANDLE adapter = IN(&api, api.f.CreateAdapterEx(&options));
    CHECK(adapter != NULL);
    DO(&api, api.f.CloseAdapter(adapter));
    win32_settle();
    CHECK(IN(&api, api.f.EnumAdapters(list, &listed)));
    CHECK_EQ(listed.count, 1);
    CHECK_EQ(listed.flags, WINTUN_INFO_PRESENT | WINTUN_INFO_READY | WINTUN_INFO_PERSISTENT);
    adapter = IN(&api, api.f.OpenAdapter(L"Demo"));
    CHECK(adapter != NULL);
    WINTUN_SESSION_HANDLE session = IN(&api, api.f.StartSession(adapter, 0x20000));
    CHECK(session != NULL);
    DO(&api, api.f.EndSession(session));
    CHECK(IN(&api, api.f.DeleteAdapter(adapter)));
    CHECK_EQ(win32_node_count("SWD\\Wintun", false), 0);
    expect_quiet();
    api_end(&api);
    api_shutdown();
}

TEST(deletion_of_what_is_gone_is_success)
{
    /* lessons 7c5233a */
    struct api api, other;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    api_begin(&other, CLIENT_ADMIN);
    WINTUN_ADAPTER_HANDLE made = api_create(&api, L"Demo");
    WINTUN_ADAPTER_HANDLE opened = IN(&other, other.f.OpenAdapter(L"Demo"));
    DO(&api, api.f.CloseAdapter(made));
    CHECK(IN(&other, other.f.DeleteAdapter(opened)));
    api_end(&other);
    api_end(&api);
    api_shutdown();
}

/* ---- the driver ---- */

TEST(driver_is_removed_when_nobody_uses_it)
{
    struct api api, other;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    api_begin(&other, CLIENT_ADMIN);
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    CHECK(!IN(&other, other.f.DeleteDriver()));
    CHECK_EQ(other.error, 0xE000023D); /* ERROR_INF_IN_USE_BY_DEVICES, as Windows says */
    CHECK_EQ(win32_node_count("SWD\\Wintun", true), 1);
    DO(&api, api.f.CloseAdapter(adapter));
    CHECK(IN(&other, other.f.DeleteDriver()));
    CHECK_EQ(win32_package_count(), 0);
    api_end(&other);
    api_end(&api);
    api_shutdown();
}
