/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Each rule of IRPs, devices, work items and remove locks, broken by the gadget driver.
 */
#include "gadget.h"

#define ECHO CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)

static void read_breaks(ULONG mode, const char *rule)
{
    IO_STATUS_BLOCK iosb;
    uint8_t data[16];

    boot();
    S.Mode[IRP_MJ_READ] = mode;
    const HANDLE file = open_gadget(0);
    nth_expect_stop(rule);
    nth_io_read(file, NULL, NULL, &iosb, data, sizeof(data));
    nth_io_cancel(file, NULL);
    check_fail(__FILE__, __LINE__, "no stop");
}

/* IoMarkIrpPending: "the dispatch routine must return STATUS_PENDING", and only then. */
TEST(rule_pending_unmarked)
{
    read_breaks(GADGET_PEND_UNMARKED, "irp-returned-pending-unmarked");
}

TEST(rule_marked_not_pending)
{
    read_breaks(GADGET_MARK_NOT_PENDING, "irp-marked-but-not-pending");
}

/* Bug check 0x44 MULTIPLE_IRP_COMPLETE_REQUESTS */
TEST(rule_completed_twice)
{
    read_breaks(GADGET_TWICE, "irp-completed-twice");
}

/* IofCompleteRequest: the status must not be STATUS_PENDING. */
TEST(rule_status_pending)
{
    read_breaks(GADGET_STATUS_PENDING, "irp-status-pending-completed");
}

/* Bug check 0x48 CANCEL_STATE_IN_COMPLETED_IRP */
TEST(rule_cancel_routine_at_completion)
{
    read_breaks(GADGET_CANCEL_SET, "irp-cancel-routine-set-at-completion");
}

TEST(rule_irp_lost)
{
    read_breaks(GADGET_LOSE, "irp-not-completed");
}

/* KeAcquireSpinLock, KeRaiseIrql: undone before a routine returns. */
TEST(rule_lock_kept)
{
    read_breaks(GADGET_LEAVE_LOCK, "callout-irql");
}

TEST(rule_irql_kept)
{
    read_breaks(GADGET_LEAVE_IRQL, "callout-irql");
}

/* IoCancelIrp: the cancel routine must release the cancel spin lock. */
TEST(rule_cancel_lock_kept)
{
    read_breaks(GADGET_CANCEL_KEEPS_LOCK, "irp-cancel-lock");
}

/* Bug check 0x35 NO_MORE_IRP_STACK_LOCATIONS */
TEST(rule_stack_overflow)
{
    read_breaks(GADGET_FORWARD_TOO_FAR, "irp-stack-overflow");
}

static void act_breaks(ULONG what, uint64_t a, const char *rule)
{
    boot();
    nth_expect_stop(rule);
    act(what, a, 0, 0);
    nth_shutdown();
    check_fail(__FILE__, __LINE__, "no stop");
}

TEST(rule_own_irp_not_reclaimed)
{
    act_breaks(ACT_OWN_IRP_LOST, 0, "irp-not-reclaimed");
}

/* IoFreeIrp: only an IRP that no lower driver has. */
TEST(rule_own_irp_freed_in_use)
{
    boot();
    S.Mode[IRP_MJ_READ] = GADGET_QUEUE;
    nth_expect_stop("irp-freed-in-use");
    act(ACT_OWN_IRP_FREED, 0, 0, 0);
}

/* IoDetachDevice before IoDeleteDevice. */
TEST(rule_delete_attached)
{
    boot();
    act(ACT_ATTACH, 0, 0, 0);
    nth_expect_stop("device-deleted-attached");
    act(ACT_DELETE_DEVICE, 0, 0, 0);
}

/* IoDeleteDevice: "only once for a given device object". */
TEST(rule_delete_twice)
{
    HANDLE handle;

    boot();
    CHECK_STATUS(open_path("\\Device\\Gadget", FILE_READ_DATA, 0, &handle), STATUS_SUCCESS);
    nth_expect_stop("device-deleted-twice");
    act(ACT_DELETE_TWICE, 0, 0, 0);
}

/* DriverUnload: devices and links that are left are a leak. */
TEST(rule_device_left_at_unload)
{
    boot();
    S.LeakDevice = 1;
    nth_expect_stop("leak");
    nth_driver_unload(gadget);
}

TEST(rule_link_left_at_unload)
{
    boot();
    CHECK_STATUS(act(ACT_SYSTEM_LINK, 0, 0, 0), STATUS_SUCCESS);
    nth_expect_stop("leak");
    nth_driver_unload(gadget);
}

/* IoQueueWorkItem: not while it is queued; IoFreeWorkItem: "only free a work item that is not
 * currently queued". */
TEST(rule_work_item_queued_twice)
{
    act_breaks(ACT_WORK_TWICE, 0, "workitem");
}

TEST(rule_work_item_freed_queued)
{
    act_breaks(ACT_WORK_FREE_QUEUED, 0, "workitem");
}

/* IoReleaseRemoveLock: with the tag it was acquired with. */
TEST(rule_remove_lock_wrong_tag)
{
    act_breaks(ACT_REMLOCK_WRONG, 0, "remove-lock");
}

/* IRP: Information of buffered I/O is copied to the user; more than there is would be a leak. */
TEST(rule_information_too_large)
{
    IO_STATUS_BLOCK iosb;
    uint8_t data[16] = {0};

    boot();
    S.Mode[IRP_MJ_DEVICE_CONTROL] = GADGET_ECHO;
    const HANDLE file = open_gadget(0);
    S.Information = 17;
    nth_expect_stop("irp-information");
    nth_io_control(file, NULL, NULL, &iosb, ECHO, data, 4, data, 16);
}

/* IofCompleteRequest: the IRP is not the driver's any more; exact memory is gone at once. */
TEST(rule_irp_touched_after_completion)
{
    read_breaks(GADGET_TOUCH_AFTER, "page-fault");
}
