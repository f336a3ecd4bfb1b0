/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The entrypoint, from its start to the record of its exit status. */
#ifndef VIRTLAYER_GUEST_SESSION_H
#define VIRTLAYER_GUEST_SESSION_H

#include "configuration.h"
#include "failure.h"
#include "output.h"

/*
 * Run the entrypoint in the root directory of this process, until nothing of it is left. Its
 * records are put into the output, of which some may not be written yet.
 *
 * Returns 0, or -1 with a failure if it cannot be started.
 */
int run_session(struct configuration *configuration, struct output *output, int input_port,
                struct failure *failure);

#endif
