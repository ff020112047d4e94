/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The four verbs of a ring, the driver's (driver/tun.h, compiled for Linux) and the client's
 * (nthost/client/ring.c), against a model that counts in 64-bit positions which never wrap. No
 * driver binary and no adapter is involved. Rules: docs of the rings in include/wintun-abi.h, and
 * abi.md 2.4 and 2.6.
 */
#include "client/ring.h"
#include "check.h"
#include "nthost.h"

#include "tun.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { MIN = WINTUN_RING_MIN_CAPACITY, PAGE = 4096 };

/* Sizes of packets around every rounding, and the largest. */
static const ULONG sizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 20, 1420, 4093, 65532, 65533, 65534, 65535};

/* A ring whose last byte is directly before a page that nobody may touch. */
struct area {
    void *memory;
    size_t bytes;
    WINTUN_RING *ring;
    UCHAR *data;
};

static struct area make_area(ULONG capacity)
{
    const size_t bytes = (size_t)capacity + WINTUN_RING_OVERHEAD;
    const size_t pages = (bytes + PAGE - 1) / PAGE * PAGE;
    struct area a = {.bytes = pages + PAGE};

    a.memory = mmap(NULL, a.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(a.memory != MAP_FAILED);
    CHECK(mprotect((uint8_t *)a.memory + pages, PAGE, PROT_NONE) == 0);
    a.ring = (WINTUN_RING *)((uint8_t *)a.memory + pages - bytes);
    a.data = (UCHAR *)(a.ring + 1);
    return a;
}

static TUN_RING view_of(WINTUN_RING *ring, ULONG capacity, ULONG cursor)
{
    return (TUN_RING){.Head = (ULONG volatile *)&ring->Head,
                      .Tail = (ULONG volatile *)&ring->Tail,
                      .Alertable = (LONG volatile *)&ring->Alertable,
                      .Data = (UCHAR *)(ring + 1),
                      .Capacity = capacity,
                      .Unit = WINTUN_RING_ALIGNMENT,
                      .Cursor = cursor};
}

/* What a verb says, in one word. */
enum result { DONE, EMPTY, FULL, CORRUPT };

/* Room for one record. */
static enum result reserve(TUN_RING *ring, ULONG bytes, TUN_ROOM *room)
{
    TUN_PACKET packet = {.Bytes = bytes};
    ULONG loss;

    if (RingReserve(ring, &packet, room, &loss) == NULL)
        return DONE;
    CHECK(loss == WintunToUserCorrupt || loss == WintunToUserFull);
    return loss == WintunToUserFull ? FULL : CORRUPT;
}

/* A ring that is corrupt has ended; it is mended, so that a test can look again. */
static enum result peek(TUN_RING *ring, const UCHAR **packet, ULONG *bytes)
{
    const bool has_ended = ring->HasEnded;

    if (RingPeek(ring, packet, bytes))
        return DONE;
    if (has_ended || !ring->HasEnded)
        return EMPTY;
    ring->HasEnded = FALSE;
    return CORRUPT;
}

/* The producer's and the consumer's view, as two drivers would have them. */
struct ends {
    struct area area;
    TUN_RING in, out;
};

static void place_at(struct ends *e, ULONG capacity, ULONG offset)
{
    e->area.ring->Head = e->area.ring->Tail = offset;
    e->in = view_of(e->area.ring, capacity, offset);
    e->out = view_of(e->area.ring, capacity, offset);
    KeInitializeSpinLock(&e->in.Lock);
    InitializeListHead(&e->in.Open);
}

/* The verbs of a producer want DISPATCH_LEVEL: their lock is taken for it. */
static void begin(void)
{
    nth_boot(&(struct nth_config){.mode = NTH_PARALLEL, .relaxed_memory = true});
    KeRaiseIrqlToDpcLevel();
}

static void end(void)
{
    KeLowerIrql(PASSIVE_LEVEL);
    nth_shutdown();
}

static ULONG record(ULONG bytes)
{
    return (4 + bytes + 3) / 4 * 4; /* abi.md 2.4: align(4 + Size, 4) */
}

static UCHAR pattern(ULONG packet, ULONG at)
{
    return (UCHAR)(packet * 131 + at * 7 + (at >> 8));
}

static void write_packet(UCHAR *to, ULONG packet, ULONG bytes)
{
    *(ULONG *)to = bytes;
    for (ULONG i = 0; i < bytes; i++)
        to[4 + i] = pattern(packet, i);
}

static void check_packet(const UCHAR *packet, ULONG number, ULONG bytes)
{
    for (ULONG i = 0; i < bytes; i++)
        if (packet[i] != pattern(number, i))
            check_fail(__FILE__, __LINE__, "byte %u of packet %u of %u bytes", i, number, bytes);
}

/* One packet through both ends of the driver's verbs, from an empty ring. */
static void carry(struct ends *e, ULONG capacity, ULONG bytes)
{
    const ULONG before = e->in.Cursor, after = (before + record(bytes)) % capacity;
    const UCHAR *packet;
    TUN_ROOM room;
    ULONG got;

    CHECK_EQ(peek(&e->out, &packet, &got), EMPTY);
    CHECK_EQ(reserve(&e->in, record(bytes), &room), DONE);
    CHECK_EQ(room.Start, before);
    CHECK_EQ(e->area.ring->Tail, before); /* nothing is seen before its commit */
    write_packet(e->in.Data + room.Start, bytes, bytes);
    CHECK(RingCommit(&e->in, &room));
    CHECK_EQ(e->area.ring->Tail, after);
    CHECK_EQ(peek(&e->out, &packet, &got), DONE);
    CHECK_EQ(got, bytes);
    CHECK(packet == e->out.Data + before + 4);
    check_packet(packet, bytes, bytes);
    RingPass(&e->out, got);
    CHECK_EQ(e->area.ring->Head, before); /* nothing is given up before its release */
    RingRelease(&e->out);
    CHECK_EQ(e->area.ring->Head, after);
    CHECK_EQ(peek(&e->out, &packet, &got), EMPTY);
}

TEST(packet_is_carried_from_every_offset)
{
    /* abi.md 2.4: a record "is always contiguous" and continues into the trailing area, of which
     * the farthest byte is touched, and none behind it: there the page ends */
    struct ends e = {.area = make_area(MIN)};

    begin();
    for (ULONG offset = 0; offset < MIN; offset += 4)
        for (size_t i = 0; i < 9; i++) {
            place_at(&e, MIN, offset);
            carry(&e, MIN, sizes[i]);
        }
    for (ULONG offset = MIN - 65544; offset < MIN; offset += offset < MIN - 64 ? 508 : 4)
        for (size_t i = 9; i < ARRAYSIZE(sizes); i++) {
            place_at(&e, MIN, offset);
            carry(&e, MIN, sizes[i]);
        }
    end();
}

TEST(packet_is_carried_at_every_capacity)
{
    /* wintun-abi.h: "capacities are powers of two, both bounds included" */
    begin();
    for (ULONG capacity = MIN; capacity <= WINTUN_RING_MAX_CAPACITY; capacity *= 2) {
        struct ends e = {.area = make_area(capacity)};
        const ULONG offsets[] = {0, 4, capacity / 2, capacity - 65540, capacity - 8, capacity - 4};
        for (size_t o = 0; o < ARRAYSIZE(offsets); o++)
            for (size_t i = 0; i < ARRAYSIZE(sizes); i++) {
                place_at(&e, capacity, offsets[o]);
                carry(&e, capacity, sizes[i]);
            }
        munmap(e.area.memory, e.area.bytes);
    }
    end();
}

TEST(room_is_what_is_free_less_one_unit)
{
    /* abi.md 2.4: "Free for a producer: (Head - Tail - 4) & (cap - 1); R must be <= this" */
    struct ends e = {.area = make_area(MIN)};
    const LONG near[] = {-8, -4, 0, 4, 8};
    TUN_ROOM room;

    begin();
    for (ULONG used = 0; used < MIN; used += used < 64 || used >= MIN - 64 ? 4 : 1020)
        for (ULONG offset = 0; offset < MIN; offset += offset < 64 || offset >= MIN - 64 ? 4 : 4092)
            for (size_t i = 0; i < ARRAYSIZE(near); i++) {
                const int64_t free = (int64_t)MIN - 4 - used, wanted = free + near[i];
                place_at(&e, MIN, offset);
                e.in.Cursor = (offset + used) % MIN;
                if (wanted < 4)
                    continue;
                CHECK_EQ(reserve(&e.in, (ULONG)wanted, &room), wanted <= free ? DONE : FULL);
                CHECK_EQ(e.in.Cursor,
                         wanted <= free ? (offset + used + wanted) % MIN : (offset + used) % MIN);
            }
    end();
}

/* Rooms of several sizes, filled in that order: Tail is always behind the finished prefix. */
static void commit_in_order(struct ends *e, const int *order, int count)
{
    ULONG starts[7] = {e->in.Cursor};
    bool done[6] = {false};
    TUN_ROOM rooms[6];

    for (int i = 0; i < count; i++) {
        CHECK_EQ(reserve(&e->in, record((ULONG)i * 5), &rooms[i]), DONE);
        starts[i + 1] = e->in.Cursor;
    }
    for (int i = 0, prefix = 0; i < count; i++) {
        const int before = prefix;
        write_packet(e->in.Data + rooms[order[i]].Start, (ULONG)order[i], (ULONG)order[i] * 5);
        done[order[i]] = true;
        while (prefix < count && done[prefix])
            prefix++;
        CHECK_EQ(RingCommit(&e->in, &rooms[order[i]]), prefix != before);
        CHECK_EQ(e->area.ring->Tail, starts[prefix]);
    }
    for (int i = 0; i < count; i++) {
        const UCHAR *packet;
        ULONG got;
        CHECK_EQ(peek(&e->out, &packet, &got), DONE);
        CHECK_EQ(got, i * 5);
        check_packet(packet, (ULONG)i, got);
        RingPass(&e->out, got);
    }
    RingRelease(&e->out);
    CHECK_EQ(e->area.ring->Head, e->area.ring->Tail);
}

/* Calls commit_in_order with every permutation of order[from] and those after it. */
static void permute(struct ends *e, ULONG offset, int *order, int from, int count)
{
    if (from == count) {
        place_at(e, MIN, offset);
        commit_in_order(e, order, count);
        return;
    }
    for (int i = from; i < count; i++) {
        int swapped[6];
        memcpy(swapped, order, sizeof(swapped));
        swapped[from] = order[i];
        swapped[i] = order[from];
        permute(e, offset, swapped, from + 1, count);
    }
}

TEST(rooms_filled_in_any_order_are_published_in_theirs)
{
    /* abi.md 2.6: "Publish Tail with release (only over a contiguous finished prefix)" */
    struct ends e = {.area = make_area(MIN)};

    begin();
    for (int count = 1; count <= 6; count++)
        for (ULONG back = 0; back <= 48; back += 4) {
            int order[6] = {0, 1, 2, 3, 4, 5};
            permute(&e, (MIN - back) % MIN, order, 0, count);
        }
    end();
}

/* What a hostile program may put into a shared word. */
static const ULONG wild[] = {0x7FFFFFFF, 0x80000000, 0x80000004, 0xFFFE0000,
                             0xFFFFFFF0, 0xFFFFFFFC, 0xFFFFFFFE, 0xFFFFFFFF};
enum { WILD = sizeof(wild) / sizeof(wild[0]), WORDS = MIN + 16 + WILD };

static ULONG hostile_word(ULONG n)
{
    return n < MIN + 16 ? n : wild[n - MIN - 16];
}

TEST(head_that_cannot_be_gives_no_room)
{
    /* abi.md 2.6 and lessons 19: Head at or beyond the capacity, or unaligned, is corrupt; a valid
     * one never gives more than the ring holds, whatever it is */
    struct ends e = {.area = make_area(MIN)};
    const ULONG cursors[] = {0, 4, 65536, MIN - 4};
    TUN_ROOM room;

    begin();
    for (size_t c = 0; c < ARRAYSIZE(cursors); c++)
        for (ULONG n = 0; n < WORDS; n++) {
            const ULONG head = hostile_word(n);
            const bool valid = head < MIN && head % 4 == 0;
            place_at(&e, MIN, cursors[c]);
            e.area.ring->Head = head;
            const ULONG used = (cursors[c] + MIN - head % MIN) % MIN;
            const enum result expected = !valid ? CORRUPT : 0x10004 <= MIN - 4 - used ? DONE : FULL;
            CHECK_EQ(reserve(&e.in, 0x10004, &room), expected);
            CHECK_EQ(e.in.Cursor, expected == DONE ? (cursors[c] + 0x10004) % MIN : cursors[c]);
            CHECK_EQ(IsListEmpty(&e.in.Open), expected != DONE);
        }
    end();
}

/* abi.md 2.6, the table of checks, in its order. */
static enum result peek_model(ULONG tail, ULONG cursor, ULONG size)
{
    const int64_t used = tail >= cursor ? (int64_t)tail - cursor : (int64_t)tail + MIN - cursor;

    if (tail == cursor)
        return EMPTY;
    if (tail >= MIN || used < 4 || size > 0xFFFF || record(size) > used)
        return CORRUPT;
    return DONE;
}

TEST(tail_and_size_that_cannot_be_end_the_ring)
{
    /* abi.md 2.6: "Tail < cap, Used >= 4, Size <= 0xFFFF, R <= Used", else the direction ends */
    static const ULONG record_sizes[] = {0,       1,          3,          4,          5,
                                         1420,    65535,      65536,      65537,      MIN,
                                         1 << 31, 0xFFFFFFF8, 0xFFFFFFFB, 0xFFFFFFFC, 0xFFFFFFFF};
    struct ends e = {.area = make_area(MIN)};
    const ULONG cursors[] = {0, 4, 65536, MIN - 4};

    for (size_t c = 0; c < ARRAYSIZE(cursors); c++)
        for (size_t s = 0; s < ARRAYSIZE(record_sizes); s++)
            for (ULONG n = 0; n < WORDS; n++) {
                const UCHAR *packet = NULL;
                ULONG got = 0;
                e.out = view_of(e.area.ring, MIN, cursors[c]);
                e.area.ring->Tail = hostile_word(n);
                *(ULONG *)(e.out.Data + cursors[c]) = record_sizes[s];
                const enum result result = peek(&e.out, &packet, &got);
                CHECK_EQ(result, peek_model(hostile_word(n), cursors[c], record_sizes[s]));
                CHECK(result != DONE || packet + got <= e.area.data + MIN + 0x10000);
            }
}

TEST(ended_ring_stays_ended)
{
    /* abi.md 2.7: Head is 0xFFFFFFFF once this direction has ended */
    struct ends e = {.area = make_area(MIN)};
    const UCHAR *packet;
    ULONG got;

    place_at(&e, MIN, 8);
    e.area.ring->Tail = 16;
    e.out.HasEnded = TRUE;
    CHECK_EQ(peek(&e.out, &packet, &got), EMPTY);
    RingRelease(&e.out);
    CHECK_EQ(e.area.ring->Head, WINTUN_RING_ENDED);
}

/* ---- random histories against the model ---- */

struct model {
    uint64_t reserved, published, passed, released; /* positions that never wrap */
    uint64_t first, next;                           /* numbers of packets in sizes[] */
    ULONG sizes[4096];
};

enum { ROOMS = 8 };
struct history {
    struct ends ends;
    struct model model;
    TUN_ROOM rooms[ROOMS];
    uint64_t starts[ROOMS], numbers[ROOMS];
    bool is_open[ROOMS];
    uint32_t random;
};

static uint32_t draw(struct history *h, uint32_t below)
{
    h->random = h->random * 1664525U + 1013904223U;
    return (uint32_t)((uint64_t)(h->random >> 4) * below >> 28);
}

static void produce(struct history *h, int slot)
{
    struct model *m = &h->model;
    const ULONG bytes = draw(h, 4) ? draw(h, 2000) : draw(h, 65536);
    const uint64_t used = m->reserved - m->released;
    const bool fits = record(bytes) <= MIN - 4 - used;

    if (m->next - m->first >= 4000)
        return;
    CHECK_EQ(reserve(&h->ends.in, record(bytes), &h->rooms[slot]), fits ? DONE : FULL);
    if (!fits)
        return;
    CHECK_EQ(h->rooms[slot].Start, m->reserved % MIN);
    h->is_open[slot] = true;
    h->starts[slot] = m->reserved;
    h->numbers[slot] = m->next;
    m->sizes[m->next++ % 4096] = bytes;
    m->reserved += record(bytes);
}

static void finish(struct history *h, int slot)
{
    struct model *m = &h->model;
    uint64_t oldest = m->reserved;

    write_packet(h->ends.in.Data + h->rooms[slot].Start, (ULONG)h->numbers[slot],
                 m->sizes[h->numbers[slot] % 4096]);
    h->is_open[slot] = false;
    for (int i = 0; i < ROOMS; i++)
        if (h->is_open[i] && h->starts[i] < oldest)
            oldest = h->starts[i];
    CHECK_EQ(RingCommit(&h->ends.in, &h->rooms[slot]), oldest > h->starts[slot]);
    if (oldest > h->starts[slot])
        m->published = oldest;
    CHECK_EQ(h->ends.area.ring->Tail, m->published % MIN);
}

static void consume(struct history *h)
{
    struct model *m = &h->model;
    const UCHAR *packet;
    ULONG got;

    if (draw(h, 3) == 0) {
        RingRelease(&h->ends.out);
        m->released = m->passed;
        CHECK_EQ(h->ends.area.ring->Head, m->released % MIN);
    }
    const enum result result = peek(&h->ends.out, &packet, &got);
    CHECK_EQ(result, m->passed == m->published ? EMPTY : DONE);
    if (result != DONE)
        return;
    CHECK_EQ(got, m->sizes[m->first % 4096]);
    check_packet(packet, (ULONG)m->first, got);
    RingPass(&h->ends.out, got);
    m->first++;
    m->passed += record(got);
}

TEST(random_histories_follow_the_model)
{
    struct history *h = calloc(1, sizeof(*h));

    begin();
    h->ends.area = make_area(MIN);
    for (uint32_t seed = 1; seed <= 20; seed++) {
        const struct area area = h->ends.area;
        fprintf(stderr, "seed %u\n", seed);
        memset(h, 0, sizeof(*h));
        h->ends.area = area;
        h->random = seed * 2654435761U;
        place_at(&h->ends, MIN, 0);
        for (int step = 0; step < 5000; step++) {
            const int slot = (int)draw(h, ROOMS);
            if (draw(h, 2))
                consume(h);
            else if (h->is_open[slot])
                finish(h, slot);
            else
                produce(h, slot);
        }
        CHECK(h->model.published > 4 * (uint64_t)MIN); /* it did go round */
    }
    end();
    free(h);
}

/* ---- the client's ends ---- */

struct session {
    struct nth_driver *driver;
    struct client *client;
    client_handle file;
    struct ring_session *rings;
    TUN_RING to_user, to_stack; /* the driver's views */
};

/* A session whose driver is this test. */
static void open_session(struct session *s)
{
    const struct ring_config config = {MIN, MIN};

    nth_boot(&(struct nth_config){.mode = NTH_PARALLEL, .relaxed_memory = true});
    CHECK_STATUS(nth_driver_load("out/drivers/gnu-O2/accept.sys", "accept", &s->driver), 0);
    s->client = client_create(&(struct client_config){.name = "ring", .token = CLIENT_SYSTEM});
    CHECK(s->client);
    CHECK_STATUS(client_open(s->client, "\\\\.\\Accept", CLIENT_READ | CLIENT_WRITE, &s->file), 0);
    CHECK_STATUS(ring_open(s->client, s->file, &config, &s->rings), 0);
    s->to_user = view_of(ring_to_user(s->rings), MIN, 0);
    KeInitializeSpinLock(&s->to_user.Lock);
    InitializeListHead(&s->to_user.Open);
    s->to_stack = view_of(ring_to_stack(s->rings), MIN, 0);
}

static void close_session(struct session *s)
{
    CHECK_STATUS(client_close(s->client, s->file), 0);
    ring_close(s->rings);
    client_destroy(s->client);
    CHECK_STATUS(nth_driver_unload(s->driver), 0);
    nth_shutdown();
}

static void set_words(WINTUN_RING *ring, ULONG head, ULONG tail)
{
    ring->Head = head;
    ring->Tail = tail;
}

TEST(client_takes_no_packet_that_cannot_be)
{
    /* client/ring.c: "a word beyond the capacity is the end of the session, anything else that
     * cannot be is RING_CORRUPT"; abi.md 2.6 for what can be */
    static const ULONG record_sizes[] = {0,     1,        3,          4,          65535,
                                         65536, 1U << 31, 0xFFFFFFFB, 0xFFFFFFFC, 0xFFFFFFFF};
    static struct session s;
    const uint8_t *packet;
    uint32_t bytes;

    open_session(&s);
    WINTUN_RING *ring = ring_to_user(s.rings);
    for (size_t i = 0; i < ARRAYSIZE(record_sizes); i++)
        for (ULONG n = 0; n < WORDS; n += n < MIN - 64 ? 61 : 1) {
            const ULONG tail = hostile_word(n);
            *(ULONG *)(ring + 1) = record_sizes[i];
            set_words(ring, 0, tail);
            const enum result model = peek_model(tail, 0, record_sizes[i]);
            if (model == DONE && tail % 4 == 0)
                continue; /* this one would be taken: the test below */
            const enum ring_state expected = tail >= MIN      ? RING_ENDED
                                             : model == EMPTY ? RING_EMPTY
                                                              : RING_CORRUPT;
            CHECK_EQ(ring_receive(s.rings, &packet, &bytes), expected);
        }
    set_words(ring, 0, 0);
    close_session(&s);
}

TEST(client_gives_no_room_that_is_not_there)
{
    /* abi.md 2.4: "Free for a producer: (Head - Tail - 4) & (cap - 1)" */
    static struct session s;
    uint8_t *packet;

    open_session(&s);
    WINTUN_RING *ring = ring_to_stack(s.rings);
    for (ULONG n = 0; n < WORDS; n++) {
        const ULONG head = hostile_word(n);
        if (head < MIN && head % 4 == 0 && (head + MIN - 4) % MIN >= 0x10004)
            continue; /* room for it */
        ring->Head = head;
        CHECK_EQ(ring_allocate(s.rings, 65535, &packet), head >= MIN     ? RING_ENDED
                                                         : head % 4 != 0 ? RING_CORRUPT
                                                                         : RING_EMPTY);
    }
    ring->Head = 0;
    CHECK_EQ(ring_allocate(s.rings, 65536, &packet), RING_EMPTY);
    ULONG taken = 0;
    for (ULONG left = MIN - 4; left >= 4; left -= record(left > 0x10004 ? 65535 : left - 4)) {
        CHECK_EQ(ring_allocate(s.rings, left > 0x10004 ? 65535 : left - 4, &packet), RING_READY);
        taken++;
    }
    CHECK(taken >= 2);
    CHECK_EQ(ring_allocate(s.rings, 0, &packet), RING_EMPTY); /* full to the last unit */
    close_session(&s);
}

TEST(client_publishes_the_finished_prefix_only)
{
    /* ring.h: packets "go out after those that were allocated before"; released in any order */
    static struct session s;
    uint8_t *out[4];
    const uint8_t *in[4];
    uint32_t bytes;

    open_session(&s);
    WINTUN_RING *to_stack = ring_to_stack(s.rings), *to_user = ring_to_user(s.rings);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(ring_allocate(s.rings, 8, &out[i]), RING_READY);
    const int order[] = {2, 0, 3, 1};
    const ULONG tails[] = {0, 12, 12, 48};
    for (int i = 0; i < 4; i++) {
        ring_send(s.rings, out[order[i]]);
        CHECK_EQ(to_stack->Tail, tails[i]);
    }
    for (ULONG i = 0; i < 4; i++)
        write_packet((UCHAR *)(to_user + 1) + i * 12, i, 8);
    to_user->Tail = 48;
    for (ULONG i = 0; i < 4; i++) {
        CHECK_EQ(ring_receive(s.rings, &in[i], &bytes), RING_READY);
        check_packet(in[i], i, bytes);
    }
    CHECK_EQ(ring_receive(s.rings, &in[0], &bytes), RING_EMPTY);
    for (int i = 0; i < 4; i++) {
        ring_release(s.rings, (const uint8_t *)(to_user + 1) + order[i] * 12 + 4);
        CHECK_EQ(to_user->Head, tails[i]);
    }
    close_session(&s);
}

/* ---- both ends together ---- */

enum { TRAFFIC = 20000 };

static ULONG traffic_bytes(ULONG n)
{
    const uint32_t random = (n + 1) * 2654435761U >> 8;

    return n % 16 ? random % 1500 : random % 65536;
}

static void drivers_producer(void *context)
{
    struct session *s = context;
    TUN_ROOM room;

    KeRaiseIrqlToDpcLevel();
    for (ULONG n = 0; n < TRAFFIC;) {
        const ULONG bytes = traffic_bytes(n);
        const enum result result = reserve(&s->to_user, record(bytes), &room);
        CHECK(result == DONE || result == FULL);
        if (result == FULL) {
            sched_yield();
            continue;
        }
        write_packet(s->to_user.Data + room.Start, n, bytes);
        RingCommit(&s->to_user, &room);
        n++;
    }
    KeLowerIrql(PASSIVE_LEVEL);
}

static void clients_consumer(void *context)
{
    struct session *s = context;
    const uint8_t *packet;
    uint32_t bytes;

    for (ULONG n = 0; n < TRAFFIC;) {
        const enum ring_state state = ring_receive(s->rings, &packet, &bytes);
        CHECK(state == RING_READY || state == RING_EMPTY);
        if (state == RING_EMPTY) {
            sched_yield();
            continue;
        }
        CHECK_EQ(bytes, traffic_bytes(n));
        check_packet(packet, n++, bytes);
        ring_release(s->rings, packet);
    }
}

static void clients_producer(void *context)
{
    struct session *s = context;
    uint8_t *packet;

    for (ULONG n = 0; n < TRAFFIC;) {
        const ULONG bytes = traffic_bytes(n);
        const enum ring_state state = ring_allocate(s->rings, bytes, &packet);
        CHECK(state == RING_READY || state == RING_EMPTY);
        if (state == RING_EMPTY) {
            sched_yield();
            continue;
        }
        for (ULONG i = 0; i < bytes; i++)
            packet[i] = pattern(n, i);
        ring_send(s->rings, packet);
        n++;
    }
}

static void drivers_consumer(void *context)
{
    struct session *s = context;
    const UCHAR *packet;
    ULONG bytes;

    for (ULONG n = 0; n < TRAFFIC;) {
        const enum result result = peek(&s->to_stack, &packet, &bytes);
        CHECK(result == DONE || result == EMPTY);
        if (result == EMPTY) {
            sched_yield();
            continue;
        }
        CHECK_EQ(bytes, traffic_bytes(n));
        check_packet(packet, n++, bytes);
        RingPass(&s->to_stack, bytes);
        RingRelease(&s->to_stack);
    }
}

TEST(traffic_between_driver_and_client_is_carried_byte_for_byte)
{
    /* abi.md 2.6, the ordering table: each end is only safe with the other's half */
    void (*const ends[])(void *) = {drivers_producer, clients_consumer, clients_producer,
                                    drivers_consumer};
    struct nth_thread *threads[4];
    static struct session s;

    open_session(&s);
    for (int i = 0; i < 4; i++)
        threads[i] = nth_spawn("end", ends[i], &s);
    for (int i = 0; i < 4; i++)
        nth_join(threads[i]);
    close_session(&s);
}
