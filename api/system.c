/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Finds functions of other libraries when they are first needed. Libraries stay loaded: a pointer
 * that was once found holds until the process ends, and DllMain may not unload anything.
 */
#include "private.h"

SYSTEM System;

typedef struct FUNCTION {
    BYTE Module;
    BOOLEAN IsOptional;
    WORD Offset; /* of its pointer in System */
    const char *Name;
} FUNCTION;

static const FUNCTION Functions[] = {
#define REQUIRED(Module, Name)  {Index_##Module, FALSE, (WORD)FIELD_OFFSET(SYSTEM, Name), #Name},
#define OPTIONAL_(Module, Name) {Index_##Module, TRUE, (WORD)FIELD_OFFSET(SYSTEM, Name), #Name},
    SYSTEM_FUNCTIONS(REQUIRED, OPTIONAL_)
#undef OPTIONAL_
#undef REQUIRED
};

static const LPCWSTR Names[SystemModuleCount] = {
#define MODULE_NAME(Module) L"" #Module ".dll",
    SYSTEM_MODULES(MODULE_NAME)
#undef MODULE_NAME
};

static SRWLOCK Lock = SRWLOCK_INIT; /* guards Loaded and the writing of System */
static DWORD Loaded;                /* Module_... */

static DWORD FailFunction(DWORD Index, const char *Function)
{
    WCHAR Text[128];
    DWORD Length = 0;

    StringCopy(Text, 64, Names[Index]);
    StringAppend(Text, 64, L": ");
    for (Length = StringLength(Text); *Function && Length < 127; Length++)
        Text[Length] = (WCHAR)*Function++;
    Text[Length] = 0;
    return Fail(ERROR_PROC_NOT_FOUND, L"Looking for a function of Windows", Text);
}

static DWORD ModuleLoadLocked(DWORD Index)
{
    HMODULE Library = LoadLibraryExW(Names[Index], NULL, LOAD_LIBRARY_SEARCH_SYSTEM32);
    const DWORD Error = Library ? ERROR_SUCCESS : GetLastError();

    for (DWORD At = 0; At < sizeof(Functions) / sizeof(*Functions); At++) {
        const FUNCTION *Function = &Functions[At];
        if (Function->Module != Index)
            continue;
        FARPROC Found = Library ? GetProcAddress(Library, Function->Name) : NULL;
        if (!Found && !Function->IsOptional)
            return Library ? FailFunction(Index, Function->Name)
                           : Fail(Error, L"Loading a library of Windows", Names[Index]);
        *(FARPROC *)((BYTE *)&System + Function->Offset) = Found;
    }
    return ERROR_SUCCESS;
}

DWORD SystemNeed(DWORD Modules)
{
    DWORD Error = ERROR_SUCCESS;

    AcquireSRWLockExclusive(&Lock);
    for (DWORD Index = 0; Index < SystemModuleCount && !Error; Index++) {
        if (!(Modules & ~Loaded & 1UL << Index))
            continue;
        Error = ModuleLoadLocked(Index);
        if (!Error)
            Loaded |= 1UL << Index;
    }
    ReleaseSRWLockExclusive(&Lock);
    return Error;
}
