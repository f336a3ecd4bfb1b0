// SPDX-License-Identifier: LGPL-2.1-or-later
/** The menu "Actions" of an image. */
import { Divider, Dropdown, DropdownItem, DropdownList, MenuToggle, type MenuToggleElement } from "@patternfly/react-core";
import EllipsisVIcon from "@patternfly/react-icons/dist/esm/icons/ellipsis-v-icon";
import { useState, type Ref } from "react";

import { useDialogs } from "../dialogs.tsx";
import { RunDialog } from "../machines/run-dialog.tsx";
import type { Service } from "../service/service.ts";
import type { Image } from "../service/values.ts";
import { _ } from "../translation.ts";
import { AddNameDialog } from "./add-name-dialog.tsx";
import { CreateVolumeDialog } from "./create-volume-dialog.tsx";
import { RemoveDialog } from "./remove-dialog.tsx";

interface Props {
    readonly service: Service;
    readonly image: Image;
}

export function RowActions({ service, image }: Props) {
    const dialogs = useDialogs();
    const [isOpen, setOpen] = useState(false);
    const props = { service, image };
    return (
        <Dropdown
            isOpen={isOpen}
            onOpenChange={setOpen}
            onSelect={() => {
                setOpen(false);
            }}
            shouldFocusFirstItemOnOpen
            popperProps={{ position: "end" }}
            toggle={(toggle: Ref<MenuToggleElement>) => (
                <MenuToggle
                    ref={toggle}
                    variant="plain"
                    aria-label={_("Actions")}
                    isExpanded={isOpen}
                    icon={<EllipsisVIcon />}
                    onClick={() => {
                        setOpen(!isOpen);
                    }}
                />
            )}
        >
            <DropdownList>
                <DropdownItem
                    onClick={() => {
                        dialogs.show(<RunDialog {...props} />);
                    }}
                >
                    {_("Run")}
                </DropdownItem>
                <DropdownItem
                    onClick={() => {
                        dialogs.show(<CreateVolumeDialog {...props} />);
                    }}
                >
                    {_("Create volume")}
                </DropdownItem>
                <DropdownItem
                    onClick={() => {
                        dialogs.show(<AddNameDialog {...props} />);
                    }}
                >
                    {_("Add a name")}
                </DropdownItem>
                <Divider component="li" />
                <DropdownItem
                    isDanger
                    onClick={() => {
                        dialogs.show(<RemoveDialog {...props} />);
                    }}
                >
                    {_("Remove")}
                </DropdownItem>
            </DropdownList>
        </Dropdown>
    );
}
