/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * I/O completion ports: a queue of what completed, and a semaphore that counts it. Packets are put
 * at any IRQL up to DISPATCH_LEVEL and never lost.
 */
#include "nt/io.h"

#include <stdlib.h>

struct packet {
    struct packet *next;
    ULONG_PTR key;
    void *apc_context;
    IO_STATUS_BLOCK status;
};

struct port {
    KSEMAPHORE count;
    struct nth_mutex lock;
    struct packet *first, **last; /* guarded by lock */
};

/* The last reference is gone: no file is bound and no thread waits, each holds one. */
static void port_destroy(void *body)
{
    struct port *port = body;

    while (port->first) {
        struct packet *packet = port->first;
        port->first = packet->next;
        free(packet);
    }
}

NTSTATUS nth_io_port_create(HANDLE *handle)
{
    struct port *port = nth_object_create(NTH_OB_COMPLETION, sizeof(*port), port_destroy);

    KeInitializeSemaphore(&port->count, 0, MAXLONG);
    port->lock = (struct nth_mutex)NTH_MUTEX_INIT;
    port->last = &port->first;
    const NTSTATUS status = nth_handle_insert(nth_process_current(), port, 0x1F0003, handle);
    nth_object_release(port);
    return status;
}

void nth_port_post(void *body, ULONG_PTR key, void *apc_context, NTSTATUS status,
                   ULONG_PTR information)
{
    struct port *port = body;
    struct packet *packet = calloc(1, sizeof(*packet));

    if (!packet)
        nth_fail("out of memory");
    *packet = (struct packet){.key = key,
                              .apc_context = apc_context,
                              .status = {.Status = status, .Information = information}};
    nth_lock(&port->lock);
    *port->last = packet;
    port->last = &packet->next;
    nth_unlock(&port->lock);
    KeReleaseSemaphore(&port->count, 0, 1, FALSE);
}

NTSTATUS nth_io_port_remove(HANDLE handle, ULONG_PTR *key, void **apc_context,
                            IO_STATUS_BLOCK *iosb, const LARGE_INTEGER *timeout)
{
    void *body;
    NTSTATUS status = nth_handle_lookup(nth_process_current(), handle, 0, NTH_OB_COMPLETION, &body);

    if (!NT_SUCCESS(status))
        return status;
    struct port *port = body;
    status = nth_wait(1, &body, NTH_WAIT_ANY, false, timeout);
    if (status == STATUS_WAIT_0) {
        nth_lock(&port->lock);
        struct packet *packet = port->first;
        port->first = packet->next;
        if (!port->first)
            port->last = &port->first;
        nth_unlock(&port->lock);
        *key = packet->key;
        *apc_context = packet->apc_context;
        *iosb = packet->status;
        free(packet);
    }
    nth_object_release(port);
    return status;
}

NTSTATUS nth_io_port_bind(HANDLE port, HANDLE file, ULONG_PTR key)
{
    struct nth_process *process = nth_process_current();
    void *port_body, *file_body;

    NTSTATUS status = nth_handle_lookup(process, port, 0, NTH_OB_COMPLETION, &port_body);
    if (!NT_SUCCESS(status))
        return status;
    status = nth_handle_lookup(process, file, 0, NTH_OB_FILE, &file_body);
    if (!NT_SUCCESS(status)) {
        nth_object_release(port_body);
        return status;
    }
    FILE_OBJECT *object = file_body;
    struct _IO_COMPLETION_CONTEXT *context = calloc(1, sizeof(*context));
    if (!context)
        nth_fail("out of memory");
    *context = (struct _IO_COMPLETION_CONTEXT){.Port = port_body, .Key = (void *)key};
    /* A file has one port for life, and only an asynchronous file has one. */
    if ((object->Flags & FO_SYNCHRONOUS_IO) ||
        !__sync_bool_compare_and_swap(&object->CompletionContext, NULL, context)) {
        status = STATUS_INVALID_PARAMETER;
        nth_object_release(port_body);
        free(context);
    }
    nth_object_release(file_body);
    return status;
}

void nth_port_unbind(FILE_OBJECT *file)
{
    struct _IO_COMPLETION_CONTEXT *context = file->CompletionContext;

    if (!context)
        return;
    file->CompletionContext = NULL;
    nth_object_release(context->Port);
    free(context);
}
