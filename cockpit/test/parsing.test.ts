// SPDX-License-Identifier: LGPL-2.1-or-later
import assert from "node:assert/strict";
import { test } from "node:test";

import * as parsing from "../src/service/parsing.ts";

test("an image whose private properties are hidden has empty ones", () => {
    const image = parsing.image("/org/virtlayer1/image/1", {
        Name: { t: "s", v: "debian:13" },
        Pool: { t: "s", v: "default" },
        PulledAt: { t: "t", v: 1_000_000 },
    });
    assert.equal(image.name, "debian:13");
    assert.equal(image.source, "");
    assert.deepEqual(image.layers, []);
    assert.equal(image.pulledAt, 1000);
});

test("a property of another type is refused", () => {
    assert.throws(() => parsing.image("/org/virtlayer1/image/1", { Name: { t: "u", v: 1 } }), parsing.Malformed);
});

test("a time is one that a Date can have", () => {
    for (const time of [2 ** 64 - 1, -(2 ** 63)]) {
        const { pulledAt } = parsing.image("/org/virtlayer1/image/1", { PulledAt: { t: "t", v: time } });
        assert.doesNotThrow(() => new Date(pulledAt).toISOString());
    }
});
