/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting the entrypoint, init's child. */
#ifndef VIRTLAYER_GUEST_ENTRYPOINT_H
#define VIRTLAYER_GUEST_ENTRYPOINT_H

#include <signal.h>
#include <sys/types.h>

#include "configuration.h"
#include "failure.h"

/* Init's ends of its streams, which do not block; -1 for those that it does not have. */
struct entrypoint {
    pid_t process;
    int input;  /* of a pipe, or the terminal */
    int output; /* of a pipe, or the terminal */
    int errors; /* of a pipe */
    int terminal; /* the entrypoint's end of the terminal, so that it is never hung up */
};

/*
 * Start it: with its streams, user, working directory, which is created if it is missing, and
 * environment, to which PATH, HOME, HOSTNAME and TERM are added. Returns 0 when the program runs,
 * or -1 with a failure.
 */
int start_entrypoint(struct configuration *configuration, const sigset_t *signals,
                     struct entrypoint *entrypoint, struct failure *failure);

#endif
