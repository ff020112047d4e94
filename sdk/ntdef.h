/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */

/*
 * Base types, calling conventions and language helpers for every other header of this folder. The
 * layout is that of Windows on every target, the host's Linux included, where kernel functions keep
 * the Microsoft calling convention and LONG is int because long has 64 bits there. Nothing here may
 * clash with a libc header.
 */

#pragma once

#include <sal.h>
#include <stdarg.h>
#include <stddef.h>

#if defined(_MSC_VER) && !defined(__clang__)
#error "this compiler comes with the WDK: put its include folders in place of sdk/"
#endif

#if defined(__x86_64__) && !defined(_AMD64_)
#define _AMD64_ 1
#elif defined(__aarch64__) && !defined(_ARM64_)
#define _ARM64_ 1
#elif defined(__i386__) && !defined(_X86_)
#define _X86_ 1
#endif

#ifdef _WIN32
#define NTAPI           __stdcall
#define NTAPIV          __cdecl
#define FASTCALL        __fastcall
#define DECLSPEC_IMPORT __declspec(dllimport)
#elif defined(_AMD64_)
#define NTAPI    __attribute__((ms_abi))
#define NTAPIV   NTAPI
#define FASTCALL NTAPI
#define DECLSPEC_IMPORT
#else
#define NTAPI
#define NTAPIV
#define FASTCALL
#define DECLSPEC_IMPORT
#endif

#define DECLSPEC_ALIGN(Bytes) __attribute__((aligned(Bytes)))
#define DECLSPEC_NORETURN     __attribute__((noreturn))
#define DECLSPEC_NOINLINE     __attribute__((noinline))
#define FORCEINLINE           static __inline__ __attribute__((always_inline, unused))

/* A module that implements these functions, and not merely calls them, defines the names as empty.
 */
#ifndef NTKERNELAPI
#define NTKERNELAPI DECLSPEC_IMPORT
#endif
#ifndef NTSYSAPI
#define NTSYSAPI NTKERNELAPI
#endif
#ifndef NTHALAPI
#define NTHALAPI DECLSPEC_IMPORT
#endif

#define VOID          void
#define TRUE          1
#define FALSE         0
#define ANYSIZE_ARRAY 1

#ifdef _WIN32
typedef long LONG;
typedef unsigned long ULONG;
typedef va_list NT_VA_LIST;
#else
typedef int LONG;
typedef unsigned int ULONG;
#ifdef _AMD64_
typedef __builtin_ms_va_list NT_VA_LIST;
#else
typedef va_list NT_VA_LIST;
#endif
#endif

typedef void *PVOID, *HANDLE, **PHANDLE;
typedef char CHAR, CCHAR, *PCHAR, *PSTR;
typedef const char *PCSTR, *PCSZ;
typedef unsigned char UCHAR, BOOLEAN, *PUCHAR, *PBOOLEAN;
typedef short SHORT, CSHORT, *PSHORT;
typedef unsigned short USHORT, *PUSHORT;
typedef unsigned int UINT, UINT32, *PUINT;
typedef LONG *PLONG, NTSTATUS, *PNTSTATUS;
typedef ULONG *PULONG, LOGICAL, LCID, ACCESS_MASK, *PACCESS_MASK, SECURITY_INFORMATION;
typedef long long LONGLONG, LONG64, INT64, *PLONGLONG, *PLONG64;
typedef unsigned long long ULONGLONG, ULONG64, UINT64, DWORD64, *PULONGLONG, *PULONG64;
typedef wchar_t WCHAR, *PWCHAR, *PWCH, *PWSTR;
typedef const wchar_t *PCWSTR, *PCWCH;
#ifdef _X86_
typedef long LONG_PTR, *PLONG_PTR, SSIZE_T;
typedef unsigned long ULONG_PTR, *PULONG_PTR, SIZE_T, *PSIZE_T;
#else
typedef long long LONG_PTR, *PLONG_PTR, SSIZE_T;
typedef unsigned long long ULONG_PTR, *PULONG_PTR, SIZE_T, *PSIZE_T;
#endif
typedef ULONG_PTR KAFFINITY, *PKAFFINITY;
typedef UCHAR KIRQL, *PKIRQL;
typedef CCHAR KPROCESSOR_MODE;
typedef LONG KPRIORITY;

_Static_assert(sizeof(WCHAR) == 2, "compile with -fshort-wchar where wchar_t is wider");

typedef struct _GUID {
    ULONG Data1;
    USHORT Data2, Data3;
    UCHAR Data4[8];
} GUID, *PGUID, *LPGUID;
typedef const GUID *LPCGUID, *REFGUID;

typedef union _LARGE_INTEGER {
    struct {
        ULONG LowPart;
        LONG HighPart;
    };
    struct {
        ULONG LowPart;
        LONG HighPart;
    } u;
    LONGLONG QuadPart;
} LARGE_INTEGER, *PLARGE_INTEGER, PHYSICAL_ADDRESS, *PPHYSICAL_ADDRESS;

typedef union _ULARGE_INTEGER {
    struct {
        ULONG LowPart, HighPart;
    };
    struct {
        ULONG LowPart, HighPart;
    } u;
    ULONGLONG QuadPart;
} ULARGE_INTEGER, *PULARGE_INTEGER;

typedef struct _LUID {
    ULONG LowPart;
    LONG HighPart;
} LUID, *PLUID;

typedef struct _LIST_ENTRY {
    struct _LIST_ENTRY *Flink, *Blink;
} LIST_ENTRY, *PLIST_ENTRY;

typedef struct _SINGLE_LIST_ENTRY {
    struct _SINGLE_LIST_ENTRY *Next;
} SINGLE_LIST_ENTRY, *PSINGLE_LIST_ENTRY;

/* Lengths in bytes; no terminator is promised. */
typedef struct _STRING {
    USHORT Length, MaximumLength;
    PCHAR Buffer;
} STRING, ANSI_STRING, *PSTRING, *PANSI_STRING;

typedef struct _UNICODE_STRING {
    USHORT Length, MaximumLength;
    PWCH Buffer;
} UNICODE_STRING, *PUNICODE_STRING;
typedef const UNICODE_STRING *PCUNICODE_STRING;

typedef struct _OBJECT_ATTRIBUTES {
    ULONG Length;
    HANDLE RootDirectory;
    PUNICODE_STRING ObjectName;
    ULONG Attributes;
    PVOID SecurityDescriptor;
    PVOID SecurityQualityOfService;
} OBJECT_ATTRIBUTES, *POBJECT_ATTRIBUTES;

typedef struct _PROCESSOR_NUMBER {
    USHORT Group;
    UCHAR Number, Reserved;
} PROCESSOR_NUMBER, *PPROCESSOR_NUMBER;

typedef struct _GROUP_AFFINITY {
    KAFFINITY Mask;
    USHORT Group, Reserved[3];
} GROUP_AFFINITY, *PGROUP_AFFINITY;

#define OBJ_INHERIT            0x00000002
#define OBJ_PERMANENT          0x00000010
#define OBJ_EXCLUSIVE          0x00000020
#define OBJ_CASE_INSENSITIVE   0x00000040
#define OBJ_OPENIF             0x00000080
#define OBJ_KERNEL_HANDLE      0x00000200
#define OBJ_FORCE_ACCESS_CHECK 0x00000400

#define InitializeObjectAttributes(Object, Name, Flags, Root, Descriptor)                          \
    (*(Object) = (OBJECT_ATTRIBUTES){.Length = sizeof(OBJECT_ATTRIBUTES),                          \
                                     .RootDirectory = (Root),                                      \
                                     .ObjectName = (Name),                                         \
                                     .Attributes = (Flags),                                        \
                                     .SecurityDescriptor = (Descriptor)})

#define RTL_CONSTANT_STRING(Literal)                                                               \
    {.Length = sizeof(Literal) - sizeof((Literal)[0]),                                             \
     .MaximumLength = sizeof(Literal),                                                             \
     .Buffer = (Literal)}

#define C_ASSERT(Expression)                  _Static_assert(Expression, #Expression)
#define UNREFERENCED_PARAMETER(Name)          ((void)(Name))
#define ARRAYSIZE(Array)                      (sizeof(Array) / sizeof((Array)[0]))
#define RTL_NUMBER_OF(Array)                  ARRAYSIZE(Array)
#define FIELD_OFFSET(Type, Field)             ((LONG)offsetof(Type, Field))
#define RTL_FIELD_SIZE(Type, Field)           (sizeof(((Type *)0)->Field))
#define RTL_SIZEOF_THROUGH_FIELD(Type, Field) (offsetof(Type, Field) + RTL_FIELD_SIZE(Type, Field))
#define CONTAINING_RECORD(Address, Type, Field)                                                    \
    ((Type *)((PUCHAR)(Address) - offsetof(Type, Field)))
#define NT_SUCCESS(Status) ((NTSTATUS)(Status) >= 0)
#define NT_ERROR(Status)   ((ULONG)(Status) >> 30 == 3)

#define MAXUSHORT    0xFFFF
#define MAXLONG      0x7FFFFFFF
#define MAXULONG     0xFFFFFFFFU
#define MAXULONGLONG 0xFFFFFFFFFFFFFFFFULL

/* Handles and pointers of 32-bit callers arrive as 32-bit numbers. */
#define HandleToULong(Handle) ((ULONG)(ULONG_PTR)(Handle))

#ifdef INITGUID
#define DEFINE_GUID(Name, L, W1, W2, B1, B2, B3, B4, B5, B6, B7, B8)                               \
    const GUID Name = {L, W1, W2, {B1, B2, B3, B4, B5, B6, B7, B8}}
#else
#define DEFINE_GUID(Name, L, W1, W2, B1, B2, B3, B4, B5, B6, B7, B8) extern const GUID Name
#endif
