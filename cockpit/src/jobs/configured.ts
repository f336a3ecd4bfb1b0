// SPDX-License-Identifier: LGPL-2.1-or-later
/** How the configured images are, as of the service and of its last update. */
import type { Configured, Job, PopulateOutcome } from "../service/values.ts";

export interface Summary {
    readonly failed: readonly PopulateOutcome[];
    readonly total: number;
}

export function summaryOf(outcomes: readonly PopulateOutcome[]): Summary {
    return {
        // An image can be updated although its old versions could not be deleted.
        failed: outcomes.filter(({ error }) => error !== ""),
        total: outcomes.length,
    };
}

/** The name of an image; an invalid file has none. */
export function nameOf({ name, file }: Pick<Configured, "name" | "file">): string {
    return name || (file.split("/").at(-1) ?? file);
}

/** What has ended since the service was started: with something new in it, the images are read again. */
export function endedUpdates(jobs: readonly Job[]): readonly string[] {
    return jobs
        .filter(({ kind, finishedAt }) => kind === "populate" && finishedAt > 0)
        .map(({ path, finishedAt }) => `${path} ${finishedAt}`);
}

/** The running update. */
export function runningUpdate(jobs: readonly Job[]): Job | undefined {
    return jobs.find(({ kind, state }) => kind === "populate" && (state === "running" || state === "queued"));
}
