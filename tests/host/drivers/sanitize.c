/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Faults that only instrumented code shows, for tests/host/sanitize.c: built with address checks,
 * with race checks and with coverage.
 */
#include "testhost.h"

DRIVER_INITIALIZE DriverEntry;

TEST_IMPORT UCHAR *TestAllocate(SIZE_T Bytes);
TEST_IMPORT VOID TestFree(VOID *Block);

TEST_EXPORT LONG Heap(LONG Index);
TEST_EXPORT LONG HeapFreed(VOID);
TEST_EXPORT LONG HeapCopy(LONG Length);
TEST_EXPORT LONG HeapFill(LONG Length);
TEST_EXPORT LONG HeapStruct(LONG Bytes);
TEST_EXPORT LONG Stack(LONG Index);
TEST_EXPORT LONG StackAfterException(LONG Status);
TEST_EXPORT LONG Global(LONG Index);
TEST_EXPORT LONG Straddle(LONG Offset);
TEST_EXPORT VOID Plain(LONG Count);
TEST_EXPORT VOID Atomic(LONG Count);
TEST_EXPORT VOID Publish(VOID);
TEST_EXPORT LONG Consume(VOID);
TEST_EXPORT VOID PublishPlain(VOID);
TEST_EXPORT LONG ConsumePlain(VOID);
TEST_EXPORT LONG Catch(LONG Status, LONG Count);
TEST_EXPORT LONG Magic(const UCHAR *Data, SIZE_T Bytes);

static UCHAR Bytes24[24] = "hello";

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    return STATUS_SUCCESS;
}

LONG Heap(LONG Index)
{
    volatile UCHAR *Block = TestAllocate(20);
    const LONG Value = Block[Index];

    TestFree((VOID *)Block);
    return Value & 0;
}

LONG HeapFreed(VOID)
{
    volatile LONG *Block = (LONG *)TestAllocate(64);

    TestFree((VOID *)Block);
    return Block[3];
}

LONG HeapCopy(LONG Length)
{
    UCHAR *To = TestAllocate(20), *From = TestAllocate(64);

    memcpy(To, From, (SIZE_T)Length);
    TestFree(To);
    TestFree(From);
    return 0;
}

LONG HeapFill(LONG Length)
{
    UCHAR *To = TestAllocate(20);

    memset(To, 1, (SIZE_T)Length);
    TestFree(To);
    return 0;
}

struct seven {
    LONG Values[7];
};

LONG HeapStruct(LONG Bytes)
{
    volatile struct seven *From = (struct seven *)TestAllocate((SIZE_T)Bytes);
    volatile struct seven Copy = *From;

    TestFree((VOID *)From);
    return Copy.Values[6] & 0;
}

LONG Stack(LONG Index)
{
    volatile UCHAR Block[16];
    volatile UCHAR *volatile At = Block;

    Block[0] = 0;
    return At[Index] & 0;
}

/* Leaves a frame with red zones by an exception; then the stack must be clean. */
static DECLSPEC_NOINLINE LONG LeaveFrame(LONG Status)
{
    volatile UCHAR Block[64];
    volatile UCHAR *volatile At = Block;

    At[5] = 1;
    TestRaise(Status);
    return At[5];
}

LONG StackAfterException(LONG Status)
{
    volatile UCHAR Block[16];
    volatile UCHAR *volatile At = Block;
    LONG Result = 0;

    At[3] = 7;
    __try {
        LeaveFrame(Status);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result = At[3];
    }
    return Result;
}

LONG Global(LONG Index)
{
    volatile UCHAR *volatile At = Bytes24;

    return At[Index] & 0;
}

/* Eight bytes of which the last lie beyond a block of 20. */
LONG Straddle(LONG Offset)
{
    volatile UCHAR *Block = TestAllocate(20);
    const ULONGLONG Value = *(volatile ULONGLONG *)(Block + Offset);

    TestFree((VOID *)Block);
    return (LONG)(Value & 0);
}

/* ---- races ---- */

static LONG Counter;
static volatile LONG AtomicCounter;
static LONG Flag, Payload;
static volatile LONG PlainFlag;
static LONG PlainPayload;

VOID Plain(LONG Count)
{
    LONG *volatile At = &Counter;

    while (Count--)
        *At += 1;
}

VOID Atomic(LONG Count)
{
    while (Count--)
        __atomic_fetch_add(&AtomicCounter, 1, __ATOMIC_SEQ_CST);
}

VOID Publish(VOID)
{
    Payload = 42;
    __atomic_store_n(&Flag, 1, __ATOMIC_RELEASE);
}

LONG Consume(VOID)
{
    while (!__atomic_load_n(&Flag, __ATOMIC_ACQUIRE))
        __asm__ volatile("pause");
    return Payload;
}

VOID PublishPlain(VOID)
{
    PlainPayload = 42;
    PlainFlag = 1;
}

LONG ConsumePlain(VOID)
{
    while (!PlainFlag)
        __asm__ volatile("pause");
    return PlainPayload;
}

LONG Catch(LONG Status, LONG Count)
{
    volatile LONG Caught = 0;

    for (LONG I = 0; I < Count; I++) {
        __try {
            LeaveFrame(Status);
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            Caught += 1;
        }
    }
    return Caught;
}

/* Found by a fuzzer only if comparisons and edges reach it. */
LONG Magic(const UCHAR *Data, SIZE_T Bytes)
{
    if (Bytes < 6 || Data[0] != 'W' || Data[1] != 'i')
        return 0;
    if (*(const volatile ULONG *)(Data + 2) == 0x4e55544e)
        return 1;
    return 0;
}
