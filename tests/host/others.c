/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Adapters that others could have written (drivers/frames.c, drivers/bundle4.c) run as they would
 * on Windows: traffic both ways, pause and restart, requests, removal and unloading in the middle
 * of it. Issue 2, section 3: "this host has to run virtual miniports written by others".
 */
#include "scenario.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { ROOM = 0x10000, ADAPTERS = 2, LARGEST = 1500 };

/* Which of the two, and how a packet lies in a read or a write. */
struct make {
    const char *driver, *path;
    unsigned header; /* bytes before the packet's own */
    bool is_bundle;
};
static const struct make makes[] = {
    {"frames", "\\\\.\\Frames%s", 14, false},
    {"bundle4", "\\\\.\\Bundle4%s", 0, true},
};
enum { MAKES = 2 };

#ifdef NTH_ASAN
static const char *const variants[] = {"asan", "gnu-O0"};
#elif defined(NTH_TSAN)
static const char *const variants[] = {"tsan", "gnu-O2"};
#else
static const char *const variants[] = {"gnu-O0", "gnu-O2", "msvc-O0", "msvc-O2"};
#endif
enum { VARIANTS = sizeof(variants) / sizeof(variants[0]) };

struct line {
    const struct make *make;
    struct nth_device *device;
    struct nth_adapter *adapter;
    struct nth_mem *mem;
    struct client *client;
    client_handle file, other; /* one to read, one to write */
    uint8_t *in, *out;
    _Atomic uint32_t written, refused, read;
    _Atomic uint32_t sent;
    _Atomic bool stop;
};

static struct nth_driver *driver;
static uint32_t most; /* packets each way: a schedule may let one thread run for very long */
static struct line lines[ADAPTERS];

/* ---- packets: their number, then bytes that follow from it ---- */

static uint32_t packet_bytes(uint32_t number)
{
    return 40 + (number * 2654435761U >> 8) % (LARGEST - 40);
}

static uint8_t packet_byte(uint32_t number, uint32_t at)
{
    return (uint8_t)(number * 31 + at * 7);
}

/* A frame or a packet as the adapter carries it; its length. */
static uint32_t make_packet(const struct make *make, uint8_t *to, uint32_t number)
{
    const uint32_t bytes = packet_bytes(number);

    memset(to, 2, make->header);
    if (make->header) { /* Ethernet: type IPv4 */
        to[12] = 0x08;
        to[13] = 0x00;
        to += make->header;
    }
    for (uint32_t i = 0; i < bytes; i++)
        to[i] = packet_byte(number, i);
    to[0] = 0x45;
    memcpy(to + 4, &number, 4);
    return make->header + bytes;
}

/* What was made so; answers its number. */
static uint32_t check_made(const struct make *make, const uint8_t *data, size_t bytes)
{
    static __thread uint8_t expected[ROOM];
    uint32_t number;

    CHECK(bytes >= make->header + 8);
    memcpy(&number, data + make->header + 4, 4);
    CHECK_EQ(bytes, make->header + packet_bytes(number));
    make_packet(make, expected, number);
    CHECK_MEM(data, expected, bytes);
    return number;
}

/* ---- the machine ---- */

static void plug(struct line *line, const struct make *make, unsigned n)
{
    static const char *const keys[] = {"NetworkAddress=02-11-22-33-44-55", NULL};
    const struct nth_device_config config = {.keys = n == 1 ? keys : NULL};
    char path[128];

    memset(line, 0, sizeof(*line));
    line->make = make;
    CHECK_STATUS(nth_plug(driver, &config, &line->device), STATUS_SUCCESS);
    line->adapter = nth_adapter_of(line->device);
    line->mem = nth_mem_attach(line->adapter);
    line->client = program(CLIENT_SYSTEM);
    snprintf(path, sizeof(path), make->path, nth_device_net_cfg_id(line->device));
    CHECK_STATUS(client_open(line->client, path, CLIENT_READ | CLIENT_WRITE, &line->file), 0);
    CHECK_STATUS(client_open(line->client, path, CLIENT_READ | CLIENT_WRITE, &line->other), 0);
    line->in = program_alloc(line->client, ROOM);
    line->out = program_alloc(line->client, ROOM);
}

static void load(const struct nth_config *config, const struct make *make, const char *variant)
{
    char path[128];

    nth_boot(config);
    snprintf(path, sizeof(path), "out/drivers/%s/%s.sys", variant, make->driver);
    CHECK_STATUS(nth_driver_load(path, make->driver, &driver), STATUS_SUCCESS);
    for (unsigned i = 0; i < ADAPTERS; i++)
        plug(&lines[i], make, i);
}

/* The adapters have gone; their files are still open and keep the image. */
static void finish(void)
{
    CHECK_STATUS(nth_driver_unload(driver), STATUS_PENDING);
    for (int i = 0; i < ADAPTERS; i++) {
        CHECK_STATUS(client_close(lines[i].client, lines[i].file), 0);
        CHECK_STATUS(client_close(lines[i].client, lines[i].other), 0);
        client_destroy(lines[i].client);
    }
    nth_shutdown();
}

static void unplug(struct line *line, bool is_surprise)
{
    if (is_surprise)
        nth_surprise_remove(line->device);
    else
        CHECK_STATUS(nth_unplug(line->device), STATUS_SUCCESS);
}

/* ---- one packet ---- */

static client_status write_one(struct line *line, uint32_t number)
{
    const uint32_t record = line->make->is_bundle ? 4 : 0;
    const uint32_t bytes = make_packet(line->make, line->out + record, number);

    if (record)
        memcpy(line->out, &bytes, 4);
    return client_write(line->client, line->other, line->out,
                        record ? (record + bytes + 3) & ~3U : bytes, NULL);
}

/* Sends one and waits for its completion. */
static NDIS_STATUS send_one(struct line *line, uint32_t number)
{
    const size_t cuts[] = {number % 41, 3};
    const struct nth_shape shape = {.offset = number % 5, .cuts = cuts, .cut_count = number % 3};
    struct nth_chain *chain = nth_chain_create(line->mem);
    uint8_t packet[LARGEST + 64];

    nth_chain_packet(chain, packet, make_packet(line->make, packet, number), &shape);
    nth_chain_send(chain, 0);
    CHECK(nth_chain_wait(chain, NEVER));
    CHECK(nth_chain_altered(chain) == NULL);
    const NDIS_STATUS status = nth_chain_status(chain, 0);
    nth_chain_destroy(chain);
    return status;
}

/* How many packets are in what was read; their numbers rise. */
static uint32_t check_read(const struct line *line, uint32_t got, uint32_t *last)
{
    uint32_t count = 0;

    for (uint32_t at = 0; at < got; count++) {
        uint32_t bytes = got;
        if (line->make->is_bundle) {
            CHECK(got - at >= 4);
            memcpy(&bytes, line->in + at, 4);
            at += 4;
        }
        CHECK(bytes <= got - at);
        const uint32_t number = check_made(line->make, line->in + at, bytes);
        CHECK(number > *last);
        *last = number;
        at += line->make->is_bundle ? (bytes + 3) & ~3U : bytes;
    }
    return count;
}

/* ---- threads ---- */

static void reader(void *context)
{
    struct line *line = context;
    uint32_t got = 0, last = 0;

    while (client_read(line->client, line->file, line->in, ROOM, &got) >= 0)
        line->read += check_read(line, got, &last);
}

static void writer(void *context)
{
    struct line *line = context;

    for (uint32_t number = 1; !line->stop && number <= most; number++)
        if (write_one(line, number) >= 0)
            line->written++;
        else
            line->refused++;
}

static void sender(void *context)
{
    struct line *line = context;

    for (uint32_t number = 1; !line->stop && number <= most && !nth_mem_is_detached(line->mem);
         number++)
        if (send_one(line, number) == NDIS_STATUS_SUCCESS)
            line->sent++;
}

static void asker(void *context)
{
    static uint8_t multicast[12] = {1, 0, 0x5E, 0, 0, 1, 1, 0, 0x5E, 0, 0, 2};
    struct line *line = context;
    ULONG filter = NDIS_PACKET_TYPE_DIRECTED;

    for (int i = 0; !line->stop && i < 20; i++) {
        CHECK_STATUS(nth_set(line->adapter, OID_GEN_CURRENT_PACKET_FILTER, &filter, 4), 0);
        if (!line->make->is_bundle)
            CHECK_STATUS(nth_set(line->adapter, 0x01010103 /* multicast list */, multicast, 12), 0);
    }
}

static void check_received(struct line *line)
{
    uint32_t last = 0;

    for (unsigned i = 0; i < nth_mem_count(line->mem); i++) {
        const struct nth_packet *p = nth_mem_packet(line->mem, i);
        const uint32_t number = check_made(line->make, p->data, p->bytes);
        CHECK(number > last);
        last = number;
    }
    CHECK(nth_mem_count(line->mem) <= line->written);
}

/* ---- traffic while everything happens ---- */

enum end { UNPLUG, SURPRISE };

static void traffic(const struct nth_config *config, const struct make *make, const char *variant,
                    enum end end)
{
    struct crew crew = {0}, askers = {0};
    const bool is_serial = config->mode == NTH_SERIAL;
    const unsigned rounds = is_serial ? 3 : 20;

    most = is_serial ? 150 : UINT32_MAX;

    load(config, make, variant);
    for (int i = 0; i < ADAPTERS; i++) {
        crew_start(&crew, "reader", reader, &lines[i]);
        crew_start(&crew, "writer", writer, &lines[i]);
        crew_start(&crew, "sender", sender, &lines[i]);
        crew_start(&askers, "asker", asker, &lines[i]);
    }
    for (unsigned round = 0; round < rounds; round++)
        for (int i = 0; i < ADAPTERS; i++) {
            const uint32_t before = nth_mem_count(lines[i].mem);
            CHECK_STATUS(nth_pause(lines[i].adapter), NDIS_STATUS_SUCCESS);
            CHECK_EQ(nth_adapter_state(lines[i].adapter), NTH_PAUSED);
            CHECK_STATUS(nth_restart(lines[i].adapter), NDIS_STATUS_SUCCESS);
            if (!is_serial)
                CHECK(nth_mem_wait(lines[i].mem, before + 3, NEVER) >= before + 3);
        }
    crew_join(&askers);
    for (int i = 0; i < ADAPTERS; i++) {
        unplug(&lines[i], end == SURPRISE);
        lines[i].stop = true;
    }
    crew_join(&crew);
    for (int i = 0; i < ADAPTERS; i++) {
        check_received(&lines[i]);
        CHECK(lines[i].read <= lines[i].sent);
        CHECK(nth_mem_is_detached(lines[i].mem));
        nth_mem_close(lines[i].mem);
    }
    finish();
}

static void serial(uint32_t seed)
{
    traffic(SERIAL(seed), &makes[seed % MAKES], variants[seed / MAKES % VARIANTS],
            seed / 3 % 2 ? SURPRISE : UNPLUG);
}

TEST(others_run_under_any_schedule)
{
    /* "Miniport Adapter States and Operations"; MiniportPause: "must wait for NDIS to return all";
     * NdisMOidRequestComplete: one request after the other */
#if defined(NTH_ASAN) || defined(NTH_TSAN)
    scenario_seeds(1, 12, serial);
#else
    scenario_seeds(1, 48, serial);
#endif
}

static int parallel(unsigned number)
{
    traffic(PARALLEL, &makes[number % MAKES], variants[number / MAKES % VARIANTS],
            number / 3 % 2 ? SURPRISE : UNPLUG);
    return 0;
}

TEST(others_run_on_several_processors)
{
    /* the same with real concurrency */
    for (unsigned i = 0; i < 2 * VARIANTS * MAKES / (VARIANTS > 2 ? 1 : 2); i++)
        CHECK_EQ(scenario_apart(parallel, i), 0);
}

/* ---- one thing at a time ---- */

static void carry_everything(const struct make *make, const char *variant)
{
    uint32_t got = 0;

    load(SERIAL(1), make, variant);
    for (int i = 0; i < ADAPTERS; i++)
        for (uint32_t number = 1; number <= 40; number++) {
            struct line *line = &lines[i];
            CHECK_STATUS(write_one(line, number), 0);
            CHECK_EQ(nth_mem_wait(line->mem, number, NEVER), number);
            const struct nth_packet *p = nth_mem_packet(line->mem, number - 1);
            CHECK_EQ(check_made(make, p->data, p->bytes), number);
        }
    for (int i = 0; i < ADAPTERS; i++) {
        struct crew crew = {0};
        crew_start(&crew, "reader", reader, &lines[i]);
        for (uint32_t number = 1; number <= 40; number++)
            CHECK_STATUS(send_one(&lines[i], number), NDIS_STATUS_SUCCESS);
        nth_settle();
        CHECK_EQ(lines[i].read, 40);
        unplug(&lines[i], false);
        crew_join(&crew);
        nth_mem_close(lines[i].mem);
        CHECK(client_read(lines[i].client, lines[i].file, lines[i].in, ROOM, &got) < 0);
        CHECK(write_one(&lines[i], 1) < 0);
    }
    finish();
}

static int carry_number(unsigned number)
{
    carry_everything(&makes[number % MAKES], variants[number / MAKES]);
    return 0;
}

TEST(others_carry_packets_both_ways_with_every_compiler)
{
    /* NdisMSendNetBufferListsComplete, NdisMIndicateReceiveNetBufferLists */
    for (unsigned i = 0; i < MAKES * VARIANTS; i++)
        CHECK_EQ(scenario_apart(carry_number, i), 0);
}

static _Atomic bool is_paused;

static void pauser(void *context)
{
    struct line *line = context;

    CHECK_STATUS(nth_pause(line->adapter), NDIS_STATUS_SUCCESS);
    is_paused = true;
}

TEST(frames_completes_its_pause_with_the_last_return)
{
    /* MiniportPause: "the driver returns NDIS_STATUS_PENDING ... must call NdisMPauseComplete after
     * the pause operation is complete" */
    struct crew crew = {0};

    load(SERIAL(1), &makes[0], variants[0]);
    nth_mem_hold(lines[0].mem, true);
    for (uint32_t number = 1; number <= 3; number++)
        CHECK_STATUS(write_one(&lines[0], number), 0);
    crew_start(&crew, "pauser", pauser, &lines[0]);
    nth_settle();
    CHECK_EQ(nth_adapter_state(lines[0].adapter), NTH_PAUSING);
    CHECK(write_one(&lines[0], 4) < 0);
    CHECK(nth_mem_return(lines[0].mem, 1));
    CHECK(nth_mem_return(lines[0].mem, 0));
    nth_settle();
    CHECK(!is_paused);
    CHECK(nth_mem_return(lines[0].mem, 2));
    crew_join(&crew);
    CHECK(is_paused);
    CHECK_EQ(nth_adapter_state(lines[0].adapter), NTH_PAUSED);
    for (int i = 0; i < ADAPTERS; i++) {
        unplug(&lines[i], false);
        nth_mem_close(lines[i].mem);
    }
    finish();
}

TEST(frames_takes_its_address_from_the_configuration)
{
    /* NdisReadNetworkAddress: "discards hyphens and converts each such pair into a single byte" */
    static const uint8_t configured[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};
    uint8_t address[6], permanent[6];
    ULONG written = 0;

    load(SERIAL(1), &makes[0], variants[0]);
    for (int i = 0; i < ADAPTERS; i++) {
        CHECK_STATUS(nth_query(lines[i].adapter, OID_802_3_CURRENT_ADDRESS, address, 6, &written),
                     NDIS_STATUS_SUCCESS);
        CHECK_STATUS(
            nth_query(lines[i].adapter, OID_802_3_PERMANENT_ADDRESS, permanent, 6, &written),
            NDIS_STATUS_SUCCESS);
        CHECK_EQ(permanent[1], 0x46);
        CHECK_MEM(address, i == 1 ? configured : permanent, 6);
        unplug(&lines[i], i == 1);
        nth_mem_close(lines[i].mem);
    }
    finish();
}

TEST(bundle4_gives_kept_lists_back_when_paused)
{
    /* MiniportPause: "must complete all outstanding send requests"; NDIS_STATUS_PAUSED */
    struct nth_chain *chain;
    uint8_t packet[LARGEST + 64];

    load(SERIAL(1), &makes[1], variants[0]);
    chain = nth_chain_create(lines[0].mem);
    for (uint32_t number = 1; number <= 5; number++) {
        nth_chain_list(chain, number == 3 ? &lines[0] : NULL);
        nth_chain_packet(chain, packet, make_packet(&makes[1], packet, number), NULL);
    }
    nth_chain_send(chain, 0);
    nth_settle();
    CHECK_EQ(nth_chain_completed(chain), 0);
    nth_cancel_sends(lines[0].adapter, &lines[0]);
    CHECK_EQ(nth_chain_completed(chain), 1);
    CHECK_STATUS(nth_pause(lines[0].adapter), NDIS_STATUS_SUCCESS);
    CHECK_EQ(nth_chain_completed(chain), 5);
    for (unsigned i = 0; i < 5; i++)
        CHECK_STATUS(nth_chain_status(chain, i),
                     i == 2 ? (NDIS_STATUS)0xC023000C /* send aborted */ : NDIS_STATUS_PAUSED);
    nth_chain_destroy(chain);
    for (int i = 0; i < ADAPTERS; i++) {
        unplug(&lines[i], false);
        nth_mem_close(lines[i].mem);
    }
    finish();
}
