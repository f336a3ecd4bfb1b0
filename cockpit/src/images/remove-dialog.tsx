// SPDX-License-Identifier: LGPL-2.1-or-later
/** Removes an image, after it has said what is deleted and what stays. */
import {
    Alert,
    Content,
    DescriptionList,
    DescriptionListDescription,
    DescriptionListGroup,
    DescriptionListTerm,
    List,
    ListItem,
} from "@patternfly/react-core";
import type { ReactNode } from "react";

import { FormDialog } from "../form-dialog.tsx";
import { bytes } from "../format/bytes.ts";
import { useNotices } from "../notices.tsx";
import type { Service } from "../service/service.ts";
import { successOf } from "../service/success.ts";
import type { Image } from "../service/values.ts";
import { useServiceState } from "../services.tsx";
import { _, fill, ngettext } from "../translation.ts";
import { removalOf, type Removal } from "./removal.ts";
import { keyOf, namesOf, NO_USERS, usersOfImages } from "./users.ts";

interface Props {
    readonly service: Service;
    readonly image: Image;
}

export function RemoveDialog({ service, image }: Props) {
    const state = useServiceState(service);
    const notices = useNotices();
    const users = namesOf(usersOfImages(state).get(keyOf(image)) ?? NO_USERS);
    const removal = removalOf(image, state);
    return (
        <FormDialog
            title={fill(_("Remove $0?"), image.name)}
            description={fill(_("In the pool $0"), image.pool)}
            submit={_("Remove")}
            isDanger
            onSubmit={async () => {
                await successOf(service.removeImage(image.pool, image.name));
                notices.add({ variant: "success", title: fill(_("$0 was removed."), image.name) });
            }}
        >
            {users.length > 0 && removal.deleted.length > 0 && (
                <Alert variant="warning" variantLabel={_("Warning:")} isInline component="h2" title={_("This image is in use")}>
                    {fill(_("It is used by $0. An image cannot be removed as long as machines or volumes need its layers."), users.join(", "))}
                </Alert>
            )}
            {image.layers.length > 0 ? <Effects removal={removal} users={users} /> : <Content component="p">{unknownEffects()}</Content>}
        </FormDialog>
    );
}

function unknownEffects(): string {
    return _("The layers that only this image has are deleted. Layers that other images need stay.");
}

interface EffectsProps {
    readonly removal: Removal;
    readonly users: readonly string[];
}

function Effects({ removal: { deleted, kept, bytes: freed, formerVersions }, users }: EffectsProps) {
    const ofKept = kept.reduce((sum, layer) => sum + layer.bytes, 0);
    return (
        <DescriptionList>
            <Group term={_("Deleted")}>
                {deleted.length > 0 ? (
                    <ListItem>
                        {withSize(ngettext("$0 layer that only this image has", "$0 layers that only this image has", deleted.length), freed)}
                    </ListItem>
                ) : (
                    <ListItem>{_("Only the name: other images need all layers, too.")}</ListItem>
                )}
                {formerVersions.length > 0 && (
                    <ListItem>
                        {ngettext(
                            "$0 former version, with the layers that nothing else needs",
                            "$0 former versions, with the layers that nothing else needs",
                            formerVersions.length,
                        )}
                    </ListItem>
                )}
            </Group>
            {(kept.length > 0 || users.length > 0) && (
                <Group term={_("Kept")}>
                    {kept.length > 0 && (
                        <ListItem>
                            {withSize(ngettext("$0 layer that other images need", "$0 layers that other images need", kept.length), ofKept)}
                        </ListItem>
                    )}
                    {users.length > 0 && <ListItem>{fill(_("Machines and volumes: $0"), users.join(", "))}</ListItem>}
                </Group>
            )}
        </DescriptionList>
    );
}

function withSize(text: string, count: number): string {
    return fill(_("$0: $1"), text, bytes(count, cockpit.language));
}

function Group({ term, children }: { readonly term: string; readonly children: ReactNode }) {
    return (
        <DescriptionListGroup>
            <DescriptionListTerm>{term}</DescriptionListTerm>
            <DescriptionListDescription>
                <List>{children}</List>
            </DescriptionListDescription>
        </DescriptionListGroup>
    );
}
