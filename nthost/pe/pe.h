/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Driver images in memory: mapping, binding, unwinding, symbols. Host functions are offered to
 * drivers with NTH_EXPORT; a driver's call goes through a generated thunk that records name and
 * call site, saves the callee-saved registers for the unwinder, and is a preemption point.
 */
#pragma once

#include "core/core.h"

struct nth_image;

/* Offers a host function under its documented name. Every module name resolves to it
 * (ntoskrnl.exe, hal.dll, ndis.sys ...), unless a loaded image of that file name exports it.
 * In the file that defines the function, after its definition. nargs: number of parameters
 * (stack arguments are copied by the thunk); for a variadic function give NTH_VARIADIC. */
struct nth_export {
    const char *name;
    void *function; /* ms_abi; for data the address of the variable */
    int nargs;      /* NTH_DATA: an exported variable; NTH_RAW: a function bound without a thunk */
};
#define NTH_DATA (-1)
#define NTH_RAW                                                                                    \
    (-2) /* leaf code that is neither named nor preempted, and never raises or calls back */
#define NTH_VARIADIC 16
#define NTH_EXPORT_AS(ident, name_, function_, nargs_)                                             \
    static const struct nth_export nth_export_##ident                                              \
        __attribute__((used, section("nth_exports"), aligned(8))) = {name_, (void *)(function_),   \
                                                                     nargs_}
#define NTH_EXPORT(function_, nargs_) NTH_EXPORT_AS(function_, #function_, function_, nargs_)

/* Maps, relocates, binds to host exports and loaded images, protects, sets the security cookie.
 * 0 or -errno with a message in *error (static text). */
int nth_image_load(const char *path, struct nth_image **result, const char **error);
/* Drivers that import from each other: map all, then bind all. */
int nth_image_load_set(const char *const *paths, unsigned count, struct nth_image **results,
                       const char **error);
void nth_image_unload(struct nth_image *image);
/* A module of a user process, Windows subsystem of any kind: its imports are resolved by
 * nth_user_resolve_hook, and what it calls is no kernel call. Each call makes a mapping of its own.
 */
int nth_image_load_user(const char *path, struct nth_image **result, const char **error);
/* The resource directory as it lies in the mapped image; NULL when there is none. */
const void *nth_image_resources(const struct nth_image *image, size_t *bytes);
void *nth_image_entry(const struct nth_image *image);
void *nth_image_base(const struct nth_image *image);
size_t nth_image_size(const struct nth_image *image);
const char *nth_image_name(const struct nth_image *image);
const char *nth_image_path(const struct nth_image *image);
void *nth_image_export(const struct nth_image *image, const char *name);
struct nth_image *nth_image_at(uintptr_t address);
void *nth_export_find(
    const char *name); /* thunked address of a host export (MmGetSystemRoutineAddress) */

/* ---- calls of user modules ---- */

/* What module!name means to a user module; NULL: nothing, and calling it stops the machine. */
extern const struct nth_export *(*nth_user_resolve_hook)(const char *module, const char *name);
/* Asked at each such call. Answers the function to go on with; NULL: none, the call returns
 * *result. */
extern void *(*nth_user_gate_hook)(const struct nth_export *export, uint64_t *result);
/* Thunked address of such a function, the same for every caller (GetProcAddress). */
void *nth_user_thunk(const struct nth_export *export);
/* A thread that leaves frames of user modules by a jump goes back to what it had before them. */
void *nth_crossing_mark(void);
void nth_crossing_return(void *mark);

/* Exceptions. nth_raise never returns to its caller: it unwinds from the driver frame that made the
 * running kernel call into the driver's handler, or stops with "unhandled-exception". No host lock
 * may be held. */
_Noreturn void nth_raise(NTSTATUS code, unsigned count, const ULONG_PTR *information);

/* A host function that touches user memory on a driver's behalf: runs body(context) and returns
 * 0, or the NTSTATUS of the fault (STATUS_ACCESS_VIOLATION) without raising. */
NTSTATUS nth_guarded(void (*body)(void *context), void *context);
NTSTATUS nth_copy_guarded(void *to, const void *from, size_t bytes);

/* A fault in driver code at a user address becomes STATUS_ACCESS_VIOLATION for the driver's
 * handler; anywhere else it is a stop. nt/mm.c answers what an address is. */
extern bool (*nth_user_address_hook)(uintptr_t address);
extern const char *(*nth_describe_address_hook)(
    uintptr_t address); /* "freed pool of 64 bytes ..." or NULL */

/* ---- threads ---- */

/* Every thread that may run driver code, first thing: its signal stack and its gs block. May be
 * called again; what it made goes with the thread. */
void nth_pe_thread_init(void);
/* What gs:[0x188] answers on this thread: KeGetCurrentThread in code that inlines it. nt/ answers
 * the hook when a thread looks for the first time, and again after nth_thread_set_nt. */
extern void *(*nth_current_thread_hook)(void);
void nth_pe_set_current_thread(void *kthread);
void nth_pe_thread_changed(void);

/* What code that reads KUSER_SHARED_DATA by itself sees, in units of 100 ns. nt/ke.c may set it, so
 * that it agrees with KeQuerySystemTime; otherwise system time begins at boot with a fixed date. */
extern uint64_t (*nth_system_time_hook)(void);
