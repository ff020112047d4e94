/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What drivers say: debugger output, assertions, event tracing. All of it becomes events of the
 * machine (core/trace.c); a debugger is never attached and no trace session is ever started.
 */
#include "nt/format.h"
#include "nt/ke.h"
#include "nt/more.h"

#include <stdlib.h>
#include <string.h>

enum { PRINT_BYTES = 512 /* "at most 512 bytes" in one call */ };

/* ---- debugger output ---- */

static ULONG print(const char *prefix, const char *format, NT_VA_LIST arguments)
{
    char text[PRINT_BYTES + 1];
    bool used_unicode = false;

    if (nth_format(text, PRINT_BYTES, format, arguments, &used_unicode) < 0)
        text[PRINT_BYTES] = '\0';
    if (used_unicode && nth_irql() != PASSIVE_LEVEL)
        nth_stop("irql-too-high", "%s formats Unicode at IRQL %u; only at PASSIVE_LEVEL",
                 nth_call_name() ? nth_call_name() : "DbgPrint", nth_irql());
    text[strcspn(text, "\r\n")] = '\0';
    nth_trace("driver says: %s%s", prefix, text);
    return STATUS_SUCCESS;
}

ULONG NTAPIV DbgPrint(PCSTR Format, ...)
{
    NT_VA_LIST arguments;

    __builtin_ms_va_start(arguments, Format);
    const ULONG status = print("", Format, arguments);
    __builtin_ms_va_end(arguments);
    return status;
}
NTH_EXPORT(DbgPrint, NTH_VARIADIC);

ULONG NTAPIV DbgPrintEx(ULONG ComponentId, ULONG Level, PCSTR Format, ...)
{
    NT_VA_LIST arguments;

    __builtin_ms_va_start(arguments, Format);
    const ULONG status = print("", Format, arguments);
    __builtin_ms_va_end(arguments);
    return status;
}
NTH_EXPORT(DbgPrintEx, NTH_VARIADIC);

ULONG NTAPI vDbgPrintEx(ULONG ComponentId, ULONG Level, PCSTR Format, NT_VA_LIST Arguments)
{
    return print("", Format, Arguments);
}
NTH_EXPORT(vDbgPrintEx, 4);

ULONG NTAPI vDbgPrintExWithPrefix(PCSTR Prefix, ULONG ComponentId, ULONG Level, PCSTR Format,
                                  NT_VA_LIST Arguments)
{
    return print(Prefix, Format, Arguments);
}
NTH_EXPORT(vDbgPrintExWithPrefix, 5);

/* No debugger, so a breakpoint is what it is without one. */
VOID NTAPI DbgBreakPoint(VOID)
{
    nth_stop("bugcheck", "KMODE_EXCEPTION_NOT_HANDLED (0x1E): DbgBreakPoint without a debugger");
}
NTH_EXPORT(DbgBreakPoint, 0);

VOID NTAPI RtlAssert(PVOID FailedAssertion, PVOID FileName, ULONG LineNumber, PSTR Message)
{
    nth_stop("assertion", "%s%s%s (%s:%u)", Message ? Message : "", Message ? ": " : "",
             (const char *)FailedAssertion, (const char *)FileName, LineNumber);
}
NTH_EXPORT(RtlAssert, 4);

/* ---- event tracing ---- */

struct provider {
    GUID id;
    uint64_t written;
};

NTSTATUS NTAPI EtwRegister(LPCGUID ProviderId, PETWENABLECALLBACK EnableCallback,
                           PVOID CallbackContext, PREGHANDLE RegHandle)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    *RegHandle = 0;
    if (nth_fault(NTH_FAULT_REGISTER, "EtwRegister"))
        return STATUS_NO_MEMORY;
    struct provider *const provider = calloc(1, sizeof(*provider));
    if (!provider)
        nth_fail("no memory for an event provider");
    provider->id = *ProviderId;
    nth_ledger_add("event provider", provider, 0, 0);
    nth_trace("event provider %08x-%04x-%04x registered", provider->id.Data1, provider->id.Data2,
              provider->id.Data3);
    *RegHandle = (REGHANDLE)(uintptr_t)provider;
    return STATUS_SUCCESS;
}
NTH_EXPORT(EtwRegister, 4);

static struct provider *provider_of(REGHANDLE handle)
{
    struct provider *const provider = (struct provider *)(uintptr_t)handle;

    return provider && nth_ledger_has("event provider", provider) ? provider : NULL;
}

NTSTATUS NTAPI EtwUnregister(REGHANDLE RegHandle)
{
    struct provider *const provider = provider_of(RegHandle);

    nth_irql_exactly(PASSIVE_LEVEL);
    if (!provider)
        return STATUS_INVALID_HANDLE;
    nth_ledger_remove("event provider", provider);
    free(provider);
    return STATUS_SUCCESS;
}
NTH_EXPORT(EtwUnregister, 1);

NTSTATUS NTAPI EtwWrite(REGHANDLE RegHandle, PCEVENT_DESCRIPTOR EventDescriptor, LPCGUID ActivityId,
                        ULONG UserDataCount, PEVENT_DATA_DESCRIPTOR UserData)
{
    struct provider *const provider = provider_of(RegHandle);
    size_t bytes = 0;

    if (!provider)
        return STATUS_INVALID_HANDLE;
    for (ULONG i = 0; i < UserDataCount; i++)
        bytes += UserData[i].Size;
    __atomic_fetch_add(&provider->written, 1, __ATOMIC_RELAXED);
    nth_trace("event %u of provider %08x: level %u, %u fields, %zu bytes", EventDescriptor->Id,
              provider->id.Data1, EventDescriptor->Level, UserDataCount, bytes);
    return STATUS_SUCCESS;
}
NTH_EXPORT(EtwWrite, 5);

NTSTATUS NTAPI EtwWriteTransfer(REGHANDLE RegHandle, PCEVENT_DESCRIPTOR EventDescriptor,
                                LPCGUID ActivityId, LPCGUID RelatedActivityId, ULONG UserDataCount,
                                PEVENT_DATA_DESCRIPTOR UserData)
{
    return EtwWrite(RegHandle, EventDescriptor, ActivityId, UserDataCount, UserData);
}
NTH_EXPORT(EtwWriteTransfer, 6);

/* "TRUE if the event is enabled": every event of a registered provider is traced here. */
BOOLEAN NTAPI EtwEventEnabled(REGHANDLE RegHandle, PCEVENT_DESCRIPTOR EventDescriptor)
{
    return provider_of(RegHandle) != NULL;
}
NTH_EXPORT(EtwEventEnabled, 2);

BOOLEAN NTAPI EtwProviderEnabled(REGHANDLE RegHandle, UCHAR Level, ULONGLONG Keyword)
{
    return provider_of(RegHandle) != NULL;
}
NTH_EXPORT(EtwProviderEnabled, 3);

NTSTATUS NTAPI EtwSetInformation(REGHANDLE RegHandle, ULONG InformationClass,
                                 PVOID EventInformation, ULONG InformationLength)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    return provider_of(RegHandle) ? STATUS_SUCCESS : STATUS_INVALID_HANDLE;
}
NTH_EXPORT(EtwSetInformation, 4);
