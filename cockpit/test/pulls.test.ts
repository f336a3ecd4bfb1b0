// SPDX-License-Identifier: LGPL-2.1-or-later
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";

import { Pulls } from "../src/pull/pulls.ts";
import { NO_CREDENTIALS, plainRequest } from "../src/pull/request.ts";
import { fromText } from "../src/pull/stored-records.ts";
import { Service } from "../src/service/service.ts";
import { busError, FakeBus, job, variant } from "./fake-bus.ts";

const JOB = "/org/virtlayer1/job/1";
const SOURCE = "docker://host/private:1";
const REQUEST = { ...plainRequest("docker://host/private:1", "default"), tlsVerify: false, hasCredentials: true };
const CALL = `Pull ${SOURCE} default`;

/** A page whose service leaves the call of a pull without a reply. */
async function opened(bus: FakeBus): Promise<Pulls> {
    bus.replies.set("Pull", () => undefined);
    bus.install();
    Object.assign(globalThis, { window: new EventTarget() });
    Object.assign(cockpit, {
        user: () => Promise.resolve({ id: 0 }),
        transport: { host: "localhost" },
        localStorage: { getItem: () => null, setItem: () => undefined, prefixedKey: (key: string) => key },
    });
    const service = new Service("session");
    await service.start();
    return new Pulls(service);
}

/** The signals of a job that starts and ends, with its private properties. */
function run(bus: FakeBus, end: Record<string, cockpit.Variant>): void {
    const properties = { Source: variant("s", SOURCE), Pool: variant("s", "default"), Result: variant("a{sv}", {}) };
    bus.signal("/org/virtlayer1", "InterfacesAdded", JOB, job(1, "running", properties));
    bus.signal(JOB, "PropertiesChanged", "org.virtlayer1.Job", { ...end, FinishedAt: variant("t", 1_700_000_000_000_000) }, []);
}

const FAILURE = {
    State: variant("s", "failed"),
    Error: variant("s", "org.virtlayer1.Error.RegistryAuth"),
    Message: variant("s", "The registry refuses the password."),
};

test("a pull that fails before the reply of its call keeps its request", async () => {
    const bus = new FakeBus();
    const pulls = await opened(bus);
    const start = pulls.start(REQUEST, NO_CREDENTIALS);
    await setImmediate();
    run(bus, FAILURE);
    await setImmediate();
    assert.deepEqual(pulls.snapshot().failed, []);

    bus.answer(CALL, [1, JOB]);
    await start;
    assert.deepEqual(pulls.snapshot().failed.map(({ request }) => request), [REQUEST]);
});

test("a pull that is done before the reply of its call is reported", async () => {
    const bus = new FakeBus();
    const pulls = await opened(bus);
    const start = pulls.start(REQUEST, NO_CREDENTIALS);
    await setImmediate();
    run(bus, { State: variant("s", "done") });
    bus.answer(CALL, [1, JOB]);
    await start;
    assert.deepEqual(pulls.takeDone().map(({ path }) => path), [JOB]);
});

test("a failure of another client is shown after a call that is refused", async () => {
    const bus = new FakeBus();
    const pulls = await opened(bus);
    const start = pulls.start(REQUEST, NO_CREDENTIALS);
    await setImmediate();
    run(bus, FAILURE);
    bus.answer(CALL, busError("org.virtlayer1.Error.ImageExists"));
    await assert.rejects(start);
    assert.deepEqual(pulls.snapshot().failed.map(({ request }) => request), [plainRequest(SOURCE, "default")]);
});

test("what another tab has stored without the options of a request is stored again with them, once", async () => {
    const bus = new FakeBus();
    const pulls = await opened(bus);
    const stored: string[] = [];
    Object.assign(cockpit.localStorage, { setItem: (_key: string, text: string) => stored.push(text) });
    const start = pulls.start(REQUEST, NO_CREDENTIALS);
    await setImmediate();
    bus.answer(CALL, [1, JOB]);
    await start;
    const record = { job: JOB, request: plainRequest(SOURCE, "default"), source: SOURCE, recordedAt: Date.now() };
    const running = [{ ...record, startedAt: 0, cancelledAt: 0, isOwn: false }];
    const other = JSON.stringify({ version: 1, running, failed: [], dismissed: [] });
    store(other);
    assert.deepEqual(fromText(stored.at(-1) ?? null).running.map(({ request }) => request), [REQUEST]);
    const times = stored.length;
    store(stored.at(-1) ?? "");
    assert.equal(stored.length, times);
});

/** Lets another tab store records. */
function store(newValue: string): void {
    window.dispatchEvent(Object.assign(new Event("storage"), { key: "virtlayer:pulls:localhost:0:session", newValue }));
}
