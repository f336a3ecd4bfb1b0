// SPDX-License-Identifier: LGPL-2.1-or-later
import assert from "node:assert/strict";
import { test } from "node:test";

import { commandLine, configOf } from "../src/images/config.ts";
import { found, rowsOf, sorted, type Column, type Row } from "../src/images/rows.ts";
import { shortDigest, tagOf } from "../src/images/version.ts";
import { Service } from "../src/service/service.ts";
import { aMachine, anImage, aState, aUsage } from "./values.ts";

const system = new Service("system");
const state = aState(
    [
        anImage("debian:9", ["base"], { pulledAt: 3000 }),
        anImage("debian:13", ["base"], { pulledAt: 2000, pool: "fast" }),
        anImage("web", ["base"], { pulledAt: 1000, source: "docker://registry.example/Shop:1" }),
    ],
    {},
    {
        machines: [aMachine("shop", "web")],
        contents: new Map([["default", { volumes: [], usage: aUsage({ "debian:9": [10, 5], web: [2, 5] }) }]]),
    },
);
const rows = rowsOf(system, state);

function names(some: readonly Row[]): readonly string[] {
    return some.map(({ image }) => image.name);
}

test("a search finds words of names, sources and pools", () => {
    assert.deepEqual(names(found(rows, " debian ")), ["debian:9", "debian:13"]);
    assert.deepEqual(names(found(rows, "debian fast")), ["debian:13"]);
    assert.deepEqual(names(found(rows, "REGISTRY shop")), ["web"]);
    assert.deepEqual(found(rows, "fedora"), []);
    assert.equal(found(rows, ""), rows);
});

test("rows are sorted by each column, numbers in names as numbers", () => {
    const by = (column: Column) => names(sorted(rows, { column, direction: "asc" }));
    assert.deepEqual(by("name"), ["debian:9", "debian:13", "web"]);
    assert.deepEqual(by("pool"), ["debian:9", "web", "debian:13"]);
    assert.deepEqual(by("own"), ["debian:13", "web", "debian:9"]);
    assert.deepEqual(by("age"), ["debian:9", "debian:13", "web"]);
    assert.deepEqual(by("users"), ["debian:9", "debian:13", "web"]);
    assert.deepEqual(names(sorted(rows, { column: "name", direction: "desc" })), ["web", "debian:13", "debian:9"]);
});

test("the tag of a source is what follows its last colon, unless that is a port", () => {
    assert.equal(tagOf("docker://docker.io/library/debian:13"), "13");
    assert.equal(tagOf("docker://registry.example:5000/web"), "");
    assert.equal(tagOf("docker://registry.example:5000/web:v1.2@sha256:abcd"), "v1.2");
    assert.equal(tagOf("docker://registry.example/web@sha256:abcd"), "");
    assert.equal(tagOf("oci:/srv/web:1"), "1");
    assert.equal(tagOf(""), "");
    assert.equal(shortDigest(`sha256:${"5".repeat(64)}`), "555555555555");
    assert.equal(shortDigest(""), "");
});

test("a config says how an image is run, and its variables by name", () => {
    const config = configOf(
        JSON.stringify({
            config: { Cmd: ["sh", "-c", "it's"], Env: ["PATH=/bin", "KEY=a\n=b"], ExposedPorts: { "80/tcp": {} }, User: "web" },
        }),
    );
    assert.equal(commandLine(config?.command ?? []), "sh -c 'it'\\''s'");
    assert.deepEqual(config?.environment, ["PATH", "KEY"]);
    assert.deepEqual(config.ports, ["80/tcp"]);
    assert.equal(config.user, "web");
});

test("values of other types in a config are ignored", () => {
    assert.deepEqual(configOf('{"config": {"Cmd": "sh", "Env": [1, "A=b"], "User": 5, "Volumes": [1]}}'), {
        entrypoint: [],
        command: [],
        environment: ["A"],
        user: "",
        workingDirectory: "",
        ports: [],
        volumes: [],
    });
    assert.equal(configOf("[]"), undefined);
    assert.equal(configOf(""), undefined);
});
