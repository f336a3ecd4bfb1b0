// SPDX-License-Identifier: LGPL-2.1-or-later
import assert from "node:assert/strict";
import { test } from "node:test";

import { moved, typedAhead } from "../src/layers/keyboard.ts";
import { CHILDREN, layoutOf, MORE, type Layout, type LayoutOptions } from "../src/layers/layout.ts";
import { rulerOf, scaleOf } from "../src/layers/scale.ts";
import { forestOf } from "../src/layers/tree.ts";
import type { Image, Volume } from "../src/service/values.ts";
import { aMachine, anImage, aVolume } from "./values.ts";

const ALL: LayoutOptions = { shown: undefined, opened: new Map() };

function place(images: readonly Image[], volumes: readonly Volume[] = [], options = ALL): Layout {
    return layoutOf(forestOf({ images, volumes, machines: [] }), options);
}

/** Row, rows, bytes below and layers below of each item. */
function places({ items }: Layout) {
    return Object.fromEntries(items.map(({ node, row, rows, start, steps }) => [node.key, [row, rows, start, steps]]));
}

/** So many images in a tree of shared layers: 5 bases, 5 layers on each, the others on these. */
function many(count: number): [Image[], Volume[]] {
    const images: Image[] = [];
    const sizes = new Map<string, number>();
    for (let number = 0; number < count; number += 1) {
        const chain = [`base${number % 5}`, `middle${number % 25}`, `own${number}`, `top${number}`];
        for (const [depth, name] of chain.entries()) sizes.set(name, 1_000_000 * (4 - depth) + number);
        images.push(anImage(`image${number}`, chain));
    }
    return [images, [...sizes].map(([name, size]) => aVolume(name, "layer", size))];
}

test("an image is a row from its base to its top", () => {
    const layout = place([anImage("web", ["base", "top"])], [aVolume("base", "layer", 100), aVolume("top", "layer", 20)]);
    assert.deepEqual(places(layout), {
        "layer base": [0, 1, 0, 0],
        "layer top": [0, 1, 100, 1],
        "image web": [0, 1, 120, 2],
    });
    assert.deepEqual([layout.rows, layout.extent, layout.steps], [1, 120, 2]);
});

test("a shared layer is as high as all rows that are backed by it", () => {
    const layout = layoutOf(
        forestOf({
            images: [anImage("debian", ["base"]), anImage("web", ["base", "web"])],
            volumes: [aVolume("base", "layer", 100), aVolume("web", "layer", 20), aVolume("data", "volume", 5, "debian")],
            machines: [aMachine("one", "web")],
        }),
        ALL,
    );
    assert.deepEqual(places(layout), {
        "layer base": [0, 4, 0, 0],
        "image debian": [0, 1, 100, 1],
        "volume data": [1, 1, 100, 1],
        "layer web": [2, 2, 100, 1],
        "image web": [2, 1, 120, 2],
        "machine one": [3, 1, 120, 2],
    });
    const [base, debian, , web] = layout.items;
    assert.deepEqual([base?.level, base?.position, base?.siblings, base?.parent], [1, 1, 1, -1]);
    assert.deepEqual([debian?.level, debian?.position, debian?.siblings, debian?.parent], [2, 1, 2, 0]);
    assert.deepEqual([web?.level, web?.position, web?.siblings, web?.parent], [2, 2, 2, 0]);
});

for (const count of [300, 5000]) {
    test(`each of ${count} images has a row of its own, and layers do not overlap`, () => {
        const opened = new Map([...Array(25).keys()].map((number) => [`layer middle${number}`, count]));
        const { items, rows } = place(...many(count), { ...ALL, opened });
        const images = items.filter(({ node }) => node.kind === "image");
        assert.equal(new Set(images.map(({ row }) => row)).size, count);
        assert.equal(rows, count);
        const ends = new Map<number, number>();
        for (const item of items) {
            if (item.node.kind !== "layer") continue;
            for (let row = item.row; row < item.row + item.rows; row += 1) {
                assert.equal(item.start, ends.get(row) ?? 0);
                ends.set(row, item.start + item.node.bytes);
            }
        }
    });
}

test("the smallest of many are together until they are opened, so many at a time", () => {
    const images = Array.from({ length: 300 }, (_, number) => anImage(`image${number}`, ["base", `own${number}`]));
    const volumes = images.map((_, number) => aVolume(`own${number}`, "layer", 1000 - number));
    const before = place(images, volumes);
    const rest = before.items.at(-1);
    assert.ok(rest?.node.kind === "rest");
    assert.equal(rest.node.count, 300 - CHILDREN);
    assert.equal(before.rows, CHILDREN + 1);
    assert.deepEqual([rest.position, rest.siblings], [CHILDREN + 1, CHILDREN + 1]);
    const after = place(images, volumes, { ...ALL, opened: new Map([[rest.node.of, MORE]]) });
    assert.equal(after.rows, CHILDREN + MORE + 1);
    assert.equal(after.items[before.items.length - 1]?.node.key, `layer own${CHILDREN}`);
});

test("a rest of one is shown instead", () => {
    const images = Array.from({ length: CHILDREN + 1 }, (_, number) => anImage(`image${number}`, [`own${number}`]));
    assert.equal(place(images).rows, CHILDREN + 1);
});

test("only what was found is placed", () => {
    const shown = new Set(["layer base", "image web"]);
    assert.deepEqual(places(place([anImage("web", ["base"]), anImage("shop", ["base"])], [], { ...ALL, shown })), {
        "layer base": [0, 1, 0, 0],
        "image web": [0, 1, 0, 1],
    });
});

test("without anything there is an extent, which is divided by", () => {
    assert.deepEqual(place([]), { items: [], rows: 0, extent: 1, steps: 0 });
});

test("arrow keys move through the tree", () => {
    // layer base, image debian, layer web, image web
    const { items } = place([anImage("debian", ["base"]), anImage("web", ["base", "web"])]);
    assert.equal(moved(items, 0, "ArrowDown"), 1);
    assert.equal(moved(items, 3, "ArrowDown"), 3);
    assert.equal(moved(items, 0, "ArrowUp"), 0);
    assert.equal(moved(items, 0, "ArrowRight"), 1);
    assert.equal(moved(items, 1, "ArrowRight"), 1);
    assert.equal(moved(items, 3, "ArrowLeft"), 2);
    assert.equal(moved(items, 2, "ArrowLeft"), 0);
    assert.equal(moved(items, 0, "ArrowLeft"), 0);
    assert.equal(moved(items, 1, "Home"), 0);
    assert.equal(moved(items, 1, "End"), 3);
    assert.equal(moved(items, 1, "Tab"), undefined);
});

test("a typed character moves to the next label that begins with it", () => {
    const { items } = layoutOf(forestOf({ images: [anImage("web", []), anImage("shop", []), anImage("Web2", [])], volumes: [], machines: [] }), ALL);
    assert.equal(typedAhead(items, 0, "w"), 2);
    assert.equal(typedAhead(items, 2, "w"), 0);
    assert.equal(typedAhead(items, 0, "x"), undefined);
    assert.equal(typedAhead(items, 0, "Shift"), undefined);
});

test("the least widths of a long chain stay within bounds", () => {
    const chain = Array.from({ length: 127 }, (_, number) => `layer${number}`);
    const scale = scaleOf(place([anImage("long", chain)]));
    assert.ok(scale.fixed <= 160);
    assert.ok(scale.least > 1);
});

test("the ruler is a round size of at most a third of the chart", () => {
    assert.equal(rulerOf(1), 1);
    assert.equal(rulerOf(4000), 1024);
    assert.equal(rulerOf(700 * 1024 ** 2), 200 * 1024 ** 2);
    assert.equal(rulerOf(2 * 1024 ** 3), 500 * 1024 ** 2);
});
