/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The end of a machine: a rule broken by a driver, or a failure of the host. The report allocates
 * nothing and takes no lock, because the stop may come from anywhere; whatever goes wrong while it
 * is written ends the process with the same exit code.
 */
#include "core/core.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EXIT_STOP = 70, EXIT_HOST = 71, FRAMES = 24, EVENTS = 24, NOTES = 24, LINE = 512 };

struct rule {
    const char *name, *forbids, *page;
};

static const struct rule rules[] = {
#define NTH_RULE(name, forbids, page) {name, forbids, page},
#include "core/rules.def"
#undef NTH_RULE
};

const char *(*nth_symbol_hook)(uintptr_t address);
unsigned (*nth_backtrace_hook)(uintptr_t *sites, unsigned max);
void (*nth_stop_hook)(const char *rule);

static char expected[64];
static atomic_int stopping; /* thread that stops; 0: none. It alone touches what follows */
static bool is_reporting;
static char notes[NOTES][LINE];
static unsigned note_count;

static const struct rule *rule_named(const char *name)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (strcmp(rules[i].name, name) == 0)
            return &rules[i];
    return NULL;
}

static void put(const char *text)
{
    size_t left = strlen(text);

    while (left > 0) {
        const ssize_t n = write(STDERR_FILENO, text, left);
        if (n <= 0)
            return;
        text += n;
        left -= (size_t)n;
    }
}

static void putf(const char *format, ...) NTH_PRINTF(1, 2);
static void putf(const char *format, ...)
{
    char line[LINE];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    put(line);
}

/* ---- expected stops ---- */

/* A test that returns without the stop it announced has failed, even if it forgot to shut down. */
static void check_expectation(void)
{
    if (expected[0] && atomic_load(&stopping) == 0) {
        putf("nthost: expected stop %s did not come\n", expected);
        _exit(EXIT_STOP);
    }
}

void nth_expect_stop(const char *rule)
{
    static bool is_registered;

    if (!rule_named(rule))
        nth_fail("no rule is called %s", rule);
    snprintf(expected, sizeof expected, "%s", rule);
    if (!is_registered && atexit(check_expectation) != 0)
        nth_fail("no memory for an exit handler");
    is_registered = true;
}

const char *nth_stop_expected(void)
{
    return expected[0] ? expected : NULL;
}

/* ---- the report ---- */

/* Returns when the caller is the one to report. Another thread that stops meanwhile has nothing to
 * add: the process ends under it. A stop within the report ends the report. */
static void take_stage(void)
{
    int none = 0;
    const int self = (int)syscall(SYS_gettid);

    if (atomic_compare_exchange_strong(&stopping, &none, self))
        return;
    while (none != self)
        pause();
    if (is_reporting) {
        put("nthost: a second stop while the first was reported\n");
        _exit(EXIT_STOP);
    }
}

void nth_stop_note(const char *format, ...)
{
    va_list args;

    take_stage();
    if (note_count >= NOTES)
        return;
    va_start(args, format);
    vsnprintf(notes[note_count++], LINE, format, args);
    va_end(args);
}

static const char *symbol(uintptr_t address, char *plain, size_t bytes)
{
    const char *name = nth_symbol_hook ? nth_symbol_hook(address) : NULL;

    if (name)
        return name;
    snprintf(plain, bytes, "0x%llx", (unsigned long long)address);
    return plain;
}

static void report_frames(void)
{
    uintptr_t sites[FRAMES];
    const unsigned count = nth_backtrace_hook ? nth_backtrace_hook(sites, FRAMES) : 0;
    char plain[32];

    if (count > 0)
        put("  driver frames, innermost first:\n");
    for (unsigned i = 0; i < count; i++)
        putf("    %s\n", symbol(sites[i], plain, sizeof plain));
}

static void report_event(const char *text)
{
    put("    ");
    put(text);
}

static void report_thread(void)
{
    struct nth_thread *self = nth_self();

    if (self)
        putf("  thread %u \"%s\", processor %u, IRQL %u\n", nth_thread_id(self),
             nth_thread_name(self), nth_cpu_current(), nth_irql());
    else
        put("  on a thread outside the machine\n");
    if (nth_config.mode == NTH_SERIAL && nth_config.seed)
        putf("  schedule seed %u\n", nth_config.seed);
}

static void flush_output(void)
{
    if (ftrylockfile(stdout) == 0) { /* the stop may have come inside stdio */
        fflush_unlocked(stdout);
        funlockfile(stdout);
    }
}

static void report(const char *name, const char *message)
{
    const struct rule *rule = rule_named(name);
    const char *call = nth_call_name();
    char plain[32];

    putf("\nnthost: stop %s: %s\n", name, message);
    if (rule)
        putf("  rule: never %s (%s)\n", rule->forbids, rule->page);
    else
        put("  rule: not in rules.def\n");
    if (call)
        putf("  in %s, called by %s\n", call, symbol(nth_call_site(), plain, sizeof plain));
    for (unsigned i = 0; i < note_count; i++)
        putf("  %s\n", notes[i]);
    report_frames();
    report_thread();
    put("  last events:\n");
    nth_trace_last(EVENTS, report_event);
}

/* From here on this thread alone speaks. */
static void begin_report(char *message, const char *format, va_list args)
{
    take_stage();
    vsnprintf(message, LINE, format, args);
    is_reporting = true;
    flush_output();
}

void nth_stop(const char *rule, const char *format, ...)
{
    char message[LINE];
    va_list args;

    va_start(args, format);
    begin_report(message, format, args);
    va_end(args);
    if (expected[0] && strcmp(expected, rule) == 0) {
        putf("nthost: stop %s, as expected: %s\n", rule, message);
        _exit(0);
    }
    report(rule, message);
    if (expected[0])
        putf("nthost: expected stop %s instead\n", expected);
    if (nth_stop_hook)
        nth_stop_hook(rule);
    _exit(EXIT_STOP);
}

void nth_fail(const char *format, ...)
{
    char message[LINE];
    va_list args;

    va_start(args, format);
    begin_report(message, format, args);
    va_end(args);
    putf("nthost: %s\n", message);
    _exit(EXIT_HOST);
}
