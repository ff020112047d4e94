/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The ground of the library: handles and who owns them, memory, counts of things in flight, gates,
 * and the checks made around every call into a driver. Must never know what a miniport is.
 */
#include "ndis/private.h"

#include <string.h>

static struct nth_mutex objects_lock = NTH_MUTEX_INIT;
static LIST_ENTRY objects = {&objects, &objects}; /* guarded by objects_lock */

static const char *kind_name(ULONG kind)
{
    switch (kind) {
    case NDIS_KIND_DRIVER:
        return "miniport driver";
    case NDIS_KIND_ADAPTER:
        return "adapter";
    case NDIS_KIND_DEVICE:
        return "device";
    case NDIS_KIND_POOL:
        return "buffer pool";
    case NDIS_KIND_CONFIG:
        return "configuration";
    case NDIS_KIND_TIMER:
        return "timer";
    case NDIS_KIND_WORK:
        return "work item";
    case NDIS_KIND_RWLOCK:
        return "read/write lock";
    case NDIS_KIND_SHARED:
        return "shared memory";
    default:
        return "nothing known";
    }
}

void ndis_object_add(struct ndis_object *object, enum ndis_kind kind, NDIS_HANDLE owner,
                     const char *made_by)
{
    object->kind = kind;
    object->owner = owner;
    object->made_by = made_by;
    object->site = nth_call_site();
    nth_lock(&objects_lock);
    object->link.Flink = &objects;
    object->link.Blink = objects.Blink;
    objects.Blink->Flink = &object->link;
    objects.Blink = &object->link;
    nth_unlock(&objects_lock);
}

void *ndis_object_check(NDIS_HANDLE handle, enum ndis_kind kind)
{
    const struct ndis_object *object = handle;
    const bool is_pointer = handle && ((uintptr_t)handle & 7) == 0;

    if (!is_pointer || object->kind != (ULONG)kind)
        nth_stop("ndis-handle", "%p is no handle of a %s but of %s", handle, kind_name(kind),
                 is_pointer ? kind_name(object->kind) : "nothing");
    return handle;
}

void ndis_object_remove(struct ndis_object *object)
{
    nth_lock(&objects_lock);
    object->link.Flink->Blink = object->link.Blink;
    object->link.Blink->Flink = object->link.Flink;
    nth_unlock(&objects_lock);
    object->kind = NDIS_KIND_DEAD;
}

struct ndis_object *ndis_object_find(enum ndis_kind kind,
                                     bool (*is_it)(const struct ndis_object *, const void *),
                                     const void *what)
{
    struct ndis_object *found = NULL;

    nth_lock(&objects_lock);
    for (LIST_ENTRY *e = objects.Flink; e != &objects && !found; e = e->Flink) {
        struct ndis_object *o = CONTAINING_RECORD(e, struct ndis_object, link);
        if (o->kind == (ULONG)kind && is_it(o, what))
            found = o;
    }
    nth_unlock(&objects_lock);
    return found;
}

void ndis_object_sweep(NDIS_HANDLE owner, const char *when)
{
    const struct ndis_object *left = NULL;

    nth_lock(&objects_lock);
    for (LIST_ENTRY *e = objects.Flink; e != &objects && !left; e = e->Flink) {
        const struct ndis_object *o = CONTAINING_RECORD(e, struct ndis_object, link);
        if (o->owner == owner)
            left = o;
    }
    nth_unlock(&objects_lock);
    if (left)
        nth_stop("leak", "%s with a %s left, made by %s at %s", when, kind_name(left->kind),
                 left->made_by, nth_symbol_hook ? nth_symbol_hook(left->site) : "?");
}

/* ---- memory ---- */

void ndis_join(char *to, size_t bytes, const char *first, const char *second)
{
    size_t n = 0;

    for (; *first && n < bytes; n++)
        to[n] = *first++;
    for (; *second && n < bytes; n++)
        to[n] = *second++;
    if (n == bytes)
        nth_fail("a name of more than %zu characters", bytes - 1);
    to[n] = 0;
}

void *ndis_alloc(SIZE_T bytes)
{
    return ExAllocatePool2(POOL_FLAG_NON_PAGED, bytes, NDIS_TAG);
}

void ndis_free(void *memory)
{
    if (memory)
        ExFreePoolWithTag(memory, NDIS_TAG);
}

/* ---- counts ---- */

void ndis_count_init(struct ndis_count *count)
{
    count->n = 0;
    count->is_awaited = 0;
    KeInitializeEvent(&count->zero, SynchronizationEvent, FALSE);
}

void ndis_count_add(struct ndis_count *count, LONG n)
{
    __atomic_add_fetch(&count->n, n, __ATOMIC_SEQ_CST);
}

/* The waiter says that it waits before it looks, this looks whether somebody waits after it has
 * counted: one of the two sees the other. Nothing is touched after the last decrement unless a
 * waiter is there, and the waiter keeps the count until it was woken. */
void ndis_count_sub(struct ndis_count *count, LONG n)
{
    if (__atomic_sub_fetch(&count->n, n, __ATOMIC_SEQ_CST) == 0 &&
        __atomic_load_n(&count->is_awaited, __ATOMIC_SEQ_CST))
        KeSetEvent(&count->zero, IO_NO_INCREMENT, FALSE);
}

LONG ndis_count_get(const struct ndis_count *count)
{
    return __atomic_load_n(&count->n, __ATOMIC_SEQ_CST);
}

void ndis_count_wait(struct ndis_count *count)
{
    __atomic_store_n(&count->is_awaited, 1, __ATOMIC_SEQ_CST);
    while (ndis_count_get(count))
        KeWaitForSingleObject(&count->zero, Executive, KernelMode, FALSE, NULL);
    __atomic_store_n(&count->is_awaited, 0, __ATOMIC_SEQ_CST);
}

/* ---- gates ---- */

void ndis_gate_init(struct ndis_gate *gate)
{
    KeInitializeEvent(&gate->event, SynchronizationEvent, TRUE);
}

void ndis_gate_enter(struct ndis_gate *gate)
{
    KeWaitForSingleObject(&gate->event, Executive, KernelMode, FALSE, NULL);
}

void ndis_gate_leave(struct ndis_gate *gate)
{
    KeSetEvent(&gate->event, IO_NO_INCREMENT, FALSE);
}

/* ---- calls into drivers ---- */

struct ndis_callout ndis_callout(const char *handler)
{
    return (struct ndis_callout){handler, nth_irql(), nth_order_spinning()};
}

void ndis_callout_end(const struct ndis_callout *call)
{
    if (nth_irql() != call->irql)
        nth_stop("callout-irql", "%s was called at IRQL %u and came back at %u", call->handler,
                 call->irql, nth_irql());
    if (nth_order_spinning() != call->locks)
        nth_stop("callout-lock", "%s was called with %u spin locks held and came back with %u",
                 call->handler, call->locks, nth_order_spinning());
}

void ndis_check_level(bool says_dispatch)
{
    if (says_dispatch && nth_irql() != DISPATCH_LEVEL)
        nth_stop("flags-dispatch-level-lie", "the DISPATCH_LEVEL flag is set at IRQL %u",
                 nth_irql());
}

void ndis_check_no_lock(void)
{
    if (nth_order_spinning())
        nth_stop("indicate-with-lock-held", "%u spin locks are held", nth_order_spinning());
}

bool ndis_header_is(const NDIS_OBJECT_HEADER *header, UCHAR type, UCHAR max_revision,
                    const USHORT *sizes)
{
    const UCHAR revision = header->Revision;

    return header->Type == type && revision >= 1 && revision <= max_revision &&
           header->Size >= sizes[revision - 1];
}
