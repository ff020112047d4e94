/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The edge of tests; see mem.h. Uses NDIS as a protocol driver does: own pools, own lists, and
 * nothing of a list that is the miniport's. Must never make a driver's fault disappear: lists come
 * back as they went or nth_chain_altered says so.
 */
#include "edge/mem.h"

#include "core/core.h"

#include <stdlib.h>
#include <string.h>

enum { TAG = 0x6D65544E, STATUS_CODES = 64 }; /* 'NTem' */

struct nth_mem {
    struct nth_adapter *adapter;
    NDIS_HANDLE lists, buffers;  /* pools */
    struct nth_mutex lock;       /* guards what follows */
    struct nth_packet **packets; /* each stays where it is while others arrive */
    unsigned count, room, indications;
    bool hold, is_detached;
    void (*on_receive)(void *context);
    void *on_receive_context;
    struct nth_thread *waiter;
    NDIS_STATUS statuses[STATUS_CODES];
    unsigned status_count;
};

/* One buffer as it was sent, to compare with when it comes back. */
struct sent_buffer {
    NET_BUFFER *buffer;
    MDL *first, *current;
    uint8_t *copy;
    ULONG offset, bytes;
};

struct sent_list {
    NET_BUFFER_LIST *list;
    struct sent_buffer *buffers;
    unsigned count;
    NDIS_STATUS status;
    bool is_complete; /* guarded by the binding's lock */
};

struct nth_chain {
    struct nth_mem *mem;
    struct sent_list *lists;
    unsigned count, completed; /* completed: guarded by the binding's lock */
    struct nth_thread *waiter; /* guarded by the binding's lock */
};

static void *grow(void *array, unsigned count, size_t element)
{
    void *grown = array;

    if ((count & (count - 1)) == 0) /* room is the next power of two */
        grown = realloc(array, element * (count ? count * 2 : 1));
    if (!grown)
        nth_fail("no memory for %u elements", count + 1);
    return grown;
}

/* ---- receive ---- */

static unsigned copy_out(const NET_BUFFER *buffer, uint8_t *to)
{
    size_t left = NET_BUFFER_DATA_LENGTH(buffer);
    size_t skip = NET_BUFFER_CURRENT_MDL_OFFSET(buffer);
    unsigned mdls = 0;

    for (MDL *mdl = NET_BUFFER_CURRENT_MDL(buffer); left; mdl = mdl->Next, mdls++) {
        if (!mdl)
            nth_stop("nbl-data", "MDL chain ends %zu bytes before the data does", left);
        const uint8_t *from = MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority);
        const size_t here = MmGetMdlByteCount(mdl) - skip;
        const size_t part = here < left ? here : left;
        memcpy(to, from + skip, part);
        to += part;
        left -= part;
        skip = 0;
    }
    return mdls;
}

static void packet_free(struct nth_packet *packet)
{
    free(packet->data);
    free(packet);
}

static void collect(struct nth_mem *mem, NET_BUFFER_LIST *list, NET_BUFFER *buffer, ULONG flags,
                    bool keep)
{
    const size_t bytes = NET_BUFFER_DATA_LENGTH(buffer);
    uint8_t *data = malloc(bytes + 1);
    const unsigned mdls = data ? copy_out(buffer, data) : 0;
    const uintptr_t type = (uintptr_t)NET_BUFFER_LIST_INFO(list, NetBufferListFrameType);

    struct nth_packet *packet = malloc(sizeof(*packet));
    if (!packet)
        nth_fail("no memory for a packet");
    nth_lock(&mem->lock);
    *packet = (struct nth_packet){
        .data = data,
        .bytes = bytes,
        .flags = flags,
        .indication = mem->indications,
        .mdls = mdls,
        .frame_type = (uint16_t)((type & 0xFF) << 8 | (type >> 8 & 0xFF)),
    };
    /* the list is named by its first packet, so that it is returned once */
    if (keep && buffer == NET_BUFFER_LIST_FIRST_NB(list))
        packet->list = list;
    mem->packets = grow(mem->packets, mem->count, sizeof(struct nth_packet *));
    mem->packets[mem->count++] = packet;
    nth_unlock(&mem->lock);
}

static void mem_receive(void *context, NET_BUFFER_LIST *lists, ULONG count, ULONG flags)
{
    struct nth_mem *mem = context;
    const bool is_lent = flags & NDIS_RECEIVE_FLAGS_RESOURCES;
    const bool keep = __atomic_load_n(&mem->hold, __ATOMIC_RELAXED) && !is_lent;

    for (NET_BUFFER_LIST *l = lists, *next; l; l = next) {
        next = NET_BUFFER_LIST_NEXT_NBL(l);
        for (NET_BUFFER *b = NET_BUFFER_LIST_FIRST_NB(l); b; b = NET_BUFFER_NEXT_NB(b))
            collect(mem, l, b, flags, keep);
        if (keep)
            NET_BUFFER_LIST_NEXT_NBL(l) = NULL;
    }
    nth_lock(&mem->lock);
    mem->indications++;
    if (mem->waiter)
        nth_unpark(mem->waiter);
    const bool is_late = mem->is_detached; /* nobody else returns what was kept by this call */
    nth_unlock(&mem->lock);
    if (mem->on_receive)
        mem->on_receive(mem->on_receive_context);
    if (!keep && !is_lent)
        nth_return(mem->adapter, lists,
                   KeGetCurrentIrql() == DISPATCH_LEVEL ? NDIS_RETURN_FLAGS_DISPATCH_LEVEL : 0);
    else if (is_late)
        nth_mem_return_all(mem);
}

/* Takes every held list out of the packets from first on, before end; the caller returns the chain.
 * The binding's lock held. */
static NET_BUFFER_LIST *take_held(struct nth_mem *mem, unsigned first, unsigned end)
{
    NET_BUFFER_LIST *chain = NULL;

    for (unsigned i = end; i-- > first;) {
        NET_BUFFER_LIST *list = mem->packets[i]->list;
        if (!list)
            continue;
        NET_BUFFER_LIST_NEXT_NBL(list) = chain;
        chain = list;
        mem->packets[i]->list = NULL;
    }
    return chain;
}

void nth_mem_return_all(struct nth_mem *mem)
{
    nth_lock(&mem->lock);
    NET_BUFFER_LIST *chain = take_held(mem, 0, mem->count);
    nth_unlock(&mem->lock);
    if (chain)
        nth_return(mem->adapter, chain, 0);
}

bool nth_mem_return(struct nth_mem *mem, unsigned index)
{
    nth_lock(&mem->lock);
    NET_BUFFER_LIST *list = index < mem->count ? take_held(mem, index, index + 1) : NULL;
    nth_unlock(&mem->lock);
    if (list)
        nth_return(mem->adapter, list, 0);
    return list != NULL;
}

void nth_mem_clear(struct nth_mem *mem)
{
    nth_lock(&mem->lock);
    NET_BUFFER_LIST *chain = take_held(mem, 0, mem->count);
    for (unsigned i = 0; i < mem->count; i++)
        packet_free(mem->packets[i]);
    free(mem->packets);
    mem->packets = NULL;
    mem->count = 0;
    mem->indications = 0;
    nth_unlock(&mem->lock);
    if (chain)
        nth_return(mem->adapter, chain, 0);
}

void nth_mem_hold(struct nth_mem *mem, bool hold)
{
    __atomic_store_n(&mem->hold, hold, __ATOMIC_RELAXED);
}

void nth_mem_on_receive(struct nth_mem *mem, void (*call)(void *context), void *context)
{
    mem->on_receive_context = context;
    mem->on_receive = call;
}

unsigned nth_mem_count(struct nth_mem *mem)
{
    nth_lock(&mem->lock);
    const unsigned count = mem->count;
    nth_unlock(&mem->lock);
    return count;
}

unsigned nth_mem_wait(struct nth_mem *mem, unsigned count, uint64_t timeout_ns)
{
    const uint64_t deadline = timeout_ns == UINT64_MAX ? UINT64_MAX : nth_clock_ns() + timeout_ns;
    unsigned seen;
    int late = 0;

    nth_lock(&mem->lock);
    while ((seen = mem->count) < count && !late) {
        mem->waiter = nth_self();
        nth_unlock(&mem->lock);
        late = nth_park(deadline);
        nth_lock(&mem->lock);
    }
    mem->waiter = NULL;
    nth_unlock(&mem->lock);
    return seen;
}

const struct nth_packet *nth_mem_packet(struct nth_mem *mem, unsigned index)
{
    nth_lock(&mem->lock);
    const unsigned count = mem->count;
    const struct nth_packet *packet = index < count ? mem->packets[index] : NULL;
    nth_unlock(&mem->lock);
    if (!packet)
        nth_fail("packet %u of %u", index, count);
    return packet;
}

unsigned nth_mem_indications(struct nth_mem *mem)
{
    return mem->indications;
}

/* ---- status ---- */

static void mem_status(void *context, const NDIS_STATUS_INDICATION *indication)
{
    struct nth_mem *mem = context;

    nth_lock(&mem->lock);
    if (mem->status_count < STATUS_CODES)
        mem->statuses[mem->status_count++] = indication->StatusCode;
    nth_unlock(&mem->lock);
}

unsigned nth_mem_statuses(struct nth_mem *mem, NDIS_STATUS code)
{
    unsigned seen = 0;

    nth_lock(&mem->lock);
    for (unsigned i = 0; i < mem->status_count; i++)
        seen += mem->statuses[i] == code;
    nth_unlock(&mem->lock);
    return seen;
}

/* ---- send ---- */

static MDL *make_mdl(const uint8_t *from, size_t bytes)
{
    void *memory = ExAllocatePoolWithTag(NonPagedPool, bytes, TAG);
    MDL *mdl = memory ? IoAllocateMdl(memory, (ULONG)bytes, FALSE, FALSE, NULL) : NULL;

    if (!mdl)
        nth_fail("no memory for a packet of %zu bytes", bytes);
    memcpy(memory, from, bytes);
    MmBuildMdlForNonPagedPool(mdl);
    return mdl;
}

static void free_mdls(MDL *mdl)
{
    while (mdl) {
        MDL *next = mdl->Next;
        void *memory = MmGetMdlVirtualAddress(mdl);
        IoFreeMdl(mdl);
        ExFreePoolWithTag(memory, TAG);
        mdl = next;
    }
}

/* The whole buffer, slack included, cut as the shape says. Slack has a pattern, so that a driver
 * which copies it is seen. */
static MDL *make_mdls(const uint8_t *whole, size_t bytes, const struct nth_shape *shape)
{
    MDL *first = NULL, **link = &first;
    unsigned cut = 0;

    while (bytes) {
        size_t part = cut < shape->cut_count ? shape->cuts[cut++] : bytes;
        if (part > bytes)
            part = bytes;
        if (!part)
            continue;
        *link = make_mdl(whole, part);
        link = &(*link)->Next;
        whole += part;
        bytes -= part;
    }
    return first;
}

struct nth_chain *nth_chain_create(struct nth_mem *mem)
{
    struct nth_chain *chain = calloc(1, sizeof(*chain));

    if (!chain)
        nth_fail("no memory for a chain");
    chain->mem = mem;
    return chain;
}

void nth_chain_list(struct nth_chain *chain, void *cancel_id)
{
    NET_BUFFER_LIST *list = NdisAllocateNetBufferList(chain->mem->lists, 0, 0);

    if (!list)
        nth_fail("no memory for a list");
    chain->lists = grow(chain->lists, chain->count, sizeof(*chain->lists));
    chain->lists[chain->count] = (struct sent_list){.list = list, .status = NDIS_STATUS_PENDING};
    if (chain->count)
        NET_BUFFER_LIST_NEXT_NBL(chain->lists[chain->count - 1].list) = list;
    list->ProtocolReserved[0] = chain;
    list->ProtocolReserved[1] = (void *)(uintptr_t)chain->count;
    list->SourceHandle = chain->mem;
    if (cancel_id)
        NET_BUFFER_LIST_INFO(list, NetBufferListCancelId) = cancel_id;
    chain->count++;
}

static void append(struct sent_list *list, const struct sent_buffer *sent)
{
    list->buffers = grow(list->buffers, list->count, sizeof(*list->buffers));
    if (list->count)
        NET_BUFFER_NEXT_NB(list->buffers[list->count - 1].buffer) = sent->buffer;
    else
        NET_BUFFER_LIST_FIRST_NB(list->list) = sent->buffer;
    list->buffers[list->count++] = *sent;
}

void nth_chain_packet(struct nth_chain *chain, const void *packet, size_t bytes,
                      const struct nth_shape *shape)
{
    static const struct nth_shape plain;
    const struct nth_shape *s = shape ? shape : &plain;
    const size_t whole_bytes = s->offset + bytes + s->tail;
    struct sent_buffer sent = {.offset = (ULONG)s->offset, .bytes = (ULONG)bytes};

    if (!chain->count)
        nth_chain_list(chain, NULL);
    uint8_t *whole = malloc(whole_bytes + 1);
    sent.copy = malloc(bytes + 1);
    if (!whole || !sent.copy)
        nth_fail("no memory for a packet of %zu bytes", bytes);
    memset(whole, 0xA5, whole_bytes);
    memcpy(whole + s->offset, packet, bytes);
    memcpy(sent.copy, packet, bytes);
    sent.first = make_mdls(whole, whole_bytes, s);
    free(whole);
    sent.buffer = NdisAllocateNetBuffer(chain->mem->buffers, sent.first, sent.offset, bytes);
    if (!sent.buffer)
        nth_fail("no memory for a net buffer");
    sent.current = NET_BUFFER_CURRENT_MDL(sent.buffer);
    append(&chain->lists[chain->count - 1], &sent);
}

NET_BUFFER_LIST *nth_chain_nbl(struct nth_chain *chain, unsigned list)
{
    return chain->lists[list].list;
}

void nth_chain_send(struct nth_chain *chain, ULONG flags)
{
    if (KeGetCurrentIrql() == DISPATCH_LEVEL)
        flags |= NDIS_SEND_FLAGS_DISPATCH_LEVEL;
    nth_send(chain->mem->adapter, chain->lists[0].list, flags);
}

/* After the last list was marked the owner may destroy the chain: it is not touched any more. */
static void complete_list(NET_BUFFER_LIST *list)
{
    struct nth_chain *chain = list->ProtocolReserved[0];
    struct nth_mem *mem = chain->mem;
    struct sent_list *sent = &chain->lists[(uintptr_t)list->ProtocolReserved[1]];

    nth_lock(&mem->lock);
    if (sent->list != list || sent->is_complete)
        nth_stop("nbl-completed-twice", "a list was completed twice, or one that was never sent");
    sent->is_complete = true;
    sent->status = NET_BUFFER_LIST_STATUS(list);
    struct nth_thread *waiter = ++chain->completed == chain->count ? chain->waiter : NULL;
    if (waiter)
        nth_unpark(waiter);
    nth_unlock(&mem->lock);
}

static void mem_send_complete(void *context, NET_BUFFER_LIST *lists, ULONG flags)
{
    for (NET_BUFFER_LIST *next; lists; lists = next) {
        next = NET_BUFFER_LIST_NEXT_NBL(lists);
        complete_list(lists);
    }
}

bool nth_chain_wait(struct nth_chain *chain, uint64_t timeout_ns)
{
    const uint64_t deadline = timeout_ns == UINT64_MAX ? UINT64_MAX : nth_clock_ns() + timeout_ns;
    bool done;
    int late = 0;

    nth_lock(&chain->mem->lock);
    while (!(done = chain->completed == chain->count) && !late) {
        chain->waiter = nth_self();
        nth_unlock(&chain->mem->lock);
        late = nth_park(deadline);
        nth_lock(&chain->mem->lock);
    }
    chain->waiter = NULL;
    nth_unlock(&chain->mem->lock);
    return done;
}

unsigned nth_chain_lists(const struct nth_chain *chain)
{
    return chain->count;
}

unsigned nth_chain_completed(struct nth_chain *chain)
{
    nth_lock(&chain->mem->lock);
    const unsigned completed = chain->completed;
    nth_unlock(&chain->mem->lock);
    return completed;
}

NDIS_STATUS nth_chain_status(struct nth_chain *chain, unsigned list)
{
    return chain->lists[list].status;
}

static const char *buffer_altered(const struct sent_buffer *sent)
{
    uint8_t *now = malloc(sent->bytes + 1);
    const char *wrong = NULL;

    if (NET_BUFFER_FIRST_MDL(sent->buffer) != sent->first ||
        NET_BUFFER_CURRENT_MDL(sent->buffer) != sent->current)
        wrong = "MDL chain of a buffer";
    else if (NET_BUFFER_DATA_LENGTH(sent->buffer) != sent->bytes ||
             NET_BUFFER_DATA_OFFSET(sent->buffer) != sent->offset)
        wrong = "length or offset of a buffer";
    else if (now) {
        copy_out(sent->buffer, now);
        wrong = memcmp(now, sent->copy, sent->bytes) == 0 ? NULL : "bytes of a packet";
    }
    free(now);
    return wrong;
}

const char *nth_chain_altered(struct nth_chain *chain)
{
    for (unsigned i = 0; i < chain->count; i++) {
        const struct sent_list *sent = &chain->lists[i];
        const NET_BUFFER *at = NET_BUFFER_LIST_FIRST_NB(sent->list);
        for (unsigned j = 0; j < sent->count; j++, at = NET_BUFFER_NEXT_NB(at)) {
            const char *wrong = at == sent->buffers[j].buffer ? buffer_altered(&sent->buffers[j])
                                                              : "buffers of a list";
            if (wrong)
                return wrong;
        }
        if (at)
            return "buffers of a list";
    }
    return NULL;
}

void nth_chain_destroy(struct nth_chain *chain)
{
    if (!chain)
        return;
    for (unsigned i = 0; i < chain->count; i++) {
        struct sent_list *sent = &chain->lists[i];
        for (unsigned j = 0; j < sent->count; j++) {
            NdisFreeNetBuffer(sent->buffers[j].buffer);
            free_mdls(sent->buffers[j].first);
            free(sent->buffers[j].copy);
        }
        NdisFreeNetBufferList(sent->list);
        free(sent->buffers);
    }
    free(chain->lists);
    free(chain);
}

/* ---- attach ---- */

static void mem_detach(void *context)
{
    struct nth_mem *mem = context;

    nth_lock(&mem->lock);
    __atomic_store_n(&mem->is_detached, true, __ATOMIC_RELEASE);
    nth_unlock(&mem->lock);
    nth_mem_return_all(mem);
}

bool nth_mem_is_detached(const struct nth_mem *mem)
{
    return __atomic_load_n(&mem->is_detached, __ATOMIC_ACQUIRE);
}

static void make_pools(struct nth_mem *mem)
{
    const NET_BUFFER_LIST_POOL_PARAMETERS lists = {
        .Header = {.Type = NDIS_OBJECT_TYPE_DEFAULT,
                   .Revision = NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1,
                   .Size = NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1},
        .ProtocolId = NDIS_PROTOCOL_ID_DEFAULT,
        .PoolTag = TAG,
    };
    const NET_BUFFER_POOL_PARAMETERS buffers = {
        .Header = {.Type = NDIS_OBJECT_TYPE_DEFAULT,
                   .Revision = NET_BUFFER_POOL_PARAMETERS_REVISION_1,
                   .Size = NDIS_SIZEOF_NET_BUFFER_POOL_PARAMETERS_REVISION_1},
        .PoolTag = TAG,
    };

    mem->lists = NdisAllocateNetBufferListPool(NULL, (void *)&lists);
    mem->buffers = NdisAllocateNetBufferPool(NULL, (void *)&buffers);
    if (!mem->lists || !mem->buffers)
        nth_fail("no memory for the pools of an edge");
}

struct nth_mem *nth_mem_attach(struct nth_adapter *adapter)
{
    struct nth_mem *mem = calloc(1, sizeof(*mem));

    if (!mem)
        nth_fail("no memory for an edge");
    mem->adapter = adapter;
    pthread_mutex_init(&mem->lock.m, NULL);
    make_pools(mem);
    nth_bind(adapter, &(struct nth_binding){.context = mem,
                                            .receive = mem_receive,
                                            .send_complete = mem_send_complete,
                                            .status = mem_status,
                                            .detach = mem_detach});
    return mem;
}

void nth_mem_close(struct nth_mem *mem)
{
    if (!mem)
        return;
    nth_mem_return_all(mem);
    if (!mem->is_detached)
        nth_unbind(mem->adapter, mem);
    nth_mem_clear(mem);
    NdisFreeNetBufferPool(mem->buffers);
    NdisFreeNetBufferListPool(mem->lists);
    pthread_mutex_destroy(&mem->lock.m);
    free(mem);
}
