/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * User memory of processes: one slot of memfd pages each, at an address that a Linux child can have
 * too, with a count of locks per page so that a page outlives its address as long as somebody holds
 * it. Must never touch user memory through the process's own view: the host reads and writes
 * through a second, permanent one, after looking at what the process may do there.
 */
#include "nt/mm.h"
#include "nt/ps.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Where user memory lies. AddressSanitizer and ThreadSanitizer leave different places free. */
#ifdef NTH_ASAN
#define USER_BASE  0x180000000000ull
#define USER_LIMIT 0x200000000000ull
#else
#define USER_BASE  0x1000000000ull
#define USER_LIMIT 0x8000000000ull
#endif
enum { NATIVE_SLOTS = 64, WOW64_SLOTS = 6, SLOTS = 1 + NATIVE_SLOTS + WOW64_SLOTS };
#define NATIVE_BYTES  (1ull << 30)
#define NATIVE_STRIDE (1ull << 31) /* the rest is a gap */
#define WOW64_BASE    0x10000000ull
#define WOW64_BYTES   0x0FF00000ull
#define WOW64_STRIDE  0x10000000ull
#define GRANULE       16u /* pages: VirtualAlloc hands out addresses by 64 KiB */
#define PFN_SHIFT     20

enum page_state { PAGE_FREE, PAGE_USED, PAGE_ZOMBIE /* freed, but locked */ };
struct page {
    uint32_t locks; /* a user can lock one page in as many requests as it has */
    uint8_t state;
    uint8_t prot;
};

struct slot {
    unsigned index;
    int fd;
    uintptr_t base; /* 0: the system's own pages */
    size_t pages;
    uint8_t *alias;
    struct page *page;           /* guarded by mm_lock */
    struct nth_process *process; /* constant while the slot lives */
    size_t next, top;  /* guarded by mm_lock: where to search, end of what was ever used */
    bool is_closed;    /* guarded by mm_lock: hidden from whoever runs now */
    size_t locked;     /* guarded by mm_lock: locks held on its pages */
    struct slot *dead; /* guarded by mm_lock: who looks without it may still have the pointer */
};

static struct nth_mutex mm_lock = NTH_MUTEX_INIT;
static struct slot *dead_slots;   /* mm_lock: freed when the machine stops */
static struct slot *slots[SLOTS]; /* atomic pointers; [0] is the system's, made on demand */

static struct slot *slot_get(unsigned index)
{
    return __atomic_load_n(&slots[index], __ATOMIC_ACQUIRE);
}

static uintptr_t slot_base(unsigned index)
{
    if (index == 0)
        return 0;
    if (index <= NATIVE_SLOTS)
        return USER_BASE + (index - 1) * NATIVE_STRIDE;
    return WOW64_BASE + (index - 1 - NATIVE_SLOTS) * WOW64_STRIDE;
}

static struct slot *slot_at(uintptr_t address)
{
    unsigned index = 0;

    if (address >= USER_BASE && address < USER_BASE + NATIVE_SLOTS * NATIVE_STRIDE)
        index = 1 + (unsigned)((address - USER_BASE) / NATIVE_STRIDE);
    else if (address >= WOW64_BASE && address < WOW64_BASE + WOW64_SLOTS * WOW64_STRIDE)
        index = 1 + NATIVE_SLOTS + (unsigned)((address - WOW64_BASE) / WOW64_STRIDE);
    struct slot *slot = index != 0 ? slot_get(index) : NULL;
    return slot && address - slot->base < slot->pages * MM_PAGE ? slot : NULL;
}

static void *map_or_fail(void *at, size_t bytes, int prot, int flags, int fd)
{
    void *view = mmap(at, bytes, prot, flags | MAP_NORESERVE, fd, 0);

    if (view == MAP_FAILED || (at && view != at))
        nth_fail("cannot map %zu bytes of user memory at %p: %s", bytes, at, strerror(errno));
    return view;
}

static struct slot *slot_create(unsigned index, size_t bytes, struct nth_process *process)
{
    struct slot *slot = calloc(1, sizeof(*slot));

    if (!slot)
        nth_fail("out of memory");
    *slot = (struct slot){.index = index,
                          .base = slot_base(index),
                          .pages = bytes / MM_PAGE,
                          .process = process,
                          .next = GRANULE};
    slot->fd = memfd_create("nthost-user", MFD_CLOEXEC);
    if (slot->fd < 0 || ftruncate(slot->fd, (off_t)bytes) != 0)
        nth_fail("cannot make user memory: %s", strerror(errno));
    slot->alias = map_or_fail(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, slot->fd);
    slot->page = map_or_fail(NULL, slot->pages * sizeof(struct page), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (slot->base)
        map_or_fail((void *)slot->base, bytes, PROT_NONE, MAP_SHARED | MAP_FIXED_NOREPLACE,
                    slot->fd);
    return slot;
}

/* mm_lock held, but when the machine stops. The addresses go before the next process may have them.
 */
static void slot_destroy(struct slot *slot)
{
    if (slot->base)
        munmap((void *)slot->base, slot->pages * MM_PAGE);
    munmap(slot->alias, slot->pages * MM_PAGE);
    munmap(slot->page, slot->pages * sizeof(struct page));
    close(slot->fd);
    __atomic_store_n(&slots[slot->index], NULL, __ATOMIC_RELEASE);
    slot->dead = dead_slots;
    dead_slots = slot;
}

/* ---- processes ---- */

uintptr_t nth_user_limit(void)
{
    return USER_LIMIT;
}

void nth_mm_process_create(struct nth_process *process, bool wow64)
{
    const unsigned first = wow64 ? 1 + NATIVE_SLOTS : 1;
    const unsigned end = wow64 ? SLOTS : 1 + NATIVE_SLOTS;

    nth_lock(&mm_lock);
    for (unsigned i = first; i < end; i++) {
        if (slots[i])
            continue;
        struct slot *slot = slot_create(i, wow64 ? WOW64_BYTES : NATIVE_BYTES, process);
        __atomic_store_n(&slots[i], slot, __ATOMIC_RELEASE);
        nth_unlock(&mm_lock);
        return;
    }
    nth_unlock(&mm_lock);
    nth_fail("more than %u processes at once", end - first);
}

static struct slot *slot_of(const struct nth_process *process)
{
    for (unsigned i = 1; i < SLOTS; i++) {
        struct slot *slot = slot_get(i);
        if (slot && slot->process == process)
            return slot;
    }
    return NULL;
}

void nth_mm_process_delete(struct nth_process *process)
{
    nth_lock(&mm_lock);
    struct slot *slot = slot_of(process);
    const size_t locked = slot ? slot->locked : 0;
    if (slot && locked == 0)
        slot_destroy(slot);
    nth_unlock(&mm_lock);
    if (locked != 0)
        nth_stop("process-has-locked-pages",
                 "process %llu ends with %zu page locks held by drivers",
                 (unsigned long long)(uintptr_t)nth_process_id(process), locked);
}

struct nth_process *nth_user_owner(uintptr_t address)
{
    struct slot *slot = slot_at(address);

    return slot ? slot->process : NULL;
}

int nth_user_slot(struct nth_process *process, uintptr_t *address, size_t *bytes)
{
    struct slot *slot = slot_of(process);

    if (!slot)
        return -ESRCH;
    *address = slot->base;
    *bytes = slot->pages * MM_PAGE;
    return slot->fd;
}

/* ---- allocation ---- */

/* First page of a free run, or 0. mm_lock held. The page before and after stays free: a guard. */
static size_t run_find(struct slot *slot, size_t from, size_t end, size_t count)
{
    size_t start = (from + GRANULE - 1) / GRANULE * GRANULE;

    while (start + count < end) {
        size_t i = 0;
        while (i <= count && slot->page[start + i].state == PAGE_FREE)
            i++;
        if (i > count)
            return start;
        start = (start + i + GRANULE) / GRANULE * GRANULE;
    }
    return 0;
}

static size_t run_take(struct slot *slot, size_t count)
{
    size_t start = run_find(slot, slot->next, slot->pages, count);

    if (start == 0)
        start = run_find(slot, GRANULE, slot->pages, count);
    if (start == 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        slot->page[start + i] = (struct page){.state = PAGE_USED, .prot = PROT_READ | PROT_WRITE};
    slot->next = start + count + 1;
    if (slot->next > slot->top)
        slot->top = slot->next;
    return start;
}

void *nth_user_alloc(struct nth_process *process, size_t bytes)
{
    struct slot *slot = slot_of(process);
    const size_t count = (bytes + MM_PAGE - 1) / MM_PAGE;

    if (!slot || bytes == 0 || bytes > slot->pages * MM_PAGE)
        return NULL;
    nth_lock(&mm_lock);
    const size_t start = run_take(slot, count);
    void *address = (void *)(slot->base + start * MM_PAGE);
    if (start != 0 && !slot->is_closed &&
        mprotect(address, count * MM_PAGE, PROT_READ | PROT_WRITE) != 0)
        nth_fail("cannot open user memory: %s", strerror(errno));
    nth_unlock(&mm_lock);
    return start != 0 ? address : NULL;
}

/* The page's address is gone and nobody holds it: its content goes. mm_lock held. */
static void page_release(struct slot *slot, size_t first, size_t count)
{
    if (fallocate(slot->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(first * MM_PAGE),
                  (off_t)(count * MM_PAGE)) != 0)
        nth_fail("cannot free user memory: %s", strerror(errno));
    memset(&slot->page[first], 0, count * sizeof(struct page));
}

/* Frees what is used in [first, first + count), run by run. mm_lock held. */
static void run_free(struct slot *slot, size_t first, size_t count)
{
    size_t from = first;

    for (size_t i = first; i < first + count; i++) {
        if (slot->page[i].state == PAGE_USED && slot->page[i].locks == 0)
            continue;
        if (slot->page[i].state == PAGE_USED)
            slot->page[i].state = PAGE_ZOMBIE;
        if (i > from)
            page_release(slot, from, i - from);
        from = i + 1;
    }
    if (first + count > from)
        page_release(slot, from, first + count - from);
}

static bool range_of(struct slot *slot, const void *address, size_t bytes, size_t *first,
                     size_t *count)
{
    const uintptr_t offset = (uintptr_t)address - (slot ? slot->base : 0);

    if (!slot || (uintptr_t)address < slot->base || offset >= slot->pages * MM_PAGE || bytes == 0 ||
        bytes > slot->pages * MM_PAGE - offset)
        return false;
    *first = offset / MM_PAGE;
    *count = (offset + bytes + MM_PAGE - 1) / MM_PAGE - *first;
    return true;
}

void nth_user_free(struct nth_process *process, void *address, size_t bytes)
{
    struct slot *slot = slot_of(process);
    size_t first, count;

    if (!range_of(slot, address, bytes, &first, &count))
        return; /* a user's mistake is the user's alone */
    nth_lock(&mm_lock);
    if (mprotect((void *)(slot->base + first * MM_PAGE), count * MM_PAGE, PROT_NONE) != 0)
        nth_fail("cannot close user memory: %s", strerror(errno));
    run_free(slot, first, count);
    nth_unlock(&mm_lock);
}

void nth_user_protect(struct nth_process *process, void *address, size_t bytes, int prot)
{
    struct slot *slot = slot_of(process);
    size_t first, count;

    if (!range_of(slot, address, bytes, &first, &count))
        return;
    nth_lock(&mm_lock);
    for (size_t i = first; i < first + count; i++) {
        if (slot->page[i].state != PAGE_USED)
            continue;
        slot->page[i].prot = (uint8_t)prot;
        if (!slot->is_closed)
            mprotect((void *)(slot->base + i * MM_PAGE), MM_PAGE, prot);
    }
    nth_unlock(&mm_lock);
}

/* ---- whose memory is in sight ---- */

/*
 * With exact memory and one thread at a time, only the process that runs can be reached: a driver
 * that uses a user address in another context is found out. Host code that looks at the memory of
 * some process (a test, a client's ring) faults once and sees it until the next switch.
 */
static bool is_exclusive(void)
{
    return nth_config.mode == NTH_SERIAL && !nth_config.relaxed_memory;
}

/* mm_lock held. */
static void slot_close(struct slot *slot)
{
    slot->is_closed = true;
    if (mprotect((void *)slot->base, slot->pages * MM_PAGE, PROT_NONE) != 0)
        nth_fail("cannot close user memory: %s", strerror(errno));
}

/* mm_lock held. */
static void slot_open(struct slot *slot)
{
    slot->is_closed = false;
    for (size_t i = GRANULE, n; i < slot->top; i += n) {
        const struct page *first = &slot->page[i];
        for (n = 1;
             i + n < slot->top && first[n].state == first->state && first[n].prot == first->prot;
             n++)
            continue;
        if (first->state == PAGE_USED)
            mprotect((void *)(slot->base + i * MM_PAGE), n * MM_PAGE, first->prot);
    }
}

static void on_switch(void *nt_object)
{
    const struct nth_ethread *thread = nt_object;
    const struct nth_process *process = NULL;

    if (!is_exclusive())
        return;
    if (thread)
        process = thread->attached ? thread->attached : thread->process;
    nth_lock(&mm_lock);
    for (unsigned i = 1; i < SLOTS; i++) {
        struct slot *slot = slots[i];
        if (slot && slot->process == process && slot->is_closed)
            slot_open(slot);
        else if (slot && slot->process != process && !slot->is_closed)
            slot_close(slot);
    }
    nth_unlock(&mm_lock);
}

/* The page is there, and hidden only because another process runs. */
static bool is_hidden(uintptr_t address)
{
    nth_lock(&mm_lock);
    const struct slot *slot = slot_at(address);
    const bool hidden =
        slot && slot->is_closed && slot->page[(address - slot->base) / MM_PAGE].state == PAGE_USED;
    nth_unlock(&mm_lock);
    return hidden;
}

static struct sigaction former;

/* The memory functions that drivers import act for the driver (pe/routines.c). */
extern const char nth_memory_begin[], nth_memory_end[];

static bool is_driver_code(uintptr_t pc)
{
    return nth_image_at(pc) ||
           (pc >= (uintptr_t)nth_memory_begin && pc < (uintptr_t)nth_memory_end);
}

/* Asked before pe/'s handler. Host code holds no host lock where it touches user memory, so mm_lock
 * is free. */
static void on_fault(int signal, siginfo_t *info, void *context)
{
    const ucontext_t *machine = context;

    if (is_hidden((uintptr_t)info->si_addr) &&
        !is_driver_code((uintptr_t)machine->uc_mcontext.gregs[REG_RIP])) {
        nth_lock(&mm_lock);
        struct slot *slot = slot_at((uintptr_t)info->si_addr);
        if (slot && slot->is_closed)
            slot_open(slot);
        nth_unlock(&mm_lock);
        return;
    }
    if ((former.sa_flags & SA_SIGINFO) && former.sa_sigaction)
        former.sa_sigaction(signal, info, context);
    else
        sigaction(signal, &former, NULL); /* and it faults again */
}

static void install_fault_handler(void)
{
    static bool is_installed;
    const struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    if (is_installed || !is_exclusive())
        return;
    is_installed = true;
    sigaction(SIGSEGV, &action, &former);
}

/* ---- access checks and copies ---- */

static bool page_allows(const struct page *page, bool write)
{
    const int need = write ? PROT_WRITE : PROT_READ;

    return page->state == PAGE_USED && (page->prot & need);
}

/* First address of the range that the process may not touch, or 0. mm_lock held. */
static uintptr_t first_fault(struct slot *slot, uintptr_t address, size_t bytes, bool write)
{
    size_t first, count;

    if (!range_of(slot, (const void *)address, bytes, &first, &count))
        return address ? address : 1;
    for (size_t i = first; i < first + count; i++) {
        if (!page_allows(&slot->page[i], write))
            return i == first ? address : slot->base + i * MM_PAGE;
    }
    return 0;
}

bool nth_mm_probe(struct nth_process *process, uintptr_t address, size_t bytes, bool write)
{
    if (bytes == 0)
        return true;
    nth_lock(&mm_lock);
    const uintptr_t fault = first_fault(slot_of(process), address, bytes, write);
    nth_unlock(&mm_lock);
    return fault == 0;
}

/* The lock is held over the copy: a page freed meanwhile could be given to another allocation. */
static NTSTATUS copy(struct nth_process *process, uintptr_t user, void *host, size_t bytes,
                     bool write)
{
    NTSTATUS status = STATUS_ACCESS_VIOLATION;

    if (bytes == 0)
        return STATUS_SUCCESS;
    nth_lock(&mm_lock);
    struct slot *slot = slot_of(process);
    if (first_fault(slot, user, bytes, write) == 0) {
        uint8_t *view = slot->alias + (user - slot->base);
        memcpy(write ? view : host, write ? host : view, bytes);
        status = STATUS_SUCCESS;
    }
    nth_unlock(&mm_lock);
    return status;
}

NTSTATUS nth_mm_read(struct nth_process *process, void *to, uintptr_t from, size_t bytes)
{
    return copy(process, from, to, bytes, false);
}

NTSTATUS nth_mm_write(struct nth_process *process, uintptr_t to, const void *from, size_t bytes)
{
    return copy(process, to, (void *)from, bytes, true);
}

NTSTATUS nth_mm_read_mode(KPROCESSOR_MODE mode, struct nth_process *process, void *to,
                          const void *from, size_t bytes)
{
    if (mode != KernelMode || (uintptr_t)from < USER_LIMIT)
        return nth_mm_read(process, to, (uintptr_t)from, bytes);
    memcpy(to, from, bytes);
    return STATUS_SUCCESS;
}

NTSTATUS nth_mm_write_mode(KPROCESSOR_MODE mode, struct nth_process *process, void *to,
                           const void *from, size_t bytes)
{
    if (mode != KernelMode || (uintptr_t)to < USER_LIMIT)
        return nth_mm_write(process, (uintptr_t)to, from, bytes);
    memcpy(to, from, bytes);
    return STATUS_SUCCESS;
}

/* ---- locks and views of pages ---- */

static PFN_NUMBER pfn_of(const struct slot *slot, size_t page)
{
    return ((PFN_NUMBER)(slot->index + 1) << PFN_SHIFT) | page;
}

static struct slot *pfn_slot(PFN_NUMBER pfn, size_t *page)
{
    const PFN_NUMBER index = (pfn >> PFN_SHIFT) - 1;

    *page = pfn & ((1u << PFN_SHIFT) - 1);
    if ((pfn & MM_KERNEL_PFN) || index >= SLOTS || !slot_get((unsigned)index))
        return NULL;
    return slot_get((unsigned)index);
}

NTSTATUS nth_mm_lock(uintptr_t address, size_t bytes, bool write, PFN_NUMBER *pfns,
                     uintptr_t *fault)
{
    nth_lock(&mm_lock);
    struct slot *slot = slot_of(nth_process_current());
    *fault = first_fault(slot, address, bytes, write);
    if (*fault == 0) {
        size_t first = 0, count = 0;
        range_of(slot, (const void *)address, bytes, &first, &count);
        for (size_t i = 0; i < count; i++) {
            slot->page[first + i].locks++;
            pfns[i] = pfn_of(slot, first + i);
        }
        slot->locked += count;
    }
    nth_unlock(&mm_lock);
    return *fault == 0 ? STATUS_SUCCESS : STATUS_ACCESS_VIOLATION;
}

void nth_mm_unlock(const PFN_NUMBER *pfns, size_t count)
{
    bool bad = false;

    nth_lock(&mm_lock);
    for (size_t i = 0; i < count && !bad; i++) {
        size_t page;
        if (pfns[i] & MM_KERNEL_PFN)
            continue;
        struct slot *slot = pfn_slot(pfns[i], &page);
        bad = !slot || page >= slot->pages || slot->page[page].locks == 0;
        if (bad)
            break;
        slot->locked--;
        if (--slot->page[page].locks == 0 && slot->page[page].state == PAGE_ZOMBIE)
            page_release(slot, page, 1);
    }
    nth_unlock(&mm_lock);
    if (bad)
        nth_stop("mdl-unlock-twice", "the MDL names a page that is not locked");
}

bool nth_mm_pages(PFN_NUMBER *pfns, size_t count)
{
    nth_lock(&mm_lock);
    if (!slots[0])
        __atomic_store_n(&slots[0], slot_create(0, NATIVE_BYTES, NULL), __ATOMIC_RELEASE);
    struct slot *slot = slots[0];
    const size_t start = run_take(slot, count);
    for (size_t i = 0; i < count && start != 0; i++) {
        slot->page[start + i].locks = 1;
        slot->page[start + i].state =
            PAGE_ZOMBIE; /* no address keeps it: the last unlock frees it */
        pfns[i] = pfn_of(slot, start + i);
    }
    if (start != 0)
        slot->locked += count;
    nth_unlock(&mm_lock);
    return start != 0;
}

/* Views and small objects that were given back: kept inaccessible until QUARANTINE more have come.
 */
enum { QUARANTINE = 256 };
static struct {
    void *address;
    size_t bytes;
} quarantine[QUARANTINE]; /* guarded by quarantine_lock */
static unsigned quarantine_next;
static struct nth_mutex quarantine_lock = NTH_MUTEX_INIT;

static void quarantine_put(void *address, size_t bytes)
{
    if (mmap(address, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
             0) == MAP_FAILED)
        nth_fail("cannot unmap: %s", strerror(errno));
    nth_lock(&quarantine_lock);
    const unsigned i = quarantine_next++ % QUARANTINE;
    void *const old = quarantine[i].address;
    const size_t old_bytes = quarantine[i].bytes;
    quarantine[i].address = address;
    quarantine[i].bytes = bytes;
    nth_unlock(&quarantine_lock);
    if (old)
        munmap(old, old_bytes);
}

static const char *(*describe_other)(uintptr_t address);

/* For the report of a fault. Reads without the lock: the thread may have faulted with it. */
static const char *describe(uintptr_t address)
{
    for (unsigned i = 0; i < QUARANTINE; i++) {
        if (address - (uintptr_t)quarantine[i].address < quarantine[i].bytes)
            return "an IRP, MDL or work item that is freed, or the view of an MDL that is unmapped";
    }
    return describe_other ? describe_other(address) : NULL;
}

/* Pages of one slot in rising order form one piece. */
static size_t piece(const PFN_NUMBER *pfns, size_t count)
{
    size_t n = 1;

    while (n < count && pfns[n] == pfns[0] + n)
        n++;
    return n;
}

static bool in_alias(const void *view)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = slot_get(i);
        if (slot && (uintptr_t)view - (uintptr_t)slot->alias < slot->pages * MM_PAGE)
            return true;
    }
    return false;
}

void *nth_mm_map(const PFN_NUMBER *pfns, size_t count, bool writable)
{
    size_t page;

    if (nth_config.relaxed_memory && piece(pfns, count) == count) {
        struct slot *slot = pfn_slot(pfns[0], &page);
        return slot ? slot->alias + page * MM_PAGE : NULL;
    }
    const size_t bytes = (count + 2) * MM_PAGE;
    uint8_t *room =
        mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return NULL;
    for (size_t i = 0, n; i < count; i += n) {
        n = piece(pfns + i, count - i);
        struct slot *slot = pfn_slot(pfns[i], &page);
        if (!slot || mmap(room + (i + 1) * MM_PAGE, n * MM_PAGE,
                          writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED | MAP_FIXED,
                          slot->fd, (off_t)(page * MM_PAGE)) == MAP_FAILED) {
            munmap(room, bytes);
            return NULL;
        }
    }
    return room + MM_PAGE;
}

void nth_mm_unmap(void *view, size_t count)
{
    if (!in_alias(view))
        quarantine_put((uint8_t *)view - MM_PAGE, (count + 2) * MM_PAGE);
}

/* ---- small objects ---- */

static size_t exact_bytes(size_t bytes)
{
    return (bytes + MM_PAGE - 1) / MM_PAGE * MM_PAGE + MM_PAGE;
}

void *nth_mm_alloc(size_t bytes)
{
    const size_t size = (bytes + 15) & ~(size_t)15;

    if (nth_config.relaxed_memory) {
        void *object = calloc(1, size);
        if (!object)
            nth_fail("out of memory");
        return object;
    }
    const size_t whole = exact_bytes(size);
    uint8_t *room = map_or_fail(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (mprotect(room, whole - MM_PAGE, PROT_READ | PROT_WRITE) != 0)
        nth_fail("cannot open memory: %s", strerror(errno));
    return room + whole - MM_PAGE - size;
}

void nth_mm_free(void *object, size_t bytes)
{
    const size_t size = (bytes + 15) & ~(size_t)15;
    const size_t whole = exact_bytes(size);

    if (nth_config.relaxed_memory)
        free(object);
    else if (object)
        quarantine_put((uint8_t *)object + size + MM_PAGE - whole, whole);
}

/* ---- what drivers call ---- */

/* Data exports: pointers to where user space ends, as MmHighestUserAddress documents. */
static void *MmHighestUserAddress = (void *)(USER_LIMIT - 1);
NTH_EXPORT_AS(MmHighestUserAddress, "MmHighestUserAddress", &MmHighestUserAddress, NTH_DATA);
static void *MmSystemRangeStart = (void *)USER_LIMIT;
NTH_EXPORT_AS(MmSystemRangeStart, "MmSystemRangeStart", &MmSystemRangeStart, NTH_DATA);
static ULONG_PTR MmUserProbeAddress = USER_LIMIT;
NTH_EXPORT_AS(MmUserProbeAddress, "MmUserProbeAddress", &MmUserProbeAddress, NTH_DATA);

static _Noreturn void raise_access(uintptr_t address, bool write)
{
    const ULONG_PTR information[2] = {write, address};

    nth_raise(STATUS_ACCESS_VIOLATION, 2, information);
}

/* ProbeForRead and ProbeForWrite: length 0 checks nothing; alignment first, then the range. */
static void probe_range(uintptr_t address, SIZE_T length, ULONG alignment, bool write)
{
    if (alignment != 1 && alignment != 2 && alignment != 4 && alignment != 8 && alignment != 16)
        nth_stop("probe-alignment", "%s with an alignment of %u", nth_call_name(), alignment);
    if (address & (alignment - 1))
        nth_raise(STATUS_DATATYPE_MISALIGNMENT, 0, NULL);
    if (address + length < address || address + length > USER_LIMIT)
        raise_access(address, write);
}

VOID NTAPI ProbeForRead(const volatile VOID *Address, SIZE_T Length, ULONG Alignment)
{
    nth_irql_max(APC_LEVEL);
    if (Length != 0)
        probe_range((uintptr_t)Address, Length, Alignment, false);
}
NTH_EXPORT(ProbeForRead, 3);

VOID NTAPI ProbeForWrite(volatile VOID *Address, SIZE_T Length, ULONG Alignment)
{
    nth_irql_max(APC_LEVEL);
    if (Length == 0)
        return;
    probe_range((uintptr_t)Address, Length, Alignment, true);
    nth_lock(&mm_lock);
    const uintptr_t fault =
        first_fault(slot_of(nth_process_current()), (uintptr_t)Address, Length, true);
    nth_unlock(&mm_lock);
    if (fault != 0)
        raise_access(fault, true);
}
NTH_EXPORT(ProbeForWrite, 3);

/* MmIsVerifierEnabled: no Driver Verifier is configured; its checks are this host's rules. */
NTSTATUS NTAPI MmIsVerifierEnabled(PULONG VerifierFlags)
{
    nth_irql_max(DISPATCH_LEVEL);
    *VerifierFlags = 0;
    return STATUS_NOT_SUPPORTED;
}
NTH_EXPORT(MmIsVerifierEnabled, 1);

LOGICAL NTAPI MmIsDriverVerifying(PDRIVER_OBJECT DriverObject)
{
    (void)DriverObject;
    return FALSE;
}
NTH_EXPORT(MmIsDriverVerifying, 1);

/* Names that a kernel of an older release does not export, by the NDIS minor version it came with;
 * the pages say "available starting with". */
static const struct {
    const char *name;
    uint32_t since;
} newer[] = {
    {"ExAllocatePool2", 0x60054},
    {"ExAllocatePool3", 0x60054},
    {"ExFreePool2", 0x60057},
    {"ExInitializeDriverRuntime", 0},
    {"KeQueryInterruptTimePrecise", 0x60028},
    {"KeQuerySystemTimePrecise", 0x6001E},
    {"KeQueryUnbiasedInterruptTime", 0x60014},
    {"ExSetTimer", 0x60028},
    {"ExAllocateTimer", 0x60028},
    {"ExDeleteTimer", 0x60028},
    {"ExCancelTimer", 0x60028},
    {"IoSetDevicePropertyData", 0x60014},
    {"PsSetCreateProcessNotifyRoutineEx2", 0x60046},
};

PVOID NTAPI MmGetSystemRoutineAddress(PUNICODE_STRING SystemRoutineName)
{
    char name[128];
    const unsigned length = SystemRoutineName->Length / sizeof(WCHAR);
    const uint32_t version = nth_config.ndis_version ? nth_config.ndis_version : 0x60059;

    nth_irql_exactly(PASSIVE_LEVEL);
    if (length == 0 || length >= sizeof(name))
        return NULL;
    for (unsigned i = 0; i < length; i++)
        name[i] = SystemRoutineName->Buffer[i] < 128 ? (char)SystemRoutineName->Buffer[i] : '?';
    name[length] = 0;
    for (unsigned i = 0; i < ARRAYSIZE(newer); i++) {
        if (strcmp(newer[i].name, name) == 0 && version < newer[i].since)
            return NULL;
    }
    return nth_export_find(name);
}
NTH_EXPORT(MmGetSystemRoutineAddress, 1);

static bool is_user_address(uintptr_t address)
{
    if (address < USER_LIMIT && is_hidden(address))
        nth_stop("user-memory-context",
                 "user address 0x%llx is of process %llu, and another one is current",
                 (unsigned long long)address,
                 (unsigned long long)(uintptr_t)nth_process_id(nth_user_owner(address)));
    return address < USER_LIMIT;
}

static void mm_boot(const struct nth_config *config)
{
    (void)config;
    nth_user_address_hook = is_user_address;
    nth_switch_hook = on_switch;
    if (nth_describe_address_hook != describe) {
        describe_other = nth_describe_address_hook;
        nth_describe_address_hook = describe;
    }
    install_fault_handler();
}

static void mm_shutdown(void)
{
    if (slots[0])
        slot_destroy(slots[0]);
    for (struct slot *slot; (slot = dead_slots) != NULL; free(slot))
        dead_slots = slot->dead;
}
NTH_SUBSYSTEM(mm, 30, mm_boot, mm_shutdown);
