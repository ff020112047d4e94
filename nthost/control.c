/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The main loop of the command line and the control socket it serves. A request is one message: the
 * words of a command, each ended by a zero byte, and the asker's standard descriptors; the answer
 * is one byte, the exit status. Only processes of the same user are served.
 */
#include "run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 32, MESSAGE = 8192 };

bool run_is_ending;
static int listener = -1, signals = -1;
static int connections[CONNECTIONS]; /* descriptor + 1; 0: free */
static char bound_path[sizeof(((struct sockaddr_un *)0)->sun_path)];

union descriptors {
    struct cmsghdr header;
    char room[CMSG_SPACE(3 * sizeof(int))];
};

uint64_t run_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

unsigned run_split(char *line, char **words)
{
    unsigned count = 0;
    char *save = NULL;

    for (char *w = strtok_r(line, " \t\n", &save); w && count < RUN_WORDS - 1;
         w = strtok_r(NULL, " \t\n", &save))
        words[count++] = w;
    words[count] = NULL;
    return count;
}

/* A path, or @NAME in the abstract name space, which leaves no file behind. Length, 0: too long. */
static socklen_t make_address(const char *path, struct sockaddr_un *address)
{
    const size_t length = strlen(path);

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (length == 0 || length >= sizeof(address->sun_path))
        return 0;
    memcpy(address->sun_path, path, length);
    if (path[0] == '@')
        address->sun_path[0] = 0;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

int run_control_open(const char *path, char error[NTH_EDGE_ERROR])
{
    struct sockaddr_un address;
    sigset_t wanted;

    sigemptyset(&wanted);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &wanted, NULL);
    signal(SIGPIPE, SIG_IGN);
    signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    if (!path)
        return 0;
    const socklen_t length = make_address(path, &address);
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (!length || listener < 0 || bind(listener, (struct sockaddr *)&address, length) != 0 ||
        listen(listener, CONNECTIONS) != 0) {
        snprintf(error, NTH_EDGE_ERROR, "control socket %s: %s", path,
                 length ? strerror(errno) : "bad length");
        return -1;
    }
    if (path[0] != '@')
        snprintf(bound_path, sizeof(bound_path), "%s", path);
    return 0;
}

void run_control_close(void)
{
    for (int i = 0; i < CONNECTIONS; i++)
        if (connections[i])
            run_answer(connections[i] - 1, 0);
    if (listener >= 0)
        close(listener);
    if (bound_path[0])
        unlink(bound_path);
    listener = -1;
}

/* Any thread: the place in the table is free once the descriptor is no longer in it, and only the
 * main thread puts new ones there. */
void run_answer(int reply, int status)
{
    const uint8_t byte = (uint8_t)status;

    if (reply < 0)
        return;
    send(reply, &byte, 1, MSG_NOSIGNAL);
    shutdown(reply, SHUT_RDWR); /* the main thread sees the end and closes */
}

static void hang_up(int place)
{
    const int fd = connections[place] - 1;

    /* who asked for a program and went away wants it no more */
    for (struct run_child *c = run_children; c < run_children + RUN_CHILDREN; c++)
        if (c->pid && !c->is_over && c->reply == fd) {
            c->reply = -1;
            if (!c->client)
                kill(c->pid, SIGKILL);
        }
    connections[place] = 0;
    close(fd);
}

static void take_connection(void)
{
    const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    struct ucred peer = {0};
    socklen_t size = sizeof(peer);
    int place = 0;

    while (place < CONNECTIONS && connections[place])
        place++;
    if (fd < 0)
        return;
    if (place == CONNECTIONS || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
        peer.uid != geteuid()) {
        close(fd);
        return;
    }
    connections[place] = fd + 1;
}

static unsigned unpack(char *message, size_t bytes, char **words)
{
    unsigned count = 0;

    message[bytes] = 0;
    for (size_t at = 0; at < bytes && count < RUN_WORDS - 1; at += strlen(message + at) + 1)
        words[count++] = message + at;
    words[count] = NULL;
    return count;
}

static void serve(int fd, char *message, size_t bytes, const int stdio[3])
{
    char *words[RUN_WORDS];

    unpack(message, bytes, words);
    const int status = run_command(words, stdio, fd);
    if (status != RUN_LATER)
        run_answer(fd, status);
    for (int i = 0; i < 3; i++)
        close(stdio[i]);
}

static void read_connection(int place)
{
    static char message[MESSAGE + 1];
    union descriptors control;
    struct iovec data = {message, MESSAGE};
    struct msghdr header = {.msg_iov = &data,
                            .msg_iovlen = 1,
                            .msg_control = control.room,
                            .msg_controllen = sizeof(control.room)};
    const int fd = connections[place] - 1;
    const ssize_t got = recvmsg(fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    int stdio[3] = {-1, -1, -1};

    if (got < 0 && errno == EAGAIN)
        return;
    const struct cmsghdr *rights = got > 0 ? CMSG_FIRSTHDR(&header) : NULL;
    if (!rights || rights->cmsg_type != SCM_RIGHTS || rights->cmsg_len != CMSG_LEN(sizeof(stdio))) {
        hang_up(place);
        return;
    }
    memcpy(stdio, CMSG_DATA(rights), sizeof(stdio));
    serve(fd, message, (size_t)got, stdio);
}

static void take_signals(void)
{
    struct signalfd_siginfo info;

    while (read(signals, &info, sizeof(info)) == sizeof(info))
        if (info.ssi_signo != SIGCHLD)
            run_is_ending = true;
}

static int wait_ms(uint64_t deadline_ns)
{
    const uint64_t now = run_now_ns();

    if (deadline_ns == UINT64_MAX)
        return -1;
    return deadline_ns <= now ? 0 : (int)((deadline_ns - now) / 1000000 + 1);
}

void run_poll(uint64_t deadline_ns)
{
    struct pollfd wanted[2 + CONNECTIONS] = {{.fd = signals, .events = POLLIN},
                                             {.fd = listener, .events = POLLIN}};

    for (int i = 0; i < CONNECTIONS; i++)
        wanted[2 + i] = (struct pollfd){.fd = connections[i] - 1, .events = POLLIN};
    nth_leave();
    poll(wanted, 2 + CONNECTIONS, wait_ms(deadline_ns));
    nth_enter("main");
    if (wanted[0].revents)
        take_signals();
    run_reap();
    for (int i = 0; i < CONNECTIONS; i++)
        if (wanted[2 + i].revents && connections[i])
            read_connection(i);
    if (wanted[1].revents)
        take_connection();
}

/* ---- the asking side ---- */

static bool send_words(int fd, char **words)
{
    static char message[MESSAGE];
    const int stdio[3] = {0, 1, 2};
    union descriptors control = {0};
    size_t used = 0;

    for (; *words; words++) {
        const size_t bytes = strlen(*words) + 1;
        if (used + bytes > sizeof(message))
            return false;
        memcpy(message + used, *words, bytes);
        used += bytes;
    }
    struct iovec data = {message, used};
    const struct msghdr header = {.msg_iov = &data,
                                  .msg_iovlen = 1,
                                  .msg_control = control.room,
                                  .msg_controllen = sizeof(control.room)};
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(stdio));
    memcpy(CMSG_DATA(&control.header), stdio, sizeof(stdio));
    return sendmsg(fd, &header, MSG_NOSIGNAL) == (ssize_t)used;
}

int run_ask(const char *path, char **words)
{
    struct sockaddr_un address;
    const socklen_t length = make_address(path, &address);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    uint8_t status;

    if (!length || fd < 0 || connect(fd, (struct sockaddr *)&address, length) != 0) {
        fprintf(stderr, "nthost: %s: %s\n", path, length ? strerror(errno) : "bad length");
        return EXIT_RUN_FAILED;
    }
    if (!send_words(fd, words)) {
        fprintf(stderr, "nthost: the command is too long\n");
        return EXIT_RUN_USAGE;
    }
    if (recv(fd, &status, 1, 0) == 1)
        return status;
    fprintf(stderr, "nthost: %s hung up without an answer\n", path);
    return EXIT_RUN_FAILED;
}
