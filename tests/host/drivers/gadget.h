/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The script of the gadget: a PnP and control driver that does with requests and memory what a test
 * says, broken rules included. Test and driver share one TestScript.
 */
#pragma once

#include <ntifs.h>

/* What a dispatch routine does with an IRP. */
enum gadget_mode {
    GADGET_COMPLETE,       /* with Status and Information */
    GADGET_ECHO,           /* buffered control: leaves the input as the output */
    GADGET_FILL,           /* writes Information bytes of 0x5A to the buffer of the request */
    GADGET_QUEUE,          /* into the cancel-safe queue */
    GADGET_HOLD,           /* marks pending, no cancel routine, Held */
    GADGET_LINGER,         /* marks pending, completes, and returns when the file is closed */
    GADGET_PEND_COMPLETED, /* marks pending, completes, returns STATUS_PENDING: legal */
    GADGET_PEND_UNMARKED,  /* returns STATUS_PENDING without a mark */
    GADGET_MARK_NOT_PENDING,
    GADGET_TWICE,
    GADGET_STATUS_PENDING,
    GADGET_CANCEL_SET,  /* completes with its cancel routine set */
    GADGET_LOSE,        /* returns success, completes nothing */
    GADGET_TOUCH_AFTER, /* writes the IRP after its completion */
    GADGET_LEAVE_LOCK,
    GADGET_LEAVE_IRQL,
    GADGET_CANCEL_KEEPS_LOCK, /* holds it with a cancel routine that does not release the lock */
    GADGET_FORWARD_TOO_FAR,   /* sends it on when no stack location is left */
    GADGET_READ_USER,         /* reads Information bytes at the caller's raw pointer, unguarded */
};

enum gadget_act {
    ACT_MDL,       /* IoAllocateMdl(a, b) */
    ACT_LOCK,      /* MmProbeAndLockPages(Mdl, a, b), guarded; the status */
    ACT_MAP,       /* MmGetSystemAddressForMdlSafe(Mdl) */
    ACT_MAP_AGAIN, /* MmMapLockedPagesSpecifyCache(Mdl) */
    ACT_UNMAP,     /* MmUnmapLockedPages(a, Mdl) */
    ACT_UNLOCK,    /* MmUnlockPages(Mdl) */
    ACT_FREE_MDL,  /* IoFreeMdl(Mdl) */
    ACT_NONPAGED,  /* MmBuildMdlForNonPagedPool(Mdl) */
    ACT_PARTIAL,   /* IoBuildPartialMdl(Mdl, Second, a, b); Second made by ACT_SECOND */
    ACT_SECOND,    /* Second = IoAllocateMdl(a, b) */
    ACT_MAP_SECOND,
    ACT_REUSE_SECOND, /* MmPrepareMdlForReuse */
    ACT_FREE_SECOND,
    ACT_PAGES,      /* Mdl = MmAllocatePagesForMdlEx(a bytes) */
    ACT_FREE_PAGES, /* MmFreePagesFromMdl(Mdl) and ExFreePool */
    ACT_POOL,       /* ExAllocatePoolWithTag(a); ACT_FREE_POOL */
    ACT_FREE_POOL,
    ACT_PEEK,      /* the byte at a, guarded; or the exception code */
    ACT_POKE,      /* writes b at a, guarded */
    ACT_PEEK_BARE, /* unguarded */
    ACT_POKE_BARE,
    ACT_PROBE_READ, /* ProbeForRead(a, b, c), guarded */
    ACT_PROBE_WRITE,
    ACT_ROUTINE,       /* MmGetSystemRoutineAddress(L"..." at a) */
    ACT_COMPLETE_NEXT, /* takes the next IRP from the queue and completes it; 0 when there is none
                        */
    ACT_COMPLETE_HELD,
    ACT_CREATE_DEVICE,
    ACT_DELETE_DEVICE,
    ACT_DELETE_TWICE,
    ACT_ATTACH, /* a second device on top of the first */
    ACT_DETACH,
    ACT_OPEN,    /* IoGetDeviceObjectPointer of the own device */
    ACT_CLOSE,   /* ObDereferenceObject of it */
    ACT_CONTROL, /* IoBuildDeviceIoControlRequest to the own device: code a, in b, out c bytes */
    ACT_OWN_IRP, /* IoAllocateIrp, sends a read, reclaims it in its completion routine */
    ACT_OWN_IRP_LOST,  /* the same without a completion routine */
    ACT_OWN_IRP_FREED, /* freed while the lower driver has it */
    ACT_WORK,
    ACT_WORK_TWICE,
    ACT_WORK_FREE_QUEUED,
    ACT_REMLOCK, /* acquires, releases, and the end of it; the status after the end */
    ACT_REMLOCK_WRONG,
    ACT_POWER, /* PoRequestPowerIrp to D3 */
    ACT_GET_PROPERTY,
    ACT_SET_PROPERTY,
    ACT_INVOKE,      /* the function at a with the arguments at b, up to eight */
    ACT_SYSTEM_LINK, /* IoCreateSymbolicLink only, left behind */
};

struct gadget_script {
    /* what the driver does */
    NTSTATUS EntryStatus, AddStatus, StartStatus, QueryStatus, PowerStatus;
    ULONG Mode[IRP_MJ_MAXIMUM_FUNCTION + 1];
    NTSTATUS Status;
    ULONG_PTR Information;
    ULONG DeviceFlags, Characteristics, Exclusive, NoDevice, NoUnload, KeepAttached, FilterMode;
    ULONG LeakDevice, WorkAtDelay;

    /* what the driver saw */
    ULONG Major[IRP_MJ_MAXIMUM_FUNCTION + 1], Completions, Works, Unloads, Adds, PowerDone;
    ULONG Pnp[64], PnpCount;       /* minor functions in order */
    ULONG Sequence[64], Sequences; /* major functions but PNP, in order */
    ULONG Lingered;                /* until the file was closed */
    HANDLE CreateProcess, CleanupProcess, CloseProcess, RequestProcess;
    ULONG CreateMode, CloseIrql, Is32bit, HasRelated, CreateFlags, CreateOptions, InputLength,
        OutputLength;
    ACCESS_MASK DesiredAccess;
    WCHAR FileName[64];
    ULONG FileNameLength;
    UCHAR Input[64];
    PVOID SystemBuffer, MdlAddress, UserBuffer;
    PVOID FsContext; /* set in create to a number, seen in close */
    UCHAR PendingReturned;
    NTSTATUS IosbStatus;
    ULONG_PTR IosbInformation;

    /* for the test */
    ULONG_PTR(NTAPI *Act)(ULONG What, ULONG_PTR A, ULONG_PTR B, ULONG_PTR C);
    PDRIVER_OBJECT DriverObject;
    PDEVICE_OBJECT Device, Filter, Pdo, Fdo;
    PFILE_OBJECT File;
    PMDL Mdl, Second;
    PVOID View, Pool;
    PIRP Held;
};
