/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The simulated machine, as tests, edges and the command line see it: boot it, load driver
 * binaries, plug adapters, drive their NDIS side, pull them out, shut down. One machine per Linux
 * process. Kernel answers are NTSTATUS; host failures are stops, which name what went wrong.
 *
 * Threading: every function here is called from a thread of the machine, at PASSIVE_LEVEL, unless
 * its comment says otherwise. The thread that called nth_boot is one; others begin with nth_enter.
 */
#pragma once

#include <ndis.h>
#include <ntifs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nth_driver;  /* a loaded driver binary */
struct nth_device;  /* a devnode with its device stack */
struct nth_adapter; /* NDIS's view of a started miniport instance */

/* ---- machine (core/machine.c) ---- */

enum nth_mode {
    NTH_SERIAL,  /* one thread runs at a time; a seeded scheduler decides at every kernel call */
    NTH_PARALLEL /* threads run as Linux schedules them */
};

struct nth_config {
    enum nth_mode mode;
    uint32_t seed;         /* schedule of NTH_SERIAL; 0: always the same thread until it blocks, or
                              has made 20,000 kernel calls */
    unsigned processors;   /* 1-64; 0 means 4 */
    uint32_t ndis_version; /* 0x6001E is 6.30; 0 means 6.89. What NdisGetVersion answers */
    bool relaxed_memory; /* true: no fresh mappings and guard pages per allocation (bench, demo) */
    bool trace;          /* print events as they happen */
};

/* Makes the machine and turns the calling thread into its first thread. */
void nth_boot(const struct nth_config *config);

/* Removes what is plugged, unloads every driver, then stops the machine if anything leaked. */
void nth_shutdown(void);

/* A host thread joins and leaves the machine (needed around blocking Linux calls too: a thread that
 * sits in read(2) must have left, or NTH_SERIAL never runs anybody else). */
void nth_enter(const char *name);
void nth_leave(void);

/* Starts a host thread that is inside the machine, in the system process. Joined by nth_join. */
struct nth_thread *nth_spawn(const char *name, void (*run)(void *context), void *context);
void nth_join(struct nth_thread *thread);

/* Pins the calling thread to a processor; -1: any. For what preempts what on one processor. */
void nth_cpu_pin(int cpu);

/* A place where NTH_SERIAL may run somebody else: in every kernel call of a driver, and wanted in a
 * host loop that makes none. No-op in NTH_PARALLEL. */
void nth_point(void);

/* Lets every other thread run until all are blocked (NTH_SERIAL), or returns at once. */
void nth_settle(void);

/* Moves the simulated clock of NTH_SERIAL; NTH_PARALLEL follows CLOCK_MONOTONIC. When every thread
 * is blocked and one of them waits with a deadline, the clock moves there by itself. */
void nth_clock_advance(uint64_t ns);
uint64_t nth_clock_ns(void); /* since boot */

/* ---- drivers (pe/image.c, nt/io.c) ---- */

/* Loads path as \Driver\<service>, runs DriverEntry with the service's registry path. On failure
 * everything is undone and *result is NULL. Drivers may import from each other by file name. */
NTSTATUS nth_driver_load(const char *path, const char *service, struct nth_driver **result);

/* Calls DriverUnload and, once no device object and no open file keeps it, unmaps the image.
 * Returns STATUS_SUCCESS when unmapped, STATUS_PENDING when an open file or device still keeps it
 * loaded: DriverUnload then runs when the last one goes. */
NTSTATUS nth_driver_unload(struct nth_driver *driver);

/* ---- devices: what the PnP and power managers do (nt/pnp.c) ---- */

struct nth_device_config {
    const char *instance_id; /* NULL: ROOT\NET\000n */
    const char *net_cfg_id;  /* "{GUID}"; NULL: made from the instance number */
    uint32_t net_luid_index; /* 0: instance number + 1 */
    const char *inf;         /* NULL, or INF whose AddReg values fill the driver key */
    const char *const *keys; /* NULL, or NULL-terminated "Name=value" for the driver key (REG_SZ;
                                "Name:d=5" makes a REG_DWORD) */
    const void *security;    /* NULL, or self-relative security descriptor device property */
    size_t security_size;
    const struct nth_device_property *properties; /* others, there before the device starts */
    size_t property_count;
};
struct nth_device_property {
    DEVPROPKEY key;
    DEVPROPTYPE type;
    const void *data;
    uint32_t bytes;
};

/* AddDevice and IRP_MN_START_DEVICE. On failure the devnode is gone and *result NULL. */
NTSTATUS nth_plug(struct nth_driver *driver, const struct nth_device_config *config,
                  struct nth_device **result);

/* Orderly removal: query, then remove. When the query is vetoed (by a driver, or because handles to
 * the stack are open) cancel-remove is sent, the device stays, and the status tells why. */
NTSTATUS nth_unplug(struct nth_device *device);
NTSTATUS nth_query_remove(struct nth_device *device); /* the three steps apart */
NTSTATUS nth_cancel_remove(struct nth_device *device);
void nth_remove(struct nth_device *device);

/* Surprise removal: IRP_MN_SURPRISE_REMOVAL now, IRP_MN_REMOVE_DEVICE when the last handle to the
 * stack closes. The devnode pointer is dead for the caller after the call. */
void nth_surprise_remove(struct nth_device *device);

/* System sleep and wake: NDIS pauses, sets the power state, and later restarts. */
NTSTATUS nth_sleep(void);
NTSTATUS nth_wake(void);

/* Win32 path of the device interface NDIS registered (GUID_DEVINTERFACE_NET), e.g.
 * \\?\ROOT#NET#0000#{cac88484-...}\{NetCfgInstanceId}; and the adapter's NetCfgInstanceId. */
const char *nth_device_interface(struct nth_device *device);
const char *nth_device_net_cfg_id(struct nth_device *device);

/* ---- NDIS side of a started miniport (ndis/) ---- */

struct nth_adapter *nth_adapter_of(struct nth_device *device); /* NULL when it is no miniport */

enum nth_adapter_state {
    NTH_HALTED,
    NTH_INITIALIZING,
    NTH_PAUSED,
    NTH_RESTARTING,
    NTH_RUNNING,
    NTH_PAUSING
};

/* One binding, as a protocol driver has it. All functions are called at the miniport's IRQL, with
 * no lock held, and may call back into the adapter. */
struct nth_binding {
    void *context;
    /* Lists are the binding's until nth_return, unless flags has NDIS_RECEIVE_FLAGS_RESOURCES:
     * then they are the miniport's again when this returns. */
    void (*receive)(void *context, NET_BUFFER_LIST *lists, ULONG count, ULONG flags);
    void (*send_complete)(void *context, NET_BUFFER_LIST *lists, ULONG flags);
    void (*status)(void *context, const NDIS_STATUS_INDICATION *indication);
    void (*detach)(void *context); /* adapter is going: return every list, then return from here */
    /* NULL, or called before the miniport pauses: return every list. A binding that has it gets
     * detach as its last call; one that has not may see sends complete after detach. */
    void (*pause)(void *context);
};

/* Several bindings may be attached; each gets status, the first gets receives. A send belongs to
 * the binding whose context is the SourceHandle of its first list, else to the first. nth_unbind
 * waits for the binding's sends. */
void nth_bind(struct nth_adapter *adapter, const struct nth_binding *binding);
void nth_unbind(struct nth_adapter *adapter, void *context);

/* Chain to the miniport. Ownership returns through send_complete, in every case. While the adapter
 * is not running, NDIS itself completes the chain (NDIS_STATUS_PAUSED). Any IRQL <= DISPATCH_LEVEL.
 */
void nth_send(struct nth_adapter *adapter, NET_BUFFER_LIST *lists, ULONG flags);
/* As a send that raced with a pause: reaches the miniport whatever its state, unless halted. */
void nth_send_unchecked(struct nth_adapter *adapter, NET_BUFFER_LIST *lists, ULONG flags);
void nth_return(struct nth_adapter *adapter, NET_BUFFER_LIST *lists, ULONG flags);
void nth_cancel_sends(struct nth_adapter *adapter, void *cancel_id);

/* OID requests, as a protocol issues them; completed synchronously for the caller. */
NDIS_STATUS nth_oid(struct nth_adapter *adapter,
                    NDIS_OID_REQUEST *request); /* queued, one at a time */
NDIS_STATUS nth_oid_direct(struct nth_adapter *adapter,
                           NDIS_OID_REQUEST *request); /* <= DISPATCH_LEVEL */
NDIS_STATUS nth_oid_synchronous(struct nth_adapter *adapter, NDIS_OID_REQUEST *request);
NDIS_STATUS nth_query(struct nth_adapter *adapter, NDIS_OID oid, void *buffer, ULONG size,
                      ULONG *written);
NDIS_STATUS nth_set(struct nth_adapter *adapter, NDIS_OID oid, const void *buffer, ULONG size);

NDIS_STATUS nth_pause(struct nth_adapter *adapter); /* returns when the miniport is paused */
NDIS_STATUS nth_restart(struct nth_adapter *adapter);
NDIS_STATUS nth_reset(struct nth_adapter *adapter); /* MiniportResetEx; NOT_SUPPORTED without one */
void nth_cancel_oid(struct nth_adapter *adapter, void *request_id); /* MiniportCancelOidRequest */
enum nth_adapter_state nth_adapter_state(struct nth_adapter *adapter);
const NDIS_LINK_STATE *nth_link_state(struct nth_adapter *adapter);
uint32_t nth_adapter_mtu(struct nth_adapter *adapter);
NET_LUID nth_adapter_luid(struct nth_adapter *adapter);
void nth_shutdown_handler(struct nth_adapter *adapter); /* MiniportShutdownEx */

/* ---- faults on demand (core/fault.c) ---- */

enum nth_fault_kind {
    NTH_FAULT_POOL,
    NTH_FAULT_MDL,
    NTH_FAULT_MAP,
    NTH_FAULT_LOCK,
    NTH_FAULT_THREAD,
    NTH_FAULT_OBJECT,
    NTH_FAULT_REGISTER,
    NTH_FAULT_NDIS,
    NTH_FAULT_KINDS
};

/* The n-th fallible kernel call made by a driver from now on fails, n counted from 1; 0: none.
 * kind_mask: bit per nth_fault_kind, ~0 for all. */
void nth_fault_arm(uint32_t kind_mask, unsigned n);
unsigned nth_fault_seen(void);    /* fallible calls since the last arm */
bool nth_fault_fired(void);       /* whether the armed one was reached */
const char *nth_fault_site(void); /* name of the kernel call that failed, or NULL */

/* ---- accounts (core/) ---- */

/* Bytes of nonpaged pool, MDL pages and NDIS pool memory that drivers hold right now. */
size_t nth_pool_bytes(void);

/* A test announces the rule that the next stop must name; the process then ends with exit code 0
 * instead of 70 when exactly that rule is broken. */
void nth_expect_stop(const char *rule);
