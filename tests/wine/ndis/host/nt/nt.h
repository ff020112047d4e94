/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What the files of nthost/ndis, and those few of nthost/nt that are built with them, find under
 * Wine in place of nthost/nt/nt.h: the hooks of core/ over Windows' user-mode functions. No
 * scheduler, no faults on demand, no call sites; IRQL and held spin locks are kept for each thread,
 * and a broken rule ends the process that plays the kernel, with a line in its log.
 */
#pragma once

/* This module implements NDIS and some kernel functions; the others are reached without a hint. */
#define NTKERNELAPI
#define NTHALAPI
#define NDISAPI
#include "double.h"
#include "nthost.h"

#include <stdatomic.h>

/* ---- exports: what a driver's import slots are rewritten to ---- */

struct nth_export {
    const char *name;
    void *function;
};
#define NTH_VARIADIC 16
#define NTH_EXPORT_AS(ident, name_, function_, nargs_)                                             \
    static const struct nth_export nth_export_##ident                                              \
        __attribute__((used, section(".nthx$m"), aligned(16))) = {name_, (void *)(function_)}
#define NTH_EXPORT(function_, nargs_) NTH_EXPORT_AS(function_, #function_, function_, nargs_)
void *nth_export_find(const char *name); /* NULL: Wine's own serves */

/* ---- the machine ---- */

struct nth_subsystem {
    void (*boot)(const struct nth_config *config);
    void (*shutdown)(void);
};
#define NTH_SUBSYSTEM(ident, level_, boot_, shutdown_)                                             \
    const struct nth_subsystem nth_subsystem_##ident = {boot_, shutdown_}
extern const struct nth_subsystem nth_subsystem_ndis, nth_subsystem_ndis_work;
extern struct nth_config nth_config;

/* ---- threads ---- */

struct nth_mutex {
    volatile long is_taken;
};
#define NTH_MUTEX_INIT {0}
void nth_lock(struct nth_mutex *mutex);
void nth_unlock(struct nth_mutex *mutex);
struct nth_thread *nth_thread_create(const char *name, void (*run)(void *), void *context,
                                     void *nt_object);
static inline void nth_thread_detach(struct nth_thread *thread) {}

static inline void nth_spin_wait(const void *key)
{
    wine_yield();
}
static inline void nth_spin_wake(const void *key) {}

/* ---- processors and IRQL: raising to DISPATCH_LEVEL takes one of the 64 ---- */

KIRQL nth_irql(void);
KIRQL nth_irql_raise(KIRQL irql);
void nth_irql_lower(KIRQL irql);
unsigned nth_cpu_current(void);
unsigned nth_cpu_count(void);
void nth_irql_max(KIRQL max);
void nth_irql_exactly(KIRQL irql);
void nth_irql_min(KIRQL min);

/* ---- stops, events, faults ---- */

_Noreturn void nth_stop(const char *rule, const char *format, ...);
_Noreturn void nth_fail(const char *format, ...);
void nth_trace(const char *format, ...);
extern const char *(*nth_symbol_hook)(uintptr_t address); /* NULL: nobody knows */
static inline uintptr_t nth_call_site(void)
{
    return 0;
}
static inline const void *nth_host_begin(void)
{
    return NULL;
}
static inline void nth_host_end(const void *before) {}
static inline bool nth_fault(enum nth_fault_kind kind, const char *what)
{
    return false;
}

/* ---- spin locks that the thread holds ---- */

static inline void nth_order_acquire(const void *lock, const char *kind, bool shared) {}
void nth_order_acquired(const void *lock, const char *kind, bool shared);
void nth_order_release(const void *lock, const char *kind, bool shared);
static inline void nth_order_forget(const void *lock, size_t bytes) {}
bool nth_order_holds(const void *lock);
unsigned nth_order_spinning(void);
