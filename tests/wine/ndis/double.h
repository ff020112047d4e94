/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Between the two halves of the double: files that see the kernel's declarations (sdk/) and files
 * that see Windows' user-mode headers; the two cannot be included together. Plain C types only.
 * Status values are NTSTATUS.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- module.c ---- */

/* What the double keeps for a thread; zeroed when the thread is first seen. */
struct wine_thread {
    unsigned char irql;
    unsigned cpu; /* taken at DISPATCH_LEVEL */
    unsigned held_count;
    const void *held[16]; /* spin locks, in order */
};
struct wine_thread *wine_thread(void);
void wine_yield(void);
void *wine_kernel(const char *name); /* a function of Wine's own ntoskrnl.exe, or NULL */
/* Rewrites the import slots of the image around address; false: a function is missing. */
bool wine_bind(const void *address);
_Noreturn void wine_raise(uint32_t status); /* an exception for the driver's handler */
void wine_guid(char text[39]);              /* a new "{...}" */

/* ---- log.c ---- */

void wine_log(const char *format, ...); /* a line of C:\ndis.log */
void wine_log_list(const char *prefix, const char *format, __builtin_va_list arguments);
_Noreturn void wine_end(void); /* the process that plays the kernel */

/* ---- memory.c ---- */

/* The caller's region around [address, address + bytes) becomes a section, mapped here too; answers
 * where the address is here. NULL: it is not whole, private, writable memory. Stays so until the
 * process ends: giving it private pages again would race with its threads. */
void *wine_adopt(uint32_t process, void *address, size_t bytes);
void wine_release(const void *address); /* what wine_adopt answered */
void wine_forget(uint32_t process);     /* it has ended */

/* ---- process.c ---- */

/* Calls ended(process) on a thread of its own once the process has ended; once per process. */
void wine_watch(uint32_t process, void (*ended)(uint32_t process));
/* A handle here to what handle is there; NULL: none, or not an event. */
void *wine_duplicate_event(uint32_t process, void *handle, uint32_t access, bool *is_event);
/* Wine's own access check, with the process's token. descriptor is self-relative. */
bool wine_access_check(uint32_t process, const void *descriptor, uint32_t desired,
                       const void *mapping, uint32_t *granted);

/* ---- event.c: handles behind the kernel's events ---- */

void *wine_event_create(bool is_notification, bool is_set);
void wine_event_close(void *event);
bool wine_event_set(void *event); /* all three answer the state before */
bool wine_event_reset(void *event);
bool wine_event_state(void *event);
uint32_t wine_wait(unsigned count, void **handles, bool all, const int64_t *timeout);
void wine_events_lock(void); /* guards all events of drivers */
void wine_events_unlock(void);

/* ---- registry.c: paths begin with \Registry\Machine\ ---- */

uint32_t wine_key_get(const char *path, const char *name, uint32_t *type, void *data,
                      uint32_t *bytes);
uint32_t wine_key_set(const char *path, const char *name, uint32_t type, const void *data,
                      uint32_t bytes);
uint32_t wine_key_path(void *key, char *path, size_t room); /* closes the key */
void wine_key_write_text(const char *path, const char *name, const char *text);
void wine_key_write_number(const char *path, const char *name, uint32_t value);
bool wine_key_read_text(const char *path, const char *name, char *text, size_t room);
uint32_t wine_key_read_number(const char *path, const char *name, uint32_t otherwise);

/* Whether the device interface of this link (a terminated NT path) is on, for those who enumerate.
 */
void wine_interface_mark(const uint16_t *link, bool is_on);

/* An object directory for names below path (an NT path); stays as long as this process. */
void wine_directory(const uint16_t *path, size_t chars);

/* ---- socket.c ---- */

struct wine_socket;
struct wine_piece {
    const void *data;
    size_t bytes;
};
struct wine_socket *wine_socket_create(void);
void wine_socket_destroy(struct wine_socket *socket);
/* Tries once, after a short while when it tried before. */
bool wine_socket_connect(struct wine_socket *socket, uint32_t port);
/* One message as a whole, whoever else sends; false when there is no connection. */
bool wine_socket_send(struct wine_socket *socket, unsigned type, const struct wine_piece *pieces,
                      unsigned count);
/* Blocks; 0 when the connection has ended. */
size_t wine_socket_receive(struct wine_socket *socket, void *data, size_t room);
void wine_socket_hang_up(struct wine_socket *socket); /* for good: receive and connect end */
void wine_socket_lock(struct wine_socket *socket);    /* recursive; keeps sends of others out */
void wine_socket_unlock(struct wine_socket *socket);
