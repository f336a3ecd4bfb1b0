/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Why the entrypoint cannot be started: a sentence for the user, and the exit status. */
#ifndef VIRTLAYER_GUEST_FAILURE_H
#define VIRTLAYER_GUEST_FAILURE_H

/* The exit statuses of podman and of shells. */
enum {
    STATUS_FAILED = 125,    /* virtlayer failed */
    STATUS_CANNOT_RUN = 126, /* not executable, or no such user */
    STATUS_NOT_FOUND = 127,
    STATUS_SIGNAL = 128 /* plus the number of the signal */
};

struct failure {
    int status;
    char text[512];
};

/* Fill in a failure; always returns -1, so that it can be returned. */
int failed(struct failure *failure, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
