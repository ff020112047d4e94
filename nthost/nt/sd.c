/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Security descriptors, ACLs and SIDs: the Rtl functions that build and check them, for absolute
 * and self-relative descriptors. Layouts are those of MS-DTYP 2.4. A descriptor may come from a
 * program: what is checked by size never reads beyond it.
 */
#include "nt/se.h"

#include <string.h>

/* ---- SIDs ---- */

size_t nth_sid_bytes(const SID *sid)
{
    return offsetof(SID, SubAuthority) + (size_t)sid->SubAuthorityCount * sizeof(ULONG);
}

bool nth_sid_is_valid(const void *sid, size_t bytes)
{
    const SID *s = sid;

    return bytes >= offsetof(SID, SubAuthority) && s->Revision == SID_REVISION &&
           s->SubAuthorityCount <= SID_MAX_SUB_AUTHORITIES && nth_sid_bytes(s) <= bytes;
}

bool nth_sid_equal(const SID *a, const SID *b)
{
    return a->SubAuthorityCount == b->SubAuthorityCount && memcmp(a, b, nth_sid_bytes(a)) == 0;
}

ULONG NTAPI RtlLengthSid(PSID Sid)
{
    nth_irql_max(APC_LEVEL);
    return (ULONG)nth_sid_bytes(Sid);
}
NTH_EXPORT(RtlLengthSid, 1);
NTH_EXPORT_AS(SeLengthSid, "SeLengthSid", RtlLengthSid, 1);

ULONG NTAPI RtlLengthRequiredSid(ULONG SubAuthorityCount)
{
    return (ULONG)(offsetof(SID, SubAuthority) + SubAuthorityCount * sizeof(ULONG));
}
NTH_EXPORT(RtlLengthRequiredSid, 1);

BOOLEAN NTAPI RtlValidSid(PSID Sid)
{
    return Sid != NULL && nth_sid_is_valid(Sid, SID_MAX_BYTES);
}
NTH_EXPORT(RtlValidSid, 1);

BOOLEAN NTAPI RtlEqualSid(PSID Sid1, PSID Sid2)
{
    return nth_sid_equal(Sid1, Sid2);
}
NTH_EXPORT(RtlEqualSid, 2);

NTSTATUS NTAPI RtlInitializeSid(PSID Sid, PSID_IDENTIFIER_AUTHORITY IdentifierAuthority,
                                UCHAR SubAuthorityCount)
{
    SID *sid = Sid;

    if (SubAuthorityCount > SID_MAX_SUB_AUTHORITIES)
        return STATUS_INVALID_PARAMETER;
    sid->Revision = SID_REVISION;
    sid->SubAuthorityCount = SubAuthorityCount;
    sid->IdentifierAuthority = *IdentifierAuthority;
    return STATUS_SUCCESS;
}
NTH_EXPORT(RtlInitializeSid, 3);

PULONG NTAPI RtlSubAuthoritySid(PSID Sid, ULONG SubAuthority)
{
    return &((SID *)Sid)->SubAuthority[SubAuthority];
}
NTH_EXPORT(RtlSubAuthoritySid, 2);

static PUCHAR NTAPI sub_authority_count(PSID sid)
{
    return &((SID *)sid)->SubAuthorityCount;
}
NTH_EXPORT_AS(RtlSubAuthorityCountSid, "RtlSubAuthorityCountSid", sub_authority_count, 1);

static NTSTATUS NTAPI copy_sid(ULONG bytes, PSID to, PSID from)
{
    if (nth_sid_bytes(from) > bytes)
        return STATUS_BUFFER_TOO_SMALL;
    memcpy(to, from, nth_sid_bytes(from));
    return STATUS_SUCCESS;
}
NTH_EXPORT_AS(RtlCopySid, "RtlCopySid", copy_sid, 3);

/* ---- ACLs ---- */

const ACE_HEADER *nth_ace_next(const ACL *acl, const ACE_HEADER *ace, unsigned *index)
{
    if (acl == NULL || acl->AclSize < sizeof(*acl) || *index >= acl->AceCount)
        return NULL;
    const char *end = (const char *)acl + acl->AclSize;
    const char *next = ace == NULL ? (const char *)(acl + 1) : (const char *)ace + ace->AceSize;

    if ((size_t)(end - next) < sizeof(ACE_HEADER))
        return NULL;
    const ACE_HEADER *found = (const ACE_HEADER *)next;
    if (found->AceSize < sizeof(*found) || found->AceSize > end - next)
        return NULL;
    (*index)++;
    return found;
}

/* Every ACE lies within the ACL, and those that have a SID have a valid one. */
static bool is_valid_acl(const ACL *acl, size_t bytes)
{
    const ACE_HEADER *ace = NULL;
    unsigned index = 0;

    if (bytes < sizeof(*acl) || acl->AclSize < sizeof(*acl) || acl->AclSize > bytes)
        return false;
    if (acl->AclRevision < ACL_REVISION || acl->AclRevision > ACL_REVISION_OBJECTS ||
        acl->AclSize % 4 != 0)
        return false;
    while ((ace = nth_ace_next(acl, ace, &index)) != NULL) {
        const size_t sid = offsetof(ACCESS_ALLOWED_ACE, SidStart);
        if (ace->AceSize % 4 != 0)
            return false;
        if (ace->AceType > ACE_AUDIT && ace->AceType != ACE_MANDATORY_LABEL)
            continue;
        if (ace->AceSize < sid || !nth_sid_is_valid((const char *)ace + sid, ace->AceSize - sid))
            return false;
    }
    return index == acl->AceCount;
}

NTSTATUS NTAPI RtlCreateAcl(PACL Acl, ULONG AclLength, ULONG AclRevision)
{
    nth_irql_max(APC_LEVEL);
    if (AclLength < sizeof(*Acl))
        return STATUS_BUFFER_TOO_SMALL;
    if (AclRevision < ACL_REVISION || AclRevision > ACL_REVISION_OBJECTS || AclLength > 0xFFFC)
        return STATUS_INVALID_PARAMETER;
    *Acl = (ACL){.AclRevision = (UCHAR)AclRevision, .AclSize = (USHORT)(AclLength & ~3u)};
    return STATUS_SUCCESS;
}
NTH_EXPORT(RtlCreateAcl, 3);

static NTSTATUS add_ace(ACL *acl, ULONG revision, UCHAR type, ULONG flags, ACCESS_MASK mask,
                        const SID *sid)
{
    const size_t bytes = offsetof(ACCESS_ALLOWED_ACE, SidStart) + nth_sid_bytes(sid);
    const ACE_HEADER *last = NULL, *ace = NULL;
    unsigned index = 0;

    if (!RtlValidSid((PSID)(uintptr_t)sid))
        return STATUS_INVALID_SID;
    if (acl->AclRevision > ACL_REVISION_OBJECTS || revision > ACL_REVISION_OBJECTS)
        return STATUS_REVISION_MISMATCH;
    while ((ace = nth_ace_next(acl, ace, &index)) != NULL)
        last = ace;
    if (index != acl->AceCount)
        return STATUS_INVALID_ACL;
    char *at = last == NULL ? (char *)(acl + 1) : (char *)(uintptr_t)last + last->AceSize;
    if ((size_t)((char *)acl + acl->AclSize - at) < bytes)
        return STATUS_ALLOTTED_SPACE_EXCEEDED;
    ACCESS_ALLOWED_ACE *added = (ACCESS_ALLOWED_ACE *)at;
    added->Header =
        (ACE_HEADER){.AceType = type, .AceFlags = (UCHAR)flags, .AceSize = (USHORT)bytes};
    added->Mask = mask;
    memcpy(&added->SidStart, sid, nth_sid_bytes(sid));
    acl->AceCount++;
    if (revision > acl->AclRevision)
        acl->AclRevision = (UCHAR)revision;
    return STATUS_SUCCESS;
}

NTSTATUS NTAPI RtlAddAccessAllowedAce(PACL Acl, ULONG AceRevision, ACCESS_MASK AccessMask, PSID Sid)
{
    nth_irql_max(APC_LEVEL);
    return add_ace(Acl, AceRevision, ACE_ALLOWED, 0, AccessMask, Sid);
}
NTH_EXPORT(RtlAddAccessAllowedAce, 4);

static NTSTATUS NTAPI add_allowed_ace_ex(PACL acl, ULONG revision, ULONG flags, ACCESS_MASK mask,
                                         PSID sid)
{
    nth_irql_max(APC_LEVEL);
    return add_ace(acl, revision, ACE_ALLOWED, flags, mask, sid);
}
NTH_EXPORT_AS(RtlAddAccessAllowedAceEx, "RtlAddAccessAllowedAceEx", add_allowed_ace_ex, 5);

static NTSTATUS NTAPI get_ace(PACL acl, ULONG wanted, PVOID *result)
{
    const ACE_HEADER *ace = NULL;
    unsigned index = 0;

    while ((ace = nth_ace_next(acl, ace, &index)) != NULL) {
        if (index - 1 == wanted) {
            *result = (PVOID)(uintptr_t)ace;
            return STATUS_SUCCESS;
        }
    }
    return STATUS_INVALID_PARAMETER;
}
NTH_EXPORT_AS(RtlGetAce, "RtlGetAce", get_ace, 3);

/* ---- descriptors ---- */

static const void *at_offset(const void *base, ULONG offset)
{
    return offset == 0 ? NULL : (const char *)base + offset;
}

struct nth_sd_parts nth_sd_parts(const void *descriptor)
{
    const SECURITY_DESCRIPTOR *absolute = descriptor;
    const SECURITY_DESCRIPTOR_RELATIVE *relative = descriptor;
    const bool has_dacl = (absolute->Control & SE_DACL_PRESENT) != 0;
    const bool has_sacl = (absolute->Control & SE_SACL_PRESENT) != 0;

    if ((absolute->Control & SE_SELF_RELATIVE) == 0)
        return (struct nth_sd_parts){.owner = absolute->Owner,
                                     .group = absolute->Group,
                                     .sacl = has_sacl ? absolute->Sacl : NULL,
                                     .dacl = has_dacl ? absolute->Dacl : NULL,
                                     .has_dacl = has_dacl};
    return (struct nth_sd_parts){
        .owner = at_offset(relative, relative->Owner),
        .group = at_offset(relative, relative->Group),
        .sacl = has_sacl ? at_offset(relative, relative->Sacl) : NULL,
        .dacl = has_dacl ? at_offset(relative, relative->Dacl) : NULL,
        .has_dacl = has_dacl,
    };
}

NTSTATUS NTAPI RtlCreateSecurityDescriptor(PSECURITY_DESCRIPTOR SecurityDescriptor, ULONG Revision)
{
    nth_irql_max(PASSIVE_LEVEL);
    if (Revision != SECURITY_DESCRIPTOR_REVISION)
        return STATUS_UNKNOWN_REVISION;
    *(SECURITY_DESCRIPTOR *)SecurityDescriptor =
        (SECURITY_DESCRIPTOR){.Revision = SECURITY_DESCRIPTOR_REVISION};
    return STATUS_SUCCESS;
}
NTH_EXPORT(RtlCreateSecurityDescriptor, 2);

/* Setters work on absolute descriptors only. */
static NTSTATUS check_absolute(const SECURITY_DESCRIPTOR *sd)
{
    if (sd->Revision != SECURITY_DESCRIPTOR_REVISION)
        return STATUS_UNKNOWN_REVISION;
    return (sd->Control & SE_SELF_RELATIVE) != 0 ? STATUS_INVALID_SECURITY_DESCR : STATUS_SUCCESS;
}

static void set_control(SECURITY_DESCRIPTOR *sd, USHORT bit, BOOLEAN is_set)
{
    sd->Control = (USHORT)(is_set ? sd->Control | bit : sd->Control & ~bit);
}

NTSTATUS NTAPI RtlSetDaclSecurityDescriptor(PSECURITY_DESCRIPTOR SecurityDescriptor,
                                            BOOLEAN DaclPresent, PACL Dacl, BOOLEAN DaclDefaulted)
{
    SECURITY_DESCRIPTOR *sd = SecurityDescriptor;

    nth_irql_max(PASSIVE_LEVEL);
    const NTSTATUS status = check_absolute(sd);
    if (!NT_SUCCESS(status))
        return status;
    set_control(sd, SE_DACL_PRESENT, DaclPresent);
    set_control(sd, SE_DACL_DEFAULTED, DaclPresent && DaclDefaulted);
    if (DaclPresent)
        sd->Dacl = Dacl;
    return STATUS_SUCCESS;
}
NTH_EXPORT(RtlSetDaclSecurityDescriptor, 4);

static NTSTATUS NTAPI set_owner(PSECURITY_DESCRIPTOR descriptor, PSID owner, BOOLEAN is_defaulted)
{
    SECURITY_DESCRIPTOR *sd = descriptor;
    const NTSTATUS status = check_absolute(sd);

    if (!NT_SUCCESS(status))
        return status;
    sd->Owner = owner;
    set_control(sd, SE_OWNER_DEFAULTED, is_defaulted);
    return STATUS_SUCCESS;
}
NTH_EXPORT_AS(RtlSetOwnerSecurityDescriptor, "RtlSetOwnerSecurityDescriptor", set_owner, 3);

static NTSTATUS NTAPI set_group(PSECURITY_DESCRIPTOR descriptor, PSID group, BOOLEAN is_defaulted)
{
    SECURITY_DESCRIPTOR *sd = descriptor;
    const NTSTATUS status = check_absolute(sd);

    if (!NT_SUCCESS(status))
        return status;
    sd->Group = group;
    set_control(sd, SE_GROUP_DEFAULTED, is_defaulted);
    return STATUS_SUCCESS;
}
NTH_EXPORT_AS(RtlSetGroupSecurityDescriptor, "RtlSetGroupSecurityDescriptor", set_group, 3);

static NTSTATUS NTAPI get_dacl(PSECURITY_DESCRIPTOR descriptor, PBOOLEAN is_present, PACL *dacl,
                               PBOOLEAN is_defaulted)
{
    const struct nth_sd_parts parts = nth_sd_parts(descriptor);
    const USHORT control = ((const SECURITY_DESCRIPTOR *)descriptor)->Control;

    *is_present = parts.has_dacl;
    if (parts.has_dacl) {
        *dacl = (PACL)(uintptr_t)parts.dacl;
        *is_defaulted = (control & SE_DACL_DEFAULTED) != 0;
    }
    return STATUS_SUCCESS;
}
NTH_EXPORT_AS(RtlGetDaclSecurityDescriptor, "RtlGetDaclSecurityDescriptor", get_dacl, 4);

static NTSTATUS NTAPI get_owner(PSECURITY_DESCRIPTOR descriptor, PSID *owner, PBOOLEAN is_defaulted)
{
    const USHORT control = ((const SECURITY_DESCRIPTOR *)descriptor)->Control;

    *owner = (PSID)(uintptr_t)nth_sd_parts(descriptor).owner;
    *is_defaulted = (control & SE_OWNER_DEFAULTED) != 0;
    return STATUS_SUCCESS;
}
NTH_EXPORT_AS(RtlGetOwnerSecurityDescriptor, "RtlGetOwnerSecurityDescriptor", get_owner, 3);

static NTSTATUS NTAPI get_group(PSECURITY_DESCRIPTOR descriptor, PSID *group, PBOOLEAN is_defaulted)
{
    const USHORT control = ((const SECURITY_DESCRIPTOR *)descriptor)->Control;

    *group = (PSID)(uintptr_t)nth_sd_parts(descriptor).group;
    *is_defaulted = (control & SE_GROUP_DEFAULTED) != 0;
    return STATUS_SUCCESS;
}
NTH_EXPORT_AS(RtlGetGroupSecurityDescriptor, "RtlGetGroupSecurityDescriptor", get_group, 3);

/* Bytes the descriptor would take in self-relative form. */
ULONG NTAPI RtlLengthSecurityDescriptor(PSECURITY_DESCRIPTOR SecurityDescriptor)
{
    nth_irql_max(PASSIVE_LEVEL);
    const struct nth_sd_parts parts = nth_sd_parts(SecurityDescriptor);
    const bool is_relative =
        (((const SECURITY_DESCRIPTOR *)SecurityDescriptor)->Control & SE_SELF_RELATIVE) != 0;
    size_t bytes = is_relative ? sizeof(SECURITY_DESCRIPTOR_RELATIVE) : sizeof(SECURITY_DESCRIPTOR);
    bytes += parts.owner != NULL ? nth_sid_bytes(parts.owner) : 0;
    bytes += parts.group != NULL ? nth_sid_bytes(parts.group) : 0;
    bytes += parts.sacl != NULL ? parts.sacl->AclSize : 0;
    bytes += parts.dacl != NULL ? parts.dacl->AclSize : 0;
    return (ULONG)bytes;
}
NTH_EXPORT(RtlLengthSecurityDescriptor, 1);

static bool is_sid_at(const char *base, ULONG bytes, ULONG offset)
{
    return offset >= sizeof(SECURITY_DESCRIPTOR_RELATIVE) && offset % 4 == 0 && offset < bytes &&
           nth_sid_is_valid(base + offset, bytes - offset);
}

static bool is_acl_at(const char *base, ULONG bytes, ULONG offset)
{
    return offset >= sizeof(SECURITY_DESCRIPTOR_RELATIVE) && offset % 4 == 0 && offset < bytes &&
           is_valid_acl((const ACL *)(base + offset), bytes - offset);
}

BOOLEAN NTAPI RtlValidRelativeSecurityDescriptor(PSECURITY_DESCRIPTOR SecurityDescriptorInput,
                                                 ULONG SecurityDescriptorLength,
                                                 SECURITY_INFORMATION RequiredInformation)
{
    const SECURITY_DESCRIPTOR_RELATIVE *sd = SecurityDescriptorInput;
    const char *base = SecurityDescriptorInput;
    const ULONG bytes = SecurityDescriptorLength;

    nth_irql_max(PASSIVE_LEVEL);
    if (bytes < sizeof(*sd) || sd->Revision != SECURITY_DESCRIPTOR_REVISION ||
        (sd->Control & SE_SELF_RELATIVE) == 0)
        return FALSE;
    if (sd->Owner != 0 ? !is_sid_at(base, bytes, sd->Owner)
                       : (RequiredInformation & OWNER_SECURITY_INFORMATION) != 0)
        return FALSE;
    if (sd->Group != 0 ? !is_sid_at(base, bytes, sd->Group)
                       : (RequiredInformation & GROUP_SECURITY_INFORMATION) != 0)
        return FALSE;
    const bool has_dacl = (sd->Control & SE_DACL_PRESENT) != 0;
    if (has_dacl && sd->Dacl != 0
            ? !is_acl_at(base, bytes, sd->Dacl)
            : !has_dacl && (RequiredInformation & DACL_SECURITY_INFORMATION) != 0)
        return FALSE;
    const bool has_sacl = (sd->Control & SE_SACL_PRESENT) != 0;
    if (has_sacl && sd->Sacl != 0
            ? !is_acl_at(base, bytes, sd->Sacl)
            : !has_sacl && (RequiredInformation & SACL_SECURITY_INFORMATION) != 0)
        return FALSE;
    return TRUE;
}
NTH_EXPORT(RtlValidRelativeSecurityDescriptor, 3);

static BOOLEAN NTAPI valid_descriptor(ULONG bytes, PSECURITY_DESCRIPTOR descriptor)
{
    return RtlValidRelativeSecurityDescriptor(descriptor, bytes, 0);
}
NTH_EXPORT_AS(SeValidSecurityDescriptor, "SeValidSecurityDescriptor", valid_descriptor, 2);

static BOOLEAN NTAPI valid_any_descriptor(PSECURITY_DESCRIPTOR descriptor)
{
    const SECURITY_DESCRIPTOR *sd = descriptor;

    if (sd == NULL || sd->Revision != SECURITY_DESCRIPTOR_REVISION)
        return FALSE;
    const struct nth_sd_parts parts = nth_sd_parts(descriptor);
    return (parts.owner == NULL || nth_sid_is_valid(parts.owner, SID_MAX_BYTES)) &&
           (parts.group == NULL || nth_sid_is_valid(parts.group, SID_MAX_BYTES)) &&
           (parts.dacl == NULL || is_valid_acl(parts.dacl, parts.dacl->AclSize)) &&
           (parts.sacl == NULL || is_valid_acl(parts.sacl, parts.sacl->AclSize));
}
NTH_EXPORT_AS(RtlValidSecurityDescriptor, "RtlValidSecurityDescriptor", valid_any_descriptor, 1);
