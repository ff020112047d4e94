/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.sys: how a ring session ends, what the program sees of it, and that the next
 * one begins as if nothing had been (abi.md 2.7, design 2.1 and 2.5). And how the driver sleeps.
 */
#include "scenario.h"

/* Whatever ended it: both markers, the event, the link, and nothing more is accepted. */
static void expect_over(struct scene *scene)
{
    rings_expect_ended(scene->admin, scene->rings);
    port_await_link(&scene->port, false);
    CHECK_STATUS(port_send(&scene->port, packet_of(60, 4, 1), 60, NULL),
                 NDIS_STATUS_MEDIA_DISCONNECTED);
    CHECK_EQ(to_user(scene->rings)->Tail, WINTUN_RING_ENDED);
}

static void drop_rings(struct scene *scene)
{
    ring_close(scene->rings);
    scene->rings = NULL;
}

/* ---- ends ---- */

TEST(session_ends_with_the_last_handle)
{
    /* abi.md 2.7, lessons 19.11 and 19.12: markers, wake, then release */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    for (int route = 0; route < 2; route++) {
        scene_rings(&scene, (enum route)route, NULL);
        CHECK_STATUS(client_close(scene.admin, scene.file), STATUS_SUCCESS);
        expect_over(&scene);
        drop_rings(&scene);
    }
    scene_end(&scene);
}

TEST(session_ends_when_its_process_exits)
{
    /* abi.md 2.7; Bug check 0x76 PROCESS_HAS_LOCKED_PAGES is a rule of the machine; lessons 19.13:
     * the driver closes no handle itself */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    for (int route = 0; route < 2; route++) {
        scene_rings(&scene, (enum route)route, NULL);
        rings_put(scene.rings, packet_of(60, 4, 1), 60);
        client_destroy(scene.admin);
        scene.rings = NULL;
        port_await_link(&scene.port, false);
        CHECK_EQ(port_query(&scene.port).SessionKind, WintunSessionNone);
        scene.admin = program(CLIENT_ADMIN);
    }
    scene_end(&scene);
}

TEST(session_ends_at_orderly_removal_though_a_control_handle_is_open)
{
    /* design 2.5: halt ends the session; files of the control device veto nothing (lessons 1770ac1:
     * never wait for user mode in halt) */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    scene_rings(&scene, VIA_WINTUN, NULL);
    CHECK_STATUS(nth_unplug(scene.port.device), STATUS_SUCCESS);
    rings_expect_ended(scene.admin, scene.rings);
    port_forget(&scene.port);
    CHECK_STATUS(client_close(scene.admin, scene.file), STATUS_SUCCESS);
    drop_rings(&scene);
    scene_end(&scene);
}

TEST(session_ends_at_surprise_removal)
{
    /* abi.md 2.7 rule, lessons 7004db4: finish all at once; the handle stays the program's */
    for (int route = 0; route < 2; route++) {
        struct scene scene;

        scene_begin(&scene, SERIAL(1));
        scene_rings(&scene, (enum route)route, NULL);
        nth_surprise_remove(scene.port.device);
        rings_expect_ended(scene.admin, scene.rings);
        CHECK_STATUS(client_close(scene.admin, scene.file), STATUS_SUCCESS);
        nth_settle();
        port_forget(&scene.port);
        drop_rings(&scene);
        client_destroy(scene.admin);
        scenario_shutdown();
    }
}

static void close_when_told(void *context)
{
    struct scene *scene = context;
    const client_handle event = ring_to_user_event(scene->rings);

    CHECK_STATUS(client_wait(scene->admin, &event, 1, 10 * SECOND, NULL), STATUS_SUCCESS);
    CHECK_EQ(to_user(scene->rings)->Tail, WINTUN_RING_ENDED);
    CHECK_EQ(to_stack(scene->rings)->Head, WINTUN_RING_ENDED);
    CHECK_STATUS(client_close(scene->admin, scene->file), STATUS_SUCCESS);
}

TEST(session_ends_at_query_remove_and_a_client_that_closes_lets_it_pass)
{
    /* design 2.5: compat ends the session at query-remove, waits for the client's own close */
    struct scene scene;
    struct crew crew = {.count = 0};

    scene_begin(&scene, SERIAL(1));
    scene_rings(&scene, VIA_NDIS, NULL);
    crew_start(&crew, "client", close_when_told, &scene);
    const uint64_t before = nth_clock_ns();
    CHECK_STATUS(nth_unplug(scene.port.device), STATUS_SUCCESS);
    CHECK(nth_clock_ns() - before < SECOND); /* no longer than the client takes */
    crew_join(&crew);
    port_forget(&scene.port);
    drop_rings(&scene);
    scene_end(&scene);
}

TEST(query_remove_is_vetoed_by_a_client_that_does_not_close)
{
    /* design 2.5: waits up to 2 s, forwards, and admits again on cancel-remove; nobody's handle is
     * ever closed for them (lessons 19.13) */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    scene_rings(&scene, VIA_NDIS, NULL);
    const uint64_t before = nth_clock_ns();
    CHECK(!NT_SUCCESS(nth_unplug(scene.port.device)));
    const uint64_t waited = nth_clock_ns() - before;
    CHECK(waited >= 1900 * MSEC && waited < 4 * SECOND);
    expect_over(&scene);
    CHECK_STATUS(client_close(scene.admin, scene.file), STATUS_SUCCESS); /* still the client's */
    drop_rings(&scene);
    scene_rings(&scene, VIA_NDIS, NULL);
    scene_end(&scene);
}

/* ---- again ---- */

TEST(session_can_be_had_again_and_again_without_growth)
{
    /* lessons 19.17: errors and ends undo everything; design 2.4: buffers are made with the session
     * and bounded */
    struct scene scene;
    size_t bytes = 0;

    scene_begin(&scene, SERIAL(1));
    for (int i = 0; i < 30; i++) {
        scene_rings(&scene, (enum route)(i % 2), NULL);
        CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL), NDIS_STATUS_SUCCESS);
        rings_put(scene.rings, packet_of(80, 6, 1), 80);
        CHECK_EQ(nth_mem_wait(scene.port.mem, 1, SECOND), 1);
        nth_mem_clear(scene.port.mem);
        scene_end_rings(&scene);
        port_await_link(&scene.port, false);
        nth_settle();
        expect_no_growth(i, &bytes);
    }
    scene_end(&scene);
}

TEST(idle_adapter_needs_little_nonpaged_memory)
{
    /* issue: at most 256 KiB of an idle adapter, also after a session */
    struct scene scene;

    scenario_boot(SERIAL(1));
    const size_t before = nth_pool_bytes();
    scene = (struct scene){0};
    port_plug(&scene.port);
    CHECK(nth_pool_bytes() - before <= 256 * 1024);
    scene.admin = program(CLIENT_ADMIN);
    scene_rings(&scene, VIA_NDIS, NULL);
    scene_end_rings(&scene);
    port_await_link(&scene.port, false);
    nth_settle();
    CHECK(nth_pool_bytes() - before <= 256 * 1024);
    scene_end(&scene);
}

TEST(link_state_is_said_once_at_each_change)
{
    /* abi.md 4.2, lessons e3dfeeb: indicate on 0->1 and 1->0 only; nothing while initialising */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    CHECK_EQ(nth_mem_statuses(scene.port.mem, NDIS_STATUS_LINK_STATE), 0);
    for (unsigned i = 0; i < 4; i++) {
        scene_rings(&scene, (enum route)(i % 2), NULL);
        CHECK_EQ(nth_mem_statuses(scene.port.mem, NDIS_STATUS_LINK_STATE), 2 * i + 1);
        CHECK(port_is_up(&scene.port));
        const client_handle other = port_open(&scene.port, scene.admin, VIA_WINTUN);
        client_close(scene.admin, other);
        scene_end_rings(&scene);
        port_await_link(&scene.port, false);
        CHECK_EQ(nth_mem_statuses(scene.port.mem, NDIS_STATUS_LINK_STATE), 2 * i + 2);
    }
    scene_end(&scene);
}

/* ---- two adapters, one program ---- */

static void slow_status(void *context, const NDIS_STATUS_INDICATION *indication)
{
    const NDIS_LINK_STATE *link = indication->StatusBuffer;
    bool *was_told = context;

    *was_told = false;
    for (const uint64_t end = nth_clock_ns() + MSEC; nth_clock_ns() < end;)
        nth_point();
    *was_told = link->MediaConnectState == MediaConnectStateConnected;
}

static void no_receive(void *context, NET_BUFFER_LIST *lists, ULONG count, ULONG flags) {}

static void no_completion(void *context, NET_BUFFER_LIST *lists, ULONG flags) {}

static void no_detach(void *context) {}

TEST(link_is_up_when_a_registration_returns)
{
    /* abi.md 2.7: "Successful registration: link state Connected indicated"; of this session, not
     * what the driver still has to say of the one before, here to a protocol that is slow */
    struct scene scene;
    bool was_told = false;

    scene_begin(&scene, SERIAL(1));
    nth_bind(scene.port.adapter, &(struct nth_binding){.context = &was_told,
                                                       .receive = no_receive,
                                                       .send_complete = no_completion,
                                                       .status = slow_status,
                                                       .detach = no_detach});
    for (int i = 0; i < 30; i++) {
        scene_rings(&scene, VIA_NDIS, NULL);
        CHECK(was_told);
        client_close(scene.admin, scene.file);
        ring_close(scene.rings);
        /* until the driver has not yet begun to say it, is at it, or has said it */
        KeDelayExecutionThread(KernelMode, FALSE, &(LARGE_INTEGER){.QuadPart = -1 - 500 * i});
    }
    scene.rings = NULL;
    nth_unbind(scene.port.adapter, &was_told);
    scene_end(&scene);
}

struct greeter {
    struct nth_chain *chain;
};

static void send_when_up(void *context, const NDIS_STATUS_INDICATION *indication)
{
    const NDIS_LINK_STATE *link = indication->StatusBuffer;
    struct greeter *greeter = context;

    if (link->MediaConnectState == MediaConnectStateConnected)
        nth_chain_send(greeter->chain, NDIS_SEND_FLAGS_DISPATCH_LEVEL);
}

TEST(packet_sent_as_soon_as_the_link_is_up_is_carried)
{
    /* abi.md 2.7, "Connected": whoever is told so may send, also from where it is told */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    struct greeter greeter = {.chain = nth_chain_create(scene.port.mem)};
    nth_chain_packet(greeter.chain, packet_of(60, 4, 1), 60, NULL);
    nth_bind(scene.port.adapter, &(struct nth_binding){.context = &greeter,
                                                       .receive = no_receive,
                                                       .send_complete = no_completion,
                                                       .status = send_when_up,
                                                       .detach = no_detach});
    scene_rings(&scene, VIA_NDIS, NULL);
    CHECK(nth_chain_wait(greeter.chain, SECOND));
    CHECK_STATUS(nth_chain_status(greeter.chain, 0), NDIS_STATUS_SUCCESS);
    rings_expect(scene.rings, packet_of(60, 4, 1), 60);
    nth_unbind(scene.port.adapter, &greeter);
    nth_chain_destroy(greeter.chain);
    scene_end(&scene);
}

TEST(sessions_of_two_adapters_do_not_meet)
{
    /* issue: two adapters in one process; lessons 19.17 */
    struct scene scene;
    struct port second;
    struct ring_session *rings;

    scene_begin(&scene, SERIAL(1));
    port_plug(&second);
    scene_rings(&scene, VIA_NDIS, NULL);
    const client_handle file = port_open(&second, scene.admin, VIA_NDIS);
    CHECK_STATUS(ring_open(scene.admin, file, NULL, &rings), STATUS_SUCCESS);
    for (uint32_t i = 0; i < 20; i++) {
        CHECK_STATUS(port_send(&scene.port, packet_of(100 + i, 4, i), 100 + i, NULL), 0);
        CHECK_STATUS(port_send(&second, packet_of(200 + i, 4, i), 200 + i, NULL), 0);
        rings_put(scene.rings, packet_of(300 + i, 6, i), 300 + i);
        rings_put(rings, packet_of(400 + i, 6, i), 400 + i);
        rings_expect(scene.rings, packet_of(100 + i, 4, i), 100 + i);
        rings_expect(rings, packet_of(200 + i, 4, i), 200 + i);
        port_expect(&scene.port, i, packet_of(300 + i, 6, i), 300 + i);
        port_expect(&second, i, packet_of(400 + i, 6, i), 400 + i);
    }
    scene_end_rings(&scene);
    CHECK_STATUS(port_send(&second, packet_of(99, 4, 9), 99, NULL), NDIS_STATUS_SUCCESS);
    rings_expect(rings, packet_of(99, 4, 9), 99);
    nth_surprise_remove(second.device); /* one goes, the other comes again */
    rings_expect_ended(scene.admin, rings);
    client_close(scene.admin, file);
    nth_settle();
    port_forget(&second);
    ring_close(rings);
    scene_rings(&scene, VIA_NDIS, NULL);
    CHECK_STATUS(port_send(&scene.port, packet_of(99, 4, 9), 99, NULL), NDIS_STATUS_SUCCESS);
    scene_end(&scene);
}

/* ---- sleeping and waking ---- */

static void put_silently(struct scene *scene, uint32_t at, const void *packet, uint32_t bytes)
{
    uint8_t *record = (uint8_t *)ring_to_stack(scene->rings) + sizeof(WINTUN_RING) + at;

    memcpy(record, &bytes, 4);
    memcpy(record + 4, packet, bytes);
    __atomic_store_n((uint32_t *)&to_stack(scene->rings)->Tail, at + 4 + bytes, __ATOMIC_SEQ_CST);
}

TEST(idle_driver_says_that_it_sleeps)
{
    /* abi.md 2.6 consumer steps 3 and 4: Alertable = 1 while asleep, 0 when awake */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(0));
    nth_settle();
    CHECK_EQ(to_stack(scene.rings)->Alertable, 1);
    const uint64_t before = port_counter(&scene.port, WintunToStackWakeups);
    nth_clock_advance(SECOND);
    nth_settle();
    rings_put(scene.rings, packet_of(60, 4, 1), 60); /* sees Alertable and sets the event */
    port_expect(&scene.port, 0, packet_of(60, 4, 1), 60);
    nth_settle();
    CHECK_EQ(port_counter(&scene.port, WintunToStackWakeups), before + 1);
    CHECK(!event_is_set(scene.admin, ring_to_stack_event(scene.rings)));
    CHECK_EQ(to_stack(scene.rings)->Alertable, 1);
    scene_end(&scene);
}

TEST(packet_of_a_client_without_fence_is_found_within_a_bounded_time)
{
    /* lessons 19.3, abi.md 2.8 row 1: old clients may see Alertable 0 and not set the event; their
     * packet is found by a re-check after 10 ms (design 2.4) */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(0));
    put_silently(&scene, 0, packet_of(60, 4, 1), 60);
    port_expect(&scene.port, 0, packet_of(60, 4, 1), 60);
    for (uint32_t i = 1; i < 20; i++) {
        nth_settle(); /* asleep after work: the first sleep is bounded */
        CHECK_EQ(to_stack(scene.rings)->Alertable, 1);
        const uint64_t before = nth_clock_ns();
        put_silently(&scene, i * 64, packet_of(60, 4, i), 60);
        port_expect(&scene.port, i, packet_of(60, 4, i), 60);
        CHECK(nth_clock_ns() - before < 50 * MSEC);
    }
    scene_end(&scene);
}

TEST(packet_found_by_the_last_look_makes_the_next_sleep_bounded)
{
    /* abi.md 2.8 row 1: what the look between Alertable and the sleep finds is work like any other,
     * so what is put silently in the sleep after it is found, too */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    for (uint32_t i = 0; i < 3 * 50; i++) {
        if (i % 3 == 1) /* it is at work, until it has looked 256 times */
            while (!to_stack(scene.rings)->Alertable)
                nth_point();
        else
            nth_settle();
        put_silently(&scene, i * 64, packet_of(60, 4, i), 60);
        if (i % 3 == 0) {
            client_event_set(scene.admin, ring_to_stack_event(scene.rings));
            while (to_stack(scene.rings)->Head != (i + 1) * 64)
                nth_point();
        }
        port_expect(&scene.port, i, packet_of(60, 4, i), 60);
    }
    scene_end(&scene);
}

TEST(driver_stays_armed_while_it_looks_again)
{
    /* abi.md 2.8 row 1: who saw Alertable 0 may have put a packet that the driver's look did not
     * see; were it 0 during the re-check, too, the sleep after it would hide that packet for ever
     */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(3));
    rings_put(scene.rings, packet_of(60, 4, 1), 60);
    port_expect(&scene.port, 0, packet_of(60, 4, 1), 60);
    nth_settle(); /* asleep after work, for 10 ms */
    for (const uint64_t end = nth_clock_ns() + 30 * MSEC; nth_clock_ns() < end;) {
        CHECK_EQ(to_stack(scene.rings)->Alertable, 1);
        KeDelayExecutionThread(KernelMode, FALSE, &(LARGE_INTEGER){.QuadPart = -10});
    }
    scene_end(&scene);
}

TEST(driver_that_has_long_been_idle_sleeps_until_it_is_woken)
{
    /* design 2.4: the wait is bounded once, then unlimited: an idle adapter costs no wake-ups */
    struct scene scene;
    LARGE_INTEGER time = {.QuadPart = -10000000};

    scene_begin_rings(&scene, SERIAL(0));
    KeDelayExecutionThread(KernelMode, FALSE, &time);
    put_silently(&scene, 0, packet_of(60, 4, 1), 60); /* not what a client may do: Alertable is 1 */
    CHECK_EQ(nth_mem_wait(scene.port.mem, 1, SECOND), 0);
    client_event_set(scene.admin, ring_to_stack_event(scene.rings));
    port_expect(&scene.port, 0, packet_of(60, 4, 1), 60);
    scene_end(&scene);
}

struct look {
    struct ring_session *rings;
    int32_t alertable;
};

static void look_at_alertable(void *context)
{
    struct look *look = context;

    look->alertable = to_stack(look->rings)->Alertable;
}

TEST(driver_at_work_does_not_ask_to_be_woken)
{
    /* abi.md 2.6 step 4: "store Alertable = 0" after waking, or every packet costs a system call */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(0));
    struct look look = {scene.rings, -1};
    nth_settle();
    CHECK_EQ(to_stack(scene.rings)->Alertable, 1);
    nth_mem_on_receive(scene.port.mem, look_at_alertable, &look);
    rings_put(scene.rings, packet_of(60, 4, 1), 60);
    port_expect(&scene.port, 0, packet_of(60, 4, 1), 60);
    CHECK_EQ(look.alertable, 0);
    scene_end(&scene);
}

TEST(manual_reset_event_does_not_make_the_driver_spin)
{
    /* abi.md 2.5: "a new driver should clear it itself after waking" */
    struct scene scene;
    client_handle manual;

    scene_begin(&scene, SERIAL(1));
    scene.file = port_open(&scene.port, scene.admin, VIA_NDIS);
    CHECK_STATUS(client_event(scene.admin, true, false, &manual), STATUS_SUCCESS);
    const uint32_t size = WINTUN_RING_MIN_CAPACITY + WINTUN_RING_OVERHEAD;
    uint8_t *memory = program_alloc(scene.admin, 2 * (size_t)size);
    WINTUN_REGISTER_RINGS *request = program_alloc(scene.admin, sizeof(*request));
    *request = (WINTUN_REGISTER_RINGS){
        .ToUser = {size, 0, (uintptr_t)memory, program_event(scene.admin)},
        .ToStack = {size, 0, (uintptr_t)memory + size, manual},
    };
    CHECK_STATUS(client_control(scene.admin, scene.file, WINTUN_IOCTL_REGISTER_RINGS, request,
                                sizeof(*request), NULL, 0, NULL),
                 STATUS_SUCCESS);
    nth_clock_advance(SECOND);
    nth_settle();
    const uint64_t before = port_counter(&scene.port, WintunToStackWakeups);
    CHECK_STATUS(client_event_set(scene.admin, manual), STATUS_SUCCESS);
    nth_settle(); /* does not return while the driver runs */
    CHECK(!event_is_set(scene.admin, manual));
    CHECK_EQ(port_counter(&scene.port, WintunToStackWakeups), before + 1);
    client_close(scene.admin, scene.file);
    scene_end(&scene);
}

TEST(event_of_a_session_that_ended_is_let_go)
{
    /* lessons 19.12: an end releases; who slept on the program's event must not keep it until some
     * other session begins */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(0));
    nth_clock_advance(SECOND);
    nth_settle(); /* asleep without a limit */
    const uint64_t before = port_counter(&scene.port, WintunToStackWakeups);
    CHECK_STATUS(client_close(scene.admin, scene.file), STATUS_SUCCESS);
    nth_settle();
    client_event_set(scene.admin, ring_to_stack_event(scene.rings));
    nth_settle();
    CHECK_EQ(port_counter(&scene.port, WintunToStackWakeups), before);
    CHECK(event_is_set(scene.admin, ring_to_stack_event(scene.rings)));
    drop_rings(&scene);
    scene_end(&scene);
}

TEST(events_are_no_way_to_hold_up_the_end)
{
    /* lessons 82ede2f: termination is never signalled by an event that user mode can reset */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    nth_settle();
    for (int i = 0; i < 5; i++) {
        client_event_reset(scene.admin, ring_to_stack_event(scene.rings));
        client_event_reset(scene.admin, ring_to_user_event(scene.rings));
    }
    CHECK_STATUS(client_close(scene.admin, scene.file), STATUS_SUCCESS);
    client_event_reset(scene.admin, ring_to_stack_event(scene.rings));
    expect_over(&scene);
    drop_rings(&scene);
    scene_end(&scene);
}
