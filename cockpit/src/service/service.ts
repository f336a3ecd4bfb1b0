// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * One virtlayerd: its state, which follows the service's signals, and its methods.
 *
 * The service exits when it is idle. Its last state stays then, and the next call starts it again.
 */
import { connect, NAME, type Call, type Connection } from "./connection.ts";
import { Failure, problemOf, type Problem } from "./failures.ts";
import { Look, Slots } from "./looks.ts";
import { MANAGER, Methods, ROOT } from "./methods.ts";
import { Objects, Signalled } from "./objects.ts";
import * as parsing from "./parsing.ts";
import { isOver, UNKNOWN, type Contents, type ServiceState } from "./state.ts";
import type { Job, Where } from "./values.ts";

export type { Started } from "./methods.ts";

const PROPERTIES = "org.freedesktop.DBus.Properties";
/** In milliseconds. A service that has not answered then cannot be used; a pool cannot be read. */
const PATIENCE = 30_000;
/** How many pools and objects are read at a time: fewer than the calls that a user may have in flight. */
const AT_A_TIME = 4;

export class Service extends Methods {
    #state: ServiceState = UNKNOWN;
    #connection: Connection | undefined;
    /** What an earlier connection or load brings is dropped. */
    #attempt = 0;
    #load = 0;
    readonly #listeners = new Set<() => void>();
    readonly #objects = new Objects((error) => {
        this.#note(problemOf(error));
    });
    readonly #slots = new Slots(AT_A_TIME);
    readonly #pools = new Look(() => this.#lookAtPools());
    readonly #machines = new Look(() => this.#lookAtMachines());
    /** Progress arrives ten times a second and job; the page is not drawn as often. */
    readonly #progress = new Look(() => {
        this.#publishObjects();
        return Promise.resolve();
    });
    /** By the name of the pool. */
    readonly #contents = new Map<string, Look>();
    /** What signals tell while everything is read. */
    #signalled: Signalled | undefined;
    /** The objects whose properties are being read. */
    readonly #reading = new Set<string>();
    /** The first that did not keep to the interface. */
    #malformed: Problem | undefined;

    constructor(readonly where: Where) {
        super();
    }

    readonly subscribe = (listener: () => void): (() => void) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
    };

    readonly snapshot = (): ServiceState => this.#state;

    /** Connects, again if it has failed before; reads everything again if it is connected. */
    async start(): Promise<void> {
        if (this.#connection !== undefined && this.#state.status === "ready") {
            this.#change({ problem: undefined });
            await this.#loadAll();
            return;
        }
        this.stop();
        this.#malformed = undefined;
        const attempt = this.#attempt;
        const isCurrent = () => attempt === this.#attempt;
        this.#change(UNKNOWN);
        const connection = await connect(this.where, {
            signal: (path, member, args) => {
                if (isCurrent()) this.#heard(path, member, args);
            },
            owner: (owner) => {
                if (isCurrent()) this.#ownerChanged(owner);
            },
            closed: (problem) => {
                if (isCurrent()) this.#closed(problem);
            },
        });
        if (!isCurrent()) {
            if (connection.ok) connection.value.close();
        } else if (connection.ok) {
            this.#connection = connection.value;
            await this.#loadAll();
        } else {
            this.#change({ ...UNKNOWN, status: "failed", problem: connection.problem });
        }
    }

    stop(): void {
        this.#attempt += 1;
        this.#load += 1;
        this.#stopLooks();
        this.#connection?.close();
        this.#connection = undefined;
    }

    /** Looks at what no signal tells: pools and machines that other programs have changed. */
    lookAgain(): void {
        this.#pools.plan();
        this.#machines.plan();
        this.#planContents("");
    }

    /** Looks at machines, which other programs can have started or stopped while the service was out. */
    lookAtMachines(): void {
        this.#machines.plan();
    }

    protected ask<Value>(call: Call, use: (reply: unknown[]) => Value): Promise<Value> {
        if (this.#connection === undefined) {
            return Promise.reject(new Failure("disconnected", `The page is not connected to ${NAME}.`));
        }
        return this.#connection.call(call, use);
    }

    /** Reads everything. A failure leaves what is known already. */
    async #loadAll(): Promise<void> {
        this.#load += 1;
        const load = this.#load;
        const isCurrent = () => load === this.#load;
        const malformed = this.#malformed;
        const signalled = new Signalled();
        this.#signalled = signalled;
        try {
            await this.#askRoot("org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "", [], ([objects]) => {
                if (isCurrent()) this.#objects.replaceAll(objects, signalled);
            });
            const { Version, LibvirtUri } = await this.#askRoot(PROPERTIES, "GetAll", "s", [MANAGER], ([properties]) =>
                parsing.dictionary(properties),
            );
            const pools = await this.listPools();
            const machines = await this.listMachines();
            if (!isCurrent()) return;
            this.#signalled = undefined;
            this.#change({
                version: parsing.text(Version?.v),
                libvirtUri: parsing.text(LibvirtUri?.v),
                images: this.#objects.images(),
                jobs: this.#objects.jobs(),
                pools,
                machines,
                status: "ready",
                problem: this.#malformed === malformed ? undefined : this.#malformed,
            });
            this.#planContents("");
            for (const path of new Set([...this.#objects.incomplete(), ...signalled.changed])) void this.#read(path);
        } catch (error) {
            if (!isCurrent()) return;
            const status = this.#state.status === "ready" ? "ready" : "failed";
            this.#change({ status, problem: problemOf(error) });
        }
    }

    #askRoot<Value>(iface: string, method: string, signature: string, args: unknown[], use: (reply: unknown[]) => Value) {
        return this.ask({ path: ROOT, iface, method, signature, args, timeout: PATIENCE }, use);
    }

    async #lookAtPools(): Promise<void> {
        try {
            const pools = await this.listPools();
            const names = new Set(this.#poolNames(pools));
            const contents = new Map([...this.#state.contents].filter(([name]) => names.has(name)));
            const { problem } = this.#state;
            this.#change({ pools, contents, problem: problem?.kind === "no-libvirt" ? undefined : problem });
        } catch (error) {
            this.#note(problemOf(error));
        }
    }

    async #lookAtMachines(): Promise<void> {
        try {
            this.#change({ machines: await this.listMachines() });
        } catch (error) {
            this.#note(problemOf(error));
        }
    }

    /** Pools whose contents can be read, and those of images. */
    #poolNames(pools = this.#state.pools): string[] {
        const names = new Set(this.#state.images.map((image) => image.pool));
        for (const pool of pools) if (pool.state === "running") names.add(pool.name);
        return [...names];
    }

    /** @param pool "" for all pools. */
    #planContents(pool: string): void {
        if (this.#state.status !== "ready") return;
        for (const name of pool === "" ? this.#poolNames() : [pool]) {
            let look = this.#contents.get(name);
            if (look === undefined) {
                look = new Look(() => this.#lookAtPool(name));
                this.#contents.set(name, look);
            }
            look.plan();
        }
    }

    /** A pool that does not answer does not hinder the others, and is not asked again before it has answered. */
    async #lookAtPool(name: string): Promise<void> {
        const leave = await this.#slots.take();
        const publish = (contents: Contents) => {
            if (this.#state.status === "ready") this.#change({ contents: new Map(this.#state.contents).set(name, contents) });
        };
        const publishError = (error: unknown) => {
            const { kind, message } = problemOf(error);
            const volumes = this.#state.contents.get(name)?.volumes ?? [];
            if (kind !== "gone") publish({ volumes, usage: undefined, error: message });
        };
        const patience = setTimeout(() => {
            publishError(new Failure("timeout", `The pool "${name}" does not answer.`));
            leave();
        }, PATIENCE);
        try {
            publish({ volumes: await this.listVolumes(name), usage: await this.diskUsage(name) });
        } catch (error) {
            publishError(error);
        }
        clearTimeout(patience);
        leave();
    }

    #stopLooks(): void {
        for (const look of [this.#pools, this.#machines, this.#progress, ...this.#contents.values()]) look.stop();
    }

    #ownerChanged(owner: string | null): void {
        if (owner === null) {
            // It took its jobs along. What it has in its pools is still there; a look would start it again.
            this.#stopLooks();
            this.#objects.forgetJobs();
            this.#publishObjects();
        } else {
            void this.#loadAll();
        }
    }

    #closed(problem: Problem): void {
        this.stop();
        // Cockpit's shell says that its connection is lost, and lets the user connect again.
        if (problem.kind !== "disconnected") this.#change({ status: "failed", problem });
    }

    #heard(path: string, member: string, args: unknown[]): void {
        try {
            this.#follow(path, member, args);
        } catch (error) {
            this.#note(problemOf(error));
        }
    }

    #follow(path: string, member: string, args: unknown[]): void {
        switch (member) {
            case "InterfacesAdded": {
                const added = this.#objects.added(args);
                this.#signalled?.change(added);
                // A signal has no private properties.
                void this.#read(added);
                this.#contentsChanged(added);
                break;
            }
            case "InterfacesRemoved":
                this.#signalled?.remove(parsing.text(args[0]));
                this.#contentsChanged(parsing.text(args[0]));
                this.#objects.removed(args);
                break;
            case "PropertiesChanged":
                this.#signalled?.change(path);
                if (this.#objects.changed(path, args)) void this.#read(path);
                this.#contentsChanged(path);
                break;
            case "ProgressChanged":
                this.#objects.progressed(path, args);
                this.#progress.plan();
                return;
            case "JobFinished":
                this.#pools.plan();
                this.#machines.plan();
                this.#planContents(this.#objects.poolOf(parsing.text(args[1])));
                return;
            case "DomainChanged":
                this.#machines.plan();
                return;
            default:
                return;
        }
        this.#publishObjects();
    }

    /** An image is there, changed or gone. */
    #contentsChanged(path: string): void {
        const pool = this.#objects.imageAt(path)?.pool;
        if (pool !== undefined) this.#planContents(pool);
    }

    /** Reads all properties of an object, the private ones with them. */
    async #read(path: string): Promise<void> {
        const iface = this.#objects.interfaceOf(path);
        if (iface === undefined || this.#reading.has(path)) return;
        this.#reading.add(path);
        const leave = await this.#slots.take();
        // From here on, a change is read once more.
        this.#reading.delete(path);
        const call = { path, iface: PROPERTIES, method: "GetAll", signature: "s", args: [iface], timeout: PATIENCE };
        try {
            await this.ask(call, ([properties]) => {
                this.#objects.replaced(path, properties);
                this.#publishObjects();
            });
        } catch (error) {
            // InterfacesRemoved comes before the error of a call to what it is about.
            if (this.#objects.interfaceOf(path) !== undefined) this.#note(problemOf(error));
        }
        leave();
    }

    #publishObjects(): void {
        this.#change({ images: this.#objects.images(), jobs: this.#objects.jobs() });
    }

    /** Something went wrong that leaves the page usable. */
    #note(problem: Problem): void {
        if (problem.kind === "gone" || problem.kind === "disconnected") return;
        if (problem.kind === "malformed") {
            // Once: a service that keeps sending nonsense would bring back a notice that was closed.
            if (this.#malformed !== undefined) return;
            this.#malformed = problem;
        }
        if (this.#state.status === "ready") this.#change({ problem });
    }

    #change(changes: Partial<ServiceState>): void {
        this.#state = { ...this.#state, ...changes };
        for (const listener of this.#listeners) listener();
    }
}

/** The jobs that have not ended. */
export function runningJobs(state: ServiceState): readonly Job[] {
    return state.jobs.filter((job) => !isOver(job));
}
