/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The kernel functions that are nothing but the machinery of this folder: raising and handling
 * exceptions, stopping, and moving memory. Everything else a driver imports is in nt/ and ndis/.
 */
#include "pe/private.h"

#define DATATYPE_MISALIGNMENT 0x80000002u
#define ACCESS_VIOLATION      0xC0000005u

#ifdef NTH_ASAN
#define CHECKED(name) nth_asan_##name /* thunk.S: asks asan.c, then does the same */
#else
#define CHECKED(name) nth_##name
#endif

void *NTAPI CHECKED(memmove)(void *to, const void *from, size_t bytes);
void *NTAPI CHECKED(memset)(void *to, int value, size_t bytes);
int NTAPI CHECKED(memcmp)(const void *left, const void *right, size_t bytes);

NTH_EXPORT_AS(memmove, "memmove", CHECKED(memmove), NTH_RAW);
NTH_EXPORT_AS(memcpy, "memcpy", CHECKED(memmove), NTH_RAW); /* safe for overlapping memory too */
NTH_EXPORT_AS(memset, "memset", CHECKED(memset), NTH_RAW);
NTH_EXPORT_AS(memcmp, "memcmp", CHECKED(memcmp), NTH_RAW);
#ifdef NTH_ASAN
NTH_EXPORT_AS(asan_memmove, "__asan_memmove", CHECKED(memmove), NTH_RAW);
NTH_EXPORT_AS(asan_memcpy, "__asan_memcpy", CHECKED(memmove), NTH_RAW);
NTH_EXPORT_AS(asan_memset, "__asan_memset", CHECKED(memset), NTH_RAW);
#endif
NTH_EXPORT_AS(c_specific_handler, "__C_specific_handler", nth_c_specific_handler, NTH_RAW);

static void irql_max(KIRQL max)
{
    if (nth_irql() > max)
        nth_stop("irql-too-high", "%s at IRQL %u, allowed up to %u", nth_call_name(), nth_irql(),
                 max);
}

VOID NTAPI ExRaiseStatus(NTSTATUS Status)
{
    irql_max(APC_LEVEL);
    nth_raise(Status, 0, NULL);
}
NTH_EXPORT(ExRaiseStatus, 1);

/* The pages give neither routine a parameter: the exception has no more than its code. */
VOID NTAPI ExRaiseAccessViolation(VOID)
{
    irql_max(PASSIVE_LEVEL);
    nth_raise((NTSTATUS)ACCESS_VIOLATION, 0, NULL);
}
NTH_EXPORT(ExRaiseAccessViolation, 0);

VOID NTAPI ExRaiseDatatypeMisalignment(VOID)
{
    irql_max(PASSIVE_LEVEL);
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
