/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What the API needs and mingw-w64's headers (version 10) do not declare, written from Microsoft's
 * documentation, whose page is named at each. Must never hold anything that those headers have:
 * with a Windows SDK the first part is not compiled.
 */
#pragma once

#include <windows.h>

#include <cfgmgr32.h>
#include <devpropdef.h>

#if defined(__has_include)
#if __has_include(<swdevice.h>)
#define HAS_SWDEVICE
#endif
#endif

#ifdef HAS_SWDEVICE
#include <swdevice.h>
#else

/* devpropcompkey, devproperty */
typedef enum _DEVPROPSTORE { DEVPROP_STORE_SYSTEM, DEVPROP_STORE_USER } DEVPROPSTORE;

typedef struct _DEVPROPCOMPKEY {
    DEVPROPKEY Key;
    DEVPROPSTORE Store;
    PCWSTR LocaleName;
} DEVPROPCOMPKEY;

typedef struct _DEVPROPERTY {
    DEVPROPCOMPKEY CompKey;
    DEVPROPTYPE Type;
    ULONG BufferSize;
    PVOID Buffer;
} DEVPROPERTY;

/* nf-swdevice-swdevicecreate */
DECLARE_HANDLE(HSWDEVICE);
typedef HSWDEVICE *PHSWDEVICE;

/* ns-swdevicedef-sw_device_create_info */
typedef enum _SW_DEVICE_CAPABILITIES {
    SWDeviceCapabilitiesNone = 0x0,
    SWDeviceCapabilitiesRemovable = 0x1,
    SWDeviceCapabilitiesSilentInstall = 0x2,
    SWDeviceCapabilitiesNoDisplayInUI = 0x4,
    SWDeviceCapabilitiesDriverRequired = 0x8
} SW_DEVICE_CAPABILITIES;

typedef struct _SW_DEVICE_CREATE_INFO {
    ULONG cbSize;
    PCWSTR pszInstanceId;
    PCZZWSTR pszzHardwareIds;
    PCZZWSTR pszzCompatibleIds;
    const GUID *pContainerId;
    ULONG CapabilityFlags;
    PCWSTR pszDeviceDescription;
    PCWSTR pszDeviceLocation;
    const SECURITY_DESCRIPTOR *pSecurityDescriptor;
} SW_DEVICE_CREATE_INFO;

/* nf-swdevice-swdevicesetlifetime */
typedef enum _SW_DEVICE_LIFETIME {
    SWDeviceLifetimeHandle,
    SWDeviceLifetimeParentPresent
} SW_DEVICE_LIFETIME;

/* nc-swdevice-sw_device_create_callback */
typedef VOID(WINAPI *SW_DEVICE_CREATE_CALLBACK)(HSWDEVICE hSwDevice, HRESULT CreateResult,
                                                PVOID pContext, PCWSTR pszDeviceInstanceId);

HRESULT WINAPI SwDeviceCreate(PCWSTR pszEnumeratorName, PCWSTR pszParentDeviceInstance,
                              const SW_DEVICE_CREATE_INFO *pCreateInfo, ULONG cPropertyCount,
                              const DEVPROPERTY *pProperties, SW_DEVICE_CREATE_CALLBACK pCallback,
                              PVOID pContext, PHSWDEVICE phSwDevice);
VOID WINAPI SwDeviceClose(HSWDEVICE hSwDevice);
HRESULT WINAPI SwDeviceSetLifetime(HSWDEVICE hSwDevice, SW_DEVICE_LIFETIME Lifetime);

/* nf-cfgmgr32-cm_register_notification, nf-cfgmgr32-cm_unregister_notification */
CONFIGRET WINAPI CM_Register_Notification(PCM_NOTIFY_FILTER pFilter, PVOID pContext,
                                          PCM_NOTIFY_CALLBACK pCallback,
                                          PHCMNOTIFICATION pNotifyContext);
CONFIGRET WINAPI CM_Unregister_Notification(HCMNOTIFICATION NotifyContext);

/* nf-cfgmgr32-cm_mapcrtowin32err */
DWORD WINAPI CM_MapCrToWin32Err(CONFIGRET CmReturnCode, DWORD DefaultErr);

#endif

/* debug/system-error-codes--500-999- */
#ifndef ERROR_DEVICE_ENUMERATION_ERROR
#define ERROR_DEVICE_ENUMERATION_ERROR 648L
#endif
#ifndef ERROR_VERSION_PARSE_ERROR
#define ERROR_VERSION_PARSE_ERROR 777L
#endif

/*
 * Not documented: sets the name of a connection; ERROR_DUP_NAME when another has it. Optional, see
 * name.c.
 */
DWORD WINAPI NciSetConnectionName(const GUID *Guid, LPCWSTR Name);
