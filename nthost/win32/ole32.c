/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * ole32.dll, and of the classes behind it two: the connections folder (netcon.h), to rename a
 * connection, and the network list (netlistmgr.h), to set the category of a network. Methods are
 * offered like functions of a module "com", so that their calls count and fail on demand too; their
 * places in the tables are those of the interfaces' pages.
 */
#include "win32/machine.h"

#include <stdlib.h>
#include <string.h>

#define S_OK                0
#define S_FALSE             1
#define E_NOTIMPL           ((HRESULT)0x80004001)
#define E_NOINTERFACE       ((HRESULT)0x80004002)
#define E_INVALIDARG        ((HRESULT)0x80070057)
#define CO_E_NOTINITIALIZED ((HRESULT)0x800401F0)
#define REGDB_E_CLASSNOTREG ((HRESULT)0x80040154)

enum { SLOTS = 20 };
enum kind {
    CONNECTIONS,      /* INetConnectionManager */
    ENUM_CONNECTIONS, /* IEnumNetConnection */
    CONNECTION,       /* INetConnection */
    NETWORKS,         /* INetworkListManager */
    ENUM_NETWORKS,    /* IEnumNetworkConnections */
    NETWORK_LINK,     /* INetworkConnection */
    NETWORK,          /* INetwork */
    KINDS
};

/* What a module has a pointer to. An enumeration knows how far it is; the others whose they are. */
struct object {
    void **table;
    enum kind kind;
    unsigned references;
    unsigned position;
    GUID guid;
};

static void *tables[KINDS][SLOTS];
static _Thread_local unsigned apartments;

static struct object *make(enum kind kind, const GUID *guid)
{
    struct object *object = win32_calloc(sizeof(*object));

    *object = (struct object){.table = tables[kind], .kind = kind, .references = 1};
    if (guid != NULL)
        object->guid = *guid;
    win32_hold(WIN32_COM, object, 0);
    return object;
}

/* ---- IUnknown ---- */

static HRESULT WINAPI ComQueryInterface(struct object *object, const GUID *interface, void **result)
{
    (void)object, (void)interface;
    *result = NULL;
    return E_NOINTERFACE;
}
WIN32_EXPORT("com", ComQueryInterface, 3, FAILS_NEVER, 0);

static ULONG WINAPI ComAddRef(struct object *object)
{
    return ++object->references;
}
WIN32_EXPORT("com", ComAddRef, 1, FAILS_NEVER, 0);

static ULONG WINAPI ComRelease(struct object *object)
{
    if (!win32_holds(WIN32_COM, object, NULL))
        nth_stop("double-free", "Release of %p, which is no object", (void *)object);
    const unsigned left = --object->references;
    if (left == 0) {
        win32_let_go(WIN32_COM, object, NULL);
        free(object);
    }
    return left;
}
WIN32_EXPORT("com", ComRelease, 1, FAILS_NEVER, 0);

static HRESULT WINAPI ComNothing(void)
{
    return E_NOTIMPL;
}
WIN32_EXPORT("com", ComNothing, 0, FAILS_NEVER, 0);

/* ---- connections ---- */

/* The n-th node that has a connection, or with a network: one whose link is up. locked */
static bool nth_connection(unsigned n, bool is_up, GUID *guid)
{
    for (struct node *node = node_next(NULL); node != NULL; node = node_next(node)) {
        struct nth_adapter *adapter = node->device != NULL ? nth_adapter_of(node->device) : NULL;
        if (node->luid_index == 0 || adapter == NULL)
            continue;
        if (is_up && nth_link_state(adapter)->MediaConnectState != MediaConnectStateConnected)
            continue;
        if (n-- == 0) {
            *guid = node->guid;
            return true;
        }
    }
    return false;
}

static HRESULT next(struct object *object, bool is_up, enum kind kind, ULONG count, void **result,
                    ULONG *fetched)
{
    GUID guid;

    if (count != 1)
        return E_NOTIMPL;
    nth_lock(&machine_lock);
    const bool is_found = nth_connection(object->position, is_up, &guid);
    nth_unlock(&machine_lock);
    object->position += is_found;
    *result = is_found ? make(kind, &guid) : NULL;
    if (fetched != NULL)
        *fetched = is_found;
    return is_found ? S_OK : S_FALSE;
}

static HRESULT WINAPI EnumConnections(struct object *object, DWORD flags, void **result)
{
    (void)object, (void)flags;
    *result = make(ENUM_CONNECTIONS, NULL);
    return S_OK;
}
WIN32_EXPORT("com", EnumConnections, 3, FAILS_HRESULT, RPC_S_SERVER_UNAVAILABLE);

static HRESULT WINAPI NextConnection(struct object *object, ULONG count, void **result,
                                     ULONG *fetched)
{
    return next(object, false, CONNECTION, count, result, fetched);
}
WIN32_EXPORT("com", NextConnection, 4, FAILS_HRESULT, RPC_S_SERVER_UNAVAILABLE);

struct properties { /* NETCON_PROPERTIES */
    GUID guid;
    WCHAR *name, *device;
    uint8_t rest[48];
};
_Static_assert(sizeof(struct properties) == 80, "ns-netcon-netcon_properties");

static void *task_memory(size_t bytes)
{
    void *memory = win32_calloc(bytes);

    win32_hold(WIN32_OTHER, memory, 0);
    return memory;
}

static HRESULT WINAPI GetConnectionProperties(struct object *object, struct properties **result)
{
    WCHAR name[ALIAS_CHARACTERS] = L"", *alias = NULL;

    nth_lock(&machine_lock);
    if (connection_by_guid(&object->guid, &alias))
        memcpy(name, alias, sizeof(name));
    nth_unlock(&machine_lock);
    struct properties *properties = task_memory(sizeof(*properties));
    properties->guid = object->guid;
    properties->name = task_memory(sizeof(name));
    memcpy(properties->name, name, sizeof(name));
    *result = properties;
    return S_OK;
}
WIN32_EXPORT("com", GetConnectionProperties, 2, FAILS_HRESULT, RPC_S_SERVER_UNAVAILABLE);

/* nf-netcon-inetconnection-rename */
static HRESULT WINAPI RenameConnection(struct object *object, LPCWSTR name)
{
    const uint32_t error = connection_rename(&object->guid, name);

    return error == ERROR_SUCCESS ? S_OK : win32_hresult(error);
}
WIN32_EXPORT("com", RenameConnection, 2, FAILS_HRESULT, ERROR_ACCESS_DENIED);

/* ---- networks ---- */

static HRESULT WINAPI GetNetworkConnections(struct object *object, void **result)
{
    (void)object;
    *result = make(ENUM_NETWORKS, NULL);
    return S_OK;
}
WIN32_EXPORT("com", GetNetworkConnections, 2, FAILS_HRESULT, RPC_S_SERVER_UNAVAILABLE);

static HRESULT WINAPI NextNetworkConnection(struct object *object, ULONG count, void **result,
                                            ULONG *fetched)
{
    return next(object, true, NETWORK_LINK, count, result, fetched);
}
WIN32_EXPORT("com", NextNetworkConnection, 4, FAILS_HRESULT, RPC_S_SERVER_UNAVAILABLE);

static HRESULT WINAPI GetAdapterId(struct object *object, GUID *guid)
{
    *guid = object->guid;
    return S_OK;
}
WIN32_EXPORT("com", GetAdapterId, 2, FAILS_HRESULT, RPC_S_SERVER_UNAVAILABLE);

static HRESULT WINAPI GetNetwork(struct object *object, void **result)
{
    *result = make(NETWORK, &object->guid);
    return S_OK;
}
WIN32_EXPORT("com", GetNetwork, 2, FAILS_HRESULT, RPC_S_SERVER_UNAVAILABLE);

static HRESULT WINAPI SetCategory(struct object *object, DWORD category)
{
    HRESULT result = win32_hresult(ERROR_NOT_FOUND);

    if (category > 1) /* NLM_NETWORK_CATEGORY_DOMAIN_AUTHENTICATED cannot be set (its page) */
        return E_INVALIDARG;
    nth_lock(&machine_lock);
    for (struct node *node = node_next(NULL); node != NULL; node = node_next(node))
        if (node->luid_index != 0 && memcmp(&node->guid, &object->guid, sizeof(GUID)) == 0) {
            node->category = category;
            node->has_category = true;
            result = S_OK;
        }
    nth_unlock(&machine_lock);
    return result;
}
WIN32_EXPORT("com", SetCategory, 2, FAILS_HRESULT, ERROR_ACCESS_DENIED);

int win32_network_category(const char *instance_id)
{
    WCHAR *id = win32_wide(instance_id);

    nth_lock(&machine_lock);
    const struct node *node = node_find(id);
    const int category = node != NULL && node->has_category ? (int)node->category : -1;
    nth_unlock(&machine_lock);
    free(id);
    return category;
}

/* ---- where the methods are ---- */

static void set_slot(enum kind kind, unsigned slot, const struct win32_entry *entry)
{
    tables[kind][slot] = nth_user_thunk(&entry->export);
}

static void tables_boot(const struct nth_config *config)
{
    (void)config;
    for (int kind = 0; kind < KINDS; kind++) {
        for (unsigned slot = 3; slot < SLOTS; slot++)
            set_slot(kind, slot, &win32_ComNothing);
        set_slot(kind, 0, &win32_ComQueryInterface);
        set_slot(kind, 1, &win32_ComAddRef);
        set_slot(kind, 2, &win32_ComRelease);
    }
    set_slot(CONNECTIONS, 3, &win32_EnumConnections);
    set_slot(ENUM_CONNECTIONS, 3, &win32_NextConnection);
    set_slot(CONNECTION, 7, &win32_GetConnectionProperties);
    set_slot(CONNECTION, 9, &win32_RenameConnection);
    set_slot(NETWORKS, 9, &win32_GetNetworkConnections);
    set_slot(ENUM_NETWORKS, 8, &win32_NextNetworkConnection);
    set_slot(NETWORK_LINK, 7, &win32_GetNetwork);
    set_slot(NETWORK_LINK, 12, &win32_GetAdapterId);
    set_slot(NETWORK, 19, &win32_SetCategory);
}

static void free_objects(struct win32_process *process)
{
    static const enum win32_kind kinds[] = {WIN32_COM, WIN32_OTHER};
    void *object;

    for (size_t i = 0; i < ARRAYSIZE(kinds); i++)
        while ((object = win32_take_held(process, kinds[i], NULL)) != NULL)
            free(object);
}

static void ole32_boot(const struct nth_config *config)
{
    tables_boot(config);
    win32_at_death(free_objects);
}
NTH_SUBSYSTEM(win32_ole32, 52, ole32_boot, NULL);

/* ---- ole32.dll ---- */

static HRESULT WINAPI CoInitializeEx(void *reserved, DWORD model)
{
    if (reserved != NULL || model != 0)
        nth_stop("not-provided", "CoInitializeEx with model 0x%x", model);
    return apartments++ == 0 ? S_OK : S_FALSE;
}
WIN32_EXPORT("ole32", CoInitializeEx, 2, FAILS_HRESULT, ERROR_NOT_ENOUGH_MEMORY);

static void WINAPI CoUninitialize(void)
{
    if (apartments == 0)
        nth_stop("double-free", "CoUninitialize of a thread that is in no apartment");
    apartments--;
}
WIN32_EXPORT("ole32", CoUninitialize, 0, FAILS_NEVER, 0);

static void WINAPI CoTaskMemFree(void *memory)
{
    if (memory == NULL)
        return;
    if (!win32_let_go(WIN32_OTHER, memory, NULL))
        nth_stop("double-free", "CoTaskMemFree of %p, which is no task memory", memory);
    free(memory);
}
WIN32_EXPORT("ole32", CoTaskMemFree, 1, FAILS_NEVER, 0);

static HRESULT WINAPI CoCreateInstance(const GUID *class, void *outer, DWORD context,
                                       const GUID *interface, void **result)
{
    static const GUID connections = {
        0xba126ad1, 0x2166, 0x11d1, {0xb1, 0xd0, 0x00, 0x80, 0x5f, 0xc1, 0x27, 0x0e}};
    static const GUID networks = {
        0xdcb00c01, 0x570f, 0x4a9b, {0x8d, 0x69, 0x19, 0x9f, 0xdb, 0xa5, 0x72, 0x3b}};

    (void)outer, (void)context, (void)interface;
    *result = NULL;
    if (apartments == 0)
        return CO_E_NOTINITIALIZED;
    if (memcmp(class, &connections, sizeof(*class)) == 0)
        *result = make(CONNECTIONS, NULL);
    else if (memcmp(class, &networks, sizeof(*class)) == 0)
        *result = make(NETWORKS, NULL);
    return *result != NULL ? S_OK : REGDB_E_CLASSNOTREG;
}
WIN32_EXPORT("ole32", CoCreateInstance, 5, FAILS_HRESULT, RPC_S_SERVER_UNAVAILABLE);

static HRESULT WINAPI CoSetProxyBlanket(void *proxy, DWORD authentication, DWORD authorization,
                                        WCHAR *principal, DWORD level, DWORD impersonation,
                                        void *identity, DWORD capabilities)
{
    (void)authentication, (void)authorization, (void)principal, (void)level, (void)impersonation;
    (void)identity, (void)capabilities;
    return proxy != NULL ? S_OK : E_INVALIDARG;
}
WIN32_EXPORT("ole32", CoSetProxyBlanket, 8, FAILS_HRESULT, ERROR_NOT_ENOUGH_MEMORY);
