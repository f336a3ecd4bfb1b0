/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records, the format of both ports. protocol/streams.py has the other end. */
#ifndef VIRTLAYER_GUEST_RECORDS_H
#define VIRTLAYER_GUEST_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEADER_SIZE = 8, MOST_CONTENT = 65536 };

enum record_kind {
    RECORD_STDOUT = 1,
    RECORD_STDERR = 2,
    RECORD_TERMINAL = 3,
    RECORD_STARTED = 4,
    RECORD_EXIT = 5,
    RECORD_FAILED = 6,

    RECORD_STDIN = 16,
    RECORD_END_OF_INPUT = 17,
    RECORD_WINDOW_SIZE = 18,
    RECORD_SIGNAL = 19
};

struct record {
    unsigned char kind;
    const unsigned char *content;
    size_t size;
};

void write_header(unsigned char *header, unsigned char kind, size_t size);

/* Received bytes, of which records are taken. */
struct decoder {
    unsigned char data[HEADER_SIZE + MOST_CONTENT];
    size_t begin, end; /* what is left of data */
};

/* Where received bytes are to be put, and how many at most; tell it with received(). */
unsigned char *decoder_room(struct decoder *decoder, size_t *room);
void received(struct decoder *decoder, size_t count);

/*
 * Take the next whole record; false if there is none yet. Bytes that are not a record are skipped.
 * Its content is valid until the next call of decoder_room().
 */
bool take_record(struct decoder *decoder, struct record *record);

#endif
