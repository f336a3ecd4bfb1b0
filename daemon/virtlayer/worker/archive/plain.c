/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The header blocks of a tar archive that have nothing unusual: nearly all of them.
 *
 * What a header means is said in header.py, which reads all the others and knows what to say of
 * those that are wrong. A block that is taken here is taken there with the same fields. Nothing
 * is read beyond the block, whatever is in it.
 */
#include "plain.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { NAME = 0, MODE = 100, UID = 108, GID = 116, SIZE = 124, MTIME = 136, CHECKSUM = 148,
       LINK = 157, MAGIC = 257, PREFIX = 345, GNU_ATIME = 345, GNU_CTIME = 357, STAR_TIMES = 476,
       PREFIX_END = 500, TRAILER = 508 };

/*
 * A field of octal digits, behind blanks and NULs, up to its end or a NUL, with blanks before that.
 * At most 12 digits: 36 bits.
 */
static bool octal(const unsigned char *field, size_t length, int64_t *number)
{
    const unsigned char *end = field + length, *nul;

    while (field < end && (*field == ' ' || !*field))
        field++;
    nul = memchr(field, 0, (size_t)(end - field));
    if (nul)
        end = nul;
    *number = 0;
    while (field < end && *field >= '0' && *field <= '7')
        *number = *number << 3 | (*field++ - '0');
    while (field < end && *field == ' ')
        field++;
    return field == end;
}

static int64_t sum(const unsigned char *block)
{
    uint32_t total = 0;

    for (size_t i = 0; i < VL_TAR_BLOCK; i++)
        total += block[i];
    for (size_t i = CHECKSUM; i < CHECKSUM + 8; i++)
        total += ' ' - (uint32_t)block[i];
    return total;
}

static uint16_t text_length(const unsigned char *block, size_t start, size_t end)
{
    const unsigned char *nul = memchr(block + start, 0, end - start);

    return (uint16_t)(nul ? (size_t)(nul - block) - start : end - start);
}

int vl_read_plain(const unsigned char *block, struct vl_plain *header)
{
    int64_t checksum;

    if (!octal(block + CHECKSUM, 8, &checksum) || checksum != sum(block) ||
        !octal(block + MODE, 8, &header->mode) || !octal(block + UID, 8, &header->uid) ||
        !octal(block + GID, 8, &header->gid) || !octal(block + SIZE, 12, &header->size) ||
        !octal(block + MTIME, 12, &header->mtime))
        return 0;
    header->name_length = text_length(block, NAME, MODE);
    header->link_length = text_length(block, LINK, MAGIC);
    header->prefix_length = 0;
    if (!memcmp(block + MAGIC, "ustar  ", 8) && (block[GNU_ATIME] || block[GNU_CTIME]))
        return 0;
    if (!memcmp(block + MAGIC, "ustar", 6) && block[PREFIX])
        header->prefix_length = text_length(
            block, PREFIX, memcmp(block + TRAILER, "tar", 4) ? PREFIX_END : STAR_TIMES);
    return 1;
}
