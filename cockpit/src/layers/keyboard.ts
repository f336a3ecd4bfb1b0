// SPDX-License-Identifier: LGPL-2.1-or-later
/** Which item a key moves to, as the tree view pattern of the ARIA Authoring Practices Guide says. */
import type { Placed } from "./layout.ts";
import { label } from "./names.ts";

/** The index of the item that a key moves to; undefined if the key does not move. */
export function moved(items: readonly Placed[], from: number, key: string): number | undefined {
    switch (key) {
        case "ArrowDown":
            return Math.min(from + 1, items.length - 1);
        case "ArrowUp":
            return Math.max(from - 1, 0);
        case "ArrowRight":
            return items[from + 1]?.parent === from ? from + 1 : from;
        case "ArrowLeft":
            return Math.max(items[from]?.parent ?? from, 0);
        case "Home":
            return 0;
        case "End":
            return items.length - 1;
        default:
            return undefined;
    }
}

/** The next item after `from` whose label begins with a typed character; undefined if there is none. */
export function typedAhead(items: readonly Placed[], from: number, key: string): number | undefined {
    if (key.length !== 1) return undefined;
    for (let step = 1; step <= items.length; step += 1) {
        const index = (from + step) % items.length;
        const item = items[index];
        if (item !== undefined && label(item.node).toLowerCase().startsWith(key.toLowerCase())) return index;
    }
    return undefined;
}
