// SPDX-License-Identifier: LGPL-2.1-or-later
/** The rows of published ports and of variables. */
import { FlexItem, FormSelect, FormSelectOption, TextInput } from "@patternfly/react-core";

import { _, fill } from "../../translation.ts";
import { isPort, isVariable, NEW_PORT, NEW_VARIABLE } from "./form.ts";
import type { FieldsProps } from "./main-fields.tsx";
import { Rows } from "./rows.tsx";

export function PortRows({ form, problems, onChange }: FieldsProps) {
    return (
        <Rows
            title={_("Published ports")}
            description={_("Ports of the host that lead to the machine. Without an address, at all IPv4 addresses of the host.")}
            add={_("Publish port")}
            problem={
                problems.has("network-of-ports")
                    ? _("This network cannot have published ports. Select another network, or remove the ports.")
                    : undefined
            }
            rows={form.ports}
            empty={NEW_PORT}
            onChange={(ports) => {
                onChange({ ports });
            }}
            fields={(row, change, number) => (
                <>
                    <Input
                        label={fill(_("Address $0"), number)}
                        placeholder={_("All addresses")}
                        value={row.address}
                        onChange={(address) => {
                            change({ address });
                        }}
                    />
                    <Input
                        label={fill(_("Port of the host $0"), number)}
                        placeholder={_("Host port")}
                        value={row.host}
                        isInvalid={row.host !== "" && !isPort(row.host)}
                        onChange={(host) => {
                            change({ host });
                        }}
                    />
                    <Input
                        label={fill(_("Port of the machine $0"), number)}
                        placeholder={_("Machine port")}
                        value={row.machine}
                        isInvalid={row.machine !== "" && !isPort(row.machine)}
                        onChange={(machine) => {
                            change({ machine });
                        }}
                    />
                    <FlexItem flex={{ default: "flexNone" }}>
                        <FormSelect
                            aria-label={fill(_("Protocol $0"), number)}
                            value={row.protocol}
                            onChange={(_event, protocol) => {
                                change({ protocol: protocol === "udp" ? "udp" : "tcp" });
                            }}
                        >
                            <FormSelectOption value="tcp" label="TCP" />
                            <FormSelectOption value="udp" label="UDP" />
                        </FormSelect>
                    </FlexItem>
                </>
            )}
        />
    );
}

export function VariableRows({ form, onChange }: FieldsProps) {
    return (
        <Rows
            title={_("Environment")}
            description={_("In addition to the variables of the image. The values are only on a disk of the machine.")}
            add={_("Add variable")}
            rows={form.variables}
            empty={NEW_VARIABLE}
            onChange={(variables) => {
                onChange({ variables });
            }}
            fields={(row, change, number) => (
                <>
                    <Input
                        label={fill(_("Name of variable $0"), number)}
                        placeholder={_("NAME")}
                        value={row.name}
                        isInvalid={!isVariable(row)}
                        onChange={(name) => {
                            change({ name });
                        }}
                    />
                    <Input
                        label={fill(_("Value of variable $0"), number)}
                        placeholder={_("Value")}
                        value={row.value}
                        onChange={(value) => {
                            change({ value });
                        }}
                    />
                </>
            )}
        />
    );
}

interface InputProps {
    readonly label: string;
    readonly placeholder: string;
    readonly value: string;
    readonly isInvalid?: boolean;
    readonly onChange: (value: string) => void;
}

function Input({ label, placeholder, value, isInvalid = false, onChange }: InputProps) {
    return (
        <FlexItem grow={{ default: "grow" }}>
            <TextInput
                aria-label={label}
                placeholder={placeholder}
                value={value}
                validated={isInvalid ? "error" : "default"}
                autoComplete="off"
                onChange={(_event, next) => {
                    onChange(next);
                }}
            />
        </FlexItem>
    );
}
