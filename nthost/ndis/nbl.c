/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Lists and buffers: pools, allocation, contexts, access to the data in MDL chains. Every list has
 * a header of ours in front of it that says who has it; flow.c moves it. A machine that is not
 * relaxed allocates each list apart and gives its memory back at once, so that whoever touches it
 * later faults; a relaxed one keeps free lists per pool.
 */
#include "ndis/private.h"

#include <string.h>

enum { NB_MAGIC = 0x4E42646E, NBL_MAGIC = 0x424C646E, FREE_MAX = 4096 };

struct ndis_pool {
    struct ndis_object object;
    bool has_lists, has_buffers;
    ULONG context_size, data_size;
    LONG outstanding; /* atomic */
    struct nth_mutex lock;
    struct ndis_nbl *free_lists; /* guarded by lock, relaxed machines only */
    struct ndis_nb *free_buffers;
    unsigned free_count;
};

/* ---- pools ---- */

static struct ndis_pool *pool_create(NDIS_HANDLE owner, const char *made_by)
{
    if (nth_fault(NTH_FAULT_NDIS, made_by))
        return NULL;
    struct ndis_pool *pool = ndis_alloc(sizeof(*pool));

    if (!pool)
        return NULL;
    pool->lock = (struct nth_mutex)NTH_MUTEX_INIT;
    ndis_object_add(&pool->object, NDIS_KIND_POOL, owner, made_by);
    return pool;
}

static bool is_aligned(ULONG bytes)
{
    return bytes % MEMORY_ALLOCATION_ALIGNMENT == 0;
}

NDIS_HANDLE NTAPI NdisAllocateNetBufferListPool(NDIS_HANDLE NdisHandle,
                                                PNET_BUFFER_LIST_POOL_PARAMETERS Parameters)
{
    nth_irql_max(DISPATCH_LEVEL);
    static const USHORT sizes[] = {NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1,
                                   NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_2};
    const NET_BUFFER_LIST_POOL_PARAMETERS *p = Parameters;

    if (!ndis_header_is(&p->Header, NDIS_OBJECT_TYPE_DEFAULT, 2, sizes))
        nth_stop("pool-parameters", "type 0x%02x revision %u size %u", p->Header.Type,
                 p->Header.Revision, p->Header.Size);
    if (!is_aligned(p->ContextSize))
        nth_stop("pool-parameters", "ContextSize %u is no multiple of %u", p->ContextSize,
                 (unsigned)MEMORY_ALLOCATION_ALIGNMENT);
    if (p->DataSize && !p->fAllocateNetBuffer)
        nth_stop("pool-parameters", "DataSize %u without fAllocateNetBuffer", p->DataSize);
    struct ndis_pool *pool = pool_create(NdisHandle, "NdisAllocateNetBufferListPool");
    if (!pool)
        return NULL;
    pool->has_lists = true;
    pool->has_buffers = p->fAllocateNetBuffer;
    pool->context_size = p->ContextSize;
    pool->data_size = p->DataSize;
    return pool;
}
NTH_EXPORT(NdisAllocateNetBufferListPool, 2);

NDIS_HANDLE NTAPI NdisAllocateNetBufferPool(NDIS_HANDLE NdisHandle,
                                            PNET_BUFFER_POOL_PARAMETERS Parameters)
{
    nth_irql_max(DISPATCH_LEVEL);
    static const USHORT sizes[] = {NDIS_SIZEOF_NET_BUFFER_POOL_PARAMETERS_REVISION_1,
                                   NDIS_SIZEOF_NET_BUFFER_POOL_PARAMETERS_REVISION_2};
    const NET_BUFFER_POOL_PARAMETERS *p = Parameters;

    if (!ndis_header_is(&p->Header, NDIS_OBJECT_TYPE_DEFAULT, 2, sizes))
        nth_stop("pool-parameters", "type 0x%02x revision %u size %u", p->Header.Type,
                 p->Header.Revision, p->Header.Size);
    struct ndis_pool *pool = pool_create(NdisHandle, "NdisAllocateNetBufferPool");
    if (!pool)
        return NULL;
    pool->has_buffers = true;
    pool->data_size = p->DataSize;
    return pool;
}
NTH_EXPORT(NdisAllocateNetBufferPool, 2);

static void pool_free(NDIS_HANDLE handle, bool lists)
{
    struct ndis_pool *pool = ndis_object_check(handle, NDIS_KIND_POOL);
    const LONG left = __atomic_load_n(&pool->outstanding, __ATOMIC_SEQ_CST);

    if (pool->has_lists != lists)
        nth_stop("ndis-handle", "the pool is of the other kind");
    if (left)
        nth_stop("pool-not-empty", "%d %s of the pool are not freed", left,
                 lists ? "lists" : "buffers");
    for (struct ndis_nbl *l = pool->free_lists, *next; l; l = next) {
        next = l->next_free;
        ndis_free(l);
    }
    for (struct ndis_nb *b = pool->free_buffers, *next; b; b = next) {
        next = b->next_free;
        ndis_free(b);
    }
    ndis_object_remove(&pool->object);
    ndis_free(pool);
}

VOID NTAPI NdisFreeNetBufferListPool(NDIS_HANDLE PoolHandle)
{
    nth_irql_max(DISPATCH_LEVEL);
    pool_free(PoolHandle, true);
}
NTH_EXPORT(NdisFreeNetBufferListPool, 1);

VOID NTAPI NdisFreeNetBufferPool(NDIS_HANDLE PoolHandle)
{
    nth_irql_max(DISPATCH_LEVEL);
    pool_free(PoolHandle, false);
}
NTH_EXPORT(NdisFreeNetBufferPool, 1);

/* ---- buffers ---- */

void ndis_nb_seek(NET_BUFFER *nb)
{
    ULONG skip = nb->DataOffset;
    MDL *mdl = nb->MdlChain;

    while (mdl && mdl->Next && skip >= MmGetMdlByteCount(mdl)) {
        skip -= MmGetMdlByteCount(mdl);
        mdl = mdl->Next;
    }
    nb->CurrentMdl = mdl;
    nb->CurrentMdlOffset = skip;
}

static SIZE_T chain_bytes(const MDL *mdl)
{
    SIZE_T bytes = 0;

    for (; mdl; mdl = mdl->Next)
        bytes += MmGetMdlByteCount(mdl);
    return bytes;
}

static void set_data(struct ndis_nb *b, MDL *chain, ULONG offset, SIZE_T length)
{
    if (!chain && (offset || length))
        nth_stop("nb-parameters", "offset %u and length %zu without an MDL", offset,
                 (size_t)length);
    if (chain && chain_bytes(chain) < (SIZE_T)offset + length)
        nth_stop("nb-parameters", "offset %u and length %zu in MDLs of %zu bytes", offset,
                 (size_t)length, (size_t)chain_bytes(chain));
    b->nb.MdlChain = chain;
    b->nb.DataOffset = offset;
    b->nb.stDataLength = length;
    ndis_nb_seek(&b->nb);
}

static void init_buffer(struct ndis_nb *b, struct ndis_pool *pool, bool is_embedded)
{
    memset(b, 0, sizeof(*b));
    b->magic = NB_MAGIC;
    b->is_embedded = is_embedded;
    b->pool = is_embedded ? NULL : pool;
    b->nb.NdisPoolHandle = pool;
}

static bool add_data(struct ndis_nb *b, ULONG bytes)
{
    b->own_data = ndis_alloc(bytes);
    b->own_mdl = b->own_data ? IoAllocateMdl(b->own_data, bytes, FALSE, FALSE, NULL) : NULL;
    if (!b->own_mdl) {
        ndis_free(b->own_data);
        return false;
    }
    MmBuildMdlForNonPagedPool(b->own_mdl);
    b->nb.MdlChain = b->own_mdl;
    b->nb.DataOffset = bytes; /* all of it unused: the driver retreats into it */
    ndis_nb_seek(&b->nb);
    return true;
}

static void drop_data(struct ndis_nb *b)
{
    if (!b->own_mdl)
        return;
    IoFreeMdl(b->own_mdl);
    ndis_free(b->own_data);
    b->own_mdl = NULL;
}

static struct ndis_nb *take_free_buffer(struct ndis_pool *pool)
{
    nth_lock(&pool->lock);
    struct ndis_nb *b = pool->free_buffers;
    if (b) {
        pool->free_buffers = b->next_free;
        pool->free_count--;
    }
    nth_unlock(&pool->lock);
    return b;
}

static struct ndis_nb *allocate_buffer(NDIS_HANDLE handle)
{
    struct ndis_pool *pool = ndis_object_check(handle, NDIS_KIND_POOL);

    if (pool->has_lists)
        nth_stop("ndis-handle", "a list pool where a buffer pool is needed");
    struct ndis_nb *b = nth_config.relaxed_memory ? take_free_buffer(pool) : NULL;
    if (!b)
        b = ndis_alloc(sizeof(*b));
    if (!b)
        return NULL;
    init_buffer(b, pool, false);
    __atomic_add_fetch(&pool->outstanding, 1, __ATOMIC_SEQ_CST);
    return b;
}

static void free_buffer(struct ndis_nb *b)
{
    struct ndis_pool *pool = b->pool;
    bool is_kept = false;

    drop_data(b);
    b->magic = 0;
    if (nth_config.relaxed_memory) {
        nth_lock(&pool->lock);
        if (pool->free_count < FREE_MAX) {
            b->next_free = pool->free_buffers;
            pool->free_buffers = b;
            pool->free_count++;
            is_kept = true;
        }
        nth_unlock(&pool->lock);
    }
    if (!is_kept)
        ndis_free(b);
    __atomic_sub_fetch(&pool->outstanding, 1, __ATOMIC_SEQ_CST);
}

static struct ndis_nb *buffer_of(NET_BUFFER *nb)
{
    struct ndis_nb *b = CONTAINING_RECORD(nb, struct ndis_nb, nb);

    if (!nb || b->magic != NB_MAGIC)
        nth_stop("nb-foreign", "%p is no NET_BUFFER of a pool", (void *)nb);
    return b;
}

PNET_BUFFER NTAPI NdisAllocateNetBuffer(NDIS_HANDLE PoolHandle, PMDL MdlChain, ULONG DataOffset,
                                        SIZE_T DataLength)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct ndis_nb *b = allocate_buffer(PoolHandle);

    if (!b)
        return NULL;
    set_data(b, MdlChain, DataOffset, DataLength);
    return &b->nb;
}
NTH_EXPORT(NdisAllocateNetBuffer, 4);

PNET_BUFFER NTAPI NdisAllocateNetBufferMdlAndData(NDIS_HANDLE PoolHandle)
{
    nth_irql_max(DISPATCH_LEVEL);
    const struct ndis_pool *pool = ndis_object_check(PoolHandle, NDIS_KIND_POOL);

    if (!pool->data_size)
        nth_stop("nb-parameters", "the pool was made without DataSize");
    struct ndis_nb *b = allocate_buffer(PoolHandle);
    if (b && !add_data(b, pool->data_size)) {
        free_buffer(b);
        b = NULL;
    }
    return b ? &b->nb : NULL;
}
NTH_EXPORT(NdisAllocateNetBufferMdlAndData, 1);

VOID NTAPI NdisFreeNetBuffer(PNET_BUFFER NetBuffer)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct ndis_nb *b = buffer_of(NetBuffer);

    if (b->is_embedded)
        nth_stop("nb-foreign", "the NET_BUFFER was allocated with its list and is freed with it");
    free_buffer(b);
}
NTH_EXPORT(NdisFreeNetBuffer, 1);

/* ---- lists ---- */

static struct ndis_nbl *take_free_list(struct ndis_pool *pool)
{
    nth_lock(&pool->lock);
    struct ndis_nbl *l = pool->free_lists;
    if (l) {
        pool->free_lists = l->next_free;
        pool->free_count--;
    }
    nth_unlock(&pool->lock);
    return l;
}

static ULONG list_bytes(const struct ndis_pool *pool, ULONG context)
{
    return sizeof(struct ndis_nbl) + context + (pool->has_buffers ? sizeof(struct ndis_nb) : 0);
}

/* The buffer lies before the context, so that running over the context meets the guard page. */
static void init_list(struct ndis_nbl *l, struct ndis_pool *pool, ULONG used, ULONG space)
{
    UCHAR *next = l->context;

    memset(l, 0, sizeof(*l));
    l->magic = NBL_MAGIC;
    l->pool = pool;
    l->nbl.NdisPoolHandle = pool;
    if (pool->has_buffers) {
        l->own_nb = (struct ndis_nb *)next;
        init_buffer(l->own_nb, pool, true);
        l->nbl.FirstNetBuffer = &l->own_nb->nb;
        next += sizeof(struct ndis_nb);
    }
    if (space) {
        l->nbl.Context = (NET_BUFFER_LIST_CONTEXT *)next;
        l->nbl.Context->Next = NULL;
        l->nbl.Context->Size = (USHORT)space;
        l->nbl.Context->Offset = (USHORT)(space - used);
    }
}

static struct ndis_nbl *allocate_list(struct ndis_pool *pool, USHORT context, USHORT back_fill)
{
    const ULONG wanted = (ULONG)context + back_fill;
    const bool is_standard = wanted <= pool->context_size;
    const ULONG space = is_standard ? pool->context_size : wanted;
    const ULONG header = space ? sizeof(NET_BUFFER_LIST_CONTEXT) : 0;

    if (!is_aligned(context) || !is_aligned(back_fill))
        nth_stop("nb-parameters", "ContextSize %u, ContextBackFill %u: no multiples of %u", context,
                 back_fill, (unsigned)MEMORY_ALLOCATION_ALIGNMENT);
    struct ndis_nbl *l = nth_config.relaxed_memory && is_standard ? take_free_list(pool) : NULL;
    if (!l)
        l = ndis_alloc(list_bytes(pool, header + space));
    if (!l)
        return NULL;
    init_list(l, pool, context, space);
    if (pool->data_size && !add_data(l->own_nb, pool->data_size)) {
        ndis_free(l);
        return NULL;
    }
    __atomic_add_fetch(&pool->outstanding, 1, __ATOMIC_SEQ_CST);
    return l;
}

PNET_BUFFER_LIST NTAPI NdisAllocateNetBufferList(NDIS_HANDLE PoolHandle, USHORT ContextSize,
                                                 USHORT ContextBackFill)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct ndis_pool *pool = ndis_object_check(PoolHandle, NDIS_KIND_POOL);

    if (!pool->has_lists)
        nth_stop("ndis-handle", "a buffer pool where a list pool is needed");
    struct ndis_nbl *l = allocate_list(pool, ContextSize, ContextBackFill);
    return l ? &l->nbl : NULL;
}
NTH_EXPORT(NdisAllocateNetBufferList, 3);

PNET_BUFFER_LIST NTAPI NdisAllocateNetBufferAndNetBufferList(NDIS_HANDLE PoolHandle,
                                                             USHORT ContextSize,
                                                             USHORT ContextBackFill, PMDL MdlChain,
                                                             ULONG DataOffset, SIZE_T DataLength)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct ndis_pool *pool = ndis_object_check(PoolHandle, NDIS_KIND_POOL);

    if (!pool->has_lists || !pool->has_buffers || pool->data_size)
        nth_stop("nb-parameters",
                 "the pool must be of lists, with fAllocateNetBuffer TRUE and DataSize 0");
    struct ndis_nbl *l = allocate_list(pool, ContextSize, ContextBackFill);
    if (!l)
        return NULL;
    set_data(l->own_nb, MdlChain, DataOffset, DataLength);
    return &l->nbl;
}
NTH_EXPORT(NdisAllocateNetBufferAndNetBufferList, 6);

struct ndis_nbl *ndis_nbl(NET_BUFFER_LIST *list)
{
    struct ndis_nbl *l = CONTAINING_RECORD(list, struct ndis_nbl, nbl);

    if (!list || ((uintptr_t)list & 7) || l->magic != NBL_MAGIC)
        nth_stop("nbl-foreign", "%p is no NET_BUFFER_LIST of a pool", (void *)list);
    if (__atomic_load_n(&l->state, __ATOMIC_SEQ_CST) == NDIS_NBL_FREED)
        nth_stop("nbl-freed", "%p was freed at %s", (void *)list,
                 nth_symbol_hook ? nth_symbol_hook(l->site) : "?");
    return l;
}

static const char *state_name(LONG state)
{
    static const char *const names[] = {
        "its allocator's", "the miniport's (sent)", "the receivers' (indicated)",
        "the receivers' (lent until the indication returns)", "freed"};

    return names[state];
}

void ndis_nbl_move(struct ndis_nbl *list, enum ndis_nbl_state from, enum ndis_nbl_state to,
                   const char *rule, const char *what)
{
    LONG expected = from;

    if (!__atomic_compare_exchange_n(&list->state, &expected, to, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST))
        nth_stop(rule, "%s: list %p is %s, last handed over at %s", what, (void *)&list->nbl,
                 state_name(expected), nth_symbol_hook ? nth_symbol_hook(list->site) : "?");
    list->site = nth_config.relaxed_memory ? 0 : nth_call_site();
}

VOID NTAPI NdisFreeNetBufferList(PNET_BUFFER_LIST NetBufferList)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct ndis_nbl *l = ndis_nbl(NetBufferList);
    struct ndis_pool *pool = l->pool;
    bool is_kept = false;

    ndis_nbl_move(l, NDIS_NBL_OWNED, NDIS_NBL_FREED, "nbl-not-owned", "NdisFreeNetBufferList");
    if (l->extra_contexts)
        nth_stop("nbl-context-left", "%d contexts of the list are not freed", l->extra_contexts);
    if (l->own_nb)
        drop_data(l->own_nb);
    const ULONG space = l->nbl.Context ? l->nbl.Context->Size : 0;
    if (nth_config.relaxed_memory && space == pool->context_size) {
        nth_lock(&pool->lock);
        if (pool->free_count < FREE_MAX) {
            l->next_free = pool->free_lists;
            pool->free_lists = l;
            pool->free_count++;
            is_kept = true;
        }
        nth_unlock(&pool->lock);
    }
    if (!is_kept)
        ndis_free(l);
    __atomic_sub_fetch(&pool->outstanding, 1, __ATOMIC_SEQ_CST);
}
NTH_EXPORT(NdisFreeNetBufferList, 1);

/* ---- contexts ---- */

/* Unused space first: the used space grows downwards. Else another context, which the list then
 * points to and which knows the one it covers. */
NDIS_STATUS NTAPI NdisAllocateNetBufferListContext(PNET_BUFFER_LIST NetBufferList,
                                                   USHORT ContextSize, USHORT ContextBackFill,
                                                   ULONG PoolTag)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct ndis_nbl *l = ndis_nbl(NetBufferList);
    NET_BUFFER_LIST_CONTEXT *now = NetBufferList->Context;
    const ULONG space = (ULONG)ContextSize + ContextBackFill;

    if (ContextSize % sizeof(void *) || ContextBackFill % sizeof(void *))
        nth_stop("nb-parameters", "ContextSize %u, ContextBackFill %u: no multiples of %zu",
                 ContextSize, ContextBackFill, sizeof(void *));
    if (now && now->Offset >= ContextSize) {
        now->Offset -= ContextSize;
        return NDIS_STATUS_SUCCESS;
    }
    if (space > MAXUSHORT)
        return NDIS_STATUS_FAILURE;
    NET_BUFFER_LIST_CONTEXT *more =
        ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*more) + space, PoolTag);
    if (!more)
        return NDIS_STATUS_RESOURCES;
    more->Next = now;
    more->Size = (USHORT)space;
    more->Offset = ContextBackFill;
    NetBufferList->Context = more;
    l->extra_contexts++;
    return NDIS_STATUS_SUCCESS;
}
NTH_EXPORT(NdisAllocateNetBufferListContext, 4);

/* Memory goes when all of it is unused again and it was allocated for a request of this kind. */
VOID NTAPI NdisFreeNetBufferListContext(PNET_BUFFER_LIST NetBufferList, USHORT ContextSize)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct ndis_nbl *l = ndis_nbl(NetBufferList);
    NET_BUFFER_LIST_CONTEXT *now = NetBufferList->Context;

    if (!now || now->Size - now->Offset < ContextSize)
        nth_stop("nb-parameters", "%u bytes of context are freed and %u are used", ContextSize,
                 now ? now->Size - now->Offset : 0);
    now->Offset += ContextSize;
    if (!l->extra_contexts || now->Offset != now->Size)
        return;
    NetBufferList->Context = now->Next;
    l->extra_contexts--;
    ExFreePool(now);
}
NTH_EXPORT(NdisFreeNetBufferListContext, 2);

/* ---- what a list looks like ---- */

static ULONG64 mix(ULONG64 hash, ULONG64 value)
{
    return (hash ^ value) * 0x9E3779B97F4A7C15ULL;
}

ULONG64 ndis_nbl_shape(const NET_BUFFER_LIST *list)
{
    ULONG64 hash = 1;

    for (const NET_BUFFER *nb = list->FirstNetBuffer; nb; nb = nb->Next) {
        hash = mix(hash, (uintptr_t)nb);
        hash = mix(hash, (uintptr_t)nb->MdlChain);
        hash = mix(hash, (uintptr_t)nb->CurrentMdl);
        hash = mix(hash, (ULONG64)nb->CurrentMdlOffset << 32 | nb->DataOffset);
        hash = mix(hash, nb->DataLength);
    }
    return hash;
}

static const char *buffer_fault(const NET_BUFFER *nb)
{
    SIZE_T before = 0;
    const MDL *mdl = nb->MdlChain;

    if (!mdl)
        return nb->DataLength || nb->DataOffset ? "a NET_BUFFER with data and no MDL" : NULL;
    if (chain_bytes(mdl) < (SIZE_T)nb->DataOffset + nb->DataLength)
        return "DataOffset and DataLength exceed the MDL chain";
    for (; mdl && mdl != nb->CurrentMdl; mdl = mdl->Next)
        before += MmGetMdlByteCount(mdl);
    if (!mdl)
        return "CurrentMdl is not in the MDL chain";
    if (before + nb->CurrentMdlOffset != nb->DataOffset)
        return "CurrentMdl and CurrentMdlOffset are not where DataOffset is";
    return NULL;
}

const char *ndis_nbl_fault(const NET_BUFFER_LIST *list)
{
    if (!list->FirstNetBuffer)
        return "no NET_BUFFER";
    for (const NET_BUFFER *nb = list->FirstNetBuffer; nb; nb = nb->Next) {
        const char *fault = buffer_fault(nb);
        if (fault)
            return fault;
    }
    return NULL;
}
