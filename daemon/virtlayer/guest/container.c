/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Process 1 of a container of libvirt-LXC, which has made its namespaces, its root directory, /proc,
 * /sys, /dev, and a console that is the standard streams.
 */
#include "container.h"

#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include "clock.h"
#include "configuration_file.h"
#include "log.h"
#include "mounts.h"
#include "names.h"
#include "network.h"
#include "session.h"

#define NAMES "/dev/.virtlayer"

/* In milliseconds. libvirt 11.3 fails to start a container that ends before libvirt has connected
 * to its monitor: "Failed to connect socket". */
enum { DRAIN = 10000, SHORTEST_LIFE = 1000 };

static int end(int status, long long started)
{
    poll(NULL, 0, until(started + SHORTEST_LIFE));
    return status;
}

static int give_up(struct output *output, const struct failure *failure)
{
    warn("%s", failure->text);
    put_failure(output, failure);
    drain_output(output, DRAIN);
    return failure->status;
}

/*
 * The console, if there is one. With a terminal for the entrypoint, that one has the settings, and
 * the console passes everything on.
 */
static int open_console(bool raw)
{
    struct termios settings;
    int console = STDIN_FILENO;

    if (tcgetattr(console, &settings))
        return -1;
    if (raw) {
        cfmakeraw(&settings);
        tcsetattr(console, TCSANOW, &settings);
    }
    return fcntl(console, F_SETFL, O_NONBLOCK) ? -1 : fcntl(console, F_DUPFD_CLOEXEC, 3);
}

static void set_up(const struct container *container, const struct configuration *configuration)
{
    char interface[IFNAMSIZ];
    bool has_network = container->busybox && configuration->dhcp && find_interface(interface);
    struct names names;
    pid_t dhcp = 0;

    start_loopback();
    mount_rest();
    mount_names(NAMES);
    set_hostname(NAMES, configuration->hostname, "/");
    write_hosts(NAMES, "");
    write_resolver(NAMES, "", "");
    names = open_names(NAMES, has_network);
    if (has_network)
        dhcp = start_dhcp(container->busybox, container->init, interface, NAMES,
                          configuration->hostname);
    show_names(names);
    await_dhcp(dhcp);
}

int run_container(const struct container *container)
{
    struct configuration configuration;
    struct session session = {.configuration = &configuration, .input_port = -1};
    struct failure failure;
    struct output output;
    long long started = now();
    int status;

    begin_output(&output, open(container->output, O_WRONLY | O_APPEND | O_NOCTTY | O_CLOEXEC),
                 false);
    if (load_configuration(container->configuration, &configuration, &failure))
        return end(give_up(&output, &failure), started);
    set_up(container, &configuration);
    session.output = &output;
    session.console = open_console(configuration.terminal);
    status = run_session(&session, &failure);
    if (status < 0)
        return end(give_up(&output, &failure), started);
    drain_output(&output, DRAIN);
    return end(status, started);
}
