/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The lies of the sabotaged drivers; which one is told is chosen when it is compiled. Must break no
 * rule of NDIS: the machine shall have no reason to stop, only the demo to fail.
 */
#include "sabotage.h"

enum { TAG = 0x74626173, ADAPTERS = 8, EVERY = 50 };

typedef struct SABOTAGED {
    NDIS_HANDLE Handle, Lists; /* Handle NULL: free */
    NDIS_HANDLE Context;
    LONG volatile IsRunning;
} SABOTAGED;

static SABOTAGED Adapters[ADAPTERS];
static NDIS_MINIPORT_DRIVER_CHARACTERISTICS Honest;
static LONG volatile Seen;

static BOOLEAN IsChosen(ULONG Bytes)
{
    return Bytes > 1000 && InterlockedIncrement(&Seen) % EVERY == 0;
}

static SABOTAGED *Find(NDIS_HANDLE Handle, NDIS_HANDLE Context)
{
    for (SABOTAGED *A = Adapters; A < Adapters + ADAPTERS; A++)
        if (A->Handle && (A->Handle == Handle || (Context && A->Context == Context)))
            return A;
    return NULL;
}

/* ---- received packets ---- */

static VOID Damage(NET_BUFFER *Buffer)
{
    ULONG Bytes = NET_BUFFER_DATA_LENGTH(Buffer);
    UCHAR *Data = MmGetSystemAddressForMdlSafe(NET_BUFFER_CURRENT_MDL(Buffer), NormalPagePriority);

    if (!Data || !IsChosen(Bytes))
        return;
    UCHAR *End = Data + NET_BUFFER_CURRENT_MDL_OFFSET(Buffer) + (Bytes & ~1U);
    if (SABOTAGE == SABOTAGE_corrupt) {
        End[-1] ^= 0x10;
        return;
    }
    for (ULONG i = 1; i <= 2; i++) {
        UCHAR Kept = End[-2 - (LONG)i];
        End[-2 - (LONG)i] = End[-(LONG)i];
        End[-(LONG)i] = Kept;
    }
}

/* The chain without some of its lists, which go back to the driver as if the stack were done. */
static NET_BUFFER_LIST *Thin(SABOTAGED *A, NET_BUFFER_LIST *Lists, ULONG *Count, ULONG Flags)
{
    NET_BUFFER_LIST *First = NULL, **Link = &First;

    for (NET_BUFFER_LIST *Next; Lists; Lists = Next) {
        Next = NET_BUFFER_LIST_NEXT_NBL(Lists);
        NET_BUFFER_LIST_NEXT_NBL(Lists) = NULL;
        if (IsChosen(NET_BUFFER_DATA_LENGTH(NET_BUFFER_LIST_FIRST_NB(Lists)))) {
            Honest.ReturnNetBufferListsHandler(
                A->Context, Lists,
                Flags & NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL ? NDIS_RETURN_FLAGS_DISPATCH_LEVEL : 0);
            --*Count;
            continue;
        }
        *Link = Lists;
        Link = &NET_BUFFER_LIST_NEXT_NBL(Lists);
    }
    return First;
}

VOID NTAPI SabotageIndicate(NDIS_HANDLE Handle, PNET_BUFFER_LIST Lists, NDIS_PORT_NUMBER Port,
                            ULONG Count, ULONG Flags)
{
    SABOTAGED *A = Find(Handle, NULL);

    if (SABOTAGE == SABOTAGE_corrupt || SABOTAGE == SABOTAGE_exchange)
        for (NET_BUFFER_LIST *L = Lists; L; L = NET_BUFFER_LIST_NEXT_NBL(L))
            Damage(NET_BUFFER_LIST_FIRST_NB(L));
    if (SABOTAGE == SABOTAGE_drop && A && !(Flags & NDIS_RECEIVE_FLAGS_RESOURCES))
        Lists = Thin(A, Lists, &Count, Flags);
    if (Lists)
        NdisMIndicateReceiveNetBufferLists(Handle, Lists, Port, Count, Flags);
}

/* ---- sent packets ---- */

static VOID Complete(SABOTAGED *A, NET_BUFFER_LIST *Lists, ULONG Flags)
{
    for (NET_BUFFER_LIST *L = Lists; L; L = NET_BUFFER_LIST_NEXT_NBL(L))
        NET_BUFFER_LIST_STATUS(L) = NDIS_STATUS_SUCCESS;
    NdisMSendNetBufferListsComplete(
        A->Handle, Lists,
        Flags & NDIS_SEND_FLAGS_DISPATCH_LEVEL ? NDIS_SEND_COMPLETE_FLAGS_DISPATCH_LEVEL : 0);
}

/* Splits the chain in what the driver sees and what it does not. */
static NET_BUFFER_LIST *Lose(NET_BUFFER_LIST *Lists, NET_BUFFER_LIST **Lost)
{
    NET_BUFFER_LIST *First = NULL, **Link = &First;

    for (NET_BUFFER_LIST *Next; Lists; Lists = Next) {
        Next = NET_BUFFER_LIST_NEXT_NBL(Lists);
        NET_BUFFER_LIST_NEXT_NBL(Lists) = NULL;
        if (IsChosen(NET_BUFFER_DATA_LENGTH(NET_BUFFER_LIST_FIRST_NB(Lists)))) {
            NET_BUFFER_LIST_NEXT_NBL(Lists) = *Lost;
            *Lost = Lists;
            continue;
        }
        *Link = Lists;
        Link = &NET_BUFFER_LIST_NEXT_NBL(Lists);
    }
    return First;
}

static VOID Jump(SABOTAGED *To, NET_BUFFER *Buffer, ULONG SendFlags)
{
    ULONG Bytes = NET_BUFFER_DATA_LENGTH(Buffer);
    ULONG Flags = NDIS_RECEIVE_FLAGS_RESOURCES;
    UCHAR *Data = ExAllocatePoolWithTag(NonPagedPool, Bytes + 1, TAG);
    MDL *Mdl = Data ? IoAllocateMdl(Data, Bytes, FALSE, FALSE, NULL) : NULL;
    NET_BUFFER_LIST *List = NULL;

    if (Mdl) {
        UCHAR *From = NdisGetDataBuffer(Buffer, Bytes, Data, 1, 0);
        if (From && From != Data)
            RtlCopyMemory(Data, From, Bytes);
        MmBuildMdlForNonPagedPool(Mdl);
        List = NdisAllocateNetBufferAndNetBufferList(To->Lists, 0, 0, Mdl, 0, Bytes);
    }
    if (List) {
        List->SourceHandle = To->Handle;
        NET_BUFFER_LIST_INFO(List, NetBufferListFrameType) =
            (PVOID)(ULONG_PTR)(Data[0] >> 4 == 6 ? 0xDD86 : 0x0008);
        if (SendFlags & NDIS_SEND_FLAGS_DISPATCH_LEVEL)
            Flags |= NDIS_RECEIVE_FLAGS_DISPATCH_LEVEL;
        NdisMIndicateReceiveNetBufferLists(To->Handle, List, NDIS_DEFAULT_PORT_NUMBER, 1, Flags);
        NdisFreeNetBufferList(List);
    }
    if (Mdl)
        IoFreeMdl(Mdl);
    if (Data)
        ExFreePoolWithTag(Data, TAG);
}

static VOID NTAPI Send(NDIS_HANDLE Context, PNET_BUFFER_LIST Lists, NDIS_PORT_NUMBER Port,
                       ULONG Flags)
{
    SABOTAGED *A = Find(NULL, Context);
    SABOTAGED *To = NULL;
    NET_BUFFER_LIST *Lost = NULL;

    for (SABOTAGED *Other = Adapters; Other < Adapters + ADAPTERS; Other++)
        if (Other->Handle && Other != A && Other->IsRunning)
            To = Other;
    if (SABOTAGE == SABOTAGE_bypass && A && To) {
        for (NET_BUFFER_LIST *L = Lists; L; L = NET_BUFFER_LIST_NEXT_NBL(L))
            for (NET_BUFFER *B = NET_BUFFER_LIST_FIRST_NB(L); B; B = NET_BUFFER_NEXT_NB(B))
                Jump(To, B, Flags);
        Lost = Lists;
        Lists = NULL;
    } else if (SABOTAGE == SABOTAGE_lose && A) {
        Lists = Lose(Lists, &Lost);
    }
    if (Lost)
        Complete(A, Lost, Flags);
    if (Lists)
        Honest.SendNetBufferListsHandler(Context, Lists, Port, Flags);
}

/* ---- life of an adapter ---- */

NDIS_STATUS NTAPI SabotageAttributes(NDIS_HANDLE Handle,
                                     PNDIS_MINIPORT_ADAPTER_ATTRIBUTES Attributes)
{
    NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES *Register = (PVOID)Attributes;
    SABOTAGED *A = Find(Handle, NULL);

    if (Register->Header.Type == NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES && A)
        A->Context = Register->MiniportAdapterContext;
    return NdisMSetMiniportAttributes(Handle, Attributes);
}

static VOID Forget(SABOTAGED *A)
{
    if (A && A->Lists)
        NdisFreeNetBufferListPool(A->Lists);
    if (A)
        RtlZeroMemory(A, sizeof(*A));
}

static NDIS_STATUS NTAPI Initialize(NDIS_HANDLE Handle, NDIS_HANDLE DriverContext,
                                    PNDIS_MINIPORT_INIT_PARAMETERS Parameters)
{
    NET_BUFFER_LIST_POOL_PARAMETERS Pool = {
        .Header = {.Type = NDIS_OBJECT_TYPE_DEFAULT,
                   .Revision = NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1,
                   .Size = NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1},
        .fAllocateNetBuffer = TRUE,
        .PoolTag = TAG,
    };
    SABOTAGED *A = Adapters;

    while (A < Adapters + ADAPTERS - 1 && A->Handle)
        A++;
    A->Handle = Handle;
    A->Lists = NdisAllocateNetBufferListPool(Handle, &Pool);
    NDIS_STATUS Status = A->Lists ? Honest.InitializeHandlerEx(Handle, DriverContext, Parameters)
                                  : NDIS_STATUS_RESOURCES;
    if (Status != NDIS_STATUS_SUCCESS)
        Forget(A);
    return Status;
}

static VOID NTAPI Halt(NDIS_HANDLE Context, NDIS_HALT_ACTION Action)
{
    Forget(Find(NULL, Context));
    Honest.HaltHandlerEx(Context, Action);
}

static NDIS_STATUS NTAPI Pause(NDIS_HANDLE Context, PNDIS_MINIPORT_PAUSE_PARAMETERS Parameters)
{
    SABOTAGED *A = Find(NULL, Context);

    if (A)
        A->IsRunning = FALSE;
    return Honest.PauseHandler(Context, Parameters);
}

static NDIS_STATUS NTAPI Restart(NDIS_HANDLE Context, PNDIS_MINIPORT_RESTART_PARAMETERS Parameters)
{
    SABOTAGED *A = Find(NULL, Context);
    NDIS_STATUS Status = Honest.RestartHandler(Context, Parameters);

    if (A)
        A->IsRunning = TRUE;
    return Status;
}

NTSTATUS NTAPI SabotageRegister(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath,
                                NDIS_HANDLE Context,
                                PNDIS_MINIPORT_DRIVER_CHARACTERISTICS Characteristics,
                                PNDIS_HANDLE Handle)
{
    NDIS_MINIPORT_DRIVER_CHARACTERISTICS Lying = *Characteristics;

    Honest = *Characteristics;
    Lying.InitializeHandlerEx = Initialize;
    Lying.HaltHandlerEx = Halt;
    Lying.PauseHandler = Pause;
    Lying.RestartHandler = Restart;
    Lying.SendNetBufferListsHandler = Send;
    return NdisMRegisterMiniportDriver(Driver, RegistryPath, Context, &Lying, Handle);
}
