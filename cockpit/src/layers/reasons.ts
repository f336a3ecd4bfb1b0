// SPDX-License-Identifier: LGPL-2.1-or-later
/** Why layers of an image would stay, and what prevents its removal. */
import type { Removal } from "../images/removal.ts";
import type { Image } from "../service/values.ts";
import type { ImageNode, MachineNode, TreeNode, VolumeNode } from "./tree.ts";

/** Layers that would stay because of the same images. */
export interface Staying {
    readonly volumes: readonly string[];
    readonly bytes: number;
    /** The names of the images; none if only a former version needs them. */
    readonly names: readonly string[];
}

/** The layers that would stay, by the images that need them; those of the most images first. */
export function stayingOf(image: Image, removal: Removal, nodes: ReadonlyMap<string, TreeNode>): readonly Staying[] {
    const found: { volumes: string[]; bytes: number; names: readonly string[] }[] = [];
    // From the base up: each layer is needed by the same images as the one below it, or by fewer.
    for (const { volume, bytes } of removal.kept.toReversed()) {
        const node = nodes.get(`layer ${volume}`);
        const names = node?.kind === "layer" ? node.images.map(({ name }) => name).filter((name) => name !== image.name) : [];
        const last = found.at(-1);
        if (last?.names.length === names.length) {
            last.volumes.push(volume);
            last.bytes += bytes;
        } else {
            found.push({ volumes: [volume], bytes, names });
        }
    }
    return found;
}

/** What is backed by the image and so prevents its removal; nothing if another name keeps its layers. */
export function usersOf(node: ImageNode, removal: Removal): readonly (VolumeNode | MachineNode)[] {
    if (removal.deleted.length === 0) return [];
    // A directory or a disk is a copy.
    return node.children.filter((user) => user.volume?.kind === "volume");
}
