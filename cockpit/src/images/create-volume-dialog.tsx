// SPDX-License-Identifier: LGPL-2.1-or-later
import { FormDialog } from "../form-dialog.tsx";
import type { Service } from "../service/service.ts";
import type { Image } from "../service/values.ts";
import { _ } from "../translation.ts";

interface Props {
    readonly service: Service;
    readonly image: Image;
}

export function CreateVolumeDialog({ service, image }: Props) {
    return <FormDialog title={image.name} description={service.where} submit={_("Create volume")} onSubmit={() => Promise.resolve()} />;
}
