/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The kernel functions that are nothing but the machinery of this folder: raising and handling
 * exceptions, stopping, and moving memory. Everything else a driver imports is in nt/ and ndis/.
 */
#include "pe/private.h"

#define DATATYPE_MISALIGNMENT 0x80000002u
#define ACCESS_VIOLATION      0xC0000005u

void *NTAPI nth_memmove(void *to, const void *from, size_t bytes);
void *NTAPI nth_memset(void *to, int value, size_t bytes);
int NTAPI nth_memcmp(const void *left, const void *right, size_t bytes);

NTH_EXPORT_AS(memmove, "memmove", nth_memmove, NTH_RAW);
NTH_EXPORT_AS(memcpy, "memcpy", nth_memmove, NTH_RAW); /* safe for overlapping memory, as memmove */
NTH_EXPORT_AS(memset, "memset", nth_memset, NTH_RAW);
NTH_EXPORT_AS(memcmp, "memcmp", nth_memcmp, NTH_RAW);
NTH_EXPORT_AS(c_specific_handler, "__C_specific_handler", nth_c_specific_handler, NTH_RAW);

static void NTAPI raise_status(NTSTATUS status)
{
    nth_raise(status, 0, NULL);
}
NTH_EXPORT_AS(ExRaiseStatus, "ExRaiseStatus", raise_status, 1);

/* The pages give neither routine a parameter: the exception has no more than its code. */
static void NTAPI raise_access_violation(void)
{
    nth_raise((NTSTATUS)ACCESS_VIOLATION, 0, NULL);
}
NTH_EXPORT_AS(ExRaiseAccessViolation, "ExRaiseAccessViolation", raise_access_violation, 0);

static void NTAPI raise_datatype_misalignment(void)
{
    nth_raise((NTSTATUS)DATATYPE_MISALIGNMENT, 0, NULL);
}
NTH_EXPORT_AS(ExRaiseDatatypeMisalignment, "ExRaiseDatatypeMisalignment",
              raise_datatype_misalignment, 0);

static void NTAPI bug_check(ULONG code)
{
    nth_stop("bugcheck", "KeBugCheck(0x%08x)", code);
}
NTH_EXPORT_AS(KeBugCheck, "KeBugCheck", bug_check, 1);

static void NTAPI bug_check_ex(ULONG code, ULONG_PTR one, ULONG_PTR two, ULONG_PTR three,
                               ULONG_PTR four)
{
    nth_stop("bugcheck", "KeBugCheckEx(0x%08x, 0x%llx, 0x%llx, 0x%llx, 0x%llx)", code,
             (unsigned long long)one, (unsigned long long)two, (unsigned long long)three,
             (unsigned long long)four);
}
NTH_EXPORT_AS(KeBugCheckEx, "KeBugCheckEx", bug_check_ex, 5);
