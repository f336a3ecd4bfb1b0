/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The user of the entrypoint, looked up in the image as podman does. */
#ifndef VIRTLAYER_GUEST_USERS_H
#define VIRTLAYER_GUEST_USERS_H

#include <stddef.h>
#include <sys/types.h>

#include "failure.h"

struct identity {
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* the supplementary ones; with gid as the first, unless the user is "" */
    size_t group_count;
    char *home;
};

/*
 * Look a user up in passwd and group, two texts in the format of passwd(5) and group(5).
 *
 * The user is USER, UID, USER:GROUP or UID:GID; "" is user 0. A number need not be in passwd; its
 * home is then the working directory. A user that is not found is a failure, and so is one whose
 * ids are damaged: nothing falls back to user 0. Returns 0, or -1 with a failure.
 */
int find_identity(const char *user, const char *passwd, const char *group, const char *directory,
                  struct identity *identity, struct failure *failure);

/* The same with the files of the image, which is the root directory. */
int look_up_user(const char *user, const char *directory, struct identity *identity,
                 struct failure *failure);

#endif
