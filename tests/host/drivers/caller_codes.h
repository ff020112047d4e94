/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Control codes of caller.sys, for programs that include no header of the kernel.
 */
#pragma once

#define CALLER_CODE(Function, Method) (int)((0x8000u << 16) | ((Function) << 2) | (Method))
enum {
    CODE_RINGS = (int)0xCA6CE5C0, /* accepts a registration of rings and does nothing with it */
    CODE_PEND = CALLER_CODE(0x800, 0),        /* pends until it is cancelled or completed */
    CODE_PEND_DIRECT = CALLER_CODE(0x801, 2), /* the same with its output locked */
    CODE_COMPLETE = CALLER_CODE(0x802, 0),    /* completes all that pend */
    CODE_WAIT = CALLER_CODE(0x803, 0),        /* input: KPROCESSOR_MODE as ULONG; waits for ever */
    CODE_ECHO = CALLER_CODE(0x804, 0),        /* answers its input */
    CODE_LOCK = CALLER_CODE(0x805, 0),        /* input: address, bytes: locks them */
    CODE_UNLOCK = CALLER_CODE(0x806, 0),
    CODE_CALL = CALLER_CODE(0x807, 0) /* input: function and arguments; output: result */
};
