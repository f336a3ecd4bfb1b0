// SPDX-License-Identifier: LGPL-2.1-or-later
/** The fields that are always shown: name, command, hardware, network and ports. */
import { Checkbox, FormGroup, FormSelect, FormSelectOption, Grid, GridItem } from "@patternfly/react-core";
import { useId } from "react";

import { _, fill } from "../../translation.ts";
import { Field } from "./field.tsx";
import type { Problem, RunForm } from "./form.ts";
import type { Startup } from "./image-config.ts";
import { lineOf } from "./words.ts";

export interface FieldsProps {
    readonly form: RunForm;
    readonly problems: ReadonlySet<Problem>;
    readonly onChange: (part: Partial<RunForm>) => void;
}

interface Props extends FieldsProps {
    readonly startup: Startup;
    /** The name is that of another machine. */
    readonly nameIsTaken: boolean;
}

export function MainFields({ form, problems, onChange, startup, nameIsTaken }: Props) {
    const id = useId();
    const say = (problem: Problem, text: string) => (problems.has(problem) ? text : undefined);
    return (
        <>
            <Field
                label={_("Name")}
                value={form.name}
                placeholder={_("From the image, with a number")}
                problem={nameIsTaken ? _("Another machine has this name. Choose another one.") : undefined}
                onChange={(name) => {
                    onChange({ name });
                }}
            />
            <Field
                label={_("Command")}
                value={form.command}
                placeholder={lineOf(startup.command) || _("From the image")}
                help={
                    startup.entrypoint.length === 0
                        ? _("Replaces the command of the image. Quotes work as in a shell.")
                        : fill(_("Replaces the command of the image. Its words follow the entrypoint: $0"), lineOf(startup.entrypoint))
                }
                problem={say("unfinished-command", _("A quote is not closed."))}
                onChange={(command) => {
                    onChange({ command });
                }}
            />
            <FormGroup role="group" label={_("Input and output")} fieldId={`${id}-terminal`} isStack>
                <Checkbox
                    id={`${id}-terminal`}
                    label={_("Terminal")}
                    isChecked={form.terminal}
                    onChange={(_event, terminal) => {
                        onChange({ terminal });
                    }}
                />
                <Checkbox
                    id={`${id}-input`}
                    label={_("Keep the input open")}
                    isChecked={form.input}
                    onChange={(_event, input) => {
                        onChange({ input });
                    }}
                />
            </FormGroup>
            <Grid hasGutter md={6}>
                <GridItem>
                    <Field
                        label={_("Memory")}
                        type="number"
                        unit="MiB"
                        value={form.memory}
                        problem={say("memory", _("A whole number from 64 on."))}
                        onChange={(memory) => {
                            onChange({ memory });
                        }}
                    />
                </GridItem>
                <GridItem>
                    <Field
                        label={_("Processors")}
                        type="number"
                        value={form.processors}
                        problem={say("processors", _("A whole number from 1 to 1024."))}
                        onChange={(processors) => {
                            onChange({ processors });
                        }}
                    />
                </GridItem>
                <GridItem>
                    <FormGroup label={_("Network")} fieldId={`${id}-network`}>
                        <FormSelect
                            id={`${id}-network`}
                            value={form.network}
                            onChange={(_event, network) => {
                                onChange({ network: network as RunForm["network"] });
                            }}
                        >
                            <FormSelectOption value="automatic" label={_("Automatic")} />
                            <FormSelectOption value="network:default" label={_("Network default of libvirt")} />
                            <FormSelectOption value="user" label={_("Outgoing connections, and published ports")} />
                            <FormSelectOption value="none" label={_("None")} />
                            <FormSelectOption value="other" label={_("Another network or bridge")} />
                        </FormSelect>
                    </FormGroup>
                </GridItem>
                {form.network === "other" && (
                    <GridItem>
                        <Field
                            label={_("Network or bridge")}
                            value={form.otherNetwork}
                            placeholder="bridge:br0"
                            help={_("network:NAME for a network of libvirt, bridge:NAME for a bridge of the host.")}
                            problem={form.otherNetwork === "" ? undefined : say("other-network", _("Begin with network: or bridge:."))}
                            onChange={(otherNetwork) => {
                                onChange({ otherNetwork });
                            }}
                        />
                    </GridItem>
                )}
            </Grid>
        </>
    );
}
