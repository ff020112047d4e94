/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Notifications that processes have asked for: of devices (CM_Register_Notification) and of IP
 * interfaces (NotifyIpInterfaceChange). Each is delivered on a thread of the process's pool. After
 * the end of a registration none is under way, except the one that ended it, as the pages of
 * CM_Unregister_Notification and CancelMibChangeNotify2 promise.
 */
#include "win32/machine.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { FILTER_INTERFACE = 0, FILTER_HANDLE = 1, FILTER_INSTANCE = 2 };
enum { CR_SUCCESS = 0, CR_INVALID_POINTER = 3, CR_INVALID_DATA = 0x1F };

struct filter { /* CM_NOTIFY_FILTER */
    DWORD size, flags, type, reserved;
    union {
        GUID class;
        WCHAR id[ID_CHARACTERS];
    };
};
_Static_assert(sizeof(struct filter) == 416, "ns-cfgmgr32-cm_notify_filter");

struct event_data { /* CM_NOTIFY_EVENT_DATA */
    DWORD type, reserved;
    union {
        struct {
            GUID class;
            WCHAR link[256];
        } interface;
        WCHAR id[ID_CHARACTERS];
    };
};

/* MIB_IPINTERFACE_ROW begins so; the rest is zero in a notification (its page). */
struct ip_event {
    USHORT family;
    NET_LUID luid;
    uint8_t rest[152];
};
_Static_assert(sizeof(struct ip_event) == 168, "ns-netioapi-mib_ipinterface_row");

typedef DWORD NTAPI device_callback(void *registration, void *context, DWORD action,
                                    struct event_data *data, DWORD bytes);
typedef void NTAPI ip_callback(void *context, struct ip_event *row, DWORD type);

struct registration {
    struct registration *next;
    struct win32_process *process;
    bool is_ip;
    struct filter filter;
    unsigned family; /* of IP */
    void *callback, *context;
    unsigned busy; /* deliveries under way */
    bool is_ended;
    KEVENT quiet;
};

struct delivery {
    struct registration *registration;
    DWORD action;
    struct event_data data;
    struct ip_event ip;
};

static struct nth_mutex notify_lock = NTH_MUTEX_INIT;
static struct registration *registrations; /* notify_lock */
static _Thread_local struct registration *delivering;

/* ---- delivery ---- */

static void call(void *context)
{
    struct delivery *d = context;
    struct registration *r = d->registration;

    nth_lock(&notify_lock);
    const bool is_wanted = !r->is_ended;
    nth_unlock(&notify_lock);
    if (!is_wanted)
        return;
    delivering = r;
    if (r->is_ip)
        ((ip_callback *)r->callback)(r->context, &d->ip, d->action);
    else
        ((device_callback *)r->callback)(r, r->context, d->action, &d->data, sizeof(d->data));
    delivering = NULL;
}

static void deliver(struct win32_process *process, void *context)
{
    struct delivery *delivery = context;
    struct registration *r = delivery->registration;

    win32_run(process, call, delivery);
    delivering = NULL;
    nth_lock(&notify_lock);
    if (--r->busy == 0)
        KeSetEvent(&r->quiet, 0, FALSE);
    nth_unlock(&notify_lock);
    free(delivery);
}

static void post(struct registration *r, const struct delivery *what)
{
    struct delivery *delivery = win32_calloc(sizeof(*delivery));

    *delivery = *what;
    delivery->registration = r;
    win32_pool(r->process, "notification", deliver, delivery);
}

enum { MAX_LISTENERS = 64 };

/* Counts the deliveries before the lock is let go, so that no registration ends under them. */
static void post_all(const struct delivery *what,
                     bool (*is_wanted)(const struct registration *r, const struct delivery *d))
{
    struct registration *found[MAX_LISTENERS];
    unsigned count = 0;

    if (win32_knobs_now.no_notifications)
        return;
    nth_lock(&notify_lock);
    for (struct registration *r = registrations; r != NULL && count < MAX_LISTENERS; r = r->next) {
        if (r->is_ended || !is_wanted(r, what))
            continue;
        r->busy++;
        KeResetEvent(&r->quiet);
        found[count++] = r;
    }
    nth_unlock(&notify_lock);
    for (unsigned i = 0; i < count; i++)
        post(found[i], what);
}

static bool wants_device(const struct registration *r, const struct delivery *d)
{
    if (r->is_ip || r->filter.type != d->data.type)
        return false;
    if (r->filter.type == FILTER_INTERFACE)
        return memcmp(&r->filter.class, &d->data.interface.class, sizeof(GUID)) == 0;
    return win32_compare(r->filter.id, d->data.id) == 0;
}

static bool wants_ip(const struct registration *r, const struct delivery *d)
{
    return r->is_ip && (r->family == 0 || r->family == d->ip.family);
}

void notify_device(const struct node *node, enum notify_action action)
{
    static const GUID net = {
        0xcac88484, 0x7515, 0x4c03, {0x82, 0xe6, 0x71, 0xa8, 0x7a, 0xba, 0xc3, 0x61}};
    struct delivery delivery = {.action = action};

    if (action == NOTIFY_INTERFACE_ARRIVAL || action == NOTIFY_INTERFACE_REMOVAL) {
        delivery.data.type = FILTER_INTERFACE;
        delivery.data.interface.class = net;
    } else {
        delivery.data.type = FILTER_INSTANCE;
        memcpy(delivery.data.id, node->id, sizeof(node->id));
    }
    post_all(&delivery, wants_device);
}

void notify_ip(NET_LUID luid, unsigned family, unsigned type)
{
    const struct delivery delivery = {.action = type,
                                      .ip = {.family = (USHORT)family, .luid = luid}};

    post_all(&delivery, wants_ip);
}

/* ---- registrations ---- */

static struct registration *add(bool is_ip, void *callback, void *context)
{
    struct registration *r = win32_calloc(sizeof(*r));

    r->process = win32_here();
    r->is_ip = is_ip;
    r->callback = callback;
    r->context = context;
    KeInitializeEvent(&r->quiet, NotificationEvent, TRUE);
    return r;
}

static void begin(struct registration *r)
{
    win32_hold(WIN32_NOTIFY, r, 0);
    nth_lock(&notify_lock);
    r->next = registrations;
    registrations = r;
    nth_unlock(&notify_lock);
}

static void unlink_registration(struct registration *r)
{
    nth_lock(&notify_lock);
    struct registration **link = &registrations;
    while (*link != r)
        link = &(*link)->next;
    *link = r->next;
    nth_unlock(&notify_lock);
}

/* Waits for what is under way. */
static bool end(struct registration *r)
{
    void *object = &r->quiet;

    if (!win32_let_go(WIN32_NOTIFY, r, NULL))
        return false;
    if (delivering == r)
        nth_stop("deadlock", "a notification's callback ends its own registration");
    nth_lock(&notify_lock);
    r->is_ended = true;
    nth_unlock(&notify_lock);
    if (nth_wait(1, &object, NTH_WAIT_ANY, false, NULL) == STATUS_SUCCESS) {
        unlink_registration(r);
        free(r);
        return true;
    }
    win32_hold(WIN32_NOTIFY, r, 0); /* for the end of the process */
    win32_survive();
    return true;
}

static void end_all(struct win32_process *process)
{
    struct registration *r;

    while ((r = win32_take_held(process, WIN32_NOTIFY, NULL)) != NULL) {
        unlink_registration(r);
        free(r);
    }
}

static void notify_boot(const struct nth_config *config)
{
    (void)config;
    win32_at_death(end_all);
}
NTH_SUBSYSTEM(win32_notify, 52, notify_boot, NULL);

static CONFIGRET WINAPI CM_Register_Notification(const struct filter *filter, void *context,
                                                 device_callback *callback, void **result)
{
    if (filter == NULL || callback == NULL || result == NULL)
        return CR_INVALID_POINTER;
    *result = NULL;
    if (filter->size != sizeof(*filter) || filter->flags != 0 || filter->reserved != 0 ||
        (filter->type != FILTER_INTERFACE && filter->type != FILTER_INSTANCE))
        return CR_INVALID_DATA;
    struct registration *r = add(false, (void *)callback, context);
    r->filter = *filter;
    begin(r);
    *result = r;
    return CR_SUCCESS;
}
WIN32_EXPORT("cfgmgr32", CM_Register_Notification, 4, FAILS_CODE, 2 /* CR_OUT_OF_MEMORY */);

static CONFIGRET WINAPI CM_Unregister_Notification(void *registration)
{
    return end(registration) ? CR_SUCCESS : CR_INVALID_DATA;
}
WIN32_EXPORT("cfgmgr32", CM_Unregister_Notification, 1, FAILS_NEVER, 0);

/* The first call of a new registration comes at once when it is asked for. */
static DWORD WINAPI NotifyIpInterfaceChange(USHORT family, ip_callback *callback, void *context,
                                            BOOLEAN initial, HANDLE *result)
{
    if (callback == NULL || result == NULL || (family != 0 && family != 2 && family != 23))
        return ERROR_INVALID_PARAMETER;
    struct registration *r = add(true, (void *)callback, context);
    r->family = family;
    if (initial)
        r->busy = 1;
    begin(r);
    *result = r;
    if (initial) {
        KeResetEvent(&r->quiet);
        post(r, &(const struct delivery){.action = 3 /* MibInitialNotification */});
    }
    return ERROR_SUCCESS;
}
WIN32_EXPORT("iphlpapi", NotifyIpInterfaceChange, 5, FAILS_CODE, ERROR_NOT_ENOUGH_MEMORY);

static DWORD WINAPI CancelMibChangeNotify2(HANDLE registration)
{
    return end(registration) ? ERROR_SUCCESS : ERROR_INVALID_PARAMETER;
}
WIN32_EXPORT("iphlpapi", CancelMibChangeNotify2, 1, FAILS_NEVER, 0);
