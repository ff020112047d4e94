/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * examples/packets.h over nthost's client: version 1 rings, or bundles moved by ReadFile and
 * WriteFile. Part of a Linux child; never knows that there is a simulated machine behind it.
 */
#include "client/client.h"
#include "client/ring.h"

#include "../../examples/packets.h"

#include <wintun-abi.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_TIMEOUT ((client_status)0x00000102)
#define STATUS_PENDING ((client_status)0x00000103)

enum { READ_BYTES = 0x80000, READERS = 4, WRITE_BYTES = 0x40000, WRITE_ENOUGH = 0x10000 };

/* One bundle being read, or whose packets are in use. */
struct reader {
    uint8_t *buffer;
    struct client_io *io;
    uint32_t filled, next; /* bytes of the bundle, and how far it has been handed out */
    unsigned in_use;       /* packets handed out and not released */
    bool is_pending, is_full;
};

struct packets {
    struct client *client;
    client_handle file;        /* rings, or reading bundles */
    struct ring_session *ring; /* NULL: bundles */
    /* bundles */
    client_handle write_file;
    struct reader readers[READERS];
    unsigned first; /* reader whose bundle comes next, in the order of the reads */
    _Atomic bool has_ended;
    uint8_t *batch;
    uint32_t batch_bytes;
    unsigned batch_open; /* packets allocated in it and not sent */
};

static char error_text[256];

const char *packets_error(void)
{
    return error_text;
}

static void *fail(struct packets *packets, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error_text, sizeof(error_text), format, args);
    va_end(args);
    packets_close(packets);
    return NULL;
}

static uint32_t align_up(uint32_t bytes)
{
    return (bytes + WINTUN_BUNDLE_ALIGNMENT - 1) & ~(WINTUN_BUNDLE_ALIGNMENT - 1);
}

/* ---- reading bundles ---- */

/* Keeps reads outstanding in every buffer that is free, in the order in which they are used. */
static void start_reads(struct packets *packets)
{
    for (unsigned i = 0; i < READERS && !packets->has_ended; i++) {
        struct reader *reader = &packets->readers[(packets->first + i) % READERS];
        if (reader->is_full)
            return; /* a later one must not be read into before it */
        if (reader->is_pending)
            continue;
        const client_status status = client_read_start(packets->client, packets->file,
                                                       reader->buffer, READ_BYTES, reader->io);
        if (status < 0) {
            packets->has_ended = true;
            return;
        }
        reader->is_pending = true;
    }
}

/* The oldest read: 0 done, 1 not within the time, -1 the session ended. */
static int finish_read(struct packets *packets, struct reader *reader, uint64_t timeout_ns)
{
    if (!reader->is_pending)
        return packets->has_ended ? -1 : 1;
    if (__atomic_load_n(&reader->io->status, __ATOMIC_ACQUIRE) == (uint64_t)STATUS_PENDING &&
        timeout_ns == 0)
        return 1;
    const client_status status =
        client_wait(packets->client, &reader->io->event, 1, timeout_ns, NULL);
    if (status == STATUS_TIMEOUT)
        return 1;
    reader->is_pending = false;
    if (status < 0 || (client_status)reader->io->status < 0) {
        packets->has_ended = true;
        return -1;
    }
    reader->is_full = true;
    reader->filled = (uint32_t)reader->io->transferred;
    reader->next = 0;
    return 0;
}

/* A bundle is used up when all of it was handed out and released. */
static void recycle(struct packets *packets, struct reader *reader)
{
    if (!reader->is_full || reader->next < reader->filled || reader->in_use > 0)
        return;
    reader->is_full = false;
    if (reader == &packets->readers[packets->first]) /* its next read comes after the others' */
        packets->first = (packets->first + 1) % READERS;
    start_reads(packets);
}

/* The reader with a packet to hand out; NULL with the reason in *result (1 or -1). */
static struct reader *ready_reader(struct packets *packets, uint64_t timeout_ns, int *result)
{
    for (unsigned i = 0; i < READERS; i++) {
        struct reader *reader = &packets->readers[packets->first];
        if (!reader->is_full) {
            *result = finish_read(packets, reader, timeout_ns);
            if (*result != 0)
                return NULL;
        }
        if (reader->next < reader->filled)
            return reader;
        if (reader->in_use > 0)
            packets->first = (packets->first + 1) % READERS;
        else
            recycle(packets, reader);
    }
    *result = 1; /* every buffer is in the caller's hands */
    return NULL;
}

static int file_wait(struct packets *packets, uint64_t timeout_ns)
{
    int result = 0;

    return ready_reader(packets, timeout_ns, &result) != NULL ? 0 : result;
}

static const uint8_t *file_receive(struct packets *packets, uint32_t *bytes)
{
    int result = 0;
    struct reader *reader = ready_reader(packets, 0, &result);

    if (reader == NULL)
        return NULL;
    const WINTUN_BUNDLE_RECORD *record = (WINTUN_BUNDLE_RECORD *)(reader->buffer + reader->next);
    const uint32_t left = reader->filled - reader->next;
    if (left < sizeof(*record) || record->Size > left - sizeof(*record)) {
        packets->has_ended = true; /* no driver of ours frames like this */
        reader->next = reader->filled;
        return NULL;
    }
    *bytes = record->Size;
    reader->next += align_up((uint32_t)sizeof(*record) + record->Size);
    if (reader->next > reader->filled)
        reader->next = reader->filled;
    reader->in_use++;
    return (const uint8_t *)(record + 1);
}

static void file_release(struct packets *packets, const uint8_t *packet)
{
    for (unsigned i = 0; i < READERS; i++) {
        struct reader *reader = &packets->readers[i];
        if (packet < reader->buffer || packet >= reader->buffer + READ_BYTES)
            continue;
        reader->in_use--;
        recycle(packets, reader);
        return;
    }
}

/* ---- writing bundles ---- */

static void file_flush(struct packets *packets)
{
    if (packets->batch_bytes == 0 || packets->batch_open > 0)
        return;
    if (client_write(packets->client, packets->write_file, packets->batch, packets->batch_bytes,
                     NULL) < 0)
        packets->has_ended = true;
    packets->batch_bytes = 0;
}

static uint8_t *file_allocate(struct packets *packets, uint32_t bytes)
{
    const uint32_t need = align_up((uint32_t)sizeof(WINTUN_BUNDLE_RECORD) + bytes);

    if (need > WRITE_BYTES - packets->batch_bytes)
        file_flush(packets);
    if (packets->has_ended || need > WRITE_BYTES - packets->batch_bytes)
        return NULL;
    uint8_t *record = packets->batch + packets->batch_bytes;
    memset(record + need - WINTUN_BUNDLE_ALIGNMENT, 0, WINTUN_BUNDLE_ALIGNMENT);
    *(WINTUN_BUNDLE_RECORD *)record = (WINTUN_BUNDLE_RECORD){.Size = bytes};
    packets->batch_bytes += need;
    packets->batch_open++;
    return record + sizeof(WINTUN_BUNDLE_RECORD);
}

/* ---- opening ---- */

static bool open_readers(struct packets *packets)
{
    struct client *client = packets->client;

    for (unsigned i = 0; i < READERS; i++) {
        struct reader *reader = &packets->readers[i];
        reader->buffer = client_alloc(client, READ_BYTES);
        reader->io = client_alloc(client, sizeof(*reader->io));
        if (reader->buffer == NULL || reader->io == NULL ||
            client_event(client, false, false, &reader->io->event) < 0)
            return false;
    }
    packets->batch = client_alloc(client, WRITE_BYTES);
    return packets->batch != NULL;
}

static struct packets *open_file(struct packets *packets, const char *path)
{
    client_status status =
        client_open(packets->client, path, CLIENT_READ | CLIENT_OVERLAPPED, &packets->file);

    if (status >= 0)
        status = client_open(packets->client, path, CLIENT_WRITE, &packets->write_file);
    if (status < 0)
        return fail(packets, "cannot open %s: status 0x%08x", path, (unsigned)status);
    if (!open_readers(packets))
        return fail(packets, "no memory for bundles");
    start_reads(packets);
    if (packets->has_ended)
        return fail(packets, "cannot read packets from %s", path);
    return packets;
}

static struct packets *open_ring(struct packets *packets, const char *path)
{
    client_status status =
        client_open(packets->client, path, CLIENT_READ | CLIENT_WRITE, &packets->file);

    if (status < 0)
        return fail(packets, "cannot open %s: status 0x%08x", path, (unsigned)status);
    status = ring_open(packets->client, packets->file, NULL, &packets->ring);
    if (status < 0)
        return fail(packets, "cannot register rings on %s: status 0x%08x", path, (unsigned)status);
    return packets;
}

/* One process of the machine serves every adapter that a program opens. */
static struct client *shared_client;
static unsigned shared_uses;

struct packets *packets_open(const char *adapter, const char *transport)
{
    const struct client_config config = {.name = "packets", .token = CLIENT_ADMIN};
    struct packets *packets = calloc(1, sizeof(*packets));
    char path[256];

    if (packets == NULL)
        return fail(NULL, "out of memory");
    if (shared_client == NULL)
        shared_client = client_create(&config);
    if (shared_client == NULL) {
        free(packets);
        return fail(NULL, "no machine to talk to: %s", strerror(errno));
    }
    shared_uses++;
    packets->client = shared_client;
    snprintf(path, sizeof(path), "%s%s", WINTUN_WIN32_PATH, adapter);
    if (strcmp(transport, "ring") == 0)
        return open_ring(packets, path);
    if (strcmp(transport, "file") == 0)
        return open_file(packets, path);
    return fail(packets, "transport %s is neither ring nor file", transport);
}

static void close_readers(struct packets *packets)
{
    for (unsigned i = 0; i < READERS; i++) {
        struct reader *reader = &packets->readers[i];
        if (reader->is_pending)
            client_wait(packets->client, &reader->io->event, 1, UINT64_MAX, NULL);
        if (reader->io != NULL && reader->io->event != 0)
            client_close(packets->client, reader->io->event);
        if (reader->io != NULL)
            client_free(packets->client, reader->io, sizeof(*reader->io));
        if (reader->buffer != NULL)
            client_free(packets->client, reader->buffer, READ_BYTES);
    }
    if (packets->batch != NULL)
        client_free(packets->client, packets->batch, WRITE_BYTES);
}

/* Closing the handle ends the driver's use of the memory, which is freed after that. */
void packets_close(struct packets *packets)
{
    if (packets == NULL)
        return;
    if (packets->write_file != 0) {
        file_flush(packets);
        client_close(packets->client, packets->write_file);
    }
    if (packets->file != 0)
        client_close(packets->client, packets->file);
    if (packets->ring != NULL)
        ring_close(packets->ring);
    else
        close_readers(packets);
    free(packets);
    if (--shared_uses == 0) {
        client_destroy(shared_client);
        shared_client = NULL;
    }
}

/* ---- the calls ---- */

int packets_wait(struct packets *packets, unsigned timeout_ms)
{
    const uint64_t timeout_ns = (uint64_t)timeout_ms * 1000000U;

    if (packets->ring == NULL)
        return file_wait(packets, timeout_ns);
    switch (ring_wait(packets->ring, timeout_ns)) {
    case RING_READY:
        return 0;
    case RING_EMPTY:
        return 1;
    default:
        return -1;
    }
}

const uint8_t *packets_receive(struct packets *packets, uint32_t *bytes)
{
    const uint8_t *packet = NULL;

    if (packets->ring == NULL)
        return file_receive(packets, bytes);
    return ring_receive(packets->ring, &packet, bytes) == RING_READY ? packet : NULL;
}

void packets_release(struct packets *packets, const uint8_t *packet)
{
    if (packets->ring != NULL)
        ring_release(packets->ring, packet);
    else
        file_release(packets, packet);
}

uint8_t *packets_allocate(struct packets *packets, uint32_t bytes)
{
    uint8_t *packet = NULL;

    if (bytes > WINTUN_MAX_PACKET)
        return NULL;
    if (packets->ring == NULL)
        return file_allocate(packets, bytes);
    return ring_allocate(packets->ring, bytes, &packet) == RING_READY ? packet : NULL;
}

void packets_send(struct packets *packets, const uint8_t *packet)
{
    if (packets->ring != NULL) {
        ring_send(packets->ring, packet);
        return;
    }
    packets->batch_open--;
    if (packets->batch_bytes >= WRITE_ENOUGH)
        file_flush(packets);
}

void packets_flush(struct packets *packets)
{
    if (packets->ring == NULL)
        file_flush(packets);
}
