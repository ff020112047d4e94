/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What the files of the API share. Functions return a Win32 error code, ERROR_SUCCESS when all
 * went well; whoever finds a failure says so with Fail, and the exported function, and nobody else,
 * makes it the last error and the log line, with Report. No C runtime: memory comes from the DLL's
 * own heap, and text is put together with the functions of log.c.
 */
#pragma once

#define COBJMACROS
#define WINTUN_PROTOTYPES

#include "system.h"

#include "wintun-abi.h"
#include "wintun.h"

/* ---- Brand: every name by which Windows and other programs know this product ------------------*/

#define BRAND_NAME         L"Wintun"
#define BRAND_PROVIDER     L"Wintun authors" /* of driver packages, as in the INF */
#define BRAND_ENUMERATOR   L"Wintun"
#define BRAND_INSTANCES    L"SWD\\Wintun" /* the enumerator, as CM_Get_Device_ID_List wants it */
#define BRAND_HARDWARE_ID  L"Wintun"
#define BRAND_SERVICE_FILE L"wintun.sys"
#define BRAND_DEVICE_PATH  L"" WINTUN_WIN32_PATH
#define BRAND_NAMESPACE    L"Wintun" /* this and the next two are those of 0.14: they exclude it */
#define BRAND_DEVICE_MUTEX L"Wintun\\Wintun-Device-Installation-Mutex"
#define BRAND_DRIVER_MUTEX L"Wintun\\Wintun-Driver-Installation-Mutex"

/*
 * Our mark: device properties {WINTUN_PROPERTY_FMTID, ...}. A device without PROPERTY_NAME is not
 * ours and is never touched. WINTUN_PROPERTY_SECURITY (2) is the driver's.
 */
#define PROPERTY_NAME       3 /* string: as asked for */
#define PROPERTY_CREATOR    4 /* binary: CREATOR */
#define PROPERTY_PERSISTENT 5 /* boolean; absent: no */

/* A process for good: its number may be given to another one later, not with this time. */
typedef struct CREATOR {
    DWORD ProcessId;
    FILETIME CreationTime;
} CREATOR;

/* ---- Limits -----------------------------------------------------------------------------------*/

#define NAME_CHARACTERS    128  /* of adapters and tunnel types, with NUL: MAX_ADAPTER_NAME */
#define LINE_CHARACTERS    1024 /* of a log line, with NUL */
#define GUID_CHARACTERS    39   /* "{8-4-4-4-12}" with NUL */
#define LOCK_TIMEOUT_MS    60000
#define READY_TIMEOUT_MS   15000 /* for a device and its interface, when the caller does not say */
#define READY_MAXIMUM_MS   600000
#define REMOVE_TIMEOUT_MS  10000 /* for a device to go by itself */
#define FORCED_TIMEOUT_MS  5000  /* and after Windows was told to remove it */
#define NETWORK_TIMEOUT_MS 20000 /* for Windows to recognise a network */
#define COM_TIMEOUT_MS     10000 /* for a service to answer */
#define POLL_MS            100   /* a notification that is lost costs no more */

/* ---- Memory, strings and atomics: main.c ------------------------------------------------------*/

extern HMODULE Module; /* of this DLL */

void *MemoryAllocate(SIZE_T Bytes); /* zeroed; NULL without a last error: ERROR_NOT_ENOUGH_MEMORY */
void MemoryFree(void *Memory);      /* NULL does nothing */

DWORD StringLength(LPCWSTR String);
BOOL StringCopy(LPWSTR To, DWORD Characters, LPCWSTR From); /* FALSE: does not fit, To is "" */
BOOL StringAppend(LPWSTR To, DWORD Characters, LPCWSTR From);
BOOL StringEqual(LPCWSTR A, LPCWSTR B); /* ordinal, whatever the case */
void StringNumber(WCHAR *To, DWORD64 Value, DWORD Base, DWORD Digits); /* at least Digits of them */
void GuidFormat(const GUID *Guid, WCHAR *To);                          /* GUID_CHARACTERS */
BOOL GuidParse(LPCWSTR From, GUID *Guid);

/* What the rings need, and no more; clang and MSVC spell it differently. */
#if defined(__clang__) || defined(__GNUC__)
#define LoadAcquire(Address)         __atomic_load_n(Address, __ATOMIC_ACQUIRE)
#define LoadRelaxed(Address)         __atomic_load_n(Address, __ATOMIC_RELAXED)
#define StoreRelaxed(Address, Value) __atomic_store_n(Address, Value, __ATOMIC_RELAXED)
#define StoreRelease(Address, Value) __atomic_store_n(Address, Value, __ATOMIC_RELEASE)
#define FullFence()                  __atomic_thread_fence(__ATOMIC_SEQ_CST)
#else
#define LoadAcquire(Address)         ((DWORD)ReadAcquire((volatile const LONG *)(Address)))
#define LoadRelaxed(Address)         ((DWORD)ReadNoFence((volatile const LONG *)(Address)))
#define StoreRelaxed(Address, Value) WriteNoFence((volatile LONG *)(Address), (LONG)(Value))
#define StoreRelease(Address, Value) WriteRelease((volatile LONG *)(Address), (LONG)(Value))
#define FullFence()                  MemoryBarrier()
#endif

/* ---- Failures and the log: log.c --------------------------------------------------------------*/

/*
 * Notes what failed, for this thread's next Report or Warn, and returns Error. Step: what was being
 * done, such as L"Creating the device"; Object: with what, or NULL.
 */
DWORD Fail(DWORD Error, LPCWSTR Step, LPCWSTR Object);
/* The same, with what Windows says about the device. */
DWORD FailProblem(DWORD Error, LPCWSTR Step, LPCWSTR InstanceId, ULONG Problem, LONG Status);
#define FailMemory() Fail(ERROR_NOT_ENOUGH_MEMORY, L"Allocating memory", NULL)

/* At the border: the failure is logged and becomes the last error. Returns whether there is none.
 */
BOOL Report(DWORD Error);
/* The failure is logged as a warning, and that is all. */
void Warn(DWORD Error);
void Inform(LPCWSTR What, LPCWSTR Object);
/* Around cleaning up after a failure: TRUE, its text stays while others are noted; FALSE, over. */
void FailureKeep(BOOL IsKept);
/* Of several things that are all tried: the first failure counts, the others become warnings. Ended
 * with FailureDone, which returns that first failure. */
void FailureFirst(DWORD *First, DWORD Error);
DWORD FailureDone(DWORD First);

DWORD ErrorFromResult(HRESULT Result);
void ThreadDetach(void);
BOOL LogAttach(void);
void LogDetach(void);

/* ---- The lock between processes: lock.c -------------------------------------------------------*/

typedef enum {
    LOCK_DEVICES, /* whoever creates or removes devices; taken first */
    LOCK_DRIVERS  /* whoever changes the driver store */
} LOCK;

DWORD LockTake(LOCK Lock, HANDLE *Taken);
void LockRelease(HANDLE Taken); /* by the thread that has taken it; NULL does nothing */
void LockDetach(void);

/* For objects with names: the system and elevated administrators. Free with LocalFree. */
DWORD SecurityForObjects(SECURITY_ATTRIBUTES *Attributes);

/* ---- Devices: device.c ------------------------------------------------------------------------*/

typedef struct DEVICE {
    DEVINST Instance;
    BOOL IsOurs; /* has our mark; what follows is valid only then */
    BOOL IsPresent;
    BOOL IsPersistent;
    BOOL IsCreatorAlive; /* TRUE when in doubt */
    CREATOR Creator;
    ULONG Problem; /* CM_PROB_..., 0: none */
    WCHAR InstanceId[MAX_DEVICE_ID_LEN];
    WCHAR Name[NAME_CHARACTERS];
} DEVICE;

/* The network connection that Windows has made of a device. */
typedef struct CONNECTION {
    GUID Guid;
    NET_LUID Luid;
    WCHAR Id[GUID_CHARACTERS]; /* NetCfgInstanceId as it stands in the registry */
} CONNECTION;

typedef struct DEVICE_OPTIONS {
    LPCWSTR Name;
    LPCWSTR Description;
    WCHAR Id[MAX_DEVICE_ID_LEN];   /* last part of the instance ID */
    const GUID *SuggestedGuid;     /* of the interface, or NULL */
    SECURITY_DESCRIPTOR *Security; /* self-relative, or NULL */
    DWORD SecurityBytes;
    BOOL IsPersistent;
} DEVICE_OPTIONS;

ULONGLONG DeadlineAfter(DWORD Milliseconds);
void PollWait(HANDLE Event, DWORD Milliseconds); /* for the event, or so long */

DWORD DeviceLoad(void);         /* what all functions here need */
DWORD DeviceList(WCHAR **List); /* instance IDs of our enumerator, with those of absent devices */
DWORD DeviceRead(LPCWSTR InstanceId, DEVICE *Device);
BOOL DeviceIsStale(const DEVICE *Device);
LONG DeviceProblemStatus(DEVINST Instance);
void DeviceDescription(DEVINST Instance, WCHAR *To, DWORD Characters); /* "" when it has none */

DWORD DeviceCreate(const DEVICE_OPTIONS *Options, ULONGLONG Deadline, HSWDEVICE *Device,
                   WCHAR *InstanceId /* MAX_DEVICE_ID_LEN */);
DWORD DeviceWaitReady(LPCWSTR InstanceId, ULONGLONG Deadline, CONNECTION *Interface);
DWORD DeviceReadInterface(DEVINST Instance, CONNECTION *Interface); /* quiet: no Fail */
DWORD DeviceInterfacePath(LPCWSTR InstanceId, WCHAR **Path);        /* quiet: no Fail */
DWORD DevicePersist(HSWDEVICE Device, BOOL IsPersistent, LPCWSTR InstanceId);

/* Closes Device, if there is one, and removes what it leaves. Only what is marked, with the lock.
 */
DWORD DeviceRemove(HSWDEVICE Device, LPCWSTR InstanceId);
/* The same for a device of ours to which this process has no handle. */
DWORD DeviceTakeAway(const DEVICE *Device);

/* ---- The driver store: install.c --------------------------------------------------------------*/

DWORD DriverInstall(void);
DWORD DriverRemove(BOOL KeepNewest, DWORD *Removed); /* our packages; those in use stay */
DWORD DriverLoadedVersion(DWORD *Version);           /* of the image that the kernel has loaded */

DWORD RandomBytes(void *To, DWORD Bytes);

/* ---- The embedded driver: resource.c ----------------------------------------------------------*/

typedef struct RESOURCE {
    LPCWSTR File; /* as it has to be called on the disk */
    const void *Data;
    DWORD Bytes;
} RESOURCE;

#define RESOURCE_COUNT 3 /* INF first */

/* The files for this machine's processor; Data is NULL for a catalogue that is not there. */
DWORD ResourceFind(RESOURCE *Files);

/* ---- Names: name.c ----------------------------------------------------------------------------*/

DWORD ConnectionName(const CONNECTION *Interface, LPCWSTR Name);

/* ---- IP and networks: network.c ---------------------------------------------------------------*/

DWORD NetworkConfigure(const CONNECTION *Interface, const WINTUN_ADAPTER_OPTIONS *Options,
                       ULONGLONG Deadline);
DWORD NetworkCategorize(WINTUN_ADAPTER_HANDLE Adapter, DWORD Category);

/* COM is used on a thread of our own, because the caller's may be in any apartment or in none. */
typedef struct COM_JOB COM_JOB;
typedef DWORD COM_WORK(COM_JOB *Job);
struct COM_JOB {
    LONG References;
    HMODULE Module; /* a reference that keeps this DLL loaded until the thread has left it */
    COM_WORK *Work;
    DWORD Result;
    GUID Guid;
    DWORD Category;
    ULONGLONG Deadline; /* for the work itself */
    WCHAR Name[IF_MAX_STRING_SIZE + 1];
};

COM_JOB *ComCreate(COM_WORK *Work); /* NULL: ERROR_NOT_ENOUGH_MEMORY */
void ComRelease(COM_JOB *Job);
/* ERROR_TIMEOUT: the thread still waits for a service; it finds its own way out. */
DWORD ComRun(COM_JOB *Job, DWORD TimeoutMs);
BOOL ComProxy(IUnknown *Object); /* lets the service act as this user */

/* ---- Adapters and sessions: adapter.c, session.c ----------------------------------------------*/

struct WINTUN_ADAPTER {
    HSWDEVICE Device; /* NULL: opened, not created */
    BOOL IsPersistent;
    CONNECTION Interface;
    WCHAR InstanceId[MAX_DEVICE_ID_LEN];
};

/* Opens the driver's own device; quiet: no Fail. */
DWORD AdapterOpenDevice(const CONNECTION *Interface, DWORD Access, HANDLE *Device);

DWORD SessionStart(const struct WINTUN_ADAPTER *Adapter, DWORD Capacity,
                   WINTUN_SESSION_HANDLE *Session);
