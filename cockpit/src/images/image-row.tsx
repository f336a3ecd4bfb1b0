// SPDX-License-Identifier: LGPL-2.1-or-later
/** An image in the table, with its details if it is expanded. */
import { Flex, Label } from "@patternfly/react-core";
import { ExpandableRowContent, Tbody, Td, Tr } from "@patternfly/react-table";
import { Fragment, memo, useId, useState } from "react";

import { bytes } from "../format/bytes.ts";
import { dateAndTime } from "../format/time.ts";
import { _, fill, ngettext } from "../translation.ts";
import { columnTitles } from "./columns.ts";
import { Details } from "./details.tsx";
import { RowActions } from "./row-actions.tsx";
import type { Row } from "./rows.ts";
import { namesOf } from "./users.ts";
import { shortDigest, tagOf } from "./version.ts";

interface Props {
    readonly row: Row;
    /** Its pool, with the service if both services work. */
    readonly place: string;
    readonly age: string;
}

/**
 * Of hundreds of rows, only those that change are drawn again. That is why each row knows itself whether
 * it is expanded.
 */
export const ImageRow = memo(function ImageRow({ row, place, age }: Props) {
    const [isExpanded, setExpanded] = useState(false);
    const toggle = useId();
    const { service, image, usage } = row;
    const { language } = cockpit;
    const labels = columnTitles();
    return (
        <Tbody isExpanded={isExpanded}>
            <Tr isContentExpanded={isExpanded}>
                <Td
                    expand={{
                        expandId: toggle,
                        rowIndex: 0,
                        isExpanded,
                        onToggle: () => {
                            setExpanded(!isExpanded);
                        },
                    }}
                />
                <Td dataLabel={labels.name} modifier="breakWord">
                    <Flex columnGap={{ default: "columnGapSm" }}>
                        {image.name}
                        {image.broken !== "" && (
                            <Label isCompact status="warning" title={image.broken}>
                                {_("Broken")}
                            </Label>
                        )}
                    </Flex>
                </Td>
                <Td dataLabel={labels.source} modifier="breakWord">
                    <Breakable text={image.source} />
                </Td>
                <Td dataLabel={_("Version")} modifier="breakWord">
                    <Version row={row} />
                </Td>
                <Td dataLabel={labels.pool} modifier="breakWord">
                    {place}
                </Td>
                <Td dataLabel={labels.own} modifier="nowrap">
                    {usage !== undefined && bytes(usage.own, language)}
                </Td>
                <Td dataLabel={labels.shared} modifier="nowrap">
                    {usage !== undefined && bytes(usage.shared, language)}
                </Td>
                <Td dataLabel={labels.age} modifier="nowrap">
                    <time dateTime={new Date(image.pulledAt).toISOString()} title={dateAndTime(image.pulledAt, language)}>
                        {age}
                    </time>
                </Td>
                <Td dataLabel={labels.users} modifier="breakWord">
                    {shortened(namesOf(row.users))}
                </Td>
                <Td isActionCell>
                    <RowActions service={service} image={image} />
                </Td>
            </Tr>
            {isExpanded && (
                <Tr isExpanded>
                    <Td colSpan={10}>
                        <ExpandableRowContent>
                            <Details row={row} />
                        </ExpandableRowContent>
                    </Td>
                </Tr>
            )}
        </Tbody>
    );
});

/** A reference that is broken into lines at its slashes. */
function Breakable({ text }: { readonly text: string }) {
    const parts = text.split(/(?<=\/)(?!\/)/);
    return parts.map((part, index) => (
        // The parts of a reference have no other identity than their place.
        <Fragment key={`${index} ${part}`}>
            {index > 0 && <wbr />}
            {part}
        </Fragment>
    ));
}

function Version({ row: { image } }: { readonly row: Row }) {
    const former = image.formerVersions.length;
    return (
        <Flex columnGap={{ default: "columnGapSm" }} rowGap={{ default: "rowGapXs" }}>
            {tagOf(image.source)}
            <code className="virtlayer-digest" title={image.digest}>{shortDigest(image.digest)}</code>
            {former > 0 && <Label isCompact>{ngettext("$0 former version", "$0 former versions", former)}</Label>}
        </Flex>
    );
}

/** The first names; the details have all. */
function shortened(names: readonly string[]): string {
    const most = names.slice(0, 2).join(", ");
    return names.length <= 2 ? most : fill(_("$0 and $1 more"), most, names.length - 2);
}
