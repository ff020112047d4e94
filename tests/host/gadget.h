/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What the tests of I/O, memory and devices share: a machine with the gadget driver in it, and a
 * user process that makes requests. The driver binary is that of NTH_VARIANT (gnu-O2 when unset).
 */
#pragma once

#include "drivers/gadget.h"
#include "nt/nt.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

struct gadget_script TestScript;
NTH_EXPORT_AS(TestScript, "TestScript", &TestScript, NTH_DATA);
#define S TestScript

static struct nth_driver *gadget;

static __attribute__((unused)) const char *gadget_path(void)
{
    static char path[128];
    const char *variant = getenv("NTH_VARIANT");

    snprintf(path, sizeof(path), "out/drivers/%s/gadget.sys", variant ? variant : "gnu-O2");
    return path;
}

static __attribute__((unused)) void boot_only(void)
{
    nth_boot(&(struct nth_config){.mode = NTH_SERIAL});
}

static __attribute__((unused)) void boot(void)
{
    boot_only();
    CHECK_STATUS(nth_driver_load(gadget_path(), "gadget", &gadget), STATUS_SUCCESS);
}

static __attribute__((unused)) uint64_t act(ULONG what, uint64_t a, uint64_t b, uint64_t c)
{
    return S.Act(what, a, b, c);
}

/* Has the driver call a kernel function that it does not import. */
static __attribute__((unused)) uint64_t invoke(const char *name, const ULONG_PTR arguments[8])
{
    void *function = nth_export_find(name);

    CHECK(function != NULL);
    return act(ACT_INVOKE, (uintptr_t)function, (uintptr_t)arguments, 0);
}

/* ---- a user process: its calls are made between enter and leave ---- */

static __attribute__((unused)) struct nth_process *process_new(void)
{
    return nth_process_create("client", NTH_TOKEN_ADMIN, false);
}

static __attribute__((unused)) void wide(UNICODE_STRING *string, WCHAR *buffer, const char *text)
{
    unsigned n = 0;

    for (; text[n]; n++)
        buffer[n] = (unsigned char)text[n];
    *string = (UNICODE_STRING){
        .Length = (USHORT)(n * 2), .MaximumLength = (USHORT)(n * 2), .Buffer = buffer};
}

static __attribute__((unused)) NTSTATUS open_path(const char *path, ACCESS_MASK access,
                                                  ULONG options, HANDLE *handle)
{
    WCHAR buffer[256];
    UNICODE_STRING name;

    wide(&name, buffer, path);
    return nth_io_create(&name, access, FILE_SHARE_READ | FILE_SHARE_WRITE, options, false, handle);
}

static __attribute__((unused)) HANDLE open_gadget(ULONG options)
{
    HANDLE handle = NULL;

    CHECK_STATUS(
        open_path("\\??\\Gadget", GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, options, &handle),
        STATUS_SUCCESS);
    return handle;
}
