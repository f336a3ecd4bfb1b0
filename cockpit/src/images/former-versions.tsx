// SPDX-License-Identifier: LGPL-2.1-or-later
/** The former versions of an image, the newest first. */
import { Table, Tbody, Td, Th, Thead, Tr } from "@patternfly/react-table";

import { dateAndTime } from "../format/time.ts";
import type { Image } from "../service/values.ts";
import { _ } from "../translation.ts";
import { shortDigest } from "./version.ts";

export function FormerVersions({ image }: { readonly image: Image }) {
    const { language } = cockpit;
    return (
        <Table variant="compact" isNested borders={false} gridBreakPoint="grid-md" aria-label={_("Former versions")}>
            <Thead>
                <Tr>
                    <Th>{_("Former version")}</Th>
                    <Th>{_("Pulled")}</Th>
                    <Th>{_("Replaced")}</Th>
                    <Th>{_("Deleted by Prune")}</Th>
                </Tr>
            </Thead>
            <Tbody>
                {image.formerVersions.map((version) => (
                    <Tr key={`${version.digest} ${version.replacedAt}`}>
                        <Td dataLabel={_("Former version")} title={version.digest}>
                            {shortDigest(version.digest)}
                        </Td>
                        <Td dataLabel={_("Pulled")}>{dateAndTime(version.pulledAt, language)}</Td>
                        <Td dataLabel={_("Replaced")}>{dateAndTime(version.replacedAt, language)}</Td>
                        <Td dataLabel={_("Deleted by Prune")}>{version.kept ? _("no, it is kept") : _("when nothing uses it")}</Td>
                    </Tr>
                ))}
            </Tbody>
        </Table>
    );
}
