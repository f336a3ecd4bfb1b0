/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An io_manager for libext2fs whose device is an NBD export.
 *
 * Two kinds of bytes pass here. Metadata (what libext2fs reads and writes) stays in a write-back
 * cache of 4 KiB pages until it is flushed, sorted and merged: an inode table block is written
 * once, not once an inode. File data goes around the cache in runs, several of them in flight.
 * Wherever the two could meet (a block that was data becomes metadata or the other way round), the
 * run lands before the page is read, and the page is dropped before the run is written.
 *
 * A failed write is remembered and reported by the next call, and again by every flush: nothing
 * that failed can be taken for written.
 */
#define _FILE_OFFSET_BITS 64
#include "nbd_io.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libnbd.h>

#define PAGE_SIZE 4096u
#define READ_AHEAD_PAGES 16u /* one qcow2 cluster of 64 KiB: qemu reads no less */
#define READ_AHEAD (READ_AHEAD_PAGES * PAGE_SIZE)
#define RUN_SIZE (512u * 1024u) /* clusters; a run ends at a multiple of it */
#define RUN_COUNT 8u
#define DEFAULT_CACHE_PAGES 8192u /* 32 MiB */

struct page {
    uint64_t number;
    bool present;
    bool dirty;
    unsigned char *bytes;
};

struct run {
    unsigned char *bytes;
    uint64_t offset;
    size_t length;
    bool in_flight;
};

struct device {
    struct nbd_handle *nbd;
    uint64_t size;
    errcode_t failure;

    struct page *pages; /* open addressing, a power of two of slots */
    size_t slots;
    size_t count;
    size_t limit;

    unsigned char *written; /* a bit for each READ_AHEAD; NULL where nothing is known */

    struct run runs[RUN_COUNT];
    struct run *open_run; /* the one that is being filled */
};

/* ---- errors ---- */

static errcode_t nbd_failure(void)
{
    int number = nbd_get_errno();
    return number ? number : EIO;
}

static errcode_t remember(struct device *device, errcode_t failure)
{
    if (!device->failure)
        device->failure = failure;
    return failure;
}

/* ---- runs: bytes on their way to the server ---- */

struct landing {
    struct device *device;
    struct run *run;
};

static int run_landed(void *data, int *error)
{
    struct landing *landing = data;

    landing->run->in_flight = false;
    if (*error)
        remember(landing->device, *error);
    return 1; /* retire the command */
}

static errcode_t wait_for_server(struct device *device)
{
    if (nbd_poll(device->nbd, -1) == -1)
        return remember(device, nbd_failure());
    return 0;
}

static bool overlaps(const struct run *run, uint64_t offset, size_t length)
{
    return run->offset < offset + length && offset < run->offset + run->length;
}

/* Waits for the runs in flight that have a byte in common with the given ones. */
static errcode_t land_overlapping(struct device *device, uint64_t offset, size_t length)
{
    for (unsigned i = 0; i < RUN_COUNT; i++) {
        struct run *run = &device->runs[i];
        while (run->in_flight && overlaps(run, offset, length))
            if (wait_for_server(device))
                return device->failure;
    }
    return device->failure;
}

/* Of a device that began as zeroes, what was never written need not be read. */
static void mark_written(struct device *device, uint64_t offset, size_t length)
{
    if (!device->written)
        return;
    for (uint64_t unit = offset / READ_AHEAD; unit * READ_AHEAD < offset + length; unit++)
        device->written[unit / 8] |= (unsigned char)(1u << unit % 8);
}

static bool still_zeroes(struct device *device, uint64_t offset)
{
    uint64_t unit = offset / READ_AHEAD;

    return device->written && !(device->written[unit / 8] & 1u << unit % 8);
}

/* The server may reorder what is in flight at the same time, so two runs never overlap there. */
static errcode_t submit(struct device *device, struct run *run)
{
    struct landing *landing;
    int64_t cookie;

    if (land_overlapping(device, run->offset, run->length))
        return device->failure;
    landing = malloc(sizeof(*landing));
    if (!landing)
        return remember(device, ENOMEM);
    landing->device = device;
    landing->run = run;
    mark_written(device, run->offset, run->length);
    run->in_flight = true;
    cookie = nbd_aio_pwrite(device->nbd, run->bytes, run->length, run->offset,
                            (nbd_completion_callback){
                                .callback = run_landed, .user_data = landing, .free = free},
                            0);
    if (cookie == -1) {
        run->in_flight = false;
        return remember(device, nbd_failure());
    }
    return device->failure;
}

static errcode_t submit_open_run(struct device *device)
{
    struct run *run = device->open_run;

    device->open_run = NULL;
    return run ? submit(device, run) : device->failure;
}

static errcode_t land_all(struct device *device)
{
    submit_open_run(device);
    for (unsigned i = 0; i < RUN_COUNT; i++)
        while (device->runs[i].in_flight)
            if (wait_for_server(device))
                return device->failure;
    return device->failure;
}

static struct run *idle_run(struct device *device)
{
    for (;;) {
        for (unsigned i = 0; i < RUN_COUNT; i++) {
            struct run *run = &device->runs[i];
            if (run->in_flight || run == device->open_run)
                continue;
            if (!run->bytes && !(run->bytes = malloc(RUN_SIZE))) {
                remember(device, ENOMEM);
                return NULL;
            }
            return run;
        }
        if (wait_for_server(device))
            return NULL;
    }
}

/* Appends to the open run where the bytes follow it, and opens the next one where they do not.
 * A run ends where a cluster does, or qemu would fill the rest of that before the next one comes. */
static errcode_t append(struct device *device, uint64_t offset, const unsigned char *data,
                        size_t length)
{
    while (length) {
        struct run *run = device->open_run;
        size_t part;

        if (run && run->offset + run->length != offset) {
            errcode_t failure = submit_open_run(device);
            if (failure)
                return failure;
            run = NULL;
        }
        if (!run) {
            run = idle_run(device);
            if (!run)
                return device->failure;
            run->offset = offset;
            run->length = 0;
            device->open_run = run;
        }
        part = RUN_SIZE - offset % RUN_SIZE;
        if (part > length)
            part = length;
        if (data) {
            memcpy(run->bytes + run->length, data, part);
            data += part;
        } else {
            memset(run->bytes + run->length, 0, part);
        }
        run->length += part;
        offset += part;
        length -= part;
        if (offset % RUN_SIZE == 0 && submit_open_run(device))
            return device->failure;
    }
    return 0;
}

/* ---- the cache of metadata pages ---- */

static struct page *slot_of(struct device *device, uint64_t number)
{
    size_t slot = (size_t)(number * UINT64_C(0x9E3779B97F4A7C15) >> 20) & (device->slots - 1);

    while (device->pages[slot].present && device->pages[slot].number != number)
        slot = (slot + 1) & (device->slots - 1);
    return &device->pages[slot];
}

static struct page *cached(struct device *device, uint64_t number)
{
    struct page *page = slot_of(device, number);
    return page->present && page->bytes ? page : NULL;
}

/* A forgotten page keeps its slot, without bytes, so that the ones after it are still found. */
static void forget_page(struct device *device, uint64_t number)
{
    struct page *page = slot_of(device, number);

    if (page->present) {
        free(page->bytes);
        page->bytes = NULL;
        page->dirty = false;
    }
}

static struct page *enter(struct device *device, uint64_t number)
{
    struct page *page = slot_of(device, number);

    if (!page->bytes) {
        page->bytes = malloc(PAGE_SIZE);
        if (!page->bytes) {
            remember(device, ENOMEM);
            return NULL;
        }
        if (!page->present)
            device->count++;
        page->present = true;
        page->number = number;
        page->dirty = false;
    }
    return page;
}

static int by_number(const void *left, const void *right)
{
    const struct page *const *a = left, *const *b = right;

    return (*a)->number < (*b)->number ? -1 : (*a)->number > (*b)->number;
}

static errcode_t write_back(struct device *device)
{
    struct page **dirty;
    size_t count = 0;
    errcode_t failure = land_all(device);

    if (failure)
        return failure;
    dirty = malloc((device->count + 1) * sizeof(*dirty));
    if (!dirty)
        return remember(device, ENOMEM);
    for (size_t slot = 0; slot < device->slots; slot++)
        if (device->pages[slot].present && device->pages[slot].dirty)
            dirty[count++] = &device->pages[slot];
    qsort(dirty, count, sizeof(*dirty), by_number);
    for (size_t i = 0; i < count && !failure; i++) {
        failure = append(device, dirty[i]->number * PAGE_SIZE, dirty[i]->bytes, PAGE_SIZE);
        dirty[i]->dirty = false;
    }
    free(dirty);
    return failure ? failure : land_all(device);
}

static void empty_cache(struct device *device)
{
    for (size_t slot = 0; slot < device->slots; slot++)
        free(device->pages[slot].bytes);
    memset(device->pages, 0, device->slots * sizeof(*device->pages));
    device->count = 0;
}

/* Called where no caller holds a page. */
static errcode_t make_room(struct device *device, size_t pages)
{
    if (device->count + pages > device->limit) {
        errcode_t failure = write_back(device);
        if (failure)
            return failure;
        empty_cache(device);
    }
    return 0;
}

static errcode_t read_from_server(struct device *device, uint64_t offset, size_t length,
                                  unsigned char *bytes)
{
    struct run *run = device->open_run;

    if (run && overlaps(run, offset, length))
        submit_open_run(device);
    if (land_overlapping(device, offset, length))
        return device->failure;
    if (still_zeroes(device, offset)) {
        memset(bytes, 0, length);
        return 0;
    }
    return nbd_pread(device->nbd, bytes, length, offset, 0) == -1 ? nbd_failure() : 0;
}

static errcode_t read_pages(struct device *device, uint64_t number)
{
    unsigned char bytes[READ_AHEAD];
    uint64_t first = number - number % READ_AHEAD_PAGES;
    uint64_t offset = first * PAGE_SIZE;
    size_t length = sizeof(bytes);
    errcode_t failure;

    if (offset >= device->size)
        return EXT2_ET_SHORT_READ;
    if (length > device->size - offset)
        length = device->size - offset;
    failure = make_room(device, READ_AHEAD_PAGES);
    if (!failure)
        failure = read_from_server(device, offset, length, bytes);
    if (failure)
        return failure;
    for (size_t i = 0; i * PAGE_SIZE < length; i++) {
        struct page *page;
        if (cached(device, first + i))
            continue; /* what we hold is newer */
        page = enter(device, first + i);
        if (!page)
            return device->failure;
        memcpy(page->bytes, bytes + i * PAGE_SIZE, PAGE_SIZE);
    }
    return 0;
}

static errcode_t read_bytes(struct device *device, uint64_t offset, size_t length,
                            unsigned char *data)
{
    while (length) {
        uint64_t number = offset / PAGE_SIZE;
        size_t within = offset % PAGE_SIZE;
        size_t part = PAGE_SIZE - within < length ? PAGE_SIZE - within : length;
        struct page *page = cached(device, number);

        if (!page) {
            errcode_t failure = read_pages(device, number);
            if (failure)
                return failure;
            page = cached(device, number);
            if (!page)
                return EXT2_ET_SHORT_READ;
        }
        memcpy(data, page->bytes + within, part);
        data += part;
        offset += part;
        length -= part;
    }
    return 0;
}

static errcode_t write_bytes(struct device *device, uint64_t offset, size_t length,
                             const unsigned char *data)
{
    if (offset > device->size || length > device->size - offset)
        return EXT2_ET_SHORT_WRITE;
    while (length) {
        uint64_t number = offset / PAGE_SIZE;
        size_t within = offset % PAGE_SIZE;
        size_t part = PAGE_SIZE - within < length ? PAGE_SIZE - within : length;
        struct page *page = cached(device, number);
        bool known = page || part < PAGE_SIZE; /* what the page holds, once it is there */

        if (!page) {
            errcode_t failure = known ? read_pages(device, number) : make_room(device, 1);
            if (failure)
                return failure;
            page = enter(device, number);
            if (!page)
                return device->failure;
        }
        /* libext2fs writes back a good deal that it has not changed: all bitmaps, for one. */
        if (page->dirty || !known || memcmp(page->bytes + within, data, part)) {
            memcpy(page->bytes + within, data, part);
            page->dirty = true;
        }
        data += part;
        offset += part;
        length -= part;
    }
    return 0;
}

/* ---- the io_manager ---- */

static struct device *device_of(io_channel channel)
{
    return channel->private_data;
}

static void free_device(struct device *device)
{
    if (device->nbd)
        nbd_close(device->nbd);
    if (device->pages)
        empty_cache(device);
    free(device->pages);
    free(device->written);
    for (unsigned i = 0; i < RUN_COUNT; i++)
        free(device->runs[i].bytes);
    free(device);
}

static errcode_t set_cache_limit(struct device *device, size_t pages)
{
    size_t slots = 1024;

    while (slots < pages * 2)
        slots *= 2;
    device->pages = calloc(slots, sizeof(*device->pages));
    if (!device->pages)
        return ENOMEM;
    device->slots = slots;
    device->limit = pages;
    return 0;
}

/* Takes the descriptor over. */
static errcode_t connect_device(struct device *device, int descriptor)
{
    int64_t size;

    device->nbd = nbd_create();
    if (!device->nbd || nbd_connect_socket(device->nbd, descriptor) == -1)
        return nbd_failure();
    size = nbd_get_size(device->nbd);
    if (size < 0)
        return nbd_failure();
    device->size = (uint64_t)size;
    return 0;
}

static errcode_t disconnect_device(struct device *device)
{
    errcode_t failure = device->failure;

    if (device->nbd) {
        if (!failure)
            land_all(device);
        if (!device->failure)
            nbd_shutdown(device->nbd, 0);
        nbd_close(device->nbd);
        device->nbd = NULL;
    }
    return failure;
}

static errcode_t open_device(const char *name, struct device **result)
{
    struct device *device = calloc(1, sizeof(*device));
    errcode_t failure;

    if (!device)
        return ENOMEM;
    failure = set_cache_limit(device, DEFAULT_CACHE_PAGES);
    if (!failure)
        failure = connect_device(device, atoi(name));
    if (failure)
        free_device(device);
    else
        *result = device;
    return failure;
}

static errcode_t vl_open(const char *name, int flags, io_channel *result)
{
    struct device *device;
    io_channel channel;
    errcode_t failure = open_device(name, &device);

    (void)flags;
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
    errcode_t failure = write_back(device);

    if (failure)
        return failure;
    if (nbd_flush(device->nbd, 0) == -1)
        return remember(device, nbd_failure());
    return 0;
}

/* Ends the connection without writing anything: who wants the bytes written has flushed. */
static errcode_t vl_close(io_channel channel)
{
    struct device *device = device_of(channel);
    errcode_t failure;

    if (--channel->refcount > 0)
        return 0;
    failure = disconnect_device(device);
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
    return read_bytes(device_of(channel), block * (uint64_t)channel->block_size,
                      length_of(channel, count), data);
}

static errcode_t vl_write_blk64(io_channel channel, unsigned long long block, int count,
                                const void *data)
{
    return write_bytes(device_of(channel), block * (uint64_t)channel->block_size,
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
    return write_bytes(device_of(channel), offset, (size_t)count, data);
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

/* ---- what the layer code calls itself ---- */

errcode_t vl_nbd_assume_zeroes(io_channel channel)
{
    struct device *device = device_of(channel);

    device->written = calloc(device->size / READ_AHEAD / 8 + 1, 1);
    return device->written ? 0 : ENOMEM;
}

errcode_t vl_nbd_leave(io_channel channel)
{
    return disconnect_device(device_of(channel));
}

errcode_t vl_nbd_go_on(io_channel channel, int descriptor)
{
    struct device *device = device_of(channel);
    uint64_t size = device->size;
    errcode_t failure = connect_device(device, descriptor);

    if (!failure && device->size != size)
        failure = EINVAL;
    return failure ? remember(device, failure) : 0;
}

errcode_t vl_nbd_write_data(io_channel channel, uint64_t offset, const void *data, size_t length)
{
    struct device *device = device_of(channel);

    if (offset > device->size || length > device->size - offset)
        return EXT2_ET_SHORT_WRITE;
    vl_nbd_forget(channel, offset, length);
    return append(device, offset, data, length);
}

errcode_t vl_nbd_write_zeroes(io_channel channel, uint64_t offset, size_t length)
{
    return vl_nbd_write_data(channel, offset, NULL, length);
}

void vl_nbd_forget(io_channel channel, uint64_t offset, uint64_t length)
{
    struct device *device = device_of(channel);
    uint64_t end = (offset + length + PAGE_SIZE - 1) / PAGE_SIZE;

    for (uint64_t number = offset / PAGE_SIZE; number < end; number++)
        forget_page(device, number);
}
