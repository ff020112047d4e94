/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Programs that the command line starts: user processes of the machine, and ordinary programs in an
 * adapter's namespace. Every one is waited for by its own descriptor; none outlives this process.
 */
#include "run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct run_child run_children[RUN_CHILDREN];

struct run_child *run_child(const char *number)
{
    char *end;
    const unsigned long index = strtoul(number, &end, 10);

    return *number && !*end && index < RUN_CHILDREN && run_children[index].pid
               ? &run_children[index]
               : NULL;
}

/* A free place; one whose program is over and was a namespace's is free as well. */
static struct run_child *new_child(int errors)
{
    for (struct run_child *c = run_children; c < run_children + RUN_CHILDREN; c++)
        if (!c->pid || (c->is_over && c->reply < 0))
            return c;
    dprintf(errors, "too many programs\n");
    return NULL;
}

static int add_child(struct run_child *child, pid_t pid, struct client *client, const char *name)
{
    *child = (struct run_child){.pid = pid, .client = client, .reply = -1};
    child->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    snprintf(child->name, sizeof(child->name), "%s", name);
    return (int)(child - run_children);
}

/* Replaces %N at the beginning of words. */
static bool name_adapters(char **words, int errors)
{
    for (; *words; words++) {
        if (**words != '%')
            continue;
        const struct run_port *port = run_port(*words + 1);
        if (!port) {
            dprintf(errors, "%s: no such adapter\n", *words);
            return false;
        }
        *words = (char *)nth_device_net_cfg_id(port->device);
    }
    return true;
}

int run_start(const struct run_start *how, char **words, int errors)
{
    struct run_child *child = new_child(errors);
    const char *slash = words[0] ? strrchr(words[0], '/') : NULL;
    int pid = 0;

    if (!words[0])
        dprintf(errors, "no program given\n");
    if (!words[0] || !child || !name_adapters(words, errors))
        return -1;
    if (access(words[0], X_OK) != 0) {
        dprintf(errors, "%s: %s\n", words[0], strerror(errno));
        return -1;
    }
    const struct client_config config = {
        .name = slash ? slash + 1 : words[0], .token = how->token, .wow64 = how->wow64};
    struct client *client = client_spawn(&config, words[0], words, &pid);
    if (!client) {
        dprintf(errors, "%s: %s\n", words[0], strerror(errno));
        return -1;
    }
    return add_child(child, pid, client, config.name);
}

int run_exec(struct run_port *port, char **words, const int stdio[3])
{
    struct run_child *child = new_child(stdio[2]);

    if (!words[0])
        dprintf(stdio[2], "no program given\n");
    if (!child || !words[0])
        return -1;
    if (!port->tap) {
        dprintf(stdio[2], "the adapter has no namespace (its edge is not tun)\n");
        return -1;
    }
    const pid_t pid = nth_tap_exec(port->tap, words, stdio);
    if (pid < 0) {
        dprintf(stdio[2], "%s: %s\n", words[0], strerror((int)-pid));
        return -1;
    }
    return add_child(child, pid, NULL, words[0]);
}

/* A user process that ends by itself and in failure: who started it is not waiting for it. */
static void tell_failure(const struct run_child *child)
{
    if (child->status == 0 || child->is_told)
        return;
    fprintf(stderr, "nthost: %s (pid %d) ended with status %d\n", child->name, (int)child->pid,
            child->status);
}

static void take_end(struct run_child *child)
{
    const bool is_client = child->client != NULL;

    int status = 0;

    if (child->client) {
        status = client_child_wait(child->client);
        client_destroy(child->client);
        child->client = NULL;
    } else {
        while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    close(child->pidfd);
    child->is_over = true;
    child->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (is_client)
        tell_failure(child);
    if (child->reply >= 0)
        run_answer(child->reply, child->status);
    child->reply = -1;
}

static bool has_ended(const struct run_child *child, int timeout_ms)
{
    struct pollfd wanted = {.fd = child->pidfd, .events = POLLIN};

    return poll(&wanted, 1, timeout_ms) > 0;
}

void run_reap(void)
{
    for (struct run_child *c = run_children; c < run_children + RUN_CHILDREN; c++)
        if (c->pid && !c->is_over && has_ended(c, 0))
            take_end(c);
}

/* False: it did not end in time and was killed. */
bool run_stop(struct run_child *child, int signal, unsigned patience_ms)
{
    if (child->is_over)
        return true;
    child->is_told = true;
    kill(child->pid, signal);
    nth_leave(); /* it may need the machine to end */
    bool in_time = has_ended(child, (int)patience_ms);
    if (!in_time) {
        kill(child->pid, SIGKILL);
        has_ended(child, -1);
    }
    nth_enter("main");
    take_end(child);
    return in_time;
}

void run_stop_all(unsigned patience_ms)
{
    for (struct run_child *c = run_children; c < run_children + RUN_CHILDREN; c++)
        if (c->pid && !c->is_over) {
            c->is_told = true;
            kill(c->pid, SIGTERM);
        }
    for (struct run_child *c = run_children; c < run_children + RUN_CHILDREN; c++)
        if (c->pid && !run_stop(c, SIGTERM, patience_ms))
            fprintf(stderr, "nthost: %s (pid %d) did not end, killed\n", c->name, (int)c->pid);
}
