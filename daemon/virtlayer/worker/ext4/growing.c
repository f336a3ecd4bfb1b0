/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An ext4 of ours made larger, offline, with what libext2fs has for that.
 *
 * libext2fs cannot resize, and resize2fs(8) wants a file or device, which a sandboxed process with
 * an NBD connection does not have. But the file systems are made here, in one geometry, so that
 * little of resize2fs is needed: new groups at the end, their descriptors in the blocks that were
 * reserved for them (resize_inode), and no block of a file has to move.
 */
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nbd_io.h"

#define SMALLEST_GROUP_ROOM 50 /* blocks beyond its own tables, as mke2fs(8) has it */

static uint64_t divide_up(uint64_t number, uint64_t divisor)
{
    return (number + divisor - 1) / divisor;
}

/* Leaves out a last group that would have hardly more than its own tables. */
static blk64_t usable_blocks(ext2_filsys fs, blk64_t blocks)
{
    blk64_t rest = blocks % fs->super->s_blocks_per_group;
    blk64_t tables = 2 + fs->inode_blocks_per_group;
    blk64_t backups = 1 + fs->desc_blocks + fs->super->s_reserved_gdt_blocks;

    return rest && rest < tables + backups + SMALLEST_GROUP_ROOM ? blocks - rest : blocks;
}

/* Has memory for so many blocks of descriptors. */
static errcode_t extend_descriptors(ext2_filsys fs, uint64_t old, uint64_t new)
{
    char *descriptors = realloc(fs->group_desc, new * VL_BLOCK_SIZE);

    if (!descriptors)
        return ENOMEM;
    memset(descriptors + old * VL_BLOCK_SIZE, 0, (new - old) * VL_BLOCK_SIZE);
    fs->group_desc = (struct opaque_ext2_group_desc *)descriptors;
    fs->desc_blocks = new;
    return 0;
}

/* Makes room for descriptors: on the disk from what is reserved there, and in memory. */
static errcode_t reserve_descriptors(ext2_filsys fs, uint64_t groups, uint64_t *limit)
{
    struct ext2_super_block *super = fs->super;
    uint64_t a_block = VL_BLOCK_SIZE / super->s_desc_size;
    uint64_t old = fs->desc_blocks, new = divide_up(groups, a_block);

    if (new < old)
        return EXT2_ET_CORRUPT_SUPERBLOCK;
    /* The inodes are counted with 32 bits. */
    if (new - old > super->s_reserved_gdt_blocks ||
        groups * super->s_inodes_per_group > UINT32_MAX) {
        *limit = (old + super->s_reserved_gdt_blocks) * a_block * super->s_blocks_per_group *
                 VL_BLOCK_SIZE;
        return VL_CODE_CANNOT_GROW;
    }
    super->s_reserved_gdt_blocks -= (uint16_t)(new - old);
    return extend_descriptors(fs, old, new);
}

static errcode_t set_size(ext2_filsys fs, blk64_t blocks, uint64_t groups)
{
    struct ext2_super_block *super = fs->super;
    uint32_t added = (uint32_t)(groups - fs->group_desc_count) * super->s_inodes_per_group;
    blk64_t old_blocks = ext2fs_blocks_count(super);
    errcode_t failure;

    super->s_inodes_count += added;
    super->s_free_inodes_count += added;
    ext2fs_blocks_count_set(super, blocks);
    ext2fs_r_blocks_count_set(super, blocks * RESERVED_PERCENT / 100);
    fs->group_desc_count = (dgrp_t)groups;
    failure = ext2fs_resize_inode_bitmap2(super->s_inodes_count, super->s_inodes_count,
                                          fs->inode_map);
    if (!failure)
        failure = ext2fs_resize_block_bitmap2(blocks - 1, groups * super->s_blocks_per_group - 1,
                                              fs->block_map);
    /* On the disk, what a bitmap has beyond the end counts as used. */
    for (blk64_t start = old_blocks; start < blocks && !failure;) {
        blk64_t part = blocks - start < INT32_MAX ? blocks - start : INT32_MAX;
        ext2fs_unmark_block_bitmap_range2(fs->block_map, start, (unsigned)part);
        start += part;
    }
    return failure;
}

static void count_free(ext2_filsys fs, blk64_t blocks)
{
    ext2fs_free_blocks_count_set(fs->super, ext2fs_free_blocks_count(fs->super) + blocks);
}

/* The group that was the last one may have been shorter than the others. */
static void extend_last_group(ext2_filsys fs, dgrp_t group, blk64_t old_blocks)
{
    blk64_t end = (blk64_t)(group + 1) * fs->super->s_blocks_per_group;
    blk64_t blocks = ext2fs_blocks_count(fs->super);
    blk64_t added = (end < blocks ? end : blocks) - old_blocks;

    ext2fs_bg_free_blocks_count_set(fs, group,
                                    ext2fs_bg_free_blocks_count(fs, group) + (uint32_t)added);
    ext2fs_group_desc_csum_set(fs, group);
    count_free(fs, added);
}

/* A group without tables: everything in it is free but the backups that it may have. */
static void describe_group(ext2_filsys fs, dgrp_t group)
{
    uint32_t inodes = fs->super->s_inodes_per_group;
    /* It takes off what the tables would need; in a flex_bg they may be anywhere, and are counted
     * where they are made. */
    uint32_t free = (uint32_t)ext2fs_reserve_super_and_bgd(fs, group, fs->block_map) + 2 +
                    fs->inode_blocks_per_group;
    uint16_t flags = EXT2_BG_INODE_UNINIT;

    ext2fs_bg_free_blocks_count_set(fs, group, free);
    ext2fs_bg_free_inodes_count_set(fs, group, inodes);
    ext2fs_bg_itable_unused_set(fs, group, inodes);
    if (group != fs->group_desc_count - 1)
        flags |= EXT2_BG_BLOCK_UNINIT; /* the last one may have bits beyond the end */
    ext2fs_bg_flags_set(fs, group, flags);
    ext2fs_group_desc_csum_set(fs, group);
    count_free(fs, free);
}

static errcode_t add_tables(ext2_filsys fs, dgrp_t group, blk64_t old_blocks)
{
    blk64_t table;
    errcode_t failure = ext2fs_allocate_group_table(fs, group, fs->block_map);

    if (failure)
        return failure;
    table = ext2fs_inode_table_loc(fs, group);
    if (table < old_blocks)
        /* Files that are deleted by now may have left something there; the new part is zeroes. */
        failure = vl_nbd_write_zeroes(fs->io, table * VL_BLOCK_SIZE,
                                      (uint64_t)fs->inode_blocks_per_group * VL_BLOCK_SIZE);
    ext2fs_bg_flags_set(fs, group, EXT2_BG_INODE_ZEROED);
    ext2fs_group_desc_csum_set(fs, group);
    return failure;
}

/* Lists the blocks that are still reserved, in all groups with backups. */
static errcode_t rewrite_resize_inode(ext2_filsys fs)
{
    static const unsigned char zeroes[VL_BLOCK_SIZE];
    union inode inode;
    blk64_t place;
    errcode_t failure = vl_read_inode(fs, EXT2_RESIZE_INO, &inode);

    if (failure)
        return failure;
    place = inode.fields.i_block[EXT2_DIND_BLOCK]; /* the one block pointer that it has */
    if (!place)
        return EXT2_ET_RESIZE_INODE_CORRUPT;
    vl_set_sectors(&inode, VL_BLOCK_SIZE / 512);
    failure = vl_write_inode(fs, EXT2_RESIZE_INO, &inode);
    if (!failure)
        failure = io_channel_write_blk64(fs->io, place, 1, zeroes);
    return failure ? failure : ext2fs_create_resize_inode(fs);
}

static errcode_t add_groups(ext2_filsys fs, dgrp_t old_groups, blk64_t old_blocks)
{
    errcode_t failure = 0;

    for (dgrp_t group = old_groups; group < fs->group_desc_count; group++)
        describe_group(fs, group);
    for (dgrp_t group = old_groups; group < fs->group_desc_count && !failure; group++)
        failure = add_tables(fs, group, old_blocks);
    return failure;
}

long vl_grow(struct vl_writer *writer, uint64_t size, uint64_t *limit)
{
    ext2_filsys fs = writer->fs;
    blk64_t old_blocks = ext2fs_blocks_count(fs->super);
    blk64_t blocks = usable_blocks(fs, size / VL_BLOCK_SIZE);
    dgrp_t old_groups = fs->group_desc_count;
    uint64_t groups = divide_up(blocks, fs->super->s_blocks_per_group);
    errcode_t failure = 0;

    /* What resize2fs does: the backups would be those of another file system otherwise. */
    fs->flags &= ~EXT2_FLAG_MASTER_SB_ONLY;
    if (blocks <= old_blocks)
        return 0;
    failure = reserve_descriptors(fs, groups, limit);
    if (!failure)
        failure = set_size(fs, blocks, groups);
    if (failure)
        return failure;
    extend_last_group(fs, old_groups - 1, old_blocks);
    failure = add_groups(fs, old_groups, old_blocks);
    if (!failure)
        failure = rewrite_resize_inode(fs);
    fs->super->s_wtime = (uint32_t)fs->now;
    ext2fs_mark_super_dirty(fs);
    ext2fs_mark_bb_dirty(fs);
    ext2fs_mark_ib_dirty(fs);
    return failure;
}
