// SPDX-License-Identifier: LGPL-2.1-or-later
/** A call that failed, with what to do about it if its message does not say that. */
import { Alert } from "@patternfly/react-core";

import { useAdministrativeAccess } from "./administrative-access.ts";
import { problemOf, type Failure } from "./service/failures.ts";
import { _ } from "./translation.ts";

export function FailureAlert({ failure }: { readonly failure: Failure }) {
    const isLimited = useAdministrativeAccess() === false;
    return (
        <Alert variant="danger" variantLabel={_("Error:")} isInline component="p" role="alert" title={failure.message}>
            {remedyOf(failure, isLimited)}
        </Alert>
    );
}

function remedyOf(failure: Failure, isLimited: boolean): string {
    switch (problemOf(failure).kind) {
        case "not-permitted":
            return isLimited ? _("Turn on administrative access at the top of the page.") : "";
        case "gone":
            return _("virtlayerd has exited before it answered. Check what it has done, and try again.");
        case "not-installed":
        case "not-running":
            return _("virtlayerd does not run, and cannot be started. \"journalctl -u virtlayerd\" shows the reason.");
        default:
            return "";
    }
}
