/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What a test changes of the simulated Windows.
 */
#include "win32/machine.h"

#include <string.h>
#include <strings.h>

static struct {
    const char *module, *name;
} missing[8];

void win32_without(const char *module, const char *name)
{
    if (module == NULL)
        memset(missing, 0, sizeof(missing));
    for (size_t i = 0; i < ARRAYSIZE(missing) && module != NULL; i++)
        if (missing[i].module == NULL) {
            missing[i].module = module;
            missing[i].name = name;
            return;
        }
    if (module != NULL)
        nth_fail("too many functions are missing");
}

bool win32_is_missing(const char *module, const char *name)
{
    for (size_t i = 0; i < ARRAYSIZE(missing) && missing[i].module != NULL; i++)
        if (strncasecmp(missing[i].module, module, strlen(missing[i].module)) == 0 &&
            (missing[i].name == NULL || (name != NULL && strcmp(missing[i].name, name) == 0)))
            return true;
    return false;
}

struct win32_knobs win32_knobs_now;

void win32_knobs_set(const struct win32_knobs *knobs)
{
    win32_knobs_now = *knobs;
}
