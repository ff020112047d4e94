/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The simplest of all tunnels: each packet of the adapter goes to the peer in a UDP datagram, each
 * datagram of the peer to the adapter. Two of them join two adapters. No encryption, no addresses
 * but loopback's, nothing kept in order or sent twice: a network may lose packets.
 */
#include "packets.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <process.h>
#include <winsock2.h>
#define THREAD unsigned __stdcall
typedef HANDLE thread;
typedef DWORD milliseconds;
#define TIMEOUT                       200
#define thread_start(t, run, context) ((t) = (HANDLE)_beginthreadex(NULL, 0, run, context, 0, NULL))
#define thread_join(t)                WaitForSingleObject(t, INFINITE)
#else
#include <arpa/inet.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#define SOCKET                        int
#define INVALID_SOCKET                (-1)
#define closesocket                   close
#define ioctlsocket                   ioctl
#define u_long                        int
#define THREAD                        void *
typedef pthread_t thread;
typedef struct timeval milliseconds;
#define TIMEOUT                       {.tv_usec = 200000}
#define thread_start(t, run, context) (pthread_create(&(t), NULL, run, context) == 0)
#define thread_join(t)                pthread_join(t, NULL)
#endif

enum { MAX_PACKET = 65535 };

struct traffic {
    unsigned long long packets, bytes, dropped;
};

struct tunnel {
    struct packets *packets;
    SOCKET socket;
    struct traffic out, in; /* each written by the thread of its direction */
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

/* A datagram socket from one port of loopback to another. */
static SOCKET open_socket(unsigned short local, unsigned short peer)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    const milliseconds timeout = TIMEOUT;
    const int room = 4 << 20; /* as much as the system grants */
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);

    if (s == INVALID_SOCKET)
        return s;
    setsockopt(s, SOL_SOCKET, SO_RCVBUF, (const char *)&room, sizeof(room));
    setsockopt(s, SOL_SOCKET, SO_SNDBUF, (const char *)&room, sizeof(room));
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, (const char *)&timeout, sizeof(timeout));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(local);
    const bool bound = bind(s, (struct sockaddr *)&address, sizeof(address)) == 0;
    address.sin_port = htons(peer);
    if (bound && connect(s, (struct sockaddr *)&address, sizeof(address)) == 0)
        return s;
    closesocket(s);
    return INVALID_SOCKET;
}

static bool has_more(SOCKET s)
{
    u_long bytes = 0;

    return ioctlsocket(s, FIONREAD, &bytes) == 0 && bytes > 0;
}

/* Peer to adapter; what has arrived together is handed over together. A datagram that finds no room
 * is dropped. */
static THREAD receive_datagrams(void *context)
{
    struct tunnel *tunnel = context;
    static uint8_t datagram[MAX_PACKET];

    while (!stop) {
        const int bytes = (int)recv(tunnel->socket, (char *)datagram, sizeof(datagram), 0);
        if (bytes <= 0)
            continue; /* nothing for a while, or the peer is not there (yet) */
        uint8_t *packet = packets_allocate(tunnel->packets, (uint32_t)bytes);
        if (!packet) {
            packets_flush(tunnel->packets);
            tunnel->in.dropped++;
            continue;
        }
        memcpy(packet, datagram, (size_t)bytes);
        packets_send(tunnel->packets, packet);
        if (!has_more(tunnel->socket))
            packets_flush(tunnel->packets);
        tunnel->in.packets++;
        tunnel->in.bytes += (unsigned)bytes;
    }
    return 0;
}

/* Adapter to peer: everything that is there. */
static void send_datagrams(struct tunnel *tunnel)
{
    const uint8_t *packet;
    uint32_t bytes;

    while ((packet = packets_receive(tunnel->packets, &bytes))) {
        const bool sent = send(tunnel->socket, (const char *)packet, bytes, 0) == (int)bytes;
        packets_release(tunnel->packets, packet);
        tunnel->out.packets++;
        tunnel->out.bytes += bytes;
        tunnel->out.dropped += !sent;
    }
}

static int run(struct tunnel *tunnel)
{
    thread receiver;
    int state = 0;

    if (!thread_start(receiver, receive_datagrams, tunnel)) {
        fprintf(stderr, "tunnel: no thread\n");
        return 1;
    }
    while (!stop && state >= 0) {
        state = packets_wait(tunnel->packets, 200);
        if (state == 0)
            send_datagrams(tunnel);
    }
    const int result = state < 0 && !stop;
    stop = 1;
    thread_join(receiver);
    return result;
}

static void print_traffic(const struct tunnel *tunnel)
{
    printf("tunnel: out %llu packets %llu bytes %llu dropped, in %llu packets %llu bytes %llu "
           "dropped\n",
           tunnel->out.packets, tunnel->out.bytes, tunnel->out.dropped, tunnel->in.packets,
           tunnel->in.bytes, tunnel->in.dropped);
}

int main(int argc, char **argv)
{
    struct tunnel tunnel = {0};

    if (argc != 5) {
        fprintf(stderr, "usage: tunnel ADAPTER ring|file LOCAL-PORT PEER-PORT\n");
        return 2;
    }
#ifdef _WIN32
    WSADATA data;
    WSAStartup(MAKEWORD(2, 2), &data);
#endif
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    tunnel.socket = open_socket((unsigned short)strtoul(argv[3], NULL, 10),
                                (unsigned short)strtoul(argv[4], NULL, 10));
    if (tunnel.socket == INVALID_SOCKET) {
        perror("tunnel: socket");
        return 1;
    }
    tunnel.packets = packets_open(argv[1], argv[2]);
    if (!tunnel.packets) {
        fprintf(stderr, "tunnel: %s\n", packets_error());
        closesocket(tunnel.socket);
        return 1;
    }
    const int result = run(&tunnel);
    packets_close(tunnel.packets);
    closesocket(tunnel.socket);
    print_traffic(&tunnel);
    return result;
}
