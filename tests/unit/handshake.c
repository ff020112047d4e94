/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * How the driver lies down and how a program wakes it, as two small programs on a small machine
 * whose every run is looked at. The machine may let a processor do later memory accesses before
 * earlier ones: none (SC), loads before stores (TSO, as x64 does), or any that are not ordered by
 * address, acquire, release or fence (weak, as ARM64 does). Branches and calls of the kernel are
 * full barriers here. Must never be taken for a test of the code: receive.c and ring.c of both
 * sides say in comments which line is which instruction.
 */
#include "check.h"

#include <stdlib.h>

enum order { SC, TSO, WEAK };
enum place { DATA, TAIL, ALERT, PLACES };
enum kind { LOAD, STORE, FENCE, JUMP, CALL }; /* what may overtake what */
enum action {
    NOTHING,
    TO_NEXT_PACKET, /* producer: is there another one? */
    TO_CALM,        /* consumer: nothing new, go and lie down */
    TO_AGAIN,       /* consumer: something new after all */
    CHECK_PACKET,   /* consumer: what Tail promised must be there */
    IF_ALERT_SET,   /* producer: KeSetEvent when Alertable was seen */
    SLEEP,          /* consumer: wait for the event, perhaps with a limit */
    CLEAR           /* consumer: KeClearEvent, from the start again */
};

struct instruction {
    enum kind kind;
    enum place place;
    int value; /* of a store; -1: the number of the packet */
    bool acquire, release;
    enum action action;
};

enum { PACKETS = 2, WINDOW = 5, PRODUCER = 0, CONSUMER = 1, MAX_CODE = 12 };

struct variant {
    enum order order;
    bool no_client_fence, no_driver_fence, no_release, no_acquire;
    bool is_bounded;  /* the first sleep after work ends by itself after 10 ms */
    bool stays_armed; /* Alertable is cleared only when something was found */
};

struct state {
    uint8_t memory[PLACES];
    uint8_t event;
    uint8_t pc[2];
    uint8_t ahead[2]; /* bit n: instruction pc + n is done */
    uint8_t packet;   /* producer: the one that is being sent, from 1 */
    uint8_t alert_seen;
    uint8_t tail_seen, data_seen, got; /* consumer */
    uint8_t bounded;                   /* consumer: the next sleep is */
};

struct program {
    struct instruction code[MAX_CODE];
    int length, calm, again;
};

struct node {
    struct state state;
    int parent;
};

struct search {
    struct variant variant;
    struct program program[2];
    struct node *nodes;
    int count, capacity;
    int *table; /* hash of states; -1: free */
    int table_size;
    int lost;      /* a state in which a packet sleeps for ever, or -1 */
    int unready;   /* a state in which a packet is read before it is there, or -1 */
    bool was_late; /* a packet waited for the limit of a sleep */
};

/* ---- the two programs ---- */

static void add(struct program *p, struct instruction instruction)
{
    p->code[p->length++] = instruction;
}

/* ring_send: packet, Tail, fence, look at Alertable, set the event. */
static void write_producer(struct program *p, const struct variant *v)
{
    add(p, (struct instruction){.kind = JUMP, .action = TO_NEXT_PACKET});
    add(p, (struct instruction){.kind = STORE, .place = DATA, .value = -1});
    add(p,
        (struct instruction){.kind = STORE, .place = TAIL, .value = -1, .release = !v->no_release});
    if (!v->no_client_fence)
        add(p, (struct instruction){.kind = FENCE});
    add(p, (struct instruction){.kind = LOAD, .place = ALERT});
    add(p, (struct instruction){.kind = CALL, .action = IF_ALERT_SET});
}

/* ReceiveBatch and ReceiveWorker. */
static void write_consumer(struct program *p, const struct variant *v)
{
    const struct instruction disarm = {.kind = STORE, .place = ALERT, .value = 0};

    if (!v->stays_armed)
        add(p, disarm);
    add(p, (struct instruction){.kind = LOAD, .place = TAIL, .acquire = !v->no_acquire});
    if (v->no_acquire) /* and may then look at the packet first */
        add(p, (struct instruction){.kind = LOAD, .place = DATA});
    add(p, (struct instruction){.kind = JUMP, .action = TO_CALM});
    if (!v->no_acquire)
        add(p, (struct instruction){.kind = LOAD, .place = DATA});
    if (v->stays_armed)
        add(p, disarm);
    add(p, (struct instruction){.kind = JUMP, .action = CHECK_PACKET});
    p->calm = p->length;
    add(p, (struct instruction){.kind = STORE, .place = ALERT, .value = 1});
    if (!v->no_driver_fence)
        add(p, (struct instruction){.kind = FENCE});
    add(p, (struct instruction){.kind = LOAD, .place = TAIL, .acquire = !v->no_acquire});
    add(p, (struct instruction){.kind = JUMP, .action = TO_AGAIN});
    add(p, (struct instruction){.kind = CALL, .action = SLEEP});
    add(p, (struct instruction){.kind = CALL, .action = CLEAR});
}

/* ---- the machine ---- */

static bool may_overtake(enum order order, const struct instruction *earlier,
                         const struct instruction *later)
{
    if (earlier->kind > STORE || later->kind > STORE || earlier->place == later->place)
        return false;
    if (order == TSO)
        return earlier->kind == STORE && later->kind == LOAD;
    return order == WEAK && !earlier->acquire && !later->release;
}

static bool may_perform(const struct search *s, const struct state *now, int thread, int n)
{
    const struct program *p = &s->program[thread];
    const int pc = now->pc[thread];

    if (pc + n >= p->length || now->ahead[thread] >> n & 1)
        return false;
    for (int i = 0; i < n; i++)
        if (!(now->ahead[thread] >> i & 1) &&
            !may_overtake(s->variant.order, &p->code[pc + i], &p->code[pc + n]))
            return false;
    for (int i = 0; i < n; i++) /* nothing passes a jump, done or not */
        if (p->code[pc + i].kind > FENCE)
            return false;
    return true;
}

static void jump(struct state *now, int thread, int target)
{
    now->pc[thread] = (uint8_t)target;
    now->ahead[thread] = 0;
}

static void access_memory(struct state *now, int thread, const struct instruction *i)
{
    if (i->kind == STORE)
        now->memory[i->place] = (uint8_t)(i->value < 0 ? now->packet : i->value);
    else if (i->kind == LOAD && thread == PRODUCER)
        now->alert_seen = now->memory[ALERT];
    else if (i->kind == LOAD && i->place == TAIL)
        now->tail_seen = now->memory[TAIL];
    else if (i->kind == LOAD)
        now->data_seen = now->memory[DATA];
}

/* The instruction at the thread's pc is done, and those that were done before their turn. */
static void advance(struct state *now, int thread, int n)
{
    now->ahead[thread] |= (uint8_t)(1 << n);
    while (now->ahead[thread] & 1) {
        now->ahead[thread] >>= 1;
        now->pc[thread]++;
    }
}

/* Jumps and calls. false: it has to wait. */
static bool act(struct search *s, struct state *now, int thread, enum action action)
{
    const int next = now->pc[thread] + 1;

    switch (action) {
    case TO_NEXT_PACKET:
        if (now->packet == PACKETS)
            return false; /* all sent */
        now->packet++;
        break;
    case IF_ALERT_SET:
        now->event |= now->alert_seen;
        now->alert_seen = 0;
        jump(now, thread, 0);
        return true;
    case TO_CALM:
        jump(now, thread, now->tail_seen == now->got ? s->program[thread].calm : next);
        return true;
    case CHECK_PACKET:
        now->got = now->tail_seen;
        now->bounded = s->variant.is_bounded;
        jump(now, thread, 0);
        return true;
    case TO_AGAIN: /* the driver's own event ends the sleep at once */
        if (now->tail_seen != now->got) {
            now->bounded = s->variant.is_bounded;
            jump(now, thread, 0);
            return true;
        }
        break;
    case SLEEP:
        if (!now->event)
            return false;
        now->bounded = s->variant.is_bounded;
        break;
    case CLEAR:
        now->event = 0;
        jump(now, thread, 0);
        return true;
    case NOTHING:
        break;
    }
    jump(now, thread, next);
    return true;
}

/* ---- the search ---- */

static int find_slot(const struct search *s, const struct state *state)
{
    const uint8_t *bytes = (const uint8_t *)state;
    uint32_t hash = 2166136261U;

    for (size_t i = 0; i < sizeof(*state); i++)
        hash = (hash ^ bytes[i]) * 16777619U;
    int slot = (int)(hash % (uint32_t)s->table_size);
    while (s->table[slot] >= 0 &&
           memcmp(&s->nodes[s->table[slot]].state, state, sizeof(*state)) != 0)
        slot = (slot + 1) % s->table_size;
    return slot;
}

static void reach(struct search *s, const struct state *state, int parent)
{
    const int slot = find_slot(s, state);

    if (s->table[slot] >= 0)
        return;
    CHECK(s->count < s->capacity);
    s->nodes[s->count] = (struct node){*state, parent};
    s->table[slot] = s->count++;
}

static const struct instruction *at(const struct search *s, const struct state *now, int thread)
{
    return &s->program[thread].code[now->pc[thread]];
}

/* Everything that the thread can do next; whether there was anything. */
static bool step(struct search *s, int from, int thread)
{
    bool moved = false;

    for (int n = 0; n < WINDOW; n++) {
        struct state next = s->nodes[from].state;
        if (!may_perform(s, &next, thread, n))
            continue;
        const struct instruction *i = &s->program[thread].code[next.pc[thread] + n];
        if (i->kind == JUMP || i->kind == CALL) {
            if (i->action == CHECK_PACKET && next.data_seen < next.tail_seen)
                s->unready = from;
            if (!act(s, &next, thread, i->action))
                continue;
        } else {
            access_memory(&next, thread, i);
            advance(&next, thread, n);
        }
        reach(s, &next, from);
        moved = true;
    }
    return moved;
}

/* A sleep with a limit ends by itself; what processors have under way takes less than that. */
static bool time_out(struct search *s, int from)
{
    struct state next = s->nodes[from].state;

    if (at(s, &next, CONSUMER)->action != SLEEP || !next.bounded || next.event ||
        next.ahead[PRODUCER])
        return false;
    /* the producer has done its part: nobody else will wake the consumer */
    s->was_late |= next.memory[TAIL] != next.got && next.pc[PRODUCER] == 0;
    next.bounded = 0;
    jump(&next, CONSUMER, next.pc[CONSUMER] + 1);
    reach(s, &next, from);
    return true;
}

static void print_run(const struct search *s, int node)
{
    if (s->nodes[node].parent >= 0)
        print_run(s, s->nodes[node].parent);
    const struct state *n = &s->nodes[node].state;
    fprintf(stderr,
            "producer %u+%x consumer %u+%x  data %u tail %u alertable %u event %u got %u%s\n",
            n->pc[0], n->ahead[0], n->pc[1], n->ahead[1], n->memory[DATA], n->memory[TAIL],
            n->memory[ALERT], n->event, n->got, n->bounded ? " bounded" : "");
}

static struct search explore(struct variant variant)
{
    struct search s = {.variant = variant, .capacity = 200000, .table_size = 400009};
    struct state start = {.bounded = variant.is_bounded};

    s.lost = s.unready = -1;
    s.nodes = calloc((size_t)s.capacity, sizeof(*s.nodes));
    s.table = malloc((size_t)s.table_size * sizeof(*s.table));
    CHECK(s.nodes && s.table);
    memset(s.table, 0xFF, (size_t)s.table_size * sizeof(*s.table));
    write_producer(&s.program[PRODUCER], &variant);
    write_consumer(&s.program[CONSUMER], &variant);
    reach(&s, &start, -1);
    for (int i = 0; i < s.count; i++) {
        bool moved = step(&s, i, PRODUCER);
        moved |= step(&s, i, CONSUMER);
        moved |= time_out(&s, i);
        const struct state *now = &s.nodes[i].state;
        if (!moved && now->memory[TAIL] != now->got)
            s.lost = i;
        if (!moved) /* the only other end is that all were sent and the consumer sleeps */
            CHECK(now->packet == PACKETS && at(&s, now, CONSUMER)->action == SLEEP);
    }
    CHECK(s.count > 20);
    return s;
}

static void none_is_lost(struct variant variant)
{
    const struct search s = explore(variant);

    if (s.lost >= 0 || s.unready >= 0) {
        print_run(&s, s.lost >= 0 ? s.lost : s.unready);
        check_fail(__FILE__, __LINE__, "a packet is %s", s.lost >= 0 ? "lost" : "read too early");
    }
}

/* ---- the tests ---- */

TEST(handshake_in_program_order_needs_no_fence)
{
    /* what the fences are there for: without reordering, the protocol is right by itself */
    none_is_lost((struct variant){.order = SC, .no_client_fence = true, .no_driver_fence = true});
}

TEST(handshake_with_both_fences_loses_nothing)
{
    /* design 2.4: "flag, full fence, look again, wait"; nothing waits for a timer */
    for (enum order order = SC; order <= WEAK; order++)
        for (int variant = 0; variant < 4; variant++) {
            const struct variant v = {
                .order = order, .is_bounded = variant & 1, .stays_armed = variant & 2};
            none_is_lost(v);
            CHECK(!explore(v).was_late);
        }
}

TEST(handshake_without_the_clients_fence_sleeps_for_ever)
{
    /* design 2.4: "Existing clients lack their half of the fence" */
    for (enum order order = TSO; order <= WEAK; order++)
        CHECK(explore((struct variant){.order = order, .no_client_fence = true}).lost >= 0);
}

TEST(handshake_without_the_drivers_fence_sleeps_for_ever)
{
    /* KeMemoryBarrier in ReceiveBatch */
    for (enum order order = TSO; order <= WEAK; order++)
        CHECK(explore((struct variant){.order = order, .no_driver_fence = true}).lost >= 0);
}

TEST(bounded_sleep_finds_what_a_client_without_fence_left)
{
    /* design 2.4: "their wait is bounded once (re-check after 10 ms, then unlimited)": right when
     * the driver stays armed from that sleep to the next, as then whoever looks sees it */
    for (enum order order = TSO; order <= WEAK; order++) {
        const struct variant v = {
            .order = order, .no_client_fence = true, .is_bounded = true, .stays_armed = true};
        none_is_lost(v);
        CHECK(explore(v).was_late); /* so the limit is what helped, and one of it is enough */
    }
}

TEST(bounded_sleep_that_disarms_for_its_look_sleeps_for_ever)
{
    /* the race of the first sleep comes again with the second, which has no limit */
    for (enum order order = TSO; order <= WEAK; order++)
        CHECK(explore((struct variant){.order = order, .no_client_fence = true, .is_bounded = true})
                  .lost >= 0);
}

TEST(tail_without_release_shows_packets_too_early)
{
    /* RingCommit, ring_send: "the release makes the packets visible before Tail" */
    CHECK(explore((struct variant){.order = WEAK, .no_release = true}).unready >= 0);
    none_is_lost((struct variant){.order = TSO, .no_release = true}); /* x64 forgives that */
}

TEST(tail_without_acquire_reads_packets_too_early)
{
    /* RingPeek, ring_receive: "the acquire pairs with the producer's release of Tail" */
    CHECK(explore((struct variant){.order = WEAK, .no_acquire = true}).unready >= 0);
    none_is_lost((struct variant){.order = TSO, .no_acquire = true});
}
