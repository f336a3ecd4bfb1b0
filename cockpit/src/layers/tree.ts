// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * The layers of a pool as trees: each layer on the layer that it is backed by, images on their top layer,
 * and the volumes and machines of an image on the image.
 *
 * The service's data can be wrong: chains that contradict each other, repeat a layer or are very long. Each
 * layer therefore gets its place once and keeps it, and nothing here is recursive.
 */
import type { FormerVersion, Image, Machine, Volume } from "../service/values.ts";

export interface LayerNode {
    readonly kind: "layer";
    readonly key: string;
    /** The name of its volume. */
    readonly volume: string;
    /** Base first; more than one if a volume has several layers, none if it is unknown. */
    readonly diffIds: readonly string[];
    /** What it takes of the pool; 0 if the pool lacks it. */
    readonly bytes: number;
    /** Compressed, at the source; 0 if unknown. */
    readonly compressed: number;
    readonly isMissing: boolean;
    /** The images that have it. */
    readonly images: readonly Image[];
    /** The former versions of images whose top layer it is. */
    readonly former: readonly FormerTop[];
    readonly children: readonly TreeNode[];
}

export interface FormerTop {
    readonly image: string;
    readonly version: FormerVersion;
}

export interface ImageNode {
    readonly kind: "image";
    readonly key: string;
    readonly image: Image;
    /** What its layers take of the pool. */
    readonly bytes: number;
    /** How many volumes it consists of. */
    readonly layers: number;
    readonly children: readonly (VolumeNode | MachineNode)[];
}

export interface VolumeNode {
    readonly kind: "volume";
    readonly key: string;
    readonly volume: Volume;
    readonly children: readonly [];
}

export interface MachineNode {
    readonly kind: "machine";
    readonly key: string;
    readonly machine: Machine;
    /** undefined if it has none in this pool. */
    readonly volume: Volume | undefined;
    readonly children: readonly [];
}

export interface GroupNode {
    readonly kind: "group";
    readonly key: "unused" | "unrelated";
    /** Layers that no image has, or volumes and machines whose image the pool lacks. */
    readonly children: readonly TreeNode[];
}

export type TreeNode = LayerNode | ImageNode | VolumeNode | MachineNode | GroupNode;

/** What a pool has. */
export interface PoolContents {
    readonly images: readonly Image[];
    readonly volumes: readonly Volume[];
    readonly machines: readonly Machine[];
}

/** A layer while the tree is built. */
interface Growing {
    readonly volume: string;
    readonly diffIds: string[];
    compressed: number;
    readonly below: Growing | undefined;
    readonly above: Growing[];
    readonly tops: Image[];
    readonly former: FormerTop[];
    readonly images: Set<Image>;
    /** It and all above it. */
    total: number;
}

/** The volumes of an image, base first and each once. */
export function chainOf(image: Image): readonly string[] {
    const names = new Set(image.layers.map(({ volume }) => volume));
    // A user who may not read the layers knows the top volume only.
    names.add(image.volume);
    names.delete("");
    return [...names];
}

/** The trees of a pool: the largest first, then what belongs to no image. */
export function forestOf({ images, volumes, machines }: PoolContents): readonly TreeNode[] {
    const sizes = new Map(volumes.map((volume) => [volume.name, volume.size]));
    const layers = new Map<string, Growing>();
    for (const image of images) addChain(layers, image);
    const unused = addFormer(layers, images);
    for (const { name, kind } of volumes) {
        if (kind === "layer" && !layers.has(name)) unused.push(add(layers, name, undefined));
    }
    const users = usersOf(volumes, machines);
    const imageNode = (image: Image): ImageNode => {
        const chain = chainOf(image);
        return {
            kind: "image",
            key: `image ${image.name}`,
            image,
            bytes: chain.reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0),
            layers: chain.length,
            children: users.get(image.name) ?? [],
        };
    };
    const nodes = finished(layers, sizes, imageNode);
    const outside = new Set(unused);
    const roots: TreeNode[] = sorted([...layers.values()].filter((layer) => layer.below === undefined && !outside.has(layer)))
        .map((layer) => nodes.get(layer))
        .filter((node) => node !== undefined);
    for (const image of images) if (chainOf(image).length === 0) roots.push(imageNode(image));
    const known = new Set(images.map(({ name }) => name));
    addGroup(roots, "unused", sorted(unused).map((layer) => nodes.get(layer)));
    addGroup(roots, "unrelated", [...users].filter(([image]) => !known.has(image)).flatMap(([, nodes]) => nodes));
    return roots;
}

function add(layers: Map<string, Growing>, volume: string, below: Growing | undefined): Growing {
    const layer: Growing = {
        volume,
        diffIds: [],
        compressed: 0,
        below,
        above: [],
        tops: [],
        former: [],
        images: new Set(),
        total: 0,
    };
    layers.set(volume, layer);
    below?.above.push(layer);
    return layer;
}

/** The first chain that has a layer decides where it is: a later one cannot move it, so there is no circle. */
function addChain(layers: Map<string, Growing>, image: Image): void {
    let top: Growing | undefined;
    const added = new Set<Growing>();
    for (const volume of chainOf(image)) {
        let layer = layers.get(volume);
        if (layer === undefined) {
            layer = add(layers, volume, top);
            added.add(layer);
        }
        layer.images.add(image);
        top = layer;
    }
    for (const { volume, diffId, bytes } of image.layers) {
        const layer = layers.get(volume);
        if (layer === undefined || !added.has(layer)) continue;
        layer.diffIds.push(diffId);
        layer.compressed += bytes;
    }
    top?.tops.push(image);
}

/** Former versions, of which only the top layer is known; returns the layers that no image has. */
function addFormer(layers: Map<string, Growing>, images: readonly Image[]): Growing[] {
    const found: Growing[] = [];
    for (const image of images) {
        for (const version of image.formerVersions) {
            if (version.volume === "") continue;
            let layer = layers.get(version.volume);
            if (layer === undefined) {
                layer = add(layers, version.volume, undefined);
                found.push(layer);
            }
            layer.former.push({ image: image.name, version });
        }
    }
    return found;
}

/** The volumes and machines of each image, by its name; a machine's volume is with the machine. */
function usersOf(volumes: readonly Volume[], machines: readonly Machine[]): Map<string, (VolumeNode | MachineNode)[]> {
    const users = new Map<string, (VolumeNode | MachineNode)[]>();
    const put = (image: string, node: VolumeNode | MachineNode) => {
        const present = users.get(image);
        if (present === undefined) users.set(image, [node]);
        else present.push(node);
    };
    const made = new Map(
        volumes.filter(({ kind }) => kind === "volume" || kind === "directory" || kind === "disk").map((volume) => [volume.name, volume]),
    );
    for (const machine of machines) {
        // Source: daemon/virtlayer/service/machines/names.py, volume_of().
        const volume = [`${machine.name}.qcow2`, machine.name].map((name) => made.get(name)).find((one) => one?.image === machine.image);
        if (volume !== undefined) made.delete(volume.name);
        put(machine.image, { kind: "machine", key: `machine ${machine.name}`, machine, volume, children: [] });
    }
    for (const volume of made.values()) put(volume.image, { kind: "volume", key: `volume ${volume.name}`, volume, children: [] });
    return users;
}

/** The nodes of all layers, those above before those below. */
function finished(
    layers: ReadonlyMap<string, Growing>,
    sizes: ReadonlyMap<string, number>,
    imageNode: (image: Image) => ImageNode,
): ReadonlyMap<Growing, LayerNode> {
    const nodes = new Map<Growing, LayerNode>();
    // A layer is added after the one below it.
    for (const layer of [...layers.values()].reverse()) {
        const { volume, diffIds, compressed, former } = layer;
        layer.total = (sizes.get(volume) ?? 0) + layer.above.reduce((sum, { total }) => sum + total, 0);
        const above = sorted(layer.above).map((one) => nodes.get(one));
        nodes.set(layer, {
            kind: "layer",
            key: `layer ${volume}`,
            volume,
            diffIds,
            bytes: sizes.get(volume) ?? 0,
            compressed,
            isMissing: !sizes.has(volume),
            images: [...layer.images],
            former,
            children: [...layer.tops.map(imageNode), ...above.filter((node) => node !== undefined)],
        });
    }
    return nodes;
}

/** The largest first; equal ones by the name of their first image, which is the order of the images. */
function sorted(layers: readonly Growing[]): Growing[] {
    return layers.toSorted((one, other) => other.total - one.total);
}

function addGroup(roots: TreeNode[], key: GroupNode["key"], children: readonly (TreeNode | undefined)[]): void {
    const present = children.filter((node) => node !== undefined);
    if (present.length > 0) roots.push({ kind: "group", key, children: present });
}

/** A node, and the way to its root. */
export interface Visit {
    readonly node: TreeNode;
    readonly parent: Visit | undefined;
}

/** All nodes, each before its children. */
export function* walk(roots: readonly TreeNode[]): Generator<Visit> {
    const rest: Visit[] = roots.map((node) => ({ node, parent: undefined })).reverse();
    for (let visit = rest.pop(); visit !== undefined; visit = rest.pop()) {
        yield visit;
        for (const node of visit.node.children.toReversed()) rest.push({ node, parent: visit });
    }
}
