/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.dll: the packet calls of one session from many threads at once (wintun.h,
 * "Threads"; abi.md 3.2). Linux decides who runs when; with race checks the DLL and the driver are
 * checked together.
 */
#include "api.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { RECEIVERS = 4, SENDERS = 4, EACH = 400, CAPACITY = 0x20000, SMALLEST = 28, LARGEST = 1400 };

/* An IPv4 header as far as the driver looks, who sent it, its number, and bytes that follow. */
static DWORD fill(uint8_t *packet, uint32_t sender, uint32_t number)
{
    const DWORD bytes = SMALLEST + (number * 131 + sender * 17) % (LARGEST - SMALLEST);

    memset(packet, 0, 20);
    packet[0] = 0x45;
    memcpy(packet + 20, &sender, 4);
    memcpy(packet + 24, &number, 4);
    for (DWORD i = SMALLEST; i < bytes; i++)
        packet[i] = (uint8_t)(number + i + sender);
    return bytes;
}

static DWORD bytes_of(uint32_t sender, uint32_t number)
{
    return SMALLEST + (number * 131 + sender * 17) % (LARGEST - SMALLEST);
}

/* The number in the packet, which must be all right. */
static uint32_t check_packet(const uint8_t *packet, DWORD bytes, uint32_t *sender)
{
    uint8_t wanted[LARGEST];
    uint32_t number;

    CHECK(bytes >= SMALLEST && bytes <= LARGEST);
    memcpy(sender, packet + 20, 4);
    memcpy(&number, packet + 24, 4);
    CHECK_EQ(bytes, bytes_of(*sender, number));
    fill(wanted, *sender, number);
    CHECK_MEM(packet, wanted, bytes);
    return number;
}

struct shared {
    struct api api;
    WINTUN_ADAPTER_HANDLE adapter;
    WINTUN_SESSION_HANDLE session;
    struct port port;
    _Atomic unsigned sender; /* numbers given to threads */
    _Atomic unsigned received;
    _Atomic bool seen[SENDERS * EACH];
    _Atomic bool is_over;
};

/* ---- from the program ---- */

static void send_some(void *context)
{
    struct shared *s = context;
    const uint32_t sender = atomic_fetch_add(&s->sender, 1);

    for (uint32_t i = 0; i < EACH;) {
        BYTE *room = s->api.f.AllocateSendPacket(s->session, bytes_of(sender, i));
        if (room == NULL) {
            CHECK_EQ(win32_last_error(), BUFFER_OVERFLOW);
            nth_point();
            continue;
        }
        fill(room, sender, i++);
        s->api.f.SendPacket(s->session, room);
    }
}

static void sender_main(void *context)
{
    struct shared *s = context;

    CHECK(win32_run(s->api.process, send_some, s));
}

/* Every packet once, those of a sender in their order. */
static void check_arrived(struct shared *s)
{
    uint32_t next[SENDERS] = {0};

    CHECK_EQ(nth_mem_wait(s->port.mem, SENDERS * EACH, 50 * SECOND), SENDERS * EACH);
    for (unsigned i = 0; i < SENDERS * EACH; i++) {
        const struct nth_packet *packet = nth_mem_packet(s->port.mem, i);
        uint32_t sender;
        const uint32_t number = check_packet(packet->data, (DWORD)packet->bytes, &sender);
        CHECK(sender < SENDERS);
        CHECK_EQ(number, next[sender]++);
    }
}

/* ---- to the program ---- */

/* One packet, if there is one; what one thread receives has rising numbers. */
static bool receive_one(struct shared *s, uint32_t *last)
{
    DWORD bytes = 0;
    uint32_t sender;
    BYTE *packet = s->api.f.ReceivePacket(s->session, &bytes);

    if (packet == NULL) {
        CHECK_EQ(win32_last_error(), NO_MORE_ITEMS);
        return false;
    }
    const uint32_t number = check_packet(packet, bytes, &sender);
    CHECK(number < SENDERS * EACH && (*last == UINT32_MAX || number > *last));
    *last = number;
    CHECK(!atomic_exchange(&s->seen[number], true));
    s->api.f.ReleaseReceivePacket(s->session, packet);
    atomic_fetch_add(&s->received, 1);
    return true;
}

static void receive_some(void *context)
{
    struct shared *s = context;
    const client_handle event = (client_handle)(uintptr_t)s->api.f.GetReadWaitEvent(s->session);
    uint32_t last = UINT32_MAX;

    while (!atomic_load(&s->is_over))
        if (!receive_one(s, &last))
            client_wait(win32_process_client(s->api.process), &event, 1, 20 * MSEC, NULL);
}

static void receiver_main(void *context)
{
    struct shared *s = context;

    CHECK(win32_run(s->api.process, receive_some, s));
}

/* A packet that found no room is sent again. */
static void stack_main(void *context)
{
    struct shared *s = context;
    uint8_t packet[LARGEST];

    for (uint32_t i = 0; i < SENDERS * EACH;) {
        const DWORD bytes = fill(packet, 0, i);
        if (port_send(&s->port, packet, bytes, NULL) == NDIS_STATUS_SUCCESS)
            i++;
        else
            nth_point();
    }
}

static void shared_begin(struct shared *s, const struct nth_config *config)
{
    *s = (struct shared){0};
    api_boot(config);
    api_begin(&s->api, CLIENT_ADMIN);
    s->adapter = api_create(&s->api, L"Demo");
    api_port(&s->port, api_instance(&s->api, 0));
    s->session = IN(&s->api, s->api.f.StartSession(s->adapter, CAPACITY));
    CHECK(s->session != NULL);
    port_await_link(&s->port, true);
}

static void shared_end(struct shared *s)
{
    DO(&s->api, s->api.f.EndSession(s->session));
    api_port_close(&s->port);
    DO(&s->api, s->api.f.CloseAdapter(s->adapter));
    api_end(&s->api);
    api_shutdown();
}

TEST(eight_threads_share_a_session)
{
    static struct shared s;
    struct crew crew = {.count = 0};

    shared_begin(&s, PARALLEL);
    for (int i = 0; i < RECEIVERS; i++)
        crew_start(&crew, "receiver", receiver_main, &s);
    for (int i = 0; i < SENDERS; i++)
        crew_start(&crew, "sender", sender_main, &s);
    crew_start(&crew, "stack", stack_main, &s);
    for (int i = 0; i < 50000 && atomic_load(&s.received) < SENDERS * EACH; i++) {
        LARGE_INTEGER time = {.QuadPart = -10000};
        KeDelayExecutionThread(KernelMode, FALSE, &time);
    }
    CHECK_EQ(atomic_load(&s.received), SENDERS * EACH);
    atomic_store(&s.is_over, true);
    crew_join(&crew);
    check_arrived(&s);
    shared_end(&s);
}

/* ---- processes at once ---- */

struct creator {
    struct api *api;
    const wchar_t *name;
    WINTUN_ADAPTER_HANDLE adapter;
    DWORD error;
};

static void create_one(void *context)
{
    struct creator *creator = context;

    creator->adapter = creator->api->f.CreateAdapter(creator->name, L"Example", NULL);
    creator->error = win32_last_error();
}

static void creator_main(void *context)
{
    struct creator *creator = context;

    CHECK(win32_run(creator->api->process, create_one, creator));
}

static void create_at_once(const struct nth_config *config)
{
    static const wchar_t *const names[] = {L"One", L"Same", L"Same"};
    enum { PROCESSES = ARRAYSIZE(names) };
    struct api apis[PROCESSES];
    struct creator creators[PROCESSES];
    struct crew crew = {.count = 0};

    api_boot(config);
    for (int i = 0; i < PROCESSES; i++) {
        api_begin(&apis[i], i == 0 ? CLIENT_SYSTEM : CLIENT_ADMIN);
        creators[i] = (struct creator){.api = &apis[i], .name = names[i]};
        crew_start(&crew, "creator", creator_main, &creators[i]);
    }
    crew_join(&crew);
    for (int i = 0; i < PROCESSES; i++)
        if (creators[i].adapter == NULL)
            check_fail(__FILE__, __LINE__, "no adapter: error %u, %s", creators[i].error,
                       log_last(WINTUN_LOG_ERR));
    CHECK_EQ(win32_node_count("SWD\\Wintun", true), PROCESSES);
    CHECK_EQ(win32_package_count(), 1);
    CHECK(win32_connection_exists("One") && win32_connection_exists("Same") &&
          win32_connection_exists("Same 1"));
    for (int i = 0; i < PROCESSES; i++)
        DO(&apis[i], apis[i].f.CloseAdapter(creators[i].adapter));
    for (int i = 0; i < PROCESSES; i++)
        api_end(&apis[i]);
    api_shutdown();
}

TEST(processes_create_at_once)
{
    /* lessons 14, 283f6c8: one at a time, whoever they are; one package */
    create_at_once(PARALLEL);
}

static void create_seeded(uint32_t seed)
{
    create_at_once(SERIAL(seed));
}

TEST(processes_create_at_once_in_any_order)
{
    scenario_seeds(1, scenario_number("SCHEDULE_SEEDS", 20), create_seeded);
}
