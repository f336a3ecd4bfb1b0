// SPDX-License-Identifier: LGPL-2.1-or-later
/** The fields below "Options". */
import { FormGroup, Grid, GridItem, TextArea } from "@patternfly/react-core";
import { useId } from "react";

import type { Service } from "../../service/service.ts";
import { _ } from "../../translation.ts";
import { Field } from "./field.tsx";
import type { FieldsProps } from "./main-fields.tsx";
import { VariableRows } from "./row-fields.tsx";

interface Props extends FieldsProps {
    readonly service: Service;
}

export function MoreFields({ service, ...props }: Props) {
    const { form, problems, onChange } = props;
    const id = useId();
    return (
        <>
            <VariableRows {...props} />
            <Grid hasGutter md={6}>
                <GridItem>
                    <Field
                        label={_("Volume size")}
                        type="number"
                        unit="GiB"
                        value={form.volumeSize}
                        placeholder={_("That of the image")}
                        problem={problems.has("volume-size") ? _("A whole number from 1 to 64512.") : undefined}
                        onChange={(volumeSize) => {
                            onChange({ volumeSize });
                        }}
                    />
                </GridItem>
                <GridItem>
                    <Field
                        label={_("Host name")}
                        value={form.hostname}
                        placeholder={_("That of the image")}
                        onChange={(hostname) => {
                            onChange({ hostname });
                        }}
                    />
                </GridItem>
                <GridItem>
                    <Field
                        label={_("Kernel")}
                        value={form.kernel}
                        placeholder={_("Automatic")}
                        help={
                            service.where === "session"
                                ? _("An image of the pool that has a kernel, or the path of a kernel of this host.")
                                : _("An image of the pool that has a kernel.")
                        }
                        onChange={(kernel) => {
                            onChange({ kernel });
                        }}
                    />
                </GridItem>
                <GridItem>
                    <Field
                        label={_("Kernel version")}
                        value={form.kernelVersion}
                        help={_("Needed if the image has several kernels.")}
                        onChange={(kernelVersion) => {
                            onChange({ kernelVersion });
                        }}
                    />
                </GridItem>
                <GridItem>
                    <Field
                        label={_("Password of root")}
                        type="password"
                        value={form.rootPassword}
                        onChange={(rootPassword) => {
                            onChange({ rootPassword });
                        }}
                    />
                </GridItem>
            </Grid>
            <FormGroup label={_("SSH keys of root")} fieldId={id}>
                <TextArea
                    id={id}
                    value={form.sshKeys}
                    rows={2}
                    resizeOrientation="vertical"
                    placeholder={_("Public keys, one a line")}
                    spellCheck={false}
                    onChange={(_event, sshKeys) => {
                        onChange({ sshKeys });
                    }}
                />
            </FormGroup>
        </>
    );
}
