/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * An edge made of memory: a binding whose packets a test makes and receives. Chains to send may
 * have any division into lists, buffers and MDLs; what arrives is kept byte for byte, and the lists
 * it came in are held or returned as the test says.
 *
 * Threading: sending, waiting and looking are done by threads of the machine at PASSIVE_LEVEL; one
 * thread at a time waits on a binding or on a chain.
 */
#pragma once

#include "nthost.h"

struct nth_mem;

struct nth_mem *nth_mem_attach(struct nth_adapter *adapter);
/* Returns what is held, unbinds if the adapter is still there, frees everything. Every chain made
 * from it must have been destroyed. */
void nth_mem_close(struct nth_mem *mem);
bool nth_mem_is_detached(const struct nth_mem *mem); /* the adapter has gone */

/* ---- packets from the driver ---- */

struct nth_packet {
    uint8_t *data; /* a copy */
    size_t bytes;
    NET_BUFFER_LIST
    *list;       /* while it is held; NULL afterwards and for NDIS_RECEIVE_FLAGS_RESOURCES */
    ULONG flags; /* of the indication */
    unsigned indication; /* number of the indication it came with, from 0 */
    unsigned mdls;       /* number of MDLs the data lay in */
    uint16_t frame_type; /* NetBufferListFrameType, host order: 0x0800 or 0x86DD */
};

/* true: received lists stay here until returned; false (as attached): each indication's lists are
 * returned before the receive call returns. */
void nth_mem_hold(struct nth_mem *mem, bool hold);
/* Called in the receive call, after its packets were collected, at the miniport's IRQL. */
void nth_mem_on_receive(struct nth_mem *mem, void (*call)(void *context), void *context);

/* Waits until `count` packets in all have arrived; answers how many there are. */
unsigned nth_mem_wait(struct nth_mem *mem, unsigned count, uint64_t timeout_ns);
unsigned nth_mem_count(struct nth_mem *mem);
/* Valid until nth_mem_clear. */
const struct nth_packet *nth_mem_packet(struct nth_mem *mem, unsigned index);
/* Gives the list of packet index back, alone; returns false when it is not held. */
bool nth_mem_return(struct nth_mem *mem, unsigned index);
void nth_mem_return_all(struct nth_mem *mem); /* in one chain */
void nth_mem_clear(struct nth_mem *mem);      /* returns what is held and forgets every packet */
unsigned nth_mem_indications(struct nth_mem *mem);

/* Status indications seen so far with this code, e.g. NDIS_STATUS_LINK_STATE. */
unsigned nth_mem_statuses(struct nth_mem *mem, NDIS_STATUS code);

/* ---- packets for the driver ---- */

/* Where a packet lies: offset unused bytes before it and tail behind it (the data offset of the
 * buffer, and what the last MDL has left), all of that cut into MDLs of the given lengths; what
 * remains lies in a last MDL. Every MDL has its own exactly sized memory. NULL: one MDL, no slack.
 */
struct nth_shape {
    size_t offset, tail;
    const size_t *cuts;
    unsigned cut_count;
};

struct nth_chain;

struct nth_chain *nth_chain_create(struct nth_mem *mem);
/* Begins another list; a packet added to an empty chain begins one by itself. cancel_id or NULL. */
void nth_chain_list(struct nth_chain *chain, void *cancel_id);
void nth_chain_packet(struct nth_chain *chain, const void *packet, size_t bytes,
                      const struct nth_shape *shape);
NET_BUFFER_LIST *nth_chain_nbl(struct nth_chain *chain,
                               unsigned list); /* to mark it, before the send */

/* Sends it all in one call, which may be made at DISPATCH_LEVEL. */
void nth_chain_send(struct nth_chain *chain, ULONG flags);
bool nth_chain_wait(struct nth_chain *chain,
                    uint64_t timeout_ns); /* true: every list is complete */
unsigned nth_chain_lists(const struct nth_chain *chain);
unsigned nth_chain_completed(struct nth_chain *chain); /* lists complete so far */
NDIS_STATUS nth_chain_status(struct nth_chain *chain, unsigned list);
/* NULL when the completed lists carry the buffers, MDLs and bytes they were sent with, else what
 * the driver changed. */
const char *nth_chain_altered(struct nth_chain *chain);
/* Not before it is complete. */
void nth_chain_destroy(struct nth_chain *chain);
