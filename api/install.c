/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The driver store. A package that is as new as ours or newer, whoever made it, is used as it is:
 * nothing is ever downgraded. An older one stays as well, since adapters that run must not be
 * stopped for a program that starts: Windows takes the newest for each new device, and the image
 * changes when the last adapter has gone. Only packages of our own provider are ever removed.
 */
#include "private.h"

#include <setupapi.h>

static const GUID ClassNet = {
    0x4d36e972, 0xe325, 0x11ce, {0xbf, 0xc1, 0x08, 0x00, 0x2b, 0xe1, 0x03, 0x18}};

/* What the INF's DriverVer says; the build makes both from the same numbers. */
#define OUR_VERSION                                                                                \
    ((DWORD64)TUN_VERSION_MAJOR << 48 | (DWORD64)TUN_VERSION_MINOR << 32 |                         \
     (DWORD64)TUN_VERSION_PATCH << 16)
#define OUR_DAY TUN_DRIVER_DAY /* days since 1601-01-01 */

DWORD RandomBytes(void *To, DWORD Bytes)
{
    const DWORD Error = SystemNeed(Module_bcrypt | Module_ntdll);

    if (Error)
        return Error;
    const NTSTATUS Status =
        System.BCryptGenRandom(NULL, To, Bytes, BCRYPT_USE_SYSTEM_PREFERRED_RNG);
    if (Status >= 0)
        return ERROR_SUCCESS;
    return Fail(System.RtlNtStatusToDosError(Status), L"Generating random bytes", NULL);
}

/* ---- What is in the store ---- */

typedef struct PACKAGE {
    struct PACKAGE *Next;
    DWORD Day;
    DWORD64 Version;
    BOOL IsOurs;
    WCHAR Inf[64]; /* oemN.inf, or "" when the store calls it otherwise */
} PACKAGE;

static void PackagesFree(PACKAGE *First)
{
    while (First) {
        PACKAGE *Next = First->Next;
        MemoryFree(First);
        First = Next;
    }
}

/* Date first, then version. */
static int PackageCompare(DWORD DayA, DWORD64 VersionA, DWORD DayB, DWORD64 VersionB)
{
    if (DayA != DayB)
        return DayA < DayB ? -1 : 1;
    if (VersionA != VersionB)
        return VersionA < VersionB ? -1 : 1;
    return 0;
}

/* Which midnight a date means is not documented, so the nearest is taken. */
static DWORD DayOf(const FILETIME *Time)
{
    const DWORD64 PerDay = 864000000000ULL;

    return (DWORD)((((DWORD64)Time->dwHighDateTime << 32 | Time->dwLowDateTime) + PerDay / 2) /
                   PerDay);
}

static PACKAGE *PackageMake(const SP_DRVINFO_DATA_W *Driver, const SP_DRVINFO_DETAIL_DATA_W *Detail)
{
    PACKAGE *Package = MemoryAllocate(sizeof(*Package));
    LPCWSTR File = Detail->InfFileName;

    if (!Package)
        return NULL;
    Package->Day = DayOf(&Driver->DriverDate);
    Package->Version = Driver->DriverVersion;
    Package->IsOurs = StringEqual(Driver->ProviderName, BRAND_PROVIDER);
    for (LPCWSTR At = File; *At; At++)
        if (*At == L'\\')
            File = At + 1;
    if ((File[0] | 0x20) == L'o' && (File[1] | 0x20) == L'e' && (File[2] | 0x20) == L'm')
        StringCopy(Package->Inf, sizeof(Package->Inf) / sizeof(*Package->Inf), File);
    return Package;
}

/* Adds the store's packages for a device of our hardware ID to *First. */
static DWORD PackagesRead(HDEVINFO Set, SP_DEVINFO_DATA *Device, PACKAGE **First)
{
    typedef struct BUFFERS {
        SP_DRVINFO_DATA_W Driver;
        SP_DRVINFO_DETAIL_DATA_W Detail;
    } BUFFERS;
    DWORD Error = ERROR_SUCCESS;

    BUFFERS *Buffers = MemoryAllocate(sizeof(*Buffers));
    if (!Buffers)
        return FailMemory();
    for (DWORD Index = 0; !Error; Index++) {
        Buffers->Driver.cbSize = sizeof(Buffers->Driver);
        if (!System.SetupDiEnumDriverInfoW(Set, Device, SPDIT_COMPATDRIVER, Index,
                                           &Buffers->Driver)) {
            Error = GetLastError();
            break;
        }
        Buffers->Detail.cbSize = sizeof(Buffers->Detail);
        /* The hardware IDs at its end do not fit and are not wanted; the rest is filled in. */
        if (!System.SetupDiGetDriverInfoDetailW(Set, Device, &Buffers->Driver, &Buffers->Detail,
                                                sizeof(Buffers->Detail), NULL) &&
            GetLastError() != ERROR_INSUFFICIENT_BUFFER) {
            Error = GetLastError();
            break;
        }
        PACKAGE *Package = PackageMake(&Buffers->Driver, &Buffers->Detail);
        if (Package) {
            Package->Next = *First;
            *First = Package;
        } else {
            Error = ERROR_NOT_ENOUGH_MEMORY;
        }
    }
    MemoryFree(Buffers);
    if (Error == ERROR_NO_MORE_ITEMS)
        return ERROR_SUCCESS;
    return Fail(Error, L"Reading the driver store", NULL);
}

/*
 * Packages for PnP devices are often marked as none that a user may select, and are in the list
 * only with this flag (nf-setupapi-setupdibuilddriverinfolist). One that is missed is taken for
 * absent.
 */
static BOOL PackagesAllowAll(HDEVINFO Set, SP_DEVINFO_DATA *Device)
{
    SP_DEVINSTALL_PARAMS_W Parameters = {.cbSize = sizeof(Parameters)};

    if (!System.SetupDiGetDeviceInstallParamsW(Set, Device, &Parameters))
        return FALSE;
    Parameters.FlagsEx |= DI_FLAGSEX_ALLOWEXCLUDEDDRVS;
    return System.SetupDiSetDeviceInstallParamsW(Set, Device, &Parameters);
}

/*
 * Windows is asked what it would take for a device that is not there: the element is never
 * registered, and goes with its set (nf-setupapi-setupdicreatedeviceinfow).
 */
static DWORD PackagesList(PACKAGE **First)
{
    static const WCHAR HardwareIds[] = BRAND_HARDWARE_ID L"\0";
    SP_DEVINFO_DATA Device = {.cbSize = sizeof(Device)};

    *First = NULL;
    DWORD Error = SystemNeed(Module_setupapi);
    if (Error)
        return Error;
    HDEVINFO Set = System.SetupDiCreateDeviceInfoList(&ClassNet, NULL);
    if (Set == INVALID_HANDLE_VALUE)
        return Fail(GetLastError(), L"Making a device list", NULL);
    if (System.SetupDiCreateDeviceInfoW(Set, BRAND_NAME, &ClassNet, NULL, NULL, DICD_GENERATE_ID,
                                        &Device) &&
        System.SetupDiSetDeviceRegistryPropertyW(Set, &Device, SPDRP_HARDWAREID,
                                                 (const BYTE *)HardwareIds, sizeof(HardwareIds)) &&
        PackagesAllowAll(Set, &Device) &&
        System.SetupDiBuildDriverInfoList(Set, &Device, SPDIT_COMPATDRIVER))
        Error = PackagesRead(Set, &Device, First);
    else
        Error = Fail(GetLastError(), L"Asking the driver store", NULL);
    System.SetupDiDestroyDeviceInfoList(Set);
    if (Error) {
        PackagesFree(*First);
        *First = NULL;
    }
    return Error;
}

/* ---- Putting ours in ---- */

static DWORD FileWrite(LPCWSTR Path, const RESOURCE *File, SECURITY_ATTRIBUTES *Attributes)
{
    DWORD Written = 0;
    DWORD Error = ERROR_SUCCESS;

    HANDLE Handle =
        CreateFileW(Path, GENERIC_WRITE, 0, Attributes, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, NULL);
    if (Handle == INVALID_HANDLE_VALUE)
        return Fail(GetLastError(), L"Creating a file", Path);
    if (!WriteFile(Handle, File->Data, File->Bytes, &Written, NULL))
        Error = Fail(GetLastError(), L"Writing a file", Path);
    else if (Written != File->Bytes)
        Error = Fail(ERROR_WRITE_FAULT, L"Writing a file", Path);
    CloseHandle(Handle);
    return Error;
}

/* A folder of a name that nobody can guess, which only administrators can open. */
static DWORD FolderMake(WCHAR *Path, SECURITY_ATTRIBUTES *Attributes)
{
    BYTE Random[32];

    const UINT Length = GetSystemWindowsDirectoryW(Path, MAX_PATH);
    if (!Length || Length >= MAX_PATH || !StringAppend(Path, MAX_PATH, L"\\Temp\\") ||
        StringLength(Path) + 64 + 16 > MAX_PATH)
        return Fail(Length ? ERROR_BUFFER_OVERFLOW : GetLastError(), L"Finding Windows' folder",
                    NULL);
    const DWORD Error = RandomBytes(Random, sizeof(Random));
    if (Error)
        return Error;
    WCHAR *End = Path + StringLength(Path);
    for (DWORD Index = 0; Index < sizeof(Random); Index++)
        StringNumber(End + 2 * Index, Random[Index], 16, 2);
    if (CreateDirectoryW(Path, Attributes))
        return ERROR_SUCCESS;
    return Fail(GetLastError(), L"Creating a folder", Path);
}

/* Whether the publisher is trusted is for an administrator to say beforehand, not for whoever sits
 * before the screen: a question to them becomes an error. The flag is the process's. */
static DWORD StoreAdd(LPCWSTR Inf)
{
    WCHAR Stored[MAX_PATH] = L"";
    DWORD Error = ERROR_SUCCESS;
    BOOL Before = TRUE;

    if (System.SetupSetNonInteractiveMode)
        Before = System.SetupSetNonInteractiveMode(TRUE);
    if (!System.SetupCopyOEMInfW(Inf, NULL, SPOST_NONE, 0, Stored, MAX_PATH, NULL, NULL))
        Error = Fail(GetLastError(), L"Adding the driver package to the driver store", Inf);
    if (!Before)
        System.SetupSetNonInteractiveMode(FALSE);
    if (Error)
        return Error;
    Inform(L"Driver package added", Stored);
    return ERROR_SUCCESS;
}

/* Path: the folder, in a buffer of MAX_PATH, with room for a file's name. */
static DWORD PackageAddFrom(WCHAR *Path, const RESOURCE *Files, SECURITY_ATTRIBUTES *Attributes)
{
    const DWORD Folder = StringLength(Path);
    DWORD Error = ERROR_SUCCESS;
    DWORD Written = 0;

    for (; Written < RESOURCE_COUNT && !Error; Written++) {
        Path[Folder] = 0;
        StringAppend(Path, MAX_PATH, L"\\");
        StringAppend(Path, MAX_PATH, Files[Written].File);
        if (Files[Written].Data)
            Error = FileWrite(Path, &Files[Written], Attributes);
    }
    if (!Error) {
        Path[Folder] = 0;
        StringAppend(Path, MAX_PATH, L"\\");
        StringAppend(Path, MAX_PATH, Files[0].File);
        Error = StoreAdd(Path);
    }
    FailureKeep(TRUE);
    for (DWORD Index = 0; Index < Written; Index++) {
        Path[Folder] = 0;
        StringAppend(Path, MAX_PATH, L"\\");
        StringAppend(Path, MAX_PATH, Files[Index].File);
        if (Files[Index].Data && !DeleteFileW(Path) && GetLastError() != ERROR_FILE_NOT_FOUND)
            Warn(Fail(GetLastError(), L"Deleting a file", Path));
    }
    FailureKeep(FALSE);
    Path[Folder] = 0;
    return Error;
}

static DWORD PackageAdd(void)
{
    RESOURCE Files[RESOURCE_COUNT];
    SECURITY_ATTRIBUTES Attributes;
    WCHAR Path[MAX_PATH];

    DWORD Error = ResourceFind(Files);
    if (!Error)
        Error = SecurityForObjects(&Attributes);
    if (Error)
        return Error;
    Error = FolderMake(Path, &Attributes);
    if (!Error) {
        Error = PackageAddFrom(Path, Files, &Attributes);
        FailureKeep(TRUE);
        if (!RemoveDirectoryW(Path))
            Warn(Fail(GetLastError(), L"Deleting a folder", Path));
        FailureKeep(FALSE);
    }
    LocalFree(Attributes.lpSecurityDescriptor);
    return Error;
}

static DWORD DriverInstallLocked(void)
{
    PACKAGE *First;
    BOOL IsThere = FALSE;

    const DWORD Error = PackagesList(&First);
    if (Error)
        return Error;
    for (const PACKAGE *Package = First; Package; Package = Package->Next)
        if (PackageCompare(Package->Day, Package->Version, OUR_DAY, OUR_VERSION) >= 0)
            IsThere = TRUE;
    PackagesFree(First);
    return IsThere ? ERROR_SUCCESS : PackageAdd();
}

DWORD DriverInstall(void)
{
    HANDLE Lock;

    DWORD Error = LockTake(LOCK_DRIVERS, &Lock);
    if (Error)
        return Error;
    Error = DriverInstallLocked();
    LockRelease(Lock);
    return Error;
}

/* ---- Taking ours out ---- */

static const PACKAGE *PackageNewest(const PACKAGE *First)
{
    const PACKAGE *Newest = NULL;

    for (; First; First = First->Next)
        if (First->IsOurs && (!Newest || PackageCompare(First->Day, First->Version, Newest->Day,
                                                        Newest->Version) > 0))
            Newest = First;
    return Newest;
}

static DWORD PackageRemove(const PACKAGE *Package)
{
    if (System.SetupUninstallOEMInfW(Package->Inf, 0, NULL)) { /* not by force */
        Inform(L"Driver package removed", Package->Inf);
        return ERROR_SUCCESS;
    }
    return Fail(GetLastError(), L"Removing a driver package", Package->Inf);
}

static DWORD DriverRemoveLocked(BOOL KeepNewest, DWORD *Removed)
{
    DWORD First = ERROR_SUCCESS;
    PACKAGE *Packages;

    DWORD Error = PackagesList(&Packages);
    if (Error)
        return Error;
    const PACKAGE *Kept = KeepNewest ? PackageNewest(Packages) : NULL;
    for (const PACKAGE *Package = Packages; Package; Package = Package->Next) {
        if (!Package->IsOurs || !Package->Inf[0] || Package == Kept)
            continue;
        Error = PackageRemove(Package);
        if (!Error)
            ++*Removed;
        else if (KeepNewest && Error == ERROR_INF_IN_USE_BY_DEVICES)
            Warn(Error);
        else
            FailureFirst(&First, Error);
    }
    PackagesFree(Packages);
    return FailureDone(First);
}

DWORD DriverRemove(BOOL KeepNewest, DWORD *Removed)
{
    HANDLE Lock;

    DWORD Error = LockTake(LOCK_DRIVERS, &Lock);
    if (Error)
        return Error;
    Error = DriverRemoveLocked(KeepNewest, Removed);
    LockRelease(Lock);
    return Error;
}

/* ---- What the kernel has loaded ---- */

static DWORD FileVersion(LPCWSTR Path, DWORD *Version)
{
    VS_FIXEDFILEINFO *Info = NULL;
    DWORD Ignored, Error = ERROR_SUCCESS;
    UINT Bytes = 0;

    const DWORD Size = System.GetFileVersionInfoSizeW(Path, &Ignored);
    if (!Size)
        return Fail(GetLastError(), L"Reading the version of a file", Path);
    void *Data = MemoryAllocate(Size);
    if (!Data)
        return FailMemory();
    if (!System.GetFileVersionInfoW(Path, 0, Size, Data))
        Error = GetLastError();
    else if (!System.VerQueryValueW(Data, L"\\", (LPVOID *)&Info, &Bytes) ||
             Bytes < sizeof(*Info) || !Info->dwFileVersionMS)
        Error = ERROR_VERSION_PARSE_ERROR;
    else
        *Version = Info->dwFileVersionMS;
    MemoryFree(Data);
    return Error ? Fail(Error, L"Reading the version of a file", Path) : ERROR_SUCCESS;
}

/* All base addresses of images, as K32EnumDeviceDrivers gives them. */
static DWORD ImagesList(LPVOID **List, DWORD *Count)
{
    DWORD Bytes = 0;

    for (DWORD Attempt = 0; Attempt < 16; Attempt++) {
        const DWORD Room = Bytes + 64 * sizeof(LPVOID);
        *List = MemoryAllocate(Room);
        if (!*List)
            return FailMemory();
        if (!K32EnumDeviceDrivers(*List, Room, &Bytes)) {
            const DWORD Error = GetLastError();
            MemoryFree(*List);
            return Fail(Error, L"Listing the drivers that are loaded", NULL);
        }
        *Count = Bytes / sizeof(LPVOID);
        if (Bytes <= Room)
            return ERROR_SUCCESS;
        MemoryFree(*List);
    }
    return Fail(ERROR_RETRY, L"Listing the drivers that are loaded", NULL);
}

/* GetDeviceDriverFileName gives a path of the kernel's, which Win32 opens below GLOBALROOT. */
static DWORD ImageVersion(LPVOID Image, DWORD *Version)
{
    WCHAR Path[MAX_PATH] = L"\\\\?\\GLOBALROOT";
    const DWORD Length = StringLength(Path);

    if (!K32GetDeviceDriverFileNameW(Image, Path + Length, MAX_PATH - Length))
        return Fail(GetLastError(), L"Reading the path of the driver", NULL);
    return FileVersion(Path, Version);
}

DWORD DriverLoadedVersion(DWORD *Version)
{
    BOOL AnyNamed = FALSE;
    DWORD Count = 0, Last = ERROR_SUCCESS;
    WCHAR Name[64];
    LPVOID *List = NULL;

    DWORD Error = SystemNeed(Module_version);
    if (!Error)
        Error = ImagesList(&List, &Count);
    if (Error)
        return Error;
    Error = ERROR_FILE_NOT_FOUND;
    for (DWORD Index = 0; Index < Count && Error == ERROR_FILE_NOT_FOUND; Index++) {
        if (!K32GetDeviceDriverBaseNameW(List[Index], Name, 64)) {
            Last = GetLastError();
            continue;
        }
        AnyNamed = TRUE;
        if (StringEqual(Name, BRAND_SERVICE_FILE))
            Error = ImageVersion(List[Index], Version);
    }
    MemoryFree(List);
    if (Error != ERROR_FILE_NOT_FOUND)
        return Error;
    /* Newer versions of Windows give addresses to none but administrators who debug. */
    if (!AnyNamed)
        return Fail(Last == ERROR_SUCCESS || Last == ERROR_INVALID_HANDLE ? ERROR_ACCESS_DENIED
                                                                          : Last,
                    L"Listing the drivers that are loaded", NULL);
    return Fail(ERROR_FILE_NOT_FOUND, L"Looking for the driver in the kernel", BRAND_SERVICE_FILE);
}
