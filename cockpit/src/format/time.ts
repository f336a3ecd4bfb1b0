// SPDX-License-Identifier: LGPL-2.1-or-later
/** Times as text in the user's language. */
import { localeOf } from "./bytes.ts";

const STEPS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
    ["year", 365 * 86_400],
    ["month", 30 * 86_400],
    ["day", 86_400],
    ["hour", 3600],
    ["minute", 60],
];

/**
 * A time from now, such as "3 hours ago" or "in 2 days".
 *
 * @param time in milliseconds since 1970; so is `now`.
 * @param language how it is written, such as "de".
 */
export function relativeTime(time: number, now: number, language: string): string {
    const seconds = (time - now) / 1000;
    const format = new Intl.RelativeTimeFormat(localeOf(language), { numeric: "auto" });
    for (const [unit, length] of STEPS) {
        if (Math.abs(seconds) >= length) return format.format(Math.trunc(seconds / length), unit);
    }
    return format.format(0, "minute");
}

/** Date and time of day; `time` is in milliseconds since 1970. */
export function dateAndTime(time: number, language: string): string {
    return new Date(time).toLocaleString(localeOf(language), { dateStyle: "medium", timeStyle: "short" });
}
