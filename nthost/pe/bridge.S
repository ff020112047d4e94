/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * From the drivers' calling convention to libFuzzer's, for the call-backs that it tells apart by
 * their caller: each goes through one of 512 call sites, picked by a hash of the driver's address.
 * Without libFuzzer they return at once.
 */
    .macro BRIDGE name
    .weak __sanitizer_cov_\name
    .globl nth_cov_\name
    .type nth_cov_\name,@function
nth_cov_\name:
    .cfi_startproc
    mov __sanitizer_cov_\name@GOTPCREL(%rip),%rax
    test %rax,%rax
    jz 9f
    push %rsi
    .cfi_adjust_cfa_offset 8
    push %rdi
    .cfi_adjust_cfa_offset 8
    sub $0xa8,%rsp
    .cfi_adjust_cfa_offset 0xa8
    .irp n,6,7,8,9,10,11,12,13,14,15
    movaps %xmm\n,16*(\n-6)(%rsp)
    .endr
    mov %rcx,%rdi
    mov %rdx,%rsi
    mov 0xb8(%rsp),%rax
    imul $0x9E3779B1,%eax,%eax
    shr $23,%eax
    shl $4,%eax
    lea 8f(%rip),%rcx
    add %rcx,%rax
    call *%rax
    .irp n,6,7,8,9,10,11,12,13,14,15
    movaps 16*(\n-6)(%rsp),%xmm\n
    .endr
    add $0xa8,%rsp
    .cfi_adjust_cfa_offset -0xa8
    pop %rdi
    .cfi_adjust_cfa_offset -8
    pop %rsi
    .cfi_adjust_cfa_offset -8
9:  ret
    .balign 16
8:  .rept 512
    .balign 16
    sub $8,%rsp
    call *__sanitizer_cov_\name@GOTPCREL(%rip)
    add $8,%rsp
    ret
    .endr
    .cfi_endproc
    .size nth_cov_\name,.-nth_cov_\name
    .endm

    .text
    BRIDGE trace_cmp1
    BRIDGE trace_cmp2
    BRIDGE trace_cmp4
    BRIDGE trace_cmp8
    BRIDGE trace_const_cmp1
    BRIDGE trace_const_cmp2
    BRIDGE trace_const_cmp4
    BRIDGE trace_const_cmp8
    BRIDGE trace_switch

    .section .note.GNU-stack,"",@progbits
