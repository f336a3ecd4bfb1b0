// SPDX-License-Identifier: LGPL-2.1-or-later
/** Removes an image, after it has said what is deleted and what stays. */
import { Alert, List, ListItem, Content } from "@patternfly/react-core";

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
            description={fill(_("From the pool $0"), image.pool)}
            submit={_("Remove")}
            isDanger
            onSubmit={async () => {
                await successOf(service.removeImage(image.pool, image.name));
                notices.add({ variant: "success", title: fill(_("$0 was removed."), image.name) });
            }}
        >
            {users.length > 0 && removal.deleted.length > 0 && (
                <Alert variant="warning" isInline component="h2" title={_("This image is in use")}>
                    {fill(_("Used by $0. An image is not removed while something needs its layers: remove these first."), users.join(", "))}
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
    const size = (count: number) => bytes(count, cockpit.language);
    return (
        <>
            <div>
                <Content component="h2">{_("Deleted")}</Content>
                <List>
                    {deleted.length > 0 ? (
                        <ListItem>
                            {ngettext("$0 layer that only this image has", "$0 layers that only this image has", deleted.length)}
                            {`: ${size(freed)}`}
                        </ListItem>
                    ) : (
                        <ListItem>{_("Only the name: other images have all layers, too.")}</ListItem>
                    )}
                    {formerVersions.length > 0 && (
                        <ListItem>
                            {ngettext(
                                "$0 former version, with the layers that nothing uses",
                                "$0 former versions, with the layers that nothing uses",
                                formerVersions.length,
                            )}
                        </ListItem>
                    )}
                </List>
            </div>
            {(kept.length > 0 || users.length > 0) && (
                <div>
                    <Content component="h2">{_("Kept")}</Content>
                    <List>
                        {kept.length > 0 && (
                            <ListItem>
                                {ngettext("$0 layer that other images need", "$0 layers that other images need", kept.length)}
                                {`: ${size(kept.reduce((sum, layer) => sum + layer.bytes, 0))}`}
                            </ListItem>
                        )}
                        {users.length > 0 && <ListItem>{fill(_("Machines and volumes: $0"), users.join(", "))}</ListItem>}
                    </List>
                </div>
            )}
        </>
    );
}
