/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The border between driver code and host code. nth_thunk_common is how a driver's call enters the
 * host: it records the call in a struct nth_crossing with every register that Microsoft's calling
 * convention calls nonvolatile, so that the unwinder can go on in the driver without knowing host
 * frames. nth_context_restore is the only way back that is not a return. The memory functions run
 * as if they were code of the driver: nothing is recorded, and a fault in them is the caller's.
 */
    .text

/* After a call of host code that is not of Microsoft's convention: what that one calls nonvolatile and
 * the host's does not. */
    .macro RELOAD
    mov 0x10-0x1c0(%rbp),%rsi
    mov 0x18-0x1c0(%rbp),%rdi
    movaps 0x40-0x1c0(%rbp),%xmm6
    movaps 0x50-0x1c0(%rbp),%xmm7
    movaps 0x60-0x1c0(%rbp),%xmm8
    movaps 0x70-0x1c0(%rbp),%xmm9
    movaps 0x80-0x1c0(%rbp),%xmm10
    movaps 0x90-0x1c0(%rbp),%xmm11
    movaps 0xa0-0x1c0(%rbp),%xmm12
    movaps 0xb0-0x1c0(%rbp),%xmm13
    movaps 0xc0-0x1c0(%rbp),%xmm14
    movaps 0xd0-0x1c0(%rbp),%xmm15
    mov 0x10(%rbp),%rcx
    mov 0x18(%rbp),%rdx
    mov 0x20(%rbp),%r8
    mov 0x28(%rbp),%r9
    mov -0xe0(%rbp),%r11
    .endm

/* r11: struct nth_thunk. Arguments as the driver left them. */
    .globl nth_thunk_common
    .type nth_thunk_common,@function
    .balign 64
nth_thunk_common:
    .cfi_startproc
    push %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp,-16
    mov %rsp,%rbp
    .cfi_def_cfa_register rbp
    sub $0x1c0,%rsp
    mov %rbx,0x08(%rsp)
    mov %rsi,0x10(%rsp)
    mov %rdi,0x18(%rsp)
    mov %r12,0x20(%rsp)
    mov %r13,0x28(%rsp)
    mov %r14,0x30(%rsp)
    mov %r15,0x38(%rsp)
    .cfi_offset rbx,-0x1c8
    .cfi_offset r12,-0x1b0
    .cfi_offset r13,-0x1a8
    .cfi_offset r14,-0x1a0
    .cfi_offset r15,-0x198
    movaps %xmm6,0x40(%rsp)
    movaps %xmm7,0x50(%rsp)
    movaps %xmm8,0x60(%rsp)
    movaps %xmm9,0x70(%rsp)
    movaps %xmm10,0x80(%rsp)
    movaps %xmm11,0x90(%rsp)
    movaps %xmm12,0xa0(%rsp)
    movaps %xmm13,0xb0(%rsp)
    movaps %xmm14,0xc0(%rsp)
    movaps %xmm15,0xd0(%rsp)
    mov %r11,0xe0(%rsp)
    mov nth_crossings@gottpoff(%rip),%rbx
    mov %fs:(%rbx),%rax
    mov %rax,(%rsp)
    mov %rsp,%fs:(%rbx)
#ifdef NTH_TSAN
    mov %rcx,0x10(%rbp)
    mov %rdx,0x18(%rbp)
    mov %r8,0x20(%rbp)
    mov %r9,0x28(%rbp)
    lea 0xf0(%rsp),%rdi
    call _setjmp@PLT
    test %eax,%eax
    jz 4f
    call nth_tsan_resume
4:  RELOAD
#endif
    cmpl $0,nth_thunk_events(%rip)
    jne 3f
0:  mov 8(%r11),%r10
    test %r10,%r10
    jz 2f
1:  push 0x28(%rbp,%r10,8)      /* parameter 4 + r10 lies at 16 + 0x20 + 8 * (r10 - 1) */
    dec %r10
    jnz 1b
2:  sub $0x20,%rsp
    call *(%r11)
    mov -0x1c0(%rbp),%rcx
    mov %rcx,%fs:(%rbx)
    mov -0x1b8(%rbp),%rbx
    mov %rbp,%rsp
    pop %rbp
    .cfi_remember_state
    .cfi_def_cfa rsp,8
    ret
    .cfi_restore_state
/* Rare: the arguments wait in the home space that the driver's frame has for them. nth_thunk_event is
 * of the other calling convention, so what is nonvolatile only in the driver's comes back as well. */
3:  mov %rcx,0x10(%rbp)
    mov %rdx,0x18(%rbp)
    mov %r8,0x20(%rbp)
    mov %r9,0x28(%rbp)
    mov %rsp,%rdi
    call nth_thunk_event
    RELOAD
    jmp 0b
    .cfi_endproc
    .size nth_thunk_common,.-nth_thunk_common

/* Called by nth_thunk_common in place of the function (r11: struct nth_thunk): asks whether the call of
 * a user module is to go on, with the arguments kept in the home space meanwhile. */
    .globl nth_user_gate
    .type nth_user_gate,@function
nth_user_gate:
    .cfi_startproc
    mov %rcx,0x08(%rsp)
    mov %rdx,0x10(%rsp)
    mov %r8,0x18(%rsp)
    mov %r9,0x20(%rsp)
    sub $0x38,%rsp
    .cfi_adjust_cfa_offset 0x38
    mov %r11,%rcx
    lea 0x28(%rsp),%rdx
    call nth_user_gate_ask
    mov %rax,%r10
    mov 0x28(%rsp),%rax
    add $0x38,%rsp
    .cfi_adjust_cfa_offset -0x38
    test %r10,%r10
    jz 1f
    mov 0x08(%rsp),%rcx
    mov 0x10(%rsp),%rdx
    mov 0x18(%rsp),%r8
    mov 0x20(%rsp),%r9
    jmp *%r10
1:  ret
    .cfi_endproc
    .size nth_user_gate,.-nth_user_gate

/* void nth_context_restore(const struct nth_context *): never returns. Nothing of the context is
 * read once rsp has moved, because a signal may then write over it. */
    .globl nth_context_restore
    .type nth_context_restore,@function
nth_context_restore:
    .cfi_startproc
    .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movaps 0x1a0+16*\n(%rdi),%xmm\n
    .endr
    ldmxcsr 0x34(%rdi)
    mov 0x98(%rdi),%rbx
    sub $32,%rbx
    mov 0xf8(%rdi),%rax
    mov %rax,24(%rbx)           /* rip */
    mov 0xb0(%rdi),%rax
    mov %rax,16(%rbx)           /* rdi */
    mov 0x44(%rdi),%eax
    mov %rax,8(%rbx)            /* rflags */
    mov 0x90(%rdi),%rax
    mov %rax,(%rbx)             /* rbx */
    mov 0x78(%rdi),%rax
    mov 0x80(%rdi),%rcx
    mov 0x88(%rdi),%rdx
    mov 0xa0(%rdi),%rbp
    mov 0xa8(%rdi),%rsi
    mov 0xb8(%rdi),%r8
    mov 0xc0(%rdi),%r9
    mov 0xc8(%rdi),%r10
    mov 0xd0(%rdi),%r11
    mov 0xd8(%rdi),%r12
    mov 0xe0(%rdi),%r13
    mov 0xe8(%rdi),%r14
    mov 0xf0(%rdi),%r15
    mov %rbx,%rsp
    .cfi_undefined rip
    pop %rbx
    popfq
    pop %rdi
    ret
    .cfi_endproc
    .size nth_context_restore,.-nth_context_restore

/* bool nth_peek(void *to, uintptr_t from, size_t bytes): false instead of a fault. */
    .globl nth_peek
    .type nth_peek,@function
    .globl nth_peek_fault
    .globl nth_peek_end
nth_peek:
    .cfi_startproc
    cmp $8,%rdx
    jne 1f
    mov (%rsi),%rax
    mov %rax,(%rdi)
    mov $1,%eax
    ret
1:  mov %rdx,%rcx
    rep movsb
    mov $1,%eax
    ret
nth_peek_fault:
    xor %eax,%eax
    ret
nth_peek_end:
    .cfi_endproc
    .size nth_peek,.-nth_peek

/* NTSTATUS nth_copy_user(void *to, const void *from, size_t bytes): as nth_peek, for addresses that
 * the signal handler finds to be user addresses. */
    .globl nth_copy_user
    .type nth_copy_user,@function
    .globl nth_copy_fault
    .globl nth_copy_end
nth_copy_user:
    .cfi_startproc
    mov %rdx,%rcx
    rep movsb
    xor %eax,%eax
    ret
nth_copy_fault:
    mov $0xc0000005,%eax        /* STATUS_ACCESS_VIOLATION */
    ret
nth_copy_end:
    .cfi_endproc
    .size nth_copy_user,.-nth_copy_user

/*
 * memcpy, memmove, memset and memcmp as drivers import them (rcx, rdx, r8; rsi and rdi are
 * nonvolatile). Between nth_memory_begin and nth_memory_end the return address is always at (%rsp);
 * from nth_memory_moved to nth_memory_end rsi and rdi are kept in r10 and r11.
 */
    .globl nth_memory_begin, nth_memory_moved, nth_memory_end
    .globl nth_memmove, nth_memset, nth_memcmp
    .type nth_memmove,@function
    .type nth_memset,@function
    .type nth_memcmp,@function
    .balign 64
nth_memory_begin:
nth_memmove:
    .cfi_startproc
    mov %rcx,%rax
    cmp $32,%r8
    ja 5f
    cmp $16,%r8
    jb 1f
    movups (%rdx),%xmm0
    movups -16(%rdx,%r8),%xmm1
    movups %xmm0,(%rcx)
    movups %xmm1,-16(%rcx,%r8)
    ret
1:  cmp $8,%r8
    jb 2f
    mov (%rdx),%r9
    mov -8(%rdx,%r8),%r10
    mov %r9,(%rcx)
    mov %r10,-8(%rcx,%r8)
    ret
2:  cmp $4,%r8
    jb 3f
    mov (%rdx),%r9d
    mov -4(%rdx,%r8),%r10d
    mov %r9d,(%rcx)
    mov %r10d,-4(%rcx,%r8)
    ret
3:  test %r8,%r8
    jz 4f
    movzbl (%rdx),%r9d
    movzbl -1(%rdx,%r8),%r10d
    mov %r8,%r11
    shr %r11
    movzbl (%rdx,%r11),%edx     /* of three the middle one, of two the last */
    movb %r9b,(%rcx)
    movb %dl,(%rcx,%r11)
    movb %r10b,-1(%rcx,%r8)
4:  ret
5:  mov %rcx,%r9
    sub %rdx,%r9
    cmp %r8,%r9
    jb 8f                       /* the target begins inside the source */
    cmp $512,%r8
    jae nth_memory_forward
    movups -32(%rdx,%r8),%xmm4
    movups -16(%rdx,%r8),%xmm5
    lea -32(%rcx,%r8),%r9       /* where the last 32 bytes go */
6:  movups (%rdx),%xmm0
    movups 16(%rdx),%xmm1
    movups %xmm0,(%rcx)
    movups %xmm1,16(%rcx)
    add $32,%rdx
    add $32,%rcx
    cmp %r9,%rcx
    jb 6b
    movups %xmm4,(%r9)
    movups %xmm5,16(%r9)
    ret
8:  movups (%rdx),%xmm4
    movups 16(%rdx),%xmm5
9:  movups -32(%rdx,%r8),%xmm0
    movups -16(%rdx,%r8),%xmm1
    movups %xmm0,-32(%rcx,%r8)
    movups %xmm1,-16(%rcx,%r8)
    sub $32,%r8
    cmp $32,%r8
    ja 9b
    movups %xmm4,(%rax)
    movups %xmm5,16(%rax)
    ret

nth_memset:
    mov %rcx,%rax
    movzbl %dl,%edx
    mov $0x0101010101010101,%r9
    imul %r9,%rdx
    cmp $64,%r8
    ja nth_memory_fill
    cmp $8,%r8
    jb 2f
    lea -8(%rcx,%r8),%r9
1:  mov %rdx,(%rcx)
    add $8,%rcx
    cmp %r9,%rcx
    jb 1b
    mov %rdx,(%r9)
    ret
2:  test %r8,%r8
    jz 4f
3:  movb %dl,-1(%rcx,%r8)
    dec %r8
    jnz 3b
4:  ret

nth_memcmp:
    xor %r9d,%r9d
1:  lea 8(%r9),%r10
    cmp %r8,%r10
    ja 2f
    mov (%rcx,%r9),%rax
    mov (%rdx,%r9),%r11
    cmp %r11,%rax
    jne 3f
    mov %r10,%r9
    jmp 1b
2:  cmp %r8,%r9
    jae 4f
    movzbl (%rcx,%r9),%eax
    movzbl (%rdx,%r9),%r11d
    inc %r9
    sub %r11d,%eax
    je 2b
    ret
3:  bswap %rax
    bswap %r11
    cmp %r11,%rax
    sbb %eax,%eax
    or $1,%eax
    ret
4:  xor %eax,%eax
    ret

nth_memory_forward:
    mov %rsi,%r10
    mov %rdi,%r11
nth_memory_moved:
    mov %rcx,%rdi
    mov %rdx,%rsi
    mov %r8,%rcx
    rep movsb
    mov %r10,%rsi
    mov %r11,%rdi
    ret
nth_memory_set_moved:
    mov %rcx,%rdi
    mov %r8,%rcx
    mov %rax,%r8
    mov %edx,%eax
    rep stosb
    mov %r8,%rax
    mov %r11,%rdi
    mov %r10,%rsi
    ret
nth_memory_end:
nth_memory_fill:
    mov %rsi,%r10
    mov %rdi,%r11
    jmp nth_memory_set_moved
    .cfi_endproc
    .size nth_memmove,.-nth_memmove

#ifdef NTH_ASAN
/* The same three after a look at the shadow memory. Parameters wait in the caller's home space. */
    .macro CHECKED name, check, then
    .globl \name
    .type \name,@function
\name:
    .cfi_startproc
    mov %rcx,0x08(%rsp)
    mov %rdx,0x10(%rsp)
    mov %r8,0x18(%rsp)
    mov (%rsp),%r9
    sub $0x28,%rsp
    .cfi_adjust_cfa_offset 0x28
    call \check
    add $0x28,%rsp
    .cfi_adjust_cfa_offset -0x28
    mov 0x08(%rsp),%rcx
    mov 0x10(%rsp),%rdx
    mov 0x18(%rsp),%r8
    jmp \then
    .cfi_endproc
    .size \name,.-\name
    .endm
    CHECKED nth_asan_memmove, nth_asan_check_move, nth_memmove
    CHECKED nth_asan_memset, nth_asan_check_set, nth_memset
    CHECKED nth_asan_memcmp, nth_asan_check_compare, nth_memcmp
#endif

    .section .note.GNU-stack,"",@progbits
