/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A program that tests/host/client.c starts as a Linux child: the first argument says what it does.
 * Exit code 0 means that everything was as it should be; any other number is the line that was not.
 */
#include "client/client.h"

#include "../drivers/caller_codes.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "child: line %d: %s\n", __LINE__, #condition);                         \
            exit(__LINE__ & 0x7f ? __LINE__ & 0x7f : 1);                                           \
        }                                                                                          \
    } while (0)

static const client_status pending = 0x103, timed_out = 0x102;
static struct client *client;

static client_handle open_device(unsigned flags)
{
    client_handle file = 0;

    EXPECT(client_open(client, "\\\\.\\Caller", CLIENT_READ | CLIENT_WRITE | flags, &file) == 0);
    return file;
}

/* Every call once. */
static int basic(void)
{
    client_handle event = 0, copy = 0, port = 0, none = 0;
    uint32_t transferred = 0;
    unsigned index = 9;
    uint64_t key = 0;
    struct client_io *done = NULL;
    char *memory = client_alloc(client, 5 * 4096);

    EXPECT(memory != NULL && memory[0] == 0);
    strcpy(memory, "hello");
    const client_handle file = open_device(0);
    EXPECT(client_control(client, file, CODE_ECHO, memory, 6, memory + 4096, 100, &transferred) ==
           0);
    EXPECT(transferred == 6 && strcmp(memory + 4096, "hello") == 0);
    EXPECT(client_open(client, "\\\\.\\Nothing", CLIENT_READ, &none) == (client_status)0xC0000034);
    EXPECT(client_event(client, true, false, &event) == 0);
    EXPECT(client_wait(client, &event, 1, 1000000, &index) == timed_out);
    EXPECT(client_event_set(client, event) == 0);
    EXPECT(client_wait(client, &event, 1, UINT64_MAX, &index) == 0 && index == 0);
    EXPECT(client_event_reset(client, event) == 0);
    EXPECT(client_wait(client, &event, 1, 0, &index) == timed_out);
    EXPECT(client_duplicate(client, event, client, &copy) == 0 && copy != event);
    EXPECT(client_event_set(client, copy) == 0);
    client_handle both[] = {file, event};
    EXPECT(client_wait(client, both + 1, 1, 0, &index) == 0);
    EXPECT(client_port(client, &port) == 0);
    const client_handle overlapped = open_device(CLIENT_OVERLAPPED);
    EXPECT(client_port_bind(client, port, overlapped, 42) == 0);
    struct client_io *io = (struct client_io *)(memory + 8192);
    EXPECT(client_control_start(client, overlapped, CODE_PEND, NULL, 0, NULL, 0, io) == pending);
    EXPECT(client_port_remove(client, port, 0, &key, &done) == timed_out);
    EXPECT(client_cancel(client, overlapped, io) == 0);
    EXPECT(client_port_remove(client, port, UINT64_MAX, &key, &done) == 0);
    EXPECT(key == 42 && done == io);
    EXPECT((uint32_t)io->status == 0xC0000120);
    EXPECT(client_protect(client, memory, 4096, true, false) == 0);
    EXPECT(client_close(client, overlapped) == 0 && client_close(client, file) == 0);
    EXPECT(client_close(client, file) == (client_status)0xC0000008);
    client_free(client, memory, 5 * 4096);
    return 0;
}

static void *run_echoes(void *context)
{
    const client_handle file = *(client_handle *)context;
    uint64_t *memory = client_alloc(client, 4096);

    EXPECT(memory != NULL);
    for (uint64_t i = 0; i < 200; i++) {
        memory[0] = i;
        EXPECT(client_control(client, file, CODE_ECHO, memory, 8, memory + 8, 8, NULL) == 0);
        EXPECT(memory[8] == i);
    }
    return NULL;
}

static int threads(void)
{
    client_handle file = open_device(CLIENT_OVERLAPPED);
    pthread_t thread[6];

    for (int round = 0; round < 50; round++) { /* more threads in all than connections at once */
        for (unsigned i = 0; i < 6; i++)
            EXPECT(pthread_create(&thread[i], NULL, run_echoes, &file) == 0);
        for (unsigned i = 0; i < 6; i++)
            pthread_join(thread[i], NULL);
    }
    return 0;
}

/* A request of a thread that ends is cancelled; the process lives on. */
static struct client_io *orphan;
static void *start_and_end(void *context)
{
    EXPECT(client_control_start(client, *(client_handle *)context, CODE_PEND, NULL, 0, NULL, 0,
                                orphan) == pending);
    return NULL;
}

static int thread_exit(void)
{
    client_handle file = open_device(CLIENT_OVERLAPPED), event = 0;
    pthread_t thread;

    orphan = client_alloc(client, 4096);
    EXPECT(client_event(client, false, false, &event) == 0);
    orphan->event = event;
    pthread_create(&thread, NULL, start_and_end, &file);
    pthread_join(thread, NULL);
    EXPECT(client_wait(client, &event, 1, 5000000000U, NULL) == 0);
    EXPECT((uint32_t)orphan->status == 0xC0000120);
    return 0;
}

static void *wait_for_ever(void *context)
{
    client_wait(client, context, 1, UINT64_MAX, NULL);
    return NULL;
}

/* Says that it is ready by the first byte on its output, with everything under way, then waits to
 * be killed. */
static int victim(void)
{
    const client_handle file = open_device(CLIENT_OVERLAPPED);
    char *memory = client_alloc(client, 16 * 4096);
    client_handle event = 0;
    pthread_t thread;

    EXPECT(client_control_start(client, file, CODE_PEND, NULL, 0, NULL, 0,
                                (struct client_io *)memory) == pending);
    EXPECT(client_control_start(client, file, CODE_PEND_DIRECT, NULL, 0, memory + 4096, 8192,
                                (struct client_io *)(memory + 64)) == pending);
    EXPECT(client_event(client, false, false, &event) == 0);
    pthread_create(&thread, NULL, wait_for_ever, &event);
    EXPECT(write(STDOUT_FILENO, "r", 1) == 1);
    const client_handle blocking = open_device(0);
    client_control(client, blocking, CODE_PEND, NULL, 0, NULL, 0, NULL);
    return 1; /* a request that nobody completes does not return */
}

static int latency(void)
{
    enum { CALLS = 20000 };
    client_handle event = 0;
    struct timespec begin, end;

    EXPECT(client_event(client, false, false, &event) == 0);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < CALLS; i++)
        client_event_set(client, event);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.1f us per call\n",
           ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) /
               CALLS / 1000);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } parts[] = {{"basic", basic},
                 {"threads", threads},
                 {"thread_exit", thread_exit},
                 {"victim", victim},
                 {"latency", latency}};

    client = client_create(&(struct client_config){.name = "child"});
    EXPECT(client != NULL);
    for (unsigned i = 0; argc > 1 && i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strcmp(argv[1], parts[i].name) == 0)
            return parts[i].run();
    return 99;
}
