/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Race checks for instrumented drivers: their accesses are told to the ThreadSanitizer run-time
 * that the host is built with, under the address of the driver's own instruction. The run-time also
 * keeps a stack of calls for each thread, which exceptions must cut back: every way out of the host
 * that is not a return goes through a jump buffer, because that is what the run-time understands.
 * Empty in other builds.
 */
#include "pe/private.h"

#ifdef NTH_TSAN

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CALLBACK_ static NTH_UNWATCHED NTAPI
#define PC        __builtin_return_address(0)

void __tsan_read_range_pc(void *address, unsigned long bytes, void *pc);
void __tsan_write_range_pc(void *address, unsigned long bytes, void *pc);
void *NTAPI nth_memmove(void *to, const void *from, size_t bytes);
void *NTAPI nth_memset(void *to, int value, size_t bytes);

/* ---- plain accesses ---- */

#define ACCESS(n)                                                                                  \
    void __tsan_read##n##_pc(void *address, void *pc);                                             \
    void __tsan_write##n##_pc(void *address, void *pc);                                            \
    CALLBACK_ void read_##n(void *address)                                                         \
    {                                                                                              \
        __tsan_read##n##_pc(address, PC);                                                          \
    }                                                                                              \
    CALLBACK_ void write_##n(void *address)                                                        \
    {                                                                                              \
        __tsan_write##n##_pc(address, PC);                                                         \
    }                                                                                              \
    NTH_EXPORT_AS(tsan_r##n, "__tsan_read" #n, read_##n, NTH_RAW);                                 \
    NTH_EXPORT_AS(tsan_w##n, "__tsan_write" #n, write_##n, NTH_RAW);                               \
    NTH_EXPORT_AS(tsan_vr##n, "__tsan_volatile_read" #n, read_##n, NTH_RAW);                       \
    NTH_EXPORT_AS(tsan_vw##n, "__tsan_volatile_write" #n, write_##n, NTH_RAW);                     \
    NTH_EXPORT_AS(tsan_rw##n, "__tsan_read_write" #n, write_##n, NTH_RAW)

#define UNALIGNED(n)                                                                               \
    CALLBACK_ void unaligned_read_##n(void *address)                                               \
    {                                                                                              \
        __tsan_read_range_pc(address, n, PC);                                                      \
    }                                                                                              \
    CALLBACK_ void unaligned_write_##n(void *address)                                              \
    {                                                                                              \
        __tsan_write_range_pc(address, n, PC);                                                     \
    }                                                                                              \
    NTH_EXPORT_AS(tsan_ur##n, "__tsan_unaligned_read" #n, unaligned_read_##n, NTH_RAW);            \
    NTH_EXPORT_AS(tsan_uw##n, "__tsan_unaligned_write" #n, unaligned_write_##n, NTH_RAW);          \
    NTH_EXPORT_AS(tsan_uvr##n, "__tsan_unaligned_volatile_read" #n, unaligned_read_##n, NTH_RAW);  \
    NTH_EXPORT_AS(tsan_uvw##n, "__tsan_unaligned_volatile_write" #n, unaligned_write_##n,          \
                  NTH_RAW);                                                                        \
    NTH_EXPORT_AS(tsan_urw##n, "__tsan_unaligned_read_write" #n, unaligned_write_##n, NTH_RAW)

ACCESS(1);
ACCESS(2);
ACCESS(4);
ACCESS(8);
ACCESS(16);
UNALIGNED(2);
UNALIGNED(4);
UNALIGNED(8);
UNALIGNED(16);

CALLBACK_ void *move(void *to, const void *from, size_t bytes)
{
    if (bytes) {
        __tsan_read_range_pc((void *)from, bytes, PC);
        __tsan_write_range_pc(to, bytes, PC);
    }
    return nth_memmove(to, from, bytes);
}
NTH_EXPORT_AS(tsan_memcpy, "__tsan_memcpy", move, NTH_RAW);
NTH_EXPORT_AS(tsan_memmove, "__tsan_memmove", move, NTH_RAW);

CALLBACK_ void *set(void *to, int value, size_t bytes)
{
    if (bytes)
        __tsan_write_range_pc(to, bytes, PC);
    return nth_memset(to, value, bytes);
}
NTH_EXPORT_AS(tsan_memset, "__tsan_memset", set, NTH_RAW);

/* ---- atomics: the run-time carries them out ---- */

#define MODIFY(bits, type, op)                                                                     \
    type __tsan_atomic##bits##_##op(volatile void *at, type value, int order);                     \
    CALLBACK_ type op##bits(type *at, type value, int order)                                       \
    {                                                                                              \
        return __tsan_atomic##bits##_##op(at, value, order);                                       \
    }                                                                                              \
    NTH_EXPORT_AS(tsan_##op##bits, "__tsan_atomic" #bits "_" #op, op##bits, NTH_RAW)

#define ATOMIC(bits, type)                                                                         \
    type __tsan_atomic##bits##_load(const volatile void *at, int order);                           \
    void __tsan_atomic##bits##_store(volatile void *at, type value, int order);                    \
    type __tsan_atomic##bits##_compare_exchange_val(volatile void *at, type expected, type value,  \
                                                    int order, int failure_order);                 \
    CALLBACK_ type load##bits(type *at, int order)                                                 \
    {                                                                                              \
        return __tsan_atomic##bits##_load(at, order);                                              \
    }                                                                                              \
    CALLBACK_ void store##bits(type *at, type value, int order)                                    \
    {                                                                                              \
        __tsan_atomic##bits##_store(at, value, order);                                             \
    }                                                                                              \
    CALLBACK_ type compare##bits(type *at, type expected, type value, int order, int failure)      \
    {                                                                                              \
        return __tsan_atomic##bits##_compare_exchange_val(at, expected, value, order, failure);    \
    }                                                                                              \
    NTH_EXPORT_AS(tsan_load##bits, "__tsan_atomic" #bits "_load", load##bits, NTH_RAW);            \
    NTH_EXPORT_AS(tsan_store##bits, "__tsan_atomic" #bits "_store", store##bits, NTH_RAW);         \
    NTH_EXPORT_AS(tsan_compare##bits, "__tsan_atomic" #bits "_compare_exchange_val",               \
                  compare##bits, NTH_RAW);                                                         \
    MODIFY(bits, type, exchange);                                                                  \
    MODIFY(bits, type, fetch_add);                                                                 \
    MODIFY(bits, type, fetch_sub);                                                                 \
    MODIFY(bits, type, fetch_and);                                                                 \
    MODIFY(bits, type, fetch_or);                                                                  \
    MODIFY(bits, type, fetch_xor)

ATOMIC(8, uint8_t);
ATOMIC(16, uint16_t);
ATOMIC(32, uint32_t);
ATOMIC(64, uint64_t);

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order);

CALLBACK_ void thread_fence(int order)
{
    __tsan_atomic_thread_fence(order);
}
NTH_EXPORT_AS(tsan_fence, "__tsan_atomic_thread_fence", thread_fence, NTH_RAW);

CALLBACK_ void signal_fence(int order)
{
    __tsan_atomic_signal_fence(order);
}
NTH_EXPORT_AS(tsan_signal_fence, "__tsan_atomic_signal_fence", signal_fence, NTH_RAW);

/* Drivers are built without calls at function entry: their frames are not on the run-time's stack.
 */
CALLBACK_ void nothing(void) {}
NTH_EXPORT_AS(tsan_init, "__tsan_init", nothing, NTH_RAW);
NTH_EXPORT_AS(tsan_entry, "__tsan_func_entry", nothing, NTH_RAW);
NTH_EXPORT_AS(tsan_exit, "__tsan_func_exit", nothing, NTH_RAW);

void nth_sanitize_unwind(uint64_t from, uint64_t to) {}

/* ---- reports ---- */

int __tsan_get_report_data(void *report, const char **description, int *count, int *stacks,
                           int *accesses, int *locations, int *mutexes, int *threads, int *unique,
                           void **sleep, unsigned long sleep_depth);
int __tsan_get_report_mop(void *report, unsigned long index, int *thread, void **address,
                          int *bytes, int *is_write, int *is_atomic, void **trace,
                          unsigned long depth);

/* The run-time cannot name addresses in drivers. It holds its locks here: nothing may be started.
 */
void __tsan_on_report(void *report);
__attribute__((weak)) NTH_UNWATCHED void __tsan_on_report(void *report)
{
    int count, stacks, accesses = 0, locations, mutexes, threads, unique;
    const char *description;
    void *sleep[1];

    __tsan_get_report_data(report, &description, &count, &stacks, &accesses, &locations, &mutexes,
                           &threads, &unique, sleep, 1);
    for (unsigned long i = 0; i < (unsigned long)accesses; i++) {
        int thread, bytes, is_write, is_atomic;
        void *address, *trace[1] = {NULL};
        char line[256];
        __tsan_get_report_mop(report, i, &thread, &address, &bytes, &is_write, &is_atomic, trace,
                              1);
        const struct nth_image *image = nth_image_at((uintptr_t)trace[0]);
        if (!image)
            continue;
        const int length =
            snprintf(line, sizeof line,
                     "  %s of %d bytes by llvm-symbolizer --obj=%s "
                     "--relative-address 0x%llx\n",
                     is_write ? "write" : "read", bytes, image->path,
                     (unsigned long long)((uintptr_t)trace[0] - 1 - (uintptr_t)image->base));
        if (write(STDERR_FILENO, line, (size_t)length) < 0)
            return;
    }
}

/* A race ends the process as a broken rule does. */
const char *__tsan_default_options(void);
__attribute__((weak)) NTH_UNWATCHED const char *__tsan_default_options(void)
{
    return "halt_on_error=1:exitcode=70";
}

#endif
