// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * Stands in for cockpit.js and a virtlayerd, for faults that the real ones cannot be brought to show.
 *
 * As in cockpit.js, replies and signals are handled in the order in which they came, and the code after an
 * `await` runs later than that.
 */

type Reply = unknown[] | Error | undefined;

export class FakeBus {
    /** The calls to the service, as "Method argument". */
    readonly calls: string[] = [];
    /** What methods answer; undefined leaves the call without an answer. */
    readonly replies = new Map<string, (args: unknown[]) => Reply>();
    readonly #waiting: { readonly call: string; answer(reply: Reply): void }[] = [];
    #signal: cockpit.SignalHandler = () => undefined;
    #owner: (event: Event, owner: string | null) => void = () => undefined;
    #close: (event: Event, options: { problem?: string; message?: string }) => void = () => undefined;

    constructor() {
        this.replies.set("NameHasOwner", () => [true]);
        this.replies.set("GetManagedObjects", () => [{}]);
        this.replies.set("GetAll org.virtlayer1.Manager", () => [{ Version: variant("s", "1"), LibvirtUri: variant("s", "test:") }]);
        this.replies.set("ListPools", () => [[["default", "dir", "running", 1000, 500]]]);
        this.replies.set("ListDomains", () => [[]]);
        this.replies.set("ListVolumes", () => [[]]);
        this.replies.set("DiskUsage", () => [{}]);
    }

    /** Makes this the bus of the page. */
    install(): void {
        Object.assign(globalThis, { cockpit: { dbus: () => this.#client(), spawn: () => Promise.resolve("") } });
    }

    signal(path: string, member: string, ...args: unknown[]): void {
        this.#signal(path, "", member, args);
    }

    owner(owner: string | null): void {
        this.#owner(new Event("owner"), owner);
    }

    close(problem: string): void {
        this.#close(new Event("close"), { problem, message: problem });
    }

    /** How many calls of this have been made. */
    count(call: string): number {
        return this.calls.filter((one) => one === call).length;
    }

    /** Answers the oldest call of this without an answer. */
    answer(call: string, reply: Reply): void {
        const index = this.#waiting.findIndex((one) => one.call === call);
        const [waiting] = this.#waiting.splice(index, 1);
        if (index < 0 || waiting === undefined) throw new Error(`nothing waits for ${call}`);
        waiting.answer(reply);
    }

    #client(): cockpit.DBusClient {
        return {
            call: (_path, _iface, method, args) => this.#call(method, args),
            subscribe: (_match, handler) => {
                this.#signal = handler;
                return { remove: () => undefined };
            },
            wait: () => Promise.resolve(),
            close: () => undefined,
            addEventListener: (event: "owner" | "close", handler: never) => {
                if (event === "owner") this.#owner = handler;
                else this.#close = handler;
            },
        };
    }

    #call(method: string, args: unknown[]): Promise<unknown[]> {
        const call = [method, ...args.filter((arg) => typeof arg === "string")].join(" ");
        this.calls.push(call);
        const promise = new Deferred();
        const answer = (reply: Reply) => {
            promise.settle(reply);
        };
        const reply = (this.replies.get(call) ?? this.replies.get(method))?.(args);
        if (reply === undefined) this.#waiting.push({ call, answer });
        else queueMicrotask(() => {
            answer(reply);
        });
        return promise as unknown as Promise<unknown[]>;
    }
}

/** A promise whose callbacks are called at once when it is settled. */
class Deferred {
    readonly #callbacks: (() => void)[] = [];
    #reply: Reply;

    then(resolve: (reply: unknown[]) => void, reject: (error: unknown) => void): void {
        const callback = () => {
            if (this.#reply instanceof Error) reject(this.#reply);
            else resolve(this.#reply ?? []);
        };
        if (this.#reply === undefined) this.#callbacks.push(callback);
        else queueMicrotask(callback);
    }

    settle(reply: Reply): void {
        this.#reply = reply;
        for (const callback of this.#callbacks) callback();
    }
}

export function variant(t: string, v: unknown): cockpit.Variant {
    return { t, v };
}

/** An error of the service, as cockpit.dbus throws it. */
export function busError(name: string, message = name): Error {
    return Object.assign(new Error(message), { name, problem: null });
}

/** The properties of an image that everybody may read. */
export function image(name: string, more: Record<string, cockpit.Variant> = {}): Record<string, Record<string, cockpit.Variant>> {
    return { "org.virtlayer1.Image": { Name: variant("s", name), Pool: variant("s", "default"), ...more } };
}

export function job(id: number, state: string, more: Record<string, cockpit.Variant> = {}): Record<string, Record<string, cockpit.Variant>> {
    return { "org.virtlayer1.Job": { Id: variant("u", id), Kind: variant("s", "pull"), State: variant("s", state), ...more } };
}
