// SPDX-License-Identifier: LGPL-2.1-or-later
/** A dialog with fields and one button that does something; what fails is shown in it. */
import {
    Button,
    Form,
    Modal,
    ModalBody,
    ModalFooter,
    ModalHeader,
    type ModalProps,
} from "@patternfly/react-core";
import { useEffect, useId, useRef, useState, type FormEvent, type ReactNode } from "react";

import { useDialogs } from "./dialogs.tsx";
import { FailureAlert } from "./failure-alert.tsx";
import { useNotices } from "./notices.tsx";
import { failureOf, type Failure } from "./service/failures.ts";
import { _ } from "./translation.ts";

interface Props {
    readonly title: string;
    readonly description?: ReactNode;
    /** The text of the button. */
    readonly submit: string;
    readonly isDanger?: boolean;
    /** Whether the fields are filled in so that it can be tried. */
    readonly isValid?: boolean;
    readonly variant?: ModalProps["variant"];
    /** A selector of the element that has the focus at first; otherwise the first field. */
    readonly focus?: string;
    /** The dialog closes when this resolves; what it throws is shown. */
    readonly onSubmit: () => Promise<void>;
    /** Shows a failure at the field that causes it; returns whether it did, so that it is not shown above. */
    readonly onFailure?: (failure: Failure) => boolean;
    readonly children?: ReactNode;
}

export function FormDialog(props: Props) {
    const dialogs = useDialogs();
    const notices = useNotices();
    const form = useId();
    const title = useId();
    const dialog = useId();
    const [failure, setFailure] = useState<Failure | undefined>();
    const [isBusy, setBusy] = useState(false);
    // The user may close the dialog while it waits, and open another one.
    const isOpen = useRef(false);
    useEffect(() => {
        isOpen.current = true;
        return () => {
            isOpen.current = false;
        };
    }, []);

    const submit = async () => {
        setBusy(true);
        setFailure(undefined);
        try {
            await props.onSubmit();
            if (isOpen.current) dialogs.close();
        } catch (error) {
            const thrown = failureOf(error);
            if (!isOpen.current) {
                notices.add({ variant: "danger", title: thrown.message });
                return;
            }
            if (props.onFailure?.(thrown) !== true) setFailure(thrown);
            setBusy(false);
        }
    };

    return (
        <Modal
            isOpen
            id={dialog}
            variant={props.variant ?? "medium"}
            onClose={dialogs.close}
            aria-labelledby={title}
            elementToFocus={props.focus ?? firstIn(dialog)}
        >
            <ModalHeader title={props.title} labelId={title} description={props.description} />
            <ModalBody>
                {failure !== undefined && <FailureAlert failure={failure} />}
                <Form
                    id={form}
                    onSubmit={(event: FormEvent) => {
                        event.preventDefault();
                        if (!isBusy && props.isValid !== false) void submit();
                    }}
                >
                    {props.children}
                </Form>
            </ModalBody>
            <ModalFooter>
                <Button
                    type="submit"
                    form={form}
                    variant={props.isDanger === true ? "danger" : "primary"}
                    isLoading={isBusy}
                    isDisabled={isBusy || props.isValid === false}
                >
                    {props.submit}
                </Button>
                <Button variant="link" onClick={dialogs.close}>
                    {_("Cancel")}
                </Button>
            </ModalFooter>
        </Modal>
    );
}

/** Selects the first field, or "Cancel" if there are none: Enter must not delete what nobody has confirmed. */
function firstIn(dialog: string): string {
    const field = "form :is(input, select, textarea):not(:disabled)";
    return `[id="${dialog}"] :is(${field}, footer .pf-m-link)`;
}
