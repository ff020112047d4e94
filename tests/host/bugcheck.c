/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What a stop tells, and with which exit code a process ends: core.h and nthost.h say.
 */
#include "image.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_STOP = 70, EXIT_HOST = 71 };

static ULONG_PTR NTAPI TestCall(ULONG_PTR(NTAPI *routine)(ULONG_PTR), ULONG_PTR argument)
{
    return routine(argument);
}
NTH_EXPORT(TestCall, 2);

static void (*in_nothing)(void);

static ULONG_PTR NTAPI TestNothing(ULONG_PTR argument)
{
    in_nothing();
    return argument;
}
NTH_EXPORT(TestNothing, 1);

static char report[65536];

/* Runs body in a process of its own; its standard error is in report afterwards. Its exit code. */
static int run(void (*body)(void))
{
    int pipes[2], status;
    size_t done = 0;

    CHECK_EQ(pipe(pipes), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(pipes[1], 2);
        close(pipes[0]);
        body();
        exit(0);
    }
    close(pipes[1]);
    for (ssize_t n; (n = read(pipes[0], report + done, sizeof report - 1 - done)) > 0;)
        done += (size_t)n;
    report[done] = 0;
    close(pipes[0]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_text(const char *text)
{
    if (!strstr(report, text))
        check_fail(__FILE__, __LINE__, "no \"%s\" in the report:\n%s", text, report);
}

/* ---- what a report says ---- */

static void stop_deadlock(void)
{
    nth_trace("the last event is %d", 7);
    nth_stop("deadlock", "number %d", 42);
}

static const char *variant;

static void stop_in_driver_call(void)
{
    in_nothing = stop_deadlock;
    boot(NTH_SERIAL);
    CALL1(load_variant(variant, "imports"), "NestedCall", 1);
}

/* core.h: rule, message, function and line of the driver, thread, IRQL, last events. */
TEST(stop_names_rule_caller_and_events)
{
    for (int v = 0; v < VARIANTS; v++) {
        variant = variants[v];
        CHECK_EQ(run(stop_in_driver_call), EXIT_STOP);
        expect_text("stop deadlock: number 42");
        expect_text("every thread waits and nothing can wake one");
        expect_text("in TestNothing, called by imports");
        expect_text("imports!NestedCall (");
        expect_text("tests/host/drivers/imports.c:");
        expect_text("thread ");
        expect_text("IRQL 0");
        expect_text("the last event is 7");
        expect_text("TestCall from imports+0x");
    }
}

static void stop_without_symbolizer(void)
{
    setenv("PATH", "/nonexistent", 1);
    variant = "gnu-O0";
    stop_in_driver_call();
}

/* A machine without llvm-symbolizer still says where in which module. */
TEST(stop_without_symbolizer_names_module_and_offset)
{
    CHECK_EQ(run(stop_without_symbolizer), EXIT_STOP);
    expect_text("in TestNothing, called by imports+0x");
}

static void fault_in_driver(void)
{
    boot(NTH_PARALLEL);
    CALL1(load_variant("gnu-O0", "imports"), "Read", 0x18);
}

TEST(stop_by_fault_names_function_and_line)
{
    CHECK_EQ(run(fault_in_driver), EXIT_STOP);
    expect_text("stop page-fault: read from 0x18, a null pointer");
    expect_text("imports!Read (");
}

static void crash(void)
{
    boot(NTH_PARALLEL);
    CALL1(load_variant("gnu-O0", "imports"), "Crash", 0xe2);
}

/* KeBugCheckEx: the code and its four parameters. */
TEST(stop_by_bugcheck_tells_code_and_parameters)
{
    CHECK_EQ(run(crash), EXIT_STOP);
    expect_text("KeBugCheckEx(0x000000e2, 0x1, 0x2, 0x3, 0x4)");
    expect_text("imports!Crash (");
}

/* ---- exit codes ---- */

static void expected_comes(void)
{
    boot(NTH_PARALLEL);
    nth_expect_stop("deadlock");
    stop_deadlock();
}

static void another_comes(void)
{
    boot(NTH_PARALLEL);
    nth_expect_stop("leak");
    stop_deadlock();
}

static void none_comes(void)
{
    boot(NTH_PARALLEL);
    nth_expect_stop("leak");
    nth_shutdown();
}

static void none_comes_and_no_shutdown(void)
{
    nth_expect_stop("leak");
}

static void unknown_is_expected(void)
{
    nth_expect_stop("no-such-rule");
}

static void host_fails(void)
{
    nth_fail("the host is out of %s", "luck");
}

/* nthost.h: an announced rule ends with 0 when exactly that rule is broken, else with 70. */
TEST(stop_expected_ends_with_zero)
{
    CHECK_EQ(run(expected_comes), 0);
    expect_text("as expected");
    CHECK_EQ(run(another_comes), EXIT_STOP);
    expect_text("expected stop leak instead");
    CHECK_EQ(run(none_comes), EXIT_STOP);
    expect_text("expected stop leak did not come");
    CHECK_EQ(run(none_comes_and_no_shutdown), EXIT_STOP);
    expect_text("expected stop leak did not come");
}

TEST(stop_of_the_host_has_its_own_code)
{
    CHECK_EQ(run(host_fails), EXIT_HOST);
    expect_text("the host is out of luck");
    CHECK_EQ(run(unknown_is_expected), EXIT_HOST);
}

static pthread_barrier_t together;

static void *stop_too(void *context)
{
    pthread_barrier_wait(&together);
    nth_stop("deadlock", "one of several");
}

static void many_stop(void)
{
    pthread_t threads[8];

    boot(NTH_PARALLEL);
    pthread_barrier_init(&together, NULL, 8);
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, stop_too, NULL);
    pthread_join(threads[0], NULL);
}

/* Several threads may stop at once: one reports. */
TEST(stop_on_many_threads_is_reported_once)
{
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(run(many_stop), EXIT_STOP);
        char *first = strstr(report, "one of several");
        CHECK(first != NULL && strstr(first + 1, "one of several") == NULL);
    }
}

static const char *bad_symbol(uintptr_t address)
{
    nth_stop("deadlock", "within the report");
}

static void stop_within_stop(void)
{
    in_nothing = stop_deadlock;
    boot(NTH_PARALLEL);
    struct nth_image *image = load_variant("gnu-O0", "imports");
    nth_symbol_hook = bad_symbol;
    CALL1(image, "NestedCall", 1);
}

TEST(stop_within_a_report_ends_it)
{
    CHECK_EQ(run(stop_within_stop), EXIT_STOP);
    expect_text("number 42");
    expect_text("second stop");
}
