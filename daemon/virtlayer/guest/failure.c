/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Why the entrypoint cannot be started. */
#include "failure.h"

#include <stdarg.h>
#include <stdio.h>

int failed(struct failure *failure, int status, const char *format, ...)
{
    va_list arguments;

    failure->status = status;
    va_start(arguments, format);
    vsnprintf(failure->text, sizeof(failure->text), format, arguments);
    va_end(arguments);
    return -1;
}
