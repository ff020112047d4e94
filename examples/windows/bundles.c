/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * One read is always under way, into a buffer whose packets are handed out in place and which is
 * read into again when all of them have been given back. What is sent is gathered in another buffer
 * and written when the caller says so, or when it is nearly full. Both directions use one handle,
 * and nothing else in common.
 */
#include "bundles.h"

#include <wintun-abi.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_BYTES = 0x80000, WRITE_BYTES = 0x40000, WRITE_ENOUGH = 0x20000 };

struct bundles {
    HANDLE file;
    OVERLAPPED read, write; /* each with an event of its own */
    bool is_reading, has_ended;
    uint8_t *bundle;       /* that was read */
    uint32_t filled, next; /* its bytes, and how far it has been handed out */
    unsigned in_use;       /* packets handed out and not given back */
    uint8_t *batch;        /* that will be written */
    uint32_t batch_bytes;
    unsigned batch_open; /* packets allocated in it and not sent */
};

static uint32_t record_bytes(uint32_t packet_bytes)
{
    const uint32_t bytes = (uint32_t)sizeof(WINTUN_BUNDLE_RECORD) + packet_bytes;

    return (bytes + WINTUN_BUNDLE_ALIGNMENT - 1) & ~(WINTUN_BUNDLE_ALIGNMENT - 1);
}

/* ---- from Windows ---- */

static void start_read(struct bundles *bundles)
{
    if (bundles->is_reading || bundles->has_ended || bundles->in_use ||
        bundles->next < bundles->filled)
        return;
    bundles->is_reading =
        ReadFile(bundles->file, bundles->bundle, READ_BYTES, NULL, &bundles->read) ||
        GetLastError() == ERROR_IO_PENDING;
    bundles->has_ended = !bundles->is_reading;
}

int bundles_wait(struct bundles *bundles, unsigned timeout_ms)
{
    DWORD bytes;

    if (bundles->next < bundles->filled)
        return 0;
    start_read(bundles);
    if (bundles->has_ended)
        return -1;
    if (!bundles->is_reading || WaitForSingleObject(bundles->read.hEvent, timeout_ms))
        return 1;
    bundles->is_reading = false;
    bundles->has_ended = !GetOverlappedResult(bundles->file, &bundles->read, &bytes, FALSE);
    bundles->filled = bundles->has_ended ? 0 : bytes;
    bundles->next = 0;
    return bundles->has_ended ? -1 : bundles->filled ? 0 : 1;
}

const uint8_t *bundles_receive(struct bundles *bundles, uint32_t *bytes)
{
    WINTUN_BUNDLE_RECORD record;

    if (bundles_wait(bundles, 0))
        return NULL;
    memcpy(&record, bundles->bundle + bundles->next, sizeof(record));
    const uint8_t *packet = bundles->bundle + bundles->next + sizeof(record);
    bundles->next += record_bytes(record.Size);
    bundles->in_use++;
    *bytes = record.Size;
    return packet;
}

void bundles_release(struct bundles *bundles)
{
    bundles->in_use--;
    start_read(bundles); /* so that Windows has a buffer while the program works */
}

/* ---- to Windows ---- */

uint8_t *bundles_allocate(struct bundles *bundles, uint32_t bytes)
{
    const uint32_t needed = record_bytes(bytes);
    const WINTUN_BUNDLE_RECORD record = {.Size = bytes};

    if (bytes > WINTUN_MAX_PACKET)
        return NULL;
    if (bundles->batch_bytes + needed > WRITE_BYTES)
        bundles_flush(bundles);
    if (bundles->batch_bytes + needed > WRITE_BYTES)
        return NULL; /* there are packets in it that are not sent yet */
    uint8_t *place = bundles->batch + bundles->batch_bytes;
    memset(place, 0, needed); /* what fills up a record is zero */
    memcpy(place, &record, sizeof(record));
    bundles->batch_bytes += needed;
    bundles->batch_open++;
    return place + sizeof(record);
}

void bundles_send(struct bundles *bundles)
{
    bundles->batch_open--;
    if (bundles->batch_bytes >= WRITE_ENOUGH)
        bundles_flush(bundles);
}

/* An error means that the session is over, which whoever reads is told as well. */
void bundles_flush(struct bundles *bundles)
{
    DWORD bytes;

    if (bundles->batch_open || !bundles->batch_bytes)
        return;
    if (WriteFile(bundles->file, bundles->batch, bundles->batch_bytes, NULL, &bundles->write) ||
        GetLastError() == ERROR_IO_PENDING)
        GetOverlappedResult(bundles->file, &bundles->write, &bytes, TRUE);
    bundles->batch_bytes = 0;
}

/* ---- beginning and end ---- */

struct bundles *bundles_open(const GUID *guid)
{
    struct bundles *bundles = calloc(1, sizeof(*bundles));
    char path[80];

    if (!bundles)
        return NULL;
    snprintf(path, sizeof(path),
             WINTUN_WIN32_PATH "{%08lX-%04X-%04X-%02X%02X-%02X%02X%02X%02X%02X%02X}", guid->Data1,
             guid->Data2, guid->Data3, guid->Data4[0], guid->Data4[1], guid->Data4[2],
             guid->Data4[3], guid->Data4[4], guid->Data4[5], guid->Data4[6], guid->Data4[7]);
    bundles->bundle = malloc(READ_BYTES);
    bundles->batch = malloc(WRITE_BYTES);
    bundles->read.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL);
    bundles->write.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL);
    bundles->file = CreateFileA(path, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING,
                                FILE_FLAG_OVERLAPPED, NULL);
    if (bundles->file != INVALID_HANDLE_VALUE && bundles->bundle && bundles->batch &&
        bundles->read.hEvent && bundles->write.hEvent) {
        start_read(bundles); /* begins the session */
        if (!bundles->has_ended)
            return bundles;
    }
    const DWORD error = GetLastError();
    bundles_close(bundles);
    SetLastError(error);
    return NULL;
}

/* A read that is under way would write into memory that is free: it is waited for. */
void bundles_close(struct bundles *bundles)
{
    DWORD bytes;

    if (!bundles)
        return;
    if (bundles->is_reading && (CancelIoEx(bundles->file, &bundles->read) ||
                                GetLastError() == ERROR_NOT_FOUND)) /* it has just ended */
        GetOverlappedResult(bundles->file, &bundles->read, &bytes, TRUE);
    if (bundles->file != INVALID_HANDLE_VALUE)
        CloseHandle(bundles->file);
    if (bundles->read.hEvent)
        CloseHandle(bundles->read.hEvent);
    if (bundles->write.hEvent)
        CloseHandle(bundles->write.hEvent);
    free(bundles->bundle);
    free(bundles->batch);
    free(bundles);
}
