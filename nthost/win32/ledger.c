/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What a process holds beside the handles that the kernel counts: one list of things with their
 * kind, which also answers whether a pointer that a module hands back is one it was given.
 */
#include "win32/private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct holding {
    struct holding *next;
    enum win32_kind kind;
    const void *object;
    uintptr_t extra;
    const char *made_by; /* the function that the module called */
};

static const char *const kinds[WIN32_KINDS] = {
    [WIN32_HANDLE] = "handle",
    [WIN32_HEAP] = "heap",
    [WIN32_BLOCK] = "heap block",
    [WIN32_LOCAL] = "local block",
    [WIN32_REGION] = "region",
    [WIN32_MODULE] = "module",
    [WIN32_THREAD] = "thread",
    [WIN32_TLS] = "TLS slot",
    [WIN32_DEVINFO] = "device information set",
    [WIN32_INF] = "INF",
    [WIN32_NOTIFY] = "notification",
    [WIN32_COM] = "COM reference",
    [WIN32_BOUNDARY] = "boundary descriptor",
    [WIN32_OTHER] = "object",
};

static void hold(struct win32_process *process, enum win32_kind kind, const void *object,
                 uintptr_t extra, const char *made_by)
{
    struct holding *holding = win32_calloc(sizeof(*holding));

    *holding = (struct holding){.kind = kind, .object = object, .extra = extra, .made_by = made_by};
    nth_lock(&process->lock);
    holding->next = process->holdings;
    process->holdings = holding;
    nth_unlock(&process->lock);
}

void win32_hold(enum win32_kind kind, const void *object, uintptr_t extra)
{
    hold(win32_here(), kind, object, extra, win32_self()->call);
}

/* process->lock held. */
static struct holding **find(struct win32_process *process, enum win32_kind kind,
                             const void *object)
{
    struct holding **link = &process->holdings;

    while (*link != NULL && ((*link)->kind != kind || (*link)->object != object))
        link = &(*link)->next;
    return link;
}

bool win32_holds(enum win32_kind kind, const void *object, uintptr_t *extra)
{
    struct win32_process *process = win32_here();

    nth_lock(&process->lock);
    const struct holding *holding = *find(process, kind, object);
    if (holding != NULL && extra != NULL)
        *extra = holding->extra;
    nth_unlock(&process->lock);
    return holding != NULL;
}

bool win32_let_go_of(struct win32_process *process, enum win32_kind kind, const void *object,
                     uintptr_t *extra)
{
    nth_lock(&process->lock);
    struct holding **link = find(process, kind, object), *holding = *link;
    if (holding != NULL)
        *link = holding->next;
    nth_unlock(&process->lock);
    if (holding == NULL)
        return false;
    if (extra != NULL)
        *extra = holding->extra;
    free(holding);
    return true;
}

bool win32_let_go(enum win32_kind kind, const void *object, uintptr_t *extra)
{
    return win32_let_go_of(win32_here(), kind, object, extra);
}

static void *take(struct win32_process *process, enum win32_kind kind, const uintptr_t *wanted,
                  uintptr_t *extra)
{
    nth_lock(&process->lock);
    struct holding **link = &process->holdings;
    while (*link != NULL &&
           ((*link)->kind != kind || (wanted != NULL && (*link)->extra != *wanted)))
        link = &(*link)->next;
    struct holding *holding = *link;
    if (holding != NULL)
        *link = holding->next;
    nth_unlock(&process->lock);
    if (holding == NULL)
        return NULL;
    void *object = (void *)(uintptr_t)holding->object;
    if (extra != NULL)
        *extra = holding->extra;
    free(holding);
    return object;
}

void *win32_take_held(struct win32_process *process, enum win32_kind kind, uintptr_t *extra)
{
    return take(process, kind, NULL, extra);
}

void *win32_take_held_of(enum win32_kind kind, uintptr_t extra)
{
    return take(win32_here(), kind, &extra, NULL);
}

void win32_ledger_take(struct win32_process *process, struct win32_ledger *ledger)
{
    memset(ledger, 0, sizeof(*ledger));
    ledger->held[WIN32_HANDLE] = win32_process_is_dead(process) ? 0 : nth_handle_count(process->nt);
    nth_lock(&process->lock);
    for (const struct holding *h = process->holdings; h != NULL; h = h->next)
        ledger->held[h->kind]++;
    for (const struct win32_module *m = process->modules; m != NULL; m = m->next)
        ledger->held[WIN32_MODULE] += m->image != NULL ? m->references : 0;
    nth_unlock(&process->lock);
}

/* Who made the newest of the kind. */
static const char *newest(struct win32_process *process, unsigned kind)
{
    const char *made_by = NULL;

    nth_lock(&process->lock);
    for (const struct holding *h = process->holdings; h != NULL && made_by == NULL; h = h->next)
        if (h->kind == kind)
            made_by = h->made_by;
    nth_unlock(&process->lock);
    return made_by != NULL ? made_by : "nobody";
}

const char *win32_ledger_differs(struct win32_process *process, const struct win32_ledger *before)
{
    static _Thread_local char text[256];
    struct win32_ledger now;

    win32_ledger_take(process, &now);
    for (unsigned i = 0; i < WIN32_KINDS; i++) {
        if (now.held[i] == before->held[i])
            continue;
        snprintf(text, sizeof(text), "%u of kind \"%s\" instead of %u, the newest by %s",
                 now.held[i], kinds[i], before->held[i], newest(process, i));
        return text;
    }
    return NULL;
}
