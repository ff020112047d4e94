/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The driver store: packages, as far as their INF says who they are for and how new they are. All
 * of them bring the one driver binary that the test names, which is loaded while a device needs it.
 */
#include "win32/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static struct package *packages; /* machine_lock, as all below */
static unsigned last_number;
static const char *driver_path, *driver_service;
static struct nth_driver *driver;
static unsigned driver_users;

struct package *package_next(struct package *after)
{
    return after != NULL ? after->next : packages;
}

static bool is_newer(const struct package *a, const struct package *b)
{
    return a->date != b->date ? a->date > b->date : a->version > b->version;
}

/* "How Windows Ranks Driver Packages": of equal rank the later date, then the higher version. */
struct package *package_best(const WCHAR *hardware_id)
{
    struct package *best = NULL;

    for (struct package *p = packages; p != NULL; p = p->next)
        if (win32_compare(p->hardware_id, hardware_id) == 0 && (best == NULL || is_newer(p, best)))
            best = p;
    return best;
}

bool package_is_used(const struct package *package)
{
    for (struct node *node = node_next(NULL); node != NULL; node = node_next(node))
        if (node->package == package)
            return true;
    return false;
}

void package_remove(struct package *package)
{
    struct package **link = &packages;

    while (*link != package)
        link = &(*link)->next;
    *link = package->next;
    free(package->text);
    free(package);
}

/* ---- reading an INF ---- */

/* The value behind "name =" in a section, without blanks and comment; false: none. */
static bool find_value(const char *text, const char *section, const char *name, char *value,
                       size_t room)
{
    char heading[64];
    const char *line;

    snprintf(heading, sizeof(heading), "[%s", section);
    line = strcasestr(text, heading);
    while (line != NULL && (line = strchr(line, '\n')) != NULL && line[1] != '[') {
        line++;
        const size_t length = strlen(name);
        if (length != 0 && strncasecmp(line, name, length) != 0)
            continue;
        const char *sign = strchr(line, '='), *end = strpbrk(line, "\r\n;");
        if (sign == NULL || (end != NULL && sign > end))
            continue;
        sign += 1 + strspn(sign + 1, " \t");
        size_t bytes = end != NULL && end > sign ? (size_t)(end - sign) : strlen(sign);
        while (bytes > 0 && (sign[bytes - 1] == ' ' || sign[bytes - 1] == '\t'))
            bytes--;
        snprintf(value, room, "%.*s", (int)bytes, sign);
        return true;
    }
    return false;
}

/* %Name% from [Strings], without quotes. */
static void expand(const char *text, char *value, size_t room)
{
    char name[64] = "", found[128];

    if (sscanf(value, "%%%63[^%]%%", name) == 1 &&
        find_value(text, "Strings", name, found, sizeof(found)))
        snprintf(value, room, "%.*s", (int)strcspn(found + (found[0] == '"'), "\""),
                 found + (found[0] == '"'));
}

/* 100 ns since 1601 of a date in the Gregorian calendar, at midnight. */
static uint64_t file_time(unsigned year, unsigned month, unsigned day)
{
    static const unsigned before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    const unsigned years = year - 1601;
    uint64_t days = 365ull * years + years / 4 - years / 100 + years / 400;

    days += before[month - 1] + (month > 2 && (year % 4 == 0 && (year % 100 || year % 400 == 0)));
    return (days + day - 1) * 864000000000ull;
}

static bool read_version(const char *text, struct package *package)
{
    unsigned month, day, year, v[4];
    char value[64];

    if (!find_value(text, "Version", "DriverVer", value, sizeof(value)) ||
        sscanf(value, "%u/%u/%u,%u.%u.%u.%u", &month, &day, &year, &v[0], &v[1], &v[2], &v[3]) !=
            7 ||
        month < 1 || month > 12 || year < 1601)
        return false;
    package->date = file_time(year, month, day);
    package->version =
        (uint64_t)v[0] << 48 | (uint64_t)v[1] << 32 | (uint64_t)v[2] << 16 | (uint64_t)v[3];
    return true;
}

static void keep(WCHAR *to, size_t characters, const char *from)
{
    WCHAR *wide = win32_wide(from);
    const size_t length = win32_length(wide);

    memcpy(to, wide, (length < characters ? length + 1 : characters) * sizeof(WCHAR));
    to[characters - 1] = 0;
    free(wide);
}

/* The first model of the amd64 models section: "%Description% = Section,HardwareId". */
static bool read_inf(const char *text, struct package *package)
{
    char value[256], description[128] = "%Description%";
    const char *comma;

    if (!read_version(text, package))
        return false;
    if (!find_value(text, "Models.NTamd64", "", value, sizeof(value)) ||
        (comma = strchr(value, ',')) == NULL)
        return false;
    keep(package->hardware_id, 64, comma + 1 + strspn(comma + 1, " \t"));
    if (!find_value(text, "Version", "Provider", value, sizeof(value)))
        return false;
    expand(text, value, sizeof(value));
    keep(package->provider, 64, value);
    expand(text, description, sizeof(description));
    keep(package->description, 64, description);
    package->is_excluded =
        find_value(text, "ControlFlags", "ExcludeFromSelect", value, sizeof(value));
    return true;
}

/* "SetupCopyOEMInf does not recopy the file if it finds that a binary image [...] exists". */
uint32_t package_add(const char *text, size_t bytes, struct package **result)
{
    enum { ERROR_INVALID_INF = (int)0xE0000000 }; /* ERROR_EXPECTED_SECTION_NAME */
    struct package *package = win32_calloc(sizeof(*package)), **end = &packages;
    char name[32];

    if (!read_inf(text, package)) {
        free(package);
        return (uint32_t)ERROR_INVALID_INF;
    }
    nth_lock(&machine_lock);
    while (*end != NULL && strcmp((*end)->text, text) != 0)
        end = &(*end)->next;
    if (*end == NULL) {
        snprintf(name, sizeof(name), "oem%u.inf", last_number++);
        keep(package->inf, 32, name);
        package->text = memcpy(win32_calloc(bytes + 1), text, bytes);
        *end = package;
    } else {
        free(package);
    }
    *result = *end;
    nth_unlock(&machine_lock);
    return ERROR_SUCCESS;
}

/* ---- the driver image ---- */

void win32_driver(const char *path, const char *service)
{
    driver_path = path;
    driver_service = service;
}

NTSTATUS driver_take(struct nth_driver **result)
{
    NTSTATUS status = STATUS_SUCCESS;

    *result = NULL;
    if (driver_path == NULL)
        nth_fail("a device wants a driver, and no test has said which: win32_driver");
    if (driver_users == 0)
        status = nth_driver_load(driver_path, driver_service, &driver);
    if (NT_SUCCESS(status)) {
        driver_users++;
        *result = driver;
    }
    return status;
}

void driver_release(void)
{
    if (--driver_users > 0)
        return;
    nth_driver_unload(driver);
    driver = NULL;
}

/* ---- for tests ---- */

void win32_package_add(const char *inf_text)
{
    struct package *package = NULL;

    if (package_add(inf_text, strlen(inf_text), &package) != ERROR_SUCCESS)
        nth_fail("an INF that this store does not understand");
}

unsigned win32_package_count(void)
{
    unsigned count = 0;

    nth_lock(&machine_lock);
    for (const struct package *p = packages; p != NULL; p = p->next)
        count++;
    nth_unlock(&machine_lock);
    return count;
}

static void packages_shutdown(void)
{
    while (packages != NULL)
        package_remove(packages);
}
NTH_SUBSYSTEM(win32_packages, 47, NULL, packages_shutdown);
