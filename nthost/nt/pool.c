/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Pool. In exact mode every allocation has pages of its own that no other ever had, ends where a
 * guard page begins (or begins on a page, from PAGE_SIZE up), and is gone when it is freed, so a
 * stray access faults where it happens. In relaxed mode, and under AddressSanitizer, the host's
 * malloc serves. Every block is known by address: what a driver frees is never looked into first.
 */
#include "nt/ke.h"
#include "nt/more.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef NTH_ASAN
#include <sanitizer/asan_interface.h>
#endif

enum {
    SHARDS = 64,
    BUCKETS = 256,
    FREED_KEPT = 4096,
    POOL_ALIGNMENT = 16,
    CACHE_LINE = 64,
    FILL_NEW = 0xCD,   /* contents of memory that nobody has written */
    FILL_SLACK = 0xFD, /* around a block in its page */
    POOL_TYPE_PAGED = 1,
    POOL_QUOTA_FAIL_INSTEAD_OF_RAISE = 8,
    POOL_RAISE_IF_ALLOCATION_FAILURE = 16,
    PARAMETER_PRIORITY = 1,
    PARAMETER_NUMA_NODE = 3,
    DEFAULT_TAG = 0x656E6F4E, /* "None" */
};

#define ARENA_MOST  (1ULL << 42)
#define ARENA_LEAST (1ULL << 32)
#define MAX_BYTES   (1ULL << 38)

struct block {
    struct block *next;
    struct block *next_paged, **at_paged; /* exact mode: the paged ones that are allocated */
    char *address;
    size_t bytes;
    ULONG tag;
    bool is_paged;
    uintptr_t site;
};

struct shard {
    struct nth_mutex lock;
    struct block *buckets[BUCKETS];
} __attribute__((aligned(64)));

/* What NT's POOL_EXTENDED_PARAMETER holds: a type and one value. */
struct extended_parameter {
    ULONG64 type : 8, is_optional : 1, reserved : 55;
    ULONG64 value;
};

static struct shard shards[SHARDS];
static char *arena; /* address space, used once from its beginning to its end */
static size_t arena_bytes;
static _Atomic size_t arena_used;
/* The latest freed blocks of exact mode, to name them when something touches them. */
static struct block freed[FREED_KEPT];
static unsigned freed_count;
static struct nth_mutex freed_lock = NTH_MUTEX_INIT; /* also of the paged list */
static struct block *paged;
static bool is_paged_closed; /* while the running thread is at DISPATCH_LEVEL (NTH_SERIAL) */

static size_t hash(const void *address)
{
    return ((uintptr_t)address >> 4) * 0x9E3779B97F4A7C15U >> 40;
}

static struct shard *shard_of(const void *address)
{
    return &shards[hash(address) % SHARDS];
}

static struct block **bucket_of(struct shard *shard, const void *address)
{
    return &shard->buckets[hash(address) / SHARDS % BUCKETS];
}

static void remember(struct block *block)
{
    struct shard *const shard = shard_of(block->address);

    nth_lock(&shard->lock);
    struct block **const bucket = bucket_of(shard, block->address);
    block->next = *bucket;
    *bucket = block;
    nth_unlock(&shard->lock);
}

static struct block *forget(const void *address)
{
    struct shard *const shard = shard_of(address);
    struct block *found = NULL;

    nth_lock(&shard->lock);
    for (struct block **at = bucket_of(shard, address); *at; at = &(*at)->next)
        if ((*at)->address == address) {
            found = *at;
            *at = found->next;
            break;
        }
    nth_unlock(&shard->lock);
    return found;
}

/* ---- exact memory ---- */

static size_t pages(size_t bytes)
{
    return (bytes + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);
}

static char *exact_alloc(size_t bytes, size_t alignment)
{
    const size_t room = pages(bytes);
    const size_t at = atomic_fetch_add(&arena_used, room + PAGE_SIZE);

    if (at + room + PAGE_SIZE > arena_bytes)
        nth_fail("the address space for exact pool is used up; use relaxed memory");
    char *const base = arena + at;
    if (mprotect(base, room, PROT_READ | PROT_WRITE) != 0)
        return NULL;
    char *const address = bytes >= PAGE_SIZE ? base : base + ((room - bytes) & ~(alignment - 1));
    memset(base, FILL_SLACK, (size_t)(address - base));
    memset(address + bytes, FILL_SLACK, room - (size_t)(address - base) - bytes);
    return address;
}

static void check_slack(const struct block *block)
{
    const char *const base =
        (const char *)((uintptr_t)block->address & ~(uintptr_t)(PAGE_SIZE - 1));
    const char *const end = base + pages(block->bytes);

    for (const char *p = base; p < end; p++) {
        if (p == block->address)
            p += block->bytes;
        if (p < end && (unsigned char)*p != FILL_SLACK)
            nth_stop("pool-overrun", "a block of %zu bytes at %p was written at offset %td",
                     block->bytes, (void *)block->address, p - block->address);
    }
}

static void exact_free(const struct block *block)
{
    char *const base = (char *)((uintptr_t)block->address & ~(uintptr_t)(PAGE_SIZE - 1));

    madvise(base, pages(block->bytes), MADV_DONTNEED);
    mprotect(base, pages(block->bytes), PROT_NONE);
    nth_lock(&freed_lock);
    freed[freed_count++ % FREED_KEPT] = *block;
    nth_unlock(&freed_lock);
}

/* Paged memory may be paged out, so nobody touches it at DISPATCH_LEVEL: core/cpu.c calls when the
 * running thread gets there and when it leaves, with one thread running at a time. */
static void close_paged(bool is_raised)
{
    if (is_paged_closed == is_raised)
        return;
    is_paged_closed = is_raised;
    for (const struct block *b = paged; b; b = b->next_paged)
        mprotect((void *)((uintptr_t)b->address & ~(uintptr_t)(PAGE_SIZE - 1)), pages(b->bytes),
                 is_raised ? PROT_NONE : PROT_READ | PROT_WRITE);
}

static void list_paged(struct block *block)
{
    nth_lock(&freed_lock);
    block->next_paged = paged;
    block->at_paged = &paged;
    if (paged)
        paged->at_paged = &block->next_paged;
    paged = block;
    nth_unlock(&freed_lock);
}

static void unlist_paged(struct block *block)
{
    nth_lock(&freed_lock);
    *block->at_paged = block->next_paged;
    if (block->next_paged)
        block->next_paged->at_paged = block->at_paged;
    nth_unlock(&freed_lock);
}

static bool is_exact(void)
{
#ifdef NTH_ASAN
    return false;
#else
    return !nth_config.relaxed_memory;
#endif
}

/* ---- any memory ---- */

static char *memory_alloc(size_t bytes, size_t alignment)
{
    void *address = NULL;

    if (is_exact())
        return exact_alloc(bytes ? bytes : 1, alignment);
    if (posix_memalign(&address, bytes >= PAGE_SIZE ? PAGE_SIZE : alignment, bytes ? bytes : 1))
        return NULL;
    return address;
}

static const char *tag_text(ULONG tag, char text[5])
{
    for (int i = 0; i < 4; i++) {
        const char c = (char)(tag >> 8 * i);
        text[i] = c >= ' ' && c <= '~' ? c : '.';
    }
    text[4] = '\0';
    return text;
}

static void *pool_alloc(size_t bytes, ULONG tag, bool is_paged, bool is_zeroed, size_t alignment)
{
    if (bytes > MAX_BYTES)
        return NULL;
    struct block *const block = malloc(sizeof(*block));
    char *const address = block ? memory_alloc(bytes, alignment) : NULL;
    if (!address) {
        free(block);
        return NULL;
    }
    if (is_zeroed)
        memset(address, 0, bytes);
    else if (!nth_config.relaxed_memory)
        memset(address, FILL_NEW, bytes);
    *block = (struct block){.address = address,
                            .bytes = bytes,
                            .tag = tag,
                            .is_paged = is_paged,
                            .site = nth_call_site()};
    remember(block);
    if (is_paged && is_exact())
        list_paged(block);
    nth_ledger_add(is_paged ? "paged pool" : "pool", address, bytes, 0);
    return address;
}

static _Noreturn void stop_unknown(const void *address)
{
    const char *const what = nth_pool_describe((uintptr_t)address);

    nth_stop("double-free", "%p is no pool allocation%s%s", address, what ? ": it is in " : "",
             what ? what : "");
}

/* What is active in it, or held, is found before the block is taken out of the books. */
static void pool_free(void *address, ULONG tag, bool has_tag)
{
    struct block *const block = forget(address);
    char text[5], other[5];

    if (!block)
        stop_unknown(address);
    if (has_tag && tag && tag != block->tag)
        nth_stop("pool-tag", "a block with tag %s is freed with tag %s", tag_text(block->tag, text),
                 tag_text(tag, other));
    if (block->is_paged)
        nth_irql_max(APC_LEVEL);
    nth_active_check(address, block->bytes);
    if (is_exact())
        check_slack(block);
    nth_ledger_remove(block->is_paged ? "paged pool" : "pool", address);
    if (block->is_paged && is_exact())
        unlist_paged(block);
    if (is_exact())
        exact_free(block);
    else
        free(address);
    free(block);
}

/* ---- for others of nt/ ---- */

size_t nth_pool_bytes(void)
{
    return nth_ledger_bytes("pool") + nth_ledger_bytes("mdl pages");
}

static bool spans(const struct block *block, uintptr_t address)
{
    const uintptr_t base = (uintptr_t)block->address & ~(uintptr_t)(PAGE_SIZE - 1);

    return address - base < pages(block->bytes) + PAGE_SIZE; /* with its guard page */
}

/* A copy of the block whose pages the address lies in; false when there is none. */
static bool find_live(uintptr_t address, struct block *found)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        bool is_found = false;
        nth_lock(&shards[i].lock);
        for (unsigned j = 0; j < BUCKETS && !is_found; j++)
            for (const struct block *b = shards[i].buckets[j]; b && !is_found; b = b->next)
                if (spans(b, address)) {
                    *found = *b;
                    is_found = true;
                }
        nth_unlock(&shards[i].lock);
        if (is_found)
            return true;
    }
    return false;
}

static bool find_freed(uintptr_t address, struct block *found)
{
    bool is_found = false;

    nth_lock(&freed_lock);
    for (unsigned i = 0; i < FREED_KEPT && i < freed_count && !is_found; i++) {
        const struct block *const b = &freed[(freed_count - 1 - i) % FREED_KEPT];
        if (spans(b, address)) {
            *found = *b;
            is_found = true;
        }
    }
    nth_unlock(&freed_lock);
    return is_found;
}

const char *nth_pool_describe(uintptr_t address)
{
    static __thread char text[192];
    struct block block = {0};
    char tag[5];

    if (!arena || address - (uintptr_t)arena >= arena_bytes)
        return NULL;
    const bool is_live = find_live(address, &block);
    if (!is_live && !find_freed(address, &block))
        return "pool that was freed long ago, or never allocated";
    const char *const site = block.site && nth_symbol_hook ? nth_symbol_hook(block.site) : NULL;
    const ptrdiff_t offset = (char *)address - block.address;
    const bool is_inside = offset >= 0 && (size_t)offset < block.bytes;
    snprintf(text, sizeof(text), "%s%spool of %zu bytes at offset %td (tag %s, allocated by %s)%s",
             is_live ? "" : "freed ", block.is_paged ? "paged " : "", block.bytes, offset,
             tag_text(block.tag, tag), site ? site : "the host",
             is_live && is_inside && block.is_paged ? ", not to be touched at DISPATCH_LEVEL" : "");
    return text;
}

bool nth_pool_is_paged(const void *address)
{
    struct shard *const shard = shard_of(address);
    bool is_paged = false;

    nth_lock(&shard->lock);
    for (const struct block *b = *bucket_of(shard, address); b; b = b->next)
        is_paged = is_paged || (b->address == address && b->is_paged);
    nth_unlock(&shard->lock);
    return is_paged;
}

/* ---- what drivers call ---- */

static void check_paged_irql(bool is_paged)
{
    nth_irql_max(is_paged ? APC_LEVEL : DISPATCH_LEVEL);
}

static void *failed(bool raises)
{
    if (raises)
        nth_raise(STATUS_INSUFFICIENT_RESOURCES, 0, NULL);
    return NULL;
}

/* The older family: a type with two flags in it; never zeroes. */
static void *alloc_by_type(ULONG type, SIZE_T bytes, ULONG tag, bool raises, const char *name)
{
    const bool is_paged = type & POOL_TYPE_PAGED;
    const size_t alignment = type & 4 ? CACHE_LINE : POOL_ALIGNMENT;

    check_paged_irql(is_paged);
    if (bytes == 0)
        nth_stop("pool-zero-bytes", "%s of no bytes", name);
    if (tag == 0)
        nth_stop("pool-tag", "%s with tag 0", name);
    if (nth_fault(NTH_FAULT_POOL, name))
        return failed(raises);
    void *const address = pool_alloc(bytes, tag, is_paged, false, alignment);
    return address ? address : failed(raises);
}

PVOID NTAPI ExAllocatePoolWithTag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    return alloc_by_type(PoolType, NumberOfBytes, Tag, PoolType & POOL_RAISE_IF_ALLOCATION_FAILURE,
                         "ExAllocatePoolWithTag");
}
NTH_EXPORT(ExAllocatePoolWithTag, 3);

PVOID NTAPI ExAllocatePoolWithTagPriority(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag,
                                          EX_POOL_PRIORITY Priority)
{
    return alloc_by_type(PoolType, NumberOfBytes, Tag, PoolType & POOL_RAISE_IF_ALLOCATION_FAILURE,
                         "ExAllocatePoolWithTagPriority");
}
NTH_EXPORT(ExAllocatePoolWithTagPriority, 4);

/* Raises unless told to answer NULL. Quotas are not kept: there is always enough of them. */
PVOID NTAPI ExAllocatePoolWithQuotaTag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    return alloc_by_type(PoolType & ~(ULONG)POOL_QUOTA_FAIL_INSTEAD_OF_RAISE, NumberOfBytes, Tag,
                         !(PoolType & POOL_QUOTA_FAIL_INSTEAD_OF_RAISE),
                         "ExAllocatePoolWithQuotaTag");
}
NTH_EXPORT(ExAllocatePoolWithQuotaTag, 3);

PVOID NTAPI ExAllocatePool(POOL_TYPE PoolType, SIZE_T NumberOfBytes)
{
    return alloc_by_type(PoolType, NumberOfBytes, DEFAULT_TAG,
                         PoolType & POOL_RAISE_IF_ALLOCATION_FAILURE, "ExAllocatePool");
}
NTH_EXPORT(ExAllocatePool, 2);

#define POOL_KINDS (POOL_FLAG_NON_PAGED | POOL_FLAG_NON_PAGED_EXECUTE | POOL_FLAG_PAGED)
#define POOL_KNOWN                                                                                 \
    (POOL_KINDS | POOL_FLAG_USE_QUOTA | POOL_FLAG_UNINITIALIZED | POOL_FLAG_CACHE_ALIGNED |        \
     POOL_FLAG_RAISE_ON_FAILURE)
#define POOL_REQUIRED 0xFFFFFFFFULL

static bool are_flags_valid(POOL_FLAGS flags)
{
    const POOL_FLAGS kind = flags & POOL_KINDS;

    return !(flags & POOL_REQUIRED & ~POOL_KNOWN) && kind && !(kind & (kind - 1));
}

static void *alloc_by_flags(POOL_FLAGS flags, SIZE_T bytes, ULONG tag, bool is_valid,
                            const char *name)
{
    const bool raises = flags & POOL_FLAG_RAISE_ON_FAILURE;

    check_paged_irql(flags & POOL_FLAG_PAGED);
    if (bytes == 0)
        nth_stop("pool-zero-bytes", "%s of no bytes", name);
    if (!is_valid || !are_flags_valid(flags) || tag == 0)
        return failed(raises);
    if (nth_fault(NTH_FAULT_POOL, name))
        return failed(raises);
    void *const address =
        pool_alloc(bytes, tag, flags & POOL_FLAG_PAGED, !(flags & POOL_FLAG_UNINITIALIZED),
                   flags & POOL_FLAG_CACHE_ALIGNED ? CACHE_LINE : POOL_ALIGNMENT);
    return address ? address : failed(raises);
}

PVOID NTAPI ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag)
{
    return alloc_by_flags(Flags, NumberOfBytes, Tag, true, "ExAllocatePool2");
}
NTH_EXPORT(ExAllocatePool2, 3);

PVOID NTAPI ExAllocatePool3(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag,
                            const POOL_EXTENDED_PARAMETER *Parameters, ULONG Count)
{
    const struct extended_parameter *const list = (const struct extended_parameter *)Parameters;
    bool is_valid = Count == 0 || list;

    for (ULONG i = 0; is_valid && i < Count; i++)
        is_valid = list[i].is_optional || list[i].type == PARAMETER_PRIORITY ||
                   list[i].type == PARAMETER_NUMA_NODE;
    return alloc_by_flags(Flags, NumberOfBytes, Tag, is_valid, "ExAllocatePool3");
}
NTH_EXPORT(ExAllocatePool3, 5);

VOID NTAPI ExFreePoolWithTag(PVOID P, ULONG Tag)
{
    nth_irql_max(DISPATCH_LEVEL);
    pool_free(P, Tag, true);
}
NTH_EXPORT(ExFreePoolWithTag, 2);

VOID NTAPI ExFreePool(PVOID P)
{
    nth_irql_max(DISPATCH_LEVEL);
    pool_free(P, 0, false);
}
NTH_EXPORT(ExFreePool, 1);

VOID NTAPI ExFreePool2(PVOID P, ULONG Tag, const POOL_EXTENDED_PARAMETER *Parameters, ULONG Count)
{
    if (Count)
        nth_stop("not-provided", "ExFreePool2 with extended parameters");
    ExFreePoolWithTag(P, Tag);
}
NTH_EXPORT(ExFreePool2, 4);

/* ---- birth ---- */

static void pool_boot(const struct nth_config *config)
{
    for (unsigned i = 0; i < SHARDS; i++)
        shards[i].lock = (struct nth_mutex)NTH_MUTEX_INIT;
    if (!nth_describe_address_hook)
        nth_describe_address_hook = nth_pool_describe;
    nth_level_hook = is_exact() ? close_paged : NULL;
    if (!is_exact() || arena)
        return;
    void *base = MAP_FAILED;
    arena_bytes = ARENA_MOST;
    for (;;) { /* sanitisers leave less room */
        base =
            mmap(NULL, arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base != MAP_FAILED)
            break;
        if (arena_bytes <= ARENA_LEAST)
            nth_fail("no address space for exact pool");
        arena_bytes /= 4;
    }
    arena = base;
}

NTH_SUBSYSTEM(pool, 25, pool_boot, NULL);
