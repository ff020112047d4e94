/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Instrumented drivers: in the build with address checks, faults of the driver's memory use are
 * found and sound code is left alone; in the build with race checks, races are. In the plain build
 * such a driver is refused by the name of what it lacks.
 */
#include "image.h"

#include <pthread.h>
#include <stdlib.h>

static uint8_t *NTAPI TestAllocate(size_t bytes)
{
    return calloc(1, bytes);
}
NTH_EXPORT(TestAllocate, 1);

static void NTAPI TestFree(void *block)
{
    free(block);
}
NTH_EXPORT(TestFree, 1);

static void NTAPI TestRaise(LONG status)
{
    if (status)
        nth_raise(status, 0, NULL);
}
NTH_EXPORT(TestRaise, 1);

#define NO_MEMORY 0xC0000017

#ifdef NTH_ASAN

static struct nth_image *start(void)
{
    boot(NTH_PARALLEL);
    return load_variant("asan", "sanitize");
}

/* Accesses that are right up to the last byte. */
TEST(address_check_leaves_sound_code_alone)
{
    struct nth_image *image = start();
    for (int i = 0; i < 20; i++)
        CHECK_EQ((int32_t)CALL1(image, "Heap", i), 0);
    for (int i = 0; i < 16; i++)
        CHECK_EQ((int32_t)CALL1(image, "Stack", i), 0);
    for (int i = 0; i < 24; i++)
        CHECK_EQ((int32_t)CALL1(image, "Global", i), 0);
    for (int i = 0; i <= 20; i++) {
        CALL1(image, "HeapCopy", i);
        CALL1(image, "HeapFill", i);
    }
    for (int i = 0; i <= 12; i++)
        CALL1(image, "Straddle", i);
    CALL1(image, "HeapStruct", 28);
}

/* Frames left by an exception leave nothing poisoned behind. */
TEST(address_check_survives_exceptions)
{
    struct nth_image *image = start();
    for (int i = 0; i < 1000; i++) {
        CHECK_EQ((int32_t)CALL1(image, "StackAfterException", NO_MEMORY), 7);
        CHECK_EQ((int32_t)CALL1(image, "Stack", i & 15), 0);
    }
    CHECK_EQ((int32_t)CALL4(image, "Catch", NO_MEMORY, 1000, 0, 0), 1000);
}

/* An unloaded driver's globals leave nothing poisoned for what is mapped there next. */
TEST(address_check_forgets_unloaded_images)
{
    boot(NTH_PARALLEL);
    for (int i = 0; i < 100; i++) {
        struct nth_image *image = load_variant("asan", "sanitize");
        CHECK_EQ((int32_t)CALL1(image, "Global", 23), 0);
        nth_image_unload(image);
    }
}

#define FOUND(test, name, argument)                                                                \
    TEST(address_check_finds_##test)                                                               \
    {                                                                                              \
        struct nth_image *image = start();                                                         \
        nth_expect_stop("address-check");                                                          \
        CALL1(image, name, argument);                                                              \
        CHECK(false);                                                                              \
    }

/* AddressSanitizer: red zones around heap blocks, stack variables and globals; freed blocks. */
FOUND(read_after_heap_block, "Heap", 20)
FOUND(read_before_heap_block, "Heap", -1)
FOUND(read_of_freed_block, "HeapFreed", 0)
FOUND(copy_beyond_heap_block, "HeapCopy", 21)
FOUND(fill_beyond_heap_block, "HeapFill", 21)
FOUND(structure_beyond_heap_block, "HeapStruct", 20)
FOUND(access_across_end_of_block, "Straddle", 13)
FOUND(read_after_stack_array, "Stack", 16)
FOUND(read_before_stack_array, "Stack", -1)
FOUND(read_after_global, "Global", 24)

/* SanitizerCoverage: a counter per edge, in the image; each is zero until it is taken. */
TEST(coverage_counts_edges_taken)
{
    unsigned total, before;

    boot(NTH_PARALLEL);
    struct nth_image *image = load_variant("cov", "sanitize");
    before = nth_coverage_count(&total);
    CHECK(total > 20 && before < total / 2);
    CHECK_EQ((int32_t)CALL4(image, "Magic", "no", 2, 0, 0), 0);
    const unsigned refused = nth_coverage_count(&total);
    CHECK(refused > before);
    CHECK_EQ((int32_t)CALL4(image, "Magic", "WiNTUN", 6, 0, 0), 1);
    CHECK(nth_coverage_count(&total) > refused);
    nth_image_unload(image);
    CHECK_EQ(nth_coverage_count(&total), 0);
    CHECK_EQ(total, 0);
}

/* A fault is the driver's also when the check, not the access, would meet it. */
TEST(address_check_leaves_wild_addresses_to_the_fault)
{
    struct nth_image *image = start();
    nth_expect_stop("page-fault");
    CALL4(image, "Magic", 0xffffa00000001000, 10, 0, 0);
    CHECK(false);
}

#elif defined(NTH_TSAN)

static int reports;

/* Called by the run-time for each race, under its locks. */
void __tsan_on_report(void *report);
NTH_UNWATCHED void __tsan_on_report(void *report)
{
    reports++;
}

/* Here a race is what is looked for: the process goes on. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "halt_on_error=0:exitcode=0";
}

static struct nth_image *image;

struct call {
    const char *name;
    uint64_t argument;
};

static void *make_call(void *context)
{
    const struct call *call = context;

    nth_pe_thread_init();
    CALL1(image, call->name, call->argument);
    return NULL;
}

/* Runs two exports at once. Number of reports. */
static int race(const char *first, const char *second, uint64_t argument)
{
    struct call calls[2] = {{first, argument}, {second, argument}};
    pthread_t threads[2];

    reports = 0;
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, make_call, &calls[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    return reports;
}

TEST(race_check_leaves_atomics_alone)
{
    boot(NTH_PARALLEL);
    image = load_variant("tsan", "sanitize");
    CHECK_EQ(race("Atomic", "Atomic", 10000), 0);
    CHECK_EQ(race("Consume", "Publish", 0), 0);
}

TEST(race_check_finds_races)
{
    boot(NTH_PARALLEL);
    image = load_variant("tsan", "sanitize");
    CHECK(race("Plain", "Plain", 10000) > 0);
    CHECK(race("ConsumePlain", "PublishPlain", 0) > 0);
}

/* The run-time keeps a stack of its own for each thread: exceptions must leave it as it was. */
TEST(race_check_survives_exceptions)
{
    boot(NTH_PARALLEL);
    image = load_variant("tsan", "sanitize");
    reports = 0;
    for (int i = 0; i < 20; i++)
        CHECK_EQ((int32_t)CALL4(image, "Catch", NO_MEMORY, 10000, 0, 0), 10000);
    CHECK_EQ(reports, 0);
}

#else

/* sanitize.c: a driver whose instrumentation this host does not answer names what is missing. */
TEST(instrumented_driver_needs_its_run_time)
{
    boot(NTH_PARALLEL);
    nth_expect_stop("unresolved-import");
    load_variant("asan", "sanitize");
    CHECK(false);
}

#endif
