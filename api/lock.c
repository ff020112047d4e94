/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * One process at a time changes devices, and one the driver store. The mutexes live in a private
 * namespace with one boundary, the administrators, of whom the system is one: nobody else can take
 * their names. Names are those of version 0.14, so that both exclude each other.
 */
#include "private.h"

static const LPCWSTR Names[] = {
    [LOCK_DEVICES] = BRAND_DEVICE_MUTEX, [LOCK_DRIVERS] = BRAND_DRIVER_MUTEX};

static SRWLOCK Guard = SRWLOCK_INIT; /* of Namespace; held for calls that do not wait */
static HANDLE Namespace;             /* a process can open it once only; open until unloading */

/* Owner and label as well: else an owner could change the rest, and who is not elevated open it. */
DWORD SecurityForObjects(SECURITY_ATTRIBUTES *Attributes)
{
    Attributes->nLength = sizeof(*Attributes);
    Attributes->bInheritHandle = FALSE;
    if (System.ConvertStringSecurityDescriptorToSecurityDescriptorW(
            L"O:BAD:P(A;;GA;;;SY)(A;;GA;;;BA)S:(ML;;NWNRNX;;;HI)", SDDL_REVISION_1,
            &Attributes->lpSecurityDescriptor, NULL))
        return ERROR_SUCCESS;
    return Fail(GetLastError(), L"Making a security descriptor", NULL);
}

/*
 * Who is not elevated may not make the administrators an owner, nor give away a label above its
 * own, and Windows may look at that (nf-wdm-seassignsecurity) before it looks at the boundary.
 */
static DWORD FailObject(DWORD Error, LPCWSTR Step, LPCWSTR Object)
{
    if (Error == ERROR_INVALID_OWNER || Error == ERROR_PRIVILEGE_NOT_HELD)
        Error = ERROR_ACCESS_DENIED;
    return Fail(Error, Step, Object);
}

static DWORD NamespaceOpenLocked(SECURITY_ATTRIBUTES *Attributes, HANDLE Boundary)
{
    /* It may vanish between the two calls when another process ends. */
    for (DWORD Attempt = 0; Attempt < 16; Attempt++) {
        Namespace = CreatePrivateNamespaceW(Attributes, Boundary, BRAND_NAMESPACE);
        if (Namespace)
            return ERROR_SUCCESS;
        if (GetLastError() != ERROR_ALREADY_EXISTS)
            break;
        Namespace = OpenPrivateNamespaceW(Boundary, BRAND_NAMESPACE);
        if (Namespace)
            return ERROR_SUCCESS;
        if (GetLastError() != ERROR_PATH_NOT_FOUND)
            break;
    }
    return FailObject(GetLastError(), L"Opening the private namespace", BRAND_NAMESPACE);
}

static DWORD NamespaceNeedLocked(SECURITY_ATTRIBUTES *Attributes)
{
    BYTE Sid[SECURITY_MAX_SID_SIZE];
    DWORD Bytes = sizeof(Sid);
    DWORD Error;

    if (Namespace)
        return ERROR_SUCCESS;
    if (!System.CreateWellKnownSid(WinBuiltinAdministratorsSid, NULL, Sid, &Bytes))
        return Fail(GetLastError(), L"Making the SID of the administrators", NULL);
    HANDLE Boundary = CreateBoundaryDescriptorW(BRAND_NAMESPACE, 0);
    if (!Boundary)
        return Fail(GetLastError(), L"Making a boundary descriptor", NULL);
    if (AddSIDToBoundaryDescriptor(&Boundary, Sid)) /* may move it */
        Error = NamespaceOpenLocked(Attributes, Boundary);
    else
        Error = Fail(GetLastError(), L"Adding a SID to a boundary descriptor", NULL);
    DeleteBoundaryDescriptor(Boundary);
    return Error;
}

DWORD LockTake(LOCK Lock, HANDLE *Taken)
{
    SECURITY_ATTRIBUTES Attributes;
    HANDLE Mutex = NULL;

    *Taken = NULL;
    DWORD Error = SystemNeed(Module_advapi32);
    if (!Error)
        Error = SecurityForObjects(&Attributes);
    if (Error)
        return Error;
    AcquireSRWLockExclusive(&Guard);
    Error = NamespaceNeedLocked(&Attributes);
    if (!Error) {
        Mutex = CreateMutexW(&Attributes, FALSE, Names[Lock]);
        if (!Mutex)
            Error = FailObject(GetLastError(), L"Creating a mutex", Names[Lock]);
    }
    ReleaseSRWLockExclusive(&Guard);
    LocalFree(Attributes.lpSecurityDescriptor);
    if (Error)
        return Error;
    switch (WaitForSingleObject(Mutex, LOCK_TIMEOUT_MS)) {
    case WAIT_OBJECT_0:
    case WAIT_ABANDONED: /* its owner has crashed; what it left is seen to when it is found */
        *Taken = Mutex;
        return ERROR_SUCCESS;
    case WAIT_TIMEOUT:
        Error = Fail(ERROR_TIMEOUT, L"Waiting for another process", Names[Lock]);
        break;
    default:
        Error = Fail(GetLastError(), L"Waiting for a mutex", Names[Lock]);
    }
    CloseHandle(Mutex);
    return Error;
}

void LockRelease(HANDLE Taken)
{
    if (!Taken)
        return;
    ReleaseMutex(Taken);
    CloseHandle(Taken);
}

/* Closed, not destroyed: other processes use it. */
void LockDetach(void)
{
    if (Namespace)
        ClosePrivateNamespace(Namespace, 0);
}
