// SPDX-License-Identifier: LGPL-2.1-or-later
/** The rows of the table of images: which ones there are, which a search finds, and in which order. */
import type { Service } from "../service/service.ts";
import type { ServiceState } from "../service/state.ts";
import type { Image, ImageUsage } from "../service/values.ts";
import { keyOf, namesOf, NO_USERS, usersOfImages, type Users } from "./users.ts";

export interface Row {
    /** Different from that of every other row. */
    readonly key: string;
    readonly service: Service;
    readonly image: Image;
    /** undefined until the pool has been looked at, and if it cannot be. */
    readonly usage: ImageUsage | undefined;
    readonly users: Users;
}

/** The rows of a service's images. */
export function rowsOf(service: Service, state: Pick<ServiceState, "images" | "machines" | "contents">): readonly Row[] {
    const users = usersOfImages(state);
    return state.images.map((image) => ({
        key: `${service.where}\n${keyOf(image)}`,
        service,
        image,
        usage: state.contents.get(image.pool)?.usage?.images.get(image.name),
        users: users.get(keyOf(image)) ?? NO_USERS,
    }));
}

/** The rows that have every word of a search in their name, source or pool. */
export function found(rows: readonly Row[], search: string): readonly Row[] {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length === 0) return rows;
    return rows.filter(({ image }) => {
        const text = `${image.name}\n${image.source}\n${image.pool}`.toLowerCase();
        return words.every((word) => text.includes(word));
    });
}

export type Column = "name" | "source" | "pool" | "own" | "shared" | "age" | "users";

export interface Order {
    readonly column: Column;
    readonly direction: "asc" | "desc";
}

/** What a row is sorted by. The youngest image has the lowest age. */
function valueOf({ image, usage, users }: Row, column: Column): string | number {
    switch (column) {
        case "name":
            return image.name;
        case "source":
            return image.source;
        case "pool":
            return image.pool;
        case "own":
            return usage?.own ?? -1;
        case "shared":
            return usage?.shared ?? -1;
        case "age":
            return -image.pulledAt;
        case "users":
            return namesOf(users).length;
    }
}

/** The rows in an order; equal ones stay as they are. */
export function sorted(rows: readonly Row[], { column, direction }: Order): readonly Row[] {
    const sign = direction === "asc" ? 1 : -1;
    // Numbers in names count as numbers: debian:9 is before debian:13.
    const { compare } = new Intl.Collator(undefined, { numeric: true });
    return [...rows].sort((one, other) => {
        const a = valueOf(one, column);
        const b = valueOf(other, column);
        return sign * (typeof a === "number" && typeof b === "number" ? a - b : compare(String(a), String(b)));
    });
}
