// SPDX-License-Identifier: LGPL-2.1-or-later
import assert from "node:assert/strict";
import { test } from "node:test";

import { removalOf } from "../src/images/removal.ts";
import { stayingOf, usersOf } from "../src/layers/reasons.ts";
import { search } from "../src/layers/search.ts";
import { forestOf, walk, type PoolContents, type TreeNode } from "../src/layers/tree.ts";
import { aMachine, anImage, aState, aVolume } from "./values.ts";

const NOTHING: PoolContents = { images: [], volumes: [], machines: [] };
const FORMER = { source: "", digest: "", pulledAt: 0, replacedAt: 0, kept: true };

/** The keys of all nodes, those above another indented. */
function outline(roots: readonly TreeNode[]): string[] {
    return [...walk(roots)].map((visit) => {
        let depth = 0;
        for (let one = visit.parent; one !== undefined; one = one.parent) depth += 1;
        return "  ".repeat(depth) + visit.node.key;
    });
}

function layers(...sizes: readonly (readonly [string, number])[]) {
    return sizes.map(([name, size]) => aVolume(name, "layer", size));
}

test("a layer that images share is there once, below all of them", () => {
    const roots = forestOf({
        ...NOTHING,
        images: [anImage("debian", ["base"]), anImage("shop", ["base", "shop"]), anImage("web", ["base", "web"])],
        volumes: layers(["base", 100], ["web", 30], ["shop", 20]),
    });
    assert.deepEqual(outline(roots), [
        "layer base",
        "  image debian",
        "  layer web",
        "    image web",
        "  layer shop",
        "    image shop",
    ]);
    const [base] = roots;
    assert.ok(base?.kind === "layer");
    assert.deepEqual(
        base.images.map(({ name }) => name),
        ["debian", "shop", "web"],
    );
    assert.equal(base.bytes, 100);
});

test("volumes and machines are on their image, and a machine's volume is with it", () => {
    const roots = forestOf({
        images: [anImage("web", ["base"])],
        volumes: [
            ...layers(["base", 100]),
            aVolume("one.qcow2", "volume", 7, "web"),
            aVolume("data", "volume", 5, "web"),
            aVolume("two", "directory", 0, "web"),
            aVolume("kernel-1", "boot", 5),
            aVolume("config-1", "configuration", 5, "web"),
        ],
        machines: [aMachine("one", "web"), aMachine("two", "web"), aMachine("three", "web")],
    });
    const image = [...walk(roots)].map(({ node }) => node).find(({ kind }) => kind === "image");
    assert.deepEqual(
        image?.children.map((node) => [node.key, node.kind === "machine" ? node.volume?.name : ""]),
        [
            ["machine one", "one.qcow2"],
            ["machine two", "two"],
            ["machine three", undefined],
            ["volume data", ""],
        ],
    );
});

test("a volume with the name of a machine that has another image is not the machine's", () => {
    const roots = forestOf({
        images: [anImage("web", ["base"])],
        volumes: [aVolume("one.qcow2", "volume", 7, "shop")],
        machines: [aMachine("one", "web")],
    });
    assert.deepEqual(outline(roots), ["layer base", "  image web", "    machine one", "unrelated", "  volume one.qcow2"]);
});

test("layers of no image and former versions are apart", () => {
    const roots = forestOf({
        ...NOTHING,
        images: [anImage("web", ["base"], { formerVersions: [{ ...FORMER, volume: "old" }, { ...FORMER, volume: "base" }] })],
        volumes: layers(["base", 100], ["old", 10], ["left", 20]),
    });
    assert.deepEqual(outline(roots), ["layer base", "  image web", "unused", "  layer left", "  layer old"]);
});

test("a layer that the pool lacks is missing", () => {
    const [base] = forestOf({ ...NOTHING, images: [anImage("web", ["base"])] });
    assert.ok(base?.kind === "layer");
    assert.equal(base.isMissing, true);
    assert.equal(base.bytes, 0);
});

test("an image whose layers are private is on its top volume, one without any volume is alone", () => {
    const roots = forestOf({
        ...NOTHING,
        images: [anImage("secret", [], { volume: "top" }), anImage("none", [])],
        volumes: layers(["top", 1]),
    });
    assert.deepEqual(outline(roots), ["layer top", "  image secret", "image none"]);
});

test("a volume with several layers is one node", () => {
    const roots = forestOf({ ...NOTHING, images: [anImage("web", ["base", "base", "top"])], volumes: layers(["base", 1], ["top", 1]) });
    const [base] = roots;
    assert.ok(base?.kind === "layer");
    assert.equal(base.diffIds.length, 2);
    assert.equal(base.compressed, 200);
    assert.deepEqual(outline(roots), ["layer base", "  layer top", "    image web"]);
});

test("chains that contradict each other make no circle, and every image has one place", () => {
    const roots = forestOf({
        ...NOTHING,
        images: [
            anImage("a", ["one", "two"]),
            anImage("b", ["two", "one"]),
            anImage("c", ["three", "two", "three"]),
            anImage("d", ["four"], { volume: "one" }),
        ],
    });
    const keys = [...walk(roots)].map(({ node }) => node.key);
    assert.equal(new Set(keys).size, keys.length);
    assert.deepEqual(keys.filter((key) => key.startsWith("image")).sort(), ["image a", "image b", "image c", "image d"]);
});

test("a chain of 100,000 layers is no problem", () => {
    const chain = Array.from({ length: 100_000 }, (_, index) => `layer${index}`);
    const roots = forestOf({ ...NOTHING, images: [anImage("long", chain)] });
    assert.equal([...walk(roots)].length, 100_001);
});

test("names such as __proto__ are only names", () => {
    const roots = forestOf({ ...NOTHING, images: [anImage("__proto__", ["constructor", "__proto__"])] });
    assert.deepEqual(outline(roots), ["layer constructor", "  layer __proto__", "    image __proto__"]);
});

test("a search shows what it finds with the layers below and the machines above", () => {
    const roots = forestOf({
        images: [anImage("shop", ["base", "shop"]), anImage("web", ["base", "web"])],
        volumes: [],
        machines: [aMachine("front", "web"), aMachine("till", "shop")],
    });
    const web = search(roots, "WEB ");
    assert.deepEqual([...(web?.shown ?? [])].sort(), ["image web", "layer base", "layer web", "machine front"]);
    assert.equal(web?.images, 1);
    assert.deepEqual([...(search(roots, "till")?.shown ?? [])].sort(), ["image shop", "layer base", "layer shop", "machine till"]);
    assert.equal(search(roots, "nothing")?.shown.size, 0);
    assert.equal(search(roots, " "), undefined);
});

test("layers that would stay are told with the images that need them", () => {
    const images = [anImage("debian", ["base"]), anImage("web:1", ["base", "web", "one"]), anImage("web:2", ["base", "web", "two"])];
    const volumes = layers(["base", 100], ["web", 10], ["one", 1], ["two", 1]);
    const nodes = new Map([...walk(forestOf({ ...NOTHING, images, volumes }))].map(({ node }) => [node.key, node]));
    const [, image] = images;
    assert.ok(image);
    assert.deepEqual(stayingOf(image, removalOf(image, aState(images, { default: volumes })), nodes), [
        { volumes: ["base"], bytes: 100, names: ["debian", "web:2"] },
        { volumes: ["web"], bytes: 10, names: ["web:2"] },
    ]);
});

test("volumes prevent the removal of the only image with their layers, copies do not", () => {
    const image = anImage("web", ["base"]);
    const contents = {
        images: [image, anImage("other", ["base"])],
        volumes: [aVolume("data", "volume", 1, "web"), aVolume("copy", "disk", 1, "web")],
        machines: [aMachine("data", "web")],
    };
    const node = [...walk(forestOf(contents))].map((visit) => visit.node).find(({ key }) => key === "image web");
    assert.ok(node?.kind === "image");
    assert.deepEqual(
        usersOf(node, removalOf(image, aState([image]))).map(({ key }) => key),
        ["machine data"],
    );
    assert.deepEqual(usersOf(node, removalOf(image, aState(contents.images))), []);
});
