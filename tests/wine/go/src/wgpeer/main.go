// SPDX-License-Identifier: MIT
// Copyright (C) 2026 Wintun authors

// Command wgpeer is one end of a WireGuard tunnel: WireGuard's own Go implementation over
// wintun.dll, with one peer. It is a program of the tests: it must tell on standard output all that
// a script waits for, and end when its standard input does.
//
//	wgpeer keys
//
// prints a new private key and its public key, in hexadecimal, on a line.
//
//	wgpeer NAME PRIVATE-KEY PORT PEER-PUBLIC-KEY PEER-PORT ALLOWED-IP,...
//
// creates the adapter NAME and listens on PORT; the peer is on the same machine. Prints
// "ready <driver version> <LUID>", then "handshake" after the first one, and at the end
// "received <bytes> sent <bytes>". Environment: WGPEER_GUID, the interface GUID to wish for;
// WGPEER_LOG, any value: log on standard error.
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/curve25519"
	"golang.org/x/sys/windows"
	"golang.zx2c4.com/wintun"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
)

// What a tunnel over Ethernet has, so that full-size packets are cut as they are in the field.
const mtu = 1420

func main() {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "keys":
		err = printKeys()
	case len(os.Args) == 7:
		err = run(os.Args[1], os.Args[2:])
	default:
		err = errors.New("usage: wgpeer keys | NAME PRIVATE-KEY PORT PEER-PUBLIC-KEY PEER-PORT ALLOWED-IP,...")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "wgpeer:", err)
		os.Exit(1)
	}
}

func printKeys() error {
	var private [32]byte
	if _, err := rand.Read(private[:]); err != nil {
		return err
	}
	public, err := curve25519.X25519(private[:], curve25519.Basepoint)
	if err != nil {
		return err
	}
	fmt.Println(hex.EncodeToString(private[:]), hex.EncodeToString(public))
	return nil
}

// configuration is the text of WireGuard's configuration protocol, in place of its named pipe.
func configuration(private, port, peerPublic, peerPort, allowed string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "private_key=%s\nlisten_port=%s\nreplace_peers=true\n", private, port)
	fmt.Fprintf(&text, "public_key=%s\nendpoint=127.0.0.1:%s\n", peerPublic, peerPort)
	for _, prefix := range strings.Split(allowed, ",") {
		fmt.Fprintf(&text, "allowed_ip=%s\n", prefix)
	}
	return text.String()
}

func run(name string, arguments []string) error {
	level := device.LogLevelSilent
	if os.Getenv("WGPEER_LOG") != "" {
		level = device.LogLevelVerbose
	}
	err := wintun.SetLogger(func(level int, message string) {
		fmt.Fprintf(os.Stderr, "wintun.dll: %d: %s\n", level, message)
	})
	if err != nil {
		return fmt.Errorf("loading wintun.dll: %w", err)
	}
	if wish := os.Getenv("WGPEER_GUID"); wish != "" {
		guid, err := windows.GUIDFromString(wish)
		if err != nil {
			return fmt.Errorf("WGPEER_GUID: %w", err)
		}
		tun.WintunStaticRequestedGUID = &guid
	}
	adapter, err := tun.CreateTUN(name, mtu)
	if err != nil {
		return err
	}
	peer := device.NewDevice(adapter, conn.NewDefaultBind(), device.NewLogger(level, name+": "))
	defer peer.Close() // the adapter too
	if err := peer.IpcSet(configuration(arguments[0], arguments[1], arguments[2], arguments[3], arguments[4])); err != nil {
		return fmt.Errorf("configuring: %w", err)
	}
	if err := peer.Up(); err != nil {
		return fmt.Errorf("bringing up: %w", err)
	}
	version, err := wintun.RunningVersion()
	if err != nil {
		return fmt.Errorf("asking for the driver's version: %w", err)
	}
	fmt.Printf("ready %d.%d %#x\n", version>>16, version&0xFFFF, adapter.(*tun.NativeTun).LUID())
	return serve(peer)
}

// serve reports until standard input ends, or the tunnel does.
func serve(peer *device.Device) error {
	over := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(over)
	}()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	told := false
	for {
		select {
		case <-look.C:
			state, err := stateOf(peer)
			if err != nil {
				return err
			}
			if !told && state["last_handshake_time_sec"] != "0" {
				told = true
				fmt.Println("handshake")
			}
		case <-peer.Wait():
			return errors.New("the tunnel has ended by itself")
		case <-over:
			state, err := stateOf(peer)
			if err != nil {
				return err
			}
			fmt.Println("received", state["rx_bytes"], "sent", state["tx_bytes"])
			return nil
		}
	}
}

// stateOf is what the configuration protocol tells, with the values of the one peer.
func stateOf(peer *device.Device) (map[string]string, error) {
	text, err := peer.IpcGet()
	if err != nil {
		return nil, err
	}
	state := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), "=")
		state[key] = value
	}
	return state, lines.Err()
}
