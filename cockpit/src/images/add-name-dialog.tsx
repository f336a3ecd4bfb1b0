// SPDX-License-Identifier: LGPL-2.1-or-later
import { FormGroup, TextInput } from "@patternfly/react-core";
import { useId, useState } from "react";

import { FormDialog } from "../form-dialog.tsx";
import type { Service } from "../service/service.ts";
import type { Image } from "../service/values.ts";
import { _, fill } from "../translation.ts";

interface Props {
    readonly service: Service;
    readonly image: Image;
}

export function AddNameDialog({ service, image }: Props) {
    const id = useId();
    const [name, setName] = useState("");
    return (
        <FormDialog
            variant="small"
            title={fill(_("Add a name to $0"), image.name)}
            description={_("Both names share all layers. Nothing is downloaded.")}
            submit={_("Add")}
            focus={`[id="${id}"]`}
            isValid={name.trim() !== ""}
            onSubmit={() => service.tagImage(image.pool, image.name, name.trim())}
        >
            <FormGroup label={_("Name")} fieldId={id}>
                <TextInput
                    id={id}
                    isRequired
                    value={name}
                    onChange={(_event, value) => {
                        setName(value);
                    }}
                />
            </FormGroup>
        </FormDialog>
    );
}
