/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file systems that a program expects. */
#ifndef VIRTLAYER_GUEST_MOUNTS_H
#define VIRTLAYER_GUEST_MOUNTS_H

#include "failure.h"

#define NEW_ROOT "/newroot"

/* Mount /proc, /sys and /dev in the initrd. Returns 0 or -1. */
int mount_initrd(void);

/*
 * Mount the disk of the image, move /proc, /sys and /dev there, and make it the root directory.
 * What is missing for that, as in an image with one program only, is created.
 *
 * Returns 0, or -1 with a failure.
 */
int enter_image(const char *disk, struct failure *failure);

/* Mount what is below /dev, /run and cgroups, and create the links that programs expect. */
void mount_rest(void);

/* Create a directory if there is nothing of that name; 0 if it is a directory then. */
int ensure_directory(const char *path);

#endif
