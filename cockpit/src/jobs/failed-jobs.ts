// SPDX-License-Identifier: LGPL-2.1-or-later
/** The jobs of a service that have failed, until the user dismisses them: the service forgets them earlier. */
import type { Service } from "../service/service.ts";
import type { Job } from "../service/values.ts";

/** So many are remembered; the oldest are dropped. */
const AT_MOST = 50;

export class FailedJobs {
    #failed: readonly Job[] = [];
    readonly #known = new Set<string>();
    readonly #listeners = new Set<() => void>();

    constructor(service: Pick<Service, "subscribe" | "snapshot">) {
        const follow = () => {
            for (const job of service.snapshot().jobs) this.#follow(job);
        };
        follow();
        service.subscribe(follow);
    }

    readonly subscribe = (listener: () => void): (() => void) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
    };

    /** The oldest first. */
    readonly snapshot = (): readonly Job[] => this.#failed;

    dismiss(job: Job): void {
        this.#change(this.#failed.filter((one) => keyOf(one) !== keyOf(job)));
    }

    #follow(job: Job): void {
        if (job.state !== "failed" || !isListed(job)) return;
        const key = keyOf(job);
        if (!this.#known.has(key)) {
            this.#known.add(key);
            this.#change([...this.#failed, job].slice(-AT_MOST));
        } else if (this.#failed.some((one) => keyOf(one) === key && one !== job)) {
            // Its message is private, and is read after the job has ended.
            this.#change(this.#failed.map((one) => (keyOf(one) === key ? job : one)));
        }
    }

    #change(failed: readonly Job[]): void {
        this.#failed = failed;
        for (const listener of this.#listeners) listener();
    }
}

const all = new WeakMap<Service, FailedJobs>();

/** Those of a service since the first call. */
export function failedJobsOf(service: Service): FailedJobs {
    let jobs = all.get(service);
    if (jobs === undefined) {
        jobs = new FailedJobs(service);
        all.set(service, jobs);
    }
    return jobs;
}

/** Pulls have a list of their own. */
export function isListed(job: Job): boolean {
    return job.kind !== "pull";
}

/** A restarted service counts its jobs from 1 again. */
export function keyOf(job: Job): string {
    return `${job.path} ${job.startedAt}`;
}

/** The jobs of the list: those that run or wait, then the failed ones, then the others, each the newest first. */
export function listed(jobs: readonly Job[], failed: readonly Job[]): readonly Job[] {
    const others = jobs.filter((job) => isListed(job) && job.state !== "failed");
    return [...others, ...failed].sort(
        (one, other) => rank(one) - rank(other) || other.startedAt - one.startedAt || other.id - one.id,
    );
}

function rank(job: Job): number {
    if (job.state === "running" || job.state === "queued") return 0;
    return job.state === "failed" ? 1 : 2;
}
