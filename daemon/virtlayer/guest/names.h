/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hostname, /etc/hosts and /etc/resolv.conf. Init writes these files in a directory of its own;
 * as podman's, they are mounted over those of the image, which stay as they are.
 */
#ifndef VIRTLAYER_GUEST_NAMES_H
#define VIRTLAYER_GUEST_NAMES_H

#include <stdbool.h>

/* Mount a small file system for the files at that directory. */
void mount_names(const char *directory);

/* Set the hostname; "" for the one of the image, which is in root. Before hosts is written. */
void set_hostname(const char *directory, const char *hostname, const char *root);

/* Write hosts; the address is that of the hostname, "" if there is none. */
void write_hosts(const char *directory, const char *address);

/* Write resolv.conf. Both are words with spaces between them. */
void write_resolver(const char *directory, const char *search, const char *servers);

/* Open the files; then, with the image as the root directory, mount them there. */
struct names {
    int hosts, hostname, resolver; /* -1 if the image's is to be seen */
};

struct names open_names(const char *directory, bool has_resolver);
void show_names(struct names names);

#endif
