/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Process 1 of a container of libvirt-LXC. */
#ifndef VIRTLAYER_GUEST_CONTAINER_H
#define VIRTLAYER_GUEST_CONTAINER_H

struct container {
    const char *configuration; /* a file */
    const char *output;        /* a file that records are appended to */
    const char *init;          /* this program */
    const char *busybox;       /* for DHCP; NULL if libvirt configures the network */
};

/* Run it; returns the exit status of the entrypoint. */
int run_container(const struct container *container);

#endif
