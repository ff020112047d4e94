/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Pools, lists, buffers and access to their data (ndis/nbl.c, data.c). Pages: those of the
 * functions named, NET_BUFFER_LIST_POOL_PARAMETERS, NET_BUFFER_DATA.
 */
#include "puppet.h"

static NET_BUFFER_LIST_POOL_PARAMETERS parameters(void)
{
    return (NET_BUFFER_LIST_POOL_PARAMETERS){
        .Header = {NDIS_OBJECT_TYPE_DEFAULT, NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1,
                   NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1},
        .fAllocateNetBuffer = TRUE,
        .PoolTag = 0x74736554,
    };
}

static NDIS_HANDLE list_pool(NET_BUFFER_LIST_POOL_PARAMETERS p)
{
    return PTR(CALL(NdisAllocateNetBufferListPool, P(S.Adapter), P(&p)));
}

static NDIS_HANDLE buffer_pool(ULONG data)
{
    NET_BUFFER_POOL_PARAMETERS p = {
        .Header = {NDIS_OBJECT_TYPE_DEFAULT, NET_BUFFER_POOL_PARAMETERS_REVISION_1,
                   NDIS_SIZEOF_NET_BUFFER_POOL_PARAMETERS_REVISION_1},
        .PoolTag = 0x74736554,
        .DataSize = data,
    };

    return PTR(CALL(NdisAllocateNetBufferPool, P(S.Adapter), P(&p)));
}

/* ---- pools ---- */

static void expect_bad_pool(NET_BUFFER_LIST_POOL_PARAMETERS p)
{
    boot();
    plug();
    nth_expect_stop("pool-parameters");
    list_pool(p);
    CHECK(!"not caught");
}

/* "Set the Size member to NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1". */
TEST(pool_wrong_size_is_caught)
{
    NET_BUFFER_LIST_POOL_PARAMETERS p = parameters();
    p.Header.Size = 12;
    expect_bad_pool(p);
}

TEST(pool_wrong_revision_is_caught)
{
    NET_BUFFER_LIST_POOL_PARAMETERS p = parameters();
    p.Header.Revision = 9;
    expect_bad_pool(p);
}

/* "ContextSize must be a multiple of MEMORY_ALLOCATION_ALIGNMENT". */
TEST(pool_odd_context_is_caught)
{
    NET_BUFFER_LIST_POOL_PARAMETERS p = parameters();
    p.ContextSize = 8;
    expect_bad_pool(p);
}

/* "If DataSize is not zero, fAllocateNetBuffer must be set to TRUE". */
TEST(pool_data_without_buffers_is_caught)
{
    NET_BUFFER_LIST_POOL_PARAMETERS p = parameters();
    p.fAllocateNetBuffer = FALSE;
    p.DataSize = 100;
    expect_bad_pool(p);
}

/* "Before freeing a pool, you must free all the structures in the pool". */
TEST(pool_freed_with_a_list_left_is_caught)
{
    boot();
    plug();
    NDIS_HANDLE pool = list_pool(parameters());
    CHECK(CALL(NdisAllocateNetBufferList, P(pool), 0, 0));
    nth_expect_stop("pool-not-empty");
    CALL(NdisFreeNetBufferListPool, P(pool));
    CHECK(!"not caught");
}

TEST(pool_handle_of_another_kind_is_caught)
{
    boot();
    plug();
    nth_expect_stop("ndis-handle");
    CALL(NdisAllocateNetBufferList, P(S.Adapter), 0, 0);
    CHECK(!"not caught");
}

/* Memory pressure: each allocation of the sequence fails once, and gives NULL. */
TEST(pool_allocation_failures_give_null)
{
    boot();
    struct puppet p = plug();
    for (unsigned n = 1;; n++) {
        nth_fault_arm(~0U, n);
        NDIS_HANDLE pool = list_pool(parameters());
        NET_BUFFER_LIST *list =
            pool ? PTR(CALL(NdisAllocateNetBufferAndNetBufferList, P(pool), 0, 0, 0, 0, 0)) : NULL;
        const bool fired = nth_fault_fired();
        nth_fault_arm(0, 0);
        CHECK(fired == !list);
        if (list)
            CALL(NdisFreeNetBufferList, P(list));
        if (pool)
            CALL(NdisFreeNetBufferListPool, P(pool));
        if (!fired)
            break;
    }
    unplug(&p);
}

/* ---- lists ---- */

/* "The NET_BUFFER_LIST includes a NET_BUFFER"; offset and length as given; the current MDL is where
 * the offset is. */
TEST(list_with_buffer_describes_the_mdls)
{
    UCHAR data[60];

    boot();
    struct puppet p = plug();
    NDIS_HANDLE pool = list_pool(parameters());
    MDL *first = PTR(CALL(NdisAllocateMdl, P(S.Adapter), P(data), 20));
    MDL *second = PTR(CALL(NdisAllocateMdl, P(S.Adapter), P(data + 20), 40));
    first->Next = second;
    NET_BUFFER_LIST *l =
        PTR(CALL(NdisAllocateNetBufferAndNetBufferList, P(pool), 0, 0, P(first), 25, 30));
    NET_BUFFER *nb = NET_BUFFER_LIST_FIRST_NB(l);
    CHECK(NET_BUFFER_FIRST_MDL(nb) == first);
    CHECK(NET_BUFFER_CURRENT_MDL(nb) == second);
    CHECK_EQ(NET_BUFFER_CURRENT_MDL_OFFSET(nb), 5);
    CHECK_EQ(NET_BUFFER_DATA_LENGTH(nb), 30);
    CHECK(!NET_BUFFER_NEXT_NB(nb) && !NET_BUFFER_LIST_NEXT_NBL(l));
    CALL(NdisFreeNetBufferList, P(l));
    CALL(NdisFreeMdl, P(first));
    CALL(NdisFreeMdl, P(second));
    CALL(NdisFreeNetBufferListPool, P(pool));
    unplug(&p);
}

/* ContextSize is used space, ContextBackFill and what the pool prepares beyond are unused: Offset
 * is where the used space begins (NET_BUFFER_LIST_CONTEXT). */
TEST(list_context_has_used_and_unused_space)
{
    boot();
    struct puppet p = plug();
    NET_BUFFER_LIST_POOL_PARAMETERS q = parameters();
    q.ContextSize = 64;
    NDIS_HANDLE pool = list_pool(q);
    NET_BUFFER_LIST *small = PTR(CALL(NdisAllocateNetBufferList, P(pool), 16, 16));
    CHECK_EQ(small->Context->Size - small->Context->Offset, 16);
    CHECK_EQ(small->Context->Size, 64);
    NET_BUFFER_LIST *large = PTR(CALL(NdisAllocateNetBufferList, P(pool), 96, 16));
    CHECK_EQ(large->Context->Size, 112);
    CHECK_EQ(large->Context->Offset, 16);
    memset(NET_BUFFER_LIST_CONTEXT_DATA_START(large), 1, 96);
    CHECK(((uintptr_t)NET_BUFFER_LIST_CONTEXT_DATA_START(large) & 15) == 0);
    CALL(NdisFreeNetBufferList, P(small));
    CALL(NdisFreeNetBufferList, P(large));
    CALL(NdisFreeNetBufferListPool, P(pool));
    unplug(&p);
}

/* "Successfully allocated context space either by reducing the Offset member or by allocating new
 * memory"; NdisFreeNetBufferListContext "frees the allocated memory". */
TEST(list_context_grows_and_shrinks)
{
    boot();
    struct puppet p = plug();
    NDIS_HANDLE pool = list_pool(parameters());
    NET_BUFFER_LIST *l = PTR(CALL(NdisAllocateNetBufferList, P(pool), 16, 32));
    NET_BUFFER_LIST_CONTEXT *first = l->Context;
    CHECK_STATUS(STATUS_OF(CALL(NdisAllocateNetBufferListContext, P(l), 24, 0, 0x74736554)), 0);
    CHECK(l->Context == first);
    CHECK_EQ(first->Offset, 8);
    CHECK_STATUS(STATUS_OF(CALL(NdisAllocateNetBufferListContext, P(l), 24, 8, 0x74736554)), 0);
    CHECK(l->Context != first && l->Context->Next == first);
    CHECK_EQ(l->Context->Offset, 8);
    memset(NET_BUFFER_LIST_CONTEXT_DATA_START(l), 1, 24);
    CALL(NdisFreeNetBufferListContext, P(l), 24);
    CHECK(l->Context == first);
    CALL(NdisFreeNetBufferListContext, P(l), 24);
    CHECK_EQ(first->Offset, 32);
    CALL(NdisFreeNetBufferList, P(l));
    CALL(NdisFreeNetBufferListPool, P(pool));
    unplug(&p);
}

/* "You must free such context space before you free the NET_BUFFER_LIST structure". */
TEST(list_freed_with_its_context_left_is_caught)
{
    boot();
    plug();
    NET_BUFFER_LIST *l = PTR(CALL(NdisAllocateNetBufferList, P(list_pool(parameters())), 0, 0));
    CALL(NdisAllocateNetBufferListContext, P(l), 16, 0, 0x74736554);
    nth_expect_stop("nbl-context-left");
    CALL(NdisFreeNetBufferList, P(l));
    CHECK(!"not caught");
}

/* A pool with DataSize gives lists with buffer, MDL and data. */
TEST(list_of_a_data_pool_has_data)
{
    boot();
    struct puppet p = plug();
    NET_BUFFER_LIST_POOL_PARAMETERS q = parameters();
    q.DataSize = 1500;
    NDIS_HANDLE pool = list_pool(q);
    NET_BUFFER_LIST *l = PTR(CALL(NdisAllocateNetBufferList, P(pool), 0, 0));
    NET_BUFFER *nb = NET_BUFFER_LIST_FIRST_NB(l);
    CHECK_EQ(MmGetMdlByteCount(nb->MdlChain), 1500);
    CHECK_EQ(nb->DataLength, 0);
    CHECK_STATUS(STATUS_OF(CALL(NdisRetreatNetBufferDataStart, P(nb), 1500, 0, 0)), 0);
    CHECK_EQ(nb->DataLength, 1500);
    CHECK_EQ(nb->DataOffset, 0);
    CALL(NdisFreeNetBufferList, P(l));
    CALL(NdisFreeNetBufferListPool, P(pool));
    unplug(&p);
}

/* "Call NdisAllocateNetBufferAndNetBufferList only if fAllocateNetBuffer is TRUE and DataSize 0".
 */
TEST(list_with_buffer_of_a_plain_pool_is_caught)
{
    boot();
    plug();
    NET_BUFFER_LIST_POOL_PARAMETERS q = parameters();
    q.fAllocateNetBuffer = FALSE;
    NDIS_HANDLE pool = list_pool(q);
    nth_expect_stop("nb-parameters");
    CALL(NdisAllocateNetBufferAndNetBufferList, P(pool), 0, 0, 0, 0, 0);
    CHECK(!"not caught");
}

/* "If MdlChain is NULL, DataOffset must be 0". */
TEST(list_offset_without_mdl_is_caught)
{
    boot();
    plug();
    NDIS_HANDLE pool = list_pool(parameters());
    nth_expect_stop("nb-parameters");
    CALL(NdisAllocateNetBufferAndNetBufferList, P(pool), 0, 0, 0, 4, 0);
    CHECK(!"not caught");
}

#ifndef NTH_ASAN /* whose own report comes first */
/* The list's memory is gone once it is freed: touching it stops the machine. */
TEST(list_freed_twice_is_caught)
{
    boot();
    plug();
    NDIS_HANDLE pool = list_pool(parameters());
    NET_BUFFER_LIST *l = PTR(CALL(NdisAllocateNetBufferList, P(pool), 0, 0));
    CALL(NdisFreeNetBufferList, P(l));
    nth_expect_stop("page-fault");
    CALL(NdisFreeNetBufferList, P(l));
    CHECK(!"not caught");
}
#endif

/* A relaxed machine reuses lists, and still knows one that is free. */
TEST(list_freed_twice_is_caught_when_relaxed)
{
    boot_with((struct nth_config){.mode = NTH_SERIAL, .relaxed_memory = true});
    plug();
    NDIS_HANDLE pool = list_pool(parameters());
    NET_BUFFER_LIST *l = PTR(CALL(NdisAllocateNetBufferList, P(pool), 0, 0));
    CALL(NdisFreeNetBufferList, P(l));
    nth_expect_stop("nbl-freed");
    CALL(NdisFreeNetBufferList, P(l));
    CHECK(!"not caught");
}

TEST(list_reused_when_relaxed_is_clean)
{
    boot_with((struct nth_config){.mode = NTH_SERIAL, .relaxed_memory = true});
    struct puppet p = plug();
    NDIS_HANDLE pool = list_pool(parameters());
    NET_BUFFER_LIST *l = PTR(CALL(NdisAllocateNetBufferList, P(pool), 0, 0));
    l->Status = NDIS_STATUS_FAILURE;
    l->Next = l;
    CALL(NdisFreeNetBufferList, P(l));
    NET_BUFFER_LIST *again = PTR(CALL(NdisAllocateNetBufferList, P(pool), 0, 0));
    CHECK(again == l);
    CHECK(!again->Next && !again->Status && again->FirstNetBuffer);
    CALL(NdisFreeNetBufferList, P(again));
    CALL(NdisFreeNetBufferListPool, P(pool));
    unplug(&p);
}

/* ---- buffers ---- */

TEST(buffer_with_mdl_and_data_is_freed_with_them)
{
    boot();
    struct puppet p = plug();
    NDIS_HANDLE pool = buffer_pool(256);
    NET_BUFFER *nb = PTR(CALL(NdisAllocateNetBufferMdlAndData, P(pool)));
    CHECK_EQ(MmGetMdlByteCount(nb->MdlChain), 256);
    CALL(NdisFreeNetBuffer, P(nb));
    nb = PTR(CALL(NdisAllocateNetBuffer, P(pool), 0, 0, 0));
    CHECK(!nb->MdlChain);
    CALL(NdisFreeNetBuffer, P(nb));
    CALL(NdisFreeNetBufferPool, P(pool));
    unplug(&p);
}

/* "Should not be freed separate from the NET_BUFFER_LIST". */
TEST(buffer_of_a_list_freed_alone_is_caught)
{
    boot();
    plug();
    NDIS_HANDLE pool = list_pool(parameters());
    NET_BUFFER_LIST *l = PTR(CALL(NdisAllocateNetBufferList, P(pool), 0, 0));
    nth_expect_stop("nb-foreign");
    CALL(NdisFreeNetBuffer, P(l->FirstNetBuffer));
    CHECK(!"not caught");
}

/* ---- NdisGetDataBuffer ---- */

struct cut {
    NDIS_HANDLE pool;
    NET_BUFFER *nb;
    UCHAR *parts[8];
    MDL *mdls[8];
    unsigned count;
};

/* `bytes` of data, byte i with value i, at offset in MDLs of the given lengths. */
static struct cut make_cut(const ULONG *lengths, unsigned count, ULONG offset, ULONG bytes)
{
    struct cut c = {.pool = buffer_pool(0), .count = count};
    ULONG at = 0;

    for (unsigned i = 0; i < count; i++) {
        c.parts[i] = malloc(lengths[i] + 1);
        for (ULONG k = 0; k < lengths[i]; k++, at++)
            c.parts[i][k] = (UCHAR)(at - offset);
        c.mdls[i] = PTR(CALL(NdisAllocateMdl, P(S.Adapter), P(c.parts[i]), lengths[i]));
        if (i)
            c.mdls[i - 1]->Next = c.mdls[i];
    }
    c.nb = PTR(CALL(NdisAllocateNetBuffer, P(c.pool), P(c.mdls[0]), offset, bytes));
    return c;
}

static void free_cut(struct cut *c)
{
    CALL(NdisFreeNetBuffer, P(c->nb));
    for (unsigned i = 0; i < c->count; i++) {
        CALL(NdisFreeMdl, P(c->mdls[i]));
        free(c->parts[i]);
    }
    CALL(NdisFreeNetBufferPool, P(c->pool));
}

#define GET(c, bytes, storage, multiple, offset)                                                   \
    ((UCHAR *)PTR(CALL(NdisGetDataBuffer, P((c).nb), bytes, P(storage), multiple, offset)))

/* "If the requested data is contiguous, the return value is a pointer to a location that NDIS
 * provides": no copy, Storage or not. */
TEST(data_contiguous_is_in_place)
{
    UCHAR storage[64];

    boot();
    struct puppet p = plug();
    struct cut c = make_cut((ULONG[]){100, 50}, 2, 10, 120);
    CHECK(GET(c, 90, storage, 1, 0) == c.parts[0] + 10);
    CHECK(GET(c, 90, NULL, 1, 0) == c.parts[0] + 10);
    free_cut(&c);
    unplug(&p);
}

/* "If the data is not contiguous": copied to Storage, or NULL without one. Every split. */
TEST(data_split_is_copied_to_storage)
{
    UCHAR storage[64];

    boot();
    struct puppet p = plug();
    for (ULONG a = 1; a < 8; a++)
        for (ULONG b = 1; b < 8; b++)
            for (ULONG offset = 0; offset < a + b; offset++) {
                struct cut c = make_cut((ULONG[]){a, b, 20}, 3, offset, a + b + 20 - offset);
                const ULONG all = c.nb->DataLength;
                memset(storage, 0xEE, sizeof(storage));
                UCHAR *data = GET(c, all, storage, 1, 0);
                CHECK(data);
                for (ULONG i = 0; i < all; i++)
                    CHECK_EQ(data[i], i);
                if (offset < a)
                    CHECK(data == storage && !GET(c, all, NULL, 1, 0));
                free_cut(&c);
            }
    unplug(&p);
}

/* "If the DataLength is less than BytesNeeded, the return value is NULL". */
TEST(data_more_than_there_is_gives_null)
{
    UCHAR storage[64];

    boot();
    struct puppet p = plug();
    struct cut c = make_cut((ULONG[]){40}, 1, 0, 30);
    CHECK(!GET(c, 31, storage, 1, 0));
    CHECK(GET(c, 30, storage, 1, 0));
    free_cut(&c);
    unplug(&p);
}

/* "If AlignMultiple is 4 and AlignOffset is 3 then the data address should be a multiple of 4 plus
 * 3"; otherwise the copy is taken. */
TEST(data_misaligned_is_copied)
{
    UCHAR storage[64];

    boot();
    struct puppet p = plug();
    struct cut c = make_cut((ULONG[]){64}, 1, 1, 40); /* malloc aligns to 16 */
    CHECK(GET(c, 8, storage, 1, 0) == c.parts[0] + 1);
    CHECK(GET(c, 8, storage, 4, 1) == c.parts[0] + 1);
    CHECK(GET(c, 8, storage, 4, 3) == storage);
    CHECK_EQ(storage[7], 7);
    CHECK(!GET(c, 8, NULL, 4, 0));
    free_cut(&c);
    unplug(&p);
}

/* "NULL due to a low resource condition, even if the data is contiguous". */
TEST(data_unmappable_gives_null)
{
    UCHAR storage[64];

    boot();
    struct puppet p = plug();
    struct cut c = make_cut((ULONG[]){64}, 1, 0, 64);
    nth_fault_arm(1U << NTH_FAULT_MAP, 1);
    CHECK(!GET(c, 8, storage, 1, 0));
    CHECK(nth_fault_fired());
    nth_fault_arm(0, 0);
    free_cut(&c);
    unplug(&p);
}

/* "AlignMultiple expressed in power of two". */
TEST(data_odd_multiple_is_caught)
{
    boot();
    plug();
    struct cut c = make_cut((ULONG[]){64}, 1, 0, 64);
    nth_expect_stop("nb-parameters");
    GET(c, 8, NULL, 3, 0);
    CHECK(!"not caught");
}

/* ---- moving the start, copying ---- */

/* Retreat uses unused space first, and allocates what is missing; advance gives it back. */
TEST(retreat_and_advance_are_inverse)
{
    boot();
    struct puppet p = plug();
    struct cut c = make_cut((ULONG[]){50}, 1, 10, 40);
    CHECK_STATUS(STATUS_OF(CALL(NdisRetreatNetBufferDataStart, P(c.nb), 10, 0, 0)), 0);
    CHECK_EQ(c.nb->DataOffset, 0);
    CHECK(c.nb->MdlChain == c.mdls[0]);
    CHECK_STATUS(STATUS_OF(CALL(NdisRetreatNetBufferDataStart, P(c.nb), 14, 6, 0)), 0);
    CHECK_EQ(c.nb->DataLength, 64);
    CHECK_EQ(c.nb->DataOffset, 6);
    CHECK(c.nb->MdlChain != c.mdls[0] && c.nb->MdlChain->Next == c.mdls[0]);
    CALL(NdisAdvanceNetBufferDataStart, P(c.nb), 24, TRUE, 0);
    CHECK(c.nb->MdlChain == c.mdls[0]);
    CHECK_EQ(c.nb->DataOffset, 10);
    CHECK_EQ(c.nb->DataLength, 40);
    free_cut(&c);
    unplug(&p);
}

TEST(copy_between_buffers_crosses_mdls)
{
    ULONG copied = 0;

    boot();
    struct puppet p = plug();
    struct cut from = make_cut((ULONG[]){7, 9, 40}, 3, 3, 50);
    struct cut to = make_cut((ULONG[]){5, 60}, 2, 0, 60);
    CHECK_STATUS(STATUS_OF(CALL(NdisCopyFromNetBufferToNetBuffer, P(to.nb), 2, 40, P(from.nb), 1,
                                P(&copied))),
                 0);
    CHECK_EQ(copied, 40);
    for (ULONG i = 0; i < 40; i++)
        CHECK_EQ(i + 2 < 5 ? to.parts[0][i + 2] : to.parts[1][i + 2 - 5], i + 1);
    free_cut(&from);
    free_cut(&to);
    unplug(&p);
}
