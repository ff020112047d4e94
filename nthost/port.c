/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Adapters of the command line: what a SPEC says, plugging with an edge, unplugging, counters.
 * Knows NDIS's statistics and the edge's own, and never what kind of driver is underneath.
 */
#include "run.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct nth_driver *run_drivers[RUN_DRIVERS];
unsigned run_driver_count;
struct run_port run_ports[RUN_PORTS];
const char *run_tun_node;

/* ---- SPEC ---- */

static bool append(const char **list, const char *item)
{
    for (unsigned i = 0; i < RUN_LIST; i++)
        if (!list[i]) {
            list[i] = item;
            return true;
        }
    return false;
}

static const char *parse_number(const char *text, unsigned long most, uint32_t *value)
{
    char *end;
    const unsigned long parsed = strtoul(text, &end, 0);

    *value = (uint32_t)parsed;
    return *text && !*end && parsed <= most ? NULL : "not a number in range";
}

static bool is_prefix(const char *text)
{
    const char *slash = strchr(text, '/');
    const size_t length = slash ? (size_t)(slash - text) : 0;
    char host[INET6_ADDRSTRLEN], *end;
    uint8_t address[16];

    if (!length || length >= sizeof(host) || slash[1] < '0' || slash[1] > '9')
        return false;
    memcpy(host, text, length);
    host[length] = 0;
    const int family = strchr(host, ':') ? AF_INET6 : AF_INET;
    const unsigned long bits = strtoul(slash + 1, &end, 10);
    return inet_pton(family, host, address) == 1 && !*end && bits <= (family == AF_INET ? 32 : 128);
}

static bool is_guid(const char *text)
{
    static const char form[] = "{xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx}";
    const size_t length = strlen(text);

    for (size_t i = 0; i <= length; i++)
        if (i >= sizeof(form) ||
            (form[i] == 'x' ? !isxdigit((unsigned char)text[i]) : text[i] != form[i]))
            return false;
    return length == sizeof(form) - 1;
}

/* NAME=TEXT or NAME:d=NUMBER */
static const char *parse_key(struct run_spec *spec, const char *text)
{
    const char *value = strchr(text, '=');
    uint32_t number;

    if (!value || value == text)
        return "not key=NAME=TEXT or key=NAME:d=NUMBER";
    if (value - text > 2 && strncmp(value - 2, ":d", 2) == 0 &&
        parse_number(value + 1, UINT32_MAX, &number))
        return "the value of a :d key is no number";
    return append(spec->keys, text) ? NULL : "too many keys";
}

static const char *parse_route(struct run_spec *spec, const char *text)
{
    if (!is_prefix(text))
        return "a route is ADDRESS/LENGTH, IPv4 or IPv6";
    return append(spec->routes, text) ? NULL : "too many routes";
}

static const char *parse_setting(struct run_spec *spec, char *item)
{
    char *value = strchr(item, '=');
    uint32_t driver = 0;
    const char *wrong = "unknown setting (mtu, route, id, key, driver)";

    *value++ = 0;
    if (strcmp(item, "mtu") == 0)
        wrong = parse_number(value, 65535, &spec->mtu);
    else if (strcmp(item, "route") == 0)
        wrong = parse_route(spec, value);
    else if (strcmp(item, "key") == 0)
        wrong = parse_key(spec, value);
    else if (strcmp(item, "id") == 0) {
        spec->id = value;
        wrong = is_guid(value) ? NULL : "id is not a {GUID}";
    } else if (strcmp(item, "driver") == 0)
        wrong = parse_number(value, RUN_DRIVERS - 1, &driver);
    spec->driver = driver ? driver : spec->driver;
    return wrong;
}

static const char *parse_item(struct run_spec *spec, char *item)
{
    static const char *const kinds[] = {"auto", "none", "tun", "lwip"};

    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(item, kinds[i]) == 0) {
            spec->edge = (enum run_edge)i;
            return NULL;
        }
    if (strchr(item, '='))
        return parse_setting(spec, item);
    if (!strchr(item, '/'))
        return "neither an edge (auto, none, tun, lwip), nor ADDRESS/LENGTH, nor NAME=VALUE";
    if (!is_prefix(item))
        return "an address is ADDRESS/LENGTH, IPv4 (length to 32) or IPv6 (to 128)";
    return append(spec->addresses, item) ? NULL : "too many addresses";
}

const char *run_spec_parse(struct run_spec *spec, const char *text)
{
    *spec = (struct run_spec){.edge = EDGE_AUTO};
    if ((size_t)snprintf(spec->text, sizeof(spec->text), "%s", text) >= sizeof(spec->text))
        return "too long";
    char *rest = spec->text;
    for (char *item; (item = strsep(&rest, ","));) {
        const char *wrong = *item ? parse_item(spec, item) : "empty item";
        if (wrong)
            return wrong;
    }
    if (spec->edge == EDGE_AUTO && !spec->addresses[0])
        spec->edge = EDGE_NONE;
    return NULL;
}

/* The lists of a spec point into its text; those of a copy must point into its own. */
static void spec_copy(struct run_spec *to, const struct run_spec *from)
{
    const ptrdiff_t shift = to->text - from->text;

    *to = *from;
    for (unsigned i = 0; i < RUN_LIST; i++) {
        to->addresses[i] += from->addresses[i] ? shift : 0;
        to->routes[i] += from->routes[i] ? shift : 0;
        to->keys[i] += from->keys[i] ? shift : 0;
    }
    to->id += from->id ? shift : 0;
}

/* ---- plug and unplug ---- */

struct run_port *run_port(const char *number)
{
    char *end;
    const unsigned long index = strtoul(number, &end, 10);

    return *number && !*end && index < RUN_PORTS && run_ports[index].device ? &run_ports[index]
                                                                            : NULL;
}

static int open_edge(struct run_port *port, int errors)
{
    const struct run_spec *spec = &port->spec;
    char name[16], error[NTH_EDGE_ERROR] = "";
    const struct nth_edge_config config = {.name = name,
                                           .addresses = spec->addresses,
                                           .routes = spec->routes,
                                           .mtu = spec->mtu,
                                           .tun_node = run_tun_node};
    int failed = 0;

    snprintf(name, sizeof(name), "nt%u", (unsigned)(port - run_ports));
    port->edge = spec->edge;
    if (spec->edge == EDGE_AUTO) {
        port->edge = nth_tap_available(run_tun_node, error) ? EDGE_TUN : EDGE_LWIP;
        if (port->edge == EDGE_LWIP)
            dprintf(errors, "no TUN here (%s): lwIP in the process instead\n", error);
    }
    struct nth_adapter *adapter = nth_adapter_of(port->device);
    if (!adapter && port->edge != EDGE_NONE) {
        dprintf(errors, "the device is no NDIS miniport: nothing to attach to\n");
        return -1;
    }
    if (port->edge == EDGE_TUN)
        failed = nth_tap_open(adapter, &config, &port->tap, error);
    else if (port->edge == EDGE_LWIP)
        failed = nth_lwip_open(adapter, &config, &port->lwip, error);
    if (failed)
        dprintf(errors, "adapter %u: %s\n", (unsigned)(port - run_ports), error);
    return failed ? -1 : 0;
}

static void close_edge(struct run_port *port)
{
    nth_tap_close(port->tap);
    nth_lwip_close(port->lwip);
    port->tap = NULL;
    port->lwip = NULL;
}

int run_plug(const struct run_spec *spec, int errors)
{
    struct run_port *port = run_ports;

    while (port < run_ports + RUN_PORTS && port->device)
        port++;
    if (port == run_ports + RUN_PORTS || spec->driver >= run_driver_count) {
        dprintf(errors, "%s\n",
                spec->driver >= run_driver_count ? "no such driver" : "no port free");
        return -1;
    }
    spec_copy(&port->spec, spec);
    const struct nth_device_config config = {
        .net_cfg_id = port->spec.id,
        .keys = port->spec.keys[0] ? port->spec.keys : NULL,
    };
    const NTSTATUS status = nth_plug(run_drivers[spec->driver], &config, &port->device);
    if (!NT_SUCCESS(status)) {
        dprintf(errors, "the driver refused the adapter: status 0x%08X\n", (unsigned)status);
        port->device = NULL;
        return -1;
    }
    if (open_edge(port, errors) == 0)
        return (int)(port - run_ports);
    run_unplug(port, errors);
    return -1;
}

int run_unplug(struct run_port *port, int errors)
{
    if (port->busy) {
        dprintf(errors, "adapter %u is in use\n", (unsigned)(port - run_ports));
        return -1;
    }
    close_edge(port);
    const NTSTATUS status = nth_unplug(port->device);
    if (!NT_SUCCESS(status)) {
        dprintf(errors, "removal of adapter %u vetoed: status 0x%08X\n",
                (unsigned)(port - run_ports), (unsigned)status);
        return -1;
    }
    port->device = NULL;
    return 0;
}

/* The edge learns of it through its detach call and is closed afterwards. */
void run_surprise(struct run_port *port)
{
    nth_surprise_remove(port->device);
    port->device = NULL;
    close_edge(port);
}

/* ---- what is shown ---- */

static const char *state_name(enum nth_adapter_state state)
{
    static const char *const names[] = {"halted",     "initializing", "paused",
                                        "restarting", "running",      "pausing"};

    return (unsigned)state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

void run_print_port(const struct run_port *port, int to)
{
    static const char *const edges[] = {"auto", "none", "tun", "lwip"};
    struct nth_adapter *adapter = nth_adapter_of(port->device);

    dprintf(to, "adapter %u %s edge %s", (unsigned)(port - run_ports),
            nth_device_net_cfg_id(port->device), edges[port->edge]);
    if (adapter)
        dprintf(to, " %s link %s mtu %u", state_name(nth_adapter_state(adapter)),
                nth_link_state(adapter)->MediaConnectState == MediaConnectStateConnected ? "up"
                                                                                         : "down",
                nth_adapter_mtu(adapter));
    for (const char *const *a = port->spec.addresses; *a; a++)
        dprintf(to, " %s", *a);
    dprintf(to, "\n");
}

static void print_edge_counters(struct run_port *port, int to)
{
    struct nth_edge_counters c = {0};

    if (port->tap)
        nth_tap_counters(port->tap, &c);
    else if (port->lwip)
        nth_lwip_counters(port->lwip, &c);
    else
        return;
    dprintf(to,
            "edge_sent_packets %" PRIu64 "\nedge_sent_bytes %" PRIu64
            "\nedge_failed_packets %" PRIu64 "\nedge_received_packets %" PRIu64
            "\nedge_received_bytes %" PRIu64 "\nedge_refused_packets %" PRIu64 "\n",
            c.sent_packets, c.sent_bytes, c.failed_packets, c.received_packets, c.received_bytes,
            c.refused_packets);
}

int run_print_counters(struct run_port *port, int to)
{
    NDIS_STATISTICS_INFO s = {.Header = {.Type = NDIS_OBJECT_TYPE_DEFAULT,
                                         .Revision = NDIS_STATISTICS_INFO_REVISION_1,
                                         .Size = NDIS_SIZEOF_STATISTICS_INFO_REVISION_1}};
    struct nth_adapter *adapter = nth_adapter_of(port->device);
    ULONG written = 0;

    if (!adapter)
        return -1;
    const NDIS_STATUS status = nth_query(adapter, OID_GEN_STATISTICS, &s, sizeof(s), &written);
    if (status != NDIS_STATUS_SUCCESS) {
        dprintf(to, "OID_GEN_STATISTICS failed: 0x%08X\n", (unsigned)status);
        return -1;
    }
    const uint64_t in = s.ifHCInUcastPkts + s.ifHCInMulticastPkts + s.ifHCInBroadcastPkts;
    const uint64_t out = s.ifHCOutUcastPkts + s.ifHCOutMulticastPkts + s.ifHCOutBroadcastPkts;
    dprintf(to,
            "in_packets %" PRIu64 "\nin_bytes %" PRIu64 "\nin_discards %" PRIu64
            "\nin_errors %" PRIu64 "\n",
            in, (uint64_t)s.ifHCInOctets, (uint64_t)s.ifInDiscards, (uint64_t)s.ifInErrors);
    dprintf(to,
            "out_packets %" PRIu64 "\nout_bytes %" PRIu64 "\nout_discards %" PRIu64
            "\nout_errors %" PRIu64 "\n",
            out, (uint64_t)s.ifHCOutOctets, (uint64_t)s.ifOutDiscards, (uint64_t)s.ifOutErrors);
    print_edge_counters(port, to);
    return 0;
}
