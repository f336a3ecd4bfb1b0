// SPDX-License-Identifier: LGPL-2.1-or-later
import { useEffect, useMemo, useState, useSyncExternalStore } from "react";

import type { Service } from "../service/service.ts";
import type { Job } from "../service/values.ts";
import { useAllServices, useServiceState } from "../services.tsx";
import { failedJobsOf, listed } from "./failed-jobs.ts";

export interface ListedJob {
    readonly service: Service;
    readonly job: Job;
}

/** The jobs of the list, of both services. */
export function useListedJobs(): readonly ListedJob[] {
    const [system, session] = useAllServices();
    if (system === undefined || session === undefined) throw new Error("there is no ServicesProvider");
    const ofSystem = useJobsOf(system);
    const ofSession = useJobsOf(session);
    return useMemo(() => [...ofSystem, ...ofSession], [ofSystem, ofSession]);
}

function useJobsOf(service: Service): readonly ListedJob[] {
    const { jobs } = useServiceState(service);
    const failedJobs = failedJobsOf(service);
    const failed = useSyncExternalStore(failedJobs.subscribe, failedJobs.snapshot);
    return useMemo(() => listed(jobs, failed).map((job) => ({ service, job })), [service, jobs, failed]);
}

/** The user of the page; undefined until it is known. */
export function useMe(): cockpit.User | undefined {
    const [me, setMe] = useState<cockpit.User | undefined>();
    useEffect(() => {
        let isGone = false;
        void cockpit.user().then((user) => {
            if (!isGone) setMe(user);
        });
        return () => {
            isGone = true;
        };
    }, []);
    return me;
}
