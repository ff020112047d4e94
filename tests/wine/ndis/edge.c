/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * An adapter's packets over loopback TCP, to and from tests/wine/bridge.c, which listens on the
 * port that the service's Parameters key has as EdgePort. Whenever there is no connection it is
 * tried again, and what the driver receives is lost, as with a cable that is not plugged in.
 *
 * Messages (socket.c): 1 from here, once: the adapter's NetCfgInstanceId; 2 from here: one byte,
 * the link; 0 both ways: a packet.
 */
#include "wine.h"

#include <string.h>

enum { PACKET, HELLO, LINK, HEADER = 4, LARGEST = 0xFFFF, BATCH = 32, ROOM = 0x40000, PIECES = 32 };

#define PORT_KEY "\\Registry\\Machine\\System\\CurrentControlSet\\Services\\wintun\\Parameters"

struct edge {
    struct nth_adapter *adapter;
    struct wine_socket *socket;
    HANDLE thread;
    NDIS_HANDLE pool;
    NET_BUFFER_LIST *lists[BATCH];
    UCHAR *data[BATCH];          /* LARGEST bytes each */
    struct ndis_count out;       /* lists that the driver has */
    LONG is_greeted, is_stopped; /* atomic */
    size_t got;
    UCHAR stream[ROOM]; /* what was received and is not yet whole */
};

/* ---- driver -> Linux ---- */

static void send_buffer(struct edge *e, const NET_BUFFER *b)
{
    struct wine_piece pieces[PIECES];
    size_t left = NET_BUFFER_DATA_LENGTH(b), skip = NET_BUFFER_CURRENT_MDL_OFFSET(b);
    unsigned count = 0;

    for (MDL *mdl = NET_BUFFER_CURRENT_MDL(b); left && mdl; mdl = mdl->Next, skip = 0) {
        const size_t here = MmGetMdlByteCount(mdl) - skip, part = here < left ? here : left;
        if (count == PIECES)
            nth_stop("not-provided", "a packet in more than %d pieces", PIECES);
        if (part)
            pieces[count++] = (struct wine_piece){
                (UCHAR *)MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority) + skip, part};
        left -= part;
    }
    wine_socket_send(e->socket, PACKET, pieces, count);
}

static void receive(void *context, NET_BUFFER_LIST *lists, ULONG count, ULONG flags)
{
    struct edge *e = context;

    if (__atomic_load_n(&e->is_greeted, __ATOMIC_ACQUIRE))
        for (NET_BUFFER_LIST *l = lists; l; l = NET_BUFFER_LIST_NEXT_NBL(l))
            for (NET_BUFFER *b = NET_BUFFER_LIST_FIRST_NB(l); b; b = NET_BUFFER_NEXT_NB(b))
                send_buffer(e, b);
    if (!(flags & NDIS_RECEIVE_FLAGS_RESOURCES))
        nth_return(e->adapter, lists,
                   nth_irql() == DISPATCH_LEVEL ? NDIS_RETURN_FLAGS_DISPATCH_LEVEL : 0);
}

/* The state is read while nobody else can send, so that what is sent last is what is. */
static void send_link(struct edge *e)
{
    wine_socket_lock(e->socket);
    const UCHAR is_up = nth_link_state(e->adapter)->MediaConnectState == MediaConnectStateConnected;
    wine_socket_send(e->socket, LINK, &(struct wine_piece){&is_up, 1}, 1);
    wine_socket_unlock(e->socket);
    nth_trace("adapter %u: link %s", e->adapter->index, is_up ? "up" : "down");
}

static void status(void *context, const NDIS_STATUS_INDICATION *indication)
{
    struct edge *e = context;

    if (indication->StatusCode == NDIS_STATUS_LINK_STATE &&
        __atomic_load_n(&e->is_greeted, __ATOMIC_ACQUIRE))
        send_link(e);
}

/* ---- Linux -> driver ---- */

static void make_list(struct edge *e, unsigned i)
{
    e->data[i] = ndis_alloc(LARGEST);
    MDL *mdl = e->data[i] ? IoAllocateMdl(e->data[i], LARGEST, FALSE, FALSE, NULL) : NULL;

    if (!mdl)
        nth_fail("no memory for an edge");
    MmBuildMdlForNonPagedPool(mdl);
    e->lists[i] = NdisAllocateNetBufferAndNetBufferList(e->pool, 0, 0, mdl, 0, 0);
    if (!e->lists[i])
        nth_fail("no memory for an edge");
}

static void fill_list(struct edge *e, unsigned i, const UCHAR *packet, ULONG bytes)
{
    NET_BUFFER_LIST *l = e->lists[i];
    NET_BUFFER *b = NET_BUFFER_LIST_FIRST_NB(l);

    memcpy(e->data[i], packet, bytes);
    NET_BUFFER_LIST_NEXT_NBL(l) = NULL;
    NET_BUFFER_LIST_STATUS(l) = NDIS_STATUS_SUCCESS;
    l->SourceHandle = e;
    memset(l->NetBufferListInfo, 0, sizeof(l->NetBufferListInfo));
    NET_BUFFER_LIST_INFO(l, NetBufferListFrameType) =
        (void *)(ULONG_PTR)(packet[0] >> 4 == 6 ? 0xDD86 : 0x0008);
    NET_BUFFER_CURRENT_MDL(b) = NET_BUFFER_FIRST_MDL(b);
    NET_BUFFER_CURRENT_MDL_OFFSET(b) = NET_BUFFER_DATA_OFFSET(b) = 0;
    NET_BUFFER_DATA_LENGTH(b) = bytes;
}

static void send_complete(void *context, NET_BUFFER_LIST *lists, ULONG flags)
{
    struct edge *e = context;
    LONG count = 0;

    for (; lists; lists = NET_BUFFER_LIST_NEXT_NBL(lists))
        count++;
    ndis_count_sub(&e->out, count);
}

/* The packets that are whole, at most a batch of them; answers how many bytes were used. */
static size_t send_batch(struct edge *e, size_t at)
{
    NET_BUFFER_LIST **link = NULL;
    unsigned count = 0;
    uint32_t header;

    while (count < BATCH && e->got - at >= HEADER) {
        memcpy(&header, e->stream + at, HEADER);
        const ULONG bytes = header & 0xFFFFFF;
        if (header >> 24 != PACKET || !bytes || bytes > LARGEST)
            nth_fail("a message 0x%08x from the bridge", header);
        if (e->got - at - HEADER < bytes)
            break;
        fill_list(e, count, e->stream + at + HEADER, bytes);
        if (link)
            *link = e->lists[count];
        link = &NET_BUFFER_LIST_NEXT_NBL(e->lists[count]);
        count++;
        at += HEADER + bytes;
    }
    if (count) {
        ndis_count_add(&e->out, (LONG)count);
        nth_send(e->adapter, e->lists[0], 0);
        ndis_count_wait(&e->out);
    }
    return at;
}

static void send_whole(struct edge *e)
{
    size_t used = 0, next;

    while ((next = send_batch(e, used)) != used)
        used = next;
    e->got -= used;
    for (size_t i = 0; used && i < e->got; i++) /* a part of one message at most */
        e->stream[i] = e->stream[used + i];
}

/* ---- the connection ---- */

static void serve(struct edge *e)
{
    const char *name = ndis_instance_of(e->adapter->pdo);

    wine_socket_send(e->socket, HELLO, &(struct wine_piece){name, strlen(name)}, 1);
    __atomic_store_n(&e->is_greeted, 1, __ATOMIC_RELEASE);
    send_link(e);
    e->got = 0;
    for (;;) {
        const size_t got = wine_socket_receive(e->socket, e->stream + e->got, ROOM - e->got);
        if (!got)
            break;
        e->got += got;
        send_whole(e);
    }
    __atomic_store_n(&e->is_greeted, 0, __ATOMIC_RELEASE);
}

static void run(void *context)
{
    struct edge *e = context;

    while (!__atomic_load_n(&e->is_stopped, __ATOMIC_ACQUIRE)) {
        const uint32_t port = wine_key_read_number(PORT_KEY, "EdgePort", 0);
        if (wine_socket_connect(e->socket, port))
            serve(e);
    }
}

static void destroy(struct edge *e)
{
    for (int i = 0; i < BATCH; i++) {
        MDL *mdl = NET_BUFFER_FIRST_MDL(NET_BUFFER_LIST_FIRST_NB(e->lists[i]));
        NdisFreeNetBufferList(e->lists[i]);
        IoFreeMdl(mdl);
        ndis_free(e->data[i]);
    }
    NdisFreeNetBufferListPool(e->pool);
    wine_socket_destroy(e->socket);
    ndis_free(e);
}

/* Lists that the driver indicates meanwhile are returned by receive itself. */
static void pause(void *context) {}

/* The last call for the binding: the miniport is paused, nothing is under way. */
static void detach(void *context)
{
    struct edge *e = context;

    __atomic_store_n(&e->is_stopped, 1, __ATOMIC_RELEASE);
    wine_socket_hang_up(e->socket);
    ZwWaitForSingleObject(e->thread, FALSE, NULL);
    ZwClose(e->thread);
    destroy(e);
}

void wine_edge_open(struct nth_adapter *adapter)
{
    struct edge *e = ndis_alloc(sizeof(*e));
    NET_BUFFER_LIST_POOL_PARAMETERS parameters = {
        .Header = {.Type = NDIS_OBJECT_TYPE_DEFAULT,
                   .Revision = NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1,
                   .Size = NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1},
        .fAllocateNetBuffer = TRUE,
        .PoolTag = NDIS_TAG,
    };

    if (!e)
        nth_fail("no memory for an edge");
    e->adapter = adapter;
    ndis_count_init(&e->out);
    e->pool = NdisAllocateNetBufferListPool(NULL, &parameters);
    if (!e->pool)
        nth_fail("no memory for an edge");
    for (unsigned i = 0; i < BATCH; i++)
        make_list(e, i);
    e->socket = wine_socket_create();
    nth_bind(adapter, &(struct nth_binding){.context = e,
                                            .receive = receive,
                                            .send_complete = send_complete,
                                            .status = status,
                                            .detach = detach,
                                            .pause = pause});
    e->thread = (HANDLE)nth_thread_create("edge", run, e, NULL);
}
