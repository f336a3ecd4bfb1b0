// SPDX-License-Identifier: LGPL-2.1-or-later
/** A text field of the dialog with its label, and a sentence below it. */
import {
    FormGroup,
    FormHelperText,
    HelperText,
    HelperTextItem,
    InputGroup,
    InputGroupItem,
    InputGroupText,
    TextInput,
    type TextInputProps,
} from "@patternfly/react-core";
import { useId } from "react";

interface Props {
    readonly label: string;
    readonly value: string;
    readonly onChange: (value: string) => void;
    readonly type?: TextInputProps["type"];
    readonly placeholder?: string;
    /** Behind the field. */
    readonly unit?: string;
    /** How it is used. */
    readonly help?: string | undefined;
    /** What is wrong with the value; undefined if nothing is. */
    readonly problem?: string | undefined;
}

export function Field({ label, value, onChange, type = "text", placeholder = "", unit, help, problem }: Props) {
    const id = useId();
    const text = problem ?? help;
    const input = (
        <TextInput
            id={id}
            type={type}
            value={value}
            placeholder={placeholder}
            validated={problem === undefined ? "default" : "error"}
            autoComplete={type === "password" ? "new-password" : "off"}
            {...(text === undefined ? {} : { "aria-describedby": `${id}-help` })}
            onChange={(_event, next) => {
                onChange(next);
            }}
        />
    );
    return (
        <FormGroup label={label} fieldId={id}>
            {unit === undefined ? (
                input
            ) : (
                <InputGroup>
                    <InputGroupItem isFill>{input}</InputGroupItem>
                    <InputGroupText>{unit}</InputGroupText>
                </InputGroup>
            )}
            {text !== undefined && (
                <FormHelperText>
                    <HelperText id={`${id}-help`}>
                        <HelperTextItem variant={problem === undefined ? "default" : "error"}>{text}</HelperTextItem>
                    </HelperText>
                </FormHelperText>
            )}
        </FormGroup>
    );
}
