/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/* What the files of the double share that see the kernel's declarations. */
#pragma once

#include "ndis/private.h"

/* platform.c: behind a physical device object */
enum { WINE_PATH = 512 };
struct wine_device {
    DEVICE_OBJECT *pdo;
    char driver_key[WINE_PATH]; /* ...\Control\Class\{class}\0000 */
    char device_key[WINE_PATH]; /* ...\Enum\ROOT\NET\0000 */
    char instance[40];          /* "{NetCfgInstanceId}" */
    WCHAR interface_link[WINE_PATH];
};
struct wine_device *wine_device_of(DEVICE_OBJECT *pdo); /* NULL: not one that was added */
struct wine_device *wine_device_with(const UNICODE_STRING *interface_link);
struct wine_device *wine_device_add(DEVICE_OBJECT *pdo);

/* requests.c */
NTSTATUS NTAPI wine_add_device(DRIVER_OBJECT *driver, DEVICE_OBJECT *pdo);
void wine_process_ended(uint32_t process); /* kernel.c */

/* edge.c */
void wine_edge_open(struct nth_adapter *adapter);

/* ASCII, with a terminator. */
void wine_widen(UNICODE_STRING *to, WCHAR *buffer, size_t chars, const char *from);
