/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What every build needs of an instrumented driver: its constructors, which tell the run-time of
 * its globals and counters. The call-backs themselves are in asan.c, tsan.c and coverage.c. A
 * driver that is instrumented in a way this build has no run-time for is refused by the names it
 * imports.
 */
#include "pe/private.h"

void nth_sanitize_image(struct nth_image *image)
{
    void(NTAPI *const construct)(void) =
        (void(NTAPI *)(void))nth_image_export(image, "nth_runtime_construct");
    uint64_t *shadow = nth_image_export(image, "__asan_shadow_memory_dynamic_address");

    if (shadow)
        *shadow = 0x7fff8000; /* AddressSanitizer's shadow offset on x86-64 Linux */
    if (construct)
        construct();
}

#ifndef NTH_ASAN
void nth_sanitize_forget(struct nth_image *image) {}
#endif

#if !defined(NTH_ASAN) && !defined(NTH_TSAN)
void nth_sanitize_unwind(uint64_t from, uint64_t to) {}
#endif
