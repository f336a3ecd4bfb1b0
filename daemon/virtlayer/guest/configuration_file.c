/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading the configuration from a disk or a file. */
#include "configuration_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int unreadable(const char *why, struct failure *failure)
{
    return failed(failure, STATUS_FAILED, "Cannot read the configuration: %s.", why);
}

/* Fill memory of this size; -1 with errno, also if there is less. */
static int read_whole(int file, char *data, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t count = pread(file, data + done, size - done, (off_t)done);

        if (count <= 0) {
            errno = count ? errno : EIO;
            return -1;
        }
        done += (size_t)count;
    }
    return 0;
}

static int load(int file, struct configuration *configuration, struct failure *failure)
{
    off_t end = lseek(file, 0, SEEK_END);
    char *data;
    int result;

    if (end < 0)
        return unreadable(strerror(errno), failure);
    if (end > MOST_CONFIGURATION)
        return unreadable("it is too large", failure);
    data = malloc((size_t)end + 1);
    if (!data)
        return unreadable(strerror(errno), failure);
    if (read_whole(file, data, (size_t)end))
        result = unreadable(strerror(errno), failure);
    else
        result = parse_configuration((unsigned char *)data, (size_t)end, configuration, failure);
    free(data);
    return result;
}

int load_configuration(const char *path, struct configuration *configuration,
                       struct failure *failure)
{
    int file = open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC);
    int result;

    if (file < 0)
        return unreadable(strerror(errno), failure);
    result = load(file, configuration, failure);
    close(file);
    return result;
}
