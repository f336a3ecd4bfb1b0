/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The names of a directory, read from its blocks (ext4(5), "Directory Entries"). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "directory_writing.h"

#define HEADER EXT2_DIR_ENTRY_HEADER_LEN

/* Room for what fills a block, which is as much as most directories have. */
static errcode_t begin_listing(struct vl_listing *listing, size_t block_size)
{
    errcode_t failure = vl_make_room(&listing->names, &listing->names_room, block_size, 1);

    if (!failure)
        failure = vl_make_room(&listing->values, &listing->values_room, block_size / DOT_LENGTH,
                       sizeof(*listing->values));
    return failure;
}

static errcode_t list_name(struct vl_listing *listing, const char *name, size_t length,
                           uint64_t value)
{
    errcode_t failure;

    if (memchr(name, '/', length))
        return EXT2_ET_DIR_CORRUPTED;
    failure = vl_make_room(&listing->names, &listing->names_room, listing->length + length + 1, 1);
    if (!failure)
        failure = vl_make_room(&listing->values, &listing->values_room, listing->count + 1,
                       sizeof(*listing->values));
    if (failure)
        return failure;
    memcpy(listing->names + listing->length, name, length);
    listing->length += length;
    listing->names[listing->length++] = '/';
    listing->values[listing->count++] = value;
    return 0;
}

/* The blocks of an index look like blocks without names. Whatever else a block holds, nothing
 * beyond it is looked at: a damaged one has names that end with it, or fewer of them. */
long vl_list_block(struct vl_listing *listing, const char *block, size_t size)
{
    struct ext2_dir_entry entry;
    errcode_t failure = 0;

    for (size_t offset = 0; offset + HEADER <= size && !failure; offset += entry.rec_len) {
        const char *name = block + offset + HEADER;
        size_t length, rest = size - offset - HEADER;

        /* Copied, for it may lie anywhere. */
        memcpy(&entry, block + offset, HEADER);
        length = (size_t)ext2fs_dirent_name_len(&entry);
        if (length > rest)
            length = rest;
        if (entry.inode && length == 2 && !memcmp(name, "..", 2))
            listing->parent = entry.inode;
        else if (entry.inode && !(length == 1 && *name == '.'))
            failure = list_name(listing, name, length,
                                (uint64_t)entry.inode << 3 | (uint64_t)ext2fs_dirent_file_type(&entry));
        if (entry.rec_len < HEADER)
            break;
    }
    return failure;
}

static errcode_t list_blocks(ext2_filsys fs, ext2_ino_t number, struct vl_listing *listing,
                             char *block)
{
    union inode inode;
    blk64_t place, blocks;
    errcode_t failure = begin_listing(listing, fs->blocksize);

    if (!failure)
        failure = vl_read_inode(fs, number, &inode);
    if (!failure && !LINUX_S_ISDIR(inode.fields.i_mode))
        failure = VL_CODE_KIND;
    if (failure)
        return failure;
    blocks = EXT2_I_SIZE(&inode.fields) / fs->blocksize;
    for (blk64_t logical = 0; logical < blocks && !failure; logical++) {
        failure = vl_find_directory_block(fs, number, &inode, logical, &place);
        if (!failure)
            failure = ext2fs_read_dir_block4(fs, place, block, 0, number);
        if (!failure)
            failure = vl_list_block(listing, block, fs->blocksize);
    }
    return failure;
}

long vl_read_directory(struct vl_writer *writer, uint32_t number, struct vl_listing *listing)
{
    char *block = malloc(VL_BLOCK_SIZE);
    errcode_t failure = ENOMEM;

    memset(listing, 0, sizeof(*listing));
    if (block)
        failure = list_blocks(writer->fs, number, listing, block);
    free(block);
    if (failure)
        vl_forget_listing(listing);
    return failure;
}

void vl_forget_listing(struct vl_listing *listing)
{
    free(listing->names);
    free(listing->values);
    memset(listing, 0, sizeof(*listing));
}
