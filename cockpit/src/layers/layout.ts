// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * Where each item of the chart is.
 *
 * Every image, volume and machine has a row. A layer begins where the layer below it ends, is as wide as
 * what it takes of the pool, and as high as all rows that are backed by it. So a row shows an image from its base
 * to its top, and a layer that images share is drawn once.
 */
import type { TreeNode } from "./tree.ts";

/** Stands for the smallest children of a node, until it is opened. */
export interface RestNode {
    readonly kind: "rest";
    readonly key: string;
    /** The key of the node whose children they are; "" for roots. */
    readonly of: string;
    readonly count: number;
    readonly children: readonly [];
}

export interface Placed {
    readonly node: TreeNode | RestNode;
    /** The index of its parent among all placed ones; -1 for a root. */
    readonly parent: number;
    /** From 1, as aria-level; so is `position`. */
    readonly level: number;
    readonly position: number;
    /** How many children its parent has in the chart. */
    readonly siblings: number;
    readonly row: number;
    readonly rows: number;
    /** The bytes of all layers below it. */
    readonly start: number;
    /** How many layers are below it. */
    readonly steps: number;
    /** How many groups, images and volumes it is indented by. */
    readonly indent: number;
}

export interface Layout {
    /** In the order of the tree: each before its children. */
    readonly items: readonly Placed[];
    readonly rows: number;
    /** The bytes of the largest chain; at least 1. */
    readonly extent: number;
    /** How many layers the longest chain has. */
    readonly steps: number;
}

export interface LayoutOptions {
    /** The keys of the nodes to place; undefined for all. */
    readonly shown: ReadonlySet<string> | undefined;
    /** How many more children than at first are placed, by the key of their parent. */
    readonly opened: ReadonlyMap<string, number>;
}

/** A node with more children than this has a rest, which is at least two. */
export const CHILDREN = 20;
/** How many are added when a rest is opened. */
export const MORE = 100;

type Mutable<Type> = { -readonly [Key in keyof Type]: Type[Key] };

/** Places these trees, one below the other. */
export function layoutOf(roots: readonly TreeNode[], options: LayoutOptions): Layout {
    const items: Mutable<Placed>[] = [];
    let rows = 0;
    let extent = 1;
    let steps = 0;
    interface Due {
        readonly node: TreeNode | RestNode;
        readonly parent: number;
        readonly position: number;
        readonly siblings: number;
    }
    const due: Due[] = [];
    const plan = (children: readonly TreeNode[], parent: number, key: string) => {
        const chosen = choose(children, key, options);
        for (let index = chosen.length - 1; index >= 0; index -= 1) {
            const node = chosen[index];
            if (node !== undefined) due.push({ node, parent, position: index + 1, siblings: chosen.length });
        }
    };
    plan(roots, -1, "");
    for (let next = due.pop(); next !== undefined; next = due.pop()) {
        const below = items[next.parent];
        // The first child of a layer is beside it, in its row.
        const beside = below?.node.kind === "layer" && next.position === 1;
        const row = beside ? below.row : rows;
        if (!beside) rows += 1;
        const [start, height, indent] = foot(below);
        items.push({ ...next, level: (below?.level ?? 0) + 1, row, rows: 1, start, steps: height, indent });
        if (next.node.kind === "layer") {
            extent = Math.max(extent, start + next.node.bytes);
            steps = Math.max(steps, height + 1);
        }
        plan(next.node.children, items.length - 1, next.node.key);
    }
    stretch(items);
    return { items, rows, extent, steps };
}

/** Where the children of an item begin: bytes, layers and indentation. */
function foot(below: Placed | undefined): [number, number, number] {
    if (below === undefined) return [0, 0, 0];
    if (below.node.kind === "layer") return [below.start + below.node.bytes, below.steps + 1, below.indent];
    return [below.start, below.steps, below.indent + 1];
}

/** The children that are placed, and the rest if there are too many. */
function choose(children: readonly TreeNode[], of: string, { shown, opened }: LayoutOptions): readonly (TreeNode | RestNode)[] {
    const wanted = shown === undefined ? children : children.filter(({ key }) => shown.has(key));
    const limit = CHILDREN + (opened.get(of) ?? 0);
    if (wanted.length <= limit + 1) return wanted;
    const rest: RestNode = { kind: "rest", key: `rest ${of}`, of, count: wanted.length - limit, children: [] };
    return [...wanted.slice(0, limit), rest];
}

/** Makes layers as high as what is above them. */
function stretch(items: readonly Mutable<Placed>[]): void {
    const ends = items.map(({ row }) => row + 1);
    for (let index = items.length - 1; index >= 0; index -= 1) {
        const item = items[index];
        const end = ends[index];
        if (item === undefined || end === undefined) continue;
        if (item.node.kind === "layer") item.rows = end - item.row;
        const below = ends[item.parent];
        if (below !== undefined) ends[item.parent] = Math.max(below, end);
    }
}
