/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The edges that need no Linux device: packets built and verified (edge/ip.c) and the binding of
 * tests (edge/mem.c) against a miniport that gives every packet back. Checks the tools that other
 * tests rely on, so expected values are worked out here or come from RFCs, never from the tools.
 */
#include "check.h"
#include "edge/ip.h"
#include "edge/mem.h"

#include <stdlib.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define MIRROR "out/drivers/msvc-O2/mirror.sys"

/* ---- ip.c ---- */

TEST(sum_of_rfc1071_example_is_its_result)
{
    /* RFC 1071 section 3: 0001 f203 f4f5 f6f7 sums to ddf2 (folded) */
    static const uint8_t bytes[] = {0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7};

    CHECK_EQ(nth_ip_fold(nth_ip_sum(0, bytes, 8)), (uint16_t)~0xDDF2);
}

TEST(sum_of_odd_length_pads_with_zero)
{
    /* RFC 1071: "[Y,Z] +' [X,0]" for an odd number of bytes */
    static const uint8_t bytes[] = {0x12, 0x34, 0x56};

    CHECK_EQ(nth_ip_fold(nth_ip_sum(0, bytes, 3)), (uint16_t)~(0x1234 + 0x5600));
}

TEST(echo_is_what_linux_ping_sends)
{
    /* RFC 791 and 792, laid out and summed by hand */
    static const uint8_t expected[] = {0x45, 0,    0,    30,   0, 0, 0x40, 0, 64,   1,
                                       0x26, 0xDD, 10,   0,    0, 1, 10,   0, 0,    2,
                                       8,    0,    0xB5, 0x90, 0, 7, 0,    1, 0x42, 0x67};
    struct nth_ip_flow flow;
    uint8_t packet[64];

    CHECK_EQ(nth_ip_flow(&flow, "10.0.0.1", 7, "10.0.0.2", 0), 0);
    CHECK_EQ(
        nth_ip_echo(packet, sizeof(packet), &flow, &(struct nth_ip_echo){false, 1}, "\x42\x67", 2),
        sizeof(expected));
    CHECK_MEM(packet, expected, sizeof(expected));
}

TEST(udp_over_ipv6_is_laid_out_by_hand)
{
    /* RFC 8200 and 768: next header 17, length twice, checksum over the pseudo header */
    struct nth_ip_flow flow;
    uint8_t packet[64];

    CHECK_EQ(nth_ip_flow(&flow, "fd00::1", 0x1234, "fd00::2", 0x5678), 0);
    CHECK_EQ(nth_ip_udp(packet, sizeof(packet), &flow, "ab", 2), 50);
    CHECK_EQ(packet[0], 0x60);
    CHECK_EQ(packet[5], 10);
    CHECK_EQ(packet[6], 17);
    CHECK_EQ(packet[40] << 8 | packet[41], 0x1234);
    CHECK_EQ(packet[44] << 8 | packet[45], 10);
    /* fd00+1 + fd00+2 + 17 + 10 + 1234 + 5678 + 10 + 6162 */
    uint32_t sum = 0xFD00 + 1 + 0xFD00 + 2 + 17 + 10 + 0x1234 + 0x5678 + 10 + 0x6162;
    sum = (sum & 0xFFFF) + (sum >> 16);
    CHECK_EQ(packet[46] << 8 | packet[47], (uint16_t)~sum);
}

TEST(udp_checksum_zero_is_sent_as_all_ones)
{
    /* RFC 768: "If the computed checksum is zero, it is transmitted as all ones" */
    struct nth_ip_flow flow;
    uint8_t packet[64], payload[2] = {0, 0};

    CHECK_EQ(nth_ip_flow(&flow, "0.0.0.0", 0, "0.0.0.0", 0), 0);
    const uint32_t others = 17 + 10 + 10; /* protocol, and the length twice */
    payload[0] = (uint8_t)((0xFFFF - others) >> 8);
    payload[1] = (uint8_t)(0xFFFF - others);
    CHECK_EQ(nth_ip_udp(packet, sizeof(packet), &flow, payload, 2), 30);
    CHECK_EQ(packet[26] << 8 | packet[27], 0xFFFF);
    CHECK(!nth_ip_verify(packet, 30, NULL));
}

TEST(verify_takes_what_the_builders_make)
{
    /* both directions of this file over every size class and both versions */
    static uint8_t packet[NTH_IP_MAX];

    for (int version = 4; version <= 6; version += 2)
        for (size_t bytes = version == 4 ? 20 : 40; bytes <= NTH_IP_MAX;
             bytes += bytes < 200 ? 1 : 997) {
            nth_ip_make(packet, bytes, version, (uint32_t)bytes);
            const char *wrong = nth_ip_verify(packet, bytes, NULL);
            if (wrong)
                check_fail(__FILE__, __LINE__, "IPv%d of %zu bytes: %s", version, bytes, wrong);
        }
}

TEST(verify_sees_every_changed_bit_that_a_checksum_covers)
{
    /* RFC 1071: any change of one bit changes the sum. Not covered: IPv6's traffic class, flow
     * label and hop limit. */
    struct nth_ip_flow flow;
    uint8_t packet[128];

    for (int version = 4; version <= 6; version += 2) {
        CHECK_EQ(nth_ip_flow(&flow, version == 4 ? "10.0.0.1" : "fd00::1", 1,
                             version == 4 ? "10.0.0.2" : "fd00::2", 2),
                 0);
        const size_t bytes = nth_ip_tcp(packet, sizeof(packet), &flow,
                                        &(struct nth_ip_tcp){1, 2, NTH_TCP_ACK, 3}, "payload", 7);
        for (size_t bit = version == 4 ? 0 : 32; bit < bytes * 8; bit++) {
            if (version == 6 && bit >= 48 && bit < 64)
                continue;
            packet[bit / 8] ^= (uint8_t)(1 << (bit & 7));
            if (!nth_ip_verify(packet, bytes, NULL))
                check_fail(__FILE__, __LINE__, "IPv%d: bit %zu", version, bit);
            packet[bit / 8] ^= (uint8_t)(1 << (bit & 7));
        }
    }
}

TEST(verify_reads_no_further_than_it_was_told)
{
    /* lengths in packets are the sender's claims; a guard byte behind would be read under ASan */
    static const uint8_t claims[][8] = {
        {0x45, 0, 0xFF, 0xFF}, {0x4F, 0, 0, 8}, {0x60, 0, 0, 0, 0xFF, 0xFF, 17, 1}, {0}};

    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++)
        for (size_t bytes = 0; bytes <= 8; bytes++) {
            uint8_t *packet = malloc(bytes ? bytes : 1);
            memcpy(packet, claims[i], bytes);
            CHECK(nth_ip_verify(packet, bytes, NULL) != NULL);
            free(packet);
        }
}

TEST(builders_refuse_what_does_not_fit)
{
    /* RFC 791: the total length has 16 bits */
    static uint8_t packet[NTH_IP_MAX + 100], payload[NTH_IP_MAX];
    struct nth_ip_flow flow;

    CHECK_EQ(nth_ip_flow(&flow, "10.0.0.1", 1, "10.0.0.2", 2), 0);
    CHECK_EQ(nth_ip_udp(packet, sizeof(packet), &flow, payload, NTH_IP_MAX - 28), NTH_IP_MAX);
    CHECK_EQ(nth_ip_udp(packet, sizeof(packet), &flow, payload, NTH_IP_MAX - 27), 0);
    CHECK_EQ(nth_ip_udp(packet, 29, &flow, payload, 2), 0);
    CHECK(nth_ip_flow(&flow, "10.0.0.1", 1, "fd00::1", 2) != 0);
}

/* ---- mem.c ---- */

static struct nth_driver *driver;
static struct nth_device *device;

static struct nth_mem *begin(void)
{
    nth_boot(&(struct nth_config){.mode = NTH_SERIAL, .seed = 1});
    CHECK_STATUS(nth_driver_load(MIRROR, "mirror", &driver), STATUS_SUCCESS);
    CHECK_STATUS(nth_plug(driver, NULL, &device), STATUS_SUCCESS);
    return nth_mem_attach(nth_adapter_of(device));
}

static void end(struct nth_mem *mem)
{
    nth_mem_close(mem);
    nth_shutdown();
}

/* Sends one packet in one shape and expects it back, exchanged addresses and all. */
static void round_trip(struct nth_mem *mem, size_t bytes, const struct nth_shape *shape)
{
    uint8_t *packet = malloc(bytes);
    struct nth_ip_view sent, got;

    nth_ip_make(packet, bytes, 4, (uint32_t)bytes);
    nth_mem_clear(mem);
    struct nth_chain *chain = nth_chain_create(mem);
    nth_chain_packet(chain, packet, bytes, shape);
    nth_chain_send(chain, 0);
    CHECK(nth_chain_wait(chain, SECOND));
    CHECK_STATUS(nth_chain_status(chain, 0), NDIS_STATUS_SUCCESS);
    CHECK(!nth_chain_altered(chain));
    nth_chain_destroy(chain);
    CHECK_EQ(nth_mem_wait(mem, 1, SECOND), 1);
    const struct nth_packet *back = nth_mem_packet(mem, 0);
    CHECK_EQ(back->bytes, bytes);
    CHECK_EQ(back->frame_type, 0x0800);
    CHECK(!nth_ip_verify(packet, bytes, &sent));
    CHECK(!nth_ip_verify(back->data, bytes, &got));
    CHECK_MEM(got.flow.source, sent.flow.target, 4);
    CHECK_MEM(got.payload, sent.payload, sent.payload_bytes);
    free(packet);
}

TEST(packet_in_one_mdl_comes_back)
{
    /* "NET_BUFFER structure": data is what lies from the offset on in the MDL chain */
    struct nth_mem *mem = begin();

    round_trip(mem, 28, NULL);
    round_trip(mem, 1500, NULL);
    round_trip(mem, 65535, NULL);
    end(mem);
}

TEST(packet_cut_anywhere_comes_back)
{
    /* "NET_BUFFER structure": a packet may lie in any number of MDLs, CurrentMdl and
     * CurrentMdlOffset say where it begins */
    struct nth_mem *mem = begin();

    for (size_t first = 1; first < 40; first++)
        for (size_t offset = 0; offset < 24; offset += 7) {
            const size_t cuts[] = {first, 3, 1};
            const struct nth_shape shape = {
                .offset = offset, .tail = 5, .cuts = cuts, .cut_count = 3};
            round_trip(mem, 64, &shape);
        }
    end(mem);
}

TEST(several_lists_and_buffers_come_back_each)
{
    /* "MINIPORT_SEND_NET_BUFFER_LISTS": a chain of lists, each with a chain of buffers */
    struct nth_mem *mem = begin();
    struct nth_chain *chain = nth_chain_create(mem);
    uint8_t packet[100];

    for (unsigned i = 0; i < 6; i++) {
        if (i % 2 == 0)
            nth_chain_list(chain, NULL);
        nth_ip_make(packet, 50 + i, i % 2 ? 6 : 4, i);
        nth_chain_packet(chain, packet, 50 + i, NULL);
    }
    CHECK_EQ(nth_chain_lists(chain), 3);
    nth_chain_send(chain, 0);
    CHECK(nth_chain_wait(chain, SECOND));
    CHECK(!nth_chain_altered(chain));
    CHECK_EQ(nth_mem_wait(mem, 6, SECOND), 6);
    for (unsigned i = 0; i < 6; i++) {
        CHECK_EQ(nth_mem_packet(mem, i)->bytes, 50 + i);
        CHECK_EQ(nth_mem_packet(mem, i)->frame_type, i % 2 ? 0x86DD : 0x0800);
    }
    nth_chain_destroy(chain);
    end(mem);
}

TEST(held_lists_go_back_one_by_one_or_together)
{
    /* "MINIPORT_RETURN_NET_BUFFER_LISTS": the lists of one indication need not return together */
    struct nth_mem *mem = begin();

    nth_mem_hold(mem, true);
    for (unsigned i = 0; i < 3; i++) {
        struct nth_chain *chain = nth_chain_create(mem);
        uint8_t packet[60];
        nth_ip_make(packet, sizeof(packet), 4, i);
        nth_chain_packet(chain, packet, sizeof(packet), NULL);
        nth_chain_send(chain, 0);
        CHECK(nth_chain_wait(chain, SECOND));
        nth_chain_destroy(chain);
    }
    CHECK_EQ(nth_mem_wait(mem, 3, SECOND), 3);
    CHECK(nth_mem_return(mem, 1));
    CHECK(!nth_mem_return(mem, 1));
    CHECK(nth_mem_packet(mem, 0)->list != NULL);
    nth_mem_return_all(mem);
    CHECK(nth_mem_packet(mem, 0)->list == NULL);
    end(mem); /* the machine stops if the driver were left with a list */
}

TEST(adapter_that_goes_takes_held_lists_along)
{
    /* "ProtocolUnbindAdapterEx": a protocol returns what it holds before it lets go */
    struct nth_mem *mem = begin();
    struct nth_chain *chain = nth_chain_create(mem);
    uint8_t packet[60];

    nth_mem_hold(mem, true);
    nth_ip_make(packet, sizeof(packet), 4, 1);
    nth_chain_packet(chain, packet, sizeof(packet), NULL);
    nth_chain_send(chain, 0);
    CHECK(nth_chain_wait(chain, SECOND));
    nth_chain_destroy(chain);
    CHECK_STATUS(nth_unplug(device), STATUS_SUCCESS);
    CHECK(nth_mem_is_detached(mem));
    end(mem);
}

TEST(send_while_paused_completes_as_paused)
{
    /* "Miniport Adapter States and Operations": NDIS does not hand sends to a paused miniport */
    struct nth_mem *mem = begin();
    struct nth_chain *chain = nth_chain_create(mem);
    uint8_t packet[60];

    nth_ip_make(packet, sizeof(packet), 4, 1);
    nth_chain_packet(chain, packet, sizeof(packet), NULL);
    CHECK_STATUS(nth_pause(nth_adapter_of(device)), NDIS_STATUS_SUCCESS);
    nth_chain_send(chain, 0);
    CHECK(nth_chain_wait(chain, SECOND));
    CHECK_STATUS(nth_chain_status(chain, 0), NDIS_STATUS_PAUSED);
    nth_chain_destroy(chain);
    CHECK_STATUS(nth_restart(nth_adapter_of(device)), NDIS_STATUS_SUCCESS);
    round_trip(mem, 60, NULL);
    end(mem);
}

static void flip(struct nth_chain *chain)
{
    NET_BUFFER *buffer = NET_BUFFER_LIST_FIRST_NB(nth_chain_nbl(chain, 0));
    uint8_t *data = MmGetMdlVirtualAddress(NET_BUFFER_FIRST_MDL(buffer));

    data[30] ^= 1;
}

TEST(altered_names_bytes_that_changed)
{
    /* the tool's own promise: it does not call an altered chain whole */
    struct nth_mem *mem = begin();
    struct nth_chain *chain = nth_chain_create(mem);
    uint8_t packet[60];

    nth_ip_make(packet, sizeof(packet), 4, 1);
    nth_chain_packet(chain, packet, sizeof(packet), NULL);
    nth_chain_send(chain, 0);
    CHECK(nth_chain_wait(chain, SECOND));
    CHECK(!nth_chain_altered(chain));
    flip(chain);
    CHECK_STR(nth_chain_altered(chain), "bytes of a packet");
    nth_chain_destroy(chain);
    end(mem);
}
