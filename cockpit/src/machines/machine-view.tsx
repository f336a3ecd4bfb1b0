// SPDX-License-Identifier: LGPL-2.1-or-later
/** What is below the row of a machine: its details, console and logs. */
import {
    DescriptionList,
    DescriptionListDescription,
    DescriptionListGroup,
    DescriptionListTerm,
    Spinner,
    Tab,
    Tabs,
    TabTitleText,
} from "@patternfly/react-core";

import { bytes } from "../format/bytes.ts";
import type { MachineDetails } from "../service/values.ts";
import { _, fill } from "../translation.ts";
import type { View } from "./location.ts";
import { Logs } from "./logs/logs.tsx";
import type { Known } from "./look.ts";
import { Console } from "./terminal/console.tsx";
import { bootText, typeText } from "./texts.ts";

interface Props {
    readonly known: Known;
    readonly view: View;
    readonly onView: (view: View) => void;
}

export function MachineView({ known: { service, machine, details }, view, onView }: Props) {
    return (
        <Tabs
            isSubtab
            mountOnEnter
            unmountOnExit
            activeKey={view}
            onSelect={(_event, key) => {
                onView(key as View);
            }}
            aria-label={fill(_("What is shown of $0"), machine.name)}
        >
            <Tab eventKey="details" title={<TabTitleText>{_("Details")}</TabTitleText>}>
                <div className="machine-view">{details === undefined ? <Spinner aria-label={_("Loading")} /> : <Details details={details} />}</div>
            </Tab>
            <Tab eventKey="console" title={<TabTitleText>{_("Console")}</TabTitleText>}>
                <div className="machine-view"><Console service={service} machine={machine} /></div>
            </Tab>
            <Tab eventKey="logs" title={<TabTitleText>{_("Logs")}</TabTitleText>}>
                <div className="machine-view">
                    <Logs service={service} machine={machine} hasKernelLog={details?.streams === true && details.type !== "lxc"} />
                </div>
            </Tab>
        </Tabs>
    );
}

function Details({ details }: { readonly details: MachineDetails }) {
    const rows: readonly (readonly [string, string])[] = [
        [_("Type"), typeText(details.type)],
        [_("Boots with"), bootText(details)],
        [_("Memory"), bytes(details.memory, cockpit.language)],
        [_("Processors"), String(details.vcpus)],
        [_("Volume"), details.volume],
        [_("When it stops"), details.ephemeral ? _("It is deleted") : _("It stays")],
        [_("When the host boots"), details.autostart ? _("It is started") : _("It is not started")],
        [_("UUID"), details.uuid],
        [_("Image digest"), details.digest],
    ];
    return (
        <DescriptionList isHorizontal isFluid isCompact columnModifier={{ xl: "2Col" }} horizontalTermWidthModifier={{ default: "16ch" }}>
            {rows
                .filter(([, value]) => value !== "")
                .map(([term, value]) => (
                    <DescriptionListGroup key={term}>
                        <DescriptionListTerm>{term}</DescriptionListTerm>
                        <DescriptionListDescription className="machine-message">{value}</DescriptionListDescription>
                    </DescriptionListGroup>
                ))}
        </DescriptionList>
    );
}
