/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Configuration of adapters and drivers (ndis/config.c). Pages: NdisOpenConfigurationEx,
 * NdisReadConfiguration, NdisWriteConfiguration, NdisReadNetworkAddress.
 */
#include "puppet.h"

static const char *const keys[] = {"Speed=0x1F", "Count:d=7", "Text=some words",
                                   "Decimal=42", "Odd=4x",    "NetworkAddress=02-0a-0B0c0D0e",
                                   NULL};

static struct puppet plug_keys(void)
{
    const struct nth_device_config config = {.keys = keys};

    return plug_with(&config);
}

static NDIS_HANDLE open_of(NDIS_HANDLE handle)
{
    NDIS_CONFIGURATION_OBJECT object = {
        .Header = {NDIS_OBJECT_TYPE_CONFIGURATION_OBJECT, NDIS_CONFIGURATION_OBJECT_REVISION_1,
                   NDIS_SIZEOF_CONFIGURATION_OBJECT_REVISION_1},
        .NdisHandle = handle,
    };
    NDIS_HANDLE result = NULL;

    CHECK_STATUS(STATUS_OF(CALL(NdisOpenConfigurationEx, P(&object), P(&result))), 0);
    return result;
}

static UNICODE_STRING wide(const char *text)
{
    static WCHAR buffers[4][64];
    static int next;
    WCHAR *buffer = buffers[next++ % 4];
    USHORT n = 0;

    for (; text[n]; n++)
        buffer[n] = (UCHAR)text[n];
    return (UNICODE_STRING){n * 2, n * 2, buffer};
}

static NDIS_STATUS get(NDIS_HANDLE c, const char *name, NDIS_PARAMETER_TYPE type,
                       NDIS_CONFIGURATION_PARAMETER **value)
{
    UNICODE_STRING keyword = wide(name);
    NDIS_STATUS status = NDIS_STATUS_PENDING;

    CALL(NdisReadConfiguration, P(&status), P(value), P(c), P(&keyword), type);
    return status;
}

/* Integers as REG_DWORD and as strings, decimal and hexadecimal: "NdisParameterHexInteger results
 * in NdisParameterInteger". */
TEST(config_integers_are_read)
{
    NDIS_CONFIGURATION_PARAMETER *v;

    boot();
    struct puppet p = plug_keys();
    NDIS_HANDLE c = open_of(S.Adapter);
    CHECK_STATUS(get(c, "Count", NdisParameterInteger, &v), NDIS_STATUS_SUCCESS);
    CHECK_EQ(v->ParameterType, NdisParameterInteger);
    CHECK_EQ(v->ParameterData.IntegerData, 7);
    CHECK_STATUS(get(c, "Decimal", NdisParameterInteger, &v), NDIS_STATUS_SUCCESS);
    CHECK_EQ(v->ParameterData.IntegerData, 42);
    CHECK_STATUS(get(c, "Speed", NdisParameterHexInteger, &v), NDIS_STATUS_SUCCESS);
    CHECK_EQ(v->ParameterData.IntegerData, 0x1F);
    CHECK_STATUS(get(c, "NdisVersion", NdisParameterInteger, &v), NDIS_STATUS_SUCCESS);
    CHECK_EQ(v->ParameterData.IntegerData, 0x60059);
    CHECK_STATUS(get(c, "Odd", NdisParameterInteger, &v), NDIS_STATUS_FAILURE);
    CHECK(!v);
    CALL(NdisCloseConfiguration, P(c));
    unplug(&p);
}

/* "NDIS_STATUS_FAILURE: the requested information could not be found". */
TEST(config_missing_value_is_a_failure)
{
    NDIS_CONFIGURATION_PARAMETER *v;

    boot();
    struct puppet p = plug_keys();
    NDIS_HANDLE c = open_of(S.Adapter);
    CHECK_STATUS(get(c, "Nothing", NdisParameterInteger, &v), NDIS_STATUS_FAILURE);
    CALL(NdisCloseConfiguration, P(c));
    unplug(&p);
}

TEST(config_string_is_read_without_terminator)
{
    NDIS_CONFIGURATION_PARAMETER *v;

    boot();
    struct puppet p = plug_keys();
    NDIS_HANDLE c = open_of(S.Adapter);
    CHECK_STATUS(get(c, "Text", NdisParameterString, &v), NDIS_STATUS_SUCCESS);
    CHECK_EQ(v->ParameterType, NdisParameterString);
    CHECK_EQ(v->ParameterData.StringData.Length, 2 * strlen("some words"));
    CHECK_EQ(v->ParameterData.StringData.Buffer[5], 'w');
    CALL(NdisCloseConfiguration, P(c));
    unplug(&p);
}

/* "Discards hyphens and converts each pair into a single byte". */
TEST(config_network_address_is_parsed)
{
    static const UCHAR expected[] = {2, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e};
    NDIS_STATUS status = NDIS_STATUS_PENDING;
    UCHAR *address = NULL;
    UINT bytes = 0;

    boot();
    struct puppet p = plug_keys();
    NDIS_HANDLE c = open_of(S.Adapter);
    CALL(NdisReadNetworkAddress, P(&status), P(&address), P(&bytes), P(c));
    CHECK_STATUS(status, NDIS_STATUS_SUCCESS);
    CHECK_EQ(bytes, 6);
    CHECK_MEM(address, expected, 6);
    CALL(NdisCloseConfiguration, P(c));
    unplug(&p);
}

/* "If this is a new entry, the name at Keyword also was written". */
TEST(config_written_value_is_read_again)
{
    NDIS_CONFIGURATION_PARAMETER in = {.ParameterType = NdisParameterInteger}, *v;
    UNICODE_STRING keyword = wide("New");
    NDIS_STATUS status = NDIS_STATUS_PENDING;

    boot();
    struct puppet p = plug_keys();
    NDIS_HANDLE c = open_of(S.Adapter);
    in.ParameterData.IntegerData = 99;
    CALL(NdisWriteConfiguration, P(&status), P(c), P(&keyword), P(&in));
    CHECK_STATUS(status, NDIS_STATUS_SUCCESS);
    CALL(NdisCloseConfiguration, P(c));
    c = open_of(S.Adapter);
    CHECK_STATUS(get(c, "New", NdisParameterInteger, &v), NDIS_STATUS_SUCCESS);
    CHECK_EQ(v->ParameterData.IntegerData, 99);
    in.ParameterType = (NDIS_PARAMETER_TYPE)77;
    CALL(NdisWriteConfiguration, P(&status), P(c), P(&keyword), P(&in));
    CHECK_STATUS(status, NDIS_STATUS_NOT_SUPPORTED);
    CALL(NdisCloseConfiguration, P(c));
    unplug(&p);
}

/* A handle of the driver opens the service's parameters, not the adapter's key. */
TEST(config_of_the_driver_is_apart)
{
    NDIS_CONFIGURATION_PARAMETER *v;

    boot();
    struct puppet p = plug_keys();
    NDIS_HANDLE c = open_of(S.Driver);
    CHECK_STATUS(get(c, "Count", NdisParameterInteger, &v), NDIS_STATUS_FAILURE);
    CALL(NdisCloseConfiguration, P(c));
    unplug(&p);
}

/* "Set the Size member to NDIS_SIZEOF_CONFIGURATION_OBJECT_REVISION_1". */
TEST(config_wrong_header_is_a_failure)
{
    NDIS_CONFIGURATION_OBJECT object = {.Header = {NDIS_OBJECT_TYPE_CONFIGURATION_OBJECT, 1, 4}};
    NDIS_HANDLE c = PTR(1);

    boot();
    struct puppet p = plug();
    object.NdisHandle = S.Adapter;
    CHECK_STATUS(STATUS_OF(CALL(NdisOpenConfigurationEx, P(&object), P(&c))), NDIS_STATUS_FAILURE);
    CHECK(!c);
    unplug(&p);
}

/* "The driver must call NdisCloseConfiguration". */
TEST(config_left_open_at_halt_is_caught)
{
    boot();
    struct puppet p = plug();
    open_of(S.Adapter);
    nth_expect_stop("leak");
    nth_unplug(p.device);
    CHECK(!"not caught");
}

/* IRQL = PASSIVE_LEVEL. */
TEST(config_at_dispatch_is_caught)
{
    boot();
    plug();
    NDIS_HANDLE c = open_of(S.Adapter);
    S.RunAtDispatch = 1;
    nth_expect_stop("irql-too-high");
    CALL(NdisCloseConfiguration, P(c));
    CHECK(!"not caught");
}

/* NdisWriteErrorLogEntry takes any number of values; it leaves no trace but in the log. */
TEST(error_log_entry_is_taken)
{
    boot();
    struct puppet p = plug();
    CALL(NdisWriteErrorLogEntry, P(S.Adapter), (uint32_t)NDIS_ERROR_CODE_DRIVER_FAILURE, 2, 3, 4);
    unplug(&p);
}

static void read_for_ever(void *configuration)
{
    NDIS_CONFIGURATION_PARAMETER *value;
    UNICODE_STRING keyword = wide("Count");
    NDIS_STATUS status;

    for (;;)
        NdisReadConfiguration(&status, &value, configuration, &keyword, NdisParameterInteger);
}

/* NdisReadConfiguration: "must be invoked serially with respect to itself and the
 * NdisWriteConfiguration function". */
TEST(config_in_two_threads_is_caught)
{
    boot_with((struct nth_config){.mode = NTH_PARALLEL});
    plug_keys();
    NDIS_HANDLE c = open_of(S.Adapter);
    nth_expect_stop("config-not-serial");
    nth_thread_detach(nth_thread_create("reader", read_for_ever, c, NULL));
    read_for_ever(c);
}
