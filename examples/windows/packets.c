/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * examples/packets.h over wintun.dll. The adapter is named as Windows shows it, or by its interface
 * GUID, "{...}"; one of a name that does not exist is created, and goes with the program. "ring" is
 * a session of wintun.dll, whose packets are received and sent in place; "file" is bundles.c.
 */
#include "../packets.h"

#include "bundles.h"

#include <wintun-loader.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RING = 0x400000 };

struct packets {
    HMODULE library;
    WINTUN_API api;
    WINTUN_ADAPTER_HANDLE adapter;
    struct bundles *bundles; /* NULL: rings */
    WINTUN_SESSION_HANDLE session;
    HANDLE event;
    BYTE *next; /* packets_wait has received it, packets_receive hands it out */
    DWORD next_bytes;
};

/* What an enumeration looks for, and what it found. */
struct search {
    const char *guid_text; /* NULL: the adapter with this luid */
    NET_LUID luid;
    bool is_found;
    GUID guid;
    WCHAR name[128];
};

static char error_text[1024];

const char *packets_error(void)
{
    return error_text;
}

/* The text of the DLL for what just failed, or that of Windows. */
static struct packets *fail(struct packets *packets, const char *what, bool is_windows)
{
    const DWORD code = GetLastError();
    WCHAR wide[400] = L"";
    char reason[1000];

    if (is_windows || !packets->api.GetLastErrorText ||
        packets->api.GetLastErrorText(wide, sizeof(wide) / sizeof(wide[0])) <= 1)
        FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, code, 0,
                       wide, sizeof(wide) / sizeof(wide[0]), NULL);
    if (!WideCharToMultiByte(CP_UTF8, 0, wide, -1, reason, sizeof(reason), NULL, NULL))
        reason[0] = 0;
    reason[strcspn(reason, "\r\n")] = 0;
    snprintf(error_text, sizeof(error_text), "%s: %.900s (error %lu)", what, reason, code);
    packets_close(packets);
    return NULL;
}

/* ---- the adapter ---- */

static bool is_looked_for(const struct search *search, const WINTUN_ADAPTER_INFO *info)
{
    const GUID *guid = &info->Guid;
    char text[40];

    if (!search->guid_text)
        return info->Luid.Value == search->luid.Value;
    snprintf(text, sizeof(text), "{%08lX-%04X-%04X-%02X%02X-%02X%02X%02X%02X%02X%02X}", guid->Data1,
             guid->Data2, guid->Data3, guid->Data4[0], guid->Data4[1], guid->Data4[2],
             guid->Data4[3], guid->Data4[4], guid->Data4[5], guid->Data4[6], guid->Data4[7]);
    return _stricmp(text, search->guid_text) == 0;
}

static BOOL CALLBACK compare(const WINTUN_ADAPTER_INFO *info, void *context)
{
    struct search *search = context;

    if (!(info->Flags & WINTUN_INFO_READY) || !is_looked_for(search, info))
        return TRUE;
    search->is_found = true;
    search->guid = info->Guid;
    wcsncpy(search->name, info->Name, sizeof(search->name) / sizeof(search->name[0]) - 1);
    return FALSE;
}

static bool find(const struct packets *packets, struct search *search)
{
    if (!packets->api.EnumAdapters || !packets->api.EnumAdapters(compare, search))
        return false;
    if (!search->is_found)
        SetLastError(ERROR_NOT_FOUND);
    return search->is_found;
}

/* The adapter, which is there already or is made. */
static WINTUN_ADAPTER_HANDLE open_adapter(const struct packets *packets, const char *name)
{
    struct search search = {.guid_text = name};

    if (name[0] == '{')
        return find(packets, &search) ? packets->api.OpenAdapter(search.name) : NULL;
    if (!MultiByteToWideChar(CP_ACP, 0, name, -1, search.name, /* main has them in this code page */
                             sizeof(search.name) / sizeof(search.name[0])))
        return NULL;
    WINTUN_ADAPTER_HANDLE adapter = packets->api.OpenAdapter(search.name);
    if (!adapter && GetLastError() == ERROR_NOT_FOUND)
        adapter = packets->api.CreateAdapter(search.name, L"Example", NULL);
    return adapter;
}

/* ---- sessions ---- */

static struct packets *open_ring(struct packets *packets)
{
    packets->session = packets->api.StartSession(packets->adapter, RING);
    if (!packets->session)
        return fail(packets, "cannot start a session", false);
    packets->event = packets->api.GetReadWaitEvent(packets->session);
    return packets;
}

static struct packets *open_file(struct packets *packets)
{
    struct search search = {0};

    packets->api.GetAdapterLUID(packets->adapter, &search.luid);
    if (!find(packets, &search))
        return fail(packets, "cannot find the adapter's device", false);
    packets->bundles = bundles_open(&search.guid);
    return packets->bundles ? packets : fail(packets, "cannot open the adapter's device", true);
}

struct packets *packets_open(const char *adapter, const char *transport)
{
    const bool is_file = strcmp(transport, "file") == 0;
    struct packets *packets = calloc(1, sizeof(*packets));

    if (!packets || (!is_file && strcmp(transport, "ring") != 0)) {
        snprintf(error_text, sizeof(error_text), "%s",
                 packets ? "the transport is ring or file" : "there is no memory");
        free(packets);
        return NULL;
    }
    packets->library = WintunLoad(NULL, &packets->api);
    if (!packets->library)
        return fail(packets, "cannot load wintun.dll", true);
    packets->adapter = open_adapter(packets, adapter);
    if (!packets->adapter)
        return fail(packets, "cannot open the adapter", false);
    return is_file ? open_file(packets) : open_ring(packets);
}

/* The event says that there may be packets, not that there are: so receive, wait, receive. */
int packets_wait(struct packets *packets, unsigned timeout_ms)
{
    if (packets->bundles)
        return bundles_wait(packets->bundles, timeout_ms);
    for (int turn = 0; turn < 2 && !packets->next; turn++) {
        if (turn)
            WaitForSingleObject(packets->event, timeout_ms);
        packets->next = packets->api.ReceivePacket(packets->session, &packets->next_bytes);
        if (!packets->next && GetLastError() != ERROR_NO_MORE_ITEMS)
            return -1;
    }
    return packets->next ? 0 : 1;
}

const uint8_t *packets_receive(struct packets *packets, uint32_t *bytes)
{
    BYTE *packet = packets->next;
    DWORD size = packets->next_bytes;

    if (packets->bundles)
        return bundles_receive(packets->bundles, bytes);
    packets->next = NULL;
    if (!packet)
        packet = packets->api.ReceivePacket(packets->session, &size);
    *bytes = size;
    return packet;
}

void packets_release(struct packets *packets, const uint8_t *packet)
{
    if (packets->bundles)
        bundles_release(packets->bundles);
    else
        packets->api.ReleaseReceivePacket(packets->session, packet);
}

uint8_t *packets_allocate(struct packets *packets, uint32_t bytes)
{
    return packets->bundles ? bundles_allocate(packets->bundles, bytes)
                            : packets->api.AllocateSendPacket(packets->session, bytes);
}

void packets_send(struct packets *packets, const uint8_t *packet)
{
    if (packets->bundles)
        bundles_send(packets->bundles);
    else
        packets->api.SendPacket(packets->session, packet);
}

/* A ring has been told of each packet already. */
void packets_flush(struct packets *packets)
{
    if (packets->bundles)
        bundles_flush(packets->bundles);
}

void packets_close(struct packets *packets)
{
    if (!packets)
        return;
    bundles_close(packets->bundles);
    if (packets->session)
        packets->api.EndSession(packets->session);
    if (packets->adapter)
        packets->api.CloseAdapter(packets->adapter);
    if (packets->library)
        FreeLibrary(packets->library);
    free(packets);
}
