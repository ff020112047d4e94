/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.sys about OID requests and statistics (abi.md 4.4, 4.5): every OID it
 * advertises, asked in the right and in wrong ways, at every NDIS version that changes something.
 */
#include "scenario.h"

static const uint32_t versions[] = {0x60014, 0x6001E, 0x60032, 0x60050, 0x60053, 0x60055, 0x60059};
enum { VERSIONS = 7 };

static struct scene scene;

static void at_version(unsigned index)
{
    scene_begin(&scene, &(const struct nth_config){
                            .mode = NTH_SERIAL, .seed = 1, .ndis_version = versions[index]});
}

/* At each version in turn. */
static void each_version(void (*run)(void))
{
    for (unsigned i = 0; i < VERSIONS; i++) {
        at_version(i);
        run();
        scene_end(&scene);
    }
}

struct answer {
    NDIS_STATUS status;
    ULONG moved, needed; /* BytesWritten or BytesRead, and BytesNeeded */
    uint8_t bytes[512] __attribute__((aligned(16)));
};

static struct answer ask(NDIS_REQUEST_TYPE type, NDIS_OID oid, const void *data, ULONG bytes)
{
    struct answer a = {.moved = 0xAAAA, .needed = 0xAAAA};
    NDIS_OID_REQUEST request = {.Header = {.Type = NDIS_OBJECT_TYPE_OID_REQUEST,
                                           .Revision = NDIS_OID_REQUEST_REVISION_1,
                                           .Size = NDIS_SIZEOF_OID_REQUEST_REVISION_1},
                                .RequestType = type};

    memset(a.bytes, 0xAB, sizeof(a.bytes));
    if (data)
        memcpy(a.bytes, data, bytes);
    if (type == NdisRequestSetInformation) {
        request.DATA.SET_INFORMATION.Oid = oid;
        request.DATA.SET_INFORMATION.InformationBuffer = a.bytes;
        request.DATA.SET_INFORMATION.InformationBufferLength = bytes;
    } else {
        request.DATA.QUERY_INFORMATION.Oid = oid;
        request.DATA.QUERY_INFORMATION.InformationBuffer = a.bytes;
        request.DATA.QUERY_INFORMATION.InformationBufferLength = bytes;
    }
    a.status = nth_oid(scene.port.adapter, &request);
    if (type == NdisRequestSetInformation) {
        a.moved = request.DATA.SET_INFORMATION.BytesRead;
        a.needed = request.DATA.SET_INFORMATION.BytesNeeded;
    } else {
        a.moved = request.DATA.QUERY_INFORMATION.BytesWritten;
        a.needed = request.DATA.QUERY_INFORMATION.BytesNeeded;
    }
    return a;
}

static struct answer query(NDIS_OID oid, ULONG bytes)
{
    return ask(NdisRequestQueryInformation, oid, NULL, bytes);
}

/* ---- constants ---- */

static void constants(void)
{
    static const struct {
        NDIS_OID oid;
        uint32_t value;
    } all[] = {
        {OID_GEN_MAXIMUM_TOTAL_SIZE, 65535},       {OID_GEN_TRANSMIT_BUFFER_SPACE, 0x4000000},
        {OID_GEN_RECEIVE_BUFFER_SPACE, 0x4000000}, {OID_GEN_TRANSMIT_BLOCK_SIZE, 65535},
        {OID_GEN_RECEIVE_BLOCK_SIZE, 65535},       {OID_GEN_VENDOR_ID, 0x00FFFFFF}};

    for (unsigned i = 0; i < 6; i++) {
        for (ULONG bytes = 0; bytes < 4; bytes++) {
            const struct answer a = query(all[i].oid, bytes);
            CHECK_STATUS(a.status, NDIS_STATUS_BUFFER_TOO_SHORT);
            CHECK_EQ(a.moved, 0);
            CHECK_EQ(a.needed, 4);
            CHECK_EQ(a.bytes[0], 0xAB);
        }
        for (ULONG bytes = 4; bytes < 10; bytes++) {
            const struct answer a = query(all[i].oid, bytes);
            CHECK_STATUS(a.status, NDIS_STATUS_SUCCESS);
            CHECK_EQ(a.moved, 4);
            CHECK_MEM(a.bytes, &all[i].value, 4);
            CHECK_EQ(a.bytes[4], 0xAB);
        }
    }
}

TEST(query_of_constants_answers_them_and_short_buffers_say_what_is_needed)
{
    /* abi.md 4.5: numbers; too short: BUFFER_TOO_SHORT, BytesWritten 0, BytesNeeded = needed */
    each_version(constants);
}

static void descriptions(void)
{
    struct answer a = query(OID_GEN_VENDOR_DESCRIPTION, 14);

    CHECK_STATUS(a.status, NDIS_STATUS_SUCCESS);
    CHECK_EQ(a.moved, 14);
    CHECK_STR((const char *)a.bytes, "Wintun Tunnel");
    a = query(OID_GEN_VENDOR_DESCRIPTION, 13);
    CHECK_STATUS(a.status, NDIS_STATUS_BUFFER_TOO_SHORT);
    CHECK_EQ(a.needed, 14);
    a = query(OID_GEN_VENDOR_DRIVER_VERSION, 4);
    CHECK_STATUS(a.status, NDIS_STATUS_SUCCESS);
    CHECK_EQ(*(uint32_t *)a.bytes, port_query(&scene.port).DriverVersion);
}

TEST(query_of_vendor_answers_name_and_version)
{
    /* abi.md 4.5: `Wintun Tunnel` with NUL, 14 bytes; (major << 16) | minor */
    each_version(descriptions);
}

static void moderation(void)
{
    struct answer a = query(OID_GEN_INTERRUPT_MODERATION, 12);
    const NDIS_INTERRUPT_MODERATION_PARAMETERS *p = (const void *)a.bytes;

    CHECK_STATUS(a.status, NDIS_STATUS_SUCCESS);
    CHECK_EQ(a.moved, 12);
    CHECK_EQ(p->Header.Type, NDIS_OBJECT_TYPE_DEFAULT);
    CHECK_EQ(p->Header.Revision, 1);
    CHECK_EQ(p->Header.Size, 12);
    CHECK_EQ(p->InterruptModeration, NdisInterruptModerationNotSupported);
    CHECK_STATUS(query(OID_GEN_INTERRUPT_MODERATION, 11).status, NDIS_STATUS_BUFFER_TOO_SHORT);
    CHECK_STATUS(ask(NdisRequestSetInformation, OID_GEN_INTERRUPT_MODERATION, a.bytes, 12).status,
                 NDIS_STATUS_INVALID_DATA);
}

TEST(interrupt_moderation_is_not_supported)
{
    /* abi.md 4.5; OID_GEN_INTERRUPT_MODERATION */
    each_version(moderation);
}

/* ---- counters ---- */

static void traffic(unsigned sent, unsigned received)
{
    for (unsigned i = 0; i < sent; i++)
        CHECK_STATUS(port_send(&scene.port, packet_of(100, 4, i), 100, NULL), 0);
    const unsigned before = nth_mem_count(scene.port.mem);
    for (unsigned i = 0; i < received; i++)
        rings_put(scene.rings, packet_of(50, 6, i), 50);
    CHECK_EQ(nth_mem_wait(scene.port.mem, before + received, SECOND), before + received);
}

static void counters(void)
{
    static const NDIS_OID oids[] = {OID_GEN_XMIT_OK, OID_GEN_RCV_OK};
    static const uint64_t values[] = {5, 7};

    scene_rings(&scene, VIA_NDIS, NULL);
    traffic(5, 7);
    for (int i = 0; i < 2; i++) {
        for (ULONG bytes = 0; bytes <= 12; bytes++) {
            const struct answer a = query(oids[i], bytes);
            const ULONG moved = bytes < 4 ? 0 : bytes < 8 ? 4 : 8;
            CHECK_STATUS(a.status, bytes < 4 ? NDIS_STATUS_BUFFER_TOO_SHORT : NDIS_STATUS_SUCCESS);
            CHECK_EQ(a.moved, moved);
            CHECK_EQ(a.needed, 8);
            CHECK_MEM(a.bytes, &values[i], moved);
            CHECK_EQ(a.bytes[moved], 0xAB);
        }
    }
}

TEST(query_of_packet_counters_answers_32_or_64_bits)
{
    /* abi.md 4.5 and lessons bf48214: < 4 too short, needed 8; 4 to 7: low 32 bits; else 64 */
    each_version(counters);
}

static void statistics(void)
{
    scene_rings(&scene, VIA_NDIS, NULL);
    traffic(6, 4);
    rings_put(scene.rings, "\x45 too short", 10); /* in discards */
    static uint8_t long_packet[0x10001];
    CHECK_STATUS(port_send(&scene.port, long_packet, 0x10001, NULL), NDIS_STATUS_INVALID_LENGTH);
    to_user(scene.rings)->Head = WINTUN_RING_ENDED;
    for (int i = 0; i < 3; i++)
        port_send(&scene.port, long_packet, 100, NULL); /* out discards */
    to_user(scene.rings)->Head = 0;
    nth_settle();
    CHECK_STATUS(query(OID_GEN_STATISTICS, 151).status, NDIS_STATUS_BUFFER_TOO_SHORT);
    CHECK_EQ(query(OID_GEN_STATISTICS, 151).needed, 152);
    const struct answer a = query(OID_GEN_STATISTICS, 152);
    const NDIS_STATISTICS_INFO *s = (const void *)a.bytes;
    CHECK_STATUS(a.status, NDIS_STATUS_SUCCESS);
    CHECK_EQ(a.moved, 152);
    CHECK_EQ(s->Header.Type, NDIS_OBJECT_TYPE_DEFAULT);
    CHECK_EQ(s->Header.Revision, 1);
    CHECK_EQ(s->Header.Size, 152);
    CHECK_EQ(s->SupportedStatistics, 0x3F87FF);
    CHECK_EQ(s->ifHCOutUcastPkts, 6);
    CHECK_EQ(s->ifHCOutUcastOctets, 600);
    CHECK_EQ(s->ifHCOutOctets, 600);
    CHECK_EQ(s->ifOutErrors, 1);
    CHECK_EQ(s->ifOutDiscards, 3);
    CHECK_EQ(s->ifHCInUcastPkts, 4);
    CHECK_EQ(s->ifHCInUcastOctets, 200);
    CHECK_EQ(s->ifHCInOctets, 200);
    CHECK_EQ(s->ifInErrors, 0);
    CHECK_EQ(s->ifInDiscards, 1);
    CHECK_EQ(s->ifHCInMulticastPkts + s->ifHCInBroadcastPkts + s->ifHCOutMulticastPkts +
                 s->ifHCOutBroadcastPkts,
             0);
}

TEST(statistics_count_each_packet_once)
{
    /* abi.md 4.4, lessons nt:4c95143: one cause, one counter; revision 1, 152 bytes */
    each_version(statistics);
}

/* ---- sets ---- */

static void sets(void)
{
    static const NDIS_OID four[] = {OID_GEN_CURRENT_PACKET_FILTER, OID_GEN_CURRENT_LOOKAHEAD,
                                    OID_PNP_SET_POWER};
    const uint32_t value = 1;
    uint8_t more[24] = {0};

    for (int i = 0; i < 3; i++) {
        struct answer a = ask(NdisRequestSetInformation, four[i], &value, 4);
        CHECK_STATUS(a.status, NDIS_STATUS_SUCCESS);
        CHECK_EQ(a.moved, 4);
        for (ULONG bytes = 0; bytes <= 8; bytes++) {
            if (bytes == 4)
                continue;
            a = ask(NdisRequestSetInformation, four[i], more, bytes);
            CHECK_STATUS(a.status, NDIS_STATUS_INVALID_LENGTH);
            CHECK_EQ(a.needed, 4);
        }
    }
    for (ULONG bytes = 0; bytes <= 24; bytes += 8) {
        const struct answer a =
            ask(NdisRequestSetInformation, OID_GEN_LINK_PARAMETERS, more, bytes);
        CHECK_STATUS(a.status, NDIS_STATUS_SUCCESS);
        CHECK_EQ(a.moved, bytes);
    }
}

TEST(sets_that_ndis_needs_succeed_with_exact_lengths)
{
    /* abi.md 4.5: exactly 4 bytes, else NDIS_STATUS_INVALID_LENGTH and BytesNeeded 4 */
    each_version(sets);
}

static void unknown(void)
{
    static const NDIS_OID not_set[] = {OID_GEN_MAXIMUM_TOTAL_SIZE, OID_GEN_XMIT_OK,
                                       OID_GEN_STATISTICS, OID_PNP_QUERY_POWER, 0x12345678};
    /* the look-ahead and the packet filter NDIS answers itself */
    static const NDIS_OID not_asked[] = {OID_GEN_LINK_PARAMETERS, OID_PNP_SET_POWER, 0x12345678,
                                         0xFF000002, 0xFF000001};
    const uint32_t value = 1;

    for (int i = 0; i < 5; i++) {
        struct answer a = ask(NdisRequestSetInformation, not_set[i], &value, 4);
        CHECK_STATUS(a.status, NDIS_STATUS_NOT_SUPPORTED);
        CHECK_EQ(a.moved, 0);
        a = query(not_asked[i], 64);
        CHECK_STATUS(a.status, NDIS_STATUS_NOT_SUPPORTED);
        CHECK_EQ(a.moved, 0);
        a = ask(NdisRequestQueryStatistics, not_asked[i], NULL, 64);
        CHECK_STATUS(a.status, NDIS_STATUS_NOT_SUPPORTED);
    }
    const struct answer a = query(OID_PNP_QUERY_POWER, 4);
    CHECK_STATUS(a.status, NDIS_STATUS_SUCCESS);
    CHECK_EQ(a.moved, 0);
    CHECK_STATUS(ask(NdisRequestQueryStatistics, OID_GEN_XMIT_OK, NULL, 8).status, 0);
}

TEST(unknown_oids_are_not_supported)
{
    /* abi.md 4.5, lessons 2071449 */
    each_version(unknown);
}

static NDIS_STATUS raw(NDIS_REQUEST_TYPE type, NDIS_OID oid,
                       NDIS_STATUS (*issue)(struct nth_adapter *, NDIS_OID_REQUEST *))
{
    uint8_t bytes[64] = {0};
    NDIS_OID_REQUEST request = {.Header = {.Type = NDIS_OBJECT_TYPE_OID_REQUEST,
                                           .Revision = NDIS_OID_REQUEST_REVISION_1,
                                           .Size = NDIS_SIZEOF_OID_REQUEST_REVISION_1},
                                .RequestType = type};

    if (type == NdisRequestMethod) {
        request.DATA.METHOD_INFORMATION.Oid = oid;
        request.DATA.METHOD_INFORMATION.InformationBuffer = bytes;
        request.DATA.METHOD_INFORMATION.InputBufferLength = 4;
        request.DATA.METHOD_INFORMATION.OutputBufferLength = 64;
    } else {
        request.DATA.QUERY_INFORMATION.Oid = oid;
        request.DATA.QUERY_INFORMATION.InformationBuffer = bytes;
        request.DATA.QUERY_INFORMATION.InformationBufferLength = 8;
    }
    return issue(scene.port.adapter, &request);
}

static void other_types(void)
{
    CHECK_STATUS(raw(NdisRequestMethod, OID_GEN_XMIT_OK, nth_oid), NDIS_STATUS_INVALID_OID);
    CHECK_STATUS(raw(NdisRequestMethod, 0x12345678, nth_oid), NDIS_STATUS_INVALID_OID);
    static const NDIS_REQUEST_TYPE types[] = {NdisRequestQueryInformation,
                                              NdisRequestQueryStatistics, NdisRequestSetInformation,
                                              NdisRequestMethod};
    for (int i = 0; i < 4; i++) {
        CHECK_STATUS(raw(types[i], OID_GEN_XMIT_OK, nth_oid_direct), NDIS_STATUS_NOT_SUPPORTED);
        if (port_query(&scene.port).NdisVersion >= 0x60050)
            CHECK_STATUS(raw(types[i], OID_GEN_XMIT_OK, nth_oid_synchronous),
                         NDIS_STATUS_NOT_SUPPORTED);
    }
}

TEST(method_direct_and_synchronous_requests_are_refused)
{
    /* abi.md 4.5: other request types INVALID_OID. "Set this member to NULL if the miniport driver
     * does not handle direct OID requests" (NDIS_MINIPORT_DRIVER_CHARACTERISTICS): NDIS answers */
    each_version(other_types);
}

/* ---- what NDIS is told ---- */

static void attributes(void)
{
    CHECK_EQ(nth_adapter_mtu(scene.port.adapter), 65535);
    CHECK_EQ(nth_adapter_luid(scene.port.adapter).Info.IfType, 53);
    const NDIS_LINK_STATE *link = nth_link_state(scene.port.adapter);
    CHECK_EQ(link->MediaConnectState, MediaConnectStateDisconnected);
    scene_rings(&scene, VIA_NDIS, NULL);
    CHECK_EQ(link->Header.Size, 40);
    CHECK_EQ(link->MediaConnectState, MediaConnectStateConnected);
    CHECK_EQ(link->MediaDuplexState, MediaDuplexStateFull);
    CHECK_EQ(link->XmitLinkSpeed, 100000000000ULL);
    CHECK_EQ(link->RcvLinkSpeed, 100000000000ULL);
    CHECK_EQ(link->PauseFunctions, NdisPauseFunctionsUnsupported);
    CHECK_EQ(port_query(&scene.port).NdisVersion >= 0x60014, 1);
}

TEST(attributes_and_link_state_are_what_clients_know)
{
    /* abi.md 4.1 and 4.2; structure revisions follow the negotiated version (lessons 58900a4),
     * which the machine checks */
    each_version(attributes);
}

TEST(system_older_than_ndis_620_refuses_to_load)
{
    /* abi.md 4.1: "older system -> load fails with NDIS_STATUS_UNSUPPORTED_REVISION"; lessons
     * nt:8edf0cd: version first, so that nothing leaks */
    nth_boot(&(const struct nth_config){.mode = NTH_SERIAL, .ndis_version = 0x60001});
    CHECK_STATUS(scenario_load(), NDIS_STATUS_UNSUPPORTED_REVISION);
    nth_shutdown();
}

TEST(advertised_list_has_the_17_oids)
{
    /* abi.md 4.5: "Advertised list, 17 entries" (OID_GEN_SUPPORTED_LIST, which NDIS answers) */
    static const NDIS_OID expected[] = {0x00010111, 0x0001010F, 0x00010108, 0x00010109, 0x0001010A,
                                        0x0001010B, 0x0001010D, 0x0001010C, 0x00010116, 0x00020101,
                                        0x00020102, 0x0001010E, 0x00020106, 0x00010209, 0x00010208,
                                        0xFD010101, 0xFD010102};
    NDIS_OID list[64] = {0};
    ULONG written = 0;

    at_version(6);
    CHECK_STATUS(
        nth_query(scene.port.adapter, OID_GEN_SUPPORTED_LIST, list, sizeof(list), &written),
        NDIS_STATUS_SUCCESS);
    CHECK_EQ(written, sizeof(expected));
    for (unsigned i = 0; i < 17; i++) {
        unsigned found = 0;
        for (unsigned j = 0; j < 17; j++)
            found += list[j] == expected[i];
        CHECK_EQ(found, 1);
    }
    scene_end(&scene);
}
