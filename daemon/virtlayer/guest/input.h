/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What somebody who is attached sends to the entrypoint: by the input port, or by a console. */
#ifndef VIRTLAYER_GUEST_INPUT_H
#define VIRTLAYER_GUEST_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "entrypoint.h"
#include "records.h"

struct input {
    int port;   /* or console; -1 if there is none */
    bool is_console; /* whether it has no records, but plain input */
    int events; /* an epoll(7) descriptor, readable when something has happened at the port */
    bool keeps_input; /* whether the entrypoint wants standard input at all */
    bool at_end;      /* whether no standard input follows */
    struct decoder decoder;
    unsigned char queue[MOST_CONTENT + HEADER_SIZE]; /* what the entrypoint has not taken yet */
    size_t begin, end;
};

/* Use a port, which does not block, or nothing (-1). */
void begin_input(struct input *input, int port, bool keeps_input);

/* Use a console, which does not block. */
void begin_console(struct input *input, int console, bool keeps_input);

/* Whether there is something to read, and room for what it can contain. */
bool wants_input(const struct input *input);

/* Read what there is, and do what the records say. */
void read_input(struct input *input, struct entrypoint *entrypoint);

/* Whether the entrypoint has yet to take something. */
bool has_queued_input(const struct input *input);

/* Give the entrypoint as much as it takes now. */
void pass_input(struct input *input, struct entrypoint *entrypoint);

#endif
