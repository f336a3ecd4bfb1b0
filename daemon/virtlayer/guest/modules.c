/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's modules in the initrd. */
#include "modules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

static void load(const char *path)
{
    int module = open(path, O_RDONLY | O_CLOEXEC);

    if (module < 0 || (syscall(SYS_finit_module, module, "", 0) && errno != EEXIST))
        warn("cannot load the kernel's module %s: %s", path, strerror(errno));
    if (module >= 0)
        close(module);
    unlink(path);
}

void load_modules(const char *list)
{
    char path[256];
    FILE *file = fopen(list, "re");

    while (file && fgets(path, sizeof(path), file)) {
        path[strcspn(path, "\n")] = '\0';
        if (path[0])
            load(path);
    }
    if (file)
        fclose(file);
    unlink(list);
}
