/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Maps driver binaries: PE32+ files for x64, as Microsoft's "PE Format" page describes them. The
 * file is untrusted: every offset and size is checked against what it lies in before use, and a bad
 * file is refused with a text that says what is wrong. No page is ever writable and executable.
 */
#include "pe/private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    MACHINE_AMD64 = 0x8664,
    MACHINE_ARM64 = 0xaa64,
    MACHINE_I386 = 0x14c,
    MAGIC_PE32_PLUS = 0x20b,
    MAGIC_PE32 = 0x10b,
    SUBSYSTEM_NATIVE = 1,
    OPTIONAL_FIXED = 112, /* bytes of the optional header before the data directories */
    SECTION_HEADER = 40,
    RELOCATION_ABSOLUTE = 0,
    RELOCATION_DIR64 = 10,
    RELOCATIONS_STRIPPED = 1, /* of the characteristics, which precede the optional header */
    IMAGE_LIMIT = 64 << 20,
};

#define SECTION_EXECUTE 0x20000000u
#define SECTION_WRITE   0x80000000u
#define DEFAULT_COOKIE  0x00002B992DDFA232ull /* what linkers store; means "not set yet" */

struct nth_image nth_images[NTH_IMAGES];
static atomic_uint slots_used;                      /* those from here on never were */
static struct nth_mutex load_lock = NTH_MUTEX_INIT; /* guards the table and every image's links */

/* The file as read, while it is being mapped. */
struct file {
    uint8_t *bytes;
    size_t size;
    const uint8_t *header; /* optional header */
    const uint8_t *sections;
};

const char *nth_image_error(const char *format, ...)
{
    static _Thread_local char text[256];
    char fresh[sizeof text]; /* an argument may be the former text */
    va_list args;

    va_start(args, format);
    vsnprintf(fresh, sizeof fresh, format, args);
    va_end(args);
    memcpy(text, fresh, sizeof text);
    return text;
}

/* ---- views of a mapped image ---- */

void *nth_image_range(const struct nth_image *image, uint32_t rva, size_t bytes)
{
    if (rva > image->size || bytes > image->size - rva)
        return NULL;
    return image->base + rva;
}

const char *nth_image_string(const struct nth_image *image, uint32_t rva)
{
    if (rva == 0 || rva >= image->size)
        return NULL;
    const char *text = (const char *)image->base + rva;
    return memchr(text, 0, image->size - rva) ? text : NULL;
}

static int protection_at(const struct nth_image *image, uint32_t rva)
{
    for (unsigned i = 0; i < image->section_count; i++)
        if (rva - image->sections[i].rva < image->sections[i].bytes)
            return image->sections[i].prot;
    return PROT_READ; /* headers, and gaps between sections */
}

bool nth_image_executable(const struct nth_image *image, uint32_t rva)
{
    return protection_at(image, rva) & PROT_EXEC;
}

bool nth_image_constant(const struct nth_image *image, uint32_t rva, size_t bytes)
{
    if (!nth_image_range(image, rva, bytes))
        return false;
    for (size_t i = 0; i < bytes; i += PAGE) /* protections change at page boundaries only */
        if (protection_at(image, rva + (uint32_t)i) & PROT_WRITE)
            return false;
    return bytes == 0 || !(protection_at(image, rva + (uint32_t)bytes - 1) & PROT_WRITE);
}

const struct nth_section *nth_image_section(const struct nth_image *image, const char *name)
{
    for (unsigned i = 0; i < image->section_count; i++)
        if (strcmp(image->sections[i].name, name) == 0)
            return &image->sections[i];
    return NULL;
}

struct nth_image *nth_image_at(uintptr_t address)
{
    const unsigned used = atomic_load_explicit(&slots_used, memory_order_acquire);

    for (unsigned i = 0; i < used; i++) {
        struct nth_image *image = &nth_images[i];
        if (atomic_load_explicit(&image->live, memory_order_acquire) &&
            address - (uintptr_t)image->base < image->size)
            return image;
    }
    return NULL;
}

void *nth_image_entry(const struct nth_image *image)
{
    return image->entry ? image->base + image->entry : NULL;
}

void *nth_image_base(const struct nth_image *image)
{
    return image->base;
}

size_t nth_image_size(const struct nth_image *image)
{
    return image->size;
}

const void *nth_image_resources(const struct nth_image *image, size_t *bytes)
{
    const struct nth_range dir = image->directory[NTH_DIR_RESOURCE];

    *bytes = dir.bytes;
    return dir.bytes ? nth_image_range(image, dir.rva, dir.bytes) : NULL;
}

const char *nth_image_name(const struct nth_image *image)
{
    return image->name;
}

const char *nth_image_path(const struct nth_image *image)
{
    return image->path;
}

/* ---- headers ---- */

static const char *read_file(const char *path, struct file *file)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0)
        return nth_image_error("cannot open it: %s", strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > IMAGE_LIMIT) {
        close(fd);
        return "not a regular file of at most 64 MiB";
    }
    file->size = (size_t)st.st_size;
    file->bytes = malloc(file->size + 1);
    size_t done = 0;
    while (file->bytes && done < file->size) {
        const ssize_t n = read(fd, file->bytes + done, file->size - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    close(fd);
    return file->bytes && done == file->size ? NULL : "cannot be read";
}

static const char *check_machine(uint16_t machine)
{
    if (machine == MACHINE_AMD64)
        return NULL;
    if (machine == MACHINE_ARM64)
        return "it is for ARM64; this host runs x64 drivers";
    if (machine == MACHINE_I386)
        return "it is for 32-bit x86; this host runs x64 drivers";
    return nth_image_error("it is for machine 0x%x; this host runs x64 drivers", machine);
}

/* Finds the headers and checks those fields that do not depend on others. */
static const char *parse_headers(struct file *file, struct nth_image *image)
{
    if (file->size < 64 || nth_u16(file->bytes) != 0x5a4d)
        return "not a PE file: no MZ header";
    const uint32_t at = nth_u32(file->bytes + 0x3c);
    if (at > file->size || file->size - at < 24 || nth_u32(file->bytes + at) != 0x4550)
        return "not a PE file: no PE header";
    const uint8_t *coff = file->bytes + at + 4;
    const char *error = check_machine(nth_u16(coff));
    if (error)
        return error;
    const size_t optional = nth_u16(coff + 16), rest = file->size - at - 24;
    image->section_count = nth_u16(coff + 2);
    if (optional < OPTIONAL_FIXED || optional > rest)
        return "optional header does not fit the file";
    file->header = coff + 20;
    file->sections = file->header + optional;
    if (nth_u16(file->header) != MAGIC_PE32_PLUS)
        return nth_u16(file->header) == MAGIC_PE32 ? "PE32 header in an x64 file"
                                                   : "unknown kind of optional header";
    if (image->section_count == 0 || image->section_count > NTH_SECTIONS ||
        image->section_count * SECTION_HEADER > rest - optional)
        return "section table does not fit the file";
    const uint32_t directories = nth_u32(file->header + 108);
    if (directories > NTH_DIRECTORIES || OPTIONAL_FIXED + directories * 8 > optional)
        return "data directories do not fit the optional header";
    for (uint32_t i = 0; i < directories; i++) {
        image->directory[i].rva = nth_u32(file->header + OPTIONAL_FIXED + i * 8);
        image->directory[i].bytes = nth_u32(file->header + OPTIONAL_FIXED + i * 8 + 4);
    }
    return NULL;
}

static const char *check_layout(const struct file *file, struct nth_image *image)
{
    const uint32_t section_alignment = nth_u32(file->header + 32);
    const uint32_t file_alignment = nth_u32(file->header + 36);
    const uint32_t size = nth_u32(file->header + 56), headers = nth_u32(file->header + 60);

    if (!image->is_user && nth_u16(file->header + 68) != SUBSYSTEM_NATIVE)
        return nth_image_error("subsystem %u: not a kernel-mode (native) image",
                               nth_u16(file->header + 68));
    if (section_alignment < PAGE || section_alignment & (section_alignment - 1) ||
        file_alignment & (file_alignment - 1) || file_alignment > section_alignment)
        return "section or file alignment is not one a driver can have";
    if (size < PAGE || size > IMAGE_LIMIT)
        return "image size is not between 4 KiB and 64 MiB";
    if (headers > size || headers > file->size ||
        headers < (size_t)(file->sections - file->bytes) + image->section_count * SECTION_HEADER)
        return "header size does not cover the headers";
    image->size = (size + PAGE - 1) & ~(size_t)(PAGE - 1);
    image->entry = nth_u32(file->header + 16);
    return NULL;
}

/* Everything can be read. Older linkers mark INIT writable and executable: it is never both here.
 */
static int section_protection(uint32_t flags)
{
    if (flags & SECTION_EXECUTE)
        return PROT_READ | PROT_EXEC;
    return flags & SECTION_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;
}

static const char *parse_sections(const struct file *file, struct nth_image *image)
{
    const uint32_t alignment = nth_u32(file->header + 32);
    uint64_t end = nth_u32(file->header + 60); /* of what comes before */

    for (unsigned i = 0; i < image->section_count; i++) {
        const uint8_t *header = file->sections + i * SECTION_HEADER;
        struct nth_section *section = &image->sections[i];
        const uint32_t raw_bytes = nth_u32(header + 16), raw = nth_u32(header + 20);

        memcpy(section->name, header, 8);
        section->rva = nth_u32(header + 12);
        section->bytes = nth_u32(header + 8) ? nth_u32(header + 8) : raw_bytes;
        section->prot = section_protection(nth_u32(header + 36));
        if (section->rva % alignment != 0 || section->rva < end)
            return nth_image_error("section %u overlaps what is before it or is not aligned", i);
        end = (uint64_t)section->rva + section->bytes;
        if (end > image->size)
            return nth_image_error("section %u reaches beyond the image", i);
        if (raw_bytes && (raw > file->size || raw_bytes > file->size - raw))
            return nth_image_error("section %u reaches beyond the end of the file", i);
        end = (end + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    }
    return NULL;
}

static const char *copy_image(const struct file *file, struct nth_image *image)
{
    void *base =
        mmap(NULL, image->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (base == MAP_FAILED)
        return "no memory to map it";
    image->base = base;
    memcpy(base, file->bytes, nth_u32(file->header + 60));
    for (unsigned i = 0; i < image->section_count; i++) {
        const uint8_t *header = file->sections + i * SECTION_HEADER;
        const uint32_t raw_bytes = nth_u32(header + 16), raw = nth_u32(header + 20);
        const struct nth_section *section = &image->sections[i];
        if (raw_bytes)
            memcpy(image->base + section->rva, file->bytes + raw,
                   raw_bytes < section->bytes ? raw_bytes : section->bytes);
    }
    return NULL;
}

/* ---- relocation, cookie, unwind data ---- */

static const char *relocate_block(struct nth_image *image, const uint8_t *block, uint32_t bytes,
                                  uint64_t delta)
{
    for (uint32_t i = 8; i + 2 <= bytes; i += 2) {
        const uint16_t entry = nth_u16(block + i);
        if (entry >> 12 == RELOCATION_ABSOLUTE)
            continue;
        if (entry >> 12 != RELOCATION_DIR64)
            return nth_image_error("relocation of type %u", entry >> 12);
        const uint64_t rva = (uint64_t)nth_u32(block) + (entry & 0xfff);
        if (rva > UINT32_MAX)
            return "relocation beyond the image";
        void *target = nth_image_range(image, (uint32_t)rva, 8);
        if (!target)
            return "relocation beyond the image";
        nth_put64(target, nth_u64(target) + delta);
    }
    return NULL;
}

/* The table is copied first: a hostile one could relocate itself while it is read. */
static const char *relocate(struct nth_image *image, uint64_t preferred, bool is_stripped)
{
    const struct nth_range dir = image->directory[NTH_DIR_RELOCATION];
    const uint64_t delta = (uint64_t)image->base - preferred;

    if (delta == 0 || (dir.bytes == 0 && !is_stripped))
        return NULL; /* nothing in it depends on its address */
    if (dir.bytes == 0)
        return "its relocations are stripped, and its preferred address is not to be had";
    const void *table = nth_image_range(image, dir.rva, dir.bytes);
    if (!table)
        return "relocations reach beyond the image";
    uint8_t *copy = malloc(dir.bytes);
    if (!copy)
        return "no memory for relocations";
    memcpy(copy, table, dir.bytes);
    const char *error = NULL;
    for (uint32_t at = 0; !error && dir.bytes - at >= 8;) {
        const uint32_t bytes = nth_u32(copy + at + 4);
        if (bytes == 0 && nth_u32(copy + at) == 0)
            break; /* padding */
        if (bytes < 8 || bytes > dir.bytes - at)
            error = "relocation block of a bad size";
        else
            error = relocate_block(image, copy + at, bytes, delta);
        at += bytes;
    }
    free(copy);
    return error;
}

/* "Load configuration directory": SecurityCookie is the address of the cookie that /GS code checks;
 * the loader replaces the linker's default. */
static const char *set_cookie(struct nth_image *image)
{
    const struct nth_range dir = image->directory[NTH_DIR_LOAD_CONFIG];

    if (dir.bytes == 0)
        return NULL;
    const uint8_t *config = nth_image_range(image, dir.rva, 4);
    if (!config || !nth_image_range(image, dir.rva, nth_u32(config)))
        return "load configuration reaches beyond the image";
    if (nth_u32(config) < 0x58 + 8)
        return NULL; /* ends before SecurityCookie */
    const uint64_t at = nth_u64(config + 0x58);
    if (at == 0)
        return NULL;
    const uint64_t rva = at - (uint64_t)image->base;
    void *cookie = rva < image->size ? nth_image_range(image, (uint32_t)rva, 8) : NULL;
    if (!cookie)
        return "security cookie lies outside the image";
    uint64_t value = 0;
    if (getrandom(&value, sizeof value, GRND_NONBLOCK) != sizeof value)
        value = (uint64_t)cookie * 0x9e3779b97f4a7c15ull;
    value &= 0x0000ffffffffffffull; /* as Windows: so that a string copy cannot write it */
    nth_put64(cookie, value == DEFAULT_COOKIE || value == 0 ? value + 1 : value);
    return NULL;
}

/* After binding, which is the last to write to the image. */
static const char *find_functions(struct nth_image *image)
{
    const struct nth_range dir = image->directory[NTH_DIR_EXCEPTION];

    if (dir.bytes == 0)
        return NULL;
    if (dir.rva % 4 != 0 || !nth_image_constant(image, dir.rva, dir.bytes))
        return "function table reaches beyond the image, or is writable";
    image->functions = (const struct nth_function *)(image->base + dir.rva);
    image->function_count = dir.bytes / sizeof(struct nth_function);
    return nth_unwind_validate(image);
}

static const char *check_entry(const struct nth_image *image)
{
    if (image->entry && !nth_image_executable(image, image->entry))
        return "entry point is not in executable memory";
    return NULL;
}

/* After binding: nothing of the image is written by the host from here on. */
static const char *protect(const struct nth_image *image)
{
    if (mprotect(image->base, image->size, PROT_READ) != 0)
        return "cannot be protected";
    for (unsigned i = 0; i < image->section_count; i++) {
        const struct nth_section *section = &image->sections[i];
        const size_t bytes = (section->bytes + PAGE - 1) & ~(size_t)(PAGE - 1);
        if (bytes && mprotect(image->base + section->rva, bytes, section->prot) != 0)
            return "cannot be protected";
    }
    return NULL;
}

/* ---- exports ---- */

static void *export_address(const struct nth_image *image, const uint8_t *table, uint32_t index)
{
    const struct nth_range dir = image->directory[NTH_DIR_EXPORT];

    if (index >= nth_u32(table + 20))
        return NULL;
    const uint64_t at = (uint64_t)nth_u32(table + 28) + (uint64_t)index * 4;
    const uint8_t *slot = at <= UINT32_MAX ? nth_image_range(image, (uint32_t)at, 4) : NULL;
    if (!slot)
        return NULL;
    const uint32_t rva = nth_u32(slot);
    if (rva == 0 || rva - dir.rva < dir.bytes)
        return NULL; /* a forwarder names another module: drivers do not have them */
    return nth_image_range(image, rva, 1);
}

void *nth_image_export(const struct nth_image *image, const char *name)
{
    const struct nth_range dir = image->directory[NTH_DIR_EXPORT];
    const uint8_t *table = dir.bytes ? nth_image_range(image, dir.rva, 40) : NULL;

    if (!table)
        return NULL;
    const uint32_t count = nth_u32(table + 24);
    const uint8_t *names = nth_image_range(image, nth_u32(table + 32), (size_t)count * 4);
    const uint8_t *indices = nth_image_range(image, nth_u32(table + 36), (size_t)count * 2);
    if (!names || !indices)
        return NULL;
    for (uint32_t i = 0; i < count; i++) {
        const char *text = nth_image_string(image, nth_u32(names + i * 4));
        if (text && strcmp(text, name) == 0)
            return export_address(image, table, nth_u16(indices + i * 2));
    }
    return NULL;
}

/* ---- load and unload ---- */

/* Addresses of unloaded images stay reserved for a while, so that a late call finds nothing else
 * there and can be named. Guarded by load_lock for writers; reports read it as it is. */
static struct gone {
    uintptr_t base;
    size_t size;
    char name[64];
} gone[NTH_IMAGES];

const char *nth_image_gone_at(uintptr_t address)
{
    for (unsigned i = 0; i < NTH_IMAGES; i++)
        if (address - gone[i].base < gone[i].size)
            return gone[i].name;
    return NULL;
}

static void retire(struct nth_image *image)
{
    static unsigned next;
    struct gone *slot = &gone[next++ % NTH_IMAGES];

    if (slot->size)
        munmap((void *)slot->base, slot->size);
    slot->size = 0;
    if (mmap(image->base, image->size, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
        return;
    slot->base = (uintptr_t)image->base;
    memcpy(slot->name, image->name, sizeof slot->name);
    slot->size = image->size;
}

static struct nth_image *free_slot(void)
{
    for (unsigned i = 0; i < NTH_IMAGES; i++)
        if (!nth_images[i].base) {
            if (i >= atomic_load(&slots_used))
                atomic_store_explicit(&slots_used, i + 1, memory_order_release);
            return &nth_images[i];
        }
    return NULL;
}

static void discard(struct nth_image *image)
{
    const bool was_live = atomic_exchange_explicit(&image->live, false, memory_order_acq_rel);

    nth_import_release(image);
    const uint64_t bit = 1ull << (image - nth_images);
    for (unsigned i = 0; i < NTH_IMAGES; i++)
        nth_images[i].provides &= ~bit;
    if (image->base) {
        nth_sanitize_forget(image);
        nth_coverage_forget(image);
    }
    if (was_live)
        retire(image);
    else if (image->base)
        munmap(image->base, image->size);
    memset(image, 0, sizeof *image);
}

static const char *map(const char *path, struct nth_image *image)
{
    struct file file = {0};
    const char *error = read_file(path, &file);

    if (!error)
        error = parse_headers(&file, image);
    if (!error)
        error = check_layout(&file, image);
    if (!error)
        error = parse_sections(&file, image);
    if (!error)
        error = check_entry(image);
    if (!error)
        error = copy_image(&file, image);
    if (!error)
        error = relocate(image, nth_u64(file.header + 24),
                         nth_u16(file.header - 2) & RELOCATIONS_STRIPPED);
    free(file.bytes);
    return error ? error : set_cookie(image);
}

static void set_names(struct nth_image *image, const char *path)
{
    char *full = realpath(path, NULL);
    const char *slash = strrchr(path, '/');

    snprintf(image->path, sizeof image->path, "%s", full ? full : path);
    snprintf(image->name, sizeof image->name, "%s", slash ? slash + 1 : path);
    free(full);
}

static int load_set_locked(const char *const *paths, unsigned count, bool is_user,
                           struct nth_image **results, const char **error)
{
    const char *text = NULL;

    for (unsigned i = 0; i < count && !text; i++) {
        results[i] = free_slot();
        if (!results[i]) {
            text = "too many images are loaded";
            break;
        }
        results[i]->is_user = is_user;
        text = map(paths[i], results[i]);
        if (text) {
            text = nth_image_error("%s: %s", paths[i], text);
            break;
        }
        set_names(results[i], paths[i]);
        atomic_store_explicit(&results[i]->live, true, memory_order_release);
    }
    for (unsigned i = 0; i < count && !text; i++) {
        const char *reason = NULL;
        if (nth_import_bind(results[i], &reason) != 0 || (reason = find_functions(results[i])) ||
            (reason = protect(results[i])))
            text = nth_image_error("%s: %s", paths[i], reason);
    }
    if (!text)
        return 0;
    *error = text;
    return -ENOEXEC;
}

static int load_set(const char *const *paths, unsigned count, bool is_user,
                    struct nth_image **results, const char **error)
{
    memset(results, 0, count * sizeof *results);
    nth_lock(&load_lock);
    const int result = load_set_locked(paths, count, is_user, results, error);
    for (unsigned i = 0; i < count && result != 0; i++) {
        if (results[i])
            discard(results[i]);
        results[i] = NULL;
    }
    nth_unlock(&load_lock);
    for (unsigned i = 0; i < count && result == 0; i++) {
        nth_trace("image %s at %p, %zu bytes", results[i]->name, (void *)results[i]->base,
                  results[i]->size);
        nth_sanitize_image(results[i]);
    }
    return result;
}

int nth_image_load_set(const char *const *paths, unsigned count, struct nth_image **results,
                       const char **error)
{
    return load_set(paths, count, false, results, error);
}

int nth_image_load(const char *path, struct nth_image **result, const char **error)
{
    return load_set(&path, 1, false, result, error);
}

int nth_image_load_user(const char *path, struct nth_image **result, const char **error)
{
    return load_set(&path, 1, true, result, error);
}

/* Unmaps every dead image that only dead ones import from. */
static void sweep(void)
{
    uint64_t going = 0;

    for (unsigned i = 0; i < NTH_IMAGES; i++)
        if (nth_images[i].dead)
            going |= 1ull << i;
    for (bool changed = true; changed;) {
        changed = false;
        for (unsigned i = 0; i < NTH_IMAGES; i++)
            if (going >> i & 1 && nth_images[i].provides & ~going) {
                going &= ~(1ull << i);
                changed = true;
            }
    }
    for (unsigned i = 0; i < NTH_IMAGES; i++)
        if (going >> i & 1)
            discard(&nth_images[i]);
}

void nth_image_unload(struct nth_image *image)
{
    nth_trace("image %s unloaded", image->name);
    nth_lock(&load_lock);
    image->dead = true;
    sweep();
    nth_unlock(&load_lock);
}
