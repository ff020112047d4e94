/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Miniport drivers: registration and what it checks, optional handlers, versions, and the adapter
 * attributes a driver sets while it initialises. Nothing here calls a driver but
 * MiniportSetOptions.
 */
#include "ndis/private.h"

#include <string.h>

ULONG ndis_system_version(void)
{
    return nth_config.ndis_version ? nth_config.ndis_version : 0x00060059;
}

UINT NTAPI NdisGetVersion(void)
{
    nth_irql_max(DISPATCH_LEVEL);
    return ndis_system_version();
}
NTH_EXPORT(NdisGetVersion, 0);

/* ---- registration ---- */

/* Minor versions of the table in NDIS_MINIPORT_DRIVER_CHARACTERISTICS and of "Overview of NDIS
 * versions". */
static bool version_exists(UCHAR major, UCHAR minor)
{
    static const UCHAR minors[] = {0,  1,  20, 30, 40, 50, 51, 60, 70, 80,
                                   81, 82, 83, 84, 85, 86, 87, 88, 89};

    for (size_t i = 0; major == 6 && i < ARRAYSIZE(minors); i++)
        if (minors[i] == minor)
            return true;
    return false;
}

static NDIS_STATUS check_version(const NDIS_MINIPORT_DRIVER_CHARACTERISTICS *c)
{
    const ULONG wanted = (ULONG)c->MajorNdisVersion << 16 | c->MinorNdisVersion;

    if (!version_exists(c->MajorNdisVersion, c->MinorNdisVersion) || wanted > ndis_system_version())
        return NDIS_STATUS_BAD_VERSION;
    return NDIS_STATUS_SUCCESS;
}

/* "Required" in NDIS_MINIPORT_DRIVER_CHARACTERISTICS. */
static bool has_required_handlers(const NDIS_MINIPORT_DRIVER_CHARACTERISTICS *c)
{
    return c->InitializeHandlerEx && c->HaltHandlerEx && c->UnloadHandler && c->PauseHandler &&
           c->RestartHandler && c->OidRequestHandler && c->SendNetBufferListsHandler &&
           c->ReturnNetBufferListsHandler && c->CancelSendHandler &&
           c->DevicePnPEventNotifyHandler && c->ShutdownHandlerEx && c->CancelOidRequestHandler;
}

static NDIS_STATUS copy_characteristics(struct ndis_driver *driver,
                                        const NDIS_MINIPORT_DRIVER_CHARACTERISTICS *given)
{
    static const USHORT sizes[] = {NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_1,
                                   NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2,
                                   NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_3};
    NDIS_MINIPORT_DRIVER_CHARACTERISTICS *c = &driver->handlers;
    const ULONG version = (ULONG)given->MajorNdisVersion << 16 | given->MinorNdisVersion;
    const UCHAR known = version >= 0x60050 ? 3 : version >= 0x60001 ? 2 : 1;

    if (!ndis_header_is(&given->Header, NDIS_OBJECT_TYPE_MINIPORT_DRIVER_CHARACTERISTICS, known,
                        sizes))
        return NDIS_STATUS_BAD_CHARACTERISTICS;
    memcpy(c, given, sizes[given->Header.Revision - 1]);
    if (!has_required_handlers(c) || (c->CheckForHangHandlerEx && !c->ResetHandlerEx) ||
        !c->DirectOidRequestHandler != !c->CancelDirectOidRequestHandler)
        return NDIS_STATUS_BAD_CHARACTERISTICS;
    if (c->Flags & NDIS_INTERMEDIATE_DRIVER)
        nth_stop("not-provided", "NdisMRegisterMiniportDriver: intermediate drivers");
    if (c->Flags & ~(ULONG)NDIS_WDM_DRIVER)
        return NDIS_STATUS_BAD_CHARACTERISTICS;
    driver->version = version;
    return NDIS_STATUS_SUCCESS;
}

static bool is_of(const struct ndis_object *object, const void *driver)
{
    return CONTAINING_RECORD(object, struct ndis_driver, object)->driver == driver;
}

struct ndis_driver *ndis_driver_of(const DRIVER_OBJECT *driver)
{
    struct ndis_object *object = ndis_object_find(NDIS_KIND_DRIVER, is_of, driver);

    return object ? CONTAINING_RECORD(object, struct ndis_driver, object) : NULL;
}

/* Drivers may replace the entries afterwards and call these; so what they find there must be a
 * function that may be called from driver code. */
NTH_EXPORT_AS(ndis_dispatch, "NdispDispatch", ndis_dispatch, 2);
NTH_EXPORT_AS(ndis_add_device, "NdispAddDevice", ndis_add_device, 2);
NTH_EXPORT_AS(ndis_unload, "NdispUnload", ndis_unload, 1);

static void hook_driver_object(struct ndis_driver *driver)
{
    DRIVER_OBJECT *object = driver->driver;

    for (int i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
        object->MajorFunction[i] = (PDRIVER_DISPATCH)ndis_callable("NdispDispatch");
    object->DriverExtension->AddDevice = (PDRIVER_ADD_DEVICE)ndis_callable("NdispAddDevice");
    object->DriverUnload = (PDRIVER_UNLOAD)ndis_callable("NdispUnload");
}

/* Real ndis.sys takes DriverUnload and calls the handler given at registration. */
void NTAPI ndis_unload(DRIVER_OBJECT *object)
{
    struct ndis_driver *driver = ndis_driver_of(object);

    if (!driver)
        return;
    const struct ndis_callout call = ndis_callout("MiniportDriverUnload");
    driver->handlers.UnloadHandler(object);
    ndis_callout_end(&call);
    if (ndis_driver_of(object))
        nth_stop("deregister-missing",
                 "MiniportDriverUnload returned without NdisMDeregisterMiniportDriver");
}

static void destroy_driver(struct ndis_driver *driver)
{
    driver->driver->DriverUnload = NULL;
    driver->driver->DriverExtension->AddDevice = NULL;
    ndis_object_remove(&driver->object);
    ndis_free(driver->registry_path.Buffer);
    ndis_free(driver);
}

static bool copy_string(UNICODE_STRING *to, const UNICODE_STRING *from)
{
    to->Buffer = ndis_alloc(from->Length + sizeof(WCHAR));
    if (!to->Buffer)
        return false;
    memcpy(to->Buffer, from->Buffer, from->Length);
    to->Length = from->Length;
    to->MaximumLength = from->Length + sizeof(WCHAR);
    return true;
}

static NDIS_STATUS set_options(struct ndis_driver *driver)
{
    if (!driver->handlers.SetOptionsHandler)
        return NDIS_STATUS_SUCCESS;
    driver->in_set_options = true;
    const struct ndis_callout call = ndis_callout("MiniportSetOptions");
    const NDIS_STATUS status = driver->handlers.SetOptionsHandler(driver, driver->context);
    ndis_callout_end(&call);
    driver->in_set_options = false;
    return status;
}

NDIS_STATUS NTAPI NdisMRegisterMiniportDriver(PDRIVER_OBJECT DriverObject,
                                              PUNICODE_STRING RegistryPath,
                                              NDIS_HANDLE MiniportDriverContext,
                                              PNDIS_MINIPORT_DRIVER_CHARACTERISTICS Characteristics,
                                              PNDIS_HANDLE NdisMiniportDriverHandle)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    NDIS_STATUS status = check_version(Characteristics);
    if (status != NDIS_STATUS_SUCCESS)
        return status;
    if (ndis_driver_of(DriverObject))
        return NDIS_STATUS_FAILURE;
    if (nth_fault(NTH_FAULT_REGISTER, "NdisMRegisterMiniportDriver"))
        return NDIS_STATUS_RESOURCES;
    struct ndis_driver *driver = ndis_alloc(sizeof(*driver));
    if (!driver)
        return NDIS_STATUS_RESOURCES;
    driver->driver = DriverObject;
    driver->context = MiniportDriverContext;
    status = copy_characteristics(driver, Characteristics);
    if (status == NDIS_STATUS_SUCCESS && !copy_string(&driver->registry_path, RegistryPath))
        status = NDIS_STATUS_RESOURCES;
    if (status != NDIS_STATUS_SUCCESS) {
        ndis_free(driver->registry_path.Buffer);
        ndis_free(driver);
        return status;
    }
    ndis_object_add(&driver->object, NDIS_KIND_DRIVER, NULL, "NdisMRegisterMiniportDriver");
    hook_driver_object(driver);
    *NdisMiniportDriverHandle = driver;
    nth_trace("ndis: driver registered for NDIS %u.%u", driver->version >> 16,
              driver->version & 0xFFFF);
    status = set_options(driver);
    if (status != NDIS_STATUS_SUCCESS)
        destroy_driver(driver);
    return status;
}
NTH_EXPORT(NdisMRegisterMiniportDriver, 5);

VOID NTAPI NdisMDeregisterMiniportDriver(NDIS_HANDLE NdisMiniportDriverHandle)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    struct ndis_driver *driver = ndis_object_check(NdisMiniportDriverHandle, NDIS_KIND_DRIVER);

    if (__atomic_load_n(&driver->adapters, __ATOMIC_SEQ_CST))
        nth_stop("deregister-with-adapters", "%d adapters are still there", driver->adapters);
    ndis_object_sweep(driver, "NdisMDeregisterMiniportDriver");
    nth_trace("ndis: driver deregistered");
    destroy_driver(driver);
}
NTH_EXPORT(NdisMDeregisterMiniportDriver, 1);

NDIS_STATUS NTAPI NdisSetOptionalHandlers(NDIS_HANDLE NdisHandle,
                                          PNDIS_OBJECT_HEADER OptionalHandlers)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    static const USHORT pnp_sizes[] = {NDIS_SIZEOF_MINIPORT_PNP_CHARACTERISTICS_REVISION_1};
    struct ndis_driver *driver = ndis_object_check(NdisHandle, NDIS_KIND_DRIVER);
    const NDIS_OBJECT_HEADER *header = OptionalHandlers;

    if (!driver->in_set_options)
        nth_stop("optional-handlers-context", "called outside MiniportSetOptions");
    if (header->Type != NDIS_OBJECT_TYPE_MINIPORT_PNP_CHARACTERISTICS)
        nth_stop("not-provided", "NdisSetOptionalHandlers: object type 0x%02x", header->Type);
    if (!ndis_header_is(header, NDIS_OBJECT_TYPE_MINIPORT_PNP_CHARACTERISTICS, 1, pnp_sizes))
        return NDIS_STATUS_FAILURE;
    memcpy(&driver->pnp, OptionalHandlers, pnp_sizes[0]);
    driver->has_pnp = true;
    return NDIS_STATUS_SUCCESS;
}
NTH_EXPORT(NdisSetOptionalHandlers, 2);

/* ---- attributes ---- */

static ULONG known_revision(const struct nth_adapter *a, ULONG since_620, ULONG since_630)
{
    return a->driver->version >= 0x6001E ? since_630 : since_620;
}

static NDIS_STATUS set_registration(struct nth_adapter *a,
                                    const NDIS_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES *r)
{
    static const USHORT sizes[] = {NDIS_SIZEOF_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1,
                                   NDIS_SIZEOF_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_2};

    if (!ndis_header_is(&r->Header, NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES,
                        known_revision(a, 1, 2), sizes))
        return NDIS_STATUS_BAD_VERSION;
    memcpy(&a->registration, r, sizes[r->Header.Revision - 1]);
    a->context = r->MiniportAdapterContext;
    a->has_registration = true;
    return NDIS_STATUS_SUCCESS;
}

static void take_link(struct nth_adapter *a)
{
    const NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES *g = &a->general;

    a->link = (NDIS_LINK_STATE){
        .Header = {NDIS_OBJECT_TYPE_DEFAULT, NDIS_LINK_STATE_REVISION_1,
                   NDIS_SIZEOF_LINK_STATE_REVISION_1},
        .MediaConnectState = g->MediaConnectState,
        .MediaDuplexState = g->MediaDuplexState,
        .XmitLinkSpeed = g->XmitLinkSpeed,
        .RcvLinkSpeed = g->RcvLinkSpeed,
        .PauseFunctions = g->SupportedPauseFunctions,
        .AutoNegotiationFlags = g->AutoNegotiationFlags,
    };
    a->mtu = g->MtuSize;
    a->lookahead = g->LookaheadSize;
}

/* NDIS keeps copies: every pointer of the attributes may die when the call returns. */
static NDIS_STATUS copy_general(struct nth_adapter *a,
                                const NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES *g)
{
    NDIS_OID *oids = ndis_alloc(g->SupportedOidListLength + 1);

    if (!oids)
        return NDIS_STATUS_RESOURCES;
    if (g->SupportedOidListLength)
        memcpy(oids, g->SupportedOidList, g->SupportedOidListLength);
    ndis_free(a->oids);
    a->oids = oids;
    a->oid_count = g->SupportedOidListLength / sizeof(NDIS_OID);
    memset(&a->general, 0, sizeof(a->general));
    memcpy(&a->general, g,
           g->Header.Revision == 1 ? NDIS_SIZEOF_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_1
                                   : NDIS_SIZEOF_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2);
    a->general.SupportedOidList = oids;
    if (a->general.PowerManagementCapabilitiesEx) {
        const NDIS_PM_CAPABILITIES *pm = a->general.PowerManagementCapabilitiesEx;
        memcpy(&a->pm, pm, pm->Header.Size < sizeof(a->pm) ? pm->Header.Size : sizeof(a->pm));
        a->general.PowerManagementCapabilitiesEx = &a->pm;
    }
    a->general.PowerManagementCapabilities = NULL;
    a->general.RecvScaleCapabilities = NULL;
    return NDIS_STATUS_SUCCESS;
}

static NDIS_STATUS set_general(struct nth_adapter *a,
                               const NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES *g)
{
    static const USHORT sizes[] = {NDIS_SIZEOF_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_1,
                                   NDIS_SIZEOF_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2};

    if (!ndis_header_is(&g->Header, NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES, 2, sizes))
        return NDIS_STATUS_BAD_VERSION;
    if (g->MacAddressLength > NDIS_MAX_PHYS_ADDRESS_LENGTH ||
        g->SupportedOidListLength % sizeof(NDIS_OID) ||
        (g->SupportedOidListLength && !g->SupportedOidList))
        return NDIS_STATUS_INVALID_PARAMETER;
    const NDIS_STATUS status = copy_general(a, g);
    if (status == NDIS_STATUS_SUCCESS) {
        take_link(a);
        a->has_general = true;
    }
    return status;
}

static NDIS_STATUS copy_offload(NDIS_OFFLOAD *to, const NDIS_OFFLOAD *from)
{
    if (!from)
        return NDIS_STATUS_SUCCESS;
    if (from->Header.Type != NDIS_OBJECT_TYPE_OFFLOAD || from->Header.Revision < 1 ||
        from->Header.Size < NDIS_SIZEOF_NDIS_OFFLOAD_REVISION_1)
        return NDIS_STATUS_BAD_VERSION;
    memcpy(to, from, from->Header.Size < sizeof(*to) ? from->Header.Size : sizeof(*to));
    return NDIS_STATUS_SUCCESS;
}

static NDIS_STATUS set_offload(struct nth_adapter *a,
                               const NDIS_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES *o)
{
    static const USHORT sizes[] = {NDIS_SIZEOF_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES_REVISION_1};

    if (!ndis_header_is(&o->Header, NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES, 1, sizes))
        return NDIS_STATUS_BAD_VERSION;
    NDIS_STATUS status = copy_offload(&a->offload_default, o->DefaultOffloadConfiguration);
    if (status == NDIS_STATUS_SUCCESS)
        status = copy_offload(&a->offload_hardware, o->HardwareOffloadCapabilities);
    a->has_offload = status == NDIS_STATUS_SUCCESS;
    return status;
}

static NDIS_STATUS set_add_device(struct nth_adapter *a,
                                  const NDIS_MINIPORT_ADD_DEVICE_REGISTRATION_ATTRIBUTES *d)
{
    static const USHORT sizes[] = {
        NDIS_SIZEOF_MINIPORT_ADD_DEVICE_REGISTRATION_ATTRIBUTES_REVISION_1};

    if (!ndis_header_is(&d->Header, NDIS_OBJECT_TYPE_MINIPORT_ADD_DEVICE_REGISTRATION_ATTRIBUTES, 1,
                        sizes))
        return NDIS_STATUS_BAD_VERSION;
    a->add_device_context = d->MiniportAddDeviceContext;
    return NDIS_STATUS_SUCCESS;
}

/* The order that NdisMSetMiniportAttributes documents: registration, general, the others. */
static NDIS_STATUS set_attributes(struct nth_adapter *a, const NDIS_MINIPORT_ADAPTER_ATTRIBUTES *m)
{
    const UCHAR type = m->GeneralAttributes.Header.Type;

    if (type == NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES)
        return set_registration(a, &m->RegistrationAttributes);
    if (!a->has_registration)
        nth_stop("attributes-order", "object type 0x%02x before the registration attributes", type);
    if (type == NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES)
        return set_general(a, &m->GeneralAttributes);
    if (!a->has_general)
        nth_stop("attributes-order", "object type 0x%02x before the general attributes", type);
    switch (type) {
    case NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES:
        return set_offload(a, &m->OffloadAttributes);
    case NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_HARDWARE_ASSIST_ATTRIBUTES:
        if (m->GeneralAttributes.Header.Revision < 1 || m->GeneralAttributes.Header.Revision > 4)
            return NDIS_STATUS_BAD_VERSION;
        a->has_hardware_assist = true;
        return NDIS_STATUS_SUCCESS;
    default:
        nth_stop("not-provided", "NdisMSetMiniportAttributes: object type 0x%02x", type);
    }
}

NDIS_STATUS NTAPI NdisMSetMiniportAttributes(NDIS_HANDLE NdisMiniportHandle,
                                             PNDIS_MINIPORT_ADAPTER_ATTRIBUTES MiniportAttributes)
{
    nth_irql_exactly(PASSIVE_LEVEL);
    struct nth_adapter *a = ndis_object_check(NdisMiniportHandle, NDIS_KIND_ADAPTER);

    if (nth_fault(NTH_FAULT_NDIS, "NdisMSetMiniportAttributes"))
        return NDIS_STATUS_RESOURCES;
    if (MiniportAttributes->GeneralAttributes.Header.Type ==
        NDIS_OBJECT_TYPE_MINIPORT_ADD_DEVICE_REGISTRATION_ATTRIBUTES)
        return set_add_device(a, &MiniportAttributes->AddDeviceRegistrationAttributes);
    if (ndis_state(a) != NTH_INITIALIZING)
        nth_stop("attributes-context", "called in state %s, not from MiniportInitializeEx",
                 ndis_state_name(ndis_state(a)));
    return set_attributes(a, MiniportAttributes);
}
NTH_EXPORT(NdisMSetMiniportAttributes, 2);
