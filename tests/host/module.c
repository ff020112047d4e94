/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * User modules: loading a DLL into a process, its threads, the kernel32 functions it calls,
 * failures on demand, and the death of its process at any step. Each test cites the page it
 * follows.
 */
#include "check.h"
#include "nthost.h"
#include "win32/win32.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define SERIAL   (&(const struct nth_config){.mode = NTH_SERIAL, .seed = 1})
#define PARALLEL (&(const struct nth_config){.mode = NTH_PARALLEL})

#if defined(NTH_ASAN)
#define PROBE "out/modules/asan/probe.dll"
#elif defined(NTH_TSAN)
#define PROBE "out/modules/tsan/probe.dll"
#else
#define PROBE "out/modules/probe.dll"
#endif

struct probe {
    struct win32_process *process;
    struct win32_module *module;
    struct win32_ledger before;
};

static struct probe probe_as(enum client_token token)
{
    const struct client_config config = {.name = "probe", .token = token};
    struct probe probe = {.process = win32_process_create(&config)};
    const char *error = NULL;

    CHECK(probe.process != NULL);
    win32_ledger_take(probe.process, &probe.before);
    probe.module = win32_load(probe.process, PROBE, &error);
    if (probe.module == NULL)
        check_fail(__FILE__, __LINE__, "%s: %s", PROBE, error);
    return probe;
}

/* Unloads it; everything it held must be gone. */
static void probe_end(struct probe *probe)
{
    win32_unload(probe->module);
    const char *left = win32_ledger_differs(probe->process, &probe->before);
    if (left != NULL)
        check_fail(__FILE__, __LINE__, "%s", left);
    win32_process_destroy(probe->process);
}

/* One call of a function of up to two arguments, in a thread of its own. */
struct call {
    void *function;
    uint64_t a, b, result;
    uint32_t error;
};

static void run_call(void *context)
{
    struct call *call = context;
    uint64_t(NTAPI * function)(uint64_t a, uint64_t b) = call->function;

    win32_set_last_error(0xdead);
    call->result = function(call->a, call->b);
    call->error = win32_last_error();
}

static struct call call(struct probe *probe, const char *name, uint64_t a, uint64_t b)
{
    struct call call = {.function = win32_symbol(probe->module, name), .a = a, .b = b};

    if (call.function == NULL)
        check_fail(__FILE__, __LINE__, "%s is not exported", name);
    CHECK(win32_run(probe->process, run_call, &call));
    return call;
}

static int number(struct probe *probe, const char *name)
{
    return *(int *)win32_symbol(probe->module, name);
}

TEST(module_is_attached_and_detached)
{
    /* "DllMain entry point": DLL_PROCESS_ATTACH once, then DLL_THREAD_ATTACH and
     * DLL_THREAD_DETACH for each thread that begins and ends later */
    nth_boot(SERIAL);
    struct probe probe = probe_as(CLIENT_ADMIN);
    CHECK_EQ(number(&probe, "ProbeAttached"), 1);
    CHECK_EQ(number(&probe, "ProbeThreads"), -1); /* the thread that loaded it only ended */
    call(&probe, "ProbeLastError", 5, 0);
    CHECK_EQ(number(&probe, "ProbeThreads"), -1);
    CHECK(win32_symbol(probe.module, "ProbeNothing") == NULL);
    probe_end(&probe);
    nth_shutdown();
}

TEST(module_is_mapped_anew_for_each_process)
{
    nth_boot(SERIAL);
    struct probe one = probe_as(CLIENT_ADMIN), two = probe_as(CLIENT_ADMIN);
    call(&one, "ProbeCount", 3, 0);
    CHECK_EQ(number(&one, "ProbeCounter"), 3);
    CHECK_EQ(number(&two, "ProbeCounter"), 0);
    probe_end(&one);
    probe_end(&two);
    nth_shutdown();
}

TEST(module_that_is_none_is_refused)
{
    const char *error = NULL;

    nth_boot(SERIAL);
    const struct client_config config = {.name = "probe", .token = CLIENT_ADMIN};
    struct win32_process *process = win32_process_create(&config);
    CHECK(win32_load(process, "Makefile", &error) == NULL);
    CHECK(strstr(error, "not a PE file") != NULL);
    win32_process_destroy(process);
    nth_shutdown();
}

TEST(last_error_and_tls_belong_to_the_thread)
{
    /* nf-errhandlingapi-getlasterror, nf-processthreadsapi-tlsgetvalue */
    nth_boot(SERIAL);
    struct probe probe = probe_as(CLIENT_ADMIN);
    CHECK_EQ(call(&probe, "ProbeLastError", 1234, 0).result, 1234);
    CHECK_EQ(call(&probe, "ProbeTlsSet", 77, 0).error, 0xdead);
    CHECK_EQ(call(&probe, "ProbeTlsGet", 0, 0).result, 0); /* another thread */
    probe_end(&probe);
    nth_shutdown();
}

TEST(functions_are_found_by_library_and_name)
{
    /* nf-libloaderapi-loadlibraryexw, nf-libloaderapi-getprocaddress */
    nth_boot(SERIAL);
    struct probe probe = probe_as(CLIENT_ADMIN);
    const char name[] = "GetLastError", other[] = "NoSuchFunction";
    CHECK(call(&probe, "ProbeFind", (uintptr_t)L"kernel32.dll", (uintptr_t)name).result != 0);
    CHECK_EQ(call(&probe, "ProbeFind", (uintptr_t)L"kernel32.dll", (uintptr_t)other).error, 127);
    CHECK_EQ(call(&probe, "ProbeFind", (uintptr_t)L"nosuch.dll", (uintptr_t)name).error, 126);
    win32_without("kernel32", "GetLastError");
    CHECK_EQ(call(&probe, "ProbeFind", (uintptr_t)L"kernel32.dll", (uintptr_t)name).error, 127);
    probe_end(&probe);
    nth_shutdown();
}

TEST(resources_are_found_by_name)
{
    /* nf-libloaderapi-findresourcew (winbase): names ignore case */
    nth_boot(SERIAL);
    struct probe probe = probe_as(CLIENT_ADMIN);
    CHECK_EQ(call(&probe, "ProbeResource", (uintptr_t)L"numbers", 0).result, 11);
    CHECK_EQ(call(&probe, "ProbeResource", (uintptr_t)L"letters", 0).error, 1814);
    probe_end(&probe);
    nth_shutdown();
}

TEST(calls_fail_on_demand)
{
    /* each kind of failure as the page of its function says */
    nth_boot(SERIAL);
    struct probe probe = probe_as(CLIENT_ADMIN);
    win32_fault_arm("HeapAlloc", 1, 0);
    struct call failed = call(&probe, "ProbeAlloc", 16, 0);
    CHECK_EQ(failed.result, 0);
    CHECK_EQ(failed.error, 0xdead); /* HeapAlloc does not set the last error */
    CHECK_STR(win32_fault_fired(), "HeapAlloc");
    win32_fault_arm(NULL, 1, 1450);
    failed = call(&probe, "ProbeMutex", 0, 0);
    CHECK_EQ(failed.result, 0);
    CHECK_EQ(failed.error, 1450);
    CHECK_EQ(win32_fault_seen(), 1);
    win32_fault_arm("WaitForSingleObject", 1, 6);
    CHECK_EQ((uint32_t)call(&probe, "ProbeWait", 0, 0).result, 0xFFFFFFFF);
    win32_fault_arm(NULL, 0, 0);
    probe_end(&probe);
    nth_shutdown();
}

TEST(ledger_tells_what_is_left)
{
    nth_boot(SERIAL);
    struct probe probe = probe_as(CLIENT_ADMIN);
    struct win32_ledger before;
    win32_ledger_take(probe.process, &before);
    const uint64_t block = call(&probe, "ProbeAlloc", 16, 0).result;
    const char *left = win32_ledger_differs(probe.process, &before);
    CHECK(left != NULL && strstr(left, "heap block") && strstr(left, "HeapAlloc"));
    call(&probe, "ProbeFree", block, 0);
    CHECK(win32_ledger_differs(probe.process, &before) == NULL);
    const uint64_t event = call(&probe, "ProbeEvent", 0, 0).result;
    CHECK(win32_ledger_differs(probe.process, &before) != NULL);
    CHECK_EQ(call(&probe, "ProbeClose", event, 0).result, 1);
    CHECK_EQ(call(&probe, "ProbeClose", event, 0).error, 6);
    CHECK(win32_ledger_differs(probe.process, &before) == NULL);
    probe_end(&probe);
    nth_shutdown();
}

/* ---- mutexes ---- */

struct holder {
    struct probe *probe;
    uint64_t mutex;
    uint32_t waited;
};

static void hold_and_wait(void *context)
{
    struct holder *holder = context;
    uint32_t(NTAPI * wait)(uint64_t handle, uint32_t milliseconds) =
        win32_symbol(holder->probe->module, "ProbeWait");
    uint64_t(NTAPI * event)(void) = win32_symbol(holder->probe->module, "ProbeEvent");

    holder->waited = wait(holder->mutex, 0);
    wait(event(), UINT32_MAX);
}

static void holder_main(void *context)
{
    struct holder *holder = context;

    CHECK(!win32_run(holder->probe->process, hold_and_wait, holder));
}

TEST(mutex_of_a_dead_process_is_abandoned)
{
    /* nf-synchapi-waitforsingleobject: WAIT_ABANDONED once, with ownership;
     * nf-synchapi-createmutexw: ERROR_ALREADY_EXISTS */
    nth_boot(SERIAL);
    struct probe one = probe_as(CLIENT_ADMIN), two = probe_as(CLIENT_ADMIN);
    const struct call first = call(&one, "ProbeMutex", 0, 0),
                      second = call(&two, "ProbeMutex", 0, 0);
    CHECK_EQ(first.error, 0);
    CHECK_EQ(second.error, 183);
    struct holder holder = {.probe = &one, .mutex = first.result, .waited = 99};
    struct nth_thread *thread = nth_spawn("holder", holder_main, &holder);
    nth_settle();
    CHECK_EQ(holder.waited, 0);
    CHECK_EQ((uint32_t)call(&two, "ProbeWait", second.result, 0).result, 258);
    CHECK_EQ(call(&two, "ProbeRelease", second.result, 0).error, 288);
    win32_process_kill(one.process);
    nth_join(thread);
    CHECK(win32_process_is_dead(one.process));
    CHECK_EQ((uint32_t)call(&two, "ProbeWait", second.result, 0).result, 0x80);
    /* that thread has ended with it as well */
    CHECK_EQ((uint32_t)call(&two, "ProbeWait", second.result, 0).result, 0x80);
    CHECK_EQ(call(&two, "ProbeClose", second.result, 0).result, 1);
    win32_process_destroy(one.process);
    probe_end(&two);
    nth_shutdown();
}

/* ---- namespaces ---- */

TEST(namespace_is_there_while_it_is_open)
{
    /* nf-namespaceapi-createprivatenamespacew, -openprivatenamespacew: within the boundary only */
    nth_boot(SERIAL);
    struct probe admin = probe_as(CLIENT_ADMIN), system = probe_as(CLIENT_SYSTEM),
                 filtered = probe_as(CLIENT_ADMIN_FILTERED);
    CHECK_EQ(call(&admin, "ProbeNamespace", 0, 0).error, 3);
    CHECK_EQ(call(&filtered, "ProbeNamespace", 1, 0).error, 5);
    const uint64_t made = call(&admin, "ProbeNamespace", 1, 0).result;
    CHECK(made != 0);
    CHECK_EQ(call(&system, "ProbeNamespace", 1, 0).error, 183);
    const uint64_t opened = call(&system, "ProbeNamespace", 0, 0).result;
    CHECK(opened != 0);
    CHECK_EQ(call(&admin, "ProbeClose", made, 0).result, 1);
    CHECK_EQ(call(&system, "ProbeClose", opened, 0).result, 1);
    CHECK_EQ(call(&system, "ProbeNamespace", 0, 0).error, 3);
    probe_end(&admin);
    probe_end(&system);
    probe_end(&filtered);
    nth_shutdown();
}

/* ---- threads ---- */

TEST(thread_is_waited_for)
{
    /* nf-processthreadsapi-createthread: the handle is signalled when the thread has ended */
    nth_boot(SERIAL);
    struct probe probe = probe_as(CLIENT_ADMIN);
    const uint64_t thread = call(&probe, "ProbeThread", 5, 0).result;
    CHECK_EQ((uint32_t)call(&probe, "ProbeWait", thread, UINT32_MAX).result, 0);
    CHECK_EQ(number(&probe, "ProbeCounter"), 5);
    CHECK_EQ(call(&probe, "ProbeClose", thread, 0).result, 1);
    probe_end(&probe);
    nth_shutdown();
}

struct counting {
    struct probe *probe;
    const char *function;
    unsigned times;
};

static void count(void *context)
{
    struct counting *counting = context;

    call(counting->probe, counting->function, counting->times, 0);
}

static void count_by_two(const char *function, unsigned times)
{
    nth_boot(PARALLEL);
    struct probe probe = probe_as(CLIENT_ADMIN);
    struct counting counting = {.probe = &probe, .function = function, .times = times};
    struct nth_thread *one = nth_spawn("one", count, &counting);
    struct nth_thread *two = nth_spawn("two", count, &counting);
    nth_join(one);
    nth_join(two);
    if (strcmp(function, "ProbeCount") == 0)
        CHECK_EQ(number(&probe, "ProbeCounter"), 2 * times);
    probe_end(&probe);
    nth_shutdown();
}

TEST(slim_lock_excludes)
{
    /* nf-synchapi-acquiresrwlockexclusive */
    count_by_two("ProbeCount", 2000);
}

/* ---- death ---- */

TEST(process_is_ended_at_each_step)
{
    /* nf-processthreadsapi-terminateprocess: no further step, no DllMain, handles closed */
    nth_boot(SERIAL);
    for (unsigned n = 1;; n++) {
        struct probe probe = probe_as(CLIENT_ADMIN);
        struct call step = {.function = win32_symbol(probe.module, "ProbeNamespace"), .a = 1};
        win32_kill_at(probe.process, n);
        const bool is_over = win32_run(probe.process, run_call, &step);
        const bool is_dead = win32_process_is_dead(probe.process);
        win32_process_destroy(probe.process);
        CHECK(is_over || n < 10);
        if (is_over) {
            CHECK(!is_dead);
            CHECK_EQ(n, 4); /* create, add, create */
            break;
        }
    }
    nth_shutdown();
}

/* ---- checks of the module's own accesses ---- */

#if defined(NTH_ASAN) || defined(NTH_TSAN)
/* Exit code of a process of its own that runs this. */
static int apart(void (*run)(void))
{
    int status = 0;

    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(1);
        run();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256;
}
#endif

#ifdef NTH_ASAN
static void overrun(void)
{
    nth_boot(SERIAL);
    struct probe probe = probe_as(CLIENT_ADMIN);
    call(&probe, "ProbeOverrun", 24, 0);
}

TEST(overrun_of_a_heap_block_is_found)
{
    CHECK(apart(overrun) != 0);
}
#endif

#ifdef NTH_TSAN
static void race(void)
{
    count_by_two("ProbeCountUnlocked", 1000000);
}

TEST(race_in_a_module_is_found)
{
    CHECK_EQ(apart(race), 70);
}
#endif
