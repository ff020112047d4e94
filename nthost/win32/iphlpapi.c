/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * iphlpapi.dll: names of interfaces, and the rows that TCP/IP keeps of them. A row exists from when
 * TCP/IP has bound to the interface until the interface goes.
 */
#include "win32/machine.h"

#include <stdlib.h>
#include <string.h>

enum { AF_UNSPEC = 0, AF_INET = 2, AF_INET6 = 23 };
enum { ERROR_OBJECT_ALREADY_EXISTS = 5010 };

struct row { /* MIB_IPINTERFACE_ROW, as far as it is used; ns-netioapi-mib_ipinterface_row */
    USHORT family;
    NET_LUID luid;
    ULONG index, max_reassembly;
    ULONG64 identifier;
    ULONG min_router_interval, max_router_interval;
    BOOLEAN flags[9]; /* AdvertisingEnabled to AdvertiseDefaultRoute */
    DWORD router_discovery, dad_transmits, base_reachable, retransmit, path_mtu_timeout, link_local,
        link_local_timeout;
    ULONG zone_indices[16];
    ULONG site_prefix_length, metric, mtu;
    BOOLEAN connected, wake_up, neighbor, router;
    ULONG reachable;
    UCHAR transmit_offload, receive_offload;
    BOOLEAN disable_default_routes;
};

_Static_assert(sizeof(struct row) == 168 && offsetof(struct row, mtu) == 152,
               "ns-netioapi-mib_ipinterface_row");

struct address { /* MIB_UNICASTIPADDRESS_ROW */
    union {
        USHORT family;
        uint8_t bytes[28]; /* SOCKADDR_INET */
    };
    NET_LUID luid;
    ULONG index;
    DWORD prefix_origin, suffix_origin;
    ULONG valid, preferred;
    uint8_t on_link_prefix;
    BOOLEAN skip_as_source;
    DWORD dad_state, scope_id;
    LONGLONG created;
};

_Static_assert(sizeof(struct address) == 80 && offsetof(struct address, on_link_prefix) == 60,
               "ns-netioapi-mib_unicastipaddress_row");

struct assigned {
    struct assigned *next;
    struct address address;
};

static struct assigned *addresses; /* machine_lock */

/* ---- names ---- */

static DWORD WINAPI ConvertInterfaceAliasToLuid(LPCWSTR alias, NET_LUID *luid)
{
    GUID guid;

    if (alias == NULL || luid == NULL)
        return ERROR_INVALID_PARAMETER;
    nth_lock(&machine_lock);
    const bool is_found = connection_find(alias, luid, &guid);
    nth_unlock(&machine_lock);
    return is_found ? ERROR_SUCCESS : ERROR_INVALID_PARAMETER;
}
WIN32_EXPORT("iphlpapi", ConvertInterfaceAliasToLuid, 2, FAILS_CODE, ERROR_INVALID_PARAMETER);

static DWORD WINAPI ConvertInterfaceLuidToAlias(const NET_LUID *luid, LPWSTR buffer,
                                                SIZE_T characters)
{
    DWORD error = ERROR_INVALID_PARAMETER;
    struct node *node;
    WCHAR *alias;
    GUID guid;

    if (luid == NULL || buffer == NULL)
        return error;
    nth_lock(&machine_lock);
    if (connection_by_luid(*luid, &alias, &guid, &node)) {
        error = win32_length(alias) < characters ? ERROR_SUCCESS : ERROR_NOT_ENOUGH_MEMORY;
        if (error == ERROR_SUCCESS)
            memcpy(buffer, alias, (win32_length(alias) + 1) * sizeof(WCHAR));
    }
    nth_unlock(&machine_lock);
    return error;
}
WIN32_EXPORT("iphlpapi", ConvertInterfaceLuidToAlias, 3, FAILS_CODE, ERROR_INVALID_PARAMETER);

static DWORD WINAPI ConvertInterfaceLuidToGuid(const NET_LUID *luid, GUID *guid)
{
    struct node *node;
    WCHAR *alias;

    if (luid == NULL || guid == NULL)
        return ERROR_INVALID_PARAMETER;
    nth_lock(&machine_lock);
    const bool is_found = connection_by_luid(*luid, &alias, guid, &node);
    nth_unlock(&machine_lock);
    return is_found ? ERROR_SUCCESS : ERROR_INVALID_PARAMETER;
}
WIN32_EXPORT("iphlpapi", ConvertInterfaceLuidToGuid, 2, FAILS_CODE, ERROR_INVALID_PARAMETER);

/* ---- rows ---- */

/* locked; the pages: ERROR_FILE_NOT_FOUND, no such interface; ERROR_NOT_FOUND, this version of IP
 * is not there (yet) */
static uint32_t find_row(NET_LUID luid, USHORT family, struct ip_row **result)
{
    struct node *node = NULL;
    WCHAR *alias;
    GUID guid;

    *result = NULL;
    if (!connection_by_luid(luid, &alias, &guid, &node) || node == NULL || node->device == NULL)
        return ERROR_FILE_NOT_FOUND;
    struct ip_row *row = &node->rows[family == AF_INET6];
    if (!row->exists)
        return ERROR_NOT_FOUND;
    *result = row;
    return ERROR_SUCCESS;
}

static void WINAPI InitializeIpInterfaceEntry(struct row *row)
{
    memset(row, 0, sizeof(*row));
    row->dad_transmits = UINT32_MAX;
}
WIN32_EXPORT("iphlpapi", InitializeIpInterfaceEntry, 1, FAILS_NEVER, 0);

enum { AUTOMATIC_METRIC = 4 }; /* index into flags: UseAutomaticMetric */

static DWORD WINAPI GetIpInterfaceEntry(struct row *row)
{
    if (row == NULL || (row->family != AF_INET && row->family != AF_INET6))
        return ERROR_INVALID_PARAMETER;
    struct ip_row *found;
    nth_lock(&machine_lock);
    const uint32_t error = find_row(row->luid, row->family, &found);
    if (found != NULL) {
        row->mtu = found->mtu;
        row->metric = found->metric;
        row->dad_transmits = found->dad_transmits;
        row->flags[AUTOMATIC_METRIC] = found->automatic_metric;
        row->site_prefix_length = 64;
        row->connected = TRUE;
    }
    nth_unlock(&machine_lock);
    return error;
}
WIN32_EXPORT("iphlpapi", GetIpInterfaceEntry, 1, FAILS_CODE, ERROR_ACCESS_DENIED);

static bool is_elevated(void)
{
    return nth_process_token(win32_here()->nt) <= NTH_TOKEN_ADMIN;
}

/* The page: SitePrefixLength must be 0 for IPv4. The least MTU of each version is assumed. */
static DWORD WINAPI SetIpInterfaceEntry(const struct row *row)
{
    if (!is_elevated())
        return ERROR_ACCESS_DENIED;
    if (row == NULL || (row->family != AF_INET && row->family != AF_INET6) ||
        (row->family == AF_INET && row->site_prefix_length != 0) ||
        row->mtu < (row->family == AF_INET ? 576u : 1280u))
        return ERROR_INVALID_PARAMETER;
    struct ip_row *found;
    nth_lock(&machine_lock);
    const uint32_t error = find_row(row->luid, row->family, &found);
    if (found != NULL) {
        found->mtu = row->mtu;
        found->metric = row->metric;
        found->automatic_metric = row->flags[AUTOMATIC_METRIC];
        found->dad_transmits = row->dad_transmits;
    }
    nth_unlock(&machine_lock);
    return error;
}
WIN32_EXPORT("iphlpapi", SetIpInterfaceEntry, 1, FAILS_CODE, ERROR_ACCESS_DENIED);

/* ---- addresses ---- */

static void WINAPI InitializeUnicastIpAddressEntry(struct address *row)
{
    memset(row, 0, sizeof(*row));
    row->on_link_prefix = 255;
    row->valid = row->preferred = UINT32_MAX;
}
WIN32_EXPORT("iphlpapi", InitializeUnicastIpAddressEntry, 1, FAILS_NEVER, 0);

/* locked; NULL: none */
static struct assigned *find_address(const struct address *row)
{
    struct assigned *a = addresses;

    while (a != NULL && (a->address.luid.Value != row->luid.Value ||
                         memcmp(a->address.bytes, row->bytes, sizeof(row->bytes)) != 0))
        a = a->next;
    return a;
}

/* What the pages of both functions refuse. */
static uint32_t check_address(const struct address *row)
{
    if (!is_elevated())
        return ERROR_ACCESS_DENIED;
    if (row == NULL || (row->family != AF_INET && row->family != AF_INET6) ||
        (row->on_link_prefix != 255 && row->on_link_prefix > (row->family == AF_INET ? 32 : 128)))
        return ERROR_INVALID_PARAMETER;
    return ERROR_SUCCESS;
}

static DWORD WINAPI CreateUnicastIpAddressEntry(const struct address *row)
{
    uint32_t error = check_address(row);
    struct ip_row *found;

    if (error != ERROR_SUCCESS)
        return error;
    nth_lock(&machine_lock);
    if (find_row(row->luid, row->family, &found) != ERROR_SUCCESS)
        error = ERROR_NOT_FOUND;
    else if (find_address(row) != NULL)
        error = ERROR_OBJECT_ALREADY_EXISTS;
    else {
        struct assigned *fresh = win32_calloc(sizeof(*fresh));
        fresh->address = *row;
        fresh->next = addresses;
        addresses = fresh;
    }
    nth_unlock(&machine_lock);
    return error;
}
WIN32_EXPORT("iphlpapi", CreateUnicastIpAddressEntry, 1, FAILS_CODE, ERROR_ACCESS_DENIED);

static DWORD WINAPI SetUnicastIpAddressEntry(const struct address *row)
{
    const uint32_t error = check_address(row);

    if (error != ERROR_SUCCESS)
        return error;
    nth_lock(&machine_lock);
    struct assigned *found = find_address(row);
    if (found != NULL)
        found->address.on_link_prefix = row->on_link_prefix;
    nth_unlock(&machine_lock);
    return found != NULL ? ERROR_SUCCESS : ERROR_NOT_FOUND;
}
WIN32_EXPORT("iphlpapi", SetUnicastIpAddressEntry, 1, FAILS_CODE, ERROR_ACCESS_DENIED);

/* "The IP address exists only as long as the adapter object exists." locked */
void addresses_forget(NET_LUID luid)
{
    for (struct assigned **link = &addresses; *link != NULL;) {
        struct assigned *address = *link;
        if (address->address.luid.Value == luid.Value) {
            *link = address->next;
            free(address);
        } else {
            link = &address->next;
        }
    }
}

/* ---- for tests ---- */

bool win32_ip_row(NET_LUID luid, bool is_ipv6, uint32_t *mtu, uint32_t *metric,
                  uint32_t *dad_transmits)
{
    struct ip_row *row;

    nth_lock(&machine_lock);
    find_row(luid, is_ipv6 ? AF_INET6 : AF_INET, &row);
    if (row != NULL) {
        *mtu = row->mtu;
        *metric = row->automatic_metric ? 0 : row->metric;
        *dad_transmits = row->dad_transmits;
    }
    nth_unlock(&machine_lock);
    return row != NULL;
}

unsigned win32_address_count(NET_LUID luid)
{
    unsigned count = 0;

    nth_lock(&machine_lock);
    for (const struct assigned *a = addresses; a != NULL; a = a->next)
        count += a->address.luid.Value == luid.Value;
    nth_unlock(&machine_lock);
    return count;
}

int win32_address_prefix(NET_LUID luid, const uint8_t *ip4)
{
    int prefix = -1;

    nth_lock(&machine_lock);
    for (const struct assigned *a = addresses; a != NULL; a = a->next)
        if (a->address.luid.Value == luid.Value && a->address.family == AF_INET &&
            memcmp(a->address.bytes + 4, ip4, 4) == 0)
            prefix = a->address.on_link_prefix;
    nth_unlock(&machine_lock);
    return prefix;
}

static void addresses_shutdown(void)
{
    while (addresses != NULL) {
        struct assigned *address = addresses;
        addresses = address->next;
        free(address);
    }
}
NTH_SUBSYSTEM(win32_iphlpapi, 48, NULL, addresses_shutdown);
