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
        pages_keep(arrival->device, arrival->first, arrival->length, arrival->bytes);
    return 1; /* retire the command */
}

static errcode_t ask(struct device *device, uint64_t first)
{
    uint64_t offset = first * PAGE_SIZE;
    struct arrival *arrival = malloc(sizeof(*arrival));

    if (!arrival)
        return ENOMEM;
    arrival->device = device;
    arrival->first = first;
    arrival->length = length_to_read(device, offset);
    if (nbd_aio_pread(device->nbd, arrival->bytes, arrival->length, offset,
                      (nbd_completion_callback){
                          .callback = arrived, .user_data = arrival, .free = free},
                      0) == -1)
        return server_failure();
    return 0;
}

/* Until so few are in flight. */
static errcode_t wait_until(struct device *device, int in_flight)
{
    while (nbd_aio_in_flight(device->nbd) > in_flight)
        if (wait_for_server(device))
            return device->failure;
    return device->failure;
}

static int by_number(const void *left, const void *right)
{
    const blk64_t *a = left, *b = right;

    return *a < *b ? -1 : *a > *b;
}

errcode_t pages_read_ahead(struct device *device, blk64_t *numbers, size_t count)
{
    uint64_t last = UINT64_MAX;
    size_t room = device->limit - device->count;
    errcode_t waiting, failure = runs_land(device);

    qsort(numbers, count, sizeof(*numbers), by_number);
    for (size_t i = 0; i < count && room >= READ_AHEAD_PAGES && !failure; i++) {
        uint64_t first = numbers[i] - numbers[i] % READ_AHEAD_PAGES;

        if (first == last || first * PAGE_SIZE >= device->size ||
            !pages_miss(device, numbers[i]))
            continue;
        last = first;
        room -= READ_AHEAD_PAGES;
        failure = wait_until(device, IN_FLIGHT - 1);
        if (!failure)
            failure = ask(device, first);
    }
    /* Whatever happened: what arrives later might find no room any more. */
    waiting = wait_until(device, 0);
    return failure ? failure : waiting;
}
