// SPDX-License-Identifier: LGPL-2.1-or-later
/** The rows of one machine. */
import { Label, Spinner } from "@patternfly/react-core";
import { ExpandableRowContent, Tbody, Td, Tr } from "@patternfly/react-table";

import { runningJobs } from "../service/service.ts";
import { useServiceState } from "../services.tsx";
import { _ } from "../translation.ts";
import type { View } from "./location.ts";
import type { Known } from "./look.ts";
import { MachineActions } from "./machine-actions.tsx";
import { MachineView } from "./machine-view.tsx";
import { exitStatusText, jobText, portText, stateText } from "./texts.ts";

interface Props {
    readonly known: Known;
    readonly index: number;
    /** Whether there is a column for it. */
    readonly hasOwner: boolean;
    /** undefined if the details are not shown. */
    readonly view: View | undefined;
    readonly onView: (view: View | undefined) => void;
}

export function MachineRow({ known, index, hasOwner, view, onView }: Props) {
    const { service, machine, details } = known;
    const job = runningJobs(useServiceState(service)).find((running) => running.source === machine.name && jobText(running) !== undefined);
    const isExpanded = view !== undefined;
    const state = stateText(machine.state);
    // Details of an earlier state can have another status.
    const exitStatus = details?.state === machine.state ? details.exitStatus : undefined;
    return (
        <Tbody isExpanded={isExpanded}>
            <Tr>
                <Td
                    expand={{
                        rowIndex: index,
                        isExpanded,
                        onToggle: () => {
                            onView(isExpanded ? undefined : "details");
                        },
                    }}
                />
                <Td dataLabel={_("Name")}>{machine.name}</Td>
                <Td dataLabel={_("State")}>
                    {/* Alone in the cell, the label would be as wide as that on a narrow page. */}
                    <span>
                        {job === undefined ? (
                            <Label color={state.color} isCompact>
                                {state.text}
                            </Label>
                        ) : (
                            <Label color="blue" isCompact icon={<Spinner size="sm" isInline aria-hidden />}>
                                {jobText(job)}
                            </Label>
                        )}
                    </span>
                </Td>
                <Td dataLabel={_("Image")}>{machine.image}</Td>
                <Td dataLabel={_("Pool")}>{machine.pool}</Td>
                {hasOwner && <Td dataLabel={_("Owner")}>{service.where === "system" ? _("system") : _("your session")}</Td>}
                <Td dataLabel={_("Address")}>{details?.addresses.join(", ")}</Td>
                <Td dataLabel={_("Ports")}>{details?.ports.map(portText).join(", ")}</Td>
                <Td dataLabel={_("Exit status")}>{exitStatus !== undefined && exitStatusText(exitStatus)}</Td>
                <Td isActionCell>
                    <MachineActions known={known} isBusy={job !== undefined} onView={onView} />
                </Td>
            </Tr>
            {isExpanded && (
                <Tr isExpanded>
                    <Td colSpan={hasOwner ? 10 : 9}>
                        <ExpandableRowContent>
                            <MachineView known={known} view={view} onView={onView} />
                        </ExpandableRowContent>
                    </Td>
                </Tr>
            )}
        </Tbody>
    );
}
