/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Coverage of instrumented drivers: their counters are kept here for whoever asks, and told to
 * libFuzzer when the program is linked with it, as are the comparisons they make. The latter go
 * through bridge.S, because libFuzzer tells comparisons apart by the address that calls it.
 */
#include "pe/private.h"

#define OPTIONAL __attribute__((weak))

enum { RANGES = 64 };

void OPTIONAL __sanitizer_cov_8bit_counters_init(uint8_t *begin, uint8_t *end);
void OPTIONAL __sanitizer_cov_pcs_init(const uintptr_t *begin, const uintptr_t *end);

/* Counters of loaded images; written at load, under the loader's lock. */
static struct {
    uint8_t *begin, *end;
} ranges[RANGES];
static unsigned range_count;

static void NTAPI counters_init(uint8_t *begin, uint8_t *end)
{
    for (unsigned i = 0; i < range_count; i++)
        if (ranges[i].begin == begin)
            return; /* each object file announces the whole image */
    if (range_count < RANGES && begin < end) {
        ranges[range_count].begin = begin;
        ranges[range_count++].end = end;
    }
    if (__sanitizer_cov_8bit_counters_init)
        __sanitizer_cov_8bit_counters_init(begin, end);
}
NTH_EXPORT_AS(cov_counters, "__sanitizer_cov_8bit_counters_init", counters_init, NTH_RAW);

static void NTAPI pcs_init(const uintptr_t *begin, const uintptr_t *end)
{
    if (__sanitizer_cov_pcs_init)
        __sanitizer_cov_pcs_init(begin, end);
}
NTH_EXPORT_AS(cov_pcs, "__sanitizer_cov_pcs_init", pcs_init, NTH_RAW);

unsigned nth_coverage_count(unsigned *total)
{
    unsigned count = 0;

    *total = 0;
    for (unsigned i = 0; i < range_count; i++)
        for (const uint8_t *c = ranges[i].begin; c < ranges[i].end; c++) {
            count += *c != 0;
            *total += 1;
        }
    return count;
}

void nth_coverage_forget(const struct nth_image *image)
{
    for (unsigned i = 0; i < range_count; i++)
        if ((uintptr_t)ranges[i].begin - (uintptr_t)image->base < image->size)
            ranges[i--] = ranges[--range_count];
}

#define COMPARE(name)                                                                              \
    void nth_cov_##name(void);                                                                     \
    NTH_EXPORT_AS(cov_##name, "__sanitizer_cov_" #name, nth_cov_##name, NTH_RAW)

COMPARE(trace_cmp1);
COMPARE(trace_cmp2);
COMPARE(trace_cmp4);
COMPARE(trace_cmp8);
COMPARE(trace_const_cmp1);
COMPARE(trace_const_cmp2);
COMPARE(trace_const_cmp4);
COMPARE(trace_const_cmp8);
COMPARE(trace_switch);
