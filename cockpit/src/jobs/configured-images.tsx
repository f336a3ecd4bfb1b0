// SPDX-License-Identifier: LGPL-2.1-or-later
/** The images of images.d: what they are pulled from, when, and how the last update was. */
import {
    Alert,
    Button,
    Content,
    EmptyState,
    EmptyStateBody,
    Label,
    Progress,
    Toolbar,
    ToolbarContent,
    ToolbarItem,
} from "@patternfly/react-core";
import { Table, Tbody, Td, Th, Thead, Tr } from "@patternfly/react-table";

import { FailureAlert } from "../failure-alert.tsx";
import { dateAndTime, relativeTime } from "../format/time.ts";
import { useNow } from "../images/now.ts";
import type { Configured } from "../service/values.ts";
import { useReadyServices, type Ready } from "../services.tsx";
import { _, fill } from "../translation.ts";
import { nameOf, runningUpdate } from "./configured.ts";
import { useConfigured } from "./use-configured.ts";
import { useUpdate } from "./use-update.tsx";

export function ConfiguredImages() {
    const ready = useReadyServices();
    return ready.map((one) => <OfService key={one.service.where} ready={one} hasTitle={ready.length > 1} />);
}

function OfService({ ready, hasTitle }: { readonly ready: Ready; readonly hasTitle: boolean }) {
    const { images, failure } = useConfigured(ready);
    const isSystem = ready.service.where === "system";
    const title = isSystem ? _("Configured images of the system") : _("Your configured images");
    return (
        <section aria-label={title}>
            {hasTitle && <Content component="h2">{title}</Content>}
            {failure !== undefined && <FailureAlert failure={failure} />}
            {images?.length === 0 && <NoImages isSystem={isSystem} />}
            {images !== undefined && images.length > 0 && (
                <>
                    <Update ready={ready} />
                    <ImageTable images={images} title={title} />
                </>
            )}
        </section>
    );
}

function NoImages({ isSystem }: { readonly isSystem: boolean }) {
    const directory = isSystem ? "/etc/virtlayer/images.d" : "~/.config/virtlayer/images.d";
    return (
        <EmptyState variant="sm" headingLevel="h3" titleText={_("No configured images")}>
            <EmptyStateBody>
                {fill(_("virtlayerd keeps the images up to date that files in $0 name; see virtlayer-images(5)."), directory)}{" "}
                {isSystem && _("Only administrators can see them.")}
            </EmptyStateBody>
        </EmptyState>
    );
}

function Update({ ready }: { readonly ready: Ready }) {
    const { start, isStarting, failure } = useUpdate(ready.service);
    const job = runningUpdate(ready.state.jobs);
    const isBusy = isStarting || job !== undefined;
    return (
        <>
            {failure !== undefined && <FailureAlert failure={failure} />}
            <Toolbar>
                <ToolbarContent>
                    <ToolbarItem>
                        <Button variant="secondary" isLoading={isBusy} isDisabled={isBusy} onClick={() => void start()}>
                            {_("Update now")}
                        </Button>
                    </ToolbarItem>
                    {job !== undefined && (
                        <ToolbarItem className="virtlayer-update" alignSelf="center">
                            <Progress
                                size="sm"
                                measureLocation="outside"
                                aria-label={_("Update of the configured images")}
                                value={Math.floor(job.progress * 100)}
                            />
                        </ToolbarItem>
                    )}
                </ToolbarContent>
            </Toolbar>
        </>
    );
}

function ImageTable({ images, title }: { readonly images: readonly Configured[]; readonly title: string }) {
    const now = useNow();
    return (
        <Table variant="compact" gridBreakPoint="grid-lg" aria-label={title}>
            <Thead>
                <Tr>
                    <Th>{_("Name")}</Th>
                    <Th width={10}>{_("Pool")}</Th>
                    <Th>{_("Source")}</Th>
                    <Th width={30}>{_("Last update")}</Th>
                    <Th modifier="wrap">{_("Next update")}</Th>
                    <Th modifier="wrap">{_("Former versions")}</Th>
                </Tr>
            </Thead>
            <Tbody>
                {images.map((image) => (
                    <Tr key={image.file}>
                        <Td dataLabel={_("Name")} modifier="breakWord">
                            <div>{nameOf(image)}</div>
                            <div className="virtlayer-details">{image.file}</div>
                        </Td>
                        <Td dataLabel={_("Pool")} modifier="breakWord">
                            {image.pool}
                        </Td>
                        <Td dataLabel={_("Source")} modifier="breakWord">
                            {image.source}
                        </Td>
                        <Td dataLabel={_("Last update")} modifier="breakWord">
                            <LastUpdate image={image} now={now} />
                        </Td>
                        <Td dataLabel={_("Next update")}>
                            {image.dueAt > now ? <Time at={image.dueAt} now={now} /> : _("due")}
                        </Td>
                        <Td dataLabel={_("Former versions")}>{image.versions}</Td>
                    </Tr>
                ))}
            </Tbody>
        </Table>
    );
}

function LastUpdate({ image, now }: { readonly image: Configured; readonly now: number }) {
    if (image.error !== "") {
        return (
            <Alert variant="danger" variantLabel={_("Error:")} isInline isPlain component="p" title={image.message || image.error}>
                {image.checkedAt > 0 && <Time at={image.checkedAt} now={now} />}
            </Alert>
        );
    }
    if (image.checkedAt === 0) return _("never");
    return (
        <>
            <Label isCompact status="success">
                {_("Up to date")}
            </Label>{" "}
            <Time at={image.checkedAt} now={now} />
        </>
    );
}

function Time({ at, now }: { readonly at: number; readonly now: number }) {
    return (
        <time dateTime={new Date(at).toISOString()} title={dateAndTime(at, cockpit.language)}>
            {relativeTime(at, now, cockpit.language)}
        </time>
    );
}
