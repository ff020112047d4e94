/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Boot and shutdown of the machine: the subsystems that registered themselves, by level. Knows none
 * of them by name. One machine a process at a time.
 */
#include "core/core.h"

#include <stdlib.h>
#include <string.h>

enum { SUBSYSTEMS = 64, DEFAULT_PROCESSORS = 4, MAX_PROCESSORS = 64, DEFAULT_NDIS = 0x60059 };

extern const struct nth_subsystem *const __start_nth_subsystems[] __attribute__((weak));
extern const struct nth_subsystem *const __stop_nth_subsystems[] __attribute__((weak));

struct nth_config nth_config;
static bool is_running;

static int by_level(const void *a, const void *b)
{
    const struct nth_subsystem *x = *(const struct nth_subsystem *const *)a;
    const struct nth_subsystem *y = *(const struct nth_subsystem *const *)b;

    return x->level != y->level ? (x->level > y->level) - (x->level < y->level)
                                : strcmp(x->name, y->name); /* link order must not matter */
}

static unsigned subsystems(const struct nth_subsystem **sorted)
{
    const unsigned count = (unsigned)(__stop_nth_subsystems - __start_nth_subsystems);

    if (count > SUBSYSTEMS)
        nth_fail("%u subsystems, but room for %d", count, SUBSYSTEMS);
    for (unsigned i = 0; i < count; i++)
        sorted[i] = __start_nth_subsystems[i];
    qsort(sorted, count, sizeof *sorted, by_level);
    return count;
}

void nth_boot(const struct nth_config *config)
{
    const struct nth_subsystem *sorted[SUBSYSTEMS];
    const unsigned count = subsystems(sorted);

    if (is_running)
        nth_fail("the machine is booted already");
    nth_config = *config;
    if (nth_config.processors == 0)
        nth_config.processors = DEFAULT_PROCESSORS;
    if (nth_config.ndis_version == 0)
        nth_config.ndis_version = DEFAULT_NDIS;
    if (nth_config.processors > MAX_PROCESSORS)
        nth_fail("%u processors, but at most %d", nth_config.processors, MAX_PROCESSORS);
    is_running = true;
    for (unsigned i = 0; i < count; i++)
        if (sorted[i]->boot)
            sorted[i]->boot(&nth_config);
}

void nth_shutdown(void)
{
    const struct nth_subsystem *sorted[SUBSYSTEMS];

    if (!is_running)
        nth_fail("shutdown of a machine that is not booted");
    for (unsigned i = subsystems(sorted); i > 0; i--)
        if (sorted[i - 1]->shutdown)
            sorted[i - 1]->shutdown();
    is_running = false;
    if (nth_stop_expected())
        nth_stop("expected-stop", "expected stop %s did not come", nth_stop_expected());
}
