/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The parts of Windows behind the functions of this folder: device nodes, driver packages,
 * connections. What all processes share. One lock guards it; nobody holds it while he calls into
 * the kernel, a driver or a module.
 */
#pragma once

#include "win32/private.h"

/* ---- device nodes (nodes.c) ---- */

enum { ID_CHARACTERS = 200, ALIAS_CHARACTERS = 257 };

enum { /* CM_PROB_..., cfg.h pages */
       PROBLEM_NONE = 0,
       PROBLEM_NOT_CONFIGURED = 1,
       PROBLEM_FAILED_START = 10,
       PROBLEM_FAILED_INSTALL = 28,
       PROBLEM_DRIVER_FAILED_LOAD = 39,
};

/* One IP interface of a node: the row exists when TCP/IP has bound to it. */
struct ip_row {
    bool exists;
    bool has_mtu;
    uint32_t mtu;
    bool automatic_metric;
    uint32_t metric;
    uint32_t dad_transmits;
};

struct property;
struct software;
struct package;
struct node {
    struct node *next;
    WCHAR id[ID_CHARACTERS];
    uint32_t instance;
    bool is_present;    /* PnP enumerates it; else Windows remembers it */
    bool is_persistent; /* lifetime of its parent */
    uint32_t problem;
    NTSTATUS problem_status;
    struct property *properties;
    WCHAR hardware_id[64];
    WCHAR description[256];
    char key[128];             /* driver key; empty: none */
    struct package *package;   /* that it was installed from */
    struct nth_device *device; /* while it works */
    bool has_interface;        /* GUID_DEVINTERFACE_NET is enabled */
    struct software *owner;    /* the open handle */
    unsigned turn;             /* counts starts, so that what is late for one finds the next */
    GUID guid;                 /* of the network interface */
    uint32_t luid_index;
    WCHAR alias[ALIAS_CHARACTERS];
    struct ip_row rows[2]; /* IPv4, IPv6 */
    bool has_category;
    uint32_t category; /* of its network */
};

extern struct nth_mutex machine_lock;

struct node *node_find(const WCHAR *id);            /* locked; NULL */
struct node *node_of(uint32_t instance);            /* locked; NULL */
struct node *node_next(struct node *after);         /* locked; NULL: the first */
struct node *node_make(const WCHAR *id);            /* locked; an absent one */
void node_forget(struct node *node);                /* locked; it and what is stored of it go */
const char *node_key(struct node *node, bool make); /* locked; driver key, NULL: none */
void node_set_property(struct node *node, const DEVPROPKEY *key, DEVPROPTYPE type, const void *data,
                       uint32_t bytes); /* locked */
/* locked; false: there is none */
bool node_property(struct node *node, const DEVPROPKEY *key, DEVPROPTYPE *type, const void **data,
                   uint32_t *bytes);
/* locked; all of them, as the kernel is given them; free() what it answers */
struct nth_device_property *node_properties(struct node *node, size_t *count);
NET_LUID node_luid(const struct node *node);

/* ---- plug and play (pnp.c) ---- */

/* Runs run(context) on the PnP manager's thread, after everything posted before, not before delay
 * has passed. */
void pnp_post(void (*run)(void *context), void *context, uint64_t delay_ns);
/* On the PnP thread: the node is there, with what was set. */
void pnp_enumerate(struct node *node);
void pnp_start_later(struct node *node); /* its driver is found and started */
/* On the PnP thread: it becomes absent. False: vetoed, which a surprise cannot be. */
bool pnp_pull(struct node *node, bool is_surprise);

/* ---- notifications (notify.c) ---- */

enum notify_action { /* CM_NOTIFY_ACTION */
                     NOTIFY_INTERFACE_ARRIVAL = 0,
                     NOTIFY_INTERFACE_REMOVAL = 1,
                     NOTIFY_INSTANCE_ENUMERATED = 7,
                     NOTIFY_INSTANCE_STARTED = 8,
                     NOTIFY_INSTANCE_REMOVED = 9,
};
void notify_device(const struct node *node, enum notify_action action);
void notify_ip(NET_LUID luid, unsigned family, unsigned type);

/* ---- driver packages (packages.c) ---- */

struct package {
    struct package *next;
    WCHAR inf[32]; /* oem0.inf */
    WCHAR hardware_id[64];
    WCHAR provider[64];
    WCHAR description[64];
    uint64_t date; /* FILETIME */
    uint64_t version;
    bool is_excluded; /* "Exclude From Select", ns-setupapi-sp_devinstall_params_w */
    char *text;       /* of the INF */
};
struct package *package_next(struct package *after);                           /* locked */
struct package *package_best(const WCHAR *hardware_id);                        /* locked; NULL */
uint32_t package_add(const char *text, size_t bytes, struct package **result); /* an error */
bool package_is_used(const struct package *package);                           /* locked */
void package_remove(struct package *package);                                  /* locked */
/* The driver image that packages bring, loaded while a device needs it. */
NTSTATUS driver_take(struct nth_driver **driver);
void driver_release(void);

/* ---- connections (connections.c) ---- */

/* Who has this name, ignoring case, whatever he is; false: nobody. locked */
bool connection_find(const WCHAR *alias, NET_LUID *luid, GUID *guid);
bool connection_by_guid(const GUID *guid, WCHAR **alias);
uint32_t connection_rename(const GUID *guid, const WCHAR *name); /* an error */
bool connection_by_luid(NET_LUID luid, WCHAR **alias, GUID *guid, struct node **node);

void addresses_forget(NET_LUID luid); /* locked; the interface goes (iphlpapi.c) */

/* ---- knobs (knobs.c) ---- */

extern struct win32_knobs win32_knobs_now;
