// SPDX-License-Identifier: LGPL-2.1-or-later
/** The rate of a pull and the time that it still takes, from what it had done in the last seconds. */

/** What a pull had done at a time. */
export interface Sample {
    /** In milliseconds. */
    readonly time: number;
    readonly bytes: number;
    /** From 0 to 1. */
    readonly progress: number;
}

/** In milliseconds: long enough to be steady, short enough to follow changes of the network's speed. */
const WINDOW = 5000;

/** The samples of the window, with a new one. */
export function noted(samples: readonly Sample[], next: Sample): readonly Sample[] {
    return [...samples.filter(({ time }) => time >= next.time - WINDOW), next];
}

/** How much of something grows in a second; 0 if it is unknown. */
function growth(samples: readonly Sample[], of: (sample: Sample) => number): number {
    const first = samples[0];
    const last = samples.at(-1);
    if (first === undefined || last === undefined || last.time <= first.time) return 0;
    return Math.max(0, ((of(last) - of(first)) * 1000) / (last.time - first.time));
}

/** 0 if nothing has arrived in the window. */
export function bytesPerSecond(samples: readonly Sample[]): number {
    return growth(samples, ({ bytes }) => bytes);
}

/** Until the pull is done, also with building its layers; undefined if it cannot be told. */
export function secondsLeft(samples: readonly Sample[]): number | undefined {
    const rate = growth(samples, ({ progress }) => progress);
    const last = samples.at(-1);
    return last === undefined || rate === 0 ? undefined : (1 - last.progress) / rate;
}
