// SPDX-License-Identifier: LGPL-2.1-or-later
/** A field for text that the browser completes from a list. */
import { FormGroup, FormHelperText, HelperText, HelperTextItem, TextInput } from "@patternfly/react-core";
import { useId } from "react";

interface Props {
    /** Of the input. */
    readonly id: string;
    readonly label: string;
    readonly value: string;
    readonly onChange: (value: string) => void;
    readonly suggestions: readonly string[];
    readonly isRequired?: boolean;
    readonly placeholder?: string;
    readonly help?: string;
    /** What is wrong with the value, instead of `help`. */
    readonly problem?: string | undefined;
}

export function SuggestionField(props: Props) {
    const list = useId();
    const help = useId();
    const { id, problem } = props;
    return (
        <FormGroup label={props.label} fieldId={id}>
            <TextInput
                id={id}
                value={props.value}
                list={list}
                placeholder={props.placeholder ?? ""}
                isRequired={props.isRequired === true}
                validated={problem === undefined ? "default" : "error"}
                autoComplete="off"
                autoCapitalize="none"
                spellCheck={false}
                aria-describedby={help}
                onChange={(_event, value) => {
                    props.onChange(value);
                }}
            />
            <datalist id={list}>
                {props.suggestions.map((suggestion) => (
                    <option key={suggestion} value={suggestion} />
                ))}
            </datalist>
            <FormHelperText>
                <HelperText id={help} isLiveRegion>
                    {problem !== undefined && <HelperTextItem variant="error">{problem}</HelperTextItem>}
                    {problem === undefined && props.help !== undefined && <HelperTextItem>{props.help}</HelperTextItem>}
                </HelperText>
            </FormHelperText>
        </FormGroup>
    );
}
