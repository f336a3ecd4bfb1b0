// SPDX-License-Identifier: LGPL-2.1-or-later
/** What a problem of a service means for the user, and what to do. */
import type { Problem } from "./service/failures.ts";
import type { Where } from "./service/values.ts";
import { _ } from "./translation.ts";

export interface Explanation {
    readonly title: string;
    /** In the words of the service or of the bus; "" if the title says it all. */
    readonly why: string;
    readonly remedy: string;
    readonly commands: readonly string[];
}

export function explanationOf({ kind, message }: Problem, where: Where): Explanation {
    const isSystem = where === "system";
    const look = isSystem
        ? ["systemctl status virtlayerd", "journalctl -u virtlayerd"]
        : ["systemctl --user status virtlayerd", "journalctl --user -u virtlayerd"];
    switch (kind) {
        case "not-installed":
            return {
                title: _("virtlayer is not installed"),
                why: _("This page needs virtlayerd, which keeps container images in libvirt's storage pools."),
                remedy: _("Install the package virtlayer:"),
                commands: ["apt install virtlayer", "dnf install virtlayer"],
            };
        case "not-running":
            return {
                title: _("virtlayerd cannot be started"),
                why: message,
                remedy: _("These commands show the reason:"),
                commands: look,
            };
        case "no-libvirt":
            return {
                title: _("libvirt cannot be used"),
                why: message,
                remedy: isSystem
                    ? _("Install libvirt, and start libvirtd, or virtqemud and virtstoraged:")
                    : _("Install libvirt, and check that you can use it:"),
                commands: isSystem
                    ? [
                          "apt install libvirt-daemon-system",
                          "systemctl enable --now libvirtd.socket",
                          "systemctl enable --now virtqemud.socket virtstoraged.socket",
                      ]
                    : ["apt install libvirt-daemon-system", "virsh --connect qemu:///session pool-list --all"],
            };
        case "not-permitted":
            return {
                title: _("Permission denied"),
                why: message,
                remedy: _("Turn on administrative access at the top of the page, or ask an administrator."),
                commands: [],
            };
        case "no-bus":
            return {
                title: isSystem ? _("The system's message bus cannot be reached") : _("Your session has no message bus"),
                why: message,
                remedy: isSystem ? _("This command shows the reason:") : _("Log out and in again. This command shows your session:"),
                commands: [isSystem ? "systemctl status dbus" : "loginctl user-status"],
            };
        case "gone":
            return {
                title: _("virtlayerd does not answer"),
                why: message,
                remedy: _("These commands show the reason:"),
                commands: look,
            };
        case "malformed":
            return {
                title: _("virtlayerd has sent invalid data"),
                why: message,
                remedy: _("Some of its images or jobs are not shown. Install the same version of virtlayer and cockpit-virtlayer."),
                commands: [],
            };
        case "disconnected":
            return {
                title: _("The connection to this host is lost"),
                why: "",
                remedy: _("Reload the page."),
                commands: [],
            };
        case "other":
            return {
                title: _("virtlayerd cannot be used"),
                why: message,
                remedy: _("These commands show more:"),
                commands: look,
            };
    }
}

/** Whether users with one working service need not know: the other one is just not there. */
export function isExpected({ kind }: Problem): boolean {
    return kind === "no-bus" || kind === "not-installed";
}
