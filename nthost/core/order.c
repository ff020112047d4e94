/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Lock order, recursion, and one IRQL for each spin lock, over lock instances. What a thread holds
 * is its own; the graph of "held while acquiring" is global and touched only when a thread meets a
 * pair of locks that it has not met lately. Never touches the lock itself: its memory is a
 * driver's.
 */
#include "core/core.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { HELD_MAX = 64, CACHE_SIZE = 64, BUCKETS = 1024 };

struct held {
    const void *lock;
    const char *kind;
    bool is_shared;
    unsigned count; /* of its owner's acquisitions */
};

struct edge {
    struct node *to;
    struct edge *next;
    uintptr_t site; /* where the second lock was acquired */
};

struct node {
    const void *lock;
    const char *kind;
    struct node *next; /* of its bucket */
    struct edge *edges;
    unsigned visit;
    int irql; /* of a spin lock's first acquisition; -1: none yet */
};

/* What this thread knows to be in the graph already; void once the generation changes. */
struct seen {
    const void *from, *to; /* from a kind: as what, and at which IRQL, to was held */
    unsigned generation;
    int irql;
};

static __thread struct held held[HELD_MAX];
static __thread unsigned held_count, spin_count;
static __thread struct seen cache[CACHE_SIZE];

static struct nth_mutex graph_lock = NTH_MUTEX_INIT;
static struct node *buckets[BUCKETS];
static _Atomic unsigned node_count, generation = 1;
static unsigned visit;

static bool is_spin(const char *kind)
{
    return kind[0] == 's' && kind[1] == 'p';
}

static bool may_recurse(const char *kind)
{
    return strcmp(kind, "resource") == 0 || strcmp(kind, "mutex") == 0;
}

static const char *where(uintptr_t site)
{
    const char *text = site && nth_symbol_hook ? nth_symbol_hook(site) : NULL;

    return text ? text : "the host";
}

static struct held *find_held(const void *lock)
{
    for (unsigned i = held_count; i-- > 0;)
        if (held[i].lock == lock)
            return &held[i];
    return NULL;
}

/* ---- graph, under its lock ---- */

static size_t bucket_of(const void *lock)
{
    return ((uintptr_t)lock >> 3) * 0x9E3779B97F4A7C15U >> 54;
}

static struct node *node_of(const void *lock, const char *kind)
{
    struct node **const bucket = &buckets[bucket_of(lock)];

    for (struct node *n = *bucket; n; n = n->next)
        if (n->lock == lock)
            return n;
    struct node *node = calloc(1, sizeof(*node));
    if (!node)
        nth_fail("no memory for the lock order");
    *node = (struct node){.lock = lock, .kind = kind, .next = *bucket, .irql = -1};
    *bucket = node;
    atomic_fetch_add(&node_count, 1);
    return node;
}

/* The first step of a path from here to there, or NULL. */
static const struct edge *find_path(struct node *from, const struct node *to)
{
    from->visit = visit;
    for (const struct edge *e = from->edges; e; e = e->next)
        if (e->to == to || (e->to->visit != visit && find_path(e->to, to)))
            return e;
    return NULL;
}

static void add_edge(const struct held *first, const void *lock, const char *kind)
{
    struct node *const from = node_of(first->lock, first->kind);
    struct node *const to = node_of(lock, kind);

    for (const struct edge *e = from->edges; e; e = e->next)
        if (e->to == to)
            return;
    visit++;
    const struct edge *const back = find_path(to, from);
    if (back) {
        const uintptr_t site = back->site;
        nth_unlock(&graph_lock);
        nth_stop("lock-order", "%s %p is acquired with %s %p held; the other order was seen at %s",
                 kind, lock, first->kind, first->lock, where(site));
    }
    struct edge *edge = malloc(sizeof(*edge));
    if (!edge)
        nth_fail("no memory for the lock order");
    *edge = (struct edge){.to = to, .next = from->edges, .site = nth_call_site()};
    from->edges = edge;
}

static void learn_irql(const void *lock, const char *kind, int irql)
{
    struct node *const node = node_of(lock, kind);
    const int first = node->irql;

    if (node->kind != kind && strcmp(node->kind, kind) != 0) {
        const char *const other = node->kind;
        nth_unlock(&graph_lock);
        nth_stop("lock-kind", "%p is acquired as %s now and was as %s before", lock, kind, other);
    }
    if (first < 0)
        node->irql = irql;
    if (first < 0 || first == irql)
        return;
    nth_unlock(&graph_lock);
    nth_stop("lock-irql", "%s %p is held at IRQL %d now and was held at %d before", kind, lock,
             irql, first);
}

/* ---- the thread's own knowledge ---- */

static bool is_known(const void *from, const void *to, int irql)
{
    const size_t slot = (bucket_of(from) * 31 + bucket_of(to)) % CACHE_SIZE;
    struct seen *const s = &cache[slot];
    const unsigned now = atomic_load_explicit(&generation, memory_order_acquire);

    if (s->from == from && s->to == to && s->irql == irql && s->generation == now)
        return true;
    *s = (struct seen){.from = from, .to = to, .generation = now, .irql = irql};
    return false;
}

/* ---- verbs ---- */

void nth_order_acquire(const void *lock, const char *kind, bool shared)
{
    if (held_count == 0)
        return;
    const struct held *const own = find_held(lock);
    if (own && !may_recurse(kind))
        nth_stop("lock-recursion", "%s %p is held by this thread already", kind, lock);
    if (own)
        return;
    for (unsigned i = 0; i < held_count; i++) {
        if (is_known(held[i].lock, lock, 0))
            continue;
        nth_lock(&graph_lock);
        add_edge(&held[i], lock, kind);
        nth_unlock(&graph_lock);
    }
}

void nth_order_acquired(const void *lock, const char *kind, bool shared)
{
    struct held *const own = held_count ? find_held(lock) : NULL;

    if (own) {
        if (!may_recurse(kind))
            nth_stop("lock-recursion", "%s %p is held by this thread already", kind, lock);
        own->count++;
        return;
    }
    if (held_count == HELD_MAX)
        nth_stop("lock-order", "a thread holds %d locks", HELD_MAX);
    held[held_count++] = (struct held){.lock = lock, .kind = kind, .is_shared = shared, .count = 1};
    if (!is_spin(kind))
        return;
    spin_count++;
    if (nth_config.relaxed_memory) /* benches: one lookup less for each acquisition */
        return;
    const int irql = nth_irql();
    if (is_known(kind, lock, irql))
        return;
    nth_lock(&graph_lock);
    learn_irql(lock, kind, irql);
    nth_unlock(&graph_lock);
}

void nth_order_release(const void *lock, const char *kind, bool shared)
{
    struct held *const own = find_held(lock);

    if (!own)
        nth_stop("lock-not-held", "%s %p is not held by this thread", kind, lock);
    if (own->kind != kind && strcmp(own->kind, kind) != 0)
        nth_stop("lock-not-held", "%p is held as %s and released as %s", lock, own->kind, kind);
    if (!may_recurse(kind) && own->is_shared != shared)
        nth_stop("lock-not-held", "%s %p is held %s and released %s", kind, lock,
                 own->is_shared ? "shared" : "exclusive", shared ? "shared" : "exclusive");
    if (--own->count > 0)
        return;
    if (is_spin(kind))
        spin_count--;
    const size_t above = (size_t)(&held[held_count] - (own + 1));
    memmove(own, own + 1, above * sizeof(*own));
    held_count--;
}

bool nth_order_holds(const void *lock)
{
    return find_held(lock) != NULL;
}

unsigned nth_order_held(void)
{
    return held_count;
}

unsigned nth_order_spinning(void)
{
    return spin_count;
}

const void *nth_order_held_at(unsigned index, const char **kind)
{
    if (index >= held_count)
        return NULL;
    *kind = held[index].kind;
    return held[index].lock;
}

/* ---- forgetting ---- */

static bool is_within(const void *lock, const void *base, size_t bytes)
{
    return (uintptr_t)lock - (uintptr_t)base < bytes;
}

static void drop_edges(struct node *node, const void *base, size_t bytes, bool all)
{
    for (struct edge **at = &node->edges; *at;) {
        struct edge *const edge = *at;
        if (all || is_within(edge->to->lock, base, bytes)) {
            *at = edge->next;
            free(edge);
        } else {
            at = &edge->next;
        }
    }
}

static bool has_nodes_within(const void *base, size_t bytes)
{
    if (bytes / 8 > BUCKETS)
        return true;
    for (size_t i = 0; i < bytes; i += 8)
        for (const struct node *n = buckets[bucket_of((const char *)base + i)]; n; n = n->next)
            if (n->lock == (const char *)base + i)
                return true;
    return false;
}

static void drop_nodes(const void *base, size_t bytes)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct node *n = buckets[i]; n; n = n->next)
            drop_edges(n, base, bytes, is_within(n->lock, base, bytes));
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct node **at = &buckets[i]; *at;) {
            struct node *const node = *at;
            if (!is_within(node->lock, base, bytes)) {
                at = &node->next;
                continue;
            }
            *at = node->next;
            free(node);
            atomic_fetch_sub(&node_count, 1);
        }
    atomic_fetch_add_explicit(&generation, 1, memory_order_release);
}

/* The memory's next use has locks of its own; what was learnt about these is void. */
void nth_order_forget(const void *lock, size_t bytes)
{
    for (unsigned i = 0; i < held_count; i++)
        if (is_within(held[i].lock, lock, bytes))
            nth_stop("active-object-freed", "%s %p is held while its memory is given up",
                     held[i].kind, held[i].lock);
    if (atomic_load(&node_count) == 0)
        return;
    nth_lock(&graph_lock);
    if (has_nodes_within(lock, bytes))
        drop_nodes(lock, bytes);
    nth_unlock(&graph_lock);
}
