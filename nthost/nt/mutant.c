/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Mutexes of user processes: dispatcher objects behind handles. Unlike a driver's, one may be owned
 * by a thread that ends; the next who waits for it is told so ("Mutex Objects",
 * "WaitForSingleObject function": WAIT_ABANDONED).
 */
#include "nt/ke.h"

struct mutant {
    KMUTANT mutant;
    void (*destroy)(void *body);
    struct mutant *next; /* all of them; mutants_lock */
};

_Static_assert(sizeof(struct mutant) <= NTH_MUTANT_BYTES, "room that nt.h promises");

static struct nth_mutex mutants_lock = NTH_MUTEX_INIT;
static struct mutant *mutants; /* mutants_lock */

static void mutant_destroy(void *body)
{
    struct mutant *mutant = body;

    nth_lock(&mutants_lock);
    struct mutant **link = &mutants;
    while (*link != mutant)
        link = &(*link)->next;
    *link = mutant->next;
    nth_unlock(&mutants_lock);
    if (mutant->destroy != NULL)
        mutant->destroy(body);
}

void *nth_mutant_create(bool is_owned, void (*destroy)(void *body), size_t bytes)
{
    struct mutant *mutant = nth_object_create(NTH_OB_MUTANT, bytes, mutant_destroy);

    KeInitializeMutex(&mutant->mutant, 0);
    mutant->mutant.ApcDisable = 0;
    mutant->destroy = destroy;
    if (is_owned) {
        mutant->mutant.OwnerThread = (struct _KTHREAD *)nth_ethread_current();
        set_state(&mutant->mutant.Header, 0);
    }
    nth_lock(&mutants_lock);
    mutant->next = mutants;
    mutants = mutant;
    nth_unlock(&mutants_lock);
    return mutant;
}

NTSTATUS nth_mutant_release(void *body)
{
    KMUTANT *mutant = body;
    NTSTATUS status = STATUS_MUTANT_NOT_OWNED;

    nth_dispatcher_lock();
    if (mutant->OwnerThread == (struct _KTHREAD *)nth_ethread_current()) {
        status = STATUS_SUCCESS;
        set_state(&mutant->Header, mutant->Header.SignalState + 1);
        if (mutant->Header.SignalState == 1) {
            mutant->OwnerThread = NULL;
            nth_dispatcher_signal(&mutant->Header);
        }
    }
    nth_dispatcher_unlock();
    return status;
}

/* The thread waits for nothing any more, so it can get no further mutex. */
void nth_mutant_thread_exit(void *ethread)
{
    nth_lock(&mutants_lock);
    for (struct mutant *m = mutants; m != NULL; m = m->next) {
        nth_dispatcher_lock();
        if (m->mutant.OwnerThread == ethread) {
            m->mutant.OwnerThread = NULL;
            m->mutant.Abandoned = 1;
            set_state(&m->mutant.Header, 1);
            nth_dispatcher_signal(&m->mutant.Header);
        }
        nth_dispatcher_unlock();
    }
    nth_unlock(&mutants_lock);
}
