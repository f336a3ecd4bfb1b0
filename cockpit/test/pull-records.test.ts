// SPDX-License-Identifier: LGPL-2.1-or-later
import assert from "node:assert/strict";
import { test } from "node:test";

import { follow, hasMore, INTERRUPTED, merged, NOTHING, withoutFailure, withoutPull, type Records, type Seen } from "../src/pull/records.ts";
import { plainRequest } from "../src/pull/request.ts";
import { fromText, toText } from "../src/pull/stored-records.ts";
import { image, job } from "../src/service/parsing.ts";
import type { Image, Job } from "../src/service/values.ts";

const PATH = "/org/virtlayer1/job/1";
const SOURCE = "docker://docker.io/library/debian:13";
const NOW = 1_700_000_000_000;

function aJob(changes: Partial<Job> = {}): Job {
    const plain = job(PATH, { Id: { t: "u", v: 1 }, Kind: { t: "s", v: "pull" }, State: { t: "s", v: "running" } });
    return { ...plain, source: SOURCE, pool: "default", startedAt: NOW, ...changes };
}

const FAILED = aJob({
    state: "failed",
    error: "org.virtlayer1.Error.ImageNotFound",
    message: "There is no such image.",
    finishedAt: NOW + 5000,
});

function anImage(changes: Partial<Image> = {}): Image {
    return { ...image("/org/virtlayer1/image/1", {}), pool: "default", source: SOURCE, pulledAt: NOW + 1000, ...changes };
}

function seen(jobs: readonly Job[], images: readonly Image[] = []): Seen {
    return { jobs, images };
}

/** What is recorded when this browser has started a pull, and the service has not shown its job yet. */
const STARTED: Records = {
    ...NOTHING,
    running: [
        {
            job: PATH,
            request: { ...plainRequest("debian:13", "default"), name: "d", tlsVerify: false },
            source: "",
            recordedAt: NOW,
            startedAt: 0,
            cancelledAt: 0,
            isOwn: true,
        },
    ],
};

/** The records after several looks at the service. */
function after(records: Records, ...looks: Seen[]): Records {
    return looks.reduce((before, look) => follow(before, look, NOW).records, records);
}

test("a failed pull keeps its request", () => {
    const { failed, running } = after(STARTED, seen([aJob()]), seen([FAILED]));
    assert.deepEqual(running, []);
    assert.equal(failed.length, 1);
    assert.equal(failed[0]?.error, "ImageNotFound");
    assert.equal(failed[0].request.name, "d");
    assert.equal(failed[0].request.tlsVerify, false);
});

test("a failed pull that was started elsewhere has its source and pool", () => {
    const { failed } = after(NOTHING, seen([FAILED]));
    assert.deepEqual(failed[0]?.request, plainRequest(SOURCE, "default"));
});

test("a failure outlives its job, and the service", () => {
    const records = after(STARTED, seen([FAILED]));
    assert.equal(after(records, seen([])).failed.length, 1);
    assert.equal(after(fromText(toText(records)), seen([])).failed.length, 1);
});

test("a failure waits for its message, which is read a little later", () => {
    const first = after(STARTED, seen([aJob()]), seen([{ ...FAILED, message: "" }]));
    assert.deepEqual(first.failed, []);
    assert.equal(after(first, seen([FAILED])).failed[0]?.request.name, "d");
});

test("a dismissed failure does not come back while its job is there", () => {
    const records = after(STARTED, seen([FAILED]));
    const dismissed = withoutFailure(records, records.failed[0]?.id ?? "");
    assert.deepEqual(after(dismissed, seen([FAILED])).failed, []);
    assert.deepEqual(after(dismissed, seen([FAILED]), seen([])), NOTHING);
});

test("a pull of this browser that is done is reported once", () => {
    const running = after(STARTED, seen([aJob()]));
    const done = aJob({ state: "done", finishedAt: NOW + 5000 });
    const first = follow(running, seen([done]), NOW);
    assert.deepEqual(first.done, [done]);
    assert.deepEqual(follow(first.records, seen([done]), NOW).done, []);
});

test("a pull that was started elsewhere is not reported", () => {
    const running = after(NOTHING, seen([aJob()]));
    assert.deepEqual(follow(running, seen([aJob({ state: "done" })]), NOW).done, []);
});

test("a pull that is cancelled has not failed", () => {
    const cancelled = after(STARTED, seen([aJob()]), seen([aJob({ state: "cancelled" })]));
    assert.deepEqual(cancelled.failed, []);
    assert.deepEqual(withoutPull(cancelled, PATH), NOTHING);
    // Its job goes after some minutes.
    assert.deepEqual(follow(cancelled, seen([]), NOW + 300_000).records, NOTHING);
});

test("a pull that a service cancels before it exits has failed", () => {
    const cancelled = after(STARTED, seen([aJob()]), seen([aJob({ state: "cancelled" })]));
    assert.equal(follow(cancelled, seen([]), NOW + 500).records.failed[0]?.error, INTERRUPTED);
});

test("a later pull of the same image removes its failure", () => {
    const later = aJob({ path: "/org/virtlayer1/job/2", state: "done", finishedAt: NOW + 9000 });
    const records = after(STARTED, seen([FAILED]), seen([FAILED, later]));
    assert.deepEqual(records.failed, []);
    assert.deepEqual(after(records, seen([FAILED, later])).failed, []);
});

test("a pull whose service was killed has failed", () => {
    const records = after(STARTED, seen([aJob()]), seen([]));
    assert.equal(records.failed[0]?.error, INTERRUPTED);
    assert.equal(records.failed[0].request.name, "d");
});

test("a pull that was done has not failed when its job no longer exists", () => {
    const running = after(STARTED, seen([aJob()]));
    assert.deepEqual(after(running, seen([], [anImage()])), NOTHING);
    assert.equal(after(running, seen([], [anImage({ pulledAt: NOW - 1 })])).failed.length, 1);
});

test("a pull whose job has not appeared yet is waited for", () => {
    assert.equal(after(STARTED, seen([])), STARTED);
    assert.equal(follow(STARTED, seen([]), NOW + 60_000).records.failed.length, 1);
});

test("a job of a service that was started again is another one", () => {
    const running = after(STARTED, seen([aJob()]));
    const other = aJob({ source: "docker://docker.io/library/alpine:3" });
    const records = after(running, seen([other]));
    assert.equal(records.failed[0]?.source, SOURCE);
    assert.deepEqual(records.running[0]?.request, plainRequest(other.source, "default"));
});

test("progress changes no record", () => {
    const running = after(STARTED, seen([aJob()]));
    assert.equal(after(running, seen([aJob({ progress: 0.5, bytesDone: 7 })])), running);
});

test("jobs that do not pull, and pulls of other users, are not recorded", () => {
    const jobs = [aJob({ kind: "create-domain" }), aJob({ source: "" }), { ...FAILED, source: "", message: "" }];
    assert.equal(after(NOTHING, seen(jobs)), NOTHING);
});

test("a request of this tab is kept when another tab has seen its job, too", () => {
    const theirs = after(NOTHING, seen([aJob(), { ...FAILED, path: "/org/virtlayer1/job/2" }]));
    const { running, failed } = merged(STARTED, theirs);
    assert.deepEqual(running, STARTED.running);
    assert.deepEqual(failed, theirs.failed);
});

test("a failure that another tab has stored without its request gets it", () => {
    const theirs = after(NOTHING, seen([FAILED]));
    const { failed, running } = after(merged(STARTED, theirs), seen([FAILED]));
    assert.deepEqual(running, []);
    assert.deepEqual(failed.map(({ request }) => request.name), ["d"]);
});

test("what another tab has stored before it knew of a failure does not take its request away", () => {
    const ours = after(STARTED, seen([aJob()]), seen([FAILED]));
    const theirs = after(NOTHING, seen([aJob()]));
    const both = merged(ours, theirs);
    assert.deepEqual(both.failed, ours.failed);
    assert.ok(hasMore(both, theirs));
    assert.deepEqual(after(both, seen([FAILED])), ours);
});

test("a failure that another tab has stored without its request keeps that of this tab", () => {
    const ours = after(STARTED, seen([aJob()]), seen([FAILED]));
    const theirs = after(NOTHING, seen([FAILED]));
    const both = merged(ours, theirs);
    assert.deepEqual(both.failed, ours.failed);
    assert.ok(hasMore(both, theirs));
    // The other tab takes it, and does not answer.
    const answer = merged(theirs, both);
    assert.deepEqual(answer, both);
    assert.ok(!hasMore(answer, both));
});

test("a request that another tab has stored without its options is stored again, but not one that is over", () => {
    const theirs = after(NOTHING, seen([aJob()]));
    assert.ok(hasMore(merged(STARTED, theirs), theirs));
    assert.ok(!hasMore(merged(STARTED, NOTHING), NOTHING));
});

test("a failure that is dismissed in one of two tabs does not come back", () => {
    const failed = after(NOTHING, seen([FAILED]));
    const dismissed = withoutFailure(failed, failed.failed[0]?.id ?? "");
    for (const both of [merged(failed, dismissed), merged(dismissed, failed)]) assert.deepEqual(both, dismissed);
});

test("tabs with more failures than are stored do not answer each other for ever", () => {
    const jobs = Array.from({ length: 30 }, (_, index) => ({ ...FAILED, path: `/job/${index}` }));
    const ours = after(NOTHING, seen(jobs));
    const theirs = fromText(toText(ours));
    assert.ok(!hasMore(merged(ours, theirs), theirs));
});

test("records that are stored are read as they were", () => {
    const records = after(STARTED, seen([FAILED, aJob({ path: "/org/virtlayer1/job/2", source: "docker://a/b:1" })]));
    assert.deepEqual(fromText(toText(records)), records);
});

test("damaged records, and those of another version, are ignored", () => {
    const valid = toText(after(STARTED, seen([FAILED])));
    for (const text of [
        null,
        "",
        "{",
        "null",
        "[]",
        "7",
        "{}",
        valid.replace('"version":1', '"version":2'),
        valid.replace('"tlsVerify":false', '"tlsVerify":"no"'),
        valid.replace('"size":0', '"size":-1'),
        valid.replace('"size":0', '"size":1e999'),
        valid.replace('"failed":[', '"failed":[null,'),
        valid.replace('"dismissed":[]', '"dismissed":[{"__proto__":null}]'),
        valid.replace('"dismissed":[]', `"dismissed":[${Array(21).fill('"x"').join()}]`),
        valid.replace("There is", "x".repeat(9000)),
    ]) {
        assert.deepEqual(fromText(text), NOTHING, String(text).slice(0, 100));
    }
});

test("at most twenty failures are stored, and long messages are cut", () => {
    const jobs = Array.from({ length: 30 }, (_, index) => ({ ...FAILED, path: `/job/${index}`, message: "m".repeat(10_000) }));
    const { failed } = fromText(toText(after(NOTHING, seen(jobs))));
    assert.equal(failed.length, 20);
    assert.equal(failed.at(-1)?.id, `/job/29 ${NOW + 5000}`);
});
