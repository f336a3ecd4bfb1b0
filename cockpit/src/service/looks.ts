// SPDX-License-Identifier: LGPL-2.1-or-later
/** When to ask the service again for what no signal tells: often enough, and never too often. */

/** Changes in a row are looked at once, after so many milliseconds. */
const SETTLE = 300;
/** The longest pause after a slow look, in milliseconds. */
const LONGEST_PAUSE = 10_000;

/**
 * A look at something that may have changed. It never runs twice at a time: planned while it runs, it runs
 * once more afterwards. Before it runs again, as much time passes as it last took.
 */
export class Look {
    #timer: ReturnType<typeof setTimeout> | undefined;
    #isRunning = false;
    #isPlanned = false;
    #pause = SETTLE;

    /** @param run must not reject. */
    constructor(private readonly run: () => Promise<void>) {}

    plan(): void {
        if (this.#isRunning) this.#isPlanned = true;
        else this.#timer ??= setTimeout(() => void this.#look(), this.#pause);
    }

    /** Forgets what is planned. */
    stop(): void {
        clearTimeout(this.#timer);
        this.#timer = undefined;
        this.#isPlanned = false;
        this.#pause = SETTLE;
    }

    async #look(): Promise<void> {
        this.#timer = undefined;
        this.#isRunning = true;
        const begin = Date.now();
        await this.run();
        this.#isRunning = false;
        this.#pause = Math.min(Math.max(Date.now() - begin, SETTLE), LONGEST_PAUSE);
        if (this.#isPlanned) {
            this.#isPlanned = false;
            this.plan();
        }
    }
}

/** Lets a limited number of callers run at a time: the service limits the calls of a user in flight. */
export class Slots {
    readonly #waiting: (() => void)[] = [];
    #free: number;

    constructor(count: number) {
        this.#free = count;
    }

    /** Waits for a slot; resolves to a function that gives it back. */
    async take(): Promise<() => void> {
        if (this.#free > 0) this.#free -= 1;
        else await new Promise<void>((resolve) => this.#waiting.push(resolve));
        let isTaken = true;
        return () => {
            if (!isTaken) return;
            isTaken = false;
            const next = this.#waiting.shift();
            if (next === undefined) this.#free += 1;
            else next();
        };
    }
}
