/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The other of two drivers that import from each other; see left.c.
 */
#include "testhost.h"

DRIVER_INITIALIZE DriverEntry;

TEST_IMPORT ULONG LeftValue(VOID);
TEST_EXPORT ULONG RightValue(VOID);
TEST_EXPORT ULONG RightThroughLeft(VOID);

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    return STATUS_SUCCESS;
}

ULONG RightValue(VOID)
{
    return 200;
}

ULONG RightThroughLeft(VOID)
{
    return LeftValue() + 2;
}
