/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration: what is started, and how. protocol/guest_config.py writes it. */
#ifndef VIRTLAYER_GUEST_CONFIGURATION_H
#define VIRTLAYER_GUEST_CONFIGURATION_H

#include <stdbool.h>
#include <stddef.h>

#include "failure.h"

enum { MOST_CONFIGURATION = 8 << 20 }; /* bytes; Linux gives a program 6 MiB of texts at most */

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Texts that end with a null pointer, as execve(2) wants them. */
struct texts {
    char **items;
    size_t count;
};

struct configuration {
    struct texts arguments;
    struct texts environment; /* NAME=VALUE */
    char *directory;          /* absolute */
    char *user;               /* USER, UID, USER:GROUP or UID:GID; "" for root */
    char *hostname;           /* "" to keep the image's */
    bool terminal;
    bool interactive; /* whether its standard input stays open */
    bool dhcp;
    bool is_init; /* whether it becomes process 1 */
    int stop_signal;
};

/*
 * Read a configuration out of memory.
 *
 * Returns 0, or -1 with a failure. The memory that the fields point to is never freed: it is used
 * until the machine is off.
 */
int parse_configuration(const unsigned char *data, size_t size, struct configuration *configuration,
                        struct failure *failure);

/* Append a text, which is not copied. */
void append_text(struct texts *texts, char *text);

/* The value of a variable; NULL if there is none. */
const char *variable(const struct configuration *configuration, const char *name);

/* Add a variable that the configuration does not have yet. */
void add_variable(struct configuration *configuration, const char *name, const char *value);

#endif
