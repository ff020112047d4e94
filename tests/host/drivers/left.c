/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * One of two drivers that import from each other; also everything that depends on where an image
 * is: pointers in data, zeroed data, constants, and a load configuration with a security cookie.
 */
#include "testhost.h"

DRIVER_INITIALIZE DriverEntry;

TEST_IMPORT ULONG RightValue(VOID);
TEST_EXPORT ULONG LeftValue(VOID);
TEST_EXPORT ULONG LeftThroughRight(VOID);
TEST_EXPORT ULONG Dispatch(ULONG Index);
TEST_EXPORT ULONG Zeroes(VOID);
TEST_EXPORT ULONG_PTR Cookie(VOID);
TEST_EXPORT const ULONG *Constant(VOID);
TEST_EXPORT ULONG *Variable(VOID);

/* IMAGE_LOAD_CONFIG_DIRECTORY64 up to its cookie; the linker looks for this name. */
#define DEFAULT_COOKIE 0x00002B992DDFA232ull
static ULONGLONG TheCookie = DEFAULT_COOKIE;
extern const struct load_config {
    ULONG Size;
    UCHAR Before[0x54];
    ULONGLONG *SecurityCookie;
    UCHAR After[0x10];
} _load_config_used;
const struct load_config _load_config_used = {.Size = sizeof(struct load_config),
                                              .SecurityCookie = &TheCookie};

static volatile ULONG Zero[3000];
static const ULONG Answers[] = {42, 43};
static ULONG Counter = 7;

static ULONG First(VOID)
{
    return 1;
}

static ULONG Second(VOID)
{
    return 2;
}

static ULONG (*const volatile Table[])(VOID) = {First, Second, LeftValue};

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    return STATUS_SUCCESS;
}

ULONG LeftValue(VOID)
{
    return 100;
}

ULONG LeftThroughRight(VOID)
{
    return RightValue() + 1;
}

ULONG Dispatch(ULONG Index)
{
    return Table[Index]();
}

ULONG Zeroes(VOID)
{
    ULONG Sum = 0;

    for (ULONG I = 0; I < 3000; I++)
        Sum |= Zero[I];
    return Sum;
}

ULONG_PTR Cookie(VOID)
{
    return *(volatile ULONGLONG *)&TheCookie;
}

const ULONG *Constant(VOID)
{
    return Answers;
}

ULONG *Variable(VOID)
{
    return &Counter;
}
