// SPDX-License-Identifier: LGPL-2.1-or-later
/** All jobs but pulls: what runs, what has failed, and what was done in the last minutes. */
import { Button, EmptyState, EmptyStateBody, Label, Progress } from "@patternfly/react-core";
import { Table, Tbody, Td, Th, Thead, Tr } from "@patternfly/react-table";
import { useState } from "react";

import { dateAndTime, relativeTime } from "../format/time.ts";
import { useNow } from "../images/now.ts";
import { useNotices } from "../notices.tsx";
import { failureOf } from "../service/failures.ts";
import { isOver } from "../service/state.ts";
import type { Job } from "../service/values.ts";
import { _, fill } from "../translation.ts";
import { failedJobsOf, keyOf } from "./failed-jobs.ts";
import { useListedJobs, useMe, type ListedJob } from "./use-jobs.ts";
import { kindText, starterText, stateText, subjectText } from "./words.ts";

export function JobList() {
    const jobs = useListedJobs();
    const now = useNow();
    const me = useMe();
    if (jobs.length === 0) {
        return (
            <EmptyState headingLevel="h2" titleText={_("No jobs")}>
                <EmptyStateBody>{_("Jobs are listed here for five minutes after their end, and failed ones until you dismiss them.")}</EmptyStateBody>
            </EmptyState>
        );
    }
    return (
        <Table variant="compact" gridBreakPoint="grid-lg" aria-label={_("Jobs")}>
            <Thead>
                <Tr>
                    <Th width={20}>{_("Job")}</Th>
                    <Th width={40}>{_("State")}</Th>
                    <Th>{_("Started")}</Th>
                    <Th>{_("By")}</Th>
                    <Th screenReaderText={_("Actions")} />
                </Tr>
            </Thead>
            <Tbody>
                {jobs.map(({ service, job }) => (
                    <Tr key={`${service.where} ${keyOf(job)}`}>
                        <Td dataLabel={_("Job")} modifier="breakWord">
                            <div>{kindText(job.kind)}</div>
                            <div className="virtlayer-details">{subjectText(job)}</div>
                        </Td>
                        <Td dataLabel={_("State")} modifier="breakWord">
                            <State job={job} />
                        </Td>
                        <Td dataLabel={_("Started")}>{job.startedAt > 0 && <Started at={job.startedAt} now={now} />}</Td>
                        <Td dataLabel={_("By")}>{starterText(job.startedBy, me)}</Td>
                        <Td isActionCell>
                            <Action service={service} job={job} />
                        </Td>
                    </Tr>
                ))}
            </Tbody>
        </Table>
    );
}

function Started({ at, now }: { readonly at: number; readonly now: number }) {
    return (
        <time dateTime={new Date(at).toISOString()} title={dateAndTime(at, cockpit.language)}>
            {relativeTime(at, now, cockpit.language)}
        </time>
    );
}

function State({ job }: { readonly job: Job }) {
    const text = stateText(job.state);
    switch (job.state) {
        case "queued":
            return text;
        case "running":
            return (
                <Progress
                    size="sm"
                    measureLocation="outside"
                    aria-label={fill(_("$0: progress"), kindText(job.kind))}
                    value={Math.floor(job.progress * 100)}
                />
            );
        case "failed":
            return (
                <>
                    <Label status="danger">{text}</Label>
                    <div className="long-text">{job.message || job.error}</div>
                </>
            );
        case "done":
            return <Label status="success">{text}</Label>;
        case "cancelled":
            return <Label>{text}</Label>;
    }
}

function Action({ service, job }: ListedJob) {
    const notices = useNotices();
    const [isEnding, setEnding] = useState(false);
    if (job.state === "failed") {
        return (
            <Button
                variant="secondary"
                size="sm"
                aria-label={fill(_("Dismiss: $0"), kindText(job.kind))}
                onClick={() => {
                    failedJobsOf(service).dismiss(job);
                }}
            >
                {_("Dismiss")}
            </Button>
        );
    }
    if (isOver(job)) return null;
    const cancel = async () => {
        setEnding(true);
        try {
            await service.cancel(job.path);
        } catch (error) {
            const { kind, message } = failureOf(error);
            // It has ended in the meantime.
            if (kind !== "NoSuchJob") notices.add({ variant: "danger", title: _("The job was not cancelled"), body: message });
        }
        setEnding(false);
    };
    return (
        <Button
            variant="secondary"
            size="sm"
            aria-label={fill(_("Cancel: $0"), kindText(job.kind))}
            isLoading={isEnding}
            isDisabled={isEnding}
            onClick={() => void cancel()}
        >
            {_("Cancel")}
        </Button>
    );
}
