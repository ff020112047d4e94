/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * kernel32.dll: threads, slim locks, processes of others, drivers. A thread's handle is that of an
 * event, set when the thread has ended.
 */
#include "pe/private.h"
#include "win32/machine.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- blocking on an address ---- */

struct block {
    struct block *next;
    const void *key;
    KEVENT event;
};

static struct nth_mutex blocks_lock = NTH_MUTEX_INIT;
static struct block *blocks; /* blocks_lock; oldest first */
static _Atomic unsigned blocked;

static void unlink_block(struct block *block)
{
    for (struct block **link = &blocks; *link != NULL; link = &(*link)->next)
        if (*link == block) {
            *link = block->next;
            return;
        }
}

/* Waits until somebody wakes the key, unless the word has changed by then. */
static void block_while(_Atomic uint64_t *word, uint64_t value)
{
    struct block block = {.key = word};
    struct block **end = &blocks;
    void *object = &block.event;

    KeInitializeEvent(&block.event, SynchronizationEvent, FALSE);
    nth_lock(&blocks_lock);
    atomic_fetch_add(&blocked, 1);
    const bool is_waiting = atomic_load(word) == value;
    while (*end != NULL)
        end = &(*end)->next;
    if (is_waiting)
        *end = &block;
    nth_unlock(&blocks_lock);
    if (is_waiting)
        nth_wait(1, &object, NTH_WAIT_ANY, false, NULL);
    nth_lock(&blocks_lock);
    unlink_block(&block);
    atomic_fetch_sub(&blocked, 1);
    nth_unlock(&blocks_lock);
    win32_survive();
}

static void wake_one(const void *key)
{
    if (atomic_load(&blocked) == 0)
        return;
    nth_lock(&blocks_lock);
    struct block *block = blocks;
    while (block != NULL && block->key != key)
        block = block->next;
    if (block != NULL) {
        unlink_block(block);
        KeSetEvent(&block->event, 0, FALSE); /* it takes the lock before its frame goes */
    }
    nth_unlock(&blocks_lock);
}

/* ---- slim reader/writer locks, exclusive; not recursive, as the page says ---- */

static void WINAPI AcquireSRWLockExclusive(_Atomic uint64_t *lock)
{
    const uint64_t me = (uint64_t)(uintptr_t)win32_self();
    uint64_t owner = 0;

    while (!atomic_compare_exchange_strong(lock, &owner, me)) {
        if (owner == me)
            nth_stop("lock-recursion", "AcquireSRWLockExclusive of a lock that the thread has");
        block_while(lock, owner);
        owner = 0;
    }
}
WIN32_EXPORT("kernel32", AcquireSRWLockExclusive, 1, FAILS_NEVER, 0);

static void WINAPI ReleaseSRWLockExclusive(_Atomic uint64_t *lock)
{
    if (atomic_exchange(lock, 0) != (uint64_t)(uintptr_t)win32_self())
        nth_stop("lock-not-held", "ReleaseSRWLockExclusive of a lock that the thread has not");
    wake_one(lock);
}
WIN32_EXPORT("kernel32", ReleaseSRWLockExclusive, 1, FAILS_NEVER, 0);

/* ---- threads ---- */

struct start {
    DWORD(NTAPI *routine)(void *parameter);
    void *parameter;
    void *ended; /* event, referenced */
    struct win32_module *pinned;
};

static _Thread_local struct start *running;

static void thread_body(void *context)
{
    struct start *start = context;

    running = start;
    start->routine(start->parameter);
}

static void thread_main(struct win32_process *process, void *context)
{
    struct start *start = context;

    win32_run(process, thread_body, start);
    win32_let_go_of(process, WIN32_THREAD, start, NULL);
    KeSetEvent(start->ended, 0, FALSE);
    nth_object_release(start->ended);
    free(start);
    running = NULL;
}

static HANDLE WINAPI CreateThread(const SECURITY_ATTRIBUTES *attributes, SIZE_T stack,
                                  DWORD(NTAPI *routine)(void *parameter), void *parameter,
                                  DWORD flags, DWORD *id)
{
    struct start *start = win32_calloc(sizeof(*start));
    HANDLE handle = NULL;

    if (flags != 0)
        nth_stop("not-provided", "CreateThread with flags 0x%x", flags);
    (void)attributes, (void)stack;
    start->routine = routine;
    start->parameter = parameter;
    start->ended = nth_event_create(NotificationEvent, false);
    const NTSTATUS status =
        nth_handle_insert(win32_here()->nt, start->ended, EVENT_ALL_ACCESS, &handle);
    if (!NT_SUCCESS(status)) {
        nth_object_release(start->ended);
        free(start);
        win32_fail(ERROR_NOT_ENOUGH_MEMORY);
        return NULL;
    }
    if (id != NULL)
        *id = HandleToULong(handle);
    win32_hold(WIN32_THREAD, start, 0);
    win32_pool(win32_here(), "thread", thread_main, start);
    return handle;
}
WIN32_EXPORT("kernel32", CreateThread, 6, FAILS_ZERO, ERROR_NOT_ENOUGH_MEMORY);

/* The module is not used any more by this thread; it stays mapped for whoever holds it besides. */
static void WINAPI FreeLibraryAndExitThread(HMODULE handle, DWORD code)
{
    struct win32_module *module = win32_module_of(handle);

    (void)code;
    if (module == NULL || module->image == NULL || running == NULL)
        nth_stop("not-provided", "FreeLibraryAndExitThread of %p", handle);
    if (module->references < 2)
        nth_stop("not-provided", "FreeLibraryAndExitThread unloads the module");
    win32_module_count(module, -1);
    win32_exit_thread();
}
WIN32_EXPORT("kernel32", FreeLibraryAndExitThread, 2, FAILS_NEVER, 0);

static void WINAPI Sleep(DWORD milliseconds)
{
    LARGE_INTEGER time = {.QuadPart = -(LONGLONG)milliseconds * 10000};

    KeDelayExecutionThread(UserMode, FALSE, &time);
    win32_survive();
}
WIN32_EXPORT("kernel32", Sleep, 1, FAILS_NEVER, 0);

/* ---- processes ---- */

static DWORD WINAPI GetCurrentProcessId(void)
{
    return win32_process_id(win32_here());
}
WIN32_EXPORT("kernel32", GetCurrentProcessId, 0, FAILS_NEVER, 0);

static HANDLE WINAPI GetCurrentProcess(void)
{
    return (HANDLE)(LONG_PTR)-1;
}
WIN32_EXPORT("kernel32", GetCurrentProcess, 0, FAILS_NEVER, 0);

/* "Process Security and Access Rights": an unelevated user may not look at others' processes. */
static bool may_open(const struct win32_process *from, const struct win32_process *to)
{
    return nth_process_token(from->nt) != NTH_TOKEN_USER ||
           nth_process_token(to->nt) == NTH_TOKEN_USER;
}

enum { PROCESS_QUERY_LIMITED_INFORMATION = 0x1000 };

/* Beside processes that run Windows code nobody is found: ERROR_INVALID_PARAMETER, as for an
 * identifier that is not in use. One that has ended is found until the test destroys it, which
 * stands for somebody who has a handle to it ("Terminating a Process"). */
static HANDLE WINAPI OpenProcess(DWORD access, BOOL inherit, DWORD id)
{
    struct win32_process *process = win32_process_first(NULL);
    HANDLE handle = NULL;

    (void)inherit;
    while (process != NULL && win32_process_id(process) != id)
        process = win32_process_first(process);
    if (process == NULL || !may_open(win32_here(), process)) {
        win32_fail(process == NULL ? ERROR_INVALID_PARAMETER : ERROR_ACCESS_DENIED);
        return NULL;
    }
    const NTSTATUS status = nth_handle_insert(win32_here()->nt, process->nt, access, &handle);
    if (!NT_SUCCESS(status))
        win32_fail(win32_error_of(status));
    return handle;
}
WIN32_EXPORT("kernel32", OpenProcess, 3, FAILS_ZERO, ERROR_ACCESS_DENIED);

static struct nth_process *process_of(HANDLE handle, NTSTATUS *status)
{
    void *body = NULL;

    *status = nth_handle_lookup(win32_here()->nt, handle, PROCESS_QUERY_LIMITED_INFORMATION,
                                NTH_OB_PROCESS, &body);
    if (!NT_SUCCESS(*status))
        win32_fail(win32_error_of(*status));
    return body;
}

static FILETIME file_time(uint64_t time)
{
    return (FILETIME){(DWORD)time, (DWORD)(time >> 32)};
}

static BOOL WINAPI GetProcessTimes(HANDLE handle, FILETIME *created, FILETIME *ended,
                                   FILETIME *kernel, FILETIME *user)
{
    NTSTATUS status;
    struct nth_process *process = process_of(handle, &status);

    if (process == NULL)
        return FALSE;
    *created = file_time(win32_created(process));
    *ended = *kernel = *user = file_time(0);
    nth_object_release(process);
    return TRUE;
}
WIN32_EXPORT("kernel32", GetProcessTimes, 5, FAILS_ZERO, ERROR_ACCESS_DENIED);

enum { MACHINE_UNKNOWN = 0, MACHINE_AMD64 = 0x8664 };

static BOOL WINAPI IsWow64Process2(HANDLE process, USHORT *emulated, USHORT *native)
{
    (void)process;
    *emulated = MACHINE_UNKNOWN;
    *native = MACHINE_AMD64;
    return TRUE;
}
WIN32_EXPORT("kernel32", IsWow64Process2, 3, FAILS_ZERO, ERROR_INVALID_HANDLE);

/* ---- drivers ---- */

static bool is_driver(const struct nth_image *image)
{
    return atomic_load(&image->live) && !image->dead && !image->is_user;
}

/* The kernel itself is the first of them. */
static void *const kernel_base = (void *)0xFFFFF80000000000;

static void list_driver(void **bases, DWORD bytes, DWORD *count, void *base)
{
    if ((*count + 1) * sizeof(void *) <= bytes)
        bases[*count] = win32_knobs_now.hides_drivers ? NULL : base;
    ++*count;
}

static BOOL WINAPI K32EnumDeviceDrivers(void **bases, DWORD bytes, DWORD *needed)
{
    DWORD count = 0;

    list_driver(bases, bytes, &count, kernel_base);
    for (unsigned i = 0; i < NTH_IMAGES; i++) {
        if (is_driver(&nth_images[i]))
            list_driver(bases, bytes, &count, nth_images[i].base);
    }
    *needed = count * (DWORD)sizeof(void *);
    return TRUE;
}
WIN32_EXPORT("kernel32", K32EnumDeviceDrivers, 3, FAILS_ZERO, ERROR_ACCESS_DENIED);

static DWORD driver_name(const void *base, const char *before, LPWSTR buffer, DWORD characters)
{
    const struct nth_image *image = nth_image_at((uintptr_t)base);
    char text[256];

    if (base != kernel_base && (image == NULL || !is_driver(image)))
        return (DWORD)win32_fail(ERROR_INVALID_HANDLE);
    snprintf(text, sizeof(text), "%s%s", before, image != NULL ? image->name : "ntoskrnl.exe");
    const size_t length = strlen(text);
    if (length + 1 > characters)
        return (DWORD)win32_fail(ERROR_INSUFFICIENT_BUFFER);
    for (size_t i = 0; i <= length; i++)
        buffer[i] = (WCHAR)text[i];
    return (DWORD)length;
}

static DWORD WINAPI K32GetDeviceDriverBaseNameW(void *base, LPWSTR buffer, DWORD characters)
{
    return driver_name(base, "", buffer, characters);
}
WIN32_EXPORT("kernel32", K32GetDeviceDriverBaseNameW, 3, FAILS_ZERO, ERROR_INVALID_HANDLE);

static DWORD WINAPI K32GetDeviceDriverFileNameW(void *base, LPWSTR buffer, DWORD characters)
{
    return driver_name(base, "\\SystemRoot\\System32\\drivers\\", buffer, characters);
}
WIN32_EXPORT("kernel32", K32GetDeviceDriverFileNameW, 3, FAILS_ZERO, ERROR_INVALID_HANDLE);
