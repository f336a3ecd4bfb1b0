/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What udhcpc calls when a lease begins or ends. It runs in the initrd, not in the image. */
#include "lease.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <net/route.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "names.h"

enum { LEAST_MTU = 576, MOST_MTU = 65535 };

static const char *given(const char *name)
{
    const char *value = getenv(name);

    return value ? value : "";
}

static bool take_address(const char *text, struct sockaddr *into)
{
    struct sockaddr_in address = {.sin_family = AF_INET};

    if (inet_pton(AF_INET, text, &address.sin_addr) != 1)
        return false;
    memcpy(into, &address, sizeof(address));
    return true;
}

static int set(int network, unsigned long call, const char *interface, const char *address)
{
    struct ifreq request = {0};

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
    if (!take_address(address, &request.ifr_addr))
        return 0;
    return ioctl(network, call, &request);
}

static int bring_up(int network, const char *interface)
{
    struct ifreq request = {0};

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
    if (ioctl(network, SIOCGIFFLAGS, &request))
        return -1;
    request.ifr_flags |= IFF_UP;
    return ioctl(network, SIOCSIFFLAGS, &request);
}

static void set_mtu(int network, const char *interface)
{
    struct ifreq request = {0};
    int mtu = atoi(given("mtu"));

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
    request.ifr_mtu = mtu;
    if (mtu >= LEAST_MTU && mtu <= MOST_MTU)
        ioctl(network, SIOCSIFMTU, &request);
}

static int add_route(int network, const char *interface, const char *target, const char *mask,
                     const char *router)
{
    char name[IFNAMSIZ];
    struct rtentry route = {.rt_flags = RTF_UP, .rt_dev = name};

    snprintf(name, sizeof(name), "%s", interface);
    if (!take_address(target, &route.rt_dst) || !take_address(mask, &route.rt_genmask))
        return -1;
    if (router && take_address(router, &route.rt_gateway))
        route.rt_flags |= RTF_GATEWAY;
    return ioctl(network, SIOCADDRT, &route) && errno != EEXIST ? -1 : 0;
}

/* A router outside the subnet, as passt can announce one, is reached through a route of its own. */
static void set_router(int network, const char *interface)
{
    char router[INET_ADDRSTRLEN];
    const char *routers = given("router");

    snprintf(router, sizeof(router), "%.*s", (int)strcspn(routers, " "), routers);
    if (!*router)
        return;
    if (!add_route(network, interface, "0.0.0.0", "0.0.0.0", router))
        return;
    if (add_route(network, interface, router, "255.255.255.255", NULL) ||
        add_route(network, interface, "0.0.0.0", "0.0.0.0", router))
        warn("cannot set the route to %s: %s", router, strerror(errno));
}

static int configure(int network, const char *interface, const char *directory)
{
    set_mtu(network, interface);
    if (set(network, SIOCSIFADDR, interface, given("ip")) ||
        set(network, SIOCSIFNETMASK, interface, given("subnet")) ||
        set(network, SIOCSIFBRDADDR, interface, given("broadcast"))) {
        warn("cannot set the address of %s: %s", interface, strerror(errno));
        return EXIT_FAILURE;
    }
    set_router(network, interface);
    write_hosts(directory, given("ip"));
    write_resolver(directory, *given("search") ? given("search") : given("domain"), given("dns"));
    note("%s has the address %s", interface, given("ip"));
    return EXIT_SUCCESS;
}

int apply_lease(const char *directory, const char *event)
{
    const char *interface = given("interface");
    int network = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int status = EXIT_SUCCESS;

    if (network < 0)
        return EXIT_FAILURE;
    if (!strcmp(event, "deconfig")) {
        set(network, SIOCSIFADDR, interface, "0.0.0.0");
        status = bring_up(network, interface) ? EXIT_FAILURE : EXIT_SUCCESS;
    } else if (!strcmp(event, "bound") || !strcmp(event, "renew")) {
        status = configure(network, interface, directory);
    }
    close(network);
    return status;
}
