/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The last events of the machine, for the report of a stop, and their printing as they happen when
 * the machine traces. Nobody ever waits here, because a stop may come anywhere: an event whose slot
 * is still being written, when 255 others have passed it, is dropped.
 */
#include "core/core.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EVENTS = 256, TEXT = 112 };
#define BUSY UINT64_MAX

struct event {
    atomic_uint_fast64_t number; /* BUSY: owned by who made it so; else 1 + its number, or 0 */
    uint64_t time_ns;
    unsigned thread, cpu;
    KIRQL irql;
    const char *call; /* a kernel call, or NULL: text says what it is */
    uintptr_t site;
    char text[TEXT];
};

void (*nth_place_hook)(uintptr_t address, char *text, size_t bytes);

static struct event events[EVENTS];
static atomic_uint_fast64_t next_event;

/* The caller's until end; NULL when the slot is another's. */
static struct event *begin(uint64_t *number)
{
    *number = atomic_fetch_add_explicit(&next_event, 1, memory_order_relaxed);
    struct event *event = &events[*number % EVENTS];
    struct nth_thread *self = nth_self();

    if (atomic_exchange_explicit(&event->number, BUSY, memory_order_acq_rel) == BUSY)
        return NULL;
    event->time_ns = self ? nth_clock_ns() : 0;
    event->thread = self ? nth_thread_id(self) : 0;
    event->cpu = self ? nth_cpu_current() : 0;
    event->irql = self ? nth_irql() : 0;
    event->call = NULL;
    event->site = 0;
    return event;
}

static int format_event(const struct event *event, char *line, size_t bytes)
{
    int length = snprintf(line, bytes, "%6llu.%06llu t%u c%u irql %u  ",
                          (unsigned long long)(event->time_ns / 1000000000),
                          (unsigned long long)(event->time_ns / 1000 % 1000000), event->thread,
                          event->cpu, event->irql);
    if (length < 0 || (size_t)length >= bytes)
        return 0;
    char place[96] = "?";
    if (event->call && nth_place_hook)
        nth_place_hook(event->site, place, sizeof place);
    if (event->call)
        length +=
            snprintf(line + length, bytes - (size_t)length, "%s from %s\n", event->call, place);
    else
        length += snprintf(line + length, bytes - (size_t)length, "%s\n", event->text);
    return (size_t)length < bytes ? length : (int)bytes - 1;
}

static void end(struct event *event, uint64_t number)
{
    char line[256];
    const int length = nth_config.trace ? format_event(event, line, sizeof line) : 0;

    atomic_store_explicit(&event->number, number + 1, memory_order_release);
    if (length > 0 && write(STDERR_FILENO, line, (size_t)length) < 0)
        return; /* a closed standard error is no reason to stop */
}

void nth_trace(const char *format, ...)
{
    uint64_t number;
    struct event *event = begin(&number);
    va_list args;

    if (!event)
        return;
    va_start(args, format);
    vsnprintf(event->text, sizeof event->text, format, args);
    va_end(args);
    end(event, number);
}

void nth_trace_call(const char *name, uintptr_t site)
{
    uint64_t number;
    struct event *event = begin(&number);

    if (!event)
        return;
    event->call = name;
    event->site = site;
    end(event, number);
}

void nth_trace_last(unsigned count, void (*line)(const char *text))
{
    const uint64_t last = atomic_load(&next_event);
    uint64_t first = last > count ? last - count : 0;

    if (count > EVENTS)
        first = last > EVENTS ? last - EVENTS : 0;
    for (uint64_t i = first; i < last; i++) {
        struct event *event = &events[i % EVENTS];
        char text[256] = "";
        const uint64_t number =
            atomic_exchange_explicit(&event->number, BUSY, memory_order_acq_rel);
        if (number == BUSY)
            continue;
        if (number == i + 1) /* else already another one */
            format_event(event, text, sizeof text);
        atomic_store_explicit(&event->number, number, memory_order_release);
        if (text[0])
            line(text);
    }
}
