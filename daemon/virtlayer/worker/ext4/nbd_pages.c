/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The write-back cache of metadata pages, which are sent sorted and merged: an inode table block is
 * written once, not once an inode.
 */
#define _FILE_OFFSET_BITS 64
#include "nbd_device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CACHE_PAGES 8192u /* a power of two */
#define MEMORY (CACHE_PAGES * (size_t)PAGE_SIZE) /* 32 MiB */

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
    return page->known ? page : NULL;
}

/* A forgotten page keeps its slot, so that the ones after it are still found, and its memory. */
static void forget(struct device *device, uint64_t number)
{
    struct page *page = slot_of(device, number);

    page->known = false;
    page->dirty = false;
}

static struct page *enter(struct device *device, uint64_t number)
{
    struct page *page = slot_of(device, number);

    if (!page->present) {
        page->present = true;
        page->number = number;
        page->bytes = device->memory + device->count++ * PAGE_SIZE;
    }
    page->known = true;
    return page;
}

static int by_number(const void *left, const void *right)
{
    const struct page *const *a = left, *const *b = right;

    return (*a)->number < (*b)->number ? -1 : (*a)->number > (*b)->number;
}

static bool is_zero(const unsigned char *bytes)
{
    return !*bytes && !memcmp(bytes, bytes + 1, PAGE_SIZE - 1);
}

/* Of an overlay, a cluster of which a part is written is read below and written whole by qemu. Where
 * all of it is here, it is sent whole instead. Zeroes are left out, which need no room. */
static void complete_cluster(struct device *device, uint64_t first)
{
    struct page *pages[READ_AHEAD_PAGES];

    for (size_t i = 0; i < READ_AHEAD_PAGES; i++) {
        pages[i] = cached(device, first + i);
        if (!pages[i])
            return;
    }
    for (size_t i = 0; i < READ_AHEAD_PAGES; i++)
        if (!is_zero(pages[i]->bytes))
            pages[i]->dirty = true;
}

/* Sorted, so that those of a cluster follow one another. */
static size_t collect_dirty(struct device *device, struct page **dirty)
{
    size_t count = 0;

    for (size_t slot = 0; slot < device->slots; slot++)
        if (device->pages[slot].present && device->pages[slot].dirty)
            dirty[count++] = &device->pages[slot];
    qsort(dirty, count, sizeof(*dirty), by_number);
    return count;
}

static void complete_clusters(struct device *device, struct page **dirty, size_t count)
{
    uint64_t last = UINT64_MAX;

    for (size_t i = 0; i < count; i++) {
        uint64_t first = dirty[i]->number - dirty[i]->number % READ_AHEAD_PAGES;

        if (first != last)
            complete_cluster(device, first);
        last = first;
    }
}

errcode_t vl_pages_write_back(struct device *device)
{
    struct page **dirty;
    size_t count;
    errcode_t failure = vl_runs_land(device);

    if (failure)
        return failure;
    dirty = malloc((device->count + 1) * sizeof(*dirty));
    if (!dirty)
        return vl_device_failed(device, ENOMEM);
    count = collect_dirty(device, dirty);
    if (!device->written) {
        complete_clusters(device, dirty, count);
        count = collect_dirty(device, dirty);
    }
    for (size_t i = 0; i < count && !failure; i++) {
        failure = vl_runs_append(device, dirty[i]->number * PAGE_SIZE, dirty[i]->bytes, PAGE_SIZE);
        dirty[i]->dirty = false;
    }
    free(dirty);
    return failure ? failure : vl_runs_land(device);
}

static void empty(struct device *device)
{
    memset(device->pages, 0, device->slots * sizeof(*device->pages));
    device->count = 0;
}

/* Called where no caller holds a page. */
static errcode_t make_room(struct device *device, size_t pages)
{
    if (device->count + pages > device->limit) {
        errcode_t failure = vl_pages_write_back(device);
        if (failure)
            return failure;
        empty(device);
    }
    return 0;
}

bool vl_pages_miss(struct device *device, uint64_t number)
{
    return !cached(device, number) && !vl_runs_still_zeroes(device, number * PAGE_SIZE, PAGE_SIZE);
}

void vl_pages_keep(struct device *device, uint64_t first, size_t length, const unsigned char *bytes)
{
    for (size_t i = 0; i * PAGE_SIZE < length; i++)
        if (!cached(device, first + i))
            memcpy(enter(device, first + i)->bytes, bytes + i * PAGE_SIZE, PAGE_SIZE);
}

static errcode_t read_pages(struct device *device, uint64_t number)
{
    unsigned char bytes[READ_AHEAD];
    uint64_t first = number - number % READ_AHEAD_PAGES;
    uint64_t offset = first * PAGE_SIZE;
    size_t length;
    errcode_t failure;

    if (offset >= device->size)
        return EXT2_ET_SHORT_READ;
    length = length_to_read(device, offset);
    failure = make_room(device, READ_AHEAD_PAGES);
    if (!failure)
        failure = vl_runs_read(device, offset, length, bytes);
    if (!failure)
        vl_pages_keep(device, first, length, bytes);
    return failure;
}

errcode_t vl_pages_read(struct device *device, uint64_t offset, size_t length,
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

errcode_t vl_pages_write(struct device *device, uint64_t offset, size_t length,
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

errcode_t vl_pages_begin(struct device *device)
{
    device->slots = 2 * CACHE_PAGES;
    device->limit = CACHE_PAGES;
    device->pages = calloc(device->slots, sizeof(*device->pages));
    device->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (device->memory == MAP_FAILED)
        device->memory = NULL;
    if (!device->pages || !device->memory)
        return ENOMEM;
    /* Two MiB at a time are cleared sooner than 512 pages one by one. Without huge pages it works
     * as well. */
    madvise(device->memory, MEMORY, MADV_HUGEPAGE);
    return 0;
}

void vl_pages_end(struct device *device)
{
    free(device->pages);
    if (device->memory)
        munmap(device->memory, MEMORY);
}

void vl_pages_forget(struct device *device, uint64_t offset, uint64_t length)
{
    uint64_t end = (offset + length + PAGE_SIZE - 1) / PAGE_SIZE;

    for (uint64_t number = offset / PAGE_SIZE; number < end; number++)
        forget(device, number);
}
