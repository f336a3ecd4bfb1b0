/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The blocks of a directory, and the entries in them (ext4(5), "Directory Entries"). */
#include "directory_writing.h"

#include <string.h>

#include "nbd_io.h"

struct name vl_next_name(const struct names *names, size_t *position)
{
    const char *start = names->bytes + *position;
    size_t rest = names->length - *position;
    const char *slash = memchr(start, '/', rest);
    size_t length = slash ? (size_t)(slash - start) : rest;

    *position += length + (slash != NULL);
    return (struct name){start, length};
}

unsigned vl_entry_length(size_t name_length)
{
    return (EXT2_DIR_ENTRY_HEADER_LEN + (unsigned)name_length + 3) & ~3u;
}

unsigned vl_room_of(ext2_filsys fs)
{
    return fs->blocksize - (unsigned)sizeof(struct ext2_dir_entry_tail);
}

errcode_t vl_find_directory_block(ext2_filsys fs, ext2_ino_t number, union inode *inode,
                                  blk64_t logical, blk64_t *place)
{
    errcode_t failure = vl_find_block(fs, number, inode, logical, place);

    return !failure && !*place ? EXT2_ET_DIR_CORRUPTED : failure;
}

void vl_begin_block(struct writing *writing)
{
    memset(writing->block, 0, writing->fs->blocksize);
    writing->used = 0;
    writing->last = NULL;
}

struct ext2_dir_entry *vl_add_entry(struct writing *writing, uint64_t value, const char *name,
                                 size_t length)
{
    struct ext2_dir_entry *entry = (void *)(writing->block + writing->used);

    entry->inode = (uint32_t)(value >> 3);
    entry->rec_len = (uint16_t)vl_entry_length(length);
    ext2fs_dirent_set_name_len(entry, (int)length);
    ext2fs_dirent_set_file_type(entry, (int)(value & 7));
    memcpy(entry->name, name, length);
    writing->used += entry->rec_len;
    writing->last = entry;
    return entry;
}

struct ext2_dir_entry *vl_add_directory(struct writing *writing, ext2_ino_t number, const char *name)
{
    return vl_add_entry(writing, (uint64_t)number << 3 | EXT2_FT_DIR, name, strlen(name));
}

/* What ext2fs_write_dir_block4 does, but around the cache: blocks that have just been given to a
 * directory follow one another, and their former content is not needed. */
static errcode_t write_fresh_block(struct writing *writing, blk64_t place)
{
    ext2_filsys fs = writing->fs;
    errcode_t failure = 0;

    if (ext2fs_cpu_to_le32(1) != 1)
        failure = ext2fs_dirent_swab_out(fs, writing->block, 0);
    if (!failure)
        failure = ext2fs_dir_block_csum_set(fs, writing->number, (void *)writing->block);
    if (!failure)
        failure = vl_nbd_write_data(fs->io, place * fs->blocksize, writing->block, fs->blocksize);
    return failure;
}

errcode_t vl_write_block(struct writing *writing, blk64_t logical)
{
    blk64_t place;
    errcode_t failure;

    if (writing->fresh)
        return write_fresh_block(writing, writing->fresh + logical);
    failure = vl_find_directory_block(writing->fs, writing->number, &writing->inode, logical, &place);
    if (failure)
        return failure;
    return ext2fs_write_dir_block4(writing->fs, place, writing->block, 0, writing->number);
}

errcode_t vl_end_block(struct writing *writing, blk64_t logical)
{
    unsigned room = vl_room_of(writing->fs);

    writing->last->rec_len += (uint16_t)(room - writing->used);
    ext2fs_initialize_dirent_tail(writing->fs, (void *)(writing->block + room));
    return vl_write_block(writing, logical);
}
