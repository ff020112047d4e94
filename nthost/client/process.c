/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A user process whose threads are host threads inside nthost: each call enters the process for its
 * duration. Buffers are passed on as they are; the kernel, not this file, finds out whether they
 * are the process's own. Never keeps a pointer into user memory beyond the call that uses it.
 */
#include "client/host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SCRATCH_PER_PAGE = 64, PAGE = 4096, PATH_LIMIT = 4096, MAX_WAIT = 64 };

struct scratch {
    struct scratch *next, *all;
    IO_STATUS_BLOCK *iosb; /* user memory */
    HANDLE event;
};

static struct nth_mutex clients_lock = NTH_MUTEX_INIT;
static struct client *clients; /* clients_lock */

/* ---- in and out of the process ---- */

struct call {
    bool was_outside;
};

/* A thread of the machine acts as a thread of the client's process; one that is outside comes in.
 */
static bool begin(struct client *client, struct call *call)
{
    call->was_outside = nth_self() == NULL;
    if (call->was_outside)
        nth_enter("client");
    if (nth_process_enter(client->process))
        return true;
    if (call->was_outside)
        nth_leave();
    return false;
}

static void end(const struct call *call)
{
    nth_process_leave();
    if (call->was_outside)
        nth_leave();
}

/* ---- birth and death ---- */

struct client *client_create(const struct client_config *config)
{
    static const enum nth_token tokens[] = {
        [CLIENT_SYSTEM] = NTH_TOKEN_SYSTEM,
        [CLIENT_ADMIN] = NTH_TOKEN_ADMIN,
        [CLIENT_ADMIN_FILTERED] = NTH_TOKEN_ADMIN_FILTERED,
        [CLIENT_USER] = NTH_TOKEN_USER,
    };
    struct client *client = calloc(1, sizeof(*client));

    if (client == NULL)
        return NULL;
    client->process = nth_process_create(config->name != NULL ? config->name : "client",
                                         tokens[config->token], config->wow64);
    if (client->process == NULL) {
        free(client);
        errno = EACCES;
        return NULL;
    }
    nth_lock(&clients_lock);
    client->next = clients;
    clients = client;
    nth_unlock(&clients_lock);
    return client;
}

void client_kill(struct client *client)
{
    if (client->child != NULL)
        client_child_end(client);
    nth_process_kill(client->process);
}

/* Nobody else uses the client: that is the caller's promise, as for any destructor. */
void client_destroy(struct client *client)
{
    if (client == NULL)
        return;
    client_kill(client);
    if (client->child != NULL)
        client_child_free(client);
    nth_lock(&clients_lock);
    for (struct client **link = &clients; *link != NULL; link = &(*link)->next) {
        if (*link == client) {
            *link = client->next;
            break;
        }
    }
    nth_unlock(&clients_lock);
    for (struct scratch *scratch = client->all_scratch, *next; scratch != NULL; scratch = next) {
        next = scratch->all;
        free(scratch);
    }
    nth_object_release(client->process);
    free(client);
}

uint32_t client_process_id(struct client *client)
{
    return HandleToULong(nth_process_id(client->process));
}

/* ---- memory ---- */

void *client_alloc(struct client *client, size_t bytes)
{
    struct call call;

    if (!begin(client, &call))
        return NULL;
    void *address = nth_user_alloc(client->process, bytes);
    end(&call);
    return address;
}

void client_free(struct client *client, void *address, size_t bytes)
{
    struct call call;

    if (!begin(client, &call))
        return;
    nth_user_free(client->process, address, bytes);
    end(&call);
}

client_status client_protect(struct client *client, void *address, size_t bytes, bool readable,
                             bool writable)
{
    struct call call;

    if (!begin(client, &call))
        return STATUS_PROCESS_IS_TERMINATING;
    const bool is_own = nth_user_owner((uintptr_t)address) == client->process;
    if (is_own)
        nth_user_protect(client->process, address, bytes,
                         (readable ? PROT_READ : 0) | (writable ? PROT_WRITE : 0));
    end(&call);
    return is_own ? STATUS_SUCCESS : STATUS_CONFLICTING_ADDRESSES;
}

/* ---- handles ---- */

/* One code point; 0 at the end, or a value above 0x10FFFF for what is no UTF-8. */
static uint32_t next_code_point(const unsigned char **text)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    uint32_t c = *(*text)++;
    const int more = c < 0x80 ? 0 : c >> 5 == 6 ? 1 : c >> 4 == 14 ? 2 : c >> 3 == 30 ? 3 : -1;

    if (more < 0)
        return UINT32_MAX;
    if (more > 0)
        c &= 0x3fu >> more;
    for (int i = 0; i < more; i++, (*text)++) {
        if ((**text & 0xc0) != 0x80)
            return UINT32_MAX;
        c = c << 6 | (**text & 0x3f);
    }
    return c < least[more] || (c >= 0xd800 && c < 0xe000) ? UINT32_MAX : c;
}

/* Win32's rule: \\.\ and \\?\ are the \?? directory. False: too long or no UTF-8. */
static bool nt_path(const char *path, WCHAR *buffer, UNICODE_STRING *result)
{
    const unsigned char *text = (const unsigned char *)path;
    size_t length = 0;
    uint32_t c = 0;

    if (strncmp(path, "\\\\.\\", 4) == 0 || strncmp(path, "\\\\?\\", 4) == 0) {
        memcpy(buffer, L"\\??\\", 4 * sizeof(WCHAR));
        length = 4;
        text += 4;
    }
    while ((c = next_code_point(&text)) != 0) {
        if (c > 0x10ffff || length + 2 > PATH_LIMIT)
            return false;
        if (c >= 0x10000) {
            buffer[length++] = (WCHAR)(0xd800 + ((c - 0x10000) >> 10));
            c = 0xdc00 + (c & 0x3ff);
        }
        buffer[length++] = (WCHAR)c;
    }
    *result = (UNICODE_STRING){.Length = (USHORT)(length * sizeof(WCHAR)),
                               .MaximumLength = (USHORT)(length * sizeof(WCHAR)),
                               .Buffer = buffer};
    return true;
}

static HANDLE nt_handle(client_handle handle)
{
    return (HANDLE)(uintptr_t)handle;
}

static client_status open_at(struct client *client, client_handle root, const char *path,
                             unsigned flags, client_handle *handle)
{
    WCHAR buffer[PATH_LIMIT];
    UNICODE_STRING name;
    HANDLE opened = NULL;
    struct call call;

    *handle = 0;
    if (!nt_path(path, buffer, &name))
        return STATUS_OBJECT_NAME_INVALID;
    /* What CreateFile asks for beside the caller's rights. */
    ACCESS_MASK access = SYNCHRONIZE | FILE_READ_ATTRIBUTES;
    access |= (flags & CLIENT_READ) != 0 ? GENERIC_READ : 0;
    access |= (flags & CLIENT_WRITE) != 0 ? GENERIC_WRITE : 0;
    access |= (flags & CLIENT_MAXIMUM) != 0 ? MAXIMUM_ALLOWED : 0;
    const ULONG options = (flags & CLIENT_OVERLAPPED) != 0 ? 0 : FILE_SYNCHRONOUS_IO_NONALERT;
    const ULONG share = FILE_SHARE_READ | FILE_SHARE_WRITE;
    if (!begin(client, &call))
        return STATUS_PROCESS_IS_TERMINATING;
    const NTSTATUS status =
        root != 0 ? nth_io_create_relative(nt_handle(root), &name, access, share, options, &opened)
                  : nth_io_create(&name, access, share, options, false, &opened);
    end(&call);
    if (NT_SUCCESS(status))
        *handle = (client_handle)(uintptr_t)opened;
    return status;
}

client_status client_open(struct client *client, const char *path, unsigned flags,
                          client_handle *handle)
{
    return open_at(client, 0, path, flags, handle);
}

client_status client_open_relative(struct client *client, client_handle root, const char *name,
                                   unsigned flags, client_handle *handle)
{
    return open_at(client, root, name, flags, handle);
}

client_status client_close(struct client *client, client_handle handle)
{
    struct call call;

    if (!begin(client, &call))
        return STATUS_PROCESS_IS_TERMINATING;
    const NTSTATUS status = nth_handle_close(client->process, nt_handle(handle));
    end(&call);
    return status;
}

client_status client_duplicate(struct client *from, client_handle handle, struct client *to,
                               client_handle *result)
{
    HANDLE copy = NULL;
    struct call call;

    *result = 0;
    if (!begin(from, &call))
        return STATUS_PROCESS_IS_TERMINATING;
    const NTSTATUS status =
        nth_handle_duplicate(from->process, nt_handle(handle), to->process, &copy);
    end(&call);
    if (NT_SUCCESS(status))
        *result = (client_handle)(uintptr_t)copy;
    return status;
}

client_status client_restrict(struct client *client, client_handle handle, uint32_t access,
                              client_handle *result)
{
    HANDLE copy = NULL;
    void *body = NULL;
    struct call call;

    *result = 0;
    if (!begin(client, &call))
        return STATUS_PROCESS_IS_TERMINATING;
    NTSTATUS status = nth_handle_lookup(client->process, nt_handle(handle), access, -1, &body);
    if (NT_SUCCESS(status)) {
        status = nth_handle_insert(client->process, body, access, &copy);
        nth_object_release(body);
    }
    end(&call);
    if (NT_SUCCESS(status))
        *result = (client_handle)(uintptr_t)copy;
    return status;
}

/* ---- events and waits ---- */

static NTSTATUS make_event(struct client *client, EVENT_TYPE type, bool signalled, HANDLE *handle)
{
    void *event = nth_event_create(type, signalled);
    const NTSTATUS status = nth_handle_insert(client->process, event, EVENT_ALL_ACCESS, handle);

    nth_object_release(event);
    return status;
}

client_status client_event(struct client *client, bool manual_reset, bool signalled,
                           client_handle *event)
{
    HANDLE handle = NULL;
    struct call call;

    *event = 0;
    if (!begin(client, &call))
        return STATUS_PROCESS_IS_TERMINATING;
    const NTSTATUS status = make_event(
        client, manual_reset ? NotificationEvent : SynchronizationEvent, signalled, &handle);
    end(&call);
    if (NT_SUCCESS(status))
        *event = (client_handle)(uintptr_t)handle;
    return status;
}

static client_status change_event(struct client *client, client_handle event, bool is_set)
{
    void *body = NULL;
    struct call call;

    if (!begin(client, &call))
        return STATUS_PROCESS_IS_TERMINATING;
    const NTSTATUS status = nth_handle_lookup(client->process, nt_handle(event), EVENT_MODIFY_STATE,
                                              NTH_OB_EVENT, &body);
    if (NT_SUCCESS(status)) {
        if (is_set)
            KeSetEvent(body, 0, FALSE);
        else
            KeResetEvent(body);
        nth_object_release(body);
    }
    end(&call);
    return status;
}

client_status client_event_set(struct client *client, client_handle event)
{
    return change_event(client, event, true);
}

client_status client_event_reset(struct client *client, client_handle event)
{
    return change_event(client, event, false);
}

/* A relative NT time; NULL for ever. A wait never ends early, so it is rounded up. */
static LARGE_INTEGER *nt_timeout(uint64_t ns, LARGE_INTEGER *time)
{
    if (ns == UINT64_MAX)
        return NULL;
    time->QuadPart = -(LONGLONG)(ns / 100 + (ns % 100 != 0));
    return time;
}

static NTSTATUS wait_objects(const struct client *client, const client_handle *handles,
                             unsigned count, const LARGE_INTEGER *timeout)
{
    void *bodies[MAX_WAIT];
    void *objects[MAX_WAIT];
    unsigned held = 0;
    NTSTATUS status = STATUS_SUCCESS;

    while (held < count && NT_SUCCESS(status)) {
        status = nth_handle_lookup(client->process, nt_handle(handles[held]), SYNCHRONIZE, -1,
                                   &bodies[held]);
        if (!NT_SUCCESS(status))
            break;
        objects[held] = nth_object_waitable(bodies[held]);
        if (objects[held++] == NULL)
            status = STATUS_OBJECT_TYPE_MISMATCH;
    }
    if (NT_SUCCESS(status))
        status = nth_wait(count, objects, NTH_WAIT_ANY, false, timeout);
    while (held > 0)
        nth_object_release(bodies[--held]);
    return status;
}

client_status client_wait(struct client *client, const client_handle *handles, unsigned count,
                          uint64_t timeout_ns, unsigned *index)
{
    LARGE_INTEGER time;
    struct call call;

    if (index != NULL)
        *index = 0;
    if (count == 0 || count > MAX_WAIT)
        return STATUS_INVALID_PARAMETER;
    if (!begin(client, &call))
        return STATUS_PROCESS_IS_TERMINATING;
    const NTSTATUS status = wait_objects(client, handles, count, nt_timeout(timeout_ns, &time));
    end(&call);
    if (status < 0 || status >= MAX_WAIT)
        return status;
    if (index != NULL)
        *index = (unsigned)status;
    return STATUS_SUCCESS;
}

/* ---- requests ---- */

/* A page of status blocks for the synchronous requests of the process. */
static void grow_scratch(struct client *client)
{
    IO_STATUS_BLOCK *page = nth_user_alloc(client->process, PAGE);

    for (unsigned i = 0; page != NULL && i < SCRATCH_PER_PAGE; i++) {
        struct scratch *scratch = calloc(1, sizeof(*scratch));
        if (scratch == NULL)
            nth_fail("out of memory");
        scratch->iosb = (IO_STATUS_BLOCK *)((char *)page + (size_t)i * (PAGE / SCRATCH_PER_PAGE));
        if (!NT_SUCCESS(make_event(client, SynchronizationEvent, false, &scratch->event))) {
            free(scratch);
            break;
        }
        nth_lock(&clients_lock);
        scratch->next = client->scratch;
        client->scratch = scratch;
        scratch->all = client->all_scratch;
        client->all_scratch = scratch;
        nth_unlock(&clients_lock);
    }
}

static struct scratch *take_scratch(struct client *client)
{
    for (int i = 0; i < 2; i++) {
        nth_lock(&clients_lock);
        struct scratch *scratch = client->scratch;
        if (scratch != NULL)
            client->scratch = scratch->next;
        nth_unlock(&clients_lock);
        if (scratch != NULL)
            return scratch;
        grow_scratch(client);
    }
    return NULL;
}

static void put_scratch(struct client *client, struct scratch *scratch)
{
    nth_lock(&clients_lock);
    scratch->next = client->scratch;
    client->scratch = scratch;
    nth_unlock(&clients_lock);
}

enum verb { VERB_CONTROL, VERB_READ, VERB_WRITE };
struct request {
    enum verb verb;
    client_handle file;
    uint32_t code;
    const void *in;
    uint32_t in_bytes;
    void *out;
    uint32_t out_bytes;
};

static NTSTATUS send_request(const struct request *request, HANDLE event, void *apc_context,
                             IO_STATUS_BLOCK *iosb)
{
    void *in = (void *)(uintptr_t)request->in;

    switch (request->verb) {
    case VERB_READ:
        return nth_io_read(nt_handle(request->file), event, apc_context, iosb, request->out,
                           request->out_bytes);
    case VERB_WRITE:
        return nth_io_write(nt_handle(request->file), event, apc_context, iosb, in,
                            request->in_bytes);
    default:
        return nth_io_control(nt_handle(request->file), event, apc_context, iosb, request->code, in,
                              request->in_bytes, request->out, request->out_bytes);
    }
}

/* On a handle for overlapped requests the event tells the end, as GetOverlappedResult would. A
 * request that its process's death interrupts keeps the scratch: its cancelled IRP still writes
 * there, and the process needs it no more. */
static NTSTATUS run_request(struct client *client, const struct request *request,
                            struct scratch *scratch, uint32_t *transferred)
{
    const client_handle event = (client_handle)(uintptr_t)scratch->event;

    IO_STATUS_BLOCK result = {.Status = STATUS_PENDING};

    /* A program may have freed or protected this page of its memory. */
    if (!NT_SUCCESS(nth_copy_guarded(scratch->iosb, &result, sizeof(result))))
        return STATUS_ACCESS_VIOLATION;
    const NTSTATUS status = send_request(request, scratch->event, NULL, scratch->iosb);
    if (status == STATUS_PENDING) {
        const NTSTATUS waited = wait_objects(client, &event, 1, NULL);
        if (waited != STATUS_SUCCESS)
            return waited;
    }
    if (NT_ERROR(status))
        result.Status = status;
    else if (!NT_SUCCESS(nth_copy_guarded(&result, scratch->iosb, sizeof(result))))
        return STATUS_ACCESS_VIOLATION;
    else if (status != STATUS_PENDING)
        result.Status = status;
    if (!NT_ERROR(result.Status))
        *transferred = (uint32_t)result.Information;
    put_scratch(client, scratch);
    return result.Status;
}

static client_status synchronous(struct client *client, const struct request *request,
                                 uint32_t *transferred)
{
    uint32_t ignored = 0;
    struct call call;
    uint32_t *result = transferred != NULL ? transferred : &ignored;

    *result = 0;
    if (!begin(client, &call))
        return STATUS_PROCESS_IS_TERMINATING;
    struct scratch *scratch = take_scratch(client);
    const NTSTATUS status = scratch != NULL ? run_request(client, request, scratch, result)
                                            : STATUS_INSUFFICIENT_RESOURCES;
    end(&call);
    return status;
}

/* Whether this file itself may touch it, guarded: only the process's own memory. */
static bool is_own(const struct client *client, const void *address, size_t bytes)
{
    const uintptr_t first = (uintptr_t)address, last = first + bytes - 1;

    return last > first && nth_user_owner(first) == client->process &&
           nth_user_owner(last) == client->process;
}

/* An error at once is not written to the status block by the kernel; here the client finds it there
 * all the same. */
static client_status asynchronous(struct client *client, const struct request *request,
                                  struct client_io *io)
{
    IO_STATUS_BLOCK *iosb = (IO_STATUS_BLOCK *)io;
    const IO_STATUS_BLOCK pending = {.Status = STATUS_PENDING};
    client_handle event = 0;
    struct call call;

    _Static_assert(offsetof(IO_STATUS_BLOCK, Information) ==
                       offsetof(struct client_io, transferred),
                   "client_io begins with an IO_STATUS_BLOCK");
    if (!begin(client, &call))
        return STATUS_PROCESS_IS_TERMINATING;
    NTSTATUS status = is_own(client, io, sizeof(*io)) ? STATUS_SUCCESS : STATUS_ACCESS_VIOLATION;
    if (NT_SUCCESS(status))
        status = nth_copy_guarded(&event, (const char *)io + offsetof(struct client_io, event),
                                  sizeof(event));
    if (NT_SUCCESS(status))
        status = nth_copy_guarded(iosb, &pending, sizeof(pending));
    if (NT_SUCCESS(status)) {
        status = send_request(request, nt_handle(event), io, iosb);
        const IO_STATUS_BLOCK failed = {.Status = status};
        if (NT_ERROR(status))
            nth_copy_guarded(iosb, &failed, sizeof(failed));
    }
    end(&call);
    return status;
}

static struct request control_request(client_handle file, uint32_t code, const void *in,
                                      uint32_t in_bytes, void *out, uint32_t out_bytes)
{
    return (struct request){.verb = VERB_CONTROL,
                            .file = file,
                            .code = code,
                            .in = in,
                            .in_bytes = in_bytes,
                            .out = out,
                            .out_bytes = out_bytes};
}

client_status client_control(struct client *client, client_handle file, uint32_t code,
                             const void *in, uint32_t in_bytes, void *out, uint32_t out_bytes,
                             uint32_t *transferred)
{
    const struct request request = control_request(file, code, in, in_bytes, out, out_bytes);

    return synchronous(client, &request, transferred);
}

client_status client_read(struct client *client, client_handle file, void *buffer, uint32_t bytes,
                          uint32_t *transferred)
{
    const struct request request = {
        .verb = VERB_READ, .file = file, .out = buffer, .out_bytes = bytes};

    return synchronous(client, &request, transferred);
}

client_status client_write(struct client *client, client_handle file, const void *buffer,
                           uint32_t bytes, uint32_t *transferred)
{
    const struct request request = {
        .verb = VERB_WRITE, .file = file, .in = buffer, .in_bytes = bytes};

    return synchronous(client, &request, transferred);
}

client_status client_read_start(struct client *client, client_handle file, void *buffer,
                                uint32_t bytes, struct client_io *io)
{
    const struct request request = {
        .verb = VERB_READ, .file = file, .out = buffer, .out_bytes = bytes};

    return asynchronous(client, &request, io);
}

client_status client_write_start(struct client *client, client_handle file, const void *buffer,
                                 uint32_t bytes, struct client_io *io)
{
    const struct request request = {
        .verb = VERB_WRITE, .file = file, .in = buffer, .in_bytes = bytes};

    return asynchronous(client, &request, io);
}

client_status client_control_start(struct client *client, client_handle file, uint32_t code,
                                   const void *in, uint32_t in_bytes, void *out, uint32_t out_bytes,
                                   struct client_io *io)
{
    const struct request request = control_request(file, code, in, in_bytes, out, out_bytes);

    return asynchronous(client, &request, io);
}

client_status client_cancel(struct client *client, client_handle file, struct client_io *io)
{
    struct call call;

    if (!begin(client, &call))
        return STATUS_PROCESS_IS_TERMINATING;
    const NTSTATUS status = nth_io_cancel(nt_handle(file), (IO_STATUS_BLOCK *)io);
    end(&call);
    return status;
}

/* ---- completion ports ---- */

client_status client_port(struct client *client, client_handle *port)
{
    HANDLE handle = NULL;
    struct call call;

    *port = 0;
    if (!begin(client, &call))
        return STATUS_PROCESS_IS_TERMINATING;
    const NTSTATUS status = nth_io_port_create(&handle);
    end(&call);
    if (NT_SUCCESS(status))
        *port = (client_handle)(uintptr_t)handle;
    return status;
}

client_status client_port_bind(struct client *client, client_handle port, client_handle file,
                               uint64_t key)
{
    struct call call;

    if (!begin(client, &call))
        return STATUS_PROCESS_IS_TERMINATING;
    const NTSTATUS status = nth_io_port_bind(nt_handle(port), nt_handle(file), (ULONG_PTR)key);
    end(&call);
    return status;
}

client_status client_port_remove(struct client *client, client_handle port, uint64_t timeout_ns,
                                 uint64_t *key, struct client_io **io)
{
    LARGE_INTEGER time;
    ULONG_PTR found = 0;
    void *context = NULL;
    IO_STATUS_BLOCK iosb = {0};
    struct call call;

    if (!begin(client, &call))
        return STATUS_PROCESS_IS_TERMINATING;
    const NTSTATUS status =
        nth_io_port_remove(nt_handle(port), &found, &context, &iosb, nt_timeout(timeout_ns, &time));
    end(&call);
    *key = found;
    *io = context;
    return status;
}

/* ---- shutdown ---- */

/* Programs that still run end before drivers are unloaded; whoever made them still frees them. */
static void clients_shutdown(void)
{
    nth_lock(&clients_lock);
    struct client *client = clients;
    nth_unlock(&clients_lock);
    for (; client != NULL; client = client->next)
        client_kill(client);
}
NTH_SUBSYSTEM(clients, 50, NULL, clients_shutdown);
