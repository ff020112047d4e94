/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The functions that the cfgmgr32.dll double gives wintun.dll in place of other libraries', with
 * the signatures of those; cfgmgr32.def says which is which.
 */
#pragma once

#include "machine.h"

#include <ws2ipdef.h>

#include <iphlpapi.h>
#include <netioapi.h>

extern HMODULE double_module;

FARPROC WINAPI hook_get_proc(HMODULE module, LPCSTR name);
HMODULE WINAPI hook_load_library(LPCWSTR name, HANDLE file, DWORD flags);

HANDLE WINAPI kernel_create_boundary(LPCWSTR name, ULONG flags);
BOOL WINAPI kernel_add_sid(HANDLE *boundary, PSID sid);
void WINAPI kernel_delete_boundary(HANDLE boundary);
HANDLE WINAPI kernel_create_namespace(SECURITY_ATTRIBUTES *attributes, void *boundary,
                                      LPCWSTR prefix);
HANDLE WINAPI kernel_open_namespace(void *boundary, LPCWSTR prefix);
BOOLEAN WINAPI kernel_close_namespace(HANDLE namespace, ULONG flags);
HANDLE WINAPI kernel_create_mutex(SECURITY_ATTRIBUTES *attributes, BOOL owned, LPCWSTR name);

BOOL WINAPI kernel_control(HANDLE device, DWORD code, void *input, DWORD input_size, void *output,
                           DWORD output_size, DWORD *returned, OVERLAPPED *overlapped);

BOOL WINAPI store_copy_inf(PCWSTR source, PCWSTR location, DWORD media, DWORD style, PWSTR target,
                           DWORD characters, DWORD *needed, WCHAR **component);
BOOL WINAPI store_uninstall_inf(PCWSTR inf, DWORD flags, void *reserved);
BOOL WINAPI store_enum_driver(HDEVINFO set, SP_DEVINFO_DATA *device, DWORD type, DWORD index,
                              SP_DRVINFO_DATA_W *driver);
BOOL WINAPI store_uninstall_device(HWND window, HDEVINFO set, SP_DEVINFO_DATA *device, DWORD flags,
                                   BOOL *reboot);

DWORD WINAPI net_alias_to_luid(const WCHAR *alias, NET_LUID *luid);
DWORD WINAPI net_luid_to_alias(const NET_LUID *luid, WCHAR *alias, SIZE_T characters);
DWORD WINAPI net_luid_to_guid(const NET_LUID *luid, GUID *guid);
void WINAPI net_initialize_interface(MIB_IPINTERFACE_ROW *row);
DWORD WINAPI net_get_interface(MIB_IPINTERFACE_ROW *row);
DWORD WINAPI net_set_interface(MIB_IPINTERFACE_ROW *row);
void WINAPI net_initialize_address(MIB_UNICASTIPADDRESS_ROW *row);
DWORD WINAPI net_create_address(const MIB_UNICASTIPADDRESS_ROW *row);
DWORD WINAPI net_set_address(const MIB_UNICASTIPADDRESS_ROW *row);
DWORD WINAPI net_set_name(const GUID *guid, LPCWSTR name);
