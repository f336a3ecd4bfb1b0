/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding the devices of the machine, which the kernel may still be looking for. */
#ifndef VIRTLAYER_GUEST_DEVICES_H
#define VIRTLAYER_GUEST_DEVICES_H

#include <stddef.h>

enum { DEVICE_NAME = 64 };

/*
 * Find the disk with a serial number; its path below /dev, or -1 if it does not appear within the
 * time (milliseconds).
 */
int find_disk(const char *serial, int milliseconds, char path[DEVICE_NAME]);

/* The same for a virtio-serial port and its name. */
int find_port(const char *name, int milliseconds, char path[DEVICE_NAME]);

/* Read a small file; its size without the last newline, or -1. The text ends with a NUL. */
long read_attribute(const char *path, char *text, size_t size);

#endif
