// SPDX-License-Identifier: LGPL-2.1-or-later
import assert from "node:assert/strict";
import { test } from "node:test";

import { defaultName, isSizeValid, optionsOf, sizeOf, type VolumeForm } from "../src/images/volume-form.ts";

const EMPTY: VolumeForm = { name: "web.qcow2", size: "", growFilesystem: true, hostname: "", rootPassword: "", sshKeys: "" };

test("the name of a volume is that of the image, with a number if it is taken", () => {
    assert.equal(defaultName("quay.io/fedora/fedora:42", new Set()), "quay.io-fedora-fedora-42.qcow2");
    assert.equal(defaultName("debian:13", new Set(["debian-13.qcow2", "debian-13-2.qcow2"])), "debian-13-3.qcow2");
    assert.equal(defaultName("..", new Set()), "volume.qcow2");
});

test("a form without values gives no options", () => {
    assert.deepEqual(optionsOf(EMPTY), {});
});

test("a form becomes the options of CreateVolume", () => {
    const form = {
        ...EMPTY,
        size: "10",
        hostname: " web ",
        rootPassword: " secret ",
        sshKeys: "ssh-ed25519 AAAA one\n\n  ssh-ed25519 BBBB two  \n",
    };
    assert.deepEqual(optionsOf(form), {
        size: { t: "t", v: 10 * 1024 ** 3 },
        "grow-filesystem": { t: "b", v: true },
        hostname: { t: "s", v: "web" },
        "root-password": { t: "s", v: " secret " },
        "ssh-authorized-keys": { t: "as", v: ["ssh-ed25519 AAAA one", "ssh-ed25519 BBBB two"] },
    });
});

test("a size is rounded up to MiB, and is not below that of the image", () => {
    assert.equal(sizeOf({ size: "1.5" }), 1536 * 1024 ** 2);
    assert.equal(sizeOf({ size: "0,0001" }), 1024 ** 2);
    assert.ok(isSizeValid({ size: "" }, 1024 ** 3));
    assert.ok(isSizeValid({ size: "1" }, 1024 ** 3));
    assert.ok(!isSizeValid({ size: "0.5" }, 1024 ** 3));
    assert.ok(!isSizeValid({ size: "1e3" }, 1024 ** 3));
    assert.ok(!isSizeValid({ size: "-5" }, 1024 ** 3));
});
