/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file systems that a program expects. */
#ifndef VIRTLAYER_GUEST_MOUNTS_H
#define VIRTLAYER_GUEST_MOUNTS_H

#include "failure.h"

#define NEW_ROOT "/newroot"

/* Mount /proc, /sys and /dev in the initrd. Returns 0 or -1. */
int mount_initrd(void);

/* Mount the disk of the image at NEW_ROOT. Returns 0, or -1 with a failure. */
int mount_image(const char *disk, struct failure *failure);

/*
 * Move /proc, /sys and /dev to NEW_ROOT, and make that the root directory. What is missing for it,
 * as in an image with one program only, is created. Returns 0, or -1 with a failure.
 */
int enter_image(struct failure *failure);

/* Mount what programs expect below /dev, /sys and /run and is not there yet; create links. */
void mount_rest(void);

/* Create a directory if there is nothing of that name; 0 if it is a directory then. */
int ensure_directory(const char *path);

#endif
