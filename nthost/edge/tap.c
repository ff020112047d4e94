/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Joins an adapter to a TUN interface: what Linux sends goes to the miniport in batches, what the
 * miniport indicates is written to the interface from the memory it lies in, and the interface has
 * a carrier while the miniport says that its link is connected. Never looks into a packet.
 */
#include "core/core.h"
#include "edge/edge.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

/* BATCH packets go to the driver in one call. SLOTS bounds what it may keep, and the memory.
 * HEADER: room for a struct virtio_net_hdr_v1 in front of every packet, for IFF_VNET_HDR; 0 without
 * it. */
enum { BATCH = 64, SLOTS = 128, HEADER = 0, PIECES = 64 };

struct nth_tap {
    struct nth_adapter *adapter; /* NULL: never attached */
    bool is_detached;            /* by the thread that removes the adapter */
    struct nth_netns netns;
    int tun, stop; /* stop: eventfd that ends the reader */
    struct nth_thread *reader;
    struct nth_edge_pool *pool;
    size_t room;
    _Atomic uint64_t sent_packets, sent_bytes, failed, received_packets, received_bytes, refused;
};

/* ---- Linux -> driver ---- */

/* NULL when nothing is there to read; every slot that leaves this function carries a packet. */
static struct nth_edge_slot *read_one(struct nth_tap *tap, bool may_wait)
{
    struct nth_edge_slot *slot =
        may_wait ? nth_edge_slot_wait(tap->pool) : nth_edge_slot_get(tap->pool);

    if (!slot)
        return NULL;
    const ssize_t got = read(tap->tun, slot->data, tap->room);
    if (got <= HEADER) {
        nth_edge_slot_put(tap->pool, slot);
        return NULL;
    }
    nth_edge_slot_fill(slot, HEADER, (size_t)got - HEADER);
    atomic_fetch_add(&tap->sent_packets, 1);
    atomic_fetch_add(&tap->sent_bytes, (uint64_t)got - HEADER);
    return slot;
}

/* Answers how many packets went to the driver. */
static unsigned send_batch(struct nth_tap *tap)
{
    NET_BUFFER_LIST *first = NULL, **link = &first;
    unsigned count = 0;

    for (; count < BATCH; count++) {
        struct nth_edge_slot *slot = read_one(tap, count == 0);
        if (!slot)
            break;
        *link = slot->list;
        link = &NET_BUFFER_LIST_NEXT_NBL(slot->list);
    }
    if (first)
        nth_send(tap->adapter, first, 0);
    return count;
}

static bool wait_readable(struct nth_tap *tap)
{
    struct pollfd wanted[2] = {{.fd = tap->stop, .events = POLLIN},
                               {.fd = tap->tun, .events = POLLIN}};

    nth_leave();
    while (poll(wanted, 2, -1) < 0 && errno == EINTR)
        ;
    nth_enter("tap");
    return !(wanted[0].revents & POLLIN);
}

static bool is_stopped(const struct nth_tap *tap)
{
    struct pollfd stop = {.fd = tap->stop, .events = POLLIN};

    return poll(&stop, 1, 0) > 0;
}

static void read_tun(void *context)
{
    struct nth_tap *tap = context;

    while (!is_stopped(tap))
        if (send_batch(tap) == 0 && !wait_readable(tap))
            return;
}

static void tap_send_complete(void *context, NET_BUFFER_LIST *lists, ULONG flags)
{
    struct nth_tap *tap = context;

    atomic_fetch_add(&tap->failed, nth_edge_pool_complete(tap->pool, lists));
}

/* ---- driver -> Linux ---- */

/* The buffer's bytes as they lie; 0 when they lie in too many pieces. */
static int gather(const NET_BUFFER *buffer, struct iovec *pieces)
{
    size_t left = NET_BUFFER_DATA_LENGTH(buffer), skip = NET_BUFFER_CURRENT_MDL_OFFSET(buffer);
    int count = 0;

    for (MDL *mdl = NET_BUFFER_CURRENT_MDL(buffer); left && mdl; mdl = mdl->Next) {
        const size_t here = MmGetMdlByteCount(mdl) - skip;
        const size_t part = here < left ? here : left;
        if (count == PIECES)
            return 0;
        if (part)
            pieces[count++] = (struct iovec){
                (uint8_t *)MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority) + skip, part};
        left -= part;
        skip = 0;
    }
    return left ? 0 : count;
}

static void write_one(struct nth_tap *tap, const NET_BUFFER *buffer)
{
    struct iovec pieces[PIECES];
    const int count = gather(buffer, pieces);

    if (count && writev(tap->tun, pieces, count) == (ssize_t)NET_BUFFER_DATA_LENGTH(buffer)) {
        atomic_fetch_add(&tap->received_packets, 1);
        atomic_fetch_add(&tap->received_bytes, NET_BUFFER_DATA_LENGTH(buffer));
    } else {
        atomic_fetch_add(&tap->refused, 1); /* not IP, or the interface is down */
    }
}

/* Linux takes a packet at once or never, so the lists can go back at once. */
static void tap_receive(void *context, NET_BUFFER_LIST *lists, ULONG count, ULONG flags)
{
    struct nth_tap *tap = context;

    for (NET_BUFFER_LIST *l = lists; l; l = NET_BUFFER_LIST_NEXT_NBL(l))
        for (NET_BUFFER *b = NET_BUFFER_LIST_FIRST_NB(l); b; b = NET_BUFFER_NEXT_NB(b))
            write_one(tap, b);
    if (!(flags & NDIS_RECEIVE_FLAGS_RESOURCES))
        nth_return(tap->adapter, lists,
                   KeGetCurrentIrql() == DISPATCH_LEVEL ? NDIS_RETURN_FLAGS_DISPATCH_LEVEL : 0);
}

/* ---- link state ---- */

static void follow_link(struct nth_tap *tap, const NDIS_LINK_STATE *link)
{
    int carrier = link->MediaConnectState == MediaConnectStateConnected;

    ioctl(tap->tun, TUNSETCARRIER, &carrier); /* since Linux 5.0; older ones keep the carrier on */
}

static void tap_status(void *context, const NDIS_STATUS_INDICATION *indication)
{
    if (indication->StatusCode == NDIS_STATUS_LINK_STATE &&
        indication->StatusBufferSize >= sizeof(NDIS_LINK_STATE))
        follow_link(context, indication->StatusBuffer);
}

/* ---- open and close ---- */

static void stop_reader(struct nth_tap *tap)
{
    const uint64_t one = 1;

    if (!tap->reader)
        return;
    if (write(tap->stop, &one, sizeof(one)) != sizeof(one))
        nth_fail("eventfd");
    nth_join(tap->reader);
    tap->reader = NULL;
}

static void tap_detach(void *context)
{
    struct nth_tap *tap = context;
    int off = 0;

    stop_reader(tap);
    ioctl(tap->tun, TUNSETCARRIER, &off);
    tap->is_detached = true;
}

/* The only teardown; takes whatever nth_tap_open left half made. */
void nth_tap_close(struct nth_tap *tap)
{
    if (!tap)
        return;
    if (tap->adapter && !tap->is_detached) {
        stop_reader(tap);
        nth_unbind(tap->adapter, tap);
    }
    nth_edge_pool_destroy(tap->pool);
    nth_netns_close(&tap->netns);
    if (tap->tun >= 0)
        close(tap->tun);
    if (tap->stop >= 0)
        close(tap->stop);
    free(tap);
}

int nth_tap_open(struct nth_adapter *adapter, const struct nth_edge_config *config,
                 struct nth_tap **result, char error[NTH_EDGE_ERROR])
{
    struct nth_tap *tap = calloc(1, sizeof(*tap));
    struct nth_edge_config own = *config;

    if (!tap)
        nth_fail("no memory for an edge");
    if (!own.mtu)
        own.mtu = nth_adapter_mtu(adapter);
    tap->room = own.mtu + HEADER;
    tap->tun = -1;
    tap->netns = (struct nth_netns){-1, -1};
    tap->stop = eventfd(0, EFD_CLOEXEC);
    const int failed = nth_netns_create(&own, &tap->netns, &tap->tun, error);
    if (failed) {
        nth_tap_close(tap);
        return failed;
    }
    tap->pool = nth_edge_pool_create(SLOTS, tap->room, tap);
    tap->adapter = adapter;
    nth_bind(adapter, &(struct nth_binding){.context = tap,
                                            .receive = tap_receive,
                                            .send_complete = tap_send_complete,
                                            .status = tap_status,
                                            .detach = tap_detach});
    follow_link(tap, nth_link_state(adapter));
    tap->reader = nth_spawn("tap", read_tun, tap);
    *result = tap;
    return 0;
}

void nth_tap_counters(struct nth_tap *tap, struct nth_edge_counters *counters)
{
    *counters = (struct nth_edge_counters){
        .sent_packets = atomic_load(&tap->sent_packets),
        .sent_bytes = atomic_load(&tap->sent_bytes),
        .failed_packets = atomic_load(&tap->failed),
        .received_packets = atomic_load(&tap->received_packets),
        .received_bytes = atomic_load(&tap->received_bytes),
        .refused_packets = atomic_load(&tap->refused),
    };
}

pid_t nth_tap_exec(struct nth_tap *tap, char *const argv[], const int stdio[3])
{
    return nth_netns_exec(&tap->netns, argv, stdio);
}

bool nth_tap_available(const char *tun_node, char error[NTH_EDGE_ERROR])
{
    const struct nth_edge_config config = {.name = "probe", .mtu = 1500, .tun_node = tun_node};
    struct nth_netns netns;
    int tun;

    if (nth_netns_create(&config, &netns, &tun, error) != 0)
        return false;
    nth_netns_close(&netns);
    close(tun);
    return true;
}
