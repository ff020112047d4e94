/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Faults. The handler decides on its own stack whose fault it is, and lets the thread go on where
 * that is answered: an emulated instruction, a guard of the host, or fault_entry, which runs on the
 * stack that faulted and may raise or stop like any other code. Faults of the host itself go to
 * whoever handled them before (a sanitizer, or the end of the process).
 */
#include "pe/private.h"

#include <asm/prctl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    SIGNAL_STACK = 128 << 10,
    NULL_PAGES = 0x10000,
    OVERFLOW_REACH = 256 << 10,
    FETCH = 8, /* first parameter of an access violation: 0 read, 1 write, 8 execute */
};

#define ACCESS_VIOLATION 0xC0000005u
#define DIVIDE_BY_ZERO   0xC0000094u
#define FLOAT_TRAPS      0xC00002B5u
#define BREAKPOINT       0x80000003u
#define FAST_FAIL_BYTES  0x29cd /* int 0x29 */

extern const char nth_peek_fault[], nth_peek_end[], nth_copy_fault[], nth_copy_end[];
extern const char nth_memory_begin[], nth_memory_moved[], nth_memory_end[];
NTSTATUS nth_copy_user(void *to, const void *from, size_t bytes);

bool (*nth_user_address_hook)(uintptr_t address);
const char *(*nth_describe_address_hook)(uintptr_t address);
_Thread_local struct nth_guard *nth_guards;

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
static struct sigaction former[64];
static pthread_key_t thread_key;
static _Thread_local const struct nth_context *fault_context; /* of the fault being reported */

/* What a thread has for its faults; freed by the key's destructor. */
struct thread_stack {
    stack_t former;
    void *stack;
};

/* KPCR, as far as code reads it without calling: gs:[0x18] is its own address, gs:[0x188] the
 * current thread. Until that is known gs points to gs_unknown, which nobody can read: the fault
 * asks. */
static _Thread_local uint64_t gs_block[0x80];
static uint8_t *gs_unknown;
void *(*nth_current_thread_hook)(void);

/* ---- guards ---- */

void nth_guard_leave(NTSTATUS status)
{
    struct nth_guard *guard = nth_guards;

    guard->status = status;
    while (nth_crossings && (uint64_t)nth_crossings < (uint64_t)guard)
        nth_crossings = nth_crossings->previous;
    longjmp(*(jmp_buf *)guard->jump, 1);
}

NTSTATUS nth_guarded(void (*body)(void *context), void *context)
{
    jmp_buf jump;
    struct nth_guard guard = {nth_guards, &jump, 0};

    if (_setjmp(jump) == 0) {
        nth_guards = &guard;
        body(context);
    }
    nth_guards = guard.previous;
    return guard.status;
}

NTSTATUS nth_copy_guarded(void *to, const void *from, size_t bytes)
{
    return nth_copy_user(to, from, bytes);
}

/* ---- what a fault means ---- */

static bool is_user(uintptr_t address)
{
    return nth_user_address_hook && nth_user_address_hook(address);
}

static bool is_canonical(uint64_t address)
{
    return address + 0x800000000000ull < 0x1000000000000ull;
}

static const char *describe(uintptr_t address)
{
    static _Thread_local char text[160];
    const char *hooked = nth_describe_address_hook ? nth_describe_address_hook(address) : NULL;
    const char *gone = nth_image_gone_at(address);
    const struct nth_image *image = nth_image_at(address);

    if (hooked)
        return hooked;
    if (address >> 12 == 0xFFFFF78000000ull)
        return "a field of KUSER_SHARED_DATA, or a way to read it, that is not provided";
    if (address < NULL_PAGES)
        return "a null pointer, or a field of one";
    if (gone)
        snprintf(text, sizeof text, "the unloaded driver %s", gone);
    else if (image)
        snprintf(text, sizeof text, "%s+0x%llx, which is not accessible in that way", image->name,
                 (unsigned long long)(address - (uintptr_t)image->base));
    else
        return is_canonical(address) ? "no memory of this machine" : "no canonical address";
    return text;
}

static const char *access_name(uint64_t kind)
{
    return kind == FETCH ? "execution of" : kind == 1 ? "write to" : "read from";
}

static void note_site(const struct nth_context *context)
{
    const char *symbol = nth_symbol_hook ? nth_symbol_hook(context->rip + 1) : NULL;

    if (symbol && nth_image_at(context->rip))
        nth_stop_note("at %s", symbol);
    else
        nth_stop_note("at host address 0x%llx", (unsigned long long)context->rip);
}

static _Noreturn void stop_at_fault(const struct nth_exception *record,
                                    const struct nth_context *context)
{
    const uint64_t kind = record->information[0], address = record->information[1];

    fault_context = context;
    note_site(context);
    if (record->code == FLOAT_TRAPS || record->code == DIVIDE_BY_ZERO)
        nth_stop("unhandled-exception", "arithmetic fault outside any driver's code");
    if (record->count < 2)
        nth_stop("page-fault", "access through an address that is not canonical, or a privileged "
                               "instruction");
    if (is_user(address))
        nth_stop("page-fault", "%s user address 0x%llx at IRQL %u", access_name(kind),
                 (unsigned long long)address, nth_irql());
    nth_stop("page-fault", "%s 0x%llx, %s", access_name(kind), (unsigned long long)address,
             describe(address));
}

static void check_instruction(const struct nth_context *context, int signal)
{
    uint8_t code[2] = {0};

    nth_peek(code, context->rip, sizeof code);
    if (signal == SIGSEGV && nth_u16(code) == FAST_FAIL_BYTES) {
        fault_context = context;
        note_site(context);
        nth_stop("fast-fail", "int 0x29 with code %llu", (unsigned long long)context->r[NTH_RCX]);
    }
    if (signal == SIGILL) {
        fault_context = context;
        note_site(context);
        nth_stop("illegal-instruction", "instruction bytes %02x %02x ...", code[0], code[1]);
    }
}

/* Runs on the stack that faulted, below the frame that did. */
static NTH_UNWATCHED _Noreturn void fault_entry(struct nth_exception *record,
                                                struct nth_context *context, int signal)
{
    if (!nth_image_at(context->rip)) {
        /* a driver may have called a bad address: then its return address is on the stack */
        uint64_t caller = 0;
        if (record->information[1] == context->rip && nth_peek(&caller, context->r[NTH_RSP], 8) &&
            nth_image_at(caller)) {
            nth_stop_note("0x%llx was called", (unsigned long long)context->rip);
            context->rip = caller - 1;
            context->r[NTH_RSP] += 8;
        }
        stop_at_fault(record, context);
    }
    check_instruction(context, signal);
    if (record->code != ACCESS_VIOLATION)
        nth_dispatch(record, context);
    if (record->count < 2 || !is_user(record->information[1]) || nth_irql() >= DISPATCH_LEVEL)
        stop_at_fault(record, context);
    nth_trace("fault: %s user address 0x%llx", access_name(record->information[0]),
              (unsigned long long)record->information[1]);
    nth_dispatch(record, context);
}

/* ---- the handler ---- */

static const int register_order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                       REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                       REG_R12, REG_R13, REG_R14, REG_R15};

static void save(const ucontext_t *u, struct nth_context *c)
{
    memset(c, 0, sizeof *c);
    for (int i = 0; i < 16; i++)
        c->r[i] = (uint64_t)u->uc_mcontext.gregs[register_order[i]];
    c->flags = 0x10001f;
    c->rip = (uint64_t)u->uc_mcontext.gregs[REG_RIP];
    c->eflags = (uint32_t)u->uc_mcontext.gregs[REG_EFL];
    c->mxcsr = u->uc_mcontext.fpregs->mxcsr;
    memcpy(c->xmm, u->uc_mcontext.fpregs->_xmm, sizeof c->xmm);
}

static void write_back(const struct nth_context *c, ucontext_t *u)
{
    for (int i = 0; i < 16; i++)
        u->uc_mcontext.gregs[register_order[i]] = (greg_t)c->r[i];
    u->uc_mcontext.gregs[REG_RIP] = (greg_t)c->rip;
    u->uc_mcontext.gregs[REG_EFL] = (greg_t)c->eflags;
}

static bool is_between(uint64_t pc, const char *begin, const char *end)
{
    return pc >= (uint64_t)begin && pc < (uint64_t)end;
}

/* The memory functions act for their caller: makes context that of the call in the driver. */
static void leave_memory_function(struct nth_context *c)
{
    if (is_between(c->rip, nth_memory_moved, nth_memory_end)) {
        c->r[NTH_RSI] = c->r[10];
        c->r[NTH_RDI] = c->r[11];
    }
    if (nth_peek(&c->rip, c->r[NTH_RSP], 8))
        c->r[NTH_RSP] += 8;
}

static void fill_record(struct nth_exception *record, int signal, const siginfo_t *info,
                        const ucontext_t *u, struct nth_context *context)
{
    const uint64_t error = (uint64_t)u->uc_mcontext.gregs[REG_ERR];

    memset(record, 0, sizeof *record);
    record->code = ACCESS_VIOLATION;
    if (signal == SIGFPE)
        record->code = info->si_code == FPE_INTDIV || info->si_code == FPE_INTOVF ? DIVIDE_BY_ZERO
                                                                                  : FLOAT_TRAPS;
    if (signal == SIGTRAP) {
        record->code = BREAKPOINT;
        context->rip -= 1; /* NT reports the breakpoint itself */
    }
    record->address = context->rip;
    if (signal != SIGSEGV && signal != SIGBUS)
        return;
    if (info->si_code == SI_KERNEL)
        return; /* general protection: the processor does not tell the address */
    record->count = 2;
    record->information[0] = error & 0x10 ? FETCH : error >> 1 & 1;
    record->information[1] = (uint64_t)info->si_addr;
}

/* Not a fault that this file answers: what would have happened without it. */
static void chain(int signal, siginfo_t *info, void *u)
{
    const struct sigaction *before = &former[signal];

    if (before->sa_flags & SA_SIGINFO && before->sa_sigaction) {
        before->sa_sigaction(signal, info, u);
        return;
    }
    sigaction(signal, before, NULL); /* and it faults again */
}

/* The thread goes on at function with three arguments, on its own stack; sp is below what it uses.
 */
static void redirect(ucontext_t *u, uint64_t sp, void *function, uint64_t a, uint64_t b, uint64_t c)
{
    greg_t *g = u->uc_mcontext.gregs;

    g[REG_RSP] = (greg_t)((sp & ~63ull) - 8);
    g[REG_RIP] = (greg_t)(uintptr_t)function;
    g[REG_RDI] = (greg_t)a;
    g[REG_RSI] = (greg_t)b;
    g[REG_RDX] = (greg_t)c;
    g[REG_EFL] &= ~0x400ll; /* direction flag */
}

/* Instructions of the host that expect to fault. */
static bool answer_copy(ucontext_t *u, const siginfo_t *info)
{
    greg_t *g = u->uc_mcontext.gregs;
    const uint64_t pc = (uint64_t)g[REG_RIP];

    if (is_between(pc, (const char *)nth_peek, nth_peek_end)) {
        g[REG_RIP] = (greg_t)(uintptr_t)nth_peek_fault;
        return true;
    }
    if (is_between(pc, (const char *)nth_copy_user, nth_copy_end) &&
        (info->si_code == SI_KERNEL || is_user((uintptr_t)info->si_addr))) {
        g[REG_RIP] = (greg_t)(uintptr_t)nth_copy_fault;
        return true;
    }
    return false;
}

/* Puts what a function needs on the interrupted stack, below what is in use. */
static uint64_t push(uint64_t sp, const void *data, size_t bytes)
{
    const uint64_t at = (sp - bytes) & ~63ull;

    memcpy((void *)at, data, bytes);
    return at;
}

/* The first look of a thread at gs:[0x188], or the first since it became another NT thread: asks on
 * the driver's own stack, then lets it look again. */
static NTH_UNWATCHED _Noreturn void gs_entry(const struct nth_context *context)
{
    void *thread = nth_current_thread_hook();

    if (!thread)
        nth_stop("page-fault", "gs:[0x188] is read by a thread that is not of the machine");
    nth_pe_set_current_thread(thread);
    nth_context_restore(context);
}

static bool answer_gs(ucontext_t *u, const struct nth_context *c, uint64_t address)
{
    if (address - (uint64_t)gs_unknown >= 4096 || !nth_current_thread_hook)
        return false;
    const uint64_t at = push(c->r[NTH_RSP] - 256, c, sizeof *c);
    redirect(u, at, (void *)gs_entry, at, 0, 0);
    return true;
}

/* Instructions of a driver that only a kernel has. */
static bool answer_instruction(ucontext_t *u, struct nth_context *c, uint64_t address)
{
    if (answer_gs(u, c, address))
        return true;
    const enum nth_emulation done = nth_emulate(c, address);

    if (done == NTH_EMULATE_DONE)
        write_back(c, u);
    if (done == NTH_EMULATE_IRQL) {
        const uint64_t at = push(c->r[NTH_RSP] - 256, c, sizeof *c);
        redirect(u, at, (void *)nth_emulate_irql, at, 0, 0);
    }
    return done != NTH_EMULATE_NOT;
}

static bool guard_is_nearest(void)
{
    return nth_guards && (!nth_crossings || (uint64_t)nth_guards < (uint64_t)nth_crossings);
}

static bool is_overflow(uint64_t sp, const siginfo_t *info)
{
    const uint64_t address = (uint64_t)info->si_addr;
    uint64_t probe;

    return info->si_code != SI_KERNEL && address - (sp - OVERFLOW_REACH) < 2 * OVERFLOW_REACH &&
           !nth_peek(&probe, sp - 4096, 8);
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    struct nth_context c;
    struct nth_exception record;

    if (answer_copy(u, info))
        return;
    save(u, &c);
    if (is_between(c.rip, nth_memory_begin, nth_memory_end))
        leave_memory_function(&c);
    const bool in_driver = nth_image_at(c.rip) != NULL;
    if (in_driver && signal != SIGFPE && answer_instruction(u, &c, (uint64_t)info->si_addr))
        return;
    fill_record(&record, signal, info, u, &c);
    const uint64_t sp = c.r[NTH_RSP] - 256;
    if (is_overflow(c.r[NTH_RSP], info)) {
        note_site(&c);
        nth_stop("page-fault", "the stack of the thread is used up");
    }
    if (!in_driver && guard_is_nearest() && record.count == 2 && is_user(record.information[1])) {
        redirect(u, sp, (void *)nth_guard_leave, ACCESS_VIOLATION, 0, 0);
        return;
    }
    uint64_t caller = 0;
    const bool was_called = !in_driver && (uint64_t)info->si_addr == c.rip &&
                            nth_peek(&caller, c.r[NTH_RSP], 8) && nth_image_at(caller);
    if (!in_driver && !was_called && !nth_crossings) {
        chain(signal, info, context);
        return;
    }
    const uint64_t record_at = push(sp, &record, sizeof record);
    const uint64_t context_at = push(record_at, &c, sizeof c);
    redirect(u, context_at, (void *)fault_entry, record_at, context_at, (uint64_t)signal);
}

/* ---- threads ---- */

static void thread_end(void *context)
{
    struct thread_stack *own = context;

    sigaltstack(&own->former, NULL);
    munmap(own->stack, SIGNAL_STACK);
    free(own);
}

static void install(void)
{
    /* not deferred: the handler itself peeks at memory that may not be there */
    struct sigaction action = {.sa_sigaction = on_signal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

    if (pthread_key_create(&thread_key, thread_end) != 0)
        nth_fail("no thread key left");
    gs_unknown = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (gs_unknown == MAP_FAILED)
        nth_fail("no address space for a page");
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &action, &former[signals[i]]);
}

void nth_pe_thread_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, install);
    gs_block[0x18 / 8] = (uint64_t)gs_block;
    nth_pe_set_current_thread(NULL);
    if (pthread_getspecific(thread_key))
        return;
    struct thread_stack *own = calloc(1, sizeof *own);
    void *stack = mmap(NULL, SIGNAL_STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!own || stack == MAP_FAILED)
        nth_fail("no memory for a signal stack");
    const stack_t alternate = {.ss_sp = stack, .ss_size = SIGNAL_STACK};
    sigaltstack(&alternate, &own->former);
    own->stack = stack;
    pthread_setspecific(thread_key, own);
}

void nth_pe_set_current_thread(void *kthread)
{
    gs_block[0x188 / 8] = (uint64_t)kthread;
    syscall(SYS_arch_prctl, ARCH_SET_GS, kthread ? (void *)gs_block : (void *)gs_unknown);
}

void nth_pe_thread_changed(void)
{
    if (gs_block[0x188 / 8])
        nth_pe_set_current_thread(NULL);
}

static unsigned backtrace_of_thread(uintptr_t *sites, unsigned max)
{
    return nth_unwind_trace(fault_context, sites, max);
}

static void boot(const struct nth_config *config)
{
    nth_thunk_events = config->mode == NTH_SERIAL || config->trace;
    nth_backtrace_hook = backtrace_of_thread;
    nth_symbol_hook = nth_symbol;
    nth_place_hook = nth_place;
    nth_pe_thread_init();
}

NTH_SUBSYSTEM(pe, 20, boot, NULL);
