/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Structured exceptions, by Microsoft's pages "x64 exception handling", "try-except statement" and
 * "try-finally statement", in drivers of both compilers' conventions, optimised and not.
 */
#include "image.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#define NO_MEMORY 0xC0000017

static ULONG_PTR NTAPI TestCall(ULONG_PTR(NTAPI *routine)(ULONG_PTR), ULONG_PTR argument)
{
    return routine(argument);
}
NTH_EXPORT(TestCall, 2);

static __attribute__((noinline)) ULONG_PTR host_frames(ULONG_PTR(NTAPI *routine)(ULONG_PTR),
                                                       ULONG_PTR argument, unsigned depth)
{
    volatile char room[200];

    room[depth] = 1;
    return depth ? host_frames(routine, argument, depth - 1) + room[depth] : routine(argument);
}

static ULONG_PTR NTAPI TestCallHost(ULONG_PTR(NTAPI *routine)(ULONG_PTR), ULONG_PTR argument)
{
    return host_frames(routine, argument, 20);
}
NTH_EXPORT(TestCallHost, 2);

static void NTAPI TestRaise(LONG status)
{
    if (status)
        nth_raise(status, 0, NULL);
}
NTH_EXPORT(TestRaise, 1);

static uint8_t *user;

static bool in_user(uintptr_t address)
{
    return address - (uintptr_t)user < 0x10000;
}

static struct nth_image *images[VARIANTS];

static void start_in(enum nth_mode mode)
{
    boot(mode);
    for (int v = 0; v < VARIANTS; v++)
        images[v] = load_variant(variants[v], "unwind");
    user = mmap(NULL, 0x10000, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    nth_user_address_hook = in_user;
}

static void start(void)
{
    start_in(NTH_PARALLEL);
}

/* Each variant, with what the export answers for two parameters. */
#define EXPECT(name, a, b, expected)                                                               \
    do {                                                                                           \
        for (int v_ = 0; v_ < VARIANTS; v_++) {                                                    \
            const int32_t result_ = (int32_t)CALL4(images[v_], name, a, b, 0, 0);                  \
            if (result_ != (int32_t)(expected))                                                    \
                check_fail(__FILE__, __LINE__, "%s %s(%s) is %d, expected %d", variants[v_], name, \
                           #a ", " #b, result_, (int32_t)(expected));                              \
        }                                                                                          \
        CHECK(nth_call_name() == NULL);                                                            \
    } while (0)

/* try-except: the handler runs with the code of the exception; without one it does not. */
TEST(except_catches_what_is_raised)
{
    start();
    EXPECT("RaiseCaught", 0, 0, 2);
    EXPECT("RaiseCaught", NO_MEMORY, 0, NO_MEMORY);
}

/* try-except: a filter that answers EXCEPTION_CONTINUE_SEARCH passes the exception on. */
TEST(except_filter_chooses)
{
    start();
    EXPECT("RaiseFiltered", NO_MEMORY, (int32_t)NO_MEMORY, 3);
    EXPECT("Nested", NO_MEMORY, 0, 5);
    EXPECT("Nested", 0, 0, 3);
}

/* try-finally: filters are asked first, then termination handlers run from the inside out. */
TEST(finally_runs_after_filters_from_inside_out)
{
    start();
    EXPECT("Finally", NO_MEMORY, 0, 7123);
    EXPECT("Finally", 0, 0, 62);
    EXPECT("FinallyNormal", 0, 0, 12);
}

/* try-finally: the termination handler also runs when the block is left by break or continue. */
TEST(finally_runs_when_the_block_is_left)
{
    start();
    EXPECT("FinallyLeft", 0, 0, 121212);
    EXPECT("FinallyLeft", 1, 0, 122);
    EXPECT("FinallyLeft", 2, 0, 12212);
}

/* An exception raised by an __except block is a new one for what is around it. */
TEST(except_block_may_raise)
{
    start();
    EXPECT("Rethrow", NO_MEMORY, 0, 15);
}

/* x64 exception handling: a termination handler that raises collides with the unwind under way; no
 * termination handler runs twice. */
TEST(finally_block_may_raise)
{
    start();
    EXPECT("Collided", 0xC0000001, 0, 101);
    EXPECT("CollidedTwice", 0xC0000001, 0, 111);
}

/* An exception inside a filter is searched for from the frames of the first one on. */
TEST(except_filter_may_raise)
{
    start();
    EXPECT("FilterRaises", 0xC0000001, 0, 100);
    EXPECT("FilterRaisesFinally", 0xC0000001, 0, 11);
}

/* Frames of variable and large size: UWOP_SET_FPREG and UWOP_ALLOC_LARGE. */
TEST(unwind_frames_of_every_size)
{
    start();
    EXPECT("Locals", NO_MEMORY, 64, 418);
    EXPECT("Locals", NO_MEMORY, 5000, 418);
    EXPECT("LargeFrame", NO_MEMORY, 0, -1);
    EXPECT("LargeFrame", 0, 0, 10);
}

/* UWOP_SAVE_XMM128: nonvolatile xmm registers have their values in the frame that catches. */
TEST(unwind_restores_floating_point)
{
    start();
    for (int v = 0; v < VARIANTS; v++) {
        double(NTAPI * floats)(LONG, double) = export_of(images[v], "Floats");
        CHECK(floats((LONG)NO_MEMORY, 1) == -1 + 2 * 1000 + 3 * 100 + 4 * 10 + 5);
        CHECK(floats(0, 1) == 5 + 4 * 5 + 2 * 3 + 2 * 1000 + 3 * 100 + 4 * 10 + 5);
    }
}

/* "Overview of x64 ABI conventions": rbx, rbp, rdi, rsi, r12-r15 and xmm6-xmm15 are nonvolatile. */
TEST(unwind_restores_nonvolatile_registers)
{
    start();
    EXPECT("NonVolatile", NO_MEMORY, 0, 1);
    EXPECT("NonVolatile", NO_MEMORY, 1, 1);
}

/* In serial mode every call is a preemption point, through host code of another convention. */
TEST(unwind_restores_registers_across_preemption_points)
{
    start_in(NTH_SERIAL);
    EXPECT("NonVolatile", NO_MEMORY, 0, 1);
    EXPECT("NonVolatile", NO_MEMORY, 1, 1);
    EXPECT("NonVolatile", 0, 0, 0);
    for (int v = 0; v < VARIANTS; v++) {
        double(NTAPI * floats)(LONG, double) = export_of(images[v], "Floats");
        CHECK(floats(0, 1) == 5 + 4 * 5 + 2 * 3 + 2 * 1000 + 3 * 100 + 4 * 10 + 5);
    }
}

TEST(unwind_many_frames)
{
    start();
    EXPECT("Deep", NO_MEMORY, 1000, -1);
    EXPECT("Deep", 0, 1000, 1000);
    EXPECT("DeepFinally", NO_MEMORY, 200, 1201);
    EXPECT("DeepFinally", 0, 200, 201);
}

/* pe.h: host frames between driver frames are stepped over, and the calls they made forgotten. */
TEST(unwind_through_host_frames)
{
    start();
    EXPECT("ThroughHost", NO_MEMORY, 0, 1001);
    EXPECT("ThroughHost", NO_MEMORY, 30, 1031);
    EXPECT("ThroughHost", 0, 30, 31);
}

/* x64 exception handling, "Chained unwind info structures". */
TEST(unwind_chained_function)
{
    start();
    EXPECT("Chained", NO_MEMORY, 0, 1);
    EXPECT("Chained", 0, 0, 0);
}

/* ---- faults ---- */

TEST(fault_at_user_address_is_caught)
{
    start();
    EXPECT("FaultSameFrame", user, 0, 1);
    EXPECT("FaultCallee", user, 0, 1);
    EXPECT("FaultInlined", user, 0, 1);
    for (size_t n = 1; n <= 4096; n = n < 40 ? n + 1 : n * 3) {
        EXPECT("FaultCopy", user, n, 1);
        EXPECT("FaultFill", user, n, 1);
    }
}

/* EXCEPTION_RECORD: an access violation has two parameters, 1 for a write and the address. */
TEST(fault_record_tells_access_and_address)
{
    start();
    for (int v = 0; v < VARIANTS; v++) {
        uint64_t seen[5] = {0};
        CHECK_EQ((int32_t)CALL4(images[v], "FaultWrite", user + 0x24, seen, 0, 0), 1);
        CHECK_EQ(seen[0], 2);
        CHECK_EQ(seen[1], 1);
        CHECK_EQ(seen[2], (uintptr_t)user + 0x24);
        CHECK_EQ(seen[3], seen[4]);
        CHECK(nth_image_at(seen[3]) == images[v]);
    }
}

/* try-except: EXCEPTION_CONTINUE_EXECUTION goes on where the exception was, with the context as the
 * filter left it. */
TEST(fault_may_be_repaired_and_continued)
{
    static int32_t instead = 4242;

    start();
    EXPECT("FaultContinued", user, &instead, 4242);
}

TEST(fault_in_a_filter_is_an_exception_of_its_own)
{
    start();
    EXPECT("FaultInFilter", user, 0, 2);
}

/* The search for a handler of the second exception asks the filter that raised it again. */
TEST(fault_in_a_filter_for_ever_stops)
{
    start();
    nth_expect_stop("bad-exception-handling");
    CALL1(images[1], "FaultInFilterForEver", user);
    CHECK(false);
}

/* STATUS_INTEGER_DIVIDE_BY_ZERO is what a division by zero raises. */
TEST(divide_by_zero_is_raised)
{
    start();
    EXPECT("Divide", 6, 2, 3);
    EXPECT("Divide", 6, 0, 0xC0000094);
}

/* ---- what cannot go on ---- */

#ifndef NTH_TSAN /* its run-time blocks further faults inside a signal handler */
/* Bug check 0x7F, UNEXPECTED_KERNEL_MODE_TRAP: a driver that uses up its stack. */
TEST(fault_stack_used_up_stops)
{
    start();
    nth_expect_stop("page-fault");
    CALL4(images[0], "Deep", 0, 0x7fffffff, 0, 0);
    CHECK(false);
}
#endif

/* Bug check 0x7E: an exception that no handler takes. */
TEST(exception_nobody_handles_stops)
{
    start();
    nth_expect_stop("unhandled-exception");
    CALL1(images[3], "Uncaught", NO_MEMORY);
    CHECK(false);
}

/* EXCEPTION_RECORD: an attempt to continue a noncontinuable exception raises
 * EXCEPTION_NONCONTINUABLE_EXCEPTION. */
TEST(exception_noncontinuable_cannot_be_continued)
{
    start();
    EXPECT("ContinueRaised", NO_MEMORY, 0, 0xC0000025);
}

/* ExRaiseStatus, ExRaiseAccessViolation, ExRaiseDatatypeMisalignment: the codes they raise ... */
TEST(raise_routines_raise_their_codes)
{
    start();
    EXPECT("RaiseRoutine", 0, 0, NO_MEMORY);
    EXPECT("RaiseRoutine", 1, 0, 0xC0000005);
    EXPECT("RaiseRoutine", 2, 0, 0x80000002);
}

static void raise_at(KIRQL irql, int which)
{
    start();
    nth_expect_stop("irql-too-high");
    nth_irql_raise(irql);
    CALL1(images[1], "RaiseRoutine", which);
    CHECK(false);
}

/* ... and the IRQL that their pages allow: APC_LEVEL, PASSIVE_LEVEL, PASSIVE_LEVEL. */
TEST(raise_status_above_apc_level_stops)
{
    raise_at(DISPATCH_LEVEL, 0);
}

TEST(raise_access_violation_above_passive_level_stops)
{
    raise_at(APC_LEVEL, 1);
}

TEST(raise_misalignment_above_passive_level_stops)
{
    raise_at(APC_LEVEL, 2);
}

/* ---- many ---- */

enum { THREADS = 4, RAISES = 25000 };

static void *raise_many(void *argument)
{
    const int v = (int)(intptr_t)argument;

    nth_enter("raiser");
    nth_pe_thread_init();
    for (int i = 0; i < RAISES / 100; i++) {
        CHECK_EQ((int32_t)CALL4(images[v], "Loop", NO_MEMORY, 90, 0, 0), 90);
        CHECK_EQ((int32_t)CALL4(images[v], "Collided", 0xC0000001, 0, 0, 0), 101);
        CHECK_EQ((int32_t)CALL4(images[v], "ThroughHost", NO_MEMORY, 3, 0, 0), 1004);
        for (int k = 0; k < 8; k++)
            CHECK_EQ((int32_t)CALL4(images[v], "FaultSameFrame", user, 0, 0, 0), 1);
    }
    nth_leave();
    return NULL;
}

/* pe.h: exceptions of one thread are no other's business. 100,000 raises and faults on four
 * threads. */
TEST(exceptions_on_many_threads_are_independent)
{
    struct timespec a, b;
    pthread_t threads[THREADS];

    start();
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, raise_many, (void *)(intptr_t)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &b);
    fprintf(stderr, "%d raises and faults on %d threads in %.0f ms\n", RAISES * THREADS, THREADS,
            (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6);
}

static void raise_in_turn(void *argument)
{
    const int v = (int)(intptr_t)argument;

    for (int i = 0; i < 50; i++) {
        CHECK_EQ((int32_t)CALL4(images[v], "Collided", 0xC0000001, 0, 0, 0), 101);
        CHECK_EQ((int32_t)CALL4(images[v], "ThroughHost", NO_MEMORY, 3, 0, 0), 1004);
        CHECK_EQ((int32_t)CALL4(images[v], "NonVolatile", NO_MEMORY, 1, 0, 0), 1);
        CHECK_EQ((int32_t)CALL4(images[v], "FaultSameFrame", user, 0, 0, 0), 1);
    }
}

/* Preempted at every call, by schedules of several seeds: filters and handlers of one thread run
 * between those of others. */
TEST(exceptions_are_independent_of_the_schedule)
{
    for (uint32_t seed = 1; seed <= 5; seed++) {
        const struct nth_config config = {.mode = NTH_SERIAL, .seed = seed};
        struct nth_thread *threads[THREADS];

        nth_boot(&config);
        for (int v = 0; v < VARIANTS; v++)
            images[v] = load_variant(variants[v], "unwind");
        if (!user)
            user = mmap(NULL, 0x10000, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        nth_user_address_hook = in_user;
        for (int i = 0; i < THREADS; i++)
            threads[i] = nth_spawn("raiser", raise_in_turn, (void *)(intptr_t)i);
        for (int i = 0; i < THREADS; i++)
            nth_join(threads[i]);
        for (int v = 0; v < VARIANTS; v++)
            nth_image_unload(images[v]);
        nth_shutdown();
    }
}

/* ---- every instruction ---- */

/* The state that a frame must be unwound to, per nesting of driver calls: taken at the first
 * instruction of the driver after host code, checked at each one that follows. */
static struct nth_context entry;
static bool is_inside;
static unsigned steps;

static void to_context(const ucontext_t *u, struct nth_context *c)
{
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15};

    memset(c, 0, sizeof *c);
    for (int i = 0; i < 16; i++)
        c->r[i] = (uint64_t)u->uc_mcontext.gregs[order[i]];
    c->rip = (uint64_t)u->uc_mcontext.gregs[REG_RIP];
    memcpy(c->xmm, u->uc_mcontext.fpregs->_xmm, sizeof c->xmm);
}

static void check_step(const struct nth_context *now)
{
    static const int nonvolatile[] = {NTH_RBX, NTH_RBP, NTH_RSI, NTH_RDI, 12, 13, 14, 15};
    struct nth_context c = *now;

    for (int frames = 0; nth_image_at(c.rip); frames++)
        CHECK(frames < 100 && nth_unwind_step(&c));
    if (c.rip != nth_u64((void *)entry.r[NTH_RSP]))
        check_fail(__FILE__, __LINE__, "from %s unwound to 0x%llx", nth_symbol(now->rip + 1),
                   (unsigned long long)c.rip);
    CHECK_EQ(c.r[NTH_RSP], entry.r[NTH_RSP] + 8);
    for (size_t i = 0; i < sizeof nonvolatile / sizeof nonvolatile[0]; i++)
        CHECK_EQ(c.r[nonvolatile[i]], entry.r[nonvolatile[i]]);
    CHECK_MEM(&c.xmm[6], &entry.xmm[6], 10 * 16);
}

static void on_step(int signal, siginfo_t *info, void *context)
{
    struct nth_context now;

    to_context(context, &now);
    if (!nth_image_at(now.rip)) {
        if (now.r[NTH_RSP] > entry.r[NTH_RSP])
            is_inside = false; /* it has returned */
        return;
    }
    if (!is_inside)
        entry = now;
    is_inside = true;
    check_step(&now);
    steps++;
}

/* Calls an export with the processor's trap flag set. */
static uint64_t single_step(void *function, uint64_t a, uint64_t b)
{
    uint64_t(NTAPI * call)(uint64_t, uint64_t) = (uint64_t(NTAPI *)(uint64_t, uint64_t))function;

    __asm__ volatile("sub $128, %%rsp; pushfq; orq $0x100, (%%rsp); popfq; add $128, %%rsp" ::
                         : "cc", "memory");
    const uint64_t result = call(a, b);
    __asm__ volatile("sub $128, %%rsp; pushfq; andq $~0x100, (%%rsp); popfq; add $128, %%rsp" ::
                         : "cc", "memory");
    return result;
}

/* x64 exception handling, "Unwind procedure": from any instruction, in prologue, body or epilogue,
 * the caller's nonvolatile state is found. Tried at every instruction these functions execute. */
TEST(unwind_from_every_instruction)
{
    static const struct {
        const char *name;
        uint64_t a, b;
    } calls[] = {
        {"RaiseCaught", 0, 0},  {"Finally", 0, 0},     {"FinallyLeft", 2, 0}, {"Locals", 0, 100},
        {"Deep", 0, 5},         {"DeepFinally", 0, 5}, {"LargeFrame", 0, 0},  {"Floats", 0, 0},
        {"CatchChained", 0, 0}, {"Divide", 7, 2},
    };
    const struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    start();
    CHECK_EQ(sigaction(SIGTRAP, &action, NULL), 0);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        for (int v = 0; v < VARIANTS; v++) {
            void *function = export_of(images[v], calls[i].name);
            const unsigned before = steps;
            is_inside = false;
            single_step(function, calls[i].a, calls[i].b);
            CHECK(steps > before + 5);
        }
    fprintf(stderr, "unwound from %u instructions\n", steps);
}
