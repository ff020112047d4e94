/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The TUN edge (edge/tap.c, edge/netns.c): Linux's own programs see the interface that was asked
 * for, their packets cross the driver, and nothing stays behind, however the process ends. The
 * driver is mirror.sys, a network in which every address answers.
 */
#include "check.h"
#include "edge/edge.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIRROR "out/drivers/gnu-O2/mirror.sys"
#define NODE   "out/test-tun"

enum { OID_MIRROR_LINK = (int)0xFFFA0001, NOBODY = 65534 };

static const char *const addresses[] = {"10.9.0.1/24", "fd09::1/64", NULL};
static const char *const routes[] = {"192.0.2.0/24", "2001:db8::/32", NULL};
static const struct nth_edge_config config = {
    .name = "test0", .addresses = addresses, .routes = routes, .mtu = 1400};

static struct nth_driver *driver;
static struct nth_device *device;

static void need_tun(void)
{
    char error[NTH_EDGE_ERROR];

    if (!nth_tap_available(NULL, error))
        check_skip("no TUN interface here: %s", error);
}

static void boot(void)
{
    nth_boot(&(struct nth_config){.mode = NTH_PARALLEL});
    CHECK_STATUS(nth_driver_load(MIRROR, "mirror", &driver), STATUS_SUCCESS);
    CHECK_STATUS(nth_plug(driver, NULL, &device), STATUS_SUCCESS);
}

static struct nth_tap *open_tap(const struct nth_edge_config *with)
{
    struct nth_tap *tap = NULL;
    char error[NTH_EDGE_ERROR];

    if (nth_tap_open(nth_adapter_of(device), with, &tap, error) != 0)
        check_fail(__FILE__, __LINE__, "%s", error);
    return tap;
}

static struct nth_tap *begin(void)
{
    need_tun();
    boot();
    return open_tap(&config);
}

static void end(struct nth_tap *tap)
{
    nth_tap_close(tap);
    nth_shutdown();
}

/* Exit status of a shell command in the interface's namespace; the machine goes on meanwhile. */
static int shell(struct nth_tap *tap, const char *command)
{
    char *argv[] = {"sh", "-c", (char *)command, NULL};
    const int stdio[3] = {0, 2, 2};
    const pid_t pid = nth_tap_exec(tap, argv, stdio);
    int status = 0;

    CHECK(pid > 0);
    nth_leave();
    CHECK(waitpid(pid, &status, 0) == pid);
    nth_enter("test");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(interface_has_addresses_mtu_and_routes)
{
    /* what ip(8) of the namespace says */
    struct nth_tap *tap = begin();

    CHECK_EQ(shell(tap, "ip -o addr show dev test0 | grep -q ' 10.9.0.1/24 '"), 0);
    CHECK_EQ(shell(tap, "ip -o addr show dev test0 | grep -q ' fd09::1/64 '"), 0);
    CHECK_EQ(shell(tap, "ip link show dev test0 | grep -q 'mtu 1400 '"), 0);
    CHECK_EQ(shell(tap, "ip route | grep -q '^192.0.2.0/24 dev test0'"), 0);
    CHECK_EQ(shell(tap, "ip -6 route | grep -q '^2001:db8::/32 dev test0'"), 0);
    CHECK_EQ(shell(tap, "test $(ls -d /proc/sys/net/ipv4/conf/* | grep -cv -e all -e default) = 2"),
             0);
    end(tap);
}

TEST(mtu_of_the_miniport_is_the_default)
{
    /* "NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES": MtuSize, here 65535 */
    need_tun();
    boot();
    struct nth_edge_config own = config;
    own.mtu = 0;
    struct nth_tap *tap = open_tap(&own);
    CHECK_EQ(shell(tap, "ip link show dev test0 | grep -q 'mtu 65535 '"), 0);
    end(tap);
}

TEST(ping_crosses_the_driver_packet_for_packet)
{
    /* OID_GEN_STATISTICS of the driver against the kernel's counters of the interface */
    struct nth_tap *tap = begin();
    NDIS_STATISTICS_INFO s = {0};
    struct nth_edge_counters c;
    char compare[256];
    ULONG written;

    CHECK_EQ(shell(tap, "ping -q -n -c 50 -i 0.002 -s 1000 10.9.0.77 >&2"), 0);
    CHECK_EQ(shell(tap, "ping -q -n -c 50 -i 0.002 -s 1000 2001:db8::5 >&2"), 0);
    CHECK_STATUS(nth_query(nth_adapter_of(device), OID_GEN_STATISTICS, &s, sizeof(s), &written),
                 NDIS_STATUS_SUCCESS);
    nth_tap_counters(tap, &c);
    CHECK(c.sent_packets >= 100);
    CHECK_EQ(c.sent_packets, s.ifHCOutUcastPkts);
    CHECK_EQ(c.sent_bytes, s.ifHCOutOctets);
    CHECK_EQ(c.received_packets + c.refused_packets, s.ifHCInUcastPkts);
    CHECK_EQ(c.failed_packets, 0);
    snprintf(compare, sizeof(compare),
             "awk '/test0/ { exit !($2 == %llu && $3 == %llu && $10 == %llu && $11 == %llu) }' "
             "/proc/net/dev",
             (unsigned long long)c.received_bytes, (unsigned long long)c.received_packets,
             (unsigned long long)c.sent_bytes, (unsigned long long)c.sent_packets);
    CHECK_EQ(shell(tap, compare), 0);
    end(tap);
}

TEST(largest_packets_cross)
{
    /* RFC 791: 65,535 bytes with the header */
    need_tun();
    boot();
    struct nth_edge_config own = config;
    own.mtu = 65535;
    struct nth_tap *tap = open_tap(&own);
    CHECK_EQ(shell(tap, "ping -q -n -c 3 -i 0.01 -s 65507 10.9.0.77 >&2"), 0);
    end(tap);
}

TEST(carrier_follows_the_link_state)
{
    /* "NDIS_STATUS_LINK_STATE": the miniport's word on its link */
    struct nth_tap *tap = begin();
    ULONG up = 0;

    CHECK_EQ(shell(tap, "ip link show dev test0 | grep -q LOWER_UP"), 0);
    CHECK_STATUS(nth_set(nth_adapter_of(device), OID_MIRROR_LINK, &up, sizeof(up)),
                 NDIS_STATUS_SUCCESS);
    CHECK_EQ(shell(tap, "ip link show dev test0 | grep -q NO-CARRIER"), 0);
    up = 1;
    CHECK_STATUS(nth_set(nth_adapter_of(device), OID_MIRROR_LINK, &up, sizeof(up)),
                 NDIS_STATUS_SUCCESS);
    CHECK_EQ(shell(tap, "ip link show dev test0 | grep -q LOWER_UP"), 0);
    CHECK_EQ(shell(tap, "ping -q -n -c 3 -i 0.01 10.9.0.77 >&2"), 0);
    end(tap);
}

TEST(adapter_pulled_under_traffic_detaches_the_edge)
{
    /* "ProtocolUnbindAdapterEx": the protocol is unbound before the miniport is halted */
    struct nth_tap *tap = begin();
    char *argv[] = {"ping", "-q", "-n", "-i", "0.002", "10.9.0.77", NULL};
    const int stdio[3] = {0, 2, 2};
    struct nth_edge_counters c = {0};
    const pid_t pid = nth_tap_exec(tap, argv, stdio);

    CHECK(pid > 0);
    while (nth_leave(), usleep(1000), nth_enter("test"), nth_tap_counters(tap, &c),
           c.received_packets < 20)
        ;
    nth_surprise_remove(device);
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, NULL, 0) == pid);
    end(tap);
}

TEST(bad_configurations_are_refused_in_words)
{
    /* nothing half made may stay: the same adapter takes a good one afterwards */
    static const char *const bad_address[] = {"10.9.0.300/24", NULL};
    static const char *const bad_length[] = {"fd09::1/129", NULL};
    struct nth_edge_config own = config;
    struct nth_tap *tap = NULL;
    char error[NTH_EDGE_ERROR];

    need_tun();
    boot();
    own.addresses = bad_address;
    CHECK(nth_tap_open(nth_adapter_of(device), &own, &tap, error) < 0);
    CHECK(strstr(error, "10.9.0.300"));
    own.addresses = bad_length;
    CHECK(nth_tap_open(nth_adapter_of(device), &own, &tap, error) < 0);
    CHECK(strstr(error, "fd09::1/129"));
    own.addresses = addresses;
    own.tun_node = "/nonexistent/tun";
    CHECK(nth_tap_open(nth_adapter_of(device), &own, &tap, error) < 0);
    CHECK(strstr(error, "/nonexistent/tun"));
    end(open_tap(&config));
}

/* ---- nothing stays ---- */

/* Whether a process is in the network namespace with this inode. */
static bool namespace_is_used(unsigned long inode)
{
    DIR *proc = opendir("/proc");
    bool found = false;

    for (struct dirent *entry; !found && (entry = readdir(proc));) {
        char path[300], link[64] = "", wanted[64];
        snprintf(path, sizeof(path), "/proc/%s/ns/net", entry->d_name);
        snprintf(wanted, sizeof(wanted), "net:[%lu]", inode);
        if (readlink(path, link, sizeof(link) - 1) > 0)
            found = strcmp(link, wanted) == 0;
    }
    closedir(proc);
    return found;
}

/* In a process of its own: an interface with a program in its namespace, whose inode goes to the
 * pipe; then waits to be killed. */
static void hold_namespace(int pipe_end)
{
    struct nth_tap *tap = begin();
    char *argv[] = {"sh", "-c", "readlink /proc/self/ns/net; exec sleep 1000", NULL};
    const int stdio[3] = {0, pipe_end, 2};

    CHECK(nth_tap_exec(tap, argv, stdio) > 0);
    nth_leave();
    for (;;)
        pause();
}

TEST(killed_process_leaves_no_namespace_behind)
{
    /* namespaces(7): one lives as long as a process or a descriptor refers to it */
    int ends[2];
    char text[64] = "";
    unsigned long inode = 0;

    need_tun();
    CHECK(pipe(ends) == 0);
    const pid_t pid = fork();
    if (pid == 0)
        hold_namespace(ends[1]);
    close(ends[1]);
    CHECK(read(ends[0], text, sizeof(text) - 1) > 0);
    CHECK(sscanf(text, "net:[%lu]", &inode) == 1);
    CHECK(namespace_is_used(inode));
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, NULL, 0) == pid);
    CHECK_EQ(read(ends[0], text, sizeof(text)), 0); /* the end of the program in it */
    for (int i = 0; i < 200 && namespace_is_used(inode); i++)
        usleep(10000);
    CHECK(!namespace_is_used(inode));
}

TEST(ordinary_user_gets_an_interface_through_a_user_namespace)
{
    /* user_namespaces(7): who makes a user namespace has every capability in it */
    struct nth_edge_config own = config;
    char error[NTH_EDGE_ERROR];

    need_tun();
    if (geteuid() != 0)
        check_skip("only root can make the device node of this test");
    boot();
    unlink(NODE);
    CHECK(mknod(NODE, S_IFCHR | 0666, makedev(10, 200)) == 0);
    CHECK(chmod(NODE, 0666) == 0);
    own.tun_node = NODE;
    CHECK(setresgid(NOBODY, NOBODY, NOBODY) == 0);
    CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0);
    prctl(PR_SET_DUMPABLE, 1); /* else /proc/self stays root's */
    if (!nth_tap_available(NODE, error))
        check_skip("user namespaces: %s", error);
    struct nth_tap *tap = open_tap(&own);
    CHECK_EQ(shell(tap, "test $(id -u) = 0 && ping -q -n -c 5 -i 0.01 10.9.0.77 >&2"), 0);
    CHECK_EQ(shell(tap, "ping -q -n -c 5 -i 0.01 fd09::77 >&2"), 0);
    end(tap);
}
