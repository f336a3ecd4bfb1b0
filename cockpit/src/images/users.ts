// SPDX-License-Identifier: LGPL-2.1-or-later
/** The machines and volumes that were created from an image. */
import type { ServiceState } from "../service/state.ts";
import type { Image, Machine, Volume } from "../service/values.ts";

export interface Users {
    readonly machines: readonly Machine[];
    /** Without those of the machines. */
    readonly volumes: readonly Volume[];
}

export const NO_USERS: Users = { machines: [], volumes: [] };

/** An image's place among all images of a service. Neither name has a line break: they are printable. */
export function keyOf({ pool, name }: Pick<Image, "pool" | "name">): string {
    return `${pool}\n${name}`;
}

/** What uses the images of a service, by `keyOf`. An image that nothing uses is not in it. */
export function usersOfImages({ machines, contents }: Pick<ServiceState, "machines" | "contents">): ReadonlyMap<string, Users> {
    const users = new Map<string, { machines: Machine[]; volumes: Volume[] }>();
    const of = (pool: string, name: string) => {
        const key = keyOf({ pool, name });
        const found = users.get(key) ?? { machines: [], volumes: [] };
        users.set(key, found);
        return found;
    };
    const ofMachines = new Set<string>();
    for (const machine of machines) {
        of(machine.pool, machine.image).machines.push(machine);
        ofMachines.add(keyOf({ pool: machine.pool, name: `${machine.name}.qcow2` }));
    }
    for (const [pool, { volumes }] of contents) {
        for (const volume of volumes) {
            if (volume.kind !== "volume" || volume.image === "") continue;
            if (!ofMachines.has(keyOf({ pool, name: volume.name }))) of(pool, volume.image).volumes.push(volume);
        }
    }
    return users;
}

/** The names of the machines and volumes, machines first. */
export function namesOf({ machines, volumes }: Users): readonly string[] {
    return [...machines, ...volumes].map(({ name }) => name);
}
