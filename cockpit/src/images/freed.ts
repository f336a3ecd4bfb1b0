// SPDX-License-Identifier: LGPL-2.1-or-later
/** The result of a job that deletes volumes, or of one that only says which. */
import * as parsing from "../service/parsing.ts";
import type { Options } from "../service/values.ts";

export interface Freed {
    /** Those on top first. */
    readonly volumes: readonly string[];
    /** What they take of the pool. */
    readonly bytes: number;
}

export function freedOf(result: Options): Freed {
    const { volumes, bytes } = result;
    return {
        volumes: volumes === undefined ? [] : parsing.array(volumes.v).map(parsing.text),
        bytes: bytes === undefined ? 0 : parsing.number(bytes.v),
    };
}
