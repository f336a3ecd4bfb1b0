/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Restricts a program before it starts:
 *
 *     confine FILE_SIZE [-r PATH | -w PATH]... -- PROGRAM [ARGUMENT]...
 *
 * The program reads and runs files only that are, or are below, a PATH of -r, and changes files
 * only below a PATH of -w (landlock(7)). A PATH that cannot be opened counts for nothing. It listens
 * on no TCP port, and neither traces nor signals a process outside, as far as the kernel supports
 * that. It makes no Unix socket: Landlock does not keep it from those that have a path, such as the
 * keeper's, which takes it for the service, and the bus's. No file that it writes gets more than
 * FILE_SIZE bytes.
 *
 * The program that starts it has set no_new_privs (see guard.c).
 */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call_filter.h"

enum { CANNOT_RUN = 126, NOT_FOUND = 127 }; /* as in a shell */

/* The attributes of version 6; a kernel before it is given as much as it knows. */
struct ruleset {
    uint64_t files;
    uint64_t net;
    uint64_t scoped;
};

static const uint64_t READING = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
                                LANDLOCK_ACCESS_FS_EXECUTE;
/* What a rule about a file, and not a directory, may be about. */
static const uint64_t OF_FILES = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE |
                                 LANDLOCK_ACCESS_FS_WRITE_FILE | 1ULL << 14 /* truncate */;

static int failed(const char *what)
{
    fprintf(stderr, "confine: %s: %s\n", what, strerror(errno));
    return CANNOT_RUN;
}

/* Every right about files that this version of Landlock has. */
static uint64_t rights(int version)
{
    if (version < 3)
        return (1ULL << (12 + version)) - 1;
    return (1ULL << (version < 5 ? 15 : 16)) - 1;
}

static int allow(int ruleset, const char *path, uint64_t allowed)
{
    struct landlock_path_beneath_attr rule = { .allowed_access = allowed };
    struct stat status;
    int result = -1;

    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -1 : 0;
    if (fstat(rule.parent_fd, &status) == 0) {
        if (!S_ISDIR(status.st_mode))
            rule.allowed_access &= OF_FILES;
        result = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    }
    close(rule.parent_fd);
    return result;
}

/* Restrict this process by the options; return the place of the program in them, or 0. */
static int restrict_by(char **options)
{
    struct ruleset attributes = { 0 };
    size_t size = sizeof(attributes);
    int version, ruleset = -1, i;

    version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version >= 1) {
        attributes.files = rights(version);
        attributes.net = version >= 4 ? 1 : 0;    /* to bind to a TCP port */
        attributes.scoped = version >= 6 ? 3 : 0; /* abstract sockets and signals */
        size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
        ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
        if (ruleset < 0)
            return 0;
    }
    for (i = 0; options[i] && strcmp(options[i], "--") != 0; i += 2) {
        int writes = strcmp(options[i], "-w") == 0;

        if ((!writes && strcmp(options[i], "-r") != 0) || !options[i + 1]) {
            errno = EINVAL;
            return 0;
        }
        if (ruleset >= 0 && allow(ruleset, options[i + 1],
                                  writes ? attributes.files & ~LANDLOCK_ACCESS_FS_EXECUTE
                                         : READING) != 0)
            return 0;
    }
    if (!options[i] || !options[i + 1]) {
        errno = EINVAL;
        return 0;
    }
    if (ruleset >= 0 && (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0 || close(ruleset)))
        return 0;
    return i + 1;
}

/* Refuse to make Unix sockets; those that it has, and pairs, stay. */
static int refuse_unix_sockets(void)
{
    static const struct sock_filter rules[] = {
        /* io_uring makes sockets without that call. */
        VL_UNLESS(SYS_io_uring_setup, 1), VL_REFUSE(ENOSYS),
        VL_UNLESS(SYS_socket, 3),         VL_LOAD(args[0]),
        VL_UNLESS(AF_UNIX, 1),            VL_REFUSE(EACCES),
    };

    return refuse_calls(rules, sizeof(rules) / sizeof(*rules));
}

int main(int count, char **arguments)
{
    struct rlimit limit;
    char *end;
    int program, code;

    if (count < 4) {
        fputs("confine: FILE_SIZE [-r PATH | -w PATH]... -- PROGRAM [ARGUMENT]...\n", stderr);
        return CANNOT_RUN;
    }
    limit.rlim_cur = limit.rlim_max = strtoull(arguments[1], &end, 10);
    if (*end != '\0' || setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return failed("RLIMIT_FSIZE");
    program = restrict_by(arguments + 2);
    if (program == 0)
        return failed("landlock");
    if (refuse_unix_sockets() != 0)
        return failed("seccomp");
    arguments += 2 + program;
    execvp(arguments[0], arguments);
    code = errno == ENOENT ? NOT_FOUND : CANNOT_RUN;
    fprintf(stderr, "%s: %s\n", arguments[0], strerror(errno));
    return code;
}
