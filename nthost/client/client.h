/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A user process of the simulated machine, seen from inside it: what a Windows program does with
 * CreateFile, DeviceIoControl, ReadFile, CancelIoEx, events and VirtualAlloc. Two implementations
 * of this one interface: process.c runs the process as host threads inside nthost (tests), child.c
 * runs it as a Linux child that speaks to nthost over a Unix socket (demo, examples); server.c is
 * the other end of that socket, and its hang-up is process death.
 *
 * Threading: every function may be called from any number of threads of the process. Statuses are
 * NTSTATUS. Buffers for control, read and write should lie in client_alloc memory; other addresses
 * are passed on as they are and must be refused by the kernel (in a child they are outside the
 * slot).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int32_t client_status;  /* an NTSTATUS */
typedef uint64_t client_handle; /* a HANDLE of the simulated process; 0 is none */

enum client_token { CLIENT_SYSTEM, CLIENT_ADMIN, CLIENT_ADMIN_FILTERED, CLIENT_USER };

struct client_config {
    const char *name;
    enum client_token token;
    bool wow64;
};

struct client;

/* Inside nthost: a new process. In a Linux child: connects to the socket named by the environment
 * (NTHOST_SOCKET), config is ignored but for its name. NULL when that fails (errno). */
struct client *client_create(const struct client_config *config);
/* Inside nthost only: starts program as a Linux child which is a process of the machine; argv as
 * for execv. *pid for signals; its death is the process's death; client_child_wait reaps it. */
struct client *client_spawn(const struct client_config *config, const char *program,
                            char *const argv[], int *pid);
int client_child_wait(struct client *client); /* exit status as of waitpid */
/* Ends the process (as TerminateProcess does) if it lives, and frees the client. */
void client_destroy(struct client *client);
void client_kill(struct client *client); /* ends the process; the client stays to be asked */
uint32_t client_process_id(struct client *client);

/* Memory of the process, page-aligned and zeroed; NULL when there is none. */
void *client_alloc(struct client *client, size_t bytes);
void client_free(struct client *client, void *address, size_t bytes);
client_status client_protect(struct client *client, void *address, size_t bytes, bool readable,
                             bool writable);

/* path in Win32 form (\\.\Wintun\{...}, \\?\ROOT#NET#...), UTF-8. */
enum { CLIENT_READ = 1, CLIENT_WRITE = 2, CLIENT_OVERLAPPED = 4, CLIENT_MAXIMUM = 8 };
client_status client_open(struct client *client, const char *path, unsigned flags,
                          client_handle *handle);
/* Inside nthost only: a path below an open file (NtCreateFile with a root directory), and another
 * handle to the same object with no more than this access (DuplicateHandle). */
client_status client_open_relative(struct client *client, client_handle root, const char *name,
                                   unsigned flags, client_handle *handle);
client_status client_restrict(struct client *client, client_handle handle, uint32_t access,
                              client_handle *result);
client_status client_close(struct client *client, client_handle handle);
client_status client_duplicate(struct client *from, client_handle handle, struct client *to,
                               client_handle *result);

/* Synchronous: return when the request is complete. *transferred may be NULL. */
client_status client_control(struct client *client, client_handle file, uint32_t code,
                             const void *in, uint32_t in_bytes, void *out, uint32_t out_bytes,
                             uint32_t *transferred);
client_status client_read(struct client *client, client_handle file, void *buffer, uint32_t bytes,
                          uint32_t *transferred);
client_status client_write(struct client *client, client_handle file, const void *buffer,
                           uint32_t bytes, uint32_t *transferred);

/* Asynchronous, on a handle opened with CLIENT_OVERLAPPED. io lives in client_alloc memory until it
 * is done. Answers STATUS_PENDING, or the final status at once (io is then done as well). */
struct client_io {
    uint64_t status; /* IO_STATUS_BLOCK: written by the kernel at completion */
    uint64_t transferred;
    client_handle event; /* set at completion; 0: none */
};
client_status client_read_start(struct client *client, client_handle file, void *buffer,
                                uint32_t bytes, struct client_io *io);
client_status client_write_start(struct client *client, client_handle file, const void *buffer,
                                 uint32_t bytes, struct client_io *io);
client_status client_control_start(struct client *client, client_handle file, uint32_t code,
                                   const void *in, uint32_t in_bytes, void *out, uint32_t out_bytes,
                                   struct client_io *io);
client_status client_cancel(struct client *client, client_handle file,
                            struct client_io *io); /* NULL: all */

/* Events and waits. timeout_ns: UINT64_MAX never, 0 polls. *index of the handle that ended it. */
client_status client_event(struct client *client, bool manual_reset, bool signalled,
                           client_handle *event);
client_status client_event_set(struct client *client, client_handle event);
client_status client_event_reset(struct client *client, client_handle event);
client_status client_wait(struct client *client, const client_handle *handles, unsigned count,
                          uint64_t timeout_ns, unsigned *index);

/* I/O completion ports. */
client_status client_port(struct client *client, client_handle *port);
client_status client_port_bind(struct client *client, client_handle port, client_handle file,
                               uint64_t key);
client_status client_port_remove(struct client *client, client_handle port, uint64_t timeout_ns,
                                 uint64_t *key, struct client_io **io);
