/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Locks that block: executive resources, fast mutexes, guarded mutexes, push locks. Each driver
 * structure keeps only a pointer to the state here or a word; whoever cannot have the lock waits on
 * an event in a queue, first come first served. Order and recursion are checked by core/order.c.
 */
#include "nt/ke.h"
#include "nt/more.h"

#include <stdlib.h>
#include <string.h>

enum { RESOURCE_SHARED = 0, RESOURCE_EXCLUSIVE = 1 };

struct owner {
    uintptr_t thread;
    unsigned count;
};

/* Queued on its thread's stack until granted; then it is an owner. Under the books' lock. */
struct pending {
    struct pending *next;
    uintptr_t thread;
    bool is_exclusive;
    KEVENT granted;
};

/* The books of one ERESOURCE, found by its address: the driver's memory is not believed. */
struct resource {
    struct resource *next;
    PERESOURCE address;
    struct owner *owners; /* one when exclusive */
    unsigned owner_count, owner_room;
    bool is_exclusive;
    struct pending *first, **last;
};

static struct nth_mutex books = NTH_MUTEX_INIT;
static struct resource *resources;

static uintptr_t self(void)
{
    return (uintptr_t)nth_ethread_current();
}

/* ---- books, under their lock ---- */

static struct resource *find(const ERESOURCE *address)
{
    for (struct resource *r = resources; r; r = r->next)
        if (r->address == address)
            return r;
    nth_unlock(&books);
    nth_stop("object-not-initialized", "%p is no initialised ERESOURCE", (const void *)address);
}

static struct owner *owner_of(struct resource *r, uintptr_t thread)
{
    for (unsigned i = 0; i < r->owner_count; i++)
        if (r->owners[i].thread == thread)
            return &r->owners[i];
    return NULL;
}

static void add_owner(struct resource *r, uintptr_t thread)
{
    if (r->owner_count == r->owner_room) {
        const unsigned room = r->owner_room ? 2 * r->owner_room : 4;
        struct owner *const owners = realloc(r->owners, room * sizeof(*owners));
        if (!owners)
            nth_fail("no memory for a resource's owners");
        r->owners = owners;
        r->owner_room = room;
    }
    r->owners[r->owner_count++] = (struct owner){.thread = thread, .count = 1};
}

/* Mirrors what debuggers and assertions of drivers look at. */
static void mirror(struct resource *r)
{
    r->address->ActiveEntries = r->owner_count;
    r->address->ActiveCount = r->owner_count != 0;
    r->address->Flag = r->is_exclusive ? 0x80 : 0;
}

static bool has_exclusive_waiter(const struct resource *r)
{
    for (const struct pending *p = r->first; p; p = p->next)
        if (p->is_exclusive)
            return true;
    return false;
}

static bool may_own(const struct resource *r, bool is_exclusive)
{
    return r->owner_count == 0 || (!is_exclusive && !r->is_exclusive);
}

static void grant_waiters(struct resource *r)
{
    while (r->first && may_own(r, r->first->is_exclusive)) {
        struct pending *const p = r->first;
        r->first = p->next;
        if (!r->first)
            r->last = &r->first;
        r->is_exclusive = p->is_exclusive;
        add_owner(r, p->thread);
        KeSetEvent(&p->granted, 0, FALSE); /* p is gone once its thread gets the books */
    }
    mirror(r);
}

void nth_resource_check_freed(const void *base, size_t bytes)
{
    const void *found = NULL;

    if (!__atomic_load_n(&resources, __ATOMIC_ACQUIRE))
        return;
    nth_lock(&books);
    for (const struct resource *r = resources; r; r = r->next)
        if (is_within(r->address, base, bytes))
            found = r->address;
    nth_unlock(&books);
    if (found)
        nth_stop("active-object-freed",
                 "ERESOURCE %p has not been deleted and its memory is given up", found);
}

/* ---- ERESOURCE ---- */

NTSTATUS NTAPI ExInitializeResourceLite(PERESOURCE Resource)
{
    nth_irql_max(DISPATCH_LEVEL);
    nth_resource_check_freed(Resource, sizeof(*Resource));
    struct resource *const r = calloc(1, sizeof(*r));
    if (!r)
        nth_fail("no memory for a resource");
    memset(Resource, 0, sizeof(*Resource));
    r->address = Resource;
    r->last = &r->first;
    nth_lock(&books);
    r->next = resources;
    __atomic_store_n(&resources, r, __ATOMIC_RELEASE);
    nth_unlock(&books);
    nth_ledger_add("resource", Resource, 0, 0);
    return STATUS_SUCCESS;
}
NTH_EXPORT(ExInitializeResourceLite, 1);

NTSTATUS NTAPI ExDeleteResourceLite(PERESOURCE Resource)
{
    nth_irql_max(APC_LEVEL);
    nth_lock(&books);
    struct resource *const r = find(Resource);
    const bool is_in_use = r->owner_count || r->first;
    struct resource **at = &resources;
    while (*at != r)
        at = &(*at)->next;
    __atomic_store_n(at, r->next, __ATOMIC_RELEASE);
    nth_unlock(&books);
    if (is_in_use)
        nth_stop("active-object-freed", "ERESOURCE %p is deleted while it is owned or waited for",
                 (void *)Resource);
    nth_order_forget(Resource, sizeof(*Resource));
    nth_ledger_remove("resource", Resource);
    free(r->owners);
    free(r);
    return STATUS_SUCCESS;
}
NTH_EXPORT(ExDeleteResourceLite, 1);

/* "Normal kernel APC delivery must be disabled before calling this routine." A suspended owner
 * would stop everybody; the threads that drivers make cannot be suspended. */
static void check_region(const char *name)
{
    const struct nth_ethread *const thread = nth_ethread_current();

    nth_irql_max(APC_LEVEL);
    if (nth_call_name() && !thread->is_system && thread->apc_disable == 0 && nth_irql() < APC_LEVEL)
        nth_stop("resource-without-critical-region", "%s with normal kernel APCs enabled", name);
}

static void wait_granted(struct resource *r, bool is_exclusive)
{
    struct pending p = {.thread = self(), .is_exclusive = is_exclusive};
    void *object = &p.granted;

    nth_dispatcher_init_header(&p.granted.Header, OBJECT_EVENT_SYNCHRONIZATION, 6, 0);
    *r->last = &p;
    r->last = &p.next;
    nth_unlock(&books);
    nth_wait_as(1, &object, NTH_WAIT_ANY, KernelMode, false, NULL);
    nth_lock(&books);
}

/* How a shared request treats writers that wait before it. */
enum sharing { AFTER_WRITERS_UNLESS_OWNER, AFTER_WRITERS, BEFORE_WRITERS };

static bool acquire_shared(PERESOURCE resource, bool waits, enum sharing sharing, const char *name)
{
    check_region(name);
    if (waits)
        nth_order_acquire(resource, "resource", true);
    nth_lock(&books);
    struct resource *const r = find(resource);
    struct owner *const mine = owner_of(r, self());
    const bool defers = sharing != BEFORE_WRITERS && has_exclusive_waiter(r) &&
                        !(mine && sharing == AFTER_WRITERS_UNLESS_OWNER);
    bool is_granted = true;
    if (mine && (r->is_exclusive || !defers))
        mine->count++;
    else if (may_own(r, false) && !defers)
        add_owner(r, self());
    else if (waits)
        wait_granted(r, false);
    else
        is_granted = false;
    if (is_granted && r->owner_count == 1 && !mine)
        r->is_exclusive = false;
    mirror(r);
    nth_unlock(&books);
    if (is_granted)
        nth_order_acquired(resource, "resource", true);
    return is_granted;
}

BOOLEAN NTAPI ExAcquireResourceSharedLite(PERESOURCE Resource, BOOLEAN Wait)
{
    return acquire_shared(Resource, Wait, AFTER_WRITERS_UNLESS_OWNER,
                          "ExAcquireResourceSharedLite");
}
NTH_EXPORT(ExAcquireResourceSharedLite, 2);

BOOLEAN NTAPI ExAcquireSharedStarveExclusive(PERESOURCE Resource, BOOLEAN Wait)
{
    return acquire_shared(Resource, Wait, BEFORE_WRITERS, "ExAcquireSharedStarveExclusive");
}
NTH_EXPORT(ExAcquireSharedStarveExclusive, 2);

BOOLEAN NTAPI ExAcquireSharedWaitForExclusive(PERESOURCE Resource, BOOLEAN Wait)
{
    return acquire_shared(Resource, Wait, AFTER_WRITERS, "ExAcquireSharedWaitForExclusive");
}
NTH_EXPORT(ExAcquireSharedWaitForExclusive, 2);

BOOLEAN NTAPI ExAcquireResourceExclusiveLite(PERESOURCE Resource, BOOLEAN Wait)
{
    bool is_granted = true;

    check_region("ExAcquireResourceExclusiveLite");
    if (Wait)
        nth_order_acquire(Resource, "resource", false);
    nth_lock(&books);
    struct resource *const r = find(Resource);
    struct owner *const mine = owner_of(r, self());
    if (mine && r->is_exclusive) {
        mine->count++;
    } else if (mine && Wait) {
        nth_unlock(&books);
        nth_stop("lock-recursion", "resource %p is held shared and wanted exclusively",
                 (void *)Resource);
    } else if (may_own(r, true)) {
        r->is_exclusive = true;
        add_owner(r, self());
    } else if (Wait) {
        wait_granted(r, true);
    } else {
        is_granted = false;
    }
    mirror(r);
    nth_unlock(&books);
    if (is_granted)
        nth_order_acquired(Resource, "resource", false);
    return is_granted;
}
NTH_EXPORT(ExAcquireResourceExclusiveLite, 2);

static void release(PERESOURCE resource, uintptr_t thread)
{
    nth_irql_max(DISPATCH_LEVEL);
    nth_lock(&books);
    struct resource *const r = find(resource);
    struct owner *const owner = owner_of(r, thread);
    if (!owner) {
        nth_unlock(&books);
        nth_stop("lock-not-held", "resource %p is not held by thread %p", (void *)resource,
                 (void *)thread);
    }
    if (--owner->count == 0) {
        *owner = r->owners[--r->owner_count];
        grant_waiters(r);
    }
    nth_unlock(&books);
    if (thread == self())
        nth_order_release(resource, "resource", false);
    nth_point();
}

VOID FASTCALL ExReleaseResourceLite(PERESOURCE Resource)
{
    release(Resource, self());
}
NTH_EXPORT(ExReleaseResourceLite, 1);

VOID NTAPI ExReleaseResourceForThreadLite(PERESOURCE Resource, ERESOURCE_THREAD ResourceThreadId)
{
    release(Resource, (uintptr_t)ResourceThreadId);
}
NTH_EXPORT(ExReleaseResourceForThreadLite, 2);

/* Others that were held off while it was exclusive may share now. */
VOID NTAPI ExConvertExclusiveToSharedLite(PERESOURCE Resource)
{
    nth_irql_max(DISPATCH_LEVEL);
    nth_lock(&books);
    struct resource *const r = find(Resource);
    const bool is_mine = r->is_exclusive && owner_of(r, self());
    if (is_mine) {
        r->is_exclusive = false;
        grant_waiters(r);
    }
    nth_unlock(&books);
    if (!is_mine)
        nth_stop("lock-not-held", "resource %p is not held exclusively", (void *)Resource);
}
NTH_EXPORT(ExConvertExclusiveToSharedLite, 1);

static PVOID enter_and_acquire(PERESOURCE resource, bool is_exclusive)
{
    KeEnterCriticalRegion();
    if (is_exclusive)
        ExAcquireResourceExclusiveLite(resource, TRUE);
    else
        ExAcquireResourceSharedLite(resource, TRUE);
    return NULL;
}

PVOID NTAPI ExEnterCriticalRegionAndAcquireResourceExclusive(PERESOURCE Resource)
{
    return enter_and_acquire(Resource, true);
}
NTH_EXPORT(ExEnterCriticalRegionAndAcquireResourceExclusive, 1);

PVOID NTAPI ExEnterCriticalRegionAndAcquireResourceShared(PERESOURCE Resource)
{
    return enter_and_acquire(Resource, false);
}
NTH_EXPORT(ExEnterCriticalRegionAndAcquireResourceShared, 1);

VOID NTAPI ExReleaseResourceAndLeaveCriticalRegion(PERESOURCE Resource)
{
    ExReleaseResourceLite(Resource);
    KeLeaveCriticalRegion();
}
NTH_EXPORT(ExReleaseResourceAndLeaveCriticalRegion, 1);

BOOLEAN NTAPI ExIsResourceAcquiredExclusiveLite(PERESOURCE Resource)
{
    nth_irql_max(DISPATCH_LEVEL);
    nth_lock(&books);
    struct resource *const r = find(Resource);
    const bool is_mine = r->is_exclusive && owner_of(r, self());
    nth_unlock(&books);
    return is_mine;
}
NTH_EXPORT(ExIsResourceAcquiredExclusiveLite, 1);

ULONG NTAPI ExIsResourceAcquiredSharedLite(PERESOURCE Resource)
{
    nth_irql_max(DISPATCH_LEVEL);
    nth_lock(&books);
    const struct owner *const mine = owner_of(find(Resource), self());
    const ULONG count = mine ? mine->count : 0;
    nth_unlock(&books);
    return count;
}
NTH_EXPORT(ExIsResourceAcquiredSharedLite, 1);

static ULONG waiters(PERESOURCE resource, bool is_exclusive)
{
    ULONG count = 0;

    nth_irql_max(DISPATCH_LEVEL);
    nth_lock(&books);
    for (const struct pending *p = find(resource)->first; p; p = p->next)
        count += p->is_exclusive == is_exclusive;
    nth_unlock(&books);
    return count;
}

ULONG NTAPI ExGetExclusiveWaiterCount(PERESOURCE Resource)
{
    return waiters(Resource, true);
}
NTH_EXPORT(ExGetExclusiveWaiterCount, 1);

ULONG NTAPI ExGetSharedWaiterCount(PERESOURCE Resource)
{
    return waiters(Resource, false);
}
NTH_EXPORT(ExGetSharedWaiterCount, 1);
