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

#define IF_TYPE_PROP_VIRTUAL         53
#define NDIS_MAX_PHYS_ADDRESS_LENGTH 32
/* clang-format off */
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
typedef enum _NDIS_DEVICE_POWER_STATE {
    NdisDeviceStateUnspecified, NdisDeviceStateD0, NdisDeviceStateD1, NdisDeviceStateD2,
    NdisDeviceStateD3, NdisDeviceStateMaximum
} NDIS_DEVICE_POWER_STATE;
typedef enum _NDIS_SUPPORTED_PAUSE_FUNCTIONS {
    NdisPauseFunctionsUnsupported, NdisPauseFunctionsSendOnly, NdisPauseFunctionsReceiveOnly,
    NdisPauseFunctionsSendAndReceive, NdisPauseFunctionsUnknown
} NDIS_SUPPORTED_PAUSE_FUNCTIONS;
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
#define NDIS_DEFAULT_PORT_NUMBER 0

/* ---- Every versioned structure starts with this ---- */

typedef struct _NDIS_OBJECT_HEADER {
    UCHAR Type, Revision;
    USHORT Size;
} NDIS_OBJECT_HEADER, *PNDIS_OBJECT_HEADER;

#define NDIS_OBJECT_TYPE_DEFAULT                                     0x80
#define NDIS_OBJECT_TYPE_MINIPORT_INIT_PARAMETERS                    0x81
#define NDIS_OBJECT_TYPE_DEVICE_OBJECT_ATTRIBUTES                    0x85
#define NDIS_OBJECT_TYPE_MINIPORT_DRIVER_CHARACTERISTICS             0x8A
#define NDIS_OBJECT_TYPE_MINIPORT_PNP_CHARACTERISTICS                0x92
#define NDIS_OBJECT_TYPE_OID_REQUEST                                 0x96
#define NDIS_OBJECT_TYPE_TIMER_CHARACTERISTICS                       0x97
#define NDIS_OBJECT_TYPE_STATUS_INDICATION                           0x98
#define NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES    0x9E
#define NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES         0x9F
#define NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES         0xA0
#define NDIS_OBJECT_TYPE_RESTART_GENERAL_ATTRIBUTES                  0xA2
#define NDIS_OBJECT_TYPE_MINIPORT_ADD_DEVICE_REGISTRATION_ATTRIBUTES 0xA4
#define NDIS_OBJECT_TYPE_OFFLOAD                                     0xA7
#define NDIS_OBJECT_TYPE_CONFIGURATION_OBJECT                        0xA9
#define NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_HARDWARE_ASSIST_ATTRIBUTES 0xAF
#define NDIS_OBJECT_TYPE_RSS_PROCESSOR_INFO                          0xB1

/* ---- Object identifiers ---- */

#define OID_GEN_SUPPORTED_LIST                0x00010101
#define OID_GEN_MEDIA_SUPPORTED               0x00010103
#define OID_GEN_MEDIA_IN_USE                  0x00010104
#define OID_GEN_MAXIMUM_LOOKAHEAD             0x00010105
#define OID_GEN_MAXIMUM_FRAME_SIZE            0x00010106
#define OID_GEN_LINK_SPEED                    0x00010107
#define OID_GEN_TRANSMIT_BUFFER_SPACE         0x00010108
#define OID_GEN_RECEIVE_BUFFER_SPACE          0x00010109
#define OID_GEN_TRANSMIT_BLOCK_SIZE           0x0001010A
#define OID_GEN_RECEIVE_BLOCK_SIZE            0x0001010B
#define OID_GEN_VENDOR_ID                     0x0001010C
#define OID_GEN_VENDOR_DESCRIPTION            0x0001010D
#define OID_GEN_CURRENT_PACKET_FILTER         0x0001010E
#define OID_GEN_CURRENT_LOOKAHEAD             0x0001010F
#define OID_GEN_DRIVER_VERSION                0x00010110
#define OID_GEN_MAXIMUM_TOTAL_SIZE            0x00010111
#define OID_GEN_MAC_OPTIONS                   0x00010113
#define OID_GEN_MEDIA_CONNECT_STATUS          0x00010114
#define OID_GEN_VENDOR_DRIVER_VERSION         0x00010116
#define OID_GEN_PHYSICAL_MEDIUM               0x00010202
#define OID_GEN_LINK_STATE                    0x00010207
#define OID_GEN_LINK_PARAMETERS               0x00010208
#define OID_GEN_INTERRUPT_MODERATION          0x00010209
#define OID_GEN_MINIPORT_RESTART_ATTRIBUTES   0x0001021D
#define OID_GEN_MEDIA_CONNECT_STATUS_EX       0x0001028A
#define OID_GEN_MEDIA_DUPLEX_STATE            0x0001028C
#define OID_GEN_XMIT_OK                       0x00020101
#define OID_GEN_RCV_OK                        0x00020102
#define OID_GEN_STATISTICS                    0x00020106
#define OID_802_3_PERMANENT_ADDRESS           0x01010101
#define OID_802_3_CURRENT_ADDRESS             0x01010102
#define OID_802_3_MAXIMUM_LIST_SIZE           0x01010104
#define OID_TCP_OFFLOAD_CURRENT_CONFIG        0xFC01020B
#define OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES 0xFC01020D
#define OID_PNP_SET_POWER                     0xFD010101
#define OID_PNP_QUERY_POWER                   0xFD010102

/* ---- Filters, options, statistics bits ---- */

#define NDIS_PACKET_TYPE_DIRECTED           1
#define NDIS_PACKET_TYPE_ALL_MULTICAST      4
#define NDIS_PACKET_TYPE_BROADCAST          8
#define NDIS_PACKET_TYPE_PROMISCUOUS        0x20
#define NDIS_PACKET_TYPE_ALL_LOCAL          0x80
#define NDIS_PACKET_TYPE_ALL_FUNCTIONAL     0x2000
#define NDIS_MAC_OPTION_COPY_LOOKAHEAD_DATA 1
#define NDIS_MAC_OPTION_TRANSFERS_NOT_PEND  4
#define NDIS_MAC_OPTION_NO_LOOPBACK         8

/* ---- Status codes and indications ---- */

#define NDIS_STATUS_SUCCESS                   ((NDIS_STATUS)0x00000000)
#define NDIS_STATUS_PENDING                   ((NDIS_STATUS)0x00000103)
#define NDIS_STATUS_NOT_ACCEPTED              ((NDIS_STATUS)0x00010003)
#define NDIS_STATUS_MEDIA_CONNECT             ((NDIS_STATUS)0x4001000B)
#define NDIS_STATUS_MEDIA_SPECIFIC_INDICATION ((NDIS_STATUS)0x40010012)
#define NDIS_STATUS_LINK_STATE                ((NDIS_STATUS)0x40010017)
#define NDIS_STATUS_BUFFER_OVERFLOW           ((NDIS_STATUS)0x80000005)
#define NDIS_STATUS_FAILURE                   ((NDIS_STATUS)0xC0000001)
#define NDIS_STATUS_INVALID_PARAMETER         ((NDIS_STATUS)0xC000000D)
#define NDIS_STATUS_RESOURCES                 ((NDIS_STATUS)0xC000009A)
#define NDIS_STATUS_NOT_SUPPORTED             ((NDIS_STATUS)0xC00000BB)
#define NDIS_STATUS_BAD_VERSION               ((NDIS_STATUS)0xC0010004)
#define NDIS_STATUS_BAD_CHARACTERISTICS       ((NDIS_STATUS)0xC0010005)
#define NDIS_STATUS_REQUEST_ABORTED           ((NDIS_STATUS)0xC001000C)
#define NDIS_STATUS_ADAPTER_NOT_READY         ((NDIS_STATUS)0xC0010011)
#define NDIS_STATUS_INVALID_LENGTH            ((NDIS_STATUS)0xC0010014)
#define NDIS_STATUS_INVALID_DATA              ((NDIS_STATUS)0xC0010015)
#define NDIS_STATUS_BUFFER_TOO_SHORT          ((NDIS_STATUS)0xC0010016)
#define NDIS_STATUS_INVALID_OID               ((NDIS_STATUS)0xC0010017)
#define NDIS_STATUS_MEDIA_DISCONNECTED        ((NDIS_STATUS)0xC023001F)
#define NDIS_STATUS_PAUSED                    ((NDIS_STATUS)0xC023002A)
#define NDIS_STATUS_UNSUPPORTED_REVISION      ((NDIS_STATUS)0xC023002C)
#define NDIS_STATUS_INVALID_PORT              ((NDIS_STATUS)0xC023002D)

/* ---- Link, statistics, interface information ---- */

typedef struct _NDIS_LINK_STATE {
    NDIS_OBJECT_HEADER Header;
    NDIS_MEDIA_CONNECT_STATE MediaConnectState;
    NDIS_MEDIA_DUPLEX_STATE MediaDuplexState;
    ULONG64 XmitLinkSpeed, RcvLinkSpeed;
    NDIS_SUPPORTED_PAUSE_FUNCTIONS PauseFunctions;
    ULONG AutoNegotiationFlags;
} NDIS_LINK_STATE, *PNDIS_LINK_STATE;

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

/* ---- Receive scaling ---- */

typedef struct _NDIS_RECEIVE_SCALE_CAPABILITIES {
    NDIS_OBJECT_HEADER Header;
    NDIS_RSS_CAPS_FLAGS CapabilitiesFlags;
    ULONG NumberOfInterruptMessages, NumberOfReceiveQueues;
    USHORT NumberOfIndirectionTableEntries;
} NDIS_RECEIVE_SCALE_CAPABILITIES, *PNDIS_RECEIVE_SCALE_CAPABILITIES;

/* ---- Task offloads: what the hardware can do and what is on ---- */

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

typedef struct _NDIS_TCP_CONNECTION_OFFLOAD {
    NDIS_OBJECT_HEADER Header;
    ULONG Encapsulation;
    ULONG SupportIPv4 : 2, SupportIPv6 : 2, SupportIPv6ExtensionHeaders : 2, SupportSack : 2,
        CongestionAlgorithm : 4;
    ULONG TcpConnectionOffloadCapacity, Flags;
} NDIS_TCP_CONNECTION_OFFLOAD, *PNDIS_TCP_CONNECTION_OFFLOAD;
