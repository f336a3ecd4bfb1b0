// SPDX-License-Identifier: LGPL-2.1-or-later
/** Machines and the jobs about them in words. */
import type { Job, MachineDetails, Port } from "../service/values.ts";
import { _, fill } from "../translation.ts";

export interface StateText {
    readonly text: string;
    readonly color: "green" | "grey" | "red" | "orange" | "blue";
}

/** A state of ListDomains; one that is not known is shown as it is. */
export function stateText(state: string): StateText {
    switch (state) {
        case "created":
            return { text: _("Not started yet"), color: "grey" };
        case "running":
            return { text: _("Running"), color: "green" };
        case "paused":
            return { text: _("Paused"), color: "orange" };
        case "stopping":
            return { text: _("Stopping"), color: "blue" };
        case "stopped":
            return { text: _("Stopped"), color: "grey" };
        case "crashed":
            return { text: _("Crashed"), color: "red" };
        default:
            return { text: state, color: "grey" };
    }
}

/** What a job does with a machine; undefined if it is another job. */
export function jobText(job: Job): string | undefined {
    switch (job.kind) {
        case "start-domain":
            return _("Starting");
        case "stop-domain":
            return _("Stopping");
        case "remove-domain":
            return _("Removing");
        default:
            return undefined;
    }
}

/** What a job that makes a machine does. */
export function stageText(stage: string): string {
    switch (stage) {
        case "resolving":
            return _("Reading the image at its source");
        case "downloading":
            return _("Downloading the image");
        case "applying":
            return _("Building the layers of the image");
        case "registering":
            return _("Adding the image to the pool");
        case "customizing":
            return _("Creating the volume");
        case "preparing-boot":
            return _("Preparing the kernel");
        case "defining":
            return _("Creating the machine");
        case "starting":
            return _("Starting the machine");
        default:
            return _("Waiting for other jobs");
    }
}

/** The status that a shell would report, with its meaning if it has one. */
export function exitStatusText(status: number): string {
    if (status === 126) return _("126 (the command cannot be executed)");
    if (status === 127) return _("127 (the command was not found)");
    if (status > 128 && status <= 192) return fill(_("$0 (signal $1)"), status, status - 128);
    return String(status);
}

/** A published port, such as "8080 → 80/tcp". */
export function portText({ address, host, machine, protocol }: Port): string {
    const outside = address === "" ? String(host) : `${address.includes(":") ? `[${address}]` : address}:${host}`;
    return `${outside} → ${machine}/${protocol}`;
}

export function typeText(type: string): string {
    switch (type) {
        case "kvm":
            return _("Virtual machine (KVM)");
        case "qemu":
            return _("Virtual machine, emulated");
        case "lxc":
            return _("Container (LXC)");
        default:
            return type;
    }
}

export function bootText(details: MachineDetails): string {
    switch (details.boot) {
        case "disk":
            return _("The boot loader of its disk");
        case "image-initrd":
            return _("A kernel with the initrd of the image");
        case "own-initrd":
            return _("A kernel with virtlayer's initrd");
        case "container":
            return _("The kernel of the host");
        default:
            return details.boot;
    }
}
