// SPDX-License-Identifier: LGPL-2.1-or-later
/** How bytes become widths: as CSS lengths, so that the chart fits whatever width it has. */
import type { Layout, Placed } from "./layout.ts";

/** Every layer is a little wider than its bytes, so that the smallest can be seen and pointed at. In pixels. */
const LEAST = 6;
/** But all of these together take at most so much. */
const LEAST_TOGETHER = 160;
const INDENT = 20;

export interface Scale {
    readonly extent: number;
    /** Pixels that each layer has at least. */
    readonly least: number;
    /** Pixels that are no bytes in the longest chain. */
    readonly fixed: number;
}

export function scaleOf({ extent, steps }: Layout): Scale {
    const least = Math.min(LEAST, LEAST_TOGETHER / Math.max(steps, 1));
    return { extent, least, fixed: least * steps };
}

/** Where an item begins. `--bytes` is the width of the extent. */
export function startOf({ start, steps, indent }: Placed, { extent, least }: Scale): string {
    return length(start / extent, steps * least + indent * INDENT);
}

/** The width of so many bytes; that of a layer if `isLayer`. */
export function widthOf(bytes: number, { extent, least }: Scale, isLayer: boolean): string {
    return length(bytes / extent, isLayer ? least : 0);
}

function length(fraction: number, pixels: number): string {
    return `calc(var(--bytes) * ${fraction.toFixed(6)} + ${pixels.toFixed(2)}px)`;
}

/** The largest of 1, 2, 5, 10, 20, … KiB, MiB, … that is at most a third of the extent; at least 1. */
export function rulerOf(extent: number): number {
    let unit = 1;
    while (unit * 1024 <= extent / 3) unit *= 1024;
    const steps = [500, 200, 100, 50, 20, 10, 5, 2, 1];
    return unit * (steps.find((step) => step * unit <= extent / 3) ?? 1);
}
