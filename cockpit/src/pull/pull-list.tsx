// SPDX-License-Identifier: LGPL-2.1-or-later
/** Above the tabs: the pulls that run, and those that have failed. */
import "./pull.css";

import { List } from "@patternfly/react-core";
import { useEffect, useSyncExternalStore } from "react";

import { useNotices } from "../notices.tsx";
import type { Service } from "../service/service.ts";
import { useAllServices } from "../services.tsx";
import { _ } from "../translation.ts";
import { FailedPullItem } from "./failed-pull.tsx";
import { pullsOf, type Pulls, type PullsState } from "./pulls.ts";
import { RunningPullItem } from "./running-pull.tsx";
import { doneText } from "./words.ts";

export function PullList() {
    return useAllServices().map((service) => <PullsOfService key={service.where} service={service} />);
}

function usePulls(service: Service): [Pulls, PullsState] {
    const pulls = pullsOf(service);
    return [pulls, useSyncExternalStore(pulls.subscribe, pulls.snapshot)];
}

function PullsOfService({ service }: { readonly service: Service }) {
    const [pulls, state] = usePulls(service);
    const notices = useNotices();
    useEffect(() => {
        for (const job of pulls.takeDone()) notices.add({ variant: "success", title: doneText(job) });
    }, [pulls, state, notices]);
    if (state.running.length === 0 && state.failed.length === 0) return null;
    return (
        <List isPlain className="virtlayer-pulls" aria-label={_("Running and failed pulls")}>
            {state.running.map((pull) => (
                <RunningPullItem key={pull.job.path} pulls={pulls} pull={pull} />
            ))}
            {state.failed.map((failed) => (
                <FailedPullItem key={failed.id} pulls={pulls} failed={failed} />
            ))}
        </List>
    );
}
