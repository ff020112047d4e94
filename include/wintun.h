/* SPDX-License-Identifier: MIT OR 0BSD */
/* Copyright (C) 2026 Wintun authors */
/*
 * The interface of wintun.dll: network adapters whose bare IPv4 and IPv6 packets a program reads
 * and writes. This is the one file to copy into a program; it must never need another of this
 * project, and whoever includes it may do so under either licence:
 *
 * Permission to use, copy, modify, and/or distribute this file for any purpose with or without fee
 * is hereby granted. It is provided "as is", without warranty of any kind; its authors are not
 * liable for any damage that its use may cause.
 *
 * Functions are declared as types, so that a program can have variables of the functions' names and
 * fill them with GetProcAddress, or in one call with wintun-loader.h. A program that links with an
 * import library defines WINTUN_PROTOTYPES before it includes this file.
 *
 * The first 14 functions are those of version 0.14, and mean what they meant. All others are
 * additions; a program that may meet an older DLL finds their addresses to be NULL.
 *
 * Errors. A function that returns NULL, 0 or FALSE has set the last error, and only then it means
 * anything; WintunGetLastErrorText says more. Any function can fail with ERROR_NOT_ENOUGH_MEMORY;
 * each that works on devices also with ERROR_PROC_NOT_FOUND or ERROR_MOD_NOT_FOUND (this Windows
 * lacks something), ERROR_ACCESS_DENIED (the caller is not elevated) and ERROR_TIMEOUT (another
 * process held the lock for a minute). An error code of the setup functions looks like 0xE000022F
 * and is found in setupapi.h. Structures that a caller fills begin with their size: one that is
 * smaller than any version of it, or has bits or fields set that this version does not know, is
 * refused with ERROR_INVALID_PARAMETER and changes nothing.
 *
 * Threads. Unless a function says otherwise it may be called from any thread at any time, but not
 * from DllMain. Handles must be alive: that of an adapter until WintunCloseAdapter or
 * WintunDeleteAdapter, that of a session until WintunEndSession.
 */
#ifndef WINTUN_H
#define WINTUN_H

#include <winsock2.h> /* must be first */

#include <windows.h>

#include <ifdef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct WINTUN_ADAPTER *WINTUN_ADAPTER_HANDLE;
typedef struct WINTUN_SESSION *WINTUN_SESSION_HANDLE;

/* Bounds of a ring's capacity in bytes, which is a power of two; both are allowed. */
#define WINTUN_MIN_RING_CAPACITY 0x20000
#define WINTUN_MAX_RING_CAPACITY 0x4000000

/* The largest packet in bytes. */
#define WINTUN_MAX_IP_PACKET_SIZE 0xFFFF

/* ---- Adapters ---------------------------------------------------------------------------------*/

/*
 * Creates an adapter. It lives as long as its handle, and goes when the process does.
 *
 * Name: what Windows shows the connection as; 1 to 127 characters, without \ / : * ? " < > |. When
 * another connection has that name, that one is called "Name 1", "Name 2" and so on if it is an
 * adapter of this library's that no running process owns, else the new one is. When Windows does
 * not let connections be renamed at all, a warning is logged and the connection keeps the name that
 * Windows has given it. WintunOpenAdapter finds the adapter by Name all the same.
 *
 * TunnelType: the adapter's description is this and " Tunnel"; 1 to 127 characters.
 *
 * RequestedGUID: NULL, or the wish for this interface GUID, by which Windows remembers what kind of
 * network the adapter is on. When it is taken Windows chooses another.
 *
 * Blocks until the network interface is there: usually a second, with the first installation of the
 * driver some more; at most three minutes when other processes are creating adapters too.
 *
 * NULL on failure; nothing is left behind then.
 *   ERROR_INVALID_PARAMETER          a name is missing, empty or has a character it may not have
 *   ERROR_BUFFER_OVERFLOW            a name is too long
 *   ERROR_ACCESS_DENIED              the process is not elevated
 *   ERROR_NOT_SUPPORTED              there is no driver in the DLL for this machine's processor
 *   ERROR_DEVICE_NOT_AVAILABLE       Windows could not start the device, for a reason that has no
 *                                    code of its own: the text has problem code and status
 *   ERROR_TIMEOUT                    Windows did not bring up the device, or its interface, in time
 *   ERROR_DUP_NAME                   a thousand adapters of that name exist
 *   EPT_S_NOT_REGISTERED and others of RPC   Windows' services are not ready, as early after its
 *                                    start: try again
 *   ERROR_NO_CATALOG_FOR_OEM_INF, ERROR_DRIVER_STORE_ADD_FAILED and others   Windows refused the
 *                                    driver package: it is not signed, or not by one whom this
 *                                    Windows trusts
 */
typedef WINTUN_ADAPTER_HANDLE(WINAPI WINTUN_CREATE_ADAPTER_FUNC)(LPCWSTR Name, LPCWSTR TunnelType,
                                                                 const GUID *RequestedGUID);

/*
 * Opens an adapter that exists, by the Name that it was created with, whoever has created it; case
 * does not matter. The handle does not keep the adapter alive. The caller needs no privilege: what
 * it may do with the adapter is seen when a session starts.
 *
 * NULL on failure: ERROR_INVALID_PARAMETER, ERROR_BUFFER_OVERFLOW (as for WintunCreateAdapter),
 * ERROR_NOT_FOUND (there is none), ERROR_TIMEOUT (its interface did not come up within 15 s),
 * ERROR_DEVICE_NOT_AVAILABLE (it has a problem, see the text).
 */
typedef WINTUN_ADAPTER_HANDLE(WINAPI WINTUN_OPEN_ADAPTER_FUNC)(LPCWSTR Name);

/*
 * Ends the handle, once; not while another thread uses it. NULL does nothing. An adapter that this
 * handle has created goes, and with it what Windows had stored of it, before the function returns,
 * unless it is persistent. Sessions are not ended, but find that theirs is over.
 */
typedef void(WINAPI WINTUN_CLOSE_ADAPTER_FUNC)(WINTUN_ADAPTER_HANDLE Adapter);

/*
 * Removes this library's driver packages from Windows, with all adapters that no running process
 * owns. Packages in use stay.
 *
 * FALSE on failure: ERROR_ACCESS_DENIED, ERROR_INF_IN_USE_BY_DEVICES (0xE000023D: an adapter is
 * using it), or what Windows says. All packages are tried, and the first error is returned.
 */
typedef BOOL(WINAPI WINTUN_DELETE_DRIVER_FUNC)(void);

/* The LUID of the adapter's interface, for the functions of the IP helper library. Cannot fail. */
typedef void(WINAPI WINTUN_GET_ADAPTER_LUID_FUNC)(WINTUN_ADAPTER_HANDLE Adapter, NET_LUID *Luid);

/*
 * Version of the driver that is running: major << 16 | minor. 0 on failure: ERROR_FILE_NOT_FOUND
 * (it is not loaded), ERROR_ACCESS_DENIED (Windows does not tell this process).
 */
typedef DWORD(WINAPI WINTUN_GET_RUNNING_DRIVER_VERSION_FUNC)(void);

/* ---- The log ----------------------------------------------------------------------------------*/

typedef enum {
    WINTUN_LOG_INFO, /* what was done */
    WINTUN_LOG_WARN, /* what could not be done, though the function goes on */
    WINTUN_LOG_ERR   /* why the function fails */
} WINTUN_LOGGER_LEVEL;

/*
 * Level: a WINTUN_LOGGER_LEVEL. Timestamp: 100 ns since 1601-01-01 UTC. Message: one line of at
 * most 1,023 characters, without its end, valid during the call. Called on the thread whose call
 * the line is about, so on several at a time, and perhaps with a lock held that keeps all other
 * programs from creating adapters: it must be quick and must not call the DLL.
 */
typedef void(CALLBACK *WINTUN_LOGGER_CALLBACK)(WINTUN_LOGGER_LEVEL Level, DWORD64 Timestamp,
                                               LPCWSTR Message);

/*
 * NewLogger gets every line from now on; NULL: nobody does, which is how it begins. Calls of the
 * previous one that are under way are not waited for. A function that fails logs one line, but for
 * the packet calls, whose failures are part of their work.
 */
typedef void(WINAPI WINTUN_SET_LOGGER_FUNC)(WINTUN_LOGGER_CALLBACK NewLogger);

/* ---- Sessions ---------------------------------------------------------------------------------*/

/*
 * Begins to carry packets: the adapter's link comes up. Capacity: of each of the two rings, in
 * bytes; a power of two from WINTUN_MIN_RING_CAPACITY to WINTUN_MAX_RING_CAPACITY. The session does
 * not need the adapter's handle any more.
 *
 * NULL on failure:
 *   ERROR_INVALID_PARAMETER     Capacity
 *   ERROR_ACCESS_DENIED         this user may not use this adapter, or it is about to be removed
 *   ERROR_ALREADY_INITIALIZED   somebody else has a session with it
 *   ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND, ERROR_NOT_READY   the adapter is gone, or disabled
 *   ERROR_NO_SYSTEM_RESOURCES, ERROR_COMMITMENT_LIMIT   there is no memory
 */
typedef WINTUN_SESSION_HANDLE(WINAPI WINTUN_START_SESSION_FUNC)(WINTUN_ADAPTER_HANDLE Adapter,
                                                                DWORD Capacity);

/*
 * Ends the session, once, with its rings, packets and event; the link goes down. No other call on
 * the session may be running, and nobody may be waiting for its event: set a flag of your own and
 * the event, join the threads, then call this.
 */
typedef void(WINAPI WINTUN_END_SESSION_FUNC)(WINTUN_SESSION_HANDLE Session);

/*
 * The event that is set when there may be packets to receive, and when the session is over. It
 * belongs to the session and must not be closed. It resets itself, waking one waiter a time: one
 * that wakes receives until there is nothing left before it waits again, and with several readers
 * one that finds the session over sets it for the next.
 */
typedef HANDLE(WINAPI WINTUN_GET_READ_WAIT_EVENT_FUNC)(WINTUN_SESSION_HANDLE Session);

/*
 * The next packet that Windows sends through the adapter; PacketSize bytes, 0 to
 * WINTUN_MAX_IP_PACKET_SIZE. The memory belongs to the session and may be changed; give it back
 * with WintunReleaseReceivePacket, exactly once, in any order: room is free for Windows when all
 * older packets have been given back as well.
 *
 * NULL: ERROR_NO_MORE_ITEMS (nothing now; wait for the event), ERROR_HANDLE_EOF (the adapter is
 * gone, or the session is over), ERROR_INVALID_DATA (somebody has written over the ring: end the
 * session).
 */
typedef BYTE *(WINAPI WINTUN_RECEIVE_PACKET_FUNC)(WINTUN_SESSION_HANDLE Session, DWORD *PacketSize);

/* Gives a received packet back. Cannot fail. */
typedef void(WINAPI WINTUN_RELEASE_RECEIVE_PACKET_FUNC)(WINTUN_SESSION_HANDLE Session,
                                                        const BYTE *Packet);

/*
 * Room for a packet of PacketSize bytes that Windows shall receive, 0 to WINTUN_MAX_IP_PACKET_SIZE.
 * Fill all of it and pass it to WintunSendPacket, exactly once. Packets arrive in the order in
 * which room was taken: one that is not sent holds up all later ones.
 *
 * NULL: ERROR_INVALID_PARAMETER (PacketSize), ERROR_BUFFER_OVERFLOW (no room now: drop the packet),
 * ERROR_HANDLE_EOF (the adapter is gone, or the session is over).
 */
typedef BYTE *(WINAPI WINTUN_ALLOCATE_SEND_PACKET_FUNC)(WINTUN_SESSION_HANDLE Session,
                                                        DWORD PacketSize);

/*
 * Sends a packet that was allocated. Cannot fail; Windows drops what is neither IPv4 nor IPv6. Not
 * to be touched afterwards.
 */
typedef void(WINAPI WINTUN_SEND_PACKET_FUNC)(WINTUN_SESSION_HANDLE Session, const BYTE *Packet);

/* ---- Additions: adapters ----------------------------------------------------------------------*/

typedef struct {
    WORD Family;       /* AF_INET or AF_INET6 */
    BYTE PrefixLength; /* 0 to 32, or 0 to 128 */
    BYTE Reserved;     /* 0 */
    BYTE Address[16];  /* as in a packet; the first 4 bytes of an IPv4 address, the others 0 */
} WINTUN_ADDRESS;

/* WINTUN_ADAPTER_OPTIONS.Flags */
#define WINTUN_ADAPTER_PERSISTENT 0x1 /* stays when its creator has gone; see below */
#define WINTUN_ADAPTER_NO_DAD     0x2 /* addresses are not tested for duplicates before use */

/* WINTUN_ADAPTER_OPTIONS.NetworkCategory */
#define WINTUN_NETWORK_DEFAULT 0 /* as Windows decides */
#define WINTUN_NETWORK_PUBLIC  1
#define WINTUN_NETWORK_PRIVATE 2

typedef struct {
    DWORD Size;   /* of this structure; 4096 at most in any version to come */
    DWORD Flags;  /* WINTUN_ADAPTER_... */
    LPCWSTR Name; /* as for WintunCreateAdapter, and the next two */
    LPCWSTR TunnelType;
    const GUID *RequestedGUID;  /* NULL: none */
    LPCWSTR SecurityDescriptor; /* SDDL with owner and DACL: who may open the adapter's data path.
                                   It takes the place of the default, so SYSTEM and administrators
                                   are to be in it too, as in
                                   L"O:BAD:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GRGW;;;IU)". NULL: SYSTEM
                                   and elevated administrators */
    const WINTUN_ADDRESS *Addresses; /* AddressCount of them */
    DWORD AddressCount;              /* 0 to 64 */
    DWORD Mtu;             /* of IPv4 and IPv6, 576 to 65535 bytes, with an IPv6 address from
                              1280; 0: as Windows decides */
    DWORD Metric;          /* of the interface, 1 to 9999; 0: as Windows decides */
    DWORD NetworkCategory; /* WINTUN_NETWORK_... */
    DWORD TimeoutMs;       /* for the device and its interface together, at most 600,000;
                              0: 15,000 */
    DWORD Reserved;        /* 0 */
} WINTUN_ADAPTER_OPTIONS;

/*
 * WintunCreateAdapter with options; returns when the interface can carry traffic: IPv4 and IPv6, if
 * this Windows uses it, are bound to it and all that was asked for is set.
 *
 * A persistent adapter stays when its handle is closed and when its creator ends; whether it
 * survives a restart of Windows is not documented by Microsoft, so create it again when it is not
 * found. WintunDeleteAdapter removes it. Creating a persistent adapter whose Name a persistent
 * adapter of this library's has fails with ERROR_ALREADY_EXISTS.
 *
 * NetworkCategory: Windows has a network to categorise only while the link is up, so the function
 * begins a session of its own, which SecurityDescriptor has to allow, and waits up to 20 s for it.
 * Windows may forget the category with the network that it recognised.
 *
 * NULL on failure, and nothing is left behind. Beside the errors of WintunCreateAdapter:
 * ERROR_INVALID_PARAMETER, ERROR_INVALID_SECURITY_DESCR, ERROR_ALREADY_EXISTS,
 * ERROR_OLD_WIN_VERSION (persistent adapters need Windows 8.1), ERROR_NOT_SUPPORTED (this Windows
 * does not let the category be set, or the driver that is running, of version 0.14, knows no
 * security descriptors), ERROR_TIMEOUT (also when Windows has recognised no network in
 * time), or what setting an address, MTU or metric returned.
 */
typedef WINTUN_ADAPTER_HANDLE(WINAPI WINTUN_CREATE_ADAPTER_EX_FUNC)(
    const WINTUN_ADAPTER_OPTIONS *Options);

/*
 * Ends the handle as WintunCloseAdapter does, and removes the adapter for good, persistent or not,
 * whoever has created it. The handle is dead also when this fails: FALSE with ERROR_ACCESS_DENIED,
 * ERROR_TIMEOUT (it was not gone in time) or what Windows says. One that is gone already is
 * success.
 */
typedef BOOL(WINAPI WINTUN_DELETE_ADAPTER_FUNC)(WINTUN_ADAPTER_HANDLE Adapter);

/* WINTUN_ADAPTER_INFO.Flags */
#define WINTUN_INFO_PRESENT    0x1 /* the device exists; otherwise Windows only remembers it */
#define WINTUN_INFO_PERSISTENT 0x2
#define WINTUN_INFO_STALE      0x4 /* its creator has gone without removing it */
#define WINTUN_INFO_READY      0x8 /* it has an interface: Guid and Luid are valid */

typedef struct {
    DWORD Size;          /* of this structure */
    DWORD Flags;         /* WINTUN_INFO_... */
    LPCWSTR Name;        /* as asked for when it was created */
    LPCWSTR Alias;       /* what Windows shows the connection as; "" when not ready */
    LPCWSTR Description; /* such as "WireGuard Tunnel" */
    LPCWSTR InstanceId;  /* of the device, such as "SWD\Wintun\{...}" */
    GUID Guid;           /* of the interface: NetCfgInstanceId */
    NET_LUID Luid;
    DWORD CreatorProcessId; /* 0: unknown */
    DWORD ProblemCode;      /* CM_PROB_..., 0: none */
    LONG ProblemStatus;     /* NTSTATUS that goes with it, 0: none */
    DWORD Reserved;         /* 0 */
} WINTUN_ADAPTER_INFO;

/* Info is valid during the call. FALSE ends the enumeration. It may call the DLL. */
typedef BOOL(CALLBACK *WINTUN_ADAPTER_CALLBACK)(const WINTUN_ADAPTER_INFO *Info, void *Context);

/*
 * Calls Callback for each adapter that this library has created in any process. TRUE when all were
 * shown or Callback has ended it. The caller needs no privilege. FALSE: what Windows says to one
 * that it cannot tell about; the others have been shown all the same.
 */
typedef BOOL(WINAPI WINTUN_ENUM_ADAPTERS_FUNC)(WINTUN_ADAPTER_CALLBACK Callback, void *Context);

/* WINTUN_STATISTICS.SessionKind */
#define WINTUN_SESSION_NONE  0
#define WINTUN_SESSION_RINGS 1 /* WintunStartSession, here or in another process */
#define WINTUN_SESSION_FILE  2 /* ReadFile and WriteFile on the adapter's device */

/* All counters count since the adapter started. Each packet is counted once. */
typedef struct {
    DWORD Size;           /* of this structure; set by the caller. Never is more written */
    DWORD DriverVersion;  /* major << 16 | minor */
    DWORD NdisVersion;    /* in use, major << 16 | minor */
    DWORD SessionKind;    /* WINTUN_SESSION_... */
    DWORD OwnerProcessId; /* that began the session; 0: none, or the kernel */
    DWORD LinkUp;         /* 1 or 0 */
    DWORD Paused;         /* 1: Windows has paused the adapter */
    DWORD Mtu;            /* of the driver, in bytes */
    DWORD64 SentPackets;  /* from Windows to the program */
    DWORD64 SentBytes;
    DWORD64 SentNoSession;    /* dropped, since nobody was there */
    DWORD64 SentPaused;       /* dropped, since the adapter was paused */
    DWORD64 SentFull;         /* dropped, since the program did not read fast enough */
    DWORD64 SentCorrupt;      /* dropped, since the program broke its ring */
    DWORD64 SentTooLong;      /* dropped, being over WINTUN_MAX_IP_PACKET_SIZE */
    DWORD64 SentInaccessible; /* dropped, since Windows could not map their memory */
    DWORD64 SentSignals;      /* times the program was woken */
    DWORD64 ReceivedPackets;  /* from the program to Windows */
    DWORD64 ReceivedBytes;
    DWORD64 ReceivedNotIp;       /* dropped, being neither IPv4 nor IPv6 */
    DWORD64 ReceivedPaused;      /* dropped, since the adapter was paused */
    DWORD64 ReceivedNoMemory;    /* dropped, since Windows had no memory, or held on to too much */
    DWORD64 ReceivedIndications; /* times that Windows was given packets */
    DWORD64 ReceivedWakeups;     /* times the driver was woken */
} WINTUN_STATISTICS;

/*
 * What the driver has counted. FALSE: ERROR_INVALID_PARAMETER (Size), ERROR_ACCESS_DENIED (this
 * user may not read from this adapter), ERROR_FILE_NOT_FOUND (the adapter is gone),
 * ERROR_NOT_SUPPORTED (the driver that is running does not tell).
 */
typedef BOOL(WINAPI WINTUN_GET_STATISTICS_FUNC)(WINTUN_ADAPTER_HANDLE Adapter,
                                                WINTUN_STATISTICS *Statistics);

/*
 * What went wrong in this thread's last call that failed, packet calls aside: one line with step,
 * object and reason, the line that was logged. Copies it, shortened to Characters with its NUL;
 * returns the characters that all of it needs with its NUL, 1 when there was no error. Buffer may
 * be NULL when Characters is 0. Cannot fail and leaves the last error alone.
 */
typedef DWORD(WINAPI WINTUN_GET_LAST_ERROR_TEXT_FUNC)(LPWSTR Buffer, DWORD Characters);

/* Flags of WintunRepair */
#define WINTUN_REPAIR_DEVICES  0x1 /* remove adapters whose creators have gone */
#define WINTUN_REPAIR_PACKAGES 0x2 /* remove driver packages of ours but the newest */
#define WINTUN_REPAIR_BROKEN   0x4 /* remove persistent adapters that Windows cannot start */

/*
 * Removes what crashed programs and old versions have left, if it carries this library's mark;
 * adapters in use, disabled ones and persistent ones stay, unless Windows only remembers them or
 * WINTUN_REPAIR_BROKEN says otherwise. *Removed: how many things were; may be NULL. All are tried;
 * FALSE with the first error: ERROR_INVALID_PARAMETER (Flags), ERROR_ACCESS_DENIED, or what Windows
 * says. A package in use is no error: it stays.
 */
typedef BOOL(WINAPI WINTUN_REPAIR_FUNC)(DWORD Flags, DWORD *Removed);

/* ---- Additions: packets -----------------------------------------------------------------------*/

typedef struct {
    BYTE *Data;
    DWORD Size;     /* in bytes */
    DWORD Reserved; /* for the DLL between allocation and sending */
} WINTUN_PACKET;

/*
 * Several at once: as many calls of WintunReceivePacket, with one lock. Returns how many of
 * Packets, at most Count, were filled; 0: as WintunReceivePacket, or ERROR_INVALID_PARAMETER when
 * Count is 0.
 */
typedef DWORD(WINAPI WINTUN_RECEIVE_PACKETS_FUNC)(WINTUN_SESSION_HANDLE Session,
                                                  WINTUN_PACKET *Packets, DWORD Count);

/* Gives packets back, of one or of several calls, in any order. Cannot fail. */
typedef void(WINAPI WINTUN_RELEASE_RECEIVE_PACKETS_FUNC)(WINTUN_SESSION_HANDLE Session,
                                                         const WINTUN_PACKET *Packets, DWORD Count);

/*
 * Takes room for the first of Packets, whose Size the caller has set, and fills in Data: as many as
 * there is room for. Returns how many; 0: as WintunAllocateSendPacket, or ERROR_INVALID_PARAMETER
 * when Count is 0. A Size that is too large ends the row; it is an error only if it is the first.
 */
typedef DWORD(WINAPI WINTUN_ALLOCATE_SEND_PACKETS_FUNC)(WINTUN_SESSION_HANDLE Session,
                                                        WINTUN_PACKET *Packets, DWORD Count);

/* Sends packets that were allocated, waking the driver at most once. Cannot fail. */
typedef void(WINAPI WINTUN_SEND_PACKETS_FUNC)(WINTUN_SESSION_HANDLE Session,
                                              const WINTUN_PACKET *Packets, DWORD Count);

/*
 * The event that is set when there is room to send again. The rings of this version cannot tell:
 * NULL with ERROR_NOT_SUPPORTED.
 */
typedef HANDLE(WINAPI WINTUN_GET_SEND_SPACE_EVENT_FUNC)(WINTUN_SESSION_HANDLE Session);

#ifdef WINTUN_PROTOTYPES
WINTUN_CREATE_ADAPTER_FUNC WintunCreateAdapter;
WINTUN_OPEN_ADAPTER_FUNC WintunOpenAdapter;
WINTUN_CLOSE_ADAPTER_FUNC WintunCloseAdapter;
WINTUN_DELETE_DRIVER_FUNC WintunDeleteDriver;
WINTUN_GET_ADAPTER_LUID_FUNC WintunGetAdapterLUID;
WINTUN_GET_RUNNING_DRIVER_VERSION_FUNC WintunGetRunningDriverVersion;
WINTUN_SET_LOGGER_FUNC WintunSetLogger;
WINTUN_START_SESSION_FUNC WintunStartSession;
WINTUN_END_SESSION_FUNC WintunEndSession;
WINTUN_GET_READ_WAIT_EVENT_FUNC WintunGetReadWaitEvent;
WINTUN_RECEIVE_PACKET_FUNC WintunReceivePacket;
WINTUN_RELEASE_RECEIVE_PACKET_FUNC WintunReleaseReceivePacket;
WINTUN_ALLOCATE_SEND_PACKET_FUNC WintunAllocateSendPacket;
WINTUN_SEND_PACKET_FUNC WintunSendPacket;
WINTUN_CREATE_ADAPTER_EX_FUNC WintunCreateAdapterEx;
WINTUN_DELETE_ADAPTER_FUNC WintunDeleteAdapter;
WINTUN_ENUM_ADAPTERS_FUNC WintunEnumAdapters;
WINTUN_GET_STATISTICS_FUNC WintunGetStatistics;
WINTUN_GET_LAST_ERROR_TEXT_FUNC WintunGetLastErrorText;
WINTUN_REPAIR_FUNC WintunRepair;
WINTUN_RECEIVE_PACKETS_FUNC WintunReceivePackets;
WINTUN_RELEASE_RECEIVE_PACKETS_FUNC WintunReleaseReceivePackets;
WINTUN_ALLOCATE_SEND_PACKETS_FUNC WintunAllocateSendPackets;
WINTUN_SEND_PACKETS_FUNC WintunSendPackets;
WINTUN_GET_SEND_SPACE_EVENT_FUNC WintunGetSendSpaceEvent;
#endif

#ifdef __cplusplus
}
#endif

#endif
