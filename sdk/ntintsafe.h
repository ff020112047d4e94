/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */

/*
 * Arithmetic on sizes that come from outside. Each function stores the result and says
 * STATUS_INTEGER_OVERFLOW when it does not fit; the result is then all ones, so that a caller who
 * forgets to look fails as well.
 */

#pragma once

#include <ntdef.h>
#include <ntstatus.h>

#define SDK_SAFE(Name, Type, Operation)                                                            \
    FORCEINLINE _Must_inspect_result_ NTSTATUS Name(Type Left, Type Right, Type *Result)           \
    {                                                                                              \
        if (!__builtin_##Operation##_overflow(Left, Right, Result))                                \
            return STATUS_SUCCESS;                                                                 \
        *Result = (Type) ~(Type)0;                                                                 \
        return STATUS_INTEGER_OVERFLOW;                                                            \
    }
#define SDK_SAFE_CAST(Name, From, To)                                                              \
    FORCEINLINE _Must_inspect_result_ NTSTATUS Name(From Value, To *Result)                        \
    {                                                                                              \
        *Result = (To)Value;                                                                       \
        if (*Result == Value)                                                                      \
            return STATUS_SUCCESS;                                                                 \
        *Result = (To) ~(To)0;                                                                     \
        return STATUS_INTEGER_OVERFLOW;                                                            \
    }

SDK_SAFE(RtlUShortAdd, USHORT, add)
SDK_SAFE(RtlUShortSub, USHORT, sub)
SDK_SAFE(RtlUShortMult, USHORT, mul)
SDK_SAFE(RtlULongAdd, ULONG, add)
SDK_SAFE(RtlULongSub, ULONG, sub)
SDK_SAFE(RtlULongMult, ULONG, mul)
SDK_SAFE(RtlULongLongAdd, ULONGLONG, add)
SDK_SAFE(RtlULongLongSub, ULONGLONG, sub)
#ifndef _X86_ /* the compiler's library has no 64-bit product there */
SDK_SAFE(RtlULongLongMult, ULONGLONG, mul)
#endif
SDK_SAFE(RtlULongPtrAdd, ULONG_PTR, add)
SDK_SAFE(RtlULongPtrSub, ULONG_PTR, sub)
SDK_SAFE(RtlULongPtrMult, ULONG_PTR, mul)
SDK_SAFE(RtlSizeTAdd, SIZE_T, add)
SDK_SAFE(RtlSizeTSub, SIZE_T, sub)
SDK_SAFE(RtlSizeTMult, SIZE_T, mul)
SDK_SAFE_CAST(RtlULongToUShort, ULONG, USHORT)
SDK_SAFE_CAST(RtlSizeTToULong, SIZE_T, ULONG)
SDK_SAFE_CAST(RtlSizeTToUShort, SIZE_T, USHORT)
SDK_SAFE_CAST(RtlULongLongToULong, ULONGLONG, ULONG)
SDK_SAFE_CAST(RtlULongLongToSizeT, ULONGLONG, SIZE_T)
