// SPDX-License-Identifier: LGPL-2.1-or-later
/** Asks before a machine is removed: says what is deleted, and what stays. */
import { Checkbox, Content } from "@patternfly/react-core";
import { useId, useState } from "react";

import { FormDialog } from "../form-dialog.tsx";
import { successOf } from "../service/success.ts";
import { useServiceState } from "../services.tsx";
import { _, fill } from "../translation.ts";
import { keyOf, type Known } from "./look.ts";

export function RemoveMachineDialog({ known: { service, machine, details } }: { readonly known: Known }) {
    const id = useId();
    const [force, setForce] = useState(false);
    // It can stop while the dialog is open.
    const current = useServiceState(service).machines.find((other) => keyOf(service, other) === keyOf(service, machine));
    const runs = ["running", "paused", "stopping"].includes((current ?? machine).state);
    const isContainer = details?.type === "lxc";
    return (
        <FormDialog
            title={fill(_("Remove the machine $0?"), machine.name)}
            submit={_("Remove")}
            isDanger
            isValid={!runs || force}
            onSubmit={async () => {
                await successOf(service.removeDomain(machine.name, runs ? { force: { t: "b", v: true } } : {}));
            }}
        >
            <Content>
                <Content component="p">
                    {isContainer
                        ? fill(_("This deletes the container and its logs. Its directory $0 in the pool $1 stays."), details.volume, machine.pool)
                        : fill(
                              _("This deletes the machine, its configuration and logs, and its volume $0 in the pool $1 with everything that the machine has written."),
                              details?.volume ?? "",
                              machine.pool,
                          )}
                </Content>
                {machine.image !== "" && <Content component="p">{fill(_("The image $0 and its layers stay."), machine.image)}</Content>}
            </Content>
            {runs && (
                <Checkbox
                    id={id}
                    label={_("Stop the machine at once")}
                    description={_("It is running. It is switched off without being shut down.")}
                    isChecked={force}
                    onChange={(_event, checked) => {
                        setForce(checked);
                    }}
                />
            )}
        </FormDialog>
    );
}
