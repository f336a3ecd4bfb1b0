// SPDX-License-Identifier: LGPL-2.1-or-later
import type { Machine, MachineDetails } from "../service/values.ts";

/** Whether a machine has every word of a search in its name, image, pool or addresses. */
export function matches(search: string, machine: Machine, details: MachineDetails | undefined): boolean {
    const text = [machine.name, machine.image, machine.pool, ...(details?.addresses ?? [])].join("\n").toLowerCase();
    return search.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}
