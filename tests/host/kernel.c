/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The Ke, Ex and Rtl functions, called by a driver (drivers/ke.c) in every variant it is built in:
 * one thread at a time, with schedules from seeds, and freely. What each export expects is in the
 * driver, with the page that says so.
 */
#include "image.h"

static const struct nth_config machines[] = {
    {.mode = NTH_SERIAL},
    {.mode = NTH_SERIAL, .seed = 20261122},
    {.mode = NTH_PARALLEL},
    {.mode = NTH_PARALLEL, .relaxed_memory = true},
};

/* A machine of each kind in a process of its own, by the harness's fork: one per test name. */
static void run_on(int machine, const char *name)
{
    nth_boot(&machines[machine]);
    for (int v = 0; v < VARIANTS; v++) {
        struct nth_image *image = load_variant(variants[v], "ke");
        const uint32_t line = (uint32_t)CALL0(image, name);
        if (line)
            check_fail("tests/host/drivers/ke.c", (int)line, "%s, built as %s", name, variants[v]);
        nth_ledger_check((uintptr_t)nth_image_base(image), nth_image_size(image), "ke");
        /* stays loaded: a work item's routine may still be on its way out of it */
    }
    nth_shutdown();
}

#define SUBJECT(subject, name)                                                                     \
    TEST(subject##_serial)                                                                         \
    {                                                                                              \
        run_on(0, name);                                                                           \
    }                                                                                              \
    TEST(subject##_seeded)                                                                         \
    {                                                                                              \
        run_on(1, name);                                                                           \
    }                                                                                              \
    TEST(subject##_parallel)                                                                       \
    {                                                                                              \
        run_on(2, name);                                                                           \
    }                                                                                              \
    TEST(subject##_relaxed)                                                                        \
    {                                                                                              \
        run_on(3, name);                                                                           \
    }

SUBJECT(irql, "IrqlTest")
SUBJECT(event, "EventTest")
SUBJECT(semaphore, "SemaphoreTest")
SUBJECT(mutex, "MutexTest")
SUBJECT(wait_many, "WaitManyTest")
SUBJECT(spin, "SpinTest")
SUBJECT(reader_writer, "ReaderWriterTest")
SUBJECT(rundown, "RundownTest")
SUBJECT(resource, "ResourceTest")
SUBJECT(fast_mutex, "FastMutexTest")
SUBJECT(pool, "PoolTest")
SUBJECT(lookaside, "LookasideTest")
SUBJECT(list, "ListTest")
SUBJECT(dpc, "DpcTest")
SUBJECT(timer, "TimerTest")
SUBJECT(processor, "ProcessorTest")
SUBJECT(time, "TimeTest")
SUBJECT(string, "StringTest")
SUBJECT(guid, "GuidTest")
SUBJECT(bits, "BitTest")
SUBJECT(address, "AddressTest")
SUBJECT(format, "FormatTest")
SUBJECT(trace, "TraceTest")
SUBJECT(work, "WorkTest")
SUBJECT(extended_state, "StateTest")
SUBJECT(dpc_importance, "ImportanceTest")

/* nthost.h, nth_fault_arm: the n-th fallible call fails; it answers what its page says. */
TEST(fallible_calls_fail_on_demand)
{
    nth_boot(&machines[0]);
    struct nth_image *image = load_variant("msvc-O2", "ke");
    for (unsigned call = 0;; call++) {
        nth_fault_arm(~0U, 1);
        const uint32_t line = (uint32_t)CALL1(image, "FailingTest", call);
        if (line == UINT32_MAX)
            break;
        if (line)
            check_fail("tests/host/drivers/ke.c", (int)line, "call %u", call);
        CHECK(nth_fault_fired() && nth_fault_site() != NULL);
    }
    nth_fault_arm(~0U, 0);
    nth_ledger_check((uintptr_t)nth_image_base(image), nth_image_size(image), "ke");
    nth_shutdown();
}

/* "Overview of NDIS Versions": each NDIS version came with one release of Windows. */
TEST(version_follows_ndis_version)
{
    static const struct {
        uint32_t ndis, major, minor, build;
    } releases[] = {{0x60014, 6, 1, 7601},   {0x6001E, 6, 2, 9200},   {0x60028, 6, 3, 9600},
                    {0x60032, 10, 0, 10240}, {0x60054, 10, 0, 19041}, {0x60059, 10, 0, 26100}};

    for (size_t i = 0; i < sizeof(releases) / sizeof(releases[0]); i++) {
        const struct nth_config config = {.mode = NTH_SERIAL, .ndis_version = releases[i].ndis};
        nth_boot(&config);
        struct nth_image *image = load_variant("msvc-O2", "ke");
        CHECK_EQ((uint32_t)CALL4(image, "VersionTest", releases[i].major, releases[i].minor,
                                 releases[i].build, 0),
                 0);
        nth_image_unload(image);
        nth_shutdown();
    }
}

static void set_flag(void *flag)
{
    nth_yield();
    *(volatile LONG *)flag = 1;
}

static void spin_for_other(enum nth_mode mode, uint32_t seed)
{
    const struct nth_config config = {.mode = mode, .seed = seed};
    volatile LONG flag = 0;

    nth_boot(&config);
    struct nth_image *image = load_variant("gnu-O2", "ke");
    struct nth_thread *other = nth_spawn("other", set_flag, (void *)&flag);
    CHECK_EQ(CALL1(image, "SpinForOther", (uintptr_t)&flag), 0);
    nth_join(other);
    nth_shutdown();
}

/* Drivers may spin on words of their own (InterlockedCompareExchange and the like): whoever they
 * wait for runs at last, also where only one thread runs at a time. */
TEST(spin_without_kernel_calls_serial)
{
    spin_for_other(NTH_SERIAL, 0);
}
TEST(spin_without_kernel_calls_seeded)
{
    spin_for_other(NTH_SERIAL, 3);
}
TEST(spin_without_kernel_calls_parallel)
{
    spin_for_other(NTH_PARALLEL, 0);
}
