/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What the files of ndis/ share: drivers, adapters and their state, who owns which list, how the
 * library calls out to a driver. Built on kernel functions and on the hooks of core/ alone, so that
 * the same code can be a Windows module; must never reach into nt/ but through platform.c.
 */
#pragma once

#include "nt/nt.h"

#define NDIS_TAG 0x7369644E /* 'Ndis' */

/* Every handle a driver gets points to one of these; the kind tells them apart. */
enum ndis_kind {
    NDIS_KIND_DRIVER = 0x4474644E,  /* NdisMRegisterMiniportDriver */
    NDIS_KIND_ADAPTER = 0x4174644E, /* MiniportInitializeEx, MiniportAddDevice */
    NDIS_KIND_DEVICE = 0x5674644E,  /* NdisRegisterDeviceEx */
    NDIS_KIND_POOL = 0x5074644E,    /* NdisAllocateNetBuffer[List]Pool */
    NDIS_KIND_CONFIG = 0x4374644E,  /* NdisOpenConfigurationEx */
    NDIS_KIND_TIMER = 0x5474644E,   /* NdisAllocateTimerObject */
    NDIS_KIND_WORK = 0x5774644E,    /* NdisAllocateIoWorkItem */
    NDIS_KIND_RWLOCK = 0x4C74644E,  /* NdisAllocateRWLock */
    NDIS_KIND_SHARED = 0x5374644E,  /* NdisAllocateSharedMemory */
    NDIS_KIND_DEAD = 0x6464644E
};

/* An object a driver holds. owner is the NDIS handle it was made with: what is owned by an adapter
 * must be gone when MiniportHaltEx has returned. */
struct ndis_object {
    ULONG kind;
    NDIS_HANDLE owner;
    LIST_ENTRY link; /* ndis_objects, guarded by its lock */
    const char *made_by;
    uintptr_t site;
};

void ndis_object_add(struct ndis_object *object, enum ndis_kind kind, NDIS_HANDLE owner,
                     const char *made_by);
/* Stops with "ndis-handle" when handle is no live object of that kind. */
void *ndis_object_check(NDIS_HANDLE handle, enum ndis_kind kind);
void ndis_object_remove(struct ndis_object *object); /* the caller frees it */
struct ndis_object *ndis_object_find(enum ndis_kind kind,
                                     bool (*is_it)(const struct ndis_object *, const void *),
                                     const void *what);
/* Stops with "leak" when something is still owned by owner. */
void ndis_object_sweep(NDIS_HANDLE owner, const char *when);

/* Both texts, which must fit with their NUL. */
void ndis_join(char *to, size_t bytes, const char *first, const char *second);

/* Zeroed nonpaged memory through the kernel's allocator; NULL when there is none. */
void *ndis_alloc(SIZE_T bytes);
void ndis_free(void *memory);

/* A number of things in flight, and somebody who may wait for none of them to be left. */
struct ndis_count {
    LONG n;
    LONG is_awaited;
    KEVENT zero;
};
void ndis_count_init(struct ndis_count *count);
void ndis_count_add(struct ndis_count *count, LONG n);
void ndis_count_sub(struct ndis_count *count, LONG n);
LONG ndis_count_get(const struct ndis_count *count);
void ndis_count_wait(struct ndis_count *count); /* PASSIVE_LEVEL, one waiter at a time */

/* One holder at a time; held across calls into drivers, at PASSIVE_LEVEL. */
struct ndis_gate {
    KEVENT event; /* synchronisation event, set while the gate is free */
};
void ndis_gate_init(struct ndis_gate *gate);
void ndis_gate_enter(struct ndis_gate *gate);
void ndis_gate_leave(struct ndis_gate *gate);

/* Around every call into a driver: it must come back at the IRQL and with the locks it got. */
struct ndis_callout {
    const char *handler;
    KIRQL irql;
    unsigned locks;
};
struct ndis_callout ndis_callout(const char *handler);
void ndis_callout_end(const struct ndis_callout *call);

/* The driver said it runs at DISPATCH_LEVEL and does not: rule "flags-dispatch-level-lie". */
void ndis_check_level(bool says_dispatch);
/* No spin lock may be held by a driver that calls what may call it back. */
void ndis_check_no_lock(void);
/* Type, revision and the least size of a structure that a driver hands over; max_revision is what
 * the driver's NDIS version knows. */
bool ndis_header_is(const NDIS_OBJECT_HEADER *header, UCHAR type, UCHAR max_revision,
                    const USHORT *sizes);

/* ---- surroundings (platform.c) ---- */

const char *ndis_instance_of(DEVICE_OBJECT *pdo); /* "{NetCfgInstanceId}", NULL: no device node */
const char *ndis_key_of(DEVICE_OBJECT *pdo);      /* its driver key */
bool ndis_is_device(DEVICE_OBJECT *pdo, const struct nth_device *device);
NTSTATUS ndis_key_get(const char *key, const char *name, ULONG *type, void *data, ULONG *bytes);
NTSTATUS ndis_key_set(const char *key, const char *name, ULONG type, const void *data, ULONG bytes);
NTSTATUS ndis_set_security(DEVICE_OBJECT *device, const UNICODE_STRING *sddl);
/* What driver code may call under an exported name. */
void *ndis_callable(const char *name);

/* ---- drivers and adapters (miniport.c, attributes.c, state.c, pnp.c) ---- */

struct ndis_driver {
    struct ndis_object object;
    DRIVER_OBJECT *driver;
    NDIS_HANDLE context;
    NDIS_MINIPORT_DRIVER_CHARACTERISTICS handlers; /* copied: changes by the driver do nothing */
    NDIS_MINIPORT_PNP_CHARACTERISTICS pnp;
    bool has_pnp, in_set_options;
    ULONG version; /* major << 16 | minor, as registered */
    LONG adapters; /* atomic */
    LONG devices;  /* atomic; NdisRegisterDeviceEx */
    UNICODE_STRING registry_path;
};

struct ndis_binding {
    struct nth_binding calls;
    struct ndis_count uses;  /* calls into it */
    struct ndis_count sends; /* lists on their way */
    bool is_detaching;       /* set with the adapter's gate held */
    struct ndis_binding *next_retired;
};

enum { NDIS_MAX_BINDINGS = 8 };

enum ndis_operation { NDIS_OP_NONE, NDIS_OP_PAUSE, NDIS_OP_RESTART, NDIS_OP_RESET };

/* An operation that a driver may pend; guarded by the adapter's lock. A reset may overlap with a
 * pause or a restart, so it has a slot of its own. */
struct ndis_slot {
    enum ndis_operation operation;
    bool is_complete;
    NDIS_STATUS status;
    KEVENT done;
};

struct ndis_oid_call {
    LIST_ENTRY link; /* adapter's list, guarded by its lock */
    NDIS_OID_REQUEST *request;
    NDIS_OID_REQUEST before; /* what the driver must not change */
    NDIS_STATUS status;
    KEVENT done;
    bool is_direct, is_complete, has_returned;
};

struct nth_adapter {
    struct ndis_object object;
    struct ndis_driver *driver;
    DEVICE_OBJECT *pdo, *fdo, *lower;
    UNICODE_STRING interface_link;
    bool has_interface;
    unsigned index;

    struct ndis_gate gate; /* state changes, one at a time */
    LONG state;            /* enum nth_adapter_state; atomic, written with the gate held */
    LONG is_initialized;   /* MiniportInitializeEx succeeded and MiniportHaltEx was not called */
    bool was_surprised, is_low_power, was_shut_down, is_gone;
    NDIS_HANDLE add_device_context;
    NDIS_HANDLE context; /* MiniportAdapterContext */

    struct nth_mutex lock;
    struct ndis_slot flow, reset;
    BOOLEAN reset_addressing;

    /* attributes: set while initialising, constant after */
    bool has_registration, has_general, has_offload, has_hardware_assist;
    NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES registration;
    NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES general;
    NDIS_PM_CAPABILITIES pm;
    NDIS_OFFLOAD offload_default, offload_hardware;
    NDIS_OID *oids;
    ULONG oid_count;

    NDIS_LINK_STATE link; /* guarded by lock */
    ULONG packet_filter, lookahead, mtu;

    struct ndis_binding *bindings[NDIS_MAX_BINDINGS]; /* guarded by lock */

    struct ndis_binding *retired; /* guarded by lock; freed with the adapter */

    struct ndis_count sending;    /* calls of MiniportSendNetBufferLists that have not returned */
    struct ndis_count sent;       /* lists the miniport has */
    struct ndis_count indicating; /* calls of NdisMIndicateReceiveNetBufferLists */
    struct ndis_count indicated;  /* lists that receivers have */

    struct ndis_count direct;  /* calls of handlers that no gate orders: direct requests, cancels */
    struct ndis_gate oid_gate; /* queued requests: one at a time */
    LIST_ENTRY oid_calls;
};

/* From a handle of a driver. Stops with "ndis-handle", or with "call-after-halt" when the adapter
 * is halted. */
struct nth_adapter *ndis_adapter(NDIS_HANDLE handle);
static inline enum nth_adapter_state ndis_state(const struct nth_adapter *adapter)
{
    return (enum nth_adapter_state)__atomic_load_n(&adapter->state, __ATOMIC_SEQ_CST);
}
void ndis_set_state(struct nth_adapter *adapter, enum nth_adapter_state state);
/* MiniportInitializeEx has succeeded and MiniportHaltEx was not called. */
static inline bool ndis_is_up(const struct nth_adapter *adapter)
{
    return __atomic_load_n(&adapter->is_initialized, __ATOMIC_SEQ_CST);
}
/* Around a call that nothing else keeps from meeting the halt; false: do not call. */
bool ndis_direct_begin(struct nth_adapter *adapter);
void ndis_direct_end(struct nth_adapter *adapter);
const char *ndis_state_name(enum nth_adapter_state state);

ULONG ndis_system_version(void); /* what NdisGetVersion answers */

NTSTATUS ndis_initialize(struct nth_adapter *adapter);
NDIS_STATUS ndis_pause(struct nth_adapter *adapter, ULONG reason);
NDIS_STATUS ndis_restart(struct nth_adapter *adapter);
/* Detaches the bindings, pauses, halts. Nothing when it is halted. */
void ndis_halt(struct nth_adapter *adapter, NDIS_HALT_ACTION action);
void ndis_notify(struct nth_adapter *adapter, NDIS_DEVICE_PNP_EVENT event, void *data, ULONG size);

NTSTATUS NTAPI ndis_add_device(DRIVER_OBJECT *driver, DEVICE_OBJECT *pdo);
void NTAPI ndis_unload(DRIVER_OBJECT *driver);
NTSTATUS NTAPI ndis_dispatch(DEVICE_OBJECT *device, IRP *irp);
NTSTATUS ndis_pnp(struct nth_adapter *adapter, IRP *irp);
NTSTATUS ndis_power(struct nth_adapter *adapter, IRP *irp);
struct ndis_driver *ndis_driver_of(const DRIVER_OBJECT *driver);

/* What stands behind a device object's extension. */
enum ndis_device_kind { NDIS_DEVICE_ADAPTER = 0x4E445031, NDIS_DEVICE_NAMED = 0x4E445032 };
struct ndis_fdo {
    ULONG kind;
    struct nth_adapter *adapter;
};
NTSTATUS ndis_device_dispatch(DEVICE_OBJECT *device, IRP *irp); /* device.c */

NDIS_STATUS ndis_oid_call(struct nth_adapter *adapter,
                          NDIS_OID_REQUEST *request); /* to the miniport */
void ndis_binding_detach_all(struct nth_adapter *adapter, bool last);
void ndis_binding_pause_all(struct nth_adapter *adapter);
void ndis_status_to_bindings(struct nth_adapter *adapter, const NDIS_STATUS_INDICATION *status);

/* ---- lists (nbl.c, flow.c) ---- */

struct ndis_pool;

enum ndis_nbl_state {
    NDIS_NBL_OWNED,     /* whoever allocated it has it */
    NDIS_NBL_SENT,      /* the miniport has it until it completes the send */
    NDIS_NBL_INDICATED, /* receivers have it until they return it */
    NDIS_NBL_LENT,      /* receivers look at it until the indication call returns */
    NDIS_NBL_FREED
};

struct ndis_nb {
    ULONG magic;
    bool is_embedded;       /* allocated with its list */
    struct ndis_pool *pool; /* NULL when embedded */
    MDL *own_mdl;           /* with data, freed together */
    void *own_data;
    ULONG retreat_mdls; /* MDLs at the head of the chain that NDIS allocated */
    struct ndis_nb *next_free;
    NET_BUFFER nb;
};

/* Around every NET_BUFFER_LIST. The list has two private slots behind it as in ndis.sys, whose
 * structure is 16 bytes longer than the public one. */
struct ndis_nbl {
    ULONG magic;
    LONG state; /* enum ndis_nbl_state; atomic */
    struct ndis_pool *pool;
    struct nth_adapter *adapter;  /* while it is sent, indicated or lent */
    struct ndis_binding *binding; /* while it is sent */
    ULONG64 shape;                /* of its buffers, when it was handed over */
    uintptr_t site;               /* driver code that last handed it over */
    LONG extra_contexts;          /* NdisAllocateNetBufferListContext with memory of its own */
    struct ndis_nbl *next_free;
    struct ndis_nb *own_nb;
    union {
        NET_BUFFER_LIST nbl;
        UCHAR size[384];
    };
    DECLSPEC_ALIGN(16) UCHAR context[];
};

/* Stops with "nbl-foreign" when list is not one of a pool, "nbl-freed" when it was freed. */
struct ndis_nbl *ndis_nbl(NET_BUFFER_LIST *list);
/* Hands the list over; stops with rule when it is not in the state it must be in. */
void ndis_nbl_move(struct ndis_nbl *list, enum ndis_nbl_state from, enum ndis_nbl_state to,
                   const char *rule, const char *what);
ULONG64 ndis_nbl_shape(const NET_BUFFER_LIST *list);
/* Copies the first bytes of the data; false when they cannot be read. */
bool ndis_nb_peek(const NET_BUFFER *nb, void *to, ULONG bytes);
/* CurrentMdl and its offset from DataOffset. */
void ndis_nb_seek(NET_BUFFER *nb);
/* NULL, or what is wrong with its buffers and MDLs. */
const char *ndis_nbl_fault(const NET_BUFFER_LIST *list);
