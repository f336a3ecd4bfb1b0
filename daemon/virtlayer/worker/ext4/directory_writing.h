/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What only directories.c, directory_blocks.c and directory_tree.c use. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <ext2fs/ext2fs.h>

#include "state.h"

#define DOT_LENGTH 12u  /* of the entry "." or ".." */

/* What a directory should hold. */
struct names {
    const char *bytes;
    size_t length;
    const uint64_t *values;
    size_t count;
};

struct name {
    const char *bytes;
    size_t length;
};

/* A directory that is being written, a block at a time. */
struct writing {
    struct vl_writer *writer;
    ext2_filsys fs;
    ext2_ino_t number;
    ext2_ino_t parent;
    union inode inode;
    blk64_t fresh;          /* where its blocks begin, if it has just been given them */
    char *block;
    unsigned used;          /* of the block, by entries */
    struct ext2_dir_entry *last; /* of them */
};

/* ---- directory_blocks.c ---- */

/* The name at a position, which becomes that of the one behind it. */
struct name vl_next_name(const struct names *names, size_t *position);

unsigned vl_entry_length(size_t name_length);

/* The bytes of a block for entries: the tail has the checksum. */
unsigned vl_room_of(ext2_filsys fs);

void vl_begin_block(struct writing *writing);
struct ext2_dir_entry *vl_add_entry(struct writing *writing, uint64_t value, const char *name,
                                 size_t length);
struct ext2_dir_entry *vl_add_directory(struct writing *writing, ext2_ino_t number, const char *name);
errcode_t vl_write_block(struct writing *writing, blk64_t logical);

/* Writes a block of entries, of which the last one reaches to the tail. */
errcode_t vl_end_block(struct writing *writing, blk64_t logical);

/* Where a block of a directory is on the disk. A directory has no holes. */
errcode_t vl_find_directory_block(ext2_filsys fs, ext2_ino_t number, union inode *inode,
                                  blk64_t logical, blk64_t *place);

/* ---- directory_tree.c ---- */

/* In the order in which a hash tree has it. */
struct hashed {
    uint32_t hash;
    uint32_t position;      /* in all the names */
    uint32_t value;         /* which one of them */
    uint32_t length;
};

/* The index has one level, the root, or two. */
struct shape {
    size_t leaves;
    size_t nodes;           /* between root and leaves */
    size_t node_limit;
    size_t blocks;
};

/* As many as there are names, in the order of their hashes. */
errcode_t vl_hash_names(ext2_filsys fs, const struct names *names, struct hashed *hashed);

/* What tree they make. VL_CODE_DIRECTORY_TOO_LARGE if there are more than it can find. */
errcode_t vl_shape_tree(ext2_filsys fs, const struct hashed *hashed, size_t count,
                     struct shape *shape);

errcode_t vl_write_tree(struct writing *writing, const struct names *names,
                     const struct hashed *hashed, const struct shape *shape);
