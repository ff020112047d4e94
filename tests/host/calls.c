/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Functions imported and called by a driver in each of its builds (drivers/calls.c has the page of
 * each), and rules that the tests of their subjects do not break.
 */
#include "caller.h"

#include <unistd.h>

static const char *const builds[] = {"gnu-O0", "gnu-O2", "msvc-O0", "msvc-O2"};
static struct nth_driver *calls;

static void load(const char *build)
{
    char path[128];

    nth_boot(&(struct nth_config){.mode = NTH_SERIAL});
    snprintf(path, sizeof(path), "out/drivers/%s/calls.sys", build);
    CHECK_STATUS(nth_driver_load(path, "Calls", &calls), STATUS_SUCCESS);
}

static unsigned line_of(const char *name)
{
    unsigned(NTAPI * subject)(void) = (unsigned(NTAPI *)(void))nth_image_export(calls->image, name);

    if (subject == NULL)
        check_fail(__FILE__, __LINE__, "calls.sys does not export %s", name);
    return subject();
}

static void end(void)
{
    CHECK_STATUS(nth_driver_unload(calls), STATUS_SUCCESS);
    nth_shutdown();
}

static void holds(const char *name)
{
    for (unsigned i = 0; i < ARRAYSIZE(builds); i++) {
        load(builds[i]);
        const unsigned line = line_of(name);
        if (line != 0)
            check_fail("tests/host/drivers/calls.c", (int)line, "%s, built as %s", name, builds[i]);
        end();
    }
}

#define HOLDS(test, name)                                                                          \
    TEST(test)                                                                                     \
    {                                                                                              \
        holds(name);                                                                               \
    }

HOLDS(queue_with_insert_context_answers_the_routine, "QueueCalls")
HOLDS(request_in_own_memory_is_initialised, "RequestCalls")
HOLDS(thread_is_referenced_by_its_handle, "ThreadCalls")
HOLDS(notify_routine_of_an_unsigned_image_is_refused, "NotifyCalls")
HOLDS(dpc_runs_on_its_target_processor, "SystemCalls")
HOLDS(key_of_the_service_opens, "RegistryCalls")
HOLDS(access_check_tells_absent_from_empty_list, "SecurityCalls")

TEST(interface_is_registered_enabled_and_disabled)
{
    /* IoRegisterDeviceInterface, IoSetDeviceInterfaceState, on the driver's own device */
    for (unsigned i = 0; i < ARRAYSIZE(builds); i++) {
        struct nth_device *device = NULL;
        load(builds[i]);
        CHECK_STATUS(nth_plug(calls, NULL, &device), STATUS_SUCCESS);
        CHECK_EQ(line_of("InterfaceCalls"), 0);
        CHECK_STATUS(nth_unplug(device), STATUS_SUCCESS);
        end();
    }
}

TEST(requestor_of_an_open_is_its_process)
{
    /* IoGetRequestorProcess: the process of the thread that originally requested the operation */
    for (unsigned i = 0; i < ARRAYSIZE(builds); i++) {
        client_handle file = 0;
        load(builds[i]);
        struct client *client = program(CLIENT_SYSTEM);
        CHECK_STATUS(client_open(client, "\\\\.\\Calls", CLIENT_READ, &file), STATUS_SUCCESS);
        CHECK_EQ(line_of("RequestorCalls"), 0);
        client_close(client, file);
        client_destroy(client);
        end();
    }
}

TEST(bug_check_of_the_driver_stops)
{
    /* KeBugCheck: "brings down the system in a controlled manner" */
    load("msvc-O2");
    nth_expect_stop("bugcheck");
    line_of("BugCheckCalls");
}

/* ---- rules ---- */

TEST(queued_request_with_its_context_changed_stops)
{
    /* IoCsqInsertIrp: DriverContext[3] belongs to the queue while the IRP is in it */
    load("gnu-O2");
    nth_expect_stop("csq-context");
    line_of("QueueContextChanged");
}

TEST(thread_that_ends_with_a_lock_held_stops)
{
    /* Driver Verifier, deadlock detection: a thread ends while it owns a resource */
    load("gnu-O2");
    nth_expect_stop("lock-held-on-return");
    line_of("ThreadKeepsLock");
}

TEST(request_that_is_none_stops)
{
    /* DRIVER_VERIFIER_IOMANAGER_VIOLATION: an IRP with a type that is not IO_TYPE_IRP */
    static IRP none;
    boot();
    nth_expect_stop("irp-invalid");
    CALL("IofCompleteRequest", P(&none), IO_NO_INCREMENT);
}

TEST(request_cancelled_after_it_was_freed_stops)
{
    /* IoFreeIrp releases the IRP: nothing may touch it afterwards */
    boot();
    const uint64_t irp = CALL("IoAllocateIrp", 1, 0);
    CHECK(irp != 0);
    CALL("IoFreeIrp", irp);
    nth_expect_stop("irp-touched-after-completion");
    CALL("IoCancelIrp", irp);
}

TEST(lock_of_an_empty_mdl_stops)
{
    /* MmProbeAndLockPages: a range of pages to lock has at least one byte */
    static uint8_t byte;
    boot();
    const uint64_t mdl = CALL("IoAllocateMdl", P(&byte), 0, 0, 0, 0);
    CHECK(mdl != 0);
    nth_expect_stop("mdl-empty");
    CALL("MmProbeAndLockPages", mdl, KernelMode, IoReadAccess);
}

TEST(secondary_mdl_without_request_stops)
{
    /* IoAllocateMdl: SecondaryBuffer "must be FALSE" when no IRP is given */
    static uint8_t byte;
    boot();
    nth_expect_stop("mdl-secondary");
    CALL("IoAllocateMdl", P(&byte), 1, TRUE, 0, 0);
}

TEST(probe_with_odd_alignment_stops)
{
    /* ProbeForRead: Alignment is 1, 2, 4, 8 or 16 */
    boot();
    nth_expect_stop("probe-alignment");
    CALL("ProbeForRead", 0x10000, 4, 3);
}

static void on_stop(const char *rule)
{
    _exit(strcmp(rule, "expected-stop") == 0 ? 0 : 1);
}

TEST(announced_stop_that_does_not_come_is_a_stop)
{
    /* core/rules.def: a test that announces a stop cannot pass without it */
    boot();
    nth_expect_stop("leak");
    nth_stop_hook = on_stop;
    CHECK_STATUS(nth_driver_unload(caller), STATUS_SUCCESS);
    nth_shutdown();
    check_fail(__FILE__, __LINE__, "the machine ended quietly");
}
