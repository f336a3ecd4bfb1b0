/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding the devices of the machine. */
#include "devices.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

enum { KERNEL_EVENTS = 1, LOOK_AGAIN = 50 }; /* the multicast group; milliseconds */

long read_attribute(const char *path, char *text, size_t size)
{
    int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ssize_t count;

    if (file < 0)
        return -1;
    count = read(file, text, size - 1);
    close(file);
    if (count < 0)
        return -1;
    text[count] = '\0';
    if (count && text[count - 1] == '\n')
        text[--count] = '\0';
    return count;
}

/* Look for the device whose attribute has a value, in a class of sysfs. */
static bool find(const char *class, const char *attribute, const char *value,
                 char path[DEVICE_NAME])
{
    DIR *directory = opendir(class);
    const struct dirent *entry;
    bool found = false;

    while (directory && !found && (entry = readdir(directory))) {
        char name[PATH_MAX], text[DEVICE_NAME];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s/%s", class, entry->d_name, attribute);
        found = read_attribute(name, text, sizeof(text)) >= 0 && !strcmp(text, value) &&
                snprintf(path, DEVICE_NAME, "/dev/%s", entry->d_name) < DEVICE_NAME;
    }
    if (directory)
        closedir(directory);
    return found;
}

static int listen_to_kernel(void)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = KERNEL_EVENTS};
    int events = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                        NETLINK_KOBJECT_UEVENT);

    if (events >= 0 && bind(events, (struct sockaddr *)&address, sizeof(address))) {
        close(events);
        return -1;
    }
    return events;
}

/* Wait for an event of the kernel. Some attributes get their values after it, hence the limit. */
static void wait_for_event(int events, long long deadline)
{
    struct pollfd event = {.fd = events, .events = POLLIN};
    char message[4096];
    int left = until(deadline);

    if (poll(&event, 1, left < LOOK_AGAIN ? left : LOOK_AGAIN) > 0)
        while (recv(events, message, sizeof(message), 0) > 0)
            ;
}

static int wait_for(const char *class, const char *attribute, const char *value, int milliseconds,
                    char path[DEVICE_NAME])
{
    long long deadline = now() + milliseconds;
    int events = listen_to_kernel();
    bool found;

    while (!(found = find(class, attribute, value, path)) && until(deadline))
        wait_for_event(events, deadline);
    if (events >= 0)
        close(events);
    return found ? 0 : -1;
}

int find_disk(const char *serial, int milliseconds, char path[DEVICE_NAME])
{
    return wait_for("/sys/block", "serial", serial, milliseconds, path);
}

int find_port(const char *name, int milliseconds, char path[DEVICE_NAME])
{
    return wait_for("/sys/class/virtio-ports", "name", name, milliseconds, path);
}
