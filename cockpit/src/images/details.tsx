// SPDX-License-Identifier: LGPL-2.1-or-later
/** What an expanded row says of its image. */
import {
    Alert,
    DescriptionList,
    DescriptionListDescription,
    DescriptionListGroup,
    DescriptionListTerm,
    Flex,
    Label,
    Stack,
    StackItem,
} from "@patternfly/react-core";
import type { ReactNode } from "react";

import { bytes } from "../format/bytes.ts";
import { dateAndTime } from "../format/time.ts";
import type { Image } from "../service/values.ts";
import { useServiceState } from "../services.tsx";
import { _, fill } from "../translation.ts";
import { commandLine, configOf } from "./config.ts";
import { FormerVersions } from "./former-versions.tsx";
import { LayerTable } from "./layer-table.tsx";
import type { Row } from "./rows.ts";
import { namesOf } from "./users.ts";

export function Details({ row: { service, image, users } }: { readonly row: Row }) {
    const state = useServiceState(service);
    return (
        <Stack hasGutter>
            {image.broken !== "" && (
                <StackItem>
                    <Alert variant="warning" variantLabel={_("Warning:")} isInline component="h3" title={_("This image is broken")}>
                        <p>{image.broken}</p>
                    </Alert>
                </StackItem>
            )}
            <StackItem>
                <DescriptionList
                    isCompact
                    isHorizontal
                    aria-label={_("Details")}
                    horizontalTermWidthModifier={{ default: "22ch" }}
                >
                    <Item term={_("Digest")} value={image.digest} />
                    <Item term={_("Image ID")} value={image.imageId} />
                    <Item term={_("Platform")} value={`${image.os}/${image.architecture}`} />
                    <Item term={_("Virtual size")} value={bytes(image.size, cockpit.language)} />
                    <Item term={_("Pulled")} value={dateAndTime(image.pulledAt, cockpit.language)} />
                    <Item term={_("Top volume")} value={image.volume} />
                    <Item term={_("Used by")} value={namesOf(users).join(", ")} />
                    <Policy image={image} />
                    <Program image={image} />
                </DescriptionList>
            </StackItem>
            {image.layers.length > 0 && (
                <StackItem>
                    <LayerTable image={image} state={state} />
                </StackItem>
            )}
            {image.formerVersions.length > 0 && (
                <StackItem>
                    <FormerVersions image={image} />
                </StackItem>
            )}
        </Stack>
    );
}

/** Nothing if the value is unknown. */
function Item({ term, value }: { readonly term: string; readonly value: ReactNode }) {
    if (value === "") return null;
    return (
        <DescriptionListGroup>
            <DescriptionListTerm>{term}</DescriptionListTerm>
            <DescriptionListDescription className="long-text">{value}</DescriptionListDescription>
        </DescriptionListGroup>
    );
}

function Policy({ image: { policyScope, unsignedAccepted } }: { readonly image: Image }) {
    if (policyScope === "") return null;
    return (
        <Item
            term={_("Signature policy")}
            value={
                <Flex columnGap={{ default: "columnGapSm" }}>
                    {policyScope === "default" ? _("Default") : fill(_("Scope $0"), policyScope)}
                    {unsignedAccepted ? (
                        <Label isCompact color="orange">
                            {_("Unsigned images are accepted")}
                        </Label>
                    ) : (
                        <Label isCompact color="green">
                            {_("Signature was verified")}
                        </Label>
                    )}
                </Flex>
            }
        />
    );
}

function Program({ image }: { readonly image: Image }) {
    const config = configOf(image.config);
    if (config === undefined) return null;
    return (
        <>
            <Item term={_("Entrypoint")} value={commandLine(config.entrypoint)} />
            <Item term={_("Command")} value={commandLine(config.command)} />
            <Item term={_("User")} value={config.user} />
            <Item term={_("Working directory")} value={config.workingDirectory} />
            <Item term={_("Environment variables")} value={config.environment.join(", ")} />
            <Item term={_("Ports")} value={config.ports.join(", ")} />
            <Item term={_("Directories for data")} value={config.volumes.join(", ")} />
        </>
    );
}
