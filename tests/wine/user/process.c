/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * nthost/client/client.h for a real Windows process: the system calls themselves, so that what the
 * kernel answers is seen as it is. With it the files of nthost/client that use rings and bundles,
 * and the examples over them, are Windows programs. Only what those need is here.
 */
#include "client/client.h"

#include <windows.h>

#include <winternl.h>

#define SYNC_ACCESS ((ACCESS_MASK)SYNCHRONIZE)

NTSTATUS NTAPI NtReadFile(HANDLE file, HANDLE event, void *apc, void *context, IO_STATUS_BLOCK *io,
                          void *buffer, ULONG bytes, LARGE_INTEGER *offset, ULONG *key);
NTSTATUS NTAPI NtWriteFile(HANDLE file, HANDLE event, void *apc, void *context, IO_STATUS_BLOCK *io,
                           const void *buffer, ULONG bytes, LARGE_INTEGER *offset, ULONG *key);
NTSTATUS NTAPI NtSetEvent(HANDLE event, LONG *before);
NTSTATUS NTAPI NtWaitForMultipleObjects(ULONG count, const HANDLE *handles, BOOLEAN any,
                                        BOOLEAN is_alertable, const LARGE_INTEGER *timeout);
NTSTATUS NTAPI NtCreateEvent(HANDLE *event, ACCESS_MASK access, OBJECT_ATTRIBUTES *attributes,
                             int type, BOOLEAN is_set);

struct client {
    uint32_t id;
};

struct client *client_create(const struct client_config *config)
{
    static struct client self;

    self.id = GetCurrentProcessId();
    return &self;
}

void client_destroy(struct client *client) {}

void *client_alloc(struct client *client, size_t bytes)
{
    return VirtualAlloc(NULL, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

/* What the kernel has locked once is a view from then on, which is not freed so (see memory.c of
 * the double): that memory goes with the process. */
void client_free(struct client *client, void *address, size_t bytes)
{
    VirtualFree(address, 0, MEM_RELEASE);
}

client_status client_open(struct client *client, const char *path, unsigned flags,
                          client_handle *handle)
{
    WCHAR wide[512];
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK io;
    HANDLE file = NULL;
    const ACCESS_MASK access = SYNC_ACCESS | (flags & CLIENT_READ ? FILE_GENERIC_READ : 0) |
                               (flags & CLIENT_WRITE ? FILE_GENERIC_WRITE : 0);

    *handle = 0;
    if (!MultiByteToWideChar(CP_UTF8, 0, path, -1, wide, 512) ||
        !RtlDosPathNameToNtPathName_U(wide, &name, NULL, NULL))
        return (client_status)0xC0000033; /* STATUS_OBJECT_NAME_INVALID */
    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE, NULL, NULL);
    const NTSTATUS status =
        NtCreateFile(&file, access, &attributes, &io, NULL, 0,
                     FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, FILE_OPEN,
                     flags & CLIENT_OVERLAPPED ? 0 : FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0);
    RtlFreeUnicodeString(&name);
    *handle = (client_handle)(ULONG_PTR)file;
    return status;
}

static HANDLE handle_of(client_handle handle)
{
    return (HANDLE)(ULONG_PTR)handle;
}

client_status client_close(struct client *client, client_handle handle)
{
    return NtClose(handle_of(handle));
}

/* A request on a handle that is not overlapped: done when the call returns. */
static client_status done(NTSTATUS status, const IO_STATUS_BLOCK *io, uint32_t *transferred)
{
    if (transferred)
        *transferred = NT_SUCCESS(status) ? (uint32_t)io->Information : 0;
    return status;
}

client_status client_control(struct client *client, client_handle file, uint32_t code,
                             const void *in, uint32_t in_bytes, void *out, uint32_t out_bytes,
                             uint32_t *transferred)
{
    IO_STATUS_BLOCK io = {0};
    const NTSTATUS status = NtDeviceIoControlFile(handle_of(file), NULL, NULL, NULL, &io, code,
                                                  (void *)(ULONG_PTR)in, in_bytes, out, out_bytes);

    return done(status, &io, transferred);
}

client_status client_write(struct client *client, client_handle file, const void *buffer,
                           uint32_t bytes, uint32_t *transferred)
{
    IO_STATUS_BLOCK io = {0};
    const NTSTATUS status =
        NtWriteFile(handle_of(file), NULL, NULL, NULL, &io, buffer, bytes, NULL, NULL);

    return done(status, &io, transferred);
}

_Static_assert(sizeof(IO_STATUS_BLOCK) == offsetof(struct client_io, event), "the block is first");

client_status client_read_start(struct client *client, client_handle file, void *buffer,
                                uint32_t bytes, struct client_io *io)
{
    LARGE_INTEGER offset = {.QuadPart = 0};

    io->status = (uint64_t)STATUS_PENDING;
    return NtReadFile(handle_of(file), handle_of(io->event), NULL, NULL, (IO_STATUS_BLOCK *)io,
                      buffer, bytes, &offset, NULL);
}

client_status client_cancel(struct client *client, client_handle file, struct client_io *io)
{
    return CancelIoEx(handle_of(file), (OVERLAPPED *)io) ? 0 : (client_status)GetLastError();
}

client_status client_event(struct client *client, bool manual_reset, bool signalled,
                           client_handle *event)
{
    HANDLE handle = NULL;
    const NTSTATUS status =
        NtCreateEvent(&handle, EVENT_ALL_ACCESS, NULL, !manual_reset, signalled);

    *event = (client_handle)(ULONG_PTR)handle;
    return status;
}

client_status client_event_set(struct client *client, client_handle event)
{
    return NtSetEvent(handle_of(event), NULL);
}

client_status client_wait(struct client *client, const client_handle *handles, unsigned count,
                          uint64_t timeout_ns, unsigned *index)
{
    LARGE_INTEGER timeout = {.QuadPart = -(LONGLONG)(timeout_ns / 100)};
    HANDLE all[MAXIMUM_WAIT_OBJECTS];

    for (unsigned i = 0; i < count; i++)
        all[i] = handle_of(handles[i]);
    const NTSTATUS status = NtWaitForMultipleObjects(count, all, TRUE, FALSE,
                                                     timeout_ns == UINT64_MAX ? NULL : &timeout);
    if (status >= 0 && status < (NTSTATUS)count) {
        if (index)
            *index = (unsigned)status;
        return 0;
    }
    return status;
}
