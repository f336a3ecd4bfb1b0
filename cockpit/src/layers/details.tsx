// SPDX-License-Identifier: LGPL-2.1-or-later
/** What is known of the item that is pointed at or has the focus, and what can be done with it. */
import { Button, Content, DescriptionList, DescriptionListDescription, DescriptionListGroup, DescriptionListTerm, Title } from "@patternfly/react-core";
import type { ReactNode } from "react";

import type { Removal } from "../images/removal.ts";
import { stateText } from "../machines/texts.ts";
import type { Service } from "../service/service.ts";
import type { ServiceState } from "../service/state.ts";
import { _, fill } from "../translation.ts";
import { ImageDetails } from "./image-details.tsx";
import { carriedText, kindText, shortName, size, some } from "./names.ts";
import type { LayerNode, MachineNode, TreeNode, VolumeNode } from "./tree.ts";

interface Props {
    readonly service: Service;
    readonly state: ServiceState;
    readonly pool: string;
    /** undefined if there is none. */
    readonly node: TreeNode | undefined;
    readonly nodes: ReadonlyMap<string, TreeNode>;
    /** Of the image, if it is one. */
    readonly removal: Removal | undefined;
    /** The key of the layer that the chart shows alone. */
    readonly zoomed: string | undefined;
    readonly onZoom: (key: string | undefined) => void;
}

export function Details(props: Props) {
    const { node, removal } = props;
    switch (node?.kind) {
        case "layer":
            return <LayerDetails {...props} layer={node} />;
        case "image":
            return removal === undefined ? null : (
                <ImageDetails service={props.service} node={node} nodes={props.nodes} removal={removal} />
            );
        case "volume":
            return <VolumeDetails node={node} />;
        case "machine":
            return <MachineDetails node={node} />;
        default:
            return <Overview state={props.state} pool={props.pool} />;
    }
}

function Overview({ state, pool }: Pick<Props, "state" | "pool">) {
    const usage = state.contents.get(pool)?.usage;
    return (
        <>
            <Content component="p">{_("Point at an image to see what its removal would free.")}</Content>
            {usage !== undefined && (
                <Facts
                    facts={[
                        [_("Layers"), fill(_("$0, $1"), usage.layers, size(usage.layersBytes))],
                        [_("Shared by several images"), size(usage.sharedBytes)],
                        [_("Volumes"), fill(_("$0, $1"), usage.volumes, size(usage.volumesBytes))],
                        [_("Prune would free"), size(usage.prunableBytes)],
                    ]}
                />
            )}
        </>
    );
}

function LayerDetails({ layer, zoomed, onZoom }: Props & { readonly layer: LayerNode }) {
    const names = layer.images.map(({ name }) => name);
    const isZoomed = zoomed === layer.key;
    return (
        <>
            <Title headingLevel="h2" size="lg">
                {fill(_("Layer $0"), shortName(layer))}
            </Title>
            <Facts
                facts={[
                    [_("Size in the pool"), layer.isMissing ? _("The pool lacks this layer.") : size(layer.bytes)],
                    [_("Compressed"), layer.compressed === 0 ? "" : size(layer.compressed)],
                    [_("Images"), names.length === 0 ? unusedText(layer) : some(names, 10)],
                    [_("Volume"), layer.volume],
                ]}
            />
            {layer.children.length > 0 && (
                <Button
                    variant="secondary"
                    onClick={() => {
                        onZoom(isZoomed ? undefined : layer.key);
                    }}
                >
                    {isZoomed ? _("Show all layers") : _("Show only what is backed by it")}
                </Button>
            )}
        </>
    );
}

function unusedText(layer: LayerNode): string {
    if (layer.former.length > 0) return carriedText(layer);
    return _("None. Prune deletes it if nothing uses it.");
}

function VolumeDetails({ node: { volume } }: { readonly node: VolumeNode }) {
    return (
        <>
            <Title headingLevel="h2" size="lg">
                {volume.name}
            </Title>
            <Facts
                facts={[
                    [_("Kind"), kindText(volume.kind)],
                    [_("Format"), volume.format],
                    [_("Size in the pool"), volume.kind === "directory" ? "" : size(volume.size)],
                    [_("Created from"), volume.image],
                ]}
            />
        </>
    );
}

function MachineDetails({ node: { machine, volume } }: { readonly node: MachineNode }) {
    return (
        <>
            <Title headingLevel="h2" size="lg">
                {machine.name}
            </Title>
            <Facts
                facts={[
                    [_("State"), stateText(machine.state).text],
                    [_("Image"), machine.image],
                    [_("Volume"), volume === undefined ? "" : fill(_("$0, $1"), volume.name, size(volume.size))],
                ]}
            />
            <Button
                variant="secondary"
                onClick={() => {
                    cockpit.location.go(["machines"]);
                }}
            >
                {_("Show machines")}
            </Button>
        </>
    );
}

/** A list of terms; those with an empty value are left out. */
export function Facts({ facts }: { readonly facts: readonly (readonly [string, ReactNode])[] }) {
    return (
        <DescriptionList isCompact className="layers-facts">
            {facts
                .filter(([, value]) => value !== "")
                .map(([term, value]) => (
                    <DescriptionListGroup key={term}>
                        <DescriptionListTerm>{term}</DescriptionListTerm>
                        <DescriptionListDescription>{value}</DescriptionListDescription>
                    </DescriptionListGroup>
                ))}
        </DescriptionList>
    );
}
