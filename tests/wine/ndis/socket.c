/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A connection to the Linux end of the edge (tests/wine/bridge.c) over loopback TCP. A message is
 * four bytes, little-endian: type << 24 | length, and then that many bytes. TCP holds back whoever
 * is too fast.
 */
#include "double.h"

#include <winsock2.h>

struct wine_socket {
    SOCKET handle; /* guarded by lock for senders; the receiver alone replaces it */
    CRITICAL_SECTION lock;
    volatile LONG is_ended;
    bool has_tried;
};

struct wine_socket *wine_socket_create(void)
{
    struct wine_socket *s = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof(*s));
    WSADATA data;

    if (!s || WSAStartup(MAKEWORD(2, 2), &data) != 0) {
        wine_log("stop: no sockets");
        wine_end();
    }
    InitializeCriticalSection(&s->lock);
    s->handle = INVALID_SOCKET;
    return s;
}

static void drop(struct wine_socket *s)
{
    EnterCriticalSection(&s->lock);
    if (s->handle != INVALID_SOCKET)
        closesocket(s->handle);
    s->handle = INVALID_SOCKET;
    LeaveCriticalSection(&s->lock);
}

void wine_socket_destroy(struct wine_socket *s)
{
    drop(s);
    DeleteCriticalSection(&s->lock);
    HeapFree(GetProcessHeap(), 0, s);
    WSACleanup();
}

bool wine_socket_connect(struct wine_socket *s, uint32_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((u_short)port)};
    const BOOL on = TRUE;

    if (s->has_tried)
        Sleep(100);
    s->has_tried = true;
    drop(s);
    const SOCKET handle = socket(AF_INET, SOCK_STREAM, 0);
    if (handle == INVALID_SOCKET)
        return false;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, (const char *)&on, sizeof(on));
    if (connect(handle, (struct sockaddr *)&address, sizeof(address)) != 0) {
        closesocket(handle);
        return false;
    }
    EnterCriticalSection(&s->lock);
    s->handle = handle;
    const bool is_ended = s->is_ended != 0;
    LeaveCriticalSection(&s->lock);
    return !is_ended;
}

bool wine_socket_send(struct wine_socket *s, unsigned type, const struct wine_piece *pieces,
                      unsigned count)
{
    WSABUF buffers[65];
    uint32_t header = 0;
    DWORD sent = 0;
    bool is_sent = false;

    if (count >= 65)
        return false;
    for (unsigned i = 0; i < count; i++) {
        buffers[i + 1].buf = (char *)(ULONG_PTR)pieces[i].data;
        buffers[i + 1].len = (ULONG)pieces[i].bytes;
        header += (uint32_t)pieces[i].bytes;
    }
    const uint32_t length = header + sizeof(header);
    header |= (uint32_t)type << 24;
    buffers[0].buf = (char *)&header;
    buffers[0].len = sizeof(header);
    EnterCriticalSection(&s->lock);
    if (s->handle != INVALID_SOCKET)
        is_sent = WSASend(s->handle, buffers, count + 1, &sent, 0, NULL, NULL) == 0;
    if (is_sent && sent != length) {
        wine_log("stop: %lu of %u bytes were sent", sent, length);
        wine_end();
    }
    LeaveCriticalSection(&s->lock);
    return is_sent;
}

size_t wine_socket_receive(struct wine_socket *s, void *data, size_t room)
{
    const int got = recv(s->handle, data, (int)room, 0);

    return got > 0 ? (size_t)got : 0;
}

void wine_socket_hang_up(struct wine_socket *s)
{
    EnterCriticalSection(&s->lock);
    s->is_ended = 1;
    if (s->handle != INVALID_SOCKET)
        shutdown(s->handle, SD_BOTH);
    LeaveCriticalSection(&s->lock);
}

void wine_socket_lock(struct wine_socket *s)
{
    EnterCriticalSection(&s->lock);
}

void wine_socket_unlock(struct wine_socket *s)
{
    LeaveCriticalSection(&s->lock);
}
