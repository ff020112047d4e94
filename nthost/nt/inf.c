/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * As much of an INF as fills a driver key: the first model of the amd64 models section, the AddReg
 * sections of its DDInstall section, %strings%. Text that cannot be understood is an error, never
 * skipped in silence.
 */
#include "nt/io.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FIELDS = 8, MAX_TEXT = 1024 };

struct line {
    struct line *next;
    char *section;
    char *text; /* without comment and surrounding blanks */
};

struct inf {
    struct line *lines;
    const char *key;
    const char *error;
};

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    char *end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1]))
        *--end = 0;
    return text;
}

/* Ends the line at a semicolon outside quotes. */
static void cut_comment(char *text)
{
    bool quoted = false;

    for (; *text; text++) {
        if (*text == '"')
            quoted = !quoted;
        if (*text == ';' && !quoted) {
            *text = 0;
            return;
        }
    }
}

static int read_lines(const char *path, struct inf *inf)
{
    char buffer[4096], section[256] = "";
    struct line **last = &inf->lines;
    FILE *file = fopen(path, "r");

    if (!file) {
        inf->error = "cannot open the INF";
        return -errno;
    }
    while (fgets(buffer, sizeof(buffer), file)) {
        const bool has_mark = strncmp(buffer, "\xEF\xBB\xBF", 3) == 0;
        cut_comment(buffer);
        char *text = trim(buffer + (has_mark ? 3 : 0));
        char *end = strchr(text, ']');
        if (*text == '[' && end) {
            *end = 0;
            snprintf(section, sizeof(section), "%s", text + 1);
        } else if (*text) {
            struct line *line = calloc(1, sizeof(*line));
            if (!line)
                nth_fail("out of memory");
            line->section = strdup(section);
            line->text = strdup(text);
            *last = line;
            last = &line->next;
        }
    }
    fclose(file);
    return 0;
}

static void free_lines(struct inf *inf)
{
    while (inf->lines) {
        struct line *line = inf->lines;
        inf->lines = line->next;
        free(line->section);
        free(line->text);
        free(line);
    }
}

/* The next line of a section after line (NULL: the first); section names ignore case. */
static struct line *next_in(const struct inf *inf, const struct line *line, const char *section)
{
    struct line *at = line ? line->next : inf->lines;

    while (at && strcasecmp(at->section, section) != 0)
        at = at->next;
    return at;
}

/* What follows "name =" in a section; NULL when it is not there. */
static const char *value_of(const struct inf *inf, const char *section, const char *name)
{
    const size_t length = strlen(name);

    for (struct line *line = NULL; (line = next_in(inf, line, section)) != NULL;) {
        const char *rest = line->text + length;
        if (strncasecmp(line->text, name, length) != 0)
            continue;
        while (isspace((unsigned char)*rest))
            rest++;
        if (*rest == '=')
            return rest + 1 + strspn(rest + 1, " \t");
    }
    return NULL;
}

static void put(char *out, size_t *used, const char *text, size_t length)
{
    for (size_t i = 0; i < length && *used + 1 < MAX_TEXT; i++)
        out[(*used)++] = text[i];
    out[*used] = 0;
}

/* Quotes removed (two of them inside quotes are one), %names% replaced from [Strings]. */
static void expand(const struct inf *inf, const char *text, char *out)
{
    size_t used = 0;
    bool quoted = false;

    out[0] = 0;
    for (; *text; text++) {
        const char *end = *text == '%' ? strchr(text + 1, '%') : NULL;
        if (*text == '"' && quoted && text[1] == '"') {
            put(out, &used, text++, 1);
        } else if (*text == '"') {
            quoted = !quoted;
        } else if (end == text + 1) {
            put(out, &used, "%", 1);
            text = end;
        } else if (end) {
            char name[128], value[MAX_TEXT] = "";
            snprintf(name, sizeof(name), "%.*s", (int)(end - text - 1), text + 1);
            const char *string = value_of(inf, "Strings", name);
            if (string)
                expand(&(struct inf){0}, string, value);
            put(out, &used, string ? value : text,
                string ? strlen(value) : (size_t)(end - text + 1));
            text = end;
        } else {
            put(out, &used, text, 1);
        }
    }
}

/* Splits at commas outside quotes; the fields lie in buffer. */
static unsigned split(char *buffer, char *fields[MAX_FIELDS])
{
    unsigned count = 0;
    bool quoted = false;
    char *start = buffer;

    for (char *c = buffer;; c++) {
        const bool is_end = *c == 0;
        if (*c == '"')
            quoted = !quoted;
        if ((*c == ',' && !quoted) || is_end) {
            *c = 0;
            if (count < MAX_FIELDS)
                fields[count++] = trim(start);
            start = c + 1;
        }
        if (is_end)
            return count;
    }
}

/* ---- registry values ---- */

static void set(const char *key, const char *subkey, const char *name, ULONG type, const void *data,
                ULONG bytes)
{
    char *path;

    if (asprintf(&path, "%s%s%s", key, *subkey ? "\\" : "", subkey) < 0)
        nth_fail("out of memory");
    nth_registry_set(path, name, type, data, bytes);
    free(path);
}

static void set_value(const char *key, const char *subkey, const char *name, bool number,
                      const char *value)
{
    const ULONG dword = (ULONG)strtoul(value, NULL, 0);
    UNICODE_STRING wide = nth_unicode(value);

    if (number)
        set(key, subkey, name, REG_DWORD, &dword, sizeof(dword));
    else
        set(key, subkey, name, REG_SZ, wide.Buffer, wide.MaximumLength);
    free(wide.Buffer);
}

void nth_registry_text(const char *key, const char *entry)
{
    char *text = strdup(entry), *value = text ? strchr(text, '=') : NULL;

    if (!value)
        nth_fail("\"%s\" is no Name=value", entry);
    *value++ = 0;
    const bool number = strlen(text) > 2 && strcmp(value - 3, ":d") == 0;
    if (number)
        value[-3] = 0;
    char *name = strrchr(text, '\\');
    if (name)
        *name++ = 0;
    set_value(key, name ? text : "", name ? name : text, number, value);
    free(text);
}

/* reg-root, subkey, value-name, flags, value ("INF AddReg Directive"); HKR is the driver key. */
static int add_reg_line(struct inf *inf, const char *text)
{
    const ULONG flg_type_mask = 0xFFFF0001, flg_dword = 0x00010001, flg_sz = 0;
    char buffer[MAX_TEXT], *fields[MAX_FIELDS] = {0}, subkey[MAX_TEXT], name[MAX_TEXT],
                           flags[MAX_TEXT], value[MAX_TEXT];

    snprintf(buffer, sizeof(buffer), "%s", text);
    const unsigned count = split(buffer, fields);
    if (count < 3 || strcasecmp(fields[0], "HKR") != 0) {
        inf->error = "an AddReg line that is not HKR, subkey, name, flags, value";
        return -EINVAL;
    }
    expand(inf, fields[1], subkey);
    expand(inf, fields[2], name);
    expand(inf, count > 3 ? fields[3] : "", flags);
    expand(inf, count > 4 ? fields[4] : "", value);
    const ULONG type = (ULONG)strtoul(flags, NULL, 0) & flg_type_mask;
    if (type != flg_dword && type != flg_sz) {
        inf->error = "an AddReg flag other than REG_SZ and REG_DWORD";
        return -ENOTSUP;
    }
    set_value(inf->key, subkey, name, type == flg_dword, value);
    return 0;
}

static int add_reg(struct inf *inf, const char *section)
{
    int status = 0;

    for (struct line *line = NULL; status == 0 && (line = next_in(inf, line, section)) != NULL;)
        status = add_reg_line(inf, line->text);
    return status;
}

/* ---- from the manufacturer to the install section ---- */

/* A section's decorated name for this system if it exists ("Combining Platform Extensions..."). */
static const char *decorated(const struct inf *inf, const char *name, char *buffer, size_t size)
{
    static const char *const suffixes[] = {".NTamd64", ".NT", ""};

    for (unsigned i = 0; i < ARRAYSIZE(suffixes); i++) {
        snprintf(buffer, size, "%s%s", name, suffixes[i]);
        if (next_in(inf, NULL, buffer))
            return buffer;
    }
    return NULL;
}

/* "%Name% = models, NTamd64, NTamd64.10.0": the last amd64 decoration that has a section. */
static bool models_section(const struct inf *inf, char *section, size_t size)
{
    const struct line *line = next_in(inf, NULL, "Manufacturer");
    const char *equals = line ? strchr(line->text, '=') : NULL;
    char buffer[MAX_TEXT], *fields[MAX_FIELDS], name[256];
    bool found = false;

    if (!line)
        return false;
    snprintf(buffer, sizeof(buffer), "%s", equals ? equals + 1 : line->text);
    const unsigned count = split(buffer, fields);
    for (unsigned i = 1; i < count; i++) {
        snprintf(name, sizeof(name), "%s.%s", fields[0], fields[i]);
        if (strncasecmp(fields[i], "NTamd64", 7) == 0 && next_in(inf, NULL, name)) {
            snprintf(section, size, "%s", name);
            found = true;
        }
    }
    if (!found && next_in(inf, NULL, fields[0])) {
        snprintf(section, size, "%s", fields[0]);
        found = true;
    }
    return found;
}

/* "%Description% = install section, hardware ID": fills the key, and the section's name. */
static int first_model(struct inf *inf, char *install, size_t size)
{
    char section[256], buffer[MAX_TEXT], text[MAX_TEXT], *fields[MAX_FIELDS];

    if (!models_section(inf, section, sizeof(section)))
        return -ENOENT;
    const struct line *line = next_in(inf, NULL, section);
    char *equals = strchr(line->text, '=');
    if (!equals)
        return -EINVAL;
    snprintf(buffer, sizeof(buffer), "%.*s", (int)(equals - line->text), line->text);
    expand(inf, trim(buffer), text);
    set_value(inf->key, "", "DriverDesc", false, text);
    snprintf(buffer, sizeof(buffer), "%s", equals + 1);
    const unsigned count = split(buffer, fields);
    if (count > 1) {
        expand(inf, fields[1], text);
        set_value(inf->key, "", "MatchingDeviceId", false, text);
        set_value(inf->key, "", "ComponentId", false, text);
    }
    snprintf(install, size, "%s", fields[0]);
    return 0;
}

/* What the network class installer makes of the install section's own entries. */
static void class_installer(struct inf *inf, const char *section)
{
    static const char *const numbers[] = {"*IfType", "*MediaType", "*PhysicalMediaType",
                                          "Characteristics", "BusType"};
    char text[MAX_TEXT];

    for (unsigned i = 0; i < ARRAYSIZE(numbers); i++) {
        const char *value = value_of(inf, section, numbers[i]);
        if (!value)
            continue;
        expand(inf, value, text);
        set_value(inf->key, "", numbers[i], true, text);
    }
}

static int install(struct inf *inf)
{
    char name[256], section[256], buffer[MAX_TEXT], *fields[MAX_FIELDS];
    int status = first_model(inf, name, sizeof(name));

    if (status != 0 || !decorated(inf, name, section, sizeof(section))) {
        inf->error = "no install section for amd64";
        return status ? status : -ENOENT;
    }
    class_installer(inf, section);
    for (struct line *line = NULL; status == 0 && (line = next_in(inf, line, section)) != NULL;) {
        char *equals = strchr(line->text, '=');
        if (strncasecmp(line->text, "AddReg", 6) != 0 || !equals)
            continue;
        snprintf(buffer, sizeof(buffer), "%s", equals + 1);
        const unsigned count = split(buffer, fields);
        for (unsigned i = 0; i < count && status == 0; i++)
            status = add_reg(inf, fields[i]);
    }
    return status;
}

int nth_inf_apply(const char *path, const char *key, const char **error)
{
    struct inf inf = {.key = key};
    int status = read_lines(path, &inf);

    if (status == 0)
        status = install(&inf);
    free_lines(&inf);
    *error = inf.error;
    return status;
}
