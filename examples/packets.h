/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The few calls with which the examples use an adapter. Under nthost they are served by
 * nthost/client/packets.c, on Windows by wintun.dll, without a change in the examples.
 *
 * One thread may receive while another sends; two threads may not do the same at once.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct packets;

/* Opens the adapter named on the command line (its NetCfgInstanceId, "{...}"). transport: "ring" or
 * "file". NULL on failure; packets_error tells why. */
struct packets *packets_open(const char *adapter, const char *transport);
const char *packets_error(void);

/* Waits until a packet can be received. 0: yes; 1: timeout_ms passed; -1: the session ended. */
int packets_wait(struct packets *packets, unsigned timeout_ms);

/* The next packet, valid until it is released; NULL when none is there or the session ended. */
const uint8_t *packets_receive(struct packets *packets, uint32_t *bytes);
void packets_release(struct packets *packets, const uint8_t *packet);

/* Room for a packet of bytes (at most 65535) that packets_send will hand to Windows; NULL when the
 * ring is full or the session ended. Every allocated packet must be sent, in any order. */
uint8_t *packets_allocate(struct packets *packets, uint32_t bytes);
void packets_send(struct packets *packets, const uint8_t *packet);
/* Hands over what packets_send has gathered (file bundles); harmless otherwise. */
void packets_flush(struct packets *packets);

void packets_close(struct packets *packets);
