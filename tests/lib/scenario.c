/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Beginnings and ends of the tests of wintun.sys; see scenario.h. Never looks into the driver.
 */
#include "scenario.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(NTH_ASAN)
#define SYS "out/amd64-asan/wintun.sys" /* built with address checks */
#elif defined(NTH_TSAN)
#define SYS "out/amd64-tsan/wintun.sys" /* built with race checks */
#else
#define SYS "out/amd64/wintun.sys"
#endif
#define INF "out/amd64/wintun.inf"

struct nth_driver *scenario_driver;

/* ---- machine ---- */

unsigned scenario_number(const char *environment, unsigned otherwise)
{
    const char *text = getenv(environment);

    return text && *text ? (unsigned)strtoul(text, NULL, 0) : otherwise;
}

NTSTATUS scenario_load(void)
{
    const char *path = getenv("WINTUN_SYS");

    return nth_driver_load(path ? path : SYS, "wintun", &scenario_driver);
}

void scenario_boot(const struct nth_config *config)
{
    struct nth_config mine = *config;

    if (mine.mode == NTH_SERIAL)
        mine.seed = scenario_number("NTH_SEED", mine.seed);
    nth_boot(&mine);
    CHECK_STATUS(scenario_load(), STATUS_SUCCESS);
}

void scenario_shutdown(void)
{
    CHECK_STATUS(nth_driver_unload(scenario_driver), STATUS_SUCCESS);
    scenario_driver = NULL;
    nth_shutdown();
}

int scenario_apart(int (*run)(unsigned number), unsigned number)
{
    fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0)
        check_fail(__FILE__, __LINE__, "cannot fork");
    if (pid == 0) {
        const int code = run(number);
        fflush(NULL);
        _exit(code);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) != pid)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void (*seeded)(uint32_t seed);

static int run_seeded(unsigned seed)
{
    alarm(20);
    seeded(seed);
    return 0;
}

void scenario_seeds(uint32_t first, unsigned count, void (*run)(uint32_t seed))
{
    const unsigned only = scenario_number("NTH_SEED", 0);

    seeded = run;
    if (only) {
        run(only);
        return;
    }
    alarm(60 + 2 * count); /* instead of the test's usual limit */
    for (unsigned i = 0; i < count; i++) {
        const int code = scenario_apart(run_seeded, first + i);
        if (code != 0)
            check_fail(__FILE__, __LINE__, "seed %u ended with %d; replay with NTH_SEED=%u",
                       first + i, code, first + i);
    }
}

void crew_start(struct crew *crew, const char *name, void (*run)(void *context), void *context)
{
    CHECK(crew->count < CREW);
    crew->threads[crew->count++] = nth_spawn(name, run, context);
}

void crew_join(struct crew *crew)
{
    while (crew->count)
        nth_join(crew->threads[--crew->count]);
}

/* ---- adapters ---- */

NTSTATUS port_try(struct port *port, const struct nth_device_config *config)
{
    struct nth_device_config mine = config ? *config : (struct nth_device_config){0};

    if (!mine.inf && access(INF, R_OK) == 0)
        mine.inf = INF;
    *port = (struct port){0};
    const NTSTATUS status = nth_plug(scenario_driver, &mine, &port->device);
    if (!NT_SUCCESS(status))
        return status;
    port->adapter = nth_adapter_of(port->device);
    CHECK(port->adapter);
    port->mem = nth_mem_attach(port->adapter);
    snprintf(port->file, sizeof(port->file), WINTUN_WIN32_PATH "%s",
             nth_device_net_cfg_id(port->device));
    snprintf(port->ndis, sizeof(port->ndis), "%s", nth_device_interface(port->device));
    return status;
}

void port_plug(struct port *port)
{
    CHECK_STATUS(port_try(port, NULL), STATUS_SUCCESS);
}

void port_unplug(struct port *port)
{
    CHECK_STATUS(nth_unplug(port->device), STATUS_SUCCESS);
    port_forget(port);
}

void port_forget(struct port *port)
{
    nth_mem_close(port->mem);
    *port = (struct port){0};
}

client_status port_open_status(const struct port *port, struct client *client, enum route route,
                               unsigned flags, client_handle *file)
{
    return client_open(client, route == VIA_NDIS ? port->ndis : port->file, flags, file);
}

client_handle port_open(const struct port *port, struct client *client, enum route route)
{
    client_handle file;

    CHECK_STATUS(port_open_status(port, client, route, CLIENT_READ | CLIENT_WRITE, &file),
                 STATUS_SUCCESS);
    return file;
}

client_handle port_open_overlapped(const struct port *port, struct client *client, enum route route)
{
    client_handle file;

    CHECK_STATUS(port_open_status(port, client, route,
                                  CLIENT_READ | CLIENT_WRITE | CLIENT_OVERLAPPED, &file),
                 STATUS_SUCCESS);
    return file;
}

/* sdk/ has what the driver uses; this is the host's own. */
NTSTATUS NTAPI ZwOpenFile(HANDLE *handle, ACCESS_MASK access, OBJECT_ATTRIBUTES *attributes,
                          IO_STATUS_BLOCK *status, ULONG share, ULONG options);

NTSTATUS port_open_as_driver(const struct port *port, ACCESS_MASK access, ULONG attributes,
                             HANDLE *handle)
{
    WCHAR text[160] = L"\\DosDevices\\";
    UNICODE_STRING name = {.Buffer = text};
    OBJECT_ATTRIBUTES object;
    IO_STATUS_BLOCK block;
    size_t length = 12;

    for (const char *c = port->file + 4; *c; c++)
        text[length++] = (WCHAR)*c;
    name.Length = name.MaximumLength = (USHORT)(2 * length);
    InitializeObjectAttributes(&object, &name, OBJ_KERNEL_HANDLE | attributes, NULL, NULL);
    return ZwOpenFile(handle, access, &object, &block, 0, 0);
}

client_status query_file(struct client *client, client_handle file, WINTUN_QUERY *query)
{
    WINTUN_QUERY *answer = client_alloc(client, sizeof(*answer));
    uint32_t bytes = 0;

    CHECK(answer);
    const client_status status =
        client_control(client, file, WINTUN_IOCTL_QUERY, NULL, 0, answer, sizeof(*answer), &bytes);
    if (status == STATUS_SUCCESS) {
        CHECK_EQ(bytes, sizeof(*answer));
        *query = *answer;
    }
    client_free(client, answer, sizeof(*answer));
    return status;
}

WINTUN_QUERY port_query(const struct port *port)
{
    struct client *observer = program(CLIENT_SYSTEM);
    client_handle file;
    WINTUN_QUERY query;

    CHECK_STATUS(port_open_status(port, observer, VIA_WINTUN, CLIENT_READ, &file), STATUS_SUCCESS);
    CHECK_STATUS(query_file(observer, file, &query), STATUS_SUCCESS);
    CHECK_STATUS(client_close(observer, file), STATUS_SUCCESS);
    client_destroy(observer);
    return query;
}

uint64_t port_counter(const struct port *port, unsigned counter)
{
    return port_query(port).Counters[counter];
}

bool port_is_up(const struct port *port)
{
    return nth_link_state(port->adapter)->MediaConnectState == MediaConnectStateConnected;
}

/* A millisecond of the machine's time. */
static void pause_briefly(void)
{
    LARGE_INTEGER time = {.QuadPart = -10000};

    KeDelayExecutionThread(KernelMode, FALSE, &time);
}

void port_await_link(const struct port *port, bool is_up)
{
    for (int i = 0; i < 5000 && port_is_up(port) != is_up; i++)
        pause_briefly();
    CHECK_EQ(port_is_up(port), is_up);
}

void port_await_counter(const struct port *port, unsigned counter, uint64_t value)
{
    for (int i = 0; i < 5000 && port_counter(port, counter) < value; i++)
        pause_briefly();
    CHECK_EQ(port_counter(port, counter), value);
}

/* ---- programs ---- */

struct client *program(enum client_token token)
{
    struct client *client = client_create(&(struct client_config){.name = "test", .token = token});

    CHECK(client);
    return client;
}

struct client *program_wow64(enum client_token token)
{
    struct client *client =
        client_create(&(struct client_config){.name = "test32", .token = token, .wow64 = true});

    CHECK(client);
    return client;
}

void *program_alloc(struct client *client, size_t bytes)
{
    void *memory = client_alloc(client, bytes);

    CHECK(memory);
    return memory;
}

client_handle program_event(struct client *client)
{
    client_handle event;

    CHECK_STATUS(client_event(client, false, false, &event), STATUS_SUCCESS);
    return event;
}

bool event_is_set(struct client *client, client_handle event)
{
    return client_wait(client, &event, 1, 0, NULL) == STATUS_SUCCESS;
}

/* ---- packets ---- */

const uint8_t *packet_of(size_t bytes, int version, uint32_t seed)
{
    static _Thread_local uint8_t buffers[2][NTH_IP_MAX + 1];
    static _Thread_local unsigned turn;
    uint8_t *packet = buffers[turn++ % 2];

    CHECK(bytes <= NTH_IP_MAX);
    nth_ip_make(packet, bytes, version, seed);
    return packet;
}

NDIS_STATUS port_send(struct port *port, const void *packet, size_t bytes,
                      const struct nth_shape *shape)
{
    struct nth_chain *chain = nth_chain_create(port->mem);

    nth_chain_packet(chain, packet, bytes, shape);
    nth_chain_send(chain, 0);
    CHECK(nth_chain_wait(chain, 30 * SECOND));
    CHECK(!nth_chain_altered(chain));
    const NDIS_STATUS status = nth_chain_status(chain, 0);
    nth_chain_destroy(chain);
    return status;
}

void port_expect(struct port *port, unsigned index, const void *packet, size_t bytes)
{
    CHECK(nth_mem_wait(port->mem, index + 1, 30 * SECOND) > index);
    const struct nth_packet *got = nth_mem_packet(port->mem, index);
    CHECK_EQ(got->bytes, bytes);
    CHECK_MEM(got->data, packet, bytes);
}

void rings_put(struct ring_session *rings, const void *packet, size_t bytes)
{
    uint8_t *room = NULL;

    CHECK_EQ(ring_allocate(rings, (uint32_t)bytes, &room), RING_READY);
    memcpy(room, packet, bytes);
    ring_send(rings, room);
}

void rings_expect(struct ring_session *rings, const void *packet, size_t bytes)
{
    const uint8_t *got = NULL;
    uint32_t size = 0;

    CHECK_EQ(ring_receive(rings, &got, &size), RING_READY);
    CHECK_EQ(size, bytes);
    CHECK_MEM(got, packet, bytes);
    ring_release(rings, got);
}

void rings_expect_empty(struct ring_session *rings)
{
    const uint8_t *got;
    uint32_t size;

    CHECK_EQ(ring_receive(rings, &got, &size), RING_EMPTY);
}

volatile WINTUN_RING *to_user(struct ring_session *rings)
{
    return ring_to_user(rings);
}

volatile WINTUN_RING *to_stack(struct ring_session *rings)
{
    return ring_to_stack(rings);
}

void rings_expect_ended(struct client *client, struct ring_session *rings)
{
    CHECK_EQ(to_user(rings)->Tail, WINTUN_RING_ENDED);
    CHECK_EQ(to_stack(rings)->Head, WINTUN_RING_ENDED);
    CHECK(event_is_set(client, ring_to_user_event(rings)));
}

/* ---- the usual beginning ---- */

void scene_begin(struct scene *scene, const struct nth_config *config)
{
    *scene = (struct scene){0};
    scenario_boot(config);
    port_plug(&scene->port);
    scene->admin = program(CLIENT_ADMIN);
}

void scene_rings(struct scene *scene, enum route route, const struct ring_config *config)
{
    scene->file = port_open(&scene->port, scene->admin, route);
    CHECK_STATUS(ring_open(scene->admin, scene->file, config, &scene->rings), STATUS_SUCCESS);
}

void scene_begin_rings(struct scene *scene, const struct nth_config *config)
{
    scene_begin(scene, config);
    scene_rings(scene, VIA_NDIS, NULL);
}

void scene_hold(struct scene *scene, uint32_t packets, uint32_t bytes)
{
    nth_mem_hold(scene->port.mem, true);
    for (uint32_t i = 0; i < packets; i++)
        rings_put(scene->rings, packet_of(bytes, 4, i), bytes);
    CHECK_EQ(nth_mem_wait(scene->port.mem, packets, SECOND), packets);
}

void expect_no_growth(int round, size_t *bytes)
{
    if (round == 1)
        *bytes = nth_pool_bytes();
    if (round > 1)
        CHECK_EQ(nth_pool_bytes(), *bytes);
}

void scene_end_rings(struct scene *scene)
{
    CHECK_STATUS(client_close(scene->admin, scene->file), STATUS_SUCCESS);
    rings_expect_ended(scene->admin, scene->rings);
    ring_close(scene->rings);
    scene->rings = NULL;
}

void scene_end(struct scene *scene)
{
    if (scene->rings)
        scene_end_rings(scene);
    client_destroy(scene->admin);
    if (scene->port.device)
        port_unplug(&scene->port);
    scenario_shutdown();
}
