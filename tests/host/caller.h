/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * For tests that call kernel functions as a driver does: caller.sys loaded in a machine, and any
 * exported function called from its code.
 */
#pragma once

#include "check.h"
#include "client/client.h"
#include "drivers/caller.h"
#include "nt/io.h"

#include <stdlib.h>

static struct nth_driver *caller;

static inline void boot_with(const struct nth_config *config, const char *variant)
{
    char path[128];

    nth_boot(config);
    snprintf(path, sizeof(path), "out/drivers/%s/caller.sys", variant);
    CHECK_STATUS(nth_driver_load(path, "Caller", &caller), STATUS_SUCCESS);
}

static inline void boot(void)
{
    const char *variant = getenv("TEST_VARIANT");

    boot_with(&(struct nth_config){.mode = NTH_SERIAL}, variant != NULL ? variant : "gnu-O2");
}

static inline void unload(void)
{
    CHECK_STATUS(nth_driver_unload(caller), STATUS_SUCCESS);
    nth_shutdown();
}

/* The same with the driver as each compiler and optimisation builds it. */
static inline void in_every_build(void (*run)(void))
{
    static const char *const builds[] = {"gnu-O0", "gnu-O2", "msvc-O0", "msvc-O2"};

    for (unsigned i = 0; i < 4; i++) {
        boot_with(&(struct nth_config){.mode = NTH_SERIAL}, builds[i]);
        run();
        unload();
    }
}

/* Address of a routine in the driver. */
static inline void *routine(const char *name)
{
    void *address = nth_image_export(caller->image, name);

    if (address == NULL)
        check_fail(__FILE__, __LINE__, "caller.sys does not export %s", name);
    return address;
}

static inline uint64_t call_array(const char *how, const char *name, const uint64_t *arguments)
{
    uint64_t(NTAPI * call)(void *, const uint64_t *) =
        (uint64_t(NTAPI *)(void *, const uint64_t *))routine(how);
    void *function = nth_export_find(name);

    if (function == NULL)
        check_fail(__FILE__, __LINE__, "nothing exports %s", name);
    return call(function, arguments);
}

#define ARGUMENT(x) ((uint64_t)(x))
/* Calls the kernel function of that name from the driver, with integer or pointer arguments. */
#define CALL(name, ...)        call_array("Call", name, (const uint64_t[12]){__VA_ARGS__})
#define CALL_RAISED(name, ...) call_array("CallRaised", name, (const uint64_t[12]){__VA_ARGS__})
#define P(pointer)             ((uint64_t)(uintptr_t)(pointer))

static inline unsigned log_count(void)
{
    return ((ULONG(NTAPI *)(void))routine("LogCount"))();
}

static inline const struct caller_entry *log_at(unsigned index)
{
    return ((const struct caller_entry *(NTAPI *)(ULONG))routine("LogAt"))(index);
}

/* The n-th entry of that kind, from 0; NULL when there is none. */
static inline const struct caller_entry *log_find(ULONG what, unsigned n)
{
    for (unsigned i = 0; i < log_count(); i++)
        if (log_at(i)->What == what && n-- == 0)
            return log_at(i);
    return NULL;
}

static inline struct client *program(enum client_token token)
{
    struct client *client =
        client_create(&(struct client_config){.name = "program", .token = token});

    CHECK(client != NULL);
    return client;
}

static inline client_handle open_caller(struct client *client, unsigned flags)
{
    client_handle handle = 0;

    CHECK_STATUS(client_open(client, "\\\\.\\Caller", CLIENT_READ | CLIENT_WRITE | flags, &handle),
                 STATUS_SUCCESS);
    return handle;
}
