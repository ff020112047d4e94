/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Private to the command line (main.c, port.c, child.c, command.c, control.c): adapters plugged
 * with an edge each, programs started beside them, and the commands that act on both. All of it
 * belongs to the main thread, which is inside the machine except while it polls.
 */
#pragma once

#include "client/client.h"
#include "edge/edge.h"

enum { RUN_PORTS = 16, RUN_CHILDREN = 64, RUN_DRIVERS = 8, RUN_WORDS = 64, RUN_LIST = 8 };
enum { EXIT_RUN_FAILED = 1, EXIT_RUN_USAGE = 2 };

/* ---- adapters (port.c) ---- */

enum run_edge { EDGE_AUTO, EDGE_NONE, EDGE_TUN, EDGE_LWIP };

/* A SPEC of the command line, taken apart. Points into text. */
struct run_spec {
    char text[1024];
    enum run_edge edge;
    const char *addresses[RUN_LIST + 1], *routes[RUN_LIST + 1], *keys[RUN_LIST + 1];
    const char *id;
    uint32_t mtu;
    unsigned driver; /* index of the driver it is an adapter of */
};

struct run_port {
    struct nth_device *device; /* NULL: free */
    struct nth_tap *tap;
    struct nth_lwip *lwip;
    struct run_spec spec;
    enum run_edge edge;
    _Atomic int busy; /* conversations of lwIP under way */
};

/* NULL, or what is wrong with it, in words. */
const char *run_spec_parse(struct run_spec *spec, const char *text);

extern struct nth_driver *run_drivers[RUN_DRIVERS];
extern unsigned run_driver_count;
extern struct run_port run_ports[RUN_PORTS];
extern const char *run_tun_node;

struct run_port *run_port(const char *number); /* NULL: none plugged there */
/* Number of the port, or -1 with a message on the descriptor. */
int run_plug(const struct run_spec *spec, int errors);
/* Orderly: edge away, then query and remove. 0, or -1 with a message. */
int run_unplug(struct run_port *port, int errors);
void run_surprise(struct run_port *port);
void run_print_port(const struct run_port *port, int to);
int run_print_counters(struct run_port *port, int to);

/* ---- programs (child.c) ---- */

struct run_child {
    pid_t pid; /* 0: free */
    int pidfd;
    struct client *client; /* NULL: a program in an adapter's namespace, not a user process */
    bool is_over;
    bool is_told; /* to end */
    int status;   /* exit code; 128 + signal */
    int reply;    /* control connection that waits for its end; -1 */
    char name[64];
};

extern struct run_child run_children[RUN_CHILDREN];

struct run_start {
    enum client_token token;
    bool wow64;
};
/* words: program and arguments, NULL-terminated; %N stands for the NetCfgInstanceId of adapter N.
 * Number of the child, or -1 with a message. */
int run_start(const struct run_start *how, char **words, int errors);
int run_exec(struct run_port *port, char **words, const int stdio[3]);
struct run_child *run_child(const char *number);
/* Takes note of children that ended; answers connections that waited. */
void run_reap(void);
/* SIGTERM to all, SIGKILL after patience; reaps. */
void run_stop_all(unsigned patience_ms);
bool run_stop(struct run_child *child, int signal, unsigned patience_ms);

/* ---- commands (command.c) and their way here (control.c) ---- */

enum { RUN_LATER = -1 }; /* the answer comes when a child ends or a conversation is over */
/* Exit status of the command. reply: the connection it came on, or -1. */
int run_command(char **words, const int stdio[3], int reply);
extern const char run_command_help[];

int run_control_open(const char *path, char error[NTH_EDGE_ERROR]); /* 0 or -errno */
void run_control_close(void);
void run_answer(int reply, int status); /* and hangs up */
/* One round: waits for a command, the end of a child, a signal or the deadline (CLOCK_MONOTONIC ns)
 * and serves it. */
void run_poll(uint64_t deadline_ns);
extern bool run_is_ending; /* a signal or the command quit */
/* The other side: sends words and this process's stdio, answers the command's exit status. */
int run_ask(const char *path, char **words);

uint64_t run_now_ns(void);
/* Splits at blanks; words point into line. Number of words, at most RUN_WORDS - 1. */
unsigned run_split(char *line, char **words);
