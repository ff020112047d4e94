/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What the files of this folder share: a process and its threads, how a function is offered to
 * modules, what it does first and last. A Win32 function is called by a thread inside win32_run
 * and keeps the Microsoft calling convention; the host calls none.
 */
#pragma once

#include "nt/nt.h"
#include "win32/types.h"
#include "win32/win32.h"

/* ---- functions offered to modules ---- */

/* How a function says that it failed, for failures on demand. */
enum win32_failure {
    FAILS_NEVER,  /* the page knows no failure, or there is nothing a caller can do about it */
    FAILS_NULL,   /* NULL, and the last error is not touched */
    FAILS_ZERO,   /* 0, NULL or FALSE, and the last error */
    FAILS_MINUS,  /* INVALID_HANDLE_VALUE or -1 (WAIT_FAILED), and the last error */
    FAILS_CODE,   /* the error is the result */
    FAILS_HRESULT /* the same as an HRESULT */
};

struct win32_entry {
    struct nth_export export;
    const char *module;
    enum win32_failure failure;
    uint32_t error;         /* the usual one */
    _Atomic unsigned calls; /* made by modules so far */
};

/* After the function's definition; nargs: its parameters; error: what it fails with on demand
 * unless the test says what. */
#define WIN32_EXPORT(module_, function_, nargs_, failure_, error_)                                 \
    static struct win32_entry win32_##function_                                                    \
        __attribute__((used, section("win32_entries"), aligned(8))) = {                            \
            {#function_, (void *)(function_), nargs_}, module_, failure_, error_, 0}

struct win32_entry *win32_find(const char *module, const char *name);
bool win32_has_module(const char *module);

/* ---- processes and threads (process.c) ---- */

enum { WIN32_TLS_SLOTS = 64 };

struct holding;
struct win32_process {
    struct win32_process *next; /* all processes; process.c's lock */
    struct client *client;
    struct nth_process *nt; /* the client's */
    void *loader_lock;      /* a mutant */
    struct nth_mutex lock;
    struct win32_module *modules; /* lock */
    struct holding *holdings;     /* lock */
    uint64_t tls_used;            /* lock; bit per slot */
    _Atomic unsigned kill_after;  /* calls until death; 0: none is coming */
    _Atomic bool is_buried;
    _Atomic bool is_quiet;     /* SetupSetNonInteractiveMode */
    struct nth_thread *killer; /* that kill_after started; lock */
};

struct win32_thread {
    struct win32_process *process;
    uint32_t last_error;
    void *tls[WIN32_TLS_SLOTS];
    void *end;                  /* jmp_buf of win32_run */
    struct win32_thread *outer; /* of a thread that comes and goes */
    const char *call;           /* name of the function that it is in */
};

/* The running thread; stops the machine when a module's function was called outside win32_run. */
struct win32_thread *win32_self(void);
struct win32_process *win32_here(void); /* its process */
/* Leaves for the end of win32_run when the process is being ended: after each wait. */
void win32_survive(void);
/* Starts a host thread that runs run(process, context), which may use win32_run; ended and joined
 * at the death of the process. */
void win32_pool(struct win32_process *process, const char *name,
                void (*run)(struct win32_process *process, void *context), void *context);
_Noreturn void win32_exit_thread(void);              /* the running thread ends */
uint64_t win32_created(struct nth_process *process); /* system time */
/* Each call of a module: death at a step, and that of a process that is being ended. */
void win32_step(struct win32_thread *thread);
struct win32_process *win32_process_first(struct win32_process *after); /* NULL: the first of all */
/* Called, once however often it is said, for each process that dies, when no thread of it runs any
 * more. */
void win32_at_death(void (*died)(struct win32_process *process));

/* ---- errors ---- */

BOOL win32_fail(uint32_t error);          /* sets the last error; FALSE */
BOOL win32_result(uint32_t error);        /* TRUE without an error */
uint32_t win32_error_of(NTSTATUS status); /* RtlNtStatusToDosError */
HRESULT win32_hresult(uint32_t error);    /* HRESULT_FROM_WIN32 */

/* ---- what a process holds (ledger.c) ---- */

/* extra: what the kind needs to know of it later. */
void win32_hold(enum win32_kind kind, const void *object, uintptr_t extra);
/* False, and nothing done, when the process does not hold it. */
bool win32_holds(enum win32_kind kind, const void *object, uintptr_t *extra);
bool win32_let_go(enum win32_kind kind, const void *object, uintptr_t *extra);
bool win32_let_go_of(struct win32_process *process, enum win32_kind kind, const void *object,
                     uintptr_t *extra); /* for a thread that is not inside */
/* One after the other, for the end of a process: NULL when nothing of the kind is left. */
void *win32_take_held(struct win32_process *process, enum win32_kind kind, uintptr_t *extra);
void *win32_take_held_of(enum win32_kind kind, uintptr_t extra); /* of the running process */

/* ---- modules (module.c) ---- */

struct win32_module {
    struct win32_module *next;
    struct win32_process *process;
    struct nth_image *image;
    char system[64];     /* name of a system DLL, which has no image */
    bool is_attached;    /* DllMain has succeeded */
    unsigned references; /* lock */
};
void win32_modules_notify(struct win32_process *process, DWORD reason); /* DllMain of each */
void win32_modules_free(struct win32_process *process);
struct win32_module *win32_module_of(HMODULE module);
void win32_module_count(struct win32_module *module, int change);
/* A test wants the function, or with NULL the whole module, to be absent from this Windows. */
bool win32_is_missing(const char *module, const char *name);

/* ---- objects and files ---- */

/* A named mutex, referenced; made when it does not exist. */
void *win32_mutex(LPCWSTR name, bool is_owned, bool *existed);
uint32_t win32_key_open(const char *path, DWORD access, HKEY *result); /* an error */
/* Contents of a file of the simulated disk, malloc'ed with a NUL behind; NULL: none. */
char *win32_file_read(LPCWSTR path, size_t *bytes);

/* ---- text ---- */

size_t win32_length(const WCHAR *text);
int win32_compare(const WCHAR *a, const WCHAR *b); /* ordinal, ignoring case of ASCII */
WCHAR *win32_wide(const char *utf8);               /* malloc'ed */
char *win32_utf8(const WCHAR *text);               /* malloc'ed */
void *win32_calloc(size_t bytes);                  /* never NULL */
void win32_guid_text(const GUID *guid, WCHAR text[39]);
