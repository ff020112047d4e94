/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The functions of Windows that the API takes from other libraries than kernel32, whose list is
 * kernel32.def. This is the one list of them: they are found at first use, in System32 only, so
 * that loading wintun.dll loads nothing else, and so that a Windows that lacks one says which.
 */
#pragma once

/* What is declared, not what is required: SYSTEM_FUNCTIONS says that. */
#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0A00
#endif

#include <winsock2.h> /* must be first */
#include <ws2ipdef.h>

#include <windows.h>

#include <bcrypt.h>
#include <cfgmgr32.h>
#include <iphlpapi.h>
#include <netioapi.h>
#include <newdev.h>
#include <objbase.h>
#include <psapi.h>
#include <sddl.h>
#include <setupapi.h>
#include <winternl.h>
#include <winver.h>
#include <wow64apiset.h>

#include "missing.h"

#define SYSTEM_MODULES(M)                                                                          \
    M(advapi32)                                                                                    \
    M(bcrypt)                                                                                      \
    M(cfgmgr32) M(iphlpapi) M(kernel32) M(nci) M(newdev) M(ntdll) M(ole32) M(setupapi) M(version)

/*
 * X: required. O: optional, NULL when it or its library is absent; each of these says why.
 */
#define SYSTEM_FUNCTIONS(X, O)                                                                     \
    X(advapi32, ConvertStringSecurityDescriptorToSecurityDescriptorW)                              \
    X(advapi32, CreateWellKnownSid)                                                                \
    X(advapi32, GetSecurityDescriptorDacl)                                                         \
    X(advapi32, GetSecurityDescriptorOwner)                                                        \
    X(advapi32, RegCloseKey)                                                                       \
    X(advapi32, RegQueryValueExW)                                                                  \
    X(advapi32, RegSetValueExW)                                                                    \
    X(bcrypt, BCryptGenRandom)                                                                     \
    X(cfgmgr32, CM_Get_DevNode_PropertyW)                                                          \
    X(cfgmgr32, CM_Get_DevNode_Status)                                                             \
    X(cfgmgr32, CM_Get_Device_ID_ListW)                                                            \
    X(cfgmgr32, CM_Get_Device_ID_List_SizeW)                                                       \
    X(cfgmgr32, CM_Get_Device_Interface_ListW)                                                     \
    X(cfgmgr32, CM_Get_Device_Interface_List_SizeW)                                                \
    X(cfgmgr32, CM_Locate_DevNodeW)                                                                \
    X(cfgmgr32, CM_MapCrToWin32Err)                                                                \
    X(cfgmgr32, CM_Open_DevNode_Key)                                                               \
    X(cfgmgr32, CM_Register_Notification)                                                          \
    X(cfgmgr32, CM_Unregister_Notification)                                                        \
    X(cfgmgr32, SwDeviceClose)                                                                     \
    X(cfgmgr32, SwDeviceCreate)                                                                    \
    O(cfgmgr32, SwDeviceSetLifetime) /* Windows 8.1 */                                             \
    X(iphlpapi, CancelMibChangeNotify2)                                                            \
    X(iphlpapi, ConvertInterfaceAliasToLuid)                                                       \
    X(iphlpapi, ConvertInterfaceLuidToAlias)                                                       \
    X(iphlpapi, ConvertInterfaceLuidToGuid)                                                        \
    X(iphlpapi, CreateUnicastIpAddressEntry)                                                       \
    X(iphlpapi, GetIpInterfaceEntry)                                                               \
    X(iphlpapi, InitializeIpInterfaceEntry)                                                        \
    X(iphlpapi, InitializeUnicastIpAddressEntry)                                                   \
    X(iphlpapi, NotifyIpInterfaceChange)                                                           \
    X(iphlpapi, SetIpInterfaceEntry)                                                               \
    X(iphlpapi, SetUnicastIpAddressEntry)                                                          \
    O(kernel32, IsWow64Process2) /* Windows 10 1511; without it nothing is emulated */             \
    O(nci, NciSetConnectionName) /* not documented; name.c has another way */                      \
    X(newdev, DiUninstallDevice)                                                                   \
    X(ntdll, RtlNtStatusToDosError)                                                                \
    X(ole32, CoCreateInstance)                                                                     \
    X(ole32, CoInitializeEx)                                                                       \
    X(ole32, CoSetProxyBlanket)                                                                    \
    X(ole32, CoTaskMemFree)                                                                        \
    X(ole32, CoUninitialize)                                                                       \
    X(setupapi, SetupCopyOEMInfW)                                                                  \
    X(setupapi, SetupDiBuildDriverInfoList)                                                        \
    X(setupapi, SetupDiCreateDeviceInfoList)                                                       \
    X(setupapi, SetupDiCreateDeviceInfoW)                                                          \
    X(setupapi, SetupDiDestroyDeviceInfoList)                                                      \
    X(setupapi, SetupDiEnumDriverInfoW)                                                            \
    X(setupapi, SetupDiGetDeviceInstallParamsW)                                                    \
    X(setupapi, SetupDiGetDriverInfoDetailW)                                                       \
    X(setupapi, SetupDiOpenDeviceInfoW)                                                            \
    X(setupapi, SetupDiSetDeviceInstallParamsW)                                                    \
    X(setupapi, SetupDiSetDeviceRegistryPropertyW)                                                 \
    O(setupapi, SetupSetNonInteractiveMode) /* without it Windows might ask the user something */  \
    X(setupapi, SetupUninstallOEMInfW)                                                             \
    X(version, GetFileVersionInfoSizeW)                                                            \
    X(version, GetFileVersionInfoW)                                                                \
    X(version, VerQueryValueW)

enum {
#define SYSTEM_MODULE_INDEX(Module) Index_##Module,
    SYSTEM_MODULES(SYSTEM_MODULE_INDEX)
#undef SYSTEM_MODULE_INDEX
        SystemModuleCount
};

enum {
#define SYSTEM_MODULE_BIT(Module) Module_##Module = 1 << Index_##Module,
    SYSTEM_MODULES(SYSTEM_MODULE_BIT)
#undef SYSTEM_MODULE_BIT
};

typedef struct SYSTEM {
#define SYSTEM_POINTER(Module, Function) __typeof__(Function) *Function;
    SYSTEM_FUNCTIONS(SYSTEM_POINTER, SYSTEM_POINTER)
#undef SYSTEM_POINTER
} SYSTEM;

/* Of each module the pointers are constant after SystemNeed has succeeded for it. */
extern SYSTEM System;

/* Modules: Module_... of all that the caller is about to use. ERROR_MOD_NOT_FOUND and
 * ERROR_PROC_NOT_FOUND, with library and function in the text. */
DWORD SystemNeed(DWORD Modules);
