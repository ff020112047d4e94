/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Failures on demand, and the ledger of everything drivers hold and must give back. Only calls that
 * a driver makes can be made to fail: the host's own work never is.
 */
#include "core/core.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ---- faults on demand ---- */

static atomic_uint armed_mask, armed_number, seen;
static _Atomic(const char *) fired_site;

void nth_fault_arm(uint32_t kind_mask, unsigned n)
{
    atomic_store(&armed_number, 0);
    atomic_store(&seen, 0);
    atomic_store(&fired_site, NULL);
    atomic_store(&armed_mask, kind_mask);
    atomic_store(&armed_number, n);
}

unsigned nth_fault_seen(void)
{
    return atomic_load(&seen);
}

bool nth_fault_fired(void)
{
    return atomic_load(&fired_site) != NULL;
}

const char *nth_fault_site(void)
{
    return atomic_load(&fired_site);
}

bool nth_fault(enum nth_fault_kind kind, const char *what)
{
    if (!nth_call_name() || !(atomic_load(&armed_mask) >> kind & 1))
        return false;
    const unsigned number = atomic_fetch_add(&seen, 1) + 1;
    if (number != atomic_load(&armed_number))
        return false;
    atomic_store(&fired_site, what);
    nth_trace("fault: %s made to fail (call %u)", what, number);
    return true;
}

/* ---- ledger ---- */

enum { BUCKETS = 4096, REPORTED = 24 };

struct entry {
    struct entry *next;
    const char *kind;
    const void *object;
    size_t bytes;
    uintptr_t owner, site;
};

static struct bucket {
    struct nth_mutex lock;
    struct entry *first; /* guarded by lock */
} buckets[BUCKETS] = {[0 ... BUCKETS - 1] = {NTH_MUTEX_INIT, NULL}};

static struct bucket *bucket_of(const void *object)
{
    const uint64_t hash = (uint64_t)object * 0x9e3779b97f4a7c15ull;

    return &buckets[hash >> 52];
}

void nth_ledger_add(const char *kind, const void *object, size_t bytes, uintptr_t owner)
{
    struct bucket *bucket = bucket_of(object);
    struct entry *entry = malloc(sizeof *entry);

    if (!entry)
        nth_fail("no memory for the ledger");
    const uintptr_t site = nth_call_site();
    *entry = (struct entry){NULL, kind, object, bytes, owner ? owner : site, site ? site : owner};
    nth_lock(&bucket->lock);
    entry->next = bucket->first;
    bucket->first = entry;
    nth_unlock(&bucket->lock);
}

/* The link that points to the newest matching entry, or to NULL. */
static struct entry **find(struct bucket *bucket, const char *kind, const void *object)
{
    struct entry **link = &bucket->first;

    while (*link && ((*link)->object != object || strcmp((*link)->kind, kind) != 0))
        link = &(*link)->next;
    return link;
}

void nth_ledger_remove(const char *kind, const void *object)
{
    struct bucket *bucket = bucket_of(object);

    nth_lock(&bucket->lock);
    struct entry **link = find(bucket, kind, object), *entry = *link;
    if (entry)
        *link = entry->next;
    nth_unlock(&bucket->lock);
    if (!entry)
        nth_stop("double-free", "%s %p is given back but not held", kind, object);
    free(entry);
}

bool nth_ledger_has(const char *kind, const void *object)
{
    struct bucket *bucket = bucket_of(object);

    nth_lock(&bucket->lock);
    const bool has = *find(bucket, kind, object) != NULL;
    nth_unlock(&bucket->lock);
    return has;
}

/* Calls visit under the bucket's lock: it must not stop or call back here. */
static void for_each(void (*visit)(const struct entry *entry, void *context), void *context)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        nth_lock(&buckets[i].lock);
        for (const struct entry *e = buckets[i].first; e; e = e->next)
            visit(e, context);
        nth_unlock(&buckets[i].lock);
    }
}

struct sum {
    const char *kind;
    size_t bytes;
};

static void add_bytes(const struct entry *entry, void *context)
{
    struct sum *sum = context;

    if (!sum->kind || strcmp(sum->kind, entry->kind) == 0)
        sum->bytes += entry->bytes;
}

size_t nth_ledger_bytes(const char *kind)
{
    struct sum sum = {kind, 0};

    for_each(add_bytes, &sum);
    return sum.bytes;
}

struct leaks {
    uintptr_t base;
    size_t size;
    unsigned count;
    struct entry first[REPORTED];
};

static void collect(const struct entry *entry, void *context)
{
    struct leaks *leaks = context;

    if (entry->owner - leaks->base >= leaks->size)
        return;
    if (leaks->count < REPORTED)
        leaks->first[leaks->count] = *entry;
    leaks->count++;
}

void nth_ledger_check(uintptr_t base, size_t size, const char *driver)
{
    struct leaks leaks = {.base = base, .size = size};

    for_each(collect, &leaks);
    if (leaks.count == 0)
        return;
    for (unsigned i = 0; i < leaks.count && i < REPORTED; i++) {
        const struct entry *e = &leaks.first[i];
        nth_stop_note("left: %s %p, %zu bytes, from %s", e->kind, e->object, e->bytes,
                      nth_symbol_hook ? nth_symbol_hook(e->site) : "?");
    }
    nth_stop("leak", "%s still holds %u object%s", driver, leaks.count,
             leaks.count == 1 ? "" : "s");
}

/* What is left when every driver is gone has no owner that could give it back. */
static void check_all(void)
{
    nth_ledger_check(0, SIZE_MAX, "the machine at shutdown");
}

NTH_SUBSYSTEM(ledger, 15, NULL, check_all);
