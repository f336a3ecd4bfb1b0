// SPDX-License-Identifier: LGPL-2.1-or-later
/** The menu "Actions" of a machine. */
import { Divider, Dropdown, DropdownItem, DropdownList, MenuToggle } from "@patternfly/react-core";
import { EllipsisVIcon } from "@patternfly/react-icons";
import { useState } from "react";

import { useDialogs } from "../dialogs.tsx";
import { _, fill } from "../translation.ts";
import { useNotices } from "../notices.tsx";
import { failureOf } from "../service/failures.ts";
import { successOf } from "../service/success.ts";
import { machinesPage } from "./commands.ts";
import type { View } from "./location.ts";
import type { Known } from "./look.ts";
import { RemoveMachineDialog } from "./remove-machine-dialog.tsx";

interface Props {
    readonly known: Known;
    /** A job about it runs. */
    readonly isBusy: boolean;
    readonly onView: (view: View) => void;
}

export function MachineActions({ known, isBusy, onView }: Props) {
    const { service, machine } = known;
    const [isOpen, setOpen] = useState(false);
    const dialogs = useDialogs();
    const control = useControl(known);
    const runs = machine.state === "running" || machine.state === "paused";
    return (
        <Dropdown
            isOpen={isOpen}
            onOpenChange={setOpen}
            shouldFocusFirstItemOnOpen
            onSelect={() => {
                setOpen(false);
            }}
            popperProps={{ position: "right" }}
            toggle={(ref) => (
                <MenuToggle
                    ref={ref}
                    variant="plain"
                    icon={<EllipsisVIcon />}
                    aria-label={_("Actions")}
                    isExpanded={isOpen}
                    onClick={() => {
                        setOpen(!isOpen);
                    }}
                />
            )}
        >
            <DropdownList>
                {runs ? (
                    <DropdownItem isDisabled={isBusy} onClick={control.stop}>
                        {_("Stop")}
                    </DropdownItem>
                ) : (
                    <DropdownItem isDisabled={isBusy || machine.state === "stopping"} onClick={control.start}>
                        {_("Start")}
                    </DropdownItem>
                )}
                <DropdownItem
                    onClick={() => {
                        onView("console");
                    }}
                >
                    {_("Console")}
                </DropdownItem>
                <DropdownItem
                    onClick={() => {
                        onView("logs");
                    }}
                >
                    {_("Logs")}
                </DropdownItem>
                {"machines" in cockpit.manifests && (
                    <DropdownItem
                        onClick={() => {
                            cockpit.jump(machinesPage(service.where, machine.name));
                        }}
                    >
                        {_("Open in Virtual machines")}
                    </DropdownItem>
                )}
                <Divider component="li" />
                <DropdownItem
                    isDanger
                    isDisabled={isBusy}
                    onClick={() => {
                        dialogs.show(<RemoveMachineDialog known={known} />);
                    }}
                >
                    {_("Remove")}
                </DropdownItem>
            </DropdownList>
        </Dropdown>
    );
}

/** Starts and stops a machine; what fails becomes a notice. */
function useControl({ service, machine: { name } }: Known): { readonly start: () => void; readonly stop: () => void } {
    const notices = useNotices();
    const start = async () => {
        try {
            await successOf(service.startDomain(name));
        } catch (error) {
            notices.add({ variant: "danger", title: fill(_("The machine $0 was not started"), name), body: failureOf(error).message });
        }
    };
    const stop = async () => {
        try {
            const { forced } = await successOf(service.stopDomain(name));
            if (forced?.v === true) {
                notices.add({ variant: "warning", title: fill(_("The machine $0 did not stop in time, and was stopped by force"), name) });
            }
        } catch (error) {
            notices.add({ variant: "danger", title: fill(_("The machine $0 was not stopped"), name), body: failureOf(error).message });
        }
    };
    return { start: () => void start(), stop: () => void stop() };
}
