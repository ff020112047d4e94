/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Devices: the adapter's own, what a driver does to its dispatch table, and those made with
 * NdisRegisterDeviceEx (ndis/pnp.c, device.c). Pages: NdisRegisterDeviceEx, NdisDeregisterDeviceEx,
 * NDIS_DEVICE_OBJECT_ATTRIBUTES, IoDeleteDevice.
 */
#include "client/client.h"
#include "puppet.h"

#define NAME(ident, text)                                                                          \
    static WCHAR ident##_buffer[] = L##text;                                                       \
    static UNICODE_STRING ident = {sizeof(ident##_buffer) - 2, sizeof(ident##_buffer),             \
                                   ident##_buffer}

NAME(device_name, "\\Device\\Puppet");
NAME(link_name, "\\DosDevices\\Puppet");
NAME(system_only, "D:P(A;;GA;;;SY)");

static PDRIVER_DISPATCH dispatch[IRP_MJ_MAXIMUM_FUNCTION + 1];

static NDIS_STATUS make(ULONG extension, const UNICODE_STRING *sddl, DEVICE_OBJECT **device,
                        NDIS_HANDLE *handle)
{
    NDIS_DEVICE_OBJECT_ATTRIBUTES d = {
        .Header = {NDIS_OBJECT_TYPE_DEVICE_OBJECT_ATTRIBUTES,
                   NDIS_DEVICE_OBJECT_ATTRIBUTES_REVISION_1,
                   NDIS_SIZEOF_DEVICE_OBJECT_ATTRIBUTES_REVISION_1},
        .DeviceName = &device_name,
        .SymbolicName = &link_name,
        .MajorFunctions = dispatch,
        .ExtensionSize = extension,
        .DefaultSDDLString = sddl,
    };

    dispatch[IRP_MJ_CREATE] = dispatch[IRP_MJ_CLEANUP] = dispatch[IRP_MJ_CLOSE] =
        dispatch[IRP_MJ_DEVICE_CONTROL] = S.Dispatch;
    return STATUS_OF(CALL(NdisRegisterDeviceEx, P(S.Driver), P(&d), P(device), P(handle)));
}

static struct client *user(enum client_token token)
{
    const struct client_config config = {.name = "user", .token = token};
    struct client *client = client_create(&config);

    CHECK(client);
    return client;
}

/* The device is opened through its link; each request reaches the handler of its kind. */
TEST(registered_device_gets_its_requests)
{
    DEVICE_OBJECT *device;
    NDIS_HANDLE handle;
    client_handle file;

    boot();
    struct puppet p = plug();
    S.DispatchStatus = STATUS_TOO_LATE;
    CHECK_STATUS(make(0, NULL, &device, &handle), NDIS_STATUS_SUCCESS);
    struct client *c = user(CLIENT_SYSTEM);
    CHECK_STATUS(client_open(c, "\\\\.\\Puppet", CLIENT_READ | CLIENT_WRITE, &file), 0);
    CHECK_STATUS(client_control(c, file, 0x12340000, NULL, 0, NULL, 0, NULL), STATUS_TOO_LATE);
    CHECK_STATUS(client_close(c, file), 0);
    CHECK_EQ(S.Major[IRP_MJ_CREATE], 1);
    CHECK_EQ(S.Major[IRP_MJ_DEVICE_CONTROL], 1);
    CHECK_EQ(S.Major[IRP_MJ_CLEANUP], 1);
    CHECK_EQ(S.Major[IRP_MJ_CLOSE], 1);
    CALL(NdisDeregisterDeviceEx, P(handle));
    CHECK_STATUS(client_open(c, "\\\\.\\Puppet", CLIENT_READ, &file), STATUS_OBJECT_NAME_NOT_FOUND);
    client_destroy(c);
    unplug(&p);
}

/* What the driver gave no handler for fails. */
TEST(registered_device_without_handler_refuses)
{
    DEVICE_OBJECT *device;
    NDIS_HANDLE handle;
    client_handle file;

    boot();
    struct puppet p = plug();
    CHECK_STATUS(make(0, NULL, &device, &handle), NDIS_STATUS_SUCCESS);
    struct client *c = user(CLIENT_SYSTEM);
    CHECK_STATUS(client_open(c, "\\\\.\\Puppet", CLIENT_READ | CLIENT_WRITE, &file), 0);
    void *buffer = client_alloc(c, 4096);
    CHECK_STATUS(client_read(c, file, buffer, 16, NULL), STATUS_INVALID_DEVICE_REQUEST);
    client_close(c, file);
    CALL(NdisDeregisterDeviceEx, P(handle));
    client_destroy(c);
    unplug(&p);
}

/* "NDIS allocates the extension, NdisGetDeviceReservedExtension gets a pointer to it,
 * NdisDeregisterDeviceEx frees it". */
TEST(registered_device_has_its_extension)
{
    DEVICE_OBJECT *device, *plain;
    NDIS_HANDLE handle;

    boot();
    struct puppet p = plug();
    CHECK_STATUS(make(100, NULL, &device, &handle), NDIS_STATUS_SUCCESS);
    UCHAR *extension = PTR(CALL(NdisGetDeviceReservedExtension, P(device)));
    CHECK(extension);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(extension[i], 0);
    CALL(NdisMGetDeviceProperty, P(S.Adapter), 0, P(&plain), 0, 0, 0);
    CHECK(!CALL(NdisGetDeviceReservedExtension, P(plain)));
    CALL(NdisDeregisterDeviceEx, P(handle));
    unplug(&p);
}

/* DefaultSDDLString: "the security that is applied to the device object is derived from it". */
TEST(registered_device_obeys_its_descriptor)
{
    DEVICE_OBJECT *device;
    NDIS_HANDLE handle;
    client_handle file;

    boot();
    struct puppet p = plug();
    CHECK_STATUS(make(0, &system_only, &device, &handle), NDIS_STATUS_SUCCESS);
    struct client *admin = user(CLIENT_ADMIN), *lord = user(CLIENT_SYSTEM);
    CHECK_STATUS(client_open(admin, "\\\\.\\Puppet", CLIENT_READ, &file), STATUS_ACCESS_DENIED);
    CHECK_STATUS(client_open(lord, "\\\\.\\Puppet", CLIENT_READ, &file), 0);
    client_destroy(admin);
    client_destroy(lord);
    CALL(NdisDeregisterDeviceEx, P(handle));
    unplug(&p);
}

/* Nothing of a device that could not be registered stays. */
TEST(registered_device_failures_are_undone)
{
    NAME(nonsense, "this is no descriptor");
    DEVICE_OBJECT *device = PTR(1);
    NDIS_HANDLE handle;

    boot();
    struct puppet p = plug();
    CHECK(make(0, &nonsense, &device, &handle) != NDIS_STATUS_SUCCESS);
    CHECK(!device); /* "If the call fails, pDeviceObject is set to point to NULL" */
    for (unsigned n = 1;; n++) {
        nth_fault_arm(~0U, n);
        const NDIS_STATUS status = make(64, &system_only, &device, &handle);
        const bool fired = nth_fault_fired();
        nth_fault_arm(0, 0);
        CHECK(fired == (status != NDIS_STATUS_SUCCESS));
        if (!fired)
            break;
    }
    CALL(NdisDeregisterDeviceEx, P(handle));
    unplug(&p);
}

/* A name can be used once: the name of a registered device collides. */
TEST(registered_device_name_collides)
{
    DEVICE_OBJECT *device, *other;
    NDIS_HANDLE handle, second;

    boot();
    struct puppet p = plug();
    CHECK_STATUS(make(0, NULL, &device, &handle), NDIS_STATUS_SUCCESS);
    CHECK_STATUS(make(0, NULL, &other, &second), STATUS_OBJECT_NAME_COLLISION);
    CALL(NdisDeregisterDeviceEx, P(handle));
    CHECK_STATUS(make(0, NULL, &device, &handle), NDIS_STATUS_SUCCESS);
    CALL(NdisDeregisterDeviceEx, P(handle));
    unplug(&p);
}

/* IoDeleteDevice: with a file open the device is marked for deletion and stays until it is closed;
 * cleanup and close still reach the driver. */
TEST(deregistered_device_serves_its_open_file)
{
    DEVICE_OBJECT *device;
    NDIS_HANDLE handle;
    client_handle file;

    boot();
    struct puppet p = plug();
    CHECK_STATUS(make(32, NULL, &device, &handle), NDIS_STATUS_SUCCESS);
    struct client *c = user(CLIENT_SYSTEM);
    CHECK_STATUS(client_open(c, "\\\\.\\Puppet", CLIENT_READ, &file), 0);
    CALL(NdisDeregisterDeviceEx, P(handle));
    CHECK_STATUS(client_close(c, file), 0);
    CHECK_EQ(S.Major[IRP_MJ_CLEANUP], 1);
    CHECK_EQ(S.Major[IRP_MJ_CLOSE], 1);
    client_destroy(c);
    unplug(&p);
}

/* "NdisDeregisterDeviceEx for each": a device left at deregistration of the driver. */
TEST(registered_device_left_at_unload_is_caught)
{
    DEVICE_OBJECT *device;
    NDIS_HANDLE handle;

    boot();
    struct puppet p = plug();
    CHECK_STATUS(make(0, NULL, &device, &handle), NDIS_STATUS_SUCCESS);
    CHECK_STATUS(nth_unplug(p.device), STATUS_SUCCESS);
    nth_expect_stop("leak");
    CALL(NdisMDeregisterMiniportDriver, P(S.Driver));
    CHECK(!"not caught");
}

#ifndef NTH_ASAN /* whose own report comes first */
TEST(deregistered_twice_is_caught)
{
    DEVICE_OBJECT *device;
    NDIS_HANDLE handle;

    boot();
    plug();
    CHECK_STATUS(make(0, NULL, &device, &handle), NDIS_STATUS_SUCCESS);
    CALL(NdisDeregisterDeviceEx, P(handle));
    nth_expect_stop("page-fault"); /* the handle's memory is gone */
    CALL(NdisDeregisterDeviceEx, P(handle));
    CHECK(!"not caught");
}
#endif

/* ---- the adapter's own device ---- */

/* The device interface opens; a control code nobody knows fails; the file closes. */
TEST(adapter_device_opens_and_refuses_codes)
{
    client_handle file;

    boot();
    struct puppet p = plug();
    struct client *c = user(CLIENT_SYSTEM);
    CHECK_STATUS(client_open(c, nth_device_interface(p.device), CLIENT_READ | CLIENT_WRITE, &file),
                 0);
    CHECK_STATUS(client_control(c, file, 0xCA6CE5C0, NULL, 0, NULL, 0, NULL),
                 STATUS_INVALID_DEVICE_REQUEST);
    CHECK_STATUS(client_close(c, file), 0);
    client_destroy(c);
    unplug(&p);
}

/* \\.\{NetCfgInstanceId}, as programs have opened adapters since Windows 2000. */
TEST(adapter_device_opens_by_its_identifier)
{
    client_handle file;
    char path[96];

    boot();
    struct puppet p = plug();
    struct client *c = user(CLIENT_SYSTEM);
    snprintf(path, sizeof(path), "\\\\.\\%s", nth_device_net_cfg_id(p.device));
    CHECK_STATUS(client_open(c, path, CLIENT_READ, &file), 0);
    client_close(c, file);
    client_destroy(c);
    unplug(&p);
    CHECK_EQ(S.Halts, 1);
}

/* Entries replaced after registration are honoured, and the originals can be called. */
TEST(adapter_device_hooked_control_is_honoured)
{
    client_handle file;

    boot();
    S.HookControl = 1;
    struct puppet p = plug();
    struct client *c = user(CLIENT_SYSTEM);
    CHECK_STATUS(client_open(c, nth_device_interface(p.device), CLIENT_READ | CLIENT_WRITE, &file),
                 0);
    CHECK_STATUS(client_control(c, file, 0xCA6CE5C0, NULL, 0, NULL, 0, NULL),
                 STATUS_ALREADY_INITIALIZED);
    CHECK_EQ(S.Controls, 1);
    CHECK_STATUS(client_control(c, file, 0x12340000, NULL, 0, NULL, 0, NULL),
                 STATUS_INVALID_DEVICE_REQUEST);
    CHECK_EQ(S.Controls, 1);
    client_close(c, file);
    client_destroy(c);
    unplug(&p);
}

/* NdisMGetDeviceProperty: physical, functional, next device. */
TEST(adapter_device_properties_are_the_stack)
{
    DEVICE_OBJECT *pdo, *fdo, *next;
    CM_RESOURCE_LIST *raw = PTR(1);

    boot();
    struct puppet p = plug();
    CALL(NdisMGetDeviceProperty, P(S.Adapter), P(&pdo), P(&fdo), P(&next), P(&raw), 0);
    CHECK(nth_device_of(pdo) == p.device);
    CHECK(pdo->AttachedDevice == fdo);
    CHECK(next == pdo);
    CHECK(!raw);
    CHECK(fdo->DriverObject == S.DriverObject);
    unplug(&p);
}

/* Open handles veto the orderly removal of the device. */
TEST(adapter_device_open_vetoes_removal)
{
    client_handle file;

    boot();
    struct puppet p = plug();
    struct client *c = user(CLIENT_SYSTEM);
    CHECK_STATUS(client_open(c, nth_device_interface(p.device), CLIENT_READ, &file), 0);
    CHECK(!NT_SUCCESS(nth_unplug(p.device)));
    CHECK_EQ(nth_adapter_state(p.adapter), NTH_RUNNING);
    CHECK_EQ(S.Halts, 0);
    client_close(c, file);
    client_destroy(c);
    unplug(&p);
}

/* Surprise removal halts the miniport with the file still open; removal follows the close. */
TEST(adapter_device_open_survives_surprise_removal)
{
    client_handle file;

    boot();
    struct puppet p = plug();
    struct client *c = user(CLIENT_SYSTEM);
    CHECK_STATUS(client_open(c, nth_device_interface(p.device), CLIENT_READ, &file), 0);
    nth_surprise_remove(p.device);
    CHECK_EQ(S.Halts, 1);
    CHECK(!NT_SUCCESS(client_control(c, file, 0x12340000, NULL, 0, NULL, 0, NULL)));
    CHECK_STATUS(client_close(c, file), 0);
    client_destroy(c);
    nth_settle(); /* the removal is somebody else's */
    CHECK_STATUS(nth_driver_unload(p.driver), STATUS_SUCCESS);
    nth_shutdown();
}
