// SPDX-License-Identifier: LGPL-2.1-or-later
/** What the removal of an image would free and what would stay because of whom, and the image's actions. */
import { Alert, Button, Content, List, ListItem, Title } from "@patternfly/react-core";
import type { ReactNode } from "react";

import { useDialogs } from "../dialogs.tsx";
import { CreateVolumeDialog } from "../images/create-volume-dialog.tsx";
import { RemoveDialog } from "../images/remove-dialog.tsx";
import type { Removal } from "../images/removal.ts";
import { RunDialog } from "../machines/run-dialog.tsx";
import type { Service } from "../service/service.ts";
import { _, fill, ngettext } from "../translation.ts";
import { label, size, some } from "./names.ts";
import { stayingOf, usersOf } from "./reasons.ts";
import type { ImageNode, TreeNode } from "./tree.ts";

interface Props {
    readonly service: Service;
    readonly node: ImageNode;
    readonly nodes: ReadonlyMap<string, TreeNode>;
    readonly removal: Removal;
}

export function ImageDetails({ service, node, nodes, removal }: Props) {
    const { image } = node;
    return (
        <>
            <Title headingLevel="h2" size="lg">
                {image.name}
            </Title>
            {image.broken !== "" && <Alert variant="warning" variantLabel={_("Warning:")} isInline isPlain title={image.broken} />}
            <div aria-live="polite">
                {image.layers.length === 0 ? (
                    <Content component="p">{_("You cannot see its layers. Turn on administrative access in Cockpit.")}</Content>
                ) : (
                    <WhatRemovalDoes node={node} nodes={nodes} removal={removal} />
                )}
            </div>
            <Actions service={service} node={node} />
        </>
    );
}

function WhatRemovalDoes({ node, nodes, removal }: Omit<Props, "service">) {
    const users = usersOf(node, removal);
    const staying = stayingOf(node.image, removal, nodes);
    const stays = removal.kept.reduce((sum, layer) => sum + layer.bytes, 0);
    return (
        <>
            <Content component="p">
                {removal.deleted.length === 0
                    ? _("Its removal would free nothing: other images need all its layers.")
                    : fill(
                          _("Its removal would free $0: $1."),
                          size(removal.bytes),
                          ngettext("$0 layer", "$0 layers", removal.deleted.length),
                      )}
            </Content>
            {users.length > 0 && (
                <Content component="p">
                    {fill(_("It is in use and cannot be removed now. Remove first: $0."), some(users.map(label), 5))}
                </Content>
            )}
            {removal.formerVersions.length > 0 && (
                <Content component="p">
                    {ngettext(
                        "Its former version would be removed, too, which can free more.",
                        "Its $0 former versions would be removed, too, which can free more.",
                        removal.formerVersions.length,
                    )}
                </Content>
            )}
            {staying.length > 0 && (
                <>
                    <Content component="p">{fill(_("$0 would stay:"), size(stays))}</Content>
                    <List>
                        {staying.map(({ volumes, bytes, names }) => (
                            <ListItem key={volumes[0] ?? ""}>
                                {fill(
                                    _("$0 ($1), needed by $2"),
                                    ngettext("$0 layer", "$0 layers", volumes.length),
                                    size(bytes),
                                    names.length === 0 ? _("a former version") : some(names, 5),
                                )}
                            </ListItem>
                        ))}
                    </List>
                </>
            )}
        </>
    );
}

function Actions({ service, node: { image } }: Pick<Props, "service" | "node">) {
    const dialogs = useDialogs();
    const action = (text: string, dialog: ReactNode) => (
        <Button
            variant="secondary"
            size="sm"
            onClick={() => {
                dialogs.show(dialog);
            }}
        >
            {text}
        </Button>
    );
    return (
        <div className="layers-actions">
            {action(_("Run"), <RunDialog service={service} image={image} />)}
            {action(_("Create volume"), <CreateVolumeDialog service={service} image={image} />)}
            {action(_("Remove"), <RemoveDialog service={service} image={image} />)}
        </div>
    );
}
