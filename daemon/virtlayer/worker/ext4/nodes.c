/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * New nodes of an ext4, each made with one call.
 *
 * From Python, every call into libext2fs lets Python's lock go and takes it again, and has
 * arguments to convert; a new file takes five of them. Where nodes go, and what is in an inode,
 * is still Python's to say: it sets blocks aside, and gives the bytes of the inode of an empty file.
 */
#include "nodes.h"

#include <string.h>
#include <ext2fs/ext3_extents.h>

#include "nbd_io.h"

errcode_t vl_take_inode(ext2_filsys fs, struct vl_room *room, int is_directory)
{
    ext2_ino_t end = fs->super->s_inodes_count;
    ext2_ino_t number = 0;

    if (room->inode < end)
        ext2fs_find_first_zero_inode_bitmap2(fs->inode_map, room->inode + 1, end, &number);
    if (!number)
        ext2fs_find_first_zero_inode_bitmap2(fs->inode_map, fs->super->s_first_ino, end, &number);
    if (!number)
        return EXT2_ET_INODE_ALLOC_FAIL;
    room->inode = number;
    ext2fs_inode_alloc_stats2(fs, number, 1, is_directory);
    return 0;
}

static errcode_t write_inode(ext2_filsys fs, struct vl_room *room, union vl_inode *inode)
{
    return ext2fs_write_inode_full(fs, room->inode, &inode->small, VL_INODE_SIZE);
}

errcode_t vl_add_inode(ext2_filsys fs, struct vl_room *room, const void *bytes, int is_directory)
{
    union vl_inode inode;
    errcode_t failure = vl_take_inode(fs, room, is_directory);

    if (failure)
        return failure;
    memcpy(inode.bytes, bytes, VL_INODE_SIZE);
    return write_inode(fs, room, &inode);
}

/* The blocks become its one extent, which is little-endian on every host. */
static void set_extent(struct ext2_inode_large *inode, blk64_t start, uint32_t blocks)
{
    struct ext3_extent_header *tree = (void *)inode->i_block;
    struct ext3_extent *extent = (void *)(tree + 1);

    tree->eh_entries = ext2fs_cpu_to_le16(1);
    extent->ee_block = 0;
    extent->ee_len = ext2fs_cpu_to_le16((uint16_t)blocks);
    extent->ee_start = ext2fs_cpu_to_le32((uint32_t)start);
    extent->ee_start_hi = ext2fs_cpu_to_le16((uint16_t)(start >> 32));
}

errcode_t vl_give_blocks(ext2_filsys fs, struct vl_room *room, struct ext2_inode_large *inode,
                         uint64_t size)
{
    blk64_t start = room->block;
    blk64_t blocks = size / fs->blocksize + (size % fs->blocksize != 0);

    if (blocks > room->blocks || blocks > EXT_INIT_MAX_LEN)
        return EXT2_ET_BLOCK_ALLOC_FAIL;
    if (!blocks)
        return 0;
    room->block += blocks;
    room->blocks -= blocks;
    ext2fs_block_alloc_stats_range(fs, start, (blk_t)blocks, 1);
    /* EXT_INIT_MAX_LEN blocks of 4 KiB are 128 MiB: no need for the high halves. */
    inode->i_size = (uint32_t)size;
    inode->i_blocks += (uint32_t)blocks * (fs->blocksize / 512);
    set_extent(inode, start, (uint32_t)blocks);
    return 0;
}

/* The bytes, and zeroes to the end of the last block. */
static errcode_t write_content(ext2_filsys fs, blk64_t start, const void *data, uint64_t length)
{
    uint64_t offset = start * fs->blocksize;
    uint64_t rest = -length % fs->blocksize;
    errcode_t failure = vl_nbd_write_data(fs->io, offset, data, length);

    if (!failure && rest)
        failure = vl_nbd_write_zeroes(fs->io, offset + length, rest);
    return failure;
}

errcode_t vl_add_file(ext2_filsys fs, struct vl_room *room, const void *bytes, const void *data,
                      uint64_t length)
{
    union vl_inode inode;
    blk64_t start = room->block;
    errcode_t failure;

    memcpy(inode.bytes, bytes, VL_INODE_SIZE);
    failure = vl_take_inode(fs, room, 0);
    if (!failure)
        failure = vl_give_blocks(fs, room, &inode.fields, length);
    if (!failure)
        failure = write_inode(fs, room, &inode);
    if (!failure && length)
        failure = write_content(fs, start, data, length);
    return failure;
}
