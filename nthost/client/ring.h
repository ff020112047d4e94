/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The user end of a pair of version 1 rings (include/wintun-abi.h): what a program does that talks
 * to the driver without wintun.dll. Any number of threads may use a session; packets may be
 * released and sent in any order.
 */
#pragma once

#include "client/client.h"

struct ring_session;

struct ring_config {
    uint32_t to_user_capacity;  /* 0: 0x400000 */
    uint32_t to_stack_capacity; /* 0: the same */
};

/* Rings and events in the client's memory, registered on file: a handle to the adapter, or to the
 * adapter's own NDIS device. file stays the caller's and must stay open. */
client_status ring_open(struct client *client, client_handle file, const struct ring_config *config,
                        struct ring_session **session);
/* Frees memory and events; file must have been closed, or the driver still writes there. */
void ring_close(struct ring_session *session);

enum ring_state { RING_READY, RING_EMPTY, RING_ENDED, RING_CORRUPT };

/* The oldest packet that nobody has taken; it stays until ring_release. */
enum ring_state ring_receive(struct ring_session *session, const uint8_t **packet, uint32_t *bytes);
void ring_release(struct ring_session *session, const uint8_t *packet);
/* Waits until there is a packet to take; RING_EMPTY after timeout_ns. */
enum ring_state ring_wait(struct ring_session *session, uint64_t timeout_ns);

/* Room for a packet: RING_EMPTY when the ring is full. Goes out with ring_send, after those that
 * were allocated before it. */
enum ring_state ring_allocate(struct ring_session *session, uint32_t bytes, uint8_t **packet);
void ring_send(struct ring_session *session, const uint8_t *packet);

/* For tests that look at, or break, the shared words themselves. */
void *ring_to_user(struct ring_session *session);
void *ring_to_stack(struct ring_session *session);
client_handle ring_to_user_event(struct ring_session *session);
client_handle ring_to_stack_event(struct ring_session *session);
