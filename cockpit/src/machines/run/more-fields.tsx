// SPDX-License-Identifier: LGPL-2.1-or-later
/** The fields below "Options". */
import { Grid, GridItem } from "@patternfly/react-core";

import { SystemFields } from "../../images/system-fields.tsx";
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
            </Grid>
            <SystemFields form={form} onChange={onChange} />
        </>
    );
}
