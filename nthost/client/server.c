/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The host's end of Linux children: starts them, serves one thread per connection, and turns a
 * hang-up into process death. Every message is hostile until it is checked: sizes here, handles and
 * addresses by the kernel. Never blocks in a Linux call while inside the machine.
 */
#include "client/host.h"
#include "client/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
    struct client *client;
    pid_t pid;
    int control;
    pthread_t control_thread;
    pthread_mutex_t lock;
    bool is_ending;         /* lock: no more connections */
    bool is_reaped;         /* lock */
    int exit_status;        /* lock */
    unsigned connections;   /* lock */
    struct connection *all; /* lock */
};

struct connection {
    struct connection *next; /* child's lock */
    struct child *child;
    int socket;
    bool is_done; /* child's lock: the thread is past its last use of this */
    pthread_t thread;
};

/* ---- messages ---- */

struct message {
    struct wire_request request;
    union {
        char path[WIRE_PAYLOAD];
        client_handle handles[WIRE_HANDLES];
    } payload;
};

/* What descriptors came along: the first is kept when wanted, all others are closed. */
static int take_descriptor(struct msghdr *header, bool is_wanted)
{
    int kept = -1;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
            int descriptor = -1;
            memcpy(&descriptor, CMSG_DATA(c) + at, sizeof(int));
            if (is_wanted && kept < 0)
                kept = descriptor;
            else
                close(descriptor);
        }
    }
    return kept;
}

/* 1: a message of the size it claims; 0: a malformed one; -1: the other end has hung up. */
static int receive_message(int socket, struct message *message, int *descriptor)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = message, .iov_len = sizeof(*message)};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof(control)};
    ssize_t got = 0;

    do
        got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return -1;
    const int kept = take_descriptor(&header, descriptor != NULL);
    if (descriptor != NULL)
        *descriptor = kept;
    if ((header.msg_flags & MSG_TRUNC) != 0 || (size_t)got < sizeof(message->request))
        return 0;
    return (size_t)got - sizeof(message->request) == message->request.payload_bytes;
}

/* False: the other end is gone. */
static bool send_answer(int socket, const struct wire_answer *answer, int descriptor)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)answer, .iov_len = sizeof(*answer)};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

    if (descriptor >= 0) {
        header.msg_control = &control;
        header.msg_controllen = sizeof(control);
        control.header = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &descriptor, sizeof(int));
    }
    for (;;) {
        if (sendmsg(socket, &header, MSG_NOSIGNAL) >= 0)
            return true;
        if (errno != EINTR)
            return false;
    }
}

/* ---- calls, inside the machine ---- */

static void *address_of(uint64_t value)
{
    return (void *)(uintptr_t)value;
}

static bool fits32(uint64_t value)
{
    return value <= UINT32_MAX;
}

static client_status serve_memory(struct client *client, const struct message *message,
                                  struct wire_answer *answer)
{
    const uint64_t *a = message->request.argument;

    switch (message->request.op) {
    case WIRE_ALLOC:
        answer->value[0] = (uint64_t)(uintptr_t)client_alloc(client, a[0]);
        return answer->value[0] != 0 ? STATUS_SUCCESS : STATUS_NO_MEMORY;
    case WIRE_FREE:
        client_free(client, address_of(a[0]), a[1]);
        return STATUS_SUCCESS;
    default:
        return client_protect(client, address_of(a[0]), a[1], a[2] != 0, a[3] != 0);
    }
}

static client_status serve_open(struct client *client, const struct message *message,
                                struct wire_answer *answer)
{
    const uint32_t bytes = message->request.payload_bytes;
    const unsigned flags = (unsigned)message->request.argument[0];

    if (bytes == 0 || strnlen(message->payload.path, bytes) != bytes - 1 ||
        (flags & ~(unsigned)(CLIENT_READ | CLIENT_WRITE | CLIENT_OVERLAPPED)) != 0)
        return STATUS_INVALID_PARAMETER;
    return client_open(client, message->payload.path, flags, &answer->value[0]);
}

static client_status serve_wait(struct client *client, const struct message *message,
                                struct wire_answer *answer)
{
    const uint32_t bytes = message->request.payload_bytes;
    unsigned index = 0;

    if (bytes % sizeof(client_handle) != 0 || bytes > sizeof(message->payload.handles))
        return STATUS_INVALID_PARAMETER;
    const client_status status =
        client_wait(client, message->payload.handles, bytes / sizeof(client_handle),
                    message->request.argument[0], &index);
    answer->value[0] = index;
    return status;
}

static client_status serve_control(struct client *client, const struct message *message,
                                   struct wire_answer *answer)
{
    const uint64_t *a = message->request.argument;
    uint32_t transferred = 0;
    client_status status = STATUS_INVALID_PARAMETER;

    if (!fits32(a[1]) || !fits32(a[3]) || !fits32(a[5]))
        return status;
    if (message->request.op == WIRE_CONTROL_START)
        return client_control_start(client, a[0], (uint32_t)a[1], address_of(a[2]), (uint32_t)a[3],
                                    address_of(a[4]), (uint32_t)a[5], address_of(a[6]));
    status = client_control(client, a[0], (uint32_t)a[1], address_of(a[2]), (uint32_t)a[3],
                            address_of(a[4]), (uint32_t)a[5], &transferred);
    answer->value[0] = transferred;
    return status;
}

static client_status serve_transfer(struct client *client, const struct message *message,
                                    struct wire_answer *answer)
{
    const uint64_t *a = message->request.argument;
    const uint32_t bytes = (uint32_t)a[2];
    uint32_t transferred = 0;
    client_status status = STATUS_INVALID_PARAMETER;

    if (!fits32(a[2]))
        return status;
    switch (message->request.op) {
    case WIRE_READ_START:
        return client_read_start(client, a[0], address_of(a[1]), bytes, address_of(a[3]));
    case WIRE_WRITE_START:
        return client_write_start(client, a[0], address_of(a[1]), bytes, address_of(a[3]));
    case WIRE_READ:
        status = client_read(client, a[0], address_of(a[1]), bytes, &transferred);
        break;
    default:
        status = client_write(client, a[0], address_of(a[1]), bytes, &transferred);
        break;
    }
    answer->value[0] = transferred;
    return status;
}

static client_status serve_object(struct client *client, const struct message *message,
                                  struct wire_answer *answer)
{
    const uint64_t *a = message->request.argument;
    struct client_io *io = NULL;
    client_status status = STATUS_SUCCESS;

    switch (message->request.op) {
    case WIRE_CLOSE:
        return client_close(client, a[0]);
    case WIRE_DUPLICATE:
        return client_duplicate(client, a[0], client, &answer->value[0]);
    case WIRE_CANCEL:
        return client_cancel(client, a[0], address_of(a[1]));
    case WIRE_EVENT:
        return client_event(client, a[0] != 0, a[1] != 0, &answer->value[0]);
    case WIRE_EVENT_SET:
        return client_event_set(client, a[0]);
    case WIRE_EVENT_RESET:
        return client_event_reset(client, a[0]);
    case WIRE_PORT:
        return client_port(client, &answer->value[0]);
    case WIRE_PORT_BIND:
        return client_port_bind(client, a[0], a[1], a[2]);
    default:
        status = client_port_remove(client, a[0], a[1], &answer->value[0], &io);
        answer->value[1] = (uint64_t)(uintptr_t)io;
        return status;
    }
}

static client_status serve(struct client *client, const struct message *message,
                           struct wire_answer *answer)
{
    const uint32_t op = message->request.op;

    if (message->request.payload_bytes != 0 && op != WIRE_OPEN && op != WIRE_WAIT)
        return STATUS_INVALID_PARAMETER;
    switch (op) {
    case WIRE_ALLOC:
    case WIRE_FREE:
    case WIRE_PROTECT:
        return serve_memory(client, message, answer);
    case WIRE_OPEN:
        return serve_open(client, message, answer);
    case WIRE_WAIT:
        return serve_wait(client, message, answer);
    case WIRE_CONTROL:
    case WIRE_CONTROL_START:
        return serve_control(client, message, answer);
    case WIRE_READ:
    case WIRE_WRITE:
    case WIRE_READ_START:
    case WIRE_WRITE_START:
        return serve_transfer(client, message, answer);
    case WIRE_CLOSE:
    case WIRE_DUPLICATE:
    case WIRE_CANCEL:
    case WIRE_EVENT:
    case WIRE_EVENT_SET:
    case WIRE_EVENT_RESET:
    case WIRE_PORT:
    case WIRE_PORT_BIND:
    case WIRE_PORT_REMOVE:
        return serve_object(client, message, answer);
    default:
        return STATUS_INVALID_SYSTEM_SERVICE;
    }
}

/* ---- the thread of a connection ---- */

static void *connection_main(void *context)
{
    struct connection *connection = context;
    struct client *client = connection->child->client;
    const int socket = connection->socket;
    struct message message;
    int got = 0;

    nth_enter(nth_process_name(client->process));
    do {
        nth_leave();
        got = receive_message(socket, &message, NULL);
        nth_enter(NULL);
        struct wire_answer answer = {.status = STATUS_INVALID_PARAMETER};
        if (got > 0)
            answer.status = serve(client, &message, &answer);
        nth_leave();
        if (got >= 0 && !send_answer(socket, &answer, -1))
            got = -1;
        nth_enter(NULL);
    } while (got >= 0);
    nth_process_thread_exit(client->process);
    nth_leave();
    pthread_mutex_lock(&connection->child->lock);
    connection->is_done = true;
    pthread_mutex_unlock(&connection->child->lock);
    return NULL;
}

static void free_connection(struct connection *connection)
{
    pthread_join(connection->thread, NULL);
    close(connection->socket);
    free(connection);
}

/* Frees the connections of threads that the child has ended. Its lock is held. */
static void sweep_connections(struct child *child)
{
    struct connection **link = &child->all;

    while (*link != NULL) {
        struct connection *connection = *link;
        if (!connection->is_done) {
            link = &connection->next;
            continue;
        }
        *link = connection->next;
        child->connections--;
        free_connection(connection);
    }
}

static bool is_connection(int socket)
{
    int domain = 0, type = 0;
    socklen_t bytes = sizeof(int);

    return getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) == 0 && domain == AF_UNIX &&
           getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0 && type == SOCK_SEQPACKET;
}

/* The socket is the connection's from here, or closed. */
static client_status add_connection(struct child *child, int socket)
{
    if (socket < 0 || !is_connection(socket)) {
        if (socket >= 0)
            close(socket);
        return STATUS_INVALID_PARAMETER;
    }
    struct connection *connection = calloc(1, sizeof(*connection));
    client_status status = STATUS_INSUFFICIENT_RESOURCES;
    if (connection == NULL)
        nth_fail("out of memory");
    *connection = (struct connection){.child = child, .socket = socket};
    pthread_mutex_lock(&child->lock);
    sweep_connections(child);
    if (!child->is_ending && child->connections < WIRE_CONNECTIONS &&
        pthread_create(&connection->thread, NULL, connection_main, connection) == 0) {
        connection->next = child->all;
        child->all = connection;
        child->connections++;
        status = STATUS_SUCCESS;
    }
    pthread_mutex_unlock(&child->lock);
    if (status != STATUS_SUCCESS) {
        close(socket);
        free(connection);
    }
    return status;
}

/* ---- the first connection ---- */

/* A descriptor of the process's memory, the caller's to close; -1 when it is ending. The process
 * keeps its memory while we are in it. */
static int take_memory(struct child *child, struct wire_answer *answer)
{
    struct nth_process *process = child->client->process;
    uintptr_t address = 0;
    size_t bytes = 0;
    int memory = -1;

    nth_enter("hello");
    if (nth_process_enter(process)) {
        const int slot = nth_user_slot(process, &address, &bytes);
        memory = slot >= 0 ? fcntl(slot, F_DUPFD_CLOEXEC, 0) : -1;
        nth_process_leave();
        nth_process_thread_exit(process);
    }
    nth_leave();
    answer->value[0] = address;
    answer->value[1] = bytes;
    return memory;
}

static bool answer_hello(struct child *child)
{
    struct wire_answer answer = {.process_id = client_process_id(child->client)};
    const int memory = take_memory(child, &answer);

    answer.status = memory >= 0 ? STATUS_SUCCESS : STATUS_PROCESS_IS_TERMINATING;
    const bool is_sent = send_answer(child->control, &answer, memory);
    if (memory >= 0)
        close(memory);
    return is_sent;
}

static void *control_main(void *context)
{
    struct child *child = context;
    struct message message;
    int socket = -1, got = 0;

    while ((got = receive_message(child->control, &message, &socket)) >= 0) {
        struct wire_answer answer = {.status = STATUS_INVALID_PARAMETER};
        if (got > 0 && message.request.op == WIRE_HELLO && socket < 0) {
            if (!answer_hello(child))
                break;
            continue;
        }
        if (got > 0 && message.request.op == WIRE_CONNECT)
            answer.status = add_connection(child, socket);
        else if (socket >= 0)
            close(socket);
        if (!send_answer(child->control, &answer, -1))
            break;
    }
    nth_enter("hang-up");
    nth_process_kill(child->client->process);
    nth_leave();
    return NULL;
}

/* ---- birth, waiting, end ---- */

extern char **environ;

/* The environment of the child: ours, with the socket. NULL: no memory. */
static char **child_environment(int socket, char *text, size_t bytes)
{
    size_t count = 0, used = 0;

    while (environ[count] != NULL)
        count++;
    char **copy = calloc(count + 2, sizeof(*copy));
    if (copy == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], WIRE_SOCKET "=", sizeof(WIRE_SOCKET)) != 0)
            copy[used++] = environ[i];
    snprintf(text, bytes, "%s=%d", WIRE_SOCKET, socket);
    copy[used] = text;
    return copy;
}

/* Between fork and exec: nothing that takes a lock. */
static _Noreturn void become_child(const char *program, char *const argv[], char **environment,
                                   int socket)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    fcntl(socket, F_SETFD, 0);
    execve(program, argv, environment);
    _exit(127);
}

static int start_program(struct child *child, const char *program, char *const argv[], int socket)
{
    char text[64];
    char **environment = child_environment(socket, text, sizeof(text));

    if (environment == NULL)
        return -ENOMEM;
    child->pid = fork();
    if (child->pid == 0)
        become_child(program, argv, environment, socket);
    const int error = child->pid < 0 ? -errno : 0;
    free(environment);
    return error;
}

static int start_child(struct child *child, const char *program, char *const argv[])
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -errno;
    int error = start_program(child, program, argv, pair[1]);
    close(pair[1]);
    child->control = pair[0];
    if (error == 0)
        error = -pthread_create(&child->control_thread, NULL, control_main, child);
    if (error == 0)
        return 0;
    close(pair[0]);
    if (child->pid > 0) {
        kill(child->pid, SIGKILL);
        waitpid(child->pid, NULL, 0);
    }
    return error;
}

struct client *client_spawn(const struct client_config *config, const char *program,
                            char *const argv[], int *pid)
{
    struct client *client = client_create(config);
    struct child *child = client != NULL ? calloc(1, sizeof(*child)) : NULL;

    if (child == NULL) {
        client_destroy(client);
        return NULL;
    }
    *child = (struct child){.client = client, .lock = PTHREAD_MUTEX_INITIALIZER};
    const int error = start_child(child, program, argv);
    if (error != 0) {
        free(child);
        client_destroy(client);
        errno = -error;
        return NULL;
    }
    client->child = child;
    *pid = child->pid;
    return client;
}

/* Outside the machine: waits for the child's end and keeps its status. The wait itself is without
 * the lock, which its connections need to live; the pid stays the child's until it is reaped. */
static int reap(struct child *child)
{
    siginfo_t ended;

    while (waitid(P_PID, (id_t)child->pid, &ended, WEXITED | WNOWAIT) != 0 && errno == EINTR)
        continue;
    pthread_mutex_lock(&child->lock);
    while (!child->is_reaped) {
        const pid_t got = waitpid(child->pid, &child->exit_status, 0);
        child->is_reaped = got == child->pid || errno != EINTR;
    }
    const int status = child->exit_status;
    pthread_mutex_unlock(&child->lock);
    return status;
}

int client_child_wait(struct client *client)
{
    const bool is_inside = nth_self() != NULL;

    if (is_inside)
        nth_leave();
    const int status = reap(client->child);
    if (is_inside)
        nth_enter(NULL);
    return status;
}

/* The signal makes every socket of the child hang up; its threads here end by that. */
void client_child_end(struct client *client)
{
    struct child *child = client->child;

    pthread_mutex_lock(&child->lock);
    child->is_ending = true;
    if (!child->is_reaped)
        kill(child->pid, SIGKILL);
    pthread_mutex_unlock(&child->lock);
}

/* After the process has been killed: no call is in the machine any more and none can begin, so each
 * thread ends as soon as its socket is shut down. */
void client_child_free(struct client *client)
{
    struct child *child = client->child;
    const bool is_inside = nth_self() != NULL;

    if (is_inside)
        nth_leave();
    shutdown(child->control, SHUT_RDWR);
    pthread_join(child->control_thread, NULL);
    while (child->all != NULL) {
        struct connection *connection = child->all;
        child->all = connection->next;
        shutdown(connection->socket, SHUT_RDWR);
        free_connection(connection);
    }
    reap(child);
    close(child->control);
    if (is_inside)
        nth_enter(NULL);
    client->child = NULL;
    free(child);
}
