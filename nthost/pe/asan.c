/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Address checks for instrumented drivers, against the shadow memory of the AddressSanitizer that
 * the host itself is built with: what the host poisons (its heap, which is the drivers' pool) is
 * poisoned for drivers too, and drivers' stacks and globals are poisoned by their own calls.
 * Nothing here is instrumented, since it looks at poisoned places on purpose. Empty in other
 * builds.
 */
#include "pe/private.h"

#ifdef NTH_ASAN

#include <sanitizer/asan_interface.h>
#include <string.h>

#define NOT_CHECKED __attribute__((no_sanitize("address", "undefined"))) NTAPI
#define SHADOW      0x7fff8000ull /* AddressSanitizer on x86-64 Linux: shadow = address / 8 + this */
#define LOW_END     0x7fff8000ull     /* application memory below its shadow ... */
#define HIGH_BEGIN  0x10007fff8000ull /* ... and above the shadow of all */
#define HIGH_END    0x800000000000ull
#define CALLER      ((uint64_t)__builtin_return_address(0))

enum { GRANULE = 8, GLOBAL_REDZONE = 0xf9 };

static inline int8_t *shadow_of(uint64_t address)
{
    return (int8_t *)((address >> 3) + SHADOW);
}

/* Other addresses have no shadow to ask: the access itself faults. */
static inline bool has_shadow(uint64_t address, uint64_t bytes)
{
    return (address < LOW_END && bytes < LOW_END) ||
           (address >= HIGH_BEGIN && address < HIGH_END && bytes < HIGH_END - address);
}

/* memset is watched by the sanitizer, and this writes to the shadow. */
static inline void fill(void *to, int value, uint64_t bytes)
{
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
}

/* A granule's shadow: 0 all good, 1-7 so many bytes are good, negative none. */
static inline __attribute__((always_inline, no_sanitize("address", "undefined"))) bool is_bad(
    uint64_t address, unsigned bytes)
{
    if (__builtin_expect(!has_shadow(address, bytes), 0))
        return false;
    const uint64_t end = address + bytes - 1;
    const int8_t *const last = shadow_of(end);
    for (const int8_t *s = shadow_of(address); s < last; s++)
        if (*s)
            return true;
    return *last && (int8_t)(end & 7) >= *last;
}

static __attribute__((noinline, cold, no_sanitize("address", "undefined"))) void report(
    uint64_t address, uint64_t bytes, bool is_write, uint64_t pc)
{
    const char *expected = nth_stop_expected();
    const char *symbol = nth_symbol_hook ? nth_symbol_hook(pc) : NULL;

    if (symbol)
        nth_stop_note("at %s", symbol);
    if (!expected || strcmp(expected, "address-check") != 0)
        __asan_describe_address((void *)address); /* where it was allocated and freed */
    nth_stop("address-check", "%s %llu bytes at 0x%llx (shadow %02x)",
             is_write ? "write of" : "read of", (unsigned long long)bytes,
             (unsigned long long)address, (uint8_t)*shadow_of(address));
}

/* The first bad byte of a range, or 0. */
static __attribute__((no_sanitize("address", "undefined"))) uint64_t bad_byte(uint64_t address,
                                                                              uint64_t bytes)
{
    if (bytes == 0 || !has_shadow(address, bytes))
        return 0;
    for (uint64_t at = address; at < address + bytes; at = (at | 7) + 1)
        if (*shadow_of(at)) {
            const uint64_t end = (at | 7) + 1 < address + bytes ? (at | 7) + 1 : address + bytes;
            for (uint64_t byte = at; byte < end; byte++)
                if (is_bad(byte, 1))
                    return byte;
        }
    return 0;
}

static __attribute__((no_sanitize("address", "undefined"))) void check_range(uint64_t address,
                                                                             uint64_t bytes,
                                                                             bool is_write,
                                                                             uint64_t pc)
{
    const uint64_t bad = bad_byte(address, bytes);

    if (bad)
        report(bad, bytes, is_write, pc);
}

/* ---- loads and stores ---- */

#define ACCESS(kind, n, is_write)                                                                  \
    static NOT_CHECKED void check_##kind##n(uint64_t address)                                      \
    {                                                                                              \
        if (__builtin_expect(is_bad(address, n), 0))                                               \
            report(address, n, is_write, CALLER);                                                  \
    }                                                                                              \
    static NOT_CHECKED void report_##kind##n(uint64_t address)                                     \
    {                                                                                              \
        report(address, n, is_write, CALLER);                                                      \
    }                                                                                              \
    NTH_EXPORT_AS(asan_##kind##n, "__asan_" #kind #n, check_##kind##n, NTH_RAW);                   \
    NTH_EXPORT_AS(asan_##kind##n##_n, "__asan_" #kind #n "_noabort", check_##kind##n, NTH_RAW);    \
    NTH_EXPORT_AS(asan_r_##kind##n, "__asan_report_" #kind #n, report_##kind##n, NTH_RAW);         \
    NTH_EXPORT_AS(asan_r_##kind##n##_n, "__asan_report_" #kind #n "_noabort", report_##kind##n,    \
                  NTH_RAW)

#define ACCESSES(n)                                                                                \
    ACCESS(load, n, false);                                                                        \
    ACCESS(store, n, true)

ACCESSES(1);
ACCESSES(2);
ACCESSES(4);
ACCESSES(8);
ACCESSES(16);

#define ACCESS_RANGE(kind, is_write)                                                               \
    static NOT_CHECKED void check_##kind##_range(uint64_t address, uint64_t bytes)                 \
    {                                                                                              \
        check_range(address, bytes, is_write, CALLER);                                             \
    }                                                                                              \
    static NOT_CHECKED void report_##kind##_range(uint64_t address, uint64_t bytes)                \
    {                                                                                              \
        report(address, bytes, is_write, CALLER);                                                  \
    }                                                                                              \
    NTH_EXPORT_AS(asan_##kind##N, "__asan_" #kind "N", check_##kind##_range, NTH_RAW);             \
    NTH_EXPORT_AS(asan_##kind##N_n, "__asan_" #kind "N_noabort", check_##kind##_range, NTH_RAW);   \
    NTH_EXPORT_AS(asan_r_##kind##N, "__asan_report_" #kind "_n", report_##kind##_range, NTH_RAW);  \
    NTH_EXPORT_AS(asan_r_##kind##N_n, "__asan_report_" #kind "_n_noabort", report_##kind##_range,  \
                  NTH_RAW)

ACCESS_RANGE(load, false);
ACCESS_RANGE(store, true);

/* ---- memory functions: thunk.S asks before it moves ---- */

void NTAPI nth_asan_check_move(uint64_t to, uint64_t from, uint64_t bytes, uint64_t pc);
void NTAPI nth_asan_check_set(uint64_t to, uint64_t value, uint64_t bytes, uint64_t pc);
void NTAPI nth_asan_check_compare(uint64_t left, uint64_t right, uint64_t bytes, uint64_t pc);

NOT_CHECKED void nth_asan_check_move(uint64_t to, uint64_t from, uint64_t bytes, uint64_t pc)
{
    check_range(from, bytes, false, pc);
    check_range(to, bytes, true, pc);
}

NOT_CHECKED void nth_asan_check_set(uint64_t to, uint64_t value, uint64_t bytes, uint64_t pc)
{
    (void)value;
    check_range(to, bytes, true, pc);
}

NOT_CHECKED void nth_asan_check_compare(uint64_t left, uint64_t right, uint64_t bytes, uint64_t pc)
{
    (void)pc; /* a comparison may end before its last byte: only the first is sure to be read */
    if (bytes > 0) {
        check_range(left, 1, false, pc);
        check_range(right, 1, false, pc);
    }
}

/* ---- stacks and globals ---- */

#define SET_SHADOW(value)                                                                          \
    static NOT_CHECKED void set_shadow_##value(uint64_t at, uint64_t bytes)                        \
    {                                                                                              \
        fill((void *)at, 0x##value, bytes);                                                        \
    }                                                                                              \
    NTH_EXPORT_AS(asan_set_##value, "__asan_set_shadow_" #value, set_shadow_##value, NTH_RAW)

SET_SHADOW(00);
SET_SHADOW(01);
SET_SHADOW(02);
SET_SHADOW(03);
SET_SHADOW(04);
SET_SHADOW(05);
SET_SHADOW(06);
SET_SHADOW(07);
SET_SHADOW(f1);
SET_SHADOW(f2);
SET_SHADOW(f3);
SET_SHADOW(f5);
SET_SHADOW(f8);

/* A variable-sized array: 32 bytes before it and the rest of the last 32 after it are red zones. */
static NOT_CHECKED void alloca_poison(uint64_t address, uint64_t bytes)
{
    enum { ZONE = 32, LEFT = 0xca, RIGHT = 0xcb };
    const uint64_t end = address + bytes, whole = (end + GRANULE - 1) & ~7ull;
    const uint64_t padded = (end + ZONE - 1) & ~(uint64_t)(ZONE - 1);

    fill(shadow_of(address - ZONE), LEFT, ZONE / GRANULE);
    if (end & 7)
        fill(shadow_of(end), (int)(end & 7), 1);
    fill(shadow_of(whole), RIGHT, (padded + ZONE - whole) / GRANULE);
}
NTH_EXPORT_AS(asan_alloca_poison, "__asan_alloca_poison", alloca_poison, NTH_RAW);

static NOT_CHECKED void allocas_unpoison(uint64_t top, uint64_t bottom)
{
    if (top && top <= bottom)
        fill(shadow_of(top), 0, (bottom - top) / GRANULE);
}
NTH_EXPORT_AS(asan_allocas_unpoison, "__asan_allocas_unpoison", allocas_unpoison, NTH_RAW);

struct global {
    uint64_t address, bytes, bytes_with_zone, name, module, has_initializer, location, indicator;
};

static NOT_CHECKED void register_globals(const struct global *globals, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        const struct global *g = &globals[i];
        const uint64_t whole = (g->bytes + GRANULE - 1) & ~7ull;
        if (g->bytes & 7)
            fill(shadow_of(g->address + g->bytes), (int)(g->bytes & 7), 1);
        fill(shadow_of(g->address + whole), GLOBAL_REDZONE, (g->bytes_with_zone - whole) / GRANULE);
    }
}
NTH_EXPORT_AS(asan_register, "__asan_register_globals", register_globals, NTH_RAW);

static NOT_CHECKED void unregister_globals(const struct global *globals, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        fill(shadow_of(globals[i].address), 0, globals[i].bytes_with_zone / GRANULE);
}
NTH_EXPORT_AS(asan_unregister, "__asan_unregister_globals", unregister_globals, NTH_RAW);

/* Frames that are left by an exception are cleaned in nth_sanitize_unwind. */
static NOT_CHECKED void nothing(void) {}
NTH_EXPORT_AS(asan_no_return, "__asan_handle_no_return", nothing, NTH_RAW);
NTH_EXPORT_AS(asan_init, "__asan_init", nothing, NTH_RAW);
NTH_EXPORT_AS(asan_version, "__asan_version_mismatch_check_v8", nothing, NTH_RAW);

void nth_sanitize_unwind(uint64_t from, uint64_t to)
{
    fill(shadow_of((from + 7) & ~7ull), 0, (to - from) / GRANULE);
}

void nth_sanitize_forget(struct nth_image *image)
{
    fill(shadow_of((uint64_t)image->base), 0, image->size / GRANULE);
}

#endif
