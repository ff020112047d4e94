/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Every call of wintun.sys that can fail does, once, in every scenario: the first, the second, and
 * so on until a run is clean. Each time the failure is reported or survived, nothing leaks, and the
 * next try works (lessons 19.17: all error paths undo in reverse order).
 */
#include "scenario.h"

#include <unistd.h>

enum { CLEAN = 3, MOST = 3000 };

struct story {
    uint32_t kinds;
    bool must_fail;        /* a fault must make `act` fail; else it may be survived */
    void (*begin)(void);   /* without faults */
    NTSTATUS (*act)(void); /* the n-th fallible call in here fails; cleans up after itself */
    void (*end)(void);     /* without faults; the machine shuts down and checks for leaks */
};

static const struct story *told;
static struct scene scene;

static int tell(unsigned n)
{
    alarm(20);
    told->begin();
    nth_fault_arm(told->kinds, n);
    const NTSTATUS status = told->act();
    const bool fired = nth_fault_fired();
    nth_fault_arm(0, 0);
    if (!fired)
        CHECK_STATUS(status, STATUS_SUCCESS);
    else if (told->must_fail)
        CHECK(!NT_SUCCESS(status));
    CHECK_STATUS(told->act(), STATUS_SUCCESS); /* the next try works */
    told->end();
    return fired ? 0 : CLEAN;
}

/* Answers how many faults there were. */
static unsigned tell_all(const struct story *story)
{
    told = story;
    for (unsigned n = 1; n < MOST; n++) {
        const int code = scenario_apart(tell, n);
        if (code == CLEAN) {
            printf("     %u faults\n", n - 1);
            return n - 1;
        }
        if (code != 0)
            check_fail(__FILE__, __LINE__, "with fault %u the story ended with %d", n, code);
    }
    check_fail(__FILE__, __LINE__, "no run was clean");
}

static const uint32_t ALL = ~0U;

/* ---- load ---- */

static void boot_only(void)
{
    nth_boot(SERIAL(1));
}

static NTSTATUS load(void)
{
    const NTSTATUS status = scenario_load();

    if (NT_SUCCESS(status))
        CHECK_STATUS(nth_driver_unload(scenario_driver), STATUS_SUCCESS);
    return status;
}

TEST(load_with_any_failure_fails_and_leaves_nothing)
{
    /* design 2.5: failing to register the process-exit callback fails the load */
    CHECK(tell_all(&(struct story){ALL, true, boot_only, load, nth_shutdown}) >= 2);
}

/* ---- plug ---- */

static void boot_loaded(void)
{
    scenario_boot(SERIAL(1));
}

static NTSTATUS plug(void)
{
    struct port port;
    const NTSTATUS status = port_try(&port, NULL);

    if (NT_SUCCESS(status))
        port_unplug(&port);
    return status;
}

TEST(plug_with_any_failure_fails_or_works_and_leaves_nothing)
{
    /* lessons 4 "adapter start failure leaves traps": undo in reverse, clear published pointers. A
     * descriptor property that cannot be read is as if there were none, so not every fault is fatal
     */
    CHECK(tell_all(&(struct story){ALL, false, boot_loaded, plug, scenario_shutdown}) >= 5);
}

static NTSTATUS plug_second(void)
{
    const NTSTATUS status = plug();
    uint32_t value;
    ULONG written;

    CHECK_STATUS(nth_query(scene.port.adapter, OID_GEN_MAXIMUM_TOTAL_SIZE, &value, 4, &written),
                 NDIS_STATUS_SUCCESS); /* the first is untouched */
    return status;
}

static void boot_scene(void)
{
    scene_begin(&scene, SERIAL(1));
}

static void end_scene(void)
{
    scene_end(&scene);
}

TEST(second_adapter_with_any_failure_leaves_the_first_alone)
{
    /* design 2.5: the control device is counted */
    CHECK(tell_all(&(struct story){ALL, false, boot_scene, plug_second, end_scene}) >= 4);
}

/* ---- sessions ---- */

static NTSTATUS rings_via(enum route route)
{
    struct ring_session *rings;
    client_handle file;
    client_status status =
        port_open_status(&scene.port, scene.admin, route, CLIENT_READ | CLIENT_WRITE, &file);

    if (!NT_SUCCESS(status))
        return status;
    status = ring_open(scene.admin, file, &(struct ring_config){0x20000, 0x20000}, &rings);
    CHECK_STATUS(client_close(scene.admin, file), STATUS_SUCCESS);
    if (NT_SUCCESS(status)) {
        rings_expect_ended(scene.admin, rings);
        ring_close(rings);
    } else {
        /* abi.md 2.9: what each failure says */
        CHECK(status == STATUS_INSUFFICIENT_RESOURCES || status == STATUS_INVALID_USER_BUFFER ||
              status == STATUS_INVALID_HANDLE);
    }
    return status;
}

static NTSTATUS rings_ndis(void)
{
    return rings_via(VIA_NDIS);
}

static NTSTATUS rings_wintun(void)
{
    return rings_via(VIA_WINTUN);
}

TEST(register_with_any_failure_fails_and_leaves_nothing)
{
    /* abi.md 2.9 rows 7 to 10 and 12 to 16; lessons 88bde5b: pair every lock with an unlock */
    CHECK(tell_all(&(struct story){ALL, true, boot_scene, rings_ndis, end_scene}) >= 8);
}

TEST(register_at_control_device_with_any_failure_fails)
{
    /* as above */
    CHECK(tell_all(&(struct story){ALL, true, boot_scene, rings_wintun, end_scene}) >= 9);
}

static NTSTATUS one_kind(uint32_t kind, NTSTATUS expected)
{
    nth_fault_arm(1u << kind, 1);
    const NTSTATUS status = rings_ndis();
    CHECK(nth_fault_fired());
    nth_fault_arm(0, 0);
    CHECK_STATUS(status, expected);
    return status;
}

TEST(register_failures_have_the_status_of_the_table)
{
    /* abi.md 2.9 rows 8 to 10; row 17 cannot be: the thread is the adapter's */
    boot_scene();
    one_kind(NTH_FAULT_MDL, STATUS_INSUFFICIENT_RESOURCES); /* row 8 */
    one_kind(NTH_FAULT_LOCK, STATUS_INVALID_USER_BUFFER);   /* row 9 */
    one_kind(NTH_FAULT_MAP, STATUS_INSUFFICIENT_RESOURCES); /* row 10 */
    nth_fault_arm(1u << NTH_FAULT_THREAD, 1);
    CHECK_STATUS(rings_ndis(), STATUS_SUCCESS);
    CHECK(!nth_fault_fired());
    CHECK(!NT_SUCCESS(plug()));
    CHECK(nth_fault_fired());
    nth_fault_arm(0, 0);
    end_scene();
}

static uint8_t *room;

static void boot_room(void)
{
    boot_scene();
    room = program_alloc(scene.admin, 0x40000);
}

static NTSTATUS file_session(void)
{
    client_handle file;
    client_status status = port_open_status(&scene.port, scene.admin, VIA_WINTUN,
                                            CLIENT_READ | CLIENT_WRITE | CLIENT_OVERLAPPED, &file);

    if (!NT_SUCCESS(status))
        return status;
    *(uint32_t *)room = 60;
    memcpy(room + 16, packet_of(60, 4, 1), 60);
    status = client_write(scene.admin, file, room, 80, NULL);
    if (NT_SUCCESS(status)) {
        struct client_io *io = (struct client_io *)(room + 0x20000);
        status = client_read_start(scene.admin, file, room + 0x21000, WINTUN_BUNDLE_MIN_READ, io);
        if (status == STATUS_PENDING)
            status = STATUS_SUCCESS;
    }
    CHECK_STATUS(client_close(scene.admin, file), STATUS_SUCCESS);
    return status;
}

TEST(file_session_with_any_failure_fails_or_drops_and_leaves_nothing)
{
    /* design 2.5; a packet that finds no buffer is dropped and counted, which is no failure */
    CHECK(tell_all(&(struct story){ALL, false, boot_room, file_session, end_scene}) >= 6);
}

/* ---- data ---- */

static void boot_rings(void)
{
    scene_begin(&scene, SERIAL(1));
    scene_rings(&scene, VIA_NDIS, NULL);
    nth_settle();
}

/* By an OID, because opening a file for a query may fail as well. */
static uint64_t discarded(void)
{
    NDIS_STATISTICS_INFO info;
    ULONG written;

    CHECK_STATUS(nth_query(scene.port.adapter, OID_GEN_STATISTICS, &info, sizeof(info), &written),
                 NDIS_STATUS_SUCCESS);
    return info.ifInDiscards;
}

static NTSTATUS receive_some(void)
{
    const unsigned before = nth_mem_count(scene.port.mem);
    const uint64_t lost = discarded();

    for (uint32_t i = 0; i < 40; i++)
        rings_put(scene.rings, packet_of(100 + i * 200, 4, i), 100 + i * 200);
    nth_settle();
    CHECK_EQ(to_stack(scene.rings)->Head, to_stack(scene.rings)->Tail);
    const uint64_t gone = discarded() - lost;
    CHECK_EQ(nth_mem_count(scene.port.mem) - before + gone, 40);
    return STATUS_SUCCESS;
}

TEST(receive_with_any_failure_drops_that_packet_and_counts_it)
{
    /* abi.md 2.6: allocation fails: skip, in-discards +1; lessons 4086652: every record is finished
     * exactly once, also on error */
    CHECK(tell_all(&(struct story){ALL, false, boot_rings, receive_some, end_scene}) >= 40);
}

static NTSTATUS send_some(void)
{
    for (uint32_t i = 0; i < 20; i++) {
        const NDIS_STATUS status = port_send(&scene.port, packet_of(100 + i, 4, i), 100 + i, NULL);
        CHECK(status == NDIS_STATUS_SUCCESS || status == NDIS_STATUS_FAILURE);
        if (status == NDIS_STATUS_SUCCESS)
            rings_expect(scene.rings, packet_of(100 + i, 4, i), 100 + i);
    }
    return STATUS_SUCCESS;
}

TEST(send_with_any_failure_drops_that_packet_alone)
{
    /* design 2.3: no allocation on this path; what cannot be mapped is dropped alone */
    tell_all(&(struct story){ALL, false, boot_rings, send_some, end_scene});
}

static NTSTATUS pause_and_restart(void)
{
    CHECK_STATUS(nth_pause(scene.port.adapter), NDIS_STATUS_SUCCESS);
    CHECK_STATUS(nth_restart(scene.port.adapter), NDIS_STATUS_SUCCESS);
    return STATUS_SUCCESS;
}

TEST(pause_and_restart_need_nothing_that_can_fail)
{
    /* MiniportPause: cannot fail */
    CHECK_EQ(tell_all(&(struct story){ALL, true, boot_rings, pause_and_restart, end_scene}), 0);
}

static NTSTATUS end_session(void)
{
    if (scene.rings)
        scene_end_rings(&scene);
    return STATUS_SUCCESS;
}

TEST(end_of_a_session_needs_nothing_that_can_fail)
{
    /* lessons 5: "no mechanism that can fail on the removal path" */
    CHECK_EQ(tell_all(&(struct story){ALL, true, boot_rings, end_session, end_scene}), 0);
}

static NTSTATUS remove_all(void)
{
    if (scene.port.device) {
        CHECK(!NT_SUCCESS(nth_unplug(scene.port.device))); /* the handle vetoes */
        nth_surprise_remove(scene.port.device);
        scene_end_rings(&scene);
        nth_settle();
        port_forget(&scene.port);
    }
    return STATUS_SUCCESS;
}

TEST(removal_needs_nothing_that_can_fail)
{
    /* lessons 5 as above; MiniportHaltEx cannot fail */
    CHECK_EQ(tell_all(&(struct story){ALL, true, boot_rings, remove_all, end_scene}), 0);
}
