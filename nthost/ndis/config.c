/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Configuration: values of the adapter's driver key and of the service's parameters. What NDIS
 * hands out lives until the configuration is closed.
 */
#include "ndis/private.h"

#include <string.h>

enum { VALUE_MAX = 4096, PATH_MAX_CHARS = 512, NAME_MAX_CHARS = 256 };

/* Memory lent to the driver with a configuration. */
struct lent {
    struct lent *next;
    DECLSPEC_ALIGN(16) UCHAR data[];
};

struct configuration {
    struct ndis_object object;
    struct nth_adapter *adapter; /* NULL: the driver's */
    LONG in_use;                 /* reads and writes "must be invoked serially"; atomic */
    struct lent *lent;
    char path[PATH_MAX_CHARS];
};

static bool narrow(char *to, size_t chars, const UNICODE_STRING *from)
{
    const size_t n = from->Length / sizeof(WCHAR);

    if (n + 1 > chars)
        return false;
    for (size_t i = 0; i < n; i++)
        to[i] = from->Buffer[i] < 0x80 ? (char)from->Buffer[i] : '?';
    to[n] = 0;
    return true;
}

static bool find_path(struct configuration *c, NDIS_HANDLE handle)
{
    const struct ndis_object *object = handle;

    if (object && object->kind == NDIS_KIND_DRIVER) {
        const struct ndis_driver *driver = handle;
        char service[PATH_MAX_CHARS - 16];
        if (!narrow(service, sizeof(service), &driver->registry_path))
            return false;
        ndis_join(c->path, sizeof(c->path), service, "\\Parameters");
        return true;
    }
    c->adapter = ndis_adapter(handle);
    const char *key = ndis_key_of(c->adapter->pdo);
    if (key)
        ndis_join(c->path, sizeof(c->path), key, "");
    return key != NULL;
}

NDIS_STATUS NTAPI NdisOpenConfigurationEx(PNDIS_CONFIGURATION_OBJECT ConfigObject,
                                          PNDIS_HANDLE ConfigurationHandle)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    static const USHORT sizes[] = {NDIS_SIZEOF_CONFIGURATION_OBJECT_REVISION_1};

    *ConfigurationHandle = NULL;
    if (!ndis_header_is(&ConfigObject->Header, NDIS_OBJECT_TYPE_CONFIGURATION_OBJECT, 1, sizes))
        return NDIS_STATUS_FAILURE;
    if (ConfigObject->Flags)
        return NDIS_STATUS_FAILURE; /* the one flag is for filters */
    if (nth_fault(NTH_FAULT_NDIS, "NdisOpenConfigurationEx"))
        return NDIS_STATUS_RESOURCES;
    struct configuration *c = ndis_alloc(sizeof(*c));
    if (!c)
        return NDIS_STATUS_RESOURCES;
    if (!find_path(c, ConfigObject->NdisHandle)) {
        ndis_free(c);
        return NDIS_STATUS_FAILURE;
    }
    ndis_object_add(&c->object, NDIS_KIND_CONFIG, ConfigObject->NdisHandle,
                    "NdisOpenConfigurationEx");
    *ConfigurationHandle = c;
    return NDIS_STATUS_SUCCESS;
}
NTH_EXPORT(NdisOpenConfigurationEx, 2);

/* NDIS 5's form; an NDIS 6 miniport has no WrapperConfigurationContext but its adapter handle. */
VOID NTAPI NdisOpenConfiguration(PNDIS_STATUS Status, PNDIS_HANDLE ConfigurationHandle,
                                 NDIS_HANDLE WrapperConfigurationContext)
{
    NDIS_CONFIGURATION_OBJECT object = {
        .Header = {NDIS_OBJECT_TYPE_CONFIGURATION_OBJECT, NDIS_CONFIGURATION_OBJECT_REVISION_1,
                   NDIS_SIZEOF_CONFIGURATION_OBJECT_REVISION_1},
        .NdisHandle = WrapperConfigurationContext,
    };

    *Status = NdisOpenConfigurationEx(&object, ConfigurationHandle);
}
NTH_EXPORT(NdisOpenConfiguration, 3);

VOID NTAPI NdisCloseConfiguration(NDIS_HANDLE ConfigurationHandle)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    struct configuration *c = ndis_object_check(ConfigurationHandle, NDIS_KIND_CONFIG);

    for (struct lent *l = c->lent, *next; l; l = next) {
        next = l->next;
        ndis_free(l);
    }
    ndis_object_remove(&c->object);
    ndis_free(c);
}
NTH_EXPORT(NdisCloseConfiguration, 1);

static void *lend(struct configuration *c, ULONG bytes)
{
    struct lent *l = ndis_alloc(sizeof(*l) + bytes);

    if (!l)
        return NULL;
    l->next = c->lent;
    c->lent = l;
    return l->data;
}

static struct configuration *enter(NDIS_HANDLE handle)
{
    struct configuration *c = ndis_object_check(handle, NDIS_KIND_CONFIG);

    if (__atomic_exchange_n(&c->in_use, 1, __ATOMIC_SEQ_CST))
        nth_stop("config-not-serial", "two threads use one configuration at once");
    return c;
}

static void leave(struct configuration *c)
{
    __atomic_store_n(&c->in_use, 0, __ATOMIC_SEQ_CST);
}

/* ---- read ---- */

static ULONG digit(WCHAR c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? (ULONG)c - 'a' + 10 : 16;
}

/* A REG_SZ read as an integer is converted, as keywords written by an INF are strings. */
static bool to_integer(const WCHAR *text, ULONG chars, ULONG base, ULONG *value)
{
    ULONG i = 0;

    *value = 0;
    if (base == 16 && chars > 2 && text[0] == '0' && (text[1] | 0x20) == 'x')
        i = 2;
    for (; i < chars && text[i]; i++) {
        if (digit(text[i]) >= base)
            return false;
        *value = *value * base + digit(text[i]);
    }
    return i != 0;
}

static NDIS_STATUS fill_string(struct configuration *c, NDIS_CONFIGURATION_PARAMETER *p,
                               const void *data, ULONG bytes)
{
    WCHAR *text = lend(c, bytes + sizeof(WCHAR));

    if (!text)
        return NDIS_STATUS_RESOURCES;
    memcpy(text, data, bytes);
    while (p->ParameterType == NdisParameterString && bytes >= sizeof(WCHAR) &&
           !text[bytes / sizeof(WCHAR) - 1])
        bytes -= sizeof(WCHAR);
    p->ParameterData.StringData.Buffer = text;
    p->ParameterData.StringData.Length = (USHORT)bytes;
    p->ParameterData.StringData.MaximumLength = (USHORT)(bytes + sizeof(WCHAR));
    return NDIS_STATUS_SUCCESS;
}

static NDIS_STATUS fill(struct configuration *c, NDIS_CONFIGURATION_PARAMETER *p, ULONG type,
                        const void *data, ULONG bytes, NDIS_PARAMETER_TYPE wanted)
{
    const bool wants_number = wanted == NdisParameterInteger || wanted == NdisParameterHexInteger;

    switch (type) {
    case REG_DWORD:
        p->ParameterType = NdisParameterInteger;
        memcpy(&p->ParameterData.IntegerData, data, sizeof(ULONG));
        return NDIS_STATUS_SUCCESS;
    case REG_SZ:
        if (wants_number) {
            p->ParameterType = NdisParameterInteger;
            return to_integer(data, bytes / sizeof(WCHAR), wanted == NdisParameterInteger ? 10 : 16,
                              &p->ParameterData.IntegerData)
                       ? NDIS_STATUS_SUCCESS
                       : NDIS_STATUS_FAILURE;
        }
        p->ParameterType = NdisParameterString;
        return fill_string(c, p, data, bytes);
    case REG_MULTI_SZ:
        p->ParameterType = NdisParameterMultiString;
        return fill_string(c, p, data, bytes);
    case REG_BINARY:
        p->ParameterType = NdisParameterBinary;
        p->ParameterData.BinaryData.Buffer = lend(c, bytes);
        p->ParameterData.BinaryData.Length = (USHORT)bytes;
        if (!p->ParameterData.BinaryData.Buffer)
            return NDIS_STATUS_RESOURCES;
        memcpy(p->ParameterData.BinaryData.Buffer, data, bytes);
        return NDIS_STATUS_SUCCESS;
    default:
        return NDIS_STATUS_FAILURE;
    }
}

static NDIS_STATUS read_value(struct configuration *c, const char *name, NDIS_PARAMETER_TYPE wanted,
                              NDIS_CONFIGURATION_PARAMETER **result)
{
    DECLSPEC_ALIGN(8) UCHAR data[VALUE_MAX];
    ULONG type = 0, bytes = sizeof(data);
    NDIS_CONFIGURATION_PARAMETER *p = lend(c, sizeof(*p));

    if (!p)
        return NDIS_STATUS_RESOURCES;
    *result = p;
    if (strcmp(name, "NdisVersion") == 0) {
        p->ParameterType = NdisParameterInteger;
        p->ParameterData.IntegerData = ndis_system_version();
        return NDIS_STATUS_SUCCESS;
    }
    if (strcmp(name, "ProcessorType") == 0)
        nth_stop("not-provided", "NdisReadConfiguration: the keyword ProcessorType");
    if (!NT_SUCCESS(ndis_key_get(c->path, name, &type, data, &bytes)))
        return NDIS_STATUS_FAILURE;
    return fill(c, p, type, data, bytes, wanted);
}

VOID NTAPI NdisReadConfiguration(PNDIS_STATUS Status, PNDIS_CONFIGURATION_PARAMETER *ParameterValue,
                                 NDIS_HANDLE ConfigurationHandle, PNDIS_STRING Keyword,
                                 NDIS_PARAMETER_TYPE ParameterType)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    struct configuration *c = enter(ConfigurationHandle);
    char name[NAME_MAX_CHARS];

    *ParameterValue = NULL;
    if (nth_fault(NTH_FAULT_NDIS, "NdisReadConfiguration"))
        *Status = NDIS_STATUS_RESOURCES;
    else if (!narrow(name, sizeof(name), Keyword))
        *Status = NDIS_STATUS_FAILURE;
    else
        *Status = read_value(c, name, ParameterType, ParameterValue);
    if (*Status != NDIS_STATUS_SUCCESS)
        *ParameterValue = NULL;
    leave(c);
}
NTH_EXPORT(NdisReadConfiguration, 5);

/* Hexadecimal digits, hyphens between them skipped. */
static NDIS_STATUS parse_address(struct configuration *c, const UNICODE_STRING *text,
                                 void **address, UINT *bytes)
{
    const ULONG chars = text->Length / sizeof(WCHAR);
    UCHAR *to = lend(c, chars + 1);
    ULONG nibbles = 0;

    if (!to)
        return NDIS_STATUS_FAILURE;
    for (ULONG i = 0; i < chars; i++) {
        if (text->Buffer[i] == '-')
            continue;
        const ULONG value = digit(text->Buffer[i]);
        if (value == 16)
            return NDIS_STATUS_FAILURE;
        to[nibbles / 2] = (UCHAR)(to[nibbles / 2] << 4 | value);
        nibbles++;
    }
    *address = to;
    *bytes = nibbles / 2;
    return nibbles && nibbles % 2 == 0 ? NDIS_STATUS_SUCCESS : NDIS_STATUS_FAILURE;
}

VOID NTAPI NdisReadNetworkAddress(PNDIS_STATUS Status, PVOID *NetworkAddress,
                                  PUINT NetworkAddressLength, NDIS_HANDLE ConfigurationHandle)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    struct configuration *c = enter(ConfigurationHandle);
    NDIS_CONFIGURATION_PARAMETER *p;

    *Status = read_value(c, "NetworkAddress", NdisParameterString, &p);
    if (*Status == NDIS_STATUS_SUCCESS && p->ParameterType != NdisParameterString)
        *Status = NDIS_STATUS_FAILURE;
    if (*Status == NDIS_STATUS_SUCCESS)
        *Status =
            parse_address(c, &p->ParameterData.StringData, NetworkAddress, NetworkAddressLength);
    leave(c);
}
NTH_EXPORT(NdisReadNetworkAddress, 4);

/* ---- write ---- */

static NDIS_STATUS write_string(struct configuration *c, const char *name, ULONG type,
                                const UNICODE_STRING *s)
{
    UCHAR data[VALUE_MAX];

    if ((size_t)s->Length + 2 * sizeof(WCHAR) > sizeof(data))
        return NDIS_STATUS_RESOURCES;
    memset(data, 0, sizeof(data));
    memcpy(data, s->Buffer, s->Length);
    return NT_SUCCESS(ndis_key_set(c->path, name, type, data, s->Length + sizeof(WCHAR)))
               ? NDIS_STATUS_SUCCESS
               : NDIS_STATUS_FAILURE;
}

static NDIS_STATUS write_value(struct configuration *c, const char *name,
                               const NDIS_CONFIGURATION_PARAMETER *p)
{
    NTSTATUS status;

    switch (p->ParameterType) {
    case NdisParameterInteger:
    case NdisParameterHexInteger:
        status =
            ndis_key_set(c->path, name, REG_DWORD, &p->ParameterData.IntegerData, sizeof(ULONG));
        break;
    case NdisParameterString:
        return write_string(c, name, REG_SZ, &p->ParameterData.StringData);
    case NdisParameterMultiString:
        return write_string(c, name, REG_MULTI_SZ, &p->ParameterData.StringData);
    case NdisParameterBinary:
        status = ndis_key_set(c->path, name, REG_BINARY, p->ParameterData.BinaryData.Buffer,
                              p->ParameterData.BinaryData.Length);
        break;
    default:
        return NDIS_STATUS_NOT_SUPPORTED;
    }
    return NT_SUCCESS(status) ? NDIS_STATUS_SUCCESS : NDIS_STATUS_FAILURE;
}

VOID NTAPI NdisWriteConfiguration(PNDIS_STATUS Status, NDIS_HANDLE ConfigurationHandle,
                                  PNDIS_STRING Keyword,
                                  PNDIS_CONFIGURATION_PARAMETER ParameterValue)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    struct configuration *c = enter(ConfigurationHandle);
    char name[NAME_MAX_CHARS];

    if (nth_fault(NTH_FAULT_NDIS, "NdisWriteConfiguration"))
        *Status = NDIS_STATUS_RESOURCES;
    else if (!narrow(name, sizeof(name), Keyword))
        *Status = NDIS_STATUS_FAILURE;
    else
        *Status = write_value(c, name, ParameterValue);
    leave(c);
}
NTH_EXPORT(NdisWriteConfiguration, 4);

/* ---- the event log ---- */

/* The log of the simulated machine is its trace. */
VOID NTAPI NdisWriteErrorLogEntry(NDIS_HANDLE NdisAdapterHandle, ULONG ErrorCode,
                                  ULONG NumberOfErrorValues, ...)
{
    nth_irql_max(DISPATCH_LEVEL);
    const struct nth_adapter *a = ndis_object_check(NdisAdapterHandle, NDIS_KIND_ADAPTER);

    nth_trace("ndis: adapter %u logs error 0x%08x with %u values", a->index, ErrorCode,
              NumberOfErrorValues);
}
NTH_EXPORT(NdisWriteErrorLogEntry, NTH_VARIADIC);
