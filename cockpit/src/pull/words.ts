// SPDX-License-Identifier: LGPL-2.1-or-later
/** A pull in words. */
import { bytes } from "../format/bytes.ts";
import type { Job } from "../service/values.ts";
import { _, fill, ngettext } from "../translation.ts";
import { INTERRUPTED, type FailedRecord } from "./records.ts";
import { shortName } from "./short-name.ts";
import type { RunningPull } from "./pulls.ts";

/** The name that the image has or will have in its pool. */
export function nameOf({ request, source }: { readonly request: { readonly name: string; readonly source: string } | undefined; readonly source: string }): string {
    if (request !== undefined && request.name !== "") return request.name;
    return shortName(source !== "" ? source : (request?.source ?? "")) || _("An image");
}

function stageOf({ state, stage }: Job): string {
    if (state === "queued") return _("Waiting for other jobs");
    switch (stage) {
        case "resolving":
            return _("Reading the manifest");
        case "downloading":
            return _("Downloading");
        case "applying":
            return _("Building layers");
        case "registering":
            return _("Registering the image");
        case "customizing":
            return _("Customizing the volume");
        default:
            return _("Starting");
    }
}

function timeLeft(seconds: number): string {
    if (seconds < 60) return ngettext("$0 second left", "$0 seconds left", Math.max(1, Math.round(seconds)));
    if (seconds < 3600) return ngettext("$0 minute left", "$0 minutes left", Math.round(seconds / 60));
    return ngettext("$0 hour left", "$0 hours left", Math.round(seconds / 3600));
}

/** Such as "Downloading", "12 MiB of 80 MiB", "5.1 MiB/s", "14 seconds left". */
export function progressParts(pull: RunningPull): readonly string[] {
    const { job } = pull;
    const parts = [stageOf(job)];
    const size = (count: number) => bytes(count, cockpit.language);
    if (job.bytesTotal > 0) parts.push(fill(_("$0 of $1"), size(job.bytesDone), size(job.bytesTotal)));
    if (job.state === "running") {
        if (pull.bytesPerSecond > 0) parts.push(fill(_("$0/s"), size(Math.round(pull.bytesPerSecond))));
        if (pull.secondsLeft !== undefined) parts.push(timeLeft(pull.secondsLeft));
    }
    return parts;
}

export function failureText({ error, message }: FailedRecord): string {
    if (error === INTERRUPTED) return _("virtlayerd stopped before the pull was finished. Finished layers are kept.");
    return message;
}

/** What the service says of a pull that is done. */
export function doneText(job: Job): string {
    const name = typeof job.result.name?.v === "string" ? job.result.name.v : shortName(job.source);
    switch (job.result.outcome?.v) {
        case "unchanged":
            return fill(_("$0 in pool $1 is up to date"), name, job.pool);
        case "updated":
            return fill(_("$0 in pool $1 was updated"), name, job.pool);
        default:
            return fill(_("$0 was pulled into pool $1"), name, job.pool);
    }
}
