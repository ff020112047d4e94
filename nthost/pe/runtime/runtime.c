/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Linked into instrumented drivers only: the symbols that instrumentation refers to without
 * importing them, and a way for the host to run the constructors that announce globals and
 * counters. Not itself instrumented.
 */
#define EXPORT    __declspec(dllexport)
#define SEC(name) __attribute__((section(name), used))

typedef unsigned long long u64;

EXPORT u64 __asan_shadow_memory_dynamic_address;
EXPORT int __asan_option_detect_stack_use_after_return;
extern int _fltused;
int _fltused = 1;

/* Where counters and their addresses begin and end; each start is a u64 because the instrumentation
 * takes the array to begin after one. */
SEC(".SCOV$CA") u64 __start___sancov_cntrs;
SEC(".SCOV$CZ") char __stop___sancov_cntrs;
SEC(".SCOVP$A") const u64 __start___sancov_pcs;
SEC(".SCOVP$Z") const u64 __stop___sancov_pcs;

/* The linker's mingw mode gathers constructors between these. */
extern void (*__CTOR_LIST__[])(void);

EXPORT void nth_runtime_construct(void);

void nth_runtime_construct(void)
{
    for (void (**constructor)(void) = __CTOR_LIST__ + 1; *constructor; constructor++)
        (*constructor)();
}
