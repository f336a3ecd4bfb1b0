// SPDX-License-Identifier: LGPL-2.1-or-later
/** Deletes what nothing needs in a pool, after it has shown what that is. */
import { Alert, Content, ExpandableSection, List, ListItem, Spinner } from "@patternfly/react-core";
import { useEffect, useState } from "react";

import { FormDialog } from "../form-dialog.tsx";
import { bytes } from "../format/bytes.ts";
import { useNotices } from "../notices.tsx";
import { PoolField, placesOf, type Place } from "../pool-field.tsx";
import { failureOf, type Failure } from "../service/failures.ts";
import { successOf } from "../service/success.ts";
import { useReadyServices } from "../services.tsx";
import { _, fill, ngettext } from "../translation.ts";
import { freedOf, type Freed } from "./freed.ts";

/** What a dry run has said. */
type Preview = { readonly freed: Freed } | { readonly failure: Failure };

export function PruneDialog() {
    const [place, setPlace] = useState<Place | undefined>(placesOf(useReadyServices())[0]);
    const preview = usePreview(place);
    const notices = useNotices();
    return (
        <FormDialog
            title={_("Delete unused layers")}
            description={_("Layers that no image, machine or volume needs are deleted, and kernels that no machine boots.")}
            submit={_("Prune")}
            isDanger
            isValid={preview !== undefined && "freed" in preview && preview.freed.volumes.length > 0}
            onSubmit={async () => {
                if (place === undefined) return;
                const freed = freedOf(await successOf(place.service.prune(place.pool)));
                notices.add({ variant: "success", title: doneText(freed) });
            }}
        >
            <PoolField value={place} onChange={setPlace} />
            <div aria-live="polite">{place === undefined ? _("No storage pool takes images.") : <PreviewText preview={preview} />}</div>
        </FormDialog>
    );
}

/** What prune would delete there; undefined until that is known. */
function usePreview(place: Place | undefined): Preview | undefined {
    const service = place?.service;
    const pool = place?.pool;
    const [preview, setPreview] = useState<Preview | undefined>();
    useEffect(() => {
        let isCurrent = true;
        setPreview(undefined);
        if (service === undefined || pool === undefined) return;
        const show = (next: Preview) => {
            if (isCurrent) setPreview(next);
        };
        successOf(service.prune(pool, { "dry-run": { t: "b", v: true } })).then(
            (result) => {
                show({ freed: freedOf(result) });
            },
            (error: unknown) => {
                show({ failure: failureOf(error) });
            },
        );
        return () => {
            isCurrent = false;
        };
    }, [service, pool]);
    return preview;
}

function PreviewText({ preview }: { readonly preview: Preview | undefined }) {
    if (preview === undefined) return <Spinner size="md" aria-label={_("Looking for unused layers")} />;
    if ("failure" in preview) return <Alert variant="danger" variantLabel={_("Error:")} isInline component="h2" title={preview.failure.message} />;
    const { volumes, bytes: count } = preview.freed;
    if (volumes.length === 0) return <Content component="p">{_("There is nothing to delete.")}</Content>;
    return (
        <>
            <Content component="p">
                {withSize(ngettext("$0 volume would be deleted", "$0 volumes would be deleted", volumes.length), count)}
            </Content>
            <ExpandableSection toggleText={_("List of volumes")} isIndented>
                <List isPlain>
                    {volumes.map((volume) => (
                        <ListItem key={volume}>{volume}</ListItem>
                    ))}
                </List>
            </ExpandableSection>
        </>
    );
}

function doneText({ volumes, bytes: count }: Freed): string {
    return withSize(ngettext("$0 volume was deleted", "$0 volumes were deleted", volumes.length), count);
}

function withSize(text: string, count: number): string {
    return fill(_("$0: $1"), text, bytes(count, cockpit.language));
}
