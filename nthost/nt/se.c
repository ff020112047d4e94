/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Tokens and access checks. A process has one of four tokens for life; impersonation is not
 * modelled, so a subject context never has a client token. The check follows MS-DTYP 2.5.3 (Access
 * Check Algorithm) and SeAccessCheck's page. Never trusts the sizes in a descriptor.
 */
#include "nt/se.h"

#include <stdlib.h>
#include <string.h>

/* MS-LSAD 3.1.1.2.1: LUIDs of privileges. */
enum {
    PRIVILEGE_TCB = 7,
    PRIVILEGE_SECURITY = 8,
    PRIVILEGE_TAKE_OWNERSHIP = 9,
    PRIVILEGE_LOAD_DRIVER = 10,
    PRIVILEGE_BACKUP = 17,
    PRIVILEGE_RESTORE = 18,
    PRIVILEGE_DEBUG = 20,
    PRIVILEGE_CHANGE_NOTIFY = 23,
    PRIVILEGE_IMPERSONATE = 29,
    PRIVILEGE_CREATE_GLOBAL = 30,
    PRIVILEGE_RELABEL = 32,
};
#define BIT(n) (UINT64_C(1) << (n))

/* Standard rights that no group of file rights names. */
enum { RIGHT_READ_CONTROL = 0x20000, RIGHT_WRITE_DAC = 0x40000, RIGHT_WRITE_OWNER = 0x80000 };
enum { RIGHT_SYSTEM_SECURITY = 0x1000000, RIGHT_MAXIMUM = 0x2000000 };

static const uint64_t admin_privileges = BIT(PRIVILEGE_SECURITY) | BIT(PRIVILEGE_TAKE_OWNERSHIP) |
                                         BIT(PRIVILEGE_LOAD_DRIVER) | BIT(PRIVILEGE_BACKUP) |
                                         BIT(PRIVILEGE_RESTORE) | BIT(PRIVILEGE_DEBUG);
static const uint64_t common_privileges = BIT(PRIVILEGE_CHANGE_NOTIFY);
static const uint64_t service_privileges =
    BIT(PRIVILEGE_IMPERSONATE) | BIT(PRIVILEGE_CREATE_GLOBAL);

/* MS-DTYP 2.4.2.4: well-known SIDs. */
static const ULONG sid_system[] = {5, 18}, sid_everyone[] = {1, 0}, sid_authenticated[] = {5, 11},
                   sid_interactive[] = {5, 4}, sid_admins[] = {5, 32, 544},
                   sid_users[] = {5, 32, 545}, sid_alice[] = {5, 21, 1, 2, 3, 1001},
                   sid_bob[] = {5, 21, 1, 2, 3, 1002}, sid_owner_rights[] = {3, 4};

static void put_sid(SID *sid, const ULONG *numbers, unsigned count)
{
    sid->Revision = SID_REVISION;
    sid->SubAuthorityCount = (UCHAR)(count - 1);
    memset(&sid->IdentifierAuthority, 0, sizeof(sid->IdentifierAuthority));
    sid->IdentifierAuthority.Value[5] = (UCHAR)numbers[0];
    memcpy(sid->SubAuthority, numbers + 1, (count - 1) * sizeof(ULONG));
}

static void add_group(struct nth_token_object *token, const ULONG *numbers, unsigned count,
                      bool is_deny_only)
{
    struct nth_token_group *group = &token->groups[token->count++];

    put_sid(&group->sid, numbers, count);
    group->is_deny_only = is_deny_only;
}
#define ADD_GROUP(token, sid, is_deny_only) add_group(token, sid, ARRAYSIZE(sid), is_deny_only)

static void fill_system(struct nth_token_object *token)
{
    ADD_GROUP(token, sid_system, false);
    ADD_GROUP(token, sid_admins, false);
    token->label = LABEL_SYSTEM;
    token->privileges = admin_privileges | service_privileges | BIT(PRIVILEGE_TCB);
    token->enabled = service_privileges | BIT(PRIVILEGE_TCB) | BIT(PRIVILEGE_DEBUG);
}

static void fill_user(struct nth_token_object *token, enum nth_token kind)
{
    if (kind == NTH_TOKEN_USER)
        ADD_GROUP(token, sid_bob, false);
    else
        ADD_GROUP(token, sid_alice, false);
    if (kind != NTH_TOKEN_USER)
        ADD_GROUP(token, sid_admins, kind == NTH_TOKEN_ADMIN_FILTERED);
    ADD_GROUP(token, sid_users, false);
    ADD_GROUP(token, sid_interactive, false);
    token->label = kind == NTH_TOKEN_ADMIN ? LABEL_HIGH : LABEL_MEDIUM;
    if (kind == NTH_TOKEN_ADMIN) {
        token->privileges = admin_privileges | service_privileges;
        token->enabled = service_privileges; /* the others wait for AdjustTokenPrivileges */
    }
}

struct nth_token_object *nth_token_create(enum nth_token kind)
{
    struct nth_token_object *token = nth_object_create(NTH_OB_TOKEN, sizeof(*token), NULL);

    token->kind = kind;
    if (kind == NTH_TOKEN_SYSTEM)
        fill_system(token);
    else
        fill_user(token, kind);
    ADD_GROUP(token, sid_everyone, false);
    ADD_GROUP(token, sid_authenticated, false);
    token->privileges |= common_privileges;
    token->enabled |= common_privileges;
    return token;
}

static bool has_sid(const struct nth_token_object *token, const SID *sid, bool for_deny)
{
    for (unsigned i = 0; i < token->count; i++)
        if ((for_deny || !token->groups[i].is_deny_only) &&
            nth_sid_equal(&token->groups[i].sid, sid))
            return true;
    return false;
}

static bool has_privilege(const struct nth_token_object *token, unsigned privilege)
{
    return privilege < 64 && (token->enabled & BIT(privilege)) != 0;
}

/* ---- the check ---- */

struct check {
    const struct nth_token_object *token;
    struct nth_sd_parts parts;
    const GENERIC_MAPPING *mapping;
    ACCESS_MASK wanted; /* specific rights still to be granted */
    ACCESS_MASK granted;
    bool is_maximum;
    uint64_t used; /* privileges that granted something */
};

static ACCESS_MASK map_generic(ACCESS_MASK mask, const GENERIC_MAPPING *mapping)
{
    ACCESS_MASK mapped = mask & ~(GENERIC_READ | GENERIC_WRITE | GENERIC_EXECUTE | GENERIC_ALL);

    mapped |= (mask & GENERIC_READ) != 0 ? mapping->GenericRead : 0;
    mapped |= (mask & GENERIC_WRITE) != 0 ? mapping->GenericWrite : 0;
    mapped |= (mask & GENERIC_EXECUTE) != 0 ? mapping->GenericExecute : 0;
    mapped |= (mask & GENERIC_ALL) != 0 ? mapping->GenericAll : 0;
    return mapped;
}

/* The SID of an ACE that has a mask first; NULL when it does not fit. */
static const SID *ace_sid(const ACE_HEADER *ace, ACCESS_MASK *mask)
{
    size_t offset = offsetof(ACCESS_ALLOWED_ACE, SidStart);
    const char *bytes = (const char *)ace;

    if (ace->AceSize < offset)
        return NULL;
    *mask = ((const ACCESS_ALLOWED_ACE *)ace)->Mask;
    if (ace->AceType == ACE_ALLOWED_OBJECT || ace->AceType == ACE_DENIED_OBJECT) {
        if (ace->AceSize < offset + 4)
            return NULL;
        const ULONG flags = *(const ULONG *)(bytes + offset);
        offset += 4 + ((flags & 1) != 0 ? 16u : 0) + ((flags & 2) != 0 ? 16u : 0);
    }
    if (ace->AceSize < offset || !nth_sid_is_valid(bytes + offset, ace->AceSize - offset))
        return NULL;
    return (const SID *)(bytes + offset);
}

/* MS-DTYP 2.5.3.3 (MandatoryIntegrityCheck): what the label leaves to the DACL. An object without a
 * label has Medium with no-write-up. */
static ACCESS_MASK allowed_by_label(const struct check *check)
{
    ULONG label = LABEL_MEDIUM, policy = LABEL_NO_WRITE_UP;
    const ACE_HEADER *ace = NULL;
    unsigned index = 0;

    while ((ace = nth_ace_next(check->parts.sacl, ace, &index)) != NULL) {
        ACCESS_MASK mask = 0;
        if (ace->AceType != ACE_MANDATORY_LABEL || (ace->AceFlags & INHERIT_ONLY_ACE) != 0)
            continue;
        const SID *sid = ace_sid(ace, &mask);
        if (sid == NULL || sid->SubAuthorityCount == 0)
            continue;
        label = sid->SubAuthority[sid->SubAuthorityCount - 1];
        policy = mask;
        break;
    }
    if (check->token->label >= label)
        return ~(ACCESS_MASK)0;
    ACCESS_MASK allowed = (policy & LABEL_NO_READ_UP) == 0 ? GENERIC_READ : 0;
    allowed |= (policy & LABEL_NO_WRITE_UP) == 0 ? GENERIC_WRITE : 0;
    allowed |= (policy & LABEL_NO_EXECUTE_UP) == 0 ? GENERIC_EXECUTE : 0;
    allowed = map_generic(allowed, check->mapping);
    if (has_privilege(check->token, PRIVILEGE_RELABEL))
        allowed |= RIGHT_WRITE_OWNER;
    return allowed;
}

/* Whether an ACE for OWNER RIGHTS (S-1-3-4) replaces the owner's implicit rights. */
static bool has_owner_rights_ace(const struct check *check)
{
    union {
        SID sid;
        UCHAR bytes[SID_MAX_BYTES];
    } owner_rights;
    const ACE_HEADER *ace = NULL;
    unsigned index = 0;

    put_sid(&owner_rights.sid, sid_owner_rights, ARRAYSIZE(sid_owner_rights));
    while ((ace = nth_ace_next(check->parts.dacl, ace, &index)) != NULL) {
        ACCESS_MASK mask = 0;
        if ((ace->AceFlags & INHERIT_ONLY_ACE) != 0 || ace->AceType > ACE_DENIED)
            continue;
        const SID *sid = ace_sid(ace, &mask);
        if (sid != NULL && nth_sid_equal(sid, &owner_rights.sid))
            return true;
    }
    return false;
}

static void grant(struct check *check, ACCESS_MASK mask)
{
    check->granted |= mask;
    check->wanted &= ~mask;
}

/* The first ACE that says something about a right decides it. False: a wanted right is denied. */
static bool walk_dacl(struct check *check, bool is_owner)
{
    const ACE_HEADER *ace = NULL;
    unsigned index = 0;
    ACCESS_MASK denied = 0;

    while ((ace = nth_ace_next(check->parts.dacl, ace, &index)) != NULL) {
        ACCESS_MASK mask = 0;
        const bool allows = ace->AceType == ACE_ALLOWED || ace->AceType == ACE_ALLOWED_OBJECT;
        const bool denies = ace->AceType == ACE_DENIED || ace->AceType == ACE_DENIED_OBJECT;
        if ((!allows && !denies) || (ace->AceFlags & INHERIT_ONLY_ACE) != 0)
            continue;
        const SID *sid = ace_sid(ace, &mask);
        if (sid == NULL)
            continue;
        const bool is_owner_rights = sid->IdentifierAuthority.Value[5] == 3 &&
                                     sid->SubAuthorityCount == 1 && sid->SubAuthority[0] == 4;
        if (!has_sid(check->token, sid, denies) && !(is_owner && is_owner_rights))
            continue;
        mask = map_generic(mask, check->mapping);
        if (allows) {
            grant(check, mask & ~denied);
        } else {
            if ((check->wanted & mask) != 0 && !check->is_maximum)
                return false;
            denied |= mask & ~check->granted;
        }
        if (check->wanted == 0 && !check->is_maximum)
            return true;
    }
    return check->wanted == 0;
}

static bool check_privileges(struct check *check, NTSTATUS *status)
{
    if ((check->wanted & RIGHT_SYSTEM_SECURITY) != 0) {
        if (!has_privilege(check->token, PRIVILEGE_SECURITY)) {
            *status = STATUS_PRIVILEGE_NOT_HELD;
            return false;
        }
        grant(check, RIGHT_SYSTEM_SECURITY);
        check->used |= BIT(PRIVILEGE_SECURITY);
    }
    if ((check->wanted & RIGHT_WRITE_OWNER) != 0 &&
        has_privilege(check->token, PRIVILEGE_TAKE_OWNERSHIP)) {
        grant(check, RIGHT_WRITE_OWNER);
        check->used |= BIT(PRIVILEGE_TAKE_OWNERSHIP);
    }
    return true;
}

/* Rights beyond what the object type has, such as ACCESS_SYSTEM_SECURITY, are never part of "all".
 */
static bool check_descriptor(struct check *check)
{
    const ACCESS_MASK allowed = allowed_by_label(check);
    const ACCESS_MASK by_privilege = check->granted;

    if ((check->wanted & ~allowed) != 0)
        return false;
    if (!check->parts.has_dacl || check->parts.dacl == NULL) {
        grant(check,
              check->is_maximum ? check->mapping->GenericAll | check->wanted : check->wanted);
    } else {
        const bool is_owner =
            check->parts.owner != NULL && has_sid(check->token, check->parts.owner, false);
        if (is_owner && !has_owner_rights_ace(check))
            grant(check, check->is_maximum
                             ? (ACCESS_MASK)(RIGHT_READ_CONTROL | RIGHT_WRITE_DAC)
                             : check->wanted & (RIGHT_READ_CONTROL | RIGHT_WRITE_DAC));
        if ((check->wanted != 0 || check->is_maximum) && !walk_dacl(check, is_owner))
            return false;
    }
    check->granted = (check->granted & allowed) | by_privilege;
    return true;
}

static PPRIVILEGE_SET privilege_set(uint64_t used)
{
    const unsigned count = (unsigned)__builtin_popcountll(used);
    PRIVILEGE_SET *set = calloc(1, sizeof(*set) + count * sizeof(set->Privilege[0]));

    if (set == NULL)
        nth_fail("out of memory");
    for (unsigned i = 0; i < 64; i++)
        if ((used & BIT(i)) != 0)
            set->Privilege[set->PrivilegeCount++] =
                (LUID_AND_ATTRIBUTES){.Luid = {.LowPart = i}, .Attributes = 0x80000000};
    if (nth_call_name() != NULL)
        nth_ledger_add("privileges", set, 0, 0);
    return set;
}

static bool granted_to_kernel(ACCESS_MASK wanted, ACCESS_MASK before,
                              const GENERIC_MAPPING *mapping, ACCESS_MASK *granted)
{
    *granted = before | map_generic(wanted & ~RIGHT_MAXIMUM, mapping);
    if ((wanted & RIGHT_MAXIMUM) != 0)
        *granted |= mapping->GenericAll;
    return true;
}

BOOLEAN NTAPI SeAccessCheck(PSECURITY_DESCRIPTOR SecurityDescriptor,
                            PSECURITY_SUBJECT_CONTEXT SubjectSecurityContext,
                            BOOLEAN SubjectContextLocked, ACCESS_MASK DesiredAccess,
                            ACCESS_MASK PreviouslyGrantedAccess, PPRIVILEGE_SET *Privileges,
                            PGENERIC_MAPPING GenericMapping, KPROCESSOR_MODE AccessMode,
                            PACCESS_MASK GrantedAccess, PNTSTATUS AccessStatus)
{
    nth_irql_max(PASSIVE_LEVEL);
    if (Privileges != NULL)
        *Privileges = NULL;
    *AccessStatus = STATUS_SUCCESS;
    if (AccessMode == KernelMode)
        return granted_to_kernel(DesiredAccess, PreviouslyGrantedAccess, GenericMapping,
                                 GrantedAccess);
    *GrantedAccess = 0;
    *AccessStatus = STATUS_ACCESS_DENIED;
    if (SecurityDescriptor == NULL || (DesiredAccess == 0 && PreviouslyGrantedAccess == 0))
        return FALSE;
    struct check check = {
        .token = (const struct nth_token_object *)SubjectSecurityContext->PrimaryToken,
        .parts = nth_sd_parts(SecurityDescriptor),
        .mapping = GenericMapping,
        .wanted = map_generic(DesiredAccess & ~RIGHT_MAXIMUM, GenericMapping),
        .is_maximum = (DesiredAccess & RIGHT_MAXIMUM) != 0,
    };
    check.wanted &= ~PreviouslyGrantedAccess;
    if (!check_privileges(&check, AccessStatus))
        return FALSE;
    if ((check.wanted != 0 || check.is_maximum) && !check_descriptor(&check))
        return FALSE;
    check.granted |= PreviouslyGrantedAccess;
    if (!check.is_maximum)
        check.granted &= map_generic(DesiredAccess, GenericMapping) | PreviouslyGrantedAccess;
    if (check.granted == 0)
        return FALSE;
    *GrantedAccess = check.granted;
    *AccessStatus = STATUS_SUCCESS;
    if (Privileges != NULL && check.used != 0)
        *Privileges = privilege_set(check.used);
    return TRUE;
}
NTH_EXPORT(SeAccessCheck, 10);

VOID NTAPI SeFreePrivileges(PPRIVILEGE_SET Privileges)
{
    nth_irql_max(PASSIVE_LEVEL);
    if (nth_call_name() != NULL)
        nth_ledger_remove("privileges", Privileges);
    free(Privileges);
}
NTH_EXPORT(SeFreePrivileges, 1);

/* ---- subject contexts ---- */

VOID NTAPI SeCaptureSubjectContext(PSECURITY_SUBJECT_CONTEXT SubjectContext)
{
    nth_irql_max(PASSIVE_LEVEL);
    /* The thread's own process: attaching to another does not borrow its rights. */
    struct nth_process *process = nth_ethread_current()->process;
    *SubjectContext = (SECURITY_SUBJECT_CONTEXT){
        .PrimaryToken = nth_object_reference(process->token),
        .ProcessAuditId = process->id,
    };
    if (nth_call_name() != NULL)
        nth_ledger_add("subject context", SubjectContext, 0, 0);
}
NTH_EXPORT(SeCaptureSubjectContext, 1);

VOID NTAPI SeReleaseSubjectContext(PSECURITY_SUBJECT_CONTEXT SubjectContext)
{
    nth_irql_max(PASSIVE_LEVEL);
    if (nth_call_name() != NULL)
        nth_ledger_remove("subject context", SubjectContext);
    nth_object_release(SubjectContext->PrimaryToken);
    *SubjectContext = (SECURITY_SUBJECT_CONTEXT){0};
}
NTH_EXPORT(SeReleaseSubjectContext, 1);

/* Tokens never change here; what is left of the lock is that it must be matched. */
VOID NTAPI SeLockSubjectContext(PSECURITY_SUBJECT_CONTEXT SubjectContext)
{
    nth_irql_max(PASSIVE_LEVEL);
    if (nth_call_name() != NULL)
        nth_ledger_add("subject lock", SubjectContext, 0, 0);
    nth_ethread_current()->apc_disable++;
}
NTH_EXPORT(SeLockSubjectContext, 1);

VOID NTAPI SeUnlockSubjectContext(PSECURITY_SUBJECT_CONTEXT SubjectContext)
{
    nth_irql_max(PASSIVE_LEVEL);
    if (nth_call_name() != NULL)
        nth_ledger_remove("subject lock", SubjectContext);
    nth_ethread_current()->apc_disable--;
}
NTH_EXPORT(SeUnlockSubjectContext, 1);

/* ---- privileges and tokens ---- */

static BOOLEAN NTAPI single_privilege_check(LUID privilege, KPROCESSOR_MODE mode)
{
    nth_irql_max(PASSIVE_LEVEL);
    if (mode == KernelMode)
        return TRUE;
    return privilege.HighPart == 0 &&
           has_privilege(nth_ethread_current()->process->token, privilege.LowPart);
}
NTH_EXPORT_AS(SeSinglePrivilegeCheck, "SeSinglePrivilegeCheck", single_privilege_check, 2);

static BOOLEAN NTAPI privilege_check(PPRIVILEGE_SET required, PSECURITY_SUBJECT_CONTEXT context,
                                     KPROCESSOR_MODE mode)
{
    enum { ALL_NECESSARY = 1 };
    const struct nth_token_object *token = (const void *)context->PrimaryToken;
    ULONG held = 0;

    nth_irql_max(PASSIVE_LEVEL);
    if (mode == KernelMode)
        return TRUE;
    for (ULONG i = 0; i < required->PrivilegeCount; i++) {
        LUID_AND_ATTRIBUTES *privilege = &required->Privilege[i];
        if (privilege->Luid.HighPart != 0 || !has_privilege(token, privilege->Luid.LowPart))
            continue;
        privilege->Attributes |= 0x80000000; /* SE_PRIVILEGE_USED_FOR_ACCESS */
        held++;
    }
    return (required->Control & ALL_NECESSARY) != 0 ? held == required->PrivilegeCount : held > 0;
}
NTH_EXPORT_AS(SePrivilegeCheck, "SePrivilegeCheck", privilege_check, 3);

static BOOLEAN NTAPI token_is_admin(PACCESS_TOKEN token)
{
    union {
        SID sid;
        UCHAR bytes[SID_MAX_BYTES];
    } admins;

    nth_irql_max(PASSIVE_LEVEL);
    put_sid(&admins.sid, sid_admins, ARRAYSIZE(sid_admins));
    return has_sid((const struct nth_token_object *)token, &admins.sid, false);
}
NTH_EXPORT_AS(SeTokenIsAdmin, "SeTokenIsAdmin", token_is_admin, 1);

static PACCESS_TOKEN NTAPI reference_primary_token(PEPROCESS process)
{
    return nth_object_lend(((struct nth_process *)process)->token);
}
NTH_EXPORT_AS(PsReferencePrimaryToken, "PsReferencePrimaryToken", reference_primary_token, 1);

static VOID NTAPI dereference_primary_token(PACCESS_TOKEN token)
{
    ObfDereferenceObject(token);
}
NTH_EXPORT_AS(PsDereferencePrimaryToken, "PsDereferencePrimaryToken", dereference_primary_token, 1);

VOID NTAPI RtlMapGenericMask(PACCESS_MASK AccessMask, const GENERIC_MAPPING *GenericMapping)
{
    *AccessMask = map_generic(*AccessMask, GenericMapping);
}
NTH_EXPORT(RtlMapGenericMask, 2);
