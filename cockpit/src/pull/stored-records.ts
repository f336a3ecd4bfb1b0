// SPDX-License-Identifier: LGPL-2.1-or-later
/** The records of pulls as text for the browser's storage, which may be damaged or come from another version. */
import type { FailedRecord, Records, RunningRecord } from "./records.ts";
import { AT_MOST, NOTHING } from "./records.ts";
import type { PullRequest } from "./request.ts";

/** Of the format: another one is not read. */
const VERSION = 1;
const LONGEST = 8192;

/** Something that is not what this page has written. */
class Damaged extends Error {}

type Fields = Readonly<Record<string, unknown>>;

/** Of more records than are stored, the oldest are dropped. */
export function toText(records: Records): string {
    const kept = {
        version: VERSION,
        running: records.running.slice(-AT_MOST),
        failed: records.failed.slice(-AT_MOST),
        dismissed: records.dismissed.slice(-AT_MOST),
    };
    return JSON.stringify(kept, (_key, value: unknown) => (typeof value === "string" ? value.slice(0, LONGEST) : value));
}

/** Nothing, if the text is not valid. */
export function fromText(text: string | null): Records {
    if (text === null) return NOTHING;
    try {
        const fields = fieldsOf(JSON.parse(text));
        if (fields.version !== VERSION) return NOTHING;
        return {
            running: listOf(fields.running).map(runningRecord),
            failed: listOf(fields.failed).map(failedRecord),
            dismissed: listOf(fields.dismissed).map(textOf),
        };
    } catch (error) {
        if (error instanceof SyntaxError || error instanceof Damaged) return NOTHING;
        throw error;
    }
}

function runningRecord(value: unknown): RunningRecord {
    const { job, request, source, recordedAt, startedAt, cancelledAt, isOwn } = fieldsOf(value);
    return {
        job: textOf(job),
        request: requestOf(request),
        source: textOf(source),
        recordedAt: numberOf(recordedAt),
        startedAt: numberOf(startedAt),
        cancelledAt: numberOf(cancelledAt),
        isOwn: booleanOf(isOwn),
    };
}

function failedRecord(value: unknown): FailedRecord {
    const { id, request, source, error, message } = fieldsOf(value);
    return {
        id: textOf(id),
        request: requestOf(request),
        source: textOf(source),
        error: textOf(error),
        message: textOf(message),
    };
}

function requestOf(value: unknown): PullRequest {
    const { source, pool, name, platform, tlsVerify, replace, size, hasCredentials } = fieldsOf(value);
    return {
        source: textOf(source),
        pool: textOf(pool),
        name: textOf(name),
        platform: textOf(platform),
        tlsVerify: booleanOf(tlsVerify),
        replace: booleanOf(replace),
        size: numberOf(size),
        hasCredentials: booleanOf(hasCredentials),
    };
}

function fieldsOf(value: unknown): Fields {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Damaged("not an object");
    return value as Fields;
}

function listOf(value: unknown): readonly unknown[] {
    if (!Array.isArray(value) || value.length > AT_MOST) throw new Damaged("not a list");
    return value;
}

function textOf(value: unknown): string {
    if (typeof value !== "string" || value.length > LONGEST) throw new Damaged("not a text");
    return value;
}

function numberOf(value: unknown): number {
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) throw new Damaged("not a number");
    return value;
}

function booleanOf(value: unknown): boolean {
    if (typeof value !== "boolean") throw new Damaged("not true or false");
    return value;
}
