// SPDX-License-Identifier: LGPL-2.1-or-later
/** What is known of one virtlayerd. A state never changes: each change makes a new one. */
import type { Problem } from "./failures.ts";
import type { Image, Job, Machine, Pool, Usage, Volume } from "./values.ts";

/** What a pool holds, as of the last look. */
export interface Contents {
    readonly volumes: readonly Volume[];
    /** undefined if it could not be read. */
    readonly usage: Usage | undefined;
    /** Why it could not be read; `volumes` are then those of the last look that succeeded. */
    readonly error?: string;
}

export interface ServiceState {
    readonly status: "connecting" | "ready" | "failed";
    /** Why `status` is "failed"; while it is "ready", what is wrong since the last look. */
    readonly problem: Problem | undefined;
    readonly version: string;
    readonly libvirtUri: string;
    /** By name. */
    readonly images: readonly Image[];
    /** The oldest first. A job that has ended stays until its object is gone or the service exits. */
    readonly jobs: readonly Job[];
    readonly pools: readonly Pool[];
    readonly machines: readonly Machine[];
    /** By the name of the pool. */
    readonly contents: ReadonlyMap<string, Contents>;
}

export const UNKNOWN: ServiceState = {
    status: "connecting",
    problem: undefined,
    version: "",
    libvirtUri: "",
    images: [],
    jobs: [],
    pools: [],
    machines: [],
    contents: new Map(),
};

/** Whether images can be pulled into a pool. */
export function takesImages(pool: Pool): boolean {
    return pool.state === "running" && ["dir", "fs", "netfs", "rbd"].includes(pool.kind);
}

export function isOver(job: Job): boolean {
    return job.state === "done" || job.state === "failed" || job.state === "cancelled";
}
