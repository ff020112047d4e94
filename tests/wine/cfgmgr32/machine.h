/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What Windows keeps of its devices, in the registry of a Wine prefix: shared by the cfgmgr32.dll
 * double, which answers questions about devices, and by swdevice.exe, which makes them. A software
 * device has two nodes. SWD\Wintun\{...} is the one that programs know: ids, properties, and
 * whether it is present. ROOT\Wintun\{...} exists while it is present: the only kind of device that
 * Wine starts a driver for. Functions return a Win32 error.
 */
#pragma once

#include <winsock2.h> /* must be first */

#include <windows.h>

#include <cfgmgr32.h>
#include <setupapi.h>

#define ID_CHARACTERS   200 /* MAX_DEVICE_ID_LEN */
#define PATH_CHARACTERS 400
#define GUID_CHARACTERS 39 /* "{8-4-4-4-12}" with NUL */
#define GUID_TEXT_NET   L"{4d36e972-e325-11ce-bfc1-08002be10318}"

/* Where the files of a package stay, by the name that its INF has in the INF folder. */
#define REPOSITORY L"C:\\windows\\system32\\DriverStore\\FileRepository"

/*
 * The state of a device, in a volatile key below its SWD node, gone when the prefix stops.
 * SETTLED: its driver was installed and started, or there is a PROBLEM.
 */
#define STATE_PRESENT    L"Present"
#define STATE_SETTLED    L"Settled"
#define STATE_PROBLEM    L"Problem" /* CM_PROB_..., 0: none */
#define STATE_PERSISTENT L"Persistent"
#define STATE_KEEPER     L"Keeper" /* process id of its swdevice.exe */

/*
 * Between the double in a process that creates a device and the swdevice.exe that it starts for it:
 * events named with the process id of the latter.
 */
#define EVENT_ENUMERATED L"Global\\SwDevice-%lu-enumerated" /* the device is in the registry */
#define EVENT_CLOSE      L"Global\\SwDevice-%lu-close"      /* its handle was closed */
/* Held by whoever has the device, named with its id. */
#define MUTEX_DEVICE L"Global\\SwDevice-%ls"

/* Opens the node of a device, or creates it. */
DWORD machine_open_node(const WCHAR *id, BOOL create, HKEY *node);

/* Name of the ROOT node of a device SWD\...; that of any other device is its own. */
void machine_root_id(const WCHAR *id, WCHAR *root);

DWORD machine_get_state(const WCHAR *id, const WCHAR *name); /* 0 when there is none */
DWORD machine_set_state(const WCHAR *id, const WCHAR *name, DWORD value);
void machine_clear_state(const WCHAR *id);

/* The key of the device's driver below Control\Class. */
DWORD machine_open_driver_key(const WCHAR *id, BOOL create, HKEY *key);
/* Opens the driver key of a network device that has this value; NULL when there is none. */
HKEY machine_find_driver_key(const WCHAR *value, const void *data, DWORD size);

/*
 * Fills list with the paths of the interfaces of a class that a device has, or all devices when id
 * is NULL, and with a final NUL. Returns how many characters that takes.
 */
ULONG machine_list_interfaces(const GUID *class, const WCHAR *id, BOOL active, WCHAR *list,
                              ULONG characters);

BOOL machine_is_present(const WCHAR *id);

/* Takes the device from its driver: it is not present any more. Its SWD node stays. */
void machine_remove_device(const WCHAR *id);

/* The version of an INF: date and number. */
BOOL machine_read_version(const WCHAR *inf_path, FILETIME *date, DWORDLONG *number);

/* Writes a GUID as {8-4-4-4-12}. */
void machine_format_guid(const GUID *guid, WCHAR *text);

DWORD machine_get_string(HKEY key, const WCHAR *name, WCHAR *text, DWORD characters);
DWORD machine_set_string(HKEY key, const WCHAR *name, const WCHAR *text);
