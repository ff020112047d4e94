/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * kernel32.dll: events, mutexes, waits, and the private namespaces in which mutexes have names.
 * Objects are the simulated kernel's, handles those of the process.
 */
#include "win32/private.h"

#include <stdlib.h>
#include <string.h>

static BOOL WINAPI CloseHandle(HANDLE handle)
{
    const NTSTATUS status = nth_handle_close(win32_here()->nt, handle);

    win32_survive();
    return win32_result(win32_error_of(status));
}
WIN32_EXPORT("kernel32", CloseHandle, 1, FAILS_NEVER, 0);

static HANDLE insert(void *body, ACCESS_MASK access)
{
    HANDLE handle = NULL;
    const NTSTATUS status = nth_handle_insert(win32_here()->nt, body, access, &handle);

    nth_object_release(body);
    if (!NT_SUCCESS(status))
        win32_fail(win32_error_of(status));
    return handle;
}

/* ---- events ---- */

static HANDLE WINAPI CreateEventW(const SECURITY_ATTRIBUTES *attributes, BOOL is_manual,
                                  BOOL is_set, LPCWSTR name)
{
    (void)attributes;
    if (name != NULL)
        nth_stop("not-provided", "CreateEventW of an event with a name");
    return insert(nth_event_create(is_manual ? NotificationEvent : SynchronizationEvent, is_set),
                  EVENT_ALL_ACCESS);
}
WIN32_EXPORT("kernel32", CreateEventW, 4, FAILS_ZERO, ERROR_NOT_ENOUGH_MEMORY);

static BOOL WINAPI SetEvent(HANDLE handle)
{
    void *body = NULL;
    const NTSTATUS status =
        nth_handle_lookup(win32_here()->nt, handle, EVENT_MODIFY_STATE, NTH_OB_EVENT, &body);

    if (!NT_SUCCESS(status))
        return win32_fail(win32_error_of(status));
    KeSetEvent(body, 0, FALSE);
    nth_object_release(body);
    return TRUE;
}
WIN32_EXPORT("kernel32", SetEvent, 1, FAILS_ZERO, ERROR_INVALID_HANDLE);

/* ---- waits ---- */

static DWORD wait_result(NTSTATUS status)
{
    if (status == STATUS_TIMEOUT)
        return WAIT_TIMEOUT;
    if (status == STATUS_ABANDONED_WAIT_0)
        return WAIT_ABANDONED;
    if (status == STATUS_SUCCESS)
        return WAIT_OBJECT_0;
    win32_fail(win32_error_of(status));
    return WAIT_FAILED;
}

static DWORD WINAPI WaitForSingleObject(HANDLE handle, DWORD milliseconds)
{
    const LARGE_INTEGER timeout = {.QuadPart = -(LONGLONG)milliseconds * 10000};
    void *body = NULL;
    NTSTATUS status = nth_handle_lookup(win32_here()->nt, handle, SYNCHRONIZE, -1, &body);

    if (!NT_SUCCESS(status))
        return wait_result(status);
    void *object = nth_object_waitable(body);
    status = object == NULL ? STATUS_OBJECT_TYPE_MISMATCH
                            : nth_wait(1, &object, NTH_WAIT_ANY, false,
                                       milliseconds == INFINITE ? NULL : &timeout);
    nth_object_release(body);
    win32_survive();
    return wait_result(status);
}
WIN32_EXPORT("kernel32", WaitForSingleObject, 2, FAILS_MINUS, ERROR_INVALID_HANDLE);

/* ---- boundaries: a name and the SIDs that a process must have ---- */

enum { MAX_SIDS = 4 };

struct boundary {
    WCHAR name[64];
    unsigned count;
    uint8_t sids[MAX_SIDS][SECURITY_MAX_SID_SIZE];
};

static HANDLE WINAPI CreateBoundaryDescriptorW(LPCWSTR name, ULONG flags)
{
    struct boundary *boundary = win32_calloc(sizeof(*boundary));

    if (flags != 0 || win32_length(name) >= ARRAYSIZE(boundary->name)) {
        free(boundary);
        win32_fail(ERROR_INVALID_PARAMETER);
        return NULL;
    }
    memcpy(boundary->name, name, win32_length(name) * sizeof(WCHAR));
    win32_hold(WIN32_BOUNDARY, boundary, 0);
    return boundary;
}
WIN32_EXPORT("kernel32", CreateBoundaryDescriptorW, 2, FAILS_ZERO, ERROR_NOT_ENOUGH_MEMORY);

/* The descriptor moves, as the page allows: only the handle that is written back is good. */
static BOOL WINAPI AddSIDToBoundaryDescriptor(HANDLE *handle, const SID *sid)
{
    struct boundary *old = *handle, *fresh;
    const size_t bytes = 8 + 4 * (size_t)sid->SubAuthorityCount;

    if (!win32_holds(WIN32_BOUNDARY, old, NULL))
        return win32_fail(ERROR_INVALID_HANDLE);
    if (old->count == MAX_SIDS || bytes > sizeof(old->sids[0]))
        return win32_fail(ERROR_INVALID_PARAMETER);
    fresh = win32_calloc(sizeof(*fresh));
    *fresh = *old;
    memcpy(fresh->sids[fresh->count++], sid, bytes);
    win32_let_go(WIN32_BOUNDARY, old, NULL);
    win32_hold(WIN32_BOUNDARY, fresh, 0);
    free(old);
    *handle = fresh;
    return TRUE;
}
WIN32_EXPORT("kernel32", AddSIDToBoundaryDescriptor, 2, FAILS_ZERO, ERROR_NOT_ENOUGH_MEMORY);

static void WINAPI DeleteBoundaryDescriptor(HANDLE handle)
{
    if (!win32_let_go(WIN32_BOUNDARY, handle, NULL))
        nth_stop("double-free", "DeleteBoundaryDescriptor of %p, which is none", handle);
    free(handle);
}
WIN32_EXPORT("kernel32", DeleteBoundaryDescriptor, 1, FAILS_NEVER, 0);

/* "The caller must be within this boundary." Known are the groups that tokens here have. */
static bool is_within(const struct boundary *boundary)
{
    static const SID administrators = {1, 2, {{0, 0, 0, 0, 0, 5}}, {32}};
    const enum nth_token token = nth_process_token(win32_here()->nt);
    const bool is_elevated = token == NTH_TOKEN_SYSTEM || token == NTH_TOKEN_ADMIN;

    for (unsigned i = 0; i < boundary->count; i++)
        if (memcmp(boundary->sids[i], &administrators, sizeof(administrators)) != 0 || !is_elevated)
            return false;
    return true;
}

/* ---- namespaces: there while somebody has a handle ---- */

struct space {
    struct nth_user_object object;
    struct space *next;
    struct boundary boundary;
    WCHAR alias[64];
};

static struct nth_mutex names_lock = NTH_MUTEX_INIT;
static struct space *spaces; /* names_lock */

static void space_destroy(void *body)
{
    nth_lock(&names_lock);
    for (struct space **link = &spaces; *link != NULL; link = &(*link)->next)
        if (*link == body) {
            *link = (*link)->next;
            break;
        }
    nth_unlock(&names_lock);
}

/* Referenced. */
static struct space *find_space(const struct boundary *boundary, LPCWSTR alias)
{
    struct space *space;

    nth_lock(&names_lock);
    for (space = spaces; space != NULL; space = space->next)
        if (memcmp(&space->boundary, boundary, sizeof(*boundary)) == 0 &&
            win32_compare(space->alias, alias) == 0 && nth_object_try_reference(space))
            break;
    nth_unlock(&names_lock);
    return space;
}

static bool check_space(const struct boundary *boundary, LPCWSTR alias)
{
    if (!win32_holds(WIN32_BOUNDARY, boundary, NULL))
        return win32_fail(ERROR_INVALID_HANDLE);
    if (win32_length(alias) >= ARRAYSIZE(((struct space *)0)->alias))
        return win32_fail(ERROR_INVALID_PARAMETER);
    return is_within(boundary) || win32_fail(ERROR_ACCESS_DENIED);
}

static HANDLE WINAPI CreatePrivateNamespaceW(const SECURITY_ATTRIBUTES *attributes,
                                             void *descriptor, LPCWSTR alias)
{
    const struct boundary *boundary = descriptor;

    (void)attributes;
    if (!check_space(boundary, alias))
        return NULL;
    struct space *space = find_space(boundary, alias);
    if (space != NULL) {
        nth_object_release(space);
        win32_fail(ERROR_ALREADY_EXISTS);
        return NULL;
    }
    space = nth_object_create(NTH_OB_USER, sizeof(*space), space_destroy);
    space->boundary = *boundary;
    memcpy(space->alias, alias, win32_length(alias) * sizeof(WCHAR));
    nth_lock(&names_lock);
    space->next = spaces;
    spaces = space;
    nth_unlock(&names_lock);
    return insert(space, STANDARD_RIGHTS_ALL);
}
WIN32_EXPORT("kernel32", CreatePrivateNamespaceW, 3, FAILS_ZERO, ERROR_ACCESS_DENIED);

static HANDLE WINAPI OpenPrivateNamespaceW(void *descriptor, LPCWSTR alias)
{
    if (!check_space(descriptor, alias))
        return NULL;
    struct space *space = find_space(descriptor, alias);
    if (space == NULL) {
        win32_fail(ERROR_PATH_NOT_FOUND);
        return NULL;
    }
    return insert(space, STANDARD_RIGHTS_ALL);
}
WIN32_EXPORT("kernel32", OpenPrivateNamespaceW, 2, FAILS_ZERO, ERROR_ACCESS_DENIED);

static BOOLEAN WINAPI ClosePrivateNamespace(HANDLE handle, ULONG flags)
{
    if (flags != 0)
        nth_stop("not-provided", "ClosePrivateNamespace with flags 0x%x", flags);
    return (BOOLEAN)win32_result(win32_error_of(nth_handle_close(win32_here()->nt, handle)));
}
WIN32_EXPORT("kernel32", ClosePrivateNamespace, 2, FAILS_NEVER, 0);

/* ---- mutexes ---- */

struct mutex {
    uint8_t mutant[NTH_MUTANT_BYTES];
    struct mutex *next;
    WCHAR name[128]; /* alias\name; empty: none */
};

static struct mutex *mutexes; /* names_lock */

static void mutex_destroy(void *body)
{
    nth_lock(&names_lock);
    for (struct mutex **link = &mutexes; *link != NULL; link = &(*link)->next)
        if (*link == body) {
            *link = (*link)->next;
            break;
        }
    nth_unlock(&names_lock);
}

static struct mutex *find_mutex(LPCWSTR name)
{
    struct mutex *mutex;

    nth_lock(&names_lock);
    for (mutex = mutexes; mutex != NULL; mutex = mutex->next)
        if (win32_compare(mutex->name, name) == 0 && nth_object_try_reference(mutex))
            break;
    nth_unlock(&names_lock);
    return mutex;
}

/* A name has the alias of a namespace before it, in which the process must have a handle: it is not
 * looked for whether it has. Names without one are \BaseNamedObjects'. */
void *win32_mutex(LPCWSTR name, bool is_owned, bool *existed)
{
    struct mutex *mutex = name != NULL ? find_mutex(name) : NULL;

    *existed = mutex != NULL;
    if (mutex != NULL)
        return mutex;
    mutex = nth_mutant_create(is_owned, mutex_destroy, sizeof(*mutex));
    if (name != NULL) {
        memcpy(mutex->name, name, win32_length(name) * sizeof(WCHAR));
        nth_lock(&names_lock);
        mutex->next = mutexes;
        mutexes = mutex;
        nth_unlock(&names_lock);
    }
    return mutex;
}

static HANDLE WINAPI CreateMutexW(const SECURITY_ATTRIBUTES *attributes, BOOL is_owned,
                                  LPCWSTR name)
{
    bool existed = false;

    (void)attributes;
    if (name != NULL && win32_length(name) >= ARRAYSIZE(((struct mutex *)0)->name)) {
        win32_fail(ERROR_INVALID_PARAMETER);
        return NULL;
    }
    HANDLE handle = insert(win32_mutex(name, is_owned, &existed), MUTANT_ALL_ACCESS);
    if (handle != NULL)
        win32_fail(existed ? ERROR_ALREADY_EXISTS : ERROR_SUCCESS);
    return handle;
}
WIN32_EXPORT("kernel32", CreateMutexW, 3, FAILS_ZERO, ERROR_NOT_ENOUGH_MEMORY);

static BOOL WINAPI ReleaseMutex(HANDLE handle)
{
    void *body = NULL;
    NTSTATUS status = nth_handle_lookup(win32_here()->nt, handle, 0, NTH_OB_MUTANT, &body);

    if (NT_SUCCESS(status)) {
        status = nth_mutant_release(body);
        nth_object_release(body);
    }
    return win32_result(win32_error_of(status));
}
WIN32_EXPORT("kernel32", ReleaseMutex, 1, FAILS_NEVER, 0);
