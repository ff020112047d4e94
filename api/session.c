/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * Sessions: two rings that are shared with the driver (wintun-abi.h), and the packet calls. One
 * short lock for each direction, never held across a call that can wait. Bit 31 of a record's size
 * is our mark that it is "done" (released, or sent): the driver does not look at sizes that it has
 * written, nor at those beyond Tail. Packet calls set the last error and log nothing.
 */
#include "private.h"

#define DONE 0x80000000UL

/* One direction as we see it. Next: of the packet that the next call hands out; Oldest: of the
 * oldest that was handed out and is not done; Held: how many lie between them. */
typedef struct DIRECTION {
    SRWLOCK Lock; /* guards what follows */
    DWORD Next;
    DWORD Oldest;
    DWORD Held;
    WINTUN_RING *Ring;
    BYTE Padding[64]; /* the other direction's lock is on another cache line */
} DIRECTION;

struct WINTUN_SESSION {
    DIRECTION ToUser;
    DIRECTION ToStack;
    DWORD Capacity; /* constant from here on */
    HANDLE Device;
    HANDLE ToUserMoved;  /* set by the driver */
    HANDLE ToStackMoved; /* set by us */
    void *Memory;        /* both rings */
};

static DWORD RecordBytes(DWORD Size)
{
    return (WINTUN_RING_RECORD + Size + WINTUN_RING_ALIGNMENT - 1) & ~(WINTUN_RING_ALIGNMENT - 1);
}

/* The size of the record at an offset, with our mark. */
static volatile DWORD *RecordAt(const DIRECTION *Direction, DWORD Offset)
{
    return (volatile DWORD *)((BYTE *)(Direction->Ring + 1) + Offset);
}

static BYTE *PacketOf(volatile DWORD *Record)
{
    return (BYTE *)Record + WINTUN_RING_RECORD;
}

/* Marks a packet as done, and passes those at the front that are. TRUE: Oldest has moved. */
static BOOL DirectionDoneLocked(const WINTUN_SESSION_HANDLE Session, DIRECTION *Direction,
                                const BYTE *Packet)
{
    const DWORD Before = Direction->Oldest;
    volatile DWORD *Record = (volatile DWORD *)(ULONG_PTR)(Packet - WINTUN_RING_RECORD);

    StoreRelaxed(Record, LoadRelaxed(Record) | DONE);
    while (Direction->Held) {
        Record = RecordAt(Direction, Direction->Oldest);
        const DWORD Size = LoadRelaxed(Record);
        if (!(Size & DONE))
            break;
        StoreRelaxed(Record, Size & ~DONE); /* the driver must not see it in a packet to send */
        Direction->Oldest =
            (Direction->Oldest + RecordBytes(Size & ~DONE)) & (Session->Capacity - 1);
        Direction->Held--;
    }
    return Direction->Oldest != Before;
}

/* ---- From Windows to the program ---- */

static DWORD ReceiveLocked(WINTUN_SESSION_HANDLE Session, BYTE **Packet, DWORD *Size)
{
    DIRECTION *Direction = &Session->ToUser;
    const DWORD Tail = LoadAcquire(&Direction->Ring->Tail); /* before the packet is read */

    if (Tail >= Session->Capacity)
        return ERROR_HANDLE_EOF;
    const DWORD Used = (Tail - Direction->Next) & (Session->Capacity - 1);
    if (!Used)
        return ERROR_NO_MORE_ITEMS;
    if (Used < WINTUN_RING_RECORD || Tail % WINTUN_RING_ALIGNMENT)
        return ERROR_INVALID_DATA;
    volatile DWORD *Record = RecordAt(Direction, Direction->Next);
    *Size = LoadRelaxed(Record);
    if (*Size > WINTUN_MAX_PACKET || RecordBytes(*Size) > Used)
        return ERROR_INVALID_DATA;
    *Packet = PacketOf(Record);
    Direction->Next = (Direction->Next + RecordBytes(*Size)) & (Session->Capacity - 1);
    Direction->Held++;
    return ERROR_SUCCESS;
}

static void ReleaseLocked(WINTUN_SESSION_HANDLE Session, const BYTE *Packet)
{
    if (DirectionDoneLocked(Session, &Session->ToUser, Packet))
        StoreRelease(&Session->ToUser.Ring->Head, Session->ToUser.Oldest); /* after the last use */
}

BYTE *WINAPI WintunReceivePacket(WINTUN_SESSION_HANDLE Session, DWORD *PacketSize)
{
    BYTE *Packet = NULL;

    AcquireSRWLockExclusive(&Session->ToUser.Lock);
    const DWORD Error = ReceiveLocked(Session, &Packet, PacketSize);
    ReleaseSRWLockExclusive(&Session->ToUser.Lock);
    if (Error)
        SetLastError(Error);
    return Packet;
}

DWORD WINAPI WintunReceivePackets(WINTUN_SESSION_HANDLE Session, WINTUN_PACKET *Packets,
                                  DWORD Count)
{
    DWORD Done = 0;
    DWORD Error = ERROR_INVALID_PARAMETER;

    AcquireSRWLockExclusive(&Session->ToUser.Lock);
    while (Done < Count) {
        Error = ReceiveLocked(Session, &Packets[Done].Data, &Packets[Done].Size);
        if (Error)
            break;
        Done++;
    }
    ReleaseSRWLockExclusive(&Session->ToUser.Lock);
    if (!Done)
        SetLastError(Error);
    return Done;
}

void WINAPI WintunReleaseReceivePacket(WINTUN_SESSION_HANDLE Session, const BYTE *Packet)
{
    AcquireSRWLockExclusive(&Session->ToUser.Lock);
    ReleaseLocked(Session, Packet);
    ReleaseSRWLockExclusive(&Session->ToUser.Lock);
}

void WINAPI WintunReleaseReceivePackets(WINTUN_SESSION_HANDLE Session, const WINTUN_PACKET *Packets,
                                        DWORD Count)
{
    AcquireSRWLockExclusive(&Session->ToUser.Lock);
    for (DWORD Index = 0; Index < Count; Index++)
        ReleaseLocked(Session, Packets[Index].Data);
    ReleaseSRWLockExclusive(&Session->ToUser.Lock);
}

/* ---- From the program to Windows ---- */

static DWORD AllocateLocked(WINTUN_SESSION_HANDLE Session, DWORD Size, BYTE **Packet)
{
    DIRECTION *Direction = &Session->ToStack;
    const DWORD Head = LoadAcquire(&Direction->Ring->Head); /* before the room is written to */

    if (Size > WINTUN_MAX_PACKET)
        return ERROR_INVALID_PARAMETER;
    if (Head >= Session->Capacity)
        return ERROR_HANDLE_EOF;
    const DWORD Room = (Head - Direction->Next - WINTUN_RING_ALIGNMENT) & (Session->Capacity - 1);
    if (RecordBytes(Size) > Room)
        return ERROR_BUFFER_OVERFLOW;
    volatile DWORD *Record = RecordAt(Direction, Direction->Next);
    StoreRelaxed(Record, Size);
    *Packet = PacketOf(Record);
    Direction->Next = (Direction->Next + RecordBytes(Size)) & (Session->Capacity - 1);
    Direction->Held++;
    return ERROR_SUCCESS;
}

/*
 * The other half of the driver's sleep: it says that it is about to, looks at Tail again, and
 * waits. The fence keeps the load of Alertable behind the store of Tail: without it both could see
 * what was before, and the driver would sleep with a packet in the ring.
 */
static void Wake(WINTUN_SESSION_HANDLE Session)
{
    FullFence();
    if (LoadRelaxed(&Session->ToStack.Ring->Alertable))
        SetEvent(Session->ToStackMoved);
}

static BOOL SendLocked(WINTUN_SESSION_HANDLE Session, const BYTE *Packet)
{
    if (!DirectionDoneLocked(Session, &Session->ToStack, Packet))
        return FALSE;
    StoreRelease(&Session->ToStack.Ring->Tail, Session->ToStack.Oldest); /* after the packet */
    return TRUE;
}

BYTE *WINAPI WintunAllocateSendPacket(WINTUN_SESSION_HANDLE Session, DWORD PacketSize)
{
    BYTE *Packet = NULL;

    AcquireSRWLockExclusive(&Session->ToStack.Lock);
    const DWORD Error = AllocateLocked(Session, PacketSize, &Packet);
    ReleaseSRWLockExclusive(&Session->ToStack.Lock);
    if (Error)
        SetLastError(Error);
    return Packet;
}

DWORD WINAPI WintunAllocateSendPackets(WINTUN_SESSION_HANDLE Session, WINTUN_PACKET *Packets,
                                       DWORD Count)
{
    DWORD Done = 0;
    DWORD Error = ERROR_INVALID_PARAMETER;

    AcquireSRWLockExclusive(&Session->ToStack.Lock);
    while (Done < Count) {
        Error = AllocateLocked(Session, Packets[Done].Size, &Packets[Done].Data);
        if (Error)
            break;
        Done++;
    }
    ReleaseSRWLockExclusive(&Session->ToStack.Lock);
    if (!Done)
        SetLastError(Error);
    return Done;
}

void WINAPI WintunSendPacket(WINTUN_SESSION_HANDLE Session, const BYTE *Packet)
{
    AcquireSRWLockExclusive(&Session->ToStack.Lock);
    const BOOL HasMoved = SendLocked(Session, Packet);
    ReleaseSRWLockExclusive(&Session->ToStack.Lock);
    if (HasMoved)
        Wake(Session);
}

void WINAPI WintunSendPackets(WINTUN_SESSION_HANDLE Session, const WINTUN_PACKET *Packets,
                              DWORD Count)
{
    BOOL HasMoved = FALSE;

    AcquireSRWLockExclusive(&Session->ToStack.Lock);
    for (DWORD Index = 0; Index < Count; Index++)
        HasMoved |= SendLocked(Session, Packets[Index].Data);
    ReleaseSRWLockExclusive(&Session->ToStack.Lock);
    if (HasMoved)
        Wake(Session);
}

/* ---- Beginning and end ---- */

/* The driver's own device, or NDIS's when the driver that is running is version 0.14. */
static DWORD SessionOpen(const struct WINTUN_ADAPTER *Adapter, HANDLE *Device)
{
    const DWORD Access = GENERIC_READ | GENERIC_WRITE;
    WCHAR *Path;

    DWORD Error = AdapterOpenDevice(&Adapter->Interface, Access, Device);
    if (Error != ERROR_FILE_NOT_FOUND && Error != ERROR_PATH_NOT_FOUND)
        return Error;
    if (DeviceInterfacePath(Adapter->InstanceId, &Path))
        return Error;
    *Device = CreateFileW(Path, Access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                          NULL, OPEN_EXISTING, 0, NULL);
    Error = *Device == INVALID_HANDLE_VALUE ? GetLastError() : ERROR_SUCCESS;
    MemoryFree(Path);
    return Error;
}

/* What the driver says of an adapter that goes while it is being asked: of its own device
 * STATUS_FILE_FORCED_CLOSED, of NDIS's NDIS_STATUS_ADAPTER_NOT_READY, whose code Windows takes for
 * that of another error. */
static DWORD ErrorOfRegistration(DWORD Error)
{
    return Error == ERROR_HANDLE_EOF || Error == ERROR_NOT_SAME_DEVICE ? ERROR_NOT_READY : Error;
}

static DWORD SessionRegister(WINTUN_SESSION_HANDLE Session)
{
    const DWORD RingSize = Session->Capacity + WINTUN_RING_OVERHEAD;
    DWORD Bytes;
#ifdef _WIN64
    WINTUN_REGISTER_RINGS Rings = {
        .ToUser = {RingSize, 0, (uint64_t)Session->ToUser.Ring, (uint64_t)Session->ToUserMoved},
        .ToStack = {RingSize, 0, (uint64_t)Session->ToStack.Ring, (uint64_t)Session->ToStackMoved}};
#else
    WINTUN_REGISTER_RINGS_32 Rings = {
        .ToUser = {RingSize, (uint32_t)Session->ToUser.Ring, (uint32_t)Session->ToUserMoved},
        .ToStack = {RingSize, (uint32_t)Session->ToStack.Ring, (uint32_t)Session->ToStackMoved}};
#endif

    if (DeviceIoControl(Session->Device, WINTUN_IOCTL_REGISTER_RINGS, &Rings, sizeof(Rings), NULL,
                        0, &Bytes, NULL))
        return ERROR_SUCCESS;
    return ErrorOfRegistration(GetLastError());
}

/* Takes what SessionStart has left half made as well. */
static void SessionDestroy(WINTUN_SESSION_HANDLE Session)
{
    if (!Session)
        return;
    if (Session->Device != INVALID_HANDLE_VALUE)
        CloseHandle(Session->Device); /* first: returns when the driver is done with the memory */
    if (Session->ToStackMoved)
        CloseHandle(Session->ToStackMoved);
    if (Session->ToUserMoved)
        CloseHandle(Session->ToUserMoved);
    if (Session->Memory)
        VirtualFree(Session->Memory, 0, MEM_RELEASE);
    MemoryFree(Session);
}

/* Memory and events. The events have no name, so nobody can open them and the default descriptor
 * does; a program that is not elevated could not give them to the administrators. */
static DWORD SessionAllocate(WINTUN_SESSION_HANDLE Session)
{
    const DWORD RingSize = (Session->Capacity + WINTUN_RING_OVERHEAD + 0xFFF) & ~0xFFFUL;

    Session->Memory =
        VirtualAlloc(NULL, (SIZE_T)RingSize * 2, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    if (!Session->Memory)
        return Fail(GetLastError(), L"Allocating rings", NULL);
    Session->ToUser.Ring = Session->Memory;
    Session->ToStack.Ring = (WINTUN_RING *)((BYTE *)Session->Memory + RingSize);
    Session->ToUserMoved = CreateEventW(NULL, FALSE, FALSE, NULL);
    if (Session->ToUserMoved)
        Session->ToStackMoved = CreateEventW(NULL, FALSE, FALSE, NULL);
    if (!Session->ToStackMoved)
        return Fail(GetLastError(), L"Creating an event", NULL);
    return ERROR_SUCCESS;
}

DWORD SessionStart(const struct WINTUN_ADAPTER *Adapter, DWORD Capacity,
                   WINTUN_SESSION_HANDLE *Result)
{
    if (Capacity < WINTUN_MIN_RING_CAPACITY || Capacity > WINTUN_MAX_RING_CAPACITY ||
        Capacity & (Capacity - 1))
        return Fail(ERROR_INVALID_PARAMETER, L"Starting a session", L"capacity");
    WINTUN_SESSION_HANDLE Session = MemoryAllocate(sizeof(*Session));
    if (!Session)
        return FailMemory();
    Session->Capacity = Capacity;
    Session->Device = INVALID_HANDLE_VALUE;
    DWORD Error = SessionAllocate(Session);
    if (!Error) {
        Error = SessionOpen(Adapter, &Session->Device);
        if (Error)
            Fail(Error, L"Opening the adapter", Adapter->InstanceId);
    }
    if (!Error) {
        Error = SessionRegister(Session);
        if (Error)
            Fail(Error, L"Registering rings", Adapter->InstanceId);
    }
    if (Error) {
        SessionDestroy(Session);
        return Error;
    }
    *Result = Session;
    return ERROR_SUCCESS;
}

WINTUN_SESSION_HANDLE WINAPI WintunStartSession(WINTUN_ADAPTER_HANDLE Adapter, DWORD Capacity)
{
    WINTUN_SESSION_HANDLE Session = NULL;

    Report(SessionStart(Adapter, Capacity, &Session));
    return Session;
}

/* Nobody else may be using it, see wintun.h, so what it points to is nobody's. */
void WINAPI WintunEndSession(WINTUN_SESSION_HANDLE Session)
{
    SessionDestroy(Session);
}

HANDLE WINAPI WintunGetReadWaitEvent(WINTUN_SESSION_HANDLE Session)
{
    return Session->ToUserMoved;
}

HANDLE WINAPI WintunGetSendSpaceEvent(WINTUN_SESSION_HANDLE Session)
{
    Report(Fail(ERROR_NOT_SUPPORTED, L"Version 1 rings have no event for space", NULL));
    return NULL;
}
