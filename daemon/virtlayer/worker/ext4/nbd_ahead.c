/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads of what will be asked for soon, several of them in flight.
 *
 * Nothing depends on them: what does not arrive is read when it is asked for, and that is where
 * an error is reported.
 */
#define _FILE_OFFSET_BITS 64
#include "nbd_device.h"

#include <errno.h>
#include <stdlib.h>

#define IN_FLIGHT 8

struct arrival {
    struct device *device;
    uint64_t first;         /* page */
    size_t length;
    unsigned char bytes[READ_AHEAD];
};

static int arrived(void *data, int *error)
{
    struct arrival *arrival = data;

    if (!*error)
        vl_pages_keep(arrival->device, arrival->first, arrival->length, arrival->bytes);
    return 1; /* retire the command */
}

static errcode_t ask(struct device *device, uint64_t first)
{
    uint64_t offset = first * PAGE_SIZE;
    errcode_t failure = vl_check_connected(device);
    struct arrival *arrival = failure ? NULL : malloc(sizeof(*arrival));

    if (!arrival)
        return failure ? failure : ENOMEM;
    arrival->device = device;
    arrival->first = first;
    arrival->length = length_to_read(device, offset);
    if (nbd_aio_pread(device->nbd, arrival->bytes, arrival->length, offset,
                      (nbd_completion_callback){
                          .callback = arrived, .user_data = arrival, .free = free},
                      0) == -1)
        return vl_server_failure();
    return 0;
}

/* Until so few are in flight. */
static errcode_t wait_until(struct device *device, int in_flight)
{
    while (device->nbd && nbd_aio_in_flight(device->nbd) > in_flight)
        if (vl_wait_for_server(device))
            return device->failure;
    return device->failure;
}

static int by_number(const void *left, const void *right)
{
    const blk64_t *a = left, *b = right;

    return *a < *b ? -1 : *a > *b;
}

errcode_t vl_pages_read_ahead(struct device *device, blk64_t *numbers, size_t count)
{
    uint64_t last = UINT64_MAX;
    size_t room = device->limit - device->count;
    errcode_t waiting, failure = vl_runs_land(device);

    qsort(numbers, count, sizeof(*numbers), by_number);
    for (size_t i = 0; i < count && room >= READ_AHEAD_PAGES && !failure; i++) {
        uint64_t first = numbers[i] - numbers[i] % READ_AHEAD_PAGES;

        if (first == last || first * PAGE_SIZE >= device->size ||
            !vl_pages_miss(device, numbers[i]))
            continue;
        last = first;
        room -= READ_AHEAD_PAGES;
        failure = wait_until(device, IN_FLIGHT - 1);
        if (!failure)
            failure = ask(device, first);
    }
    /* Also after an error: there may be no room for replies that arrive later. */
    waiting = wait_until(device, 0);
    return failure ? failure : waiting;
}
