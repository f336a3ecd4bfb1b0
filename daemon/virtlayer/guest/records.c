/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records, the format of both ports. */
#include "records.h"

#include <string.h>

static const unsigned char MARK[3] = {0xa5, 'V', 'L'};

void write_header(unsigned char *header, unsigned char kind, size_t size)
{
    memcpy(header, MARK, sizeof(MARK));
    header[3] = kind;
    header[4] = (unsigned char)size;
    header[5] = (unsigned char)(size >> 8);
    header[6] = (unsigned char)(size >> 16);
    header[7] = (unsigned char)(size >> 24);
}

unsigned char *decoder_room(struct decoder *decoder, size_t *room)
{
    memmove(decoder->data, decoder->data + decoder->begin, decoder->end - decoder->begin);
    decoder->end -= decoder->begin;
    decoder->begin = 0;
    *room = sizeof(decoder->data) - decoder->end;
    return decoder->data + decoder->end;
}

void received(struct decoder *decoder, size_t count)
{
    decoder->end += count;
}

/* The size of the content, which can be more than is allowed. */
static size_t content_size(const unsigned char *header)
{
    return header[4] | header[5] << 8 | header[6] << 16 | (size_t)header[7] << 24;
}

bool take_record(struct decoder *decoder, struct record *record)
{
    for (; decoder->end - decoder->begin >= HEADER_SIZE; decoder->begin++) {
        const unsigned char *header = decoder->data + decoder->begin;
        size_t size = content_size(header);

        if (memcmp(header, MARK, sizeof(MARK)) || size > MOST_CONTENT)
            continue;
        if (decoder->end - decoder->begin < HEADER_SIZE + size)
            return false;
        record->kind = header[3];
        record->content = header + HEADER_SIZE;
        record->size = size;
        decoder->begin += HEADER_SIZE + size;
        return true;
    }
    return false;
}
