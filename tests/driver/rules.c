/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * That the rules which this driver lives by have tests: each of the rules 1 to 17 drawn from the
 * history of drivers of its kind is cited, as "19.N", by the first comment of a test beside this
 * file. Looks at sources only.
 */
#include "check.h"

#include <ctype.h>
#include <glob.h>
#include <stdlib.h>

enum { RULES = 17 };

static char *slurp(const char *path)
{
    FILE *file = fopen(path, "rb");

    CHECK(file);
    char *text = calloc(1, 1 << 20);
    CHECK(text && fread(text, 1, (1 << 20) - 1, file) < (1 << 20) - 1);
    fclose(file);
    return text;
}

/* Cited in the comment that follows the brace of TEST(...). */
static bool cites(const char *text, unsigned rule)
{
    char wanted[16];

    snprintf(wanted, sizeof(wanted), "19.%u", rule);
    for (const char *at = text; (at = strstr(at, "TEST(")); at++) {
        const char *comment = strstr(at, "/*"), *end = comment ? strstr(comment, "*/") : NULL;
        for (const char *c = comment; end && (c = strstr(c, wanted)) && c < end; c++)
            if (!isdigit((unsigned char)c[strlen(wanted)]))
                return true;
    }
    return false;
}

TEST(rules_1_to_17_have_a_test_each)
{
    /* issue: "rules 1-17 of lessons section 19 have a test each" */
    glob_t files;

    CHECK(glob("tests/driver/*.c", 0, NULL, &files) == 0);
    for (unsigned rule = 1; rule <= RULES; rule++) {
        unsigned tests = 0;
        for (size_t i = 0; i < files.gl_pathc; i++) {
            char *text = slurp(files.gl_pathv[i]);
            tests += cites(text, rule);
            free(text);
        }
        if (!tests)
            check_fail(__FILE__, __LINE__, "no test cites rule %u", rule);
    }
    globfree(&files);
}
