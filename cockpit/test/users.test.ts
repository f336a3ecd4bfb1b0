// SPDX-License-Identifier: LGPL-2.1-or-later
import assert from "node:assert/strict";
import { test } from "node:test";

import { keyOf, namesOf, NO_USERS, usersOfImages } from "../src/images/users.ts";
import { aMachine, anImage, aState, aVolume } from "./values.ts";

test("an image is used by machines and by volumes that belong to no machine", () => {
    const image = anImage("web:1");
    const state = aState(
        [image],
        {
            default: [
                aVolume("base", "layer"),
                aVolume("shop.qcow2", "volume", 0, "web:1"),
                aVolume("data.qcow2", "volume", 0, "web:1"),
                aVolume("tree", "directory", 0, "web:1"),
            ],
            other: [aVolume("more.qcow2", "volume", 0, "web:1")],
        },
        { machines: [aMachine("shop", "web:1"), aMachine("far", "web:1", "other")] },
    );
    const users = usersOfImages(state);
    assert.deepEqual(namesOf(users.get(keyOf(image)) ?? NO_USERS), ["shop", "data.qcow2"]);
    assert.deepEqual(namesOf(users.get("other\nweb:1") ?? NO_USERS), ["far", "more.qcow2"]);
    assert.equal(users.get(keyOf(anImage("debian:13"))), undefined);
});
