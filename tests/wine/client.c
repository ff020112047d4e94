/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Asks an adapter, without wintun.dll. Statuses are those of the kernel.
 * Usage: client query NAME      the answer to QUERY, a line for each value
 *        client register PATH   registers rings on the device of that path, says what came of it
 *                               and what QUERY then says of the adapter NAME behind it
 *        client read NAME       reads bundles, cancels that, reads again and closes the file; says
 *                               the status of the first read, and of which kind the session was
 *        client control NAME CODE   sends a control code of no input and output
 * NAME is "{NetCfgInstanceId}".
 */
#include "client/ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wintun-abi.h>

static struct client *self;

static client_status open_name(const char *name, client_handle *file)
{
    char path[256];

    _snprintf(path, sizeof(path), "%s%s", WINTUN_WIN32_PATH, name);
    return client_open(self, path, CLIENT_READ | CLIENT_WRITE, file);
}

static client_status ask(client_handle file, WINTUN_QUERY *answer)
{
    uint32_t bytes = 0;
    const client_status status =
        client_control(self, file, WINTUN_IOCTL_QUERY, NULL, 0, answer, sizeof(*answer), &bytes);

    return status >= 0 && bytes != sizeof(*answer) ? -1 : status;
}

static void print(const WINTUN_QUERY *q)
{
    static const char *const counters[] = {
        "to_user_packets", "to_user_bytes",      "to_user_no_session",   "to_user_paused",
        "to_user_full",    "to_user_corrupt",    "to_user_too_long",     "to_user_inaccessible",
        "to_user_signals", "to_stack_packets",   "to_stack_bytes",       "to_stack_not_ip",
        "to_stack_paused", "to_stack_no_memory", "to_stack_indications", "to_stack_wakeups"};

    printf("version %u\nndis 0x%x\nstate %u\nsession %u\nowner %u\nlink %u\n", q->Version,
           q->NdisVersion, q->State, q->SessionKind, (unsigned)q->OwnerProcess, q->LinkUp);
    for (unsigned i = 0; i < WintunCounterCount; i++)
        printf("%s %u\n", counters[i], (unsigned)q->Counters[i]);
}

static int query(const char *name)
{
    client_handle file;
    WINTUN_QUERY answer;
    client_status status = open_name(name, &file);

    if (status >= 0)
        status = ask(file, &answer);
    printf("status 0x%08x\n", (unsigned)status);
    if (status >= 0)
        print(&answer);
    return status < 0;
}

/* The name is the last part of both kinds of path. */
static int register_rings(const char *path)
{
    const char *name = strrchr(path, '\\');
    struct ring_session *session;
    client_handle file, other;
    WINTUN_QUERY answer;
    client_status status = client_open(self, path, CLIENT_READ | CLIENT_WRITE, &file);

    if (status >= 0)
        status = ring_open(self, file, NULL, &session);
    printf("status 0x%08x\n", (unsigned)status);
    if (status < 0)
        return 1;
    status = name ? open_name(name + 1, &other) : -1;
    if (status >= 0)
        status = ask(other, &answer);
    if (status < 0)
        return 1;
    print(&answer);
    client_close(self, file);
    /* The end of the session is a request of its own here; it is over when this one is answered. */
    status = ask(other, &answer);
    printf("after close: session %u\n", answer.SessionKind);
    client_close(self, other);
    return status < 0;
}

static unsigned session_kind(client_handle file)
{
    WINTUN_QUERY answer;

    return ask(file, &answer) < 0 ? ~0U : answer.SessionKind;
}

/* The handle that is closed last has no part in the session, so it sees its end. */
static int read_bundles(const char *name)
{
    uint8_t *buffer = client_alloc(self, WINTUN_BUNDLE_MIN_READ);
    struct client_io *io = client_alloc(self, sizeof(*io));
    client_handle file, other;
    char path[256];

    _snprintf(path, sizeof(path), "%s%s", WINTUN_WIN32_PATH, name);
    if (!buffer || !io || client_event(self, true, false, &io->event) < 0 ||
        client_open(self, path, CLIENT_READ | CLIENT_OVERLAPPED, &file) < 0 ||
        open_name(name, &other) < 0)
        return 1;
    printf("short read 0x%08x\n",
           (unsigned)client_read_start(self, file, buffer, WINTUN_BUNDLE_MIN_READ - 1, io));
    printf("read 0x%08x\n",
           (unsigned)client_read_start(self, file, buffer, WINTUN_BUNDLE_MIN_READ, io));
    printf("session %u\n", session_kind(other));
    client_cancel(self, file, io);
    client_wait(self, &io->event, 1, 5000000000ULL, NULL);
    printf("cancelled 0x%08x\n", (unsigned)io->status);
    client_read_start(self, file, buffer, WINTUN_BUNDLE_MIN_READ, io);
    client_close(self, file);
    client_wait(self, &io->event, 1, 5000000000ULL, NULL);
    printf("closed 0x%08x\n", (unsigned)io->status);
    printf("after close: session %u\n", session_kind(other));
    client_close(self, other);
    return 0;
}

static int control(const char *name, uint32_t code)
{
    client_handle file;
    client_status status = open_name(name, &file);

    if (status >= 0)
        status = client_control(self, file, code, NULL, 0, NULL, 0, NULL);
    printf("status 0x%08x\n", (unsigned)status);
    return status < 0;
}

int main(int argc, char **argv)
{
    self = client_create(NULL);
    if (argc == 3 && strcmp(argv[1], "query") == 0)
        return query(argv[2]);
    if (argc == 3 && strcmp(argv[1], "register") == 0)
        return register_rings(argv[2]);
    if (argc == 3 && strcmp(argv[1], "read") == 0)
        return read_bundles(argv[2]);
    if (argc == 4 && strcmp(argv[1], "control") == 0)
        return control(argv[2], strtoul(argv[3], NULL, 0));
    fprintf(stderr, "usage: client query NAME | register PATH | read NAME | control NAME CODE\n");
    return 2;
}
