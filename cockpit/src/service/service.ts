// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * One virtlayerd: its state, which follows the service's signals, and its methods.
 *
 * The service exits when it is idle. Its last state stays then, and the next call starts it again.
 */
import { connect, NAME, type Connection } from "./connection.ts";
import { failureOf, Failure, kindOf, problemOf } from "./failures.ts";
import { Objects } from "./objects.ts";
import * as parsing from "./parsing.ts";
import { isOver, UNKNOWN, type Contents, type ServiceState } from "./state.ts";
import type { Configured, Job, MachineDetails, Options, Outcome, Where } from "./values.ts";

const ROOT = "/org/virtlayer1";
const MANAGER = "org.virtlayer1.Manager";
const JOB = "org.virtlayer1.Job";
/** Changes in a row are looked at once, after so many milliseconds. */
const SETTLE = 300;

/** A job that a call has started. */
export interface Started {
    readonly path: string;
    /** Resolves when it has ended, in whatever way; rejects with a Failure if that cannot be learned. */
    ended(): Promise<Outcome>;
}

export class Service {
    #state: ServiceState = UNKNOWN;
    #connection: Connection | undefined;
    #objects = new Objects();
    readonly #listeners = new Set<() => void>();
    readonly #due = new Set<"pools" | "machines" | "contents">();
    #timer: ReturnType<typeof setTimeout> | undefined;

    constructor(readonly where: Where) {}

    readonly subscribe = (listener: () => void): (() => void) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
    };

    readonly snapshot = (): ServiceState => this.#state;

    /** Connects, again if it has failed before. */
    async start(): Promise<void> {
        this.stop();
        this.#change({ ...UNKNOWN });
        const connection = await connect(this.where, {
            signal: (path, member, args) => {
                this.#heard(path, member, args);
            },
            owner: (owner) => {
                this.#ownerChanged(owner);
            },
        });
        if (!connection.ok) {
            this.#change({ ...UNKNOWN, status: "failed", problem: connection.problem });
            return;
        }
        this.#connection = connection.value;
        await this.#load();
    }

    stop(): void {
        clearTimeout(this.#timer);
        this.#due.clear();
        this.#connection?.close();
        this.#connection = undefined;
    }

    /** Looks at what no signal tells: pools and machines that other programs have changed. */
    lookAgain(): void {
        this.#plan("pools", "machines", "contents");
    }

    pull(source: string, pool: string, options: Options): Promise<Started> {
        return this.#startJob("Pull", "ssa{sv}", source, pool, options);
    }

    createVolume(pool: string, image: string, volume: string, options: Options): Promise<Started> {
        return this.#startJob("CreateVolume", "sssa{sv}", pool, image, volume, options);
    }

    createDomain(pool: string, image: string, name: string, options: Options): Promise<Started> {
        return this.#startJob("CreateDomain", "sssa{sv}", pool, image, name, options);
    }

    startDomain(name: string): Promise<Started> {
        return this.#startJob("StartDomain", "sa{sv}", name, {});
    }

    stopDomain(name: string, options: Options = {}): Promise<Started> {
        return this.#startJob("StopDomain", "sa{sv}", name, options);
    }

    removeDomain(name: string, options: Options = {}): Promise<Started> {
        return this.#startJob("RemoveDomain", "sa{sv}", name, options);
    }

    removeImage(pool: string, image: string): Promise<Started> {
        return this.#startJob("RemoveImage", "ssa{sv}", pool, image, {});
    }

    removeVolume(pool: string, volume: string): Promise<Started> {
        return this.#startJob("RemoveVolume", "ssa{sv}", pool, volume, {});
    }

    prune(pool: string, options: Options = {}): Promise<Started> {
        return this.#startJob("Prune", "sa{sv}", pool, options);
    }

    populate(options: Options = {}): Promise<Started> {
        return this.#startJob("Populate", "a{sv}", options);
    }

    rescan(pool: string): Promise<Started> {
        return this.#startJob("Rescan", "sa{sv}", pool, {});
    }

    async tagImage(pool: string, image: string, name: string, options: Options = {}): Promise<void> {
        await this.#manager("TagImage", "sssa{sv}", pool, image, name, options);
    }

    async inspect(source: string, options: Options): Promise<Options> {
        const [description] = await this.#manager("Inspect", "sa{sv}", source, options);
        return parsing.options(description);
    }

    async describeMachine(name: string): Promise<MachineDetails> {
        const [description] = await this.#manager("DescribeDomain", "s", name);
        return parsing.machineDetails(description);
    }

    async configured(): Promise<readonly Configured[]> {
        const [images] = await this.#manager("ListConfigured", "");
        return parsing.array(images).map(parsing.configured);
    }

    /** Ends a job; resolves when it has ended. */
    async cancel(job: string): Promise<void> {
        await this.#call(job, JOB, "Cancel", "");
    }

    async #startJob(method: string, signature: string, ...args: unknown[]): Promise<Started> {
        const [, path] = await this.#manager(method, signature, ...args);
        const job = parsing.text(path);
        return { path: job, ended: () => this.#ended(job) };
    }

    async #ended(job: string): Promise<Outcome> {
        const [state, error, message, result] = await this.#call(job, JOB, "Wait", "");
        return {
            state: parsing.jobState(state),
            error: kindOf(parsing.text(error)),
            message: parsing.text(message),
            result: parsing.options(result),
        };
    }

    #manager(method: string, signature: string, ...args: unknown[]): Promise<unknown[]> {
        return this.#call(ROOT, MANAGER, method, signature, ...args);
    }

    async #call(path: string, iface: string, method: string, signature: string, ...args: unknown[]): Promise<unknown[]> {
        if (this.#connection === undefined) throw new Failure("disconnected", `${NAME} is not connected.`);
        try {
            return await this.#connection.client.call(path, iface, method, args, { type: signature });
        } catch (error) {
            throw failureOf(error);
        }
    }

    async #load(): Promise<void> {
        try {
            const [objects] = await this.#call(ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "");
            this.#objects = Objects.of(objects);
            const [properties] = await this.#call(ROOT, "org.freedesktop.DBus.Properties", "GetAll", "s", MANAGER);
            const { Version, LibvirtUri } = parsing.dictionary(properties);
            const pools = await this.#pools();
            const machines = await this.#machines();
            this.#change({
                ...this.#state,
                version: parsing.text(Version?.v),
                libvirtUri: parsing.text(LibvirtUri?.v),
                images: this.#objects.images(),
                jobs: this.#objects.jobs(),
                pools,
                machines,
                status: "ready",
                problem: undefined,
            });
            this.#plan("contents");
        } catch (error) {
            this.#change({ ...this.#state, status: "failed", problem: problemOf(error) });
        }
    }

    async #pools() {
        const [pools] = await this.#manager("ListPools", "");
        return parsing.array(pools).map(parsing.pool);
    }

    async #machines() {
        const [machines] = await this.#manager("ListDomains", "");
        return parsing.array(machines).map(parsing.machine);
    }

    async #contents(): Promise<ReadonlyMap<string, Contents>> {
        const contents = new Map<string, Contents>();
        const names = new Set(this.#state.images.map((image) => image.pool));
        for (const pool of this.#state.pools) if (pool.state === "running") names.add(pool.name);
        for (const pool of names) {
            try {
                const [volumes] = await this.#manager("ListVolumes", "s", pool);
                const [usage] = await this.#manager("DiskUsage", "s", pool);
                contents.set(pool, {
                    volumes: parsing.array(volumes).map(parsing.volume),
                    usage: parsing.usage(usage),
                });
            } catch (error) {
                // One pool that cannot be read must not hide the others.
                console.debug(`virtlayer: cannot read pool ${pool}:`, failureOf(error).message);
                contents.set(pool, { volumes: [], usage: undefined });
            }
        }
        return contents;
    }

    /** Looks at these a little later, once for all changes until then. */
    #plan(...what: ("pools" | "machines" | "contents")[]): void {
        for (const one of what) this.#due.add(one);
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => void this.#lookAtDue(), SETTLE);
    }

    async #lookAtDue(): Promise<void> {
        const due = new Set(this.#due);
        this.#due.clear();
        if (this.#state.status !== "ready") return;
        try {
            if (due.has("pools")) this.#change({ ...this.#state, pools: await this.#pools() });
            if (due.has("machines")) this.#change({ ...this.#state, machines: await this.#machines() });
            if (due.has("contents")) this.#change({ ...this.#state, contents: await this.#contents() });
        } catch (error) {
            const problem = problemOf(error);
            if (problem.kind === "no-libvirt") this.#change({ ...this.#state, status: "failed", problem });
        }
    }

    #ownerChanged(owner: string | null): void {
        if (this.#connection === undefined) return;
        if (owner === null) {
            // It took its jobs along. What it has in its pools is still there.
            this.#objects.forgetJobs();
            this.#change({ ...this.#state, jobs: [] });
        } else {
            void this.#load();
        }
    }

    #heard(path: string, member: string, args: unknown[]): void {
        switch (member) {
            case "InterfacesAdded":
                this.#objects.added(args);
                // A signal has no private properties.
                void this.#readPrivate(parsing.text(args[0]));
                break;
            case "InterfacesRemoved":
                this.#objects.removed(args);
                this.#plan("contents");
                break;
            case "PropertiesChanged":
                if (this.#objects.changed(path, args)) void this.#readPrivate(path);
                break;
            case "ProgressChanged":
                this.#objects.progressed(path, args);
                break;
            case "JobFinished":
                this.#plan("pools", "machines", "contents");
                return;
            case "DomainChanged":
                this.#plan("machines");
                return;
            default:
                return;
        }
        this.#publishObjects();
    }

    async #readPrivate(path: string): Promise<void> {
        const iface = this.#objects.interfaceOf(path);
        if (iface === undefined) return;
        try {
            const [properties] = await this.#call(path, "org.freedesktop.DBus.Properties", "GetAll", "s", iface);
            this.#objects.replaced(path, properties);
            this.#publishObjects();
        } catch (error) {
            // It is gone already; InterfacesRemoved says so.
            console.debug(`virtlayer: cannot read ${path}:`, failureOf(error).message);
        }
    }

    #publishObjects(): void {
        this.#change({ ...this.#state, images: this.#objects.images(), jobs: this.#objects.jobs() });
    }

    #change(state: ServiceState): void {
        this.#state = state;
        for (const listener of this.#listeners) listener();
    }
}

/** The jobs that have not ended. */
export function runningJobs(state: ServiceState): readonly Job[] {
    return state.jobs.filter((job) => !isOver(job));
}
