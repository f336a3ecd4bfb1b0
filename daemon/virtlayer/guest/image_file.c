/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading small files of the image. */
#include "image_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST = 16 << 20 }; /* bytes */

static int unreadable(const char *path, const char *why, struct failure *failure)
{
    return failed(failure, STATUS_CANNOT_RUN, "Cannot read %s of the image: %s.", path, why);
}

/* As much as there is; the file's size is what it was a moment ago. */
static ssize_t read_whole(int file, char *text, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t count = read(file, text + done, size - done);

        if (count < 0)
            return -1;
        if (!count)
            break;
        done += (size_t)count;
    }
    return (ssize_t)done;
}

static int open_in(const char *root, const char *path)
{
    /* A FIFO is opened without waiting for a writer, and a terminal does not become ours. */
    struct open_how how = {.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT};
    int directory = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int file;

    if (directory < 0)
        return -1;
    file = (int)syscall(SYS_openat2, directory, path, &how, sizeof(how));
    close(directory);
    return file;
}

int read_image_file(const char *root, const char *path, char **text, struct failure *failure)
{
    int file = open_in(root, path);
    struct stat status;
    ssize_t count;

    *text = NULL;
    if (file < 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            return unreadable(path, strerror(errno), failure);
        *text = strdup("");
        return *text ? 0 : unreadable(path, strerror(errno), failure);
    }
    if (fstat(file, &status) || !S_ISREG(status.st_mode) || status.st_size > MOST) {
        close(file);
        return unreadable(path, "it is not a regular file of at most 16 MiB", failure);
    }
    *text = calloc(1, (size_t)status.st_size + 1);
    count = *text ? read_whole(file, *text, (size_t)status.st_size) : -1;
    if (count < 0) {
        unreadable(path, strerror(errno), failure);
        free(*text);
        *text = NULL;
    }
    close(file);
    return count < 0 ? -1 : 0;
}
