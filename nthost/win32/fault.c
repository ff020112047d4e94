/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The gate that every Win32 call of a module goes through: it counts, ends processes at a step, and
 * makes calls fail on demand, in the way that the function's page says a failure looks.
 */
#include "win32/private.h"

#include <stdatomic.h>
#include <string.h>
#include <strings.h>

extern struct win32_entry __start_win32_entries[] __attribute__((weak));
extern struct win32_entry __stop_win32_entries[] __attribute__((weak));

static struct nth_mutex fault_lock = NTH_MUTEX_INIT;
static struct {
    const char *name; /* NULL: any */
    unsigned left;    /* calls until the one that fails; 0: none */
    uint32_t error;
    unsigned seen;
    const char *fired;
    uint32_t fired_error;
} fault; /* fault_lock */

static size_t entry_count(void)
{
    return (size_t)(__stop_win32_entries - __start_win32_entries);
}

struct win32_entry *win32_find(const char *module, const char *name)
{
    struct win32_entry *e = __start_win32_entries;

    for (size_t i = 0; i < entry_count(); i++, e++)
        if (strcmp(e->export.name, name) == 0 &&
            strncasecmp(e->module, module, strcspn(module, ".")) == 0)
            return e;
    return NULL;
}

bool win32_has_module(const char *module)
{
    const size_t length = strcspn(module, ".");
    const struct win32_entry *e = __start_win32_entries;

    for (size_t i = 0; i < entry_count(); i++, e++)
        if (strncasecmp(e->module, module, length) == 0 && strcspn(e->module, ".") == length)
            return true;
    return false;
}

static const struct nth_export *resolve(const char *module, const char *name)
{
    struct win32_entry *entry = win32_find(module, name);

    return entry != NULL ? &entry->export : NULL;
}

bool win32_provides(const char *module, const char *name)
{
    return win32_find(module, name) != NULL;
}

void win32_fault_arm(const char *name, unsigned n, uint32_t error)
{
    nth_lock(&fault_lock);
    fault.name = name;
    fault.left = n;
    fault.error = error;
    fault.seen = 0;
    fault.fired = NULL;
    nth_unlock(&fault_lock);
}

unsigned win32_fault_seen(void)
{
    nth_lock(&fault_lock);
    const unsigned seen = fault.seen;
    nth_unlock(&fault_lock);
    return seen;
}

const char *win32_fault_fired(void)
{
    nth_lock(&fault_lock);
    const char *fired = fault.fired;
    nth_unlock(&fault_lock);
    return fired;
}

uint32_t win32_fault_error(void)
{
    nth_lock(&fault_lock);
    const uint32_t error = fault.fired_error;
    nth_unlock(&fault_lock);
    return error;
}

unsigned win32_calls(const char *name)
{
    unsigned calls = 0;
    struct win32_entry *e = __start_win32_entries;

    for (size_t i = 0; i < entry_count(); i++, e++)
        if (name == NULL || strcmp(e->export.name, name) == 0)
            calls += atomic_load(&e->calls);
    return calls;
}

/* Whether this call is the one to fail, and with what. */
static bool is_failing(const struct win32_entry *entry, uint32_t *error)
{
    bool is_hit = false;

    if (entry->failure == FAILS_NEVER)
        return false;
    nth_lock(&fault_lock);
    if (fault.name == NULL || strcmp(fault.name, entry->export.name) == 0) {
        fault.seen++;
        is_hit = fault.left == 1;
        fault.left -= fault.left > 0;
    }
    if (is_hit) {
        *error = fault.error != 0 ? fault.error : entry->error;
        fault.fired = entry->export.name;
        fault.fired_error = *error;
    }
    nth_unlock(&fault_lock);
    return is_hit;
}

static uint64_t failure(const struct win32_entry *entry, uint32_t error)
{
    switch (entry->failure) {
    case FAILS_NULL:
        return 0;
    case FAILS_CODE:
        return error;
    case FAILS_HRESULT:
        return (uint32_t)win32_hresult(error);
    case FAILS_MINUS:
        win32_set_last_error(error);
        return UINT64_MAX;
    default:
        win32_set_last_error(error);
        return 0;
    }
}

static void *gate(const struct nth_export *export, uint64_t *result)
{
    struct win32_entry *entry = CONTAINING_RECORD(export, struct win32_entry, export);
    struct win32_thread *thread = win32_self();
    uint32_t error = 0;

    atomic_fetch_add_explicit(&entry->calls, 1, memory_order_relaxed);
    thread->call = export->name;
    if (entry->failure != FAILS_NEVER)
        win32_step(thread);
    else
        win32_survive();
    nth_point();
    if (!is_failing(entry, &error))
        return export->function;
    nth_trace("%s fails with %u as asked for", export->name, error);
    *result = failure(entry, error);
    return NULL;
}

static void gate_boot(const struct nth_config *config)
{
    (void)config;
    nth_user_resolve_hook = resolve;
    nth_user_gate_hook = gate;
}
NTH_SUBSYSTEM(win32_gate, 51, gate_boot, NULL);
