/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.sys: who owns a ring session, who is kept out meanwhile and with which status,
 * and how programs of different processes share one (abi.md 2.9, 6.1). Order of checks included.
 */
#include "scenario.h"

#define CAPACITY  0x20000U
#define RING_SIZE (CAPACITY + WINTUN_RING_OVERHEAD)

struct owner {
    struct client *client; /* process that registers */
    client_handle file, event[2];
    uint8_t *memory[2];
    WINTUN_REGISTER_RINGS *request;
};

static void prepare(struct owner *o, struct client *client, client_handle file)
{
    *o = (struct owner){.client = client, .file = file};
    o->request = program_alloc(client, sizeof(*o->request));
    for (int i = 0; i < 2; i++) {
        o->memory[i] = program_alloc(client, RING_SIZE);
        o->event[i] = program_event(client);
    }
    *o->request = (WINTUN_REGISTER_RINGS){
        .ToUser = {RING_SIZE, 0x55AA55AA /* padding: ignored */, (uintptr_t)o->memory[0],
                   o->event[0]},
        .ToStack = {RING_SIZE, 0, (uintptr_t)o->memory[1], o->event[1]},
    };
}

static client_status register_bytes(struct owner *o, uint32_t bytes)
{
    return client_control(o->client, o->file, WINTUN_IOCTL_REGISTER_RINGS, o->request, bytes, NULL,
                          0, NULL);
}

static client_status try(struct owner *o)
{
    return register_bytes(o, sizeof(*o->request));
}

static WINTUN_RING *ring(const struct owner *o, int index)
{
    return (WINTUN_RING *)o->memory[index];
}

static void expect_ended(struct owner *o)
{
    CHECK_EQ(ring(o, 0)->Tail, WINTUN_RING_ENDED);
    CHECK_EQ(ring(o, 1)->Head, WINTUN_RING_ENDED);
    CHECK(event_is_set(o->client, o->event[0]));
}

static void expect_alive(struct owner *o, struct port *port)
{
    const uint32_t tail = ring(o, 0)->Tail;

    CHECK(tail < CAPACITY);
    CHECK_STATUS(port_send(port, packet_of(96, 4, tail), 96, NULL), NDIS_STATUS_SUCCESS);
    CHECK_EQ(ring(o, 0)->Tail, (tail + 100) & (CAPACITY - 1));
}

/* ---- one owner ---- */

TEST(register_second_on_same_handle_is_busy)
{
    /* abi.md 2.9 row 4, lessons 19.15: 1247, never a success-severity status */
    struct scene scene;
    struct owner a;

    scene_begin(&scene, SERIAL(1));
    prepare(&a, scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    CHECK_STATUS(try(&a), STATUS_SUCCESS);
    CHECK_STATUS(try(&a), STATUS_ALREADY_INITIALIZED);
    expect_alive(&a, &scene.port);
    scene_end(&scene);
}

TEST(register_by_others_while_owned_is_busy)
{
    /* abi.md 2.9 row 4; design 2.1: anyone else gets STATUS_ALREADY_INITIALIZED, on either device
     */
    struct scene scene;
    struct owner a, b;

    scene_begin(&scene, SERIAL(1));
    for (int first = 0; first < 2; first++) {
        prepare(&a, scene.admin, port_open(&scene.port, scene.admin, (enum route)first));
        CHECK_STATUS(try(&a), STATUS_SUCCESS);
        for (int second = 0; second < 2; second++) {
            struct client *other = program(CLIENT_SYSTEM);
            prepare(&b, other, port_open(&scene.port, other, (enum route)second));
            CHECK_STATUS(try(&b), STATUS_ALREADY_INITIALIZED);
            b.client = scene.admin; /* and another handle of the same process */
            struct owner c;
            prepare(&c, scene.admin, port_open(&scene.port, scene.admin, (enum route)second));
            CHECK_STATUS(try(&c), STATUS_ALREADY_INITIALIZED);
            client_close(scene.admin, c.file);
            client_destroy(other);
            expect_alive(&a, &scene.port);
        }
        CHECK_STATUS(client_close(scene.admin, a.file), STATUS_SUCCESS);
        expect_ended(&a);
    }
    scene_end(&scene);
}

TEST(register_busy_comes_before_what_is_wrong_with_the_request)
{
    /* abi.md 2.9: rows 3 and 4 before rows 5 and up; 1 before all */
    struct scene scene;
    struct owner a, b;

    scene_begin(&scene, SERIAL(1));
    prepare(&a, scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    prepare(&b, scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    CHECK_STATUS(try(&a), STATUS_SUCCESS);
    CHECK_STATUS(register_bytes(&b, 3), STATUS_ALREADY_INITIALIZED);
    b.request->ToUser.RingSize = 1;
    CHECK_STATUS(try(&b), STATUS_ALREADY_INITIALIZED);
    struct client *user = program(CLIENT_USER);
    struct owner c;
    prepare(&c, user, 0);
    CHECK_STATUS(client_duplicate(scene.admin, b.file, user, &c.file), STATUS_SUCCESS);
    CHECK_STATUS(register_bytes(&c, 3), STATUS_ACCESS_DENIED);
    client_destroy(user);
    scene_end(&scene);
}

TEST(register_to_user_is_looked_at_before_to_stack)
{
    /* abi.md 2.9: rows 6 to 11 for Send, then 12 to 16 for Receive */
    struct scene scene;
    struct owner a;

    scene_begin(&scene, SERIAL(1));
    prepare(&a, scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    a.request->ToUser.TailMoved = 0x7FFC; /* row 7 */
    a.request->ToStack.RingSize = 0;      /* row 12 */
    CHECK_STATUS(try(&a), STATUS_INVALID_HANDLE);
    a.request->ToUser.RingSize = 0; /* row 6 before row 7 */
    CHECK_STATUS(try(&a), STATUS_INVALID_PARAMETER);
    prepare(&a, scene.admin, a.file);
    a.request->ToUser.Ring = 0x10000; /* row 9 */
    a.request->ToUser.TailMoved = 0x7FFC;
    CHECK_STATUS(try(&a), STATUS_INVALID_HANDLE);
    a.request->ToUser.TailMoved = a.event[0];
    a.request->ToStack.TailMoved = 0x7FFC;
    CHECK_STATUS(try(&a), STATUS_INVALID_USER_BUFFER);
    prepare(&a, scene.admin, a.file);
    ring(&a, 0)->Tail = CAPACITY; /* row 11 before 12 */
    a.request->ToStack.TailMoved = 0x7FFC;
    CHECK_STATUS(try(&a), STATUS_INVALID_PARAMETER);
    scene_end(&scene);
}

/* ---- duplicates ---- */

TEST(session_survives_closing_of_duplicates_and_ends_with_the_last)
{
    /* abi.md 2.7: after the last handle including duplicates in other processes; lessons 19.11 */
    struct scene scene;
    struct owner a;
    client_handle copy, foreign;

    scene_begin(&scene, SERIAL(1));
    for (int route = 0; route < 2; route++) {
        struct client *other = program(CLIENT_ADMIN);
        prepare(&a, scene.admin, port_open(&scene.port, scene.admin, (enum route)route));
        CHECK_STATUS(client_duplicate(scene.admin, a.file, scene.admin, &copy), STATUS_SUCCESS);
        CHECK_STATUS(client_duplicate(scene.admin, a.file, other, &foreign), STATUS_SUCCESS);
        CHECK_STATUS(try(&a), STATUS_SUCCESS);
        CHECK_STATUS(client_close(scene.admin, a.file), STATUS_SUCCESS);
        expect_alive(&a, &scene.port);
        CHECK_STATUS(client_close(scene.admin, copy), STATUS_SUCCESS);
        expect_alive(&a, &scene.port);
        CHECK_STATUS(client_close(other, foreign), STATUS_SUCCESS);
        expect_ended(&a);
        port_await_link(&scene.port, false);
        client_destroy(other);
    }
    scene_end(&scene);
}

TEST(session_ends_when_its_process_exits_though_a_duplicate_lives)
{
    /* abi.md 2.7: exit of the process that issued the control code; lessons 6: "disaster after the
     * creating process exits while a duplicated handle lives"; Bug check 0x76 is watched by the
     * machine */
    struct scene scene;
    struct owner a, b;

    scene_begin(&scene, SERIAL(1));
    for (int route = 0; route < 2; route++) {
        struct client *dying = program(CLIENT_ADMIN);
        client_handle survivor;
        prepare(&a, dying, port_open(&scene.port, dying, (enum route)route));
        CHECK_STATUS(try(&a), STATUS_SUCCESS);
        CHECK_STATUS(client_duplicate(dying, a.file, scene.admin, &survivor), STATUS_SUCCESS);
        client_kill(dying);
        port_await_link(&scene.port, false);
        CHECK_STATUS(port_send(&scene.port, packet_of(60, 4, 1), 60, NULL),
                     NDIS_STATUS_MEDIA_DISCONNECTED);
        /* the surviving handle is a handle like any other: a new session may begin on it */
        prepare(&b, scene.admin, survivor);
        CHECK_STATUS(try(&b), STATUS_SUCCESS);
        expect_alive(&b, &scene.port);
        CHECK_STATUS(client_close(scene.admin, survivor), STATUS_SUCCESS);
        expect_ended(&b);
        client_destroy(dying);
    }
    scene_end(&scene);
}

/* ---- OpenVPN: a service registers for its user (abi.md 6.1) ---- */

struct service {
    struct client *service, *user;
    client_handle device; /* the user's */
    struct owner rings;   /* the service's view */
};

/* The user opens the device; the service duplicates it, registers in its own process, and closes
 * its duplicates of device and events, but keeps its views. */
static void serve(struct service *s, struct port *port)
{
    client_handle file;

    s->service = program(CLIENT_SYSTEM);
    s->user = program(CLIENT_ADMIN);
    s->device = port_open_overlapped(port, s->user, VIA_NDIS);
    CHECK_STATUS(client_duplicate(s->user, s->device, s->service, &file), STATUS_SUCCESS);
    prepare(&s->rings, s->service, file);
    CHECK_STATUS(try(&s->rings), STATUS_SUCCESS);
    for (int i = 0; i < 2; i++) { /* the events are the user's afterwards */
        client_handle moved;
        CHECK_STATUS(client_duplicate(s->service, s->rings.event[i], s->user, &moved),
                     STATUS_SUCCESS);
        CHECK_STATUS(client_close(s->service, s->rings.event[i]), STATUS_SUCCESS);
        s->rings.event[i] = moved;
    }
    CHECK_STATUS(client_close(s->service, file), STATUS_SUCCESS);
    s->rings.client = s->user;
}

TEST(service_that_closes_its_duplicates_keeps_the_session_alive)
{
    /* abi.md 6.1: "the service's handle to the same file object is closed right after the ioctl and
     * this must not unregister" [COMPAT] */
    struct scene scene;
    struct service s;

    scene_begin(&scene, SERIAL(1));
    serve(&s, &scene.port);
    expect_alive(&s.rings, &scene.port);
    CHECK(event_is_set(s.user, s.rings.event[0]));
    CHECK_EQ(port_query(&scene.port).OwnerProcess, client_process_id(s.service));
    CHECK_STATUS(client_close(s.user, s.device), STATUS_SUCCESS);
    expect_ended(&s.rings);
    client_destroy(s.user);
    client_destroy(s.service);
    scene_end(&scene);
}

TEST(service_survives_its_user_and_serves_the_next)
{
    /* abi.md 6.1: the registering process stays alive after the user process died */
    struct scene scene;
    struct service s;

    scene_begin(&scene, SERIAL(1));
    serve(&s, &scene.port);
    expect_alive(&s.rings, &scene.port);
    client_kill(s.user); /* the last handle goes with it */
    CHECK_EQ(ring(&s.rings, 0)->Tail, WINTUN_RING_ENDED);
    CHECK_EQ(ring(&s.rings, 1)->Head, WINTUN_RING_ENDED);
    client_destroy(s.user);
    struct client *first = s.service;
    serve(&s, &scene.port);
    expect_alive(&s.rings, &scene.port);
    client_destroy(s.user);
    client_destroy(s.service);
    client_destroy(first);
    scene_end(&scene);
}

TEST(service_death_ends_the_session_of_its_user)
{
    /* abi.md 2.7: "the process-exit rule is about the registering one" */
    struct scene scene;
    struct service s;

    scene_begin(&scene, SERIAL(1));
    serve(&s, &scene.port);
    client_kill(s.service);
    CHECK(event_is_set(s.user, s.rings.event[0])); /* so that the user looks */
    port_await_link(&scene.port, false);
    CHECK_STATUS(client_close(s.user, s.device), STATUS_SUCCESS);
    client_destroy(s.user);
    client_destroy(s.service);
    scene_end(&scene);
}

TEST(service_death_ends_the_sessions_of_all_its_adapters)
{
    /* lessons 6 and 19.17: two adapters registered by one process; the exit hook handles all */
    struct scene scene;
    struct port second;
    struct owner a, b;

    scene_begin(&scene, SERIAL(1));
    port_plug(&second);
    struct client *service = program(CLIENT_SYSTEM);
    prepare(&a, service, port_open(&scene.port, service, VIA_NDIS));
    prepare(&b, service, port_open(&second, service, VIA_WINTUN));
    CHECK_STATUS(try(&a), STATUS_SUCCESS);
    CHECK_STATUS(try(&b), STATUS_SUCCESS);
    expect_alive(&a, &scene.port);
    expect_alive(&b, &second);
    client_handle kept[2];
    CHECK_STATUS(client_duplicate(service, a.file, scene.admin, &kept[0]), STATUS_SUCCESS);
    CHECK_STATUS(client_duplicate(service, b.file, scene.admin, &kept[1]), STATUS_SUCCESS);
    client_kill(service);
    port_await_link(&scene.port, false);
    port_await_link(&second, false);
    client_destroy(service);
    client_close(scene.admin, kept[0]);
    client_close(scene.admin, kept[1]);
    port_unplug(&second);
    scene_end(&scene);
}

/* ---- at other moments ---- */

TEST(register_while_paused_connects_and_carries_after_restart)
{
    /* abi.md 2.7: "allowed while the miniport is paused (traffic then starts at restart)" */
    struct scene scene;
    struct owner a;

    scene_begin(&scene, SERIAL(1));
    CHECK_STATUS(nth_pause(scene.port.adapter), NDIS_STATUS_SUCCESS);
    prepare(&a, scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    CHECK_STATUS(try(&a), STATUS_SUCCESS);
    CHECK(port_is_up(&scene.port));
    CHECK_STATUS(nth_restart(scene.port.adapter), NDIS_STATUS_SUCCESS);
    expect_alive(&a, &scene.port);
    scene_end(&scene);
}

TEST(register_after_query_remove_is_refused_until_cancel_remove)
{
    /* abi.md 2.7 rule: "end the session on query-remove, refuse new registrations until
     * cancel-remove" */
    struct scene scene;
    struct owner a, b;

    scene_begin(&scene, SERIAL(1));
    prepare(&a, scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    prepare(&b, scene.admin, port_open(&scene.port, scene.admin, VIA_WINTUN));
    CHECK_STATUS(try(&a), STATUS_SUCCESS);
    CHECK(!NT_SUCCESS(nth_query_remove(scene.port.device))); /* the handle vetoes: cancelled */
    expect_ended(&a);
    CHECK_STATUS(try(&b), STATUS_SUCCESS); /* admitted again */
    CHECK_STATUS(client_close(scene.admin, b.file), STATUS_SUCCESS);
    CHECK_STATUS(client_close(scene.admin, a.file), STATUS_SUCCESS);
    client_handle late = port_open(&scene.port, scene.admin, VIA_WINTUN);
    CHECK_STATUS(nth_query_remove(scene.port.device), STATUS_SUCCESS);
    prepare(&a, scene.admin, late);
    CHECK_STATUS(try(&a), NDIS_STATUS_ADAPTER_NOT_READY);
    CHECK_STATUS(nth_cancel_remove(scene.port.device), STATUS_SUCCESS);
    CHECK_STATUS(try(&a), STATUS_SUCCESS);
    expect_alive(&a, &scene.port);
    scene_end(&scene);
}

/* ---- two at once ---- */

static struct owner racers[2];
static client_status outcomes[2];

static void race(void *context)
{
    const int i = (int)(intptr_t)context;

    outcomes[i] = try(&racers[i]);
}

static void race_seeded(uint32_t seed)
{
    struct scene scene;
    struct crew crew = {.count = 0};

    scene_begin(&scene, SERIAL(seed));
    for (int i = 0; i < 2; i++)
        prepare(&racers[i], scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    crew_start(&crew, "first", race, (void *)0);
    crew_start(&crew, "second", race, (void *)1);
    crew_join(&crew);
    const int winner = outcomes[0] != STATUS_SUCCESS;
    CHECK_STATUS(outcomes[winner], STATUS_SUCCESS);
    CHECK_STATUS(outcomes[!winner], STATUS_ALREADY_INITIALIZED);
    expect_alive(&racers[winner], &scene.port);
    scene_end(&scene);
}

TEST(register_while_another_is_running_is_busy)
{
    /* abi.md 2.9 row 3 [COMPAT]: 1247 also while a registration is running; no queueing */
    scenario_seeds(1, scenario_number("SCHEDULE_SEEDS", 200) / 4, race_seeded);
}

static void register_until_let_in(void *context)
{
    while (try(context) == STATUS_ALREADY_INITIALIZED)
        continue;
}

TEST(register_is_busy_from_the_moment_another_is_let_in)
{
    /* abi.md 2.9 row 3 before row 5; nor may others have memory locked meanwhile (threat-model.md:
     * "one session an adapter"). Who is busy and sees no session has met the registration */
    struct scene scene;
    WINTUN_QUERY query;
    unsigned met = 0;

    scene_begin(&scene, SERIAL(1));
    const client_handle file = port_open(&scene.port, scene.admin, VIA_WINTUN);
    prepare(&racers[1], scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    for (int i = 0; i < 30; i++) {
        struct crew crew = {.count = 0};
        client_status busy;
        prepare(&racers[0], scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
        crew_start(&crew, "first", register_until_let_in, &racers[0]);
        do {
            busy = register_bytes(&racers[1], 3);
            CHECK(busy == STATUS_INVALID_PARAMETER || busy == STATUS_ALREADY_INITIALIZED);
            CHECK_STATUS(query_file(scene.admin, file, &query), STATUS_SUCCESS);
            met += busy == STATUS_ALREADY_INITIALIZED && query.SessionKind == WintunSessionNone;
        } while (query.SessionKind == WintunSessionNone);
        crew_join(&crew);
        CHECK_STATUS(client_close(scene.admin, racers[0].file), STATUS_SUCCESS);
    }
    CHECK(met);
    scene_end(&scene);
}

/* ---- 32-bit programs ---- */

TEST(register_short_struct_from_wow64_is_accepted)
{
    /* abi.md 2.3: 24 bytes from a WOW64 process, zero-extended; 48 from any process */
    struct scene scene;
    struct owner a;

    scene_begin(&scene, SERIAL(1));
    struct client *old = program_wow64(CLIENT_ADMIN);
    for (int is_short = 0; is_short < 2; is_short++) {
        prepare(&a, old, port_open(&scene.port, old, VIA_NDIS));
        CHECK((uintptr_t)a.memory[1] + RING_SIZE < UINT32_MAX);
        if (is_short)
            *(WINTUN_REGISTER_RINGS_32 *)a.request = (WINTUN_REGISTER_RINGS_32){
                .ToUser = {RING_SIZE, (uint32_t)(uintptr_t)a.memory[0], (uint32_t)a.event[0]},
                .ToStack = {RING_SIZE, (uint32_t)(uintptr_t)a.memory[1], (uint32_t)a.event[1]},
            };
        CHECK_STATUS(register_bytes(&a, is_short ? 24 : 48), STATUS_SUCCESS);
        expect_alive(&a, &scene.port);
        CHECK_STATUS(client_close(old, a.file), STATUS_SUCCESS);
        expect_ended(&a);
    }
    CHECK_STATUS(register_bytes(&a, 24), STATUS_INVALID_HANDLE); /* closed */
    client_destroy(old);
    scene_end(&scene);
}
