/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Structured exceptions by the rules of Microsoft's "x64 exception handling": virtual unwinding by
 * .pdata and .xdata, epilogues by their instructions, and the two passes over language-specific
 * handlers. Host frames are never unwound but stepped over: every call of a driver into the host
 * left a struct nth_crossing. The stack is read with nth_peek, since a driver may have spoilt it;
 * unwind data was checked when the image was loaded.
 */
#include "pe/private.h"

#include <setjmp.h>
#include <string.h>

enum {
    OP_PUSH,
    OP_ALLOC_LARGE,
    OP_ALLOC_SMALL,
    OP_SET_FRAME,
    OP_SAVE,
    OP_SAVE_FAR,
    OP_EPILOG,
    OP_SPARE,
    OP_SAVE_XMM,
    OP_SAVE_XMM_FAR,
    OP_MACHINE_FRAME
};
enum { FLAG_EXCEPTION = 1, FLAG_TERMINATION = 2, FLAG_CHAINED = 4 };
enum { CONTINUE_EXECUTION, CONTINUE_SEARCH, NESTED_EXCEPTION, COLLIDED_UNWIND };
enum { CHAIN_LIMIT = 32, FRAME_LIMIT = 4096, NESTING_LIMIT = 40, EFLAGS_SANE = 0x202 };

#define CONTEXT_ALL              0x10001fu
#define NONCONTINUABLE_EXCEPTION 0xC0000025u
#define ACCESS_VIOLATION         0xC0000005u
#define NULL_PAGES               0x10000u

/* UNWIND_INFO, read through pointers into the image. */
struct unwind_info {
    uint8_t version_flags, prologue, count, frame;
    uint16_t codes[];
};

/* DISPATCHER_CONTEXT of x64. */
struct dispatcher {
    uint64_t pc, image_base;
    const struct nth_function *function;
    uint64_t frame, target;
    struct nth_context *context;
    void *handler;
    const void *data;
    void *history;
    uint32_t scope, fill;
};

typedef uint32_t(NTAPI *handler_routine)(struct nth_exception *record, uint64_t frame,
                                         struct nth_context *context,
                                         struct dispatcher *dispatcher);

/* A handler that runs right now, called by this file. An exception inside it goes on past this
 * file's own frames: in the search pass from the context the first exception had, in the unwind
 * pass from where that unwind had come. Newest first in a list per thread. */
struct pending {
    struct pending *previous;
    const struct nth_context *context;
    const struct dispatcher *dispatcher; /* NULL in the search pass */
    struct nth_crossing *crossing;
};
static _Thread_local struct pending *pending_handlers;

/* Where a walk over the stack is. */
struct cursor {
    struct nth_context context;
    struct nth_crossing *crossing;
    const struct pending *pending;
    uint32_t scope; /* first scope not yet run in the next frame, after a collided unwind */
    unsigned frames;
};

/* ---- unwind data ---- */

static unsigned code_slots(uint16_t code)
{
    const unsigned op = code >> 8 & 15, info = code >> 12;

    switch (op) {
    case OP_ALLOC_LARGE:
        return info == 0 ? 2 : info == 1 ? 3 : 0;
    case OP_SAVE:
    case OP_SAVE_XMM:
    case OP_EPILOG:
        return 2;
    case OP_SAVE_FAR:
    case OP_SAVE_XMM_FAR:
    case OP_SPARE:
        return 3;
    case OP_MACHINE_FRAME:
        return info <= 1 ? 1 : 0;
    case OP_PUSH:
    case OP_ALLOC_SMALL:
    case OP_SET_FRAME:
        return 1;
    default:
        return 0;
    }
}

static const struct unwind_info *info_at(const struct nth_image *image, uint32_t rva)
{
    return (const struct unwind_info *)(image->base + rva);
}

static unsigned info_flags(const struct unwind_info *info)
{
    return info->version_flags >> 3;
}

/* What follows the codes: a chained function, or the handler and its data. */
static const uint8_t *info_tail(const struct unwind_info *info)
{
    return (const uint8_t *)(info->codes + ((info->count + 1) & ~1));
}

static const char *validate_codes(const struct unwind_info *info)
{
    for (unsigned i = 0; i < info->count;) {
        const unsigned slots = code_slots(info->codes[i]);
        const unsigned op = info->codes[i] >> 8 & 15;
        if (slots == 0 || slots > info->count - i)
            return "unwind code that does not exist or is cut off";
        if (op == OP_EPILOG && (info->version_flags & 7) != 2)
            return "epilogue unwind code in version 1 unwind data";
        if (op == OP_SET_FRAME && (info->frame & 15) == 0)
            return "unwind code sets a frame register that is not declared";
        i += slots;
    }
    return NULL;
}

static const char *validate_info(const struct nth_image *image, uint32_t rva, unsigned depth)
{
    const struct unwind_info *info = nth_image_range(image, rva, 4);

    if (rva % 4 != 0 || !info || !nth_image_constant(image, rva, 4))
        return "unwind data lies outside the image, or is writable";
    if ((info->version_flags & 7) != 1 && (info->version_flags & 7) != 2)
        return "unwind data of an unknown version";
    const size_t codes = 4 + (size_t)((info->count + 1) & ~1) * 2;
    const unsigned flags = info_flags(info);
    if (!nth_image_constant(image, rva, codes + (flags & FLAG_CHAINED ? 12 : flags ? 4 : 0)))
        return "unwind data reaches beyond the image";
    const char *error = validate_codes(info);
    if (error)
        return error;
    if (flags & FLAG_CHAINED) {
        struct nth_function parent;
        memcpy(&parent, info_tail(info), sizeof parent);
        if (flags != FLAG_CHAINED || depth >= CHAIN_LIMIT)
            return "unwind data is chained in a way that has no meaning";
        return validate_info(image, parent.unwind, depth + 1);
    }
    if (flags && !nth_image_executable(image, nth_u32(info_tail(info))))
        return "exception handler is not in executable memory";
    return NULL;
}

const char *nth_unwind_validate(const struct nth_image *image)
{
    uint32_t end = 0;

    for (unsigned i = 0; i < image->function_count; i++) {
        const struct nth_function *f = &image->functions[i];
        if (f->begin == 0 && f->end == 0 && f->unwind == 0)
            continue; /* padding */
        if (f->begin < end || f->end <= f->begin || f->end > image->size)
            return "function table is not sorted or leaves the image";
        end = f->end;
        const char *error = f->unwind & 1 ? "function table refers to another entry of itself"
                                          : validate_info(image, f->unwind, 0);
        if (error)
            return error;
    }
    return NULL;
}

const struct nth_function *nth_function_at(const struct nth_image *image, uint64_t pc)
{
    const uint32_t rva = (uint32_t)(pc - (uint64_t)image->base);
    unsigned low = 0, high = image->function_count;

    while (low < high) {
        const unsigned middle = low + (high - low) / 2;
        const struct nth_function *f = &image->functions[middle];
        if (rva < f->begin)
            high = middle;
        else if (rva >= f->end)
            low = middle + 1;
        else
            return f;
    }
    return NULL;
}

/* ---- one frame ---- */

static bool pop(struct nth_context *context, uint64_t *value)
{
    if (!nth_peek(value, context->r[NTH_RSP], 8))
        return false;
    context->r[NTH_RSP] += 8;
    return true;
}

static bool is_chained(const struct nth_image *image, const struct nth_function *function)
{
    return info_flags(info_at(image, function->unwind)) & FLAG_CHAINED;
}

/* A jump at the end of an epilogue leaves the function; one inside it goes to another part. */
static bool jump_leaves(const struct nth_image *image, const struct nth_function *function,
                        uint64_t target)
{
    const struct nth_function *other = nth_function_at(image, target);

    if (nth_image_at(target) != image || !other)
        return true;
    return other != function && target == (uint64_t)image->base + other->begin &&
           !is_chained(image, other);
}

/* Bytes of an epilogue's stack adjustment at code: "add rsp, n" or "lea rsp, [frame + n]". */
static size_t epilogue_adjust(const uint8_t *code, const struct nth_context *context,
                              unsigned frame_register, uint64_t *rsp)
{
    if (code[0] == 0x48 && code[1] == 0x83 && code[2] == 0xc4) {
        *rsp += (uint64_t)(int8_t)code[3];
        return 4;
    }
    if (code[0] == 0x48 && code[1] == 0x81 && code[2] == 0xc4) {
        *rsp += (uint64_t)(int32_t)nth_u32(code + 3);
        return 7;
    }
    const unsigned rm = (code[2] & 7u) | (code[0] & 1u) << 3, mode = code[2] >> 6;
    if ((code[0] & 0xfe) != 0x48 || code[1] != 0x8d || (code[2] >> 3 & 7) != NTH_RSP ||
        frame_register == 0 || rm != frame_register || (rm & 7) == NTH_RSP || mode == 0 ||
        mode == 3)
        return 0;
    *rsp = context->r[rm] +
           (uint64_t)(mode == 1 ? (int64_t)(int8_t)code[3] : (int64_t)(int32_t)nth_u32(code + 3));
    return mode == 1 ? 4 : 7;
}

static bool epilogue_ends(const struct nth_image *image, const struct nth_function *function,
                          const uint8_t *code, uint64_t pc)
{
    if (code[0] == 0xc3 || code[0] == 0xc2 || (code[0] == 0xf3 && code[1] == 0xc3))
        return true;
    if (code[0] == 0xeb)
        return jump_leaves(image, function, pc + 2 + (uint64_t)(int8_t)code[1]);
    if (code[0] == 0xe9)
        return jump_leaves(image, function, pc + 5 + (uint64_t)(int32_t)nth_u32(code + 1));
    const unsigned rex = (code[0] & 0xf0) == 0x40;
    /* jmp through memory, or (with REX.W, which marks it as the end of a function) a register */
    return code[rex] == 0xff && (code[rex + 1] & 0x38) == 0x20 &&
           (code[rex + 1] >> 6 == 0 || (rex && code[0] & 8));
}

/* "x64 prolog and epilog": an epilogue is an adjustment of rsp, pops, and a return or jump, in that
 * order and nothing else. When pc is in one, undoes what it has left to do. */
static bool leave_epilogue(const struct nth_image *image, const struct nth_function *function,
                           unsigned frame_register, struct nth_context *context)
{
    uint8_t code[64] = {0};
    struct nth_context after = *context;
    uint64_t pc = context->rip;
    const uint64_t image_end = (uint64_t)image->base + image->size;
    const size_t room = image_end - pc < sizeof code - 16 ? image_end - pc : sizeof code - 16;

    if (!nth_peek(code, pc, room))
        return false;
    size_t at = epilogue_adjust(code, context, frame_register, &after.r[NTH_RSP]);
    for (; at < room; at++) {
        const unsigned rex = code[at] == 0x41;
        if ((code[at + rex] & 0xf8) != 0x58)
            break;
        if (!pop(&after, &after.r[(code[at + rex] & 7u) | rex << 3]))
            return false;
        at += rex;
    }
    if (at >= room || !epilogue_ends(image, function, code + at, pc + at) ||
        !pop(&after, &after.rip))
        return false;
    *context = after;
    return true;
}

/* Undoes one unwind code. False when the stack cannot be read. */
static bool undo(const uint16_t *code, uint64_t frame, unsigned frame_register,
                 unsigned frame_offset, struct nth_context *c, bool *is_machine)
{
    const unsigned info = code[0] >> 12;

    switch (code[0] >> 8 & 15) {
    case OP_PUSH:
        return pop(c, &c->r[info]);
    case OP_ALLOC_LARGE:
        c->r[NTH_RSP] += info ? nth_u32(code + 1) : code[1] * 8u;
        return true;
    case OP_ALLOC_SMALL:
        c->r[NTH_RSP] += info * 8 + 8;
        return true;
    case OP_SET_FRAME:
        c->r[NTH_RSP] = c->r[frame_register] - frame_offset;
        return true;
    case OP_SAVE:
        return nth_peek(&c->r[info], frame + code[1] * 8u, 8);
    case OP_SAVE_FAR:
        return nth_peek(&c->r[info], frame + nth_u32(code + 1), 8);
    case OP_SAVE_XMM:
        return nth_peek(&c->xmm[info], frame + code[1] * 16u, 16);
    case OP_SAVE_XMM_FAR:
        return nth_peek(&c->xmm[info], frame + nth_u32(code + 1), 16);
    case OP_MACHINE_FRAME: {
        const uint64_t at = c->r[NTH_RSP] + info * 8;
        *is_machine = true;
        return nth_peek(&c->rip, at, 8) && nth_peek(&c->r[NTH_RSP], at + 24, 8);
    }
    default:
        return true; /* epilogue descriptions of version 2: instructions say the same */
    }
}

/* The frame register holds the frame once its unwind code has been executed. */
static bool frame_is_set(const struct unwind_info *info, uint32_t offset)
{
    if ((info->frame & 15) == 0)
        return false;
    for (unsigned i = 0; i < info->count; i += code_slots(info->codes[i]))
        if ((info->codes[i] >> 8 & 15) == OP_SET_FRAME)
            return offset >= info->prologue || (info->codes[i] & 255u) <= offset;
    return true; /* set by the part of the function this one is chained to */
}

static bool undo_all(const struct unwind_info *info, uint32_t offset, bool in_prologue,
                     uint64_t frame, struct nth_context *context, bool *is_machine)
{
    for (unsigned i = 0; i < info->count; i += code_slots(info->codes[i])) {
        if (in_prologue && (info->codes[i] & 255u) > offset)
            continue; /* not executed yet */
        if (!undo(info->codes + i, frame, info->frame & 15, (info->frame >> 4) * 16u, context,
                  is_machine))
            return false;
    }
    return true;
}

/* Moves context to its caller. d gets function, frame, handler (of one of the wanted kinds) and its
 * data. False when the stack cannot be read. */
static bool step(const struct nth_image *image, struct nth_context *context, unsigned wanted,
                 struct dispatcher *d)
{
    d->pc = context->rip;
    d->image_base = (uint64_t)image->base;
    d->function = nth_function_at(image, context->rip);
    d->frame = context->r[NTH_RSP];
    d->handler = NULL;
    if (!d->function)
        return pop(context, &context->rip); /* a leaf: it changed no nonvolatile register */

    const struct unwind_info *info = info_at(image, d->function->unwind);
    const uint32_t offset = (uint32_t)(d->pc - d->image_base - d->function->begin);
    const bool in_prologue = offset < info->prologue;
    const unsigned frame_register = info->frame & 15;
    if (frame_is_set(info, offset))
        d->frame = context->r[frame_register] - (info->frame >> 4) * 16u;
    if (!in_prologue && leave_epilogue(image, d->function, frame_register, context))
        return true;
    bool is_machine = false;
    if (!undo_all(info, offset, in_prologue, d->frame, context, &is_machine))
        return false;
    while (info_flags(info) & FLAG_CHAINED) {
        struct nth_function parent;
        memcpy(&parent, info_tail(info), sizeof parent);
        info = info_at(image, parent.unwind);
        if (!undo_all(info, 0, false, d->frame, context, &is_machine))
            return false;
    }
    if (!in_prologue && info_flags(info) & wanted) {
        d->handler = image->base + nth_u32(info_tail(info));
        d->data = info_tail(info) + 4;
    }
    return is_machine || pop(context, &context->rip);
}

bool nth_unwind_step(struct nth_context *context)
{
    const struct nth_image *image = nth_image_at(context->rip);
    struct dispatcher d;

    return image && step(image, context, 0, &d);
}

/* ---- walks ---- */

/* The walk left the driver: goes on in the driver frame that called the host, or past a handler
 * that this file called. False when there is none: the bottom of the thread. */
static bool cross(struct cursor *cursor)
{
    struct nth_context *c = &cursor->context;
    const uint64_t rsp = c->r[NTH_RSP];

    while (cursor->crossing && (uint64_t)cursor->crossing < rsp)
        cursor->crossing = cursor->crossing->previous;
    while (cursor->pending && (uint64_t)cursor->pending < rsp)
        cursor->pending = cursor->pending->previous;
    const struct pending *p = cursor->pending;
    if (p && (!cursor->crossing || (uint64_t)p < (uint64_t)cursor->crossing)) {
        *c = *p->context;
        cursor->crossing = p->crossing;
        cursor->pending = p->previous;
        cursor->scope = p->dispatcher ? p->dispatcher->scope : 0;
        return true;
    }
    const struct nth_crossing *x = cursor->crossing;
    if (!x)
        return false;
    c->r[NTH_RBX] = x->rbx;
    c->r[NTH_RSI] = x->rsi;
    c->r[NTH_RDI] = x->rdi;
    c->r[NTH_RBP] = x->rbp;
    memcpy(&c->r[12], &x->r12, 4 * sizeof(uint64_t));
    memcpy(&c->xmm[6], x->xmm, sizeof x->xmm);
    c->rip = x->site;
    c->r[NTH_RSP] = (uint64_t)(&x->site + 1);
    cursor->crossing = x->previous;
    return true;
}

/* Brings the cursor to a driver frame; its image, or NULL at the bottom of the thread. */
static struct nth_image *to_driver(struct cursor *cursor)
{
    for (;;) {
        struct nth_image *image = nth_image_at(cursor->context.rip);
        if (image)
            return ++cursor->frames <= FRAME_LIMIT ? image : NULL;
        if (!cross(cursor))
            return NULL;
    }
}

unsigned nth_unwind_trace(const struct nth_context *context, uintptr_t *sites, unsigned max)
{
    struct cursor cursor = {.crossing = nth_crossings, .pending = pending_handlers};
    struct dispatcher d;
    unsigned count = 0;

    if (context)
        cursor.context = *context;
    else
        cursor.context.r[NTH_RSP] = (uint64_t)__builtin_frame_address(0);
    for (struct nth_image *image; count < max && (image = to_driver(&cursor)); count++) {
        sites[count] = cursor.context.rip + (count == 0 && context); /* as if it were a return */
        if (!step(image, &cursor.context, 0, &d))
            return count + 1;
    }
    return count;
}

/* ---- going on elsewhere ---- */

#ifdef NTH_TSAN

/* A place whose jump buffer knows how deep the run-time's stack of calls was: the frame that runs a
 * dispatch, or the crossing by which the host was called that raised. */
struct base {
    struct base *previous;
    uint64_t at;
    void *jump;
};
static _Thread_local struct base *bases;
static _Thread_local struct nth_context resumed;

/* Reached by a second return from the setjmp of a crossing (thunk.S). */
_Noreturn void nth_tsan_resume(void);
NTH_UNWATCHED void nth_tsan_resume(void)
{
    nth_context_restore(&resumed);
}

/* Of all that context leaves behind, the outermost was entered with what context itself had. */
static _Noreturn void go_on(const struct nth_context *context)
{
    const uint64_t rsp = context->r[NTH_RSP];
    void *jump = NULL;
    uint64_t at = 0;

    for (; bases && (uint64_t)bases < rsp; bases = bases->previous)
        if (bases->at > at && bases->at < rsp) {
            at = bases->at;
            jump = bases->jump;
        }
    for (struct nth_crossing *x = nth_crossings; x && (uint64_t)x < rsp; x = x->previous)
        if ((uint64_t)x > at) {
            at = (uint64_t)x;
            jump = x->jump;
        }
    while (nth_crossings && (uint64_t)nth_crossings < rsp)
        nth_crossings = nth_crossings->previous;
    resumed = *context;
    if (!jump)
        nth_fail("an exception began nowhere");
    longjmp(jump, 1);
}

static void begin(struct base *base, uint64_t at, void *jump)
{
    while (bases && (uint64_t)bases < (uint64_t)base)
        bases = bases->previous; /* left by other ways */
    *base = (struct base){bases, at, jump};
    bases = base;
}

#else

static _Noreturn void go_on(const struct nth_context *context)
{
    nth_context_restore(context);
}

#endif

/* ---- dispatch ---- */

static _Noreturn void unhandled(const struct nth_exception *record, const char *why)
{
    const uint64_t *i = record->information;
    /* what the host raised on a driver's behalf has the address its call returns to */
    const bool is_return = record->flags & NTH_EXCEPTION_NONCONTINUABLE;
    const char *symbol = nth_symbol_hook ? nth_symbol_hook(record->address + !is_return) : NULL;

    if (symbol)
        nth_stop_note("raised at %s", symbol);
    if (record->code == ACCESS_VIOLATION && !is_return && record->count == 2 && i[1] < NULL_PAGES)
        nth_stop("page-fault", "%s 0x%llx, a null pointer, or a field of one",
                 i[0] == 8   ? "execution of"
                 : i[0] == 1 ? "write to"
                             : "read from",
                 (unsigned long long)i[1]);
    nth_stop("unhandled-exception", "%s: exception 0x%08x at 0x%llx, parameters 0x%llx 0x%llx", why,
             record->code, (unsigned long long)record->address,
             (unsigned long long)(record->count > 0 ? i[0] : 0),
             (unsigned long long)(record->count > 1 ? i[1] : 0));
}

static uint32_t call_handler(struct nth_exception *record, struct nth_context *context,
                             struct dispatcher *d, struct pending *self)
{
    self->previous = pending_handlers;
    pending_handlers = self;
    const uint32_t answer = ((handler_routine)d->handler)(record, d->frame, context, d);
    pending_handlers = self->previous;
    return answer;
}

static _Noreturn void dispatch(struct nth_exception *record, struct nth_context *context);

static _Noreturn void refuse_to_continue(const struct nth_exception *record,
                                         struct nth_context *context)
{
    struct nth_exception second = {.code = NONCONTINUABLE_EXCEPTION,
                                   .flags = NTH_EXCEPTION_NONCONTINUABLE,
                                   .chain = (struct nth_exception *)record,
                                   .address = record->address};

    if (record->code == NONCONTINUABLE_EXCEPTION)
        unhandled(record, "a filter wants to continue a noncontinuable exception");
    dispatch(&second, context);
}

/* A filter that fails is asked about its own failure too, and may fail again. */
static void check_nesting(const struct nth_exception *record)
{
    unsigned depth = 0;

    for (const struct pending *p = pending_handlers; p; p = p->previous)
        if (++depth > NESTING_LIMIT)
            nth_stop("bad-exception-handling",
                     "exception 0x%08x in a handler that runs for the %uth exception at once",
                     record->code, depth);
}

/* First pass: asks every handler up the stack. One that wants the exception starts the second pass
 * itself (nth_c_specific_handler), and that does not return here. */
static _Noreturn void dispatch(struct nth_exception *record, struct nth_context *context)
{
    struct cursor cursor = {
        .context = *context, .crossing = nth_crossings, .pending = pending_handlers};
    struct dispatcher d;

    check_nesting(record);
    for (struct nth_image *image; (image = to_driver(&cursor));) {
        memset(&d, 0, sizeof d);
        d.context = &cursor.context;
        d.scope = cursor.scope;
        cursor.scope = 0;
        struct nth_crossing *crossing = nth_crossings;
        if (!step(image, &cursor.context, FLAG_EXCEPTION, &d))
            unhandled(record, "the stack is not readable");
        if (!d.handler)
            continue;
        struct pending self = {.context = context, .crossing = crossing};
        const uint32_t answer = call_handler(record, context, &d, &self);
        if (answer == CONTINUE_EXECUTION) {
            if (record->flags & NTH_EXCEPTION_NONCONTINUABLE)
                refuse_to_continue(record, context);
            go_on(context);
        }
        if (answer != CONTINUE_SEARCH)
            nth_stop("bad-exception-handling", "a handler answered %u", answer);
    }
    unhandled(record, "nobody handles it");
}

NTH_UNWATCHED void nth_dispatch(struct nth_exception *record, struct nth_context *context)
{
#ifdef NTH_TSAN
    jmp_buf jump;
    struct base base;

    if (_setjmp(jump) != 0)
        nth_context_restore(&resumed);
    begin(&base, (uint64_t)&base, jump);
#endif
    dispatch(record, context);
}

/* Drops what belongs to frames below rsp, which are gone. */
static void forget_below(uint64_t rsp)
{
    struct pending *p = pending_handlers;

    while (p && (uint64_t)p < rsp)
        p = p->previous;
    pending_handlers = p;
    nth_host_forget(rsp);
#ifndef NTH_TSAN /* go_on looks at them before it does this */
    while (nth_crossings && (uint64_t)nth_crossings < rsp)
        nth_crossings = nth_crossings->previous;
#endif
    while (nth_guards && (uint64_t)nth_guards < rsp)
        nth_guards = nth_guards->previous;
}

/* Second pass: runs termination handlers up to the frame that catches, then goes on there. */
static _Noreturn void unwind(uint64_t target_frame, uint64_t target, struct nth_exception *record,
                             const struct nth_context *from)
{
    /* the search pass that called the catching handler is over: skip its own entry */
    struct cursor cursor = {.context = *from,
                            .crossing = nth_crossings,
                            .pending = pending_handlers ? pending_handlers->previous : NULL};
    struct nth_context frame;
    struct dispatcher d;

    record->flags |= NTH_EXCEPTION_UNWINDING;
    for (struct nth_image *image; (image = to_driver(&cursor));) {
        frame = cursor.context;
        memset(&d, 0, sizeof d);
        d.context = &frame;
        d.target = target;
        d.scope = cursor.scope;
        cursor.scope = 0;
        struct nth_crossing *crossing = cursor.crossing;
        if (!step(image, &cursor.context, FLAG_TERMINATION, &d))
            unhandled(record, "the stack is not readable");
        if (d.frame == target_frame)
            record->flags |= NTH_EXCEPTION_TARGET_UNWIND;
        if (d.handler) {
            struct pending self = {.context = &frame, .dispatcher = &d, .crossing = crossing};
            pending_handlers = (struct pending *)cursor.pending;
            const uint32_t answer = call_handler(record, &frame, &d, &self);
            if (answer != CONTINUE_SEARCH)
                nth_stop("bad-exception-handling", "a termination handler answered %u", answer);
        }
        if (d.frame == target_frame) {
            const uint64_t rsp = frame.r[NTH_RSP];
            forget_below(rsp);
            nth_sanitize_unwind((uint64_t)__builtin_frame_address(0), rsp);
            frame.rip = target;
            frame.r[NTH_RAX] = record->code;
            go_on(&frame);
        }
    }
    unhandled(record, "the frame that wants it is not on the stack");
}

/* ---- the handler of C: __try, __except, __finally ---- */

struct scope {
    uint32_t begin, end, handler, target; /* handler: filter, 1 (take all), or the __finally */
};

/* Points at the scope table of the function; its length was not known when the image was checked.
 */
static const struct scope *scopes_of(const struct dispatcher *d, uint32_t *count)
{
    const struct nth_image *image = nth_image_at(d->image_base);
    const uint32_t rva = (uint32_t)((uint64_t)d->data - d->image_base);
    const uint32_t *table = image ? nth_image_range(image, rva, 4) : NULL;

    if (!table || !nth_image_range(image, rva, 4 + (size_t)*table * sizeof(struct scope)))
        nth_stop("bad-exception-handling", "scope table at 0x%x reaches beyond the image", rva);
    *count = *table;
    return (const struct scope *)(table + 1);
}

static uint64_t scope_code(const struct dispatcher *d, uint32_t rva)
{
    const struct nth_image *image = nth_image_at(d->image_base);

    if (!nth_image_executable(image, rva))
        nth_stop("bad-exception-handling", "scope table names 0x%x, which is no code", rva);
    return d->image_base + rva;
}

static uint32_t search_scopes(struct nth_exception *record, struct nth_context *context,
                              struct dispatcher *d, const struct scope *scopes, uint32_t count)
{
    struct {
        struct nth_exception *record;
        struct nth_context *context;
    } pointers = {record, context};
    const uint32_t pc = (uint32_t)(d->pc - d->image_base);

    for (uint32_t i = d->scope; i < count; i++) {
        const struct scope *scope = &scopes[i];
        if (pc < scope->begin || pc >= scope->end || scope->target == 0)
            continue;
        int32_t answer = 1;
        if (scope->handler != 1)
            answer = ((int32_t(NTAPI *)(void *, uint64_t))scope_code(d, scope->handler))(&pointers,
                                                                                         d->frame);
        if (answer < 0)
            return CONTINUE_EXECUTION;
        if (answer > 0)
            unwind(d->frame, scope_code(d, scope->target), record, context);
    }
    return CONTINUE_SEARCH;
}

static uint32_t run_terminations(const struct nth_exception *record, struct dispatcher *d,
                                 const struct scope *scopes, uint32_t count)
{
    const uint32_t pc = (uint32_t)(d->pc - d->image_base);
    const uint32_t target = (uint32_t)(d->target - d->image_base);

    for (uint32_t i = d->scope; i < count; i++) {
        const struct scope *scope = &scopes[i];
        if (pc < scope->begin || pc >= scope->end)
            continue;
        if (record->flags & NTH_EXCEPTION_TARGET_UNWIND &&
            (scope->target ? scope->target == target
                           : target >= scope->begin && target < scope->end))
            break; /* the scope that catches, or one around it that is not left */
        if (scope->target)
            continue;
        d->scope = i + 1; /* a collided unwind goes on after this one */
        ((void(NTAPI *)(uint32_t, uint64_t))scope_code(d, scope->handler))(1, d->frame);
    }
    return CONTINUE_SEARCH;
}

uint32_t NTAPI nth_c_specific_handler(struct nth_exception *record, uint64_t frame,
                                      struct nth_context *context, void *dispatcher)
{
    struct dispatcher *d = dispatcher;
    uint32_t count;
    const struct scope *scopes = scopes_of(d, &count);

    if (record->flags & (NTH_EXCEPTION_UNWINDING | NTH_EXCEPTION_EXIT_UNWIND))
        return run_terminations(record, d, scopes, count);
    return search_scopes(record, context, d, scopes, count);
}

/* ---- raising from the host ---- */

void nth_raise(NTSTATUS code, unsigned count, const ULONG_PTR *information)
{
    struct nth_exception record = {.code = (uint32_t)code,
                                   .flags = NTH_EXCEPTION_NONCONTINUABLE,
                                   .count = count < 15 ? count : 15};
    struct cursor cursor = {.crossing = nth_crossings, .pending = pending_handlers};

    for (unsigned i = 0; i < record.count; i++)
        record.information[i] = information[i];
    if (nth_guards && (!nth_crossings || (uint64_t)nth_guards < (uint64_t)nth_crossings))
        nth_guard_leave(code);
    if (!nth_crossings)
        nth_stop("unhandled-exception", "the host raised 0x%08x outside any driver's call",
                 (unsigned)code);
    nth_trace("%s raises 0x%08x", nth_call_name(), (unsigned)code);
    cursor.context.flags = CONTEXT_ALL;
    cursor.context.mxcsr = __builtin_ia32_stmxcsr();
    cursor.context.eflags = EFLAGS_SANE;
    cursor.context.r[NTH_RSP] = (uint64_t)__builtin_frame_address(0);
#ifdef NTH_TSAN
    struct base base;
    begin(&base, (uint64_t)nth_crossings, nth_crossings->jump);
#endif
    cross(&cursor);
    nth_crossings = cursor.crossing;
    record.address = cursor.context.rip;
    dispatch(&record, &cursor.context);
}
