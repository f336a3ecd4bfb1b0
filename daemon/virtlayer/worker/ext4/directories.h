/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Directories read from their blocks, and built into them. See directories.c. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <ext2fs/ext2fs.h>

#include "nodes.h"

/* The names of a directory but "." and "..", and what they lead to. */
struct vl_listing {
    ext2_ino_t parent;       /* what ".." leads to */
    char *names;             /* each with a "/" behind it */
    size_t length;           /* of all of them together */
    uint64_t *values;        /* inode << 3 | kind, one a name */
    size_t count;
    size_t names_room, values_room;
};

/* Reads a directory. The listing is vl_forget_listing's to free, unless there was an error. */
errcode_t vl_read_directory(ext2_filsys fs, ext2_ino_t number, struct vl_listing *listing);

void vl_forget_listing(struct vl_listing *listing);

/* Writes the inode and the blocks of a directory whose names stand in one string, with a "/"
 * between them. One block is a list; more are a hash tree, as the kernel has them from the second
 * block on.
 *
 * A directory without blocks takes them from the room. Where that is not enough, or where it has
 * blocks but not that many, nothing is done: the answer is EXT2_ET_DIR_NO_SPACE, and *blocks how
 * many it should have. EFBIG: there are more names than a hash tree of two levels can find. */
errcode_t vl_write_directory(ext2_filsys fs, struct vl_room *room, ext2_ino_t number,
                             ext2_ino_t parent, const char *names, size_t length,
                             const uint64_t *values, size_t count, blk64_t *blocks);
