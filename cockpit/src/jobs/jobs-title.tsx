// SPDX-License-Identifier: LGPL-2.1-or-later
/** The title of the tab "Jobs", with the number of those that run or have failed. */
import { Badge, TabTitleText } from "@patternfly/react-core";

import { _, ngettext } from "../translation.ts";
import { useListedJobs } from "./use-jobs.ts";

export function JobsTitle() {
    const count = useListedJobs().filter(({ job }) => job.state !== "done" && job.state !== "cancelled").length;
    return (
        <TabTitleText>
            {_("Jobs")}
            {count > 0 && (
                <>
                    {" "}
                    <Badge screenReaderText={ngettext("job runs or has failed", "jobs run or have failed", count)}>{count}</Badge>
                </>
            )}
        </TabTitleText>
    );
}
