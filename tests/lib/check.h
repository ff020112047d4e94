/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The test harness. A test program defines tests with TEST(name) and nothing else; main is in
 * check.c. Every test runs in a child process of its own with a machine it boots itself; it passes
 * when the child exits with 0. Output is one line a test and a last line
 * "N passed, N failed, N skipped". Program arguments: names (prefixes) of tests to run, --list.
 *
 * A failed CHECK prints both values and ends the test. A stop of the machine fails the test unless
 * the test announced the rule with nth_expect_stop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct check_test {
    const char *name;
    void (*run)(void);
    int seconds; /* limit; the child is killed and the test fails */
};

#define TEST(name)                                                                                 \
    static void test_##name(void);                                                                 \
    static const struct check_test check_##name                                                    \
        __attribute__((used, section("check_tests"), aligned(8))) = {#name, test_##name, 60};      \
    static void test_##name(void)

/* Ends the test as skipped, with the reason. */
_Noreturn void check_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void check_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            check_fail(__FILE__, __LINE__, "%s", #condition);                                      \
    } while (0)

/* Integers and pointers, compared as 64 bits and printed in hexadecimal. */
#define CHECK_EQ(actual, expected)                                                                 \
    do {                                                                                           \
        const uint64_t check_a = (uint64_t)(actual), check_e = (uint64_t)(expected);               \
        if (check_a != check_e)                                                                    \
            check_fail(__FILE__, __LINE__, "%s is 0x%llx, expected %s = 0x%llx", #actual,          \
                       (unsigned long long)check_a, #expected, (unsigned long long)check_e);       \
    } while (0)

/* An NTSTATUS. */
#define CHECK_STATUS(actual, expected) CHECK_EQ((uint32_t)(actual), (uint32_t)(expected))

#define CHECK_MEM(actual, expected, bytes)                                                         \
    do {                                                                                           \
        if (memcmp(actual, expected, bytes) != 0)                                                  \
            check_fail(__FILE__, __LINE__, "%s differs from %s", #actual, #expected);              \
    } while (0)

#define CHECK_STR(actual, expected)                                                                \
    do {                                                                                           \
        if (strcmp(actual, expected) != 0)                                                         \
            check_fail(__FILE__, __LINE__, "%s is \"%s\", expected \"%s\"", #actual, actual,       \
                       expected);                                                                  \
    } while (0)
