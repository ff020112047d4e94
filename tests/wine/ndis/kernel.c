/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Kernel functions that Wine 8 lacks or gets wrong, by the pages of Microsoft's driver
 * documentation that have their names: events and waits, objects behind a program's handles, MDLs,
 * process exit, access checks, device properties. What is not here is Wine's own.
 *
 * Events. One that a driver has initialised has a handle only while somebody waits (Blink; Flink
 * counts the waiters), since nothing tells when its memory goes. Wine's own does the same and loses
 * a signal that comes between the end of a wait and its last look: it then writes "not signalled".
 * Here the handle is asked. Wine's KeReleaseMutex wakes nobody who waits; a mutex is an event with
 * an owner here. An event of a program is an object of ours with a duplicate of the program's
 * handle.
 */
#include "wine.h"

#include <string.h>

/* ---- the exports of this module to drivers ---- */

#define EDGE(name_, place_)                                                                        \
    static const struct nth_export name_                                                           \
        __attribute__((used, section(".nthx$" place_), aligned(16))) = {NULL, NULL}
EDGE(first_export, "a");
EDGE(last_export, "z");

void *nth_export_find(const char *name)
{
    for (const struct nth_export *e = &first_export; e < &last_export; e++)
        if (e->name && strcmp(e->name, name) == 0)
            return e->function;
    return NULL;
}

int wine_c_handler(void *record, void *frame, void *context, void *dispatcher); /* seh.c */
NTH_EXPORT_AS(c_handler, "__C_specific_handler", wine_c_handler, 4);

void wine_boot(void);
void wine_boot(void)
{
    nth_subsystem_ndis_work.boot(&nth_config);
}

/* Called by DriverEntry before anything that Wine lacks, and so where its imports are bound. */
UINT NTAPI wine_get_version(void);
UINT NTAPI wine_get_version(void)
{
    wine_bind(__builtin_return_address(0));
    return NdisGetVersion();
}

NDIS_STATUS NTAPI wine_register(PDRIVER_OBJECT driver, PUNICODE_STRING path, NDIS_HANDLE context,
                                PNDIS_MINIPORT_DRIVER_CHARACTERISTICS characteristics,
                                PNDIS_HANDLE handle);
NDIS_STATUS NTAPI wine_register(PDRIVER_OBJECT driver, PUNICODE_STRING path, NDIS_HANDLE context,
                                PNDIS_MINIPORT_DRIVER_CHARACTERISTICS characteristics,
                                PNDIS_HANDLE handle)
{
    if (!wine_bind(__builtin_return_address(0)))
        return NDIS_STATUS_FAILURE;
    return NdisMRegisterMiniportDriver(driver, path, context, characteristics, handle);
}

/* ---- events ---- */

enum { PLAIN = 6, USER = 0x55 }; /* Header.Size */
enum { MUTEX = 2 };              /* Header.Type */

static bool is_ours(const DISPATCHER_HEADER *header)
{
    return header->Type == NotificationEvent || header->Type == SynchronizationEvent ||
           header->Type == MUTEX;
}

VOID NTAPI KeInitializeEvent(PRKEVENT Event, EVENT_TYPE Type, BOOLEAN State)
{
    memset(Event, 0, sizeof(*Event));
    Event->Header.Type = (UCHAR)Type;
    Event->Header.Size = PLAIN;
    Event->Header.SignalState = State;
}
NTH_EXPORT(KeInitializeEvent, 3);

static LONG change(PRKEVENT event, bool set)
{
    DISPATCHER_HEADER *header = &event->Header;
    void *handle = header->WaitListHead.Blink;

    nth_irql_max(DISPATCH_LEVEL);
    if (header->Size == USER)
        return set ? wine_event_set(handle) : wine_event_reset(handle);
    wine_events_lock();
    handle = header->WaitListHead.Blink;
    LONG before = header->SignalState;
    if (handle)
        before = set ? wine_event_set(handle) : wine_event_reset(handle);
    header->SignalState = set;
    wine_events_unlock();
    return before;
}

LONG NTAPI KeSetEvent(PRKEVENT Event, KPRIORITY Increment, BOOLEAN Wait)
{
    return change(Event, true);
}
NTH_EXPORT(KeSetEvent, 3);

LONG NTAPI KeResetEvent(PRKEVENT Event)
{
    return change(Event, false);
}
NTH_EXPORT(KeResetEvent, 1);

VOID NTAPI KeClearEvent(PRKEVENT Event)
{
    change(Event, false);
}
NTH_EXPORT(KeClearEvent, 1);

LONG NTAPI KeReadStateEvent(PRKEVENT Event)
{
    const DISPATCHER_HEADER *header = &Event->Header;

    wine_events_lock();
    void *handle = header->WaitListHead.Blink;
    const LONG state = handle ? wine_event_state(handle) : header->SignalState;
    wine_events_unlock();
    return state;
}
NTH_EXPORT(KeReadStateEvent, 1);

/* With the lock. */
static void *begin_wait(DISPATCHER_HEADER *header)
{
    if (header->Size == USER)
        return header->WaitListHead.Blink;
    if (!header->WaitListHead.Blink)
        header->WaitListHead.Blink =
            wine_event_create(header->Type == NotificationEvent, header->SignalState != 0);
    header->WaitListHead.Flink = (void *)((ULONG_PTR)header->WaitListHead.Flink + 1);
    return header->WaitListHead.Blink;
}

static void end_wait(DISPATCHER_HEADER *header)
{
    if (header->Size == USER)
        return;
    header->SignalState = wine_event_state(header->WaitListHead.Blink);
    header->WaitListHead.Flink = (void *)((ULONG_PTR)header->WaitListHead.Flink - 1);
    if (header->WaitListHead.Flink)
        return;
    wine_event_close(header->WaitListHead.Blink);
    header->WaitListHead.Blink = NULL;
}

/* ---- mutexes: how often the owner has taken it is where the list of its mutexes would be ---- */

static bool is_owned(const DISPATCHER_HEADER *header)
{
    const KMUTEX *mutex = CONTAINING_RECORD(header, KMUTEX, Header);

    return header->Type == MUTEX &&
           __atomic_load_n(&mutex->OwnerThread, __ATOMIC_RELAXED) == (PKTHREAD)wine_thread();
}

/* By its owner, alone. */
static void mutex_take(DISPATCHER_HEADER *header)
{
    KMUTEX *mutex = CONTAINING_RECORD(header, KMUTEX, Header);

    __atomic_store_n(&mutex->OwnerThread, (PKTHREAD)wine_thread(), __ATOMIC_RELAXED);
    mutex->MutantListEntry.Flink = (void *)((ULONG_PTR)mutex->MutantListEntry.Flink + 1);
}

VOID NTAPI KeInitializeMutex(PRKMUTEX Mutex, ULONG Level)
{
    memset(Mutex, 0, sizeof(*Mutex));
    Mutex->Header.Type = MUTEX;
    Mutex->Header.Size = PLAIN;
    Mutex->Header.SignalState = 1;
}
NTH_EXPORT(KeInitializeMutex, 2);

LONG NTAPI KeReleaseMutex(PRKMUTEX Mutex, BOOLEAN Wait)
{
    const LONG before = 1 - (LONG)(ULONG_PTR)Mutex->MutantListEntry.Flink;

    nth_irql_max(DISPATCH_LEVEL);
    if (!is_owned(&Mutex->Header))
        wine_raise(STATUS_MUTANT_NOT_OWNED);
    Mutex->MutantListEntry.Flink = (void *)((ULONG_PTR)Mutex->MutantListEntry.Flink - 1);
    if (Mutex->MutantListEntry.Flink)
        return before;
    __atomic_store_n(&Mutex->OwnerThread, NULL, __ATOMIC_RELAXED);
    change((KEVENT *)&Mutex->Header, true);
    return before;
}
NTH_EXPORT(KeReleaseMutex, 2);

typedef NTSTATUS NTAPI wait_function(ULONG count, PVOID objects[], WAIT_TYPE type,
                                     KWAIT_REASON reason, KPROCESSOR_MODE mode, BOOLEAN alertable,
                                     PLARGE_INTEGER timeout, PVOID blocks);

/* Semaphores, threads and the like are Wine's, alone. */
static NTSTATUS wait_for_other(ULONG count, PVOID objects[], WAIT_TYPE type, KPROCESSOR_MODE mode,
                               PLARGE_INTEGER timeout)
{
    wait_function *wait = (wait_function *)wine_kernel("KeWaitForMultipleObjects");

    if (count != 1)
        nth_stop("not-provided", "a wait for events and other objects together");
    return wait(count, objects, type, Executive, mode, FALSE, timeout, NULL);
}

NTSTATUS NTAPI KeWaitForMultipleObjects(ULONG Count, PVOID Object[], WAIT_TYPE WaitType,
                                        KWAIT_REASON WaitReason, KPROCESSOR_MODE WaitMode,
                                        BOOLEAN Alertable, PLARGE_INTEGER Timeout,
                                        PKWAIT_BLOCK WaitBlockArray)
{
    void *handles[64];

    if (!Timeout || Timeout->QuadPart)
        nth_irql_max(APC_LEVEL);
    if (!Count || Count > ARRAYSIZE(handles))
        nth_stop("bad-parameter", "a wait for %u objects", Count);
    for (ULONG i = 0; i < Count; i++)
        if (!is_ours(Object[i]))
            return wait_for_other(Count, Object, WaitType, WaitMode, Timeout);
    if (Count == 1 && is_owned(Object[0])) {
        mutex_take(Object[0]);
        return STATUS_SUCCESS;
    }
    wine_events_lock();
    for (ULONG i = 0; i < Count; i++)
        handles[i] = begin_wait(Object[i]);
    wine_events_unlock();
    const NTSTATUS status = (NTSTATUS)wine_wait(Count, handles, WaitType == WaitAll,
                                                Timeout ? &Timeout->QuadPart : NULL);
    wine_events_lock();
    for (ULONG i = 0; i < Count; i++) {
        end_wait(Object[i]);
        if (((DISPATCHER_HEADER *)Object[i])->Type == MUTEX &&
            (WaitType == WaitAll ? status == STATUS_SUCCESS : status == (NTSTATUS)i))
            mutex_take(Object[i]);
    }
    wine_events_unlock();
    return status;
}
NTH_EXPORT(KeWaitForMultipleObjects, 8);

NTSTATUS NTAPI KeWaitForSingleObject(PVOID Object, KWAIT_REASON WaitReason,
                                     KPROCESSOR_MODE WaitMode, BOOLEAN Alertable,
                                     PLARGE_INTEGER Timeout)
{
    return KeWaitForMultipleObjects(1, &Object, WaitAny, WaitReason, WaitMode, Alertable, Timeout,
                                    NULL);
}
NTH_EXPORT(KeWaitForSingleObject, 5);

/* ---- objects behind a program's handles ---- */

struct user_event {
    KEVENT event;
    LONG references;
    struct user_event *next;
};
static struct nth_mutex objects_lock = NTH_MUTEX_INIT;
static struct user_event *user_events; /* guarded by objects_lock */

typedef NTSTATUS NTAPI reference_function(HANDLE handle, ACCESS_MASK access, POBJECT_TYPE type,
                                          KPROCESSOR_MODE mode, PVOID *object, PVOID information);

/* Only events of programs are asked for by what runs here; kernel handles are Wine's. */
NTSTATUS NTAPI ObReferenceObjectByHandle(HANDLE Handle, ACCESS_MASK DesiredAccess,
                                         POBJECT_TYPE ObjectType, KPROCESSOR_MODE AccessMode,
                                         PVOID *Object, POBJECT_HANDLE_INFORMATION Information)
{
    bool is_event_handle;

    nth_irql_exactly(PASSIVE_LEVEL);
    *Object = NULL;
    if (AccessMode == KernelMode)
        return ((reference_function *)wine_kernel("ObReferenceObjectByHandle"))(
            Handle, DesiredAccess, ObjectType, AccessMode, Object, Information);
    void *copy = wine_duplicate_event((uint32_t)(ULONG_PTR)PsGetCurrentProcessId(), Handle,
                                      DesiredAccess, &is_event_handle);
    if (!copy || !is_event_handle) {
        if (copy)
            wine_event_close(copy);
        return is_event_handle ? STATUS_INVALID_HANDLE : STATUS_OBJECT_TYPE_MISMATCH;
    }
    struct user_event *u = ndis_alloc(sizeof(*u));
    if (!u) {
        wine_event_close(copy);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    KeInitializeEvent(&u->event, SynchronizationEvent, FALSE); /* the handle knows which */
    u->event.Header.Size = USER;
    u->event.Header.WaitListHead.Blink = copy;
    u->references = 1;
    nth_lock(&objects_lock);
    u->next = user_events;
    user_events = u;
    nth_unlock(&objects_lock);
    *Object = &u->event;
    return STATUS_SUCCESS;
}
NTH_EXPORT(ObReferenceObjectByHandle, 6);

/* Adds to the references of an event of ours; false: not one. *left: what there are then. */
static bool count_reference(const void *object, LONG change_by, LONG *left)
{
    bool is_found = false;

    nth_lock(&objects_lock);
    for (struct user_event **link = &user_events; *link && !is_found; link = &(*link)->next) {
        struct user_event *u = *link;
        if (&u->event != object)
            continue;
        is_found = true;
        *left = u->references += change_by;
        if (*left)
            break;
        *link = u->next;
        wine_event_close(u->event.Header.WaitListHead.Blink);
        ndis_free(u);
        break;
    }
    nth_unlock(&objects_lock);
    return is_found;
}

typedef LONG_PTR FASTCALL count_function(PVOID object);

LONG_PTR FASTCALL ObfReferenceObject(PVOID Object)
{
    LONG left;

    nth_irql_max(DISPATCH_LEVEL);
    if (count_reference(Object, 1, &left))
        return left;
    return ((count_function *)wine_kernel("ObfReferenceObject"))(Object);
}
NTH_EXPORT(ObfReferenceObject, 1);

LONG_PTR FASTCALL ObfDereferenceObject(PVOID Object)
{
    LONG left;

    nth_irql_max(DISPATCH_LEVEL);
    if (count_reference(Object, -1, &left))
        return left;
    return ((count_function *)wine_kernel("ObfDereferenceObject"))(Object);
}
NTH_EXPORT(ObfDereferenceObject, 1);

/* ---- memory ---- */

PVOID NTAPI ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag)
{
    void *memory = ExAllocatePoolWithTag(NonPagedPool, NumberOfBytes, Tag);

    if (memory)
        memset(memory, 0, NumberOfBytes);
    return memory;
}

VOID NTAPI MmBuildMdlForNonPagedPool(PMDL Mdl)
{
    Mdl->MappedSystemVa = (UCHAR *)Mdl->StartVa + Mdl->ByteOffset;
    Mdl->MdlFlags |= MDL_SOURCE_IS_NONPAGED_POOL;
}
NTH_EXPORT(MmBuildMdlForNonPagedPool, 1);

/* Process, which nobody reads, says whether there is a region of a program behind it. */
VOID NTAPI MmProbeAndLockPages(PMDL Mdl, KPROCESSOR_MODE AccessMode, LOCK_OPERATION Operation)
{
    UCHAR *address = (UCHAR *)Mdl->StartVa + Mdl->ByteOffset;

    nth_irql_max(APC_LEVEL);
    if (Mdl->MdlFlags & MDL_PAGES_LOCKED)
        nth_stop("mdl-lock-twice", "the pages of MDL %p are locked", (void *)Mdl);
    if (AccessMode != KernelMode) {
        address = wine_adopt((uint32_t)(ULONG_PTR)PsGetCurrentProcessId(), address,
                             MmGetMdlByteCount(Mdl));
        if (!address)
            wine_raise(STATUS_ACCESS_VIOLATION);
    }
    Mdl->Process = AccessMode != KernelMode ? (PEPROCESS)Mdl : NULL;
    Mdl->MappedSystemVa = address;
    Mdl->MdlFlags |= MDL_PAGES_LOCKED;
}
NTH_EXPORT(MmProbeAndLockPages, 3);

PVOID NTAPI MmMapLockedPagesSpecifyCache(PMDL Mdl, KPROCESSOR_MODE AccessMode,
                                         MEMORY_CACHING_TYPE CacheType, PVOID RequestedAddress,
                                         ULONG BugCheckOnFailure, ULONG Priority)
{
    nth_irql_max(DISPATCH_LEVEL);
    if (AccessMode != KernelMode)
        nth_stop("not-provided", "MmMapLockedPagesSpecifyCache into a program");
    if (!(Mdl->MdlFlags & (MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL)))
        nth_stop("mdl-not-locked", "MDL %p is mapped", (void *)Mdl);
    Mdl->MdlFlags |= MDL_MAPPED_TO_SYSTEM_VA;
    return Mdl->MappedSystemVa;
}
NTH_EXPORT(MmMapLockedPagesSpecifyCache, 6);

VOID NTAPI MmUnlockPages(PMDL Mdl)
{
    nth_irql_max(DISPATCH_LEVEL);
    if (!(Mdl->MdlFlags & MDL_PAGES_LOCKED))
        nth_stop("mdl-unlock-twice", "MDL %p is not locked", (void *)Mdl);
    if (Mdl->Process)
        wine_release(Mdl->MappedSystemVa);
    Mdl->Process = NULL;
    Mdl->MdlFlags &= (CSHORT) ~(MDL_PAGES_LOCKED | MDL_MAPPED_TO_SYSTEM_VA);
}
NTH_EXPORT(MmUnlockPages, 1);

/* ---- process exit ---- */

enum { ROUTINES = 8 };
static PCREATE_PROCESS_NOTIFY_ROUTINE routines[ROUTINES]; /* guarded by routines_gate */
static struct ndis_gate routines_gate;
static LONG has_gate;

/* Two drivers do not load at once. */
static void routines_enter(void)
{
    if (!__atomic_exchange_n(&has_gate, 1, __ATOMIC_SEQ_CST))
        ndis_gate_init(&routines_gate);
    ndis_gate_enter(&routines_gate);
}

/* When the routine is removed no call of it is under way: calls are made inside the gate. Exits
 * alone are told, of programs that opened a device: Wine tells nothing, so each is waited for. */
NTSTATUS NTAPI PsSetCreateProcessNotifyRoutine(PCREATE_PROCESS_NOTIFY_ROUTINE NotifyRoutine,
                                               BOOLEAN Remove)
{
    NTSTATUS status = Remove ? STATUS_PROCEDURE_NOT_FOUND : STATUS_INVALID_PARAMETER;

    routines_enter();
    for (int i = 0; i < ROUTINES && !NT_SUCCESS(status); i++) {
        if (routines[i] != (Remove ? NotifyRoutine : NULL))
            continue;
        routines[i] = Remove ? NULL : NotifyRoutine;
        status = STATUS_SUCCESS;
    }
    ndis_gate_leave(&routines_gate);
    return status;
}
NTH_EXPORT(PsSetCreateProcessNotifyRoutine, 2);

void wine_process_ended(uint32_t process)
{
    wine_log("process %u has ended", process);
    routines_enter();
    for (int i = 0; i < ROUTINES; i++)
        if (routines[i])
            routines[i](NULL, (HANDLE)(ULONG_PTR)process, FALSE);
    ndis_gate_leave(&routines_gate);
    wine_forget(process);
}

/* ---- access ---- */

static GENERIC_MAPPING file_mapping = {FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_GENERIC_EXECUTE,
                                       FILE_ALL_ACCESS};

PGENERIC_MAPPING NTAPI IoGetFileObjectGenericMapping(VOID)
{
    return &file_mapping;
}
NTH_EXPORT(IoGetFileObjectGenericMapping, 0);

/* The subject is a process: nobody impersonates here. */
VOID NTAPI SeCaptureSubjectContext(PSECURITY_SUBJECT_CONTEXT SubjectContext)
{
    memset(SubjectContext, 0, sizeof(*SubjectContext));
    SubjectContext->ProcessAuditId = PsGetCurrentProcessId();
}
NTH_EXPORT(SeCaptureSubjectContext, 1);

VOID NTAPI SeReleaseSubjectContext(PSECURITY_SUBJECT_CONTEXT SubjectContext) {}
NTH_EXPORT(SeReleaseSubjectContext, 1);

VOID NTAPI SeFreePrivileges(PPRIVILEGE_SET Privileges) {}
NTH_EXPORT(SeFreePrivileges, 1);

/* Wine's AccessCheck, over the process's token and a copy with a group: a kernel's check needs
 * none, that of a program does. Mandatory labels are not looked at. */
BOOLEAN NTAPI SeAccessCheck(PSECURITY_DESCRIPTOR SecurityDescriptor,
                            PSECURITY_SUBJECT_CONTEXT SubjectSecurityContext,
                            BOOLEAN SubjectContextLocked, ACCESS_MASK DesiredAccess,
                            ACCESS_MASK PreviouslyGrantedAccess, PPRIVILEGE_SET *Privileges,
                            PGENERIC_MAPPING GenericMapping, KPROCESSOR_MODE AccessMode,
                            PACCESS_MASK GrantedAccess, PNTSTATUS AccessStatus)
{
    ULONG descriptor[1024];
    uint32_t granted = DesiredAccess | PreviouslyGrantedAccess;
    bool may = true;

    if (Privileges)
        *Privileges = NULL;
    if (AccessMode != KernelMode) {
        const ULONG bytes = RtlLengthSecurityDescriptor(SecurityDescriptor);
        if (bytes > sizeof(descriptor))
            nth_stop("not-provided", "SeAccessCheck with a descriptor of %u bytes", bytes);
        memcpy(descriptor, SecurityDescriptor, bytes);
        if (!descriptor[2])
            descriptor[2] = descriptor[1]; /* offsets: the group is who the owner is */
        may = wine_access_check((uint32_t)(ULONG_PTR)SubjectSecurityContext->ProcessAuditId,
                                descriptor, DesiredAccess, GenericMapping, &granted);
    }
    *GrantedAccess = may ? granted : 0;
    *AccessStatus = may ? STATUS_SUCCESS : STATUS_ACCESS_DENIED;
    return may;
}
NTH_EXPORT(SeAccessCheck, 10);

/* ---- device properties ---- */

static char *add_hex(char *to, ULONG value, int digits)
{
    for (int i = digits - 1; i >= 0; i--)
        *to++ = "0123456789ABCDEF"[value >> (4 * i) & 15];
    return to;
}

/* As Wine's SetupDiSetDevicePropertyW stores them: Properties\{GUID}\0002, the type in the type. */
static void property_path(char *to, const DEVPROPKEY *key)
{
    const GUID *g = &key->fmtid;

    memcpy(to, "\\Properties\\{", 13);
    to = add_hex(to + 13, g->Data1, 8);
    *to++ = '-';
    to = add_hex(to, g->Data2, 4);
    *to++ = '-';
    to = add_hex(to, g->Data3, 4);
    for (int i = 0; i < 8; i++) {
        if (i == 0 || i == 2)
            *to++ = '-';
        to = add_hex(to, g->Data4[i], 2);
    }
    *to++ = '}';
    *to++ = '\\';
    to = add_hex(to, key->pid, 4);
    *to = 0;
}

NTSTATUS NTAPI IoGetDevicePropertyData(PDEVICE_OBJECT Pdo, const DEVPROPKEY *PropertyKey, LCID Lcid,
                                       ULONG Flags, ULONG Size, PVOID Data, PULONG RequiredSize,
                                       PDEVPROPTYPE Type)
{
    const struct wine_device *d = wine_device_of(Pdo);
    char path[WINE_PATH + 80], property[80];
    uint32_t type, bytes = Size;

    nth_irql_max(APC_LEVEL);
    if (!d)
        return STATUS_INVALID_DEVICE_REQUEST;
    property_path(property, PropertyKey);
    ndis_join(path, sizeof(path), d->device_key, property);
    const NTSTATUS status = (NTSTATUS)wine_key_get(path, "", &type, Data, &bytes);
    *RequiredSize = bytes;
    *Type = type & 0xFFFF;
    return status;
}
NTH_EXPORT(IoGetDevicePropertyData, 8);
