/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * In place of nthost/ndis/platform.c: who a device is under Wine. Windows' network class installer
 * gives an adapter its NetCfgInstanceId, its NetLuidIndex and the keywords of the INF's install
 * section; Wine has no such installer, so what nobody has written is written here, before the
 * driver hears of the device.
 */
#include "wine.h"

#include <string.h>

enum { DEVICES = 256, REGKEY_DEVICE = 1, REGKEY_DRIVER = 2 }; /* PLUGPLAY_REGKEY_... */

#define CONTROL "\\Registry\\Machine\\System\\CurrentControlSet\\Control\\"
#define NET     "{4D36E972-E325-11CE-BFC1-08002BE10318}"

static struct nth_mutex lock = NTH_MUTEX_INIT;
static struct wine_device devices[DEVICES]; /* guarded by lock; entries stay */
static unsigned device_count;

void wine_widen(UNICODE_STRING *to, WCHAR *buffer, size_t chars, const char *from)
{
    size_t n = 0;

    for (; from[n] && n + 1 < chars; n++)
        buffer[n] = (UCHAR)from[n];
    buffer[n] = 0;
    to->Buffer = buffer;
    to->Length = (USHORT)(n * sizeof(WCHAR));
    to->MaximumLength = (USHORT)((n + 1) * sizeof(WCHAR));
}

/* ---- the class installer's work ---- */

static void number(char *to, unsigned value, unsigned digits)
{
    for (unsigned i = digits; i; i--, value /= 10)
        to[i - 1] = (char)('0' + value % 10);
    to[digits] = 0;
}

/* One more than any adapter has. */
static uint32_t next_luid_index(void)
{
    uint32_t most = 0;

    for (unsigned i = 0; i < 100; i++) {
        char path[WINE_PATH], digits[8];
        number(digits, i, 4);
        ndis_join(path, sizeof(path), CONTROL "Class\\" NET "\\", digits);
        const uint32_t index = wine_key_read_number(path, "NetLuidIndex", 0);
        most = index > most ? index : most;
    }
    return most + 1;
}

/* Control\Network\{Net}\{instance}\Connection: the name the user sees, and the way back. */
static void write_connection(const struct wine_device *d, uint32_t index)
{
    char path[WINE_PATH], start[WINE_PATH], name[40] = "Local Area Connection ", digits[8];
    const char *id = strstr(d->device_key, "\\Enum\\");

    ndis_join(start, sizeof(start), CONTROL "Network\\" NET "\\", d->instance);
    ndis_join(path, sizeof(path), start, "\\Connection");
    if (wine_key_read_text(path, "Name", name, sizeof(name)))
        return;
    number(digits, index, 3);
    strcpy(name + strlen("Local Area Connection "), digits);
    wine_key_write_text(path, "Name", name);
    if (id)
        wine_key_write_text(path, "PnPInstanceID", id + strlen("\\Enum\\"));
}

/* The keywords are those of driver/wintun.inf. */
static void install(struct wine_device *d)
{
    static const struct {
        const char *name;
        uint32_t value;
    } keywords[] = {{"*IfType", 53},
                    {"*MediaType", 19},
                    {"*PhysicalMediaType", 0},
                    {"Characteristics", 1},
                    {"EnableDhcp", 0}};
    char component[64];
    uint32_t index = wine_key_read_number(d->driver_key, "NetLuidIndex", 0);

    if (!wine_key_read_text(d->driver_key, "NetCfgInstanceId", d->instance, sizeof(d->instance))) {
        wine_guid(d->instance);
        wine_key_write_text(d->driver_key, "NetCfgInstanceId", d->instance);
    }
    if (!index) {
        index = next_luid_index();
        wine_key_write_number(d->driver_key, "NetLuidIndex", index);
    }
    for (unsigned i = 0; i < ARRAYSIZE(keywords); i++)
        if (wine_key_read_number(d->driver_key, keywords[i].name, ~0U) == ~0U)
            wine_key_write_number(d->driver_key, keywords[i].name, keywords[i].value);
    if (!wine_key_read_text(d->driver_key, "ComponentId", component, sizeof(component)) &&
        wine_key_read_text(d->driver_key, "MatchingDeviceId", component, sizeof(component)))
        wine_key_write_text(d->driver_key, "ComponentId", component);
    write_connection(d, index);
}

/* ---- devices ---- */

struct wine_device *wine_device_of(DEVICE_OBJECT *pdo)
{
    struct wine_device *found = NULL;

    nth_lock(&lock);
    for (unsigned i = 0; i < device_count && !found; i++)
        if (devices[i].pdo == pdo)
            found = &devices[i];
    nth_unlock(&lock);
    return found;
}

struct wine_device *wine_device_with(const UNICODE_STRING *interface_link)
{
    struct wine_device *found = NULL;

    nth_lock(&lock);
    for (unsigned i = 0; i < device_count; i++)
        if (wcscmp(devices[i].interface_link, interface_link->Buffer) == 0)
            found = &devices[i]; /* the newest: an instance may have been here before */
    nth_unlock(&lock);
    return found;
}

typedef NTSTATUS NTAPI open_key_function(DEVICE_OBJECT *pdo, ULONG which, ACCESS_MASK access,
                                         HANDLE *key);

static bool key_path(DEVICE_OBJECT *pdo, ULONG which, char *path)
{
    open_key_function *open = (open_key_function *)wine_kernel("IoOpenDeviceRegistryKey");
    HANDLE key;

    return NT_SUCCESS(open(pdo, which, KEY_READ, &key)) &&
           NT_SUCCESS((NTSTATUS)wine_key_path(key, path, WINE_PATH));
}

struct wine_device *wine_device_add(DEVICE_OBJECT *pdo)
{
    static const char parameters[] = "\\Device Parameters";
    struct wine_device found = {.pdo = pdo}, *d = wine_device_of(pdo);

    if (!key_path(pdo, REGKEY_DRIVER, found.driver_key) ||
        !key_path(pdo, REGKEY_DEVICE, found.device_key))
        return NULL;
    const size_t length = strlen(found.device_key), tail = sizeof(parameters) - 1;
    if (length > tail && strcmp(found.device_key + length - tail, parameters) == 0)
        found.device_key[length - tail] = 0;
    install(&found);
    nth_lock(&lock);
    if (!d && device_count < DEVICES)
        d = &devices[device_count++];
    if (d)
        *d = found;
    nth_unlock(&lock);
    return d;
}

/* ---- what nthost/ndis asks ---- */

const char *ndis_instance_of(DEVICE_OBJECT *pdo)
{
    const struct wine_device *d = wine_device_of(pdo);

    return d ? d->instance : NULL;
}

const char *ndis_key_of(DEVICE_OBJECT *pdo)
{
    const struct wine_device *d = wine_device_of(pdo);

    return d ? d->driver_key : NULL;
}

/* Nobody has a struct nth_device here. */
bool ndis_is_device(DEVICE_OBJECT *pdo, const struct nth_device *device)
{
    return (const void *)pdo == (const void *)device;
}

NTSTATUS ndis_key_get(const char *key, const char *name, ULONG *type, void *data, ULONG *bytes)
{
    uint32_t kind = 0, size = *bytes;
    const NTSTATUS status = (NTSTATUS)wine_key_get(key, name, &kind, data, &size);

    *type = kind;
    *bytes = size;
    return status;
}

NTSTATUS ndis_key_set(const char *key, const char *name, ULONG type, const void *data, ULONG bytes)
{
    return (NTSTATUS)wine_key_set(key, name, type, data, bytes);
}

/* Wine's devices have no descriptor that an open is checked against. */
NTSTATUS ndis_set_security(DEVICE_OBJECT *device, const UNICODE_STRING *sddl)
{
    return STATUS_SUCCESS;
}

void *ndis_callable(const char *name)
{
    void *function = nth_export_find(name);

    if (strcmp(name, "NdispAddDevice") == 0)
        return (void *)wine_add_device;
    if (!function)
        nth_fail("%s is not exported", name);
    return function;
}
