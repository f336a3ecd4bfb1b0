/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting the entrypoint. */
#include "entrypoint.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "streams.h"
#include "users.h"

enum { MOST_FILES = 1048576, HOSTNAME = 65 }; /* as podman allows */

/* What podman adds to a container's environment, but for the name of the container's engine. */
static void complete_environment(struct configuration *configuration, const char *home)
{
    char hostname[HOSTNAME] = "";

    gethostname(hostname, sizeof(hostname) - 1);
    add_variable(configuration, "PATH", DEFAULT_PATH);
    add_variable(configuration, "HOME", home);
    add_variable(configuration, "HOSTNAME", hostname);
    if (configuration->terminal)
        add_variable(configuration, "TERM", "xterm");
}

/* Create a directory and those above it. What is created last belongs to the user, as in podman. */
static int ensure_working_directory(const char *directory, const struct identity *identity,
                                    struct failure *failure)
{
    char path[PATH_MAX];
    struct stat status;
    size_t end;

    if (!stat(directory, &status))
        return 0; /* what it is, chdir() says */
    if (*directory != '/' || strlen(directory) >= sizeof(path))
        return failed(failure, STATUS_CANNOT_RUN,
                      "The working directory \"%.200s\" is not an absolute path of usual length.",
                      directory);
    strcpy(path, directory);
    for (end = 1; path[end]; end++) {
        if (path[end] != '/')
            continue;
        path[end] = '\0';
        mkdir(path, 0755); /* if this fails, so does the next one */
        path[end] = '/';
    }
    if (mkdir(path, 0755) && errno != EEXIST)
        return failed(failure, STATUS_CANNOT_RUN,
                      "Cannot create the working directory \"%.200s\": %s.", directory,
                      strerror(errno));
    return chown(path, identity->uid, identity->gid) ? 0 : 0;
}

static int become(const struct identity *identity)
{
    return setgroups(identity->group_count, identity->groups) ||
                   setresgid(identity->gid, identity->gid, identity->gid) ||
                   setresuid(identity->uid, identity->uid, identity->uid)
               ? -1
               : 0;
}

static int prepare(const struct configuration *configuration, const struct identity *identity,
                   struct streams *streams, struct failure *failure)
{
    struct rlimit files = {MOST_FILES, MOST_FILES};
    int entered;

    setsid();
    umask(022);
    setrlimit(RLIMIT_NOFILE, &files);
    if (take_streams(streams, identity->uid))
        return failed(failure, STATUS_FAILED, "Cannot set up the streams: %s.", strerror(errno));
    /* A directory that only root can enter is entered as root; one that root cannot, as the user. */
    entered = !chdir(configuration->directory);
    if (become(identity))
        return failed(failure, STATUS_FAILED, "Cannot become user %u: %s.", identity->uid,
                      strerror(errno));
    if (!entered && chdir(configuration->directory))
        return failed(failure, STATUS_CANNOT_RUN,
                      "Cannot enter the working directory \"%.200s\": %s.",
                      configuration->directory, strerror(errno));
    return 0;
}

/* The child: what fails is written to a pipe, which closes when the program runs. */
static void run(const struct configuration *configuration, const struct identity *identity,
                const sigset_t *signals, struct streams *streams, int report)
{
    struct failure failure;

    signal(SIGPIPE, SIG_DFL);
    if (!prepare(configuration, identity, streams, &failure)) {
        sigprocmask(SIG_SETMASK, signals, NULL);
        run_command(configuration, &failure);
    }
    if (write(report, &failure, sizeof(failure)) != sizeof(failure))
        _exit(STATUS_FAILED);
    _exit(failure.status);
}

/* Whether the program runs: the pipe is then closed without a failure in it. */
static int await_start(int report, struct failure *failure)
{
    ssize_t count;

    do
        count = read(report, failure, sizeof(*failure));
    while (count < 0 && errno == EINTR);
    if (!count)
        return 0;
    if (count != sizeof(*failure))
        return failed(failure, STATUS_FAILED, "Cannot start the program.");
    return -1;
}

int start_entrypoint(struct configuration *configuration, const sigset_t *signals,
                     struct entrypoint *entrypoint, struct failure *failure)
{
    struct identity identity;
    struct streams streams;
    int report[2], result;

    if (look_up_user(configuration->user, configuration->directory, &identity, failure) ||
        ensure_working_directory(configuration->directory, &identity, failure))
        return -1;
    complete_environment(configuration, identity.home);
    if (open_streams(configuration, &streams) || pipe2(report, O_CLOEXEC))
        return failed(failure, STATUS_FAILED, "Cannot open the streams: %s.", strerror(errno));
    entrypoint->process = fork();
    if (!entrypoint->process)
        run(configuration, &identity, signals, &streams, report[1]);
    close(report[1]);
    if (entrypoint->process < 0)
        result = failed(failure, STATUS_FAILED, "Cannot start a process: %s.", strerror(errno));
    else
        result = await_start(report[0], failure);
    close(report[0]);
    keep_streams(&streams, entrypoint);
    return result;
}
