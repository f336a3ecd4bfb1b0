/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading the configuration from a disk or a file. */
#ifndef VIRTLAYER_GUEST_CONFIGURATION_FILE_H
#define VIRTLAYER_GUEST_CONFIGURATION_FILE_H

#include "configuration.h"

/* Read it. Returns 0, or -1 with a failure. */
int load_configuration(const char *path, struct configuration *configuration,
                       struct failure *failure);

#endif
