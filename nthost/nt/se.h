/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What se.c, sd.c and sddl.c share: SIDs, the parts of a descriptor of either form, tokens. Nothing
 * outside these files includes it.
 */
#pragma once

#include "nt/ps.h"

/* MS-DTYP 2.4.4: ACE types and flags, mandatory labels; 2.4.6: control bits. */
enum {
    ACE_ALLOWED = 0,
    ACE_DENIED = 1,
    ACE_AUDIT = 2,
    ACE_ALLOWED_OBJECT = 5,
    ACE_DENIED_OBJECT = 6,
    ACE_MANDATORY_LABEL = 0x11,
};
enum {
    LABEL_NO_WRITE_UP = 1,
    LABEL_NO_READ_UP = 2,
    LABEL_NO_EXECUTE_UP = 4,
};
enum {
    LABEL_LOW = 0x1000,
    LABEL_MEDIUM = 0x2000,
    LABEL_HIGH = 0x3000,
    LABEL_SYSTEM = 0x4000,
};
enum {
    CONTROL_DACL_AUTO_INHERIT_REQ = 0x0100,
    CONTROL_SACL_AUTO_INHERIT_REQ = 0x0200,
    CONTROL_DACL_AUTO_INHERITED = 0x0400,
    CONTROL_SACL_AUTO_INHERITED = 0x0800,
    CONTROL_SACL_PROTECTED = 0x2000,
};
enum { ACL_REVISION_OBJECTS = 4, SID_MAX_BYTES = 8 + 4 * SID_MAX_SUB_AUTHORITIES };

/* Where the parts of a descriptor are; NULL: absent. */
struct nth_sd_parts {
    const SID *owner, *group;
    const ACL *sacl, *dacl;
    bool has_dacl; /* present, possibly NULL, which grants everything */
};
struct nth_sd_parts nth_sd_parts(const void *descriptor);

size_t nth_sid_bytes(const SID *sid);
bool nth_sid_equal(const SID *a, const SID *b);
/* sid fits bytes and is one of revision 1. */
bool nth_sid_is_valid(const void *sid, size_t bytes);
/* Steps through the ACEs of an ACL, staying within its size; NULL first, NULL at the end. */
const ACE_HEADER *nth_ace_next(const ACL *acl, const ACE_HEADER *ace, unsigned *index);

struct nth_token_group {
    union {
        SID sid;
        UCHAR bytes[SID_MAX_BYTES];
    };
    bool is_deny_only;
};

enum { TOKEN_GROUPS = 8 };
struct nth_token_object {
    enum nth_token kind;
    ULONG label;                  /* RID of the integrity level */
    uint64_t privileges, enabled; /* bit per LUID */
    unsigned count;
    struct nth_token_group groups[TOKEN_GROUPS]; /* the first is the user */
};
