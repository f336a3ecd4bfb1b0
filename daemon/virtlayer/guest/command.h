/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running the program of the configuration, in a process that is already as it shall be. */
#ifndef VIRTLAYER_GUEST_COMMAND_H
#define VIRTLAYER_GUEST_COMMAND_H

#include "configuration.h"
#include "failure.h"

/*
 * Replace this process by the program. A name without a slash is looked for in PATH, that of the
 * configuration. Returns -1 with a failure if there is no such program or if it cannot be run.
 */
int run_command(const struct configuration *configuration, struct failure *failure);

#endif
