/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What the files of the API share. Functions return a Win32 error code, ERROR_SUCCESS when all
 * went well; whoever finds a failure says so with Fail, and the exported function, and nobody else,
 * makes it the last error and the log line, with Report. No C runtime: memory comes from the DLL's
 * own heap, and text is put together with the functions of log.c.
 */
#pragma once

#include "system.h"

#include "wintun-abi.h"
#include "wintun.h"

/* ---- Brand: every name by which Windows and other programs know this product ------------------*/

#define BRAND_NAME         L"Wintun"
#define BRAND_PROVIDER     L"Wintun authors" /* of driver packages, as in the INF */
#define BRAND_ENUMERATOR   L"Wintun"
#define BRAND_INSTANCES    L"SWD\\Wintun" /* the enumerator, as CM_Get_Device_ID_List wants it */
#define BRAND_HARDWARE_ID  L"Wintun"
#define BRAND_SERVICE_FILE L"wintun.sys"
#define BRAND_DEVICE_PATH  L"" WINTUN_WIN32_PATH
#define BRAND_NAMESPACE    L"Wintun" /* this and the next two are those of 0.14: they exclude it */
#define BRAND_DEVICE_MUTEX L"Wintun\\Wintun-Device-Installation-Mutex"
#define BRAND_DRIVER_MUTEX L"Wintun\\Wintun-Driver-Installation-Mutex"

/*
 * Our mark: device properties {WINTUN_PROPERTY_FMTID, ...}. A device without PROPERTY_NAME is not
 * ours and is never touched. WINTUN_PROPERTY_SECURITY (2) is the driver's.
 */
#define PROPERTY_NAME       3 /* string: as asked for */
#define PROPERTY_CREATOR    4 /* binary: CREATOR */
#define PROPERTY_PERSISTENT 5 /* boolean; absent: no */

/* A process for good: its number may be given to another one later, not with this time. */
typedef struct CREATOR {
    DWORD ProcessId;
    FILETIME CreationTime;
} CREATOR;

/* ---- Limits -----------------------------------------------------------------------------------*/

#define NAME_CHARACTERS    128  /* of adapters and tunnel types, with NUL: MAX_ADAPTER_NAME */
#define LINE_CHARACTERS    1024 /* of a log line, with NUL */
#define GUID_CHARACTERS    39   /* "{8-4-4-4-12}" with NUL */
#define LOCK_TIMEOUT_MS    60000
#define READY_TIMEOUT_MS   15000 /* for a device and its interface, when the caller does not say */
#define REMOVE_TIMEOUT_MS  15000
#define NETWORK_TIMEOUT_MS 20000 /* for Windows to recognise a network */
#define COM_TIMEOUT_MS     10000 /* for a service to answer */
#define POLL_MS            100   /* a notification that is lost costs no more */
