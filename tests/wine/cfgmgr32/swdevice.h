/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Declarations of swdevice.h, which mingw-w64's headers lack, from Microsoft's documentation; the
 * pages are named at each.
 */
#pragma once

#include <windows.h>

#include <devpropdef.h>

/* ns-devpropdef-devpropcompkey, ns-devpropdef-devproperty */
typedef enum { DEVPROP_STORE_SYSTEM, DEVPROP_STORE_USER } DEVPROPSTORE;

typedef struct {
    DEVPROPKEY Key;
    DEVPROPSTORE Store;
    PCWSTR LocaleName;
} DEVPROPCOMPKEY;

typedef struct {
    DEVPROPCOMPKEY CompKey;
    DEVPROPTYPE Type;
    ULONG BufferSize;
    PVOID Buffer;
} DEVPROPERTY;

/* nf-swdevice-swdevicecreate */
DECLARE_HANDLE(HSWDEVICE);

/* ns-swdevicedef-sw_device_create_info */
typedef struct {
    ULONG cbSize;
    PCWSTR pszInstanceId;
    PCWSTR pszzHardwareIds;
    PCWSTR pszzCompatibleIds;
    const GUID *pContainerId;
    ULONG CapabilityFlags;
    PCWSTR pszDeviceDescription;
    PCWSTR pszDeviceLocation;
    const void *pSecurityDescriptor;
} SW_DEVICE_CREATE_INFO;

/* nf-swdevice-swdevicesetlifetime */
typedef enum { SWDeviceLifetimeHandle, SWDeviceLifetimeParentPresent } SW_DEVICE_LIFETIME;

/* nc-swdevice-sw_device_create_callback */
typedef void(WINAPI *SW_DEVICE_CREATE_CALLBACK)(HSWDEVICE device, HRESULT result, void *context,
                                                PCWSTR id);

HRESULT WINAPI SwDeviceCreate(PCWSTR enumerator, PCWSTR parent, const SW_DEVICE_CREATE_INFO *info,
                              ULONG count, const DEVPROPERTY *properties,
                              SW_DEVICE_CREATE_CALLBACK callback, void *context, HSWDEVICE *device);
void WINAPI SwDeviceClose(HSWDEVICE device);
HRESULT WINAPI SwDeviceSetLifetime(HSWDEVICE device, SW_DEVICE_LIFETIME lifetime);
