// SPDX-License-Identifier: LGPL-2.1-or-later
/** What the removal of an image would delete, and what would stay. */
import type { ServiceState } from "../service/state.ts";
import type { FormerVersion, Image } from "../service/values.ts";

export interface LayerVolume {
    readonly volume: string;
    /** Of the topmost layer in it. */
    readonly diffId: string;
    /** What it takes of the pool; 0 if that is unknown. */
    readonly bytes: number;
}

export interface Removal {
    /** The layers that only this image has, the topmost first. */
    readonly deleted: readonly LayerVolume[];
    /** The layers that other images need, too; the topmost first. */
    readonly kept: readonly LayerVolume[];
    /** What `deleted` takes of the pool. */
    readonly bytes: number;
    /** They are removed with the image. Their layers are deleted unless something uses them. */
    readonly formerVersions: readonly FormerVersion[];
}

/**
 * What the removal of an image would do, as RemoveImage of dbus/org.virtlayer1.Manager.xml describes it.
 *
 * Both lists are empty for an image whose layers this user may not read. Layers that only a kept former
 * version of another image needs count as deleted, because the service does not tell them.
 */
export function removalOf(image: Image, state: ServiceState): Removal {
    const needed = neededByOthers(image, state.images);
    const volumes = state.contents.get(image.pool)?.volumes ?? [];
    const sizes = new Map(volumes.map((volume) => [volume.name, volume.size]));
    // A volume that has several layers is deleted, and takes its space, once.
    const tops = new Map(image.layers.map(({ volume, diffId }) => [volume, diffId]));
    const layers = [...tops].map(([volume, diffId]) => ({ volume, diffId, bytes: sizes.get(volume) ?? 0 })).reverse();
    const deleted = layers.filter(({ volume }) => !needed.has(volume));
    return {
        deleted,
        kept: layers.filter(({ volume }) => needed.has(volume)),
        bytes: deleted.reduce((sum, layer) => sum + layer.bytes, 0),
        formerVersions: image.formerVersions,
    };
}

/** The volumes that other images of the pool need. */
function neededByOthers(image: Image, images: readonly Image[]): ReadonlySet<string> {
    const needed = new Set<string>();
    for (const other of images) {
        if (other.pool !== image.pool || other.name === image.name) continue;
        for (const { volume } of other.layers) needed.add(volume);
        for (const { volume, kept } of other.formerVersions) {
            if (!kept) continue;
            // Of a former version, only the top volume is known. If this image has it, it has all below it.
            const index = image.layers.findIndex((layer) => layer.volume === volume);
            for (const layer of image.layers.slice(0, index + 1)) needed.add(layer.volume);
        }
    }
    return needed;
}
