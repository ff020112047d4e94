/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Run-time library: strings, GUIDs, bits, addresses, random numbers, the system's version. Strings
 * a routine allocates are pool, so that forgetting to free them is a leak. The locale's code page
 * is Latin-1.
 */
#include "nt/ke.h"
#include "nt/more.h"

#include <arpa/inet.h>
#include <cpuid.h>
#include <stdio.h>
#include <string.h>

enum {
    STRING_TAG = 0x72745352, /* "RStr" */
    MAX_STRING_BYTES = 0xFFFE,
    GUID_CHARACTERS = 38,
};

/* ---- Unicode strings ---- */

static size_t wide_length(const WCHAR *text)
{
    size_t length = 0;

    while (text[length])
        length++;
    return length;
}

VOID NTAPI RtlInitUnicodeString(PUNICODE_STRING DestinationString, PCWSTR SourceString)
{
    size_t bytes = SourceString ? wide_length(SourceString) * sizeof(WCHAR) : 0;

    if (bytes > MAX_STRING_BYTES - sizeof(WCHAR))
        bytes = MAX_STRING_BYTES - sizeof(WCHAR);
    *DestinationString = (UNICODE_STRING){
        .Length = (USHORT)bytes,
        .MaximumLength = SourceString ? (USHORT)(bytes + sizeof(WCHAR)) : 0,
        .Buffer = (PWCH)SourceString,
    };
}
NTH_EXPORT(RtlInitUnicodeString, 2);

VOID NTAPI RtlInitAnsiString(PANSI_STRING DestinationString, PCSZ SourceString)
{
    size_t bytes = SourceString ? strlen(SourceString) : 0;

    if (bytes > MAX_STRING_BYTES)
        bytes = MAX_STRING_BYTES;
    *DestinationString = (ANSI_STRING){.Length = (USHORT)bytes,
                                       .MaximumLength = SourceString ? (USHORT)(bytes + 1) : 0,
                                       .Buffer = (PCHAR)SourceString};
}
NTH_EXPORT(RtlInitAnsiString, 2);

VOID NTAPI RtlCopyUnicodeString(PUNICODE_STRING DestinationString, PCUNICODE_STRING SourceString)
{
    if (!SourceString) {
        DestinationString->Length = 0;
        return;
    }
    const USHORT bytes = SourceString->Length < DestinationString->MaximumLength
                             ? SourceString->Length
                             : DestinationString->MaximumLength;
    memmove(DestinationString->Buffer, SourceString->Buffer, bytes);
    DestinationString->Length = bytes;
    if ((size_t)bytes + sizeof(WCHAR) <= DestinationString->MaximumLength)
        DestinationString->Buffer[bytes / sizeof(WCHAR)] = 0;
}
NTH_EXPORT(RtlCopyUnicodeString, 2);

/* Basic Latin and Latin-1; other letters have no case here. */
WCHAR NTAPI RtlUpcaseUnicodeChar(WCHAR SourceCharacter)
{
    const WCHAR c = SourceCharacter;

    if ((c >= 'a' && c <= 'z') || (c >= 0xE0 && c <= 0xFE && c != 0xF7))
        return (WCHAR)(c - 0x20);
    return c == 0xFF ? 0x178 : c;
}
NTH_EXPORT(RtlUpcaseUnicodeChar, 1);

WCHAR NTAPI RtlDowncaseUnicodeChar(WCHAR SourceCharacter)
{
    const WCHAR c = SourceCharacter;

    if ((c >= 'A' && c <= 'Z') || (c >= 0xC0 && c <= 0xDE && c != 0xD7))
        return (WCHAR)(c + 0x20);
    return c == 0x178 ? 0xFF : c;
}
NTH_EXPORT(RtlDowncaseUnicodeChar, 1);

LONG NTAPI RtlCompareUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2,
                                   BOOLEAN CaseInSensitive)
{
    const size_t length1 = String1->Length / sizeof(WCHAR),
                 length2 = String2->Length / sizeof(WCHAR);

    for (size_t i = 0; i < length1 && i < length2; i++) {
        WCHAR a = String1->Buffer[i], b = String2->Buffer[i];
        if (CaseInSensitive) {
            a = RtlUpcaseUnicodeChar(a);
            b = RtlUpcaseUnicodeChar(b);
        }
        if (a != b)
            return (LONG)a - (LONG)b;
    }
    return (LONG)length1 - (LONG)length2;
}
NTH_EXPORT(RtlCompareUnicodeString, 3);

BOOLEAN NTAPI RtlEqualUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2,
                                    BOOLEAN CaseInSensitive)
{
    return String1->Length == String2->Length &&
           RtlCompareUnicodeString(String1, String2, CaseInSensitive) == 0;
}
NTH_EXPORT(RtlEqualUnicodeString, 3);

BOOLEAN NTAPI RtlPrefixUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2,
                                     BOOLEAN CaseInSensitive)
{
    UNICODE_STRING head = *String2;

    if (String1->Length > String2->Length)
        return FALSE;
    head.Length = String1->Length;
    return RtlCompareUnicodeString(String1, &head, CaseInSensitive) == 0;
}
NTH_EXPORT(RtlPrefixUnicodeString, 3);

static NTSTATUS append(PUNICODE_STRING string, const WCHAR *text, size_t bytes)
{
    if (string->Length + bytes > string->MaximumLength)
        return STATUS_BUFFER_TOO_SMALL;
    memmove((char *)string->Buffer + string->Length, text, bytes);
    string->Length = (USHORT)(string->Length + bytes);
    if ((size_t)string->Length + sizeof(WCHAR) <= string->MaximumLength)
        string->Buffer[string->Length / sizeof(WCHAR)] = 0;
    return STATUS_SUCCESS;
}

NTSTATUS NTAPI RtlAppendUnicodeStringToString(PUNICODE_STRING Destination, PCUNICODE_STRING Source)
{
    return Source->Length ? append(Destination, Source->Buffer, Source->Length) : STATUS_SUCCESS;
}
NTH_EXPORT(RtlAppendUnicodeStringToString, 2);

NTSTATUS NTAPI RtlAppendUnicodeToString(PUNICODE_STRING Destination, PCWSTR Source)
{
    return Source ? append(Destination, Source, wide_length(Source) * sizeof(WCHAR))
                  : STATUS_SUCCESS;
}
NTH_EXPORT(RtlAppendUnicodeToString, 2);

/* ---- conversions ---- */

static void *string_alloc(size_t bytes)
{
    return ExAllocatePool2(POOL_FLAG_PAGED, bytes, STRING_TAG);
}

NTSTATUS NTAPI RtlUnicodeStringToAnsiString(PANSI_STRING DestinationString,
                                            PCUNICODE_STRING SourceString,
                                            BOOLEAN AllocateDestinationString)
{
    const size_t length = SourceString->Length / sizeof(WCHAR);
    NTSTATUS status = STATUS_SUCCESS;

    nth_irql_exactly(PASSIVE_LEVEL);
    if (length + 1 > MAX_STRING_BYTES)
        return STATUS_INVALID_PARAMETER_2;
    if (AllocateDestinationString) {
        char *const buffer = string_alloc(length + 1);
        if (!buffer)
            return STATUS_NO_MEMORY;
        *DestinationString = (ANSI_STRING){.MaximumLength = (USHORT)(length + 1), .Buffer = buffer};
    }
    size_t fits = length;
    if (length + 1 > DestinationString->MaximumLength) {
        if (DestinationString->MaximumLength == 0)
            return STATUS_BUFFER_OVERFLOW;
        fits = DestinationString->MaximumLength - 1U;
        status = STATUS_BUFFER_OVERFLOW;
    }
    for (size_t i = 0; i < fits; i++) {
        const WCHAR c = SourceString->Buffer[i];
        DestinationString->Buffer[i] = c < 0x100 ? (char)c : '?';
    }
    DestinationString->Buffer[fits] = 0;
    DestinationString->Length = (USHORT)fits;
    return status;
}
NTH_EXPORT(RtlUnicodeStringToAnsiString, 3);

NTSTATUS NTAPI RtlAnsiStringToUnicodeString(PUNICODE_STRING DestinationString,
                                            const ANSI_STRING *SourceString,
                                            BOOLEAN AllocateDestinationString)
{
    const size_t bytes = (SourceString->Length + 1U) * sizeof(WCHAR);

    nth_irql_exactly(PASSIVE_LEVEL);
    if (bytes > MAX_STRING_BYTES)
        return STATUS_INVALID_PARAMETER_2;
    if (AllocateDestinationString) {
        WCHAR *const buffer = string_alloc(bytes);
        if (!buffer)
            return STATUS_NO_MEMORY;
        *DestinationString = (UNICODE_STRING){.MaximumLength = (USHORT)bytes, .Buffer = buffer};
    }
    if (bytes > DestinationString->MaximumLength)
        return STATUS_BUFFER_OVERFLOW;
    for (size_t i = 0; i < SourceString->Length; i++)
        DestinationString->Buffer[i] = (unsigned char)SourceString->Buffer[i];
    DestinationString->Buffer[SourceString->Length] = 0;
    DestinationString->Length = (USHORT)(bytes - sizeof(WCHAR));
    return STATUS_SUCCESS;
}
NTH_EXPORT(RtlAnsiStringToUnicodeString, 3);

VOID NTAPI RtlFreeAnsiString(PANSI_STRING AnsiString)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    if (AnsiString->Buffer)
        ExFreePoolWithTag(AnsiString->Buffer, STRING_TAG);
    *AnsiString = (ANSI_STRING){0};
}
NTH_EXPORT(RtlFreeAnsiString, 1);

VOID NTAPI RtlFreeUnicodeString(PUNICODE_STRING UnicodeString)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    if (UnicodeString->Buffer) /* also strings of others: IoRegisterDeviceInterface's page */
        ExFreePool(UnicodeString->Buffer);
    *UnicodeString = (UNICODE_STRING){0};
}
NTH_EXPORT(RtlFreeUnicodeString, 1);

/* ---- GUIDs ---- */

NTSTATUS NTAPI RtlStringFromGUID(REFGUID Guid, PUNICODE_STRING GuidString)
{
    char text[GUID_CHARACTERS + 1];

    nth_irql_exactly(PASSIVE_LEVEL);
    WCHAR *const buffer = string_alloc(sizeof(text) * sizeof(WCHAR));
    if (!buffer)
        return STATUS_NO_MEMORY;
    snprintf(text, sizeof(text), "{%08X-%04X-%04X-%02X%02X-%02X%02X%02X%02X%02X%02X}", Guid->Data1,
             Guid->Data2, Guid->Data3, Guid->Data4[0], Guid->Data4[1], Guid->Data4[2],
             Guid->Data4[3], Guid->Data4[4], Guid->Data4[5], Guid->Data4[6], Guid->Data4[7]);
    for (size_t i = 0; i < sizeof(text); i++)
        buffer[i] = (unsigned char)text[i];
    *GuidString = (UNICODE_STRING){.Length = GUID_CHARACTERS * sizeof(WCHAR),
                                   .MaximumLength = sizeof(text) * sizeof(WCHAR),
                                   .Buffer = buffer};
    return STATUS_SUCCESS;
}
NTH_EXPORT(RtlStringFromGUID, 2);

static int hex_digit(WCHAR c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The 16 bytes in the order of the text; false when its form is another. */
static bool parse_guid(PCUNICODE_STRING string, unsigned char bytes[16])
{
    static const char form[] = "{xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx}";
    unsigned nibbles = 0;

    if (string->Length != GUID_CHARACTERS * sizeof(WCHAR))
        return false;
    memset(bytes, 0, 16);
    for (int i = 0; i < GUID_CHARACTERS; i++) {
        const int digit = hex_digit(string->Buffer[i]);
        if (form[i] != 'x' ? string->Buffer[i] != (WCHAR)form[i] : digit < 0)
            return false;
        if (form[i] == 'x') {
            bytes[nibbles / 2] = (unsigned char)(bytes[nibbles / 2] << 4 | digit);
            nibbles++;
        }
    }
    return true;
}

NTSTATUS NTAPI RtlGUIDFromString(PCUNICODE_STRING GuidString, GUID *Guid)
{
    unsigned char b[16];

    nth_irql_exactly(PASSIVE_LEVEL);
    if (!parse_guid(GuidString, b))
        return STATUS_INVALID_PARAMETER;
    Guid->Data1 = (ULONG)b[0] << 24 | (ULONG)b[1] << 16 | (ULONG)b[2] << 8 | b[3];
    Guid->Data2 = (USHORT)(b[4] << 8 | b[5]);
    Guid->Data3 = (USHORT)(b[6] << 8 | b[7]);
    memcpy(Guid->Data4, b + 8, 8);
    return STATUS_SUCCESS;
}
NTH_EXPORT(RtlGUIDFromString, 2);

/* ---- memory ---- */

SIZE_T NTAPI RtlCompareMemory(const VOID *Source1, const VOID *Source2, SIZE_T Length)
{
    const unsigned char *const a = Source1, *const b = Source2;
    SIZE_T same = 0;

    while (same < Length && a[same] == b[same])
        same++;
    return same;
}
NTH_EXPORT(RtlCompareMemory, 3);

VOID NTAPI RtlMoveMemory(VOID *Destination, const VOID *Source, SIZE_T Length)
{
    memmove(Destination, Source, Length);
}
NTH_EXPORT(RtlMoveMemory, 3);
NTH_EXPORT_AS(RtlCopyMemory, "RtlCopyMemory", RtlMoveMemory, 3);
NTH_EXPORT_AS(RtlCopyMemoryNonTemporal, "RtlCopyMemoryNonTemporal", RtlMoveMemory, 3);

VOID NTAPI RtlZeroMemory(VOID *Destination, SIZE_T Length)
{
    memset(Destination, 0, Length);
}
NTH_EXPORT(RtlZeroMemory, 2);

VOID NTAPI RtlFillMemory(VOID *Destination, SIZE_T Length, int Fill)
{
    memset(Destination, Fill, Length);
}
NTH_EXPORT(RtlFillMemory, 3);

/* ---- bits ---- */

CCHAR NTAPI RtlFindLeastSignificantBit(ULONGLONG Set)
{
    return Set ? (CCHAR)__builtin_ctzll(Set) : -1;
}
NTH_EXPORT(RtlFindLeastSignificantBit, 1);

CCHAR NTAPI RtlFindMostSignificantBit(ULONGLONG Set)
{
    return Set ? (CCHAR)(63 - __builtin_clzll(Set)) : -1;
}
NTH_EXPORT(RtlFindMostSignificantBit, 1);

ULONG NTAPI RtlNumberOfSetBitsUlongPtr(ULONG_PTR Target)
{
    return (ULONG)__builtin_popcountll(Target);
}
NTH_EXPORT(RtlNumberOfSetBitsUlongPtr, 1);

/* ---- random numbers ---- */

/* A multiplicative congruential step modulo the prime 2^31 - 1, whose results lie in 1 .. 2^31 - 2;
 * the seed is the state. */
ULONG NTAPI RtlRandomEx(PULONG Seed)
{
    const uint64_t prime = 0x7FFFFFFF;
    uint64_t state = *Seed % prime;

    if (state == 0)
        state = 1;
    state = state * 48271 % prime;
    *Seed = (ULONG)state;
    return (ULONG)(state - 1);
}
NTH_EXPORT(RtlRandomEx, 1);

/* ---- internet addresses ---- */

PSTR NTAPI RtlIpv4AddressToStringA(const struct in_addr *Address, PSTR String)
{
    const unsigned char *const b = (const unsigned char *)Address;

    return String + sprintf(String, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
}
NTH_EXPORT(RtlIpv4AddressToStringA, 2);

PSTR NTAPI RtlIpv6AddressToStringA(const struct in6_addr *Address, PSTR String)
{
    inet_ntop(AF_INET6, Address, String, INET6_ADDRSTRLEN);
    return String + strlen(String);
}
NTH_EXPORT(RtlIpv6AddressToStringA, 2);

/* length counts the terminator, going in and coming out, also when the buffer is too small. */
static LONG give_text(const char *text, PSTR string, PULONG length)
{
    const size_t bytes = strlen(text) + 1;
    const bool fits = string && length && *length >= bytes;

    if (fits)
        memcpy(string, text, bytes);
    if (length)
        *length = (ULONG)bytes;
    return fits ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

LONG NTAPI RtlIpv4AddressToStringExA(const struct in_addr *Address, USHORT Port, PSTR AddressString,
                                     PULONG AddressStringLength)
{
    char text[32];

    if (!Address)
        return STATUS_INVALID_PARAMETER;
    char *const end = RtlIpv4AddressToStringA(Address, text);
    if (Port)
        snprintf(end, sizeof(text) - (size_t)(end - text), ":%u", ntohs(Port));
    return give_text(text, AddressString, AddressStringLength);
}
NTH_EXPORT(RtlIpv4AddressToStringExA, 4);

LONG NTAPI RtlIpv6AddressToStringExA(const struct in6_addr *Address, ULONG ScopeId, USHORT Port,
                                     PSTR AddressString, PULONG AddressStringLength)
{
    char address[INET6_ADDRSTRLEN], scope[16] = "", text[96];

    if (!Address)
        return STATUS_INVALID_PARAMETER;
    RtlIpv6AddressToStringA(Address, address);
    if (ScopeId)
        snprintf(scope, sizeof(scope), "%%%u", ScopeId);
    if (Port)
        snprintf(text, sizeof(text), "[%s%s]:%u", address, scope, ntohs(Port));
    else
        snprintf(text, sizeof(text), "%s%s", address, scope);
    return give_text(text, AddressString, AddressStringLength);
}
NTH_EXPORT(RtlIpv6AddressToStringExA, 5);

/* ---- the system's version ---- */

/* The release that brought each NDIS version: "Overview of NDIS Versions". The machine answers NDIS
 * versions as 0x6001E for 6.30. */
static const struct release {
    uint16_t ndis_minor, major, minor;
    uint32_t build;
} releases[] = {
    {20, 6, 1, 7601},   {30, 6, 2, 9200},   {40, 6, 3, 9600},   {50, 10, 0, 10240},
    {51, 10, 0, 10586}, {60, 10, 0, 14393}, {70, 10, 0, 15063}, {80, 10, 0, 16299},
    {81, 10, 0, 17134}, {82, 10, 0, 17763}, {83, 10, 0, 18362}, {84, 10, 0, 19041},
    {85, 10, 0, 20348}, {86, 10, 0, 22000}, {87, 10, 0, 22621}, {88, 10, 0, 25398},
    {89, 10, 0, 26100},
};

static const struct release *release(void)
{
    const unsigned minor = nth_config.ndis_version & 0xFFFF;
    const struct release *best = &releases[sizeof(releases) / sizeof(releases[0]) - 1];

    if (nth_config.ndis_version == 0)
        return best;
    for (size_t i = sizeof(releases) / sizeof(releases[0]); i > 0; i--)
        if (releases[i - 1].ndis_minor >= minor)
            best = &releases[i - 1];
    return best;
}

void nth_os_version(uint32_t *major, uint32_t *minor, uint32_t *build)
{
    *major = release()->major;
    *minor = release()->minor;
    *build = release()->build;
}

enum { VER_NT_WORKSTATION_PRODUCT = 1, VER_PLATFORM_NT = 2 };

static void fill_version(RTL_OSVERSIONINFOEXW *version)
{
    memset(version, 0, sizeof(*version));
    nth_os_version(&version->dwMajorVersion, &version->dwMinorVersion, &version->dwBuildNumber);
    version->dwPlatformId = VER_PLATFORM_NT;
    version->wServicePackMajor = version->dwBuildNumber == 7601;
    version->wProductType = VER_NT_WORKSTATION_PRODUCT;
}

NTSTATUS NTAPI RtlGetVersion(PRTL_OSVERSIONINFOW VersionInformation)
{
    RTL_OSVERSIONINFOEXW version;
    const ULONG size = VersionInformation->dwOSVersionInfoSize;

    nth_irql_exactly(PASSIVE_LEVEL);
    fill_version(&version);
    version.dwOSVersionInfoSize = size;
    memcpy(VersionInformation, &version,
           size == sizeof(RTL_OSVERSIONINFOEXW) ? sizeof(RTL_OSVERSIONINFOEXW)
                                                : sizeof(RTL_OSVERSIONINFOW));
    return STATUS_SUCCESS;
}
NTH_EXPORT(RtlGetVersion, 1);

enum {
    TYPE_MINOR = 0x01,
    TYPE_MAJOR = 0x02,
    TYPE_BUILD = 0x04,
    TYPE_PLATFORM = 0x08,
    TYPE_SP_MINOR = 0x10,
    TYPE_SP_MAJOR = 0x20,
    TYPE_SUITE = 0x40,
    TYPE_PRODUCT = 0x80,
    CONDITION_BITS = 3,
};

enum { IS_EQUAL = 1, IS_GREATER, IS_GREATER_EQUAL, IS_LESS, IS_LESS_EQUAL, HAS_ALL, HAS_ONE };

/* Three bits for each type of comparison, at three times the type's bit number. */
ULONGLONG NTAPI VerSetConditionMask(ULONGLONG ConditionMask, ULONG TypeMask, UCHAR Condition)
{
    const ULONGLONG condition = Condition & 7;

    if (TypeMask == 0)
        return ConditionMask;
    const int highest = 31 - __builtin_clz(TypeMask & 0xFF ? TypeMask & 0xFF : 1);
    return ConditionMask | condition << highest * CONDITION_BITS;
}
NTH_EXPORT(VerSetConditionMask, 3);

static unsigned condition_of(ULONGLONG mask, ULONG type)
{
    return (unsigned)(mask >> __builtin_ctz(type) * CONDITION_BITS) & 7;
}

static bool holds(ULONG current, ULONG wanted, unsigned condition)
{
    switch (condition) {
    case IS_EQUAL:
        return current == wanted;
    case IS_GREATER:
        return current > wanted;
    case IS_GREATER_EQUAL:
        return current >= wanted;
    case IS_LESS:
        return current < wanted;
    case IS_LESS_EQUAL:
        return current <= wanted;
    default:
        return false;
    }
}

/* Major, minor, service pack: one number of several places, so that a higher place that differs
 * decides; the condition is that of the highest place compared. */
static bool version_holds(const RTL_OSVERSIONINFOEXW *now, const RTL_OSVERSIONINFOEXW *wanted,
                          ULONG types, ULONGLONG mask)
{
    const struct {
        ULONG type, current, wanted;
    } places[] = {
        {TYPE_MAJOR, now->dwMajorVersion, wanted->dwMajorVersion},
        {TYPE_MINOR, now->dwMinorVersion, wanted->dwMinorVersion},
        {TYPE_SP_MAJOR, now->wServicePackMajor, wanted->wServicePackMajor},
        {TYPE_SP_MINOR, now->wServicePackMinor, wanted->wServicePackMinor},
    };
    unsigned condition = 0;

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (!(types & places[i].type))
            continue;
        if (!condition)
            condition = condition_of(mask, places[i].type);
        if (places[i].current != places[i].wanted)
            return holds(places[i].current, places[i].wanted, condition);
    }
    return !condition || holds(0, 0, condition);
}

NTSTATUS NTAPI RtlVerifyVersionInfo(PRTL_OSVERSIONINFOEXW VersionInfo, ULONG TypeMask,
                                    ULONGLONG ConditionMask)
{
    RTL_OSVERSIONINFOEXW now;
    const ULONG places = TYPE_MAJOR | TYPE_MINOR | TYPE_SP_MAJOR | TYPE_SP_MINOR;

    nth_irql_exactly(PASSIVE_LEVEL);
    if (TypeMask == 0 || TypeMask > 0xFF)
        return STATUS_INVALID_PARAMETER;
    for (ULONG type = 1; type <= TYPE_PRODUCT; type <<= 1)
        if (TypeMask & type && condition_of(ConditionMask, type) == 0)
            return STATUS_INVALID_PARAMETER;
    fill_version(&now);
    bool is_met = !(TypeMask & places) || version_holds(&now, VersionInfo, TypeMask, ConditionMask);
    if (TypeMask & TYPE_BUILD)
        is_met = is_met && holds(now.dwBuildNumber, VersionInfo->dwBuildNumber,
                                 condition_of(ConditionMask, TYPE_BUILD));
    if (TypeMask & TYPE_PLATFORM)
        is_met = is_met && holds(now.dwPlatformId, VersionInfo->dwPlatformId,
                                 condition_of(ConditionMask, TYPE_PLATFORM));
    if (TypeMask & TYPE_PRODUCT)
        is_met = is_met && holds(now.wProductType, VersionInfo->wProductType,
                                 condition_of(ConditionMask, TYPE_PRODUCT));
    if (TypeMask & TYPE_SUITE) /* no suite is installed */
        is_met = is_met && VersionInfo->wSuiteMask == 0;
    return is_met ? STATUS_SUCCESS : STATUS_REVISION_MISMATCH;
}
NTH_EXPORT(RtlVerifyVersionInfo, 3);

/* ---- extended processor state ---- */

static ULONG64 enabled_features(void)
{
    unsigned a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return 3; /* legacy floating point and SSE */
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (ULONG64)d << 32 | a;
}

ULONG64 NTAPI RtlGetEnabledExtendedFeatures(ULONG64 FeatureMask)
{
    return enabled_features() & FeatureMask;
}
NTH_EXPORT(RtlGetEnabledExtendedFeatures, 1);
