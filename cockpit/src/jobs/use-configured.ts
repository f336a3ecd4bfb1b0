// SPDX-License-Identifier: LGPL-2.1-or-later
import { useCallback, useEffect, useRef, useState } from "react";

import { failureOf, type Failure } from "../service/failures.ts";
import type { Configured } from "../service/values.ts";
import type { Ready } from "../services.tsx";
import { endedUpdates } from "./configured.ts";

export interface ConfiguredState {
    /** undefined until they have been read. */
    readonly images: readonly Configured[] | undefined;
    readonly failure: Failure | undefined;
}

/** The configured images of a service, read again after an update and when an image has changed. */
export function useConfigured({ service, state }: Ready): ConfiguredState {
    const [found, setFound] = useState<ConfiguredState>({ images: undefined, failure: undefined });
    const count = useRef(0);
    const read = useCallback(async () => {
        count.current += 1;
        const mine = count.current;
        let next: ConfiguredState;
        try {
            next = { images: await service.configured(), failure: undefined };
        } catch (error) {
            next = { images: undefined, failure: failureOf(error) };
        }
        if (mine === count.current) setFound(next);
    }, [service]);

    const { images } = state;
    useEffect(() => {
        void read();
    }, [read, images]);

    // Jobs are forgotten when the service exits: that is no reason to ask it, which would start it again.
    const known = useRef<ReadonlySet<string>>(new Set());
    useEffect(() => {
        const ended = endedUpdates(state.jobs);
        const isNew = ended.some((one) => !known.current.has(one));
        known.current = new Set([...known.current, ...ended]);
        if (isNew) void read();
    }, [read, state.jobs]);

    useEffect(
        () => () => {
            count.current += 1;
        },
        [],
    );
    return found;
}
