/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Instructions that drivers contain because they expect to run in a kernel: access to CR8 (the
 * IRQL) and loads from KUSER_SHARED_DATA, which headers turn into plain instructions. Called in a
 * signal handler: takes no lock and allocates nothing. What is not known here stays a fault.
 */
#include "pe/private.h"

#include <string.h>

#define SHARED_DATA  0xFFFFF78000000000ull
#define SHARED_BYTES 0x400 /* what comes later is not provided */
/* 1 January 2026 in units of 100 ns since 1601: what the clock shows when nothing sets it */
#define EPOCH 134116992000000000ull

enum { TICK_100NS = 156250, FLAGS_STATUS = 0x8c5 }; /* OF SF ZF AF PF CF but for AF and PF */

uint64_t (*nth_system_time_hook)(void);

/* ---- KUSER_SHARED_DATA: the fields that its page documents, at their offsets ---- */

static void put_time(uint8_t *field, uint64_t value)
{
    const uint32_t low = (uint32_t)value, high = (uint32_t)(value >> 32);

    memcpy(field, &low, 4);
    memcpy(field + 4, &high, 4);
    memcpy(field + 8, &high, 4); /* High2Time: equal to High1Time when the value is whole */
}

static void put32(uint8_t *page, size_t offset, uint32_t value)
{
    memcpy(page + offset, &value, 4);
}

/* Windows version that a driver sees for the machine's NDIS version. */
static void put_version(uint8_t *page)
{
    const uint32_t minor = nth_config.ndis_version & 0xffff;
    const bool is_10 = minor >= 50;

    put32(page, 0x26c, is_10 ? 10 : 6);                                    /* NtMajorVersion */
    put32(page, 0x270, is_10 ? 0 : minor >= 40 ? 3 : minor >= 30 ? 2 : 1); /* NtMinorVersion */
}

/* Fields that are provided; reading any other stays a fault. */
static const struct nth_range fields[] = {
    {0x004, 4}, {0x008, 12}, {0x014, 12}, {0x264, 5},
    {0x26c, 8}, {0x2d4, 1},  {0x320, 12}, {0x3c0, 4},
};

static bool is_shared(uint64_t address, unsigned bytes)
{
    const uint64_t offset = address - SHARED_DATA;

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (offset - fields[i].rva < fields[i].bytes &&
            bytes <= fields[i].bytes - (offset - fields[i].rva))
            return true;
    return false;
}

static void fill_page(uint8_t *page)
{
    const uint64_t since_boot = nth_clock_ns() / 100;
    const uint64_t now = nth_system_time_hook ? nth_system_time_hook() : EPOCH + since_boot;

    put32(page, 0x004, 0x0fa00000); /* TickCountMultiplier: 15.625 ms, scaled by 2^24 */
    put_time(page + 0x008, since_boot);
    put_time(page + 0x014, now);
    put_version(page);
    put32(page, 0x264, 1); /* NtProductType: workstation */
    page[0x268] = 1;       /* ProductTypeIsValid */
    put_time(page + 0x320, since_boot / TICK_100NS);
    put32(page, 0x3c0, nth_config.processors); /* ActiveProcessorCount */
}

/* address passed is_shared. */
static uint64_t read_page(uint64_t address, unsigned bytes)
{
    uint8_t page[SHARED_BYTES] = {0};
    uint64_t value = 0;

    fill_page(page);
    memcpy(&value, &page[(uint32_t)address & (SHARED_BYTES - 1)], bytes);
    return value;
}

/* ---- decoding: one instruction with a memory operand ---- */

struct decoded {
    uint8_t code[24];
    unsigned length; /* consumed so far */
    unsigned rex, opcode;
    bool two_byte, is_word;
    unsigned mode, reg, rm;
    uint64_t address; /* of the operand */
};

static void decode_prefixes(struct decoded *d)
{
    while (d->code[d->length] == 0x66 && d->length < 4) {
        d->is_word = true;
        d->length++;
    }
    if ((d->code[d->length] & 0xf0) == 0x40)
        d->rex = d->code[d->length++];
    d->opcode = d->code[d->length++];
    if (d->opcode == 0x0f) {
        d->two_byte = true;
        d->opcode = d->code[d->length++];
    }
}

/* ModRM, SIB and displacement. False for a register operand. */
static bool decode_operand(struct decoded *d, const struct nth_context *c, unsigned immediate)
{
    const uint8_t modrm = d->code[d->length++];
    bool has_base = true;

    d->mode = modrm >> 6;
    d->reg = (modrm >> 3 & 7u) | (d->rex & 4u) << 1;
    d->rm = (modrm & 7u) | (d->rex & 1u) << 3;
    if (d->mode == 3)
        return false;
    if ((modrm & 7) == 4) {
        const uint8_t sib = d->code[d->length++];
        const unsigned index = (sib >> 3 & 7u) | (d->rex & 2u) << 2;
        d->rm = (sib & 7u) | (d->rex & 1u) << 3;
        if (index != 4)
            d->address += c->r[index] << (sib >> 6);
        has_base = !((sib & 7) == 5 && d->mode == 0);
        if (!has_base) {
            d->address += (uint64_t)(int32_t)nth_u32(d->code + d->length);
            d->length += 4;
        }
    } else if ((modrm & 7) == 5 && d->mode == 0) {
        const int32_t relative = (int32_t)nth_u32(d->code + d->length);
        d->length += 4;
        d->address = c->rip + d->length + immediate + (uint64_t)relative;
        return true;
    }
    if (has_base)
        d->address += c->r[d->rm];
    if (d->mode == 1)
        d->address += (uint64_t)(int8_t)d->code[d->length++];
    if (d->mode == 2) {
        d->address += (uint64_t)(int32_t)nth_u32(d->code + d->length);
        d->length += 4;
    }
    return true;
}

static unsigned operand_bytes(const struct decoded *d)
{
    return d->rex & 8 ? 8 : d->is_word ? 2 : 4;
}

static uint64_t extend(uint64_t value, unsigned bytes, bool is_signed)
{
    const unsigned shift = 64 - bytes * 8;

    return is_signed ? (uint64_t)((int64_t)(value << shift) >> shift) : value << shift >> shift;
}

/* A register as the instruction set writes it: 32 bits clear the upper half, 8 and 16 keep the
 * rest. */
static void set_register(struct nth_context *c, const struct decoded *d, unsigned bytes,
                         uint64_t value)
{
    unsigned reg = d->reg, shift = 0;

    if (bytes == 1 && !d->rex && reg >= 4) {
        reg -= 4; /* ah, ch, dh, bh */
        shift = 8;
    }
    if (bytes >= 4) {
        c->r[reg] = bytes == 4 ? (uint32_t)value : value;
        return;
    }
    const uint64_t mask = ((1ull << bytes * 8) - 1) << shift;
    c->r[reg] = (c->r[reg] & ~mask) | (value << shift & mask);
}

static uint64_t get_register(const struct nth_context *c, const struct decoded *d, unsigned bytes)
{
    if (bytes == 1 && !d->rex && d->reg >= 4)
        return c->r[d->reg - 4] >> 8 & 0xff;
    return extend(c->r[d->reg], bytes, false);
}

/* The eight operations of the instruction set's first rows, and 8 for TEST. Flags come from the
 * processor: operands are moved to the top of a register first, so that carry and sign are right.
 */
static uint64_t compute(unsigned operation, uint64_t left, uint64_t right, unsigned bytes,
                        uint32_t *eflags)
{
    const unsigned shift = 64 - bytes * 8;
    uint64_t value = left << shift, flags = 0;

    right <<= shift;
    switch (operation) {
    case 0:
        __asm__("add %2,%0; pushfq; popq %1" : "+r"(value), "=r"(flags) : "r"(right) : "cc");
        break;
    case 1:
        __asm__("or %2,%0; pushfq; popq %1" : "+r"(value), "=r"(flags) : "r"(right) : "cc");
        break;
    case 4:
    case 8:
        __asm__("and %2,%0; pushfq; popq %1" : "+r"(value), "=r"(flags) : "r"(right) : "cc");
        break;
    case 6:
        __asm__("xor %2,%0; pushfq; popq %1" : "+r"(value), "=r"(flags) : "r"(right) : "cc");
        break;
    default:
        __asm__("sub %2,%0; pushfq; popq %1" : "+r"(value), "=r"(flags) : "r"(right) : "cc");
        break;
    }
    *eflags = (*eflags & ~(uint32_t)FLAGS_STATUS) | ((uint32_t)flags & FLAGS_STATUS);
    return value >> shift;
}

/* ---- the forms ---- */

/* mov eax, [address64] */
static bool load_absolute(struct decoded *d, struct nth_context *c)
{
    const unsigned bytes = d->opcode == 0xa0 ? 1 : operand_bytes(d);
    const uint64_t address = nth_u64(d->code + d->length);

    if (!is_shared(address, bytes))
        return false;
    d->length += 8;
    d->reg = NTH_RAX;
    set_register(c, d, bytes, read_page(address, bytes));
    return true;
}

/* mov, movzx, movsx, movsxd to a register */
static bool load(struct decoded *d, struct nth_context *c)
{
    unsigned from = operand_bytes(d), to = from;
    bool is_signed = false;

    if (d->two_byte) {
        from = d->opcode & 1 ? 2 : 1;
        is_signed = d->opcode >= 0xbe;
    } else if (d->opcode == 0x63) {
        from = 4;
        is_signed = true;
    } else if (d->opcode == 0x8a) {
        from = to = 1;
    }
    if (!decode_operand(d, c, 0) || !is_shared(d->address, from))
        return false;
    set_register(c, d, to, extend(read_page(d->address, from), from, is_signed));
    return true;
}

/* op register, [memory]; and the two that only read with memory on the left: cmp, test */
static bool operate(struct decoded *d, struct nth_context *c, unsigned operation, bool memory_left)
{
    const unsigned bytes = d->opcode & 1 ? operand_bytes(d) : 1;

    if (!decode_operand(d, c, 0) || !is_shared(d->address, bytes) || operation == 2 ||
        operation == 3)
        return false;
    const uint64_t memory = read_page(d->address, bytes), reg = get_register(c, d, bytes);
    const uint64_t value = memory_left ? compute(operation, memory, reg, bytes, &c->eflags)
                                       : compute(operation, reg, memory, bytes, &c->eflags);
    if (operation < 7)
        set_register(c, d, bytes, value);
    return true;
}

/* cmp or test [memory], immediate */
static bool compare_immediate(struct decoded *d, struct nth_context *c)
{
    const bool is_test = d->opcode >= 0xf6;
    const unsigned bytes = d->opcode & 1 ? operand_bytes(d) : 1;
    const unsigned immediate = bytes == 1 || d->opcode == 0x83 ? 1 : bytes == 2 ? 2 : 4;

    if (!decode_operand(d, c, immediate) || !is_shared(d->address, bytes) ||
        (d->reg & 7) != (is_test ? 0 : 7))
        return false;
    uint64_t value = 0;
    memcpy(&value, d->code + d->length, immediate);
    d->length += immediate;
    compute(is_test ? 8 : 7, read_page(d->address, bytes),
            extend(extend(value, immediate, true), bytes, false), bytes, &c->eflags);
    return true;
}

static bool emulate_load(struct decoded *d, struct nth_context *c)
{
    const unsigned op = d->opcode;

    if (d->two_byte)
        return (op == 0xb6 || op == 0xb7 || op == 0xbe || op == 0xbf) && load(d, c);
    if (op == 0xa0 || op == 0xa1)
        return load_absolute(d, c);
    if (op == 0x8a || op == 0x8b || op == 0x63)
        return load(d, c);
    if (op < 0x40 && (op & 6) == 2)
        return operate(d, c, op >> 3, false);
    if (op == 0x38 || op == 0x39)
        return operate(d, c, 7, true);
    if (op == 0x84 || op == 0x85)
        return operate(d, c, 8, true);
    if (op == 0x80 || op == 0x81 || op == 0x83 || op == 0xf6 || op == 0xf7)
        return compare_immediate(d, c);
    return false;
}

/* mov r64, cr8 and mov cr8, r64: 44 or 45, 0F 20 or 22, C0+reg */
static enum nth_emulation emulate_cr8(const uint8_t *code, struct nth_context *c)
{
    const unsigned reg = (code[3] & 7u) | (code[0] & 1u) << 3;

    if ((code[0] & 0xf6) != 0x44 || code[1] != 0x0f || (code[2] & 0xfd) != 0x20 ||
        (code[3] & 0xf8) != 0xc0)
        return NTH_EMULATE_NOT;
    c->rip += 4;
    if (code[2] == 0x22) {
        c->home[0] = c->r[reg];
        return NTH_EMULATE_IRQL;
    }
    c->r[reg] = nth_irql();
    return NTH_EMULATE_DONE;
}

enum nth_emulation nth_emulate(struct nth_context *context, uint64_t fault_address)
{
    struct decoded d = {0};

    for (unsigned i = 0; i < 16 && nth_peek(&d.code[i], context->rip + i, 1); i++)
        ;
    const enum nth_emulation cr8 = emulate_cr8(d.code, context);
    if (cr8 != NTH_EMULATE_NOT)
        return cr8;
    (void)fault_address; /* not told for every kind of fault: the operand is what counts */
    decode_prefixes(&d);
    if (!emulate_load(&d, context))
        return NTH_EMULATE_NOT;
    context->rip += d.length;
    return NTH_EMULATE_DONE;
}

/* Runs on the driver's stack, since a change of IRQL may let others run. */
NTH_UNWATCHED void nth_emulate_irql(struct nth_context *context)
{
    const uint64_t wanted = context->home[0];

    if (wanted > HIGH_LEVEL)
        nth_stop("illegal-instruction", "IRQL %llu written to CR8", (unsigned long long)wanted);
    if (wanted > nth_irql())
        nth_irql_raise((KIRQL)wanted);
    else if (wanted < nth_irql())
        nth_irql_lower((KIRQL)wanted);
    nth_context_restore(context);
}
