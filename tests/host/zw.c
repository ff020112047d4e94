/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * System services and the registry, called from a driver (drivers/caller.c).
 */
#include "caller.h"

#define KEY "\\Registry\\Machine\\System\\CurrentControlSet\\Services\\Test"
static WCHAR key_path[] = L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\Test";

static UNICODE_STRING text(WCHAR *buffer)
{
    size_t n = 0;

    while (buffer[n] != 0)
        n++;
    return (UNICODE_STRING){
        .Length = (USHORT)(n * 2), .MaximumLength = (USHORT)(n * 2), .Buffer = buffer};
}

static OBJECT_ATTRIBUTES attributes_of(UNICODE_STRING *name, HANDLE root)
{
    OBJECT_ATTRIBUTES attributes;

    InitializeObjectAttributes(&attributes, name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, root,
                               NULL);
    return attributes;
}

static NTSTATUS open_key(WCHAR *path, HANDLE root, HANDLE *handle)
{
    UNICODE_STRING name = text(path);
    OBJECT_ATTRIBUTES attributes = attributes_of(&name, root);

    *handle = NULL;
    return (NTSTATUS)CALL("ZwOpenKey", P(handle), KEY_READ, P(&attributes));
}

static NTSTATUS create_key(WCHAR *path, HANDLE root, HANDLE *handle, ULONG *disposition)
{
    UNICODE_STRING name = text(path);
    OBJECT_ATTRIBUTES attributes = attributes_of(&name, root);

    *handle = NULL;
    return (NTSTATUS)CALL("ZwCreateKey", P(handle), KEY_READ, P(&attributes), 0, 0, 0,
                          P(disposition));
}

static NTSTATUS query(HANDLE key, WCHAR *value, ULONG form, void *buffer, ULONG bytes,
                      ULONG *needed)
{
    UNICODE_STRING name = text(value);

    return (NTSTATUS)CALL("ZwQueryValueKey", P(key), P(&name), form, P(buffer), bytes, P(needed));
}

static void close_handle(HANDLE handle)
{
    CHECK_STATUS(CALL("ZwClose", P(handle)), STATUS_SUCCESS);
}

/* ---- registry ---- */

TEST(key_opened_by_any_spelling_answers_its_values)
{
    /* ZwOpenKey, ZwQueryValueKey; names of keys and values are compared without case, and
     * ControlSet001 is what CurrentControlSet names. */
    static WCHAR other[] = L"\\REGISTRY\\machine\\SYSTEM\\ControlSet001\\services\\TEST";
    const ULONG number = 0x12345678;
    struct {
        ULONG title, type, bytes, data;
    } partial;
    ULONG needed = 0;
    HANDLE key = NULL;
    boot();
    CHECK_STATUS(nth_registry_set(KEY, "Number", REG_DWORD, &number, sizeof(number)),
                 STATUS_SUCCESS);
    CHECK_STATUS(open_key(other, NULL, &key), STATUS_SUCCESS);
    CHECK((intptr_t)key < 0);
    CHECK_STATUS(
        query(key, L"nUMBER", KeyValuePartialInformation, &partial, sizeof(partial), &needed),
        STATUS_SUCCESS);
    CHECK_EQ(needed, 16);
    CHECK_EQ(partial.type, REG_DWORD);
    CHECK_EQ(partial.bytes, 4);
    CHECK_EQ(partial.data, number);
    close_handle(key);
    unload();
}

TEST(key_that_is_missing_is_not_found)
{
    /* ZwOpenKey: "If the specified key does not exist, returns an error status". */
    HANDLE key = NULL;
    ULONG needed = 0;
    boot();
    nth_registry_set(KEY, "x", REG_SZ, L"", 2);
    CHECK_STATUS(open_key(L"\\Registry\\Machine\\Nothing", NULL, &key),
                 STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK(!NT_SUCCESS(open_key(L"\\Device\\Caller", NULL, &key)));
    CHECK_STATUS(open_key(key_path, NULL, &key), STATUS_SUCCESS);
    CHECK_STATUS(query(key, L"Nothing", KeyValuePartialInformation, NULL, 0, &needed),
                 STATUS_OBJECT_NAME_NOT_FOUND);
    close_handle(key);
    unload();
}

TEST(value_in_a_short_buffer_tells_what_it_needs)
{
    /* ZwQueryValueKey: STATUS_BUFFER_TOO_SMALL writes nothing, STATUS_BUFFER_OVERFLOW partial data;
     * ResultLength is the minimum size required in both. */
    UCHAR buffer[64];
    ULONG needed = 0;
    HANDLE key = NULL;
    boot();
    nth_registry_set(KEY, "Text", REG_SZ, L"abcdef", 14);
    CHECK_STATUS(open_key(key_path, NULL, &key), STATUS_SUCCESS);
    memset(buffer, 0xEE, sizeof(buffer));
    CHECK_STATUS(query(key, L"Text", KeyValuePartialInformation, buffer, 11, &needed),
                 STATUS_BUFFER_TOO_SMALL);
    CHECK_EQ(needed, 12 + 14);
    CHECK_EQ(buffer[0], 0xEE);
    CHECK_STATUS(query(key, L"Text", KeyValuePartialInformation, buffer, 12 + 13, &needed),
                 STATUS_BUFFER_OVERFLOW);
    CHECK_EQ(needed, 12 + 14);
    CHECK_MEM(buffer + 12, L"abcdef", 12);
    CHECK_EQ(buffer[25], 0xEE);
    CHECK_STATUS(query(key, L"Text", KeyValuePartialInformation, buffer, 12 + 14, &needed),
                 STATUS_SUCCESS);
    CHECK_STATUS(query(key, L"Text", 77, buffer, sizeof(buffer), &needed),
                 STATUS_INVALID_PARAMETER);
    close_handle(key);
    unload();
}

TEST(value_full_information_places_data_after_the_name)
{
    /* KEY_VALUE_FULL_INFORMATION: DataOffset is from the start of the structure. */
    struct {
        ULONG title, type, offset, bytes, name_bytes;
        WCHAR name[40];
    } full;
    ULONG needed = 0;
    HANDLE key = NULL;
    boot();
    nth_registry_set(KEY, "Text", REG_SZ, L"xyz", 8);
    CHECK_STATUS(open_key(key_path, NULL, &key), STATUS_SUCCESS);
    CHECK_STATUS(query(key, L"Text", KeyValueFullInformation, &full, sizeof(full), &needed),
                 STATUS_SUCCESS);
    CHECK_EQ(full.name_bytes, 8);
    CHECK_MEM(full.name, L"Text", 8);
    CHECK(full.offset >= 28 && full.offset + full.bytes == needed);
    CHECK_MEM((char *)&full + full.offset, L"xyz", 8);
    close_handle(key);
    unload();
}

TEST(key_created_then_opened_reports_which)
{
    /* ZwCreateKey: Disposition; the new key must be a direct subkey of one that exists. */
    HANDLE services = NULL, key = NULL, again = NULL;
    ULONG disposition = 0;
    boot();
    CHECK_STATUS(
        open_key(L"\\Registry\\Machine\\System\\CurrentControlSet\\Services", NULL, &services),
        STATUS_SUCCESS);
    CHECK_STATUS(create_key(L"Made", services, &key, &disposition), STATUS_SUCCESS);
    CHECK_EQ(disposition, 1);
    CHECK_STATUS(create_key(L"made", services, &again, &disposition), STATUS_SUCCESS);
    CHECK_EQ(disposition, 2);
    close_handle(again);
    CHECK_STATUS(create_key(L"a\\b", services, &again, &disposition), STATUS_OBJECT_NAME_NOT_FOUND);
    close_handle(key);
    close_handle(services);
    unload();
}

TEST(value_set_replaced_enumerated_and_deleted)
{
    /* ZwSetValueKey, ZwEnumerateValueKey, ZwDeleteValueKey. */
    UNICODE_STRING name = text(L"V");
    struct {
        ULONG title, type, name_bytes;
        WCHAR name[8];
    } basic;
    ULONG needed = 0, disposition = 0, data = 5;
    HANDLE key = NULL;
    boot();
    nth_registry_set(KEY, "x", REG_SZ, L"", 2);
    CHECK_STATUS(create_key(L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\Test\\Sub",
                            NULL, &key, &disposition),
                 STATUS_SUCCESS);
    CHECK_STATUS(CALL("ZwSetValueKey", P(key), P(&name), 0, REG_BINARY, P(&data), 1),
                 STATUS_SUCCESS);
    CHECK_STATUS(CALL("ZwSetValueKey", P(key), P(&name), 0, REG_DWORD, P(&data), 4),
                 STATUS_SUCCESS);
    CHECK_STATUS(CALL("ZwEnumerateValueKey", P(key), 0, 0, P(&basic), sizeof(basic), P(&needed)),
                 STATUS_SUCCESS);
    CHECK_EQ(basic.type, REG_DWORD);
    CHECK_EQ(basic.name_bytes, 2);
    CHECK_STATUS(CALL("ZwEnumerateValueKey", P(key), 1, 0, P(&basic), sizeof(basic), P(&needed)),
                 STATUS_NO_MORE_ENTRIES);
    CHECK_STATUS(CALL("ZwDeleteValueKey", P(key), P(&name)), STATUS_SUCCESS);
    CHECK_STATUS(CALL("ZwDeleteValueKey", P(key), P(&name)), STATUS_OBJECT_NAME_NOT_FOUND);
    close_handle(key);
    unload();
}

TEST(key_enumerated_by_index_until_no_more)
{
    /* ZwEnumerateKey: subkeys 0 to n-1, then STATUS_NO_MORE_ENTRIES. */
    struct {
        LARGE_INTEGER written;
        ULONG title, name_bytes;
        WCHAR name[16];
    } basic;
    ULONG needed = 0;
    HANDLE key = NULL;
    boot();
    nth_registry_set(KEY "\\One", "x", REG_SZ, L"", 2);
    nth_registry_set(KEY "\\Two", "x", REG_SZ, L"", 2);
    CHECK_STATUS(open_key(key_path, NULL, &key), STATUS_SUCCESS);
    CHECK_STATUS(CALL("ZwEnumerateKey", P(key), 0, 0, P(&basic), sizeof(basic), P(&needed)),
                 STATUS_SUCCESS);
    CHECK_MEM(basic.name, L"One", 6);
    CHECK_STATUS(CALL("ZwEnumerateKey", P(key), 1, 0, P(&basic), sizeof(basic), P(&needed)),
                 STATUS_SUCCESS);
    CHECK_MEM(basic.name, L"Two", 6);
    CHECK_STATUS(CALL("ZwEnumerateKey", P(key), 2, 0, P(&basic), sizeof(basic), P(&needed)),
                 STATUS_NO_MORE_ENTRIES);
    close_handle(key);
    unload();
}

TEST(key_deleted_while_open_answers_only_that)
{
    /* ZwDeleteKey, and a devnode's key that goes with it: the handle stays valid, the key is gone.
     */
    HANDLE key = NULL, again = NULL;
    ULONG needed = 0;
    boot();
    nth_registry_set(KEY, "x", REG_SZ, L"", 2);
    CHECK_STATUS(open_key(key_path, NULL, &key), STATUS_SUCCESS);
    nth_registry_delete(KEY);
    CHECK_STATUS(query(key, L"x", KeyValuePartialInformation, NULL, 0, &needed),
                 STATUS_KEY_DELETED);
    CHECK_STATUS(open_key(key_path, NULL, &again), STATUS_OBJECT_NAME_NOT_FOUND);
    close_handle(key);
    unload();
}

TEST(key_left_open_at_unload_stops)
{
    /* ZwOpenKey: "the driver must call ZwClose to close it". */
    HANDLE key = NULL;
    boot();
    nth_registry_set(KEY, "x", REG_SZ, L"", 2);
    CHECK_STATUS(open_key(key_path, NULL, &key), STATUS_SUCCESS);
    nth_expect_stop("leak");
    nth_driver_unload(caller);
}

TEST(key_opened_above_passive_level_stops)
{
    /* ZwOpenKey: IRQL PASSIVE_LEVEL. */
    HANDLE key = NULL;
    UNICODE_STRING name = text(key_path);
    OBJECT_ATTRIBUTES attributes = attributes_of(&name, NULL);
    boot();
    nth_expect_stop("irql-too-high");
    CALL_RAISED("ZwOpenKey", P(&key), KEY_READ, P(&attributes));
}

TEST(registry_host_side_answers_sizes)
{
    /* nt.h: *bytes is the room before and the size after. */
    ULONG bytes = 1, type = 0, value = 0;
    boot();
    CHECK_STATUS(nth_registry_get(KEY, "n", &type, &value, &bytes), STATUS_OBJECT_NAME_NOT_FOUND);
    nth_registry_set(KEY, "n", REG_DWORD, &(ULONG){9}, 4);
    bytes = 1;
    CHECK_STATUS(nth_registry_get(KEY, "n", &type, &value, &bytes), STATUS_BUFFER_TOO_SMALL);
    CHECK_EQ(bytes, 4);
    CHECK_STATUS(nth_registry_get(KEY, "n", &type, &value, &bytes), STATUS_SUCCESS);
    CHECK_EQ(value, 9);
    CHECK(!NT_SUCCESS(nth_registry_set("\\Elsewhere\\x", "n", REG_DWORD, &value, 4)));
    unload();
}

/* ---- events ---- */

TEST(event_created_set_waited_for_and_reset)
{
    /* ZwCreateEvent, ZwSetEvent, ZwWaitForSingleObject, ZwClearEvent. */
    OBJECT_ATTRIBUTES attributes = attributes_of(NULL, NULL);
    LARGE_INTEGER now = {.QuadPart = 0};
    HANDLE event = NULL;
    LONG before = 9;
    boot();
    CHECK_STATUS(
        CALL("ZwCreateEvent", P(&event), EVENT_ALL_ACCESS, P(&attributes), NotificationEvent, 0),
        STATUS_SUCCESS);
    CHECK_STATUS(CALL("ZwWaitForSingleObject", P(event), 0, P(&now)), STATUS_TIMEOUT);
    CHECK_STATUS(CALL("ZwSetEvent", P(event), P(&before)), STATUS_SUCCESS);
    CHECK_EQ(before, 0);
    CHECK_STATUS(CALL("ZwWaitForSingleObject", P(event), 0, P(&now)), STATUS_SUCCESS);
    CHECK_STATUS(CALL("ZwClearEvent", P(event)), STATUS_SUCCESS);
    CHECK_STATUS(CALL("ZwWaitForSingleObject", P(event), 0, P(&now)), STATUS_TIMEOUT);
    CHECK_STATUS(CALL("ZwCreateEvent", P(&event), 0, 0, 7, 0), STATUS_INVALID_PARAMETER);
    close_handle(event);
    CHECK_STATUS(CALL("ZwSetEvent", P(event), 0), STATUS_INVALID_HANDLE);
    unload();
}

TEST(event_by_name_is_one_object_until_its_last_handle)
{
    /* ZwCreateEvent, ZwOpenEvent: STATUS_OBJECT_NAME_EXISTS with OBJ_OPENIF, and the name goes with
     * the last handle. */
    UNICODE_STRING name = text(L"\\BaseNamedObjects\\Bell");
    OBJECT_ATTRIBUTES attributes = attributes_of(&name, NULL);
    HANDLE first = NULL, second = NULL;
    LARGE_INTEGER now = {.QuadPart = 0};
    boot();
    CHECK_STATUS(CALL("ZwOpenEvent", P(&second), EVENT_ALL_ACCESS, P(&attributes)),
                 STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_STATUS(
        CALL("ZwCreateEvent", P(&first), EVENT_ALL_ACCESS, P(&attributes), NotificationEvent, 0),
        STATUS_SUCCESS);
    CHECK_STATUS(
        CALL("ZwCreateEvent", P(&second), EVENT_ALL_ACCESS, P(&attributes), NotificationEvent, 0),
        STATUS_OBJECT_NAME_COLLISION);
    attributes.Attributes |= OBJ_OPENIF;
    CHECK_STATUS(
        CALL("ZwCreateEvent", P(&second), EVENT_ALL_ACCESS, P(&attributes), NotificationEvent, 0),
        STATUS_OBJECT_NAME_EXISTS);
    CALL("ZwSetEvent", P(second), 0);
    CHECK_STATUS(CALL("ZwWaitForSingleObject", P(first), 0, P(&now)), STATUS_SUCCESS);
    close_handle(first);
    close_handle(second);
    CHECK_STATUS(CALL("ZwOpenEvent", P(&second), EVENT_ALL_ACCESS, P(&attributes)),
                 STATUS_OBJECT_NAME_NOT_FOUND);
    unload();
}

TEST(event_failure_on_demand_leaves_nothing)
{
    /* ZwCreateEvent: STATUS_INSUFFICIENT_RESOURCES. */
    HANDLE event = NULL;
    boot();
    nth_fault_arm(1u << NTH_FAULT_OBJECT, 1);
    CHECK_STATUS(CALL("ZwCreateEvent", P(&event), EVENT_ALL_ACCESS, 0, NotificationEvent, 0),
                 STATUS_INSUFFICIENT_RESOURCES);
    CHECK_EQ(P(event), 0);
    unload();
}

/* ---- files ---- */

TEST(file_opened_by_a_driver_takes_its_requests)
{
    /* ZwCreateFile, ZwDeviceIoControlFile: previous mode KernelMode, so system addresses pass. */
    UNICODE_STRING name = text(L"\\DosDevices\\Caller");
    OBJECT_ATTRIBUTES attributes = attributes_of(&name, NULL);
    IO_STATUS_BLOCK iosb = {0};
    HANDLE file = NULL;
    uint64_t value = 0x1122334455667788, answer = 0;
    boot();
    CHECK_STATUS(CALL("ZwCreateFile", P(&file), GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE,
                      P(&attributes), P(&iosb), 0, 0, 3, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, 0,
                      0),
                 STATUS_SUCCESS);
    CHECK((intptr_t)file < 0);
    CHECK_STATUS(CALL("ZwDeviceIoControlFile", P(file), 0, 0, 0, P(&iosb), (uint32_t)CODE_ECHO,
                      P(&value), 8, P(&answer), 8),
                 STATUS_SUCCESS);
    CHECK_EQ(answer, value);
    CHECK_EQ(iosb.Information, 8);
    close_handle(file);
    CHECK(log_find(CALLER_CLOSE, 0) != NULL);
    unload();
}

TEST(file_that_is_missing_is_not_found)
{
    /* ZwCreateFile: STATUS_OBJECT_NAME_NOT_FOUND. */
    UNICODE_STRING name = text(L"\\DosDevices\\Nobody");
    OBJECT_ATTRIBUTES attributes = attributes_of(&name, NULL);
    IO_STATUS_BLOCK iosb = {0};
    HANDLE file = NULL;
    boot();
    CHECK_STATUS(CALL("ZwCreateFile", P(&file), GENERIC_READ, P(&attributes), P(&iosb), 0, 0, 3,
                      FILE_OPEN, 0, 0, 0),
                 STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_EQ(P(file), 0);
    unload();
}

/* ---- the system ---- */

TEST(system_information_of_unknown_class_is_refused)
{
    /* NtQuerySystemInformation: STATUS_INFO_LENGTH_MISMATCH; no class, no information. */
    ULONG integrity[2] = {8, 0}, needed = 0;
    UCHAR basic[64];
    boot();
    CHECK_STATUS(CALL("ZwQuerySystemInformation", 0, P(basic), sizeof(basic), P(&needed)),
                 STATUS_SUCCESS);
    CHECK_EQ(basic[56], 4); /* NumberOfProcessors */
    CHECK_STATUS(CALL("ZwQuerySystemInformation", 0, P(basic), 63, P(&needed)),
                 STATUS_INFO_LENGTH_MISMATCH);
    CHECK_STATUS(CALL("ZwQuerySystemInformation", 103, P(integrity), 8, P(&needed)),
                 STATUS_SUCCESS);
    CHECK_EQ(integrity[1], 1);
    CHECK_STATUS(CALL("ZwQuerySystemInformation", 64, P(basic), 64, P(&needed)),
                 STATUS_INVALID_INFO_CLASS);
    unload();
}

TEST(process_opened_by_id_is_a_process_handle)
{
    /* ZwOpenProcess: ClientId with UniqueThread zero; STATUS_INVALID_CID. */
    OBJECT_ATTRIBUTES attributes = attributes_of(NULL, NULL);
    CLIENT_ID id = {0};
    HANDLE handle = NULL;
    LARGE_INTEGER now = {.QuadPart = 0};
    boot();
    struct client *client = program(CLIENT_USER);
    id.UniqueProcess = (HANDLE)(uintptr_t)client_process_id(client);
    CHECK_STATUS(CALL("ZwOpenProcess", P(&handle), THREAD_ALL_ACCESS, P(&attributes), P(&id)),
                 STATUS_SUCCESS);
    CHECK_STATUS(CALL("ZwWaitForSingleObject", P(handle), 0, P(&now)), STATUS_TIMEOUT);
    client_kill(client);
    CHECK_STATUS(CALL("ZwWaitForSingleObject", P(handle), 0, P(&now)), STATUS_SUCCESS);
    close_handle(handle);
    client_destroy(client);
    CHECK_STATUS(CALL("ZwOpenProcess", P(&handle), THREAD_ALL_ACCESS, P(&attributes), P(&id)),
                 STATUS_INVALID_CID);
    unload();
}

static void key_and_file(void)
{
    UNICODE_STRING name = text(L"\\DosDevices\\Caller");
    OBJECT_ATTRIBUTES attributes = attributes_of(&name, NULL);
    IO_STATUS_BLOCK iosb = {0};
    HANDLE key = NULL, file = NULL;
    uint64_t value = 9, answer = 0;
    ULONG needed = 0;
    UCHAR buffer[32];
    nth_registry_set(KEY, "Text", REG_SZ, L"abc", 8);
    CHECK_STATUS(open_key(key_path, NULL, &key), STATUS_SUCCESS);
    CHECK_STATUS(query(key, L"Text", KeyValuePartialInformation, buffer, sizeof(buffer), &needed),
                 STATUS_SUCCESS);
    close_handle(key);
    CHECK_STATUS(CALL("ZwCreateFile", P(&file), GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE,
                      P(&attributes), P(&iosb), 0, 0, 3, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, 0,
                      0),
                 STATUS_SUCCESS);
    CHECK_STATUS(CALL("ZwDeviceIoControlFile", P(file), 0, 0, 0, P(&iosb), (uint32_t)CODE_ECHO,
                      P(&value), 8, P(&answer), 8),
                 STATUS_SUCCESS);
    CHECK_EQ(answer, 9);
    close_handle(file);
}

TEST(services_work_from_a_driver_of_every_build)
{
    /* Ten and eleven parameters, so most of them on the stack. */
    in_every_build(key_and_file);
}
