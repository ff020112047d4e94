/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Tokens, access checks, security descriptors and SDDL, against SeAccessCheck's page and MS-DTYP.
 * Calls the kernel functions directly, as the host does; the drivers' way in is tested in ob.c.
 */
#include "check.h"
#include "nt/nt.h"

#include <stdlib.h>

#define ADAPTER_SDDL "O:SYD:P(A;;FA;;;SY)(A;;FA;;;BA)S:(ML;;NWNRNX;;;HI)"

enum { MAXIMUM = 0x02000000, SYSTEM_SECURITY = 0x01000000, WRITE_DAC_RIGHT = 0x40000 };

static GENERIC_MAPPING file_mapping = {.GenericRead = 0x120089,
                                       .GenericWrite = 0x120116,
                                       .GenericExecute = 0x1200A0,
                                       .GenericAll = FILE_ALL_ACCESS};

static void boot(void)
{
    nth_boot(&(struct nth_config){.mode = NTH_SERIAL});
}

static void *parse(const char *sddl, size_t *bytes)
{
    void *descriptor = NULL;
    size_t size = 0;

    CHECK_EQ(nth_sddl_parse(sddl, &descriptor, &size), 0);
    if (bytes != NULL)
        *bytes = size;
    return descriptor;
}

/* What a process with the token gets; *granted is 0 when refused. */
static NTSTATUS try(enum nth_token token, const char *sddl, ACCESS_MASK wanted,
                    KPROCESSOR_MODE mode, ACCESS_MASK *granted)
{
    struct nth_process *process = nth_process_create("test", token, false);
    SECURITY_SUBJECT_CONTEXT context;
    NTSTATUS status = STATUS_UNSUCCESSFUL;
    void *descriptor = parse(sddl, NULL);

    CHECK(nth_process_enter(process));
    SeCaptureSubjectContext(&context);
    const BOOLEAN allowed = SeAccessCheck(descriptor, &context, FALSE, wanted, 0, NULL,
                                          &file_mapping, mode, granted, &status);
    SeReleaseSubjectContext(&context);
    nth_process_leave();
    CHECK_EQ(allowed != FALSE, NT_SUCCESS(status));
    if (!allowed)
        CHECK_EQ(*granted, 0);
    nth_process_kill(process);
    nth_object_release(process);
    free(descriptor);
    return status;
}

static bool may(enum nth_token token, const char *sddl, ACCESS_MASK wanted)
{
    ACCESS_MASK granted = 0;

    return NT_SUCCESS(try(token, sddl, wanted, UserMode, &granted));
}

TEST(sddl_adapter_descriptor_has_the_documented_bytes)
{
    /* spec of the interface: 112 bytes, control 0x9014, owner at 100, SACL at 20, DACL at 48. */
    size_t bytes = 0;
    const SECURITY_DESCRIPTOR_RELATIVE *sd = parse(ADAPTER_SDDL, &bytes);

    CHECK_EQ(bytes, 112);
    CHECK_EQ(sd->Control, 0x9014);
    CHECK_EQ(sd->Owner, 100);
    CHECK_EQ(sd->Group, 0);
    CHECK_EQ(sd->Sacl, 20);
    CHECK_EQ(sd->Dacl, 48);
}

TEST(access_adapter_descriptor_admits_system_and_elevated_administrators_only)
{
    /* MS-DTYP 2.5.3.2 and 2.5.3.3: a deny-only group allows nothing, and a label above the
     * token's takes read, write and execute rights whatever the DACL says. */
    const ACCESS_MASK wanted[] = {FILE_READ_DATA, FILE_WRITE_DATA, GENERIC_READ | GENERIC_WRITE,
                                  FILE_ALL_ACCESS};
    boot();
    for (unsigned i = 0; i < ARRAYSIZE(wanted); i++) {
        CHECK(may(NTH_TOKEN_SYSTEM, ADAPTER_SDDL, wanted[i]));
        CHECK(may(NTH_TOKEN_ADMIN, ADAPTER_SDDL, wanted[i]));
        CHECK(!may(NTH_TOKEN_ADMIN_FILTERED, ADAPTER_SDDL, wanted[i]));
        CHECK(!may(NTH_TOKEN_USER, ADAPTER_SDDL, wanted[i]));
    }
}

TEST(access_denied_status_is_access_denied)
{
    /* SeAccessCheck, AccessStatus: why access was denied. */
    ACCESS_MASK granted = 0;
    boot();
    CHECK_STATUS(try(NTH_TOKEN_USER, ADAPTER_SDDL, FILE_WRITE_DATA, UserMode, &granted),
                 STATUS_ACCESS_DENIED);
}

TEST(access_kernel_mode_is_always_granted)
{
    /* SeAccessCheck, AccessMode: a request from kernel mode passes. */
    ACCESS_MASK granted = 0;
    boot();
    CHECK_STATUS(try(NTH_TOKEN_USER, ADAPTER_SDDL, FILE_WRITE_DATA, KernelMode, &granted),
                 STATUS_SUCCESS);
    CHECK_EQ(granted, FILE_WRITE_DATA);
}

TEST(access_generic_rights_are_mapped)
{
    /* SeAccessCheck, GenericMapping: the specific rights implied by each generic one. */
    ACCESS_MASK granted = 0;
    boot();
    CHECK_STATUS(try(NTH_TOKEN_ADMIN, ADAPTER_SDDL, GENERIC_READ, UserMode, &granted),
                 STATUS_SUCCESS);
    CHECK_EQ(granted, 0x120089);
}

TEST(access_maximum_allowed_grants_what_the_dacl_gives)
{
    /* SeAccessCheck, DesiredAccess: MAXIMUM_ALLOWED performs all DACL checks. */
    ACCESS_MASK granted = 0;
    boot();
    CHECK_STATUS(try(NTH_TOKEN_USER, "D:(D;;0x2;;;BU)(A;;FRFW;;;WD)", MAXIMUM, UserMode, &granted),
                 STATUS_SUCCESS);
    CHECK_EQ(granted, (0x120089 | 0x120116) & ~0x2);
}

TEST(access_null_dacl_grants_everything)
{
    /* SeAccessCheck, GrantedAccess: MAXIMUM_ALLOWED with a NULL DACL gives all access. */
    ACCESS_MASK granted = 0;
    boot();
    CHECK(may(NTH_TOKEN_USER, "O:SY", FILE_ALL_ACCESS));
    CHECK(may(NTH_TOKEN_USER, "O:SYD:NO_ACCESS_CONTROL", FILE_ALL_ACCESS));
    CHECK_STATUS(try(NTH_TOKEN_USER, "O:SY", MAXIMUM, UserMode, &granted), STATUS_SUCCESS);
    CHECK_EQ(granted, FILE_ALL_ACCESS);
}

TEST(access_empty_dacl_grants_nothing)
{
    /* MS-DTYP 2.5.3.2: a right that no ACE allows is denied. */
    boot();
    CHECK(!may(NTH_TOKEN_SYSTEM, "D:", FILE_READ_DATA));
}

TEST(access_first_matching_ace_decides)
{
    /* MS-DTYP 2.5.3.2: ACEs are evaluated in order. */
    boot();
    CHECK(!may(NTH_TOKEN_ADMIN, "D:(D;;FA;;;BA)(A;;FA;;;WD)", FILE_READ_DATA));
    CHECK(may(NTH_TOKEN_ADMIN, "D:(A;;FA;;;WD)(D;;FA;;;BA)", FILE_READ_DATA));
    CHECK(may(NTH_TOKEN_ADMIN, "D:(D;;0x2;;;BA)(A;;FA;;;WD)", FILE_READ_DATA));
}

TEST(access_deny_only_group_still_denies)
{
    /* MS-DTYP 2.5.3.1.3: SE_GROUP_USE_FOR_DENY_ONLY groups match deny ACEs. */
    boot();
    CHECK(!may(NTH_TOKEN_ADMIN_FILTERED, "D:(D;;FR;;;BA)(A;;FA;;;WD)", FILE_READ_DATA));
    CHECK(!may(NTH_TOKEN_ADMIN_FILTERED, "D:(A;;FA;;;BA)", FILE_READ_DATA));
}

TEST(access_inherit_only_ace_is_skipped)
{
    /* MS-DTYP 2.4.4.1: an INHERIT_ONLY_ACE does not control the object it is on. */
    boot();
    CHECK(!may(NTH_TOKEN_ADMIN, "D:(A;OICIIO;FA;;;WD)", FILE_READ_DATA));
    CHECK(may(NTH_TOKEN_ADMIN, "D:(D;IO;FA;;;WD)(A;;FA;;;WD)", FILE_READ_DATA));
}

TEST(access_owner_has_read_control_and_write_dac)
{
    /* SeAccessCheck: "might check whether the caller is the owner in order to grant WRITE_DAC or
     * READ_CONTROL". OWNER RIGHTS replaces that (MS-DTYP 2.5.3.2). */
    boot();
    CHECK(may(NTH_TOKEN_ADMIN, "O:BAD:", READ_CONTROL | WRITE_DAC_RIGHT));
    CHECK(!may(NTH_TOKEN_ADMIN, "O:BAD:", FILE_READ_DATA));
    CHECK(!may(NTH_TOKEN_ADMIN_FILTERED, "O:BAD:", READ_CONTROL));
    CHECK(!may(NTH_TOKEN_ADMIN, "O:BAD:(A;;RC;;;OW)", WRITE_DAC_RIGHT));
    CHECK(may(NTH_TOKEN_ADMIN, "O:BAD:(A;;RC;;;OW)", READ_CONTROL));
}

TEST(access_label_policies_take_only_their_own_rights)
{
    /* MS-DTYP 2.5.3.3: no-write-up, no-read-up and no-execute-up are separate. */
    boot();
    CHECK(may(NTH_TOKEN_USER, "D:(A;;FA;;;WD)S:(ML;;NW;;;HI)", FILE_READ_DATA));
    CHECK(!may(NTH_TOKEN_USER, "D:(A;;FA;;;WD)S:(ML;;NW;;;HI)", FILE_WRITE_DATA));
    CHECK(!may(NTH_TOKEN_USER, "D:(A;;FA;;;WD)S:(ML;;NR;;;HI)", FILE_READ_DATA));
    CHECK(may(NTH_TOKEN_USER, "D:(A;;FA;;;WD)S:(ML;;NR;;;HI)", FILE_WRITE_DATA));
    CHECK(may(NTH_TOKEN_USER, "D:(A;;FA;;;WD)S:(ML;;NWNRNX;;;ME)", FILE_ALL_ACCESS));
    CHECK(!may(NTH_TOKEN_ADMIN, "D:(A;;FA;;;WD)S:(ML;;NW;;;SI)", FILE_WRITE_DATA));
    CHECK(may(NTH_TOKEN_SYSTEM, "D:(A;;FA;;;WD)S:(ML;;NWNRNX;;;SI)", FILE_ALL_ACCESS));
}

TEST(access_label_also_limits_a_null_dacl)
{
    /* MS-DTYP 2.5.3.2: the integrity check precedes the DACL. */
    boot();
    CHECK(!may(NTH_TOKEN_USER, "O:SYS:(ML;;NW;;;HI)", FILE_WRITE_DATA));
}

TEST(access_system_security_needs_the_privilege)
{
    /* SeAccessCheck: ACCESS_SYSTEM_SECURITY is a privilege test, not the DACL's. */
    ACCESS_MASK granted = 0;
    boot();
    CHECK_STATUS(try(NTH_TOKEN_USER, "D:(A;;0x1000000;;;WD)", SYSTEM_SECURITY, UserMode, &granted),
                 STATUS_PRIVILEGE_NOT_HELD);
}

TEST(access_previously_granted_rights_are_kept)
{
    /* SeAccessCheck, PreviouslyGrantedAccess. */
    SECURITY_SUBJECT_CONTEXT context;
    ACCESS_MASK granted = 0;
    NTSTATUS status = 0;
    void *descriptor = parse("D:", NULL);
    boot();
    SeCaptureSubjectContext(&context);
    CHECK(SeAccessCheck(descriptor, &context, FALSE, FILE_READ_DATA, FILE_READ_DATA, NULL,
                        &file_mapping, UserMode, &granted, &status));
    CHECK_EQ(granted, FILE_READ_DATA);
    SeReleaseSubjectContext(&context);
}

TEST(access_absolute_descriptor_is_understood)
{
    /* SeAccessCheck takes a SECURITY_DESCRIPTOR of either form (RtlCreateSecurityDescriptor,
     * RtlCreateAcl, RtlAddAccessAllowedAce, RtlSetDaclSecurityDescriptor). */
    union {
        SID sid;
        UCHAR bytes[16];
    } world;
    SID_IDENTIFIER_AUTHORITY authority = {SECURITY_WORLD_SID_AUTHORITY};
    SECURITY_DESCRIPTOR descriptor;
    SECURITY_SUBJECT_CONTEXT context;
    ACCESS_MASK granted = 0;
    NTSTATUS status = 0;
    ULONG acl[16];
    boot();
    CHECK_STATUS(RtlInitializeSid(&world, &authority, 1), STATUS_SUCCESS);
    *RtlSubAuthoritySid(&world, 0) = SECURITY_WORLD_RID;
    CHECK_EQ(RtlLengthSid(&world), 12);
    CHECK_STATUS(RtlCreateAcl((PACL)acl, sizeof(acl), ACL_REVISION), STATUS_SUCCESS);
    CHECK_STATUS(RtlAddAccessAllowedAce((PACL)acl, ACL_REVISION, FILE_READ_DATA, &world),
                 STATUS_SUCCESS);
    CHECK_STATUS(RtlCreateSecurityDescriptor(&descriptor, SECURITY_DESCRIPTOR_REVISION),
                 STATUS_SUCCESS);
    CHECK_STATUS(RtlSetDaclSecurityDescriptor(&descriptor, TRUE, (PACL)acl, FALSE), STATUS_SUCCESS);
    SeCaptureSubjectContext(&context);
    CHECK(SeAccessCheck(&descriptor, &context, FALSE, FILE_READ_DATA, 0, NULL, &file_mapping,
                        UserMode, &granted, &status));
    CHECK(!SeAccessCheck(&descriptor, &context, FALSE, FILE_WRITE_DATA, 0, NULL, &file_mapping,
                         UserMode, &granted, &status));
    SeReleaseSubjectContext(&context);
}

TEST(add_ace_to_a_full_acl_is_refused)
{
    /* RtlAddAccessAllowedAce: STATUS_ALLOTTED_SPACE_EXCEEDED. */
    const ULONG world[] = {0x00000101, 0x01000000, 0};
    ULONG acl[3 + 4];
    CHECK_STATUS(RtlCreateAcl((PACL)acl, sizeof(acl), ACL_REVISION), STATUS_SUCCESS);
    CHECK_STATUS(RtlAddAccessAllowedAce((PACL)acl, ACL_REVISION, 1, (PSID)world), STATUS_SUCCESS);
    CHECK_STATUS(RtlAddAccessAllowedAce((PACL)acl, ACL_REVISION, 1, (PSID)world),
                 STATUS_ALLOTTED_SPACE_EXCEEDED);
    CHECK_EQ(((PACL)acl)->AceCount, 1);
}

TEST(relative_descriptor_truncated_anywhere_is_invalid)
{
    /* RtlValidRelativeSecurityDescriptor: the length is that of the descriptor's buffer. */
    size_t bytes = 0;
    UCHAR *whole = parse(ADAPTER_SDDL, &bytes);
    CHECK(RtlValidRelativeSecurityDescriptor(whole, (ULONG)bytes, DACL_SECURITY_INFORMATION));
    for (ULONG n = 0; n < bytes; n++) {
        UCHAR *cut = malloc(n + 1);
        memcpy(cut, whole, n);
        CHECK(!RtlValidRelativeSecurityDescriptor(cut, n, 0));
        free(cut);
    }
}

TEST(relative_descriptor_with_any_byte_changed_is_never_read_beyond_its_end)
{
    /* Same page; the buffer is exactly as long as it says (run under AddressSanitizer too). */
    size_t bytes = 0;
    UCHAR *whole = parse(ADAPTER_SDDL, &bytes);
    boot();
    for (size_t i = 0; i < bytes; i++) {
        for (unsigned value = 0; value < 256; value += 5) {
            UCHAR *copy = malloc(bytes);
            memcpy(copy, whole, bytes);
            copy[i] = (UCHAR)value;
            if (RtlValidRelativeSecurityDescriptor(copy, (ULONG)bytes, 0)) {
                SECURITY_SUBJECT_CONTEXT context;
                ACCESS_MASK granted = 0;
                NTSTATUS status = 0;
                SeCaptureSubjectContext(&context);
                SeAccessCheck(copy, &context, FALSE, MAXIMUM, 0, NULL, &file_mapping, UserMode,
                              &granted, &status);
                SeReleaseSubjectContext(&context);
            }
            free(copy);
        }
    }
}

TEST(relative_descriptor_without_required_part_is_invalid)
{
    /* RtlValidRelativeSecurityDescriptor, RequiredInformation. */
    size_t bytes = 0;
    void *sd = parse("D:(A;;FA;;;SY)", &bytes);
    CHECK(RtlValidRelativeSecurityDescriptor(sd, (ULONG)bytes, DACL_SECURITY_INFORMATION));
    CHECK(!RtlValidRelativeSecurityDescriptor(sd, (ULONG)bytes, OWNER_SECURITY_INFORMATION));
    CHECK(!RtlValidRelativeSecurityDescriptor(sd, (ULONG)bytes, SACL_SECURITY_INFORMATION));
}

TEST(sddl_numbers_and_sids_are_parsed)
{
    /* MS-DTYP 2.5.1.1. */
    size_t bytes = 0;
    const SECURITY_DESCRIPTOR_RELATIVE *sd =
        parse("O:S-1-5-21-1-2-3-1002G:BAD:PAI(A;OICI;0x1F01FF;;;S-1-5-18)", &bytes);
    const SID *owner = (const SID *)((const char *)sd + sd->Owner);
    CHECK(RtlValidRelativeSecurityDescriptor((void *)(uintptr_t)sd, (ULONG)bytes, 7));
    CHECK_EQ(owner->SubAuthorityCount, 5);
    CHECK_EQ(owner->SubAuthority[4], 1002);
    CHECK_EQ(sd->Control, 0x9404);
}

TEST(sddl_malformed_text_is_refused)
{
    /* MS-DTYP 2.5.1.1. */
    static const char *const bad[] = {"X",
                                      "O:",
                                      "O:ZZ",
                                      "D:(",
                                      "D:(A;;FA;;;SY",
                                      "D:(A;;QQ;;;SY)",
                                      "D:(Z;;FA;;;SY)",
                                      "D:(A;;FA;;SY)",
                                      "D:(OA;;FA;;;SY)",
                                      "O:SYO:SY",
                                      "D:D:",
                                      "O:S-1-",
                                      "O:S-2-5-18",
                                      "O:S-1-5-99999999999",
                                      "D:(A;;0x1FFFFFFFF;;;SY)",
                                      "D:(A;XX;FA;;;SY)",
                                      "D:P(A;;FA;;;SY))",
                                      "O:S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15-16"};
    for (unsigned i = 0; i < ARRAYSIZE(bad); i++) {
        void *descriptor = NULL;
        size_t bytes = 0;
        if (nth_sddl_parse(bad[i], &descriptor, &bytes) == 0)
            check_fail(__FILE__, __LINE__, "%s was accepted", bad[i]);
    }
}
