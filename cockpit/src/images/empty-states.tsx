// SPDX-License-Identifier: LGPL-2.1-or-later
/** What the tab shows if it has no image to show, and what to do then. */
import { Button, CodeBlock, CodeBlockCode, EmptyState, EmptyStateActions, EmptyStateBody, EmptyStateFooter } from "@patternfly/react-core";
import CubesIcon from "@patternfly/react-icons/dist/esm/icons/cubes-icon";
import DatabaseIcon from "@patternfly/react-icons/dist/esm/icons/database-icon";
import SearchIcon from "@patternfly/react-icons/dist/esm/icons/search-icon";

import { useDialogs } from "../dialogs.tsx";
import { PullDialog } from "../pull/pull-dialog.tsx";
import type { Where } from "../service/values.ts";
import { _ } from "../translation.ts";

export function NoImages() {
    const dialogs = useDialogs();
    return (
        <EmptyState headingLevel="h2" icon={CubesIcon} titleText={_("No images yet")}>
            <EmptyStateBody>
                {_("Pull a container image into a storage pool to run it as a virtual machine, or to create volumes from it.")}
            </EmptyStateBody>
            <EmptyStateFooter>
                <EmptyStateActions>
                    <Button
                        onClick={() => {
                            dialogs.show(<PullDialog />);
                        }}
                    >
                        {_("Pull the first image")}
                    </Button>
                </EmptyStateActions>
            </EmptyStateFooter>
        </EmptyState>
    );
}

/** Commands that create a pool and start it, now and with the host. */
function commandsFor(where: Where): string {
    const virsh = where === "system" ? "virsh -c qemu:///system" : "virsh -c qemu:///session";
    const directory = where === "system" ? "/var/lib/libvirt/images" : '"$HOME/images"';
    return [
        `${virsh} pool-define-as default dir --target ${directory}`,
        `${virsh} pool-build default`,
        `${virsh} pool-autostart default`,
        `${virsh} pool-start default`,
    ].join("\n");
}

/** @param where that of the service that the pool is created for. */
export function NoPool({ where }: { readonly where: Where }) {
    return (
        <EmptyState headingLevel="h2" icon={DatabaseIcon} titleText={_("No storage pool for images")} variant="lg">
            <EmptyStateBody>
                {_("Images need an active storage pool of libvirt of the type dir, fs, netfs or rbd. Start one, or create one:")}
                <CodeBlock>
                    <CodeBlockCode>{commandsFor(where)}</CodeBlockCode>
                </CodeBlock>
            </EmptyStateBody>
            <EmptyStateFooter>
                <EmptyStateActions>
                    <Button
                        variant="link"
                        onClick={() => {
                            cockpit.jump("/machines#/storages");
                        }}
                    >
                        {_("Storage pools in the page of virtual machines")}
                    </Button>
                </EmptyStateActions>
            </EmptyStateFooter>
        </EmptyState>
    );
}

export function NothingFound({ onClear }: { readonly onClear: () => void }) {
    return (
        <EmptyState headingLevel="h2" icon={SearchIcon} titleText={_("No image matches the search")} variant="sm">
            <EmptyStateFooter>
                <EmptyStateActions>
                    <Button variant="link" onClick={onClear}>
                        {_("Clear search")}
                    </Button>
                </EmptyStateActions>
            </EmptyStateFooter>
        </EmptyState>
    );
}
