/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Lists for the way from a TCP/IP stack to the driver: made once when an edge opens, filled and
 * sent again and again. Each slot's list has one buffer with one MDL over memory of its own. A list
 * that came back is made new again before its next use, since drivers may write into some of its
 * fields.
 */
#include "core/core.h"
#include "edge/edge.h"

#include <stdlib.h>
#include <string.h>

enum { TAG = 0x7065544E }; /* 'NTep' */

struct nth_edge_pool {
    NDIS_HANDLE lists;
    void *owner;
    struct nth_mutex lock;
    struct nth_edge_slot *free; /* guarded by lock, like the rest */
    unsigned out;
    struct nth_thread *waiter;
    unsigned count;
    size_t room;
    struct nth_edge_slot slots[];
};

static void make_slot(struct nth_edge_pool *pool, struct nth_edge_slot *slot)
{
    slot->data = ExAllocatePoolWithTag(NonPagedPool, pool->room, TAG);
    MDL *mdl = slot->data ? IoAllocateMdl(slot->data, (ULONG)pool->room, FALSE, FALSE, NULL) : NULL;
    if (!mdl)
        nth_fail("no memory for an edge");
    MmBuildMdlForNonPagedPool(mdl);
    slot->list = NdisAllocateNetBufferAndNetBufferList(pool->lists, 0, 0, mdl, 0, 0);
    if (!slot->list)
        nth_fail("no memory for a list of an edge");
    slot->list->ProtocolReserved[0] = slot;
    slot->owner = pool->owner;
    slot->next = pool->free;
    pool->free = slot;
}

struct nth_edge_pool *nth_edge_pool_create(unsigned slots, size_t room, void *owner)
{
    struct nth_edge_pool *pool = calloc(1, sizeof(*pool) + slots * sizeof(pool->slots[0]));
    NET_BUFFER_LIST_POOL_PARAMETERS parameters = {
        .Header = {.Type = NDIS_OBJECT_TYPE_DEFAULT,
                   .Revision = NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1,
                   .Size = NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1},
        .ProtocolId = NDIS_PROTOCOL_ID_DEFAULT,
        .fAllocateNetBuffer = TRUE,
        .PoolTag = TAG,
    };

    if (!pool)
        nth_fail("no memory for an edge");
    pthread_mutex_init(&pool->lock.m, NULL);
    pool->owner = owner;
    pool->count = slots;
    pool->room = room;
    pool->lists = NdisAllocateNetBufferListPool(NULL, &parameters);
    if (!pool->lists)
        nth_fail("no memory for the lists of an edge");
    for (unsigned i = 0; i < slots; i++)
        make_slot(pool, &pool->slots[i]);
    return pool;
}

static struct nth_edge_slot *take(struct nth_edge_pool *pool, bool wait)
{
    nth_lock(&pool->lock);
    struct nth_edge_slot *slot = pool->free;
    if (slot) {
        pool->free = slot->next;
        pool->out++;
    }
    if (wait)
        pool->waiter = slot ? NULL : nth_self();
    nth_unlock(&pool->lock);
    return slot;
}

struct nth_edge_slot *nth_edge_slot_get(struct nth_edge_pool *pool)
{
    return take(pool, false);
}

struct nth_edge_slot *nth_edge_slot_wait(struct nth_edge_pool *pool)
{
    struct nth_edge_slot *slot;

    while (!(slot = take(pool, true)))
        nth_park(UINT64_MAX);
    return slot;
}

/* With the lock. */
static void put_back(struct nth_edge_pool *pool, struct nth_edge_slot *slot)
{
    slot->next = pool->free;
    pool->free = slot;
    pool->out--;
}

/* Wakes under the lock: nth_edge_pool_destroy may free the pool as soon as it is released. */
static void put_done(struct nth_edge_pool *pool)
{
    if (pool->waiter)
        nth_unpark(pool->waiter);
    nth_unlock(&pool->lock);
}

void nth_edge_slot_put(struct nth_edge_pool *pool, struct nth_edge_slot *slot)
{
    nth_lock(&pool->lock);
    put_back(pool, slot);
    put_done(pool);
}

unsigned nth_edge_pool_complete(struct nth_edge_pool *pool, NET_BUFFER_LIST *lists)
{
    unsigned failed = 0;

    nth_lock(&pool->lock);
    for (NET_BUFFER_LIST *next; lists; lists = next) {
        next = NET_BUFFER_LIST_NEXT_NBL(lists);
        failed += NET_BUFFER_LIST_STATUS(lists) != NDIS_STATUS_SUCCESS;
        put_back(pool, lists->ProtocolReserved[0]);
    }
    put_done(pool);
    return failed;
}

/* NetBufferListFrameType: "the Ethernet frame type ... in network byte order" (Microsoft's page on
 * NDIS_NET_BUFFER_LIST_INFO). */
static void *frame_type(uint8_t first)
{
    return (void *)(uintptr_t)(first >> 4 == 6 ? 0xDD86 : 0x0008);
}

void nth_edge_slot_fill(struct nth_edge_slot *slot, size_t offset, size_t bytes)
{
    NET_BUFFER_LIST *list = slot->list;
    NET_BUFFER *buffer = NET_BUFFER_LIST_FIRST_NB(list);

    NET_BUFFER_LIST_NEXT_NBL(list) = NULL;
    NET_BUFFER_LIST_STATUS(list) = NDIS_STATUS_SUCCESS;
    list->SourceHandle = slot->owner;
    memset(list->NetBufferListInfo, 0, sizeof(list->NetBufferListInfo));
    NET_BUFFER_LIST_INFO(list, NetBufferListFrameType) = frame_type(slot->data[offset]);
    NET_BUFFER_CURRENT_MDL(buffer) = NET_BUFFER_FIRST_MDL(buffer);
    NET_BUFFER_CURRENT_MDL_OFFSET(buffer) = (ULONG)offset;
    NET_BUFFER_DATA_OFFSET(buffer) = (ULONG)offset;
    NET_BUFFER_DATA_LENGTH(buffer) = (ULONG)bytes;
}

static void wait_all(struct nth_edge_pool *pool)
{
    nth_lock(&pool->lock);
    while (pool->out) {
        pool->waiter = nth_self();
        nth_unlock(&pool->lock);
        nth_park(UINT64_MAX);
        nth_lock(&pool->lock);
    }
    nth_unlock(&pool->lock);
}

void nth_edge_pool_destroy(struct nth_edge_pool *pool)
{
    if (!pool)
        return;
    wait_all(pool);
    for (unsigned i = 0; i < pool->count; i++) {
        NET_BUFFER *buffer = NET_BUFFER_LIST_FIRST_NB(pool->slots[i].list);
        MDL *mdl = NET_BUFFER_FIRST_MDL(buffer);
        NdisFreeNetBufferList(pool->slots[i].list);
        IoFreeMdl(mdl);
        ExFreePoolWithTag(pool->slots[i].data, TAG);
    }
    NdisFreeNetBufferListPool(pool->lists);
    pthread_mutex_destroy(&pool->lock.m);
    free(pool);
}
