// SPDX-License-Identifier: LGPL-2.1-or-later
import { _ } from "../translation.ts";
import type { Column } from "./rows.ts";

/** The titles of the columns that rows can be sorted by. */
export function columnTitles(): Readonly<Record<Column, string>> {
    return {
        name: _("Name"),
        source: _("Source"),
        pool: _("Pool"),
        own: _("Own size"),
        shared: _("Shared size"),
        age: _("Pulled"),
        users: _("Used by"),
    };
}
