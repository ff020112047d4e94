/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What the files of nt/ share and ndis/, edge/ and client/ may use beside the documented kernel
 * functions: the objects behind the opaque pointers, processes and their memory, handles.
 */
#pragma once

#include "pe/pe.h"

/* ---- rules of IRQL, checked first thing in every kernel function (nt/ke.c) ---- */
/* Stops with irql-too-high / irql-too-low, naming the function the driver called. Skipped when the
 * host itself is the caller. */
void nth_irql_max(KIRQL max);
void nth_irql_exactly(KIRQL irql);
void nth_irql_min(KIRQL min);

enum nth_object_type {
    NTH_OB_EVENT,
    NTH_OB_THREAD,
    NTH_OB_PROCESS,
    NTH_OB_FILE,
    NTH_OB_DEVICE,
    NTH_OB_DRIVER,
    NTH_OB_KEY,
    NTH_OB_SECTION,
    NTH_OB_COMPLETION,
    NTH_OB_TOKEN,
    NTH_OB_SEMAPHORE,
    NTH_OB_MUTANT,
    NTH_OB_USER, /* of a layer above the kernel: the body begins with a struct nth_user_object */
    NTH_OB_TYPES
};

/* ---- call-outs: the host calls a routine of a driver (nt/callout.c) ---- */
/* Around every such call. Stops with callout-irql or callout-lock when the routine returns at
 * another IRQL or with more or fewer spin locks than it was called with. No host lock may be held.
 */
struct nth_callout {
    const char *what; /* "dispatch routine" */
    const void *routine;
    KIRQL irql;
    unsigned spinning;
};
void nth_callout_begin(struct nth_callout *callout, const char *what, const void *routine);
void nth_callout_end(const struct nth_callout *callout);

/* ---- dispatcher objects (nt/ke.c) ---- */
/* Every waitable object begins with a DISPATCHER_HEADER. One host mutex guards all of them, as one
 * dispatcher lock does in NT. */
enum nth_wait_type { NTH_WAIT_ALL, NTH_WAIT_ANY };
/* The body of KeWaitFor*: also ended by process death for user threads
 * (STATUS_THREAD_IS_TERMINATING). */
NTSTATUS nth_wait(unsigned count, void *const *objects, enum nth_wait_type type, bool alertable,
                  const LARGE_INTEGER *timeout);
void nth_signal_object(void *object); /* threads, processes: set for good */
void nth_dispatcher_init(void *object, enum nth_object_type type); /* a thread or process, zeroed */
/* ps.c, once is_terminating is set: ends the wait that the thread sits in, if its kind can be. */
void nth_wait_abort(void *ethread);
void nth_thread_rundown(void *ethread); /* rules for a thread that ends: no lock held */
/* Memory is given up (pool freed, image unmapped, device object deleted) or made anew: stops with
 * active-object-freed when a set timer, a queued DPC, a held lock, an undeleted resource or
 * lookaside list, or an object that a thread waits for lies in it. */
void nth_active_check(const void *base, size_t bytes);

/* ---- time (nt/ke.c): what KUSER_SHARED_DATA shows ---- */
uint64_t nth_system_time(void);    /* 100 ns since 1601 */
uint64_t nth_interrupt_time(void); /* 100 ns since boot; also the performance counter, 10 MHz */

/* The Windows release that goes with the configured NDIS version (nt/rtl.c). */
void nth_os_version(uint32_t *major, uint32_t *minor, uint32_t *build);

/* ---- pool (nt/pool.c) ---- */
/* "freed pool of 64 bytes ..." for an address in the arena of exact memory; NULL elsewhere. */
const char *nth_pool_describe(uintptr_t address);
bool nth_pool_is_paged(const void *address); /* the beginning of an allocation */

/* ---- objects and handles (nt/ob.c) ---- */
/* A zeroed body behind a header with one reference; destroy runs when the last one goes, at
 * PASSIVE_LEVEL context of whoever let go. */
void *nth_object_create(enum nth_object_type type, size_t bytes, void (*destroy)(void *body));
enum nth_object_type nth_object_type(const void *body);
long nth_object_references(const void *body);

struct nth_process; /* EPROCESS: PsGetCurrentProcess answers one */
/* Handles of a process, or kernel handles (process NULL; negative values as in NT). close runs the
 * object's last-handle work (IRP_MJ_CLEANUP for files) when the last handle to it goes. */
NTSTATUS nth_handle_insert(struct nth_process *process, void *body, ACCESS_MASK access,
                           HANDLE *handle);
NTSTATUS nth_handle_lookup(struct nth_process *process, HANDLE handle, ACCESS_MASK access, int type,
                           void **body); /* referenced */
NTSTATUS nth_handle_close(struct nth_process *process, HANDLE handle);
NTSTATUS nth_handle_duplicate(struct nth_process *from, HANDLE handle, struct nth_process *to,
                              HANDLE *result);

/* References that the host takes for itself; what a driver is given goes through nth_object_lend.
 */
void *nth_object_reference(void *body);
void nth_object_release(void *body);
/* For who finds an object in a list that its destructor takes it out of: false when that has begun.
 */
bool nth_object_try_reference(void *body);
/* One more reference, handed to the driver that made the running kernel call: it shows in the
 * ledger and must come back through ObfDereferenceObject (IoGetDeviceObjectPointer, PsLookup...).
 */
void *nth_object_lend(void *body);
/* Tells ob.c what the last handle of a type means (io.c registers IRP_MJ_CLEANUP for files).
 * process: whose handle it was, NULL for a kernel handle. */
void nth_object_on_last_handle(enum nth_object_type type,
                               void (*closed)(void *body, struct nth_process *process));
long nth_object_handles(const void *body);
/* What a wait on a handle to the object waits for: a file's event, the object itself, or NULL. */
void *nth_object_waitable(void *body);
void *nth_event_create(EVENT_TYPE type,
                       bool signalled); /* an event object, for a handle (nt/zw.c) */
unsigned nth_handle_count(struct nth_process *process); /* open ones */

/* What another layer gives a process a handle to. closed: the last handle has gone. */
struct nth_user_object {
    void (*closed)(void *body);
};

/* Mutexes of user processes (nt/mutant.c): the calling thread owns one that it waited for, and
 * abandons it when it ends. STATUS_MUTANT_NOT_OWNED. */
void *nth_mutant_create(bool is_owned, void (*destroy)(void *body), size_t bytes);
enum { NTH_MUTANT_BYTES = 96 }; /* of a body; what its maker adds lies behind */
NTSTATUS nth_mutant_release(void *mutant);
void nth_mutant_thread_exit(void *ethread);

/* Names: \Device\X, \DosDevices\X (also \??\X and \\.\X), \Driver\X. Links resolve to devices. */
NTSTATUS nth_name_insert(const UNICODE_STRING *name, void *body);
NTSTATUS nth_link_insert(const UNICODE_STRING *link, const UNICODE_STRING *target);
NTSTATUS nth_name_remove(const UNICODE_STRING *name);
/* Finds the device a path begins with; rest is what follows it (the FileName of the create). */
NTSTATUS nth_name_find_device(const UNICODE_STRING *path, DEVICE_OBJECT **device,
                              UNICODE_STRING *rest);
/* The device is referenced; rest lies in path, or in a buffer of the calling thread that lasts
 * until its next look-up. Any named object: */
NTSTATUS nth_name_find(const UNICODE_STRING *path, int type,
                       void **body); /* referenced; type -1: any */

/* ---- processes (nt/ps.c) and tokens (nt/se.c) ---- */
enum nth_token { NTH_TOKEN_SYSTEM, NTH_TOKEN_ADMIN, NTH_TOKEN_ADMIN_FILTERED, NTH_TOKEN_USER };
/* One reference is the caller's (nth_object_release). NULL when a notify routine forbade it. */
struct nth_process *nth_process_create(const char *name, enum nth_token token, bool wow64);
struct nth_process *nth_process_system(void);
struct nth_process *nth_process_current(void); /* honours KeStackAttachProcess */
enum nth_token nth_process_token(const struct nth_process *process);
bool nth_process_is_wow64(const struct nth_process *process);
HANDLE nth_process_id(const struct nth_process *process);
const char *nth_process_name(const struct nth_process *process);
/* The calling host thread acts as a user thread of process (previous mode UserMode) until leave.
 * It stays the same user thread for every call it makes, so its requests outlive the call. False,
 * and not entered, when the process is dying. */
bool nth_process_enter(struct nth_process *process);
void nth_process_leave(void);
/* The calling host thread's user thread of process ends: its requests are cancelled. */
void nth_process_thread_exit(struct nth_process *process);
bool nth_process_is_dead(struct nth_process *process);
KPROCESSOR_MODE nth_previous_mode(void);
KPROCESSOR_MODE nth_set_previous_mode(KPROCESSOR_MODE mode); /* answers the old one */
/* The process of the calling thread is being killed: a wait in UserMode ends now
 * (STATUS_THREAD_IS_TERMINATING) and a synchronous request cancels its IRP. */
bool nth_thread_terminating(void);
/* Called by the unloader before the ledger is looked at: rules notify-routine-leak, thread-leak. */
void nth_ps_check_unload(uintptr_t base, size_t size, const char *driver);
/* Security descriptor from SDDL, self-relative, malloc'ed; 0 or -errno. */
int nth_sddl_parse(const char *sddl, void **descriptor, size_t *bytes);
/* Process death, in NT's order: threads end (their waits and IRPs are cancelled), exit callbacks,
 * handles close, then the address space goes: a page still locked is rule
 * "process-has-locked-pages" (bug check 0x76). Returns when done; thread of another process or of
 * the system calls it. */
void nth_process_kill(struct nth_process *process);

/* ---- user memory (nt/mm.c) ---- */
/* A process owns a slot of memfd pages at an address that is the same in a Linux child; WOW64
 * processes below 4 GiB. Anything at or above nth_user_limit is system space. */
uintptr_t nth_user_limit(void);
void *nth_user_alloc(struct nth_process *process,
                     size_t bytes); /* page-aligned, zeroed, own pages */
void nth_user_free(struct nth_process *process, void *address, size_t bytes);
void nth_user_protect(struct nth_process *process, void *address, size_t bytes,
                      int prot);                       /* PROT_* */
struct nth_process *nth_user_owner(uintptr_t address); /* NULL: not user memory */
/* The slot as a whole, for handing it to a Linux child. */
int nth_user_slot(struct nth_process *process, uintptr_t *address, size_t *bytes); /* memfd */
/* mm's half of process birth and death, called by ps.c. */
void nth_mm_process_create(struct nth_process *process, bool wow64);
void nth_mm_process_delete(struct nth_process *process); /* rule process-has-locked-pages */

/* ---- I/O (nt/io.c) ---- */
/* What NtCreateFile, NtReadFile, NtWriteFile, NtDeviceIoControlFile, NtCancelIoFileEx do, on behalf
 * of the current process and previous mode. iosb and buffers are user addresses for UserMode. For
 * an asynchronous file object STATUS_PENDING may be answered: iosb is written and event set at
 * completion. NULL event: the file object's own event. */
NTSTATUS nth_io_create(const UNICODE_STRING *path, ACCESS_MASK access, ULONG share, ULONG options,
                       bool is_forced /* OBJ_FORCE_ACCESS_CHECK */, HANDLE *handle);
/* NtCreateFile with a RootDirectory: the driver sees RelatedFileObject and the name alone. */
NTSTATUS nth_io_create_relative(HANDLE root, const UNICODE_STRING *name, ACCESS_MASK access,
                                ULONG share, ULONG options, HANDLE *handle);
NTSTATUS nth_io_read(HANDLE file, HANDLE event, void *apc_context, IO_STATUS_BLOCK *iosb,
                     void *buffer, ULONG length);
NTSTATUS nth_io_write(HANDLE file, HANDLE event, void *apc_context, IO_STATUS_BLOCK *iosb,
                      void *buffer, ULONG length);
NTSTATUS nth_io_control(HANDLE file, HANDLE event, void *apc_context, IO_STATUS_BLOCK *iosb,
                        ULONG code, void *in, ULONG in_length, void *out, ULONG out_length);
NTSTATUS nth_io_cancel(HANDLE file, IO_STATUS_BLOCK *iosb); /* NULL: all of this process */
void nth_io_thread_exit(void *nt_thread);    /* cancels and waits for the thread's IRPs */
void nth_io_file_cleanup(FILE_OBJECT *file); /* last handle: IRP_MJ_CLEANUP */
/* I/O completion ports, as far as asynchronous clients need them. */
NTSTATUS nth_io_port_create(HANDLE *port);
NTSTATUS nth_io_port_bind(HANDLE port, HANDLE file, ULONG_PTR key);
NTSTATUS nth_io_port_remove(HANDLE port, ULONG_PTR *key, void **apc_context, IO_STATUS_BLOCK *iosb,
                            const LARGE_INTEGER *timeout);

/* What an open of the device is checked against (IoCreateDeviceSecure, NdisRegisterDeviceEx); a
 * self-relative descriptor, copied. Without it the default of IoCreateDevice applies. */
void nth_device_set_security(DEVICE_OBJECT *object, const void *descriptor, size_t bytes);

/* ---- registry (nt/zw.c): a small tree of keys, filled by the PnP manager, read by drivers ---- */
/* path like \Registry\Machine\System\CurrentControlSet\Control\Class\{...}\0000 */
NTSTATUS nth_registry_set(const char *path, const char *name, ULONG type, const void *data,
                          ULONG bytes);
NTSTATUS nth_registry_get(const char *path, const char *name, ULONG *type, void *data,
                          ULONG *bytes);
void nth_registry_delete(const char *path);
/* ZwSetValueKey on an open key of the current process. */
NTSTATUS nth_key_set(HANDLE key, const UNICODE_STRING *name, ULONG type, const void *data,
                     ULONG bytes);

/* ---- devices (nt/pnp.c) ---- */
/* Behind a physical device object: registry paths and identity, for ndis/. */
struct nth_device *nth_device_of(DEVICE_OBJECT *object); /* any object of the stack; NULL */
const char *nth_device_key(struct nth_device *device);   /* registry path of the driver key */
unsigned nth_device_index(struct nth_device *device);
/* A device property as an installer or SwDeviceCreate sets it (IoGetDevicePropertyData, neutral
 * locale). */
void nth_device_set_property(struct nth_device *device, const DEVPROPKEY *key, DEVPROPTYPE type,
                             const void *data, ULONG bytes);
