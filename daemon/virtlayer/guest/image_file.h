/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading small files of the image. */
#ifndef VIRTLAYER_GUEST_IMAGE_FILE_H
#define VIRTLAYER_GUEST_IMAGE_FILE_H

#include "failure.h"

/*
 * Read a regular file as one string, which ends at its first NUL byte; "" if it does not exist. No
 * link of the image leads out of root, the directory where the image is.
 *
 * Returns 0, or -1 with a failure if it is anything else than a regular file, or is too large. The
 * caller frees the text.
 */
int read_image_file(const char *root, const char *path, char **text,
                    struct failure *failure);

#endif
