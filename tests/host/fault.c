/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Failures on demand and the ledger, as nthost.h and core.h promise them.
 */
#include "image.h"

#include <pthread.h>

static bool failed;
static void (*in_nothing)(void);

/* Stands for a fallible kernel function. */
static ULONG_PTR NTAPI TestNothing(ULONG_PTR argument)
{
    if (in_nothing)
        in_nothing();
    failed = nth_fault((enum nth_fault_kind)argument, "TestNothing");
    return 0;
}
NTH_EXPORT(TestNothing, 1);

static ULONG_PTR NTAPI TestCall(ULONG_PTR(NTAPI *routine)(ULONG_PTR), ULONG_PTR argument)
{
    return routine(argument);
}
NTH_EXPORT(TestCall, 2);

static struct nth_image *image;

static bool call(enum nth_fault_kind kind)
{
    CALL1(image, "Tail", kind);
    return failed;
}

static void start(void)
{
    boot(NTH_PARALLEL);
    image = load_variant("gnu-O2", "imports");
}

/* nthost.h: the n-th fallible call from now on fails, n counted from 1; 0: none. */
TEST(fault_nth_call_fails)
{
    start();
    for (unsigned n = 0; n < 6; n++) {
        nth_fault_arm(~0u, n);
        CHECK(!nth_fault_fired() && nth_fault_site() == NULL);
        for (unsigned i = 1; i <= 5; i++)
            CHECK_EQ(call(NTH_FAULT_POOL), i == n);
        CHECK_EQ(nth_fault_seen(), 5);
        CHECK_EQ(nth_fault_fired(), n >= 1 && n <= 5);
    }
    nth_fault_arm(~0u, 1);
    call(NTH_FAULT_MDL);
    CHECK_STR(nth_fault_site(), "TestNothing");
}

/* nthost.h: only the kinds of the mask count. */
TEST(fault_counts_kinds_of_the_mask)
{
    start();
    nth_fault_arm(1u << NTH_FAULT_MAP, 2);
    CHECK(!call(NTH_FAULT_POOL));
    CHECK(!call(NTH_FAULT_MAP));
    CHECK(!call(NTH_FAULT_THREAD));
    CHECK(call(NTH_FAULT_MAP));
    CHECK_EQ(nth_fault_seen(), 2);
}

/* nthost.h: calls made by a driver; the host's own work never fails on demand. */
TEST(fault_spares_the_host)
{
    start();
    nth_fault_arm(~0u, 1);
    CHECK(!nth_fault(NTH_FAULT_POOL, "host"));
    CHECK_EQ(nth_fault_seen(), 0);
    CHECK(call(NTH_FAULT_POOL));
}

/* ---- ledger ---- */

TEST(ledger_keeps_what_is_held)
{
    static char objects[1000];

    start();
    for (size_t i = 0; i < sizeof objects; i++)
        nth_ledger_add(i & 1 ? "pool" : "mdl", &objects[i], i, 0);
    nth_ledger_add("mdl", &objects[1], 5, 0); /* another kind at the same address */
    CHECK(nth_ledger_has("pool", &objects[1]) && nth_ledger_has("mdl", &objects[1]));
    CHECK(!nth_ledger_has("pool", &objects[2]));
    CHECK_EQ(nth_ledger_bytes("pool"), 250000);
    CHECK_EQ(nth_ledger_bytes("mdl"), 249500 + 5);
    CHECK_EQ(nth_ledger_bytes(NULL), 499505);
    for (size_t i = 0; i < sizeof objects; i++)
        nth_ledger_remove(i & 1 ? "pool" : "mdl", &objects[i]);
    CHECK_EQ(nth_ledger_bytes(NULL), 5);
    nth_ledger_remove("mdl", &objects[1]);
    nth_ledger_check(0, SIZE_MAX, "nobody");
    nth_shutdown();
}

static void add_pool(void)
{
    nth_ledger_add("pool", (void *)0x1234, 100, 0);
}

/* core.h: owner 0 is the call site, so that what a driver made is found under its image. */
TEST(ledger_leak_of_a_driver_stops)
{
    start();
    in_nothing = add_pool;
    nth_expect_stop("leak");
    call(NTH_FAULT_POOL);
    const uintptr_t base = (uintptr_t)nth_image_base(image);
    nth_ledger_check(base + nth_image_size(image), SIZE_MAX / 2, "another driver");
    nth_ledger_check(base, nth_image_size(image), "imports.sys");
    CHECK(false);
}

/* What is left of any owner at shutdown. */
TEST(ledger_leak_at_shutdown_stops)
{
    start();
    nth_expect_stop("leak");
    add_pool();
    nth_shutdown();
    CHECK(false);
}

/* Bug check 0xC2: giving back twice. */
TEST(ledger_giving_back_twice_stops)
{
    start();
    add_pool();
    nth_ledger_remove("pool", (void *)0x1234);
    nth_expect_stop("double-free");
    nth_ledger_remove("pool", (void *)0x1234);
    CHECK(false);
}

enum { THREADS = 4, OBJECTS = 20000 };

static void *use_ledger(void *context)
{
    const uintptr_t first = (uintptr_t)context;

    for (uintptr_t round = 0; round < 3; round++) {
        for (uintptr_t i = 0; i < OBJECTS; i++)
            nth_ledger_add("pool", (void *)(first + i * 16), 1, 1);
        for (uintptr_t i = 0; i < OBJECTS; i++)
            nth_ledger_remove("pool", (void *)(first + i * 16));
    }
    return NULL;
}

TEST(ledger_is_used_by_many_threads)
{
    pthread_t threads[THREADS];

    start();
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, use_ledger, (void *)((i + 1) << 32));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(nth_ledger_bytes(NULL), 0);
}

/* ---- boot ---- */

static char order[64];

#define LEVEL(ident, level)                                                                        \
    static void boot_##ident(const struct nth_config *config)                                      \
    {                                                                                              \
        strcat(order, "+" #ident);                                                                 \
    }                                                                                              \
    static void shutdown_##ident(void)                                                             \
    {                                                                                              \
        strcat(order, "-" #ident);                                                                 \
    }                                                                                              \
    NTH_SUBSYSTEM(ident, level, boot_##ident, shutdown_##ident)

LEVEL(c, 60);
LEVEL(a, 1);
LEVEL(b, 45);

/* core.h: subsystems boot in rising level and shut down in falling level. */
TEST(machine_boots_and_shuts_down_by_level)
{
    const struct nth_config config = {.mode = NTH_PARALLEL, .ndis_version = 0x6001e};

    nth_boot(&config);
    CHECK_STR(order, "+a+b+c");
    CHECK_EQ(nth_config.processors, 4);
    CHECK_EQ(nth_config.ndis_version, 0x6001e);
    nth_shutdown();
    CHECK_STR(order, "+a+b+c-c-b-a");
}

/* nthost.h: 0 means four processors, and NDIS 6.89. */
TEST(machine_has_defaults)
{
    boot(NTH_SERIAL);
    CHECK_EQ(nth_cpu_count(), 4);
    CHECK_EQ(nth_config.ndis_version, 0x60059);
}
