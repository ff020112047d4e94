/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Threads and processes as the files of nt/ share them. Drivers see only the addresses: both are
 * waitable objects that begin with a DISPATCHER_HEADER, made by nt/ob.c, destroyed by their last
 * reference. Nothing outside nt/ includes this.
 */
#pragma once

#include "nt/nt.h"

#include <stdatomic.h>

enum { NTH_NOTIFY_LIMIT = 64 }; /* PsSetCreateProcessNotifyRoutine */

/* What KeGetCurrentThread and PsGetCurrentThread answer. */
struct nth_ethread {
    DISPATCHER_HEADER header;     /* signalled when the thread has ended (nt/ke.c's lock) */
    struct nth_thread *thread;    /* who runs it now; NULL between the calls of a user thread */
    struct nth_process *process;  /* that it belongs to, referenced; constant */
    struct nth_process *attached; /* KeStackAttachProcess; NULL: its own. Own thread only */
    struct nth_ethread *outer;    /* restored by nth_process_leave */
    struct nth_ethread *next;     /* in process->threads, nt/ps.c's lock */
    HANDLE id;
    uint64_t owner; /* host thread (nth_process_enter) whose calls this user thread makes */
    KPROCESSOR_MODE previous_mode; /* own thread only */
    bool is_system;                /* made by PsCreateSystemThread */
    _Atomic bool is_terminating;   /* set once by nth_process_kill; waits in UserMode end */
    NTSTATUS exit_status;
    PKSTART_ROUTINE start; /* of a system thread */
    void *context;
    unsigned depth;       /* nth_process_enter calls open on it; own thread only */
    uintptr_t created_by; /* call site of PsCreateSystemThread */
    void *token;          /* impersonation, nt/se.c; NULL: the process's */
    /* For their owners, zero at birth; nobody else looks at them. */
    int apc_disable; /* nt/ke.c: critical regions entered. A system thread begins with 1 */
    int priority;    /* nt/ke.c */
    void *ke;        /* nt/ke.c */
    LIST_ENTRY irps; /* nt/io.c: requests of this thread, initialised empty */
};

struct nth_process {
    DISPATCHER_HEADER header; /* signalled when the process has ended */
    char name[64];
    HANDLE id, parent;
    enum nth_token token_kind;
    struct nth_token_object *token;
    bool is_wow64;
    _Atomic bool is_dying;            /* no thread enters any more */
    bool is_dead;                     /* nt/ps.c's lock */
    struct nth_ethread *threads;      /* nt/ps.c's lock */
    struct nth_thread *killer;        /* waits until no thread is in a call; nt/ps.c's lock */
    struct nth_process *next;         /* list of the living; nt/ps.c's lock */
    struct nth_handle_table *handles; /* nt/ob.c; NULL once closed */
    void *mm;                         /* nt/mm.c */
    void *io;                         /* nt/io.c */
};

/* The calling thread's object, made on first use for host threads (system process, KernelMode).
 * NULL outside the machine. */
struct nth_ethread *nth_ethread_current(void);

/* Makes process the one whose memory and handles the thread sees (NULL: its own) and answers what
 * was before, for KeStackAttachProcess and KeUnstackDetachProcess. */
struct nth_process *nth_process_attach(struct nth_process *process);

/* Referenced; NULL: no such process. */
struct nth_process *nth_process_find(HANDLE id);

/* Handle tables (nt/ob.c), born and closed with their process. */
struct nth_handle_table *nth_handle_table_create(struct nth_process *process);
/* Closes every handle, in the context of the process, which is the caller's. */
void nth_handle_table_close(struct nth_process *process);

/* Tokens (nt/se.c): one object per process, the kind fixed at birth. */
struct nth_token_object *nth_token_create(enum nth_token kind);
