/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The clock interrupt of NTH_SERIAL, for one purpose: a thread that spins in driver code without
 * any kernel call waits for a thread that never gets the baton. When the thread with the baton has
 * used a slice of processor time and made no kernel call, a signal takes the baton from it, if it
 * is in driver code. What spins so has no schedule to replay; all other schedules never see this.
 */
#include "core/thread.h"

#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

enum { POLL_MS = 20, SLICE_MS = 100 };

static pthread_t watcher;
static _Atomic bool is_watching;

static int preempt_signal(void)
{
    return SIGRTMIN + 5;
}

/* Code of a driver is in no object that the dynamic linker knows. */
static bool is_driver_code(uintptr_t address)
{
    Dl_info info;

    return dladdr((void *)address, &info) == 0;
}

/* On the thread's own stack, so that it may stay here until the baton comes back. */
static void preempt(int signal_number, siginfo_t *info, void *context)
{
    const ucontext_t *const interrupted = context;
    struct nth_thread *const self = nth_thread_self;

    if (self && !nth_locks_held && nth_serial_is_running(self) &&
        is_driver_code((uintptr_t)interrupted->uc_mcontext.gregs[REG_RIP]))
        nth_serial_yield(self);
}

static uint64_t cpu_time(pthread_t thread)
{
    struct timespec t = {0};
    clockid_t clock;

    if (pthread_getcpuclockid(thread, &clock) == 0)
        clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* What the watcher saw last: who ran, at which point of its schedule, with how much time used. */
struct sight {
    unsigned id;
    uint64_t progress, used;
};

static void look(struct sight *last)
{
    pthread_t thread;
    struct sight now = {0};

    if (!nth_serial_hold_running(&thread, &now.id, &now.progress))
        return;
    now.used = cpu_time(thread);
    if (now.id != last->id || now.progress != last->progress)
        *last = now;
    else if (now.used - last->used >= SLICE_MS)
        pthread_kill(thread, preempt_signal());
    nth_serial_let_go();
}

static void *watch(void *unused)
{
    const struct timespec poll = {.tv_nsec = POLL_MS * 1000000L};
    struct sight last = {0};

    while (atomic_load(&is_watching)) {
        nanosleep(&poll, NULL);
        look(&last);
    }
    return NULL;
}

void nth_preempt_boot(void)
{
    struct sigaction action = {.sa_sigaction = preempt, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigset_t all, before;

    sigemptyset(&action.sa_mask);
    sigaction(preempt_signal(), &action, NULL);
    atomic_store(&is_watching, true);
    sigfillset(&all); /* signals to the process are for its own threads */
    pthread_sigmask(SIG_BLOCK, &all, &before);
    if (pthread_create(&watcher, NULL, watch, NULL) != 0)
        nth_fail("no thread for the clock interrupt");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void nth_preempt_shutdown(void)
{
    atomic_store(&is_watching, false);
    pthread_join(watcher, NULL);
}
