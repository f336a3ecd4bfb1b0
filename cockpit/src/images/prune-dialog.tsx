// SPDX-License-Identifier: LGPL-2.1-or-later
import { Modal, ModalHeader } from "@patternfly/react-core";

import { useDialogs } from "../dialogs.tsx";
import { _ } from "../translation.ts";

export function PruneDialog() {
    const dialogs = useDialogs();
    return (
        <Modal isOpen variant="medium" onClose={dialogs.close}>
            <ModalHeader title={_("Prune")} />
        </Modal>
    );
}
