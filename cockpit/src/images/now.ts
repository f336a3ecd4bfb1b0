// SPDX-License-Identifier: LGPL-2.1-or-later
import { useEffect, useState } from "react";

const MINUTE = 60_000;

/** The time in milliseconds since 1970, which changes once a minute, so that relative times stay correct. */
export function useNow(): number {
    const [now, setNow] = useState(Date.now);
    useEffect(() => {
        const timer = setInterval(() => {
            if (!cockpit.hidden) setNow(Date.now());
        }, MINUTE);
        return () => {
            clearInterval(timer);
        };
    }, []);
    return now;
}
