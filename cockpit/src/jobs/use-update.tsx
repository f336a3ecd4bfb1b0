// SPDX-License-Identifier: LGPL-2.1-or-later
/** Updates the configured images of a service, and tells what came of it. */
import { List, ListItem } from "@patternfly/react-core";
import { useState } from "react";

import { useNotices, type Notice } from "../notices.tsx";
import { failureOf, type Failure } from "../service/failures.ts";
import * as parsing from "../service/parsing.ts";
import type { Service } from "../service/service.ts";
import { successOf } from "../service/success.ts";
import type { PopulateOutcome } from "../service/values.ts";
import { _, fill, ngettext } from "../translation.ts";
import { nameOf, summaryOf } from "./configured.ts";
import { outcomeText } from "./words.ts";

interface Update {
    readonly start: () => Promise<void>;
    readonly isStarting: boolean;
    /** Of the last one. */
    readonly failure: Failure | undefined;
}

export function useUpdate(service: Service): Update {
    const notices = useNotices();
    const [isStarting, setStarting] = useState(false);
    const [failure, setFailure] = useState<Failure | undefined>();
    const start = async () => {
        setStarting(true);
        setFailure(undefined);
        try {
            const result = await successOf(service.populate());
            notices.add(noticeOf(parsing.populated(result)));
        } catch (error) {
            setFailure(failureOf(error));
        }
        setStarting(false);
    };
    return { start, isStarting, failure };
}

function noticeOf(outcomes: readonly PopulateOutcome[]): Notice {
    const { failed, total } = summaryOf(outcomes);
    return {
        variant: failed.length > 0 ? "warning" : "success",
        title:
            failed.length > 0
                ? ngettext("$0 configured image was not updated", "$0 configured images were not updated", failed.length)
                : ngettext("$0 configured image is up to date", "$0 configured images are up to date", total),
        body: (
            <List isPlain>
                {outcomes.map((one) => (
                    <ListItem key={one.file}>{fill(_("$0: $1"), nameOf(one), one.message || outcomeText(one.outcome))}</ListItem>
                ))}
            </List>
        ),
    };
}
