/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What the folders of nthost share below the kernel functions: threads and their scheduler,
 * processors and IRQL, stops, events, faults, the ledger, lock order. Knows no NT object.
 *
 * Threads run in one of two modes behind one pair of verbs, park and unpark; everything that waits
 * is built on it. Host locks (nth_mutex) are held briefly, never across a park, a preemption point
 * or a call into a driver.
 */
#pragma once

#include "nthost.h"

#include <pthread.h>
#include <stdarg.h>

#define NTH_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* ---- subsystems: boot in rising level, shut down in falling level (core/machine.c) ---- */

struct nth_subsystem {
    const char *name;
    int level; /* 10 core, 20 pe, 30 nt, 40 ndis, 50 edge and client */
    void (*boot)(const struct nth_config *config);
    void (*shutdown)(void);
};

#define NTH_SUBSYSTEM(ident, lvl, boot_, shutdown_)                                                \
    static const struct nth_subsystem nth_subsystem_##ident = {#ident, lvl, boot_, shutdown_};     \
    static const struct nth_subsystem *const nth_subsystem_ref_##ident                             \
        __attribute__((used, section("nth_subsystems"))) = &nth_subsystem_##ident

extern struct nth_config nth_config; /* constant after boot */

/* ---- threads and scheduler (core/cpu.c) ---- */

struct nth_thread; /* fields private to core/cpu.c */

struct nth_thread *nth_self(void); /* NULL on a host thread outside the machine */
const char *nth_thread_name(const struct nth_thread *thread);
unsigned nth_thread_id(const struct nth_thread *thread);

/* One slot of each for the layer that hangs its own object on a thread: nt/ps.c its ETHREAD-like
 * object, pe/ its crossing list and exception state. */
void *nth_thread_nt(struct nth_thread *thread);
void nth_thread_set_nt(struct nth_thread *thread, void *object);

/* A thread of the machine with its own pthread; starts at PASSIVE_LEVEL. nth_join waits for its end
 * and frees it; every thread is joined or detached exactly once. */
struct nth_thread *nth_thread_create(const char *name, void (*run)(void *), void *context,
                                     void *nt_object);
void nth_thread_detach(struct nth_thread *thread);
/* A thread of the machine's own: it may wait for ever without being part of a deadlock. */
struct nth_thread *nth_service_create(const char *name, void (*run)(void *), void *context);
_Noreturn void nth_thread_exit(void);

/* Called with the new thread's / process's NT object whenever the running thread changes
 * (NTH_SERIAL): nt/mm.c opens and closes user memory there. */
extern void (*nth_switch_hook)(void *nt_object);

/* Blocks the calling thread until nth_unpark or until the clock reaches deadline_ns
 * (UINT64_MAX: never). An unpark before the park is kept (one token). 0, or -ETIMEDOUT. A token may
 * be older than what the caller waits for: look at the condition again and park again.
 * Not with a host lock held. IRQL is not looked at: that is the caller's rule to check. */
int nth_park(uint64_t deadline_ns);
void nth_unpark(struct nth_thread *thread); /* any thread, any IRQL, host locks may be held */

/* Lets somebody else run, if anybody can; nth_point only may. */
void nth_yield(void);

/* For who spins on a word, at any IRQL: after a look that found it taken, and after freeing it. The
 * waiter looks again when this returns, which may be early. */
void nth_spin_wait(const void *key);
void nth_spin_wake(const void *key);

/* Short host-internal exclusion; works in both modes. */
struct nth_mutex {
    pthread_mutex_t m;
};
#define NTH_MUTEX_INIT {PTHREAD_MUTEX_INITIALIZER}
void nth_lock(struct nth_mutex *mutex);
void nth_unlock(struct nth_mutex *mutex);

/* ---- processors and IRQL (core/cpu.c) ---- */

KIRQL nth_irql(void);
/* Raising to DISPATCH_LEVEL takes a processor (waits for a free one); lowering below gives it back
 * after its DPC queue has been drained. Rules about direction are the caller's (nt/ke.c). */
KIRQL nth_irql_raise(KIRQL irql);
void nth_irql_lower(KIRQL irql);
/* NTH_SERIAL: the running thread is at DISPATCH_LEVEL or above from now on, or below. nt/pool.c
 * makes paged memory inaccessible meanwhile. */
extern void (*nth_level_hook)(bool is_raised);
unsigned nth_cpu_current(void); /* index of the processor the thread is on, or was on last */
unsigned nth_cpu_count(void);
uint64_t nth_cpu_affinity(uint64_t mask); /* several; answers the mask before */
unsigned nth_cpu_pretend(
    unsigned cpu); /* above DISPATCH_LEVEL, for KeIpiGenericCall; the one before */
/* DPC delivery: nt/ke.c queues; the hook is called at DISPATCH_LEVEL on that processor. */
void nth_cpu_request_dpc(unsigned cpu);
extern void (*nth_dpc_hook)(unsigned cpu);

/* ---- stops (core/bugcheck.c): the only end of a broken rule ---- */

/* rule: a name from core/rules.def, e.g. "irql-too-high". Prints rule, message, the driver function
 * and line that made the running kernel call, thread, IRQL, the last events; ends the process with
 * exit code 70 (0 when announced with nth_expect_stop). */
_Noreturn void nth_stop(const char *rule, const char *format, ...) NTH_PRINTF(2, 3);

/* One more line for the report of the stop that this thread is about to make. */
void nth_stop_note(const char *format, ...) NTH_PRINTF(1, 2);
const char *nth_stop_expected(void); /* the rule announced with nth_expect_stop, or NULL */
/* Return addresses of the driver's frames on this thread, innermost first (pe/). */
extern unsigned (*nth_backtrace_hook)(uintptr_t *sites, unsigned max);
/* Called when a stop has been reported, before the process ends (fuzzers abort here). */
extern void (*nth_stop_hook)(const char *rule);

/* Host failures (out of host memory, a bad path): not a rule of NT. Exit code 71. */
_Noreturn void nth_fail(const char *format, ...) NTH_PRINTF(1, 2);

/* Name of the kernel function the driver is in on this thread, and where it was called. Set by the
 * import thunk, nested by call-outs. NULL and 0 when the host called by itself. */
const char *nth_call_name(void);
uintptr_t nth_call_site(void);
/* Between the two the host works for itself although a driver called it (a receiver of packets,
 * say): no name, no call site, no fault on demand, until a driver is called and calls in its turn.
 */
const void *nth_host_begin(void);
void nth_host_end(const void *before);
/* "wintun!AdapterHalt (driver/adapter.c:120)" for an address in a driver, through the symbolizer of
 * pe/. Static buffer per thread. */
extern const char *(*nth_symbol_hook)(uintptr_t address);
/* "wintun+0x1a2b": the same without asking anybody, for events. */
extern void (*nth_place_hook)(uintptr_t address, char *text, size_t bytes);

/* ---- events (core/trace.c) ---- */

/* Kept in a ring of the last 256 for a stop's report; printed when the machine traces. */
void nth_trace(const char *format, ...) NTH_PRINTF(1, 2);
void nth_trace_call(const char *name,
                    uintptr_t site); /* a kernel call; name lives as long as the machine */
void nth_trace_last(unsigned count, void (*line)(const char *text)); /* oldest first, for reports */

/* ---- faults and ledger (core/fault.c) ---- */

/* Asked by each fallible kernel call on behalf of a driver: true means fail now. */
bool nth_fault(enum nth_fault_kind kind, const char *what);

/* Everything a driver holds and must give back, with the call site that made it. kind is a short
 * literal ("pool", "mdl", "handle", ...). owner: any address inside the driver image, 0: the call
 * site. nth_ledger_remove stops with rule "double-free" when the entry is not there. */
void nth_ledger_add(const char *kind, const void *object, size_t bytes, uintptr_t owner);
void nth_ledger_remove(const char *kind, const void *object);
bool nth_ledger_has(const char *kind, const void *object);
size_t nth_ledger_bytes(const char *kind); /* NULL: all kinds */
/* Stops with rule "leak" if something is left whose owner lies in [base, base + size). */
void nth_ledger_check(uintptr_t base, size_t size, const char *driver);

/* ---- lock order and recursion (core/order.c) ---- */

/* kind: a literal; those that begin with "spin" are spin locks, "resource" and "mutex" may be taken
 * again by their owner.
 * Before a driver blocks on or spins for a lock, after it got it, and when it lets go. Stops with
 * "lock-recursion", "lock-order" (an edge that closes a cycle), "lock-not-held", "lock-irql" (the
 * same spin lock taken at DISPATCH_LEVEL and below). shared: several readers may hold it. */
void nth_order_acquire(const void *lock, const char *kind, bool shared);
void nth_order_acquired(const void *lock, const char *kind, bool shared);
void nth_order_release(const void *lock, const char *kind, bool shared);
void nth_order_forget(const void *lock, size_t bytes); /* memory is freed or re-initialised */
bool nth_order_holds(const void *lock);
unsigned nth_order_held(void);     /* locks held by this thread */
unsigned nth_order_spinning(void); /* spin locks among them: no call-out may be made with any */
const void *nth_order_held_at(unsigned index,
                              const char **kind); /* in order of acquisition; NULL */
