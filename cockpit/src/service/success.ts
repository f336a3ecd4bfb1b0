// SPDX-License-Identifier: LGPL-2.1-or-later
/** Waits for a job that has to succeed. */
import { _ } from "../translation.ts";
import { Failure } from "./failures.ts";
import type { Started } from "./service.ts";
import type { Options } from "./values.ts";

/**
 * The result of a job, when it has ended.
 *
 * Throws a Failure if the job cannot be started, fails or is cancelled.
 */
export async function successOf(job: Promise<Started>): Promise<Options> {
    const { state, error, message, result } = await (await job).ended();
    if (state === "done") return result;
    if (state === "cancelled") throw new Failure("Cancelled", _("The job was cancelled."));
    throw new Failure(error, message || error);
}
