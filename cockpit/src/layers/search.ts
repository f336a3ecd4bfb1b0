// SPDX-License-Identifier: LGPL-2.1-or-later
/** Which part of the trees a search shows. */
import { walk, type TreeNode, type Visit } from "./tree.ts";

export interface Found {
    /** The keys of the nodes to show: what was found, what it stands on, and what stands on it. */
    readonly shown: ReadonlySet<string>;
    /** How many images have the text in their name, or in that of a volume or machine of theirs. */
    readonly images: number;
}

/** Finds images, volumes and machines by a part of their name; undefined if there is nothing to search for. */
export function search(roots: readonly TreeNode[], text: string): Found | undefined {
    const wanted = text.trim().toLowerCase();
    if (wanted === "") return undefined;
    const shown = new Set<string>();
    let images = 0;
    for (const visit of walk(roots)) {
        if (!nameOf(visit.node).toLowerCase().includes(wanted)) continue;
        if (visit.node.kind === "image") for (const user of visit.node.children) shown.add(user.key);
        for (let one: Visit | undefined = visit; one !== undefined && !shown.has(one.node.key); one = one.parent) {
            if (one.node.kind === "image") images += 1;
            shown.add(one.node.key);
        }
    }
    return { shown, images };
}

/** What a node is found by: that of a layer is nothing that users know. */
function nameOf(node: TreeNode): string {
    switch (node.kind) {
        case "image":
            return node.image.name;
        case "volume":
            return node.volume.name;
        case "machine":
            return node.machine.name;
        case "layer":
            return node.former.map(({ image }) => image).join(" ");
        case "group":
            return "";
    }
}
