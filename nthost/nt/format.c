/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Formatted text as the kernel's printf family makes it: sizes and string kinds are Microsoft's
 * ("l" is 32 bits, %wZ a UNICODE_STRING), and so are the answers when the buffer is too small. What
 * the kernel cannot format (floating point, %n) is a stop.
 */
#include "nt/format.h"

#include <string.h>

enum { FIELD_BYTES = 128, NARROW = 1, WIDE = 2 };

struct spec {
    bool is_left, has_plus, has_space, has_prefix, has_zero;
    int width, precision; /* precision -1: not given */
    int bits;             /* 16, 32 or 64 */
    int text;             /* 0: as the function's own, NARROW, WIDE */
    WCHAR type;
};

struct out {
    void *buffer;
    size_t room, count;
    bool is_wide;
    bool used_unicode; /* which needs PASSIVE_LEVEL in DbgPrint */
};

static void put(struct out *out, WCHAR c)
{
    if (out->count < out->room && out->is_wide)
        ((WCHAR *)out->buffer)[out->count] = c;
    else if (out->count < out->room)
        ((char *)out->buffer)[out->count] = c < 0x100 ? (char)c : '?';
    out->count++;
}

static void pad(struct out *out, int count, WCHAR c)
{
    while (count-- > 0)
        put(out, c);
}

/* ---- fields ---- */

static void put_text(struct out *out, const struct spec *spec, const void *text, size_t length,
                     bool is_wide)
{
    const int blanks = spec->width > (int)length ? spec->width - (int)length : 0;

    out->used_unicode = out->used_unicode || is_wide;
    if (!spec->is_left)
        pad(out, blanks, spec->has_zero ? '0' : ' ');
    for (size_t i = 0; i < length; i++)
        put(out, is_wide ? ((const WCHAR *)text)[i] : ((const unsigned char *)text)[i]);
    if (spec->is_left)
        pad(out, blanks, ' ');
}

static void put_string(struct out *out, const struct spec *spec, const void *text, bool is_wide)
{
    size_t length = 0;

    if (!text) {
        text = "(null)";
        is_wide = false;
    }
    while (spec->precision < 0 || length < (size_t)spec->precision) {
        const unsigned c =
            is_wide ? ((const WCHAR *)text)[length] : ((const unsigned char *)text)[length];
        if (c == 0)
            break;
        length++;
    }
    put_text(out, spec, text, length, is_wide);
}

/* %Z: a counted string, whose Length is in bytes. */
static void put_counted(struct out *out, const struct spec *spec, const STRING *string,
                        bool is_wide)
{
    if (!string || !string->Buffer) {
        put_string(out, spec, NULL, false);
        return;
    }
    size_t length = is_wide ? string->Length / sizeof(WCHAR) : string->Length;
    if (spec->precision >= 0 && length > (size_t)spec->precision)
        length = (size_t)spec->precision;
    put_text(out, spec, string->Buffer, length, is_wide);
}

static int digits_of(uint64_t value, unsigned base, bool is_upper, char *end)
{
    const char *const set = is_upper ? "0123456789ABCDEF" : "0123456789abcdef";
    int count = 0;

    for (; value; value /= base)
        end[-++count] = set[value % base];
    return count;
}

static void put_number(struct out *out, const struct spec *spec, uint64_t value, unsigned base,
                       const char *prefix)
{
    char digits[FIELD_BYTES];
    char *const end = digits + sizeof(digits);
    const int count = digits_of(value, base, spec->type != 'x', end);
    const int prefix_length = (int)strlen(prefix);
    int zeros = (spec->precision < 0 ? 1 : spec->precision) - count;

    if (zeros < 0)
        zeros = 0;
    if (spec->has_zero && !spec->is_left && spec->precision < 0 &&
        spec->width > prefix_length + count + zeros)
        zeros = spec->width - prefix_length - count;
    const int blanks = spec->width - prefix_length - zeros - count;
    if (!spec->is_left)
        pad(out, blanks, ' ');
    for (const char *p = prefix; *p; p++)
        put(out, (unsigned char)*p);
    pad(out, zeros, '0');
    for (int i = count; i > 0; i--)
        put(out, (unsigned char)end[-i]);
    if (spec->is_left)
        pad(out, blanks, ' ');
}

static void put_signed(struct out *out, const struct spec *spec, uint64_t raw)
{
    const int64_t value = spec->bits == 64   ? (int64_t)raw
                          : spec->bits == 16 ? (int16_t)raw
                                             : (int32_t)raw;
    const char *const sign = value < 0 ? "-" : spec->has_plus ? "+" : spec->has_space ? " " : "";

    put_number(out, spec, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, sign);
}

static void put_unsigned(struct out *out, const struct spec *spec, uint64_t raw, unsigned base)
{
    const uint64_t value = spec->bits == 64   ? raw
                           : spec->bits == 16 ? (uint16_t)raw
                                              : (uint32_t)raw;
    const char *prefix = "";

    if (spec->has_prefix && value && base == 16)
        prefix = spec->type == 'x' ? "0x" : "0X";
    else if (spec->has_prefix && base == 8)
        prefix = "0";
    put_number(out, spec, value, base, prefix);
}

/* ---- the format ---- */

struct input {
    const void *format;
    size_t at;
    bool is_wide;
};

static WCHAR peek(const struct input *in, size_t ahead)
{
    return in->is_wide ? ((const WCHAR *)in->format)[in->at + ahead]
                       : ((const unsigned char *)in->format)[in->at + ahead];
}

static void parse_flags(struct input *in, struct spec *spec)
{
    for (;; in->at++) {
        switch (peek(in, 0)) {
        case '-':
            spec->is_left = true;
            break;
        case '+':
            spec->has_plus = true;
            break;
        case ' ':
            spec->has_space = true;
            break;
        case '#':
            spec->has_prefix = true;
            break;
        case '0':
            spec->has_zero = true;
            break;
        default:
            return;
        }
    }
}

static int parse_count(struct input *in, NT_VA_LIST *arguments)
{
    int count = 0;

    if (peek(in, 0) == '*') {
        in->at++;
        return __builtin_va_arg(*arguments, int);
    }
    while (peek(in, 0) >= '0' && peek(in, 0) <= '9' && count < 100000) {
        count = count * 10 + (peek(in, 0) - '0');
        in->at++;
    }
    return count;
}

static void parse_size(struct input *in, struct spec *spec)
{
    const WCHAR c = peek(in, 0);
    const bool is_i64 = c == 'I' && peek(in, 1) == '6' && peek(in, 2) == '4';
    const bool is_i32 = c == 'I' && peek(in, 1) == '3' && peek(in, 2) == '2';
    const bool is_ll = c == 'l' && peek(in, 1) == 'l';

    if (is_i64 || is_i32) {
        spec->bits = is_i64 ? 64 : 32;
        in->at += 3;
    } else if (is_ll || c == 'I' || c == 'j' || c == 'z' || c == 't') {
        spec->bits = 64;
        in->at += is_ll ? 2 : 1;
    } else if (c == 'l' || c == 'w') {
        spec->text = WIDE;
        in->at++;
    } else if (c == 'h') {
        spec->bits = 16;
        spec->text = NARROW;
        in->at++;
    }
}

static void parse_spec(struct input *in, struct spec *spec, NT_VA_LIST *arguments)
{
    parse_flags(in, spec);
    spec->width = parse_count(in, arguments);
    if (spec->width < 0) {
        spec->is_left = true;
        spec->width = -spec->width;
    }
    if (peek(in, 0) == '.') {
        in->at++;
        spec->precision = parse_count(in, arguments);
    }
    parse_size(in, spec);
    spec->type = peek(in, 0);
    if (spec->type)
        in->at++;
}

/* Capital S and C mean the kind that is not the function's own. */
static bool is_text_wide(const struct spec *spec, bool is_function_wide)
{
    const bool is_capital = spec->type == 'S' || spec->type == 'C';

    return spec->text ? spec->text == WIDE : is_function_wide != is_capital;
}

static void put_field(struct out *out, struct spec *spec, NT_VA_LIST *arguments)
{
    switch (spec->type) {
    case 'd':
    case 'i':
        put_signed(out, spec, __builtin_va_arg(*arguments, uint64_t));
        break;
    case 'u':
        put_unsigned(out, spec, __builtin_va_arg(*arguments, uint64_t), 10);
        break;
    case 'o':
        put_unsigned(out, spec, __builtin_va_arg(*arguments, uint64_t), 8);
        break;
    case 'x':
    case 'X':
        put_unsigned(out, spec, __builtin_va_arg(*arguments, uint64_t), 16);
        break;
    case 'p':
    case 'P':
        spec->bits = 64;
        spec->precision = 16;
        put_unsigned(out, spec, __builtin_va_arg(*arguments, uint64_t), 16);
        break;
    case 'c':
    case 'C': {
        const bool is_wide = is_text_wide(spec, out->is_wide);
        const WCHAR c = (WCHAR) __builtin_va_arg(*arguments, uint64_t);
        const unsigned char narrow = (unsigned char)c;
        put_text(out, spec, is_wide ? (const void *)&c : &narrow, 1, is_wide);
        break;
    }
    case 's':
    case 'S':
        put_string(out, spec, __builtin_va_arg(*arguments, const void *),
                   is_text_wide(spec, out->is_wide));
        break;
    case 'Z':
        put_counted(out, spec, __builtin_va_arg(*arguments, const STRING *), spec->text == WIDE);
        break;
    case 'n':
    case 'a':
    case 'A':
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
        nth_stop("not-provided", "a format with %%%c", spec->type);
    default:
        if (spec->type)
            put(out, spec->type); /* "%%", and unknown letters as themselves */
    }
}

static void format_all(struct out *out, const void *format, NT_VA_LIST *arguments)
{
    struct input in = {.format = format, .is_wide = out->is_wide};

    while (peek(&in, 0)) {
        const WCHAR c = peek(&in, 0);
        in.at++;
        if (c != '%') {
            put(out, c);
            continue;
        }
        struct spec spec = {.precision = -1, .bits = 32};
        parse_spec(&in, &spec, arguments);
        put_field(out, &spec, arguments);
    }
}

/* The length, with a terminator where it fits; -1 when even the text does not. */
static int finish(const struct out *out)
{
    if (out->count < out->room && out->is_wide)
        ((WCHAR *)out->buffer)[out->count] = 0;
    else if (out->count < out->room)
        ((char *)out->buffer)[out->count] = 0;
    if (out->count > out->room && out->buffer)
        return -1;
    return (int)out->count;
}

int nth_format(char *buffer, size_t room, const char *format, NT_VA_LIST arguments,
               bool *used_unicode)
{
    struct out out = {.buffer = buffer, .room = room};

    format_all(&out, format, &arguments);
    if (used_unicode)
        *used_unicode = out.used_unicode;
    return finish(&out);
}

int NTAPIV _vsnprintf(char *Buffer, SIZE_T Count, const char *Format, NT_VA_LIST Arguments)
{
    return nth_format(Buffer, Count, Format, Arguments, NULL);
}
NTH_EXPORT(_vsnprintf, 4);

int NTAPIV _vsnwprintf(WCHAR *Buffer, SIZE_T Count, const WCHAR *Format, NT_VA_LIST Arguments)
{
    struct out out = {.buffer = Buffer, .room = Count, .is_wide = true};

    format_all(&out, Format, &Arguments);
    return finish(&out);
}
NTH_EXPORT(_vsnwprintf, 4);

int NTAPIV nth_snprintf(char *Buffer, SIZE_T Count, const char *Format, ...)
{
    NT_VA_LIST arguments;

    __builtin_ms_va_start(arguments, Format);
    const int result = _vsnprintf(Buffer, Count, Format, arguments);
    __builtin_ms_va_end(arguments);
    return result;
}
NTH_EXPORT_AS(_snprintf, "_snprintf", nth_snprintf, NTH_VARIADIC);

int NTAPIV nth_snwprintf(WCHAR *Buffer, SIZE_T Count, const WCHAR *Format, ...)
{
    NT_VA_LIST arguments;

    __builtin_ms_va_start(arguments, Format);
    const int result = _vsnwprintf(Buffer, Count, Format, arguments);
    __builtin_ms_va_end(arguments);
    return result;
}
NTH_EXPORT_AS(_snwprintf, "_snwprintf", nth_snwprintf, NTH_VARIADIC);
