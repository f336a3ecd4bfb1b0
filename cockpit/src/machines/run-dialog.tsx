// SPDX-License-Identifier: LGPL-2.1-or-later
/** The dialog "Run": makes a machine of an image, and starts it. */
import "./machines.css";

import { Alert, Button, Checkbox, ExpandableSection, Form, Modal, ModalBody, ModalFooter, ModalHeader } from "@patternfly/react-core";
import { useEffect, useId, useRef, useState, type FormEvent } from "react";

import { useDialogs } from "../dialogs.tsx";
import { useNotices } from "../notices.tsx";
import { failureOf, type Failure } from "../service/failures.ts";
import type { Service } from "../service/service.ts";
import type { Image } from "../service/values.ts";
import { useServiceState } from "../services.tsx";
import { _, fill } from "../translation.ts";
import { goToMachine } from "./location.ts";
import { DEFAULTS, isValid, optionsOf, problemsOf, type RunForm } from "./run/form.ts";
import { startupOf } from "./run/image-config.ts";
import { MainFields } from "./run/main-fields.tsx";
import { MoreFields } from "./run/more-fields.tsx";
import { PortRows } from "./run/row-fields.tsx";
import { RunProgress } from "./run/run-progress.tsx";
import { useRun } from "./run/use-run.ts";

interface Props {
    readonly service: Service;
    readonly image: Image;
}

/** Errors that the user can correct by a field below "Options". */
const OF_OPTIONS = ["NoKernel", "AmbiguousKernel"];

export function RunDialog({ service, image }: Props) {
    const dialogs = useDialogs();
    const notices = useNotices();
    const id = useId();
    const [form, setForm] = useState<RunForm>(DEFAULTS);
    const [isOpened, setOpened] = useState(false);
    const machines = useServiceState(service).machines;
    const { run, start } = useRun(service, image, (name) => {
        dialogs.close();
        goToMachine({ where: service.where, name, view: form.terminal || form.input ? "console" : "logs" });
    });
    const failure = run.kind === "form" ? run.failure : undefined;
    const isExpanded = isOpened || (failure !== undefined && OF_OPTIONS.includes(failure.kind));
    const change = (part: Partial<RunForm>) => {
        setForm((before) => ({ ...before, ...part }));
    };
    const name = form.name.trim();
    const nameIsTaken = run.kind === "form" && machines.some((machine) => machine.name === name);
    const canRun = isValid(form) && !nameIsTaken;
    const fields = { form, problems: problemsOf(form), onChange: change };

    const cancel = async (job: string) => {
        try {
            await service.cancel(job);
        } catch (error) {
            notices.add({ variant: "warning", title: _("The job could not be cancelled"), body: failureOf(error).message });
        }
    };

    return (
        <Modal
            isOpen
            id={`${id}-dialog`}
            variant="medium"
            onClose={dialogs.close}
            aria-labelledby={`${id}-title`}
            elementToFocus={`[id="${id}-dialog"] form input`}
        >
            <ModalHeader
                title={fill(_("Run $0"), image.name)}
                labelId={`${id}-title`}
                description={_("Creates a machine with a volume of its own, and starts it.")}
            />
            <ModalBody>
                {failure !== undefined && <FailureNotice failure={failure} />}
                {run.kind === "running" ? (
                    <RunProgress service={service} job={run.job} />
                ) : (
                    <Form
                        id={`${id}-form`}
                        onSubmit={(event: FormEvent) => {
                            event.preventDefault();
                            if (canRun) start(name, optionsOf(form));
                        }}
                    >
                        <MainFields {...fields} startup={startupOf(image.config)} nameIsTaken={nameIsTaken} />
                        <PortRows {...fields} />
                        <Checkbox
                            id={`${id}-ephemeral`}
                            label={_("Delete it when it stops")}
                            isChecked={form.ephemeral}
                            onChange={(_event, ephemeral) => {
                                change({ ephemeral });
                            }}
                        />
                        <Checkbox
                            id={`${id}-autostart`}
                            label={_("Start it when the host boots")}
                            isChecked={form.autostart}
                            onChange={(_event, autostart) => {
                                change({ autostart });
                            }}
                        />
                        <ExpandableSection
                            toggleText={_("Options")}
                            isExpanded={isExpanded}
                            onToggle={(_event, expanded) => {
                                setOpened(expanded);
                            }}
                        >
                            {isExpanded && (
                                <div className="machine-options">
                                    <MoreFields {...fields} service={service} />
                                </div>
                            )}
                        </ExpandableSection>
                    </Form>
                )}
            </ModalBody>
            <ModalFooter>
                {run.kind === "form" ? (
                    <>
                        <Button type="submit" form={`${id}-form`} isDisabled={!canRun}>
                            {_("Run")}
                        </Button>
                        <Button variant="link" onClick={dialogs.close}>
                            {_("Cancel")}
                        </Button>
                    </>
                ) : (
                    <>
                        <Button variant="secondary" onClick={dialogs.close}>
                            {_("Close")}
                        </Button>
                        <Button
                            variant="link"
                            isDisabled={run.job === undefined}
                            onClick={() => {
                                if (run.job !== undefined) void cancel(run.job);
                            }}
                        >
                            {_("Cancel")}
                        </Button>
                    </>
                )}
            </ModalFooter>
        </Modal>
    );
}

/** It gets the focus, because the element that had it is no longer in the page. */
function FailureNotice({ failure }: { readonly failure: Failure }) {
    const place = useRef<HTMLDivElement>(null);
    useEffect(() => {
        place.current?.focus();
    }, [failure]);
    return (
        <div ref={place} tabIndex={-1} className="machine-failure">
            <Alert variant="danger" variantLabel={_("Error:")} isInline component="p" role="alert" title={_("The machine was not created")}>
                <p className="machine-message">{failure.message}</p>
                {OF_OPTIONS.includes(failure.kind) && <p>{_('The kernel is chosen below "Options".')}</p>}
            </Alert>
        </div>
    );
}
