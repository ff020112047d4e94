/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.dll: sessions and packets, between the DLL binary and the driver binary
 * (wintun.h; abi.md 2.4 to 2.7 and 3.12). One thread at a time here; threads.c has the others.
 */
#include "api.h"

enum { CAPACITY = 0x20000, MOST = 0xFFFF };

struct link {
    struct api api;
    WINTUN_ADAPTER_HANDLE adapter;
    WINTUN_SESSION_HANDLE session;
    struct port port;
};

static void link_begin(struct link *link, DWORD capacity)
{
    api_boot(SERIAL(1));
    api_begin(&link->api, CLIENT_ADMIN);
    link->adapter = api_create(&link->api, L"Demo");
    api_port(&link->port, api_instance(&link->api, 0));
    link->session = IN(&link->api, link->api.f.StartSession(link->adapter, capacity));
    CHECK(link->session != NULL);
    port_await_link(&link->port, true);
}

static void link_end(struct link *link)
{
    DO(&link->api, link->api.f.EndSession(link->session));
    api_port_close(&link->port);
    DO(&link->api, link->api.f.CloseAdapter(link->adapter));
    api_end(&link->api);
    api_shutdown();
}

/* Copies the packet out; its address as the DLL gave it, NULL with the error in link->api. */
static BYTE *receive(struct link *link, uint8_t *copy, DWORD *bytes)
{
    struct api *api = &link->api;
    BYTE *packet;

    win32_thread_enter(api->thread);
    packet = api->f.ReceivePacket(link->session, bytes);
    api->error = win32_last_error();
    if (packet != NULL)
        memcpy(copy, packet, *bytes);
    win32_thread_leave(api->thread);
    return packet;
}

static BYTE *expect(struct link *link, const void *packet, size_t size)
{
    static uint8_t copy[MOST];
    DWORD bytes = 0;
    BYTE *got = receive(link, copy, &bytes);

    if (got == NULL)
        check_fail(__FILE__, __LINE__, "no packet: error %u", link->api.error);
    CHECK_EQ(bytes, size);
    CHECK_MEM(copy, packet, size);
    return got;
}

static void expect_nothing(struct link *link, DWORD error)
{
    static uint8_t copy[MOST];
    DWORD bytes = 0;

    CHECK(receive(link, copy, &bytes) == NULL);
    CHECK_EQ(link->api.error, error);
}

static void release(struct link *link, const BYTE *packet)
{
    DO(&link->api, link->api.f.ReleaseReceivePacket(link->session, packet));
}

static BYTE *allocate(struct link *link, const void *packet, DWORD bytes)
{
    struct api *api = &link->api;

    win32_thread_enter(api->thread);
    BYTE *room = api->f.AllocateSendPacket(link->session, bytes);
    api->error = win32_last_error();
    if (room != NULL && packet != NULL)
        memcpy(room, packet, bytes);
    win32_thread_leave(api->thread);
    return room;
}

static void send_it(struct link *link, const BYTE *room)
{
    DO(&link->api, link->api.f.SendPacket(link->session, room));
}

static void put(struct link *link, const void *packet, DWORD bytes)
{
    BYTE *room = allocate(link, packet, bytes);

    CHECK(room != NULL);
    send_it(link, room);
}

/* ---- what a session is ---- */

TEST(link_is_up_while_there_is_a_session)
{
    /* abi.md 4.2 */
    struct link link;

    link_begin(&link, CAPACITY);
    DO(&link.api, link.api.f.EndSession(link.session));
    port_await_link(&link.port, false);
    link.session = IN(&link.api, link.api.f.StartSession(link.adapter, 0x4000000));
    CHECK(link.session != NULL);
    port_await_link(&link.port, true);
    link_end(&link);
}

TEST(capacity_is_checked)
{
    /* wintun.h: a power of two within bounds */
    static const DWORD bad[] = {0,       1,         0x1FFFF,   0x10000,    0x20001,
                                0x30000, 0x4000001, 0x8000000, 0x80000000, 0xFFFFFFFF};
    struct link link;

    link_begin(&link, CAPACITY);
    DO(&link.api, link.api.f.EndSession(link.session));
    for (size_t i = 0; i < ARRAYSIZE(bad); i++) {
        CHECK(IN(&link.api, link.api.f.StartSession(link.adapter, bad[i])) == NULL);
        CHECK_EQ(link.api.error, INVALID_PARAMETER);
    }
    link.session = IN(&link.api, link.api.f.StartSession(link.adapter, CAPACITY));
    CHECK(link.session != NULL);
    link_end(&link);
}

TEST(second_session_is_refused_as_busy)
{
    /* abi.md 3.12, lessons 19.15: 1247, from any process */
    struct link link;
    struct api other;

    link_begin(&link, CAPACITY);
    CHECK(IN(&link.api, link.api.f.StartSession(link.adapter, CAPACITY)) == NULL);
    CHECK_EQ(link.api.error, ALREADY_INITIALIZED);
    api_begin(&other, CLIENT_SYSTEM);
    WINTUN_ADAPTER_HANDLE opened = IN(&other, other.f.OpenAdapter(L"DEMO"));
    CHECK(opened != NULL);
    CHECK(IN(&other, other.f.StartSession(opened, CAPACITY)) == NULL);
    CHECK_EQ(other.error, ALREADY_INITIALIZED);
    DO(&other, other.f.CloseAdapter(opened));
    api_end(&other);
    link_end(&link);
}

TEST(session_needs_no_adapter_handle)
{
    /* wintun.h, WintunStartSession */
    struct link link;

    link_begin(&link, CAPACITY);
    DO(&link.api, link.api.f.EndSession(link.session));
    WINTUN_ADAPTER_HANDLE opened = IN(&link.api, link.api.f.OpenAdapter(L"Demo"));
    CHECK(opened != NULL);
    link.session = IN(&link.api, link.api.f.StartSession(opened, CAPACITY));
    CHECK(link.session != NULL);
    DO(&link.api, link.api.f.CloseAdapter(opened));
    put(&link, packet_of(60, 4, 1), 60);
    port_expect(&link.port, 0, packet_of(60, 4, 1), 60);
    link_end(&link);
}

TEST(descriptor_gives_a_user_a_session)
{
    /* wintun.h, WINTUN_ADAPTER_OPTIONS.SecurityDescriptor; without one: ERROR_ACCESS_DENIED */
    static const LPCWSTR descriptors[] = {
        NULL, L"O:BAD:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GRGW;;;BU)(A;;GRGW;;;WD)"};
    struct api admin, user;

    api_boot(SERIAL(1));
    api_begin(&admin, CLIENT_ADMIN);
    api_begin_cold(&user, CLIENT_USER);
    for (int i = 0; i < 2; i++) {
        const WINTUN_ADAPTER_OPTIONS options = {.Size = sizeof(options),
                                                .Name = L"Demo",
                                                .TunnelType = L"Example",
                                                .SecurityDescriptor = descriptors[i]};
        WINTUN_ADAPTER_HANDLE made = IN(&admin, admin.f.CreateAdapterEx(&options));
        CHECK(made != NULL);
        WINTUN_ADAPTER_HANDLE opened = IN(&user, user.f.OpenAdapter(L"Demo"));
        CHECK(opened != NULL);
        WINTUN_SESSION_HANDLE session = IN(&user, user.f.StartSession(opened, CAPACITY));
        CHECK_EQ(session != NULL, i == 1);
        if (session == NULL)
            CHECK_EQ(user.error, ACCESS_DENIED);
        else
            DO(&user, user.f.EndSession(session));
        DO(&user, user.f.CloseAdapter(opened));
        DO(&admin, admin.f.CloseAdapter(made));
    }
    api_check(&user);
    api_end(&user);
    api_end(&admin);
    api_shutdown();
}

TEST(descriptor_takes_the_place_of_the_default)
{
    /* wintun.h, WINTUN_ADAPTER_OPTIONS.SecurityDescriptor: administrators are to be in it too */
    static const WINTUN_ADAPTER_OPTIONS options = {.Size = sizeof(options),
                                                   .Name = L"Demo",
                                                   .TunnelType = L"Example",
                                                   .SecurityDescriptor = L"O:BAD:P(A;;GA;;;SY)"};
    struct api admin, service;

    api_boot(SERIAL(1));
    api_begin(&admin, CLIENT_ADMIN);
    api_begin(&service, CLIENT_SYSTEM);
    WINTUN_ADAPTER_HANDLE adapter = IN(&admin, admin.f.CreateAdapterEx(&options));
    CHECK(adapter != NULL);
    CHECK(IN(&admin, admin.f.StartSession(adapter, CAPACITY)) == NULL);
    CHECK_EQ(admin.error, ACCESS_DENIED);
    WINTUN_ADAPTER_HANDLE opened = IN(&service, service.f.OpenAdapter(L"Demo"));
    CHECK(opened != NULL);
    WINTUN_SESSION_HANDLE session = IN(&service, service.f.StartSession(opened, CAPACITY));
    CHECK(session != NULL);
    DO(&service, service.f.EndSession(session));
    DO(&service, service.f.CloseAdapter(opened));
    DO(&admin, admin.f.CloseAdapter(adapter));
    api_end(&service);
    api_end(&admin);
    api_shutdown();
}

TEST(descriptor_that_the_driver_does_not_know_is_refused)
{
    /* wintun.h: a field that is not known is refused, never ignored. A driver of version 0.14 has
     * only NDIS's device, so that of the adapter is not found. */
    static const WINTUN_ADAPTER_OPTIONS options = {.Size = sizeof(options),
                                                   .Name = L"Demo",
                                                   .TunnelType = L"Example",
                                                   .SecurityDescriptor =
                                                       L"O:BAD:P(A;;GA;;;SY)(A;;GRGW;;;BU)"};
    struct api api;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    DO(&api, api.f.CloseAdapter(api_create(&api, L"Demo"))); /* the package is in the store now */
    log_clear();
    win32_fault_arm("CreateFileW", 1, FILE_NOT_FOUND);
    CHECK(IN(&api, api.f.CreateAdapterEx(&options)) == NULL);
    CHECK_EQ(api.error, NOT_SUPPORTED);
    CHECK_EQ(log_count(WINTUN_LOG_ERR), 1);
    CHECK_EQ(win32_node_count("SWD\\Wintun", false), 0);
    /* one that admits somebody else only is taken */
    WINTUN_ADAPTER_OPTIONS others = options;
    others.SecurityDescriptor = L"O:BAD:P(A;;GRGW;;;IU)";
    WINTUN_ADAPTER_HANDLE adapter = IN(&api, api.f.CreateAdapterEx(&others));
    CHECK(adapter != NULL);
    DO(&api, api.f.CloseAdapter(adapter));
    api_end(&api);
    api_shutdown();
}

TEST(adapter_that_goes_while_it_is_asked_is_told_as_gone)
{
    /* wintun.h, WintunStartSession: ERROR_NOT_READY; WintunGetStatistics: ERROR_FILE_NOT_FOUND.
     * abi.md 2.9: NDIS_STATUS_ADAPTER_NOT_READY is seen as 17; STATUS_FILE_FORCED_CLOSED as 38 */
    static const DWORD errors[] = {17, HANDLE_EOF};
    WINTUN_STATISTICS statistics = {.Size = sizeof(statistics)};
    enum { NOT_READY = 21 };
    struct api api;

    api_boot(SERIAL(1));
    api_begin(&api, CLIENT_ADMIN);
    WINTUN_ADAPTER_HANDLE adapter = api_create(&api, L"Demo");
    for (size_t i = 0; i < ARRAYSIZE(errors); i++) {
        win32_fault_arm("DeviceIoControl", 1, errors[i]);
        CHECK(IN(&api, api.f.StartSession(adapter, CAPACITY)) == NULL);
        CHECK_EQ(api.error, NOT_READY);
    }
    win32_fault_arm("DeviceIoControl", 1, HANDLE_EOF);
    CHECK(!IN(&api, api.f.GetStatistics(adapter, &statistics)));
    CHECK_EQ(api.error, FILE_NOT_FOUND);
    DO(&api, api.f.CloseAdapter(adapter));
    api_end(&api);
    api_shutdown();
}

/* ---- packets ---- */

TEST(packets_are_the_same_on_both_sides)
{
    /* abi.md 2.4: every size up to the largest, byte for byte */
    static const size_t sizes[] = {20,   21,   22,   23,   40,    576,  1279,
                                   1280, 1420, 1500, 9000, 65534, 65535};
    struct link link;
    unsigned arrived = 0;

    link_begin(&link, CAPACITY);
    for (size_t i = 0; i < ARRAYSIZE(sizes); i++)
        for (int version = 4; version <= (sizes[i] >= 40 ? 6 : 4); version += 2) {
            const DWORD bytes = (DWORD)sizes[i];
            const uint8_t *packet = packet_of(bytes, version, (uint32_t)i);
            CHECK_STATUS(port_send(&link.port, packet, bytes, NULL), NDIS_STATUS_SUCCESS);
            release(&link, expect(&link, packet, bytes));
            put(&link, packet, bytes);
            port_expect(&link.port, arrived++, packet, bytes);
        }
    expect_nothing(&link, NO_MORE_ITEMS);
    link_end(&link);
}

TEST(packets_of_every_small_size_pass)
{
    /* abi.md 2.4: records are aligned to 4, whatever the packet */
    struct link link;

    link_begin(&link, CAPACITY);
    for (DWORD bytes = 20; bytes <= 1600; bytes++) {
        const uint8_t *packet = packet_of(bytes, 4, bytes);
        CHECK_STATUS(port_send(&link.port, packet, bytes, NULL), NDIS_STATUS_SUCCESS);
        release(&link, expect(&link, packet, bytes));
        put(&link, packet, bytes);
        port_expect(&link.port, bytes - 20, packet, bytes);
    }
    link_end(&link);
}

TEST(sizes_beyond_are_refused)
{
    /* abi.md 3.12 [DEFECT]: not by the driver, by the DLL; sizes near 2^32 wrap nothing */
    static const DWORD sizes[] = {0x10000, 0x1FFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFB, 0xFFFFFFFF};
    struct link link;

    link_begin(&link, CAPACITY);
    for (size_t i = 0; i < ARRAYSIZE(sizes); i++) {
        CHECK(allocate(&link, NULL, sizes[i]) == NULL);
        CHECK_EQ(link.api.error, INVALID_PARAMETER);
    }
    put(&link, packet_of(60, 4, 1), 60);
    port_expect(&link.port, 0, packet_of(60, 4, 1), 60);
    link_end(&link);
}

TEST(what_is_no_ip_is_dropped_alone)
{
    /* abi.md 2.6: skip, go on; also packets of no bytes */
    static const uint8_t zeros[64];
    struct link link;
    WINTUN_STATISTICS statistics = {.Size = sizeof(statistics)};

    link_begin(&link, CAPACITY);
    put(&link, zeros, 0);
    put(&link, zeros, 1);
    put(&link, zeros, 64);
    put(&link, packet_of(60, 6, 1), 60);
    port_expect(&link.port, 0, packet_of(60, 6, 1), 60);
    CHECK(IN(&link.api, link.api.f.GetStatistics(link.adapter, &statistics)));
    CHECK_EQ(statistics.ReceivedNotIp, 3);
    CHECK_EQ(statistics.ReceivedPackets, 1);
    CHECK_EQ(statistics.SessionKind, WINTUN_SESSION_RINGS);
    CHECK_EQ(statistics.OwnerProcessId, win32_process_id(link.api.process));
    CHECK_EQ(statistics.LinkUp, 1);
    link_end(&link);
}

TEST(packets_are_sent_in_order_of_allocation)
{
    /* wintun.h: one that is not sent holds up all later ones */
    struct link link;
    BYTE *rooms[4];

    link_begin(&link, CAPACITY);
    for (uint32_t i = 0; i < 4; i++)
        rooms[i] = allocate(&link, packet_of(60 + i, 4, i), 60 + i);
    send_it(&link, rooms[2]);
    send_it(&link, rooms[1]);
    nth_settle();
    CHECK_EQ(nth_mem_count(link.port.mem), 0);
    send_it(&link, rooms[0]);
    CHECK_EQ(nth_mem_wait(link.port.mem, 3, SECOND), 3);
    send_it(&link, rooms[3]);
    for (uint32_t i = 0; i < 4; i++)
        port_expect(&link.port, i, packet_of(60 + i, 4, i), 60 + i);
    link_end(&link);
}

TEST(room_is_free_when_the_oldest_are_released)
{
    /* wintun.h: released in any order; Head passes the oldest run of those that are */
    struct link link;
    BYTE *held[3];

    link_begin(&link, CAPACITY);
    for (uint32_t i = 0; i < 3; i++)
        CHECK_STATUS(port_send(&link.port, packet_of(40000, 4, i), 40000, NULL),
                     NDIS_STATUS_SUCCESS);
    for (uint32_t i = 0; i < 3; i++)
        held[i] = expect(&link, packet_of(40000, 4, i), 40000);
    release(&link, held[1]);
    release(&link, held[2]);
    CHECK(port_send(&link.port, packet_of(40000, 4, 9), 40000, NULL) != NDIS_STATUS_SUCCESS);
    release(&link, held[0]);
    for (uint32_t i = 0; i < 3; i++)
        CHECK_STATUS(port_send(&link.port, packet_of(40000, 4, i), 40000, NULL),
                     NDIS_STATUS_SUCCESS);
    for (uint32_t i = 0; i < 3; i++)
        release(&link, expect(&link, packet_of(40000, 4, i), 40000));
    link_end(&link);
}

TEST(full_ring_refuses_and_recovers)
{
    /* wintun.h: ERROR_BUFFER_OVERFLOW, drop the packet */
    struct link link;
    BYTE *rooms[64];
    unsigned count = 0;

    link_begin(&link, CAPACITY);
    while ((rooms[count] = allocate(&link, packet_of(9000, 4, count), 9000)) != NULL)
        CHECK(++count < ARRAYSIZE(rooms));
    CHECK_EQ(link.api.error, BUFFER_OVERFLOW);
    CHECK_EQ(count, (CAPACITY - 4) / 9004);
    for (unsigned i = 0; i < count; i++)
        send_it(&link, rooms[i]);
    for (unsigned i = 0; i < count; i++)
        port_expect(&link.port, i, packet_of(9000, 4, i), 9000);
    put(&link, packet_of(60, 4, 1), 60);
    port_expect(&link.port, count, packet_of(60, 4, 1), 60);
    link_end(&link);
}

TEST(rings_wrap)
{
    /* abi.md 2.4: records run on into the trailing area */
    struct link link;

    link_begin(&link, CAPACITY);
    for (uint32_t i = 0; i < 64; i++) {
        const DWORD bytes = 1000 + i * 997 % 20000;
        CHECK_STATUS(port_send(&link.port, packet_of(bytes, 4, i), bytes, NULL),
                     NDIS_STATUS_SUCCESS);
        release(&link, expect(&link, packet_of(bytes, 4, i), bytes));
        put(&link, packet_of(bytes, 4, i), bytes);
        port_expect(&link.port, i, packet_of(bytes, 4, i), bytes);
    }
    link_end(&link);
}

TEST(batches_are_as_many_single_calls)
{
    /* wintun.h, WintunReceivePackets to WintunSendPackets */
    struct link link;
    struct api *api = &link.api;
    WINTUN_PACKET packets[8];

    link_begin(&link, CAPACITY);
    for (uint32_t i = 0; i < 5; i++)
        CHECK_STATUS(port_send(&link.port, packet_of(100 + i, 4, i), 100 + i, NULL),
                     NDIS_STATUS_SUCCESS);
    CHECK_EQ(IN(api, api->f.ReceivePackets(link.session, packets, 0)), 0);
    CHECK_EQ(api->error, INVALID_PARAMETER);
    CHECK_EQ(IN(api, api->f.ReceivePackets(link.session, packets, 3)), 3);
    CHECK_EQ(packets[2].Size, 102);
    CHECK_EQ(IN(api, api->f.ReceivePackets(link.session, packets + 3, 5)), 2);
    DO(api, api->f.ReleaseReceivePackets(link.session, packets, 5));
    CHECK_EQ(IN(api, api->f.ReceivePackets(link.session, packets, 5)), 0);
    CHECK_EQ(api->error, NO_MORE_ITEMS);
    for (DWORD i = 0; i < 4; i++)
        packets[i] = (WINTUN_PACKET){.Size = i == 3 ? 0x10000 : 200 + i};
    CHECK_EQ(IN(api, api->f.AllocateSendPackets(link.session, packets, 4)), 3);
    win32_thread_enter(api->thread);
    for (uint32_t i = 0; i < 3; i++)
        memcpy(packets[i].Data, packet_of(200 + i, 4, i), 200 + i);
    api->f.SendPackets(link.session, packets, 3);
    win32_thread_leave(api->thread);
    for (uint32_t i = 0; i < 3; i++)
        port_expect(&link.port, i, packet_of(200 + i, 4, i), 200 + i);
    CHECK_EQ(IN(api, api->f.AllocateSendPackets(link.session, packets + 3, 1)), 0);
    CHECK_EQ(api->error, INVALID_PARAMETER);
    CHECK_EQ(IN(api, api->f.AllocateSendPackets(link.session, packets, 0)), 0);
    CHECK_EQ(api->error, INVALID_PARAMETER);
    link_end(&link);
}

/* ---- the event ---- */

static bool is_set(struct link *link)
{
    HANDLE event = IN(&link->api, link->api.f.GetReadWaitEvent(link->session));

    return event_is_set(win32_process_client(link->api.process), (client_handle)(uintptr_t)event);
}

TEST(event_is_set_for_each_packet)
{
    /* abi.md 2.5: on every move of Tail, whatever Alertable says; resets itself */
    struct link link;

    link_begin(&link, CAPACITY);
    CHECK(!is_set(&link));
    for (uint32_t i = 0; i < 2; i++) {
        CHECK_STATUS(port_send(&link.port, packet_of(60, 4, i), 60, NULL), NDIS_STATUS_SUCCESS);
        CHECK(is_set(&link));
        CHECK(!is_set(&link));
    }
    release(&link, expect(&link, packet_of(60, 4, 0), 60));
    release(&link, expect(&link, packet_of(60, 4, 1), 60));
    CHECK(IN(&link.api, link.api.f.GetSendSpaceEvent(link.session)) == NULL);
    CHECK_EQ(link.api.error, NOT_SUPPORTED);
    link_end(&link);
}

/* ---- ends ---- */

TEST(session_is_over_when_the_adapter_is_pulled_out)
{
    /* abi.md 2.7: both directions ERROR_HANDLE_EOF, the event set; nothing else is closed */
    struct link link;

    link_begin(&link, CAPACITY);
    win32_node_surprise(api_instance(&link.api, 0));
    expect_nothing(&link, HANDLE_EOF);
    CHECK(is_set(&link));
    CHECK(allocate(&link, NULL, 60) == NULL);
    CHECK_EQ(link.api.error, HANDLE_EOF);
    api_port_close(&link.port);
    DO(&link.api, link.api.f.EndSession(link.session));
    CHECK(IN(&link.api, link.api.f.StartSession(link.adapter, CAPACITY)) == NULL);
    CHECK(link.api.error == FILE_NOT_FOUND || link.api.error == PATH_NOT_FOUND);
    DO(&link.api, link.api.f.CloseAdapter(link.adapter));
    api_end(&link.api);
    api_shutdown();
}

TEST(session_is_over_when_its_creator_closes_the_adapter)
{
    /* wintun.h, WintunCloseAdapter: sessions find that theirs is over */
    struct link link;

    link_begin(&link, CAPACITY);
    DO(&link.api, link.api.f.CloseAdapter(link.adapter));
    expect_nothing(&link, HANDLE_EOF);
    CHECK(allocate(&link, NULL, 60) == NULL);
    CHECK_EQ(link.api.error, HANDLE_EOF);
    api_port_close(&link.port);
    DO(&link.api, link.api.f.EndSession(link.session));
    api_end(&link.api);
    api_shutdown();
}

TEST(record_that_was_written_over_is_told)
{
    /* wintun.h: ERROR_INVALID_DATA, for good; never a packet beyond what was written */
    static const DWORD sizes[] = {0x10000, 0x7FFFFFFF, 61, 0xFFFFFFFF};
    struct link link;

    link_begin(&link, CAPACITY);
    for (size_t i = 0; i < ARRAYSIZE(sizes); i++) {
        for (uint32_t j = 0; j < 2; j++)
            CHECK_STATUS(port_send(&link.port, packet_of(60, 4, j), 60, NULL), NDIS_STATUS_SUCCESS);
        BYTE *first = expect(&link, packet_of(60, 4, 0), 60);
        win32_thread_enter(link.api.thread);
        *(DWORD *)(first + 60) = sizes[i];
        win32_thread_leave(link.api.thread);
        expect_nothing(&link, INVALID_DATA);
        expect_nothing(&link, INVALID_DATA);
        release(&link, first);
        DO(&link.api, link.api.f.EndSession(link.session));
        link.session = IN(&link.api, link.api.f.StartSession(link.adapter, CAPACITY));
        CHECK(link.session != NULL);
    }
    link_end(&link);
}
