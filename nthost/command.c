/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Commands to a running nthost, one table. A command writes to the descriptors it was given, which
 * are the asking program's own, and answers an exit status: 0, 1 for what failed, 2 for what was
 * not understood.
 */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct call {
    char **words; /* behind the command's name */
    unsigned count;
    const int *stdio;
    int reply;
};

static int usage(const struct call *call, const char *text)
{
    dprintf(call->stdio[2], "usage: %s\n", text);
    return EXIT_RUN_USAGE;
}

static struct run_port *need_port(const struct call *call, unsigned word)
{
    struct run_port *port = word < call->count ? run_port(call->words[word]) : NULL;

    if (!port)
        dprintf(call->stdio[2], "no adapter %s\n",
                word < call->count ? call->words[word] : "given");
    return port;
}

static struct run_child *need_child(const struct call *call)
{
    struct run_child *child = call->count ? run_child(call->words[0]) : NULL;

    if (!child)
        dprintf(call->stdio[2], "no client %s\n", call->count ? call->words[0] : "given");
    return child;
}

static int do_status(const struct call *call)
{
    for (struct run_port *p = run_ports; p < run_ports + RUN_PORTS; p++)
        if (p->device)
            run_print_port(p, call->stdio[1]);
    for (struct run_child *c = run_children; c < run_children + RUN_CHILDREN; c++)
        if (c->pid)
            dprintf(call->stdio[1], "%s %u pid %d %s %s\n", c->client ? "client" : "program",
                    (unsigned)(c - run_children), (int)c->pid, c->is_over ? "over" : "running",
                    c->name);
    dprintf(call->stdio[1], "pool_bytes %zu\n", nth_pool_bytes());
    return 0;
}

static int do_counters(const struct call *call)
{
    struct run_port *port = need_port(call, 0);

    return port && run_print_counters(port, call->stdio[1]) == 0 ? 0 : EXIT_RUN_FAILED;
}

static int do_plug(const struct call *call)
{
    struct run_spec spec;

    if (call->count > 1)
        return usage(call, "plug [SPEC]");
    const char *wrong = run_spec_parse(&spec, call->count ? call->words[0] : "none");
    if (wrong) {
        dprintf(call->stdio[2], "%s: %s\n", call->words[0], wrong);
        return EXIT_RUN_USAGE;
    }
    const int number = run_plug(&spec, call->stdio[2]);
    if (number < 0)
        return EXIT_RUN_FAILED;
    dprintf(call->stdio[1], "%d\n", number);
    return 0;
}

static int do_unplug(const struct call *call)
{
    struct run_port *port = need_port(call, 0);

    return port && run_unplug(port, call->stdio[2]) == 0 ? 0 : EXIT_RUN_FAILED;
}

static int do_surprise(const struct call *call)
{
    struct run_port *port = need_port(call, 0);

    if (!port || port->busy)
        return EXIT_RUN_FAILED;
    run_surprise(port);
    return 0;
}

static int answer_status(const struct call *call, NTSTATUS status)
{
    if (status == NDIS_STATUS_SUCCESS)
        return 0;
    dprintf(call->stdio[2], "status 0x%08X\n", (unsigned)status);
    return EXIT_RUN_FAILED;
}

static int do_pause(const struct call *call)
{
    struct run_port *port = need_port(call, 0);

    return port ? answer_status(call, nth_pause(nth_adapter_of(port->device))) : EXIT_RUN_FAILED;
}

static int do_restart(const struct call *call)
{
    struct run_port *port = need_port(call, 0);

    return port ? answer_status(call, nth_restart(nth_adapter_of(port->device))) : EXIT_RUN_FAILED;
}

static int do_sleep(const struct call *call)
{
    return answer_status(call, nth_sleep());
}

static int do_wake(const struct call *call)
{
    return answer_status(call, nth_wake());
}

static int do_start(const struct call *call)
{
    static const struct {
        const char *name;
        enum client_token token;
    } tokens[] = {{"--system", CLIENT_SYSTEM},
                  {"--admin", CLIENT_ADMIN},
                  {"--filtered", CLIENT_ADMIN_FILTERED},
                  {"--user", CLIENT_USER}};
    struct run_start how = {.token = CLIENT_SYSTEM};
    char **words = call->words;

    for (; *words && strncmp(*words, "--", 2) == 0; words++) {
        bool known = strcmp(*words, "--wow64") == 0;
        how.wow64 |= known;
        for (unsigned i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++)
            if (strcmp(*words, tokens[i].name) == 0) {
                how.token = tokens[i].token;
                known = true;
            }
        if (!known)
            break;
    }
    if (!*words || **words == '-')
        return usage(call,
                     "start [--system|--admin|--filtered|--user] [--wow64] PROGRAM [ARGUMENT...]");
    const int number = run_start(&how, words, call->stdio[2]);
    if (number < 0)
        return EXIT_RUN_FAILED;
    dprintf(call->stdio[1], "%d\n", number);
    return 0;
}

static int do_kill(const struct call *call)
{
    struct run_child *child = need_child(call);

    if (!child)
        return EXIT_RUN_FAILED;
    run_stop(child, SIGKILL, 10000);
    return 0;
}

static int do_stop(const struct call *call)
{
    struct run_child *child = need_child(call);

    if (!child)
        return EXIT_RUN_FAILED;
    if (!run_stop(child, SIGTERM, 10000))
        dprintf(call->stdio[2], "it did not end and was killed\n");
    return child->status;
}

static int later(const struct call *call, struct run_child *child)
{
    if (child->is_over)
        return child->status;
    if (child->reply >= 0) {
        dprintf(call->stdio[2], "somebody else waits for it\n");
        return EXIT_RUN_FAILED;
    }
    child->reply = call->reply;
    return RUN_LATER;
}

static int do_wait(const struct call *call)
{
    struct run_child *child = need_child(call);

    return child ? later(call, child) : EXIT_RUN_FAILED;
}

static int do_exec(const struct call *call)
{
    struct run_port *port = need_port(call, 0);

    if (call->count < 2)
        return usage(call, "exec ADAPTER PROGRAM [ARGUMENT...]");
    const int number = port ? run_exec(port, call->words + 1, call->stdio) : -1;
    return number < 0 ? EXIT_RUN_FAILED : later(call, &run_children[number]);
}

/* ---- conversations of lwIP, each on a thread outside the machine ---- */

struct conversation {
    struct run_port *from, *to;
    char target[64];
    uint64_t amount, bytes;
    int output, reply;
};

static struct conversation *conversation_new(const struct call *call, struct run_port *from,
                                             struct run_port *to, const char *target)
{
    struct conversation *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    *c = (struct conversation){.from = from, .to = to};
    snprintf(c->target, sizeof(c->target), "%s", target);
    c->output =
        fcntl(call->stdio[1], F_DUPFD_CLOEXEC, 3); /* own: the asker may hang up meanwhile */
    c->reply = fcntl(call->reply, F_DUPFD_CLOEXEC, 3);
    atomic_fetch_add(&from->busy, 1);
    atomic_fetch_add(&to->busy, 1);
    return c;
}

static void conversation_over(struct conversation *c, int failed)
{
    if (failed && failed != -EPROTO)
        dprintf(c->output, "failed: %s\n", strerror(-failed));
    close(c->output);
    atomic_fetch_sub(&c->from->busy, 1);
    atomic_fetch_sub(&c->to->busy, 1);
    run_answer(c->reply, failed ? EXIT_RUN_FAILED : 0);
    close(c->reply);
    free(c);
}

static void *ping_thread(void *argument)
{
    struct conversation *c = argument;
    struct nth_ping r;
    int failed = nth_lwip_ping(c->from->lwip, c->target, (unsigned)c->amount, c->bytes, &r);

    if (!failed) {
        const double mean = r.received ? (double)r.sum_ns / r.received / 1e6 : 0;
        dprintf(c->output,
                "%u packets transmitted, %u received, rtt min/avg/max = %.3f/%.3f/%.3f ms\n",
                r.sent, r.received, (double)r.min_ns / 1e6, mean, (double)r.max_ns / 1e6);
        failed = r.received == r.sent ? 0 : -EPROTO;
    }
    conversation_over(c, failed);
    return NULL;
}

static void *transfer_thread(void *argument)
{
    struct conversation *c = argument;
    struct nth_transfer r;
    int failed = nth_lwip_transfer(c->from->lwip, c->to->lwip, c->target, c->bytes, &r);

    dprintf(c->output, "%" PRIu64 " of %" PRIu64 " bytes arrived as sent, %.1f MB/s\n", r.bytes,
            c->bytes, r.ns ? (double)r.bytes * 1e3 / (double)r.ns : 0);
    if (!failed && !r.is_identical)
        failed = -EPROTO;
    conversation_over(c, failed);
    return NULL;
}

static int converse(struct conversation *c, void *(*run)(void *))
{
    pthread_t thread;

    if (!c || pthread_create(&thread, NULL, run, c) != 0)
        return EXIT_RUN_FAILED;
    pthread_detach(thread);
    return RUN_LATER;
}

static bool has_lwip(const struct call *call, const struct run_port *port)
{
    if (!port || port->lwip)
        return port != NULL;
    dprintf(call->stdio[2], "the adapter's edge is not lwip\n");
    return false;
}

static int do_ping(const struct call *call)
{
    if (call->count < 2 || call->count > 4)
        return usage(call, "ping ADAPTER TARGET [COUNT [BYTES]]");
    struct run_port *port = need_port(call, 0);
    if (!has_lwip(call, port))
        return EXIT_RUN_FAILED;
    struct conversation *c = conversation_new(call, port, port, call->words[1]);
    if (c) {
        c->amount = call->count > 2 ? strtoul(call->words[2], NULL, 10) : 1;
        c->bytes = call->count > 3 ? strtoul(call->words[3], NULL, 10) : 56;
    }
    return converse(c, ping_thread);
}

static int do_transfer(const struct call *call)
{
    if (call->count != 4)
        return usage(call, "transfer FROM-ADAPTER TO-ADAPTER TARGET BYTES");
    struct run_port *from = need_port(call, 0), *to = need_port(call, 1);
    if (!has_lwip(call, from) || !has_lwip(call, to))
        return EXIT_RUN_FAILED;
    struct conversation *c = conversation_new(call, from, to, call->words[2]);
    if (c)
        c->bytes = strtoull(call->words[3], NULL, 10);
    return converse(c, transfer_thread);
}

static int do_quit(const struct call *call)
{
    run_is_ending = true;
    return 0;
}

static int do_help(const struct call *call)
{
    dprintf(call->stdio[1], "%s", run_command_help);
    return 0;
}

const char run_command_help[] =
    "  status                          adapters, programs, memory\n"
    "  counters ADAPTER                the driver's statistics (OID_GEN_STATISTICS) and the "
    "edge's\n"
    "  plug [SPEC] | unplug ADAPTER    plug prints the adapter's number\n"
    "  surprise ADAPTER                surprise removal\n"
    "  pause ADAPTER | restart ADAPTER | sleep | wake\n"
    "  start [--system|--admin|--filtered|--user] [--wow64] PROGRAM [ARGUMENT...]\n"
    "                                  a user process of the machine; prints its number\n"
    "  kill CLIENT | stop CLIENT | wait CLIENT     SIGKILL; SIGTERM and wait; wait\n"
    "  exec ADAPTER PROGRAM [ARGUMENT...]          in the adapter's network namespace\n"
    "  ping ADAPTER TARGET [COUNT [BYTES]]         by lwIP\n"
    "  transfer FROM TO TARGET BYTES               by lwIP: one TCP connection, compared\n"
    "  quit                            orderly unload\n";

int run_command(char **words, const int stdio[3], int reply)
{
    static const struct {
        const char *name;
        int (*run)(const struct call *call);
    } commands[] = {
        {"status", do_status},     {"counters", do_counters}, {"plug", do_plug},
        {"unplug", do_unplug},     {"surprise", do_surprise}, {"pause", do_pause},
        {"restart", do_restart},   {"sleep", do_sleep},       {"wake", do_wake},
        {"start", do_start},       {"kill", do_kill},         {"stop", do_stop},
        {"wait", do_wait},         {"exec", do_exec},         {"ping", do_ping},
        {"transfer", do_transfer}, {"quit", do_quit},         {"help", do_help},
    };
    struct call call = {.words = words + 1, .stdio = stdio, .reply = reply};

    while (words[0] && call.words[call.count])
        call.count++;
    for (unsigned i = 0; words[0] && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(words[0], commands[i].name) == 0)
            return commands[i].run(&call);
    dprintf(stdio[2], "%s: no such command (try help)\n", words[0] ? words[0] : "");
    return EXIT_RUN_USAGE;
}
