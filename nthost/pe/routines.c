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

VOID NTAPI ExRaiseStatus(NTSTATUS Status)
{
    nth_raise(Status, 0, NULL);
}
NTH_EXPORT(ExRaiseStatus, 1);

/* The pages give neither routine a parameter: the exception has no more than its code. */
VOID NTAPI ExRaiseAccessViolation(VOID)
{
    nth_raise((NTSTATUS)ACCESS_VIOLATION, 0, NULL);
}
NTH_EXPORT(ExRaiseAccessViolation, 0);

VOID NTAPI ExRaiseDatatypeMisalignment(VOID)
{
    nth_raise((NTSTATUS)DATATYPE_MISALIGNMENT, 0, NULL);
}
NTH_EXPORT(ExRaiseDatatypeMisalignment, 0);

VOID NTAPI KeBugCheck(ULONG BugCheckCode)
{
    nth_stop("bugcheck", "KeBugCheck(0x%08x)", BugCheckCode);
}
NTH_EXPORT(KeBugCheck, 1);

VOID NTAPI KeBugCheckEx(ULONG BugCheckCode, ULONG_PTR Parameter1, ULONG_PTR Parameter2,
                        ULONG_PTR Parameter3, ULONG_PTR Parameter4)
{
    nth_stop("bugcheck", "KeBugCheckEx(0x%08x, 0x%llx, 0x%llx, 0x%llx, 0x%llx)", BugCheckCode,
             (unsigned long long)Parameter1, (unsigned long long)Parameter2,
             (unsigned long long)Parameter3, (unsigned long long)Parameter4);
}
NTH_EXPORT(KeBugCheckEx, 5);
