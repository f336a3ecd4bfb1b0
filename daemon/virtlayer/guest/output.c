/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The output port. */
#include "output.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "records.h"

enum {
    QUEUE = 4 * (HEADER_SIZE + MOST_CONTENT),
    RESERVED = 1024, /* for what init itself has to say */
    RING = 1024,     /* the most places of a virtqueue of QEMU, whose ports have as many */
    PAUSE = 20,      /* milliseconds */
    NO_MEMORY = 1
};

void begin_output(struct output *output, int file, bool is_port)
{
    output->file = file;
    output->is_port = is_port;
    output->begin = output->end = 0;
    output->data = malloc(QUEUE);
    if (!output->data)
        exit(NO_MEMORY);
}

static size_t free_room(struct output *output)
{
    if (output->file < 0)
        return QUEUE;
    if (output->begin) {
        memmove(output->data, output->data + output->begin, output->end - output->begin);
        output->end -= output->begin;
        output->begin = 0;
    }
    return QUEUE - output->end;
}

size_t output_room(struct output *output)
{
    size_t room = free_room(output);

    if (room <= HEADER_SIZE + RESERVED)
        return 0;
    room -= HEADER_SIZE + RESERVED;
    return room < MOST_CONTENT ? room : MOST_CONTENT;
}

void put_record(struct output *output, unsigned char kind, const void *content, size_t size)
{
    if (output->file < 0 || free_room(output) < HEADER_SIZE + size)
        return;
    write_header(output->data + output->end, kind, size);
    memcpy(output->data + output->end + HEADER_SIZE, content, size);
    output->end += HEADER_SIZE + size;
}

void put_status(struct output *output, int status)
{
    unsigned char byte = (unsigned char)status;

    put_record(output, RECORD_EXIT, &byte, sizeof(byte));
}

void put_failure(struct output *output, const struct failure *failure)
{
    put_record(output, RECORD_FAILED, failure->text, strlen(failure->text));
    put_status(output, failure->status);
}

bool is_output_empty(const struct output *output)
{
    return output->file < 0 || output->begin == output->end;
}

void write_output(struct output *output)
{
    while (!is_output_empty(output)) {
        ssize_t count =
            write(output->file, output->data + output->begin, output->end - output->begin);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            return;
        if (count < 0) {
            close(output->file);
            output->file = -1; /* the port was unplugged, for instance */
            return;
        }
        output->begin += (size_t)count;
    }
}

/* Write everything that is in the queue; false if the host takes nothing for that time. */
static bool write_all(struct output *output, int milliseconds)
{
    long long deadline = now() + milliseconds;

    for (;;) {
        struct pollfd port = {.fd = output->file, .events = POLLOUT};
        size_t before = output->begin;

        write_output(output);
        if (is_output_empty(output))
            return true;
        if (output->begin != before)
            deadline = now() + milliseconds;
        if (!until(deadline))
            return false;
        /* A port that has no host is reported as one at once, and again and again. */
        if (poll(&port, 1, until(deadline)) > 0 && !(port.revents & POLLOUT))
            poll(NULL, 0, PAUSE);
    }
}

/*
 * A write to a port returns when the bytes are in a queue of the kernel. When the machine is turned
 * off, QEMU forgets what it has not taken out of there. There is no call that waits for it; but as
 * the queue has a fixed number of places, as many writes more tell that the first one was taken.
 * Empty records are nothing to a reader.
 */
void drain_output(struct output *output, int milliseconds)
{
    int i;

    if (!write_all(output, milliseconds) || !output->is_port)
        return;
    for (i = 0; i < RING; i++) {
        put_record(output, RECORD_STDOUT, "", 0);
        if (!write_all(output, milliseconds))
            return;
    }
}
