/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.dll: every documented misuse has its documented answer, changes nothing and
 * leaves nothing (wintun.h). What wintun.h forbids altogether, such as a dead handle, is not here.
 */
#include "api.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { CAPACITY = 0x20000, INVALID_SECURITY_DESCR = 1338 };

static WCHAR name_127[128], name_128[129];

static void begin(struct api *api)
{
    for (int i = 0; i < 128; i++)
        name_128[i] = 'n';
    for (int i = 0; i < 127; i++)
        name_127[i] = 'n';
    api_boot(SERIAL(1));
    api_begin(api, CLIENT_ADMIN);
}

static void end(struct api *api)
{
    api_end(api);
    api_shutdown();
}

/* After a call that failed: that error, one line that says so, and the same text for the thread. */
static void expect_error(struct api *api, const char *what, DWORD error)
{
    WCHAR text[1024];
    char narrow[1024];

    if (api->error != error)
        check_fail(__FILE__, __LINE__, "%s: error %u instead of %u", what, api->error, error);
    CHECK_EQ(log_count(WINTUN_LOG_ERR), 1);
    const DWORD length = IN(api, api->f.GetLastErrorText(text, 1024));
    CHECK(length > 1 && length <= 1024);
    for (DWORD i = 0; i < length; i++)
        narrow[i] = (char)text[i];
    CHECK(strncmp(narrow, log_last(WINTUN_LOG_ERR), LOG_CHARACTERS - 1) == 0);
    log_clear();
    api_check(api);
}

TEST(bad_names_are_refused)
{
    static const struct {
        LPCWSTR name;
        DWORD error;
    } cases[] = {
        {NULL, INVALID_PARAMETER},   {L"", INVALID_PARAMETER},     {L"a\\b", INVALID_PARAMETER},
        {L"a/b", INVALID_PARAMETER}, {L"a:b", INVALID_PARAMETER},  {L"a*b", INVALID_PARAMETER},
        {L"a?b", INVALID_PARAMETER}, {L"a\"b", INVALID_PARAMETER}, {L"a<b", INVALID_PARAMETER},
        {L"a>b", INVALID_PARAMETER}, {L"a|b", INVALID_PARAMETER},  {name_128, BUFFER_OVERFLOW},
    };
    struct api api;

    begin(&api);
    for (size_t i = 0; i < ARRAYSIZE(cases); i++) {
        CHECK(IN(&api, api.f.CreateAdapter(cases[i].name, L"Example", NULL)) == NULL);
        expect_error(&api, "CreateAdapter", cases[i].error);
        CHECK(IN(&api, api.f.OpenAdapter(cases[i].name)) == NULL);
        expect_error(&api, "OpenAdapter", cases[i].error);
    }
    CHECK(IN(&api, api.f.CreateAdapter(L"Demo", NULL, NULL)) == NULL);
    expect_error(&api, "TunnelType", INVALID_PARAMETER);
    CHECK(IN(&api, api.f.CreateAdapter(L"Demo", L"", NULL)) == NULL);
    expect_error(&api, "TunnelType", INVALID_PARAMETER);
    CHECK(IN(&api, api.f.CreateAdapter(L"Demo", name_128, NULL)) == NULL);
    expect_error(&api, "TunnelType", BUFFER_OVERFLOW);
    CHECK_EQ(win32_node_count("SWD\\Wintun", false), 0);
    end(&api);
}

TEST(longest_names_are_good)
{
    struct api api;

    begin(&api);
    WINTUN_ADAPTER_HANDLE adapter = IN(&api, api.f.CreateAdapter(name_127, name_127, NULL));
    CHECK(adapter != NULL);
    WINTUN_ADAPTER_HANDLE opened = IN(&api, api.f.OpenAdapter(name_127));
    CHECK(opened != NULL);
    DO(&api, api.f.CloseAdapter(opened));
    DO(&api, api.f.CloseAdapter(adapter));
    end(&api);
}

TEST(adapter_that_does_not_exist_is_not_found)
{
    struct api api;

    begin(&api);
    CHECK(IN(&api, api.f.OpenAdapter(L"Demo")) == NULL);
    expect_error(&api, "OpenAdapter", NOT_FOUND);
    end(&api);
}

static const WINTUN_ADAPTER_OPTIONS good = {
    .Size = sizeof(good), .Name = L"Demo", .TunnelType = L"Example"};

static void refuse_options(struct api *api, const char *what, WINTUN_ADAPTER_OPTIONS options,
                           DWORD error)
{
    CHECK(IN(api, api->f.CreateAdapterEx(&options)) == NULL);
    expect_error(api, what, error);
    CHECK_EQ(win32_node_count("SWD\\Wintun", false), 0);
}

#define REFUSE(field, value, error)                                                                \
    do {                                                                                           \
        WINTUN_ADAPTER_OPTIONS bad = good;                                                         \
        bad.field = (value);                                                                       \
        refuse_options(&api, #field " = " #value, bad, error);                                     \
    } while (0)

TEST(bad_options_are_refused)
{
    /* wintun.h, "Structures that a caller fills", WINTUN_ADAPTER_OPTIONS */
    static const WINTUN_ADDRESS six = {.Family = 23, .PrefixLength = 64, .Address = {0xfd}};
    struct api api;

    begin(&api);
    CHECK(IN(&api, api.f.CreateAdapterEx(NULL)) == NULL);
    expect_error(&api, "no options", INVALID_PARAMETER);
    REFUSE(Size, 0, INVALID_PARAMETER);
    REFUSE(Size, sizeof(good) - 1, INVALID_PARAMETER);
    REFUSE(Flags, 0x80000000, INVALID_PARAMETER);
    REFUSE(Flags, 4, INVALID_PARAMETER);
    REFUSE(Name, NULL, INVALID_PARAMETER);
    REFUSE(TunnelType, L"", INVALID_PARAMETER);
    REFUSE(SecurityDescriptor, L"nonsense", INVALID_SECURITY_DESCR);
    REFUSE(SecurityDescriptor, L"", INVALID_SECURITY_DESCR);
    REFUSE(AddressCount, 1, INVALID_PARAMETER); /* without Addresses */
    REFUSE(AddressCount, 65, INVALID_PARAMETER);
    REFUSE(Mtu, 575, INVALID_PARAMETER);
    REFUSE(Mtu, 65536, INVALID_PARAMETER);
    REFUSE(Metric, 10000, INVALID_PARAMETER);
    REFUSE(NetworkCategory, 3, INVALID_PARAMETER);
    REFUSE(Reserved, 1, INVALID_PARAMETER);
    WINTUN_ADAPTER_OPTIONS bad = good;
    bad.Addresses = &six;
    bad.AddressCount = 1;
    bad.Mtu = 1279;
    refuse_options(&api, "IPv6 with an MTU under 1280", bad, INVALID_PARAMETER);
    end(&api);
}

TEST(size_that_is_none_is_not_believed)
{
    /* wintun.h, "Structures that a caller fills": what lies behind is read only as far as a size
     * can go; here zeroes up to the end of what there is */
    enum { PAGE = 4096 };
    struct api api;

    begin(&api);
    char *pages =
        mmap(NULL, (size_t)3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    CHECK(mprotect(pages + 2 * PAGE, PAGE, PROT_NONE) == 0);
    WINTUN_ADAPTER_OPTIONS *options = (void *)pages;
    *options = good;
    options->Size = 0xCCCCCCCC;
    CHECK(IN(&api, api.f.CreateAdapterEx(options)) == NULL);
    expect_error(&api, "Size", INVALID_PARAMETER);
    options->Size = 4096; /* of a later version, which asks for nothing that this one lacks */
    WINTUN_ADAPTER_HANDLE adapter = IN(&api, api.f.CreateAdapterEx(options));
    CHECK(adapter != NULL);
    DO(&api, api.f.CloseAdapter(adapter));
    munmap(pages, (size_t)3 * PAGE);
    end(&api);
}

TEST(bad_addresses_are_refused)
{
    static const WINTUN_ADDRESS addresses[] = {
        {.Family = 0, .PrefixLength = 24, .Address = {10}},
        {.Family = 3, .PrefixLength = 24, .Address = {10}},
        {.Family = 2, .PrefixLength = 33, .Address = {10}},
        {.Family = 23, .PrefixLength = 129, .Address = {0xfd}},
        {.Family = 2, .PrefixLength = 24, .Reserved = 1, .Address = {10}},
        {.Family = 2, .PrefixLength = 24, .Address = {10, 0, 0, 1, 1}},
    };
    struct api api;

    begin(&api);
    for (size_t i = 0; i < ARRAYSIZE(addresses); i++) {
        WINTUN_ADAPTER_OPTIONS bad = good;
        bad.Addresses = &addresses[i];
        bad.AddressCount = 1;
        refuse_options(&api, "address", bad, INVALID_PARAMETER);
    }
    end(&api);
}

TEST(bad_statistics_are_refused)
{
    struct api api;
    WINTUN_STATISTICS statistics = {.Size = sizeof(statistics) - 1, .SentPackets = 77};

    begin(&api);
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    struct win32_ledger kept = api.before;
    win32_ledger_take(api.process, &api.before);
    CHECK(!IN(&api, api.f.GetStatistics(adapter, NULL)));
    expect_error(&api, "NULL", INVALID_PARAMETER);
    CHECK(!IN(&api, api.f.GetStatistics(adapter, &statistics)));
    expect_error(&api, "Size", INVALID_PARAMETER);
    CHECK_EQ(statistics.SentPackets, 77);
    api.before = kept;
    DO(&api, api.f.CloseAdapter(adapter));
    end(&api);
}

TEST(bad_flags_of_repair_are_refused)
{
    struct api api;
    DWORD removed = 77;

    begin(&api);
    CHECK(!IN(&api, api.f.Repair(8, &removed)));
    expect_error(&api, "Flags", INVALID_PARAMETER);
    CHECK(IN(&api, api.f.Repair(0, NULL)));
    end(&api);
}

TEST(enumeration_without_a_callback_is_refused)
{
    struct api api;

    begin(&api);
    CHECK(!IN(&api, api.f.EnumAdapters(NULL, NULL)));
    expect_error(&api, "Callback", INVALID_PARAMETER);
    end(&api);
}

TEST(null_handles_do_nothing)
{
    /* wintun.h, WintunCloseAdapter */
    struct api api;

    begin(&api);
    DO(&api, api.f.CloseAdapter(NULL));
    CHECK_EQ(log_count(WINTUN_LOG_ERR), 0);
    end(&api);
}

TEST(version_of_a_driver_that_is_not_loaded_is_not_found)
{
    struct api api;

    begin(&api);
    CHECK_EQ(IN(&api, api.f.GetRunningDriverVersion()), 0);
    expect_error(&api, "version", FILE_NOT_FOUND);
    win32_knobs_set(&(const struct win32_knobs){.hides_drivers = true});
    CHECK_EQ(IN(&api, api.f.GetRunningDriverVersion()), 0);
    expect_error(&api, "version", ACCESS_DENIED);
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    CHECK(IN(&api, api.f.GetRunningDriverVersion()) != 0);
    DO(&api, api.f.CloseAdapter(adapter));
    end(&api);
}

TEST(error_text_is_cut_to_the_buffer)
{
    /* wintun.h, WintunGetLastErrorText: also with no buffer; the last error is left alone */
    struct api api;
    WCHAR small[5] = {1, 1, 1, 1, 1};

    begin(&api);
    CHECK(IN(&api, api.f.OpenAdapter(L"Demo")) == NULL);
    const DWORD whole = IN(&api, api.f.GetLastErrorText(NULL, 0));
    CHECK(whole > 5);
    CHECK_EQ(IN(&api, api.f.GetLastErrorText(small, 4)), whole);
    CHECK(small[3] == 0 && small[4] == 1);
    win32_thread_enter(api.thread);
    win32_set_last_error(4711);
    api.f.GetLastErrorText(small, 4);
    CHECK_EQ(win32_last_error(), 4711);
    win32_thread_leave(api.thread);
    end(&api);
}

TEST(logger_may_be_absent)
{
    struct api api;

    begin(&api);
    DO(&api, api.f.SetLogger(NULL));
    CHECK(IN(&api, api.f.OpenAdapter(L"Demo")) == NULL);
    CHECK_EQ(api.error, NOT_FOUND);
    CHECK_EQ(log_count(WINTUN_LOG_ERR), 0);
    end(&api);
}
