/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The entrypoint, from its start to the record of its exit status. */
#ifndef VIRTLAYER_GUEST_SESSION_H
#define VIRTLAYER_GUEST_SESSION_H

#include "configuration.h"
#include "failure.h"
#include "output.h"

struct session {
    struct configuration *configuration;
    struct output *output;
    int input_port; /* -1 if there is none */
    int console;    /* a terminal that has a copy of the output, and the input; -1 if there is none */
};

/*
 * Run the entrypoint in the root directory of this process, until nothing of it is left. Its
 * records are put into the output, of which some may not be written yet.
 *
 * Returns its exit status, or -1 with a failure if it cannot be started.
 */
int run_session(struct session *session, struct failure *failure);

#endif
