/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The standard streams of the entrypoint: three pipes or a terminal. */
#ifndef VIRTLAYER_GUEST_STREAMS_H
#define VIRTLAYER_GUEST_STREAMS_H

#include <stdbool.h>
#include <sys/types.h>

#include "configuration.h"
#include "entrypoint.h"

/* Both ends of each. */
struct streams {
    bool terminal;
    int theirs[3];
    int ours[3]; /* -1 if there is none */
};

/* Open them, all to be closed in other programs. Returns 0, or -1 with errno. */
int open_streams(const struct configuration *configuration, struct streams *streams);

/* In the entrypoint's process, which is still root's: make them its standard streams. */
int take_streams(const struct streams *streams, uid_t user);

/* In init: close the other ends, and keep ours. */
void keep_streams(struct streams *streams, struct entrypoint *entrypoint);

#endif
