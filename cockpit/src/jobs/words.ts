// SPDX-License-Identifier: LGPL-2.1-or-later
/** Jobs in words. */
import type { Job, PopulateOutcome } from "../service/values.ts";
import { _, fill } from "../translation.ts";

/** What a job does, such as "Remove image". */
export function kindText(kind: string): string {
    switch (kind) {
        case "pull":
            return _("Pull image");
        case "create-volume":
            return _("Create volume");
        case "remove":
            return _("Remove image");
        case "remove-volume":
            return _("Remove volume");
        case "prune":
            return _("Prune");
        case "populate":
            return _("Update configured images");
        case "rescan":
            return _("Rescan pool");
        case "create-domain":
            return _("Create machine");
        case "start-domain":
            return _("Start machine");
        case "stop-domain":
            return _("Stop machine");
        case "remove-domain":
            return _("Remove machine");
        default:
            return kind;
    }
}

export function stateText(state: Job["state"]): string {
    switch (state) {
        case "queued":
            return _("Waiting");
        case "running":
            return _("Running");
        case "done":
            return _("Done");
        case "failed":
            return _("Failed");
        case "cancelled":
            return _("Cancelled");
    }
}

/** What a job is about: an image or a machine, and a pool; "" for a job about everything. */
export function subjectText({ source, pool }: Pick<Job, "source" | "pool">): string {
    if (source === "") return pool === "" ? "" : fill(_("pool $0"), pool);
    return pool === "" ? source : fill(_("$0 in pool $1"), source, pool);
}

/** Who has started a job; `me` is the user of the page. */
export function starterText(uid: number, me: { readonly id: number; readonly name: string } | undefined): string {
    if (uid === me?.id) return me.name;
    return uid === 0 ? "root" : fill(_("UID $0"), uid);
}

/** What an update has done with an image. */
export function outcomeText(outcome: PopulateOutcome["outcome"]): string {
    switch (outcome) {
        case "new":
            return _("Pulled");
        case "updated":
            return _("Updated");
        case "replaced":
            return _("Replaced");
        case "repaired":
            return _("Repaired");
        case "unchanged":
            return _("Unchanged");
        case "not-due":
            return _("Not due");
        case "failed":
            return _("Failed");
        default:
            return outcome;
    }
}
