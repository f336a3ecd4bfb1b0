/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Process 1 of a machine. */
#include "machine.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "configuration.h"
#include "configuration_file.h"
#include "devices.h"
#include "log.h"
#include "modules.h"
#include "mounts.h"
#include "names.h"
#include "network.h"
#include "power.h"
#include "records.h"
#include "session.h"

#define CONFIGURATION_DISK "virtlayer-config"
#define ROOT_DISK "virtlayer-root"
#define OUTPUT_PORT "org.virtlayer.output.0"
#define INPUT_PORT "org.virtlayer.input.0"
#define NAMES "/files"
#define BUSYBOX "/bin/busybox"
#define INIT "/init"

/* Milliseconds: disks are there when their driver is loaded, ports come a little later. */
enum { DISK_WAIT = 300, PORT_WAIT = 5000, DRAIN = 10000 };

static void power_off_with(struct output *output, const struct failure *failure)
    __attribute__((noreturn));

static void power_off_with(struct output *output, const struct failure *failure)
{
    warn("%s", failure->text);
    put_failure(output, failure);
    drain_output(output, DRAIN);
    power_off();
}

/* Standard streams that are open: another file must not get their numbers. */
static void open_console(void)
{
    int opened = open("/dev/console", O_RDWR | O_NOCTTY), console;

    if (opened < 0)
        opened = open("/dev/null", O_RDWR);
    if (opened < 0)
        return;
    /* The number of opened is one of theirs if they are closed. */
    console = fcntl(opened, F_DUPFD, STDERR_FILENO + 1);
    close(opened);
    dup2(console, STDIN_FILENO);
    dup2(console, STDOUT_FILENO);
    dup2(console, STDERR_FILENO);
    close(console);
}

/* For the machine that only shows whether the kernel runs: there is nothing to start. */
static void power_off_without_configuration(void)
{
    note("there is no disk with a configuration: powering off");
    power_off();
}

static int open_port(const char *name, int milliseconds, int mode)
{
    char path[DEVICE_NAME];

    if (find_port(name, milliseconds, path))
        return -1;
    return open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void mount_root_disk(struct output *output)
{
    struct failure failure;
    char disk[DEVICE_NAME];

    if (!find_disk(ROOT_DISK, PORT_WAIT, disk)) {
        if (!mount_image(disk, &failure))
            return;
    } else {
        failed(&failure, STATUS_FAILED, "The machine has no disk with the image.");
    }
    power_off_with(output, &failure);
}

/*
 * The image's own init: it becomes process 1, on the console, and does the rest. Its environment has
 * what the kernel gives to process 1; nothing of the initrd stays in memory.
 */
static void run_own_init(struct configuration *configuration, struct output *output)
{
    struct failure failure;

    mount_root_disk(output);
    add_variable(configuration, "PATH", DEFAULT_PATH);
    add_variable(configuration, "HOME", "/");
    add_variable(configuration, "TERM", "linux");
    unlink(BUSYBOX);
    unlink(INIT);
    if (enter_image(&failure))
        power_off_with(output, &failure);
    put_record(output, RECORD_STARTED, "", 0);
    drain_output(output, DRAIN);
    umask(022);
    run_command(configuration, &failure);
    power_off_with(output, &failure);
}

static void run_entrypoint(struct configuration *configuration, struct output *output)
{
    struct session session = {.configuration = configuration, .output = output, .console = -1};
    struct failure failure;
    struct names names;
    char interface[IFNAMSIZ];
    bool has_network = configuration->dhcp && find_interface(interface);
    pid_t dhcp = 0;

    session.input_port = open_port(INPUT_PORT, PORT_WAIT, O_RDONLY);
    start_loopback();
    mount_root_disk(output);
    mount_names(NAMES);
    set_hostname(NAMES, configuration->hostname, NEW_ROOT);
    write_hosts(NAMES, "");
    write_resolver(NAMES, "", "");
    names = open_names(NAMES, has_network);
    if (has_network)
        dhcp = start_dhcp(BUSYBOX, INIT, interface, NAMES, configuration->hostname);
    if (enter_image(&failure))
        power_off_with(output, &failure);
    mount_rest();
    show_names(names);
    await_dhcp(dhcp);
    if (run_session(&session, &failure) < 0)
        power_off_with(output, &failure);
    drain_output(output, DRAIN);
    power_off();
}

void run_machine(void)
{
    struct configuration configuration;
    struct failure failure;
    struct output output;
    char disk[DEVICE_NAME];

    if (mount_initrd())
        power_off();
    open_console();
    load_modules("/modules");
    if (find_disk(CONFIGURATION_DISK, DISK_WAIT, disk))
        power_off_without_configuration();
    if (load_configuration(disk, &configuration, &failure)) {
        begin_output(&output, open_port(OUTPUT_PORT, PORT_WAIT, O_WRONLY), true);
        power_off_with(&output, &failure);
    }
    begin_output(&output, open_port(OUTPUT_PORT, configuration.is_init ? 0 : PORT_WAIT, O_WRONLY),
                 true);
    if (configuration.is_init)
        run_own_init(&configuration, &output);
    else
        run_entrypoint(&configuration, &output);
    power_off();
}
