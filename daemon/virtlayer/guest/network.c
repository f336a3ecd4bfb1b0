/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The network: loopback, and DHCP for IPv4 by busybox. */
#include "network.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "devices.h"
#include "lease.h"
#include "log.h"

#define INTERFACES "/sys/class/net"

/* udhcpc asks four times, each second, before it goes to the background. */
#define ATTEMPTS "4"
#define PAUSE "1"
enum { MOST_WAIT = 8000 }; /* milliseconds; with what it takes to start it */

void start_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int network = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    /* The kernel gives it its addresses. */
    if (network < 0 || ioctl(network, SIOCSIFFLAGS, &request))
        warn("cannot start the loopback interface: %s", strerror(errno));
    if (network >= 0)
        close(network);
}

static bool is_ethernet(const char *name)
{
    char path[PATH_MAX], text[16];

    snprintf(path, sizeof(path), INTERFACES "/%s/type", name);
    return read_attribute(path, text, sizeof(text)) >= 0 && atoi(text) == ARPHRD_ETHER;
}

bool find_interface(char name[IFNAMSIZ])
{
    DIR *directory = opendir(INTERFACES);
    const struct dirent *entry;
    bool found = false;

    while (directory && (entry = readdir(directory)))
        if (entry->d_name[0] != '.' && strlen(entry->d_name) < IFNAMSIZ &&
            is_ethernet(entry->d_name) && (!found || strcmp(entry->d_name, name) < 0)) {
            strcpy(name, entry->d_name);
            found = true;
        }
    if (directory)
        closedir(directory);
    return found;
}

static void run_dhcp(const char *busybox, char *script, char *interface, const char *hostname)
{
    char option[128];
    /* -b: to the background after the attempts. What it says is of no use to the user. */
    char *arguments[] = {"udhcpc", "-b",    "-i", interface, "-s",          script,
                         "-t",     ATTEMPTS, "-T", PAUSE,     "-A",          "10",
                         "-O",     "search", "-O", "mtu",     "-O",          "staticroutes",
                         NULL,     option,   NULL};
    char *environment[] = {"PATH=/bin", NULL};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (*hostname) {
        snprintf(option, sizeof(option), "hostname:%s", hostname);
        arguments[sizeof(arguments) / sizeof(*arguments) - 3] = "-x";
    }
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
    }
    execve(busybox, arguments, environment);
    _exit(EXIT_FAILURE);
}

pid_t start_dhcp(const char *busybox, const char *init, char *interface, const char *directory,
                 const char *hostname)
{
    char script[PATH_MAX];
    pid_t process;

    snprintf(script, sizeof(script), "%s/" LEASE_SCRIPT, directory);
    if (symlink(init, script)) {
        warn("cannot create %s: %s", script, strerror(errno));
        return 0;
    }
    process = fork();
    if (!process)
        run_dhcp(busybox, script, interface, hostname);
    if (process < 0)
        warn("cannot start udhcpc: %s", strerror(errno));
    return process < 0 ? 0 : process;
}

void await_dhcp(pid_t process)
{
    long long deadline = now() + MOST_WAIT;
    sigset_t ends, before;
    int status = 0;

    if (!process)
        return;
    sigemptyset(&ends);
    sigaddset(&ends, SIGCHLD);
    sigprocmask(SIG_BLOCK, &ends, &before);
    while (!waitpid(process, &status, WNOHANG) && until(deadline)) {
        int left = until(deadline);
        struct timespec time = {left / 1000, left % 1000 * 1000000L};

        sigtimedwait(&ends, NULL, &time);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (status)
        warn("udhcpc failed");
}
