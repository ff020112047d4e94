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

static void ResourceRead(LPCWSTR Prefix, LPCWSTR Suffix, RESOURCE *File)
{
    WCHAR Name[32];

    File->Data = NULL;
    File->Bytes = 0;
    if (!StringCopy(Name, 32, Prefix) || !StringAppend(Name, 32, Suffix))
        return;
    HRSRC Found = FindResourceW(Module, Name, (LPCWSTR)(ULONG_PTR)10 /* RT_RCDATA */);
    HGLOBAL Data = Found ? LoadResource(Module, Found) : NULL;
    if (!Data)
        return;
    File->Data = LockResource(Data);
    File->Bytes = SizeofResource(Module, Found);
}

DWORD ResourceFind(RESOURCE *Files)
{
    LPCWSTR Prefix = L"WINTUN";

    const DWORD Error = SystemNeed(Module_kernel32);
    if (Error)
        return Error;
    const USHORT Native = MachineNative();
    if (Native != OWN_MACHINE)
        Prefix = Native == IMAGE_FILE_MACHINE_ARM64 ? L"WINTUN-ARM64" : L"WINTUN-OTHER";
    Files[0].File = L"wintun.inf";
    Files[1].File = BRAND_SERVICE_FILE;
    Files[2].File = L"wintun.cat";
    ResourceRead(Prefix, L".INF", &Files[0]);
    ResourceRead(Prefix, L".SYS", &Files[1]);
    ResourceRead(Prefix, L".CAT", &Files[2]);
    if (Files[0].Data && Files[1].Data)
        return ERROR_SUCCESS;
    return Fail(ERROR_NOT_SUPPORTED, L"Looking for a driver for this machine's processor", NULL);
}
