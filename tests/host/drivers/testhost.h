/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What test drivers may import from the test program that loads them; see testhost.def.
 */
#pragma once

#include <ntifs.h>

#define TEST_EXPORT __declspec(dllexport)
#define TEST_IMPORT __declspec(dllimport)

/* Calls Routine(Argument) back from the host and answers what it answered. */
TEST_IMPORT ULONG_PTR TestCall(ULONG_PTR (*Routine)(ULONG_PTR), ULONG_PTR Argument);
/* The same, with another thread's worth of host frames in between. */
TEST_IMPORT ULONG_PTR TestCallHost(ULONG_PTR (*Routine)(ULONG_PTR), ULONG_PTR Argument);
TEST_IMPORT ULONG_PTR TestNothing(ULONG_PTR Argument);
/* Raises Status when Status is not 0. */
TEST_IMPORT VOID TestRaise(LONG Status);
/* a + 2b + 3c ... + 9i */
TEST_IMPORT ULONG_PTR TestSum(ULONG_PTR A, ULONG_PTR B, ULONG_PTR C, ULONG_PTR D, ULONG_PTR E,
                              ULONG_PTR F, ULONG_PTR G, ULONG_PTR H, ULONG_PTR I);
TEST_IMPORT extern ULONG TestAnswer;
TEST_IMPORT ULONG TestMissing(ULONG Argument); /* provided by nobody */
