/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finds the metadata that will be asked for.
 *
 * Each read of an overlay goes through all the volumes below it, and takes 0.1 ms in which one
 * process waits for the other; many at a time take half of that each. Damage is reported when the
 * data is asked for.
 */
#include "directory_writing.h"
#include "nbd_io.h"

#define MOST 8192 /* as many pages as the cache has room for */

struct places {
    blk64_t blocks[MOST];
    size_t count;
};

static void add_place(struct places *places, blk64_t block)
{
    if (places->count < MOST)
        places->blocks[places->count++] = block;
}

errcode_t vl_read_bitmaps_ahead(ext2_filsys fs)
{
    struct places places;

    places.count = 0;
    for (dgrp_t group = 0; group < fs->group_desc_count; group++) {
        if (!ext2fs_bg_flags_test(fs, group, EXT2_BG_BLOCK_UNINIT))
            add_place(&places, ext2fs_block_bitmap_loc(fs, group));
        if (!ext2fs_bg_flags_test(fs, group, EXT2_BG_INODE_UNINIT))
            add_place(&places, ext2fs_inode_bitmap_loc(fs, group));
    }
    return vl_nbd_read_ahead(fs->io, places.blocks, places.count);
}

static blk64_t place_of_inode(ext2_filsys fs, ext2_ino_t number)
{
    ext2_ino_t in_group = (number - 1) % fs->super->s_inodes_per_group;
    dgrp_t group = (number - 1) / fs->super->s_inodes_per_group;

    return ext2fs_inode_table_loc(fs, group) + in_group / EXT2_INODES_PER_BLOCK(fs->super);
}

static void add_directory_blocks(ext2_filsys fs, struct places *places, ext2_ino_t number)
{
    union inode inode;
    blk64_t place, blocks;

    if (vl_read_inode(fs, number, &inode) ||
        !LINUX_S_ISDIR(inode.fields.i_mode))
        return;
    blocks = EXT2_I_SIZE(&inode.fields) / fs->blocksize;
    for (blk64_t logical = 0; logical < blocks && places->count < MOST; logical++) {
        if (vl_find_directory_block(fs, number, &inode, logical, &place))
            return;
        add_place(places, place);
    }
}

long vl_read_ahead(struct vl_writer *writer, const uint32_t *numbers, size_t count)
{
    ext2_filsys fs = writer->fs;
    struct places places;
    errcode_t failure;

    places.count = 0;
    for (size_t i = 0; i < count; i++)
        if (numbers[i] && numbers[i] <= fs->super->s_inodes_count)
            add_place(&places, place_of_inode(fs, numbers[i]));
    failure = vl_nbd_read_ahead(fs->io, places.blocks, places.count);
    if (failure)
        return failure;
    places.count = 0;
    for (size_t i = 0; i < count; i++)
        add_directory_blocks(fs, &places, numbers[i]);
    return vl_nbd_read_ahead(fs->io, places.blocks, places.count);
}
