/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Structured exceptions in every shape, for tests/host/unwind.c. Each function answers a number
 * that tells which handlers ran and in which order.
 */
#include "testhost.h"

#define NOINLINE DECLSPEC_NOINLINE

DRIVER_INITIALIZE DriverEntry;
extern int _fltused;
int _fltused = 1; /* asked for by code with floating point in the msvc variant */

TEST_EXPORT LONG RaiseCaught(LONG Status);
TEST_EXPORT LONG RaiseFiltered(LONG Status, LONG Wanted);
TEST_EXPORT LONG Nested(LONG Status);
TEST_EXPORT LONG Finally(LONG Status);
TEST_EXPORT LONG FinallyNormal(VOID);
TEST_EXPORT LONG FinallyLeft(LONG Way);
TEST_EXPORT LONG Rethrow(LONG Status);
TEST_EXPORT LONG Collided(LONG Status);
TEST_EXPORT LONG CollidedTwice(LONG Status);
TEST_EXPORT LONG FilterRaises(LONG Status);
TEST_EXPORT LONG FilterRaisesFinally(LONG Status);
TEST_EXPORT LONG Locals(LONG Status, LONG Bytes);
TEST_EXPORT LONG Deep(LONG Status, LONG Depth);
TEST_EXPORT LONG DeepFinally(LONG Status, LONG Depth);
TEST_EXPORT LONG ThroughHost(LONG Status, LONG Depth);
TEST_EXPORT LONG LargeFrame(LONG Status);
TEST_EXPORT double Floats(LONG Status, double Value);
TEST_EXPORT LONG NonVolatile(LONG Status, LONG ThroughHostToo);
TEST_EXPORT LONG FaultSameFrame(volatile LONG *Address);
TEST_EXPORT LONG FaultCallee(volatile LONG *Address);
TEST_EXPORT LONG FaultInlined(volatile LONG *Address);
TEST_EXPORT LONG FaultWrite(volatile LONG *Address, ULONG_PTR *Information);
TEST_EXPORT LONG FaultCopy(UCHAR *From, SIZE_T Length);
TEST_EXPORT LONG FaultFill(UCHAR *To, SIZE_T Length);
TEST_EXPORT LONG FaultContinued(volatile LONG *Address, ULONG_PTR Instead);
TEST_EXPORT LONG FaultInFilter(volatile LONG *Address);
TEST_EXPORT LONG FaultInFilterForEver(volatile LONG *Address);
TEST_EXPORT LONG Divide(LONG Value, LONG By);
TEST_EXPORT LONG Uncaught(LONG Status);
TEST_EXPORT LONG ContinueRaised(LONG Status);
TEST_EXPORT LONG CatchChained(LONG Status);
TEST_EXPORT LONG Chained(LONG Status);
TEST_EXPORT LONG Loop(LONG Status, LONG Count);
TEST_EXPORT LONG RaiseRoutine(LONG Which);

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    return STATUS_SUCCESS;
}

LONG RaiseCaught(LONG Status)
{
    LONG Result = 1;

    __try {
        TestRaise(Status);
        Result = 2;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result = (LONG)GetExceptionCode();
    }
    return Result;
}

LONG RaiseFiltered(LONG Status, LONG Wanted)
{
    volatile LONG Kept = Wanted;
    LONG Result = 1;

    __try {
        TestRaise(Status);
        Result = 2;
    } __except ((LONG)GetExceptionCode() == Kept ? EXCEPTION_EXECUTE_HANDLER
                                                 : EXCEPTION_CONTINUE_SEARCH) {
        Result = 3;
    }
    return Result;
}

LONG Nested(LONG Status)
{
    LONG Result = 0;

    __try {
        Result |= 1;
        RaiseFiltered(Status, 0x1234);
        Result |= 2;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result |= 4;
    }
    return Result;
}

/* Digits in order of execution: filter 7, inner finally 1 (abnormal) or 6, outer 2, handler 3. */
LONG Finally(LONG Status)
{
    volatile LONG Order = 0;

    __try {
        __try {
            __try {
                TestRaise(Status);
            } __finally {
                Order = Order * 10 + (AbnormalTermination() ? 1 : 6);
            }
        } __finally {
            Order = Order * 10 + 2;
        }
    } __except (Order = Order * 10 + 7, EXCEPTION_EXECUTE_HANDLER) {
        Order = Order * 10 + 3;
    }
    return Order;
}

LONG FinallyNormal(VOID)
{
    LONG Order = 0;

    __try {
        Order = 1;
    } __finally {
        Order = Order * 10 + (AbnormalTermination() ? 9 : 2);
    }
    return Order;
}

LONG FinallyLeft(LONG Way)
{
    volatile LONG Order = 0;

    for (LONG I = 0; I < 3; I++) {
        __try {
            if (Way == 1 && I == 1)
                break;
            if (Way == 2 && I == 1)
                continue;
            Order = Order * 10 + 1;
        } __finally {
            Order = Order * 10 + 2;
        }
    }
    return Order;
}

LONG Rethrow(LONG Status)
{
    volatile LONG Result = 0;

    __try {
        __try {
            TestRaise(Status);
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            Result = 10;
            ExRaiseStatus(STATUS_NO_MEMORY);
        }
    } __except ((LONG)GetExceptionCode() == STATUS_NO_MEMORY) {
        Result += 5;
    }
    return Result;
}

/* The second exception is raised while the first one unwinds, and replaces it. */
LONG Collided(LONG Status)
{
    volatile LONG Result = 0;

    __try {
        __try {
            TestRaise(Status);
        } __finally {
            Result += 1;
            ExRaiseStatus(STATUS_NO_MEMORY);
        }
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result += (LONG)GetExceptionCode() == STATUS_NO_MEMORY ? 100 : 50;
    }
    return Result;
}

static NOINLINE VOID CollideBelow(LONG Status, volatile LONG *Result)
{
    __try {
        __try {
            TestRaise(Status);
        } __finally {
            *Result += 1;
            ExRaiseStatus(STATUS_NO_MEMORY);
        }
    } __finally {
        *Result += 10;
        ExRaiseStatus(STATUS_ACCESS_DENIED);
    }
}

/* Each __finally runs once, although the second and third exception search the same frames again.
 */
LONG CollidedTwice(LONG Status)
{
    volatile LONG Result = 0;

    __try {
        CollideBelow(Status, &Result);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result += (LONG)GetExceptionCode() == STATUS_ACCESS_DENIED ? 100 : 500;
    }
    return Result;
}

static NOINLINE LONG FilterThatRaises(LONG Code)
{
    if (Code == STATUS_NO_MEMORY)
        return EXCEPTION_CONTINUE_SEARCH;
    ExRaiseStatus(STATUS_NO_MEMORY);
}

LONG FilterRaises(LONG Status)
{
    volatile LONG Result = 0;

    __try {
        __try {
            TestRaise(Status);
        } __except (FilterThatRaises((LONG)GetExceptionCode())) {
            Result += 1;
        }
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result += (LONG)GetExceptionCode() == STATUS_NO_MEMORY ? 100 : 50;
    }
    return Result;
}

static NOINLINE LONG FilterThatCatches(VOID)
{
    LONG Answer = EXCEPTION_CONTINUE_SEARCH;

    __try {
        ExRaiseStatus(STATUS_NO_MEMORY);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Answer = EXCEPTION_EXECUTE_HANDLER;
    }
    return Answer;
}

/* A filter that has an exception of its own and handles it: the first one is then handled too. */
LONG FilterRaisesFinally(LONG Status)
{
    volatile LONG Result = 0;

    __try {
        __try {
            TestRaise(Status);
        } __finally {
            Result += 1;
        }
    } __except (FilterThatCatches()) {
        Result += (LONG)GetExceptionCode() == Status ? 10 : 20;
    }
    return Result;
}

/* Values that live across the edge to the handler, in a frame of variable size. */
LONG Locals(LONG Status, LONG Bytes)
{
    volatile CHAR *Block = __builtin_alloca((SIZE_T)Bytes);
    volatile LONG Sum = 0;

    for (LONG I = 0; I < Bytes; I++)
        Block[I] = 3;
    for (LONG I = 0; I < 4; I++) {
        __try {
            Sum += I;
            TestRaise(Status);
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            Sum += 100 + Block[Bytes - 1];
        }
    }
    return Sum;
}

static NOINLINE LONG Descend(LONG Status, LONG Depth)
{
    volatile LONG Kept = Depth;

    if (Depth == 0)
        TestRaise(Status);
    else
        Descend(Status, Depth - 1);
    return Kept;
}

LONG Deep(LONG Status, LONG Depth)
{
    LONG Result = 0;

    __try {
        Result = Descend(Status, Depth);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result = -1;
    }
    return Result;
}

static NOINLINE VOID DescendFinally(LONG Status, LONG Depth, volatile LONG *Count)
{
    __try {
        if (Depth == 0)
            TestRaise(Status);
        else
            DescendFinally(Status, Depth - 1, Count);
    } __finally {
        *Count += 1;
    }
}

LONG DeepFinally(LONG Status, LONG Depth)
{
    volatile LONG Count = 0;

    __try {
        DescendFinally(Status, Depth, &Count);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Count += 1000;
    }
    return Count;
}

struct hop {
    LONG Status, Depth;
    volatile LONG Count;
};

static ULONG_PTR Hop(ULONG_PTR Argument)
{
    struct hop *Self = (struct hop *)Argument;

    __try {
        if (Self->Depth-- == 0)
            TestRaise(Self->Status);
        else if (Self->Depth & 1)
            TestCallHost(Hop, Argument);
        else
            TestCall(Hop, Argument);
    } __finally {
        Self->Count += 1;
    }
    return 0;
}

/* Driver and host frames in turn on one stack. */
LONG ThroughHost(LONG Status, LONG Depth)
{
    struct hop Hops = {Status, Depth, 0};

    __try {
        Hop((ULONG_PTR)&Hops);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Hops.Count += 1000;
    }
    return Hops.Count;
}

static NOINLINE LONG UseLargeFrame(LONG Status, LONG Seed)
{
    volatile UCHAR Block[600 * 1024];

    Block[0] = (UCHAR)Seed;
    Block[sizeof(Block) - 1] = (UCHAR)Seed;
    TestRaise(Status);
    return Block[0] + Block[sizeof(Block) - 1];
}

LONG LargeFrame(LONG Status)
{
    LONG Result = 0;

    __try {
        Result = UseLargeFrame(Status, 5);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result = -1;
    }
    return Result;
}

static NOINLINE double UseFloats(LONG Status, double A, double B, double C, double D)
{
    volatile double Sum = A + B;

    TestRaise(Status);
    return Sum + C * D + A * B;
}

/* Nonvolatile xmm registers hold these across the calls when optimised. */
double Floats(LONG Status, double Value)
{
    const double A = Value + 1, B = Value + 2, C = Value + 3, D = Value + 4;
    double Result = 0;

    TestRaise(0);
    __try {
        Result = UseFloats(Status, A, B, C, D);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result = -1;
    }
    TestRaise(0);
    return Result + A * 1000 + B * 100 + C * 10 + D;
}

static NOINLINE VOID Clobber(LONG Status)
{
    __asm__ volatile("pcmpeqd %%xmm6,%%xmm6; pcmpeqd %%xmm7,%%xmm7; pcmpeqd %%xmm8,%%xmm8;"
                     "pcmpeqd %%xmm9,%%xmm9; pcmpeqd %%xmm10,%%xmm10; pcmpeqd %%xmm11,%%xmm11;"
                     "pcmpeqd %%xmm12,%%xmm12; pcmpeqd %%xmm13,%%xmm13; pcmpeqd %%xmm14,%%xmm14;"
                     "pcmpeqd %%xmm15,%%xmm15; mov $-1,%%rbx; mov $-1,%%rsi; mov $-1,%%rdi;"
                     "mov $-1,%%r12; mov $-1,%%r13; mov $-1,%%r14; mov $-1,%%r15" ::
                         : "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
                           "xmm14", "xmm15", "rbx", "rsi", "rdi", "r12", "r13", "r14", "r15");
    TestRaise(Status);
}

static ULONG_PTR ClobberBack(ULONG_PTR Argument)
{
    Clobber((LONG)Argument);
    return 0;
}

static NOINLINE LONG CatchClobber(LONG Status, LONG Back)
{
    LONG Result = 0;

    __try {
        if (Back)
            TestCall(ClobberBack, (ULONG_PTR)(ULONG)Status);
        else
            Clobber(Status);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result = 1;
    }
    return Result;
}

/* Every nonvolatile register has its value again after a call in which an exception was caught. */
LONG NonVolatile(LONG Status, LONG Back)
{
    LONG (*volatile Function)(LONG, LONG) = CatchClobber;
    ULONG_PTR Wrong, A = (ULONG_PTR)(ULONG)Status, B = (ULONG_PTR)Back;

    TestRaise(0); /* a function that calls has an aligned stack, as the assembly needs */
    __asm__ volatile(
        "sub $0x20,%%rsp\n"
        "mov $0x11,%%r12\n mov $0x12,%%r13\n mov $0x13,%%r14\n mov $0x14,%%r15\n"
        "mov $0x15,%%rsi\n mov $0x16,%%rdi\n"
        "movq %%r12,%%xmm6\n movq %%r13,%%xmm7\n movq %%r14,%%xmm8\n movq %%r15,%%xmm9\n"
        "movq %%rsi,%%xmm10\n movq %%rdi,%%xmm11\n movq %%r12,%%xmm12\n movq %%r13,%%xmm13\n"
        "movq %%r14,%%xmm14\n movq %%r15,%%xmm15\n"
        "call *%%rax\n"
        "lea -1(%%rax),%%eax\n"
        "xor $0x11,%%r12\n or %%r12,%%rax\n xor $0x12,%%r13\n or %%r13,%%rax\n"
        "xor $0x13,%%r14\n or %%r14,%%rax\n xor $0x14,%%r15\n or %%r15,%%rax\n"
        "xor $0x15,%%rsi\n or %%rsi,%%rax\n xor $0x16,%%rdi\n or %%rdi,%%rax\n"
        "movq %%xmm6,%%rcx\n xor $0x11,%%rcx\n or %%rcx,%%rax\n"
        "movq %%xmm7,%%rcx\n xor $0x12,%%rcx\n or %%rcx,%%rax\n"
        "movq %%xmm8,%%rcx\n xor $0x13,%%rcx\n or %%rcx,%%rax\n"
        "movq %%xmm9,%%rcx\n xor $0x14,%%rcx\n or %%rcx,%%rax\n"
        "movq %%xmm10,%%rcx\n xor $0x15,%%rcx\n or %%rcx,%%rax\n"
        "movq %%xmm11,%%rcx\n xor $0x16,%%rcx\n or %%rcx,%%rax\n"
        "movq %%xmm12,%%rcx\n xor $0x11,%%rcx\n or %%rcx,%%rax\n"
        "movq %%xmm13,%%rcx\n xor $0x12,%%rcx\n or %%rcx,%%rax\n"
        "movq %%xmm14,%%rcx\n xor $0x13,%%rcx\n or %%rcx,%%rax\n"
        "movq %%xmm15,%%rcx\n xor $0x14,%%rcx\n or %%rcx,%%rax\n"
        "add $0x20,%%rsp\n"
        : "=a"(Wrong), "+c"(A), "+d"(B)
        : "0"(Function)
        : "memory", "cc", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rsi", "rdi",
          "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    return Wrong ? 0 : 1;
}

/* ---- faults ---- */

LONG FaultSameFrame(volatile LONG *Address)
{
    LONG Result = 0;

    __try {
        Result = *Address;
    } __except ((LONG)GetExceptionCode() == STATUS_ACCESS_VIOLATION) {
        Result = 1;
    }
    return Result;
}

static NOINLINE LONG Touch(volatile LONG *Address)
{
    return *Address;
}

LONG FaultCallee(volatile LONG *Address)
{
    LONG Result = 0;

    __try {
        Result = Touch(Address);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result = 1;
    }
    return Result;
}

static LONG TouchInlined(volatile LONG *Address)
{
    return *Address;
}

LONG FaultInlined(volatile LONG *Address)
{
    LONG Result = 0;

    __try {
        Result = TouchInlined(Address);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result = 1;
    }
    return Result;
}

/* EXCEPTION_POINTERS, EXCEPTION_RECORD and the registers of CONTEXT used here. */
struct record {
    ULONG Code, Flags;
    struct record *Chain;
    PVOID Address;
    ULONG NumberParameters, Padding;
    ULONG_PTR Information[15];
};
struct pointers {
    struct record *Record;
    UCHAR *Context;
};
enum { CONTEXT_RCX = 0x80, CONTEXT_RIP = 0xf8 };

static LONG Keep(PVOID Argument, ULONG_PTR *Information)
{
    const struct pointers *Pointers = Argument;
    const struct record *Record = Pointers->Record;

    Information[0] = Record->NumberParameters;
    Information[1] = Record->Information[0];
    Information[2] = Record->Information[1];
    Information[3] = (ULONG_PTR)Record->Address;
    Information[4] = *(ULONG_PTR *)(Pointers->Context + CONTEXT_RIP);
    return EXCEPTION_EXECUTE_HANDLER;
}

LONG FaultWrite(volatile LONG *Address, ULONG_PTR *Information)
{
    LONG Result = 0;

    __try {
        *Address = 5;
    } __except (Keep(GetExceptionInformation(), Information)) {
        Result = 1;
    }
    return Result;
}

LONG FaultCopy(UCHAR *From, SIZE_T Length)
{
    static UCHAR Block[8192];
    LONG Result = 0;

    __try {
        memcpy(Block, From, Length);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result = 1;
    }
    return Result;
}

LONG FaultFill(UCHAR *To, SIZE_T Length)
{
    LONG Result = 0;

    __try {
        memset(To, 1, Length);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result = 1;
    }
    return Result;
}

/* mov eax, [rcx]; ret */
static NOINLINE LONG TouchRcx(volatile LONG *Address)
{
    LONG Value;

    __asm__ volatile("movl (%%rcx), %%eax" : "=a"(Value) : "c"(Address));
    return Value;
}

static LONG Repair(PVOID Argument, ULONG_PTR Instead)
{
    const struct pointers *Pointers = Argument;

    *(ULONG_PTR *)(Pointers->Context + CONTEXT_RCX) = Instead;
    return EXCEPTION_CONTINUE_EXECUTION;
}

LONG FaultContinued(volatile LONG *Address, ULONG_PTR Instead)
{
    LONG Result = 0;

    __try {
        Result = TouchRcx(Address);
    } __except (Repair(GetExceptionInformation(), Instead)) {
        Result = 1;
    }
    return Result;
}

LONG FaultInFilter(volatile LONG *Address)
{
    volatile LONG Result = 0;

    __try {
        __try {
            TestRaise(STATUS_NO_MEMORY);
        } __except ((LONG)GetExceptionCode() == STATUS_NO_MEMORY ? Touch(Address)
                                                                 : EXCEPTION_CONTINUE_SEARCH) {
            Result = 1;
        }
    } __except ((LONG)GetExceptionCode() == STATUS_ACCESS_VIOLATION) {
        Result = 2;
    }
    return Result;
}

/* Its filter fails anew whenever it is asked about its own failure. */
LONG FaultInFilterForEver(volatile LONG *Address)
{
    LONG Result = 0;

    __try {
        TestRaise(STATUS_NO_MEMORY);
    } __except (Touch(Address)) {
        Result = 1;
    }
    return Result;
}

LONG Divide(LONG Value, LONG By)
{
    LONG Result = 0;

    __try {
        Result = Value / By;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result = (LONG)GetExceptionCode();
    }
    return Result;
}

LONG Uncaught(LONG Status)
{
    LONG Result = 0;

    __try {
        TestRaise(Status);
    } __except (EXCEPTION_CONTINUE_SEARCH) {
        Result = 1;
    }
    return Result;
}

LONG ContinueRaised(LONG Status)
{
    LONG Result = 0;

    __try {
        __try {
            TestRaise(Status);
        } __except ((LONG)GetExceptionCode() == Status ? EXCEPTION_CONTINUE_EXECUTION
                                                       : EXCEPTION_CONTINUE_SEARCH) {
            Result = 1;
        }
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result = (LONG)GetExceptionCode();
    }
    return Result;
}

/* A function in two parts, the second chained to the first: the first saves rbx, the second rsi and
 * calls Routine with Status. Its tables are written by hand, because the assembler's chained
 * entries overlap their parent, as the function table must not. */
LONG ChainedParts(VOID (*Routine)(LONG), LONG Status);
__asm__(".text\n"
        ".globl ChainedParts\n"
        "ChainedParts:\n"
        "  pushq %rbx\n"
        "  subq $0x30, %rsp\n"
        "  movq %rcx, %rax\n"
        "  movl %edx, %ecx\n"
        "  movq $-1, %rbx\n"
        "  testq %rax, %rax\n"
        "  jnz ChainedPart2\n"
        "  addq $0x30, %rsp\n"
        "  popq %rbx\n"
        "  retq\n"
        "ChainedPart2:\n"
        "  movq %rsi, 0x28(%rsp)\n"
        "  movq $-1, %rsi\n"
        "  callq *%rax\n"
        "  nop\n"
        "  movq 0x28(%rsp), %rsi\n"
        "  xorl %eax, %eax\n"
        "  addq $0x30, %rsp\n"
        "  popq %rbx\n"
        "  retq\n"
        "ChainedEnd:\n"
        ".section .xdata,\"dr\"\n"
        ".p2align 2\n"
        "ChainedInfo1:\n"
        "  .byte 1, 5, 2, 0\n"       /* version 1, prologue 5, two codes */
        "  .byte 5, 0x52, 1, 0x30\n" /* allocate 0x30; push rbx */
        "ChainedInfo2:\n"
        "  .byte 0x21, 5, 2, 0\n" /* version 1, chained */
        "  .byte 5, 0x64, 5, 0\n" /* save rsi at 5 * 8 */
        "  .rva ChainedParts, ChainedPart2, ChainedInfo1\n"
        ".section .pdata,\"dr\"\n"
        "  .rva ChainedParts, ChainedPart2, ChainedInfo1\n"
        "  .rva ChainedPart2, ChainedEnd, ChainedInfo2\n"
        ".text\n");

static VOID RaiseFrom(LONG Status)
{
    TestRaise(Status);
}

NOINLINE LONG CatchChained(LONG Status)
{
    LONG Result = 0;

    __try {
        ChainedParts(RaiseFrom, Status);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result = 1;
    }
    return Result;
}

LONG Chained(LONG Status)
{
    LONG (*volatile Function)(LONG) = CatchChained;
    ULONG_PTR Result, A = (ULONG_PTR)(ULONG)Status, Wrong;

    TestRaise(0);
    __asm__ volatile("sub $0x20,%%rsp\n mov $0x77,%%rbx\n mov $0x88,%%rsi\n"
                     "call *%%rax\n add $0x20,%%rsp\n"
                     "xor $0x77,%%rbx\n xor $0x88,%%rsi\n or %%rsi,%%rbx\n mov %%rbx,%%rdx\n"
                     : "=a"(Result), "+c"(A), "=d"(Wrong)
                     : "0"(Function)
                     : "memory", "cc", "rbx", "rsi", "r8", "r9", "r10", "r11", "xmm0", "xmm1",
                       "xmm2", "xmm3", "xmm4", "xmm5");
    return Wrong ? 0 : (LONG)Result;
}

LONG Loop(LONG Status, LONG Count)
{
    volatile LONG Caught = 0;

    for (LONG I = 0; I < Count; I++) {
        __try {
            TestRaise(Status);
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            Caught += 1;
        }
    }
    return Caught;
}

/* The exported routines that raise. */
LONG RaiseRoutine(LONG Which)
{
    LONG Result = 0;

    __try {
        if (Which == 0)
            ExRaiseStatus(STATUS_NO_MEMORY);
        if (Which == 1)
            ExRaiseAccessViolation();
        ExRaiseDatatypeMisalignment();
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Result = (LONG)GetExceptionCode();
    }
    return Result;
}
