/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * kernel32.dll: errors, memory, thread-local storage, processes, time, text. Objects and files are
 * in objects.c and files.c, threads and locks in threads.c, modules in module.c.
 */
#include "win32/private.h"

#include <stdlib.h>
#include <string.h>

/* ---- errors ---- */

static DWORD WINAPI GetLastError(void)
{
    return win32_self()->last_error;
}
WIN32_EXPORT("kernel32", GetLastError, 0, FAILS_NEVER, 0);

static void WINAPI SetLastError(DWORD error)
{
    win32_self()->last_error = error;
}
WIN32_EXPORT("kernel32", SetLastError, 1, FAILS_NEVER, 0);

/* ---- heaps: blocks are the host's, so that its address checks see every access ---- */

struct heap {
    unsigned blocks;
};

enum { HEAP_ZERO_MEMORY = 8 };

static HANDLE WINAPI HeapCreate(DWORD options, SIZE_T initial, SIZE_T maximum)
{
    struct heap *heap = win32_calloc(sizeof(*heap));

    if (options != 0 || maximum != 0)
        nth_stop("not-provided", "HeapCreate with options 0x%x or a maximum", options);
    (void)initial;
    win32_hold(WIN32_HEAP, heap, 0);
    return heap;
}
WIN32_EXPORT("kernel32", HeapCreate, 3, FAILS_ZERO, ERROR_NOT_ENOUGH_MEMORY);

/* The page: the function does not set the last error. It still may have been changed. */
static void *WINAPI HeapAlloc(HANDLE heap, DWORD flags, SIZE_T bytes)
{
    if (!win32_holds(WIN32_HEAP, heap, NULL))
        nth_stop("bad-parameter", "HeapAlloc from %p, which is no heap", heap);
    if (flags & ~(DWORD)HEAP_ZERO_MEMORY)
        nth_stop("not-provided", "HeapAlloc with flags 0x%x", flags);
    if (bytes > UINT32_MAX)
        return NULL;
    void *block = malloc(bytes != 0 ? bytes : 1);
    if (block == NULL)
        return NULL;
    memset(block, flags & HEAP_ZERO_MEMORY ? 0 : 0xcd, bytes);
    win32_hold(WIN32_BLOCK, block, (uintptr_t)heap);
    return block;
}
WIN32_EXPORT("kernel32", HeapAlloc, 3, FAILS_NULL, 0);

static BOOL WINAPI HeapFree(HANDLE heap, DWORD flags, void *block)
{
    uintptr_t owner = 0;

    if (block == NULL)
        return TRUE;
    if (!win32_let_go(WIN32_BLOCK, block, &owner) || owner != (uintptr_t)heap || flags != 0)
        nth_stop("double-free", "HeapFree of %p, which is no block of heap %p", block, heap);
    free(block);
    return TRUE;
}
WIN32_EXPORT("kernel32", HeapFree, 3, FAILS_NEVER, 0);

/* With its blocks, as the page says. */
static BOOL WINAPI HeapDestroy(HANDLE heap)
{
    void *block;

    if (!win32_let_go(WIN32_HEAP, heap, NULL))
        nth_stop("double-free", "HeapDestroy of %p, which is no heap", heap);
    while ((block = win32_take_held_of(WIN32_BLOCK, (uintptr_t)heap)) != NULL)
        free(block);
    free(heap);
    return TRUE;
}
WIN32_EXPORT("kernel32", HeapDestroy, 1, FAILS_NEVER, 0);

static HLOCAL WINAPI LocalFree(HLOCAL block)
{
    if (block == NULL)
        return NULL;
    if (!win32_let_go(WIN32_LOCAL, block, NULL))
        nth_stop("double-free", "LocalFree of %p, which is no local block", block);
    free(block);
    return NULL;
}
WIN32_EXPORT("kernel32", LocalFree, 1, FAILS_NEVER, 0);

/* The blocks of a dead process. */
static void free_blocks(struct win32_process *process)
{
    static const enum win32_kind kinds[] = {WIN32_HEAP, WIN32_BLOCK, WIN32_LOCAL};
    void *block;

    for (size_t i = 0; i < ARRAYSIZE(kinds); i++)
        while ((block = win32_take_held(process, kinds[i], NULL)) != NULL)
            free(block);
}

/* ---- regions ---- */

enum { MEM_COMMIT = 0x1000, MEM_RESERVE = 0x2000, MEM_RELEASE = 0x8000, PAGE_READWRITE = 4 };

static void *WINAPI VirtualAlloc(void *address, SIZE_T bytes, DWORD type, DWORD protection)
{
    if (address != NULL || type != (MEM_COMMIT | MEM_RESERVE) || protection != PAGE_READWRITE)
        nth_stop("not-provided", "VirtualAlloc at %p of type 0x%x, protection 0x%x", address, type,
                 protection);
    if (bytes == 0) {
        win32_fail(ERROR_INVALID_PARAMETER);
        return NULL;
    }
    void *region = client_alloc(win32_here()->client, bytes);
    if (region == NULL)
        win32_fail(ERROR_NOT_ENOUGH_MEMORY);
    else
        win32_hold(WIN32_REGION, region, bytes);
    return region;
}
WIN32_EXPORT("kernel32", VirtualAlloc, 4, FAILS_ZERO, ERROR_COMMITMENT_LIMIT);

static BOOL WINAPI VirtualFree(void *address, SIZE_T bytes, DWORD type)
{
    uintptr_t size = 0;

    if (type != MEM_RELEASE || bytes != 0)
        return win32_fail(ERROR_INVALID_PARAMETER);
    if (!win32_let_go(WIN32_REGION, address, &size))
        return win32_fail(ERROR_INVALID_ADDRESS);
    client_free(win32_here()->client, address, size);
    return TRUE;
}
WIN32_EXPORT("kernel32", VirtualFree, 3, FAILS_NEVER, 0);

/* ---- thread-local storage ---- */

#define TLS_OUT_OF_INDEXES 0xFFFFFFFFu

static DWORD WINAPI TlsAlloc(void)
{
    struct win32_process *process = win32_here();

    nth_lock(&process->lock);
    const int slot = ~process->tls_used != 0 ? __builtin_ctzll(~process->tls_used) : -1;
    if (slot >= 0)
        process->tls_used |= 1ull << slot;
    nth_unlock(&process->lock);
    if (slot < 0) {
        win32_fail(ERROR_NO_MORE_ITEMS);
        return TLS_OUT_OF_INDEXES;
    }
    win32_hold(WIN32_TLS, (void *)(uintptr_t)(slot + 1), 0);
    win32_self()->tls[slot] = NULL;
    return (DWORD)slot;
}
WIN32_EXPORT("kernel32", TlsAlloc, 0, FAILS_MINUS, ERROR_NOT_ENOUGH_MEMORY);

static BOOL WINAPI TlsFree(DWORD slot)
{
    struct win32_process *process = win32_here();

    if (!win32_let_go(WIN32_TLS, (void *)(uintptr_t)(slot + 1), NULL))
        return win32_fail(ERROR_INVALID_PARAMETER);
    nth_lock(&process->lock);
    process->tls_used &= ~(1ull << slot);
    nth_unlock(&process->lock);
    return TRUE;
}
WIN32_EXPORT("kernel32", TlsFree, 1, FAILS_NEVER, 0);

/* The page: the last error is cleared on success, since NULL may be a value. */
static void *WINAPI TlsGetValue(DWORD slot)
{
    if (slot >= WIN32_TLS_SLOTS) {
        win32_fail(ERROR_INVALID_PARAMETER);
        return NULL;
    }
    win32_self()->last_error = ERROR_SUCCESS;
    return win32_self()->tls[slot];
}
WIN32_EXPORT("kernel32", TlsGetValue, 1, FAILS_NEVER, 0);

static BOOL WINAPI TlsSetValue(DWORD slot, void *value)
{
    if (slot >= WIN32_TLS_SLOTS)
        return win32_fail(ERROR_INVALID_PARAMETER);
    win32_self()->tls[slot] = value;
    return TRUE;
}
WIN32_EXPORT("kernel32", TlsSetValue, 2, FAILS_ZERO, ERROR_NOT_ENOUGH_MEMORY);

/* ---- time ---- */

static ULONGLONG WINAPI GetTickCount64(void)
{
    return nth_interrupt_time() / 10000;
}
WIN32_EXPORT("kernel32", GetTickCount64, 0, FAILS_NEVER, 0);

static void WINAPI GetSystemTimeAsFileTime(FILETIME *time)
{
    const uint64_t now = nth_system_time();

    *time = (FILETIME){(DWORD)now, (DWORD)(now >> 32)};
}
WIN32_EXPORT("kernel32", GetSystemTimeAsFileTime, 1, FAILS_NEVER, 0);

/* ---- text ---- */

enum { CSTR_LESS_THAN = 1, CSTR_EQUAL = 2, CSTR_GREATER_THAN = 3 };

static unsigned fold(WCHAR c, BOOL ignore_case)
{
    return ignore_case && c >= 'a' && c <= 'z' ? (unsigned)c - 32 : c;
}

/* Case is folded for ASCII only; Windows has a table for all of Unicode. */
static int WINAPI CompareStringOrdinal(LPCWSTR a, int a_length, LPCWSTR b, int b_length,
                                       BOOL ignore_case)
{
    if (a == NULL || b == NULL || a_length < -1 || b_length < -1)
        return win32_fail(ERROR_INVALID_PARAMETER);
    const size_t a_end = a_length < 0 ? win32_length(a) : (size_t)a_length;
    const size_t b_end = b_length < 0 ? win32_length(b) : (size_t)b_length;
    for (size_t i = 0; i < a_end && i < b_end; i++) {
        const unsigned left = fold(a[i], ignore_case), right = fold(b[i], ignore_case);
        if (left != right)
            return left < right ? CSTR_LESS_THAN : CSTR_GREATER_THAN;
    }
    return a_end == b_end ? CSTR_EQUAL : a_end < b_end ? CSTR_LESS_THAN : CSTR_GREATER_THAN;
}
WIN32_EXPORT("kernel32", CompareStringOrdinal, 5, FAILS_NEVER, 0);

static UINT WINAPI GetSystemWindowsDirectoryW(LPWSTR buffer, UINT characters)
{
    static const WCHAR directory[] = L"C:\\Windows";

    if (buffer == NULL || characters < ARRAYSIZE(directory))
        return ARRAYSIZE(directory);
    memcpy(buffer, directory, sizeof(directory));
    return ARRAYSIZE(directory) - 1;
}
WIN32_EXPORT("kernel32", GetSystemWindowsDirectoryW, 2, FAILS_ZERO, ERROR_NOT_ENOUGH_MEMORY);

/* "System Error Codes": a few, for the shape of messages. */
static const struct {
    DWORD error;
    const char *text;
} messages[] = {
    {ERROR_FILE_NOT_FOUND, "The system cannot find the file specified."},
    {ERROR_PATH_NOT_FOUND, "The system cannot find the path specified."},
    {ERROR_ACCESS_DENIED, "Access is denied."},
    {ERROR_INVALID_HANDLE, "The handle is invalid."},
    {ERROR_NOT_ENOUGH_MEMORY, "Not enough memory resources are available to process this command."},
    {ERROR_INVALID_DATA, "The data is invalid."},
    {ERROR_GEN_FAILURE, "A device attached to the system is not functioning."},
    {ERROR_HANDLE_EOF, "Reached the end of the file."},
    {ERROR_INVALID_PARAMETER, "The parameter is incorrect."},
    {ERROR_NOT_FOUND, "Element not found."},
    {ERROR_TIMEOUT, "This operation returned because the timeout period expired."},
    {ERROR_ALREADY_INITIALIZED,
     "An attempt was made to perform an initialization operation when initialization has already "
     "been completed."},
    {RPC_S_SERVER_UNAVAILABLE, "The RPC server is unavailable."},
};

enum {
    FORMAT_IGNORE_INSERTS = 0x200,
    FORMAT_FROM_SYSTEM = 0x1000,
    FORMAT_MAX_WIDTH = 0xFF,
};

static DWORD WINAPI FormatMessageW(DWORD flags, const void *source, DWORD message, DWORD language,
                                   LPWSTR buffer, DWORD characters, void *arguments)
{
    if ((flags & ~(DWORD)FORMAT_MAX_WIDTH) != (FORMAT_IGNORE_INSERTS | FORMAT_FROM_SYSTEM))
        nth_stop("not-provided", "FormatMessageW with flags 0x%x", flags);
    (void)source, (void)language, (void)arguments;
    for (size_t i = 0; i < ARRAYSIZE(messages); i++) {
        if (messages[i].error != message)
            continue;
        const char *text = messages[i].text;
        const char *end = (flags & FORMAT_MAX_WIDTH) == FORMAT_MAX_WIDTH ? " " : "\r\n";
        const size_t length = strlen(text), rest = strlen(end);
        if (length + rest + 1 > characters)
            return (DWORD)win32_fail(ERROR_INSUFFICIENT_BUFFER);
        for (size_t j = 0; j <= length + rest; j++)
            buffer[j] = (WCHAR)(unsigned char)(j < length ? text[j] : end[j - length]);
        return (DWORD)(length + rest);
    }
    return (DWORD)win32_fail(ERROR_MR_MID_NOT_FOUND);
}
WIN32_EXPORT("kernel32", FormatMessageW, 7, FAILS_ZERO, ERROR_MR_MID_NOT_FOUND);

/* ---- the end of a process ---- */

static void kernel32_boot(const struct nth_config *config)
{
    (void)config;
    win32_at_death(free_blocks);
}
NTH_SUBSYSTEM(win32_kernel32, 52, kernel32_boot, NULL);
