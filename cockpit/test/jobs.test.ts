// SPDX-License-Identifier: LGPL-2.1-or-later
import assert from "node:assert/strict";
import { test } from "node:test";

import { endedUpdates, nameOf, runningUpdate, summaryOf } from "../src/jobs/configured.ts";
import { FailedJobs, listed } from "../src/jobs/failed-jobs.ts";
import * as parsing from "../src/service/parsing.ts";
import { UNKNOWN, type ServiceState } from "../src/service/state.ts";
import type { Job, JobState } from "../src/service/values.ts";
import { job as properties, variant } from "./fake-bus.ts";

function job(id: number, state: JobState, kind = "remove", more: Partial<Job> = {}): Job {
    const parsed = parsing.job(`/org/virtlayer1/job/${id}`, properties(id, state)["org.virtlayer1.Job"] ?? {});
    return { ...parsed, kind, startedAt: id, ...more };
}

class FakeService {
    state: ServiceState = UNKNOWN;
    listener: () => void = () => undefined;

    readonly snapshot = () => this.state;
    readonly subscribe = (listener: () => void) => {
        this.listener = listener;
        return () => undefined;
    };

    show(...jobs: Job[]): void {
        this.state = { ...this.state, jobs };
        this.listener();
    }
}

test("a failed job stays until it is dismissed, even if the service forgets it", () => {
    const service = new FakeService();
    const failed = new FailedJobs(service);
    service.show(job(1, "failed"), job(2, "running"), job(3, "failed", "pull"));
    service.show(job(1, "failed", "remove", { message: "in use" }));
    service.show();
    assert.deepEqual(failed.snapshot().map(({ id, message }) => [id, message]), [[1, "in use"]]);
    failed.dismiss(job(1, "failed"));
    service.show(job(1, "failed"));
    assert.deepEqual(failed.snapshot(), []);
    // The service was started again.
    service.show(job(1, "failed", "prune", { startedAt: 100 }));
    assert.deepEqual(failed.snapshot().map(({ kind }) => kind), ["prune"]);
});

test("running jobs are listed first, then failed ones, and no pulls", () => {
    const jobs = [job(1, "done"), job(2, "failed"), job(3, "running"), job(4, "done"), job(5, "running", "pull"), job(6, "queued")];
    const ids = listed(jobs, [job(2, "failed")]).map(({ id }) => id);
    assert.deepEqual(ids, [6, 3, 2, 4, 1]);
});

test("the result of an update has the outcome of each image", () => {
    const outcomes = parsing.populated({
        images: variant("aa{sv}", [
            { file: variant("s", "/x/debian.toml"), name: variant("s", "debian"), outcome: variant("s", "updated") },
            {
                file: variant("s", "/x/bad.toml"),
                outcome: variant("s", "failed"),
                error: variant("s", "org.virtlayer1.Error.InvalidArgument"),
                message: variant("s", "Invalid key"),
            },
        ]),
    });
    assert.deepEqual(outcomes.map(nameOf), ["debian", "bad.toml"]);
    const { failed, total } = summaryOf(outcomes);
    assert.deepEqual([failed.map(({ message }) => message), total], [["Invalid key"], 2]);
    assert.throws(() => parsing.populated({ images: variant("s", "x") }), parsing.Malformed);
    assert.deepEqual(parsing.populated({}), []);
});

test("only an update that has ended makes the images be read again", () => {
    const jobs = [job(1, "running", "populate"), job(2, "done", "populate", { finishedAt: 9 }), job(3, "done", "prune", { finishedAt: 9 })];
    assert.deepEqual(endedUpdates(jobs), ["/org/virtlayer1/job/2 9"]);
    assert.equal(runningUpdate(jobs)?.id, 1);
});
