/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The header blocks of a tar archive that have nothing unusual. See plain.c. */
#pragma once

#include <stdint.h>

#define VL_TAR_BLOCK 512

/* What plain.py unpacks. */
struct vl_plain {
    int64_t mode;
    int64_t uid;
    int64_t gid;
    int64_t size;
    int64_t mtime;
    uint16_t name_length;   /* of the name at the beginning of the block */
    uint16_t prefix_length; /* of what belongs before it and a slash; 0 for nothing */
    uint16_t link_length;
};

/* Reads a block of VL_TAR_BLOCK bytes. Returns 0 if it is not plain: there may be an error in
 * it, or a number that is not octal, or a checksum that is right in another way. */
int vl_read_plain(const unsigned char *block, struct vl_plain *header);
