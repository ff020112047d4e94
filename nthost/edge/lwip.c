/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Joins an adapter to lwIP, a TCP/IP stack in this process, where Linux's own cannot be had. lwIP's
 * thread stays outside the machine: what it sends is queued, and a thread of the machine hands it
 * to the miniport. Every conversation is bound to its adapter's interface, both ends, or lwIP would
 * deliver it inside itself and the driver would never be crossed.
 */
#include "core/core.h"
#include "edge/edge.h"
#include "edge/ip.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <lwip/api.h>
#include <lwip/netif.h>
#include <lwip/raw.h>
#include <lwip/tcp.h>
#include <lwip/tcpip.h>

enum { SLOTS = 256, BATCH = 64, TRANSFER_PORT = 5001, CHUNK = 16384, PATIENCE_MS = 10000 };

struct nth_lwip {
    struct netif netif;
    struct nth_adapter *adapter; /* NULL: never attached */
    bool is_detached;            /* by the thread that removes the adapter */
    struct nth_thread *sender;
    struct nth_edge_pool *pool;
    uint32_t mtu;
    _Atomic bool is_up;
    struct nth_mutex lock;
    struct nth_edge_slot *first, **last; /* to be sent; guarded by lock */
    bool stop;                           /* guarded by lock */
    _Atomic uint64_t sent_packets, sent_bytes, failed, received_packets, received_bytes, refused;
};

/* ---- lwIP -> driver ---- */

/* In lwIP's thread, with lwIP's lock. Out of slots means a packet lost, as on any congested link.
 */
static err_t queue_packet(struct netif *netif, struct pbuf *packet)
{
    struct nth_lwip *lwip = netif->state;
    struct nth_edge_slot *slot = NULL;

    if (!atomic_load(&lwip->is_up)) /* lwIP itself sends without a look at the link */
        return ERR_IF;
    if (packet->tot_len <= lwip->mtu)
        slot = nth_edge_slot_get(lwip->pool);
    if (!slot)
        return ERR_MEM;
    pbuf_copy_partial(packet, slot->data, packet->tot_len, 0);
    nth_edge_slot_fill(slot, 0, packet->tot_len);
    slot->next = NULL;
    nth_lock(&lwip->lock);
    const bool stopped = lwip->stop;
    if (!stopped) {
        *lwip->last = slot;
        lwip->last = &slot->next;
        nth_unpark(lwip->sender);
        atomic_fetch_add(&lwip->sent_packets, 1);
        atomic_fetch_add(&lwip->sent_bytes, packet->tot_len);
    }
    nth_unlock(&lwip->lock);
    if (stopped)
        nth_edge_slot_put(lwip->pool, slot);
    return stopped ? ERR_IF : ERR_OK;
}

static err_t output4(struct netif *netif, struct pbuf *packet, const ip4_addr_t *target)
{
    return queue_packet(netif, packet);
}

static err_t output6(struct netif *netif, struct pbuf *packet, const ip6_addr_t *target)
{
    return queue_packet(netif, packet);
}

/* Everything queued, as one chain; false when the interface is going and all has been sent. */
static bool take_queue(struct nth_lwip *lwip, NET_BUFFER_LIST **chain)
{
    nth_lock(&lwip->lock);
    struct nth_edge_slot *slot = lwip->first;
    const bool go_on = slot || !lwip->stop;
    lwip->first = NULL;
    lwip->last = &lwip->first;
    nth_unlock(&lwip->lock);
    *chain = slot ? slot->list : NULL;
    for (; slot; slot = slot->next)
        NET_BUFFER_LIST_NEXT_NBL(slot->list) = slot->next ? slot->next->list : NULL;
    return go_on;
}

static void send_queue(void *context)
{
    struct nth_lwip *lwip = context;
    NET_BUFFER_LIST *chain;

    while (take_queue(lwip, &chain)) {
        if (chain)
            nth_send(lwip->adapter, chain, 0);
        else
            nth_park(UINT64_MAX);
    }
}

static void lwip_send_complete(void *context, NET_BUFFER_LIST *lists, ULONG flags)
{
    struct nth_lwip *lwip = context;

    atomic_fetch_add(&lwip->failed, nth_edge_pool_complete(lwip->pool, lists));
}

/* ---- driver -> lwIP ---- */

static bool input(struct nth_lwip *lwip, const NET_BUFFER *buffer)
{
    const size_t bytes = NET_BUFFER_DATA_LENGTH(buffer);
    struct pbuf *packet =
        bytes && bytes <= UINT16_MAX ? pbuf_alloc(PBUF_RAW, (u16_t)bytes, PBUF_RAM) : NULL;
    uint8_t *to = packet ? packet->payload : NULL;
    size_t left = bytes, skip = NET_BUFFER_CURRENT_MDL_OFFSET(buffer);

    for (MDL *mdl = NET_BUFFER_CURRENT_MDL(buffer); to && left && mdl; mdl = mdl->Next) {
        const size_t here = MmGetMdlByteCount(mdl) - skip;
        const size_t part = here < left ? here : left;
        memcpy(to, (uint8_t *)MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority) + skip, part);
        to += part;
        left -= part;
        skip = 0;
    }
    if (packet && !left && lwip->netif.input(packet, &lwip->netif) == ERR_OK)
        return true;
    if (packet)
        pbuf_free(packet);
    return false;
}

static void lwip_receive(void *context, NET_BUFFER_LIST *lists, ULONG count, ULONG flags)
{
    struct nth_lwip *lwip = context;

    for (NET_BUFFER_LIST *l = lists; l; l = NET_BUFFER_LIST_NEXT_NBL(l))
        for (NET_BUFFER *b = NET_BUFFER_LIST_FIRST_NB(l); b; b = NET_BUFFER_NEXT_NB(b)) {
            /* counted first: whoever waits for the packet may look at the counters at once */
            atomic_fetch_add(&lwip->received_packets, 1);
            atomic_fetch_add(&lwip->received_bytes, NET_BUFFER_DATA_LENGTH(b));
            if (input(lwip, b))
                continue;
            atomic_fetch_sub(&lwip->received_packets, 1);
            atomic_fetch_sub(&lwip->received_bytes, NET_BUFFER_DATA_LENGTH(b));
            atomic_fetch_add(&lwip->refused, 1);
        }
    if (!(flags & NDIS_RECEIVE_FLAGS_RESOURCES))
        nth_return(lwip->adapter, lists,
                   KeGetCurrentIrql() == DISPATCH_LEVEL ? NDIS_RETURN_FLAGS_DISPATCH_LEVEL : 0);
}

static void set_link(struct netif *netif, bool is_up)
{
    if (is_up)
        netif_set_link_up(netif);
    else
        netif_set_link_down(netif);
}

static void link_up(void *netif)
{
    set_link(netif, true);
}

static void link_down(void *netif)
{
    set_link(netif, false);
}

/* May come at DISPATCH_LEVEL, so lwIP's thread does it. */
static void lwip_status(void *context, const NDIS_STATUS_INDICATION *indication)
{
    struct nth_lwip *lwip = context;

    if (indication->StatusCode != NDIS_STATUS_LINK_STATE ||
        indication->StatusBufferSize < sizeof(NDIS_LINK_STATE))
        return;
    const NDIS_LINK_STATE *link = indication->StatusBuffer;
    const bool is_up = link->MediaConnectState == MediaConnectStateConnected;
    atomic_store(&lwip->is_up, is_up);
    tcpip_try_callback(is_up ? link_up : link_down, &lwip->netif);
}

/* ---- open and close ---- */

static sys_sem_t stack_ready;

static void stack_is_ready(void *context)
{
    sys_sem_signal(&stack_ready);
}

static void start_stack(void)
{
    sys_sem_new(&stack_ready, 0);
    tcpip_init(stack_is_ready, NULL);
    sys_arch_sem_wait(&stack_ready, 0);
}

static err_t init_netif(struct netif *netif)
{
    const struct nth_lwip *lwip = netif->state;

    netif->name[0] = 'n';
    netif->name[1] = 't';
    netif->mtu = (u16_t)(lwip->mtu < UINT16_MAX ? lwip->mtu : UINT16_MAX);
    netif->output = output4;
    netif->output_ip6 = output6;
    netif->rs_count = 0; /* nobody to solicit */
    return ERR_OK;
}

/* text is "address/length". With lwIP's lock. */
static int add_address(struct netif *netif, const char *text)
{
    char address[64];
    ip_addr_t parsed;
    const char *slash = strchr(text, '/');
    const int length = slash ? (int)(slash - text) : (int)strlen(text);
    const unsigned bits = slash ? (unsigned)strtoul(slash + 1, NULL, 10) : 32;

    snprintf(address, sizeof(address), "%.*s", length, text);
    if (!ipaddr_aton(address, &parsed))
        return -EINVAL;
    if (IP_IS_V4(&parsed)) {
        const ip4_addr_t mask = {bits && bits <= 32 ? lwip_htonl(UINT32_MAX << (32 - bits)) : 0};
        netif_set_addr(netif, ip_2_ip4(&parsed), &mask, IP4_ADDR_ANY4);
        return 0;
    }
    s8_t index = -1;
    if (netif_add_ip6_address(netif, ip_2_ip6(&parsed), &index) != ERR_OK || index < 0)
        return -ENOSPC;
    netif_ip6_addr_set_state(netif, index, IP6_ADDR_PREFERRED);
    return 0;
}

static int set_up(struct nth_lwip *lwip, const struct nth_edge_config *config, char *error)
{
    int failed = 0;

    LOCK_TCPIP_CORE();
    netif_add_noaddr(&lwip->netif, lwip, init_netif, tcpip_input);
    netif_set_up(&lwip->netif);
    for (const char *const *a = config->addresses; !failed && a && *a; a++) {
        failed = add_address(&lwip->netif, *a);
        if (failed)
            snprintf(error, NTH_EDGE_ERROR, "address %s: %s", *a, strerror(-failed));
    }
    UNLOCK_TCPIP_CORE();
    return failed;
}

static void stop_sender(struct nth_lwip *lwip)
{
    atomic_store(&lwip->is_up, false);
    LOCK_TCPIP_CORE();
    netif_set_link_down(&lwip->netif);
    UNLOCK_TCPIP_CORE();
    nth_lock(&lwip->lock);
    lwip->stop = true;
    nth_unlock(&lwip->lock);
    if (!lwip->sender)
        return;
    nth_unpark(lwip->sender);
    nth_join(lwip->sender);
    lwip->sender = NULL;
}

static void lwip_detach(void *context)
{
    struct nth_lwip *lwip = context;

    stop_sender(lwip);
    lwip->is_detached = true;
}

static void remove_netif(void *context)
{
    struct nth_lwip *lwip = context;

    netif_remove(&lwip->netif);
}

/* Packets and link changes for the interface may still be queued to lwIP's thread: the removal goes
 * through the same queue, behind them. */
void nth_lwip_close(struct nth_lwip *lwip)
{
    if (!lwip)
        return;
    stop_sender(lwip);
    if (lwip->adapter && !lwip->is_detached)
        nth_unbind(lwip->adapter, lwip);
    tcpip_callback_wait(remove_netif, lwip);
    nth_edge_pool_destroy(lwip->pool);
    pthread_mutex_destroy(&lwip->lock.m);
    free(lwip);
}

int nth_lwip_open(struct nth_adapter *adapter, const struct nth_edge_config *config,
                  struct nth_lwip **result, char error[NTH_EDGE_ERROR])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct nth_lwip *lwip = calloc(1, sizeof(*lwip));

    if (!lwip)
        nth_fail("no memory for an edge");
    pthread_once(&once, start_stack);
    pthread_mutex_init(&lwip->lock.m, NULL);
    lwip->last = &lwip->first;
    lwip->mtu = config->mtu ? config->mtu : nth_adapter_mtu(adapter);
    lwip->pool = nth_edge_pool_create(SLOTS, lwip->mtu, lwip);
    const int failed = set_up(lwip, config, error);
    if (failed) {
        nth_lwip_close(lwip);
        return failed;
    }
    lwip->adapter = adapter;
    lwip->sender = nth_spawn("lwip", send_queue, lwip);
    nth_bind(adapter, &(struct nth_binding){.context = lwip,
                                            .receive = lwip_receive,
                                            .send_complete = lwip_send_complete,
                                            .status = lwip_status,
                                            .detach = lwip_detach});
    lwip->is_up = nth_link_state(adapter)->MediaConnectState == MediaConnectStateConnected;
    LOCK_TCPIP_CORE();
    set_link(&lwip->netif, lwip->is_up);
    UNLOCK_TCPIP_CORE();
    *result = lwip;
    return 0;
}

void nth_lwip_counters(struct nth_lwip *lwip, struct nth_edge_counters *counters)
{
    *counters = (struct nth_edge_counters){
        .sent_packets = atomic_load(&lwip->sent_packets),
        .sent_bytes = atomic_load(&lwip->sent_bytes),
        .failed_packets = atomic_load(&lwip->failed),
        .received_packets = atomic_load(&lwip->received_packets),
        .received_bytes = atomic_load(&lwip->received_bytes),
        .refused_packets = atomic_load(&lwip->refused),
    };
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* ---- ping ---- */

struct ping {
    struct nth_lwip *lwip;
    struct nth_ip_flow flow;
    uint8_t *packet; /* the request, room for one of bytes */
    size_t packet_bytes, payload_bytes;
    uint16_t sequence;
    bool is_answered; /* guarded by lwIP's lock */
    sys_sem_t answered;
};

/* In lwIP's thread. p begins with the IP header. */
static u8_t take_reply(void *argument, struct raw_pcb *pcb, struct pbuf *p, const ip_addr_t *from)
{
    struct ping *ping = argument;
    struct nth_ip_view view;
    uint8_t *packet = p->tot_len == ping->packet_bytes ? malloc(p->tot_len) : NULL;
    bool mine = false;

    if (packet) {
        pbuf_copy_partial(p, packet, p->tot_len, 0);
        const size_t payload = ping->packet_bytes - ping->payload_bytes;
        mine = !nth_ip_verify(packet, p->tot_len, &view) &&
               view.icmp_type == (view.flow.version == 4 ? 0 : 129) &&
               view.flow.source_port == ping->flow.source_port &&
               view.icmp_sequence == ping->sequence &&
               memcmp(packet + payload, ping->packet + payload, ping->payload_bytes) == 0;
    }
    free(packet);
    if (!mine)
        return 0;
    if (!ping->is_answered)
        sys_sem_signal(&ping->answered);
    ping->is_answered = true;
    pbuf_free(p);
    return 1;
}

static bool send_request(struct ping *ping, struct raw_pcb *pcb, const ip_addr_t *source,
                         const ip_addr_t *target)
{
    const size_t header = ping->flow.version == 4 ? 20 : 40;
    const struct nth_ip_echo echo = {.sequence = ping->sequence};
    const u16_t bytes = (u16_t)(ping->packet_bytes - header);

    nth_ip_echo(ping->packet, ping->packet_bytes, &ping->flow, &echo, ping->packet + header + 8,
                ping->payload_bytes);
    struct pbuf *p = pbuf_alloc(PBUF_IP, bytes, PBUF_RAM);
    if (!p)
        return false;
    pbuf_take(p, ping->packet + header, bytes);
    LOCK_TCPIP_CORE();
    ping->is_answered = false;
    const err_t sent = raw_sendto_if_src(pcb, p, target, &ping->lwip->netif, source);
    UNLOCK_TCPIP_CORE();
    pbuf_free(p);
    return sent == ERR_OK;
}

static void ping_one(struct ping *ping, struct raw_pcb *pcb, const ip_addr_t *ends,
                     struct nth_ping *result)
{
    const uint64_t begin = now_ns();

    result->sent++;
    ping->sequence++;
    if (!send_request(ping, pcb, &ends[0], &ends[1]) ||
        sys_arch_sem_wait(&ping->answered, 1000) == SYS_ARCH_TIMEOUT)
        return;
    const uint64_t ns = now_ns() - begin;
    result->received++;
    result->sum_ns += ns;
    result->min_ns = result->received == 1 || ns < result->min_ns ? ns : result->min_ns;
    result->max_ns = ns > result->max_ns ? ns : result->max_ns;
}

/* The interface's own address of target's family. */
static bool own_address(struct nth_lwip *lwip, const ip_addr_t *target, ip_addr_t *own)
{
    bool found = false;

    LOCK_TCPIP_CORE();
    if (IP_IS_V4(target)) {
        ip_addr_copy_from_ip4(*own, *netif_ip4_addr(&lwip->netif));
        found = !ip_addr_isany(own);
    }
    for (int i = 0; !found && IP_IS_V6(target) && i < LWIP_IPV6_NUM_ADDRESSES; i++) {
        if (!ip6_addr_isvalid(netif_ip6_addr_state(&lwip->netif, i)))
            continue;
        ip_addr_copy_from_ip6(*own, *netif_ip6_addr(&lwip->netif, i));
        found = true;
    }
    UNLOCK_TCPIP_CORE();
    return found;
}

static int ping_all(struct ping *ping, const ip_addr_t *ends, unsigned count,
                    struct nth_ping *result)
{
    LOCK_TCPIP_CORE();
    struct raw_pcb *pcb = IP_IS_V4(&ends[1]) ? raw_new_ip_type(IPADDR_TYPE_V4, IP_PROTO_ICMP)
                                             : raw_new_ip_type(IPADDR_TYPE_V6, IP6_NEXTH_ICMP6);
    if (pcb) {
        raw_bind_netif(pcb, &ping->lwip->netif);
        raw_recv(pcb, take_reply, ping);
        pcb->chksum_reqd = 0; /* the request has it */
    }
    UNLOCK_TCPIP_CORE();
    if (!pcb)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++)
        ping_one(ping, pcb, ends, result);
    LOCK_TCPIP_CORE();
    raw_remove(pcb);
    UNLOCK_TCPIP_CORE();
    return 0;
}

static int ping_prepare(struct ping *ping, const ip_addr_t *ends, size_t bytes)
{
    char source[IPADDR_STRLEN_MAX], target[IPADDR_STRLEN_MAX];

    ipaddr_ntoa_r(&ends[0], source, sizeof(source));
    ipaddr_ntoa_r(&ends[1], target, sizeof(target));
    if (nth_ip_flow(&ping->flow, source, (uint16_t)now_ns(), target, 0) != 0)
        return -EINVAL;
    ping->payload_bytes = bytes;
    ping->packet_bytes = (ping->flow.version == 4 ? 28 : 48) + bytes;
    ping->packet = ping->packet_bytes <= ping->lwip->mtu ? calloc(1, ping->packet_bytes) : NULL;
    if (!ping->packet)
        return -EMSGSIZE;
    for (size_t i = 0; i < bytes; i++)
        ping->packet[ping->packet_bytes - bytes + i] = (uint8_t)(i * 7 + 1);
    return 0;
}

int nth_lwip_ping(struct nth_lwip *lwip, const char *target, unsigned count, size_t bytes,
                  struct nth_ping *result)
{
    struct ping ping = {.lwip = lwip};
    ip_addr_t ends[2];

    *result = (struct nth_ping){0};
    if (!ipaddr_aton(target, &ends[1]))
        return -EINVAL;
    if (!own_address(lwip, &ends[1], &ends[0]))
        return -EADDRNOTAVAIL;
    int failed = ping_prepare(&ping, ends, bytes);
    if (!failed && sys_sem_new(&ping.answered, 0) != ERR_OK)
        failed = -ENOMEM;
    if (!failed) {
        failed = ping_all(&ping, ends, count, result);
        sys_sem_free(&ping.answered);
    }
    free(ping.packet);
    return failed;
}

/* ---- transfer ---- */

struct receiver {
    struct netconn *listener;
    struct nth_lwip *to;
    uint64_t bytes, matched;
    bool differs;
};

static uint8_t pattern(uint64_t offset)
{
    const uint64_t mixed = (offset >> 3) * 0x9E3779B97F4A7C15U;

    return (uint8_t)((mixed ^ mixed >> 29) >> (offset & 7) * 8);
}

static void compare(struct receiver *receiver, struct netbuf *received)
{
    void *data;
    u16_t bytes;

    do {
        netbuf_data(received, &data, &bytes);
        for (u16_t i = 0; i < bytes && !receiver->differs; i++) {
            receiver->differs = ((uint8_t *)data)[i] != pattern(receiver->matched);
            receiver->matched += !receiver->differs;
        }
    } while (netbuf_next(received) >= 0);
}

static void *receive_all(void *argument)
{
    struct receiver *receiver = argument;
    struct netconn *connection = NULL;
    struct netbuf *received;

    if (netconn_accept(receiver->listener, &connection) != ERR_OK)
        return NULL;
    netconn_set_recvtimeout(connection, PATIENCE_MS);
    while (receiver->matched < receiver->bytes && !receiver->differs &&
           netconn_recv(connection, &received) == ERR_OK) {
        compare(receiver, received);
        netbuf_delete(received);
    }
    netconn_close(connection);
    netconn_delete(connection);
    return NULL;
}

/* A listening PCB forgets the interface it was bound to; what it accepts inherits its own. */
static void bind_listener(struct netconn *listener, struct nth_lwip *lwip)
{
    LOCK_TCPIP_CORE();
    tcp_bind_netif(listener->pcb.tcp, &lwip->netif);
    UNLOCK_TCPIP_CORE();
}

static int send_all(struct netconn *connection, uint64_t bytes)
{
    static _Thread_local uint8_t chunk[CHUNK];

    for (uint64_t sent = 0; sent < bytes;) {
        const size_t part = bytes - sent < CHUNK ? bytes - sent : CHUNK;
        size_t written = 0; /* with a time limit a write may end early */
        for (size_t i = 0; i < part; i++)
            chunk[i] = pattern(sent + i);
        if (netconn_write_partly(connection, chunk, part, NETCONN_COPY, &written) != ERR_OK)
            return -EIO;
        sent += written;
    }
    return 0;
}

static int connect_and_send(struct nth_lwip *from, const ip_addr_t *target, uint64_t bytes)
{
    struct netconn *connection = netconn_new(IP_IS_V6(target) ? NETCONN_TCP_IPV6 : NETCONN_TCP);

    if (!connection)
        return -ENOMEM;
    netconn_set_sendtimeout(connection, PATIENCE_MS);
    netconn_bind_if(connection, netif_get_index(&from->netif));
    int failed = netconn_connect(connection, target, TRANSFER_PORT) == ERR_OK ? 0 : -ECONNREFUSED;
    if (!failed)
        failed = send_all(connection, bytes);
    netconn_close(connection);
    netconn_delete(connection);
    return failed;
}

int nth_lwip_transfer(struct nth_lwip *from, struct nth_lwip *to, const char *target,
                      uint64_t bytes, struct nth_transfer *result)
{
    struct receiver receiver = {.to = to, .bytes = bytes};
    const uint64_t begin = now_ns();
    ip_addr_t address;
    pthread_t thread;

    *result = (struct nth_transfer){0};
    if (!ipaddr_aton(target, &address))
        return -EINVAL;
    receiver.listener = netconn_new(IP_IS_V6(&address) ? NETCONN_TCP_IPV6 : NETCONN_TCP);
    if (!receiver.listener)
        return -ENOMEM;
    netconn_set_recvtimeout(receiver.listener, PATIENCE_MS);
    int failed = netconn_bind(receiver.listener, &address, TRANSFER_PORT) == ERR_OK &&
                         netconn_listen(receiver.listener) == ERR_OK
                     ? 0
                     : -EADDRINUSE;
    if (!failed) {
        bind_listener(receiver.listener, to);
        failed = -pthread_create(&thread, NULL, receive_all, &receiver);
    }
    if (!failed) {
        failed = connect_and_send(from, &address, bytes);
        pthread_join(thread, NULL);
    }
    netconn_delete(receiver.listener);
    result->bytes = receiver.matched;
    result->ns = now_ns() - begin;
    result->is_identical = !receiver.differs && receiver.matched == bytes;
    return failed;
}
