/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Lock order over lock instances (core/order.c), without any lock: what may be nested, what is
 * forgotten, what two threads teach each other.
 */
#include "check.h"
#include "core/core.h"

static char a[8], b[8], c[8], d[64];

static void boot(void)
{
    const struct nth_config config = {.mode = NTH_SERIAL};

    nth_boot(&config);
}

static void take(const void *lock, const char *kind)
{
    nth_order_acquire(lock, kind, false);
    nth_order_acquired(lock, kind, false);
}

static void drop(const void *lock, const char *kind)
{
    nth_order_release(lock, kind, false);
}

static void nest(const void *outer, const void *inner)
{
    take(outer, "resource");
    take(inner, "resource");
    drop(inner, "resource");
    drop(outer, "resource");
}

/* The same order any number of times, and releases in any order, are no fault. */
TEST(order_consistent_nesting_passes)
{
    boot();
    for (int i = 0; i < 3; i++) {
        nest(a, b);
        nest(b, c);
        nest(a, c);
    }
    take(a, "resource");
    take(b, "resource");
    drop(a, "resource");
    CHECK(nth_order_holds(b) && !nth_order_holds(a));
    CHECK_EQ(nth_order_held(), 1);
    drop(b, "resource");
    nth_shutdown();
}

/* Driver Verifier, deadlock detection: a cycle of any length. */
TEST(order_cycle_of_three_stops)
{
    boot();
    nest(a, b);
    nest(b, c);
    nth_expect_stop("lock-order");
    nest(c, a);
}

static void nest_ab(void *unused)
{
    nest(a, b);
}

/* Two threads that never met: the order alone is the fault. */
TEST(order_of_two_threads_stops)
{
    boot();
    nth_join(nth_spawn("first", nest_ab, NULL));
    nth_expect_stop("lock-order");
    nest(b, a);
}

/* Trying does not wait, so it cannot deadlock. */
TEST(order_try_against_the_order_passes)
{
    boot();
    nest(a, b);
    take(b, "resource");
    nth_order_acquired(a, "resource", false); /* a try that succeeded */
    drop(a, "resource");
    drop(b, "resource");
    nth_shutdown();
}

/* Memory that was given up has other locks in it next time. */
TEST(order_forgets_freed_memory)
{
    boot();
    nest(d + 8, b);
    nth_order_forget(d, sizeof(d));
    nest(b, d + 8);
    nth_shutdown();
}

/* ... but not its neighbours. */
TEST(order_forgets_no_more_than_freed)
{
    boot();
    nest(d + 32, b);
    nth_order_forget(d, 32);
    nth_expect_stop("lock-order");
    nest(b, d + 32);
}

/* Resources and mutexes belong to a thread and may be taken again; spin locks may not. */
TEST(order_recursion_of_resource_counts)
{
    boot();
    take(a, "resource");
    take(a, "resource");
    drop(a, "resource");
    CHECK(nth_order_holds(a));
    drop(a, "resource");
    CHECK(!nth_order_holds(a));
    nth_shutdown();
}

TEST(order_recursion_of_spin_lock_stops)
{
    boot();
    nth_expect_stop("lock-recursion");
    take(a, "spin lock");
    take(a, "spin lock");
}

static void drop_a(void *unused)
{
    drop(a, "spin lock");
}

/* KeReleaseSpinLock: by who holds it. */
TEST(order_release_by_another_thread_stops)
{
    boot();
    take(a, "spin lock");
    nth_expect_stop("lock-not-held");
    nth_join(nth_spawn("other", drop_a, NULL));
}

/* KeAcquireSpinLockAtDpcLevel: one lock, one IRQL, or a processor can wait for itself. */
TEST(order_spin_lock_at_two_irqls_stops)
{
    boot();
    nth_irql_raise(DISPATCH_LEVEL);
    take(a, "spin lock");
    drop(a, "spin lock");
    nth_irql_lower(PASSIVE_LEVEL);
    nth_expect_stop("lock-irql");
    take(a, "spin lock");
}

TEST(order_counts_spin_locks)
{
    boot();
    take(a, "resource");
    nth_irql_raise(DISPATCH_LEVEL);
    take(b, "spin lock");
    CHECK_EQ(nth_order_held(), 2);
    CHECK_EQ(nth_order_spinning(), 1);
    drop(b, "spin lock");
    CHECK_EQ(nth_order_spinning(), 0);
    nth_irql_lower(PASSIVE_LEVEL);
    drop(a, "resource");
    nth_shutdown();
}
