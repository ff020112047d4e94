/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * A program over examples/packets.h that sends back what it receives, unchanged and in order, but
 * releases and fills packets in groups, the last one first. Arguments: adapter, transport, packets
 * to send back. Exit code 0 when all were sent.
 */
#include "../../../examples/packets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP = 5, PATIENCE_MS = 20000 };

static int give_up(const char *why)
{
    fprintf(stderr, "echo: %s: %s\n", why, packets_error());
    return 1;
}

static uint8_t *room_for(struct packets *packets, uint32_t bytes)
{
    uint8_t *room = NULL;

    for (long tries = 0; room == NULL && tries < 100000000; tries++)
        room = packets_allocate(packets, bytes);
    return room;
}

int main(int argc, char **argv)
{
    struct packets *packets = argc == 4 ? packets_open(argv[1], argv[2]) : NULL;
    const unsigned wanted = argc == 4 ? (unsigned)strtoul(argv[3], NULL, 0) : 0;
    unsigned done = 0;

    if (packets == NULL)
        return give_up("open");
    while (done < wanted) {
        const uint8_t *taken[GROUP];
        uint8_t *rooms[GROUP];
        uint32_t bytes[GROUP];
        unsigned count = 0;

        if (packets_wait(packets, PATIENCE_MS) != 0)
            return give_up("wait");
        while (count < GROUP && done + count < wanted &&
               (taken[count] = packets_receive(packets, &bytes[count])) != NULL)
            count++;
        for (unsigned i = 0; i < count; i++)
            if ((rooms[i] = room_for(packets, bytes[i])) == NULL)
                return give_up("allocate");
        for (unsigned i = count; i-- > 0;) {
            memcpy(rooms[i], taken[i], bytes[i]);
            packets_release(packets, taken[i]);
            packets_send(packets, rooms[i]);
        }
        packets_flush(packets);
        done += count;
    }
    /* The end of the program must not overtake its last packets; whoever waits for them says when
     * by closing our input. */
    if (getchar() != EOF)
        return give_up("input");
    packets_close(packets);
    return 0;
}
