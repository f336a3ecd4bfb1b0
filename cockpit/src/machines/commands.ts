// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * The commands that connect the page with a machine. Cockpit's bridge passes no descriptors, so OpenConsole
 * and OpenStreams are called by the command virtlayer.
 */
import type { Where } from "../service/values.ts";

function virtlayer(where: Where, ...words: string[]): string[] {
    return where === "session" ? ["virtlayer", "--user", ...words] : ["virtlayer", ...words];
}

export function consoleCommand(where: Where, machine: string): string[] {
    return virtlayer(where, "console", "--", machine);
}

/** @param lines only so many last lines; without it, about the last MiB. */
export function logsCommand(
    where: Where,
    machine: string,
    options: { readonly follow?: boolean; readonly kernel?: boolean; readonly lines?: number },
): string[] {
    return virtlayer(
        where,
        "logs",
        ...(options.follow === true ? ["--follow"] : []),
        ...(options.kernel === true ? ["--kernel"] : []),
        ...(options.lines === undefined ? [] : [`--tail=${options.lines}`]),
        "--",
        machine,
    );
}

/** How a channel of the bridge reaches the service: that of the system as root, if the user may. */
export function rightsOf(where: Where): { superuser?: "try" } {
    return where === "system" ? { superuser: "try" } : {};
}

/** The address of a machine in the page of cockpit-machines, for `cockpit.jump`. */
export function machinesPage(where: Where, machine: string): string {
    return `/machines#/vm?name=${encodeURIComponent(machine)}&connection=${where}`;
}
