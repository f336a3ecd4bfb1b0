// SPDX-License-Identifier: LGPL-2.1-or-later
/** The layers of an image, base first. */
import { Table, Tbody, Td, Th, Thead, Tr } from "@patternfly/react-table";

import { bytes } from "../format/bytes.ts";
import type { ServiceState } from "../service/state.ts";
import type { Image } from "../service/values.ts";
import { _ } from "../translation.ts";
import { removalOf } from "./removal.ts";
import { shortDigest } from "./version.ts";

interface Props {
    readonly image: Image;
    readonly state: ServiceState;
}

export function LayerTable({ image, state }: Props) {
    const { deleted, kept } = removalOf(image, state);
    const sizes = new Map([...deleted, ...kept].map((layer) => [layer.volume, layer.bytes]));
    const shared = new Set(kept.map(({ volume }) => volume));
    const { language } = cockpit;
    return (
        <Table variant="compact" isNested borders={false} gridBreakPoint="grid-md" aria-label={_("Layers")}>
            <Thead>
                <Tr>
                    <Th>{_("Layer")}</Th>
                    <Th>{_("Volume")}</Th>
                    <Th>{_("Size in the pool")}</Th>
                    <Th>{_("Compressed")}</Th>
                    <Th>{_("Shared")}</Th>
                </Tr>
            </Thead>
            <Tbody>
                {image.layers.map((layer) => (
                    <Tr key={layer.volume}>
                        <Td dataLabel={_("Layer")} title={layer.diffId}>
                            {shortDigest(layer.diffId)}
                        </Td>
                        <Td dataLabel={_("Volume")} modifier="breakWord">
                            {layer.volume}
                        </Td>
                        <Td dataLabel={_("Size in the pool")}>{bytes(sizes.get(layer.volume) ?? 0, language)}</Td>
                        <Td dataLabel={_("Compressed")}>{bytes(layer.bytes, language)}</Td>
                        <Td dataLabel={_("Shared")}>{shared.has(layer.volume) ? _("yes") : _("no")}</Td>
                    </Tr>
                ))}
            </Tbody>
        </Table>
    );
}
