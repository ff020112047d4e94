/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Security descriptors from their text form (MS-DTYP 2.5.1, "Security Descriptor Description
 * Language"): owner, group, DACL and SACL with the plain ACE types. Object ACEs, conditions and
 * accounts of a domain are refused, never guessed.
 */
#include "nt/se.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct letters {
    const char *text;
    ULONG value;
};

static const struct letters rights[] = {
    {"GA", GENERIC_ALL},
    {"GR", GENERIC_READ},
    {"GW", GENERIC_WRITE},
    {"GX", GENERIC_EXECUTE},
    {"RC", 0x20000},
    {"SD", 0x10000},
    {"WD", 0x40000},
    {"WO", 0x80000},
    {"CC", 0x1},
    {"DC", 0x2},
    {"LC", 0x4},
    {"SW", 0x8},
    {"RP", 0x10},
    {"WP", 0x20},
    {"DT", 0x40},
    {"LO", 0x80},
    {"CR", 0x100},
    {"FA", 0x1F01FF},
    {"FR", 0x120089},
    {"FW", 0x120116},
    {"FX", 0x1200A0},
    {"KA", 0xF003F},
    {"KR", 0x20019},
    {"KW", 0x20006},
    {"KX", 0x20019},
    {"NW", 1},
    {"NR", 2},
    {"NX", 4},
};
static const struct letters ace_types[] = {
    {"AU", ACE_AUDIT}, {"ML", ACE_MANDATORY_LABEL}, {"A", ACE_ALLOWED}, {"D", ACE_DENIED}};
static const struct letters ace_flags[] = {
    {"OI", 0x01}, {"CI", 0x02}, {"NP", 0x04}, {"IO", 0x08},
    {"ID", 0x10}, {"SA", 0x40}, {"FA", 0x80},
};

/* MS-DTYP 2.5.1.1: alias, then authority and sub-authorities. */
static const struct {
    char alias[3];
    UCHAR authority, count;
    ULONG sub[2];
} aliases[] = {
    {"SY", 5, 1, {18}},      {"BA", 5, 2, {32, 544}}, {"BU", 5, 2, {32, 545}},
    {"BG", 5, 2, {32, 546}}, {"PU", 5, 2, {32, 547}}, {"BO", 5, 2, {32, 551}},
    {"NO", 5, 2, {32, 556}}, {"WD", 1, 1, {0}},       {"AU", 5, 1, {11}},
    {"AN", 5, 1, {7}},       {"IU", 5, 1, {4}},       {"NU", 5, 1, {2}},
    {"SU", 5, 1, {6}},       {"PS", 5, 1, {10}},      {"RC", 5, 1, {12}},
    {"LS", 5, 1, {19}},      {"NS", 5, 1, {20}},      {"CO", 3, 1, {0}},
    {"CG", 3, 1, {1}},       {"OW", 3, 1, {4}},       {"AC", 15, 2, {2, 1}},
    {"LW", 16, 1, {0x1000}}, {"ME", 16, 1, {0x2000}}, {"HI", 16, 1, {0x3000}},
    {"SI", 16, 1, {0x4000}},
};

union any_sid {
    SID sid;
    UCHAR bytes[SID_MAX_BYTES];
};

enum { ACL_LIMIT = 0xFFFC };
struct acl_text {
    bool is_given;
    bool is_null; /* NO_ACCESS_CONTROL */
    USHORT control;
    union {
        _Alignas(ULONG) ACL acl;
        UCHAR bytes[ACL_LIMIT];
    };
};

/* Longest match first is the tables' order. 0 when none matches. */
static size_t match(const char *text, const struct letters *table, size_t count, ULONG *value)
{
    for (size_t i = 0; i < count; i++) {
        const size_t n = strlen(table[i].text);
        if (strncmp(text, table[i].text, n) == 0) {
            *value |= table[i].value;
            return n;
        }
    }
    return 0;
}

/* S-1-authority-sub-sub... */
static int parse_numeric_sid(const char **text, SID *sid)
{
    char *end = NULL;

    if (strncmp(*text, "S-1-", 4) != 0)
        return -EINVAL;
    const unsigned long long authority = strtoull(*text + 4, &end, 0);
    if (end == *text + 4 || authority >> 48 != 0)
        return -EINVAL;
    *sid = (SID){.Revision = SID_REVISION};
    for (unsigned i = 0; i < 6; i++)
        sid->IdentifierAuthority.Value[i] = (UCHAR)(authority >> (8 * (5 - i)));
    while (*end == '-') {
        const char *start = end + 1;
        const unsigned long long value = strtoull(start, &end, 0);
        if (end == start || value > UINT32_MAX || *start == '-' || *start == '+' ||
            sid->SubAuthorityCount == SID_MAX_SUB_AUTHORITIES)
            return -EINVAL;
        sid->SubAuthority[sid->SubAuthorityCount++] = (ULONG)value;
    }
    *text = end;
    return 0;
}

static int parse_sid(const char **text, SID *sid)
{
    for (unsigned i = 0; i < ARRAYSIZE(aliases); i++) {
        if (strncmp(*text, aliases[i].alias, 2) != 0)
            continue;
        *sid = (SID){.Revision = SID_REVISION, .SubAuthorityCount = aliases[i].count};
        sid->IdentifierAuthority.Value[5] = aliases[i].authority;
        memcpy(sid->SubAuthority, aliases[i].sub, aliases[i].count * sizeof(ULONG));
        *text += 2;
        return 0;
    }
    return parse_numeric_sid(text, sid);
}

static int skip(const char **text, char c)
{
    if (**text != c)
        return -EINVAL;
    (*text)++;
    return 0;
}

static int parse_letters(const char **text, const struct letters *table, size_t count, ULONG *value)
{
    *value = 0;
    while (**text != ';') {
        const size_t n = match(*text, table, count, value);
        if (n == 0)
            return -EINVAL;
        *text += n;
    }
    return 0;
}

static int parse_rights(const char **text, ULONG *value)
{
    if (**text < '0' || **text > '9')
        return parse_letters(text, rights, ARRAYSIZE(rights), value);
    char *end = NULL;
    const unsigned long long number = strtoull(*text, &end, 0);
    if (number > UINT32_MAX)
        return -EINVAL;
    *value = (ULONG)number;
    *text = end;
    return 0;
}

static int append_ace(ACL *acl, UCHAR type, UCHAR flags, ACCESS_MASK mask, const SID *sid)
{
    const size_t bytes = offsetof(ACCESS_ALLOWED_ACE, SidStart) + nth_sid_bytes(sid);

    if (acl->AclSize + bytes > ACL_LIMIT)
        return -E2BIG;
    ACCESS_ALLOWED_ACE *ace = (ACCESS_ALLOWED_ACE *)((UCHAR *)acl + acl->AclSize);
    ace->Header = (ACE_HEADER){.AceType = type, .AceFlags = flags, .AceSize = (USHORT)bytes};
    ace->Mask = mask;
    memcpy(&ace->SidStart, sid, nth_sid_bytes(sid));
    acl->AclSize = (USHORT)(acl->AclSize + bytes);
    acl->AceCount++;
    return 0;
}

/* (type;flags;rights;;;sid) */
static int parse_ace(const char **text, ACL *acl)
{
    ULONG type = 0, flags = 0, mask = 0;
    union any_sid sid;

    if (skip(text, '(') != 0)
        return -EINVAL;
    const size_t n = match(*text, ace_types, ARRAYSIZE(ace_types), &type);
    *text += n;
    if (n == 0 || skip(text, ';') != 0 ||
        parse_letters(text, ace_flags, ARRAYSIZE(ace_flags), &flags) != 0 || skip(text, ';') != 0 ||
        parse_rights(text, &mask) != 0)
        return -EINVAL;
    /* No object types: both fields are empty. */
    if (strncmp(*text, ";;;", 3) != 0)
        return -EINVAL;
    *text += 3;
    if (parse_sid(text, &sid.sid) != 0 || skip(text, ')') != 0)
        return -EINVAL;
    return append_ace(acl, (UCHAR)type, (UCHAR)flags, mask, &sid.sid);
}

/* Flags and ACEs after "D:" or "S:"; the control bits are those of a DACL, doubled for a SACL. */
static int parse_acl(const char **text, struct acl_text *result)
{
    if (result->is_given)
        return -EINVAL;
    result->is_given = true;
    for (;;) {
        if (strncmp(*text, "NO_ACCESS_CONTROL", 17) == 0) {
            result->is_null = true;
            *text += 17;
        } else if (strncmp(*text, "AR", 2) == 0) {
            result->control |= CONTROL_DACL_AUTO_INHERIT_REQ;
            *text += 2;
        } else if (strncmp(*text, "AI", 2) == 0) {
            result->control |= CONTROL_DACL_AUTO_INHERITED;
            *text += 2;
        } else if (**text == 'P') {
            result->control |= SE_DACL_PROTECTED;
            *text += 1;
        } else {
            break;
        }
    }
    if (result->is_null)
        return 0;
    result->acl = (ACL){.AclRevision = ACL_REVISION, .AclSize = sizeof(ACL)};
    while (**text == '(') {
        const int error = parse_ace(text, &result->acl);
        if (error != 0)
            return error;
    }
    return 0;
}

struct parsed {
    union any_sid owner, group;
    bool has_owner, has_group;
    struct acl_text dacl, sacl;
};

static int parse_part(const char **text, struct parsed *parsed)
{
    const char part = (*text)[0];

    if (part == '\0' || (*text)[1] != ':')
        return -EINVAL;
    *text += 2;
    switch (part) {
    case 'O':
        if (parsed->has_owner)
            return -EINVAL;
        parsed->has_owner = true;
        return parse_sid(text, &parsed->owner.sid);
    case 'G':
        if (parsed->has_group)
            return -EINVAL;
        parsed->has_group = true;
        return parse_sid(text, &parsed->group.sid);
    case 'D':
        return parse_acl(text, &parsed->dacl);
    case 'S':
        return parse_acl(text, &parsed->sacl);
    default:
        return -EINVAL;
    }
}

static ULONG append(UCHAR *base, size_t *used, const void *data, size_t bytes)
{
    const ULONG offset = (ULONG)*used;

    memcpy(base + *used, data, bytes);
    *used += bytes;
    return offset;
}

static const ACL *acl_of(const struct acl_text *text)
{
    return text->is_given && !text->is_null ? &text->acl : NULL;
}

/* The order of the parts is that of Windows: SACL, DACL, owner, group. */
static int assemble(const struct parsed *parsed, void **descriptor, size_t *bytes)
{
    const ACL *sacl = acl_of(&parsed->sacl), *dacl = acl_of(&parsed->dacl);
    size_t used = sizeof(SECURITY_DESCRIPTOR_RELATIVE);
    SECURITY_DESCRIPTOR_RELATIVE *sd =
        calloc(1, used + (size_t)2 * SID_MAX_BYTES + (sacl != NULL ? sacl->AclSize : 0u) +
                      (dacl != NULL ? dacl->AclSize : 0u));

    if (sd == NULL)
        return -ENOMEM;
    sd->Revision = SECURITY_DESCRIPTOR_REVISION;
    sd->Control = SE_SELF_RELATIVE;
    if (parsed->sacl.is_given)
        sd->Control |= (USHORT)(SE_SACL_PRESENT | parsed->sacl.control << 1);
    if (parsed->dacl.is_given)
        sd->Control |= (USHORT)(SE_DACL_PRESENT | parsed->dacl.control);
    if (sacl != NULL)
        sd->Sacl = append((UCHAR *)sd, &used, sacl, sacl->AclSize);
    if (dacl != NULL)
        sd->Dacl = append((UCHAR *)sd, &used, dacl, dacl->AclSize);
    if (parsed->has_owner)
        sd->Owner = append((UCHAR *)sd, &used, &parsed->owner, nth_sid_bytes(&parsed->owner.sid));
    if (parsed->has_group)
        sd->Group = append((UCHAR *)sd, &used, &parsed->group, nth_sid_bytes(&parsed->group.sid));
    *descriptor = sd;
    *bytes = used;
    return 0;
}

int nth_sddl_parse(const char *sddl, void **descriptor, size_t *bytes)
{
    struct parsed *parsed = calloc(1, sizeof(*parsed));
    int error = parsed != NULL ? 0 : -ENOMEM;

    while (error == 0 && *sddl != '\0')
        error = parse_part(&sddl, parsed);
    if (error == 0)
        error = assemble(parsed, descriptor, bytes);
    free(parsed);
    return error;
}
