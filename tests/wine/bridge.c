/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The Linux end of the edge under Wine: for each adapter a network namespace with a TUN interface,
 * and a loopback TCP connection from the ndis.sys double (tests/wine/ndis/edge.c has the messages).
 * The interface's carrier follows the link that the driver indicates. Nothing of it outlives this
 * process, which ends with its parent.
 *
 * Usage: bridge serve PORT FOLDER NAME,INTERFACE,ADDRESS/LENGTH[,ADDRESS/LENGTH...] ...
 *        bridge exec FOLDER N PROGRAM [ARGUMENT...]
 *        bridge probe      can a TUN interface be made here? exit code 77, and why not
 * serve says on standard output what happens, a line each: "listening", "connected N", "link N up",
 * "link N down", "disconnected N"; on SIGUSR1 "counters N SENT BYTES RECEIVED BYTES", as seen from
 * Linux. N is the place of the adapter on the command line, from 0. exec runs a program in its
 * namespace.
 */
#include "edge/netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PACKET, HELLO, LINK, HEADER = 4 }; /* messages */
enum { PORTS = 8, MTU = 1420, LARGEST = 0xFFFF, ROOM = 0x40000, ADDRESSES = 8, BURST = 64 };

struct port {
    char *name; /* NetCfgInstanceId */
    struct nth_netns netns;
    int tun, socket; /* socket -1: the adapter is not there */
    unsigned long long sent, sent_bytes, received, received_bytes;
    size_t got;
    unsigned char stream[ROOM]; /* received, not yet whole */
};

static struct port ports[PORTS];
static unsigned port_count;
static volatile sig_atomic_t wants_counters;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "bridge: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void on_signal(int number)
{
    wants_counters = 1;
}

/* ---- namespaces ---- */

/* FOLDER/N.net is the way in for exec; N.user where the right came from a user namespace. */
static void publish(const char *folder, unsigned n, const char *kind, int fd)
{
    char path[512], target[64];

    snprintf(path, sizeof(path), "%s/%u.%s", folder, n, kind);
    unlink(path);
    if (fd < 0)
        return;
    snprintf(target, sizeof(target), "/proc/%d/fd/%d", (int)getpid(), fd);
    if (symlink(target, path) != 0)
        fail(path);
}

static void set_carrier(const struct port *p, int is_up)
{
    ioctl(p->tun, TUNSETCARRIER, &is_up); /* since Linux 5.0; older ones keep the carrier on */
}

static void open_port(struct port *p, char *text)
{
    const char *addresses[ADDRESSES + 1] = {NULL};
    char error[NTH_EDGE_ERROR];
    unsigned count = 0;

    p->name = strtok(text, ",");
    struct nth_edge_config config = {.name = strtok(NULL, ","), .addresses = addresses, .mtu = MTU};
    for (char *a; count < ADDRESSES && (a = strtok(NULL, ",")) != NULL;)
        addresses[count++] = a;
    if (!p->name || !config.name || !count) {
        fprintf(stderr, "bridge: not NAME,INTERFACE,ADDRESS...\n");
        exit(2);
    }
    if (nth_netns_create(&config, &p->netns, &p->tun, error) != 0) {
        fprintf(stderr, "bridge: %s\n", error);
        exit(77);
    }
    p->socket = -1;
    set_carrier(p, 0);
}

/* ---- packets ---- */

static bool send_all(int socket, const void *data, size_t bytes)
{
    const unsigned char *at = data;

    while (bytes) {
        const ssize_t n = send(socket, at, bytes, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

static void disconnect(struct port *p)
{
    close(p->socket);
    p->socket = -1;
    p->got = 0;
    set_carrier(p, 0);
    printf("disconnected %d\n", (int)(p - ports));
}

/* Linux -> adapter: what is there, a burst at most, so that the others get their turn. */
static void read_tun(struct port *p)
{
    static unsigned char message[HEADER + LARGEST];

    for (int i = 0; i < BURST && p->socket >= 0; i++) {
        const ssize_t n = read(p->tun, message + HEADER, LARGEST);
        if (n <= 0)
            return;
        const uint32_t header = (uint32_t)PACKET << 24 | (uint32_t)n;
        memcpy(message, &header, HEADER);
        if (!send_all(p->socket, message, HEADER + (size_t)n)) {
            disconnect(p);
            return;
        }
        p->sent++;
        p->sent_bytes += (unsigned long long)n;
    }
}

/* Adapter -> Linux: one whole message; false when it cannot be one. */
static bool take_message(struct port *p, unsigned type, const unsigned char *data, size_t bytes)
{
    if (type == PACKET && bytes) {
        p->received++;
        p->received_bytes += bytes;
        return write(p->tun, data, bytes) == (ssize_t)bytes || errno == EIO || errno == EINVAL;
    }
    if (type != LINK || bytes != 1)
        return false;
    set_carrier(p, data[0]);
    printf("link %d %s\n", (int)(p - ports), data[0] ? "up" : "down");
    return true;
}

static bool take_messages(struct port *p)
{
    size_t at = 0;
    uint32_t header;

    while (p->got - at >= HEADER) {
        memcpy(&header, p->stream + at, HEADER);
        const size_t bytes = header & 0xFFFFFF;
        if (bytes > LARGEST)
            return false;
        if (p->got - at - HEADER < bytes)
            break;
        if (!take_message(p, header >> 24, p->stream + at + HEADER, bytes))
            return false;
        at += HEADER + bytes;
    }
    p->got -= at;
    memmove(p->stream, p->stream + at, p->got);
    return true;
}

static void read_socket(struct port *p)
{
    const ssize_t n = recv(p->socket, p->stream + p->got, ROOM - p->got, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        disconnect(p);
        return;
    }
    p->got += (size_t)n;
    if (!take_messages(p)) {
        fprintf(stderr, "bridge: not a message of the edge\n");
        disconnect(p);
    }
}

/* ---- connections ---- */

static bool receive_all(int socket, void *data, size_t bytes)
{
    return recv(socket, data, bytes, MSG_WAITALL) == (ssize_t)bytes;
}

/* Who connects says its name first. An adapter that was disabled and comes again may do so before
 * the end of its old connection was seen. */
static void greet(int socket)
{
    const struct timeval limit = {.tv_sec = 5};
    const int on = 1;
    char name[64] = "";
    uint32_t header = 0;
    struct port *p = NULL;

    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (receive_all(socket, &header, HEADER) && header >> 24 == HELLO &&
        (header & 0xFFFFFF) < sizeof(name) && receive_all(socket, name, header & 0xFFFFFF))
        for (unsigned i = 0; i < port_count; i++)
            if (strcasecmp(ports[i].name, name) == 0)
                p = &ports[i];
    if (!p) {
        printf("unknown %s\n", name);
        close(socket);
        return;
    }
    if (p->socket >= 0)
        disconnect(p);
    p->socket = socket;
    printf("connected %d\n", (int)(p - ports));
}

static int listen_on(unsigned short number)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons(number),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 8) != 0)
        fail("listen");
    return fd;
}

static void print_counters(void)
{
    for (unsigned i = 0; i < port_count; i++)
        printf("counters %u %llu %llu %llu %llu\n", i, ports[i].sent, ports[i].sent_bytes,
               ports[i].received, ports[i].received_bytes);
}

static _Noreturn void serve(int listener)
{
    for (;;) {
        struct pollfd all[1 + 2 * PORTS] = {{.fd = listener, .events = POLLIN}};
        for (unsigned i = 0; i < port_count; i++) {
            const bool is_here = ports[i].socket >= 0;
            all[1 + 2 * i] = (struct pollfd){.fd = ports[i].socket, .events = POLLIN};
            all[2 + 2 * i] = (struct pollfd){.fd = is_here ? ports[i].tun : -1, .events = POLLIN};
        }
        if (poll(all, 1 + 2 * port_count, -1) < 0 && errno != EINTR)
            fail("poll");
        if (wants_counters) {
            wants_counters = 0;
            print_counters();
            continue;
        }
        for (unsigned i = 0; i < port_count; i++) {
            if (all[1 + 2 * i].revents && ports[i].socket >= 0)
                read_socket(&ports[i]);
            if (all[2 + 2 * i].revents && ports[i].socket >= 0)
                read_tun(&ports[i]);
        }
        if (all[0].revents) {
            const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (fd >= 0)
                greet(fd);
        }
    }
}

/* ---- exec ---- */

static void enter(const char *folder, const char *n, const char *kind, int type)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s.%s", folder, n, kind);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && type == CLONE_NEWUSER && errno == ENOENT)
        return;
    if (fd < 0 || setns(fd, type) != 0)
        fail(path);
    close(fd);
}

static _Noreturn void execute(char **arguments)
{
    enter(arguments[0], arguments[1], "user", CLONE_NEWUSER);
    enter(arguments[0], arguments[1], "net", CLONE_NEWNET);
    execvp(arguments[2], arguments + 2);
    fail(arguments[2]);
}

int main(int argc, char **argv)
{
    if (argc >= 5 && strcmp(argv[1], "exec") == 0)
        execute(argv + 2);
    if (argc == 2 && strcmp(argv[1], "probe") == 0) {
        open_port(&ports[0], (char[]){"probe,tun0,10.0.0.1/24"});
        return 0;
    }
    if (argc < 5 || strcmp(argv[1], "serve") != 0 || argc - 4 > PORTS) {
        fprintf(stderr,
                "usage: bridge serve PORT FOLDER ADAPTER... | exec FOLDER N PROGRAM... | probe\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGUSR1, on_signal);
    const int listener = listen_on((unsigned short)strtoul(argv[2], NULL, 10));
    for (int i = 4; i < argc; i++) {
        struct port *p = &ports[port_count];
        open_port(p, argv[i]);
        publish(argv[3], port_count, "net", p->netns.net);
        publish(argv[3], port_count, "user", p->netns.user);
        port_count++;
    }
    printf("listening\n");
    serve(listener);
}
