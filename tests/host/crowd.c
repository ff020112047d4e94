/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Many threads at once: requests, cancellation, handles, process death, removal and unload, in
 * parallel and by seeded schedules. Every run must end with nothing lost, leaked or done twice.
 */
#include "gadget.h"

struct reader {
    struct nth_process *process;
    HANDLE file; /* NULL: one of its own per round */
    uint8_t *page;
    unsigned rounds;
};

static _Atomic bool is_over;

static void start_with(enum nth_mode mode, uint32_t seed)
{
    is_over = false;
    S = (struct gadget_script){0};
    nth_boot(&(struct nth_config){.mode = mode, .seed = seed});
    CHECK_STATUS(nth_driver_load(gadget_path(), "gadget", &gadget), STATUS_SUCCESS);
    S.Mode[IRP_MJ_READ] = GADGET_QUEUE;
}

static void complete_all(void *context)
{
    while (!is_over)
        act(ACT_COMPLETE_NEXT, 0, 0, 0);
}

/* Reads asynchronously, cancels one, closes with reads pending. */
static void read_and_cancel(void *context)
{
    struct reader *reader = context;
    IO_STATUS_BLOCK *iosb = (IO_STATUS_BLOCK *)reader->page;

    for (unsigned i = 0; i < reader->rounds; i++) {
        if (!nth_process_enter(reader->process))
            return;
        HANDLE file;
        if (NT_SUCCESS(open_path("\\??\\Gadget", GENERIC_READ | SYNCHRONIZE, 0, &file))) {
            for (unsigned k = 0; k < 4; k++)
                nth_io_read(file, NULL, NULL, iosb + k, reader->page + 2048, 16);
            nth_io_cancel(file, iosb + i % 4);
            nth_handle_close(reader->process, file);
        }
        nth_process_leave();
    }
}

/* Blocks in synchronous reads until its process dies. */
static void read_until_death(void *context)
{
    struct reader *reader = context;
    HANDLE file;

    while (nth_process_enter(reader->process)) {
        if (NT_SUCCESS(open_path("\\??\\Gadget", GENERIC_READ | SYNCHRONIZE,
                                 FILE_SYNCHRONOUS_IO_NONALERT, &file))) {
            nth_io_read(file, NULL, NULL, (IO_STATUS_BLOCK *)reader->page, reader->page + 2048, 16);
            nth_handle_close(reader->process, file);
        }
        nth_process_leave();
    }
}

static struct reader reader_new(unsigned rounds)
{
    struct reader reader = {.process = process_new(), .rounds = rounds};

    reader.page = nth_user_alloc(reader.process, 4096);
    CHECK(reader.page != NULL);
    return reader;
}

static void requests(enum nth_mode mode, uint32_t seed)
{
    struct nth_thread *threads[3], *completer;
    struct reader readers[3];

    start_with(mode, seed);
    completer = nth_spawn("completer", complete_all, NULL);
    for (unsigned i = 0; i < 3; i++) {
        readers[i] = reader_new(60);
        threads[i] = nth_spawn("reader", read_and_cancel, &readers[i]);
    }
    for (unsigned i = 0; i < 3; i++)
        nth_join(threads[i]);
    is_over = true;
    nth_join(completer);
    for (unsigned i = 0; i < 3; i++) {
        nth_process_kill(readers[i].process);
        nth_object_release(readers[i].process);
    }
    CHECK_EQ(S.Major[IRP_MJ_CLEANUP], S.Major[IRP_MJ_CLOSE]);
    nth_shutdown();
}

static void deaths(enum nth_mode mode, uint32_t seed)
{
    struct nth_thread *threads[2], *completer;

    start_with(mode, seed);
    completer = nth_spawn("completer", complete_all, NULL);
    for (unsigned round = 0; round < 20; round++) {
        struct reader reader = reader_new(1000);
        threads[0] = nth_spawn("blocker", read_until_death, &reader);
        threads[1] = nth_spawn("reader", read_and_cancel, &reader);
        for (unsigned i = 0; i < round * 7; i++)
            act(ACT_COMPLETE_NEXT, 0, 0, 0);
        nth_process_kill(reader.process);
        nth_join(threads[0]);
        nth_join(threads[1]);
        nth_object_release(reader.process);
    }
    is_over = true;
    nth_join(completer);
    nth_shutdown();
}

static void open_and_close(void *context)
{
    HANDLE handle;

    while (!is_over) {
        if (NT_SUCCESS(open_path("\\Device\\Gadget", FILE_READ_DATA, 0, &handle)))
            nth_handle_close(nth_process_current(), handle);
        nth_point(); /* no driver code runs while the device is gone */
    }
}

/* The driver is unloaded and loaded again under two threads that open and close its device. */
static void unloads(enum nth_mode mode, uint32_t seed)
{
    struct nth_thread *threads[2];

    start_with(mode, seed);
    for (unsigned i = 0; i < 2; i++)
        threads[i] = nth_spawn("opener", open_and_close, NULL);
    for (unsigned round = 0; round < 20; round++) {
        CHECK(NT_SUCCESS(nth_driver_unload(gadget)));
        while (nth_driver_load(gadget_path(), "gadget", &gadget) != STATUS_SUCCESS)
            nth_point();
    }
    is_over = true;
    for (unsigned i = 0; i < 2; i++)
        nth_join(threads[i]);
    nth_shutdown();
    CHECK_EQ(S.Unloads, 21);
}

#define BY_SCHEDULE(name)                                                                          \
    TEST(name##_in_parallel)                                                                       \
    {                                                                                              \
        name(NTH_PARALLEL, 0);                                                                     \
    }                                                                                              \
    TEST(name##_by_schedules)                                                                      \
    {                                                                                              \
        for (uint32_t seed = 1; seed <= 4; seed++)                                                 \
            name(NTH_SERIAL, seed);                                                                \
    }

/* IoCancelIrp, IRP_MJ_CLEANUP: each request is completed exactly once. */
BY_SCHEDULE(requests)
/* Process death in the middle of synchronous and asynchronous requests. */
BY_SCHEDULE(deaths)
/* DRIVER_UNLOAD: never while a file is open; the image is never unmapped under a running routine.
 */
BY_SCHEDULE(unloads)
