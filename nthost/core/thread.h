/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Private to thread.c, serial.c and cpu.c: what a thread of the machine is, and the verbs of the
 * serial scheduler. Nobody else may include this; the public half is core.h.
 *
 * NTH_SERIAL passes one baton. Only its holder runs code of the machine, so what only machine code
 * touches needs no lock; the scheduler's own lists have one (in serial.c), because threads outside
 * may unpark and come in at any time.
 */
#pragma once

#include "core/core.h"

#include <setjmp.h>
#include <stdatomic.h>

#define NTH_NEVER UINT64_MAX

enum thread_state {
    THREAD_READY,    /* wants the baton */
    THREAD_RUNNING,  /* has it */
    THREAD_PARKED,   /* waits for unpark or its deadline */
    THREAD_SPINNING, /* waits for nth_spin_wake of its key */
    THREAD_SETTLING, /* runs when nobody else can */
    THREAD_OUTSIDE,  /* in Linux, between nth_leave and nth_enter */
};

struct nth_thread {
    char name[32];
    unsigned id;
    pthread_t pthread;
    void (*run)(void *);
    void *context;
    void *nt;
    jmp_buf end; /* of threads we made: where nth_thread_exit goes */
    bool is_made;
    bool is_service; /* of the machine itself; never a reason to call it dead */

    KIRQL irql;
    bool is_draining;
    unsigned cpu;      /* owned at DISPATCH_LEVEL and above, else the last one */
    uint64_t affinity; /* bit per processor */

    _Atomic int token; /* parallel: 1 kept unpark, -1 parked; serial: 1 kept unpark */
    _Atomic int life;  /* enum thread_life */
    _Atomic(struct nth_thread *) joiner;

    /* serial, under the scheduler's lock */
    enum thread_state state;
    bool has_timed_out;
    uint64_t deadline;
    const void *spin_key;
    uint64_t turn; /* when it became ready: first come first served */
    _Atomic unsigned go;
    const char *waits_in; /* kernel function it parked in, for the report of a deadlock */
    uintptr_t waits_at;
    struct nth_thread *next; /* all threads in the machine */
};

enum thread_life { THREAD_LIVE, THREAD_ENDED, THREAD_DETACHED };

extern __thread struct nth_thread *nth_thread_self;
extern __thread unsigned nth_locks_held; /* nth_mutex of this thread */

static inline bool is_serial(void)
{
    return nth_config.mode == NTH_SERIAL;
}

/* Linux futex on a word of ours; deadline in CLOCK_MONOTONIC ns, or NTH_NEVER. */
int nth_futex_wait(_Atomic unsigned *word, unsigned value, uint64_t deadline);
void nth_futex_wake(_Atomic unsigned *word, int count);
uint64_t nth_monotonic_ns(void);

void nth_threads_boot(const struct nth_config *config);
void nth_threads_shutdown(void);

/* ---- serial.c ---- */
void nth_serial_boot(uint32_t seed);
void nth_serial_shutdown(void);
void nth_serial_add(struct nth_thread *thread);   /* ready; its pthread then calls start */
void nth_serial_start(struct nth_thread *thread); /* returns with the baton */
void nth_serial_end(struct nth_thread *thread);   /* gives the baton away for good */
void nth_serial_leave(struct nth_thread *thread);
void nth_serial_enter(struct nth_thread *thread);
void nth_serial_forget(struct nth_thread *thread); /* one that ends outside */
int nth_serial_park(struct nth_thread *thread, uint64_t deadline);
void nth_serial_unpark(struct nth_thread *thread);
void nth_serial_point(struct nth_thread *thread);
void nth_serial_yield(struct nth_thread *thread);
void nth_serial_settle(struct nth_thread *thread);
void nth_serial_spin_wait(struct nth_thread *thread, const void *key);
void nth_serial_spin_wake(const void *key);
void nth_serial_advance(struct nth_thread *thread, uint64_t ns);
uint64_t nth_serial_clock(void);

/* For preempt.c: who has the baton, held so that it does not end, until it is let go; how far its
 * schedule is. False, and nothing held, when nobody runs. */
bool nth_serial_hold_running(pthread_t *thread, unsigned *id, uint64_t *progress);
void nth_serial_let_go(void);
bool nth_serial_is_running(const struct nth_thread *thread);

/* ---- preempt.c ---- */
void nth_preempt_boot(void);
void nth_preempt_shutdown(void);

/* ---- cpu.c, for serial.c: who may run ---- */
/* A processor the thread could run on now: its own at DISPATCH_LEVEL, else one that nobody holds
 * there; -1: none. With the baton or the scheduler's lock while nobody has it. */
int nth_cpu_for(const struct nth_thread *thread, unsigned first);
