// SPDX-License-Identifier: MIT
// Copyright (C) 2026 Wintun authors

// Package wintun lets Go programs use wintun.dll. It has what WireGuard's Go implementation calls
// under this import path, and nothing else; what the functions do is said in include/wintun.h. It
// must not hide an error of the DLL's: what was the last error there is the error here, as a
// syscall.Errno that can be compared with windows.ERROR_NO_MORE_ITEMS and its like.
package wintun

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Packets are at most this long.
const packetSizeMax = 0xFFFF

// An Adapter belongs to whoever created it, until Close.
type Adapter struct {
	handle uintptr
}

// A Session does not need its adapter's handle any more.
type Session struct {
	handle uintptr
}

// library is wintun.dll from beside the program or from System32, and from nowhere else: that is
// how a program should load it. It stays loaded.
var library windows.Handle

// function looks up an export the first time that it is called.
type function struct {
	name    string
	address uintptr
}

var (
	createAdapter           = &function{name: "WintunCreateAdapter"}
	closeAdapter            = &function{name: "WintunCloseAdapter"}
	getAdapterLUID          = &function{name: "WintunGetAdapterLUID"}
	getRunningDriverVersion = &function{name: "WintunGetRunningDriverVersion"}
	setLogger               = &function{name: "WintunSetLogger"}
	startSession            = &function{name: "WintunStartSession"}
	endSession              = &function{name: "WintunEndSession"}
	getReadWaitEvent        = &function{name: "WintunGetReadWaitEvent"}
	receivePacket           = &function{name: "WintunReceivePacket"}
	releaseReceivePacket    = &function{name: "WintunReleaseReceivePacket"}
	allocateSendPacket      = &function{name: "WintunAllocateSendPacket"}
	sendPacket              = &function{name: "WintunSendPacket"}
)

// Load loads wintun.dll and finds the functions of this package. It is called before any of them,
// by one goroutine; CreateAdapter and RunningVersion, which can come first, call it themselves.
func Load() error {
	if library != 0 {
		return nil
	}
	loaded, err := windows.LoadLibraryEx("wintun.dll", 0,
		windows.LOAD_LIBRARY_SEARCH_APPLICATION_DIR|windows.LOAD_LIBRARY_SEARCH_SYSTEM32)
	if err != nil {
		return err
	}
	for _, wanted := range []*function{
		createAdapter, closeAdapter, getAdapterLUID, getRunningDriverVersion, setLogger,
		startSession, endSession, getReadWaitEvent, receivePacket, releaseReceivePacket,
		allocateSendPacket, sendPacket,
	} {
		if wanted.address, err = windows.GetProcAddress(loaded, wanted.name); err != nil {
			windows.FreeLibrary(loaded)
			return err
		}
	}
	library = loaded
	return nil
}

// call returns what the function returns, and as error the last error, which means something only
// if the result says failure.
func (f *function) call(arguments ...uintptr) (uintptr, error) {
	result, _, err := syscall.SyscallN(f.address, arguments...)
	return result, err
}

// Logger gets every line that the DLL logs, on any thread, also on several at a time.
type Logger func(level int, message string)

// SetLogger is called once at most: a callback that Windows knows cannot be taken back.
func SetLogger(logger Logger) error {
	if err := Load(); err != nil {
		return err
	}
	setLogger.call(windows.NewCallback(func(level int, _ uint64, message *uint16) uintptr {
		logger(level, windows.UTF16PtrToString(message))
		return 0
	}))
	return nil
}

// CreateAdapter creates an adapter; guid may be nil.
func CreateAdapter(name string, tunnelType string, guid *windows.GUID) (*Adapter, error) {
	if err := Load(); err != nil {
		return nil, err
	}
	name16, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	type16, err := windows.UTF16PtrFromString(tunnelType)
	if err != nil {
		return nil, err
	}
	handle, err := createAdapter.call(uintptr(unsafe.Pointer(name16)),
		uintptr(unsafe.Pointer(type16)), uintptr(unsafe.Pointer(guid)))
	if handle == 0 {
		return nil, err
	}
	return &Adapter{handle}, nil
}

// Close ends the handle, and with it the adapter.
func (adapter *Adapter) Close() error {
	closeAdapter.call(adapter.handle)
	adapter.handle = 0
	return nil
}

// LUID identifies the adapter's interface.
func (adapter *Adapter) LUID() (luid uint64) {
	getAdapterLUID.call(adapter.handle, uintptr(unsafe.Pointer(&luid)))
	return luid
}

// RunningVersion is that of the driver: major << 16 | minor.
func RunningVersion() (uint32, error) {
	if err := Load(); err != nil {
		return 0, err
	}
	version, err := getRunningDriverVersion.call()
	if version == 0 {
		return 0, err
	}
	return uint32(version), nil
}

// StartSession begins to carry packets over rings of so many bytes.
func (adapter *Adapter) StartSession(capacity uint32) (Session, error) {
	handle, err := startSession.call(adapter.handle, uintptr(capacity))
	if handle == 0 {
		return Session{}, err
	}
	return Session{handle}, nil
}

// End ends the session; no other call on it may be running.
func (session Session) End() {
	endSession.call(session.handle)
}

// ReadWaitEvent belongs to the session.
func (session Session) ReadWaitEvent() windows.Handle {
	event, _ := getReadWaitEvent.call(session.handle)
	return windows.Handle(event)
}

// packetAt is memory of the DLL's as a slice of size bytes. Even one of no bytes has its address.
func packetAt(address uintptr, size uint32) []byte {
	// the address goes through memory: that of a packet is never one that the collector moves
	first := *(**byte)(unsafe.Pointer(&address))
	return unsafe.Slice(first, packetSizeMax)[:size]
}

func addressOf(packet []byte) uintptr {
	return uintptr(unsafe.Pointer(&packet[:1][0]))
}

// ReceivePacket returns the next packet, which ReleaseReceivePacket gives back as it is.
func (session Session) ReceivePacket() ([]byte, error) {
	var size uint32
	packet, err := receivePacket.call(session.handle, uintptr(unsafe.Pointer(&size)))
	if packet == 0 {
		return nil, err
	}
	return packetAt(packet, size), nil
}

// ReleaseReceivePacket gives a received packet back.
func (session Session) ReleaseReceivePacket(packet []byte) {
	releaseReceivePacket.call(session.handle, addressOf(packet))
}

// AllocateSendPacket returns room for a packet, to be filled and given to SendPacket as it is.
func (session Session) AllocateSendPacket(size int) ([]byte, error) {
	if size < 0 || size > packetSizeMax {
		return nil, windows.ERROR_INVALID_PARAMETER
	}
	packet, err := allocateSendPacket.call(session.handle, uintptr(size))
	if packet == 0 {
		return nil, err
	}
	return packetAt(packet, uint32(size)), nil
}

// SendPacket sends a packet that was allocated.
func (session Session) SendPacket(packet []byte) {
	sendPacket.call(session.handle, addressOf(packet))
}
