// SPDX-License-Identifier: LGPL-2.1-or-later
/** Why something failed: an error of virtlayerd, or a service that cannot be reached. */
import { Malformed } from "./parsing.ts";

const PREFIX = "org.virtlayer1.Error.";

/** A call that failed, or a job that did. */
export class Failure extends Error {
    /**
     * @param kind the error's name after org.virtlayer1.Error., such as "NotAuthorized"; for other errors
     *     the whole name on D-Bus, or the `problem` of Cockpit's channel.
     * @param message what failed, why and what to do, in the service's words.
     */
    constructor(
        readonly kind: string,
        message: string,
    ) {
        super(message);
        this.name = "Failure";
    }
}

/** The kind of an error's name on D-Bus. */
export function kindOf(name: string): string {
    return name.startsWith(PREFIX) ? name.slice(PREFIX.length) : name;
}

/** What cockpit.dbus throws, as a Failure. */
export function failureOf(error: unknown): Failure {
    if (error instanceof Failure) return error;
    if (error instanceof Malformed) return new Failure("malformed", error.message);
    if (typeof error === "object" && error !== null) {
        const { name, problem, message } = error as Partial<cockpit.DBusError>;
        if (problem) return new Failure(problem, message ?? problem);
        return new Failure(kindOf(name ?? "unknown"), message ?? String(name));
    }
    return new Failure("unknown", String(error));
}

/** Why nothing can be shown of a service, or not all. */
export interface Problem {
    readonly kind:
        | "no-bus" // The bus cannot be reached, as where a user has no session.
        | "not-installed"
        | "not-running" // It is installed, but the bus could not start it.
        | "no-libvirt"
        | "not-permitted"
        | "gone" // The service has exited, or has not answered in time.
        | "disconnected" // Cockpit's own connection is lost; its shell says so.
        | "malformed" // The service does not keep to its interface.
        | "other";
    readonly message: string;
}

/** The problem that a failed look at a service shows. */
export function problemOf(error: unknown): Problem {
    const { kind, message } = failureOf(error);
    switch (kind) {
        case "Libvirt":
        case "PoolUnavailable": // What it is called if libvirt cannot be connected to.
            return { kind: "no-libvirt", message };
        case "NotAuthorized":
        case "org.freedesktop.DBus.Error.AccessDenied":
        case "access-denied":
            return { kind: "not-permitted", message };
        case "org.freedesktop.DBus.Error.ServiceUnknown":
            return { kind: "not-installed", message };
        case "org.freedesktop.DBus.Error.NoReply":
            return { kind: "gone", message };
        case "disconnected":
        case "malformed":
            return { kind, message };
        case "org.freedesktop.DBus.Error.TimedOut":
            return { kind: "not-running", message };
        default:
            return { kind: isOfActivation(kind) ? "not-running" : "other", message };
    }
}

/** What the bus, or systemd for it, answers to a call when it cannot start the service. */
function isOfActivation(kind: string): boolean {
    return kind.startsWith("org.freedesktop.DBus.Error.Spawn.") || kind.startsWith("org.freedesktop.systemd1.");
}
