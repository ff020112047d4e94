/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The data of NET_BUFFERs: MDLs, contiguous access, copying, moving the start. Must never keep a
 * mapping that it did not find.
 */
#include "ndis/private.h"

#include <string.h>

/* NdisAllocateMdl has no page of its own any more; by the "NET_BUFFER architecture" pages it makes
 * an MDL for nonpaged memory, which NdisFreeMdl frees. */
PMDL NTAPI NdisAllocateMdl(NDIS_HANDLE NdisHandle, PVOID VirtualAddress, UINT Length)
{
    nth_irql_max(DISPATCH_LEVEL);
    MDL *mdl = IoAllocateMdl(VirtualAddress, Length, FALSE, FALSE, NULL);

    if (mdl)
        MmBuildMdlForNonPagedPool(mdl);
    return mdl;
}
NTH_EXPORT(NdisAllocateMdl, 3);

VOID NTAPI NdisFreeMdl(PMDL Mdl)
{
    nth_irql_max(DISPATCH_LEVEL);
    IoFreeMdl(Mdl);
}
NTH_EXPORT(NdisFreeMdl, 1);

static UCHAR *map(MDL *mdl)
{
    return MmGetSystemAddressForMdlSafe(mdl, LowPagePriority | MdlMappingNoExecute);
}

/* Copies out of a chain, from offset in mdl. False when a part cannot be mapped or is not there. */
static bool copy_chain(MDL *mdl, ULONG offset, UCHAR *to, ULONG bytes)
{
    while (bytes) {
        if (!mdl)
            return false;
        const ULONG here = MmGetMdlByteCount(mdl) - offset;
        const ULONG part = here < bytes ? here : bytes;
        const UCHAR *from = part ? map(mdl) : to;
        if (!from)
            return false;
        if (part)
            memcpy(to, from + offset, part);
        to += part;
        bytes -= part;
        offset = 0;
        mdl = mdl->Next;
    }
    return true;
}

bool ndis_nb_peek(const NET_BUFFER *nb, void *to, ULONG bytes)
{
    MDL *mdl = nb->CurrentMdl;
    ULONG offset = nb->CurrentMdlOffset;

    while (mdl && mdl->Next && offset >= MmGetMdlByteCount(mdl)) {
        offset -= MmGetMdlByteCount(mdl);
        mdl = mdl->Next;
    }
    return mdl && nb->DataLength >= bytes && copy_chain(mdl, offset, to, bytes);
}

/* Contiguous and aligned: a pointer into the MDL. Otherwise a copy in Storage, or NULL without one.
 * NULL also when there is less data than asked for, and when memory cannot be mapped, "even if the
 * data is contiguous or the Storage parameter is non-NULL". */
PVOID NTAPI NdisGetDataBuffer(PNET_BUFFER NetBuffer, ULONG BytesNeeded, PVOID Storage,
                              ULONG AlignMultiple, ULONG AlignOffset)
{
    nth_irql_max(DISPATCH_LEVEL);
    MDL *mdl = NetBuffer->CurrentMdl;
    ULONG offset = NetBuffer->CurrentMdlOffset;

    if (!AlignMultiple || (AlignMultiple & (AlignMultiple - 1)))
        nth_stop("nb-parameters", "AlignMultiple %u is no power of two", AlignMultiple);
    if (NetBuffer->DataLength < BytesNeeded || !mdl ||
        nth_fault(NTH_FAULT_MAP, "NdisGetDataBuffer"))
        return NULL;
    while (mdl->Next && offset >= MmGetMdlByteCount(mdl)) {
        offset -= MmGetMdlByteCount(mdl);
        mdl = mdl->Next;
    }
    if (MmGetMdlByteCount(mdl) - offset >= BytesNeeded) {
        UCHAR *data = map(mdl);
        if (!data)
            return NULL;
        if ((uintptr_t)(data + offset - AlignOffset) % AlignMultiple == 0)
            return data + offset;
    }
    return Storage && copy_chain(mdl, offset, Storage, BytesNeeded) ? Storage : NULL;
}
NTH_EXPORT(NdisGetDataBuffer, 5);

/* ---- moving the start ---- */

static struct ndis_nb *block_of(NET_BUFFER *nb)
{
    return CONTAINING_RECORD(nb, struct ndis_nb, nb);
}

static MDL *new_mdl(ULONG bytes)
{
    void *memory = ndis_alloc(bytes);
    MDL *mdl = memory ? IoAllocateMdl(memory, bytes, FALSE, FALSE, NULL) : NULL;

    if (!mdl) {
        ndis_free(memory);
        return NULL;
    }
    MmBuildMdlForNonPagedPool(mdl);
    return mdl;
}

typedef PMDL NTAPI ALLOCATE_MDL(PULONG BufferSize);
typedef VOID NTAPI FREE_MDL(PMDL Mdl);

/* Unused space first; what is missing, and DataBackFill more, in a new MDL before the others. */
NDIS_STATUS NTAPI NdisRetreatNetBufferDataStart(PNET_BUFFER NetBuffer, ULONG DataOffsetDelta,
                                                ULONG DataBackFill, PVOID AllocateMdlHandler)
{
    nth_irql_max(DISPATCH_LEVEL);
    NET_BUFFER *nb = NetBuffer;
    ALLOCATE_MDL *allocate = (ALLOCATE_MDL *)AllocateMdlHandler;

    if (nb->DataOffset < DataOffsetDelta) {
        const ULONG missing = DataOffsetDelta - nb->DataOffset;
        ULONG bytes = missing + DataBackFill;
        MDL *mdl = allocate ? allocate(&bytes) : new_mdl(bytes);
        if (!mdl)
            return NDIS_STATUS_RESOURCES;
        mdl->Next = nb->MdlChain;
        nb->MdlChain = mdl;
        nb->DataOffset = MmGetMdlByteCount(mdl) - missing;
        block_of(nb)->retreat_mdls++;
    } else {
        nb->DataOffset -= DataOffsetDelta;
    }
    nb->DataLength += DataOffsetDelta;
    ndis_nb_seek(nb);
    return NDIS_STATUS_SUCCESS;
}
NTH_EXPORT(NdisRetreatNetBufferDataStart, 4);

VOID NTAPI NdisAdvanceNetBufferDataStart(PNET_BUFFER NetBuffer, ULONG DataOffsetDelta,
                                         BOOLEAN FreeMdl, PVOID FreeMdlHandler)
{
    nth_irql_max(DISPATCH_LEVEL);
    NET_BUFFER *nb = NetBuffer;
    struct ndis_nb *b = block_of(nb);
    FREE_MDL *release = (FREE_MDL *)FreeMdlHandler;

    if (DataOffsetDelta > nb->DataLength)
        nth_stop("nb-parameters", "advance by %u of %u bytes", DataOffsetDelta,
                 (unsigned)nb->DataLength);
    nb->DataOffset += DataOffsetDelta;
    nb->DataLength -= DataOffsetDelta;
    while (FreeMdl && b->retreat_mdls && nb->MdlChain &&
           nb->DataOffset >= MmGetMdlByteCount(nb->MdlChain)) {
        MDL *mdl = nb->MdlChain;
        nb->MdlChain = mdl->Next;
        nb->DataOffset -= MmGetMdlByteCount(mdl);
        b->retreat_mdls--;
        if (release) {
            release(mdl);
            continue;
        }
        void *memory = MmGetMdlVirtualAddress(mdl);
        IoFreeMdl(mdl);
        ndis_free(memory);
    }
    ndis_nb_seek(nb);
}
NTH_EXPORT(NdisAdvanceNetBufferDataStart, 4);

/* ---- copying ---- */

struct place {
    MDL *mdl;
    ULONG offset, left; /* left: data from here on */
};

static bool place_at(struct place *p, const NET_BUFFER *nb, ULONG offset)
{
    if (offset > nb->DataLength)
        return false;
    p->mdl = nb->CurrentMdl;
    p->offset = nb->CurrentMdlOffset + offset;
    p->left = nb->DataLength - offset;
    while (p->mdl && p->mdl->Next && p->offset >= MmGetMdlByteCount(p->mdl)) {
        p->offset -= MmGetMdlByteCount(p->mdl);
        p->mdl = p->mdl->Next;
    }
    return p->mdl != NULL;
}

static ULONG place_part(const struct place *p, ULONG bytes)
{
    const ULONG here = MmGetMdlByteCount(p->mdl) - p->offset;
    const ULONG part = here < p->left ? here : p->left;

    return part < bytes ? part : bytes;
}

static void place_step(struct place *p, ULONG bytes)
{
    p->offset += bytes;
    p->left -= bytes;
    while (p->left && p->mdl->Next && p->offset >= MmGetMdlByteCount(p->mdl)) {
        p->offset -= MmGetMdlByteCount(p->mdl);
        p->mdl = p->mdl->Next;
    }
}

NDIS_STATUS NTAPI NdisCopyFromNetBufferToNetBuffer(PNET_BUFFER Destination, ULONG DestinationOffset,
                                                   ULONG BytesToCopy, const NET_BUFFER *Source,
                                                   ULONG SourceOffset, PULONG BytesCopied)
{
    nth_irql_max(DISPATCH_LEVEL);
    struct place to, from;

    *BytesCopied = 0;
    if (!place_at(&to, Destination, DestinationOffset) || !place_at(&from, Source, SourceOffset))
        return NDIS_STATUS_FAILURE;
    while (BytesToCopy && to.left && from.left) {
        const ULONG part = place_part(&to, place_part(&from, BytesToCopy));
        UCHAR *t = map(to.mdl);
        const UCHAR *f = map(from.mdl);
        if (!t || !f)
            return NDIS_STATUS_RESOURCES;
        memcpy(t + to.offset, f + from.offset, part);
        place_step(&to, part);
        place_step(&from, part);
        BytesToCopy -= part;
        *BytesCopied += part;
    }
    return NDIS_STATUS_SUCCESS;
}
NTH_EXPORT(NdisCopyFromNetBufferToNetBuffer, 6);
