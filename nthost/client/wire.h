/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What a Linux child and nthost say to each other over Unix sockets (SOCK_SEQPACKET, one message a
 * record). The first connection, whose descriptor the environment names, says hello, hands over one
 * more connection per thread of the child, and carries no calls: it is always being read, so its
 * hang-up is seen at once and is the death of the process. Everything from a child is untrusted.
 */
#pragma once

#include "client/client.h"

#define WIRE_SOCKET "NTHOST_SOCKET" /* environment: number of the descriptor */

enum { WIRE_ARGUMENTS = 7, WIRE_PAYLOAD = 4096, WIRE_HANDLES = 64, WIRE_CONNECTIONS = 256 };

/* Arguments in the order of the functions of client.h; "->" is what the answer has. */
enum wire_op {
    /* on the first connection */
    WIRE_HELLO,   /* -> memfd; value: address, bytes; handle: process id */
    WIRE_CONNECT, /* socket of a thread */
    /* on the connection of a thread */
    WIRE_ALLOC,         /* bytes -> value */
    WIRE_FREE,          /* address, bytes */
    WIRE_PROTECT,       /* address, bytes, readable, writable */
    WIRE_OPEN,          /* flags; payload: path, terminated -> value */
    WIRE_CLOSE,         /* handle */
    WIRE_DUPLICATE,     /* handle -> value */
    WIRE_CONTROL,       /* file, code, in, in_bytes, out, out_bytes -> value: transferred */
    WIRE_READ,          /* file, buffer, bytes -> value */
    WIRE_WRITE,         /* file, buffer, bytes -> value */
    WIRE_CONTROL_START, /* ..., io */
    WIRE_READ_START,    /* file, buffer, bytes, io */
    WIRE_WRITE_START,   /* file, buffer, bytes, io */
    WIRE_CANCEL,        /* file, io */
    WIRE_EVENT,         /* manual reset, signalled -> value */
    WIRE_EVENT_SET,     /* handle */
    WIRE_EVENT_RESET,   /* handle */
    WIRE_WAIT,          /* timeout_ns; payload: handles -> value: index */
    WIRE_PORT,          /* -> value */
    WIRE_PORT_BIND,     /* port, file, key */
    WIRE_PORT_REMOVE,   /* port, timeout_ns -> value: key, io */
    WIRE_OPS
};

/* A message is this much and payload_bytes more, exactly. */
struct wire_request {
    uint32_t op;
    uint32_t payload_bytes;
    uint64_t argument[WIRE_ARGUMENTS];
};

struct wire_answer {
    client_status status;
    uint32_t process_id;
    uint64_t value[2];
};
