// SPDX-License-Identifier: LGPL-2.1-or-later
/** Turns what cockpit.dbus delivers into the values of values.ts, and checks its types on the way. */
import type {
    Configured,
    FormerVersion,
    Image,
    ImageUsage,
    Job,
    JobState,
    Layer,
    Machine,
    MachineDetails,
    Options,
    Pool,
    PopulateOutcome,
    Port,
    Usage,
    Volume,
} from "./values.ts";

/** The service has sent something of another type than its interface says. */
export class Malformed extends Error {
    /** @param expected such as "a string". */
    constructor(expected: string, value: unknown) {
        const sent = value === undefined ? "nothing" : JSON.stringify(value).slice(0, 100);
        super(`The service sent ${sent} instead of ${expected}.`);
        this.name = "Malformed";
    }
}

export type Properties = Readonly<Record<string, cockpit.Variant | undefined>>;

export function text(value: unknown): string {
    if (typeof value !== "string") throw new Malformed("a string", value);
    return value;
}

export function number(value: unknown): number {
    if (typeof value !== "number") throw new Malformed("a number", value);
    return value;
}

export function array(value: unknown): readonly unknown[] {
    if (!Array.isArray(value)) throw new Malformed("an array", value);
    return value;
}

/** The keys and values of a dictionary. */
export function entries(value: unknown): readonly [string, unknown][] {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
        throw new Malformed("a dictionary", value);
    }
    return Object.entries(value);
}

/** An a{sv}. */
export function dictionary(value: unknown): Properties {
    for (const [, item] of entries(value)) {
        if (typeof item !== "object" || item === null || !("t" in item) || !("v" in item)) {
            throw new Malformed("a variant", item);
        }
    }
    return value as Properties;
}

function textOf(properties: Properties, name: string): string {
    const value = properties[name];
    return value === undefined ? "" : text(value.v);
}

function numberOf(properties: Properties, name: string): number {
    const value = properties[name];
    return value === undefined ? 0 : number(value.v);
}

function booleanOf(properties: Properties, name: string): boolean {
    return properties[name]?.v === true;
}

function arrayOf(properties: Properties, name: string): readonly unknown[] {
    const value = properties[name];
    return value === undefined ? [] : array(value.v);
}

/** The last time that a Date can be. */
const END_OF_TIME = 8.64e15;

/** Microseconds since 1970 as milliseconds. */
function milliseconds(microseconds: number): number {
    return Math.min(Math.max(0, Math.round(microseconds / 1000)), END_OF_TIME);
}

function layer(value: unknown): Layer {
    const [diffId, volume, bytes] = array(value);
    return { diffId: text(diffId), volume: text(volume), bytes: number(bytes) };
}

function formerVersion(value: unknown): FormerVersion {
    const [source, digest, volume, pulledAt, replacedAt, kept] = array(value);
    return {
        source: text(source),
        digest: text(digest),
        volume: text(volume),
        pulledAt: milliseconds(number(pulledAt)),
        replacedAt: milliseconds(number(replacedAt)),
        kept: kept === true,
    };
}

/** From the properties of org.virtlayer1.Image. */
export function image(path: string, properties: Properties): Image {
    return {
        path,
        name: textOf(properties, "Name"),
        pool: textOf(properties, "Pool"),
        source: textOf(properties, "Source"),
        digest: textOf(properties, "Digest"),
        imageId: textOf(properties, "ImageId"),
        os: textOf(properties, "Os"),
        architecture: textOf(properties, "Architecture"),
        volume: textOf(properties, "Volume"),
        layers: arrayOf(properties, "Layers").map(layer),
        config: textOf(properties, "Config"),
        policyScope: textOf(properties, "PolicyScope"),
        unsignedAccepted: booleanOf(properties, "UnsignedAccepted"),
        size: numberOf(properties, "Size"),
        pulledAt: milliseconds(numberOf(properties, "PulledAt")),
        broken: textOf(properties, "Broken"),
        formerVersions: arrayOf(properties, "FormerVersions").map(formerVersion),
    };
}

const JOB_STATES: readonly JobState[] = ["queued", "running", "done", "failed", "cancelled"];

export function jobState(value: unknown): JobState {
    const state = JOB_STATES.find((known) => known === value);
    if (state === undefined) throw new Malformed("the state of a job", value);
    return state;
}

/** From the properties of org.virtlayer1.Job. */
export function job(path: string, properties: Properties): Job {
    return {
        path,
        id: numberOf(properties, "Id"),
        kind: textOf(properties, "Kind"),
        source: textOf(properties, "Source"),
        pool: textOf(properties, "Pool"),
        state: jobState(properties.State?.v),
        stage: textOf(properties, "Stage"),
        progress: numberOf(properties, "Progress"),
        bytesDone: numberOf(properties, "BytesDone"),
        bytesTotal: numberOf(properties, "BytesTotal"),
        layersDone: numberOf(properties, "LayersDone"),
        layersTotal: numberOf(properties, "LayersTotal"),
        error: textOf(properties, "Error"),
        message: textOf(properties, "Message"),
        result: options(properties.Result?.v ?? {}),
        startedBy: numberOf(properties, "StartedBy"),
        startedAt: milliseconds(numberOf(properties, "StartedAt")),
        finishedAt: milliseconds(numberOf(properties, "FinishedAt")),
    };
}

export function options(value: unknown): Options {
    return dictionary(value) as Options;
}

export function pool(value: unknown): Pool {
    const [name, kind, state, capacity, available] = array(value);
    return {
        name: text(name),
        kind: text(kind),
        state: text(state),
        capacity: number(capacity),
        available: number(available),
    };
}

export function machine(value: unknown): Machine {
    const [name, uuid, state, pool_name, image_name] = array(value);
    return { name: text(name), uuid: text(uuid), state: text(state), pool: text(pool_name), image: text(image_name) };
}

function port(value: unknown): Port {
    const [address, host, machine_port, protocol] = array(value);
    return {
        address: text(address),
        host: number(host),
        machine: number(machine_port),
        protocol: protocol === "udp" ? "udp" : "tcp",
    };
}

/** From the reply of DescribeDomain. */
export function machineDetails(value: unknown): MachineDetails {
    const description = dictionary(value);
    const exitStatus = description["exit-status"];
    return {
        name: textOf(description, "name"),
        uuid: textOf(description, "uuid"),
        state: textOf(description, "state"),
        pool: textOf(description, "pool"),
        image: textOf(description, "image"),
        digest: textOf(description, "digest"),
        volume: textOf(description, "volume"),
        type: textOf(description, "type"),
        boot: textOf(description, "boot"),
        streams: booleanOf(description, "streams"),
        memory: numberOf(description, "memory"),
        vcpus: numberOf(description, "vcpus"),
        ephemeral: booleanOf(description, "ephemeral"),
        autostart: booleanOf(description, "autostart"),
        addresses: arrayOf(description, "addresses").map(text),
        ports: arrayOf(description, "ports").map(port),
        exitStatus: exitStatus === undefined ? undefined : number(exitStatus.v),
    };
}

export function volume(value: unknown): Volume {
    const [name, kind, image_name, format, size] = array(value);
    return { name: text(name), kind: text(kind), image: text(image_name), format: text(format), size: number(size) };
}

/** From the reply of DiskUsage. */
export function usage(value: unknown): Usage {
    const description = dictionary(value);
    const images = new Map<string, ImageUsage>();
    for (const item of arrayOf(description, "images")) {
        const [name, own, shared] = array(item);
        images.set(text(name), { own: number(own), shared: number(shared) });
    }
    return {
        capacity: numberOf(description, "capacity"),
        available: numberOf(description, "available"),
        layers: numberOf(description, "layers"),
        layersBytes: numberOf(description, "layers-bytes"),
        sharedBytes: numberOf(description, "shared-bytes"),
        volumes: numberOf(description, "volumes"),
        volumesBytes: numberOf(description, "volumes-bytes"),
        prunableLayers: numberOf(description, "prunable-layers"),
        prunableBytes: numberOf(description, "prunable-bytes"),
        images,
    };
}

/** From an item of the reply of ListConfigured. */
export function configured(value: unknown): Configured {
    const description = dictionary(value);
    return {
        file: textOf(description, "file"),
        pool: textOf(description, "pool"),
        name: textOf(description, "name"),
        source: textOf(description, "source"),
        digest: textOf(description, "digest"),
        pulledAt: milliseconds(numberOf(description, "pulled-at")),
        checkedAt: milliseconds(numberOf(description, "checked-at")),
        dueAt: milliseconds(numberOf(description, "due-at")),
        versions: numberOf(description, "versions"),
        error: textOf(description, "error"),
        message: textOf(description, "message"),
    };
}

/** From the result of a populate: what it has done with each image. */
export function populated(result: Options): readonly PopulateOutcome[] {
    return arrayOf(result, "images").map((value) => {
        const description = dictionary(value);
        return {
            file: textOf(description, "file"),
            name: textOf(description, "name"),
            outcome: textOf(description, "outcome"),
            error: textOf(description, "error"),
            message: textOf(description, "message"),
        };
    });
}
