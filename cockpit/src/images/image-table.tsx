// SPDX-License-Identifier: LGPL-2.1-or-later
/** The table of images, which can be sorted. */
import { Table, Th, Thead, Tr, type ThProps } from "@patternfly/react-table";
import { memo, useMemo, useState } from "react";

import { relativeTime } from "../format/time.ts";
import { _, fill } from "../translation.ts";
import { columnTitles } from "./columns.ts";
import { ImageRow } from "./image-row.tsx";
import { useNow } from "./now.ts";
import { sorted, type Column, type Order, type Row } from "./rows.ts";

interface Props {
    readonly rows: readonly Row[];
    /** Whether the service of an image has to be told apart from the other one. */
    readonly hasBothServices: boolean;
}

/** As the table has them; undefined is the version, which has no order. */
const COLUMNS: readonly (Column | undefined)[] = ["name", "source", undefined, "pool", "own", "shared", "age", "users"];
/** In percent; the other columns are as wide as what they contain. */
const WIDTHS: Readonly<Partial<Record<Column, 15 | 20 | 30>>> = { name: 20, source: 30, users: 15 };

/** Drawn again when its rows change, which they do not while only jobs make progress. */
export const ImageTable = memo(function ImageTable({ rows, hasBothServices }: Props) {
    const [order, setOrder] = useState<Order>({ column: "name", direction: "asc" });
    const ordered = useMemo(() => sorted(rows, order), [rows, order]);
    const now = useNow();
    const titles = columnTitles();
    return (
        <Table variant="compact" isExpandable gridBreakPoint="grid-lg" aria-label={_("Images")}>
            <Thead>
                <Tr>
                    <Th modifier="fitContent" screenReaderText={_("Details")} />
                    {COLUMNS.map((column, columnIndex) =>
                        column === undefined ? (
                            <Th key="version" width={15}>
                                {_("Version")}
                            </Th>
                        ) : (
                            <Th
                                key={column}
                                modifier="nowrap"
                                {...widthOf(column)}
                                sort={{
                                    columnIndex,
                                    sortBy: { index: COLUMNS.indexOf(order.column), direction: order.direction },
                                    onSort: (_event, _index, direction) => {
                                        setOrder({ column, direction });
                                    },
                                }}
                            >
                                {titles[column]}
                            </Th>
                        ),
                    )}
                    <Th screenReaderText={_("Actions")} />
                </Tr>
            </Thead>
            {ordered.map((row) => (
                <ImageRow
                    key={row.key}
                    row={row}
                    place={hasBothServices ? placeOf(row) : row.image.pool}
                    age={relativeTime(row.image.pulledAt, now, cockpit.language)}
                />
            ))}
        </Table>
    );
});

function widthOf(column: Column): Partial<ThProps> {
    const width = WIDTHS[column];
    return width === undefined ? {} : { width };
}

function placeOf({ service, image }: Row): string {
    return service.where === "system" ? fill(_("$0 (system)"), image.pool) : fill(_("$0 (your session)"), image.pool);
}
