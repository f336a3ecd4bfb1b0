/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The standard streams of the entrypoint. */
#include "streams.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IN = STDIN_FILENO, OUT = STDOUT_FILENO, ERROR = STDERR_FILENO, OWNER_ONLY = 0600 };

static int open_terminal(struct streams *streams)
{
    int ours = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    char *name;

    if (ours < 0 || grantpt(ours) || unlockpt(ours) || !(name = ptsname(ours)))
        return -1;
    streams->theirs[IN] = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    streams->theirs[OUT] = streams->theirs[ERROR] = streams->theirs[IN];
    streams->ours[IN] = streams->ours[OUT] = ours;
    return streams->theirs[IN] < 0 ? -1 : 0;
}

static int open_pipe(int *reader, int *writer)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC))
        return -1;
    *reader = ends[0];
    *writer = ends[1];
    return 0;
}

/* Init's ends do not block; the program's do, as programs expect. */
static int open_pipes(struct streams *streams, bool interactive)
{
    int *ours = streams->ours, *theirs = streams->theirs;

    if (open_pipe(&ours[OUT], &theirs[OUT]) || open_pipe(&ours[ERROR], &theirs[ERROR]) ||
        fcntl(ours[OUT], F_SETFL, O_NONBLOCK) || fcntl(ours[ERROR], F_SETFL, O_NONBLOCK))
        return -1;
    if (interactive)
        return open_pipe(&theirs[IN], &ours[IN]) ? -1 : fcntl(ours[IN], F_SETFL, O_NONBLOCK);
    theirs[IN] = open("/dev/null", O_RDWR | O_CLOEXEC);
    return theirs[IN] < 0 ? -1 : 0;
}

int open_streams(const struct configuration *configuration, struct streams *streams)
{
    int i;

    streams->terminal = configuration->terminal;
    for (i = IN; i <= ERROR; i++)
        streams->ours[i] = streams->theirs[i] = -1;
    if (configuration->terminal)
        return open_terminal(streams);
    return open_pipes(streams, configuration->interactive);
}

/* So that a user other than root can open /dev/stdout. */
static int give(const struct streams *streams, int number, uid_t user)
{
    if (streams->ours[number] < 0 && !streams->terminal)
        return 0; /* /dev/null is everybody's */
    return fchown(streams->theirs[number], user, (gid_t)-1);
}

int take_streams(const struct streams *streams, uid_t user)
{
    int i;

    if (streams->terminal && ioctl(streams->theirs[IN], TIOCSCTTY, 0))
        return -1;
    for (i = IN; i <= ERROR; i++) {
        if (give(streams, i, user))
            return -1;
        dup2(streams->theirs[i], i); /* both numbers are valid: it cannot fail */
    }
    return 0;
}

void keep_streams(struct streams *streams, struct entrypoint *entrypoint)
{
    int i;

    entrypoint->input = streams->ours[IN];
    entrypoint->output = streams->ours[OUT];
    entrypoint->errors = streams->ours[ERROR];
    entrypoint->terminal = streams->terminal ? streams->theirs[IN] : -1;
    for (i = IN; i <= ERROR && !streams->terminal; i++)
        close(streams->theirs[i]);
}
