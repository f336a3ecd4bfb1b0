/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file systems that a program expects. */
#include "mounts.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

enum { NO_DEVICES = MS_NOSUID | MS_NODEV | MS_NOEXEC };

int ensure_directory(const char *path)
{
    struct stat status;

    if (mkdir(path, 0755) && errno != EEXIST)
        return -1;
    if (lstat(path, &status))
        return -1;
    if (!S_ISDIR(status.st_mode)) {
        errno = ENOTDIR;
        return -1;
    }
    return 0;
}

static bool is_mount_point(const char *path)
{
    struct stat status, parent;
    char above[64];

    snprintf(above, sizeof(above), "%s/..", path);
    return !stat(path, &status) && !stat(above, &parent) && status.st_dev != parent.st_dev;
}

/* Mount something that a program may do without. In a container, libvirt may have mounted it. */
static void mount_at(const char *type, const char *path, unsigned long flags, const char *options)
{
    if (is_mount_point(path))
        return;
    if (ensure_directory(path) || mount(type, path, type, flags, options))
        warn("cannot mount %s on %s: %s", type, path, strerror(errno));
}

int mount_initrd(void)
{
    /* The kernel mounts /dev itself if it was built to. */
    if (ensure_directory("/proc") || mount("proc", "/proc", "proc", NO_DEVICES, NULL) ||
        ensure_directory("/sys") || mount("sysfs", "/sys", "sysfs", NO_DEVICES, NULL) ||
        ensure_directory("/dev") ||
        (mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=755") && errno != EBUSY))
        return -1;
    return 0;
}

/* The image's directory is a mount point, and must not be a link that leads elsewhere. */
static int move_to_image(const char *path, const char *below, struct failure *failure)
{
    if (ensure_directory(below))
        return failed(failure, STATUS_FAILED, "Cannot use %s of the image: %s.", path,
                      strerror(errno));
    if (mount(path, below, NULL, MS_MOVE, NULL))
        return failed(failure, STATUS_FAILED, "Cannot mount %s: %s.", path, strerror(errno));
    return 0;
}

int mount_image(const char *disk, struct failure *failure)
{
    if (ensure_directory(NEW_ROOT) || mount(disk, NEW_ROOT, "ext4", 0, NULL))
        return failed(failure, STATUS_FAILED, "Cannot mount the volume of the image: %s.",
                      strerror(errno));
    return 0;
}

int enter_image(struct failure *failure)
{
    if (move_to_image("/proc", NEW_ROOT "/proc", failure) ||
        move_to_image("/sys", NEW_ROOT "/sys", failure) ||
        move_to_image("/dev", NEW_ROOT "/dev", failure))
        return -1;
    if (chdir(NEW_ROOT) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
        return failed(failure, STATUS_FAILED, "Cannot enter the volume of the image: %s.",
                      strerror(errno));
    return 0;
}

static bool is_empty(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;
    bool empty = directory;

    while (empty && (entry = readdir(directory)))
        empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
    if (directory)
        closedir(directory);
    return empty;
}

/* As podman has them; those that are there stay. */
static void make_links(void)
{
    static const char *const links[][2] = {
        {"/proc/self/fd", "/dev/fd"},      {"/proc/self/fd/0", "/dev/stdin"},
        {"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
        {"/proc/kcore", "/dev/core"},      {"/proc/mounts", "/etc/mtab"},
    };
    size_t i;

    for (i = 0; i < sizeof(links) / sizeof(*links); i++)
        if (symlink(links[i][0], links[i][1]) && errno != EEXIST)
            warn("cannot create %s: %s", links[i][1], strerror(errno));
}

void mount_rest(void)
{
    mount_at("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666");
    mount_at("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
    mount_at("mqueue", "/dev/mqueue", NO_DEVICES, NULL);
    mount_at("cgroup2", "/sys/fs/cgroup", NO_DEVICES, NULL);
    /* Images have directories below /run that their programs need; podman leaves them, too. */
    if (!ensure_directory("/run") && is_empty("/run"))
        mount_at("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755");
    if (ensure_directory("/etc"))
        warn("the image has no directory /etc");
    make_links();
}
