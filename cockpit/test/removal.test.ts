// SPDX-License-Identifier: LGPL-2.1-or-later
import assert from "node:assert/strict";
import { test } from "node:test";

import { removalOf } from "../src/images/removal.ts";
import { anImage, aState, aVolume } from "./values.ts";

const debian = anImage("debian:13", ["base", "debian"]);
const web = anImage("web:1", ["base", "web", "site"]);
const elsewhere = anImage("web:1", ["base", "web", "site"], { pool: "other" });
const state = aState(
    [debian, web, elsewhere],
    { default: [aVolume("base", "layer", 1000), aVolume("web", "layer", 200), aVolume("site", "layer", 30)] },
);

test("a removal deletes the layers that only this image has, the topmost first", () => {
    const removal = removalOf(web, state);
    assert.deepEqual(
        removal.deleted.map((layer) => layer.volume),
        ["site", "web"],
    );
    assert.deepEqual(
        removal.kept.map((layer) => layer.volume),
        ["base"],
    );
    assert.equal(removal.bytes, 230);
});

test("images of other pools keep no layers", () => {
    const removal = removalOf(elsewhere, state);
    assert.equal(removal.deleted.length, 3);
    assert.equal(removal.bytes, 0);
});

test("the removal of a second name deletes no layers", () => {
    const latest = anImage("web:latest", ["base", "web", "site"]);
    assert.deepEqual(removalOf(latest, aState([web, latest])).deleted, []);
});

test("a kept former version of another image keeps its layers", () => {
    const former = { source: "", digest: "", volume: "web", pulledAt: 0, replacedAt: 0 };
    const kept = anImage("site:2", ["other"], { formerVersions: [{ ...former, kept: true }] });
    const image = anImage("web:1", ["base", "web", "site"]);
    assert.deepEqual(
        removalOf(image, aState([image, kept])).kept.map((layer) => layer.volume),
        ["web", "base"],
    );
    const replaced = anImage("site:2", ["other"], { formerVersions: [{ ...former, kept: false }] });
    assert.deepEqual(removalOf(image, aState([image, replaced])).kept, []);
});

test("a volume that has several layers counts once", () => {
    const image = anImage("web:1", ["base", "base", "top"]);
    const removal = removalOf(image, aState([image], { default: [aVolume("base", "layer", 1000), aVolume("top", "layer", 30)] }));
    assert.deepEqual(
        removal.deleted.map(({ volume }) => volume),
        ["top", "base"],
    );
    assert.equal(removal.bytes, 1030);
});
