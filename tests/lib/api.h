/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What the tests of wintun.dll begin and end with: a machine without a driver, a process that has
 * loaded the DLL binary, and what the DLL logs. The driver is installed and loaded by the DLL.
 *
 * Environment: WINTUN_DLL and WINTUN_SYS, other builds; NTH_SEED, the one schedule to replay.
 */
#pragma once

#include "scenario.h"
#include "win32/win32.h"

#include <wintun-loader.h>

/* Errors, in the tests' own words where wintun.h names them. */
enum {
    SUCCESS = 0,
    FILE_NOT_FOUND = 2,
    PATH_NOT_FOUND = 3,
    ACCESS_DENIED = 5,
    NOT_ENOUGH_MEMORY = 8,
    INVALID_DATA = 13,
    HANDLE_EOF = 38,
    NOT_SUPPORTED = 50,
    INVALID_PARAMETER = 87,
    BUFFER_OVERFLOW = 111,
    ALREADY_EXISTS = 183,
    NO_MORE_ITEMS = 259,
    NOT_FOUND = 1168,
    ALREADY_INITIALIZED = 1247,
    TIMEOUT = 1460,
};

enum { LOG_LINES = 256, LOG_CHARACTERS = 512 };

struct api {
    struct win32_process *process;
    struct win32_module *module;
    struct win32_thread *thread; /* the test's */
    WINTUN_API f;
    struct win32_ledger without; /* what the process holds without the DLL */
    struct win32_ledger before;  /* and with it, idle */
    bool is_warm;                /* it has been called before */
    DWORD error;                 /* of the last call within IN */
};

/* Boots; the driver binary is what packages bring. */
void api_boot(const struct nth_config *config);
void api_shutdown(void); /* nothing may be left: devices, files on the disk, leaks */

/* A process that has loaded the DLL, and called it once, so that what it keeps from then on is
 * there; cold: that has only loaded it. */
void api_begin(struct api *api, enum client_token token);
void api_begin_cold(struct api *api, enum client_token token);
/* Everything it held since must be gone. Unloads the DLL and ends the process. */
void api_end(struct api *api);
void api_check(struct api *api); /* what the process holds is what it held at first */
void api_kill(struct api *api);  /* ends the process at once */

/* One call of the DLL in the test's thread; its last error is in api->error. */
#define IN(api, call)                                                                              \
    ({                                                                                             \
        win32_thread_enter((api)->thread);                                                         \
        win32_set_last_error(SUCCESS);                                                             \
        __auto_type in_result = (call);                                                            \
        (api)->error = win32_last_error();                                                         \
        win32_thread_leave((api)->thread);                                                         \
        in_result;                                                                                 \
    })
#define DO(api, call)                                                                              \
    do {                                                                                           \
        win32_thread_enter((api)->thread);                                                         \
        call;                                                                                      \
        win32_thread_leave((api)->thread);                                                         \
    } while (0)

/* ---- the log: of all processes, oldest first ---- */

unsigned log_count(WINTUN_LOGGER_LEVEL level);
const char *log_last(WINTUN_LOGGER_LEVEL level); /* "" when there is none */
void log_clear(void);

/* ---- adapters ---- */

/* Must succeed. */
WINTUN_ADAPTER_HANDLE api_create(struct api *api, LPCWSTR name);
NET_LUID api_luid(struct api *api, WINTUN_ADAPTER_HANDLE adapter);
/* The instance ID of the n-th adapter that Windows knows of, from 0. */
const char *api_instance(struct api *api, unsigned n);
/* The other end of an adapter's device: a binding of memory, as the stack has. */
void api_port(struct port *port, const char *instance_id);
void api_port_close(struct port *port);
