/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The hostname, /etc/hosts and /etc/resolv.conf. */
#ifndef VIRTLAYER_GUEST_NAMES_H
#define VIRTLAYER_GUEST_NAMES_H

#include <stdbool.h>

/*
 * The files are in a small file system of the initrd. As podman's, they are mounted over those of
 * the image, which stay as they are.
 */
void make_name_files(void);

/* Write /etc/hosts; the address is that of the hostname, "" if there is none. */
void write_hosts(const char *address);

/* Write /etc/resolv.conf. Both are words with spaces between them. */
void write_resolver(const char *search, const char *servers);

/* Set the hostname; "" for the one of the image, which is in root. Before the files are written. */
void set_hostname(const char *hostname, const char *root);

/* Open the files; then, with the image as the root directory, mount them there. */
struct name_files {
    int hosts, hostname, resolver; /* -1 if it is not to be mounted */
};

struct name_files open_name_files(bool has_resolver);
void mount_name_files(struct name_files files);

#endif
