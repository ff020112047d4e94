/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The C exception handler of the driver's __try blocks, by "x64 exception handling" and the page of
 * _C_specific_handler: Wine 8's own loses the exception code on its way to the __except block.
 */
#include "double.h"

#include <windows.h>

typedef LONG filter(EXCEPTION_POINTERS *pointers, void *frame);
typedef void termination(BOOLEAN is_abnormal, void *frame);

static bool is_inside(const DISPATCHER_CONTEXT *d, DWORD i)
{
    const SCOPE_TABLE_AMD64 *table = d->HandlerData;
    const ULONG64 at = d->ControlPc - d->ImageBase;

    return at >= table->ScopeRecord[i].BeginAddress && at < table->ScopeRecord[i].EndAddress;
}

/* Second pass: runs the __finally blocks on the way to the target. */
static void unwind(const EXCEPTION_RECORD *record, void *frame, DISPATCHER_CONTEXT *d)
{
    const SCOPE_TABLE_AMD64 *table = d->HandlerData;

    for (DWORD i = d->ScopeIndex; i < table->Count; i++) {
        const ULONG64 target = d->ImageBase + table->ScopeRecord[i].JumpTarget;
        if (!is_inside(d, i))
            continue;
        if (table->ScopeRecord[i].JumpTarget) {
            if ((record->ExceptionFlags & EXCEPTION_TARGET_UNWIND) && d->TargetIp == target)
                return;
            continue;
        }
        d->ScopeIndex = i + 1;
        ((termination *)(d->ImageBase + table->ScopeRecord[i].HandlerAddress))(TRUE, frame);
    }
}

EXCEPTION_DISPOSITION wine_c_handler(EXCEPTION_RECORD *record, void *frame, CONTEXT *context,
                                     DISPATCHER_CONTEXT *d);

EXCEPTION_DISPOSITION wine_c_handler(EXCEPTION_RECORD *record, void *frame, CONTEXT *context,
                                     DISPATCHER_CONTEXT *d)
{
    const SCOPE_TABLE_AMD64 *table = d->HandlerData;
    EXCEPTION_POINTERS pointers = {record, context};

    if (record->ExceptionFlags & (EXCEPTION_UNWINDING | EXCEPTION_EXIT_UNWIND)) {
        unwind(record, frame, d);
        return ExceptionContinueSearch;
    }
    for (DWORD i = d->ScopeIndex; i < table->Count; i++) {
        const DWORD handler = table->ScopeRecord[i].HandlerAddress;
        LONG decision = EXCEPTION_EXECUTE_HANDLER;
        if (!is_inside(d, i) || !table->ScopeRecord[i].JumpTarget)
            continue;
        if (handler != EXCEPTION_EXECUTE_HANDLER)
            decision = ((filter *)(d->ImageBase + handler))(&pointers, frame);
        if (decision < 0)
            return ExceptionContinueExecution;
        if (decision > 0)
            RtlUnwindEx(frame, (void *)(d->ImageBase + table->ScopeRecord[i].JumpTarget), record,
                        (void *)(ULONG_PTR)record->ExceptionCode, d->ContextRecord,
                        d->HistoryTable);
    }
    return ExceptionContinueSearch;
}
