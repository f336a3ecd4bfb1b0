/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The power button. */
#include "buttons.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BYTE = 8, PRESSED = 1 };

static bool has_power_key(int device)
{
    unsigned char keys[KEY_MAX / BYTE + 1] = {0};

    return ioctl(device, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) >= 0 &&
           keys[KEY_POWER / BYTE] & 1 << KEY_POWER % BYTE;
}

size_t open_buttons(int buttons[MOST_BUTTONS])
{
    DIR *directory = opendir("/dev/input");
    const struct dirent *entry;
    size_t count = 0;

    while (directory && count < MOST_BUTTONS && (entry = readdir(directory))) {
        int device;

        if (strncmp(entry->d_name, "event", strlen("event")))
            continue;
        device = openat(dirfd(directory), entry->d_name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (device >= 0 && has_power_key(device))
            buttons[count++] = device;
        else if (device >= 0)
            close(device);
    }
    if (directory)
        closedir(directory);
    return count;
}

int count_presses(int button)
{
    struct input_event event;
    int presses = 0;

    while (read(button, &event, sizeof(event)) == sizeof(event))
        presses += event.type == EV_KEY && event.code == KEY_POWER && event.value == PRESSED;
    return presses;
}
