// SPDX-License-Identifier: LGPL-2.1-or-later
import assert from "node:assert/strict";
import { test } from "node:test";

import { isComplete, isSize, requestOf, EMPTY } from "../src/pull/form.ts";
import { bytesPerSecond, noted, secondsLeft, type Sample } from "../src/pull/pace.ts";
import { NO_CREDENTIALS, optionsOf, plainRequest } from "../src/pull/request.ts";
import { isLocal, shortName } from "../src/pull/short-name.ts";

test("the name that an image gets is that of the service", () => {
    const digest = `sha256:${"ab".repeat(32)}`;
    assert.equal(shortName("debian"), "debian:latest");
    assert.equal(shortName("debian:13"), "debian:13");
    assert.equal(shortName("docker://docker.io/library/debian:13"), "debian:13");
    assert.equal(shortName("docker://host:5000/team/app"), "app:latest");
    assert.equal(shortName(`docker://host/app@${digest}`), "app@sha256:abababababab");
    assert.equal(shortName(`docker://host/app:1@${digest}`), "app:1");
    assert.equal(shortName("oci:/srv/app:v1"), "app:v1");
    assert.equal(shortName("oci:/srv/app:@0"), "app:0");
    assert.equal(shortName("oci-archive:/srv/app.tar"), "app");
    assert.equal(shortName("docker-archive:/srv/app.tar:team/other:2"), "other:2");
    assert.equal(shortName("dir:/srv/app"), "app");
    assert.equal(shortName(""), "");
    assert.equal(shortName("docker://"), "");
});

test("a source with the transport of a file is local", () => {
    assert.equal(isLocal("oci-archive:/srv/app.tar"), true);
    assert.equal(isLocal("oci:5000/app"), true);
    assert.equal(isLocal("docker://host/oci:1"), false);
});

test("a request has no options but those that differ from the defaults", () => {
    assert.deepEqual(optionsOf(plainRequest("debian:13", "default"), NO_CREDENTIALS), {});
    const fields = {
        source: " debian:13 ",
        name: "d",
        platform: "linux/arm64",
        tlsVerify: false,
        replace: true,
        size: "2",
        credentials: { username: "u", password: " p " },
    };
    const request = requestOf(fields, "default");
    assert.equal(request.source, "debian:13");
    assert.equal(request.hasCredentials, true);
    assert.deepEqual(optionsOf(request, fields.credentials), {
        name: { t: "s", v: "d" },
        platform: { t: "s", v: "linux/arm64" },
        "tls-verify": { t: "b", v: false },
        replace: { t: "b", v: true },
        size: { t: "t", v: 2 * 1024 ** 3 },
        username: { t: "s", v: "u" },
        password: { t: "s", v: " p " },
    });
});

test("a request has no secrets", () => {
    const request = requestOf({ ...EMPTY, source: "a", credentials: { username: "user-x", password: "pass-x" } }, "default");
    assert.doesNotMatch(JSON.stringify(request), /user-x|pass-x/);
});

test("a size is empty or a whole number of GiB within the limits of the service", () => {
    for (const size of ["", " ", "1", "64512"]) assert.equal(isSize(size), true, size);
    for (const size of ["0", "-1", "1.5", "1e3", "64513", "x"]) assert.equal(isSize(size), false, size);
    assert.equal(isComplete({ ...EMPTY, source: " " }), false);
    assert.equal(isComplete({ ...EMPTY, source: "a", size: "x" }), false);
});

test("the pace is that of the last seconds", () => {
    let samples: readonly Sample[] = [];
    for (let second = 0; second <= 20; second += 1) {
        // Slow at first, then ten times as fast.
        const bytes = second < 10 ? second * 100 : 1000 + (second - 10) * 1000;
        samples = noted(samples, { time: second * 1000, bytes, progress: bytes / 20_000 });
    }
    assert.equal(bytesPerSecond(samples), 1000);
    assert.equal(Math.round(secondsLeft(samples) ?? 0), 9);
    assert.ok(samples.length <= 6);
});

test("a pull that stalls has no rate, and no time that is left", () => {
    const stalled = [0, 1, 2].map((second) => ({ time: second * 1000, bytes: 5, progress: 0.5 }));
    assert.equal(bytesPerSecond(stalled), 0);
    assert.equal(secondsLeft(stalled), undefined);
    assert.equal(secondsLeft([]), undefined);
    assert.equal(bytesPerSecond(stalled.slice(0, 1)), 0);
});
