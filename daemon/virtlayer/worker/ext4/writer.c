/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening, finishing and closing a file system behind an NBD connection. */
#include "writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "nbd_io.h"
#include "state.h"

#define NAME_SIZE 32 /* of two numbers */

errcode_t vl_make_room(void *array, size_t *room, size_t needed, size_t size)
{
    void **place = array;
    size_t wanted = needed > 2 * *room ? needed : 2 * *room;
    void *grown;

    if (needed <= *room)
        return 0;
    grown = reallocarray(*place, wanted, size);
    if (!grown)
        return ENOMEM;
    *place = grown;
    *room = wanted;
    return 0;
}

/* A new writer, whose state depends on the file system only. */
static void begin(struct vl_writer *writer)
{
    vl_begin_blocks(writer);
    writer->room.inode = FIRST_INODE - 1;
    writer->runs.count = 0;
    writer->pouring.count = 0;
    writer->pouring.segment = 0;
}

/* Takes the file system over, also on failure. */
static errcode_t begin_writer(ext2_filsys fs, struct vl_writer **result)
{
    struct vl_writer *writer = calloc(1, sizeof(*writer));

    if (!writer) {
        ext2fs_free(fs);
        return ENOMEM;
    }
    writer->fs = fs;
    fs->now = FIXED_TIME;
    /* The kernel does not keep the backups of the superblock up to date either. */
    fs->flags |= EXT2_FLAG_MASTER_SB_ONLY;
    begin(writer);
    *result = writer;
    return 0;
}

static errcode_t set_root(struct vl_writer *writer)
{
    struct vl_node root = {.number = VL_ROOT, .kind = VL_DIRECTORY, .mode = 0755};

    return vl_set_metadata(writer, &root, NULL, 0);
}

long vl_format(int descriptor, int deadline, uint64_t size, const unsigned char *identity,
               struct vl_writer **writer)
{
    char name[NAME_SIZE];
    ext2_filsys fs;
    errcode_t failure;

    snprintf(name, sizeof(name), VL_NBD_NAME, descriptor, deadline);
    failure = vl_make_filesystem(name, size, identity, &fs);
    close(descriptor);
    if (!failure)
        failure = begin_writer(fs, writer);
    if (failure)
        return failure;
    failure = set_root(*writer);
    if (failure)
        vl_close(*writer);
    return failure;
}

static errcode_t open_filesystem(const char *name, ext2_filsys *fs)
{
    errcode_t failure = ext2fs_open(name, EXT2_FLAG_RW | EXT2_FLAG_64BITS | EXT2_FLAG_EXCLUSIVE, 0,
                                    0, vl_nbd_manager, fs);

    if (failure)
        return failure;
    failure = vl_check_geometry(*fs, vl_nbd_size((*fs)->io));
    if (!failure)
        failure = vl_read_bitmaps_ahead(*fs);
    if (!failure)
        failure = ext2fs_read_bitmaps(*fs);
    if (failure)
        ext2fs_free(*fs);
    return failure;
}

long vl_open(int descriptor, int deadline, struct vl_writer **writer)
{
    char name[NAME_SIZE];
    ext2_filsys fs;
    errcode_t failure;

    snprintf(name, sizeof(name), VL_NBD_NAME, descriptor, deadline);
    failure = open_filesystem(name, &fs);
    close(descriptor);
    return failure ? failure : begin_writer(fs, writer);
}

void vl_close(struct vl_writer *writer)
{
    if (writer->scan)
        ext2fs_close_inode_scan(writer->scan);
    ext2fs_free(writer->fs);
    free(writer->runs.all);
    free(writer->pouring.segments);
    free(writer);
}

long vl_flush(struct vl_writer *writer)
{
    /* All at once: an unfinished volume is not used, so the order of its writes does not matter. */
    errcode_t failure = ext2fs_flush2(writer->fs, EXT2_FLAG_FLUSH_NO_SYNC);

    return failure ? failure : io_channel_flush(writer->fs->io);
}

long vl_leave(struct vl_writer *writer)
{
    return vl_nbd_leave(writer->fs->io);
}

long vl_go_on(struct vl_writer *writer, int descriptor)
{
    errcode_t failure = vl_nbd_go_on(writer->fs->io, descriptor);

    if (!failure)
        begin(writer);
    return failure;
}

void vl_measure(struct vl_writer *writer, struct vl_space *space)
{
    struct ext2_super_block *super = writer->fs->super;

    space->size = ext2fs_blocks_count(super) * VL_BLOCK_SIZE;
    space->free_bytes = ext2fs_free_blocks_count(super) * VL_BLOCK_SIZE;
    space->free_inodes = super->s_free_inodes_count;
}
