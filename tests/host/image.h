/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * For tests of pe/: the test drivers in every variant they are built in, loaded without the rest of
 * the kernel ever starting them.
 */
#pragma once

#include "check.h"
#include "pe/private.h"

#include <stdlib.h>

static const char *const variants[] = {"gnu-O0", "gnu-O2", "msvc-O0", "msvc-O2"};
enum { VARIANTS = 4 };

static inline struct nth_image *load_variant(const char *variant, const char *name)
{
    struct nth_image *image = NULL;
    const char *error = NULL;
    char path[256];

    snprintf(path, sizeof path, "out/drivers/%s/%s.sys", variant, name);
    if (nth_image_load(path, &image, &error) != 0)
        check_fail(__FILE__, __LINE__, "%s", error);
    return image;
}

static inline void *export_of(const struct nth_image *image, const char *name)
{
    void *address = nth_image_export(image, name);

    if (!address)
        check_fail(__FILE__, __LINE__, "%s does not export %s", nth_image_name(image), name);
    return address;
}

/* Calls an export with up to four parameters, all taken as 64-bit integers. */
#define CALL4(image, name, a, b, c, d)                                                             \
    ((uint64_t(NTAPI *)(uint64_t, uint64_t, uint64_t, uint64_t))export_of(image, name))(           \
        (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d))
#define CALL1(image, name, a) CALL4(image, name, a, 0, 0, 0)
#define CALL0(image, name)    CALL4(image, name, 0, 0, 0, 0)

static inline void boot(enum nth_mode mode)
{
    const struct nth_config config = {.mode = mode};

    nth_boot(&config);
}
