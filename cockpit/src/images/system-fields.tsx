// SPDX-License-Identifier: LGPL-2.1-or-later
/** The fields for the system in a new volume. */
import { FormGroup, Stack, TextArea, TextInput } from "@patternfly/react-core";
import { useId } from "react";

import { _ } from "../translation.ts";
import { Help } from "./help.tsx";
import type { SystemForm } from "./volume-form.ts";

interface Props {
    readonly form: SystemForm;
    readonly onChange: (change: Partial<SystemForm>) => void;
}

export function SystemFields({ form, onChange }: Props) {
    const id = useId();
    return (
        <Stack hasGutter>
            <FormGroup label={_("Hostname")} fieldId={`${id}-hostname`}>
                <TextInput
                    id={`${id}-hostname`}
                    value={form.hostname}
                    onChange={(_event, hostname) => {
                        onChange({ hostname });
                    }}
                />
            </FormGroup>
            <FormGroup label={_("Password of root")} fieldId={`${id}-password`}>
                <TextInput
                    id={`${id}-password`}
                    type="password"
                    autoComplete="new-password"
                    value={form.rootPassword}
                    onChange={(_event, rootPassword) => {
                        onChange({ rootPassword });
                    }}
                />
                <Help>{_("Empty: as in the image. Only a hash of it is stored, in the volume.")}</Help>
            </FormGroup>
            <FormGroup label={_("SSH keys of root")} fieldId={`${id}-keys`}>
                <TextArea
                    id={`${id}-keys`}
                    resizeOrientation="vertical"
                    value={form.sshKeys}
                    onChange={(_event, sshKeys) => {
                        onChange({ sshKeys });
                    }}
                />
                <Help>{_("Public keys, one in a line")}</Help>
            </FormGroup>
        </Stack>
    );
}
