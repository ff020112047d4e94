/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What process.c and server.c share: a client inside nthost, and the calls that a Linux child may
 * make only after its message has been checked. Never included by what a child links.
 */
#pragma once

#include "client/client.h"
#include "nt/nt.h"

#include <sys/types.h>

struct scratch; /* an IO_STATUS_BLOCK and an event, for one synchronous request (process.c) */

struct client {
    struct nth_process *process; /* referenced */
    struct client *next;         /* all clients; process.c's lock */
    struct scratch *scratch;     /* free ones; process.c's lock */
    struct scratch *all_scratch; /* for freeing; process.c's lock */
    struct child *child;         /* server.c; NULL: threads of this process make the calls */
};

/* Ends the child and everything that serves it; the client stays (server.c). */
void client_child_end(struct client *client);
void client_child_free(struct client *client);
