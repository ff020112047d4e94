/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Promises of wintun.sys when NDIS pauses, restarts, powers down, removes or halts an adapter, and
 * when programs or the stack are slow at that moment (lessons 4, 19.9 to 19.11; MiniportPause).
 */
#include "scenario.h"

static void carries(struct scene *scene, uint32_t seed)
{
    const unsigned before = nth_mem_count(scene->port.mem);

    CHECK_STATUS(port_send(&scene->port, packet_of(90, 4, seed), 90, NULL), NDIS_STATUS_SUCCESS);
    rings_expect(scene->rings, packet_of(90, 4, seed), 90);
    rings_put(scene->rings, packet_of(91, 6, seed), 91);
    port_expect(&scene->port, before, packet_of(91, 6, seed), 91);
}

TEST(session_survives_pause_and_restart)
{
    /* lessons 19.11, 9704a4d: pause stops traffic only; link state does not change (abi.md 4.3) */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    for (uint32_t i = 0; i < 5; i++) {
        carries(&scene, i);
        CHECK_STATUS(nth_pause(scene.port.adapter), NDIS_STATUS_SUCCESS);
        CHECK(port_is_up(&scene.port));
        CHECK_EQ(port_query(&scene.port).State, WintunStatePaused);
        CHECK_STATUS(nth_restart(scene.port.adapter), NDIS_STATUS_SUCCESS);
        CHECK_EQ(port_query(&scene.port).State, WintunStateRunning);
    }
    carries(&scene, 9);
    CHECK_EQ(nth_mem_statuses(scene.port.mem, NDIS_STATUS_LINK_STATE), 1);
    scene_end(&scene);
}

TEST(session_survives_sleep_and_wake)
{
    /* abi.md 4.3: "system sleep pauses but does not halt the adapter"; OID_PNP_SET_POWER */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_STATUS(nth_sleep(), STATUS_SUCCESS);
        CHECK_EQ(nth_adapter_state(scene.port.adapter), NTH_PAUSED);
        CHECK(to_user(scene.rings)->Tail != WINTUN_RING_ENDED);
        CHECK_STATUS(nth_wake(), STATUS_SUCCESS);
        carries(&scene, i);
    }
    scene_end(&scene);
}

TEST(packets_put_while_paused_are_discarded_and_counted)
{
    /* abi.md 4.3: "packets put in the ring meanwhile are discarded and counted"; indicating them is
     * rule indicate-while-paused of the machine */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    CHECK_STATUS(nth_pause(scene.port.adapter), NDIS_STATUS_SUCCESS);
    for (uint32_t i = 0; i < 100; i++)
        rings_put(scene.rings, packet_of(80, 4, i), 80);
    nth_settle();
    CHECK_EQ(nth_mem_count(scene.port.mem), 0);
    CHECK_EQ(to_stack(scene.rings)->Head, to_stack(scene.rings)->Tail);
    CHECK_EQ(port_counter(&scene.port, WintunToStackPaused), 100);
    CHECK_STATUS(nth_restart(scene.port.adapter), NDIS_STATUS_SUCCESS);
    carries(&scene, 1);
    scene_end(&scene);
}

static void return_later(void *context)
{
    struct scene *scene = context;
    LARGE_INTEGER time = {.QuadPart = -500 * 10000};

    KeDelayExecutionThread(KernelMode, FALSE, &time);
    CHECK_EQ(nth_adapter_state(scene->port.adapter), NTH_PAUSING);
    nth_mem_return_all(scene->port.mem);
}

TEST(pause_waits_for_lists_of_the_stack_and_for_nothing_else)
{
    /* MiniportPause: wait for NdisReturnNetBufferLists; lessons 19.10: not for user mode */
    struct scene scene;
    struct crew crew = {.count = 0};

    scene_begin_rings(&scene, SERIAL(1));
    scene_hold(&scene, 10, 80);
    crew_start(&crew, "stack", return_later, &scene);
    const uint64_t before = nth_clock_ns();
    CHECK_STATUS(nth_pause(scene.port.adapter), NDIS_STATUS_SUCCESS);
    CHECK(nth_clock_ns() - before >= 499 * MSEC);
    crew_join(&crew);
    CHECK_STATUS(nth_restart(scene.port.adapter), NDIS_STATUS_SUCCESS);
    nth_mem_hold(scene.port.mem, false);
    carries(&scene, 1);
    scene_end(&scene);
}

TEST(pause_with_lists_outstanding_after_the_session_ended)
{
    /* lessons 19.1 and 19.9: the drained signal is the returner's last act, whoever made the list
     */
    struct scene scene;
    struct crew crew = {.count = 0};

    scene_begin_rings(&scene, SERIAL(1));
    scene_hold(&scene, 10, 80);
    scene_end_rings(&scene);
    crew_start(&crew, "stack", return_later, &scene);
    CHECK_STATUS(nth_pause(scene.port.adapter), NDIS_STATUS_SUCCESS);
    crew_join(&crew);
    CHECK_STATUS(nth_restart(scene.port.adapter), NDIS_STATUS_SUCCESS);
    scene_end(&scene);
}

TEST(removal_with_lists_outstanding_and_the_process_gone)
{
    /* issue: process exit with rings registered and lists outstanding in the stack, then removal */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    nth_mem_hold(scene.port.mem, true);
    for (uint32_t i = 0; i < 30; i++)
        rings_put(scene.rings, packet_of(80 + i * 100, 4, i), 80 + i * 100);
    CHECK_EQ(nth_mem_wait(scene.port.mem, 30, SECOND), 30);
    client_destroy(scene.admin);
    scene.rings = NULL;
    CHECK_STATUS(nth_unplug(scene.port.device), STATUS_SUCCESS); /* detach returns them */
    CHECK(nth_mem_is_detached(scene.port.mem));
    port_forget(&scene.port);
    scene.admin = program(CLIENT_USER);
    scene_end(&scene);
}

TEST(surprise_removal_with_lists_outstanding)
{
    /* MiniportDevicePnPEventNotify, NdisDevicePnPEventSurpriseRemoved; then MiniportHaltEx */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    scene_hold(&scene, 30, 80);
    nth_surprise_remove(scene.port.device);
    rings_expect_ended(scene.admin, scene.rings);
    client_close(scene.admin, scene.file);
    nth_settle();
    port_forget(&scene.port);
    ring_close(scene.rings);
    scene.rings = NULL;
    scene_end(&scene);
}

/* Before NDIS 6.30 the halt comes with IRP_MN_REMOVE_DEVICE, so the adapter is asked in between. */
static void between_surprise_and_halt(struct scene *scene)
{
    struct nth_chain *chain = nth_chain_create(scene->port.mem);
    uint8_t bytes[8];
    ULONG written;

    nth_chain_packet(chain, packet_of(60, 4, 1), 60, NULL);
    nth_send_unchecked(scene->port.adapter, nth_chain_nbl(chain, 0), 0);
    CHECK(nth_chain_wait(chain, SECOND));
    CHECK_STATUS(nth_chain_status(chain, 0), NDIS_STATUS_NOT_ACCEPTED);
    nth_chain_destroy(chain);
    CHECK_STATUS(nth_query(scene->port.adapter, OID_GEN_XMIT_OK, bytes, 8, &written),
                 NDIS_STATUS_NOT_ACCEPTED);
    CHECK_STATUS(nth_set(scene->port.adapter, OID_GEN_CURRENT_LOOKAHEAD, bytes, 4),
                 NDIS_STATUS_NOT_ACCEPTED);
}

TEST(sends_and_requests_after_surprise_removal_are_not_accepted)
{
    /* design 2.5: after surprise removal sends and OIDs complete as not accepted
     * (MiniportDevicePnPEventNotify: NDIS_STATUS_NOT_ACCEPTED) */
    struct scene scene;

    scene_begin(&scene, &(const struct nth_config){.mode = NTH_SERIAL, .ndis_version = 0x60014});
    scene_rings(&scene, VIA_NDIS, NULL); /* its handle keeps the stack until it closes */
    nth_surprise_remove(scene.port.device);
    rings_expect_ended(scene.admin, scene.rings);
    between_surprise_and_halt(&scene);
    struct ring_session *rings;
    CHECK(!NT_SUCCESS(ring_open(scene.admin, scene.file, NULL, &rings)));
    CHECK_STATUS(client_close(scene.admin, scene.file), STATUS_SUCCESS);
    nth_settle();
    port_forget(&scene.port);
    ring_close(scene.rings);
    scene.rings = NULL;
    scene_end(&scene);
}

TEST(shutdown_handler_touches_nothing)
{
    /* MiniportShutdownEx: no wait, no allocation, nothing but quiet hardware, of which there is
     * none */
    struct scene scene;

    scene_begin_rings(&scene, SERIAL(1));
    nth_shutdown_handler(scene.port.adapter);
    carries(&scene, 1);
    scene_end(&scene);
}

TEST(halt_with_everything_open)
{
    /* lessons 19.10, cb741f4: never wait for user mode in halt: rings, pending reads of others,
     * idle handles, and none of them closes */
    struct scene scene;
    struct port second;

    scene_begin_rings(&scene, SERIAL(1));
    client_close(scene.admin, scene.file);
    ring_close(scene.rings);
    scene_rings(&scene, VIA_WINTUN, NULL);
    port_plug(&second);
    const client_handle file = port_open_overlapped(&second, scene.admin, VIA_WINTUN);
    uint8_t *room = program_alloc(scene.admin, 0x20000);
    struct client_io *io = program_alloc(scene.admin, sizeof(*io));
    CHECK_STATUS(client_read_start(scene.admin, file, room, 0x20000, io), STATUS_PENDING);
    const uint64_t before = nth_clock_ns();
    port_unplug(&second);
    CHECK_STATUS((client_status)(uint32_t)io->status, STATUS_FILE_FORCED_CLOSED);
    CHECK_STATUS(nth_unplug(scene.port.device), STATUS_SUCCESS);
    CHECK(nth_clock_ns() - before < SECOND);
    rings_expect_ended(scene.admin, scene.rings);
    port_forget(&scene.port);
    CHECK_STATUS(nth_driver_unload(scenario_driver), STATUS_PENDING);
    client_destroy(scene.admin); /* and now the last files close */
    nth_shutdown();
}

TEST(adapter_can_be_plugged_and_removed_many_times)
{
    /* lessons 19.17: surprise-remove loops; the machine checks for leaks at the end */
    struct scene scene;

    scene_begin(&scene, SERIAL(1));
    for (uint32_t i = 0; i < 30; i++) {
        scene_rings(&scene, (enum route)(i % 2), NULL);
        carries(&scene, i);
        if (i % 3 == 0) {
            nth_surprise_remove(scene.port.device);
            scene_end_rings(&scene);
            nth_settle();
            port_forget(&scene.port);
        } else {
            scene_end_rings(&scene);
            port_unplug(&scene.port);
        }
        port_plug(&scene.port);
    }
    scene_end(&scene);
}
