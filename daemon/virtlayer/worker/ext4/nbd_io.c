/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An io_manager for libext2fs whose device is an NBD export.
 *
 * There are two kinds of data. Metadata (what libext2fs reads and writes) stays in a write-back
 * cache of 4 KiB pages until it is flushed, sorted and merged: an inode table block is written
 * once, not once an inode. File data goes around the cache in runs, several of them in flight.
 * Wherever the two could meet (a block that was data becomes metadata or the other way round), the
 * run is written before the page is read, and the page is dropped before the run is written.  A
 * failed write is remembered and reported by the next call, and again by every flush: a failed
 * write is never reported as written.
 */
#define _FILE_OFFSET_BITS 64
#include "nbd_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nbd_device.h"

static struct device *device_of(io_channel channel)
{
    return channel->private_data;
}

static void free_device(struct device *device)
{
    if (device->nbd)
        nbd_close(device->nbd);
    vl_pages_end(device);
    free(device->written);
    free(device->arriving);
    for (unsigned i = 0; i < RUN_COUNT; i++)
        free(device->runs[i].bytes);
    free(device);
}

/* Takes the descriptor over, also on failure. */
static errcode_t open_device(int descriptor, int deadline, struct device **result)
{
    struct device *device = calloc(1, sizeof(*device));
    errcode_t failure = device ? vl_pages_begin(device) : ENOMEM;

    if (!failure) {
        device->deadline = deadline;
        device->arriving = malloc(READ_AHEAD);
        failure = device->arriving ? 0 : ENOMEM;
    }
    if (failure)
        close(descriptor);
    else
        failure = vl_connect(device, descriptor);
    if (!failure)
        *result = device;
    else if (device)
        free_device(device);
    return failure;
}

static errcode_t vl_open(const char *name, int flags, io_channel *result)
{
    struct device *device;
    io_channel channel;
    int descriptor, deadline;
    errcode_t failure;

    (void)flags;
    if (sscanf(name, VL_NBD_NAME, &descriptor, &deadline) != 2)
        return EXT2_ET_BAD_DEVICE_NAME;
    /* libext2fs may fail before it opens a device. So the caller keeps its descriptor. */
    descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    if (descriptor < 0)
        return errno;
    failure = open_device(descriptor, deadline, &device);
    if (failure)
        return failure;
    channel = calloc(1, sizeof(*channel));
    if (channel)
        channel->name = strdup(name);
    if (!channel || !channel->name) {
        free(channel);
        free_device(device);
        return ENOMEM;
    }
    channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
    channel->manager = vl_nbd_manager;
    channel->block_size = 1024; /* until libext2fs has read the superblock */
    channel->refcount = 1;
    channel->private_data = device;
    *result = channel;
    return 0;
}

static errcode_t vl_flush(io_channel channel)
{
    struct device *device = device_of(channel);
    errcode_t failure = vl_pages_write_back(device);

    return failure ? failure : vl_server_flush(device);
}

/* Ends the connection without writing anything: a caller flushes before that. */
static errcode_t vl_close(io_channel channel)
{
    struct device *device = device_of(channel);
    errcode_t failure;

    if (--channel->refcount > 0)
        return 0;
    failure = vl_disconnect(device);
    free_device(device);
    free(channel->name);
    free(channel);
    return failure;
}

static errcode_t vl_set_blksize(io_channel channel, int block_size)
{
    channel->block_size = block_size;
    return 0;
}

/* A negative count is a number of bytes (ext2_io.h). */
static size_t length_of(io_channel channel, int count)
{
    return count < 0 ? (size_t)-(int64_t)count : (size_t)count * (size_t)channel->block_size;
}

static errcode_t vl_read_blk64(io_channel channel, unsigned long long block, int count, void *data)
{
    return vl_pages_read(device_of(channel), block * (uint64_t)channel->block_size,
                      length_of(channel, count), data);
}

static errcode_t vl_write_blk64(io_channel channel, unsigned long long block, int count,
                                const void *data)
{
    return vl_pages_write(device_of(channel), block * (uint64_t)channel->block_size,
                       length_of(channel, count), data);
}

static errcode_t vl_read_blk(io_channel channel, unsigned long block, int count, void *data)
{
    return vl_read_blk64(channel, block, count, data);
}

static errcode_t vl_write_blk(io_channel channel, unsigned long block, int count, const void *data)
{
    return vl_write_blk64(channel, block, count, data);
}

static errcode_t vl_write_byte(io_channel channel, unsigned long offset, int count,
                               const void *data)
{
    return vl_pages_write(device_of(channel), offset, (size_t)count, data);
}

static struct struct_io_manager manager = {
    .magic = EXT2_ET_MAGIC_IO_MANAGER,
    .name = "virtlayer NBD",
    .open = vl_open,
    .close = vl_close,
    .set_blksize = vl_set_blksize,
    .read_blk = vl_read_blk,
    .write_blk = vl_write_blk,
    .flush = vl_flush,
    .write_byte = vl_write_byte,
    .read_blk64 = vl_read_blk64,
    .write_blk64 = vl_write_blk64,
};

io_manager vl_nbd_manager = &manager;

/* ---- functions that the layer code calls itself ---- */

uint64_t vl_nbd_size(io_channel channel)
{
    return device_of(channel)->size;
}

errcode_t vl_nbd_assume_zeroes(io_channel channel)
{
    struct device *device = device_of(channel);

    free(device->written);
    device->written = calloc(device->size / READ_AHEAD / 8 + 1, 1);
    return device->written ? 0 : ENOMEM;
}

errcode_t vl_nbd_leave(io_channel channel)
{
    return vl_disconnect(device_of(channel));
}

errcode_t vl_nbd_go_on(io_channel channel, int descriptor)
{
    struct device *device = device_of(channel);
    uint64_t size = device->size;
    errcode_t failure;

    if (device->nbd) {
        close(descriptor);
        return EISCONN;
    }
    failure = vl_connect(device, descriptor);
    if (!failure && device->size != size)
        failure = EINVAL;
    return failure ? vl_device_failed(device, failure) : 0;
}

errcode_t vl_nbd_read_ahead(io_channel channel, blk64_t *blocks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        blocks[i] = blocks[i] * (blk64_t)channel->block_size / PAGE_SIZE;
    return vl_pages_read_ahead(device_of(channel), blocks, count);
}

errcode_t vl_nbd_write_data(io_channel channel, uint64_t offset, const void *data, size_t length)
{
    struct device *device = device_of(channel);

    if (offset > device->size || length > device->size - offset)
        return EXT2_ET_SHORT_WRITE;
    vl_pages_forget(device, offset, length);
    return vl_runs_append(device, offset, data, length);
}

errcode_t vl_nbd_write_zeroes(io_channel channel, uint64_t offset, size_t length)
{
    return vl_nbd_write_data(channel, offset, NULL, length);
}
