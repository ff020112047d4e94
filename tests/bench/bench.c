/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Packets and bytes per second through a miniport, both directions, measured where they arrive: by
 * the client (ToUser), by the protocol (ToStack). Every case runs in a process and a machine of its
 * own, and is followed there by memcpy of the same bytes, which no driver that copies can beat.
 * What is measured includes the host's share of the work; compare lines of one run only.
 *
 * Environment: BENCH_MS (of each case, default 300), BENCH_DRIVERS:
 * PATH:INTERFACE[:DEVICE[:CONTROL]] measured beside ours, with blanks or commas between them;
 * INTERFACE is rings, bundle16, bundle4 or frames (one packet a read or write); in DEVICE %s is the
 * NetCfgInstanceId, and CONTROL is a control code that is sent with a ULONG 1 once it is open.
 * BENCH_ONLY: part of the names of cases to run.
 */
#include "client/client.h"
#include "client/ring.h"
#include "edge/edge.h"
#include "edge/ip.h"
#include "nthost.h"

#include <wintun-abi.h>

#include <errno.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, SLOTS = 128, BUNDLE = 0x80000, MAX_THREADS = 2, ETHERNET = 14 };
enum interface { RINGS, BUNDLE16, BUNDLE4, FRAMES, INTERFACES };

static const char *const interface_names[] = {"rings", "bundle16", "bundle4", "frames"};
/* What each carries at most: a record of 0xF000 bytes in bundles of 4, and what Ethernet has. */
static const size_t largest[] = {65535, 65535, 0xF000 - 4, 1514};

struct driver {
    char path[256], device[128];
    enum interface interface;
    uint32_t control;
};

struct bench {
    const struct driver *driver;
    bool to_user;
    size_t size;
    unsigned threads;
    struct nth_device *device;
    struct nth_adapter *adapter;
    struct client *client;
    client_handle file;
    struct ring_session *ring;
    struct nth_edge_pool *pool;
    _Atomic bool stop;
    _Atomic uint64_t packets;
};

struct result {
    uint64_t packets, ns, memcpy_ns; /* memcpy_ns: per packet, in thousandths */
    int64_t instructions;            /* -1: not known */
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static _Noreturn void give_up(const char *what, uint32_t status)
{
    fprintf(stderr, "bench: %s: 0x%08x\n", what, status);
    fflush(NULL);
    _exit(1);
}

/* ---- the protocol's side ---- */

static void count_received(void *context, NET_BUFFER_LIST *lists, ULONG count, ULONG flags)
{
    struct bench *b = context;

    atomic_fetch_add_explicit(&b->packets, count, memory_order_relaxed);
    if (!(flags & NDIS_RECEIVE_FLAGS_RESOURCES))
        nth_return(b->adapter, lists,
                   KeGetCurrentIrql() == DISPATCH_LEVEL ? NDIS_RETURN_FLAGS_DISPATCH_LEVEL : 0);
}

static void send_complete(void *context, NET_BUFFER_LIST *lists, ULONG flags)
{
    struct bench *b = context;

    nth_edge_pool_complete(b->pool, lists);
}

static void fill(uint8_t *packet, size_t size, bool ethernet)
{
    if (ethernet) {
        memset(packet, 2, ETHERNET);
        packet[12] = 0x08;
        packet[13] = 0x00;
        packet += ETHERNET;
        size -= ETHERNET;
    }
    nth_ip_make(packet, size, 4, (uint32_t)size);
}

/* Sends chains until told to stop; a chain that did not fit is followed by a pause. */
static void sender(void *context)
{
    struct bench *b = context;

    while (!atomic_load(&b->stop)) {
        NET_BUFFER_LIST *first = NULL, **link = &first;
        for (int i = 0; i < BATCH; i++) {
            struct nth_edge_slot *slot = nth_edge_slot_get(b->pool);
            if (!slot)
                break;
            nth_edge_slot_fill(slot, 0, b->size);
            *link = slot->list;
            link = &NET_BUFFER_LIST_NEXT_NBL(slot->list);
        }
        if (first)
            nth_send(b->adapter, first, 0);
        sched_yield(); /* the consumer may want this processor */
    }
}

/* Every slot's memory is made into a packet once; sending does not change it. */
static void fill_slots(struct bench *b)
{
    struct nth_edge_slot *taken[SLOTS];
    unsigned count = 0;

    for (struct nth_edge_slot *s; count < SLOTS && (s = nth_edge_slot_get(b->pool));)
        taken[count++] = s;
    for (unsigned i = 0; i < count; i++) {
        fill(taken[i]->data, b->size, b->driver->interface == FRAMES);
        nth_edge_slot_put(b->pool, taken[i]);
    }
}

/* ---- the client's side ---- */

static void ring_consumer(void *context)
{
    struct bench *b = context;
    const uint8_t *packet;
    uint32_t bytes;

    while (!atomic_load_explicit(&b->stop, memory_order_relaxed)) {
        uint64_t count = 0;
        while (count < BATCH && ring_receive(b->ring, &packet, &bytes) == RING_READY) {
            ring_release(b->ring, packet);
            count++;
        }
        atomic_fetch_add_explicit(&b->packets, count, memory_order_relaxed);
        if (!count)
            ring_wait(b->ring, 1000000);
    }
}

static void ring_producer(void *context)
{
    struct bench *b = context;
    uint8_t *original = malloc(b->size), *packet;

    fill(original, b->size, false);
    while (!atomic_load_explicit(&b->stop, memory_order_relaxed)) {
        const enum ring_state state = ring_allocate(b->ring, (uint32_t)b->size, &packet);
        if (state == RING_EMPTY) {
            sched_yield();
            continue;
        }
        if (state != RING_READY)
            give_up("ring ended", (uint32_t)state);
        memcpy(packet, original, b->size);
        ring_send(b->ring, packet);
    }
    free(original);
}

static size_t record_bytes(enum interface interface, size_t size)
{
    return interface == BUNDLE16  ? (16 + size + 15) & ~(size_t)15
           : interface == BUNDLE4 ? (4 + size + 3) & ~(size_t)3
                                  : size;
}

static uint64_t count_records(enum interface interface, const uint8_t *data, uint32_t bytes)
{
    uint64_t count = 0;

    if (interface == FRAMES)
        return 1;
    for (size_t at = 0; at + 4 <= bytes; count++) {
        uint32_t size;
        memcpy(&size, data + at, sizeof(size));
        at += record_bytes(interface, size);
    }
    return count;
}

static void file_consumer(void *context)
{
    struct bench *b = context;
    uint8_t *buffer = client_alloc(b->client, BUNDLE);
    uint32_t got = 0;

    while (!atomic_load_explicit(&b->stop, memory_order_relaxed)) {
        const client_status status = client_read(b->client, b->file, buffer, BUNDLE, &got);
        if (status < 0 && !atomic_load(&b->stop))
            give_up("read", (uint32_t)status);
        atomic_fetch_add_explicit(&b->packets, count_records(b->driver->interface, buffer, got),
                                  memory_order_relaxed);
    }
}

static void file_producer(void *context)
{
    struct bench *b = context;
    const enum interface interface = b->driver->interface;
    const size_t record = record_bytes(interface, b->size);
    const size_t count = interface == FRAMES ? 1 : BUNDLE / 2 / record ? BUNDLE / 2 / record : 1;
    uint8_t *buffer = client_alloc(b->client, BUNDLE);
    const uint32_t size = (uint32_t)b->size;

    for (size_t i = 0; i < count; i++) {
        uint8_t *at = buffer + i * record;
        if (interface != FRAMES)
            memcpy(at, &size, sizeof(size));
        fill(at + (interface == BUNDLE16  ? 16
                   : interface == BUNDLE4 ? 4
                                          : 0),
             b->size, interface == FRAMES);
    }
    while (!atomic_load_explicit(&b->stop, memory_order_relaxed)) {
        const client_status status =
            client_write(b->client, b->file, buffer, (uint32_t)(count * record), NULL);
        if (status < 0 && !atomic_load(&b->stop))
            give_up("write", (uint32_t)status);
    }
}

/* ---- one case ---- */

static void device_path(const struct bench *b, char *path, size_t room)
{
    const char *name = b->driver->device[0] ? b->driver->device : WINTUN_WIN32_PATH "%s";
    const char *percent = strchr(name, '%');

    if (percent)
        snprintf(path, room, "%.*s%s%s", (int)(percent - name), name,
                 nth_device_net_cfg_id(b->device), percent + 2);
    else
        snprintf(path, room, "%s", name);
}

static void open_client(struct bench *b)
{
    const struct client_config config = {.name = "bench", .token = CLIENT_SYSTEM};
    char path[512];
    uint32_t one = 1;

    b->client = client_create(&config);
    device_path(b, path, sizeof(path));
    client_status status = client_open(b->client, path, CLIENT_READ | CLIENT_WRITE, &b->file);
    if (status < 0 && b->driver->interface == RINGS) /* rings as 0.14's: on NDIS's own device */
        status = client_open(b->client, nth_device_interface(b->device), CLIENT_READ | CLIENT_WRITE,
                             &b->file);
    if (status < 0)
        give_up(path, (uint32_t)status);
    if (b->driver->control) {
        uint32_t *in = client_alloc(b->client, sizeof(one));
        *in = one;
        status = client_control(b->client, b->file, b->driver->control, in, sizeof(one), in,
                                sizeof(one), NULL);
    }
    if (status >= 0 && b->driver->interface == RINGS)
        status = ring_open(b->client, b->file, NULL, &b->ring);
    if (status < 0)
        give_up("session", (uint32_t)status);
}

static void begin(struct bench *b)
{
    struct nth_driver *driver;

    nth_boot(&(struct nth_config){.mode = NTH_PARALLEL, .relaxed_memory = true});
    NTSTATUS status = nth_driver_load(b->driver->path, "bench", &driver);
    if (status >= 0)
        status = nth_plug(driver, NULL, &b->device);
    if (status < 0)
        give_up(b->driver->path, (uint32_t)status);
    b->adapter = nth_adapter_of(b->device);
    b->pool = nth_edge_pool_create(SLOTS, b->size, b);
    nth_bind(b->adapter, &(struct nth_binding){.context = b,
                                               .receive = count_received,
                                               .send_complete = send_complete});
    fill_slots(b);
    open_client(b);
}

static int open_instructions(void)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
                                   .size = sizeof(attr),
                                   .config = PERF_COUNT_HW_INSTRUCTIONS,
                                   .inherit = 1,
                                   .exclude_kernel = 1};

    return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static int64_t read_instructions(int fd)
{
    uint64_t value = 0;

    return fd >= 0 && read(fd, &value, sizeof(value)) == sizeof(value) ? (int64_t)value : -1;
}

/* Packets of the same size from one place to another, within a second-level cache: the least that a
 * copy can cost. */
static uint64_t measure_memcpy(size_t size)
{
    enum { AREA = 1 << 18 };
    uint8_t *from = malloc(AREA + 65536), *to = malloc(AREA + 65536);
    uint64_t count = 0;

    memset(from, 1, AREA + 65536);
    memset(to, 2, AREA + 65536);
    const uint64_t start = now_ns();
    uint64_t end = start;
    for (size_t at = 0; end - start < 50000000; end = now_ns())
        for (int i = 0; i < 256; i++, count++, at = (at + size) & (AREA - 1)) {
            memcpy(to + at, from + at, size);
            __asm__ volatile("" ::: "memory");
        }
    free(from);
    free(to);
    return (end - start) * 1000 / count;
}

static void sleep_ms(unsigned ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nth_leave();
    clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
    nth_enter("bench");
}

static struct result measure(struct bench *b, unsigned ms)
{
    void (*const produce)(void *) = b->to_user                      ? sender
                                    : b->driver->interface == RINGS ? ring_producer
                                                                    : file_producer;
    void (*const consume)(void *) = b->driver->interface == RINGS ? ring_consumer : file_consumer;
    const int counter = open_instructions();

    begin(b);
    if (b->to_user)
        nth_spawn("consumer", consume, b);
    for (unsigned i = 0; i < b->threads; i++)
        nth_spawn("producer", produce, b);
    sleep_ms(ms / 4);
    struct result r = {.instructions = read_instructions(counter)};
    const uint64_t before = atomic_load(&b->packets), start = now_ns();
    do /* once, but for a machine so busy that nothing was carried: until its turn has come */
        sleep_ms(ms);
    while (atomic_load(&b->packets) == before && now_ns() - start < 20000000000);
    r.packets = atomic_load(&b->packets) - before;
    r.ns = now_ns() - start;
    const int64_t after = read_instructions(counter);
    r.instructions = r.instructions < 0 || after < 0 ? -1 : after - r.instructions;
    atomic_store(&b->stop, true);
    sleep_ms(20);
    r.memcpy_ns = measure_memcpy(b->size);
    return r; /* the process ends here: tests look after orderly ends */
}

/* ---- the table ---- */

static void print_header(void)
{
    printf("%-28s %-8s %6s %7s %12s %9s %10s %10s %10s %8s\n", "driver", "way", "bytes", "threads",
           "packets/s", "MB/s", "ns/packet", "instr", "memcpy ns", "x memcpy");
}

static void print_result(const struct bench *b, const struct result *r)
{
    const char *slash = strrchr(b->driver->path, '/');
    const double ns = r->packets ? (double)r->ns / (double)r->packets : 0;
    const double limit = (double)r->memcpy_ns / 1000;
    char name[64], instructions[32] = "n/a";

    snprintf(name, sizeof(name), "%.16s %s", slash ? slash + 1 : b->driver->path,
             interface_names[b->driver->interface]);
    if (r->instructions >= 0 && r->packets)
        snprintf(instructions, sizeof(instructions), "%.0f",
                 (double)r->instructions / (double)r->packets);
    printf("%-28s %-8s %6zu %7u %12.0f %9.0f %10.0f %10s %10.1f %8.1f\n", name,
           b->to_user ? "ToUser" : "ToStack", b->size, b->threads, ns ? 1e9 / ns : 0,
           ns ? (double)b->size * 1e3 / ns : 0, ns, instructions, limit, limit ? ns / limit : 0);
    fflush(stdout);
}

/* 0, or 1 when the case could not be measured. */
static int run_case(struct bench *b, unsigned ms)
{
    struct result r;
    int ends[2];

    fflush(NULL);
    if (pipe(ends) != 0)
        return 1;
    const pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        r = measure(b, ms);
        _exit(write(ends[1], &r, sizeof(r)) == sizeof(r) ? 0 : 1);
    }
    close(ends[1]);
    const bool done = pid > 0 && read(ends[0], &r, sizeof(r)) == sizeof(r);
    close(ends[0]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (done)
        print_result(b, &r);
    else
        printf("%-28.28s %-8s %6zu %7u: not measured\n", b->driver->path,
               b->to_user ? "ToUser" : "ToStack", b->size, b->threads);
    return done && r.packets ? 0 : 1;
}

static int run_driver(const struct driver *driver, unsigned ms)
{
    static const size_t sizes[] = {64, 1420, 65535};
    int failed = 0;

    for (int way = 0; way < 2; way++)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
            for (unsigned threads = 1; threads <= MAX_THREADS; threads++) {
                struct bench b = {
                    .driver = driver, .to_user = way == 0, .size = sizes[i], .threads = threads};
                if (b.size > largest[driver->interface])
                    b.size = largest[driver->interface];
                failed |= run_case(&b, ms);
            }
    return failed;
}

/* A device name has one %s, or none. */
static bool is_device(const char *text)
{
    const char *percent = strchr(text, '%');

    return *text && (!percent || (percent[1] == 's' && !strchr(percent + 1, '%')));
}

static bool parse_number(const char *text, uint32_t *number)
{
    char *end;

    errno = 0;
    const unsigned long value = strtoul(text, &end, 0);
    *number = (uint32_t)value;
    return *text >= '0' && *text <= '9' && *end == 0 && errno == 0 && value <= UINT32_MAX;
}

static bool parse_interface(const char *text, enum interface *interface)
{
    for (int i = 0; i < INTERFACES; i++)
        if (strcmp(text, interface_names[i]) == 0) {
            *interface = (enum interface)i;
            return true;
        }
    return false;
}

/* NULL, or what is wrong with it. Cuts text into its parts. */
static const char *parse_driver(char *text, struct driver *driver)
{
    char *interface = strchr(text, ':'), *device, *control;

    *driver = (struct driver){0};
    if (!interface || interface == text)
        return "not PATH:INTERFACE[:DEVICE[:CONTROL]]";
    *interface++ = 0;
    device = strchr(interface, ':');
    if (device)
        *device++ = 0;
    control = device ? strchr(device, ':') : NULL;
    if (control)
        *control++ = 0;
    if (!parse_interface(interface, &driver->interface))
        return "INTERFACE is not rings, bundle16, bundle4 or frames";
    if (device && !is_device(device))
        return "DEVICE is empty, or has more than one %s";
    if (control && !parse_number(control, &driver->control))
        return "CONTROL is not a number";
    if (strlen(text) >= sizeof(driver->path) ||
        (device && strlen(device) >= sizeof(driver->device)))
        return "too long";
    snprintf(driver->path, sizeof(driver->path), "%s", text);
    snprintf(driver->device, sizeof(driver->device), "%s", device ? device : "");
    return access(driver->path, R_OK) == 0 ? NULL : strerror(errno);
}

int main(int argc, char **argv)
{
    const char *const ours[] = {"out/amd64/wintun.sys:rings", "out/amd64/wintun.sys:bundle16"};
    const char *others = getenv("BENCH_DRIVERS"), *only = getenv("BENCH_ONLY");
    const char *const time = getenv("BENCH_MS");
    uint32_t ms = 300;
    static struct driver drivers[16];
    char list[4096], whole[4096], *save = NULL;
    unsigned count = 0;
    int failed = 0;

    if (time && (!parse_number(time, &ms) || !ms || ms > 10000)) {
        fprintf(stderr, "bench: BENCH_MS=%s: not 1 to 10000\n", time);
        return 2;
    }
    if (snprintf(list, sizeof(list), "%s %s %s", ours[0], ours[1], others ? others : "") >=
        (int)sizeof(list)) {
        fprintf(stderr, "bench: BENCH_DRIVERS: too long\n");
        return 2;
    }
    for (char *word = strtok_r(list, " ,", &save); word; word = strtok_r(NULL, " ,", &save)) {
        if (only && !strstr(word, only))
            continue;
        if (count == sizeof(drivers) / sizeof(drivers[0])) {
            fprintf(stderr, "bench: BENCH_DRIVERS: too many\n");
            return 2;
        }
        snprintf(whole, sizeof(whole), "%s", word);
        const char *wrong = parse_driver(word, &drivers[count++]);
        if (wrong) {
            fprintf(stderr, "bench: BENCH_DRIVERS: %s: %s\n", whole, wrong);
            return 2;
        }
    }
    print_header();
    for (unsigned i = 0; i < count; i++)
        failed |= run_driver(&drivers[i], ms);
    return failed;
}
