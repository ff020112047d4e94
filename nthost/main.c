/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The command line: boots a machine, loads the given drivers, plugs adapters, starts programs, and
 * serves commands until told to end; then removes and unloads everything in order. Input that is
 * not understood ends with exit code 2 before anything was started.
 */
#include "run.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SPECS = RUN_PORTS, LINES = 16, PATIENCE_MS = 5000, LINK_MS = 3000 };

struct options {
    struct nth_config config;
    struct run_spec specs[SPECS];
    const char *clients[LINES], *execs[LINES];
    unsigned spec_count, client_count, exec_count;
    const char *control;
    double seconds; /* negative: until told */
    bool counters, quiet;
    char *const *drivers;
    unsigned driver_count;
};

static const char help[] =
    "usage: nthost [OPTION...] DRIVER.sys [DRIVER.sys...]\n"
    "       nthost --ask SOCKET COMMAND [WORD...]\n"
    "\n"
    "Boots a machine with the given driver binaries and plugs adapters of the first.\n"
    "\n"
    "  -a, --adapter SPEC   plug an adapter; may be repeated. SPEC is a list of\n"
    "                         tun | lwip | auto | none     the TCP/IP stack it is attached to;\n"
    "                                                      auto: lwip where no TUN can be made\n"
    "                         ADDRESS/LENGTH               of its interface, IPv4 or IPv6\n"
    "                         route=PREFIX mtu=N id={GUID} driver=N\n"
    "                         key=NAME=TEXT key=NAME:d=N   a value of its driver key\n"
    "                       for example tun,10.7.0.1/24,fd07::1/64,mtu=1420\n"
    "  -n, --adapters N     plug N adapters without an edge\n"
    "  -c, --client COMMAND start a program as a user process of the machine; %0 stands for the\n"
    "                       NetCfgInstanceId of adapter 0 and so on\n"
    "  -e, --exec N:COMMAND run a program in the namespace of adapter N; without --control or\n"
    "                       --seconds nthost ends with the last one, and with its exit status\n"
    "      --ndis VERSION   what NDIS claims to be, 6.20 to 6.89 (default 6.89)\n"
    "      --processors N   1 to 64 (default 4)\n"
    "      --serial[=SEED]  one thread at a time, scheduled by the seed\n"
    "      --strict         guard pages around every allocation (slower)\n"
    "      --trace          print events as they happen\n"
    "      --tun NODE       the TUN device node (default /dev/net/tun)\n"
    "      --control SOCKET serve commands there: a path, or @NAME for a name without a file\n"
    "      --seconds N      end after N seconds\n"
    "      --counters       print each adapter's counters at the end\n"
    "  -q, --quiet          say only what went wrong\n"
    "  -h, --help           this text\n"
    "\n"
    "Commands for --ask:\n";

static const char exits[] =
    "\n"
    "Exit status: 0 everything was unloaded and nothing leaked; 1 something failed; 2 bad usage;\n"
    "70 the driver broke a rule, which the report names; 71 the host failed.\n";

static _Noreturn void bad_usage(const char *what, const char *why)
{
    fprintf(stderr, "nthost: %s: %s\nTry 'nthost --help'.\n", what, why);
    exit(EXIT_RUN_USAGE);
}

static unsigned long number(const char *what, const char *text, unsigned long least,
                            unsigned long most)
{
    char *end;
    const unsigned long value = strtoul(text, &end, 0);
    char why[64];

    snprintf(why, sizeof(why), "not a number from %lu to %lu", least, most);
    if (!*text || *end || *text == '-' || value < least || value > most)
        bad_usage(what, why);
    return value;
}

static uint32_t ndis_version(const char *text)
{
    unsigned major, minor;
    char rest;

    if (sscanf(text, "%u.%u%c", &major, &minor, &rest) != 2 || major != 6 || minor < 20 ||
        minor > 89)
        bad_usage(text, "not an NDIS version from 6.20 to 6.89");
    return major << 16 | minor;
}

static void add_spec(struct options *o, const char *text)
{
    if (o->spec_count == SPECS)
        bad_usage(text, "too many adapters");
    const char *wrong = run_spec_parse(&o->specs[o->spec_count++], text);
    if (wrong)
        bad_usage(text, wrong);
}

static void add_line(const char **lines, unsigned *count, const char *line)
{
    if (*count == LINES)
        bad_usage(line, "too many programs");
    lines[(*count)++] = line;
}

enum {
    OPT_NDIS = 256,
    OPT_PROCESSORS,
    OPT_SERIAL,
    OPT_STRICT,
    OPT_TRACE,
    OPT_TUN,
    OPT_CONTROL,
    OPT_SECONDS,
    OPT_COUNTERS
};

static const struct option long_options[] = {
    {"adapter", required_argument, NULL, 'a'},
    {"adapters", required_argument, NULL, 'n'},
    {"client", required_argument, NULL, 'c'},
    {"exec", required_argument, NULL, 'e'},
    {"ndis", required_argument, NULL, OPT_NDIS},
    {"processors", required_argument, NULL, OPT_PROCESSORS},
    {"serial", optional_argument, NULL, OPT_SERIAL},
    {"strict", no_argument, NULL, OPT_STRICT},
    {"trace", no_argument, NULL, OPT_TRACE},
    {"tun", required_argument, NULL, OPT_TUN},
    {"control", required_argument, NULL, OPT_CONTROL},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"counters", no_argument, NULL, OPT_COUNTERS},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

/* One case an option: a table of what is in the text above. */
static void take_option(struct options *o, int option)
{
    switch (option) {
    case 'a':
        add_spec(o, optarg);
        break;
    case 'n':
        for (unsigned long n = number("--adapters", optarg, 0, SPECS); n; n--)
            add_spec(o, "none");
        break;
    case 'c':
        add_line(o->clients, &o->client_count, optarg);
        break;
    case 'e':
        if (!strchr(optarg, ':'))
            bad_usage(optarg, "not N:COMMAND");
        add_line(o->execs, &o->exec_count, optarg);
        break;
    case OPT_NDIS:
        o->config.ndis_version = ndis_version(optarg);
        break;
    case OPT_PROCESSORS:
        o->config.processors = (unsigned)number("--processors", optarg, 1, 64);
        break;
    case OPT_SERIAL:
        o->config.mode = NTH_SERIAL;
        o->config.seed = optarg ? (uint32_t)number("--serial", optarg, 0, UINT32_MAX) : 0;
        break;
    case OPT_STRICT:
        o->config.relaxed_memory = false;
        break;
    case OPT_TRACE:
        o->config.trace = true;
        break;
    case OPT_TUN:
        run_tun_node = optarg;
        break;
    case OPT_CONTROL:
        o->control = optarg;
        break;
    case OPT_SECONDS:
        o->seconds = (double)number("--seconds", optarg, 0, 1000000000);
        break;
    case OPT_COUNTERS:
        o->counters = true;
        break;
    case 'q':
        o->quiet = true;
        break;
    case 'h':
        printf("%s%s%s", help, run_command_help, exits);
        exit(0);
    default:
        fprintf(stderr, "Try 'nthost --help'.\n"); /* getopt has said what is wrong */
        exit(EXIT_RUN_USAGE);
    }
}

static void parse(struct options *o, int argc, char **argv)
{
    int option;

    *o = (struct options){.config = {.mode = NTH_PARALLEL, .relaxed_memory = true}, .seconds = -1};
    while ((option = getopt_long(argc, argv, "+a:n:c:e:qh", long_options, NULL)) != -1)
        take_option(o, option);
    o->drivers = argv + optind;
    o->driver_count = (unsigned)(argc - optind);
    if (o->driver_count == 0)
        bad_usage("no driver", "which .sys is to be run?");
    if (o->driver_count > RUN_DRIVERS)
        bad_usage(argv[optind + RUN_DRIVERS], "too many drivers");
    for (unsigned i = 0; i < o->driver_count; i++)
        if (access(o->drivers[i], R_OK) != 0)
            bad_usage(o->drivers[i], "cannot be read");
    for (unsigned i = 0; i < o->spec_count; i++)
        if (o->specs[i].driver >= o->driver_count)
            bad_usage(o->specs[i].text, "driver= names a driver that is not given");
}

/* ---- the run ---- */

static void service_name(const char *path, char *name, size_t room)
{
    const char *slash = strrchr(path, '/');

    snprintf(name, room, "%s", slash ? slash + 1 : path);
    char *dot = strrchr(name, '.');
    if (dot)
        *dot = 0;
}

static bool load(const struct options *o)
{
    for (unsigned i = 0; i < o->driver_count; i++) {
        char name[64];
        service_name(o->drivers[i], name, sizeof(name));
        const NTSTATUS status = nth_driver_load(o->drivers[i], name, &run_drivers[i]);
        if (!NT_SUCCESS(status)) {
            fprintf(stderr, "nthost: %s: DriverEntry failed: status 0x%08X\n", o->drivers[i],
                    (unsigned)status);
            return false;
        }
        run_driver_count++;
    }
    return true;
}

static bool start_clients(const struct options *o)
{
    const struct run_start how = {.token = CLIENT_SYSTEM};

    for (unsigned i = 0; i < o->client_count; i++) {
        char *words[RUN_WORDS];
        char *line = strdup(o->clients[i]); /* the words are the child's name and arguments */
        run_split(line, words);
        const bool started = run_start(&how, words, 2) >= 0;
        free(line);
        if (!started)
            return false;
    }
    return true;
}

static bool set_up(const struct options *o)
{
    if (!load(o))
        return false;
    for (unsigned i = 0; i < o->spec_count; i++) {
        const int port = run_plug(&o->specs[i], 2);
        if (port < 0)
            return false;
        if (!o->quiet)
            run_print_port(&run_ports[port], 1);
    }
    return start_clients(o);
}

/* A client that was just started takes a moment to bring its adapter's link up. */
static void wait_link(struct run_port *port)
{
    const uint64_t deadline = run_now_ns() + LINK_MS * 1000000ULL;

    while (!run_is_ending && run_now_ns() < deadline && port->tap &&
           nth_link_state(nth_adapter_of(port->device))->MediaConnectState !=
               MediaConnectStateConnected)
        run_poll(run_now_ns() + 1000000);
}

/* Runs one --exec to its end; its exit status. */
static int run_line(const char *text, bool has_clients)
{
    const int stdio[3] = {0, 1, 2};
    char *words[RUN_WORDS];
    char *line = strdup(text);
    char *command = strchr(line, ':');

    *command++ = 0;
    struct run_port *port = run_port(line);
    if (!port)
        fprintf(stderr, "nthost: %s: no such adapter\n", text);
    else if (has_clients)
        wait_link(port);
    run_split(command, words);
    const int number = port ? run_exec(port, words, stdio) : -1;
    free(line);
    while (number >= 0 && !run_children[number].is_over && !run_is_ending)
        run_poll(UINT64_MAX);
    return number < 0 || !run_children[number].is_over ? EXIT_RUN_FAILED
                                                       : run_children[number].status;
}

static int serve(const struct options *o)
{
    const uint64_t deadline =
        o->seconds < 0 ? UINT64_MAX : run_now_ns() + (uint64_t)(o->seconds * 1e9);
    int result = 0;

    for (unsigned i = 0; i < o->exec_count && !run_is_ending; i++) {
        const int status = run_line(o->execs[i], o->client_count != 0);
        result = status ? status : result;
    }
    if (o->exec_count && !o->control && o->seconds < 0)
        return result;
    while (!run_is_ending && run_now_ns() < deadline)
        run_poll(deadline);
    return result;
}

static bool unplug_all(const struct options *o)
{
    bool done = true;

    for (unsigned i = RUN_PORTS; i-- > 0;) {
        if (!run_ports[i].device)
            continue;
        if (o->counters) {
            run_print_port(&run_ports[i], 1);
            run_print_counters(&run_ports[i], 1);
        }
        for (int waited = 0; run_ports[i].busy && waited < PATIENCE_MS; waited += 10)
            usleep(10000); /* a conversation of lwIP ends by itself */
        done &= run_unplug(&run_ports[i], 2) == 0;
    }
    return done;
}

static bool unload_all(void)
{
    bool done = true;

    for (unsigned i = run_driver_count; i-- > 0;) {
        const NTSTATUS status = nth_driver_unload(run_drivers[i]);
        if (status != STATUS_SUCCESS)
            fprintf(stderr, "nthost: a driver stays loaded: status 0x%08X\n", (unsigned)status);
        done &= status == STATUS_SUCCESS;
    }
    return done;
}

static int run(const struct options *o)
{
    char error[NTH_EDGE_ERROR];

    if (run_control_open(o->control, error) != 0) {
        fprintf(stderr, "nthost: %s\n", error);
        return EXIT_RUN_FAILED;
    }
    nth_boot(&o->config);
    int result = set_up(o) ? serve(o) : EXIT_RUN_FAILED;
    run_stop_all(PATIENCE_MS);
    if (!unplug_all(o) || !unload_all())
        result = result ? result : EXIT_RUN_FAILED;
    nth_shutdown(); /* stops with 70 when something leaked */
    if (!o->quiet)
        printf("unloaded, nothing leaked\n");
    run_control_close();
    return result;
}

int main(int argc, char **argv)
{
    static struct options options;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1 && strcmp(argv[1], "--ask") == 0) {
        if (argc < 4)
            bad_usage("--ask", "needs SOCKET and COMMAND");
        return run_ask(argv[2], argv + 3);
    }
    parse(&options, argc, argv);
    return run(&options);
}
