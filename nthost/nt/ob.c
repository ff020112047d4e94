/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Objects: reference counts, handles of processes and of the kernel, names and symbolic links.
 * Knows what a driver holds, so that a reference or handle it forgets or gives back twice is found.
 * Never calls out (to a destructor or to a last-handle routine) with its lock held.
 */
#include "nt/ps.h"

#include <stdlib.h>
#include <string.h>

enum { ALIVE = 0x4a424f4e, DEAD = 0x44414544, QUARANTINE = 1024, MAX_HANDLES = 1 << 20 };

/* A reference that a driver holds; its address is the ledger's key. */
struct loan {
    struct loan *next;
    uintptr_t site;
};

struct object {
    uint32_t magic;
    enum nth_object_type type;
    _Atomic long pointers; /* every handle holds one too */
    long handles;          /* ob_lock */
    void (*destroy)(void *body);
    struct loan *loans;  /* ob_lock */
    struct object *next; /* waiting to be destroyed or freed; ob_lock */
    _Alignas(16) char body[];
};

struct entry {
    struct object *object; /* NULL: free */
    ACCESS_MASK access;
    bool in_ledger;
    unsigned next_free;
};

/* Entries never move, because their addresses are keys of the ledger. */
enum { CHUNK = 256 };
struct nth_handle_table {
    struct nth_process *process;
    struct entry *chunks[MAX_HANDLES / CHUNK];
    unsigned count; /* entries that exist; entry 0 is never given out */
    unsigned first_free;
    bool is_closed;
};

struct name {
    struct name *next;
    struct object *object; /* not referenced: NULL for a link */
    WCHAR *target;         /* of a link */
    size_t target_length;
    size_t length; /* in characters, canonical */
    WCHAR text[];
};

static struct nth_mutex ob_lock = NTH_MUTEX_INIT;
static struct nth_handle_table *kernel_handles;          /* ob_lock */
static struct name *names;                               /* ob_lock */
static struct object *doomed;                            /* let go at raised IRQL; ob_lock */
static struct nth_thread *reaper, *drain_waiter;         /* ob_lock */
static bool has_reaper, reaper_busy;                     /* ob_lock */
static struct object *quarantine_head, *quarantine_tail; /* ob_lock */
static unsigned quarantined;                             /* ob_lock */
static void (*last_handle[NTH_OB_TYPES])(void *body, struct nth_process *process);

/* What a POBJECT_TYPE points at: nothing a driver may look into. */
static char type_bodies[NTH_OB_TYPES][16];
static POBJECT_TYPE event_type = (POBJECT_TYPE)type_bodies[NTH_OB_EVENT];
static POBJECT_TYPE file_type = (POBJECT_TYPE)type_bodies[NTH_OB_FILE];
static POBJECT_TYPE process_type = (POBJECT_TYPE)type_bodies[NTH_OB_PROCESS];
static POBJECT_TYPE thread_type = (POBJECT_TYPE)type_bodies[NTH_OB_THREAD];
static POBJECT_TYPE semaphore_type = (POBJECT_TYPE)type_bodies[NTH_OB_SEMAPHORE];
static POBJECT_TYPE token_type = (POBJECT_TYPE)type_bodies[NTH_OB_TOKEN];
static POBJECT_TYPE key_type = (POBJECT_TYPE)type_bodies[NTH_OB_KEY];
NTH_EXPORT_AS(ExEventObjectType, "ExEventObjectType", &event_type, NTH_DATA);
NTH_EXPORT_AS(IoFileObjectType, "IoFileObjectType", &file_type, NTH_DATA);
NTH_EXPORT_AS(PsProcessType, "PsProcessType", &process_type, NTH_DATA);
NTH_EXPORT_AS(PsThreadType, "PsThreadType", &thread_type, NTH_DATA);
NTH_EXPORT_AS(ExSemaphoreObjectType, "ExSemaphoreObjectType", &semaphore_type, NTH_DATA);
NTH_EXPORT_AS(SeTokenObjectType, "SeTokenObjectType", &token_type, NTH_DATA);
NTH_EXPORT_AS(CmKeyObjectType, "CmKeyObjectType", &key_type, NTH_DATA);

static void *checked_calloc(size_t bytes)
{
    void *memory = calloc(1, bytes);

    if (memory == NULL)
        nth_fail("out of memory (%zu bytes)", bytes);
    return memory;
}

static int type_number(POBJECT_TYPE type)
{
    const ptrdiff_t offset = (char *)type - type_bodies[0];

    if (offset < 0 || offset >= (ptrdiff_t)sizeof(type_bodies) || offset % 16 != 0)
        nth_stop("bugcheck", "%p is no object type", (void *)type);
    return (int)(offset / 16);
}

static struct object *object_of(const void *body)
{
    if (body == NULL || ((uintptr_t)body & 15) != 0)
        nth_stop("object-dereferenced-twice", "%p is no object", body);
    struct object *object = (struct object *)((uintptr_t)body - offsetof(struct object, body));
    if (object->magic == DEAD)
        nth_stop("object-dereferenced-twice", "object %p is deleted", body);
    if (object->magic != ALIVE)
        nth_stop("object-dereferenced-twice", "%p is no object", body);
    return object;
}

void *nth_object_create(enum nth_object_type type, size_t bytes, void (*destroy)(void *body))
{
    struct object *object = aligned_alloc(16, (sizeof(*object) + bytes + 15) & ~(size_t)15);

    if (object == NULL)
        nth_fail("out of memory (%zu bytes)", bytes);
    memset(object, 0, sizeof(*object) + bytes);
    object->magic = ALIVE;
    object->type = type;
    object->pointers = 1;
    object->destroy = destroy;
    /* cppcheck-suppress memleak ; the body is part of it */
    return object->body;
}

enum nth_object_type nth_object_type(const void *body)
{
    return object_of(body)->type;
}

long nth_object_references(const void *body)
{
    return object_of(body)->pointers;
}

long nth_object_handles(const void *body)
{
    nth_lock(&ob_lock);
    const long handles = object_of(body)->handles;
    nth_unlock(&ob_lock);
    return handles;
}

void *nth_object_waitable(void *body)
{
    switch (object_of(body)->type) {
    case NTH_OB_EVENT:
    case NTH_OB_SEMAPHORE:
    case NTH_OB_MUTANT:
    case NTH_OB_THREAD:
    case NTH_OB_PROCESS:
        return body;
    case NTH_OB_FILE:
        return &((FILE_OBJECT *)body)->Event;
    default:
        return NULL;
    }
}

void nth_object_on_last_handle(enum nth_object_type type,
                               void (*closed)(void *body, struct nth_process *process))
{
    last_handle[type] = closed;
}

/* Freed objects stay readable for a while, so that a late dereference is named and not a crash. */
static void bury(struct object *object)
{
    struct object *oldest = NULL;

    nth_order_forget(object->body, 16);
    nth_lock(&ob_lock);
    object->magic = DEAD;
    object->next = NULL;
    if (quarantine_tail != NULL)
        quarantine_tail->next = object;
    else
        quarantine_head = object;
    quarantine_tail = object;
    if (++quarantined > QUARANTINE) {
        oldest = quarantine_head;
        quarantine_head = oldest->next;
        quarantined--;
    }
    nth_unlock(&ob_lock);
    free(oldest);
}

/* Nobody can hold it: the count was zero and no look-up (by handle, name or list) revives a zero.
 */
static void destroy(struct object *object)
{
    while (object->loans != NULL) {
        struct loan *loan = object->loans;
        object->loans = loan->next;
        nth_ledger_remove("object", loan);
        free(loan);
    }
    if (object->destroy != NULL)
        object->destroy(object->body);
    bury(object);
}

/* The reaper's thread: destroys, one after the other, what was let go at raised IRQL. */
static void reap(void *context)
{
    nth_lock(&ob_lock);
    for (;;) {
        struct object *object = doomed;
        reaper_busy = object != NULL;
        if (object != NULL)
            doomed = object->next;
        else if (drain_waiter != NULL)
            nth_unpark(drain_waiter);
        nth_unlock(&ob_lock);
        if (object != NULL)
            destroy(object);
        else
            nth_park(UINT64_MAX);
        nth_lock(&ob_lock);
    }
}

/* ObDereferenceObject: callable at DISPATCH_LEVEL, where a file's IRP_MJ_CLOSE may not be sent: a
 * system thread does it later, as NT's worker does. */
static void destroy_later(struct object *object)
{
    nth_lock(&ob_lock);
    object->next = doomed;
    doomed = object;
    const bool is_first = !has_reaper;
    has_reaper = true;
    if (reaper != NULL)
        nth_unpark(reaper);
    nth_unlock(&ob_lock);
    if (!is_first)
        return;
    struct nth_thread *thread = nth_service_create("object reaper", reap, NULL);
    nth_lock(&ob_lock);
    reaper = thread;
    nth_unpark(reaper);
    nth_unlock(&ob_lock);
}

/* Before drivers are unloaded for good: what is doomed is gone when this returns. */
static void drain(void)
{
    nth_lock(&ob_lock);
    drain_waiter = nth_self();
    while (doomed != NULL || reaper_busy) {
        if (reaper != NULL)
            nth_unpark(reaper);
        nth_unlock(&ob_lock);
        nth_park(UINT64_MAX);
        nth_lock(&ob_lock);
    }
    drain_waiter = NULL;
    has_reaper = false;
    reaper = NULL;
    nth_unlock(&ob_lock);
}
NTH_SUBSYSTEM(objects, 46, NULL, drain);

static void drop(struct object *object, bool later)
{
    const long left = atomic_fetch_sub(&object->pointers, 1) - 1;

    if (left < 0)
        nth_stop("object-dereferenced-twice", "object %p has no reference left",
                 (void *)object->body);
    if (left > 0)
        return;
    if (later || (nth_self() != NULL && nth_irql() > PASSIVE_LEVEL))
        destroy_later(object);
    else
        destroy(object);
}

void *nth_object_reference(void *body)
{
    struct object *object = object_of(body);

    if (atomic_fetch_add(&object->pointers, 1) <= 0)
        nth_stop("object-dereferenced-twice", "object %p is being deleted", body);
    return body;
}

void nth_object_release(void *body)
{
    drop(object_of(body), false);
}

/* False when the last reference has gone: the object is on its way to its destructor. */
static bool try_reference(struct object *object)
{
    long seen = object->pointers;

    while (seen > 0)
        if (atomic_compare_exchange_weak(&object->pointers, &seen, seen + 1))
            return true;
    return false;
}

bool nth_object_try_reference(void *body)
{
    return try_reference((struct object *)((char *)body - offsetof(struct object, body)));
}

static void lend(struct object *object)
{
    if (nth_call_name() == NULL)
        return;
    struct loan *loan = checked_calloc(sizeof(*loan));
    loan->site = nth_call_site();
    nth_ledger_add("object", loan, 0, 0);
    nth_lock(&ob_lock);
    loan->next = object->loans;
    object->loans = loan;
    nth_unlock(&ob_lock);
}

void *nth_object_lend(void *body)
{
    nth_object_reference(body);
    lend(object_of(body));
    return body;
}

/* The driver gives one reference back: preferably one that the same image took, else one that
 * another image handed over. */
static void give_back(struct object *object)
{
    if (nth_call_name() == NULL)
        return;
    const struct nth_image *image = nth_image_at(nth_call_site());
    nth_lock(&ob_lock);
    struct loan **best = &object->loans;
    for (struct loan **link = &object->loans; *link != NULL; link = &(*link)->next) {
        if (nth_image_at((*link)->site) == image) {
            best = link;
            break;
        }
    }
    struct loan *loan = *best;
    if (loan != NULL)
        *best = loan->next;
    nth_unlock(&ob_lock);
    if (loan == NULL)
        nth_stop("object-dereferenced-twice", "no driver holds a reference to object %p",
                 (void *)object->body);
    nth_ledger_remove("object", loan);
    free(loan);
}

/* ---- handles ---- */

static struct nth_handle_table *table_create(struct nth_process *process)
{
    struct nth_handle_table *table = checked_calloc(sizeof(*table));

    table->process = process;
    table->count = 1;
    return table;
}

struct nth_handle_table *nth_handle_table_create(struct nth_process *process)
{
    return table_create(process);
}

static struct entry *entry_at(struct nth_handle_table *table, unsigned index)
{
    return &table->chunks[index / CHUNK][index % CHUNK];
}

/* ob_lock held. Kernel handles live in one table of their own; its values are negative. */
static struct nth_handle_table *table_of(struct nth_process *process)
{
    if (process != NULL)
        return process->handles;
    if (kernel_handles == NULL)
        kernel_handles = table_create(NULL);
    return kernel_handles;
}

static bool is_kernel_handle(HANDLE handle)
{
    return (LONG_PTR)handle < -2;
}

/* ob_lock held. NULL: no such handle. The two low bits of a handle are the application's. */
static struct entry *entry_of(struct nth_process *process, HANDLE handle)
{
    struct nth_handle_table *table = table_of(process);
    const ULONG_PTR value = process == NULL ? (ULONG_PTR)handle & 0x7fffffff : (ULONG_PTR)handle;

    if ((process == NULL) != is_kernel_handle(handle) || table == NULL)
        return NULL;
    if (value / 4 == 0 || value / 4 >= table->count)
        return NULL;
    struct entry *entry = entry_at(table, (unsigned)(value / 4));
    return entry->object != NULL ? entry : NULL;
}

/* ob_lock held. 0: none left, or the table is closed. */
static unsigned take_entry(struct nth_handle_table *table)
{
    if (table == NULL || table->is_closed)
        return 0;
    if (table->first_free != 0) {
        const unsigned index = table->first_free;
        table->first_free = entry_at(table, index)->next_free;
        return index;
    }
    if (table->count == MAX_HANDLES)
        return 0;
    if (table->chunks[table->count / CHUNK] == NULL)
        table->chunks[table->count / CHUNK] = checked_calloc(CHUNK * sizeof(struct entry));
    return table->count++;
}

NTSTATUS nth_handle_insert(struct nth_process *process, void *body, ACCESS_MASK access,
                           HANDLE *handle)
{
    struct object *object = object_of(body);
    /* A user process closes its own handles when it ends; the others are somebody's to close. */
    const bool in_ledger =
        nth_call_name() != NULL && (process == NULL || process == nth_process_system());

    nth_object_reference(body);
    nth_lock(&ob_lock);
    struct nth_handle_table *table = table_of(process);
    const unsigned index = take_entry(table);
    const bool is_closed = table == NULL || table->is_closed;
    struct entry *entry = NULL;
    if (index != 0) {
        entry = entry_at(table, index);
        *entry = (struct entry){.object = object, .access = access, .in_ledger = in_ledger};
        object->handles++;
    }
    nth_unlock(&ob_lock);
    if (index == 0) {
        nth_object_release(body);
        return is_closed ? STATUS_PROCESS_IS_TERMINATING : STATUS_INSUFFICIENT_RESOURCES;
    }
    if (in_ledger)
        nth_ledger_add("handle", entry, 0, 0);
    const ULONG_PTR value = (ULONG_PTR)index * 4;
    *handle = (HANDLE)(process != NULL ? value : value | 0xffffffff80000000u);
    return STATUS_SUCCESS;
}

static NTSTATUS lookup(struct nth_process *process, HANDLE handle, ACCESS_MASK access, int type,
                       void **body, ACCESS_MASK *granted)
{
    NTSTATUS status = STATUS_SUCCESS;

    *body = NULL;
    nth_lock(&ob_lock);
    struct entry *entry = entry_of(process, handle);
    if (entry == NULL)
        status = STATUS_INVALID_HANDLE;
    else if (type >= 0 && entry->object->type != (enum nth_object_type)type)
        status = STATUS_OBJECT_TYPE_MISMATCH;
    else if ((access & ~entry->access) != 0)
        status = STATUS_ACCESS_DENIED;
    if (NT_SUCCESS(status)) {
        atomic_fetch_add(&entry->object->pointers, 1); /* the handle's own keeps it above zero */
        *body = entry->object->body;
        *granted = entry->access;
    }
    nth_unlock(&ob_lock);
    return status;
}

/* NtCurrentProcess() and NtCurrentThread(). */
static void *pseudo_handle(struct nth_process *process, HANDLE handle, int *type)
{
    if ((LONG_PTR)handle == -1) {
        *type = NTH_OB_PROCESS;
        return process != NULL ? process : nth_process_current();
    }
    if ((LONG_PTR)handle == -2) {
        *type = NTH_OB_THREAD;
        return nth_ethread_current();
    }
    return NULL;
}

static NTSTATUS lookup_any(struct nth_process *process, HANDLE handle, ACCESS_MASK access, int type,
                           void **body, ACCESS_MASK *granted)
{
    int pseudo_type = 0;
    void *pseudo = pseudo_handle(process, handle, &pseudo_type);

    *body = NULL;
    if (pseudo == NULL)
        return lookup(process, handle, access, type, body, granted);
    if (type >= 0 && type != pseudo_type)
        return STATUS_OBJECT_TYPE_MISMATCH;
    *granted = THREAD_ALL_ACCESS; /* has the same value as PROCESS_ALL_ACCESS */
    *body = nth_object_reference(pseudo);
    return STATUS_SUCCESS;
}

NTSTATUS nth_handle_lookup(struct nth_process *process, HANDLE handle, ACCESS_MASK access, int type,
                           void **body)
{
    ACCESS_MASK granted = 0;

    return lookup_any(process, handle, access, type, body, &granted);
}

/* The rest of a close, with the handle already out of its table. */
static void finish_close(struct object *object, struct nth_process *process, bool was_last)
{
    if (was_last && last_handle[object->type] != NULL)
        last_handle[object->type](object->body, process);
    drop(object, false);
}

/* ob_lock held. */
static bool forget_entry(struct nth_handle_table *table, unsigned index, struct object **object)
{
    struct entry *entry = entry_at(table, index);

    *object = entry->object;
    if (entry->in_ledger)
        nth_ledger_remove("handle", entry);
    *entry = (struct entry){.next_free = table->first_free};
    table->first_free = index;
    return --(*object)->handles == 0;
}

NTSTATUS nth_handle_close(struct nth_process *process, HANDLE handle)
{
    struct object *object = NULL;
    bool was_last = false;

    if ((LONG_PTR)handle == -1 || (LONG_PTR)handle == -2)
        return STATUS_SUCCESS;
    nth_lock(&ob_lock);
    if (entry_of(process, handle) != NULL)
        was_last = forget_entry(table_of(process), ((ULONG_PTR)handle & 0x7fffffff) / 4, &object);
    nth_unlock(&ob_lock);
    if (object == NULL)
        return STATUS_INVALID_HANDLE;
    finish_close(object, process, was_last);
    return STATUS_SUCCESS;
}

void nth_handle_table_close(struct nth_process *process)
{
    nth_lock(&ob_lock);
    struct nth_handle_table *table = process->handles;
    if (table != NULL)
        table->is_closed = true;
    const unsigned count = table != NULL ? table->count : 0;
    nth_unlock(&ob_lock);
    for (unsigned i = 1; i < count; i++) {
        struct object *object = NULL;
        bool was_last = false;
        nth_lock(&ob_lock);
        if (entry_at(table, i)->object != NULL)
            was_last = forget_entry(table, i, &object);
        nth_unlock(&ob_lock);
        if (object != NULL)
            finish_close(object, process, was_last);
    }
    nth_lock(&ob_lock);
    process->handles = NULL;
    nth_unlock(&ob_lock);
    for (unsigned i = 0; table != NULL && i < MAX_HANDLES / CHUNK; i++)
        free(table->chunks[i]);
    free(table);
}

NTSTATUS nth_handle_duplicate(struct nth_process *from, HANDLE handle, struct nth_process *to,
                              HANDLE *result)
{
    void *body = NULL;
    ACCESS_MASK access = 0;
    NTSTATUS status = lookup_any(from, handle, 0, -1, &body, &access);

    if (!NT_SUCCESS(status))
        return status;
    status = nth_handle_insert(to, body, access, result);
    nth_object_release(body);
    return status;
}

unsigned nth_handle_count(struct nth_process *process)
{
    unsigned open = 0;

    nth_lock(&ob_lock);
    struct nth_handle_table *table = table_of(process);
    for (unsigned i = 1; table != NULL && i < table->count; i++)
        open += entry_at(table, i)->object != NULL;
    nth_unlock(&ob_lock);
    return open;
}

static void user_object_closed(void *body, struct nth_process *process)
{
    struct nth_user_object *object = body;

    (void)process;
    if (object->closed != NULL)
        object->closed(body);
}

static void user_objects_boot(const struct nth_config *config)
{
    (void)config;
    nth_object_on_last_handle(NTH_OB_USER, user_object_closed);
}
NTH_SUBSYSTEM(user_objects, 31, user_objects_boot, NULL);

/* ---- names ---- */

static const char *const directories[] = {
    "\\Device",        "\\Driver",   "\\FileSystem",  "\\??",       "\\BaseNamedObjects",
    "\\KernelObjects", "\\Callback", "\\ObjectTypes", "\\Registry", "\\Security"};
/* Other spellings of \??, the longer ones first. */
static const char *const dos_prefixes[] = {
    "\\DosDevices\\Global\\",
    "\\??\\Global\\",
    "\\GLOBAL??\\",
    "\\DosDevices\\",
    "\\\\.\\",
    "\\\\?\\",
    "\\??\\",
};

enum { NAME_LIMIT = 32767, LINK_LIMIT = 32 };
static _Thread_local WCHAR canonical[2][NAME_LIMIT + 1];

static WCHAR upper(WCHAR c)
{
    return c >= 'a' && c <= 'z' ? (WCHAR)(c - 32) : c;
}

/* Whether text begins with an ASCII prefix, ignoring case. */
static bool has_prefix(const WCHAR *text, size_t length, const char *prefix)
{
    const size_t n = strlen(prefix);

    if (length < n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (upper(text[i]) != upper((WCHAR)prefix[i]))
            return false;
    return true;
}

static bool same_text(const WCHAR *a, const WCHAR *b, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (upper(a[i]) != upper(b[i]))
            return false;
    return true;
}

/* Writes text with one spelling of the \?? directory to into; its length, 0 when too long. */
static size_t canonicalise(const WCHAR *text, size_t length, WCHAR *into)
{
    static const WCHAR dos[] = L"\\??\\";
    size_t kept = 0, skip = 0;

    for (unsigned i = 0; i < ARRAYSIZE(dos_prefixes) && kept == 0; i++) {
        if (has_prefix(text, length, dos_prefixes[i])) {
            skip = strlen(dos_prefixes[i]);
            kept = 4;
        }
    }
    if (length - skip + kept > NAME_LIMIT)
        return 0;
    memmove(into + kept, text + skip, (length - skip) * sizeof(WCHAR));
    memcpy(into, dos, kept * sizeof(WCHAR));
    return length - skip + kept;
}

/* ob_lock held. The longest name that is the path or a leading part of it. */
static struct name *longest_name(const WCHAR *path, size_t length)
{
    struct name *best = NULL;

    for (struct name *name = names; name != NULL; name = name->next) {
        if (name->length > length || (best != NULL && name->length <= best->length))
            continue;
        if (name->length < length && path[name->length] != '\\')
            continue;
        if (same_text(name->text, path, name->length))
            best = name;
    }
    return best;
}

/* ob_lock held. */
static struct name **exact_name(const WCHAR *path, size_t length)
{
    for (struct name **link = &names; *link != NULL; link = &(*link)->next)
        if ((*link)->length == length && same_text((*link)->text, path, length))
            return link;
    return NULL;
}

/* Where a name may be put: below a directory that exists. */
static NTSTATUS check_directory(const WCHAR *path, size_t length)
{
    if (length == 0 || path[0] != '\\')
        return STATUS_OBJECT_PATH_SYNTAX_BAD;
    for (unsigned i = 0; i < ARRAYSIZE(directories); i++) {
        const size_t n = strlen(directories[i]);
        if (has_prefix(path, length, directories[i]) && length > n + 1 && path[n] == '\\')
            return STATUS_SUCCESS;
        if (has_prefix(path, length, directories[i]) && length == n)
            return STATUS_OBJECT_NAME_COLLISION;
    }
    for (size_t i = 1; i < length; i++)
        if (path[i] == '\\')
            return STATUS_OBJECT_PATH_NOT_FOUND;
    return STATUS_SUCCESS; /* the root itself */
}

static NTSTATUS insert_name(const UNICODE_STRING *text, struct object *object,
                            const UNICODE_STRING *target)
{
    WCHAR *path = canonical[0];
    const size_t length = canonicalise(text->Buffer, text->Length / sizeof(WCHAR), path);
    NTSTATUS status = check_directory(path, length);

    if (!NT_SUCCESS(status))
        return status;
    struct name *name = checked_calloc(sizeof(*name) + length * sizeof(WCHAR));
    memcpy(name->text, path, length * sizeof(WCHAR));
    name->length = length;
    name->object = object;
    if (target != NULL) {
        WCHAR *to = canonical[1];
        name->target_length = canonicalise(target->Buffer, target->Length / sizeof(WCHAR), to);
        name->target = checked_calloc(name->target_length * sizeof(WCHAR) + 1);
        memcpy(name->target, to, name->target_length * sizeof(WCHAR));
    }
    nth_lock(&ob_lock);
    if (exact_name(path, length) != NULL) {
        status = STATUS_OBJECT_NAME_COLLISION;
    } else {
        name->next = names;
        names = name;
    }
    nth_unlock(&ob_lock);
    if (!NT_SUCCESS(status)) {
        free(name->target);
        free(name);
    }
    return status;
}

NTSTATUS nth_name_insert(const UNICODE_STRING *name, void *body)
{
    return insert_name(name, object_of(body), NULL);
}

NTSTATUS nth_link_insert(const UNICODE_STRING *link, const UNICODE_STRING *target)
{
    return insert_name(link, NULL, target);
}

NTSTATUS nth_name_remove(const UNICODE_STRING *name)
{
    WCHAR *path = canonical[0];
    const size_t length = canonicalise(name->Buffer, name->Length / sizeof(WCHAR), path);
    struct name *found = NULL;

    nth_lock(&ob_lock);
    struct name **link = exact_name(path, length);
    if (link != NULL) {
        found = *link;
        *link = found->next;
    }
    nth_unlock(&ob_lock);
    if (found == NULL)
        return STATUS_OBJECT_NAME_NOT_FOUND;
    free(found->target);
    free(found);
    return STATUS_SUCCESS;
}

/* Follows links until a leading part of the path names an object. It is referenced; *path and
 * *length become what follows it. */
static NTSTATUS resolve(const WCHAR **path, size_t *length, struct object **object)
{
    unsigned buffer = 0;

    for (unsigned links = 0; links < LINK_LIMIT; links++) {
        nth_lock(&ob_lock);
        const struct name *name = longest_name(*path, *length);
        if (name == NULL) {
            nth_unlock(&ob_lock);
            return STATUS_OBJECT_NAME_NOT_FOUND;
        }
        if (name->object != NULL) {
            const bool lives = try_reference(name->object);
            *object = name->object;
            *path += name->length;
            *length -= name->length;
            nth_unlock(&ob_lock);
            return lives ? STATUS_SUCCESS : STATUS_OBJECT_NAME_NOT_FOUND;
        }
        const size_t rest = *length - name->length;
        if (rest + name->target_length > NAME_LIMIT) {
            nth_unlock(&ob_lock);
            return STATUS_OBJECT_NAME_INVALID;
        }
        buffer ^= 1; /* the current path lies in the other one */
        memcpy(canonical[buffer], name->target, name->target_length * sizeof(WCHAR));
        memcpy(canonical[buffer] + name->target_length, *path + name->length, rest * sizeof(WCHAR));
        *path = canonical[buffer];
        *length = rest + name->target_length;
        nth_unlock(&ob_lock);
    }
    return STATUS_OBJECT_NAME_INVALID;
}

/* Why a path led nowhere: its directory or its last part is missing. */
static NTSTATUS not_found(const WCHAR *path, size_t length)
{
    for (unsigned i = 0; i < ARRAYSIZE(directories); i++) {
        const size_t n = strlen(directories[i]);
        if (!has_prefix(path, length, directories[i]) || length <= n || path[n] != '\\')
            continue;
        for (size_t j = n + 1; j < length; j++)
            if (path[j] == '\\')
                return STATUS_OBJECT_PATH_NOT_FOUND;
        return STATUS_OBJECT_NAME_NOT_FOUND;
    }
    return STATUS_OBJECT_PATH_NOT_FOUND;
}

static NTSTATUS find(const UNICODE_STRING *text, struct object **object, UNICODE_STRING *rest)
{
    const size_t given = text->Length / sizeof(WCHAR);
    size_t length = canonicalise(text->Buffer, given, canonical[0]);
    const WCHAR *path = canonical[0];

    if (length == 0)
        return STATUS_OBJECT_NAME_INVALID;
    if (path[0] != '\\')
        return STATUS_OBJECT_PATH_SYNTAX_BAD;
    NTSTATUS status = resolve(&path, &length, object);
    if (status == STATUS_OBJECT_NAME_NOT_FOUND)
        status = not_found(path, length);
    if (!NT_SUCCESS(status))
        return status;
    WCHAR *tail = (WCHAR *)(uintptr_t)path;
    if (length <= given && memcmp(text->Buffer + given - length, path, length * sizeof(WCHAR)) == 0)
        tail = text->Buffer + given - length;
    rest->Buffer = tail;
    rest->Length = rest->MaximumLength = (USHORT)(length * sizeof(WCHAR));
    return STATUS_SUCCESS;
}

NTSTATUS nth_name_find_device(const UNICODE_STRING *path, DEVICE_OBJECT **device,
                              UNICODE_STRING *rest)
{
    struct object *object = NULL;
    const NTSTATUS status = find(path, &object, rest);

    if (!NT_SUCCESS(status) || object == NULL)
        return status;
    if (object->type != NTH_OB_DEVICE) {
        drop(object, false);
        return STATUS_OBJECT_TYPE_MISMATCH;
    }
    *device = (DEVICE_OBJECT *)object->body;
    return STATUS_SUCCESS;
}

NTSTATUS nth_name_find(const UNICODE_STRING *path, int type, void **body)
{
    struct object *object = NULL;
    UNICODE_STRING rest = {0};
    NTSTATUS status = find(path, &object, &rest);

    if (!NT_SUCCESS(status) || object == NULL)
        return status;
    if (rest.Length != 0)
        status = STATUS_OBJECT_PATH_NOT_FOUND;
    else if (type >= 0 && object->type != (enum nth_object_type)type)
        status = STATUS_OBJECT_TYPE_MISMATCH;
    if (!NT_SUCCESS(status)) {
        drop(object, false);
        return status;
    }
    *body = object->body;
    return STATUS_SUCCESS;
}

/* ---- what drivers call ---- */

NTSTATUS NTAPI ObReferenceObjectByHandle(HANDLE Handle, ACCESS_MASK DesiredAccess,
                                         POBJECT_TYPE ObjectType, KPROCESSOR_MODE AccessMode,
                                         PVOID *Object,
                                         POBJECT_HANDLE_INFORMATION HandleInformation)
{
    ACCESS_MASK granted = 0;

    nth_irql_max(PASSIVE_LEVEL);
    *Object = NULL;
    if (nth_fault(NTH_FAULT_OBJECT, "ObReferenceObjectByHandle"))
        return STATUS_INVALID_HANDLE;
    if (is_kernel_handle(Handle) && AccessMode != KernelMode)
        return STATUS_INVALID_HANDLE;
    struct nth_process *process = is_kernel_handle(Handle) ? NULL : nth_process_current();
    /* Bug check 0xC4, 0xF6: a value that a program chose must be checked against its rights. */
    if (process != NULL && AccessMode == KernelMode && process != nth_process_system() &&
        (LONG_PTR)Handle > 0)
        nth_stop("user-handle-as-kernel", "handle %p of process %s (%u) with KernelMode", Handle,
                 process->name, HandleToULong(process->id));
    const NTSTATUS status =
        lookup_any(process, Handle, AccessMode == KernelMode ? 0 : DesiredAccess,
                   ObjectType != NULL ? type_number(ObjectType) : -1, Object, &granted);
    if (!NT_SUCCESS(status))
        return status;
    lend(object_of(*Object));
    if (HandleInformation != NULL)
        *HandleInformation = (OBJECT_HANDLE_INFORMATION){.GrantedAccess = granted};
    return status;
}
NTH_EXPORT(ObReferenceObjectByHandle, 6);

static NTSTATUS NTAPI reference_by_handle_with_tag(HANDLE handle, ACCESS_MASK access,
                                                   POBJECT_TYPE type, KPROCESSOR_MODE mode,
                                                   ULONG tag, PVOID *object,
                                                   POBJECT_HANDLE_INFORMATION information)
{
    return ObReferenceObjectByHandle(handle, access, type, mode, object, information);
}
NTH_EXPORT_AS(ObReferenceObjectByHandleWithTag, "ObReferenceObjectByHandleWithTag",
              reference_by_handle_with_tag, 7);

NTSTATUS NTAPI ObReferenceObjectByPointer(PVOID Object, ACCESS_MASK DesiredAccess,
                                          POBJECT_TYPE ObjectType, KPROCESSOR_MODE AccessMode)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct object *object = object_of(Object);
    if (ObjectType == NULL && AccessMode != KernelMode)
        return STATUS_OBJECT_TYPE_MISMATCH;
    if (ObjectType != NULL && AccessMode != KernelMode &&
        type_number(ObjectType) != (int)object->type)
        return STATUS_OBJECT_TYPE_MISMATCH;
    nth_object_lend(Object);
    return STATUS_SUCCESS;
}
NTH_EXPORT(ObReferenceObjectByPointer, 4);

LONG_PTR FASTCALL ObfReferenceObject(PVOID Object)
{
    nth_irql_max(DISPATCH_LEVEL);
    nth_object_lend(Object);
    return object_of(Object)->pointers;
}
NTH_EXPORT(ObfReferenceObject, 1);
NTH_EXPORT_AS(ObReferenceObject, "ObReferenceObject", ObfReferenceObject, 1);
NTH_EXPORT_AS(ObfReferenceObjectWithTag, "ObfReferenceObjectWithTag", ObfReferenceObject, 2);

static LONG_PTR dereference(void *body, bool later)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct object *object = object_of(body);
    give_back(object);
    const LONG_PTR left = object->pointers - 1;
    drop(object, later);
    return left;
}

LONG_PTR FASTCALL ObfDereferenceObject(PVOID Object)
{
    return dereference(Object, false);
}
NTH_EXPORT(ObfDereferenceObject, 1);
NTH_EXPORT_AS(ObDereferenceObject, "ObDereferenceObject", ObfDereferenceObject, 1);
NTH_EXPORT_AS(ObfDereferenceObjectWithTag, "ObfDereferenceObjectWithTag", ObfDereferenceObject, 2);

static void NTAPI dereference_defer_delete(PVOID object)
{
    dereference(object, true);
}
NTH_EXPORT_AS(ObDereferenceObjectDeferDelete, "ObDereferenceObjectDeferDelete",
              dereference_defer_delete, 1);
NTH_EXPORT_AS(ObDereferenceObjectDeferDeleteWithTag, "ObDereferenceObjectDeferDeleteWithTag",
              dereference_defer_delete, 2);

NTSTATUS NTAPI ObCloseHandle(HANDLE Handle, KPROCESSOR_MODE PreviousMode)
{
    nth_irql_max(PASSIVE_LEVEL);
    if (is_kernel_handle(Handle) && PreviousMode != KernelMode)
        return STATUS_INVALID_HANDLE;
    return nth_handle_close(is_kernel_handle(Handle) ? NULL : nth_process_current(), Handle);
}
NTH_EXPORT(ObCloseHandle, 2);

NTSTATUS NTAPI ZwClose(HANDLE Handle)
{
    return ObCloseHandle(Handle, KernelMode);
}
NTH_EXPORT(ZwClose, 1);

static NTSTATUS NTAPI nt_close(HANDLE handle)
{
    return ObCloseHandle(handle, nth_previous_mode());
}
NTH_EXPORT_AS(NtClose, "NtClose", nt_close, 1);

static NTSTATUS NTAPI open_by_pointer(PVOID object, ULONG attributes, PVOID state,
                                      ACCESS_MASK access, POBJECT_TYPE type, KPROCESSOR_MODE mode,
                                      PHANDLE handle)
{
    const ULONG known = OBJ_EXCLUSIVE | OBJ_INHERIT | OBJ_KERNEL_HANDLE | OBJ_FORCE_ACCESS_CHECK;

    nth_irql_max(APC_LEVEL);
    if ((attributes & ~known) != 0)
        return STATUS_INVALID_PARAMETER;
    if (state != NULL || (attributes & (OBJ_EXCLUSIVE | OBJ_FORCE_ACCESS_CHECK)) != 0)
        nth_stop("not-provided", "ObOpenObjectByPointer: access state, exclusive opens and "
                                 "forced checks are not provided");
    if (type != NULL ? type_number(type) != (int)object_of(object)->type : mode != KernelMode)
        return STATUS_OBJECT_TYPE_MISMATCH;
    if (nth_fault(NTH_FAULT_OBJECT, "ObOpenObjectByPointer"))
        return STATUS_INSUFFICIENT_RESOURCES;
    const bool kernel = (attributes & OBJ_KERNEL_HANDLE) != 0;
    return nth_handle_insert(kernel ? NULL : nth_process_current(), object, access, handle);
}
NTH_EXPORT_AS(ObOpenObjectByPointer, "ObOpenObjectByPointer", open_by_pointer, 7);

static BOOLEAN NTAPI is_kernel(HANDLE handle)
{
    return is_kernel_handle(handle);
}
NTH_EXPORT_AS(ObIsKernelHandle, "ObIsKernelHandle", is_kernel, 1);

static BOOLEAN NTAPI reference_safe(PVOID object)
{
    nth_irql_max(DISPATCH_LEVEL);
    if (!try_reference(object_of(object)))
        return FALSE;
    lend(object_of(object));
    return TRUE;
}
NTH_EXPORT_AS(ObReferenceObjectSafe, "ObReferenceObjectSafe", reference_safe, 1);
