// SPDX-License-Identifier: LGPL-2.1-or-later
/** The objects of org.freedesktop.DBus.ObjectManager: images and jobs with their properties. */
import * as parsing from "./parsing.ts";
import type { Image, Job } from "./values.ts";

const IMAGE = "org.virtlayer1.Image";
const JOB = "org.virtlayer1.Job";

interface Known {
    readonly iface: string;
    readonly properties: parsing.Properties;
    /** undefined if the properties are malformed. */
    readonly image: Image | undefined;
    readonly job: Job | undefined;
}

/** The objects of signals. */
export class Signalled {
    readonly changed = new Set<string>();
    readonly removed = new Set<string>();

    change(path: string): void {
        this.changed.add(path);
        this.removed.delete(path);
    }

    remove(path: string): void {
        this.removed.add(path);
        this.changed.delete(path);
    }
}

export class Objects {
    readonly #known = new Map<string, Known>();
    #images: readonly Image[] | undefined;
    #jobs: readonly Job[] | undefined;

    /** @param malformed gets what is wrong with an object; the object is left out, and the others are not. */
    constructor(private readonly malformed: (error: parsing.Malformed) => void) {}

    /**
     * All of them anew, from the reply of GetManagedObjects, which can be older than signals before it.
     *
     * @param signalled what signals have told since the call: these objects stay as they are known.
     */
    replaceAll(objects: unknown, signalled: Signalled): void {
        for (const path of this.#known.keys()) if (!signalled.changed.has(path)) this.#known.delete(path);
        this.#images = undefined;
        this.#jobs = undefined;
        for (const [path, interfaces] of parsing.entries(objects)) {
            if (!this.#known.has(path) && !signalled.removed.has(path)) this.#add(path, interfaces);
        }
    }

    /** By name and pool. The same array until one of them changes. */
    images(): readonly Image[] {
        this.#images ??= this.#all((known) => known.image).sort(
            (one, other) => one.name.localeCompare(other.name) || one.pool.localeCompare(other.pool),
        );
        return this.#images;
    }

    /** The oldest first. The same array until one of them changes. */
    jobs(): readonly Job[] {
        this.#jobs ??= this.#all((known) => known.job).sort((one, other) => one.id - other.id);
        return this.#jobs;
    }

    interfaceOf(path: string): string | undefined {
        return this.#known.get(path)?.iface;
    }

    /** The pool of an image or a job; "" if that is not known. */
    poolOf(path: string): string {
        const known = this.#known.get(path);
        return known?.image?.pool ?? known?.job?.pool ?? "";
    }

    imageAt(path: string): Image | undefined {
        return this.#known.get(path)?.image;
    }

    /** Objects without properties that this user may read: a large reply of GetManagedObjects leaves some out. */
    incomplete(): readonly string[] {
        return [...this.#known].filter(([, known]) => isIncomplete(known)).map(([path]) => path);
    }

    /** InterfacesAdded; returns the path. */
    added(args: readonly unknown[]): string {
        const path = parsing.text(args[0]);
        this.#add(path, args[1]);
        return path;
    }

    /** InterfacesRemoved. */
    removed(args: readonly unknown[]): void {
        const path = parsing.text(args[0]);
        this.#forget(this.interfaceOf(path));
        this.#known.delete(path);
    }

    /** PropertiesChanged; returns whether some have to be read because the signal has no values of them. */
    changed(path: string, args: readonly unknown[]): boolean {
        const known = this.#known.get(path);
        if (known?.iface !== args[0] || known === undefined) return false;
        this.#set(path, known.iface, { ...known.properties, ...parsing.dictionary(args[1]) });
        return parsing.array(args[2]).length > 0;
    }

    /** ProgressChanged of a job. */
    progressed(path: string, args: readonly unknown[]): void {
        const known = this.#known.get(path);
        if (known?.iface !== JOB) return;
        const [progress, stage, done, total] = args;
        this.#set(path, JOB, {
            ...known.properties,
            Progress: { t: "d", v: progress },
            Stage: { t: "s", v: stage },
            BytesDone: { t: "t", v: done },
            BytesTotal: { t: "t", v: total },
        });
    }

    /** All properties of an object, read anew. */
    replaced(path: string, properties: unknown): void {
        const iface = this.interfaceOf(path);
        if (iface !== undefined) this.#set(path, iface, parsing.dictionary(properties));
    }

    forgetJobs(): void {
        for (const [path, { iface }] of this.#known) if (iface === JOB) this.#known.delete(path);
        this.#forget(JOB);
    }

    #add(path: string, interfaces: unknown): void {
        for (const [iface, properties] of parsing.entries(interfaces)) {
            if (iface !== IMAGE && iface !== JOB) continue;
            try {
                this.#set(path, iface, parsing.dictionary(properties));
            } catch (error) {
                this.#refuse(error);
            }
        }
    }

    #set(path: string, iface: string, properties: parsing.Properties): void {
        let image: Image | undefined;
        let job: Job | undefined;
        try {
            if (iface === IMAGE) image = parsing.image(path, properties);
            else job = parsing.job(path, properties);
        } catch (error) {
            this.#refuse(error);
        }
        this.#known.set(path, { iface, properties, image, job });
        this.#forget(iface);
    }

    #refuse(error: unknown): void {
        if (!(error instanceof parsing.Malformed)) throw error;
        this.malformed(error);
    }

    #all<Value>(of: (known: Known) => Value | undefined): Value[] {
        return [...this.#known.values()].map(of).filter((value) => value !== undefined);
    }

    #forget(iface: string | undefined): void {
        if (iface === IMAGE) this.#images = undefined;
        if (iface === JOB) this.#jobs = undefined;
    }
}

/** Who can read the source can read all private properties. */
function isIncomplete({ iface, properties }: Known): boolean {
    if (properties.Source === undefined) return false;
    return iface === IMAGE ? properties.Layers === undefined : properties.Result === undefined;
}
