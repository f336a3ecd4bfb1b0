/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Blocks: finds free ones, and records the blocks of a file in its inode.
 *
 * They are handed out in ascending order, from a window of free blocks that lie side by side.
 * libext2fs takes them from there as well, for the blocks of extent trees and attributes.
 */
#include "state.h"

#include <string.h>
#include <ext2fs/ext3_extents.h>

#define WINDOW 2048             /* blocks: 8 MiB, so that small files lie side by side */
#define HOLES_PASSED 10000
#define EXTENTS_IN_INODE 4
#define SECTORS_PER_BLOCK (VL_BLOCK_SIZE / 512)

/* ---- free blocks ---- */

/* The first run of free blocks from there on; 0 if there is none.
 *
 * Not by ext2fs_new_range: if no run is long enough for it, it never returns. And the last
 * block of all stays free: ext2fs_punch refuses to free a run that ends there. */
static blk64_t find_free(ext2_filsys fs, blk64_t start, blk64_t *length)
{
    blk64_t end = ext2fs_blocks_count(fs->super) - 1;
    blk64_t used;

    if (start < fs->super->s_first_data_block)
        start = fs->super->s_first_data_block;
    *length = 0;
    if (start >= end ||
        ext2fs_find_first_zero_block_bitmap2(fs->block_map, start, end - 1, &start))
        return 0;
    if (ext2fs_find_first_set_block_bitmap2(fs->block_map, start, end - 1, &used))
        used = end;
    *length = used - start;
    return start;
}

/* Holes that deletions left are filled last, so that new files lie side by side. */
static blk64_t find_roomy_place(ext2_filsys fs)
{
    blk64_t length, start = find_free(fs, 0, &length);

    for (unsigned i = 0; i < HOLES_PASSED && length && length < WINDOW; i++)
        start = find_free(fs, start + length, &length);
    return start;
}

static errcode_t open_window(struct vl_writer *writer, blk64_t wanted)
{
    blk64_t length, start = find_free(writer->fs, writer->room.block, &length);

    if (!length)
        start = find_free(writer->fs, 0, &length);
    if (!length)
        return EXT2_ET_BLOCK_ALLOC_FAIL;
    writer->room.block = start;
    writer->room.blocks = length < wanted ? length : wanted;
    return 0;
}

/* Sets aside a run of at most that many blocks, which the caller marks as used. */
static errcode_t reserve(struct vl_writer *writer, blk64_t *length, blk64_t *start)
{
    struct room *room = &writer->room;

    if (!room->blocks) {
        errcode_t failure = open_window(writer, *length > WINDOW ? *length : WINDOW);
        if (failure)
            return failure;
    }
    if (*length > room->blocks)
        *length = room->blocks;
    *start = room->block;
    room->block += *length;
    room->blocks -= *length;
    return 0;
}

/* What libext2fs calls when it needs a block itself; it marks the block as used. */
static errcode_t allocate_block(ext2_filsys fs, blk64_t goal, blk64_t *block)
{
    blk64_t one = 1;

    (void)goal;
    return reserve(fs->priv_data, &one, block);
}

void vl_begin_blocks(struct vl_writer *writer)
{
    writer->room.block = find_roomy_place(writer->fs);
    writer->room.blocks = 0;
    writer->fs->priv_data = writer;
    ext2fs_set_alloc_block_callback(writer->fs, allocate_block, NULL);
}

/* ---- runs ---- */

static uint64_t first_block(const struct vl_segment *segment)
{
    return segment->offset / VL_BLOCK_SIZE;
}

static uint64_t end_block(const struct vl_segment *segment)
{
    return (segment->offset + segment->length + VL_BLOCK_SIZE - 1) / VL_BLOCK_SIZE;
}

static uint64_t count_blocks(const struct vl_segment *segments, size_t count)
{
    uint64_t blocks = 0, end = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t first = first_block(&segments[i]);

        if (!segments[i].length)
            continue;
        /* It may begin in the block in which the one before ends. */
        blocks += end_block(&segments[i]) - (first < end ? end : first);
        end = end_block(&segments[i]);
    }
    return blocks;
}

static errcode_t append_run(struct runs *runs, uint64_t logical, uint64_t physical,
                            uint64_t length)
{
    errcode_t failure = vl_make_room(&runs->all, &runs->room, runs->count + 1, sizeof(struct run));

    if (!failure)
        runs->all[runs->count++] = (struct run){logical, physical, (uint32_t)length};
    return failure;
}

/* A piece of the disk, from which the runs are cut. */
struct piece {
    uint64_t missing;           /* blocks that are still to be taken */
    blk64_t start;
    blk64_t length;
};

static errcode_t take_piece(struct vl_writer *writer, struct piece *piece)
{
    errcode_t failure;

    piece->length = piece->missing < EXT_INIT_MAX_LEN ? piece->missing : EXT_INIT_MAX_LEN;
    failure = reserve(writer, &piece->length, &piece->start);
    if (failure)
        return failure;
    ext2fs_block_alloc_stats_range(writer->fs, piece->start, (blk_t)piece->length, 1);
    piece->missing -= piece->length;
    return 0;
}

static errcode_t take_stretch(struct vl_writer *writer, struct piece *piece, uint64_t logical,
                              uint64_t end)
{
    errcode_t failure = 0;

    while (logical < end && !failure) {
        uint64_t length;

        if (!piece->length)
            failure = take_piece(writer, piece);
        if (failure)
            break;
        length = end - logical < piece->length ? end - logical : piece->length;
        failure = append_run(&writer->runs, logical, piece->start, length);
        logical += length;
        piece->start += length;
        piece->length -= length;
    }
    return failure;
}

errcode_t vl_take_runs(struct vl_writer *writer, const struct vl_segment *segments, size_t count)
{
    struct piece piece = {.missing = count_blocks(segments, count)};
    uint64_t first = 0, end = 0;
    errcode_t failure = 0;

    writer->runs.count = 0;
    if (piece.missing > ext2fs_free_blocks_count(writer->fs->super))
        return EXT2_ET_BLOCK_ALLOC_FAIL;
    for (size_t i = 0; i < count && !failure; i++) {
        if (!segments[i].length)
            continue;
        if (first < end && first_block(&segments[i]) <= end) {
            end = end_block(&segments[i]);
            continue;
        }
        failure = take_stretch(writer, &piece, first, end);
        first = first_block(&segments[i]);
        end = end_block(&segments[i]);
    }
    return failure ? failure : take_stretch(writer, &piece, first, end);
}

/* ---- extents, which are little-endian on every host ---- */

void vl_set_empty_tree(union inode *inode)
{
    struct ext3_extent_header *tree = (void *)inode->fields.i_block;

    memset(inode->fields.i_block, 0, sizeof(inode->fields.i_block));
    tree->eh_magic = ext2fs_cpu_to_le16(EXT3_EXT_MAGIC);
    tree->eh_max = ext2fs_cpu_to_le16(EXTENTS_IN_INODE);
}

static void set_extents(union inode *inode, const struct run *runs, size_t count)
{
    struct ext3_extent_header *tree = (void *)inode->fields.i_block;
    struct ext3_extent *extents = (void *)(tree + 1);

    tree->eh_entries = ext2fs_cpu_to_le16((uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        extents[i].ee_block = ext2fs_cpu_to_le32((uint32_t)runs[i].logical);
        extents[i].ee_len = ext2fs_cpu_to_le16((uint16_t)runs[i].length);
        extents[i].ee_start = ext2fs_cpu_to_le32((uint32_t)runs[i].physical);
        extents[i].ee_start_hi = ext2fs_cpu_to_le16((uint16_t)(runs[i].physical >> 32));
    }
}

/* Builds an extent tree of any depth; its blocks are counted in the inode. */
static errcode_t insert_extents(ext2_filsys fs, ext2_ino_t number, union inode *inode,
                                const struct runs *runs)
{
    ext2_extent_handle_t handle;
    errcode_t failure = ext2fs_extent_open2(fs, number, &inode->small, &handle);

    if (failure)
        return failure;
    for (size_t i = 0; i < runs->count && !failure; i++) {
        struct ext2fs_extent extent = {
            .e_lblk = runs->all[i].logical,
            .e_pblk = runs->all[i].physical,
            .e_len = runs->all[i].length,
        };
        failure = ext2fs_extent_insert(handle, EXT2_EXTENT_INSERT_AFTER, &extent);
        if (!failure)
            failure = ext2fs_extent_fix_parents(handle);
    }
    ext2fs_extent_free(handle);
    return failure;
}

errcode_t vl_set_runs(struct vl_writer *writer, ext2_ino_t number, union inode *inode)
{
    const struct runs *runs = &writer->runs;
    uint64_t blocks = 0;

    for (size_t i = 0; i < runs->count; i++)
        blocks += runs->all[i].length;
    vl_set_sectors(inode, blocks * SECTORS_PER_BLOCK + vl_attribute_sectors(inode));
    if (runs->count > EXTENTS_IN_INODE)
        return insert_extents(writer->fs, number, inode, runs);
    set_extents(inode, runs->all, runs->count);
    return 0;
}

errcode_t vl_give_blocks(struct vl_writer *writer, union inode *inode, uint64_t size)
{
    struct run run = {.physical = writer->room.block};
    blk64_t start, blocks = (size + VL_BLOCK_SIZE - 1) / VL_BLOCK_SIZE;
    errcode_t failure;

    if (!blocks)
        return 0;
    if (blocks > writer->room.blocks || blocks > EXT_INIT_MAX_LEN)
        return EXT2_ET_BLOCK_ALLOC_FAIL;
    failure = reserve(writer, &blocks, &start);
    if (failure)
        return failure;
    ext2fs_block_alloc_stats_range(writer->fs, start, (blk_t)blocks, 1);
    run.length = (uint32_t)blocks;
    set_extents(inode, &run, 1);
    vl_set_sectors(inode, blocks * SECTORS_PER_BLOCK + vl_attribute_sectors(inode));
    return 0;
}

errcode_t vl_find_block(ext2_filsys fs, ext2_ino_t number, union inode *inode, blk64_t logical,
                        blk64_t *place)
{
    int flags = 0;
    errcode_t failure = ext2fs_bmap2(fs, number, &inode->small, NULL, 0, logical, &flags, place);

    if (!failure && flags & BMAP_RET_UNINIT)
        *place = 0;
    return failure;
}

errcode_t vl_free_blocks(ext2_filsys fs, ext2_ino_t number, union inode *inode)
{
    /* Otherwise i_block holds a symlink's target, or the number of a device. */
    if (!ext2fs_inode_has_valid_blocks2(fs, &inode->small))
        return 0;
    return ext2fs_punch(fs, number, &inode->small, NULL, 0, UINT64_MAX);
}
