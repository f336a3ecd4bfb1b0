// SPDX-License-Identifier: LGPL-2.1-or-later
/** What virtlayerd has, made up for tests. */
import { UNKNOWN, type ServiceState } from "../src/service/state.ts";
import type { Image, Machine, Usage, Volume } from "../src/service/values.ts";

/** An image with a layer in each of these volumes, base first. */
export function anImage(name: string, volumes: readonly string[] = ["base"], rest: Partial<Image> = {}): Image {
    return {
        path: `/org/virtlayer1/image/${name}`,
        name,
        pool: "default",
        source: `docker://docker.io/library/${name}`,
        digest: `sha256:${"5".repeat(64)}`,
        imageId: `sha256:${"6".repeat(64)}`,
        os: "linux",
        architecture: "amd64",
        volume: volumes.at(-1) ?? "",
        layers: volumes.map((volume) => ({ diffId: `sha256:${volume}`, volume, bytes: 100 })),
        config: "",
        policyScope: "default",
        unsignedAccepted: true,
        size: 8 * 1024 ** 3,
        pulledAt: 1_700_000_000_000,
        broken: "",
        formerVersions: [],
        ...rest,
    };
}

export function aVolume(name: string, kind: string, size = 0, image = ""): Volume {
    return { name, kind, image, format: "qcow2", size };
}

export function aMachine(name: string, image: string, pool = "default"): Machine {
    return { name, uuid: name, state: "running", pool, image };
}

export function aUsage(images: Readonly<Record<string, readonly [number, number]>>): Usage {
    return {
        capacity: 0,
        available: 0,
        layers: 0,
        layersBytes: 0,
        sharedBytes: 0,
        volumes: 0,
        volumesBytes: 0,
        prunableLayers: 0,
        prunableBytes: 0,
        images: new Map(Object.entries(images).map(([name, [own, shared]]) => [name, { own, shared }])),
    };
}

/** A service that works, with these images and the volumes of these pools. */
export function aState(
    images: readonly Image[],
    volumes: Readonly<Record<string, readonly Volume[]>> = {},
    rest: Partial<ServiceState> = {},
): ServiceState {
    return {
        ...UNKNOWN,
        status: "ready",
        images,
        contents: new Map(Object.entries(volumes).map(([pool, all]) => [pool, { volumes: all, usage: undefined }])),
        ...rest,
    };
}
