// SPDX-License-Identifier: LGPL-2.1-or-later
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setImmediate } from "node:timers/promises";

import { Service } from "../src/service/service.ts";
import { busError, FakeBus, image, job, variant } from "./fake-bus.ts";

const IMAGE = "/org/virtlayer1/image/1";
const JOB = "/org/virtlayer1/job/1";
const ROOT = "/org/virtlayer1";

async function started(bus: FakeBus): Promise<Service> {
    bus.install();
    const service = new Service("session");
    await service.start();
    return service;
}

/** Lets planned looks run, and their replies arrive. */
async function pass(context: TestContext, milliseconds: number): Promise<void> {
    await setImmediate();
    context.mock.timers.tick(milliseconds);
    await setImmediate();
}

function withTimers(context: TestContext): void {
    context.mock.timers.enable({ apis: ["setTimeout", "Date"] });
}

test("a signal that follows the reply of the first load is not lost", async () => {
    const bus = new FakeBus();
    bus.replies.set("GetManagedObjects", () => undefined);
    bus.install();
    const service = new Service("session");
    const ready = service.start();
    await setImmediate();
    bus.answer("GetManagedObjects", [{ [JOB]: job(1, "queued") }]);
    bus.signal(JOB, "PropertiesChanged", "org.virtlayer1.Job", { State: variant("s", "running") }, []);
    bus.signal(ROOT, "InterfacesAdded", IMAGE, image("debian:13"));
    await ready;
    assert.equal(service.snapshot().jobs[0]?.state, "running");
    assert.deepEqual(service.snapshot().images.map(({ name }) => name), ["debian:13"]);
});

test("signals that are newer than the reply of the first load, but arrive before it, are kept", async () => {
    const bus = new FakeBus();
    bus.replies.set("GetManagedObjects", () => undefined);
    bus.replies.set("GetAll org.virtlayer1.Image", () => [image("new")["org.virtlayer1.Image"]]);
    bus.replies.set("GetAll org.virtlayer1.Job", () => [job(1, "failed")["org.virtlayer1.Job"]]);
    bus.install();
    const service = new Service("session");
    const ready = service.start();
    await setImmediate();
    bus.signal(ROOT, "InterfacesAdded", JOB, job(1, "running"));
    bus.signal(JOB, "PropertiesChanged", "org.virtlayer1.Job", { State: variant("s", "failed") }, []);
    bus.signal(IMAGE, "PropertiesChanged", "org.virtlayer1.Image", { Name: variant("s", "new") }, []);
    bus.signal(ROOT, "InterfacesRemoved", "/org/virtlayer1/image/2", ["org.virtlayer1.Image"]);
    bus.answer("GetManagedObjects", [{ [IMAGE]: image("old"), "/org/virtlayer1/image/2": image("removed") }]);
    await ready;
    await setImmediate();
    assert.deepEqual(service.snapshot().jobs.map(({ state }) => state), ["failed"]);
    assert.deepEqual(service.snapshot().images.map(({ name }) => name), ["new"]);
});

test("private properties of a new image are read", async () => {
    const bus = new FakeBus();
    const service = await started(bus);
    bus.replies.set("GetAll org.virtlayer1.Image", () => [
        image("debian:13", { Source: variant("s", "docker://debian:13") })["org.virtlayer1.Image"],
    ]);
    bus.signal(ROOT, "InterfacesAdded", IMAGE, image("debian:13"));
    assert.equal(service.snapshot().images[0]?.source, "");
    await setImmediate();
    assert.equal(service.snapshot().images[0]?.source, "docker://debian:13");
});

test("properties that a large reply leaves out are read, a few objects at a time", async () => {
    const bus = new FakeBus();
    const source = { Source: variant("s", "docker://x") };
    const paths = [1, 2, 3, 4, 5, 6].map((id) => `/org/virtlayer1/image/${id}`);
    bus.replies.set("GetManagedObjects", () => [Object.fromEntries(paths.map((path) => [path, image(path, source)]))]);
    bus.replies.set("GetAll org.virtlayer1.Image", () => undefined);
    const service = await started(bus);
    await setImmediate();
    assert.equal(bus.count("GetAll org.virtlayer1.Image"), 4);
    const layers = { ...source, Layers: variant("a(sst)", [["sha256:1", "layer", 7]]) };
    for (const path of paths) {
        bus.answer("GetAll org.virtlayer1.Image", [image(path, layers)["org.virtlayer1.Image"]]);
        await setImmediate();
    }
    assert.deepEqual(service.snapshot().images.map((one) => one.layers.length), [1, 1, 1, 1, 1, 1]);
});

test("a failure to read a new image is shown", async () => {
    const bus = new FakeBus();
    const service = await started(bus);
    bus.replies.set("GetAll org.virtlayer1.Image", () => busError("org.virtlayer1.Error.Busy", "Too many calls."));
    bus.signal(ROOT, "InterfacesAdded", IMAGE, image("debian:13"));
    await setImmediate();
    assert.deepEqual([service.snapshot().problem?.message, service.snapshot().images.length], ["Too many calls.", 1]);
});

test("an image that is removed before it was read is no failure", async () => {
    const bus = new FakeBus();
    const service = await started(bus);
    bus.replies.set("GetAll org.virtlayer1.Image", () => undefined);
    bus.signal(ROOT, "InterfacesAdded", IMAGE, image("debian:13"));
    await setImmediate();
    bus.signal(ROOT, "InterfacesRemoved", IMAGE, ["org.virtlayer1.Image"]);
    bus.answer("GetAll org.virtlayer1.Image", busError("org.freedesktop.DBus.Error.UnknownObject"));
    await setImmediate();
    assert.equal(service.snapshot().problem, undefined);
});

test("an image of others, whose private properties are hidden, is not read again and again", async () => {
    const bus = new FakeBus();
    bus.replies.set("GetManagedObjects", () => [{ [IMAGE]: image("debian:13") }]);
    await started(bus);
    await setImmediate();
    assert.equal(bus.count("GetAll org.virtlayer1.Image"), 0);
});

test("an exit of the service keeps its images, and forgets its jobs until it is back", async () => {
    const bus = new FakeBus();
    bus.replies.set("GetManagedObjects", () => [{ [IMAGE]: image("debian:13"), [JOB]: job(1, "running") }]);
    const service = await started(bus);
    bus.owner(null);
    assert.equal(service.snapshot().status, "ready");
    assert.deepEqual([service.snapshot().images.length, service.snapshot().jobs.length], [1, 0]);
    bus.replies.set("GetManagedObjects", () => [{ [IMAGE]: image("alpine:3") }]);
    bus.owner(":1.7");
    await setImmediate();
    assert.deepEqual(service.snapshot().images.map(({ name }) => name), ["alpine:3"]);
});

test("a failure after the first load keeps what is on the page, and is shown until the next look", async (context) => {
    withTimers(context);
    const bus = new FakeBus();
    bus.replies.set("GetManagedObjects", () => [{ [IMAGE]: image("debian:13") }]);
    const service = await started(bus);
    bus.replies.set("ListPools", () => busError("org.virtlayer1.Error.Libvirt", "libvirt does not answer"));
    service.lookAgain();
    await pass(context, 300);
    const { status, problem, images } = service.snapshot();
    assert.deepEqual([status, problem?.kind, images.length], ["ready", "no-libvirt", 1]);
    bus.replies.set("ListPools", () => [[]]);
    service.lookAgain();
    await pass(context, 300);
    assert.equal(service.snapshot().problem, undefined);
});

test("a pool that does not answer hinders no other, and is not asked again meanwhile", async (context) => {
    withTimers(context);
    const bus = new FakeBus();
    bus.replies.set("ListPools", () => [[["bad", "netfs", "running", 1, 1], ["good", "dir", "running", 1, 1]]]);
    bus.replies.set("ListVolumes bad", () => undefined);
    const service = await started(bus);
    await pass(context, 300);
    assert.notEqual(service.snapshot().contents.get("good")?.usage, undefined);
    service.lookAgain();
    await pass(context, 300);
    assert.deepEqual([bus.count("ListVolumes good"), bus.count("ListVolumes bad")], [2, 1]);
    await pass(context, 30_000);
    assert.match(service.snapshot().contents.get("bad")?.error ?? "", /does not answer/);
    bus.answer("ListVolumes bad", [[]]);
    await setImmediate();
    assert.deepEqual(service.snapshot().contents.get("bad"), { volumes: [], usage: service.snapshot().contents.get("bad")?.usage });
});

test("many jobs that end are looked at once, and only in their pool", async (context) => {
    withTimers(context);
    const bus = new FakeBus();
    bus.replies.set("ListPools", () => [[["one", "dir", "running", 1, 1], ["two", "dir", "running", 1, 1]]]);
    bus.replies.set("GetManagedObjects", () => [{ [JOB]: job(1, "running", { Pool: variant("s", "one") }) }]);
    await started(bus);
    await pass(context, 300);
    for (let count = 0; count < 50; count += 1) {
        bus.signal(ROOT, "JobFinished", 1, JOB, "done", "", "");
        context.mock.timers.tick(10);
    }
    await pass(context, 300);
    assert.equal(bus.count("ListVolumes two"), 1);
    assert.ok(bus.count("ListVolumes one") <= 3, `${bus.count("ListVolumes one")}`);
});

test("a look that is planned when the service exits does not start it again", async (context) => {
    withTimers(context);
    const bus = new FakeBus();
    const service = await started(bus);
    await pass(context, 300);
    service.lookAgain();
    bus.owner(null);
    const before = bus.calls.length;
    await pass(context, 60_000);
    assert.equal(bus.calls.length, before);
});

test("a service that does not keep to its interface breaks nothing, and is reported once", async () => {
    const bus = new FakeBus();
    bus.replies.set("GetManagedObjects", () => [
        { [IMAGE]: image("debian:13"), "/org/virtlayer1/image/2": { "org.virtlayer1.Image": { Name: variant("u", 2) } } },
    ]);
    const service = await started(bus);
    assert.deepEqual(service.snapshot().images.map(({ name }) => name), ["debian:13"]);
    const { problem } = service.snapshot();
    assert.equal(problem?.kind, "malformed");
    for (const args of [[], [7], [IMAGE], [IMAGE, null], [IMAGE, { "org.virtlayer1.Image": [] }], ["", { "org.virtlayer1.Job": {} }]]) {
        for (const member of ["InterfacesAdded", "InterfacesRemoved", "PropertiesChanged", "ProgressChanged", "JobFinished"]) {
            bus.signal(IMAGE, member, ...args);
        }
    }
    await setImmediate();
    assert.equal(service.snapshot().status, "ready");
    assert.equal(service.snapshot().problem, problem);
});

test("the problem of a first load says what is missing", async () => {
    for (const [name, kind] of [
        ["org.virtlayer1.Error.Libvirt", "no-libvirt"],
        ["org.virtlayer1.Error.PoolUnavailable", "no-libvirt"],
        ["org.freedesktop.DBus.Error.AccessDenied", "not-permitted"],
        ["org.freedesktop.DBus.Error.NoReply", "gone"],
        ["org.example.Error", "other"],
    ] as const) {
        const bus = new FakeBus();
        bus.replies.set("ListPools", () => busError(name));
        const service = await started(bus);
        assert.deepEqual([service.snapshot().status, service.snapshot().problem?.kind], ["failed", kind]);
    }
});

test("an activation that fails says why", async () => {
    for (const [name, kind] of [
        ["org.freedesktop.DBus.Error.ServiceUnknown", "not-installed"],
        ["org.freedesktop.DBus.Error.Spawn.ChildExited", "not-running"],
    ] as const) {
        const bus = new FakeBus();
        bus.replies.set("NameHasOwner", () => [false]);
        bus.replies.set("StartServiceByName", () => busError(name, "why"));
        const service = await started(bus);
        assert.deepEqual(service.snapshot().problem, { kind, message: "why" });
    }
});

test("a lost connection of Cockpit keeps the page, and any other ends the service's part of it", async () => {
    const bus = new FakeBus();
    const service = await started(bus);
    bus.close("disconnected");
    assert.equal(service.snapshot().status, "ready");
    await assert.rejects(service.pull("docker://x", "default", {}), { kind: "disconnected" });
    await service.start();
    bus.close("terminated");
    assert.equal(service.snapshot().status, "failed");
});

test("progress that arrives in a row is shown once", async (context) => {
    withTimers(context);
    const bus = new FakeBus();
    bus.replies.set("GetManagedObjects", () => [{ [JOB]: job(1, "running") }]);
    const service = await started(bus);
    // The first look at the contents of pools is over.
    await pass(context, 300);
    let changes = 0;
    service.subscribe(() => {
        changes += 1;
    });
    for (const done of [1, 2, 3]) bus.signal(JOB, "ProgressChanged", done / 10, "downloading", done, 10);
    assert.equal(changes, 0);
    await pass(context, 300);
    assert.equal(changes, 1);
    assert.equal(service.snapshot().jobs[0]?.bytesDone, 3);
});
