/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starts a program that does not outlive the process that starts it, with the rights that it needs:
 *
 *     guard PARENT IDENTITY CONFINEMENT PROGRAM [ARGUMENT]...
 *
 * PARENT is the process id of the process that starts it. IDENTITY is "-", or UID:GID:GROUP,GROUP...
 * of the user that the program shall run as, with no group or several after the second colon.
 * CONFINEMENT is one of programs.py's: "none", "no-new-rights" or "working-directory".
 *
 * The kernel kills the program when the parent ends, which no handler in the parent could
 * guarantee. A parent that ended before the kernel was asked for that is noticed here, by its id.
 * A shell and setpriv(1) can do the same, in three times the time: 1.5 ms instead of 0.5.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call_filter.h"

enum { CANNOT_RUN = 126, NOT_FOUND = 127 }; /* as in a shell */
enum { MOST_GROUPS = 65536 };               /* the kernel's NGROUPS_MAX */

/* The attributes of version 6 of Landlock; a kernel before it is given as much as it knows. */
struct ruleset {
    uint64_t files;
    uint64_t net;
    uint64_t scoped;
};

static const rlim_t MOST_MEMORY = 8ULL << 30; /* of a confined program's address space, in bytes */

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    return CANNOT_RUN;
}

static int malformed(void)
{
    errno = EINVAL;
    return -1;
}

/* A number, and the character after it; false if there is no number that is one of the kernel's. */
static int take_number(char **text, unsigned int *number, char *after)
{
    unsigned long value;
    char *end;

    if (**text < '0' || **text > '9')
        return 0;
    value = strtoul(*text, &end, 10); /* what is too large becomes ULONG_MAX */
    if (value >= (unsigned int)-1)
        return 0;
    *number = (unsigned int)value;
    *after = *end;
    *text = *end ? end + 1 : end;
    return 1;
}

/* Become the user of UID:GID:GROUP,GROUP...; every capability of root's goes with that. */
static int become(char *identity)
{
    static gid_t groups[MOST_GROUPS];
    unsigned int uid, gid;
    size_t count = 0;
    char after;

    if (!take_number(&identity, &uid, &after) || after != ':' ||
        !take_number(&identity, &gid, &after) || after != ':')
        return malformed();
    while (*identity) {
        if (count == MOST_GROUPS || !take_number(&identity, &groups[count++], &after) ||
            (after != ',' && after != '\0'))
            return malformed();
    }
    if (setgroups(count, groups) != 0 || setresgid(gid, gid, gid) != 0)
        return -1;
    return setresuid(uid, uid, uid);
}

/* Allow kinds of access to a file or below a directory; one that does not exist needs no rule. */
static int allow(int ruleset, const char *path, uint64_t allowed)
{
    struct landlock_path_beneath_attr below = { .allowed_access = allowed };
    int result;

    below.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (below.parent_fd < 0)
        return errno == ENOENT ? 0 : -1;
    result = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &below, 0);
    close(below.parent_fd);
    return result;
}

/*
 * Refuse to open files that are not in the working directory, but for reading what programs need
 * (Landlock), where the kernel can. A user's program that works in a staging directory also reads
 * the pool that it is in. There is no TCP, and no signal to a process of another job.
 */
static int stay_in_working_directory(int reads_pool)
{
    static const char *const read_by_all[] = { "/usr", "/lib",  "/lib64", "/etc",
                                               "/proc", "/sys", "/dev" };
    const uint64_t read_only = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE;
    struct ruleset rules = { 0 };
    size_t size = sizeof(rules);
    int ruleset, version;

    version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1)
        return 0;
    /* By the version of Landlock: 13 rights, then REFER, TRUNCATE, and since the fifth IOCTL_DEV. */
    rules.files = (1ULL << (version < 3 ? 12 + version : version < 5 ? 15 : 16)) - 1;
    rules.net = version >= 4 ? 3 : 0;    /* to bind and to connect */
    rules.scoped = version >= 6 ? 3 : 0; /* abstract sockets and signals */
    size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    if (ruleset < 0)
        return -1;
    for (size_t i = 0; i < sizeof(read_by_all) / sizeof(*read_by_all); i++)
        if (allow(ruleset, read_by_all[i], read_only) != 0)
            return -1;
    /* QEMU tries its locks there. */
    if (allow(ruleset, "/dev/null", LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE) != 0)
        return -1;
    if (reads_pool && allow(ruleset, "../..", LANDLOCK_ACCESS_FS_READ_FILE) != 0)
        return -1;
    if (allow(ruleset, ".", rules.files & ~LANDLOCK_ACCESS_FS_EXECUTE) != 0 ||
        syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
        return -1;
    return close(ruleset);
}

/*
 * Refuse to make a process: it could leave the process group, which is how the program is ended.
 * Do nothing when a file is to be flushed: the keeper flushes what gets a name in a pool, once.
 * qemu-img flushes five times when it makes an empty image, and has no option against it.
 */
static int limit_calls(void)
{
    static const struct sock_filter rules[] = {
        VL_UNLESS(SYS_fsync, 1),     VL_REFUSE(0),
        VL_UNLESS(SYS_fdatasync, 1), VL_REFUSE(0),
#ifdef SYS_fork
        VL_UNLESS(SYS_fork, 1),      VL_REFUSE(EPERM),
#endif
#ifdef SYS_vfork
        VL_UNLESS(SYS_vfork, 1),     VL_REFUSE(EPERM),
#endif
        /* Its flags are behind a pointer. ENOSYS sends libc to clone(2). */
        VL_UNLESS(SYS_clone3, 1),    VL_REFUSE(ENOSYS),
        VL_UNLESS(SYS_clone, 3),     VL_LOAD(args[0]),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0),
        VL_REFUSE(EPERM),
    };

    return refuse_calls(rules, sizeof(rules) / sizeof(*rules));
}

static int limit(void)
{
    const struct rlimit no_core = { 0, 0 };
    struct rlimit memory;

    if (getrlimit(RLIMIT_AS, &memory) != 0)
        return -1;
    if (memory.rlim_max > MOST_MEMORY)
        memory.rlim_cur = memory.rlim_max = MOST_MEMORY;
    if (setrlimit(RLIMIT_AS, &memory) != 0)
        return -1;
    return setrlimit(RLIMIT_CORE, &no_core);
}

int main(int count, char **arguments)
{
    unsigned int parent;
    char after;
    int code, changes_user, stays;

    if (count < 5 || !take_number(&arguments[1], &parent, &after) || after != '\0') {
        fputs("guard: PARENT IDENTITY CONFINEMENT PROGRAM [ARGUMENT]...\n", stderr);
        return CANNOT_RUN;
    }
    changes_user = strcmp(arguments[2], "-") != 0;
    stays = strcmp(arguments[3], "working-directory") == 0;
    if (strcmp(arguments[3], "none") != 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return failed("PR_SET_NO_NEW_PRIVS");
    if (changes_user && become(arguments[2]) != 0)
        return failed("identity");
    /* After the change of user: the directory is that user's. */
    if (stays && (limit() != 0 || stay_in_working_directory(!changes_user) != 0 ||
                  limit_calls() != 0))
        return failed("confinement");
    /* After the change of user, which makes the kernel forget it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return failed("PR_SET_PDEATHSIG");
    if ((unsigned int)getppid() != parent)
        return CANNOT_RUN;
    execvp(arguments[4], arguments + 4);
    code = errno == ENOENT ? NOT_FOUND : CANNOT_RUN;
    failed(arguments[4]);
    return code;
}
