/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Win32 functions of nthost beyond kernel32's: software devices, nodes, notifications, the driver
 * store, files. Each test quotes the page it follows; functions are found as a module finds them.
 */
#include "win32/win32.h"
#include "check.h"
#include "nthost.h"

#include <stdlib.h>
#include <unistd.h>

#define SERIAL (&(const struct nth_config){.mode = NTH_SERIAL, .seed = 1})
#define DRIVER "out/drivers/gnu-O2/mirror.sys"

#if defined(NTH_ASAN)
#define PROBE "out/modules/asan/probe.dll"
#elif defined(NTH_TSAN)
#define PROBE "out/modules/tsan/probe.dll"
#else
#define PROBE "out/modules/probe.dll"
#endif

struct program {
    struct win32_process *process;
    struct win32_module *module;
    struct win32_thread *thread;
    uint32_t error;
};

static void program_begin(struct program *p, enum client_token token)
{
    const struct client_config config = {.name = "program", .token = token};
    const char *error = NULL;

    *p = (struct program){.process = win32_process_create(&config)};
    CHECK(p->process != NULL);
    p->module = win32_load(p->process, PROBE, &error);
    CHECK(p->module != NULL);
    p->thread = win32_thread_begin(p->process);
}

static void program_end(struct program *p)
{
    win32_settle();
    win32_thread_end(p->thread);
    win32_process_destroy(p->process);
}

static void begin(struct program *p)
{
    nth_boot(SERIAL);
    program_begin(p, CLIENT_ADMIN);
}

static void end(struct program *p)
{
    program_end(p);
    nth_shutdown();
}

typedef uint64_t NTAPI function(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                                uint64_t f, uint64_t g, uint64_t h);

/* The function's thunk, by way of LoadLibraryEx and GetProcAddress. Inside the process. */
static function *find(struct program *p, const wchar_t *library, const char *name)
{
    uint64_t(NTAPI * probe)(const wchar_t *library, const char *name) =
        win32_symbol(p->module, "ProbeFind");
    function *found = (function *)probe(library, name);

    if (found == NULL)
        check_fail(__FILE__, __LINE__, "%s is not provided", name);
    return found;
}

/* Calls library!name with up to 8 arguments. */
#define CALL(p, library, name, ...) call(p, L##library, name, (uint64_t[8]){__VA_ARGS__})
static uint64_t call(struct program *p, const wchar_t *library, const char *name, const uint64_t *a)
{
    win32_thread_enter(p->thread);
    function *const found = find(p, library, name);
    win32_set_last_error(0);
    const uint64_t result = found(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
    p->error = win32_last_error();
    win32_thread_leave(p->thread);
    return result;
}
#define AT(object) ((uint64_t)(uintptr_t)(object))

/* ---- software devices ---- */

struct info { /* SW_DEVICE_CREATE_INFO */
    uint32_t size;
    const wchar_t *instance, *hardware, *compatible;
    const GUID *container;
    uint32_t capabilities;
    const wchar_t *description, *location;
    const void *security;
};

struct made {
    uint64_t handle;
    unsigned calls;
    int32_t result;
    char id[200];
};

static void NTAPI made_callback(uint64_t handle, int32_t result, void *context, const wchar_t *id)
{
    struct made *made = context;

    CHECK(made->handle == 0 || handle == made->handle);
    made->result = result;
    for (size_t i = 0; id != NULL && i < sizeof(made->id); i++)
        if ((made->id[i] = (char)id[i]) == 0)
            break;
    made->calls++;
}

static uint32_t make_with(struct program *p, struct made *made, const struct info *info)
{
    return (uint32_t)CALL(p, "cfgmgr32.dll", "SwDeviceCreate", AT(L"Test"), AT(L"HTREE\\ROOT\\0"),
                          AT(info), 0, 0, AT(made_callback), AT(made), AT(&made->handle));
}

/* Until the PnP manager and the threads of callbacks have nothing more to do. */
static void settle(void)
{
    win32_settle();
    nth_settle();
}

static const struct info bare = {.size = sizeof(bare), .instance = L"One", .capabilities = 2};
static const struct info driven = {
    .size = sizeof(driven), .instance = L"One", .hardware = L"Mirror\0", .capabilities = 10};

static void close_device(struct program *p, const struct made *made)
{
    CALL(p, "cfgmgr32.dll", "SwDeviceClose", made->handle);
}

TEST(software_device_is_enumerated)
{
    /* nf-swdevice-swdevicecreate: S_OK means initiated; the instance ID comes with the callback */
    struct program p;
    struct made made = {0};

    begin(&p);
    CHECK_EQ(make_with(&p, &made, &bare), 0);
    settle();
    CHECK_EQ(made.calls, 1);
    CHECK_EQ(made.result, 0);
    CHECK_STR(made.id, "SWD\\Test\\One");
    CHECK_EQ(win32_node_count("SWD\\Test", true), 1);
    close_device(&p, &made);
    settle();
    CHECK_EQ(win32_node_count("SWD\\Test", true), 0);
    CHECK_EQ(win32_node_count("SWD\\Test", false), 1); /* "Not present", as an unplugged device */
    end(&p);
}

TEST(software_device_wants_an_administrator_and_sound_arguments)
{
    /* nf-swdevice-swdevicecreate: Administrator access; ns-swdevicedef-sw_device_create_info:
     * cbSize, and with DriverRequired one of the two lists of IDs */
    struct program p, user;
    struct made made = {0};
    struct info bad = bare;

    begin(&p);
    program_begin(&user, CLIENT_USER);
    CHECK_EQ(make_with(&user, &made, &bare), 0x80070005);
    bad.size--;
    CHECK_EQ(make_with(&p, &made, &bad), 0x80070057);
    bad = bare;
    bad.instance = NULL;
    CHECK_EQ(make_with(&p, &made, &bad), 0x80070057);
    bad = bare;
    bad.capabilities = 8;
    CHECK_EQ(make_with(&p, &made, &bad), 0x80070057);
    CHECK_EQ(made.calls, 0);
    program_end(&user);
    end(&p);
}

TEST(closed_software_device_calls_nobody)
{
    /* nf-swdevice-swdeviceclose: no callback after it; a creation right after it is queued */
    struct program p;
    struct made first = {0}, second = {0};

    begin(&p);
    CHECK_EQ(make_with(&p, &first, &bare), 0);
    close_device(&p, &first);
    CHECK_EQ(make_with(&p, &second, &bare), 0);
    settle();
    CHECK(first.calls <= 1);
    CHECK_EQ(second.calls, 1);
    CHECK_EQ(second.result, 0);
    CHECK_EQ(win32_node_count("SWD\\Test", true), 1);
    close_device(&p, &second);
    end(&p);
}

TEST(software_device_has_one_handle_and_may_outlive_it)
{
    /* nf-swdevice-swdevicesetlifetime: ParentPresent; "only one handle can be open for a device" */
    struct program p;
    struct made first = {0}, second = {0};

    begin(&p);
    CHECK_EQ(make_with(&p, &first, &bare), 0);
    settle();
    CHECK_EQ(make_with(&p, &second, &bare), 0x800700B7);
    CHECK_EQ(CALL(&p, "cfgmgr32.dll", "SwDeviceSetLifetime", first.handle, 1), 0);
    close_device(&p, &first);
    settle();
    CHECK_EQ(win32_node_count("SWD\\Test", true), 1);
    CHECK_EQ(make_with(&p, &second, &bare), 0);
    settle();
    CHECK_EQ(CALL(&p, "cfgmgr32.dll", "SwDeviceSetLifetime", second.handle, 0), 0);
    close_device(&p, &second);
    settle();
    CHECK_EQ(win32_node_count("SWD\\Test", true), 0);
    end(&p);
}

TEST(software_device_goes_with_its_process)
{
    /* nf-swdevice-swdevicesetlifetime: as long as the handle is open, which a dead process's is not
     */
    struct program p, next;
    struct made made = {0};

    begin(&p);
    program_begin(&next, CLIENT_ADMIN);
    CHECK_EQ(make_with(&p, &made, &bare), 0);
    settle();
    win32_process_kill(p.process);
    settle();
    CHECK_EQ(win32_node_count("SWD\\Test", true), 0);
    program_end(&p);
    end(&next);
}

/* ---- nodes ---- */

static uint32_t locate(struct program *p, const wchar_t *id, bool phantom, uint32_t *instance)
{
    return (uint32_t)CALL(p, "cfgmgr32.dll", "CM_Locate_DevNodeW", AT(instance), AT(id), phantom);
}

static uint32_t status_of(struct program *p, uint32_t instance, uint32_t *problem)
{
    uint32_t status = 0;

    CHECK_EQ(CALL(p, "cfgmgr32.dll", "CM_Get_DevNode_Status", AT(&status), AT(problem), instance),
             0);
    return status;
}

enum { NO_SUCH_DEVNODE = 0x0D, INVALID_ID = 0x1E, BUFFER_SMALL = 0x1A, HAS_PROBLEM = 0x400 };

TEST(node_is_located_present_or_remembered)
{
    /* CM_Locate_DevNodeW: CM_LOCATE_DEVNODE_PHANTOM also finds what is not present */
    struct program p;
    struct made made = {0};
    uint32_t instance = 0;

    begin(&p);
    CHECK_EQ(locate(&p, L"SWD\\Test\\One", false, &instance), NO_SUCH_DEVNODE);
    CHECK_EQ(locate(&p, L"nonsense", false, &instance), INVALID_ID);
    CHECK_EQ(make_with(&p, &made, &bare), 0);
    settle();
    CHECK_EQ(locate(&p, L"swd\\TEST\\one", false, &instance), 0);
    close_device(&p, &made);
    settle();
    CHECK_EQ(locate(&p, L"SWD\\Test\\One", false, &instance), NO_SUCH_DEVNODE);
    CHECK_EQ(locate(&p, L"SWD\\Test\\One", true, &instance), 0);
    end(&p);
}

TEST(node_without_a_driver_has_a_problem)
{
    /* ns-swdevicedef-sw_device_create_info, DriverRequired; CM_PROB_FAILED_INSTALL */
    struct program p;
    struct made made = {0};
    uint32_t instance = 0, problem = 0;

    begin(&p);
    CHECK_EQ(make_with(&p, &made, &driven), 0);
    settle();
    CHECK_EQ(locate(&p, L"SWD\\Test\\One", false, &instance), 0);
    CHECK_EQ(status_of(&p, instance, &problem), HAS_PROBLEM);
    CHECK_EQ(problem, 28);
    close_device(&p, &made);
    end(&p);
}

static const char inf[] = "[Version]\nProvider = \"Nobody\"\nDriverVer = 01/02/2024,1.2.3.4\n"
                          "[Models.NTamd64]\n\"Mirror\" = Install,Mirror\n";

TEST(node_with_a_driver_is_started_and_has_an_interface)
{
    /* CM_Get_Device_Interface_ListW: present interfaces of the device, NDIS's here */
    static const GUID net = {
        0xcac88484, 0x7515, 0x4c03, {0x82, 0xe6, 0x71, 0xa8, 0x7a, 0xba, 0xc3, 0x61}};
    struct program p;
    struct made made = {0};
    uint32_t instance = 0, problem = 0, length = 0;
    wchar_t path[300];

    begin(&p);
    win32_driver(DRIVER, "mirror");
    win32_package_add(inf);
    CHECK_EQ(make_with(&p, &made, &driven), 0);
    settle();
    CHECK_EQ(locate(&p, L"SWD\\Test\\One", false, &instance), 0);
    CHECK_EQ(status_of(&p, instance, &problem), 2 | 8); /* DN_DRIVER_LOADED, DN_STARTED */
    CHECK_EQ(problem, 0);
    CHECK(win32_node_device("SWD\\Test\\One") != NULL);
    CHECK_EQ(CALL(&p, "cfgmgr32.dll", "CM_Get_Device_Interface_List_SizeW", AT(&length), AT(&net),
                  AT(L"SWD\\Test\\One")),
             0);
    CHECK_EQ(CALL(&p, "cfgmgr32.dll", "CM_Get_Device_Interface_ListW", AT(&net),
                  AT(L"SWD\\Test\\One"), AT(path), length - 1),
             BUFFER_SMALL);
    CHECK_EQ(CALL(&p, "cfgmgr32.dll", "CM_Get_Device_Interface_ListW", AT(&net),
                  AT(L"SWD\\Test\\One"), AT(path), length),
             0);
    CHECK(path[0] == '\\' && path[2] == '?' && path[length - 1] == 0 && path[length - 2] == 0);
    close_device(&p, &made);
    settle();
    CHECK(win32_node_device("SWD\\Test\\One") == NULL);
    end(&p);
}

TEST(property_is_read_by_size)
{
    /* CM_Get_DevNode_PropertyW: CR_BUFFER_SMALL with the size, CR_NO_SUCH_VALUE */
    static const DEVPROPKEY key = {{1, 2, 3, {4}}, 5}, other = {{1, 2, 3, {4}}, 6};
    static const uint32_t value = 77;
    const struct nth_device_property property = {key, 7, &value, sizeof(value)};
    struct program p;
    uint32_t instance = 0, type = 0, bytes = 3, got = 0;

    begin(&p);
    win32_node_leave("SWD\\Test\\One", true, &property, 1);
    CHECK_EQ(locate(&p, L"SWD\\Test\\One", false, &instance), 0);
    CHECK_EQ(CALL(&p, "cfgmgr32.dll", "CM_Get_DevNode_PropertyW", instance, AT(&key), AT(&type),
                  AT(&got), AT(&bytes)),
             BUFFER_SMALL);
    CHECK_EQ(bytes, 4);
    CHECK_EQ(CALL(&p, "cfgmgr32.dll", "CM_Get_DevNode_PropertyW", instance, AT(&key), AT(&type),
                  AT(&got), AT(&bytes)),
             0);
    CHECK(got == 77 && type == 7);
    CHECK_EQ(CALL(&p, "cfgmgr32.dll", "CM_Get_DevNode_PropertyW", instance, AT(&other), AT(&type),
                  AT(&got), AT(&bytes)),
             0x25);
    end(&p);
}

/* ---- notifications ---- */

struct filter { /* CM_NOTIFY_FILTER */
    uint32_t size, flags, type, reserved;
    wchar_t id[200];
};

static unsigned seen[16];

static uint32_t NTAPI notified(void *registration, void *context, uint32_t action, void *data,
                               uint32_t bytes)
{
    (void)registration, (void)data, (void)bytes;
    CHECK(context == seen && action < 16);
    seen[action]++;
    return 0;
}

TEST(notifications_come_while_they_are_registered)
{
    /* nf-cfgmgr32-cm_register_notification: events of the instance; none of what was before */
    struct program p;
    struct made made = {0};
    struct filter filter = {.size = sizeof(filter), .type = 2, .id = L"SWD\\Test\\One"};
    uint64_t registration = 0;

    begin(&p);
    CHECK_EQ(CALL(&p, "cfgmgr32.dll", "CM_Register_Notification", AT(&filter), AT(seen),
                  AT(notified), AT(&registration)),
             0);
    CHECK_EQ(make_with(&p, &made, &bare), 0);
    settle();
    CHECK_EQ(seen[7], 1); /* CM_NOTIFY_ACTION_DEVICEINSTANCEENUMERATED */
    close_device(&p, &made);
    settle();
    CHECK_EQ(seen[9], 1); /* CM_NOTIFY_ACTION_DEVICEINSTANCEREMOVED */
    CHECK_EQ(CALL(&p, "cfgmgr32.dll", "CM_Unregister_Notification", registration), 0);
    made = (struct made){0};
    CHECK_EQ(make_with(&p, &made, &bare), 0);
    settle();
    CHECK_EQ(seen[7], 1);
    close_device(&p, &made);
    filter.size--;
    CHECK(CALL(&p, "cfgmgr32.dll", "CM_Register_Notification", AT(&filter), AT(seen), AT(notified),
               AT(&registration)) != 0);
    end(&p);
}

/* ---- the driver store ---- */

static void write_inf(struct program *p, const wchar_t *path, const char *text)
{
    uint32_t written = 0;
    const uint64_t file =
        CALL(p, "kernel32.dll", "CreateFileW", AT(path), 0x40000000, 0, 0, 1, 0x80, 0);

    CHECK(file != UINT64_MAX);
    CHECK(CALL(p, "kernel32.dll", "WriteFile", file, AT(text), strlen(text), AT(&written)) != 0);
    CHECK_EQ(written, strlen(text));
    CHECK(CALL(p, "kernel32.dll", "CloseHandle", file) != 0);
}

static uint64_t copy_inf(struct program *p, const wchar_t *path, wchar_t *name)
{
    return CALL(p, "setupapi.dll", "SetupCopyOEMInfW", AT(path), 0, 0, 0, AT(name), 260);
}

TEST(package_is_stored_once_and_kept_while_it_is_used)
{
    /* nf-setupapi-setupcopyoeminfw: not recopied; nf-setupapi-setupuninstalloeminfw: not while a
     * device, present or not, was installed with it */
    struct program p;
    struct made made = {0};
    wchar_t first[260], second[260];

    begin(&p);
    win32_driver(DRIVER, "mirror");
    CHECK_EQ(copy_inf(&p, L"C:\\Windows\\Temp\\a.inf", first), 0);
    CHECK_EQ(p.error, 2);
    write_inf(&p, L"C:\\Windows\\Temp\\a.inf", inf);
    CHECK(copy_inf(&p, L"C:\\Windows\\Temp\\a.inf", first) != 0);
    CHECK(copy_inf(&p, L"C:\\Windows\\Temp\\a.inf", second) != 0);
    CHECK_MEM(first, second, 2 * (sizeof("C:\\Windows\\INF\\oem0.inf") - 1));
    CHECK_EQ(win32_package_count(), 1);
    CHECK_EQ(make_with(&p, &made, &driven), 0);
    settle();
    close_device(&p, &made);
    settle();
    CHECK_EQ(CALL(&p, "setupapi.dll", "SetupUninstallOEMInfW", AT(L"oem0.inf")), 0);
    CHECK_EQ(p.error, 0xE000023D);
    CHECK_EQ(CALL(&p, "setupapi.dll", "SetupUninstallOEMInfW", AT(L"oem7.inf")), 0);
    CHECK_EQ(p.error, 2);
    CHECK(CALL(&p, "kernel32.dll", "DeleteFileW", AT(L"C:\\Windows\\Temp\\a.inf")) != 0);
    end(&p);
}

struct devinfo { /* SP_DEVINFO_DATA */
    uint32_t size;
    GUID class;
    uint32_t instance;
    uint64_t reserved;
};

TEST(device_is_uninstalled_with_what_is_stored_of_it)
{
    /* nf-newdev-diuninstalldevice; SetupDiOpenDeviceInfoW */
    struct program p;
    struct devinfo data = {.size = sizeof(data)};
    int32_t restart = 9;

    begin(&p);
    win32_node_leave("SWD\\Test\\One", false, NULL, 0);
    const uint64_t set = CALL(&p, "setupapi.dll", "SetupDiCreateDeviceInfoList", 0, 0);
    CHECK(set != UINT64_MAX);
    CHECK_EQ(CALL(&p, "setupapi.dll", "SetupDiOpenDeviceInfoW", set, AT(L"SWD\\Test\\Two"), 0, 0,
                  AT(&data)),
             0);
    CHECK_EQ(p.error, 0xE000020B);
    CHECK(CALL(&p, "setupapi.dll", "SetupDiOpenDeviceInfoW", set, AT(L"SWD\\Test\\One"), 0, 0,
               AT(&data)) != 0);
    CHECK_EQ(CALL(&p, "newdev.dll", "DiUninstallDevice", 0, set, AT(&data), 1, AT(&restart)), 0);
    CHECK_EQ(p.error, 1004); /* ERROR_INVALID_FLAGS */
    CHECK(CALL(&p, "newdev.dll", "DiUninstallDevice", 0, set, AT(&data), 0, AT(&restart)) != 0);
    CHECK_EQ(restart, 0);
    CHECK_EQ(win32_node_count("SWD\\Test", false), 0);
    CHECK(CALL(&p, "setupapi.dll", "SetupDiDestroyDeviceInfoList", set) != 0);
    CHECK_EQ(CALL(&p, "setupapi.dll", "SetupDiDestroyDeviceInfoList", set), 0);
    CHECK_EQ(p.error, 6);
    end(&p);
}

/* ---- files ---- */

TEST(files_and_folders_are_made_and_removed)
{
    /* nf-fileapi-createdirectoryw, -removedirectoryw, -createfilew (CREATE_NEW), -deletefilew */
    struct program p;

    begin(&p);
    CHECK_EQ(CALL(&p, "kernel32.dll", "CreateDirectoryW", AT(L"C:\\No\\Such"), 0), 0);
    CHECK_EQ(p.error, 3);
    CHECK(CALL(&p, "kernel32.dll", "CreateDirectoryW", AT(L"C:\\Windows\\Temp\\x"), 0) != 0);
    CHECK_EQ(CALL(&p, "kernel32.dll", "CreateDirectoryW", AT(L"c:\\windows\\temp\\X"), 0), 0);
    CHECK_EQ(p.error, 183);
    write_inf(&p, L"C:\\Windows\\Temp\\x\\f", "text");
    CHECK(CALL(&p, "kernel32.dll", "CreateFileW", AT(L"C:\\Windows\\Temp\\x\\f"), 0x40000000, 0, 0,
               1, 0x80, 0) == UINT64_MAX);
    CHECK_EQ(p.error, 80);
    CHECK_EQ(CALL(&p, "kernel32.dll", "RemoveDirectoryW", AT(L"C:\\Windows\\Temp\\x")), 0);
    CHECK_EQ(p.error, 145);
    CHECK(CALL(&p, "kernel32.dll", "DeleteFileW", AT(L"C:\\Windows\\Temp\\x\\f")) != 0);
    CHECK_EQ(CALL(&p, "kernel32.dll", "DeleteFileW", AT(L"C:\\Windows\\Temp\\x\\f")), 0);
    CHECK_EQ(p.error, 2);
    CHECK(CALL(&p, "kernel32.dll", "RemoveDirectoryW", AT(L"C:\\Windows\\Temp\\x")) != 0);
    end(&p);
}

/* ---- connections ---- */

TEST(names_of_connections_exclude_each_other)
{
    /* ConvertInterfaceAliasToLuid and back; NciSetConnectionName has no page: ERROR_DUP_NAME is
     * what its callers expect */
    struct program p;
    uint64_t luid = 0;
    GUID guid;
    wchar_t alias[257];

    begin(&p);
    win32_connection_add("Office");
    win32_connection_add("Home");
    CHECK_EQ(CALL(&p, "iphlpapi.dll", "ConvertInterfaceAliasToLuid", AT(L"office"), AT(&luid)), 0);
    CHECK_EQ(CALL(&p, "iphlpapi.dll", "ConvertInterfaceLuidToGuid", AT(&luid), AT(&guid)), 0);
    CHECK_EQ(CALL(&p, "nci.dll", "NciSetConnectionName", AT(&guid), AT(L"HOME")), 52);
    CHECK_EQ(CALL(&p, "nci.dll", "NciSetConnectionName", AT(&guid), AT(L"Work")), 0);
    CHECK_EQ(CALL(&p, "iphlpapi.dll", "ConvertInterfaceLuidToAlias", AT(&luid), AT(alias), 257), 0);
    CHECK_MEM(alias, L"Work", 10);
    CHECK_EQ(CALL(&p, "iphlpapi.dll", "ConvertInterfaceLuidToAlias", AT(&luid), AT(alias), 4), 8);
    CHECK_EQ(CALL(&p, "iphlpapi.dll", "ConvertInterfaceAliasToLuid", AT(L"Office"), AT(&luid)), 87);
    end(&p);
}
