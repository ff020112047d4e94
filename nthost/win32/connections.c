/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Network connections and their names: those of device nodes, and others' that a test adds. With
 * nci.dll's function that renames them, which is not documented: what its known callers expect.
 */
#include "win32/machine.h"

#include <stdlib.h>
#include <string.h>

struct foreign {
    struct foreign *next;
    WCHAR alias[ALIAS_CHARACTERS];
    GUID guid;
    NET_LUID luid;
};

static struct foreign *foreigners; /* machine_lock */

bool connection_find(const WCHAR *alias, NET_LUID *luid, GUID *guid)
{
    for (struct foreign *f = foreigners; f != NULL; f = f->next)
        if (win32_compare(f->alias, alias) == 0) {
            *luid = f->luid;
            *guid = f->guid;
            return true;
        }
    for (struct node *node = node_next(NULL); node != NULL; node = node_next(node))
        if (node->luid_index != 0 && win32_compare(node->alias, alias) == 0) {
            *luid = node_luid(node);
            *guid = node->guid;
            return true;
        }
    return false;
}

bool connection_by_guid(const GUID *guid, WCHAR **alias)
{
    for (struct foreign *f = foreigners; f != NULL; f = f->next)
        if (memcmp(&f->guid, guid, sizeof(*guid)) == 0) {
            *alias = f->alias;
            return true;
        }
    for (struct node *node = node_next(NULL); node != NULL; node = node_next(node))
        if (node->luid_index != 0 && memcmp(&node->guid, guid, sizeof(*guid)) == 0) {
            *alias = node->alias;
            return true;
        }
    return false;
}

bool connection_by_luid(NET_LUID luid, WCHAR **alias, GUID *guid, struct node **node)
{
    *node = NULL;
    for (struct foreign *f = foreigners; f != NULL; f = f->next)
        if (f->luid.Value == luid.Value) {
            *alias = f->alias;
            *guid = f->guid;
            return true;
        }
    for (struct node *n = node_next(NULL); n != NULL; n = node_next(n))
        if (n->luid_index != 0 && node_luid(n).Value == luid.Value) {
            *alias = n->alias;
            *guid = n->guid;
            *node = n;
            return true;
        }
    return false;
}

/* An error; ERROR_DUP_NAME when another connection has the name. locked */
static uint32_t rename_connection(const GUID *guid, LPCWSTR name)
{
    NET_LUID luid;
    GUID holder;
    WCHAR *alias = NULL;

    if (win32_length(name) >= ALIAS_CHARACTERS)
        return ERROR_INVALID_PARAMETER;
    if (connection_find(name, &luid, &holder) && memcmp(&holder, guid, sizeof(holder)) != 0)
        return ERROR_DUP_NAME;
    if (!connection_by_guid(guid, &alias))
        return ERROR_NOT_FOUND;
    memcpy(alias, name, (win32_length(name) + 1) * sizeof(WCHAR));
    return ERROR_SUCCESS;
}

uint32_t connection_rename(const GUID *guid, LPCWSTR name)
{
    nth_lock(&machine_lock);
    const uint32_t error = rename_connection(guid, name);
    nth_unlock(&machine_lock);
    return error;
}

static DWORD WINAPI NciSetConnectionName(const GUID *guid, LPCWSTR name)
{
    if (nth_process_token(win32_here()->nt) > NTH_TOKEN_ADMIN || win32_knobs_now.names_are_fixed)
        return ERROR_ACCESS_DENIED;
    return connection_rename(guid, name);
}
WIN32_EXPORT("nci", NciSetConnectionName, 2, FAILS_CODE, ERROR_ACCESS_DENIED);

/* ---- for tests ---- */

void win32_connection_add(const char *name)
{
    static uint32_t last;
    struct foreign *foreign = win32_calloc(sizeof(*foreign));
    WCHAR *wide = win32_wide(name);

    nth_lock(&machine_lock);
    memcpy(foreign->alias, wide, (win32_length(wide) + 1) * sizeof(WCHAR));
    foreign->guid = (GUID){0x666f7265, 0x6967, 0x4000, {0x80}};
    foreign->guid.Data4[7] = (UCHAR)++last;
    foreign->luid.Info.IfType = 6;
    foreign->luid.Info.NetLuidIndex = last;
    foreign->next = foreigners;
    foreigners = foreign;
    nth_unlock(&machine_lock);
    free(wide);
}

bool win32_connection_exists(const char *name)
{
    WCHAR *wide = win32_wide(name);
    NET_LUID luid;
    GUID guid;

    nth_lock(&machine_lock);
    const bool exists = connection_find(wide, &luid, &guid);
    nth_unlock(&machine_lock);
    free(wide);
    return exists;
}

static void connections_shutdown(void)
{
    while (foreigners != NULL) {
        struct foreign *foreign = foreigners;
        foreigners = foreign->next;
        free(foreign);
    }
}
NTH_SUBSYSTEM(win32_connections, 48, NULL, connections_shutdown);
