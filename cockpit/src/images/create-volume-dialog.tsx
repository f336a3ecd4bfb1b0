// SPDX-License-Identifier: LGPL-2.1-or-later
/** Creates a writable volume of an image. */
import { Checkbox, ExpandableSection, FormGroup, TextInput } from "@patternfly/react-core";
import { useId, useState } from "react";

import { FormDialog } from "../form-dialog.tsx";
import { bytes } from "../format/bytes.ts";
import { useNotices } from "../notices.tsx";
import type { Service } from "../service/service.ts";
import { successOf } from "../service/success.ts";
import type { Image } from "../service/values.ts";
import { _, fill } from "../translation.ts";
import { Help } from "./help.tsx";
import { SystemFields } from "./system-fields.tsx";
import { defaultName, isSizeValid, optionsOf, type VolumeForm } from "./volume-form.ts";

interface Props {
    readonly service: Service;
    readonly image: Image;
}

export function CreateVolumeDialog({ service, image }: Props) {
    const notices = useNotices();
    const id = useId();
    const [form, setForm] = useState<VolumeForm>(() => {
        const volumes = service.snapshot().contents.get(image.pool)?.volumes ?? [];
        const name = defaultName(image.name, new Set(volumes.map((volume) => volume.name)));
        return { name, size: "", growFilesystem: true, hostname: "", rootPassword: "", sshKeys: "" };
    });
    const set = (change: Partial<VolumeForm>) => {
        setForm((before) => ({ ...before, ...change }));
    };
    const [isCustomized, setCustomized] = useState(false);
    const hasValidSize = isSizeValid(form, image.size);
    const least = bytes(image.size, cockpit.language);
    return (
        <FormDialog
            title={fill(_("Create a volume of $0"), image.name)}
            description={_("A writable volume that is backed by the layers of the image. Only changes take space.")}
            submit={_("Create")}
            focus={`[id="${id}-name"]`}
            isValid={form.name.trim() !== "" && hasValidSize}
            onSubmit={async () => {
                const { path } = await successOf(service.createVolume(image.pool, image.name, form.name.trim(), optionsOf(form)));
                notices.add({
                    variant: "success",
                    title: fill(_("The volume $0 was created."), form.name.trim()),
                    body: typeof path?.v === "string" ? path.v : undefined,
                });
            }}
        >
            <FormGroup label={_("Name")} fieldId={`${id}-name`}>
                <TextInput
                    id={`${id}-name`}
                    isRequired
                    value={form.name}
                    onChange={(_event, name) => {
                        set({ name });
                    }}
                />
                <Help>{fill(_("In the pool $0"), image.pool)}</Help>
            </FormGroup>
            <FormGroup label={_("Size in GiB")} fieldId={`${id}-size`}>
                <TextInput
                    id={`${id}-size`}
                    inputMode="decimal"
                    value={form.size}
                    validated={hasValidSize ? "default" : "error"}
                    aria-describedby={`${id}-size-help`}
                    onChange={(_event, size) => {
                        set({ size });
                    }}
                />
                <Help id={`${id}-size-help`} isError={!hasValidSize}>
                    {hasValidSize ? fill(_("Empty: the size of the image, $0"), least) : fill(_("A number, at least the size of the image: $0"), least)}
                </Help>
            </FormGroup>
            <Checkbox
                id={`${id}-grow`}
                label={_("Grow the file system to the size of the volume")}
                isDisabled={form.size.trim() === ""}
                isChecked={form.growFilesystem}
                onChange={(_event, growFilesystem) => {
                    set({ growFilesystem });
                }}
            />
            <ExpandableSection
                toggleText={_("Customize the system in it")}
                isExpanded={isCustomized}
                onToggle={(_event, isExpanded) => {
                    setCustomized(isExpanded);
                }}
            >
                {isCustomized && <SystemFields form={form} onChange={set} />}
            </ExpandableSection>
        </FormDialog>
    );
}
