/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The device that only nbd_*.c use. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ext2fs/ext2fs.h>
#include <libnbd.h>

#define PAGE_SIZE 4096u
#define READ_AHEAD_PAGES 16u /* one qcow2 cluster of 64 KiB: qemu reads no less */
#define READ_AHEAD (READ_AHEAD_PAGES * PAGE_SIZE)
#define RUN_COUNT 4u

struct page {
    uint64_t number;
    bool present;           /* the slot is taken */
    bool known;             /* the bytes are what the device reads */
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
    struct nbd_handle *nbd;     /* NULL after vl_nbd_leave, and once the server has failed */
    uint64_t size;
    errcode_t failure;          /* the first one of all; nothing works after it */
    int deadline;               /* milliseconds in which the server must make progress */
    bool answered;              /* the request that vl_await_answer waits for */
    int answer;                 /* its errno, or 0 */
    unsigned char *arriving;    /* READ_AHEAD bytes, for one read: they outlive the caller's wait */

    struct page *pages; /* open addressing, a power of two of slots */
    size_t slots;
    size_t count;
    size_t limit;
    unsigned char *memory;  /* of as many pages as the limit says */

    unsigned char *written; /* a bit for each READ_AHEAD; NULL where nothing is known */

    struct run runs[RUN_COUNT];
    struct run *open_run; /* the one that is being filled */
};

/* How much one read gets there, within the device. */
static inline size_t length_to_read(const struct device *device, uint64_t offset)
{
    return device->size - offset < READ_AHEAD ? device->size - offset : READ_AHEAD;
}

/* ---- nbd_server.c ---- */

/* The error of libnbd that has just happened. */
errcode_t vl_server_failure(void);

/* Remembers the first failure of all; returns this one. */
errcode_t vl_device_failed(struct device *device, errcode_t failure);

/* Connects to the server and takes the descriptor over, also on failure. */
errcode_t vl_connect(struct device *device, int descriptor);

/* Ends the connection, with a disconnect request if nothing has failed. */
errcode_t vl_disconnect(struct device *device);

/* Whether a server is connected: ENOTCONN if it was left, or why it failed. */
errcode_t vl_check_connected(struct device *device);

/* Waits until the server has answered something. If it does not make any progress before the
 * deadline, the connection is closed, and the failure is ETIMEDOUT. */
errcode_t vl_wait_for_server(struct device *device);

/* Reads up to READ_AHEAD bytes, and waits for them. */
errcode_t vl_server_read(struct device *device, uint64_t offset, size_t length,
                         unsigned char *bytes);

/* Has the server flush, and waits for it. */
errcode_t vl_server_flush(struct device *device);

/* ---- nbd_runs.c ---- */

/* Sends bytes, or zeroes where data is NULL: soon, and together with those that follow them. */
errcode_t vl_runs_append(struct device *device, uint64_t offset, const unsigned char *data,
                      size_t length);

/* Waits until the server has taken everything. */
errcode_t vl_runs_land(struct device *device);

/* Whether nothing was ever sent there, of a device that began as zeroes. */
bool vl_runs_still_zeroes(struct device *device, uint64_t offset, size_t length);

/* Reads what is within one READ_AHEAD, after what was sent there. */
errcode_t vl_runs_read(struct device *device, uint64_t offset, size_t length, unsigned char *bytes);

/* ---- nbd_pages.c ---- */

errcode_t vl_pages_begin(struct device *device);
void vl_pages_end(struct device *device);
errcode_t vl_pages_read(struct device *device, uint64_t offset, size_t length, unsigned char *data);
errcode_t vl_pages_write(struct device *device, uint64_t offset, size_t length,
                      const unsigned char *data);

/* Removes the pages there from the cache, because the data is written directly. */
void vl_pages_forget(struct device *device, uint64_t offset, uint64_t length);

/* Whether a page would have to be read from the server. */
bool vl_pages_miss(struct device *device, uint64_t number);

/* Keeps what was read from the server: what the cache holds already is newer. There is room. */
void vl_pages_keep(struct device *device, uint64_t first, size_t length, const unsigned char *bytes);

/* Sends every page that has changed, and waits until the server has taken everything. */
errcode_t vl_pages_write_back(struct device *device);

/* ---- nbd_ahead.c ---- */

/* Reads pages that will be asked for, as many as there is room for; puts the numbers in order. */
errcode_t vl_pages_read_ahead(struct device *device, blk64_t *numbers, size_t count);
