/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.sys to programs that read and write bundles of packets (design 3.3): framing,
 * pending and cancelled reads, who shares a session, and what each refusal says.
 */
#include "scenario.h"

#include <stdlib.h>

enum { ROOM = 0x40000 };

/* A program with two handles and memory. */
struct files {
    struct scene scene;
    client_handle first, second; /* overlapped */
    uint8_t *in, *out;           /* ROOM bytes each */
    struct client_io *io;        /* 64 of them */
};

static void begin(struct files *f, const struct nth_config *config)
{
    scene_begin(&f->scene, config);
    f->first = port_open_overlapped(&f->scene.port, f->scene.admin, VIA_WINTUN);
    f->second = port_open_overlapped(&f->scene.port, f->scene.admin, VIA_WINTUN);
    f->in = program_alloc(f->scene.admin, ROOM);
    f->out = program_alloc(f->scene.admin, ROOM);
    f->io = program_alloc(f->scene.admin, 64 * sizeof(*f->io));
}

static uint32_t padded(uint32_t bytes)
{
    return (bytes + 15) & ~15U;
}

/* Appends a record at `at`; answers where the next begins. */
static uint32_t put(uint8_t *bundle, uint32_t at, const void *packet, uint32_t bytes)
{
    memset(bundle + at, 0, 16 + padded(bytes));
    memcpy(bundle + at, &bytes, 4);
    memcpy(bundle + at + 16, packet, bytes);
    return at + 16 + padded(bytes);
}

static client_status write_out(struct files *f, uint32_t bytes)
{
    uint32_t moved = 7;
    const client_status status = client_write(f->scene.admin, f->second, f->out, bytes, &moved);

    CHECK_EQ(moved, NT_SUCCESS(status) ? bytes : 0);
    return status;
}

/* A record in the program's buffer is this packet, zero bytes around it; answers the next. */
static uint32_t expect(const uint8_t *bundle, uint32_t at, const void *packet, uint32_t bytes)
{
    static const uint8_t zero[16];

    CHECK_MEM(bundle + at, &bytes, 4);
    CHECK_MEM(bundle + at + 4, zero, 12);
    CHECK_MEM(bundle + at + 16, packet, bytes);
    CHECK_MEM(bundle + at + 16 + bytes, zero, padded(bytes) - bytes);
    return at + 16 + padded(bytes);
}

static void read_begin(struct files *f, unsigned slot, uint8_t *buffer)
{
    f->io[slot] = (struct client_io){.event = f->io[slot].event};
    CHECK_STATUS(
        client_read_start(f->scene.admin, f->first, buffer, WINTUN_BUNDLE_MIN_READ, &f->io[slot]),
        STATUS_PENDING);
}

static client_status status_of(struct files *f, unsigned slot)
{
    return (client_status)(uint32_t)__atomic_load_n(&f->io[slot].status, __ATOMIC_ACQUIRE);
}

/* ---- writes ---- */

TEST(write_of_many_records_is_indicated_before_it_completes)
{
    /* design 3.3: "a write completes when its packets have been indicated" */
    struct files f;
    uint32_t at = 0;

    begin(&f, SERIAL(1));
    for (uint32_t i = 0; i < 100; i++)
        at = put(f.out, at, packet_of(40 + i * 13, 4 + i % 2 * 2, i), 40 + i * 13);
    CHECK_STATUS(write_out(&f, at), STATUS_SUCCESS);
    CHECK_EQ(nth_mem_count(f.scene.port.mem), 100);
    for (uint32_t i = 0; i < 100; i++)
        port_expect(&f.scene.port, i, packet_of(40 + i * 13, 4 + i % 2 * 2, i), 40 + i * 13);
    scene_end(&f.scene);
}

TEST(write_and_read_of_sizes_over_the_whole_range)
{
    /* design 3.3: record of 0 to 65535 bytes, padded to 16 */
    struct files f;
    unsigned seen = 0;

    begin(&f, SERIAL(0));
    for (uint32_t bytes = 0; bytes <= WINTUN_MAX_PACKET; bytes += bytes < 300 ? 1 : 241) {
        const uint8_t *packet = packet_of(bytes, 4, bytes);
        CHECK_STATUS(write_out(&f, put(f.out, 0, packet, bytes)), STATUS_SUCCESS);
        if (bytes >= 20)
            port_expect(&f.scene.port, seen++, packet, bytes);
        CHECK_STATUS(port_send(&f.scene.port, packet, bytes, NULL), NDIS_STATUS_SUCCESS);
        memset(f.in, 0xFF, WINTUN_BUNDLE_MIN_READ);
        uint32_t got = 0;
        CHECK_STATUS(client_read(f.scene.admin, f.first, f.in, WINTUN_BUNDLE_MIN_READ, &got), 0);
        CHECK_EQ(got, expect(f.in, 0, packet, bytes));
    }
    CHECK_EQ(port_counter(&f.scene.port, WintunToStackNotIp), 20);
    scene_end(&f.scene);
}

/* Two good records, spoilt by `spoil`, which answers the length to write. */
static void refused(uint32_t (*spoil)(uint8_t *bundle, uint32_t bytes))
{
    struct files f;

    begin(&f, SERIAL(1));
    uint32_t at = put(f.out, 0, packet_of(100, 4, 1), 100);
    at = put(f.out, at, packet_of(101, 6, 2), 101);
    CHECK_STATUS(write_out(&f, spoil(f.out, at)), STATUS_INVALID_PARAMETER);
    CHECK_EQ(nth_mem_count(f.scene.port.mem), 0);
    CHECK(!port_is_up(&f.scene.port)); /* what is refused begins no session */
    CHECK_EQ(port_counter(&f.scene.port, WintunToStackPackets), 0);
    at = put(f.out, 0, packet_of(100, 4, 1), 100);
    CHECK_STATUS(write_out(&f, at), STATUS_SUCCESS);
    CHECK_EQ(nth_mem_count(f.scene.port.mem), 1);
    scene_end(&f.scene);
}

#define REFUSED(name, statement)                                                                   \
    static uint32_t spoil_##name(uint8_t *bundle, uint32_t bytes)                                  \
    {                                                                                              \
        statement;                                                                                 \
        return bytes;                                                                              \
    }                                                                                              \
    TEST(write_with_##name##_delivers_nothing)                                                     \
    {                                                                                              \
        /* design 3.3: "a write is all or nothing in its framing" */                               \
        refused(spoil_##name);                                                                     \
    }

static void set32(uint8_t *bundle, uint32_t at, uint32_t value)
{
    memcpy(bundle + at, &value, 4);
}

REFUSED(second_size_too_large, set32(bundle, 128, 0x10000))
REFUSED(second_size_of_all_ones, set32(bundle, 128, UINT32_MAX))
REFUSED(second_record_beyond_the_end, set32(bundle, 128, 113))
REFUSED(first_reserved_word, set32(bundle, 132, 1))
REFUSED(second_reserved_word, set32(bundle, 136, 0x80000000))
REFUSED(third_reserved_word, set32(bundle, 140, 1))
REFUSED(last_padding_missing, bytes -= 11)
REFUSED(one_byte_missing, bytes--)
REFUSED(one_byte_too_many, bytes++)
REFUSED(half_a_header_at_the_end, bytes += 8)

TEST(write_of_a_packet_one_byte_too_long_delivers_nothing)
{
    /* wintun-abi.h: WINTUN_MAX_PACKET; here all of its bytes are there */
    struct files f;
    const uint32_t bytes = WINTUN_MAX_PACKET + 1;

    begin(&f, SERIAL(1));
    uint32_t at = put(f.out, 0, packet_of(60, 4, 1), 60);
    memcpy(f.out + at, &bytes, 4);
    CHECK_STATUS(write_out(&f, at + 16 + bytes), STATUS_INVALID_PARAMETER);
    CHECK_EQ(nth_mem_count(f.scene.port.mem), 0);
    scene_end(&f.scene);
}

TEST(write_of_what_is_not_ip_is_skipped_and_counted)
{
    /* design 3.3: "a well-framed record that isn't IP is skipped and counted" */
    struct files f;

    begin(&f, SERIAL(1));
    uint32_t at = put(f.out, 0, "", 0);
    at = put(f.out, at, packet_of(19, 4, 1), 19);
    at = put(f.out, at, packet_of(60, 4, 2), 60);
    at = put(f.out, at, "\x50 not IP, though long enough for it.........", 40);
    at = put(f.out, at, packet_of(60, 6, 3), 60);
    CHECK_STATUS(write_out(&f, at), STATUS_SUCCESS);
    CHECK_EQ(nth_mem_count(f.scene.port.mem), 2);
    port_expect(&f.scene.port, 0, packet_of(60, 4, 2), 60);
    port_expect(&f.scene.port, 1, packet_of(60, 6, 3), 60);
    CHECK_EQ(port_counter(&f.scene.port, WintunToStackNotIp), 3);
    scene_end(&f.scene);
}

TEST(write_longer_than_the_limit_is_refused)
{
    /* wintun-abi.h: WINTUN_BUNDLE_MAX_WRITE */
    struct files f;

    begin(&f, SERIAL(0));
    uint8_t *big = program_alloc(f.scene.admin, WINTUN_BUNDLE_MAX_WRITE + 16);
    CHECK_STATUS(client_write(f.scene.admin, f.first, big, WINTUN_BUNDLE_MAX_WRITE + 16, NULL),
                 STATUS_INVALID_PARAMETER);
    CHECK_STATUS(client_write(f.scene.admin, f.first, big, WINTUN_BUNDLE_MAX_WRITE, NULL),
                 STATUS_SUCCESS); /* a million records of nothing */
    CHECK_EQ(port_counter(&f.scene.port, WintunToStackNotIp), WINTUN_BUNDLE_MAX_WRITE / 16);
    scene_end(&f.scene);
}

/* ---- reads ---- */

TEST(read_buffer_too_small_for_any_packet_is_refused_at_once)
{
    /* design 3.3: "under 65,552 bytes is refused at once with STATUS_INVALID_PARAMETER" */
    struct files f;
    static const uint32_t sizes[] = {0, 1, 16, 1500, 65535, 65536, 65551};

    begin(&f, SERIAL(1));
    for (unsigned i = 0; i < 7; i++)
        CHECK_STATUS(client_read(f.scene.admin, f.first, f.in, sizes[i], NULL),
                     STATUS_INVALID_PARAMETER);
    CHECK(!port_is_up(&f.scene.port));
    read_begin(&f, 0, f.in); /* 65552 */
    CHECK(port_is_up(&f.scene.port));
    scene_end(&f.scene);
}

TEST(read_returns_as_many_whole_packets_as_fit)
{
    /* design 3.3: "as many whole packets as fit and at least one"; abi.md 1.4: never split */
    struct files f;

    begin(&f, SERIAL(1));
    read_begin(&f, 0, f.in); /* begins the session */
    CHECK_STATUS(port_send(&f.scene.port, packet_of(1000, 4, 0), 1000, NULL), 0);
    nth_settle();
    CHECK_STATUS(status_of(&f, 0), STATUS_SUCCESS);
    CHECK_EQ(f.io[0].transferred, expect(f.in, 0, packet_of(1000, 4, 0), 1000));
    for (uint32_t i = 0; i < 100; i++)
        CHECK_STATUS(port_send(&f.scene.port, packet_of(1000, 4, i), 1000, NULL), 0);
    uint32_t i = 0;
    while (i < 100) {
        uint32_t got = 0, at = 0;
        memset(f.in, 0xFF, ROOM);
        CHECK_STATUS(client_read(f.scene.admin, f.first, f.in, WINTUN_BUNDLE_MIN_READ, &got), 0);
        CHECK_EQ(got, (100 - i < 64 ? 100 - i : 64) * 1024); /* 64 records of 1024 fit in 65552 */
        while (at < got)
            at = expect(f.in, at, packet_of(1000, 4, i++), 1000);
        CHECK_EQ(f.in[got], 0xFF);
    }
    CHECK_STATUS(port_send(&f.scene.port, packet_of(0xFFFF, 4, 1), 0xFFFF, NULL), 0);
    uint32_t got = 0;
    CHECK_STATUS(client_read(f.scene.admin, f.first, f.in, WINTUN_BUNDLE_MIN_READ, &got), 0);
    CHECK_EQ(got, expect(f.in, 0, packet_of(0xFFFF, 4, 1), 0xFFFF));
    scene_end(&f.scene);
}

TEST(reads_that_pend_are_served_in_order)
{
    /* design 2.5: reads pend in a cancel-safe queue */
    struct files f;

    begin(&f, SERIAL(1));
    uint8_t *buffers = program_alloc(f.scene.admin, 3 * ROOM);
    for (unsigned i = 0; i < 3; i++)
        read_begin(&f, i, buffers + i * ROOM);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_STATUS(status_of(&f, i), STATUS_PENDING);
        CHECK_STATUS(port_send(&f.scene.port, packet_of(50 + i, 4, i), 50 + i, NULL), 0);
        nth_settle();
        CHECK_STATUS(status_of(&f, i), STATUS_SUCCESS);
        expect(buffers + i * ROOM, 0, packet_of(50 + i, 4, i), 50 + i);
    }
    CHECK_EQ(port_counter(&f.scene.port, WintunToUserSignals), 3);
    scene_end(&f.scene);
}

TEST(ring_behind_reads_that_is_full_drops_and_goes_on)
{
    /* design 3.3: the ToUser ring of a file session has capacity 0x100000 */
    struct files f;
    unsigned fit = 0, got_all = 0;

    begin(&f, SERIAL(0));
    CHECK_STATUS(write_out(&f, put(f.out, 0, packet_of(60, 4, 1), 60)), STATUS_SUCCESS);
    while (port_send(&f.scene.port, packet_of(8000, 4, fit), 8000, NULL) == NDIS_STATUS_SUCCESS)
        fit++;
    CHECK_EQ(fit, (0x100000 - 4) / 8004);
    while (got_all < fit) {
        uint32_t got = 0;
        CHECK_STATUS(client_read(f.scene.admin, f.first, f.in, ROOM, &got), STATUS_SUCCESS);
        for (uint32_t at = 0; at < got; got_all++)
            at = expect(f.in, at, packet_of(8000, 4, got_all), 8000);
    }
    CHECK_EQ(got_all, fit);
    CHECK_STATUS(port_send(&f.scene.port, packet_of(70, 4, 1), 70, NULL), NDIS_STATUS_SUCCESS);
    scene_end(&f.scene);
}

TEST(buffers_that_are_not_the_programs_own_are_refused)
{
    /* "Using Direct I/O": the I/O manager probes and locks; it raises what the driver never sees */
    struct files f;

    begin(&f, SERIAL(1));
    void *const bad[] = {(void *)0x10000, (void *)0xFFFFF80000000000};
    for (unsigned i = 0; i < 2; i++) {
        CHECK_STATUS(client_read(f.scene.admin, f.first, bad[i], WINTUN_BUNDLE_MIN_READ, NULL),
                     STATUS_ACCESS_VIOLATION);
        CHECK_STATUS(client_write(f.scene.admin, f.first, bad[i], 32, NULL),
                     STATUS_ACCESS_VIOLATION);
    }
    client_protect(f.scene.admin, f.in, ROOM, true, false);
    CHECK_STATUS(client_read(f.scene.admin, f.first, f.in, WINTUN_BUNDLE_MIN_READ, NULL),
                 STATUS_ACCESS_VIOLATION);
    put(f.out, 0, packet_of(60, 4, 1), 60);
    client_protect(f.scene.admin, f.out, ROOM, true, false); /* read-only is enough to write from */
    CHECK_STATUS(write_out(&f, 80), STATUS_SUCCESS);
    scene_end(&f.scene);
}

/* ---- cancelling ---- */

TEST(read_cancelled_while_pending_is_cancelled_alone)
{
    /* CancelIoEx; design 2.5: cancellable; lessons 0dac9b2: cancel-safe queue */
    struct files f;

    begin(&f, SERIAL(1));
    uint8_t *buffers = program_alloc(f.scene.admin, 3 * ROOM);
    for (unsigned i = 0; i < 3; i++)
        read_begin(&f, i, buffers + i * ROOM);
    CHECK_STATUS(client_cancel(f.scene.admin, f.first, &f.io[1]), STATUS_SUCCESS);
    nth_settle();
    CHECK_STATUS(status_of(&f, 0), STATUS_PENDING);
    CHECK_STATUS(status_of(&f, 1), STATUS_CANCELLED);
    CHECK_STATUS(port_send(&f.scene.port, packet_of(50, 4, 1), 50, NULL), NDIS_STATUS_SUCCESS);
    CHECK_STATUS(port_send(&f.scene.port, packet_of(51, 4, 1), 51, NULL), NDIS_STATUS_SUCCESS);
    nth_settle();
    CHECK_STATUS(status_of(&f, 0), STATUS_SUCCESS);
    CHECK_STATUS(status_of(&f, 2), STATUS_SUCCESS);
    expect(buffers + 2 * ROOM, 0, packet_of(51, 4, 1), 51);
    CHECK_STATUS(client_cancel(f.scene.admin, f.first, &f.io[0]), STATUS_NOT_FOUND);
    scene_end(&f.scene);
}

TEST(reads_are_all_cancelled_when_their_file_is_cleaned_up)
{
    /* IRP_MJ_CLEANUP: complete what is queued for the file; another file's reads stay */
    struct files f;

    begin(&f, SERIAL(1));
    uint8_t *buffers = program_alloc(f.scene.admin, 5 * ROOM);
    for (unsigned i = 0; i < 4; i++)
        read_begin(&f, i, buffers + i * ROOM);
    CHECK_STATUS(client_read_start(f.scene.admin, f.second, buffers + 4 * ROOM,
                                   WINTUN_BUNDLE_MIN_READ, &f.io[4]),
                 STATUS_PENDING);
    CHECK_STATUS(client_close(f.scene.admin, f.first), STATUS_SUCCESS);
    nth_settle();
    for (unsigned i = 0; i < 4; i++)
        CHECK_STATUS(status_of(&f, i), STATUS_CANCELLED);
    CHECK_STATUS(status_of(&f, 4), STATUS_PENDING);
    CHECK(port_is_up(&f.scene.port));
    CHECK_STATUS(port_send(&f.scene.port, packet_of(50, 4, 1), 50, NULL), NDIS_STATUS_SUCCESS);
    nth_settle();
    CHECK_STATUS(status_of(&f, 4), STATUS_SUCCESS);
    CHECK_STATUS(client_close(f.scene.admin, f.second), STATUS_SUCCESS);
    port_await_link(&f.scene.port, false);
    scene_end(&f.scene);
}

TEST(process_may_exit_with_reads_pending)
{
    /* lessons 6; the machine stops on an IRP that is never completed */
    struct files f;

    begin(&f, SERIAL(1));
    for (unsigned i = 0; i < 8; i++)
        read_begin(&f, i, f.in);
    client_destroy(f.scene.admin);
    port_await_link(&f.scene.port, false);
    f.scene.admin = program(CLIENT_ADMIN);
    scene_rings(&f.scene, VIA_WINTUN, NULL);
    scene_end(&f.scene);
}
