/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What a test does to device nodes from outside: leaves what an earlier process or boot has left,
 * pulls a device out, disables it.
 */
#include "win32/machine.h"

#include <stdlib.h>
#include <string.h>

struct order {
    WCHAR *id;
    uint32_t problem;
    KEVENT done;
};

/* Runs on the PnP thread and is waited for. */
static void obey(void (*run)(void *context), const char *instance_id, uint32_t problem)
{
    struct order order = {.id = win32_wide(instance_id), .problem = problem};
    void *object = &order.done;

    KeInitializeEvent(&order.done, NotificationEvent, FALSE);
    pnp_post(run, &order, 0);
    nth_wait(1, &object, NTH_WAIT_ANY, false, NULL);
    free(order.id);
}

static struct node *node_at(const struct order *order)
{
    nth_lock(&machine_lock);
    struct node *node = node_find(order->id);
    nth_unlock(&machine_lock);
    if (node == NULL)
        nth_fail("a test wants a device node that there is not");
    return node;
}

static void surprise(void *context)
{
    struct order *order = context;

    pnp_pull(node_at(order), true);
    KeSetEvent(&order->done, 0, FALSE);
}

void win32_node_surprise(const char *instance_id)
{
    obey(surprise, instance_id, 0);
}

/* The node is there, its driver is not. */
static void stop(void *context)
{
    struct order *order = context;
    struct node *node = node_at(order);

    pnp_pull(node, true);
    nth_lock(&machine_lock);
    node->is_present = true;
    node->problem = order->problem;
    nth_unlock(&machine_lock);
    KeSetEvent(&order->done, 0, FALSE);
}

void win32_node_stop(const char *instance_id, uint32_t problem)
{
    obey(stop, instance_id, problem);
}

void win32_node_leave(const char *instance_id, bool is_present,
                      const struct nth_device_property *properties, size_t count)
{
    WCHAR *id = win32_wide(instance_id);

    nth_lock(&machine_lock);
    struct node *node = node_make(id);
    node->is_present = is_present;
    for (size_t i = 0; i < count; i++)
        node_set_property(node, &properties[i].key, properties[i].type, properties[i].data,
                          properties[i].bytes);
    nth_unlock(&machine_lock);
    free(id);
}
