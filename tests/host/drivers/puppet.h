/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The script of the puppet: a miniport that does what a test says, broken rules included. Test and
 * driver share one TestScript, which the test program exports as data. Every NdisXxx function can
 * be called from driver code through Call.
 */
#pragma once

#include <ndis.h>

enum puppet_mode {
    PUPPET_GOOD,
    PUPPET_PEND,   /* answer NDIS_STATUS_PENDING and leave the rest to the test */
    PUPPET_FAIL,   /* answer NDIS_STATUS_RESOURCES */
    PUPPET_TWICE,  /* complete, and answer success too */
    PUPPET_STATUS, /* answer or complete with Odd */
    PUPPET_LOCKED, /* complete or return with a spin lock held */
    PUPPET_IRQL,   /* return at DISPATCH_LEVEL */
    PUPPET_LIE,    /* set a DISPATCH_LEVEL flag whatever the IRQL */
    PUPPET_MODIFY, /* change what it must not */
    PUPPET_KEEP,   /* return with one spin lock more */
    PUPPET_OVERRUN /* report more bytes than there are */
};

struct puppet_import {
    const char *Name;
    PVOID Function;
};

struct puppet_script {
    /* what the driver does */
    ULONG Version;              /* 0x60050; 0: 6.89 */
    ULONG Revision, Size, Type; /* of the characteristics; 0: right for Version */
    ULONG Missing;              /* n-th handler, from 1, is left out */
    ULONG DriverFlags;
    ULONG HasReset, HasDirect, HasSynchronous, HasOptions, HasCheckForHang;
    ULONG SkipRegistration, SkipGeneral, GeneralFirst, SkipDeregister, EntryFails;
    ULONG AttributeFlags, MediaType;
    NDIS_STATUS InitStatus, OptionsStatus, Odd;
    ULONG Init, Pause, Restart, Send, Return, Oid, Reset, Halt; /* enum puppet_mode */
    ULONG HookControl, HasPnp, RegistrationRevision;
    NDIS_STATUS AddDeviceStatus;

    /* what the driver was asked */
    ULONG Options, Inits, Pauses, Restarts, Sends, SentLists, Returns, ReturnedLists, Oids, Resets;
    ULONG Halts, Shutdowns, Unloads, Events, CancelSends, CancelOids, DirectOids, SynchronousOids;
    ULONG LastEvent, LastSendFlags, LastReturnFlags, LastHaltAction, PauseIrql, SendIrql;
    ULONG LastPauseReason, Controls, LastOid, SetPower, AddDevices, RemoveDevices;
    PVOID AddDeviceContext;                   /* as MiniportInitializeEx got it */
    ULONG Major[IRP_MJ_MAXIMUM_FUNCTION + 1]; /* requests to the named device */
    NDIS_STATUS RegisterStatus, AttributeStatus;
    PVOID LastCancelId;
    NET_LUID Luid;
    NET_BUFFER_LIST *Held;     /* sent, not completed */
    NET_BUFFER_LIST *Returned; /* in a chain */
    NDIS_OID_REQUEST *HeldOid;

    /* for the test */
    PDRIVER_OBJECT DriverObject;
    NDIS_HANDLE Driver, Adapter, LastAdapter;
    PVOID Context;
    const struct puppet_import *Imports;
    ULONG ImportCount;
    ULONG64(NTAPI *Call)(PVOID Function, const ULONG64 *Arguments);
    PDRIVER_DISPATCH Dispatch;
    NTSTATUS DispatchStatus;
    ULONG RunAtDispatch; /* Call raises the IRQL around the function */
    ULONG HoldLock;      /* Call holds a spin lock around the function */
    ULONG Timers, Works;
    PVOID TimerContext, WorkContext;
    PNDIS_TIMER_FUNCTION Timer;
    NDIS_IO_WORKITEM_ROUTINE Work;
    NDIS_HANDLE FreeWork; /* the work routine frees it */
};
