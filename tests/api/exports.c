/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.dll: what it exports and under which names, and that nthost provides all that
 * it imports (abi.md 3.1, 3.2; api/system.h).
 */
#include "api.h"

#include <ctype.h>
#include <stdlib.h>

/* The names of a .def file's EXPORTS, one after the other; false at the end. */
static bool next_name(FILE *file, char *name, size_t room)
{
    char line[256];

    while (fgets(line, sizeof(line), file) != NULL) {
        size_t length = 0;
        while (isalnum((unsigned char)line[length]) || line[length] == '_')
            length++;
        if (length == 0 || line[length] != '\n' || strncmp(line, "EXPORTS", 7) == 0)
            continue;
        snprintf(name, room, "%.*s", (int)length, line);
        return true;
    }
    return false;
}

TEST(every_function_is_exported_undecorated)
{
    /* abi.md 3.2: the 14 names that programs look up, case-sensitive */
    static const char *const old[] = {"WintunAllocateSendPacket",
                                      "WintunCloseAdapter",
                                      "WintunCreateAdapter",
                                      "WintunDeleteDriver",
                                      "WintunEndSession",
                                      "WintunGetAdapterLUID",
                                      "WintunGetReadWaitEvent",
                                      "WintunGetRunningDriverVersion",
                                      "WintunOpenAdapter",
                                      "WintunReceivePacket",
                                      "WintunReleaseReceivePacket",
                                      "WintunSendPacket",
                                      "WintunSetLogger",
                                      "WintunStartSession"};
    struct api api;
    char name[128];
    unsigned count = 0;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    for (size_t i = 0; i < ARRAYSIZE(old); i++)
        if (win32_symbol(api.module, old[i]) == NULL)
            check_fail(__FILE__, __LINE__, "%s is not exported", old[i]);
    CHECK(win32_symbol(api.module, "WintunGetAdapterLuid") == NULL);
    FILE *file = fopen("api/wintun.def", "r");
    CHECK(file != NULL);
    for (; next_name(file, name, sizeof(name)); count++)
        if (win32_symbol(api.module, name) == NULL)
            check_fail(__FILE__, __LINE__, "%s is not exported", name);
    fclose(file);
    CHECK_EQ(count, sizeof(WINTUN_API) / sizeof(void *));
    api_end(&api);
    api_shutdown();
}

TEST(loader_finds_every_function)
{
    /* wintun-loader.h */
    struct api api;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    for (size_t i = 0; i < sizeof(WINTUN_API) / sizeof(void *); i++)
        CHECK(((void **)&api.f)[i] != NULL);
    CHECK(api.f.CreateAdapter == win32_symbol(api.module, "WintunCreateAdapter"));
    CHECK(api.f.SendPacket == win32_symbol(api.module, "WintunSendPacket"));
    CHECK(api.f.GetSendSpaceEvent == win32_symbol(api.module, "WintunGetSendSpaceEvent"));
    api_end(&api);
    api_shutdown();
}

static bool is_provided(const char *module, const char *name)
{
    const bool is_found = win32_provides(module, name);

    if (!is_found)
        fprintf(stderr, "%s!%s is not provided\n", module, name);
    return is_found;
}

TEST(every_import_is_provided)
{
    char line[256], module[64], name[128];
    unsigned count = 0, lacking = 0;
    FILE *file = fopen("api/kernel32.def", "r");

    CHECK(file != NULL);
    for (; next_name(file, name, sizeof(name)); count++)
        lacking += !is_provided("kernel32", name);
    fclose(file);
    CHECK(count > 40);
    file = fopen("api/system.h", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, " %*1[XO](%63[a-z0-9], %127[A-Za-z0-9_])", module, name) == 2) {
            lacking += !is_provided(module, name);
            count++;
        }
    fclose(file);
    CHECK(count > 100);
    CHECK_EQ(lacking, 0);
}
