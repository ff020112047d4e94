/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A program that does to nthost what no program should: speaks the wire protocol by hand and
 * breaks it in every way. The host must refuse, and go on serving. Argument: a seed.
 */
#include "client/wire.h"

#include "../drivers/caller_codes.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "hostile: line %d: %s\n", __LINE__, #condition);                       \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

enum { ROUNDS = 3000 };

static int control = -1;
static uint64_t state;
static uint64_t slot, slot_bytes;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static ssize_t send_raw(int socket, const void *data, size_t bytes, const int *descriptors,
                        unsigned count)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } ancillary = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (count > 0) {
        message.msg_control = &ancillary;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        ancillary.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(count * sizeof(int)),
                                            .cmsg_level = SOL_SOCKET,
                                            .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&ancillary.header), descriptors, count * sizeof(int));
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL);
}

static struct wire_answer receive(int socket)
{
    struct wire_answer answer = {0};

    EXPECT(recv(socket, &answer, sizeof(answer), 0) == sizeof(answer));
    return answer;
}

static struct wire_answer ask(int socket, uint32_t op, uint64_t a0, uint64_t a1, uint64_t a2)
{
    const struct wire_request request = {.op = op, .argument = {a0, a1, a2}};

    EXPECT(send_raw(socket, &request, sizeof(request), NULL, 0) > 0);
    return receive(socket);
}

static int connect_thread(void)
{
    const struct wire_request request = {.op = WIRE_CONNECT};
    int pair[2];

    EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    EXPECT(send_raw(control, &request, sizeof(request), &pair[1], 1) > 0);
    const struct wire_answer answer = receive(control);
    close(pair[1]);
    if (answer.status < 0) {
        close(pair[0]);
        return -1;
    }
    return pair[0];
}

/* The service must still be there: memory, a file and a request that answers. */
static void prove_service(int socket)
{
    struct {
        struct wire_request request;
        char path[16];
    } open = {.request = {.op = WIRE_OPEN, .payload_bytes = 11, .argument = {3}}};
    struct wire_answer answer = ask(socket, WIRE_ALLOC, 4096, 0, 0);
    const uint64_t memory = answer.value[0];

    EXPECT(answer.status >= 0 && memory != 0);
    memcpy(open.path, "\\\\.\\Caller", 11);
    EXPECT(send_raw(socket, &open, sizeof(open.request) + 11, NULL, 0) > 0);
    answer = receive(socket);
    EXPECT(answer.status >= 0);
    const struct wire_request echo = {
        .op = WIRE_CONTROL,
        .argument = {answer.value[0], (uint32_t)CODE_ECHO, memory, 8, memory, 8}};
    EXPECT(send_raw(socket, &echo, sizeof(echo), NULL, 0) > 0);
    const struct wire_answer echoed = receive(socket);
    EXPECT(echoed.status >= 0 && echoed.value[0] == 8);
    EXPECT(ask(socket, WIRE_CLOSE, answer.value[0], 0, 0).status >= 0);
    EXPECT(ask(socket, WIRE_FREE, memory, 4096, 0).status >= 0);
}

/* Values that break things: small, huge, inside and around the slot, kernel-like, handles. */
static uint64_t bad_value(void)
{
    switch (next_random() % 12) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX - next_random() % 16;
    case 2:
        return next_random();
    case 3:
        return slot + next_random() % slot_bytes;
    case 4:
        return slot + slot_bytes - next_random() % 64;
    case 5:
        return slot - 1 - next_random() % 4096;
    case 6:
        return 0xFFFF800000000000u | next_random() % 0x7FFFFFFFFFFF;
    case 7:
        return (uint64_t)(uintptr_t)&state; /* our stack: nobody's in the host */
    case 8:
        return 0x555555554000u + next_random() % 0x1000000; /* where the host's image may be */
    case 9:
        return 0x7FFFF7000000u + next_random() % 0x1000000; /* its libraries and stacks */
    default:
        return next_random() % 64 * 4; /* a handle, perhaps a good one */
    }
}

/* Waits must be short, or the flood ends in one of them. */
static void limit_times(struct wire_request *request)
{
    if (request->op == WIRE_WAIT)
        request->argument[0] = next_random() % 1000;
    if (request->op == WIRE_PORT_REMOVE)
        request->argument[1] = next_random() % 1000;
}

static void flood(int socket)
{
    struct {
        struct wire_request request;
        char payload[2 * WIRE_PAYLOAD];
    } message;

    for (int i = 0; i < ROUNDS; i++) {
        memset(&message, 0, sizeof(message));
        message.request.op = (uint32_t)(next_random() % (WIRE_OPS + 3));
        for (unsigned j = 0; j < WIRE_ARGUMENTS; j++)
            message.request.argument[j] = bad_value();
        limit_times(&message.request);
        size_t bytes = sizeof(message.request);
        if (next_random() % 4 == 0) {
            const size_t payload = next_random() % sizeof(message.payload);
            for (size_t j = 0; j < payload; j += 8)
                memcpy(message.payload + j, &(uint64_t){bad_value()}, 8);
            message.request.payload_bytes = (uint32_t)payload;
            bytes += payload;
        }
        if (next_random() % 8 == 0)
            message.request.payload_bytes = (uint32_t)next_random();
        if (next_random() % 8 == 0)
            bytes = 1 + next_random() % bytes;
        const int descriptors[] = {0, 1, 2, socket};
        const unsigned attached = next_random() % 8 == 0 ? (unsigned)(next_random() % 5) : 0;
        EXPECT(send_raw(socket, &message, bytes, descriptors, attached) > 0);
        receive(socket);
    }
}

/* What may come with a request for a connection, and must not become one. */
static void bad_connections(void)
{
    const struct wire_request request = {.op = WIRE_CONNECT};
    int pipes[2], datagrams[2];
    const int file = open("/dev/zero", O_RDONLY);

    EXPECT(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, datagrams) == 0);
    const int wrong[] = {file, pipes[0], pipes[1], datagrams[0]};
    for (unsigned i = 0; i < 4; i++) {
        EXPECT(send_raw(control, &request, sizeof(request), &wrong[i], 1) > 0);
        EXPECT(receive(control).status < 0);
    }
    EXPECT(send_raw(control, &request, sizeof(request), NULL, 0) > 0);
    EXPECT(receive(control).status < 0);
    for (uint32_t op = 0; op < WIRE_OPS + 2; op++) {
        if (op == WIRE_HELLO || op == WIRE_CONNECT)
            continue;
        EXPECT(ask(control, op, 1, 2, 3).status < 0);
    }
    EXPECT(send_raw(control, &request, 3, wrong, 4) > 0);
    EXPECT(receive(control).status < 0);
}

/* More connections than there may be: refused, and the first ones still work. */
static void many_connections(void)
{
    static int sockets[WIRE_CONNECTIONS + 16];
    unsigned good = 0;

    for (unsigned i = 0; i < WIRE_CONNECTIONS + 16; i++) {
        sockets[good] = connect_thread();
        good += sockets[good] >= 0;
    }
    EXPECT(good > 0 && good <= WIRE_CONNECTIONS);
    prove_service(sockets[good - 1]);
    for (unsigned i = 0; i < good; i++)
        close(sockets[i]);
}

int main(int argc, char **argv)
{
    const char *text = getenv(WIRE_SOCKET);

    EXPECT(argc == 2 && text != NULL);
    state = strtoull(argv[1], NULL, 0) * 0x9E3779B97F4A7C15u + 1;
    control = atoi(text);
    const struct wire_answer hello = ask(control, WIRE_HELLO, 0, 0, 0);
    EXPECT(hello.status >= 0);
    slot = hello.value[0];
    slot_bytes = hello.value[1];
    int socket = connect_thread();
    EXPECT(socket >= 0);
    prove_service(socket);
    flood(socket);
    close(socket);
    bad_connections();
    many_connections();
    socket = connect_thread();
    EXPECT(socket >= 0);
    /* All of its memory goes, what the host uses of it included. */
    ask(socket, WIRE_FREE, slot, slot_bytes, 0);
    ask(socket, WIRE_PROTECT, slot, slot_bytes, 0);
    struct {
        struct wire_request request;
        char path[16];
    } open = {.request = {.op = WIRE_OPEN, .payload_bytes = 11, .argument = {3}}};
    memcpy(open.path, "\\\\.\\Caller", 11);
    EXPECT(send_raw(socket, &open, sizeof(open.request) + 11, NULL, 0) > 0);
    const struct wire_answer file = receive(socket);
    const struct wire_request echo = {
        .op = WIRE_CONTROL, .argument = {file.value[0], (uint32_t)CODE_ECHO, slot, 8, slot, 8}};
    EXPECT(send_raw(socket, &echo, sizeof(echo), NULL, 0) > 0);
    EXPECT(receive(socket).status < 0);
    return 0;
}
