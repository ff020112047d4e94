/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */

/*
 * What NDIS shares with user mode: object identifiers, status codes, media, link state, statistics
 * and the task offloads, in the newest layout (NDIS 6.89). An older revision is the same structure
 * cut short; its size is the NDIS_SIZEOF_ constant of that revision, never sizeof.
 */

#pragma once

#include <ntdef.h>

typedef int NDIS_STATUS, *PNDIS_STATUS;
typedef ULONG NDIS_OID, *PNDIS_OID;
typedef ULONG NDIS_PORT_NUMBER, *PNDIS_PORT_NUMBER;
typedef ULONG NDIS_RSS_CAPS_FLAGS;
typedef ULONG NET_IFINDEX, *PNET_IFINDEX, IF_INDEX, NET_IF_COMPARTMENT_ID;
typedef USHORT NET_IFTYPE, *PNET_IFTYPE;

typedef union _NET_LUID_LH {
    ULONG64 Value;
    struct {
        ULONG64 Reserved : 24, NetLuidIndex : 24, IfType : 16;
    } Info;
} NET_LUID_LH, NET_LUID, *PNET_LUID, IF_LUID;

/* ---- Interfaces ---- */

#define IF_TYPE_OTHER                1
#define IF_TYPE_ETHERNET_CSMACD      6
#define IF_TYPE_PPP                  23
#define IF_TYPE_SOFTWARE_LOOPBACK    24
#define IF_TYPE_PROP_VIRTUAL         53
#define IF_TYPE_IP                   126
#define IF_TYPE_TUNNEL               131
#define NET_IFINDEX_UNSPECIFIED      0
#define IF_MAX_PHYS_ADDRESS_LENGTH   32
#define NDIS_MAX_PHYS_ADDRESS_LENGTH 32
/* clang-format off */
typedef enum _NET_IF_OPER_STATUS {
    NET_IF_OPER_STATUS_UP = 1, NET_IF_OPER_STATUS_DOWN, NET_IF_OPER_STATUS_TESTING,
    NET_IF_OPER_STATUS_UNKNOWN, NET_IF_OPER_STATUS_DORMANT, NET_IF_OPER_STATUS_NOT_PRESENT,
    NET_IF_OPER_STATUS_LOWER_LAYER_DOWN
} NET_IF_OPER_STATUS;
typedef enum _NET_IF_ADMIN_STATUS {
    NET_IF_ADMIN_STATUS_UP = 1, NET_IF_ADMIN_STATUS_DOWN, NET_IF_ADMIN_STATUS_TESTING
} NET_IF_ADMIN_STATUS;
typedef enum _NET_IF_ACCESS_TYPE {
    NET_IF_ACCESS_LOOPBACK = 1, NET_IF_ACCESS_BROADCAST, NET_IF_ACCESS_POINT_TO_POINT,
    NET_IF_ACCESS_POINT_TO_MULTI_POINT, NET_IF_ACCESS_MAXIMUM
} NET_IF_ACCESS_TYPE;
typedef enum _NET_IF_CONNECTION_TYPE {
    NET_IF_CONNECTION_DEDICATED = 1, NET_IF_CONNECTION_PASSIVE, NET_IF_CONNECTION_DEMAND,
    NET_IF_CONNECTION_MAXIMUM
} NET_IF_CONNECTION_TYPE;
typedef enum _NET_IF_DIRECTION_TYPE {
    NET_IF_DIRECTION_SENDRECEIVE, NET_IF_DIRECTION_SENDONLY, NET_IF_DIRECTION_RECEIVEONLY,
    NET_IF_DIRECTION_MAXIMUM
} NET_IF_DIRECTION_TYPE;
typedef enum _NET_IF_MEDIA_CONNECT_STATE {
    MediaConnectStateUnknown, MediaConnectStateConnected, MediaConnectStateDisconnected
} NET_IF_MEDIA_CONNECT_STATE;
typedef enum _NET_IF_MEDIA_DUPLEX_STATE {
    MediaDuplexStateUnknown, MediaDuplexStateHalf, MediaDuplexStateFull
} NET_IF_MEDIA_DUPLEX_STATE;
typedef NET_IF_MEDIA_CONNECT_STATE NDIS_MEDIA_CONNECT_STATE, *PNDIS_MEDIA_CONNECT_STATE;
typedef NET_IF_MEDIA_DUPLEX_STATE NDIS_MEDIA_DUPLEX_STATE, *PNDIS_MEDIA_DUPLEX_STATE;
typedef enum _NDIS_MEDIUM {
    NdisMedium802_3, NdisMedium802_5, NdisMediumFddi, NdisMediumWan, NdisMediumLocalTalk,
    NdisMediumDix, NdisMediumArcnetRaw, NdisMediumArcnet878_2, NdisMediumAtm, NdisMediumWirelessWan,
    NdisMediumIrda, NdisMediumBpc, NdisMediumCoWan, NdisMedium1394, NdisMediumInfiniBand,
    NdisMediumTunnel, NdisMediumNative802_11, NdisMediumLoopback, NdisMediumWiMAX, NdisMediumIP,
    NdisMediumMax
} NDIS_MEDIUM;
typedef enum _NDIS_PHYSICAL_MEDIUM {
    NdisPhysicalMediumUnspecified, NdisPhysicalMediumWirelessLan, NdisPhysicalMediumCableModem,
    NdisPhysicalMediumPhoneLine, NdisPhysicalMediumPowerLine, NdisPhysicalMediumDSL,
    NdisPhysicalMediumFibreChannel, NdisPhysicalMedium1394, NdisPhysicalMediumWirelessWan,
    NdisPhysicalMediumNative802_11, NdisPhysicalMediumBluetooth, NdisPhysicalMediumInfiniband,
    NdisPhysicalMediumWiMax, NdisPhysicalMediumUWB, NdisPhysicalMedium802_3,
    NdisPhysicalMedium802_5, NdisPhysicalMediumIrda, NdisPhysicalMediumWiredWAN,
    NdisPhysicalMediumWiredCoWan, NdisPhysicalMediumOther, NdisPhysicalMediumNative802_15_4,
    NdisPhysicalMediumMax
} NDIS_PHYSICAL_MEDIUM;
typedef enum _NDIS_MEDIA_STATE {
    NdisMediaStateConnected, NdisMediaStateDisconnected
} NDIS_MEDIA_STATE;
typedef enum _NDIS_HARDWARE_STATUS {
    NdisHardwareStatusReady, NdisHardwareStatusInitializing, NdisHardwareStatusReset,
    NdisHardwareStatusClosing, NdisHardwareStatusNotReady
} NDIS_HARDWARE_STATUS;
typedef enum _NDIS_DEVICE_POWER_STATE {
    NdisDeviceStateUnspecified, NdisDeviceStateD0, NdisDeviceStateD1, NdisDeviceStateD2,
    NdisDeviceStateD3, NdisDeviceStateMaximum
} NDIS_DEVICE_POWER_STATE;
typedef enum _NDIS_SUPPORTED_PAUSE_FUNCTIONS {
    NdisPauseFunctionsUnsupported, NdisPauseFunctionsSendOnly, NdisPauseFunctionsReceiveOnly,
    NdisPauseFunctionsSendAndReceive, NdisPauseFunctionsUnknown
} NDIS_SUPPORTED_PAUSE_FUNCTIONS;
typedef enum _NDIS_PORT_TYPE {
    NdisPortTypeUndefined, NdisPortTypeBridge, NdisPortTypeRasConnection,
    NdisPortType8021xSupplicant, NdisPortTypeNdisImPlatform, NdisPortTypeMax
} NDIS_PORT_TYPE;
typedef enum _NDIS_PORT_AUTHORIZATION_STATE {
    NdisPortAuthorizationUnknown, NdisPortAuthorized, NdisPortUnauthorized, NdisPortReauthorizing
} NDIS_PORT_AUTHORIZATION_STATE;
typedef enum _NDIS_PORT_CONTROL_STATE {
    NdisPortControlStateUnknown, NdisPortControlStateControlled, NdisPortControlStateUncontrolled
} NDIS_PORT_CONTROL_STATE;
typedef enum _NDIS_INTERRUPT_MODERATION {
    NdisInterruptModerationUnknown, NdisInterruptModerationNotSupported,
    NdisInterruptModerationEnabled, NdisInterruptModerationDisabled
} NDIS_INTERRUPT_MODERATION;
/* clang-format on */
#define NDIS_LINK_SPEED_UNKNOWN  0xFFFFFFFFFFFFFFFFULL
#define NDIS_DEFAULT_PORT_NUMBER 0

/* ---- Every versioned structure starts with this ---- */

typedef struct _NDIS_OBJECT_HEADER {
    UCHAR Type, Revision;
    USHORT Size;
} NDIS_OBJECT_HEADER, *PNDIS_OBJECT_HEADER;

#define NDIS_OBJECT_TYPE_DEFAULT                                     0x80
#define NDIS_OBJECT_TYPE_MINIPORT_INIT_PARAMETERS                    0x81
#define NDIS_OBJECT_TYPE_SG_DMA_DESCRIPTION                          0x83
#define NDIS_OBJECT_TYPE_MINIPORT_INTERRUPT                          0x84
#define NDIS_OBJECT_TYPE_DEVICE_OBJECT_ATTRIBUTES                    0x85
#define NDIS_OBJECT_TYPE_BIND_PARAMETERS                             0x86
#define NDIS_OBJECT_TYPE_OPEN_PARAMETERS                             0x87
#define NDIS_OBJECT_TYPE_RSS_CAPABILITIES                            0x88
#define NDIS_OBJECT_TYPE_RSS_PARAMETERS                              0x89
#define NDIS_OBJECT_TYPE_MINIPORT_DRIVER_CHARACTERISTICS             0x8A
#define NDIS_OBJECT_TYPE_CO_MINIPORT_CHARACTERISTICS                 0x91
#define NDIS_OBJECT_TYPE_MINIPORT_PNP_CHARACTERISTICS                0x92
#define NDIS_OBJECT_TYPE_OID_REQUEST                                 0x96
#define NDIS_OBJECT_TYPE_TIMER_CHARACTERISTICS                       0x97
#define NDIS_OBJECT_TYPE_STATUS_INDICATION                           0x98
#define NDIS_OBJECT_TYPE_PORT_CHARACTERISTICS                        0x9C
#define NDIS_OBJECT_TYPE_PORT_STATE                                  0x9D
#define NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES    0x9E
#define NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES         0x9F
#define NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES         0xA0
#define NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_NATIVE_802_11_ATTRIBUTES   0xA1
#define NDIS_OBJECT_TYPE_RESTART_GENERAL_ATTRIBUTES                  0xA2
#define NDIS_OBJECT_TYPE_MINIPORT_ADD_DEVICE_REGISTRATION_ATTRIBUTES 0xA4
#define NDIS_OBJECT_TYPE_OFFLOAD                                     0xA7
#define NDIS_OBJECT_TYPE_OFFLOAD_ENCAPSULATION                       0xA8
#define NDIS_OBJECT_TYPE_CONFIGURATION_OBJECT                        0xA9
#define NDIS_OBJECT_TYPE_DRIVER_WRAPPER_OBJECT                       0xAA
#define NDIS_OBJECT_TYPE_HD_SPLIT_ATTRIBUTES                         0xAB
#define NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_HARDWARE_ASSIST_ATTRIBUTES 0xAF
#define NDIS_OBJECT_TYPE_RSS_PROCESSOR_INFO                          0xB1
#define NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_NDK_ATTRIBUTES             0xB3
#define NDIS_OBJECT_TYPE_MINIPORT_SS_CHARACTERISTICS                 0xB4
#define NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_PACKET_DIRECT_ATTRIBUTES   0xC5
#define NDIS_OBJECT_TYPE_MINIPORT_DEVICE_POWER_NOTIFICATION          0xC6
#define NDIS_OBJECT_TYPE_RSS_PARAMETERS_V2                           0xC8
#define NDIS_OBJECT_REVISION_1                                       1

/* ---- Object identifiers ---- */

#define OID_GEN_SUPPORTED_LIST                    0x00010101
#define OID_GEN_HARDWARE_STATUS                   0x00010102
#define OID_GEN_MEDIA_SUPPORTED                   0x00010103
#define OID_GEN_MEDIA_IN_USE                      0x00010104
#define OID_GEN_MAXIMUM_LOOKAHEAD                 0x00010105
#define OID_GEN_MAXIMUM_FRAME_SIZE                0x00010106
#define OID_GEN_LINK_SPEED                        0x00010107
#define OID_GEN_TRANSMIT_BUFFER_SPACE             0x00010108
#define OID_GEN_RECEIVE_BUFFER_SPACE              0x00010109
#define OID_GEN_TRANSMIT_BLOCK_SIZE               0x0001010A
#define OID_GEN_RECEIVE_BLOCK_SIZE                0x0001010B
#define OID_GEN_VENDOR_ID                         0x0001010C
#define OID_GEN_VENDOR_DESCRIPTION                0x0001010D
#define OID_GEN_CURRENT_PACKET_FILTER             0x0001010E
#define OID_GEN_CURRENT_LOOKAHEAD                 0x0001010F
#define OID_GEN_DRIVER_VERSION                    0x00010110
#define OID_GEN_MAXIMUM_TOTAL_SIZE                0x00010111
#define OID_GEN_PROTOCOL_OPTIONS                  0x00010112
#define OID_GEN_MAC_OPTIONS                       0x00010113
#define OID_GEN_MEDIA_CONNECT_STATUS              0x00010114
#define OID_GEN_MAXIMUM_SEND_PACKETS              0x00010115
#define OID_GEN_VENDOR_DRIVER_VERSION             0x00010116
#define OID_GEN_SUPPORTED_GUIDS                   0x00010117
#define OID_GEN_NETWORK_LAYER_ADDRESSES           0x00010118
#define OID_GEN_TRANSPORT_HEADER_OFFSET           0x00010119
#define OID_GEN_MEDIA_CAPABILITIES                0x00010201
#define OID_GEN_PHYSICAL_MEDIUM                   0x00010202
#define OID_GEN_RECEIVE_SCALE_CAPABILITIES        0x00010203
#define OID_GEN_RECEIVE_SCALE_PARAMETERS          0x00010204
#define OID_GEN_MAC_ADDRESS                       0x00010205
#define OID_GEN_MAX_LINK_SPEED                    0x00010206
#define OID_GEN_LINK_STATE                        0x00010207
#define OID_GEN_LINK_PARAMETERS                   0x00010208
#define OID_GEN_INTERRUPT_MODERATION              0x00010209
#define OID_GEN_ENUMERATE_PORTS                   0x0001020D
#define OID_GEN_PORT_STATE                        0x0001020E
#define OID_GEN_PORT_AUTHENTICATION_PARAMETERS    0x0001020F
#define OID_GEN_TIMEOUT_DPC_REQUEST_CAPABILITIES  0x00010210
#define OID_GEN_PCI_DEVICE_CUSTOM_PROPERTIES      0x00010211
#define OID_GEN_PHYSICAL_MEDIUM_EX                0x00010213
#define OID_GEN_RECEIVE_SCALE_PARAMETERS_V2       0x00010214
#define OID_GEN_MACHINE_NAME                      0x0001021A
#define OID_GEN_RNDIS_CONFIG_PARAMETER            0x0001021B
#define OID_GEN_VLAN_ID                           0x0001021C
#define OID_GEN_MINIPORT_RESTART_ATTRIBUTES       0x0001021D
#define OID_GEN_HD_SPLIT_PARAMETERS               0x0001021E
#define OID_GEN_RECEIVE_HASH                      0x0001021F
#define OID_GEN_HD_SPLIT_CURRENT_CONFIG           0x00010220
#define OID_GEN_PROMISCUOUS_MODE                  0x00010280
#define OID_GEN_LAST_CHANGE                       0x00010281
#define OID_GEN_DISCONTINUITY_TIME                0x00010282
#define OID_GEN_OPERATIONAL_STATUS                0x00010283
#define OID_GEN_XMIT_LINK_SPEED                   0x00010284
#define OID_GEN_RCV_LINK_SPEED                    0x00010285
#define OID_GEN_UNKNOWN_PROTOS                    0x00010286
#define OID_GEN_INTERFACE_INFO                    0x00010287
#define OID_GEN_ADMIN_STATUS                      0x00010288
#define OID_GEN_ALIAS                             0x00010289
#define OID_GEN_MEDIA_CONNECT_STATUS_EX           0x0001028A
#define OID_GEN_LINK_SPEED_EX                     0x0001028B
#define OID_GEN_MEDIA_DUPLEX_STATE                0x0001028C
#define OID_GEN_IP_OPER_STATUS                    0x0001028D
#define OID_GEN_RSS_SET_INDIRECTION_TABLE_ENTRIES 0x000102C0
#define OID_GEN_PACKET_MONITOR                    0x000102D1
#define OID_GEN_ISOLATION_PARAMETERS              0x00010300
#define OID_GEN_XMIT_OK                           0x00020101
#define OID_GEN_RCV_OK                            0x00020102
#define OID_GEN_XMIT_ERROR                        0x00020103
#define OID_GEN_RCV_ERROR                         0x00020104
#define OID_GEN_RCV_NO_BUFFER                     0x00020105
#define OID_GEN_STATISTICS                        0x00020106
#define OID_GEN_DIRECTED_BYTES_XMIT               0x00020201
#define OID_GEN_DIRECTED_FRAMES_XMIT              0x00020202
#define OID_GEN_MULTICAST_BYTES_XMIT              0x00020203
#define OID_GEN_MULTICAST_FRAMES_XMIT             0x00020204
#define OID_GEN_BROADCAST_BYTES_XMIT              0x00020205
#define OID_GEN_BROADCAST_FRAMES_XMIT             0x00020206
#define OID_GEN_DIRECTED_BYTES_RCV                0x00020207
#define OID_GEN_DIRECTED_FRAMES_RCV               0x00020208
#define OID_GEN_MULTICAST_BYTES_RCV               0x00020209
#define OID_GEN_MULTICAST_FRAMES_RCV              0x0002020A
#define OID_GEN_BROADCAST_BYTES_RCV               0x0002020B
#define OID_GEN_BROADCAST_FRAMES_RCV              0x0002020C
#define OID_GEN_RCV_CRC_ERROR                     0x0002020D
#define OID_GEN_TRANSMIT_QUEUE_LENGTH             0x0002020E
#define OID_GEN_GET_TIME_CAPS                     0x0002020F
#define OID_GEN_GET_NETCARD_TIME                  0x00020210
#define OID_GEN_NETCARD_LOAD                      0x00020211
#define OID_GEN_DEVICE_PROFILE                    0x00020212
#define OID_GEN_INIT_TIME_MS                      0x00020213
#define OID_GEN_RESET_COUNTS                      0x00020214
#define OID_GEN_MEDIA_SENSE_COUNTS                0x00020215
#define OID_GEN_FRIENDLY_NAME                     0x00020216
#define OID_GEN_BYTES_RCV                         0x00020219
#define OID_GEN_BYTES_XMIT                        0x0002021A
#define OID_GEN_RCV_DISCARDS                      0x0002021B
#define OID_GEN_XMIT_DISCARDS                     0x0002021C
#define OID_TCP_RSC_STATISTICS                    0x0002021D
#define OID_TIMESTAMP_CAPABILITY                  0x00A00001
#define OID_TIMESTAMP_CURRENT_CONFIG              0x00A00002
#define OID_TIMESTAMP_GET_CROSSTIMESTAMP          0x00A00003
#define OID_802_3_PERMANENT_ADDRESS               0x01010101
#define OID_802_3_CURRENT_ADDRESS                 0x01010102
#define OID_802_3_MULTICAST_LIST                  0x01010103
#define OID_802_3_MAXIMUM_LIST_SIZE               0x01010104
#define OID_802_3_MAC_OPTIONS                     0x01010105
#define OID_OFFLOAD_ENCAPSULATION                 0x0101010A
#define OID_802_3_ADD_MULTICAST_ADDRESS           0x01010208
#define OID_802_3_DELETE_MULTICAST_ADDRESS        0x01010209
#define OID_802_3_RCV_ERROR_ALIGNMENT             0x01020101
#define OID_802_3_XMIT_ONE_COLLISION              0x01020102
#define OID_802_3_XMIT_MORE_COLLISIONS            0x01020103
#define OID_802_3_XMIT_DEFERRED                   0x01020201
#define OID_802_3_XMIT_MAX_COLLISIONS             0x01020202
#define OID_802_3_RCV_OVERRUN                     0x01020203
#define OID_802_3_XMIT_UNDERRUN                   0x01020204
#define OID_802_3_XMIT_HEARTBEAT_FAILURE          0x01020205
#define OID_802_3_XMIT_TIMES_CRS_LOST             0x01020206
#define OID_802_3_XMIT_LATE_COLLISIONS            0x01020207
#define OID_TCP_OFFLOAD_CURRENT_CONFIG            0xFC01020B
#define OID_TCP_OFFLOAD_PARAMETERS                0xFC01020C
#define OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES     0xFC01020D
#define OID_PNP_CAPABILITIES                      0xFD010100
#define OID_PNP_SET_POWER                         0xFD010101
#define OID_PNP_QUERY_POWER                       0xFD010102
#define OID_PNP_ADD_WAKE_UP_PATTERN               0xFD010103
#define OID_PNP_REMOVE_WAKE_UP_PATTERN            0xFD010104
#define OID_PNP_WAKE_UP_PATTERN_LIST              0xFD010105
#define OID_PNP_ENABLE_WAKE_UP                    0xFD010106
#define OID_PM_CURRENT_CAPABILITIES               0xFD010107
#define OID_PM_HARDWARE_CAPABILITIES              0xFD010108
#define OID_PM_PARAMETERS                         0xFD010109
#define OID_PM_ADD_WOL_PATTERN                    0xFD01010A
#define OID_PM_REMOVE_WOL_PATTERN                 0xFD01010B
#define OID_PM_WOL_PATTERN_LIST                   0xFD01010C
#define OID_PM_ADD_PROTOCOL_OFFLOAD               0xFD01010D
#define OID_PM_GET_PROTOCOL_OFFLOAD               0xFD01010E
#define OID_PM_REMOVE_PROTOCOL_OFFLOAD            0xFD01010F
#define OID_PM_PROTOCOL_OFFLOAD_LIST              0xFD010110
#define OID_PNP_WAKE_UP_OK                        0xFD020200
#define OID_PNP_WAKE_UP_ERROR                     0xFD020201

/* ---- Filters, options, statistics bits ---- */

#define NDIS_PACKET_TYPE_DIRECTED                         1
#define NDIS_PACKET_TYPE_MULTICAST                        2
#define NDIS_PACKET_TYPE_ALL_MULTICAST                    4
#define NDIS_PACKET_TYPE_BROADCAST                        8
#define NDIS_PACKET_TYPE_SOURCE_ROUTING                   0x10
#define NDIS_PACKET_TYPE_PROMISCUOUS                      0x20
#define NDIS_PACKET_TYPE_SMT                              0x40
#define NDIS_PACKET_TYPE_ALL_LOCAL                        0x80
#define NDIS_PACKET_TYPE_GROUP                            0x1000
#define NDIS_PACKET_TYPE_ALL_FUNCTIONAL                   0x2000
#define NDIS_PACKET_TYPE_FUNCTIONAL                       0x4000
#define NDIS_PACKET_TYPE_MAC_FRAME                        0x8000
#define NDIS_PACKET_TYPE_NO_LOCAL                         0x10000
#define NDIS_MAC_OPTION_COPY_LOOKAHEAD_DATA               1
#define NDIS_MAC_OPTION_RECEIVE_SERIALIZED                2
#define NDIS_MAC_OPTION_TRANSFERS_NOT_PEND                4
#define NDIS_MAC_OPTION_NO_LOOPBACK                       8
#define NDIS_MAC_OPTION_FULL_DUPLEX                       0x10
#define NDIS_MAC_OPTION_EOTX_INDICATION                   0x20
#define NDIS_MAC_OPTION_8021P_PRIORITY                    0x40
#define NDIS_MAC_OPTION_SUPPORTS_MAC_ADDRESS_OVERWRITE    0x80
#define NDIS_MAC_OPTION_RECEIVE_AT_DPC                    0x100
#define NDIS_MAC_OPTION_8021Q_VLAN                        0x200
#define NDIS_MAC_OPTION_RESERVED                          0x80000000
#define NDIS_MEDIA_CAP_TRANSMIT                           1
#define NDIS_MEDIA_CAP_RECEIVE                            2
#define NDIS_LINK_STATE_XMIT_LINK_SPEED_AUTO_NEGOTIATED   1
#define NDIS_LINK_STATE_RCV_LINK_SPEED_AUTO_NEGOTIATED    2
#define NDIS_LINK_STATE_DUPLEX_AUTO_NEGOTIATED            4
#define NDIS_LINK_STATE_PAUSE_FUNCTIONS_AUTO_NEGOTIATED   8
#define NDIS_STATISTICS_FLAGS_VALID_DIRECTED_FRAMES_RCV   1
#define NDIS_STATISTICS_FLAGS_VALID_MULTICAST_FRAMES_RCV  2
#define NDIS_STATISTICS_FLAGS_VALID_BROADCAST_FRAMES_RCV  4
#define NDIS_STATISTICS_FLAGS_VALID_BYTES_RCV             8
#define NDIS_STATISTICS_FLAGS_VALID_RCV_DISCARDS          0x10
#define NDIS_STATISTICS_FLAGS_VALID_RCV_ERROR             0x20
#define NDIS_STATISTICS_FLAGS_VALID_DIRECTED_FRAMES_XMIT  0x40
#define NDIS_STATISTICS_FLAGS_VALID_MULTICAST_FRAMES_XMIT 0x80
#define NDIS_STATISTICS_FLAGS_VALID_BROADCAST_FRAMES_XMIT 0x100
#define NDIS_STATISTICS_FLAGS_VALID_BYTES_XMIT            0x200
#define NDIS_STATISTICS_FLAGS_VALID_XMIT_ERROR            0x400
#define NDIS_STATISTICS_FLAGS_VALID_XMIT_DISCARDS         0x8000
#define NDIS_STATISTICS_FLAGS_VALID_DIRECTED_BYTES_RCV    0x10000
#define NDIS_STATISTICS_FLAGS_VALID_MULTICAST_BYTES_RCV   0x20000
#define NDIS_STATISTICS_FLAGS_VALID_BROADCAST_BYTES_RCV   0x40000
#define NDIS_STATISTICS_FLAGS_VALID_DIRECTED_BYTES_XMIT   0x80000
#define NDIS_STATISTICS_FLAGS_VALID_MULTICAST_BYTES_XMIT  0x100000
#define NDIS_STATISTICS_FLAGS_VALID_BROADCAST_BYTES_XMIT  0x200000
#define NDIS_STATISTICS_XMIT_OK_SUPPORTED                 1
#define NDIS_STATISTICS_RCV_OK_SUPPORTED                  2
#define NDIS_STATISTICS_XMIT_ERROR_SUPPORTED              4
#define NDIS_STATISTICS_RCV_ERROR_SUPPORTED               8
#define NDIS_STATISTICS_RCV_NO_BUFFER_SUPPORTED           0x10
#define NDIS_STATISTICS_DIRECTED_BYTES_XMIT_SUPPORTED     0x20
#define NDIS_STATISTICS_DIRECTED_FRAMES_XMIT_SUPPORTED    0x40
#define NDIS_STATISTICS_MULTICAST_BYTES_XMIT_SUPPORTED    0x80
#define NDIS_STATISTICS_MULTICAST_FRAMES_XMIT_SUPPORTED   0x100
#define NDIS_STATISTICS_BROADCAST_BYTES_XMIT_SUPPORTED    0x200
#define NDIS_STATISTICS_BROADCAST_FRAMES_XMIT_SUPPORTED   0x400
#define NDIS_STATISTICS_DIRECTED_BYTES_RCV_SUPPORTED      0x800
#define NDIS_STATISTICS_DIRECTED_FRAMES_RCV_SUPPORTED     0x1000
#define NDIS_STATISTICS_MULTICAST_BYTES_RCV_SUPPORTED     0x2000
#define NDIS_STATISTICS_MULTICAST_FRAMES_RCV_SUPPORTED    0x4000
#define NDIS_STATISTICS_BROADCAST_BYTES_RCV_SUPPORTED     0x8000
#define NDIS_STATISTICS_BROADCAST_FRAMES_RCV_SUPPORTED    0x10000
#define NDIS_STATISTICS_RCV_CRC_ERROR_SUPPORTED           0x20000
#define NDIS_STATISTICS_TRANSMIT_QUEUE_LENGTH_SUPPORTED   0x40000
#define NDIS_STATISTICS_BYTES_RCV_SUPPORTED               0x80000
#define NDIS_STATISTICS_BYTES_XMIT_SUPPORTED              0x100000
#define NDIS_STATISTICS_RCV_DISCARDS_SUPPORTED            0x200000
#define NDIS_STATISTICS_GEN_STATISTICS_SUPPORTED          0x400000
#define NDIS_STATISTICS_XMIT_DISCARDS_SUPPORTED           0x8000000

/* ---- Status codes and indications ---- */

#define NDIS_STATUS_SUCCESS                                      ((NDIS_STATUS)0x00000000)
#define NDIS_STATUS_ALREADY_COMPLETE                             ((NDIS_STATUS)0x000000FF)
#define NDIS_STATUS_PENDING                                      ((NDIS_STATUS)0x00000103)
#define NDIS_STATUS_NOT_RECOGNIZED                               ((NDIS_STATUS)0x00010001)
#define NDIS_STATUS_NOT_COPIED                                   ((NDIS_STATUS)0x00010002)
#define NDIS_STATUS_NOT_ACCEPTED                                 ((NDIS_STATUS)0x00010003)
#define NDIS_STATUS_CALL_ACTIVE                                  ((NDIS_STATUS)0x00010007)
#define NDIS_STATUS_ONLINE                                       ((NDIS_STATUS)0x40010003)
#define NDIS_STATUS_RESET_START                                  ((NDIS_STATUS)0x40010004)
#define NDIS_STATUS_RESET_END                                    ((NDIS_STATUS)0x40010005)
#define NDIS_STATUS_RING_STATUS                                  ((NDIS_STATUS)0x40010006)
#define NDIS_STATUS_CLOSED                                       ((NDIS_STATUS)0x40010007)
#define NDIS_STATUS_MEDIA_CONNECT                                ((NDIS_STATUS)0x4001000B)
#define NDIS_STATUS_MEDIA_DISCONNECT                             ((NDIS_STATUS)0x4001000C)
#define NDIS_STATUS_HARDWARE_LINE_UP                             ((NDIS_STATUS)0x4001000D)
#define NDIS_STATUS_HARDWARE_LINE_DOWN                           ((NDIS_STATUS)0x4001000E)
#define NDIS_STATUS_INTERFACE_UP                                 ((NDIS_STATUS)0x4001000F)
#define NDIS_STATUS_INTERFACE_DOWN                               ((NDIS_STATUS)0x40010010)
#define NDIS_STATUS_MEDIA_BUSY                                   ((NDIS_STATUS)0x40010011)
#define NDIS_STATUS_MEDIA_SPECIFIC_INDICATION                    ((NDIS_STATUS)0x40010012)
#define NDIS_STATUS_WW_INDICATION                                ((NDIS_STATUS)0x40010012)
#define NDIS_STATUS_LINK_SPEED_CHANGE                            ((NDIS_STATUS)0x40010013)
#define NDIS_STATUS_LINK_STATE                                   ((NDIS_STATUS)0x40010017)
#define NDIS_STATUS_NETWORK_CHANGE                               ((NDIS_STATUS)0x40010018)
#define NDIS_STATUS_MEDIA_SPECIFIC_INDICATION_EX                 ((NDIS_STATUS)0x40010019)
#define NDIS_STATUS_PORT_STATE                                   ((NDIS_STATUS)0x40010022)
#define NDIS_STATUS_OPER_STATUS                                  ((NDIS_STATUS)0x40010023)
#define NDIS_STATUS_PACKET_FILTER                                ((NDIS_STATUS)0x40010024)
#define NDIS_STATUS_IP_OPER_STATUS                               ((NDIS_STATUS)0x40010026)
#define NDIS_STATUS_OFFLOAD_PAUSE                                ((NDIS_STATUS)0x40020001)
#define NDIS_STATUS_UPLOAD_ALL                                   ((NDIS_STATUS)0x40020002)
#define NDIS_STATUS_OFFLOAD_RESUME                               ((NDIS_STATUS)0x40020003)
#define NDIS_STATUS_OFFLOAD_PARTIAL_SUCCESS                      ((NDIS_STATUS)0x40020004)
#define NDIS_STATUS_OFFLOAD_STATE_INVALID                        ((NDIS_STATUS)0x40020005)
#define NDIS_STATUS_TASK_OFFLOAD_CURRENT_CONFIG                  ((NDIS_STATUS)0x40020006)
#define NDIS_STATUS_TASK_OFFLOAD_HARDWARE_CAPABILITIES           ((NDIS_STATUS)0x40020007)
#define NDIS_STATUS_OFFLOAD_ENCASPULATION_CHANGE                 ((NDIS_STATUS)0x40020008)
#define NDIS_STATUS_TCP_CONNECTION_OFFLOAD_HARDWARE_CAPABILITIES ((NDIS_STATUS)0x4002000B)
#define NDIS_STATUS_HD_SPLIT_CURRENT_CONFIG                      ((NDIS_STATUS)0x4002000C)
#define NDIS_STATUS_RECEIVE_QUEUE_STATE                          ((NDIS_STATUS)0x4002000D)
#define NDIS_STATUS_VF_CONFIG_STATE                              ((NDIS_STATUS)0x4002000E)
#define NDIS_STATUS_RECEIVE_FILTER_CURRENT_CAPABILITIES          ((NDIS_STATUS)0x40020010)
#define NDIS_STATUS_RECEIVE_FILTER_HARDWARE_CAPABILITIES         ((NDIS_STATUS)0x40020020)
#define NDIS_STATUS_RECEIVE_FILTER_QUEUE_PARAMETERS              ((NDIS_STATUS)0x40020030)
#define NDIS_STATUS_NIC_SWITCH_CURRENT_CAPABILITIES              ((NDIS_STATUS)0x40020040)
#define NDIS_STATUS_NIC_SWITCH_HARDWARE_CAPABILITIES             ((NDIS_STATUS)0x40020050)
#define NDIS_STATUS_RECEIVE_FILTER_QUEUE_STATE_CHANGE            ((NDIS_STATUS)0x40020070)
#define NDIS_STATUS_ISOLATION_PARAMETERS_CHANGE                  ((NDIS_STATUS)0x40020080)
#define NDIS_STATUS_QOS_OPERATIONAL_PARAMETERS_CHANGE            ((NDIS_STATUS)0x400200A0)
#define NDIS_STATUS_QOS_REMOTE_PARAMETERS_CHANGE                 ((NDIS_STATUS)0x400200A1)
#define NDIS_STATUS_CURRENT_MAC_ADDRESS_CHANGE                   ((NDIS_STATUS)0x400200B0)
#define NDIS_STATUS_L2_MTU_SIZE_CHANGE                           ((NDIS_STATUS)0x400200B1)
#define NDIS_STATUS_OFFLOAD_IM_RESERVED1                         ((NDIS_STATUS)0x40020100)
#define NDIS_STATUS_OFFLOAD_IM_RESERVED2                         ((NDIS_STATUS)0x40020101)
#define NDIS_STATUS_OFFLOAD_IM_RESERVED3                         ((NDIS_STATUS)0x40020102)
#define NDIS_STATUS_PD_CURRENT_CONFIG                            ((NDIS_STATUS)0x40020200)
#define NDIS_STATUS_GFT_OFFLOAD_CURRENT_CAPABILITIES             ((NDIS_STATUS)0x40020300)
#define NDIS_STATUS_GFT_OFFLOAD_HARDWARE_CAPABILITIES            ((NDIS_STATUS)0x40020301)
#define NDIS_STATUS_GFT_OFFLOAD_CURRENT_CONFIG                   ((NDIS_STATUS)0x40020302)
#define NDIS_STATUS_GFT_COUNTERS_UPDATED                         ((NDIS_STATUS)0x40020303)
#define NDIS_STATUS_QOS_OFFLOAD_CURRENT_CAPABILITIES             ((NDIS_STATUS)0x40020400)
#define NDIS_STATUS_QOS_OFFLOAD_HARDWARE_CAPABILITIES            ((NDIS_STATUS)0x40020401)
#define NDIS_STATUS_PM_WOL_PATTERN_REJECTED                      ((NDIS_STATUS)0x40030051)
#define NDIS_STATUS_PM_OFFLOAD_REJECTED                          ((NDIS_STATUS)0x40030052)
#define NDIS_STATUS_PM_CAPABILITIES_CHANGE                       ((NDIS_STATUS)0x40030053)
#define NDIS_STATUS_PM_HARDWARE_CAPABILITIES                     ((NDIS_STATUS)0x40030054)
#define NDIS_STATUS_PM_WAKE_REASON                               ((NDIS_STATUS)0x40030055)
#define NDIS_STATUS_TIMESTAMP_CAPABILITY                         ((NDIS_STATUS)0x40051000)
#define NDIS_STATUS_TIMESTAMP_CURRENT_CONFIG                     ((NDIS_STATUS)0x40051001)
#define NDIS_STATUS_HOST_OUT_OF_MEMORY                           ((NDIS_STATUS)0x40052001)
#define NDIS_STATUS_FRAME_TOO_LONG                               ((NDIS_STATUS)0x40052002)
#define NDIS_STATUS_FRAME_TOO_SHORT                              ((NDIS_STATUS)0x40052003)
#define NDIS_STATUS_FRAME_LENGTH_ERROR                           ((NDIS_STATUS)0x40052004)
#define NDIS_STATUS_CRC_ERROR                                    ((NDIS_STATUS)0x40052005)
#define NDIS_STATUS_BAD_CHECKSUM                                 ((NDIS_STATUS)0x40052006)
#define NDIS_STATUS_FCS_ERROR                                    ((NDIS_STATUS)0x40052007)
#define NDIS_STATUS_SYMBOL_ERROR                                 ((NDIS_STATUS)0x40052008)
#define NDIS_STATUS_HEAD_OF_QUEUE_TIMEOUT                        ((NDIS_STATUS)0x40052009)
#define NDIS_STATUS_STALLED_STATE_DISCARD                        ((NDIS_STATUS)0x40052010)
#define NDIS_STATUS_RX_QUEUE_FULL                                ((NDIS_STATUS)0x40052011)
#define NDIS_STATUS_PHYSICAL_LAYER_ERROR                         ((NDIS_STATUS)0x40052012)
#define NDIS_STATUS_DMA_ERROR                                    ((NDIS_STATUS)0x40052013)
#define NDIS_STATUS_FIRMWARE_ERROR                               ((NDIS_STATUS)0x40052014)
#define NDIS_STATUS_DECRYPTION_FAILED                            ((NDIS_STATUS)0x40052015)
#define NDIS_STATUS_BAD_SIGNATURE                                ((NDIS_STATUS)0x40052016)
#define NDIS_STATUS_COALESCING_ERROR                             ((NDIS_STATUS)0x40052017)
#define NDIS_STATUS_MAC_SPOOFING_FAILURE                         ((NDIS_STATUS)0x40052018)
#define NDIS_STATUS_VLAN_SPOOFING_FAILURE                        ((NDIS_STATUS)0x40052019)
#define NDIS_STATUS_UNALLOWED_ETHERTYPE                          ((NDIS_STATUS)0x40052020)
#define NDIS_STATUS_VPORT_DOWN                                   ((NDIS_STATUS)0x40052021)
#define NDIS_STATUS_STEERING_MISMATCH                            ((NDIS_STATUS)0x40052022)
#define NDIS_STATUS_RESERVED_DROP_BEGIN                          ((NDIS_STATUS)0x40052023)
#define NDIS_STATUS_DRIVER_INTERNAL_DROP_BEGIN                   ((NDIS_STATUS)0x40053000)
#define NDIS_STATUS_RESERVED_DROP_END                            ((NDIS_STATUS)0x40053000)
#define NDIS_STATUS_DRIVER_INTERNAL_DROP_END                     ((NDIS_STATUS)0x40054000)
#define NDIS_STATUS_INDICATION_REQUIRED                          1076035585
#define NDIS_STATUS_BUFFER_OVERFLOW                              ((NDIS_STATUS)0x80000005)
#define NDIS_STATUS_BUSY                                         ((NDIS_STATUS)0x80000011)
#define NDIS_STATUS_NOT_RESETTABLE                               ((NDIS_STATUS)0x80010001)
#define NDIS_STATUS_SOFT_ERRORS                                  ((NDIS_STATUS)0x80010003)
#define NDIS_STATUS_HARD_ERRORS                                  ((NDIS_STATUS)0x80010004)
#define NDIS_STATUS_FAILURE                                      ((NDIS_STATUS)0xC0000001)
#define NDIS_STATUS_INVALID_PARAMETER                            ((NDIS_STATUS)0xC000000D)
#define NDIS_STATUS_INVALID_DEVICE_REQUEST                       ((NDIS_STATUS)0xC0000010)
#define NDIS_STATUS_RESOURCES                                    ((NDIS_STATUS)0xC000009A)
#define NDIS_STATUS_NOT_SUPPORTED                                ((NDIS_STATUS)0xC00000BB)
#define NDIS_STATUS_INVALID_STATE                                ((NDIS_STATUS)0xC0000184)
#define NDIS_STATUS_DATA_NOT_ACCEPTED                            ((NDIS_STATUS)0xC000021B)
#define NDIS_STATUS_NETWORK_UNREACHABLE                          ((NDIS_STATUS)0xC000023C)
#define NDIS_STATUS_CLOSING                                      ((NDIS_STATUS)0xC0010002)
#define NDIS_STATUS_BAD_VERSION                                  ((NDIS_STATUS)0xC0010004)
#define NDIS_STATUS_BAD_CHARACTERISTICS                          ((NDIS_STATUS)0xC0010005)
#define NDIS_STATUS_ADAPTER_NOT_FOUND                            ((NDIS_STATUS)0xC0010006)
#define NDIS_STATUS_OPEN_FAILED                                  ((NDIS_STATUS)0xC0010007)
#define NDIS_STATUS_DEVICE_FAILED                                ((NDIS_STATUS)0xC0010008)
#define NDIS_STATUS_MULTICAST_FULL                               ((NDIS_STATUS)0xC0010009)
#define NDIS_STATUS_MULTICAST_EXISTS                             ((NDIS_STATUS)0xC001000A)
#define NDIS_STATUS_MULTICAST_NOT_FOUND                          ((NDIS_STATUS)0xC001000B)
#define NDIS_STATUS_REQUEST_ABORTED                              ((NDIS_STATUS)0xC001000C)
#define NDIS_STATUS_RESET_IN_PROGRESS                            ((NDIS_STATUS)0xC001000D)
#define NDIS_STATUS_CLOSING_INDICATING                           ((NDIS_STATUS)0xC001000E)
#define NDIS_STATUS_INVALID_PACKET                               ((NDIS_STATUS)0xC001000F)
#define NDIS_STATUS_OPEN_LIST_FULL                               ((NDIS_STATUS)0xC0010010)
#define NDIS_STATUS_ADAPTER_NOT_READY                            ((NDIS_STATUS)0xC0010011)
#define NDIS_STATUS_ADAPTER_NOT_OPEN                             ((NDIS_STATUS)0xC0010012)
#define NDIS_STATUS_NOT_INDICATING                               ((NDIS_STATUS)0xC0010013)
#define NDIS_STATUS_INVALID_LENGTH                               ((NDIS_STATUS)0xC0010014)
#define NDIS_STATUS_INVALID_DATA                                 ((NDIS_STATUS)0xC0010015)
#define NDIS_STATUS_BUFFER_TOO_SHORT                             ((NDIS_STATUS)0xC0010016)
#define NDIS_STATUS_INVALID_OID                                  ((NDIS_STATUS)0xC0010017)
#define NDIS_STATUS_ADAPTER_REMOVED                              ((NDIS_STATUS)0xC0010018)
#define NDIS_STATUS_UNSUPPORTED_MEDIA                            ((NDIS_STATUS)0xC0010019)
#define NDIS_STATUS_GROUP_ADDRESS_IN_USE                         ((NDIS_STATUS)0xC001001A)
#define NDIS_STATUS_FILE_NOT_FOUND                               ((NDIS_STATUS)0xC001001B)
#define NDIS_STATUS_ERROR_READING_FILE                           ((NDIS_STATUS)0xC001001C)
#define NDIS_STATUS_ALREADY_MAPPED                               ((NDIS_STATUS)0xC001001D)
#define NDIS_STATUS_RESOURCE_CONFLICT                            ((NDIS_STATUS)0xC001001E)
#define NDIS_STATUS_NO_CABLE                                     ((NDIS_STATUS)0xC001001F)
#define NDIS_STATUS_INVALID_SAP                                  ((NDIS_STATUS)0xC0010020)
#define NDIS_STATUS_SAP_IN_USE                                   ((NDIS_STATUS)0xC0010021)
#define NDIS_STATUS_INVALID_ADDRESS                              ((NDIS_STATUS)0xC0010022)
#define NDIS_STATUS_VC_NOT_ACTIVATED                             ((NDIS_STATUS)0xC0010023)
#define NDIS_STATUS_DEST_OUT_OF_ORDER                            ((NDIS_STATUS)0xC0010024)
#define NDIS_STATUS_VC_NOT_AVAILABLE                             ((NDIS_STATUS)0xC0010025)
#define NDIS_STATUS_CELLRATE_NOT_AVAILABLE                       ((NDIS_STATUS)0xC0010026)
#define NDIS_STATUS_INCOMPATABLE_QOS                             ((NDIS_STATUS)0xC0010027)
#define NDIS_STATUS_INCOMPATIBLE_QOS                             ((NDIS_STATUS)0xC0010027)
#define NDIS_STATUS_AAL_PARAMS_UNSUPPORTED                       ((NDIS_STATUS)0xC0010028)
#define NDIS_STATUS_NO_ROUTE_TO_DESTINATION                      ((NDIS_STATUS)0xC0010029)
#define NDIS_STATUS_TOKEN_RING_OPEN_ERROR                        ((NDIS_STATUS)0xC0011000)
#define NDIS_STATUS_SEND_ABORTED                                 ((NDIS_STATUS)0xC023000C)
#define NDIS_STATUS_MEDIA_DISCONNECTED                           ((NDIS_STATUS)0xC023001F)
#define NDIS_STATUS_PAUSED                                       ((NDIS_STATUS)0xC023002A)
#define NDIS_STATUS_INTERFACE_NOT_FOUND                          ((NDIS_STATUS)0xC023002B)
#define NDIS_STATUS_UNSUPPORTED_REVISION                         ((NDIS_STATUS)0xC023002C)
#define NDIS_STATUS_INVALID_PORT                                 ((NDIS_STATUS)0xC023002D)
#define NDIS_STATUS_INVALID_PORT_STATE                           ((NDIS_STATUS)0xC023002E)
#define NDIS_STATUS_LOW_POWER_STATE                              ((NDIS_STATUS)0xC023002F)
#define NDIS_STATUS_REINIT_REQUIRED                              ((NDIS_STATUS)0xC0230030)
#define NDIS_STATUS_NO_QUEUES                                    ((NDIS_STATUS)0xC0230031)
#define NDIS_STATUS_UPLOAD_IN_PROGRESS                           ((NDIS_STATUS)0xC0231001)
#define NDIS_STATUS_REQUEST_UPLOAD                               ((NDIS_STATUS)0xC0231002)
#define NDIS_STATUS_UPLOAD_REQUESTED                             ((NDIS_STATUS)0xC0231003)
#define NDIS_STATUS_OFFLOAD_TCP_ENTRIES                          ((NDIS_STATUS)0xC0231004)
#define NDIS_STATUS_OFFLOAD_PATH_ENTRIES                         ((NDIS_STATUS)0xC0231005)
#define NDIS_STATUS_OFFLOAD_NEIGHBOR_ENTRIES                     ((NDIS_STATUS)0xC0231006)
#define NDIS_STATUS_OFFLOAD_IP_ADDRESS_ENTRIES                   ((NDIS_STATUS)0xC0231007)
#define NDIS_STATUS_OFFLOAD_HW_ADDRESS_ENTRIES                   ((NDIS_STATUS)0xC0231008)
#define NDIS_STATUS_OFFLOAD_VLAN_ENTRIES                         ((NDIS_STATUS)0xC0231009)
#define NDIS_STATUS_OFFLOAD_TCP_XMIT_BUFFER                      ((NDIS_STATUS)0xC023100A)
#define NDIS_STATUS_OFFLOAD_TCP_RCV_BUFFER                       ((NDIS_STATUS)0xC023100B)
#define NDIS_STATUS_OFFLOAD_TCP_RCV_WINDOW                       ((NDIS_STATUS)0xC023100C)
#define NDIS_STATUS_OFFLOAD_VLAN_MISMATCH                        ((NDIS_STATUS)0xC023100D)
#define NDIS_STATUS_OFFLOAD_DATA_NOT_ACCEPTED                    ((NDIS_STATUS)0xC023100E)
#define NDIS_STATUS_OFFLOAD_POLICY                               ((NDIS_STATUS)0xC023100F)
#define NDIS_STATUS_OFFLOAD_DATA_PARTIALLY_ACCEPTED              ((NDIS_STATUS)0xC0231010)
#define NDIS_STATUS_OFFLOAD_REQUEST_RESET                        ((NDIS_STATUS)0xC0231011)
#define NDIS_STATUS_OFFLOAD_CONNECTION_REJECTED                  ((NDIS_STATUS)0xC0231012)
#define NDIS_STATUS_PM_WOL_PATTERN_LIST_FULL                     ((NDIS_STATUS)0xC0232003)
#define NDIS_STATUS_PM_PROTOCOL_OFFLOAD_LIST_FULL                ((NDIS_STATUS)0xC0232004)
#define NDIS_STATUS_SWITCH_PORT_REMOVE_VF                        ((NDIS_STATUS)0xC0241001)
#define NDIS_STATUS_SWITCH_NIC_STATUS                            ((NDIS_STATUS)0xC0241002)
#define NDIS_STATUS_INDICATION_FLAGS_NDIS_RESERVED               0xFFF
#define NDIS_STATUS_INDICATION_FLAGS_MEDIA_CONNECT_TO_CONNECT    0x1000

/* ---- Link, statistics, interface information ---- */

typedef struct _NDIS_LINK_SPEED {
    ULONG64 XmitLinkSpeed, RcvLinkSpeed;
} NDIS_LINK_SPEED, *PNDIS_LINK_SPEED;

typedef struct _NDIS_LINK_STATE {
    NDIS_OBJECT_HEADER Header;
    NDIS_MEDIA_CONNECT_STATE MediaConnectState;
    NDIS_MEDIA_DUPLEX_STATE MediaDuplexState;
    ULONG64 XmitLinkSpeed, RcvLinkSpeed;
    NDIS_SUPPORTED_PAUSE_FUNCTIONS PauseFunctions;
    ULONG AutoNegotiationFlags;
} NDIS_LINK_STATE, *PNDIS_LINK_STATE;

typedef struct _NDIS_LINK_PARAMETERS {
    NDIS_OBJECT_HEADER Header;
    NDIS_MEDIA_DUPLEX_STATE MediaDuplexState;
    ULONG64 XmitLinkSpeed, RcvLinkSpeed;
    NDIS_SUPPORTED_PAUSE_FUNCTIONS PauseFunctions;
    ULONG AutoNegotiationFlags;
} NDIS_LINK_PARAMETERS, *PNDIS_LINK_PARAMETERS;

typedef struct _NDIS_OPER_STATE {
    NDIS_OBJECT_HEADER Header;
    NET_IF_OPER_STATUS OperationalStatus;
    ULONG OperationalStatusFlags;
} NDIS_OPER_STATE, *PNDIS_OPER_STATE;

typedef struct _NDIS_STATISTICS_INFO {
    NDIS_OBJECT_HEADER Header;
    ULONG SupportedStatistics;
    ULONG64 ifInDiscards, ifInErrors;
    ULONG64 ifHCInOctets, ifHCInUcastPkts, ifHCInMulticastPkts, ifHCInBroadcastPkts;
    ULONG64 ifHCOutOctets, ifHCOutUcastPkts, ifHCOutMulticastPkts, ifHCOutBroadcastPkts;
    ULONG64 ifOutErrors, ifOutDiscards;
    ULONG64 ifHCInUcastOctets, ifHCInMulticastOctets, ifHCInBroadcastOctets;
    ULONG64 ifHCOutUcastOctets, ifHCOutMulticastOctets, ifHCOutBroadcastOctets;
} NDIS_STATISTICS_INFO, *PNDIS_STATISTICS_INFO;

typedef struct _NDIS_STATISTICS_VALUE {
    NDIS_OID Oid;
    ULONG DataLength;
    UCHAR Data[1];
} NDIS_STATISTICS_VALUE, *PNDIS_STATISTICS_VALUE;

typedef struct _NDIS_INTERFACE_INFORMATION {
    NET_IF_OPER_STATUS ifOperStatus;
    ULONG ifOperStatusFlags;
    NET_IF_MEDIA_CONNECT_STATE MediaConnectState;
    NET_IF_MEDIA_DUPLEX_STATE MediaDuplexState;
    ULONG ifMtu;
    BOOLEAN ifPromiscuousMode, ifDeviceWakeUpEnable;
    ULONG64 XmitLinkSpeed, RcvLinkSpeed, ifLastChange, ifCounterDiscontinuityTime;
    ULONG64 ifInUnknownProtos, ifInDiscards, ifInErrors;
    ULONG64 ifHCInOctets, ifHCInUcastPkts, ifHCInMulticastPkts, ifHCInBroadcastPkts;
    ULONG64 ifHCOutOctets, ifHCOutUcastPkts, ifHCOutMulticastPkts, ifHCOutBroadcastPkts;
    ULONG64 ifOutErrors, ifOutDiscards;
    ULONG64 ifHCInUcastOctets, ifHCInMulticastOctets, ifHCInBroadcastOctets;
    ULONG64 ifHCOutUcastOctets, ifHCOutMulticastOctets, ifHCOutBroadcastOctets;
    NET_IF_COMPARTMENT_ID CompartmentId;
    ULONG SupportedStatistics;
} NDIS_INTERFACE_INFORMATION, *PNDIS_INTERFACE_INFORMATION;

typedef struct _NDIS_INTERRUPT_MODERATION_PARAMETERS {
    NDIS_OBJECT_HEADER Header;
    ULONG Flags;
    NDIS_INTERRUPT_MODERATION InterruptModeration;
} NDIS_INTERRUPT_MODERATION_PARAMETERS, *PNDIS_INTERRUPT_MODERATION_PARAMETERS;

typedef struct _NDIS_PORT_AUTHENTICATION_PARAMETERS {
    NDIS_OBJECT_HEADER Header;
    NDIS_PORT_CONTROL_STATE SendControlState, RcvControlState;
    NDIS_PORT_AUTHORIZATION_STATE SendAuthorizationState, RcvAuthorizationState;
} NDIS_PORT_AUTHENTICATION_PARAMETERS, *PNDIS_PORT_AUTHENTICATION_PARAMETERS;

typedef struct _NDIS_GUID {
    GUID Guid;
    union {
        NDIS_OID Oid;
        NDIS_STATUS Status;
    };
    ULONG Size, Flags;
} NDIS_GUID, *PNDIS_GUID;

typedef struct _NDIS_VAR_DATA_DESC {
    USHORT Length, MaximumLength;
    ULONG_PTR Offset;
} NDIS_VAR_DATA_DESC, *PNDIS_VAR_DATA_DESC;

/* ---- Power management ---- */

typedef struct _NDIS_PM_WAKE_UP_CAPABILITIES {
    NDIS_DEVICE_POWER_STATE MinMagicPacketWakeUp, MinPatternWakeUp, MinLinkChangeWakeUp;
} NDIS_PM_WAKE_UP_CAPABILITIES, *PNDIS_PM_WAKE_UP_CAPABILITIES;

typedef struct _NDIS_PNP_CAPABILITIES {
    ULONG Flags;
    NDIS_PM_WAKE_UP_CAPABILITIES WakeUpCapabilities;
} NDIS_PNP_CAPABILITIES, *PNDIS_PNP_CAPABILITIES;

typedef struct _NDIS_PM_CAPABILITIES {
    NDIS_OBJECT_HEADER Header;
    ULONG Flags, SupportedWoLPacketPatterns, NumTotalWoLPatterns, MaxWoLPatternSize,
        MaxWoLPatternOffset;
    ULONG MaxWoLPacketSaveBuffer, SupportedProtocolOffloads, NumArpOffloadIPv4Addresses,
        NumNSOffloadIPv6Addresses;
    NDIS_DEVICE_POWER_STATE MinMagicPacketWakeUp, MinPatternWakeUp, MinLinkChangeWakeUp;
    ULONG SupportedWakeUpEvents, MediaSpecificWakeUpEvents;
} NDIS_PM_CAPABILITIES, *PNDIS_PM_CAPABILITIES;

typedef struct _NDIS_PM_PARAMETERS {
    NDIS_OBJECT_HEADER Header;
    ULONG EnabledWoLPacketPatterns, EnabledProtocolOffloads, WakeUpFlags, MediaSpecificWakeUpEvents;
} NDIS_PM_PARAMETERS, *PNDIS_PM_PARAMETERS;

/* ---- Receive scaling ---- */

#define NDIS_RSS_CAPS_HASH_TYPE_TCP_IPV4                0x100
#define NDIS_RSS_CAPS_HASH_TYPE_TCP_IPV6                0x200
#define NDIS_RSS_CAPS_HASH_TYPE_TCP_IPV6_EX             0x400
#define NDIS_RSS_CAPS_HASH_TYPE_UDP_IPV4                0x800
#define NDIS_RSS_CAPS_HASH_TYPE_UDP_IPV6                0x1000
#define NDIS_RSS_CAPS_HASH_TYPE_UDP_IPV6_EX             0x2000
#define NDIS_RSS_CAPS_MESSAGE_SIGNALED_INTERRUPTS       0x1000000
#define NDIS_RSS_CAPS_CLASSIFICATION_AT_ISR             0x2000000
#define NDIS_RSS_CAPS_CLASSIFICATION_AT_DPC             0x4000000
#define NDIS_RSS_CAPS_USING_MSI_X                       0x8000000
#define NDIS_RSS_CAPS_RSS_AVAILABLE_ON_PORTS            0x10000000
#define NDIS_RSS_CAPS_SUPPORTS_MSI_X                    0x20000000
#define NDIS_RSS_CAPS_SUPPORTS_INDEPENDENT_ENTRY_MOVE   0x40000000
#define NDIS_HASH_FUNCTION_MASK                         0xFF
#define NDIS_HASH_IPV4                                  0x100
#define NDIS_HASH_TCP_IPV4                              0x200
#define NDIS_HASH_IPV6                                  0x400
#define NDIS_HASH_IPV6_EX                               0x800
#define NDIS_HASH_TCP_IPV6                              0x1000
#define NDIS_HASH_TCP_IPV6_EX                           0x2000
#define NDIS_HASH_TYPE_MASK                             0xFFFF00
#define NDIS_RSS_PARAM_FLAG_BASE_CPU_UNCHANGED          1
#define NDIS_RSS_PARAM_FLAG_HASH_INFO_UNCHANGED         2
#define NDIS_RSS_PARAM_FLAG_ITABLE_UNCHANGED            4
#define NDIS_RSS_PARAM_FLAG_HASH_KEY_UNCHANGED          8
#define NDIS_RSS_PARAM_FLAG_DISABLE_RSS                 0x10
#define NDIS_RSS_PARAM_FLAG_DEFAULT_PROCESSOR_UNCHANGED 0x20

typedef struct _NDIS_RECEIVE_SCALE_CAPABILITIES {
    NDIS_OBJECT_HEADER Header;
    NDIS_RSS_CAPS_FLAGS CapabilitiesFlags;
    ULONG NumberOfInterruptMessages, NumberOfReceiveQueues;
    USHORT NumberOfIndirectionTableEntries;
} NDIS_RECEIVE_SCALE_CAPABILITIES, *PNDIS_RECEIVE_SCALE_CAPABILITIES;

typedef struct _NDIS_RECEIVE_SCALE_PARAMETERS {
    NDIS_OBJECT_HEADER Header;
    USHORT Flags, BaseCpuNumber;
    ULONG HashInformation;
    USHORT IndirectionTableSize;
    ULONG IndirectionTableOffset;
    USHORT HashSecretKeySize;
    ULONG HashSecretKeyOffset, ProcessorMasksOffset, NumberOfProcessorMasks,
        ProcessorMasksEntrySize;
    PROCESSOR_NUMBER DefaultProcessorNumber;
} NDIS_RECEIVE_SCALE_PARAMETERS, *PNDIS_RECEIVE_SCALE_PARAMETERS;

typedef struct _NDIS_RECEIVE_SCALE_PARAMETERS_V2 {
    NDIS_OBJECT_HEADER Header;
    ULONG Flags, HashInformation, HashSecretKeySize, HashSecretKeyOffset;
    ULONG NumberOfQueues, NumberOfIndirectionTableEntries;
} NDIS_RECEIVE_SCALE_PARAMETERS_V2, *PNDIS_RECEIVE_SCALE_PARAMETERS_V2;

typedef struct _NDIS_RECEIVE_HASH_PARAMETERS {
    NDIS_OBJECT_HEADER Header;
    ULONG Flags, HashInformation;
    USHORT HashSecretKeySize;
    ULONG HashSecretKeyOffset;
} NDIS_RECEIVE_HASH_PARAMETERS, *PNDIS_RECEIVE_HASH_PARAMETERS;

/* ---- Task offloads: what the hardware can do and what is on ---- */

#define NDIS_OFFLOAD_NOT_SUPPORTED                          0
#define NDIS_OFFLOAD_SET_NO_CHANGE                          0
#define NDIS_OFFLOAD_FLAGS_GROUP_CHECKSUM_CAPABILITIES      1
#define NDIS_OFFLOAD_SET_ON                                 1
#define NDIS_OFFLOAD_SUPPORTED                              1
#define NDIS_OFFLOAD_SET_OFF                                2
#define NDIS_ENCAPSULATION_NOT_SUPPORTED                    0
#define NDIS_ENCAPSULATION_NULL                             1
#define NDIS_ENCAPSULATION_TYPE_GRE_MAC                     1
#define NDIS_ENCAPSULATION_IEEE_802_3                       2
#define NDIS_ENCAPSULATION_TYPE_VXLAN                       2
#define NDIS_ENCAPSULATION_IEEE_802_3_P_AND_Q               4
#define NDIS_ENCAPSULATION_IEEE_802_3_P_AND_Q_IN_OOB        8
#define NDIS_ENCAPSULATION_IEEE_LLC_SNAP_ROUTED             0x10
#define NDIS_OFFLOAD_PARAMETERS_NO_CHANGE                   0
#define NDIS_OFFLOAD_PARAMETERS_UDP_RSC_NO_CHANGE           0
#define NDIS_OFFLOAD_PARAMETERS_LSOV1_DISABLED              1
#define NDIS_OFFLOAD_PARAMETERS_LSOV2_DISABLED              1
#define NDIS_OFFLOAD_PARAMETERS_RSC_DISABLED                1
#define NDIS_OFFLOAD_PARAMETERS_SKIP_REGISTRY_UPDATE        1
#define NDIS_OFFLOAD_PARAMETERS_TX_RX_DISABLED              1
#define NDIS_OFFLOAD_PARAMETERS_UDP_RSC_DISABLED            1
#define NDIS_OFFLOAD_PARAMETERS_USO_DISABLED                1
#define NDIS_OFFLOAD_PARAMETERS_LSOV1_ENABLED               2
#define NDIS_OFFLOAD_PARAMETERS_LSOV2_ENABLED               2
#define NDIS_OFFLOAD_PARAMETERS_RSC_ENABLED                 2
#define NDIS_OFFLOAD_PARAMETERS_TX_ENABLED_RX_DISABLED      2
#define NDIS_OFFLOAD_PARAMETERS_UDP_RSC_ENABLED             2
#define NDIS_OFFLOAD_PARAMETERS_USO_ENABLED                 2
#define NDIS_OFFLOAD_PARAMETERS_RX_ENABLED_TX_DISABLED      3
#define NDIS_OFFLOAD_PARAMETERS_TX_RX_ENABLED               4
#define NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD_NOT_SUPPORTED 0
#define NDIS_TCP_LARGE_SEND_OFFLOAD_IPv4                    0
#define NDIS_TCP_LARGE_SEND_OFFLOAD_V1_TYPE                 0
#define NDIS_UDP_SEGMENTATION_OFFLOAD_IPV4                  0
#define NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD_INNER_IPV4    1
#define NDIS_TCP_LARGE_SEND_OFFLOAD_IPv6                    1
#define NDIS_TCP_LARGE_SEND_OFFLOAD_V2_TYPE                 1
#define NDIS_UDP_SEGMENTATION_OFFLOAD_IPV6                  1
#define NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD_OUTER_IPV4    2
#define NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD_INNER_IPV6    4
#define NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD_OUTER_IPV6    8
#define NDIS_LARGE_SEND_OFFLOAD_MAX_HEADER_LENGTH           128
/* clang-format off */
typedef enum _NDIS_RFC6877_464XLAT_OFFLOAD_OPTIONS {
    NDIS_RFC6877_464XLAT_OFFLOAD_NOT_SUPPORTED, NDIS_RFC6877_464XLAT_OFFLOAD_DISABLED,
    NDIS_RFC6877_464XLAT_OFFLOAD_ENABLED, NDIS_RFC6877_464XLAT_OFFLOAD_ON_DEMAND
} NDIS_RFC6877_464XLAT_OFFLOAD_OPTIONS;
/* clang-format on */

typedef struct _NDIS_TCP_IP_CHECKSUM_OFFLOAD {
    struct {
        ULONG Encapsulation;
        ULONG IpOptionsSupported : 2, TcpOptionsSupported : 2, TcpChecksum : 2, UdpChecksum : 2,
            IpChecksum : 2;
    } IPv4Transmit, IPv4Receive;
    struct {
        ULONG Encapsulation;
        ULONG IpExtensionHeadersSupported : 2, TcpOptionsSupported : 2, TcpChecksum : 2,
            UdpChecksum : 2;
    } IPv6Transmit, IPv6Receive;
} NDIS_TCP_IP_CHECKSUM_OFFLOAD, *PNDIS_TCP_IP_CHECKSUM_OFFLOAD;

typedef struct _NDIS_TCP_LARGE_SEND_OFFLOAD_V1 {
    struct {
        ULONG Encapsulation, MaxOffLoadSize, MinSegmentCount;
        ULONG TcpOptions : 2, IpOptions : 2;
    } IPv4;
} NDIS_TCP_LARGE_SEND_OFFLOAD_V1, *PNDIS_TCP_LARGE_SEND_OFFLOAD_V1;

typedef struct _NDIS_TCP_LARGE_SEND_OFFLOAD_V2 {
    struct {
        ULONG Encapsulation, MaxOffLoadSize, MinSegmentCount;
    } IPv4;
    struct {
        ULONG Encapsulation, MaxOffLoadSize, MinSegmentCount;
        ULONG IpExtensionHeadersSupported : 2, TcpOptionsSupported : 2;
    } IPv6;
} NDIS_TCP_LARGE_SEND_OFFLOAD_V2, *PNDIS_TCP_LARGE_SEND_OFFLOAD_V2;

typedef struct _NDIS_IPSEC_OFFLOAD_V1 {
    struct {
        ULONG Encapsulation, AhEspCombined, TransportTunnelCombined, IPv4Options, Flags;
    } Supported;
    struct {
        ULONG Md5 : 2, Sha_1 : 2, Transport : 2, Tunnel : 2, Send : 2, Receive : 2;
    } IPv4AH;
    struct {
        ULONG Des : 2, Reserved : 2, TripleDes : 2, NullEsp : 2, Transport : 2, Tunnel : 2,
            Send : 2, Receive : 2;
    } IPv4ESP;
} NDIS_IPSEC_OFFLOAD_V1, *PNDIS_IPSEC_OFFLOAD_V1;

typedef struct _NDIS_IPSEC_OFFLOAD_V2 {
    ULONG Encapsulation;
    BOOLEAN IPv6Supported, IPv4Options, IPv6NonIPsecExtensionHeaders, Ah, Esp, AhEspCombined;
    BOOLEAN Transport, Tunnel, TransportTunnelCombined, LsoSupported, ExtendedSequenceNumbers;
    ULONG UdpEsp, AuthenticationAlgorithms, EncryptionAlgorithms, SaOffloadCapacity;
} NDIS_IPSEC_OFFLOAD_V2, *PNDIS_IPSEC_OFFLOAD_V2;

typedef struct _NDIS_TCP_RECV_SEG_COALESCE_OFFLOAD {
    struct {
        BOOLEAN Enabled;
    } IPv4, IPv6;
} NDIS_TCP_RECV_SEG_COALESCE_OFFLOAD, *PNDIS_TCP_RECV_SEG_COALESCE_OFFLOAD;

typedef struct _NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD {
    ULONG TransmitChecksumOffloadSupported : 4, ReceiveChecksumOffloadSupported : 4,
        LsoV2Supported : 4, RssSupported : 4, VmqSupported : 4, UsoSupported : 4, Reserved : 8;
    ULONG MaxHeaderSizeSupported;
} NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD, *PNDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD;

typedef struct _NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD_V2 {
    ULONG TransmitChecksumOffloadSupported : 4, ReceiveChecksumOffloadSupported : 4,
        LsoV2Supported : 4, RssSupported : 4, VmqSupported : 4, UsoSupported : 4, Reserved : 8;
    ULONG MaxHeaderSizeSupported;
    union _ENCAPSULATION_PROTOCOL_INFO {
        struct _VXLAN_INFO {
            USHORT VxlanUDPPortNumber;
            USHORT VxlanUDPPortNumberConfigurable : 1;
        } VxlanInfo;
        ULONG Value;
    } EncapsulationProtocolInfo;
    ULONG Reserved1, Reserved2;
} NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD_V2, *PNDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD_V2;

typedef struct _NDIS_RFC6877_464XLAT_OFFLOAD {
    NDIS_RFC6877_464XLAT_OFFLOAD_OPTIONS XlatOffload;
    ULONG Flags;
} NDIS_RFC6877_464XLAT_OFFLOAD, *PNDIS_RFC6877_464XLAT_OFFLOAD;

typedef struct _NDIS_UDP_SEGMENTATION_OFFLOAD {
    struct {
        ULONG Encapsulation, MaxOffLoadSize;
        ULONG MinSegmentCount : 6, SubMssFinalSegmentSupported : 1, Reserved : 25;
    } IPv4;
    struct {
        ULONG Encapsulation, MaxOffLoadSize;
        ULONG MinSegmentCount : 6, SubMssFinalSegmentSupported : 1, Reserved1 : 25;
        ULONG IpExtensionHeadersSupported : 2, Reserved2 : 30;
    } IPv6;
} NDIS_UDP_SEGMENTATION_OFFLOAD, *PNDIS_UDP_SEGMENTATION_OFFLOAD;

typedef struct _NDIS_UDP_RSC_OFFLOAD {
    BOOLEAN Enabled;
} NDIS_UDP_RSC_OFFLOAD, *PNDIS_UDP_RSC_OFFLOAD;

typedef struct _NDIS_OFFLOAD {
    NDIS_OBJECT_HEADER Header;
    NDIS_TCP_IP_CHECKSUM_OFFLOAD Checksum;
    NDIS_TCP_LARGE_SEND_OFFLOAD_V1 LsoV1;
    NDIS_IPSEC_OFFLOAD_V1 IPsecV1;
    NDIS_TCP_LARGE_SEND_OFFLOAD_V2 LsoV2;
    ULONG Flags;
    NDIS_IPSEC_OFFLOAD_V2 IPsecV2;
    NDIS_TCP_RECV_SEG_COALESCE_OFFLOAD Rsc;
    NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD EncapsulatedPacketTaskOffloadGre;
    NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD_V2 EncapsulatedPacketTaskOffloadVxlan;
    UCHAR EncapsulationTypes;
    NDIS_RFC6877_464XLAT_OFFLOAD Rfc6877Xlat;
    NDIS_UDP_SEGMENTATION_OFFLOAD UdpSegmentation;
    NDIS_UDP_RSC_OFFLOAD UdpRsc;
} NDIS_OFFLOAD, *PNDIS_OFFLOAD;

typedef struct _NDIS_OFFLOAD_PARAMETERS {
    NDIS_OBJECT_HEADER Header;
    UCHAR IPv4Checksum, TCPIPv4Checksum, UDPIPv4Checksum, TCPIPv6Checksum, UDPIPv6Checksum;
    UCHAR LsoV1, IPsecV1, LsoV2IPv4, LsoV2IPv6, TcpConnectionIPv4, TcpConnectionIPv6;
    ULONG Flags;
    UCHAR IPsecV2, IPsecV2IPv4;
    UCHAR RscIPv4, RscIPv6;
    UCHAR EncapsulatedPacketTaskOffload, EncapsulationTypes;
    union _ENCAPSULATION_PROTOCOL_PARAMETERS {
        struct _VXLAN_PARAMETERS {
            USHORT VxlanUDPPortNumber;
        } VxlanParameters;
        ULONG Value;
    } EncapsulationProtocolParameters;
    struct {
        UCHAR IPv4, IPv6;
    } UdpSegmentation;
    struct {
        UCHAR Enabled;
    } UdpRsc;
} NDIS_OFFLOAD_PARAMETERS, *PNDIS_OFFLOAD_PARAMETERS;

typedef struct _NDIS_OFFLOAD_ENCAPSULATION {
    NDIS_OBJECT_HEADER Header;
    struct {
        ULONG Enabled, EncapsulationType, HeaderSize;
    } IPv4, IPv6;
} NDIS_OFFLOAD_ENCAPSULATION, *PNDIS_OFFLOAD_ENCAPSULATION;

typedef struct _NDIS_TCP_CONNECTION_OFFLOAD {
    NDIS_OBJECT_HEADER Header;
    ULONG Encapsulation;
    ULONG SupportIPv4 : 2, SupportIPv6 : 2, SupportIPv6ExtensionHeaders : 2, SupportSack : 2,
        CongestionAlgorithm : 4;
    ULONG TcpConnectionOffloadCapacity, Flags;
} NDIS_TCP_CONNECTION_OFFLOAD, *PNDIS_TCP_CONNECTION_OFFLOAD;

/* ---- Time stamps (6.82) ---- */

typedef struct _NDIS_TIMESTAMP_CAPABILITY_FLAGS {
    BOOLEAN PtpV2OverUdpIPv4EventMsgReceiveHw, PtpV2OverUdpIPv4AllMsgReceiveHw;
    BOOLEAN PtpV2OverUdpIPv4EventMsgTransmitHw, PtpV2OverUdpIPv4AllMsgTransmitHw;
    BOOLEAN PtpV2OverUdpIPv6EventMsgReceiveHw, PtpV2OverUdpIPv6AllMsgReceiveHw;
    BOOLEAN PtpV2OverUdpIPv6EventMsgTransmitHw, PtpV2OverUdpIPv6AllMsgTransmitHw;
    BOOLEAN AllReceiveHw, AllTransmitHw, TaggedTransmitHw, AllReceiveSw, AllTransmitSw,
        TaggedTransmitSw;
} NDIS_TIMESTAMP_CAPABILITY_FLAGS, *PNDIS_TIMESTAMP_CAPABILITY_FLAGS;

typedef struct _NDIS_TIMESTAMP_CAPABILITIES {
    NDIS_OBJECT_HEADER Header;
    ULONG64 HardwareClockFrequencyHz;
    BOOLEAN CrossTimestamp;
    ULONG64 Reserved1, Reserved2;
    NDIS_TIMESTAMP_CAPABILITY_FLAGS TimestampFlags;
} NDIS_TIMESTAMP_CAPABILITIES, *PNDIS_TIMESTAMP_CAPABILITIES;

typedef struct _NDIS_HARDWARE_CROSSTIMESTAMP {
    NDIS_OBJECT_HEADER Header;
    ULONG Flags;
    ULONG64 SystemTimestamp1, HardwareClockTimestamp, SystemTimestamp2;
} NDIS_HARDWARE_CROSSTIMESTAMP, *PNDIS_HARDWARE_CROSSTIMESTAMP;
