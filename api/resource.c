/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The driver package that this DLL carries, for its own processor and, in the amd64 DLL, for arm64,
 * whose Windows runs amd64 programs.
 */
#include "private.h"

#if defined(_M_ARM64) || defined(__aarch64__)
#define OWN_MACHINE IMAGE_FILE_MACHINE_ARM64
#elif defined(_M_AMD64) || defined(__x86_64__)
#define OWN_MACHINE IMAGE_FILE_MACHINE_AMD64
#else
#define OWN_MACHINE IMAGE_FILE_MACHINE_I386
#endif

/* nf-wow64apiset-iswow64process2; where it is missing nothing emulates another processor. */
static USHORT MachineNative(void)
{
    USHORT Process, Native;

    if (System.IsWow64Process2 && System.IsWow64Process2(GetCurrentProcess(), &Process, &Native))
        return Native;
    return OWN_MACHINE;
}

/* ERROR_RESOURCE_NAME_NOT_FOUND: it is not in the DLL. Quiet: no Fail. */
static DWORD ResourceRead(LPCWSTR Prefix, LPCWSTR Suffix, RESOURCE *File)
{
    WCHAR Name[32];

    File->Data = NULL;
    File->Bytes = 0;
    if (!StringCopy(Name, 32, Prefix) || !StringAppend(Name, 32, Suffix))
        return ERROR_RESOURCE_NAME_NOT_FOUND;
    HRSRC Found = FindResourceW(Module, Name, (LPCWSTR)(ULONG_PTR)10 /* RT_RCDATA */);
    if (!Found)
        return GetLastError();
    File->Bytes = SizeofResource(Module, Found);
    if (!File->Bytes)
        return GetLastError();
    HGLOBAL Data = LoadResource(Module, Found);
    if (!Data)
        return GetLastError();
    File->Data = LockResource(Data);
    return File->Data ? ERROR_SUCCESS : ERROR_RESOURCE_DATA_NOT_FOUND;
}

DWORD ResourceFind(RESOURCE *Files)
{
    static const LPCWSTR Suffixes[RESOURCE_COUNT] = {L".INF", L".SYS", L".CAT"};
    LPCWSTR Prefix = L"WINTUN";

    DWORD Error = SystemNeed(Module_kernel32);
    if (Error)
        return Error;
    const USHORT Native = MachineNative();
    if (Native != OWN_MACHINE)
        Prefix = Native == IMAGE_FILE_MACHINE_ARM64 ? L"WINTUN-ARM64" : L"WINTUN-OTHER";
    Files[0].File = L"wintun.inf";
    Files[1].File = BRAND_SERVICE_FILE;
    Files[2].File = L"wintun.cat";
    for (DWORD Index = 0; Index < RESOURCE_COUNT; Index++) {
        Error = ResourceRead(Prefix, Suffixes[Index], &Files[Index]);
        if (Error == ERROR_RESOURCE_NAME_NOT_FOUND && Index == 2)
            break; /* not signed: Windows decides what it thinks of that */
        if (Error == ERROR_RESOURCE_NAME_NOT_FOUND)
            return Fail(ERROR_NOT_SUPPORTED, L"Looking for a driver for this machine's processor",
                        NULL);
        if (Error)
            return Fail(Error, L"Reading the driver that this DLL carries", Suffixes[Index]);
    }
    return ERROR_SUCCESS;
}
