// SPDX-License-Identifier: LGPL-2.1-or-later
/** A pull that has failed: why, and what can be done. */
import { Alert, AlertActionLink, ListItem } from "@patternfly/react-core";
import { useState } from "react";

import { useDialogs } from "../dialogs.tsx";
import { _, fill } from "../translation.ts";
import { PullDialog } from "./pull-dialog.tsx";
import type { Pulls } from "./pulls.ts";
import type { FailedRecord } from "./records.ts";
import { failureText, nameOf } from "./words.ts";

/** Errors that the same request meets again: the user has to change it. */
const NEEDS_CHANGE = ["ImageExists", "InvalidReference", "InvalidArgument", "PlatformNotFound"];

interface Props {
    readonly pulls: Pulls;
    readonly failed: FailedRecord;
}

export function FailedPullItem({ pulls, failed }: Props) {
    const dialogs = useDialogs();
    const [isBusy, setBusy] = useState(false);
    const { request } = failed;
    const needsCredentials = request.hasCredentials || failed.error === "RegistryAuth";
    const needsDialog = needsCredentials || NEEDS_CHANGE.includes(failed.error);

    const edit = () => {
        dialogs.show(
            <PullDialog
                service={pulls.service}
                request={request}
                isExpanded={needsDialog}
                needsCredentials={needsCredentials}
                onStarted={() => {
                    pulls.dismiss(failed.id);
                }}
            />,
        );
    };
    const retry = async () => {
        setBusy(true);
        await pulls.retry(failed);
        setBusy(false);
    };

    return (
        <ListItem>
            <Alert
                role="alert"
                variant="danger"
                variantLabel={_("Error:")}
                isInline
                component="h2"
                title={fill(_("The pull of $0 into pool $1 has failed"), nameOf(failed), request.pool)}
                actionLinks={
                    <>
                        <AlertActionLink
                            isDisabled={isBusy}
                            onClick={() => {
                                if (needsDialog) edit();
                                else void retry();
                            }}
                        >
                            {_("Try again")}
                        </AlertActionLink>
                        <AlertActionLink onClick={edit}>{_("Edit")}</AlertActionLink>
                        <AlertActionLink
                            onClick={() => {
                                pulls.dismiss(failed.id);
                            }}
                        >
                            {_("Dismiss")}
                        </AlertActionLink>
                    </>
                }
            >
                <p className="virtlayer-pull-details">{failureText(failed)}</p>
            </Alert>
        </ListItem>
    );
}
