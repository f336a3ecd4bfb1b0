// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * The part of Cockpit's base1/cockpit.js that this page uses.
 *
 * Source: the "API" chapter of Cockpit's guide, and base1/cockpit.js of Cockpit 337.
 */

declare namespace cockpit {
    /** A D-Bus variant: its signature and value. */
    interface Variant {
        t: string;
        v: unknown;
    }

    interface DBusOptions {
        bus: "system" | "session";
        superuser?: "try" | "require";
    }

    interface DBusCallOptions {
        /** The signature of the arguments: without it, the bridge introspects first. */
        type?: string;
        /** In milliseconds; without it, a call waits for ever. */
        timeout?: number;
    }

    interface DBusMatch {
        path?: string;
        path_namespace?: string;
        interface?: string;
        member?: string;
        arg0?: string;
    }

    type SignalHandler = (path: string, interface_name: string, member: string, args: unknown[]) => void;

    interface DBusError {
        /** The name of the error on D-Bus, or absent if the channel has closed. */
        name?: string | null;
        problem?: string | null;
        message: string;
    }

    interface DBusClient {
        call(path: string, interface_name: string, method: string, args: unknown[], options?: DBusCallOptions): Promise<unknown[]>;
        subscribe(match: DBusMatch, handler: SignalHandler): { remove(): void };
        wait(): Promise<void>;
        close(problem?: string): void;
        addEventListener(event: "owner", handler: (event: Event, owner: string | null) => void): void;
        addEventListener(event: "close", handler: (event: Event, options: { problem?: string; message?: string }) => void): void;
    }

    interface SpawnOptions {
        superuser?: "try" | "require";
        pty?: boolean;
        binary?: boolean;
        err?: "out" | "ignore" | "message";
        environ?: string[];
        window?: { rows: number; cols: number };
    }

    interface Channel<Data> {
        send(data: Data): void;
        control(options: { window?: { rows: number; cols: number }; command?: string }): void;
        close(problem?: string): void;
        addEventListener(event: "message", handler: (event: Event, data: Data) => void): void;
        addEventListener(
            event: "close",
            handler: (event: Event, options: { problem?: string; message?: string; "exit-status"?: number; "exit-signal"?: string }) => void,
        ): void;
    }

    interface ChannelOptions extends SpawnOptions {
        payload: "stream";
        spawn: string[];
    }

    interface Permission {
        /** null until it is known. */
        allowed: boolean | null;
        user: User | null;
        addEventListener(event: "changed", handler: () => void): void;
        removeEventListener(event: "changed", handler: () => void): void;
        close(): void;
    }

    interface User {
        id: number;
        name: string;
    }

    /** One of the browser's storages; its keys have a prefix. Logging out clears it. */
    interface AppStorage {
        prefixedKey(key: string): string;
        getItem(key: string): string | null;
        setItem(key: string, value: string): void;
    }

    interface Location {
        path: string[];
        options: Record<string, string | string[]>;
        go(path: string[], options?: Record<string, string>): void;
        replace(path: string[], options?: Record<string, string>): void;
    }
}

declare const cockpit: {
    dbus(name: string, options: cockpit.DBusOptions): cockpit.DBusClient;
    channel(options: cockpit.ChannelOptions & { binary: true }): cockpit.Channel<Uint8Array>;
    channel(options: cockpit.ChannelOptions): cockpit.Channel<string>;
    spawn(argv: string[], options?: cockpit.SpawnOptions): Promise<string>;
    permission(options: { admin: true }): cockpit.Permission;
    user(): Promise<cockpit.User>;
    gettext(text: string): string;
    ngettext(singular: string, plural: string, count: number): string;
    /** Replaces $0, $1, … */
    format(template: string, ...args: (string | number)[]): string;
    jump(path: string, host?: string): void;
    /** Of the packages whose conditions are met, by name; from manifests.js. */
    manifests: Readonly<Record<string, unknown>>;
    language: string;
    location: cockpit.Location;
    localStorage: cockpit.AppStorage;
    transport: { wait(callback: () => void): void; host: string };
    addEventListener(event: "locationchanged" | "visibilitychange", handler: () => void): void;
    removeEventListener(event: "locationchanged" | "visibilitychange", handler: () => void): void;
    hidden: boolean;
};
