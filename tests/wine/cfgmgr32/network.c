/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * The interfaces of software devices as the IP helper library shows them. What is configured is
 * noted in the driver's key and has no effect: behind the driver is Linux's TCP/IP, which the tests
 * configure themselves. What is asked of other interfaces goes to Wine's library.
 */
#include "double.h"

#include <stdio.h>
#include <wchar.h>

#define NET_KEY     L"System\\CurrentControlSet\\Control\\Network\\" GUID_TEXT_NET
#define DEFAULT_MTU 65535

static HKEY find_luid(const NET_LUID *luid)
{
    DWORD index = (DWORD)luid->Info.NetLuidIndex;
    HKEY key = machine_find_driver_key(L"NetLuidIndex", &index, sizeof(index));
    DWORD type = 0;
    DWORD size = sizeof(type);

    if (key != NULL &&
        (RegGetValueW(key, NULL, L"*IfType", RRF_RT_REG_DWORD, NULL, &type, &size) != 0 ||
         type != luid->Info.IfType)) {
        RegCloseKey(key);
        key = NULL;
    }
    return key;
}

static HKEY find_guid(const WCHAR *guid)
{
    return machine_find_driver_key(L"NetCfgInstanceId", guid,
                                   (DWORD)((wcslen(guid) + 1) * sizeof(*guid)));
}

static DWORD luid_to_text(const NET_LUID *luid, WCHAR *guid)
{
    HKEY key = find_luid(luid);
    DWORD error = ERROR_FILE_NOT_FOUND;

    if (key != NULL) {
        error = machine_get_string(key, L"NetCfgInstanceId", guid, GUID_CHARACTERS);
        RegCloseKey(key);
    }
    return error;
}

/* ---- Names ------------------------------------------------------------------------------------*/

static DWORD connection_name(const WCHAR *guid, WCHAR *name, DWORD characters)
{
    WCHAR path[PATH_CHARACTERS];
    DWORD size = characters * sizeof(*name);

    _snwprintf(path, PATH_CHARACTERS, NET_KEY L"\\%ls\\Connection", guid);
    return RegGetValueW(HKEY_LOCAL_MACHINE, path, L"Name", RRF_RT_REG_SZ, NULL, name, &size);
}

/* The GUID of the connection with that name, whose interface exists. */
static BOOL find_name(const WCHAR *name, WCHAR *guid)
{
    WCHAR other[PATH_CHARACTERS];
    HKEY networks;
    HKEY key = NULL;

    if (RegOpenKeyExW(HKEY_LOCAL_MACHINE, NET_KEY, 0, KEY_READ, &networks) != 0)
        return FALSE;
    for (DWORD i = 0; key == NULL; i++) {
        DWORD length = GUID_CHARACTERS;

        if (RegEnumKeyExW(networks, i, guid, &length, NULL, NULL, NULL, NULL) != 0)
            break;
        if (connection_name(guid, other, PATH_CHARACTERS) == 0 && _wcsicmp(other, name) == 0)
            key = find_guid(guid);
    }
    RegCloseKey(networks);
    if (key != NULL)
        RegCloseKey(key);
    return key != NULL;
}

DWORD WINAPI net_set_name(const GUID *guid, LPCWSTR name)
{
    WCHAR path[PATH_CHARACTERS];
    WCHAR text[GUID_CHARACTERS];
    WCHAR holder[GUID_CHARACTERS];
    HKEY key;
    DWORD error;

    machine_format_guid(guid, text);
    if (find_name(name, holder) && _wcsicmp(holder, text) != 0)
        return ERROR_DUP_NAME;
    _snwprintf(path, PATH_CHARACTERS, NET_KEY L"\\%ls\\Connection", text);
    error = RegOpenKeyExW(HKEY_LOCAL_MACHINE, path, 0, KEY_ALL_ACCESS, &key);
    if (error != 0)
        return error;
    error = machine_set_string(key, L"Name", name);
    RegCloseKey(key);
    return error;
}

DWORD WINAPI net_alias_to_luid(const WCHAR *alias, NET_LUID *luid)
{
    WCHAR guid[GUID_CHARACTERS];
    DWORD index = 0, type = 0, size = sizeof(DWORD);
    HKEY key;

    if (!find_name(alias, guid))
        return ConvertInterfaceAliasToLuid(alias, luid);
    key = find_guid(guid);
    if (key == NULL)
        return ERROR_INVALID_PARAMETER;
    RegGetValueW(key, NULL, L"NetLuidIndex", RRF_RT_REG_DWORD, NULL, &index, &size);
    RegGetValueW(key, NULL, L"*IfType", RRF_RT_REG_DWORD, NULL, &type, &size);
    RegCloseKey(key);
    luid->Value = 0;
    luid->Info.NetLuidIndex = index;
    luid->Info.IfType = type;
    return NO_ERROR;
}

DWORD WINAPI net_luid_to_alias(const NET_LUID *luid, WCHAR *alias, SIZE_T characters)
{
    WCHAR guid[GUID_CHARACTERS];
    DWORD error;

    if (luid_to_text(luid, guid) != 0)
        return ConvertInterfaceLuidToAlias(luid, alias, characters);
    error = connection_name(guid, alias, (DWORD)characters);
    return error == ERROR_MORE_DATA ? ERROR_NOT_ENOUGH_MEMORY : error;
}

DWORD WINAPI net_luid_to_guid(const NET_LUID *luid, GUID *guid)
{
    WCHAR text[GUID_CHARACTERS];

    if (luid_to_text(luid, text) != 0)
        return ConvertInterfaceLuidToGuid(luid, guid);
    return CLSIDFromString(text, guid) == S_OK ? NO_ERROR : ERROR_INVALID_DATA;
}

/* ---- Configuration ----------------------------------------------------------------------------*/

static void value_name(const WCHAR *what, ADDRESS_FAMILY family, WCHAR *name)
{
    _snwprintf(name, ID_CHARACTERS, family == AF_INET ? L"%lsIPv4" : L"%lsIPv6", what);
}

static DWORD get_number(HKEY key, const WCHAR *what, ADDRESS_FAMILY family, DWORD otherwise)
{
    WCHAR name[ID_CHARACTERS];
    DWORD value;
    DWORD size = sizeof(value);

    value_name(what, family, name);
    return RegGetValueW(key, L"Wine double", name, RRF_RT_REG_DWORD, NULL, &value, &size) == 0
               ? value
               : otherwise;
}

static DWORD set_number(HKEY key, const WCHAR *what, ADDRESS_FAMILY family, DWORD value)
{
    WCHAR name[ID_CHARACTERS];

    value_name(what, family, name);
    return RegSetKeyValueW(key, L"Wine double", name, REG_DWORD, &value, sizeof(value));
}

/* nf-netioapi-initializeipinterfaceentry: members that SetIpInterfaceEntry would change */
void WINAPI net_initialize_interface(MIB_IPINTERFACE_ROW *row)
{
    memset(row, 0, sizeof(*row));
    row->RouterDiscoveryBehavior = RouterDiscoveryUnchanged;
    row->LinkLocalAddressBehavior = LinkLocalUnchanged;
    row->UseAutomaticMetric = TRUE;
}

/* nf-netioapi-getipinterfaceentry */
DWORD WINAPI net_get_interface(MIB_IPINTERFACE_ROW *row)
{
    HKEY key;

    if (row == NULL || (row->Family != AF_INET && row->Family != AF_INET6))
        return ERROR_INVALID_PARAMETER;
    key = find_luid(&row->InterfaceLuid);
    if (key == NULL)
        return ERROR_NOT_FOUND;
    row->NlMtu = get_number(key, L"Mtu", row->Family, DEFAULT_MTU);
    row->Metric = get_number(key, L"Metric", row->Family, 0);
    row->UseAutomaticMetric = row->Metric == 0;
    row->DadTransmits = get_number(key, L"DadTransmits", row->Family, 3);
    row->Connected = TRUE;
    RegCloseKey(key);
    return NO_ERROR;
}

/* nf-netioapi-setipinterfaceentry */
DWORD WINAPI net_set_interface(MIB_IPINTERFACE_ROW *row)
{
    HKEY key;
    DWORD error;

    if (row == NULL || (row->Family != AF_INET && row->Family != AF_INET6))
        return ERROR_INVALID_PARAMETER;
    key = find_luid(&row->InterfaceLuid);
    if (key == NULL)
        return ERROR_NOT_FOUND;
    error = set_number(key, L"Mtu", row->Family, row->NlMtu);
    if (error == 0)
        error = set_number(key, L"DadTransmits", row->Family, row->DadTransmits);
    if (error == 0)
        error = set_number(key, L"Metric", row->Family, row->UseAutomaticMetric ? 0 : row->Metric);
    RegCloseKey(key);
    return error;
}

/* nf-netioapi-initializeunicastipaddressentry */
void WINAPI net_initialize_address(MIB_UNICASTIPADDRESS_ROW *row)
{
    memset(row, 0, sizeof(*row));
    row->PrefixOrigin = IpPrefixOriginUnchanged;
    row->SuffixOrigin = IpSuffixOriginUnchanged;
    row->OnLinkPrefixLength = 255;
    row->ValidLifetime = 0xFFFFFFFF;
    row->PreferredLifetime = 0xFFFFFFFF;
}

/* An address is noted as a value of its bytes, which holds its prefix. */
static DWORD note_address(const MIB_UNICASTIPADDRESS_ROW *row, DWORD if_there, DWORD if_not)
{
    const BYTE *bytes = row->Address.si_family == AF_INET
                            ? (const BYTE *)&row->Address.Ipv4.sin_addr
                            : (const BYTE *)&row->Address.Ipv6.sin6_addr;
    unsigned count = row->Address.si_family == AF_INET ? 4 : 16;
    WCHAR name[ID_CHARACTERS] = L"Address ";
    DWORD prefix = row->OnLinkPrefixLength;
    DWORD old;
    DWORD size = sizeof(old);
    HKEY key = find_luid(&row->InterfaceLuid);
    DWORD error;

    if (key == NULL)
        return ERROR_NOT_FOUND;
    for (unsigned i = 0; i < count; i++)
        _snwprintf(name + wcslen(name), 3, L"%02x", bytes[i]);
    if (RegGetValueW(key, L"Wine double", name, RRF_RT_REG_DWORD, NULL, &old, &size) == 0)
        error = if_there;
    else
        error = if_not;
    if (error == 0)
        error = RegSetKeyValueW(key, L"Wine double", name, REG_DWORD, &prefix, sizeof(prefix));
    RegCloseKey(key);
    return error;
}

/* nf-netioapi-createunicastipaddressentry */
DWORD WINAPI net_create_address(const MIB_UNICASTIPADDRESS_ROW *row)
{
    return note_address(row, ERROR_OBJECT_ALREADY_EXISTS, 0);
}

/* nf-netioapi-setunicastipaddressentry */
DWORD WINAPI net_set_address(const MIB_UNICASTIPADDRESS_ROW *row)
{
    return note_address(row, 0, ERROR_NOT_FOUND);
}
