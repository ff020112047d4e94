/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.sys: who may register rings, which rings, and what each refusal says. The
 * table is abi.md 2.9; a refused registration leaves nothing behind, so the next right one
 * succeeds.
 */
#include "scenario.h"

#define CAPACITY  0x20000U
#define RING_SIZE (CAPACITY + WINTUN_RING_OVERHEAD)
#define ROOM      0x40000U /* of each ring's memory: more than RING_SIZE */

static const enum route routes[] = {VIA_NDIS, VIA_WINTUN};

/* A registration that would succeed, to be spoilt in one place. */
struct attempt {
    struct client *client;
    client_handle file;
    uint8_t *memory[2]; /* to the user, to the stack */
    client_handle event[2];
    WINTUN_REGISTER_RINGS *request; /* the program's memory */
    uint32_t bytes;
};

static WINTUN_REGISTER_RING *half(struct attempt *a, int index)
{
    return index ? &a->request->ToStack : &a->request->ToUser;
}

static WINTUN_RING *ring(struct attempt *a, int index)
{
    return (WINTUN_RING *)(uintptr_t)half(a, index)->Ring;
}

static void reset(struct attempt *a)
{
    for (int i = 0; i < 2; i++) {
        memset(a->memory[i], 0, sizeof(WINTUN_RING));
        *half(a, i) = (WINTUN_REGISTER_RING){
            .RingSize = RING_SIZE, .Ring = (uintptr_t)a->memory[i], .TailMoved = a->event[i]};
    }
    a->bytes = sizeof(*a->request);
}

static void prepare(struct attempt *a, struct client *client, client_handle file)
{
    *a = (struct attempt){.client = client, .file = file};
    a->request = program_alloc(client, sizeof(*a->request));
    for (int i = 0; i < 2; i++) {
        a->memory[i] = program_alloc(client, ROOM);
        a->event[i] = program_event(client);
    }
    reset(a);
}

static client_status try(struct attempt *a)
{
    uint32_t information = 7;
    const client_status status = client_control(a->client, a->file, WINTUN_IOCTL_REGISTER_RINGS,
                                                a->request, a->bytes, NULL, 0, &information);

    CHECK_EQ(information, 0);
    return status;
}

/* Closes the handle that holds the session, if any, and opens another. */
static void reopen(struct attempt *a, const struct port *port, enum route route)
{
    CHECK_STATUS(client_close(a->client, a->file), STATUS_SUCCESS);
    a->file = port_open(port, a->client, route);
}

static void expect_works(struct attempt *a, struct port *port, enum route route)
{
    reset(a);
    CHECK_STATUS(try(a), STATUS_SUCCESS);
    const uint8_t *packet = packet_of(60, 4, 9);
    CHECK_STATUS(port_send(port, packet, 60, NULL), NDIS_STATUS_SUCCESS);
    CHECK_EQ(*(uint32_t *)(a->memory[0] + sizeof(WINTUN_RING)), 60);
    CHECK_MEM(a->memory[0] + sizeof(WINTUN_RING) + 4, packet, 60);
    reopen(a, port, route);
    CHECK_EQ(((WINTUN_RING *)a->memory[0])->Tail, WINTUN_RING_ENDED);
    CHECK(event_is_set(a->client, a->event[0]));
    port_await_link(port, false);
}

/* Spoils each half in turn, on both devices, and expects status; then the right one succeeds. */
static void refused(void (*spoil)(struct attempt *a, int index), client_status status)
{
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    for (int r = 0; r < 2; r++) {
        struct attempt a;
        prepare(&a, scene.admin, port_open(&scene.port, scene.admin, routes[r]));
        for (int i = 0; i < 2; i++) {
            reset(&a);
            spoil(&a, i);
            CHECK_STATUS(try(&a), status);
            CHECK(!port_is_up(&scene.port));
        }
        expect_works(&a, &scene.port, routes[r]);
        client_close(a.client, a.file);
    }
    scene_end(&scene);
}

#define REFUSED(name, rule, statement, status)                                                     \
    static void spoil_##name(struct attempt *a, int index)                                         \
    {                                                                                              \
        statement;                                                                                 \
    }                                                                                              \
    TEST(register_##name##_is_refused)                                                             \
    {                                                                                              \
        (void)rule; /* what is protected */                                                        \
        refused(spoil_##name, status);                                                             \
    }

/* abi.md 2.9 rows 5 and 6, 12: exact length; capacity range and power of two; address, event */
REFUSED(length_one_short, "abi.md 2.3", a->bytes--, STATUS_INVALID_PARAMETER)
REFUSED(length_one_more, "abi.md 2.3", a->bytes++, STATUS_INVALID_PARAMETER)
REFUSED(length_zero, "abi.md 2.3", a->bytes = 0, STATUS_INVALID_PARAMETER)
REFUSED(capacity_zero, "abi.md 2.4", half(a, index)->RingSize = WINTUN_RING_OVERHEAD,
        STATUS_INVALID_PARAMETER)
REFUSED(ring_size_that_wraps, "abi.md 2.4: cap in 32-bit arithmetic", half(a, index)->RingSize = 12,
        STATUS_INVALID_PARAMETER)
REFUSED(capacity_below_minimum, "abi.md 2.4", half(a, index)->RingSize = RING_SIZE / 2,
        STATUS_INVALID_PARAMETER)
REFUSED(capacity_half_of_minimum, "abi.md 2.4",
        half(a, index)->RingSize = WINTUN_RING_OVERHEAD + WINTUN_RING_MIN_CAPACITY / 2,
        STATUS_INVALID_PARAMETER)
REFUSED(capacity_above_maximum, "abi.md 2.4",
        half(a, index)->RingSize = WINTUN_RING_OVERHEAD + 2 * WINTUN_RING_MAX_CAPACITY,
        STATUS_INVALID_PARAMETER)
REFUSED(capacity_not_power_of_two, "abi.md 2.4", half(a, index)->RingSize = RING_SIZE + 0x8000,
        STATUS_INVALID_PARAMETER)
REFUSED(size_one_more_than_capacity, "abi.md 2.4", half(a, index)->RingSize++,
        STATUS_INVALID_PARAMETER)
REFUSED(address_zero, "abi.md 2.9 row 6", half(a, index)->Ring = 0, STATUS_INVALID_PARAMETER)
REFUSED(event_zero, "abi.md 2.9 row 6", half(a, index)->TailMoved = 0, STATUS_INVALID_PARAMETER)
REFUSED(address_that_wraps, "lessons 1: compare remaining length, not pointers",
        half(a, index)->Ring = UINT64_MAX - 0x1003, STATUS_INVALID_PARAMETER)
REFUSED(address_misaligned, "abi.md 2.4: 4-byte aligned", half(a, index)->Ring += 2,
        STATUS_INVALID_PARAMETER)
/* rows 7, 13: status of the object manager */
REFUSED(event_unknown, "abi.md 2.9 row 7", half(a, index)->TailMoved = 0x7FFC,
        STATUS_INVALID_HANDLE)
REFUSED(event_is_a_file, "abi.md 2.9 row 7", half(a, index)->TailMoved = a->file,
        STATUS_OBJECT_TYPE_MISMATCH)
/* rows 9, 15: page locking; "bad addresses (unmapped, read-only, kernel)" */
REFUSED(address_unmapped, "abi.md 2.9 row 9", half(a, index)->Ring = 0x10000,
        STATUS_INVALID_USER_BUFFER)
REFUSED(address_of_kernel, "MmProbeAndLockPages: raises for UserMode",
        half(a, index)->Ring = 0xFFFFF80000000000, STATUS_INVALID_USER_BUFFER)
/* rows 11, 17 and lessons "misaligned Head/Tail accepted": both start values are checked */
REFUSED(start_misaligned, "abi.md 2.4", index ? (ring(a, 1)->Head = 2) : (ring(a, 0)->Tail = 2),
        STATUS_INVALID_PARAMETER)

TEST(register_short_struct_from_64_bit_program_is_refused)
{
    /* abi.md 2.3: 24 is accepted only from a 32-bit (WOW64) process. Taken for one, this would get
     * as far as its unmapped memory, which has another status */
    struct scene scene;
    struct attempt a;

    scene_begin(&scene, SERIAL(1));
    prepare(&a, scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    *(WINTUN_REGISTER_RINGS_32 *)a.request = (WINTUN_REGISTER_RINGS_32){
        .ToUser = {RING_SIZE, 0x10000, (uint32_t)a.event[0]},
        .ToStack = {RING_SIZE, 0x10000, (uint32_t)a.event[1]},
    };
    a.bytes = sizeof(WINTUN_REGISTER_RINGS_32);
    CHECK_STATUS(try(&a), STATUS_INVALID_PARAMETER);
    expect_works(&a, &scene.port, VIA_NDIS);
    scene_end(&scene);
}

static void spoil_read_only(struct attempt *a, int index)
{
    CHECK_STATUS(client_protect(a->client, a->memory[0], ROOM, true, index != 0), 0);
    CHECK_STATUS(client_protect(a->client, a->memory[1], ROOM, true, index == 0), 0);
}

TEST(register_read_only_memory_is_refused)
{
    /* abi.md 2.4: pages must be writable; 2.9 row 9 */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    struct attempt a;
    prepare(&a, scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    for (int i = 0; i < 2; i++) {
        spoil_read_only(&a, i);
        CHECK_STATUS(try(&a), STATUS_INVALID_USER_BUFFER);
    }
    CHECK_STATUS(client_protect(a.client, a.memory[1], ROOM, true, true), 0);
    expect_works(&a, &scene.port, VIA_NDIS);
    scene_end(&scene);
}

/* Either ring, moved up by so much, without this page of its memory. */
static void without_page(uint32_t shift, uint32_t page)
{
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    struct attempt a;
    prepare(&a, scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    for (int i = 0; i < 2; i++) {
        reset(&a);
        half(&a, i)->Ring += shift;
        client_protect(a.client, a.memory[i] + page, 0x1000, false, false);
        CHECK_STATUS(try(&a), STATUS_INVALID_USER_BUFFER);
        client_protect(a.client, a.memory[i] + page, 0x1000, true, true);
    }
    expect_works(&a, &scene.port, VIA_NDIS);
    scene_end(&scene);
}

TEST(register_memory_that_ends_inside_the_ring_is_refused)
{
    /* abi.md 2.9 row 9; lessons 19.2: the size that was checked is the size that is locked */
    without_page(0, 0x20000);
}

TEST(register_memory_that_lacks_the_last_word_is_refused)
{
    /* as above; abi.md 2.4: the farthest byte of a record is the last of the ring */
    without_page(0x31000 - (RING_SIZE - 4), 0x31000); /* the word begins a page */
}

TEST(register_tail_at_capacity_is_refused)
{
    /* abi.md 2.9 row 11: Send.Tail < cap */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    struct attempt a;
    prepare(&a, scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    ring(&a, 0)->Tail = CAPACITY;
    CHECK_STATUS(try(&a), STATUS_INVALID_PARAMETER);
    ring(&a, 0)->Tail = WINTUN_RING_ENDED;
    CHECK_STATUS(try(&a), STATUS_INVALID_PARAMETER);
    expect_works(&a, &scene.port, VIA_NDIS);
    scene_end(&scene);
}

TEST(register_head_at_capacity_ends_that_direction_at_once)
{
    /* abi.md 2.4: "Receive head ... >= cap -> the Receive direction ends at once"; 2.7: marker */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    struct attempt a;
    prepare(&a, scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    ring(&a, 1)->Head = CAPACITY;
    CHECK_STATUS(try(&a), STATUS_SUCCESS);
    nth_settle();
    CHECK_EQ(ring(&a, 1)->Head, WINTUN_RING_ENDED);
    CHECK_STATUS(port_send(&scene.port, packet_of(40, 6, 1), 40, NULL), NDIS_STATUS_SUCCESS);
    CHECK(port_is_up(&scene.port));
    scene_end(&scene);
}

TEST(register_start_values_are_taken_as_they_are)
{
    /* abi.md 2.4: private tail from the ring's Tail, private head from the ring's Head; "does not
     * reset Head, Tail, Alertable or the events" */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    struct attempt a;
    prepare(&a, scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    *ring(&a, 0) = (WINTUN_RING){.Head = 0x1000, .Tail = 0x1000, .Alertable = 5};
    *ring(&a, 1) = (WINTUN_RING){.Head = CAPACITY - 4, .Tail = CAPACITY - 4};
    CHECK_STATUS(try(&a), STATUS_SUCCESS);
    CHECK_EQ(ring(&a, 0)->Tail, 0x1000);
    CHECK_EQ(ring(&a, 0)->Alertable, 5);
    CHECK_STATUS(port_send(&scene.port, packet_of(20, 4, 1), 20, NULL), NDIS_STATUS_SUCCESS);
    CHECK_EQ(ring(&a, 0)->Tail, 0x1018);
    CHECK_EQ(ring(&a, 0)->Alertable, 5); /* lessons 19.6 */
    uint8_t *record = a.memory[1] + sizeof(WINTUN_RING) + CAPACITY - 4;
    *(uint32_t *)record = 20;
    memcpy(record + 4, packet_of(20, 4, 2), 20);
    ring(&a, 1)->Tail = 20;
    client_event_set(a.client, a.event[1]);
    port_expect(&scene.port, 0, packet_of(20, 4, 2), 20);
    nth_settle();
    CHECK_EQ(ring(&a, 1)->Head, 20);
    scene_end(&scene);
}

/* ---- capacities and placements that are allowed ---- */

static void carries_both_ways(struct attempt *a, struct port *port)
{
    CHECK_STATUS(try(a), STATUS_SUCCESS);
    const unsigned before = nth_mem_count(port->mem);
    CHECK_STATUS(port_send(port, packet_of(1000, 4, 3), 1000, NULL), NDIS_STATUS_SUCCESS);
    CHECK_EQ(ring(a, 0)->Tail, 1004);
    CHECK_MEM((uint8_t *)ring(a, 0) + 16, packet_of(1000, 4, 3), 1000);
    uint8_t *record = (uint8_t *)ring(a, 1) + sizeof(WINTUN_RING);
    *(uint32_t *)record = 500;
    memcpy(record + 4, packet_of(500, 6, 4), 500);
    __atomic_store_n(&ring(a, 1)->Tail, 504, __ATOMIC_SEQ_CST);
    client_event_set(a->client, a->event[1]);
    port_expect(port, before, packet_of(500, 6, 4), 500);
}

TEST(register_every_allowed_capacity_is_accepted)
{
    /* abi.md 2.4: powers of two from 0x20000 to 0x4000000, both inclusive, may differ */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    struct attempt a;
    prepare(&a, scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    for (uint32_t capacity = WINTUN_RING_MIN_CAPACITY; capacity <= WINTUN_RING_MAX_CAPACITY;
         capacity *= 2) {
        void *big = program_alloc(a.client, capacity + WINTUN_RING_OVERHEAD);
        for (int i = 0; i < 2; i++) {
            reset(&a);
            half(&a, i)->Ring = (uintptr_t)big;
            half(&a, i)->RingSize = capacity + WINTUN_RING_OVERHEAD;
            memset(big, 0, sizeof(WINTUN_RING));
            carries_both_ways(&a, &scene.port);
            reopen(&a, &scene.port, VIA_NDIS);
        }
        client_free(a.client, big, capacity + WINTUN_RING_OVERHEAD);
    }
    scene_end(&scene);
}

TEST(register_rings_sharing_a_page_and_aligned_by_4_are_accepted)
{
    /* abi.md 2.4 "Placement" [COMPAT]: neither needs page alignment, the two may share a page */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    struct attempt a;
    prepare(&a, scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    uint8_t *both = program_alloc(a.client, 2 * ROOM);
    for (uint32_t shift = 0; shift < 0x1000; shift += shift < 16 ? 4 : 0x7FC) {
        reset(&a);
        memset(both, 0, 2 * ROOM);
        a.request->ToUser.Ring = (uintptr_t)both + shift;
        a.request->ToStack.Ring = (uintptr_t)both + shift + RING_SIZE;
        carries_both_ways(&a, &scene.port);
        reopen(&a, &scene.port, VIA_NDIS);
    }
    scene_end(&scene);
}

static void rings_overlap(uint64_t distance)
{
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    struct attempt a;
    prepare(&a, scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    a.request->ToStack.Ring = a.request->ToUser.Ring + distance;
    CHECK_STATUS(try(&a), STATUS_SUCCESS);
    for (int i = 0; i < 50; i++) {
        port_send(&scene.port, packet_of(1400, 4, (uint32_t)i), 1400, NULL);
        client_event_set(a.client, a.event[1]);
        nth_settle();
    }
    reopen(&a, &scene.port, VIA_NDIS);
    expect_works(&a, &scene.port, VIA_NDIS);
    scene_end(&scene);
}

TEST(register_both_rings_in_one_memory_harms_only_the_program)
{
    /* design 2.1: a ring is the driver's private view; what the shared words say is untrusted */
    rings_overlap(0);
}

TEST(register_rings_overlapping_by_a_page_harms_only_the_program)
{
    /* design 2.1 as above: the tail of one ring is the head of the other */
    rings_overlap(0x100);
}

TEST(register_view_may_be_unmapped_afterwards)
{
    /* abi.md 2.4: "the client may unmap its own view meanwhile"; 2.5: handles may be closed */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    struct attempt a;
    prepare(&a, scene.admin, port_open(&scene.port, scene.admin, VIA_NDIS));
    CHECK_STATUS(try(&a), STATUS_SUCCESS);
    CHECK_STATUS(client_close(a.client, a.event[0]), STATUS_SUCCESS);
    CHECK_STATUS(client_close(a.client, a.event[1]), STATUS_SUCCESS);
    client_protect(a.client, a.memory[0], ROOM, false, false);
    client_protect(a.client, a.memory[1], ROOM, false, false);
    CHECK_STATUS(port_send(&scene.port, packet_of(100, 4, 1), 100, NULL), NDIS_STATUS_SUCCESS);
    CHECK_STATUS(client_close(a.client, a.file), STATUS_SUCCESS);
    client_protect(a.client, a.memory[0], ROOM, true, true);
    CHECK_EQ(*(uint32_t *)(a.memory[0] + 12), 100);
    scene_end(&scene);
}
