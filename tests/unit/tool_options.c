/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The command line of wintun.exe: splitting, options, help, and the values people write. No machine
 * is booted.
 */
#include "../../tools/pure/address.h"
#include "../../tools/pure/options.h"

#include "check.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <wchar.h>

static char Buffer[8192];
static TOOL_TEXT Text;
static TOOL_OPTIONS Options;

static TOOL_TEXT *Fresh(void)
{
    TextInit(&Text, Buffer, sizeof(Buffer));
    return &Text;
}

/* ---- splitting ---- */

static const wchar_t *Arguments[8];
static wchar_t Storage[256];

static bool wide_equal(const wchar_t *one, const wchar_t *other)
{
    while (*one && *one == *other) {
        one++;
        other++;
    }
    return *one == *other;
}

static int split(const wchar_t *line)
{
    memset(Storage, 0xEE, sizeof(Storage));
    return ArgumentsSplit(line, Storage, Arguments, 8);
}

/* The examples of the page "Parsing C command-line arguments". */
TEST(arguments_of_the_documentation_are_split_as_it_says)
{
    CHECK_EQ(split(L"test.exe \"abc\" d e"), 4);
    CHECK(wide_equal(Arguments[1], L"abc") && wide_equal(Arguments[3], L"e"));
    CHECK_EQ(split(L"x a\\\\b d\"e f\"g h"), 4);
    CHECK(wide_equal(Arguments[1], L"a\\\\b") && wide_equal(Arguments[2], L"de fg"));
    CHECK_EQ(split(L"x a\\\\\\\"b c d"), 4);
    CHECK(wide_equal(Arguments[1], L"a\\\"b"));
    CHECK_EQ(split(L"x a\\\\\\\\\"b c\" d e"), 4);
    CHECK(wide_equal(Arguments[1], L"a\\\\b c"));
    CHECK_EQ(split(L"x a\"b\"\" c d"), 2);
    CHECK(wide_equal(Arguments[1], L"ab\" c d"));
}

TEST(arguments_name_of_the_program_may_have_spaces_and_backslashes)
{
    CHECK_EQ(split(L"\"C:\\Program Files\\w\\\" list"), 2);
    CHECK(wide_equal(Arguments[0], L"C:\\Program Files\\w\\"));
    CHECK(wide_equal(Arguments[1], L"list"));
    CHECK_EQ(split(L""), 1);
    CHECK(wide_equal(Arguments[0], L""));
    CHECK_EQ(split(L"x   \t "), 1);
}

TEST(arguments_too_many_are_told)
{
    CHECK_EQ(split(L"x 1 2 3 4 5 6 7"), 8);
    CHECK_EQ(split(L"x 1 2 3 4 5 6 7 8"), 9);
}

TEST(arguments_empty_and_unfinished_quotes)
{
    CHECK_EQ(split(L"x \"\" \"a b"), 3);
    CHECK(wide_equal(Arguments[1], L"") && wide_equal(Arguments[2], L"a b"));
}

/* ---- options ---- */

static bool parse(int count, const wchar_t *const *arguments)
{
    return OptionsParse(count, arguments, &Options, Fresh());
}

#define PARSE(...)                                                                                 \
    ({                                                                                             \
        const wchar_t *const list[] = {__VA_ARGS__};                                               \
        parse(sizeof(list) / sizeof(list[0]), list);                                               \
    })

TEST(options_of_every_kind_are_read)
{
    CHECK(PARSE(L"create", L"--mtu", L"1420", L"Office", L"--no-dad", L"--address=10.0.0.1/24",
                L"--address", L"fd00::1/64", L"--type=A=B", L"--json"));
    CHECK_EQ(Options.Command, CommandCreate);
    CHECK(wide_equal(Options.Name, L"Office") && wide_equal(Options.Type, L"A=B"));
    CHECK_EQ(Options.Mtu, 1420);
    CHECK_EQ(Options.AddressCount, 2);
    CHECK(wide_equal(Options.Addresses[1], L"fd00::1/64"));
    CHECK(Options.NoDad && Options.Json && !Options.Persistent);
}

TEST(options_end_at_two_hyphens_and_a_hyphen_is_an_argument)
{
    CHECK(PARSE(L"capture", L"--create", L"--", L"--json", L"-"));
    CHECK(wide_equal(Options.Name, L"--json") && wide_equal(Options.File, L"-") && !Options.Json);
    CHECK(PARSE(L"CAPTURE", L"a", L"-"));
    CHECK(wide_equal(Options.File, L"-"));
}

TEST(options_nothing_and_help_show_help)
{
    CHECK(parse(0, NULL));
    CHECK_EQ(Options.Command, CommandHelp);
    CHECK(PARSE(L"/?"));
    CHECK_EQ(Options.Command, CommandHelp);
    CHECK(PARSE(L"create", L"-h", L"--nonsense"));
    CHECK(Options.Help && Options.Command == CommandCreate);
    CHECK(PARSE(L"--version"));
    CHECK_EQ(Options.Command, CommandVersion);
}

/* Each refusal names what is wrong. */
TEST(options_what_is_wrong_is_named)
{
    static const struct {
        const wchar_t *arguments[4];
        const char *message;
    } cases[] = {
        {{L"lsit"}, "lsit: unknown command"},
        {{L"list", L"--nonsense"}, "--nonsense: unknown option of \"list\""},
        {{L"list", L"--jso"}, "--jso: unknown option of \"list\""},
        {{L"list", L"--jsonx"}, "--jsonx: unknown option of \"list\""},
        {{L"list", L"-j"}, "-j: unknown option of \"list\""},
        {{L"list", L"--mtu=1400"}, "--mtu=1400: not an option of \"list\""},
        {{L"list", L"--json=1"}, "--json takes no value"},
        {{L"list", L"Office"}, "Office: one argument too many for \"list\""},
        {{L"show"}, "\"show\" needs the NAME of an adapter"},
        {{L"create", L"x", L"--mtu"}, "--mtu needs a value"},
        {{L"create", L"x", L"--mtu", L"575"}, "--mtu 575: a number from 576 to 65535 is expected"},
        {{L"create", L"x", L"--mtu=65536"}, "--mtu 65536: a number from 576 to 65535 is expected"},
        {{L"create", L"x", L"--mtu="}, "--mtu : a number from 576 to 65535 is expected"},
        {{L"create", L"x", L"--mtu=18446744073709553016"},
         "--mtu 18446744073709553016: a number from 576 to 65535 is expected"},
        {{L"create", L"x", L"--metric=1", L"--metric=2"}, "--metric is given twice"},
        {{L"create", L"x", L"--type=1", L"--type=2"}, "--type is given twice"},
        {{L"help", L"lsit"}, "lsit: unknown command"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int count = 0;
        while (count < 4 && cases[i].arguments[count])
            count++;
        CHECK(!parse(count, cases[i].arguments));
        CHECK_STR(Buffer, cases[i].message);
    }
}

TEST(options_more_addresses_than_windows_gets_are_refused)
{
    const wchar_t *list[2 + MAX_ADDRESSES + 1] = {L"create", L"x"};

    for (int i = 0; i <= MAX_ADDRESSES; i++)
        list[2 + i] = L"--address=10.0.0.1";
    CHECK(parse(2 + MAX_ADDRESSES, list));
    CHECK(!parse(2 + MAX_ADDRESSES + 1, list));
    CHECK_STR(Buffer, "--address is given more than 64 times");
}

/* Every command has help that names it, and every option that it accepts. */
TEST(help_names_every_command_and_option)
{
    char all[8192];
    TOOL_TEXT text;

    TextInit(&text, all, sizeof(all));
    HelpWriteAll(&text);
    for (int command = CommandList; command < CommandCount; command++) {
        char word[32];
        snprintf(word, sizeof(word), "  %s ", CommandName(command));
        CHECK(strstr(all, word));
        HelpWrite(Fresh(), command);
        snprintf(word, sizeof(word), "usage: wintun %s", CommandName(command));
        CHECK(strstr(Buffer, word) && strstr(Buffer, "--help") && strstr(Buffer, "--json"));
        CHECK(!Text.IsFull);
    }
    HelpWrite(Fresh(), CommandCreate);
    CHECK(strstr(Buffer, "--mtu N") && !strstr(Buffer, "--overwrite"));
}

/* No line of help is wider than a console. */
TEST(help_fits_into_80_columns)
{
    for (int command = CommandHelp; command < CommandCount; command++) {
        HelpWrite(Fresh(), command);
        for (char *line = strtok(Buffer, "\n"); line; line = strtok(NULL, "\n"))
            CHECK(strlen(line) < 80);
    }
}

/* ---- values ---- */

static void widen(wchar_t *wide, const char *narrow)
{
    while ((*wide++ = (unsigned char)*narrow++))
        ;
}

/* Against the system's own parser, for addresses of both families, right and wrong. */
TEST(addresses_are_those_that_the_system_knows)
{
    static const char *const cases[] = {"0.0.0.0",
                                        "255.255.255.255",
                                        "10.1.2.3",
                                        "256.1.1.1",
                                        "1.2.3",
                                        "1.2.3.4.5",
                                        "1..2.3",
                                        "01.2.3.4",
                                        "1.2.3.4 ",
                                        "",
                                        "::",
                                        "::1",
                                        "1::",
                                        "fd00::1",
                                        "1:2:3:4:5:6:7:8",
                                        "1:2:3:4:5:6:7",
                                        "1:2:3:4:5:6:7:8:9",
                                        "1:2:3:4:5:6:7::",
                                        "::2:3:4:5:6:7:8",
                                        "1:2:3:4::5:6:7:8",
                                        "1::2::3",
                                        ":1:2:3:4:5:6:7",
                                        "1:2:3:4:5:6:7:",
                                        ":::",
                                        ":",
                                        "1:",
                                        ":1",
                                        "12345::",
                                        "g::",
                                        "::ffff:10.0.0.1",
                                        "::10.0.0.256",
                                        "1:2:3:4:5:6:7.8.9.10",
                                        "1:2:3:4:5:6:7:8.9.10.11",
                                        "::1.2.3.4:5",
                                        "ABCD:ef01::",
                                        "0:0:0:0:0:0:0:0",
                                        "1::0:1"};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const bool is_ipv6 = strchr(cases[i], ':') != NULL;
        uint8_t expected[16] = {0};
        wchar_t wide[64];
        TOOL_ADDRESS address;
        const bool valid = inet_pton(is_ipv6 ? AF_INET6 : AF_INET, cases[i], expected) == 1;
        widen(wide, cases[i]);
        if (AddressParse(wide, &address) != valid)
            check_fail(__FILE__, __LINE__, "\"%s\": expected %d", cases[i], valid);
        if (!valid)
            continue;
        CHECK_EQ(address.IsIpv6, is_ipv6);
        CHECK_EQ(address.PrefixLength, is_ipv6 ? 128 : 32);
        CHECK_MEM(address.Bytes, expected, 16);
    }
}

TEST(prefix_lengths_are_bounded)
{
    TOOL_ADDRESS address;

    CHECK(AddressParse(L"10.0.0.1/0", &address) && address.PrefixLength == 0);
    CHECK(AddressParse(L"10.0.0.1/32", &address) && address.PrefixLength == 32);
    CHECK(AddressParse(L"fd00::1/128", &address) && address.PrefixLength == 128);
    CHECK(AddressParse(L"::/0", &address) && address.PrefixLength == 0);
    CHECK(!AddressParse(L"10.0.0.1/33", &address));
    CHECK(!AddressParse(L"fd00::1/129", &address));
    CHECK(!AddressParse(L"10.0.0.1/", &address));
    CHECK(!AddressParse(L"10.0.0.1/24x", &address));
    CHECK(!AddressParse(L"10.0.0.1/-1", &address));
}

/* RFC 5952, which the system's printer follows; random words, many of them zero. */
TEST(addresses_are_printed_as_the_system_prints_them)
{
    char expected[INET6_ADDRSTRLEN];

    srand(1);
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[16] = {0x20, 1}; /* never one that the system prints with dots */
        for (int i = 2; i < 16; i += 2) {
            if (rand() % 2)
                bytes[i + 1] = (uint8_t)rand();
            if (rand() % 4 == 0)
                bytes[i] = (uint8_t)rand();
        }
        AddressPrint(Fresh(), true, bytes);
        CHECK_STR(Buffer, inet_ntop(AF_INET6, bytes, expected, sizeof(expected)));
    }
    AddressPrint(Fresh(), true, (const uint8_t[16]){0});
    CHECK_STR(Buffer, "::");
    AddressPrint(Fresh(), false, (const uint8_t[4]){10, 0, 255, 1});
    CHECK_STR(Buffer, "10.0.255.1");
}

TEST(guids_are_read_with_and_without_braces)
{
    static const wchar_t *const wrong[] = {L"",
                                           L"{6906e155-afd4-44a9-8d84-2a4a9b955724",
                                           L"6906e155-afd4-44a9-8d84-2a4a9b955724}",
                                           L"6906e155-afd4-44a9-8d84-2a4a9b95572",
                                           L"6906e155-afd4-44a9-8d84-2a4a9b9557244",
                                           L"6906e155afd444a98d842a4a9b955724",
                                           L"6906e15-5afd4-44a9-8d84-2a4a9b955724",
                                           L"6906e155-afd4-44a9-8d84-2a4a9b95572g"};
    TOOL_GUID guid;

    CHECK(GuidParse(L"{6906E155-AFD4-44A9-8D84-2A4A9B955724}", &guid));
    GuidPrint(Fresh(), &guid);
    CHECK_STR(Buffer, "{6906e155-afd4-44a9-8d84-2a4a9b955724}");
    CHECK(GuidParse(L"00000001-0002-0003-0004-000000000005", &guid));
    CHECK(guid.Data1 == 1 && guid.Data2 == 2 && guid.Data3 == 3);
    CHECK(guid.Data4[1] == 4 && guid.Data4[7] == 5);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CHECK(!GuidParse(wrong[i], &guid));
}
