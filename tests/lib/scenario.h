/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What the tests of wintun.sys begin and end with: a machine with the driver loaded, an adapter
 * with a protocol bound to it, and the program of an administrator. Everything here checks itself
 * and ends the test when it does not hold, so that tests say only what is theirs. Knows the driver
 * by its published interface alone.
 *
 * Environment: WINTUN_SYS, another build of the driver; NTH_SEED, the one schedule to replay.
 */
#pragma once

#include "check.h"
#include "client/client.h"
#include "client/ring.h"
#include "edge/ip.h"
#include "edge/mem.h"
#include "nthost.h"

#include <wintun-abi.h>

#define MSEC   UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)
#define NEVER  UINT64_MAX

/* ---- machine ---- */

#define SERIAL(number) (&(const struct nth_config){.mode = NTH_SERIAL, .seed = (uint32_t)(number)})
#define PARALLEL       (&(const struct nth_config){.mode = NTH_PARALLEL})

extern struct nth_driver *scenario_driver;

/* Boots and loads the driver. NTH_SEED wins over the seed of a serial machine. */
void scenario_boot(const struct nth_config *config);
NTSTATUS scenario_load(void); /* loads the driver again, or for the first time */
/* Unloads the driver, which nothing may hold up, and shuts down; a leak is a stop. */
void scenario_shutdown(void);

/* Runs `run` in a process of its own for each of `count` seeds from `first` on; a failure says
 * which seed. With NTH_SEED only that one. run boots its machine with SERIAL(seed). */
void scenario_seeds(uint32_t first, unsigned count, void (*run)(uint32_t seed));
unsigned scenario_number(const char *environment, unsigned otherwise);
/* Exit code of run(number) in a process of its own. */
int scenario_apart(int (*run)(unsigned number), unsigned number);

/* Threads of the machine that act at once: start each, then join all. */
enum { CREW = 16 };
struct crew {
    struct nth_thread *threads[CREW];
    unsigned count;
};
void crew_start(struct crew *crew, const char *name, void (*run)(void *context), void *context);
void crew_join(struct crew *crew);

/* ---- adapters ---- */

struct port {
    struct nth_device *device;
    struct nth_adapter *adapter;
    struct nth_mem *mem;
    char file[96];  /* path of the adapter at the driver's own device */
    char ndis[160]; /* and at NDIS's */
};

NTSTATUS port_try(struct port *port, const struct nth_device_config *config);
void port_plug(struct port *port);   /* must succeed */
void port_unplug(struct port *port); /* orderly, and must succeed */
/* The adapter has gone by itself: frees what the test had of it. */
void port_forget(struct port *port);

enum route { VIA_WINTUN, VIA_NDIS }; /* \\.\Wintun\{...}, or NDIS's own device */
client_status port_open_status(const struct port *port, struct client *client, enum route route,
                               unsigned flags, client_handle *file);
client_handle port_open(const struct port *port, struct client *client, enum route route);
client_handle port_open_overlapped(const struct port *port, struct client *client,
                                   enum route route);
/* \\.\Wintun\{...} as ZwOpenFile gives it to a driver; attributes beside OBJ_KERNEL_HANDLE. */
NTSTATUS port_open_as_driver(const struct port *port, ACCESS_MASK access, ULONG attributes,
                             HANDLE *handle);

client_status query_file(struct client *client, client_handle file, WINTUN_QUERY *query);
WINTUN_QUERY port_query(const struct port *port); /* through a program of its own */
uint64_t port_counter(const struct port *port, unsigned counter);
bool port_is_up(const struct port *port);
/* Waits until the link is up or down: the driver says so after the call that caused it. */
void port_await_link(const struct port *port, bool is_up);
/* Waits until the counter is there. */
void port_await_counter(const struct port *port, unsigned counter, uint64_t value);

/* ---- programs ---- */

struct client *program(enum client_token token);
struct client *program_wow64(enum client_token token);
/* Memory of the program; every allocation of a test lives until its program ends. */
void *program_alloc(struct client *client, size_t bytes);
client_handle program_event(struct client *client);
bool event_is_set(struct client *client, client_handle event); /* and resets an auto-reset one */

/* ---- packets ---- */

/* The same bytes for the same arguments, a valid IP packet from 20 or 40 bytes on. Two buffers are
 * used in turn. */
const uint8_t *packet_of(size_t bytes, int version, uint32_t seed);

/* From the stack: one list of one packet; waits for it and checks that nothing of it was changed.
 */
NDIS_STATUS port_send(struct port *port, const void *packet, size_t bytes,
                      const struct nth_shape *shape);
/* The stack's packet number `index` is this one. */
void port_expect(struct port *port, unsigned index, const void *packet, size_t bytes);

/* From the program. */
void rings_put(struct ring_session *rings, const void *packet, size_t bytes);
/* The oldest packet in the ring is this one, and is taken out. */
void rings_expect(struct ring_session *rings, const void *packet, size_t bytes);
void rings_expect_empty(struct ring_session *rings);
volatile WINTUN_RING *to_user(struct ring_session *rings);
volatile WINTUN_RING *to_stack(struct ring_session *rings);
void rings_expect_ended(struct client *client, struct ring_session *rings);

/* ---- the usual beginning ---- */

struct scene {
    struct port port;
    struct client *admin;
    client_handle file;
    struct ring_session *rings;
};

void scene_begin(struct scene *scene, const struct nth_config *config);
/* A session on a new handle. config NULL: capacities of 0x400000. */
void scene_rings(struct scene *scene, enum route route, const struct ring_config *config);
void scene_begin_rings(struct scene *scene, const struct nth_config *config);
/* From now on the stack keeps what it is given: first, packets of these bytes, numbered from 0. */
void scene_hold(struct scene *scene, uint32_t packets, uint32_t bytes);
/* The pool holds no more and no less after each round than after round 1; the first may warm up. */
void expect_no_growth(int round, size_t *bytes);
void scene_end_rings(struct scene *scene); /* closes the handle, expects both markers */
void scene_end(struct scene *scene);       /* program, adapter, driver, machine; nothing leaked */
