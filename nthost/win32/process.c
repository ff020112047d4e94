/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Processes that run Windows code, and their threads. A thread is a host thread between the begin
 * and the end of win32_run; the kernel sees a user thread of the process all the while. When its
 * process is ended it goes on to its next Win32 call or wait, and jumps from there to the end.
 */
#include "client/host.h"
#include "win32/private.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_AT_DEATH = 16, DLL_THREAD_ATTACH = 2, DLL_THREAD_DETACH = 3 };

struct pool_thread {
    struct pool_thread *next;
    struct win32_process *process;
    struct nth_thread *thread;
    void (*run)(struct win32_process *process, void *context);
    void *context;
    _Atomic bool is_done;
};

struct birth {
    struct birth *next;
    HANDLE id;
    uint64_t time;
};

static _Thread_local struct win32_thread *self;
static struct nth_mutex processes_lock = NTH_MUTEX_INIT;
static struct win32_process *processes;  /* processes_lock */
static struct pool_thread *pool_threads; /* processes_lock */
static struct birth *births;             /* processes_lock; of the dead too */
static void (*at_death[MAX_AT_DEATH])(struct win32_process *process); /* set at start */

/* ---- who is running ---- */

struct win32_thread *win32_self(void)
{
    if (self == NULL)
        nth_fail("a function of a user module was called outside of win32_run");
    return self;
}

struct win32_process *win32_here(void)
{
    return win32_self()->process;
}

uint32_t win32_last_error(void)
{
    return win32_self()->last_error;
}

void win32_set_last_error(uint32_t error)
{
    win32_self()->last_error = error;
}

struct client *win32_process_client(struct win32_process *process)
{
    return process->client;
}

struct nth_process *win32_process_nt(struct win32_process *process)
{
    return process->nt;
}

uint32_t win32_process_id(struct win32_process *process)
{
    return client_process_id(process->client);
}

bool win32_process_is_dead(struct win32_process *process)
{
    return nth_process_is_dead(process->nt);
}

/* ---- running ---- */

void win32_survive(void)
{
    if (!nth_thread_terminating())
        return;
    if (win32_self()->end == NULL)
        nth_fail("the process of a thread that only comes and goes is ended while it is inside");
    _longjmp(*(jmp_buf *)win32_self()->end, 1);
}

static void run_thread(struct win32_thread *thread, void (*run)(void *context), void *context,
                       bool *is_over)
{
    void *const mark = nth_crossing_mark();
    jmp_buf end;

    thread->end = &end;
    if (_setjmp(end) == 0) {
        win32_modules_notify(thread->process, DLL_THREAD_ATTACH);
        run(context);
        win32_modules_notify(thread->process, DLL_THREAD_DETACH);
        *is_over = true;
    }
    nth_crossing_return(mark);
    thread->end = NULL;
}

bool win32_run(struct win32_process *process, void (*run)(void *context), void *context)
{
    struct win32_thread thread = {.process = process}, *const outer = self;
    bool is_over = false;

    if (outer != NULL && outer->process == process) {
        run(context); /* the thread that it is already */
        return true;
    }
    if (!nth_process_enter(process->nt))
        return false;
    self = &thread;
    run_thread(&thread, run, context, &is_over);
    self = outer;
    nth_process_leave();
    nth_process_thread_exit(process->nt);
    return is_over;
}

/* ---- threads that come and go ---- */

struct win32_thread *win32_thread_begin(struct win32_process *process)
{
    struct win32_thread *thread = win32_calloc(sizeof(*thread));

    thread->process = process;
    win32_thread_enter(thread);
    win32_modules_notify(process, DLL_THREAD_ATTACH);
    win32_thread_leave(thread);
    return thread;
}

void win32_thread_enter(struct win32_thread *thread)
{
    if (!nth_process_enter(thread->process->nt))
        nth_fail("a thread of a dead process is entered");
    thread->outer = self;
    self = thread;
}

void win32_thread_leave(struct win32_thread *thread)
{
    self = thread->outer;
    nth_process_leave();
}

void win32_thread_end(struct win32_thread *thread)
{
    if (nth_process_enter(thread->process->nt)) {
        nth_process_leave();
        win32_thread_enter(thread);
        win32_modules_notify(thread->process, DLL_THREAD_DETACH);
        win32_thread_leave(thread);
        nth_process_thread_exit(thread->process->nt);
    }
    free(thread);
}

void win32_exit_thread(void)
{
    win32_modules_notify(win32_here(), DLL_THREAD_DETACH);
    _longjmp(*(jmp_buf *)win32_self()->end, 1);
}

/* ---- pools ---- */

static void run_pool_thread(void *context)
{
    struct pool_thread *thread = context;

    thread->run(thread->process, thread->context);
    atomic_store(&thread->is_done, true);
}

/* Joins those of the process, or of all, that are done; all of a dead process's are, or will be. */
static void join_pool(struct win32_process *process, bool is_dead)
{
    struct pool_thread *thread;

    do {
        nth_lock(&processes_lock);
        struct pool_thread **link = &pool_threads;
        while (*link != NULL && ((*link)->process != process || !(is_dead || (*link)->is_done)))
            link = &(*link)->next;
        thread = *link;
        if (thread != NULL)
            *link = thread->next;
        nth_unlock(&processes_lock);
        if (thread != NULL) {
            nth_join(thread->thread);
            free(thread);
        }
    } while (thread != NULL);
}

void win32_pool(struct win32_process *process, const char *name,
                void (*run)(struct win32_process *process, void *context), void *context)
{
    struct pool_thread *thread = win32_calloc(sizeof(*thread));

    join_pool(process, false);
    *thread = (struct pool_thread){.process = process, .run = run, .context = context};
    nth_lock(&processes_lock);
    thread->next = pool_threads;
    pool_threads = thread;
    nth_unlock(&processes_lock);
    thread->thread = nth_spawn(name, run_pool_thread, thread);
}

/* ---- birth and death ---- */

void win32_at_death(void (*died)(struct win32_process *process))
{
    for (unsigned i = 0; i < MAX_AT_DEATH; i++) {
        if (at_death[i] == died)
            return; /* of an earlier machine in this program */
        if (at_death[i] == NULL) {
            at_death[i] = died;
            return;
        }
    }
    nth_fail("too many functions for the death of a process");
}

static void remember_birth(struct win32_process *process)
{
    struct birth *birth = win32_calloc(sizeof(*birth));

    birth->id = nth_process_id(process->nt);
    birth->time = nth_system_time();
    nth_lock(&processes_lock);
    birth->next = births;
    births = birth;
    nth_unlock(&processes_lock);
}

uint64_t win32_created(struct nth_process *process)
{
    uint64_t time = 0;

    nth_lock(&processes_lock);
    for (const struct birth *birth = births; birth != NULL; birth = birth->next)
        if (birth->id == nth_process_id(process))
            time = birth->time;
    nth_unlock(&processes_lock);
    return time;
}

static void forget_births(void)
{
    while (births != NULL) {
        struct birth *birth = births;
        births = birth->next;
        free(birth);
    }
}
NTH_SUBSYSTEM(win32_processes, 51, NULL, forget_births);

struct win32_process *win32_process_create(const struct client_config *config)
{
    struct win32_process *process = win32_calloc(sizeof(*process));

    process->client = client_create(config);
    if (process->client == NULL) {
        free(process);
        return NULL;
    }
    process->nt = process->client->process;
    process->lock = (struct nth_mutex)NTH_MUTEX_INIT;
    process->loader_lock = nth_mutant_create(false, NULL, NTH_MUTANT_BYTES);
    remember_birth(process);
    /* What requests need of the process is made with the first one: now, so that nothing is seen
     * to grow later. */
    client_control(process->client, 0, 0, NULL, 0, NULL, 0, NULL);
    nth_lock(&processes_lock);
    process->next = processes;
    processes = process;
    nth_unlock(&processes_lock);
    return process;
}

struct win32_process *win32_process_first(struct win32_process *after)
{
    nth_lock(&processes_lock);
    struct win32_process *process = after != NULL ? after->next : processes;
    nth_unlock(&processes_lock);
    return process;
}

void win32_process_kill(struct win32_process *process)
{
    client_kill(process->client);
    join_pool(process, true);
    if (atomic_exchange(&process->is_buried, true))
        return;
    for (unsigned i = 0; i < MAX_AT_DEATH && at_death[i] != NULL; i++)
        at_death[i](process);
}

static void join_killer(struct win32_process *process)
{
    nth_lock(&process->lock);
    struct nth_thread *killer = process->killer;
    process->killer = NULL;
    nth_unlock(&process->lock);
    if (killer != NULL)
        nth_join(killer);
}

void win32_process_destroy(struct win32_process *process)
{
    if (process == NULL)
        return;
    join_killer(process);
    win32_process_kill(process);
    win32_modules_free(process);
    nth_lock(&processes_lock);
    struct win32_process **link = &processes;
    while (*link != process)
        link = &(*link)->next;
    *link = process->next;
    nth_unlock(&processes_lock);
    nth_object_release(process->loader_lock);
    client_destroy(process->client);
    free(process);
}

/* ---- death at a step ---- */

static void kill_process(void *context)
{
    win32_process_kill(context);
}

unsigned win32_kill_at(struct win32_process *process, unsigned n)
{
    return atomic_exchange(&process->kill_after, n);
}

/* The process is ended by another thread, as TerminateProcess by another process; this one has made
 * its last call. */
void win32_step(struct win32_thread *thread)
{
    struct win32_process *process = thread->process;
    unsigned left = atomic_load(&process->kill_after);

    while (left != 0 && !atomic_compare_exchange_weak(&process->kill_after, &left, left - 1))
        ;
    if (left == 1) {
        nth_lock(&process->lock);
        process->killer = nth_spawn("killer", kill_process, process);
        nth_unlock(&process->lock);
        while (!nth_thread_terminating())
            nth_yield();
    }
    win32_survive();
}
