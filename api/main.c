/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Loading and unloading, and what a C runtime would have given: memory and strings. DllMain must do
 * nothing that can wait or that calls another library than kernel32.
 */
#include "private.h"

HMODULE Module;
static HANDLE Heap; /* our own: a program may replace or change the process's */

/* ---- Memory ---- */

void *MemoryAllocate(SIZE_T Bytes)
{
    return HeapAlloc(Heap, HEAP_ZERO_MEMORY, Bytes);
}

void MemoryFree(void *Memory)
{
    if (Memory)
        HeapFree(Heap, 0, Memory);
}

/*
 * The compiler calls these by name. Through volatile pointers, or it would make of each loop a call
 * of the very function.
 */
void *memcpy(void *To, const void *From, size_t Bytes);
void *memmove(void *To, const void *From, size_t Bytes);
void *memset(void *To, int Value, size_t Bytes);
int memcmp(const void *A, const void *B, size_t Bytes);

#if defined(_MSC_VER) && !defined(__clang__)
#pragma function(memcpy, memmove, memset, memcmp)
#endif

void *memcpy(void *To, const void *From, size_t Bytes)
{
    volatile unsigned char *At = To;

    for (size_t Index = 0; Index < Bytes; Index++)
        At[Index] = ((const volatile unsigned char *)From)[Index];
    return To;
}

void *memmove(void *To, const void *From, size_t Bytes)
{
    volatile unsigned char *At = To;

    if ((ULONG_PTR)To - (ULONG_PTR)From >= Bytes)
        return memcpy(To, From, Bytes);
    while (Bytes--)
        At[Bytes] = ((const volatile unsigned char *)From)[Bytes];
    return To;
}

void *memset(void *To, int Value, size_t Bytes)
{
    volatile unsigned char *At = To;

    for (size_t Index = 0; Index < Bytes; Index++)
        At[Index] = (unsigned char)Value;
    return To;
}

int memcmp(const void *A, const void *B, size_t Bytes)
{
    const volatile unsigned char *Left = A, *Right = B;

    for (size_t Index = 0; Index < Bytes; Index++) {
        const int Difference = Left[Index] - Right[Index];
        if (Difference)
            return Difference;
    }
    return 0;
}

/* ---- Strings ---- */

DWORD StringLength(LPCWSTR String)
{
    DWORD Length = 0;

    while (String[Length])
        Length++;
    return Length;
}

BOOL StringCopy(LPWSTR To, DWORD Characters, LPCWSTR From)
{
    To[0] = 0;
    return StringAppend(To, Characters, From);
}

BOOL StringAppend(LPWSTR To, DWORD Characters, LPCWSTR From)
{
    const DWORD Before = StringLength(To), Added = StringLength(From);

    if (Before + Added >= Characters) {
        To[0] = 0;
        return FALSE;
    }
    memcpy(To + Before, From, (Added + 1) * sizeof(WCHAR));
    return TRUE;
}

BOOL StringEqual(LPCWSTR A, LPCWSTR B)
{
    return CompareStringOrdinal(A, -1, B, -1, TRUE) == CSTR_EQUAL;
}

void StringNumber(WCHAR *To, DWORD64 Value, DWORD Base, DWORD Digits)
{
    DWORD Needed = 1;

    for (DWORD64 Rest = Value / Base; Rest; Rest /= Base)
        Needed++;
    if (Needed < Digits)
        Needed = Digits;
    To[Needed] = 0;
    while (Needed--) {
        To[Needed] = L"0123456789ABCDEF"[Value % Base];
        Value /= Base;
    }
}

/* Where in the text form each byte of a GUID's memory stands; -1 there is a dash or a brace. */
static const signed char GuidPlaces[16] = {7,  5,  3,  1,  12, 10, 17, 15,
                                           20, 22, 25, 27, 29, 31, 33, 35};

void GuidFormat(const GUID *Guid, WCHAR *To)
{
    StringCopy(To, GUID_CHARACTERS, L"{00000000-0000-0000-0000-000000000000}");
    for (DWORD Index = 0; Index < 16; Index++) {
        const BYTE Value = ((const BYTE *)Guid)[Index];
        To[GuidPlaces[Index]] = L"0123456789ABCDEF"[Value >> 4];
        To[GuidPlaces[Index] + 1] = L"0123456789ABCDEF"[Value & 15];
    }
}

static int HexDigit(WCHAR Character)
{
    if (Character >= L'0' && Character <= L'9')
        return Character - L'0';
    Character |= 0x20;
    return Character >= L'a' && Character <= L'f' ? Character - L'a' + 10 : -1;
}

BOOL GuidParse(LPCWSTR From, GUID *Guid)
{
    WCHAR Again[GUID_CHARACTERS];

    if (StringLength(From) != GUID_CHARACTERS - 1)
        return FALSE;
    for (DWORD Index = 0; Index < 16; Index++) {
        const int High = HexDigit(From[GuidPlaces[Index]]);
        const int Low = HexDigit(From[GuidPlaces[Index] + 1]);
        if (High < 0 || Low < 0)
            return FALSE;
        ((BYTE *)Guid)[Index] = (BYTE)(High << 4 | Low);
    }
    GuidFormat(Guid, Again); /* sees to the dashes and braces */
    return StringEqual(From, Again);
}

/* ---- Loading ---- */

static BOOL Attach(HMODULE Instance)
{
    Module = Instance;
    Heap = HeapCreate(0, 0, 0);
    if (!Heap)
        return FALSE;
    if (LogAttach())
        return TRUE;
    HeapDestroy(Heap);
    return FALSE;
}

static void Detach(void)
{
    LockDetach();
    LogDetach();
    HeapDestroy(Heap); /* with what threads have left in it that still run */
}

BOOL WINAPI DllMain(HINSTANCE Instance, DWORD Reason, LPVOID Reserved);

BOOL WINAPI DllMain(HINSTANCE Instance, DWORD Reason, LPVOID Reserved)
{
    switch (Reason) {
    case DLL_PROCESS_ATTACH:
        return Attach(Instance);
    case DLL_THREAD_DETACH:
        ThreadDetach();
        break;
    case DLL_PROCESS_DETACH:
        /* Not NULL: the process ends, its other threads are gone whatever they held. */
        if (!Reserved)
            Detach();
        break;
    default:
        break;
    }
    return TRUE;
}
