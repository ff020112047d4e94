/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * kernel32.dll: files. A path that begins with \\.\ or \\?\ is a device of the machine; any other
 * is of a small disk in memory that all processes share, with C:\Windows\Temp on it.
 */
#include "win32/private.h"

#include <stdlib.h>
#include <string.h>

struct node {
    struct node *next;
    WCHAR *path;
    bool is_directory;
    unsigned open;
    uint8_t *data;
    size_t bytes;
};

struct file {
    struct nth_user_object object;
    struct node *node;
    size_t position;
    bool is_writable;
};

static struct nth_mutex disk_lock = NTH_MUTEX_INIT;
static struct node *disk; /* disk_lock, and what is in it */

/* ---- the disk, with disk_lock held ---- */

static struct node *find(LPCWSTR path)
{
    struct node *node = disk;

    while (node != NULL && win32_compare(node->path, path) != 0)
        node = node->next;
    return node;
}

static WCHAR *copy(LPCWSTR path)
{
    const size_t bytes = (win32_length(path) + 1) * sizeof(WCHAR);

    return memcpy(win32_calloc(bytes), path, bytes);
}

static bool has_parent(LPCWSTR path)
{
    WCHAR *parent = copy(path);
    size_t length = win32_length(parent);

    while (length > 0 && parent[length] != '\\')
        length--;
    parent[length] = 0;
    const struct node *node = find(parent);
    free(parent);
    return node != NULL && node->is_directory;
}

static bool has_children(LPCWSTR path)
{
    const size_t length = win32_length(path);

    for (const struct node *node = disk; node != NULL; node = node->next)
        if (win32_length(node->path) > length && node->path[length] == '\\' &&
            memcmp(node->path, path, length * sizeof(WCHAR)) == 0)
            return true;
    return false;
}

static struct node *make(LPCWSTR path, bool is_directory)
{
    struct node *node = win32_calloc(sizeof(*node));

    node->path = copy(path);
    node->is_directory = is_directory;
    node->next = disk;
    disk = node;
    return node;
}

static void erase(struct node *node)
{
    struct node **link = &disk;

    while (*link != NULL && *link != node)
        link = &(*link)->next;
    *link = node->next;
    free(node->path);
    free(node->data);
    free(node);
}

static void disk_boot(const struct nth_config *config)
{
    (void)config;
    make(L"C:", true);
    make(L"C:\\Windows", true);
    make(L"C:\\Windows\\Temp", true);
}

static void disk_shutdown(void)
{
    while (disk != NULL)
        erase(disk);
}
NTH_SUBSYSTEM(win32_disk, 51, disk_boot, disk_shutdown);

/* ---- for tests and for this folder ---- */

unsigned win32_disk_entries(void)
{
    unsigned count = 0;

    nth_lock(&disk_lock);
    for (const struct node *node = disk; node != NULL; node = node->next)
        count++;
    nth_unlock(&disk_lock);
    return count;
}

char *win32_file_read(LPCWSTR path, size_t *bytes)
{
    char *text = NULL;

    nth_lock(&disk_lock);
    const struct node *node = find(path);
    if (node != NULL && !node->is_directory) {
        text = win32_calloc(node->bytes + 1);
        if (node->bytes != 0)
            memcpy(text, node->data, node->bytes);
        if (bytes != NULL)
            *bytes = node->bytes;
    }
    nth_unlock(&disk_lock);
    return text;
}

/* ---- files ---- */

static void file_destroy(void *body)
{
    struct file *file = body;

    nth_lock(&disk_lock);
    file->node->open--;
    nth_unlock(&disk_lock);
}

enum {
    GENERIC_READ_WRITE = (int)(GENERIC_READ | GENERIC_WRITE),
    CREATE_NEW = 1,
    CREATE_ALWAYS = 2,
    OPEN_EXISTING = 3,
    FLAG_OVERLAPPED = 0x40000000,
};

/* disk_lock held. The node, or an error of the page's. */
static uint32_t open_node(LPCWSTR path, DWORD disposition, struct node **result)
{
    struct node *node = find(path);

    if (node != NULL && node->is_directory)
        return ERROR_ACCESS_DENIED;
    if (node != NULL && disposition == CREATE_NEW)
        return ERROR_FILE_EXISTS;
    if (node == NULL && !has_parent(path))
        return ERROR_PATH_NOT_FOUND;
    if (node == NULL && disposition == OPEN_EXISTING)
        return ERROR_FILE_NOT_FOUND;
    if (node != NULL && node->open > 0)
        return ERROR_SHARING_VIOLATION; /* no share mode but 0 is known here */
    *result = node != NULL ? node : make(path, false);
    if (disposition == CREATE_ALWAYS)
        (*result)->bytes = 0;
    (*result)->open++;
    return ERROR_SUCCESS;
}

static HANDLE open_file(LPCWSTR path, DWORD access, DWORD disposition)
{
    struct node *node = NULL;
    HANDLE handle = NULL;

    if (nth_process_token(win32_here()->nt) > NTH_TOKEN_ADMIN) {
        win32_fail(ERROR_ACCESS_DENIED); /* all of this disk is Windows' own */
        return INVALID_HANDLE_VALUE;
    }
    nth_lock(&disk_lock);
    const uint32_t error = open_node(path, disposition, &node);
    nth_unlock(&disk_lock);
    if (error != ERROR_SUCCESS) {
        win32_fail(error);
        return INVALID_HANDLE_VALUE;
    }
    struct file *file = nth_object_create(NTH_OB_USER, sizeof(*file), file_destroy);
    file->node = node;
    file->is_writable = (access & GENERIC_WRITE) != 0;
    const NTSTATUS status = nth_handle_insert(win32_here()->nt, file, access, &handle);
    nth_object_release(file);
    if (NT_SUCCESS(status))
        return handle;
    win32_fail(win32_error_of(status));
    return INVALID_HANDLE_VALUE;
}

static HANDLE open_device(LPCWSTR path, DWORD access, DWORD flags)
{
    unsigned wanted = flags & FLAG_OVERLAPPED ? CLIENT_OVERLAPPED : 0;
    client_handle handle = 0;

    wanted |= access & GENERIC_READ ? CLIENT_READ : 0;
    wanted |= access & GENERIC_WRITE ? CLIENT_WRITE : 0;
    char *narrow = win32_utf8(path);
    const client_status status = client_open(win32_here()->client, narrow, wanted, &handle);
    free(narrow);
    win32_survive();
    if (NT_SUCCESS(status))
        return (HANDLE)(uintptr_t)handle;
    win32_fail(win32_error_of(status));
    return INVALID_HANDLE_VALUE;
}

static bool is_device(LPCWSTR path)
{
    return path[0] == '\\' && path[1] == '\\' && (path[2] == '.' || path[2] == '?') &&
           path[3] == '\\';
}

static HANDLE WINAPI CreateFileW(LPCWSTR path, DWORD access, DWORD share,
                                 const SECURITY_ATTRIBUTES *attributes, DWORD disposition,
                                 DWORD flags, HANDLE template)
{
    (void)share, (void)attributes;
    if (path == NULL || template != NULL) {
        win32_fail(ERROR_INVALID_PARAMETER);
        return INVALID_HANDLE_VALUE;
    }
    if (access & ~(DWORD)GENERIC_READ_WRITE)
        nth_stop("not-provided", "CreateFileW with access 0x%x", access);
    return is_device(path) ? open_device(path, access, flags)
                           : open_file(path, access, disposition);
}
WIN32_EXPORT("kernel32", CreateFileW, 7, FAILS_MINUS, ERROR_ACCESS_DENIED);

static BOOL write_file(struct file *file, const void *data, DWORD bytes)
{
    nth_lock(&disk_lock);
    struct node *node = file->node;
    const size_t end = file->position + bytes;
    if (end > node->bytes) {
        uint8_t *longer = realloc(node->data, end);
        if (longer == NULL)
            nth_fail("out of memory");
        node->data = longer;
        node->bytes = end;
    }
    memcpy(node->data + file->position, data, bytes);
    file->position = end;
    nth_unlock(&disk_lock);
    return TRUE;
}

/* Devices are not written through this function here. */
static BOOL WINAPI WriteFile(HANDLE handle, const void *data, DWORD bytes, DWORD *written,
                             OVERLAPPED *overlapped)
{
    void *body = NULL;
    const NTSTATUS status = nth_handle_lookup(win32_here()->nt, handle, 0, NTH_OB_USER, &body);
    struct file *file = body;

    if (!NT_SUCCESS(status))
        return win32_fail(win32_error_of(status));
    if (overlapped != NULL)
        nth_stop("not-provided", "WriteFile with an OVERLAPPED");
    const bool is_allowed = file->is_writable;
    if (is_allowed)
        write_file(file, data, bytes);
    nth_object_release(file);
    *written = is_allowed ? bytes : 0;
    return is_allowed || win32_fail(ERROR_ACCESS_DENIED);
}
WIN32_EXPORT("kernel32", WriteFile, 5, FAILS_ZERO, ERROR_DISK_FULL);

static BOOL WINAPI DeleteFileW(LPCWSTR path)
{
    uint32_t error = ERROR_SUCCESS;

    nth_lock(&disk_lock);
    struct node *node = find(path);
    if (node == NULL)
        error = has_parent(path) ? ERROR_FILE_NOT_FOUND : ERROR_PATH_NOT_FOUND;
    else if (node->is_directory)
        error = ERROR_ACCESS_DENIED;
    else if (node->open > 0)
        error = ERROR_SHARING_VIOLATION;
    else
        erase(node);
    nth_unlock(&disk_lock);
    return win32_result(error);
}
WIN32_EXPORT("kernel32", DeleteFileW, 1, FAILS_NEVER, 0);

static BOOL WINAPI CreateDirectoryW(LPCWSTR path, const SECURITY_ATTRIBUTES *attributes)
{
    uint32_t error = ERROR_SUCCESS;

    (void)attributes;
    if (nth_process_token(win32_here()->nt) > NTH_TOKEN_ADMIN)
        return win32_fail(ERROR_ACCESS_DENIED);
    nth_lock(&disk_lock);
    if (find(path) != NULL)
        error = ERROR_ALREADY_EXISTS;
    else if (!has_parent(path))
        error = ERROR_PATH_NOT_FOUND;
    else
        make(path, true);
    nth_unlock(&disk_lock);
    return win32_result(error);
}
WIN32_EXPORT("kernel32", CreateDirectoryW, 2, FAILS_ZERO, ERROR_ACCESS_DENIED);

static BOOL WINAPI RemoveDirectoryW(LPCWSTR path)
{
    uint32_t error = ERROR_SUCCESS;

    nth_lock(&disk_lock);
    struct node *node = find(path);
    if (node == NULL || !node->is_directory)
        error = ERROR_PATH_NOT_FOUND;
    else if (has_children(path))
        error = ERROR_DIR_NOT_EMPTY;
    else
        erase(node);
    nth_unlock(&disk_lock);
    return win32_result(error);
}
WIN32_EXPORT("kernel32", RemoveDirectoryW, 1, FAILS_NEVER, 0);

/* ---- requests ---- */

/* Whether the kernel may be given the address: memory of the process. Stacks, heaps and images of
 * modules are the host's here, so what is there goes through memory of the process. */
static void *bounce(const void *data, DWORD bytes)
{
    void *copy = bytes != 0 ? client_alloc(win32_here()->client, bytes) : NULL;

    if (copy != NULL && data != NULL)
        memcpy(copy, data, bytes);
    return copy;
}

/* On a handle opened for overlapped requests too the call waits: what is asked for that way here
 * completes at once. */
static BOOL WINAPI DeviceIoControl(HANDLE handle, DWORD code, void *in, DWORD in_bytes, void *out,
                                   DWORD out_bytes, DWORD *returned, OVERLAPPED *overlapped)
{
    struct client *client = win32_here()->client;
    uint32_t transferred = 0;

    if (overlapped != NULL)
        nth_stop("not-provided", "DeviceIoControl with an OVERLAPPED");
    void *to = bounce(in, in_bytes), *from = bounce(out, out_bytes);
    client_status status = STATUS_INSUFFICIENT_RESOURCES;
    if ((to != NULL || in_bytes == 0) && (from != NULL || out_bytes == 0))
        status = client_control(client, (client_handle)(uintptr_t)handle, code, to, in_bytes, from,
                                out_bytes, &transferred);
    win32_survive();
    if (from != NULL && transferred <= out_bytes)
        memcpy(out, from, transferred);
    if (to != NULL)
        client_free(client, to, in_bytes);
    if (from != NULL)
        client_free(client, from, out_bytes);
    if (returned != NULL)
        *returned = transferred;
    return NT_ERROR(status) ? win32_fail(win32_error_of(status)) : TRUE;
}
WIN32_EXPORT("kernel32", DeviceIoControl, 8, FAILS_ZERO, ERROR_NO_SYSTEM_RESOURCES);
