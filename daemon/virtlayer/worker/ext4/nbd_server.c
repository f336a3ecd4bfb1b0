/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connection to the NBD server: every wait for it has a deadline, which starts again with all
 * that the server does.
 *
 * A connection that has failed is closed at once. After that, no reply can write to our memory.
 */
#define _FILE_OFFSET_BITS 64
#include "nbd_device.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

errcode_t vl_server_failure(void)
{
    int number = nbd_get_errno();
    return number ? number : EIO;
}

errcode_t vl_device_failed(struct device *device, errcode_t failure)
{
    if (!device->failure)
        device->failure = failure;
    return failure;
}

static void hang_up(struct device *device)
{
    struct nbd_handle *nbd = device->nbd;

    device->nbd = NULL;
    nbd_close(nbd);
}

errcode_t vl_check_connected(struct device *device)
{
    if (device->failure)
        return device->failure;
    return device->nbd ? 0 : ENOTCONN;
}

/* Waits until the server has done anything. */
static errcode_t poll_server(struct device *device)
{
    int progress = nbd_poll(device->nbd, device->deadline);

    if (progress == -1)
        return vl_server_failure();
    return progress ? 0 : ETIMEDOUT;
}

errcode_t vl_wait_for_server(struct device *device)
{
    errcode_t failure;

    if (!device->nbd)
        return vl_device_failed(device, ENOTCONN);
    failure = poll_server(device);
    if (failure) {
        vl_device_failed(device, failure);
        hang_up(device);
    }
    return failure;
}

static errcode_t shake_hands(struct device *device, int descriptor)
{
    int64_t size;

    /* libnbd closes the descriptor from here on. */
    if (nbd_aio_connect_socket(device->nbd, descriptor) == -1)
        return vl_server_failure();
    while (!nbd_aio_is_ready(device->nbd)) {
        errcode_t failure = poll_server(device);
        if (failure)
            return failure;
    }
    size = nbd_get_size(device->nbd);
    if (size < 0)
        return vl_server_failure();
    device->size = (uint64_t)size;
    return 0;
}

errcode_t vl_connect(struct device *device, int descriptor)
{
    errcode_t failure;

    device->nbd = nbd_create();
    /* For a structured reply, qemu first looks in all the volumes where it would have holes. */
    if (!device->nbd || nbd_set_request_structured_replies(device->nbd, false) == -1) {
        failure = vl_server_failure();
        close(descriptor);
    } else {
        failure = shake_hands(device, descriptor);
    }
    if (failure && device->nbd)
        hang_up(device);
    return failure;
}

errcode_t vl_disconnect(struct device *device)
{
    if (device->nbd && !device->failure)
        vl_runs_land(device);
    if (device->nbd && !device->failure && nbd_aio_disconnect(device->nbd, 0) != -1)
        while (!nbd_aio_is_closed(device->nbd) && !nbd_aio_is_dead(device->nbd) && !poll_server(device))
            ; /* until it has closed its end, after its last reply */
    if (device->nbd)
        hang_up(device);
    return device->failure;
}

static int answered(void *data, int *error)
{
    struct device *device = data;

    device->answered = true;
    device->answer = *error;
    return 1; /* retire the command */
}

static nbd_completion_callback expect_answer(struct device *device)
{
    device->answered = false;
    return (nbd_completion_callback){.callback = answered, .user_data = device};
}

static errcode_t await_answer(struct device *device, int64_t cookie)
{
    if (cookie == -1)
        return vl_server_failure();
    while (!device->answered) {
        errcode_t failure = vl_wait_for_server(device);
        if (failure)
            return failure;
    }
    return device->answer;
}

errcode_t vl_server_read(struct device *device, uint64_t offset, size_t length,
                         unsigned char *bytes)
{
    errcode_t failure = vl_check_connected(device);

    if (!failure && length > READ_AHEAD)
        failure = EINVAL;
    if (!failure)
        failure = await_answer(device, nbd_aio_pread(device->nbd, device->arriving, length, offset,
                                                     expect_answer(device), 0));
    if (!failure)
        memcpy(bytes, device->arriving, length);
    return failure;
}

errcode_t vl_server_flush(struct device *device)
{
    errcode_t failure = vl_check_connected(device);

    if (failure)
        return failure;
    failure = await_answer(device, nbd_aio_flush(device->nbd, expect_answer(device), 0));
    return failure ? vl_device_failed(device, failure) : 0;
}
