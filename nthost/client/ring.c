/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The user end of version 1 rings. Only the four verbs receive, release, allocate and send (with
 * wait) touch the shared words. What the driver writes is trusted no further than its range: a word
 * beyond the capacity is the end of the session, anything else that cannot be is RING_CORRUPT.
 */
#include "client/ring.h"

#include <wintun-abi.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_NO_MEMORY ((client_status)0xC0000017)
#define STATUS_TIMEOUT   ((client_status)0x00000102)

enum { DEFAULT_CAPACITY = 0x400000, SPIN_LOOKS = 64 };
/* In the size word of a record that is taken but not given back, or reserved but not sent. Only
 * this side looks at it: the driver reads a record of ToStack after Tail has passed it, and never
 * reads one of ToUser. */
#define PENDING 0x80000000U

struct half {
    WINTUN_RING *ring;
    uint8_t *data;
    uint32_t capacity;
    client_handle event;
    pthread_mutex_t lock;
    uint32_t next;      /* lock: where the next packet is taken or placed */
    uint32_t published; /* lock: our shared word */
};

struct ring_session {
    struct client *client;
    uint8_t *memory;
    size_t memory_bytes;
    struct half to_user, to_stack;
};

static uint32_t load(const uint32_t *word)
{
    return atomic_load_explicit((const _Atomic uint32_t *)word, memory_order_acquire);
}

static void publish(uint32_t *word, uint32_t value)
{
    atomic_store_explicit((_Atomic uint32_t *)word, value, memory_order_release);
}

static uint32_t record_bytes(uint32_t size)
{
    return (WINTUN_RING_RECORD + size + WINTUN_RING_ALIGNMENT - 1) & ~(WINTUN_RING_ALIGNMENT - 1);
}

static uint32_t *size_word(const struct half *half, uint32_t offset)
{
    return (uint32_t *)(half->data + offset);
}

static uint32_t after(const struct half *half, uint32_t offset, uint32_t size)
{
    return (offset + record_bytes(size)) & (half->capacity - 1);
}

/* The size word of a packet that receive or allocate gave. */
static uint32_t *word_of(const uint8_t *packet)
{
    return (uint32_t *)(uintptr_t)(packet - WINTUN_RING_RECORD);
}

/* ---- ToUser: this side consumes ---- */

enum ring_state ring_receive(struct ring_session *session, const uint8_t **packet, uint32_t *bytes)
{
    struct half *half = &session->to_user;
    enum ring_state state = RING_CORRUPT;

    pthread_mutex_lock(&half->lock);
    const uint32_t tail = load(&half->ring->Tail); /* acquire: the packet before its bytes */
    const uint32_t used = (tail - half->next) & (half->capacity - 1);
    if (tail >= half->capacity) {
        state = RING_ENDED;
    } else if (used == 0) {
        state = RING_EMPTY;
    } else if (used >= WINTUN_RING_RECORD && tail % WINTUN_RING_ALIGNMENT == 0) {
        const uint32_t size = *(volatile uint32_t *)size_word(half, half->next);
        if (size <= WINTUN_MAX_PACKET && record_bytes(size) <= used) {
            *size_word(half, half->next) = size | PENDING;
            *packet = half->data + half->next + WINTUN_RING_RECORD;
            *bytes = size;
            half->next = after(half, half->next, size);
            state = RING_READY;
        }
    }
    pthread_mutex_unlock(&half->lock);
    return state;
}

/* Head moves over the released prefix only: the driver writes again as far as it. */
void ring_release(struct ring_session *session, const uint8_t *packet)
{
    struct half *half = &session->to_user;

    pthread_mutex_lock(&half->lock);
    *word_of(packet) &= ~PENDING;
    while (half->published != half->next && (*size_word(half, half->published) & PENDING) == 0)
        half->published = after(half, half->published, *size_word(half, half->published));
    publish(&half->ring->Head, half->published); /* release: after the last use of the bytes */
    pthread_mutex_unlock(&half->lock);
}

static enum ring_state look(struct half *half)
{
    pthread_mutex_lock(&half->lock);
    const uint32_t tail = load(&half->ring->Tail);
    const uint32_t next = half->next;
    pthread_mutex_unlock(&half->lock);
    return tail >= half->capacity ? RING_ENDED : tail == next ? RING_EMPTY : RING_READY;
}

/* Alertable is for drivers that signal only a sleeper; ours always does. The full fence pairs with
 * the producer's between its Tail and its look at Alertable. */
enum ring_state ring_wait(struct ring_session *session, uint64_t timeout_ns)
{
    struct half *half = &session->to_user;

    for (;;) {
        enum ring_state state = look(half);
        for (int i = 0; state == RING_EMPTY && i < SPIN_LOOKS; i++)
            state = look(half);
        if (state != RING_EMPTY)
            return state;
        atomic_store_explicit((_Atomic int32_t *)&half->ring->Alertable, 1, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst);
        state = look(half);
        const client_status status =
            state == RING_EMPTY ? client_wait(session->client, &half->event, 1, timeout_ns, NULL)
                                : 0;
        atomic_store_explicit((_Atomic int32_t *)&half->ring->Alertable, 0, memory_order_relaxed);
        if (state != RING_EMPTY)
            return state;
        if (status == STATUS_TIMEOUT)
            return look(half);
        if (status != 0)
            return RING_ENDED;
        if (timeout_ns == 0)
            return look(half);
    }
}

/* ---- ToStack: this side produces ---- */

enum ring_state ring_allocate(struct ring_session *session, uint32_t bytes, uint8_t **packet)
{
    struct half *half = &session->to_stack;
    enum ring_state state = RING_READY;

    if (bytes > WINTUN_MAX_PACKET)
        return RING_EMPTY;
    pthread_mutex_lock(&half->lock);
    const uint32_t head = load(&half->ring->Head); /* acquire: before overwriting what it freed */
    const uint32_t room = (head - half->next - WINTUN_RING_ALIGNMENT) & (half->capacity - 1);
    if (head >= half->capacity) {
        state = RING_ENDED;
    } else if (head % WINTUN_RING_ALIGNMENT != 0) {
        state = RING_CORRUPT;
    } else if (record_bytes(bytes) > room) {
        state = RING_EMPTY;
    } else {
        *size_word(half, half->next) = bytes | PENDING;
        *packet = half->data + half->next + WINTUN_RING_RECORD;
        half->next = after(half, half->next, bytes);
    }
    pthread_mutex_unlock(&half->lock);
    return state;
}

/* Tail moves over the finished prefix only. The full fence pairs with the driver's between setting
 * Alertable and its last look at Tail. */
void ring_send(struct ring_session *session, const uint8_t *packet)
{
    struct half *half = &session->to_stack;

    pthread_mutex_lock(&half->lock);
    *word_of(packet) &= ~PENDING;
    const uint32_t before = half->published;
    while (half->published != half->next && (*size_word(half, half->published) & PENDING) == 0)
        half->published = after(half, half->published, *size_word(half, half->published));
    const bool has_moved = half->published != before;
    if (has_moved)
        publish(&half->ring->Tail, half->published); /* release: after the packets' bytes */
    pthread_mutex_unlock(&half->lock);
    atomic_thread_fence(memory_order_seq_cst);
    if (has_moved &&
        atomic_load_explicit((_Atomic int32_t *)&half->ring->Alertable, memory_order_relaxed) != 0)
        client_event_set(session->client, half->event);
}

/* ---- birth and end ---- */

static client_status half_init(struct client *client, struct half *half, uint8_t *memory,
                               uint32_t capacity)
{
    half->ring = (WINTUN_RING *)memory;
    half->data = memory + sizeof(WINTUN_RING);
    half->capacity = capacity;
    pthread_mutex_init(&half->lock, NULL);
    return client_event(client, false, false, &half->event);
}

static client_status register_rings(struct ring_session *session, client_handle file)
{
    /* Buffers of a request lie in the client's memory too. */
    WINTUN_REGISTER_RINGS *request = client_alloc(session->client, sizeof(*request));

    if (request == NULL)
        return STATUS_NO_MEMORY;
    *request = (WINTUN_REGISTER_RINGS){
        .ToUser = {.RingSize = session->to_user.capacity + WINTUN_RING_OVERHEAD,
                   .Ring = (uintptr_t)session->to_user.ring,
                   .TailMoved = session->to_user.event},
        .ToStack = {.RingSize = session->to_stack.capacity + WINTUN_RING_OVERHEAD,
                    .Ring = (uintptr_t)session->to_stack.ring,
                    .TailMoved = session->to_stack.event},
    };
    const client_status status = client_control(session->client, file, WINTUN_IOCTL_REGISTER_RINGS,
                                                request, sizeof(*request), NULL, 0, NULL);
    client_free(session->client, request, sizeof(*request));
    return status;
}

client_status ring_open(struct client *client, client_handle file, const struct ring_config *config,
                        struct ring_session **result)
{
    const uint32_t user = config != NULL && config->to_user_capacity != 0 ? config->to_user_capacity
                                                                          : DEFAULT_CAPACITY;
    const uint32_t stack = config != NULL && config->to_stack_capacity != 0
                               ? config->to_stack_capacity
                               : DEFAULT_CAPACITY;
    struct ring_session *session = calloc(1, sizeof(*session));

    *result = NULL;
    if (session == NULL)
        return STATUS_NO_MEMORY;
    session->client = client;
    session->memory_bytes = (size_t)user + stack + (size_t)2 * WINTUN_RING_OVERHEAD;
    session->memory = client_alloc(client, session->memory_bytes);
    if (session->memory == NULL) {
        free(session);
        return STATUS_NO_MEMORY;
    }
    /* The second ring directly after the first: aligned to 4 only, as existing programs have it. */
    client_status status = half_init(client, &session->to_user, session->memory, user);
    if (status >= 0)
        status = half_init(client, &session->to_stack,
                           session->memory + user + WINTUN_RING_OVERHEAD, stack);
    if (status >= 0)
        status = register_rings(session, file);
    if (status < 0) {
        ring_close(session);
        return status;
    }
    *result = session;
    return status;
}

void ring_close(struct ring_session *session)
{
    if (session == NULL)
        return;
    if (session->to_user.event != 0)
        client_close(session->client, session->to_user.event);
    if (session->to_stack.event != 0)
        client_close(session->client, session->to_stack.event);
    client_free(session->client, session->memory, session->memory_bytes);
    free(session);
}

void *ring_to_user(struct ring_session *session)
{
    return session->to_user.ring;
}

void *ring_to_stack(struct ring_session *session)
{
    return session->to_stack.ring;
}

client_handle ring_to_user_event(struct ring_session *session)
{
    return session->to_user.event;
}

client_handle ring_to_stack_event(struct ring_session *session)
{
    return session->to_stack.event;
}
