/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Device nodes: what Windows knows of devices, present or not, with their properties and driver
 * keys. Data only; pnp.c makes them live.
 */
#include "win32/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASS_KEY                                                                                  \
    "\\Registry\\Machine\\System\\CurrentControlSet\\Control\\Class\\{4D36E972-E325-11CE-BFC1-"    \
    "08002BE10318}"

struct property {
    struct property *next;
    DEVPROPKEY key;
    DEVPROPTYPE type;
    uint32_t bytes;
    uint8_t data[];
};

struct nth_mutex machine_lock = NTH_MUTEX_INIT;
static struct node *nodes;         /* machine_lock, as all below */
static uint32_t last_instance = 1; /* 1 is the root */
static unsigned last_key;

struct node *node_find(const WCHAR *id)
{
    struct node *node = nodes;

    while (node != NULL && win32_compare(node->id, id) != 0)
        node = node->next;
    return node;
}

struct node *node_of(uint32_t instance)
{
    struct node *node = nodes;

    while (node != NULL && node->instance != instance)
        node = node->next;
    return node;
}

struct node *node_next(struct node *after)
{
    return after != NULL ? after->next : nodes;
}

/* At the end, so that lists show the oldest first. */
struct node *node_make(const WCHAR *id)
{
    struct node *node = win32_calloc(sizeof(*node)), **end = &nodes;

    memcpy(node->id, id, win32_length(id) * sizeof(WCHAR));
    node->instance = ++last_instance;
    while (*end != NULL)
        end = &(*end)->next;
    *end = node;
    return node;
}

static void free_node(struct node *node)
{
    while (node->properties != NULL) {
        struct property *property = node->properties;
        node->properties = property->next;
        free(property);
    }
    free(node);
}

void node_forget(struct node *node)
{
    struct node **link = &nodes;

    while (*link != node)
        link = &(*link)->next;
    *link = node->next;
    if (node->key[0] != 0)
        nth_registry_delete(node->key);
    free_node(node);
}

/* Keys of devices that Windows has plugged itself are beside those that the kernel made, which are
 * named by number alone. */
const char *node_key(struct node *node, bool make)
{
    static const uint32_t none;

    if (node->key[0] == 0 && make) {
        snprintf(node->key, sizeof(node->key), CLASS_KEY "\\S%03u", last_key++);
        nth_registry_set(node->key, "DriverVersionIndex", REG_DWORD, &none, sizeof(none));
    }
    return node->key[0] != 0 ? node->key : NULL;
}

static struct property **find(struct node *node, const DEVPROPKEY *key)
{
    struct property **link = &node->properties;

    while (*link != NULL && memcmp(&(*link)->key, key, sizeof(*key)) != 0)
        link = &(*link)->next;
    return link;
}

void node_set_property(struct node *node, const DEVPROPKEY *key, DEVPROPTYPE type, const void *data,
                       uint32_t bytes)
{
    struct property **link = find(node, key), *old = *link;
    struct property *fresh = win32_calloc(sizeof(*fresh) + bytes);

    fresh->key = *key;
    fresh->type = type;
    fresh->bytes = bytes;
    if (bytes != 0)
        memcpy(fresh->data, data, bytes);
    fresh->next = old != NULL ? old->next : NULL;
    *link = fresh;
    free(old);
}

bool node_property(struct node *node, const DEVPROPKEY *key, DEVPROPTYPE *type, const void **data,
                   uint32_t *bytes)
{
    const struct property *property = *find(node, key);

    if (property == NULL)
        return false;
    *type = property->type;
    *data = property->data;
    *bytes = property->bytes;
    return true;
}

/* All of a node's, for the kernel's copy of the device; free what it answers. */
struct nth_device_property *node_properties(struct node *node, size_t *count)
{
    struct nth_device_property *all;
    size_t n = 0;

    for (const struct property *p = node->properties; p != NULL; p = p->next)
        n++;
    all = win32_calloc((n + 1) * sizeof(*all));
    n = 0;
    for (const struct property *p = node->properties; p != NULL; p = p->next)
        all[n++] = (struct nth_device_property){p->key, p->type, p->data, p->bytes};
    *count = n;
    return all;
}

NET_LUID node_luid(const struct node *node)
{
    NET_LUID luid = {.Value = 0};

    luid.Info.NetLuidIndex = node->luid_index;
    luid.Info.IfType = 53;
    return luid;
}

static void nodes_shutdown(void)
{
    while (nodes != NULL) {
        struct node *node = nodes;
        nodes = node->next;
        free_node(node);
    }
}
NTH_SUBSYSTEM(win32_nodes, 48, NULL, nodes_shutdown);

/* ---- for tests ---- */

unsigned win32_node_count(const char *prefix, bool only_present)
{
    unsigned count = 0;

    nth_lock(&machine_lock);
    for (struct node *node = nodes; node != NULL; node = node->next) {
        char *id = win32_utf8(node->id);
        if (strncasecmp(id, prefix, strlen(prefix)) == 0 && (node->is_present || !only_present))
            count++;
        free(id);
    }
    nth_unlock(&machine_lock);
    return count;
}

struct nth_device *win32_node_device(const char *instance_id)
{
    WCHAR *id = win32_wide(instance_id);

    nth_lock(&machine_lock);
    const struct node *node = node_find(id);
    struct nth_device *device = node != NULL ? node->device : NULL;
    nth_unlock(&machine_lock);
    free(id);
    return device;
}
