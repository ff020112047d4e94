/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.sys about its control device: names, who may open an adapter, what may be
 * asked there, and files that outlive adapter, device and driver (design 2.5, 3.4; lessons 8).
 */
#include "scenario.h"

enum { READ = FILE_GENERIC_READ, WRITE = FILE_GENERIC_WRITE };

/* ---- names ---- */

TEST(device_opens_adapters_by_name_and_nothing_else)
{
    /* design 2.5: \\.\Wintun\{NetCfgInstanceId}; empty names are refused */
    struct scene scene;
    client_handle file;
    char path[256];

    scene_begin(&scene, SERIAL(1));
    const char *id = nth_device_net_cfg_id(scene.port.device);
    static const char *const bad[] = {
        "\\\\.\\Wintun",     "\\\\.\\Wintun\\",
        "\\\\.\\Wintun\\{}", "\\\\.\\Wintun\\\\",
        "\\\\.\\Wintun\\x",  "\\\\.\\Wintun\\{00000000-0000-0000-0000-000000000000}"};
    for (unsigned i = 0; i < 6; i++)
        CHECK(!NT_SUCCESS(client_open(scene.admin, bad[i], CLIENT_READ, &file)));
    static const char *const shapes[] = {"\\\\.\\Wintun\\%s\\",  "\\\\.\\Wintun\\%sx",
                                         "\\\\.\\Wintun\\x%s",   "\\\\.\\Wintun\\\\%s",
                                         "\\\\.\\Wintun\\%.37s", "\\\\.\\Wintun%s"};
    for (unsigned i = 0; i < 6; i++) {
        snprintf(path, sizeof(path), shapes[i], id);
        CHECK(!NT_SUCCESS(client_open(scene.admin, path, CLIENT_READ, &file)));
    }
    static const char *const good[] = {"\\\\.\\Wintun\\%s", "\\\\.\\WINTUN\\%s",
                                       "\\\\?\\wintun\\%s"};
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), good[i], id);
        for (char *c = path + 10; *c && i; c++)
            *c = (char)(*c >= 'A' && *c <= 'F' ? *c + 32 : *c);
        CHECK_STATUS(client_open(scene.admin, path, CLIENT_READ, &file), STATUS_SUCCESS);
        client_close(scene.admin, file);
    }
    scene_end(&scene);
}

TEST(adapter_with_a_name_that_is_too_long_does_not_start)
{
    /* NetCfgInstanceId is a GUID in braces; lessons 254a900: "truncation is an error", and an
     * adapter without a name could be opened by none */
    struct port port, failed;
    client_handle file;
    static const char longest[] = "{DEADBABE-CAFE-BEEF-0123-456789ABCDEF}x";
    static const char longer[] = "{DEADBABE-CAFE-BEEF-0123-456789ABCDEF}xx";

    scenario_boot(SERIAL(1));
    struct client *admin = program(CLIENT_ADMIN);
    for (int i = 0; i < 2; i++) { /* the first, which makes the device, and another */
        CHECK(!NT_SUCCESS(port_try(&failed, &(struct nth_device_config){.net_cfg_id = longer})));
        CHECK(!NT_SUCCESS(client_open(admin, "\\\\.\\Wintun\\", CLIENT_READ, &file)));
        if (i == 0)
            CHECK_STATUS(port_try(&port, &(struct nth_device_config){.net_cfg_id = longest}), 0);
    }
    port_unplug(&port);
    client_destroy(admin);
    scenario_shutdown();
}

TEST(device_refuses_long_names)
{
    /* UNICODE_STRING: Length is what counts, up to 32767 characters */
    struct scene scene;
    client_handle file;
    static char path[4000] = "\\\\.\\Wintun\\";

    scene_begin(&scene, SERIAL(1));
    memset(path + 11, '{', sizeof(path) - 12);
    CHECK(!NT_SUCCESS(client_open(scene.admin, path, CLIENT_READ, &file)));
    scene_end(&scene);
}

TEST(device_refuses_relative_opens)
{
    /* design 2.5: relative opens are refused: their access was checked against another name */
    struct scene scene;
    client_handle relative;

    scene_begin(&scene, SERIAL(1));
    const client_handle file = port_open(&scene.port, scene.admin, VIA_WINTUN);
    char absolute[64];
    snprintf(absolute, sizeof(absolute), "\\%s", nth_device_net_cfg_id(scene.port.device));
    const char *const names[] = {"", "x", "\\", absolute + 1, absolute};
    for (unsigned i = 0; i < 5; i++)
        CHECK(
            !NT_SUCCESS(client_open_relative(scene.admin, file, names[i], CLIENT_READ, &relative)));
    client_close(scene.admin, file);
    scene_end(&scene);
}

TEST(device_refuses_opens_of_an_adapter_that_is_going)
{
    /* lessons nt (HEAD) "opens during removal": refuse creates with a removal status. Before NDIS
     * 6.30 the halt after a surprise removal comes when the last handle to the stack closes */
    struct scene scene;
    client_handle file;

    scene_begin(&scene, &(const struct nth_config){.mode = NTH_SERIAL, .ndis_version = 0x60014});
    const client_handle other = port_open(&scene.port, scene.admin, VIA_NDIS);
    nth_surprise_remove(scene.port.device);
    CHECK_STATUS(port_open_status(&scene.port, scene.admin, VIA_WINTUN, CLIENT_READ, &file),
                 STATUS_DELETE_PENDING);
    CHECK_STATUS(client_close(scene.admin, other), STATUS_SUCCESS);
    nth_settle();
    port_forget(&scene.port);
    scene_end(&scene);
}

/* ---- access ---- */

struct sid {
    uint8_t revision, count, authority[6];
    uint32_t sub[2];
};
static const struct sid everyone = {1, 1, {0, 0, 0, 0, 0, 1}, {0}},
                        system_sid = {1, 1, {0, 0, 0, 0, 0, 5}, {18}};

/* Owner SYSTEM; SYSTEM may do all, everyone what `mask` says. Answers its size. */
static size_t descriptor(uint8_t *to, uint32_t mask)
{
    const size_t sid = 12, ace = 8 + sid;
    const SECURITY_DESCRIPTOR_RELATIVE header = {
        .Revision = 1, .Control = 0x8004, .Owner = 20 + 8 + 2 * (ULONG)ace, .Dacl = 20};

    memcpy(to, &header, 20);
    memcpy(to + 20, &(ACL){.AclRevision = 2, .AclSize = (USHORT)(8 + 2 * ace), .AceCount = 2}, 8);
    for (int i = 0; i < 2; i++) {
        uint8_t *at = to + 28 + (size_t)i * ace;
        const uint32_t rights = i ? mask : FILE_ALL_ACCESS;
        memcpy(at, &(ACE_HEADER){.AceSize = (USHORT)ace}, 4);
        memcpy(at + 4, &rights, 4);
        memcpy(at + 8, i ? &everyone : &system_sid, sid);
    }
    memcpy(to + header.Owner, &system_sid, sid);
    return header.Owner + sid;
}

static client_status open_as(const struct port *port, enum client_token token, unsigned flags)
{
    struct client *client = program(token);
    client_handle file;
    const client_status status = port_open_status(port, client, VIA_WINTUN, flags, &file);

    client_destroy(client);
    return status;
}

/* Registers as this token with a handle that an administrator opened on NDIS's device. */
static client_status register_as(const struct port *port, enum client_token token)
{
    struct client *opener = program(CLIENT_ADMIN), *client = program(token);
    const client_handle file = port_open(port, opener, VIA_NDIS);
    struct ring_session *rings;
    client_handle copy;

    CHECK_STATUS(client_duplicate(opener, file, client, &copy), STATUS_SUCCESS);
    const client_status status = ring_open(client, copy, NULL, &rings);
    client_destroy(opener);
    client_destroy(client);
    port_await_link(port, false);
    return status;
}

enum { ADMINISTRATORS, EVERYBODY, READERS };

static void expect_access(const struct port *port, int who)
{
    for (enum client_token token = CLIENT_SYSTEM; token <= CLIENT_USER; token++) {
        const bool is_high = token == CLIENT_SYSTEM || token == CLIENT_ADMIN;
        const bool may_read = who != ADMINISTRATORS || is_high;
        const bool may_write =
            who == EVERYBODY || token == CLIENT_SYSTEM || (who == ADMINISTRATORS && is_high);
        CHECK_STATUS(open_as(port, token, CLIENT_READ),
                     may_read ? STATUS_SUCCESS : STATUS_ACCESS_DENIED);
        CHECK_STATUS(open_as(port, token, CLIENT_WRITE),
                     may_write ? STATUS_SUCCESS : STATUS_ACCESS_DENIED);
        CHECK_STATUS(open_as(port, token, CLIENT_READ | CLIENT_WRITE),
                     may_write ? STATUS_SUCCESS : STATUS_ACCESS_DENIED);
        /* the handle would have what the device's descriptor gives, which is more than may_read */
        CHECK_STATUS(open_as(port, token, CLIENT_MAXIMUM),
                     may_write ? STATUS_SUCCESS : STATUS_ACCESS_DENIED);
        CHECK_STATUS(register_as(port, token), may_write ? STATUS_SUCCESS : STATUS_ACCESS_DENIED);
    }
}

/* Plugs with our property set to these bytes, and expects. */
static void with_property(DEVPROPTYPE type, const void *data, size_t bytes, int who)
{
    const struct nth_device_property property = {
        .key = {WINTUN_PROPERTY_FMTID, WINTUN_PROPERTY_SECURITY},
        .type = type,
        .data = data,
        .bytes = (uint32_t)bytes,
    };
    struct port port;

    CHECK_STATUS(
        port_try(&port, &(struct nth_device_config){.properties = &property, .property_count = 1}),
        STATUS_SUCCESS);
    expect_access(&port, who);
    port_unplug(&port);
}

TEST(access_is_for_system_and_elevated_administrators)
{
    /* abi.md 2.9: O:SYD:P(A;;FA;;;SY)(A;;FA;;;BA)S:(ML;;NWNRNX;;;HI); lessons 19.16: checked at the
     * control code too */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    expect_access(&scene.port, ADMINISTRATORS);
    scene_end(&scene);
}

TEST(access_follows_the_descriptor_given_at_creation)
{
    /* design 2.5: an administrator can set another descriptor for the adapter */
    uint8_t bytes[128];

    scenario_boot(SERIAL(1));
    with_property(DEVPROP_TYPE_SECURITY_DESCRIPTOR, bytes, descriptor(bytes, FILE_ALL_ACCESS),
                  EVERYBODY);
    with_property(DEVPROP_TYPE_SECURITY_DESCRIPTOR, bytes, descriptor(bytes, FILE_GENERIC_READ),
                  READERS);
    scenario_shutdown();
}

TEST(access_by_a_malformed_descriptor_is_the_default)
{
    /* design 2.5: "validated, default on doubt" */
    uint8_t bytes[128], spoilt[128];

    scenario_boot(SERIAL(1));
    const size_t size = descriptor(bytes, FILE_ALL_ACCESS);
    with_property(DEVPROP_TYPE_BINARY, bytes, size, ADMINISTRATORS);
    static const size_t cut[] = {1, 4, 19, 20, 28, 60};
    for (unsigned i = 0; i < 6; i++)
        with_property(DEVPROP_TYPE_SECURITY_DESCRIPTOR, bytes, cut[i], ADMINISTRATORS);
    static const struct {
        uint8_t at, value;
    } bad[] = {{0, 2},    /* revision */
               {3, 0},    /* no longer self-relative */
               {4, 200},  /* owner beyond the end */
               {16, 120}, /* DACL beyond the end */
               {22, 255}, /* DACL larger than the descriptor */
               {24, 9}};  /* more entries than fit */
    for (unsigned i = 0; i < 6; i++) {
        memcpy(spoilt, bytes, size);
        spoilt[bad[i].at] = bad[i].value;
        with_property(DEVPROP_TYPE_SECURITY_DESCRIPTOR, spoilt, size, ADMINISTRATORS);
    }
    scenario_shutdown();
}

TEST(access_of_a_driver_is_checked_when_it_asks_for_that)
{
    /* FLT_IO_PARAMETER_BLOCK: with SL_FORCE_ACCESS_CHECK "access checks must be performed even if
     * the value of the IRP's RequestorMode member is KernelMode"; design 2.5 */
    struct nth_device_property property = {.key = {WINTUN_PROPERTY_FMTID, WINTUN_PROPERTY_SECURITY},
                                           .type = DEVPROP_TYPE_SECURITY_DESCRIPTOR};
    uint8_t bytes[128];
    struct port port;
    HANDLE handle;

    scenario_boot(SERIAL(1));
    property.bytes = (uint32_t)descriptor(bytes, FILE_GENERIC_READ);
    property.data = bytes;
    bytes[44] = 19; /* who has all access is S-1-5-19 instead of the system, which the driver is */
    CHECK_STATUS(
        port_try(&port, &(struct nth_device_config){.properties = &property, .property_count = 1}),
        STATUS_SUCCESS);
    static const ULONG attributes[] = {0, OBJ_FORCE_ACCESS_CHECK};
    for (unsigned i = 0; i < 2; i++) {
        CHECK_STATUS(port_open_as_driver(&port, FILE_READ_DATA, attributes[i], &handle),
                     STATUS_SUCCESS);
        CHECK_STATUS(ZwClose(handle), STATUS_SUCCESS);
    }
    CHECK_STATUS(port_open_as_driver(&port, FILE_WRITE_DATA, 0, &handle), STATUS_SUCCESS);
    CHECK_STATUS(ZwClose(handle), STATUS_SUCCESS);
    CHECK_STATUS(port_open_as_driver(&port, FILE_WRITE_DATA, OBJ_FORCE_ACCESS_CHECK, &handle),
                 STATUS_ACCESS_DENIED);
    port_unplug(&port);
    scenario_shutdown();
}

TEST(access_without_write_cannot_write_or_register)
{
    /* wintun-abi.h: REGISTER_RINGS asks for read and write access, QUERY for read: encoded in the
     * control codes, which the I/O manager checks against the handle */
    struct scene scene;
    struct ring_session *rings;
    client_handle file;
    WINTUN_QUERY query;

    scene_begin(&scene, SERIAL(1));
    uint8_t *room = program_alloc(scene.admin, 0x20000);
    CHECK_STATUS(port_open_status(&scene.port, scene.admin, VIA_WINTUN, CLIENT_READ, &file), 0);
    CHECK_STATUS(client_write(scene.admin, file, room, 16, NULL), STATUS_ACCESS_DENIED);
    CHECK_STATUS(ring_open(scene.admin, file, NULL, &rings), STATUS_ACCESS_DENIED);
    CHECK_STATUS(query_file(scene.admin, file, &query), STATUS_SUCCESS);
    client_close(scene.admin, file);
    CHECK_STATUS(port_open_status(&scene.port, scene.admin, VIA_WINTUN, CLIENT_WRITE, &file), 0);
    CHECK_STATUS(client_read(scene.admin, file, room, 0x20000, NULL), STATUS_ACCESS_DENIED);
    CHECK_STATUS(query_file(scene.admin, file, &query), STATUS_ACCESS_DENIED);
    scene_end(&scene);
}

TEST(event_without_the_needed_access_is_refused)
{
    /* abi.md 2.5: Send event EVENT_MODIFY_STATE; Receive SYNCHRONIZE | EVENT_MODIFY_STATE; 2.9 row
     * 7: STATUS_ACCESS_DENIED */
    struct scene scene;
    const uint32_t size = WINTUN_RING_MIN_CAPACITY + WINTUN_RING_OVERHEAD;

    scene_begin(&scene, SERIAL(1));
    const client_handle file = port_open(&scene.port, scene.admin, VIA_NDIS);
    uint8_t *memory = program_alloc(scene.admin, 2 * (size_t)size);
    WINTUN_REGISTER_RINGS *request = program_alloc(scene.admin, sizeof(*request));
    static const uint32_t rights[][2] = {{SYNCHRONIZE, EVENT_ALL_ACCESS},
                                         {EVENT_ALL_ACCESS, SYNCHRONIZE},
                                         {EVENT_ALL_ACCESS, EVENT_MODIFY_STATE},
                                         {EVENT_MODIFY_STATE, SYNCHRONIZE | EVENT_MODIFY_STATE}};
    for (unsigned i = 0; i < 4; i++) {
        client_handle event[2];
        for (int e = 0; e < 2; e++)
            CHECK_STATUS(
                client_restrict(scene.admin, program_event(scene.admin), rights[i][e], &event[e]),
                STATUS_SUCCESS);
        *request =
            (WINTUN_REGISTER_RINGS){.ToUser = {size, 0, (uintptr_t)memory, event[0]},
                                    .ToStack = {size, 0, (uintptr_t)memory + size, event[1]}};
        CHECK_STATUS(client_control(scene.admin, file, WINTUN_IOCTL_REGISTER_RINGS, request,
                                    sizeof(*request), NULL, 0, NULL),
                     i < 3 ? STATUS_ACCESS_DENIED : STATUS_SUCCESS);
    }
    scene_end(&scene);
}

/* ---- questions ---- */

TEST(query_tells_what_is)
{
    /* design 3.4: size and version first, then the rest; needs no session */
    struct scene scene;

    scene_begin(&scene, &(const struct nth_config){.mode = NTH_SERIAL, .ndis_version = 0x60050});
    WINTUN_QUERY query = port_query(&scene.port);
    CHECK_EQ(query.Size, sizeof(query));
    CHECK_EQ(query.Version, 1);
    CHECK_EQ(query.NdisVersion, 0x60050);
    CHECK_EQ(query.State, WintunStateRunning);
    CHECK_EQ(query.SessionKind, WintunSessionNone);
    CHECK_EQ(query.OwnerProcess, 0);
    CHECK_EQ(query.Mtu, 65535);
    CHECK_EQ(query.LinkUp, 0);
    CHECK_EQ(query.Offloads, 0);
    for (unsigned i = 0; i < 24; i++)
        CHECK_EQ(query.Counters[i], 0);
    scene_rings(&scene, VIA_NDIS, NULL);
    query = port_query(&scene.port);
    CHECK_EQ(query.SessionKind, WintunSessionRings);
    CHECK_EQ(query.OwnerProcess, client_process_id(scene.admin));
    CHECK_EQ(query.LinkUp, 1);
    CHECK_EQ(query.QueueCount, 1);
    scene_end(&scene);
}

TEST(query_fills_what_the_buffer_holds)
{
    /* wintun-abi.h: "as much of it as the output buffer holds, at least the first two fields" */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    const client_handle file = port_open(&scene.port, scene.admin, VIA_WINTUN);
    uint8_t *answer = program_alloc(scene.admin, 4096);
    for (uint32_t bytes = 0; bytes <= 260; bytes++) {
        uint32_t got = 9;
        memset(answer, 0xAB, 300);
        const client_status status =
            client_control(scene.admin, file, WINTUN_IOCTL_QUERY, NULL, 0, answer, bytes, &got);
        CHECK_STATUS(status, bytes < 8 ? STATUS_BUFFER_TOO_SMALL : STATUS_SUCCESS);
        CHECK_EQ(got, bytes < 8 ? 0 : bytes < 240 ? bytes : 240);
        CHECK_EQ(answer[got], 0xAB);
        if (bytes >= 8)
            CHECK_EQ(*(uint32_t *)answer, 240);
    }
    scene_end(&scene);
}

TEST(unknown_control_codes_are_refused)
{
    /* IRP_MJ_DEVICE_CONTROL: STATUS_INVALID_DEVICE_REQUEST for a code the driver does not know */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    const client_handle file = port_open(&scene.port, scene.admin, VIA_WINTUN);
    void *room = program_alloc(scene.admin, 4096);
    static const uint32_t codes[] = {0,
                                     1,
                                     0xCA6CE5C7 /* abi.md 2.2: FORCE_CLOSE_HANDLES */,
                                     WINTUN_IOCTL_QUERY ^ 4,
                                     WINTUN_IOCTL_REGISTER_RINGS ^ 8,
                                     0x00170002 /* IOCTL_NDIS_QUERY_GLOBAL_STATS */,
                                     0xFFFFFFFF};
    for (unsigned i = 0; i < 7; i++)
        CHECK_STATUS(client_control(scene.admin, file, codes[i], room, 48, room, 4096, NULL),
                     STATUS_INVALID_DEVICE_REQUEST);
    scene_end(&scene);
}

/* ---- files left open ---- */

static void expect_dead_file(struct client *client, client_handle file)
{
    struct ring_session *rings;
    uint8_t *room = program_alloc(client, 0x20000);
    WINTUN_QUERY query;

    CHECK(!NT_SUCCESS(client_read(client, file, room, 0x20000, NULL)));
    CHECK(!NT_SUCCESS(client_write(client, file, room, 16, NULL)));
    CHECK(!NT_SUCCESS(ring_open(client, file, NULL, &rings)));
    query_file(client, file, &query); /* whatever it says, it must be safe */
}

TEST(file_left_open_behind_an_adapter_is_dead_and_closes)
{
    /* design 2.5: "a file left open keeps the image loaded and nothing else; its cleanup and close
     * still work, and a new device can be made meanwhile"; the old one is delete-pending */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    const client_handle old = port_open(&scene.port, scene.admin, VIA_WINTUN);
    port_unplug(&scene.port);
    expect_dead_file(scene.admin, old);
    port_plug(&scene.port);
    expect_dead_file(scene.admin, old);
    scene_rings(&scene, VIA_WINTUN, NULL); /* a file of the new device */
    CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL), NDIS_STATUS_SUCCESS);
    CHECK_STATUS(client_close(scene.admin, old), STATUS_SUCCESS);
    CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL), NDIS_STATUS_SUCCESS);
    scene_end(&scene);
}

TEST(file_left_open_keeps_the_image_until_it_closes)
{
    /* design 2.5; IoDeleteDevice: the device object lives until its last file closes, the image
     * until its last device */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    const client_handle old = port_open(&scene.port, scene.admin, VIA_WINTUN);
    port_unplug(&scene.port);
    CHECK_STATUS(nth_driver_unload(scenario_driver), STATUS_PENDING);
    expect_dead_file(scene.admin, old);
    CHECK_STATUS(client_close(scene.admin, old), STATUS_SUCCESS);
    nth_settle();
    client_destroy(scene.admin);
    CHECK_STATUS(scenario_load(), STATUS_SUCCESS); /* and once more */
    port_plug(&scene.port);
    scene.admin = program(CLIENT_ADMIN);
    scene_rings(&scene, VIA_WINTUN, NULL);
    scene_end(&scene);
}

TEST(device_lives_as_long_as_any_adapter)
{
    /* design 2.5: made by the first initialise, deregistered by the last halt, counted */
    struct scene scene;
    struct port second, third;

    scene_begin(&scene, SERIAL(1));
    port_plug(&second);
    const client_handle a = port_open(&scene.port, scene.admin, VIA_WINTUN);
    const client_handle b = port_open(&second, scene.admin, VIA_WINTUN);
    port_unplug(&scene.port);
    expect_dead_file(scene.admin, a);
    WINTUN_QUERY query;
    CHECK_STATUS(query_file(scene.admin, b, &query), STATUS_SUCCESS);
    port_plug(&third);
    CHECK_EQ(port_query(&third).Size, 240);
    port_unplug(&second);
    port_unplug(&third);
    client_handle file;
    CHECK(!NT_SUCCESS(client_open(scene.admin, "\\\\.\\Wintun\\x", CLIENT_READ, &file)));
    client_close(scene.admin, a);
    client_close(scene.admin, b);
    scene_end(&scene);
}
