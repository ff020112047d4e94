/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The user-mode plug and play manager: one thread that does what was posted to it, in order. It
 * enumerates software devices, finds and starts their drivers, and removes them. The class
 * installer's and the network set-up's part is what they leave behind: values of the driver key, a
 * connection with a name.
 */
#include "win32/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the thread ---- */

struct job {
    struct job *next;
    void (*run)(void *context);
    void *context;
    uint64_t due;
};

static struct nth_mutex jobs_lock = NTH_MUTEX_INIT;
static struct job *jobs; /* jobs_lock, as all below; by due time, then age */
static struct nth_thread *worker;
static bool is_busy;
static _Atomic bool is_stopping;
static KEVENT work, idle;

static struct job *take_due(uint64_t *wait_ns)
{
    struct job *job;

    nth_lock(&jobs_lock);
    const uint64_t now = nth_clock_ns();
    job = jobs;
    *wait_ns = job == NULL ? UINT64_MAX : job->due > now ? job->due - now : 0;
    if (job != NULL && *wait_ns == 0)
        jobs = job->next;
    else
        job = NULL;
    is_busy = job != NULL;
    if (!is_busy)
        KeSetEvent(&idle, 0, FALSE);
    nth_unlock(&jobs_lock);
    return job;
}

static void work_on(void *context)
{
    void *object = &work;
    uint64_t wait_ns = 0;

    (void)context;
    for (;;) {
        struct job *job = take_due(&wait_ns);
        if (job != NULL) {
            job->run(job->context);
            free(job);
            continue;
        }
        if (is_stopping)
            return;
        const LARGE_INTEGER timeout = {.QuadPart = -(LONGLONG)((wait_ns + 99) / 100)};
        nth_wait(1, &object, NTH_WAIT_ANY, false, wait_ns == UINT64_MAX ? NULL : &timeout);
    }
}

void pnp_post(void (*run)(void *context), void *context, uint64_t delay_ns)
{
    struct job *job = win32_calloc(sizeof(*job)), **link = &jobs;

    nth_lock(&jobs_lock);
    *job = (struct job){.run = run, .context = context, .due = nth_clock_ns() + delay_ns};
    while (*link != NULL && (*link)->due <= job->due)
        link = &(*link)->next;
    job->next = *link;
    *link = job;
    KeResetEvent(&idle);
    const bool is_first = worker == NULL;
    if (is_first)
        worker = nth_service_create("pnp", work_on, NULL);
    nth_unlock(&jobs_lock);
    KeSetEvent(&work, 0, FALSE);
}

void win32_settle(void)
{
    for (;;) {
        nth_lock(&jobs_lock);
        const bool is_done =
            worker == NULL || (!is_busy && (jobs == NULL || jobs->due > nth_clock_ns()));
        nth_unlock(&jobs_lock);
        if (is_done)
            return;
        void *object = &idle;
        const LARGE_INTEGER timeout = {.QuadPart = -100000};
        nth_wait(1, &object, NTH_WAIT_ANY, false, &timeout);
    }
}

static void pnp_boot(const struct nth_config *config)
{
    (void)config;
    KeInitializeEvent(&work, SynchronizationEvent, FALSE);
    KeInitializeEvent(&idle, NotificationEvent, TRUE);
    worker = NULL;
    is_stopping = false;
}

static void pnp_stop(void)
{
    if (worker == NULL)
        return;
    win32_settle();
    is_stopping = true;
    KeSetEvent(&work, 0, FALSE);
    nth_join(worker);
    while (jobs != NULL) {
        struct job *job = jobs;
        jobs = job->next;
        free(job);
    }
}
NTH_SUBSYSTEM(win32_pnp, 49, pnp_boot, pnp_stop);

/* ---- installation ---- */

/* A job for a node as it was when it was posted: it may be gone, or started anew. */
struct visit {
    uint32_t instance;
    unsigned turn;
    void (*run)(struct node *node); /* locked */
};

static void run_visit(void *context)
{
    struct visit *visit = context;

    nth_lock(&machine_lock);
    struct node *node = node_of(visit->instance);
    if (node != NULL && node->is_present && node->turn == visit->turn)
        visit->run(node);
    nth_unlock(&machine_lock);
    free(visit);
}

static void visit_later(const struct node *node, void (*run)(struct node *node), uint32_t delay_ms)
{
    struct visit *visit = win32_calloc(sizeof(*visit));

    if (delay_ms == WIN32_NEVER) {
        free(visit);
        return;
    }
    *visit = (struct visit){.instance = node->instance, .turn = node->turn, .run = run};
    pnp_post(run_visit, visit, delay_ms * 1000000ull);
}

static void enable_interface(struct node *node)
{
    node->has_interface = true;
    notify_device(node, NOTIFY_INTERFACE_ARRIVAL);
}

/* TCP/IP binds: IPv4, then IPv6, each told to whoever listens (NotifyIpInterfaceChange). */
static void make_rows(struct node *node)
{
    static const unsigned families[] = {2, 23}; /* AF_INET, AF_INET6 */

    for (int i = 0; i < 2; i++) {
        node->rows[i] = (struct ip_row){.exists = true,
                                        .mtu = 65535,
                                        .automatic_metric = true,
                                        .metric = 5,
                                        .dad_transmits = i == 0 ? 3 : 1};
        notify_ip(node_luid(node), families[i], 1 /* MibAddInstance */);
    }
}

static void set_text(const char *key, const char *name, const WCHAR *text)
{
    nth_registry_set(key, name, REG_SZ, text, (ULONG)((win32_length(text) + 1) * sizeof(WCHAR)));
}

static void set_number(const char *key, const char *name, uint32_t number)
{
    nth_registry_set(key, name, REG_DWORD, &number, sizeof(number));
}

static void choose_guid(struct node *node, const char *key)
{
    static unsigned last;
    GUID guid;
    ULONG type = 0, bytes = sizeof(guid);

    /* The undocumented wish of whoever made the node before; see docs/fidelity.md. */
    if (NT_SUCCESS(nth_registry_get(key, "SuggestedInstanceId", &type, &guid, &bytes)) &&
        bytes == sizeof(guid) && !win32_knobs_now.ignores_suggested_guid) {
        WCHAR *alias;
        if (!connection_by_guid(&guid, &alias)) {
            node->guid = guid;
            return;
        }
    }
    node->guid = (GUID){0x6e74686f, 0x7377, 0x4000, {0x80}};
    node->guid.Data4[7] = (UCHAR)++last;
    node->guid.Data4[6] = (UCHAR)(last >> 8);
}

/* What class installer and network set-up leave. locked */
static void install(struct node *node, const struct package *package)
{
    static uint32_t last_luid = 0x8000, last_name;
    const char *key = node_key(node, true);
    WCHAR text[39];

    if (node->luid_index == 0) {
        choose_guid(node, key);
        node->luid_index = ++last_luid;
        char name[64];
        snprintf(name, sizeof(name), "Local Area Connection* %u", ++last_name);
        WCHAR *wide = win32_wide(name);
        memcpy(node->alias, wide, (win32_length(wide) + 1) * sizeof(WCHAR));
        free(wide);
    }
    win32_guid_text(&node->guid, text);
    set_text(key, "NetCfgInstanceId", text);
    set_number(key, "NetLuidIndex", node->luid_index);
    set_number(key, "*IfType", 53);
    set_text(key, "DeviceInstanceID", node->id);
    set_text(key, "ComponentId", package->hardware_id);
    set_text(key, "InfPath", package->inf);
    node->package = (struct package *)package;
}

static void set_problem(struct node *node, uint32_t problem, NTSTATUS status)
{
    nth_lock(&machine_lock);
    node->problem = problem;
    node->problem_status = status;
    nth_unlock(&machine_lock);
}

/* Not locked: drivers run. The node stays, as only this thread removes any. */
static NTSTATUS plug(struct node *node)
{
    struct nth_driver *driver = NULL;
    char *id = win32_utf8(node->id);
    WCHAR text[39];
    NTSTATUS status = driver_take(&driver);

    win32_guid_text(&node->guid, text);
    char *guid = win32_utf8(text);
    struct nth_device_config config = {
        .instance_id = id, .net_cfg_id = guid, .net_luid_index = node->luid_index};
    nth_lock(&machine_lock);
    struct nth_device_property *properties = node_properties(node, &config.property_count);
    nth_unlock(&machine_lock);
    config.properties = properties;
    struct nth_device *device = NULL;
    if (NT_SUCCESS(status)) {
        status = nth_plug(driver, &config, &device);
        if (!NT_SUCCESS(status))
            driver_release();
    }
    nth_lock(&machine_lock);
    node->device = device;
    nth_unlock(&machine_lock);
    free(properties);
    free(guid);
    free(id);
    return status;
}

static void start(struct node *node)
{
    nth_lock(&machine_lock);
    const struct package *package = package_best(node->hardware_id);
    if (package != NULL)
        install(node, package);
    nth_unlock(&machine_lock);
    if (package == NULL) {
        set_problem(node, PROBLEM_FAILED_INSTALL, (NTSTATUS)0xC0000490); /* no compatible driver */
        return;
    }
    if (win32_knobs_now.problem != 0) {
        set_problem(node, win32_knobs_now.problem, win32_knobs_now.problem_status);
        return;
    }
    const NTSTATUS status = plug(node);
    set_problem(node, NT_SUCCESS(status) ? PROBLEM_NONE : PROBLEM_FAILED_START,
                NT_SUCCESS(status) ? 0 : status);
    if (!NT_SUCCESS(status))
        return;
    notify_device(node, NOTIFY_INSTANCE_STARTED);
    visit_later(node, enable_interface, win32_knobs_now.interface_ms);
    visit_later(node, make_rows, win32_knobs_now.rows_ms);
}

void pnp_enumerate(struct node *node)
{
    nth_lock(&machine_lock);
    node->is_present = true;
    node->turn++;
    node->problem = node->hardware_id[0] != 0 ? PROBLEM_NOT_CONFIGURED : PROBLEM_NONE;
    node->problem_status = 0;
    nth_unlock(&machine_lock);
    notify_device(node, NOTIFY_INSTANCE_ENUMERATED);
}

static void start_job(void *context)
{
    struct visit *visit = context;

    nth_lock(&machine_lock);
    struct node *node = node_of(visit->instance);
    const bool is_due = node != NULL && node->is_present && node->turn == visit->turn;
    nth_unlock(&machine_lock);
    if (is_due && node->hardware_id[0] != 0)
        start(node);
    free(visit);
}

void pnp_start_later(struct node *node)
{
    struct visit *visit = win32_calloc(sizeof(*visit));

    *visit = (struct visit){.instance = node->instance, .turn = node->turn};
    pnp_post(start_job, visit, 0);
}

/* ---- removal ---- */

/* False: vetoed, and everything as before. */
static bool pull(struct nth_device *device, bool is_surprise)
{
    if (is_surprise)
        nth_surprise_remove(device);
    else if (nth_unplug(device) != STATUS_SUCCESS)
        return false;
    return true;
}

bool pnp_pull(struct node *node, bool is_surprise)
{
    nth_lock(&machine_lock);
    struct nth_device *device = node->device;
    const bool had_interface = node->has_interface;
    nth_unlock(&machine_lock);
    if (device != NULL && !pull(device, is_surprise))
        return false;
    nth_lock(&machine_lock);
    node->device = NULL;
    node->has_interface = false;
    node->is_present = false;
    node->turn++;
    memset(node->rows, 0, sizeof(node->rows));
    addresses_forget(node_luid(node));
    nth_unlock(&machine_lock);
    if (device != NULL)
        driver_release();
    if (had_interface)
        notify_device(node, NOTIFY_INTERFACE_REMOVAL);
    notify_device(node, NOTIFY_INSTANCE_REMOVED);
    return true;
}
