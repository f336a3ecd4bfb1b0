/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages of init. */
#include "log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ERROR = 3, INFORMATION = 6, LINE = 512 }; /* the levels are syslog(3)'s */

static void write_line(int level, const char *format, va_list arguments)
{
    char line[LINE], *end;
    int size = snprintf(line, sizeof(line), "<%d>virtlayer: ", level);
    int log = open("/dev/kmsg", O_WRONLY | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW);

    vsnprintf(line + size, sizeof(line) - (size_t)size, format, arguments);
    /* What comes of the image is not to begin a line of its own. */
    for (end = line; (end = strchr(end, '\n'));)
        *end = ' ';
    if (log < 0) { /* in a container */
        dprintf(STDERR_FILENO, "%s\n", line + 3);
        return;
    }
    dprintf(log, "%s", line); /* one write, as the kernel wants it */
    close(log);
}

void note(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_line(INFORMATION, format, arguments);
    va_end(arguments);
}

void warn(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_line(ERROR, format, arguments);
    va_end(arguments);
}
