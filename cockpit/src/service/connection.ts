// SPDX-License-Identifier: LGPL-2.1-or-later
/** The connection with one virtlayerd, through Cockpit's bridge. */
import { failureOf, problemOf, type Problem } from "./failures.ts";
import type { Where } from "./values.ts";

export const NAME = "org.virtlayer1";
const BUS = "org.freedesktop.DBus";

export interface Call {
    readonly path: string;
    readonly iface: string;
    readonly method: string;
    readonly signature: string;
    readonly args: unknown[];
    /** In milliseconds; without it, the call waits for ever. */
    readonly timeout?: number;
}

export interface Connection {
    /**
     * Calls a method, which starts the service if it does not run; rejects with a Failure.
     *
     * @param use gets the reply before any signal that the service has sent after it.
     */
    call<Value>(call: Call, use: (reply: unknown[]) => Value): Promise<Value>;
    close(): void;
}

export interface Listener {
    signal(path: string, member: string, args: unknown[]): void;
    /** null if the service has exited, which it does when it is idle. */
    owner(owner: string | null): void;
    /** The connection is lost. */
    closed(problem: Problem): void;
}

type Result = { readonly ok: true; readonly value: Connection } | { readonly ok: false; readonly problem: Problem };

/**
 * Starts the service if it does not run, and listens to it.
 *
 * The system's service is asked as root if the user has administrative access in Cockpit: Cockpit's bridge
 * does not let polkit ask for a password.
 */
export async function connect(where: Where, listener: Listener): Promise<Result> {
    const options: cockpit.DBusOptions = where === "system" ? { bus: where, superuser: "try" } : { bus: where };
    if (where === "session") {
        const problem = await findSessionBus();
        if (problem !== undefined) return { ok: false, problem };
    }
    const bus = cockpit.dbus(BUS, options);
    try {
        await bus.wait();
    } catch (error) {
        return { ok: false, problem: { kind: "no-bus", message: failureOf(error).message } };
    }
    const problem = await startService(bus);
    bus.close();
    if (problem !== undefined) return { ok: false, problem };

    const client = cockpit.dbus(NAME, options);
    try {
        await client.wait();
    } catch (error) {
        return { ok: false, problem: { kind: "not-running", message: failureOf(error).message } };
    }
    // The bridge adds the match before it makes the first call: no signal is lost between them.
    client.subscribe({ path_namespace: "/org/virtlayer1" }, (path, _iface, member, args) => {
        listener.signal(path, member, args);
    });
    client.addEventListener("owner", (_event, owner) => {
        listener.owner(owner);
    });
    let isClosed = false;
    client.addEventListener("close", (_event, { problem: kind, message }) => {
        if (isClosed) return;
        isClosed = true;
        listener.closed(problemOf({ problem: kind ?? "disconnected", message: message ?? kind ?? "disconnected" }));
    });
    return {
        ok: true,
        value: {
            call: ({ path, iface, method, signature, args, timeout }, use) =>
                // Not with await: cockpit.js calls signal handlers before the code after an await, even if the
                // signals came after the reply.
                new Promise((resolve, reject) => {
                    const options = timeout === undefined ? { type: signature } : { type: signature, timeout };
                    client.call(path, iface, method, args, options).then(
                        (reply) => {
                            try {
                                resolve(use(reply));
                            } catch (error) {
                                reject(failureOf(error));
                            }
                        },
                        (error: unknown) => {
                            reject(failureOf(error));
                        },
                    );
                }),
            close: () => {
                isClosed = true;
                client.close();
            },
        },
    };
}

/**
 * Looks whether the user has a session bus. Cockpit's bridge (337) does not survive it to be asked twice for one
 * that does not exist.
 */
async function findSessionBus(): Promise<Problem | undefined> {
    try {
        await cockpit.spawn(["busctl", "--user", "call", BUS, "/org/freedesktop/DBus", BUS, "GetId"], { err: "message" });
        return undefined;
    } catch (error) {
        return { kind: "no-bus", message: failureOf(error).message };
    }
}

/** Lets the bus start the service, which says more about a failure than Cockpit does. */
async function startService(bus: cockpit.DBusClient): Promise<Problem | undefined> {
    try {
        const [runs] = await bus.call("/org/freedesktop/DBus", BUS, "NameHasOwner", [NAME], { type: "s" });
        // dbus-daemon refuses this for a service that runs without an activation file.
        if (runs !== true) await bus.call("/org/freedesktop/DBus", BUS, "StartServiceByName", [NAME, 0], { type: "su" });
        return undefined;
    } catch (error) {
        const { kind, message } = failureOf(error);
        if (kind === `${BUS}.Error.ServiceUnknown`) return { kind: "not-installed", message };
        return { kind: "not-running", message };
    }
}
