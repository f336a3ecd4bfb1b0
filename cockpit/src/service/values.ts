// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * What virtlayerd has, as plain values. Times are in milliseconds since 1970, sizes in bytes.
 *
 * Source: dbus/org.virtlayer1.*.xml, which describes every field. A private field that this user may not
 * read is empty.
 */

/** Which virtlayerd: that of the system, or that of this user's session. */
export type Where = "system" | "session";

export interface Layer {
    readonly diffId: string;
    /** The name of its volume. */
    readonly volume: string;
    /** Compressed, at the source. */
    readonly bytes: number;
}

export interface FormerVersion {
    readonly source: string;
    readonly digest: string;
    readonly volume: string;
    readonly pulledAt: number;
    readonly replacedAt: number;
    readonly kept: boolean;
}

export interface Image {
    readonly path: string;
    readonly name: string;
    readonly pool: string;
    readonly source: string;
    readonly digest: string;
    readonly imageId: string;
    readonly os: string;
    readonly architecture: string;
    /** The name of its top volume. */
    readonly volume: string;
    /** Base first. */
    readonly layers: readonly Layer[];
    /** The OCI config, JSON; empty if it has more than 64 KiB. */
    readonly config: string;
    readonly policyScope: string;
    readonly unsignedAccepted: boolean;
    /** Of its volumes, virtual. */
    readonly size: number;
    readonly pulledAt: number;
    /** What is wrong with it; empty if nothing is. */
    readonly broken: string;
    readonly formerVersions: readonly FormerVersion[];
}

export type JobState = "queued" | "running" | "done" | "failed" | "cancelled";

export interface Job {
    readonly path: string;
    readonly id: number;
    /** "pull", "create-volume", "remove", … */
    readonly kind: string;
    readonly source: string;
    readonly pool: string;
    readonly state: JobState;
    readonly stage: string;
    /** From 0 to 1. */
    readonly progress: number;
    readonly bytesDone: number;
    readonly bytesTotal: number;
    readonly layersDone: number;
    readonly layersTotal: number;
    /** The D-Bus name of its error; empty if none. */
    readonly error: string;
    readonly message: string;
    readonly result: Options;
    readonly startedBy: number;
    readonly startedAt: number;
    readonly finishedAt: number;
}

/** How a job has ended. */
export interface Outcome {
    readonly state: JobState;
    readonly error: string;
    readonly message: string;
    readonly result: Options;
}

export interface Pool {
    readonly name: string;
    /** "dir", "rbd", … */
    readonly kind: string;
    readonly state: string;
    readonly capacity: number;
    readonly available: number;
}

export interface Machine {
    readonly name: string;
    readonly uuid: string;
    /** "created", "running", "paused", "stopping", "stopped" or "crashed". */
    readonly state: string;
    readonly pool: string;
    readonly image: string;
}

export interface Port {
    readonly address: string;
    readonly host: number;
    readonly machine: number;
    readonly protocol: "tcp" | "udp";
}

export interface MachineDetails extends Machine {
    readonly digest: string;
    readonly volume: string;
    readonly type: string;
    readonly boot: string;
    /** Whether it has an exit status, and outputs of its own. */
    readonly streams: boolean;
    readonly memory: number;
    readonly vcpus: number;
    readonly ephemeral: boolean;
    readonly autostart: boolean;
    readonly addresses: readonly string[];
    readonly ports: readonly Port[];
    /** undefined while its program runs, and for an image with its own init. */
    readonly exitStatus: number | undefined;
}

export interface Volume {
    readonly name: string;
    /** "layer", "volume", "directory", "disk", "boot" or "configuration". */
    readonly kind: string;
    /** The image it was created from; empty for a layer. */
    readonly image: string;
    readonly format: string;
    readonly size: number;
}

/** What a pool holds of virtlayer's. */
export interface Usage {
    readonly capacity: number;
    readonly available: number;
    readonly layers: number;
    readonly layersBytes: number;
    readonly sharedBytes: number;
    readonly volumes: number;
    readonly volumesBytes: number;
    readonly prunableLayers: number;
    readonly prunableBytes: number;
    /** By the name of the image. */
    readonly images: ReadonlyMap<string, ImageUsage>;
}

export interface ImageUsage {
    /** Of layers that only this image has. */
    readonly own: number;
    readonly shared: number;
}

/** An image of images.d. */
export interface Configured {
    readonly file: string;
    readonly pool: string;
    readonly name: string;
    readonly source: string;
    readonly digest: string;
    readonly pulledAt: number;
    readonly checkedAt: number;
    readonly dueAt: number;
    readonly versions: number;
    readonly error: string;
    readonly message: string;
}

/** What an update of the configured images has done with one of them. */
export interface PopulateOutcome {
    readonly file: string;
    readonly name: string;
    /** "new", "updated", "replaced", "repaired", "unchanged", "not-due" or "failed". */
    readonly outcome: string;
    readonly error: string;
    readonly message: string;
}

/** Options of a call, or a result: an a{sv}. */
export type Options = Readonly<Record<string, cockpit.Variant>>;
