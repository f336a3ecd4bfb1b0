// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * What the page remembers of the pulls of one service: what was asked for by those that run, and those that
 * have failed. It outlives a reload of the page, and the jobs of the service, which end with the service.
 */
import { kindOf } from "../service/failures.ts";
import type { Image, Job } from "../service/values.ts";
import { plainRequest, type PullRequest } from "./request.ts";

/** A pull that had not ended when it was seen last. */
export interface RunningRecord {
    /** The path of its job, which is unique until the service exits. */
    readonly job: string;
    readonly request: PullRequest;
    /** The source in its full form; empty until the job was seen. */
    readonly source: string;
    /** When it was recorded, by this browser's clock. */
    readonly recordedAt: number;
    /** When its job left the queue, by the host's clock; 0 until that was seen. */
    readonly startedAt: number;
    /** When its job was seen to be cancelled, by this browser's clock; 0 if it was not. */
    readonly cancelledAt: number;
    /** Whether this browser has started it. */
    readonly isOwn: boolean;
}

export interface FailedRecord {
    readonly id: string;
    readonly request: PullRequest;
    /** The source in its full form, if it is known. */
    readonly source: string;
    /** The kind of a Failure, or INTERRUPTED. */
    readonly error: string;
    readonly message: string;
}

export interface Records {
    readonly running: readonly RunningRecord[];
    /** The oldest first. */
    readonly failed: readonly FailedRecord[];
    /** The ids of failures that must not be shown again while their jobs are still there. */
    readonly dismissed: readonly string[];
}

export const NOTHING: Records = { running: [], failed: [], dismissed: [] };

/** So many of each are stored. */
export const AT_MOST = 20;
/** The error of a pull whose job no longer exists, and whose result is not known. */
export const INTERRUPTED = "Interrupted";
/** The job of a call appears at about the same time as its reply: in so many milliseconds. */
const APPEARS_WITHIN = 10_000;
/** A service that is stopped, as for an update, cancels its jobs, and exits within so many milliseconds. */
const EXITS_WITHIN = 10_000;

/** What the service has. */
export interface Seen {
    readonly jobs: readonly Job[];
    readonly images: readonly Image[];
    /** Whether a pull of this browser has no reply yet: any job may be that of this pull. */
    readonly isStarting?: boolean;
}

export interface Followed {
    /** The same object if nothing has changed. */
    readonly records: Records;
    /** Pulls of this browser that are done since. */
    readonly done: readonly Job[];
}

/** Compares the records with what the service has now. */
export function follow(records: Records, seen: Seen, now: number): Followed {
    const pulls = seen.jobs.filter(({ kind }) => kind === "pull");
    const running: RunningRecord[] = [];
    const failed = [...records.failed];
    const dismissed = records.dismissed.filter((id) => pulls.some((job) => idOf(job) === id));
    const done: Job[] = [];
    const known = new Map<string, RunningRecord>();

    for (const record of records.running) {
        const job = pulls.find((one) => isOf(record, one));
        if (job !== undefined) known.set(job.path, record);
        else if (record.source === "" && now - record.recordedAt < APPEARS_WITHIN) running.push(record);
        else if (wasInterrupted(record, now) && !hasImage(seen.images, record)) failed.push(interrupted(record));
    }
    for (const job of pulls) {
        const record = known.get(job.path);
        switch (job.state) {
            case "done":
                if (record?.isOwn === true) done.push(job);
                dismiss(failed, dismissed, (one) => isSameImage(one, job));
                break;
            case "cancelled":
                if (record !== undefined && wasInterrupted(record, now)) {
                    running.push(record.cancelledAt > 0 ? record : { ...record, cancelledAt: now });
                }
                break;
            case "failed":
                if (!isReadable(job) || (seen.isStarting === true && record?.isOwn !== true)) {
                    if (record !== undefined) running.push(record);
                } else if (!dismissed.includes(idOf(job))) {
                    note(failed, failureOf(job, record), record?.isOwn === true);
                }
                break;
            default:
                if (record !== undefined) running.push(updated(record, job));
                // The source of another user's job is not readable.
                else if (job.source !== "") running.push(recordOf(job, now));
        }
    }
    const next = { running, failed, dismissed };
    return { records: isSame(records, next) ? records : next, done };
}

/**
 * What another tab has stored, with what only this tab knows. Both see the job of a pull at about the same time,
 * but only one has its options; and one may have stored something before it saw what the other has stored.
 */
export function merged(ours: Records, theirs: Records): Records {
    const own = ours.running.filter(({ isOwn }) => isOwn);
    const others = theirs.running.filter(({ job }) => !own.some((record) => record.job === job));
    const dismissed = [...new Set([...theirs.dismissed, ...ours.dismissed])];
    const known = new Map(ours.failed.map((one) => [one.id, one]));
    const failed = theirs.failed.map((one) => {
        const same = known.get(one.id);
        return same !== undefined && isPlain(one) && !isPlain(same) ? same : one;
    });
    for (const id of [...dismissed, ...theirs.failed.map((one) => one.id)]) known.delete(id);
    const missing = [...known.values()].slice(0, Math.max(AT_MOST - failed.length, 0));
    return {
        running: [...others, ...own],
        failed: [...failed.filter(({ id }) => !dismissed.includes(id)), ...missing],
        dismissed,
    };
}

/**
 * Whether merged records have something that is not in what another tab has stored: a request that was stored
 * without its options, or a failure. A pull that the other tab no longer has is over.
 */
export function hasMore({ running, failed }: Records, theirs: Records): boolean {
    const plain = new Set(theirs.running.filter(({ isOwn }) => !isOwn).map(({ job }) => job));
    return running.some(({ job, isOwn }) => isOwn && plain.has(job)) || failed.some((one) => !theirs.failed.includes(one));
}

/** The records without a pull that the user has cancelled. */
export function withoutPull(records: Records, path: string): Records {
    return { ...records, running: records.running.filter(({ job }) => job !== path) };
}

/** The records without a failure. */
export function withoutFailure(records: Records, id: string): Records {
    const failed = [...records.failed];
    const dismissed = [...records.dismissed];
    dismiss(failed, dismissed, (one) => one.id === id);
    return { ...records, failed, dismissed };
}

/** Adds a failure. Another tab may have done so without the request, which only the tab that made it knows. */
function note(failed: FailedRecord[], failure: FailedRecord, isOwn: boolean): void {
    const index = failed.findIndex(({ id }) => id === failure.id);
    if (index < 0) failed.push(failure);
    else if (isOwn) failed[index] = failure;
}

function dismiss(failed: FailedRecord[], dismissed: string[], which: (one: FailedRecord) => boolean): void {
    for (const one of failed.filter(which)) {
        failed.splice(failed.indexOf(one), 1);
        if (!dismissed.includes(one.id)) dismissed.push(one.id);
    }
}

/** A service that was started again counts its jobs from the beginning: a path alone does not tell which it is. */
function isOf(record: RunningRecord, job: Job): boolean {
    if (record.job !== job.path || record.request.pool !== job.pool) return false;
    return record.source === "" || job.source === "" || record.source === job.source;
}

/** Whether a failed job has all that is shown; its private properties arrive a little later. */
function isReadable(job: Job): boolean {
    return job.source !== "" && job.message !== "" && job.finishedAt > 0;
}

/** Whether a failure was recorded by a tab that did not know what was asked for. */
function isPlain({ request }: FailedRecord): boolean {
    return areSame(Object.values(request), Object.values(plainRequest(request.source, request.pool)));
}

/** Whether a failure is of the image that a later job has pulled. */
function isSameImage(one: FailedRecord, job: Job): boolean {
    const finishedAt = Number(one.id.split(" ").at(-1));
    return one.source !== "" && one.source === job.source && one.request.pool === job.pool && job.finishedAt > finishedAt;
}

/** Whether a job that is gone was ended by the end of the service: if it was cancelled, then just before. */
function wasInterrupted({ cancelledAt }: RunningRecord, now: number): boolean {
    return cancelledAt === 0 || now - cancelledAt < EXITS_WITHIN;
}

/** Whether the pull was done, although its job no longer exists. */
function hasImage(images: readonly Image[], { source, request, startedAt }: RunningRecord): boolean {
    return images.some((image) => image.pool === request.pool && image.source === source && image.pulledAt >= startedAt);
}

function updated(record: RunningRecord, { source, startedAt }: Job): RunningRecord {
    return record.source === source && record.startedAt === startedAt ? record : { ...record, source, startedAt };
}

function idOf(job: Job): string {
    return `${job.path} ${job.finishedAt}`;
}

function recordOf({ path, source, pool, startedAt }: Job, now: number): RunningRecord {
    return { job: path, request: plainRequest(source, pool), source, recordedAt: now, startedAt, cancelledAt: 0, isOwn: false };
}

function failureOf(job: Job, record: RunningRecord | undefined): FailedRecord {
    const { source, message } = job;
    const request = record?.request ?? plainRequest(source, job.pool);
    return { id: idOf(job), request, source, error: kindOf(job.error), message };
}

function interrupted({ job, request, source, recordedAt }: RunningRecord): FailedRecord {
    return { id: `${job} ${recordedAt}`, request, source, error: INTERRUPTED, message: "" };
}

function isSame(one: Records, other: Records): boolean {
    return (
        areSame(one.running, other.running) && areSame(one.failed, other.failed) && areSame(one.dismissed, other.dismissed)
    );
}

function areSame<Item>(one: readonly Item[], other: readonly Item[]): boolean {
    return one.length === other.length && one.every((item, index) => item === other[index]);
}
