/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Binds what a driver imports: to an image loaded under that file name, else to the host's export
 * of that name whatever module is named, else to a trap that says what is missing when it is
 * called. Every import of a function gets a thunk of its own image, so that the caller is known
 * even when it jumped instead of calling. Binding never fails for a name nobody provides.
 */
#include "pe/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

enum { THUNK_BYTES = 32, MAX_DESCRIPTORS = 256, MAX_IMPORTS = 8192, DESCRIPTOR = 20 };

#define BY_ORDINAL (1ull << 63)
#define RUNTIME    "nthost.exe" /* what instrumentation calls, in a user module too */

extern const struct nth_export __start_nth_exports[] __attribute__((weak));
extern const struct nth_export __stop_nth_exports[] __attribute__((weak));

_Thread_local struct nth_crossing *nth_crossings __attribute__((tls_model("initial-exec")));
uint32_t nth_thunk_events;

/* ---- the host's exports ---- */

static const struct nth_export **sorted; /* set once, constant after */
static size_t sorted_count;
static pthread_once_t sorted_once = PTHREAD_ONCE_INIT;

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct nth_export *const *)a)->name,
                  (*(const struct nth_export *const *)b)->name);
}

static void sort_exports(void)
{
    sorted_count = (size_t)(__stop_nth_exports - __start_nth_exports);
    sorted = calloc(sorted_count + 1, sizeof *sorted);
    if (!sorted)
        nth_fail("no memory for the table of exports");
    for (size_t i = 0; i < sorted_count; i++)
        sorted[i] = &__start_nth_exports[i];
    qsort(sorted, sorted_count, sizeof *sorted, by_name);
    for (size_t i = 1; i < sorted_count; i++)
        if (strcmp(sorted[i]->name, sorted[i - 1]->name) == 0)
            nth_fail("%s is exported twice", sorted[i]->name);
}

const struct nth_export *nth_export_entry(const char *name)
{
    const struct nth_export key = {.name = name}, *wanted = &key;

    pthread_once(&sorted_once, sort_exports);
    const struct nth_export *const *found =
        bsearch(&wanted, sorted, sorted_count, sizeof *sorted, by_name);
    return found ? *found : NULL;
}

/* ---- thunks ---- */

/* mov r11, thunk; mov rax, nth_thunk_common; jmp rax. Both registers are free at a call. */
static void emit(uint8_t *code, const struct nth_thunk *thunk)
{
    static const uint8_t mov_r11[] = {0x49, 0xbb}, mov_rax[] = {0x48, 0xb8},
                         jmp_rax[] = {0xff, 0xe0};

    memcpy(code, mov_r11, 2);
    nth_put64(code + 2, (uint64_t)thunk);
    memcpy(code + 10, mov_rax, 2);
    nth_put64(code + 12, (uint64_t)nth_thunk_common);
    memcpy(code + 20, jmp_rax, 2);
}

static void *emit_all(const struct nth_thunk *thunks, unsigned count, size_t *bytes)
{
    *bytes = ((size_t)count * THUNK_BYTES + 4095) & ~(size_t)4095;
    uint8_t *code = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        return NULL;
    memset(code, 0xcc, *bytes);
    for (unsigned i = 0; i < count; i++)
        emit(code + (size_t)i * THUNK_BYTES, &thunks[i]);
    if (mprotect(code, *bytes, PROT_READ | PROT_EXEC) == 0)
        return code;
    munmap(code, *bytes);
    return NULL;
}

static uint64_t stack_arguments(int nargs)
{
    return nargs > 4 ? (uint64_t)(nargs - 4 + 1) & ~1ull : 0;
}

/* What a driver reaches when it calls an import that nobody provides. */
static void NTAPI import_trap(void)
{
    nth_stop("unresolved-import", "%s is provided by no module", nth_call_name());
}

/* The crossing under which the host works for itself; see nth_host_begin. */
static _Thread_local const void *host_base;

const void *nth_host_begin(void)
{
    const void *before = host_base;

    host_base = nth_crossings;
    return before;
}

void nth_host_end(const void *before)
{
    host_base = before;
}

void nth_host_forget(uint64_t rsp)
{
    if ((uint64_t)host_base < rsp)
        host_base = NULL;
}

/* The newest crossing, if it is a driver's. A user module's call is none of the kernel: what the
 * host does for it, it does by itself. */
static const struct nth_crossing *driver_crossing(void)
{
    const struct nth_crossing *crossing = nth_crossings;

    return crossing && crossing != host_base && !crossing->thunk->export ? crossing : NULL;
}

const char *nth_call_name(void)
{
    const struct nth_crossing *crossing = driver_crossing();

    return crossing ? crossing->thunk->name : NULL;
}

/* A driver that jumps to an import as its last act leaves no address of its own: then the start of
 * its image stands for it. */
uintptr_t nth_call_site(void)
{
    const struct nth_crossing *crossing = driver_crossing();

    if (!crossing)
        return 0;
    if (crossing->thunk->image && !nth_image_at(crossing->site))
        return (uintptr_t)crossing->thunk->image->base;
    return crossing->site;
}

void nth_thunk_event(struct nth_crossing *crossing)
{
    nth_trace_call(crossing->thunk->name, crossing->site);
    nth_point();
}

static void fill_thunk(struct nth_thunk *thunk, const struct nth_export *export, bool is_user)
{
    thunk->function = is_user ? (void *)nth_user_gate : export->function;
    thunk->arguments = stack_arguments(export->nargs);
    thunk->name = export->name;
    thunk->export = is_user ? export : NULL;
}

/* Thunks of no image, made once a function. */
static void *thunk_of(const struct nth_export *export, bool is_user)
{
    static struct nth_mutex lock = NTH_MUTEX_INIT;
    static struct found {
        struct found *next;
        const struct nth_export *export;
        struct nth_thunk thunk;
        void *code;
    } *all;

    if (export->nargs < 0)
        return export->function;
    nth_lock(&lock);
    struct found *found = all;
    while (found && found->export != export)
        found = found->next;
    if (!found && (found = calloc(1, sizeof *found))) {
        size_t bytes;
        found->export = export;
        fill_thunk(&found->thunk, export, is_user);
        found->code = emit_all(&found->thunk, 1, &bytes);
        found->next = all;
        all = found;
    }
    nth_unlock(&lock);
    return found ? found->code : NULL;
}

void *nth_export_find(const char *name) /* MmGetSystemRoutineAddress */
{
    const struct nth_export *export = nth_export_entry(name);

    return export ? thunk_of(export, false) : NULL;
}

/* ---- calls of user modules ---- */

const struct nth_export *(*nth_user_resolve_hook)(const char *module, const char *name);
void *(*nth_user_gate_hook)(const struct nth_export *export, uint64_t *result);

void *nth_user_thunk(const struct nth_export *export)
{
    return thunk_of(export, true);
}

void *NTAPI nth_user_gate_ask(const struct nth_thunk *thunk, uint64_t *result)
{
    return nth_user_gate_hook(thunk->export, result);
}

void *nth_crossing_mark(void)
{
    return nth_crossings;
}

void nth_crossing_return(void *mark)
{
    nth_crossings = mark;
}

/* ---- binding ---- */

static struct nth_image *image_named(const char *name)
{
    for (unsigned i = 0; i < NTH_IMAGES; i++)
        if (atomic_load(&nth_images[i].live) && !nth_images[i].dead && !nth_images[i].is_user &&
            strcasecmp(nth_images[i].name, name) == 0)
            return &nth_images[i];
    return NULL;
}

struct binding {
    struct nth_image *image;
    const char *module;
    struct nth_image *provider; /* loaded image of that name, or NULL */
    char *names;                /* next free byte for the names of traps */
    char *names_end;
};

/* "module!name" in memory that lives as long as the image. */
static const char *trap_name(struct binding *binding, const char *name)
{
    const int room = (int)(binding->names_end - binding->names);
    char *text = binding->names;
    const int length = snprintf(text, (size_t)room, "%s!%s", binding->module, name);

    if (length < 0 || length >= room)
        return "an import of a driver with very long names";
    binding->names += length + 1;
    return text;
}

/* The value for one slot of the import address table; *thunk is filled when it needs one. */
static uint64_t resolve(struct binding *binding, const char *name, struct nth_thunk *thunk)
{
    void *address = binding->provider ? nth_image_export(binding->provider, name) : NULL;
    const bool is_user = binding->image->is_user && strcasecmp(binding->module, RUNTIME) != 0;
    const struct nth_export *export = NULL;

    if (is_user)
        export = nth_user_resolve_hook ? nth_user_resolve_hook(binding->module, name) : NULL;
    else if (!address)
        export = nth_export_entry(name);

    if (address) {
        binding->provider->provides |= 1ull << (binding->image - nth_images);
        return (uint64_t)address;
    }
    if (export && export->nargs < 0)
        return (uint64_t)export->function; /* NTH_DATA and NTH_RAW */
    thunk->image = binding->image;
    if (export) {
        fill_thunk(thunk, export, is_user);
    } else {
        thunk->function = (void *)import_trap;
        thunk->name = trap_name(binding, name);
    }
    return 0;
}

/* Calls visit for each import, with the slot of its address; stops at the first refusal. */
static const char *walk_module(struct nth_image *image, const uint8_t *descriptor,
                               struct binding *binding, unsigned *count)
{
    const uint32_t slots = nth_u32(descriptor + 16);
    const uint32_t lookup = nth_u32(descriptor) ? nth_u32(descriptor) : slots;

    binding->module = nth_image_string(image, nth_u32(descriptor + 12));
    if (!binding->module)
        return "import descriptor names no module";
    binding->provider = image->is_user ? NULL : image_named(binding->module);
    for (uint32_t i = 0;; i++) {
        const uint8_t *entry = nth_image_range(image, lookup + i * 8, 8);
        uint8_t *slot = nth_image_range(image, slots + i * 8, 8);
        if (!entry || !slot || lookup + i * 8 < lookup || slots + i * 8 < slots)
            return "import table reaches beyond the image";
        const uint64_t value = nth_u64(entry);
        if (value == 0)
            return NULL;
        if (*count >= MAX_IMPORTS)
            return "too many imports";
        char ordinal[32];
        const char *name = ordinal;
        if (value & BY_ORDINAL)
            snprintf(ordinal, sizeof ordinal, "#%u", (unsigned)(value & 0xffff));
        else if (value > UINT32_MAX - 2 || !(name = nth_image_string(image, (uint32_t)value + 2)))
            return "import has no name";
        struct nth_thunk *thunk = &image->thunks[*count];
        const uint64_t address = resolve(binding, name, thunk);
        if (address)
            nth_put64(slot, address);
        else
            nth_put64(slot, (uint64_t)image->thunk_code + (uint64_t)(*count)++ * THUNK_BYTES);
    }
}

static const char *walk(struct nth_image *image, struct binding *binding, unsigned *count)
{
    const struct nth_range dir = image->directory[NTH_DIR_IMPORT];

    for (unsigned i = 0; dir.bytes; i++) {
        const uint8_t *descriptor = nth_image_range(image, dir.rva + i * DESCRIPTOR, DESCRIPTOR);
        if (!descriptor || dir.rva + i * DESCRIPTOR < dir.rva || i >= MAX_DESCRIPTORS)
            return "import directory reaches beyond the image";
        if (nth_u32(descriptor + 12) == 0 && nth_u32(descriptor + 16) == 0)
            break;
        const char *error = walk_module(image, descriptor, binding, count);
        if (error)
            return error;
    }
    return NULL;
}

/* Code pages are reserved for as many imports as can be; only those used are touched. */
int nth_import_bind(struct nth_image *image, const char **error)
{
    enum { NAMES = 64 << 10 };
    unsigned count = 0;

    image->thunk_code_bytes = (size_t)MAX_IMPORTS * THUNK_BYTES;
    image->thunk_code = mmap(NULL, image->thunk_code_bytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (image->thunk_code == MAP_FAILED)
        image->thunk_code = NULL;
    image->thunks = calloc(MAX_IMPORTS, sizeof *image->thunks);
    image->names = malloc(NAMES);
    *error = "no memory for import thunks";
    if (!image->thunk_code || !image->thunks || !image->names)
        return -ENOMEM;
    struct binding binding = {
        .image = image, .names = image->names, .names_end = image->names + NAMES};
    *error = walk(image, &binding, &count);
    if (*error)
        return -ENOEXEC;
    image->thunk_count = count;
    for (unsigned i = 0; i < count; i++)
        emit((uint8_t *)image->thunk_code + (size_t)i * THUNK_BYTES, &image->thunks[i]);
    if (mprotect(image->thunk_code, image->thunk_code_bytes, PROT_READ | PROT_EXEC) == 0)
        return 0;
    *error = "import thunks cannot be protected";
    return -ENOMEM;
}

void nth_import_release(struct nth_image *image)
{
    if (image->thunk_code)
        munmap(image->thunk_code, image->thunk_code_bytes);
    free(image->thunks);
    free(image->names);
    image->thunk_code = NULL;
    image->thunks = NULL;
    image->names = NULL;
}
