/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A broken rule of the Ke and Ex functions stops the machine and is named. Each test runs one
 * export of drivers/kebad.c; core/rules.def has the page of each rule.
 */
#include "image.h"

/* Runs in a machine of its own; a driver that gets away with it fails the test. */
static void breaks(const char *rule, const char *name, enum nth_mode mode)
{
    const struct nth_config config = {.mode = mode};

    nth_boot(&config);
    struct nth_image *image = load_variant(mode == NTH_SERIAL ? "gnu-O2" : "msvc-O0", "kebad");
    nth_expect_stop(rule);
    CALL0(image, name);
    nth_ledger_check((uintptr_t)nth_image_base(image), nth_image_size(image), "kebad");
    check_fail(__FILE__, __LINE__, "%s got away with it", name);
}

#define RULE(test, rule, name)                                                                     \
    TEST(test##_serial)                                                                            \
    {                                                                                              \
        breaks(rule, name, NTH_SERIAL);                                                            \
    }                                                                                              \
    TEST(test##_parallel)                                                                          \
    {                                                                                              \
        breaks(rule, name, NTH_PARALLEL);                                                          \
    }

/* Found by exact memory; under AddressSanitizer the pool is its allocator, which sees what drivers
 * do only in their address-check builds. */
#ifdef NTH_ASAN
#define MEMORY_RULE(test, rule, name)
#else
#define MEMORY_RULE(test, rule, name) RULE(test, rule, name)
#endif

RULE(passive_function_at_dispatch, "irql-too-high", "PassiveFunctionAtDispatch")
RULE(paged_pool_at_dispatch, "irql-too-high", "PagedPoolAtDispatch")
RULE(paged_pool_freed_at_dispatch, "irql-too-high", "PagedPoolFreedAtDispatch")
RULE(dispatch_function_at_passive, "irql-too-low", "DispatchFunctionAtPassive")
RULE(raise_to_lower, "irql-direction", "RaiseToLower")
RULE(lower_to_higher, "irql-direction", "LowerToHigher")
RULE(lower_with_lock, "irql-lowered-with-lock", "LowerWithLock")
RULE(release_outer_first_to_passive, "irql-lowered-with-lock", "ReleaseOuterFirstToPassive")
RULE(unicode_print_at_dispatch, "irql-too-high", "UnicodePrintAtDispatch")
RULE(lower_in_dpc, "irql-direction", "LowerInDpc")
RULE(dpc_returns_with_lock, "callout-lock", "DpcReturnsWithLock")

RULE(wait_at_dispatch, "wait-at-dispatch", "WaitAtDispatch")
RULE(wait_with_spin_lock, "wait-at-dispatch", "WaitWithSpinLock")
RULE(delay_at_dispatch, "irql-too-high", "DelayAtDispatch")
RULE(set_and_not_wait, "wait-not-next", "SetAndNotWait")
RULE(wait_for_all_of_the_same, "wait-object-twice", "WaitForAllOfTheSame")
RULE(wait_for_too_many, "bugcheck", "WaitForTooMany")
RULE(set_uninitialized_event, "object-not-initialized", "SetUninitializedEvent")
RULE(set_semaphore_as_event, "object-not-initialized", "SetSemaphoreAsEvent")
RULE(semaphore_over_its_limit, "bad-parameter", "SemaphoreOverItsLimit")

RULE(spin_lock_twice, "lock-recursion", "SpinLockTwice")
RULE(shared_spin_lock_twice, "lock-recursion", "SharedSpinLockTwice")
RULE(lock_order, "lock-order", "LockOrder")
RULE(release_free_lock, "lock-not-held", "ReleaseFreeLock")
RULE(release_shared_as_exclusive, "lock-not-held", "ReleaseSharedAsExclusive")
RULE(lock_at_two_irqls, "lock-irql", "LockAtTwoIrqls")
RULE(plain_and_queued, "lock-kind", "PlainAndQueued")
RULE(release_queued_twice, "lock-not-held", "ReleaseQueuedTwice")
RULE(fast_mutex_twice, "lock-recursion", "FastMutexTwice")
RULE(resource_without_region, "resource-without-critical-region", "ResourceWithoutRegion")
RULE(shared_resource_wanted_exclusively, "lock-recursion", "SharedResourceWantedExclusively")
RULE(release_free_resource, "lock-not-held", "ReleaseFreeResource")
RULE(uninitialized_resource, "object-not-initialized", "UninitializedResource")
RULE(delete_held_resource, "active-object-freed", "DeleteHeldResource")
RULE(push_lock_without_region, "irql-too-low", "PushLockWithoutRegion")
RULE(leave_region_not_entered, "critical-region", "LeaveRegionNotEntered")

RULE(rundown_released_twice, "rundown-not-held", "RundownReleasedTwice")
RULE(rundown_released_after_its_end, "rundown-not-held", "RundownReleasedAfterItsEnd")
RULE(cache_aware_released_twice, "rundown-not-held", "CacheAwareReleasedTwice")
RULE(rundown_reinitialized_while_up, "rundown-state", "RundownReinitializedWhileUp")
RULE(rundown_completed_while_up, "rundown-state", "RundownCompletedWhileUp")

RULE(pool_of_nothing, "pool-zero-bytes", "PoolOfNothing")
RULE(pool_without_tag, "pool-tag", "PoolWithoutTag")
RULE(pool_freed_with_other_tag, "pool-tag", "PoolFreedWithOtherTag")
RULE(pool_freed_twice, "double-free", "PoolFreedTwice")
RULE(pool_freed_inside, "double-free", "PoolFreedInside")
MEMORY_RULE(pool_written_before, "pool-overrun", "PoolWrittenBefore")
MEMORY_RULE(pool_written_into_slack, "pool-overrun", "PoolWrittenIntoSlack")
MEMORY_RULE(pool_written_past_the_end, "page-fault", "PoolWrittenPastTheEnd")
MEMORY_RULE(pool_read_after_free, "page-fault", "PoolReadAfterFree")
RULE(pool_with_timer, "active-object-freed", "PoolWithTimer")
RULE(pool_with_dpc_of_timer, "active-object-freed", "PoolWithDpcOfTimer")
RULE(pool_with_queued_dpc, "active-object-freed", "PoolWithQueuedDpc")
RULE(pool_with_held_lock, "active-object-freed", "PoolWithHeldLock")
RULE(pool_with_resource, "active-object-freed", "PoolWithResource")
RULE(pool_with_lookaside, "active-object-freed", "PoolWithLookaside")
RULE(timer_initialized_while_set, "active-object-freed", "TimerInitializedWhileSet")
RULE(pool_leak, "leak", "PoolLeak")
RULE(lookaside_leak, "leak", "LookasideLeak")

RULE(work_item_queued_twice, "bugcheck", "WorkItemQueuedTwice")
RULE(float_formatted, "not-provided", "FloatFormatted")
RULE(failed_assertion, "assertion", "FailedAssertion")
RULE(priority_out_of_range, "bad-parameter", "PriorityOutOfRange")

#ifndef NTH_ASAN
/* "Managing Memory Sections": paged memory is out of reach at DISPATCH_LEVEL. Certain with one
 * thread at a time, when nobody else can be below it. */
TEST(paged_pool_touched_at_dispatch)
{
    breaks("page-fault", "PagedPoolTouchedAtDispatch", NTH_SERIAL);
}
#endif

/* Every thread waits and nothing can wake one: only one thread at a time makes that certain. */
TEST(wait_for_ever_is_a_deadlock)
{
    breaks("deadlock", "WaitForEver", NTH_SERIAL);
}
