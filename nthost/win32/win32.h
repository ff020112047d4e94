/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * User processes of the simulated machine that run Windows code: load a DLL binary into one, call
 * what it exports, make any Win32 function it calls fail, end the process at any step, and count
 * what it holds. For tests. Everything here is called from a thread of the machine.
 */
#pragma once

#include "client/client.h"
#include "nthost.h"

struct win32_process;
struct win32_module;
struct win32_thread;

/* ---- processes ---- */

struct win32_process *win32_process_create(const struct client_config *config);
/* Ends the process if it lives (TerminateProcess), and frees it. */
void win32_process_destroy(struct win32_process *process);
void win32_process_kill(struct win32_process *process); /* from outside; it stays to be asked */
bool win32_process_is_dead(struct win32_process *process);
struct client *win32_process_client(struct win32_process *process);
struct nth_process *win32_process_nt(struct win32_process *process);
uint32_t win32_process_id(struct win32_process *process);

/* Runs run(context) as a new thread of the process, in the calling host thread: only inside may
 * functions of its modules be called and its memory be touched. False: the process has ended, and
 * run was left wherever it was, or never began. */
bool win32_run(struct win32_process *process, void (*run)(void *context), void *context);
/* The calling host thread as one that comes and goes between begin and end: for tests that look at
 * the machine between two calls. Its process must not be ended while it is inside. */
struct win32_thread *win32_thread_begin(struct win32_process *process);
void win32_thread_enter(struct win32_thread *thread);
void win32_thread_leave(struct win32_thread *thread);
void win32_thread_end(struct win32_thread *thread);
uint32_t win32_last_error(void); /* of the running thread */
void win32_set_last_error(uint32_t error);

unsigned win32_disk_entries(void); /* files and directories on the simulated disk */

/* ---- modules ---- */

/* LoadLibrary of a DLL file, with DllMain. NULL with a message when it cannot be loaded, or the
 * process has ended. Inside win32_run or outside. */
struct win32_module *win32_load(struct win32_process *process, const char *path,
                                const char **error);
void win32_unload(struct win32_module *module);                    /* FreeLibrary */
void *win32_symbol(struct win32_module *module, const char *name); /* NULL: not exported */

/* ---- failures on demand (fault.c) ---- */

/* The n-th call from now on of the function of this name fails with error; name NULL: of any
 * function that can fail; n from 1; 0: none. error 0: one that the function's page has. Calls of
 * every process count. */
void win32_fault_arm(const char *name, unsigned n, uint32_t error);
unsigned win32_fault_seen(void);     /* calls that counted since */
const char *win32_fault_fired(void); /* the function that failed, or NULL; kept until armed anew */
uint32_t win32_fault_error(void);    /* what it failed with */
/* Whether a module that imports it finds it. */
bool win32_provides(const char *module, const char *name);
/* How often modules called it so far; name NULL: calls of any function. */
unsigned win32_calls(const char *name);

/* This Windows has no such function; name NULL: no such DLL; module NULL: it has all again. */
void win32_without(const char *module, const char *name);

/* The process is ended at its n-th call from now on; 0: never. Answers how many calls were left
 * until then of what was said before; 0: none was, or it has come to that. */
unsigned win32_kill_at(struct win32_process *process, unsigned n);

/* ---- what else goes wrong in this Windows (knobs.c) ---- */

#define WIN32_NEVER UINT32_MAX
struct win32_knobs {
    bool no_callback;            /* SwDeviceCreate: the callback never comes */
    int32_t callback_result;     /* HRESULT that the callback brings; 0: that of the creation */
    uint32_t problem;            /* CM_PROB_... that a device comes up with */
    int32_t problem_status;      /* NTSTATUS with it */
    uint32_t interface_ms;       /* the interface is enabled so long after the start */
    uint32_t rows_ms;            /* TCP/IP has bound so long after the start */
    uint32_t removal_ms;         /* a closed software device goes so late */
    bool no_notifications;       /* none is delivered */
    bool ignores_suggested_guid; /* the network's set-up chooses another GUID */
    uint32_t signature;          /* error for which packages are refused; 0: welcome */
    int32_t service;             /* HRESULT of SwDeviceCreate while services are not ready */
    bool hides_drivers;          /* addresses of drivers are told to nobody */
    bool names_are_fixed;        /* connections cannot be renamed by the function of nci.dll */
};
/* Read by every function when it needs one. All zero: everything goes well. */
void win32_knobs_set(const struct win32_knobs *knobs);

/* The driver binary that packages of any kind bring. */
void win32_driver(const char *path, const char *service);
/* A package of another version is in the driver store already. */
void win32_package_add(const char *inf_text);
unsigned win32_package_count(void);
/* A connection of somebody else has this name (UTF-8). */
void win32_connection_add(const char *name);
bool win32_connection_exists(const char *name);

/* Device nodes whose instance ID begins with this, of any kind or only present ones. */
unsigned win32_node_count(const char *prefix, bool only_present);
/* A node that an earlier process has left: present or remembered, without an owner. */
void win32_node_leave(const char *instance_id, bool is_present,
                      const struct nth_device_property *properties, size_t count);
/* The started device of a node, or NULL. */
struct nth_device *win32_node_device(const char *instance_id);
/* Somebody pulls it out; or it stops with a problem (CM_PROB_DISABLED: the device manager's). */
void win32_node_surprise(const char *instance_id);
void win32_node_stop(const char *instance_id, uint32_t problem);
/* Waits until nothing is posted to the PnP manager any more that is due now. */
void win32_settle(void);
/* Of an adapter: what was set. False: no such row. */
bool win32_ip_row(NET_LUID luid, bool is_ipv6, uint32_t *mtu, uint32_t *metric,
                  uint32_t *dad_transmits);
unsigned win32_address_count(NET_LUID luid);
int win32_address_prefix(NET_LUID luid, const uint8_t *ip4); /* -1: there is no such address */
int win32_network_category(const char *instance_id); /* NLM_NETWORK_CATEGORY, -1: never set */

/* ---- what a process holds (ledger.c) ---- */

enum win32_kind {
    WIN32_HANDLE,   /* of the kernel, and keys, software devices, namespaces */
    WIN32_HEAP,     /* heaps */
    WIN32_BLOCK,    /* blocks of a heap */
    WIN32_LOCAL,    /* what LocalFree frees */
    WIN32_REGION,   /* VirtualAlloc */
    WIN32_MODULE,   /* references to DLL files; system DLLs may stay loaded */
    WIN32_THREAD,   /* CreateThread, until it has ended */
    WIN32_TLS,      /* TlsAlloc */
    WIN32_DEVINFO,  /* device information sets */
    WIN32_INF,      /* SetupOpenInfFile */
    WIN32_NOTIFY,   /* notifications registered */
    WIN32_COM,      /* references to COM objects, and apartments entered */
    WIN32_BOUNDARY, /* boundary descriptors */
    WIN32_OTHER,    /* what another function of its own frees */
    WIN32_KINDS
};
struct win32_ledger {
    unsigned held[WIN32_KINDS];
};
void win32_ledger_take(struct win32_process *process, struct win32_ledger *ledger);
/* NULL when the process holds what it held then, else what is more or less, in words. */
const char *win32_ledger_differs(struct win32_process *process, const struct win32_ledger *before);
