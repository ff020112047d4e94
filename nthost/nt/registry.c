/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The registry: a tree of keys in memory, filled by the PnP manager and by tests, read and written
 * by drivers through key handles. Nothing is kept beyond the machine. A deleted key stays as long
 * as a handle to it is open, and answers only that it is deleted.
 */
#include "nt/ps.h"

#include <stdlib.h>
#include <string.h>

struct value {
    struct value *next;
    ULONG type, bytes;
    void *data;
    size_t length; /* of the name, in characters */
    WCHAR name[];
};

/* registry_lock guards every field. */
struct node {
    struct node *parent, *children, *next; /* children in the order of their creation */
    struct value *values;
    unsigned handles; /* key objects that refer to it */
    bool is_deleted;
    size_t length;
    WCHAR name[];
};

struct key {
    struct node *node;
};

/* Documented forms (wdm.h pages ns-wdm-_key_*_information); all end in a name. */
struct key_basic {
    LARGE_INTEGER written;
    ULONG title, name_bytes;
    WCHAR name[];
};
struct key_node {
    LARGE_INTEGER written;
    ULONG title, class_offset, class_bytes, name_bytes;
    WCHAR name[];
};
struct key_full {
    LARGE_INTEGER written;
    ULONG title, class_offset, class_bytes, subkeys, longest_name, longest_class, values,
        longest_value_name, longest_value;
    WCHAR class_name[];
};
struct value_basic {
    ULONG title, type, name_bytes;
    WCHAR name[];
};
struct value_full {
    ULONG title, type, data_offset, data_bytes, name_bytes;
    WCHAR name[];
};

enum { KEY_BASIC, KEY_NODE, KEY_FULL };
enum { VALUE_BASIC, VALUE_FULL, VALUE_PARTIAL };
enum { NAME_LIMIT = 16383 };

static struct nth_mutex registry_lock = NTH_MUTEX_INIT;
static struct node *root; /* \Registry; registry_lock */

static void *checked_calloc(size_t bytes)
{
    void *memory = calloc(1, bytes);

    if (memory == NULL)
        nth_fail("out of memory (%zu bytes)", bytes);
    return memory;
}

static WCHAR upper(WCHAR c)
{
    return c >= 'a' && c <= 'z' ? (WCHAR)(c - 32) : c;
}

static bool same(const WCHAR *a, size_t a_length, const WCHAR *b, size_t b_length)
{
    if (a_length != b_length)
        return false;
    for (size_t i = 0; i < a_length; i++)
        if (upper(a[i]) != upper(b[i]))
            return false;
    return true;
}

/* ---- the tree, with registry_lock held ---- */

static struct node *node_create(struct node *parent, const WCHAR *name, size_t length)
{
    struct node *node = checked_calloc(sizeof(*node) + length * sizeof(WCHAR));
    struct node **link = parent != NULL ? &parent->children : NULL;

    memcpy(node->name, name, length * sizeof(WCHAR));
    node->length = length;
    node->parent = parent;
    while (link != NULL && *link != NULL)
        link = &(*link)->next;
    if (link != NULL)
        *link = node;
    return node;
}

static void node_free_if_unused(struct node *node)
{
    if (!node->is_deleted || node->handles != 0)
        return;
    for (struct value *value = node->values, *next; value != NULL; value = next) {
        next = value->next;
        free(value->data);
        free(value);
    }
    free(node);
}

/* It is in no list any more. Handles that are open keep the memory. */
static void node_discard(struct node *node)
{
    struct node *child;

    while ((child = node->children) != NULL) {
        node->children = child->next;
        node_discard(child);
    }
    node->is_deleted = true;
    node_free_if_unused(node);
}

static void node_delete(struct node *node)
{
    struct node **link = &node->parent->children;

    while (*link != node)
        link = &(*link)->next;
    *link = node->next;
    node_discard(node);
}

/* CurrentControlSet is a link to ControlSet001. */
static bool is_node(const struct node *node, const WCHAR *name, size_t length)
{
    static const WCHAR current[] = L"CurrentControlSet", first[] = L"ControlSet001";

    if (same(name, length, first, ARRAYSIZE(first) - 1))
        return same(node->name, node->length, current, ARRAYSIZE(current) - 1) ||
               same(node->name, node->length, first, ARRAYSIZE(first) - 1);
    return same(node->name, node->length, name, length);
}

static struct node *child_of(const struct node *parent, const WCHAR *name, size_t length)
{
    for (struct node *node = parent->children; node != NULL; node = node->next)
        if (is_node(node, name, length))
            return node;
    return NULL;
}

enum walk { WALK_OPEN, WALK_CREATE_LAST, WALK_CREATE_ALL };

/* Follows a path below start; *created tells whether the last part is new. NULL: a part is missing.
 */
static struct node *walk(struct node *start, const WCHAR *path, size_t length, enum walk how,
                         bool *created)
{
    struct node *node = start;
    size_t i = 0;

    *created = false;
    while (node != NULL && i < length) {
        if (path[i] == '\\') {
            i++;
            continue;
        }
        size_t end = i;
        while (end < length && path[end] != '\\')
            end++;
        struct node *child = child_of(node, path + i, end - i);
        *created = child == NULL;
        if (child == NULL && (how == WALK_CREATE_ALL || (how == WALK_CREATE_LAST && end == length)))
            child = node_create(node, path + i, end - i);
        node = child;
        i = end;
    }
    return node;
}

/* Where an absolute path begins; NULL when that is not \Registry. */
static struct node *walk_absolute(const WCHAR *path, size_t length, enum walk how, bool *created)
{
    static const WCHAR prefix[] = L"\\Registry";
    const size_t n = ARRAYSIZE(prefix) - 1;

    *created = false;
    if (length < n || !same(path, n, prefix, n) || (length > n && path[n] != '\\'))
        return NULL;
    if (root == NULL)
        root = node_create(NULL, prefix + 1, n - 1);
    return walk(root, path + n, length - n, how, created);
}

static struct value **find_value(struct node *node, const WCHAR *name, size_t length)
{
    struct value **link = &node->values;

    while (*link != NULL && !same((*link)->name, (*link)->length, name, length))
        link = &(*link)->next;
    return link;
}

static void remove_value(struct value **link)
{
    struct value *value = *link;

    *link = value->next;
    free(value->data);
    free(value);
}

static void set_value(struct node *node, const WCHAR *name, size_t length, ULONG type,
                      const void *data, ULONG bytes)
{
    struct value **link = find_value(node, name, length);

    if (*link == NULL) {
        *link = checked_calloc(sizeof(struct value) + length * sizeof(WCHAR));
        memcpy((*link)->name, name, length * sizeof(WCHAR));
        (*link)->length = length;
    }
    struct value *value = *link;
    free(value->data);
    value->data = checked_calloc(bytes + 1);
    memcpy(value->data, data, bytes);
    value->bytes = bytes;
    value->type = type;
}

/* ---- the host's side ---- */

/* ASCII paths and names. */
static size_t widen(const char *text, WCHAR *into, size_t room)
{
    const size_t length = strlen(text);

    if (length > room)
        nth_fail("registry name is too long: %s", text);
    for (size_t i = 0; i < length; i++)
        into[i] = (WCHAR)(unsigned char)text[i];
    return length;
}

NTSTATUS nth_registry_set(const char *path, const char *name, ULONG type, const void *data,
                          ULONG bytes)
{
    WCHAR wide_path[1024], wide_name[256];
    const size_t path_length = widen(path, wide_path, ARRAYSIZE(wide_path));
    const size_t name_length = widen(name, wide_name, ARRAYSIZE(wide_name));
    bool created = false;

    nth_lock(&registry_lock);
    struct node *node = walk_absolute(wide_path, path_length, WALK_CREATE_ALL, &created);
    if (node != NULL)
        set_value(node, wide_name, name_length, type, data, bytes);
    nth_unlock(&registry_lock);
    return node != NULL ? STATUS_SUCCESS : STATUS_OBJECT_PATH_SYNTAX_BAD;
}

/* *bytes: room before, size of the data after, whether it fitted or not. */
NTSTATUS nth_registry_get(const char *path, const char *name, ULONG *type, void *data, ULONG *bytes)
{
    WCHAR wide_path[1024], wide_name[256];
    const size_t path_length = widen(path, wide_path, ARRAYSIZE(wide_path));
    const size_t name_length = widen(name, wide_name, ARRAYSIZE(wide_name));
    NTSTATUS status = STATUS_OBJECT_NAME_NOT_FOUND;
    bool created = false;

    nth_lock(&registry_lock);
    struct node *node = walk_absolute(wide_path, path_length, WALK_OPEN, &created);
    const struct value *value = node != NULL ? *find_value(node, wide_name, name_length) : NULL;
    if (value != NULL) {
        status = *bytes >= value->bytes ? STATUS_SUCCESS : STATUS_BUFFER_TOO_SMALL;
        if (NT_SUCCESS(status))
            memcpy(data, value->data, value->bytes);
        *bytes = value->bytes;
        if (type != NULL)
            *type = value->type;
    }
    nth_unlock(&registry_lock);
    return status;
}

void nth_registry_delete(const char *path)
{
    WCHAR wide_path[1024];
    const size_t length = widen(path, wide_path, ARRAYSIZE(wide_path));
    bool created = false;

    nth_lock(&registry_lock);
    struct node *node = walk_absolute(wide_path, length, WALK_OPEN, &created);
    if (node != NULL && node->parent != NULL)
        node_delete(node);
    nth_unlock(&registry_lock);
}

/* ---- key objects ---- */

static void key_destroy(void *body)
{
    struct key *key = body;

    nth_lock(&registry_lock);
    key->node->handles--;
    node_free_if_unused(key->node);
    nth_unlock(&registry_lock);
}

static struct nth_process *table_of(HANDLE handle)
{
    return (LONG_PTR)handle < -2 ? NULL : nth_process_current();
}

static NTSTATUS key_of(HANDLE handle, struct key **key)
{
    void *body = NULL;
    const NTSTATUS status = nth_handle_lookup(table_of(handle), handle, 0, NTH_OB_KEY, &body);

    *key = body;
    return status;
}

/* registry_lock held. */
static struct node *start_of(HANDLE directory, const OBJECT_ATTRIBUTES *attributes, enum walk how,
                             struct key *from, bool *created)
{
    const UNICODE_STRING *name = attributes->ObjectName;

    if (directory == NULL)
        return walk_absolute(name->Buffer, name->Length / sizeof(WCHAR), how, created);
    return walk(from->node, name->Buffer, name->Length / sizeof(WCHAR), how, created);
}

static NTSTATUS open_key(PHANDLE handle, ACCESS_MASK access, const OBJECT_ATTRIBUTES *attributes,
                         enum walk how, bool *created)
{
    struct key *from = NULL, *key = NULL;
    NTSTATUS status = STATUS_SUCCESS;

    nth_irql_max(PASSIVE_LEVEL);
    if (attributes == NULL || attributes->Length != sizeof(*attributes) ||
        attributes->ObjectName == NULL || attributes->ObjectName->Length % sizeof(WCHAR) != 0)
        return STATUS_INVALID_PARAMETER;
    if (nth_fault(NTH_FAULT_OBJECT, nth_call_name()))
        return STATUS_INSUFFICIENT_RESOURCES;
    if (attributes->RootDirectory != NULL)
        status = key_of(attributes->RootDirectory, &from);
    if (!NT_SUCCESS(status))
        return status;
    nth_lock(&registry_lock);
    struct node *node = start_of(attributes->RootDirectory, attributes, how, from, created);
    if (from != NULL && from->node->is_deleted)
        status = STATUS_KEY_DELETED;
    else if (node == NULL)
        status = STATUS_OBJECT_NAME_NOT_FOUND;
    else
        node->handles++;
    nth_unlock(&registry_lock);
    if (from != NULL)
        nth_object_release(from);
    if (!NT_SUCCESS(status))
        return status;
    key = nth_object_create(NTH_OB_KEY, sizeof(*key), key_destroy);
    key->node = node;
    const bool is_kernel = (attributes->Attributes & OBJ_KERNEL_HANDLE) != 0;
    status = nth_handle_insert(is_kernel ? NULL : nth_process_current(), key, access, handle);
    nth_object_release(key);
    return status;
}

NTSTATUS NTAPI ZwOpenKey(PHANDLE KeyHandle, ACCESS_MASK DesiredAccess,
                         POBJECT_ATTRIBUTES ObjectAttributes)
{
    bool created = false;

    return open_key(KeyHandle, DesiredAccess, ObjectAttributes, WALK_OPEN, &created);
}
NTH_EXPORT(ZwOpenKey, 3);

static NTSTATUS NTAPI open_key_ex(PHANDLE handle, ACCESS_MASK access, POBJECT_ATTRIBUTES attributes,
                                  ULONG options)
{
    if (options != 0)
        nth_stop("not-provided", "ZwOpenKeyEx with options 0x%x", options);
    return ZwOpenKey(handle, access, attributes);
}
NTH_EXPORT_AS(ZwOpenKeyEx, "ZwOpenKeyEx", open_key_ex, 4);

static NTSTATUS NTAPI create_key(PHANDLE handle, ACCESS_MASK access, POBJECT_ATTRIBUTES attributes,
                                 ULONG title, PUNICODE_STRING class_name, ULONG options,
                                 PULONG disposition)
{
    enum { VOLATILE = 1, CREATED_NEW_KEY = 1, OPENED_EXISTING_KEY = 2 };
    bool created = false;

    if ((options & ~(ULONG)VOLATILE) != 0)
        nth_stop("not-provided", "ZwCreateKey with options 0x%x", options);
    const NTSTATUS status = open_key(handle, access, attributes, WALK_CREATE_LAST, &created);
    if (NT_SUCCESS(status) && disposition != NULL)
        *disposition = created ? CREATED_NEW_KEY : OPENED_EXISTING_KEY;
    return status;
}
NTH_EXPORT_AS(ZwCreateKey, "ZwCreateKey", create_key, 7);

/* ---- answers in the caller's buffer ---- */

/* The fixed part must fit; of the rest as much is written as fits, and the status tells. */
static NTSTATUS answer(const void *fixed, size_t fixed_bytes, const void *rest, size_t rest_bytes,
                       void *buffer, ULONG length, ULONG *needed)
{
    *needed = (ULONG)(fixed_bytes + rest_bytes);
    if (length < fixed_bytes)
        return STATUS_BUFFER_TOO_SMALL;
    const size_t room = length - fixed_bytes;
    memcpy(buffer, fixed, fixed_bytes);
    memcpy((char *)buffer + fixed_bytes, rest, rest_bytes < room ? rest_bytes : room);
    return room < rest_bytes ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS;
}

static NTSTATUS answer_full(const struct value *value, void *buffer, ULONG length, ULONG *needed)
{
    const size_t name_bytes = value->length * sizeof(WCHAR);
    const size_t offset = (offsetof(struct value_full, name) + name_bytes + 7) & ~(size_t)7;
    const struct value_full full = {.type = value->type,
                                    .data_offset = (ULONG)offset,
                                    .data_bytes = value->bytes,
                                    .name_bytes = (ULONG)name_bytes};
    char *rest = checked_calloc(offset + value->bytes);

    memcpy(rest, value->name, name_bytes);
    memcpy(rest + offset - offsetof(struct value_full, name), value->data, value->bytes);
    const NTSTATUS status =
        answer(&full, offsetof(struct value_full, name), rest,
               offset - offsetof(struct value_full, name) + value->bytes, buffer, length, needed);
    free(rest);
    return status;
}

static NTSTATUS answer_value(const struct value *value, unsigned form, void *buffer, ULONG length,
                             ULONG *needed)
{
    const struct value_basic basic = {.type = value->type,
                                      .name_bytes = (ULONG)(value->length * sizeof(WCHAR))};
    const ULONG partial[3] = {0, value->type, value->bytes};

    switch (form) {
    case VALUE_BASIC:
        return answer(&basic, offsetof(struct value_basic, name), value->name, basic.name_bytes,
                      buffer, length, needed);
    case VALUE_FULL:
        return answer_full(value, buffer, length, needed);
    case VALUE_PARTIAL:
        return answer(partial, sizeof(partial), value->data, value->bytes, buffer, length, needed);
    default:
        return STATUS_INVALID_PARAMETER;
    }
}

static NTSTATUS answer_key(const struct node *node, unsigned form, void *buffer, ULONG length,
                           ULONG *needed)
{
    const struct key_basic basic = {.name_bytes = (ULONG)(node->length * sizeof(WCHAR))};
    const struct key_node full_name = {.class_offset = MAXULONG, .name_bytes = basic.name_bytes};
    struct key_full full = {.class_offset = MAXULONG};

    switch (form) {
    case KEY_BASIC:
        return answer(&basic, offsetof(struct key_basic, name), node->name, basic.name_bytes,
                      buffer, length, needed);
    case KEY_NODE:
        return answer(&full_name, offsetof(struct key_node, name), node->name, basic.name_bytes,
                      buffer, length, needed);
    case KEY_FULL:
        break;
    default:
        return STATUS_INVALID_PARAMETER;
    }
    for (const struct node *child = node->children; child != NULL; child = child->next) {
        full.subkeys++;
        if (child->length * sizeof(WCHAR) > full.longest_name)
            full.longest_name = (ULONG)(child->length * sizeof(WCHAR));
    }
    for (const struct value *value = node->values; value != NULL; value = value->next) {
        full.values++;
        if (value->length * sizeof(WCHAR) > full.longest_value_name)
            full.longest_value_name = (ULONG)(value->length * sizeof(WCHAR));
        if (value->bytes > full.longest_value)
            full.longest_value = value->bytes;
    }
    return answer(&full, offsetof(struct key_full, class_name), "", 0, buffer, length, needed);
}

/* ---- what drivers call on key handles ---- */

/* Takes the lock when it answers STATUS_SUCCESS; leave_key gives it back. */
static NTSTATUS enter_key(HANDLE handle, struct key **key)
{
    nth_irql_max(PASSIVE_LEVEL);
    const NTSTATUS status = key_of(handle, key);
    if (!NT_SUCCESS(status))
        return status;
    nth_lock(&registry_lock);
    if (!(*key)->node->is_deleted)
        return STATUS_SUCCESS;
    nth_unlock(&registry_lock);
    nth_object_release(*key);
    return STATUS_KEY_DELETED;
}

static void leave_key(struct key *key)
{
    nth_unlock(&registry_lock);
    nth_object_release(key);
}

NTSTATUS NTAPI ZwQueryValueKey(HANDLE KeyHandle, PUNICODE_STRING ValueName,
                               KEY_VALUE_INFORMATION_CLASS KeyValueInformationClass,
                               PVOID KeyValueInformation, ULONG Length, PULONG ResultLength)
{
    struct key *key = NULL;
    ULONG needed = 0;
    NTSTATUS status = enter_key(KeyHandle, &key);

    if (!NT_SUCCESS(status))
        return status;
    const struct value *value =
        *find_value(key->node, ValueName->Buffer, ValueName->Length / sizeof(WCHAR));
    status = value != NULL ? answer_value(value, (unsigned)KeyValueInformationClass,
                                          KeyValueInformation, Length, &needed)
                           : STATUS_OBJECT_NAME_NOT_FOUND;
    leave_key(key);
    if (ResultLength != NULL)
        *ResultLength = needed;
    return status;
}
NTH_EXPORT(ZwQueryValueKey, 6);

static NTSTATUS NTAPI enumerate_value_key(HANDLE handle, ULONG index, ULONG form, PVOID buffer,
                                          ULONG length, PULONG needed)
{
    struct key *key = NULL;
    NTSTATUS status = enter_key(handle, &key);

    if (!NT_SUCCESS(status))
        return status;
    const struct value *value = key->node->values;
    while (value != NULL && index-- > 0)
        value = value->next;
    status =
        value != NULL ? answer_value(value, form, buffer, length, needed) : STATUS_NO_MORE_ENTRIES;
    leave_key(key);
    return status;
}
NTH_EXPORT_AS(ZwEnumerateValueKey, "ZwEnumerateValueKey", enumerate_value_key, 6);

static NTSTATUS NTAPI enumerate_key(HANDLE handle, ULONG index, ULONG form, PVOID buffer,
                                    ULONG length, PULONG needed)
{
    struct key *key = NULL;
    NTSTATUS status = enter_key(handle, &key);

    if (!NT_SUCCESS(status))
        return status;
    const struct node *node = key->node->children;
    while (node != NULL && index-- > 0)
        node = node->next;
    status = node != NULL ? answer_key(node, form, buffer, length, needed) : STATUS_NO_MORE_ENTRIES;
    leave_key(key);
    return status;
}
NTH_EXPORT_AS(ZwEnumerateKey, "ZwEnumerateKey", enumerate_key, 6);

static NTSTATUS NTAPI query_key(HANDLE handle, ULONG form, PVOID buffer, ULONG length,
                                PULONG needed)
{
    struct key *key = NULL;
    NTSTATUS status = enter_key(handle, &key);

    if (!NT_SUCCESS(status))
        return status;
    status = answer_key(key->node, form, buffer, length, needed);
    leave_key(key);
    return status;
}
NTH_EXPORT_AS(ZwQueryKey, "ZwQueryKey", query_key, 5);

static NTSTATUS NTAPI set_value_key(HANDLE handle, PUNICODE_STRING name, ULONG title, ULONG type,
                                    PVOID data, ULONG bytes)
{
    struct key *key = NULL;

    if (nth_fault(NTH_FAULT_OBJECT, "ZwSetValueKey"))
        return STATUS_INSUFFICIENT_RESOURCES;
    if (name != NULL && name->Length / sizeof(WCHAR) > NAME_LIMIT)
        return STATUS_INVALID_PARAMETER;
    const NTSTATUS status = enter_key(handle, &key);
    if (!NT_SUCCESS(status))
        return status;
    set_value(key->node, name != NULL ? name->Buffer : L"",
              name != NULL ? name->Length / sizeof(WCHAR) : 0, type, data, bytes);
    leave_key(key);
    return STATUS_SUCCESS;
}
NTH_EXPORT_AS(ZwSetValueKey, "ZwSetValueKey", set_value_key, 6);

NTSTATUS nth_key_set(HANDLE key, const UNICODE_STRING *name, ULONG type, const void *data,
                     ULONG bytes)
{
    UNICODE_STRING copy = *name;

    return set_value_key(key, &copy, 0, type, (void *)(uintptr_t)data, bytes);
}

static NTSTATUS NTAPI delete_value_key(HANDLE handle, PUNICODE_STRING name)
{
    struct key *key = NULL;
    NTSTATUS status = enter_key(handle, &key);

    if (!NT_SUCCESS(status))
        return status;
    struct value **link = find_value(key->node, name->Buffer, name->Length / sizeof(WCHAR));
    if (*link != NULL)
        remove_value(link);
    else
        status = STATUS_OBJECT_NAME_NOT_FOUND;
    leave_key(key);
    return status;
}
NTH_EXPORT_AS(ZwDeleteValueKey, "ZwDeleteValueKey", delete_value_key, 2);

/* ZwDeleteKey: a key with subkeys is not deleted. */
static NTSTATUS NTAPI delete_key(HANDLE handle)
{
    struct key *key = NULL;
    NTSTATUS status = enter_key(handle, &key);

    if (!NT_SUCCESS(status))
        return status;
    if (key->node->children != NULL || key->node->parent == NULL)
        status = STATUS_CANNOT_DELETE;
    else
        node_delete(key->node);
    leave_key(key);
    return status;
}
NTH_EXPORT_AS(ZwDeleteKey, "ZwDeleteKey", delete_key, 1);

/* ---- end of the machine ---- */

static void registry_shutdown(void)
{
    nth_lock(&registry_lock);
    if (root != NULL)
        node_discard(root);
    root = NULL;
    nth_unlock(&registry_lock);
}
NTH_SUBSYSTEM(registry, 25, NULL, registry_shutdown);
