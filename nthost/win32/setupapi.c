/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * setupapi.dll and newdev.dll: device information sets with one element, the driver packages that
 * suit it, and the driver store.
 */
#include "win32/machine.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { /* setupapi.h */
       ERROR_NO_SUCH_DEVINST = (int)0xE000020B,
       ERROR_INVALID_FLAGS = 1004,
       ERROR_INVALID_CLASS = (int)0xE0000206,
       ERROR_INF_IN_USE_BY_DEVICES = (int)0xE000023D,
};

struct devinfo_data { /* SP_DEVINFO_DATA */
    DWORD size;
    GUID class;
    DWORD instance;
    ULONG_PTR reserved;
};
_Static_assert(sizeof(struct devinfo_data) == 32, "ns-setupapi-sp_devinfo_data");

struct drvinfo_data { /* SP_DRVINFO_DATA_V2_W */
    DWORD size, type;
    ULONG_PTR reserved;
    WCHAR description[256], manufacturer[256], provider[256];
    FILETIME date;
    ULONGLONG version;
};
_Static_assert(sizeof(struct drvinfo_data) == 1568, "ns-setupapi-sp_drvinfo_data_v2_w");

struct drvinfo_detail { /* SP_DRVINFO_DETAIL_DATA_W */
    DWORD size;
    FILETIME date;
    DWORD ids_offset, ids_length;
    ULONG_PTR reserved;
    WCHAR section[256], inf[260], description[256], hardware_id[1];
};
_Static_assert(sizeof(struct drvinfo_detail) == 1584, "ns-setupapi-sp_drvinfo_detail_data_w");

struct install_params { /* SP_DEVINSTALL_PARAMS_W */
    DWORD size, flags, flags_ex;
    ULONG_PTR window, handler, handler_context, queue, class_reserved;
    DWORD reserved;
    WCHAR driver_path[260];
};
_Static_assert(sizeof(struct install_params) == 584, "ns-setupapi-sp_devinstall_params_w");

enum { MAX_PACKAGES = 32 };
struct set {
    WCHAR id[ID_CHARACTERS]; /* of its element; empty: one that is in no registry */
    WCHAR hardware_id[64];
    bool has_element, has_list, allows_excluded;
    unsigned count;
    WCHAR infs[MAX_PACKAGES][32]; /* of the packages that suit it */
};

static bool is_elevated(void)
{
    return nth_process_token(win32_here()->nt) <= NTH_TOKEN_ADMIN;
}

/* ---- sets ---- */

static HANDLE WINAPI SetupDiCreateDeviceInfoList(const GUID *class, HANDLE window)
{
    struct set *set = win32_calloc(sizeof(*set));

    (void)class, (void)window;
    win32_hold(WIN32_DEVINFO, set, 0);
    return set;
}
WIN32_EXPORT("setupapi", SetupDiCreateDeviceInfoList, 2, FAILS_MINUS, ERROR_NOT_ENOUGH_MEMORY);

static BOOL WINAPI SetupDiDestroyDeviceInfoList(HANDLE set)
{
    if (!win32_let_go(WIN32_DEVINFO, set, NULL))
        return win32_fail(ERROR_INVALID_HANDLE);
    free(set);
    return TRUE;
}
WIN32_EXPORT("setupapi", SetupDiDestroyDeviceInfoList, 1, FAILS_NEVER, 0);

static void free_sets(struct win32_process *process)
{
    void *set;

    while ((set = win32_take_held(process, WIN32_DEVINFO, NULL)) != NULL)
        free(set);
}

static void setupapi_boot(const struct nth_config *config)
{
    (void)config;
    win32_at_death(free_sets);
}
NTH_SUBSYSTEM(win32_setupapi, 52, setupapi_boot, NULL);

/* The set, with the element that data stands for. */
static struct set *set_of(HANDLE handle, const struct devinfo_data *data)
{
    struct set *set = handle;

    if (!win32_holds(WIN32_DEVINFO, handle, NULL)) {
        win32_fail(ERROR_INVALID_HANDLE);
        return NULL;
    }
    if (data != NULL && (data->size != sizeof(*data) || !set->has_element)) {
        win32_fail(data->size != sizeof(*data) ? ERROR_INVALID_USER_BUFFER
                                               : ERROR_INVALID_PARAMETER);
        return NULL;
    }
    return set;
}

static BOOL WINAPI SetupDiOpenDeviceInfoW(HANDLE handle, LPCWSTR id, HANDLE window, DWORD flags,
                                          struct devinfo_data *data)
{
    struct set *set = set_of(handle, NULL);

    (void)window;
    if (set == NULL)
        return FALSE;
    if (data == NULL || data->size != sizeof(*data) || flags != 0)
        return win32_fail(ERROR_INVALID_USER_BUFFER);
    nth_lock(&machine_lock);
    const struct node *node = node_find(id);
    if (node != NULL) {
        memcpy(set->id, node->id, sizeof(set->id));
        memcpy(set->hardware_id, node->hardware_id, sizeof(set->hardware_id));
        set->has_element = true;
        data->instance = node->instance;
    }
    nth_unlock(&machine_lock);
    return node != NULL || win32_fail((uint32_t)ERROR_NO_SUCH_DEVINST);
}
WIN32_EXPORT("setupapi", SetupDiOpenDeviceInfoW, 5, FAILS_ZERO, ERROR_ACCESS_DENIED);

/* Elements that are not registered live and die with their set. */
static BOOL WINAPI SetupDiCreateDeviceInfoW(HANDLE handle, LPCWSTR name, const GUID *class,
                                            LPCWSTR description, HANDLE window, DWORD flags,
                                            struct devinfo_data *data)
{
    enum { GENERATE_ID = 1 };
    struct set *set = set_of(handle, NULL);

    (void)name, (void)class, (void)description, (void)window;
    if (set == NULL)
        return FALSE;
    if (data == NULL || data->size != sizeof(*data) || flags != GENERATE_ID)
        return win32_fail(ERROR_INVALID_USER_BUFFER);
    if (!is_elevated())
        return win32_fail(ERROR_ACCESS_DENIED);
    set->has_element = true;
    set->id[0] = 0;
    return TRUE;
}
WIN32_EXPORT("setupapi", SetupDiCreateDeviceInfoW, 7, FAILS_ZERO, ERROR_ACCESS_DENIED);

static BOOL WINAPI SetupDiSetDeviceRegistryPropertyW(HANDLE handle, struct devinfo_data *data,
                                                     DWORD property, const uint8_t *value,
                                                     DWORD bytes)
{
    enum { HARDWARE_ID = 1 };
    struct set *set = set_of(handle, data);

    if (set == NULL)
        return FALSE;
    if (property != HARDWARE_ID || bytes > sizeof(set->hardware_id))
        nth_stop("not-provided", "SetupDiSetDeviceRegistryPropertyW of property %u", property);
    memcpy(set->hardware_id, value, bytes);
    return TRUE;
}
WIN32_EXPORT("setupapi", SetupDiSetDeviceRegistryPropertyW, 5, FAILS_ZERO, ERROR_NOT_ENOUGH_MEMORY);

/* ---- packages that suit the element ---- */

enum { COMPATIBLE = 2, ALLOW_EXCLUDED = 0x800 /* DI_FLAGSEX_ALLOWEXCLUDEDDRVS */ };

static BOOL WINAPI SetupDiGetDeviceInstallParamsW(HANDLE handle, struct devinfo_data *data,
                                                  struct install_params *params)
{
    const struct set *set = set_of(handle, data);

    if (set == NULL)
        return FALSE;
    if (params == NULL || params->size != sizeof(*params))
        return win32_fail(ERROR_INVALID_USER_BUFFER);
    *params = (struct install_params){.size = sizeof(*params),
                                      .flags_ex = set->allows_excluded ? ALLOW_EXCLUDED : 0};
    return TRUE;
}
WIN32_EXPORT("setupapi", SetupDiGetDeviceInstallParamsW, 3, FAILS_ZERO, ERROR_NOT_ENOUGH_MEMORY);

static BOOL WINAPI SetupDiSetDeviceInstallParamsW(HANDLE handle, struct devinfo_data *data,
                                                  const struct install_params *params)
{
    struct set *set = set_of(handle, data);

    if (set == NULL)
        return FALSE;
    if (params == NULL || params->size != sizeof(*params))
        return win32_fail(ERROR_INVALID_USER_BUFFER);
    if (params->flags != 0 || (params->flags_ex & ~(DWORD)ALLOW_EXCLUDED) != 0)
        nth_stop("not-provided", "SetupDiSetDeviceInstallParamsW with flags 0x%x, 0x%x",
                 params->flags, params->flags_ex);
    set->allows_excluded = params->flags_ex != 0;
    return TRUE;
}
WIN32_EXPORT("setupapi", SetupDiSetDeviceInstallParamsW, 3, FAILS_ZERO, ERROR_NOT_ENOUGH_MEMORY);

static BOOL WINAPI SetupDiBuildDriverInfoList(HANDLE handle, struct devinfo_data *data, DWORD type)
{
    struct set *set = set_of(handle, data);

    if (set == NULL)
        return FALSE;
    if (type != COMPATIBLE)
        return win32_fail(ERROR_INVALID_PARAMETER);
    nth_lock(&machine_lock);
    set->count = 0;
    for (const struct package *p = package_next(NULL); p != NULL && set->count < MAX_PACKAGES;
         p = p->next)
        if (win32_compare(p->hardware_id, set->hardware_id) == 0 &&
            (!p->is_excluded || set->allows_excluded))
            memcpy(set->infs[set->count++], p->inf, sizeof(p->inf));
    set->has_list = true;
    nth_unlock(&machine_lock);
    return TRUE;
}
WIN32_EXPORT("setupapi", SetupDiBuildDriverInfoList, 3, FAILS_ZERO, ERROR_NOT_ENOUGH_MEMORY);

/* locked */
static struct package *package_of(const WCHAR *inf)
{
    struct package *package = package_next(NULL);

    while (package != NULL && win32_compare(package->inf, inf) != 0)
        package = package->next;
    return package;
}

static BOOL WINAPI SetupDiEnumDriverInfoW(HANDLE handle, struct devinfo_data *data, DWORD type,
                                          DWORD index, struct drvinfo_data *driver)
{
    struct set *set = set_of(handle, data);

    if (set == NULL)
        return FALSE;
    if (driver == NULL || driver->size != sizeof(*driver) || type != COMPATIBLE)
        return win32_fail(ERROR_INVALID_USER_BUFFER);
    nth_lock(&machine_lock);
    const struct package *p =
        set->has_list && index < set->count ? package_of(set->infs[index]) : NULL;
    if (p != NULL) {
        *driver = (struct drvinfo_data){.size = sizeof(*driver), .type = type, .reserved = index};
        driver->date = (FILETIME){(DWORD)p->date, (DWORD)(p->date >> 32)};
        driver->version = p->version;
        memcpy(driver->description, p->description, sizeof(p->description));
        memcpy(driver->provider, p->provider, sizeof(p->provider));
        memcpy(driver->manufacturer, p->provider, sizeof(p->provider));
    }
    nth_unlock(&machine_lock);
    return p != NULL || win32_fail(ERROR_NO_MORE_ITEMS);
}
WIN32_EXPORT("setupapi", SetupDiEnumDriverInfoW, 5, FAILS_ZERO, ERROR_NOT_ENOUGH_MEMORY);

/* The page: with a buffer of the structure alone the fixed fields are filled in, and the error says
 * that the IDs did not fit. */
static BOOL WINAPI SetupDiGetDriverInfoDetailW(HANDLE handle, struct devinfo_data *data,
                                               const struct drvinfo_data *driver,
                                               struct drvinfo_detail *detail, DWORD bytes,
                                               DWORD *required)
{
    static const WCHAR folder[] = L"C:\\Windows\\INF\\";
    struct set *set = set_of(handle, data);

    if (set == NULL)
        return FALSE;
    if (detail == NULL || detail->size != sizeof(*detail) || bytes < sizeof(*detail) ||
        driver->reserved >= set->count)
        return win32_fail(ERROR_INVALID_USER_BUFFER);
    nth_lock(&machine_lock);
    const struct package *p = package_of(set->infs[driver->reserved]);
    if (p != NULL) {
        memset(detail, 0, sizeof(*detail));
        detail->size = sizeof(*detail);
        memcpy(detail->inf, folder, sizeof(folder));
        memcpy(detail->inf + ARRAYSIZE(folder) - 1, p->inf, sizeof(p->inf));
        memcpy(detail->description, p->description, sizeof(p->description));
        detail->ids_length = (DWORD)win32_length(p->hardware_id) + 2;
    }
    nth_unlock(&machine_lock);
    if (required != NULL && p != NULL)
        *required = (DWORD)sizeof(*detail) + detail->ids_length * (DWORD)sizeof(WCHAR);
    return win32_fail(p != NULL ? ERROR_INSUFFICIENT_BUFFER : ERROR_NOT_FOUND);
}
WIN32_EXPORT("setupapi", SetupDiGetDriverInfoDetailW, 6, FAILS_ZERO, ERROR_NOT_ENOUGH_MEMORY);

/* ---- the store ---- */

/* Nothing here shows windows; the page: answers what was set before, for the whole process. */
static BOOL WINAPI SetupSetNonInteractiveMode(BOOL is_quiet)
{
    return atomic_exchange(&win32_here()->is_quiet, is_quiet != FALSE);
}
WIN32_EXPORT("setupapi", SetupSetNonInteractiveMode, 1, FAILS_NEVER, 0);

static BOOL WINAPI SetupCopyOEMInfW(LPCWSTR source, LPCWSTR location, DWORD media, DWORD style,
                                    LPWSTR destination, DWORD characters, DWORD *required,
                                    LPWSTR *component)
{
    static const WCHAR folder[] = L"C:\\Windows\\INF\\";
    struct package *package = NULL;
    size_t bytes = 0;

    (void)location;
    if (media > 2 || style != 0 || component != NULL)
        nth_stop("not-provided", "SetupCopyOEMInfW with style 0x%x", style);
    if (!is_elevated())
        return win32_fail(ERROR_ACCESS_DENIED);
    char *text = win32_file_read(source, &bytes);
    if (text == NULL)
        return win32_fail(ERROR_FILE_NOT_FOUND);
    uint32_t error = win32_knobs_now.signature;
    if (error == ERROR_SUCCESS)
        error = package_add(text, bytes, &package);
    free(text);
    if (error != ERROR_SUCCESS)
        return win32_fail(error);
    const DWORD needed = (DWORD)(ARRAYSIZE(folder) + win32_length(package->inf));
    if (required != NULL)
        *required = needed;
    if (destination == NULL)
        return TRUE;
    if (characters < needed)
        return win32_fail(ERROR_INSUFFICIENT_BUFFER);
    memcpy(destination, folder, sizeof(folder));
    memcpy(destination + ARRAYSIZE(folder) - 1, package->inf,
           (win32_length(package->inf) + 1) * sizeof(WCHAR));
    return TRUE;
}
WIN32_EXPORT("setupapi", SetupCopyOEMInfW, 8, FAILS_ZERO, ERROR_ACCESS_DENIED);

static BOOL WINAPI SetupUninstallOEMInfW(LPCWSTR inf, DWORD flags, void *reserved)
{
    uint32_t error = ERROR_SUCCESS;

    if (flags != 0 || reserved != NULL)
        nth_stop("not-provided", "SetupUninstallOEMInfW with flags 0x%x", flags);
    if (!is_elevated())
        return win32_fail(ERROR_ACCESS_DENIED);
    nth_lock(&machine_lock);
    struct package *package = package_of(inf);
    if (package == NULL)
        error = ERROR_FILE_NOT_FOUND;
    else if (package_is_used(package))
        error = (uint32_t)ERROR_INF_IN_USE_BY_DEVICES;
    else
        package_remove(package);
    nth_unlock(&machine_lock);
    return win32_result(error);
}
WIN32_EXPORT("setupapi", SetupUninstallOEMInfW, 3, FAILS_ZERO, ERROR_ACCESS_DENIED);

/* ---- newdev.dll ---- */

struct uninstall {
    WCHAR id[ID_CHARACTERS];
    bool is_vetoed, is_gone;
    KEVENT done;
};

/* On the PnP thread. A device that does not want to go stays, and waits for a restart. */
static void uninstall(void *context)
{
    struct uninstall *u = context;

    nth_lock(&machine_lock);
    struct node *node = node_find(u->id);
    const bool is_present = node != NULL && node->is_present;
    nth_unlock(&machine_lock);
    u->is_gone = node == NULL;
    if (is_present)
        u->is_vetoed = !pnp_pull(node, false);
    nth_lock(&machine_lock);
    node = node_find(u->id);
    if (node != NULL && !u->is_vetoed)
        node_forget(node);
    nth_unlock(&machine_lock);
    KeSetEvent(&u->done, 0, FALSE);
}

static BOOL WINAPI DiUninstallDevice(HANDLE window, HANDLE handle, struct devinfo_data *data,
                                     DWORD flags, BOOL *needs_restart)
{
    struct set *set = set_of(handle, data);
    struct uninstall u = {0};
    void *object = &u.done;

    (void)window;
    if (set == NULL)
        return FALSE;
    if (flags != 0 || needs_restart == NULL)
        return win32_fail(ERROR_INVALID_FLAGS);
    if (!is_elevated())
        return win32_fail(ERROR_ACCESS_DENIED);
    memcpy(u.id, set->id, sizeof(u.id));
    KeInitializeEvent(&u.done, NotificationEvent, FALSE);
    pnp_post(uninstall, &u, 0);
    /* not ended by the death of the process: the PnP manager does it all the same */
    KeWaitForSingleObject(object, Executive, KernelMode, FALSE, NULL);
    win32_survive();
    *needs_restart = u.is_vetoed;
    return !u.is_gone || win32_fail((uint32_t)ERROR_NO_SUCH_DEVINST);
}
WIN32_EXPORT("newdev", DiUninstallDevice, 5, FAILS_ZERO, ERROR_ACCESS_DENIED);
