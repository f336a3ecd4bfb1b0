/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* New nodes of an ext4, each made with one call. See nodes.c. */
#pragma once

#include <stdint.h>
#include <ext2fs/ext2fs.h>

/* Where the next nodes go. Nobody else takes the blocks, which are not yet marked as used. */
struct vl_room {
    ext2_ino_t inode;        /* the last one taken */
    blk64_t block;           /* the first of the free blocks that are set aside */
    blk64_t blocks;          /* how many they are, side by side */
};

/* Takes a free inode, one after the last one taken where there is one: room->inode then.
 * Answers EXT2_ET_INODE_ALLOC_FAIL where none is free. */
errcode_t vl_take_inode(ext2_filsys fs, struct vl_room *room, int is_directory);

#define VL_INODE_SIZE 256

union vl_inode {
    struct ext2_inode_large fields;
    struct ext2_inode small;
    unsigned char bytes[VL_INODE_SIZE];
};

/* Gives an inode without blocks, but with an extent tree, as many of the room's as that size takes:
 * EXT2_ET_BLOCK_ALLOC_FAIL where it has fewer. */
errcode_t vl_give_blocks(ext2_filsys fs, struct vl_room *room, struct ext2_inode_large *inode,
                         uint64_t size);

/* Takes an inode and writes it: VL_INODE_SIZE bytes, in the host's byte order. */
errcode_t vl_add_inode(ext2_filsys fs, struct vl_room *room, const void *bytes, int is_directory);

/* The same for a regular file with its content. The inode is that of an empty file, with an extent
 * tree without extents; the content is no longer than the blocks that the room has. */
errcode_t vl_add_file(ext2_filsys fs, struct vl_room *room, const void *bytes, const void *data,
                      uint64_t length);
