// SPDX-License-Identifier: LGPL-2.1-or-later
/** The objects of org.freedesktop.DBus.ObjectManager: images and jobs with their properties. */
import * as parsing from "./parsing.ts";
import type { Image, Job } from "./values.ts";

const IMAGE = "org.virtlayer1.Image";
const JOB = "org.virtlayer1.Job";

interface Known {
    readonly iface: string;
    properties: parsing.Properties;
}

export class Objects {
    readonly #known = new Map<string, Known>();
    #images: readonly Image[] | undefined;
    #jobs: readonly Job[] | undefined;

    /** From the reply of GetManagedObjects. */
    static of(objects: unknown): Objects {
        const all = new Objects();
        for (const [path, interfaces] of Object.entries(objects as object)) all.added([path, interfaces]);
        return all;
    }

    /** By name and pool. The same array until one of them changes. */
    images(): readonly Image[] {
        this.#images ??= this.#of(IMAGE)
            .map(([path, properties]) => parsing.image(path, properties))
            .sort((one, other) => one.name.localeCompare(other.name) || one.pool.localeCompare(other.pool));
        return this.#images;
    }

    /** The oldest first. The same array until one of them changes. */
    jobs(): readonly Job[] {
        this.#jobs ??= this.#of(JOB)
            .map(([path, properties]) => parsing.job(path, properties))
            .sort((one, other) => one.id - other.id);
        return this.#jobs;
    }

    interfaceOf(path: string): string | undefined {
        return this.#known.get(path)?.iface;
    }

    /** InterfacesAdded. */
    added(args: readonly unknown[]): void {
        const path = parsing.text(args[0]);
        for (const [iface, properties] of Object.entries(args[1] as object)) {
            if (iface !== IMAGE && iface !== JOB) continue;
            this.#known.set(path, { iface, properties: parsing.dictionary(properties) });
            this.#forget(iface);
        }
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
        if (known === undefined || known.iface !== args[0]) return false;
        known.properties = { ...known.properties, ...parsing.dictionary(args[1]) };
        this.#forget(known.iface);
        return parsing.array(args[2]).length > 0;
    }

    /** ProgressChanged of a job. */
    progressed(path: string, args: readonly unknown[]): void {
        const known = this.#known.get(path);
        if (known?.iface !== JOB) return;
        const [progress, stage, done, total] = args;
        known.properties = {
            ...known.properties,
            Progress: { t: "d", v: progress },
            Stage: { t: "s", v: stage },
            BytesDone: { t: "t", v: done },
            BytesTotal: { t: "t", v: total },
        };
        this.#forget(JOB);
    }

    /** All properties of an object, read anew. */
    replaced(path: string, properties: unknown): void {
        const known = this.#known.get(path);
        if (known === undefined) return;
        known.properties = parsing.dictionary(properties);
        this.#forget(known.iface);
    }

    forgetJobs(): void {
        for (const [path, { iface }] of this.#known) if (iface === JOB) this.#known.delete(path);
        this.#forget(JOB);
    }

    #of(iface: string): [string, parsing.Properties][] {
        return [...this.#known].filter(([, known]) => known.iface === iface).map(([path, known]) => [path, known.properties]);
    }

    #forget(iface: string | undefined): void {
        if (iface === IMAGE) this.#images = undefined;
        if (iface === JOB) this.#jobs = undefined;
    }
}
