/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The life of a device as the PnP and power managers drive it: order of requests, vetoes, surprise,
 * interfaces, properties and the driver key.
 */
#include "gadget.h"

static struct nth_device *device;

static void boot_pnp(void)
{
    boot_only();
    S.NoDevice = 1;
    CHECK_STATUS(nth_driver_load(gadget_path(), "gadget", &gadget), STATUS_SUCCESS);
}

static void plug(const struct nth_device_config *config)
{
    CHECK_STATUS(nth_plug(gadget, config, &device), STATUS_SUCCESS);
}

/* Position of a minor function in what the driver saw, or -1. */
static int seen(ULONG minor)
{
    for (ULONG i = 0; i < S.PnpCount; i++) {
        if (S.Pnp[i] == minor)
            return (int)i;
    }
    return -1;
}

/* Through the automatic name of the first physical device object. */
static NTSTATUS open_pdo(HANDLE *handle)
{
    return open_path("\\Device\\00000021", FILE_READ_DATA, 0, handle);
}

/* "Adding a PnP Device to a Running System": AddDevice, start, then capabilities, state, relations.
 */
TEST(plug_follows_documented_order)
{
    boot_pnp();
    plug(NULL);
    CHECK_EQ(S.Adds, 1);
    const int start = seen(IRP_MN_START_DEVICE);
    CHECK(start > seen(IRP_MN_FILTER_RESOURCE_REQUIREMENTS));
    CHECK_EQ(S.Pnp[start + 1], IRP_MN_QUERY_CAPABILITIES);
    CHECK_EQ(S.Pnp[start + 2], IRP_MN_QUERY_PNP_DEVICE_STATE);
    CHECK_EQ(S.Pnp[start + 3], IRP_MN_QUERY_DEVICE_RELATIONS);
    CHECK(nth_device_of(S.Fdo) == device);
    CHECK(nth_device_of(S.Pdo) == device);
    S.PnpCount = 0;
    CHECK_STATUS(nth_unplug(device), STATUS_SUCCESS);
    CHECK_EQ(S.PnpCount, 2);
    CHECK_EQ(S.Pnp[0], IRP_MN_QUERY_REMOVE_DEVICE);
    CHECK_EQ(S.Pnp[1], IRP_MN_REMOVE_DEVICE);
    CHECK(S.Fdo == NULL);
    nth_shutdown();
}

/* "Understanding When Remove IRPs Are Issued", 8: a remove follows a failed start. */
TEST(failed_start_is_removed)
{
    boot_pnp();
    S.StartStatus = STATUS_INSUFFICIENT_RESOURCES;
    CHECK_STATUS(nth_plug(gadget, NULL, &device), STATUS_INSUFFICIENT_RESOURCES);
    CHECK(device == NULL);
    CHECK_EQ(S.Pnp[S.PnpCount - 1], IRP_MN_REMOVE_DEVICE);
    S.StartStatus = STATUS_SUCCESS;
    S.AddStatus = STATUS_NO_SUCH_DEVICE;
    CHECK_STATUS(nth_plug(gadget, NULL, &device), STATUS_NO_SUCH_DEVICE);
    S.AddStatus = STATUS_SUCCESS;
    plug(NULL);
    nth_shutdown();
}

/* Same page, 4: a query that fails is cancelled, and the device stays. */
TEST(query_remove_vetoed_by_driver_is_cancelled)
{
    boot_pnp();
    plug(NULL);
    S.QueryStatus = STATUS_DEVICE_BUSY;
    CHECK_STATUS(nth_unplug(device), STATUS_DEVICE_BUSY);
    CHECK_EQ(S.Pnp[S.PnpCount - 1], IRP_MN_CANCEL_REMOVE_DEVICE);
    S.QueryStatus = STATUS_SUCCESS;
    CHECK_STATUS(nth_query_remove(device), STATUS_SUCCESS);
    CHECK_STATUS(nth_cancel_remove(device), STATUS_SUCCESS);
    CHECK_STATUS(nth_unplug(device), STATUS_SUCCESS);
    nth_shutdown();
}

/* Open handles to the stack veto a removal after the drivers have agreed. */
TEST(query_remove_vetoed_by_open_handle)
{
    HANDLE handle;

    boot_pnp();
    plug(NULL);
    CHECK_STATUS(open_pdo(&handle), STATUS_SUCCESS);
    CHECK(nth_unplug(device) != STATUS_SUCCESS);
    CHECK_EQ(S.Pnp[S.PnpCount - 2], IRP_MN_QUERY_REMOVE_DEVICE);
    CHECK_EQ(S.Pnp[S.PnpCount - 1], IRP_MN_CANCEL_REMOVE_DEVICE);
    nth_handle_close(nth_process_current(), handle);
    CHECK_STATUS(nth_unplug(device), STATUS_SUCCESS);
    nth_shutdown();
}

/* Same page, 5 and 6: "When all open handles to the device are closed, the PnP manager sends an
 * IRP_MN_REMOVE_DEVICE"; no open succeeds in between. */
TEST(surprise_removal_waits_for_handles)
{
    HANDLE handle, other;

    boot_pnp();
    plug(NULL);
    CHECK_STATUS(open_pdo(&handle), STATUS_SUCCESS);
    nth_surprise_remove(device);
    CHECK_EQ(S.Pnp[S.PnpCount - 1], IRP_MN_SURPRISE_REMOVAL);
    CHECK_STATUS(open_pdo(&other), STATUS_NO_SUCH_DEVICE);
    nth_handle_close(nth_process_current(), handle);
    nth_settle();
    CHECK_EQ(S.Pnp[S.PnpCount - 1], IRP_MN_REMOVE_DEVICE);
    CHECK(S.Fdo == NULL);
    nth_shutdown();
}

TEST(surprise_removal_without_handles_removes_at_once)
{
    boot_pnp();
    plug(NULL);
    nth_surprise_remove(device);
    CHECK_EQ(S.Pnp[S.PnpCount - 2], IRP_MN_SURPRISE_REMOVAL);
    CHECK_EQ(S.Pnp[S.PnpCount - 1], IRP_MN_REMOVE_DEVICE);
    plug(NULL);
    nth_shutdown();
}

/* A driver with a plugged device stays loaded until the device is gone. */
TEST(unload_waits_for_device)
{
    boot_pnp();
    plug(NULL);
    CHECK_STATUS(nth_driver_unload(gadget), STATUS_PENDING);
    CHECK_STATUS(nth_unplug(device), STATUS_SUCCESS);
    nth_settle();
    CHECK_EQ(S.Unloads, 1);
    nth_shutdown();
}

/* "Handling an IRP_MN_REMOVE_DEVICE Request": detach and delete. */
TEST(rule_device_left_attached)
{
    boot_pnp();
    plug(NULL);
    S.KeepAttached = 1;
    nth_expect_stop("pnp-remove-failed");
    nth_unplug(device);
}

static void check_text(const char *name, const char *expected)
{
    WCHAR value[128];
    char text[128] = "";
    ULONG type, bytes = sizeof(value);

    CHECK_STATUS(nth_registry_get(nth_device_key(device), name, &type, value, &bytes),
                 STATUS_SUCCESS);
    CHECK_EQ(type, REG_SZ);
    for (unsigned i = 0; i < bytes / 2 && i < sizeof(text) - 1; i++)
        text[i] = (char)value[i];
    CHECK_STR(text, expected);
}

static void check_number(const char *name, ULONG expected)
{
    ULONG type, value, bytes = sizeof(value);

    CHECK_STATUS(nth_registry_get(nth_device_key(device), name, &type, &value, &bytes),
                 STATUS_SUCCESS);
    CHECK_EQ(type, REG_DWORD);
    CHECK_EQ(value, expected);
}

/* The software key of a network device: what its class installer and configuration leave there. */
TEST(driver_key_has_identity_and_configuration)
{
    const char *const keys[] = {"*MTU=1400", "Level:d=7", NULL};
    const struct nth_device_config config = {
        .instance_id = "SWD\\Test\\{1}", .net_cfg_id = "{AB}", .net_luid_index = 9, .keys = keys};

    boot_pnp();
    plug(&config);
    check_text("NetCfgInstanceId", "{AB}");
    check_text("*MTU", "1400");
    check_number("NetLuidIndex", 9);
    check_number("Level", 7);
    CHECK_STR(nth_device_net_cfg_id(device), "{AB}");
    nth_shutdown();
}

static const char inf_text[] =
    "; comment\n"
    "[Version]\nSignature=\"$Windows NT$\"\n"
    "[Manufacturer]\n%Maker% = Models, NTx86, NTamd64, NTarm64\n"
    "[Models.NTx86]\n%Name% = Wrong, Wrong\n"
    "[Models.NTamd64]\n%Name% = Install, ROOT\\Thing ; first model\n"
    "[Install.NTamd64]\nCharacteristics = 0x1\n*IfType = 0x35\n*MediaType = 19\n"
    "AddReg = Values, More\n"
    "[Values]\nHKR, Ndi, Service, 0, thing\n"
    "HKR, Ndi\\Params\\*MTU, ParamDesc, 0, \"Maximum; \"\"size\"\"\"\n"
    "HKR,, *MTU, 0, \"1500\"\n"
    "[More]\nHKR, , Number, 0x00010001, 0x10\n"
    "[Strings]\nName = \"A \"\"thing\"\"\"\nMaker=\"M\"\n";

/* "INF AddReg Directive", "INF Models Section", "INF Strings Section": what fills the driver key.
 */
TEST(inf_values_reach_driver_key)
{
    char path[] = "/tmp/nth-inf-XXXXXX";
    WCHAR value[32];
    ULONG type, bytes = sizeof(value);
    char key[256];
    const int file = mkstemp(path);
    FILE *stream = fdopen(file, "w");

    fputs(inf_text, stream);
    fclose(stream);
    boot_pnp();
    plug(&(struct nth_device_config){.inf = path});
    remove(path);
    check_text("DriverDesc", "A \"thing\"");
    check_text("ComponentId", "ROOT\\Thing");
    check_text("*MTU", "1500");
    check_number("Number", 16);
    check_number("*IfType", 0x35);
    check_number("Characteristics", 1);
    snprintf(key, sizeof(key), "%s\\Ndi", nth_device_key(device));
    CHECK_STATUS(nth_registry_get(key, "Service", &type, value, &bytes), STATUS_SUCCESS);
    CHECK_MEM(value, u"thing", 12);
    snprintf(key, sizeof(key), "%s\\Ndi\\Params\\*MTU", nth_device_key(device));
    bytes = sizeof(value);
    CHECK_STATUS(nth_registry_get(key, "ParamDesc", &type, value, &bytes), STATUS_SUCCESS);
    CHECK_MEM(value, u"Maximum; \"size\"", 32);
    nth_shutdown();
}

/* IoSetDevicePropertyData, IoGetDevicePropertyData: store, size, read, delete. */
TEST(property_is_stored_and_deleted)
{
    char data[8] = "1234567", back[8] = "";

    boot_pnp();
    plug(NULL);
    CHECK_STATUS(act(ACT_GET_PROPERTY, (uintptr_t)back, 8, 0), STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_STATUS(act(ACT_SET_PROPERTY, (uintptr_t)data, 8, 0), STATUS_SUCCESS);
    CHECK_STATUS(act(ACT_GET_PROPERTY, (uintptr_t)back, 7, 0), STATUS_BUFFER_TOO_SMALL);
    CHECK_EQ(S.IosbInformation, 8);
    CHECK_STATUS(act(ACT_GET_PROPERTY, (uintptr_t)back, 8, 0), STATUS_SUCCESS);
    CHECK_MEM(back, data, 8);
    CHECK_STATUS(act(ACT_SET_PROPERTY, 0, 0, 0), STATUS_SUCCESS);
    CHECK_STATUS(act(ACT_GET_PROPERTY, (uintptr_t)back, 8, 0), STATUS_OBJECT_NAME_NOT_FOUND);
    nth_shutdown();
}

static NTSTATUS installed(ULONG property, void *buffer, ULONG size, ULONG *needed)
{
    const ULONG_PTR arguments[8] = {(ULONG_PTR)S.Pdo, property, size, (ULONG_PTR)buffer,
                                    (ULONG_PTR)needed};

    return (NTSTATUS)invoke("IoGetDeviceProperty", arguments);
}

/* DEVICE_REGISTRY_PROPERTY: the driver key, the name of the PDO, the enumerator; sizes in bytes. */
TEST(installed_properties_are_known)
{
    WCHAR value[128];
    ULONG needed;

    boot_pnp();
    plug(NULL);
    CHECK_STATUS(installed(15, value, sizeof(value), &needed), STATUS_SUCCESS);
    CHECK_EQ(needed, 10);
    CHECK_MEM(value, u"ROOT", 10);
    CHECK_STATUS(installed(7, value, 4, &needed), STATUS_BUFFER_TOO_SMALL);
    CHECK_EQ(needed, 88); /* {class}\0000 */
    CHECK_STATUS(installed(11, value, sizeof(value), &needed), STATUS_SUCCESS);
    CHECK_MEM(value, u"\\Device\\", 16);
    CHECK_STATUS(installed(10, value, sizeof(value), &needed), STATUS_OBJECT_NAME_NOT_FOUND);
    nth_shutdown();
}

/* IoOpenDeviceRegistryKey: a kernel handle that the driver closes. */
TEST(driver_key_can_be_opened)
{
    HANDLE key = NULL;

    boot_pnp();
    plug(NULL);
    const ULONG_PTR open[8] = {(ULONG_PTR)S.Pdo, 2, KEY_READ, (ULONG_PTR)&key};
    CHECK_STATUS(invoke("IoOpenDeviceRegistryKey", open), STATUS_SUCCESS);
    const ULONG_PTR close[8] = {(ULONG_PTR)key};
    CHECK_STATUS(invoke("ZwClose", close), STATUS_SUCCESS);
    nth_shutdown();
}

static const GUID class_guid = {0x12345678, 0x1234, 0x5678, {1, 2, 3, 4, 5, 6, 7, 8}};

static NTSTATUS set_interface(UNICODE_STRING *link, bool enable)
{
    const ULONG_PTR arguments[8] = {(ULONG_PTR)link, enable};

    return (NTSTATUS)invoke("IoSetDeviceInterfaceState", arguments);
}

/* IoRegisterDeviceInterface and IoSetDeviceInterfaceState: names, states, and what an open sees. */
TEST(interface_opens_while_enabled)
{
    UNICODE_STRING link = {.Length = 0}, again = {.Length = 0};
    WCHAR text[] = u"ref";
    UNICODE_STRING reference = {.Length = 6, .MaximumLength = 6, .Buffer = text};
    HANDLE handle;

    boot_pnp();
    plug(NULL);
    const ULONG_PTR first[8] = {(ULONG_PTR)S.Pdo, (ULONG_PTR)&class_guid, (ULONG_PTR)&reference,
                                (ULONG_PTR)&link};
    CHECK_STATUS(invoke("IoRegisterDeviceInterface", first), STATUS_SUCCESS);
    const ULONG_PTR second[8] = {(ULONG_PTR)S.Pdo, (ULONG_PTR)&class_guid, (ULONG_PTR)&reference,
                                 (ULONG_PTR)&again};
    CHECK_STATUS(invoke("IoRegisterDeviceInterface", second), STATUS_OBJECT_NAME_EXISTS);
    CHECK_STATUS(nth_io_create(&link, FILE_READ_DATA, 0, 0, false, &handle),
                 STATUS_OBJECT_PATH_NOT_FOUND);
    CHECK_STATUS(set_interface(&link, false), STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_STATUS(set_interface(&link, true), STATUS_SUCCESS);
    CHECK_STATUS(set_interface(&link, true), STATUS_OBJECT_NAME_EXISTS);
    CHECK_STATUS(nth_io_create(&link, FILE_READ_DATA, 0, 0, false, &handle), STATUS_SUCCESS);
    CHECK_MEM(S.FileName, u"\\ref", 8);
    nth_handle_close(nth_process_current(), handle);
    CHECK_STATUS(set_interface(&link, false), STATUS_SUCCESS);
    CHECK_STATUS(nth_io_create(&link, FILE_READ_DATA, 0, 0, false, &handle),
                 STATUS_OBJECT_PATH_NOT_FOUND);
    const ULONG_PTR free_first[8] = {(ULONG_PTR)&link}, free_second[8] = {(ULONG_PTR)&again};
    invoke("RtlFreeUnicodeString", free_first);
    invoke("RtlFreeUnicodeString", free_second);
    nth_shutdown();
}

/* Power: IRP_MN_QUERY_POWER, then IRP_MN_SET_POWER; a query that fails leaves the system working.
 */
TEST(sleep_asks_first_and_wakes)
{
    boot_pnp();
    plug(NULL);
    CHECK_STATUS(nth_sleep(), STATUS_SUCCESS);
    CHECK_EQ(S.Sequence[0], IRP_MN_QUERY_POWER);
    CHECK_EQ(S.Sequence[1], IRP_MN_SET_POWER);
    CHECK_STATUS(nth_wake(), STATUS_SUCCESS);
    CHECK_EQ(S.Sequences, 3);
    S.PowerStatus = STATUS_UNSUCCESSFUL;
    CHECK_STATUS(nth_sleep(), STATUS_UNSUCCESSFUL);
    S.PowerStatus = STATUS_SUCCESS;
    CHECK_STATUS(act(ACT_POWER, 0, 0, 0), STATUS_PENDING); /* PoRequestPowerIrp */
    CHECK_EQ(S.PowerDone, 1);
    CHECK_STATUS(S.IosbStatus, STATUS_SUCCESS);
    nth_shutdown();
}

/* Each call that can fail while a device starts fails once: nothing is left behind. */
TEST(plug_survives_each_failure)
{
    boot_pnp();
    for (unsigned n = 1;; n++) {
        nth_fault_arm(~0u, n);
        const NTSTATUS status = nth_plug(gadget, NULL, &device);
        const bool fired = nth_fault_fired();
        nth_fault_arm(~0u, 0);
        if (!fired) {
            CHECK_STATUS(status, STATUS_SUCCESS);
            CHECK(n >= 3);
            break;
        }
        CHECK(!NT_SUCCESS(status));
    }
    nth_shutdown();
}
