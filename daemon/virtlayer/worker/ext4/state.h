/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The writer's state, which its files share; everything else is private to one of them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ext2fs/ext2fs.h>

#include "writer.h"

#define INODE_SIZE 256
#define EXTRA_SIZE 32           /* bytes beyond the classic 128 with a meaning: up to i_projid */
#define FIRST_INODE 11
#define RESERVED_PERCENT 1      /* only root gets them: enough to log in and clean up */
#define FIXED_TIME 1577836800   /* every time that no layer gives: 2020-01-01 */

/* Our own codes, apart from those of errno and of com_err's tables. */
enum vl_code {
    VL_CODE_BLOCK_SIZE = 0x10000,
    VL_CODE_INODE_SIZE,
    VL_CODE_FEATURES,
    VL_CODE_GROUPS,
    VL_CODE_HASH,
    VL_CODE_SIZE,
    VL_CODE_SYMLINK,
    VL_CODE_KIND,
    VL_CODE_UNUSED,
    VL_CODE_CONTENT_TOO_LARGE,
    VL_CODE_SEGMENTS,
    VL_CODE_DIRECTORY_TOO_LARGE,
    VL_CODE_TOO_MANY_LINKS,
    VL_CODE_CANNOT_GROW
};

/* Blocks of a file that are neighbours in the file and on the disk. */
struct run {
    uint64_t logical;
    uint64_t physical;
    uint32_t length;
};

struct runs {
    struct run *all;
    size_t count;
    size_t room;
};

/* Where the next nodes go. The blocks are reserved, but not yet marked as used. */
struct room {
    ext2_ino_t inode;           /* the last one taken */
    blk64_t block;              /* the first of the free blocks that are set aside */
    blk64_t blocks;             /* how many they are, side by side */
};

/* The file whose content is being written. */
struct pouring {
    struct vl_segment *segments;
    size_t count;
    size_t room;
    size_t segment;             /* the one that comes next, and how much of it has come */
    uint64_t come;
    size_t run;                 /* the one that is being written, */
    uint64_t position;          /* and up to where in the file */
};

struct vl_writer {
    ext2_filsys fs;
    struct room room;
    struct runs runs;           /* of the file that was added last */
    struct pouring pouring;
    ext2_inode_scan scan;       /* of vl_next_node() */
};

union inode {
    struct ext2_inode_large fields;
    struct ext2_inode small;
    unsigned char bytes[INODE_SIZE];
};

/* ---- writer.c ---- */

/* Has an array hold at least that many elements of that size. */
errcode_t vl_make_room(void *array, size_t *room, size_t needed, size_t size);

/* ---- geometry.c ---- */

/* What every file system of ours has in common, as ext2fs_initialize() takes it, zeroed before. */
errcode_t vl_set_geometry(struct ext2_super_block *super, uint64_t size);

/* Whether a file system has it, and is not larger than its device. */
errcode_t vl_check_geometry(ext2_filsys fs, uint64_t device_size);

/* ---- blocks.c ---- */

/* Finds where the next nodes go, and has libext2fs take its blocks from there as well. */
void vl_begin_blocks(struct vl_writer *writer);

/* Allocates the blocks that segments touch: writer->runs then. */
errcode_t vl_take_runs(struct vl_writer *writer, const struct vl_segment *segments, size_t count);

/* Gives an inode without blocks, but with an extent tree, writer->runs. */
errcode_t vl_set_runs(struct vl_writer *writer, ext2_ino_t number, union inode *inode);

/* Gives such an inode as many of the blocks that are set aside as that size takes, all in one run:
 * EXT2_ET_BLOCK_ALLOC_FAIL if there are fewer. */
errcode_t vl_give_blocks(struct vl_writer *writer, union inode *inode, uint64_t size);

/* Where a block of a file is on the disk: 0 for a hole, or for one that is not written yet. */
errcode_t vl_find_block(ext2_filsys fs, ext2_ino_t number, union inode *inode, blk64_t logical,
                        blk64_t *place);

/* Frees the blocks of a file and of its extent tree. */
errcode_t vl_free_blocks(ext2_filsys fs, ext2_ino_t number, union inode *inode);

/* An extent tree without extents. */
void vl_set_empty_tree(union inode *inode);

/* ---- inodes.c ---- */

/* Reads an inode that a name leads to: of a damaged file system, it may be one that is not in use,
 * such as that of a directory that is in itself and has been removed. */
errcode_t vl_read_inode(ext2_filsys fs, ext2_ino_t number, union inode *inode);
errcode_t vl_write_inode(ext2_filsys fs, ext2_ino_t number, union inode *inode);

/* Takes a free inode, one after the last one taken if there is one. */
errcode_t vl_take_inode(struct vl_writer *writer, bool is_directory);

void vl_encode_node(const struct vl_node *node, union inode *inode);
void vl_decode_node(const union inode *inode, struct vl_node *node);

/* How many of an inode's sectors are a block of extended attributes. */
unsigned vl_attribute_sectors(const union inode *inode);

/* Sets the number of sectors, beyond 32 bits as well. */
void vl_set_sectors(union inode *inode, uint64_t sectors);

/* ---- formatting.c and ahead.c ---- */

errcode_t vl_make_filesystem(const char *device, uint64_t size, const unsigned char *identity,
                             ext2_filsys *result);
errcode_t vl_read_bitmaps_ahead(ext2_filsys fs);
