/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs: bytes for the NBD server, several runs of them in flight.
 *
 * The server may reorder what is in flight at the same time, so two runs never overlap there, and
 * nothing is read where a run is still being written.
 */
#define _FILE_OFFSET_BITS 64
#include "nbd_device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RUN_SIZE (4096u * 1024u) /* an object of RBD; a run ends at a multiple of it */

struct landing {
    struct device *device;
    struct run *run;
};

static int run_landed(void *data, int *error)
{
    struct landing *landing = data;

    landing->run->in_flight = false;
    if (*error)
        vl_device_failed(landing->device, *error);
    return 1; /* retire the command */
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
            if (vl_wait_for_server(device))
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

bool vl_runs_still_zeroes(struct device *device, uint64_t offset, size_t length)
{
    if (!device->written)
        return false;
    for (uint64_t unit = offset / READ_AHEAD; unit * READ_AHEAD < offset + length; unit++)
        if (device->written[unit / 8] & 1u << unit % 8)
            return false;
    return true;
}

static errcode_t submit(struct device *device, struct run *run)
{
    struct landing *landing;
    int64_t cookie;

    errcode_t failure = vl_check_connected(device);

    if (!failure)
        failure = land_overlapping(device, run->offset, run->length);
    if (failure)
        return failure;
    landing = malloc(sizeof(*landing));
    if (!landing)
        return vl_device_failed(device, ENOMEM);
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
        return vl_device_failed(device, vl_server_failure());
    }
    return device->failure;
}

static errcode_t submit_open_run(struct device *device)
{
    struct run *run = device->open_run;

    device->open_run = NULL;
    return run ? submit(device, run) : device->failure;
}

errcode_t vl_runs_land(struct device *device)
{
    submit_open_run(device);
    for (unsigned i = 0; i < RUN_COUNT; i++)
        while (device->runs[i].in_flight)
            if (vl_wait_for_server(device))
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
                vl_device_failed(device, ENOMEM);
                return NULL;
            }
            return run;
        }
        if (vl_wait_for_server(device))
            return NULL;
    }
}

/* Appends to the open run where the bytes follow it, and opens the next one where they do not.
 * A run ends where a cluster does, or qemu would fill the rest of that before the next one comes. */
errcode_t vl_runs_append(struct device *device, uint64_t offset, const unsigned char *data,
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

errcode_t vl_runs_read(struct device *device, uint64_t offset, size_t length,
                                  unsigned char *bytes)
{
    struct run *run = device->open_run;

    if (run && overlaps(run, offset, length))
        submit_open_run(device);
    if (land_overlapping(device, offset, length))
        return device->failure;
    if (vl_runs_still_zeroes(device, offset, length)) {
        memset(bytes, 0, length);
        return 0;
    }
    return vl_server_read(device, offset, length, bytes);
}
