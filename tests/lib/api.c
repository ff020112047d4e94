/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Beginnings and ends of the tests of wintun.dll; see api.h. Never looks into the DLL.
 */
#include "api.h"

#include <pthread.h>
#include <stdlib.h>

#if defined(NTH_ASAN)
#define BUILD "out/amd64-asan/"
#elif defined(NTH_TSAN)
#define BUILD "out/amd64-tsan/"
#else
#define BUILD "out/amd64/"
#endif

static struct win32_process *entered; /* where LoadLibraryExW loads */

static const char *choice(const char *environment, const char *otherwise)
{
    const char *path = getenv(environment);

    return path != NULL && *path != 0 ? path : otherwise;
}

/* ---- Windows' functions that the loader header calls ---- */

HMODULE LoadLibraryExW(LPCWSTR path, HANDLE handle, DWORD flags)
{
    const char *error = NULL;

    (void)path, (void)handle, (void)flags;
    struct win32_module *module =
        win32_load(entered, choice("WINTUN_DLL", BUILD "wintun.dll"), &error);
    if (module == NULL)
        check_fail(__FILE__, __LINE__, "the DLL cannot be loaded: %s", error);
    return module;
}

FARPROC GetProcAddress(HMODULE module, const char *name)
{
    return (FARPROC)win32_symbol(module, name);
}

BOOL FreeLibrary(HMODULE module)
{
    win32_unload(module);
    return TRUE;
}

void SetLastError(DWORD error)
{
    win32_set_last_error(error);
}

/* ---- the log ---- */

struct line {
    WINTUN_LOGGER_LEVEL level;
    char text[LOG_CHARACTERS];
};

static struct line lines[LOG_LINES];
static unsigned line_count;
static pthread_mutex_t lines_lock = PTHREAD_MUTEX_INITIALIZER;

static void CALLBACK log_line(WINTUN_LOGGER_LEVEL level, DWORD64 time, LPCWSTR message)
{
    (void)time;
    pthread_mutex_lock(&lines_lock);
    struct line *line = &lines[line_count < LOG_LINES ? line_count++ : LOG_LINES - 1];
    line->level = level;
    size_t i = 0;
    for (; message[i] != 0 && i + 1 < LOG_CHARACTERS; i++)
        line->text[i] = message[i] < 0x7f ? (char)message[i] : '?';
    line->text[i] = 0;
    if (getenv("API_LOG") != NULL)
        fprintf(stderr, "[%d] %s\n", level, line->text);
    pthread_mutex_unlock(&lines_lock);
}

unsigned log_count(WINTUN_LOGGER_LEVEL level)
{
    unsigned count = 0;

    pthread_mutex_lock(&lines_lock);
    for (unsigned i = 0; i < line_count; i++)
        count += lines[i].level == level;
    pthread_mutex_unlock(&lines_lock);
    return count;
}

const char *log_last(WINTUN_LOGGER_LEVEL level)
{
    const char *text = "";

    pthread_mutex_lock(&lines_lock);
    for (unsigned i = 0; i < line_count; i++)
        if (lines[i].level == level)
            text = lines[i].text;
    pthread_mutex_unlock(&lines_lock);
    return text;
}

void log_clear(void)
{
    pthread_mutex_lock(&lines_lock);
    line_count = 0;
    pthread_mutex_unlock(&lines_lock);
}

/* ---- beginnings and ends ---- */

static unsigned disk_entries;

void api_boot(const struct nth_config *config)
{
    struct nth_config mine = *config;

    if (mine.mode == NTH_SERIAL)
        mine.seed = scenario_number("NTH_SEED", mine.seed);
    nth_boot(&mine);
    win32_driver(choice("WINTUN_SYS", BUILD "wintun.sys"), "wintun");
    disk_entries = win32_disk_entries();
}

void api_shutdown(void)
{
    win32_settle();
    CHECK_EQ(win32_node_count("SWD\\Wintun", false), 0);
    CHECK_EQ(win32_disk_entries(), disk_entries);
    nth_shutdown();
}

void api_begin_cold(struct api *api, enum client_token token)
{
    const struct client_config config = {.name = "program", .token = token};

    *api = (struct api){.process = win32_process_create(&config)};
    CHECK(api->process != NULL);
    win32_ledger_take(api->process, &api->without);
    api->thread = win32_thread_begin(api->process);
    win32_thread_enter(api->thread);
    entered = api->process;
    api->module = WintunLoad(NULL, &api->f);
    CHECK(api->module != NULL);
    api->f.SetLogger(log_line);
    api->f.OpenAdapter(NULL); /* a failure: its text is kept for the thread */
    win32_thread_leave(api->thread);
    log_clear();
    win32_ledger_take(api->process, &api->before);
}

void api_begin(struct api *api, enum client_token token)
{
    api_begin_cold(api, token);
    IN(api, api->f.Repair(WINTUN_REPAIR_DEVICES, NULL));
    log_clear();
    win32_ledger_take(api->process, &api->before);
    api->is_warm = true;
}

void api_check(struct api *api)
{
    const char *left = win32_ledger_differs(api->process, &api->before);

    if (left != NULL)
        check_fail(__FILE__, __LINE__, "left behind: %s", left);
}

void api_end(struct api *api)
{
    if (api->is_warm)
        api_check(api);
    win32_thread_enter(api->thread);
    win32_unload(api->module);
    win32_thread_leave(api->thread);
    const char *left = win32_ledger_differs(api->process, &api->without);
    if (left != NULL)
        check_fail(__FILE__, __LINE__, "left behind by the DLL: %s", left);
    win32_thread_end(api->thread);
    win32_process_destroy(api->process);
}

void api_kill(struct api *api)
{
    win32_process_kill(api->process);
    win32_thread_end(api->thread);
    win32_process_destroy(api->process);
}

/* ---- adapters ---- */

WINTUN_ADAPTER_HANDLE api_create(struct api *api, LPCWSTR name)
{
    WINTUN_ADAPTER_HANDLE adapter = IN(api, api->f.CreateAdapter(name, L"Example", NULL));

    if (adapter == NULL)
        check_fail(__FILE__, __LINE__, "no adapter: error %u, %s", api->error,
                   log_last(WINTUN_LOG_ERR));
    return adapter;
}

NET_LUID api_luid(struct api *api, WINTUN_ADAPTER_HANDLE adapter)
{
    NET_LUID luid = {.Value = 0};

    DO(api, api->f.GetAdapterLUID(adapter, &luid));
    return luid;
}

struct search {
    unsigned wanted;
    char id[256];
};

static BOOL CALLBACK search_next(const WINTUN_ADAPTER_INFO *info, void *context)
{
    struct search *search = context;

    if (search->wanted-- > 0)
        return TRUE;
    for (size_t i = 0; i < sizeof(search->id); i++)
        if ((search->id[i] = (char)info->InstanceId[i]) == 0)
            break;
    return FALSE;
}

const char *api_instance(struct api *api, unsigned n)
{
    static struct search search;

    search = (struct search){.wanted = n};
    CHECK(IN(api, api->f.EnumAdapters(search_next, &search)));
    if (search.id[0] == 0)
        check_fail(__FILE__, __LINE__, "there is no adapter number %u", n);
    return search.id;
}

void api_port(struct port *port, const char *instance_id)
{
    *port = (struct port){.device = win32_node_device(instance_id)};
    CHECK(port->device != NULL);
    port->adapter = nth_adapter_of(port->device);
    CHECK(port->adapter != NULL);
    port->mem = nth_mem_attach(port->adapter);
}

void api_port_close(struct port *port)
{
    nth_mem_close(port->mem);
    port->mem = NULL;
}
