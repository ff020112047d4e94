/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * From zero to packets: creates an adapter with the address 10.6.7.7, tells what Windows sends and
 * answers its pings. Run it elevated with wintun.dll beside it, then: ping 10.6.7.8.
 */
#include "wintun-loader.h"

#include <stdio.h>
#include <string.h>

/* Turns an IPv4 echo request into its answer; 0: it is something else. */
static int answer(BYTE *packet, DWORD size)
{
    BYTE source[4];

    if (size < 28 || packet[0] != 0x45 || packet[9] != 1 || packet[20] != 8)
        return 0;
    memcpy(source, packet + 12, 4);
    memcpy(packet + 12, packet + 16, 4);
    memcpy(packet + 16, source, 4);
    packet[20] = 0; /* echo reply; the checksum grows by what the type has lost */
    const unsigned sum = (packet[22] << 8 | packet[23]) + 0x800;
    packet[22] = (BYTE)((sum + (sum >> 16)) >> 8);
    packet[23] = (BYTE)(sum + (sum >> 16));
    return 1;
}

int main(void)
{
    const WINTUN_ADDRESS address = {AF_INET, 24, 0, {10, 6, 7, 7}};
    const WINTUN_ADAPTER_OPTIONS options = {
        sizeof(options), 0, L"Minimal", L"Minimal", NULL, NULL, &address, 1, 0, 0, 0, 0, 0};
    WINTUN_API wintun;
    HMODULE library = WintunLoad(NULL, &wintun);
    const BOOL is_new = library && wintun.CreateAdapterEx; /* version 0.14 has not got it */
    WINTUN_ADAPTER_HANDLE adapter = is_new ? wintun.CreateAdapterEx(&options) : NULL;
    WINTUN_SESSION_HANDLE session = adapter ? wintun.StartSession(adapter, 0x400000) : NULL;
    DWORD size, error = session ? ERROR_NO_MORE_ITEMS : GetLastError();

    while (error == ERROR_NO_MORE_ITEMS) {
        BYTE *packet = wintun.ReceivePacket(session, &size);
        if (!packet) {
            error = GetLastError();
            if (error == ERROR_NO_MORE_ITEMS)
                WaitForSingleObject(wintun.GetReadWaitEvent(session), INFINITE);
            continue;
        }
        fprintf(stderr, "%lu bytes\n", size);
        BYTE *reply = answer(packet, size) ? wintun.AllocateSendPacket(session, size) : NULL;
        if (reply) {
            memcpy(reply, packet, size);
            wintun.SendPacket(session, reply);
        }
        wintun.ReleaseReceivePacket(session, packet);
    }
    fprintf(stderr, "ended by error %lu\n", error); /* the adapter goes with the program */
    return 1;
}
