/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Imports of every kind, for tests/host/import.c: functions with few and many parameters, data,
 * memory functions, and a name that nobody provides.
 */
#include "testhost.h"

DRIVER_INITIALIZE DriverEntry;

TEST_EXPORT ULONG_PTR Nine(ULONG_PTR Base);
TEST_EXPORT ULONG Answer(VOID);
TEST_EXPORT ULONG Missing(ULONG Argument);
TEST_EXPORT VOID Copy(UCHAR *To, const UCHAR *From, SIZE_T Length);
TEST_EXPORT VOID Move(UCHAR *To, const UCHAR *From, SIZE_T Length);
TEST_EXPORT VOID Fill(UCHAR *To, int Value, SIZE_T Length);
TEST_EXPORT int Compare(const UCHAR *Left, const UCHAR *Right, SIZE_T Length);
TEST_EXPORT ULONG_PTR Tail(ULONG_PTR Argument);
TEST_EXPORT ULONG_PTR Loop(ULONG_PTR Count);
TEST_EXPORT ULONG_PTR NestedCall(ULONG_PTR Argument);
TEST_EXPORT VOID Crash(ULONG Code);
TEST_EXPORT VOID FastFail(ULONG Code);
TEST_EXPORT ULONG Read(const volatile ULONG *Address);
TEST_EXPORT VOID Write(volatile ULONG *Address);
TEST_EXPORT VOID Trap(VOID);
TEST_EXPORT ULONG_PTR CurrentThread(VOID);
TEST_EXPORT ULONG_PTR ReadCr8(VOID);
TEST_EXPORT VOID WriteCr8(ULONG_PTR Value);
TEST_EXPORT ULONGLONG SharedTime(VOID);
TEST_EXPORT ULONG SharedMajor(VOID);
TEST_EXPORT ULONG SharedSum(VOID);
TEST_EXPORT ULONG_PTR Twice(ULONG_PTR (*Routine)(ULONG_PTR), ULONG_PTR Argument);

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    return STATUS_SUCCESS;
}

ULONG_PTR Nine(ULONG_PTR Base)
{
    return TestSum(Base, 2, 3, 4, 5, 6, 7, 8, 9);
}

ULONG Answer(VOID)
{
    return TestAnswer;
}

ULONG Missing(ULONG Argument)
{
    return TestMissing(Argument) + 1;
}

VOID Copy(UCHAR *To, const UCHAR *From, SIZE_T Length)
{
    memcpy(To, From, Length);
}

VOID Move(UCHAR *To, const UCHAR *From, SIZE_T Length)
{
    memmove(To, From, Length);
}

VOID Fill(UCHAR *To, int Value, SIZE_T Length)
{
    memset(To, Value, Length);
}

int Compare(const UCHAR *Left, const UCHAR *Right, SIZE_T Length)
{
    return memcmp(Left, Right, Length);
}

/* Optimised, this is a jump to the import and not a call. */
ULONG_PTR Tail(ULONG_PTR Argument)
{
    return TestNothing(Argument);
}

ULONG_PTR Loop(ULONG_PTR Count)
{
    ULONG_PTR Sum = 0;

    while (Count--)
        Sum = TestNothing(Sum);
    return Sum;
}

static ULONG_PTR Inner(ULONG_PTR Argument)
{
    return TestNothing(Argument) + 1;
}

ULONG_PTR NestedCall(ULONG_PTR Argument)
{
    return TestCall(Inner, Argument) + 1;
}

VOID Crash(ULONG Code)
{
    KeBugCheckEx(Code, 1, 2, 3, 4);
}

VOID FastFail(ULONG Code)
{
    __asm__ volatile("int $0x29" ::"c"(Code));
}

ULONG Read(const volatile ULONG *Address)
{
    return *Address;
}

VOID Write(volatile ULONG *Address)
{
    *Address = 1;
}

VOID Trap(VOID)
{
    __builtin_trap();
}

ULONG_PTR CurrentThread(VOID)
{
    ULONG_PTR Thread;

    __asm__ volatile("movq %%gs:0x188, %0" : "=r"(Thread));
    return Thread;
}

ULONG_PTR ReadCr8(VOID)
{
    ULONG_PTR Value;

    __asm__ volatile("movq %%cr8, %0" : "=r"(Value));
    return Value;
}

VOID WriteCr8(ULONG_PTR Value)
{
    __asm__ volatile("movq %0, %%cr8" ::"r"(Value));
}

#define SHARED_DATA 0xFFFFF78000000000ull

/* KSYSTEM_TIME as code without a kernel call reads it: both halves until they agree. */
ULONGLONG SharedTime(VOID)
{
    const volatile ULONG *Low = (const volatile ULONG *)(SHARED_DATA + 0x14);
    ULONG High, Value;

    do {
        High = Low[1];
        Value = Low[0];
    } while (High != Low[2]);
    return (ULONGLONG)High << 32 | Value;
}

ULONG SharedMajor(VOID)
{
    return *(const volatile ULONG *)(SHARED_DATA + 0x26c);
}

/* Every form of load that compilers use for these fields; each answers the major version. */
ULONG SharedSum(VOID)
{
    ULONGLONG Base = SHARED_DATA, Index = 0x26c / 4, A, B, C, D, E, F = 0, G, H;
    UCHAR Equal, Below, Bit;

    __asm__ volatile("movabsl 0xFFFFF7800000026c, %%eax" : "=a"(A));
    __asm__ volatile("movzwl 0x26c(%1), %k0" : "=r"(B) : "r"(Base));
    __asm__ volatile("movsbq 0x26c(%1), %0" : "=r"(C) : "r"(Base));
    __asm__ volatile("movslq (%1,%2,4), %0" : "=r"(D) : "r"(Base), "r"(Index));
    E = Base;
    __asm__ volatile("movl 0x26c(%0), %k0" : "+r"(E));
    __asm__ volatile("addl 0x26c(%1), %k0" : "+r"(F) : "r"(Base) : "cc");
    __asm__ volatile("cmpl $10, 0x26c(%1); sete %0" : "=r"(Equal) : "r"(Base) : "cc");
    __asm__ volatile("cmpb $11, 0x26c(%1); setb %0" : "=r"(Below) : "r"(Base) : "cc");
    __asm__ volatile("testb $2, 0x26c(%1); setnz %0" : "=r"(Bit) : "r"(Base) : "cc");
    __asm__ volatile("xorl %k0, %k0; movb 0x26c(%1), %b0" : "=&q"(G) : "r"(Base) : "cc");
    __asm__ volatile("movw 0x26c(%1), %w0; movzwl %w0, %k0" : "=&r"(H) : "r"(Base));
    if (!Equal || !Below || !Bit)
        return 0;
    return (ULONG)(A + B + C + D + E + F + G + H);
}

ULONG_PTR Twice(ULONG_PTR (*Routine)(ULONG_PTR), ULONG_PTR Argument)
{
    return Routine(Argument) + Routine(Argument);
}
