/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the metadata lies that will be asked for.
 *
 * Each read of an overlay goes through all the volumes below it, and takes 0.1 ms in which one
 * process waits for the other; many at a time take half of that each. What is damaged is left for
 * those who ask for it.
 */
#include "ahead.h"

#include <errno.h>
#include <stdlib.h>

#include "directory_writing.h"
#include "nbd_io.h"

#define MOST 8192 /* directory blocks at a time: as many pages as the cache has */

struct places {
    blk64_t *blocks;
    size_t count;
    size_t room;
};

static errcode_t add_place(struct places *places, blk64_t block)
{
    if (places->count == places->room) {
        size_t room = places->room ? 2 * places->room : 256;
        blk64_t *blocks = realloc(places->blocks, room * sizeof(*blocks));

        if (!blocks)
            return ENOMEM;
        places->blocks = blocks;
        places->room = room;
    }
    places->blocks[places->count++] = block;
    return 0;
}

static errcode_t read_places(ext2_filsys fs, struct places *places)
{
    size_t count = places->count;

    places->count = 0;
    return count ? vl_nbd_read_ahead(fs->io, places->blocks, count) : 0;
}

errcode_t vl_read_bitmaps_ahead(ext2_filsys fs)
{
    struct places places = {0};
    errcode_t failure = 0;

    for (dgrp_t group = 0; group < fs->group_desc_count && !failure; group++) {
        if (!ext2fs_bg_flags_test(fs, group, EXT2_BG_BLOCK_UNINIT))
            failure = add_place(&places, ext2fs_block_bitmap_loc(fs, group));
        if (!failure && !ext2fs_bg_flags_test(fs, group, EXT2_BG_INODE_UNINIT))
            failure = add_place(&places, ext2fs_inode_bitmap_loc(fs, group));
    }
    if (!failure)
        failure = read_places(fs, &places);
    free(places.blocks);
    return failure;
}

static blk64_t place_of_inode(ext2_filsys fs, ext2_ino_t number)
{
    ext2_ino_t in_group = (number - 1) % fs->super->s_inodes_per_group;
    dgrp_t group = (number - 1) / fs->super->s_inodes_per_group;

    return ext2fs_inode_table_loc(fs, group) + in_group / EXT2_INODES_PER_BLOCK(fs->super);
}

static errcode_t add_inodes(ext2_filsys fs, struct places *places, const ext2_ino_t *numbers,
                            size_t count)
{
    errcode_t failure = 0;

    for (size_t i = 0; i < count && !failure; i++)
        if (numbers[i] && numbers[i] <= fs->super->s_inodes_count)
            failure = add_place(places, place_of_inode(fs, numbers[i]));
    return failure;
}

static errcode_t add_directory_blocks(ext2_filsys fs, struct places *places, ext2_ino_t number)
{
    union vl_inode inode;
    blk64_t place, blocks;
    errcode_t failure = 0;

    if (ext2fs_read_inode_full(fs, number, &inode.small, VL_INODE_SIZE) ||
        !LINUX_S_ISDIR(inode.fields.i_mode))
        return 0;
    blocks = EXT2_I_SIZE(&inode.fields) / fs->blocksize;
    for (blk64_t logical = 0; logical < blocks && places->count < MOST && !failure; logical++) {
        if (find_block(fs, number, &inode, logical, &place))
            return 0;
        failure = add_place(places, place);
    }
    return failure;
}

errcode_t vl_read_nodes_ahead(ext2_filsys fs, const ext2_ino_t *numbers, size_t count)
{
    struct places places = {0};
    errcode_t failure = add_inodes(fs, &places, numbers, count);

    if (!failure)
        failure = read_places(fs, &places);
    for (size_t i = 0; i < count && !failure; i++)
        failure = add_directory_blocks(fs, &places, numbers[i]);
    if (!failure)
        failure = read_places(fs, &places);
    free(places.blocks);
    return failure;
}
