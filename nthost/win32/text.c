/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Text of two encodings, and errors of three: small helpers of this folder. Text is UTF-16 on the
 * modules' side and UTF-8 on the host's.
 */
#include "win32/private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *win32_calloc(size_t bytes)
{
    void *memory = calloc(1, bytes != 0 ? bytes : 1);

    if (memory == NULL)
        nth_fail("out of memory (%zu bytes)", bytes);
    return memory;
}

size_t win32_length(const WCHAR *text)
{
    size_t length = 0;

    while (text[length] != 0)
        length++;
    return length;
}

static WCHAR upper(WCHAR c)
{
    return c >= 'a' && c <= 'z' ? (WCHAR)(c - 32) : c;
}

int win32_compare(const WCHAR *a, const WCHAR *b)
{
    for (; *a != 0 && upper(*a) == upper(*b); a++)
        b++;
    return (int)upper(*a) - (int)upper(*b);
}

/* Invalid sequences become '?': the host's text is its own. */
WCHAR *win32_wide(const char *utf8)
{
    const unsigned char *from = (const unsigned char *)utf8;
    WCHAR *text = win32_calloc((strlen(utf8) + 1) * sizeof(WCHAR)), *to = text;

    while (*from != 0) {
        uint32_t c = *from++;
        const int more = c < 0x80 ? 0 : c >> 5 == 6 ? 1 : c >> 4 == 14 ? 2 : c >> 3 == 30 ? 3 : -1;
        if (more > 0)
            c &= 0x3fu >> more;
        for (int i = 0; i < more && (*from & 0xc0) == 0x80; i++)
            c = c << 6 | (*from++ & 0x3f);
        if (more < 0)
            c = '?';
        if (c >= 0x10000) {
            *to++ = (WCHAR)(0xd800 + ((c - 0x10000) >> 10));
            c = 0xdc00 + (c & 0x3ff);
        }
        *to++ = (WCHAR)c;
    }
    return text;
}

static char *put(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
    }
    *to++ = (char)(0x80 | (c & 0x3f));
    return to;
}

char *win32_utf8(const WCHAR *text)
{
    char *utf8 = win32_calloc(win32_length(text) * 3 + 1), *to = utf8;

    for (; *text != 0; text++) {
        uint32_t c = *text;
        if (c >> 10 == 0x36 && text[1] >> 10 == 0x37)
            c = 0x10000 + ((c & 0x3ff) << 10) + (*++text & 0x3ff);
        to = put(to, c);
    }
    return utf8;
}

void win32_guid_text(const GUID *guid, WCHAR text[39])
{
    char buffer[40];

    snprintf(buffer, sizeof(buffer), "{%08X-%04X-%04X-%02X%02X-%02X%02X%02X%02X%02X%02X}",
             guid->Data1, guid->Data2, guid->Data3, guid->Data4[0], guid->Data4[1], guid->Data4[2],
             guid->Data4[3], guid->Data4[4], guid->Data4[5], guid->Data4[6], guid->Data4[7]);
    for (int i = 0; i < 39; i++)
        text[i] = (WCHAR)buffer[i];
}

/* ---- errors ---- */

BOOL win32_fail(uint32_t error)
{
    win32_set_last_error(error);
    return FALSE;
}

BOOL win32_result(uint32_t error)
{
    return error == ERROR_SUCCESS || win32_fail(error);
}

/* HRESULT_FROM_WIN32: what is an HRESULT already stays one. */
HRESULT win32_hresult(uint32_t error)
{
    return (HRESULT)((int32_t)error <= 0 ? error : (error & 0xffff) | 0x80070000);
}

/* [MS-ERREF] 2.3 and what RtlNtStatusToDosError answers for each. */
static const struct {
    NTSTATUS status;
    uint32_t error;
} errors[] = {
    {STATUS_SUCCESS, ERROR_SUCCESS},
    {STATUS_PENDING, ERROR_IO_PENDING},
    {STATUS_TIMEOUT, WAIT_TIMEOUT},
    {(NTSTATUS)0xC0000001, ERROR_GEN_FAILURE},         /* STATUS_UNSUCCESSFUL */
    {(NTSTATUS)0xC0000002, ERROR_INVALID_FUNCTION},    /* STATUS_NOT_IMPLEMENTED */
    {(NTSTATUS)0xC0000005, ERROR_NOACCESS},            /* STATUS_ACCESS_VIOLATION */
    {(NTSTATUS)0xC0000008, ERROR_INVALID_HANDLE},      /* STATUS_INVALID_HANDLE */
    {(NTSTATUS)0xC000000D, ERROR_INVALID_PARAMETER},   /* STATUS_INVALID_PARAMETER */
    {(NTSTATUS)0xC000000E, ERROR_FILE_NOT_FOUND},      /* STATUS_NO_SUCH_DEVICE */
    {(NTSTATUS)0xC000000F, ERROR_FILE_NOT_FOUND},      /* STATUS_NO_SUCH_FILE */
    {(NTSTATUS)0xC0000010, ERROR_INVALID_FUNCTION},    /* STATUS_INVALID_DEVICE_REQUEST */
    {(NTSTATUS)0xC0000017, ERROR_NOT_ENOUGH_MEMORY},   /* STATUS_NO_MEMORY */
    {(NTSTATUS)0xC0000022, ERROR_ACCESS_DENIED},       /* STATUS_ACCESS_DENIED */
    {(NTSTATUS)0xC0000023, ERROR_INSUFFICIENT_BUFFER}, /* STATUS_BUFFER_TOO_SMALL */
    {(NTSTATUS)0xC0000024, ERROR_INVALID_HANDLE},      /* STATUS_OBJECT_TYPE_MISMATCH */
    {(NTSTATUS)0xC0000033, ERROR_INVALID_NAME},        /* STATUS_OBJECT_NAME_INVALID */
    {(NTSTATUS)0xC0000034, ERROR_FILE_NOT_FOUND},      /* STATUS_OBJECT_NAME_NOT_FOUND */
    {(NTSTATUS)0xC0000035, ERROR_ALREADY_EXISTS},      /* STATUS_OBJECT_NAME_COLLISION */
    {(NTSTATUS)0xC000003A, ERROR_PATH_NOT_FOUND},      /* STATUS_OBJECT_PATH_NOT_FOUND */
    {(NTSTATUS)0xC0000046, ERROR_NOT_OWNER},           /* STATUS_MUTANT_NOT_OWNED */
    {(NTSTATUS)0xC0000056, ERROR_ACCESS_DENIED},       /* STATUS_DELETE_PENDING */
    {(NTSTATUS)0xC000009A, ERROR_NO_SYSTEM_RESOURCES}, /* STATUS_INSUFFICIENT_RESOURCES */
    {(NTSTATUS)0xC00000A3, ERROR_NOT_READY},           /* STATUS_DEVICE_NOT_READY */
    {(NTSTATUS)0xC00000B6, ERROR_HANDLE_EOF},          /* STATUS_FILE_FORCED_CLOSED */
    {(NTSTATUS)0xC00000BB, ERROR_NOT_SUPPORTED},       /* STATUS_NOT_SUPPORTED */
    {(NTSTATUS)0xC00000E8, ERROR_INVALID_USER_BUFFER}, /* STATUS_INVALID_USER_BUFFER */
    {(NTSTATUS)0xC0000120, ERROR_OPERATION_ABORTED},   /* STATUS_CANCELLED */
    {(NTSTATUS)0xC000010A, ERROR_ACCESS_DENIED},       /* STATUS_PROCESS_IS_TERMINATING */
    {(NTSTATUS)0xC0000121, ERROR_ACCESS_DENIED},       /* STATUS_CANNOT_DELETE */
    {(NTSTATUS)0xC000012D, ERROR_COMMITMENT_LIMIT},    /* STATUS_COMMITMENT_LIMIT */
    {(NTSTATUS)0xC000017C, ERROR_KEY_DELETED},         /* STATUS_KEY_DELETED */
    {(NTSTATUS)0xC0000184, 22},   /* STATUS_INVALID_DEVICE_STATE: BAD_COMMAND */
    {(NTSTATUS)0xC000026C, 2005}, /* STATUS_DRIVER_UNABLE_TO_LOAD */
    {(NTSTATUS)0xC0000365, 1275}, /* STATUS_FAILED_DRIVER_ENTRY: BLOCKED */
    {(NTSTATUS)0xC0000428, 577},  /* STATUS_INVALID_IMAGE_HASH */
    {(NTSTATUS)0xC0000510, ERROR_ALREADY_INITIALIZED}, /* STATUS_ALREADY_INITIALIZED */
    {(NTSTATUS)0xC0010011, 17},                        /* NDIS_STATUS_ADAPTER_NOT_READY */
};

uint32_t win32_error_of(NTSTATUS status)
{
    for (size_t i = 0; i < ARRAYSIZE(errors); i++)
        if (errors[i].status == status)
            return errors[i].error;
    if (NT_SUCCESS(status))
        return ERROR_SUCCESS;
    return ERROR_MR_MID_NOT_FOUND; /* what the page says of a status without an error */
}
