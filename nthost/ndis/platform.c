/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * All that the library asks of its surroundings beside documented kernel functions: who a device
 * is, its registry key, descriptors from text, addresses that drivers may call. A build for another
 * kernel has its own version of this file; nothing else of ndis/ looks into nt/ or pe/.
 */
#include "ndis/private.h"

#include <stdlib.h>

const char *ndis_instance_of(DEVICE_OBJECT *pdo)
{
    struct nth_device *device = nth_device_of(pdo);

    return device ? nth_device_net_cfg_id(device) : NULL;
}

const char *ndis_key_of(DEVICE_OBJECT *pdo)
{
    struct nth_device *device = nth_device_of(pdo);

    return device ? nth_device_key(device) : NULL;
}

bool ndis_is_device(DEVICE_OBJECT *pdo, const struct nth_device *device)
{
    return nth_device_of(pdo) == device;
}

NTSTATUS ndis_key_get(const char *key, const char *name, ULONG *type, void *data, ULONG *bytes)
{
    return nth_registry_get(key, name, type, data, bytes);
}

NTSTATUS ndis_key_set(const char *key, const char *name, ULONG type, const void *data, ULONG bytes)
{
    return nth_registry_set(key, name, type, data, bytes);
}

NTSTATUS ndis_set_security(DEVICE_OBJECT *device, const UNICODE_STRING *sddl)
{
    char text[512];
    void *descriptor;
    size_t bytes, n = sddl->Length / sizeof(WCHAR);

    if (n >= sizeof(text))
        return STATUS_INVALID_PARAMETER;
    for (size_t i = 0; i < n; i++)
        text[i] = sddl->Buffer[i] < 0x80 ? (char)sddl->Buffer[i] : '?';
    text[n] = 0;
    if (nth_sddl_parse(text, &descriptor, &bytes) < 0)
        return STATUS_INVALID_PARAMETER;
    nth_device_set_security(device, descriptor, bytes);
    free(descriptor);
    return STATUS_SUCCESS;
}

void *ndis_callable(const char *name)
{
    void *function = nth_export_find(name);

    if (!function)
        nth_fail("%s is not exported", name);
    return function;
}
