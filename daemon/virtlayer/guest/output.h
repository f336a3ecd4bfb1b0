/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The output port: a queue of records, which never waits for the host. */
#ifndef VIRTLAYER_GUEST_OUTPUT_H
#define VIRTLAYER_GUEST_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "failure.h"

struct output {
    int file; /* not blocking; -1 if there is none, or if writing failed: all is dropped then */
    bool is_port;
    unsigned char *data;
    size_t begin, end;
};

/* Use a file, or nothing (-1). */
void begin_output(struct output *output, int file, bool is_port);

/* How many bytes of content the next record can have; 0 if the queue is full. */
size_t output_room(struct output *output);

/* Append a record. There is always room for one with the text of a failure. */
void put_record(struct output *output, unsigned char kind, const void *content, size_t size);

void put_status(struct output *output, int status);
void put_failure(struct output *output, const struct failure *failure);

/* Write as much as the host takes now. */
void write_output(struct output *output);

bool is_output_empty(const struct output *output);

/* Wait until the host has taken everything, or has taken nothing for that time. */
void drain_output(struct output *output, int milliseconds);

#endif
