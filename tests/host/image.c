/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Mapping of driver binaries, by Microsoft's "PE Format" page, and what becomes of files that are
 * not what that page describes.
 */
#include "image.h"

#include <sys/mman.h>
#include <unistd.h>

#define DEFAULT_COOKIE 0x00002B992DDFA232ull

static void load_pair(const char *variant, struct nth_image **pair)
{
    char left[128], right[128];
    const char *const paths[] = {left, right}, *error = NULL;

    snprintf(left, sizeof left, "out/drivers/%s/left.sys", variant);
    snprintf(right, sizeof right, "out/drivers/%s/right.sys", variant);
    if (nth_image_load_set(paths, 2, pair, &error) != 0)
        check_fail(__FILE__, __LINE__, "%s", error);
}

/* ---- good images ---- */

/* Drivers that import from each other are bound to each other, whatever case the names have. */
TEST(image_pair_is_bound_to_each_other)
{
    struct nth_image *pair[2];

    boot(NTH_PARALLEL);
    for (int v = 0; v < VARIANTS; v++) {
        load_pair(variants[v], pair);
        CHECK_EQ((uint32_t)CALL0(pair[0], "LeftThroughRight"), 201);
        CHECK_EQ((uint32_t)CALL0(pair[1], "RightThroughLeft"), 102);
        CHECK_STR(nth_image_name(pair[0]), "left.sys");
        nth_image_unload(pair[0]);
        nth_image_unload(pair[1]);
    }
}

/* An image that another one imports from stays until that one goes. */
TEST(image_unloaded_while_imported_from_stays)
{
    struct nth_image *pair[2];

    boot(NTH_PARALLEL);
    load_pair("gnu-O2", pair);
    void *base = nth_image_base(pair[0]);
    uint32_t(NTAPI * through)(void) = export_of(pair[1], "RightThroughLeft");
    nth_image_unload(pair[0]);
    CHECK(nth_image_at((uintptr_t)base) != NULL);
    CHECK_EQ(through(), 102);
    nth_image_unload(pair[1]);
    CHECK(nth_image_at((uintptr_t)base) == NULL);
    CHECK_STR(nth_image_gone_at((uintptr_t)base), "left.sys");
}

/* "The .reloc section": pointers in data are moved with the image; data without bytes is zero. */
TEST(image_is_relocated_and_zeroed)
{
    struct nth_image *pair[2];

    boot(NTH_PARALLEL);
    for (int v = 0; v < VARIANTS; v++) {
        load_pair(variants[v], pair);
        CHECK_EQ((uint32_t)CALL1(pair[0], "Dispatch", 0), 1);
        CHECK_EQ((uint32_t)CALL1(pair[0], "Dispatch", 1), 2);
        CHECK_EQ((uint32_t)CALL1(pair[0], "Dispatch", 2), 100);
        CHECK_EQ((uint32_t)CALL0(pair[0], "Zeroes"), 0);
    }
}

/* "The load configuration structure": SecurityCookie is replaced; each load has another one. */
TEST(image_gets_a_security_cookie)
{
    struct nth_image *first[2], *second[2];

    boot(NTH_PARALLEL);
    load_pair("msvc-O2", first);
    load_pair("gnu-O0", second);
    const uint64_t one = CALL0(first[0], "Cookie"), two = CALL0(second[0], "Cookie");
    CHECK(one != DEFAULT_COOKIE && two != DEFAULT_COOKIE && one != two && one != 0);
    CHECK_EQ(one >> 48, 0);
}

/* Protection of the mapping that holds address, as /proc/self/maps has it. */
static void protection_of(const void *address, char *text)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned long from, to;
    char line[512];

    strcpy(text, "none");
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %4s", &from, &to, text) == 3 && (uintptr_t)address >= from &&
            (uintptr_t)address < to)
            break;
    fclose(maps);
}

/* "Section flags": code is read and executed, constants only read, data never executed. */
TEST(image_sections_have_their_protections)
{
    struct nth_image *pair[2];
    char text[8];

    boot(NTH_PARALLEL);
    load_pair("gnu-O2", pair);
    protection_of(export_of(pair[0], "Constant"), text);
    CHECK_STR(text, "r-xp");
    protection_of((void *)CALL0(pair[0], "Constant"), text);
    CHECK_STR(text, "r--p");
    protection_of((void *)CALL0(pair[0], "Variable"), text);
    CHECK_STR(text, "rw-p");
    protection_of(nth_image_base(pair[0]), text);
    CHECK_STR(text, "r--p");
}

TEST(image_no_page_is_writable_and_executable)
{
    struct nth_image *pair[2];
    char line[512];

    boot(NTH_PARALLEL);
    load_pair("msvc-O0", pair);
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        CHECK(!strstr(line, " rwx"));
    fclose(maps);
}

TEST(image_loads_and_unloads_many_times)
{
    struct nth_image *pair[2];

    boot(NTH_PARALLEL);
    for (int i = 0; i < 300; i++) {
        load_pair(variants[i % VARIANTS], pair);
        CHECK_EQ((uint32_t)CALL0(pair[0], "LeftThroughRight"), 201);
        nth_image_unload(pair[i & 1]);
        nth_image_unload(pair[!(i & 1)]);
    }
}

/* ---- bad images ---- */

static uint8_t good[1 << 20], bad[1 << 20];
static size_t good_size;
static int bad_file = -1;
static char bad_path[64];

static void read_good(const char *path)
{
    FILE *file = fopen(path, "r");

    CHECK(file != NULL);
    good_size = fread(good, 1, sizeof good, file);
    fclose(file);
    memcpy(bad, good, good_size);
    bad_file = memfd_create("bad.sys", 0);
    CHECK(bad_file >= 0);
    snprintf(bad_path, sizeof bad_path, "/proc/self/fd/%d", bad_file);
}

/* Loads what is in bad; NULL, or the reason why it is refused. */
static const char *load_bad(size_t size, struct nth_image **image)
{
    const char *error = NULL;

    *image = NULL;
    CHECK_EQ(ftruncate(bad_file, 0), 0);
    CHECK_EQ(pwrite(bad_file, bad, size, 0), size);
    if (nth_image_load(bad_path, image, &error) == 0)
        return NULL;
    CHECK(*image == NULL && error != NULL);
    return error;
}

static uint8_t *pe(void)
{
    return bad + nth_u32(bad + 0x3c);
}

static uint8_t *section(unsigned index)
{
    return pe() + 24 + nth_u16(pe() + 20) + index * 40;
}

static uint8_t *directory(unsigned index)
{
    return pe() + 24 + 112 + index * 8;
}

/* File offset of an address in the image. */
static uint8_t *at_rva(uint32_t rva)
{
    for (unsigned i = 0; i < nth_u16(pe() + 6); i++)
        if (rva - nth_u32(section(i) + 12) < nth_u32(section(i) + 16))
            return bad + nth_u32(section(i) + 20) + (rva - nth_u32(section(i) + 12));
    check_fail(__FILE__, __LINE__, "no section holds 0x%x", rva);
}

static void put16(uint8_t *to, uint16_t value)
{
    memcpy(to, &value, 2);
}

static void put32(uint8_t *to, uint32_t value)
{
    memcpy(to, &value, 4);
}

/* Each case spoils one field; the text must say what is wrong. */
#define REFUSED(spoil, reason)                                                                     \
    do {                                                                                           \
        struct nth_image *image_;                                                                  \
        memcpy(bad, good, good_size);                                                              \
        spoil;                                                                                     \
        const char *error_ = load_bad(good_size, &image_);                                         \
        if (!error_ || !strstr(error_, reason))                                                    \
            check_fail(__FILE__, __LINE__, "%s: %s", #spoil, error_ ? error_ : "loaded");          \
    } while (0)

static void start_bad(void)
{
    boot(NTH_PARALLEL);
    read_good("out/drivers/gnu-O2/left.sys");
}

TEST(image_bad_headers_are_refused)
{
    start_bad();
    REFUSED(bad[0] = 'X', "no MZ header");
    REFUSED(put32(bad + 0x3c, 0xfffffff0), "no PE header");
    REFUSED(put32(bad + 0x3c, (uint32_t)good_size - 8), "no PE header");
    REFUSED(pe()[0] = 'X', "no PE header");
    REFUSED(put16(pe() + 4, 0xaa64), "it is for ARM64");
    REFUSED(put16(pe() + 4, 0x14c), "32-bit x86");
    REFUSED(put16(pe() + 4, 0x1234), "machine 0x1234");
    REFUSED(put16(pe() + 6, 0), "section table");
    REFUSED(put16(pe() + 6, 0xffff), "section table");
    REFUSED(put16(pe() + 20, 0xffff), "optional header");
    REFUSED(put16(pe() + 20, 4), "optional header");
    REFUSED(put16(pe() + 24, 0x10b), "PE32 header");
    REFUSED(put32(pe() + 24 + 108, 17), "data directories");
    REFUSED(put16(pe() + 24 + 68, 3), "subsystem 3: not a kernel-mode");
    REFUSED(put32(pe() + 24 + 32, 512), "alignment");
    REFUSED(put32(pe() + 24 + 36, 48), "alignment");
    REFUSED(put32(pe() + 24 + 56, 0), "image size");
    REFUSED(put32(pe() + 24 + 56, 0xfffffff0), "image size");
    REFUSED(put32(pe() + 24 + 60, 0x10), "header size");
    REFUSED(put32(pe() + 24 + 60, 0x7fffffff), "header size");
    REFUSED(put32(pe() + 24 + 16, 0x7ffffff0), "entry point");
    REFUSED(put32(pe() + 24 + 16, 0x10), "entry point");
}

TEST(image_bad_sections_are_refused)
{
    start_bad();
    REFUSED(put32(section(1) + 12, nth_u32(section(0) + 12)), "section 1 overlaps");
    REFUSED(put32(section(1) + 12, nth_u32(section(1) + 12) + 8), "not aligned");
    REFUSED(put32(section(0) + 12, 0), "section 0 overlaps");
    REFUSED(put32(section(0) + 8, 0xfffff000), "section 0 reaches beyond the image");
    REFUSED(put32(section(0) + 16, 0x10000000), "section 0 reaches beyond the end of the file");
    REFUSED(put32(section(0) + 20, 0xfffff000), "section 0 reaches beyond the end of the file");
}

TEST(image_bad_directories_are_refused)
{
    start_bad();
    REFUSED(put32(directory(NTH_DIR_IMPORT), 0xfffffff0), "import directory");
    REFUSED(put32(at_rva(nth_u32(directory(NTH_DIR_IMPORT))) + 12, 0xfffffff0), "names no module");
    REFUSED(put32(at_rva(nth_u32(directory(NTH_DIR_IMPORT))), 0xfffffff0), "import table");
    REFUSED(put32(at_rva(nth_u32(directory(NTH_DIR_IMPORT))) + 16, 0xfffffff0), "import table");
    REFUSED(put32(directory(NTH_DIR_RELOCATION) + 4, 0x7fffffff), "relocations reach beyond");
    REFUSED(put32(at_rva(nth_u32(directory(NTH_DIR_RELOCATION))) + 4, 7), "bad size");
    REFUSED(put32(at_rva(nth_u32(directory(NTH_DIR_RELOCATION))) + 4, 0xffff), "bad size");
    REFUSED(put32(at_rva(nth_u32(directory(NTH_DIR_RELOCATION))), 0xfffff000), "beyond the image");
    REFUSED(at_rva(nth_u32(directory(NTH_DIR_RELOCATION)))[9] = 0x50, "relocation of type 5");
    REFUSED(put32(directory(NTH_DIR_EXCEPTION), 0xfffffffc), "function table");
    REFUSED(put32(at_rva(nth_u32(directory(NTH_DIR_EXCEPTION))) + 4, 1), "not sorted");
    REFUSED(put32(at_rva(nth_u32(directory(NTH_DIR_EXCEPTION))) + 8, 0x7ffffffc), "unwind data");
    REFUSED(put32(directory(NTH_DIR_LOAD_CONFIG), 0xfffffffc), "load configuration");
    REFUSED(put32(at_rva(nth_u32(directory(NTH_DIR_LOAD_CONFIG))), 0x7fffffff),
            "load configuration");
}

/* Unwind data of the first function: UNWIND_INFO of "x64 exception handling". */
static uint8_t *first_unwind(void)
{
    return at_rva(nth_u32(at_rva(nth_u32(directory(NTH_DIR_EXCEPTION))) + 8));
}

TEST(image_bad_unwind_data_is_refused)
{
    boot(NTH_PARALLEL);
    read_good("out/drivers/gnu-O0/unwind.sys");
    REFUSED(first_unwind()[0] = 7, "unknown version");
    REFUSED(first_unwind()[0] = 0x21 | 0x08, "no meaning");
    REFUSED(first_unwind()[5] = 0x0b, "does not exist");
    REFUSED(first_unwind()[2] = 1; first_unwind()[5] = 0x11, "cut off");
    REFUSED(first_unwind()[5] = 0x03, "not declared");
    REFUSED(first_unwind()[0] = 0x09; put32(first_unwind() + 8, 0x10), "exception handler");
    /* chained to itself */
    REFUSED(first_unwind()[0] = 0x21; first_unwind()[2] = 0;
            memcpy(first_unwind() + 4, at_rva(nth_u32(directory(NTH_DIR_EXCEPTION))), 12),
            "no meaning");
}

/* A file cut off anywhere is refused or, when only what no section needs is missing, loaded. */
TEST(image_truncated_anywhere_never_crashes)
{
    struct nth_image *image;
    unsigned refused = 0;

    start_bad();
    for (size_t size = 0; size < good_size; size += size < 1024 ? 1 : 37) {
        if (load_bad(size, &image))
            refused++;
        else
            nth_image_unload(image);
    }
    CHECK(refused > 1024);
}

static uint64_t random_state = 0x2545f4914f6cdd1d;

static uint32_t random_below(uint32_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 16) % limit);
}

/* Uses everything of an image that is read after loading. */
static void exercise(struct nth_image *image)
{
    struct nth_context context;
    uint64_t stack[64] = {0};

    nth_image_export(image, "Dispatch");
    nth_image_export(image, "no such name");
    for (int i = 0; i < 20; i++) {
        memset(&context, 0, sizeof context);
        context.rip = (uint64_t)image->base + random_below((uint32_t)image->size);
        context.r[NTH_RSP] = (uint64_t)stack;
        context.r[NTH_RBP] = (uint64_t)(stack + 8);
        for (int k = 0; k < 8 && nth_unwind_step(&context); k++)
            ;
    }
    nth_image_unload(image);
}

enum { MUTATIONS = 4000 };

/* Headers, directories and tables with a few bytes changed: refused or loaded, never a crash. The
 * sequence is fixed by its seed. */
TEST(image_mutated_never_crashes)
{
    static const char *const files[] = {"out/drivers/gnu-O2/left.sys",
                                        "out/drivers/msvc-O0/unwind.sys"};
    static const uint32_t interesting[] = {0,          1,          0x7f,       0x80,
                                           0xff,       0x7fff,     0xffff,     0x7fffffff,
                                           0x80000000, 0xffffffff, 0xfffffff0, 0x1000};
    struct nth_image *image;
    unsigned loaded = 0;

    boot(NTH_PARALLEL);
    for (int f = 0; f < 2; f++) {
        read_good(files[f]);
        for (int i = 0; i < MUTATIONS / 2; i++) {
            memcpy(bad, good, good_size);
            const uint32_t reach = i & 1 ? (uint32_t)good_size : nth_u32(pe() + 24 + 60);
            for (uint32_t k = random_below(4) + 1; k > 0; k--) {
                uint8_t *at = bad + random_below(reach - 4);
                if (random_below(2))
                    *at ^= (uint8_t)(1u << random_below(8));
                else
                    put32(at, interesting[random_below(12)]);
            }
            if (load_bad(random_below(16) ? good_size : random_below((uint32_t)good_size), &image))
                continue;
            loaded++;
            exercise(image);
        }
        close(bad_file);
    }
    fprintf(stderr, "%u of %d mutated images were loaded\n", loaded, MUTATIONS);
    CHECK(loaded > 100 && loaded < MUTATIONS - 100);
}
