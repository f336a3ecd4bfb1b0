// SPDX-License-Identifier: LGPL-2.1-or-later
/** The sources that the field "Source" offers. */
import { useEffect, useMemo, useState } from "react";

import { failureOf } from "../service/failures.ts";
import type { Service } from "../service/service.ts";
import { useAllServices, useReadyServices } from "../services.tsx";

/** Those of configured images and of pulled ones, each once, sorted. */
export function useSources(): readonly string[] {
    const services = useAllServices();
    const ready = useReadyServices();
    const [configured, setConfigured] = useState<readonly string[]>([]);
    useEffect(() => {
        let isGone = false;
        void Promise.all(services.map(configuredSources)).then((found) => {
            if (!isGone) setConfigured(found.flat());
        });
        return () => {
            isGone = true;
        };
    }, [services]);
    return useMemo(() => {
        const pulled = ready.flatMap(({ state }) => state.images.map(({ source }) => source));
        return [...new Set([...configured, ...pulled])].filter((source) => source !== "").sort();
    }, [ready, configured]);
}

async function configuredSources(service: Service): Promise<readonly string[]> {
    try {
        return (await service.configured()).map(({ source }) => source);
    } catch (error) {
        // The service cannot be reached, or this user may not list them: there is less to choose from.
        console.debug("virtlayer: no configured images:", failureOf(error).message);
        return [];
    }
}
