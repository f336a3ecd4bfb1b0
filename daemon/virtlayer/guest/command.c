/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running the program of the configuration. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether it is a program that this user may run; else errno says why not. */
static int check_program(const char *path)
{
    struct stat status;

    if (stat(path, &status))
        return -1;
    if (!S_ISREG(status.st_mode)) {
        errno = EACCES;
        return -1;
    }
    return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS);
}

/* The first program of that name in the directories of PATH; an empty one is the current one. */
static int search(const char *name, const char *directories, char path[PATH_MAX])
{
    int reason = ENOENT;

    for (;;) {
        int length = (int)strcspn(directories, ":");

        if (snprintf(path, PATH_MAX, "%.*s%s%s", length, directories, length ? "/" : "./", name) >=
            PATH_MAX)
            reason = ENAMETOOLONG;
        else if (!check_program(path))
            return 0;
        else if (errno != ENOENT && errno != ENOTDIR)
            reason = errno;
        if (!directories[length])
            break;
        directories += length + 1;
    }
    errno = reason;
    return -1;
}

static int cannot_run(const char *name, struct failure *failure)
{
    if (errno == ENOENT)
        return failed(failure, STATUS_NOT_FOUND,
                      "Cannot find the program \"%.200s\" in the image. Name another command.",
                      name);
    return failed(failure, STATUS_CANNOT_RUN, "Cannot run the program \"%.200s\" of the image: %s.",
                  name, errno == ENOEXEC ? "it is not a program for this machine" : strerror(errno));
}

int run_command(const struct configuration *configuration, struct failure *failure)
{
    const char *name = configuration->arguments.items[0];
    const char *directories = variable(configuration, "PATH");
    char found[PATH_MAX];
    const char *path = name;

    if (!strchr(name, '/')) {
        if (search(name, directories ? directories : "", found))
            return cannot_run(name, failure);
        path = found;
    } else if (check_program(path)) {
        return cannot_run(name, failure);
    }
    execve(path, configuration->arguments.items, configuration->environment.items);
    if (errno == ENOENT)
        return failed(failure, STATUS_NOT_FOUND,
                      "Cannot run the program \"%.200s\" of the image: the image lacks the "
                      "interpreter or loader that it names.",
                      name);
    return cannot_run(name, failure);
}
