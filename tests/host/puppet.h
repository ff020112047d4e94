/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * For tests of ndis/: a machine with the puppet miniport, its script, and calls of NDIS functions
 * from inside the driver.
 */
#pragma once

#include "check.h"
#include "drivers/puppet.h"
#include "edge/mem.h"
#include "nt/nt.h"

#include <stdlib.h>
#include <unistd.h>

static struct puppet_script TestScript;
NTH_EXPORT_AS(TestScript, "TestScript", &TestScript, NTH_DATA);
#define S TestScript

/* Which compiler built the puppet: tests that say nothing take this one, or PUPPET_VARIANT. */
static const char *puppet_variant = "gnu-O2";

static inline void choose_variant(void)
{
    const char *chosen = getenv("PUPPET_VARIANT");

    if (chosen)
        puppet_variant = chosen;
}

/* All tests of the program once more with the driver of another compiler or optimisation. Sanitised
 * hosts leave that to the plain one: it is about the driver. */
static inline void run_again(const char *variant)
{
    char command[192], self[128] = {0};

    if (getenv("PUPPET_VARIANT"))
        return;
    CHECK(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    snprintf(command, sizeof(command), "PUPPET_VARIANT=%s '%s' >/dev/null", variant, self);
    CHECK_EQ(system(command), 0);
}

#if !defined(NTH_TSAN) && !defined(NTH_ASAN)
TEST(everything_holds_with_gnu_unoptimised)
{
    run_again("gnu-O0");
}

TEST(everything_holds_with_msvc_unoptimised)
{
    run_again("msvc-O0");
}

TEST(everything_holds_with_msvc_optimised)
{
    run_again("msvc-O2");
}
#endif

static inline void boot_with(struct nth_config config)
{
    choose_variant();
    memset(&S, 0, sizeof(S));
    S.MediaType = NdisMediumIP;
    S.AttributeFlags =
        NDIS_MINIPORT_ATTRIBUTES_NO_HALT_ON_SUSPEND | NDIS_MINIPORT_ATTRIBUTES_SURPRISE_REMOVE_OK;
    nth_boot(&config);
}

static inline void boot(void)
{
    boot_with((struct nth_config){.mode = NTH_SERIAL});
}

static inline NTSTATUS load(struct nth_driver **driver)
{
    char path[128];

    snprintf(path, sizeof(path), "out/drivers/%s/puppet.sys", puppet_variant);
    return nth_driver_load(path, "puppet", driver);
}

struct puppet {
    struct nth_driver *driver;
    struct nth_device *device;
    struct nth_adapter *adapter;
};

static inline struct puppet plug_with(const struct nth_device_config *config)
{
    struct puppet p = {0};

    CHECK_STATUS(load(&p.driver), STATUS_SUCCESS);
    CHECK_STATUS(nth_plug(p.driver, config, &p.device), STATUS_SUCCESS);
    p.adapter = nth_adapter_of(p.device);
    CHECK(p.adapter);
    return p;
}

static inline struct puppet plug(void)
{
    return plug_with(NULL);
}

static inline void unplug(struct puppet *p)
{
    CHECK_STATUS(nth_unplug(p->device), STATUS_SUCCESS);
    CHECK_STATUS(nth_driver_unload(p->driver), STATUS_SUCCESS);
    nth_shutdown();
}

static inline void *import(const char *name)
{
    for (ULONG i = 0; i < S.ImportCount; i++)
        if (strcmp(S.Imports[i].Name, name) == 0)
            return S.Imports[i].Function;
    check_fail(__FILE__, __LINE__, "the puppet does not import %s", name);
}

/* Calls the function from driver code; up to six parameters, as 64-bit integers. */
#define CALL(name, ...)  S.Call(import(#name), (const ULONG64[6]){__VA_ARGS__})
#define P(pointer)       ((ULONG64)(uintptr_t)(pointer))
#define PTR(value)       ((void *)(uintptr_t)(value))
#define STATUS_OF(value) ((NDIS_STATUS)(uint32_t)(value))

/* ---- lists of the driver ---- */

static inline NDIS_HANDLE make_pool(NDIS_HANDLE owner)
{
    NET_BUFFER_LIST_POOL_PARAMETERS p = {
        .Header = {NDIS_OBJECT_TYPE_DEFAULT, NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1,
                   NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1},
        .fAllocateNetBuffer = TRUE,
        .PoolTag = 0x74736554,
    };

    return PTR(CALL(NdisAllocateNetBufferListPool, P(owner), P(&p)));
}

struct packet {
    NET_BUFFER_LIST *list;
    MDL *mdl;
    void *memory;
};

/* One list with one buffer: a packet of that IP version. */
static inline struct packet make_packet(NDIS_HANDLE pool, unsigned version, ULONG bytes)
{
    struct packet p = {.memory = calloc(1, bytes)};

    memset(p.memory, 0x5A, bytes);
    *(UCHAR *)p.memory = (UCHAR)(version << 4 | 5);
    p.mdl = PTR(CALL(NdisAllocateMdl, P(S.Adapter), P(p.memory), bytes));
    CHECK(p.mdl);
    p.list = PTR(CALL(NdisAllocateNetBufferAndNetBufferList, P(pool), 0, 0, P(p.mdl), 0, bytes));
    CHECK(p.list);
    p.list->SourceHandle = S.Adapter;
    NET_BUFFER_LIST_INFO(p.list, NetBufferListFrameType) = PTR(version == 4   ? 0x0008
                                                               : version == 6 ? 0xDD86
                                                                              : 0);
    return p;
}

static inline void free_packet(struct packet *p)
{
    CALL(NdisFreeNetBufferList, P(p->list));
    CALL(NdisFreeMdl, P(p->mdl));
    free(p->memory);
}

static inline void indicate(NET_BUFFER_LIST *lists, ULONG count, ULONG flags)
{
    CALL(NdisMIndicateReceiveNetBufferLists, P(S.Adapter), P(lists), 0, count, flags);
}
