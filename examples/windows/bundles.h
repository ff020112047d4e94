/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Packets of an adapter by ReadFile and WriteFile, as docs/abi.md describes them: no shared memory,
 * and no wintun.dll once the adapter is there. What the functions mean is said in packets.h.
 */
#pragma once

#include <winsock2.h>

#include <windows.h>

#include <stdint.h>

struct bundles;

/* guid: of the interface. NULL with the last error. */
struct bundles *bundles_open(const GUID *guid);
int bundles_wait(struct bundles *bundles, unsigned timeout_ms);
const uint8_t *bundles_receive(struct bundles *bundles, uint32_t *bytes);
void bundles_release(struct bundles *bundles);
uint8_t *bundles_allocate(struct bundles *bundles, uint32_t bytes);
void bundles_send(struct bundles *bundles);
void bundles_flush(struct bundles *bundles);
void bundles_close(struct bundles *bundles);
