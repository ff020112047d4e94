/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What the files of pe/ share. Structures with an offset assertion are also read by thunk.S or laid
 * down by Microsoft's x64 calling convention ("x64 exception handling", "Overview of x64 ABI
 * conventions"). Nothing outside pe/ includes this, tests/host aside.
 */
#pragma once

#include "pe/pe.h"

#include <stdatomic.h>

/* ---- images ---- */

enum { NTH_IMAGES = 64, NTH_SECTIONS = 96, NTH_DIRECTORIES = 16 };

enum nth_directory {
    NTH_DIR_EXPORT = 0,
    NTH_DIR_IMPORT = 1,
    NTH_DIR_RESOURCE = 2,
    NTH_DIR_EXCEPTION = 3,
    NTH_DIR_RELOCATION = 5,
    NTH_DIR_TLS = 9,
    NTH_DIR_LOAD_CONFIG = 10
};

/* One entry of .pdata (RUNTIME_FUNCTION). */
struct nth_function {
    uint32_t begin, end, unwind;
};

struct nth_section {
    char name[9];
    uint32_t rva, bytes;
    int prot;
};

struct nth_range {
    uint32_t rva, bytes;
};

struct nth_thunk;

/* A slot of a static table: filled before `live` is set (release), and never reused while another
 * thread can still be inside the image. */
struct nth_image {
    atomic_bool live;
    bool dead;    /* unload was asked for; still mapped because another image imports from it */
    bool is_user; /* a module of a user process */
    char name[64];
    char path[512];
    uint8_t *base;
    size_t size;
    uint32_t entry;
    struct nth_range directory[NTH_DIRECTORIES];
    struct nth_section sections[NTH_SECTIONS];
    unsigned section_count;
    const struct nth_function *functions;
    unsigned function_count;
    struct nth_thunk *thunks; /* one per bound import */
    unsigned thunk_count;
    void *thunk_code;
    size_t thunk_code_bytes;
    char *names;       /* "module!name" of unresolved imports */
    uint64_t provides; /* bit per slot of an image that imports from this one */
};

extern struct nth_image nth_images[NTH_IMAGES];

/* Bytes [rva, rva + bytes) of the mapped image, or NULL when they do not lie in it. */
void *nth_image_range(const struct nth_image *image, uint32_t rva, size_t bytes);
/* A NUL-terminated string inside the image, or NULL. */
const char *nth_image_string(const struct nth_image *image, uint32_t rva);
/* Name of an unloaded image whose memory address was, or NULL. */
const char *nth_image_gone_at(uintptr_t address);
/* The bytes are in the image and stay as they were loaded. */
bool nth_image_constant(const struct nth_image *image, uint32_t rva, size_t bytes);
bool nth_image_executable(const struct nth_image *image, uint32_t rva);
const struct nth_section *nth_image_section(const struct nth_image *image, const char *name);
/* Static text per thread, for *error. */
const char *nth_image_error(const char *format, ...) NTH_PRINTF(1, 2);

static inline uint16_t nth_u16(const void *p)
{
    uint16_t v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t nth_u32(const void *p)
{
    uint32_t v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t nth_u64(const void *p)
{
    uint64_t v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

static inline void nth_put64(void *p, uint64_t v)
{
    __builtin_memcpy(p, &v, sizeof v);
}

/* ---- imports (import.c, thunk.S) ---- */

/* What a generated thunk hands to nth_thunk_common in r11. */
struct nth_thunk {
    void *function;     /* ms_abi */
    uint64_t arguments; /* stack arguments to copy, even */
    const char *name;   /* of the kernel function */
    struct nth_image *image;
    const struct nth_export *export; /* of a user module's call: what the gate asks about */
};
_Static_assert(offsetof(struct nth_thunk, arguments) == 8, "read by thunk.S");

/* A driver's call into the host, on the host's stack: what the unwinder needs to go on in the
 * driver. Newest first in a list per thread. */
struct nth_crossing {
    struct nth_crossing *previous;
    uint64_t rbx, rsi, rdi, r12, r13, r14, r15;
    __uint128_t xmm[10]; /* 6-15 */
    const struct nth_thunk *thunk;
    uint64_t unused;
    uint64_t jump[26]; /* NTH_TSAN: a jmp_buf taken on entry; see thunk.S */
    uint64_t rbp, site;
};
_Static_assert(offsetof(struct nth_crossing, xmm) == 0x40, "written by thunk.S");
_Static_assert(offsetof(struct nth_crossing, thunk) == 0xe0, "written by thunk.S");
_Static_assert(offsetof(struct nth_crossing, jump) == 0xf0, "written by thunk.S");
_Static_assert(offsetof(struct nth_crossing, rbp) == 0x1c0, "written by thunk.S");

extern _Thread_local struct nth_crossing *nth_crossings;
/* Non-zero: thunks call nth_thunk_event before the host function. */
extern uint32_t nth_thunk_events;
void nth_thunk_event(struct nth_crossing *crossing);
void nth_thunk_common(void);
void nth_user_gate(void); /* thunk.S: what the thunks of user modules call */
void *NTAPI nth_user_gate_ask(const struct nth_thunk *thunk, uint64_t *result);

/* Crossings below rsp are gone: an nth_host_begin inside one of them has lost its end. */
void nth_host_forget(uint64_t rsp);
int nth_import_bind(struct nth_image *image, const char **error);
void nth_import_release(struct nth_image *image);
const struct nth_export *nth_export_entry(const char *name);

/* ---- exceptions (unwind.c, fault.c) ---- */

/* CONTEXT of x64. */
struct nth_context {
    uint64_t home[6];
    uint32_t flags, mxcsr;
    uint16_t segments[6];
    uint32_t eflags;
    uint64_t debug[6];
    uint64_t r[16]; /* rax rcx rdx rbx rsp rbp rsi rdi r8-r15 */
    uint64_t rip;
    uint8_t legacy[0xa0]; /* FXSAVE area up to the xmm registers */
    __uint128_t xmm[16];
    uint8_t rest[0x4d0 - 0x2a0];
} __attribute__((aligned(16)));
_Static_assert(offsetof(struct nth_context, mxcsr) == 0x34, "CONTEXT");
_Static_assert(offsetof(struct nth_context, eflags) == 0x44, "CONTEXT");
_Static_assert(offsetof(struct nth_context, r) == 0x78, "CONTEXT");
_Static_assert(offsetof(struct nth_context, rip) == 0xf8, "CONTEXT");
_Static_assert(offsetof(struct nth_context, xmm) == 0x1a0, "CONTEXT");
_Static_assert(sizeof(struct nth_context) == 0x4d0, "CONTEXT");

enum { NTH_RAX, NTH_RCX, NTH_RDX, NTH_RBX, NTH_RSP, NTH_RBP, NTH_RSI, NTH_RDI };

/* EXCEPTION_RECORD of x64. */
struct nth_exception {
    uint32_t code, flags;
    struct nth_exception *chain;
    uint64_t address;
    uint32_t count, padding;
    uint64_t information[15];
};
_Static_assert(sizeof(struct nth_exception) == 0x98, "EXCEPTION_RECORD");

enum {
    NTH_EXCEPTION_NONCONTINUABLE = 0x1,
    NTH_EXCEPTION_UNWINDING = 0x2,
    NTH_EXCEPTION_EXIT_UNWIND = 0x4,
    NTH_EXCEPTION_TARGET_UNWIND = 0x20,
    NTH_EXCEPTION_COLLIDED_UNWIND = 0x40
};

/* Searches handlers from context on and continues wherever they say. Runs on the stack the
 * exception happened on, below it. */
_Noreturn void nth_dispatch(struct nth_exception *record, struct nth_context *context);
_Noreturn void nth_context_restore(const struct nth_context *context);
const struct nth_function *nth_function_at(const struct nth_image *image, uint64_t pc);
/* NULL, or what is wrong with the unwind data of the image. */
const char *nth_unwind_validate(const struct nth_image *image);
uint32_t NTAPI nth_c_specific_handler(struct nth_exception *record, uint64_t frame,
                                      struct nth_context *context, void *dispatcher);
/* Return addresses of driver frames, innermost first, starting at context (NULL: at the newest
 * crossing of this thread). */
unsigned nth_unwind_trace(const struct nth_context *context, uintptr_t *sites, unsigned max);
/* Moves context from a driver's frame to its caller. False when the stack cannot be read. */
bool nth_unwind_step(struct nth_context *context);
/* Copies even from memory that is not there: false then. For reports. */
bool nth_peek(void *to, uintptr_t from, size_t bytes);

/* A host frame that asked to be told of faults instead of ending by them. */
struct nth_guard {
    struct nth_guard *previous;
    void *jump; /* jmp_buf */
    volatile NTSTATUS status;
};
extern _Thread_local struct nth_guard *nth_guards;
_Noreturn void nth_guard_leave(NTSTATUS status);

/* Driver instructions that trap outside a kernel. NTH_EMULATE_IRQL: nth_emulate_irql has the rest
 * to do, on the driver's stack. */
enum nth_emulation { NTH_EMULATE_NOT, NTH_EMULATE_DONE, NTH_EMULATE_IRQL };
enum nth_emulation nth_emulate(struct nth_context *context, uint64_t fault_address);
_Noreturn void nth_emulate_irql(struct nth_context *context);

/* "driver!function (file:line)" of the instruction before address. NULL outside drivers. Text is
 * the thread's until its next call. */
const char *nth_symbol(uintptr_t address);
void nth_place(uintptr_t address, char *text, size_t bytes); /* module+offset */

/* ---- sanitizers (asan.c, tsan.c, coverage.c): no-ops in other builds ---- */
void nth_sanitize_image(struct nth_image *image);  /* after binding, before any of its code ran */
void nth_sanitize_forget(struct nth_image *image); /* before unmapping */
void nth_sanitize_unwind(uint64_t from, uint64_t to); /* stack frames between the two are gone */
/* Edges of loaded drivers that were taken since they were loaded, of how many. */
unsigned nth_coverage_count(unsigned *total);
void nth_coverage_forget(const struct nth_image *image);

/* ThreadSanitizer has a stack of calls per thread, and only longjmp cuts it back. In that build
 * every crossing and every dispatch keeps a jump buffer, and what goes on elsewhere does so from
 * there. */
#ifdef NTH_TSAN
#define NTH_UNWATCHED __attribute__((no_sanitize("thread")))
#else
#define NTH_UNWATCHED
#endif
