/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Network namespaces with a TUN interface in them, as root or through a user namespace. A helper
 * process enters the new namespaces and passes their descriptors back, because a process with
 * several threads may not enter a user namespace. Nothing is ever given a name in the file system,
 * so there is nothing that a killed process could leave behind.
 */
#include "edge/netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/ipv6.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DESCRIPTORS = 3 }; /* tun, net, user */

struct report {
    int error; /* -errno */
    char message[NTH_EDGE_ERROR];
};

static int failed(struct report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int failed(struct report *report, const char *format, ...)
{
    const int error = errno ? errno : EINVAL;
    va_list args;

    va_start(args, format);
    const int used = vsnprintf(report->message, sizeof(report->message), format, args);
    va_end(args);
    if (used > 0 && used < NTH_EDGE_ERROR)
        snprintf(report->message + used, sizeof(report->message) - (size_t)used, ": %s",
                 strerror(error));
    return report->error = -error;
}

/* ---- in the helper ---- */

static int write_file(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    const ssize_t length = (ssize_t)strlen(text);
    const bool done = fd >= 0 && write(fd, text, (size_t)length) == length;

    if (fd >= 0)
        close(fd);
    return done ? 0 : -1;
}

/* As root a network namespace is enough; anyone else becomes root of a user namespace first. */
static int enter_namespaces(struct report *report, bool *has_user)
{
    const unsigned uid = geteuid(), gid = getegid();
    char map[64];

    *has_user = false;
    if (unshare(CLONE_NEWNET) == 0)
        return 0;
    if (errno != EPERM)
        return failed(report, "no network namespace");
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return failed(report, "neither the right to make a network namespace nor a user namespace");
    *has_user = true;
    snprintf(map, sizeof(map), "0 %u 1", uid);
    if (write_file("/proc/self/uid_map", map) != 0)
        return failed(report, "uid_map of the user namespace");
    if (write_file("/proc/self/setgroups", "deny") != 0)
        return failed(report, "setgroups of the user namespace");
    snprintf(map, sizeof(map), "0 %u 1", gid);
    if (write_file("/proc/self/gid_map", map) != 0)
        return failed(report, "gid_map of the user namespace");
    return 0;
}

static int open_tun(const struct nth_edge_config *config, struct report *report)
{
    const char *node = config->tun_node ? config->tun_node : "/dev/net/tun";
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    const int fd = open(node, O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return failed(report, "%s", node);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", config->name);
    if (ioctl(fd, TUNSETIFF, &request) == 0)
        return fd;
    failed(report, "TUN interface %s through %s", config->name, node);
    close(fd);
    return -1;
}

struct prefix {
    int family;
    uint8_t address[16];
    unsigned length;
};

static int parse_prefix(const char *text, struct prefix *prefix)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    const size_t length = slash ? (size_t)(slash - text) : strlen(text);
    char *end = NULL;

    if (length >= sizeof(address))
        return -EINVAL;
    memcpy(address, text, length);
    address[length] = 0;
    prefix->family = strchr(address, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(prefix->family, address, prefix->address) != 1)
        return -EINVAL;
    const unsigned most = prefix->family == AF_INET ? 32 : 128;
    const unsigned long bits = slash ? strtoul(slash + 1, &end, 10) : most;
    if (bits > most || (slash && (end == slash + 1 || *end)))
        return -EINVAL;
    prefix->length = (unsigned)bits;
    return 0;
}

static struct sockaddr inet_sockaddr(uint32_t address)
{
    const struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = address};
    struct sockaddr result;

    memcpy(&result, &in, sizeof(result));
    return result;
}

static uint32_t netmask(unsigned length)
{
    return length ? htonl(UINT32_MAX << (32 - length)) : 0;
}

static int add_address4(int control, const char *name, const struct prefix *prefix)
{
    struct ifreq request = {0};
    uint32_t address;

    memcpy(&address, prefix->address, sizeof(address));
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    request.ifr_addr = inet_sockaddr(address);
    if (ioctl(control, SIOCSIFADDR, &request) != 0)
        return -1;
    request.ifr_netmask = inet_sockaddr(netmask(prefix->length));
    return ioctl(control, SIOCSIFNETMASK, &request);
}

static int add_route4(int control, char *name, const struct prefix *prefix)
{
    uint32_t address;

    memcpy(&address, prefix->address, sizeof(address));
    struct rtentry route = {.rt_dst = inet_sockaddr(address & netmask(prefix->length)),
                            .rt_genmask = inet_sockaddr(netmask(prefix->length)),
                            .rt_flags = RTF_UP,
                            .rt_dev = name};
    return ioctl(control, SIOCADDRT, &route);
}

static int add_address6(int control, int index, const struct prefix *prefix)
{
    struct in6_ifreq request = {.ifr6_prefixlen = prefix->length, .ifr6_ifindex = index};

    memcpy(&request.ifr6_addr, prefix->address, 16);
    return ioctl(control, SIOCSIFADDR, &request);
}

static int add_route6(int control, int index, const struct prefix *prefix)
{
    struct in6_rtmsg route = {.rtmsg_dst_len = (uint16_t)prefix->length,
                              .rtmsg_flags = RTF_UP,
                              .rtmsg_metric = 1,
                              .rtmsg_ifindex = index};

    memcpy(&route.rtmsg_dst, prefix->address, 16);
    return ioctl(control, SIOCADDRT, &route);
}

static int add_prefixes(const struct nth_edge_config *config, const char *const *list,
                        bool is_address, struct report *report)
{
    char name[IFNAMSIZ];
    const int v4 = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const int v6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const int index = (int)if_nametoindex(config->name);
    struct prefix prefix;

    snprintf(name, sizeof(name), "%s", config->name);
    for (; list && *list; list++) {
        errno = EINVAL;
        int result = parse_prefix(*list, &prefix);
        if (result == 0 && prefix.family == AF_INET)
            result = is_address ? add_address4(v4, name, &prefix) : add_route4(v4, name, &prefix);
        else if (result == 0)
            result = is_address ? add_address6(v6, index, &prefix) : add_route6(v6, index, &prefix);
        if (result != 0)
            return failed(report, "%s %s", is_address ? "address" : "route", *list);
    }
    close(v4);
    close(v6);
    return 0;
}

static int bring_up(int control, const char *name)
{
    struct ifreq request = {0};

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (ioctl(control, SIOCGIFFLAGS, &request) != 0)
        return -1;
    request.ifr_flags |= IFF_UP;
    return ioctl(control, SIOCSIFFLAGS, &request);
}

/* Kernels may start without IPv6 on new interfaces; where that cannot be changed, adding an IPv6
 * address says so. Router solicitations would be traffic that nobody asked for. */
static void prefer_ipv6(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
    write_file(path, "0");
    snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/router_solicitations", name);
    write_file(path, "0");
}

static int link_up(int control, const struct nth_edge_config *config, struct report *report)
{
    struct ifreq request = {.ifr_mtu = (int)config->mtu};

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", config->name);
    if (ioctl(control, SIOCSIFMTU, &request) != 0)
        return failed(report, "MTU %u", config->mtu);
    prefer_ipv6(config->name);
    if (bring_up(control, "lo") != 0 || bring_up(control, config->name) != 0)
        return failed(report, "bringing up %s", config->name);
    return 0;
}

static int configure(const struct nth_edge_config *config, struct report *report)
{
    const int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (control < 0)
        return failed(report, "socket");
    const int error = link_up(control, config, report);
    close(control);
    if (error != 0)
        return error;
    if (add_prefixes(config, config->addresses, true, report) != 0)
        return report->error;
    return add_prefixes(config, config->routes, false, report);
}

/* Fills fds with what the parent wants; answers how many there are. */
static int make_all(const struct nth_edge_config *config, struct report *report, int *fds)
{
    bool has_user;

    if (enter_namespaces(report, &has_user) != 0)
        return 0;
    fds[0] = open_tun(config, report);
    if (fds[0] < 0 || configure(config, report) != 0)
        return 0;
    fds[1] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    fds[2] = has_user ? open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC) : -1;
    if (fds[1] < 0 || (has_user && fds[2] < 0)) {
        failed(report, "/proc/self/ns");
        return 0;
    }
    return has_user ? 3 : 2;
}

union control_buffer {
    struct cmsghdr header;
    char room[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
};

static void send_report(int channel, struct report *report, const int *fds, int count)
{
    struct iovec data = {report, sizeof(*report)};
    union control_buffer control = {0};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};

    if (count) {
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fds, (size_t)count * sizeof(int));
        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
    }
    sendmsg(channel, &message, MSG_NOSIGNAL);
}

static _Noreturn void helper(const struct nth_edge_config *config, int channel)
{
    struct report report = {0};
    int fds[DESCRIPTORS];
    const int count = make_all(config, &report, fds);

    send_report(channel, &report, fds, count);
    _exit(0);
}

/* ---- in the caller ---- */

/* 0 with the descriptors the helper made (-1: not sent), or -errno. */
static int receive_report(int channel, struct report *report, int *fds)
{
    struct iovec data = {report, sizeof(*report)};
    union control_buffer control;
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof(control.room)};
    ssize_t got;

    do
        got = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof(*report)) {
        errno = EPROTO;
        return failed(report, "the helper process ended early");
    }
    for (int i = 0; i < DESCRIPTORS; i++)
        fds[i] = -1;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS)
        memcpy(fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
    return report->error;
}

int nth_netns_create(const struct nth_edge_config *config, struct nth_netns *netns, int *tun,
                     char error[NTH_EDGE_ERROR])
{
    struct report report = {0};
    int pair[2], fds[DESCRIPTORS] = {-1, -1, -1};
    int result = -1;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        failed(&report, "socketpair");
    const pid_t pid = report.error ? -1 : fork();
    if (pid == 0)
        helper(config, pair[1]);
    if (!report.error) {
        close(pair[1]);
        if (pid < 0)
            failed(&report, "fork");
        result = pid < 0 ? report.error : receive_report(pair[0], &report, fds);
        close(pair[0]);
    }
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    snprintf(error, NTH_EDGE_ERROR, "%s", report.message);
    if (result != 0)
        return report.error;
    *tun = fds[0];
    *netns = (struct nth_netns){.net = fds[1], .user = fds[2]};
    return 0;
}

void nth_netns_close(struct nth_netns *netns)
{
    if (netns->net >= 0)
        close(netns->net);
    if (netns->user >= 0)
        close(netns->user);
    *netns = (struct nth_netns){-1, -1};
}

static _Noreturn void become(const struct nth_netns *netns, pid_t parent, char *const argv[],
                             const int stdio[3])
{
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127); /* it died before it could take us along */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int i = 0; i < 3; i++) /* above the range they are copied to */
        ((int *)stdio)[i] = fcntl(stdio[i], F_DUPFD_CLOEXEC, 3);
    for (int i = 0; i < 3; i++)
        dup2(stdio[i], i);
    if ((netns->user >= 0 && setns(netns->user, CLONE_NEWUSER) != 0) ||
        setns(netns->net, CLONE_NEWNET) != 0) {
        dprintf(2, "%s: entering the namespace: %s\n", argv[0], strerror(errno));
        _exit(126);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of credentials clears it */
    execvp(argv[0], argv);
    dprintf(2, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

pid_t nth_netns_exec(const struct nth_netns *netns, char *const argv[], const int stdio[3])
{
    int own[3] = {stdio[0], stdio[1], stdio[2]};
    const pid_t parent = getpid();
    const pid_t pid = fork();

    if (pid == 0)
        become(netns, parent, argv, own);
    return pid < 0 ? -errno : pid;
}
