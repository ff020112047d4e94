/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A DLL that does what tests of nthost/win32 tell it: small steps, each a call or two of Win32
 * functions, declared here as their pages have them. Without C runtime, as wintun.dll is.
 */

typedef void *HANDLE;
typedef const unsigned short *LPCWSTR;
typedef unsigned int DWORD; /* as wide as Windows' */
typedef unsigned long long SIZE_T;
typedef int BOOL;

#define IMPORT     __declspec(dllimport)
#define EXPORT     __declspec(dllexport)
#define TEXT(text) ((LPCWSTR)u##text)

IMPORT HANDLE HeapCreate(DWORD Options, SIZE_T Initial, SIZE_T Maximum);
IMPORT void *HeapAlloc(HANDLE Heap, DWORD Flags, SIZE_T Bytes);
IMPORT BOOL HeapFree(HANDLE Heap, DWORD Flags, void *Block);
IMPORT BOOL HeapDestroy(HANDLE Heap);
IMPORT DWORD GetLastError(void);
IMPORT void SetLastError(DWORD Error);
IMPORT HANDLE CreateMutexW(void *Attributes, BOOL IsOwned, LPCWSTR Name);
IMPORT BOOL ReleaseMutex(HANDLE Handle);
IMPORT DWORD WaitForSingleObject(HANDLE Handle, DWORD Milliseconds);
IMPORT HANDLE CreateEventW(void *Attributes, BOOL IsManual, BOOL IsSet, LPCWSTR Name);
IMPORT BOOL SetEvent(HANDLE Handle);
IMPORT BOOL CloseHandle(HANDLE Handle);
IMPORT HANDLE CreateThread(void *Attributes, SIZE_T Stack, DWORD (*Routine)(void *Parameter),
                           void *Parameter, DWORD Flags, DWORD *Id);
IMPORT void AcquireSRWLockExclusive(void **Lock);
IMPORT void ReleaseSRWLockExclusive(void **Lock);
IMPORT DWORD TlsAlloc(void);
IMPORT BOOL TlsFree(DWORD Slot);
IMPORT void *TlsGetValue(DWORD Slot);
IMPORT BOOL TlsSetValue(DWORD Slot, void *Value);
IMPORT HANDLE LoadLibraryExW(LPCWSTR Name, HANDLE File, DWORD Flags);
IMPORT void *GetProcAddress(HANDLE Module, const char *Name);
IMPORT HANDLE FindResourceW(HANDLE Module, LPCWSTR Name, LPCWSTR Type);
IMPORT DWORD SizeofResource(HANDLE Module, HANDLE Resource);
IMPORT HANDLE CreateBoundaryDescriptorW(LPCWSTR Name, DWORD Flags);
IMPORT BOOL AddSIDToBoundaryDescriptor(HANDLE *Boundary, const void *Sid);
IMPORT void DeleteBoundaryDescriptor(HANDLE Boundary);
IMPORT HANDLE CreatePrivateNamespaceW(void *Attributes, void *Boundary, LPCWSTR Alias);
IMPORT HANDLE OpenPrivateNamespaceW(void *Boundary, LPCWSTR Alias);

static HANDLE Module, Heap;
static DWORD Slot;
static void *Lock;

EXPORT int ProbeAttached, ProbeThreads;
EXPORT volatile int ProbeCounter;

BOOL DllMain(HANDLE Self, DWORD Reason, void *Reserved);
BOOL DllMain(HANDLE Self, DWORD Reason, void *Reserved)
{
    (void)Reserved;
    Module = Self;
    if (Reason == 1) {
        Heap = HeapCreate(0, 0, 0);
        Slot = TlsAlloc();
        ProbeAttached++;
        return Heap != 0;
    }
    if (Reason == 0) {
        TlsFree(Slot);
        HeapDestroy(Heap);
    }
    ProbeThreads += Reason == 2 ? 1 : Reason == 3 ? -1 : 0;
    return 1;
}

EXPORT DWORD ProbeLastError(DWORD Error);
DWORD ProbeLastError(DWORD Error)
{
    SetLastError(Error);
    return GetLastError();
}

EXPORT void *ProbeAlloc(SIZE_T Bytes);
void *ProbeAlloc(SIZE_T Bytes)
{
    return HeapAlloc(Heap, 8, Bytes);
}

EXPORT void ProbeFree(void *Block);
void ProbeFree(void *Block)
{
    HeapFree(Heap, 0, Block);
}

/* Reads a byte behind a block of its heap. */
EXPORT int ProbeOverrun(SIZE_T Bytes);
int ProbeOverrun(SIZE_T Bytes)
{
    volatile unsigned char *Block = HeapAlloc(Heap, 8, Bytes);

    return Block[Bytes];
}

EXPORT void ProbeTlsSet(void *Value);
void ProbeTlsSet(void *Value)
{
    TlsSetValue(Slot, Value);
}

EXPORT void *ProbeTlsGet(void);
void *ProbeTlsGet(void)
{
    return TlsGetValue(Slot);
}

EXPORT void ProbeCount(int Times);
void ProbeCount(int Times)
{
    for (int i = 0; i < Times; i++) {
        AcquireSRWLockExclusive(&Lock);
        ProbeCounter++;
        ReleaseSRWLockExclusive(&Lock);
    }
}

/* By two threads at once. They meet first, in a way that puts neither before the other: else one
 * may be through before the other comes, and what the host does between them is order enough. */
EXPORT void ProbeCountUnlocked(int Times);
void ProbeCountUnlocked(int Times)
{
    static int Inside;

    __atomic_fetch_add(&Inside, 1, __ATOMIC_RELAXED);
    while (__atomic_load_n(&Inside, __ATOMIC_RELAXED) < 2)
        continue;
    for (int i = 0; i < Times; i++)
        ProbeCounter++;
}

EXPORT HANDLE ProbeMutex(void);
HANDLE ProbeMutex(void)
{
    return CreateMutexW(0, 0, TEXT("Probe"));
}

EXPORT DWORD ProbeWait(HANDLE Handle, DWORD Milliseconds);
DWORD ProbeWait(HANDLE Handle, DWORD Milliseconds)
{
    return WaitForSingleObject(Handle, Milliseconds);
}

EXPORT BOOL ProbeRelease(HANDLE Handle);
BOOL ProbeRelease(HANDLE Handle)
{
    return ReleaseMutex(Handle);
}

EXPORT HANDLE ProbeEvent(void);
HANDLE ProbeEvent(void)
{
    return CreateEventW(0, 0, 0, 0);
}

EXPORT BOOL ProbeClose(HANDLE Handle);
BOOL ProbeClose(HANDLE Handle)
{
    return CloseHandle(Handle);
}

static DWORD Count(void *Parameter)
{
    ProbeCount((int)(SIZE_T)Parameter);
    return 0;
}

EXPORT HANDLE ProbeThread(int Times);
HANDLE ProbeThread(int Times)
{
    return CreateThread(0, 0, Count, (void *)(SIZE_T)Times, 0, 0);
}

EXPORT void *ProbeFind(LPCWSTR Library, const char *Name);
void *ProbeFind(LPCWSTR Library, const char *Name)
{
    HANDLE Loaded = LoadLibraryExW(Library, 0, 0x800);

    return Loaded ? GetProcAddress(Loaded, Name) : 0;
}

EXPORT DWORD ProbeResource(LPCWSTR Name);
DWORD ProbeResource(LPCWSTR Name)
{
    HANDLE Found = FindResourceW(Module, Name, (LPCWSTR)10);

    return Found ? SizeofResource(Module, Found) : 0;
}

/* The namespace of a boundary with the administrators' SID. */
EXPORT HANDLE ProbeNamespace(BOOL IsNew);
HANDLE ProbeNamespace(BOOL IsNew)
{
    static const unsigned char Sid[16] = {1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0};
    HANDLE Boundary = CreateBoundaryDescriptorW(TEXT("Probe"), 0), Space = 0;

    if (Boundary && AddSIDToBoundaryDescriptor(&Boundary, Sid))
        Space = IsNew ? CreatePrivateNamespaceW(0, Boundary, TEXT("Probe"))
                      : OpenPrivateNamespaceW(Boundary, TEXT("Probe"));
    if (Boundary)
        DeleteBoundaryDescriptor(Boundary);
    return Space;
}
