/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A user process as a Linux child of nthost: every call of client.h becomes a message on the
 * calling thread's own connection. Memory is the process's slot, mapped at the address that it has
 * in nthost. Links without any other part of nthost.
 */
#include "client/wire.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* NTSTATUS values that this side gives by itself. */
#define STATUS_PORT_DISCONNECTED ((client_status)0xC0000037)
#define STATUS_INVALID_PARAMETER ((client_status)0xC000000D)
#define STATUS_TOO_LONG          ((client_status)0xC0000106)

struct client {
    int control; /* first connection */
    uint32_t process_id;
    void *slot;
    size_t slot_bytes;
};

static pthread_mutex_t control_lock = PTHREAD_MUTEX_INITIALIZER;
static struct client the_client = {.control = -1}; /* one process, one client; control_lock */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t connection_key; /* descriptor + 1, closed at the end of its thread */
static _Atomic unsigned generation;  /* of the client: connections of an older one are dead */
static _Thread_local unsigned connection_generation;

/* ---- messages ---- */

static int send_message(int socket, const struct wire_request *request, const void *payload,
                        int descriptor)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec parts[] = {
        {.iov_base = (void *)(uintptr_t)request, .iov_len = sizeof(*request)},
        {.iov_base = (void *)(uintptr_t)payload, .iov_len = request->payload_bytes}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

    if (descriptor >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        control.header = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &descriptor, sizeof(int));
    }
    for (;;) {
        if (sendmsg(socket, &message, MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

static int receive_answer(int socket, struct wire_answer *answer, int *descriptor)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = answer, .iov_len = sizeof(*answer)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t got = 0;

    do
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof(*answer))
        return got < 0 ? -errno : -ECONNRESET;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (descriptor != NULL && header != NULL && header->cmsg_type == SCM_RIGHTS)
        memcpy(descriptor, CMSG_DATA(header), sizeof(int));
    return 0;
}

/* ---- connections ---- */

static void close_connection(void *value)
{
    close((int)(intptr_t)value - 1);
}

static void make_key(void)
{
    pthread_key_create(&connection_key, close_connection);
}

/* A new connection for the calling thread; -errno when nthost refuses it or is gone. */
static int connect_thread(void)
{
    const struct wire_request request = {.op = WIRE_CONNECT};
    struct wire_answer answer = {0};
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -errno;
    pthread_mutex_lock(&control_lock);
    int error = the_client.control < 0 ? -ENOTCONN
                                       : send_message(the_client.control, &request, NULL, pair[1]);
    if (error == 0)
        error = receive_answer(the_client.control, &answer, NULL);
    pthread_mutex_unlock(&control_lock);
    close(pair[1]);
    if (error == 0 && answer.status < 0)
        error = -ECONNREFUSED;
    if (error != 0) {
        close(pair[0]);
        return error;
    }
    return pair[0];
}

static int connection(void)
{
    const unsigned now = generation;
    int descriptor = (int)(intptr_t)pthread_getspecific(connection_key) - 1;

    if (descriptor >= 0 && connection_generation == now)
        return descriptor;
    if (descriptor >= 0)
        close(descriptor);
    descriptor = connect_thread();
    pthread_setspecific(connection_key, (void *)(intptr_t)(descriptor < 0 ? 0 : descriptor + 1));
    connection_generation = now;
    return descriptor;
}

static client_status call(struct wire_request *request, const void *payload, size_t payload_bytes,
                          struct wire_answer *answer)
{
    const int socket = connection();

    *answer = (struct wire_answer){.status = STATUS_PORT_DISCONNECTED};
    request->payload_bytes = (uint32_t)payload_bytes;
    if (socket < 0 || send_message(socket, request, payload, -1) != 0 ||
        receive_answer(socket, answer, NULL) != 0)
        return STATUS_PORT_DISCONNECTED;
    return answer->status;
}

#define REQUEST(op_, ...)                                                                          \
    {                                                                                              \
        .op = (op_), .argument = { __VA_ARGS__ }                                                   \
    }

static uint64_t number(const void *address)
{
    return (uint64_t)(uintptr_t)address;
}

static void *address_of(uint64_t value)
{
    return (void *)(uintptr_t)value;
}

/* ---- birth and end ---- */

/* control_lock held. */
static int say_hello(int control)
{
    const struct wire_request request = {.op = WIRE_HELLO};
    struct wire_answer answer = {0};
    int memory = -1;
    int error = send_message(control, &request, NULL, -1);

    if (error == 0)
        error = receive_answer(control, &answer, &memory);
    if (error != 0 || answer.status < 0 || memory < 0)
        return error != 0 ? error : -EPROTO;
    void *at = address_of(answer.value[0]);
    void *slot = mmap(at, answer.value[1], PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, memory, 0);
    error = slot == at ? 0 : slot == MAP_FAILED ? -errno : -EEXIST;
    close(memory);
    if (error != 0) {
        if (slot != MAP_FAILED)
            munmap(slot, answer.value[1]); /* a kernel that does not know FIXED_NOREPLACE */
        return error;
    }
    the_client = (struct client){.control = control,
                                 .process_id = answer.process_id,
                                 .slot = slot,
                                 .slot_bytes = answer.value[1]};
    return 0;
}

struct client *client_create(const struct client_config *config)
{
    const char *text = getenv(WIRE_SOCKET);
    int error = -ENOTCONN;

    (void)config;
    pthread_once(&once, make_key);
    pthread_mutex_lock(&control_lock);
    if (the_client.control >= 0)
        error = -EBUSY;
    else if (text != NULL)
        error = say_hello(atoi(text));
    if (error == 0)
        generation++;
    pthread_mutex_unlock(&control_lock);
    if (error != 0) {
        errno = -error;
        return NULL;
    }
    return &the_client;
}

void client_kill(struct client *client)
{
    pthread_mutex_lock(&control_lock);
    if (client->control >= 0)
        close(client->control);
    client->control = -1;
    pthread_mutex_unlock(&control_lock);
}

void client_destroy(struct client *client)
{
    if (client == NULL)
        return;
    client_kill(client);
    munmap(client->slot, client->slot_bytes);
}

uint32_t client_process_id(struct client *client)
{
    return client->process_id;
}

struct client *client_spawn(const struct client_config *config, const char *program,
                            char *const argv[], int *pid)
{
    errno = ENOSYS; /* only nthost starts processes */
    return NULL;
}

int client_child_wait(struct client *client)
{
    errno = ECHILD;
    return -1;
}

/* ---- memory ---- */

void *client_alloc(struct client *client, size_t bytes)
{
    struct wire_request request = REQUEST(WIRE_ALLOC, bytes);
    struct wire_answer answer;

    return call(&request, NULL, 0, &answer) >= 0 ? address_of(answer.value[0]) : NULL;
}

void client_free(struct client *client, void *address, size_t bytes)
{
    struct wire_request request = REQUEST(WIRE_FREE, number(address), bytes);
    struct wire_answer answer;

    call(&request, NULL, 0, &answer);
}

client_status client_protect(struct client *client, void *address, size_t bytes, bool readable,
                             bool writable)
{
    struct wire_request request = REQUEST(WIRE_PROTECT, number(address), bytes, readable, writable);
    struct wire_answer answer;
    const client_status status = call(&request, NULL, 0, &answer);

    if (status >= 0)
        mprotect(address, bytes, (readable ? PROT_READ : 0) | (writable ? PROT_WRITE : 0));
    return status;
}

/* ---- handles, events, ports ---- */

static client_status call_for_handle(struct wire_request *request, const void *payload,
                                     size_t bytes, client_handle *handle)
{
    struct wire_answer answer;
    const client_status status = call(request, payload, bytes, &answer);

    *handle = status >= 0 ? answer.value[0] : 0;
    return status;
}

client_status client_open(struct client *client, const char *path, unsigned flags,
                          client_handle *handle)
{
    struct wire_request request = REQUEST(WIRE_OPEN, flags);
    const size_t bytes = strlen(path) + 1;

    *handle = 0;
    if (bytes > WIRE_PAYLOAD)
        return STATUS_TOO_LONG;
    return call_for_handle(&request, path, bytes, handle);
}

static client_status simple(enum wire_op op, uint64_t argument)
{
    struct wire_request request = REQUEST((uint32_t)op, argument);
    struct wire_answer answer;

    return call(&request, NULL, 0, &answer);
}

client_status client_close(struct client *client, client_handle handle)
{
    return simple(WIRE_CLOSE, handle);
}

client_status client_duplicate(struct client *from, client_handle handle, struct client *to,
                               client_handle *result)
{
    struct wire_request request = REQUEST(WIRE_DUPLICATE, handle);

    return call_for_handle(&request, NULL, 0, result);
}

client_status client_event(struct client *client, bool manual_reset, bool signalled,
                           client_handle *event)
{
    struct wire_request request = REQUEST(WIRE_EVENT, manual_reset, signalled);

    return call_for_handle(&request, NULL, 0, event);
}

client_status client_event_set(struct client *client, client_handle event)
{
    return simple(WIRE_EVENT_SET, event);
}

client_status client_event_reset(struct client *client, client_handle event)
{
    return simple(WIRE_EVENT_RESET, event);
}

client_status client_wait(struct client *client, const client_handle *handles, unsigned count,
                          uint64_t timeout_ns, unsigned *index)
{
    struct wire_request request = REQUEST(WIRE_WAIT, timeout_ns);
    struct wire_answer answer;

    if (count > WIRE_HANDLES)
        return STATUS_INVALID_PARAMETER;
    const client_status status = call(&request, handles, count * sizeof(*handles), &answer);
    if (index != NULL)
        *index = (unsigned)answer.value[0];
    return status;
}

client_status client_port(struct client *client, client_handle *port)
{
    struct wire_request request = REQUEST(WIRE_PORT);

    return call_for_handle(&request, NULL, 0, port);
}

client_status client_port_bind(struct client *client, client_handle port, client_handle file,
                               uint64_t key)
{
    struct wire_request request = REQUEST(WIRE_PORT_BIND, port, file, key);
    struct wire_answer answer;

    return call(&request, NULL, 0, &answer);
}

client_status client_port_remove(struct client *client, client_handle port, uint64_t timeout_ns,
                                 uint64_t *key, struct client_io **io)
{
    struct wire_request request = REQUEST(WIRE_PORT_REMOVE, port, timeout_ns);
    struct wire_answer answer;
    const client_status status = call(&request, NULL, 0, &answer);

    *key = answer.value[0];
    *io = address_of(answer.value[1]);
    return status;
}

/* ---- requests ---- */

static client_status transfer(struct wire_request *request, uint32_t *transferred)
{
    struct wire_answer answer;
    const client_status status = call(request, NULL, 0, &answer);

    if (transferred != NULL)
        *transferred = (uint32_t)answer.value[0];
    return status;
}

client_status client_control(struct client *client, client_handle file, uint32_t code,
                             const void *in, uint32_t in_bytes, void *out, uint32_t out_bytes,
                             uint32_t *transferred)
{
    struct wire_request request =
        REQUEST(WIRE_CONTROL, file, code, number(in), in_bytes, number(out), out_bytes);

    return transfer(&request, transferred);
}

client_status client_read(struct client *client, client_handle file, void *buffer, uint32_t bytes,
                          uint32_t *transferred)
{
    struct wire_request request = REQUEST(WIRE_READ, file, number(buffer), bytes);

    return transfer(&request, transferred);
}

client_status client_write(struct client *client, client_handle file, const void *buffer,
                           uint32_t bytes, uint32_t *transferred)
{
    struct wire_request request = REQUEST(WIRE_WRITE, file, number(buffer), bytes);

    return transfer(&request, transferred);
}

client_status client_read_start(struct client *client, client_handle file, void *buffer,
                                uint32_t bytes, struct client_io *io)
{
    struct wire_request request = REQUEST(WIRE_READ_START, file, number(buffer), bytes, number(io));

    return transfer(&request, NULL);
}

client_status client_write_start(struct client *client, client_handle file, const void *buffer,
                                 uint32_t bytes, struct client_io *io)
{
    struct wire_request request =
        REQUEST(WIRE_WRITE_START, file, number(buffer), bytes, number(io));

    return transfer(&request, NULL);
}

client_status client_control_start(struct client *client, client_handle file, uint32_t code,
                                   const void *in, uint32_t in_bytes, void *out, uint32_t out_bytes,
                                   struct client_io *io)
{
    struct wire_request request = REQUEST(WIRE_CONTROL_START, file, code, number(in), in_bytes,
                                          number(out), out_bytes, number(io));

    return transfer(&request, NULL);
}

client_status client_cancel(struct client *client, client_handle file, struct client_io *io)
{
    struct wire_request request = REQUEST(WIRE_CANCEL, file, number(io));

    return transfer(&request, NULL);
}
