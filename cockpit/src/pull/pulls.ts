// SPDX-License-Identifier: LGPL-2.1-or-later
/** The pulls of one service: those that run, with their pace, and those that have failed. */
import { failureOf } from "../service/failures.ts";
import type { Service } from "../service/service.ts";
import { isOver } from "../service/state.ts";
import type { Job } from "../service/values.ts";
import { bytesPerSecond, noted, secondsLeft, type Sample } from "./pace.ts";
import { follow, hasMore, merged, NOTHING, withoutFailure, withoutPull, type FailedRecord, type Records } from "./records.ts";
import { NO_CREDENTIALS, optionsOf, type Credentials, type PullRequest } from "./request.ts";
import { fromText, toText } from "./stored-records.ts";

export interface RunningPull {
    readonly job: Job;
    /** What was asked for; undefined for a pull of another user. */
    readonly request: PullRequest | undefined;
    readonly bytesPerSecond: number;
    readonly secondsLeft: number | undefined;
}

export interface PullsState {
    /** The oldest first. */
    readonly running: readonly RunningPull[];
    readonly failed: readonly FailedRecord[];
}

/** The pace is measured so often, in milliseconds: more often, nobody could read it. */
const MEASURED_EVERY = 1000;

export class Pulls {
    #records: Records = NOTHING;
    #done: readonly Job[] = [];
    #key: string | undefined;
    #samples = new Map<string, readonly Sample[]>();
    #measuring: ReturnType<typeof setInterval> | undefined;
    /** How many pulls have no reply yet. */
    #starting = 0;
    #state: PullsState = { running: [], failed: [] };
    readonly #opened: Promise<void>;
    readonly #listeners = new Set<() => void>();

    constructor(readonly service: Service) {
        this.#opened = this.#open();
        service.subscribe(() => {
            this.#follow();
        });
    }

    readonly subscribe = (listener: () => void): (() => void) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
    };

    readonly snapshot = (): PullsState => this.#state;

    /** The pulls of this browser that are done since the last call. */
    takeDone(): readonly Job[] {
        const done = this.#done;
        this.#done = [];
        return done;
    }

    /** Starts a pull; rejects with a Failure if the service refuses it. */
    async start(request: PullRequest, credentials: Credentials): Promise<void> {
        await this.#opened;
        // The job is seen before the reply that tells its path, and may have failed by then.
        this.#starting += 1;
        try {
            const { path } = await this.service.pull(request.source, request.pool, optionsOf(request, credentials));
            const record = { job: path, request, source: "", recordedAt: Date.now(), startedAt: 0, cancelledAt: 0, isOwn: true };
            const others = withoutPull(this.#records, path);
            this.#keep({ ...others, running: [...others.running, record] });
        } finally {
            this.#starting -= 1;
            this.#follow();
        }
    }

    /** Starts a failed pull again with the same request; if the service refuses it, the failure says why. */
    async retry(failed: FailedRecord): Promise<void> {
        try {
            await this.start(failed.request, NO_CREDENTIALS);
            this.dismiss(failed.id);
        } catch (error) {
            const { kind, message } = failureOf(error);
            const replaced = this.#records.failed.map((one) => (one.id === failed.id ? { ...one, error: kind, message } : one));
            this.#keep({ ...this.#records, failed: replaced });
            this.#publish();
        }
    }

    /** Forgets a failed pull. */
    dismiss(id: string): void {
        this.#keep(withoutFailure(this.#records, id));
        this.#publish();
    }

    async cancel(job: Job): Promise<void> {
        await this.service.cancel(job.path);
        this.#keep(withoutPull(this.#records, job.path));
    }

    /** The storage that Cockpit clears when the user logs out. */
    async #open(): Promise<void> {
        const { id } = await cockpit.user();
        this.#key = `virtlayer:pulls:${cockpit.transport.host}:${id}:${this.service.where}`;
        this.#records = fromText(cockpit.localStorage.getItem(this.#key));
        const stored = cockpit.localStorage.prefixedKey(this.#key);
        window.addEventListener("storage", (event) => {
            // Another tab has changed it.
            if (event.key !== stored && event.key !== null) return;
            const theirs = fromText(event.newValue);
            const both = merged(this.#records, theirs);
            // Otherwise it is not stored again, or two tabs would answer each other for ever. There is nothing after
            // a logout, and for a page of another version.
            if (theirs !== NOTHING && hasMore(both, theirs)) this.#keep(both);
            else this.#records = both;
            this.#follow();
        });
        this.#follow();
    }

    #follow(): void {
        const { status, jobs, images } = this.service.snapshot();
        if (this.#key !== undefined && status === "ready") {
            const { records, done } = follow(this.#records, { jobs, images, isStarting: this.#starting > 0 }, Date.now());
            this.#keep(records);
            this.#done = [...this.#done, ...done];
        }
        this.#publish();
    }

    #keep(records: Records): void {
        if (records === this.#records || this.#key === undefined) return;
        this.#records = records;
        try {
            cockpit.localStorage.setItem(this.#key, toText(records));
        } catch (error) {
            // The storage is full or forbidden. The page works without it, until it is reloaded.
            console.warn("virtlayer: cannot keep the list of pulls:", String(error));
        }
    }

    #publish(): void {
        const jobs = this.service.snapshot().jobs.filter((job) => job.kind === "pull" && !isOver(job));
        const requests = new Map(this.#records.running.map(({ job, request }) => [job, request]));
        const running = jobs.map((job) => {
            const samples = this.#samples.get(job.path) ?? [];
            const request = requests.get(job.path);
            return { job, request, bytesPerSecond: bytesPerSecond(samples), secondsLeft: secondsLeft(samples) };
        });
        this.#measure(jobs);
        const { failed } = this.#records;
        // Nothing is drawn again for the progress of other jobs.
        if (running.length === 0 && this.#state.running.length === 0 && failed === this.#state.failed && this.#done.length === 0) return;
        this.#state = { running, failed };
        for (const listener of this.#listeners) listener();
    }

    #measure(running: readonly Job[]): void {
        if (running.length > 0) {
            this.#measuring ??= setInterval(() => {
                this.#noteSamples();
            }, MEASURED_EVERY);
        } else {
            clearInterval(this.#measuring);
            this.#measuring = undefined;
            this.#samples.clear();
        }
    }

    #noteSamples(): void {
        const time = Date.now();
        const samples = new Map<string, readonly Sample[]>();
        for (const { job } of this.#state.running) {
            if (job.state !== "running") continue;
            const before = this.#samples.get(job.path) ?? [];
            samples.set(job.path, noted(before, { time, bytes: job.bytesDone, progress: job.progress }));
        }
        this.#samples = samples;
        this.#publish();
    }
}

const pulls = new WeakMap<Service, Pulls>();

/** The pulls of a service: one object, however often it is asked for. */
export function pullsOf(service: Service): Pulls {
    let found = pulls.get(service);
    if (found === undefined) {
        found = new Pulls(service);
        pulls.set(service, found);
    }
    return found;
}
